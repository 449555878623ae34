"""Machine code that came with the package, which is loaded in place of being compiled.

A wheel may carry the code of the usual kernels for a few levels of processors (see CONTRIBUTING).
Of these a process takes the highest that its processor has. It takes code only from the package's
own folder, where whoever can write could change the package as well, and only files whose hashes
are in a list there. What does not fit or is not there is compiled: code that came along may save
time, never change a result.
"""

import functools
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding
import numba
import numpy as np

from fastmlp.kernels import simd
from fastmlp.kernels._jit import cache_folder
from fastmlp.kernels._jit.flags import FLAGS, PARALLEL

_V3 = "avx avx2 bmi bmi2 cx16 f16c fma lzcnt movbe popcnt sahf sse3 sse4.1 sse4.2 ssse3 xsave"
_V4 = f"{_V3} avx512bw avx512cd avx512dq avx512f avx512vl"


class Level(NamedTuple):
    """Processors that have no less than these features."""

    architecture: str  # what LLVM's triple of a target begins with
    processor: str  # the least of them, by LLVM's name
    features: str  # as LLVM writes them, besides those that all of the architecture have


def _level(architecture, processor, features=""):
    return Level(architecture, processor, ",".join(f"+{name}" for name in features.split()))


# The highest of an architecture first. All processors of AArch64 have vectors of 16 bytes (NEON)
# and fused multiply-adds, and the kernels use no more than that.
LEVELS = {
    "x86-64-v4": _level("x86_64", "x86-64-v4", _V4),
    "x86-64-v3": _level("x86_64", "x86-64-v3", _V3),
    "aarch64": _level("aarch64", "generic"),
}

_FOLDER = Path(__file__).parent / "code"
_LIST = "hashes.json"


def directory():
    """Folder of the code that fits this processor, Python, these libraries and settings, or None.

    Its name begins with that of the level.
    """
    levels = levels_of(llvmlite.binding.get_process_triple(), simd.FEATURES)
    folder = _FOLDER / _name(levels[0]) if levels else None
    return folder if folder is not None and _hashes(folder) else None


def level_key(key, folder):
    """Numba's key of a specialization as it was where the code in a folder was compiled."""
    signature, (triple, *_), *others = key
    level = next(level for name, level in LEVELS.items() if folder.name.startswith(name))
    return signature, (triple, level.processor, level.features), *others


def levels_of(triple, features):
    """Names of the `LEVELS` that a processor has, the highest first.

    Parameters
    ----------
    triple : str
        What LLVM compiles for.
    features : str
        Of a processor, as LLVM writes them: "+avx,-avx512f".
    """
    architecture, has = triple.partition("-")[0], {"", *features.split(",")}
    return [
        name
        for name, level in LEVELS.items()
        if level.architecture == architecture and has.issuperset(level.features.split(","))
    ]


def read(path):
    """Content of a file of code, or None if it is not there, not in the list or has changed."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    expected = _hashes(path.parent).get(path.name)
    return content if hashlib.sha256(content).hexdigest() == expected else None


def is_listed(path):
    """Whether there should be a file of code, whatever state it is in."""
    return path.name in _hashes(path.parent)


def collect(files, level, package):
    """Put files of code, compiled for a level, where an installed package looks for them."""
    folder = Path(package) / "kernels" / "_jit" / _FOLDER.name / _name(level)
    folder.mkdir(parents=True)
    hashes = {}
    for path in sorted(files):
        hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copyfile(path, folder / path.name)
    (folder / _LIST).write_text(json.dumps(hashes, indent=0), encoding="utf-8")


@functools.cache
def _hashes(folder):
    """Hashes by the name of the file; none if the list is not there or damaged."""
    try:
        found = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@functools.cache
def _name(level):
    """Name of the folder for a level, by all that its code depends on.

    Of Python and NumPy these are the versions that keep their binary interfaces: within one, other
    builds and releases take the same code. What the processor's registers hold decides how Python
    lays work out for kernels, so these have to agree about it.
    """
    numpy_version = np.__version__.split(".")[:2]
    python = (sys.implementation.cache_tag, getattr(sys, "abiflags", ""), sys.platform)
    versions = (numba.__version__, llvmlite.__version__, numpy_version, python)
    settings = (numba.config.OPT, numba.config.BOUNDSCHECK, numba.config.USING_SVML)
    vectors = (simd.VECTOR_BYTES, simd.TILE_ROWS, simd.HAS_FMA)
    of_all = (cache_folder.code_hash(), versions, settings, FLAGS, PARALLEL, vectors)
    return f"{level}-{hashlib.sha256(repr(of_all).encode()).hexdigest()[:16]}"
