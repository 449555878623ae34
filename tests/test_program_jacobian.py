"""The Jacobian of programs, the solvers that need it, and penalties of their weights."""

import numpy as np
import pytest
import reference
from marks import INTERPRETED, both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp import (
    MLP,
    OWLQN,
    RNN,
    Categorical,
    LevenbergMarquardt,
    Numeric,
    check_gradient,
    normal_equations,
)
from fastmlp.functions import penalty_factors
from fastmlp.kernels import program_jacobian
from fastmlp.objective import Objective

SIZES = (3, 4, 4, 2)
PIECES = {
    "tied": {"tied": [(2, 1)], "layer_sizes": (4, 4, 4, 2)},
    "members": {"members": 3},
    "tied members": {"tied": [(3, 2)], "members": 2, "layer_sizes": (3, 4, 4, 4, 1)},
    "prelu": {"activation": "prelu"},
    "parametric": {"activation": ["parametric(mish)", "parametric(selu)"], "members": 2},
    "layer norm": {"norm": "layer", "residual": True, "members": 2, "activation": "mish"},
    "inputs": {
        "inputs": [Numeric(0, embedding="periodic"), Categorical(1, 3, size=2), Categorical(2, 4)],
        "input_scale": True,
        "members": 2,
    },
}
every_piece = pytest.mark.parametrize("name", PIECES)


def network(name, dtype="float64", output="identity"):
    """A network with these pieces, all of whose parameters are random."""
    options = {"layer_sizes": SIZES, "activation": "tanh", **PIECES[name]}
    net = MLP(**options, output=output, dtype=dtype, seed=0)
    net.theta += np.random.default_rng(1).normal(scale=0.3, size=net.n_params).astype(dtype)
    return net


def samples(net, n):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n, net.layer_sizes[0]))
    for column in net.categorical_columns:
        X[:, column] = rng.integers(-1, 3, n)  # and some are missing
    return X, rng.normal(size=(n, net.layer_sizes[-1])), rng.uniform(0.5, 2, n)


def are_penalized(net):
    """Which elements of theta are weights of layers, in a vector like it."""
    flags = [np.full(view.size, name.startswith("weights")) for name, view in net.parameters]
    return np.concatenate(flags)


def differences(net, X, step=1e-6):
    """Jacobian of all members' outputs by central differences, (n, members, n_out, n_params)."""
    columns = []
    for i in range(net.n_params):
        outputs = []
        for sign in (1, -1):
            moved = net.copy()
            moved.theta[i] += sign * step
            outputs.append(moved.predict(X, members=True))
        columns.append((outputs[0] - outputs[1]) / (2 * step))
    return np.stack(columns, axis=-1)


# Kernels


@both_precisions
@pytest.mark.parametrize("factor", [1, 3])
def test_kernels_are_those_of_the_twins(dtype, factor):
    rng = np.random.default_rng(0)
    outputs, target = rng.normal(size=(factor, 4)).astype(dtype), rng.normal(size=4).astype(dtype)
    residuals, losses = np.empty(4 * factor), np.empty(1, dtype)
    weight, eps = np.dtype(dtype).type(1.7), np.finfo(dtype).eps
    row_errors = standalone(program_jacobian.row_errors)
    row_errors(outputs.ravel(), target, weight, factor, residuals, losses)
    expected, loss = reference.row_errors(outputs, target, float(weight), factor)
    assert_allclose(residuals, expected, rtol=0, atol=8 * eps)
    assert_allclose(losses, [loss], rtol=4 * factor * eps)
    root = standalone(program_jacobian.root_of)(weight, factor)
    assert root == pytest.approx(reference.root_of(float(weight), factor), rel=1e-15)
    row = np.empty(4)
    standalone(program_jacobian.scaled_row)(target, 0.3, row)
    assert_array_equal(row, reference.scaled_row(target, 0.3))
    standalone(program_jacobian.unit_vector)(row, 2)
    assert_array_equal(row, reference.unit_vector(4, 2))


# The Gauss-Newton matrix


@every_piece
def test_the_matrix_is_that_of_differences(name):
    net = network(name, output="tanh")
    X, y, weights = samples(net, 4 if INTERPRETED else 20)
    problem = Objective(net, X, y, loss="squared_error", sample_weight=weights, l2=0.1)
    value, gradient, hessian = problem.gauss_newton()
    J = differences(net, X)
    shares = weights / weights.sum() / J.shape[1]
    expected = np.einsum("n,nmki,nmkj->ij", shares, J, J) + 0.1 * np.diag(are_penalized(net))
    # Differences are good to eps / step.
    assert_allclose(hessian, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    assert_array_equal(hessian, hessian.T)
    expected_value, expected_gradient = problem.value_and_grad()
    assert value == pytest.approx(expected_value, rel=1e-13)
    assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-13)


@compiled_only
@every_piece
def test_float32_is_float64_but_for_rounding(name):
    nets = network(name, "float32"), network(name, "float64")
    nets[1].theta = nets[0].theta
    X, y, weights = samples(nets[0], 300)
    results = [Objective(net, X, y, sample_weight=weights).gauss_newton() for net in nets]
    for single, double in zip(*results, strict=True):
        scale = np.abs(double).max()
        assert_allclose(single, double, rtol=0, atol=100 * np.finfo(np.float32).eps * scale)


@compiled_only
@every_piece
def test_blocks_and_parts_change_no_bit(name, monkeypatch):
    net = network(name)
    X, y, weights = samples(net, 40)
    problem = Objective(net, X, y, sample_weight=weights)
    _, *expected = problem.gauss_newton()
    for n_parts, rows in ((1, 1), (3, 7), (4, 256)):
        monkeypatch.setattr(normal_equations, "JACOBIAN_ROWS", rows)
        monkeypatch.setattr(normal_equations, "choose_parts", lambda *work, n=n_parts: n)
        for given, right in zip(problem.gauss_newton()[1:], expected, strict=True):
            assert_array_equal(given, right)


def test_a_program_that_is_a_chain_has_the_matrix_of_the_chain():
    """prelu with alpha 0.01 for all units is leaky_relu, whose network is plain."""
    net = MLP(SIZES, activation="prelu", dtype="float64", seed=0)
    plain = MLP(SIZES, activation="leaky_relu", dtype="float64", seed=0)
    chosen = []
    for (name, view), start in zip(net.parameters, starts(net), strict=True):
        if name.startswith("activation"):
            view[:] = 0.01
        else:
            chosen.append(np.arange(start, start + view.size))
    chosen = np.concatenate(chosen)
    X, y, weights = samples(net, 5)
    results = [
        Objective(n, X, y, sample_weight=weights, l2=0.1).gauss_newton() for n in (net, plain)
    ]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-14)
    assert_allclose(results[0][1][chosen], results[1][1], rtol=0, atol=1e-14)
    assert_allclose(results[0][2][np.ix_(chosen, chosen)], results[1][2], rtol=0, atol=1e-13)


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("sequence", ["last", "all"])
def test_the_matrix_of_a_recurrent_network_is_that_of_differences(sequence, with_lengths):
    rng = np.random.default_rng(0)
    net = RNN([2, 3, 2], sequence=sequence, dtype="float64", seed=0)
    X, lengths = rng.normal(size=(5, 4, 2)), None
    y = rng.normal(size=(5, 4, 2) if sequence == "all" else (5, 2))
    weights = rng.uniform(0.5, 2, 5)
    counts = np.ones((5, 1)) if sequence == "last" else np.full((5, 1), 4)
    if with_lengths:
        lengths = np.array([4, 2, 1, 3, 4])
        counts = counts if sequence == "last" else lengths[:, None]
    problem = Objective(net, X, y, sample_weight=weights, lengths=lengths, l2=0.1)
    columns = []
    for i in range(net.n_params):
        outputs = []
        for sign in (1, -1):
            moved = net.copy()
            moved.theta[i] += sign * 1e-6
            outputs.append(moved.predict(X, lengths=lengths).reshape(5, -1))
        columns.append((outputs[0] - outputs[1]) / 2e-6)
    J = np.stack(columns, axis=-1)
    shares = (weights / weights.sum())[:, None] / counts * np.ones(J.shape[:2])
    expected = np.einsum("nk,nki,nkj->ij", shares, J, J)
    value, gradient, hessian = problem.gauss_newton()
    penalized = np.concatenate(
        [np.full(v.size, name.startswith(("weights", "recurrent"))) for name, v in net.parameters]
    )
    expected += 0.1 * np.diag(penalized)
    assert_allclose(hessian, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    expected_value, expected_gradient = problem.value_and_grad()
    assert value == pytest.approx(expected_value, rel=1e-13)
    assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-13)


def starts(net):
    sizes = [view.size for _, view in net.parameters]
    return np.cumsum([0, *sizes[:-1]])


def test_overflow_is_not_finite(overflow):
    net = MLP(SIZES, activation="exponential", members=2, seed=0)
    X, y, _ = samples(net, 3)
    for result in Objective(net, X, y).gauss_newton(net.theta + np.float32(1e3)):
        assert np.isnan(result).all()


# Solvers


def curve(net, n=60):
    """Samples of a smooth function, which a few units come close to."""
    X, y, weights = samples(net, n)
    return X, np.sin(X @ np.ones((X.shape[1], y.shape[1]))), weights


@compiled_only
@every_piece
@pytest.mark.parametrize(
    ("optimizer", "share"),
    [("levenberg_marquardt", 0.1), ("least_squares_newton", 0.5), ("lbfgs", 0.2)],
)
def test_solvers_fit_a_curve(name, optimizer, share):
    net = network(name)
    X, y, weights = curve(net)
    before = net.loss(X, y, sample_weight=weights)
    net.fit(X, y, optimizer=optimizer, epochs=500, seed=0, sample_weight=weights)
    assert net.loss(X, y, sample_weight=weights) < share * before


@compiled_only
def test_near_a_minimum_every_step_is_a_newton_step():
    """With no errors left the Gauss-Newton matrix is the Hessian: convergence is quadratic."""
    net = network("parametric")
    X, _, _ = samples(net, 100)
    # Members with equal outputs, so that the errors of all of them may vanish.
    members_parameters = [view for name, view in net.parameters if name.startswith("member")]
    for view in (*members_parameters, *net.biases, *net.weights[-1:]):
        if view.ndim > 1:
            view[:] = view[0]
    y = net.predict(X)
    net.theta += 1e-3 * np.random.default_rng(3).normal(size=net.n_params)
    solver = LevenbergMarquardt(damping=1e-8, gradient_tolerance=1e-15)
    losses = net.fit(X, y, optimizer=solver, epochs=16).trace["objective"]
    assert losses[-1] < 1e-20 * losses[0]


@compiled_only
def test_passes_are_those_of_all_members():
    net = network("members")
    X, y, _ = samples(net, 10)
    result = net.fit(X, y, optimizer="levenberg_marquardt", epochs=3)
    # Three members of two outputs: six passes back for each matrix.
    assert result.n_grad_evals == 6 * result.n_loss_evals


# Penalties


@every_piece
def test_penalties_are_of_the_weights_of_layers_alone(name):
    """Of weights that are tied once, and of nothing else."""
    net = network(name)
    X, y, _ = samples(net, 5)
    W = net.theta[are_penalized(net)]
    problem = Objective(net, X, y, l1=0.2, l2=0.3)
    expected = 0.2 * np.abs(W).sum() + 0.15 * (W**2).sum()
    assert problem.penalty(net.theta) == pytest.approx(expected, rel=1e-13)
    assert_array_equal(penalty_factors(net, 0.2), 0.2 * are_penalized(net))
    difference = problem.value_and_grad()[1] - Objective(net, X, y).value_and_grad()[1]
    of_weights = (0.2 * np.sign(net.theta) + 0.3 * net.theta) * are_penalized(net)
    assert_allclose(difference, of_weights, rtol=0, atol=1e-14)
    assert check_gradient(net, X, y, l1=0.2, l2=0.3, max_params=6).passed


@compiled_only
@every_piece
def test_l1_makes_weights_zero_and_no_other_parameters(name):
    net = network(name)
    X, y, _ = samples(net, 40)
    net.fit(X, y, optimizer=OWLQN(), epochs=300, l1=0.05)
    is_zero = net.theta == 0
    assert is_zero[are_penalized(net)].mean() > 0.3
    assert not is_zero[~are_penalized(net)].any()
