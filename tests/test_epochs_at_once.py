"""Several epochs in one compiled call, against the same epochs one by one, and their twin.

A callback wants to see each epoch, so that a fit with one does them one by one, and the same work
otherwise: its theta, its counts and its trace but for the clock have to have the same bits.
"""

import math

import numpy as np
import pytest
import reference
from marks import INTERPRETED, compiled_only
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    Adam,
    AdamW,
    RMSProp,
    Status,
    Windowed,
    fit_many,
    pace,
    running,
    schedules,
    sweep,
)
from fastmlp.result import COLUMNS

EPOCHS = 3 if INTERPRETED else 23


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Have the code for it used from the start; count the epochs of each call."""
    monkeypatch.setattr(running, "EPOCHS", pace.Deferred(0.0, lambda dtype: False))
    done, run_epochs = [], sweep.Sweep.run_epochs

    def counted(self, several, *arguments):
        done.append(run_epochs(self, several, *arguments))
        return done[-1]

    monkeypatch.setattr(sweep.Sweep, "run_epochs", counted)
    return done


def data(n=50, n_in=6, n_out=3):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, n_in))
    return X, (X @ rng.standard_normal((n_in, n_out))).argmax(axis=1)


def net(sizes=(6, 9, 3), **given):
    return MLP(list(sizes), **{"output": "softmax", "activation": "tanh", "seed": 1} | given)


def nobody(progress):
    """Look at an epoch without doing anything."""


def columns(trace):
    return np.array([trace[name] for name in COLUMNS if name != "seconds"])


def assert_same(one, other):
    assert_array_equal(one.theta, other.theta)
    assert_array_equal(columns(one.trace), columns(other.trace))
    for name in ("loss", "status", "message", "n_iter", "n_loss_evals", "n_grad_evals"):
        assert getattr(one, name) == getattr(other, name), name


CASES = {
    "mini-batches": {},
    "full batch": {"batch_size": None},
    "one row at a time": {"batch_size": 1, "epochs": 3},
    "as they lie": {"shuffle": False},
    "with replacement": {"shuffle": "replacement"},
    "in windows": {"shuffle": Windowed(200)},
    "clipped": {"clip_norm": 0.1},
    "penalties": {"l1": 1e-3, "l2": 1e-2},
    "weights": {"sample_weight": np.arange(1.0, 51.0)},
    "momentum": {"optimizer": SGD(0.05, momentum=0.9)},
    "a rate by the epoch": {"optimizer": Adam(schedules.StepDecay(0.1, factor=0.5, every=3))},
    "a rate by the fit": {"optimizer": RMSProp(schedules.CosineLog(0.1))},
    "a decay by the update": {
        "optimizer": AdamW(
            weight_decay=schedules.LinearDecay(0.1, final=0.0, until=50, per="update")
        )
    },
    "one after the other": {"optimizer": [Adam(epochs=7), SGD(0.1, epochs=4), LBFGS()]},
    "a target": {"optimizer": Adam(0.05), "epochs": 500, "target_loss": 0.3},
    "a target at the start": {"target_loss": 1e9},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fits_are_those_of_epochs_one_by_one(case, dtype, at_once):
    X, y = data()
    options = {"batch_size": 16, "epochs": EPOCHS, "seed": 2} | CASES[case]
    if INTERPRETED:
        options["epochs"] = EPOCHS
    result = net(dtype=dtype).fit(X, y, **options)
    n_at_once = sum(at_once)
    expected = net(dtype=dtype).fit(X, y, callbacks=nobody, **options)
    assert_same(result, expected)
    assert n_at_once == sum(at_once), "a callback sees each epoch"
    is_drawn_otherwise = case in ("with replacement", "in windows")
    assert bool(n_at_once) != (is_drawn_otherwise or case == "a target at the start")
    assert (np.diff(result.trace["seconds"]) >= 0).all()
    assert result.trace["seconds"][-1] <= result.seconds


@compiled_only
@pytest.mark.parametrize(
    ("sizes", "given", "n_threads"),
    [
        ((6, 64, 64, 64, 3), {}, 1),
        ((6, 64, 64, 64, 3), {}, 2),
        ((6, 300, 300, 3), {}, 1),
        ((6, 9, 3), {"dropout": 0.2, "norm": "layer"}, 1),
        ((6, 9, 3), {"dropout": schedules.LinearDecay(0.5, final=0.1, until=9)}, 1),
        ((6, 9, 3), {"norm": "batch"}, 1),
    ],
    ids=str,
)
def test_so_are_those_of_other_networks(sizes, given, n_threads):
    X, y = data(300)
    options = {"batch_size": 37, "epochs": 9, "seed": 2, "n_threads": n_threads}
    result = net(sizes, **given).fit(X, y, **options)
    assert_same(result, net(sizes, **given).fit(X, y, callbacks=nobody, **options))


@compiled_only
@pytest.mark.parametrize("optimizer", [SGD(40.0), SGD(1e30), SGD(1e305)], ids=str)
def test_what_diverges_ends_at_the_same_step(optimizer, at_once):
    X, _ = data()
    y = X[:, :2] * 3
    given = {"output": "identity", "activation": "relu", "dtype": "float64"}
    results = [
        net((6, 9, 2), **given).fit(
            X, y, optimizer=optimizer, batch_size=16, epochs=99, seed=0, **options
        )
        for options in ({}, {"callbacks": nobody})
    ]
    assert_same(*results)
    assert results[0].status == Status.NOT_FINITE
    assert at_once


@compiled_only
def test_who_has_to_look_sees_each_epoch(at_once, tmp_path):
    X, y = data()
    for options in (
        {"time_limit": 100.0},
        {"validation_data": (X, y)},
        {"callbacks": [nobody]},
        {"checkpoint": tmp_path / "fit"},
    ):
        net().fit(X, y, batch_size=16, epochs=5, **options)
    assert not at_once


@compiled_only
def test_the_code_is_compiled_for_who_has_spent_some_time_without_it(at_once, monkeypatch):
    X, y = data()
    never = pace.Deferred(math.inf, lambda dtype: False)
    monkeypatch.setattr(running, "EPOCHS", never)
    expected = net().fit(X, y, epochs=5, seed=0)
    assert not at_once
    spent = pace.Deferred(1e-9, lambda dtype: False)
    monkeypatch.setattr(running, "EPOCHS", spent)
    assert_same(net().fit(X, y, epochs=5, seed=0), expected)
    assert spent.seconds_left(np.dtype("float32")) == 0


def test_epochs_equal_their_twin():
    """In float64 a few epochs of Adam differ by rounding alone, 1e-12 after so many operations."""
    X, y = data(30)
    network = net(dtype="float64")
    sizes, options = network.layer_sizes, {"l1": 1e-3, "l2": 1e-2}
    start = reference.unpack(network.theta.copy(), sizes)
    result = network.fit(X, y, batch_size=8, epochs=4, seed=5, **options)
    objectives, ends = reference.epochs(
        start,
        X,
        y,
        np.random.default_rng(5).random(4 * 30).reshape(4, 30),
        8,
        "adam",
        {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
        1e-3,
        activations=network.activations[:-1],
        output=network.output,
        loss="cross_entropy",
        **options,
    )
    assert_allclose(result.trace["objective"][1:], objectives, rtol=1e-12)
    assert_allclose(network.theta, reference.pack(ends[-1]), rtol=1e-9, atol=1e-12)


@compiled_only
def test_many_networks_share_kept_sweeps_and_have_their_own_bits():
    X, y = data(200)
    nets = [net(seed=i) for i in range(6)]
    results = fit_many(nets, X, y, seeds=list(range(6)), batch_size=32, epochs=9, l2=1e-3)
    for i, result in enumerate(results):
        sweep.KEPT.clear()
        alone = net(seed=i).fit(
            X, y, seed=i, batch_size=32, epochs=9, l2=1e-3, n_threads=1, callbacks=nobody
        )
        assert_same(result, alone)


@compiled_only
def test_networks_of_one_architecture_share_what_is_kept(monkeypatch):
    X, y = data()
    net().fit(X, y, batch_size=16, epochs=2)
    made, new = [], sweep.Sweep

    def counted(*arguments, **options):
        made.append(new(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(sweep, "Sweep", counted)
    net(seed=2).fit(X, y, batch_size=16, epochs=2)
    assert not made
    for other in (
        net(dtype="float64"),
        net(activation="relu"),
        net(activation="leaky_relu(0.1)"),
        net(activation="leaky_relu(0.2)"),
        net(sizes=(6, 10, 3)),
    ):
        made.clear()
        other.fit(X, y, batch_size=16, epochs=2)
        assert len(made) == 2, "one to train, one to evaluate"


# Estimators: patience, and going back to the best epoch


ESTIMATORS = {
    "all epochs": {"max_iter": 40, "n_iter_no_change": np.inf},
    "patience": {"max_iter": 500, "learning_rate_init": 0.05, "tol": 1e-2},
    "little patience": {"max_iter": 500, "n_iter_no_change": 1, "learning_rate_init": 0.1},
    "noise": {"max_iter": 60, "learning_rate_init": 0.3, "n_iter_no_change": 4},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.2}
    | {"max_iter": 300, "tol": 1e-2},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "max_iter": 20},
    "two solvers": {"solver": [Adam(epochs=9), SGD(0.1, epochs=5)]},
    "standardized": {"standardize": True, "max_iter": 20},
}


@compiled_only
@pytest.mark.parametrize("case", ESTIMATORS)
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators_end_as_epoch_by_epoch(case, kind, at_once):
    estimators = pytest.importorskip("fastmlp.sklearn", reason="scikit-learn is not installed")
    X, y = data()
    given = {"hidden_layer_sizes": 9, "batch_size": 16, "random_state": 0} | ESTIMATORS[case]
    if kind == "MLPRegressor":
        y = X[:, 0] - X[:, 1] ** 2
        given["loss"] = "huber"
        if case == "adaptive":
            given["learning_rate_init"] = 0.02
    made = [getattr(estimators, kind)(**given, callbacks=callbacks) for callbacks in (None, nobody)]
    for warm_start in (False, True):
        for one in made:
            one.set_params(warm_start=warm_start).fit(X, y)
        one, other = made
        assert_array_equal(one.network_.theta, other.network_.theta)
        assert_array_equal(columns(one.trace_), columns(other.trace_))
        for name in ("loss_", "n_iter_", "t_", "best_loss_", "loss_curve_", "_shuffle"):
            assert getattr(one, name) == getattr(other, name), name
        for index, state in other._states.items():
            assert_array_equal(
                one._states[index]["optimizer"]["state"], state["optimizer"]["state"]
            )
            for name in ("n_updates", "mask_seed"):
                assert one._states[index]["optimizer"][name] == state["optimizer"][name]
            assert one._states[index]["epochs"] == state["epochs"]
    assert at_once
