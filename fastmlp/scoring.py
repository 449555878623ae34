"""How well a network predicts."""

import numpy as np

from fastmlp.losses import check_loss
from fastmlp.sequences import is_beyond
from fastmlp.validation import as_real

# Losses of labels, of which a share is right.
_OF_LABELS = ("cross_entropy", "binary_cross_entropy", "logistic", "hinge")


@np.errstate(all="ignore")  # of a network that diverged, or of tiny errors
def score(net, X, y, *, loss="auto", lengths=None, sample_weight=None, n_threads=None):
    """How well a network predicts, in the usual measure for its loss.

    Parameters
    ----------
    net : MLP
    X, y, loss, lengths, sample_weight, n_threads
        As of `fastmlp.Objective`.

    Returns
    -------
    name : {"accuracy", "rms error", "loss"}
        The loss itself where a user has written it. Else accuracy for the losses of
        classification, cross_entropy, binary_cross_entropy (an output above one half is a yes),
        logistic and hinge (an output's sign is its label), and for others the root of the mean
        squared error. Outputs that are not finite are wrong.
    value : float
        Mean over rows, as weighted, over the steps of a row that have outputs, and over outputs.
    """
    kind, _, _ = check_loss(loss, net.output, net.layer_sizes[-1])
    options = {} if lengths is None else {"lengths": lengths}
    if not isinstance(kind, str):
        value = net.loss(
            X, y, loss=kind, sample_weight=sample_weight, n_threads=n_threads, **options
        )
        return "loss", value
    outputs = net.predict(X, n_threads=n_threads, **options)
    finite = np.isfinite(outputs)
    targets = as_real("y", y)
    if sample_weight is not None:
        sample_weight = as_real("sample_weight", sample_weight)
    if kind == "cross_entropy":
        classes = targets.argmax(axis=-1) if targets.ndim == outputs.ndim else targets
        by_output = (outputs.argmax(axis=-1) == classes) & finite.all(axis=-1)
    else:
        targets = targets.reshape(outputs.shape)
        if kind == "binary_cross_entropy":
            by_output = ((outputs > 0.5) == (targets > 0.5)) & finite
        elif kind in ("logistic", "hinge"):
            by_output = (np.sign(outputs) == targets) & finite
        else:
            by_output = np.square(outputs - targets, dtype=np.float64)
    if lengths is not None and outputs.ndim == 3:  # what is beyond them counts for nothing
        n_steps = outputs.shape[1]
        by_step = by_output.reshape(len(outputs), n_steps, -1).mean(axis=2)
        lengths = np.asarray(lengths)
        by_row = np.where(is_beyond(lengths, n_steps), 0.0, by_step).sum(axis=1) / lengths
    else:
        by_row = by_output.reshape(len(by_output), -1).mean(axis=1)
    mean = float(np.average(by_row, weights=sample_weight))
    if kind in _OF_LABELS:
        return "accuracy", mean
    return "rms error", mean**0.5


@np.errstate(all="ignore")
def score_as_estimators(
    net, X, y, *, loss="auto", lengths=None, sample_weight=None, n_threads=None
):
    """What scikit-learn's estimators call their score: the accuracy, or for numbers R².

    R² is 1 - Σ w (y - ŷ)² / Σ w (y - ȳ)² of each output, of which it is the mean. An output whose
    targets are all alike has 1 if it is exactly these, else 0.

    Parameters
    ----------
    net, X, y, loss, lengths, sample_weight, n_threads
        As of `score`. A loss that a user has written does not say what y is: the output does.
    """
    if not isinstance(loss, str):
        check_loss(loss, net.output, net.layer_sizes[-1])
        loss = "auto"
    kind, _, _ = check_loss(loss, net.output, net.layer_sizes[-1])
    options = {} if lengths is None else {"lengths": lengths}
    if kind in _OF_LABELS:
        weighted = {"loss": loss, "sample_weight": sample_weight, "n_threads": n_threads}
        return score(net, X, y, **weighted, **options)[1]
    outputs = net.predict(X, n_threads=n_threads, **options).astype(np.float64)
    targets = as_real("y", y).astype(np.float64).reshape(outputs.shape)
    weights = np.ones(len(outputs))
    if sample_weight is not None:
        weights = as_real("sample_weight", sample_weight).astype(np.float64)
    if outputs.ndim == 3:  # each step of a row counts as a row
        n_steps = outputs.shape[1]
        taken = np.ones(outputs.shape[:2], bool)
        if lengths is not None:
            taken = ~is_beyond(np.asarray(lengths), n_steps)
        outputs, targets = outputs[taken], targets[taken]
        weights = np.repeat(weights[:, np.newaxis], n_steps, axis=1)[taken]
    middle = np.average(targets, axis=0, weights=weights)
    left = weights @ np.square(targets - outputs)
    spread = weights @ np.square(targets - middle)
    ratio = np.where(spread > 0, left / np.where(spread > 0, spread, 1.0), left > 0)
    return float(np.mean(1 - ratio))
