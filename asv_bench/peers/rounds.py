"""All measurements of a run, in turn for several rounds, each told as it comes."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from asv_bench.peers.figures import FIGURES
from asv_bench.peers.libraries import LIBRARIES, measure_apart
from asv_bench.peers.minimizations import MINIMIZERS, Run, fastest, run_apart
from asv_bench.peers.processes import Failed


@dataclass(frozen=True)
class Measurement:
    """One number, or Run, to be had, and which of several rounds counts: the least or the most."""

    key: tuple
    label: str
    unit: str
    measure: Callable[[], float | Run]
    best: Callable = min

    def told(self, value):
        """What was measured, in words."""
        if isinstance(value, Run):
            return f"{with_unit(value.seconds, self.unit)} to an objective of {value.least:.6g}"
        return with_unit(value, self.unit)


@dataclass
class Results:
    """What a run has found so far.

    Attributes
    ----------
    values : dict
        The best of all rounds: seconds of a step or call by ("seconds", task name, threads,
        library), GFLOP/s by ("peak", dtype, threads), a `minimizations.Run` by ("run", problem
        name, threads, minimizer), others by ("figure", name, threads).
    taken : dict
        What each round found, by the same keys: a list.
    skipped : list of str
        The libraries that are not installed.
    failed : dict
        The reason, by the label of the measurement.
    """

    values: dict = field(default_factory=dict)
    taken: dict = field(default_factory=dict)
    skipped: list = field(default_factory=list)
    failed: dict = field(default_factory=dict)

    def take(self, measurement):
        """Measure once more, unless it failed before, and tell the outcome."""
        label = measurement.label
        if label in self.failed:
            return
        try:
            value = measurement.measure()
        except Failed as reason:
            self.failed[label] = str(reason)
            print(f"  {label}: left out: {reason}", file=sys.stderr)
            return
        self.taken.setdefault(measurement.key, []).append(value)
        known = self.values.get(measurement.key, value)
        self.values[measurement.key] = measurement.best(value, known)
        print(f"  {label}: {measurement.told(value)}", file=sys.stderr)

    def by_round(self):
        """What each round found, as `values` of its own."""
        n_rounds = max(map(len, self.taken.values()), default=0)
        return [
            {key: found[i] for key, found in self.taken.items() if i < len(found)}
            for i in range(n_rounds)
        ]


def plan(timed, figures, minimized, threads):
    """The measurements of a round.

    Parameters
    ----------
    timed : list of (Task, list of str)
        Tasks, and which of LIBRARIES are timed at each.
    figures : list of str
        Of FIGURES.
    minimized : list of (Minimization, list of str)
        Problems, and which of MINIMIZERS are run on each.
    threads : list of int
    """
    measurements = []
    for dtype in dict.fromkeys(task.dtype for task, _ in timed):
        for n in threads:
            label = f"peak, {dtype}, {in_threads(n)}"
            peak = partial(measure_apart, "peak", dtype, n)
            measurements.append(Measurement(("peak", dtype, n), label, "GFLOP/s", peak, max))
    for task, libraries in timed:
        for n in threads:
            for library in libraries:
                label = f"{task.name}, {in_threads(n)}, {LIBRARIES[library].title}"
                seconds = partial(measure_apart, library, task.name, n)
                key = ("seconds", task.name, n, library)
                measurements.append(Measurement(key, label, "s", seconds))
    for problem, minimizers in minimized:
        for n in threads:
            for minimizer in minimizers:
                label = f"{problem.name}, {in_threads(n)}, {MINIMIZERS[minimizer].title}"
                run = partial(run_apart, minimizer, problem.name, n)
                key = ("run", problem.name, n, minimizer)
                measurements.append(Measurement(key, label, "s", run, fastest))
    for name in figures:
        figure = FIGURES[name]
        for n in threads if figure.threaded else [None]:
            label = figure.title if n is None else f"{figure.title}, {in_threads(n)}"
            measure = figure.measure if n is None else partial(figure.measure, n)
            key = ("figure", name, n)
            measurements.append(Measurement(key, label, figure.unit, measure, figure.best))
    return measurements


def in_threads(n):
    """The number of threads in words."""
    return f"{n} thread{'s' if n > 1 else ''}"


def with_unit(value, unit):
    """A number as text; seconds as milli- or microseconds if they are few."""
    if unit == "s" and value < 1:
        value, unit = (1e3 * value, "ms") if value >= 1e-3 else (1e6 * value, "µs")
    return f"{value:,.3g} {unit}" if abs(value) < 1000 else f"{value:,.0f} {unit}"
