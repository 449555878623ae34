"""Parquet files of numbers as rows that are read when they are needed."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastmlp.feature_names import listing
from fastmlp.sources.converted import Block, check_columns, check_paths, open_converted
from fastmlp.sources.files import FileRows

# Rows that are decoded at once.
_BATCH_ROWS = 1 << 16


def open_parquet(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: str | None = None,
    columns: Sequence[str] | None = None,
) -> tuple[FileRows, np.ndarray | None, list[str]]:
    """Open Parquet files of numbers that may be larger than memory.

    Random rows of a Parquet file cannot be had without decoding all that is stored with them. So
    the first call converts the files, as `open_csv` does: to one file of binary rows beside the
    first of them.

    Parameters
    ----------
    paths : path, or sequence of paths
        The rows of several files come one after the other; all have the same columns, in any
        order.
    target : str or None, default None
        Name of the column to predict. With None there is none.
    columns : sequence of str or None, default None
        Names of the features, in the order that is wanted. Other columns may hold anything. None
        takes all but the target, in the order of the first file.

    Returns
    -------
    X : Rows of shape (n_rows, n_features)
        Of float32; of float64 if float32 would merge different values of a column in the first
        65,536 rows. Booleans are 0 and 1.
    y : ndarray of shape (n_rows,), or None without a target
        In memory: int64 if the column is of integers or booleans in all files, of no
        more than int64 holds, else float64.
    feature_names : list of str

    Raises
    ------
    ImportError
        Without pyarrow, which the extra "tables" has.
    FileNotFoundError
        If there is no such file.
    TypeError
        If an argument is of the wrong type.
    ValueError
        If a file is no Parquet file, or has no rows; if a column is missing, is there twice, or
        holds anything but numbers; if a value is missing, not finite, or too large for float32. The
        message has the file, the column and the row, counted from 0 in the file.
    OSError
        If there is no room for the rows, or the folder cannot be written. Nothing half-written
        stays.

    Examples
    --------
    >>> import numpy as np
    >>> import pyarrow, pyarrow.parquet
    >>> import fastmlp
    >>> x = np.linspace(0, 1, 1000)
    >>> table = pyarrow.table({"a": x, "b": x**2, "target": 3 * x})
    >>> pyarrow.parquet.write_table(table, "data.parquet")
    >>> X, y, names = fastmlp.open_parquet("data.parquet", target="target")
    >>> X.shape, y.shape, names
    ((1000, 2), (1000,), ['a', 'b'])
    """
    files = check_paths(paths)
    wanted = check_columns(target, columns)
    _check_pyarrow()

    def read():
        names = _check_schemas(files, target, wanted)
        return names, _blocks(files, target, names)

    return open_converted(files, target, wanted, read)


@contextmanager
def reading_parquet(path: str, target: str | None, wanted: Sequence[str] | None):
    """Open a file and read it block by block, as `fastmlp.datasets.csv_table.reading_csv` does.

    Yields
    ------
    features : list of str
    blocks : iterator of (ndarray, ndarray or None)
    """
    _check_pyarrow()
    names = _check_schemas([path], target, None if wanted is None else list(wanted))
    yield names, ((X, y) for _, X, y in _blocks([path], target, names))


def _check_pyarrow():
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ImportError("Parquet is read by pyarrow: pip install 'fastmlp[tables]'") from None


def _check_schemas(files, target, wanted) -> list[str]:
    """The names of the columns of X, which each file has as numbers; before any rows are read."""
    first: Any = None
    for path in files:
        with _opened(path) as file:
            schema, n_rows = file.schema_arrow, file.metadata.num_rows
        names = [name for name in schema.names if name != target] if wanted is None else wanted
        first = names if first is None else first
        new = [name for name in names if name not in first]
        if new:
            raise ValueError(
                f"path {path!r} must have the same columns as {files[0]!r}, but also has "
                f"{listing(new)}"
            )
        if not first:
            raise ValueError(f"path {path!r} has no column but the target {target!r}")
        for name in first if target is None else [*first, target]:
            _check_column(path, schema, name)
        if n_rows == 0:
            raise ValueError(f"path {path!r} has no row of data; at least one is needed")
    return first


def _opened(path):
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path, pre_buffer=False)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"path {path!r} must be a Parquet file: {error}") from None


def _check_column(path, schema, name):
    from pyarrow import types

    places = schema.get_all_field_indices(name)
    if len(places) != 1:
        found = "it has it more than once" if places else f"its columns are {listing(schema.names)}"
        raise ValueError(f"path {path!r} must have a column {name!r}, but {found}")
    kind = schema.field(places[0]).type
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    if not is_number:
        raise ValueError(f"column {name!r} of {path!r} must hold numbers, got {kind}")


def _blocks(files, target, names) -> Iterator[Block]:
    wanted = names if target is None else [*names, target]
    for path in files:
        n_before = 0
        with _opened(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
                X = np.empty((len(batch), len(names)))
                for i, name in enumerate(names):
                    X[:, i] = _numbers(path, name, batch[name], n_before)
                y = None
                if target is not None:
                    y = _numbers(path, target, batch[target], n_before)
                    y = y.astype(np.int64 if np.can_cast(y.dtype, np.int64) else np.float64)
                yield path, X, y
                n_before += len(batch)


def _numbers(path, name, column, n_before):
    """A column of some rows as an array, of which each is there and finite."""
    where = f"column {name!r} of {path!r}"
    if column.null_count:
        row = n_before + int(column.is_null().to_numpy(zero_copy_only=False).argmax())
        raise ValueError(f"{where} must not have missing values, got one in row {row}")
    numbers = column.to_numpy(zero_copy_only=False)
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise ValueError(
            f"{where} must hold finite numbers, got {numbers[row]} in row {n_before + row}"
        )
    return numbers
