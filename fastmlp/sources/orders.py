"""The orders in which the rows of an epoch are read, a window at a time."""

from typing import Any, NamedTuple

import numpy as np

from fastmlp.order import random_order


class Window(NamedTuple):
    """Rows that are in memory together.

    They come from `runs`, or where these are None, from the single `rows`.
    """

    start: int  # how many rows of the epoch come before
    runs: Any  # (k, 2): first row and end of each run, in the order they are read
    rows: Any  # (m,) their numbers
    permutation: Any  # (m,) the order in which they are trained on; None as read
    size: int

    def place(self, i: int) -> int:
        """The number of the row that is read as the one in place `i`."""
        if self.rows is not None:
            return int(self.rows[i])
        ends = np.cumsum(self.runs[:, 1] - self.runs[:, 0])
        run = int(np.searchsorted(ends, i, side="right"))
        return int(self.runs[run, 1] - (ends[run] - i))


class InOrder:
    """Rows as they lie.

    Parameters
    ----------
    n_rows, window_rows : int
    """

    # What an order follows from, and whether a checkpoint can go on within it.
    key, goes_on = None, True

    def __init__(self, n_rows, window_rows):
        self._n_rows, self.largest = n_rows, min(n_rows, window_rows)
        self.n_windows = -(-n_rows // window_rows)

    def window_of(self, row):
        """The window with the epoch's row of this number."""
        return row // self.largest

    def runs(self, w):
        """The runs of rows of one of the windows, as of `Window`."""
        start = w * self.largest
        return np.array([[start, min(start + self.largest, self._n_rows)]])

    def window(self, w):
        """One of the windows."""
        runs = self.runs(w)
        start, stop = runs[0].tolist()
        return Window(start, runs, None, None, stop - start)


class OneByOne:
    """Rows of memory in any order.

    Parameters
    ----------
    order : ndarray of int64
    window_rows : int
    """

    key, goes_on = None, False

    def __init__(self, order, window_rows):
        self._order, self.largest = order, min(order.size, window_rows)
        self.n_windows = -(-order.size // window_rows)

    def window_of(self, row):
        """The window with the epoch's row of this number."""
        return row // self.largest

    def window(self, w):
        """One of the windows."""
        start = w * self.largest
        rows = self._order[start : start + self.largest]
        return Window(start, None, rows, None, rows.size)


class InOneWindow:
    """All rows together, in random order.

    Parameters
    ----------
    order : ndarray of int64
    """

    n_windows = 1
    key, goes_on = None, False

    def __init__(self, order):
        self._order, self.largest = order, order.size

    def window_of(self, row):
        """The window with the epoch's row of this number."""
        return 0

    def runs(self, w):
        """All rows as one run."""
        return np.array([[0, self._order.size]])

    def window(self, w):
        """The window."""
        return Window(0, self.runs(w), None, self._order, self._order.size)


class InWindows:
    """The order of `Windowed`, drawn a window at a time.

    Parameters
    ----------
    seed : int
        What is drawn follows from it.
    n_rows, block, blocks : int
        See `Windowed`.
    """

    goes_on = True

    def __init__(self, seed, n_rows, block, blocks):
        seed, n_rows, block, blocks = int(seed), int(n_rows), int(block), int(blocks)
        self.key = [seed, n_rows, block, blocks]
        self._seed, self._n_rows, self._block = seed, n_rows, block
        n_blocks = -(-n_rows // block)
        self.n_windows = -(-n_blocks // blocks)
        n_stretches = -(-n_blocks // self.n_windows)
        # For each stretch, which of its blocks each window takes.
        choices = np.arange(self.n_windows, dtype=np.min_scalar_type(self.n_windows))
        self._places = places = np.tile(choices, (n_stretches, 1))
        np.random.default_rng([seed, self.n_windows]).permuted(places, axis=1, out=places)
        self._first = np.arange(n_stretches) * self.n_windows
        # The last stretch may lack blocks, and the last block rows.
        last = self._first[-1] + places[-1].astype(np.int64)
        sizes = (n_stretches - 1) * block + np.clip(n_rows - last * block, 0, block)
        self._ends = np.cumsum(sizes)
        self.largest = int(np.diff(self._ends, prepend=0).max())

    def window_of(self, row):
        """The window with the epoch's row of this number."""
        return int(np.searchsorted(self._ends, row, side="right"))

    def runs(self, w):
        """The runs of rows of one of the windows, as of `Window`."""
        first = (self._first + self._places[:, w]) * self._block
        runs = np.stack([first, np.minimum(first + self._block, self._n_rows)], axis=1)
        return runs[runs[:, 0] < runs[:, 1]]

    def window(self, w):
        """One of the windows, whose order is drawn anew."""
        runs = self.runs(w)
        size = int((runs[:, 1] - runs[:, 0]).sum())
        order = random_order(np.random.default_rng([self._seed, w]), size)
        return Window(int(self._ends[w]) - size, runs, None, order, size)


def whole_order(order):
    """All rows' numbers in one of the orders, (n_rows,) of int64."""
    parts = []
    for w in range(order.n_windows):
        window = order.window(w)
        rows = np.concatenate([np.arange(a, b) for a, b in window.runs])
        parts.append(rows if window.permutation is None else rows[window.permutation])
    return np.concatenate(parts)


def draw(rng, windowed, n_rows, row_bytes):
    """Draw the order of an epoch in windows, or None where all rows are in one window."""
    blocks = windowed.count_blocks(row_bytes)
    if -(-n_rows // windowed.block) <= blocks:
        return None
    return InWindows(rng.integers(2**63), n_rows, windowed.block, blocks)
