"""Networks fitted to rows that come in parts: the whole objective, local averaging, bad parts."""

import math
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context

import numpy as np
import pytest
from marks import compiled_only
from scipy.sparse import csr_array

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    Adam,
    AdamW,
    Objective,
    Status,
    StochasticLBFGS,
    datasets,
    fit_parts,
)

X, Y = datasets.load_digits()
CUTS = (0, 600, 650, 1797)
START = MLP([64, 12, 10], output="softmax", seed=0)


def loader(*arrays):
    return partial(tuple, arrays)


def cut(*arrays, cuts=CUTS):
    """Loaders of the rows between neighbouring cuts."""
    return [loader(*(array[start:stop] for array in arrays)) for start, stop in pairwise(cuts)]


def fitted(parts, net=START, **options):
    """A copy of a network after a fit of some iterations, and the result."""
    net = net.copy()
    return net, fit_parts(net, parts, **{"epochs": 12, **options})


# The whole objective


def test_the_loss_is_that_of_all_rows_together():
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    options = {"l1": 1e-4, "l2": 1e-3}
    net, result = fitted(cut(X, Y, weights), **options)
    whole = Objective(net, X, Y, sample_weight=weights, **options)
    assert result.loss == pytest.approx(whole.value(), rel=1e-5)
    assert result.trace[0].objective == pytest.approx(
        START.loss(X, Y, sample_weight=weights, **options), rel=1e-5
    )


@pytest.mark.parametrize("optimizer", ["lbfgs", "bfgs", "conjugate_gradient", "gradient_descent"])
def test_the_way_of_a_solver_is_that_of_one_place(optimizer):
    net = MLP([64, 5, 10], output="softmax", dtype="float64", seed=1)
    alone = net.copy()
    expected = alone.fit(X, Y, optimizer=optimizer, epochs=8, l2=1e-3)
    ours, result = fitted(cut(X, Y), net, optimizer=optimizer, epochs=8, l2=1e-3)
    np.testing.assert_allclose(ours.theta, alone.theta, rtol=1e-6, atol=1e-9)
    assert result.n_iter == expected.n_iter
    assert result.n_grad_evals == expected.n_grad_evals
    np.testing.assert_allclose(
        result.trace["objective"], expected.trace["objective"], rtol=1e-9, atol=1e-12
    )


def test_l1_goes_to_the_solver_for_it():
    alone = MLP([64, 5, 10], output="softmax", dtype="float64", seed=1)
    ours = alone.copy()
    alone.fit(X, Y, optimizer="owlqn", epochs=10, l1=1e-2)
    fit_parts(ours, cut(X, Y), optimizer="owlqn", epochs=10, l1=1e-2)
    assert (ours.theta == 0).any()
    np.testing.assert_allclose(ours.theta, alone.theta, rtol=1e-6, atol=1e-9)


def test_one_part_gives_the_bits_of_fit():
    alone = START.copy()
    alone.fit(X, Y, optimizer="lbfgs", epochs=12)
    assert np.array_equal(fitted([loader(X, Y)])[0].theta, alone.theta)


@compiled_only
def test_bits_are_the_same_through_every_map():
    parts = cut(X, Y)
    expected = fitted(parts, n_threads=1)[0].theta
    with ThreadPoolExecutor(3) as threads:
        assert np.array_equal(fitted(parts, map=threads.map, n_threads=2)[0].theta, expected)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert np.array_equal(fitted(parts, map=processes.map, epochs=12)[0].theta, expected)
        rounds = {"optimizer": Adam(), "rounds": 2, "seed": 3, "epochs": 1}
        averaged = fitted(parts, **rounds)[0].theta
        assert np.array_equal(fitted(parts, map=processes.map, **rounds)[0].theta, averaged)


def test_empty_parts_and_parts_without_weight_change_no_bit():
    weights = np.ones(len(X))
    full = cut(X, Y, weights)
    nothing = loader(X[:0], Y[:0], weights[:0]), loader(X[:9], Y[:9], np.zeros(9))
    expected = fitted(full)[0].theta
    assert np.array_equal(fitted([nothing[0], *full, nothing[1]])[0].theta, expected)


def test_a_part_may_have_one_class_only():
    by_class = [
        loader(X[rows], Y[rows]) for rows in map(np.flatnonzero, np.arange(10)[:, None] == Y)
    ]
    _, result = fitted(by_class)
    assert result.loss == pytest.approx(fitted([loader(X, Y)])[1].loss, rel=1e-2)


def test_several_solvers_run_in_turn_with_their_own_budgets():
    result = fitted(cut(X, Y), optimizer=["gradient_descent", LBFGS(max_iterations=4)], epochs=2)[1]
    assert result.n_iter == 6


def test_records_callbacks_and_validation_are_as_of_fit():
    seen = []

    def stop_after_three(progress):
        seen.append(progress.record.validation_loss)
        if progress.record.epoch == 3:
            raise StopIteration

    net, result = fitted(cut(X, Y), callbacks=stop_after_three, validation_data=(X[:300], Y[:300]))
    assert result.status is Status.STOPPED
    assert len(seen) == 4
    assert seen[-1] == net.loss(X[:300], Y[:300])


def test_a_target_ends_the_fit():
    _, result = fitted(cut(X, Y), target_loss=1.0)
    assert result.status is Status.TARGET_REACHED
    assert result.loss <= 1.0


def test_a_time_limit_is_heeded_between_parts():
    """The second part of each evaluation is never asked for, once the time is over."""
    asked = []

    def slow():
        asked.append(0)
        return X[:5], Y[:5]

    _, result = fitted([slow, slow], time_limit=1e-9)
    assert result.status is Status.TIME_LIMIT
    assert len(asked) == 2  # to look at the parts


def test_names_of_columns_come_from_the_parts():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, :3], columns=["a", "b", "c"])
    net = MLP([3, 1], seed=0)
    fit_parts(net, cut(frame, X[:, 5]), epochs=2)
    assert net.feature_names == ("a", "b", "c")
    other = [loader(frame, X[:, 5]), loader(frame[["b", "a", "c"]], X[:, 5])]
    with pytest.raises(ValueError, match=r"part 1: columns of X must be as in part 0, got \('b'"):
        fit_parts(MLP([3, 1], seed=0), other)
    fit_parts(net, other, epochs=1)  # by name


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "adam", "rounds": 2, "epochs": 1, "seed": 0}]
)
def test_rows_of_a_part_may_be_in_a_file_or_sparse(tmp_path, options):
    """To the bits of those in memory, but for the order of a part's rows in an epoch."""
    paths = []
    for i, (start, stop) in enumerate(pairwise(CUTS)):
        paths.append(tmp_path / f"{i}.npy")
        np.save(paths[-1], X[start:stop])
    mapped = [
        loader(np.load(path, mmap_mode="r"), Y[start:stop])
        for path, (start, stop) in zip(paths, pairwise(CUTS), strict=True)
    ]
    sparse = [loader(csr_array(X[start:stop]), Y[start:stop]) for start, stop in pairwise(CUTS)]
    options = options | ({"shuffle": False} if options else {})
    expected = fitted(cut(X, Y), **options)[0].theta
    assert np.array_equal(fitted(mapped, **options)[0].theta, expected)
    np.testing.assert_allclose(fitted(sparse, **options)[0].theta, expected, rtol=1e-3, atol=1e-5)


# Local averaging


def test_averaging_every_update_of_whole_parts_is_full_batch_descent():
    """The mean of one step from the same place each is the step along the mean of gradients."""
    parts, rounds = cut(X, Y), 5
    rate = SGD(0.1, momentum=0.9)
    net, result = fitted(
        parts, optimizer=rate, rounds=rounds, epochs=1, batch_size=None, l2=1e-3, seed=0
    )
    alone = START.copy()
    expected = alone.fit(X, Y, optimizer=rate, batch_size=None, epochs=rounds, l2=1e-3, seed=0)
    np.testing.assert_allclose(net.theta, alone.theta, rtol=1e-4, atol=1e-6)
    assert result.loss == pytest.approx(expected.loss, rel=1e-5)


def test_averaging_comes_as_far_as_one_place_does_in_as_many_passes():
    optimizer, passes = SGD(0.05, momentum=0.9), 20
    expected = START.copy().fit(X, Y, optimizer=optimizer, epochs=passes, seed=0).loss
    parts = cut(X, Y, cuts=(0, 450, 900, 1350, 1797))
    for n_epochs in (1, 2):
        rounds = passes // n_epochs
        _, result = fitted(parts, optimizer=optimizer, rounds=rounds, epochs=n_epochs, seed=0)
        assert result.loss < 1.02 * expected


@pytest.mark.parametrize("cuts", [(0, 900, 1797), (0, 450, 900, 1350, 1797)])
def test_mini_batches_that_share_out_those_of_one_place_have_longer_normalized_steps(cuts):
    """By the root of the number of parts, and no other decay."""
    n_parts, parts = len(cuts) - 1, cut(X, Y, cuts=cuts)
    longer = math.sqrt(n_parts) * 1e-3
    by_itself = fitted(parts, optimizer=AdamW(1e-3, weight_decay=0.3), rounds=3, epochs=1, seed=0)
    by_hand = fitted(
        parts,
        optimizer=AdamW(longer, weight_decay=0.3e-3 / longer),
        batch_size=128 // n_parts,
        rounds=3,
        epochs=1,
        seed=0,
    )
    np.testing.assert_allclose(by_itself[0].theta, by_hand[0].theta, rtol=1e-3, atol=1e-6)


def test_a_round_is_one_record_of_the_objective_at_the_mean():
    seen = []
    net, result = fitted(
        cut(X, Y),
        optimizer="adam",
        rounds=3,
        epochs=2,
        seed=1,
        callbacks=lambda progress: seen.append(progress.network.theta.copy()),
    )
    assert result.status is Status.COMPLETED
    assert result.trace["epoch"].tolist() == [0, 1, 2, 3]
    assert result.trace["data_passes"].tolist() == [0, 2, 4, 6]
    at = START.copy()
    for theta, objective in zip(seen, result.trace["objective"][1:], strict=True):
        at.theta = theta
        assert objective == pytest.approx(at.loss(X, Y), rel=1e-6)
    assert np.array_equal(net.theta, seen[-1])


def test_seeds_decide_and_differ_between_rounds_and_parts():
    options = {"optimizer": "adam", "rounds": 2, "epochs": 1}
    first, again, other = (fitted(cut(X, Y), seed=s, **options)[0].theta for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    twins = [loader(X[:300], Y[:300])] * 2
    alone = fitted(twins[:1], seed=0, **options)[0].theta
    assert not np.array_equal(fitted(twins, seed=0, **options)[0].theta, alone)


def test_batch_norm_and_dropout_are_for_local_averaging():
    net = MLP([64, 12, 10], output="softmax", norm="batch", dropout=0.1, seed=0)
    averaged, result = fitted(cut(X, Y), net, optimizer="adam", rounds=20, epochs=1, seed=0)
    means = averaged.statistics["norm_mean[0]"]
    assert result.loss < 1.0
    assert np.abs(means).max() > 0
    with pytest.raises(ValueError, match=r"with norm='batch' and dropout"):
        fit_parts(net, cut(X, Y))


def test_a_fit_that_diverges_goes_back_to_the_best_mean():
    net, result = fitted(
        cut(X * 1e3, Y), optimizer=SGD(1e30), rounds=3, epochs=1, seed=0, batch_size=None
    )
    assert result.status is Status.NOT_FINITE
    assert np.array_equal(net.theta, START.theta)
    assert result.loss == pytest.approx(START.loss(X * 1e3, Y), rel=1e-6)


# Bad parts


def broken():
    raise FileNotFoundError("rows.npy")


@pytest.mark.parametrize(
    ("parts", "kind", "message"),
    [
        ([], ValueError, "parts must have at least one loader, got none"),
        (5, TypeError, "parts must be a sequence of callables, got int"),
        ([(X, Y)], TypeError, "parts must be callables, got tuple for part 0"),
        ([loader(X[:0], Y[:0])] * 2, ValueError, "all 2 are empty"),
        ([loader(X)], TypeError, r"part 0: a loader must return \(X, y\) or .* got tuple"),
        ([lambda: X], TypeError, "part 0: a loader must return .* got ndarray"),
        ([loader(X, Y), loader(X[:, :9], Y)], ValueError, r"part 1: X must have the shape \(n, 64"),
        ([loader(X, Y), loader(X, Y[:-1])], ValueError, r"part 1: y must have the shape \(1797,\)"),
        ([loader(X, Y), loader(X, Y + 1)], ValueError, "part 1: y must hold class .* got 10"),
        ([loader(X, Y), loader(X, np.eye(10)[Y])], ValueError, "part 1: columns of y must be as"),
        ([loader(X, Y), loader(X, Y, Y + 1)], ValueError, "part 1: sample weights must be as"),
        ([loader(X, Y, Y - 1)], ValueError, "part 0: sample_weight must not be negative"),
        (
            [loader(X, Y), loader(np.where(X == 1, np.nan, X), Y)],
            ValueError,
            r"part 1: X must be finite, got nan at index \(\d+, \d+\)",
        ),
    ],
)
def test_a_bad_part_is_named_and_nothing_changes(parts, kind, message):
    net = START.copy()
    with pytest.raises(kind, match=message):
        fit_parts(net, parts)
    assert np.array_equal(net.theta, START.theta)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"optimizer": "adam"}, ValueError, "got Adam, .* give rounds for local averaging"),
        ({"optimizer": "levenberg_marquardt"}, ValueError, "by values and gradients"),
        (
            {"optimizer": StochasticLBFGS()},
            ValueError,
            "batch_size of StochasticLBFGS must be None",
        ),
        ({"rounds": 2}, ValueError, "rounds must be None unless .* got 2 for LBFGS"),
        ({"rounds": 2, "optimizer": ["adam", "sgd"]}, ValueError, "rounds must be None unless"),
        ({"rounds": 0, "optimizer": "adam"}, ValueError, "rounds must be an integer of at least 1"),
        (
            {"rounds": 2, "optimizer": "adam", "seed": [1, 2]},
            TypeError,
            "seed must be an integer of at least 0",
        ),
        ({"batch_size": 10}, ValueError, "batch_size must not be given for LBFGS"),
        ({"map": 3}, TypeError, "map must be callable, got 3"),
        ({"map": lambda f, parts: []}, ValueError, "a result for each of the 3 parts, got 0"),
        (
            {"map": lambda f, parts: map(f, parts[::-1])},
            ValueError,
            "in the order of the parts, got that of part 2 in the place of part 0",
        ),
        ({"l2": -1.0}, ValueError, "l2 must be a number of at least 0"),
        ({"loss": "hinge"}, ValueError, "loss 'hinge' needs an output that can be negative"),
        ({"n_threads": 0}, ValueError, "n_threads must be an integer"),
    ],
)
def test_bad_options_are_refused(options, kind, message):
    net = START.copy()
    with pytest.raises(kind, match=message):
        fit_parts(net, cut(X, Y), **options)
    assert np.array_equal(net.theta, START.theta)


def test_starting_weights_that_await_data_are_refused():
    net = MLP([64, 12, 10], output="softmax", init="data")
    with pytest.raises(ValueError, match="net must have its starting weights"):
        fit_parts(net, cut(X, Y))


def test_what_a_loader_raises_comes_out_with_the_number_of_the_part():
    with pytest.raises(FileNotFoundError, match=r"rows\.npy") as raised:
        fit_parts(START.copy(), [loader(X, Y), broken])
    assert raised.value.__notes__ == ["raised by the loader of part 1"]
    assert pickle.loads(pickle.dumps(raised.value)).__notes__ == raised.value.__notes__


class BreaksLater:
    """A loader that works a number of times."""

    def __init__(self, times, then):
        self._left, self._then = times, then

    def __call__(self):
        self._left -= 1
        return (X, Y) if self._left >= 0 else self._then()


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "adam", "rounds": 9, "epochs": 1, "seed": 0}], ids=["", "rounds"]
)
def test_after_a_failure_theta_is_that_of_the_last_finished_iteration(options):
    records = []
    net = START.copy()
    with pytest.raises(FileNotFoundError):
        fit_parts(
            net,
            [BreaksLater(8, broken), loader(X, Y)],
            callbacks=lambda progress: records.append(progress.theta.copy()),
            **options,
        )
    assert len(records) > 1
    assert np.array_equal(net.theta, records[-1].astype(net.dtype))


def test_rows_that_change_under_way_are_refused():
    with pytest.raises(ValueError, match="part 0 must have the same rows each time, got 9 rows"):
        fit_parts(START.copy(), [BreaksLater(3, loader(X[:9], Y[:9]))])
