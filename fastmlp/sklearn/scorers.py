"""What `scoring` means for tables: scores by name, or any scorer of scikit-learn."""

import inspect
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer
from sklearn.utils import _safe_indexing

from fastmlp.tabular.scores import OF_CLASSES, OF_VALUES, Pinball, Score


class _Predicted(BaseEstimator):
    """An estimator that has predicted already."""

    def __init__(self, predictions=None, classes=None):
        self.predictions = predictions
        self.classes = classes

    def fit(self, X, y):
        """Do nothing, as scikit-learn has nothing without it."""
        return self

    def __sklearn_is_fitted__(self):
        return True


class _PredictedClasses(ClassifierMixin, _Predicted):
    @property
    def classes_(self):
        return self.classes

    def predict(self, X):
        return self.classes[self.predictions.argmax(axis=1)]

    def predict_proba(self, X):
        return self.predictions


class _PredictedValues(RegressorMixin, _Predicted):
    def predict(self, X):
        return self.predictions


class _Named:
    """A scorer of scikit-learn by its name, which it is called by."""

    def __init__(self, name):
        self.__name__ = name
        self._scorer = get_scorer(name)

    def __call__(self, estimator, X, y, sample_weight=None):
        options = {} if sample_weight is None else {"sample_weight": sample_weight}
        try:
            return self._scorer(estimator, X, y, **options)
        except ValueError as error:
            raise ValueError(
                f"scoring must be a score of such targets and predictions, but {self.__name__!r} "
                f"says: {error}"
            ) from error


class Scoring:
    """A score of predictions for some rows of the training data.

    Parameters
    ----------
    score : Score or callable
        Of this package, or a scorer of scikit-learn.
    targets : ndarray
        Numbers of classes, or values.
    weights : ndarray or None
    X, y
        Of `fit`, for scorers of scikit-learn.
    classes : ndarray or None
        None of values.
    """

    def __init__(self, score, targets, weights, X, y, classes):
        self._score = score
        self._targets = targets
        self._weights = weights
        self._X, self._y, self._classes = X, y, classes

    @property
    def name(self):
        """What the score is called."""
        if isinstance(self._score, Score):
            return self._score.name
        return getattr(self._score, "__name__", "score")

    def shown(self, gain):
        """The score of which this is the gain: the same but for its sign, if that is another."""
        is_same = not isinstance(self._score, Score) or self._score.larger_is_better
        return gain if is_same else -gain

    def gain_of(self, rows):
        """A callable that takes predictions for rows, and returns how good they are."""
        score = self._score
        if isinstance(score, Score):
            targets = self._targets[rows]
            weights = None if self._weights is None else self._weights[rows]
            return lambda predictions: score.gain(targets, predictions, weights)
        X, y = _safe_indexing(self._X, rows), self._y[rows]
        options = {}
        if self._weights is not None and _takes_weights(score):
            options["sample_weight"] = self._weights[rows]
        kind = _PredictedValues if self._classes is None else _PredictedClasses

        def gain(predictions):
            if not np.isfinite(predictions).all():
                return np.nan
            value = score(kind(predictions, self._classes), X, y, **options)
            if not isinstance(value, Real):
                raise TypeError(f"scoring must give one number, it gave {value!r}")
            return float(value)

        return gain


def _takes_weights(scorer):
    """Whether a callable has an argument for sample weights, as scikit-learn's scorers do."""
    return "sample_weight" in inspect.signature(scorer).parameters


def as_score(scoring, is_classifier, levels=None):
    """Check `scoring`; return the `Score`, or the scorer of scikit-learn, that it stands for.

    Parameters
    ----------
    scoring : str, callable or None
    is_classifier : bool
    levels : sequence of float or None
        Of quantiles, which have a score of their own.

    Raises
    ------
    ValueError
        For another name, or for any score of quantiles.
    """
    if levels is not None:
        if scoring is not None:
            raise ValueError(
                f"scoring must be None with quantiles, which go by the quantile loss, got "
                f"{scoring!r}"
            )
        return Score("quantile loss", Pinball(levels), larger_is_better=False)
    own = OF_CLASSES if is_classifier else OF_VALUES
    if scoring is None:
        return next(iter(own.values()))
    if callable(scoring):
        return scoring
    if scoring in own:
        return own[scoring]
    try:
        return _Named(scoring)
    except ValueError:
        raise ValueError(
            f"scoring must be one of {', '.join(own)}, the name of a scorer of scikit-learn, or a "
            f"callable, got {scoring!r}"
        ) from None
