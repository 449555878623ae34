"""JAX's fits: all epochs in one jit, steps in lax.scan; networks by vmap.

The orders of the rows are drawn beforehand, and are no part of the figure.
"""

import time
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from asv_bench.benchmarks import small
from asv_bench.peers import time_jax

tree = jax.tree_util.tree_map


def fit(task, epochs):
    """What makes a fit, with one vector of parameters or an array a layer, as is faster."""
    return _faster(_fit(task, epochs, 1, is_flat, by_map=True) for is_flat in (True, False))


def many(task, epochs):
    """What fits many networks, each with its own orders.

    By vmap, with one vector of parameters or an array a layer, or one network after the other.
    """
    ways = (True, False), (False, False), (False, True)
    return _faster(_fit(task, epochs, small.N_NETWORKS, *way) for way in ways)


def _faster(runs):
    """The one that takes the least time, once all is compiled."""
    seconds = {}
    for run in runs:
        run()
        began = time.perf_counter()
        run()
        seconds[run] = time.perf_counter() - began
    return min(seconds, key=seconds.get)


def _fit(task, epochs, n_networks, is_flat, by_map):
    data = tuple(jnp.asarray(array) for array in task.data())
    n_rows, batch = len(data[0]), task.batch or len(data[0])
    whole = n_rows // batch * batch
    rng = np.random.default_rng(0)
    networks = [_start(task.sizes, rng) for _ in range(n_networks)]
    unravel = ravel_pytree(networks[0])[1] if is_flat else lambda layers: layers
    starts = [ravel_pytree(network)[0] for network in networks] if is_flat else networks
    starts = tree(lambda *arrays: jnp.stack(arrays), *starts)
    orders = jnp.asarray(_orders(rng, n_networks, epochs, n_rows), jnp.int32)

    def loss_of(params, rows):
        taken = data if task.batch is None else tree(lambda array: array[rows], data)
        return time_jax.loss(task, unravel(params), *taken)

    def step(carry, rows):
        params, m, v, t = carry
        g = jax.grad(loss_of)(params, rows)
        t = t + 1
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        # The bias corrections are multiplied out, which saves two divisions a parameter.
        root = jnp.sqrt(1 - 0.999**t)
        rate = 1e-3 * root / (1 - 0.9**t)
        return (
            tree(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8 * root), params, m, v),
            m,
            v,
            t,
        ), None

    def epoch(carry, order):
        carry, _ = jax.lax.scan(step, carry, order[:whole].reshape(-1, batch))
        return carry if whole == n_rows else step(carry, order[whole:])[0], None

    def network(params, orders):
        zeros = tree(jnp.zeros_like, params)
        return jax.lax.scan(epoch, (params, zeros, zeros, jnp.float32(0)), orders)[0][0]

    several = (
        (lambda *given: jax.lax.map(lambda one: network(*one), given))
        if by_map
        else jax.vmap(network)
    )
    compiled = jax.jit(several)
    return lambda: jax.block_until_ready(compiled(starts, orders))


def _orders(rng, n_networks, epochs, n_rows):
    return rng.permuted(np.tile(np.arange(n_rows), (n_networks, epochs, 1)), axis=2)


def _start(sizes, rng):
    return [
        (
            jnp.asarray(rng.standard_normal((n_in, n_out)) * np.sqrt(2 / n_in), jnp.float32),
            jnp.zeros(n_out, jnp.float32),
        )
        for n_in, n_out in pairwise(sizes)
    ]
