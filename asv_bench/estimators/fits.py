"""Fits: which there are, how one is timed, and what a run has found so far."""

import importlib
import json
import os
import sys
import time
import warnings
from dataclasses import dataclass, field

from asv_bench.estimators.data import DATA_SETS, Split
from asv_bench.peers.processes import Failed, run_python

# Title and the module with MLPClassifier and MLPRegressor.
LIBRARIES = {
    "fastmlp": ("fastmlp", "fastmlp.sklearn"),
    "scikit-learn": ("scikit-learn", "sklearn.neural_network"),
}
OURS, THEIRS = LIBRARIES

# Units of the one hidden layer: scikit-learn's default, and a wide one.
UNITS = (100, 512)

# With --quick: so many rows to fit at most, epochs and seeds.
QUICK_ROWS, QUICK_ITERATIONS, QUICK_SEEDS = 500, 5, 2


@dataclass(frozen=True)
class Fit:
    """One fit of one estimator."""

    data_set: str
    units: int
    seed: int
    library: str

    @property
    def label(self):
        """What it is, in words."""
        title = DATA_SETS[self.data_set].title
        return f"{title}, {self.units} units, seed {self.seed}, {LIBRARIES[self.library][0]}"


def plan(data_sets, n_seeds=None):
    """All fits, in the order in which they are made: ours and theirs in turn.

    Parameters
    ----------
    data_sets : list of str
        Of DATA_SETS.
    n_seeds : int or None, default None
        By default as many as each data set has.
    """
    return [
        Fit(name, units, seed, library)
        for name in data_sets
        for units in UNITS
        for seed in range(DATA_SETS[name].n_seeds if n_seeds is None else n_seeds)
        for library in LIBRARIES
    ]


def measure(fit, quick=False):
    """Fit and predict in this process.

    Returns
    -------
    dict
        score : accuracy or R² on the rows to predict; seconds : of the fit; epochs; loss : the
        last of training.
    """
    data_set = DATA_SETS[fit.data_set]
    split, max_iter = data_set.load(), data_set.max_iter
    if quick:
        split = Split(split.X_train[:QUICK_ROWS], split.y_train[:QUICK_ROWS], *split[2:])
        max_iter = min(max_iter, QUICK_ITERATIONS)
    module = importlib.import_module(LIBRARIES[fit.library][1])
    estimator = module.MLPClassifier if data_set.classifies else module.MLPRegressor

    def fitted(max_iter):
        model = estimator(hidden_layer_sizes=(fit.units,), max_iter=max_iter, random_state=fit.seed)
        with warnings.catch_warnings():
            # Of epochs that did not suffice.
            warnings.simplefilter("ignore")
            return model.fit(split.X_train, split.y_train)

    fitted(1)
    start = time.perf_counter()
    model = fitted(max_iter)
    seconds = time.perf_counter() - start
    return {
        "score": float(model.score(split.X_test, split.y_test)),
        "seconds": seconds,
        "epochs": int(model.n_iter_),
        "loss": float(model.loss_),
    }


def measure_apart(fit, quick=False):
    """`measure` in a new process, free to use all cores.

    Raises
    ------
    processes.Failed
    """
    one = [fit.data_set, str(fit.units), str(fit.seed), fit.library]
    arguments = ["-m", "asv_bench.estimators", "--one", *one, *["--quick"] * quick]
    n_threads = str(os.cpu_count())
    output = run_python(arguments, OMP_NUM_THREADS=n_threads, OPENBLAS_NUM_THREADS=n_threads)
    return json.loads(output.splitlines()[-1])


@dataclass
class Results:
    """What a run has found so far.

    Attributes
    ----------
    done : dict
        By `Fit`, what `measure` returned.
    skipped : dict
        The reason, by the name of a data set that cannot be had.
    failed : dict
        The reason, by the label of the fit. The others of its data set, units and library are
        not tried.
    """

    done: dict = field(default_factory=dict)
    skipped: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)
    _hopeless: set = field(default_factory=set)

    def take(self, fit, quick=False):
        """Make a fit, unless others like it failed, and tell the outcome."""
        kind = (fit.data_set, fit.units, fit.library)
        if kind in self._hopeless:
            return
        try:
            found = measure_apart(fit, quick)
        except Failed as reason:
            self.failed[fit.label] = str(reason)
            self._hopeless.add(kind)
            print(f"  {fit.label}: left out: {reason}", file=sys.stderr)
            return
        self.done[fit] = found
        told = f"{found['score']:.4f} in {found['seconds']:.3g} s, {found['epochs']} epochs"
        print(f"  {fit.label}: {told}", file=sys.stderr)
