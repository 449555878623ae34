"""Predictions of an estimator for tables."""

import csv

from fastmlp.cli.console import DONE, reporter
from fastmlp.cli.streams import is_large, writing_text
from fastmlp.cli.table_data import predictions_of, quantile_names, scores_of, tables_for


def predict_table(estimator, dates, arguments):
    """Write what an estimator predicts for each row of a file; return the status."""
    if arguments.threads is not None:
        estimator.set_params(n_threads=arguments.threads)
    data, target = arguments.data, arguments.target
    answers, predictions = [], []

    def predicted():
        for table in tables_for(estimator, dates, data, target):
            values = predictions_of(estimator, table.features)
            if target is not None:
                answers.append(table.target)
                predictions.append(values)
            yield values

    blocks, summary = predicted(), []
    if not is_large(data):  # what is bad is told before anything is written
        blocks = list(blocks)
        summary = _summary(estimator, answers, predictions, target)
    report = reporter(arguments.out)
    with writing_text("--out", arguments.out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_names(estimator))
        for values in blocks:
            columns = _columns(estimator, values)
            # Python's floats have as many digits as give the same bits back.
            writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
        summary = summary or _summary(estimator, answers, predictions, target)
    report("\n".join([*summary, f"predictions: {arguments.out}"]))
    return DONE


def describe(scores):
    """Scores by name in one line."""
    return ", ".join(f"{name} {value:.6g}" for name, value in scores.items())


def _summary(estimator, answers, predictions, target):
    """Lines that say how good the predictions are, none without answers."""
    if target is None:
        return []
    return [describe(scores_of(estimator, answers, predictions, target))]


def _names(estimator):
    """Names of the columns of predictions."""
    if hasattr(estimator, "classes_"):
        return ["class", *(f"probability_{one}" for one in estimator.classes_)]
    levels = estimator.quantiles
    return ["value"] if levels is None else quantile_names(levels)


def _columns(estimator, predictions):
    """The columns of predictions of some rows."""
    if hasattr(estimator, "classes_"):
        return [estimator.classes_[predictions.argmax(axis=1)], *predictions.T]
    return list(predictions.reshape(len(predictions), -1).T)
