"""SciPy's L-BFGS-B over JAX's jitted gradient, and optax's L-BFGS, an iteration in one jit."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from asv_bench.peers import time_jax
from asv_bench.peers.clock import fastest_run
from asv_bench.peers.minimizations import HISTORY, ITERATIONS, L2, MOST_EVALUATIONS, Run


def run(problem, n_threads, minimizer):
    """Run SciPy's or optax's method; the environment has set the threads."""
    if problem.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    # The data are on the device, and arguments: as constants they would be compiled in.
    X, y = (jnp.asarray(array) for array in problem.data())
    start, unravel = ravel_pytree(problem.start())

    def objective(theta, X, y):
        layers = unravel(theta)
        penalty = sum(jnp.square(W).sum() for W, _ in layers)
        return time_jax.loss(problem.workload, layers, X, y) + L2 / 2 * penalty

    if minimizer == "optax":
        return fastest_run(optax_run(objective, start, X, y))
    return fastest_run(scipy_run(objective, start, X, y))


def scipy_run(objective, start, X, y):
    """What runs SciPy's L-BFGS-B once and returns the Run."""
    from scipy.optimize import minimize

    value_and_grad = jax.jit(jax.value_and_grad(objective))
    theta = np.asarray(start, np.float64)

    def run_once():
        values, times = [], []

        def evaluate(x):
            value, gradient = value_and_grad(x.astype(start.dtype), X, y)
            value, gradient = float(value), np.asarray(gradient, np.float64)
            values.append(value)
            times.append(time.perf_counter() - began)
            return value, gradient

        began = time.perf_counter()
        result = minimize(
            evaluate,
            theta,
            jac=True,
            method="L-BFGS-B",
            options={
                "maxcor": HISTORY,
                "maxiter": ITERATIONS,
                "maxfun": MOST_EVALUATIONS,
                "ftol": 0.0,
                "gtol": 0.0,
            },
        )
        return Run(time.perf_counter() - began, int(result.nit), len(values), values, times)

    return run_once


def optax_run(objective, start, X, y):
    """What runs optax.lbfgs once, with its zoom line search, and returns the Run."""
    import optax

    optimizer = optax.lbfgs(memory_size=HISTORY)

    @jax.jit
    def iterate(theta, state, X, y):
        def value_of(theta):
            return objective(theta, X, y)

        # The line search has evaluated where it ended: that is not done again.
        value, gradient = optax.value_and_grad_from_state(value_of)(theta, state=state)
        updates, state = optimizer.update(
            gradient, state, theta, value=value, grad=gradient, value_fn=value_of
        )
        theta = optax.apply_updates(theta, updates)
        return theta, state, optax.tree.get(state, "value")

    initial = optimizer.init(start)

    def run_once():
        theta, state, values, times = start, initial, [], []
        began = time.perf_counter()
        for _ in range(ITERATIONS):
            theta, state, value = iterate(theta, state, X, y)
            values.append(float(value))
            times.append(time.perf_counter() - began)
        return Run(times[-1], ITERATIONS, None, values, times)

    return run_once
