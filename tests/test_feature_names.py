"""Columns of data frames are found by name, wherever a network with names is given one."""

import copy
import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import fastmlp
from fastmlp import MLP

NAMES = ("length", "width", "height")


@pytest.fixture(params=["pandas", "polars"])
def frame(request):
    """What makes a data frame of columns by name."""
    return pytest.importorskip(request.param).DataFrame


@pytest.fixture
def columns():
    rng = np.random.default_rng(3)
    return {name: rng.normal(size=40).astype(np.float32) for name in NAMES}


@pytest.fixture
def X(columns):
    return np.column_stack(list(columns.values()))


@pytest.fixture
def y(X):
    return X @ np.float32([1, -2, 3])


@pytest.fixture
def mixed(columns, frame):
    """The same columns in another order, and one that no network was trained on."""
    return frame({name: columns[name] for name in NAMES[::-1]} | {"label": np.arange(40)})


def named():
    net = MLP([3, 4, 1], seed=0)
    net.feature_names = NAMES
    return net


def test_fit_takes_the_names_of_a_data_frame_and_trains_on_its_columns(frame, columns, X, y):
    net, on_arrays = MLP([3, 4, 1], seed=0), MLP([3, 4, 1], seed=0)
    net.fit(frame(columns), y, epochs=2, seed=0)
    on_arrays.fit(X, y, epochs=2, seed=0)
    assert net.feature_names == NAMES
    assert on_arrays.feature_names is None
    np.testing.assert_array_equal(net.theta, on_arrays.theta)


def test_columns_are_found_by_name_wherever_a_frame_goes(mixed, X, y):
    net = named()
    np.testing.assert_array_equal(net.predict(mixed), net.predict(X))
    np.testing.assert_array_equal(net.loss_and_grad(mixed, y)[1], net.loss_and_grad(X, y)[1])
    assert net.loss(mixed, y) == net.loss(X, y)
    assert fastmlp.Objective(net, mixed, y).value() == net.loss(X, y)
    assert fastmlp.check_gradient(net, mixed, y).errors == fastmlp.check_gradient(net, X, y).errors


def test_a_fit_that_goes_on_finds_columns_by_name(mixed, X, y):
    results = []
    for rows in (mixed, X):
        net = named()
        net.fit(rows, y, epochs=2, seed=0)
        results.append(net.theta)
    np.testing.assert_array_equal(*results)


def test_validation_data_have_the_columns_of_the_training_data(frame, columns, mixed, X, y):
    def validation_losses(fit, X, X_val):
        return fit(X, X_val).trace["validation_loss"].tolist()

    def fit(X, X_val):
        return MLP([3, 4, 1], seed=0).fit(X, y, epochs=2, seed=0, validation_data=(X_val, y))

    def fit_many(X, X_val):
        net = MLP([3, 4, 1], seed=0)
        (result,) = fastmlp.fit_many(
            [net], X, y, epochs=2, seeds=[0], validation_data=(X_val, y), n_threads=1
        )
        assert net.feature_names == (None if X_val is X else NAMES)
        return result

    def compare(X, X_val):
        comparison = fastmlp.compare(
            MLP([3, 4, 1], seed=0), X, y, ["adam"], passes=2, validation_data=(X_val, y)
        )
        return comparison.runs["adam"][0].result

    for way in (fit, fit_many, compare):
        expected = validation_losses(way, X, X)
        assert validation_losses(way, frame(columns), mixed) == expected


def test_networks_of_fit_many_find_their_own_columns(frame, columns, mixed, X, y):
    nets = [named(), MLP([3, 4, 1], seed=0)]
    fastmlp.fit_many(nets, mixed[list(NAMES[::-1])], y, epochs=1, seeds=[0, 0])
    alone = named()
    alone.fit(X, y, epochs=1, seed=0)
    np.testing.assert_array_equal(nets[0].theta, alone.theta)
    assert [net.feature_names for net in nets] == [NAMES, NAMES[::-1]]


def test_missing_columns_are_refused_before_anything_changes(frame, columns, y):
    net = named()
    before = net.theta.copy()
    del columns["width"]
    incomplete = frame(columns | {"weight": y})
    message = (
        "X must have the columns that the network was trained with, but lacks 'width'; its "
        "columns are 'length', 'height', 'weight'"
    )
    for call in (net.predict, lambda X: net.loss(X, y), lambda X: net.fit(X, y)):
        with pytest.raises(ValueError, match=f"^{message}$"):
            call(incomplete)
    whole = np.zeros((40, 3), np.float32)
    with pytest.raises(ValueError, match=f"^validation_data: {message}$"):
        net.fit(whole, y, validation_data=(incomplete, y))
    np.testing.assert_array_equal(net.theta, before)


def test_a_column_that_is_there_twice_is_refused(columns):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns)
    with pytest.raises(ValueError, match="X must name each of its columns once, got 'width'"):
        named().predict(pandas.concat([frame, frame[["width"]]], axis=1))


def test_columns_without_names_are_taken_as_they_come(X):
    pandas = pytest.importorskip("pandas")
    net = named()
    for rows in (pandas.DataFrame(X), X, X.tolist()):
        np.testing.assert_array_equal(net.predict(rows), net.predict(X))
    untouched = MLP([3, 4, 1], seed=0)
    untouched.fit(pandas.DataFrame(X), X[:, 0], epochs=1)
    assert untouched.feature_names is None


def test_names_go_with_the_network(tmp_path):
    net = named()
    net.save(tmp_path / "net.safetensors")
    for other in (
        net.copy(),
        net.redrawn(1),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        MLP.load(tmp_path / "net.safetensors"),
    ):
        assert other.feature_names == NAMES
    net.feature_names = None
    net.save(tmp_path / "net.safetensors")
    assert MLP.load(tmp_path / "net.safetensors").feature_names is None


def test_a_restarted_fit_keeps_the_names(frame, columns, y):
    net = MLP([3, 4, 1], seed=0)
    net.fit(frame(columns), y, epochs=1, restarts=3, seed=0)
    assert net.feature_names == NAMES


def test_an_estimators_network_has_its_names(tmp_path, columns, mixed, X, y):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    estimator = fastmlp.MLPRegressor(
        hidden_layer_sizes=(4,), solver="lbfgs", max_iter=200, random_state=0
    )
    estimator.fit(pandas.DataFrame(columns), y)
    estimator.save(tmp_path / "estimator.safetensors")
    for net in (estimator.network_, MLP.load(tmp_path / "estimator.safetensors")):
        assert net.feature_names == NAMES
        np.testing.assert_array_equal(net.predict(mixed), net.predict(X))
    estimator.fit(X, y)
    assert estimator.network_.feature_names is None


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("abc", TypeError, "feature_names must be a sequence of names or None, got 'abc'"),
        (["a", "b", 3], TypeError, "feature_names must be texts, got 3"),
        (["a", "b"], ValueError, "feature_names must be one for each of the 3 inputs, got 2"),
        (["a", "b", "a"], ValueError, "feature_names must differ, got 'a' more than once"),
    ],
)
def test_bad_names_are_refused(names, error, message):
    net = named()
    with pytest.raises(error, match=f"^{message}$"):
        net.feature_names = names
    assert net.feature_names == NAMES


@pytest.mark.parametrize("names", [["a", "b"], "abc", {"a": 1}, ["a", "b", "b"], "not JSON"])
def test_a_file_with_bad_names_is_refused(tmp_path, names):
    path = tmp_path / "net.safetensors"
    net = named()
    net.save(path)
    text = names if names == "not JSON" else json.dumps(names)
    metadata = {"format": "fastmlp-1", "architecture": json.dumps(net.architecture())}
    save_file(load_file(path), path, metadata | {"feature_names": text})
    with pytest.raises(ValueError, match=r"path must be a file that MLP\.save wrote"):
        MLP.load(path)
