"""Estimators on X that is not in memory: read in windows, with the bits of an array."""

import gc
import pickle
import time
import tracemalloc
import weakref

import numpy as np
import pytest
from containers import Given, as_dask, as_hdf5, as_memmap, as_zarr
from marks import compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score

from fastmlp import Categorical, MLPClassifier, MLPRegressor, Windowed
from fastmlp.sources import source

N_ROWS, N_COLUMNS = 700, 5
SHUFFLE = Windowed(block=10, blocks=9)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


X = (np.random.default_rng(0).normal(size=(N_ROWS, N_COLUMNS)) * 2).astype("float32")
CLASSES = np.array(["low", "high", "none"])
TARGETS = {
    "two classes": (MLPClassifier, CLASSES[(X[:, 0] > X[:, 1]).astype(int)]),
    "three classes": (MLPClassifier, CLASSES[np.digitize(X[:, 0] + X[:, 1], [-1, 1])]),
    "labels": (MLPClassifier, (X[:, :3] > 0).astype(int)),
    "numbers": (MLPRegressor, np.sin(X[:, 0] + X[:, 1])),
    "two numbers": (MLPRegressor, np.sin(X[:, :2])),
}


def make(kind="two classes", **options):
    estimator, y = TARGETS[kind]
    given = {"max_iter": 3, "batch_size": 32, "shuffle": SHUFFLE, "random_state": 0} | options
    return estimator(hidden_layer_sizes=(8, 6), **given), y


def assert_same(one, other):
    assert_array_equal(one.network_.theta, other.network_.theta)
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_
    assert one.loss_ == other.loss_


# The same bits as in memory


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_fits_have_the_bits_of_memory(kind, solver, small_windows):
    estimator, y = make(kind, solver=solver)
    known = clone(estimator).fit(X, y)
    found = clone(estimator).fit(Given(X), y)
    assert_same(found, known)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        if hasattr(found, method):
            assert_array_equal(getattr(found, method)(Given(X)), getattr(known, method)(X))
    assert found.score(Given(X), y) == known.score(X, y)


@pytest.mark.parametrize("kind", ["two classes", "numbers"])
@pytest.mark.parametrize(
    "options",
    [
        {"standardize": True},
        {"standardize": True, "solver": "lbfgs"},
        {"solver": ["adam", "lbfgs"]},
        {"solver": "stochastic_lbfgs"},
        {"learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1, "max_iter": 6},
        {"clip_norm": 0.1, "shuffle": False},
        {"init": "data"},
    ],
    ids=repr,
)
def test_parameters_mean_the_same(kind, options, small_windows):
    shifted = (X * np.float32([1, 10, 100, 0.1, 5]) + np.float32([3, -2, 50, 0, 1])).astype("f4")
    estimator, y = make(kind, **options)
    weights = np.linspace(0, 2, N_ROWS)
    known = clone(estimator).fit(shifted, y, weights)
    assert_same(clone(estimator).fit(Given(shifted), y, weights), known)


def test_all_in_one_window_is_the_default_order_of_arrays():
    """That of rows that fit into memory, too, which are read once."""
    estimator, y = make(shuffle=True)
    rows = Given(X)
    assert_same(clone(estimator).fit(rows, y), clone(estimator).fit(X, y))
    assert rows.n_read == N_ROWS


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", TARGETS)
def test_early_stopping_holds_out_the_rows_of_an_array(kind, weighted, small_windows):
    """The others stay in another order, which is of no matter to full batches but for rounding."""
    estimator, y = make(kind, early_stopping=True, solver="sgd", batch_size=N_ROWS, max_iter=5)
    estimator.set_params(learning_rate_init=0.1)
    weights = np.arange(N_ROWS) % 3 if weighted else None
    wide = X.astype("float64")
    with pytest.warns(UserWarning, match="batch_size"):
        known = clone(estimator).fit(wide, y, weights)
    with pytest.warns(UserWarning, match="batch_size"):
        found = clone(estimator).fit(Given(wide), y, weights)
    assert_allclose(found.loss_curve_, known.loss_curve_, rtol=1e-10)
    assert_allclose(found.validation_scores_, known.validation_scores_, rtol=1e-10)
    assert_allclose(found.network_.theta, known.network_.theta, rtol=1e-8)


@pytest.mark.parametrize("kind", ["three classes", "numbers"])
def test_early_stopping_in_windows(kind, small_windows):
    """Rows that are held out are read after each epoch, and those that are trained on in order."""
    estimator, y = make(kind, early_stopping=True, standardize=True, solver=["adam", "lbfgs"])
    in_windows = clone(estimator).fit(Given(X), y)
    with pytest.MonkeyPatch.context() as patch:
        # Room for either part in float32, but not for all in float64: that would be an array.
        patch.setattr(source, "WINDOW_BYTES", X.size * 6)
        in_memory = clone(estimator).fit(Given(X), y)
    assert_same(in_windows, in_memory)
    assert len(in_windows.validation_scores_) == len(in_windows.loss_curve_)


@pytest.mark.parametrize("weights", [None, np.arange(N_ROWS) % 5 == 0])
@pytest.mark.parametrize("shuffle", [SHUFFLE, False])
def test_early_stopping_reads_a_file_as_any_rows(weights, shuffle, small_windows, tmp_path):
    """With weights only few rows are left of each stretch of the file."""
    estimator, y = make(early_stopping=True, shuffle=shuffle)
    known = clone(estimator).fit(Given(X), y, weights)
    assert_same(clone(estimator).fit(as_memmap(X, tmp_path), y, weights), known)
    as_numbers = (X * 10).astype("int16")
    known = clone(estimator).fit(Given(as_numbers), y, weights)
    assert_same(clone(estimator).fit(as_memmap(as_numbers, tmp_path), y, weights), known)


@pytest.mark.parametrize("scoring", [None, "loss", "balanced_accuracy"])
@pytest.mark.parametrize("room", [0, 1 << 27])
def test_validation_data_may_be_rows(scoring, room, monkeypatch):
    monkeypatch.setattr(source, "WINDOW_BYTES", room)
    estimator, y = make(early_stopping=True, scoring=scoring)
    X_val, y_val = X[:100], y[:100]
    known = clone(estimator).fit(X, y, validation_data=(X_val, y_val))
    rows = Given(X_val)
    assert_same(clone(estimator).fit(X, y, X_val=rows, y_val=y_val), known)
    assert rows.n_read == (100 if room else 3 * 100 * (1 if scoring == "loss" else 2))


def test_a_scorer_is_given_what_is_in_memory_as_an_array():
    kinds = []

    def score(estimator, X, y):
        kinds.append(type(X))
        return balanced_accuracy_score(y, estimator.predict(X))

    estimator, y = make(early_stopping=True, scoring=score)
    estimator.fit(Given(X), y)
    assert kinds == [np.ndarray] * 3


def test_chunks_may_be_rows(small_windows):
    estimator, y = make(shuffle=True)
    known, found = clone(estimator), clone(estimator)
    for start in range(0, 600, 100):
        part = slice(start, start + 100)
        chunk = X[part] if start == 300 else Given(X[part])
        known.partial_fit(X[part], y[part], classes=np.unique(y))
        found.partial_fit(chunk, y[part], classes=np.unique(y))
    assert_same(found, known)


def test_chunks_in_the_order_of_windows():
    """Calls of partial_fit are the epochs of fit, also where an array is shuffled in windows."""
    estimator, y = make("numbers")
    known = clone(estimator).fit(X, y)
    for chunk in (X, Given(X)):
        found = clone(estimator)
        for _ in range(3):
            found.partial_fit(chunk, y)
        assert_array_equal(found.network_.theta, known.network_.theta)


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "bfgs"])
def test_a_warm_start_goes_on(solver, small_windows):
    whole, y = make("numbers", solver=solver, max_iter=6, tol=0.0)
    parts = clone(whole).set_params(max_iter=2, warm_start=True)
    whole.fit(Given(X), y)
    for _ in range(3):
        parts.fit(Given(X), y)
    assert parts.loss_curve_ == whole.loss_curve_
    assert_array_equal(parts.network_.theta, whole.network_.theta)


@pytest.mark.parametrize("options", [{}, {"norm": "layer"}, {"members": 2}], ids=repr)
def test_hidden_activations_too(options, small_windows):
    estimator, y = make(**options)
    estimator.fit(Given(X), y)
    found, known = estimator.hidden_activations(Given(X)), estimator.hidden_activations(X)
    for one, other in zip(found, known, strict=True):
        assert_array_equal(one, other)


# What X may be


@pytest.mark.parametrize("make_rows", [as_memmap, as_hdf5, as_zarr, as_dask])
@pytest.mark.parametrize("is_large", [False, True])
def test_every_kind_of_rows_is_taken(make_rows, is_large, tmp_path, request):
    if is_large:
        request.getfixturevalue("small_windows")
    estimator, y = make()
    known = clone(estimator).fit(X, y)
    rows = make_rows(X, tmp_path)
    found = estimator.fit(rows, y)
    assert_same(found, known)
    assert_array_equal(found.predict_proba(rows), known.predict_proba(X))


@pytest.mark.parametrize(
    ("dtype", "network"),
    [
        ("float16", "float32"),
        ("float32", "float32"),
        (">f4", "float32"),
        ("float64", "float64"),
        ("bool", "float32"),
        ("uint8", "float32"),
        ("int16", "float32"),
        ("uint16", "float32"),
        ("int32", "float64"),
        ("int64", "float64"),
    ],
)
def test_networks_of_rows_are_float32_where_that_loses_nothing(dtype, network, small_windows):
    given = np.abs(X).astype(dtype)
    estimator, y = make("numbers")
    known = clone(estimator).fit(given.astype(network), y)
    found = estimator.fit(Given(given), y)
    assert found.coefs_[0].dtype == network
    assert_same(found, known)
    assert_array_equal(found.predict(Given(given)), known.predict(given.astype(network)))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", ">f8"])
def test_large_arrays_of_other_dtypes_are_float64_without_a_copy(dtype, small_windows):
    given = np.abs(X).astype(dtype)
    estimator, y = make("numbers", standardize=True)
    known = clone(estimator).fit(given.astype("float64"), y)
    found = estimator.fit(given, y)
    assert found.coefs_[0].dtype == "float64"
    assert_same(found, known)
    assert_array_equal(found.predict(given), known.predict(given.astype("float64")))


def test_early_stopping_of_a_large_array_of_another_dtype(small_windows):
    given = np.abs(X).astype("uint8")
    estimator, y = make(early_stopping=True)
    assert_same(
        clone(estimator).fit(given, y), clone(estimator).fit(Given(given.astype("float64")), y)
    )


@compiled_only
def test_memory_of_a_large_array_of_small_integers(monkeypatch):
    """It would take 40 MB as float64; a fit needs three windows of 400 kB, and y."""
    monkeypatch.setattr(source, "WINDOW_BYTES", 0)
    monkeypatch.setattr(source, "BLOCK_BYTES", 1 << 20)
    given = np.random.default_rng(0).integers(0, 255, (100_000, 50), np.uint8)
    y = given[:, 0] > 100
    estimator, _ = make(max_iter=1, batch_size=1000, shuffle=Windowed(100, 10))
    estimator.fit(given[:2000], y[:2000])  # what is compiled and imported
    tracemalloc.start()
    estimator.fit(given, y)
    estimator.predict(given)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6


# What is not done


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", ["two classes", "numbers"])
def test_rows_are_read_only_as_they_are_trained_on(solver, kind, small_windows):
    """No pass before the first epoch, none after the last."""
    estimator, y = make(kind, solver=solver, max_iter=3)
    rows = Given(X)
    estimator.fit(rows, y)
    assert rows.n_read == estimator.trace_["data_passes"][-1] * N_ROWS


def test_rows_are_read_twice_to_standardize(small_windows):
    estimator, y = make("numbers", standardize=True)
    rows = Given(X)
    estimator.initialize(rows, y)
    assert rows.n_read == 2 * N_ROWS
    rows = Given(X)
    estimator.set_params(standardize=False).initialize(rows, y)
    assert not rows.asked


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_time_limit_in_the_first_epoch_reads_nothing_more(solver, small_windows):
    class Slow(Given):
        def __getitem__(self, rows):
            time.sleep(0.02)
            return super().__getitem__(rows)

    estimator, y = make("numbers", solver=solver, time_limit=0.05)
    rows = Slow(X)
    estimator.fit(rows, y)
    assert estimator.loss_curve_ == []
    assert rows.n_read <= N_ROWS


@pytest.mark.parametrize("room", [0, 1 << 27])
def test_estimators_do_not_keep_rows(room, monkeypatch):
    monkeypatch.setattr(source, "WINDOW_BYTES", room)
    estimator, y = make(early_stopping=True)
    rows = Given(X)
    known = weakref.ref(rows)
    estimator.fit(rows, y)
    estimator.set_params(early_stopping=False).partial_fit(rows, y)
    del rows
    gc.collect()
    assert known() is None
    assert_array_equal(pickle.loads(pickle.dumps(estimator)).predict(X), estimator.predict(X))


# The order as a parameter


def test_an_order_in_windows_is_saved_and_has_no_counterpart(tmp_path):
    estimator, y = make()
    estimator.fit(Given(X), y)
    estimator.save(tmp_path / "model")
    assert MLPClassifier.load(tmp_path / "model").shuffle == SHUFFLE
    assert estimator.to_sklearn().shuffle is True
    assert clone(estimator).shuffle == SHUFFLE


def test_other_orders_are_refused():
    estimator, y = make(shuffle="replacement")
    with pytest.raises(ValueError, match="The 'shuffle' parameter of MLPClassifier must be"):
        estimator.fit(Given(X), y)


# Bad rows


def test_what_is_not_finite_is_named_and_changes_nothing(small_windows):
    bad = X.copy()
    bad[401, 3] = np.nan
    named = "X must be finite, got nan in column 3, row 401"
    estimator, y = make()
    before = vars(estimator).copy()
    for options in ({}, {"solver": "lbfgs"}, {"standardize": True}, {"early_stopping": True}):
        with pytest.raises(ValueError, match="got nan in column 3, row"):
            clone(estimator).set_params(**options).fit(Given(bad), y)
    with pytest.raises(ValueError, match=named):
        estimator.fit(Given(bad), y)
    assert vars(estimator) == before
    estimator.fit(Given(X), y)
    theta = estimator.network_.theta.copy()
    for call in (estimator.predict, estimator.predict_proba, estimator.hidden_activations):
        with pytest.raises(ValueError, match=named):
            call(Given(bad))
    with pytest.raises(ValueError, match=named):
        estimator.partial_fit(Given(bad), y)
    with pytest.raises(ValueError, match=f"validation data: {named}"):
        estimator.fit(X, y, validation_data=(Given(bad), y))
    assert_array_equal(estimator.network_.theta, theta)


def test_codes_of_no_category_are_named_by_their_row(small_windows):
    coded = X.copy()
    coded[:, 0] = np.arange(N_ROWS) % 3
    estimator, y = make(inputs=[Categorical(0, 3)])
    known = clone(estimator).fit(coded, y)
    assert_same(clone(estimator).fit(Given(coded), y), known)
    coded[77, 0] = 5
    with pytest.raises(ValueError, match="in column 0, got 5 in row 77"):
        estimator.fit(Given(coded), y)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (X[:0], ValueError, r"Found array with 0 sample\(s\) \(shape=\(0, 5\)\)"),
        (X[:, :0], ValueError, r"Found array with 0 feature\(s\) \(shape=\(700, 0\)\)"),
        (X[:600], ValueError, r"inconsistent numbers of samples: \[600, 700\]"),
        (X.astype(str), TypeError, "X must hold real numbers, got Rows of dtype <U"),
        (X * 1j, TypeError, "X must hold real numbers, got Rows of dtype complex64"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused_unread(rows, error, message, small_windows):
    estimator, y = make()
    given = Given(rows)
    with pytest.raises(error, match=message):
        estimator.fit(given, y)
    assert not given.asked
    assert not hasattr(estimator, "n_features_in_")


def test_rows_of_another_width_are_refused_unread(small_windows):
    estimator, y = make()
    estimator.fit(Given(X), y)
    assert estimator.n_features_in_ == 5
    assert not hasattr(estimator, "feature_names_in_")
    rows = Given(X[:, :3])
    message = "X has 3 features, but MLPClassifier is expecting 5 features as input"
    for call in (
        lambda: estimator.predict(rows),
        lambda: estimator.score(rows, y),
        lambda: estimator.partial_fit(rows, y),
        lambda: estimator.fit(X, y, validation_data=(rows, y)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert not rows.asked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_weight": np.ones(3)}, r"sample_weight.shape == \(3,\), expected \(700,\)"),
        ({"sample_weight": -np.ones(N_ROWS)}, "sample_weight must not be negative"),
        ({"y": None}, "requires y to be passed, but the target y is None"),
        ({"y": ["one"] * N_ROWS}, "y must have at least two classes"),
        ({"y": [np.nan] * N_ROWS}, "y must not have missing labels"),
    ],
)
def test_what_comes_with_rows_is_checked_before_they_are_read(options, message, small_windows):
    estimator, y = make()
    rows = Given(X)
    with pytest.raises(ValueError, match=message):
        estimator.fit(**({"X": rows, "y": y} | options))
    assert not rows.asked


def test_numbers_to_predict_must_be_numbers(small_windows):
    estimator, _ = make("numbers")
    y = np.zeros(N_ROWS, object)
    y[5] = "five"
    rows = Given(X)
    with pytest.raises(ValueError, match="y must hold real numbers, got 'five' in row 5"):
        estimator.fit(rows, y)
    assert not rows.asked


def test_names_of_columns_are_missed():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    estimator, y = make()
    estimator.fit(pandas.DataFrame(X, columns=list("abcde")), y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        estimator.predict(Given(X))
    estimator.fit(Given(X), y)
    assert not hasattr(estimator, "feature_names_in_")


def test_dask_arrays_of_unknown_length_say_what_to_do():
    da = pytest.importorskip("dask.array", reason="Dask is not installed")
    estimator, y = make()
    rows = da.from_array(X, chunks=100)
    with pytest.raises(ValueError, match=r"known number of rows, .*compute_chunk_sizes\(\)"):
        estimator.fit(rows[rows[:, 0] > 0], y)


def test_an_exception_of_the_rows_changes_nothing(small_windows):
    class Failing(Given):
        def __getitem__(self, rows):
            if self.n_read > 1000:
                raise ConnectionError("the disk is gone")
            return super().__getitem__(rows)

    estimator, y = make()
    estimator.fit(X, y)
    theta, curve = estimator.network_.theta.copy(), list(estimator.loss_curve_)
    with pytest.raises(ConnectionError, match="the disk is gone"):
        estimator.fit(Failing(X), y)
    assert_array_equal(estimator.network_.theta, theta)
    assert estimator.loss_curve_ == curve


# Sparse matrices


@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"early_stopping": True}], ids=repr)
@compiled_only
def test_sparse_rows_are_dense_a_window_at_a_time(options, monkeypatch):
    """Windows are of 1 MB; all rows would take 240 MB as float32."""
    monkeypatch.setattr(source, "BLOCK_BYTES", 1 << 20)
    n_rows, n_columns = 60_000, 1000
    rng = np.random.default_rng(0)
    columns = rng.integers(0, n_columns, (n_rows, 5))
    rows = sparse.csr_array(
        (np.ones(columns.size, "f4"), columns.ravel(), np.arange(0, columns.size + 1, 5)),
        shape=(n_rows, n_columns),
    )
    y = columns[:, 0] > 500
    estimator, _ = make(max_iter=1, batch_size=1000, shuffle=True, **options)
    estimator.fit(rows[:2000], y[:2000])
    tracemalloc.start()
    estimator.fit(rows, y)
    estimator.predict(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120e6


@pytest.mark.parametrize("kind", ["two classes", "numbers"])
def test_small_rows_are_an_array_like_any_other(kind, tmp_path):
    """Such as what joblib hands to other processes: with the dtype and the order of an array."""
    estimator, y = make(kind, early_stopping=True, shuffle=True)
    for numbers in (X, X.astype("float64"), (X * 10).astype("int16")):
        known = clone(estimator).fit(numbers, y)
        for rows in (as_memmap(numbers, tmp_path), Given(numbers)):
            fitted = clone(estimator).fit(rows, y)
            assert_same(fitted, known)
            assert fitted.network_.dtype == known.network_.dtype
