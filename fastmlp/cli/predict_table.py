"""Predictions of an estimator for tables."""

import csv

import numpy as np

from fastmlp.cli.console import DONE, reporter
from fastmlp.cli.streams import writing_text
from fastmlp.cli.table_data import quantile_names, read_for, scores_of


def predict_table(estimator, dates, arguments):
    """Write what an estimator predicts for each row of a file; return the status."""
    if arguments.threads is not None:
        estimator.set_params(n_threads=arguments.threads)
    table = read_for(estimator, dates, arguments.data, arguments.target)
    names, columns = _predicted(estimator, table.features)
    summary = []
    if arguments.target is not None:
        summary = [describe(scores_of(estimator, table, arguments.target))]
    report = reporter(arguments.out)
    with writing_text("--out", arguments.out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        # Python's floats have as many digits as give the same bits back.
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
    report("\n".join([*summary, f"predictions: {arguments.out}"]))
    return DONE


def describe(scores):
    """Scores by name in one line."""
    return ", ".join(f"{name} {value:.6g}" for name, value in scores.items())


def _predicted(estimator, features):
    """Names and columns of the predictions."""
    if hasattr(estimator, "classes_"):
        probabilities = estimator.predict_proba(features)
        labels = estimator.classes_[probabilities.argmax(axis=1)]
        names = ["class", *(f"probability_{one}" for one in estimator.classes_)]
        return names, [labels, *probabilities.T]
    values = np.asarray(estimator.predict(features))
    if values.ndim == 1:
        return ["value"], [values]
    return quantile_names(estimator.quantiles), list(values.T)
