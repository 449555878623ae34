"""How several optimizers did on several problems: performance profiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastmlp.comparison import MEASURES, Comparison
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
from fastmlp.validation import as_real, check_known

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike


class Profile(NamedTuple):
    """Performance profiles: how often an optimizer costs no more than a factor times the best.

    Attributes
    ----------
    factors : ndarray (n,)
        Ascending, from 1 on.
    fractions : dict of str to ndarray (n,)
        Of all instances, those that the optimizer solved at a cost of at most the factor times
        the least cost of any. At factor 1 it is the share that it won, ties included; at a large
        one the share that it solved.
    n_instances : int

    Examples
    --------
    >>> import fastmlp
    >>> compared = fastmlp.compare_problems(
    ...     ["beale", "wood"], ["bfgs", "lbfgs"], gradient_evaluations=200
    ... )
    >>> profile = compared.profile()
    >>> profile.n_instances, sorted(profile.fractions)
    (2, ['bfgs', 'lbfgs'])
    """

    factors: np.ndarray
    fractions: dict[str, np.ndarray]
    n_instances: int


def performance_profile(
    costs: ArrayLike, factors: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Performance profiles of a table of costs.

    Dolan & Moré, "Benchmarking optimization software with performance profiles", Mathematical
    Programming 91:201-213 (2002).

    Parameters
    ----------
    costs : array_like (n_instances, n_solvers)
        At least 0; infinity is not solved. Where the least is 0, all that solved the instance
        tie.
    factors : array_like (n,) or None, default None
        Where to evaluate; None is at 1 and wherever a profile rises.

    Returns
    -------
    (factors, fractions) : ndarray (n,), (n, n_solvers)

    Raises
    ------
    ValueError
        For a table without instances, negative costs, or factors below 1.

    Examples
    --------
    Two solvers on three instances. The first is best on two of them, and never solves the third:

    >>> import numpy as np
    >>> import fastmlp
    >>> costs = [[10, 20], [30, 30], [np.inf, 50]]
    >>> factors, fractions = fastmlp.performance_profile(costs)
    >>> factors
    array([1., 2.])
    >>> fractions.round(2)
    array([[0.67, 0.67],
           [0.67, 1.  ]])
    """
    costs = as_real("costs", costs).astype(np.float64)
    if costs.ndim != 2 or 0 in costs.shape:
        raise ValueError(f"costs must have the shape (instances, solvers), got {costs.shape}")
    if not (costs >= 0).all():
        raise ValueError(f"costs must be at least 0, got {costs[~(costs >= 0)][0]}")
    least = costs.min(axis=1, keepdims=True)
    solved = np.isfinite(costs)
    ratios = np.where(solved, 1.0, np.inf)
    np.divide(costs, least, out=ratios, where=solved & (least > 0))
    if factors is None:
        factors = np.unique(np.append(ratios[solved], 1.0))
    factors = as_real("factors", factors).astype(np.float64)
    if factors.ndim != 1 or not (factors >= 1).all():
        raise ValueError(f"factors must be a vector of numbers from 1 up, got {factors}")
    return factors, (ratios <= factors[:, np.newaxis, np.newaxis]).mean(axis=1)


class Comparisons(Mapping):
    """A `Comparison` for each of several problems, by the problems' names.

    ``print`` shows the tables, as a notebook does. Profiles count every seed of every problem as an
    instance, of those that all optimizers ran on: Ctrl-C may have come before the last ones.

    Parameters
    ----------
    comparisons : dict of str to Comparison
        Each with a target, and of the same optimizers.

    Raises
    ------
    ValueError
        If one has no target.

    Examples
    --------
    >>> import fastmlp
    >>> comparisons = fastmlp.compare_problems(["rosenbrock"], ["bfgs", "lbfgs"], passes=200)
    >>> list(comparisons)
    ['rosenbrock']
    >>> comparisons["rosenbrock"].runs["bfgs"][0].result.success
    True
    """

    def __init__(self, comparisons: dict[str, Comparison]):
        for name, comparison in comparisons.items():
            if comparison.target is None:
                raise ValueError(f"comparisons must have a target each, got None for {name!r}")
        self._comparisons = comparisons

    def __getitem__(self, name: str) -> Comparison:
        return self._comparisons[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._comparisons)

    def __len__(self) -> int:
        return len(self._comparisons)

    def profile(self, measure: str = "seconds", factors: ArrayLike | None = None) -> Profile:
        """Performance profiles of what it took to reach the targets.

        Parameters
        ----------
        measure : {"seconds", "passes", "gradient_evaluations"}, default "seconds"
        factors : array_like (n,) or None, default None
            Where to evaluate; None is at 1 and wherever a profile rises.

        Returns
        -------
        Profile

        Raises
        ------
        ValueError
            For another measure, factors below 1, or where no instance was run by all.
        """
        check_known("measure", measure, MEASURES)
        names, costs = self._costs(measure)
        if not len(costs):
            raise ValueError("a profile needs a problem that all optimizers ran on, got none")
        factors, fractions = performance_profile(costs, factors)
        return Profile(factors, dict(zip(names, fractions.T, strict=True)), len(costs))

    def _costs(self, measure):
        """Names of the optimizers, and costs (n_instances, n_optimizers)."""
        names = list(next(iter(self.values())).runs) if self else []
        rows = [
            [run.cost(measure, comparison.target) for run in runs]
            for comparison in self.values()
            if len(comparison.runs) == len(names)
            for runs in zip(*comparison.runs.values(), strict=False)
        ]
        return names, rows

    @np.errstate(all="ignore")
    def plot_profile(
        self, path: str | PathLike[str] | None = None, measure: str = "seconds"
    ) -> Figure:
        """Draw the performance profiles over factors on a logarithmic axis.

        Parameters
        ----------
        path : path or None, default None
            Where to save the figure.
        measure
            As of `profile`.

        Returns
        -------
        matplotlib.figure.Figure
            It shows itself where it is the value of a notebook's cell; elsewhere give `path`.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        figure = self._draw(measure)
        if path is not None:
            save_figure(figure, path)
        return figure

    def _draw(self, measure, narrow=False):
        from fastmlp.plotting import plot_profile

        return plot_profile(self.profile(measure), MEASURES[measure][0], narrow=narrow)

    def table(self) -> str:
        """What it took to reach each problem's target, and how often each optimizer was best.

        In a terminal that is narrower, groups of columns go below each other.
        """
        return text_page([*self._target_tables(), *self._summary()], self._notes())

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        tables = [*self._target_tables(), *self._summary()]
        shown = [table.as_html(by_itself=True) for table in tables]
        return fragment(*shown, paragraph(" ".join(self._notes())))

    def _target_tables(self):
        for name, comparison in self.items():
            table = comparison.target_table(comparison.target)
            target = f"{comparison.target:g}"
            yield table._replace(caption=f"{name}: to an objective of at most {target}")

    def _summary(self):
        """In how many instances each optimizer reached the target, and did so at the least cost."""
        names, costs = self._costs("seconds")
        if not costs:
            return []
        solved = np.isfinite(costs).sum(axis=0)
        columns = [names, [f"{n}/{len(costs)}" for n in solved]]
        for measure in MEASURES:
            first = self.profile(measure, [1.0]).fractions
            columns.append([f"{first[name][0]:.0%}" for name in names])
        header = ("optimizer", "reached", *(f"least {title}" for _, title in MEASURES.values()))
        rows = list(zip(*columns, strict=True))
        caption = f"All {len(costs)} runs on {len(self)} problems"
        return [Table(header, rows, frozenset({"optimizer"}), caption)]

    def _notes(self):
        first = next(iter(self.values()), None)
        if first is None:
            return ["Interrupted before the first problem."]
        n = len(first.seeds)
        notes = [f"For each problem and seed all from the same start, with at most {first.budget}."]
        if n > 1:
            notes.insert(0, f"Median [lower quartile, upper quartile] over {n} seeds.")
        return notes

    @np.errstate(all="ignore")
    def to_html(self, path: str | PathLike[str], title: str = "Comparison of optimizers") -> None:
        """Write one page with the profiles, and tables and figure of every problem.

        It needs no other file. Without matplotlib it has no figures and says so.
        """
        parts = [table.as_html() for table in self._summary()]
        parts.append(paragraph(" ".join(self._notes())))
        if self._costs("seconds")[1]:
            parts.append(heading("Performance profiles", 2))
            parts.append(
                paragraph(
                    "Of all runs, those in which an optimizer reached the target at a cost of at "
                    "most so many times the least cost of any."
                )
            )
            for measure, (_, what) in MEASURES.items():
                draw = partial(self._draw, measure)
                parts.append(picture(draw, f"performance profiles by {what}"))
        for name, comparison in self.items():
            parts.append(heading(name, 2))
            parts += comparison.sections(3)
        write_page(path, title, parts)
