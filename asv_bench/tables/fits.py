"""Fits: one estimator on the rows of one split, scored on the others, and a file of all results."""

import json
import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asv_bench.peers.processes import run_python
from asv_bench.tables.data import TABLES, split

# Rows of the fits before the one that counts.
WARMING_ROWS = 400

# RealMLP takes an hour on the largest tables.
TIMEOUT = 4 * 3600.0

# Who holds the threads of NumPy, scikit-learn and PyTorch.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Fit:
    """One fit of one method.

    Attributes
    ----------
    table : str
        Of data.TABLES.
    method : str
        Of peers.METHODS or pieces.PIECES.
    seed : int
        Of the split and of the method.
    """

    table: str
    method: str
    seed: int

    @property
    def key(self):
        """Its name in a file of results."""
        return f"{self.table}/{self.method}/{self.seed}"

    @classmethod
    def from_key(cls, key):
        """The fit of that name."""
        table, method, seed = key.split("/")
        return cls(table, method, int(seed))


def plan(tables, methods, n_seeds):
    """All fits, in the order in which they are made: methods in turn, small tables first."""
    by_size = sorted(tables, key=lambda name: TABLES[name].n_rows)
    return [
        Fit(table, method, seed)
        for seed in range(n_seeds)
        for table in by_size
        for method in methods
    ]


def measure(fit, n_threads):
    """Fit and score in this process.

    Returns
    -------
    dict
        As of `scores`, and seconds : of the fit, predict_seconds : of predicting the rows to score
        on, n_train and n_test : rows, oof_error : the error on the rows to fit, each predicted by
        networks that have not seen it, of methods that say so.
    """
    from asv_bench.tables.peers import METHODS
    from asv_bench.tables.pieces import PIECES

    classifies, build = TABLES[fit.table].classifies, (METHODS | PIECES)[fit.method].build
    parts = split(TABLES[fit.table], fit.seed)
    if classifies:
        parts = coded(parts)

    def fitted(X, y):
        return build(X, classifies, fit.seed, n_threads).fit(X, y)

    with warnings.catch_warnings():
        # Of epochs that did not suffice, and of peers about each other's versions.
        warnings.simplefilter("ignore")
        for _ in range(2):
            predictions(fitted(*sample(parts, classifies)), parts.X_test[:10], classifies)
        start = time.perf_counter()
        model = fitted(parts.X_train, parts.y_train)
        after_fit = time.perf_counter()
        predicted = predictions(model, parts.X_test, classifies)
        end = time.perf_counter()
    found = scores(parts.y_test, predicted, classifies)
    if hasattr(model, "oof_score_"):
        oof_score, scale = model.oof_score_, np.std(parts.y_train)
        found["oof_error"] = float(1 - oof_score if classifies else oof_score / scale)
    return {
        **found,
        "seconds": after_fit - start,
        "predict_seconds": end - after_fit,
        "n_train": len(parts.y_train),
        "n_test": len(parts.y_test),
    }


def coded(parts):
    """A split with classes as numbers from 0, which every method takes."""
    classes, y_train = np.unique(parts.y_train, return_inverse=True)
    return parts._replace(y_train=y_train, y_test=np.searchsorted(classes, parts.y_test))


def sample(parts, classifies):
    """X and y of a few rows to fit, with all classes."""
    from sklearn.model_selection import train_test_split

    n_rows = min(WARMING_ROWS, len(parts.y_train) // 2)
    X, _, y, _ = train_test_split(
        parts.X_train,
        parts.y_train,
        train_size=n_rows,
        random_state=0,
        stratify=parts.y_train if classifies else None,
    )
    return X.reset_index(drop=True), y


def predictions(model, X, classifies):
    """Probabilities (n, n_classes), or values (n,); float64."""
    found = model.predict_proba(X) if classifies else np.ravel(model.predict(X))
    return np.asarray(found, np.float64)


def scores(y, predicted, classifies):
    """How wrong predictions are.

    Parameters
    ----------
    y : array (n,)
        Class numbers from 0, or values.
    predicted : array
        As of `predictions`.

    Returns
    -------
    dict
        error : share of wrong classes, or the RMSE over the standard deviation of y, which is the
        root of 1 - R². log_loss : mean over the rows, natural logarithm; for values rmse.
    """
    from sklearn import metrics

    if classifies:
        error = float(np.mean(predicted.argmax(axis=1) != y))
        shares = predicted / predicted.sum(axis=1, keepdims=True)
        loss = metrics.log_loss(y, shares, labels=np.arange(predicted.shape[1]))
        return {"error": error, "log_loss": float(loss)}
    rmse = float(metrics.root_mean_squared_error(y, predicted))
    return {"error": rmse / float(np.std(y)), "rmse": rmse}


def measure_apart(fit, n_threads):
    """`measure` in a new process.

    Raises
    ------
    processes.Failed
    """
    arguments = ["-m", "asv_bench.tables", "--threads", str(n_threads), "--one", fit.key]
    environment = dict.fromkeys(THREAD_VARIABLES, str(n_threads))
    output = run_python(arguments, timeout=TIMEOUT, **environment)
    return json.loads(output.splitlines()[-1])


class Results:
    """All fits that there are, in a file that a later run goes on with.

    Parameters
    ----------
    path : path-like or None
        Of a JSON file, which may be there already; None keeps nothing.
    setting : dict
        What figures depend on, to be the same for all fits of a file.

    Raises
    ------
    ValueError
        If the file is of another setting.
    """

    def __init__(self, path, setting):
        self.path = None if path is None else Path(path)
        self.setting, self.done = setting, {}
        if self.path is None or not self.path.exists():
            return
        content = json.loads(self.path.read_text(encoding="utf-8"))
        for name, value in setting.items():
            if content["setting"][name] != value:
                raise ValueError(
                    f"{path} has fits with {name} {content['setting'][name]}, and this run is with "
                    f"{value}: name another file"
                )
        self.done = {Fit.from_key(key): found for key, found in content["fits"].items()}

    def add(self, fit, found):
        """Take the outcome of a fit, and write the file."""
        self.done[fit] = found
        if self.path is None:
            return
        fits = {fit.key: found for fit, found in self.done.items()}
        # Complete at any time, whenever a run is stopped.
        partial = self.path.with_name(self.path.name + ".part")
        content = {"setting": self.setting, "fits": fits}
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(partial, self.path)
