"""init="data": each unit's product with the rows has variance 1, and its kink lies among them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import MLP, RNN, Adam, Categorical, Numeric, fit_many
from fastmlp.data_initialization import draw_by_data
from fastmlp.objective import Objective


def table(n=300):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 6)) * [1, 3, 0.5, 1, 2, 1] + 1
    X[:, 5] = rng.integers(0, 4, n)
    return X, rng.integers(0, 3, n)


def network(**pieces):
    options = {"init": "data", "output": "softmax", "dtype": "float64", "seed": 0}
    return MLP([6, 8, 7, 3], **(options | pieces))


def drawn(net):
    X, y = table()
    draw_by_data(net, Objective(net, X, y), np.random.default_rng(1))
    return net, X


def test_products_of_every_layer_have_variance_one_and_kinks_among_the_rows():
    net, a = drawn(network(activation="tanh"))
    for layer, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        z = a @ W
        assert_allclose(z.std(axis=0), 1, rtol=1e-10)  # float64, one division
        # A convex combination lies between the least and the largest.
        assert ((z.min(axis=0) <= -b) & (-b <= z.max(axis=0))).all()
        a = np.tanh(z + b) if layer < 2 else z


def test_inputs_members_and_norms_are_looked_through():
    inputs = [Categorical(5, 4), Numeric([0, 1], "periodic")]
    net, X = drawn(network(inputs=inputs, members=3, norm="layer", activation="relu"))
    codes = X[:, 5].astype(int)
    # The first layer's inputs: plain columns, then periodic ones, then one-hot rows of W.
    before = MLP([6, 8, 7, 3], inputs=inputs, dtype="float64", seed=0, members=3)
    names = [name for name, _ in net.parameters]
    assert [name for name, _ in before.parameters if "norm" not in name] == [
        name for name in names if "norm" not in name
    ]
    W = net.weights[0]
    assert W.shape == (3 + 8 + 4, 8)
    assert net.biases[0].shape == (3, 8)
    assert np.unique(net.biases[0]).size == 24
    used = W[11:][codes]  # what the one-hot column adds to each row
    assert np.isfinite(used).all()
    assert all(b.any() for b in net.biases)


def test_a_column_of_equal_numbers_is_no_obstacle():
    net = network()
    X, y = table()
    X[:] = 2.0
    draw_by_data(net, Objective(net, X, y), np.random.default_rng(0))
    assert np.isfinite(net.theta).all()


def test_the_first_fit_draws_and_later_ones_go_on():
    X, y = table()
    net = network()
    still = {"optimizer": Adam(learning_rate=1e-300), "epochs": 1}
    net.fit(X, y, seed=3, **still)
    first = net.theta.copy()
    assert not np.array_equal(first, network().theta)
    net.fit(X, y, seed=4, **still)
    assert_array_equal(net.theta, first)
    again = network()
    again.fit(X, y, seed=3, **still)
    assert_array_equal(again.theta, first)
    assert_array_equal(net.copy().theta, first)


def test_the_seed_of_a_fit_decides_also_among_many_and_in_a_resumed_one(tmp_path):
    X, y = table()
    nets = [network(), network()]
    fit_many(nets, X, y, seeds=[5, 6], epochs=2)
    alone = network()
    alone.fit(X, y, seed=5, epochs=2, n_threads=1)
    assert_array_equal(nets[0].theta, alone.theta)
    assert not np.array_equal(nets[0].theta, nets[1].theta)
    resumed = network()
    for epochs in (1, 2):
        resumed.fit(X, y, seed=5, epochs=epochs, checkpoint=tmp_path / "fit")
    assert_array_equal(resumed.theta, alone.theta)


def test_it_is_kept_in_files_and_drawn_anew_by_redrawn(tmp_path):
    net = network()
    net.save(tmp_path / "net")
    assert MLP.load(tmp_path / "net").init == "data"
    X, y = table()
    net.fit(X, y, epochs=1, seed=0)
    assert not any(b.any() for b in net.redrawn(1).biases)


def test_a_recurrent_network_refuses_it():
    with pytest.raises(ValueError, match=r"init must .*'data'"):
        RNN([2, 3, 1], init="data")
