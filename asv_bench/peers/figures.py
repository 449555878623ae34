"""Figures of fastmlp alone: start-up, memory, and what L-BFGS leaves to the objective.

Start-up and memory are those of the suites `startup` and `memory`, which asv runs.
"""

import functools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from asv_bench.benchmarks.startup import FIRST_FIT, Imports
from asv_bench.peers.libraries import measure_apart
from asv_bench.peers.networks import ONE_HOT
from asv_bench.peers.processes import run_python

# Processes whose least time counts.
REPEATS = 5

TIMED = """
import time
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""

PEAK_MEMORY = """
import resource, sys
from asv_bench.benchmarks.memory import PeakMemory
benchmark = PeakMemory()
benchmark.setup()
{work}
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)
"""

EVALUATIONS = """
import sys
sys.path.append("tests")
from fastmlp import LBFGS, Scipy, minimize
from more_garbow_hillstrom import PROBLEMS
ours, theirs = (
    sum(
        minimize(problem.value_and_grad, problem.start, optimizer=optimizer).n_grad_evals
        for problem in PROBLEMS.values()
    )
    for optimizer in (LBFGS(), Scipy("L-BFGS-B"))
)
print(100 * ours / theirs)
"""

ONE_HOT_MEMORY = """
import resource, sys
from asv_bench.peers.pieces_fastmlp import ONE_HOT, one_hot
net, X, y = one_hot({dense}, {n_rows})
net.fit(X, y, batch_size=ONE_HOT.batch, epochs=1)
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)
"""

DATA = "benchmark.peakmem_data_alone()"
GRADIENT_OF_A_ROW = "benchmark.net.loss_and_grad(benchmark.X[:1], benchmark.y[:1])"


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes
    ----------
    title : str
    unit : str
    measure : callable
        Takes the number of threads if `threaded`, else nothing; may raise `processes.Failed`.
    threaded : bool
    best : callable
        Of the numbers of all rounds: min or max.
    """

    title: str
    unit: str
    measure: Callable
    threaded: bool = False
    best: Callable = min


def import_seconds():
    """Seconds of importing fastmlp less those of importing numba."""

    def least(statement):
        code = TIMED.format(statement=statement)
        return min(float(run_python(["-c", code])) for _ in range(REPEATS))

    imports = Imports()
    return least(imports.timeraw_import_fastmlp()) - least(imports.timeraw_import_numba())


def process_seconds(**environment):
    """Seconds from the start to the end of a process that fits one epoch of the digits."""
    start = time.perf_counter()
    run_python(["-c", FIRST_FIT], **environment)
    return time.perf_counter() - start


def warm_process_seconds():
    """The same where another process has filled the cache."""
    process_seconds()
    return min(process_seconds() for _ in range(REPEATS))


def cold_process_seconds():
    """The same with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        return process_seconds(FASTMLP_CACHE_DIR=cache)


def peak_memory(work):
    """Peak memory in MB of a process that has the data of `PeakMemory` and does some work."""
    # The first of two processes may have to compile.
    code = PEAK_MEMORY.format(work=work)
    return min(float(run_python(["-c", code])) for _ in range(2))


def memory_beyond(less, more):
    """Peak memory in MB that more work takes than less."""
    return peak_memory(f"{less}; {more}") - peak_memory(less)


def one_hot_memory(dense):
    """Peak memory in MB that all rows of ONE_HOT take beyond one mini-batch of them."""

    def peak(n_rows):
        code = ONE_HOT_MEMORY.format(dense=dense, n_rows=n_rows)
        return min(float(run_python(["-c", code])) for _ in range(2))

    return peak(ONE_HOT.n_rows) - peak(ONE_HOT.batch)


def relative_evaluations():
    """Evaluations of LBFGS in percent of those of SciPy's L-BFGS-B, on the functions of a test."""
    return float(run_python(["-c", EVALUATIONS]))


def _lbfgs_share(name, n_threads):
    return 100 * measure_apart("lbfgs_share", name, n_threads)


FIGURES = {
    **{
        name: Figure(
            f"share of L-BFGS's time on the digits, 64-64-32-10, {dtype}, that the objective takes",
            "%",
            functools.partial(_lbfgs_share, f"64-64-32-10:{dtype}"),
            threaded=True,
            best=max,
        )
        for name, dtype in (("lbfgs_share", "float32"), ("lbfgs_share-float64", "float64"))
    },
    "scipy_share": Figure(
        "share of the time of SciPy's L-BFGS on 60,000 x 784 rows, 784-16-16-10, "
        "that is spent in the kernels",
        "%",
        functools.partial(_lbfgs_share, "digits13k"),
        threaded=True,
        best=max,
    ),
    "lbfgs_evaluations": Figure(
        "evaluations of L-BFGS on the functions of Moré, Garbow & Hillstrom, of those of SciPy's",
        "%",
        relative_evaluations,
    ),
    "import": Figure("`import fastmlp` beyond `import numba`", "s", import_seconds),
    "process": Figure(
        "process with import, network and one epoch of the digits, warm cache",
        "s",
        warm_process_seconds,
    ),
    "process-cold": Figure("the same process, empty cache", "s", cold_process_seconds),
    "memory-kernels": Figure(
        "memory of the compiler and the loaded kernels, warm cache",
        "MB",
        lambda: memory_beyond(DATA, GRADIENT_OF_A_ROW),
    ),
    "memory-gradient": Figure(
        "peak memory beyond data and kernels, full-batch gradient of 20-64-64-1 on 1,000,000 rows",
        "MB",
        lambda: memory_beyond(GRADIENT_OF_A_ROW, "benchmark.peakmem_full_batch_gradient()"),
    ),
    "memory-epoch": Figure(
        "peak memory beyond data and kernels, one epoch of the same in mini-batches of 256",
        "MB",
        lambda: memory_beyond(GRADIENT_OF_A_ROW, "benchmark.peakmem_one_epoch()"),
    ),
    "onehot": Figure(
        "a step on 10 columns of 1,000 categories as a one-hot matrix, of its time as Categorical, "
        "10000-64-10, batch 128, Adam",
        "times",
        lambda n_threads: measure_apart("onehot", "", n_threads),
        threaded=True,
        best=max,
    ),
    "memory-onehot": Figure(
        f"peak memory for {ONE_HOT.n_rows:,} such rows as Categorical beyond one mini-batch",
        "MB",
        lambda: one_hot_memory(dense=False),
    ),
    "memory-onehot-dense": Figure(
        "the same as a one-hot matrix", "MB", lambda: one_hot_memory(dense=True)
    ),
}
