"""An objective's samples that are read a window at a time: sums and updates are those in memory."""

from typing import Any

import numpy as np

from fastmlp.kernels.threads import available_cores
from fastmlp.order import random_order
from fastmlp.sources import orders
from fastmlp.sources.feed import Feed
from fastmlp.sources.source import block_rows
from fastmlp.sources.windowed import Windowed
from fastmlp.sweep import CHUNK, MINI_BATCH, UPDATES, Sweep
from fastmlp.validation import no_weights


class Streamed:
    """What kernels take of an objective, read as it is needed.

    Parameters
    ----------
    source : Source
    targets : ndarray, (n * n_target,)
    weights : ndarray, (n,) or (0,)
        As `fastmlp.Objective` keeps them.
    net : Network
    """

    def __init__(self, source, targets, weights, net):
        self.source, self.targets, self.weights = source, targets, weights
        self._by_row = targets.reshape(source.shape[0], -1)
        self._net = net
        self.row_bytes = max(1, source.shape[1] * net.dtype.itemsize)

    @property
    def shape(self):
        """Rows and columns of X."""
        return self.source.shape

    @property
    def dtype(self):
        """The network's."""
        return self._net.dtype

    def __getitem__(self, rows):
        """Some rows of X, which are checked."""
        start, stop, _ = rows.indices(self.shape[0])
        X = np.empty((max(0, stop - start), self.shape[1]), self.dtype)
        self.source.read(start, start + len(X), X)
        self._net.check_rows(X, start)
        return X

    def draw_order(self, rng, shuffle):
        """Draw the order of an epoch."""
        n_rows = self.source.shape[0]
        if shuffle is False:
            return self.in_order()
        if isinstance(shuffle, Windowed) or not self.source.shuffles_all:
            windowed = Windowed() if shuffle is True else shuffle
            found = orders.draw(rng, windowed, n_rows, self.row_bytes)
            return orders.InOneWindow(random_order(rng, n_rows)) if found is None else found
        is_drawn = shuffle == "replacement"
        order = rng.integers(0, n_rows, n_rows) if is_drawn else random_order(rng, n_rows)
        return orders.OneByOne(order, self._block_rows())

    def order_of(self, key):
        """The order that has the `key`, or that of the rows as they lie."""
        return self.in_order() if key is None else orders.InWindows(*key)

    def in_order(self, multiple=1):
        """Rows as they lie, in windows of a multiple of so many rows."""
        rows = max(1, self._block_rows() // multiple) * multiple
        return orders.InOrder(self.source.shape[0], rows)

    def _block_rows(self):
        return block_rows(self.shape[1], self.dtype)

    def feed(self, room):
        """What reads the rows; see `Feed`."""
        return Feed(self.source, self._by_row, self.weights, self._net, room)

    def sweep(self, problem, batch_rows, *, gather, optimizer=None):
        """The compiled loop, over windows."""
        return StreamedSweep(self._net, problem, batch_rows, gather, optimizer, self)

    def windows(self, multiple=1, check=None):
        """All rows as they lie: the first of a window, its end, and its samples in memory."""
        order, feed = self.in_order(multiple), self.feed(0)
        try:
            feed.begin(order)
            for _ in range(order.n_windows):
                present = feed.next(0, check)
                yield present.start, present.stop, present.arrays
        finally:
            feed.stop()

    def take(self, rows):
        """Samples of some rows, as kernels take those in memory."""
        X = np.empty((rows.size, self.source.shape[1]), self._net.dtype)
        self.source.take(rows, X)
        for i, row in enumerate(rows.tolist()):
            self._net.check_rows(X[i : i + 1], row)
        weights = self.weights[rows] if self.weights.size else self.weights
        return X, self._by_row[rows].ravel(), weights


def checked_rows(source, net):
    """Rows alone, as a network takes them, which are checked as they are read."""
    return Streamed(source, np.empty(0, net.dtype), no_weights(net.dtype), net)


class StreamedSweep(Sweep):
    """A `Sweep` over rows that are in memory a window at a time.

    Its chunks are those of rows that are all in memory, and each continues the sums of the one
    before. So theta and all sums come out with the same bits.

    Parameters
    ----------
    net, problem, batch_rows, gather, optimizer
        As of `Sweep`; rows of a window are gathered by its own order.
    streamed : Streamed
    """

    def __init__(self, net, problem, batch_rows, gather, optimizer, streamed):
        super().__init__(net, problem, batch_rows, gather=gather, optimizer=optimizer)
        self._streamed, self._gathers = streamed, gather
        self._chunks = self._tables.chunks.copy()
        # At most all rows of a chunk but one are left when a window is at its end.
        self._feed = streamed.feed(int((self._chunks["stop"] - self._chunks["start"]).max()) - 1)
        self._present: Any = None
        # A team of all cores would wait for the one that somebody else reads on.
        self._has_spare_core = self._tables.workspace.n_parts < available_cores()
        self._last = self._n_chunks
        self._calls_without_clock = 0

    @property
    def done(self):
        return self._cursor[CHUNK] == self._last

    @property
    def rows_done(self):
        done = int(self._cursor[CHUNK])
        return int(self._chunks["stop"][done - 1]) if done else 0

    @property
    def is_between_windows(self):
        """Whether it is at the end of a window but the last, and between two mini-batches."""
        chunk = int(self._cursor[CHUNK])
        is_at_end = chunk == self._end < self._last and self._goes_on
        return is_at_end and bool(self._chunks["first"][chunk])

    def begin(self, order=None, updates_before=0, most_updates=np.inf, place=None):
        order = self._streamed.in_order() if order is None else order
        super().begin(None, updates_before, most_updates)
        self._last, self._end = self._end, 0
        self._present = None
        if place is not None:
            self._take_up(place)
        self._end = int(self._cursor[CHUNK])
        start = self._chunks["start"][self._end] if self._end < self._last else 0
        self._feed.begin(order, int(start))
        self._goes_on = order.goes_on

    def place(self):
        """Where it is within the epoch, for `begin`."""
        cursor = self._cursor
        return {
            "chunk": int(cursor[CHUNK]),
            "mini_batch": int(cursor[MINI_BATCH]),
            "updates": int(cursor[UPDATES]),
            "total": float(self._tables.total[0]),
        }

    def _take_up(self, place):
        self._cursor[CHUNK] = place["chunk"]
        self._cursor[MINI_BATCH] = place["mini_batch"]
        self._cursor[UPDATES] = place["updates"]
        self._tables.total[0] = self.total = place["total"]

    def close(self):
        """Read nothing any more."""
        self._feed.stop()

    def advance(self, mode, theta, samples, gradient, update=None, check=None):
        first = int(self._cursor[CHUNK])
        if first == self._end:
            self._next_window(first, check)
        return super().advance(mode, theta, self._present.arrays, gradient, update, check)

    def evaluate(self, mode, theta, samples, gradient, check=None):
        self.begin()
        try:
            while self.advance(mode, theta, samples, gradient, check=check):
                if check is not None:
                    check()
                if self.done:
                    break
        finally:
            self.close()
        return self.total

    def _next_window(self, first, check):
        """Have the rows of the next chunks in memory, and number them from 0."""
        start = int(self._chunks["start"][first])
        stop = int(self._chunks["stop"][first])
        # A window may be smaller than a chunk.
        while self._present is None or self._present.stop < stop:
            n_kept = 0 if self._present is None else self._present.stop - start
            self._present = self._feed.next(n_kept, check, self._has_spare_core)
        fits = np.searchsorted(self._chunks["stop"], self._present.stop, side="right")
        self._end = min(int(fits), self._last)
        self._order = self._present.order
        if self._gathers and not self._order.size:
            self._order = np.arange(self._present.stop - self._present.start)
        before = self._present.start
        self._tables.plan.rows_before = before
        taken = slice(first, self._end)
        for field in ("start", "stop"):
            self._tables.chunks[field][taken] = self._chunks[field][taken] - before
