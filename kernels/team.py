"""A team of threads inside one parallel region: roll call and barriers.

Launching a parallel region costs as much as a training step of a small network. So a sweep is
one region, whose parts run the whole loop side by side and meet at barriers. Barriers are only
safe once every part has a thread of its own, which no threading layer promises: the roll call
finds out, and where a part is missing, all of them go home with nothing done.

The counters live in an int64 array of `SYNC_SIZE` elements, zero before the region.
"""

import sys

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels._jit import inline
from fastmlp.kernels.view import data_of

# Counters stand a pair of cache lines apart.
_ARRIVED = 0
_VERDICT = 16
_WAITING = 32
_GENERATION = 48
SYNC_SIZE = 64

# Verdicts of the roll call.
COMPLETE = 1
INCOMPLETE = 2

# A barrier is mostly over within a microsecond; after so many looks the core is offered to
# whoever it may be waiting for.
_LOOKS = 4000

# Looks, with the core offered after each, until a part counts as missing: some 20 ms or more.
_PATIENCE = 20_000


@intrinsic
def atomic_add(typingctx, array, index, amount):
    """Add to an element of an int64 array; return what it held before."""
    signature = types.int64(array, types.intp, types.int64)

    def codegen(context, builder, signature, args):
        pointer = _element(context, builder, signature, args)
        return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

    return signature, codegen


@intrinsic
def atomic_load(typingctx, array, index):
    """Read an element of an int64 array that other threads write."""
    signature = types.int64(array, types.intp)

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_element(context, builder, signature, args), "seq_cst", 8)

    return signature, codegen


@intrinsic
def atomic_swap_zero(typingctx, array, index, value):
    """Set an element of an int64 array if it is 0; return what it held before."""
    signature = types.int64(array, types.intp, types.int64)

    def codegen(context, builder, signature, args):
        pointer = _element(context, builder, signature, args)
        zero = ir.Constant(ir.IntType(64), 0)
        pair = builder.cmpxchg(pointer, zero, args[2], "seq_cst")
        return builder.extract_value(pair, 0)

    return signature, codegen


def _element(context, builder, signature, args):
    return builder.gep(data_of(context, builder, signature.args[0], args[0]), [args[1]])


@intrinsic
def offer_core(typingctx):
    """Let another thread of the machine run, where the system has a call for it."""
    signature = types.void()

    def codegen(context, builder, signature, args):
        if sys.platform != "win32":
            function_type = ir.FunctionType(ir.IntType(32), [])
            function = cgutils.get_or_insert_function(builder.module, function_type, "sched_yield")
            builder.call(function, [])
        return context.get_dummy_value()

    return signature, codegen


@inline
def roll_call(sync, n_parts):
    """Wait until all parts have come; return whether they have. All get the same answer."""
    if n_parts == 1:
        return True
    if atomic_add(sync, _ARRIVED, 1) == n_parts - 1:
        atomic_swap_zero(sync, _VERDICT, COMPLETE)
    looks = 0
    while atomic_load(sync, _VERDICT) == 0:
        looks += 1
        if looks > _LOOKS:
            offer_core()
        if looks > _LOOKS + _PATIENCE:
            atomic_swap_zero(sync, _VERDICT, INCOMPLETE)
    return atomic_load(sync, _VERDICT) == COMPLETE


@inline
def barrier(sync, n_parts):
    """Wait until all parts are here. What they wrote before, all can read after."""
    if n_parts == 1:
        return
    generation = atomic_load(sync, _GENERATION)
    if atomic_add(sync, _WAITING, 1) == n_parts - 1:
        atomic_add(sync, _WAITING, -n_parts)
        atomic_add(sync, _GENERATION, 1)
        return
    looks = 0
    while atomic_load(sync, _GENERATION) == generation:
        looks += 1
        if looks > _LOOKS:
            offer_core()


if numba.config.DISABLE_JIT:
    # Without the JIT there are no parallel regions: every team has one part.

    def atomic_add(array, index, amount):
        before = array[index]
        array[index] += amount
        return before

    def atomic_load(array, index):
        return array[index]

    def atomic_swap_zero(array, index, value):
        before = array[index]
        if before == 0:
            array[index] = value
        return before

    def offer_core():
        pass
