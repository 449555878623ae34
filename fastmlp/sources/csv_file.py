"""CSV files of numbers as rows that are read when they are needed."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastmlp.datasets.csv_table import reading_csv
from fastmlp.feature_names import listing
from fastmlp.sources.converted import Block, check_columns, check_paths, open_converted
from fastmlp.sources.files import FileRows


def open_csv(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: str | None = None,
    columns: Sequence[str] | None = None,
) -> tuple[FileRows, np.ndarray | None, list[str]]:
    """Open CSV files of numbers that may be larger than memory.

    The first call converts the files, block by block, to one of binary rows beside the first of
    them, ``<name>.<8 letters and digits>.rows``, which later calls find. It takes about as long as
    `fastmlp.datasets.load_csv`, and 4 bytes a number. Of files that have changed since, by their
    size, the time of their last change or 16 blocks of their content, a new one takes its place.

    Parameters
    ----------
    paths : path, or sequence of paths
        Files as of `fastmlp.datasets.load_csv`, with commas between cells, compressed or not. The
        rows of several come one after the other; all have the same columns, in any order.
    target : str or None, default None
        Name of the column to predict. With None there is none.
    columns : sequence of str or None, default None
        Names of the features, in the order that is wanted. Other columns may hold anything. None
        takes all but the target, in the order of the first file.

    Returns
    -------
    X : Rows of shape (n_rows, n_features)
        Of float32; of float64 if float32 would merge different values of a column in the first
        2 MB of the text, as it does with points in time.
    y : ndarray of shape (n_rows,), or None without a target
        In memory: int64 if all values are written as whole numbers, else float64.
    feature_names : list of str

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If an argument is of the wrong type.
    ValueError
        As of `fastmlp.datasets.load_csv`, with file, line and column; if a file has other columns
        than the first; if a number is too large for float32.
    OSError
        If there is no room for the rows, or the folder cannot be written. Nothing half-written
        stays.

    Examples
    --------
    >>> import fastmlp, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> written = (folder / "a.csv").write_text("height,width,area\\n1,2,2\\n2,2.5,5\\n")
    >>> X, y, names = fastmlp.open_csv(folder / "a.csv", target="area")
    >>> X.shape, y.tolist(), names
    ((2, 2), [2, 5], ['height', 'width'])
    """
    files = check_paths(paths)
    wanted = check_columns(target, columns)

    def read():
        names = _check_headers(files, target, wanted)
        return names, _blocks(files, target, names)

    return open_converted(files, target, wanted, read)


def _check_headers(files, target, wanted) -> list[str]:
    """The names of the columns of X, which each file has; before any rows are read."""
    first: Any = None
    for path in files:
        with reading_csv(path, target, wanted, why="that `columns` names") as (names, _):
            first = names if first is None else first
            lacking = [name for name in first if name not in names]
            new = [name for name in names if name not in first]
            if lacking or new:
                found = f"lacks {listing(lacking)}" if lacking else f"also has {listing(new)}"
                raise ValueError(
                    f"path {path!r} must have the same columns as {files[0]!r}, but {found}"
                )
    return first


def _blocks(files, target, names) -> Iterator[Block]:
    for path in files:
        with reading_csv(path, target, names) as (_, blocks):
            for X, y in blocks:
                yield path, X, (None if target is None else y)
