"""A run's results as rows, as a table, and as JSON."""

import json

import numpy as np

from asv_bench.estimators.data import DATA_SETS
from asv_bench.estimators.fits import LIBRARIES, OURS, THEIRS, UNITS

# A fit of networks with that many hidden units is to take so many times less.
LEAST_RATIO = {100: 5, 512: 2}

# Differences of scores that come from the last digits.
ROUND_OFF = 1e-9


def rows_of(done):
    """One row for each data set and width of which both libraries have made a fit.

    Parameters
    ----------
    done : dict
        As of `fits.Results`; only seeds that both have count.

    Returns
    -------
    list of dict
        data_set; units; score : "accuracy" or "R²"; seeds : list of int; by library scores,
        seconds and epochs : lists with an item for each seed; mean and spread : of the scores,
        the spread their standard deviation, None for one seed; not_worse : whether our mean is at
        most scikit-learn's spread below its mean, None for one seed; ratio : the median over the
        seeds of their seconds to ours; fast_enough : whether it is LEAST_RATIO or more.
    """
    rows = []
    kinds = dict.fromkeys((fit.data_set, fit.units) for fit in done)
    for data_set, units in kinds:
        of_kind = {
            library: {
                fit.seed: found
                for fit, found in done.items()
                if (fit.data_set, fit.units, fit.library) == (data_set, units, library)
            }
            for library in LIBRARIES
        }
        seeds = sorted(of_kind[OURS].keys() & of_kind[THEIRS].keys())
        if not seeds:
            continue
        row = {
            "data_set": data_set,
            "units": units,
            "score": "accuracy" if DATA_SETS[data_set].classifies else "R²",
            "seeds": seeds,
        }
        for column, key in (("scores", "score"), ("seconds", "seconds"), ("epochs", "epochs")):
            row[column] = {x: [of_kind[x][seed][key] for seed in seeds] for x in LIBRARIES}
        scores = row["scores"]
        row["mean"] = {x: float(np.mean(scores[x])) for x in LIBRARIES}
        row["spread"] = {x: _spread(scores[x]) for x in LIBRARIES}
        row["not_worse"] = None
        if row["spread"][THEIRS] is not None:
            least = row["mean"][THEIRS] - row["spread"][THEIRS] - ROUND_OFF
            row["not_worse"] = row["mean"][OURS] >= least
        seconds = row["seconds"]
        row["ratio"] = float(np.median(np.divide(seconds[THEIRS], seconds[OURS])))
        row["fast_enough"] = row["ratio"] >= LEAST_RATIO[units]
        rows.append(row)
    return rows


def _spread(scores):
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else None


def cells_of(rows):
    """Header and cells of the table, as text."""
    titles = [title for title, _ in LIBRARIES.values()]
    header = ["", "score", "seeds", *titles, "within spread"]
    header += [f"{title}, s" for title in titles]
    header += ["ratio", "at least", "epochs"]
    table = [header]
    for row in rows:
        within = {True: "yes", False: "lower", None: "-"}[row["not_worse"]]
        if row["not_worse"] and row["mean"][OURS] > row["mean"][THEIRS] + row["spread"][THEIRS]:
            within = "better"
        table.append(
            [
                f"{DATA_SETS[row['data_set']].title}, {row['units']} units",
                row["score"],
                str(len(row["seeds"])),
                *(_with_spread(row["mean"][x], row["spread"][x]) for x in LIBRARIES),
                within,
                *(f"{np.median(row['seconds'][x]):.3g}" for x in LIBRARIES),
                f"{row['ratio']:.1f}{'' if row['fast_enough'] else ' missed'}",
                str(LEAST_RATIO[row["units"]]),
                " / ".join(f"{np.median(row['epochs'][x]):g}" for x in LIBRARIES),
            ]
        )
    return table


def _with_spread(mean, spread):
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ± {spread:.4f}"


def notes_on(results, rows, quick=False):
    """What the columns mean, and where fastmlp is behind: a list of sentences."""
    notes = []
    if rows:
        notes.append(
            "Accuracy or R² on rows not fitted: mean ± standard deviation over the seeds, for "
            "both with the same rows and hyperparameters (scikit-learn's defaults but for the "
            "epochs). Within spread: our mean is at most one such deviation of theirs below "
            "theirs; by chance alone, an estimator that is as good is lower in 17% of rows with 3 "
            "seeds and in 3% with 10. Seconds and epochs of a fit are medians, the ratio is the "
            "median of theirs to ours with the same seed."
        )
        counts = (
            ("not_worse", "Lower than scikit-learn's by more than its spread"),
            ("fast_enough", "Less than the wanted ratio"),
        )
        for key, what in counts:
            judged = [row for row in rows if row[key] is not None]
            behind = [
                f"{DATA_SETS[row['data_set']].title} with {row['units']} units"
                for row in judged
                if not row[key]
            ]
            if judged:
                notes.append(
                    f"{what} in {len(behind)} of {len(judged)} rows"
                    f"{': ' + ', '.join(behind) if behind else ''}."
                )
    if quick:
        notes.append("A quick look at few rows and epochs: no figures to publish.")
    for name, reason in results.skipped.items():
        notes.append(f"Skipped: {DATA_SETS[name].title}: {reason}.")
    return [*notes, *(f"Left out: {label}: {reason}" for label, reason in results.failed.items())]


def as_json(machine, results, rows, quick=False):
    """Everything, in JSON: a str."""
    content = {
        "machine": machine,
        "quick": quick,
        "units": list(UNITS),
        "rows": rows,
        "skipped": results.skipped,
        "failed": results.failed,
    }
    return json.dumps(content, indent=1, ensure_ascii=False)
