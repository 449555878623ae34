"""Whether a fit got anywhere: how it compares with the mean, and how large its numbers are."""

import numpy as np

from fastmlp.kernels import codes
from fastmlp.scaling import scales_targets

# A loss is better than that of the mean from here on: by less, a network of dead units is, too.
_BETTER = 1e-3

# What is less than this share of a bound of two digits is less than what is bounded.
_SURELY_BETTER = 0.9

# The least share of a difference in what it is the difference of, for two digits of float32.
_DIGITS_LEFT = 0.01

# Sizes of numbers that networks train well on, as root mean squares of columns.
_SMALLEST, _LARGEST = 0.1, 10.0

# Losses of labels: the constant to compare with is how many rows have each.
_OF_LABELS = ("cross_entropy", "binary_cross_entropy", "logistic", "hinge")

# Rows whose errors are held at a time, and rows that become one where columns are added up.
_ROWS = 1 << 16
_JOINED = 128

# Numbers that are added up in float32, in several sums, for two digits.
# At first they are few, and then twice as many each time.
_FIRST_BLOCK, _BLOCK = 1 << 12, 1 << 18


def advice(objective, loss):
    """Say that data should be scaled, if a fit on data that are not has come to nothing.

    Only then does anything look at X, and at its first rows alone if it is not in memory.

    Parameters
    ----------
    objective : Objective
        With the network as the fit left it.
    loss : float
        What the objective is now.

    Returns
    -------
    str or None
        None of sequences, whose X has no columns, and of losses that users have written, of which
        nobody knows the best constant.
    """
    net, problem = objective.net, objective.problem
    if problem.sequences is not None or problem.loss_code == codes.CUSTOM:
        return None
    X, Y, weights = objective.rows, objective.targets, objective.weights
    loss = loss - objective.penalty(net.theta)
    with np.errstate(over="ignore", invalid="ignore"):
        if _is_surely_better(loss, problem, Y, weights):
            return None
        of_mean = loss_of_mean(problem, Y, weights, net.layer_sizes[-1])
    if not 0 < of_mean * (1 - _BETTER) < loss:
        return None
    faults = []
    sizes = _sizes(X if objective.is_in_memory else X[:_ROWS])
    sizes[list(net.categorical_columns)] = 1.0  # codes have no unit
    widest = int(np.argmax(sizes))
    if not _is_good(sizes[widest]):
        names = net.feature_names
        column = widest if names is None else repr(names[widest])
        faults.append(f"of column {column} of X is {sizes[widest]:.2g}")
    if scales_targets(problem.loss, net.output, Y.shape[1]):
        size = _sizes(Y).max()
        if not _is_good(size):
            faults.append(f"of y is {size:.2g}")
    if not faults:
        return None
    constant = "the shares of the classes" if problem.loss in _OF_LABELS else "the mean of y"
    return (
        f"the fit ended with a loss of {loss:.4g}, no better than always predicting {constant}, "
        f"{of_mean:.4g}. Networks train on numbers of about 1, but the root mean square "
        f"{' and that '.join(faults)}: use standardize, or scale the data"
    )


def loss_of_mean(problem, Y, weights, n_outputs):
    """The mean loss where every row is given the mean of the targets, or the shares of the classes.

    Parameters
    ----------
    problem : Problem
    Y : ndarray (n, n_target)
    weights : ndarray (n,) or (0,)
        With mean 1.
    n_outputs : int
    """
    loss = problem.loss
    if problem.loss_code == codes.FUSED_CROSS_ENTROPY_INDICES:
        counts = np.bincount(
            Y[:, 0].astype(np.int64), weights if weights.size else None, minlength=n_outputs
        )
        mean = counts / problem.n_rows
    else:
        mean = _mean(Y, weights)
    if loss == "cross_entropy":
        smoothing = problem.loss_parameters[0]
        return _entropy((1 - smoothing) * mean + smoothing / n_outputs)
    if loss == "binary_cross_entropy":
        return _entropy(mean) + _entropy(1 - mean)
    if loss == "logistic":
        return _entropy((1 + mean) / 2) + _entropy((1 - mean) / 2)
    if loss == "hinge":
        return float((1 - np.abs(mean)).sum())  # at the label that more rows have
    if loss == "poisson":
        return float(mean.sum()) + _entropy(mean)
    total = 0.0
    for start in range(0, len(Y), _ROWS):
        rows = slice(start, start + _ROWS)
        errors = _ERRORS[loss](Y[rows] - mean, np.array(problem.loss_parameters))
        if weights.size:
            total += float(_mean(errors, weights[rows]).sum()) * len(errors)
        else:
            total += float(errors.sum(dtype=np.float64))
    return total / problem.n_rows


def _is_surely_better(loss, problem, Y, weights):
    """Whether a loss is less than `loss_of_mean` by far, found in a fraction of its time; or False.

    Squares about the means of blocks of rows, to about two digits in the dtype of Y: those about
    the mean of all rows are more. Of a good fit the first, small blocks tell already.
    """
    if problem.loss != "squared_error" or weights.size:
        return False
    n_rows, n_columns = Y.shape
    enough = 2 * n_rows * loss / _SURELY_BETTER  # as the loss is half the mean of squares
    total, start, n_numbers = 0.0, 0, _FIRST_BLOCK
    while start < n_rows:
        rows = Y[start : start + max(1, n_numbers // n_columns)]
        squares = float(np.einsum("ij,ij", rows, rows))
        sums = _sums(rows, Y.dtype).tolist()
        within = squares - sum(one * one for one in sums) / len(rows)
        # Of what is far smaller than the squares no digits are left.
        total += within if within > _DIGITS_LEFT * squares else 0.0
        if total > enough:
            return True
        start += len(rows)
        n_numbers = min(2 * n_numbers, _BLOCK)
    return False


_ERRORS = {
    "squared_error": lambda e, _: e * e / 2,
    "absolute_error": lambda e, _: np.abs(e),
    "huber": lambda e, delta: np.where(
        np.abs(e) <= delta, e * e / 2, delta * (np.abs(e) - delta / 2)
    ),
    "quantile": lambda e, q: np.maximum(q * e, (q - 1) * e),
}


def _mean(columns, weights):
    if not weights.size:
        return _sums(columns) / len(columns)
    return np.einsum("i,ij->j", weights, columns, dtype=np.float64) / len(columns)


def _sums(columns, dtype=np.float64):
    """Sums of the columns in float64, those of _JOINED sets of rows in a `dtype`.

    Of few columns many rows are taken as one, as NumPy likes long rows.
    """
    n_rows, n_columns = columns.shape
    if columns.size <= _FIRST_BLOCK:
        return np.einsum("ij->j", columns, dtype=dtype)
    n_joined = n_rows // _JOINED
    joined = columns[: n_joined * _JOINED].reshape(n_joined, _JOINED * n_columns)
    sums = joined.sum(axis=0, dtype=dtype).reshape(_JOINED, n_columns)
    sums = sums.sum(axis=0, dtype=np.float64)
    return sums + columns[n_joined * _JOINED :].sum(axis=0, dtype=np.float64)


def _entropy(shares):
    return -float((shares * np.log(np.where(shares > 0, shares, 1))).sum())


def _is_good(size):
    """Whether numbers of this size need no scaling, as zeros do, which have no other scale."""
    return size == 0 or _SMALLEST <= size <= _LARGEST


def _sizes(columns):
    """Root mean square of each column."""
    with np.errstate(over="ignore"):
        return np.sqrt(np.einsum("ij,ij->j", columns, columns, dtype=np.float64) / len(columns))
