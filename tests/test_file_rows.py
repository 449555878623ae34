"""Rows of a matrix in a binary file."""

import gc
import os
import pickle
import threading

import numpy as np
import pytest
import reference
from marks import compiled_only

from fastmlp.kernels import files
from fastmlp.sources.files import FileRows

X = np.random.default_rng(0).normal(size=(1000, 7))


@pytest.fixture
def path(tmp_path):
    """A file of 16 bytes, and then the rows of X."""
    path = tmp_path / "rows"
    path.write_bytes(b"sixteen bytes..." + X.tobytes())
    return path


def rows_of(path):
    return FileRows(path, "float64", X.shape, offset=16)


@pytest.mark.parametrize("rows", [slice(0, 10), slice(990, None), slice(5, 5), slice(None)])
def test_a_slice_gives_the_rows_that_were_written(path, rows):
    found = rows_of(path)[rows]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, X[rows])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", ">f8", ">f4", "int64"])
@pytest.mark.parametrize("stored", ["float64", "float32", ">f8", "uint8", "int16", "bool"])
def test_numbers_of_any_kind_are_read_as_any_other(tmp_path, stored, dtype):
    # More than are converted at once.
    numbers = np.random.default_rng(1).uniform(0, 200, size=(20_000, 9)).astype(stored)
    numbers.tofile(tmp_path / "rows")
    out = np.empty((19_000, 9), dtype)
    FileRows(tmp_path / "rows", stored, numbers.shape).read_into(500, 19_500, out)
    np.testing.assert_array_equal(out, numbers[500:19_500].astype(dtype))


def test_numbers_that_are_too_large_become_infinite_without_a_warning(tmp_path):
    np.array([[1e300, 1.0]]).tofile(tmp_path / "rows")
    out = np.empty((1, 2), np.float32)
    FileRows(tmp_path / "rows", "float64", (1, 2)).read_into(0, 1, out)
    assert out.tolist() == [[np.inf, 1.0]]


def test_threads_read_side_by_side(path):
    rows = rows_of(path)
    wrong = []

    def read(seed):
        for start in np.random.default_rng(seed).integers(0, 900, size=200).tolist():
            if not np.array_equal(rows[start : start + 100], X[start : start + 100]):
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_reads_that_return_less_than_was_asked_for_go_on(path, monkeypatch):
    whole = FileRows._read_at
    monkeypatch.setattr(FileRows, "_read_at", lambda rows, block, at: whole(rows, block[:100], at))
    np.testing.assert_array_equal(rows_of(path)[:], X)


def test_a_copy_by_pickle_reads_the_same_wherever_it_is_opened(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(FileRows(path.name, "float64", X.shape, offset=16))
    monkeypatch.chdir(os.path.dirname(tmp_path))
    copy = pickle.loads(pickled)
    np.testing.assert_array_equal(copy[3:9], X[3:9])
    assert copy.fingerprint == rows_of(path).fingerprint


def test_the_file_is_closed_with_the_last_use_of_the_rows(path):
    rows = rows_of(path)
    file = rows._file
    del rows
    gc.collect()
    assert file.closed


def test_the_fingerprint_tells_files_apart_that_differ_in_time_or_in_content(path):
    before = rows_of(path).fingerprint
    assert rows_of(path).fingerprint == before
    status = path.stat()
    path.write_bytes(b"sixteen bytes..." + (X + 1).tobytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # same size, same time
    assert rows_of(path).fingerprint != before
    path.write_bytes(b"sixteen bytes..." + X.tobytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert rows_of(path).fingerprint != before


def test_a_file_that_is_cut_short_while_it_is_read_is_told_with_the_rows(path):
    rows = rows_of(path)
    os.truncate(path, 5000)
    with pytest.raises(
        ValueError,
        match=r"rows 80 to 99 of '.*rows' could not be read: the file has ended at byte 5000, it "
        r"was 56016 bytes long when it was opened: it has been cut short",
    ):
        rows[80:100]


def test_a_file_that_is_changed_while_it_is_read_is_told(path):
    rows = rows_of(path)
    rows[:10]
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(0, 1))
    with pytest.raises(ValueError, match=r"rows 0 to 9 of .* the file has been changed since"):
        rows[:10]


def test_what_was_opened_is_read_though_another_file_takes_its_place(path, tmp_path):
    rows = rows_of(path)
    (tmp_path / "other").write_bytes(bytes(60_000))
    try:
        os.replace(tmp_path / "other", path)
    except PermissionError:
        pytest.skip("no file that is open can be replaced here")
    np.testing.assert_array_equal(rows[:], X)


def test_a_file_that_is_too_short_is_refused_when_it_is_opened(path):
    with pytest.raises(ValueError, match=r"must have 57064 bytes .*, it has 56016"):
        FileRows(path, "float64", (1019, 7))


@pytest.mark.parametrize("dtype", ["complex128", "object", "U3", "datetime64[s]"])
def test_other_things_than_real_numbers_are_refused(path, dtype):
    with pytest.raises(TypeError, match="dtype must be of real numbers"):
        FileRows(path, dtype, (1, 1))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FileRows(tmp_path / "nowhere", "float64", (1, 1))


def test_rows_and_memory_that_do_not_fit_are_refused(path):
    rows = rows_of(path)
    with pytest.raises(ValueError, match="rows must be within 0 to 1000, got 990 to 1001"):
        rows.read_into(990, 1001, np.empty((11, 7)))
    with pytest.raises(ValueError, match=r"out must be C-contiguous of shape \(2, 7\)"):
        rows.read_into(0, 2, np.empty((7, 2)).T)
    with pytest.raises(TypeError, match="rows must be a slice without a step"):
        rows[::2]
    with pytest.raises(TypeError, match="rows must be a slice without a step"):
        rows[3]


# --------------------------------------------------------------------------- memmaps


@pytest.mark.parametrize("mode", ["r", "r+", "w+"])
def test_a_memmap_is_read_through_its_file(tmp_path, mode):
    path = tmp_path / "rows"
    if mode == "w+":
        mapped = np.memmap(path, "float64", mode, offset=5000 * 8, shape=X.shape)
        mapped[...] = X
    else:
        path.write_bytes(bytes(5000 * 8) + X.tobytes())
        mapped = np.memmap(path, "float64", mode, offset=5000 * 8, shape=X.shape)
    rows = FileRows.of_memmap(mapped)
    assert (rows.dtype, rows.shape, rows.offset) == (np.float64, X.shape, 5000 * 8)
    np.testing.assert_array_equal(rows[:], X)


@pytest.mark.parametrize(
    "view",
    [
        lambda mapped: mapped[100:900],
        lambda mapped: mapped[100:][50:300],
        lambda mapped: np.asarray(mapped)[1:],
        lambda mapped: mapped.reshape(500, 14),
        lambda mapped: mapped.view("float32"),
        lambda mapped: mapped.reshape(-1)[700:].reshape(900, 7),
        lambda mapped: mapped[:, :3],
        lambda mapped: mapped[40:, 2:],
        lambda mapped: mapped[:, 6:],
        lambda mapped: mapped[::2],
        lambda mapped: mapped[1::2, 1:3],
    ],
)
def test_views_of_a_memmap_are_read_from_where_they_begin(path, view):
    mapped = np.memmap(path, "float64", "r", offset=16, shape=X.shape)
    rows = FileRows.of_memmap(view(mapped))
    np.testing.assert_array_equal(rows[:], view(X))
    out = np.empty((5, rows.shape[1]), np.float32)
    rows.read_into(200, 205, out)
    np.testing.assert_array_equal(out, view(X)[200:205].astype(np.float32))


def test_what_numpy_saved_and_maps_is_read_through_its_file(tmp_path):
    np.save(tmp_path / "X.npy", X)
    rows = FileRows.of_memmap(np.load(tmp_path / "X.npy", mmap_mode="r")[10:])
    np.testing.assert_array_equal(rows[:], X[10:])


def test_changes_of_a_memmap_are_read_too(path):
    mapped = np.memmap(path, "float64", "r+", offset=16, shape=X.shape)
    mapped[500] = 5.0
    assert (FileRows.of_memmap(mapped)[500:501] == 5.0).all()


def test_what_is_not_in_a_file_row_by_row_is_not_read_so(path):
    def mapped(mode="r"):
        return np.memmap(path, "float64", mode, offset=16, shape=X.shape)

    own = mapped("c")
    own[0] = 0.0
    others = [
        X,
        own,
        mapped() + 1.0,
        np.array(mapped()),
        mapped()[:, ::2],
        mapped()[::-1],
        mapped().T,
        mapped()[0],
        mapped()[5:5],
        mapped().view("datetime64[s]"),
    ]
    assert [FileRows.of_memmap(other) for other in others] == [None] * len(others)


def test_a_memmap_of_a_file_that_is_no_longer_there_is_not_read_from_another(path, tmp_path):
    mapped = np.memmap(path, "float64", "r", offset=16, shape=X.shape)
    (tmp_path / "other").write_bytes(bytes(60_000))
    try:
        os.replace(tmp_path / "other", path)
    except PermissionError:
        pytest.skip("no file that is mapped can be replaced here")
    assert FileRows.of_memmap(mapped) is None
    path.unlink()
    assert FileRows.of_memmap(mapped) is None
    np.testing.assert_array_equal(mapped, X)


@pytest.mark.skipif(os.name != "posix", reason="no file that is mapped can be cut short here")
def test_a_memmap_whose_file_is_cut_short_is_refused_without_a_look_at_it(path):
    mapped = np.memmap(path, "float64", "r", offset=16, shape=X.shape)
    os.truncate(path, 100)
    for view in (mapped, mapped[:, 1:]):
        with pytest.raises(ValueError, match="it has 100"):
            FileRows.of_memmap(view)


@compiled_only
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("is_parallel", [False, True])
def test_the_kernel_reads_runs_of_bytes(tmp_path, dtype, is_parallel):
    numbers = np.arange(100).astype(dtype)
    if dtype != "uint8":
        numbers[[33, 80]] = np.nan, np.inf
    numbers.tofile(tmp_path / "numbers")
    itemsize = numbers.itemsize
    # In the file's order and not, next to each other and apart; the last is longer than the file.
    runs = np.array([(90, 5), (0, 10), (10, 20), (30, 10), (80, 1), (95, 10)]) * itemsize
    places = np.array([50, 0, 10, 30, 40, 60])
    out, outcomes = np.full(70, 7).astype(dtype), np.empty(len(runs), np.int64)
    with open(tmp_path / "numbers", "rb") as file:
        kernel = files.read_runs.parallel if is_parallel else files.read_runs.serial
        blocks = np.column_stack([runs, places])
        kernel(file.fileno(), blocks, out, outcomes)
        found, names = reference.read_runs(file.fileno(), runs.tolist(), dtype)
    known = np.full(70, 7).astype(dtype)
    for place, part in zip(places, found, strict=True):
        known[place : place + part.size] = part
    np.testing.assert_array_equal(out, known)
    codes = {"read": files.READ, "not finite": files.NOT_FINITE, "short": files.SHORT}
    assert outcomes.tolist() == [codes[name] for name in names]
    assert names[-1] == "short"


@pytest.mark.parametrize("stored", ["float64", "float32", "float16", ">f8", "uint8", "bool"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_runs_of_rows_are_read_as_slices_are(tmp_path, stored, dtype, n_threads):
    numbers = np.random.default_rng(1).uniform(0, 200, size=(500, 3)).astype(stored)
    numbers.tofile(tmp_path / "rows")
    rows = FileRows(tmp_path / "rows", stored, numbers.shape)
    runs = np.array([(400, 500), (0, 1), (1, 130), (7, 7)])
    out = np.empty((230, 3), dtype)
    is_finite = rows.read_runs(runs, out, n_threads)
    known = np.concatenate([numbers[start:stop] for start, stop in runs])
    np.testing.assert_array_equal(out, known.astype(dtype))
    assert isinstance(is_finite, bool)


def test_runs_with_a_number_that_is_not_finite_are_not_called_finite(path):
    numbers = X.copy()
    numbers[300, 2] = np.nan
    path.write_bytes(b"sixteen bytes..." + numbers.tobytes())
    rows = rows_of(path)
    assert not rows.read_runs(np.array([(0, 10), (290, 310)]), np.empty((30, 7)))


def test_runs_of_a_file_that_is_cut_short_are_refused(path):
    rows = rows_of(path)
    os.truncate(path, 5000)
    with pytest.raises(ValueError, match=r"rows 80 to 99 .* it has been cut short"):
        rows.read_runs(np.array([(0, 10), (80, 100)]), np.empty((30, 7)))
