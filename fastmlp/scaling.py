"""Standardized features and targets, folded into the weights of the network that used them."""

from dataclasses import dataclass

import numpy as np

from fastmlp.inputs import Numeric, in_order
from fastmlp.losses import LOSS_PARAMETERS
from fastmlp.validation import rounded

# Of a column's standard deviation, what rounding may move its numbers by without a word.
_MOST_LOST = 0.01

# Losses that are the same in other units of the target, but for a factor.
_SCALABLE = ("squared_error", "absolute_error", "huber", "quantile")


def scales_targets(loss, output, n_outputs):
    """Whether targets are standardized, too: where outputs are any numbers, in any unit.

    Parameters
    ----------
    loss : str
        Its name, without a parameter.
    output : str
        Activation of the output layer.
    n_outputs : int
        Huber's loss has one transition for all outputs, whatever their units.
    """
    return output == "identity" and loss in _SCALABLE and not (loss == "huber" and n_outputs > 1)


@dataclass(frozen=True)
class Scaling:
    """Means and standard deviations of features, and of targets where these are scaled.

    Attributes
    ----------
    mean, scale : ndarray of float64, (n_in,)
        The scale of a constant feature is its size, but at least 1: so the bias that it is folded
        into is no difference of large numbers.
    target_mean, target_scale : ndarray of float64, (n_out,)
        0 and 1 where targets are left as they are.
    """

    mean: np.ndarray
    scale: np.ndarray
    target_mean: np.ndarray
    target_scale: np.ndarray

    @classmethod
    def of(cls, X, n_outputs, targets=None, sample_weight=None, categories=()):
        """Measure the columns of X, and of targets (n, n_outputs) if they are given.

        Columns of `categories` stay as they are.
        """
        if targets is None:
            target_mean, target_scale = np.zeros(n_outputs), np.ones(n_outputs)
        else:
            target_mean, target_scale = _measure(targets, sample_weight)
        mean, scale = _measure(X, sample_weight)
        mean[list(categories)], scale[list(categories)] = 0.0, 1.0
        return cls(mean, scale, target_mean, target_scale)

    def transform(self, X):
        """Standardize rows: a new array, C-contiguous, of X's dtype."""
        return rounded(_standardized(X, self.mean, self.scale), X.dtype)

    def transform_targets(self, targets):
        """Standardize targets (n, n_outputs), in float64."""
        return _standardized(targets, self.target_mean, self.target_scale)

    @np.errstate(all="ignore")
    def restore_targets(self, outputs):
        """Undo `transform_targets`, in the dtype of the outputs."""
        return (outputs * self.target_scale + self.target_mean).astype(outputs.dtype)

    def scale_loss(self, loss, parameters):
        """A loss, by name and parameters, for standardized targets."""
        if loss == "huber" and len(self.target_scale) == 1:
            # The transition stays where it is in units of the target.
            parameters = [float(parameters[0] / self.target_scale[0])]
        return f"{loss}({', '.join(map(repr, parameters))})" if loss in LOSS_PARAMETERS else loss

    def advice(self, dtype, names=None):
        """Say which column has hardly a digit of a dtype for its differences; None if none.

        Folded weights make a large number of each of its values, of which the bias takes nearly all
        away again.
        """
        pairs = {"X": (self.mean, self.scale), "y": (self.target_mean, self.target_scale)}
        for what, (mean, scale) in pairs.items():
            lost = np.finfo(dtype).eps * np.abs(mean) / scale
            column = int(np.argmax(lost))
            if lost[column] > _MOST_LOST:
                name = column if what == "y" or names is None else repr(names[column])
                return (
                    f"{dtype} rounds column {name} of {what} to {lost[column]:.2g} of its standard "
                    f"deviation, {scale[column]:.2g}, since its mean is {mean[column]:.4g}: "
                    "subtract a constant from it, or take float64"
                )
        return None

    def fold(self, net):
        """The network that does on raw data what `net` does on standardized data."""
        return self._changed(net, 1 / self.scale, -self.mean, self.target_scale, self.target_mean)

    def unfold(self, net):
        """Undo `fold`."""
        return self._changed(
            net,
            self.scale,
            self.mean / self.scale,
            1 / self.target_scale,
            -self.target_mean / self.target_scale,
        )

    @np.errstate(all="ignore")
    def _changed(self, net, factor, shift, target_factor, target_shift):
        _check_can_change(net, target_factor)
        # W' = factor W and b' = b + shift W', both in float64, so that rounding happens once.
        changed = net.copy()
        rows = _columns_of_rows(net)
        is_scaled, factor, shift = rows >= 0, factor[rows], shift[rows]
        factor[~is_scaled], shift[~is_scaled] = 1.0, 0.0
        first = net.weights[0].astype(np.float64) * factor[:, np.newaxis]
        bias = net.biases[0] + _shift_of_first(net, shift, first)
        if len(net.weights) == 1:
            last, last_bias = first, bias
        else:
            changed.weights[0][:] = first
            changed.biases[0][:] = bias
            last, last_bias = net.weights[-1].astype(np.float64), net.biases[-1]
        changed.weights[-1][:] = last * target_factor
        changed.biases[-1][:] = last_bias * target_factor + target_shift
        return changed


def _check_can_change(net, target_factor):
    """Refuse networks in which no weights could undo a scaling."""
    pieces, n_layers = net._pieces, len(net.weights)
    reason = None
    if any(pieces.residual[:1]):
        reason = "whose first hidden layer is residual, which adds the inputs as they are"
    elif any(isinstance(one, Numeric) and one.embedding for one in pieces.inputs):
        reason = "whose inputs have embeddings, which are of the numbers as they are"
    elif any(1 in pair for pair in pieces.tied):
        reason = "whose layer 1 is tied to another, which takes no columns of X"
    elif any(n_layers in pair for pair in pieces.tied) and (target_factor != 1).any():
        reason = "whose output layer is tied to another, which gives no targets"
    if reason is not None:
        raise ValueError(f"standardize must be False for a network {reason}: scale X before")


def _columns_of_rows(net):
    """Which column of X each row of the first layer's weights is a factor of; -1 for others."""
    entries, one_hot = in_order(net._pieces.inputs, net.layer_sizes[0])
    columns = []
    for entry in entries + one_hot:
        columns += list(entry.columns) if entry.is_as_it_is else [-1] * entry.width
    return np.array(columns)


def _shift_of_first(net, shift, weights):
    """What the biases of the first layer need where its inputs are shifted; (n_out,).

    With members it is (members, n_out). One-hot codes, which come last, have no shift.
    """
    own = dict(net.parameters)
    if "input_scale" in own:
        shift[: own["input_scale"].size] *= own["input_scale"]
    if net._pieces.members == 1:
        return _weighted_sum(shift, weights)
    inputs = own.get("member_inputs[0]", np.ones((net._pieces.members, 0)))
    shifts = np.tile(shift, (len(inputs), 1))
    shifts[:, : inputs.shape[1]] *= inputs
    each = np.broadcast_to(weights, (len(inputs), *weights.shape[-2:]))
    sums = [_weighted_sum(one, W) for one, W in zip(shifts, each, strict=True)]
    # An output layer has no such factors, and each member has its own weights there.
    return own.get("member_outputs[0]", 1.0) * np.array(sums)


def units(columns):
    """A power of two near each column's largest number, within those whose inverse is finite.

    In such a unit no square overflows or vanishes, and no digit changes.
    """
    return _units(np.abs(columns).max(axis=0))


def _units(largest):
    return np.ldexp(1.0, np.clip(np.frexp(largest)[1], -1000, 1000))


def _widen(lowest, highest, rows, weight):
    """Take in the least and the largest number of each column, of rows that have weight."""
    counted = rows if weight.all() else rows[weight > 0]
    np.minimum(lowest, counted.min(axis=0, initial=np.inf), out=lowest)
    np.maximum(highest, counted.max(axis=0, initial=-np.inf), out=highest)


@np.errstate(all="ignore")
def _standardized(columns, mean, scale):
    # Halves, because the difference of two finite numbers may overflow.
    result = np.multiply(columns, 0.5, dtype=np.float64)
    result -= 0.5 * mean
    result /= 0.5 * scale
    return result


@np.errstate(all="ignore")
def _measure(columns, sample_weight):
    """Weighted mean and standard deviation of each column, in two passes over blocks of rows."""
    weights = np.ones(columns.shape[0]) if sample_weight is None else sample_weight
    total = weights.sum()
    lowest, highest = np.full(columns.shape[1], np.inf), np.full(columns.shape[1], -np.inf)
    unit, mean = np.full(columns.shape[1], 2.0**-1000), np.zeros(columns.shape[1])
    for rows, weight in _blocks(columns, weights):
        _widen(lowest, highest, rows, weight)
        largest = np.maximum(np.abs(lowest), np.abs(highest))
        # Of a column of zeros so far there is no unit yet, nor of rows without weight.
        is_known = (largest > 0) & np.isfinite(largest)
        before, unit = unit, np.where(is_known, np.maximum(unit, _units(largest)), unit)
        mean *= before / unit  # powers of two, which change no digit
        mean += _weighted_sum(weight, rows / unit) / total
    variance = np.zeros(columns.shape[1])
    for rows, weight in _blocks(columns, weights):
        variance += _weighted_sum(weight, np.square(rows / unit - mean)) / total
    scale = np.sqrt(variance)
    # Not by the spread, which rounding may leave of a column of one number, however many rows. But
    # squares of a column may all vanish.
    constant = (lowest == highest) | (scale == 0)
    mean *= unit
    scale *= unit
    scale[constant] = np.maximum(1.0, np.abs(mean[constant]))
    return mean, scale


def _weighted_sum(weights, rows):
    """Sum of rows times weights, row by row: BLAS has another order on each machine."""
    return (weights[:, np.newaxis] * rows).sum(axis=0)


def _blocks(columns, weights):
    n_rows = max(1, (1 << 20) // max(1, columns.shape[1]))
    for start in range(0, columns.shape[0], n_rows):
        rows = columns[start : start + n_rows]
        dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
        yield dense.astype(np.float64), weights[start : start + n_rows]
