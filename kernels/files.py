"""Runs of bytes from a file into memory, by several threads and without Python in between.

A hundred kilobytes of a file that the system has in its cache are copied in some 20 microseconds:
in that time threads of Python hand each other the interpreter, and do little else.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels._jit import entry, prange
from fastmlp.kernels.finite import all_finite
from fastmlp.kernels.view import vector

# What became of a run.
READ, NOT_FINITE, SHORT = range(3)

_I8, _I32, _I64 = (ir.IntType(bits) for bits in (8, 32, 64))


@intrinsic
def pread(typingctx, descriptor, position, out, start, size):
    """Read `size` bytes of a file into the array `out`, from its element `start` on.

    Returns how many bytes there were, or -1: it is the function of POSIX, which leaves the file's
    own position alone.
    """

    def codegen(context, builder, signature, args):
        descriptor, position, out, start, size = args
        array = context.make_array(signature.args[2])(context, builder, out)
        data = builder.bitcast(builder.gep(array.data, [start]), _I8.as_pointer())
        kind = ir.FunctionType(_I64, [_I32, _I8.as_pointer(), _I64, _I64])
        function = cgutils.get_or_insert_function(builder.module, kind, "pread")
        return builder.call(function, [builder.trunc(descriptor, _I32), data, size, position])

    return types.int64(types.int64, types.int64, out, types.int64, types.int64), codegen


@entry
def read_runs(descriptor, runs, out, outcomes):
    """Read runs of bytes from the file with this descriptor.

    Parameters
    ----------
    descriptor : int
    runs : (k, 3) int64
        Where a run begins in the file, its bytes, and the element of `out` that it goes to.
    out : vector of float32, float64 or, where nobody is to look at the numbers, uint8
        Overwritten.
    outcomes : (k,) int64
        Overwritten, for each run: `READ`, `NOT_FINITE` if a number of it is NaN or infinite, or
        `SHORT` if fewer bytes came.
    """
    for i in prange(runs.shape[0]):
        position, size, start = runs[i, 0], runs[i, 1], runs[i, 2]
        outcomes[i] = READ
        if pread(descriptor, position, out, start, size) != size:
            outcomes[i] = SHORT
        elif not all_finite(vector(out, start, size // out.itemsize)):
            outcomes[i] = NOT_FINITE
