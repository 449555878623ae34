"""Losses that users write: a pair of compiled functions, checked before anything goes by them."""

import math
import zlib
from numbers import Real
from types import CodeType
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core.errors import NumbaError
from numba.extending import is_jitted

# Whether numba.njit leaves functions as they are.
_INTERPRETED = bool(getattr(numba.config, "DISABLE_JIT", False))

# Rows whose gradients are compared with differences.
_N_ROWS = 5

# Steps of differences, relative to an output: the cube root of float64's rounding.
_STEP = 6e-6

# Share of the largest slope that differences may be off by.
_TOLERANCE = 1e-4

_PAIR = (
    "loss must be a name, or a pair of functions that numba.njit has compiled: (value, gradient), "
    "each of one row's outputs and targets"
)

# Losses whose gradients have been compared, with the outputs and targets they are of.
_compared: set[tuple] = set()


class CustomLoss(NamedTuple):
    """A loss of one row, and its gradient with respect to the row's outputs.

    Attributes
    ----------
    value : callable
        ``value(output, target)``, of two vectors, is a number.
    gradient : callable
        ``gradient(output, target)`` is a vector like `output`.
    """

    value: Any
    gradient: Any

    def __str__(self):
        return f"({', '.join(map(_name_of, self))})"

    def identity(self):
        """What tells it from others: the functions' names and the checksums of their code."""
        codes = [_plain(function).__code__ for function in self]
        return [
            str(self),
            *(zlib.crc32(code.co_code + repr(code.co_consts).encode()) for code in codes),
        ]


def as_custom_loss(loss) -> CustomLoss:
    """Check that a loss that is no name is a pair of compiled functions."""
    if not isinstance(loss, tuple | list) or len(loss) != 2:
        raise TypeError(f"{_PAIR}; got {loss!r}")
    for what, function in zip(CustomLoss._fields, loss, strict=True):
        if not (is_jitted(function) or (_INTERPRETED and callable(function))):
            raise TypeError(f"{_PAIR}; the {what} is {function!r}")
    return CustomLoss(*loss)


def _plain(function):
    """The function that was compiled."""
    return getattr(function, "py_func", function)


def _checksum_of(function):
    """Checksum of what a function does and the constants in it, the same in each process."""
    code = _plain(function).__code__
    constants = [one for one in code.co_consts if not isinstance(one, CodeType)]
    return zlib.crc32(code.co_code + repr(constants).encode())


def _name_of(function):
    return getattr(_plain(function), "__name__", type(function).__name__)


def compare_with_differences(loss, output, n_outputs, Y):
    """Refuse a loss whose gradient is not that of its value, for some outputs and targets.

    Outputs are drawn with a seed, of those that the output activation may give; targets are rows of
    Y. Differences are central ones, in float64. A loss is compared once in a process.

    Parameters
    ----------
    loss : CustomLoss
    output : str
        Activation of the output layer.
    n_outputs : int
    Y : ndarray (n, n_target)

    Raises
    ------
    ValueError, TypeError
        If the functions do not take such vectors, give something else than they should, change what
        they are given, or do not go together.
    """
    key = loss, output, n_outputs, Y.shape[1]
    if key in _compared:
        return
    rng = np.random.default_rng(0)
    targets = Y[rng.integers(0, len(Y), _N_ROWS)].astype(np.float64)
    outputs = _in_range(output, rng.normal(size=(_N_ROWS, n_outputs)))
    for one, target in zip(outputs, targets, strict=True):
        slopes = _called(loss, "gradient", one, target)
        if not isinstance(slopes, np.ndarray) or slopes.shape != (n_outputs,):
            raise ValueError(
                f"loss must have a gradient that is an array ({n_outputs},), one number for each "
                f"output, got {slopes!r}"
            )
        found, noise = np.empty(n_outputs), 0.0
        for j in range(n_outputs):
            step = _STEP * max(1.0, abs(one[j]))
            ends = []
            for side in (-step, step):
                moved = one.copy()
                moved[j] += side
                ends.append(_number(_called(loss, "value", moved, target)))
            found[j] = (ends[1] - ends[0]) / (2 * step)
            noise = max(noise, 10 * np.finfo(np.float64).eps * max(map(abs, ends)) / step)
        allowed = _TOLERANCE * np.abs(found).max() + noise + 1e-9
        if not np.abs(slopes - found).max() <= allowed:
            raise ValueError(
                f"loss must have the gradient of its value: for the outputs {_shown(one)} and the "
                f"targets {_shown(target)} it is {_shown(slopes)}, but differences of the value "
                f"say {_shown(found)}"
            )
    _compared.add(key)


def _in_range(output, z):
    """Numbers (n, n_outputs) such as the output activation gives, and far from its kinks."""
    output = output.partition("(")[0]
    if output in ("relu", "softplus", "exponential"):
        return np.exp(z)
    if output == "sigmoid":
        return 1 / (1 + np.exp(-z))
    if output == "tanh":
        return np.tanh(z)
    if output == "softmax":
        shares = np.exp(z)
        return shares / shares.sum(axis=1, keepdims=True)
    return z


def _called(loss, what, output, target):
    """What one of the functions gives for copies of these, which it must not change."""
    given = output.copy(), target.copy()
    try:
        found = getattr(loss, what)(*given)
    except NumbaError as error:
        raise TypeError(
            f"loss must have a {what} that takes two vectors of float64 or float32, which numba "
            f"cannot compile {_name_of(getattr(loss, what))} for: {str(error).strip()}"
        ) from None
    if not all(map(np.array_equal, given, (output, target))):
        raise ValueError(f"loss must have a {what} that leaves the outputs and targets as they are")
    return found


def _number(value):
    if not (isinstance(value, Real) and math.isfinite(value)):
        raise ValueError(
            f"loss must have a value that is one finite number for a row, got {value!r}"
        )
    return float(value)


def _shown(vector):
    return f"[{', '.join(f'{number:.6g}' for number in vector)}]"
