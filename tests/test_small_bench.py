"""asv_bench.small: every library makes the fits, and the tables say what was measured."""

import importlib

import numpy as np
import pytest
from marks import compiled_only

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import fastmlp
from asv_bench.benchmarks import small
from asv_bench.peers.libraries import LIBRARIES, installed
from asv_bench.small import __main__ as command
from asv_bench.small import report, tasks
from asv_bench.small.tasks import TASKS

PAIRS = [
    (task, library)
    for task in TASKS.values()
    for library in task.libraries
    # scikit-learn's own fits need no test here, and the digits take long.
    if library != "scikit-learn" and task.name != "64-32-10"
]


@compiled_only
@pytest.mark.parametrize(("task", "library"), PAIRS, ids=lambda one: getattr(one, "name", one))
def test_each_library_makes_each_fit(task, library, monkeypatch):
    if library != "scipy" and not installed(library):
        pytest.skip(f"{library} is not installed")
    monkeypatch.setattr(tasks, "FEWEST_FITS", 1)
    monkeypatch.setattr(small, "N_NETWORKS", 3)
    found = tasks.measure(task, library, quick=True)
    assert found["seconds"] > 0
    assert (task.kind == "lbfgs") == ("evaluations" in found)


@compiled_only
@pytest.mark.parametrize("name", ["iris", "full"])
def test_jax_trains_as_we_do(name, monkeypatch):
    """From our start, with orders as they lie, in float32: the same loss to a few digits."""
    pytest.importorskip("jax", reason="JAX is not installed")
    of_jax = importlib.import_module("asv_bench.small.of_jax")
    fit = small.FITS[name]
    net = fit.network()
    X, y = fit.data()
    layers = [(W.copy(), b.copy()) for W, b in zip(net.weights, net.biases, strict=True)]
    monkeypatch.setattr(of_jax, "_start", lambda sizes, rng: layers)
    in_order = np.tile(np.arange(fit.n_rows), (1, 5, 1))
    monkeypatch.setattr(of_jax, "_orders", lambda *given: in_order)
    for is_flat in (True, False):
        trained = of_jax._fit(fit, 5, 1, is_flat, by_map=True)()
        theta = np.concatenate([np.ravel(part) for part in of_jax.jax.tree.leaves(trained)])
        ours = net.copy()
        ours.fit(X, y, batch_size=fit.batch, epochs=5, shuffle=False)
        np.testing.assert_allclose(theta, ours.theta, rtol=1e-3, atol=1e-4)


@compiled_only
def test_what_is_above_the_kernels_is_less_than_the_fit():
    exact = small.epoch.exact_sweep, small.sweep.exact_epochs
    above = small.seconds_above_kernels(n_fits=3, epochs=2)
    assert 0 < above < 10
    assert (small.epoch.exact_sweep, small.sweep.exact_epochs) == exact


def test_the_tables_say_what_was_measured():
    figures = {
        ("iris", "fastmlp"): {"seconds": 0.002},
        ("iris", "jax"): {"seconds": 0.02},
        ("iris", "torch"): {"seconds": 0.5},
        ("4-16-3", "fastmlp"): {"seconds": 0.001, "evaluations": 100},
        ("4-16-3", "scipy"): {"seconds": 0.003, "evaluations": 150},
    }
    text = report.tables([TASKS["iris"], TASKS["4-16-3"]], figures, 3e-4)
    assert text.splitlines() == [
        "| milliseconds a fit | fastmlp | JAX | PyTorch | fastest peer / ours |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| iris, 4-16-3 tanh, batch 32, 200 epochs | 2 | 20 | 500 | 10.0 |",
        "",
        "| L-BFGS, 100 iterations | fastmlp, ms | µs an evaluation | SciPy, µs an evaluation "
        "| SciPy / fastmlp | scikit-learn, ms | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| 4-16-3 | 1 | 10 | 20 | 2.0 | - | - |",
        "",
        "`fit` above its kernels, 5 full-batch epochs of 4-32-16-4 on 10,000 rows: 0.30 ms.",
    ]


def test_the_command_takes_medians_of_rounds(monkeypatch, capsys):
    seconds = iter([3.0, 1.0, 5.0])

    def measured(name, library, quick):
        if name == "above-kernels":
            return {"seconds": 0.001}
        return {"seconds": next(seconds) if library == "fastmlp" else 10.0}

    monkeypatch.setattr(command, "measure_apart", measured)
    monkeypatch.setattr(command, "installed", lambda library: library != "torch")
    command.main(["--tasks", "classifier"])
    output = capsys.readouterr().out
    assert "| 3e+03 | 1e+04 | 3.3 |" in output
    assert fastmlp.__version__ in output
    assert set(TASKS["classifier"].libraries) <= set(LIBRARIES)
