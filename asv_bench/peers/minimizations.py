"""Full-batch L-BFGS: what is minimized, by which libraries, and what a run of one of them gives.

All minimize the same objective, the mean loss plus l2/2 of the squared weights, from the same
parameters, with ten pairs of history, a strong Wolfe line search and no tolerance, so that they
end when the iterations are over or no lower point is found.
"""

import importlib
import importlib.util
import json
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from asv_bench.benchmarks.workloads import Workload
from asv_bench.peers.libraries import output_apart

ITERATIONS = 200
HISTORY = 10
L2 = 1e-4

# SciPy's and PyTorch's limits on evaluations would end a run before its iterations do.
MOST_EVALUATIONS = 100 * ITERATIONS


@dataclass(frozen=True)
class Minimizer:
    """One library's L-BFGS.

    Attributes
    ----------
    title : str
    packages : tuple of str
        What is imported.
    module : str
        Of this package, with a function ``run(problem, n_threads, minimizer)``.
    unit : str
        What its time is given for: not every library tells its evaluations.
    """

    title: str
    packages: tuple[str, ...]
    module: str
    unit: str = "evaluation"


MINIMIZERS = {
    "fastmlp": Minimizer("fastmlp", ("fastmlp",), "minimize_fastmlp"),
    "scipy": Minimizer("SciPy over fastmlp", ("fastmlp",), "minimize_fastmlp"),
    "scipy-jax": Minimizer("SciPy over JAX", ("jax",), "minimize_jax"),
    "torch": Minimizer("PyTorch", ("torch",), "minimize_torch"),
    "optax": Minimizer("optax", ("jax", "optax"), "minimize_jax", "iteration"),
}
OURS = "fastmlp"

# SciPy's method on the same kernels is a peer as a solver; the others bring their own gradient.
SOLVER_PEERS = ("scipy",)
PEERS = ("scipy-jax", "torch", "optax")


@dataclass(frozen=True)
class Minimization:
    """A network's objective to be minimized from a given start.

    Attributes
    ----------
    name : str
    workload : Workload
        Sizes, activation, output and number of rows.
    dtype : str
    minimizers : tuple of str
        Keys of `MINIMIZERS`.
    """

    name: str
    workload: Workload
    dtype: str
    minimizers: tuple[str, ...]

    @property
    def description(self):
        """The network, the rows and the dtype."""
        workload = self.workload
        sizes = "-".join(map(str, workload.sizes))
        rows = "digits" if _is_digits(workload) else f"{workload.n_rows} rows"
        return f"{sizes} {workload.activation}, {rows}, {self.dtype}"

    def data(self):
        """X and y in the problem's dtype, y class indices for softmax.

        The digits, or random rows with a teacher's answers.
        """
        workload = self.workload
        if _is_digits(workload):
            from fastmlp.datasets import load_digits

            return load_digits(self.dtype)
        rng = np.random.default_rng(0)
        n_in, n_out = workload.sizes[0], workload.sizes[-1]
        X = rng.standard_normal((workload.n_rows, n_in))
        scores = np.sin(X @ rng.standard_normal((n_in, n_out)) / np.sqrt(n_in))
        scores += 0.1 * rng.standard_normal(scores.shape)
        if workload.output == "softmax":
            return X.astype(self.dtype), scores.argmax(axis=1)
        return X.astype(self.dtype), scores.astype(self.dtype)

    def start(self):
        """Parameters to start from: for each layer W (n_in, n_out) and b (n_out,)."""
        rng = np.random.default_rng(1)
        return [
            (
                (rng.standard_normal((n_in, n_out)) * np.sqrt(2 / n_in)).astype(self.dtype),
                np.zeros(n_out, self.dtype),
            )
            for n_in, n_out in pairwise(self.workload.sizes)
        ]


DIGITS_ROWS = 1797


def _is_digits(workload):
    return workload.n_rows == DIGITS_ROWS


def _problems():
    everybody = tuple(MINIMIZERS)
    solvers = (OURS, *SOLVER_PEERS)
    for sizes, activation, output, n_rows, minimizers in (
        ((64, 64, 32, 10), "relu", "softmax", DIGITS_ROWS, everybody),
        ((64, 32, 10), "relu", "softmax", DIGITS_ROWS, solvers),
        ((4, 16, 3), "tanh", "softmax", 150, solvers),
        ((20, 32, 1), "tanh", "identity", 500, solvers),
        ((24, 8, 2), "tanh", "identity", 200, solvers),
    ):
        for dtype in ("float32", "float64"):
            name = f"{'-'.join(map(str, sizes))}:{dtype}"
            workload = Workload(name, sizes, activation, output, None, "lbfgs", n_rows, 1)
            yield Minimization(name, workload, dtype, minimizers)


MINIMIZATIONS = {problem.name: problem for problem in _problems()}


@dataclass(frozen=True)
class Run:
    """What one run spent and where it got.

    Attributes
    ----------
    seconds : float
        From the call to its return; compilation is left out.
    iterations : int
    evaluations : int or None
        Of objective and gradient; None if the library does not tell.
    values, times : list of float
        Objective after each evaluation or iteration, and the seconds at which it was known.
    """

    seconds: float
    iterations: int
    evaluations: int | None
    values: list
    times: list

    @property
    def least(self):
        """The least objective."""
        return min(self.values)

    @property
    def seconds_each(self):
        """Seconds of an evaluation, or of an iteration where evaluations are not told."""
        return self.seconds / (self.evaluations or self.iterations)

    def seconds_to(self, target):
        """When the objective was first at most the target, or None."""
        pairs = zip(self.times, self.values, strict=True)
        return next((seconds for seconds, value in pairs if value <= target), None)


def fastest(one, other):
    """Of two runs the one that took less time."""
    return min(one, other, key=lambda run: run.seconds)


def can_run(minimizer):
    """Whether all that a minimizer needs is installed."""
    return all(map(importlib.util.find_spec, MINIMIZERS[minimizer].packages))


def run_here(minimizer, name, n_threads):
    """Run a minimizer in this process; return the Run as JSON."""
    module = importlib.import_module(f"asv_bench.peers.{MINIMIZERS[minimizer].module}")
    return json.dumps(asdict(module.run(MINIMIZATIONS[name], n_threads, minimizer)))


def run_apart(minimizer, name, n_threads):
    """Run a minimizer in a new process with that many threads; return the Run.

    Raises
    ------
    processes.Failed
    """
    output = output_apart(["--minimize", minimizer, name], n_threads)
    return Run(**json.loads(output.splitlines()[-1]))
