"""Starting weights that look at the data: the first fit of a network with init="data" draws them.

Layer by layer, weights are drawn from N(0, 1) and scaled so that each unit's product with the rows
has variance 1. Each bias takes away a random convex combination of these products, so that the kink
of the unit's activation lies among the rows: Holzmüller et al. (2024), Better by default,
https://arxiv.org/abs/2407.04491, appendix A.
"""

import numpy as np

from fastmlp.building import build
from fastmlp.prediction import outputs_after

# Rows that are looked at, a random choice of more, and rows of which a bias is a combination.
MOST_ROWS = 2048
N_COMBINED = 5


def awaits_data(net):
    """Whether a network's weights are still to be drawn by data: its biases are all 0, as drawn."""
    return net.init == "data" and not any(biases.any() for biases in net.biases)


def draw_by_data(net, objective, rng):
    """Overwrite the weights and biases of all layers, by rows of an objective's samples."""
    n_rows = objective.n_rows
    chosen = np.arange(n_rows)
    if n_rows > MOST_ROWS:
        chosen = np.sort(rng.choice(n_rows, MOST_ROWS, replace=False))
    X, _, _ = objective.take(chosen)
    program = net._program or build(net._architecture())
    tied = {later - 1 for later, _ in net._pieces.tied}
    for layer, (n_steps, n_active) in enumerate(program.products):
        weights, biases = net.weights[layer], net.biases[layer]
        if layer not in tied:
            weights[:] = rng.standard_normal(weights.shape) / np.sqrt(n_active)
        products = outputs_after(net, program, n_steps, X).astype(np.float64)
        n_members = products.shape[1]
        if layer not in tied:
            axes = (0,) if weights.ndim == 3 else (0, 1)
            deviation = products.std(axis=axes)
            deviation = np.where(deviation > 0, deviation, 1.0)
            weights /= deviation[:, np.newaxis] if weights.ndim == 3 else deviation
            products /= deviation
        combined = _combinations(rng, products)
        biases[:] = -(combined if n_members > 1 else combined[0])


def _combinations(rng, products):
    """A random convex combination of the rows of `products`, for each member and unit."""
    n_rows, n_members, n_units = products.shape
    shares = rng.exponential(size=(N_COMBINED, n_members, n_units))
    shares /= shares.sum(axis=0)
    rows = rng.integers(0, n_rows, shares.shape)
    return (shares * np.take_along_axis(products, rows, axis=0)).sum(axis=0)
