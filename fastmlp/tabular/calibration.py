"""The temperature that makes probabilities as sure as they are right."""

import numpy as np

# Inverse temperatures are looked for between these: beyond them the rows tell nothing, such as
# where each is classified right.
_COLDEST, _HOTTEST = 20.0, 0.05

# Probabilities are taken for no less than this.
SMALLEST = 1e-15


def temper(probabilities, temperature):
    """Probabilities (n, n_classes) of logits that are divided by the temperature."""
    if temperature == 1:
        return probabilities
    logits = np.log(np.maximum(probabilities, SMALLEST)) / temperature
    np.exp(logits - logits.max(axis=1, keepdims=True), out=logits)
    return logits / logits.sum(axis=1, keepdims=True)


def fit_temperature(probabilities, labels, weights=None):
    """The temperature by which `temper` gives the smallest log loss.

    Guo et al., "On calibration of modern neural networks", ICML 2017. The log loss is convex in the
    inverse temperature, so that its slope has one zero, which is found by Newton's method within
    an interval that halves where a step would leave it.

    Parameters
    ----------
    probabilities : array_like, (n, n_classes)
        Of rows that their networks have not seen.
    labels : array_like of int, (n,)
        Numbers of their classes.
    weights : array_like, (n,), or None, default None

    Returns
    -------
    float
        Within 1/20 and 20.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST))
    weights = np.ones(len(logits)) if weights is None else np.asarray(weights, np.float64)
    weights = weights / weights.sum()
    of_class = np.take_along_axis(logits, np.asarray(labels)[:, np.newaxis], axis=1)[:, 0]
    low, high, inverse = _HOTTEST, _COLDEST, 1.0
    for _ in range(100):
        shares = np.exp(inverse * (logits - logits.max(axis=1, keepdims=True)))
        shares /= shares.sum(axis=1, keepdims=True)
        mean = (shares * logits).sum(axis=1)
        slope = weights @ (mean - of_class)
        curvature = weights @ ((shares * logits**2).sum(axis=1) - mean**2)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = slope / curvature if curvature > 0 else np.inf
        proposed = inverse - step
        if not low < proposed < high:
            proposed = (low + high) / 2
        if abs(proposed - inverse) <= 1e-12 * inverse:
            break
        inverse = proposed
    return float(1 / inverse)
