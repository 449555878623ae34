"""What is timed, by which libraries, and how."""

import importlib
import json
import statistics
import time
from dataclasses import dataclass

from asv_bench.benchmarks.small import FITS, seconds_above_kernels
from asv_bench.peers.libraries import LIBRARIES
from asv_bench.peers.minimizations import MINIMIZATIONS
from asv_bench.peers.processes import run_python

LBFGS_NETWORKS = ("64-32-10", "4-16-3", "20-32-1", "24-8-2")
LBFGS_ITERATIONS = 100

# Fits are repeated for so many seconds, and so often at least.
SECONDS = 1.0
FEWEST_FITS = 5

# JAX has as many threads as there are cores, or one, whichever is faster.
ENVIRONMENTS = {"jax": ({}, {"PJRT_NPROC": "1"})}

# With --quick: epochs or iterations, and seconds.
QUICK_EPOCHS, QUICK_SECONDS = 2, 0.01


@dataclass(frozen=True)
class Task:
    """A line of the tables.

    Attributes
    ----------
    name, kind, title : str
        The kind is "fit", "many", "classifier" or "lbfgs".
    libraries : tuple of str
        Those of `LIBRARIES`, and "scipy" for its L-BFGS on our objective.
    """

    name: str
    kind: str
    title: str
    libraries: tuple[str, ...]


def _tasks():
    for name, fit in FITS.items():
        batch = "full batch" if fit.batch is None else f"batch {fit.batch}"
        title = f"{fit.title}, {batch}, {fit.epochs} epochs"
        if name == "many":
            yield Task(name, "many", f"`fit_many`: {title}", ("fastmlp", "jax"))
        else:
            yield Task(name, "fit", title, ("fastmlp", "jax", "torch", "scikit-learn"))
    title = "`MLPClassifier`: iris, 16 hidden units, batch 32, 200 epochs"
    yield Task("classifier", "classifier", title, ("fastmlp", "scikit-learn"))
    for network in LBFGS_NETWORKS:
        yield Task(network, "lbfgs", network, ("fastmlp", "scipy", "scikit-learn"))


TASKS = {task.name: task for task in _tasks()}


def measure(task, library, quick=False):
    """Measure in this process.

    Returns
    -------
    dict
        seconds : the median of a fit; evaluations : of the objective, of ours and of SciPy's.
    """
    package = "fastmlp" if library == "scipy" else LIBRARIES[library].package
    module = importlib.import_module(f"asv_bench.small.of_{package}")
    seconds = QUICK_SECONDS if quick else SECONDS
    if task.kind == "lbfgs":
        iterations = QUICK_EPOCHS if quick else LBFGS_ITERATIONS
        problem = MINIMIZATIONS[f"{task.name}:float64"]
        run = module.lbfgs(problem, iterations, library)
        return {"seconds": median_seconds(run, seconds), "evaluations": run()}
    given = [] if task.kind == "classifier" else [FITS[task.name]]
    epochs = FITS[task.name].epochs if given else 200
    run = getattr(module, task.kind)(*given, QUICK_EPOCHS if quick else epochs)
    return {"seconds": median_seconds(run, seconds)}


def median_seconds(run, seconds):
    """The median of many calls, after some that warm up."""
    for _ in range(3):
        run()
    found, began = [], time.perf_counter()
    while len(found) < FEWEST_FITS or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def measure_apart(name, library, quick=False):
    """`measure` in a new process; `name` may also be "above-kernels".

    Raises
    ------
    processes.Failed
    """
    arguments = ["-m", "asv_bench.small", "--one", name, library, *["--quick"] * quick]
    found = [
        json.loads(run_python(arguments, JAX_PLATFORMS="cpu", **given).splitlines()[-1])
        for given in ENVIRONMENTS.get(library, ({},))
    ]
    return min(found, key=lambda one: one["seconds"])


def measure_here(name, library, quick=False):
    """What `measure_apart` asks a new process for."""
    if name == "above-kernels":
        return {"seconds": seconds_above_kernels(10 if quick else 300)}
    return measure(TASKS[name], library, quick)
