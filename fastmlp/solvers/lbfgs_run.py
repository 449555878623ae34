"""The memory of a run of L-BFGS, which Python shares with kernels/lbfgs.py."""

import numpy as np

from fastmlp.kernels import codes, lbfgs
from fastmlp.kernels.records import RUN, SEARCH
from fastmlp.workspace import aligned_empty

# Elements that vectors begin at a multiple of: a cache line, and one of the rows in which a sweep
# takes the memory.
_LINE = 8 * codes.N_RATES


def _places(kind, start):
    """Where each field of a record is: its element, and whether it is a float."""
    return {
        name: (start + offset // 8, field == np.float64)
        for name, (field, offset) in kind.fields.items()
    }


_OF_RUN = _places(RUN, 0)
_OF_SEARCH = _places(SEARCH, len(RUN.names))
_PLACES = {**_OF_SEARCH, **_OF_RUN}


class Run:
    """Numbers and vectors in the memory of a run, by name.

    ``run["scale"]`` is a field of `records.RUN`, or of `records.SEARCH` if that one has none of the
    name.

    Parameters
    ----------
    memory : ndarray of float64
        Made by `new_run`, or a copy of that.
    """

    def __init__(self, memory):
        self.memory = memory
        self._numbers = memory.view(np.int64), memory

    def __getitem__(self, name):
        place, is_real = _PLACES[name]
        return self._numbers[is_real][place].item()

    def __setitem__(self, name, value):
        place, is_real = _PLACES[name]
        self._numbers[is_real][place] = value

    def point(self, which):
        """x and the gradient, views, of the point "at", "best", "trial" or "taken"."""
        n = self["n"]
        start = self["points"] + 2 * n * self[which]
        return self.memory[start : start + n], self.memory[start + n : start + 2 * n]

    @property
    def pairs(self):
        """S and Y (n_rows, n), views."""
        n, n_rows = self["n"], self["n_rows"]
        starts = self["S"], self["Y"]
        return tuple(self.memory[i : i + n_rows * n].reshape(n_rows, n) for i in starts)

    def traced(self, n):
        """What the last call has taken down of its `n` iterations, a view (`lbfgs.N_TRACED`, n)."""
        start = self["traced"]
        rows = self.memory[start : start + n * lbfgs.N_TRACED]
        return rows.reshape(n, lbfgs.N_TRACED).T


def new_run(n, history_size):
    """Make the memory of a run without pairs, at point 0; all but sizes and places is zero.

    Parameters
    ----------
    n : int
        Elements of x.
    history_size : int

    Returns
    -------
    ndarray of float64
        Its size is a multiple of `codes.N_RATES`.
    """
    n_rows = history_size + 1
    n_blocks = -(-n // lbfgs.BLOCK)
    n_sums = lbfgs.FIRST_PRODUCT + lbfgs.N_PRODUCTS * n_rows
    sizes = {
        "tables": lbfgs.N_TABLES * n_rows * n_rows,
        "columns": lbfgs.N_COLUMNS * n_rows,
        "totals": n_sums,
        "sums": n_blocks * n_sums,
        "traced": lbfgs.MOST_TRACED * lbfgs.N_TRACED,
        "points": 3 * 2 * n,
        "direction": n,
        "S": n_rows * n,
        "Y": n_rows * n,
    }
    starts, size = {}, _whole(len(RUN.names) + len(SEARCH.names))
    for name, of_vector in sizes.items():
        starts[name] = size
        size += _whole(of_vector)
    memory = aligned_empty(size, np.float64)
    memory[:] = 0.0
    run = Run(memory)
    fields = {"n": n, "n_rows": n_rows, "n_blocks": n_blocks, "n_sums": n_sums, **starts}
    for name, value in {**fields, "last": n_rows - 1, "job": lbfgs.ITERATE}.items():
        run[name] = value
    return memory


def _whole(size):
    return -(-size // _LINE) * _LINE
