"""The libraries, what each can be timed at, and how: in a process of its own."""

import importlib
import importlib.util
from dataclasses import dataclass

from asv_bench.peers import tasks
from asv_bench.peers.processes import run_python

GRADIENTS = ("loss_and_grad", "value_and_grad")


@dataclass(frozen=True)
class Library:
    """One column of the table.

    Attributes
    ----------
    title : str
    package : str
        What is imported.
    distribution : str
        What is installed.
    kinds : tuple of str
        The kinds of `tasks.Task` that it is timed at.
    """

    title: str
    package: str
    distribution: str
    kinds: tuple[str, ...] = ("train", "pieces", "predict", *GRADIENTS)


LIBRARIES = {
    "fastmlp": Library("fastmlp", "fastmlp", "fastmlp"),
    "jax": Library("JAX", "jax", "jax"),
    "torch": Library("PyTorch", "torch", "torch"),
    "torch-compiled": Library("torch.compile", "torch", "torch", ("train", "pieces", "predict")),
    "scikit-learn": Library("scikit-learn", "sklearn", "scikit-learn", ("train", "predict")),
}
OURS = "fastmlp"
PEERS = tuple(name for name in LIBRARIES if name != OURS)


def installed(library):
    """Whether a library can be imported."""
    return importlib.util.find_spec(LIBRARIES[library].package) is not None


def measure(what, name, n_threads):
    """Measure in this process.

    Parameters
    ----------
    what : str
        One of LIBRARIES, or "peak", "lbfgs_share" or "onehot".
    name : str
        Of a task; of a dtype for "peak"; for "lbfgs_share" see `lbfgs_share`; "" for "onehot".
    n_threads : int

    Returns
    -------
    float
        Seconds, GFLOP/s for "peak", a share for "lbfgs_share", a ratio for "onehot".
    """
    if what == "peak":
        from asv_bench.peers.time_numpy import peak_gflops

        return peak_gflops(name)
    if what == "lbfgs_share":
        from asv_bench.peers.time_fastmlp import lbfgs_share

        return lbfgs_share(name, n_threads)
    if what == "onehot":
        from asv_bench.peers.pieces_fastmlp import one_hot_ratio

        return one_hot_ratio(n_threads)
    compiled = {"compiled": True} if what == "torch-compiled" else {}
    task = tasks.find(name)
    room = "pieces" if task.kind == "pieces" else "time"
    module = importlib.import_module(f"asv_bench.peers.{room}_{LIBRARIES[what].package}")
    return module.measure(task, n_threads, **compiled)


def measure_apart(what, name, n_threads):
    """`measure` in a new process with that many threads.

    Raises
    ------
    processes.Failed
    """
    return float(output_apart(["--one", what, name], n_threads).split()[-1])


def output_apart(arguments, n_threads):
    """What the command prints in a new process with that many threads, given last to it.

    Raises
    ------
    processes.Failed
    """
    n_threads = str(n_threads)
    return run_python(
        ["-m", "asv_bench.peers", *arguments, n_threads],
        OMP_NUM_THREADS=n_threads,
        OPENBLAS_NUM_THREADS=n_threads,
        MKL_NUM_THREADS=n_threads,
        PJRT_NPROC=n_threads,  # the size of JAX's thread pool
        JAX_PLATFORMS="cpu",
    )
