"""fastmlp's own figures."""

import time

import numpy as np

import fastmlp
from asv_bench.benchmarks.workloads import WORKLOADS
from asv_bench.peers.clock import SECONDS_PER_RUN, fastest_call
from asv_bench.peers.minimizations import L2, MINIMIZATIONS
from asv_bench.peers.minimize_fastmlp import run
from fastmlp.kernels import _jit

OPTIMIZERS = {
    "adam": fastmlp.Adam(),
    "adamw": fastmlp.AdamW(weight_decay=0.01),
    "momentum": fastmlp.SGD(0.01, momentum=0.9),
}

# Iterations of SciPy's L-BFGS, how often it or ours is run after once to warm up, and evaluations
# that are timed beside each run of ours.
ITERATIONS = 20
RUNS = 5
EVALUATIONS = 100


def measure(task, n_threads):
    """Seconds of a step or call."""
    # All that a fit would compile in time, also what it puts off because it only makes it faster.
    fastmlp.warmup((task.dtype,))
    workload = task.workload
    X, y = task.data()
    net = fastmlp.MLP(
        workload.sizes,
        activation=workload.activation,
        output=workload.output,
        dtype=task.dtype,
        seed=0,
    )
    if task.kind == "train":
        return train(net, X, y, workload, n_threads)
    if task.kind == "predict":
        return fastest_call(lambda: net.predict(X, n_threads=n_threads))
    if task.kind == "loss_and_grad":
        return fastest_call(lambda: net.loss_and_grad(X, y, n_threads=n_threads))
    objective = fastmlp.Objective(net, X, y, n_threads=n_threads)
    return fastest_call(lambda: objective.value_and_grad(net.theta))


def train(net, X, y, workload, n_threads):
    """Seconds of a step of `MLP.fit`, as its own trace times the epochs."""

    def enough(progress):
        seconds = progress.record.seconds - progress.trace[1].seconds
        if len(progress.trace) > 3 and seconds > SECONDS_PER_RUN:
            raise StopIteration

    result = net.fit(
        X,
        y,
        optimizer=OPTIMIZERS[workload.optimizer],
        batch_size=workload.batch,
        epochs=1_000_000,
        n_threads=n_threads,
        callbacks=[enough],
        seed=0,
    )
    if result.status is not fastmlp.Status.STOPPED:
        raise RuntimeError(f"the fit ended before its time: {result.message}")
    # The first epoch is left out: its data are not in the cache yet.
    return np.diff(result.trace["seconds"][1:]).min() / workload.steps


def lbfgs_share(name, n_threads):
    """Share of L-BFGS's time that the objective takes: the rest is the solver's.

    Parameters
    ----------
    name : str
        "digits13k" is SciPy's on the workload of that name as a full batch, timed in the compiled
        kernels. Any other is a name of `minimizations.MINIMIZATIONS`, and stands for our L-BFGS:
        the time of an evaluation by itself, of the time of the fit for each of its evaluations, the
        least of some runs each.
    n_threads : int
    """
    if name == "digits13k":
        return _scipys_share(WORKLOADS[name], n_threads)
    problem = MINIMIZATIONS[name]
    net = fastmlp.MLP(
        problem.workload.sizes,
        activation=problem.workload.activation,
        output=problem.workload.output,
        dtype=problem.dtype,
    )
    objective = fastmlp.Objective(net, *problem.data(), l2=L2, n_threads=n_threads)
    with_solver, alone = [], []
    for _ in range(1 + RUNS):
        with_solver.append(run(problem, n_threads, "fastmlp").seconds_each)
        start = time.perf_counter()
        for _ in range(EVALUATIONS):
            objective.value_and_grad(net.theta)
        alone.append((time.perf_counter() - start) / EVALUATIONS)
    return min(alone) / min(with_solver)


def _scipys_share(workload, n_threads):
    """Share of the time of SciPy's L-BFGS that is spent in compiled kernels."""
    in_kernels = 0.0

    def timed(kernel_of):
        def get(twin, *options, **named):
            kernel = kernel_of(twin, *options, **named)

            def call(*arguments):
                nonlocal in_kernels
                start = time.perf_counter()
                result = kernel(*arguments)
                in_kernels += time.perf_counter() - start
                return result

            # What else a kernel has stays its own.
            for own in ("compile", "overloads"):
                setattr(call, own, getattr(kernel, own, None))
            return call

        return get

    for way in ("_get", "exactly"):
        setattr(_jit.Twin, way, timed(getattr(_jit.Twin, way)))
    X, y = workload.data()
    shares = []
    for _ in range(1 + RUNS):
        net = fastmlp.MLP(workload.sizes, activation="relu", output="softmax", seed=0)
        in_kernels, start = 0.0, time.perf_counter()
        net.fit(X, y, optimizer=fastmlp.Scipy("L-BFGS-B"), epochs=ITERATIONS, n_threads=n_threads)
        shares.append(in_kernels / (time.perf_counter() - start))
    if not all(shares):
        raise RuntimeError("no kernel was called by way of its twin, which is what is timed")
    return max(shares[1:])
