"""What a fit returns: how it ended, what it cost and the trace of how it went."""

import csv
import operator
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from itertools import starmap
from operator import attrgetter
from typing import Any

import numpy as np

from fastmlp.writing import writing


class Status(StrEnum):
    """Why an optimizer stopped.

    Examples
    --------
    A status is a string, and may be compared to one:

    >>> import numpy as np
    >>> import fastmlp
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> result = fastmlp.MLP([3, 4, 1], seed=0).fit(X, X[:, 0], epochs=3)
    >>> result.status is fastmlp.Status.COMPLETED, result.status == "completed"
    (True, True)
    """

    CONVERGED = "converged"  # its own tolerance on the gradient or the objective
    COMPLETED = "completed"  # all the epochs or iterations it was given
    TARGET_REACHED = "target reached"
    TIME_LIMIT = "time limit"
    STOPPED = "stopped"  # by a callback
    INTERRUPTED = "interrupted"  # by Ctrl-C
    NOT_FINITE = "not finite"  # the objective or its gradient
    LINE_SEARCH_FAILED = "line search failed"  # it found no lower point
    UNBOUNDED = "unbounded"  # it ran into its largest step and the objective still falls
    FAILED = "failed"  # for a reason of its own, which the message gives


@dataclass(frozen=True)
class Record:
    """The state of a fit after one epoch or iteration, or at its start.

    Attributes
    ----------
    seconds : float
        Since the start of the fit, without the time spent on validation, on callbacks and on
        compiling or loading kernels. Short epochs that nobody looks at go several at a time, about
        10 ms: each has an equal share of that.
    epoch : int
        Epochs or iterations done; 0 is the start, for which nothing is counted that the optimizer
        would not have evaluated.
    data_passes : float
        Rows that a loss or gradient was evaluated for, divided by the rows of X.
    n_loss_evals, n_grad_evals : int
        Evaluations so far, of mini-batches or of the whole objective.
    objective : float
        The objective at theta; for mini-batches, but at the start, the mean over the epoch as it
        went, which costs nothing, is known only after the epoch, and lags behind theta.
    validation_loss : float
        Loss on the validation data, without penalties; NaN without such data.
    gradient_norm : float
        Euclidean norm of the gradient of the objective; NaN where mini-batches do not give it.

    Notes
    -----
    Records are equal if all their values are, where NaN is equal to NaN: it says that there is no
    value.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> net = fastmlp.MLP([3, 4, 1], seed=0)
    >>> trace = net.fit(X, X[:, 0], epochs=3, seed=0).trace
    >>> last = trace[-1]
    >>> last.epoch, last.data_passes, last.n_grad_evals
    (3, 3.0, 3)
    """

    seconds: float
    epoch: int
    data_passes: float
    n_loss_evals: int
    n_grad_evals: int
    objective: float
    validation_loss: float = np.nan
    gradient_norm: float = np.nan

    # Python's own comparison of NaN depends on its version, and on which NaN it is.
    def __eq__(self, other):
        return self._key() == other._key() if type(other) is Record else NotImplemented

    def __hash__(self):
        return hash(self._key())

    def _key(self):
        return tuple(None if value != value else value for value in values_of(self))


COLUMNS = tuple(f.name for f in fields(Record))
_COUNTS = ("epoch", "n_loss_evals", "n_grad_evals")
_N_SUMS = COLUMNS.index("objective")  # what comes before is spent in the course of a fit
values_of = attrgetter(*COLUMNS)


class Trace:
    """The records of a fit, in order: a sequence of `Record`, and columns by name.

    Examples
    --------
    >>> from fastmlp import minimize
    >>> trace = minimize(lambda x: (float(x @ x), 2 * x), [3.0, 4.0], optimizer="bfgs").trace
    >>> trace[0].objective, trace["objective"].max()  # one record, and all of one column
    (25.0, np.float64(25.0))
    """

    def __init__(self, records=()):
        # The values of records, as `Monitor` appends them too. They become a `Record` where one is
        # asked for: tuples of numbers are sooner made, and let be by the garbage collector.
        self._rows = list(map(values_of, records))

    def append(self, record: Record) -> None:
        """Add one record."""
        self._rows.append(values_of(record))

    def _go_on(self, rows) -> None:
        """Add records of a later fit, as tuples; their counts go on from the end of this one."""
        last = self._rows[-1] if self._rows else (0,) * _N_SUMS
        for row in rows:
            self._rows.append((*map(operator.add, row[:_N_SUMS], last), *row[_N_SUMS:]))

    def __copy__(self) -> "Trace":
        """An independent trace of the same records."""
        copied = Trace()
        copied._rows = self._rows.copy()
        return copied

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Record]:
        return starmap(Record, self._rows)

    def __delitem__(self, key) -> None:
        """Forget records, by index or slice."""
        del self._rows[key]

    def __getitem__(self, key):
        """A record by index, or a column, ndarray (n_records,), by name."""
        if isinstance(key, str):
            if key not in COLUMNS:
                raise KeyError(f"trace has the columns {', '.join(COLUMNS)}, got {key!r}")
            column = COLUMNS.index(key)
            return np.array([row[column] for row in self._rows])
        found = self._rows[key]
        return [Record(*row) for row in found] if isinstance(key, slice) else Record(*found)

    def as_array(self) -> np.ndarray:
        """All records, float64 (n_records, n_columns)."""
        return np.array(self._rows).reshape(-1, len(COLUMNS))

    @classmethod
    def from_array(cls, rows) -> "Trace":
        """The trace whose `as_array` gave `rows`."""
        kinds: list[Any] = [int if name in _COUNTS else float for name in COLUMNS]
        return cls(
            Record(*(kind(value) for kind, value in zip(kinds, row, strict=True))) for row in rows
        )

    def __repr__(self) -> str:
        return f"Trace of {len(self)} records: {', '.join(COLUMNS)}"

    def to_csv(self, path) -> None:
        """Write all records to a CSV file with a header."""
        with writing("path", path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(self._rows)


@dataclass(frozen=True)
class FitResult:
    """How a fit went.

    Attributes
    ----------
    theta : ndarray, (n_params,)
        The parameters it ended with.
    loss : float
        The objective at theta, penalties included, evaluated on all data at the end.
    status : Status
        A string that says why it stopped.
    message : str
        The same in a sentence.
    n_iter : int
        Epochs of mini-batches, or iterations.
    n_loss_evals, n_grad_evals : int
        Evaluations of the loss and of the gradient, of mini-batches or of the whole objective.
    seconds : float
        Spent on optimizing.
    trace : Trace
        One record at each epoch or iteration.

    Examples
    --------
    >>> import fastmlp
    >>> square = lambda x: (float(x @ x), 2 * x)
    >>> result = fastmlp.minimize(square, [3.0, 4.0], optimizer="lbfgs")
    >>> result.success, result.message
    (True, 'no component of the gradient is larger than 1e-05')
    """

    theta: np.ndarray = field(repr=False)
    loss: float
    status: Status
    message: str
    n_iter: int
    n_loss_evals: int
    n_grad_evals: int
    seconds: float
    trace: Trace = field(repr=False)

    @property
    def success(self) -> bool:
        """Whether it ended as asked: converged, completed, at the target or by the clock."""
        return self.status in (
            Status.CONVERGED,
            Status.COMPLETED,
            Status.TARGET_REACHED,
            Status.TIME_LIMIT,
            Status.STOPPED,
        )
