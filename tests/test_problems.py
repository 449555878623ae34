"""The named problems: their published starts, minima and targets."""

import numpy as np
import pytest

from fastmlp import MLP, minimize
from fastmlp.problems import PROBLEMS, FunctionProblem, NetworkProblem, load_problem

ALL = {name: load_problem(name) for name in PROBLEMS}
FUNCTIONS = {name: p for name, p in ALL.items() if isinstance(p, FunctionProblem)}
NETWORKS = {name: p for name, p in ALL.items() if isinstance(p, NetworkProblem)}


def without_noise(problem):
    return problem.exact or problem.make_function(0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_gradient_is_that_of_its_value(name):
    function = without_noise(FUNCTIONS[name])
    x = FUNCTIONS[name].make_start(1)
    steps = 1e-5 * np.eye(x.size)
    differences = [(function(x + h)[0] - function(x - h)[0]) / 2e-5 for h in steps]
    # The error of a central difference is some h^2 f''' + 1e-16 f / h.
    np.testing.assert_allclose(function(x)[1], differences, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_least_at_its_minimum(name):
    problem = FUNCTIONS[name]
    value, gradient = without_noise(problem)(problem.minimum)
    assert value == 0
    assert not gradient.any()
    assert value < problem.target < without_noise(problem)(problem.make_start(0))[0]


# Values at the standard starts, as printed in many collections of test functions.
@pytest.mark.parametrize(
    ("name", "start", "value"),
    [
        ("rosenbrock", (-1.2, 1), 24.2),
        ("powell_singular", (3, -1, 0, 1), 215),
        ("wood", (-3, -1, -3, -1), 19192),
        ("beale", (1, 1), 14.203125),
        ("helical_valley", (-1, 0, 0), 2500),
    ],
)
def test_a_published_function_has_its_published_value_at_its_published_start(name, start, value):
    problem = FUNCTIONS[name]
    np.testing.assert_array_equal(problem.make_start(0), start)
    assert problem.make_function(0)(problem.make_start(0))[0] == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_start_depends_on_the_seed_alone(name):
    problem = FUNCTIONS[name]
    first, again, other = (problem.make_start(seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    published = problem.make_start(0)
    assert (np.abs(first - published) <= 0.1 * np.maximum(1, np.abs(published))).all()


def test_the_valley_is_continuous_where_its_angle_is_cut_elsewhere():
    function = FUNCTIONS["helical_valley"].make_function(0)
    above, below = (function(np.array([-1.0, b, 0.5]))[0] for b in (1e-12, -1e-12))
    assert above == pytest.approx(below, abs=1e-6)


def test_the_quadratic_has_its_condition_number():
    problem = FUNCTIONS["quadratic"]
    function = problem.make_function(0)
    hessian = np.array([function(problem.minimum + e)[1] for e in np.eye(20)])
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert eigenvalues[-1] / eigenvalues[0] == pytest.approx(1e4, rel=1e-9)
    # Oblique: every coordinate takes part in the steepest direction.
    assert (np.linalg.eigh(hessian)[1][:, -1] != 0).all()


def test_the_noise_of_rosenbrock_is_seeded_and_has_the_lectures_size():
    problem = FUNCTIONS["noisy_rosenbrock"]
    x = np.array([1.0, 1.0])  # where value and gradient are nothing but noise
    n = 2000

    def draw(seed):
        function = problem.make_function(seed)
        return np.array([np.hstack(function(x)) for _ in range(n)])

    noise = draw(0)
    np.testing.assert_array_equal(noise, draw(0))
    assert (noise != draw(1)).all()
    # Four standard errors: 30 / sqrt(n) of a mean, 30 / sqrt(2 n) of a standard deviation.
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=4 * 30 / n**0.5)
    np.testing.assert_allclose(noise.std(axis=0), 30, atol=4 * 30 / (2 * n) ** 0.5)
    correlations = np.corrcoef(noise.T)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(correlations, 0, atol=4 / n**0.5)


@pytest.mark.parametrize("name", ["rosenbrock", "beale", "helical_valley", "powell_singular"])
def test_a_function_can_be_solved(name):
    problem = FUNCTIONS[name]
    result = minimize(problem.make_function(0), problem.make_start(0), optimizer="lbfgs")
    assert result.loss < problem.target


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_goes_with_its_data(name):
    problem = NETWORKS[name]
    net = problem.make_net(0)
    assert isinstance(net, MLP)
    loss = net.loss(problem.X, problem.y, loss=problem.loss, l1=problem.l1, l2=problem.l2)
    assert loss > problem.target > 0
    np.testing.assert_array_equal(net.theta, problem.make_net(0).theta)
    assert (net.weights[0] != problem.make_net(1).weights[0]).any()


@pytest.mark.parametrize("name", ["sin", "parity"])
def test_mathworks_goals_are_in_reach(name):
    problem = NETWORKS[name]
    net = problem.make_net(0)
    net.fit(problem.X, problem.y, optimizer="lbfgs", epochs=200)
    # Their goals, of the mean squared error.
    outputs = net.predict(problem.X)[:, 0]
    assert np.square(outputs - problem.y).mean() < {"sin": 0.002, "parity": 0.001}[name]


def test_parity_is_minus_one_for_an_odd_number_of_minus_ones():
    problem = NETWORKS["parity"]
    assert {tuple(row) for row in problem.X} == {
        (a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)
    }
    odd = (problem.X < 0).sum(axis=1) % 2 == 1
    np.testing.assert_array_equal(problem.y, np.where(odd, -1, 1))


def test_the_determinant_of_an_exponential_is_the_exponential_of_the_trace():
    problem = NETWORKS["matrix_exponential"]
    a, _, _, d = problem.X.T
    p, q, r, s = problem.y.T
    np.testing.assert_allclose(p * s - q * r, np.exp(a + d), rtol=1e-9)


def test_held_out_digits_are_none_of_those_trained_on():
    problem = NETWORKS["digits"]
    assert (len(problem.X), len(problem.validation_data[0])) == (1438, 359)
    everything = np.vstack([problem.X, problem.validation_data[0]])
    assert len(np.unique(everything, axis=0)) == len(everything)


def test_an_unknown_problem_is_refused_with_the_names_of_all():
    with pytest.raises(ValueError, match=r"problem must be one of sin, parity, .*, got 'sine'"):
        load_problem("sine")
