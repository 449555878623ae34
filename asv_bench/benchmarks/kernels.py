"""The three products of a dense layer, beside NumPy's BLAS on the same shapes."""

import numpy as np

from fastmlp.kernels import codes, dense, threads

# (rows, n_in, n_out): a narrow first layer, small square layers, and wide ones.
SHAPES = [(32, 784, 16), (64, 64, 64), (200, 784, 100), (128, 512, 512), (512, 1024, 1024)]
DTYPES = ["float32", "float64"]


class Products:
    """Serial kernels against a serial ``np.dot``: set OPENBLAS_NUM_THREADS=1 to compare.

    Each is 2 rows n_in n_out floating-point operations. Times, not rates: asv takes what grows
    for a regression.
    """

    params = (SHAPES, DTYPES)
    param_names = ("rows, n_in, n_out", "dtype")

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

    def time_forward(self, shape, dtype):
        arguments = (self.A, self.W, self.b, codes.RELU, self.parameter, self.output, self.output)
        threads.run(dense.dense_forward, 1, *arguments, 1)

    def time_backward_input(self, shape, dtype):
        arguments = (self.delta, self.transposed, self.A, codes.RELU, self.parameter, self.below)
        threads.run(dense.dense_backward_input, 1, *arguments, 1)

    def time_backward_params(self, shape, dtype):
        arguments = (self.A, self.delta, self.gradient)
        threads.run(dense.dense_backward_params, 1, *arguments, 1)

    def time_numpy_dot(self, shape, dtype):
        np.dot(self.A, self.W, out=self.output)


class Launch:
    """A parallel region without work."""

    def setup(self):
        self.marks = np.zeros(threads.available_cores(), np.int64)
        threads.run(threads.touch, self.marks.size, self.marks)

    def time_empty_region(self):
        threads.run(threads.touch, self.marks.size, self.marks)
