"""Labels of any kind that NumPy or pandas holds: as arrays, as numbers of classes, and in files."""

import datetime
from contextlib import suppress

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets

# Kinds of NumPy's dtypes whose arrays scikit-learn takes for targets: numbers and booleans.
_NUMBERS = "biuf"


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
    if labels.dtype.kind in "OMm" or (nullable and labels.dtype.kind == "f"):
        _refuse_missing(labels)
    if nullable and all(dtype is not None and dtype.kind in _NUMBERS for dtype in plain):
        return labels.astype(np.result_type(*plain))
    return labels


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


def find(labels, classes):
    """The index of each label among the classes, -1 for one that is none of them."""
    values, indices = np.unique(labels, return_inverse=True)
    if values.dtype.kind in "Mm" and values.dtype.kind == classes.dtype.kind:
        unit = np.promote_types(values.dtype, classes.dtype)
        values, classes = values.astype(unit), classes.astype(unit)
    index = {label: i for i, label in enumerate(classes.tolist())}
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
        return _plain_dtype(categories.dtype)
    return getattr(dtype, "numpy_dtype", None)


def _refuse_missing(labels):
    if labels.dtype.kind == "O":
        missing = np.array([_is_missing(one) for one in labels.flat], bool).reshape(labels.shape)
    else:
        missing = np.isnan(labels)
    if missing.any():
        row = int(np.argwhere(missing)[0][0])
        raise ValueError(
            f"y must not have missing labels, got {labels[row]} in row {row}. Drop such rows "
            "first. (Input y contains NaN.)"
        )


def _is_missing(one):
    # pandas' NA has no truth value, and so is no answer to whether it differs from itself.
    return one is None or type(one).__name__ == "NAType" or bool(np.any(one != one))


def _object_to_plain(label):
    if type(label) in (bool, int, float, str):
        return label
    if hasattr(label, "asm8"):  # pandas' Timestamp and Timedelta, which are Python's, too
        zone = getattr(label, "tz", None)
        count, zone = int(label.asm8.astype(np.int64)), None if zone is None else str(zone)
        return {type(label).__name__: [count, label.unit, zone]}
    for kind in (datetime.datetime, datetime.date, datetime.time):
        if type(label) is kind:
            return {kind.__name__: label.isoformat()}
    raise TypeError(
        "classes_ must be numbers, strings or dates to be saved, got an object of "
        f"{type(label).__name__}: {label!r}"
    )


def _object_from_plain(value):
    if not isinstance(value, dict):
        return value
    ((name, given),) = value.items()
    if name in ("datetime", "date", "time"):
        return getattr(datetime, name).fromisoformat(given)
    import pandas

    count, unit, zone = given
    if name == "Timedelta":
        return pandas.Timedelta(np.timedelta64(count, unit))
    moment = pandas.Timestamp(np.datetime64(count, unit))
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)
