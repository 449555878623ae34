"""An epoch from a file that the system's cache holds, beside one of the same rows in memory.

`python -m asv_bench.streaming` does this for files of gigabytes, from the disk, and with the memory
that it takes.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

import fastmlp


class FromFile:
    """400,000 rows of 200 columns, of which windows hold a third; the network is 200-64-1."""

    params = (["float32", "uint8"],)
    param_names = ("dtype",)
    rounds = 5
    unit = "ratio"

    def setup(self, dtype):
        rng = np.random.default_rng(0)
        self.in_memory = rng.integers(0, 4, (400_000, 200)).astype("float32")
        self.y = self.in_memory[:, 0] - 1.5
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "X.npy"
        np.save(path, self.in_memory.astype(dtype))
        self.in_file = np.load(path, mmap_mode="r")

    def teardown(self, dtype):
        self._folder.cleanup()

    def track_time_beside_memory(self, dtype):
        """Time of an epoch, as a multiple of one in memory: the best ones of fits in turn."""
        best = {}
        for _ in range(self.rounds):
            for name, X in (("memory", self.in_memory), ("file", self.in_file)):
                best[name] = min(best.get(name, np.inf), self._seconds(X))
        return best["file"] / best["memory"]

    def peakmem_one_epoch(self, dtype):
        """Of the process, with the 320 MB that are in memory."""
        self._seconds(self.in_file)

    def _seconds(self, X):
        ends = []
        fastmlp.MLP([200, 64, 1], seed=0).fit(
            X, self.y, epochs=2, seed=0, callbacks=lambda _: ends.append(time.perf_counter())
        )
        return ends[-1] - ends[-2]
