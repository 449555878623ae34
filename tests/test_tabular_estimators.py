"""TabularClassifier and TabularRegressor: tables in, honest predictions out."""

import pickle
import re
import threading
import warnings

import numpy as np
import pytest
from marks import compiled_only

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
from scipy import sparse
from sklearn import metrics
from sklearn.base import clone
from sklearn.datasets import load_wine, make_moons
from sklearn.model_selection import GroupKFold, TimeSeriesSplit, cross_val_score

import fastmlp
from fastmlp import TabularClassifier, TabularRegressor
from fastmlp.bar import Bar
from fastmlp.tabular.frames import read_frame
from fastmlp.tabular.training import Diverged

pytestmark = compiled_only

SMALL = {"hidden_layer_sizes": (16, 16), "epochs": 30, "n_networks": 3, "random_state": 0}


def table(n=200, seed=0):
    """Rows with texts, numbers, missing values; the class goes by a colour and a number."""
    rng = np.random.default_rng(seed)
    colour = rng.choice(["red", "green", "blue"], n)
    size = rng.normal(size=n)
    other = rng.normal(size=n)
    y = np.where((colour == "red") ^ (size > 0), "yes", "no")
    X = np.empty((n, 3), object)
    X[:, 0], X[:, 1], X[:, 2] = colour, size, other
    X[rng.random(n) < 0.1, 2] = None
    return X, y


def numbers(n=150, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n, 2))
    return X, 10 + 3 * np.sin(3 * X[:, 0]) + X[:, 1] + 0.3 * rng.normal(size=n)


def classifier(**options):
    return TabularClassifier(**SMALL | options)


def regressor(**options):
    return TabularRegressor(**SMALL | options)


@pytest.fixture(scope="module")
def fitted():
    return classifier().fit(*table())


@pytest.fixture(scope="module")
def fitted_values():
    return regressor(epochs=40).fit(*numbers())


# What it is good for


def test_it_learns_a_table_of_texts_and_missing_values(fitted):
    X, y = table(seed=1)
    assert fitted.score(X, y) > 0.9
    assert fitted.oof_score_ > 0.9
    probabilities = fitted.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.classes_[probabilities.argmax(axis=1)], fitted.predict(X))


def test_unknown_categories_and_missing_values_are_predicted(fitted):
    X = np.array([["purple", 0.5, None], [None, np.nan, np.nan], ["red", np.inf, 1.0]], object)
    assert np.isfinite(fitted.predict_proba(X)).all()


def test_it_learns_values(fitted_values):
    X, y = numbers(seed=1)
    assert fitted_values.score(X, y) > 0.8
    predicted = fitted_values.predict(10 * X)
    _, y = numbers()
    assert predicted.min() >= y.min()
    assert predicted.max() <= y.max()


def test_a_table_is_the_same_in_every_container():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    X, y = table(80)
    frame = pandas.DataFrame(X, columns=["colour", "size", "other"]).astype(
        {"size": float, "other": float}
    )
    wanted = classifier(epochs=3).fit(frame, y)
    predictions = wanted.predict_proba(frame)
    assert list(wanted.feature_names_in_) == ["colour", "size", "other"]
    for other in (polars.from_pandas(frame), polars.from_pandas(frame).to_arrow()):
        found = classifier(epochs=3).fit(other, y)
        np.testing.assert_array_equal(found.predict_proba(other), predictions)
    found = classifier(epochs=3).fit(X.tolist(), list(y))
    np.testing.assert_array_equal(found.predict_proba(X.tolist()), predictions)


def test_it_says_what_columns_were_taken_for(tmp_path):
    pandas = pytest.importorskip("pandas")
    n = 40
    frame = pandas.DataFrame(
        {
            "size": np.linspace(0, 1, n),
            "shop": np.arange(n) % 3,
            "sold": np.arange(n) % 2 == 0,
            "color": pandas.Categorical(["red", "green"] * 20, ["blue", "green", "red"]),
            "day": pandas.date_range("2024-01-01", periods=n),
            "unit": "kg",
        }
    )
    model = classifier(n_networks=2, epochs=1, categorical_features=["shop"])
    assert not hasattr(model, "feature_kinds_")
    assert not hasattr(model, "categories_")
    y = np.arange(n) % 5 > 2
    for X in (frame, frame.to_numpy()):
        model.set_params(categorical_features=[1]).fit(X, y)
        model.save(tmp_path / "model.safetensors")
        for one in (model, TabularClassifier.load(tmp_path / "model.safetensors")):
            kinds = ["number", "category", "boolean", "category", "date", "constant"]
            assert one.feature_kinds_ == kinds
            wanted = [None, [0, 1, 2], [False, True], ["green", "red"], None, None]
            assert one.categories_ == wanted


# Out of fold


@pytest.mark.parametrize("n_networks", [1, 3])
def test_out_of_fold_predictions_are_those_of_networks_that_did_not_see_the_row(n_networks):
    X, y = load_wine(return_X_y=True)
    model = classifier(n_networks=n_networks, calibrate=False, epochs=5).fit(X, y)
    covered = np.zeros(len(X), int)
    for network, rows in zip(model.networks_, model._validation, strict=True):
        predicted = network.predict(model._encoding.encode(X[rows]))
        np.testing.assert_allclose(model.oof_predictions_[rows], predicted, rtol=1e-6)
        covered[rows] += 1
    if n_networks > 1:
        np.testing.assert_array_equal(covered, 1)
    assert np.isnan(model.oof_predictions_[covered == 0]).all()
    rows = np.flatnonzero(covered)
    accuracy = metrics.accuracy_score(y[rows], model.oof_predictions_[rows].argmax(axis=1))
    assert model.oof_score_ == pytest.approx(accuracy)


def test_labels_of_a_fold_are_not_known_to_its_network():
    """With random labels nothing can be learned: a leak would show in the out-of-fold score."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 4)), rng.integers(0, 2, 300)
    X = np.vstack([X, X])  # each row twice, with groups that keep them together
    groups = np.tile(np.arange(300), 2)
    y = np.tile(y, 2)
    together = classifier(scoring="log_loss").fit(X, y, groups=groups)
    apart = classifier(scoring="log_loss").fit(X, y)
    assert together.oof_score_ > 0.66
    assert apart.oof_score_ < together.oof_score_


def test_groups_and_splitters_decide_who_validates():
    X, y = numbers(90)
    groups = np.repeat(np.arange(15), 6)
    for options in ({}, {"cv": GroupKFold(3)}):
        model = regressor(epochs=2, **options).fit(X, y, groups=groups)
        for rows in model._validation:
            others = np.setdiff1d(np.arange(90), rows)
            assert not set(groups[rows]) & set(groups[others])
    model = regressor(epochs=2, cv=TimeSeriesSplit(3)).fit(X, y)
    first = min(rows.min() for rows in model._validation)
    assert first > 0
    assert np.isnan(model.oof_predictions_[:first]).all()
    assert np.isfinite(model.oof_predictions_[first:]).all()


@pytest.mark.parametrize("scoring", ["accuracy", "log_loss", "auc", "f1", "neg_log_loss", None])
def test_the_score_is_that_of_scikit_learn_on_out_of_fold_predictions(scoring):
    X, y = make_moons(120, noise=0.3, random_state=0)
    model = classifier(scoring=scoring, epochs=4).fit(X, y)
    predictions = model.oof_predictions_
    labels = predictions.argmax(axis=1)
    wanted = {
        None: lambda: metrics.accuracy_score(y, labels),
        "accuracy": lambda: metrics.accuracy_score(y, labels),
        "log_loss": lambda: metrics.log_loss(y, predictions),
        "neg_log_loss": lambda: -metrics.log_loss(y, predictions),
        "auc": lambda: metrics.roc_auc_score(y, predictions[:, 1]),
        "f1": lambda: metrics.f1_score(y, labels),
    }[scoring]()
    assert model.oof_score_ == pytest.approx(wanted)
    for one in model.history_:
        best = min(one["scores"]) if scoring == "log_loss" else max(one["scores"])
        assert one["scores"][one["best_epoch"] - 1] == best
        assert best not in one["scores"][one["best_epoch"] :]


def test_scores_of_values(fitted_values):
    _, y = numbers()
    wanted = metrics.root_mean_squared_error(y, fitted_values.oof_predictions_)
    assert fitted_values.oof_score_ == pytest.approx(wanted)
    X, y = numbers()
    model = regressor(scoring="neg_mean_absolute_error", epochs=3).fit(X, y)
    wanted = -metrics.mean_absolute_error(y, model.oof_predictions_)
    assert model.oof_score_ == pytest.approx(wanted)


def test_a_scorer_of_ones_own():
    X, y = make_moons(60, noise=0.3, random_state=0)
    rows = []

    def scorer(estimator, X, y):
        rows.append(len(X))
        return estimator.predict_proba(X)[np.arange(len(y)), y].mean()

    model = classifier(scoring=scorer, epochs=2, n_networks=2).fit(X, y)
    assert rows == [30] * 4 + [60]
    wanted = model.oof_predictions_[np.arange(60), y].mean()
    assert model.oof_score_ == pytest.approx(wanted)


def test_temperature_makes_out_of_fold_log_loss_no_worse():
    X, y = make_moons(200, noise=0.4, random_state=0)
    raw = classifier(calibrate=False).fit(X, y)
    tempered = classifier().fit(X, y)
    assert raw.temperature_ == 1
    assert tempered.temperature_ != 1
    before, after = (metrics.log_loss(y, one.oof_predictions_) for one in (raw, tempered))
    assert after < before
    np.testing.assert_array_equal(raw.predict(X), tempered.predict(X))


# Weights


def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    X, y = table(120)
    weights = np.random.default_rng(0).integers(0, 2, 120)
    kept = weights > 0
    one = classifier(epochs=3).fit(X, y, sample_weight=weights)
    two = classifier(epochs=3).fit(X[kept], y[kept])
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), rtol=1e-5)
    assert np.isnan(one.oof_predictions_[~kept]).all()


def test_weights_move_predictions_and_scores():
    X, y = make_moons(200, noise=0.6, random_state=0)
    weights = np.where(y == 1, 5.0, 1.0)
    plain = classifier(scoring="log_loss").fit(X, y)
    by_row = classifier(scoring="log_loss").fit(X, y, sample_weight=weights)
    by_class = classifier(scoring="log_loss", class_weight={0: 1.0, 1: 5.0}).fit(X, y)
    assert by_row.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.1
    np.testing.assert_array_equal(by_row.predict_proba(X), by_class.predict_proba(X))
    wanted = metrics.log_loss(y, by_row.oof_predictions_, sample_weight=weights)
    assert by_row.oof_score_ == pytest.approx(wanted)


def test_balanced_classes_are_those_of_inverse_frequencies():
    X, y = table(100)
    counts = {label: (y == label).sum() for label in ("yes", "no")}
    factors = {label: 50 / count for label, count in counts.items()}
    balanced = classifier(class_weight="balanced", epochs=2).fit(X, y)
    given = classifier(class_weight=factors, epochs=2).fit(X, y)
    np.testing.assert_allclose(balanced.predict_proba(X), given.predict_proba(X), rtol=1e-4)


# Quantiles


LEVELS = (0.1, 0.5, 0.9)


def spread_numbers(n, seed):
    """Numbers whose noise is of another size in each row: by a factor of 20 from end to end."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n, 2))
    return X, 10 + 3 * X[:, 0] + np.exp(1.5 * X[:, 1]) * rng.normal(size=n)


@pytest.fixture(scope="module")
def fitted_quantiles():
    return regressor(quantiles=LEVELS, epochs=60).fit(*spread_numbers(4000, 0))


def test_quantiles_cover_as_many_rows_as_their_levels_say(fitted_quantiles):
    """Also where the noise is small, and where it is large.

    The share of m new rows below a fixed quantile has the variance q (1 - q) / m, and of a quantile
    of n training rows it has q (1 - q) / n besides: four of these standard deviations are allowed.
    """
    X, y = spread_numbers(4000, 1)
    below = y[:, np.newaxis] < fitted_quantiles.predict(X)
    levels = np.array(LEVELS)
    for rows in (np.full(4000, True), X[:, 1] > 0, X[:, 1] <= 0):
        noise = np.sqrt(levels * (1 - levels) * 2 / rows.sum())
        assert (np.abs(below[rows].mean(axis=0) - levels) < 4 * noise).all()


def test_quantiles_take_one_network_for_all_levels(fitted_quantiles):
    assert len(fitted_quantiles.networks_) == len(fitted_quantiles.history_) == 3
    assert all(network.layer_sizes[-1] == 3 for network in fitted_quantiles.networks_)
    assert fitted_quantiles.network_weights_.sum() == pytest.approx(1)


def test_quantiles_never_cross():
    """Not even where those of networks do, in new rows or out of fold."""
    X, y = spread_numbers(200, 0)
    model = regressor(quantiles=LEVELS, epochs=1).fit(X, y)
    matrix = model._encoding.encode(read_frame(5 * X))
    outputs = np.array([network.predict(matrix) for network in model.networks_])
    assert (np.diff(outputs, axis=2) < 0).any()
    quantiles = model.predict(5 * X)
    assert quantiles.shape == (200, 3)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (np.diff(model.oof_predictions_, axis=1) >= 0).all()
    mean, scale, smallest, largest = model._task.scaling
    of_each = np.sort(np.clip(outputs * scale + mean, smallest, largest), axis=2)
    np.testing.assert_allclose(quantiles, of_each.mean(axis=0), rtol=1e-12)


def test_the_score_of_quantiles_is_their_mean_loss(fitted_quantiles):
    _, y = spread_numbers(4000, 0)
    wanted = np.mean(
        [
            metrics.mean_pinball_loss(y, fitted_quantiles.oof_predictions_[:, j], alpha=level)
            for j, level in enumerate(LEVELS)
        ]
    )
    assert fitted_quantiles.oof_score_ == pytest.approx(wanted)


def test_a_search_and_weights_go_with_quantiles(monkeypatch):
    from fastmlp.tabular import ensemble

    monkeypatch.setattr(ensemble, "_MOST_DRAWN", 2)
    X, y = spread_numbers(200, 0)
    weights = np.tile([1.0, 2.0], 100)
    model = regressor(quantiles=LEVELS, search="random", epochs=3).fit(X, y, weights)
    assert (np.diff(model.predict(X), axis=1) >= 0).all()
    losses = [
        metrics.mean_pinball_loss(y, one, sample_weight=weights, alpha=level)
        for one, level in zip(model.oof_predictions_.T, LEVELS, strict=True)
    ]
    assert model.oof_score_ == pytest.approx(np.mean(losses))


# Search, limits, threads


def test_a_search_is_never_worse_on_the_folds(monkeypatch):
    from fastmlp.tabular import ensemble

    X, y = make_moons(150, noise=0.3, random_state=0)
    options = {"scoring": "log_loss", "calibrate": False, "n_networks": 2, "epochs": 4}
    scores = []
    for n_drawn in (0, 2, 4):
        monkeypatch.setattr(ensemble, "_MOST_DRAWN", n_drawn)
        model = classifier(search="random", **options).fit(X, y)
        scores.append(model.oof_score_)
    assert scores[0] == classifier(**options).fit(X, y).oof_score_
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < scores[0]
    assert model.network_weights_.sum() == pytest.approx(1)
    mean = sum(
        weight * network.predict(model._encoding.encode(X)).astype(float)
        for weight, network in zip(model.network_weights_, model.networks_, strict=True)
    )
    np.testing.assert_allclose(model.predict_proba(X), mean)


def test_a_search_goes_on_until_the_time_is_over():
    X, y = make_moons(60, noise=0.3, random_state=0)
    options = {"search": "random", "n_networks": 2, "epochs": 2, "time_limit": 1.0}
    model = classifier(**options).fit(X, y)
    assert np.isfinite(model.oof_predictions_).all()


@pytest.mark.parametrize("n_networks", [1, 3])
def test_bits_do_not_depend_on_threads(n_networks):
    X, y = table(90)
    one, two = (
        classifier(n_networks=n_networks, n_threads=n, epochs=3).fit(X, y).predict_proba(X)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


def test_a_limit_too_short_for_an_epoch_gives_the_best_so_far_and_warns():
    X, y = table()
    with pytest.warns(UserWarning, match="time_limit=1e-06 left no time for one epoch of one net"):
        model = classifier(time_limit=1e-6).fit(X, y)
    assert len(model.networks_) == 1
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("n_networks", [1, 3])
def test_progress_is_drawn_by_the_thread_that_fits(n_networks, monkeypatch):
    """An interrupt may leave the lock of the terminal with it, for which others would wait."""
    threads, show = set(), Bar.show

    def spied(bar, *arguments, **shown):
        threads.add(threading.current_thread())
        show(bar, *arguments, **shown)

    monkeypatch.setattr(Bar, "show", spied)
    X, y = table(60)
    classifier(progress=True, epochs=20, n_networks=n_networks, n_threads=2).fit(X, y)
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("n_networks", [1, 3])
def test_progress_shows_epochs_networks_the_best_score_and_the_time(n_networks, capsys):
    X, y = table(60)
    options = {"epochs": 2, "scoring": "log_loss", "n_networks": n_networks}
    model = classifier(progress=True, **options).fit(X, y)
    *_, line = capsys.readouterr().err.strip().split("\r")
    n = 2 * n_networks
    assert line.startswith("100%")
    assert re.search(rf"{n}/{n} \[\d\d:\d\d<\d\d:\d\d", line)  # the time gone, and left
    best = min(min(one["scores"]) for one in model.history_)
    assert f"networks={n_networks}/{n_networks}, best={best:.4g}" in line


def test_progress_of_a_time_limit_shows_the_seconds_of_it(capsys):
    X, y = table(60)
    classifier(progress=True, epochs=2, time_limit=1000).fit(X, y)
    *_, line = capsys.readouterr().err.strip().split("\r")
    assert re.search(r"6/6 .*networks=3/3, best=.*, left=(9\d\d|1000)s", line)


def test_progress_ends_at_what_patience_left_out(capsys):
    X, y = table(60)
    options = {"architecture": "tabm", "epochs": 200, "n_networks": 2, "n_threads": 2}
    model = classifier(progress=True, **options).fit(X, y)
    n_epochs = sum(len(one["scores"]) for one in model.history_)
    assert n_epochs < 400
    *_, line = capsys.readouterr().err.strip().split("\r")
    assert line.startswith("100%")
    assert f"{n_epochs}/{n_epochs} " in line
    assert "networks=2/2" in line


# Copies and files


def test_files_are_the_estimator_to_the_bit(tmp_path, fitted, fitted_values):
    pandas = pytest.importorskip("pandas")
    X, y = table(80)
    frame = pandas.DataFrame(X, columns=["colour", "size", "other"])
    named = classifier(epochs=2, label_smoothing=0.05).fit(frame, y)
    numbered, values = numbers(60)
    quantiles = regressor(epochs=2, quantiles=[0.2, 0.8]).fit(numbered, values)
    for model, rows in (
        (fitted, X),
        (named, frame),
        (fitted_values, numbered),
        (quantiles, numbered),
    ):
        path = tmp_path / "model.safetensors"
        model.save(path)
        loaded = type(model).load(path)
        np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))
        if hasattr(model, "predict_proba"):
            np.testing.assert_array_equal(loaded.predict_proba(rows), model.predict_proba(rows))
            np.testing.assert_array_equal(loaded.classes_, model.classes_)
        assert loaded.get_params() == model.get_params()
        assert loaded.history_ == model.history_
        assert loaded.oof_score_ == model.oof_score_
        assert loaded.n_features_in_ == model.n_features_in_
        assert hasattr(loaded, "feature_names_in_") == hasattr(model, "feature_names_in_")
        for one, other in zip(loaded.networks_, model.networks_, strict=True):
            np.testing.assert_array_equal(one.theta, other.theta)
            assert one.architecture() == other.architecture()


def test_files_of_something_else_are_refused(tmp_path, fitted):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    with pytest.raises(ValueError, match="it holds 'TabularClassifier'"):
        TabularRegressor.load(path)
    fitted.networks_[0].save(path)
    with pytest.raises(ValueError, match="its format is 'fastmlp-1'"):
        TabularClassifier.load(path)
    with pytest.raises(FileNotFoundError, match="there is none at"):
        TabularClassifier.load(tmp_path / "nothing")
    with pytest.raises(TypeError, match="cv must be"):
        classifier(cv=TimeSeriesSplit(2), epochs=1).fit(*table()).save(path)


def test_pickles_clones_and_processes(fitted):
    X, y = table(80)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(again.oof_predictions_, fitted.oof_predictions_)
    copy = clone(fitted)
    assert not hasattr(copy, "networks_")
    np.testing.assert_array_equal(copy.fit(*table()).predict_proba(X), fitted.predict_proba(X))
    scores = cross_val_score(classifier(epochs=2), X, y, cv=2)
    in_threads = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(cross_val_score)(classifier(epochs=2), X, y, cv=2) for _ in range(2)
    )
    for one in in_threads:
        np.testing.assert_array_equal(one, scores)


def test_a_failed_fit_leaves_the_estimator_as_it_was(fitted):
    X, _ = table(80)
    model = pickle.loads(pickle.dumps(fitted))
    before = dict(model.__dict__)
    with pytest.raises(ValueError, match="two classes"):
        model.fit(X[:, 1:], np.full(80, "yes"))
    assert model.__dict__ == before
    np.testing.assert_array_equal(model.predict_proba(X), fitted.predict_proba(X))


# What else users ask


def test_importances_find_the_columns_that_matter(fitted):
    pytest.importorskip("pandas")
    X, y = table()
    assert not hasattr(clone(fitted), "feature_importances_")
    found = fitted.compute_importances(X, y)
    np.testing.assert_array_equal(found, fitted.feature_importances_)
    assert found[:2].min() > 0.2
    assert abs(found[2]) < 0.1
    np.testing.assert_array_equal(found, fitted.compute_importances(X, y))
    with pytest.raises(ValueError, match="must have the 200 rows of fit, got 50"):
        fitted.compute_importances(X[:50], y[:50])


def test_importances_of_values_and_quantiles(fitted_values):
    X, y = numbers()
    found = fitted_values.compute_importances(X, y)
    assert found[0] > found[1] > 0
    X = np.column_stack([X, np.zeros(len(X))])  # a constant column is dropped
    model = regressor(quantiles=[0.3, 0.7], n_networks=2, epochs=20).fit(X, y)
    found = model.compute_importances(X, y)
    assert found[0] > 0
    assert found[2] == 0


def test_importances_need_the_folds(tmp_path, fitted):
    fitted.save(tmp_path / "model.safetensors")
    loaded = TabularClassifier.load(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="loaded from a file"):
        loaded.compute_importances(*table())


def test_figures(fitted, fitted_values):
    pytest.importorskip("matplotlib")
    curves, reliability = fitted.plot().axes
    assert "accuracy" in curves.get_ylabel()
    n_curves = [line for line in curves.lines if len(line.get_xdata()) > 1]
    assert len(n_curves) == 3
    assert len(reliability.lines) == 3
    (panel,) = fitted_values.plot().axes
    assert "rmse" in panel.get_ylabel()


def test_reliability_is_the_share_of_rows_that_are_right(fitted):
    _, y = table()
    bins = fitted._reliability["after"]
    assert sum(bins["n_rows"]) == len(y)
    right = np.average(bins["accuracy"], weights=bins["n_rows"])
    assert right == pytest.approx(fitted.oof_score_)
    confidence = np.average(bins["confidence"], weights=bins["n_rows"])
    assert confidence == pytest.approx(fitted.oof_predictions_.max(axis=1).mean())


@pytest.mark.parametrize("architecture", ["tabm", "plain"])
def test_other_architectures(architecture):
    X, y = table()
    model = classifier(architecture=architecture, n_networks=2, epochs=30).fit(X, y)
    assert model.oof_score_ > 0.85
    members = 8 if architecture == "tabm" else 1
    assert all(network._pieces.members == members for network in model.networks_)


def test_a_named_score_of_probabilities_goes_without_label_smoothing():
    assert classifier()._recipe().smoothing == 0.1
    assert classifier(scoring="auc")._recipe().smoothing == 0
    assert classifier(scoring="auc", label_smoothing=0.2)._recipe().smoothing == 0.2


# Bad input

X, Y = np.random.default_rng(0).normal(size=(20, 2)), np.tile([0, 1], 10)


@pytest.mark.parametrize(
    ("options", "data", "error", "message"),
    [
        ({}, (X[:0], Y[:0]), ValueError, "X must have at least one row"),
        ({}, (X, np.zeros(20)), ValueError, "at least two classes, it contains only one class"),
        (
            {},
            (X, np.full(20, np.nan)),
            ValueError,
            "y must not have missing labels, got nan in row 0",
        ),
        (
            {},
            (X, np.r_[Y[:9], np.nan, Y[10:]]),
            ValueError,
            "missing labels, got nan in row 9. Drop",
        ),
        ({}, (X, [None] * 20), ValueError, "y must not have missing labels"),
        ({}, (X, Y[:10]), ValueError, r"y must have the shape \(20,\), .* got \(10,\)"),
        ({"n_networks": 30}, (X, Y), ValueError, "as many rows as folds, 30 for n_networks=30"),
        ({}, (X, np.repeat([0, 1], [19, 1])), ValueError, "trains on no row of class"),
        ({"cv": [(range(5), range(5, 20))]}, (X, Y > 5), ValueError, "only one class"),
        ({"scoring": "speed"}, (X, Y), ValueError, "scoring must be one of accuracy, log_loss"),
        ({"hidden_layer_sizes": (0,)}, (X, Y), ValueError, "hidden_layer_sizes must be integers"),
        ({"epochs": True}, (X, Y), TypeError, "epochs must be a number, got True"),
        ({"class_weight": {5: 1.0}}, (X, Y), ValueError, "class_weight must name classes"),
        (
            {},
            (X, Y, "balanced"),
            ValueError,
            "sample_weight must hold real numbers, got 'balanced'",
        ),
        ({}, (X, Y, np.ones(5)), ValueError, r"sample_weight.shape == \(5,\), expected \(20,\)"),
        ({}, (X, Y, -np.ones(20)), ValueError, "sample_weight must not be negative"),
        ({}, (X, Y, np.zeros(20)), ValueError, "Sample weights must contain|must not be 0 for all"),
        ({}, (X, Y, None, [1, 2]), ValueError, r"groups must have the shape \(20,\)"),
        (
            {},
            (X, Y, None, [[1], [1, 2]] * 10),
            ValueError,
            "groups must have one value for each row",
        ),
        ({}, (X, Y, None, np.zeros(20)), ValueError, "as many groups as folds"),
    ],
)
def test_bad_input_of_a_classifier_is_refused_in_a_sentence(options, data, error, message):
    model = classifier(**options)
    before = dict(model.__dict__)
    with pytest.raises(error, match=message):
        model.fit(*data)
    assert model.__dict__ == before


def test_the_area_needs_both_classes_in_each_fold():
    cv = [(np.r_[0:10], [11, 13, 15])]
    with pytest.raises(ValueError, match=r"scoring must not be 'auc' for folds .* of one class"):
        classifier(scoring="auc", cv=cv).fit(X, Y)


def test_labels_that_fit_has_not_seen_are_refused_where_there_must_be_none(fitted):
    X, y = table()
    message = "y must have the classes of fit, \\['no' 'yes'\\], got 'maybe' in row 3"
    with pytest.raises(ValueError, match=message):
        fitted.compute_importances(X, np.r_[y[:3], ["maybe"], y[4:]])


@pytest.mark.parametrize("format", ["coo", "bsr", "dia", "csr"])
def test_sparse_matrices_of_any_format_have_rows_of_weight_zero_and_scorers(format):
    weights = np.r_[0.0, np.ones(19)]
    options = {"epochs": 1, "n_networks": 2, "scoring": "f1"}
    matrix = sparse.coo_matrix(X).asformat(format)
    found = classifier(**options).fit(matrix, Y, sample_weight=weights)
    wanted = classifier(**options).fit(X, Y, sample_weight=weights)
    np.testing.assert_array_equal(found.predict_proba(matrix), wanted.predict_proba(X))
    importances = found.compute_importances(matrix, Y, weights)
    np.testing.assert_array_equal(importances, wanted.compute_importances(X, Y, weights))


def test_record_batches_of_arrow_are_tables():
    pyarrow = pytest.importorskip("pyarrow")
    n = 1500
    batch = pyarrow.record_batch({"a": np.arange(n) % 7, "b": ["x", "y"] * (n // 2)})
    with pytest.raises(ValueError, match="X must not hold the target, but column 'b' of X"):
        classifier().fit(batch, ["x", "y"] * (n // 2))
    rows = []

    def scorer(estimator, X, y):
        rows.append(len(X))
        return 0.0

    y = np.arange(n) % 3 == 0
    classifier(epochs=1, n_networks=2, scoring=scorer).fit(batch, y)
    assert rows == [n // 2, n // 2, n]


@pytest.mark.parametrize("scoring", ["accuracy", "neg_mean_poisson_deviance"])
def test_a_scorer_that_cannot_measure_such_predictions_is_named(scoring):
    x, y = numbers(40)
    with pytest.raises(ValueError, match=f"scoring must be .*, but '{scoring}' says: "):
        regressor(scoring=scoring, epochs=1).fit(x, y - 10)
    assert regressor(scoring="r2", epochs=1).fit(x, y).scoring_ == "r2"


@pytest.mark.filterwarnings("ignore:Only one class:sklearn.exceptions.UndefinedMetricWarning")
def test_a_scorer_without_a_number_is_not_taken_for_divergence():
    with pytest.raises(ValueError, match="scoring must give a number, it gave nan for each fold"):
        classifier(scoring=lambda *_: np.nan, epochs=2).fit(X, Y)
    cv = [(np.r_[0:10], np.arange(11, 20, 2)), (np.r_[0:10], np.r_[10:20])]
    with pytest.warns(UserWarning, match="scoring gave nan for the folds of 1 of 2 networks, with"):
        model = classifier(scoring="roc_auc", cv=cv, n_networks=2, epochs=2).fit(X, Y)
    assert len(model.networks_) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3),), r"y must have the shape \(20,\)"),
        ((["q"] * 20,), "y must hold real numbers, got 'q' in row 0"),
        ((np.full(20, np.nan),), "Input y contains NaN"),
        ((np.zeros(20), [1.0]), "sample_weight.shape == "),
    ],
)
def test_bad_answers_for_the_score_of_quantiles_are_refused(arguments, message):
    model = regressor(quantiles=(0.1, 0.9), epochs=1, n_networks=2).fit(X, np.arange(20))
    with pytest.raises(ValueError, match=message):
        model.score(X, *arguments)


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({}, ["a"] * 20, "y must hold real numbers, got 'a' in row 0"),
        ({}, np.array([object()] * 20), "y must hold real numbers, got <object"),
        ({}, [[1], [1, 2]] * 10, r"y must hold real numbers, got \[1\] in row 0"),
        ({}, [10**400, *range(19)], "y must hold numbers that float64 has room for"),
        ({}, np.arange(20) * 1e300, r"y must be within 1e\+150 of 0, got 1\.9e\+301"),
        ({}, np.arange(20).astype("M8[ns]"), r"y must hold numbers, got the dtype datetime64\[n"),
        ({}, np.arange(20).astype("m8[s]"), r"y must hold real numbers, got datetime.timedelta"),
        ({}, np.r_[np.inf, -np.inf, np.arange(18)], "Input y contains infinity"),
        ({}, np.arange(20) + 1j, "Complex data not supported"),
        ({}, np.zeros((20, 2)), "y should be a 1d array"),
        ({}, np.ones(20), "y must not be constant, all 20 targets are 1"),
        (
            {},
            np.r_[0.5, np.nan, np.arange(18)],
            "y must not have missing values, got nan in row 1.",
        ),
        ({"quantiles": (0.5, 0.1)}, np.arange(20), "quantiles must be ascending"),
        ({"quantiles": (0.0, 1.0)}, np.arange(20), "quantiles must be ascending"),
        ({"quantiles": (0.5,), "scoring": "r2"}, np.arange(20), "scoring must be None with quan"),
        ({"scoring": "accuracy?"}, np.arange(20), "scoring must be one of rmse"),
    ],
)
def test_bad_input_of_a_regressor_is_refused_in_a_sentence(options, y, message):
    model = regressor(**options)
    before = dict(model.__dict__)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, y)
    assert model.__dict__ == before


def test_the_target_among_the_columns_is_named():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    n = 1500
    frame = pandas.DataFrame({"a": rng.normal(size=n), "b": rng.choice(["x", "y"], n)})
    frame["c"] = frame["a"].where(frame.index < 1400, 0.0)
    with pytest.raises(ValueError, match="X must not hold the target, but column 'a' of X"):
        regressor().fit(frame, frame["a"])
    with pytest.raises(ValueError, match="X must not hold the target, but column 'b' of X"):
        classifier().fit(frame, frame["b"])
    regressor(epochs=1, n_networks=1).fit(frame[["a"]], frame["c"])  # the same in the head alone


def test_columns_in_another_order_are_refused():
    pandas = pytest.importorskip("pandas")
    X, y = table(60)
    frame = pandas.DataFrame(X, columns=["colour", "size", "other"])
    model = classifier(epochs=1).fit(frame, y)
    with pytest.raises(ValueError, match="same order"):
        model.predict(frame[["size", "colour", "other"]])
    with pytest.raises(ValueError, match="yet now missing"):
        model.predict(frame[["size", "colour"]])


def test_a_network_that_diverges_says_so():
    X, y = numbers(40)
    with pytest.raises(Diverged, match="learning_rate must be smaller"):
        regressor(architecture="tabm", learning_rate=1e30, epochs=2).fit(X, y)


def test_the_ensemble_goes_without_a_network_that_diverges(monkeypatch):
    from fastmlp.tabular.recipes import Recipe

    network = Recipe.network

    def one_of_them_is_huge(recipe, n_columns, inputs, n_outputs, output, seed):
        made = network(recipe, n_columns, inputs, n_outputs, output, seed)
        if not seeds:
            made.weights[-1][:] = 1e37
        seeds.append(seed)
        return made

    seeds = []
    monkeypatch.setattr(Recipe, "network", one_of_them_is_huge)
    X, y = numbers(60)
    with pytest.warns(UserWarning, match="1 of 3 networks have diverged"):
        model = regressor(architecture="plain", epochs=3).fit(X, y)
    assert len(model.networks_) == 2
    assert np.isnan(model.oof_predictions_).sum() == 20


def test_a_search_goes_on_where_what_it_drew_diverges(monkeypatch):
    from fastmlp.tabular import ensemble
    from fastmlp.tabular.recipes import Recipe

    network, made = Recipe.network, []

    def those_of_the_second_are_huge(recipe, *arguments):
        one = network(recipe, *arguments)
        if len(made) in (2, 3):
            one.weights[-1][:] = 1e37
        made.append(one)
        return one

    monkeypatch.setattr(Recipe, "network", those_of_the_second_are_huge)
    monkeypatch.setattr(ensemble, "_MOST_DRAWN", 3)
    X, y = numbers(60)
    regressor(architecture="plain", search="random", n_networks=2, epochs=2).fit(X, y)
    assert len(made) == 2 * 4


def test_a_search_from_a_recipe_that_diverges_says_so():
    X, y = numbers(40)
    options = {"architecture": "tabm", "learning_rate": 1e30, "epochs": 2, "search": "random"}
    with pytest.raises(Diverged, match="learning_rate must be smaller than 1e"):
        regressor(**options).fit(X, y)


def test_ctrl_c_leaves_the_best_so_far_and_says_so():
    X, y = make_moons(60, noise=0.3, random_state=0)
    calls = []

    def scorer(estimator, X, y):
        calls.append(len(X))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return 0.0

    with pytest.warns(UserWarning, match="Ctrl-C"):
        model = classifier(scoring=scorer, n_threads=1, epochs=3).fit(X, y)
    assert len(model.networks_) == 2
    calls[:] = range(4)
    before = dict(model.__dict__)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.__dict__ == before


def test_they_are_names_of_the_package():
    assert fastmlp.TabularClassifier is TabularClassifier
    assert {"TabularClassifier", "TabularRegressor"} <= set(dir(fastmlp))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier(epochs=1).fit(*table(40))
