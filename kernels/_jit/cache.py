"""Kernels in files, which are loaded in place of being compiled.

Any trouble with a file (unwritable, truncated, foreign) is a miss: a cache may cost time, never a
result. A file has a checksum and is unpickled only if that is right, and only from a folder that
the user has named, or that nobody else can write.
"""

import functools
import hashlib
import pickle
import sys
import uuid

from numba.core import caching
from numba.core.serialize import dumps

from fastmlp.kernels._jit.cache_folder import cache_directory, make


def keep(compiler, func, name):
    """Dispatcher that a compiler makes of a function, with fastmlp's cache."""
    dispatcher = compiler()(func)
    dispatcher._cache = KernelCache(dispatcher.py_func, name)
    return dispatcher


@functools.cache
def is_kept(dispatcher, types):
    """Whether the cache had a dispatcher's code for these types when first asked, unread."""
    cache = getattr(dispatcher, "_cache", None)
    return isinstance(cache, KernelCache) and cache.has(types, dispatcher.targetctx.codegen())


class _Locator:
    """Tells Numba all that it wants to know of a cache's place; `_Files` knows the rest."""

    def __init__(self, py_func):
        # Numba reports an uncacheable function with these two.
        self._py_file = py_func.__code__.co_filename
        self._lineno = py_func.__code__.co_firstlineno

    def get_cache_path(self):
        return ""

    def ensure_cache_path(self):
        pass

    def get_source_stamp(self):
        return ""

    def get_disambiguator(self):
        return "k"


class _CacheImpl(caching.CompileResultCacheImpl):
    def __init__(self, py_func, twin):
        self._lineno = py_func.__code__.co_firstlineno
        self._locator = _Locator(py_func)
        module = py_func.__module__.rpartition(".")[2]
        self._filename_base = self.get_filename_base(
            f"{module}.{py_func.__qualname__}-{twin}", getattr(sys, "abiflags", "")
        )


class _Files:
    """The files of one kernel, one for each specialization: a checksum, then pickled code.

    Parameters
    ----------
    folder : Path
    name : str
        What the files' names begin with.
    """

    def __init__(self, folder, name):
        self._folder, self._name = folder, name

    def path(self, key):
        """Where the code for Numba's key of a specialization is, if it is."""
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return self._folder / f"{self._name}.{digest[:16]}.nbc"

    def load(self, key):
        """What was saved, or None if that is not there, or not whole."""
        try:
            content = self.path(key).read_bytes()
        except OSError:
            return None
        checksum, data = content[:_CHECKSUM_SIZE], content[_CHECKSUM_SIZE:]
        return pickle.loads(data) if _checksum(data) == checksum else None

    def save(self, key, data):
        """Keep `data`, if the folder can be written."""
        data = dumps(data)
        path = self.path(key)
        temporary = path.with_name(f"{uuid.uuid4().hex}.tmp")
        try:
            make(self._folder)
            try:
                temporary.write_bytes(_checksum(data) + data)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError:
            pass


_CHECKSUM_SIZE = hashlib.sha256().digest_size


def _checksum(data):
    return hashlib.sha256(data).digest()


class KernelCache(caching.FunctionCache):
    """Numba's function cache, kept per build of fastmlp in files of ours."""

    _announced = False

    def __init__(self, py_func, twin):
        self._impl_class = lambda func: _CacheImpl(func, twin)
        super().__init__(py_func)
        folder = cache_directory()
        if folder is None:
            self.disable()
        else:
            self._cache_file = _Files(folder, self._impl.filename_base)

    def load_overload(self, sig, target_context):
        found = super().load_overload(sig, target_context)
        if found is None:
            self._announce()
        return found

    def has(self, sig, codegen):
        """Whether there is an entry for a signature, whatever state its file is in."""
        return self._enabled and self._cache_file.path(self._index_key(sig, codegen)).is_file()

    @classmethod
    def _announce(cls):
        if not KernelCache._announced:
            KernelCache._announced = True
            folder = cache_directory()
            often = "in each process (there is no folder to keep them in: set FASTMLP_CACHE_DIR)"
            if folder is not None:
                often = f"once (cache: {folder})"
            print(
                f"fastmlp: compiling kernels for this machine, a few seconds, {often}",
                file=sys.stderr,
                flush=True,
            )
