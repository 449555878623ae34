"""What kernels are made of: parts, workers and entries. Nothing else calls numba.njit."""

import functools

import numba
from numba.core import cgutils
from numba.core.types import BaseTuple, Integer, StarArgTuple, Type, int64, void
from numba.extending import intrinsic

from fastmlp.kernels._jit import ways
from fastmlp.kernels._jit.compiling import lock, undisturbed
from fastmlp.kernels._jit.flags import FLAGS
from fastmlp.kernels.view import as_view, view_type


def inline(func):
    """Compile `func` as part of the kernels that call it; see `standalone` to call it alone."""
    return _part(func, forceinline=True)


def part(func):
    """Do what `inline` does for a function that is large or called from several places."""
    return _part(func)


def loop(func):
    """Do what `inline` does for a function whose loops over arrays are to be vectorized."""
    return _part(func, is_loop=True)


def scalar(func):
    """Do what `inline` does for what loops call for every element or row, whatever its size."""
    return _part(func, forceinline=True)


def _part(func, forceinline=False, is_loop=False):
    return func if numba.config.DISABLE_JIT else ways.way.part(func, forceinline, is_loop)


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
        self._code = None
        self._addresses = {}

    def has(self, *types):
        """Whether the machine code for arguments of these Numba types is compiled or loaded."""
        return _worker_types(types) in self._addresses

    def is_kept(self, *types):
        """Whether that machine code need not be compiled, as a process has done so before."""
        if numba.config.DISABLE_JIT or self.has(*types):
            return True
        return ways.way.is_kept(self._made(), _worker_types(types))

    def _made(self):
        # One for all threads: the code of another could be freed while it is in use.
        if self._code is None:
            with lock:
                if self._code is None:
                    self._code = ways.way.worker(self.py_func)
        return self._code

    def address(self, *arguments):
        """Address of the machine code for arguments of these types.

        Each argument is an example value, such as an array, or a Numba type.
        """
        if numba.config.DISABLE_JIT:
            _workers[id(self)] = self.py_func
            return id(self)
        types = _worker_types(arguments)
        if types not in self._addresses:
            undisturbed(self._compile, types)
        return self._addresses[types]

    def _compile(self, types):
        self._addresses[types] = ways.way.worker_address(self._made(), types)


_workers = {}


def named(cls, *types):
    """Numba's type of a NamedTuple class with fields of these Numba types."""
    return BaseTuple.from_types(types, cls)


def _worker_types(arguments):
    """Numba's types of a worker's arguments, each given as a type or as an example."""
    return _view_types(tuple(a if isinstance(a, Type) else numba.typeof(a) for a in arguments))


@functools.lru_cache
def _view_types(types):
    # Kept, because to make one of Numba's types takes ten times as long as to look it up.
    return tuple(map(view_type, types))


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
        ways.way.emit_call(context, builder, values[0], types, given)
        return context.get_dummy_value()

    return signature, codegen


if numba.config.DISABLE_JIT:

    def call_worker(address, *arguments):
        _workers[address](*arguments)


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
        with lock:
            kernel = self._get(name)
        setattr(self, name, kernel)
        return kernel

    def exactly(self, *types, is_parallel=False):
        """One of the kernels for arguments of these Numba types, which it does not look at again.

        Half of the time of a small call is Numba's asking each argument for its type.
        """
        if numba.config.DISABLE_JIT:
            return self.py_func
        return ways.way.exactly(self.parallel if is_parallel else self.serial, types)

    def is_kept(self, *types, is_parallel=False):
        """Whether a kernel for these types need not be compiled; see `Worker.is_kept`."""
        if numba.config.DISABLE_JIT:
            return True
        kernel = self.parallel if is_parallel else self.serial
        return types in kernel.signatures or ways.way.is_kept(kernel, types)

    def n_compiled(self):
        """Number of specializations compiled or loaded so far, over both kernels."""
        return sum(len(d.signatures) for d in self._compiled.values() if hasattr(d, "signatures"))

    def _get(self, name):
        kernel = self._compiled.get(name)
        if kernel is None:
            if numba.config.DISABLE_JIT:
                kernel = self.py_func
            else:
                kernel = ways.way.entry(self.py_func, name)
                # Which Numba calls where it meets new types.
                kernel.compile = functools.partial(undisturbed, kernel.compile)
            self._compiled[name] = kernel
        return kernel
