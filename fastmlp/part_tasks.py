"""What is done with one part of the rows, wherever the part is: calls that can be pickled."""

from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastmlp.feature_names import names_of
from fastmlp.kernels import codes
from fastmlp.monitor import Monitor
from fastmlp.objective import Objective, check_problem, evaluate
from fastmlp.running import run_epochs
from fastmlp.sweep import SpareSweep
from fastmlp.training import check_mini_batches
from fastmlp.validation import is_sequence


class Kind(NamedTuple):
    """What all parts have to have in common."""

    columns: tuple[str, ...] | None  # of X that are taken, if they have names
    has_weights: bool
    n_target: int
    loss_code: int


class PartLoss(NamedTuple):
    """What `Evaluation` gives for a part."""

    number: int
    n_rows: int = 0
    weight: float = 0.0  # sum of the sample weights, or the number of rows
    loss: float = 0.0  # the mean over the part, without penalties
    gradient: Any = None  # of it, (n_params,), if asked for
    kind: Kind | None = None  # None of a part that counts for nothing


class PartTraining(NamedTuple):
    """What `LocalTraining` gives for a part."""

    number: int
    n_rows: int
    weight: float
    learned: tuple[np.ndarray, np.ndarray | None]  # as of `Network.learned`
    state: np.ndarray  # the optimizer's, (n_slots * n_params,)
    n_updates: int
    is_finite: bool


class Evaluation:
    """The mean loss of a network on a part, and its gradient.

    Parameters
    ----------
    net : MLP
        At the parameters to evaluate at.
    differentiate : bool
        Whether to give the gradient.
    loss : str
    n_threads : int or None
    look : bool
        Whether to look for numbers that are not finite: of use in a first pass alone.
    """

    def __init__(self, net, differentiate, loss, n_threads, look):
        self._net = net
        self._mode = codes.DIFFERENTIATE if differentiate else codes.EVALUATE
        self._loss = loss
        self._n_threads = n_threads
        self._look = look

    def __call__(self, part, n_threads=None):
        """Evaluate at a part (number, loader); `n_threads` goes where none were given."""
        number, loader = part
        X, y, sample_weight = load(number, loader)
        if not _counts(number, X, sample_weight):
            return PartLoss(number)
        net, n_threads = self._net, self._n_threads or n_threads
        with about(number):
            problem, samples = check_problem(
                net, X, y, self._loss, None, sample_weight, 0.0, 0.0, n_threads, self._look
            )
        # What reads rows from elsewhere is of this part alone.
        spare = net._spare if isinstance(samples, tuple) else SpareSweep(0)
        with np.errstate(all="ignore"), about(number):
            loss, gradient = evaluate(net, problem, samples, net.theta, self._mode, spare)
        columns = net.feature_names or names_of(X)
        kind = Kind(columns, sample_weight is not None, problem.n_target, problem.loss_code)
        n_rows, weight = _size(problem, sample_weight)
        return PartLoss(number, n_rows, weight, loss, gradient, kind)


class LocalTraining:
    """Some epochs of mini-batches on a part alone.

    Parameters
    ----------
    net : MLP
        Where to start.
    state : ndarray (n_slots * n_params,)
        The optimizer's.
    optimizer : Stochastic
    batches : tuple
        batch_size, shuffle and clip_norm, as of `fastmlp.fit`.
    settings : dict
        loss, l1, l2 and n_threads, as of `fastmlp.Objective`.
    seed : int
        That of the fit.
    round_number, n_epochs, all_epochs : int
        Which round it is, its epochs, and those of all rounds.
    """

    def __init__(
        self,
        net,
        state,
        optimizer,
        batches,
        settings,
        seed,
        round_number,
        n_epochs,
        all_epochs,
    ):
        self._net, self._state = net, state
        self._optimizer, self._batches, self._settings = optimizer, batches, settings
        self._seed, self._round = seed, round_number
        self._n_epochs, self._all_epochs = n_epochs, all_epochs

    def __call__(self, part, n_threads=None):
        """Train on a part (number, loader); `n_threads` goes where none were given."""
        number, loader = part
        X, y, sample_weight = load(number, loader)
        net, given = self._net.copy(), dict(self._settings)
        given["n_threads"] = given["n_threads"] or n_threads
        batch_size, shuffle, clip_norm = self._batches
        with about(number):
            objective = Objective(net, X, y, sample_weight=sample_weight, **given)
            objective.check_order(shuffle)
            check_mini_batches(net, [self._optimizer], objective.n_rows, batch_size)
        rng = np.random.default_rng([self._seed, self._round, number])
        with np.errstate(all="ignore"), about(number):
            state, n_updates, is_finite = run_epochs(
                objective,
                self._optimizer,
                (batch_size, shuffle, clip_norm, rng),
                Monitor(),
                self._state,
                first_epoch=self._round * self._n_epochs,
                n_epochs=self._n_epochs,
                all_epochs=self._all_epochs,
            )
        n_rows, weight = _size(objective.problem, sample_weight)
        return PartTraining(number, n_rows, weight, net.learned(), state, n_updates, is_finite)


def load(number, loader):
    """Call the loader of a part; return X, y and the weights or None."""
    try:
        given = loader()
    except BaseException as error:
        error.add_note(f"raised by the loader of part {number}")
        raise
    if not isinstance(given, list | tuple) or len(given) not in (2, 3):
        raise TypeError(
            f"part {number}: a loader must return (X, y) or (X, y, sample_weight), got "
            f"{type(given).__name__}"
        )
    X, y, sample_weight = (*given, None)[:3]
    return X, y, sample_weight


@contextmanager
def about(number):
    """Begin the sentence about bad data with the number of the part."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if type(error) not in (TypeError, ValueError):  # whose own form nobody knows here
            error.add_note(f"raised for part {number}")
            raise
        raise type(error)(f"part {number}: {error}") from None


def _counts(number, X, sample_weight):
    """Whether a part has rows, and weights that are not all 0."""
    with about(number):
        if not (is_sequence(X) and (hasattr(X, "shape") or hasattr(X, "__len__"))):
            raise TypeError(f"X must be a matrix, got {type(X).__name__}")
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        return n_rows > 0 and (sample_weight is None or bool(np.any(sample_weight)))


def _size(problem, sample_weight):
    """Rows of a part, and the sum of their weights: as many where there are none."""
    if sample_weight is None:
        return problem.n_rows, float(problem.n_rows)
    return problem.n_rows, float(np.sum(sample_weight, dtype=np.float64))
