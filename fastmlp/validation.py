"""Checks of what users hand over. Each failure is one sentence: the argument, what it was, what
it may be."""

import functools
import math
import re
from collections.abc import Callable
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastmlp.feature_names import take_columns

# Below, float and int stand beside the abstract classes that have them, because asking these
# takes ten times as long.

# Rows are scanned for NaN this many elements at a time, so that the scan needs no memory.
_SCAN = 1 << 18


def check_number(name: str, value: Any, allowed: str, is_allowed: Callable[[Any], bool]) -> None:
    """Raise "name must be <allowed>, got <value>" unless value is finite and is_allowed(value)."""
    is_number = isinstance(value, (float, Real)) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and is_allowed(value):
        return
    error = ValueError if is_number else TypeError
    raise error(f"{name} must be {allowed}, got {value!r}")


def check_positive(name: str, value: Any) -> None:
    """Raise unless value is a finite number above 0."""
    check_number(name, value, "a positive number", lambda x: x > 0)


def check_not_negative(name: str, value: Any) -> None:
    """Refuse what is not a finite number from 0 up."""
    if type(value) is float and 0.0 <= value < math.inf:
        return
    check_number(name, value, "a number of at least 0", lambda x: x >= 0)


def check_count(name: str, value: Any, smallest: int = 1) -> None:
    """Raise unless value is an integer of at least `smallest`."""
    is_integer = isinstance(value, (int, Integral)) and not isinstance(value, bool)
    if is_integer and value >= smallest:
        return
    error = ValueError if is_integer else TypeError
    raise error(f"{name} must be an integer of at least {smallest}, got {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Raise unless value is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def is_sequence(value: Any) -> bool:
    """Whether a value has elements and is no text; an array without dimensions has none."""
    if isinstance(value, str) or getattr(value, "ndim", 1) == 0:
        return False
    return hasattr(value, "__iter__")


def check_known(name: str, value: Any, known: Any) -> None:
    """Refuse a name that is not among the `known` ones, and list them."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def parse_name(
    argument: str, text: Any, known: Any, parameters: dict[str, str], several: tuple[str, ...] = ()
) -> tuple[str, tuple[float, ...]]:
    """Split "name" or "name(value)" or "name(parameter=value)" or "name(value, value)".

    Parameters
    ----------
    argument : str
        What the user's argument is called, for messages.
    text : str
    known : collection of str
        Allowed names.
    parameters : dict
        Name of the one parameter of those that have one.
    several : tuple of str
        Names whose parameter may have several values.

    Returns
    -------
    (str, tuple of float)
        The values, none of which may be given.
    """
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be one of {', '.join(known)}, got {text!r}")
    match = re.fullmatch(r"\s*(\w+)\s*(?:\(\s*(?:(\w+)\s*=)?\s*([^()=]+?)\s*\))?\s*", text)
    name = match[1] if match else text
    check_known(argument, name, known)
    if match is None or match[3] is None:
        return name, ()
    parameter = parameters.get(name)
    if parameter is None:
        raise ValueError(f"{argument} {name!r} takes no parameter, got {text!r}")
    try:
        values = tuple(float(value) for value in match[3].split(","))
    except ValueError:
        values = ()
    most = math.inf if name in several and match[2] is None else 1
    if not 1 <= len(values) <= most or match[2] not in (None, parameter):
        raise ValueError(f"{argument} must be like '{name}({parameter}=0.5)', got {text!r}")
    return name, values


def as_generator(
    seed: Any, name: str = "seed", allowed: str = "None or an integer from 0 up"
) -> np.random.Generator:
    """Check a seed; return the generator of random numbers that it stands for."""
    try:
        if not isinstance(seed, bool):  # which is 1 to NumPy
            return np.random.default_rng(seed)
    except ValueError:
        raise ValueError(f"{name} must be {allowed}, got {seed!r}") from None
    except TypeError:
        pass
    raise TypeError(f"{name} must be {allowed}, got {seed!r}")


def as_array(
    name: str, values: Any, dtype: np.dtype, feature_names: tuple[str, ...] | None = None
) -> np.ndarray:
    """Make an array of real numbers C-contiguous and of `dtype`, without a needless copy.

    `feature_names` are those of the columns to take from a data frame. Nobody looks for NaN and
    infinite values here.
    """
    # Most arrays are ready for kernels, which is told in a tenth of a microsecond.
    if type(values) is np.ndarray and values.dtype is dtype and values.flags.c_contiguous:
        return values
    return rounded(as_real(name, take_columns(name, values, feature_names)), dtype)


def check_rows_shape(name: str, shape: tuple[int, ...], n_columns: int) -> None:
    """Raise unless it is the shape of a matrix with rows, and with `n_columns` columns."""
    if len(shape) != 2 or shape[1] != n_columns:
        raise ValueError(
            f"{name} must have the shape (n, {n_columns}), one column for each input, got {shape}"
        )
    if shape[0] == 0:
        raise ValueError(f"{name} must have at least one row, got {shape}")


def rounded(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Make an array C-contiguous and of `dtype`, without a needless copy."""
    if array.dtype == dtype or array.dtype.kind != "f":
        return np.asarray(array, dtype, order="C")
    # What overflows is infinite, and refused in a sentence; what is rounded to 0 is small.
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(array, dtype, order="C")


def read_only(array: np.ndarray) -> np.ndarray:
    """View that Numba types as read-only, whatever the caller's flags: one specialization."""
    view = array.view()
    view.setflags(write=False)
    return view


def check_finite(name: str, array: np.ndarray, first: int | None = None) -> None:
    """Refuse an array with NaN or infinite values, naming the first of them.

    `first` is the number of the first row of a matrix that is a part of another.
    """
    flat = array.reshape(-1)
    for start in range(0, flat.size, _SCAN):
        part = flat[start : start + _SCAN]
        # One bad value makes the sum bad, which costs a fraction of np.isfinite. No dot product:
        # it would wake BLAS's threads, which spin on for a while and get in ours' way.
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not math.isfinite(part.sum())
        if suspicious and not np.isfinite(part).all():
            where = start + int(np.argmin(np.isfinite(part)))
            index = tuple(int(i) for i in np.unravel_index(where, array.shape))
            shown = f"at index {index[0] if len(index) == 1 else index}"
            if first is not None:
                shown = f"in column {index[1]}, row {first + index[0]}"
            raise ValueError(f"{name} must be finite, got {flat[where]} {shown}")


def as_weights(values: Any, n_rows: int, dtype: np.dtype) -> np.ndarray:
    """Check sample weights; return them with mean 1, or an empty array for None, read-only."""
    if values is None:
        return no_weights(dtype)
    array = as_real("sample_weight", values)
    if array.shape != (n_rows,):
        raise ValueError(
            f"sample_weight must have the shape ({n_rows},), one for each row of X, "
            f"got {array.shape}"
        )
    weights = array.astype(np.float64)
    check_finite("sample_weight", weights)
    if weights.min() < 0:
        raise ValueError(f"sample_weight must not be negative, got {weights.min()}")
    if weights.max() == 0:
        raise ValueError("sample_weight must not be 0 for all samples, got all zeros")
    with np.errstate(under="ignore"):
        weights /= weights.max()  # now their sum cannot overflow
        return read_only((weights * (n_rows / weights.sum())).astype(dtype))


@functools.cache
def no_weights(dtype: np.dtype) -> np.ndarray:
    """Weights of samples that have none: empty and read-only."""
    return read_only(np.empty(0, dtype))


def check_unmasked(name: str, values: Any) -> None:
    """Refuse masked values, in an array or in a list of them: NumPy would drop the mask."""
    members = values if isinstance(values, list | tuple) else (values,)
    if any(isinstance(one, np.ma.MaskedArray) and np.ma.is_masked(one) for one in members):
        raise ValueError(f"{name} must not have masked values")


def as_real(name: str, values: Any, first: int = 0) -> np.ndarray:
    """Refuse what is no array of real numbers, all of them present; return it as an array.

    `first` is the number of the first row, for the message.
    """
    array = values if type(values) is np.ndarray else _as_array(name, values, first)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got an array of dtype {array.dtype}")
    return array


def _as_array(name, values, first=0):
    check_unmasked(name, values)
    try:
        array = np.asarray(values)
    except ValueError as error:  # ragged nested lists
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    if array.dtype.kind == "O" and hasattr(values, "to_numpy"):
        # Columns of a frame that have no dtype of NumPy's in common, such as nullable ones.
        check_elements(name, array, getattr(values, "columns", None), first)
        return array.astype(np.float64)
    return array


def position(array: np.ndarray, index: tuple[int, ...], columns: Any = None) -> str:
    """Say where an element is: in which column, by its name if it has one, and in which row."""
    if array.ndim < 2:
        return f"row {index[0]}"
    column = str(index[-1]) if columns is None else repr(str(columns[index[-1]]))
    return f"column {column}, row {index[0]}"


def check_elements(name: str, array: np.ndarray, columns: Any = None, first: int = 0) -> None:
    """Refuse objects that are no real numbers; name the first, by its column's name if it has one.

    `first` is the number of the first row.

    Raises
    ------
    TypeError
        If it is anything but a missing value.
    ValueError
        If it is one.
    """
    table = array.reshape(len(array), -1)
    for kind in {*map(type, table.flat)}:
        if not issubclass(kind, (Real, Decimal, np.bool_)):
            break
    else:
        return
    row, column = next(
        index
        for index, value in np.ndenumerate(table)
        if not isinstance(value, (Real, Decimal, np.bool_))
    )
    value = table[row, column]
    where = position(array, (first + row, column), columns)
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        raise ValueError(f"{name} must not have missing values, got {value} in {where}")
    raise TypeError(f"{name} must hold real numbers, got {value!r} in {where}")
