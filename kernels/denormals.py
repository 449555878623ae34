"""Denormal numbers taken for zeros, as long as a sweep lasts.

Where a gradient stays zero, as behind a relu that no row switches on, momentum and Adam's mean
decay by a factor a step until they are denormal, below 1e-38 in float32, and remain there: 0.9
times the fourth smallest of all numbers is rounded to it again. Arithmetic with them takes twice
the time on an AMD Zen 4, and more where the processor hands it to microcode. JAX flushes them too.

ARM's processors lose no time with them, but have to give the same bits. They do, but for a result
that is denormal before it is rounded and would be the smallest normal number after: x86 keeps it.
"""

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Bits of the control and status register of x86's vector units: results that are denormal become
# zeros, operands that are denormal count as zeros.
_FLUSH_TO_ZERO = 1 << 15
_DENORMALS_ARE_ZEROS = 1 << 6

# The bit of AArch64's control register that does both.
_FLUSH_BOTH = 1 << 24

_I8, _I32, _I64 = (ir.IntType(bits) for bits in (8, 32, 64))


@intrinsic
def flush_denormals(typingctx):
    """Take denormal numbers for zeros in this thread; return what `restore_denormals` needs.

    On x86 and AArch64. Other processors are left alone.
    """

    def codegen(context, builder, signature, args):
        return emit_flush(builder)

    return types.int64(), codegen


@intrinsic
def restore_denormals(typingctx, before):
    """Undo `flush_denormals`, which has returned `before`."""

    def codegen(context, builder, signature, args):
        emit_restore(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def emit_flush(builder):
    """Emit what `flush_denormals` does, for the processor that the module is for."""
    processor = _processor(builder)
    if processor == "x86":
        place = cgutils.alloca_once(builder, _I32)
        _x86(builder, "stmxcsr", place)
        before = builder.load(place)
        builder.store(builder.or_(before, _I32(_FLUSH_TO_ZERO | _DENORMALS_ARE_ZEROS)), place)
        _x86(builder, "ldmxcsr", place)
        return builder.zext(before, _I64)
    if processor == "aarch64":
        before = _call(builder, "llvm.aarch64.get.fpcr", _I64)
        _call(
            builder, "llvm.aarch64.set.fpcr", ir.VoidType(), builder.or_(before, _I64(_FLUSH_BOTH))
        )
        return before
    return _I64(0)


def emit_restore(builder, before):
    """Emit what `restore_denormals` does, for the processor that the module is for."""
    processor = _processor(builder)
    if processor == "x86":
        place = cgutils.alloca_once(builder, _I32)
        builder.store(builder.trunc(before, _I32), place)
        _x86(builder, "ldmxcsr", place)
    elif processor == "aarch64":
        _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), before)


def _processor(builder):
    architecture = builder.module.triple.partition("-")[0]
    if architecture in {"x86_64", "i386", "i686"}:
        return "x86"
    return "aarch64" if architecture in {"aarch64", "arm64"} else None


def _x86(builder, name, place):
    """Call the instruction that writes the register to a place in memory, or reads it back."""
    pointer = builder.bitcast(place, _I8.as_pointer())
    _call(builder, f"llvm.x86.sse.{name}", ir.VoidType(), pointer)


def _call(builder, name, result, *arguments):
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, arguments)


if numba.config.DISABLE_JIT:

    def flush_denormals():
        return 0

    def restore_denormals(before):
        pass
