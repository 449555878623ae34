"""Which rows each network trains on, and which it is validated by."""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from fastmlp.feature_names import listing, shown
from fastmlp.validation import check_count

# Of a single network, one part in so many is for validation: 80/20, as in RealMLP.
_PARTS_OF_ONE = 5


@dataclass(frozen=True, eq=False)
class Fold:
    """A split of the rows.

    Attributes
    ----------
    training, validation : ndarray of int64
        Ascending numbers of rows, without a common one.
    """

    training: np.ndarray
    validation: np.ndarray


def make_folds(n_rows, n_networks, rng, *, labels=None, groups=None, cv=None, X=None, y=None):
    """The fold of each network.

    Parameters
    ----------
    n_rows : int
    n_networks : int
        Several networks have as many folds, each row being in the validation rows of one; a single
        one has a fifth of the rows to validate by.
    rng : numpy.random.Generator
        Of the shuffling.
    labels : ndarray of int, (n_rows,), or None, default None
        Number of the class of each row. Each fold then has its share of each class.
    groups : array_like, (n_rows,), or None, default None
        Rows of a group are in the same validation rows, so that no network is validated by rows
        whose group it knows. Folds are made as equal in size as groups allow; classes are not
        looked at.
    cv : int, splitter of scikit-learn, iterable of (training, validation), or None, default None
        Other folds: so many, or those that ``cv.split(X, y, groups)`` or the iterable gives, as
        numbers of rows or masks. Network i has fold i modulo their number.
    X, y : default None
        What a splitter is given.

    Returns
    -------
    list of Fold

    Raises
    ------
    ValueError, TypeError
        For more folds than rows, or groups, a fold without training or validation rows, rows in
        both, rows that do not exist, or a class that is in no training row of a fold.
    """
    groups = None if groups is None else as_groups(groups, n_rows)
    if cv is None or _is_count(cv):
        folds = _own_folds(n_rows, n_networks, rng, labels, groups, cv)
    else:
        folds = _given_folds(n_rows, cv, X, y, groups)
    return [folds[i % len(folds)] for i in range(n_networks)]


def check_classes(folds, labels, classes):
    """Refuse a fold whose training rows lack a class: its network could not know of it.

    Parameters
    ----------
    folds : list of Fold
    labels : ndarray of int, (n_rows,)
    classes : ndarray, (n_classes,)
        What classes are called.
    """
    for i, fold in enumerate(folds):
        counts = np.bincount(labels[fold.training], minlength=len(classes))
        if counts.all():
            continue
        missing = int(np.argmin(counts > 0))
        n_rows = int((labels == missing).sum())
        raise ValueError(
            "y must have rows of each class among the training rows of each fold, got a fold "
            f"{i} that trains on no row of class {shown(classes[missing])}, which has {n_rows} in "
            "all: drop rare classes, or give a cv that leaves some of them to train on"
        )


def _is_count(cv):
    return isinstance(cv, Integral) and not isinstance(cv, bool)


def as_groups(groups, n_rows):
    """Number of the group of each row.

    Raises
    ------
    ValueError, TypeError
        If there is not one group for each row, or if groups cannot be sorted.
    """
    try:
        values = np.asarray(groups)
    except ValueError:  # of lists of different lengths
        raise ValueError("groups must have one value for each row of X, got lists") from None
    if values.shape != (n_rows,):
        raise ValueError(
            f"groups must have the shape ({n_rows},), one for each row of X, got {values.shape}"
        )
    try:
        return np.unique(values, return_inverse=True)[1]
    except TypeError:
        kinds = sorted({type(one).__name__ for one in values.flat})
        raise TypeError(
            f"groups must have values that can be sorted, got objects of {listing(kinds)}"
        ) from None


def _own_folds(n_rows, n_networks, rng, labels, groups, cv):
    n_parts = n_rows if groups is None else int(groups.max()) + 1
    if cv is not None:
        check_count("cv", cv, 2)
        wanted, name = int(cv), f"cv={cv}"
    elif n_networks > 1:
        wanted, name = n_networks, f"n_networks={n_networks}"
    else:
        wanted, name = min(_PARTS_OF_ONE, n_parts), "n_networks=1"
    if n_parts < max(2, wanted):
        what = "rows" if groups is None else "groups"
        raise ValueError(
            f"X must have at least as many {what} as folds, {max(2, wanted)} for {name}, got "
            f"{n_parts} (n_samples={n_rows})"
        )
    if groups is None:
        parts = _shuffled_parts(n_rows, wanted, rng, labels)
    else:
        parts = _grouped_parts(groups, wanted, rng)
    n_used = 1 if cv is None and n_networks == 1 else wanted
    return [
        Fold(np.flatnonzero(parts != part), np.flatnonzero(parts == part)) for part in range(n_used)
    ]


def _shuffled_parts(n_rows, n_parts, rng, labels):
    """The part of each row: sizes, of all and of a class, differ by one at most."""
    order = rng.permutation(n_rows)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    parts = np.empty(n_rows, np.int64)
    parts[order] = np.arange(n_rows) % n_parts
    return parts


def _grouped_parts(groups, n_parts, rng):
    """The part of each row: the largest group first, each to the part with the fewest rows."""
    sizes = np.bincount(groups)
    shuffled = rng.permutation(len(sizes))
    part_of, filled = np.empty(len(sizes), np.int64), np.zeros(n_parts, np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        part_of[group] = np.argmin(filled)
        filled[part_of[group]] += sizes[group]
    return part_of[groups]


def _given_folds(n_rows, cv: Any, X, y, groups):
    is_splitter = hasattr(cv, "split") and not isinstance(cv, str)
    splits = cv.split(X, y, groups) if is_splitter else cv
    if isinstance(splits, str) or not isinstance(splits, Iterable):
        raise TypeError(
            "cv must be an integer, a splitter with a method split, or an iterable of (training, "
            f"validation), got {cv!r}"
        )
    folds = [_given_fold(i, split, n_rows) for i, split in enumerate(splits)]
    if not folds:
        raise ValueError("cv must give at least one fold, got none")
    return folds


def _given_fold(i, split, n_rows):
    if isinstance(split, str) or not hasattr(split, "__len__") or len(split) != 2:
        raise TypeError(f"cv must give pairs (training, validation), got {split!r} as fold {i}")
    named = zip(("training", "validation"), split, strict=True)
    training, validation = (
        _as_rows(f"{what} rows of fold {i}", part, n_rows) for what, part in named
    )
    both = np.intersect1d(training, validation)
    if both.size:
        raise ValueError(
            f"cv must not give rows to train on and to validate by, fold {i} has row {both[0]} in "
            "both"
        )
    return Fold(training, validation)


def _as_rows(what, part, n_rows):
    rows = np.asarray(part)
    if rows.dtype.kind == "b" and rows.shape == (n_rows,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise TypeError(
            f"cv must give numbers of rows or masks, got the dtype {rows.dtype} and the shape "
            f"{rows.shape} as {what}"
        )
    rows = np.unique(rows).astype(np.int64)
    if not rows.size:
        raise ValueError(f"cv must give at least one row, got no {what}")
    if rows[0] < 0 or rows[-1] >= n_rows:
        wrong = rows[0] if rows[0] < 0 else rows[-1]
        raise ValueError(f"cv must give rows from 0 to {n_rows - 1}, got {wrong} in {what}")
    return rows
