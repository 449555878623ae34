"""fastmlp's own figures."""

import time

import numpy as np

import fastmlp
from asv_bench.peers.clock import SECONDS_PER_RUN, fastest_call
from fastmlp.kernels import _jit

# Of L-BFGS, and how often it is run after once to warm up.
ITERATIONS = 100
RUNS = 5


def measure(task, n_threads):
    """Seconds of a step or call."""
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
    momentum = workload.optimizer == "momentum"

    def enough(progress):
        seconds = progress.record.seconds - progress.trace[0].seconds
        if len(progress.trace) > 2 and seconds > SECONDS_PER_RUN:
            raise StopIteration

    result = net.fit(
        X,
        y,
        optimizer=fastmlp.SGD(0.01, momentum=0.9) if momentum else fastmlp.Adam(),
        batch_size=workload.batch,
        epochs=1_000_000,
        n_threads=n_threads,
        callbacks=[enough],
        seed=0,
    )
    if result.status is not fastmlp.Status.STOPPED:
        raise RuntimeError(f"the fit ended before its time: {result.message}")
    # The trace begins at the end of the first epoch, which is left out therefore.
    return np.diff(result.trace["seconds"]).min() / workload.steps


def lbfgs_share(n_threads):
    """Share of L-BFGS's time on the digits that is spent in compiled kernels.

    64-64-32-10, at most 100 iterations; the rest is the Python between them.
    """
    in_kernels = 0.0
    kernel_of = _jit.Twin._get

    def timed(twin, *options):
        kernel = kernel_of(twin, *options)

        def call(*arguments):
            nonlocal in_kernels
            start = time.perf_counter()
            result = kernel(*arguments)
            in_kernels += time.perf_counter() - start
            return result

        return call

    _jit.Twin._get = timed
    X, y = fastmlp.datasets.load_digits()
    shares = []
    for _ in range(1 + RUNS):
        net = fastmlp.MLP([64, 64, 32, 10], activation="relu", output="softmax", seed=0)
        in_kernels, start = 0.0, time.perf_counter()
        net.fit(X, y, optimizer=fastmlp.LBFGS(), epochs=ITERATIONS, n_threads=n_threads)
        shares.append(in_kernels / (time.perf_counter() - start))
    if not all(shares):
        raise RuntimeError("no kernel was called by way of its twin, which is what is timed")
    return max(shares[1:])
