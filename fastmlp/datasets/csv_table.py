"""Read a numeric CSV table into features and a target."""

import csv
import io
import os
import re
import string
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, BinaryIO, NoReturn, TextIO, overload

import numpy as np
from numpy.typing import DTypeLike

from fastmlp.datasets.reading import open_data
from fastmlp.feature_names import find_columns, listing

# Bounds the text held at once, and the rows searched cell by cell when one of them is bad.
_BLOCK_LINES = 4096
# What the error handler "surrogateescape" makes of a byte that is not UTF-8.
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class _Table:
    """What the rows of one file must be."""

    source: str  # the file, as error messages call it
    delimiter: str
    dtype: np.dtype[Any]
    names: list[str]
    roles: list[str]  # of each column: "feature", "target" or "left out"


@overload
def load_csv(
    path: str | os.PathLike[str] | BinaryIO,
    target: str,
    *,
    delimiter: str = ",",
    dtype: DTypeLike = "float64",
) -> tuple[np.ndarray, np.ndarray, list[str]]: ...
@overload
def load_csv(
    path: str | os.PathLike[str] | BinaryIO,
    target: None = None,
    *,
    delimiter: str = ",",
    dtype: DTypeLike = "float64",
) -> tuple[np.ndarray, None, list[str]]: ...
def load_csv(
    path: str | os.PathLike[str] | BinaryIO,
    target: str | None = None,
    *,
    delimiter: str = ",",
    dtype: DTypeLike = "float64",
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Read a numeric CSV file with a header line into features and a target.

    Parameters
    ----------
    path : str, os.PathLike or binary file
        UTF-8 text, plain or compressed by gzip, bzip2 or xz (its first bytes tell, not its
        name). It is read once, so it may be a pipe, or ``sys.stdin.buffer``; what is open
        already is left open.
    target : str or None, default None
        Name of the column to predict; every other column is a feature. With None all are.
    delimiter : str, default ","
        The one character between two cells.
    dtype : {"float64", "float32"}, default "float64"
        Type of `X`, and of `y` unless that is of whole numbers. float64 keeps 15 digits, as
        points in time need; float32 keeps 7, in half the memory.

    Returns
    -------
    X : ndarray of shape (n_rows, n_features)
        The features, in C order and in the file's order of columns.
    y : ndarray of shape (n_rows,), or None without a target
        The target: int64 if every value is written as a whole number (``3``, but not ``3.0``)
        that int64 can hold, else `dtype`.
    feature_names : list of str
        The names of the columns of `X`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If `path`, `target` or `delimiter` is of the wrong type.
    ValueError
        If the file has no header, or numbers in its place, no row or no feature; if two columns
        share a name or none is named `target`; if a row has too few or too many cells, or a cell
        that is empty, not a number or not finite in `dtype`; if the text is not UTF-8, its quotes
        do not match, or the compressed stream is damaged, or of another format; if `delimiter` or
        `dtype` is not allowed. The message gives the line number, counted from 1 with the header,
        and the column.

    Notes
    -----
    Blanks around a name or a number, double quotes around a cell, and blank lines are ignored.
    While it reads, the function needs about twice the memory of what it returns.
    """
    return _load(path, target, None, delimiter, _check_arguments(target, delimiter, dtype))


def load_columns(
    path: str | os.PathLike[str] | BinaryIO, wanted: Sequence[str], target: str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the columns of those names alone, in float64 and in that order; and the target.

    What other columns hold does not matter. The names may be numbers, as pandas gives them. Else
    it is as `load_csv`.
    """
    X, y, _ = _load(path, target, wanted, ",", np.dtype(np.float64))
    return X, y


def _load(
    path: str | os.PathLike[str] | BinaryIO,
    target: str | None,
    wanted: Sequence[str] | None,
    delimiter: str,
    float_dtype: np.dtype[Any],
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Read all columns, or those that are `wanted` and the target."""
    blanks = string.whitespace.replace(delimiter, "")
    with open_data(path) as (file, source):
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape")
        names, n_header_lines = _read_header(text, delimiter, source, wanted)
        _check_columns(names, target, wanted, source)
        features = [name for name in names if name != target]
        if wanted is not None:
            find_columns(source, features, wanted)
            among = set(wanted)
            features = [name for name in features if name in among]
        role_of = dict.fromkeys(features, "feature") | {target: "target"}
        roles = [role_of.get(name, "left out") for name in names]
        table = _Table(source, delimiter, float_dtype, names, roles)

        X_blocks, y_blocks = [], []
        target_dtype: np.dtype[Any] = np.dtype(np.int64)
        first_line = n_header_lines + 1
        while lines := [
            line if line.strip(blanks) else "\n" for line in islice(text, _BLOCK_LINES)
        ]:
            # loadtxt skips empty lines too, but warns when there is nothing else.
            if any(line != "\n" for line in lines):
                rows = _parse_block(lines, first_line, table, target_dtype)
                parts = [rows[field] for field in rows.dtype.names or () if field != "target"]
                X_blocks.append(np.concatenate(parts, axis=1))
                if target is not None:
                    target_dtype = rows["target"].dtype
                    y_blocks.append(rows["target"].copy())  # a view would keep all of rows alive
            first_line += len(lines)

    if not X_blocks:
        raise ValueError(f"{source} has a header but no row of data; at least one is needed")
    X = np.concatenate(X_blocks)
    if wanted is not None and features != list(wanted):
        X = X[:, find_columns(source, features, wanted)]
    if target is None:
        return X, None, features
    y = np.concatenate(y_blocks, dtype=target_dtype, casting="same_kind")
    return X, y, features


def _check_arguments(target: str | None, delimiter: str, dtype: DTypeLike) -> np.dtype[Any]:
    if not isinstance(target, str | None):
        raise TypeError(f"target must be a column name (str) or None, got {type(target).__name__}")
    if not isinstance(delimiter, str):
        raise TypeError(f"delimiter must be a str, got {type(delimiter).__name__}")
    if len(delimiter) != 1 or delimiter.isalnum() or delimiter in '+-._"\r\n\0':
        raise ValueError(
            f"delimiter must be one character that is no letter, digit, sign, point, underscore, "
            f"double quote, line break or NUL, got {delimiter!r}"
        )
    for allowed in (np.dtype(np.float32), np.dtype(np.float64)):
        if dtype is not None and allowed == dtype:  # NumPy takes None for float64
            return allowed
    raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")


def _read_header(
    text: TextIO, delimiter: str, source: str, wanted: Sequence[str] | None
) -> tuple[list[str], int]:
    """Return the column names and the number of lines read, empty ones included."""
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        cells = next((cells for cells in reader if cells[1:] or "".join(cells).strip()), None)
    except csv.Error as error:
        raise ValueError(f"{source}, line {reader.line_num}: bad header: {error}") from error
    if cells is None:
        raise ValueError(f"{source} is empty; it must hold a header line and rows of numbers")
    for number, cell in enumerate(cells, start=1):
        if _NOT_UTF8.search(cell):
            raise ValueError(
                f"{source}, line {reader.line_num}: the name of column {number} is not UTF-8"
            )
    names = [cell.strip() for cell in cells]
    has_wanted = wanted is not None and set(wanted) <= set(names)
    if all(map(_is_number, cells)) and not has_wanted:
        raise ValueError(
            f"{source}, line {reader.line_num} holds numbers only; it must be a header line that "
            "names the columns"
        )
    return names, reader.line_num


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_columns(
    names: list[str], target: str | None, wanted: Sequence[str] | None, source: str
) -> None:
    used = set(names if wanted is None else [*wanted, target])
    duplicates = [name for name, count in Counter(names).items() if count > 1 and name in used]
    if duplicates:
        raise ValueError(
            f"{source} names columns more than once: {listing(duplicates)}; names must differ"
        )
    if target is None:
        return
    if target not in names:
        raise ValueError(
            f"target {target!r} is not a column of {source}; its columns are {listing(names)}"
        )
    if len(names) == 1:
        raise ValueError(f"{source} has no column but the target {target!r}; features are needed")


def _parse_block(
    lines: list[str], first_line: int, table: _Table, target_dtype: np.dtype[Any]
) -> np.ndarray:
    """Parse rows, the target as `table.dtype` where `target_dtype` does not fit."""
    try:
        return _parse(lines, table, target_dtype)
    except (ValueError, csv.Error) as error:
        if target_dtype == table.dtype:
            _raise_bad_line(lines, first_line, table, error)
    return _parse_block(lines, first_line, table, table.dtype)


def _parse(lines: list[str], table: _Table, target_dtype: np.dtype[Any]) -> np.ndarray:
    """Parse rows to records: a field of each run of features, and one of the target, if any.

    Raises ValueError or csv.Error, without saying where, unless every cell is a finite number, but
    for those left out.
    """
    if any('"' in line for line in lines):
        # loadtxt closes a quote at the end of the data, and reads "2"3 as 23.
        deque(csv.reader(lines, delimiter=table.delimiter, strict=True), maxlen=0)
    fields: list[Any] = []
    converters: Any = None
    position = 0
    for role, run in groupby(table.roles):
        length = len(list(run))
        if role == "target":
            fields.append(("target", target_dtype))
            if target_dtype == np.int64:
                # Left to itself, NumPy before 2.4 reads "2.5" as the integer 2, with a warning.
                converters = {position: _whole_number}
        else:
            # Cells that are left out must be there, and one character of them is kept meanwhile.
            dtype = table.dtype if role == "feature" else "U1"
            fields.append((f"{role} {position}", dtype, (length,)))
        position += length
    rows = np.loadtxt(
        lines,
        dtype=fields,
        delimiter=table.delimiter,
        comments=None,
        quotechar='"',
        converters=converters,
        ndmin=1,
    )
    rows = rows[[field for field, *_ in fields if not field.startswith("left out")]]
    if not all(np.isfinite(rows[field]).all() for field in rows.dtype.names or ()):
        raise ValueError("a value is not finite")
    return rows


def _whole_number(cell: str) -> int:
    _reject_python_only(cell)
    return int(cell)


def _reject_python_only(cell: str) -> None:
    """Refuse what int() and float() take but loadtxt does not: 1_000, digits of other scripts."""
    if "_" in cell or not cell.isascii():
        raise ValueError(f"{cell!r} is not a number")


def _raise_bad_line(lines: list[str], first_line: int, table: _Table, error: Exception) -> NoReturn:
    """Search a block that failed to parse, and raise for its first bad line."""
    for number, line in enumerate(lines, start=first_line):
        where = f"{table.source}, line {number}"
        try:
            cells = next(csv.reader([line], delimiter=table.delimiter, strict=True))
        except csv.Error as csv_error:
            raise ValueError(f"{where}: bad cell: {csv_error}") from csv_error
        if not cells:
            continue
        if len(cells) != len(table.names):
            raise ValueError(
                f"{where} has {len(cells)} cells, but the header names {len(table.names)} columns"
            ) from error
        for name, role, cell in zip(table.names, table.roles, cells, strict=True):
            fault = None if role == "left out" else _fault(cell, table.dtype)
            if fault:
                raise ValueError(f"{where}, column {name!r}: {fault}") from error
    last_line = first_line + len(lines) - 1
    raise ValueError(f"{table.source}, lines {first_line} to {last_line}: {error}") from error


def _fault(cell: str, dtype: np.dtype[Any]) -> str | None:
    """Say what is wrong with a cell; None if it is a finite number."""
    if _NOT_UTF8.search(cell):
        return "the cell is not UTF-8"
    if not cell.strip():
        return "the cell is empty"
    try:
        _reject_python_only(cell)
        value = float(cell)
    except ValueError:
        return f"{cell!r} is not a number"
    with np.errstate(over="ignore", under="ignore"):
        finite = np.isfinite(dtype.type(value))
    return None if finite else f"{cell!r} is not a finite {dtype.name} number"
