"""A uniform random sample of rows of which nobody knows how many there are."""

from collections.abc import Callable
from itertools import compress
from typing import Any

import numpy as np

# Rows are held until there are this many times as many as wanted, so that few of the times when
# rows come, others have to go.
_SLACK = 1.25


class RowSample:
    """Rows that come block by block, of which some are held, each equally likely.

    Each row draws a number, and those of the lowest numbers are held. So the sample depends on the
    generator and on the order of rows, and not on how they come in blocks.

    Parameters
    ----------
    size : int
        How many rows are wanted, at least 1.
    rng : numpy.random.Generator

    Attributes
    ----------
    n_rows : int
        That came so far.
    """

    def __init__(self, size: int, rng: np.random.Generator):
        self.n_rows = 0
        self._size, self._rng = size, rng
        self._highest = 1.0  # that no number of a row to be held may reach
        self._numbers: list[np.ndarray] = []
        self._rows: list[Any] = []

    def add(self, n_rows: int, row: Callable[[int], Any]) -> None:
        """Take note of the next rows, of which ``row(i)`` is what to hold of the i-th."""
        numbers = self._rng.random(n_rows)
        held = np.flatnonzero(numbers < self._highest)
        self.n_rows += n_rows
        self._numbers.append(numbers[held])
        self._rows += map(row, held.tolist())
        if len(self._rows) > _SLACK * self._size:
            self._cut()

    def rows(self) -> list[Any]:
        """The sample, in the order in which rows came: all of them if they are not more."""
        if len(self._rows) > self._size:
            self._cut()
        return self._rows

    def _cut(self):
        numbers = np.concatenate(self._numbers)
        self._highest = np.partition(numbers, self._size)[self._size]
        held = numbers < self._highest
        self._numbers = [numbers[held]]
        self._rows = list(compress(self._rows, held.tolist()))
