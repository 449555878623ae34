"""What a Comparison shows, against traces made by hand: tables, files, pages and figures."""

import base64
import csv
import io
import itertools
import json
import pickle
import re
import sys

import numpy as np
import pytest
from handmade import JUMPY, STEADY, comparison, hide_matplotlib, read_page, run

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    Comparisons,
    FunctionProblem,
    Run,
    Status,
    Trace,
    compare,
    compare_problems,
    minimize,
)
from fastmlp.comparison import quartiles
from fastmlp.plotting import line_style, plot_paths, plot_traces
from fastmlp.result import COLUMNS


def cells(table, name):
    """What the row of an optimizer says, by title, without the spaces that align it."""
    (row,) = [row for row in table.rows if row[0] == name]
    words = [" ".join(cell.split()).replace("[ ", "[") for cell in row]
    return dict(zip(table.header, words, strict=True))


# Quartiles and costs


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], (3.0, 3.0, 3.0)),
        ([4.0, 1.0, 3.0, 2.0, 5.0], (2.0, 3.0, 4.0)),
        ([1.0, 2.0, 3.0, 4.0], (1.75, 2.5, 3.25)),
        ([1.0, np.inf, 2.0], (1.5, 2.0, np.inf)),
        ([np.inf, np.inf, 1.0], (np.inf, np.inf, np.inf)),
        ([np.nan, 1.0, 2.0, 3.0, 4.0], (2.0, 3.0, 4.0)),
    ],
)
def test_quartiles_that_can_be_read_off(values, expected):
    assert quartiles(values) == expected


def test_quartiles_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=11)
    expected = np.quantile(values, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles(values), expected, rtol=1e-14)  # rounding of sums


def test_a_target_counts_from_the_first_record_at_or_below_it():
    jumpy = JUMPY[0]  # 8, 1, 5, 3: above the target again later
    assert jumpy.first_at(5.0) == jumpy.result.trace[1]
    assert jumpy.first_at(1.0) == jumpy.result.trace[1]
    assert jumpy.first_at(0.999) is None
    assert jumpy.first_at(8.0) == jumpy.result.trace[0]
    assert [jumpy.cost(m, 2.0) for m in ("seconds", "passes", "gradient_evaluations")] == [
        0.5,
        1.0,
        10.0,
    ]
    assert jumpy.cost("seconds", 0.5) == np.inf


def test_the_best_is_the_least_finite_objective():
    assert JUMPY[0].best == 1.0
    assert run(0, [8.0, np.nan, 3.0], loss=2.5).best == 2.5
    assert np.isnan(run(0, [np.nan], loss=np.inf).best)


# Tables


def test_the_tables_have_medians_and_quartiles_over_seeds():
    outcome, cost, way = comparison({"steady": STEADY, "jumpy": JUMPY}, target=2.0).tables()
    # The ends are 1, 2, 3, 4, 5 and 3, 1.5, 2, 4, 4.
    assert cells(outcome, "steady")["objective"] == "3 [2, 4]"
    assert cells(outcome, "jumpy")["objective"] == "3 [2, 4]"
    # The least ones are 1, 1.5, 2, 4, 2.
    assert cells(outcome, "jumpy")["best"] == "2 [1.5, 2]"
    assert cells(outcome, "steady")["accuracy"] == "0.200 [0.100, 0.300]"
    assert cells(outcome, "jumpy")["accuracy"] == "0.500"
    assert cells(outcome, "steady")["status"] == "completed"
    # 1.5, 3, 6, 3, 3 seconds, of which the quartiles are all 3.
    assert cells(cost, "jumpy")["seconds"] == "3"
    assert cells(cost, "jumpy")["data passes"] == "3"
    assert cells(cost, "jumpy")["gradient evals"] == "30"
    # Passes to 2: steady 2, 3, never, never, never; jumpy 1, 2, 3, never, 1.
    assert cells(way, "steady") == {
        "optimizer": "steady",
        "reached": "2/5",
        "seconds": "never [3, never]",
        "data passes": "never [3, never]",
        "gradient evals": "never [30, never]",
    }
    assert cells(way, "jumpy") == {
        "optimizer": "jumpy",
        "reached": "4/5",
        "seconds": "2 [1, 6]",
        "data passes": "2 [1, 3]",
        "gradient evals": "20 [10, 30]",
    }


def test_a_table_is_aligned_and_fits_a_terminal():
    text = comparison({"steady": STEADY, "a much longer name": JUMPY}, target=2.0).table()
    assert max(map(len, text.splitlines())) <= 120
    blocks = [block.splitlines() for block in text.split("\n\n")]
    for block in blocks[:-1]:
        header, rule, *rows = block[-4:]
        assert set(rule) == {"-"}
        # Every column of numbers ends, and every column of words begins, at the same place.
        for title in ("best", "seconds", "gradient evals"):
            if title in header:
                end = header.index(title) + len(title)
                assert all(row[:end].strip()[-1] in "]0123456789r " for row in rows)
                assert all(row[end : end + 2].strip() == "" for row in rows)
    assert "over 5 seeds" in text
    assert "at most 3 data passes" in text


@pytest.mark.parametrize("width", [45, 60, 80, 100])
def test_a_table_keeps_to_a_width(width):
    """By groups of columns below each other, each with all names, which may take several lines."""
    names = ["steady", "adam(learning_rate=0.01, epochs=20)+lbfgs(history_size=3)", "x" * 90]
    for table in comparison(dict.fromkeys(names, STEADY), target=2.0).tables():
        text = table.as_text(width)
        assert max(map(len, text.splitlines())) <= width
        titles = []
        for block in text.removeprefix(table.caption).strip().split("\n\n"):
            # Columns are two spaces apart at least.
            rows = [re.split("  +", line.strip()) for line in block.splitlines()]
            assert rows[0][0] == "optimizer"
            titles += rows[0][1:]
            assert "".join(row[0] for row in rows[2:]).replace(" ", "") == "".join(
                name.replace(" ", "") for name in names
            )
        assert titles == list(table.header[1:])
        for row in table.rows:
            assert all(cell.strip() in text for cell in row[1:])


def test_one_seed_has_one_line_an_optimizer_and_no_quartiles():
    text = comparison({"steady": STEADY[:1], "jumpy": JUMPY[:1]}).table()
    assert "[" not in text
    assert "seeds" not in text
    assert sum(line.startswith(("steady", "jumpy")) for line in text.splitlines()) == 2


def test_runs_that_ended_badly_are_shown_as_they_are():
    runs = {
        "wild": [
            run(0, [8.0, 9.0], status=Status.NOT_FINITE, loss=8.0),
            run(1, [8.0, 2.0], status=Status.FAILED),
            run(2, [8.0, 4.0], status=Status.FAILED),
        ],
        "lost": [run(s, [np.inf], status=Status.NOT_FINITE, score=np.nan) for s in range(3)],
        "cut": [run(0, [8.0, 1.0]), run(1, [8.0], status=Status.INTERRUPTED)],
    }
    broken = comparison(runs, target=2.0)
    outcome, _, way = broken.tables()
    assert cells(outcome, "wild")["status"] == "failed 2, not finite 1"
    assert cells(outcome, "wild")["objective"] == "4 [3, 6]"
    assert cells(outcome, "lost")["objective"] == "inf"
    assert cells(way, "wild")["reached"] == "1/3"
    assert cells(way, "lost")["seconds"] == "never"
    assert cells(way, "cut")["reached"] == "1/2"
    assert broken.interrupted
    assert broken.seeds == [0, 1, 2]
    assert "interrupted" in str(broken)


def test_a_run_without_records_can_be_shown_too(tmp_path):
    empty = Run(0, run(0, [np.inf], status=Status.NOT_FINITE).result, None, np.nan)
    empty.result.trace._rows.clear()
    nothing = comparison({"none": [empty]}, target=1.0)
    assert "not finite" in str(nothing)
    nothing.to_csv(tmp_path / "traces.csv")
    nothing.to_json(tmp_path / "runs.json")
    nothing.to_html(tmp_path / "page.html")


# Files


def test_all_records_go_into_one_csv_file(tmp_path):
    comparison({"steady": STEADY, "a, b": JUMPY}).to_csv(tmp_path / "traces.csv")
    with open(tmp_path / "traces.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["optimizer", "seed", *COLUMNS]
    for name, runs in (("steady", STEADY), ("a, b", JUMPY)):
        for one in runs:
            own = [row[2:] for row in rows if row[:2] == [name, str(one.seed)]]
            # Numbers are written so that reading them gives the same float.
            np.testing.assert_array_equal(np.array(own, float), one.result.trace.as_array())
    assert len(rows) == 2 * 5 * 4


def test_json_has_everything_and_no_word_that_json_does_not_have(tmp_path):
    runs = {"steady": STEADY, "lost": [run(0, [8.0, np.nan], loss=np.inf, score=np.nan)]}
    comparison(runs, target=2.0).to_json(tmp_path / "runs.json")

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    with open(tmp_path / "runs.json", encoding="utf-8") as file:
        content = json.load(file, parse_constant=refuse)
    assert content["settings"] == {"name": "by hand"}
    assert content["budget"] == {"passes": 3, "time_limit": None, "gradient_evaluations": None}
    assert content["target"] == 2.0
    assert content["seeds"] == [0, 1, 2, 3, 4]
    assert content["score"] == {"name": "accuracy", "data": "training"}
    for read, one in zip(content["runs"]["steady"], STEADY, strict=True):
        assert read["seed"] == one.seed
        assert read["status"] == "completed"
        assert read["objective"] == one.result.loss
        assert read["score"] == one.score
        trace = {name: np.array(column, float) for name, column in read["trace"].items()}
        for column in COLUMNS:
            np.testing.assert_array_equal(trace[column], one.result.trace[column])
    (lost,) = content["runs"]["lost"]
    assert lost["objective"] is lost["score"] is None
    assert lost["trace"]["objective"] == [8.0, None]


def test_the_settings_of_a_real_comparison_go_into_json(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    real = compare(
        MLP([2, 3, 1], activation="leaky_relu(0.2)", seed=np.int64(3)),
        X,
        y,
        {"sgd": SGD(0.1), "two": [SGD(0.1, epochs=1), LBFGS()]},
        passes=3,
        l2=np.float32(0.5),
        batch_size=np.int64(7),
        seeds=np.arange(2),
    )
    real.to_json(tmp_path / "runs.json")
    content = json.loads((tmp_path / "runs.json").read_text())
    settings = content["settings"]
    assert MLP(**settings["network"]).activations == ("leaky_relu(0.2)", "identity")
    assert settings["l2"] == 0.5
    assert settings["batch_size"] == {"sgd": 7, "two": 7}
    assert [text.split("(")[0] for text in settings["optimizers"]["two"]] == ["SGD", "LBFGS"]
    assert content["seeds"] == [0, 1]


def test_of_a_function_the_point_goes_into_json(tmp_path):
    bowl = FunctionProblem(
        "bowl",
        lambda seed: lambda x: (float(x @ x), 2 * x),
        lambda seed: np.array([3.0, -4.0]),
        target=1e-6,
    )
    compare_problems([bowl], ["lbfgs"])["bowl"].to_json(tmp_path / "runs.json")
    content = json.loads((tmp_path / "runs.json").read_text())
    (only,) = content["runs"]["lbfgs"]
    np.testing.assert_allclose(only["x"], [0.0, 0.0], atol=1e-4)  # its gradient tolerance is 1e-5


# Pages


def test_a_page_is_html_that_needs_nothing_else(tmp_path):
    pytest.importorskip("matplotlib")
    runs = {"<b>bold</b> & co": STEADY, "jumpy": JUMPY}
    comparison(runs, target=2.0).to_html(tmp_path / "page.html", title="1 < 2 & 3")
    page = read_page(tmp_path / "page.html")
    assert page.count("title") == page.count("h1") == page.count("img") == 1
    assert page.count("b") == 0
    assert "<b>bold</b> & co" in page.text
    assert "1 < 2 & 3" in page.text
    assert page.count("table") == 3 + 2  # outcome, cost, way to the target; settings, every run
    for table in comparison(runs, target=2.0).tables():
        for row in table.rows:
            for cell in row:
                assert cell in page.text
    for attributes in (a for tag, a in page.elements if tag == "img"):
        assert attributes["alt"]


def test_a_page_fits_a_phone(tmp_path):
    """Its figure is then another one, no wider than the screen, and every table scrolls."""
    pytest.importorskip("matplotlib")
    comparison({"steady": STEADY, "jumpy": JUMPY}).to_html(tmp_path / "page.html")
    page = read_page(tmp_path / "page.html")
    ((_, wide),) = (element for element in page.elements if element[0] == "img")
    ((_, narrow),) = (element for element in page.elements if element[0] == "source")
    assert narrow["media"].startswith("(max-width:")

    def width(address):
        """Of a PNG image, which begins with its size."""
        return int.from_bytes(base64.b64decode(address.rpartition(",")[2])[16:20])

    assert width(narrow["srcset"]) < width(wide["src"]) / 2
    for place, (tag, _) in enumerate(page.elements):
        if tag == "table":
            around, attributes = page.elements[place - 1]
            assert (around, attributes["class"]) == ("div", "wide")
    assert ".wide { overflow-x: auto; }" in page.text


def test_narrow_panels_are_stacked():
    pytest.importorskip("matplotlib")
    traces = {"steady": [one.result.trace for one in STEADY]}
    figure = plot_traces(traces, narrow=True)
    figure.draw_without_rendering()
    boxes = [panel.get_position() for panel in figure.get_axes()]
    assert len({round(box.x0, 6) for box in boxes}) == 1
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))
    assert all(panel.get_ylabel() == "objective" for panel in figure.get_axes())


def test_a_page_does_without_matplotlib_and_says_so(tmp_path, monkeypatch):
    hide_matplotlib(monkeypatch)
    comparison({"steady": STEADY}).to_html(tmp_path / "page.html")
    page = read_page(tmp_path / "page.html")
    assert page.count("img") == 0
    assert "No figure: plots need matplotlib" in page.text
    assert "steady" in page.text


# Figures


def plot(*arguments, **options):
    pytest.importorskip("matplotlib")
    return comparison(*arguments, **options).plot()


def test_one_seed_is_drawn_record_by_record_over_all_that_is_spent(tmp_path):
    pytest.importorskip("matplotlib")
    runs = {"steady": STEADY[:1], "jumpy": JUMPY[:1]}
    figure = comparison(runs).plot(tmp_path / "traces.png")
    assert (tmp_path / "traces.png").read_bytes().startswith(b"\x89PNG")
    panels = figure.get_axes()
    labels = ["seconds", "data passes", "gradient evaluations"]
    assert [panel.get_xlabel() for panel in panels] == labels
    assert panels[0].get_ylabel() == "objective"
    for panel, column in zip(panels, ("seconds", "data_passes", "n_grad_evals"), strict=True):
        assert panel.get_yscale() == "log"
        assert [line.get_label() for line in panel.get_lines()] == list(runs)
        for line, (one,) in zip(panel.get_lines(), runs.values(), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), one.result.trace[column])
            np.testing.assert_array_equal(line.get_ydata(), one.result.trace["objective"])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(runs)


def test_several_seeds_are_drawn_as_the_median_of_where_they_stand():
    """Three runs by hand, with records at 0, 1, 2, ... times 1, 0.5 and 2 seconds."""
    three = [JUMPY[1], JUMPY[0], JUMPY[2]]
    panel = plot({"jumpy": three}).get_axes()[0]
    (line,) = panel.get_lines()
    # time          0    0.5  1    1.5  2    3    4    6
    # by 1          8    8    6    6    2    1.5  1.5  1.5
    # by 0.5        8    1    5    3    3    3    3    3
    # by 2          8    8    8    8    6    6    5    2
    np.testing.assert_array_equal(line.get_xdata(), [0, 0.5, 1, 1.5, 2, 3, 4, 6])
    np.testing.assert_array_equal(line.get_ydata(), [8, 8, 6, 6, 3, 3, 3, 2])
    assert line.get_drawstyle() == "steps-post"
    (band,) = panel.collections
    corners = band.get_paths()[0].vertices
    # Lower and upper quartile of 8, 1, 8.
    assert {4.5, 8.0} <= set(corners[corners[:, 0] == 0.5, 1])


def test_an_axis_is_logarithmic_where_optimizers_differ_much():
    slow = [run(0, [8.0, 4.0, 2.0], per_record=100.0)]
    seconds, passes, _ = plot({"slow": slow, "fast": JUMPY[:1]}).get_axes()
    assert seconds.get_xscale() == "symlog"  # the start took no time
    assert passes.get_xscale() == "linear"
    assert passes.get_xlim()[0] == 0


def test_an_objective_that_is_negative_gets_a_linear_axis():
    assert plot({"below": [run(0, [1.0, -1.0])]}).get_axes()[0].get_yscale() == "linear"
    # Zero, which a logarithmic axis cannot show, is an end that others come near to.
    assert plot({"zero": [run(0, [1.0, 0.0])]}).get_axes()[0].get_yscale() == "log"


def test_a_run_that_diverges_does_not_press_the_others_together():
    wild = [run(s, [8.0, 1e9, 1e300]) for s in range(3)]
    figure = plot({"wild": wild, "steady": STEADY})
    assert figure.get_axes()[0].get_ylim()[1] == 80
    figure.savefig(io.BytesIO())


def test_traces_without_a_record_can_be_drawn():
    pytest.importorskip("matplotlib")
    figure = plot_traces({"sgd": [Trace()], "lbfgs": []}, target=1.0)
    figure.savefig(io.BytesIO())
    assert len(figure.legends[0].get_texts()) == 2


def test_no_two_lines_of_a_plot_look_the_same():
    lines = plot({str(i): STEADY[:1] for i in range(30)}).get_axes()[0].get_lines()
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}
    assert len(looks) == 30


# Of linear sRGB: to CIE XYZ (IEC 61966-2-1), and what a deuteranope sees (Machado, Oliveira &
# Fernandes, IEEE Transactions on Visualization and Computer Graphics 15(6), 2009).
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
DEUTERANOPE = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]


def lab(colour, seen=None):
    """CIELAB of a colour such as "#0072B2", for normal eyes or those of a matrix."""
    encoded = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    if seen is not None:
        linear = np.clip(seen @ linear, 0, 1)
    t = np.array(XYZ) @ linear / np.sum(XYZ, axis=1)
    x, y, z = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / 3 * (29 / 6) ** 2 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_sixteen_lines_are_told_apart_by_colour_and_by_stroke():
    pytest.importorskip("matplotlib")
    panel = plot({"steady": STEADY}).get_axes()[0]
    styles = [line_style(panel, np.arange(9.0), i, 16) for i in range(16)]
    colours = [style["color"] for style in styles]
    assert len({(str(style["linestyle"]), style["marker"]) for style in styles}) == 16
    # A difference of 2.3 is just noticed (Mahy, Van Eycken & Oosterlinck, 1994).
    for seen, least in ((None, 10 * 2.3), (DEUTERANOPE, 5 * 2.3)):
        places = [lab(colour, seen) for colour in colours]
        gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(places, 2)]
        assert min(gaps) > least
    # And from the white behind them.
    assert max(lab(colour)[0] for colour in colours) < 80


def test_the_more_lines_the_fewer_marks_each_has():
    def n_marks(n):
        runs = {str(i): [run(s, np.linspace(9, 1, 99)) for s in range(3)] for i in range(n)}
        lines = plot(runs).get_axes()[1].get_lines()
        return max(len(line.get_markevery()) for line in lines)

    assert n_marks(16) < n_marks(3) < 7


@pytest.mark.parametrize("length", [4, 40, 400])
@pytest.mark.parametrize("narrow", [False, True])
def test_a_legend_is_whole_and_leaves_the_panels_their_height(length, narrow):
    names = [f"{i:02}".ljust(length, "x") for i in range(16)]
    traces = {name: [STEADY[0].result.trace] for name in names}
    figures = [plot_traces(shown, narrow=narrow) for shown in (traces, {"one": traces[names[0]]})]
    heights = []
    for figure in figures:
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        heights.append(figure.get_axes()[0].get_window_extent().height)
    assert heights[0] == pytest.approx(heights[1], rel=0.05)
    shown = [text.get_text().replace("\n", "") for text in figures[0].legends[0].get_texts()]
    assert shown == names


def test_any_name_is_in_the_legend_as_it_is():
    """Also what matplotlib takes for mathematics, or for a line that no legend is to show."""
    names = ["_mine", "$x", "a$b$c", "100%", "$\\none$"]
    figure = plot({name: STEADY[:1] for name in names}, target=2.0)
    texts = figure.legends[0].get_texts()
    assert [text.get_text() for text in texts] == names
    paths = plot_paths(lambda x: x @ x, {name: [[0.0, 0.0], [1.0, 1.0]] for name in names})
    for drawn in (figure, paths):
        drawn.savefig(io.BytesIO())  # raises where it cannot read mathematics


def test_figures_show_themselves_in_a_notebook():
    """By the method that IPython looks for."""
    pytest.importorskip("matplotlib")
    one = comparison({"steady": STEADY}, target=2.0)
    paths = {"a": [[0.0, 0.0], [1.0, 1.0]]}
    for figure in (
        one.plot(),
        Comparisons({"one": one}).plot_profile(),
        plot_paths(lambda x: x @ x, paths),
    ):
        assert figure._repr_png_().startswith(b"\x89PNG")
        assert pickle.loads(pickle.dumps(figure))._repr_png_() == figure._repr_png_()


def test_a_plot_needs_no_pyplot(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
    assert len(plot({"steady": STEADY}).get_axes()) == 3


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    hide_matplotlib(monkeypatch)
    with pytest.raises(ImportError, match=r"pip install 'fastmlp\[plot\]'"):
        comparison({"steady": STEADY}).plot()


# Paths


def valley(x):
    """Rosenbrock's function and its gradient."""
    along, across = 1 - x[0], x[1] - x[0] ** 2
    gradient = np.array([-2 * along - 400 * x[0] * across, 200 * across])
    return along**2 + 100 * across**2, gradient


def test_paths_are_drawn_over_contours_from_their_start_to_their_end():
    pytest.importorskip("matplotlib")
    path = []
    minimize(valley, [-1.2, 1.0], callbacks=lambda p: path.append(p.theta.copy()))
    wild = [[-1.2, 1.0], [0.0, 3.0], [1e9, -1e9], [np.nan, np.inf]]
    figure = plot_paths(lambda x: valley(x)[0], {"L-BFGS": path, "wild": wild}, minimum=[1, 1])
    figure.savefig(io.BytesIO())
    for panel, drawn in zip(figure.get_axes(), (np.array(path), np.array(wild[:3])), strict=True):
        line, start, minimum, end = panel.get_lines()
        np.testing.assert_array_equal(line.get_xydata(), drawn)
        np.testing.assert_array_equal(start.get_xydata(), [[-1.2, 1.0]])
        np.testing.assert_array_equal(minimum.get_xydata(), [[1.0, 1.0]])
        np.testing.assert_array_equal(end.get_xydata(), drawn[-1:])
        assert panel.collections  # contours
        # Start and minimum are on the figure, what runs away does not make it large.
        (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
        assert left < -1.2 < 1 < right < 10
        assert low < 1 < high < 10
    assert figure.get_axes()[0].get_title() == f"L-BFGS ({len(path)})"


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_every_path_has_its_panel(n):
    pytest.importorskip("matplotlib")
    paths = {str(i): [[0.0, 0.0], [1.0, i]] for i in range(n)}
    figure = plot_paths(lambda x: x @ x, paths)
    titles = [panel.get_title() for panel in figure.get_axes()]
    assert [title for title in titles if title] == [f"{i} (2)" for i in range(n)]


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        ({}, "paths must have at least one finite point"),
        ({"a": [[np.nan, 1.0]]}, "paths must have at least one finite point"),
        ({"a": [[1.0, 2.0, 3.0]]}, r"paths\['a'\] must have points of two coordinates, got 3"),
    ],
)
def test_paths_elsewhere_than_in_the_plane_are_refused(paths, sentence):
    with pytest.raises(ValueError, match=sentence):
        plot_paths(lambda x: x @ x, paths)
