"""Text of a file as bytes: line by line, or in blocks of whole lines."""

import re
from typing import BinaryIO

import numpy as np

_MARK = b"\xef\xbb\xbf"  # with which some programs begin a text in UTF-8
_LINE_END = re.compile(rb"\r\n?|\n")
_READ_BYTES = 1 << 18


class TextLines:
    """Lines of a text in UTF-8, which end with a line feed, a carriage return, or both.

    A byte order mark at the beginning is passed over.

    Parameters
    ----------
    file : binary file
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._text = b""  # that was read and, from `_position` on, not taken
        self._position = 0
        self._is_at_end = False
        self._read(_READ_BYTES)
        if self._text.startswith(_MARK):
            self._position = len(_MARK)

    def __iter__(self):
        return self

    def __next__(self) -> bytes:
        """The next line, with its end."""
        line, self._position = self._line_from(self._position)
        if not line:
            raise StopIteration
        return line

    def first(self, n_lines: int) -> list[bytes]:
        """The next lines, at most so many, without taking them."""
        lines: list[bytes] = []
        position = self._position
        while len(lines) < n_lines:
            line, position = self._line_from(position)
            if not line:
                break
            lines.append(line)
        return lines

    def block(self, size: int) -> bytearray:
        """Whole lines of about that many bytes, a longer one also alone; nothing at the end."""
        text, first = self._text, self._position
        if len(text) - first >= size:
            end = text.rfind(b"\n", first, first + size) + 1 or text.find(b"\n", first + size) + 1
            if end > 0:
                self._position = end
                return bytearray(memoryview(text)[first:end])
        # Bytes are read to where they stay: copies would take longer than what is done with them.
        n_read, end, n_searched = len(text) - first, 0, 0
        block = bytearray(max(size, 2 * n_read))
        block[:n_read] = memoryview(text)[first:]
        while end == 0 and not self._is_at_end:
            if n_read == len(block):
                block.extend(bytes(size))
            with memoryview(block) as view, view[n_read:] as free:
                n_more = self._file.readinto(free)  # type: ignore[attr-defined]
            self._is_at_end = n_more == 0
            n_read += n_more
            end = block.rfind(b"\n", n_searched, n_read) + 1
            n_searched = n_read
        del block[n_read:]
        if self._is_at_end:
            end = n_read
        self._text, self._position = bytes(block[end:]), 0
        del block[end:]
        return block

    def put_back(self, text: bytes | bytearray) -> None:
        """Give back the last lines that were taken."""
        self._text, self._position = bytes(text) + self._text[self._position :], 0

    def _line_from(self, position):
        """The line at a position in the text, and the position after it."""
        begin = position
        while True:
            found = _LINE_END.search(self._text, begin)
            # A carriage return at the end may have a line feed after it.
            if found and (found.end() < len(self._text) or found[0] != b"\r" or self._is_at_end):
                return self._text[position : found.end()], found.end()
            if self._is_at_end:
                return self._text[position:], len(self._text)
            begin = len(self._text) - 1 if found else len(self._text)
            self._read(len(self._text) - self._position + _READ_BYTES)

    def _read(self, size):
        """Read until so many bytes are there that were not taken, or the file has ended."""
        parts = []
        missing = size - (len(self._text) - self._position)
        while missing > 0 and not self._is_at_end:
            part = self._file.read(missing)
            self._is_at_end = not part
            parts.append(part)
            missing -= len(part)
        if parts:
            self._text += b"".join(parts)


def count_lines(text: bytes | bytearray) -> int:
    """How many lines a text has, of which the last need not end."""
    # Three times as fast as bytes.count where there are many.
    n_lines = int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))
    if b"\r" in text:
        n_lines += text.count(b"\r") - text.count(b"\r\n")
    return n_lines + (not text.endswith((b"\n", b"\r"))) if text else 0
