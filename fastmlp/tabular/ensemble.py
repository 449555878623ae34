"""Several networks as one model: from candidates, by out-of-fold predictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.mlp import MLP
from fastmlp.tabular.encoding import Encoding
from fastmlp.tabular.recipes import Recipe, batch_rows, epochs_for
from fastmlp.tabular.selection import choose_greedily, draw_recipe
from fastmlp.tabular.training import Trained, train_networks

# Recipes that a random search draws where no time limit ends it.
_MOST_DRAWN = 16

# A candidate is begun while there is at least this part of the time left that the last one took.
_WORTH_BEGINNING = 0.5


@dataclass(eq=False)
class Ensemble:
    """Networks whose predictions are averaged.

    Attributes
    ----------
    networks : list of MLP
    shares : list of float
        Of each network in the mean, which sum to 1.
    """

    networks: list[MLP]
    shares: list[float]

    def predict(self, matrix, task, n_threads=None):
        """What the task makes of the outputs for rows of encoded columns."""
        return sum(
            share * task.decode(network.predict(matrix, n_threads=n_threads))
            for network, share in zip(self.networks, self.shares, strict=True)
        )


@dataclass(eq=False)
class Candidate:
    """Networks of one recipe, one for each fold.

    Attributes
    ----------
    recipe : Recipe
    trained : list of Trained
    known : list of Trained
        Those that have predictions for their validation rows.
    predictions : ndarray
        Of the rows of all folds' validation rows; NaN for others.
    """

    recipe: Recipe
    trained: list[Trained]
    known: list[Trained]
    predictions: np.ndarray

    @property
    def diverged(self) -> bool:
        """Whether some of its networks have, and none was interrupted."""
        was_interrupted = any(one.interrupted for one in self.trained)
        return any(one.diverged for one in self.trained) and not was_interrupted


@dataclass(eq=False)
class Problem:
    """What networks are trained on.

    Attributes
    ----------
    matrix : ndarray of float32, (n, n_columns)
    encoding : Encoding
        Which the matrix comes from.
    task : Classes, Values or Quantiles
    folds : list of Fold
        One for each network.
    weights : ndarray, (n,), or None
    gain_of : callable
        ``gain_of(rows)`` takes predictions for rows, and gives how good they are.
    epochs, batch_size : int or None
        None is by the number of rows.
    """

    matrix: np.ndarray
    encoding: Encoding
    task: Any
    folds: list
    weights: np.ndarray | None
    gain_of: Any
    epochs: int | None
    batch_size: int | None


def train_candidate(problem, recipe, rng, clock, report, n_threads):
    """Train the networks of one recipe, for each fold of a problem.

    Parameters
    ----------
    problem : Problem
    recipe : Recipe
    rng : numpy.random.Generator
        Of starting weights and shuffling.
    clock : Clock
    report : Report
    n_threads : int or None

    Returns
    -------
    Candidate
    """
    task, matrix = problem.task, problem.matrix
    rows = None if problem.weights is None else problem.weights > 0
    inputs = problem.encoding.inputs(recipe.embedding, matrix, rows)
    n_rows = max(len(fold.training) for fold in problem.folds)
    seeds = rng.integers(2**63, size=(len(problem.folds), 2)).tolist()
    networks = [
        recipe.network(matrix.shape[1], inputs, task.n_outputs, task.output, seed)
        for seed, _ in seeds
    ]
    trained = train_networks(
        networks,
        matrix,
        task.targets,
        problem.folds,
        [shuffling for _, shuffling in seeds],
        [_measure(problem, fold.validation) for fold in problem.folds],
        clock=clock,
        report=report,
        n_threads=n_threads,
        patience=recipe.patience,
        loss=task.loss(recipe),
        batch_size=problem.batch_size or batch_rows(n_rows),
        epochs=problem.epochs or epochs_for(n_rows),
        sample_weight=problem.weights,
        **recipe.options(networks[0]),
    )
    known = [one for one in trained if one.predictions is not None]
    predictions = np.full(len(matrix), np.nan)
    if known:
        rows_of = [one.fold.validation for one in known]
        of_each = [one.predictions for one in known]
        predictions = mean_by_row(len(matrix), rows_of, of_each, np.ones(len(known)))
    return Candidate(recipe, trained, known, predictions)


def _measure(problem, rows):
    """What predictions for the validation rows are made of outputs, and how good they are."""
    gain = problem.gain_of(rows)

    def measure(outputs):
        predictions = problem.task.decode(outputs)
        return predictions, gain(predictions)

    return measure


def mean_by_row(n_rows, rows_of, predictions, shares):
    """Weighted mean of the predictions that each row has; NaN where it has none.

    Parameters
    ----------
    n_rows : int
    rows_of : list of ndarray of int
        Which rows the predictions of each network are for.
    predictions : list of ndarray
        Of each network.
    shares : sequence of float
        Of each network.
    """
    shape = predictions[0].shape[1:]
    sums, counts = np.zeros((n_rows, *shape)), np.zeros(n_rows)
    for rows, one, share in zip(rows_of, predictions, shares, strict=True):
        sums[rows] += share * one
        counts[rows] += share
    with np.errstate(invalid="ignore"):
        return sums / counts.reshape(-1, *[1] * len(shape))


def search(problem, recipe, rng, clock, report, n_threads):
    """Train candidates with recipes drawn at random, and choose an ensemble of them greedily.

    The recipe given is the first. Candidates are trained until the clock says so, or, without a
    limit, until 16 were drawn; those that diverge are left out. After each one the ensemble is
    chosen anew, and is kept as it was where that is not better: it never becomes worse by more
    time.

    Returns
    -------
    candidates : list of Candidate
    shares : ndarray
        Of each in the ensemble.
    """
    candidates = [train_candidate(problem, recipe, rng, clock, report, n_threads)]
    began, shares, best = 0.0, np.ones(1), None
    n_drawn = 0
    while _goes_on(candidates, n_drawn, clock, clock.spent - began):
        began, n_drawn = clock.spent, n_drawn + 1
        drawn = draw_recipe(recipe, rng)
        candidate = train_candidate(problem, drawn, rng, clock, report, n_threads)
        rows = _rows_of_all([*candidates, candidate])
        if len(rows) < len(_rows_of_all(candidates)):
            if candidate.diverged:
                continue
            break  # the time was over before all of its networks had an epoch
        candidates.append(candidate)
        gain = problem.gain_of(rows)
        predictions = [one.predictions[rows] for one in candidates]
        if best is None:
            best = gain(predictions[0])
        proposed, reached = choose_greedily(predictions, gain)
        if reached > best:
            best, shares = reached, proposed
    return candidates, np.append(shares, np.zeros(len(candidates) - len(shares)))


def _goes_on(candidates, n_drawn, clock, seconds):
    if any(one.interrupted for one in candidates[-1].trained):
        return False
    if not len(_rows_of_all(candidates)):
        return False  # nothing to compare others with
    if clock.is_limited:
        return clock.left > _WORTH_BEGINNING * seconds
    return n_drawn < _MOST_DRAWN


def _rows_of_all(candidates):
    """Rows for which all candidates have predictions."""
    missing = [np.isnan(one.predictions.reshape(len(one.predictions), -1)) for one in candidates]
    return np.flatnonzero(~np.any([one.any(axis=1) for one in missing], axis=0))


def ensemble_of(candidates, shares):
    """The ensemble of candidates with these shares."""
    networks, weights = [], []
    for candidate, share in zip(candidates, shares, strict=True):
        for one in candidate.known if share else ():
            networks.append(one.network)
            weights.append(float(share / len(candidate.known)))
    return Ensemble(networks, weights)
