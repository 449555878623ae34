"""Kernels in Numba's own cache, by what Numba documents: ``cache=True`` and ``NUMBA_CACHE_DIR``.

Numba keys a function by its own file alone, and knows nothing of the flags it is compiled with. So
its files lie where those of this build lie, apart for each kind of kernel in each of the two ways.
"""

import contextlib
import os
from pathlib import Path

import numba

from fastmlp.kernels._jit.cache_folder import cache_directory, make


def keep(compiler, func, name):
    """What a compiler makes of a function, with Numba's cache where there is a folder for it."""
    folder = _folder(name)
    # Numba asks for the file's date, which one in an archive has not.
    if folder is None or not Path(func.__code__.co_filename).is_file():
        return compiler()(func)
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        return compiler(cache=True)(func)
    finally:
        numba.config.CACHE_DIR = before


def is_kept(kernel, types):
    """Whether the cache has the code for these types, as far as one may ask: no."""
    return False


def _folder(name):
    """A folder that can be written, or None: Numba would look for one elsewhere."""
    folder = cache_directory()
    if folder is None:
        return None
    folder = folder / "numba" / name
    with contextlib.suppress(OSError):
        make(folder)
    return folder if os.access(folder, os.W_OK) else None
