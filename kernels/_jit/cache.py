"""Kernels in files, which are loaded in place of being compiled.

The files are those that processes have saved, and those that came with the package (`prebuilt`).
Any trouble with a file (unwritable, truncated, foreign) is a miss: a cache may cost time, never a
result. A file has a checksum and is unpickled only if that is right, and only from a folder that
the user has named, or that nobody else can write, or from the package's own.
"""

import functools
import hashlib
import pickle
import sys
import uuid

from numba.core import caching
from numba.core.serialize import dumps

from fastmlp.kernels._jit import prebuilt
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

    def reduce(self, data):
        # Numba's comments on types, which nobody reads, have paths of this machine in them.
        return super().reduce(data._replace(type_annotation=""))


class _Files:
    """The files of one kernel, one for each specialization: a checksum, then pickled code.

    Parameters
    ----------
    folder : Path or None
        Where files are kept; None keeps none.
    name : str
        What the files' names begin with.
    """

    def __init__(self, folder, name):
        self._folder, self._name = folder, name

    def _path(self, folder, key):
        """Where in a folder the code for Numba's key of a specialization is, if it is."""
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return folder / f"{self._name}.{digest[:16]}.nbc"

    def _path_of_prebuilt(self, key):
        """Where the code is that came with the package, if any did that fits."""
        folder = prebuilt.directory()
        if folder is None:
            return None
        return self._path(folder, prebuilt.level_key(key, folder))

    def has(self, key):
        """Whether there is a file, whatever state it is in."""
        if self._folder is not None and self._path(self._folder, key).is_file():
            return True
        path = self._path_of_prebuilt(key)
        return path is not None and prebuilt.is_listed(path)

    def load(self, key):
        """What was saved or came with the package, or None if that is not there, or not whole."""
        saved = None if self._folder is None else self._load_saved(key)
        if saved is not None:
            return saved
        path = self._path_of_prebuilt(key)
        content = None if path is None else prebuilt.read(path)
        return None if content is None else pickle.loads(content[_CHECKSUM_SIZE:])

    def _load_saved(self, key):
        try:
            content = self._path(self._folder, key).read_bytes()
        except OSError:
            return None
        checksum, data = content[:_CHECKSUM_SIZE], content[_CHECKSUM_SIZE:]
        return pickle.loads(data) if _checksum(data) == checksum else None

    def save(self, key, data):
        """Keep `data`, if the folder can be written."""
        if self._folder is None:
            return
        data = dumps(data)
        path = self._path(self._folder, key)
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
        self._cache_file = _Files(cache_directory(), self._impl.filename_base)

    def load_overload(self, sig, target_context):
        found = super().load_overload(sig, target_context)
        if found is None:
            self._announce()
        return found

    def has(self, sig, codegen):
        """Whether there is an entry for a signature, whatever state its file is in."""
        return self._cache_file.has(self._index_key(sig, codegen))

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
