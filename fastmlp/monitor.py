"""The bookkeeping that all optimizers share: clock, counts, trace, limits, callbacks, Ctrl-C."""

from __future__ import annotations

import math
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fastmlp.bar import Bar
from fastmlp.callbacks import Return, Watcher
from fastmlp.kernels._jit import clock
from fastmlp.pace import CALL_SECONDS
from fastmlp.result import Record, Status, Trace

if TYPE_CHECKING:
    from fastmlp.mlp import MLP

# Evaluations where there is no budget of them.
_MANY = 1 << 30


class Stop(Exception):
    """Ends an optimizer from inside whatever it is doing."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Progress:
    """What a callback sees after an epoch or iteration.

    Attributes
    ----------
    record : Record
        The newest one.
    trace : Trace
        All of them.
    theta : ndarray
        The current parameters; changing them in place changes the fit of a network.
    network : MLP or None
        The network in training, None in `fastmlp.minimize`.
    metrics : dict of str to float
        What `fastmlp.Metrics` has measured, if it is among the callbacks.
    trained : MLP or None
        The network that the optimizer changes: `network` itself, unless the fit standardizes.

    Examples
    --------
    A callback that ends a fit once its objective is small:

    >>> import fastmlp
    >>> def enough(progress):
    ...     if progress.objective < 1e-3:
    ...         raise StopIteration
    >>> square = lambda x: (float(x @ x), 2 * x)
    >>> result = fastmlp.minimize(square, [3.0, 4.0], optimizer="lbfgs", callbacks=[enough])
    >>> print(result.status)
    stopped
    """

    record: Record
    trace: Trace
    theta: np.ndarray
    network: MLP | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    trained: MLP | None = field(default=None, repr=False)

    @property
    def epoch(self) -> int:
        """Epochs or iterations done, from 1; 0 is the start of a solver."""
        return self.record.epoch

    @property
    def objective(self) -> float:
        """The objective of the newest record."""
        return self.record.objective

    @property
    def validation_loss(self) -> float:
        """The validation loss of the newest record, NaN without validation data."""
        return self.record.validation_loss


class Interruption:
    """A request to stop that fits look for wherever they can stop: Ctrl-C, or `request`.

    As a context, it takes note of Ctrl-C where Python would raise KeyboardInterrupt, so that
    compiled code and bookkeeping finish undisturbed. Fits in several threads may share one.
    """

    def __init__(self):
        self._requested = False
        self._heeded = False
        self._handler = None

    def __enter__(self):
        # Python allows a handler in the main thread alone; elsewhere Ctrl-C does not arrive anyway.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._handler = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, exception_type, *details):
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        if self._requested and not self._heeded and exception_type is None:
            raise KeyboardInterrupt  # it came too late for anything here

    def _note(self, signum, frame):
        if self._requested:  # the second time the user means it
            signal.default_int_handler(signum, frame)
        self._requested = True

    def request(self) -> None:
        """Ask all who share this to stop."""
        self._requested = True

    def heed(self) -> bool:
        """Tell whether to stop now, which the caller then has to do and to say."""
        if not self._requested:
            return False
        self._heeded = True
        return True


class Monitor:
    """Watches one fit.

    As a context, it lets NumPy round to 0 and overflow in silence, whatever `numpy.seterr` the
    caller has: what is not finite is looked for where it matters. Callbacks, and other functions
    of the caller's, see the caller's setting.

    Parameters
    ----------
    network : MLP or None
    callbacks : sequence of callable
        Each is called with a `Progress`; raising StopIteration ends the fit.
    time_limit : float or None
        Seconds.
    target_loss : float or None
        End when the objective of a record is at most this.
    validate : callable or None
        Gives the validation loss.
    progress : bool
        Show a bar.
    total : int or None
        Epochs or iterations to come, for the bar.
    interruption : Interruption or None
        One that others share and enter; else the monitor has its own.
    present : callable or None
        Makes a `Progress` what callbacks are to see.
    watch : object or None
        Called as callbacks are, but after several epochs at once where it has no need of each: then
        its method `see_several` is. Its attribute `n_unseen` is how many these may be.

    Attributes
    ----------
    target : float
        An epoch whose objective is at most this is the last.
    learning_rate : float
        Of the newest update, NaN where there is none; for the records.
    """

    def __init__(
        self,
        *,
        network=None,
        callbacks=(),
        time_limit=None,
        target_loss=None,
        validate=None,
        progress=False,
        total=None,
        interruption=None,
        present=None,
        watch=None,
    ):
        self._network = network
        self._watch, self._others = watch, callbacks
        self._callbacks = callbacks if watch is None else (watch, *callbacks)
        self._time_limit = np.inf if time_limit is None else time_limit
        self.target = -np.inf if target_loss is None else float(target_loss)
        self._validate = validate
        self._shares = interruption is not None
        self._interruption = interruption if self._shares else Interruption()
        self._present = present
        self._callers_errors = np.geterr()
        self._errors = np.errstate(all="ignore")
        self._bar = Bar("epoch", total) if progress else None
        self.trace = Trace()
        self.epoch = 0
        self.learning_rate = np.nan
        self.n_loss_evals = 0
        self.n_grad_evals = 0
        self.data_passes = 0.0
        self._last_pass = np.inf
        self._last_evaluation = np.inf
        self._paused = 0.0
        self._start = clock()

    def __enter__(self):
        if not self._shares:
            self._interruption.__enter__()
        self._errors.__enter__()
        return self

    def __exit__(self, *exception):
        self._errors.__exit__(*exception)
        if self._bar is not None:
            self._bar.close()
        if not self._shares:
            self._interruption.__exit__(*exception)

    @property
    def seconds(self) -> float:
        """Time spent on optimizing so far, without that for compiling and loading kernels."""
        return clock() - self._start - self._paused

    def callers_errors(self) -> np.errstate:
        """NumPy's error state as the caller has it, for a function of the caller's."""
        return np.errstate(**self._callers_errors)

    @contextmanager
    def paused(self):
        """Stop the clock for what is no part of optimizing."""
        since = clock()
        try:
            yield
        finally:
            self._paused += clock() - since

    def check(self) -> None:
        """Raise `Stop` after Ctrl-C or past the time limit; cheap, for use inside an epoch."""
        if self._interruption.heed():
            raise Stop(Status.INTERRUPTED, "interrupted by the user")
        if self.seconds > self._time_limit:
            raise Stop(Status.TIME_LIMIT, f"the time limit of {self._time_limit:g} s is over")

    def limit(self, passes=None, gradient_evaluations=None) -> None:
        """Set the budget of what comes next: data passes and gradient evaluations from now on."""
        self._last_pass = np.inf if passes is None else self.data_passes + passes
        self._last_evaluation = (
            np.inf if gradient_evaluations is None else self.n_grad_evals + gradient_evaluations
        )

    def snapshot(self) -> dict:
        """All that it has counted and recorded, for `restore`; to be copied before it goes on."""
        return {
            "seconds": self.seconds,
            "epoch": self.epoch,
            "n_loss_evals": self.n_loss_evals,
            "n_grad_evals": self.n_grad_evals,
            "data_passes": self.data_passes,
            "trace": self.trace._rows,
            "callbacks": {key: one.snapshot() for key, one in self._watchers()},
        }

    def restore(self, snapshot) -> None:
        """Go on counting from a `snapshot` of another run."""
        self._paused -= snapshot["seconds"]
        self.epoch = snapshot["epoch"]
        self.n_loss_evals = snapshot["n_loss_evals"]
        self.n_grad_evals = snapshot["n_grad_evals"]
        self.data_passes = snapshot["data_passes"]
        self.trace = Trace.from_array(snapshot["trace"])
        kept = snapshot.get("callbacks", {})  # older checkpoints lack it
        for key, one in self._watchers():
            if key in kept:
                one.restore(kept[key])
        if self._bar is not None:
            self._bar.start_at(self.epoch)

    def _watchers(self):
        """Callbacks that have a state, by a key that tells them apart."""
        return [
            (f"{i} {type(one).__name__}", one)
            for i, one in enumerate(self._callbacks)
            if isinstance(one, Watcher)
        ]

    def over(self) -> str | None:
        """Why a fit that is taken up again has ended before, None if it has not."""
        return next((why for _, one in self._watchers() if (why := one.over()) is not None), None)

    def go_back(self) -> Return | None:
        """At the end, make the network what a callback wants it to be; return what that is."""
        for _, one in self._watchers():
            wanted = one.end()
            if wanted is not None:
                self._network.take_learned(wanted.learned)
                return wanted
        return None

    def evaluations_left(self) -> float:
        """Gradient evaluations that the budget still has."""
        return self._last_evaluation - self.n_grad_evals

    def admit(self, n_gradients: int) -> None:
        """Raise `Stop` before an evaluation for which there is no budget left."""
        self.check()
        if self.data_passes >= self._last_pass:
            raise Stop(Status.COMPLETED, "the budget of data passes is spent")
        if n_gradients > self.evaluations_left():
            raise Stop(Status.COMPLETED, "the budget of gradient evaluations is spent")

    def left(self) -> tuple[int, float]:
        """Evaluations of value and gradient, and seconds, until it has to be asked again.

        Evaluations are of all rows; at least one, after `admit`.
        """
        most = min(self.evaluations_left(), np.ceil(self._last_pass - self.data_passes))
        seconds = min(CALL_SECONDS, self._time_limit - self.seconds)
        return int(min(most, _MANY)), max(seconds, 0.0)

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at records when they are made."""
        return self._watch is not None or self._is_seen_each

    @property
    def _is_seen_each(self):
        """Whether somebody besides the `watch` looks at each record when it is made."""
        return bool(self._others or self._validate or self._bar)

    def count(self, n_losses: int, n_gradients: int, passes: float) -> None:
        """Take down evaluations that were done."""
        self.n_loss_evals += n_losses
        self.n_grad_evals += n_gradients
        self.data_passes += passes

    def outcome(self, status, message):
        """Status and message at the end, where Ctrl-C since the last `check` comes in."""
        if status is not Status.INTERRUPTED and self._interruption.heed():
            status, message = Status.INTERRUPTED, f"{message}; interrupted by the user"
        if self._bar is not None and status is not Status.INTERRUPTED:
            self._bar.expect(self.epoch)
        return status, message

    def record(
        self, objective, theta, gradient_norm=np.nan, *, first=False, calls_back=True
    ) -> None:
        """Take down the end of an epoch or iteration and raise `Stop` if it is to be the last.

        The clock stands still during validation and callbacks. `first` is of the start.
        """
        since = clock()
        try:
            now = since - self._start - self._paused
            self._record(now, objective, theta, gradient_norm, first, calls_back)
        finally:
            self._paused += clock() - since
        self._end_or_go_on(objective)

    def _end_or_go_on(self, objective):
        """Raise `Stop` if the epoch or iteration with that objective is to be the last."""
        if objective <= self.target:
            raise Stop(Status.TARGET_REACHED, f"the objective is at most {self.target:g}")
        self.check()

    def record_iterations(self, rows) -> None:
        """Take down the ends of iterations at which nobody looks; raise `Stop` as `record` does.

        Parameters
        ----------
        rows : list
            As of `Function.run_lbfgs`.
        """
        self.trace._rows += [
            (now, epoch, passes, losses, gradients, objective, np.nan, norm, np.nan)
            for epoch, (now, passes, losses, gradients, objective, norm) in enumerate(
                rows, self.epoch + 1
            )
        ]
        self.epoch += len(rows)
        if rows:
            self._end_or_go_on(rows[-1][4])
        else:
            self.check()

    def n_unseen(self) -> float:
        """How many epochs may pass until somebody has to look at one of them."""
        is_limited = math.isfinite(self._time_limit) or math.isfinite(self._last_evaluation)
        if self._is_seen_each or is_limited:
            return 1
        return np.inf if self._watch is None else self._watch.n_unseen

    def record_several(self, objectives, thetas, rates, n_updates, began) -> None:
        """Do what `record` does for epochs that one call has done, and count their evaluations.

        Parameters
        ----------
        objectives : list of float
        thetas : ndarray (n_epochs, n_params)
            At the end of each.
        rates : list of float
            Learning rates of their last updates.
        n_updates : int
            Of each.
        began : float
            When the call did, in `seconds`. Its time is shared out equally.
        """
        since = clock()
        now = since - self._start - self._paused
        try:
            epoch, passes = self.epoch, self.data_passes
            losses, gradients = self.n_loss_evals, self.n_grad_evals
            each, rows = (now - began) / len(objectives), []
            for objective, rate in zip(objectives, rates, strict=True):
                began += each
                epoch += 1
                passes += 1.0
                losses += n_updates
                gradients += n_updates
                spent = began, epoch, passes, losses, gradients
                rows.append((*spent, objective, np.nan, np.nan, rate))
            self.epoch, self.data_passes = epoch, passes
            self.n_loss_evals, self.n_grad_evals = losses, gradients
            self.trace._rows += rows
            if self._watch is not None:
                self._ask(lambda: self._watch.see_several(rows, thetas))
        finally:
            self._paused += clock() - since
        self._end_or_go_on(objectives[-1])

    def _record(self, now, objective, theta, gradient_norm, first, calls_back):
        if self._network is not None and theta is not self._network.theta:
            # Solvers keep theta to themselves; validation and callbacks look at the network.
            self._network.theta[:] = theta
        validation_loss = np.nan if self._validate is None else self._validate()
        row = (
            now,
            self.epoch,
            self.data_passes,
            self.n_loss_evals,
            self.n_grad_evals,
            float(objective),
            validation_loss,
            float(gradient_norm),
            self.learning_rate,
        )
        self.trace._rows.append(row)
        if self._bar is not None and not first:
            shown = {"objective": f"{objective:.4g}"}
            if self._validate is not None:
                shown["validation"] = f"{validation_loss:.4g}"
            if np.isfinite(self._time_limit):
                shown["left"] = f"{max(self._time_limit - now, 0.0):.1f}s"
            self._bar.show(self.epoch, **shown)
        if not (self._callbacks and calls_back):
            return
        seen = Progress(Record(*row), self.trace, theta, self._network, trained=self._network)
        if self._present is not None:
            seen = self._present(seen)
        for callback in self._callbacks:
            self._ask(lambda callback=callback: callback(seen))

    def _ask(self, look):
        """Let somebody look, who may end the fit."""
        try:
            with self.callers_errors():
                look()
        except StopIteration as stop:
            raise Stop(Status.STOPPED, str(stop) or "a callback raised StopIteration") from None
        except KeyboardInterrupt:
            self._interruption.request()
            self.check()  # raises Stop
