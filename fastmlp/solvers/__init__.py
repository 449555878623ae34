"""Solvers: optimizers that see the whole objective as a function of a vector."""

from fastmlp.solvers.bounds import check_bounds
from fastmlp.solvers.function import Function
from fastmlp.solvers.lbfgs import LBFGS
from fastmlp.solvers.scipy_methods import Scipy
from fastmlp.solvers.solver import Descent, Outcome, Solver, State
from fastmlp.solvers.updates import Updates

__all__ = [
    "LBFGS",
    "Descent",
    "Function",
    "Outcome",
    "Scipy",
    "Solver",
    "State",
    "Updates",
    "check_bounds",
]
