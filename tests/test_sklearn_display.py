"""Figures of how the training of an estimator went: what is drawn, and where."""

import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt
from sklearn.exceptions import NotFittedError

from fastmlp.sklearn import MLPClassifier, MLPRegressor, TrainingCurveDisplay

N_EPOCHS = 5


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    return X, X[:, 0] - X[:, 1] ** 2


def fit(kind, rows, **parameters):
    X, y = rows
    if kind is MLPClassifier:
        y = y > 0
    model = kind(
        hidden_layer_sizes=(4,),
        max_iter=N_EPOCHS,
        n_iter_no_change=N_EPOCHS,
        random_state=0,
        **parameters,
    )
    with pytest.warns(match="Maximum iterations"):
        return model.fit(X, y)


def drawn(display):
    """Label to (x, y) of each line."""
    return {line.get_label(): line.get_data() for line in display.lines_}


def test_without_validation_data_there_is_the_training_loss(rows):
    model = fit(MLPRegressor, rows)
    display = TrainingCurveDisplay.from_estimator(model)
    (label, (xs, ys)), *others = drawn(display).items()
    assert label == "training loss"
    assert not others
    assert xs.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(ys, model.loss_curve_)
    assert display.score_ax_ is None
    assert display.figure_ is display.ax_.figure
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epochs", "loss")


@pytest.mark.parametrize(
    ("kind", "name"),
    [(MLPClassifier, "validation accuracy"), (MLPRegressor, "validation R²")],
)
def test_early_stopping_adds_the_loss_and_the_score_of_validation(kind, name, rows):
    model = fit(kind, rows, early_stopping=True)
    display = TrainingCurveDisplay.from_estimator(model)
    lines = drawn(display)
    assert list(lines) == ["training loss", "validation loss", name]
    np.testing.assert_array_equal(lines["validation loss"][1], model.trace_["validation_loss"])
    np.testing.assert_array_equal(lines[name][1], model.validation_scores_)
    assert display.score_ax_.get_ylabel() == name
    assert [line.get_label() for line in display.score_ax_.get_lines()] == [name]
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == list(lines)


def test_scores_are_called_as_they_are_asked_for(rows):
    model = fit(MLPClassifier, rows, early_stopping=True, scoring="balanced_accuracy")
    display = TrainingCurveDisplay.from_estimator(model)
    assert display.score_ax_.get_ylabel() == "validation balanced accuracy"


def test_over_seconds(rows):
    model = fit(MLPRegressor, rows, early_stopping=True)
    display = TrainingCurveDisplay.from_estimator(model, x="seconds")
    for xs, _ in drawn(display).values():
        np.testing.assert_array_equal(xs, model.trace_["seconds"])
    assert display.ax_.get_xlabel() == "seconds of training"


def test_epochs_of_partial_fit_run_on(rows):
    X, y = rows
    model = MLPRegressor(hidden_layer_sizes=(4,), random_state=0)
    for _ in range(3):
        model.partial_fit(X, y)
    display = TrainingCurveDisplay.from_estimator(model)
    assert drawn(display)["training loss"][0].tolist() == [1, 2, 3]
    assert (np.diff(display.seconds) > 0).all()


def test_iterations_of_a_solver(rows):
    model = MLPRegressor(
        hidden_layer_sizes=(4,), solver="lbfgs", random_state=0, early_stopping=True
    ).fit(*rows)
    lines = drawn(TrainingCurveDisplay.from_estimator(model))
    assert lines["training loss"][0].tolist() == list(range(1, model.n_iter_ + 1))
    assert lines["validation R²"][0].tolist() == list(range(1, model.n_iter_ + 1))


def test_axes_that_are_given_are_drawn_on_and_no_figure_is_made(rows):
    model = fit(MLPRegressor, rows)
    figure, (left, right) = plt.subplots(1, 2)
    display = TrainingCurveDisplay.from_estimator(model, left)
    assert display.ax_ is left
    assert display.figure_ is figure
    assert display.plot(right, x="seconds") is display
    assert display.ax_ is right
    assert plt.get_fignums() == [figure.number]


def test_fewer_scores_belong_to_the_last_epochs():
    display = TrainingCurveDisplay(
        epochs=[0, 1, 2], seconds=[0, 2, 3], training_loss=[3, 2, 1], scores=[0.5, 0.7]
    ).plot(x="seconds")
    assert drawn(display)["validation score"][0].tolist() == [2, 3]


def test_losses_are_on_a_logarithmic_scale_unless_one_is_negative():
    shared = {"epochs": [1, 2], "seconds": [1, 2]}
    display = TrainingCurveDisplay(training_loss=[2, 1], **shared)
    assert display.plot().ax_.get_yscale() == "log"
    display = TrainingCurveDisplay(training_loss=[2, -1], **shared)
    assert display.plot().ax_.get_yscale() == "linear"


def test_lines_differ_in_colour_and_in_stroke(rows):
    model = fit(MLPClassifier, rows, early_stopping=True)
    lines = TrainingCurveDisplay.from_estimator(model).lines_
    assert len({line.get_color() for line in lines}) == 3
    assert len({line.get_linestyle() for line in lines}) == 3


@pytest.mark.parametrize("scoring", [None, "neg_mean_absolute_percentage_error"])
def test_the_legend_is_whole(rows, scoring):
    """On a figure of its own, and on panels of the user's, which may be small."""
    model = fit(MLPRegressor, rows, early_stopping=True, scoring=scoring)
    _, (left, right) = plt.subplots(1, 2, figsize=(7, 3))
    for ax in (None, left, right):
        display = TrainingCurveDisplay.from_estimator(model, ax)
        figure = display.figure_
        figure.draw_without_rendering()
        legend, panel = display.ax_.get_legend(), display.ax_.bbox
        box = legend.get_window_extent()
        assert panel.x0 - 5 <= box.x0 < box.x1 <= panel.x1 + 5  # pixels
        assert panel.width > figure.bbox.width / 4
        assert box.y1 <= figure.bbox.y1
        names = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
        assert names == [line.get_label() for line in display.lines_]
        # The title of the axis of scores is as long as the figure is high, at most.
        title = display.score_ax_.yaxis.label.get_window_extent()
        assert title.height < figure.bbox.height


def test_a_loss_that_is_not_finite_leaves_a_gap():
    display = TrainingCurveDisplay(
        epochs=[1, 2, 3], seconds=[1, 2, 3], training_loss=[2, 1, np.nan], scores=[0.1, 0.2, np.nan]
    ).plot()
    display.figure_.canvas.draw()
    assert display.ax_.get_ylim()[0] > 0


def test_other_axes_are_refused(rows):
    model = fit(MLPRegressor, rows)
    with pytest.raises(ValueError, match="x must be 'epochs' or 'seconds', got 'steps'"):
        TrainingCurveDisplay.from_estimator(model, x="steps")
    display = TrainingCurveDisplay(epochs=[1], seconds=[1], training_loss=[1])
    with pytest.raises(ValueError, match="x must be 'epochs' or 'seconds', got None"):
        display.plot(x=None)
    assert not plt.get_fignums()


def test_an_estimator_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError, match="MLPClassifier"):
        TrainingCurveDisplay.from_estimator(MLPClassifier())


def test_columns_have_to_be_as_long_as_the_epochs():
    with pytest.raises(ValueError, match="seconds must have as many values as epochs, 2, got 1"):
        TrainingCurveDisplay(epochs=[1, 2], seconds=[1], training_loss=[1, 2])
    with pytest.raises(ValueError, match="scores must have at most as many values as epochs"):
        TrainingCurveDisplay(epochs=[1], seconds=[1], training_loss=[1], scores=[1, 2])


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    display = TrainingCurveDisplay(epochs=[1], seconds=[1], training_loss=[1])
    with pytest.raises(ImportError, match=r"pip install 'fastmlp\[plot\]'"):
        display.plot()
