"""Scores, temperature and greedy selection against independent ones."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from fastmlp.tabular.calibration import fit_temperature, temper
from fastmlp.tabular.recipes import recipe_of
from fastmlp.tabular.scores import OF_CLASSES, OF_VALUES, Pinball, Score
from fastmlp.tabular.selection import choose_greedily, draw_recipe


def problem(n_classes, n=200, seed=0, rounds=False):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, n_classes))
    labels = np.array([rng.choice(n_classes, p=p) for p in np.exp(log_softmax(logits, axis=1))])
    probabilities = np.exp(log_softmax(logits, axis=1))
    if rounds:  # so that there are ties
        probabilities = np.round(probabilities, 1) + 0.01
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities, rng.uniform(0.1, 2, n)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_of_classes_are_those_of_scikit_learn(n_classes, weighted):
    metrics = pytest.importorskip("sklearn.metrics")
    labels, probabilities, weights = problem(n_classes, rounds=True)
    weights = weights if weighted else None
    found = {
        name: score.measure(labels, probabilities, weights) for name, score in OF_CLASSES.items()
    }
    predicted = probabilities.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(
        metrics.accuracy_score(labels, predicted, sample_weight=weights)
    )
    assert found["log_loss"] == pytest.approx(
        metrics.log_loss(labels, probabilities, sample_weight=weights)
    )
    one_vs_rest = [
        metrics.roc_auc_score(labels == one, probabilities[:, one], sample_weight=weights)
        for one in range(n_classes)
    ]
    wanted = one_vs_rest[1] if n_classes == 2 else np.mean(one_vs_rest)
    assert found["auc"] == pytest.approx(wanted)


def test_area_of_one_class_is_not_a_number():
    assert np.isnan(OF_CLASSES["auc"].measure(np.zeros(3, int), np.full((3, 2), 0.5), None))


def test_scores_of_values_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    y, predicted, weights = rng.normal(size=50), rng.normal(size=50), rng.uniform(0.1, 1, 50)
    assert OF_VALUES["rmse"].measure(y, predicted, weights) == pytest.approx(
        metrics.root_mean_squared_error(y, predicted, sample_weight=weights)
    )
    levels = (0.1, 0.5, 0.8)
    quantiles = rng.normal(size=(50, 3))
    wanted = [
        metrics.mean_pinball_loss(y, quantiles[:, j], alpha=q, sample_weight=weights)
        for j, q in enumerate(levels)
    ]
    assert Pinball(levels)(y, quantiles, weights) == pytest.approx(np.mean(wanted))


def test_a_gain_is_larger_for_the_better():
    labels, probabilities, _ = problem(3)
    for score in OF_CLASSES.values():
        good = score.gain(labels, np.eye(3)[labels] * 0.9 + 0.1 / 3, None)
        assert good > score.gain(labels, probabilities, None)
        assert np.isnan(score.gain(labels, np.full_like(probabilities, np.nan), None))
    assert Score("x", lambda *_: 2.0, larger_is_better=False).gain(0, np.zeros(1), None) == -2


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_temperature_is_that_of_scipys_minimizer(n_classes, factor, weighted):
    labels, probabilities, weights = problem(n_classes, n=500)
    sharp = temper(probabilities, 1 / factor)
    weights = weights if weighted else None
    logits = np.log(sharp)

    def log_loss(temperature):
        logs = log_softmax(logits / temperature, axis=1)
        return -np.average(logs[np.arange(len(labels)), labels], weights=weights)

    wanted = minimize_scalar(log_loss, bounds=(0.05, 20), options={"xatol": 1e-9}).x
    found = fit_temperature(sharp, labels, weights)
    assert found == pytest.approx(wanted, rel=1e-4)
    assert found == pytest.approx(factor, rel=0.25)  # the labels were drawn from them
    tempered = temper(sharp, found)
    np.testing.assert_allclose(tempered.sum(axis=1), 1)
    np.testing.assert_array_equal(tempered.argmax(axis=1), sharp.argmax(axis=1))


def test_a_weight_of_two_is_a_row_twice_for_the_temperature():
    labels, probabilities, _ = problem(3, n=60)
    counts = np.random.default_rng(1).integers(0, 3, 60)
    rows = np.repeat(np.arange(60), counts)
    assert fit_temperature(probabilities, labels, counts) == pytest.approx(
        fit_temperature(probabilities[rows], labels[rows])
    )


@pytest.mark.parametrize(("right", "limit"), [(True, 1 / 20), (False, 20)])
def test_temperature_stays_within_limits_where_rows_are_all_right_or_wrong(right, limit):
    labels = np.array([0, 1, 0, 1])
    probabilities = np.array([[0.8, 0.2], [0.2, 0.8]] * 2)[:, :: 1 if right else -1]
    assert fit_temperature(probabilities, labels) == pytest.approx(limit, rel=1e-6)


def test_greedy_selection_against_all_ensembles():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=30)
        candidates = [y + rng.normal(size=30) * rng.uniform(0.5, 2) for _ in range(4)]

        def gain(values, y=y):
            return -np.mean((values - y) ** 2)

        shares, best = choose_greedily(candidates, gain, most=3)
        assert shares.sum() == pytest.approx(1)
        mean = sum(share * one for share, one in zip(shares, candidates, strict=True))
        assert gain(mean) == pytest.approx(best)
        assert best >= max(map(gain, candidates))
        chosen, found = [], []  # each step by trying all candidates
        for _ in range(3):
            tried = [gain(np.mean([candidates[i] for i in [*chosen, j]], axis=0)) for j in range(4)]
            chosen.append(int(np.argmax(tried)))
            found.append(max(tried))
        assert best == pytest.approx(max(found))
        of_all = max(
            gain(np.mean([candidates[i] for i in several], axis=0))
            for size in (1, 2, 3)
            for several in itertools.combinations_with_replacement(range(4), size)
        )
        assert best <= of_all + 1e-12


def test_selection_finds_the_shares_that_cancel_errors():
    y, error = np.arange(5.0), np.array([1.0, -1.0, 2.0, 0.5, -0.5])
    candidates = [y + error, y + 2, y - 3 * error]
    shares, best = choose_greedily(candidates, lambda p: -np.abs(p - y).mean())
    np.testing.assert_allclose(shares, [0.75, 0, 0.25])
    assert best == pytest.approx(0, abs=1e-12)


def test_selection_takes_no_candidate_that_is_not_finite():
    shares, best = choose_greedily(
        [np.array([np.nan]), np.array([1.0])], lambda p: -abs(float(p[0]) - 1)
    )
    np.testing.assert_array_equal(shares, [0, 1])
    assert best == 0


def test_drawn_recipes_differ_and_can_be_built():
    recipe = recipe_of("realmlp", True, hidden_layer_sizes=(16, 16))
    rng = np.random.default_rng(0)
    drawn = [draw_recipe(recipe, rng) for _ in range(20)]
    assert len({one.learning_rate for one in drawn}) == 20
    assert len({one.hidden_layer_sizes for one in drawn}) == 3
    for one in drawn:
        assert 0.4 <= one.learning_rate / recipe.learning_rate <= 2.5
        one.options(one.network(3, None, 2, "softmax", 0))
