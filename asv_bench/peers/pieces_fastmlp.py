"""fastmlp: networks with pieces."""

import numpy as np

import fastmlp
from asv_bench.peers.networks import ONE_HOT
from asv_bench.peers.time_fastmlp import train


def measure(task, n_threads):
    """Seconds of a step."""
    fastmlp.warmup((task.dtype,))
    network = task.workload
    return train(build(network), *network.data(), network, n_threads)


def build(network):
    """The network of a `networks.Network`."""
    options = {"activation": network.activation, "output": network.output, "seed": 0}
    if network.length:
        return fastmlp.RNN(network.sizes, **options)
    if network.norm:
        options["norm"] = "layer"
    if network.categories:
        n = network.n_periodic
        options["inputs"] = [
            *([fastmlp.Numeric(range(n), embedding="periodic", size=4)] if n else []),
            *(
                fastmlp.Categorical(column, n_categories, size=network.embedding)
                for column, n_categories in enumerate(network.categories, start=n)
            ),
        ]
    return fastmlp.MLP(network.sizes, dropout=network.dropout, members=network.members, **options)


def one_hot(dense, n_rows=ONE_HOT.n_rows):
    """The network ONE_HOT and data, with its columns gathered or as a dense matrix."""
    X, y = (array[:n_rows] for array in ONE_HOT.data())
    if not dense:
        return build(ONE_HOT), X, y
    _, codes = ONE_HOT.split(X)
    dense_X = np.zeros((len(X), ONE_HOT.widths[0]), np.float32)
    np.put_along_axis(dense_X, codes, 1, axis=1)
    options = {"activation": ONE_HOT.activation, "output": ONE_HOT.output, "seed": 0}
    return fastmlp.MLP(ONE_HOT.widths, **options), dense_X, y


def one_hot_ratio(n_threads):
    """Seconds of a step on the dense matrix, of those with the columns gathered."""
    fastmlp.warmup()
    dense, gathered = (train(*one_hot(way), ONE_HOT, n_threads) for way in (True, False))
    return dense / gathered
