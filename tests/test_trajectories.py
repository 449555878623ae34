"""Ten steps of every stochastic optimizer, from the same theta, data and order, against torch's."""

import numpy as np
import pytest
import torch_trajectories as torchs
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import MLP
from fastmlp.optimizers import BY_NAME, parse

every_method = pytest.mark.parametrize("written", torchs.METHODS)

# Roundings of 1e-16, times a hundred thousand where a component of the first gradient cancels to
# 5e-7: a quotient like g / sqrt(s) has the relative error of g, here 2e-10.
ROUND_OFF = 1e-11


def trajectory(written, theta, X, y):
    """Theta after each step of our optimizer: the k-th is what k mini-batches come to."""
    path = []
    for n_steps in range(1, torchs.N_STEPS + 1):
        rows = n_steps * torchs.BATCH_SIZE
        net = MLP(torchs.SIZES, activation="tanh", output="softmax", dtype="float64")
        net.theta[:] = theta
        net.fit(
            X[:rows],
            y[:rows],
            optimizer=written,
            epochs=1,
            batch_size=torchs.BATCH_SIZE,
            shuffle=False,
            l2=torchs.L2,
        )
        path.append(net.theta.copy())
    return np.array(path)


@every_method
def test_ten_steps_equal_those_that_torch_once_took(written):
    theta, X, y, golden = torchs.read_golden()
    assert_allclose(trajectory(written, theta, X, y), golden[written], rtol=0, atol=ROUND_OFF)


@every_method
def test_ten_steps_equal_those_of_torch(written):
    pytest.importorskip("torch")
    theta, X, y = torchs.problem()
    expected = torchs.torch_trajectory(written, theta, X, y)
    assert_allclose(trajectory(written, theta, X, y), expected, rtol=0, atol=ROUND_OFF)


@every_method
def test_factors_are_learning_rates_of_torchs_groups(written):
    pytest.importorskip("torch")
    theta, X, y = torchs.problem()
    factors = (0.6, 0.1)
    expected = torchs.torch_trajectory(written, theta, X, y, factors)
    ours = written.removesuffix(")") + ", factors={'weights': 0.6, 'bias': 0.1})"
    assert_allclose(trajectory(ours, theta, X, y), expected, rtol=0, atol=ROUND_OFF)
    plain = torchs.torch_trajectory(written, theta, X, y)
    assert np.abs(expected - plain).max() > 1e-3


def test_the_kept_trajectories_are_of_the_problem_as_it_is():
    theta, X, y, golden = torchs.read_golden()
    for kept, made in zip((theta, X, y), torchs.problem(), strict=True):
        assert_array_equal(kept, made)
    assert list(golden) == list(torchs.METHODS)
    assert {type(parse(written, BY_NAME)) for written in golden} == set(BY_NAME.values())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "sgd(learning_rate=0.05, momentum=0.9)",
            "sgd(learning_rate=0.05, momentum=0.9, nesterov=True)",
        ),
        ("adam(learning_rate=0.05)", "nadam(learning_rate=0.05)"),
        ("nadam(learning_rate=0.05)", "nadam(learning_rate=0.05, momentum_decay=0.5)"),
        ("adam(learning_rate=0.05)", "adamw(learning_rate=0.05, weight_decay=0.05)"),
    ],
)
def test_round_off_is_far_from_what_the_variants_differ_by(one, other):
    golden = torchs.read_golden()[-1]
    assert np.abs(golden[one] - golden[other]).max() > 1e-4
