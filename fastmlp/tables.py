"""Tables of records, packed into the one vector that a kernel takes."""

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.records import numbers
from fastmlp.workspace import aligned_empty


def packed(parts):
    """Copy tables into one vector of int64, each on cache lines of its own.

    Parameters
    ----------
    parts : dict
        Tables by their numbers in `codes`, of records, int64 or float64.

    Returns
    -------
    tables : ndarray of int64
    views : dict
        The tables as they are in that vector, by the same numbers.
    """
    head = [0] * (2 * codes.N_TABLES)
    size = _whole_lines(len(head))
    for which, part in parts.items():
        head[2 * which : 2 * which + 2] = size, len(part)
        size += _whole_lines(numbers(part).size)
    tables = aligned_empty(size, np.int64)
    tables[: len(head)] = head
    views = {}
    for which, part in parts.items():
        start = head[2 * which]
        of_part = tables[start : start + numbers(part).size]
        of_part[:] = numbers(part)
        views[which] = of_part.view(part.dtype).view(type(part))
    return tables, views


def _whole_lines(size):
    """Elements of int64 in whole pairs of cache lines, as what a team writes is to have its own."""
    return -(-size // 16) * 16
