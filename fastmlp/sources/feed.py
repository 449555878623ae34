"""Windows of rows in memory, of which the next is read while kernels work on the present one."""

import threading
from typing import Any, NamedTuple

import numpy as np

from fastmlp.kernels.threads import available_cores
from fastmlp.pace import CALL_SECONDS
from fastmlp.validation import read_only

# Bytes of rows that are read, and then checked, while the processor's cache still has them.
_READ_BYTES = 1 << 19

_AS_READ = np.empty(0, np.int64)


class Samples(NamedTuple):
    """Rows in memory, as the compiled loop takes them.

    Attributes
    ----------
    start, stop : int
        Which rows of the epoch they are, counted in its order.
    arrays : (X, Y, weights)
    order : ndarray of int64
        The rows in the order in which they are trained on; empty if that is as they lie.
    """

    start: int
    stop: int
    arrays: tuple
    order: np.ndarray


class Feed:
    """Reads one window of rows after the other, and the next one ahead of time.

    There are two buffers for rows of X: one that is worked on, and one that is read into.

    Parameters
    ----------
    source : Source
    targets : ndarray (n, n_target)
    weights : ndarray (n,) or (0,)
    net : Network
        Its dtype is what X is wanted in, and it knows which numbers of X are good.
    room : int
        Rows of a window, at most, that are kept for the next one.
    """

    def __init__(self, source, targets, weights, net, room):
        self._source, self._targets, self._weights = source, targets, weights
        self._net, self._room = net, room
        # Integers are finite, and all finite numbers are good but for codes of categories.
        self._has_codes = bool(net.categorical_columns)
        self._are_finite = source.dtype.kind in "iub"
        self._buffers: list[Any] = [None, None]
        self._order: Any = None
        self._w = 0
        self._reading: Any = None
        self._present: Any = None
        # One core alone can do nothing else while it reads; but while a disk does, it can.
        self._reads_ahead = available_cores() > 1 or not source.in_memory

    def begin(self, order, row=0):
        """Start over at one of the windows of an order, that with the epoch's row `row`."""
        self.stop()
        self._order, self._w, self._present = order, order.window_of(row), None
        self._read()

    def stop(self):
        """Wait for what is being read, and forget it."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def next(self, n_kept=0, check=None):
        """The samples of the next window, after the last `n_kept` of the present ones.

        `check` is called now and then while there are none, and may raise.
        """
        window, reading = self._reading.window, self._reading
        loaded = reading.result(check)
        buffer = self._buffers[self._w % 2]
        arrays, order = loaded, window.permutation
        first = self._room - n_kept
        if n_kept:
            X, Y, weights = self._last(n_kept)
            buffer[first : self._room] = X
            arrays = (
                None,
                np.concatenate([Y, loaded[1]]),
                np.concatenate([weights, loaded[2]]),
            )
            if order is not None:
                order = np.concatenate([np.arange(n_kept), n_kept + order])
        X = buffer[first : self._room + window.size]
        self._present = Samples(
            window.start - n_kept,
            window.start + window.size,
            (read_only(X), *(read_only(array.reshape(-1)) for array in arrays[1:])),
            _AS_READ if order is None else order,
        )
        self._w += 1
        self._reading = None
        if self._w < self._order.n_windows:
            self._read()
        return self._present

    def _last(self, n):
        """The last rows of the present samples, in their order."""
        X, Y, weights = self._present.arrays
        rows = slice(len(X) - n, None)
        if self._present.order.size:
            rows = self._present.order[-n:]
        return X[rows], Y.reshape(len(X), -1)[rows], weights[rows] if weights.size else weights

    def _read(self):
        """Begin to read the next window."""
        window, which = self._order.window(self._w), self._w % 2
        n_rows, buffer = self._room + self._order.largest, self._buffers[which]
        if buffer is None or len(buffer) < n_rows:
            self._buffers[which] = buffer = None
            buffer = np.empty((n_rows, self._source.shape[1]), self._net.dtype)
            self._buffers[which] = buffer
        X = buffer[self._room : self._room + window.size]
        self._reading = Reading(self, window, X)
        if self._reads_ahead:
            self._reading.start()

    def load(self, window, X):
        """Read the rows of a window into X; return Y and the weights that belong to them."""
        if window.runs is None:
            self._source.take(window.rows, X)
            self._check(window, X, 0)
            rows = window.rows
        else:
            self._read_runs(window, X)
            if len(window.runs) == 1:
                rows = slice(*window.runs[0])
            else:
                rows = np.concatenate([np.arange(a, b) for a, b in window.runs])
        weights = self._weights[rows] if self._weights.size else self._weights
        return None, self._targets[rows], weights

    def _read_runs(self, window, X):
        row_bytes = max(1, X.itemsize * X.shape[1])
        most = max(1, _READ_BYTES // row_bytes)
        wanted, n_wanted, done = [], 0, 0
        for first, end in window.runs.tolist():
            for start in range(first, end, most):
                stop = min(start + most, end)
                wanted.append((start, stop))
                n_wanted += stop - start
                if n_wanted >= most:
                    self._read_some(window, wanted, X[done : done + n_wanted], done)
                    done += n_wanted
                    wanted, n_wanted = [], 0
        if wanted:
            self._read_some(window, wanted, X[done:], done)

    def _read_some(self, window, runs, X, first):
        self._source.read_runs(runs, X)
        self._check(window, X, first)

    def _check(self, window, X, first):
        """Refuse rows that are not good, which are in the places from `first` on of a window."""
        if not self._has_codes and (self._are_finite or np.isfinite(X).all()):
            return
        try:
            self._net.check_rows(X)
        except ValueError:
            low, high = 0, len(X)
            while high - low > 1:
                middle = (low + high) // 2
                if self._are_good(X[low:middle]):
                    low = middle
                else:
                    high = middle
            self._net.check_rows(X[low:high], window.place(first + low))
            raise

    def _are_good(self, X):
        try:
            self._net.check_rows(X)
        except ValueError:
            return False
        return True


class Reading:
    """A window that is being read, in a thread of its own if it is started."""

    def __init__(self, feed, window, X):
        self.window = window
        self._feed, self._X = feed, X
        self._thread: Any = None
        self._loaded = self._error = None

    def start(self):
        # A daemon: Python must not wait at its end for a disk that does not answer.
        self._thread = threading.Thread(target=self._run, name="fastmlp reads ahead", daemon=True)
        self._thread.start()

    def cancel(self):
        """Wait until nothing is read any more."""
        if self._thread is not None:
            self._thread.join()

    def result(self, check=None):
        """What was read; or raise what came in the way."""
        if self._thread is None:
            self._run()
        else:
            self._thread.join(CALL_SECONDS)
            while self._thread.is_alive():
                if check is not None:
                    check()
                self._thread.join(CALL_SECONDS)
        if self._error is not None:
            raise self._error
        return self._loaded

    def _run(self):
        try:
            self._loaded = self._feed.load(self.window, self._X)
        except BaseException as error:  # raised in the thread that asks for the rows
            self._error = error
