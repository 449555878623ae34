"""Solvers: optimizers that see the whole objective as a function of a vector."""

from fastmlp.solvers.bounds import check_bounds
from fastmlp.solvers.conjugate_gradient import ConjugateGradient
from fastmlp.solvers.dense import BFGS, DFP, SR1, Broyden
from fastmlp.solvers.function import Function
from fastmlp.solvers.gaussian_process_newton import GaussianProcessNewton
from fastmlp.solvers.gradient_descent import GradientDescent
from fastmlp.solvers.gradient_free import SPSA, KieferWolfowitz
from fastmlp.solvers.lbfgs import LBFGS, OWLQN
from fastmlp.solvers.least_squares_newton import LeastSquaresNewton
from fastmlp.solvers.levenberg_marquardt import LevenbergMarquardt
from fastmlp.solvers.noise_tolerant_bfgs import NoiseTolerantBFGS
from fastmlp.solvers.scipy_methods import Scipy
from fastmlp.solvers.solver import Descent, Outcome, Solver, State, check_solvers
from fastmlp.solvers.stochastic_lbfgs import StochasticLBFGS
from fastmlp.solvers.updates import Updates

__all__ = [
    "BFGS",
    "DFP",
    "LBFGS",
    "OWLQN",
    "SPSA",
    "SR1",
    "Broyden",
    "ConjugateGradient",
    "Descent",
    "Function",
    "GaussianProcessNewton",
    "GradientDescent",
    "KieferWolfowitz",
    "LeastSquaresNewton",
    "LevenbergMarquardt",
    "NoiseTolerantBFGS",
    "Outcome",
    "Scipy",
    "Solver",
    "State",
    "StochasticLBFGS",
    "Updates",
    "check_bounds",
    "check_solvers",
]


def __dir__():
    return __all__
