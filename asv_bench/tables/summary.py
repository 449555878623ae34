"""What the fits say together: errors and times over tables, and one method against another.

A score of a method on a table is its mean over the seeds. Errors of all tables come together as in
the paper on RealMLP (Holzmüller et al., NeurIPS 2024, arXiv:2407.04491): by the geometric mean of
the errors plus a shift, so that a table that is easy to get all but right does not outweigh all
others. Two methods are compared by the geometric mean of the ratios of their errors, on the tables
and seeds that both have.
"""

from dataclasses import dataclass

import numpy as np

# That of the paper.
SHIFT = 0.01

# Of which the best on a table is what a user would have chosen with hindsight.
BOOSTING = ("catboost", "lightgbm", "xgboost")
BEST_BOOSTING = "best boosting"


def shifted_geometric_mean(errors, shift=SHIFT):
    """exp(mean(log(errors + shift))): as in the paper, the shift is not taken off again.

    Parameters
    ----------
    errors : array-like
        Not negative.
    shift : float, default 0.01
    """
    return float(np.exp(np.mean(np.log(np.asarray(errors, float) + shift))))


def geometric_mean(values):
    """exp(mean(log(values))), of positive values."""
    return float(np.exp(np.mean(np.log(np.asarray(values, float)))))


def by_table(done, figure):
    """One figure of all fits that have it.

    Parameters
    ----------
    done : dict
        By `fits.Fit`, what `fits.measure` returned.
    figure : str
        A key of that: "error", "log_loss", "seconds" and so on.

    Returns
    -------
    dict of dict of dict
        By table, method and seed.
    """
    found = {}
    for fit, figures in done.items():
        if figure in figures:
            methods = found.setdefault(fit.table, {})
            methods.setdefault(fit.method, {})[fit.seed] = figures[figure]
    return found


def with_best_boosting(values):
    """`values` with one more method: on each table the one of BOOSTING with the lowest mean.

    On the seeds that all of BOOSTING have; a table on which one of them has none is without it.
    """
    extended = {}
    for table, methods in values.items():
        extended[table] = dict(methods)
        common = set.intersection(*(set(methods.get(name, ())) for name in BOOSTING))
        if common:
            rivals = [{seed: methods[name][seed] for seed in common} for name in BOOSTING]
            extended[table][BEST_BOOSTING] = min(rivals, key=_mean)
    return extended


def _mean(by_seed):
    return float(np.mean(list(by_seed.values())))


def means(values):
    """Means over the seeds, by table and method."""
    return {
        table: {method: _mean(by_seed) for method, by_seed in methods.items()}
        for table, methods in values.items()
    }


def shifted_means(values, methods):
    """The shifted geometric mean of each method, and the tables that it is over.

    These are the tables that all of `methods` have, so that the means are of the same tables.

    Returns
    -------
    dict
        By method; empty if there is no such table.
    list of str
    """
    table_means = means(values)
    common = [name for name, found in table_means.items() if set(methods) <= set(found)]
    if not common:
        return {}, []
    of_method = {
        method: shifted_geometric_mean([table_means[name][method] for name in common])
        for method in methods
    }
    return of_method, common


@dataclass(frozen=True)
class Comparison:
    """One method against another.

    Attributes
    ----------
    ratios : dict
        By table, the mean of the one over the mean of the other.
    better, worse : int
        Tables on which the mean of the one is lower and higher.
    left_out : tuple of str
        Tables on which one of the means is 0, which has no ratio.
    """

    ratios: dict[str, float]
    better: int
    worse: int
    left_out: tuple[str, ...]

    @property
    def ratio(self):
        """The geometric mean of the ratios; None without any."""
        return geometric_mean(list(self.ratios.values())) if self.ratios else None

    @property
    def spread(self):
        """The standard error of `ratio` over the tables; None for fewer than two."""
        if len(self.ratios) < 2:
            return None
        logs = np.log(list(self.ratios.values()))
        return float(self.ratio * logs.std(ddof=1) / np.sqrt(len(logs)))

    @property
    def largest(self):
        """The largest ratio and its table; None without any."""
        return max(((x, name) for name, x in self.ratios.items()), default=None)


def compare(values, one, other):
    """A method against another, on the tables and seeds that both have.

    Parameters
    ----------
    values : dict of dict of dict
        As of `by_table`; of figures of which less is better.
    one, other : str
        Methods.

    Returns
    -------
    Comparison
    """
    ratios, left_out, better, worse = {}, [], 0, 0
    for table, methods in values.items():
        seeds = methods.get(one, {}).keys() & methods.get(other, {}).keys()
        if not seeds:
            continue
        ours, theirs = (_mean({x: methods[name][x] for x in seeds}) for name in (one, other))
        better += ours < theirs
        worse += ours > theirs
        if ours > 0 and theirs > 0:
            ratios[table] = ours / theirs
        else:
            left_out.append(table)
    return Comparison(ratios, better, worse, tuple(left_out))
