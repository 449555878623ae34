"""Stochastic quasi-Newton methods and methods without gradients: what defines each of them."""

import math
from dataclasses import replace
from itertools import pairwise, product
from types import SimpleNamespace

import numpy as np
import pytest
from marks import INTERPRETED, both_precisions
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import (
    MLP,
    SPSA,
    InverseTime,
    KieferWolfowitz,
    LeastSquaresNewton,
    Status,
    StochasticLBFGS,
    minimize,
)
from fastmlp.solvers import Function
from fastmlp.solvers.least_squares_newton import fitted_product
from fastmlp.solvers.regularized_search import first_step, regularized_search

NEWTONS = [StochasticLBFGS, LeastSquaresNewton]
GRADIENT_FREE = [KieferWolfowitz, SPSA]
every_newton = pytest.mark.parametrize("newton", NEWTONS)
every_method = pytest.mark.parametrize("method", NEWTONS + GRADIENT_FREE)


class Batched(Function):
    """Batches of a function: the k-th is ``parts[k % len(parts)]``, which gives value and gradient.

    All of them evaluate `at`, a list that takes down where.
    """

    def __init__(self, parts, size, seed=0):
        self.parts, self.size, self.resolution = parts, size, 2e-16
        self.n_batches = len(parts)
        self.rng = np.random.default_rng(seed)
        self.n_drawn = 0
        self.at = []

    def value_and_grad(self, x):
        self.at.append(x)
        pairs = [part(x) for part in self.parts]
        return (
            sum(value for value, _ in pairs) / len(pairs),
            sum(gradient for _, gradient in pairs) / len(pairs),
        )

    def batch(self):
        if len(self.parts) == 1:
            return self
        part = self.parts[self.n_drawn % len(self.parts)]
        self.n_drawn += 1
        batch = Batched([part], self.size)
        batch.at = self.at
        return batch


def iterates(solver, function, x0, n_updates):
    """The states after the start and after each update, and the outcome."""
    state = solver.start(function, np.array(x0, np.float64))
    states, outcome = [dict(state)], None
    for _ in range(n_updates):
        outcome = solver.step(function, state)
        if outcome is not None:
            break
        states.append(dict(state))
    return states, outcome


_Q = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
HESSIAN = _Q @ np.diag([1.0, 3.0, 10.0, 30.0, 100.0]) @ _Q.T


def quadratic_with(linear):
    """Half of x'Ax plus a linear term."""

    def part(x):
        return x @ HESSIAN @ x / 2 + linear @ x, HESSIAN @ x + linear

    return part


def saddle(x):
    """Half of x'Dx with one negative eigenvalue, bounded by a quartic."""
    d = np.array([4.0, 1.0, -2.0])
    return d @ x**2 / 2 + 0.1 * np.sum(x**4), d * x + 0.4 * x**3


def rosenbrock(x):
    a, b = x[0], x[1] - x[0] ** 2
    return (1 - a) ** 2 + 100 * b**2, np.array([2 * (a - 1) - 400 * a * b, 200 * b])


# Line-search regularization


def along_a_line(values):
    """A function of one number that gives these values in turn, and gradient 1."""
    given = iter(values)
    seen = []

    def evaluate(x):
        seen.append(float(x[0]))
        return next(given), np.ones(1)

    return evaluate, seen


def search(values, value=1.0, step=0.8, **options):
    """Search from 0 along 1 with slope -1."""
    evaluate, seen = along_a_line(values)
    move = regularized_search(evaluate, np.zeros(1), value, -1.0, np.ones(1), step, **options)
    return move, seen


def test_the_first_step_is_long_at_first_and_then_shrinks_like_one_over_k():
    assert [first_step(k, 0.9, 10) for k in (1, 11, 20, 1000)] == [0.9, 0.9, 0.5, 0.01]


def test_a_step_that_lowers_the_value_enough_is_taken():
    """A tenth of what the slope promises: 0.08 for the step 0.8."""
    move, seen = search([0.91])
    assert seen == [0.8]
    assert (move.step, move.value, move.x[0]) == (0.8, 0.91, 0.8)


def test_a_step_that_does_not_is_halved_until_it_does():
    move, seen = search([0.93, 0.97, 0.97])
    assert seen == [0.8, 0.4, 0.2]
    assert move.step == 0.2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_shorten_the_step(bad):
    move, seen = search([bad, bad, 0.5])
    assert seen == [0.8, 0.4, 0.2]
    assert move.value == 0.5


def test_gradients_that_are_not_finite_shorten_the_step():
    def evaluate(x):
        return 0.0, np.array([math.nan if x[0] > 0.3 else 1.0])

    move = regularized_search(evaluate, np.zeros(1), 1.0, -1.0, np.ones(1), 0.8)
    assert move.step == 0.2


def test_the_step_is_halved_ten_times_and_then_taken():
    move, seen = search([5.0] * 100)
    assert_allclose(seen, 0.8 * 0.5 ** np.arange(11), rtol=1e-15)
    assert move.step == seen[-1]


def test_there_is_no_step_to_where_nothing_is_finite():
    move, seen = search([5.0] * 10 + [math.nan])
    assert move is None
    assert len(seen) == 11


def test_a_rise_within_the_tolerance_is_put_down_to_noise():
    assert search([1.9], tolerance=1.0)[0].step == 0.8
    assert search([math.nan, 1e300], tolerance=math.inf)[0].step == 0.4


# What stochastic quasi-Newton methods learn from


def noting(newton):
    """The class with a list of what its instances were told to learn."""
    told = []

    class Noting(newton):
        def learn(self, state, s, y, Bs):
            told.append((s, y, Bs))
            super().learn(state, s, y, Bs)

    return Noting, told


@every_newton
def test_pairs_are_of_one_batch_however_much_batches_differ(newton):
    """y = As exactly, where the difference of two batches is ten thousand times as much."""
    linear = np.random.default_rng(1).normal(scale=1e4, size=(3, 5))
    function = Batched([quadratic_with(b) for b in linear], 5)
    noting_newton, told = noting(newton)
    iterates(noting_newton(), function, np.zeros(5), 30)
    assert len(told) == 30
    for s, y, _ in told:
        # Gradients of 1e6 at most, with sixteen digits.
        assert_allclose(y, HESSIAN @ s, rtol=0, atol=1e-8)


@every_newton
def test_the_expected_change_is_that_of_newton_on_the_approximated_hessian(newton):
    """Where Bs is claimed, the direction must have been -B^-1 g: then s'g = -s'Bs / step."""
    function = Batched([quadratic_with(np.ones(5))], 5)
    noting_newton, told = noting(newton)
    states, _ = iterates(noting_newton(), function, np.ones(5), 5)
    for before, after, (s, _, Bs) in zip(states, states[1:], told, strict=False):
        assert_array_equal(s, after["x"] - before["x"])
        gradient = HESSIAN @ before["x"] + 1
        step = -Bs[0] / gradient[0]
        assert 0 < step <= 0.9 * (1 + 1e-12)  # Bs as below
        assert_allclose(Bs, -step * gradient, rtol=1e-12)


@every_newton
def test_every_direction_is_one_of_descent(newton):
    """On a saddle, from batches that disagree."""

    class Watched(newton):
        def direction(self, state, gradient):
            d = super().direction(state, gradient)
            assert d @ gradient < 0
            return d

    rng = np.random.default_rng(2)

    def tilted(linear):
        return lambda x: (saddle(x)[0] + linear @ x, saddle(x)[1] + linear)

    function = Batched([tilted(b) for b in rng.normal(size=(4, 3))], 3)
    states, outcome = iterates(Watched(), function, [1.0, 1.0, 0.1], 200)
    assert outcome is None
    assert states[-1]["n_pairs"] == 200


# Stochastic L-BFGS


def dense_bfgs(S, Y):
    """The inverse Hessian that BFGS makes of pairs, from the scale of the last one."""
    H = np.eye(S.shape[1]) * (S[-1] @ Y[-1]) / (Y[-1] @ Y[-1])
    for s, y in zip(S, Y, strict=True):
        V = np.eye(s.size) - np.outer(y, s) / (s @ y)
        H = V.T @ H @ V + np.outer(s, s) / (s @ y)
    return H


@pytest.mark.parametrize("n_pairs", [1, 3, 4, 6])
def test_the_direction_is_that_of_dense_bfgs_on_the_last_pairs(n_pairs):
    rng = np.random.default_rng(3)
    solver = StochasticLBFGS(history_size=4)
    state = solver.start(Batched([quadratic_with(np.zeros(5))], 5), np.zeros(5))
    S = rng.normal(size=(n_pairs, 5))
    Y = S @ HESSIAN
    for s, y in zip(S, Y, strict=True):
        solver.learn(state, s, y, y)
    gradient = rng.normal(size=5)
    expected = -dense_bfgs(S[-4:], Y[-4:]) @ gradient
    assert_allclose(solver.direction(state, gradient), expected, rtol=1e-10)
    # The secant equation of the newest pair.
    assert_allclose(solver.direction(state, Y[-1]), -S[-1], rtol=1e-10)


def stored_pair(s, y, Bs):
    solver = StochasticLBFGS(history_size=1)
    state = solver.start(Batched([quadratic_with(np.zeros(5))], 5), np.zeros(5))
    solver.learn(state, *map(np.array, (s, y, Bs)))
    return state["Y"][0], state["n_pairs"]


def test_damping_leaves_pairs_of_good_curvature_alone():
    y, _ = stored_pair([1.0, 0, 0, 0, 0], [0.2, 5, 0, 0, 0], [1.0, 0, 0, 0, 0])
    assert_array_equal(y, [0.2, 5, 0, 0, 0])


@pytest.mark.parametrize("curvature", [0.19, 0.0, -3.0])
def test_damping_moves_the_others_towards_what_was_expected(curvature):
    """Just so far that s'y is 0.2 s'Bs, on the line between y and Bs."""
    s, y, Bs = np.eye(5)[0], np.array([curvature, 5.0, 0, 0, 0]), np.array([1.0, 0, 2, 0, 0])
    kept, n_pairs = stored_pair(s, y, Bs)
    assert n_pairs == 1
    assert_allclose(kept[0], 0.2, rtol=1e-12)
    share = kept[1] / y[1]
    assert 0 < share < 1
    assert_allclose(kept, share * y + (1 - share) * Bs, rtol=1e-12)


def test_all_curvature_that_is_kept_is_positive():
    states, _ = iterates(StochasticLBFGS(), Batched([saddle], 3), [1.0, 1.0, 0.1], 60)
    last = states[-1]
    n = min(last["n_pairs"], 10)
    assert n == 10
    assert (np.einsum("ij,ij->i", last["S"], last["Y"]) > 0).all()
    # And the saddle is left behind: both minima are at sqrt(2 / 0.4) of the third coordinate.
    assert_allclose(np.abs(last["x"]), [0, 0, math.sqrt(5)], atol=1e-3)


def test_a_pair_without_any_step_is_not_kept():
    assert stored_pair(np.zeros(5), np.zeros(5), np.zeros(5))[1] == 0


# Least-squares Newton


@pytest.mark.parametrize("n_pairs", [1, 4, 9])
@pytest.mark.parametrize("penalty", [1e-3, 1.0, 1e3])
def test_the_inverse_hessian_solves_the_least_squares_problem(n_pairs, penalty):
    """NumPy's own least squares on all entries of H at once, by rows: H Y' = S', root * H = ..."""
    rng = np.random.default_rng(4)
    S, Y = rng.normal(size=(n_pairs, 5)), rng.normal(size=(n_pairs, 5))
    gamma, root = 0.3, math.sqrt(penalty)
    equations = np.vstack([Y, root * np.eye(5)])
    targets = np.vstack([S, root * gamma * np.eye(5)])
    H = np.linalg.lstsq(equations, targets, rcond=None)[0].T
    g = rng.normal(size=5)
    assert_allclose(fitted_product(S, Y, Y @ Y.T, gamma, penalty, g), H @ g, rtol=1e-9)


def learned(solver, S, Y):
    state = solver.start(Batched([quadratic_with(np.zeros(5))], 5), np.zeros(5))
    for s, y in zip(S, Y, strict=True):
        solver.learn(state, s, y, y)
    return state


def test_with_hardly_a_ridge_enough_exact_pairs_give_newtons_direction():
    rng = np.random.default_rng(5)
    S = rng.normal(size=(8, 5))
    solver = LeastSquaresNewton(ridge=1e-12)
    gradient = rng.normal(size=5)
    direction = solver.direction(learned(solver, S, S @ HESSIAN), gradient)
    # The ridge is 1e-12 times the largest squared curvature, 1e-8 times the smallest.
    assert_allclose(direction, -np.linalg.solve(HESSIAN, gradient), rtol=1e-6)


def test_only_the_last_pairs_count():
    rng = np.random.default_rng(6)
    S, Y, gradient = rng.normal(size=(7, 5)), rng.normal(size=(7, 5)), rng.normal(size=5)
    solver = LeastSquaresNewton(history_size=3)
    of_all = solver.direction(learned(solver, S, Y), gradient)
    of_last = solver.direction(learned(solver, S[-3:], Y[-3:]), gradient)
    assert_allclose(of_all, of_last, rtol=1e-10)


def test_a_direction_of_ascent_is_replaced_by_the_gradient():
    """Pairs of negative curvature alone: H is about -1/2 times the identity."""
    S = np.eye(5)
    Y = -2.0 * S
    solver = LeastSquaresNewton()
    gradient = np.arange(1.0, 6.0)
    direction = solver.direction(learned(solver, S, Y), gradient)
    assert_allclose(direction, -0.5 * gradient, rtol=1e-12)


# Both of them


@every_newton
def test_a_quadratic_is_solved(newton):
    b = np.arange(1.0, 6.0)
    function = Batched([quadratic_with(b)], 5)
    states, _ = iterates(newton(decay=1e6), function, np.zeros(5), 150)
    assert_allclose(states[-1]["x"], -np.linalg.solve(HESSIAN, b), atol=1e-4)


@every_newton
def test_batches_converge_to_the_minimum_of_their_mean(newton):
    linear = np.random.default_rng(7).normal(size=(20, 5))
    function = Batched([quadratic_with(b) for b in linear], 5)
    states, _ = iterates(newton(), function, np.ones(5), 2000)
    center = -np.linalg.solve(HESSIAN, linear.mean(axis=0))
    start = np.linalg.norm(np.ones(5) - center)
    assert np.linalg.norm(states[-1]["x"] - center) < 0.05 * start


@every_newton
def test_each_update_evaluates_one_batch_at_both_ends_of_its_step(newton):
    function = Batched([quadratic_with(np.full(5, sign)) for sign in (1.0, -1.0)], 5)
    states, _ = iterates(newton(), function, np.ones(5), 40)
    assert function.n_drawn == 40
    for before, after in pairwise(states):
        assert after["n_updates"] == before["n_updates"] + 1
        at = [i for i, x in enumerate(function.at) if x is before["x"]]
        ends = [i for i, x in enumerate(function.at) if x is after["x"]]
        assert at[-1] < ends[0]


@every_newton
def test_a_learning_rate_takes_the_place_of_the_search(newton):
    """One evaluation at each end, and the step of the schedule."""
    function = Batched([quadratic_with(np.ones(5))] * 2, 5)
    noting_newton, told = noting(newton)
    rate = InverseTime(0.5, t0=3.0, per="update")
    states, _ = iterates(noting_newton(learning_rate=rate), function, np.ones(5), 9)
    assert len(function.at) == 18
    gradients = [HESSIAN @ state["x"] + 1 for state in states]
    steps = [-Bs[0] / gradient[0] for (_, _, Bs), gradient in zip(told, gradients, strict=False)]
    assert_allclose(steps, [0.5 / (1 + k / 3) for k in range(9)], rtol=1e-10)


@every_newton
def test_the_noise_of_a_function_is_measured_where_it_has_any(newton):
    rng = np.random.default_rng(8)

    def noisy(x):
        return 7 * rng.normal(), 3 * rng.normal(size=200)

    state = newton().start(Batched([noisy], 200), np.zeros(200))
    # Of ten values, which gives about a quarter; of ten gradients, of 200 components each.
    assert_allclose(state["value_noise"], 7 * math.sqrt(2), rtol=0.7)
    assert_allclose(state["gradient_noise"], 3 * math.sqrt(2 * 200), rtol=0.1)
    exact = Batched([rosenbrock], 2)
    state = newton().start(exact, np.zeros(2))
    assert state["value_noise"] == state["gradient_noise"] == 0
    assert len(exact.at) == 2


@every_newton
def test_changes_that_do_not_stand_out_of_the_noise_teach_nothing(newton):
    rng = np.random.default_rng(9)

    def slope(x):
        return x.sum(), 1 + 1e-3 * rng.normal(size=20)

    def bowl(x):
        return x @ x / 2, x + 1e-3 * rng.normal(size=20)

    states, _ = iterates(newton(), Batched([slope], 20), np.zeros(20), 20)
    assert states[-1]["n_pairs"] == 0
    states, _ = iterates(newton(), Batched([bowl], 20), np.full(20, 5.0), 3)
    assert states[-1]["n_pairs"] == 3


@every_newton
def test_they_come_near_the_minimum_of_the_noisy_rosenbrock(newton):
    """Noise of standard deviation 30 on value and gradient; the start has the value 24.2.

    Of the gradient's noise alone k evaluations at the minimum leave 75 / sqrt(k) along the
    valley, 1.2 here, where the function is about 0.2 (x - 1)^2.
    """
    ends = []
    for seed in range(15):
        rng = np.random.default_rng(seed)

        def noisy(x, rng=rng):
            value, gradient = rosenbrock(x)
            return value + 30 * rng.normal(), gradient + 30 * rng.normal(size=2)

        result = minimize(
            noisy, [-1.2, 1.0], optimizer=newton(decay=1000), max_iterations=2000, seed=seed
        )
        ends.append(rosenbrock(result.theta)[0])
    assert np.median(ends) < 1


# Kiefer-Wolfowitz


def bowl_with_noise(curvature, deviation, seed=0):
    rng = np.random.default_rng(seed)

    def part(x):
        return curvature * x @ x / 2 + deviation * rng.normal(), np.zeros_like(x)

    return part


def test_kiefer_wolfowitz_gains():
    assert KieferWolfowitz(a=3.0, c=0.5).gains(8) == (3 / 8, 0.25)


def test_kiefer_wolfowitz_on_a_quadratic_without_noise():
    """Differences are exact, so x falls by the factors 1 - a h / n, for a h = 1/2 Wallis' product:

    binom(2n, n) / 4^n, which is about 1 / sqrt(pi n).
    """
    n = 50
    solver = KieferWolfowitz(a=0.25, c=2.0)
    states, _ = iterates(solver, Batched([bowl_with_noise(2.0, 0.0)], 3), [1.0, -2.0, 5.0], n)
    factor = math.comb(2 * n, n) / 4**n
    assert_allclose(states[-1]["x"], np.array([1.0, -2.0, 5.0]) * factor, rtol=1e-10)
    assert_allclose(factor, 1 / math.sqrt(math.pi * n), rtol=0.01)


def test_kiefer_wolfowitz_errors_fall_like_the_cube_root_of_evaluations():
    """With a = 1 / h the start is forgotten at once, and x is the mean of all errors so far.

    An error of gradient n has the variance n^(2/3) sigma^2 / (2 c^2), their mean after N about
    3/10 sigma^2 / c^2 N^(-1/3), here summed exactly.
    """
    n_parameters = 300
    sigma, c, n = 0.7, 2.0, 60
    function = Batched([bowl_with_noise(1.0, sigma)], n_parameters)
    states, _ = iterates(KieferWolfowitz(c=c), function, np.full(n_parameters, 9.0), n)
    expected = sigma**2 / (2 * c**2) * np.sum(np.arange(1, n + 1) ** (2 / 3)) / n**2
    # The variance of a variance of n_parameters normal numbers; four times its root.
    spread = 4 * math.sqrt(2 / n_parameters)
    assert_allclose(np.mean(states[-1]["x"] ** 2), expected, rtol=spread)
    assert_allclose(expected, 0.3 * sigma**2 / c**2 * n ** (-1 / 3), rtol=0.05)


def test_kiefer_wolfowitz_takes_two_values_of_one_batch_for_each_parameter():
    function = Batched([quadratic_with(np.full(5, sign)) for sign in (1.0, -1.0)], 5)
    state = KieferWolfowitz(c=0.5).start(function, np.zeros(5))
    KieferWolfowitz(c=0.5).step(function, state)
    assert function.n_drawn == 1
    assert_allclose(function.at, [s * 0.5 * e for e in np.eye(5) for s in (1, -1)], atol=1e-15)
    # At 0 the gradient is the linear term, whatever the quadratic one.
    assert_allclose(state["gradient"], np.ones(5), rtol=1e-12)


# SPSA


def test_spsa_gains_are_spalls():
    """His exponents are the least that the theory allows: 0.602 and 0.101."""
    solver = SPSA(a=2.0, c=0.3, stability=20.0)
    first, last = solver.gains(1), solver.gains(980)
    assert_allclose(first, [2 / 21**0.602, 0.3], rtol=1e-12)
    assert_allclose(last, [2 / 1000**0.602, 0.3 / 980**0.101], rtol=1e-12)


def mean_estimate(distance):
    """SPSA's estimate of a cubic's gradient at 1, the mean over all directions there are."""
    coefficients = np.array([1.0, -2.0, 0.5])

    def cubic(x):
        return coefficients @ x**3 + x[0] * x[1] * x[2], np.zeros(3)

    estimates = []
    for bits in product((0, 1), repeat=3):
        function = Batched([cubic], 3)
        function.rng = SimpleNamespace(integers=lambda low, high, size, bits=bits: np.array(bits))
        estimates.append(SPSA().estimate(function, np.ones(3), distance)[1])
    return np.mean(estimates, axis=0), 3 * coefficients + 1


def test_spsa_is_unbiased_but_for_the_square_of_the_distance():
    coarse, fine = (mean_estimate(distance) for distance in (0.2, 0.1))
    errors = [np.abs(mean - exact).max() for mean, exact in (coarse, fine)]
    assert errors[0] < 0.5
    # The third derivatives alone err, and they are constant.
    assert_allclose(errors[0] / errors[1], 4, rtol=1e-9)


def test_spsa_directions_are_even_odds():
    function = Batched([lambda x: (x.sum(), np.zeros(1000))], 1000)
    solver = SPSA()
    for seed in range(3):
        function.rng = np.random.default_rng(seed)
        solver.estimate(function, np.zeros(1000), 1.0)
        signs = function.at[-2]
        assert set(np.unique(signs)) == {-1.0, 1.0}
        # Four standard deviations of a mean of a thousand signs.
        assert abs(signs.mean()) < 4 / math.sqrt(1000)
        assert_array_equal(function.at[-1], -signs)


# Both of them


@pytest.mark.parametrize("method", [KieferWolfowitz(a=0.3, c=1.0), SPSA(a=1.0, c=1.0)], ids=str)
def test_methods_without_gradients_bear_noise_and_ask_for_no_gradient(method):
    rng = np.random.default_rng(10)
    center = np.array([1.0, -2.0, 3.0])
    scale = np.array([1.0, 2.0, 5.0])

    def noisy(x):
        return scale @ (x - center) ** 2 + 0.1 * rng.normal(), np.full(3, np.nan)

    result = minimize(noisy, np.zeros(3), optimizer=method, max_iterations=1500, seed=1)
    assert result.status == Status.COMPLETED
    assert_allclose(result.theta, center, atol=0.15)


# All four: networks, budgets, numbers that are not finite


def classes():
    n = 20 if INTERPRETED else 90
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 4))
    return X, (X @ rng.normal(size=(4, 3))).argmax(axis=1)


ROWS = 10 if INTERPRETED else 30
OF_NETWORKS = [
    StochasticLBFGS(batch_size=ROWS),
    LeastSquaresNewton(batch_size=ROWS),
    SPSA(batch_size=ROWS, a=1.0),
    # Two forward passes for each of 43 parameters.
    KieferWolfowitz(batch_size=ROWS, a=5.0, c=0.1),
]


@pytest.mark.parametrize("optimizer", OF_NETWORKS, ids=lambda optimizer: type(optimizer).__name__)
@both_precisions
def test_they_train_a_small_network(optimizer, dtype):
    X, y = classes()
    net = MLP([4, 5, 3], activation="tanh", output="softmax", dtype=dtype, seed=0)
    start = net.loss(X, y, l2=0.01)
    epochs = 4 if INTERPRETED else 40
    result = net.fit(X, y, optimizer=optimizer, epochs=epochs, l2=0.01, seed=0)
    assert result.status == Status.COMPLETED
    assert result.n_iter == epochs
    # In time below the loss of equal odds.
    goal = start if INTERPRETED else 0.8 * math.log(3)
    assert result.loss == net.loss(X, y, l2=0.01) < goal <= start
    assert_array_equal(result.theta, net.theta)


@pytest.mark.parametrize("optimizer", OF_NETWORKS, ids=lambda optimizer: type(optimizer).__name__)
@pytest.mark.parametrize(
    "budget", [{"epochs": 1}, {"target_loss": 1e9}, {"time_limit": 1e-9}], ids=str
)
def test_tiny_budgets(optimizer, budget):
    X, y = classes()
    net = MLP([4, 5, 3], activation="tanh", output="softmax", seed=0)
    before = net.theta.copy()
    result = net.fit(X, y, optimizer=optimizer, seed=0, **budget)
    assert np.isfinite(result.theta).all()
    assert math.isfinite(result.loss)
    if "time_limit" in budget:
        assert result.status == Status.TIME_LIMIT
        assert_array_equal(net.theta, before)


@every_method
def test_one_iteration_of_minimize(method):
    result = minimize(rosenbrock, [-1.2, 1.0], optimizer=method(), max_iterations=1, seed=0)
    assert result.n_iter == 1
    assert result.trace["objective"][0] == pytest.approx(24.2)


@every_method
def test_a_start_that_is_not_finite(method):
    result = minimize(
        lambda x: (math.nan, np.full(2, math.nan)), [1.0, 2.0], optimizer=method(), seed=0
    )
    assert result.status == Status.NOT_FINITE
    assert_array_equal(result.theta, [1, 2])


@every_method
def test_a_batch_that_is_not_finite(method):
    """The iterate before it comes back, and the reason."""
    good = quadratic_with(np.ones(5))
    parts = [good, good, good, lambda x: (math.nan, np.full(5, math.inf))]
    states, outcome = iterates(
        method(a=1e-3) if method in GRADIENT_FREE else method(), Batched(parts, 5), np.ones(5), 10
    )
    assert outcome.status == Status.NOT_FINITE
    assert len(states) == 4
    assert np.isfinite(states[-1]["x"]).all()


@every_newton
def test_a_wall_is_not_stepped_over(newton):
    """-log(x) + x, infinite or NaN for x <= 0: long steps come back from behind the wall."""

    def barrier(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sum(x - np.log(x)), 1 - 1 / x

    optimizer = newton(largest_step=100.0, decay=1e4)
    result = minimize(barrier, [5.0, 0.1], optimizer=optimizer, max_iterations=100)
    assert result.status == Status.COMPLETED
    assert_allclose(result.theta, [1, 1], atol=1e-3)


@every_newton
def test_states_go_on_from_a_copy_with_the_same_bits(newton):
    """The state is all there is: also of a function without data that is noisy."""

    def run(n, state=None, rng=None):
        rng = rng or np.random.default_rng(11)

        def noisy(x):
            value, gradient = rosenbrock(x)
            return value + rng.normal(), gradient + rng.normal(size=2)

        function = Batched([noisy], 2)
        solver = newton(history_size=3, decay=1000.0)
        state = solver.start(function, np.array([-1.2, 1.0])) if state is None else state
        for _ in range(n):
            solver.step(function, state)
        return state, rng

    whole, _ = run(40)
    half, rng = run(20)
    copy = {name: np.copy(v) if isinstance(v, np.ndarray) else v for name, v in half.items()}
    resumed, _ = run(20, copy, rng)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert_array_equal(resumed[name], value)


@pytest.mark.parametrize("optimizer", OF_NETWORKS, ids=lambda optimizer: type(optimizer).__name__)
def test_a_fit_on_mini_batches_goes_on_with_the_same_bits(optimizer, tmp_path):
    X, y = classes()
    optimizer = replace(optimizer, batch_size=len(X) // 3)
    path = tmp_path / "fit.checkpoint"
    whole, parts = (MLP([4, 5, 3], output="softmax", dtype="float64", seed=0) for _ in range(2))
    expected = whole.fit(X, y, optimizer=optimizer, epochs=4, seed=2)
    parts.fit(X, y, optimizer=optimizer, epochs=2, seed=2, checkpoint=path)
    result = parts.fit(X, y, optimizer=optimizer, epochs=4, seed=2, checkpoint=path)
    assert_array_equal(parts.theta, whole.theta)
    assert_array_equal(result.trace["objective"], expected.trace["objective"])


# Arguments


@pytest.mark.parametrize(
    ("method", "argument", "error", "message"),
    [
        (StochasticLBFGS, {"history_size": 0}, ValueError, "history_size must be an integer of"),
        (StochasticLBFGS, {"batch_size": 0}, ValueError, "batch_size must be an integer of at"),
        (StochasticLBFGS, {"batch_size": 1.5}, TypeError, "batch_size must be an integer of at"),
        (StochasticLBFGS, {"learning_rate": 0}, ValueError, "learning_rate must be a positive"),
        (StochasticLBFGS, {"largest_step": 0}, ValueError, "largest_step must be a positive"),
        (LeastSquaresNewton, {"history_size": 0}, ValueError, "history_size must be an integer"),
        (LeastSquaresNewton, {"ridge": 0}, ValueError, "ridge must be a positive number, got 0"),
        (LeastSquaresNewton, {"decay": -1}, ValueError, "decay must be a positive number, got -1"),
        (
            LeastSquaresNewton,
            {"max_iterations": 0},
            ValueError,
            "max_iterations must be an integer",
        ),
        (KieferWolfowitz, {"a": 0}, ValueError, "a must be a positive number, got 0"),
        (KieferWolfowitz, {"c": math.inf}, ValueError, "c must be a positive number, got inf"),
        (KieferWolfowitz, {"batch_size": 0}, ValueError, "batch_size must be an integer of at"),
        (SPSA, {"stability": -1}, ValueError, "stability must be a number of at least 0, got -1"),
        (SPSA, {"max_iterations": 0.5}, TypeError, "max_iterations must be an integer"),
    ],
)
def test_bad_arguments(method, argument, error, message):
    with pytest.raises(error, match=message):
        method(**argument)
    with pytest.raises(error, match=message):
        replace(method(), **argument)


@pytest.mark.parametrize(
    "written",
    [
        "kiefer_wolfowitz(a=0.001, c=0.1)",
        "spsa(a=0.001)",
        "stochastic_lbfgs(history_size=5)",
        "stochastic_lbfgs(learning_rate=step(initial=0.5, factor=0.5, every=10))",
        "least_squares_newton(ridge=1e-2)",
    ],
)
def test_written_names(written):
    result = minimize(rosenbrock, [-1.2, 1.0], optimizer=written, max_iterations=20, seed=0)
    assert result.n_iter == 20
    assert result.loss < 24.2
