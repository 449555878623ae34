"""Rows of a matrix in a binary file, read into memory that the caller has.

Not mapped into memory: pages of a mapping count as memory of the process, and one whose file is cut
short kills the process.
"""

import io
import mmap
import os
import threading
import weakref
import zlib

import numba
import numpy as np

from fastmlp.kernels import files
from fastmlp.kernels.threads import run

# Whether runs of rows are read by a compiled kernel.
_BY_KERNEL = hasattr(os, "preadv") and not getattr(numba.config, "DISABLE_JIT", False)

# Numbers that the kernel looks at as it reads them; of others it knows the bytes alone.
_LOOKED_AT = (np.dtype(np.float32), np.dtype(np.float64))

# Numbers of another dtype are converted piece by piece, threads take turns by pieces, and a piece
# stays in the cache.
_SCRATCH_BYTES = 1 << 18

# What the fingerprint looks at: that many blocks, evenly over the file, of that many bytes.
_LOOKS = 64
_LOOK_BYTES = 4096


class FileRows:
    """Rows of a matrix of numbers that a file holds row by row, with nothing between them.

    Several threads may read at once. A copy by pickle opens the file again, by its path; so a
    process that is given one needs the file in the same place.

    Parameters
    ----------
    path : str or os.PathLike
    dtype : dtype
        Of booleans, integers or floating-point numbers, in any byte order.
    shape : (int, int)
        Rows and columns.
    offset : int, default 0
        Bytes in front of the first row.

    Attributes
    ----------
    path : str
    dtype : numpy.dtype
    shape : (int, int)
    offset : int
    fingerprint : str
        Differs between files that differ in size, in the time of their last change, or in one of
        the 64 stretches of 4,096 bytes that are looked at.

    Raises
    ------
    OSError
        If the file cannot be opened, or read.
    TypeError
        If the dtype is of anything but real numbers.
    ValueError
        If the file is too short to hold the rows. While they are read: if it has been cut short or
        changed since it was opened.
    """

    def __init__(self, path, dtype, shape, offset=0):
        self.path = os.path.abspath(path)
        self.dtype = np.dtype(dtype)
        if self.dtype.kind not in "biuf":
            raise TypeError(f"dtype must be of real numbers, got {self.dtype}")
        self.shape = n_rows, n_columns = tuple(map(int, shape))
        self.offset = int(offset)
        if min(n_rows, n_columns, self.offset) < 0:
            raise ValueError(f"shape and offset must not be negative, got {shape} and {offset}")
        self._row_bytes = n_columns * self.dtype.itemsize
        self._file = io.FileIO(self.path)
        weakref.finalize(self, self._file.close)
        self._seeking = threading.Lock()
        self._opened = self._status()
        end = self.offset + n_rows * self._row_bytes
        if self._opened[0] < end:
            raise ValueError(
                f"{self.path!r} must have {end} bytes to hold {n_rows} rows of {n_columns} "
                f"{self.dtype} from byte {self.offset} on, it has {self._opened[0]}"
            )
        self._fingerprint = None

    def __reduce__(self):
        return FileRows, (self.path, self.dtype, self.shape, self.offset)

    def __repr__(self):
        return f"FileRows({self.path!r}, {self.dtype}, {self.shape}, offset={self.offset})"

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise TypeError(f"rows must be a slice without a step, got {rows!r}")
        start, stop, _ = rows.indices(self.shape[0])
        found = np.empty((max(stop - start, 0), self.shape[1]), self.dtype)
        self.read_into(start, start + len(found), found)
        return found

    @property
    def fingerprint(self):
        if self._fingerprint is None:
            end = self.offset + self.shape[0] * self._row_bytes
            last = max(end - _LOOK_BYTES, self.offset)
            check = 0
            for start in np.linspace(self.offset, last, _LOOKS).astype(np.int64).tolist():
                look = np.empty(min(_LOOK_BYTES, end - start), np.uint8)
                self._fill(look, start, 0, self.shape[0])
                check = zlib.crc32(look.data, check)
            self._check_unchanged(0, self.shape[0])
            size, changed = self._opened
            self._fingerprint = f"{size} {changed} {check:08x}"
        return self._fingerprint

    def read_into(self, start, stop, out):
        """Read the rows from `start` to before `stop`.

        Parameters
        ----------
        start, stop : int
            0 <= start <= stop <= the number of rows.
        out : ndarray of shape (stop - start, columns)
            C-contiguous and of any real dtype; numbers are converted to it as by ``astype``.
        """
        shape = stop - start, self.shape[1]
        if not 0 <= start <= stop <= self.shape[0]:
            raise ValueError(f"rows must be within 0 to {self.shape[0]}, got {start} to {stop}")
        if out.shape != shape or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous of shape {shape}, got {out.shape}")
        numbers = out.reshape(-1)
        position = self.offset + start * self._row_bytes
        if out.dtype == self.dtype:
            self._fill(numbers.view(np.uint8), position, start, stop)
        else:
            itemsize = self.dtype.itemsize
            scratch = np.empty(min(numbers.size, _SCRATCH_BYTES // itemsize), self.dtype)
            for first in range(0, numbers.size, max(scratch.size, 1)):
                piece = numbers[first : first + scratch.size]
                found = scratch[: piece.size]
                self._fill(found.view(np.uint8), position + first * itemsize, start, stop)
                # What becomes infinite is for those to tell who look at the numbers.
                with np.errstate(over="ignore", invalid="ignore"):
                    piece[...] = found
        self._check_unchanged(start, stop)

    def read_runs(self, runs, out, n_threads=1):
        """Read several runs of rows, one after the other, as `read_into` does one of them.

        Parameters
        ----------
        runs : ndarray of int64, (k, 2)
            The first row of each and the one after its last.
        out : ndarray of shape (rows of all runs, columns)
            As of `read_into`. Of another dtype than the file's it takes as much memory again.
        n_threads : int
            At most so many.

        Returns
        -------
        bool
            Whether all numbers are known to be finite.
        """
        if out.dtype != self.dtype:
            read = np.empty(out.shape, self.dtype)
            self.read_runs(runs, read, n_threads)
            # What becomes infinite is for those to tell who look at the numbers.
            with np.errstate(over="ignore", invalid="ignore"):
                out[...] = read
            return False
        if not _BY_KERNEL or not self.dtype.isnative:
            done = 0
            for start, stop in runs.tolist():
                self.read_into(start, stop, out[done : done + stop - start])
                done += stop - start
            return False
        if n_threads > 1:  # which take whole runs
            runs = _shortened(runs, max(1, _SCRATCH_BYTES // max(1, self._row_bytes)))
        sizes = runs[:, 1] - runs[:, 0]
        places = np.cumsum(sizes) - sizes
        numbers = out.reshape(-1)
        is_looked_at = self.dtype in _LOOKED_AT
        if not is_looked_at:  # one kernel for all of them
            numbers = numbers.view(np.uint8)
        blocks = np.empty((len(runs), 3), np.int64)
        blocks[:, 0] = self.offset + runs[:, 0] * self._row_bytes
        blocks[:, 1] = sizes * self._row_bytes
        blocks[:, 2] = places * (self._row_bytes // numbers.itemsize)
        outcomes = np.empty(len(runs), np.int64)
        run(files.read_runs, n_threads, self._file.fileno(), blocks, numbers, outcomes)
        for i in np.flatnonzero(outcomes == files.SHORT):
            # A file may give less than it is asked for; only what it has not at all is missing.
            start, stop = runs[i].tolist()
            self.read_into(start, stop, out[places[i] : places[i] + stop - start])
        self._check_unchanged(int(runs[0, 0]), int(runs[-1, 1]))
        return is_looked_at and bool((outcomes == files.READ).all())

    def announce(self, runs):
        """Have the system fetch runs of rows, as of `read_runs`, into its cache."""
        if hasattr(os, "posix_fadvise"):
            descriptor, row_bytes = self._file.fileno(), self._row_bytes
            for start, stop in runs:
                position, size = self.offset + start * row_bytes, (stop - start) * row_bytes
                os.posix_fadvise(descriptor, position, size, os.POSIX_FADV_WILLNEED)

    def _fill(self, block, position, start, stop):
        """Read bytes from that position on; `start` and `stop` are of the rows, for messages."""
        size = len(block)
        done = self._read_at(block, position)
        while done < size:
            n_read = self._read_at(block[done:], position + done)
            if n_read == 0:
                raise ValueError(
                    f"rows {start} to {stop - 1} of {self.path!r} could not be read: the file has "
                    f"ended at byte {position + done}, it was {self._opened[0]} bytes long when it "
                    "was opened: it has been cut short"
                )
            done += n_read

    if hasattr(os, "preadv"):

        def _read_at(self, block, position):
            return os.preadv(self._file.fileno(), [block], position)

    else:

        def _read_at(self, block, position):
            with self._seeking:
                self._file.seek(position)
                return self._file.readinto(block)

    def _status(self):
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns

    def _check_unchanged(self, start, stop):
        if self._status() != self._opened:
            raise ValueError(
                f"rows {start} to {stop - 1} of {self.path!r} could not be read: the file has been "
                "changed since it was opened"
            )

    @classmethod
    def of_memmap(cls, array):
        """The rows of a matrix that is mapped from a file, None if they are not to be had so.

        Parameters
        ----------
        array : ndarray
            A ``numpy.memmap``, or a view of one. It needs mode "r", "r+" or "w+", and rows that lie
            in the file one after the other, or some columns of such that are side by side. Changes
            of it that are not in the file yet are written there.

        Returns
        -------
        FileRows, FileColumns or None

        Raises
        ------
        ValueError
            If the file is shorter than the mapping. To look at the mapping could then kill the
            process.
        """
        root = array
        while isinstance(root.base, np.ndarray):
            root = root.base
        mapping = root.base
        if not (isinstance(root, np.memmap) and isinstance(mapping, mmap.mmap)):
            return None
        if root.mode not in ("r", "r+", "w+") or root.filename is None:
            return None
        if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "biuf":
            return None
        if not array.flags.c_contiguous and not _are_columns(array, root):
            return None
        if root.mode != "r":
            root.flush()
        # numpy.memmap begins a mapping at a multiple of this, as systems want it.
        begin = root.offset - root.offset % mmap.ALLOCATIONGRANULARITY
        offset = begin + _address(array) - _address(np.frombuffer(mapping, np.uint8, 1))
        rows: FileRows | FileColumns
        try:
            if array.flags.c_contiguous:
                rows = cls(root.filename, array.dtype, array.shape, offset)
            else:
                n_around = array.strides[0] // array.itemsize
                before = (_address(array) - _address(root)) % array.strides[0]
                shape = len(array), n_around
                around = cls(root.filename, array.dtype, shape, offset - before)
                rows = FileColumns(around, before // array.itemsize, array.shape[1])
        except OSError:  # it was deleted or moved, and the mapping holds
            return None
        last = len(rows) - 1
        ends = (rows[:1], array[:1]), (rows[last:], array[last:])
        is_same = all(np.asarray(mapped).tobytes() == read.tobytes() for read, mapped in ends)
        return rows if is_same else None


class FileColumns:
    """Some columns of the rows in a file, such as all but that of the targets.

    Parameters
    ----------
    rows : FileRows
        Are read whole.
    first, n : int
        The first column, and how many.
    """

    def __init__(self, rows, first, n):
        self._rows, self._columns = rows, slice(first, first + n)
        self.dtype, self.shape = rows.dtype, (len(rows), n)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return self._rows[rows][:, self._columns]

    @property
    def fingerprint(self):
        return f"{self._rows.fingerprint} {self._columns}"

    def read_into(self, start, stop, out):
        """Read the rows from `start` to before `stop`, as of `FileRows`."""
        step = max(1, _SCRATCH_BYTES // (self._rows.shape[1] * self.dtype.itemsize))
        for first in range(start, stop, step):
            found = self._rows[first : min(first + step, stop)]
            with np.errstate(over="ignore", invalid="ignore"):
                out[first - start : first - start + len(found)] = found[:, self._columns]


def _are_columns(array, root):
    """Whether a view of `root` has columns, side by side, of rows that `root` has as a whole."""
    row_bytes, itemsize = array.strides
    if itemsize != array.itemsize or row_bytes <= 0 or row_bytes % itemsize:
        return False
    before = _address(array) - _address(root)
    end = before - before % row_bytes + len(array) * row_bytes
    is_within = before % row_bytes + array.shape[1] * itemsize <= row_bytes
    return before % itemsize == 0 and is_within and end <= root.nbytes


def _shortened(runs, most):
    """Runs of so many rows at most, which make up the given ones."""
    pieces = [
        (first, min(first + most, stop))
        for start, stop in runs.tolist()
        for first in range(start, stop, most)
    ]
    return np.array(pieces, np.int64).reshape(-1, 2)


def _address(array):
    return array.__array_interface__["data"][0]
