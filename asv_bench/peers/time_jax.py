"""JAX: a whole epoch in one jit, its steps in lax.scan, optax's formulas written out."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from asv_bench.peers.clock import SECONDS_PER_RUN, fastest_call, fastest_epoch

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def measure(task, n_threads):
    """Seconds of a step or call; the environment has set the threads."""
    if task.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    workload = task.workload
    # The data are on the device, and arguments: as constants they would be compiled in.
    X, y = (jnp.asarray(array) for array in task.data())
    rng = np.random.default_rng(0)
    params = [
        (
            jnp.asarray(rng.standard_normal((n_in, n_out)) * np.sqrt(2 / n_in), task.dtype),
            jnp.zeros(n_out, task.dtype),
        )
        for n_in, n_out in pairwise(workload.sizes)
    ]
    if task.kind == "train":
        # One vector of parameters makes an update one loop, arrays a layer make products simple:
        # which is faster depends on the network, by up to a factor of ten.
        flat, unravel = ravel_pytree(params)

        def loss_of_flat(flat, batch, t):
            return loss(workload, unravel(flat), *batch)

        def loss_of(params, batch, t):
            return loss(workload, params, *batch)

        return min(
            train(workload, flat, loss_of_flat, (X, y), SECONDS_PER_RUN / 2),
            train(workload, params, loss_of, (X, y), SECONDS_PER_RUN / 2),
        )
    if task.kind == "predict":
        softmax = workload.output == "softmax"
        predict = jax.jit(lambda params, X: _maybe_softmax(forward(workload, params, X), softmax))
        return fastest_call(lambda: jax.block_until_ready(predict(params, X)))
    gradient = jax.jit(jax.value_and_grad(lambda params, X, y: loss(workload, params, X, y)))
    return fastest_call(lambda: jax.block_until_ready(gradient(params, X, y)))


def forward(workload, params, X):
    """Outputs before the output activation."""
    for W, b in params[:-1]:
        X = ACTIVATIONS[workload.activation](X @ W + b)
    return X @ params[-1][0] + params[-1][1]


def _maybe_softmax(z, softmax):
    return jax.nn.softmax(z) if softmax else z


def loss(workload, params, X, y):
    """The mean loss of the rows."""
    z = forward(workload, params, X)
    if workload.output == "softmax":
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()
    return 0.5 * jnp.square(z - y).sum(1).mean()


def train(workload, params, loss_of, data, seconds):
    """Seconds of a step.

    Parameters
    ----------
    params : pytree
        All parameters.
    loss_of : callable
        The loss by the parameters, rows of the data, and the number of updates before, which
        Adam counts.
    data : tuple of arrays
    """
    tree = jax.tree_util.tree_map

    def update(carry, batch):
        params, m, v, t = carry
        g = jax.grad(loss_of)(params, batch, t)
        if workload.optimizer == "momentum":
            m = tree(lambda m, g: 0.9 * m + g, m, g)
            return tree(lambda p, m: p - 0.01 * m, params, m), m, v, t
        t = t + 1
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        # The bias corrections are multiplied out, which saves two divisions a parameter.
        root = jnp.sqrt(1 - 0.999**t)
        rate = 1e-3 * root / (1 - 0.9**t)
        step = tree(lambda m, v: rate * m / (jnp.sqrt(v) + 1e-8 * root), m, v)
        if workload.optimizer == "adamw":
            params = tree(lambda p: (1 - 1e-3 * 0.01) * p, params)
        return tree(lambda p, step: p - step, params, step), m, v, t

    def epoch(carry, data, order):
        if workload.batch is None:
            return update(carry, data)

        def step(carry, rows):
            return update(carry, tree(lambda array: array[rows], data)), None

        return jax.lax.scan(step, carry, order)[0]

    compiled = jax.jit(epoch, donate_argnums=0)
    carry = (tree(jnp.copy, params), *(tree(jnp.zeros_like, params) for _ in "mv"), jnp.float32(0))
    rng = np.random.default_rng(0)

    def run_epoch():
        nonlocal carry
        order = None
        if workload.batch is not None:
            order = rng.permutation(len(data[0])).astype(np.int32).reshape(workload.steps, -1)
        carry = jax.block_until_ready(compiled(carry, data, order))

    return fastest_epoch(run_epoch, seconds) / workload.steps
