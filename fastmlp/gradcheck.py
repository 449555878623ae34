"""Backpropagation held against central differences, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastmlp.objective import Objective
from fastmlp.options import Loss
from fastmlp.validation import as_generator, check_count, check_positive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastmlp.network import Network
    from fastmlp.options import Features, Seed


@dataclass(frozen=True)
class GradientCheck:
    """Relative errors of the gradient for each block of parameters.

    Attributes
    ----------
    errors : dict of str to float
        For "weights[0]", "biases[0]", …: the norm of the difference between backpropagation and
        central differences over the larger of both norms, 0 if both are 0.
    tolerance : float

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> rng = np.random.default_rng(0)
    >>> net = fastmlp.MLP([3, 4, 1], activation="tanh", seed=0)
    >>> check = fastmlp.check_gradient(net, rng.normal(size=(20, 3)), rng.normal(size=20))
    >>> sorted(check.errors)
    ['biases[0]', 'biases[1]', 'weights[0]', 'weights[1]']
    """

    errors: dict[str, float]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every error is at most the tolerance."""
        return self.largest <= self.tolerance

    @property
    def largest(self) -> float:
        """The largest error."""
        return max(self.errors.values())

    def __str__(self) -> str:
        width = max(map(len, [*self.errors, "weights[0]  "]))
        rows = [
            f"{name:<{width}} {error:9.2e}  {'ok' if error <= self.tolerance else 'WRONG'}"
            for name, error in self.errors.items()
        ]
        return "\n".join([f"{'block':<{width}} {'error':>9}", *rows])


def check_gradient(
    net: Network,
    X: Features,
    y: ArrayLike,
    *,
    loss: Loss = "auto",
    lengths: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    step: float = 1e-6,
    tolerance: float = 1e-6,
    max_params: int = 1000,
    seed: Seed = 0,
) -> GradientCheck:
    """Compare backpropagation with central differences.

    The network is copied to float64 for both, because differences of float32 values drown in
    rounding. A block with a kink of relu, or of a loss or penalty, within `step` of where the
    network is may show an error that backpropagation does not have.

    Parameters
    ----------
    net : MLP
        Not changed.
    X, y, loss, lengths, sample_weight, l1, l2
        The objective, see `fastmlp.Objective`.
    step : float, default 1e-6
        Of a parameter to either side, relative to the larger of its size and 1. The error of a
        central difference is of the order step^2 + eps / step, least near eps^(1/3) = 6e-6.
    tolerance : float, default 1e-6
        Largest relative error of a block that passes.
    max_params : int, default 1000
        Parameters of each block that are checked; more are sampled, since each takes two
        evaluations over all rows of X.
    seed : int or None, default 0
        Of that sample.

    Returns
    -------
    GradientCheck

    Raises
    ------
    ValueError, TypeError
        For bad arguments.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> rng = np.random.default_rng(0)
    >>> net = fastmlp.MLP([3, 4, 1], activation="tanh", norm="layer", seed=0)
    >>> fastmlp.check_gradient(net, rng.normal(size=(20, 3)), rng.normal(size=20)).passed
    True
    """
    check_positive("step", step)
    check_positive("tolerance", tolerance)
    check_count("max_params", max_params)
    rng = as_generator(seed)
    # In the network's own dtype, to refuse what fit would.
    Objective(net, X, y, loss=loss, lengths=lengths)
    architecture = {**net.architecture(), "dtype": "float64"}
    double = net.from_architecture(architecture, *net.learned())
    double.feature_names = net.feature_names
    objective = Objective(
        double, X, y, loss=loss, lengths=lengths, sample_weight=sample_weight, l1=l1, l2=l2
    )
    _, gradient = objective.value_and_grad()
    theta = double.theta
    errors = {}
    start = 0
    for name, block in double.parameters:
        indices = np.arange(start, start + block.size)
        start += block.size
        if block.size > max_params:
            indices = np.sort(rng.choice(indices, max_params, replace=False))
        differences = [_central_difference(objective, theta, i, step) for i in indices]
        exact = gradient[indices]
        scale = max(np.linalg.norm(exact), np.linalg.norm(differences))
        error = np.linalg.norm(exact - differences)
        errors[name] = float(error / scale) if scale > 0 else 0.0
    return GradientCheck(errors, float(tolerance))


def _central_difference(objective, theta, i, step):
    """(J(theta + h e_i) - J(theta - h e_i)) / 2h, leaving theta as it was."""
    before = theta[i]
    h = step * max(1.0, abs(before))
    values = []
    for sign in (1, -1):
        theta[i] = before + sign * h
        values.append(objective.value())
    theta[i] = before
    return (values[0] - values[1]) / (2 * h)
