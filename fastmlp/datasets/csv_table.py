"""Read a numeric CSV table into features and a target."""

import csv
import io
import os
import re
import string
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, BinaryIO, NamedTuple, NoReturn, overload

import numpy as np
from numpy.typing import DTypeLike

from fastmlp.datasets.reading import open_data
from fastmlp.datasets.text_lines import TextLines, count_lines
from fastmlp.datasets.threads import map_in_order
from fastmlp.feature_names import find_columns, listing
from fastmlp.kernels.csv_text import (
    IS_WHOLE,
    LEFT_OUT,
    POSITION,
    ROW,
    TARGET,
    parse_rows,
    powers_of_ten,
)

_FLOAT64: np.dtype[Any] = np.dtype(np.float64)

# Text that is read and parsed at once. Smaller files are not worth the compilation of a parser.
_BLOCK_BYTES = 1 << 21
_COMPILED_BYTES = 1 << 20

# Lines that are parsed at once by NumPy, and searched cell by cell when one of them is bad: all of
# a small file, and in a larger one those that the compiled parser does not understand. It is tried
# again soon, and later if that was of no use.
_BLOCK_LINES = 4096
_FEWEST_LINES = 16

# What the error handler "surrogateescape" makes of a byte that is not UTF-8.
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


class _Block(NamedTuple):
    """Lines of the file."""

    text: bytearray
    first_line: int  # of the file, from 1 on
    n_lines: int
    is_compiled: bool  # whether it is for the compiled parser


@dataclass(frozen=True)
class _Table:
    """What the rows of one file must be."""

    source: str  # the file, as error messages call it
    delimiter: str
    dtype: np.dtype[Any]
    names: list[str]
    # Of each column: which feature it is, counted from 0, or TARGET or LEFT_OUT.
    places: np.ndarray

    @property
    def roles(self) -> list[str]:
        known = {TARGET: "target", LEFT_OUT: "left out"}
        return [known.get(place, "feature") for place in self.places.tolist()]


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
    Numbers are those that Python's ``float`` makes of their cells, to the last bit. From 1 MB of
    text on they are read by a compiled parser, on all cores; lines with quotes are left to NumPy,
    which takes ten times as long. While it reads, the function needs about twice the memory of
    what it returns.

    Examples
    --------
    >>> from pathlib import Path
    >>> import fastmlp
    >>> written = Path("data.csv").write_text("a,b,species\\n1.5,2,0\\n0.5,3,1\\n")
    >>> X, y, names = fastmlp.datasets.load_csv("data.csv", "species")
    >>> y, names
    (array([0, 1]), ['a', 'b'])
    """
    float_dtype = _check_arguments(target, delimiter, dtype)
    with reading_csv(path, target, None, delimiter, float_dtype) as (features, blocks):
        parts = list(blocks)
    X = np.concatenate([X for X, _ in parts])
    if target is None:
        return X, None, features
    targets = [y for _, y in parts]
    is_whole = all(y.dtype == np.int64 for y in targets)
    y = np.concatenate(targets, dtype=np.int64 if is_whole else float_dtype, casting="same_kind")
    return X, y, features


@contextmanager
def reading_csv(
    path: str | os.PathLike[str] | BinaryIO,
    target: str | None,
    wanted: Sequence[str] | None = None,
    delimiter: str = ",",
    dtype: np.dtype[Any] = _FLOAT64,
    why: str = "that the network was trained with",
) -> Iterator[tuple[list[str], Iterator[tuple[np.ndarray, np.ndarray]]]]:
    """Open a file as `load_csv` does, and read it block by block.

    Parameters
    ----------
    path, target, delimiter, dtype
        As of `load_csv`, and checked.
    wanted : sequence of str, or None
        The columns of X, in that order. They may be named by numbers. None is all but the target.
    why : str
        Which columns these are, for messages.

    Yields
    ------
    features : list of str
        The names of the columns of X.
    blocks : iterator of (ndarray, ndarray)
        Of some rows, X and the target: of int64 if in these rows it is written as whole numbers,
        else of `dtype`; without a target it is empty. There is one block at least.
    """
    with open_data(path) as (file, source):
        lines = TextLines(file)
        names, n_header_lines = _read_header(lines, delimiter, source, wanted)
        _check_columns(names, target, wanted, source)
        features = [name for name in names if name != target]
        if wanted is not None:
            find_columns(source, features, wanted, why)
            features = list(wanted)
        place_of = {name: place for place, name in enumerate(features)} | {target: TARGET}
        places = np.array([place_of.get(name, LEFT_OUT) for name in names], np.int64)
        table = _Table(source, delimiter, dtype, names, places)
        yield features, _blocks_of_rows(lines, n_header_lines + 1, table)


def _blocks_of_rows(
    lines: TextLines, first_line: int, table: _Table
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    def parse(block):
        return _parse_block(block, table)

    is_empty = True
    for X, y in map_in_order(parse, _blocks_of_text(lines, first_line, table.delimiter)):
        if len(X) > 0:
            is_empty = False
            yield X, y
    if is_empty:
        raise ValueError(f"{table.source} has a header but no row of data; at least one is needed")


def _blocks_of_text(lines: TextLines, first_line: int, delimiter: str) -> Iterator[_Block]:
    is_compiled = None
    while text := lines.block(_BLOCK_BYTES):
        if is_compiled is None:  # as the first block says, which is shorter if it is the last
            is_compiled = len(text) >= _COMPILED_BYTES and len(delimiter.encode()) == 1
        n_lines = count_lines(text)
        yield _Block(text, first_line, n_lines, is_compiled)
        first_line += n_lines


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
    lines: TextLines, delimiter: str, source: str, wanted: Sequence[str] | None
) -> tuple[list[str], int]:
    """Take the header; return the column names and the number of lines, empty ones included."""
    reader = csv.reader(_decoded(lines), delimiter=delimiter, strict=True)
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


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        yield line.decode("utf-8", "surrogateescape").rstrip("\r\n") + "\n"


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


def _parse_block(block: _Block, table: _Table) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a block: X, and the target of int64 if it is written so, or of `table.dtype`."""
    text, places = block.text, table.places
    n_targets = block.n_lines if TARGET in places else 0
    X = np.empty((block.n_lines, np.count_nonzero(places >= 0)), table.dtype)
    y, whole = np.empty(n_targets, table.dtype), np.empty(n_targets, np.int64)
    # Positions as the parser has them: byte, row, delimiter, and whether the target is whole.
    cursor = np.array([0, 0, ord(table.delimiter), 1])
    line, n_lines = block.first_line, _FEWEST_LINES
    position = 0
    while True:
        if block.is_compiled:
            row = cursor[ROW]
            characters = np.frombuffer(text, np.uint8)
            parse_rows.serial(characters, places, _powers(), X, y, whole, cursor)
            n_lines = _FEWEST_LINES if cursor[ROW] - row > n_lines else 2 * n_lines
        n_lines = min(n_lines, _BLOCK_LINES) if block.is_compiled else _BLOCK_LINES
        line += count_lines(text[position : cursor[POSITION]])
        position = int(cursor[POSITION])
        if position == len(text):
            break
        piece = _first_lines(text, position, n_lines)
        _parse_piece(piece, line, table, X, y, whole, cursor)
    row = cursor[ROW]
    return X[:row], whole[:row] if cursor[IS_WHOLE] else y[:row]


@cache
def _powers():
    return powers_of_ten()


def _first_lines(text, position, n_lines):
    """The lines of a text from a position on, at most so many."""
    end = position
    for _ in range(n_lines):
        end = text.find(b"\n", end) + 1
        if end == 0:
            return text[position:]
    return text[position:end]


def _parse_piece(piece, first_line, table, X, y, whole, cursor):
    """Parse some lines by NumPy, behind what was parsed, or raise for the first bad one."""
    blanks = string.whitespace.replace(table.delimiter, "")
    text = io.StringIO(piece.decode("utf-8", "surrogateescape"), newline=None)
    lines = [line if line.strip(blanks) else "\n" for line in text]
    # loadtxt skips empty lines too, but warns when there is nothing else.
    if any(line != "\n" for line in lines):
        target_dtype = np.dtype(np.int64) if cursor[IS_WHOLE] else table.dtype
        rows = _parse_lines(lines, first_line, table, target_dtype)
        here = slice(cursor[ROW], cursor[ROW] + len(rows))
        parts = [rows[field] for field in rows.dtype.names or () if field != "target"]
        X[here, table.places[table.places >= 0]] = np.concatenate(parts, axis=1)
        if len(y) > 0:
            y[here] = rows["target"]
            if rows["target"].dtype == np.int64:
                whole[here] = rows["target"]
            else:
                cursor[IS_WHOLE] = 0
        cursor[ROW] += len(rows)
    cursor[POSITION] += len(piece)


def _parse_lines(
    lines: list[str], first_line: int, table: _Table, target_dtype: np.dtype[Any]
) -> np.ndarray:
    """Parse rows, the target as `table.dtype` where `target_dtype` does not fit."""
    try:
        return _parse(lines, table, target_dtype)
    except (ValueError, csv.Error) as error:
        if target_dtype == table.dtype:
            _raise_bad_line(lines, first_line, table, error)
    return _parse_lines(lines, first_line, table, table.dtype)


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
