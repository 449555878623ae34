"""Whether all of an array is finite: a pass over it that costs no memory and little time."""

from fastmlp.kernels._jit import entry, loop


@loop
def all_finite(x):
    """Return whether no element of the vector `x` is NaN or infinite."""
    n_bad = 0
    zero = x.dtype.type(0.0)
    for i in range(x.size):
        # x - x is 0 for a finite number, else NaN. Counting keeps the loop free of branches.
        n_bad += 0 if x[i] - x[i] == zero else 1
    return n_bad == 0


@entry
def finite(x):
    """Return whether no element of the contiguous vector `x` is NaN or infinite."""
    return all_finite(x)
