"""A Gaussian process for the Hessian, and BFGS that tolerates noise: what defines them."""

from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import reference
from marks import INTERPRETED
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, optimize
from standalones import standalone

from fastmlp import MLP, GaussianProcessNewton, NoiseTolerantBFGS, Status, minimize
from fastmlp.kernels import gaussian_process
from fastmlp.solvers import Function
from fastmlp.solvers.gaussian_process_newton import NODES, WEIGHTS, difference_covariance

SOLVERS = {
    "gaussian process": GaussianProcessNewton(),
    "noise-tolerant": NoiseTolerantBFGS(),
}
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)

ROSENBROCK_START = np.array([-1.2, 1.0])
FEW = 20 if INTERPRETED else 200


def rosenbrock(x):
    return optimize.rosen(x), optimize.rosen_der(x)


def quadratic(eigenvalues, seed=0):
    """x^T A x / 2 with these eigenvalues; also A."""
    n = len(eigenvalues)
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    A = Q @ np.diag(eigenvalues) @ Q.T
    return lambda x: (x @ A @ x / 2, A @ x), A


class Noisy(Function):
    """A function with normal noise of its own on the value and on each part of the gradient."""

    def __init__(self, value_and_grad, size, noise=0.0, seed=0):
        self._given, self._noise = value_and_grad, noise
        self.size, self.resolution = size, float(np.finfo(np.float64).eps)
        self.rng = np.random.default_rng(seed)
        self.n_evals = 0

    def value_and_grad(self, x):
        self.n_evals += 1
        value, gradient = self._given(x)
        if self._noise:
            value = value + self._noise * self.rng.normal()
            gradient = gradient + self._noise * self.rng.normal(size=self.size)
        return value, gradient


def run(solver, function, x0, n_steps):
    """All states, the start's first; each as it was."""
    state = solver.start(function, np.asarray(x0, float))
    states = [deepcopy(state)]
    for _ in range(n_steps):
        assert solver.step(function, state) is None
        states.append(deepcopy(state))
    return states


# Kernels


@pytest.mark.parametrize("n", [1, 2, 7, 30] if INTERPRETED else [1, 2, 7, 16, 100, 301])
def test_kernels_of_the_gaussian_process_equal_their_twins(n):
    """Condition numbers are below 100, so that roundings stay within a few thousand of eps."""
    rng = np.random.default_rng(n)
    G = rng.normal(size=(n, n))
    A, B = G @ G.T / n + 0.1 * np.eye(n), rng.normal(size=(3, n))
    factor = A.copy()
    assert gaussian_process.factor_by_rows.serial(factor)
    assert_array_equal(np.triu(factor, 1), np.triu(A, 1))
    L = np.tril(factor)
    assert_allclose(L, reference.factor_by_rows(A), rtol=1e-11, atol=1e-12)
    for name in ("solve_lower", "solve_transposed"):
        solved = B.copy()
        getattr(gaussian_process, name).serial(factor, solved)
        assert_allclose(solved, getattr(reference, name)(L, B), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("length_scale", [0.5, 2.0])
@pytest.mark.parametrize("n", [1, 3, 20])
def test_mean_correlations_equal_their_twin(n, length_scale):
    rng = np.random.default_rng(n)
    nodes, points = rng.normal(size=(5, 4, n)), rng.normal(size=(3, n))
    means = np.empty((5, 3))
    gaussian_process.mean_correlations.serial(nodes, points, length_scale, WEIGHTS, means)
    expected = reference.mean_correlations(nodes, points, length_scale, WEIGHTS)
    # The exponential magnifies an error of the square by the square, which is below 200.
    assert_allclose(means, expected, rtol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 30])
def test_eigenvalues_and_eigenvectors_equal_their_twins(n):
    """Also where eigenvalues repeat, whose eigenvectors are then any of a plane."""
    Q = np.linalg.qr(np.random.default_rng(n).normal(size=(n, n)))[0]
    for eigenvalues in (np.linspace(-3, 5, n), np.arange(n) // 2, 10.0 ** -np.arange(n)):
        A = (Q * eigenvalues) @ Q.T
        A = (A + A.T) / 2
        diagonal, V = A.copy(), np.empty((n, n))
        gaussian_process.diagonalize.serial(diagonal, V)
        found = np.diag(diagonal)
        assert_allclose(np.sort(found), reference.diagonalize(A)[0], rtol=0, atol=1e-12)
        assert_allclose(V @ V.T, np.eye(n), atol=1e-12)
        assert_allclose((V.T * found) @ V, A, atol=1e-12)


def test_a_rotation_equals_its_twin():
    A = np.random.default_rng(0).normal(size=(4, 3))
    expected = reference.rotate_rows(A, 1, 3, 0.6, 0.8)
    standalone(gaussian_process.rotate_rows)(A, 1, 3, 0.6, 0.8)
    assert_allclose(A, expected, rtol=1e-14)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_matrices_that_are_not_positive_definite_are_told(bad):
    A = np.diag([1.0, bad, 1.0])
    assert not gaussian_process.factor_by_rows.serial(A.copy())
    if np.isfinite(bad):
        assert reference.factor_by_rows(A) is None


# The Gaussian process


@pytest.mark.parametrize("degree", range(8))
def test_quadrature_is_exact_for_polynomials_up_to_degree_7(degree):
    assert_allclose(WEIGHTS @ NODES**degree, 1 / (degree + 1), rtol=1e-14)


def test_quadrature_of_the_kernel_along_segments():
    """Two crossing segments, as long as the length scale and half of it."""
    p, s = np.array([0.2, -0.1]), np.array([0.6, 0.8])
    q, t = np.array([0.5, 0.9]), np.array([0.3, -0.4])

    def kernel(a, b):
        return np.exp(-np.sum((p + a * s - q - b * t) ** 2) / 2)

    expected, _ = integrate.dblquad(kernel, 0, 1, 0, 1)
    found = WEIGHTS @ np.array([[kernel(a, b) for b in NODES] for a in NODES]) @ WEIGHTS
    assert_allclose(found, expected, rtol=1e-6)


def test_covariance_of_a_random_symmetric_matrix_times_vectors():
    """H = sum of z_k E_k with independent z_k: 2 the variance of diagonal elements, 1 of others."""
    n, rng = 3, np.random.default_rng(0)
    u, c = rng.normal(size=(2, n)), np.array([[2.0, 0.5], [0.5, 1.0]])
    basis = []
    for i in range(n):
        for j in range(i + 1):
            E = np.zeros((n, n))
            E[i, j] = E[j, i] = np.sqrt(2) if i == j else 1
            basis.append(E)
    products = np.array([[E @ v for v in u] for E in basis])  # (k, m, n)
    expected = np.einsum("kia,kjb,ij->iajb", products, products, c).reshape(2 * n, 2 * n)
    assert_allclose(difference_covariance(u, c), expected, rtol=1e-13)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_the_hessian_of_a_quadratic_is_recovered_from_n_independent_pairs(n):
    """Almost constant a priori: over steps of length 1, H is expected to change by a millionth."""
    function, A = quadratic(np.linspace(1, 10, n))
    solver = GaussianProcessNewton(length_scale=1e3, batch_noise=0.0)
    state = solver.start(Noisy(function, n), np.ones(n))
    steps = np.linalg.qr(np.random.default_rng(1).normal(size=(n, n)))[0]
    for i, s in enumerate(steps):
        _, _, stds = solver.curvatures(state, state["x"])
        assert i == 0 or stds.max() > 1.0
        assert np.abs(solver.hessian(state, state["x"]) - A).max() > 0.01
        solver.learn(state, s, A @ s, None)
    assert_allclose(solver.hessian(state, state["x"]), A, atol=1e-4)
    _, _, stds = solver.curvatures(state, state["x"])
    assert stds.max() < 0.01


def test_the_posterior_interpolates_differences_of_gradients_without_noise():
    """Rosenbrock's Hessian is not constant; its integral over each step is met all the same."""
    function = Noisy(rosenbrock, 2)
    solver = GaussianProcessNewton(learning_rate=0.5, history_size=6)
    states = run(solver, function, ROSENBROCK_START, 6)
    last = states[-1]
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for before, after in pairwise(states):
        s = after["x"] - before["x"]
        points = before["x"] + np.outer((nodes + 1) / 2, s)
        mean = sum(w / 2 * solver.hessian(last, p) for w, p in zip(weights, points, strict=True))
        y = after["gradient"] - before["gradient"]
        assert_allclose(mean @ s, y, rtol=1e-3, atol=1e-3 * np.abs(y).max())


def test_the_posterior_is_symmetric_and_no_less_certain_than_the_prior():
    solver = GaussianProcessNewton(prior_std=400.0)
    for state in run(solver, Noisy(rosenbrock, 2, noise=30.0), ROSENBROCK_START, FEW)[1:]:
        H = solver.hessian(state, state["x"])
        assert_array_equal(H, H.T)
        curvatures, _, stds = solver.curvatures(state, state["x"])
        assert_allclose(np.sort(np.linalg.eigvalsh(H)), np.sort(curvatures), rtol=1e-9, atol=1e-9)
        assert (stds >= 0).all()
        assert (stds <= np.sqrt(2) * 400 * (1 + 1e-12)).all()


def test_far_from_all_observations_the_posterior_is_the_prior():
    solver = GaussianProcessNewton(prior_std=3.0, prior_mean=7.0)
    state = run(solver, Noisy(rosenbrock, 2), ROSENBROCK_START, 5)[-1]
    curvatures, _, stds = solver.curvatures(state, np.array([50.0, 50.0]))
    assert_allclose(curvatures, 7.0, rtol=1e-12)
    assert_allclose(stds, np.sqrt(2) * 3.0, rtol=1e-12)


def test_more_observations_of_a_noisy_quadratic_tell_its_hessian_better():
    """Their number goes from 5 to 500; the error should fall to about a tenth."""
    function, A = quadratic([3.0, 10.0])
    errors = {5: [], 500: []}
    for count, found in errors.items():
        if INTERPRETED and count > 5:
            return
        for seed in range(5):
            solver = GaussianProcessNewton(length_scale=1e3, history_size=count, prior_std=10.0)
            noisy, rng = Noisy(function, 2, noise=1.0, seed=seed), np.random.default_rng(seed)
            state = solver.start(noisy, np.ones(2))
            for _ in range(min(count, 60)):
                s = rng.normal(size=2)
                start = noisy.value_and_grad(state["x"])[1]
                solver.learn(state, s, noisy.value_and_grad(state["x"] + s)[1] - start, None)
            found.append(np.abs(solver.hessian(state, state["x"]) - A).max())
    assert np.median(errors[500]) < 0.5 * np.median(errors[5])


def test_shared_gradients_do_not_pass_for_curvature():
    """Steps along noise itself: taken for independent, its differences would look like curvature.

    On a flat function, s_t = -e_t with the noise e_t of a gradient, and y_t = e_t+1 - e_t: the
    least-squares slope of y on s is 1. Heeding that y_t-1 holds e_t too, it is mostly noise.
    """
    n_steps, means = 15, {}
    for linked in (True, False):
        slopes = []
        for seed in range(5 if INTERPRETED else 40):
            solver = GaussianProcessNewton(length_scale=1e3, prior_std=1.0)
            noisy = Noisy(lambda x: (0.0, np.zeros(1)), 1, noise=1.0, seed=seed)
            state = solver.start(noisy, np.zeros(1))
            gradient = noisy.value_and_grad(state["x"])[1]
            for i in range(n_steps):
                s, after = -gradient, noisy.value_and_grad(state["x"])[1]
                solver._observe(state, state["x"], s, after - gradient, linked and i > 0)
                state["x"], gradient = state["x"] + s, after
            slopes.append(solver.hessian(state, state["x"])[0, 0])
        means[linked] = np.mean(slopes)
    assert means[False] > 0.5
    assert abs(means[True]) < 0.3


def test_newton_steps_without_noise_end_at_the_minimum_of_a_quadratic():
    function, _ = quadratic([1.0, 10.0, 100.0])
    solver = GaussianProcessNewton(length_scale=1e3, learning_rate=1.0)
    result = minimize(function, np.ones(3), optimizer=solver, max_iterations=20)
    assert_allclose(result.theta, 0, atol=1e-6)


def test_thirty_parameters_are_the_most():
    function, _ = quadratic(np.ones(31))
    with pytest.raises(ValueError, match="is for at most 30 parameters, got 31; LeastSquaresN"):
        minimize(function, np.ones(31), optimizer=GaussianProcessNewton())
    function, _ = quadratic(np.linspace(1, 10, 30))
    result = minimize(function, np.ones(30), optimizer="gaussian_process_newton", max_iterations=5)
    assert result.loss < function(np.ones(30))[0]


# BFGS that tolerates noise


def textbook_bfgs(value_and_grad, x, n_iterations):
    """Iterates of BFGS with bisection for the weak Wolfe conditions, as in textbooks."""
    (value, gradient), identity = value_and_grad(x), np.eye(x.size)
    H, path = None, [x]
    for _ in range(n_iterations):
        p = -gradient / np.linalg.norm(gradient) if H is None else -H @ gradient
        low, high, step = 0.0, np.inf, 1.0
        while True:
            new_value, new_gradient = value_and_grad(x + step * p)
            if new_value > value + 1e-4 * step * gradient @ p:
                high = step
            elif new_gradient @ p < 0.9 * gradient @ p:
                low = step
            else:
                break
            step = 2 * step if np.isinf(high) else (low + high) / 2
        s, y = step * p, new_gradient - gradient
        if H is None:
            H = s @ y / (y @ y) * identity
        V = identity - np.outer(s, y) / (s @ y)
        H = V @ H @ V.T + np.outer(s, s) / (s @ y)
        x, value, gradient = x + s, new_value, new_gradient
        path.append(x)
    return np.array(path)


@pytest.mark.parametrize("n", [2, 5])
def test_without_noise_it_is_bfgs(n):
    """Rounding differs, and grows by a few digits over the twenty iterations."""
    x0 = np.resize(ROSENBROCK_START, n)
    states = run(NoiseTolerantBFGS(), Noisy(rosenbrock, n), x0, 20)
    expected = textbook_bfgs(rosenbrock, x0, 20)
    assert_allclose([state["x"] for state in states], expected, rtol=1e-6, atol=1e-8)


def test_without_noise_rosenbrock_is_solved():
    result = minimize(rosenbrock, ROSENBROCK_START, optimizer=NoiseTolerantBFGS())
    assert_allclose(result.theta, 1.0, atol=1e-6)


def pairs_of(monkeypatch):
    """What `learn` is called with from now on: (s, y, batches averaged)."""
    pairs, learn = [], NoiseTolerantBFGS.learn

    def recorded(self, state, s, y):
        pairs.append((s, y, 1 + state["n_lost"] // self.patience))
        learn(self, state, s, y)

    monkeypatch.setattr(NoiseTolerantBFGS, "learn", recorded)
    return pairs


@pytest.mark.parametrize("patience", [5, 10**6])
def test_intervals_are_long_enough_for_the_gradients_to_differ_by_more_than_noise(
    patience, monkeypatch
):
    pairs = pairs_of(monkeypatch)
    solver = NoiseTolerantBFGS(value_noise=30.0, gradient_noise=40.0, patience=patience)
    run(solver, Noisy(rosenbrock, 2, noise=30.0), ROSENBROCK_START, FEW)
    assert len(pairs) > 0.8 * FEW
    for s, y, n_averaged in pairs:
        least = 2 * 1.5 * 40.0 / np.sqrt(n_averaged) * np.linalg.norm(s)
        assert s @ y >= least * (1 - 1e-9)


def test_steps_satisfy_the_relaxed_armijo_condition():
    solver = NoiseTolerantBFGS(value_noise=30.0, gradient_noise=40.0, patience=10**6)
    states = run(solver, Noisy(rosenbrock, 2, noise=30.0), ROSENBROCK_START, FEW)
    n_meaningful = 0
    for before, after in pairwise(states):
        s = after["x"] - before["x"]
        slope = before["gradient"] @ s
        meaningful = -slope > 40.0 * np.linalg.norm(s) * (1 + 1e-9)
        n_meaningful += meaningful
        rise = 2 * 30.0 + meaningful * 1e-4 * slope
        assert after["value"] - before["value"] <= rise + 1e-9
        assert after["n_lost"] - before["n_lost"] == (not meaningful)
    assert 0 < n_meaningful < FEW


def test_h_stays_positive_definite():
    for state in run(NoiseTolerantBFGS(), Noisy(rosenbrock, 3, 30.0), np.zeros(3), FEW)[2:]:
        H = np.zeros((3, 3))
        H[np.tril_indices(3)] = state["H"]
        assert np.linalg.eigvalsh(H, UPLO="L").min() > 0


def test_noise_is_measured_at_the_start():
    """Ten draws: the standard deviations are 30 and 30 sqrt(4) up to factors of 0.5 and 1.6,
    which chi-squared of 9 degrees of freedom leaves once in a hundred times."""
    noisy = Noisy(rosenbrock, 4, noise=30.0, seed=3)
    state = NoiseTolerantBFGS().start(noisy, np.zeros(4))
    assert noisy.n_evals == 10
    assert 0.5 < state["value_noise"] / 30 < 1.6
    assert 0.7 < state["gradient_noise"] / 60 < 1.3
    exact = Noisy(rosenbrock, 4)
    state = NoiseTolerantBFGS().start(exact, np.zeros(4))
    assert (exact.n_evals, state["value_noise"], state["gradient_noise"]) == (2, 0.0, 0.0)
    told = Noisy(rosenbrock, 4, noise=30.0)
    state = NoiseTolerantBFGS(value_noise=1.0, gradient_noise=2.0).start(told, np.zeros(4))
    assert (told.n_evals, state["value_noise"], state["gradient_noise"]) == (1, 1.0, 2.0)


def test_more_is_averaged_where_noise_dominates():
    """At the minimum all is noise, whose means get smaller."""
    noisy = Noisy(lambda x: (x @ x / 2, x), 3, noise=1.0)
    states = run(NoiseTolerantBFGS(patience=4), noisy, np.zeros(3), 80)
    numbers = [state["n_averaged"] for state in states]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 1 + states[-2]["n_lost"] // 4 >= 2
    sizes = [np.linalg.norm(state["gradient"] - state["x"]) for state in states]
    # Root mean squares: 1.7 for one evaluation, 0.5 for twelve and more.
    assert np.mean(sizes[-20:]) < 0.5 * np.mean(sizes[:10])


def test_a_dense_matrix_is_for_a_limited_number_of_parameters():
    n = 20_000
    with pytest.raises(ValueError, match=r"NoiseTolerantBFGS keeps .* 16,000 .* 20,000"):
        minimize(lambda x: (0.0, x), np.zeros(n), optimizer="noise_tolerant_bfgs")


# Both


@pytest.mark.parametrize("solver", [GaussianProcessNewton(), NoiseTolerantBFGS(patience=10**6)])
def test_directions_descend(solver):
    """As the gradient says that was known, however wrong it is."""
    states = run(solver, Noisy(rosenbrock, 2, noise=30.0), ROSENBROCK_START, FEW)
    for before, after in pairwise(states):
        assert before["gradient"] @ (after["x"] - before["x"]) < 0


@every_solver
def test_going_on_from_a_copied_state_is_exact(solver):
    function = Noisy(rosenbrock, 4, noise=3.0)
    whole = solver.start(function, np.full(4, -1.0))
    for i in range(20):
        if i == 10:
            part, generator = deepcopy(whole), function.rng.bit_generator.state
        assert solver.step(function, whole) is None
    function.rng.bit_generator.state = generator
    for _ in range(10):
        assert solver.step(function, part) is None
    assert part.keys() == whole.keys()
    for name in whole:
        assert_array_equal(part[name], whole[name])


def classes():
    n = 24 if INTERPRETED else 120
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 3))
    return X, (X @ rng.normal(size=(3, 2))).argmax(axis=1)


def small_net(dtype="float64"):
    return MLP([3, 4, 2], activation="tanh", output="softmax", dtype=dtype, seed=0)


def on_networks(batch_size=None):
    """A few equations for a Gaussian process that is interpreted."""
    history_size = 2 if INTERPRETED else None
    return {
        "gaussian process": GaussianProcessNewton(batch_size=batch_size, history_size=history_size),
        "noise-tolerant": NoiseTolerantBFGS(batch_size=batch_size),
    }


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("name", SOLVERS)
def test_a_small_network_and_its_checkpoint(name, batch_size, tmp_path):
    """26 parameters; the objective starts at about log 2."""
    X, y = classes()
    n_epochs = 4 if INTERPRETED else 20
    options = {"optimizer": on_networks(batch_size)[name], "l2": 1e-3, "seed": 0}
    whole, parts = small_net(), small_net()
    result = whole.fit(X, y, epochs=n_epochs, **options)
    assert result.status == Status.COMPLETED
    if not INTERPRETED:
        assert result.loss < 0.5 * np.log(2)
    for epochs in (n_epochs // 2, n_epochs):
        parts.fit(X, y, epochs=epochs, checkpoint=tmp_path / "fit.checkpoint", **options)
    assert_array_equal(parts.theta, whole.theta)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_network_in_single_precision(name):
    X, y = classes()
    net = small_net("float32")
    epochs = 5 if INTERPRETED else 60
    result = net.fit(X, y, optimizer=on_networks()[name], epochs=epochs, l2=1e-3)
    assert result.status == Status.COMPLETED
    if not INTERPRETED:
        assert result.loss < 0.5 * np.log(2)


@every_solver
def test_a_region_that_is_not_finite_is_kept_out_of(solver):
    """x - log x, infinite or undefined from 0 down; the minimum is at 1."""

    def barrier(x):
        with np.errstate(all="ignore"):
            return float(np.sum(x - np.log(x))), 1 - 1 / x

    result = minimize(barrier, [0.01, 30.0], optimizer=solver, max_iterations=300)
    assert (result.theta > 0).all()
    assert result.loss < barrier(np.array([0.01, 30.0]))[0]


@every_solver
def test_nothing_but_the_start_is_finite(solver):
    x0, calls = np.array([1.0, 2.0]), []

    def function(x):
        calls.append(None)
        return (5.0 if (x == x0).all() else np.nan), np.ones(2)

    result = minimize(function, x0, optimizer=solver)
    assert result.status in (Status.NOT_FINITE, Status.LINE_SEARCH_FAILED)
    assert not result.success
    assert_array_equal(result.theta, x0)


@every_solver
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_start_that_is_not_finite(solver, value):
    result = minimize(lambda x: (value, x), [1.0, 2.0], optimizer=solver)
    assert result.status == Status.NOT_FINITE
    assert_array_equal(result.theta, [1, 2])


def test_a_wrong_gradient_is_a_failed_search():
    """Without noise no step along -g lowers the value."""
    result = minimize(lambda x: (x @ x, -2 * x), [1.0, 2.0], optimizer=NoiseTolerantBFGS())
    assert result.status == Status.LINE_SEARCH_FAILED
    assert "no step lowers the objective" in result.message
    assert_array_equal(result.theta, [1, 2])


@every_solver
def test_flat_and_unbounded_functions(solver):
    flat = minimize(lambda x: (1.0, np.zeros(2)), [1.0, 2.0], optimizer=solver, max_iterations=5)
    assert flat.status == Status.COMPLETED
    assert_array_equal(flat.theta, [1, 2])
    falling = minimize(
        lambda x: (-x.sum(), -np.ones(2)), [1.0, 2.0], optimizer=solver, max_iterations=20
    )
    assert falling.status == Status.COMPLETED
    assert falling.loss < -10


@every_solver
def test_tiny_budgets(solver):
    result = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver, max_iterations=1)
    assert (result.status, result.n_iter) == (Status.COMPLETED, 1)
    assert result.loss < 24.2
    result = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver, time_limit=1e-9)
    assert result.status == Status.TIME_LIMIT
    assert_array_equal(result.theta, ROSENBROCK_START)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GaussianProcessNewton(history_size=0), ValueError, "history_size must be an int"),
        (lambda: GaussianProcessNewton(length_scale=0), ValueError, "length_scale must be a pos"),
        (lambda: GaussianProcessNewton(prior_std=-1.0), ValueError, "prior_std must be a positive"),
        (lambda: GaussianProcessNewton(prior_mean=-1.0), ValueError, "prior_mean must be a number"),
        (lambda: GaussianProcessNewton(batch_noise="a"), TypeError, "batch_noise must be a number"),
        (lambda: GaussianProcessNewton(decay=0), ValueError, "decay must be a positive number"),
        (lambda: NoiseTolerantBFGS(value_noise=-1.0), ValueError, "value_noise must be a number"),
        (lambda: NoiseTolerantBFGS(gradient_noise="a"), TypeError, "gradient_noise must be a num"),
        (lambda: NoiseTolerantBFGS(patience=0), ValueError, "patience must be an integer"),
        (lambda: NoiseTolerantBFGS(batch_size=1.5), TypeError, "batch_size must be an integer"),
        (lambda: NoiseTolerantBFGS(max_iterations=0), ValueError, "max_iterations must be an int"),
    ],
)
def test_bad_hyperparameters(make, error, message):
    with pytest.raises(error, match=message):
        make()
