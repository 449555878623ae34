"""Line searches: the steps of SciPy's, the conditions they promise, and how each fails."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize._dcsrch import DCSRCH

from fastmlp import Status
from fastmlp.kernels.line_search import LARGEST_STEP
from fastmlp.solvers.line_search import armijo, strong_wolfe

# Functions of one variable that fall at 0, with their derivatives: a quadratic, and those of
# Moré & Thuente's section 5, which are hard in different ways.


def quadratic(t):
    return (t - 3) ** 2, 2 * (t - 3)


def rational(t):
    return -t / (t * t + 2), (t * t - 2) / (t * t + 2) ** 2


def quintic(t):
    return (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4, 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3


def oscillating(t):
    """Many small minima on the way to the one at 1."""
    beta, half_length = 0.01, 39 * math.pi / 2
    if t <= 1 - beta:
        value, slope = 1 - t, -1.0
    elif t >= 1 + beta:
        value, slope = t - 1, 1.0
    else:
        value, slope = (t - 1) ** 2 / (2 * beta) + beta / 2, (t - 1) / beta
    wave = 2 * (1 - beta) / (39 * math.pi) * math.sin(half_length * t)
    return value + wave, slope + (1 - beta) * math.cos(half_length * t)


def yanai(t, beta_1=0.001, beta_2=0.01):
    def gamma(beta):
        return math.sqrt(1 + beta * beta) - beta

    a, b = math.hypot(1 - t, beta_2), math.hypot(t, beta_1)
    value = gamma(beta_1) * a + gamma(beta_2) * b
    return value, -gamma(beta_1) * (1 - t) / a + gamma(beta_2) * t / b


FUNCTIONS = {f.__name__: f for f in (quadratic, rational, quintic, oscillating, yanai)}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


def search(method, function, first_step, **options):
    """Search from 0 along a line; return the Search and the trial steps."""
    steps = []

    def evaluate(x):
        steps.append(float(x[0]))
        value, slope = function(steps[-1])
        return value, np.array([slope, 0.0])

    value, slope = function(0.0)
    start, direction = np.zeros(2), np.array([1.0, 0.0])
    gradient = np.array([slope, 0.0])
    found = method(evaluate, start, value, gradient, direction, first_step, **options)
    return found, steps


@every_function
@pytest.mark.parametrize("first_step", [1e-3, 0.1, 0.7, 1.0, 10.0, 1e3])
@pytest.mark.parametrize(("c1", "c2"), [(1e-3, 0.9), (1e-3, 0.1), (0.1, 0.2)])
def test_trial_steps_are_those_of_scipys_dcsrch(function, first_step, c1, c2):
    """SciPy's evaluates once more at its best step where the bracket is narrow: that is spared."""
    theirs = []

    def value_of(t):
        theirs.append(float(t))
        return function(t)[0]

    dcsrch = DCSRCH(value_of, lambda t: function(t)[1], c1, c2, 0.1, 0.0, LARGEST_STEP)
    value, slope = function(0.0)
    *_, task = dcsrch(first_step, phi0=value, derphi0=slope, maxiter=21)
    found, ours = search(strong_wolfe, function, first_step, c1=c1, c2=c2)
    if task.startswith(b"CONV"):
        assert found.outcome is None
        assert found.step == ours[-1]
    if len(theirs) > len(ours):
        assert theirs.pop() in theirs
    assert_allclose(ours, theirs, rtol=1e-9)  # roundings, which every interpolation amplifies


@every_function
@pytest.mark.parametrize("first_step", [1e-3, 0.1, 1.0, 10.0])
def test_strong_wolfe_conditions(function, first_step):
    found, steps = search(strong_wolfe, function, first_step, c1=1e-3, c2=0.5)
    value, slope = function(0.0)
    assert found.outcome is None
    assert found.value <= value + 1e-3 * found.step * slope
    assert (found.value, found.gradient[0]) == function(found.x[0])
    assert found.x[0] == found.step
    if function in (quintic, oscillating):  # flat at 0: all steps that are as flat are close by
        assert found.value == min(function(t)[0] for t in steps)
    else:
        assert abs(found.gradient[0]) <= 0.5 * abs(slope)


@every_function
@pytest.mark.parametrize("first_step", [0.1, 1.0, 10.0])
def test_armijo_takes_the_first_step_of_sufficient_decrease(function, first_step):
    found, steps = search(armijo, function, first_step, c1=0.1, shrink=0.3)
    value, slope = function(0.0)
    assert found.outcome is None
    assert_allclose(steps, first_step * 0.3 ** np.arange(len(steps)), rtol=1e-14)
    enough = [function(t)[0] <= value + 0.1 * t * slope for t in steps]
    assert enough == [False] * (len(steps) - 1) + [True]
    assert found.x[0] == found.step == steps[-1]


# Functions that are not finite everywhere


def walled(wall):
    def function(t):
        return quadratic(t) if t < wall else (math.nan, math.inf)

    return function


@pytest.mark.parametrize("method", [strong_wolfe, armijo])
@pytest.mark.parametrize("wall", [5.0, 2.0, 0.1, 1e-3])
def test_non_finite_trials_shorten_the_step(method, wall):
    found, steps = search(method, walled(wall), 10.0)
    assert found.outcome is None
    assert 0 < found.step < wall
    assert found.value < quadratic(0.0)[0]
    assert steps[0] == 10.0


def test_a_minimum_short_of_a_wall_is_found():
    """The first trial is beyond the wall at 3.5, the retreat to 1 ahead of the minimum at 3."""
    found, _ = search(strong_wolfe, walled(3.5), 10.0, c2=0.1)
    assert found.outcome is None
    assert abs(found.gradient[0]) <= 0.1 * 6


@pytest.mark.parametrize("method", [strong_wolfe, armijo])
@pytest.mark.parametrize(
    "broken",
    [lambda t: (math.nan, -1.0), lambda t: (-math.inf, -1.0), lambda t: (-t, math.nan)],
    ids=["value nan", "value -inf", "gradient nan"],
)
def test_a_function_that_is_finite_nowhere(method, broken):
    found, _ = search(method, lambda t: broken(t) if t else (0.0, -1.0), 1.0)
    assert found.outcome.status == Status.NOT_FINITE
    assert "not finite" in found.outcome.message
    assert_array_equal(found.x, [0, 0])
    assert (found.value, found.step) == (0.0, 0.0)


@pytest.mark.parametrize("method", [strong_wolfe, armijo])
def test_steps_too_short_to_move_anything_do_not_hide_that(method):
    def evaluate(x):
        return (1.0 if x[0] == 1 else math.inf), np.array([-1.0])

    one = np.ones(1)
    found = method(evaluate, one, 1.0, -one, one, 1.0, max_trials=60)
    assert found.outcome.status == Status.NOT_FINITE


# Failures


@pytest.mark.parametrize("method", [strong_wolfe, armijo])
def test_a_direction_uphill_or_flat_is_refused_without_a_trial(method):
    for slope in (0.0, 1.0, math.nan):
        found, steps = search(method, lambda t, slope=slope: (slope * t, slope), 1.0)
        assert found.outcome.status == Status.LINE_SEARCH_FAILED
        assert "does not descend" in found.outcome.message
        assert steps == []


@pytest.mark.parametrize("method", [strong_wolfe, armijo])
@pytest.mark.parametrize(
    "function",
    [lambda t: (t, -1.0), lambda t: (1.0, -1.0), lambda t: (t * t, -1.0 - t)],
    ids=["wrong sign", "flat", "growing"],
)
def test_a_wrong_gradient_is_a_failure_at_the_start(method, function):
    found, steps = search(method, function, 1.0, max_trials=12)
    assert found.outcome.status == Status.LINE_SEARCH_FAILED
    assert "no sufficiently lower point in 12 trials" in found.outcome.message
    assert len(steps) <= 12
    assert (found.step, found.value) == (0.0, function(0.0)[0])


def test_a_failure_comes_with_the_lowest_point_seen():
    """Falls by a hundredth of what its slope says, at the shortest trial of all but not enough."""
    found, steps = search(armijo, lambda t: (-0.01 * t, -1.0), 1.0, c1=0.1, max_trials=4)
    assert steps == [1, 0.5, 0.25, 0.125]
    assert found.outcome.status == Status.LINE_SEARCH_FAILED
    assert (found.step, found.value) == (1.0, -0.01)


@pytest.mark.parametrize("first_step", [1e-8, 1.0, 1e3])
def test_an_unbounded_function(first_step):
    found, steps = search(strong_wolfe, lambda t: (-t, -1.0), first_step)
    assert found.outcome.status == Status.UNBOUNDED
    assert "still falls at the line search's last step" in found.outcome.message
    assert found.step == steps[-1] <= LARGEST_STEP
    assert found.step >= min(LARGEST_STEP, 1e10 * first_step)


@pytest.mark.parametrize("method", [strong_wolfe, armijo])
def test_values_at_their_accuracy_are_told_from_a_wrong_gradient(method):
    """Rounded to a multiple of 1e-6, the parabola's fall by 1e-8 is nowhere to be seen."""

    def rounded(t):
        return round(1 + (t - 1e-4) ** 2 - 1e-8, 6), 2 * (t - 1e-4)

    found, _ = search(method, rounded, 1.0, resolution=1e-6)
    assert found.outcome.status == Status.CONVERGED
    assert "accuracy of its values" in found.outcome.message
    found, _ = search(method, lambda t: (1 + t, -1.0), 1.0, resolution=1e-6)
    assert found.outcome.status == Status.LINE_SEARCH_FAILED


def test_differences_beyond_the_largest_number():
    """From a value of 1e308 to one of -1e308 and back."""
    heights = {0.0: 1e308, 1.0: 1.7e308}
    found, _ = search(strong_wolfe, lambda t: (heights.get(t, -1e308), -1.0 + 2 * t), 1.0)
    assert math.isfinite(found.step)
    assert found.value == -1e308
