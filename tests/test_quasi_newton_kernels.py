"""Kernels of the quasi-Newton methods, against their twins and dense matrices."""

import numpy as np
import pytest
import reference
from copies import copied
from marks import INTERPRETED
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp.kernels import lbfgs, quasi_newton, vectors

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


@pytest.mark.parametrize("n", [1, 7, 8, 9, 30])
@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_two_loops_are_the_product_with_the_dense_matrix(n, count):
    """Rows without a pair hold NaN, and the rows in use go round the end of the table."""
    table, pairs = history(n, count)
    gradient, direction = np.random.default_rng(1).normal(size=(2, n))
    lbfgs.two_loop.serial(lbfgs.History(*table), 0.7, gradient, direction)
    # Roundings grow with the condition number of H, here up to some 1e4.
    assert_allclose(direction, reference.two_loop(pairs, 0.7, gradient), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [1, 4])
def test_the_latest_pair_satisfies_the_secant_equation(count):
    table, pairs = history(12, count)
    s, y = pairs[-1]
    direction = np.empty(12)
    lbfgs.two_loop.serial(lbfgs.History(*table), 0.3, y, direction)
    assert_allclose(direction, -s, rtol=1e-10, atol=1e-10)


def test_the_direction_descends():
    """H is positive definite if every s'y is positive."""
    rng = np.random.default_rng(2)
    for seed in range(20):
        table, _ = history(9, 5, seed=seed)
        gradient, direction = rng.normal(size=(2, 9))
        lbfgs.two_loop.serial(lbfgs.History(*table), 1.0, gradient, direction)
        assert direction @ gradient < 0


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
