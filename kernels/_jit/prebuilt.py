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

import llvmlite.binding
import numba
import numpy as np

from fastmlp.kernels import simd
from fastmlp.kernels._jit import cache_folder
from fastmlp.kernels._jit.flags import FLAGS, PARALLEL

_V3 = "avx avx2 bmi bmi2 cx16 f16c fma lzcnt movbe popcnt sahf sse3 sse4.1 sse4.2 ssse3 xsave"
_V4 = f"{_V3} avx512bw avx512cd avx512dq avx512f avx512vl"

# Names of processors and of their features, as LLVM has them, the highest level first.
LEVELS = {
    name: ",".join(f"+{feature}" for feature in features.split())
    for name, features in (("x86-64-v4", _V4), ("x86-64-v3", _V3))
}

_FOLDER = Path(__file__).parent / "code"
_LIST = "hashes.json"


def directory():
    """Folder of the code that fits this processor, Python, these libraries and settings, or None.

    Its name begins with that of the level.
    """
    level = level_of(llvmlite.binding.get_process_triple(), simd.FEATURES)
    folder = None if level is None else _FOLDER / _name(level)
    return folder if folder is not None and _hashes(folder) else None


def level_key(key, folder):
    """Numba's key of a specialization as it was where the code in a folder was compiled."""
    signature, (triple, *_), *others = key
    level = next(level for level in LEVELS if folder.name.startswith(level))
    return signature, (triple, level, LEVELS[level]), *others


def level_of(triple, features):
    """Name of the highest of the `LEVELS` whose features are all among these, or None.

    Parameters
    ----------
    triple : str
        What LLVM compiles for.
    features : str
        Of a processor, as LLVM writes them: "+avx,-avx512f".
    """
    if not triple.startswith("x86_64-"):
        return None
    has = set(features.split(","))
    return next((name for name, needs in LEVELS.items() if has.issuperset(needs.split(","))), None)


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
