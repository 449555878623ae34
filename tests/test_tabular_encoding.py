"""Tables as inputs of networks: what is learnt, what is encoded, what is refused."""

import copy
import datetime
import json
import math
import pickle
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import sparse

from fastmlp import MLP
from fastmlp.tabular.encoding import Encoding, robust_scaling

# z / sqrt(1 + (z / 3)^2) of z = 1/2, 1 and 2, by hand.
HALF, ONE, TWO = 3 / math.sqrt(37), 3 / math.sqrt(10), 6 / math.sqrt(13)


def column_of(*values, dtype=object):
    return np.array(values, dtype).reshape(-1, 1)


def encoded(X, **options):
    return Encoding.learn(X, **options).encode(X)


def values_of(n, seed=0):
    """Columns of all kinds by name, as lists of Python's objects."""
    rng = np.random.default_rng(seed)
    start = datetime.datetime(2019, 11, 5)

    def some_missing(values, share):
        return [None if rng.random() < share else value for value in values]

    seconds = rng.integers(0, 10**8, n).tolist()
    return {
        "plain": rng.normal(size=n).tolist(),
        "holes": some_missing((1e3 * rng.lognormal(size=n)).tolist(), 0.1),
        "count": rng.integers(-5, 5, n).tolist(),
        "store": rng.integers(1, 5, n).tolist(),
        "flag": (rng.random(n) < 0.3).tolist(),
        "maybe": some_missing((rng.random(n) < 0.3).tolist(), 0.2),
        "color": some_missing(rng.choice(["red", "green", "blue"], n).tolist(), 0.1),
        "city": [f"city {k}" for k in rng.integers(0, 40, n)],
        "constant": ["x"] * n,
        "when": some_missing([start + datetime.timedelta(seconds=s) for s in seconds], 0.05),
    }


CONTAINERS = ("pandas", "polars", "pyarrow", "objects")


def table_of(container, columns):
    if container == "objects":
        array = np.empty((len(next(iter(columns.values()))), len(columns)), object)
        for i, values in enumerate(columns.values()):
            array[:, i] = values
        return array
    module = pytest.importorskip(container)
    return module.table(columns) if container == "pyarrow" else module.DataFrame(columns)


def row_of(table, i):
    if hasattr(table, "iloc"):
        return table.iloc[[i]]
    return table.slice(i, 1) if hasattr(table, "slice") else table[i : i + 1]


# Numbers


def test_numbers_are_scaled_by_their_quartiles_and_bent():
    found = encoded(column_of(4, 0, 1, 2, 3, dtype=float))
    np.testing.assert_allclose(found[:, 0], [ONE, -ONE, -HALF, 0, HALF], rtol=1e-6)


def test_numbers_with_equal_quartiles_are_scaled_by_their_range():
    found = encoded(column_of(*[0.0] * 7, 10.0, dtype=float))
    np.testing.assert_allclose(found[:, 0], [0] * 7 + [TWO], rtol=1e-6)


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_median_and_quartiles_are_those_of_scikit_learn(values):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    X = np.array(values)
    assume(np.subtract(*np.quantile(X, [0.75, 0.25])) > 1e-9)
    scaler = preprocessing.RobustScaler().fit(X[:, np.newaxis])
    center, scale = robust_scaling(X)
    np.testing.assert_allclose(center, scaler.center_[0], rtol=1e-12)
    np.testing.assert_allclose(1 / scale, scaler.scale_[0], rtol=1e-12)


@given(st.dictionaries(st.floats(-1e6, 1e6), st.integers(1, 9), min_size=1, max_size=8))
def test_values_with_counts_are_scaled_as_if_repeated(counts):
    values, counts = np.array(sorted(counts.items())).T
    counts = counts.astype(int)
    np.testing.assert_allclose(
        robust_scaling(values, counts), robust_scaling(np.repeat(values, counts)), rtol=1e-12
    )


@given(st.lists(numbers, min_size=2, max_size=30, unique=True), st.lists(numbers, max_size=5))
def test_inputs_of_any_numbers_are_in_order_and_within_three(values, others):
    encoding = Encoding.learn(column_of(*values, dtype=float))
    X = np.sort(np.array([*values, *others, math.inf, -math.inf]))
    for rows in (X[:, np.newaxis], np.repeat(X, 3)[:, np.newaxis]):
        found = encoding.encode(rows)[:, 0]
        assert (np.abs(found) <= 3).all()
    assert (np.diff(encoding.encode(np.sort(values)[:, np.newaxis])[:, 0]) >= 0).all()


def test_missing_numbers_are_the_mean_and_told_by_an_indicator():
    X = column_of(math.nan, 0, 1, 2, 3, 4, math.nan, 9, dtype=float)
    encoding = Encoding.learn(X)
    found = encoding.encode(X)
    is_missing = np.isnan(X[:, 0])
    assert found.shape == (8, 2)
    np.testing.assert_allclose(found[is_missing, 0], found[~is_missing, 0].mean(), rtol=1e-6)
    # Two of eight are missing: the quartiles of 0 and 1 are 0 and 0.25.
    four = 4 / math.sqrt(1 + 16 / 9)
    np.testing.assert_allclose(found[:, 1], np.where(is_missing, four, 0), rtol=1e-6)
    # Without missing ones in training there is no indicator.
    assert Encoding.learn(X[~is_missing]).encode(X).shape == (8, 1)


def test_infinite_numbers_are_the_extremes_and_told_by_the_indicator():
    X = column_of(*range(10), math.inf, -math.inf, dtype=float)
    found = encoded(X)
    np.testing.assert_array_equal(found[10:, 0], found[[9, 0], 0])
    assert len(set(found[:10, 1])) == 1
    assert (found[10:, 1] > found[0, 1]).all()
    # At predict alone they are the extremes of training.
    encoding = Encoding.learn(X[:10])
    np.testing.assert_array_equal(encoding.encode(X[10:]), encoding.encode(X[[9, 0]]))


def test_a_constant_column_with_missing_values_is_its_indicator():
    found = encoded(np.array([[1.0, 0.5], [math.nan, 1.5], [1.0, 2.5]]))
    assert found.shape == (3, 2)
    assert found[0, 1] == found[2, 1] != found[1, 1]


def test_constant_columns_are_dropped_and_not_looked_at_again():
    encoding = Encoding.learn([[1, 7, "x", 2], [2, 7, "x", 3]])
    assert encoding.kinds == ("number", "dropped", "dropped", "number")
    rows = [[1, 8, "y", 3], [2, None, [], 2]]
    np.testing.assert_array_equal(
        encoding.encode(rows), encoding.encode([[1, 7, "x", 3], [2, 7, "x", 2]])
    )


# Categories


def test_two_categories_are_one_column_with_zero_for_a_missing_one():
    encoding = Encoding.learn(column_of("a", "b", "b", "a"))
    # The quartiles of -1 and 1 are -1 and 1: half the value, and that of a missing one is 0.
    found = encoding.encode(column_of("a", "b", None, "c"))
    np.testing.assert_allclose(found[:, 0], [HALF, -HALF, 0, 0], rtol=1e-6)
    booleans = Encoding.learn(column_of(True, False, True, False))
    found = booleans.encode(column_of(True, False, None))
    np.testing.assert_allclose(found[:, 0], [-HALF, HALF, 0], rtol=1e-6)


@pytest.mark.parametrize("n_categories", [3, 8])
def test_up_to_eight_categories_are_one_hot(n_categories):
    texts = [chr(ord("a") + i) for i in range(n_categories)]
    encoding = Encoding.learn(column_of(*texts * 2))
    assert (encoding.n_inputs, encoding.inputs()) == (n_categories, [])
    # The median is 0. With three categories the quartiles are 0 and 0.75 of sorted 0 0 0 0 1 1.
    one = {3: (4 / 3) / math.sqrt(1 + (4 / 9) ** 2), 8: TWO}[n_categories]
    found = encoding.encode(column_of(*texts))
    np.testing.assert_allclose(found, one * np.eye(n_categories), rtol=1e-6)
    assert not encoding.encode(column_of(None, "z")).any()


def test_one_hot_columns_are_scaled_as_scikit_learns_would_be():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    texts = column_of(*np.random.default_rng(0).choice(list("abcd"), 300, p=[0.4, 0.3, 0.2, 0.1]))
    plain = preprocessing.OneHotEncoder(sparse_output=False).fit_transform(texts)
    for found, column in zip(encoded(texts).T, plain.T, strict=True):
        np.testing.assert_array_equal(found, encoded(column[:, np.newaxis])[:, 0])


def test_more_than_eight_categories_are_codes():
    texts = [f"c{i}" for i in range(9)]
    encoding = Encoding.learn(column_of(*texts[::-1]))
    found = encoding.encode(column_of(*texts, None, "new"))
    assert found[:, 0].tolist() == [*range(9), -1, -1]
    (entry,) = encoding.inputs("periodic")
    assert (entry.column, entry.n_categories, entry.size) == (0, 9, 8)


def test_categories_that_no_row_has_are_unknown():
    pandas = pytest.importorskip("pandas")
    declared = pandas.Categorical(["b", "a", "b"], ["z", "b", "a"], ordered=True)
    encoding = Encoding.learn(pandas.DataFrame({"a": declared}))
    assert encoding.described() == Encoding.learn(pandas.DataFrame({"a": list("bab")})).described()
    unknown, missing = encoding.encode(pandas.DataFrame({"a": ["z", None]}))
    np.testing.assert_array_equal(unknown, missing)


def test_named_numbers_are_categories_whatever_their_dtype():
    pandas = pytest.importorskip("pandas")
    store = [3, 1, 7, 3]
    encoding = Encoding.learn(pandas.DataFrame({"store": store}), ["store"])
    assert encoding.kinds == ("category",)
    assert encoding.described()["columns"][0]["categories"] == [1, 3, 7]
    expected = encoding.encode(pandas.DataFrame({"store": store}))
    for dtype in ("float64", "Int64", "category", "uint8", object):
        frame = pandas.DataFrame({"store": pandas.Series(store, dtype=dtype)})
        np.testing.assert_array_equal(encoding.encode(frame), expected)
        np.testing.assert_array_equal(encoding.encode(frame.loc[[0] * 20]), expected[[0] * 20])
    known, missing, unknown = encoding.encode(pandas.DataFrame({"store": [1, None, 4]}))  # floats
    np.testing.assert_array_equal(known, expected[1])
    np.testing.assert_array_equal(missing, unknown)


def test_large_integers_are_told_apart_as_categories():
    pandas = pytest.importorskip("pandas")
    ids = [2**62 + i for i in range(9)]
    frame = pandas.DataFrame({"id": ids, "x": np.arange(9.0)})
    encoding = Encoding.learn(frame, ["id"])
    for i in range(9):
        assert encoding.encode(frame.iloc[[i]])[0, -1] == i


# Dates


def test_dates_are_parts_without_what_is_constant():
    days = np.arange("2024-01-29", "2024-02-12", dtype="datetime64[D]")[:, np.newaxis]
    encoding = Encoding.learn(days)
    assert list(encoding.features[0].numbers) == ["month", "day_of_week"]
    found = encoding.encode(days)
    np.testing.assert_array_equal(found[:7, 1], found[7:, 1])
    assert len(set(found[:7, 1])) == 7
    hours = days + np.arange(14).astype("timedelta64[h]")[:, np.newaxis]
    assert list(Encoding.learn(hours).features[0].numbers)[2:] == ["time_sin", "time_cos"]
    days[3] = "NaT"
    assert encoded(days).shape == (14, 3)  # with an indicator


# All together


@pytest.fixture(scope="module")
def columns():
    return values_of(200)


def test_kinds_and_inputs_are_found(columns):
    encoding = Encoding.learn(table_of("objects", columns), [3])
    assert dict(zip(columns, encoding.kinds, strict=True)) == {
        "plain": "number",
        "holes": "number",
        "count": "number",
        "store": "category",
        "flag": "boolean",
        "maybe": "boolean",
        "color": "category",
        "city": "category",
        "constant": "dropped",
        "when": "date",
    }
    # Three numbers and five parts of dates, indicators of both, 4 + 1 + 1 + 3 one-hot, one code.
    assert (encoding.n_numbers, encoding.n_inputs) == (8, 8 + 2 + 9 + 1)


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_encoding(container, columns):
    expected = Encoding.learn(table_of("objects", columns), [3])
    table = table_of(container, columns)
    encoding = Encoding.learn(table, [3])
    assert encoding.described()["columns"] == expected.described()["columns"]
    result = encoding.encode(table)
    assert (result.dtype, result.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(result, expected.encode(table_of("objects", columns)))


@pytest.mark.parametrize("container", CONTAINERS)
def test_one_row_is_encoded_as_among_others(container, columns):
    encoding = Encoding.learn(table_of(container, columns), [3])
    others = values_of(60, seed=1)
    others["plain"][:3] = [math.inf, -math.inf, math.nan]
    others["city"][:2] = ["new", None]
    others["count"][0] = None
    table = table_of(container, others)
    together = encoding.encode(table)
    assert np.isfinite(together).all()
    for i in range(60):
        np.testing.assert_array_equal(encoding.encode(row_of(table, i))[0], together[i])


@pytest.mark.parametrize("is_missing", [False, True])
@pytest.mark.parametrize(
    "dtype",
    [
        "Int64",
        "Float64",
        "boolean",
        "string",
        "category",
        "Sparse[float64]",
        "datetime64[s, Europe/Berlin]",
        "timedelta64[s]",
        "period[D]",
        "int64[pyarrow]",
        "bool[pyarrow]",
        "string[pyarrow]",
        "timestamp[s][pyarrow]",
        "timestamp[us, UTC][pyarrow]",
        "date32[pyarrow]",
        "duration[s][pyarrow]",
    ],
)
def test_one_row_of_any_dtype_of_pandas_is_encoded_as_among_others(dtype, is_missing):
    pandas = pytest.importorskip("pandas")
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    days = pandas.Series(pandas.date_range("2020-01-01", periods=40))
    if any(name in dtype for name in ("date", "timestamp")):
        values = days.dt.tz_localize("UTC") if ", " in dtype else days
    elif "timedelta" in dtype or "duration" in dtype:
        values = days - days[0]
    elif dtype.startswith("period"):
        values = days.dt.to_period("D")
    elif dtype.startswith("string"):
        values = pandas.Series(["a", "b"] * 20)
    else:
        values = pandas.Series(np.arange(40) % 2).astype("boolean" if "bool" in dtype else "Int64")
    if is_missing:
        values[3] = None
    if dtype.startswith("Sparse"):
        values = values.astype("Float64").to_numpy(float, na_value=math.nan)
    frame = pandas.DataFrame({"a": pandas.Series(values).astype(dtype), "b": np.arange(40.0)})
    encoding = Encoding.learn(frame)
    together = encoding.encode(frame)
    for start in (0, 2, 3):
        for n_rows in (1, 3):
            rows = slice(start, start + n_rows)
            np.testing.assert_array_equal(encoding.encode(frame[rows]), together[rows])


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "int64", "bool", "object"])
def test_one_row_of_an_array_is_encoded_as_among_others(kind):
    X = np.random.default_rng(0).integers(-3, 3, size=(40, 5)).astype(kind)
    if kind.startswith("float"):
        X[3, 2], X[4, 2] = math.nan, math.inf
    encoding = Encoding.learn(X)
    together = encoding.encode(X)
    for i in range(40):
        np.testing.assert_array_equal(encoding.encode(X[i : i + 1])[0], together[i])


@pytest.mark.parametrize("unit", ["D", "s", "ns"])
@pytest.mark.parametrize("kind", ["datetime64", "timedelta64"])
def test_one_row_of_times_is_encoded_as_among_others(kind, unit):
    X = np.arange(0, 40 * 10**6, 10**6).astype(f"{kind}[{unit}]")[:, np.newaxis]
    encoding = Encoding.learn(X)
    np.testing.assert_array_equal(encoding.encode(X[7:8])[0], encoding.encode(X)[7])


def test_sparse_rows_are_encoded_as_dense_ones():
    dense = np.random.default_rng(0).integers(0, 3, size=(40, 5)).astype(float)
    X = sparse.csr_array(dense)
    encoding = Encoding.learn(X)
    assert encoding.described() == Encoding.learn(dense).described()
    np.testing.assert_array_equal(encoding.encode(X), encoding.encode(dense))
    np.testing.assert_array_equal(encoding.encode(X[:2]), encoding.encode(dense[:2]))


@pytest.mark.parametrize("as_mask", [False, True])
def test_only_the_given_rows_are_learnt_from(columns, as_mask):
    table = table_of("objects", columns)
    rows = np.arange(0, 200, 2)
    expected = Encoding.learn(table[rows], [3]).described()
    if as_mask:
        rows = np.arange(200) % 2 == 0
    assert Encoding.learn(table, [3], rows=rows).described() == expected


@pytest.mark.parametrize("container", ["pandas", "polars", "pyarrow"])
def test_columns_are_found_by_name(container, columns):
    encoding = Encoding.learn(table_of(container, columns), ["store"])
    expected = encoding.encode(table_of(container, columns))
    backwards = table_of(container, dict(reversed(columns.items())))
    np.testing.assert_array_equal(encoding.encode(backwards), expected)
    np.testing.assert_array_equal(encoding.encode(row_of(backwards, 5))[0], expected[5])
    # What has no names is taken as it comes.
    np.testing.assert_array_equal(encoding.encode(table_of("objects", columns)), expected)


def four(values):
    """Four values, of which one is there."""
    return st.lists(values, min_size=4, max_size=4).filter(
        lambda found: any(value is not None and value == value for value in found)
    )


finite_or_missing = st.floats(allow_infinity=False, width=32) | st.none()
any_column = st.one_of(
    four(finite_or_missing),
    four(st.integers(-(2**63), 2**63 - 1)),
    four(st.booleans() | st.none()),
    four(st.text(max_size=3) | st.none()),
    four(st.datetimes() | st.none()),
)


@given(st.lists(any_column, max_size=3), st.booleans())
def test_an_encoding_survives_json(table, is_named):
    X = table_of("objects", dict(enumerate([[1, 2, 2, 4], *table])))
    with_dates = {i + 1 for i, one in enumerate(table) if set(map(type, one)) & {datetime.datetime}}
    named = set(range(X.shape[1])) - with_dates if is_named else set()
    encoding = Encoding.learn(X, named)
    text = json.dumps(encoding.described(), allow_nan=False)
    again = Encoding.from_description(json.loads(text))
    assert again.described() == encoding.described()
    assert (again.n_inputs, again.kinds) == (encoding.n_inputs, encoding.kinds)
    np.testing.assert_array_equal(again.encode(X), encoding.encode(X))
    many = np.repeat(X, 5, axis=0)
    np.testing.assert_array_equal(again.encode(many)[::5], encoding.encode(X))


def test_an_encoding_is_copied_and_pickled(columns):
    table = table_of("objects", columns)
    encoding = Encoding.learn(table)
    for other in (copy.deepcopy(encoding), pickle.loads(pickle.dumps(encoding))):
        np.testing.assert_array_equal(other.encode(table), encoding.encode(table))


@pytest.mark.parametrize("embedding", [None, "periodic", "piecewise_linear"])
def test_a_network_takes_what_is_encoded(embedding, columns):
    encoding = Encoding.learn(table_of("objects", columns), [3])
    X = encoding.encode(table_of("objects", columns))
    net = MLP([encoding.n_inputs, 4, 1], inputs=encoding.inputs(embedding, X), seed=0)
    net.fit(X, X[:, 0], epochs=1, seed=0)
    assert np.isfinite(net.predict(X)).all()


def test_encoding_takes_the_memory_of_a_few_columns():
    n, n_columns = 100_000, 30
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.normal(size=(n, n_columns)))
    X[0, 0] = math.nan
    pandas = pytest.importorskip("pandas")
    names = [f"x{i}" for i in range(n_columns)]
    frame = pandas.DataFrame(X, columns=names, copy=False).assign(
        text=rng.choice(list("abcdefghijk"), n)
    )
    for table in (X, frame):
        tracemalloc.start()
        encoding = Encoding.learn(table)
        _, learning = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        result = encoding.encode(table)
        _, encoding_ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert learning < 8 * 8 * n
        assert encoding_ - result.nbytes < 8 * 8 * n


# What is refused


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_column_without_values_is_refused_by_name(container):
    table = table_of(container, {"b": [1.0, 2.0], "a": [None, None]})
    name = 1 if container == "objects" else "'a'"
    message = f"column {name} of X must have a value that is not missing, got none in 2 rows"
    for named in ("from_dtype", [1]):
        with pytest.raises(ValueError, match=f"^{message}$"):
            Encoding.learn(table, named)


def test_a_column_without_finite_numbers_is_refused():
    X = np.array([[math.inf, 1], [math.nan, 2], [-math.inf, 3]])
    message = "^column 0 of X must have a finite number, got none in 3 rows$"
    with pytest.raises(ValueError, match=message):
        Encoding.learn(X)


def test_a_table_of_constants_is_refused():
    message = "^X must have a column that varies, but all 2 are constant in 1 sample$"
    with pytest.raises(ValueError, match=message):
        Encoding.learn([[1, "x"]])


def test_dates_are_no_categories():
    days = np.array([["2024-01-01"], ["2024-01-02"]], "datetime64[D]")
    message = "^column 0 of X must not be categorical, since it holds dates$"
    with pytest.raises(ValueError, match=message):
        Encoding.learn(days, [0])


@pytest.mark.parametrize("n_rows", [1, 30])
@pytest.mark.parametrize(
    ("learnt", "other", "message"),
    [
        ([1.5, 2.5], "x", "must hold numbers, as in training, but holds texts"),
        (["x", "y"], 1.5, "must hold texts, as in training, but holds numbers"),
        (["x", "y"], True, "must hold texts, as in training, but holds booleans"),
        ([True, False], "x", "must hold booleans, as in training, but holds texts"),
        (
            [1.5, 2.5],
            datetime.date(2024, 1, 1),
            "must hold numbers, as in training, but holds dates",
        ),
        (["x", "y"], datetime.date(2024, 1, 1), "must hold texts, as in training, but holds dates"),
        (
            [datetime.date(2024, 1, 1), datetime.date(2024, 2, 2)],
            "2024-01-01",
            "must hold dates, as in training, but holds texts",
        ),
        (
            [datetime.date(2024, 1, 1), datetime.date(2024, 2, 2)],
            3,
            "must hold dates, as in training, but holds numbers",
        ),
    ],
)
def test_another_kind_than_in_training_is_refused(learnt, other, message, n_rows):
    encoding = Encoding.learn(column_of(*learnt))
    with pytest.raises(ValueError, match=f"^column 0 of X {message}$"):
        encoding.encode(column_of(*[other] * n_rows))
    # That all is missing says nothing about the kind.
    missing = encoding.encode(column_of(*[None] * n_rows))
    np.testing.assert_array_equal(encoding.encode(column_of(*[math.nan] * n_rows)), missing)


def test_booleans_and_numbers_may_stand_for_each_other():
    booleans = Encoding.learn(column_of(True, False, True))
    np.testing.assert_array_equal(
        booleans.encode(column_of(1.0, 0.0, dtype=float)), booleans.encode(column_of(True, False))
    )
    numbers = Encoding.learn(column_of(0, 1, 5, dtype=float))
    np.testing.assert_array_equal(
        numbers.encode(column_of(True, False, dtype=bool)), numbers.encode(column_of(1, 0))
    )


@pytest.mark.parametrize("n_rows", [2, 40])
def test_categories_that_are_numbers_may_stand_for_numbers(n_rows):
    pandas = pytest.importorskip("pandas")
    values = np.arange(n_rows) % 2 + 0.5
    encoding = Encoding.learn(pandas.DataFrame({"a": [0.5, 1.5, 7.0, None]}))
    frame = pandas.DataFrame({"a": values})
    frame.loc[0, "a"] = None
    np.testing.assert_array_equal(encoding.encode(frame.astype("category")), encoding.encode(frame))


def test_other_columns_than_in_training_are_refused():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 7]})
    encoding = Encoding.learn(frame)
    start = "The feature names should match those that were passed during fit.\n"
    for columns, message in [
        (["a", "b"], "Feature names seen at fit time, yet now missing:\n- c\n"),
        (["a", "b", "c", "d"], "Feature names unseen at fit time:\n- d\n"),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(start + message)}$"):
            encoding.encode(frame.reindex(columns=columns, fill_value=0))
    with pytest.raises(
        ValueError, match=r"^X has 2 features, but fastmlp is expecting 3 features as input$"
    ):
        encoding.encode(np.zeros((4, 2)))


def test_lists_and_mixtures_at_predict_are_refused():
    encoding = Encoding.learn([["x", 1.0], ["y", 2.0]])
    with pytest.raises(ValueError, match="column 0 of X must hold values of one kind, got texts"):
        encoding.encode([["x", 1.0], [3, 1.0]])
    with pytest.raises(TypeError, match="column 1 of X: each value of the argument must be a str"):
        encoding.encode([["x", {}]])


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: values.pop("columns"),
        lambda values: values.update(names=["a"]),
        lambda values: values["columns"][0].update(kind="integer"),
        lambda values: values["columns"][0]["numbers"]["value"].pop("mean"),
        lambda values: values["columns"][0]["numbers"]["value"].update(mean=None),
        lambda values: values["columns"][0]["numbers"].update(month=None),
        lambda values: values["columns"][1]["table"].pop(),
        lambda values: values["columns"][1]["categories"].append(["x"]),
        lambda values: values["columns"][1].pop("categories"),
        lambda values: values["columns"].append("x"),
    ],
)
def test_a_damaged_description_is_refused(damage):
    values = Encoding.learn([[1.0, "x"], [2.0, "y"], [3.0, "z"]]).described()
    damage(values)
    with pytest.raises(ValueError, match=r"^values must |descri"):
        Encoding.from_description(values)
