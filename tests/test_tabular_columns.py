"""What columns of tables are, whichever container they come in."""

import datetime
import math
import re
import sys
import zoneinfo
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from fastmlp.tabular.columns import as_categories, date_parts, missing_of, named_categories
from fastmlp.tabular.frames import read_frame

DAY = datetime.date(2024, 2, 29)
MOMENT = datetime.datetime(2024, 2, 29, 18, 0)
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def objects(*values):
    return np.array(values, object).reshape(-1, 1)


def only_column(X):
    return read_frame(X).column(0)


def shown(column):
    """Values of a column as Python's, None where one is missing."""
    values = column.values.tolist()
    if column.kind == "category":
        values = [column.categories[code] for code in values]
    return [
        None if is_missing else value
        for value, is_missing in zip(values, missing_of(column), strict=True)
    ]


CONTAINERS = ("pandas", "polars", "pyarrow", "objects")


def table_of(container, values):
    if container == "objects":
        return objects(*values)
    module = pytest.importorskip(container)
    if container == "pyarrow":
        return module.table({"a": values})
    return module.DataFrame({"a": values})


# What is found by the dtype


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("number", [1.5, -2.0, 0.0]),
        ("number", [3, 1, 2]),
        ("number", [1.5, None, 3.0]),
        ("number", [4, None, 3]),
        ("boolean", [True, False, True]),
        ("boolean", [True, None, False]),
        ("category", ["b", "a", "b"]),
        ("category", ["1", None, "2"]),
        ("date", [MOMENT, MOMENT.replace(day=1), MOMENT]),
        ("date", [MOMENT, None, MOMENT]),
    ],
    ids=str,
)
def test_a_column_is_the_same_in_every_container(container, kind, values):
    column = only_column(table_of(container, values))
    assert column.kind == kind
    assert shown(column) == values if kind != "date" else True
    if kind == "date":
        expected = np.array(values, "datetime64[us]")
        np.testing.assert_array_equal(column.values.astype("datetime64[us]"), expected)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    "values",
    [
        [DAY, None],
        [datetime.time(18, 0), None],
        [MOMENT.replace(tzinfo=BERLIN), None],
    ],
    ids=["date", "time", "time zone"],
)
def test_dates_and_times_are_those_of_the_clock_on_the_wall(container, values):
    column = only_column(table_of(container, values))
    assert column.kind == "date"
    found = column.values.astype("datetime64[us]")
    assert np.isnat(found[1])
    found = found[0].item()
    if isinstance(values[0], datetime.time):
        assert found.time() == values[0]
    else:
        assert found.date() == DAY
        assert found.hour == getattr(values[0], "hour", 0)


@pytest.mark.parametrize("container", CONTAINERS)
def test_decimals_are_numbers(container):
    column = only_column(table_of(container, [Decimal("1.25"), None]))
    assert (column.kind, shown(column)) == ("number", [1.25, None])


@pytest.mark.parametrize("container", ["pandas", "polars", "pyarrow"])
def test_durations_are_seconds(container):
    column = only_column(table_of(container, [datetime.timedelta(minutes=1.5), None]))
    assert (column.kind, shown(column)) == ("number", [90.0, None])


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("number", "Int64"),
        ("number", "Float32"),
        ("boolean", "boolean"),
        ("number", "int64[pyarrow]"),
        ("number", "double[pyarrow]"),
        ("boolean", "bool[pyarrow]"),
        ("category", "category"),
        ("category", "string"),
        ("category", "str"),
        ("category", "string[pyarrow]"),
        ("date", "datetime64[s]"),
        ("date", "datetime64[ns, Europe/Berlin]"),
        ("date", "timestamp[us][pyarrow]"),
        ("date", "timestamp[us, tz=Europe/Berlin][pyarrow]"),
        ("date", "date32[day][pyarrow]"),
        ("date", "period[D]"),
        ("number", "timedelta64[s]"),
        ("number", "duration[s][pyarrow]"),
    ],
)
def test_every_dtype_of_pandas_may_have_missing_values(kind, dtype):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    if dtype == "datetime64[ns, Europe/Berlin]":
        given = pandas.Series([MOMENT, None]).dt.tz_localize("Europe/Berlin")
    elif kind == "date":
        given = pandas.Series(pandas.to_datetime([MOMENT, None])).astype("datetime64[s]")
        if dtype == "period[D]":
            given = given.dt.to_period("D")
        elif dtype.startswith("date32"):
            given = given.dt.floor("D").astype("timestamp[s][pyarrow]").astype(dtype)
        else:
            given = given.astype(dtype.replace("s, tz=Europe/Berlin", "s"))
            if "tz=" in dtype:
                given = given.dt.tz_localize("Europe/Berlin")
    elif dtype.startswith(("timedelta", "duration")):
        given = pandas.Series(pandas.to_timedelta([90, None], unit="s")).astype(dtype)
    else:
        values = {"number": [90, None], "boolean": [True, None], "category": ["x", None]}[kind]
        given = pandas.Series(values, dtype=dtype)
    column = only_column(pandas.DataFrame({"a": given}))
    assert column.kind == kind
    assert missing_of(column).tolist() == [False, True]
    if kind == "date":
        found = column.values[0].astype("datetime64[us]").item()
        assert found.replace(hour=0) == datetime.datetime(2024, 2, 29)
        assert found.hour in (0, 18)
    else:
        assert shown(column)[0] == {"number": 90, "boolean": True, "category": "x"}[kind]


def test_sparse_columns_of_pandas_are_numbers():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": pandas.arrays.SparseArray([0.0, 0.0, 2.5])})
    assert shown(only_column(frame)) == [0.0, 0.0, 2.5]


@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
def test_columns_of_sparse_matrices_are_those_of_dense_ones(format):
    dense = np.random.default_rng(0).integers(0, 3, size=(6, 4)).astype(np.float32)
    frame = read_frame(sparse.coo_array(dense).asformat(format))
    for i in range(4):
        np.testing.assert_array_equal(frame.column(i).values, dense[:, i])
    assert frame.rows() == dense.tolist()


def test_masked_values_are_missing():
    array = np.ma.masked_equal([[1.0, 7.0], [2.0, 3.0]], 7.0)
    assert shown(read_frame(array).column(1)) == [None, 3.0]


def test_lists_of_rows_keep_numbers_beside_texts():
    frame = read_frame([[1, "a", None], [2, None, True]])
    kinds = [frame.column(i).kind for i in range(3)]
    assert kinds == ["number", "category", "boolean"]
    assert shown(frame.column(0)) == [1.0, 2.0]


def test_texts_that_look_like_numbers_are_categories():
    assert only_column(objects("1", "2.5")).categories == ("1", "2.5")
    assert only_column(np.array([["1"], ["2.5"]])).kind == "category"


def test_nan_is_a_missing_text():
    assert shown(only_column(objects("a", math.nan, "b"))) == ["a", None, "b"]


@pytest.mark.parametrize("container", ["pandas", "polars", "pyarrow"])
def test_categories_of_a_frame_are_their_texts(container):
    values = ["u", None, "v", "u"]
    if container == "pandas":
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame({"a": pandas.Categorical(values, ["w", "v", "u"])})
    elif container == "polars":
        polars = pytest.importorskip("polars")
        enum = polars.Series(values, dtype=polars.Enum(["w", "v", "u"]))
        assert shown(only_column(polars.DataFrame({"a": enum}))) == values
        frame = polars.DataFrame({"a": enum.cast(polars.Categorical)})
    else:
        pyarrow = pytest.importorskip("pyarrow")
        frame = pyarrow.table({"a": pyarrow.array(values).dictionary_encode()})
    column = only_column(frame)
    assert (column.kind, shown(column)) == ("category", values)


def test_categories_of_numbers_stay_numbers_and_intervals_are_texts():
    pandas = pytest.importorskip("pandas")
    numbers = pandas.DataFrame({"a": pandas.Categorical([3, 1, 3])})
    assert shown(only_column(numbers)) == [3, 1, 3]
    intervals = pandas.DataFrame({"a": pandas.cut([0.5, 1.5, 0.7], [0, 1, 2])})
    assert shown(only_column(intervals)) == ["(0, 1]", "(1, 2]", "(0, 1]"]


def test_categories_of_arrow_are_what_the_dictionary_holds():
    pyarrow = pytest.importorskip("pyarrow")
    codes = pyarrow.array([0, None, 1, 0])
    for values in ([30, 10], [1.5, 2.5], [True, False]):
        encoded = pyarrow.DictionaryArray.from_arrays(codes, pyarrow.array(values))
        column = only_column(pyarrow.table({"a": encoded}))
        assert column.kind == "category"
        assert shown(column) == [values[0], None, values[1], values[0]]
        assert type(column.categories[0]) is type(values[0])
    days = pyarrow.DictionaryArray.from_arrays(codes, pyarrow.array([DAY, DAY.replace(day=1)]))
    assert shown(only_column(pyarrow.table({"a": days})))[::2] == ["2024-02-29", "2024-02-01"]


def test_record_batches_of_arrow_have_names():
    pyarrow = pytest.importorskip("pyarrow")
    frame = read_frame(pyarrow.record_batch({"a": [1, 2], "b": ["x", None]}))
    assert frame.names == ("a", "b")
    assert shown(frame.column(1)) == ["x", None]


@pytest.mark.parametrize("name", ["Int128", "UInt128"])
def test_integers_of_more_bits_than_numpy_has_are_numbers(name):
    polars = pytest.importorskip("polars")
    dtype = getattr(polars, name)
    for values in ([2**70, 0, 5], [3, None, 4]):
        column = only_column(polars.DataFrame({"a": polars.Series(values, dtype=dtype)}))
        assert (column.kind, shown(column)) == ("number", values)


def test_a_decimal_that_is_no_number_is_missing():
    for nan in (Decimal("NaN"), Decimal("sNaN")):
        assert shown(only_column(objects(nan, Decimal("1.5")))) == [None, 1.5]
        assert shown(only_column(objects("a", nan))) == ["a", None]


def test_a_column_is_read_in_place():
    array = np.random.default_rng(0).normal(size=(10, 3))
    assert np.shares_memory(read_frame(array).column(1).values, array)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(array)
    assert np.shares_memory(read_frame(frame).column(1).values, frame.to_numpy())


def test_rows_are_loaded():
    array = np.random.default_rng(0).normal(size=(10, 3))

    class Given:
        shape, dtype = array.shape, array.dtype

        def __getitem__(self, rows):
            return array[rows]

    frame = read_frame(Given())
    np.testing.assert_array_equal(frame.column(1).values, array[:, 1])


# Categories that are named


def test_numbers_are_categories_by_their_values():
    column = as_categories(only_column(np.array([[3.0], [math.nan], [1.5], [3.0]])), "it")
    assert shown(column) == [3, None, 1.5, 3]
    assert [type(one) for one in sorted(column.categories)] == [float, int]
    large = 2**62 + 1  # which no float64 is
    column = as_categories(only_column(np.array([[large], [large - 1]])), "it")
    assert shown(column) == [large, large - 1]


@pytest.mark.parametrize(
    "given",
    [
        ["b", "c"],
        np.array(["c", "b"]),
        [1, 2],
        np.array([1, 2]),
        (True, True, False)[::-1],
        np.array([False, True, True]),
    ],
    ids=repr,
)
def test_columns_are_named_by_name_index_or_mask(given):
    assert named_categories(given, ("a", "b", "c"), 3) == {1, 2}


@pytest.mark.parametrize("given", [None, "from_dtype", [], [False] * 3])
def test_no_column_is_named(given):
    assert named_categories(given, ("a", "b", "c"), 3) == set()
    assert named_categories(given, None, 3) == set()


@pytest.mark.parametrize(
    ("given", "names", "error", "message"),
    [
        (
            ["d"],
            ("a", "b"),
            ValueError,
            "categorical_features must name columns of the table, got 'd'; its columns are "
            "'a', 'b'",
        ),
        (
            ["d"],
            None,
            ValueError,
            "categorical_features must be indices or a mask where columns have no names, got 'd'",
        ),
        ([2], None, ValueError, "categorical_features must be indices from 0 to 1, got 2"),
        ([-1], None, ValueError, "categorical_features must be indices from 0 to 1, got -1"),
        (
            [True],
            None,
            ValueError,
            "categorical_features must have one flag for each of the 2 columns, got 1",
        ),
        (
            "all",
            None,
            ValueError,
            'categorical_features must be "from_dtype", or names, indices or a mask of columns, '
            "got 'all'",
        ),
        (
            [1.5],
            None,
            TypeError,
            'categorical_features must be "from_dtype", or names, indices or a mask of columns, '
            "got [1.5]",
        ),
        (
            3,
            None,
            TypeError,
            'categorical_features must be "from_dtype", or names, indices or a mask of columns, '
            "got 3",
        ),
    ],
)
def test_bad_names_of_categories_are_refused(given, names, error, message):
    with pytest.raises(error) as raised:
        named_categories(given, names, 2)
    assert str(raised.value) == message


# Dates


moments = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1))


@given(st.lists(moments, min_size=1, max_size=20))
def test_parts_of_dates_are_those_of_the_calendar(dates):
    parts = date_parts(np.array(dates, "datetime64[us]"))
    assert parts["year"].tolist() == [one.year for one in dates]
    assert parts["month"].tolist() == [one.month for one in dates]
    assert parts["day_of_week"].tolist() == [one.weekday() for one in dates]
    angles = np.arctan2(parts["time_sin"], parts["time_cos"]) % (2 * np.pi)
    midnights = [datetime.datetime.combine(one, datetime.time()) for one in dates]
    seconds = [
        (one - midnight).total_seconds() for one, midnight in zip(dates, midnights, strict=True)
    ]
    apart = np.abs(angles / (2 * np.pi) * 86400 - seconds)
    assert np.minimum(apart, 86400 - apart).max() < 1e-3


def test_a_missing_date_has_missing_parts():
    for numbers in date_parts(np.array(["2024-01-01", "NaT"], "datetime64[D]")).values():
        assert np.isnan(numbers).tolist() == [False, True]


def test_noon_and_midnight_have_the_same_sine():
    parts = date_parts(np.array(["2024-01-01T00", "2024-01-01T12"], "datetime64[h]"))
    assert parts["time_sin"].tolist() == [0.0, 0.0]
    assert parts["time_cos"].tolist() == [1.0, -1.0]


# What is refused


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (
            [1.5, "x"],
            ValueError,
            "column 0 of X must hold values of one kind, got numbers such as 1.5 in row 0 and "
            "texts such as 'x' in row 1",
        ),
        (
            [None, True, 2],
            ValueError,
            "column 0 of X must hold values of one kind, got booleans such as True in row 1 and "
            "numbers such as 2 in row 2",
        ),
        (
            ["x", DAY],
            ValueError,
            "column 0 of X must hold values of one kind, got texts such as 'x' in row 0 and "
            "dates such as datetime.date(2024, 2, 29) in row 1",
        ),
        (
            ["x", {"foo": "bar"}],
            TypeError,
            "column 0 of X: each value of the argument must be a string, a number, a boolean, a "
            "date or missing, got {'foo': 'bar'} in row 1",
        ),
        (
            [2.0, b"x"],
            TypeError,
            "column 0 of X: each value of the argument must be a string, a number, a boolean, a "
            "date or missing, got b'x' in row 1",
        ),
        (
            [np.int64(3), np.str_("x")],
            ValueError,
            "column 0 of X must hold values of one kind, got numbers such as 3 in row 0 and "
            "texts such as 'x' in row 1",
        ),
        (
            [np.complex128(1 + 2j)],
            TypeError,
            "column 0 of X: each value of the argument must be a string, a number, a boolean, a "
            "date or missing, got (1+2j) in row 0",
        ),
        ([10**400], ValueError, "column 0 of X must hold numbers that float64 has room for"),
    ],
)
def test_columns_of_objects_that_are_no_column_are_refused(values, error, message):
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    with pytest.raises(error) as raised:
        only_column(array)
    assert str(raised.value) == message


@pytest.mark.parametrize("container", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize(
    "values", [[[1, 2], [3]], [{"k": 1}, {"k": 2}], [b"x", b"y"]], ids=["list", "struct", "bytes"]
)
def test_columns_of_lists_and_the_like_are_refused_by_name(container, values):
    with pytest.raises(
        TypeError, match=r"column 'a' of X.* must (be a string|hold numbers|hold single values)"
    ):
        only_column(table_of(container, values))


def test_arrays_within_a_column_are_refused():
    polars = pytest.importorskip("polars")
    column = polars.Series([[1, 2], [3, 4]], dtype=polars.Array(polars.Int64, 2))
    with pytest.raises(TypeError, match="column 'a' of X must hold single values"):
        only_column(polars.DataFrame({"a": column}))


def test_categories_of_several_kinds_are_refused():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": pandas.Categorical([1, "x"])})
    message = "^column 'a' of X must have categories of one kind, got numbers and texts$"
    with pytest.raises(ValueError, match=message):
        only_column(frame)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((0, 3)), "X must have at least one row, got none"),
        (
            np.zeros((3, 0)),
            "X has 0 feature(s) (shape=(3, 0)) while a minimum of 1 is required.",
        ),
        (
            np.zeros(3),
            "X must be a table of rows and columns, got 1 dimension(s). Reshape your data: "
            "X.reshape(-1, 1) is one column, X.reshape(1, -1) one row",
        ),
        (
            sparse.coo_array(np.zeros(3)),
            "X must be a table of rows and columns, got 1 dimension(s)",
        ),
    ],
)
def test_what_is_no_table_is_refused(X, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_frame(X)


@pytest.mark.parametrize("X", [None, "table.csv", {"a": [1, 2]}, (row for row in [[1], [2]]), 3.5])
def test_what_has_no_rows_is_refused_by_its_type(X):
    message = f"^X must be a table of rows and columns, got an object of {type(X).__name__}$"
    with pytest.raises(TypeError, match=message):
        read_frame(X)


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"^X must have rows of the same length, got 1 and 2$"):
        read_frame([[1, 2], [3]])


def test_lists_within_rows_are_refused_by_their_column():
    with pytest.raises(TypeError, match=r"column 1 of X: .*, got \[2, 3\] in row 0"):
        read_frame([[1, [2, 3]], [1, [4]]]).column(1)


def test_what_reads_other_frames_must_be_installed(monkeypatch):
    polars = pytest.importorskip("polars")
    monkeypatch.setitem(sys.modules, "narwhals.stable.v2", None)
    with pytest.raises(ImportError, match="X is read by the package narwhals, which is not ins"):
        read_frame(polars.DataFrame({"a": [1]}))


def test_a_frame_that_is_not_read_yet_is_refused():
    polars = pytest.importorskip("polars")
    with pytest.raises(
        TypeError, match=r"^X must be a table in memory, got a LazyFrame: collect it"
    ):
        read_frame(polars.DataFrame({"a": [1]}).lazy())


def test_complex_numbers_are_refused():
    with pytest.raises(ValueError, match="Complex data not supported: column 0 of X"):
        only_column(np.ones((2, 1), complex))


@pytest.mark.parametrize("container", ["pandas", "pyarrow"])
def test_a_name_that_is_there_twice_is_refused(container):
    module = pytest.importorskip(container)
    if container == "pandas":
        table = module.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    else:
        table = module.Table.from_arrays([module.array([1])] * 3, ["a", "b", "a"])
    with pytest.raises(ValueError, match=r"(?s)^X must name each of its columns once.*'a'"):
        read_frame(table)


def test_names_are_texts_or_none():
    pandas = pytest.importorskip("pandas")
    assert read_frame(pandas.DataFrame([[1, 2]])).names is None
    assert read_frame(pandas.DataFrame({"b": [1], "a": [2]})).names == ("b", "a")
    with pytest.raises(TypeError) as raised:
        read_frame(pandas.DataFrame({"b": [1], 0: [2]}))
    assert str(raised.value) == (
        "X must have columns with names that are all texts or all numbers, got int and str"
    )
