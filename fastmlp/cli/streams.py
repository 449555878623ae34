"""Files that commands read and write: by name, or standard input and output."""

import os
import sys
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

# From this size on a file is read block by block, where it would take more memory as a whole.
LARGE_BYTES = 1 << 28

_PARQUET = b"PAR1"


@contextmanager
def writing_text(option, path):
    """Open a text file to be written, which is compressed if its name ends so."""
    import bz2
    import gzip
    import lzma

    from fastmlp.writing import writing

    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    with writing(option, path) as file:
        if path.suffix in openers:
            file = openers[path.suffix](file, "wb")
        with TextIOWrapper(file, "utf-8", newline="") as text:
            yield text


def opened(data):
    """What `load_csv` is to read: a file of that name, or standard input for "-"."""
    if data != "-":
        return data
    if sys.stdin is None:
        raise ValueError("DATA must not be - where standard input is closed")
    return sys.stdin.buffer


def is_large(data):
    """Whether a file should not be in memory as a whole; standard input and pipes have to be."""
    return os.path.isfile(data) and os.path.getsize(data) >= LARGE_BYTES


def is_parquet(data):
    """Whether there is a Parquet file of that name, as its first bytes tell."""
    if not os.path.isfile(data):
        return False
    with open(data, "rb") as file:
        return file.read(len(_PARQUET)) == _PARQUET
