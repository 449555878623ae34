"""warmup: what it leaves to compile, where kernels are kept, bad input, the command."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from marks import compiled_only

from fastmlp import warmup
from fastmlp.cli import main
from fastmlp.cli.console import BAD_INPUT, INTERRUPTED
from fastmlp.kernels._jit import cache_directory
from fastmlp.monitor import Monitor

# What may follow in a process that has warmed up; the entries it adds to each kernel's table.
PROGRAM = """
import gc
import json
import numpy as np
import fastmlp
from fastmlp.kernels._jit import Twin, Worker
from fastmlp.kernels.threads import available_cores


def compiled():
    kernels = [kernel for kernel in gc.get_objects() if isinstance(kernel, Twin | Worker)]
    return {
        f"{kernel.py_func.__module__}.{kernel.__name__}": (
            kernel.n_compiled() if isinstance(kernel, Twin) else len(kernel._addresses)
        )
        for kernel in kernels
    }


fastmlp.warmup(["float32", "float64"])
before = compiled()
rng = np.random.default_rng(0)
X, y = rng.normal(size=(5000, 6)), rng.integers(0, 3, 5000)
for dtype in ("float32", "float64"):
    net = fastmlp.MLP([6, 70, 9, 3], output="softmax", dtype=dtype)
    for n_threads in [None, 1, 2, 3][: 2 if available_cores() == 1 else 4]:
        for optimizer in (
            None, "sgd(momentum=0.9)", "lbfgs", "owlqn", "bfgs", "scipy(method='CG')"
        ):
            net.fit(X, y, optimizer=optimizer, epochs=1, n_threads=n_threads)
        net.fit(X, y, epochs=1, l1=1.0, sample_weight=y + 1, clip_norm=1.0, n_threads=n_threads)
        net.fit(X, y, optimizer="owlqn", epochs=9, l1=0.1, n_threads=n_threads)
        net.fit(X, y, epochs=1, validation_data=(X, y), batch_size=None, n_threads=n_threads)
        net.loss_and_grad(X, y, n_threads=n_threads)
        net.loss(X, y, n_threads=n_threads)
        for n_rows in (1, 7, 5000):
            net.predict(X[:n_rows], n_threads=n_threads)
    fastmlp.fit_many([net, net.copy()], X, y, epochs=1)
    net = fastmlp.MLP([6, 9, 1], activation="gelu", output="softplus", dtype=dtype)
    net.fit(X, rng.random(5000), loss="poisson", epochs=1)
    net.predict(X)
print(json.dumps([before, compiled()]))
"""


@compiled_only
def test_after_it_nothing_is_left_to_compile_or_load():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    before, after = json.loads(run.stdout)
    assert before["fastmlp.kernels.epoch.sweep"] >= 2
    assert after == before


@compiled_only
def test_it_tells_the_folder_that_has_the_kernels():
    folder = warmup()
    assert folder == cache_directory()
    assert any(folder.iterdir())


@pytest.fixture
def blocked_cache(tmp_path, monkeypatch):
    """A cache folder that nobody can make, because its parent is a file, in a ready process."""
    warmup()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "file" / "cache"))


def test_it_tells_that_kernels_cannot_be_kept(blocked_cache):
    assert warmup() is None


@pytest.mark.parametrize(
    ("dtypes", "error", "message"),
    [
        ("float32", TypeError, r"dtypes must be a sequence such as \('float32',\), got 'float32'"),
        (np.float64, TypeError, "dtypes must be a sequence such as"),
        (["float32", "float16"], ValueError, "dtype must be float32 or float64, got 'float16'"),
    ],
)
def test_other_dtypes_are_refused(dtypes, error, message):
    with pytest.raises(error, match=f"^{message}"):
        warmup(dtypes)


# The command


@compiled_only
@pytest.mark.parametrize("dtype", ["float32", "float64", "both"])
def test_the_command_names_the_folder(dtype, capsys):
    assert main(["warmup", "--dtype", dtype]) == 0
    assert capsys.readouterr().out == f"kernels: {cache_directory()}\n"


def test_the_command_fails_where_kernels_cannot_be_kept(blocked_cache, capsys):
    """So that the build of an image does not go on without them."""
    assert main(["warmup"]) == BAD_INPUT
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "fastmlp: error: FASTMLP_CACHE_DIR must name a folder that can be written to keep "
        "kernels in\n"
    )


def test_ctrl_c_ends_it(monkeypatch, capsys):
    check = Monitor.check

    def interrupted(self):
        signal.raise_signal(signal.SIGINT)
        check(self)

    monkeypatch.setattr(Monitor, "check", interrupted)
    assert main(["warmup"]) == INTERRUPTED
    assert capsys.readouterr().err == "fastmlp: interrupted\n"
