"""What the documentation shows runs: examples of docstrings, Python and commands on its pages."""

import doctest
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from handmade import hide_matplotlib
from marks import compiled_only

from fastmlp.cli import main

ROOT = Path(__file__).parents[1]


# Docstrings

WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "fastmlp").rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


@compiled_only
@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_docstrings_hold(module, tmp_path, monkeypatch):
    """As a reader would type them: an example has no names but those that it brings itself."""
    if "sklearn" in module:
        pytest.importorskip("sklearn")
    if "dask" in module:
        pytest.importorskip("distributed")
    if "parquet" in module:
        pytest.importorskip("pyarrow")
    if module.endswith(("plotting", "display")):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    tests = doctest.DocTestFinder().find(importlib.import_module(module), globs={})
    runner, report = doctest.DocTestRunner(verbose=False), []
    for test in tests:
        runner.run(test, out=report.append)
    assert runner.tries
    assert not runner.failures, "".join(report)


# Pages


def blocks(page, language):
    """The blocks of code on a page, each with the line that it begins at, for error messages."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.M | re.S):
        yield text.count("\n", 0, found.start()) + 2, found[1]


def run_python(page, line, block, names):
    for package in re.findall(r"^(?:import|from) (dask|keras|torch)\b", block, re.M):
        pytest.importorskip("distributed" if package == "dask" else package)
    with warnings.catch_warnings():
        if "import keras" in block:  # it warns of its own business with other libraries
            warnings.simplefilter("ignore")
        exec(compile("\n" * (line - 1) + block, str(ROOT / page), "exec"), names)


PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if "```python" in path.read_text(encoding="utf-8")
)
SNIPPETS = [(page, *block) for page in PAGES for block in blocks(page, "python")]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder for what is written without a path."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_walk_finds_pages_with_python():
    assert {"README.md", "docs/layers.md", "docs/optimizers.md", "docs/sklearn.md"} <= set(PAGES)


def another_port(test):
    """Let a Dask client take another port than others on this machine have, and leave a socket."""
    for ignored in (
        r"ignore:Port \d+ is already in use",
        "ignore:unclosed <socket:ResourceWarning",
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning",
    ):
        test = pytest.mark.filterwarnings(ignored)(test)
    return test


@compiled_only
@another_port
@pytest.mark.parametrize(
    ("page", "line", "block"), SNIPPETS, ids=[f"{page}:{line}" for page, line, _ in SNIPPETS]
)
def test_a_snippet_runs_by_itself(page, line, block, elsewhere):
    run_python(page, line, block, {})


@compiled_only
@another_port
@pytest.mark.parametrize(
    "page", [page for page in PAGES if sum(one == page for one, *_ in SNIPPETS) > 1]
)
def test_all_snippets_of_a_page_run_in_order(page, elsewhere):
    names = {}
    for line, block in blocks(page, "python"):
        run_python(page, line, block, names)


# The walk that adds a stage

WALK = "docs/add-a-layer-stage.md"


def change(tree, diff):
    """Apply a block of the walk: its file, then pieces of it, which have to be there once each."""
    header, _, text = diff.partition("\n")
    path = tree / header.removeprefix("--- ")
    source = path.read_text(encoding="utf-8")
    for piece in text.split("@@\n"):
        before, after = (
            "".join(line[1:] for line in piece.splitlines(keepends=True) if line[0] in marks)
            for marks in (" -", " +")
        )
        assert source.count(before) == 1, f"{header}: {before}"
        source = source.replace(before, after)
    path.write_text(source, encoding="utf-8")


def test_the_walk_that_adds_a_stage_leads_there(tmp_path):
    """In a copy of the sources, whose kernels are plain Python, for all of this to take seconds."""
    pytest.importorskip("sklearn")
    for folder in ("fastmlp", "kernels", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__py*"))
    for _, diff in blocks(WALK, "diff"):
        change(tmp_path, diff)
    for _, code in blocks(WALK, "py"):
        header, _, text = code.partition("\n")
        (tmp_path / header.removeprefix("# ")).write_text(text, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_DISABLE_JIT": "1"}
    for command in (
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_clip.py"],
        ["-c", "from fastmlp import MLPClassifier; MLPClassifier(clip=0.5).get_params()['clip']"],
    ):
        run = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout + run.stderr


# Commands

COMMANDS = [
    line.partition(" #")[0].strip()
    for _, block in blocks("README.md", "sh")
    for line in block.splitlines()
    if line.startswith("fastmlp ")
]


@compiled_only
def test_commands_of_the_readme_run_in_order(elsewhere, capsys, monkeypatch):
    """On a table with its columns, in less time, without figures; not what compiles all kernels."""
    pytest.importorskip("pandas")
    hide_matplotlib(monkeypatch)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 2)).round(3)
    lines = [f"{a},{b},{int(a > b)}" for a, b in rows]
    Path("data.csv").write_text("\n".join(["width,height,species", *lines]) + "\n")
    Path("new.csv").write_text("width,height,species\n0.5,1.5,0\n2.0,0.1,1\n")
    assert {command.split()[1] for command in COMMANDS} == {
        "compare",
        "train",
        "predict",
        "evaluate",
        "warmup",
        "info",
    }
    for command in COMMANDS:
        for long, short in (
            ("--budget 10s", "--budget 0.1s"),
            ("--time-limit 60", "--time-limit 1"),
        ):
            command = command.replace(long, short)
        arguments = shlex.split(command)[1:]
        if arguments != ["warmup"]:
            assert main(arguments) == 0, command
    assert capsys.readouterr().out
    predicted = Path("predictions.csv").read_text().splitlines()
    assert len(predicted) == 3
