"""How kernels are compiled: flags, twins and the disk cache. Nothing else calls numba.njit.

`inline` marks a function that other kernels call; it is compiled into each of its callers. So
are `loop`, whose loops are to be vectorized, and `scalar`, a function of numbers in such loops.
`entry` marks a driver that Python calls; it becomes a `Twin`, one source compiled on first use
as a serial and as a parallel kernel. `worker` marks the body of a driver's parallel loops; it
is compiled once, on its own, and drivers call it by its address: both twins run the same
machine code, and the large part of a network's code is compiled once instead of four times.

Entries and workers are kept in fastmlp's own disk cache. Numba's keys a function by its own
file, so an edit in a callee elsewhere would serve stale machine code. Ours lives in a folder
named by a hash of the code of all kernels, of the compiler flags and of the versions of everything
that generates code, and treats any trouble with a file (unwritable, truncated, foreign) as a
miss: a cache may cost time, never a result. A file has a checksum and is unpickled only if that is
right, and only from a folder that the user has named, or that nobody else can write.

Nothing breaks the compiler off: a fork waits for it, and it runs in no thread in which handlers of
signals could raise an exception.
"""

import contextlib
import ctypes
import functools
import gc
import hashlib
import marshal
import os
import pickle
import pkgutil
import stat
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import ClassVar

import llvmlite
import numba
import numpy as np
from llvmlite.binding import Linkage
from numba.core import caching, cgutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.serialize import dumps
from numba.core.typed_passes import InlineOverloads, NativeLowering, NopythonRewrites
from numba.core.types import (
    BaseTuple,
    Integer,
    StarArgTuple,
    Type,
    int64,
    none,
    unliteral,
    void,
)
from numba.core.untyped_passes import InlineClosureLikes, InlineInlinables, WithLifting
from numba.extending import intrinsic

from fastmlp.kernels.view import as_view, view_type

# error_model "numpy": a division must not carry a ZeroDivisionError branch, which would stop
# LLVM from vectorizing. No fastmath: it would delete NaN guards and reorder promised sums.
FLAGS = {"nogil": True, "error_model": "numpy"}

# Only prange is wanted from the parallel compiler; its array rewrites cost compile time.
PARALLEL = {
    "comprehension": False,
    "reduction": False,
    "inplace_binop": False,
    "setitem": False,
    "numpy": False,
    "stencil": False,
    "fusion": False,
}

prange = numba.prange


class _WholeLibrary(JITCodeLibrary):
    """The code of a kernel, or of a loop, that is optimized as a whole, once.

    Numba would optimize each function, then all of them cheaply, to find pairs of reference
    counts to remove, which kernels have few of, and then all of them again.
    """

    effort: ClassVar[dict] = {}

    def _optimize_functions(self, module):
        pass

    def _optimize_final_module(self):
        manager, builder = self._codegen._module_pass_manager(**self.effort)
        manager.run(self._final_module, builder)


class _WorkerLibrary(_WholeLibrary):
    """The code of a worker, whose loops and tiles are optimized already: the rest calls them."""

    effort: ClassVar[dict] = {"opt": 1, "loop_vectorize": False}


class _LoopLibrary(_WholeLibrary):
    """The code of a loop: it becomes machine code as part of the kernels that call it."""

    def _finalize_final_module(self):
        self._finalized = True


class _PartLibrary(_WholeLibrary):
    """The intermediate code of a function that only other kernels call.

    Numba would link the code of all callees into each function on the way to an entry, and
    optimize all of it there again. A part keeps to itself until a whole kernel asks for it.
    """

    def finalize(self):
        self._raise_if_finalized()

    def _get_module_for_linking(self):
        if self._shared_module is None:
            module = self._own_module().clone()
            for library in self._callees():
                own = isinstance(library, _PartLibrary)
                found = library._own_module() if own else library._get_module_for_linking()
                module.link_in(found, preserve=True)
            self._shared_module = module
        return self._shared_module

    def _own_module(self):
        module = self._final_module
        for function in module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = "linkonce_odr"
        return module

    def _callees(self):
        """Libraries of all that is called from here, directly or not, each once."""
        found, waiting = {}, list(self._linking_libraries)
        while waiting:
            library = waiting.pop()
            if library not in found:
                found[library] = None
                if isinstance(library, _PartLibrary):
                    waiting += library._linking_libraries
        return found


@functools.cache
def _has_references(models, kind):
    """Whether values of a Numba type hold memory whose references are counted."""
    return models[kind].contains_nrt_meminfo()


class _Lower(Lower):
    """Numba's step from types to intermediate code, without what does nothing in kernels.

    Numba takes every tuple apart wherever it appears or goes, in search of references to count, and
    overwrites with zeros what goes.
    """

    def incref(self, typ, val):
        if _has_references(self.context.data_model_manager, typ):
            super().incref(typ, val)

    def decref(self, typ, val):
        if _has_references(self.context.data_model_manager, typ):
            super().decref(typ, val)

    def delvar(self, name):
        if _has_references(self.context.data_model_manager, self.typeof(name)):
            super().delvar(name)


class _Lowering(NativeLowering):
    """Numba's pass that lowers a function, by a `_Lower`."""

    lowering_class = _Lower


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(_Lowering):
    """Lowers a function that only other kernels call: to LLVM's intermediate code, no further.

    Numba would optimize every function on the way to an entry, turn it into machine code of its
    own with wrappers for Python and C, and never run it: half the time of a cold start.
    """

    _name = "fastmlp_part_lowering"

    def run_pass(self, state):
        state.flags.no_compile = True
        state.flags.no_cpython_wrapper = True
        state.flags.no_cfunc_wrapper = True
        # Loops vectorize only in a function of their own, which is optimized right here.
        library = _LoopLibrary if state.func_id.func in _loops else _PartLibrary
        state.library = library(state.targetctx.codegen(), state.func_id.func_qualname)
        super().run_pass(state)
        if not state.flags.forceinline:
            # One huge function would take the compiler longer than its pieces.
            name = state["cr"].fndesc.llvm_func_name
            state.library._final_module.get_function(name).add_function_attribute("noinline")
        # Numba files a function's code under its callable, which has to be a builtin of its own.
        placeholder = [].append
        lowered = state["cr"]
        state.targetctx.insert_user_function(placeholder, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=placeholder)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _WholeLowering(_Lowering):
    """Lowers a kernel to a `_WholeLibrary`."""

    _name = "fastmlp_whole_lowering"
    library = _WholeLibrary

    def run_pass(self, state):
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class _WorkerLowering(_WholeLowering):
    """Lowers a worker to a `_WorkerLibrary`."""

    _name = "fastmlp_worker_lowering"
    library = _WorkerLibrary


class _Flags(Flags):
    """Numba's flags, which it compares whenever it looks for a function, in less time."""

    __slots__ = ()
    _defaults: ClassVar[dict] = {name: option.default for name, option in Flags.options.items()}
    _hash = hash(tuple(sorted(Flags.options)))  # what Numba makes of them

    def __hash__(self):
        return self._hash

    def values(self):
        return self._defaults | self._values


# Numba's searches for what kernels have none of: expressions of whole arrays, closures and
# comprehensions, `with` statements, functions to be inlined before types are known.
_NOT_NEEDED = (NopythonRewrites, InlineClosureLikes, InlineInlinables, InlineOverloads, WithLifting)


class _EntryCompiler(Compiler):
    """Numba's compiler, with `lowering` for its last step and without what is `_NOT_NEEDED`."""

    lowering = _WholeLowering

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        super().__init__(typingctx, targetctx, library, args, return_type, _Flags(flags), locals)

    def define_pipelines(self):
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [
                (self.lowering if step is NativeLowering else step, description)
                for step, description in pipeline.passes
                if step not in _NOT_NEEDED
            ]
        return pipelines


class _WorkerCompiler(_EntryCompiler):
    """Numba's compiler, with `_WorkerLowering` for its last step."""

    lowering = _WorkerLowering


class _PartCompiler(_EntryCompiler):
    """Numba's compiler, with `_PartLowering` for its last step."""

    lowering = _PartLowering


_loops = set()


def inline(func):
    """Compile `func` as part of the kernels that call it; see `standalone` to call it alone."""
    return _part(func, forceinline=True)


def part(func):
    """Do what `inline` does for a function that is large or called from several places."""
    return _part(func)


def loop(func):
    """Do what `inline` does for a function whose loops over arrays are to be vectorized."""
    _loops.add(func)
    return _part(func)


def scalar(func):
    """Do what `inline` does for what loops call for every element or row, whatever its size."""
    return _part(func, forceinline=True)


def _part(func, forceinline=False):
    if numba.config.DISABLE_JIT:
        return func
    # Said either way, because Numba passes the option on to callees.
    dispatcher = numba.njit(**FLAGS, forceinline=forceinline, pipeline_class=_PartCompiler)(func)
    # Numba would compile one more copy for each literal number among the arguments.
    resolve = dispatcher.get_call_template
    dispatcher.get_call_template = lambda args, kws: resolve(
        tuple(map(unliteral, args)), {name: unliteral(arg) for name, arg in kws.items()}
    )
    return dispatcher


def standalone(part):
    """Make an `inline`, `loop` or `scalar` callable from Python, for tests and inspection."""
    return numba.njit(**FLAGS)(getattr(part, "py_func", part))


def entry(func):
    """Make a driver callable from Python, as a pair of serial and parallel kernels."""
    return Twin(func)


def worker(func):
    """Make the body of drivers' parallel loops, which they call by address."""
    return Worker(func)


class Worker:
    """A function without a result, compiled to machine code that kernels call by address.

    Parameters
    ----------
    func : function
        Takes arrays, integers and floats, of which integers arrive as int64.
    """

    def __init__(self, func):
        self.py_func = func
        self.__doc__ = func.__doc__
        self.__name__ = func.__name__
        self._dispatcher = None
        self._addresses = {}

    def has(self, *types):
        """Whether the machine code for arguments of these Numba types is compiled or loaded."""
        return _worker_types(types) in self._addresses

    def is_kept(self, *types):
        """Whether that machine code need not be compiled, as a process has done so before."""
        if numba.config.DISABLE_JIT or self.has(*types):
            return True
        return _is_kept(self._dispatch(), _worker_types(types))

    def _dispatch(self):
        # One for all threads: the code of another could be freed while it is in use.
        if self._dispatcher is None:
            with global_compiler_lock:
                if self._dispatcher is None:
                    compiler = numba.njit(**FLAGS, pipeline_class=_WorkerCompiler)
                    self._dispatcher = _cached(compiler(self.py_func), "worker")
        return self._dispatcher

    def address(self, *arguments):
        """Address of the machine code for arguments of these types.

        Each argument is an example value, such as an array, or a Numba type.
        """
        if numba.config.DISABLE_JIT:
            _workers[id(self)] = self.py_func
            return id(self)
        types = _worker_types(arguments)
        if types not in self._addresses:
            _undisturbed(self._compile, types)
        return self._addresses[types]

    def _compile(self, types):
        dispatcher = self._dispatch()
        dispatcher.compile(types)
        compiled = dispatcher.overloads[types]
        name = compiled.fndesc.llvm_func_name
        self._addresses[types] = compiled.library.get_pointer_to_function(name)


_workers = {}


def named(cls, *types):
    """Numba's type of a NamedTuple class with fields of these Numba types."""
    return BaseTuple.from_types(types, cls)


def _worker_types(arguments):
    """Numba's types of a worker's arguments, each given as a type or as an example."""
    types = (a if isinstance(a, Type) else numba.typeof(a) for a in arguments)
    return tuple(map(view_type, types))


class _Spent(threading.local):
    """Seconds for which this thread has waited for kernels."""

    seconds = 0.0


_spent = _Spent()


def clock():
    """Seconds, as of `time.perf_counter`, without those spent on kernels for this thread.

    It stands still while kernels are compiled or loaded.
    """
    return time.perf_counter() - _spent.seconds


def _undisturbed(function, *arguments):
    """Call what compiles or loads a kernel: one thread at a time, off the `clock`, to its end.

    Python handles signals in the main thread alone. An exception that a handler raises there would
    be lost in Numba, or leave it half changed. So the main thread has another do the work, and is
    free to raise at once.
    """
    began = time.perf_counter()
    try:
        is_main = threading.current_thread() is threading.main_thread()
        return (_by_another_thread if is_main else _compile)(function, arguments)
    finally:
        _spent.seconds += time.perf_counter() - began


def _by_another_thread(function, arguments):
    outcomes: list = []
    # A lock, as a queue's wait has no end if a handler takes longer than its timeout.
    working = threading.Lock()
    working.acquire()

    def work():
        try:
            outcomes.append((_compile(function, arguments), None))
        except BaseException as error:
            outcomes.append((None, error))
        working.release()

    helper = None
    while not outcomes:
        was_alive = helper is not None and helper.is_alive()
        if not was_alive and not outcomes:  # at first, or a handler forked: it is in the parent
            helper = threading.Thread(target=work, name="fastmlp compiler")
            try:
                helper.start()
            except RuntimeError as error:
                if "new thread" not in str(error):  # of a handler
                    raise
                return _compile(function, arguments)  # no thread can start, as at a process's end
        working.acquire(timeout=0.1)
    result, error = outcomes[0]
    if error is not None:
        raise error
    return result


def _compile(function, arguments):
    with global_compiler_lock:
        # The collector finds little in what the compiler builds up, and looks often.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return function(*arguments)
        finally:
            if was_enabled:
                gc.enable()


_held_back: list = []  # what handlers of signals raised while a fork waited


def _before_fork():
    """Wait for the compiler: a child would find Numba and LLVM as they are half-way, for good.

    Python drops what is raised here and forks all the same. So it is held back.
    """
    while not global_compiler_lock.is_locked():
        try:
            global_compiler_lock.acquire()
        except BaseException as error:
            _held_back.append(error)


def _after_fork_in_parent():
    if global_compiler_lock.is_locked():
        global_compiler_lock.release()
    if _held_back:
        arguments = (threading.get_ident(), _held_back[-1])
        _held_back.clear()
        threading.Thread(target=_raise_in, args=arguments).start()


def _raise_in(thread, error):
    """Raise an exception in a thread as soon as that has left the hook above."""

    def has_left():
        frame = sys._current_frames().get(thread)
        while frame is not None and frame.f_code is not _after_fork_in_parent.__code__:
            frame = frame.f_back
        return frame is None

    while not has_left():
        time.sleep(1e-3)
    # Python takes a class, and raises what that makes.
    again = type("Again", (BaseException,), {"__new__": lambda cls: error})
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(again))


def _after_fork_in_child():
    global_compiler_lock._lock = threading.RLock()
    _held_back.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )


@intrinsic
def call_worker(typingctx, address, *arguments):
    """Call the worker at `address`, from a kernel.

    Arrays arrive as views. So the threads of a team do not fight over counts of references; whoever
    calls holds the arrays meanwhile.
    """
    given_types = [int64 if isinstance(a, Integer) else a for a in arguments]
    signature = void(address, StarArgTuple(given_types))
    types = list(map(view_type, given_types))

    def codegen(context, builder, signature, values):
        given = [
            as_view(context, builder, kind, value)
            for kind, value in zip(
                given_types, cgutils.unpack_tuple(builder, values[1], len(types)), strict=True
            )
        ]
        function_type = context.call_conv.get_function_type(none, types)
        function = builder.inttoptr(values[0], function_type.as_pointer())
        status, _ = context.call_conv.call_function(builder, function, none, types, given)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return signature, codegen


if numba.config.DISABLE_JIT:

    def call_worker(address, *arguments):
        _workers[address](*arguments)


def _cached(dispatcher, name):
    """Give a dispatcher fastmlp's cache."""
    # The cache hangs on a private attribute: without it kernels still compile, uncached.
    if hasattr(dispatcher, "_cache"):
        dispatcher._cache = _KernelCache(dispatcher.py_func, name)
    return dispatcher


@functools.cache
def _is_kept(dispatcher, types):
    """Whether the cache had a dispatcher's code for these types when first asked, unread."""
    cache = getattr(dispatcher, "_cache", None)
    return isinstance(cache, _KernelCache) and cache.has(types, dispatcher.targetctx.codegen())


class Twin:
    """One driver, compiled on first use as a serial and as a parallel kernel.

    Parameters
    ----------
    func : function
        A driver whose parallel loops are `prange` over independent parts, so that both
        kernels compute the same bits.

    Attributes
    ----------
    serial
        The kernel that runs in the calling thread alone.
    parallel
        The kernel whose `prange` loops run on Numba's thread team.
    """

    def __init__(self, func):
        self.py_func = func
        self.__doc__ = func.__doc__
        self.__name__ = func.__name__
        self._compiled = {}

    def __getattr__(self, name):
        # Made when first asked for, and then an attribute, as fast as any.
        if name not in ("serial", "parallel"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with global_compiler_lock:
            kernel = self._get(name, {"parallel": PARALLEL} if name == "parallel" else {})
        setattr(self, name, kernel)
        return kernel

    def exactly(self, *types, is_parallel=False):
        """One of the kernels for arguments of these Numba types, which it does not look at again.

        Half of the time of a small call is Numba's asking each argument for its type.
        """
        if numba.config.DISABLE_JIT:
            return self.py_func
        kernel = self.parallel if is_parallel else self.serial
        compiled = kernel.overloads.get(types)
        return kernel.compile(types) if compiled is None else compiled.entry_point

    def is_kept(self, *types, is_parallel=False):
        """Whether a kernel for these types need not be compiled; see `Worker.is_kept`."""
        kernel = self.parallel if is_parallel else self.serial
        return numba.config.DISABLE_JIT or types in kernel.overloads or _is_kept(kernel, types)

    def n_compiled(self):
        """Number of specializations compiled or loaded so far, over both kernels."""
        return sum(len(d.signatures) for d in self._compiled.values() if hasattr(d, "signatures"))

    def _get(self, name, options):
        dispatcher = self._compiled.get(name)
        if dispatcher is None:
            # Numba empties the dictionary of parallel options it is given.
            options = {key: dict(value) for key, value in options.items()}
            if not options and not numba.config.DISABLE_JIT:
                options = {"pipeline_class": _EntryCompiler}
            dispatcher = numba.njit(**FLAGS, **options)(self.py_func)
            if not numba.config.DISABLE_JIT:
                dispatcher = _cached(dispatcher, name)
                # Which Numba calls where it meets new types.
                dispatcher.compile = functools.partial(_undisturbed, dispatcher.compile)
            self._compiled[name] = dispatcher
        return dispatcher


def cache_directory():
    """Folder of this build's compiled kernels, None if there is none to use.

    ``FASTMLP_CACHE_DIR`` comes first, then ``NUMBA_CACHE_DIR``; such a folder need not exist or be
    writable. Then comes the user's cache folder, then one of this user's in the system's temporary
    folder: the first that is there or can be made, out of other users' reach, as files in it are
    code.
    """
    build = f"kernels-{_build_hash()}"
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
        _make(folder)
        link, found = folder.lstat(), folder.stat()
    except OSError:  # within a file, or a folder that may not be read or written
        return False
    if not hasattr(os, "geteuid"):  # Windows has these folders in the user's profile
        return True
    is_closed = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return is_closed and {link.st_uid, found.st_uid} <= {0, os.geteuid()}


def _make(folder):
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
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        loader = module.module_finder.find_spec(module.name).loader
        source = loader.get_source(module.name)
        # In this version of marshal, two processes make the same bytes of the same code.
        code = marshal.dumps(loader.get_code(module.name) if source is None else source, 2)
        digest.update(module.name.encode() + b"\0" + code)
    return digest.hexdigest()


# While the package is imported: an update of its files may come before the first kernel is needed.
_CODE = _hash_of_code(sys.modules[__package__])


@functools.cache
def _build_hash():
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
    settings = (numba.config.OPT, numba.config.BOUNDSCHECK, FLAGS, PARALLEL)
    return hashlib.sha256(repr((_CODE, versions, settings)).encode()).hexdigest()[:16]


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
            _make(self._folder)
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


class _KernelCache(caching.FunctionCache):
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
        if not _KernelCache._announced:
            _KernelCache._announced = True
            folder = cache_directory()
            often = "in each process (there is no folder to keep them in: set FASTMLP_CACHE_DIR)"
            if folder is not None:
                often = f"once (cache: {folder})"
            print(
                f"fastmlp: compiling kernels for this machine, a few seconds, {often}",
                file=sys.stderr,
                flush=True,
            )
