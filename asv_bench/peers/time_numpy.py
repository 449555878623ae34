"""What the machine can do: a large product of NumPy's BLAS."""

import numpy as np

from asv_bench.peers.clock import fastest_epoch

SIZE = 2048


def peak_gflops(dtype):
    """GFLOP/s of a 2048 x 2048 product; the environment has set the threads."""
    A = np.random.default_rng(0).standard_normal((SIZE, SIZE)).astype(dtype)
    out = np.empty_like(A)
    return 2 * SIZE**3 / fastest_epoch(lambda: np.dot(A, A, out=out), seconds=1.0) / 1e9
