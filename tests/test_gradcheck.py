"""check_gradient finds what is wrong with a gradient and passes what is right."""

import numpy as np
import pytest
from marks import both_precisions

import fastmlp
from fastmlp.objective import Objective


def small_problem(output="softmax", dtype="float32"):
    rng = np.random.default_rng(0)
    net = fastmlp.MLP([5, 7, 6, 3], activation=["tanh", "gelu"], output=output, dtype=dtype, seed=1)
    return net, rng.normal(size=(20, 5)), rng.integers(0, 3, 20)


@both_precisions
def test_right_gradient_passes_in_every_block(dtype):
    net, X, y = small_problem(dtype=dtype)
    weight = np.linspace(0.5, 2.0, 20)
    check = fastmlp.check_gradient(net, X, y, sample_weight=weight, l2=0.1)
    assert list(check.errors) == [f"{b}[{i}]" for i in range(3) for b in ("weights", "biases")]
    assert check.passed
    assert check.largest < 1e-7  # J eps / step = 2e-10 a component, of gradients down to 0.01


def test_wrong_gradient_fails_and_names_the_block(monkeypatch):
    net, X, y = small_problem()
    right = Objective.value_and_grad

    def wrong(self, *args):
        value, gradient = right(self, *args)
        gradient = gradient.copy()
        gradient[5 * 7 : 5 * 7 + 7] *= 1.01  # the biases of the first layer
        return value, gradient

    monkeypatch.setattr(Objective, "value_and_grad", wrong)
    check = fastmlp.check_gradient(net, X, y)
    assert not check.passed
    assert [name for name, error in check.errors.items() if error > 1e-6] == ["biases[0]"]
    assert check.errors["biases[0]"] == pytest.approx(0.01, rel=0.02)
    assert "WRONG" in str(check)


def test_network_is_left_alone():
    net, X, y = small_problem()
    before = net.theta.copy()
    fastmlp.check_gradient(net, X, y, max_params=3)
    assert np.array_equal(net.theta, before)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("step", 0), ("tolerance", -1.0), ("max_params", 0), ("step", "a"), ("seed", -1)],
)
def test_bad_arguments_are_named(argument, value):
    net, X, y = small_problem()
    with pytest.raises((ValueError, TypeError), match=argument):
        fastmlp.check_gradient(net, X, y, **{argument: value})
