"""Where compiled kernels are kept: a folder for each build, out of other users' reach.

Numba's cache keys a function by its own file, so an edit in a callee elsewhere would serve stale
machine code. This folder is named by a hash of the code of all kernels, of the compiler flags and
of the versions of everything that generates code.
"""

import contextlib
import functools
import hashlib
import marshal
import os
import pkgutil
import stat
import sys
import tempfile
from pathlib import Path

import llvmlite
import numba
import numpy as np

from fastmlp.kernels._jit.flags import FLAGS, PARALLEL


def cache_directory():
    """Folder of this build's compiled kernels, None if there is none to use.

    ``FASTMLP_CACHE_DIR`` comes first, then ``NUMBA_CACHE_DIR``; such a folder need not exist or be
    writable. Then comes the user's cache folder, then one of this user's in the system's temporary
    folder: the first that is there or can be made, out of other users' reach, as files in it are
    code.
    """
    build = f"kernels-{build_hash()}"
    named = _named_folder()
    if named is not None:
        return named / build
    folders = (folder for folder in _user_folders() if _is_own(folder) and _is_own(folder / build))
    folder = next(folders, None)
    return None if folder is None else folder / build


def _named_folder():
    named = os.environ.get("FASTMLP_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR")
    return Path(named) if named else None


def _user_folders():
    """Where this user's kernels may be, the best place first."""
    home = _cache_home()
    if home is not None:
        yield home / "fastmlp"
    with contextlib.suppress(OSError):  # no temporary folder that can be written
        yield Path(tempfile.gettempdir()) / f"fastmlp-{_user()}"


def _cache_home():
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else None
    try:
        home = Path.home()
    except RuntimeError:  # no home directory, as in some containers
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")


def _user():
    return os.geteuid() if hasattr(os, "geteuid") else os.environ.get("USERNAME", "")


def _is_own(folder):
    """Whether a folder is there or can be made, is this user's or the system's, closed to others.

    A link to such a folder is as good, if it is this user's or the system's itself.
    """
    try:
        make(folder)
        link, found = folder.lstat(), folder.stat()
    except OSError:  # within a file, or a folder that may not be read or written
        return False
    if not hasattr(os, "geteuid"):  # Windows has these folders in the user's profile
        return True
    is_closed = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return is_closed and {link.st_uid, found.st_uid} <= {0, os.geteuid()}


def make(folder):
    """Make a folder and those it is in: for this user alone, unless the place has been named.

    A named one may be for several users, as the umask says; else the umask, which may be 0 in a
    container, would let others write code.
    """
    mode = 0o700 if _named_folder() is None else 0o777
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    for path in reversed(missing):
        path.mkdir(mode, exist_ok=True)


def _hash_of_code(package):
    """Hash of the code of a package's modules: of their sources or, without these, their bytecode.

    The import system is asked, as modules may be in an archive or in compiled files alone.
    """
    digest = hashlib.sha256()
    for name, code in _code_of(package.__path__, package.__name__):
        digest.update(name.encode() + b"\0" + code)
    return digest.hexdigest()


def _code_of(path, package):
    """Names and code of the modules in a package, and of those in packages within it."""
    for module in pkgutil.iter_modules(path, f"{package}."):
        spec = module.module_finder.find_spec(module.name)
        source = spec.loader.get_source(module.name)
        # In this version of marshal, two processes make the same bytes of the same code.
        code = spec.loader.get_code(module.name) if source is None else source
        yield module.name, marshal.dumps(code, 2)
        if module.ispkg:
            yield from _code_of(spec.submodule_search_locations, module.name)


# While the package is imported: an update of its files may come before the first kernel is needed.
_CODE = _hash_of_code(sys.modules["fastmlp.kernels"])


def code_hash():
    """Hash of the code of all kernels, as it was when the package was imported."""
    return _CODE


@functools.cache
def build_hash():
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
    settings = (numba.config.OPT, numba.config.BOUNDSCHECK, FLAGS, PARALLEL)
    return hashlib.sha256(repr((_CODE, versions, settings)).encode()).hexdigest()[:16]
