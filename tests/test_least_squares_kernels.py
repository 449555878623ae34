"""The normal equations of a network and the solver of symmetric systems, against their twins.

Tolerances are in eps of the dtype: a chain of n roundings is off by at most about n eps / 2.
"""

import tracemalloc

import numpy as np
import pytest
import reference
from marks import INTERPRETED, both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp import MLP, Objective, normal_equations
from fastmlp.kernels import cholesky, jacobian

squared_errors = standalone(jacobian.squared_errors)
unit_rows = standalone(jacobian.unit_rows)
outer_rows = standalone(jacobian.outer_rows)
finish_normal = standalone(jacobian.finish_normal)
add_to_diagonal = standalone(cholesky.add_to_diagonal)
negate_columns = standalone(cholesky.negate_columns)
subtract_above = standalone(cholesky.subtract_above)
divide_row = standalone(cholesky.divide_row)
factor_diagonal = standalone(cholesky.factor_diagonal)
eliminate_rows = standalone(cholesky.eliminate_rows)
solve_factored = standalone(cholesky.solve_factored)

ACTIVATIONS = ["identity", "relu", "leaky_relu(0.2)", "sigmoid", "tanh", "elu"]
ACTIVATIONS += ["selu", "gelu", "silu", "mish", "softplus", "exponential"]


def network(dtype="float64", sizes=(3, 5, 4, 2), activation="tanh", output="identity"):
    net = MLP(sizes, activation=activation, output=output, dtype=dtype, seed=0)
    for b in net.biases:
        b[:] = np.random.default_rng(1).normal(size=b.size)
    return net


def samples(net, n):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n, net.layer_sizes[0])).astype(net.dtype)
    Y = rng.normal(size=(n, net.layer_sizes[-1])).astype(net.dtype)
    return X, Y, rng.uniform(0.1, 2, n)


def architecture(net):
    layers = reference.unpack(net.theta, net.layer_sizes)
    return layers, {"activations": net.activations[:-1], "output": net.output}


# The Jacobian and the normal equations


@pytest.mark.parametrize("output", [*ACTIVATIONS, "softmax"])
def test_the_twins_jacobian_is_that_of_finite_differences(output):
    """Central differences with steps h are good to h^2 + eps / h, some 1e-10 here."""
    net = network(output=output)
    X, _, _ = samples(net, 4)
    layers, names = architecture(net)
    J = reference.jacobian(layers, X, **names)
    h = 1e-5
    for j in range(net.n_params):
        ends = []
        for sign in (1, -1):
            theta = net.theta.copy()
            theta[j] += sign * h
            ends.append(reference.predict(reference.unpack(theta, net.layer_sizes), X, **names))
        assert_allclose(J[:, :, j], (ends[0] - ends[1]) / (2 * h), atol=1e-8)


@both_precisions
@pytest.mark.parametrize(
    ("activation", "output"),
    [((a, "tanh"), "identity") for a in ACTIVATIONS]
    + [("tanh", a) for a in [*ACTIVATIONS, "softmax"]],
)
def test_the_normal_equations_are_the_twins(activation, output, dtype):
    """Values of float32 networks are good to some ten roundings a layer."""
    net = network(dtype, activation=activation, output=output)
    X, Y, weights = samples(net, 12)
    layers, names = architecture(net)
    expected = reference.gauss_newton(layers, X, Y, weights, l2=0.1, **names)
    given = Objective(net, X, Y, loss="squared_error", sample_weight=weights, l2=0.1).gauss_newton()
    for value, right in zip(given, expected, strict=True):
        scale = np.abs(right).max()
        assert_allclose(value, right, rtol=0, atol=100 * np.finfo(dtype).eps * scale)
    assert given[1].dtype == given[2].dtype == np.float64
    assert_array_equal(given[2], given[2].T)


@both_precisions
def test_value_and_gradient_are_those_of_the_objective(dtype):
    net = network(dtype)
    X, Y, weights = samples(net, 50)
    problem = Objective(net, X, Y, sample_weight=weights, l2=0.1)
    theta = net.theta + net.dtype.type(0.1)
    value, gradient, _ = problem.gauss_newton(theta)
    expected, expected_gradient = problem.value_and_grad(theta)
    assert value == pytest.approx(expected, rel=1e-12)
    assert_allclose(gradient, expected_gradient, rtol=0, atol=50 * np.finfo(dtype).eps)


def test_sums_over_samples_are_in_double_precision_for_float32_too():
    """20,000 equal rows give the matrix of one, which float32 sums miss by some 1e-4."""
    net = network("float32", sizes=(2, 3, 1))
    X, Y, _ = samples(net, 1)
    n = 200 if INTERPRETED else 20_000
    one = Objective(net, X, Y).gauss_newton()[2]
    many = Objective(net, np.repeat(X, n, axis=0), np.repeat(Y, n, axis=0)).gauss_newton()[2]
    assert_allclose(many, one, rtol=1e-12, atol=1e-15)


def test_a_weight_is_so_many_equal_rows():
    net = network()
    X, Y, _ = samples(net, 5)
    counts = np.array([1, 0, 3, 2, 1])
    weighted = Objective(net, X, Y, sample_weight=counts, l2=0.1).gauss_newton()
    repeated = Objective(net, X.repeat(counts, 0), Y.repeat(counts, 0), l2=0.1).gauss_newton()
    for value, expected in zip(weighted, repeated, strict=True):
        assert_allclose(value, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n_parts", [1, 3])
@pytest.mark.parametrize("rows", [1, 7, 256])
@pytest.mark.parametrize("flops", [1.0, 2e9])
def test_blocks_parts_and_calls_change_no_bit(monkeypatch, n_parts, rows, flops):
    sizes = (3, 6, 2) if INTERPRETED else (3, 20, 10, 2)  # several tasks of the matrix
    net = network(sizes=sizes)
    X, Y, weights = samples(net, 40)
    problem = Objective(net, X, Y, sample_weight=weights)
    expected = problem.gauss_newton()
    monkeypatch.setattr(normal_equations, "JACOBIAN_ROWS", rows)
    monkeypatch.setattr(normal_equations, "CALL_FLOPS", flops)
    monkeypatch.setattr(normal_equations, "choose_parts", lambda *work: n_parts)
    checks = []
    given = problem.gauss_newton(check=lambda: checks.append(True))
    assert_array_equal(given[1], expected[1])
    assert_array_equal(given[2], expected[2])
    assert given[0] == pytest.approx(expected[0], rel=1e-14)  # summed in other pieces
    assert len(checks) == (1 if flops > 1 else -(-40 // max(1, rows // 2)))


@compiled_only
def test_memory_does_not_grow_with_the_rows():
    net = network(sizes=(3, 40, 1))
    X, Y, _ = samples(net, 30_000)
    problem = Objective(net, X, Y)
    problem.gauss_newton()
    tracemalloc.start()
    problem.gauss_newton()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.shape[0] * net.n_params * 8 / 10


def test_overflow_is_not_finite(overflow):
    net = network(activation="exponential")
    X, Y, _ = samples(net, 3)
    for result in Objective(net, X, Y).gauss_newton(net.theta + 1e3):
        assert np.isnan(result).all()


def test_what_has_no_normal_equations():
    net = network()
    X, Y, _ = samples(net, 3)
    with pytest.raises(ValueError, match="needs the loss 'squared_error', got 'huber'"):
        Objective(net, X, Y, loss="huber").gauss_newton()
    with pytest.raises(ValueError, match=r"gauss_newton takes no l1, got 0\.1"):
        Objective(net, X, Y, l1=0.1).gauss_newton()
    with pytest.raises(ValueError, match=r"theta must have the shape \(54,\), got \(2,\)"):
        Objective(net, X, Y).gauss_newton(np.zeros(2))


# Its kernels one by one


@both_precisions
def test_squared_errors(dtype):
    rng = np.random.default_rng(3)
    output, target = rng.normal(size=(2, 6, 3)).astype(dtype)
    weights = rng.random(9).astype(dtype)
    residuals, roots, losses = np.empty((6, 3)), np.empty(6), np.empty(6, dtype)
    for start, given in ((3, weights), (0, np.empty(0, dtype))):
        squared_errors(output, target, given, start, residuals, roots, losses)
        used = given[start : start + 6].astype(np.float64) if given.size else np.ones(6)
        expected = reference.squared_errors(output, target, used)
        for result, right in zip((residuals, roots, losses), expected, strict=True):
            assert_allclose(result, right, rtol=8 * np.finfo(dtype).eps)


@both_precisions
def test_rows_of_the_jacobian(dtype):
    rng = np.random.default_rng(4)
    delta = np.full((4, 2), np.nan, dtype)
    unit_rows(delta, 1)
    assert_array_equal(delta, reference.unit_rows(4, 2, 1))
    below, delta = rng.normal(size=(4, 3)).astype(dtype), rng.normal(size=(4, 2)).astype(dtype)
    roots, J = rng.random(4), np.full((9, 12), -7.0)
    outer_rows(below, delta, roots, J, 1, 2, 3)
    rows = J[1:9:2]
    assert_allclose(rows[:, 3:11], reference.outer_rows(below, delta, roots), rtol=1e-15)
    rows[:, 3:11] = -7
    assert (J == -7).all()


def test_finishing_the_sums():
    net = network(sizes=(3, 6, 2) if INTERPRETED else (3, 20, 10, 2))
    rng = np.random.default_rng(5)
    n = net.n_params
    sums = rng.normal(size=(n, n))
    sums += sums.T
    gradient = rng.normal(size=n)
    is_weight = np.zeros(n, bool)
    for n_in, n_out, offset, *_ in net._layout.tolist():
        is_weight[offset : offset + n_in * n_out] = True
    expected = reference.finish_normal(gradient, sums, net.theta, is_weight, 0.3, 7)
    hessian = sums.copy()
    for i in range(0, n, jacobian.TASK_ROWS):
        hessian[i + jacobian.TASK_ROWS :, i : i + jacobian.TASK_ROWS] = np.nan
    finish_normal(net.theta, net._layout, 0.3, 7, gradient, hessian)
    assert_allclose(gradient, expected[0], rtol=1e-15)
    assert_allclose(hessian, expected[1], rtol=1e-15)


# Symmetric systems

B = cholesky.BLOCK_ROWS
SIZES = [1, 2, 5, 13] if INTERPRETED else [1, 2, 5, B - 1, B, B + 1, 2 * B + 17, 300]


def positive_definite(n):
    A = np.random.default_rng(n).normal(size=(n, n + 5))
    return A @ A.T


@pytest.mark.parametrize("n", SIZES)
def test_a_system_is_solved_backward_stably(n):
    """The residual is of the size of round-off in the matrix times the solution."""
    A, b = positive_definite(n), np.random.default_rng(0).normal(size=n)
    x = b.copy()
    assert cholesky.solve_damped.serial(cholesky.factor_part_address(), A, 0.5, x, 1)
    damped = reference.add_to_diagonal(A, 0.5)
    size = np.linalg.norm(damped) * np.linalg.norm(x)
    assert np.linalg.norm(damped @ x - b) <= n * np.finfo(np.float64).eps * size
    assert_allclose(x, reference.solve_damped(A, 0.5, b), rtol=1e-9, atol=1e-9 * abs(x).max())


@compiled_only
def test_parts_change_no_bit_of_a_solution():
    n = 4 * B + 3
    A, address = positive_definite(n), cholesky.factor_part_address()
    results = []
    for n_parts in (1, 2, 5):
        x = np.arange(n, dtype=np.float64)
        assert cholesky.solve_damped.serial(address, A, 0.1, x, n_parts)
        results.append(x)
    assert_array_equal(results[1], results[0])
    assert_array_equal(results[2], results[0])


@pytest.mark.parametrize("spoiled", [-1.0, 0.0, np.nan, np.inf])
@pytest.mark.parametrize("at", [0, SIZES[-1] - 1])
def test_a_matrix_that_is_not_positive_definite_is_told(spoiled, at):
    n = SIZES[-1]
    A = np.eye(n)
    A[at, at] = spoiled
    x = np.ones(n)
    assert not cholesky.solve_damped.serial(cholesky.factor_part_address(), A, 0.0, x, 1)
    assert_array_equal(x, 1)


def test_steps_of_the_factorization():
    A, rows = positive_definite(9), 4
    sums = np.empty_like(A)
    add_to_diagonal(A, 2.0, sums)
    assert_array_equal(sums, reference.add_to_diagonal(A, 2.0))
    negative = np.empty(12)
    negate_columns(A, 2, 3, 4, negative)
    assert_array_equal(negative.reshape(4, 3), reference.negate_columns(A, 2, 3, 4))

    U = A.copy()
    for first in (3, 2):  # more than four rows above, and fewer
        subtract_above(U, first, 8, 5, 9)
        expected = reference.subtract_above(A, first, 8, 5, 9)
        assert_allclose(U[8, 5:9], expected, rtol=1e-13)
        U = A.copy()
    divide_row(U, 2, 1, 7, 3.0)
    assert_array_equal(U[2, 1:7], reference.divide_row(A, 2, 1, 7, 3.0))

    U = A.copy()
    assert factor_diagonal(U, 2, rows)
    D = reference.factor_diagonal(A[2:6, 2:6])
    assert_allclose(np.triu(U[2:6, 2:6]), D, rtol=1e-12, atol=1e-14)
    eliminate_rows(U, 2, rows, 6, 9)
    assert_allclose(U[2:6, 6:9], reference.eliminate_rows(A[2:6, 6:9], D), rtol=1e-11, atol=1e-13)
    assert not factor_diagonal(-A, 0, rows)
    assert reference.factor_diagonal(-A) is None

    U = np.linalg.cholesky(A).T + np.tril(np.full(A.shape, np.nan), -1)
    x = np.arange(9.0)
    solve_factored(U, x)
    assert_allclose(x, reference.solve_factored(np.linalg.cholesky(A).T, np.arange(9.0)), rtol=1e-9)
