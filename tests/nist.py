"""Nonlinear regressions with certified results: NIST's Statistical Reference Datasets.

https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml. Residual sums of squares and parameters
are certified to 11 digits, and each problem has two starts, a far one and a near one.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Regression:
    """A model of one variable, its data and the certified results.

    Attributes
    ----------
    x, y : ndarray, (m,)
    model : callable
        Takes parameters (n,) and x; returns the predictions (m,) and their Jacobian (m, n).
    starts : tuple of two ndarray, (n,)
    certified : ndarray, (n,)
        The parameters.
    sum_of_squares : float
        Of the residuals, certified.
    """

    x: np.ndarray
    y: np.ndarray
    model: object
    starts: tuple[np.ndarray, np.ndarray]
    certified: np.ndarray
    sum_of_squares: float

    def residuals_and_jacobian(self, b):
        """What `fastmlp.LeastSquares` takes."""
        with np.errstate(over="ignore", invalid="ignore"):  # a far step may overflow
            predicted, jacobian = self.model(np.asarray(b), self.x)
        return predicted - self.y, jacobian


def logistic(b, x):
    """b1 / (1 + exp(b2 - b3 x))."""
    decay = np.exp(b[1] - b[2] * x)
    rise = 1 / (1 + decay)
    slope = b[0] * decay * rise**2
    return b[0] * rise, np.column_stack([rise, -slope, x * slope])


def exponentials(b, x):
    """The sum of b1 exp(-b2 x), b3 exp(-b4 x), ..."""
    decays = np.exp(-np.outer(x, b[1::2]))
    jacobian = np.empty((x.size, b.size))
    jacobian[:, ::2] = decays
    jacobian[:, 1::2] = -x[:, None] * b[::2] * decays
    return decays @ b[::2], jacobian


def constant_and_exponentials(b, x):
    """b1 + b2 exp(-b4 x) + b3 exp(-b5 x)."""
    order = [1, 3, 2, 4]
    sums, jacobian = exponentials(b[order], x)
    columns = np.ones((x.size, 5))
    columns[:, order] = jacobian
    return b[0] + sums, columns


def numbers(text):
    return np.array(text.split(), np.float64)


def lanczos(y, certified, sum_of_squares):
    """Three exponentials; the three data sets differ in how far y is rounded."""
    return Regression(
        np.arange(24) / 20,
        np.array(y),
        exponentials,
        (numbers("1.2 0.3 5.6 5.5 6.5 7.6"), numbers("0.5 0.7 3.6 4.2 4 6.3")),
        numbers(certified),
        sum_of_squares,
    )


# Lanczos, Applied Analysis (1956): 0.0951 exp(-x) + 0.8607 exp(-3x) + 1.5576 exp(-5x).
_LANCZOS = exponentials(numbers("0.0951 1 0.8607 3 1.5576 5"), np.arange(24) / 20)[0]

PROBLEMS = {
    # Ratkowsky (1983): growth of pasture.
    "Rat42": Regression(
        numbers("9 14 21 28 42 57 63 70 79"),
        numbers("8.93 10.8 18.59 22.33 39.35 56.11 61.73 64.62 67.08"),
        logistic,
        (numbers("100 1 0.1"), numbers("75 2.5 0.07")),
        numbers("7.2462237576e+01 2.6180768402e+00 6.7359200066e-02"),
        8.0565229338e00,
    ),
    # Osborne (1972).
    "MGH17": Regression(
        np.arange(33) * 10.0,
        numbers(
            """0.844 0.908 0.932 0.936 0.925 0.908 0.881 0.850 0.818 0.784 0.751
            0.718 0.685 0.658 0.628 0.603 0.580 0.558 0.538 0.522 0.506 0.490
            0.478 0.467 0.457 0.448 0.438 0.431 0.424 0.420 0.414 0.411 0.406"""
        ),
        constant_and_exponentials,
        (numbers("50 150 -100 1 2"), numbers("0.5 1.5 -1 0.01 0.02")),
        numbers("3.7541005211e-01 1.9358469127 -1.4646871366 1.2867534640e-02 2.2122699662e-02"),
        5.4648946975e-05,
    ),
    # To 13 digits, to 6 and to 5.
    "Lanczos1": lanczos(
        [float(f"{y:.12e}") for y in _LANCZOS],
        "9.5100000027e-02 1.0000000001 8.6070000013e-01 3.0000000002 1.5575999998 5.0000000001",
        1.4307867721e-25,
    ),
    "Lanczos2": lanczos(
        [float(f"{y:.5e}") for y in _LANCZOS],
        "9.6251029939e-02 1.0057332849 8.6424689056e-01 3.0078283915 1.5529016879 5.0028798100",
        2.2299428125e-11,
    ),
    "Lanczos3": lanczos(
        [round(y, 4) for y in _LANCZOS],
        "8.6816414977e-02 9.5498101505e-01 8.4400777463e-01 2.9515951832 1.5825685901 4.9863565084",
        1.6117193594e-08,
    ),
}
