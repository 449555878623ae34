"""The test functions of Moré, Garbow & Hillstrom, all 35, as problems of minimization.

Testing unconstrained optimization software, ACM Transactions on Mathematical Software 7:17-41
(1981). Each is a sum of squares of residuals f_i(x) with a standard start and published minima.
The residuals also take complex x, so that complex steps can check the Jacobians.

In the paper's Gulf function, `y_i m i x_2` is a known misprint of `y_i - x_2`, as its program,
Algorithm 566, has it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Problem:
    """A sum of squares to be minimized.

    Attributes
    ----------
    name : str
    residuals_and_jacobian : callable
        Takes x (n,), returns f (m,) and its Jacobian (m, n).
    start : ndarray (n,)
    minima : tuple of float
        Published values of its minima, the global one first; to six digits unless 0.
    """

    name: str
    residuals_and_jacobian: Callable
    start: np.ndarray
    minima: tuple[float, ...] = (0.0,)

    @property
    def size(self):
        """n."""
        return self.start.size

    def residuals(self, x):
        """f(x), (m,)."""
        return self.residuals_and_jacobian(x)[0]

    def jacobian(self, x):
        """df_i/dx_j, (m, n)."""
        return self.residuals_and_jacobian(x)[1]

    def value_and_grad(self, x):
        """Sum of the squares and its gradient; far from a minimum they may be infinite or NaN."""
        with np.errstate(all="ignore"):
            f, J = self.residuals_and_jacobian(x)
            # einsum, because BLAS wakes threads even for vectors as short as these
            return float(np.einsum("i,i", f, f)), 2 * np.einsum("i,ij->j", f, J)


def columns(*derivatives):
    """The Jacobian (m, n) from its n columns, each (m,) or a number."""
    return np.stack(np.broadcast_arrays(*derivatives), axis=1)


def rosenbrock(x):
    f = np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    return f, np.array([[-20 * x[0], 10], [-1, 0]])


def freudenstein_roth(x):
    f = np.array(
        [
            -13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1],
            -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1],
        ]
    )
    return f, np.array([[1, (10 - 3 * x[1]) * x[1] - 2], [1, (3 * x[1] + 2) * x[1] - 14]])


def powell_badly_scaled(x):
    e = np.exp(-x)
    f = np.array([1e4 * x[0] * x[1] - 1, e[0] + e[1] - 1.0001])
    return f, np.array([[1e4 * x[1], 1e4 * x[0]], [-e[0], -e[1]]])


def brown_badly_scaled(x):
    f = np.array([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])
    return f, np.array([[1, 0], [0, 1], [x[1], x[0]]])


def beale(x):
    power = np.array([1, 2, 3])
    f = np.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** power)
    return f, columns(x[1] ** power - 1, x[0] * power * x[1] ** (power - 1))


def jennrich_sampson(x):
    i = np.arange(1, 11)
    e, g = np.exp(i * x[0]), np.exp(i * x[1])
    return 2 + 2 * i - (e + g), columns(-i * e, -i * g)


def helical_valley(x):
    turn = np.arctan(x[1] / x[0]) / (2 * np.pi) + (0.5 if x[0].real < 0 else 0.0)
    square = x[0] ** 2 + x[1] ** 2
    radius = np.sqrt(square)
    f = np.array([10 * (x[2] - 10 * turn), 10 * (radius - 1), x[2]])
    J = [
        [50 * x[1] / (np.pi * square), -50 * x[0] / (np.pi * square), 10],
        [10 * x[0] / radius, 10 * x[1] / radius, 0],
        [0, 0, 1],
    ]
    return f, np.array(J)


BARD_Y = np.array(
    [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39]
)


def bard(x):
    u = np.arange(1, 16)
    v = 16 - u
    w = np.minimum(u, v)
    denominator = v * x[1] + w * x[2]
    f = BARD_Y - (x[0] + u / denominator)
    return f, columns(-1, u * v / denominator**2, u * w / denominator**2)


GAUSSIAN_Y = np.array([0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989])
GAUSSIAN_Y = np.append(GAUSSIAN_Y, GAUSSIAN_Y[-2::-1])


def gaussian(x):
    d = (8 - np.arange(1, 16)) / 2 - x[2]
    e = np.exp(-x[1] * d**2 / 2)
    return x[0] * e - GAUSSIAN_Y, columns(e, -x[0] * d**2 / 2 * e, x[0] * x[1] * d * e)


MEYER_Y = np.array(
    [
        *(34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744),
        *(8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872),
    ]
)


def meyer(x):
    t = 45 + 5 * np.arange(1, 17) + x[2]
    e = np.exp(x[1] / t)
    return x[0] * e - MEYER_Y, columns(e, x[0] / t * e, -x[0] * x[1] / t**2 * e)


def gulf(x):
    t = np.arange(1, 100) / 100
    d = 25 + (-50 * np.log(t)) ** (2 / 3) - x[1]
    a = np.sqrt(d**2)
    p = a ** x[2]
    e = np.exp(-p / x[0])
    J = columns(e * p / x[0] ** 2, e * x[2] * p / (d * x[0]), -e * p * np.log(a) / x[0])
    return e - t, J


def box(x):
    t = np.arange(1, 11) / 10
    e, g, h = np.exp(-t * x[0]), np.exp(-t * x[1]), np.exp(-t) - np.exp(-10 * t)
    return e - g - x[2] * h, columns(-t * e, t * g, -h)


def powell_singular(x):
    """Extended: blocks of four variables, each the function of four."""
    a, b, c, d = x.reshape(-1, 4).T
    zero, one = np.zeros_like(a), np.ones_like(a)
    f = [a + 10 * b, np.sqrt(5) * (c - d), (b - 2 * c) ** 2, np.sqrt(10) * (a - d) ** 2]
    blocks = [
        [one, 10 * one, zero, zero],
        [zero, zero, np.sqrt(5) * one, -np.sqrt(5) * one],
        [zero, 2 * (b - 2 * c), -4 * (b - 2 * c), zero],
        [2 * np.sqrt(10) * (a - d), zero, zero, -2 * np.sqrt(10) * (a - d)],
    ]
    return np.transpose(f).ravel(), block_diagonal(np.transpose(blocks, (2, 0, 1)))


def block_diagonal(blocks):
    """A square matrix with square blocks (count, size, size) on its diagonal."""
    count, size, _ = blocks.shape
    matrix = np.zeros((count, size, count, size), blocks.dtype)
    matrix[np.arange(count), :, np.arange(count), :] = blocks
    return matrix.reshape(count * size, count * size)


def wood(x):
    a, b, c, d = x
    root90, root10 = np.sqrt(90), np.sqrt(10)
    f = np.array(
        [
            10 * (b - a**2),
            1 - a,
            root90 * (d - c**2),
            1 - c,
            root10 * (b + d - 2),
            (b - d) / root10,
        ]
    )
    J = [
        [-20 * a, 10, 0, 0],
        [-1, 0, 0, 0],
        [0, 0, -2 * root90 * c, root90],
        [0, 0, -1, 0],
        [0, root10, 0, root10],
        [0, 1 / root10, 0, -1 / root10],
    ]
    return f, np.array(J)


KOWALIK_Y = np.array(
    [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
)
KOWALIK_U = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])


def kowalik_osborne(x):
    u = KOWALIK_U
    numerator, denominator = u**2 + u * x[1], u**2 + u * x[2] + x[3]
    ratio = numerator / denominator
    slope = x[0] * ratio / denominator
    return KOWALIK_Y - x[0] * ratio, columns(-ratio, -x[0] * u / denominator, u * slope, slope)


def brown_dennis(x):
    t = np.arange(1, 21) / 5
    a, b = x[0] + t * x[1] - np.exp(t), x[2] + np.sin(t) * x[3] - np.cos(t)
    return a**2 + b**2, columns(2 * a, 2 * a * t, 2 * b, 2 * b * np.sin(t))


OSBORNE_1_Y = np.array(
    [
        *(0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751),
        *(0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490),
        *(0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406),
    ]
)


def osborne_1(x):
    t = 10 * np.arange(33)
    e, g = np.exp(-t * x[3]), np.exp(-t * x[4])
    f = OSBORNE_1_Y - (x[0] + x[1] * e + x[2] * g)
    return f, columns(-1, -e, -g, x[1] * t * e, x[2] * t * g)


def biggs_exp6(x):
    t = np.arange(1, 14) / 10
    e, g, h = np.exp(-t * x[0]), np.exp(-t * x[1]), np.exp(-t * x[4])
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    f = x[2] * e - x[3] * g + x[5] * h - y
    return f, columns(-t * x[2] * e, t * x[3] * g, e, -g, -t * x[5] * h, h)


OSBORNE_2_Y = np.array(
    [
        *(1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746),
        *(0.679, 0.608, 0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649),
        *(0.694, 0.644, 0.624, 0.661, 0.612, 0.558, 0.533, 0.495, 0.500, 0.423, 0.395),
        *(0.375, 0.372, 0.391, 0.396, 0.405, 0.428, 0.429, 0.523, 0.562, 0.607, 0.653),
        *(0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559, 0.597, 0.625, 0.739),
        *(0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054),
    ]
)


def osborne_2(x):
    t = np.arange(65)[:, None] / 10
    decay = np.exp(-t[:, 0] * x[4])
    d = t - x[8:]
    e = np.exp(-(d**2) * x[5:8])
    f = OSBORNE_2_Y - x[0] * decay - (x[1:4] * e).sum(axis=1)
    heights, widths, centers = -e, x[1:4] * d**2 * e, -2 * x[1:4] * x[5:8] * d * e
    return f, np.column_stack([-decay, heights, x[0] * t[:, 0] * decay, widths, centers])


def watson(x):
    n = x.size
    t = np.arange(1, 30)[:, None] / 29
    powers = t ** np.arange(n)
    slopes = np.arange(1, n) * powers[:, :-1]
    total = (powers * x).sum(axis=1)
    f = np.append((slopes * x[1:]).sum(axis=1) - total**2 - 1, [x[0], x[1] - x[0] ** 2 - 1])
    J = np.zeros((31, n), f.dtype)
    J[:29, 1:] = slopes
    J[:29] -= 2 * total[:, None] * powers
    J[29, 0] = 1
    J[30, :2] = -2 * x[0], 1
    return f, J


def extended_rosenbrock(x):
    a, b = x.reshape(-1, 2).T
    one = np.ones_like(a)
    f = np.transpose([10 * (b - a**2), 1 - a]).ravel()
    blocks = np.array([[-20 * a, 10 * one], [-one, 0 * one]])
    return f, block_diagonal(np.transpose(blocks, (2, 0, 1)))


def penalty_1(x):
    weight = np.sqrt(1e-5)
    f = np.append(weight * (x - 1), (x**2).sum() - 0.25)
    return f, np.vstack([weight * np.eye(x.size), 2 * x])


def penalty_2(x):
    n, weight = x.size, np.sqrt(1e-5)
    i = np.arange(2, n + 1)
    e = np.exp(x / 10)
    y = np.exp(i / 10) + np.exp((i - 1) / 10)
    rest = np.arange(n, 0, -1)
    f = np.concatenate(
        [
            [x[0] - 0.2],
            weight * (e[1:] + e[:-1] - y),
            weight * (e[1:] - np.exp(-0.1)),
            [(rest * x**2).sum() - 1],
        ]
    )
    slopes = np.diag(weight * e / 10)
    J = np.vstack([np.eye(1, n), slopes[1:] + slopes[:-1], slopes[1:], 2 * rest * x])
    return f, J


def variably_dimensioned(x):
    j = np.arange(1, x.size + 1)
    total = (j * (x - 1)).sum()
    f = np.append(x - 1, [total, total**2])
    return f, np.vstack([np.eye(x.size), j, 2 * total * j])


def trigonometric(x):
    i = np.arange(1, x.size + 1)
    c, s = np.cos(x), np.sin(x)
    f = x.size - c.sum() + i * (1 - c) - s
    return f, np.diag(i * s - c) + s


def brown_almost_linear(x):
    n = x.size
    f = x + x.sum() - (n + 1)
    f[-1] = x.prod() - 1
    J = np.eye(n, dtype=x.dtype) + 1
    J[-1] = [np.delete(x, j).prod() for j in range(n)]
    return f, J


def discrete_boundary_value(x):
    n = x.size
    h = 1 / (n + 1)
    shifted = x + h * np.arange(1, n + 1) + 1
    second_difference = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    f = (second_difference * x).sum(axis=1) + h**2 * shifted**3 / 2
    return f, second_difference + np.diag(1.5 * h**2 * shifted**2)


def discrete_integral_equation(x):
    n = x.size
    h = 1 / (n + 1)
    t = h * np.arange(1, n + 1)
    shifted = x + t + 1
    kernel = h / 2 * np.minimum(np.outer(1 - t, t), np.outer(t, 1 - t))
    return x + (kernel * shifted**3).sum(axis=1), np.eye(n) + 3 * kernel * shifted**2


def broyden_tridiagonal(x):
    n = x.size
    neighbours = np.eye(n, k=-1) + 2 * np.eye(n, k=1)
    f = (3 - 2 * x) * x - (neighbours * x).sum(axis=1) + 1
    return f, np.diag(3 - 4 * x) - neighbours


def broyden_banded(x):
    n = x.size
    band = sum(np.eye(n, k=k) for k in (-5, -4, -3, -2, -1, 1))
    f = x * (2 + 5 * x**2) + 1 - (band * x * (1 + x)).sum(axis=1)
    return f, np.diag(2 + 15 * x**2) - band * (1 + 2 * x)


def linear(matrix):
    """Residuals ``matrix @ x - 1``."""
    return lambda x: ((matrix * x).sum(axis=1) - 1, matrix)


def linear_full_rank(m, n):
    return linear(np.eye(m, n) - 2 / m)


def linear_rank_1(m, n):
    return linear(np.outer(np.arange(1, m + 1), np.arange(1, n + 1)))


def linear_rank_1_with_zeros(m, n):
    rows, cols = np.arange(m), np.arange(1, n + 1)
    rows[-1] = cols[0] = cols[-1] = 0
    return linear(np.outer(rows, cols))


def chebyquad(x):
    n = x.size
    i = np.arange(1, n + 1)
    T = [np.ones_like(x), 2 * x - 1]
    D = [np.zeros_like(x), np.full_like(x, 2)]
    for _ in range(2, n + 1):
        T.append(2 * (2 * x - 1) * T[-1] - T[-2])
        D.append(4 * T[-2] + 2 * (2 * x - 1) * D[-1] - D[-2])
    integrals = np.where(i % 2, 0, -1 / np.maximum(i**2 - 1, 1))
    return np.mean(T[1:], axis=1) - integrals, np.array(D[1:]) / n


def _problem(name, function, start, *minima):
    return Problem(name, function, np.array(start, np.float64), minima or (0.0,))


def _steps(n):
    return np.arange(1, n + 1) / (n + 1)


PROBLEMS = {
    problem.name: problem
    for problem in (
        _problem("rosenbrock", rosenbrock, [-1.2, 1]),
        _problem("freudenstein_roth", freudenstein_roth, [0.5, -2], 0.0, 48.9842),
        _problem("powell_badly_scaled", powell_badly_scaled, [0, 1]),
        _problem("brown_badly_scaled", brown_badly_scaled, [1, 1]),
        _problem("beale", beale, [1, 1]),
        _problem("jennrich_sampson", jennrich_sampson, [0.3, 0.4], 124.362),
        _problem("helical_valley", helical_valley, [-1, 0, 0]),
        _problem("bard", bard, [1, 1, 1], 8.21487e-3, 17.4286),
        _problem("gaussian", gaussian, [0.4, 1, 0], 1.12793e-8),
        _problem("meyer", meyer, [0.02, 4000, 250], 87.9458),
        _problem("gulf", gulf, [5, 2.5, 0.15]),
        _problem("box", box, [0, 10, 20]),
        _problem("powell_singular", powell_singular, [3, -1, 0, 1]),
        _problem("wood", wood, [-3, -1, -3, -1]),
        _problem(
            "kowalik_osborne", kowalik_osborne, [0.25, 0.39, 0.415, 0.39], 3.07505e-4, 1.02734e-3
        ),
        _problem("brown_dennis", brown_dennis, [25, 5, -5, -1], 85822.2),
        _problem("osborne_1", osborne_1, [0.5, 1.5, -1, 0.01, 0.02], 5.46489e-5),
        _problem("biggs_exp6", biggs_exp6, [1, 2, 1, 1, 1, 1], 0.0, 5.65565e-3),
        _problem(
            "osborne_2", osborne_2, [1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5], 4.01377e-2
        ),
        _problem("watson_6", watson, np.zeros(6), 2.28767e-3),
        _problem("watson_9", watson, np.zeros(9), 1.39976e-6),
        _problem("watson_12", watson, np.zeros(12), 4.72238e-10),
        _problem("extended_rosenbrock_10", extended_rosenbrock, np.tile([-1.2, 1], 5)),
        _problem("extended_rosenbrock_100", extended_rosenbrock, np.tile([-1.2, 1], 50)),
        _problem("extended_powell_12", powell_singular, np.tile([3, -1, 0, 1], 3)),
        _problem("extended_powell_100", powell_singular, np.tile([3, -1, 0, 1], 25)),
        _problem("penalty_1_4", penalty_1, np.arange(1, 5), 2.24997e-5),
        _problem("penalty_1_10", penalty_1, np.arange(1, 11), 7.08765e-5),
        _problem("penalty_2_4", penalty_2, np.full(4, 0.5), 9.37629e-6),
        _problem("penalty_2_10", penalty_2, np.full(10, 0.5), 2.93660e-4),
        _problem("variably_dimensioned_10", variably_dimensioned, 1 - np.arange(1, 11) / 10),
        # the second is not in the paper, but is where most methods end from its start
        _problem("trigonometric_10", trigonometric, np.full(10, 0.1), 0.0, 2.79506e-5),
        _problem("brown_almost_linear_10", brown_almost_linear, np.full(10, 0.5), 0.0, 1.0),
        _problem(
            "discrete_boundary_value_10", discrete_boundary_value, _steps(10) * (_steps(10) - 1)
        ),
        _problem(
            "discrete_integral_equation_10",
            discrete_integral_equation,
            _steps(10) * (_steps(10) - 1),
        ),
        _problem("broyden_tridiagonal_10", broyden_tridiagonal, np.full(10, -1)),
        _problem("broyden_banded_10", broyden_banded, np.full(10, -1)),
        # m - n, m (m - 1) / (2 (2 m + 1)) and (m² + 3 m - 6) / (2 (2 m - 3)) for m = 20
        _problem("linear_full_rank_10", linear_full_rank(20, 10), np.ones(10), 10.0),
        _problem("linear_rank_1_10", linear_rank_1(20, 10), np.ones(10), 380 / 82),
        _problem(
            "linear_rank_1_with_zeros_10", linear_rank_1_with_zeros(20, 10), np.ones(10), 454 / 74
        ),
        _problem("chebyquad_8", chebyquad, _steps(8), 3.51687e-3),
        _problem("chebyquad_9", chebyquad, _steps(9)),
        _problem("chebyquad_10", chebyquad, _steps(10), 6.50395e-3),
    )
}
