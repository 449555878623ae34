"""Problems by name to compare optimizers on: networks with data, and functions with a formula.

A problem has an answer that somebody published, or a target whose reason is given, so that
"reached the target" means the same for everyone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastmlp.datasets import load_digits
from fastmlp.mlp import MLP
from fastmlp.validation import check_known

# A value and its gradient at a point, as `fastmlp.minimize` takes it.
ValueAndGrad = Callable[[np.ndarray], tuple[float, np.ndarray]]

# Of the fall from the start to the minimum, the part that may be missing at the target: the
# convergence test of Moré & Wild, "Benchmarking derivative-free optimization algorithms", SIAM
# Journal on Optimization 20:172-191 (2009), with the strictest of their tolerances.
_MISSING_PART = 1e-5

# Standard deviation of the noise on Rosenbrock's value and on each component of its gradient.
_NOISE = 30.0


@dataclass(frozen=True, eq=False)
class NetworkProblem:
    """A network to train on given data.

    Attributes
    ----------
    name : str
    make_net : callable
        Makes the network from a seed, which decides where it starts.
    X : ndarray, (n, n_in)
    y : ndarray, (n,) or (n, n_out)
    loss, l1, l2
        The objective, as of `fastmlp.Objective`.
    batch_size : int or None
        Rows of the mini-batches of stochastic optimizers; None is all.
    validation_data : (X, y) or None
    target : float or None
        Objective, penalties included, at which the problem counts as solved.
    description : str
        What it is, and where it and its target come from.

    Examples
    --------
    >>> import fastmlp
    >>> problem = fastmlp.load_problem("sin")
    >>> net = problem.make_net(0)
    >>> result = net.fit(problem.X, problem.y, loss=problem.loss, optimizer="levenberg_marquardt")
    >>> result.loss <= problem.target
    True
    """

    name: str
    make_net: Callable[[int], MLP]
    X: np.ndarray
    y: np.ndarray
    loss: str = "auto"
    l1: float = 0.0
    l2: float = 0.0
    batch_size: int | None = 128
    validation_data: tuple[Any, ...] | None = None
    target: float | None = None
    description: str = ""


@dataclass(frozen=True, eq=False)
class FunctionProblem:
    """A function to minimize, known by its formula.

    Attributes
    ----------
    name : str
    make_function : callable
        Makes, from a seed, what `fastmlp.minimize` takes: a function of x (n,) that returns its
        value and its gradient. The seed is that of its noise, if it has any.
    make_start : callable
        Makes the first x (n,) from a seed. Seed 0 is the published start, every other seed a
        point near it: each coordinate is off by at most a tenth of the larger of its size and 1.
    target : float or None
        Value at which the problem counts as solved: where nothing else is said, all but 1e-5 of
        the fall from the published start to the minimum. Of a noisy function it is the value
        without noise.
    minimum : ndarray (n,) or None
        Where the value is least, which is 0 for all of this module's.
    description : str
    exact : callable or None
        The function without noise, for judging the iterates of an optimizer that is given the
        noisy one; None where there is no noise. A noisy value says nothing about being at the
        target: the least of a hundred of them lies far below the minimum.

    Examples
    --------
    >>> import fastmlp
    >>> problem = fastmlp.load_problem("beale")
    >>> value, gradient = problem.make_function(0)(problem.make_start(0))
    >>> value
    14.203125
    """

    name: str
    make_function: Callable[[int], ValueAndGrad]
    make_start: Callable[[int], np.ndarray]
    target: float | None = None
    minimum: np.ndarray | None = None
    description: str = ""
    exact: ValueAndGrad | None = None


def load_problem(name: str) -> NetworkProblem | FunctionProblem:
    """Build one of the named problems.

    Parameters
    ----------
    name : str
        One of `PROBLEMS`:

        ================== ========================================================
        sin                a network 1-5-1 on a cycle of the sine
        parity             a network 3-10-10-1 on the parity of three bits
        digits             a network 64-64-32-10 on four fifths of the shipped digits
        matrix_exponential a network 4-32-16-4 on exponentials of matrices, 2 x 2
        rosenbrock         the curved valley, n = 2
        noisy_rosenbrock   the same with noise on value and gradient
        quadratic          ellipsoid with the condition number 1e4, n = 20
        powell_singular    the Hessian is singular at the minimum, n = 4
        wood               a saddle point in the way, n = 4
        beale              a flat valley, n = 2
        helical_valley     a valley along a helix, n = 3
        ================== ========================================================

    Returns
    -------
    NetworkProblem or FunctionProblem

    Raises
    ------
    ValueError, TypeError
        For an unknown name.

    Examples
    --------
    >>> import fastmlp
    >>> problem = fastmlp.load_problem("digits")
    >>> problem.X.shape, problem.make_net(0).layer_sizes
    ((1438, 64), (64, 64, 32, 10))
    """
    check_known("problem", name, PROBLEMS)
    return PROBLEMS[name]()


def _sin():
    X = np.linspace(-1, 1, 41)[:, np.newaxis]
    return NetworkProblem(
        name="sin",
        make_net=partial(_tanh_network, [1, 5, 1], "identity"),
        X=X,
        y=np.sin(np.pi * X[:, 0]),
        batch_size=None,
        target=0.002 / 2,
        description="One cycle of the sine at 41 points, network 1-5-1 with tanh: SIN of "
        "MathWorks' comparison of training functions (Deep Learning Toolbox, 'Choose a "
        "Multilayer Neural Network Training Function'). Target: their mean squared error of "
        "0.002, of which squared_error is half.",
    )


def _parity():
    bits = np.array(np.meshgrid([-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0])).reshape(3, 8).T.copy()
    return NetworkProblem(
        name="parity",
        make_net=partial(_tanh_network, [3, 10, 10, 1], "tanh"),
        X=bits,
        y=bits.prod(axis=1),
        batch_size=None,
        target=0.001 / 2,
        description="Parity of three bits, all of them -1 or 1, network 3-10-10-1 with tanh: "
        "PARITY of MathWorks' comparison of training functions (Deep Learning Toolbox, 'Choose "
        "a Multilayer Neural Network Training Function'). Target: their mean squared error of "
        "0.001, of which squared_error is half.",
    )


def _tanh_network(layer_sizes, output, seed):
    net = MLP(layer_sizes, activation="tanh", output=output, dtype="float64", seed=seed)
    # Without biases it would be an odd function and, its targets being odd too, stay one.
    rng = np.random.default_rng([1, seed])
    for biases in net.biases:
        biases[:] = rng.uniform(-1, 1, biases.size)
    return net


def _digits():
    X, y = load_digits()
    order = np.random.default_rng(0).permutation(len(X))
    held_out, training = order[: len(X) // 5], order[len(X) // 5 :]
    return NetworkProblem(
        name="digits",
        make_net=lambda seed: MLP([64, 64, 32, 10], output="softmax", seed=seed),
        X=X[training],
        y=y[training],
        l2=1e-4,
        batch_size=32,
        validation_data=(X[held_out], y[held_out]),
        target=0.05,
        description="Four fifths of the 1797 digits of load_digits, the rest to validate, "
        "network 64-64-32-10 with relu, cross-entropy, l2 1e-4. Target: 0.05, from where on the "
        "accuracy on the held-out digits rises by no more than half a percentage point.",
    )


def _matrix_exponential():
    from scipy.linalg import expm

    rng = np.random.default_rng(0)
    X = rng.normal(size=(2500, 4))
    Y = expm(X.reshape(-1, 2, 2)).reshape(-1, 4)
    return NetworkProblem(
        name="matrix_exponential",
        make_net=lambda seed: MLP([4, 32, 16, 4], activation="tanh", dtype="float64", seed=seed),
        X=X[:2000],
        y=Y[:2000],
        batch_size=64,
        validation_data=(X[2000:], Y[2000:]),
        target=0.1,
        description="The exponential of 2000 matrices, 2 x 2, of standard normal elements, "
        "network 4-32-16-4 with tanh: the regression that SimpleChains.jl is shown on (there "
        "10,000 matrices). Target: 0.1, a hundredth of what predicting the mean has.",
    )


def _rosenbrock():
    return _function_problem(
        "rosenbrock",
        rosenbrock,
        start=[-1.2, 1.0],
        minimum=[1.0, 1.0],
        description="100 (x2 - x1^2)^2 + (1 - x1)^2 from (-1.2, 1): H. H. Rosenbrock, The "
        "Computer Journal 3:175-184 (1960).",
    )


def _noisy_rosenbrock():
    return FunctionProblem(
        name="noisy_rosenbrock",
        make_function=noisy_rosenbrock,
        make_start=partial(_near, np.array([-1.2, 1.0])),
        target=1.0,
        minimum=np.array([1.0, 1.0]),
        exact=rosenbrock,
        description="Rosenbrock's function from (-1.2, 1) with noise N(0, 30^2) on its value "
        "and on each component of its gradient: T. Schön's lecture on stochastic gradient "
        "descent; A. Wills and T. Schön, Automatica 127:109503 (2021). Target: the value without "
        "noise at most 1, a thirtieth of the noise; the start has 24.2.",
    )


def _quadratic():
    n, condition_number = 20, 1e4
    normal = np.random.default_rng(0).normal(size=n)
    normal /= np.linalg.norm(normal)
    eigenvalues = np.geomspace(1, condition_number, n)
    # Mirrored at a plane, so that the axes of the ellipsoid are not those of x.
    mirror = np.eye(n) - 2 * np.outer(normal, normal)
    A = mirror @ np.diag(eigenvalues) @ mirror
    minimum = np.ones(n)

    def quadratic(x):
        gradient = A @ (x - minimum)
        return 0.5 * float((x - minimum) @ gradient), gradient

    return _function_problem(
        "quadratic",
        quadratic,
        start=np.zeros(n),
        minimum=minimum,
        description="(x - 1)' A (x - 1) / 2 from 0 with n = 20, the eigenvalues of A evenly "
        "spaced from 1 to 1e4 on a logarithmic scale, its axes oblique: steepest descent needs "
        "some 1e4 steps, conjugate gradients and quasi-Newton methods some n.",
    )


def _powell_singular():
    return _function_problem(
        "powell_singular",
        partial(_sum_of_squares, _powell_singular_residuals),
        start=[3.0, -1.0, 0.0, 1.0],
        minimum=[0.0, 0.0, 0.0, 0.0],
        description="Powell's singular function. " + _MGH.format(13),
    )


def _wood():
    return _function_problem(
        "wood",
        partial(_sum_of_squares, _wood_residuals),
        start=[-3.0, -1.0, -3.0, -1.0],
        minimum=[1.0, 1.0, 1.0, 1.0],
        description="Wood's function. " + _MGH.format(14),
    )


def _beale():
    return _function_problem(
        "beale",
        partial(_sum_of_squares, _beale_residuals),
        start=[1.0, 1.0],
        minimum=[3.0, 0.5],
        description="Beale's function. " + _MGH.format(5),
    )


def _helical_valley():
    return _function_problem(
        "helical_valley",
        partial(_sum_of_squares, _helical_valley_residuals),
        start=[-1.0, 0.0, 0.0],
        minimum=[1.0, 0.0, 0.0],
        description="Fletcher and Powell's helical valley. " + _MGH.format(7),
    )


_MGH = (
    "Number {} of Moré, Garbow & Hillstrom, 'Testing unconstrained optimization software', ACM "
    "Transactions on Mathematical Software 7:17-41 (1981), from their start."
)


def _function_problem(name, function, start, minimum, description):
    """A problem without noise whose least value is 0."""
    start = np.array(start)
    return FunctionProblem(
        name=name,
        make_function=lambda seed: function,
        make_start=partial(_near, start),
        target=_MISSING_PART * function(start)[0],
        minimum=np.array(minimum),
        description=description,
    )


def _near(start, seed):
    """The start itself for seed 0, else a point near it."""
    if seed == 0:
        return start.copy()
    largest = 0.1 * np.maximum(np.abs(start), 1.0)
    return start + np.random.default_rng(seed).uniform(-largest, largest)


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient of 100 (x2 - x1^2)^2 + (1 - x1)^2 at x (2,)."""
    along, across = 1 - x[0], x[1] - x[0] ** 2
    gradient = np.array([-2 * along - 400 * x[0] * across, 200 * across])
    return float(100 * across**2 + along**2), gradient


def noisy_rosenbrock(seed: int) -> ValueAndGrad:
    """Rosenbrock's function with seeded noise, N(0, 30^2), afresh at every call.

    The noise of the value and of each component of the gradient are independent.
    """
    rng = np.random.default_rng(seed)

    def function(x):
        value, gradient = rosenbrock(x)
        noise = _NOISE * rng.normal(size=3)
        return value + noise[0], gradient + noise[1:]

    return function


def _sum_of_squares(residuals, x):
    """Value and gradient of the sum of the squared residuals."""
    r, J = residuals(x)
    return float(r @ r), 2 * (r @ J)


# Residuals r (m,) and their derivatives J (m, n).


def _powell_singular_residuals(x):
    a, b, c, d = x
    r = np.array(
        [a + 10 * b, np.sqrt(5) * (c - d), (b - 2 * c) ** 2, np.sqrt(10) * (a - d) ** 2],
    )
    J = np.zeros((4, 4))
    J[0, :2] = 1, 10
    J[1, 2:] = np.sqrt(5), -np.sqrt(5)
    J[2, 1:3] = 2 * (b - 2 * c), -4 * (b - 2 * c)
    J[3, [0, 3]] = 2 * np.sqrt(10) * (a - d), -2 * np.sqrt(10) * (a - d)
    return r, J


def _wood_residuals(x):
    a, b, c, d = x
    r = np.array(
        [
            10 * (b - a**2),
            1 - a,
            np.sqrt(90) * (d - c**2),
            1 - c,
            np.sqrt(10) * (b + d - 2),
            (b - d) / np.sqrt(10),
        ]
    )
    J = np.zeros((6, 4))
    J[0, :2] = -20 * a, 10
    J[1, 0] = -1
    J[2, 2:] = -2 * np.sqrt(90) * c, np.sqrt(90)
    J[3, 2] = -1
    J[4, [1, 3]] = np.sqrt(10)
    J[5, [1, 3]] = 1 / np.sqrt(10), -1 / np.sqrt(10)
    return r, J


def _beale_residuals(x):
    a, b = x
    power = np.arange(1, 4)
    r = np.array([1.5, 2.25, 2.625]) - a * (1 - b**power)
    return r, np.column_stack([b**power - 1, a * power * b ** (power - 1)])


def _helical_valley_residuals(x):
    a, b, c = x
    radius = np.hypot(a, b)
    # In (-1/4, 3/4]: the cut is where b < 0 and a = 0, away from the path to the minimum.
    turns = (np.arctan2(b, a) / (2 * np.pi) + 0.25) % 1 - 0.25
    r = np.array([10 * (c - 10 * turns), 10 * (radius - 1), c])
    turn = 100 / (2 * np.pi * radius**2)
    J = np.array([[turn * b, -turn * a, 10], [10 * a / radius, 10 * b / radius, 0], [0, 0, 1]])
    return r, J


PROBLEMS: dict[str, Callable[[], NetworkProblem | FunctionProblem]] = {
    "sin": _sin,
    "parity": _parity,
    "digits": _digits,
    "matrix_exponential": _matrix_exponential,
    "rosenbrock": _rosenbrock,
    "noisy_rosenbrock": _noisy_rosenbrock,
    "quadratic": _quadratic,
    "powell_singular": _powell_singular,
    "wood": _wood,
    "beale": _beale,
    "helical_valley": _helical_valley,
}
