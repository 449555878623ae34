"""fastmlp's own L-BFGS, and SciPy's by way of fastmlp, both through `MLP.fit`."""

import time

import fastmlp
from asv_bench.peers.clock import fastest_run
from asv_bench.peers.minimizations import HISTORY, ITERATIONS, L2, MOST_EVALUATIONS, Run

SCIPY_OPTIONS = {"maxcor": HISTORY, "gtol": 0.0, "ftol": 0.0, "maxfun": MOST_EVALUATIONS}
OPTIMIZERS = {
    "fastmlp": fastmlp.LBFGS(HISTORY, gradient_tolerance=0.0, objective_tolerance=0.0),
    "scipy": fastmlp.Scipy("L-BFGS-B", options=SCIPY_OPTIONS),
}


def run(problem, n_threads, minimizer):
    """Run `MLP.fit` from the problem's start; return the Run."""
    workload = problem.workload
    X, y = problem.data()
    net = fastmlp.MLP(
        workload.sizes,
        activation=workload.activation,
        output=workload.output,
        dtype=problem.dtype,
    )

    def fit():
        for layer, (W, b) in enumerate(problem.start()):
            net.weights[layer][:], net.biases[layer][:] = W, b
        start = time.perf_counter()
        result = net.fit(
            X,
            y,
            optimizer=OPTIMIZERS[minimizer],
            epochs=ITERATIONS,
            l2=L2,
            n_threads=n_threads,
        )
        seconds = time.perf_counter() - start
        # The trace's clock starts when all arguments are checked.
        times = result.trace["seconds"] + (seconds - result.seconds)
        values = result.trace["objective"].tolist()
        return Run(seconds, result.n_iter, result.n_grad_evals, values, times.tolist())

    return fastest_run(fit)
