"""How several optimizers did on one problem: the runs, and ways to look at them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from fastmlp.mlp import MLP
from fastmlp.report import (
    Table,
    fragment,
    heading,
    paragraph,
    picture,
    save_figure,
    text_page,
    write_page,
)
from fastmlp.result import COLUMNS, FitResult, Record, Status
from fastmlp.validation import check_known
from fastmlp.writing import writing

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What an optimizer spends on its way, by the names of budgets: the column of `Record` and what
# it is called in tables.
MEASURES = {
    "seconds": ("seconds", "seconds"),
    "passes": ("data_passes", "data passes"),
    "gradient_evaluations": ("n_grad_evals", "gradient evals"),
}


@dataclass(frozen=True)
class Budget:
    """What each optimizer may spend; None is no such limit.

    Examples
    --------
    >>> import fastmlp
    >>> print(fastmlp.Budget(passes=10, time_limit=2.0))
    10 data passes and 2 s
    """

    passes: int | None = None
    time_limit: float | None = None
    gradient_evaluations: int | None = None

    def __str__(self) -> str:
        parts = []
        if self.passes is not None:
            parts.append(f"{self.passes} data pass{'es' if self.passes > 1 else ''}")
        if self.gradient_evaluations is not None:
            plural = "s" if self.gradient_evaluations > 1 else ""
            parts.append(f"{self.gradient_evaluations} gradient evaluation{plural}")
        if self.time_limit is not None:
            parts.append(f"{self.time_limit:g} s")
        return " and ".join(parts)


@dataclass(frozen=True)
class Run:
    """What one optimizer did from one start.

    Attributes
    ----------
    seed : int
        Of the start, of the order of the rows and of a function's noise.
    result : FitResult
    network : MLP or None
        What was trained; None for a function.
    score : float or None
        How well the network predicts, see `fastmlp.scoring.score`.

    Examples
    --------
    >>> import fastmlp
    >>> problem = fastmlp.load_problem("beale")
    >>> compared = fastmlp.compare_problems([problem], ["bfgs"], passes=100)["beale"]
    >>> [run] = compared.runs["bfgs"]
    >>> run.seed, run.best <= problem.target
    (0, True)
    """

    seed: int
    result: FitResult
    network: MLP | None = field(default=None, repr=False)
    score: float | None = None

    @property
    def best(self) -> float:
        """The least objective of the trace and the end; NaN if none is finite."""
        values = np.append(self.result.trace["objective"], self.result.loss)
        values = values[np.isfinite(values)]
        return float(values.min()) if values.size else np.nan

    def first_at(self, target: float) -> Record | None:
        """The first record whose objective is at most `target`, or None."""
        return next((r for r in self.result.trace if r.objective <= target), None)

    def cost(self, measure: str, target: float) -> float:
        """What was spent, by one of `MEASURES`, when the target was reached, or infinity."""
        record = self.first_at(target)
        return np.inf if record is None else float(getattr(record, MEASURES[measure][0]))


@dataclass(frozen=True)
class Comparison:
    """How several optimizers did. ``print`` shows the table, as a notebook does.

    Attributes
    ----------
    runs : dict of str to list of Run
        By the optimizers' names, in the order they were given, one run for each seed. Those that
        Ctrl-C came before are missing.
    budget : Budget
        Of each run: passes, time_limit, gradient_evaluations.
    target : float or None
        The objective that tables count the way to.
    score_name : str or None
        "accuracy", "rms error" or "loss"; None for a function.
    scored_on : str or None
        "validation" or "training": the data that the scores were taken on.
    settings : dict
        Under which conditions it all was, in values fit for JSON.

    Examples
    --------
    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 16, 10], output="softmax", seed=0)
    >>> comparison = fastmlp.compare(net, X, y, ["adam", "lbfgs"], passes=5, seeds=2)
    >>> list(comparison.runs), comparison.seeds
    (['adam', 'lbfgs'], [0, 1])
    >>> [run.result.trace[-1].data_passes for run in comparison.runs["adam"]]
    [5.0, 5.0]
    """

    runs: dict[str, list[Run]]
    budget: Budget
    target: float | None = None
    score_name: str | None = None
    scored_on: str | None = None
    settings: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def seeds(self) -> list[int]:
        """The seeds that there are runs of, in the order they were given."""
        return [run.seed for run in max(self.runs.values(), key=len, default=[])]

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return any(
            run.result.status is Status.INTERRUPTED for runs in self.runs.values() for run in runs
        )

    @property
    def results(self) -> dict[str, FitResult]:
        """The result of each optimizer for the first seed, all there is if there is only one."""
        return {name: runs[0].result for name, runs in self.runs.items()}

    @property
    def networks(self) -> dict[str, MLP | None]:
        """What each optimizer trained for the first seed."""
        return {name: runs[0].network for name, runs in self.runs.items()}

    @property
    def scores(self) -> dict[str, float | None]:
        """The score of each optimizer for the first seed."""
        return {name: runs[0].score for name, runs in self.runs.items()}

    def table(self) -> str:
        """One line for each optimizer: where it ended, what it cost and why it stopped.

        "objective" is the one at the end, "best" the least on the way. Over several seeds a cell
        is "median [quartile, quartile]", or the one number that all have. With a target a second
        table says what was spent until the first record at or below it, and in how many runs
        there is one. Runs that never reach it count as longer than any other, so that a median
        is "never" where half of them do not.

        In a terminal that is narrower, groups of columns go below each other.
        """
        return text_page(self.tables(), self._notes())

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        tables = [table.as_html(by_itself=True) for table in self.tables()]
        return fragment(*tables, paragraph(" ".join(self._notes())))

    def tables(self) -> list[Table]:
        """What `table` shows, in parts: the outcome, the cost and, with a target, the way to it."""
        several = list(self.runs.values())
        names = {"optimizer": list(self.runs)}
        outcome = {
            "objective": _column([[run.result.loss for run in runs] for runs in several]),
            "best": _column([[run.best for run in runs] for runs in several]),
        }
        if self.score_name is not None:
            form = _accuracy if self.score_name == "accuracy" else _number
            scores = [[run.score for run in runs] for runs in several]
            outcome[self.score_name] = _column(scores, form)
        cost = {
            "seconds": _column([[run.result.seconds for run in runs] for runs in several]),
            "data passes": _column([[_passes(run) for run in runs] for runs in several]),
        }
        for title, count in (("loss evals", "n_loss_evals"), ("gradient evals", "n_grad_evals")):
            counts = [[getattr(run.result, count) for run in runs] for runs in several]
            cost[title] = _column(counts)
        status = {"status": [_statuses(runs) for runs in several]}
        if len(self.seeds) == 1:
            tables = [_table(names | outcome | cost | status)]
        else:
            tables = [_table(names | outcome | status), _table(names | cost)]
        return tables if self.target is None else [*tables, self.target_table(self.target)]

    def target_table(self, target: float) -> Table:
        """What it took to reach the target, and in how many runs it was reached."""
        several = list(self.runs.values())
        columns = {"optimizer": list(self.runs)}
        columns["reached"] = [
            f"{sum(run.first_at(target) is not None for run in runs)}/{len(runs)}"
            for runs in several
        ]
        for measure, (_, title) in MEASURES.items():
            columns[title] = _column(
                [[run.cost(measure, target) for run in runs] for runs in several],
                infinite="never",
            )
        return _table(columns, f"To an objective of at most {target:g}:")

    def _notes(self):
        """What tables need said of them, as sentences."""
        n = len(self.seeds)
        start = (
            "Each from the same parameters" if n < 2 else "For each seed all from the same start"
        )
        notes = [f"{start}, with at most {self.budget}."]
        if n > 1:
            notes.insert(0, f"Median [lower quartile, upper quartile] over {n} seeds.")
        if self.score_name is not None:
            notes.append(
                f"Objective of the training data, {self.score_name} of the {self.scored_on} data."
            )
        return notes

    @overload
    def plot(self, path: str | PathLike[str] | None = None) -> Figure: ...
    @overload
    def plot(
        self, path: str | PathLike[str] | None = None, *, ax: Axes, measure: str = "seconds"
    ) -> Axes: ...
    @np.errstate(all="ignore")
    def plot(
        self,
        path: str | PathLike[str] | None = None,
        *,
        ax: Axes | None = None,
        measure: str = "seconds",
    ) -> Figure | Axes:
        """Draw the objective against seconds, data passes and gradient evaluations.

        Over several seeds a line is the median of where the runs stood at each moment, that is
        of each run's newest record, and the band around it lies between the quartiles.

        Parameters
        ----------
        path : path or None, default None
            Where to save the figure; its ending decides the format, as in ".png" or ".pdf", and
            without one it is PNG.
        ax : matplotlib.axes.Axes or None, default None
            Where to draw, one panel only; None is a new figure with a panel for each measure.
        measure : {"seconds", "passes", "gradient_evaluations"}, default "seconds"
            What the horizontal axis of `ax` is.

        Returns
        -------
        matplotlib.figure.Figure or matplotlib.axes.Axes
            The new figure, which shows itself where it is the value of a notebook's cell, or `ax`.

        Raises
        ------
        ValueError
            For another measure.
        ImportError
            Without matplotlib, which the extra ``fastmlp[plot]`` brings.
        """
        check_known("measure", measure, MEASURES)
        drawn = self._draw() if ax is None else self._draw_on(ax, measure)
        if path is not None:
            save_figure(drawn if ax is None else ax.figure, path)
        return drawn

    def _draw(self, narrow=False):
        from fastmlp.plotting import plot_traces

        return plot_traces(self._traces(), self.target, narrow=narrow)

    def _draw_on(self, ax, measure):
        from fastmlp.plotting import plot_traces_on

        return plot_traces_on(ax, MEASURES[measure][0], self._traces(), self.target)

    def _traces(self):
        return {name: [run.result.trace for run in runs] for name, runs in self.runs.items()}

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write all records to one CSV file: optimizer, seed and the columns of `Record`."""
        with writing("path", path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("optimizer", "seed", *COLUMNS))
            for name, runs in self.runs.items():
                for run in runs:
                    writer.writerows((name, run.seed, *astuple(r)) for r in run.result.trace)

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write everything to a JSON file: settings, and of each run its end and its trace.

        Numbers that are not finite are null. Parameters are those of functions alone; a network
        has a file of its own, see `MLP.save`.
        """
        content = {
            "settings": self.settings,
            "budget": {
                "passes": self.budget.passes,
                "time_limit": self.budget.time_limit,
                "gradient_evaluations": self.budget.gradient_evaluations,
            },
            "target": self.target,
            "seeds": self.seeds,
            "score": {"name": self.score_name, "data": self.scored_on},
            "runs": {name: [_run_as_dict(r) for r in runs] for name, runs in self.runs.items()},
        }
        with writing("path", path, "w", encoding="utf-8") as file:
            json.dump(_for_json(content), file, indent=1, allow_nan=False)
            file.write("\n")

    @np.errstate(all="ignore")
    def to_html(self, path: str | PathLike[str], title: str = "Comparison of optimizers") -> None:
        """Write one page with the tables, the figure, the settings and every run.

        It needs no other file. Without matplotlib it has no figure and says so.
        """
        write_page(path, title, self.sections(2))

    def sections(self, level: int) -> list[str]:
        """The elements of `to_html`'s page, with headings from `level` down."""
        return [
            *(table.as_html() for table in self.tables()),
            paragraph(" ".join(self._notes())),
            picture(self._draw, "objective against seconds, data passes and gradient evaluations"),
            heading("Settings", level),
            _settings_table(self.settings).as_html(),
            heading("Every run", level),
            self._runs_table().as_html(),
        ]

    def _runs_table(self):
        every = [(name, run) for name, runs in self.runs.items() for run in runs]
        columns = {
            "optimizer": [name for name, _ in every],
            "seed": [str(run.seed) for _, run in every],
            "objective": [_number(run.result.loss) for _, run in every],
            "best": [_number(run.best) for _, run in every],
        }
        if self.score_name is not None:
            columns[self.score_name] = [_number(run.score) for _, run in every]
        columns["seconds"] = [_number(run.result.seconds) for _, run in every]
        columns["data passes"] = [_number(_passes(run)) for _, run in every]
        columns["gradient evals"] = [str(run.result.n_grad_evals) for _, run in every]
        columns["status"] = [f"{run.result.status}: {run.result.message}" for _, run in every]
        return _table(columns)


def quartiles(values) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, interpolated between neighbours.

    NaN counts as infinite, and what lies between a number and infinity is infinite.
    """
    ordered = np.sort(np.where(np.isnan(values), np.inf, np.asarray(values, np.float64)))
    found = []
    for level in (0.25, 0.5, 0.75):
        position = level * (ordered.size - 1)
        below = int(position)
        share = position - below
        if share == 0 or ordered[below] == ordered[below + 1]:
            found.append(float(ordered[below]))
        else:
            found.append(float((1 - share) * ordered[below] + share * ordered[below + 1]))
    low, middle, high = found
    return low, middle, high


def _number(value, digits=4):
    """A number in so many digits, or whole where an exponent would not make it shorter."""
    if not np.isfinite(value):
        return str(float(value))
    if 10**digits <= abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def _accuracy(value, digits=4):
    return f"{value:.{digits}f}"


def _column(values, form=_number, infinite="inf"):
    """The cells of a column: medians of each optimizer's values and, if they differ, quartiles."""
    digits = 4 if all(len(own) == 1 for own in values) else 3  # more would not be worth the width
    texts = [
        tuple(infinite if value == np.inf else form(value, digits) for value in quartiles(own))
        for own in values
    ]
    widths = [max(len(text[i]) for text in texts) for i in range(3)]
    cells = [
        f"{median:>{widths[1]}}"
        + ("" if low == high else f" [{low:>{widths[0]}}, {high:>{widths[2]}}]")
        for low, median, high in texts
    ]
    return [cell.ljust(max(map(len, cells))) for cell in cells]


def _passes(run):
    trace = run.result.trace
    return trace[-1].data_passes if len(trace) else 0.0


def _statuses(runs):
    """Why runs stopped: the one reason, or how often each."""
    counts = Counter(str(run.result.status) for run in runs)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{status} {n}" for status, n in counts.most_common())


def _table(columns, caption=""):
    rows = list(zip(*columns.values(), strict=True))
    return Table(tuple(columns), rows, frozenset({"optimizer", "status"}), caption)


def _settings_table(settings):
    rows: list[tuple[str, ...]] = []

    def add(name, value):
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{name}: {key}" if name else key, inner)
        elif isinstance(value, list):
            rows.append((name, ", ".join(map(str, value))))
        elif value is not None:
            rows.append((name, str(value)))

    add("", settings)
    return Table(("setting", "value"), rows, frozenset({"setting", "value"}))


def _run_as_dict(run):
    result = run.result
    content = {
        "seed": run.seed,
        "status": str(result.status),
        "message": result.message,
        "objective": result.loss,
        "best": run.best,
        "score": run.score,
        "seconds": result.seconds,
        "data_passes": _passes(run),
        "n_iter": result.n_iter,
        "n_loss_evals": result.n_loss_evals,
        "n_grad_evals": result.n_grad_evals,
        "trace": {column: result.trace[column].tolist() for column in COLUMNS},
    }
    if run.network is None:
        content["x"] = result.theta.tolist()
    return content


def _for_json(value):
    """The same with null for numbers that are not finite, and Python's numbers for NumPy's."""
    if isinstance(value, dict):
        return {key: _for_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_for_json(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
