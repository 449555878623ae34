"""Data files that are converted once to a file of rows beside them, and found again there."""

import errno
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastmlp.rounding import is_merged
from fastmlp.sources.files import FileRows
from fastmlp.writing import writing

# The file, rows of X in float64 and the target.
Block = tuple[str, np.ndarray, np.ndarray | None]

# Such a file has the rows, the target, a description as JSON, its length and this.
_MAGIC = b"fastmlp rows 1\n\0"
_END = struct.Struct(f"<q{len(_MAGIC)}s")

# What of a source is looked at to know it again, besides its size and the time of its last change.
_LOOKS = 16
_LOOK_BYTES = 1 << 16

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def check_paths(paths: Any) -> list[str]:
    """One path or several as a list of texts; refuse what are no plain files."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    elif not isinstance(paths, Sequence):
        raise TypeError(f"paths must be a path or a sequence of paths, got {paths!r}")
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"paths must be a path or a sequence of paths, got {path!r} in it")
        if not os.path.exists(path):
            raise FileNotFoundError(f"path {os.fspath(path)!r} does not exist")
        if not os.path.isfile(path):
            raise ValueError(f"path {os.fspath(path)!r} must be a file")
    if not paths:
        raise ValueError("paths must name one file at least, got none")
    return [os.fspath(path) for path in paths]


def check_columns(target: str | None, columns: Sequence[str] | None) -> list[str] | None:
    """Refuse what name no columns; return those that are wanted, None for all."""
    if not isinstance(target, str | None):
        raise TypeError(f"target must be a column name (str) or None, got {target!r}")
    if columns is None:
        return None
    is_sequence = isinstance(columns, Sequence) and not isinstance(columns, str)
    if not is_sequence or not all(isinstance(name, str) for name in columns):
        raise TypeError(f"columns must be a sequence of column names or None, got {columns!r}")
    if not columns or len(set(columns)) < len(columns) or target in columns:
        raise ValueError(
            "columns must name one column at least, each once, and not the target, got "
            f"{list(columns)}"
        )
    return list(columns)


def open_converted(
    paths: Sequence[str],
    target: str | None,
    columns: list[str] | None,
    read: Callable[[], tuple[list[str], Iterator[Block]]],
) -> tuple[FileRows, np.ndarray | None, list[str]]:
    """Rows of data files, from the file that they were converted to, which is made if need be.

    Parameters
    ----------
    paths, target, columns
        What is opened; checked.
    read : callable
        Returns the names of the columns of X, and blocks of rows.

    Returns
    -------
    rows : FileRows
        Of float32, or of float64 if rounding to float32 merges values in the first block.
    y : ndarray of int64 or float64, or None without a target
    names : list of str
    """
    what = {"sources": list(map(_identity, paths)), "target": target, "columns": columns}
    asked_for = json.dumps([[os.path.basename(path) for path in paths], target, columns])
    key = hashlib.sha256(asked_for.encode()).hexdigest()[:8]
    place = f"{paths[0]}.{key}.rows"
    if not _is_of(place, what):
        names, blocks = read()
        try:
            with writing("path", place) as file:
                _write(file, what | {"names": names}, blocks)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise OSError(
                error.errno, f"there is no room for {place!r}, which the data are converted to"
            ) from None
    return _opened(place)


def _identity(path):
    """What tells a file from others, without reading all of it."""
    status = os.stat(path)
    check = 0
    with open(path, "rb") as file:
        for start in np.linspace(0, max(0, status.st_size - _LOOK_BYTES), _LOOKS).astype(int):
            file.seek(start)
            check = zlib.crc32(file.read(_LOOK_BYTES), check)
    return [os.path.basename(path), status.st_size, status.st_mtime_ns, check]


def _write(file, description, blocks):
    """Write blocks of X one after the other, then the target and the description."""
    dtype: Any = None
    n_rows, targets = 0, []
    first_of: dict[str, int] = {}  # rows before those of each file
    for path, X, y in blocks:
        if dtype is None:
            dtype = np.dtype(np.float64 if is_merged(np.dtype(np.float32), X) else np.float32)
        with np.errstate(over="ignore", under="ignore"):
            rows = np.ascontiguousarray(X, dtype)
        n_before = n_rows - first_of.setdefault(path, n_rows)
        _check_rounded(path, X, rows, n_before, description["names"])
        file.write(rows.data)
        n_rows += len(rows)
        if y is not None:
            targets.append(y)
    description |= {"shape": [n_rows, len(description["names"])], "dtype": dtype.name}
    if targets:
        is_whole = all(y.dtype == np.int64 for y in targets)
        y = np.concatenate(targets, dtype=np.int64 if is_whole else np.float64)
        file.write(y.data)
        description |= {"target_dtype": y.dtype.name}
    text = json.dumps(description).encode()
    file.write(text + _END.pack(len(text), _MAGIC))


def _check_rounded(path, X, rows, n_before, names):
    """Refuse what became infinite, by its column and row, counted from 0 in the file."""
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"column {names[column]!r} of {path!r} must hold numbers that {rows.dtype} has room "
            f"for, got {X[row, column]} in row {n_before + row}"
        )


def _description(place):
    """What a file of rows says of itself, None if it is none."""
    try:
        with open(place, "rb") as file:
            end = file.seek(0, os.SEEK_END) - _END.size
            if end < 0:
                return None
            file.seek(end)
            length, magic = _END.unpack(file.read())
            if magic != _MAGIC or not 0 <= length <= end:
                return None
            file.seek(end - length)
            return json.loads(file.read(length))
    except FileNotFoundError:
        return None


def _is_of(place, what):
    found = _description(place)
    return found is not None and all(found.get(name) == value for name, value in what.items())


def _opened(place):
    found = _description(place)
    shape, dtype = tuple(found["shape"]), np.dtype(found["dtype"])
    rows = FileRows(place, dtype, shape)
    y = None
    if "target_dtype" in found:
        offset = shape[0] * shape[1] * dtype.itemsize
        y = np.fromfile(place, found["target_dtype"], shape[0], offset=offset)
    return rows, y, found["names"]
