"""Open a data file, compressed or not, as one stream of bytes that is read once."""

import bz2
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, BinaryIO, cast

# What files begin with. No text in UTF-8 begins with any of it, but for a bzip2 file's magic, of
# which more is looked at: its first block follows at once, or its end.
_GZIP = re.compile(rb"\x1f\x8b")
_STREAMS: dict[str, tuple[re.Pattern[bytes], Callable[[], Any]]] = {
    "bzip2": (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), bz2.BZ2Decompressor),
    "xz": (re.compile(rb"\xfd7zXZ\0"), lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ)),
}
_NOT_READ = {
    "zip": re.compile(rb"PK\x03\x04"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
}
_HEAD_BYTES = 10  # of the longest of them
_BLOCK_BYTES = 1 << 16


@contextmanager
def open_data(path: Any) -> Iterator[tuple[BinaryIO, str]]:
    """Yield a file's content, decompressed if need be, and what messages call the file.

    The first bytes tell how it is compressed, not the name. Nothing is read twice, so `path` may
    be a pipe. A fault of a compressed stream shows only while it is read, so that of gzip is
    translated here, around the whole `with` block.

    Parameters
    ----------
    path : str, os.PathLike or binary file
        A file is left open.

    Raises
    ------
    TypeError
        If `path` is none of these.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is compressed in another way than by gzip, bzip2 or xz, or its compressed
        stream is cut short or damaged.
    """
    file, source = _open(path)
    with file as opened:
        head = opened.read(_HEAD_BYTES)
        if not isinstance(head, bytes):
            raise TypeError(f"{source} must be open for bytes, not for text")
        for kind, magic in _NOT_READ.items():
            if magic.match(head):
                raise ValueError(
                    f"{source} is a {kind} file; it must be plain, or compressed by gzip, bzip2 "
                    "or xz"
                )
        whole: io.RawIOBase = _Rejoined(head, opened)
        for kind, (magic, decompressor) in _STREAMS.items():
            if magic.match(head):
                fault = f"{source} is a damaged {kind} file"
                whole = _Decompressed(whole, decompressor, fault)
        if not _GZIP.match(head):
            yield cast(BinaryIO, io.BufferedReader(whole)), source
            return
        try:
            with gzip.GzipFile(fileobj=whole) as decompressed:
                yield cast(BinaryIO, decompressed), source
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{source} is a damaged gzip file: {error}") from error


def plain_size(path: Any) -> int | None:
    """Bytes of a file's content; None where only reading it tells: pipes and compressed files.

    Parameters
    ----------
    path : str, os.PathLike or binary file
    """
    if not isinstance(path, str | os.PathLike) or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    magics = [_GZIP, *(magic for magic, _ in _STREAMS.values())]
    return None if any(magic.match(head) for magic in magics) else os.path.getsize(path)


def _open(path):
    """A context manager of an open file, and what messages call it."""
    if hasattr(path, "read"):
        return nullcontext(path), f"file {getattr(path, 'name', path)}"
    if not isinstance(path, str | os.PathLike):
        # open() would take an integer for a file descriptor.
        raise TypeError(f"path must be a str or an os.PathLike, got {type(path).__name__}")
    name = os.fspath(path)
    try:
        return open(name, "rb"), f"path {name!r}"
    except FileNotFoundError:
        raise FileNotFoundError(
            f"path {name!r} does not exist; it must name an existing file"
        ) from None


class _Rejoined(io.RawIOBase):
    """What was read from the head of a file, and then the rest: a pipe cannot be rewound."""

    def __init__(self, head, file):
        self._head, self._file = head, file

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self._head and hasattr(self._file, "readinto"):
            return self._file.readinto(buffer)
        data = self._head[: len(buffer)] or self._file.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


class _Decompressed(io.RawIOBase):
    """The content of compressed streams, one after the other, to the last byte of the file.

    The standard library's own readers take damage after the first stream for the end, and so
    lose rows in silence.

    Parameters
    ----------
    file : raw binary file
    decompressor : callable
        Returns what decompresses one stream.
    fault : str
        How a message about damage begins.
    """

    def __init__(self, file, decompressor, fault):
        self._file, self._new, self._fault = file, decompressor, fault
        self._stream = decompressor()

    def readable(self):
        return True

    def readinto(self, buffer):
        data = b""
        while not data:
            block = b""
            if self._stream.eof:
                block = self._stream.unused_data or self._file.read(_BLOCK_BYTES)
                if not block:
                    return 0
                self._stream = self._new()
            elif self._stream.needs_input:
                block = self._file.read(_BLOCK_BYTES)
                if not block:
                    raise ValueError(f"{self._fault}: it ends within a stream")
            try:
                data = self._stream.decompress(block, len(buffer))
            except (OSError, lzma.LZMAError) as error:  # in memory: of the stream alone
                raise ValueError(f"{self._fault}: {error}") from error
        buffer[: len(data)] = data
        return len(data)
