"""Random small fits with every array of the kernels between memory pages that must not be touched.

A program of its own: what reads or writes beside an array ends the process. It prints the number
of fits.
"""

import ctypes
import mmap
import random
from unittest import mock

import numpy as np

from fastmlp import MLP, SGD, Adam, network, program_workspace, sweep, tables, workspace

N_FITS = 60

# What the many ways to share work out depend on, so that small networks take all of them.
ALL_WAYS = [
    {"SMALL_PARAMS": workspace.SMALL_PARAMS},
    {"SMALL_PARAMS": 0, "BLOCK_BYTES": 1, "FEWEST_BLOCK_ROWS": 3, "LOSS_ROWS": 4},
    {"SMALL_PARAMS": 0, "BLOCK_BYTES": 1, "FEWEST_GROUPED_ROWS": 8, "GROUP_ROWS": 4},
    {"SMALL_PARAMS": 0, "SLICE_COLUMNS": 4},
    {"SMALL_PARAMS": 0, "SLICE_LINES": 1},
    {"SMALL_PARAMS": 0, "WIDE_WEIGHTS": 1, "SLICE_COLUMNS": 99},
    {"SMALL_PARAMS": 0, "WIDE_WEIGHTS": 1, "FEWEST_COLUMNS": 2, "FEWEST_ROWS": 2},
    {"SMALL_PARAMS": 0, "WIDE_WEIGHTS": 1, "row_gap": lambda n, itemsize: n % 3 + 1},
]


class Guard:
    """Makes arrays that end right before a page without any access, or begin right after one."""

    def __init__(self, draw):
        self._draw = draw
        self._protect = ctypes.CDLL(None, use_errno=True).mprotect
        self._protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

    def empty(self, size, dtype):
        """A vector, filled with bytes that make NaN of floating-point numbers."""
        dtype, page = np.dtype(dtype), mmap.PAGESIZE
        inside = -(-size * dtype.itemsize // page) * page
        memory = mmap.mmap(-1, inside + 2 * page)
        start = np.frombuffer(memory, np.uint8).ctypes.data
        for guard in (start, start + page + inside):
            if self._protect(guard, page, 0):  # PROT_NONE
                raise OSError(ctypes.get_errno(), "mprotect")
        at = page + self._draw.choice([0, inside - size * dtype.itemsize])
        array = np.frombuffer(memory, dtype, size, at)
        array.view(np.uint8)[:] = 255
        return array

    def copy(self, array):
        copied = self.empty(array.size, array.dtype).reshape(array.shape)
        copied[:] = array
        return copied


def guarded_sweep(guard):
    """`sweep.run_sweep` with all that it is given between guards, and the results copied back."""
    run = sweep.run_sweep

    def run_guarded(tables, as_team, stop, mode, theta, samples, result, order, update):
        state, rates = guard.copy(update.state), guard.copy(update.rates)
        gradient = guard.copy(result)
        outcome = run(
            tables,
            as_team,
            stop,
            mode,
            theta,
            tuple(map(guard.copy, samples)),
            gradient,
            guard.copy(order),
            update._replace(state=state, rates=rates),
        )
        update.state[:], result[:] = state, gradient
        return outcome

    return run_guarded


def fit(draw, place):
    """Bits of theta and outputs of a random network; `place` copies the rows to predict."""
    seed = draw.randrange(1 << 30)
    rng = np.random.default_rng(seed)
    sizes = [draw.randint(1, 40) for _ in range(draw.randint(2, 4))]
    n_rows = draw.randint(1, 40)
    options = {}
    output, y = "identity", rng.normal(size=(n_rows, sizes[-1]))
    if sizes[-1] > 1 and draw.random() < 0.4:
        output, y = "softmax", rng.integers(0, sizes[-1], n_rows)
    elif draw.random() < 0.3:
        options["loss"] = "huber"
    if draw.random() < 0.5:
        options["sample_weight"] = rng.uniform(0.5, 2.0, n_rows)
    if draw.random() < 0.3:
        options["clip_norm"] = 0.5
    X = rng.normal(size=(n_rows, sizes[0]))
    X[:, : draw.randint(0, sizes[0] - 1)] = 0.0
    activation = draw.choice(["relu", "tanh", "gelu"])
    dtype = draw.choice(["float32", "float64"])
    pieces = {}
    if draw.random() < 0.4:
        pieces = {
            "norm": draw.choice([None, "layer"]),
            "dropout": draw.choice([0.0, 0.3]),
            "residual": draw.choice([False, True]),
            "members": draw.choice([1, 1, 3]),
            "input_scale": draw.choice([False, True]),
        }
    net = MLP(sizes, activation=activation, output=output, dtype=dtype, seed=seed, **pieces)
    net.fit(
        X,
        y,
        optimizer=draw.choice([SGD(0.01), SGD(0.01, momentum=0.9), Adam(0.01, amsgrad=True)]),
        epochs=2,
        batch_size=draw.randint(1, n_rows),
        l1=draw.choice([0.0, 1e-3]),
        l2=draw.choice([0.0, 1e-2]),
        shuffle=draw.choice([True, False]),
        n_threads=draw.choice([1, 2]),
        seed=0,
        **options,
    )
    return net.theta.tobytes() + net.predict(place(X.astype(dtype))).tobytes()


def main():
    never = mock.patch.object(sweep.Sweep, "_n_without_clock", return_value=0)
    at_once = mock.patch.object(sweep.EMPTY_COLUMNS, "seconds_left", return_value=0.0)
    for seed in range(N_FITS):
        guard = Guard(random.Random(seed))
        with mock.patch.multiple(workspace, **ALL_WAYS[seed % len(ALL_WAYS)]), never, at_once:
            plain = fit(random.Random(seed), np.ascontiguousarray)
            with (
                mock.patch.object(network, "aligned_empty", guard.empty),
                mock.patch.object(tables, "aligned_empty", guard.empty),
                mock.patch.object(program_workspace, "aligned_empty", guard.empty),
                mock.patch.object(workspace, "aligned_empty", guard.empty),
                mock.patch.object(sweep, "run_sweep", guarded_sweep(guard)),
            ):
                guarded = fit(random.Random(seed), guard.copy)
        assert guarded == plain, f"fit {seed} has other bits"
    print(N_FITS)


if __name__ == "__main__":
    main()
