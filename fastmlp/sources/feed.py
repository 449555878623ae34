"""Windows of rows in memory, of which the next is read ahead of time."""

import threading
from collections import deque
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastmlp.kernels.threads import available_cores
from fastmlp.pace import CALL_SECONDS
from fastmlp.validation import read_only

# How far ahead of what is read the system is told what to fetch: so the disk has something to do
# also while what it has fetched is copied.
_WINDOWS_AHEAD = 2
_BYTES_AHEAD = 1 << 26

# Bytes of rows that are read, and then checked, while the processor's cache still has them; and of
# rows of a file, which threads share, and which the kernel that reads them checks.
_READ_BYTES = 1 << 19
_FILE_BYTES = 1 << 24

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
        self._buffers: list[Any] = [None, None]
        self._order: Any = None
        self._w = 0
        self._reading: Any = None
        self._announcer: Any = None
        self._present: Any = None
        # All finite numbers are good but for codes of categories.
        self._has_codes = bool(net.categorical_columns)

    def begin(self, order, row=0):
        """Start over at one of the windows of an order, that with the epoch's row `row`."""
        self.stop()
        self._order, self._w, self._present = order, order.window_of(row), None
        if self._source.is_file:
            window_bytes = order.largest * self._source.shape[1] * self._source.dtype.itemsize
            n_ahead = max(_WINDOWS_AHEAD, _BYTES_AHEAD // max(1, window_bytes))
            self._announcer = Announcer(self._source, order, self._w, n_ahead)
        self._read(has_spare_core=False)

    def stop(self):
        """Wait for what is being read, and forget it."""
        if self._announcer is not None:
            self._announcer.stop()
            self._announcer = None
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def next(self, n_kept=0, check=None, has_spare_core=True):
        """The samples of the next window, after the last `n_kept` of the present ones.

        `check` is called now and then while there are none, and may raise. What comes after is read
        meanwhile if it takes waiting, or if kernels leave a core for it.
        """
        window, buffer = self._reading.window, self._buffers[self._w % 2]
        if self._announcer is not None:
            self._announcer.go_on(self._w)
        self._reading.finish(check)
        self._reading = None
        Y, weights = self._beside(window)
        first, order = self._room - n_kept, window.permutation
        if n_kept:
            X, last_Y, last_weights = self._last(n_kept)
            buffer[first : self._room] = X
            Y, weights = np.concatenate([last_Y, Y]), np.concatenate([last_weights, weights])
            if order is not None:
                order = np.concatenate([np.arange(n_kept), n_kept + order])
        X = buffer[first : self._room + window.size]
        self._present = Samples(
            window.start - n_kept,
            window.start + window.size,
            (read_only(X), read_only(Y.reshape(-1)), read_only(weights)),
            _AS_READ if order is None else order,
        )
        self._w += 1
        if self._w < self._order.n_windows:
            self._read(has_spare_core)
        return self._present

    def _beside(self, window):
        """Targets and weights of the rows of a window."""
        rows = window.rows
        if rows is None and len(window.runs) == 1:
            rows = slice(*window.runs[0])
        elif rows is None:
            rows = np.concatenate([np.arange(first, end) for first, end in window.runs.tolist()])
        return self._targets[rows], self._weights[rows] if self._weights.size else self._weights

    def _last(self, n):
        """The last rows of the present samples, in their order."""
        X, Y, weights = self._present.arrays
        rows = slice(len(X) - n, None)
        if self._present.order.size:
            rows = self._present.order[-n:]
        return X[rows], Y.reshape(len(X), -1)[rows], weights[rows] if weights.size else weights

    def _read(self, has_spare_core):
        """Begin to read the next window."""
        window, which = self._order.window(self._w), self._w % 2
        n_rows, buffer = self._room + self._order.largest, self._buffers[which]
        if buffer is None or len(buffer) < n_rows:
            self._buffers[which] = buffer = None
            buffer = np.empty((n_rows, self._source.shape[1]), self._net.dtype)
            self._buffers[which] = buffer
        X = buffer[self._room : self._room + window.size]
        self._reading = Reading(self._source, window, [*self._tasks(window, X)])
        self._reading.begin(has_spare_core)

    def _tasks(self, window, X):
        """What is to be done, one after the other, to have the rows of a window in X.

        Each is called with the number of threads that it may use.
        """
        n_bytes = _FILE_BYTES if self._source.is_file else _READ_BYTES
        most = max(1, n_bytes // max(1, X.itemsize * X.shape[1]))
        done = 0
        if window.runs is None:
            for first in range(0, window.size, most):
                rows = window.rows[first : first + most]
                yield partial(self._take, window, rows, X[first : first + most], first)
            return
        # Waiting for one run after the other, as on a network, is to be cut short between them.
        for runs in _grouped(window.runs, most, 1 if self._source.waits else most):
            size = int((runs[:, 1] - runs[:, 0]).sum())
            yield partial(self._read_runs, window, runs, X[done : done + size], done)
            done += size

    def _take(self, window, rows, X, first, n_threads):
        self._source.take(rows, X)
        self._check(window, X, first, self._source.are_finite)

    def _read_runs(self, window, runs, X, first, n_threads):
        are_finite = self._source.read_runs(runs, X, n_threads)
        self._check(window, X, first, are_finite or self._source.are_finite)

    def _check(self, window, X, first, are_finite):
        """Refuse rows that are not good, which are in the places from `first` on of a window."""
        if not self._has_codes and (are_finite or np.isfinite(X).all()):
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


class Announcer:
    """Tells the system what to fetch of a file, a few windows ahead.

    Parameters
    ----------
    source : Source
        A file.
    order
        As of `orders`.
    w : int
        The first window to be read.
    n_ahead : int
        Windows to tell of at a time.
    """

    def __init__(self, source, order, w, n_ahead):
        self._source, self._order, self._n_ahead = source, order, n_ahead
        self._changed = threading.Condition()
        self._reached, self._is_over = w, False
        self._thread = _started(partial(self._work, w))

    def go_on(self, w):
        """Take it that a window is about to be read."""
        with self._changed:
            self._reached = w
            self._changed.notify()

    def stop(self):
        """Tell of nothing more."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._thread.join()

    def _work(self, first):
        for w in range(first, self._order.n_windows):
            with self._changed:
                while w > self._reached + self._n_ahead and not self._is_over:
                    self._changed.wait()
                if self._is_over:
                    return
            self._source.announce(self._order.runs(w))


def _started(work):
    # A daemon: Python must not wait at its end for a disk that does not answer.
    thread = threading.Thread(target=work, name="fastmlp reads rows", daemon=True)
    thread.start()
    return thread


def _grouped(runs, most, enough):
    """Runs of rows as they are read together, (k, 2) each.

    A run has `most` rows at most, and a group no more runs than it takes to have `enough` rows.
    """
    group: list[tuple[int, int]] = []
    size = 0
    for first, end in runs.tolist():
        for start in range(first, end, most):
            stop = min(start + most, end)
            group.append((start, stop))
            size += stop - start
            if size >= enough:
                yield np.array(group)
                group, size = [], 0
    if group:
        yield np.array(group)


class Reading:
    """The rows of a window that are being read.

    Parameters
    ----------
    source : Source
    window : Window
    tasks : list of callable
        What there is to do, in any order and by any threads.
    """

    def __init__(self, source, window, tasks):
        self.window = window
        self._source, self._tasks = source, deque(tasks)
        self._thread: Any = None
        self._error: Any = None

    def begin(self, has_spare_core):
        """Read ahead in a thread, if that leaves the cores to the kernels."""
        if self._source.waits or (has_spare_core and available_cores() > 1):
            self._thread = _started(partial(self._work, 1))

    def cancel(self):
        """Read nothing any more."""
        self._tasks.clear()
        if self._thread is not None:
            self._thread.join()

    def finish(self, check=None):
        """Have all rows read; or raise what came in the way."""
        if not self._source.waits:
            self._work(available_cores(), check)
        if self._thread is not None:
            self._thread.join(CALL_SECONDS)
            while self._thread.is_alive():
                if check is not None:
                    check()
                self._thread.join(CALL_SECONDS)
        if self._error is not None:
            raise self._error

    def _work(self, n_threads, check=None):
        while True:
            try:
                task = self._tasks.popleft()
            except IndexError:
                return
            try:
                task(n_threads)
                if check is not None:
                    check()
            except BaseException as error:  # raised in the thread that asks for the rows
                self._error = error
                self._tasks.clear()
