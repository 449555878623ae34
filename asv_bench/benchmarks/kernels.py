"""The three products of a dense layer, as GFLOP/s beside NumPy's BLAS on the same shapes."""

import time

import numpy as np

from fastmlp.kernels import codes, dense, threads

# (rows, n_in, n_out): a narrow first layer, small square layers, and wide ones.
SHAPES = [(32, 784, 16), (64, 64, 64), (200, 784, 100), (128, 512, 512), (512, 1024, 1024)]
DTYPES = ["float32", "float64"]


def gflops(call, flops, seconds=0.2):
    """Rate of the fastest of as many calls as fit into `seconds`."""
    call()
    fastest, began = np.inf, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return flops / fastest / 1e9


class Products:
    """Serial kernels against a serial ``np.dot``: set OPENBLAS_NUM_THREADS=1 to compare."""

    params = (SHAPES, DTYPES)
    param_names = ("rows, n_in, n_out", "dtype")
    unit = "GFLOP/s"

    def setup(self, shape, dtype):
        rows, n_in, n_out = shape
        rng = np.random.default_rng(0)
        self.A = rng.standard_normal((rows, n_in)).astype(dtype)
        self.W = rng.standard_normal((n_in, n_out)).astype(dtype)
        self.transposed = np.ascontiguousarray(self.W.T)
        self.b = np.zeros(n_out, dtype)
        self.output = np.empty((rows, n_out), dtype)
        self.delta = rng.standard_normal((rows, n_out)).astype(dtype)
        self.below = np.empty((rows, n_in), dtype)
        self.gradient = np.empty((n_in + 1, n_out), dtype)
        self.parameter = self.b.dtype.type(0)
        self.flops = 2.0 * rows * n_in * n_out

    def track_forward(self, shape, dtype):
        arguments = (self.A, self.W, self.b, codes.RELU, self.parameter, self.output, self.output)
        return gflops(lambda: threads.run(dense.dense_forward, 1, *arguments, 1), self.flops)

    def track_backward_input(self, shape, dtype):
        arguments = (self.delta, self.transposed, self.A, codes.RELU, self.parameter, self.below)
        return gflops(lambda: threads.run(dense.dense_backward_input, 1, *arguments, 1), self.flops)

    def track_backward_params(self, shape, dtype):
        arguments = (self.A, self.delta, self.gradient)
        return gflops(
            lambda: threads.run(dense.dense_backward_params, 1, *arguments, 1), self.flops
        )

    def track_numpy_dot(self, shape, dtype):
        return gflops(lambda: np.dot(self.A, self.W, out=self.output), self.flops)

    for track in (track_forward, track_backward_input, track_backward_params, track_numpy_dot):
        track.unit = unit


class Launch:
    """A parallel region without work."""

    def setup(self):
        self.marks = np.zeros(threads.available_cores(), np.int64)
        threads.run(threads.touch, self.marks.size, self.marks)

    def time_empty_region(self):
        threads.run(threads.touch, self.marks.size, self.marks)
