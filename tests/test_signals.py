"""Signals at random moments: the exception arrives, nothing hangs, networks are as promised."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from marks import compiled_only

from fastmlp.kernels import _jit

pytestmark = [
    compiled_only,
    pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="the system has no such signals"),
]

# What the processes run. A thread sends a signal while the main one is in a call that would take
# for ever; the signal may come before the call has begun to listen, as any may.
PROGRAM = '''
import os, signal, sys, threading
import numpy as np
import fastmlp
from fastmlp import MLP, Status


class TimeIsUp(Exception):
    """As a test's time limit. No OSError: Python's imports take these for files not found."""


def raise_time_is_up(signum, frame):
    """Raise, or try again soon where Python would drop it: in weak references' callbacks."""
    while frame is not None:
        if frame.f_code.co_name in {"_remove", "remove", "_on_type_disposal", "__del__"}:
            signal.setitimer(signal.ITIMER_REAL, 1e-3)
            return
        frame = frame.f_back
    raise TimeIsUp("time is up")


def after(seconds, name, call):
    """Call with a signal after so many seconds; return the result, or the exception."""
    number = getattr(signal, name)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
    try:
        timer.start()
        call()
        timer.join()  # the signal comes at the latest now
        while True:
            signal.pause()
    except (TimeIsUp, KeyboardInterrupt) as error:
        return error


class Nets:
    """Networks, and what their parameters were after each finished epoch."""

    def __init__(self, n):
        self.nets = [MLP([4, 8, 1], seed=seed) for seed in range(n)]
        self.finished = {id(net): net.theta.copy() for net in self.nets}

    def __call__(self, progress):
        self.finished[id(progress.network)] = progress.theta.copy()

    def check(self, name, outcome):
        for net in self.nets:
            assert np.isfinite(net.theta).all()
            if name == "SIGINT":
                assert (net.theta == self.finished[id(net)]).all()


def interrupted(results):
    """Ctrl-C ends in results that say so: from here on they count as the exception."""
    assert all(result.status == Status.INTERRUPTED for result in results)
    raise KeyboardInterrupt


def fit(seconds, name):
    nets = Nets(1)
    options = {"epochs": 10**9, "callbacks": nets, "batch_size": 16, "seed": 0}
    outcome = after(seconds, name, lambda: interrupted([nets.nets[0].fit(X, y, **options)]))
    nets.check(name, outcome)
    return outcome


def fit_many(seconds, name):
    nets = Nets(4)
    options = {"epochs": 10**9, "callbacks": nets, "n_threads": 2}
    outcome = after(
        seconds, name, lambda: interrupted(fastmlp.fit_many(nets.nets, X, y, **options))
    )
    nets.check(name, outcome)
    return outcome


def minimize(seconds, name):
    def bowl(x):
        return x @ x, 2 * x

    options = {"optimizer": "adam", "max_iterations": 10**9, "target_loss": -1.0}
    outcome = after(
        seconds, name, lambda: interrupted([fastmlp.minimize(bowl, np.ones(2), **options)])
    )
    assert fastmlp.minimize(bowl, [1.0, 2.0]).loss < 1e-9
    return outcome


def compare(seconds, name):
    net = MLP([4, 8, 1], seed=0)

    def call():
        comparison = fastmlp.compare(net, X, y, ["adam", "lbfgs"], time_limit=1000.0)
        interrupted([[*comparison.runs.values()][-1][-1].result])

    outcome = after(seconds, name, call)
    assert (net.theta == MLP([4, 8, 1], seed=0).theta).all()
    return outcome


rng = np.random.default_rng(0)
X, y = rng.normal(size=(100, 4)), rng.normal(size=100)
signal.signal(signal.SIGALRM, raise_time_is_up)
call, name, moments = globals()[sys.argv[1]], sys.argv[2], map(float, sys.argv[3:])
for seconds in moments:
    outcome = call(seconds, name)
    assert type(outcome) is (KeyboardInterrupt if name == "SIGINT" else TimeIsUp), outcome
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
# And all goes on as if nothing had been.
net = MLP([4, 8, 1], seed=0)
if call is not minimize:
    net.fit(X, y, epochs=2, seed=0)
print(net.theta.tobytes().hex())
'''


def run(cache, call, name, moments):
    process = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, call, name, *map(str, moments)],
        env={**os.environ, "FASTMLP_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    assert "ignored" not in process.stderr  # Python's word for an exception that it cannot raise
    return process.stdout


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache that has what the calls need, and what a fit ends with."""
    folder = tmp_path_factory.mktemp("signals")
    ours = _jit.cache_directory()
    if ours.is_dir():
        shutil.copytree(ours, folder / ours.name)
    return folder, run(folder, "compare", "SIGALRM", [])


def uniform(seed, low, high, size):
    return np.random.default_rng(seed).uniform(low, high, size)


each_signal = pytest.mark.parametrize("name", ["SIGINT", "SIGALRM"])


@each_signal
@pytest.mark.parametrize("call", ["fit", "fit_many", "compare"])
def test_at_any_moment_of_calls_in_one_process(call, name, warm):
    """The first of them loads its kernels."""
    folder, expected = warm
    moments = uniform(len(call), 0.0, 0.2, 20)
    assert run(folder, call, name, moments) == expected


@each_signal
@pytest.mark.parametrize("seed", range(2))
def test_while_kernels_are_loaded(seed, name, warm):
    folder, expected = warm
    assert run(folder, "fit", name, uniform(seed, 0.0, 0.4, 1)) == expected


@each_signal
def test_while_kernels_are_compiled(name, tmp_path):
    """Of a small function, as a network's take longer; what is left half-way is made whole."""
    run(tmp_path, "minimize", name, uniform(3, 0.1, 0.5, 1))
