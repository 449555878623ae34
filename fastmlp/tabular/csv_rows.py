"""Rows of a CSV file, whose delimiter is found, each with a cell for every column."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TextIO

_DELIMITERS = ",;\t|"

# Lines by which the delimiter is found.
_HEAD_LINES = 200

# Lines that are checked together.
_BLOCK_LINES = 4096

_POINT = re.compile(r"[-+]?\d+\.\d+")
_COMMA = re.compile(r"[-+]?\d+,\d+")


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes
    ----------
    delimiter : str
        Between cells: a comma, semicolon, tab or vertical bar.
    decimal : str
        The decimal sign of numbers: a point, or a comma where that is not the delimiter.
    """

    delimiter: str
    decimal: str = "."

    def reader(self, lines: Iterable[str], strict: bool = True):
        """What reads cells as this dialect has them."""
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True, strict=strict)


class Rows(io.TextIOBase):
    """The text of a CSV file after its header, checked row by row as it is read.

    pandas fills up rows that are too short without a word.

    Parameters
    ----------
    text : text file, opened with ``newline=""``
    source : str
        What messages call it.

    Attributes
    ----------
    dialect : Dialect
    names : list of str
        Of the columns, without blanks around them.

    Raises
    ------
    ValueError
        If the file is empty or no CSV; when it is read, if a row has more or fewer cells than the
        header, if quotes do not match, or if the text is not UTF-8. The message has the line.
    """

    def __init__(self, text: TextIO, source: str):
        self._source = source
        self._line = 0
        self._lines = self._decoded(text)
        head = list(islice(self._lines, _HEAD_LINES))
        self.dialect = find_dialect(head, is_whole=len(head) < _HEAD_LINES)
        self._lines = chain(head, self._lines)
        names = next((cells for cells, _ in self._quoted([])), None)
        if names is None:
            raise ValueError(f"{source} is empty; it must hold a header line and rows")
        self.names = [name.strip() for name in names]
        self._blocks = self._checked()

    def readable(self):
        return True

    def read(self, size=-1):
        """Text of whole rows, of about that many characters; none at the end."""
        parts: list[str] = []
        length = 0
        while size is None or size < 0 or length < size:
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
            length += len(block)
        return "".join(parts)

    def __iter__(self):
        return self._blocks

    def _decoded(self, text: TextIO) -> Iterator[str]:
        try:
            yield from text
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self._source} is not UTF-8, of which byte {error.object[error.start]:#x} is no "
                "part: save it as UTF-8"
            ) from None

    def _checked(self) -> Iterator[str]:
        """Text of all rows, block by block; where there are no quotes, delimiters are counted."""
        delimiter, n_columns = self.dialect.delimiter, len(self.names)
        while lines := list(islice(self._lines, _BLOCK_LINES)):
            block = "".join(lines)
            if '"' in block:
                for cells, row in self._quoted(lines):
                    self._check_width(len(cells), self._line)
                    yield row
                continue
            for number, line in enumerate(lines, self._line + 1):
                n_cells = line.count(delimiter) + 1
                if n_cells != n_columns and line.strip():
                    self._check_width(n_cells, number)
            self._line += len(lines)
            yield block

    def _check_width(self, n_cells, line):
        if n_cells != len(self.names):
            raise ValueError(
                f"{self._source}, line {line} has {n_cells} cells, but the header names "
                f"{len(self.names)} columns"
            )

    def _quoted(self, lines: list[str]) -> Iterator[tuple[list[str], str]]:
        """Cells and text of each row that is not blank; the last one may have more lines."""
        end = self._line + len(lines)
        taken: list[str] = []

        def noted():
            for line in chain(lines, self._lines):
                taken.append(line)
                yield line

        try:
            for cells in self.dialect.reader(noted()):
                row = "".join(taken)
                self._line += len(taken)
                taken.clear()
                if cells[1:] or "".join(cells).strip():
                    yield cells, row
                if lines and self._line >= end:
                    return
        except csv.Error as error:
            line = self._line + len(taken)
            raise ValueError(f"{self._source}, line {line}: bad cell: {error}") from error


def find_dialect(lines: list[str], is_whole: bool = True) -> Dialect:
    """Find how a file is written.

    The delimiter is the one by which the most rows have as many cells as the header, two at
    least; of several, the one that gives more cells. A decimal comma is taken for one if there
    are numbers with a comma among the cells, and none with a point.

    Parameters
    ----------
    lines : list of str
        The first ones of the file, with their ends.
    is_whole : bool, default True
        Whether that is all, so that the last row is whole.
    """
    best, found = (0.0, 1), Dialect(",")
    for delimiter in _DELIMITERS:
        dialect = Dialect(delimiter)
        rows = _rows_of(dialect, lines, is_whole)
        width = len(rows[0]) if rows else 1
        fit = sum(len(row) == width for row in rows) / max(len(rows), 1), width
        if width > 1 and fit > best:
            best, found = fit, dialect
    if found.delimiter == ",":
        return found
    cells = [cell.strip() for row in _rows_of(found, lines, is_whole)[1:] for cell in row]
    has_commas = any(map(_COMMA.fullmatch, cells)) and not any(map(_POINT.fullmatch, cells))
    return Dialect(found.delimiter, "," if has_commas else ".")


def _rows_of(dialect, lines, is_whole):
    try:
        rows = [cells for cells in dialect.reader(lines, strict=False) if cells]
    except csv.Error:  # a cell that is too long
        return []
    return rows if is_whole else rows[:-1]
