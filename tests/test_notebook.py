"""What notebooks and terminals show of networks, fits and comparisons; scores and probabilities."""

import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from handmade import hide_matplotlib
from numpy.testing import assert_allclose, assert_array_equal

import fastmlp
from fastmlp import (
    LBFGS,
    MLP,
    RNN,
    Adam,
    CosineAnnealing,
    FitResult,
    Numeric,
    Status,
    Trace,
    compare,
    compare_problems,
)
from fastmlp.result import COLUMNS

RNG = np.random.default_rng(3)
X = RNG.normal(size=(50, 3)).astype("float32")
Y = (X[:, 0] * X[:, 1]).astype("float32")


@pytest.fixture(scope="module")
def result():
    net = MLP([3, 8, 1], seed=0)
    optimizer = Adam(CosineAnnealing(0.01, period=4))
    return net.fit(X, Y, optimizer=optimizer, epochs=12, validation_data=(X, Y), seed=0)


@pytest.fixture(scope="module")
def comparison():
    names = {"adam": Adam(0.01), "<lbfgs> & more": LBFGS()}
    return compare(MLP([3, 8, 1], seed=0), X, Y, names, passes=4, seeds=2, target=0.3)


@pytest.fixture(scope="module")
def comparisons():
    return compare_problems(["rosenbrock"], ["bfgs", "lbfgs"], passes=30)


# HTML


class Parser(HTMLParser):
    """Collects tags and texts, and sees to it that tags are closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts, self.styles = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith("on"), name
            if name == "style":
                self.styles.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def shown(what):
    page = Parser(what._repr_html_())
    assert "script" not in page.tags
    assert "style" not in page.tags
    # Colours are those of the notebook, be it light or dark.
    assert not any("color" in style or "background" in style for style in page.styles)
    return page


def test_html_of_a_network_has_what_its_text_has():
    for net in (
        MLP([3, 8, 2], output="softmax", seed=0),
        MLP([3, 8, 2], norm="layer", inputs=[Numeric([0], "periodic")], members=2, seed=0),
        RNN([3, 4, 1], seed=0),
    ):
        page = " ".join(shown(net).texts)
        for word in repr(net).replace("->", "-> ").split():
            assert word in page.replace("->", "-> "), word


def test_html_of_a_result(result):
    page = shown(result)
    text = " ".join(page.texts)
    assert page.tags.count("table") == 2
    for word in (result.status, result.message, f"{result.loss:.6g}", "Trace of 13 records"):
        assert str(word) in text


def test_html_of_a_trace_has_its_ends(result):
    texts = shown(result.trace).texts
    for record in (result.trace[0], result.trace[4], result.trace[-5], result.trace[-1]):
        assert f"{record.objective:.4g}" in texts
    assert "…" in texts
    assert f"{result.trace[6].objective:.4g}" not in texts
    assert "learning rate" in texts
    assert "gradient norm" not in texts  # which mini-batches do not give
    short = Trace(list(result.trace)[:3])
    assert "…" not in shown(short).texts
    shown(Trace())


def test_html_of_a_comparison_is_escaped(comparison):
    page = comparison._repr_html_()
    assert "&lt;lbfgs&gt; &amp; more" in page
    assert "<lbfgs>" not in page
    texts = shown(comparison).texts
    for table in comparison.tables():
        for row in table.rows:
            assert set(row) <= set(texts)


def test_html_of_comparisons(comparisons):
    assert "rosenbrock: to an objective of at most" in " ".join(shown(comparisons).texts)


def test_reprs_are_the_tables(comparison, comparisons):
    for one in (comparison, comparisons):
        assert repr(one) == str(one) == one.table()
    assert "adam" in repr(comparison)
    assert "array(" not in repr(comparison.runs)


# Data frames


def test_a_trace_is_a_data_frame(result):
    pytest.importorskip("pandas")
    frame = result.trace.to_frame()
    assert tuple(frame.columns) == COLUMNS
    for name in COLUMNS:
        assert_array_equal(frame[name], result.trace[name])
    assert frame["epoch"].dtype.kind == "i"
    assert len(Trace().to_frame()) == 0


def test_without_pandas_a_sentence_says_so(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="data frames need pandas"):
        result.trace.to_frame()


def test_an_unknown_column_gets_the_nearest_one(result):
    for name, ours in (("val_loss", "validation_loss"), ("loss", "objective"), ("lr", "learning_")):
        with pytest.raises(KeyError, match=f"got '{name}'; did you mean '{ours}"):
            result.trace[name]


# Figures


@pytest.mark.parametrize("x", ["epochs", "seconds"])
def test_a_figure_of_a_fit_has_its_columns(result, x):
    pytest.importorskip("matplotlib")
    figure = result.plot(x=x)
    left, right = figure.axes
    column = result.trace["epoch" if x == "epochs" else "seconds"]
    drawn = {line.get_label(): line for line in [*left.get_lines(), *right.get_lines()]}
    assert list(drawn) == ["objective", "validation loss", "learning rate"]
    for name, line in drawn.items():
        assert_array_equal(line.get_xdata(), column)
        key = name.replace(" ", "_")
        assert_array_equal(line.get_ydata(), result.trace[key])
    styles = {(str(line.get_linestyle()), line.get_marker()) for line in drawn.values()}
    assert len(styles) == 3  # told apart without colours
    (legend,) = (axes.get_legend() for axes in figure.axes if axes.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == list(drawn)
    assert left.get_xlabel() == x
    assert result.plot()._repr_png_().startswith(b"\x89PNG")


def test_a_figure_of_a_solver_has_no_learning_rate():
    pytest.importorskip("matplotlib")
    result = MLP([3, 4, 1], seed=0).fit(X, Y, optimizer="lbfgs", epochs=5)
    figure = result.plot()
    assert [line.get_label() for line in figure.axes[0].get_lines()] == ["objective"]
    assert len(figure.axes) == 1
    empty = FitResult(np.zeros(1), np.nan, Status.INTERRUPTED, "", 0, 0, 0, 0.0, Trace())
    empty.plot()


def test_figures_go_on_given_axes(result, comparison):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    first, second = Figure(figsize=(10, 4), layout="constrained").subplots(1, 2)
    assert result.plot(first) is first
    assert comparison.plot(ax=second, measure="passes") is second
    assert second.get_xlabel() == "data passes"
    assert [line.get_label() for line in second.get_lines()][:2] == list(comparison.runs)
    assert second.get_legend() is not None


def test_a_comparison_on_axes_is_a_panel_of_its_figure(comparison, tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    panels = comparison.plot().axes
    for panel, measure in zip(panels, ("seconds", "passes", "gradient_evaluations"), strict=True):
        ax = Figure().subplots()
        comparison.plot(tmp_path / "figure.png", ax=ax, measure=measure)
        for mine, its in zip(ax.get_lines(), panel.get_lines(), strict=True):
            assert_array_equal(mine.get_xydata(), its.get_xydata())
        assert ax.get_xscale() == panel.get_xscale()
    assert (tmp_path / "figure.png").stat().st_size


def test_what_figures_are_not_drawn_of_is_told(result, comparison, monkeypatch):
    with pytest.raises(ValueError, match=r"measure must be one of seconds, .*, got 'time'"):
        comparison.plot(measure="time")
    with pytest.raises(ValueError, match="x must be one of epochs, seconds, got 'epoch'"):
        result.plot(x="epoch")
    hide_matplotlib(monkeypatch)
    with pytest.raises(ImportError, match="plots need matplotlib"):
        result.plot()


# Scores and probabilities


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_scikit_learn(weighted):
    measures = pytest.importorskip("sklearn.metrics")
    weights = {"sample_weight": RNG.uniform(0.5, 2, 50)} if weighted else {}
    labels = RNG.integers(0, 3, 50)
    signs, both = np.where(Y > 0, 1, -1), np.column_stack([Y, X[:, 2] ** 2])
    for net, y, loss, expected in (
        (MLP([3, 3], output="softmax", seed=0), labels, "auto", "classes"),
        (MLP([3, 1], output="sigmoid", seed=0), Y > 0, "auto", "yes"),
        (MLP([3, 1], seed=0), signs, "hinge", "sign"),
        (MLP([3, 1], seed=0), Y, "auto", "r2"),
        (MLP([3, 2], seed=0), both, "huber", "r2"),
    ):
        outputs = net.predict(X)
        if expected == "r2":
            ours = net.score(X, y, loss=loss, **weights)
            assert ours == pytest.approx(measures.r2_score(y, outputs, **weights), rel=1e-6)
            continue
        guess = {
            "classes": lambda o=outputs: o.argmax(axis=1),
            "yes": lambda o=outputs: o[:, 0] > 0.5,
            "sign": lambda o=outputs: np.sign(o[:, 0]).astype(int),
        }[expected]()
        ours = net.score(X, y, loss=loss, **weights)
        assert ours == pytest.approx(measures.accuracy_score(y, guess, **weights), rel=1e-6)


def test_constant_targets_have_the_score_of_scikit_learn():
    net = MLP([3, 1], seed=0)
    assert net.score(X, np.full(50, 7.0)) == 0.0
    net.theta = [0, 0, 0, 7]
    assert net.score(X, np.full(50, 7.0)) == 1.0


def test_scores_of_sequences_are_of_the_steps_that_there_are():
    rows = RNG.normal(size=(6, 4, 2)).astype("float32")
    y, lengths = rows[:, :, 1], np.array([4, 2, 3, 1, 4, 4])
    net = RNN([2, 3, 1], sequence="all", seed=0)
    outputs = net.predict(rows, lengths=lengths)[:, :, 0]
    taken = np.arange(4) < lengths[:, np.newaxis]
    left = ((y - outputs)[taken] ** 2).sum()
    spread = ((y[taken] - y[taken].mean()) ** 2).sum()
    assert net.score(rows, y, lengths=lengths) == pytest.approx(1 - left / spread, rel=1e-6)
    last = RNN([2, 3, 2], output="softmax", seed=0)
    assert last.score(rows, last.predict(rows).argmax(axis=1)) == 1.0
    assert last.predict_proba(rows, lengths=lengths).shape == (6, 2)


def test_probabilities_are_of_all_classes():
    net = MLP([3, 4], output="softmax", seed=0)
    assert_array_equal(net.predict_proba(X), net.predict(X))
    net = MLP([3, 1], output="sigmoid", seed=0)
    chances = net.predict_proba(X)
    assert_array_equal(chances[:, 1], net.predict(X)[:, 0])
    assert_allclose(chances.sum(axis=1), 1, rtol=0, atol=1e-7)  # one rounding of float32
    net = MLP([3, 2], output="sigmoid", seed=0)
    assert_array_equal(net.predict_proba(X), net.predict(X))


def test_what_is_no_probability_is_told():
    with pytest.raises(ValueError, match="predict_proba needs an output that is a probability"):
        MLP([3, 1]).predict_proba(X)


# Labels


@pytest.mark.parametrize(
    "y", [["a"] * 50, np.array(["a", "b"] * 25, dtype=object), np.array([b"a"] * 50)]
)
def test_labels_of_any_kind_are_the_estimators_business(y):
    pattern = "y must hold real numbers, .*; labels of any kind are for fastmlp.MLPClassifier"
    net = MLP([3, 2], output="softmax", seed=0)
    for call in (
        lambda: net.fit(X, y),
        lambda: net.loss(X, y),
        lambda: fastmlp.fit_many([net], X, y),
        lambda: net.fit(X, Y > 0, validation_data=(X, y)),
    ):
        with pytest.raises(TypeError, match=pattern):
            call()
    with pytest.raises(ValueError, match=r"0 to 1, got 7; fastmlp.MLPClassifier takes labels of"):
        net.fit(X, [7] * 50)
