"""What a solver sees of the function it minimizes."""

from abc import ABC, abstractmethod

import numpy as np


class Function(ABC):
    """A function of a float64 vector (n,), the objective of a network or any other.

    Each evaluation is counted and watched: it may end the solver by raising. What it returns may
    be non-finite, and is the solver's own: no later evaluation changes it.

    Attributes
    ----------
    size : int
        n.
    resolution : float
        Relative accuracy of the values: differences below it are noise.
    rng : numpy.random.Generator
        The source of all that the solver draws.
    n_batches : int
        How many mini-batches `batch` makes of the data before it begins anew; 1 without data.
    resumable : bool
        Whether the state is to be saved: then a solver keeps all that takes to go on from it.
    has_kinds : bool
        Whether its variables are parameters of a network, of the kinds `codes.KINDS`.
    random : tuple of str
        Arguments of the network by which the objective that it trains by is another one for each
        mini-batch. A function of the parameters alone has none.
    truncated : bool
        Whether its gradient leaves something out, as truncated backpropagation through time does.
    l1 : ndarray of float64 (n,), or None
        Factors of \\|x\\| that are part of the value. The gradient of such a term takes 0 at 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.solvers import LBFGS, Function
    >>> class Square(Function):
    ...     size, resolution, rng = 2, 2e-16, np.random.default_rng(0)
    ...
    ...     def value_and_grad(self, x):
    ...         return float(x @ x), 2 * x
    >>> state = LBFGS().start(Square(), np.array([3.0, 4.0]))
    >>> state["value"], state["gradient"]
    (25.0, array([6., 8.]))
    """

    size: int
    resolution: float
    rng: np.random.Generator
    n_batches: int = 1
    resumable: bool = False
    has_kinds: bool = False
    random: tuple[str, ...] = ()
    truncated: bool = False
    l1: np.ndarray | None = None

    @abstractmethod
    def value_and_grad(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient, float64 (n,)."""

    def value(self, x: np.ndarray) -> float:
        """The value alone."""
        return self.value_and_grad(x)[0]

    def batch(self) -> "Function":
        """An estimate of this function from the next mini-batch, the same at every call of it.

        Without data it is the function itself, which may be noisy.
        """
        return self

    def smooth_value_and_grad(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient without the term of `l1`."""
        if self.l1 is None:
            return self.value_and_grad(x)
        raise NotImplementedError

    @property
    def is_least_squares(self) -> bool:
        """Whether there is a `gauss_newton`."""
        return False

    def gauss_newton(
        self, x: np.ndarray, below: float = np.inf
    ) -> tuple[float, np.ndarray | None, np.ndarray | None]:
        """Value, gradient, and the Gauss-Newton approximation (n, n) of the Hessian.

        For values that are a sum of squares, and a quadratic penalty, of which the matrix has
        the exact Hessian. Where the value is not below `below`, the others may be None: they
        need not be formed at a point that will not be taken.
        """
        raise NotImplementedError

    @property
    def runs_lbfgs(self) -> bool:
        """Whether there is a `run_lbfgs`."""
        return False

    def run_lbfgs(self, run) -> list:
        """Go on for a slice of time with a run of L-BFGS, whose evaluations stay in compiled code.

        Parameters
        ----------
        run : `lbfgs_run.Run`
            Its tolerances, target and most iterations are set.

        Returns
        -------
        list of (seconds, data passes, value evaluations, gradient evaluations, value, norm)
            One for each iteration that has ended: the monitor's counts then, the value and the
            Euclidean norm of the gradient.
        """
        raise NotImplementedError
