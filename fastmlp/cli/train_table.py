"""Training of an estimator for tables."""

import time
import warnings
from functools import partial

import numpy as np

from fastmlp.cli.console import (
    DIVERGED,
    DONE,
    INTERRUPTED,
    print_error,
    print_warning,
    reporter,
    say,
)
from fastmlp.cli.streams import opened
from fastmlp.cli.table_data import answers_of, warn_of_texts, with_target
from fastmlp.cli.table_models import save_model

# Of the memory that there is, the part that a table and training on it may take.
_MOST_MEMORY = 0.5

_KINDS = {
    "number": "numbers",
    "boolean": "booleans",
    "category": "categories",
    "date": "dates",
    "constant": "constant",
}


def train_table(arguments):
    """Train an estimator as the options say, save it, and print its scores; return the status."""
    from fastmlp.datasets.memory import available_memory
    from fastmlp.sklearn import TabularClassifier, TabularRegressor
    from fastmlp.tabular.reading import read_table
    from fastmlp.tabular.training import Diverged
    from fastmlp.writing import check_writable

    check_writable("--out", arguments.out)
    _check(arguments)
    target = arguments.target
    available = available_memory()
    memory = None if available is None else int(_MOST_MEMORY * available)
    table = read_table(
        opened(arguments.data), target, arguments.drop, memory=memory, seed=arguments.seed
    )
    n_rows = len(table.features)
    if n_rows < table.n_rows:
        print_warning(
            f"DATA has {table.n_rows:,} rows, more than memory has room for: networks are trained "
            f"on {n_rows:,} of them, drawn at random; --plain trains one network on all"
        )
    features, answers = with_target(table, target)
    quantiles = arguments.quantiles
    task = arguments.task if quantiles is None else "regression"
    y, are_classes = answers_of(answers, task, f"--target {target}")
    warn_of_texts(features)
    kind = TabularClassifier if are_classes else partial(TabularRegressor, quantiles=quantiles)
    estimator = kind(
        arguments.architecture,
        n_networks=arguments.networks,
        categorical_features=arguments.categorical or "from_dtype",
        scoring=arguments.scoring,
        search="random" if arguments.search else None,
        time_limit=arguments.time_limit,
        progress=not arguments.quiet,
        n_threads=arguments.threads,
        random_state=arguments.seed,
    )
    report = reporter(arguments.out)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        try:
            estimator.fit(features, y)
        except Diverged as error:
            print_error(f"no model is saved: {error}")
            return DIVERGED
    seconds = time.perf_counter() - start
    for one in noted:
        print_warning(one.message)
    save_model(estimator, arguments.out, table.dates)  # before anything is printed, which may fail
    report("\n".join(_lines(estimator, y, seconds)))
    report(f"model: {arguments.out}")
    if any("Ctrl-C" in str(one.message) for one in noted):
        say("fastmlp: interrupted; the model so far is saved")
        return INTERRUPTED
    return DONE


def _check(arguments):
    """Check what the estimators would call by other names."""
    from fastmlp.validation import as_generator, check_count, check_positive

    check_count("--networks", arguments.networks)
    as_generator(arguments.seed, "--seed", "an integer from 0 up")
    if arguments.threads is not None:
        check_count("--threads", arguments.threads)
    if arguments.time_limit is not None:
        check_positive("--time-limit", arguments.time_limit)
    if arguments.target in arguments.drop:
        raise ValueError(f"--drop must not name the target, got {arguments.target!r}")
    if arguments.quantiles is not None:
        _check_quantiles(arguments)


def _check_quantiles(arguments):
    from fastmlp.tabular.targets import check_levels

    check_levels("--quantiles", arguments.quantiles)
    if arguments.task == "classification":
        raise ValueError("--quantiles must not be given with --task classification")
    if arguments.scoring is not None:
        raise ValueError(
            f"--quantiles must not be given with --scoring, got {arguments.scoring}: they go by "
            "their own loss"
        )


def _lines(estimator, y, seconds):
    """What there is to say of a fitted estimator."""
    n = estimator.n_features_in_
    answers = _describe_answers(estimator, y)
    yield f"{answers}; {len(y):,} rows, {n} column{'s' if n > 1 else ''}"
    yield from _describe_columns(estimator)
    score = estimator.scoring_.replace("_", " ")
    for i, one in enumerate(estimator.history_):
        if one["best_epoch"]:
            best, n_epochs = one["best_epoch"], len(one["scores"])
            value = one["scores"][best - 1]
            yield f"network {i + 1}: {score} {value:.4g} on its fold, epoch {best} of {n_epochs}"
    yield f"out of fold: {score} {estimator.oof_score_:.4g}"
    n_networks = len(estimator.networks_)
    yield f"{n_networks} network{'s' if n_networks > 1 else ''} in {seconds:.3g} s"


def _describe_answers(estimator, y):
    if not hasattr(estimator, "classes_"):
        levels = ", ".join(map(str, estimator.quantiles or ()))
        return f"regression, quantiles {levels}" if levels else "regression"
    names, counts = np.unique(y, return_counts=True)
    shown = [f"{name} {count:,}" for name, count in zip(names[:6], counts[:6], strict=True)]
    more = [f"{len(names) - 6} more"] if len(names) > 6 else []
    return f"classification, {len(names)} classes ({', '.join([*shown, *more])})"


def _describe_columns(estimator):
    """A line for each kind of columns."""
    columns = list(
        zip(
            estimator.feature_names_in_,
            estimator.feature_kinds_,
            estimator.categories_,
            strict=True,
        )
    )
    for kind, plural in _KINDS.items():
        names = [
            f"{name} ({len(categories)})" if kind == "category" else name
            for name, found, categories in columns
            if found == kind
        ]
        if names:
            yield f"{plural}: {', '.join(names)}"
