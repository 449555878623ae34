"""Copies of what kernels view, which tests may keep."""

import numpy as np
from numba.extending import register_jitable

from fastmlp.kernels.view import vector


@register_jitable
def copied(view):
    """Array of its own with the elements of a view."""
    flat = vector(view, 0, view.size)
    elements = np.empty(flat.size, view.dtype)
    for i in range(flat.size):
        elements[i] = flat[i]
    return elements.reshape(view.shape)
