"""Limited-memory BFGS."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

from fastmlp.solvers.bounds import check_bounds
from fastmlp.solvers.scipy_methods import Scipy
from fastmlp.solvers.solver import Descent
from fastmlp.validation import check_count


@dataclass(frozen=True, eq=False)
class LBFGS(Descent):
    """Limited-memory BFGS with bounds: SciPy's L-BFGS-B, whose line search is strong Wolfe.

    Liu & Nocedal, Mathematical Programming 45:503-528 (1989); Byrd, Lu, Nocedal & Zhu, SIAM
    Journal on Scientific Computing 16:1190-1208 (1995); line search by Moré & Thuente, ACM
    Transactions on Mathematical Software 20:286-307 (1994).

    Parameters
    ----------
    history_size : int, default 10
        Pairs of steps and gradient differences that stand for the Hessian.
    bounds : (low, high) or None, default None
        Box that theta stays in, as of `Scipy`.
    """

    history_size: int = 10
    _: KW_ONLY
    bounds: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("history_size", self.history_size)
        if self.bounds is not None:
            check_bounds(self.bounds)

    def check(self, function):
        self._scipy(function).check(function)

    def start(self, function, x0):
        return self._scipy(function).start(function, x0)

    def step(self, function, state):
        raise NotImplementedError

    def run(self, function, state, max_iterations, iterate):
        return self._scipy(function).run(function, state, max_iterations, iterate)

    def _scipy(self, function):
        tolerance = max(self.objective_tolerance, 4 * function.resolution)
        options = {"maxcor": self.history_size, "gtol": self.gradient_tolerance, "ftol": tolerance}
        return Scipy("L-BFGS-B", bounds=self.bounds, options=options)
