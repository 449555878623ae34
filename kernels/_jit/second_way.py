"""The second way to compile kernels: by what Numba documents alone.

It takes longer. Its entries call workers by another convention than those of the first way, so that
not even in Numba's cache may one be taken for the other.
"""

import functools

import numba
from llvmlite import ir
from numba.core.types import none, void

from fastmlp.kernels._jit import numbas_cache
from fastmlp.kernels._jit.flags import FLAGS, PARALLEL

_callbacks = []  # whose code workers are


def part(func, forceinline, is_loop):
    """Dispatcher of a function that only other kernels call."""
    return numba.njit(**FLAGS)(func)


def entry(func, name):
    """Dispatcher of the serial or the parallel kernel of a driver."""
    # Numba empties the dictionary of parallel options it is given.
    options = {"parallel": dict(PARALLEL)} if name == "parallel" else {}
    return numbas_cache.keep(
        functools.partial(numba.njit, **FLAGS, **options), func, f"second-{name}"
    )


def exactly(dispatcher, types):
    """What `entry` has made, which looks at its arguments' types at each call."""
    return dispatcher


def worker(func, keeps=True):
    """What `worker_address` compiles."""
    return func


def worker_address(func, types, keeps=True):
    """Compile a worker; return the address of its code, which a cache keeps if it may."""
    compiler = functools.partial(numba.cfunc, void(*types), **FLAGS)
    callback = numbas_cache.keep(compiler, func, "second-worker") if keeps else compiler()(func)
    _callbacks.append(callback)
    return callback.address


def emit_call(context, builder, address, types, values):
    """Emit the call of a worker at an address.

    It is a callback for C, which prints what it raises and returns.
    """
    result, *arguments = map(context.get_value_type, (none, *types))
    function_type = ir.FunctionType(result, arguments)
    builder.call(builder.inttoptr(address, function_type.as_pointer()), values)


def is_kept(func, types):
    """Whether the code for these types is in a file."""
    return numbas_cache.is_kept(func, types)
