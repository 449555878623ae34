"""What estimators take besides the kernels: for a chunk of a stream, and to predict a row."""

import time

import numpy as np

import fastmlp
from fastmlp.kernels import codes
from fastmlp.kernels.epoch import Update
from fastmlp.order import random_order

N_ROWS, N_FEATURES, HIDDEN = 1000, 20, (64, 64)

# Rows of a mini-batch, which are the estimators' default.
BATCH = 200

KINDS = {"MLPRegressor": "identity", "MLPClassifier": "sigmoid"}

# The least of so many calls counts.
N_TIMED = 300


def chunk(kind):
    """A thousand rows, and targets or two classes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, N_FEATURES))
    y = X[:, 0] * X[:, 1]
    return X, y if kind == "MLPRegressor" else (y > 0).astype(int)


def epochs_of_kernels(kind):
    """What runs an epoch of mini-batches in the compiled loop alone."""
    X, y = chunk(kind)
    rng = np.random.default_rng(0)
    net = fastmlp.MLP([N_FEATURES, *HIDDEN, 1], output=KINDS[kind], dtype=X.dtype, seed=0)
    objective, adam = fastmlp.Objective(net, X, y, l2=1e-7), fastmlp.Adam()
    sweep = objective.sweep(BATCH, gather=True, optimizer=adam)
    n_updates = sweep.n_updates
    state = np.zeros(adam.n_slots * net.n_params)
    update = Update(state, adam.rates(0, n_updates, n_updates, n_updates), np.inf)
    nothing = np.empty(0)
    done = 0

    def run():
        nonlocal done
        sweep.begin(random_order(rng, N_ROWS), done)
        while not sweep.done:
            sweep.advance(codes.UPDATE, net.theta, objective.samples, nothing, update)
        done += n_updates

    return run


class PartialFit:
    """partial_fit of 1,000 rows, 20-64-64-1: what it takes above its epoch in the kernels."""

    params = (list(KINDS), [1, 3000])
    param_names = ("kind", "calls_before")
    timeout = 300

    def setup(self, kind, calls_before):
        self.X, self.y = chunk(kind)
        self.kernels = epochs_of_kernels(kind)
        estimator = getattr(fastmlp, kind)(hidden_layer_sizes=HIDDEN, random_state=0)
        given = {} if kind == "MLPRegressor" else {"classes": [0, 1]}
        self.estimator = estimator.partial_fit(self.X, self.y, **given)
        for _ in range(calls_before):
            self.estimator.partial_fit(self.X, self.y)
        self.kernels()

    def track_above_kernels(self, kind, calls_before):
        """The least of many calls, less the least of as many epochs, made in turn."""
        epochs, calls = [], []
        for _ in range(N_TIMED):
            began = time.perf_counter()
            self.kernels()
            middle = time.perf_counter()
            self.estimator.partial_fit(self.X, self.y)
            epochs.append(middle - began)
            calls.append(time.perf_counter() - middle)
        return min(calls) - min(epochs)

    track_above_kernels.unit = "seconds"


class RowPrediction:
    """One row of a plain array, 2000 calls."""

    params = (["predict", "predict_proba"],)
    param_names = ("method",)

    def setup(self, method):
        X, y = chunk("MLPClassifier")
        classifier = fastmlp.MLPClassifier(HIDDEN, random_state=0)
        self.predict = getattr(classifier.partial_fit(X, y, classes=[0, 1]), method)
        self.X = X[:1]
        self.time_row(method)

    def time_row(self, method):
        for _ in range(2000):
            self.predict(self.X)
