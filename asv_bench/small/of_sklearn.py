"""scikit-learn's fits, which begin with a new network each."""

from sklearn.neural_network import MLPClassifier, MLPRegressor

from asv_bench.benchmarks import small
from asv_bench.peers.minimizations import MOST_EVALUATIONS


def fit(task, epochs):
    """What makes a fit."""
    X, y = task.data()
    kind = MLPClassifier if task.output == "softmax" else MLPRegressor

    def run():
        estimator = kind(
            hidden_layer_sizes=task.sizes[1:-1],
            activation=task.activation,
            alpha=0.0,
            batch_size=task.batch or len(X),
            max_iter=epochs,
            n_iter_no_change=epochs,
            random_state=0,
        )
        small.fit_quietly(estimator, X, y.ravel())

    return run


def classifier(epochs):
    """What fits an estimator."""
    X, y = small.iris("float64")
    return lambda: small.fit_quietly(small.classifier(MLPClassifier, epochs), X, y)


def lbfgs(problem, iterations, minimizer):
    """What minimizes."""
    X, y = problem.data()
    workload = problem.workload
    kind = MLPClassifier if workload.output == "softmax" else MLPRegressor

    def run():
        estimator = kind(
            hidden_layer_sizes=workload.sizes[1:-1],
            activation=workload.activation,
            alpha=0.0,
            solver="lbfgs",
            max_iter=iterations,
            max_fun=MOST_EVALUATIONS,
            tol=0.0,
            random_state=0,
        )
        small.fit_quietly(estimator, X, y.ravel() if workload.sizes[-1] == 1 else y)

    return run
