"""Networks side by side, each with validation rows of its own, and back at its best epoch."""

import threading
import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from fastmlp.bar import Bar
from fastmlp.fitting import fit_many
from fastmlp.kernels.threads import available_cores
from fastmlp.many import fit_side_by_side
from fastmlp.mlp import MLP
from fastmlp.options import defaults_of
from fastmlp.result import Status
from fastmlp.tabular.folds import Fold

# Mini-batches by which the seconds of an epoch are foretold, and how much of what is left may be
# planned for by that: networks side by side are slower than one alone.
_PILOT_BATCHES = 16
_PLANNED = 0.7

# Options of fits that recipes do not have are as `fit_many` has them.
_OWN = ("rows", "seeds", "n_threads", "progress")
_DEFAULTS = defaults_of(fit_many, but=_OWN)

# Under a time limit, fewer networks are trained if each would have fewer epochs than these.
_FEWEST_EPOCHS = 4


class Diverged(ValueError):
    """Training has no network left, since the numbers of each have ceased to be finite."""


@dataclass(eq=False)
class Trained:
    """A network after training, as it was after its best epoch.

    Attributes
    ----------
    network : MLP
    fold : Fold
    predictions : ndarray or None
        Of the validation rows, after the best epoch; None without any that was finite.
    best_epoch : int
        From 1; 0 of a network that had no time for an epoch.
    gains : list of float
        The score of the validation rows after each epoch, negative where smaller is better.
    losses : list of float
        The objective of each epoch.
    interrupted : bool
        Whether the user ended it.
    diverged : bool
        Whether its numbers were not finite any more before any epoch could be kept.
    unscored : bool
        Whether predictions were finite, but had no score, after some epoch.
    """

    network: MLP
    fold: Fold
    predictions: np.ndarray | None = None
    best_epoch: int = 0
    gains: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    interrupted: bool = False
    diverged: bool = False
    unscored: bool = False

    @property
    def best_gain(self) -> float:
        """Of the best epoch, or as far as it came without one."""
        return self.gains[self.best_epoch - 1]


class Clock:
    """Seconds left of a limit, which may be None.

    Parameters
    ----------
    limit : float or None
    """

    def __init__(self, limit):
        self._limit = np.inf if limit is None else float(limit)
        self._start = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        """Seconds, infinite without a limit; 0 when it is over."""
        return max(self._limit - self.spent, 0.0)

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return bool(np.isfinite(self._limit))


def train_networks(
    networks,
    X,
    y,
    folds,
    seeds,
    measures,
    *,
    clock,
    report,
    n_threads=None,
    patience=None,
    **options,
):
    """Train networks in place, each on the rows of its fold, and take each back to its best epoch.

    The best epoch is the one whose validation rows score highest, the last of several. Several
    networks train side by side, each in one thread; a single one trains with all threads. The bits
    are the same either way, and for any number of threads.

    Parameters
    ----------
    networks : list of MLP
        At their starting weights.
    X : ndarray, (n, n_columns)
    y : ndarray
        Targets, as `fastmlp.fit` takes them.
    folds : list of Fold
    seeds : list of int
        Of shuffling and dropout.
    measures : list of callable
        Each takes the network's outputs for its validation rows; returns what to predict for them
        and how good that is, larger being better, or NaN.
    clock : Clock
        With a limit, there are as many networks and epochs as there is time for, and those that
        train later have as much of it as those before them.
    report : Report
    n_threads : int or None, default None
    patience : int or None, default None
        Epochs without gain after which a network ends.
    **options
        Of `fastmlp.fit_many`: optimizer, loss, batch_size, epochs, sample_weight, clip_norm.

    Returns
    -------
    list of Trained
        Networks that had no time for an epoch have no `gains`. If none had, the first one that has
        not diverged has been scored as far as it came.
    """
    n_turn = n_trained = len(networks)
    if clock.is_limited:
        n_turn = min(n_threads or available_cores(), len(networks))
        per_epoch = _seconds_per_epoch(networks[0], X, y, folds[0], clock, options)
        n_trained, options["epochs"] = _affordable(
            len(networks), n_turn, options["epochs"], clock.left / per_epoch
        )
    keepers = [
        _Keeper(network, X, fold, measure, patience, clock, report)
        for network, fold, measure in zip(networks, folds, measures, strict=True)
    ]
    report.begin(n_trained, options["epochs"], clock)
    options["callbacks"] = [_shared(keepers)]
    for first in range(0, n_trained, n_turn):
        if first and not clock.left:
            break
        turn = slice(first, min(first + n_turn, n_trained))
        if clock.is_limited:
            share = max(clock.left / -(-(n_trained - first) // n_turn), 1e-3)
            options["time_limit"] = share
            for keeper in keepers[turn]:
                keeper.end = clock.spent + share
        of_turn = networks[turn], X, y, folds[turn], seeds[turn], n_threads
        results = _fit(*of_turn, report, options)
        for keeper, result in zip(keepers[turn], results, strict=True):
            keeper.finish(result)
        if any(keeper.trained.interrupted for keeper in keepers[turn]):
            break
    sound = [keeper for keeper in keepers if not keeper.trained.diverged]
    if sound and not any(keeper.trained.gains for keeper in keepers):
        sound[0].take_as_it_is()
    return [keeper.trained for keeper in keepers]


def _shared(keepers):
    """One callback for all networks, which calls the keeper of each."""
    by_network = {id(keeper.trained.network): keeper for keeper in keepers}

    def watch(progress):
        by_network[id(progress.network)](progress)

    return watch


def _fit(networks, X, y, folds, seeds, n_threads, report, options):
    rows = [fold.training for fold in folds]

    with warnings.catch_warnings():
        # What a fit advises its caller to do, such as to scale columns, is not for a user to do.
        warnings.simplefilter("ignore", UserWarning)
        if len(networks) > 1:
            of_all = networks, X, y, rows, seeds, n_threads, report.draw
            return fit_side_by_side(*of_all, _DEFAULTS | options)[0]
        callbacks = [*options["callbacks"], lambda _: report.draw()]
        taken = options | {"seed": seeds[0], "n_threads": n_threads, "callbacks": callbacks}
        if options.get("sample_weight") is not None:
            taken["sample_weight"] = options["sample_weight"][rows[0]]
        return [networks[0].fit(X[rows[0]], y[rows[0]], **taken)]


def _seconds_per_epoch(network, X, y, fold, clock, options):
    """How long an epoch takes in one thread; infinite if there is no time to find out.

    A copy of the network trains on some mini-batches, of whose epochs the last one is timed.
    """
    n_rows = min(len(fold.training), _PILOT_BATCHES * options["batch_size"])
    rows = fold.training[:n_rows]
    taken = options | {"epochs": 3, "seed": 0, "n_threads": 1, "time_limit": max(clock.left, 1e-3)}
    if options.get("sample_weight") is not None:
        taken["sample_weight"] = np.ones(n_rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        trace = network.copy().fit(X[rows], y[rows], **taken).trace
    if len(trace) < 3:
        return np.inf
    return (trace[-1].seconds - trace[-2].seconds) * len(fold.training) / n_rows


def _affordable(n_networks, n_turn, most_epochs, n_epochs):
    """How many networks and epochs there is time for, so that schedules come to an end.

    Parameters
    ----------
    n_networks, most_epochs : int
        What is asked for.
    n_turn : int
        Networks that train at the same time.
    n_epochs : float
        Epochs of one network that there is time for, one after the other.
    """
    planned = _PLANNED * n_epochs
    for n_turns in range(-(-n_networks // n_turn), 0, -1):
        epochs = int(planned / n_turns)
        if epochs >= min(_FEWEST_EPOCHS, most_epochs):
            return min(n_networks, n_turns * n_turn), min(epochs, most_epochs)
    return 1, max(1, min(int(planned), most_epochs))


class _Keeper:
    """Scores a network's validation rows after each epoch, and keeps the best one's parameters."""

    def __init__(self, network, X, fold, measure, patience, clock, report):
        self.trained = Trained(network, fold)
        self._X = X
        self._rows = None
        self._measure = measure
        self._patience = np.inf if patience is None else patience
        self._clock = clock
        self._report = report
        self.end = np.inf  # by the clock
        self._best = -np.inf
        self._learned = None

    def __call__(self, progress):
        trained = self.trained
        if self._rows is None:
            self._rows = self._X[trained.fold.validation]
        predictions, gain = self._measure(trained.network.predict(self._rows, n_threads=1))
        trained.losses.append(progress.record.objective)
        trained.gains.append(gain)
        epoch = len(trained.gains)
        self._note_unscored(predictions, gain)
        if gain >= self._best:  # NaN never is
            self._best, self._learned = gain, trained.network.learned()
            trained.best_epoch, trained.predictions = epoch, predictions
        self._report.epoch_done(gain)
        if epoch - max(trained.best_epoch, 1) > self._patience:
            raise StopIteration("no gain")
        if self._clock.spent >= self.end:
            raise StopIteration("the time limit is over")

    def finish(self, result):
        """Take the network back to its best epoch, if there was one."""
        self._rows = None
        self.trained.interrupted = result.status is Status.INTERRUPTED
        if not self.trained.interrupted:
            self._report.network_done(len(self.trained.gains))
        if self._learned is not None:
            self.trained.network.take_learned(self._learned)
        elif self.trained.gains or result.status is Status.NOT_FINITE:
            self.trained.diverged = not self.trained.unscored

    def take_as_it_is(self):
        """Score a network that had no time for an epoch, as far as it came."""
        trained = self.trained
        outputs = trained.network.predict(self._X[trained.fold.validation])
        predictions, gain = self._measure(outputs)
        trained.gains.append(gain)
        self._note_unscored(predictions, gain)
        if gain == gain:  # not NaN: it has not diverged
            trained.predictions = predictions

    def _note_unscored(self, predictions, gain):
        if gain != gain and np.isfinite(predictions).all():
            self.trained.unscored = True


class Report:
    """Shows how training goes, or nothing.

    Parameters
    ----------
    shows : bool
    shown : callable
        Makes a text of a gain.
    """

    def __init__(self, shows, shown):
        self._shows = shows
        self._shown = shown
        self._bar = None
        self._lock = threading.Lock()

    def begin(self, n_networks, epochs, clock):
        """Say what is to come."""
        self.end()
        self._n_networks, self._epochs, self._clock = n_networks, epochs, clock
        self._n_epochs, self._n_through, self._best = 0, 0, -np.inf
        self._n_planned = n_networks * epochs
        if self._shows:
            self._bar = Bar("epoch", self._n_planned)
            self._drawn = 0, 0, self._n_planned

    def epoch_done(self, gain):
        """Count an epoch of a network, in any thread."""
        with self._lock:
            self._n_epochs += 1
            self._best = max(self._best, gain)

    def network_done(self, n_epochs):
        """Count a network that is through, after so many epochs; `draw` no longer says so."""
        self._n_through += 1
        self._n_planned -= self._epochs - n_epochs

    def draw(self, n_more=0):
        """Show what was counted; in the thread that `begin` is called in.

        Beside the networks that were counted, there are `n_more` that are through.
        """
        n_epochs, n_through = self._n_epochs, self._n_through + n_more
        known = n_epochs, n_through, self._n_planned
        if self._bar is None or known == self._drawn:
            return
        self._drawn = known
        shown = {
            "networks": f"{n_through}/{self._n_networks}",
            "best": self._shown(self._best),
        }
        if self._clock.is_limited:
            shown["left"] = f"{self._clock.left:.0f}s"
        self._bar.expect(self._n_planned)
        self._bar.show(n_epochs, **shown)

    def end(self):
        """Leave the bar as it is."""
        if self._bar is not None:
            self.draw()
            self._bar.close()
            self._bar = None
