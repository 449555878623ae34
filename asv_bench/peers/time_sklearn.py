"""scikit-learn: partial_fit of an MLPClassifier or MLPRegressor, one epoch a call."""

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from asv_bench.peers.clock import fastest_call, fastest_epoch


def measure(task, n_threads):
    """Seconds of a step or call; the environment has set the threads of its BLAS."""
    workload = task.workload
    X, y = task.data()
    classifies = workload.output == "softmax"
    model = (MLPClassifier if classifies else MLPRegressor)(
        hidden_layer_sizes=workload.sizes[1:-1],
        activation=workload.activation,
        solver="adam" if workload.optimizer == "adam" else "sgd",
        learning_rate_init=1e-3 if workload.optimizer == "adam" else 0.01,
        batch_size=workload.batch or len(X),
        shuffle=workload.batch is not None,
        alpha=0.0,
        nesterovs_momentum=False,
        random_state=0,
    )
    options = {"classes": np.arange(workload.sizes[-1])} if classifies else {}
    if y.ndim > 1 and y.shape[1] == 1:
        y = y[:, 0]

    def run_epoch():
        model.partial_fit(X, y, **options)

    if task.kind == "train":
        return fastest_epoch(run_epoch) / workload.steps
    run_epoch()
    predict = model.predict_proba if classifies else model.predict
    return fastest_call(lambda: predict(X))
