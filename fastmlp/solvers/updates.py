"""A stochastic optimizer as a solver: one compiled update for each gradient."""

import numpy as np

from fastmlp.kernels import threads, updates
from fastmlp.solvers.solver import Solver


class Updates(Solver):
    """Runs the update of a `Stochastic` optimizer on any function.

    Parameters
    ----------
    optimizer : Stochastic
    all_updates : int
        As many as there will be, for schedules that go by the fraction done.

    Examples
    --------
    What `fastmlp.minimize` makes of a stochastic optimizer:

    >>> import fastmlp
    >>> square = lambda x: (float(x @ x), 2 * x)
    >>> fastmlp.minimize(square, [3.0, 4.0], optimizer=fastmlp.SGD(0.25), max_iterations=2).theta
    array([0.75, 1.  ])
    """

    stochastic = True

    def __init__(self, optimizer, all_updates):
        self.optimizer = optimizer
        self.all_updates = all_updates

    def start(self, function, x0):
        value, gradient = function.value_and_grad(x0.copy())
        slots = np.zeros(self.optimizer.n_slots * x0.size)
        return {"x": x0.copy(), "value": value, "gradient": gradient, "slots": slots, "t": 0}

    def step(self, function, state):
        optimizer, t = self.optimizer, state["t"]
        rates = optimizer.rates(t, 1, 1, self.all_updates)[0]
        x = state["x"].copy()
        threads.run(
            updates.update_vector,
            1,
            updates.update_address(optimizer.code, x.dtype),
            optimizer.code,
            x,
            state["gradient"],
            state["slots"],
            optimizer.hyperparameters(),
            rates,
            t + 1,
        )
        value, gradient = function.value_and_grad(x.copy())
        state.update(x=x, value=value, gradient=gradient, t=t + 1)
