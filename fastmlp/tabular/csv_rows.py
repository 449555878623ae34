"""Rows of a CSV file, whose delimiter is found, each with a cell for every column."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import BinaryIO, NamedTuple

import numpy as np

from fastmlp.datasets.text_lines import TextLines, count_lines
from fastmlp.kernels.csv_text import LINE, POSITION, whole_rows

_DELIMITERS = ",;\t|"

# Lines by which the delimiter is found.
_HEAD_LINES = 200

# Text that is checked together by a compiled kernel. Smaller files are not worth its compilation.
_BLOCK_BYTES = 1 << 21
_COMPILED_BYTES = 1 << 20

# Lines that are checked together without it.
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


class Block(NamedTuple):
    """Text of whole rows.

    Attributes
    ----------
    text : bytes or bytearray
    is_usual : bool
        Whether quotes, if any, are around cells and doubled within, and lines end with a line feed.
    n_before : int or None
        Lines of the file in front of it, if it has to be checked by `Rows.checked`.
    lengths : list of int or None
        Of each row, where line ends do not tell.
    """

    text: bytes | bytearray
    is_usual: bool = False
    n_before: int | None = None
    lengths: list[int] | None = None


class Rows:
    """The text of a CSV file after its header, checked row by row as it is read.

    pandas fills up rows that are too short without a word.

    Parameters
    ----------
    file : binary file
    source : str
        What messages call it.

    Attributes
    ----------
    dialect : Dialect
    names : list of str
        Of the columns, without blanks around them.
    row_bytes : float
        How long the first rows are, on average.

    Raises
    ------
    ValueError
        If the file is empty or no CSV; when it is read, if a row has more or fewer cells than the
        header, if quotes do not match, or if the text is not UTF-8. The message has the line.
    """

    def __init__(self, file: BinaryIO, source: str):
        self._source = source
        self._text = TextLines(file)
        self._line = 0
        lines = self._text.first(_HEAD_LINES)
        head = list(self._decoded(lines))
        self.row_bytes = sum(map(len, lines[1:] or lines)) / max(len(lines) - 1, 1)
        self.dialect = find_dialect(head, is_whole=len(head) < _HEAD_LINES)
        names = next((cells for cells, _ in self._quoted([])), None)
        if names is None:
            raise ValueError(f"{source} is empty; it must hold a header line and rows")
        self.names = [name.strip() for name in names]

    def blocks(self) -> Iterator[bytes | bytearray]:
        """The text of all rows, in blocks of whole ones."""
        return (block.text for block in self._blocks())

    def rows(self) -> Iterator[list[bytes]]:
        """The same, in lists of the texts of rows, without those that are blank."""
        delimiter = self.dialect.delimiter
        for text, _, _, lengths in self._blocks():
            ends = _row_ends(text) if lengths is None else np.cumsum(lengths)
            begins = [0, *ends.tolist()]
            rows = [bytes(text[begin:end]) for begin, end in pairwise(begins)]
            yield [row for row in rows if delimiter.encode() in row or row.strip()]

    def unchecked(self) -> Iterator[Block]:
        """The same, of which blocks without quotes are still to be checked."""
        return self._blocks(checks_all=False)

    def checked(self, block: Block) -> bytes | bytearray:
        """The text of a block of `unchecked`, checked; by any thread."""
        if block.n_before is None:
            return block.text
        part = copy(self)
        part._line = block.n_before
        part._text = TextLines(io.BytesIO())
        part._text.put_back(block.text)
        return b"".join(part.blocks())

    def _blocks(self, checks_all=True):
        is_compiled = None
        while text := self._text.block(_BLOCK_BYTES):
            if is_compiled is None:  # as the first block says, which is shorter if it is the last
                is_compiled = len(text) >= _COMPILED_BYTES
            if is_compiled and not checks_all and b'"' not in text:
                yield Block(text, is_usual=True, n_before=self._line)
                self._line += count_lines(text)
                continue
            n_whole = self._pass_over(text) if is_compiled else 0
            if n_whole == len(text):
                yield Block(text, is_usual=True)
                continue
            yield Block(text[:n_whole], is_usual=True)
            self._text.put_back(text[n_whole:])
            yield from self._checked()

    def _pass_over(self, text):
        """How many bytes of a text certainly are whole rows."""
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                return 0
        cursor = np.array([0, self._line, ord(self.dialect.delimiter)])
        whole_rows.serial(np.frombuffer(text, np.uint8), len(self.names), cursor)
        self._line = int(cursor[LINE])
        return int(cursor[POSITION])

    def _decoded(self, lines: Iterable[bytes]) -> Iterator[str]:
        for line in lines:
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{self._source} is not UTF-8, of which byte {line[error.start]:#x} is no "
                    "part: save it as UTF-8"
                ) from None

    def _checked(self):
        """Blocks of the next lines; where there are no quotes, delimiters are counted."""
        delimiter, n_columns = self.dialect.delimiter, len(self.names)
        lines = list(self._decoded(islice(self._text, _BLOCK_LINES)))
        block = "".join(lines)
        if '"' in block:
            rows = []
            for cells, row in self._quoted(lines):
                self._check_width(len(cells), self._line)
                rows.append(row.encode())
            yield Block(b"".join(rows), lengths=[len(row) for row in rows])
            return
        for number, line in enumerate(lines, self._line + 1):
            n_cells = line.count(delimiter) + 1
            if n_cells != n_columns and line.strip():
                self._check_width(n_cells, number)
        self._line += len(lines)
        yield Block(block.encode())

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
            for line in chain(lines, self._decoded(self._text)):
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


class Stream(io.RawIOBase):
    """Blocks of text as one binary file.

    Parameters
    ----------
    blocks : iterable of bytes or bytearray
    """

    def __init__(self, blocks: Iterable[bytes | bytearray]):
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n


def _row_ends(text):
    """Positions after each row of a text whose quotes are all around cells."""
    characters = np.frombuffer(text, np.uint8)
    is_end = characters == ord("\n")
    if b"\r" in text:
        is_end[:-1] |= (characters[:-1] == ord("\r")) & (characters[1:] != ord("\n"))
    if b'"' in text:
        is_end &= np.cumsum(characters == ord('"')) % 2 == 0
    if len(text) > 0:
        is_end[-1] = True
    return np.flatnonzero(is_end) + 1


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
