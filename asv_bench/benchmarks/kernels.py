"""The three products of a dense layer, beside NumPy's BLAS on the same shapes.

asv may set up anew before every sample, so a sample is many calls, always as many.
"""

import numpy as np

from fastmlp.kernels import codes, dense, threads
from fastmlp.kernels._jit import standalone
from fastmlp.kernels.blocks import whole
from fastmlp.kernels.simd import FROM_C, TALL, VECTOR_BYTES, tile

# (rows, n_in, n_out): a narrow first layer, small square layers, and wide ones.
SHAPES = [(32, 784, 16), (64, 64, 64), (200, 784, 100), (128, 512, 512), (512, 1024, 1024)]
DTYPES = ["float32", "float64"]


class Products:
    """Serial kernels against a serial ``np.dot``: set OPENBLAS_NUM_THREADS=1 to compare.

    As many calls as make about 10^9 floating-point operations, so that a time is one over a rate
    in GFLOP/s. Not the rate itself: asv takes what grows for a regression.
    """

    params = (SHAPES, DTYPES)
    param_names = ("rows, n_in, n_out", "dtype")

    def setup(self, shape, dtype):
        rows, n_in, n_out = shape
        rng = np.random.default_rng(0)
        self.A = rng.standard_normal((rows, n_in)).astype(dtype)
        self.W = rng.standard_normal((n_in, n_out)).astype(dtype)
        self.b = np.zeros(n_out, dtype)
        self.output = np.empty((rows, n_out), dtype)
        self.delta = rng.standard_normal((rows, n_out)).astype(dtype)
        self.below = np.empty((rows, n_in), dtype)
        self.gradient = np.empty((n_in + 1, n_out), dtype)
        self.relu = codes.RELU, 0, 0, self.b.dtype.type(0)
        self.calls = range(max(1, 10**9 // (2 * rows * n_in * n_out)))

    def time_forward(self, shape, dtype):
        arguments = (self.A, self.W, self.b, self.relu, self.output, self.output)
        for _ in self.calls:
            threads.run(dense.dense_forward, 1, *arguments, 1)

    def time_backward_input(self, shape, dtype):
        layer_below = (self.A, self.A, self.relu)
        arguments = (self.delta, self.W, *layer_below, self.below)
        for _ in self.calls:
            threads.run(dense.dense_backward_input, 1, *arguments, 1)

    def time_backward_params(self, shape, dtype):
        arguments = (self.A, self.delta, self.gradient)
        for _ in self.calls:
            threads.run(dense.dense_backward_params, 1, *arguments, 1)

    def time_numpy_dot(self, shape, dtype):
        for _ in self.calls:
            np.dot(self.A, self.W, out=self.output)


@standalone
def repeat_tile(A, B, C, row, times):
    for _ in range(times):
        tile(whole(A), whole(B), FROM_C, row, whole(C))


class Tile:
    """One register tile on operands that stay in the first level of the cache.

    About 10^9 floating-point operations, so that a time is one over a rate in GFLOP/s: the most
    that a product can have, and close to what the processor can.
    """

    params = (DTYPES,)
    param_names = ("dtype",)

    def setup(self, dtype):
        rng = np.random.default_rng(0)
        depth, width = 128, 2 * VECTOR_BYTES // np.dtype(dtype).itemsize
        self.A = rng.standard_normal((TALL, depth)).astype(dtype)
        self.B = rng.standard_normal((depth, width)).astype(dtype)
        self.C, self.row = np.zeros((TALL, width), dtype), np.zeros(width, dtype)
        self.times = 10**9 // (2 * TALL * depth * width)
        repeat_tile(self.A, self.B, self.C, self.row, 1)

    def time_tile(self, dtype):
        repeat_tile(self.A, self.B, self.C, self.row, self.times)


class Launch:
    """A thousand parallel regions without work, and as many plain calls with one array."""

    def setup(self):
        self.marks = np.zeros(threads.available_cores(), np.int64)
        self.time_call()
        self.time_empty_region()

    def time_call(self):
        for _ in range(1000):
            threads.touch.serial(self.marks)

    def time_empty_region(self):
        for _ in range(1000):
            threads.run(threads.touch, self.marks.size, self.marks)
