"""A box that the parameters stay in."""

import numpy as np

from fastmlp.validation import check_unmasked


def check_bounds(bounds, size=None):
    """Check a pair of lower and upper bounds; return it as two float64 arrays.

    Raises
    ------
    ValueError, TypeError
        If they are no pair of numbers or of arrays of one length (`size` if given), hold NaN,
        or a lower bound exceeds its upper one.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.solvers import check_bounds
    >>> check_bounds((0, [1.0, np.inf]), size=2)
    (array(0.), array([ 1., inf]))
    """
    check_unmasked("bounds", bounds)
    try:
        low, high = (np.asarray(b, np.float64) for b in bounds)
    except (TypeError, ValueError):
        raise TypeError(
            f"bounds must be a pair (low, high) of numbers or arrays, got {bounds!r}"
        ) from None
    for b in (low, high):
        if b.ndim > 1 or (b.ndim == 1 and size is not None and b.size != size):
            raise ValueError(
                f"bounds must be numbers or arrays of the shape ({size or 'n_params'},), "
                f"got {b.shape}"
            )
        if np.isnan(b).any():
            raise ValueError("bounds must not be NaN")
    if low.ndim and high.ndim and low.shape != high.shape:
        raise ValueError(f"bounds must be of one length, got {low.size} and {high.size}")
    if (low > high).any():
        raise ValueError("bounds must have every low at most its high")
    return low, high
