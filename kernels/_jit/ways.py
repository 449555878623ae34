"""Which of two ways kernels are compiled in, and which of two caches keeps them.

The first way and the first cache know Numba from the inside, which no version promises to keep.
Where they fail, at an import or, with a version of Numba that nobody has tested, in a trial, others
take their place that use what Numba documents, and a warning says so.
"""

import sys
import warnings
from importlib import import_module

import numba

from fastmlp.kernels._jit import numbas_cache, second_way

# Versions of Numba with which the test suite has run.
TESTED = ("0.68.0", "0.68.1")

way = second_way  # or first_way
cache = numbas_cache  # or cache

# What comes in place of what, the least costly first.
_OTHERS = (
    (
        "first_way",
        "numbas_cache",
        "keeps compiled kernels in Numba's own cache, which does not notice a damaged file",
    ),
    (
        "second_way",
        "numbas_cache",
        "compiles kernels by njit alone: they compute the same, but the first call of each takes "
        "about four times as long",
    ),
)


def choose():
    """Set the way and the cache to the first ones that work."""
    if numba.config.DISABLE_JIT or (error := _error_of("first_way", "cache")) is None:
        return
    for *names, cost in _OTHERS:
        if (other_error := _error_of(*names)) is None:
            warnings.warn(
                f"fastmlp was tested with Numba {' and '.join(TESTED)} and the installed "
                f"{numba.__version__} differs inside, so it {cost} "
                f"({type(error).__name__}: {error})",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        error = other_error


def _release(version):
    return tuple(int(number) for number in version.split(".")[:2])


def _error_of(way_name, cache_name):
    """Set the way and the cache; return what was raised meanwhile or in the trial."""
    global way, cache
    room = __package__
    try:
        way, cache = (import_module(f"{room}.{name}") for name in (way_name, cache_name))
        if numba.__version__ not in TESTED and way is not second_way:
            if _release(numba.__version__) < _release(TESTED[0]):
                # Not even tried: LLVM may end a process that hands it what it does not know.
                raise ImportError(f"Numba {numba.__version__} is too old")
            sys.modules.pop(f"{room}.trial", None)
            import_module(f"{room}.trial").run()
    except Exception as error:  # the inside of another version may raise whatever it likes
        return error
    return None
