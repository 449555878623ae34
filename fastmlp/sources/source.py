"""What reads rows for kernels: of arrays, data frames, sparse matrices and Rows, in one way."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmlp.feature_names import take_columns
from fastmlp.sources.files import FileRows
from fastmlp.sources.rows import check_shape, is_rows, is_sparse
from fastmlp.sources.windowed import BLOCK_BYTES, WINDOW_BYTES
from fastmlp.validation import as_array, as_real, check_unmasked, rounded

# Blocks of rows by which a checkpoint knows data again, and rows in each.
_N_BLOCKS = 64
_BLOCK_ROWS = 16

# Numbers that are converted at a time.
_PIECE = 1 << 18


class Source(ABC):
    """Rows of real numbers that are read into memory a block at a time.

    Attributes
    ----------
    shape : (int, int)
    dtype : dtype
        Of the numbers as they are.
    waits : bool
        Whether reading may be waiting, for a disk or a network, rather than work for a core.
    is_file : bool
        Whether the system can fetch rows that are announced, and threads can share reading them.
    are_finite : bool
        Whether all numbers are finite for sure, as integers are, and nobody has to look.
    shuffles_all : bool
        Whether single rows cost as little to read as runs of them, so that all rows can be
        shuffled together.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    waits = is_file = False
    are_finite = shuffles_all = False

    @abstractmethod
    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Overwrite `out` (stop - start, columns), C-contiguous, by consecutive rows.

        What its dtype has no room for becomes infinite.
        """

    def read_runs(self, runs: np.ndarray, out: np.ndarray, n_threads: int = 1) -> bool:
        """Overwrite `out` by several runs of rows, (k, 2), one after the other.

        Returns whether all numbers are known to be finite.
        """
        done = 0
        for start, stop in runs.tolist():
            self.read(start, stop, out[done : done + stop - start])
            done += stop - start
        return False

    def announce(self, runs: np.ndarray) -> None:
        """Have the system fetch rows that will be read soon; of a file alone, see `is_file`."""
        raise NotImplementedError

    def take(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Overwrite `out` by single rows, which are read in ascending order."""
        ascending = np.argsort(rows, kind="stable")
        buffer = np.empty((1, self.shape[1]), out.dtype)
        before = -1
        for i in ascending:
            if rows[i] != before:
                before = int(rows[i])
                self.read(before, before + 1, buffer)
            out[i] = buffer[0]

    def fingerprint(self) -> Any:
        """What tells the numbers from others, fit for JSON: by some of the rows."""
        starts = np.linspace(0, max(0, self.shape[0] - _BLOCK_ROWS), _N_BLOCKS).astype(np.int64)
        total = 0
        for start in np.unique(starts):
            stop = min(int(start) + _BLOCK_ROWS, self.shape[0])
            out = np.empty((stop - int(start), self.shape[1]))
            self.read(int(start), stop, out)
            total = zlib.crc32(out.data, total)
        return total

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Some rows, in the dtype that holds all their numbers."""
        start, stop, _ = rows.indices(self.shape[0])
        dtype = np.float32 if np.can_cast(self.dtype, np.float32, "safe") else np.float64
        out = np.empty((max(0, stop - start), self.shape[1]), dtype)
        self.read(start, start + len(out), out)
        return out


class OfArray(Source):
    """Rows of an array in memory that is of another dtype than is wanted."""

    def __init__(self, X):
        self._X, self.shape, self.dtype = X, X.shape, X.dtype
        self.are_finite = _are_integers(X)

    def read(self, start, stop, out):
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            out[:] = self._X[start:stop]


class OfSparse(Source):
    """Rows of a sparse matrix."""

    shuffles_all = True

    def __init__(self, X):
        self._X = X.tocsr()
        self.shape, self.dtype = X.shape, X.dtype
        self.are_finite = _are_integers(X)
        if X.dtype.kind not in "fiub":
            raise TypeError(f"X must hold real numbers, got a sparse matrix of dtype {X.dtype}")

    def read(self, start, stop, out):
        out[:] = rounded(self._X[start:stop].toarray(), out.dtype)

    def take(self, rows, out):
        out[:] = rounded(self._X[rows].toarray(), out.dtype)

    def fingerprint(self):
        parts = self._X.data, self._X.indices, self._X.indptr
        return [zlib.crc32(np.ascontiguousarray(part).data) for part in parts]


class OfFrame(Source):
    """Rows of a data frame, or of an Arrow table, with numbers in all columns."""

    def __init__(self, X):
        self._X, self.shape = X, check_shape("X", X)
        self._columns = getattr(X, "column_names", None)  # Arrow has them there
        self.dtype = self._rows(0, min(1, self.shape[0])).dtype

    def read(self, start, stop, out):
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            out[:] = self._rows(start, stop)

    def _rows(self, start, stop):
        if self._columns is not None:
            part = self._X.slice(start, stop - start)
            columns = [_arrow_numbers(name, part[name], start) for name in self._columns]
            return np.stack(columns, axis=1) if columns else np.empty((stop - start, 0))
        rows = self._X.iloc if hasattr(self._X, "iloc") else self._X
        return as_real("X", rows[start:stop], start)


def _arrow_numbers(name, column, first):
    if column.null_count:
        row = first + column.is_null().index(True).as_py()
        raise ValueError(f"X must not have missing values, got one in column {name!r}, row {row}")
    return as_real(f"column {name!r} of X", column.to_numpy(zero_copy_only=False))


class OfRows(Source):
    """Rows that somebody else reads."""

    def __init__(self, X):
        self._X, self.shape, self.dtype = X, check_shape("X", X), np.dtype(X.dtype)
        # The system reads a file ahead; of anything else nobody knows how long it takes.
        self.is_file = isinstance(X, FileRows)
        self.waits = not self.is_file
        # Others may give missing values among their integers, as NaN.
        self.are_finite = self.is_file and _are_integers(X)
        if self.dtype.kind not in "fiub":
            raise TypeError(f"X must hold real numbers, got Rows of dtype {self.dtype}")

    def read(self, start, stop, out):
        X = self._X
        if hasattr(X, "read_into"):
            X.read_into(start, stop, out)
            return
        rows = X[start:stop]
        check_unmasked(f"X[{start}:{stop}]", rows)
        rows = np.asarray(rows)
        if rows.shape != out.shape or rows.dtype.kind not in "fiub":
            raise ValueError(
                f"X[{start}:{stop}] must return real numbers of the shape {out.shape}, as many "
                f"rows as the slice has, got {rows.dtype} of the shape {rows.shape}"
            )
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            out[:] = rows

    def read_runs(self, runs, out, n_threads=1):
        if isinstance(self._X, FileRows):
            return self._X.read_runs(runs, out, n_threads)
        return super().read_runs(runs, out)

    def announce(self, runs):
        self._X.announce(runs.tolist())

    def fingerprint(self):
        given = getattr(self._X, "fingerprint", None)
        return str(given) if given is not None else super().fingerprint()


class Selected(Source):
    """Some rows of another source.

    Parameters
    ----------
    source : Source
    rows : ndarray of int64
        Ascending.
    """

    def __init__(self, source, rows):
        self._source, self._rows = source, rows
        self.shape, self.dtype = (rows.size, source.shape[1]), source.dtype
        self.is_file = source.is_file
        self.waits, self.shuffles_all = source.waits, source.shuffles_all
        self.are_finite = source.are_finite

    def read_runs(self, runs, out, n_threads=1):
        spans = self._spans(runs)
        sizes = spans[:, 1] - spans[:, 0]
        if sizes.sum() > 2 * len(out):  # mostly rows that nobody asked for
            return super().read_runs(runs, out, n_threads)
        read = np.empty((int(sizes.sum()), self.shape[1]), out.dtype)
        are_finite = self._source.read_runs(spans, read, n_threads)
        # Where the rows of each span are among those that were read.
        moved = np.cumsum(sizes) - sizes - spans[:, 0]
        counts = runs[:, 1] - runs[:, 0]
        places = np.concatenate([self._rows[a:b] for a, b in runs.tolist()])
        places += np.repeat(moved, counts)
        np.take(read, places, axis=0, out=out, mode="clip")
        return are_finite

    def announce(self, runs):
        self._source.announce(self._spans(runs))

    def _spans(self, runs):
        """For each run the rows of the other source from its first to its last."""
        return np.stack([self._rows[runs[:, 0]], self._rows[runs[:, 1] - 1] + 1], axis=1)

    def read(self, start, stop, out):
        rows = self._rows[start:stop]
        # Of neighbours that are mostly wanted all are read, else runs of them.
        ends = np.flatnonzero(np.diff(rows) > _NEAR) + 1
        for run in np.split(np.arange(rows.size), ends):
            self._read_run(rows[run], out[run[0] : run[-1] + 1])

    def _read_run(self, rows, out):
        first = int(rows[0])
        span = int(rows[-1]) + 1 - first
        if span == rows.size:
            self._source.read(first, first + span, out)
            return
        step = max(1, _PIECE // self.shape[1])
        for start in range(0, span, step):
            stop = min(start + step, span)
            a, b = np.searchsorted(rows, (first + start, first + stop))
            read = np.empty((stop - start, self.shape[1]), out.dtype)
            self._source.read(first + start, first + stop, read)
            out[a:b] = read[rows[a:b] - first - start]

    def take(self, rows, out):
        self._source.take(self._rows[rows], out)

    def fingerprint(self):
        return [self._source.fingerprint(), zlib.crc32(self._rows.data)]


# Rows that are skipped rather than read in one go with their neighbours.
_NEAR = 32


class Scaled(Source):
    """Standardized rows of another source; `scaling` is a `scaling.Scaling`."""

    def __init__(self, source, scaling):
        self._source, self._scaling = source, scaling
        self.shape, self.dtype = source.shape, source.dtype
        self.is_file = source.is_file
        self.waits, self.shuffles_all = source.waits, source.shuffles_all

    def read(self, start, stop, out):
        self._source.read(start, stop, out)
        self._scale(out)

    def take(self, rows, out):
        self._source.take(rows, out)
        self._scale(out)

    def fingerprint(self):
        return self._source.fingerprint()

    def read_runs(self, runs, out, n_threads=1):
        self._source.read_runs(runs, out, n_threads)
        self._scale(out)
        return False

    def announce(self, runs):
        self._source.announce(runs)

    def _scale(self, out):
        step = max(1, _PIECE // max(1, self.shape[1]))
        for start in range(0, len(out), step):
            rows = out[start : start + step]
            rows[:] = self._scaling.transform(rows)


def as_rows(X: Any, dtype: np.dtype, feature_names=None) -> "np.ndarray | Source":
    """Make X a C-contiguous array of `dtype`, or what reads its rows if these take much memory.

    Sparse matrices are never made dense as a whole. `feature_names` are those of the columns to
    take from a data frame.
    """
    if type(X) is np.ndarray and X.dtype is dtype and X.flags.c_contiguous:
        return X
    source = source_of(X, dtype, feature_names)
    if source is None:
        return as_array("X", X, dtype, feature_names)
    if is_read_in_windows(source, dtype):
        return source
    if isinstance(source, OfArray):
        return as_array("X", X, dtype)
    rows = np.empty(source.shape, dtype)
    source.read(0, len(rows), rows)
    return rows


def source_of(X: Any, dtype: np.dtype, feature_names=None) -> Source | None:
    """What reads the rows of X; None of what is no matrix, or is an array of the `dtype` already.

    `feature_names` are those of the columns to take from a data frame.
    """
    if isinstance(X, Source):
        return X
    if type(X) is np.ndarray:
        is_ready = X.dtype == dtype or X.ndim != 2 or X.dtype.kind not in "fiub"
        return None if is_ready else OfArray(X)
    if is_sparse(X):
        return OfSparse(X)
    if is_frame(X):
        X = take_columns("X", X, feature_names)
        is_small = fits_in_memory(check_shape("X", X), dtype)
        return None if is_small and not is_arrow(X) else OfFrame(X)
    if not is_rows(X):
        return None
    found = FileRows.of_memmap(X) if isinstance(X, np.ndarray) else None
    return OfRows(X if found is None else found)


def is_read_in_windows(X: Any, dtype: np.dtype) -> bool:
    """Whether `as_rows` would not make X an array."""
    source = source_of(X, dtype)
    if source is None:
        return False
    return source.shuffles_all or not fits_in_memory(source.shape, dtype)


def block_rows(n_columns: int, dtype: np.dtype) -> int:
    """Rows that are in memory where they are read as they lie."""
    return max(1, BLOCK_BYTES // max(1, n_columns * np.dtype(dtype).itemsize))


def blocks(X: Any, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Blocks of the rows of X as arrays of `dtype`; an array of it is one block."""
    source = source_of(X, dtype)
    if source is None:
        yield X
        return
    n_rows, n_columns = source.shape
    step = block_rows(n_columns, dtype)
    for start in range(0, n_rows, step):
        rows = np.empty((min(step, n_rows - start), n_columns), dtype)
        source.read(start, start + len(rows), rows)
        yield rows


def first_rows(X: Any, dtype: np.dtype, feature_names=None) -> Any:
    """Rows that tell whether rounding to `dtype` loses digits.

    X itself where it is in memory, else its first rows, or none if nothing is lost.
    """
    source = source_of(X, dtype, feature_names)
    if source is None or isinstance(source, OfArray):
        return X
    if np.can_cast(source.dtype, dtype, "safe"):
        return np.empty((0, source.shape[1]), dtype)
    return source[: max(1, _PIECE // max(1, source.shape[1]))]


def _are_integers(X):
    return X.dtype.kind in "iub"


def is_frame(X: Any) -> bool:
    """Whether X is a data frame or an Arrow table: rows of columns with names."""
    has_columns = getattr(X, "columns", None) is not None
    return has_columns and isinstance(getattr(X, "shape", None), tuple) and len(X.shape) == 2


def is_arrow(X: Any) -> bool:
    """Whether X is an Arrow table."""
    return hasattr(X, "column_names")


def fits_in_memory(shape: tuple[int, int], dtype: np.dtype) -> bool:
    """Whether so many rows and columns take no more memory than a window may."""
    return shape[0] * shape[1] * np.dtype(dtype).itemsize <= WINDOW_BYTES
