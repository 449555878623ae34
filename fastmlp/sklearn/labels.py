"""Labels of any kind that NumPy or pandas holds: as arrays, as numbers of classes, and in files."""

import datetime
from contextlib import suppress
from numbers import Real

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from fastmlp.feature_names import shown

# Kinds of NumPy's dtypes whose arrays scikit-learn takes for targets: numbers and booleans.
_NUMBERS = "biuf"

# What a number or string of NumPy's among objects is called in files.
_NUMPYS = "numpy"

# NumPy's kinds of dates and of differences between them, and the objects that are such.
_TIMES = {
    "M": (np.datetime64, datetime.date),
    "m": (np.timedelta64, datetime.timedelta),
}


def as_labels(y):
    """Targets as an array of the dtype in which they are held, or as they are if sparse or None.

    Nullable columns of pandas become NumPy's of the same kind, categories those of what they are.
    Strings stay objects where they are, and so do dates with a time zone.

    Raises
    ------
    ValueError
        If a label is missing.
    """
    if y is None or sparse.issparse(y):
        return y
    labels = np.asanyarray(y)
    held = [y.dtype] if hasattr(y, "dtype") else [*getattr(y, "dtypes", ())]
    plain = [_plain_dtype(dtype) for dtype in held]
    nullable = any(not isinstance(dtype, np.dtype) for dtype in held)
    if labels.dtype.kind in "OMmf":
        refuse_missing(labels)
    if nullable and all(dtype is not None and dtype.kind in _NUMBERS for dtype in plain):
        return labels.astype(np.result_type(*plain))
    return labels


def refuse_missing(y, what="labels"):
    """Refuse targets of which one is missing, and say in which row."""
    if y.dtype.kind == "O":
        missing = np.array([_is_missing(one) for one in y.flat], bool).reshape(y.shape)
    else:
        missing = np.isnan(y)
    if missing.any():
        row = int(np.argwhere(missing)[0][0])
        raise ValueError(
            f"y must not have missing {what}, got {y[row]} in row {row}. Drop such rows "
            "first. (Input y contains NaN.)"
        )


def are_numbers(labels):
    """Whether scikit-learn takes such labels, or refuses them in words of its own."""
    return labels is None or sparse.issparse(labels) or labels.dtype.kind in f"{_NUMBERS}c"


def distinct(labels):
    """The sorted different labels, and which of them each is, in the shape of `labels`.

    Raises
    ------
    TypeError
        If they cannot be sorted.
    ValueError
        For numbers that are not whole.
    """
    try:
        values, indices = np.unique(labels, return_inverse=True)
    except TypeError:
        kinds = sorted({type(one).__name__ for one in labels.flat})
        raise TypeError(
            f"y must have labels that can be sorted, got objects of {', '.join(kinds)}"
        ) from None
    if values.dtype.kind == "O" and any(isinstance(one, float) for one in values):
        with suppress(TypeError):
            check_classification_targets(values.astype(np.float64))
    return values, indices.reshape(labels.shape)


def class_factors(class_weight, classes, indices, sample_weight):
    """The factor of each sample by its class, of which `indices` (n,) tell.

    A class without a name counts 1. A name without a class is a mistake, unless all classes have
    one, or there is but one class: then it may be of a class that these samples happen to lack.
    """
    if class_weight == "balanced":
        sums = np.bincount(indices, sample_weight, len(classes))
        there = sums > 0
        equal = sums.sum() / max(1, np.count_nonzero(there))
        return np.divide(equal, sums, out=np.ones(len(classes)), where=there)[indices]
    factors, is_named, unknown = np.ones(len(classes)), np.zeros(len(classes), bool), []
    for label, factor in (class_weight or {}).items():
        if not isinstance(factor, Real):
            raise TypeError(
                f"class_weight must hold numbers, got {shown(factor)} for {shown(label)}"
            )
        is_it = np.array([bool(one == label) for one in classes])
        factors[is_it], is_named = factor, is_named | is_it
        unknown += [] if is_it.any() else [label]
    if unknown and not is_named.all() and len(classes) > 1:
        raise ValueError(f"class_weight must name classes of {classes}, got {shown(unknown[0])}")
    if not (np.isfinite(factors) & (factors >= 0)).all():
        raise ValueError(f"class_weight must be finite and not negative, got {class_weight!r}")
    return factors[indices]


def is_indicator(y):
    """Whether targets (n_samples, n_labels) tell by 0 and 1 which labels each row has."""
    values = y.data if sparse.issparse(y) else y
    return type_of_target(y) == "multilabel-indicator" and bool(np.isin(values, (0, 1)).all())


def find(labels, classes):
    """The index of each label among the classes, -1 for one that is none of them."""
    values, indices = np.unique(labels, return_inverse=True)
    times = [one.dtype.kind for one in (classes, values) if one.dtype.kind in _TIMES]
    if times:
        values, classes = _as_times(values, times[0]), _as_times(classes, times[0])
        unit = np.promote_types(values.dtype, classes.dtype)
        values, classes = values.astype(unit), classes.astype(unit)
    # None is what is no time at all, as no class is.
    index = {label: i for i, label in enumerate(classes.tolist()) if label is not None}
    return np.array([index.get(one, -1) for one in values.tolist()], np.intp)[indices]


def to_plain(classes):
    """An array of classes as a list and the name of a dtype, fit for JSON.

    Raises
    ------
    TypeError
        For objects other than booleans, numbers, strings, and dates and times.
    """
    kind = classes.dtype.kind
    if kind in "Mm":
        return classes.astype(np.int64).tolist(), classes.dtype.str
    if kind == "S":
        return [one.decode("latin-1") for one in classes.tolist()], classes.dtype.str
    if kind == "O":
        return [_object_to_plain(one) for one in classes], "O"
    if classes.dtype == np.longdouble:
        return [str(one) for one in classes], classes.dtype.str
    return classes.tolist(), "T" if kind == "T" else classes.dtype.str


def from_plain(values, name):
    """Undo `to_plain`."""
    if name == "O":
        classes = np.empty(len(values), object)
        classes[:] = [_object_from_plain(one) for one in values]
        return classes
    if name == "T":
        return np.array(values, np.dtypes.StringDType())
    dtype = np.dtype(name)
    if dtype.kind == "S":
        return np.array([one.encode("latin-1") for one in values], dtype)
    return np.array(values, np.int64 if dtype.kind in "Mm" else dtype).astype(dtype)


def _plain_dtype(dtype):
    """NumPy's dtype of what a dtype of pandas holds; None where there is no such."""
    if isinstance(dtype, np.dtype):
        return dtype
    categories = getattr(dtype, "categories", None)
    if categories is not None:
        return _plain_dtype(getattr(categories, "dtype", None))
    return getattr(dtype, "numpy_dtype", None)


def _as_times(labels, kind):
    """Labels in NumPy's dtype of dates or differences; NaT for what is neither, or has a zone."""
    if labels.dtype.kind == kind:
        return labels
    numpys, python = _TIMES[kind]
    times = [
        numpys(getattr(one, "asm8", one))  # pandas' have nanoseconds, too
        if isinstance(one, numpys | python) and getattr(one, "tzinfo", None) is None
        else numpys("NaT")
        for one in labels.tolist()
    ]
    return np.array(times, f"{kind}8")


def _is_missing(one):
    # pandas' NA has no truth value, and so is no answer to whether it differs from itself.
    return one is None or type(one).__name__ == "NAType" or bool(np.any(one != one))


def _object_to_plain(label):
    if type(label) in (bool, int, float, str):
        return label
    if isinstance(label, np.number | np.bool_ | np.str_):
        return {_NUMPYS: [label.dtype.str, *to_plain(np.array([label]))[0]]}
    if hasattr(label, "asm8"):  # pandas' Timestamp and Timedelta, which are Python's, too
        zone = getattr(label, "tz", None)
        count, zone = int(label.asm8.astype(np.int64)), None if zone is None else str(zone)
        return {type(label).__name__: [count, label.unit, zone]}
    for kind in (datetime.datetime, datetime.date, datetime.time):
        if type(label) is kind:
            return {kind.__name__: label.isoformat()}
    raise TypeError(
        "classes_ must be numbers, strings or dates to be saved, got an object of "
        f"{type(label).__name__}: {shown(label)}"
    )


def _object_from_plain(value):
    if not isinstance(value, dict):
        return value
    ((name, given),) = value.items()
    if name == _NUMPYS:
        dtype, one = given
        return np.dtype(dtype).type(one)
    if name in ("datetime", "date", "time"):
        return getattr(datetime, name).fromisoformat(given)
    import pandas

    count, unit, zone = given
    if name == "Timedelta":
        return pandas.Timedelta(np.timedelta64(count, unit))
    moment = pandas.Timestamp(np.datetime64(count, unit))
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)
