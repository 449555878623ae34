"""The estimators for tables."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y, column_or_1d

from fastmlp.feature_names import shown
from fastmlp.sklearn.checking import said_clearly
from fastmlp.sklearn.labels import (
    are_numbers,
    as_labels,
    class_factors,
    distinct,
    find,
    refuse_missing,
)
from fastmlp.sklearn.tabular_base import BaseTabular
from fastmlp.tabular.calibration import fit_temperature, temper
from fastmlp.tabular.scores import Pinball
from fastmlp.tabular.targets import Classes, Quantiles, Values, check_levels, scaling_of
from fastmlp.validation import check_unmasked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import ArrayLike

    from fastmlp.options import ClassWeight

# Scores of labels alone, for which label smoothing pays; it spoils probabilities.
_OF_LABELS = (None, "accuracy", "balanced_accuracy")

# Squares of larger targets overflow, or their sum does.
_LARGEST = 1e150

# Bins of confidence in which it is compared with how many rows are right.
_N_BINS = 10


class TabularClassifier(ClassifierMixin, BaseTabular):
    """An ensemble of networks for classes, on tables as they come.

    Columns of numbers, texts, booleans, categories and dates are encoded, missing values included.
    Networks are trained side by side, each on all rows but those of its own fold, by which its best
    epoch is chosen. The fold's predictions are out-of-fold ones: they give an honest score, and a
    temperature for the probabilities.

    Parameters
    ----------
    architecture : {"realmlp", "tabm", "plain"}, default="realmlp"
        "realmlp" is RealMLP-TD, with embeddings of numbers, a trained scale of inputs, parametric
        activations, starting weights by the data, and schedules of learning rate, dropout and
        weight decay (Holzmüller et al., NeurIPS 2024, arXiv:2407.04491); "plain" is RealMLP-TD-S,
        which goes without most of it and is faster; "tabm" has members that share weights
        (Gorishniy et al., ICLR 2025, arXiv:2410.24210). Layers are narrower than in the papers:
        several networks make up for that in less time.
    embedding : {"auto", "periodic", "piecewise_linear"} or None, default="auto"
        Of columns of numbers, see `fastmlp.Numeric`; None is none. "auto" is none for "plain", and
        else "piecewise_linear", TabM's, which finds steps in a column that RealMLP's "periodic"
        ones miss.
    n_networks : int, default=8
        Networks, and folds. A single one has a fifth of the rows to validate by, and trains with
        all threads.
    members : int or None, default=None
        Members of each network, as of `fastmlp.MLP`. None is 8 for "tabm", and 1 for others.
    hidden_layer_sizes : array-like of int or None, default=None
        None is (128, 128, 128), for "tabm" (192, 192).
    epochs : int or None, default=None
        None is by the number of rows: 256 up to some 600, 64 for 4,000, 30 for 35,000.
    batch_size : int or None, default=None
        None is by the number of rows: 64 up to 1,024 rows, 128 up to 8,192, 256 up to 30,000, 512
        up to 100,000, else 1,024, as TabArena has it for RealMLP.
    learning_rate, weight_decay, dropout : float or None, default=None
        None is as the papers have it: 0.04, 0.02 and 0.15 for "realmlp", 0.04, 0 and 0 for "plain",
        0.002, 0.0003 and 0.1 for "tabm".
    label_smoothing : float or None, default=None
        None is 0.1, but 0 for "tabm", and for a `scoring` that goes by probabilities, which it
        spoils.
    categorical_features : "from_dtype", array-like of str, int or bool, or None, \
default="from_dtype"
        Names, indices or a mask of columns of numbers that are categories. Texts, booleans and
        categories are so by their dtype.
    cv : int, splitter, iterable of (training, validation), or None, default=None
        Folds; None is stratified ones, as many as networks. Network i has fold i modulo their
        number.
    scoring : str, callable or None, default=None
        What chooses the best epoch, and is measured out of fold: "accuracy", which None is,
        "log_loss", "auc", or any scorer of scikit-learn.
    class_weight : dict, "balanced" or None, default=None
        Factors of the sample weights by class; 1 for a class without a name. "balanced" gives all
        classes the same sum of sample weights.
    search : {None, "random"}, default=None
        "random" also trains networks with hyperparameters drawn at random, as many on each fold as
        there is time for, or 16 without a time limit. Of all of them the ensemble is chosen
        greedily by out-of-fold predictions, and never becomes worse there by more time.
        `oof_score_` is then that by which it was chosen, and so a little too good.
    time_limit : float or None, default=None
        Seconds for `fit`. With less time than networks need they have fewer epochs, so that their
        schedules come to an end; what there is when it is over is kept. How many epochs there are
        then depends on the machine, and so do the bits.
    calibrate : bool, default=True
        Whether probabilities are tempered, by the temperature that gives the smallest log loss out
        of fold. Of several networks it is 1 at most: each row's prediction out of fold is that of
        one network, and their mean is less sure.
    progress : bool, default=False
        Show a bar of epochs, with how many networks are through, the best score and the time left.
    n_threads : int or None, default=None
        How many networks train at the same time, and threads that predict. None is as many as this
        process may use cores. The bits do not depend on it.
    random_state : int, RandomState instance or None, default=None
        Of folds, starting weights and shuffling.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    oof_score_ : float
        The score of `oof_predictions_`, the log loss as it is.
    oof_predictions_ : ndarray of shape (n_samples, n_classes)
        Probabilities of each training row by networks that did not see it; NaN for rows that no
        fold validates.
    temperature_ : float
        By which logits are divided; 1 without `calibrate`.
    networks_ : list of fastmlp.MLP
    network_weights_ : ndarray of shape (n_networks,)
        Of each in the mean of their probabilities.
    history_ : list of dict
        Of each network its "best_epoch", and for each epoch its "scores" and "losses".
    scoring_ : str
        What the score is called.
    feature_kinds_ : list of str
        Of each column what it was taken for: "number", "boolean", "category", "date", or
        "constant", which is dropped.
    categories_ : list of (list or None)
        Of each column of booleans or categories those that rows with a weight have, in ascending
        order; None of other columns.
    feature_importances_ : ndarray of shape (n_features,)
        After `compute_importances`.
    n_features_in_, feature_names_in_
        As scikit-learn's.

    Notes
    -----
    How columns are scaled, and which categories there are, is learnt once, from all rows of `fit`
    with a weight; only targets are kept from the networks that are validated by a row.

    Examples
    --------
    >>> from fastmlp.sklearn import TabularClassifier
    >>> X = [["red", 1.0], ["blue", None], ["red", 2.0], ["blue", 0.5]] * 10
    >>> y = ["warm", "cold", "warm", "cold"] * 10
    >>> clf = TabularClassifier(n_networks=2, epochs=20, random_state=0).fit(X, y)
    >>> clf.predict([["red", None]])
    array(['warm'], dtype='<U4')
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseTabular._parameter_constraints,
        "label_smoothing": [Interval(Real, 0, 1, closed="left"), None],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "calibrate": ["boolean"],
    }

    classes_: np.ndarray

    def __init__(
        self,
        architecture: str = "realmlp",
        *,
        embedding: str = "auto",
        n_networks: int = 8,
        members: int | None = None,
        hidden_layer_sizes: Sequence[int] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        dropout: float | None = None,
        label_smoothing: float | None = None,
        categorical_features: str | Sequence[str | int] | Sequence[bool] | None = "from_dtype",
        cv: Any = None,
        scoring: str | Callable[..., float] | None = None,
        class_weight: ClassWeight = None,
        search: Any = None,
        time_limit: float | None = None,
        calibrate: bool = True,
        progress: bool = False,
        n_threads: int | None = None,
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
    ) -> None:
        self.architecture = architecture
        self.embedding = embedding
        self.n_networks = n_networks
        self.members = members
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.categorical_features = categorical_features
        self.cv = cv
        self.scoring = scoring
        self.class_weight = class_weight
        self.search = search
        self.time_limit = time_limit
        self.calibrate = calibrate
        self.progress = progress
        self.n_threads = n_threads
        self.random_state = random_state

    def _own_of_recipe(self):
        smoothing = self.label_smoothing
        if smoothing is None and self.scoring not in _OF_LABELS:
            smoothing = 0.0
        return {"smoothing": smoothing}

    def _check_y(self, y, n_rows, known=False):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        check_unmasked("y", y)
        y = as_labels(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if are_numbers(y):
            y = _check_y(column_or_1d(y), estimator=self)
            check_classification_targets(y)
        _check_shape(y, n_rows)
        if known:
            return y, self._known_labels(y)
        classes, labels = distinct(y)
        if len(classes) < 2:
            raise ValueError(
                f"y must have at least two classes, it contains only one class: {classes}"
            )
        self.classes_ = classes
        return y, labels

    def _known_labels(self, y):
        """Numbers of the classes of rows."""
        labels = find(y, self.classes_)
        if (labels < 0).any():
            row = int(labels.argmin())
            raise ValueError(
                f"y must have the classes of fit, {self.classes_}, got {shown(y[row])} in row {row}"
            )
        return labels

    def _check_weights(self, sample_weight, X, targets):
        weights = super()._check_weights(sample_weight, X, targets)
        if self.class_weight is None:
            return weights
        weights = np.ones(len(targets)) if weights is None else weights
        weights = weights * class_factors(self.class_weight, self.classes_, targets, weights)
        if not weights.any():
            raise ValueError("class_weight must not make all sample weights 0, got all zeros")
        return weights

    def _make_task(self, targets, rows, weights):
        return Classes(targets, len(self.classes_))

    def _finish(self, predictions, rows, targets, weights):
        self.temperature_ = 1.0
        of_rows, labels = predictions[rows], targets[rows]
        weights = None if weights is None else weights[rows]
        if self.calibrate:
            self.temperature_ = fit_temperature(of_rows, labels, weights)
            if len(self.networks_) > 1:
                # A mean is less sure than each of the networks that were asked: what these have
                # too much of is mostly gone from it.
                self.temperature_ = min(self.temperature_, 1.0)
        tempered = np.full_like(predictions, np.nan)
        tempered[rows] = temper(of_rows, self.temperature_)
        self._reliability = {
            "before": _reliability(of_rows, labels),
            "after": _reliability(tempered[rows], labels),
        }
        return tempered

    def predict(self, X: Any) -> np.ndarray:
        """Predict the classes of rows.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Columns as in `fit`. Missing values, and categories that `fit` has not seen, may be
            anywhere.

        Returns
        -------
        ndarray of shape (n_samples,)

        Raises
        ------
        ValueError, TypeError
            If columns are missing, others, in another order, or hold other kinds of values than in
            `fit`.
        """
        largest = self._raw_predictions(X).argmax(axis=1)
        return self.classes_[largest]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, the networks' mean after the temperature.

        Parameters
        ----------
        X
            As of `predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        probabilities = self._raw_predictions(X)
        return temper(probabilities, self.temperature_)


class TabularRegressor(RegressorMixin, BaseTabular):
    """An ensemble of networks for numbers, on tables as they come.

    Parameters
    ----------
    architecture, embedding, n_networks, members, hidden_layer_sizes, epochs, batch_size, \
learning_rate, weight_decay, dropout, categorical_features, search, time_limit, progress, \
n_threads, random_state
        As of `TabularClassifier`; None is 0.2 as the learning rate of "realmlp", and 0.07 of
        "plain".
    cv : int, splitter, iterable of (training, validation), or None, default=None
        As of `TabularClassifier`, but None is not stratified.
    scoring : str, callable or None, default=None
        What chooses the best epoch, and is measured out of fold: "rmse", which None is, or any
        scorer of scikit-learn. Quantiles go by their loss.
    quantiles : sequence of float or None, default=None
        Levels of quantiles to predict, ascending and within (0, 1), such as (0.1, 0.5, 0.9); None
        predicts the mean. Each network has an output for each level; where quantiles of a row
        cross, they are sorted.

    Attributes
    ----------
    oof_score_ : float
        The score of `oof_predictions_`, the root mean squared error and the quantile loss as they
        are.
    oof_predictions_ : ndarray of shape (n_samples,) or (n_samples, n_quantiles)
        Of each training row by networks that did not see it; NaN for rows that no fold validates.
    networks_, network_weights_, history_, scoring_, feature_kinds_, categories_, \
feature_importances_, n_features_in_, feature_names_in_
        As of `TabularClassifier`.

    Examples
    --------
    >>> from fastmlp.sklearn import TabularRegressor
    >>> X = [["red", 1.0], ["blue", None], ["red", 2.0], ["blue", 0.5]] * 10
    >>> y = [3.0, 1.0, 5.0, 2.0] * 10
    >>> model = TabularRegressor(n_networks=2, epochs=20, random_state=0).fit(X, y)
    >>> model.predict([["red", None]]).shape
    (1,)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseTabular._parameter_constraints,
        "quantiles": ["array-like", None],
    }

    def __init__(
        self,
        architecture: str = "realmlp",
        *,
        embedding: str = "auto",
        n_networks: int = 8,
        members: int | None = None,
        hidden_layer_sizes: Sequence[int] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        dropout: float | None = None,
        categorical_features: str | Sequence[str | int] | Sequence[bool] | None = "from_dtype",
        cv: Any = None,
        scoring: str | Callable[..., float] | None = None,
        quantiles: Sequence[float] | None = None,
        search: Any = None,
        time_limit: float | None = None,
        progress: bool = False,
        n_threads: int | None = None,
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
    ) -> None:
        self.architecture = architecture
        self.embedding = embedding
        self.n_networks = n_networks
        self.members = members
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.categorical_features = categorical_features
        self.cv = cv
        self.scoring = scoring
        self.quantiles = quantiles
        self.search = search
        self.time_limit = time_limit
        self.progress = progress
        self.n_threads = n_threads
        self.random_state = random_state

    def _levels(self):
        if self.quantiles is None:
            return None
        return check_levels("quantiles", self.quantiles)

    def _check_y(self, y, n_rows, known=False):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        y = self._as_values(y)
        _check_shape(y, n_rows)
        if n_rows > 1 and (y == y[0]).all() and not known:
            raise ValueError(f"y must not be constant, all {n_rows} targets are {y[0]:g}")
        return y, y

    def _as_values(self, y):
        """Targets as float64."""
        # Of infinite numbers scikit-learn's sum warns, which are refused.
        with said_clearly({"y": y}), np.errstate(invalid="ignore"):
            values = np.asarray(y)
            if values.dtype.kind in "mM":
                raise TypeError(f"y must hold numbers, got the dtype {values.dtype}")
            if values.dtype.kind == "f":
                refuse_missing(values, "values")
            try:
                y = _check_y(y, y_numeric=True, estimator=self).astype(np.float64)
            except OverflowError:
                raise ValueError("y must hold numbers that float64 has room for") from None
        largest = y[np.abs(y).argmax()] if len(y) else 0.0
        if abs(largest) > _LARGEST:
            raise ValueError(f"y must be within {_LARGEST:g} of 0, got {largest:g}")
        return y

    def _make_task(self, targets, rows, weights):
        scaling = scaling_of(targets[rows], None if weights is None else weights[rows])
        if scaling[1] == 0:
            raise ValueError("y must not be constant in the rows with a weight above 0")
        levels = self._levels()
        if levels is None:
            return Values(scaling, targets)
        return Quantiles(scaling, levels, targets)

    def _finish(self, predictions, rows, targets, weights):
        return predictions

    def predict(self, X: Any) -> np.ndarray:
        """Predict the targets, or their quantiles, of rows.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Columns as in `fit`. Missing values, and categories that `fit` has not seen, may be
            anywhere.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_quantiles)
            Within the smallest and the largest target of `fit`. Quantiles of a row ascend.

        Raises
        ------
        ValueError, TypeError
            If columns are missing, others, in another order, or hold other kinds of values than in
            `fit`.
        """
        return self._raw_predictions(X)

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """R² of the predictions; with quantiles, minus their mean quantile loss.

        Parameters
        ----------
        X, y, sample_weight
            As of `fit`.

        Returns
        -------
        float
        """
        levels = self._levels()
        if levels is None:
            return super().score(X, y, sample_weight)
        predicted = self.predict(X)
        y, targets = self._check_y(y, len(predicted), known=True)
        weights = self._check_weights(sample_weight, predicted, targets)
        return -float(Pinball(levels)(y, predicted, weights))


def _check_shape(y, n_rows):
    if y.shape != (n_rows,):
        raise ValueError(
            f"y must have the shape ({n_rows},), one target for each row of X, got {y.shape}"
        )


def _reliability(probabilities, labels):
    """In bins of confidence: its mean, the share of rows that are right, and their number."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * _N_BINS).astype(np.intp), _N_BINS - 1)
    counts = np.bincount(bins, minlength=_N_BINS)
    there = np.flatnonzero(counts)
    return {
        "confidence": (np.bincount(bins, confidence, _N_BINS)[there] / counts[there]).tolist(),
        "accuracy": (np.bincount(bins, right, _N_BINS)[there] / counts[there]).tolist(),
        "n_rows": counts[there].tolist(),
    }
