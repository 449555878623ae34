"""Losses that users write: pairs of compiled functions."""

import numba
import numpy as np
import pytest
from marks import both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from safetensors import safe_open

from fastmlp import (
    LBFGS,
    MLP,
    RNN,
    Adam,
    MLPRegressor,
    Objective,
    Rows,
    Status,
    check_gradient,
    compare,
    fit_many,
    fit_parts,
)
from fastmlp.kernels._jit import second_way
from fastmlp.kernels.custom_loss import custom_loss
from fastmlp.kernels.view import View

pytestmark = compiled_only


@numba.njit
def half_square(output, target):
    error = output - target
    return np.sum(error * error) / 2


@numba.njit
def error_of(output, target):
    return output - target


# The squared error as a user writes it: what it gives must be what the library's own gives.
SQUARED = (half_square, error_of)


@numba.njit
def focal(output, target):
    """-(1 - p)^2 log p of the class with the index `target` (Lin et al., ICCV 2017)."""
    p = output[int(target[0])]
    return -((1 - p) ** 2) * np.log(p)


@numba.njit
def focal_gradient(output, target):
    found = np.zeros_like(output)
    k = int(target[0])
    p = output[k]
    found[k] = 2 * (1 - p) * np.log(p) - (1 - p) ** 2 / p
    return found


@numba.njit
def normal(output, target):
    """Minus the log-likelihood of a normal with a mean and a log deviation, both learnt."""
    z = (target[0] - output[0]) * np.exp(-output[1])
    return z * z / 2 + output[1]


@numba.njit
def normal_gradient(output, target):
    inverse = np.exp(-output[1])
    z = (target[0] - output[0]) * inverse
    return np.array([-z * inverse, 1 - z * z])


RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Y = np.column_stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]])
CLASSES = (X[:, 0] > 0) + (X[:, 1] > 0.5).astype(int)


def pair_of_networks(dtype="float64", sizes=(4, 6, 2), **given):
    return [MLP(sizes, dtype=dtype, seed=0, **given) for _ in range(2)]


@both_precisions
@pytest.mark.parametrize(
    "given", [{}, {"members": 3}, {"norm": "layer", "output": "tanh"}], ids=["plain", "3", "norm"]
)
def test_loss_and_gradient_are_those_of_the_same_loss_by_name(given, dtype):
    """To the bit but for the sum over a row's outputs, which NumPy adds up in its own order."""
    net = pair_of_networks(dtype, **given)[0]
    weights = RNG.uniform(size=len(X))
    options = {"sample_weight": weights, "l2": 0.1}
    value, gradient = net.loss_and_grad(X, Y, loss=SQUARED, **options)
    expected = net.loss_and_grad(X, Y, loss="squared_error", **options)
    assert_allclose(value, expected[0], rtol=1e-6 if dtype == "float32" else 1e-14)
    assert_array_equal(gradient, expected[1])
    assert net.loss(X, Y, loss=SQUARED, **options) == value


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("sizes", [(4, 6, 2), (4, 400, 400, 2)], ids=["little work", "teams"])
@pytest.mark.parametrize("optimizer", [Adam(), LBFGS()], ids=["Adam", "LBFGS"])
def test_a_fit_is_that_of_the_same_loss_by_name(optimizer, sizes, n_threads):
    ours, theirs = pair_of_networks("float32", sizes)
    options = {"optimizer": optimizer, "epochs": 2, "n_threads": n_threads, "seed": 0}
    options["validation_data"] = (X[:50], Y[:50])
    found = ours.fit(X, Y, loss=SQUARED, **options)
    expected = theirs.fit(X, Y, loss="squared_error", **options)
    # A value that differs in its last digit may end a line search elsewhere.
    assert_allclose(ours.theta, theirs.theta, rtol=1e-4, atol=1e-5)
    for name in ("objective", "validation_loss"):
        assert_allclose(found.trace[name], expected.trace[name], rtol=1e-4)


def test_class_indices_as_targets_of_several_outputs():
    net = MLP([4, 6, 3], output="softmax", activation="tanh", dtype="float64", seed=0)
    assert check_gradient(net, X, CLASSES, loss=(focal, focal_gradient)).passed
    p = net.predict(X)[np.arange(len(X)), CLASSES]
    expected = np.mean(-((1 - p) ** 2) * np.log(p))
    assert_allclose(net.loss(X, CLASSES, loss=(focal, focal_gradient)), expected, rtol=1e-13)


def test_one_target_of_two_outputs():
    """A network learns the deviation of noise that depends on x, and the mean."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, size=(2000, 1))
    y = x[:, 0] + np.exp(x[:, 0]) * rng.normal(size=2000)
    net = MLP([1, 8, 2], activation="tanh", seed=0)
    loss = (normal, normal_gradient)
    assert check_gradient(net, x[:50], y[:50], loss=loss).passed
    net.fit(x, y, loss=loss, optimizer=LBFGS(), epochs=100)
    mean, deviation = net.predict([[0.5]])[0]
    # Some 500 rows say what is at 0.5: to about 1.6/sqrt(500) and 1/sqrt(2 * 500).
    assert mean == pytest.approx(0.5, abs=0.25)
    assert deviation == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("sequence", ["last", "all"])
def test_sequences(sequence):
    rng = np.random.default_rng(2)
    sequences, lengths = rng.normal(size=(20, 5, 2)), rng.integers(1, 6, 20)
    net = RNN([2, 4, 2], sequence=sequence, dtype="float64", seed=0)
    shape = (20, 5, 2) if sequence == "all" else (20, 2)
    targets = rng.normal(size=shape)
    found = net.loss_and_grad(sequences, targets, loss=SQUARED, lengths=lengths)
    expected = net.loss_and_grad(sequences, targets, loss="squared_error", lengths=lengths)
    assert_allclose(found[0], expected[0], rtol=1e-14)
    assert_array_equal(found[1], expected[1])


def test_two_losses_with_functions_of_one_source_are_told_apart():
    """A closure is compiled for each, and none is found where that of another was kept."""

    def scaled(factor):
        @numba.njit
        def value(output, target):
            return factor * np.sum((output - target) ** 2)

        @numba.njit
        def gradient(output, target):
            return 2 * factor * (output - target)

        return value, gradient

    net = pair_of_networks()[0]
    once, thrice = (net.loss(X, Y, loss=scaled(factor)) for factor in (1.0, 3.0))
    assert_allclose(thrice, 3 * once, rtol=1e-14)


def test_the_second_way_compiles_it_too():
    """Which takes the place of the first one with another version of Numba."""
    column = View(numba.float64, 1)
    worker = second_way.worker(custom_loss(*SQUARED).py_func)
    assert second_way.worker_address(worker, (numba.int64, *[column] * 5), keeps=False)


def test_comparisons(tmp_path):
    result = compare(MLP([4, 5, 2]), X, Y, optimizers=["adam", "lbfgs"], loss=SQUARED, passes=3)
    assert result.score_name == "loss"
    assert result.settings["loss"] == "(half_square, error_of)"
    result.to_json(tmp_path / "comparison.json")
    (run,) = result.runs["lbfgs"]
    assert_allclose(run.score, run.result.loss, rtol=1e-5)


def test_scores_go_by_the_output():
    net = MLP([4, 6, 3], output="softmax", seed=0)
    right = np.mean(net.predict(X).argmax(axis=1) == CLASSES)
    assert net.score(X, CLASSES, loss=(focal, focal_gradient)) == pytest.approx(right)
    net = pair_of_networks()[0]
    assert net.score(X, Y, loss=SQUARED) == net.score(X, Y)


def test_many_networks_and_parts():
    nets, theirs = pair_of_networks(), pair_of_networks()
    options = {"epochs": 2, "seeds": [0, 1]}
    fit_many(nets, X, Y, loss=SQUARED, **options)
    fit_many(theirs, X, Y, loss="squared_error", **options)
    assert_allclose(nets[1].theta, theirs[1].theta, rtol=1e-10)
    (net, _), (other, _) = pair_of_networks(), pair_of_networks()
    parts = [lambda: (X[:100], Y[:100]), lambda: (X[100:], Y[100:])]
    options = {"optimizer": LBFGS(), "epochs": 3}
    fit_parts(net, parts, loss=SQUARED, **options)
    fit_parts(other, parts, loss="squared_error", **options)
    assert_allclose(net.theta, other.theta, rtol=1e-8)


def test_rows_that_are_not_in_memory():
    class Windows(Rows):
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, rows):
            return X[rows]

    net = pair_of_networks()[0]
    found = net.loss(Windows(), Y, loss=SQUARED)
    assert_allclose(found, net.loss(X, Y, loss="squared_error"), rtol=1e-13)


def test_standardized_features():
    """Targets are left in their units, as only losses by name are known to take others."""
    net = pair_of_networks()[0]
    net.fit(100 + 10 * X, Y, loss=SQUARED, standardize=True, optimizer=LBFGS(), epochs=50)
    assert net.loss(100 + 10 * X, Y, loss=SQUARED) < 0.9 * (Y**2).sum(axis=1).mean() / 2


def test_a_checkpoint_goes_on_with_the_same_loss_alone(tmp_path):
    (net, whole), path = pair_of_networks(), tmp_path / "fit.checkpoint"
    whole.fit(X, Y, loss=SQUARED, epochs=4, seed=0)
    net.fit(X, Y, loss=SQUARED, epochs=2, seed=0, checkpoint=path)
    again = pair_of_networks()[0]
    again.fit(X, Y, loss=SQUARED, epochs=4, seed=0, checkpoint=path)
    assert_array_equal(again.theta, whole.theta)
    with pytest.raises(ValueError, match="checkpoint"):
        net.fit(X, Y, loss="squared_error", epochs=6, seed=0, checkpoint=path)


def test_a_model_file_has_no_loss(tmp_path):
    net = pair_of_networks()[0]
    net.fit(X, Y, loss=SQUARED, epochs=1, seed=0)
    net.save(tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "np") as file:
        assert set(file.metadata()) == {"format", "architecture"}
    assert_array_equal(MLP.load(tmp_path / "net.safetensors").theta, net.theta)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_exception_ends_a_fit_as_a_loss_that_is_not_finite(n_threads):
    """No part of a team waits for one that is gone."""

    @numba.njit
    def value(output, target):
        if target[0] > 50:
            raise ValueError("not on my watch")
        return np.sum((output - target) ** 2) / 2

    net = MLP([4, 400, 400, 2], seed=0)
    theta = net.theta.copy()
    targets = Y.copy()
    loss = value, error_of
    net.loss(X, targets, loss=loss)
    targets[200, 0] = 100.0
    result = net.fit(X, targets, loss=loss, epochs=2, n_threads=n_threads, seed=0, shuffle=False)
    assert result.status == Status.NOT_FINITE
    assert_array_equal(net.theta, theta)


# What is refused


@numba.njit
def twice_error(output, target):
    return 2 * (output - target)


@numba.njit
def first_error(output, target):
    return output[0] - target[0]


@numba.njit
def short(output, target):
    return (output - target)[:1]


@numba.njit
def all_squares(output, target):
    return (output - target) ** 2


@numba.njit
def greedy(output, target):
    output -= target
    return output


@numba.njit
def of_texts(output, target):
    return output.nothing


@numba.njit
def never_finite(output, target):
    return np.inf


REFUSED = {
    "the gradient is <function": (half_square, lambda output, target: output - target),
    "a pair of functions that numba.njit has compiled.*got ": half_square,
    "each of one row's outputs and targets; got": (half_square, error_of, error_of),
    "the gradient of its value.*but differences": (half_square, twice_error),
    "a gradient that is an array (2,).*got": (half_square, first_error),
    "one number for each output, got array": (half_square, short),
    "a value that is one finite number for a row, got array": (all_squares, error_of),
    "a value that is one finite number for a row, got inf": (never_finite, error_of),
    "a gradient that leaves the outputs and targets as they are": (half_square, greedy),
    "numba cannot compile of_texts for": (of_texts, error_of),
}


@pytest.mark.parametrize("message", REFUSED)
def test_anything_else_is_refused_before_anything_is_trained(message):
    net = pair_of_networks()[0]
    theta = net.theta.copy()
    pattern = message.replace("(2,)", r"\(2,\)")
    with pytest.raises((TypeError, ValueError), match=f"(?s)loss must .*{pattern}"):
        net.fit(X, Y, loss=REFUSED[message], epochs=1)
    assert_array_equal(net.theta, theta)


@pytest.mark.parametrize("shape", [(299,), (300, 2, 1), (300, 0)])
def test_targets_have_a_row_each(shape):
    with pytest.raises(ValueError, match=r"y must have the shape \(300,\), or \(300, n\)"):
        Objective(pair_of_networks()[0], X, np.zeros(shape), loss=SQUARED)


def test_estimators_have_losses_by_name():
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="'loss' parameter of MLPRegressor must be a str"):
        MLPRegressor(SQUARED).fit(X, Y)
