"""Marks that test files share, and whether kernels run as plain Python."""

import numba
import pytest

# With NUMBA_DISABLE_JIT=1, a thousand times slower: on smaller data, and not everything.
INTERPRETED = bool(numba.config.DISABLE_JIT)

compiled_only = pytest.mark.skipif(
    INTERPRETED, reason="about compiled code, or takes long without the compiler"
)
both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])
