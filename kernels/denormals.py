"""Denormal numbers taken for zeros, as long as a sweep lasts.

Where a gradient stays zero, as behind a relu that no row switches on, momentum and Adam's mean
decay by a factor a step until they are denormal, below 1e-38 in float32, and remain there: 0.9
times the fourth smallest of all numbers is rounded to it again. Arithmetic with them takes twice
the time on an AMD Zen 4, and more where the processor hands it to microcode. JAX flushes them too.
"""

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.simd import host_features

# Bits of the control and status register of x86's vector units: results that are denormal become
# zeros, operands that are denormal count as zeros.
_FLUSH_TO_ZERO = 1 << 15
_DENORMALS_ARE_ZEROS = 1 << 6

_X86 = "sse2" in host_features()
_I32, _I64 = ir.IntType(32), ir.IntType(64)


def _register(builder, name, place):
    """Call the instruction that writes the register to a place in memory, or reads it back."""
    pointer = ir.IntType(8).as_pointer()
    function_type = ir.FunctionType(ir.VoidType(), [pointer])
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.x86.sse.{name}")
    builder.call(function, [builder.bitcast(place, pointer)])


@intrinsic
def flush_denormals(typingctx):
    """Take denormal numbers for zeros in this thread; return what `restore_denormals` needs.

    Other processors than x86 take no harm from denormal numbers, and are left alone.
    """

    def codegen(context, builder, signature, args):
        if not _X86:
            return _I64(0)
        place = cgutils.alloca_once(builder, _I32)
        _register(builder, "stmxcsr", place)
        before = builder.load(place)
        builder.store(builder.or_(before, _I32(_FLUSH_TO_ZERO | _DENORMALS_ARE_ZEROS)), place)
        _register(builder, "ldmxcsr", place)
        return builder.zext(before, _I64)

    return types.int64(), codegen


@intrinsic
def restore_denormals(typingctx, before):
    """Undo `flush_denormals`, which has returned `before`."""

    def codegen(context, builder, signature, args):
        if _X86:
            place = cgutils.alloca_once(builder, _I32)
            builder.store(builder.trunc(args[0], _I32), place)
            _register(builder, "ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


if numba.config.DISABLE_JIT:

    def flush_denormals():
        return 0

    def restore_denormals(before):
        pass
