"""Networks and estimators on Dask collections, on a cluster of three processes."""

import asyncio
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from marks import compiled_only

import fastmlp
from fastmlp import MLP, Status, datasets, fit_parts

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
pandas = pytest.importorskip("pandas")

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

pytestmark = compiled_only  # in plain Python workers would take minutes

X, Y = datasets.load_digits()
CUTS = (0, 300, 700, 1000, 1797)  # uneven
ROWS = tuple(np.diff(CUTS).tolist())
START = MLP([64, 8, 10], output="softmax", seed=0)
FRAME = pandas.DataFrame(X[:, 20:24], columns=["a", "b", "c", "d"])
TARGET = pandas.Series(X[:, 20] * X[:, 21] + X[:, 30], name="y")


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def near():
    """A client of a cluster in this process, which starts at once."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def arrays(*given, rows=ROWS):
    """Dask arrays in blocks of so many rows."""
    return [da.from_array(one, chunks=(rows, *one.shape[1:])) for one in given]


def frames(*parts):
    """A Dask data frame, or series, of parts that nobody checks for being alike."""
    return dd.from_map(copy, parts, meta=parts[0].iloc[:0])


def fitted(client, dX, dy, net=START, **options):
    net = net.copy()
    result = fastmlp.dask.fit(net, dX, dy, client=client, **{"epochs": 8, "l2": 1e-3, **options})
    return net, result


@pytest.fixture(scope="module")
def expected():
    """What comes out in one process, on the same parts."""
    net = START.copy()
    parts = [partial(tuple, (X[start:stop], Y[start:stop])) for start, stop in pairwise(CUTS)]
    fit_parts(net, parts, epochs=8, l2=1e-3)
    return net.theta


def holders(client):
    """Which workers hold parts of a fit."""
    held = client.has_what()
    return [worker for worker, keys in held.items() if any("_prepare" in str(key) for key in keys)]


# The same bits


@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_bits_are_those_of_one_process_for_any_number_of_workers(client, expected, n_workers):
    seen = []
    workers = sorted(client.scheduler_info()["workers"])[:n_workers]
    with dask.annotate(workers=workers, allow_other_workers=False):
        net, result = fitted(
            client, *arrays(X, Y), callbacks=lambda _: seen.append(holders(client))
        )
    assert result.status is Status.COMPLETED
    assert {*seen[-1]} <= {*workers}
    assert np.array_equal(net.theta, expected)


def test_bits_are_the_same_when_a_worker_is_killed_under_way(client, expected):
    killed = []

    def kill_one(progress):
        if progress.record.epoch == 3:
            killed.append(holders(client)[0])
            ((_, process),) = client.run(os.getpid, workers=killed).items()
            os.kill(process, signal.SIGKILL)

    net, result = fitted(client, *arrays(X, Y), callbacks=kill_one)
    assert result.n_iter == 8
    assert killed[0] not in client.scheduler_info()["workers"]
    assert np.array_equal(net.theta, expected)


def test_two_fits_at_once_do_not_disturb_each_other(client, expected):
    with ThreadPoolExecutor(2) as threads:
        fits = [threads.submit(fitted, client, *arrays(X, Y)) for _ in range(2)]
        assert all(np.array_equal(fit.result()[0].theta, expected) for fit in fits)
    assert dask.config.get("scheduler", None) is None


def test_bits_are_the_same_with_workers_in_this_process(near, expected):
    net, _ = fitted(near, *arrays(X, Y))
    assert np.array_equal(net.theta, expected)


def test_local_averaging_has_the_bits_of_one_process(client):
    options = {"optimizer": "adam", "rounds": 3, "epochs": 1, "seed": 5}
    alone = START.copy()
    parts = [partial(tuple, (X[start:stop], Y[start:stop])) for start, stop in pairwise(CUTS)]
    fit_parts(alone, parts, l2=1e-3, **options)
    net, result = fitted(client, *arrays(X, Y), **options)
    assert result.n_iter == 3
    assert np.array_equal(net.theta, alone.theta)


def test_local_averaging_comes_as_far_as_one_process_in_as_many_passes(near):
    options = {"optimizer": "sgd(learning_rate=0.05, momentum=0.9)", "seed": 0}
    expected = START.copy().fit(X, Y, epochs=20, l2=1e-3, **options).loss
    _, result = fitted(
        near, *arrays(X, Y, rows=(450, 450, 450, 447)), rounds=20, epochs=1, **options
    )
    assert result.loss < 1.02 * expected


# Collections as they come


def test_weights_count_and_blocks_along_columns_are_joined(near):
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    dX = da.from_array(X, chunks=(ROWS, 30))
    dy, dw = arrays(Y, weights)
    net, result = fitted(near, dX, dy, sample_weight=dw)
    whole = net.loss(X, Y, sample_weight=weights, l2=1e-3)
    assert result.loss == pytest.approx(whole, rel=1e-5)


def test_empty_partitions_change_no_bit(near, expected):
    dX, dy = arrays(X, Y, rows=(0, *ROWS[:2], 0, *ROWS[2:]))
    assert np.array_equal(fitted(near, dX, dy)[0].theta, expected)


def test_a_partition_may_have_one_class(near):
    order = np.argsort(Y, kind="stable")
    counts = tuple(np.bincount(Y).tolist())
    _, result = fitted(near, *arrays(X[order], Y[order], rows=counts))
    assert result.loss == pytest.approx(fitted(near, *arrays(X, Y))[1].loss, rel=1e-3)


def test_columns_of_frames_are_found_by_name(near):
    net = MLP([4, 6, 1], dtype="float64", seed=0)
    dX, dy = (dd.from_pandas(one, npartitions=3) for one in (FRAME, TARGET))
    trained, _ = fitted(near, dX, dy, net)
    assert trained.feature_names == ("a", "b", "c", "d")
    outputs = fastmlp.dask.predict(trained, dX[["d", "b", "a", "c"]])
    np.testing.assert_array_equal(
        outputs.compute(scheduler="sync"), trained.predict(FRAME.to_numpy())
    )


def test_dtypes_may_differ_between_partitions(near):
    net = MLP([4, 6, 1], seed=0)
    whole = FRAME.round(0)
    parts = whole[:500].astype("int8"), whole[500:900].astype("float32"), whole[900:]
    cut = dd.from_pandas(TARGET, npartitions=1).repartition([0, 500, 900, len(TARGET) - 1])
    mixed, _ = fitted(near, frames(*parts), cut, net)
    plain, _ = fitted(near, frames(whole[:500], whole[500:900], whole[900:]), cut, net)
    assert np.array_equal(mixed.theta, plain.theta)


def test_predictions_are_lazy_and_those_of_the_network_as_it_was(near):
    net = START.copy()
    dX = da.from_array(X, chunks=((0, 1000, 797), 40))
    outputs = fastmlp.dask.predict(net, dX)
    assert isinstance(outputs, da.Array)
    assert outputs.chunks == ((0, 1000, 797), (10,))
    before = net.predict(X)
    net.theta[:] = 0
    np.testing.assert_array_equal(outputs.compute(scheduler="sync"), before)
    np.testing.assert_array_equal(near.compute(outputs).result(), before)
    after = near.compute(fastmlp.dask.predict(net, dX)).result()
    np.testing.assert_array_equal(after, net.predict(X))


# Bad input

DX, DY = arrays(X, Y)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ((X, DY), TypeError, "X must be a Dask array or a Dask data frame, got ndarray"),
        ((DX, Y), TypeError, "y must be a Dask array or a Dask data frame, got ndarray"),
        ((DX[DY > 3], DY[DY > 3]), ValueError, r"X must have known chunk .* call compute_chunk_s"),
        ((dask.delayed(3), DY), TypeError, "X must be a Dask array or .* got Delayed"),
        ((DX, DY.rechunk(500)), ValueError, r"y must have the partitions of X, got rows \(500,"),
        ((DX, dd.from_pandas(TARGET, npartitions=3)), ValueError, "got 3 of them and not 4"),
        ((DX[:, 0], DY), ValueError, r"X must be a matrix, got the shape \(1797,\)"),
        ((DX[:, :9], DY), ValueError, r"part \d: X must have the shape \(n, 64\)"),
        ((DX, DY + 1), ValueError, r"part \d: y must hold class indices from 0 to 9, got 10"),
        ((DX[:0], DY[:0]), ValueError, "parts must have rows, but all 1 are empty"),
        (
            (da.where(DX == 1, np.nan, DX), DY),
            ValueError,
            r"part \d: X must be finite, got nan at index",
        ),
    ],
)
def test_bad_collections_are_refused(near, given, kind, message):
    net = START.copy()
    with pytest.raises(kind, match=message):
        fastmlp.dask.fit(net, *given, client=near)
    assert np.array_equal(net.theta, START.theta)


def test_text_among_numbers_is_named_with_its_partition(near):
    bad = FRAME[500:].astype(object)
    bad.iloc[7, 2] = "seven"
    cut = dd.from_pandas(TARGET, npartitions=1).repartition([0, 500, len(TARGET) - 1])
    with pytest.raises(TypeError, match=r"part 1: X must hold real numbers, got .* in column"):
        fastmlp.dask.fit(MLP([4, 1]), frames(FRAME[:500], bad), cut, client=near)


def test_what_a_partition_raises_passes_through(near):
    broken = da.map_blocks(np.linalg.inv, DX, dtype=X.dtype)  # of blocks that are not square
    with pytest.raises(np.linalg.LinAlgError, match="square"):
        fastmlp.dask.fit(START.copy(), broken, DY, client=near)


def test_clients_that_cannot_work_are_refused(near):
    with pytest.raises(ValueError, match="client must be given, or there must be one"):
        fastmlp.dask.fit(START.copy(), DX, DY)
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client, got str"):
        fastmlp.dask.fit(START.copy(), DX, DY, client="tcp://127.0.0.1:8786")
    with pytest.raises(TypeError, match=r"fit has the parameters .*, got 'map'"):
        fastmlp.dask.fit(START.copy(), DX, DY, client=near, map=map)
    closed = distributed.Client(near.cluster, set_as_default=False)
    closed.close()
    with pytest.raises(ValueError, match=r"client must be running, got .* 'closed'"):
        fastmlp.dask.fit(START.copy(), DX, DY, client=closed)


def test_a_client_that_is_closed_under_way_leaves_the_last_finished_iteration(near):
    seen, net = [], START.copy()

    def close(progress):
        seen.append(progress.theta.astype(net.dtype))
        if progress.record.epoch == 2:
            closing.close()

    with (
        distributed.Client(near.cluster, set_as_default=False) as closing,
        pytest.raises(ValueError, match=r"client must be running, got .* 'closed'"),
    ):
        fastmlp.dask.fit(net, DX, DY, client=closing, callbacks=close)
    assert len(seen) == 3
    assert np.array_equal(net.theta, seen[-1])


def test_an_asynchronous_client_is_refused(near):
    async def fit():
        async with distributed.Client(
            near.cluster.scheduler_address, asynchronous=True, set_as_default=False
        ) as client:
            fastmlp.dask.fit(START.copy(), DX, DY, client=client)

    with pytest.raises(ValueError, match="client must not be asynchronous"):
        asyncio.run(fit())


def test_without_dask_the_import_says_what_to_install():
    code = "import sys; sys.modules['dask'] = None; import fastmlp; fastmlp.dask"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: fastmlp.dask needs Dask: pip install 'fastmlp[dask]'" in run.stderr


# Estimators


@pytest.fixture(scope="module")
def estimators():
    pytest.importorskip("sklearn")
    return fastmlp.dask.MLPClassifier, fastmlp.dask.MLPRegressor


PARAMETERS = {"hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 10, "tol": 0.0}
unfinished = pytest.mark.filterwarnings("ignore:.*converge")


@unfinished
@pytest.mark.parametrize("class_weight", [None, "balanced", {3: 2.0}])
def test_a_classifier_is_that_of_all_rows_together(client, estimators, class_weight):
    classifier, _ = estimators
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    options = {**PARAMETERS, "class_weight": class_weight}
    dX, dy, dw = arrays(X.astype(float), Y, weights)
    ours = classifier(client=client, **options).fit(dX, dy, dw)
    alone = fastmlp.MLPClassifier(solver="lbfgs", **options).fit(X.astype(float), Y, weights)
    np.testing.assert_allclose(ours.coefs_[0], alone.coefs_[0], rtol=1e-6, atol=1e-9)
    assert ours.loss_ == pytest.approx(alone.loss_, rel=1e-9)
    assert ours.n_iter_ == alone.n_iter_ == len(ours.loss_curve_)
    assert ours.score(X, Y) == alone.score(X, Y)


@unfinished
def test_labels_come_from_all_partitions(near, estimators):
    """Of categories that differ, one class in a partition, and none."""
    classifier, _ = estimators
    names = np.array(["zero", "one", "two", "three"])[Y % 4]
    order = np.argsort(names, kind="stable")
    X_in_order, by_class = FRAME.iloc[order], pandas.Series(names[order])
    cuts = [0, *(np.flatnonzero(by_class[1:] != by_class[:-1].to_numpy()) + 1), len(Y)]
    slices = [slice(start, stop) for start, stop in [(0, 0), *pairwise(cuts)]]
    dy = frames(*(by_class[one].astype("category") for one in slices))
    dX = frames(*(X_in_order[one] for one in slices))
    ours = classifier(client=near, **PARAMETERS).fit(dX, dy)
    alone = fastmlp.MLPClassifier(solver="lbfgs", **PARAMETERS).fit(X_in_order, by_class)
    assert ours.classes_.tolist() == ["one", "three", "two", "zero"]
    assert ours.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert ours.loss_ == pytest.approx(alone.loss_, rel=1e-4)
    predicted = ours.predict(dX)
    assert isinstance(predicted, da.Array)
    np.testing.assert_array_equal(near.compute(predicted).result(), ours.predict(X_in_order))


@unfinished
def test_a_regressor_is_that_of_all_rows_together(near, estimators):
    _, regressor = estimators
    both = np.column_stack([TARGET, 2 * TARGET]).astype(float)
    dX, dy = arrays(X.astype(float), both)
    ours = regressor(client=near, **PARAMETERS).fit(dX, dy)
    alone = fastmlp.MLPRegressor(solver="lbfgs", **PARAMETERS).fit(X.astype(float), both)
    np.testing.assert_allclose(ours.coefs_[0], alone.coefs_[0], rtol=1e-6, atol=1e-9)
    outputs = ours.predict(dX)
    assert outputs.chunks == (ROWS, (2,))
    np.testing.assert_array_equal(near.compute(outputs).result(), ours.predict(X.astype(float)))


@unfinished
def test_probabilities_are_lazy_and_a_score_needs_no_rows_here(near, estimators):
    classifier, _ = estimators
    dX, dy = arrays(X, Y)
    with near.as_current():
        ours = classifier(client=near, **PARAMETERS).fit(dX, dy)
        np.testing.assert_array_equal(ours.predict_proba(dX).compute(), ours.predict_proba(X))
        np.testing.assert_array_equal(
            ours.predict_log_proba(dX).compute(), ours.predict_log_proba(X)
        )
        assert ours.score(dX, dy) == ours.score(X, Y)


@unfinished
def test_a_fitted_estimator_goes_on_without_dask(near, estimators, tmp_path):
    from sklearn.base import clone

    classifier, _ = estimators
    ours = classifier(client=near, solver="adam", rounds=5, **PARAMETERS).fit(*arrays(X, Y))
    assert ours.n_iter_ == 5
    local = ours.to_local()
    assert type(local) is fastmlp.MLPClassifier
    ours.save(tmp_path / "local")
    for one in (
        local,
        pickle.loads(pickle.dumps(ours)),
        fastmlp.MLPClassifier.load(tmp_path / "local"),
    ):
        np.testing.assert_array_equal(one.predict_proba(X), ours.predict_proba(X))
    assert clone(ours).client is near
    assert pickle.loads(pickle.dumps(ours)).client is None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"early_stopping": True}, "early_stopping must be False where rows are in several places"),
        ({"standardize": True}, "standardize must be False"),
        ({"warm_start": True}, "warm_start must be False"),
        ({"constant": "predict"}, "constant must be 'refuse'"),
        ({"solver": "adam"}, "solver must go by all rows, such as 'lbfgs', or rounds be given"),
        ({"solver": "sgd", "rounds": 2, "learning_rate": "adaptive"}, "learning_rate must be 'con"),
        ({"rounds": 0}, "The 'rounds' parameter"),
    ],
)
def test_parameters_that_need_one_place_are_refused(near, estimators, parameters, message):
    classifier, _ = estimators
    with pytest.raises(ValueError, match=message):
        classifier(client=near, **parameters).fit(DX, DY)


def test_targets_that_nothing_can_be_learned_from_are_refused(near, estimators):
    classifier, regressor = estimators
    for estimator, message in (
        (classifier, "y must have at least two classes"),
        (regressor, "y must not be constant, all 1797 targets are 0"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator(client=near).fit(DX, 0 * DY)
    with pytest.raises(ValueError, match="part 0: y must be labels"):
        classifier(client=near).fit(DX, DX[:, :2])
