"""The time within a kernel."""

import sys
import time

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I32, _I64, _DOUBLE = ir.IntType(32), ir.IntType(64), ir.DoubleType()


@intrinsic
def seconds(typingctx):
    """Seconds since some moment in the past, of a clock that nobody sets."""

    def codegen(context, builder, signature, args):
        return (_windows if sys.platform == "win32" else _posix)(builder)

    return types.float64(), codegen


def _posix(builder):
    now = cgutils.alloca_once(builder, ir.LiteralStructType([_I64, _I64]))
    function_type = ir.FunctionType(_I32, [_I32, now.type])
    function = cgutils.get_or_insert_function(builder.module, function_type, "clock_gettime")
    builder.call(function, [_I32(time.CLOCK_MONOTONIC), now])
    whole, nano = (
        builder.sitofp(builder.load(builder.gep(now, [_I32(0), _I32(field)])), _DOUBLE)
        for field in range(2)
    )
    return builder.fadd(whole, builder.fmul(nano, _DOUBLE(1e-9)))


def _windows(builder):
    numbers = []
    for name in ("QueryPerformanceCounter", "QueryPerformanceFrequency"):
        place = cgutils.alloca_once(builder, _I64)
        function_type = ir.FunctionType(_I32, [place.type])
        function = cgutils.get_or_insert_function(builder.module, function_type, name)
        builder.call(function, [place])
        numbers.append(builder.sitofp(builder.load(place), _DOUBLE))
    return builder.fdiv(*numbers)


if numba.config.DISABLE_JIT:

    def seconds():
        return time.monotonic()
