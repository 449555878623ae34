"""Digits that float32 has no room for: what becomes of them is told once."""

import numpy as np

from fastmlp.callers import warn
from fastmlp.validation import as_real

# A column is looked at if its range holds fewer numbers of the dtype than this. In a wider one two
# values may meet as well, by chance even among 10,000 random ones, but all that is lost is the
# 65,536th part of the range. Not so if most of its values are close together, as where one number
# is far from the others: then fewer than half of them are left, of as many rows as are looked at.
_FEWEST_STEPS = 1 << 16
_ROWS_LOOKED_AT = 10_000
_MOST_SHOWN = 3


def warn_of_merged(dtype, X, y=None, columns=None, target=None):
    """Warn if rounding to `dtype` merges distinct values of a column whose range is narrow.

    Points in time do so in float32: of 400 seconds that follow each other it keeps 4.

    Parameters
    ----------
    dtype : np.dtype
        Of the network.
    X : array_like, (n, n_columns)
    y : array_like, (n,) or (n, n_out), or None
    columns : sequence of str or None, default None
        Names of the columns of X; None are those of a data frame, or their numbers.
    target : str or None, default None
        Name of y's column.
    """
    if columns is None:
        columns = getattr(X, "columns", None)

    def feature(column):
        return f"column {column if columns is None else repr(str(columns[column]))}"

    def output(column):
        if target is not None:
            return f"column {target!r}"
        return "y" if np.ndim(y) == 1 else f"column {column} of y"

    found = [
        f"{name(column)} keeps {n_left} of its {n_values}"
        for argument, values, name in (("X", X, feature), ("y", y, output))
        if values is not None
        for column, n_values, n_left in _merged(as_real(argument, values), dtype)
    ]
    if found:
        more = len(found) - _MOST_SHOWN
        shown = ", ".join(found[:_MOST_SHOWN]) + (f", and {more} more columns" if more > 0 else "")
        warn(
            f"rounding to {dtype} merges distinct values: {shown}; subtract what the values of a "
            "column have in common, or take float64"
        )


def is_merged(dtype, X):
    """Whether rounding to `dtype` merges distinct values of a column, as `warn_of_merged` tells."""
    return bool(_merged(X, dtype))


@np.errstate(all="ignore")  # what is not finite is refused elsewhere
def _merged(array, dtype):
    """Columns with values that `dtype` merges: number, distinct values before and after."""
    if array.dtype == dtype:
        return []
    # Of sequences the columns are those of a step.
    table = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array[:, np.newaxis]
    lowest = table.min(axis=0).astype(np.float64)
    highest = table.max(axis=0).astype(np.float64)
    largest = np.maximum(np.abs(lowest), np.abs(highest))
    span = (highest - lowest) / np.spacing(largest.astype(dtype))
    merged = []
    for column in np.flatnonzero(span > 0):
        if span[column] >= _FEWEST_STEPS:
            n_values, n_left = _distinct(table[:_ROWS_LOOKED_AT, column], dtype)
            if 2 * n_left >= n_values:
                continue
        n_values, n_left = _distinct(table[:, column], dtype)
        if n_left < n_values:
            merged.append((int(column), n_values, n_left))
    return merged


def _distinct(values, dtype):
    """How many distinct values there are, and how many are left in a dtype."""
    values = np.unique(values)
    return values.size, np.unique(values.astype(dtype)).size
