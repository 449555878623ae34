"""Solvers: optimizers that see the whole objective as a function of a vector."""

from fastmlp.solvers.scipy_methods import LBFGS, Scipy
from fastmlp.solvers.solver import Outcome, Solver

__all__ = ["LBFGS", "Outcome", "Scipy", "Solver"]
