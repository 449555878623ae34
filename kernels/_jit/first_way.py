"""The first way to compile kernels: by a compiler, a cache and calls that stand on Numba's inside.

Everything here may fail with another version of Numba; `second_way` has the same functions.
"""

import functools

import numba
from numba.core import cgutils
from numba.core.types import none, unliteral

from fastmlp.kernels._jit import ways
from fastmlp.kernels._jit.flags import FLAGS, PARALLEL
from fastmlp.kernels._jit.pipeline import EntryCompiler, PartCompiler, WorkerCompiler, loops


def part(func, forceinline, is_loop):
    """Dispatcher of a function that only other kernels call."""
    if is_loop:
        loops.add(func)
    # Said either way, because Numba passes the option on to callees.
    dispatcher = numba.njit(**FLAGS, forceinline=forceinline, pipeline_class=PartCompiler)(func)
    # Numba would compile one more copy for each literal number among the arguments.
    resolve = dispatcher.get_call_template
    dispatcher.get_call_template = lambda args, kws: resolve(
        tuple(map(unliteral, args)), {name: unliteral(arg) for name, arg in kws.items()}
    )
    return dispatcher


def entry(func, name):
    """Dispatcher of the serial or the parallel kernel of a driver."""
    # Numba empties the dictionary of parallel options it is given.
    parallel, serial = {"parallel": dict(PARALLEL)}, {"pipeline_class": EntryCompiler}
    options = parallel if name == "parallel" else serial
    return ways.cache.keep(functools.partial(numba.njit, **FLAGS, **options), func, name)


def exactly(dispatcher, types):
    """What `entry` has made, for arguments of these types, which it does not look at again."""
    compiled = dispatcher.overloads.get(types)
    return dispatcher.compile(types) if compiled is None else compiled.entry_point


def worker(func, keeps=True):
    """What `worker_address` compiles, and whether a cache keeps that."""
    compiler = functools.partial(numba.njit, **FLAGS, pipeline_class=WorkerCompiler)
    return ways.cache.keep(compiler, func, "worker") if keeps else compiler()(func)


def worker_address(dispatcher, types, keeps=True):
    """Compile or load a worker; return the address of its code."""
    dispatcher.compile(types)
    compiled = dispatcher.overloads[types]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def emit_call(context, builder, address, types, values):
    """Emit the call of a worker at an address; what it raises is raised by the caller."""
    function_type = context.call_conv.get_function_type(none, types)
    function = builder.inttoptr(address, function_type.as_pointer())
    status, _ = context.call_conv.call_function(builder, function, none, types, values)
    with cgutils.if_unlikely(builder, status.is_error):
        context.call_conv.return_status_propagate(builder, status)


def is_kept(dispatcher, types):
    """Whether the code for these types is in a file."""
    return ways.cache.is_kept(dispatcher, types)
