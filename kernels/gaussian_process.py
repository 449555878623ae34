"""Linear algebra of a Gaussian process: a positive definite system of some hundred equations, and
the eigenvectors of a matrix of some ten rows.

Serial, in an order that never changes: LAPACK would wake BLAS's threads, which for these sizes
spin for longer than they work, and get in ours' way.
"""

import numpy as np

from fastmlp.kernels._jit import entry, loop
from fastmlp.kernels.elementwise import exp
from fastmlp.kernels.reductions import inner
from fastmlp.kernels.vectors import add_scaled
from fastmlp.kernels.view import vector

# Of Jacobi's method, which converges quadratically: six or so are enough.
_MOST_SWEEPS = 30


@entry
def mean_correlations(nodes, points, length_scale, weights, means):
    """Overwrite `means` (m, p) by weighted means of the kernel along segments with points.

    The kernel is exp(-d^2 / (2 length_scale^2)) of the distance d between one of the nodes of a
    segment and a point; `nodes` is (m, q, n), `points` (p, n), and `weights` (q,) are of the nodes.
    All are float64.
    """
    for i in range(nodes.shape[0]):
        for j in range(points.shape[0]):
            means[i, j] = 0.0
            for q in range(nodes.shape[1]):
                square = 0.0
                for k in range(points.shape[1]):
                    d = nodes[i, q, k] - points[j, k]
                    square += d * d
                means[i, j] += weights[q] * exp(square / (-2.0 * length_scale * length_scale))


@entry
def factor_by_rows(A):
    """Overwrite the lower triangle of `A` by its Cholesky factor L, so that A = L L^T.

    A is (n, n) float64; what is above its diagonal is neither read nor changed. Returns whether
    it is positive definite; if it is not, its lower triangle is destroyed.
    """
    n = A.shape[0]
    for i in range(n):
        for j in range(i):
            known = inner(vector(A, i * n, j), vector(A, j * n, j))
            A[i, j] = (A[i, j] - known) / A[j, j]
        row = vector(A, i * n, i)
        pivot = A[i, i] - inner(row, row)
        # NaN is not above 0 either.
        if not (pivot > 0.0 and np.isfinite(pivot)):
            return False
        A[i, i] = np.sqrt(pivot)
    return True


@entry
def solve_lower(L, B):
    """Overwrite each row b of `B` (k, n) by the solution x of L x = b.

    Of `L` (n, n) the lower triangle is read; both are float64.
    """
    k, n = B.shape
    for r in range(k):
        for i in range(n):
            known = inner(vector(L, i * n, i), vector(B, r * n, i))
            B[r, i] = (B[r, i] - known) / L[i, i]


@entry
def solve_transposed(L, B):
    """Overwrite each row b of `B` (k, n) by the solution x of L^T x = b, as `solve_lower`."""
    k, n = B.shape
    for r in range(k):
        for i in range(n - 1, -1, -1):
            B[r, i] /= L[i, i]
            add_scaled(vector(B, r * n, i), -B[r, i], vector(L, i * n, i))


@loop
def rotate_rows(A, p, q, c, s):
    """Overwrite rows p and q of `A` by c times the one less s times the other, and by the sum."""
    n = A.shape[1]
    row_p, row_q = vector(A, p * n, n), vector(A, q * n, n)
    for k in range(n):
        a, b = row_p[k], row_q[k]
        row_p[k] = c * a - s * b
        row_q[k] = s * a + c * b


@entry
def diagonalize(A, V):
    """Overwrite the diagonal of `A` by its eigenvalues and the rows of `V` by its eigenvectors.

    Both are (n, n) float64, and A is symmetric; off its diagonal it is destroyed. The eigenvalues
    are in no order. By Jacobi's method, section 8.5 of Golub & Van Loan, Matrix computations
    (2013).
    """
    n = A.shape[0]
    V[:] = 0.0
    square = 0.0
    for i in range(n):
        V[i, i] = 1.0
        for j in range(n):
            square += A[i, j] * A[i, j]
    negligible = 1e-17 * np.sqrt(square)
    for _ in range(_MOST_SWEEPS):
        n_rotations = 0
        for p in range(n):
            for q in range(p + 1, n):
                if abs(A[p, q]) > negligible:
                    n_rotations += 1
                    tau = (A[q, q] - A[p, p]) / (2.0 * A[p, q])
                    t = 1.0 / (abs(tau) + np.sqrt(1.0 + tau * tau))
                    if tau < 0.0:
                        t = -t
                    c = 1.0 / np.sqrt(1.0 + t * t)
                    rotate_rows(A, p, q, c, t * c)
                    for k in range(n):
                        a, b = A[k, p], A[k, q]
                        A[k, p] = c * a - t * c * b
                        A[k, q] = t * c * a + c * b
                    rotate_rows(V, p, q, c, t * c)
        if n_rotations == 0:
            break
