"""What networks are trained towards, and what their outputs stand for."""

import numpy as np

from fastmlp.tabular.columns import as_numbers

# Networks compute in this dtype.
_DTYPE = np.float32


class Classes:
    """Numbers of classes, towards which softmax outputs are trained.

    Parameters
    ----------
    labels : ndarray of int, (n,)
    n_classes : int

    Attributes
    ----------
    targets : ndarray, (n,)
        As `fastmlp.fit` takes them.
    n_outputs : int
        Of a network.
    output : str
        Its activation.
    n_parts : int
        Networks that it takes to predict for one row.
    """

    output = "softmax"
    n_parts = 1

    def __init__(self, labels, n_classes):
        self.targets = labels
        self.n_outputs = n_classes

    def loss(self, part, recipe):
        """The loss to train networks of a part with, as `fastmlp.fit` takes it."""
        return f"cross_entropy({recipe.smoothing!r})"

    def decode(self, outputs):
        """What outputs of a network of a part stand for: probabilities (n, n_classes)."""
        probabilities = outputs.astype(np.float64)
        return probabilities / probabilities.sum(axis=1, keepdims=True)  # 1 in float64, too

    def combine(self, parts):
        """Predictions from those of all parts."""
        return parts[0]


class Values:
    """Numbers, which are scaled to mean 0 and variance 1.

    Predictions stay within the smallest and the largest number, as RealMLP's do.

    Parameters
    ----------
    scaling : tuple of float
        See `scaling_of`.
    values : ndarray, (n,), or None, default None
        None where nothing is trained any more.
    """

    output = "identity"
    n_outputs = 1
    n_parts = 1

    def __init__(self, scaling, values=None):
        self.scaling = scaling
        self._mean, self._scale, self._smallest, self._largest = scaling
        if values is not None:
            self.targets = ((values - self._mean) / self._scale).astype(_DTYPE)

    def loss(self, part, recipe):
        return "squared_error"

    def decode(self, outputs):
        """What outputs of a network of a part stand for: values (n,)."""
        values = outputs[:, 0] * self._scale + self._mean  # in float64, as these are its scalars
        return np.clip(values, self._smallest, self._largest)

    def combine(self, parts):
        return parts[0]


class Quantiles(Values):
    """Quantiles of numbers: a part for each level, whose networks are trained by its own loss.

    Where quantiles of a row cross, they are sorted, by which none of them becomes worse in the mean
    (Chernozhukov, Fernández-Val & Galichon, Econometrica 78:1093, 2010).

    Parameters
    ----------
    scaling, values
        As of `Values`.
    levels : sequence of float
        Ascending, in (0, 1).
    """

    def __init__(self, scaling, levels, values=None):
        super().__init__(scaling, values)
        self.levels = tuple(levels)
        self.n_parts = len(self.levels)

    def loss(self, part, recipe):
        return f"quantile({self.levels[part]!r})"

    def decode(self, outputs):
        """What outputs of a network of a part stand for: one quantile (n, 1)."""
        return super().decode(outputs)[:, np.newaxis]

    def combine(self, parts):
        """Quantiles (n, n_levels), ascending in each row."""
        return np.sort(np.concatenate(parts, axis=1), axis=1)


def scaling_of(values, weights):
    """Weighted mean and standard deviation of float64 values, the smallest and the largest."""
    mean = np.average(values, weights=weights)
    scale = np.sqrt(np.average(np.square(values - mean), weights=weights))
    return float(mean), np.float64(scale), float(values.min()), float(values.max())


def find_target(frame, y, columns):
    """Which columns of a table are the targets themselves, row by row.

    Parameters
    ----------
    frame : Frame
    y : ndarray, (n,)
        Numbers, booleans or texts.
    columns : iterable of int
        Which to look at.

    Returns
    -------
    list of int
    """
    return [i for i in columns if _is_same(frame.column(i), y)]


def _is_same(column, y):
    if column.kind in ("number", "boolean"):
        return y.dtype.kind in "biuf" and np.array_equal(as_numbers(column), y)
    if column.kind != "category" or not column.categories:
        return False
    codes = np.asarray(column.values)
    if (codes < 0).any():
        return False
    found = np.array(column.categories, object)[codes]
    return bool(np.all(found == y.astype(object)))
