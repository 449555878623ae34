"""Callbacks that come with the package: early stopping, models in files, metrics."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from string import Formatter
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.losses import check_loss
from fastmlp.naming import NamesArguments, did_you_mean
from fastmlp.result import Record, Trace
from fastmlp.validation import (
    as_real,
    check_count,
    check_flag,
    check_known,
    check_not_negative,
    is_sequence,
)
from fastmlp.writing import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastmlp.monitor import Progress
    from fastmlp.network import Network
    from fastmlp.options import ValidationData

    Metric = str | Callable[[Any, np.ndarray], float]

MODES = ("auto", "min", "max")

# What is told of a loss is to be small.
_LOSSES = ("objective", "validation_loss")


@dataclass
class Beginning:
    """What a callback is told before a fit changes anything.

    Attributes
    ----------
    network : MLP
    loss : str
        As `fit` was given it.
    validation_data : tuple or None
        As `fit` was given it.
    monitors : list of str
        What can be monitored; metrics add themselves.
    """

    network: Network
    loss: str
    validation_data: Any
    monitors: list[str] = field(init=False)

    def __post_init__(self):
        self.monitors = [*_LOSSES[: 1 if self.validation_data is None else 2]]


class Callback(NamesArguments, ABC):
    """A callback that is told of the begin of a fit, and has its say at the end.

    One object may watch several fits, also at the same time: each has a `Watcher` of its own.
    """

    @abstractmethod
    def begin(self, beginning: Beginning) -> Watcher:
        """Check what it needs, and return what watches this one fit."""


class Watcher:
    """Watches one fit for a `Callback`."""

    def __call__(self, progress: Progress) -> None:
        """Look at an epoch or iteration; may raise StopIteration."""
        raise NotImplementedError

    def over(self) -> str | None:
        """Why there is no epoch to come, None if there may be, for a fit that is taken up again."""
        return None

    def end(self) -> Return | None:
        """Where the fit is to go back to at its end, None to leave it where it is."""
        return None

    def snapshot(self) -> dict[str, Any]:
        """What a checkpoint has to keep of it, for `restore`."""
        return {}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a `snapshot` of another run."""


@dataclass(frozen=True)
class Return:
    """What a fit is to end with.

    Attributes
    ----------
    learned : tuple
        For `Network.take_learned`.
    record : Record
        Of that epoch.
    message : str
    """

    learned: tuple[np.ndarray, np.ndarray | None]
    record: Record
    message: str


def begin_callbacks(callbacks, beginning: Beginning) -> list[Callable[[Progress], object]]:
    """What watches a fit: plain functions as they are; metrics first, so that others see them."""
    watchers: dict[int, Any] = {}
    for i, one in sorted(enumerate(callbacks), key=lambda pair: not isinstance(pair[1], Metrics)):
        watchers[i] = one.begin(beginning) if isinstance(one, Callback) else one
    return list(watchers.values())


def check_callbacks(callbacks: Any) -> tuple[Any, ...] | list[Any]:
    """Check that these are callbacks, or that it is one; return a sequence of them."""
    if callable(callbacks) or isinstance(callbacks, Callback):
        callbacks = (callbacks,)
    are_callbacks = isinstance(callbacks, list | tuple) and all(
        callable(one) or isinstance(one, Callback) for one in callbacks
    )
    if not are_callbacks:
        raise TypeError(f"callbacks must be a sequence of callables, got {callbacks!r}")
    for one in callbacks:
        if isinstance(one, type) and issubclass(one, Callback):
            raise TypeError(
                f"callbacks must be objects, got the class {one.__name__}: call it, as in "
                f"callbacks={one.__name__}(...)"
            )
    return callbacks


def refuse_callbacks(callbacks, where: str, instead: str) -> None:
    """Refuse all but plain functions; `where` and `instead` go into the sentence."""
    for one in callbacks:
        if isinstance(one, Callback):
            raise TypeError(
                f"callbacks must be functions of a Progress {where}, got {type(one).__name__}: "
                f"{instead}"
            )


class _Comparison:
    """Whether what is monitored has become better.

    Parameters
    ----------
    monitor, mode : str
    min_delta : float
        By more than this it has to be.
    """

    def __init__(self, monitor, mode, min_delta=0.0):
        self.monitor = monitor
        self._sign = 1.0 if mode == "min" else -1.0
        self._least_gain = min_delta
        self.best: float | None = None
        self.record: Record | None = None

    def is_better(self, progress) -> bool:
        """Look at an epoch, and tell whether it is the best one so far."""
        value = value_of(progress, self.monitor)
        best = np.inf if self.best is None else self._sign * self.best
        if not self._sign * value < best - self._least_gain:  # never of NaN
            return False
        self.best, self.record = value, progress.record
        return True

    def snapshot(self):
        """What a checkpoint has to keep of it, for `restore`."""
        if self.record is None:
            return {"best": None}
        return {"best": self.best, "record": np.array(astuple(self.record))}

    def restore(self, snapshot):
        """Go on from a `snapshot`."""
        self.best = snapshot["best"]
        if self.best is not None:
            self.record = Trace.from_array([snapshot["record"]])[0]


def value_of(progress: Progress, monitor: str) -> float:
    """What is monitored, after an epoch."""
    if monitor in _LOSSES:
        return float(getattr(progress.record, monitor))
    return progress.metrics[monitor]


def _check_monitor(monitor, mode, beginning):
    """Check that there is what is monitored; return the mode, "min" or "max"."""
    if monitor == "validation_loss" and monitor not in beginning.monitors:
        raise ValueError(
            "monitor must be 'objective', or a metric, where a fit has no validation_data, got "
            f"{monitor!r}"
        )
    check_known("monitor", monitor, beginning.monitors)
    if mode != "auto":
        return mode
    if monitor in _LOSSES:
        return "min"
    if monitor in _scorer_names():
        return "max"
    raise ValueError(
        f"mode must be 'min' or 'max' for the metric {monitor!r}, of which nobody knows whether "
        "it is to be small or large, got 'auto'"
    )


def _scorer_names():
    """Names of scikit-learn's scorers, of which all are to be large."""
    try:
        from sklearn.metrics import get_scorer_names
    except ImportError:
        return ()
    return get_scorer_names()


def _check_mode(monitor, mode):
    if not isinstance(monitor, str):
        raise TypeError(f"monitor must be the name of a loss or metric, got {monitor!r}")
    check_known("mode", mode, MODES)


class EarlyStopping(Callback):
    """End a fit when what is monitored gets no better, and go back to its best epoch.

    Prechelt, "Early stopping - but when?", in "Neural networks: tricks of the trade", LNCS 1524
    (1998): the criterion is that of patience, as in Keras and PyTorch Lightning.

    Parameters
    ----------
    patience : int, default 10
        After so many epochs, or iterations, in a row that are no better than the best one the fit
        ends. Its status is "stopped".
    monitor : str, default "validation_loss"
        "validation_loss", for which `fit` needs `validation_data`; "objective", that of the
        training data; or the name of a metric of `fastmlp.Metrics`.
    min_delta : float, default 0.0
        At least 0. Better is by more than this.
    mode : {"auto", "min", "max"}, default "auto"
        Whether what is monitored is to be small or large. "auto" knows: losses are to be small, and
        metrics that have the name of a scorer of scikit-learn, large.
    restore_best : bool, default True
        Whether the network has the parameters of the best epoch after the fit, also if it ends in
        any other way; else those it ended with.

    Attributes
    ----------
    best : float or None
        What was monitored in the best epoch of the newest fit; None before there is one.
    best_epoch : int or None
        Its number.

    Raises
    ------
    ValueError, TypeError
        For arguments that are not as above; and from `fit`, before anything is changed, if there
        is nothing of the name to monitor.

    Notes
    -----
    As in Keras, but for two defaults: `patience` is 0 there and `restore_best_weights` False. NaN
    is never better. The `loss` of the result is that of the parameters it went back to. Its
    `n_iter` and `trace` are of all epochs, and its message has the number of the best.

    A checkpoint keeps the best parameters and how long there were none better. So a fit that is
    taken up again ends as one that was not interrupted.

    Examples
    --------
    >>> from fastmlp import MLP, EarlyStopping, datasets
    >>> X, y = datasets.load_digits()
    >>> net = MLP([64, 32, 10], output="softmax", seed=0)
    >>> stopping = EarlyStopping(patience=5)
    >>> held_out = X[1500:], y[1500:]
    >>> result = net.fit(
    ...     X[:1500], y[:1500], epochs=500, validation_data=held_out, callbacks=stopping, seed=0
    ... )
    >>> str(result.status), result.n_iter - stopping.best_epoch
    ('stopped', 5)
    >>> bool(abs(net.loss(*held_out) - stopping.best) < 1e-6)
    True
    """

    def __init__(
        self,
        *,
        patience: int = 10,
        monitor: str = "validation_loss",
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        check_count("patience", patience)
        check_not_negative("min_delta", min_delta)
        check_flag("restore_best", restore_best)
        _check_mode(monitor, mode)
        self.patience, self.monitor, self.min_delta = patience, monitor, min_delta
        self.mode, self.restore_best = mode, restore_best
        self.best: float | None = None
        self.best_epoch: int | None = None

    def begin(self, beginning: Beginning) -> Watcher:
        mode = _check_monitor(self.monitor, self.mode, beginning)
        return _EarlyStopping(self, _Comparison(self.monitor, mode, self.min_delta))


class _EarlyStopping(Watcher):
    def __init__(self, settings, comparison):
        self._settings, self._comparison = settings, comparison
        self._learned = None
        self._n_without_gain = 0

    def __call__(self, progress):
        settings, comparison = self._settings, self._comparison
        if comparison.is_better(progress):
            self._n_without_gain = 0
            if settings.restore_best:
                self._learned = progress.trained.learned()
        else:
            self._n_without_gain += 1
        settings.best = comparison.best
        settings.best_epoch = None if comparison.record is None else comparison.record.epoch
        over = self.over()
        if over is not None:
            raise StopIteration(over)

    def over(self):
        settings = self._settings
        if self._n_without_gain < settings.patience:
            return None
        return f"no better {settings.monitor} in {settings.patience} epochs"

    def end(self):
        record, comparison = self._comparison.record, self._comparison
        if self._learned is None or record is None:
            return None
        what = f"{comparison.monitor} {comparison.best:.6g}"
        return Return(self._learned, record, f"back at epoch {record.epoch}, the best: {what}")

    def snapshot(self):
        kept = {"comparison": self._comparison.snapshot(), "waited": self._n_without_gain}
        if self._learned is not None:
            theta, statistics = self._learned
            kept["theta"] = theta
            if statistics is not None:
                kept["statistics"] = statistics
        return kept

    def restore(self, snapshot):
        settings, comparison = self._settings, self._comparison
        comparison.restore(snapshot["comparison"])
        settings.best = comparison.best
        settings.best_epoch = None if comparison.record is None else comparison.record.epoch
        self._n_without_gain = snapshot["waited"]
        if "theta" in snapshot:
            self._learned = snapshot["theta"], snapshot.get("statistics")


class ModelCheckpoint(Callback):
    """Write the network to a file while it trains: where it is best, or after each epoch.

    The files are those of `MLP.save`, for `MLP.load`: to predict with, and complete at any time.
    To go on with a fit that was interrupted, `fit` has a `checkpoint` of its own, with all that the
    optimizer knows.

    Parameters
    ----------
    path : str or path
        The file. In braces it may have the epoch, "objective", "validation_loss" and metrics, in
        the form of `str.format`: ``"net-{epoch:03d}-{validation_loss:.3f}.safetensors"`` makes a
        file for each time.
    monitor : str, default "validation_loss"
        What says which epoch is best, as of `fastmlp.EarlyStopping`. Not needed where all epochs
        are written.
    mode : {"auto", "min", "max"}, default "auto"
        As of `fastmlp.EarlyStopping`.
    best_only : bool, default True
        Whether to write only where the network is better than in all epochs before.

    Raises
    ------
    ValueError, TypeError
        For arguments that are not as above; and from `fit`, before anything is changed.
    OSError
        If the file cannot be written.

    Notes
    -----
    As in Keras, where `best_only` is called `save_best_only` and is False. Writing is off the clock
    of the fit. Of fits that go on at the same time, as with `restarts`, the last one to write is in
    the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fastmlp import MLP, ModelCheckpoint, datasets
    >>> X, y = datasets.load_digits()
    >>> net = MLP([64, 32, 10], output="softmax", seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     best = ModelCheckpoint(Path(folder, "best.safetensors"))
    ...     held_out = X[1500:], y[1500:]
    ...     result = net.fit(X[:1500], y[:1500], epochs=5, validation_data=held_out, callbacks=best)
    ...     MLP.load(Path(folder, "best.safetensors")).layer_sizes
    (64, 32, 10)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: str = "validation_loss",
        mode: str = "auto",
        best_only: bool = True,
    ) -> None:
        check_flag("best_only", best_only)
        _check_mode(monitor, mode)
        try:
            self.path = os.fspath(path)
            self._fields = [name for _, name, *_ in Formatter().parse(self.path) if name]
        except TypeError:
            raise TypeError(f"path must be a path, got {path!r}") from None
        except ValueError as error:
            raise ValueError(
                f"path must have names of values in its braces, got {path!r}: {error}"
            ) from None
        self.monitor, self.mode, self.best_only = monitor, mode, best_only

    def begin(self, beginning: Beginning) -> Watcher:
        comparison = None
        if self.best_only:
            mode = _check_monitor(self.monitor, self.mode, beginning)
            comparison = _Comparison(self.monitor, mode)
        known = ["epoch", *beginning.monitors]
        for name in self._fields:
            if name not in known:
                raise ValueError(
                    f"path must have {', '.join(known)} in its braces, got {name!r}"
                    f"{did_you_mean('monitor', name, known)}"
                )
        if not self._fields:
            check_writable("path", self.path)
        return _ModelCheckpoint(self, comparison)


class _ModelCheckpoint(Watcher):
    def __init__(self, settings, comparison):
        self._settings, self._comparison = settings, comparison

    def __call__(self, progress):
        settings, comparison = self._settings, self._comparison
        if comparison is None or comparison.is_better(progress):
            values = {
                name: progress.epoch if name == "epoch" else value_of(progress, name)
                for name in settings._fields
            }
            path = settings.path.format(**values) if values else settings.path
            progress.network.save(path)

    def snapshot(self):
        return {} if self._comparison is None else self._comparison.snapshot()

    def restore(self, snapshot):
        if self._comparison is not None and snapshot:
            self._comparison.restore(snapshot)


class Metrics(Callback):
    """Measure after each epoch how well the network predicts.

    Parameters
    ----------
    metrics : str, callable, a sequence of these, or a mapping of names to them
        The name of a scorer of scikit-learn, such as "accuracy", "roc_auc" or "r2"; or a function
        of y and the outputs of the network, which returns a number. It is given y as `fit` was,
        as an array, and what `MLP.predict` returns.
    data : (X, y), (X, y, sample_weight) or None, default None
        What to measure on; None is the `validation_data` of the fit. Weights go to scorers.

    Attributes
    ----------
    history : dict of str to list of float
        What was measured in the newest fit, by the names of metrics.
    epochs : list of int
        When.

    Raises
    ------
    ValueError, TypeError
        For arguments that are not as above; and from `fit`, before anything is changed, if there
        is no data to measure on. From a fit, if a metric gives no number.
    ImportError
        For a name, without scikit-learn.

    Notes
    -----
    Other callbacks find the numbers in `Progress.metrics`, whatever their order. Measuring is off
    the clock of the fit.

    Scorers see classes: of a softmax the most probable, of a sigmoid those above one half, for the
    losses of labels -1 and 1 the sign.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import MLP, Metrics
    >>> def largest_error(y, outputs):
    ...     return np.abs(y - outputs[:, 0]).max()
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = X[:, 0] * X[:, 1]
    >>> metrics = Metrics(largest_error)
    >>> result = MLP([3, 16, 1], seed=0).fit(
    ...     X[:150], y[:150], epochs=3, validation_data=(X[150:], y[150:]), callbacks=metrics
    ... )
    >>> metrics.epochs, len(metrics.history["largest_error"])
    ([1, 2, 3], 3)
    """

    def __init__(
        self,
        metrics: Metric | Sequence[Metric] | Mapping[str, Metric],
        *,
        data: ValidationData | None = None,
    ) -> None:
        self._metrics = _by_name(metrics)
        if data is not None and not (isinstance(data, list | tuple) and 2 <= len(data) <= 4):
            raise ValueError(
                f"data must be (X, y) or (X, y, sample_weight), got {type(data).__name__}"
            )
        self._data = data
        self.history: dict[str, list[float]] = {}
        self.epochs: list[int] = []

    def begin(self, beginning: Beginning) -> Watcher:
        data = beginning.validation_data if self._data is None else self._data
        if data is None:
            raise ValueError(
                "Metrics need data to measure on: give fit validation_data, or Metrics data=(X, y)"
            )
        for name in self._metrics:
            if name in beginning.monitors:
                raise ValueError(f"metrics must differ in their names, got {name!r} twice")
        predictions = _Predictions(beginning.network, beginning.loss, *data)
        beginning.monitors += self._metrics
        return _Metrics(self, self._metrics, predictions)


class _Metrics(Watcher):
    def __init__(self, owner, metrics, predictions):
        self._owner, self._metrics, self._predictions = owner, metrics, predictions
        self._history: dict[str, list[float]] = {name: [] for name in metrics}
        self._epochs: list[int] = []

    def __call__(self, progress):
        self._owner.history, self._owner.epochs = self._history, self._epochs
        outputs = self._predictions.of(progress.network)
        for name, metric in self._metrics.items():
            value = self._predictions.measure(metric, outputs)
            try:
                progress.metrics[name] = float(value)
            except (TypeError, ValueError):
                raise TypeError(f"the metric {name!r} must give a number, got {value!r}") from None
            self._history[name].append(progress.metrics[name])
        self._epochs.append(progress.epoch)

    def snapshot(self):
        return {"epochs": self._epochs, "history": self._history}

    def restore(self, snapshot):
        self._epochs[:] = [int(epoch) for epoch in snapshot["epochs"]]
        for name, values in self._history.items():
            values[:] = map(float, snapshot["history"][name])
        self._owner.history, self._owner.epochs = self._history, self._epochs


def _by_name(metrics):
    """Metrics by their names, where scorers of scikit-learn stand in the place of names."""
    if isinstance(metrics, Mapping):
        pairs = list(metrics.items())
    else:
        several = metrics if is_sequence(metrics) else [metrics]
        pairs = [
            (one if isinstance(one, str) else getattr(one, "__name__", None), one)
            for one in several
        ]
    if not pairs:
        raise ValueError("metrics must be at least one, got none")
    found: dict[str, Any] = {}
    for name, metric in pairs:
        if not isinstance(metric, str) and not callable(metric):
            raise TypeError(
                "metrics must be names of scorers of scikit-learn, or functions of y and the "
                f"outputs, got {metric!r}"
            )
        if not isinstance(name, str):
            raise TypeError(f"metrics must have names: give a mapping, got {metric!r}")
        if name in found or name in _LOSSES:
            raise ValueError(f"metrics must differ in their names, got {name!r} twice")
        found[name] = _scorer(metric) if isinstance(metric, str) else _Function(metric)
    return found


@dataclass(frozen=True)
class _Function:
    """A metric that is a function of y and the outputs."""

    function: Callable


def _scorer(name):
    try:
        from sklearn.metrics import get_scorer
    except ImportError:
        raise ImportError(
            f"the metric {name!r} is one of scikit-learn's: pip install 'fastmlp[sklearn]', or "
            "give a function of y and the outputs"
        ) from None
    try:
        return get_scorer(name)
    except ValueError:
        raise ValueError(
            "metrics must be names of scorers of scikit-learn, or functions of y and the outputs, "
            f"got {name!r}{did_you_mean('metrics', name, _scorer_names())}"
        ) from None


class _Predictions:
    """A network's outputs for some data, and how metrics see them."""

    def __init__(self, network, loss, X, y, sample_weight=None, lengths=None):
        self._X, self._y = X, as_real("y", y)
        self._lengths = {} if lengths is None else {"lengths": lengths}
        self._weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._kind, _, _ = check_loss(loss, network.output, network.layer_sizes[-1])

    def of(self, network):
        """The outputs of a network."""
        return network.predict(self._X, **self._lengths)

    def measure(self, metric, outputs):
        """What a metric says of them."""
        if isinstance(metric, _Function):
            return metric.function(self._y, outputs)
        if outputs.ndim != 2:
            raise ValueError(
                "metrics must be functions of y and the outputs where these are of each step of "
                "sequences, got the name of a scorer"
            )
        if not np.isfinite(outputs).all():
            return np.nan
        targets, judged = self._judged(outputs)
        return metric(judged, None, targets, **self._weights)

    def _judged(self, outputs):
        """Targets and an estimator, as scorers of scikit-learn see them."""
        y, kind = self._y, self._kind
        if kind == "cross_entropy":
            targets = y.argmax(axis=1) if y.ndim == 2 else y
            classes = np.arange(outputs.shape[1])
            return targets, _estimator(outputs.argmax(axis=1), classes, outputs)
        is_single = outputs.shape[1] == 1
        y, values = (y.reshape(len(y)), outputs[:, 0]) if is_single else (y, outputs)
        if kind == "binary_cross_entropy":
            targets, classes = (y > 0.5).astype(int), np.arange(2)
            chances = np.column_stack([1 - values, values]) if is_single else values
            return targets, _estimator((values > 0.5).astype(int), classes, chances)
        if kind in ("logistic", "hinge"):
            classes = np.array([-1, 1])
            return y, _estimator(np.where(values > 0, 1, -1), classes, margins=values)
        return y, _estimator(values)


def _estimator(predicted, classes=None, chances=None, margins=None):
    """An estimator of scikit-learn that has predicted already."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    kind: Any = RegressorMixin if classes is None else ClassifierMixin

    class Predicted(kind, BaseEstimator):
        def fit(self, X, y):
            return self

        def __sklearn_is_fitted__(self):
            return True

        def predict(self, X):
            return predicted

    if classes is not None:
        Predicted.classes_ = classes
    # A scorer takes what there is of the two, and calls it by its name.
    if chances is not None:

        def predict_proba(self, X):
            return chances

        Predicted.predict_proba = predict_proba
    if margins is not None:

        def decision_function(self, X):
            return margins

        Predicted.decision_function = decision_function
    return Predicted()
