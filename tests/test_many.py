"""Many networks in one call: the bits of fits one by one, rows, seeds, accidents, bad input."""

import inspect
import re
import signal
import subprocess
import sys
import textwrap
import threading
import tracemalloc

import numpy as np
import pytest
from functions import mini_batches
from marks import INTERPRETED, compiled_only
from numpy.testing import assert_array_equal

from fastmlp import LBFGS, MLP, SGD, Adam, Scipy, Status, fit, fit_many

# So long that only an accident ends it.
FOREVER = {"epochs": 10**9, "seeds": 0}


def classes(n=40, seed=0):
    """Samples of three classes that a network can learn."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    return X, (X @ rng.normal(size=(6, 3))).argmax(axis=1)


def small_nets(n=4, dtype="float32"):
    return [MLP([6, 9, 3], output="softmax", dtype=dtype, seed=seed) for seed in range(n)]


def mixed_nets():
    """Different depths, widths, activations, outputs of a network for classes, and dtypes."""
    return [
        MLP([6, 3], output="softmax", dtype="float64", seed=0),
        MLP([6, 9, 5, 3], output="softmax", activation="tanh", seed=1),
        MLP([6, 20, 3], output="softmax", activation="gelu", dtype="float64", seed=2),
        MLP([6, 4, 4, 4, 3], output="softmax", activation="elu", seed=3),
        MLP([6, 9, 5, 3], output="softmax", activation="relu", seed=4),
    ]


def thetas(nets):
    return [net.theta.copy() for net in nets]


def assert_same_parameters(nets, others):
    for net, other in zip(nets, others, strict=True):
        assert_array_equal(net.theta, other.theta)


def spawned(seed, n):
    """The seeds that networks get out of one, as documented."""
    return np.random.SeedSequence(seed).spawn(n)


# The same bits as one by one


OPTIMIZERS = {
    "default": None,
    "SGD": SGD(0.1, momentum=0.9),
    "by name": "adamw(learning_rate=0.01)",
    "LBFGS": LBFGS(),
    "Scipy TNC": Scipy("TNC"),
    "list": [Adam(0.01), "sgd", LBFGS()],
}
if INTERPRETED:  # which takes a thousand times longer
    OPTIMIZERS = {"list": OPTIMIZERS["list"]}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("n_threads", [1, 2, 8, None])
def test_each_network_ends_as_in_a_fit_of_its_own(optimizer, n_threads):
    X, y = classes(10 if INTERPRETED else 40)
    batches = mini_batches(optimizer, batch_size=16)
    options = {"optimizer": optimizer, "epochs": 3, "l2": 1e-3, **batches}
    nets, one_by_one = mixed_nets(), mixed_nets()
    results = fit_many(nets, X, y, seeds=7, n_threads=n_threads, **options)
    for net, result, seed in zip(one_by_one, results, spawned(7, 5), strict=True):
        expected = net.fit(X, y, seed=seed, n_threads=1, **options)
        assert_array_equal(result.theta, expected.theta)
        assert_array_equal(result.trace["objective"], expected.trace["objective"])
        assert result.loss == expected.loss
        assert (result.status, result.message) == (expected.status, expected.message)
    assert_same_parameters(nets, one_by_one)


def test_every_option_reaches_every_network():
    X, y = classes(60)
    options = {
        "optimizer": SGD(0.5),
        "loss": "cross_entropy",
        "batch_size": 7,
        "epochs": 4,
        "l1": 0.01,
        "l2": 0.02,
        "sample_weight": np.linspace(0, 1, 40),
        "shuffle": "replacement",
        "clip_norm": 0.1,
        "validation_data": (X[40:], y[40:]),
        "target_loss": 0.1,
        "time_limit": 1000.0,
    }
    nets, one_by_one = small_nets(), small_nets()
    results = fit_many(nets, X[:40], y[:40], seeds=range(4), **options)
    for net, result, seed in zip(one_by_one, results, range(4), strict=True):
        expected = net.fit(X[:40], y[:40], seed=seed, **options).trace
        assert_array_equal(result.trace["objective"], expected["objective"])
        assert_array_equal(result.trace["validation_loss"], expected["validation_loss"])
    assert_same_parameters(nets, one_by_one)


@compiled_only
def test_more_networks_than_threads_and_work_of_different_lengths():
    X, y = classes(200)
    nets, one_by_one = (
        [MLP([6, 1 + 7 * i % 60, 3], output="softmax", seed=i) for i in range(50)] for _ in range(2)
    )
    fit_many(nets, X, y, seeds=range(50), n_threads=3)
    for seed, net in enumerate(one_by_one):
        net.fit(X, y, seed=seed)
    assert_same_parameters(nets, one_by_one)


def test_data_may_be_lists_and_one_column_of_targets():
    X, y = [[0.0, 1], [2, 3], [4, 5]], [0.0, 1, 2]
    nets = [MLP([2, 3, 1], seed=seed) for seed in range(2)]
    one_by_one = [net.copy() for net in nets]
    fit_many(nets, X, y, epochs=2, seeds=[0, 0], rows=[[0, 1], [True, False, True]])
    one_by_one[0].fit(X[:2], y[:2], epochs=2, seed=0)
    one_by_one[1].fit(X[::2], y[::2], epochs=2, seed=0)
    assert_same_parameters(nets, one_by_one)


def test_in_another_thread_than_the_main_one():
    X, y = classes()
    nets, elsewhere = small_nets(), small_nets()
    fit_many(nets, X, y, epochs=2, seeds=0)
    options = {"epochs": 2, "seeds": 0}
    thread = threading.Thread(target=fit_many, args=(elsewhere, X, y), kwargs=options)
    thread.start()
    thread.join()
    assert_same_parameters(elsewhere, nets)


# Rows


@compiled_only
@pytest.mark.parametrize("call", ["fit_many([net, net.copy()], X, y", "net.fit(X, y, restarts=2"])
def test_in_a_daemon_thread_it_does_not_keep_the_process(call):
    """Which ends while the fits, of hours, go on."""
    program = f"""
        import threading
        import numpy as np
        from fastmlp import MLP, fit_many

        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(500, 4)), rng.normal(size=500)
        net, begun = MLP([4, 8, 1], seed=0), threading.Event()

        def train():
            {call}, epochs=10**9, callbacks=lambda progress: begun.set())

        threading.Thread(target=train, daemon=True).start()
        begun.wait()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def folds(n, k):
    return [np.setdiff1d(np.arange(n), np.arange(i, n, k)) for i in range(k)]


ROWS = {
    "folds": folds(40, 4),
    "masks": [np.arange(40) % 4 != i for i in range(4)],
    "bootstrap samples": np.random.default_rng(1).integers(0, 40, (4, 40)),
    "of each kind": [[3, 1, 2], range(20), np.arange(40) > 30, np.uint8([39, 0])],
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_each_network_trains_on_its_rows(rows, weighted):
    X, y = classes()
    weights = np.linspace(1, 2, 40) if weighted else None
    options = {"epochs": 3, "batch_size": 16}
    nets, one_by_one = small_nets(), small_nets()
    fit_many(nets, X, y, rows=rows, seeds=range(4), sample_weight=weights, **options)
    for seed, (net, part) in enumerate(zip(one_by_one, map(np.array, rows), strict=True)):
        chosen = weights[part] if weighted else None
        net.fit(X[part], y[part], seed=seed, sample_weight=chosen, **options)
    assert_same_parameters(nets, one_by_one)


@compiled_only
@pytest.mark.parametrize(("dtype", "copies"), [("float32", 0), ("float64", 1)])
def test_data_are_read_in_place_or_converted_once(dtype, copies):
    """For eight networks that train at once: another copy would be a whole X more.

    What else they need is a fifth to a half of X, by how many of them have a thread at a time.
    """
    X = np.random.default_rng(0).random((100_000, 32)).astype(dtype)
    y = X[:, 0].astype("float32")
    nets = [MLP([32, 2, 1], seed=seed) for seed in range(8)]
    options = {"epochs": 1, "shuffle": False, "batch_size": 1000, "n_threads": 8}
    fit_many(nets, X, y, **options)
    tracemalloc.start()
    try:
        fit_many(nets, X, y, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (copies + 1) * X.astype("float32").nbytes


# Seeds


def test_one_seed_gives_every_network_a_stream_of_its_own():
    X, y = classes()
    start = small_nets(1)[0]
    first, again, other = ([start.copy() for _ in range(4)] for _ in range(3))
    for nets, seed in ((first, 3), (again, 3), (other, 4)):
        fit_many(nets, X, y, epochs=2, batch_size=8, seeds=seed)
    assert_same_parameters(first, again)
    assert len({net.theta.tobytes() for net in (*first, *other)}) == 8


def test_the_stream_of_a_network_does_not_depend_on_those_after_it():
    X, y = classes()
    few, many = small_nets(2), small_nets(4)
    fit_many(few, X, y, epochs=2, batch_size=8, seeds=3)
    fit_many(many, X, y, epochs=2, batch_size=8, seeds=3)
    assert_same_parameters(few, many[:2])


def test_without_seeds_all_is_drawn_afresh():
    X, y = classes()
    nets = [net for _ in range(8) for net in small_nets(1)]
    fit_many(nets[:4], X, y, epochs=2, batch_size=8)
    fit_many(nets[4:], X, y, epochs=2, batch_size=8)
    assert len({net.theta.tobytes() for net in nets}) == 8


# Callbacks, ends, progress


def test_callbacks_see_the_epochs_of_every_network():
    X, y = classes()
    nets = small_nets()
    seen = []
    fit_many(nets, X, y, epochs=3, n_threads=2, callbacks=[seen.append])
    for net in nets:
        epochs = [progress.record.epoch for progress in seen if progress.network is net]
        assert epochs == [1, 2, 3]


def test_a_network_may_end_without_the_others(overflow):
    """One by its callback, one by divergence."""
    X, y = classes()
    nets = small_nets(4, "float64")
    nets[2].theta[:] = 1e160  # the product of two layers overflows

    def stop(progress):
        if progress.network is nets[1] and progress.record.epoch == 2:
            raise StopIteration

    results = fit_many(nets, X, y, epochs=5, callbacks=stop)
    statuses = [Status.COMPLETED, Status.STOPPED, Status.NOT_FINITE, Status.COMPLETED]
    assert [result.status for result in results] == statuses
    assert [result.n_iter for result in results] == [5, 2, 0, 5]


def test_callbacks_run_in_the_context_of_the_caller():
    X, y = classes()
    seen = []
    with np.errstate(divide="raise"):
        fit_many(small_nets(2), X, y, epochs=1, callbacks=lambda _: seen.append(np.geterr()))
    assert [settings["divide"] for settings in seen] == ["raise", "raise"]


def test_progress_counts_networks(capsys):
    X, y = classes()
    fit_many(small_nets(3), X, y, epochs=2, progress=True)
    shown = capsys.readouterr()
    assert "3/3" in shown.err
    assert "network" in shown.err
    assert "epoch" not in shown.err
    assert shown.out == ""
    fit_many(small_nets(3), X, y, epochs=2)
    assert capsys.readouterr().err == ""


# Accidents


class Accident:
    """A callback under which something happens when both of the first two networks train."""

    def __init__(self, nets, happen):
        self.starts = thetas(nets)
        self.newest = {}
        self._both = threading.Barrier(2, self._note)
        self._happen = happen
        self._first = nets[0]
        self.has_happened = False

    def _note(self):
        self.has_happened = True

    def __call__(self, progress):
        self.newest[id(progress.network)] = progress.theta.copy()
        if not self.has_happened:
            self._both.wait()
            if progress.network is self._first:
                self._happen()

    def assert_ends_at_finished_epochs(self, nets):
        """The first two have trained, the others are as they were."""
        for i, net in enumerate(nets):
            finished = self.newest[id(net)] if i < 2 else self.starts[i]
            assert_array_equal(net.theta, finished)
            assert i >= 2 or (net.theta != self.starts[i]).any()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def raise_keyboard_interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "happen",
    [lambda: signal.raise_signal(signal.SIGINT), raise_keyboard_interrupt],
    ids=["Ctrl-C", "KeyboardInterrupt"],
)
def test_ctrl_c_ends_all_at_their_last_finished_epochs(happen):
    X, y = classes()
    nets = small_nets()
    accident = Accident(nets, happen)
    results = fit_many(nets, X, y, n_threads=2, callbacks=accident, **FOREVER)
    assert [result.status for result in results] == [Status.INTERRUPTED] * 4
    accident.assert_ends_at_finished_epochs(nets)
    for i, result in enumerate(results):
        assert_array_equal(result.theta, nets[i].theta)
        assert len(result.trace) == (result.n_iter + 1 if i < 2 else 0)
        assert (result.n_iter > 0) == (i < 2)
        if i < 2:
            assert result.message == "interrupted by the user"
            assert result.loss == nets[i].loss(X, y)
        else:
            assert result.message == "interrupted by the user before it started"
            assert np.isnan(result.loss)


def test_ctrl_c_keeps_what_has_come_to_its_end():
    """One thread: the first network is through when the second is interrupted."""
    X, y = classes()
    nets, uninterrupted = small_nets(3), small_nets(1)
    fit_many(uninterrupted, X, y, epochs=3, seeds=0)

    def interrupt(progress):
        if progress.network is nets[1] and progress.record.epoch == 2:
            raise KeyboardInterrupt

    results = fit_many(nets, X, y, epochs=3, seeds=0, n_threads=1, callbacks=interrupt)
    assert [result.status for result in results] == [Status.COMPLETED, *[Status.INTERRUPTED] * 2]
    assert [result.n_iter for result in results] == [3, 2, 0]
    assert_same_parameters(nets[:1], uninterrupted)


def fail():
    raise ZeroDivisionError("in a callback")


def test_an_exception_in_a_callback_ends_all_and_comes_through():
    X, y = classes()
    nets = small_nets()
    accident = Accident(nets, fail)
    with pytest.raises(ZeroDivisionError, match="in a callback"):
        fit_many(nets, X, y, n_threads=2, callbacks=accident, **FOREVER)
    accident.assert_ends_at_finished_epochs(nets)


def test_an_exception_of_the_users_own_handler_ends_all_and_comes_through():
    """Such as that of a time limit which a test runner sets."""

    def handler(signum, frame):
        raise TimeoutError("by a signal")

    X, y = classes()
    nets = small_nets()
    accident = Accident(nets, lambda: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(TimeoutError, match="by a signal"):
            fit_many(nets, X, y, n_threads=2, callbacks=accident, **FOREVER)
    finally:
        signal.signal(signal.SIGINT, before)
    accident.assert_ends_at_finished_epochs(nets)


# Bad arguments


def with_one(other):
    """Four networks, the last of them an other one."""
    return lambda nets: [*nets[:3], other(nets)]


def spoiled(net):
    net = net.copy()
    net.theta[5] = np.nan
    return net


MLP_OF_FOUR = MLP([4, 3], output="softmax", seed=0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda nets: nets[0], TypeError, r"nets must be a sequence of fastmlp\.MLP, got MLP"),
        (lambda nets: "net", TypeError, r"nets must be a sequence of fastmlp\.MLP, got str"),
        (iter, TypeError, r"nets must be a sequence of fastmlp\.MLP, got list_iterator"),
        (lambda nets: [], ValueError, "nets must have at least one network, got none"),
        (with_one(lambda nets: "net"), TypeError, r"nets\[3\]: net must be a fastmlp\.MLP, got s"),
        (
            with_one(lambda nets: nets[1]),
            ValueError,
            r"nets must be different objects, got the same as nets\[1\] and nets\[3\]",
        ),
        (
            with_one(lambda nets: spoiled(nets[3])),
            ValueError,
            r"nets\[3\]: theta must be finite, got nan at index 5",
        ),
        (
            with_one(lambda nets: MLP_OF_FOUR),
            ValueError,
            r"nets\[3\]: X must have the shape \(n, 4\), one column for each input, got \(40, 6\)",
        ),
        (
            with_one(lambda nets: MLP([6, 2], output="softmax")),
            ValueError,
            r"nets\[3\]: y must hold class indices from 0 to 1, got 2",
        ),
        (
            with_one(lambda nets: MLP([6, 3], dtype="float64")),
            ValueError,
            r"nets\[3\]: y must have the shape \(40, 3\)",
        ),
    ],
)
def test_bad_networks_are_refused_before_any_is_changed(change, error, message):
    X, y = classes()
    nets = small_nets()
    before = thetas(nets)
    with pytest.raises(error, match=f"^{message}"):
        fit_many(change(nets), X, y, epochs=1)
    for net, theta in zip(nets, before, strict=True):
        assert_array_equal(net.theta, theta)


def test_bounds_must_fit_every_network():
    X, y = classes()
    nets = [MLP([6, 3], output="softmax", seed=0), MLP([6, 4, 3], output="softmax", seed=0)]
    bounds = (np.full(nets[0].n_params, -1.0), 1.0)
    with pytest.raises(ValueError, match=r"^nets\[1\]: bounds must be numbers or arrays of"):
        fit_many(nets, X, y, optimizer=[Adam(), LBFGS(bounds=bounds)])


X_WITH_NAN = classes()[0]
X_WITH_NAN[39, 2] = np.nan


def test_options_and_their_defaults_are_those_of_fit():
    """They stand in fit's signature alone; `fit_many` shows them as its own, and has them so."""
    own = {"n_threads", "progress", "seed", "restarts", "checkpoint"}
    of_fit, of_many = inspect.signature(fit).parameters, inspect.signature(fit_many).parameters
    shared = {name: one for name, one in of_fit.items() if one.kind is one.KEYWORD_ONLY}
    shared = {name: one for name, one in shared.items() if name not in own}
    assert dict(of_many) == {name: of_many[name] for name in list(of_many)[:7]} | shared
    assert list(of_many)[:7] == ["nets", "X", "y", "rows", "seeds", "n_threads", "progress"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"X": X_WITH_NAN}, ValueError, r"X must be finite, got nan at index \(39, 2\)"),
        ({"X": [["a"] * 6] * 40}, TypeError, "X must hold real numbers, got an array of dtype <U1"),
        ({"y": np.zeros(39)}, ValueError, r"y must have the shape \(40,\) for class indices"),
        ({"y": ["a"] * 40}, TypeError, "y must hold real numbers"),
        ({"y": [5] * 40}, ValueError, "y must hold class indices from 0 to 2, got 5"),
        ({"learning_rate": 1}, TypeError, "fit_many has the parameters .*, got 'learning_rate'"),
        ({"seed": 1}, TypeError, "fit_many has the parameters nets, .*, got 'seed'"),
        ({"optimizer": "adamm"}, ValueError, "optimizer must be one of sgd, .*, got 'adamm'"),
        ({"loss": "hinge"}, ValueError, "loss 'hinge' needs an output that can be negative"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer of at least 1, got 1.5"),
        ({"validation_data": 3}, ValueError, r"validation_data must be \(X, y\) or .*, got int"),
        ({"callbacks": 3}, TypeError, "callbacks must be a sequence of callables, got 3"),
        ({"time_limit": 0}, ValueError, "time_limit must be a positive number, got 0"),
        ({"n_threads": 0}, ValueError, "n_threads must be an integer of at least 1, got 0"),
        ({"progress": 1}, TypeError, "progress must be True or False, got 1"),
        ({"sample_weight": [1]}, ValueError, r"sample_weight must have the shape \(40,\)"),
        ({"seeds": -1}, ValueError, "seeds must be an integer of at least 0, got -1"),
        ({"seeds": True}, TypeError, "seeds must be an integer of at least 0, got True"),
        ({"seeds": "a"}, TypeError, "seeds must be a sequence of integers, an integer or None"),
        ({"seeds": 1.5}, TypeError, "seeds must be a sequence of integers, an .*, got float"),
        ({"seeds": [1, 2]}, ValueError, "seeds must be a sequence of one for each network, 4, got"),
        ({"seeds": [1, 2, 3, -4]}, ValueError, r"seeds\[3\] must be an integer of at least 0, got"),
        ({"seeds": [1, 2, 3, "4"]}, TypeError, r"seeds\[3\] must be an integer of at least 0, got"),
        ({"rows": 3}, TypeError, "rows must be a sequence of arrays, got int"),
        ({"rows": np.array(3)}, TypeError, "rows must be a sequence of arrays, got ndarray"),
        ({"rows": [[0], [1]]}, ValueError, "rows must be a sequence of one for each network, 4, "),
    ],
)
def test_bad_arguments_are_refused_before_any_network_is_changed(arguments, error, message):
    X, y = classes()
    nets = small_nets()
    before = thetas(nets)
    with pytest.raises(error, match=f"^{message}"):
        fit_many(nets, **{"X": X, "y": y, "epochs": 1, **arguments})
    for net, theta in zip(nets, before, strict=True):
        assert_array_equal(net.theta, theta)


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        (3, ValueError, "must be a vector of integers, or of 40 booleans, got the dtype int64 and"),
        ([[0, 1]], ValueError, "must be a vector of integers, .* and the shape (1, 2)"),
        ([0.0, 1.0], ValueError, "must be a vector of integers, .* got the dtype float64"),
        ([True, False], ValueError, "must be a vector of integers, or of 40 booleans, got the"),
        (["a"], TypeError, "must hold real numbers"),
        ([[1], [1, 2]], ValueError, "must be a rectangular array of numbers"),
        (np.array([], int), ValueError, "must name at least one row, got none"),
        (np.zeros(40, bool), ValueError, "must name at least one row, got none"),
        ([0, -1], ValueError, "must be from 0 to 39, got -1"),
        ([0, 40], ValueError, "must be from 0 to 39, got 40"),
        ([30, 31], ValueError, ": sample_weight must not be 0 for all samples, got all zeros"),
    ],
)
def test_bad_rows_are_refused_before_any_network_is_changed(part, error, message):
    X, y = classes()
    nets = small_nets()
    before = thetas(nets)
    pattern = r"^rows\[3\] ?" + re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(error, match=pattern):
        fit_many(nets, X, y, rows=[range(3)] * 3 + [part], sample_weight=np.arange(40) < 30)
    for net, theta in zip(nets, before, strict=True):
        assert_array_equal(net.theta, theta)
