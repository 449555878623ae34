"""Open a data file, gzipped or not, as one stream of bytes."""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

_GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_plain_or_gzip(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary stream of the file's content, decompressed if the file is gzipped.

    The first two bytes decide, not the name. A fault of the gzip stream shows only while it is
    read, so it is translated here, around the whole `with` block.

    Raises
    ------
    TypeError
        If `path` is neither a str nor an os.PathLike.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the gzip stream is cut short or damaged.
    """
    if not isinstance(path, str | os.PathLike):
        # open() would take an integer for a file descriptor.
        raise TypeError(f"path must be a str or an os.PathLike, got {type(path).__name__}")
    name = os.fspath(path)
    try:
        file = open(name, "rb")  # noqa: SIM115 (closed by the with statement below)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"path {name!r} does not exist; it must name an existing file"
        ) from None
    with file:
        if file.peek(len(_GZIP_MAGIC))[: len(_GZIP_MAGIC)] != _GZIP_MAGIC:
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as decompressed:
                yield cast(BinaryIO, decompressed)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"path {name!r} is a damaged gzip file: {error}") from error
