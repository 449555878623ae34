"""Kernels of the quasi-Newton methods, against their twins and dense matrices."""

import math

import numpy as np
import pytest
import reference
from copies import copied
from functions import rosenbrock
from marks import INTERPRETED
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp.kernels import lbfgs, line_search, moments, quasi_newton, vectors
from fastmlp.kernels.records import SEARCH
from fastmlp.solvers.lbfgs_run import Run, new_run

EPS = float(np.finfo(np.float64).eps)

# L-BFGS


def history(n, count, n_rows=6, last=3, seed=0):
    """Rows of pairs of positive curvature, and the pairs in order, the oldest first."""
    rng = np.random.default_rng(seed)
    S, Y = np.full((2, n_rows, n), np.nan)
    curvatures = np.full(n_rows, np.nan)
    pairs = []
    for age in reversed(range(count)):
        row = (last - age) % n_rows
        S[row], Y[row] = rng.normal(size=(2, n))
        Y[row] += S[row] * (1 + abs(S[row] @ Y[row]) / (S[row] @ S[row]))
        curvatures[row] = S[row] @ Y[row]
        pairs.append((S[row], Y[row]))
    return (S, Y, curvatures, last, count), pairs


@pytest.mark.parametrize("n", [1, 7, 8, 9, 30])
def test_inner_products(n):
    """Three roundings of each product, the sum and their mask are not seen at 1e-12."""
    x, y = np.random.default_rng(0).normal(size=(2, n))
    assert_allclose(vectors.dot.serial(x, y), reference.dot(x, y), rtol=1e-12)


@pytest.mark.parametrize("n", [1, 7, 8, 30])
def test_products_of_rows(n):
    """As few roundings as above, of sums of few numbers of size one."""
    A, B = np.random.default_rng(n).normal(size=(2, 3, n))
    products, combined = np.empty((3, 2)), np.empty(n)
    vectors.row_products.serial(A, B[:2], products)
    assert_allclose(products, reference.row_products(A, B[:2]), rtol=1e-12, atol=1e-14)
    vectors.combine_rows.serial(A[:, 0].copy(), B, combined)
    assert_allclose(combined, reference.combine_rows(A[:, 0], B), rtol=1e-12, atol=1e-14)


def test_addition_of_a_multiple():
    """Halves of small integers are added without rounding."""
    x, y = np.arange(5.0), np.ones(5)
    expected = reference.add_scaled(x, -0.5, y)
    standalone(vectors.add_scaled)(x, -0.5, y)
    assert_array_equal(x, expected)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_largest_of_a_vector_and_of_a_change(n):
    old, new = 3 * np.random.default_rng(0).normal(size=(2, n))
    assert vectors.largest.serial(new) == reference.largest(new)
    assert_allclose(
        vectors.largest_change.serial(old, new), reference.largest_change(old, new), rtol=1e-15
    )
    assert vectors.largest_change.serial(new, new) == 0
    for i in range(n):
        broken = new.copy()
        broken[i] = np.nan
        assert np.isnan(vectors.largest.serial(broken))


@standalone
def pair_products(s, y, v, w):
    return moments.pair_products(s, y, v, w)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 40, 2 * lbfgs.BLOCK, 2 * lbfgs.BLOCK + 5])
def test_sums_and_sizes_of_vectors(n):
    """Sums of n products of numbers of size one, and what is found without rounding."""
    s, y, v, w = np.random.default_rng(n).normal(size=(4, n))
    products = pair_products(s, y, v, w)
    assert_allclose(products, reference.pair_products(s, y, v, w), rtol=1e-12, atol=1e-12)
    bits = s.view(np.int64)
    assert standalone(lbfgs.largest_size)(bits) == reference.largest_size(bits)
    for tolerance in (0.0, 0.5, 100.0):
        expected = reference.count_moves(s, 3 * y, tolerance)
        assert standalone(lbfgs.count_moves)(s, 3 * y, tolerance) == expected


@pytest.mark.parametrize("n", [1, 7, 30])
def test_combinations_of_vectors(n):
    """One rounding each of two products and two sums."""
    x, s, y, result = np.random.default_rng(n).normal(size=(4, n))
    standalone(lbfgs.step_along)(x, -0.3, s, result)
    assert_allclose(result, reference.step_along(x, -0.3, s), rtol=1e-14, atol=1e-15)
    standalone(lbfgs.scaled)(x, -0.3, result)
    assert_array_equal(result, reference.scaled(x, -0.3))
    expected = reference.add_combination(x, 0.3, s, -0.7, y)
    standalone(lbfgs.add_combination)(x, 0.3, s, -0.7, y)
    assert_allclose(x, expected, rtol=1e-14, atol=1e-14)


# Iterations


def run_at(x, value_and_grad, history_size):
    """A run at a point, without pairs."""
    run = Run(new_run(x.size, history_size))
    run.point("at")[0][:] = x
    run["value"], run.point("at")[1][:] = value_and_grad(x)
    run["c1"], run["c2"], run["most_trials"], run["resolution"] = 1e-3, 0.9, 20, EPS
    return run


def iterate(run, value_and_grad):
    """Do one iteration; return where it evaluates, and its last job."""
    trials = []
    job = lbfgs.advance.serial(run.memory, np.nan)
    while job == lbfgs.EVALUATE:
        x, gradient = run.point("trial")
        trials.append(x.copy())
        value, gradient[:] = value_and_grad(x)
        job = lbfgs.advance.serial(run.memory, float(value))
    return trials, job


def iterate_twin(point, value_and_grad, history_size):
    """Do the same by the twin; return where it evaluates, and what it returns."""
    trials = []
    steps = reference.advance(*point, history_size=history_size)
    try:
        trial = next(steps)
        while True:
            trials.append(trial)
            trial = steps.send(value_and_grad(trial))
    except StopIteration as stop:
        return trials, stop.value


def bumpy(x):
    """Convex but for small waves, so that some searches take several trials."""
    scale = np.linspace(1, 5, x.size)
    value = np.sum(scale * np.log(np.cosh(x)) + 0.3 * np.cos(3 * x))
    return value, scale * np.tanh(x) - 0.9 * np.sin(3 * x)


FUNCTIONS = {
    "rosenbrock": (rosenbrock, np.tile([-1.2, 1.0], 4)),
    "bumpy": (bumpy, np.linspace(-4, 4, 11)),
    "blocks": (bumpy, np.linspace(-4, 4, lbfgs.BLOCK + 3)),
}


@pytest.mark.parametrize(("value_and_grad", "x"), FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("history_size", [1, 3, 10])
def test_iterations_are_those_of_the_twin(value_and_grad, x, history_size):
    """Each from where the last one has led, so that roundings do not add up.

    They grow with the condition number of H, of up to some 1e4 here.
    """
    run, pairs, scale = run_at(x, value_and_grad, history_size), [], None
    n_trials = 0
    for _ in range(15):
        x, gradient = map(np.copy, run.point("at"))
        point = x, run["value"], gradient, pairs, scale
        trials, job = iterate(run, value_and_grad)
        expected, (new_x, value, _, pairs, scale) = iterate_twin(
            point, value_and_grad, history_size
        )
        assert job == lbfgs.ITERATE
        assert_allclose(trials, expected, rtol=1e-9, atol=1e-9)
        assert_allclose(run.point("at")[0], new_x, rtol=1e-9, atol=1e-9)
        assert_allclose(run["value"], value, rtol=1e-9, atol=1e-9)
        assert_allclose(run["scale"], scale, rtol=1e-6)
        assert run["count"] == len(pairs)
        # What the twin has learnt is taken over by neither.
        rows = [(run["last"] - age) % run["n_rows"] for age in reversed(range(run["count"]))]
        pairs = [(run.pairs[0][row], run.pairs[1][row]) for row in rows]
        pairs, scale = [tuple(map(np.copy, pair)) for pair in pairs], run["scale"]
        n_trials += len(trials)
    assert n_trials > 15


def test_a_history_that_leads_nowhere_is_dropped():
    """Where no trial is lower, it is searched along -g, and if that is no good either, it ends."""
    run = run_at(np.full(5, 3.0), bumpy, 4)
    for _ in range(3):
        iterate(run, bumpy)
    assert run["count"] == 3
    (x, gradient), value, scale = map(np.copy, run.point("at")), run["value"], run["scale"]
    trials, job = iterate(run, lambda x: (value + 1.0, gradient))
    assert job == lbfgs.FAIL
    assert run["outcome"] == line_search.FAILED
    assert run["count"] == 0
    assert len(trials) % 2 == 0  # as many as before, as no value is another one
    assert_allclose(trials[len(trials) // 2], x - scale * gradient, rtol=1e-14)
    assert_array_equal(run.point("at")[0], x)
    assert run["value"] == value


@pytest.mark.parametrize("seed", range(40))
def test_searches_are_those_of_the_twin(seed):
    """Bit by bit, on values and slopes at random, so that all branches are met.

    A trial in eight is not finite, and steps far away are where a linear function falls.
    """
    rng = np.random.default_rng(seed)
    twin = reference.Search(1e-3, float(rng.choice([0.1, 0.9])), EPS, 20)
    search = np.zeros(1, SEARCH)
    search["c1"], search["c2"], search["resolution"] = twin.c1, twin.c2, twin.resolution
    search["most_trials"] = twin.most_trials
    memory = search.view(np.float64)
    kind = rng.integers(4)

    def along(step):
        if kind == 0:
            return -step, -1.0
        if kind == 1:
            return (step - 3) ** 2, 2 * (step - 3)
        if rng.random() < 0.125:
            return math.inf, math.nan
        return float(rng.normal(scale=0.1 if kind == 2 else 1e-15)), float(rng.normal())

    value, slope, first_step = float(rng.normal()), -float(rng.exponential()), 10.0 ** rng.normal()
    if kind == 3:
        value = 0.0
    expected = reference.begin_search(twin, value, slope, first_step)
    found = line_search.search_step.serial(memory, True, value, slope, first_step)
    while expected == "try":
        assert VERDICTS[found[0]] == "try"
        assert found[1] == twin.step
        value, slope = along(twin.step)
        expected = reference.search_step(twin, False, value, slope, 0.0)
        found = line_search.search_step.serial(memory, False, value, slope, 0.0)
        assert found[2] == twin.improves
    assert VERDICTS[found[0]] == expected
    assert search["best_step"] == twin.best_step
    assert search["best_value"] == twin.best_value


VERDICTS = {
    line_search.TRY: "try",
    line_search.AT_TRIAL: "at trial",
    line_search.AT_BEST: "at best",
    line_search.UNBOUNDED: "unbounded",
    line_search.LEVEL: "level",
    line_search.NOT_FINITE: "not finite",
    line_search.FAILED: "failed",
    line_search.NO_DESCENT: "no descent",
}


def test_a_direction_that_rises_is_no_descent():
    search = np.zeros(1, SEARCH)
    for slope in (0.0, 1.0, math.nan):
        found = line_search.search_step.serial(search.view(np.float64), True, 0.0, slope, 1.0)
        assert found[0] == line_search.NO_DESCENT


@pytest.mark.parametrize("n", [1, 8, 13, 30])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_two_loops_of_free_components(n, share):
    """Pairs whose curvature is not positive among the free components are left out."""
    table, pairs = history(n, 4)
    rng = np.random.default_rng(3)
    gradient, direction = rng.normal(size=(2, n))
    free = (rng.random(n) < share).astype(np.float64)
    lbfgs.two_loop_of_free.serial(lbfgs.History(*table), 0.7, gradient, free, direction)
    expected = reference.two_loop_of_free(pairs, 0.7, gradient, free)
    assert_allclose(direction, expected, rtol=1e-9, atol=1e-9)
    assert_array_equal(direction[free == 0], 0)


def test_pairs_are_kept_if_they_have_curvature():
    rng = np.random.default_rng(4)
    S, Y = np.zeros((2, 3, 10))
    curvatures = np.zeros(3)
    x, old_x, gradient, old_gradient = rng.normal(size=(4, 10))
    for sign in (1, -1):
        change = sign * (gradient - old_gradient) * np.sign((x - old_x) @ (gradient - old_gradient))
        points = old_x, x, old_gradient, old_gradient + change
        scale = lbfgs.add_pair.serial(S, Y, curvatures, 1, *points)
        expected = reference.add_pair(*points)
        if sign < 0:
            assert scale == 0
            assert expected is None
        else:
            assert_allclose(S[1], expected[0])
            assert_allclose(Y[1], expected[1])
            assert_allclose(scale, expected[2], rtol=1e-12)
            assert_allclose(curvatures[1], expected[0] @ expected[1], rtol=1e-12)
        assert_array_equal(S[[0, 2]], 0)


@pytest.mark.parametrize("factor", [1e-150, 1e-20, 1.0, 1e20, 1e150])
def test_the_test_of_curvature_knows_no_units(factor):
    x, gradient, zeros = np.array([1.0, 2.0]), np.array([3.0, -1.0]), np.zeros(2)
    tables = np.zeros((1, 2)), np.zeros((1, 2)), np.zeros(1), 0
    assert lbfgs.add_pair.serial(*tables, zeros, x * factor, zeros, gradient) > 0
    assert lbfgs.add_pair.serial(*tables, zeros, x * factor, zeros, zeros) == 0
    # s'y is 1e-17 of |s| |y|: rounding could have made it.
    orthogonal = np.array([2.0, -1.0 + 1e-17])
    assert lbfgs.add_pair.serial(*tables, zeros, x * factor, zeros, orthogonal) == 0


# Dense matrices. One rounding each for a product and its addition: a sum of n is off by n eps.

SIZES = [1, 7, 8, 9, 20] if INTERPRETED else [1, 2, 7, 8, 9, 15, 16, 17, 33, 100]
every_size = pytest.mark.parametrize("n", SIZES)


@standalone
def triangle_row(H, i, n):
    return copied(quasi_newton.triangle_row(H, i, n))


def triangle(A):
    """The lower triangle of a symmetric matrix, row by row."""
    return A[np.tril_indices(len(A))]


def symmetric(n):
    A = np.random.default_rng(n).normal(size=(n, n))
    return A + A.T


@every_size
def test_the_product_equals_its_twin(n):
    A, x = symmetric(n), np.random.default_rng(0).normal(size=n)
    product = np.full(n, np.nan)
    quasi_newton.symmetric_product.serial(triangle(A), x, product)
    assert_allclose(product, reference.symmetric_product(A, x), atol=n * 1e-14)


@every_size
def test_the_update_equals_its_twin(n):
    rng = np.random.default_rng(1)
    A, (s, q), factors = symmetric(n), rng.normal(size=(2, n)), rng.normal(size=3)
    H = triangle(A)
    quasi_newton.rank_two_update.serial(H, s, q, *factors)
    assert_allclose(H, triangle(reference.rank_two_update(A, s, q, *factors)), atol=1e-13)


def test_rows_equal_their_twins():
    rng = np.random.default_rng(2)
    A, x, product = symmetric(20), rng.normal(size=20), rng.normal(size=20)
    H = triangle(A)
    add_rows_product = standalone(quasi_newton.add_rows_product)
    for i in (0, 5, 12):
        expected = reference.add_rows_product(A, i, x, product)
        result = product.copy()
        add_rows_product(H, i, x, result)
        assert_allclose(result, expected, atol=1e-13)
    row = H[10:14].copy()
    standalone(quasi_newton.add_row)(row, x, product, 2.0, -3.0)
    assert_allclose(row, reference.add_row(H[10:14], x, product, 2.0, -3.0), atol=1e-13)
    assert_array_equal(triangle_row(H, 5, 4), reference.triangle_row(A, 5, 4))


def test_what_is_not_finite_goes_through_the_kernels():
    H, x, product = triangle(np.eye(9)), np.arange(9.0), np.empty(9)
    x[3] = np.nan
    quasi_newton.symmetric_product.serial(H, x, product)
    assert np.isnan(product).all()
