"""What the documentation shows runs: examples of docstrings, Python and commands on its pages."""

import doctest
import importlib
from pathlib import Path

import pytest
from marks import compiled_only

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
    if module.endswith(("plotting", "display")):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    tests = doctest.DocTestFinder().find(importlib.import_module(module), globs={})
    runner, report = doctest.DocTestRunner(verbose=False), []
    for test in tests:
        runner.run(test, out=report.append)
    assert runner.tries
    assert not runner.failures, "".join(report)
