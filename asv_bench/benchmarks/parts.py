"""Rows in parts: what asking for an evaluation takes, above the slowest part."""

import time
from functools import partial
from importlib.util import find_spec

import numpy as np

import fastmlp

N_PARTS, N_ROWS = 4, 100


class Overhead:
    """An evaluation of four parts of 100 rows: the least of an iteration's, by map and by Dask.

    With Dask on two workers, which are processes. Least of all a part takes some tens of µs.
    """

    params = (["map", "dask"],)
    param_names = ("engine",)
    timeout = 120

    def setup(self, engine):
        if engine == "dask" and find_spec("distributed") is None:
            raise NotImplementedError("Dask is not installed")
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((N_PARTS * N_ROWS, 20), np.float32)
        self.y = np.sin(self.X[:, 0]) + self.X[:, 1] * self.X[:, 2]
        self.net = fastmlp.MLP([20, 64, 64, 1], seed=0)
        # Without tolerances no run ends before its iterations do.
        optimizer = fastmlp.LBFGS(gradient_tolerance=0.0, objective_tolerance=0.0)
        self.options = {"optimizer": optimizer, "epochs": 30, "n_threads": 1}

    def seconds_of_part(self):
        part = self.X[:N_ROWS], self.y[:N_ROWS]
        seconds = []
        for _ in range(20):
            began = time.perf_counter()
            self.net.loss_and_grad(*part, n_threads=1)
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    def fit_by_map(self):
        starts = range(0, len(self.X), N_ROWS)
        parts = [partial(tuple, (self.X[i : i + N_ROWS], self.y[i : i + N_ROWS])) for i in starts]
        return fastmlp.fit_parts(self.net, parts, **self.options)

    def fit_by_dask(self):
        import dask.array as da
        from distributed import Client

        X = da.from_array(self.X, chunks=(N_ROWS, 20))
        y = da.from_array(self.y, chunks=N_ROWS)
        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
        with Client(**options) as client:
            return fastmlp.dask.fit(self.net, X, y, client=client, **self.options)

    def track_overhead(self, engine):
        result = self.fit_by_map() if engine == "map" else self.fit_by_dask()
        steps, evaluations = (np.diff(result.trace[name]) for name in ("seconds", "n_grad_evals"))
        return float((steps / evaluations).min()) - self.seconds_of_part()

    track_overhead.unit = "seconds"
