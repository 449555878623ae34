"""Our fits, as users call them."""

import fastmlp
from asv_bench.benchmarks import small
from asv_bench.peers.minimize_fastmlp import OPTIMIZERS


def fit(task, epochs):
    """What makes a fit."""
    X, y = task.data()
    net = task.network()
    start = net.theta.copy()

    def run():
        net.theta[:] = start
        net.fit(X, y, batch_size=task.batch, epochs=epochs, seed=0)

    return run


def many(task, epochs):
    """What fits many networks."""
    X, y = task.data()
    nets = [task.network(seed) for seed in range(small.N_NETWORKS)]
    return lambda: fastmlp.fit_many(nets, X, y, batch_size=task.batch, epochs=epochs, seeds=0)


def classifier(epochs):
    """What fits an estimator."""
    X, y = small.iris("float64")
    return lambda: small.fit_quietly(small.classifier(fastmlp.MLPClassifier, epochs), X, y)


def lbfgs(problem, iterations, minimizer):
    """What minimizes, by our solver ("fastmlp") or by SciPy's on our objective ("scipy").

    It returns how often it has evaluated the objective.
    """
    X, y = problem.data()
    workload = problem.workload
    net = fastmlp.MLP(
        workload.sizes,
        activation=workload.activation,
        output=workload.output,
        dtype=problem.dtype,
    )
    for layer, (W, b) in enumerate(problem.start()):
        net.weights[layer][:], net.biases[layer][:] = W, b
    start = net.theta.copy()

    def run():
        net.theta[:] = start
        return net.fit(X, y, optimizer=OPTIMIZERS[minimizer], epochs=iterations).n_grad_evals

    return run
