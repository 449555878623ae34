"""What looks at each epoch of an estimator's fit: curves, patience, best weights, progress."""

import numpy as np

from fastmlp.bar import Bar
from fastmlp.checkpoint import Memory
from fastmlp.result import COLUMNS, values_of

_EPOCH, _OBJECTIVE = COLUMNS.index("epoch"), COLUMNS.index("objective")


class Watch:
    """Called with the `Progress` of each epoch or iteration of a fit.

    Parameters
    ----------
    network : MLP
        In training.
    by_score : bool
        Whether the best weights, and patience, go by the validation score, else by the loss.
    best : float
        The best score, or loss, so far.
    tolerance : float
        By how much an epoch has to be better than the best one.
    most_without_gain : float
        After more epochs in a row that are not, the watch ends the fit. Infinite is never.
    n_without_gain : int
        Such epochs before.
    score : callable or None
        Gives the validation score of the network as it is, from the newest record.
    must_be_finite : bool
        Whether a score that is NaN is a mistake.
    offset : float
        To be added to the objective: a constant that training leaves out.
    callbacks : sequence of callable
        The user's, called with the `Progress`; may raise StopIteration.
    hook : callable or None
        Tells whether to stop, after each epoch.
    report : Report or None
        Shows how it goes.

    Attributes
    ----------
    rows : list of tuple
        Values of the records, as of `Trace`.
    losses, scores : list of float
        One for each epoch; no scores without `score`.
    best_learned : pair or None
        What `Network.learned` gave after the best epoch, if one was better than what was before.
    newest_best : int or None
        Which of the epochs that it was shown last is the best so far, None if an earlier one is.
    is_over : bool
        Whether patience has run out.
    """

    def __init__(
        self,
        network,
        *,
        by_score,
        best,
        tolerance,
        most_without_gain,
        n_without_gain=0,
        score=None,
        must_be_finite=False,
        offset=0.0,
        callbacks=(),
        hook=None,
        report=None,
    ):
        self._network = network
        self._by_score = by_score
        self._tolerance = tolerance
        self.most_without_gain = most_without_gain
        self._score = score
        self._must_be_finite = must_be_finite
        self._offset = offset
        self._callbacks = callbacks
        self._hook = hook
        self._report = report
        self._epoch = 0
        self.n_without_gain = n_without_gain
        self.best = best
        self.best_learned = None
        self.newest_best = None
        self.rows = []
        self.losses = []
        self.scores = []

    @property
    def is_over(self):
        return self.n_without_gain > self.most_without_gain

    def __call__(self, progress):
        record = progress.record
        if record.epoch == self._epoch:
            return  # the start of a solver
        loss = self._take(values_of(record))
        if self._score is not None:
            self.scores.append(self._checked(self._score(record), record.epoch))
        self.newest_best = None
        if self._is_best(self.scores[-1] if self._by_score else loss):
            self.newest_best, self.best_learned = 0, self._network.learned()
        if self._report is not None:
            self._report.show(loss, self.scores[-1] if self.scores else None)
        for callback in self._callbacks:
            callback(progress)
        if self._hook is not None and self._hook():
            raise StopIteration("a callback asked to stop")
        if self.is_over:
            raise StopIteration("no improvement")

    @property
    def n_unseen(self):
        """How many epochs it may be shown at once: none but the last can end the fit."""
        if self._score or self._report or self._callbacks or self._hook:
            return 1
        return max(1, self.most_without_gain + 1 - self.n_without_gain)

    def see_several(self, rows, thetas):
        """Do what a call does, of the records of several epochs, and of what each has learned."""
        self.newest_best = None
        for i, row in enumerate(rows):
            if self._is_best(self._take(row)):
                self.newest_best = i
        if self.newest_best is not None:
            self.best_learned = thetas[self.newest_best].copy(), None
        if self.is_over:
            raise StopIteration("no improvement")

    def _take(self, row):
        """Take down a record; return its loss."""
        self._epoch, loss = row[_EPOCH], row[_OBJECTIVE] + self._offset
        self.rows.append((*row[:_OBJECTIVE], loss, *row[_OBJECTIVE + 1 :]))
        self.losses.append(loss)
        return loss

    def _checked(self, score, epoch):
        score = float(score)
        if self._must_be_finite and not np.isfinite(score):
            raise ValueError(
                f"scoring must give finite numbers, it gave {score} after epoch {epoch}"
            )
        return score

    def _is_best(self, value):
        """Whether an epoch is the best so far; counts those that are not clearly better."""
        # Scores may be equal where the tolerance is 0, losses too; a NaN is never better.
        if self._by_score:
            is_best = value > self.best
            lags = value < self.best + self._tolerance
        else:
            is_best = value < self.best
            lags = value > self.best - self._tolerance
        self.n_without_gain = self.n_without_gain + 1 if lags else 0
        if is_best:
            self.best = value
        return is_best


class Keeper:
    """Takes the state that an optimizer goes on from, of the best and of the newest epoch.

    Parameters
    ----------
    watch : Watch
    saved : dict or None
        The state to begin with.
    wanted : bool
        Whether the optimizer has a state worth keeping.
    keeps_best : bool
        Whether the fit may go back to its best epoch.

    Attributes
    ----------
    latest, best : dict or None
        The states after the newest and after the best epoch, with the number of that epoch.
    """

    # `running` counts from here how far a checkpoint was; each call of an estimator starts over.
    done = 0
    # The states of several epochs may come at once.
    wants_each = False

    def __init__(self, watch, saved, wanted, keeps_best=True):
        self._watch = watch
        self.saved = saved
        self.wanted = wanted
        self._keeps_best = keeps_best
        self.latest = None
        self._best = Memory()
        self._epochs = 0

    @property
    def best(self):
        return self._best.saved

    def keep(self, theta, optimizer):
        """Take the state, whose arrays may change later: that of the best epoch is copied."""
        self._epochs += 1
        self.latest = optimizer | {"epochs": self._epochs}
        if self._keeps_best and self._watch.newest_best is not None:
            self._best.keep(self.latest)

    def keep_several(self, optimizer, states, n_updates):
        """Take the state after several epochs; and by the watch the one after the best of them.

        `states` are the optimizer's vectors after each, and `n_updates` the updates until then.
        """
        before, self._epochs = self._epochs, self._epochs + len(states)
        self.latest = optimizer | {"epochs": self._epochs}
        best = self._watch.newest_best
        if self._keeps_best and best is not None:
            there = {"state": states[best], "n_updates": n_updates[best]}
            self._best.keep(self.latest | there | {"epochs": before + best + 1})

    def keep_place(self, theta, optimizer):
        """Take the state within an epoch: it is of no use, since estimators go on from its end."""


class Report:
    """Shows each epoch: a bar for verbose=1, lines like scikit-learn's for more.

    Parameters
    ----------
    verbose : int
    total : int or None
        Epochs to come at most.
    """

    def __init__(self, verbose, total):
        self._bar = Bar("epoch", total) if verbose == 1 else None
        self._n_shown = 0

    def show(self, loss, score):
        """Show an epoch."""
        self._n_shown += 1
        if self._bar is None:
            print(f"Iteration {self._n_shown}, loss = {loss:.8f}")
            if score is not None:
                print(f"Validation score: {score:f}")
            return
        shown = {"loss": f"{loss:.4g}"}
        if score is not None:
            shown["score"] = f"{score:.4g}"
        self._bar.show(self._n_shown, **shown)

    def say(self, message):
        """Print a sentence, where lines are printed."""
        if self._bar is None:
            print(message)

    def end(self):
        """Take it that no epoch is to come."""
        if self._bar is not None:
            self._bar.expect(self._n_shown)

    def close(self):
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
