"""Training, evaluation and prediction as users call them.

asv may set up anew before every sample, so a sample of short calls is many, always as many.
"""

import numpy as np

import fastmlp

from .workloads import WORKLOADS


def build(workload):
    """Network, data and optimizer of a workload."""
    X, y = workload.data()
    net = fastmlp.MLP(
        workload.sizes, activation=workload.activation, output=workload.output, seed=0
    )
    momentum = workload.optimizer == "momentum"
    return net, X, y, fastmlp.SGD(0.01, momentum=0.9) if momentum else fastmlp.Adam()


class Training:
    """An epoch, as the trace of a fit times it, and what that makes for a step."""

    params = (list(WORKLOADS), [1, None])
    param_names = ("workload", "n_threads")
    timeout = 300

    def setup(self, name, n_threads):
        self.workload = WORKLOADS[name]
        self.net, self.X, self.y, self.optimizer = build(self.workload)

    def fastest_epoch(self, n_threads):
        result = self.net.fit(
            self.X,
            self.y,
            optimizer=self.optimizer,
            batch_size=self.workload.batch,
            epochs=5,
            n_threads=n_threads,
            seed=0,
        )
        return float(np.diff(result.trace["seconds"]).min())

    def track_epoch(self, name, n_threads):
        return self.fastest_epoch(n_threads)

    def track_step(self, name, n_threads):
        batch = self.workload.batch or len(self.X)
        return self.fastest_epoch(n_threads) / -(-len(self.X) // batch)

    track_epoch.unit = track_step.unit = "seconds"


class LittleWork:
    """A step with so little work that finding out what to do would show: the least of 5 epochs."""

    params = (["11-1-2:relu:1", "4-8-8-2:relu:1", "20-10-1:relu:8", "4-16-3:tanh:32"],)
    param_names = ("network",)
    n_rows = 20_000

    def setup(self, network):
        sizes, activation, batch = network.split(":")
        widths = [int(size) for size in sizes.split("-")]
        rng = np.random.default_rng(0)
        self.batch = int(batch)
        self.net = fastmlp.MLP(widths, activation=activation, seed=0)
        self.X = rng.standard_normal((self.n_rows, widths[0]), np.float32)
        self.y = rng.standard_normal((self.n_rows, widths[-1]), np.float32)

    def track_step(self, network):
        result = self.net.fit(self.X, self.y, batch_size=self.batch, epochs=5, seed=0)
        return float(np.diff(result.trace["seconds"]).min()) / (self.n_rows // self.batch)

    track_step.unit = "seconds"


class QuasiNewton:
    """L-BFGS on a full batch, always as many iterations, from the same start."""

    params = (["digits", "small"], ["float32", "float64"], [1, None])
    param_names = ("network", "dtype", "n_threads")

    def setup(self, network, dtype, n_threads):
        if network == "digits":
            sizes, activation, output, self.iterations = (64, 64, 32, 10), "relu", "softmax", 50
            self.X, self.y = fastmlp.datasets.load_digits(dtype)
        else:
            sizes, activation, output, self.iterations = (24, 8, 2), "tanh", "identity", 200
            rng = np.random.default_rng(0)
            self.X = rng.standard_normal((200, 24)).astype(dtype)
            self.y = np.sin(self.X[:, :2] + self.X[:, 2:4])
        self.net = fastmlp.MLP(sizes, activation=activation, output=output, dtype=dtype, seed=0)
        self.start = self.net.theta.copy()
        # Without tolerances no run ends before its iterations do.
        self.optimizer = fastmlp.LBFGS(gradient_tolerance=0.0, objective_tolerance=0.0)
        done = self.fit(n_threads).n_iter
        if done != self.iterations:
            raise RuntimeError(f"the fit ended after {done} of {self.iterations} iterations")

    def fit(self, n_threads):
        self.net.theta[:] = self.start
        return self.net.fit(
            self.X,
            self.y,
            optimizer=self.optimizer,
            epochs=self.iterations,
            l2=1e-4,
            n_threads=n_threads,
        )

    def time_lbfgs(self, network, dtype, n_threads):
        self.fit(n_threads)

    def track_evaluations(self, network, dtype, n_threads):
        return self.fit(n_threads).n_grad_evals

    track_evaluations.unit = "evaluations"


class ManyNetworks:
    """Eight small networks on the digits, 20 epochs each: in one call, and one after another."""

    def setup(self):
        self.X, self.y = fastmlp.datasets.load_digits()
        self.nets = [fastmlp.MLP([64, 64, 32, 10], output="softmax", seed=i) for i in range(8)]
        self.time_fit_many()
        self.nets[0].fit(self.X, self.y, epochs=1)

    def time_fit_many(self):
        fastmlp.fit_many(self.nets, self.X, self.y, seeds=0)

    def time_one_by_one(self):
        for net in self.nets:
            net.fit(self.X, self.y, seed=0)


class Evaluation:
    """The objective and its gradient for the digits, arguments checked: 20 calls."""

    def setup(self):
        self.net = fastmlp.MLP([64, 64, 32, 10], output="softmax", seed=0)
        self.X, self.y = fastmlp.datasets.load_digits()
        self.time_loss_and_grad_digits()

    def time_loss_and_grad_digits(self):
        for _ in range(20):
            self.net.loss_and_grad(self.X, self.y)


class SmallEvaluation:
    """The same for SimpleChains.jl's 24-8-2 and 200 rows, 500 calls; and with arguments checked
    before, as solvers call it."""

    params = (["float64", "float32"], ["identity", "softmax"], [1, 2])
    param_names = ("dtype", "output", "n_threads")

    def setup(self, dtype, output, n_threads):
        rng = np.random.default_rng(0)
        self.net = fastmlp.MLP([24, 8, 2], activation="tanh", output=output, dtype=dtype, seed=0)
        self.X = rng.standard_normal((200, 24)).astype(dtype)
        self.y = rng.standard_normal((200, 2)).astype(dtype)
        if output == "softmax":
            self.y = rng.integers(0, 2, 200)
        self.objective = fastmlp.Objective(self.net, self.X, self.y, n_threads=n_threads)
        self.theta = self.net.theta.copy()
        self.time_loss_and_grad(dtype, output, n_threads)
        self.time_value_and_grad(dtype, output, n_threads)

    def time_loss_and_grad(self, dtype, output, n_threads):
        for _ in range(500):
            self.net.loss_and_grad(self.X, self.y, n_threads=n_threads)

    def time_value_and_grad(self, dtype, output, n_threads):
        for _ in range(500):
            self.objective.value_and_grad(self.theta)


class Prediction:
    """784-16-16-10 on one row, 5000 calls, and on 10,000, 5 calls."""

    params = ([1, 10_000], [1, None])
    param_names = ("rows", "n_threads")

    def setup(self, rows, n_threads):
        self.net = fastmlp.MLP([784, 16, 16, 10], output="softmax", seed=0)
        self.X = np.random.default_rng(0).random((rows, 784), np.float32)
        self.time_predict(rows, n_threads)

    def time_predict(self, rows, n_threads):
        for _ in range(5000 if rows == 1 else 5):
            self.net.predict(self.X, n_threads=n_threads)
