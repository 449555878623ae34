"""The site: every public name is in its reference, and faults of built pages are found."""

import importlib
import inspect
import re
import runpy
from pathlib import Path

import pytest

import fastmlp

DOCS = Path(__file__).parents[1] / "docs"
REFERENCE = (DOCS / "api" / "index.rst").read_text(encoding="utf-8")
LISTED = re.findall(r"^   ([A-Za-z][\w.]*)$", REFERENCE, re.M)
PACKAGES = ["fastmlp", "fastmlp.dask", "fastmlp.datasets", "fastmlp.sklearn", "fastmlp.solvers"]
LOOK = runpy.run_path(str(DOCS / "check_pages.py"), run_name="check_pages")


# The reference


def module_of(name):
    """A public package, where there is what it needs."""
    if name == "fastmlp.dask":
        pytest.importorskip("distributed")
    if name in ("fastmlp.dask", "fastmlp.sklearn"):
        pytest.importorskip("sklearn")
    return importlib.import_module(name)


def object_of(name):
    """What stands in the reference under a name."""
    package, _, last = f"fastmlp.{name}".rpartition(".")
    return getattr(module_of(package), last)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(package):
    """Once: the same class under a second name is the same page."""
    module = module_of(package)
    below = package.removeprefix("fastmlp").lstrip(".")
    for name in sorted({*module.__all__, *(dir(module) if package == "fastmlp" else ())}):
        found = getattr(module, name)
        if inspect.ismodule(found) or name == "__version__":
            continue
        full = f"{below}.{name}".lstrip(".")
        alias = not (inspect.isclass(found) or inspect.isroutine(found))
        assert (
            full in LISTED
            or (alias and f"py:data:: fastmlp.{full}" in REFERENCE)
            or (name in LISTED and getattr(fastmlp, name) is found)
        ), full


def test_the_reference_lists_each_name_once():
    assert sorted(set(LISTED)) == sorted(LISTED)


@pytest.mark.parametrize("name", LISTED)
def test_every_name_of_the_reference_has_an_example(name):
    """Which runs, says the test of docstrings."""
    assert ">>> " in (object_of(name).__doc__ or ""), name


# Built pages

GOOD = '<meta charset="utf-8"><a href="b.html#here">b</a> <a href="https://example.org">e</a>'
SQUARE = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
PICTURE = f'<img src="data:image/svg+xml,{SQUARE}">'


@pytest.fixture
def site(tmp_path):
    (tmp_path / "a.html").write_text(GOOD)
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1><a href="a.html">a</a>')
    return tmp_path


def test_good_links_are_found_good(site):
    assert LOOK["broken_links"](site) == []


@pytest.mark.parametrize(
    ("added", "fault"),
    [
        ('<a href="c.html">c</a>', "a.html: c.html is no file"),
        ('<a href="b.html#there">b</a>', "a.html: b.html#there has no such place"),
        ('<a href="#top">a</a>', "a.html: #top has no such place"),
        ('<img src="c.png">', "a.html: c.png is no file"),
    ],
)
def test_a_link_that_leads_nowhere_is_told(site, added, fault):
    (site / "a.html").write_text(GOOD + added)
    assert LOOK["broken_links"](site) == [fault]


@pytest.fixture
def browser():
    pytest.importorskip("selenium")
    if not (LOOK["BROWSER"] and LOOK["DRIVER"]):
        pytest.skip("Chromium and chromedriver are not installed")
    browser = LOOK["chromium"]()
    yield browser
    browser.quit()


def test_a_browser_finds_what_does_not_fit(site, browser):
    (site / "a.html").write_text(GOOD + PICTURE + "<main><p>short</p></main>")
    assert LOOK["misfits"](site, browser) == []
    (site / "a.html").write_text(GOOD + '<img src="c.png">')
    (site / "b.html").write_text('<main><p style="width: 500px">wide</p></main>')
    missing = (site / "c.png").as_uri()
    assert LOOK["misfits"](site, browser) == [
        f"a.html at 1280 pixels misses the picture {missing}",
        f"a.html at 390 pixels misses the picture {missing}",
        "b.html at 390 pixels scrolls sideways to 508, as by 'p wide'",
    ]


# Figures


def faults(figure):
    return runpy.run_path(str(DOCS / "legible.py"), run_name="legible")["faults"](figure)


def figure_with(*lines, cmap=None):
    """A figure with lines of the given style, or with an image."""
    figure = pytest.importorskip("matplotlib.figure").Figure()
    panel = figure.subplots()
    for i, style in enumerate(lines):
        panel.plot([0, 1], [0, i], label=str(i), **style)
    if cmap is not None:
        panel.imshow([[0, 1]], cmap=cmap)
    return figure


@pytest.mark.parametrize(
    "other", [{"color": "C1", "linestyle": "--"}, {"color": "C1", "marker": "o"}, {"color": "0.9"}]
)
def test_lines_of_another_stroke_marker_or_lightness_are_legible(other):
    assert faults(figure_with({"color": "C0"}, other)) == []


def test_lines_that_differ_in_colour_alone_are_told():
    found = faults(figure_with({"color": "red"}, {"color": "blue"}, {"color": "green"}))
    # Their lightness is 53, 32 and, of (0, 128, 0), 46: red and blue are a grey apart.
    assert found == [
        "'0' and '2' differ in colour alone",
        "'1' and '2' differ in colour alone",
    ]


def test_points_that_differ_in_colour_alone_are_told():
    figure = figure_with()
    panel = figure.axes[0]
    for label, marker, color in (("a", "o", "C0"), ("b", "o", "C1"), ("c", "s", "C1")):
        panel.scatter([0, 1], [0, 1], marker=marker, color=color, label=label)
    assert faults(figure) == ["'a' and 'b' differ in colour alone"]


@pytest.mark.parametrize(
    ("cmap", "found"),
    [
        ("cividis", []),
        ("gray_r", []),
        ("jet", ["the lightness of 'jet' rises and falls"]),
        ("RdBu", ["the lightness of 'RdBu' rises and falls"]),
    ],
)
def test_a_colour_map_has_to_rise_in_lightness(cmap, found):
    assert faults(figure_with(cmap=cmap)) == found
