"""Progress bars: where they end, what they say of time, and that the running one is seen."""

import errno
import io
import os
import re
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from marks import compiled_only

from fastmlp import MLP, SGD, FunctionProblem, compare, compare_problems, fit_many, minimize
from fastmlp.bar import Bar

BOWL = FunctionProblem(
    "bowl",
    lambda seed: lambda x: (float(x @ x), 2 * x),
    lambda seed: np.array([3.0, -4.0]),
    target=1e-6,
)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is set, for bars."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr("tqdm.std.time", lambda: now.seconds)
    monkeypatch.setattr("fastmlp.bar.time", SimpleNamespace(time=lambda: now.seconds))
    return now


def last_lines(shown):
    """What is left on the screen: of each line what was written last, from its start.

    Without that of the first kernels that are compiled.
    """
    assert "\x1b" not in shown  # nothing moves the cursor to another line
    lines = [line.rstrip("\r").rpartition("\r")[2].strip() for line in shown.split("\n")[:-1]]
    return [line for line in lines if not line.startswith("fastmlp: compiling kernels")]


# The clock


def test_the_time_of_others_is_not_a_bars_own(clock, capsys):
    bar, other = (Bar("pass", 20, title, position=0) for title in ("first", "second"))
    clock.seconds += 1
    bar.show(10)
    bar.pause()
    for passes in (10, 20):
        clock.seconds += 50
        other.show(passes)
    other.close()
    bar.resume()
    clock.seconds += 1
    bar.show(20)
    bar.close()
    second, first = last_lines(capsys.readouterr().err)
    assert "20/20 [00:02<00:00, 10.00pass/s]" in first
    assert first.startswith("first: 100%")
    assert "20/20 [01:41<00:00,  5.05s/pass]" in second


def test_what_a_checkpoint_brings_is_no_part_of_the_rate(clock, capsys):
    bar = Bar("epoch", 100)
    bar.start_at(90)
    clock.seconds += 1
    bar.show(100)
    bar.close()
    assert "100/100 [00:01<00:00, 10.00epoch/s]" in last_lines(capsys.readouterr().err)[-1]


def test_seconds_count_down(clock, capsys):
    bar = Bar("s", 8.0)
    for gone in range(1, 9):
        clock.seconds += 1
        bar.show(float(gone))
    bar.close()
    shown = capsys.readouterr().err
    left = re.findall(r"\[(\d\d:\d\d) left", shown)
    assert left[:8] == [f"00:0{seconds}" for seconds in range(7, -1, -1)]
    assert "8.0/8.0 s" in shown


# Ends


def test_runs_that_end_before_their_budget_end_their_bars(capsys):
    compare_problems([BOWL], ["lbfgs", "adam"], passes=50, seeds=2, progress=True)
    lbfgs, adam = last_lines(capsys.readouterr().err)
    done, total = re.search(r"lbfgs: 100%.* (\d+)/(\d+) ", lbfgs).groups()
    assert done == total
    assert 2 < int(total) < 100
    assert "adam: 100%" in adam
    assert "100/100" in adam


def test_a_budget_of_seconds_is_the_length_of_a_bar(capsys):
    X = np.random.default_rng(0).normal(size=(50, 2))
    net = MLP([2, 3, 1], seed=0)
    compare(net, X, X[:, 0], {"sgd": SGD(0.1)}, time_limit=0.1, seeds=2, progress=True)
    (line,) = last_lines(capsys.readouterr().err)
    assert re.search(r"sgd: 100%.*\| (\d\.\d)/\1 s \[00:00 left, objective=.*, pass/s=\d", line)


def test_a_fit_ends_its_bar_and_says_what_is_left_of_its_seconds(capsys):
    result = minimize(BOWL.make_function(0), [3.0, -4.0], progress=True, time_limit=1000)
    (line,) = last_lines(capsys.readouterr().err)
    assert line.startswith("100%")
    assert f"{result.n_iter}/{result.n_iter} " in line
    assert re.search(r"left=(999|1000)\.\ds", line)


def test_an_interrupted_run_leaves_its_bar_where_it_was(capsys):
    def interrupt(progress):
        if progress.record.epoch == 3:
            raise KeyboardInterrupt

    options = {"optimizer": "sgd(learning_rate=0.1)", "max_iterations": 10, "callbacks": interrupt}
    minimize(BOWL.make_function(0), [3.0, -4.0], progress=True, **options)
    (line,) = last_lines(capsys.readouterr().err)
    assert line.startswith("30%")
    assert "3/10" in line


def test_a_bar_of_networks_ends_with_the_last(capsys):
    X = np.random.default_rng(0).normal(size=(50, 2))
    fit_many([MLP([2, 3, 1], seed=i) for i in range(3)], X, X[:, 0], epochs=1, progress=True)
    (line,) = last_lines(capsys.readouterr().err)
    assert line.startswith("100%")
    assert "3/3" in line


def test_patience_ends_the_bar_of_an_estimator(capsys):
    sklearn = pytest.importorskip("fastmlp.sklearn")
    X = np.random.default_rng(0).normal(size=(50, 2))
    model = sklearn.MLPRegressor(tol=1e9, n_iter_no_change=2, verbose=1, random_state=0)
    model.fit(X, X[:, 0])
    (line,) = last_lines(capsys.readouterr().err)
    assert line.startswith("100%")
    assert f"{model.n_iter_}/{model.n_iter_} " in line


# No terminal


class Broken(io.StringIO):
    """A stream that fails after some writes."""

    def __init__(self, n_writes):
        super().__init__()
        self.n_left = n_writes

    def write(self, text):
        self.n_left -= 1
        if self.n_left < 0:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize("stderr", [None, *map(Broken, range(6))])
def test_a_fit_goes_on_without_its_bar(stderr, monkeypatch):
    problem = BOWL.make_function(0), [3.0, -4.0]
    options = {"optimizer": "sgd(learning_rate=0.1)", "max_iterations": 4}
    expected = minimize(*problem, **options)
    monkeypatch.setattr(sys, "stderr", stderr)
    result = minimize(*problem, **options, progress=True)
    np.testing.assert_array_equal(result.theta, expected.theta)
    assert result.status == expected.status


@pytest.mark.parametrize("stderr", [None, *map(Broken, range(0, 40, 3))])
def test_a_comparison_goes_on_without_its_bars(stderr, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr)
    optimizers = ["lbfgs", "sgd(learning_rate=0.1)"]
    comparisons = compare_problems([BOWL], optimizers, passes=5, seeds=2, progress=True)
    assert [len(runs) for runs in comparisons["bowl"].runs.values()] == [2, 2]


# A real terminal

COMPARISON = """
import numpy as np
from fastmlp import MLP, compare
X = np.random.default_rng(0).normal(size=(40, 3))
written = {f"adam(learning_rate=0.001, epochs={i}) + lbfgs" for i in range(1, 13)}
net = MLP([3, 4, 1], seed=0)
print(compare(net, X, X[:, 0], sorted(written), passes=30, seeds=2, progress=True))
"""


@compiled_only
def test_a_terminal_with_fewer_lines_than_optimizers():
    """The running bar is on the line of the cursor; the table keeps to the width."""
    pty, termios = map(pytest.importorskip, ("pty", "termios"))
    terminal, child = pty.openpty()
    termios.tcsetwinsize(child, (8, 80))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", COMPARISON], stdout=child, stderr=child, env=environment
    )
    os.close(child)
    shown = b""
    # Linux raises an error where the last one who could write has gone.
    with suppress(OSError):
        while piece := os.read(terminal, 4096):
            shown += piece
    os.close(terminal)
    assert process.wait() == 0, shown
    text = shown.decode().replace("\r\n", "\n")
    lines = last_lines(text)
    bars = [line for line in lines if "%|" in line]
    assert len(bars) == 12
    for bar in bars:
        assert "100%" in bar
        assert re.search(r"(\d+)/\1 \[", bar)
        assert "objective=" in bar
    assert max(map(len, text.replace("\r", "\n").split("\n"))) <= 80
    assert "over 2 seeds" in text
