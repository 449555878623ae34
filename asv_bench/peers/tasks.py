"""What is timed: the six workloads, single calls, networks with pieces beyond dense layers, and
plain networks given by a specification.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from asv_bench.benchmarks.workloads import WORKLOADS, Workload
from asv_bench.peers.networks import NETWORKS

# What a plain network is drawn from.
MOST_HIDDEN, WIDEST, MOST_OUTPUTS, LARGEST_BATCH = 8, 2048, 100, 4096
ACTIVATIONS = ("relu", "tanh")
OUTPUTS = ("identity", "softmax")

OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "momentum": "momentum"}

# An epoch of a network given by its specification takes at most this long, if the machine is as
# fast as assumed, and its data are at most this many numbers; but it has two mini-batches.
EPOCH_SECONDS = 0.5
MOST_NUMBERS = 2**25
MOST_STEPS = 2000
ASSUMED_FLOPS_PER_SECOND = 5e10
ASSUMED_PARAMETERS_PER_SECOND = 2.5e8
ASSUMED_STEP_SECONDS = 2e-6


@dataclass(frozen=True)
class Task:
    """Something that each library does as fast as it can.

    Attributes
    ----------
    name : str
    workload : Workload
    kind : str
        "train": a step of training; "pieces": the same of a `networks.Network`; "predict":
        outputs of all rows; "loss_and_grad" and "value_and_grad": the objective and its gradient
        on all rows, fastmlp's by the method of `MLP`, which checks its arguments every time, or
        of an `Objective`, which did so once.
    dtype : str
    """

    name: str
    workload: Workload
    kind: str = "train"
    dtype: str = "float32"

    @property
    def flops(self):
        """Floating-point operations of one step or call."""
        if self.kind != "predict":
            return self.workload.flops
        products = sum(n_in * n_out for n_in, n_out in pairwise(self.workload.sizes))
        return 2.0 * self.workload.n_rows * products

    @property
    def description(self):
        """The name, and the network where the name does not tell it."""
        workload = self.workload
        sizes = "-".join(map(str, workload.sizes))
        if self.name.startswith(sizes):
            return self.name
        parts = [f"{sizes} {workload.activation}"]
        if self.kind in ("train", "pieces"):
            parts.append(f"batch {workload.batch}" if workload.batch else "full batch")
            parts.append(OPTIMIZERS[workload.optimizer])
        else:
            parts.append(f"{workload.n_rows:,} row{'s' if workload.n_rows > 1 else ''}")
        if self.dtype != "float32":
            parts.append(self.dtype)
        return f"{self.name}: {', '.join(parts)}"

    def data(self):
        """X and y as of `Workload.data`, in the task's dtype but for class indices."""
        X, y = self.workload.data()
        return X.astype(self.dtype, copy=False), y if y.ndim == 1 else y.astype(self.dtype)


def _call(name, kind, sizes, activation, output, n_rows, dtype="float32"):
    workload = Workload(name, sizes, activation, output, None, "adam", n_rows, 1)
    return Task(name, workload, kind, dtype)


TRAINING = {name: Task(name, workload) for name, workload in WORKLOADS.items()}
PIECES = {name: Task(name, network, "pieces") for name, network in NETWORKS.items()}

# The gradient's network is that of the comparison in SimpleChains.jl's documentation.
CALLS = {
    task.name: task
    for task in (
        _call("predict1", "predict", (784, 16, 16, 10), "relu", "softmax", 1),
        _call("predict10k", "predict", (784, 16, 16, 10), "relu", "softmax", 10_000),
        _call("predict10k-512", "predict", (784, 512, 512, 10), "relu", "softmax", 10_000),
        _call("loss_and_grad", "loss_and_grad", (24, 8, 2), "tanh", "identity", 200, "float64"),
        _call("value_and_grad", "value_and_grad", (24, 8, 2), "tanh", "identity", 200, "float64"),
    )
}


def find(name):
    """The task of that name, or of the network with that specification.

    Raises
    ------
    ValueError
        If it is neither.
    """
    task = TRAINING.get(name) or PIECES.get(name) or CALLS.get(name)
    return network(name) if task is None else task


def network(specification):
    """Train a plain network with Adam, as in ``20-64-64-1:tanh:64`` or ``9-5-3:relu:32:softmax``.

    Parameters
    ----------
    specification : str
        Layer sizes, hidden activation, batch size and, where it is not "identity" with the
        squared error, the output "softmax" with cross-entropy.

    Raises
    ------
    ValueError
        If it is not of that form.
    """
    try:
        sizes, activation, batch, output = (*specification.split(":"), "identity")[:4]
        sizes, batch = tuple(map(int, sizes.split("-"))), int(batch)
        fits = len(sizes) >= 2 and min(*sizes, batch) >= 1 and specification.count(":") <= 3
    except ValueError:
        fits = False
    if not (fits and activation in ACTIVATIONS and output in OUTPUTS):
        raise ValueError(
            "a network is given as sizes:activation:batch or sizes:activation:batch:output, such "
            f"as 20-64-64-1:tanh:64, with {' or '.join(ACTIVATIONS)} and "
            f"{' or '.join(OUTPUTS)}, got {specification!r}"
        )
    steps = steps_of_epoch(sizes, batch)
    name = f"{'-'.join(map(str, sizes))}:{activation}:{batch}"
    if output != "identity":
        name += f":{output}"
    return Task(
        name, Workload(name, sizes, activation, output, batch, "adam", steps * batch, steps)
    )


def steps_of_epoch(sizes, batch):
    """Mini-batches that make an epoch worth timing, two at least.

    It is estimated, not measured, so that one specification is one amount of work.
    """
    one = Workload("", tuple(sizes), "relu", "identity", batch, "adam", batch, 1)
    n_params = sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))
    seconds = (
        one.flops / ASSUMED_FLOPS_PER_SECOND
        + n_params / ASSUMED_PARAMETERS_PER_SECOND
        + ASSUMED_STEP_SECONDS
    )
    in_memory = MOST_NUMBERS // (batch * (sizes[0] + sizes[-1]))
    return max(2, min(int(EPOCH_SECONDS / seconds), in_memory, MOST_STEPS))


def random_networks(n, seed):
    """Draw `n` plain networks; more networks of one seed begin with the same ones.

    Widths, outputs and batch sizes are log-uniform, so that small ones come as often as large
    ones.
    """
    rng = np.random.default_rng(seed)

    def log_uniform(most):
        return min(most, int(np.exp(rng.uniform(0, np.log(most + 1)))))

    tasks = []
    for _ in range(n):
        widths = [log_uniform(WIDEST) for _ in range(1 + rng.integers(1, MOST_HIDDEN + 1))]
        n_out, batch = log_uniform(MOST_OUTPUTS), log_uniform(LARGEST_BATCH)
        activation, output = rng.choice(ACTIVATIONS), rng.choice(OUTPUTS)
        specification = f"{'-'.join(map(str, [*widths, n_out]))}:{activation}:{batch}"
        if output == "softmax" and n_out > 1:
            specification += ":softmax"
        tasks.append(network(specification))
    return tasks
