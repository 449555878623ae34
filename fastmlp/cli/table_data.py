"""Tables of files as the estimators for tables take them."""

import numpy as np

from fastmlp.cli.console import print_warning
from fastmlp.cli.options import MOST_CLASSES
from fastmlp.cli.streams import is_large, opened

# Different texts, and the share of values, from which on a column is told of.
_MANY = 10
_MOSTLY = 0.8


def with_target(table, target):
    """Features and target of the rows that have one; those left out are told of."""
    there = _are_there(table.target, target)
    if there.all():
        return table.features, table.target
    return table.features[there], table.target[there]


def _are_there(answers, target):
    """Which rows have a target; those that have none are told of."""
    there = answers.notna().to_numpy()
    if not there.any():
        raise ValueError(f"--target {target} must have a value that is not missing, got none")
    if not there.all():
        print_warning(
            f"{(~there).sum()} of {len(there)} rows are left out, since {target!r} is missing in "
            "them"
        )
    return there


def warn_of_texts(features):
    """Tell of columns of texts that are meant for numbers, or that teach a network nothing."""
    import pandas

    for name in features.columns:
        column = features[name].dropna()
        if not pandas.api.types.is_string_dtype(column):
            continue
        different = column.drop_duplicates()
        are_numbers = pandas.to_numeric(different, errors="coerce").notna()
        if len(different) >= _MANY and are_numbers.mean() >= _MOSTLY:
            print_warning(
                f"column {name!r} is taken for texts, since not all of it are numbers: there is "
                f"{different[~are_numbers].iloc[0]!r}"
            )
        elif len(different) >= max(_MANY, _MOSTLY * len(column)):
            print_warning(
                f"column {name!r} holds {len(different)} different texts in {len(column)} rows, of "
                f"which networks learn nothing: leave it out by --drop"
            )


def answers_of(target, task, option):
    """What to train on, and whether that are classes.

    Parameters
    ----------
    target : pandas.Series
        Of numbers or texts.
    task : {"auto", "classification", "regression"}
    option : str
        How the target was named.

    Returns
    -------
    y : ndarray
        Of texts, integers, or float64.
    are_classes : bool
    """
    values = target.to_numpy()
    if values.dtype.kind != "f":
        if task == "regression":
            raise ValueError(f"{option} must hold numbers for regression, got {values[0]!r}")
        return _checked(values.astype(str), option), True
    if task == "regression":
        return values, False
    is_whole = bool(np.isfinite(values).all() and (values == np.trunc(values)).all())
    if task == "auto" and not (is_whole and len(np.unique(values)) <= MOST_CLASSES):
        return values, False
    classes = values.astype(np.int64) if is_whole else values.astype(str)
    return _checked(classes, option), True


def _checked(classes, option):
    different = np.unique(classes)
    if len(different) < 2:
        raise ValueError(
            f"{option} must hold at least two classes, got {different[0]!s} in all "
            f"{len(classes)} rows"
        )
    return classes


def tables_for(estimator, dates, data, target=None):
    """A file with the columns that an estimator knows, each of the kind that it knows.

    Yields
    ------
    Table
        All of the file, or of a large one some rows at a time.
    """
    from fastmlp.tabular.reading import read_table, read_tables

    reading = _reading_for(estimator, dates, target)
    tables = (
        read_tables(data, target, reading)
        if is_large(data)
        else [read_table(opened(data), target, (), reading)]
    )
    for table in tables:
        if table.features.shape[1] != estimator.n_features_in_:
            raise ValueError(
                f"DATA must have {estimator.n_features_in_} feature columns, as in training, got "
                f"{table.features.shape[1]}"
            )
        yield table


def _reading_for(estimator, dates, target):
    from fastmlp.tabular.reading import Reading

    names = list(getattr(estimator, "feature_names_in_", ()))
    if target in names:
        raise ValueError(f"--target must not name a column that MODEL predicts from, got {target}")
    classes = getattr(estimator, "classes_", None)
    texts = {target} if classes is not None and classes.dtype.kind not in "iuf" else set()
    if not names:
        return Reading(None, texts)
    known_dates = {}
    columns = zip(names, estimator.feature_kinds_, estimator.categories_, strict=True)
    for name, kind, categories in columns:
        if kind == "date":
            known_dates[name] = dates.get(name)
        elif kind == "constant" or (kind == "category" and isinstance(categories[0], str)):
            texts.add(name)
    return Reading(tuple(names), texts, known_dates, finds_dates=False)


def predictions_of(estimator, features):
    """Probabilities (n, n_classes), values (n,) or quantiles (n, n_levels)."""
    if hasattr(estimator, "classes_"):
        return estimator.predict_proba(features)
    return np.asarray(estimator.predict(features))


def scores_of(estimator, answers, predictions, target):
    """Scores of an estimator: values by name.

    Parameters
    ----------
    estimator : TabularClassifier or TabularRegressor
    answers : list of pandas.Series
        Of some rows each. Those whose answer is missing are left out.
    predictions : list of ndarray
        Of the same rows.
    target : str
    """
    import pandas

    answers, predictions = pandas.concat(answers, ignore_index=True), np.concatenate(predictions)
    there = _are_there(answers, target)
    answers, predictions = answers[there], predictions[there]
    if hasattr(estimator, "classes_"):
        return _scores_of_classes(estimator.classes_, answers, predictions, target)
    if answers.dtype.kind != "f":
        raise ValueError(f"--target {target} must hold numbers, got {answers.iloc[0]!r}")
    y = answers.to_numpy()
    if estimator.quantiles is not None:
        return _scores_of_quantiles(estimator.quantiles, predictions, y)
    errors = y - predictions
    deviations = y - y.mean()
    scores = {"rmse": np.sqrt(np.mean(errors**2)), "mean absolute error": np.abs(errors).mean()}
    if deviations.any():
        scores["R2"] = 1 - np.sum(errors**2) / np.sum(deviations**2)
    return scores


def quantile_names(levels):
    """What predicted quantiles are called."""
    return [f"quantile_{level}" for level in levels]


def _scores_of_quantiles(levels, quantiles, y):
    from fastmlp.tabular.scores import Pinball

    shares = (y[:, np.newaxis] < quantiles).mean(axis=0)
    below = {f"below {name}": one for name, one in zip(quantile_names(levels), shares, strict=True)}
    return {"quantile loss": Pinball(levels)(y, quantiles), **below}


def _scores_of_classes(classes, answers, probabilities, target):
    from fastmlp.tabular.scores import accuracy, auc, log_loss

    numbers = _class_numbers(classes, answers, target)
    scores = {
        "accuracy": accuracy(numbers, probabilities),
        "log loss": log_loss(numbers, probabilities),
    }
    if len(np.unique(numbers)) > 1:  # of rows of one class there is no such area
        scores["auc"] = auc(numbers, probabilities)
    return scores


def _class_numbers(classes, answers, target):
    are_numbers = classes.dtype.kind in "iuf"
    known = {float(one) if are_numbers else str(one): i for i, one in enumerate(classes)}
    numbers = [known.get(answer, -1) for answer in answers]
    if -1 in numbers:
        shown = ", ".join(map(str, classes[:20])) + (", ..." if len(classes) > 20 else "")
        raise ValueError(
            f"--target {target} must hold the classes that MODEL knows, {shown}, got "
            f"{answers.iloc[numbers.index(-1)]}"
        )
    return np.array(numbers)
