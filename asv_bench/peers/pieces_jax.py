"""JAX: networks with pieces, trained as in `time_jax`; the fastest of several ways counts."""

from itertools import product

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from asv_bench.peers.clock import SECONDS_PER_RUN
from asv_bench.peers.time_jax import train


def mish(x):
    """x tanh(log(1 + e^x)) with one exponential instead of three transcendental functions."""
    w = jnp.exp(jnp.minimum(x, 20))
    m = w * (w + 2)
    return x * m / (m + 2)


ACTIVATIONS = {"relu": jax.nn.relu, "silu": jax.nn.silu, "mish": mish, "tanh": jnp.tanh}

# Which generator of masks is the fastest, and how many steps of a recurrent layer are best taken
# at once, depends on the network.
GENERATORS = ("threefry2x32", "rbg", "unsafe_rbg")
UNROLLS = (1, 3, 27)


def measure(task, n_threads):
    """Seconds of a step; the environment has set the threads."""
    network = task.workload
    X, y = network.data()
    data = jax.tree.map(jnp.asarray, (*network.split(X), y))
    params = jax.tree.map(jnp.asarray, network.start())
    flat, unravel = ravel_pytree(params)

    def seconds(generator, unroll, start, tree_of):
        key = jax.random.key(0, impl=generator)

        def loss_of(params, batch, t):
            masks = jax.random.fold_in(key, t.astype(jnp.int32)) if network.dropout else None
            return loss(network, tree_of(params), *batch, key=masks, unroll=unroll)

        return train(network, start, loss_of, data, SECONDS_PER_RUN / 2)

    generators = GENERATORS if network.dropout else GENERATORS[:1]
    unrolls = UNROLLS if network.length else UNROLLS[:1]
    layouts = ((flat, unravel), (params, lambda params: params))
    return min(seconds(*way, *layout) for *way, layout in product(generators, unrolls, layouts))


def loss(network, params, *batch, key=None, unroll=1):
    """The mean loss of the rows; with dropout if there is a key."""
    *columns, y = batch
    z = forward(network, params, columns, key, unroll)
    if network.output == "softmax":
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()
    return 0.5 * jnp.square(z - y).sum(-1).mean()


def forward(network, params, columns, key, unroll):
    """Outputs before the output activation, (rows, n_out) or (members, rows, n_out)."""
    inputs, *hidden, top = params
    x = embedded(inputs, *columns) if network.categories else columns[0]
    for i, layer in enumerate(hidden):
        if network.length:
            x = last_state(network, layer, x, unroll)
            continue
        if network.members > 1:
            x = (x * layer["r"][:, None]) @ layer["W"] * layer["s"][:, None] + layer["b"][:, None]
        else:
            x = x @ layer["W"] + layer["b"]
        if network.norm:
            x = layer_norm(x) * layer["scale"] + layer["shift"]
        f = ACTIVATIONS[network.function](x)
        x = x + layer["alpha"] * (f - x) if network.is_parametric else f
        if key is not None:
            kept = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - network.dropout, x.shape)
            x = jnp.where(kept, x / (1 - network.dropout), 0)
    return x @ top["W"] + (top["b"][:, None] if network.members > 1 else top["b"])


def embedded(inputs, numbers, codes):
    """Numbers as sums of cosines and themselves, then categories as rows of a table."""
    n_rows = len(numbers)
    # Columns first make the sums a product for each, which need not be transposed before.
    numbers = numbers.T[:, :, None]
    frequencies = 2 * jnp.pi * inputs["frequencies"][:, None]
    waves = jnp.cos(frequencies * numbers + inputs["phases"][:, None])
    sums = waves @ inputs["W"] + inputs["b"][:, None]
    periodic = jnp.concatenate([sums, numbers], 2).swapaxes(0, 1)
    return jnp.concatenate(
        [periodic.reshape(n_rows, -1), inputs["table"][codes].reshape(n_rows, -1)], 1
    )


def layer_norm(x):
    """Rows with mean 0 and variance 1."""
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5)


def last_state(network, layer, x, unroll):
    """The state after the last row of each sequence; products with inputs are one for all rows."""
    activation = ACTIVATIONS[network.activation]
    given = x.swapaxes(0, 1) @ layer["W"] + layer["b"]

    def step(h, z):
        return activation(z + h @ layer["U"]), None

    return jax.lax.scan(step, activation(given[0]), given[1:], unroll=unroll)[0]
