"""What every kernel is compiled with."""

import numba

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
