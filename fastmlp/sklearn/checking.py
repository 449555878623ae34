"""scikit-learn's checks of data, without what they let through or leave unsaid."""

from contextlib import contextmanager
from numbers import Number

import numpy as np
from scipy import sparse
from sklearn.utils import validation

from fastmlp.feature_names import shown
from fastmlp.inputs import check_columns, check_inputs
from fastmlp.sources.rows import check_shape, is_rows
from fastmlp.sources.source import OfArray, Source, fits_in_memory, source_of
from fastmlp.validation import check_unmasked, position

# What networks compute in.
DTYPES = (np.dtype(np.float64), np.dtype(np.float32))

# Of these scikit-learn has words of its own where they are no real numbers, as its checks want it.
_WITH_WORDS = (Number, dict, type(None))


def validate_data(estimator, X, y="no_validation", **options):
    """Do what scikit-learn's function of this name does; refuse masks, and name what is text.

    `Rows`, and arrays that would need much memory as float64, come back as a `Source`: what reads
    them, a window at a time.
    """
    check_unmasked("y", y)
    X = _loaded(X)
    source = as_source(X)
    numbers = {} if source is not None else {"X": X}
    if options.get("y_numeric"):
        numbers["y"] = y
    # scikit-learn would load them whole; of a shape without numbers it checks all that it can.
    shown = X if source is None else np.broadcast_to(0.0, source.shape)
    # Rounding to float64 may raise in the caller's state; what overflows is refused by its place.
    with said_clearly(numbers), np.errstate(over="ignore", under="ignore"):
        checked = validation.validate_data(estimator, shown, y, **options)
    if source is None:
        return checked
    return (source, checked[1]) if isinstance(checked, tuple) else source


def as_source(X):
    """What reads X a window at a time, or None where scikit-learn may make it an array.

    Of another dtype than networks have it would be copied, which is more than the array itself.
    """
    is_other = type(X) is np.ndarray and X.dtype.kind in "fiub" and X.dtype not in DTYPES
    if is_rows(X) or (is_other and X.ndim == 2 and not fits_in_memory(X.shape, DTYPES[0])):
        return source_of(X, DTYPES[0])
    return None


def _loaded(X):
    """Rows that a window has room for as an array, else X itself."""
    is_empty = is_rows(X) and 0 in check_shape("X", X)
    if not is_rows(X) or is_empty or not fits_in_memory(check_shape("X", X), DTYPES[0]):
        return X
    return np.asarray(X[0 : X.shape[0]])


def dtype_for(X):
    """The dtype of a network that is to be trained on X, which has been checked.

    Of `Rows` it is float32 if that holds all numbers of their dtype; of an array float64, as
    scikit-learn has it, but for float32.
    """
    if not isinstance(X, Source):
        return X.dtype
    is_exact = not isinstance(X, OfArray) and np.can_cast(X.dtype, np.float32, "safe")
    return np.dtype(np.float32 if is_exact else np.float64)


def check_X(estimator, X):
    """X as an array, CSR matrix or `Source`, checked against what was seen in fit."""
    if not is_plain(estimator, X):
        X = validate_data(
            estimator,
            X,
            accept_sparse="csr",
            dtype=DTYPES,
            ensure_all_finite=False,
            reset=False,
        )
    check_finite(estimator, X)
    return X


def is_plain(estimator, X):
    """Whether scikit-learn's checks would let X through as it is, told in a microsecond."""
    return (
        type(X) is np.ndarray
        and X.dtype in DTYPES
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and "feature_names_in_" not in estimator.__dict__
    )


def check_finite(estimator, X):
    """Refuse missing and infinite values, and name the column of the first.

    Columns of categories hold codes, or NaN, and are checked as `MLP` does it.
    """
    if isinstance(X, Source):  # its rows are looked at as they are read
        return
    if estimator.inputs is not None:
        if sparse.issparse(X):
            raise TypeError(f"X must be dense where inputs are given, got {type(X).__name__}")
        check_columns(X, check_inputs(estimator.inputs, X.shape[1]))
        return
    values = X.data if sparse.issparse(X) else X
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()) or np.isfinite(values).all():
            return
    where = sparse.coo_array(X) if sparse.issparse(X) else None
    if where is not None:
        bad = int(np.argmin(np.isfinite(where.data)))
        row, column, value = where.row[bad], where.col[bad], where.data[bad]
    else:
        row, column = np.unravel_index(int(np.argmin(np.isfinite(X))), X.shape)
        value = X[row, column]
    name = column_name(estimator, "X", column)
    what = "NaN" if np.isnan(value) else "infinity or a value too large"
    raise ValueError(
        f"Input X contains {what} in column {name}, row {row}. {type(estimator).__name__} does "
        "not accept missing or infinite values: impute them or drop their rows first."
    )


def column_name(estimator, what, column):
    """How a column of X or y is called in messages."""
    names = getattr(estimator, "feature_names_in_", None)
    return str(column) if names is None or what == "y" else repr(str(names[column]))


def check_sample_weight(sample_weight, X):
    """Weights of the rows of X as float64."""
    with said_clearly({"sample_weight": sample_weight}):
        return validation._check_sample_weight(sample_weight, X, dtype=np.float64)


@contextmanager
def said_clearly(numbers):
    """Say in the place of scikit-learn's or NumPy's error what is no number, and where.

    Parameters
    ----------
    numbers : dict of str to array_like
        Arguments by name.
    """
    for name, values in numbers.items():
        check_unmasked(name, values)
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        for name, values in numbers.items():
            where = _first_other(values)
            if where is not None:
                raise kind(f"{name} must hold real numbers, got {where}") from None
        raise


def _first_other(values):
    """The first object that no number can be made of, and where it is; None if there is none."""
    if isinstance(values, str):
        return shown(values)
    if sparse.issparse(values):
        return None
    array = np.asarray(values, object)
    for index, value in np.ndenumerate(array):
        if not isinstance(value, _WITH_WORDS) and not _is_number(value):
            return f"{shown(value)} in {position(array, index, getattr(values, 'columns', None))}"
    return None


def _is_number(value):
    if type(value).__name__ == "NAType":  # which is missing, as scikit-learn says
        return True
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
