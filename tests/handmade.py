"""Comparisons made by hand, and a reader of the pages that they write."""

import re
import sys
from html.parser import HTMLParser

import numpy as np

from fastmlp import Budget, Comparison, FitResult, Record, Run, Status, Trace


def run(seed, objectives, *, status=Status.COMPLETED, loss=None, score=0.5, per_record=1.0):
    """A run with one record a data pass, each of `per_record` seconds and ten gradients."""
    trace = Trace(
        Record(per_record * i, i, float(i), 10 * i, 10 * i, float(value))
        for i, value in enumerate(objectives)
    )
    last = len(objectives) - 1
    result = FitResult(
        theta=np.zeros(1),
        loss=objectives[-1] if loss is None else loss,
        status=status,
        message="said why",
        n_iter=last,
        n_loss_evals=10 * last,
        n_grad_evals=10 * last,
        seconds=per_record * last,
        trace=trace,
    )
    return Run(seed, result, None, score)


def comparison(runs, target=None, score_name="accuracy"):
    return Comparison(runs, Budget(passes=3), target, score_name, "training", {"name": "by hand"})


# Each falls by steps; the last seed of the second never comes to 2.
STEADY = [run(s, [8.0, 4.0, 2.0 + s, 1.0 + s], score=s / 10) for s in range(5)]
JUMPY = [
    run(0, [8.0, 1.0, 5.0, 3.0], per_record=0.5),
    run(1, [8.0, 6.0, 2.0, 1.5]),
    run(2, [8.0, 6.0, 5.0, 2.0], per_record=2.0),
    run(3, [8.0, 6.0, 5.0, 4.0]),
    run(4, [8.0, 2.0, 5.0, 4.0]),
]


def hide_matplotlib(monkeypatch):
    """Let imports of matplotlib fail, also that of what has been imported with it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "fastmlp.figure", raising=False)


class Page(HTMLParser):
    """Reads a page, and fails where elements do not close in order."""

    VOID = ("meta", "img", "source", "br", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


def read_page(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    # Nothing is fetched: no addresses, and no attribute that loads something but data.
    without_data = re.sub('"data:[^"]*"', '""', text)
    assert "http" not in without_data.lower()
    assert "url(" not in without_data
    assert "@import" not in without_data
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("src", "href", "data", "srcset"):
            assert attributes.get(name, "data:").startswith("data:")
    return page
