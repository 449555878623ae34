"""compare: several optimizers on one objective, from one start, with one budget."""

import csv
from collections.abc import Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import astuple, dataclass, field

import numpy as np

from fastmlp.losses import check_loss
from fastmlp.monitor import Monitor
from fastmlp.network import MLP
from fastmlp.objective import Objective, check_network
from fastmlp.result import COLUMNS, FitResult, Status
from fastmlp.running import run_stages
from fastmlp.training import (
    check_batches,
    check_optimizers,
    check_run_options,
    held_out_objective,
)
from fastmlp.validation import as_rows

# Rows of a mini-batch where nothing else is asked for, as in `fit`.
_BATCH_SIZE = 128

# Budget of passes where time alone is to end a run: the largest count that SciPy's C code takes.
_UNLIMITED = 2**31 - 1


@dataclass(frozen=True)
class Comparison:
    """How several optimizers did. ``print`` shows the table.

    Attributes
    ----------
    results : dict of str to FitResult
        By the optimizers' names, in the order they were given. Those that Ctrl-C came before
        are missing.
    networks : dict of str to MLP
        What each trained.
    scores : dict of str to float
        How well each network predicts, see `score`.
    score_name : str
        "accuracy" or "rms error".
    scored_on : str
        "validation" or "training": the data that the scores were taken on.
    passes : int or None
    time_limit : float or None
        The budget of each optimizer.
    """

    results: dict[str, FitResult]
    networks: dict[str, MLP] = field(repr=False)
    scores: dict[str, float]
    score_name: str
    scored_on: str
    passes: int | None
    time_limit: float | None

    def table(self) -> str:
        """One line for each optimizer: where it ended, what it cost and why it stopped."""
        header = (
            "optimizer",
            "objective",
            self.score_name,
            "seconds",
            "data passes",
            "loss evals",
            "gradient evals",
            "status",
        )
        score_format = ".4f" if self.score_name == "accuracy" else ".4g"
        rows = [
            (
                name,
                f"{result.loss:.4g}",
                format(self.scores[name], score_format),
                f"{result.seconds:.3f}",
                f"{result.trace[-1].data_passes if len(result.trace) else 0:.4g}",
                str(result.n_loss_evals),
                str(result.n_grad_evals),
                str(result.status),
            )
            for name, result in self.results.items()
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        last = len(header) - 1
        lines = [
            "  ".join(
                cell.ljust(width) if i in (0, last) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [header, *rows]
        ]
        lines.insert(1, "-" * (sum(widths) + 2 * last))
        lines += [
            f"Each from the same parameters, with at most {self._budget_in_words()}.",
            f"Objective of the training data, {self.score_name} of the {self.scored_on} data.",
        ]
        return "\n".join(lines)

    def _budget_in_words(self):
        parts = []
        if self.passes is not None:
            parts.append(f"{self.passes} data pass{'es' if self.passes > 1 else ''}")
        if self.time_limit is not None:
            parts.append(f"{self.time_limit:g} s")
        return " and ".join(parts)

    def __str__(self) -> str:
        return self.table()

    def to_csv(self, path) -> None:
        """Write all traces to one CSV file: the columns of `Record` after the optimizer's name."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("optimizer", *COLUMNS))
            for name, result in self.results.items():
                writer.writerows((name, *astuple(record)) for record in result.trace)

    def plot(self, path=None):
        """Draw the objective against seconds and against data passes.

        Parameters
        ----------
        path : path or None, default None
            Where to save the figure; its ending decides the format, as in ".png" or ".pdf".

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            Without matplotlib, which the extra ``fastmlp[plot]`` brings.
        """
        from fastmlp.plotting import plot_traces

        figure = plot_traces({name: [result.trace] for name, result in self.results.items()})
        if path is not None:
            figure.savefig(path)
        return figure


def compare(
    net,
    X,
    y,
    optimizers,
    *,
    passes=20,
    time_limit=None,
    loss="auto",
    l1=0.0,
    l2=0.0,
    sample_weight=None,
    batch_size=_BATCH_SIZE,
    shuffle=True,
    clip_norm=None,
    validation_data=None,
    target_loss=None,
    progress=False,
    n_threads=None,
    seed=None,
):
    """Train copies of one network with several optimizers, under equal conditions.

    Each starts from the parameters of `net`, minimizes the same objective, sees the rows in the
    same random order, and stops when its budget is spent. `net` itself stays as it is.

    Parameters
    ----------
    net : MLP
        The start.
    X, y, loss, sample_weight, l1, l2
        The data and the objective, see `fastmlp.Objective`.
    optimizers : mapping, or list of str
        Names to optimizers, each as `fastmlp.fit` takes it: ``{"adam": Adam(), "mine":
        "sgd(learning_rate=0.1)", "both": [Adam(), LBFGS()]}``. A list of written forms, such as
        ``["adam", "lbfgs"]``, names itself.
    passes : int or None, default 20
        Budget of data passes. A stochastic optimizer spends one on an epoch, a solver spends one
        on each evaluation of the objective and its gradient, also on those of its line search
        and the one at the start; both are n rows put forward and back through the network. It
        takes the place of a solver's own ``max_iterations``. The members of a list share the
        passes equally. None is no such limit, and needs a `time_limit`.
    time_limit : float or None, default None
        Budget of seconds, counted from each optimizer's start; a list has them as a whole. What
        compilation, records and validation take is not counted. Heeded within an epoch.
    batch_size : int, None, or a mapping, default 128
        Rows of a mini-batch, for the stochastic optimizers; None is full batch. A mapping gives
        it by the optimizers' names, and those that it leaves out have 128.
    shuffle, clip_norm, target_loss
        As of `fastmlp.fit`.
    validation_data : (X, y), (X, y, sample_weight) or None, default None
        Its loss goes into the traces, and the scores are taken on it; else on the training data.
    progress : bool, default False
        Show a progress bar for each optimizer.
    n_threads : int or None, default None
        As of `fastmlp.fit`.
    seed : int or None, default None
        Of the shuffling, which is the same for all optimizers also for None.

    Returns
    -------
    Comparison
        Every record of its traces holds the objective and the gradient norm at that moment's
        theta, for all optimizers alike; evaluating them is off the clock and counts as no pass.
        The last record of a trace has all that was spent. Ctrl-C ends the comparison with what
        there is so far.

    Raises
    ------
    ValueError, TypeError
        For any argument that is not as above, before anything is trained.

    Examples
    --------
    >>> from fastmlp import LBFGS, MLP, SGD, compare, datasets
    >>> X, y = datasets.load_digits()
    >>> net = MLP([64, 32, 10], output="softmax", seed=0)
    >>> print(compare(net, X, y, {"sgd": SGD(0.1), "lbfgs": LBFGS()}, seed=0))  # doctest: +SKIP
    """
    check_network(net)
    stages = _check_optimizers_by_name(optimizers, net.n_params)
    check_run_options("passes", passes, (), time_limit, target_loss, progress)
    shares = {name: _shares(name, len(s), passes, time_limit) for name, s in stages.items()}
    rng = check_batches(None, shuffle, clip_norm, seed)["rng"]
    sizes = _batch_sizes(batch_size, list(stages))
    batches = {
        name: check_batches(size, shuffle, clip_norm, deepcopy(rng)) for name, size in sizes.items()
    }
    student = net.copy()
    X = as_rows("X", X, net.dtype, net.layer_sizes[0])
    problem = {"loss": loss, "l1": l1, "l2": l2, "n_threads": n_threads}
    objective = Objective(student, X, y, sample_weight=sample_weight, **problem)
    held_out = held_out_objective(student, validation_data, loss, n_threads)
    scored_on, scored = "training", (X, y, sample_weight)
    if held_out is not None:
        scored_on, scored = "validation", (*validation_data, None)[:3]

    # Compile, or load, all that the runs will use, so that no run's clock pays for it.
    objective.value_and_grad()
    for name, size in sizes.items():
        few = slice(size)
        part = Objective(net.copy(), X[few], np.asarray(y)[few], **problem)
        trial = {**batches[name], "rng": deepcopy(rng)}
        run_stages(part, stages[name], [1] * len(stages[name]), Monitor(), trial, comparable=True)

    results, networks, scores = {}, {}, {}
    widest = max(map(len, stages))
    for name in stages:
        student.theta[:] = net.theta
        with (
            _progress_bar(progress, name.rjust(widest), passes) as callbacks,
            Monitor(
                network=student,
                callbacks=callbacks,
                time_limit=time_limit,
                target_loss=target_loss,
                validate=None if held_out is None else held_out.value,
            ) as monitor,
        ):
            result = run_stages(
                objective, stages[name], shares[name], monitor, batches[name], comparable=True
            )
        results[name], networks[name] = result, student.copy()
        score_name, scores[name] = score(
            student, *scored[:2], loss=loss, sample_weight=scored[2], n_threads=n_threads
        )
        if result.status is Status.INTERRUPTED:
            break
    return Comparison(results, networks, scores, score_name, scored_on, passes, time_limit)


def score(net, X, y, *, loss="auto", sample_weight=None, n_threads=None):
    """How well a network predicts, in the usual measure for its loss.

    Parameters
    ----------
    net : MLP
    X, y, loss, sample_weight, n_threads
        As of `fastmlp.Objective`.

    Returns
    -------
    name : {"accuracy", "rms error"}
        Accuracy for the losses of classification, cross_entropy, binary_cross_entropy (an output
        above one half is a yes), logistic and hinge (an output's sign is its label); else the
        root of the mean squared error.
    value : float
        Mean over rows, as weighted, and over outputs.
    """
    kind, _, _ = check_loss(loss, net.output)
    outputs = net.predict(X, n_threads=n_threads)
    targets = np.asarray(y)
    if kind == "cross_entropy":
        classes = targets.argmax(axis=1) if targets.ndim == 2 else targets
        by_row = outputs.argmax(axis=1) == classes
    else:
        targets = targets.reshape(outputs.shape)
        if kind == "binary_cross_entropy":
            by_output = (outputs > 0.5) == (targets > 0.5)
        elif kind in ("logistic", "hinge"):
            by_output = np.sign(outputs) == targets
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # of a network that diverged
                by_output = np.square(outputs - targets, dtype=np.float64)
        by_row = by_output.mean(axis=1)
    mean = float(np.average(by_row, weights=sample_weight))
    if kind in ("cross_entropy", "binary_cross_entropy", "logistic", "hinge"):
        return "accuracy", mean
    return "rms error", mean**0.5


def _check_optimizers_by_name(optimizers, n_params):
    """Names to lists of optimizer objects."""
    if isinstance(optimizers, list | tuple):
        for text in optimizers:
            if not isinstance(text, str):
                raise TypeError(
                    "optimizers must be a mapping of names to optimizers, or a list of written "
                    f"forms such as 'adam', got {text!r} in a list"
                )
            if optimizers.count(text) > 1:
                raise ValueError(f"optimizers must differ, got {text!r} more than once")
        optimizers = {text: text for text in optimizers}
    if not isinstance(optimizers, Mapping):
        raise TypeError(
            "optimizers must be a mapping of names to optimizers, or a list of written forms "
            f"such as 'adam', got {optimizers!r}"
        )
    if not optimizers:
        raise ValueError("optimizers must name at least one, got none")
    for name in optimizers:
        if not isinstance(name, str):
            raise TypeError(f"optimizers must have strings for names, got {name!r}")
    return {name: check_optimizers(given, n_params) for name, given in optimizers.items()}


def _shares(name, n_stages, passes, time_limit):
    """Data passes of each member of a list of optimizers."""
    if passes is None:
        if time_limit is None:
            raise ValueError("passes must be given where time_limit is not, got None for both")
        if n_stages > 1:
            raise ValueError(f"passes must be given for the members of {name!r} to share, got None")
        return [_UNLIMITED]
    if passes < n_stages:
        raise ValueError(
            f"passes must be at least one for each of the {n_stages} members of {name!r}, "
            f"got {passes}"
        )
    share, left_over = divmod(min(int(passes), _UNLIMITED), n_stages)
    return [share + (i < left_over) for i in range(n_stages)]


def _batch_sizes(batch_size, names):
    """Batch size of each optimizer, unchecked."""
    if not isinstance(batch_size, Mapping):
        return dict.fromkeys(names, batch_size)
    for name in batch_size:
        if name not in names:
            raise ValueError(
                f"batch_size must name optimizers out of {', '.join(names)}, got {name!r}"
            )
    return {name: batch_size.get(name, _BATCH_SIZE) for name in names}


@contextmanager
def _progress_bar(wanted, name, passes):
    """Yield the callbacks that show the data passes of one optimizer in a bar."""
    if not wanted:
        yield ()
        return
    from tqdm.auto import tqdm

    with tqdm(total=passes, desc=name, unit="pass") as bar:

        def show(progress):
            record = progress.record
            bar.set_postfix({"objective": f"{record.objective:.4g}"}, refresh=False)
            bar.update(int(record.data_passes) - bar.n)

        yield (show,)
