"""The examples run, and their pages show what they print."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from marks import compiled_only

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "examples"
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


# What makes long ones short enough for a test.
SHORTER = {"noisy_rosenbrock": ("--runs", "1")}


def run(name):
    """What an example defines."""
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name=name)


def output_of(page):
    """The block of output on an example's page."""
    return re.search(r"^```text\n(.*?)^```$", page, re.M | re.S)[1]


@compiled_only
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_its_page_shows(name, tmp_path):
    """What its lines begin with: numbers are times, or may differ in their last digits."""
    pytest.importorskip("matplotlib")
    command = [sys.executable, f"examples/{name}.py", "--figure", tmp_path / "figure.png"]
    done = subprocess.run(
        [*command, *SHORTER.get(name, ())], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout

    def beginnings(text):
        lines = [line.strip() for line in text.splitlines() if line.strip("- ")]
        return [re.split(r"  |\d", line)[0].strip() for line in lines]

    shown = output_of((PAGES / f"{name}.md").read_text(encoding="utf-8"))
    assert beginnings(printed) == beginnings(shown)
    drawn = sorted(path.name.removeprefix("figure") for path in tmp_path.iterdir())
    assert drawn
    assert drawn == sorted(path.name.removeprefix(name) for path in PAGES.glob(f"{name}*.png"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_listed_and_its_figures_are_on_its_page(name):
    assert f"[{name}]({name}.md)" in (PAGES / "README.md").read_text(encoding="utf-8")
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f"python examples/{name}.py" in page
    figures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert sorted(figures) == sorted(path.name for path in PAGES.glob(f"{name}*.png"))


# The cost of a gradient

COST = run("cost_of_a_gradient")


@pytest.mark.parametrize("K", [1, 2, 3, 10, 37])
def test_a_gradient_costs_the_calls_of_the_lecture(K):
    def calls(name):
        _, *counted = COST["count_calls"](COST[name], K)
        return tuple(counted)

    assert calls("finite_differences") == (K**2, 0)
    assert calls("central_differences") == (2 * K**2, 0)
    assert calls("direct_chain_rule") == (0, K * (K + 1) / 2)
    assert calls("backpropagation") == (0, 2 * K - 1)


@pytest.mark.parametrize("K", [1, 2, 10])
def test_all_ways_lead_to_the_gradient(K):
    def value(w):
        a = 1.0
        for weight in w:
            a = np.tanh(weight * a)
        return a

    # Complex steps have no rounding error of a difference: Squire & Trapp, SIAM Review 40 (1998).
    w = np.random.default_rng(K).uniform(0.8, 1.2, K)
    exact = [value(w + 1e-30j * unit).imag / 1e-30 for unit in np.eye(K)]
    # The errors of differences: some 1e-7 / 2 of curvature; 1e-10 and 1e-16 / 1e-5; else rounding.
    for name, tolerance in [
        ("finite_differences", 1e-6),
        ("central_differences", 1e-9),
        ("direct_chain_rule", 1e-14),
        ("backpropagation", 1e-14),
    ]:
        gradient, *_ = COST["count_calls"](COST[name], K)
        np.testing.assert_allclose(gradient, exact, rtol=0, atol=tolerance)
