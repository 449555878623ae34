"""Losses by name: which outputs they go with, and which targets they take."""

import functools
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from fastmlp.custom_losses import as_custom_loss
from fastmlp.kernels import codes
from fastmlp.validation import check_known, check_number, parse_name

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
# quantile, where one half is half the absolute error, or one for each output; the label smoothing
# of cross-entropy.
LOSS_PARAMETERS = {
    "huber": ("delta", 1.0),
    "quantile": ("q", 0.5),
    "cross_entropy": ("smoothing", 0.0),
}

_NAMES = ("auto", *LOSSES)
_AUTO_LOSS = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}

# Outputs that cannot be negative, so that no sign can be read off them.
_NOT_NEGATIVE = ("relu", "sigmoid", "softplus", "exponential", "softmax")
_POSITIVE = ("sigmoid", "softplus", "exponential", "softmax")


def parse_loss(loss, known=_NAMES):
    """Split a loss into its name, one of the `known`, and a tuple of what parameters are given."""
    names = {name: parameter for name, (parameter, _) in LOSS_PARAMETERS.items()}
    return parse_name("loss", loss, known, names, several=("quantile",))


def check_loss(loss, output, n_outputs):
    """Check a loss against the output activation and the number of outputs.

    Returns
    -------
    (str or CustomLoss, int, tuple of float)
        Name or functions, kernel code and parameters: one, or a level of quantiles for each output.
        That of functions is the number of outputs.
    """
    if isinstance(loss, tuple | list) or callable(loss):
        return as_custom_loss(loss), codes.CUSTOM, (float(n_outputs),)
    if not isinstance(loss, str):
        check_known("loss", loss, _NAMES)
    output = output.partition("(")[0]
    if loss == "auto":
        loss = _AUTO_LOSS.get(output, "squared_error")
    name, parameters = parse_loss(loss)
    if not parameters:
        parameters = (LOSS_PARAMETERS.get(name, ("", 0.0))[1],)
    if name == "huber":
        check_number("delta of huber", parameters[0], "a positive number", lambda x: x > 0)
    if name == "quantile":
        _check_levels(parameters, n_outputs)
    if name == "cross_entropy":
        check_number("smoothing of cross_entropy", parameters[0], "in [0, 1)", lambda x: 0 <= x < 1)
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
    return name, LOSSES[name], parameters


def _check_levels(levels, n_outputs):
    for level in levels:
        check_number("q of quantile", level, "in [0, 1]", lambda x: 0 <= x <= 1)
    if any(after <= before for before, after in pairwise(levels)):
        shown = ", ".join(f"{level:g}" for level in levels)
        raise ValueError(f"levels of quantile must ascend, got {shown}")
    if len(levels) not in (1, n_outputs):
        raise ValueError(
            f"quantile must have one level, or as many as there are outputs, {n_outputs}, got "
            f"{len(levels)}"
        )


def choose_targets(shape, code, n_rows, n_out):
    """Check the shape of a loss's targets; choose between class indices and probabilities.

    Returns
    -------
    (int, int)
        Code of the loss, and columns of the target.
    """
    if code == codes.CUSTOM:
        return code, _count_targets(shape, (n_rows,))
    categorical = code == codes.FUSED_CROSS_ENTROPY
    if categorical and len(shape) == 1:
        code = codes.FUSED_CROSS_ENTROPY_INDICES
    n_target = 1 if code == codes.FUSED_CROSS_ENTROPY_INDICES else n_out
    is_vector = n_target == 1 and len(shape) == 1
    if shape != ((n_rows,) if is_vector else (n_rows, n_target)):
        shapes = f"({n_rows},)" if n_out == 1 else f"({n_rows}, {n_out})"
        if categorical and n_out > 1:
            shapes = f"({n_rows},) for class indices or {shapes} for probabilities"
        raise ValueError(
            f"y must have the shape {shapes}, to go with X and the outputs, got {shape}"
        )
    return code, n_target


def _count_targets(shape, rows):
    """Columns of targets with this shape, of a loss that takes any number of them."""
    if shape[: len(rows)] == rows and len(shape) <= len(rows) + 1:
        n_target = shape[len(rows)] if len(shape) > len(rows) else 1
        if n_target:
            return n_target
    shown = ", ".join(map(str, rows))
    raise ValueError(
        f"y must have the shape ({shown}{',' if len(rows) == 1 else ''}), or ({shown}, n) for n "
        f"targets of each, to go with X, got {shape}"
    )


def choose_step_targets(shape, code, n_rows, n_steps, n_out):
    """Do what `choose_targets` does for targets of each step of sequences."""
    steps = n_rows, n_steps
    if code == codes.CUSTOM:
        return code, _count_targets(shape, steps)
    categorical = code == codes.FUSED_CROSS_ENTROPY
    if shape[:2] == steps and (shape[2:] == (n_out,) or (len(shape) == 2 and n_out == 1)):
        return code, n_out
    if categorical and shape == steps:
        return codes.FUSED_CROSS_ENTROPY_INDICES, 1
    shapes = f"({n_rows}, {n_steps}, {n_out})"
    if categorical:
        shapes = f"({n_rows}, {n_steps}) for class indices or {shapes} for probabilities"
    raise ValueError(
        f"y must have the shape {shapes}, to go with each step of X and the outputs, got {shape}"
    )


def needs_finite(given, code):
    """Whether `check_values` has to be given finite targets: only class indices may be integers."""
    return code != codes.FUSED_CROSS_ENTROPY_INDICES or given.dtype.kind == "f"


def check_values(given, Y, code, n_out):
    """Refuse targets that a loss of those `CHECKED` does not take.

    Class indices are looked at as they were `given`, others in the network's dtype, as `Y`. They
    are finite if they need to be; see `needs_finite`.
    """
    if code == codes.FUSED_CROSS_ENTROPY_INDICES:
        _check_class_indices(given, n_out)
    else:
        _CHECKS[code](Y)


def _check_class_indices(indices, n_classes):
    if indices.dtype.kind == "f" and not np.array_equal(indices, np.trunc(indices)):
        raise ValueError("y must hold whole class indices for cross_entropy, got fractions")
    advice = "; fastmlp.MLPClassifier takes labels of any kind"
    _check_range(indices, 0, n_classes - 1, "class indices", advice)


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


_CHECKS: dict[int, Callable[[np.ndarray], None]] = {
    codes.FUSED_CROSS_ENTROPY: _check_distributions,
    codes.FUSED_BINARY_CROSS_ENTROPY: _check_probabilities,
    codes.POISSON: _check_counts,
    codes.LOGISTIC: functools.partial(_check_labels, loss="logistic"),
    codes.HINGE: functools.partial(_check_labels, loss="hinge"),
}

# Codes of the losses that do not take any targets.
CHECKED = frozenset((codes.FUSED_CROSS_ENTROPY_INDICES, *_CHECKS))


def _check_range(values, lowest, highest, what, advice=""):
    # Unlike min() and max(), these two do not take a microsecond each for a short array.
    low, high = values.item(values.argmin()), values.item(values.argmax())
    if low < lowest or high > highest:
        given = values.min() if low < lowest else values.max()
        raise ValueError(f"y must hold {what} from {lowest} to {highest}, got {given}{advice}")
