"""A run's results as tables in Markdown and as sentences."""

import numpy as np

from asv_bench.peers.report import as_markdown
from asv_bench.tables import summary
from asv_bench.tables.data import TABLES
from asv_bench.tables.summary import BEST_BOOSTING

# Which comparisons are told, by the methods' names.
AGAINST = {
    "fastmlp-1": ("realmlp", "sklearn-mlp"),
    "fastmlp": ("realmlp", BEST_BOOSTING, *summary.BOOSTING, "hist-gb", "sklearn-mlp"),
}

# Figures with titles; log loss is of the tables with classes alone.
FIGURES = {
    "error": "Error (share of wrong classes, or RMSE over the standard deviation of the target)",
    "log_loss": "Log loss",
}


def as_text(done, titles, changes):
    """Everything that is told of the fits: a str.

    Parameters
    ----------
    done : dict
        By `fits.Fit`, what `fits.measure` returned.
    titles : dict of str
        By method, in the order of the columns.
    changes : dict of str
        By method, what is another than in "fastmlp".
    """
    present = {fit.method for fit in done}
    methods = [method for method in titles if method in present]
    parts = []
    for figure, title in FIGURES.items():
        values = summary.by_table(done, figure)
        if values:
            parts += [f"{title}, means over the seeds:", _grid(values, methods, titles, np.mean)]
            parts += shifted_means(values, methods, titles)
    seconds = summary.by_table(done, "seconds")
    parts += ["Seconds of a fit, medians:", _grid(seconds, methods, titles, np.median, ".3g")]
    return "\n\n".join([*parts, *comparisons(done, titles), *pieces(done, changes)])


def pieces(done, changes):
    """What a change of fastmlp does to errors and times, as a table; a list of none or two."""
    figures = ("error", "oof_error", "log_loss", "seconds")
    scored = {figure: summary.by_table(done, figure) for figure in figures}
    rows = [["fastmlp with", "error", "error out of fold", "log loss", "time"]]
    for name, title in changes.items():
        compared = [summary.compare(values, name, "fastmlp") for values in scored.values()]
        if compared[0].ratio is not None:
            rows.append([title, *map(_ratio, compared)])
    if len(rows) == 1:
        return []
    told = (
        "Changes of fastmlp, by its own figures (± is the standard error over the tables; out of "
        "fold are the rows to fit, each predicted by a network that has not seen it):"
    )
    return [told, as_markdown(rows)]


def _ratio(found):
    if found.ratio is None:
        return "-"
    return f"{found.ratio:.3f}" + ("" if found.spread is None else f" ± {found.spread:.3f}")


def _grid(values, methods, titles, over_seeds, spec=".4f"):
    """Tables by methods, in Markdown."""
    header = ["", "rows", *(titles[method] for method in methods)]
    rows = [header]
    for table in sorted(values, key=list(TABLES).index):
        found = values[table]
        cells = [
            format(over_seeds(list(found[method].values())), spec) if method in found else "-"
            for method in methods
        ]
        rows.append([table, f"{TABLES[table].n_rows:,}", *cells])
    return as_markdown(rows)


def shifted_means(values, methods, titles):
    """The shifted geometric means of all methods, in a sentence; a list of none or one."""
    found, common = summary.shifted_means(values, methods)
    if not found:
        return []
    told = ", ".join(
        f"{titles[method]} {mean:.4f}" for method, mean in sorted(found.items(), key=lambda x: x[1])
    )
    return [
        f"Shifted geometric mean (shift {summary.SHIFT}) over the tables that all methods have, "
        f"{len(common)} of {len(values)}: {told}."
    ]


def comparisons(done, titles):
    """What is said of fastmlp against each peer: a list of sentences."""
    titles = {**titles, BEST_BOOSTING: "the best of CatBoost, LightGBM and XGBoost on each table"}
    scored = {
        figure: summary.with_best_boosting(summary.by_table(done, figure)) for figure in FIGURES
    }
    seconds = summary.by_table(done, "seconds")
    told = []
    for one, others in AGAINST.items():
        for other in others:
            clauses = [
                _clause(figure.replace("_", " "), summary.compare(values, one, other))
                for figure, values in scored.items()
            ]
            time = summary.compare(seconds, one, other)
            if time.ratios:
                largest, table = time.largest
                clauses.append(f"time {time.ratio:.3g} times, at most {largest:.3g} ({table})")
            if any(clauses):
                names = f"{titles[one]} against {titles[other]}"
                told.append(f"{names}: {'; '.join(filter(None, clauses))}.")
    return told


def _clause(figure, found):
    if found.ratio is None:
        return None
    n_tables = len(found.ratios) + len(found.left_out)
    clause = f"{figure} {found.ratio:.3f} times, better on {found.better} of {n_tables} tables"
    if found.left_out:
        clause += f" (no ratio where one is 0: {', '.join(found.left_out)})"
    return clause
