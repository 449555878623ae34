"""Ensembles out of many candidates, and candidates at random."""

from dataclasses import replace

import numpy as np

# Members of an ensemble that are chosen one by one, repeats included.
_MOST_CHOSEN = 32


def choose_greedily(candidates, gain, most=_MOST_CHOSEN):
    """Shares of candidates in an ensemble that predicts well, chosen one by one.

    Caruana et al., "Ensemble selection from libraries of models", ICML 2004: to the mean of those
    chosen so far comes the candidate with which it is best, the same one also more than once. Of
    all ensembles on this way the best one is returned, the first of several: it is never worse than
    the best candidate.

    Parameters
    ----------
    candidates : sequence of ndarray
        Predictions of each for the same rows.
    gain : callable
        How good such predictions are; larger is better.
    most : int, default 32
        How often one is chosen.

    Returns
    -------
    shares : ndarray, (n_candidates,)
        They sum to 1.
    best : float
        The gain of that ensemble.
    """
    counts = np.zeros(len(candidates), np.int64)
    total: np.ndarray | float = 0.0
    best, shares = -np.inf, np.zeros(len(candidates))
    for n_chosen in range(1, most + 1):
        gains = [_or_worst(gain((total + one) / n_chosen)) for one in candidates]
        chosen = int(np.argmax(gains))
        total = total + candidates[chosen]
        counts[chosen] += 1
        if gains[chosen] > best:
            best, shares = gains[chosen], counts / n_chosen
    return shares, best


def _or_worst(gain):
    return gain if gain == gain else -np.inf


def draw_recipe(recipe, rng):
    """A recipe like the one given, with hyperparameters drawn at random.

    Learning rates are log-uniform within a factor of 2.5 of the recipe's own, and weight decay,
    smoothing and the input scale are on or off; layers are fewer and wider or more and narrower;
    dropout and the embedding of numbers are among those of the papers. That TabPack draws
    hyperparameters so, and selects greedily, is in arXiv:2607.05380.

    Parameters
    ----------
    recipe : Recipe
    rng : numpy.random.Generator
    """
    width, depth = recipe.hidden_layer_sizes[0], len(recipe.hidden_layer_sizes)
    sizes = [(width,) * depth, (width // 2 or 1,) * (depth + 1), (2 * width,) * max(1, depth - 1)]
    drawn = {
        "hidden_layer_sizes": sizes[rng.integers(len(sizes))],
        "learning_rate": recipe.learning_rate * np.exp(rng.uniform(np.log(0.4), np.log(2.5))),
        "weight_decay": rng.choice([0.0, recipe.weight_decay]).item(),
        "dropout": rng.choice([0.0, 0.15, 0.3]).item(),
        "smoothing": rng.choice([0.0, recipe.smoothing]).item(),
        "embedding": [None, "periodic", "piecewise_linear"][rng.integers(3)],
        "input_scale": bool(rng.integers(2)),
    }
    return replace(recipe, **drawn)
