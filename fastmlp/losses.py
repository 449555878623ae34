"""Losses by name: which outputs they go with, and which targets they take."""

import functools
from collections.abc import Callable

import numpy as np

from fastmlp.kernels import codes
from fastmlp.validation import (
    as_real,
    check_known,
    check_number,
    parse_name,
    rounded,
)

LOSSES = {
    "squared_error": codes.SQUARED_ERROR,
    "absolute_error": codes.ABSOLUTE_ERROR,
    "huber": codes.HUBER,
    "logistic": codes.LOGISTIC,
    "hinge": codes.HINGE,
    "binary_cross_entropy": codes.FUSED_BINARY_CROSS_ENTROPY,
    "cross_entropy": codes.FUSED_CROSS_ENTROPY,
    "poisson": codes.POISSON,
    "quantile": codes.QUANTILE,
}

# Losses with a parameter, and its default: Huber's transition in units of the target; the
# quantile, where one half is half the absolute error.
LOSS_PARAMETERS = {"huber": ("delta", 1.0), "quantile": ("q", 0.5)}

_NAMES = ("auto", *LOSSES)
_AUTO_LOSS = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}

# Outputs that cannot be negative, so that no sign can be read off them.
_NOT_NEGATIVE = ("relu", "sigmoid", "softplus", "exponential", "softmax")
_POSITIVE = ("sigmoid", "softplus", "exponential", "softmax")


def check_loss(loss, output):
    """Check a loss against the output activation.

    Returns
    -------
    (str, int, float)
        Name, kernel code and parameter.
    """
    if not isinstance(loss, str):
        check_known("loss", loss, _NAMES)
    output = output.partition("(")[0]
    if loss == "auto":
        loss = _AUTO_LOSS.get(output, "squared_error")
    names = {name: parameter for name, (parameter, _) in LOSS_PARAMETERS.items()}
    name, parameter = parse_name("loss", loss, _NAMES, names)
    if parameter is None:
        parameter = LOSS_PARAMETERS.get(name, ("", 0.0))[1]
    if name == "huber":
        check_number("delta of huber", parameter, "a positive number", lambda x: x > 0)
    if name == "quantile":
        check_number("q of quantile", parameter, "in [0, 1]", lambda x: 0 <= x <= 1)
    for fits, reason in (
        (name != "cross_entropy" or output == "softmax", "a softmax output"),
        (name != "binary_cross_entropy" or output == "sigmoid", "a sigmoid output"),
        (
            name not in ("logistic", "hinge") or output not in _NOT_NEGATIVE,
            "an output that can be negative, such as identity or tanh",
        ),
        (
            name != "poisson" or output in _POSITIVE,
            "an output that is positive, such as exponential or softplus",
        ),
    ):
        if not fits:
            raise ValueError(f"loss {name!r} needs {reason}, got the output {output!r}")
    return name, LOSSES[name], parameter


def as_targets(y, loss, n_rows, n_out, dtype):
    """Check the kind and the shape of a loss's targets; `check_values` looks at their values.

    Returns
    -------
    given : ndarray
        y as an array.
    Y : ndarray, (n,) or (n, n_out), of `dtype`
        C-contiguous; (n,) for class indices and for one output.
    by_index : bool
        Whether Y holds class indices.
    """
    ready = type(y) is np.ndarray and y.dtype is dtype and y.flags.c_contiguous
    given = y if ready else as_real("y", y)
    shape = given.shape
    by_index = loss == "cross_entropy" and len(shape) == 1
    n_target = 1 if by_index else n_out
    is_vector = n_target == 1 and len(shape) == 1
    if shape != ((n_rows,) if is_vector else (n_rows, n_target)):
        shapes = f"({n_rows},)" if n_out == 1 else f"({n_rows}, {n_out})"
        if loss == "cross_entropy" and n_out > 1:
            shapes = f"({n_rows},) for class indices or {shapes} for probabilities"
        raise ValueError(
            f"y must have the shape {shapes}, to go with X and the outputs, got {np.shape(y)}"
        )
    Y = given if ready else rounded(given, dtype)
    return given, Y if is_vector or n_target > 1 else Y[:, 0], by_index


def needs_finite(given, by_index, loss):
    """Whether `check_values` has to be given finite targets."""
    return given.dtype.kind == "f" if by_index else loss in _CHECKS


def check_values(given, Y, by_index, loss, n_out):
    """Refuse targets, as `as_targets` returns them, that the loss does not take.

    They are finite if they need to be; see `needs_finite`.
    """
    if by_index:
        _check_class_indices(given, n_out)
    elif loss in _CHECKS:
        _CHECKS[loss](Y)


def _check_class_indices(indices, n_classes):
    if indices.dtype.kind == "f" and not np.array_equal(indices, np.trunc(indices)):
        raise ValueError("y must hold whole class indices for cross_entropy, got fractions")
    _check_range(indices, 0, n_classes - 1, "class indices")


def _check_distributions(Y):
    _check_probabilities(Y)
    sums = Y.reshape(len(Y), -1).sum(axis=1, dtype=np.float64)
    worst = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[worst] - 1) > 1e-3:
        raise ValueError(
            f"y must hold probabilities that sum to 1 in each row, row {worst} sums to "
            f"{sums[worst]:g}"
        )


def _check_probabilities(Y):
    _check_range(Y, 0, 1, "probabilities")


def _check_counts(Y):
    _check_range(Y, 0, np.inf, "counts")


def _check_labels(Y, loss):
    is_label = np.isin(Y, (-1, 1))
    if not is_label.all():
        raise ValueError(f"y must hold the labels 1 and -1 for {loss}, got {Y[~is_label][0]:g}")


_CHECKS: dict[str, Callable[[np.ndarray], None]] = {
    "cross_entropy": _check_distributions,
    "binary_cross_entropy": _check_probabilities,
    "poisson": _check_counts,
    "logistic": functools.partial(_check_labels, loss="logistic"),
    "hinge": functools.partial(_check_labels, loss="hinge"),
}


def _check_range(values, lowest, highest, what):
    # Unlike min() and max(), these two do not take a microsecond each for a short array.
    low, high = values.item(values.argmin()), values.item(values.argmax())
    if low < lowest or high > highest:
        given = values.min() if low < lowest else values.max()
        raise ValueError(f"y must hold {what} from {lowest} to {highest}, got {given}")
