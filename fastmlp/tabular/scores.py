"""What tells a good epoch from a bad one: scores of probabilities, values and quantiles."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """A measure of predictions.

    Attributes
    ----------
    name : str
    measure : callable
        Takes targets, predictions and sample weights or None. Targets are numbers of classes (n,),
        with probabilities (n, n_classes) as predictions, or values (n,), with values (n,), or
        quantiles (n, n_quantiles), as predictions.
    larger_is_better : bool
    """

    name: str
    measure: Callable
    larger_is_better: bool = True

    def gain(self, targets, predictions, weights) -> float:
        """The measure, negative where smaller is better; NaN if predictions are not finite."""
        if not np.isfinite(predictions).all():
            return np.nan
        value = float(self.measure(targets, predictions, weights))
        return value if self.larger_is_better else -value


def accuracy(targets, probabilities, weights=None):
    """Share of rows whose largest probability, the first one of equals, is that of their class."""
    return np.average(probabilities.argmax(axis=1) == targets, weights=weights)


def log_loss(targets, probabilities, weights=None):
    """Mean of minus the logarithm of the probability of each row's class, no less than 1e-15."""
    chosen = np.take_along_axis(probabilities, targets[:, np.newaxis], axis=1)[:, 0]
    chosen = np.maximum(chosen.astype(np.float64), 1e-15)
    return np.average(-np.log(chosen), weights=weights)


def auc(targets, probabilities, weights=None):
    """Area under the ROC curve; of more than two classes, the mean of each against all others.

    NaN where rows are all of one class. Classes without rows are left out of the mean.
    """
    n_classes = probabilities.shape[1]
    if n_classes == 2:
        return _area(targets == 1, probabilities[:, 1], weights)
    there = np.unique(targets)
    return np.mean([_area(targets == one, probabilities[:, one], weights) for one in there])


def _area(is_it, values, weights):
    """Probability that a row that is it has a larger value than one that is not; ties are half."""
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    _, ranks = np.unique(values, return_inverse=True)
    is_it_at = np.bincount(ranks, weights * is_it)
    is_not_at = np.bincount(ranks, weights * ~is_it)
    below = np.cumsum(is_not_at) - is_not_at / 2
    pairs = is_it_at.sum() * is_not_at.sum()
    return (is_it_at @ below) / pairs if pairs > 0 else np.nan


def rmse(targets, values, weights=None):
    """Root of the mean squared error."""
    return np.sqrt(np.average(np.square(targets - values), weights=weights))


class Pinball:
    """Mean quantile loss, over rows and levels.

    Parameters
    ----------
    levels : sequence of float
        Of the columns of predictions.
    """

    def __init__(self, levels):
        self.levels = np.asarray(levels, np.float64)

    def __call__(self, targets, quantiles, weights=None):
        errors = targets[:, np.newaxis] - quantiles
        losses = np.maximum(self.levels * errors, (self.levels - 1) * errors).mean(axis=1)
        return np.average(losses, weights=weights)


OF_CLASSES = {
    "accuracy": Score("accuracy", accuracy),
    "log_loss": Score("log_loss", log_loss, larger_is_better=False),
    "auc": Score("auc", auc),
}
OF_VALUES = {"rmse": Score("rmse", rmse, larger_is_better=False)}
