"""Files that commands read and write: by name, or standard input and output."""

import sys
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any


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
