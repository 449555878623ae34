"""Fits that are over in milliseconds, where what Python does between two steps shows."""

import functools
import statistics
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

import fastmlp
from fastmlp import sweep
from fastmlp.kernels import epoch

from .workloads import WORKLOADS

N_NETWORKS = 64


@dataclass(frozen=True)
class Fit:
    """A network, its rows and how long it is trained by Adam; `batch` is None for all rows."""

    title: str
    sizes: tuple[int, ...]
    activation: str
    output: str
    n_rows: int
    batch: int | None
    epochs: int

    def data(self):
        """X (n_rows, n_in) float32, and class indices or targets (n_rows, 1) in float32."""
        if self.output == "softmax":
            return iris()
        X = np.random.default_rng(0).standard_normal((self.n_rows, self.sizes[0]), np.float32)
        return X, X[:, :1] * X[:, 1:2]

    def network(self, seed=0):
        """The network, as it begins."""
        return fastmlp.MLP(self.sizes, activation=self.activation, output=self.output, seed=seed)

    @property
    def options(self):
        """How it is trained, as `MLP.fit` takes it."""
        return {"batch_size": self.batch, "epochs": self.epochs}


FITS = {
    "iris": Fit("iris, 4-16-3 tanh", (4, 16, 3), "tanh", "softmax", 150, 32, 200),
    "table": Fit("1,000 x 20, 20-32-1", (20, 32, 1), "relu", "identity", 1000, 32, 20),
    "deep": Fit("1,000 x 20, 20-64-64-1", (20, 64, 64, 1), "relu", "identity", 1000, 64, 20),
    "full": Fit("1,000 x 20, 20-32-1", (20, 32, 1), "relu", "identity", 1000, None, 100),
    "many": Fit(
        f"{N_NETWORKS} networks, 500 x 20, 20-32-1", (20, 32, 1), "relu", "identity", 500, 32, 50
    ),
}


def iris(dtype="float32"):
    """The 150 flowers, standardized, and their kinds."""
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(dtype), y


def classifier(kind, epochs=200):
    """An estimator of ours or of scikit-learn's, which share the names of these settings."""
    return kind(
        hidden_layer_sizes=16,
        batch_size=32,
        max_iter=epochs,
        n_iter_no_change=epochs,
        random_state=0,
    )


def fit_quietly(estimator, X, y):
    """Fit, without the warning that its epochs are over."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, y)


@contextmanager
def kernels_timed():
    """Yields a list that gets the seconds of each call of the loop that trains and evaluates."""
    seconds, exact_sweep, exact_epochs = [], epoch.exact_sweep, sweep.exact_epochs

    def timed(kernel):
        def call(*arguments):
            began = time.perf_counter()
            result = kernel(*arguments)
            seconds.append(time.perf_counter() - began)
            return result

        return call

    epoch.exact_sweep = functools.cache(lambda *given: timed(exact_sweep(*given)))
    sweep.exact_epochs = functools.cache(lambda *given: timed(exact_epochs(*given)))
    sweep.KEPT.clear()  # whose sweeps have the kernels as they are
    try:
        yield seconds
    finally:
        epoch.exact_sweep, sweep.exact_epochs = exact_sweep, exact_epochs
        sweep.KEPT.clear()


def seconds_above_kernels(n_fits=200, epochs=5):
    """The median over fits of matexp, full batch, of what is not spent in the compiled loop."""
    workload = WORKLOADS["matexp"]
    X, y = workload.data()
    net = fastmlp.MLP(workload.sizes, activation=workload.activation, seed=0)
    above = []
    with kernels_timed() as seconds:
        for _ in range(n_fits):
            seconds.clear()
            began = time.perf_counter()
            net.fit(X, y, batch_size=None, epochs=epochs, n_threads=1, seed=0)
            above.append(time.perf_counter() - began - sum(seconds))
    return statistics.median(above)


class SmallFits:
    """Whole fits, one thread: 5 of each."""

    params = ([name for name in FITS if name != "many"],)
    param_names = ("fit",)

    def setup(self, name):
        self.fit = FITS[name]
        self.X, self.y = self.fit.data()
        self.net = self.fit.network()
        self.start = self.net.theta.copy()
        self.time_fit(name)

    def time_fit(self, name):
        for _ in range(5):
            self.net.theta[:] = self.start
            self.net.fit(self.X, self.y, n_threads=1, seed=0, **self.fit.options)


class SmallClassifier:
    """MLPClassifier on iris: 5 fits."""

    def setup(self):
        self.X, self.y = iris("float64")
        self.time_fit()

    def time_fit(self):
        for _ in range(5):
            fit_quietly(classifier(fastmlp.MLPClassifier), self.X, self.y)


class ManySmallFits:
    """As many networks in one call."""

    def setup(self):
        self.fit = FITS["many"]
        self.X, self.y = self.fit.data()
        self.nets = [self.fit.network(seed) for seed in range(N_NETWORKS)]
        self.time_fit_many()

    def time_fit_many(self):
        fastmlp.fit_many(self.nets, self.X, self.y, seeds=0, **self.fit.options)


class AboveKernels:
    """What a fit of 5 full-batch epochs takes besides its kernels."""

    def track_above_kernels(self):
        return seconds_above_kernels()

    track_above_kernels.unit = "seconds"
