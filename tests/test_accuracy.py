"""What a network trained in the usual way reaches on real digits."""

import os
from pathlib import Path

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp.datasets import load_idx

MNIST = Path(
    os.environ.get("FASTMLP_MNIST") or Path(__file__).parents[2] / "shared" / "data" / "mnist"
)

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="too slow without the JIT")


def mnist(shape):
    """Images of training and test, as rows of a shape, and their labels."""
    if not MNIST.is_dir():
        pytest.skip(f"no MNIST files: set FASTMLP_MNIST to their folder ({MNIST} is not there)")
    images = [
        load_idx(MNIST / f"{part}-images-idx3-ubyte.gz").reshape(-1, *shape) / np.float32(255)
        for part in ("train", "t10k")
    ]
    return *images, *(
        load_idx(MNIST / f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")
    )


@pytest.mark.mnist
def test_mnist_784_100_10():
    """scikit-learn's bench_mnist.py has 97.7 to 97.8% for (100, 100) and Adam."""
    X, X_test, y, y_test = mnist((784,))
    net = fastmlp.MLP([784, 100, 10], output="softmax", seed=0)
    net.fit(X, y, optimizer=fastmlp.Adam(), batch_size=200, epochs=10, seed=0)
    assert (net.predict(X_test).argmax(axis=1) == y_test).mean() >= 0.973


@pytest.mark.mnist
def test_mnist_row_by_row():
    """A recurrent network that sees the 28 rows of an image one after the other.

    Three seeds of the network and of the order had 96.4 to 96.5%.
    """
    X, X_test, y, y_test = mnist((28, 28))
    net = fastmlp.RNN([28, 64, 10], output="softmax", seed=0)
    rate = fastmlp.CosineAnnealing(0.003, period=5 * 938, per="update", restarts=False)
    net.fit(X, y, optimizer=fastmlp.Adam(rate), batch_size=64, epochs=5, seed=0)
    assert (net.predict(X_test).argmax(axis=1) == y_test).mean() >= 0.96


@pytest.mark.parametrize(
    ("optimizer", "epochs"),
    [(fastmlp.Adam(3e-3), 40), (fastmlp.LBFGS(), 200)],
    ids=["adam", "lbfgs"],
)
@pytest.mark.parametrize("seed", range(3))
def test_digits_held_out_fifth(optimizer, epochs, seed):
    X, y = fastmlp.datasets.load_digits()
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[:1438], order[1438:]
    net = fastmlp.MLP([64, 64, 32, 10], output="softmax", seed=seed)
    net.fit(X[train], y[train], optimizer=optimizer, epochs=epochs, l2=1e-4, seed=seed)
    assert (net.predict(X[test]).argmax(axis=1) == y[test]).mean() >= 0.965
