"""CSV and Parquet files as rows that are read when they are needed."""

import gzip
import os
import re
import sys
import tracemalloc

import numpy as np
import pytest

import fastmlp
from fastmlp import MLP, Rows, open_csv, open_parquet
from fastmlp.datasets import load_csv

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3)).astype(np.float32)
Y = RNG.integers(0, 5, 300)
NAMES = ["a", "b", "c"]


def text_of(X, y, names=(*NAMES, "y")):
    rows = [
        [*map(repr, row), str(target)] for row, target in zip(X.tolist(), y.tolist(), strict=True)
    ]
    return "".join(",".join(row) + "\n" for row in [names, *rows])


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text_of(X, Y))
    return path


def converted(path):
    """Files of rows that are beside a file, and whatever else is there and hidden."""
    return sorted(p.name for p in path.parent.iterdir() if p.suffix == ".rows" or p.name[0] == ".")


# --------------------------------------------------------------------------- CSV


def test_a_csv_file_is_opened_as_rows(csv):
    rows, y, names = open_csv(csv, target="y")
    assert isinstance(rows, Rows)
    assert (rows.shape, rows.dtype, names, y.dtype) == ((300, 3), np.float32, NAMES, np.int64)
    np.testing.assert_array_equal(rows[:], X)
    np.testing.assert_array_equal(y, Y)


def test_a_network_learns_from_it_what_it_learns_from_memory(csv):
    rows, y, _ = open_csv(csv, target="y")
    from_file, from_memory = MLP([3, 8, 1], seed=0), MLP([3, 8, 1], seed=0)
    from_file.fit(rows, y, epochs=3, seed=0, shuffle=False)
    from_memory.fit(X, Y, epochs=3, seed=0, shuffle=False)
    np.testing.assert_array_equal(from_file.theta, from_memory.theta)


def test_it_is_converted_once(csv, monkeypatch):
    first, *_ = open_csv(csv, target="y")
    monkeypatch.setattr("fastmlp.sources.csv_file.reading_csv", None)  # nobody reads it again
    second, y, names = open_csv(csv, target="y")
    assert second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(second[:], X)
    np.testing.assert_array_equal(y, Y)
    assert names == NAMES


def test_other_columns_or_another_target_have_a_file_of_their_own(csv):
    open_csv(csv, target="y")
    rows, y, names = open_csv(csv, target="a", columns=["y", "c"])
    assert names == ["y", "c"]
    np.testing.assert_array_equal(rows[:], np.stack([Y, X[:, 2]], axis=1))
    np.testing.assert_array_equal(y, X[:, 0].astype(float))
    assert len(converted(csv)) == 2


def test_without_a_target_all_columns_are_features(csv):
    rows, y, names = open_csv(csv)
    assert (rows.shape, y, names) == ((300, 4), None, [*NAMES, "y"])


@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_that_has_changed_is_converted_anew(csv, same_size):
    open_csv(csv, target="y")
    text = csv.read_text()
    status = csv.stat()
    csv.write_text(text.replace("0.", "1.", 1) if same_size else text + "1,2,3,4\n")
    os.utime(csv, ns=(status.st_atime_ns, status.st_mtime_ns))
    rows, y, _ = open_csv(csv, target="y")
    expected, expected_y, _ = load_csv(csv, "y")
    np.testing.assert_array_equal(rows[:], expected.astype(np.float32))
    np.testing.assert_array_equal(y, expected_y)
    assert len(converted(csv)) == 1


def test_a_file_of_rows_that_is_damaged_is_made_anew(csv):
    open_csv(csv, target="y")
    (name,) = converted(csv)
    for content in (b"", b"no rows", (csv.parent / name).read_bytes()[:-1]):
        (csv.parent / name).write_bytes(content)
        rows, *_ = open_csv(csv, target="y")
        np.testing.assert_array_equal(rows[:], X)


def test_several_files_follow_each_other_with_columns_found_by_name(csv, tmp_path):
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write(text_of(X[:, ::-1], Y + 0.5, ("c", "b", "a", "y")))
    rows, y, names = open_csv([csv, str(tmp_path / "b.csv.gz")], target="y")
    np.testing.assert_array_equal(rows[:], np.concatenate([X, X]))
    np.testing.assert_array_equal(y, np.concatenate([Y, Y + 0.5]))
    assert names == NAMES


def test_points_in_time_keep_their_digits(tmp_path):
    seconds = np.arange(1_700_000_000, 1_700_000_300)
    (tmp_path / "t.csv").write_text(text_of(np.stack([seconds, Y], axis=1), Y, ("t", "x", "y")))
    rows, *_ = open_csv(tmp_path / "t.csv", target="y")
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows[:][:, 0], seconds)


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "large.csv"
    path.write_text("a,b,y\n" + "0.5,1.25,3\n" * 700_000)
    open_csv(path, target="y")  # what is loaded once
    os.utime(path)
    tracemalloc.start()
    try:
        open_csv(path, target="y")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The target, twice while it is put together, and a few blocks of 2 MB and what they hold.
    assert peak < 2 * 8 * 700_000 + 40 * 2**20


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("a,b,y\n1,2,3\n", "but lacks 'c'"),
        ("a,b,c,d,y\n1,2,3,4,5\n", "but also has 'd'"),
        ("a,b,c\n1,2,3\n", "target 'y' is not a column of"),
        ("a,b,c,y\n1,2,3,4\n1,red,3,4\n", "line 3, column 'b': 'red' is not a number"),
        ("a,b,c,y\n1,2,3,4\n1,nan,3,4\n", "line 3, column 'b': 'nan' is not a finite float64"),
        ("a,b,c,y\n1,2,3,4\n1,2,3\n", "line 3 has 3 cells"),
        ("a,b,c,y\n1,2,3,4\n1,1e39,3,4\n", "b.csv' must hold numbers that float32 has room for"),
        ("a,b,c,y\n", "has a header but no row of data"),
    ],
)
def test_a_fault_in_the_second_file_is_named_and_nothing_stays(csv, tmp_path, second, message):
    (tmp_path / "b.csv").write_text(second)
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        open_csv([csv, tmp_path / "b.csv"], target="y")
    assert "b.csv" in str(raised.value)
    assert converted(csv) == []


@pytest.mark.skipif(sys.platform != "linux", reason="about limits of Linux")
def test_a_disk_that_is_full_leaves_nothing(csv):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"there is no room for .*a\.csv\..*\.rows"):
            open_csv(csv, target="y")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert converted(csv) == []


def test_what_is_no_file_is_refused(tmp_path, csv):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_csv(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="must be a file"):
        open_csv(tmp_path)
    with pytest.raises(ValueError, match="at least, got none"):
        open_csv([])
    with pytest.raises(TypeError, match="paths must be"):
        open_csv(3)
    with pytest.raises(TypeError, match="target must be"):
        open_csv(csv, target=3)
    with pytest.raises(TypeError, match="columns must be"):
        open_csv(csv, columns="a")
    with pytest.raises(ValueError, match="not the target"):
        open_csv(csv, target="y", columns=["a", "y"])
    with pytest.raises(ValueError, match="must have the columns that `columns` names, but lacks"):
        open_csv(csv, target="y", columns=["a", "z"])


def test_the_functions_are_loaded_when_they_are_asked_for():
    assert "open_csv" in fastmlp.__all__
    assert fastmlp.open_csv is open_csv


# --------------------------------------------------------------------------- Parquet


@pytest.fixture
def write_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    def write(name="a.parquet", **columns):
        path = tmp_path / name
        pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=100)
        return path

    return write


def columns_of(X, y):
    return dict(zip(NAMES, X.T, strict=True)) | {"y": y}


def test_a_parquet_file_is_opened_as_rows(write_parquet):
    path = write_parquet(**columns_of(X, Y))
    for _ in range(2):
        rows, y, names = open_parquet(path, target="y")
        assert isinstance(rows, Rows)
        assert (rows.dtype, y.dtype, names) == (np.float32, np.int64, NAMES)
        np.testing.assert_array_equal(rows[:], X)
        np.testing.assert_array_equal(y, Y)
    assert len(converted(path)) == 1


def test_parquet_columns_of_any_numbers_are_rows(write_parquet):
    columns = {
        "flag": Y > 2,
        "small": Y.astype(np.uint8),
        "half": (Y / 2).astype(np.float16),
        "id": np.arange(2**30, 2**30 + 300),
        "y": Y + 0.5,
        "text": ["left out"] * 300,
    }
    path = write_parquet(**columns)
    rows, y, names = open_parquet(path, target="y", columns=["id", "flag", "half", "small"])
    assert rows.dtype == np.float64
    assert y.dtype == np.float64
    assert names == ["id", "flag", "half", "small"]
    np.testing.assert_array_equal(
        rows[:], np.stack([columns[n] for n in names], axis=1, dtype=float)
    )


def test_several_parquet_files_follow_each_other(write_parquet):
    first = write_parquet(**columns_of(X, Y))
    reverse = dict(reversed(columns_of(X, Y + 0.5).items()))
    rows, y, _ = open_parquet([first, write_parquet("b.parquet", **reverse)], "y")
    np.testing.assert_array_equal(rows[:], np.concatenate([X, X]))
    np.testing.assert_array_equal(y, np.concatenate([Y, Y + 0.5]))


def with_value(column, row, value):
    return [value if i == row else number for i, number in enumerate(column.tolist())]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": None}, "must have a column 'b', but its columns are 'a', 'c', 'y'"),
        ({"d": Y}, "also has 'd'"),
        ({"b": ["red"] * 300}, "column 'b' of .* must hold numbers, got string"),
        ({"b": with_value(X[:, 1], 250, None)}, "column 'b' .* missing values, got one in row 250"),
        ({"y": with_value(Y, 7, None)}, "column 'y' .* missing values, got one in row 7"),
        ({"b": with_value(X[:, 1], 7, np.inf)}, "column 'b' .* finite numbers, got inf in row 7"),
        ({"b": with_value(X[:, 1], 7, 1e39)}, r"column 'b' .* float32 .* got 1e\+39 in row 7"),
    ],
)
def test_a_fault_in_the_second_parquet_file_is_named(write_parquet, change, message):
    first = write_parquet(**columns_of(X, Y))
    columns = {
        name: column for name, column in (columns_of(X, Y) | change).items() if column is not None
    }
    second = write_parquet("b.parquet", **columns)
    with pytest.raises(ValueError, match=message) as raised:
        open_parquet([first, second], target="y")
    assert "b.parquet" in str(raised.value)
    assert converted(first) == []


def test_what_is_no_parquet_file_is_refused(csv):
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=r"a\.csv' must be a Parquet file"):
        open_parquet(csv)


def test_an_empty_parquet_file_is_refused(write_parquet):
    with pytest.raises(ValueError, match="no row of data"):
        open_parquet(write_parquet(a=np.empty(0), y=np.empty(0)), "y")
