"""scikit-learn's checks of data, without what they let through or leave unsaid."""

from contextlib import contextmanager
from numbers import Number

import numpy as np
from scipy import sparse
from sklearn.utils import validation

from fastmlp.feature_names import shown
from fastmlp.validation import check_unmasked, position

# Of these scikit-learn has words of its own where they are no real numbers, as its checks want it.
_WITH_WORDS = (Number, dict, type(None))


def validate_data(estimator, X, y="no_validation", **options):
    """Do what scikit-learn's function of this name does; refuse masks, and name what is text."""
    check_unmasked("y", y)
    numbers = {"X": X, "y": y} if options.get("y_numeric") else {"X": X}
    # Rounding to float64 may raise in the caller's state; what overflows is refused by its place.
    with said_clearly(numbers), np.errstate(over="ignore", under="ignore"):
        return validation.validate_data(estimator, X, y, **options)


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
