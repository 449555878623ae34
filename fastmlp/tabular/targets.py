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
    """

    output = "softmax"

    def __init__(self, labels, n_classes):
        self.targets = labels
        self.n_outputs = n_classes

    def loss(self, recipe):
        """The loss to train networks with, as `fastmlp.fit` takes it."""
        return f"cross_entropy({recipe.smoothing!r})"

    def decode(self, outputs):
        """What outputs of a network stand for: probabilities (n, n_classes)."""
        probabilities = outputs.astype(np.float64)
        return probabilities / probabilities.sum(axis=1, keepdims=True)  # 1 in float64, too


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

    def __init__(self, scaling, values=None):
        self.scaling = scaling
        self._mean, self._scale, self._smallest, self._largest = scaling
        if values is not None:
            self.targets = ((values - self._mean) / self._scale).astype(_DTYPE)

    def loss(self, recipe):
        return "squared_error"

    def decode(self, outputs):
        """What outputs of a network stand for: values (n,)."""
        return self._restored(outputs[:, 0])

    def _restored(self, outputs):
        values = outputs * self._scale + self._mean  # in float64, as these are its scalars
        return np.clip(values, self._smallest, self._largest)


class Quantiles(Values):
    """Quantiles of numbers: an output of a network for each level, trained by its loss.

    Where quantiles of a row cross, they are sorted, by which they do not become worse together
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
        self.n_outputs = len(self.levels)
        if values is not None:
            self.targets = np.repeat(self.targets[:, np.newaxis], self.n_outputs, axis=1)

    def loss(self, recipe):
        return f"quantile({', '.join(map(repr, self.levels))})"

    def decode(self, outputs):
        """What outputs of a network stand for: quantiles (n, n_levels), ascending in each row.

        So are means of those of several networks.
        """
        return np.sort(self._restored(outputs), axis=1)


def check_levels(name, levels):
    """Check levels of quantiles, which go by a name in messages; return them as a list."""
    found = np.asarray(levels).tolist() if np.ndim(levels) == 1 else []
    are_levels = all(isinstance(one, float) and 0 < one < 1 for one in found)
    if not found or not are_levels or not (np.diff(found) > 0).all():
        raise ValueError(
            f"{name} must be ascending numbers within (0, 1), such as (0.1, 0.5, 0.9), got "
            f"{levels!r}"
        )
    return found


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
