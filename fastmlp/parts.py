"""fit_parts: one network on rows that come in parts, wherever these are."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.callbacks import Beginning, begin_callbacks
from fastmlp.data_initialization import awaits_data
from fastmlp.feature_names import shown
from fastmlp.functions import NetworkFunction, penalty_factors
from fastmlp.kernels import codes
from fastmlp.losses import check_loss
from fastmlp.monitor import Monitor
from fastmlp.naming import names_arguments
from fastmlp.objective import check_network
from fastmlp.optimizers import Stochastic
from fastmlp.options import Loss
from fastmlp.part_tasks import Evaluation
from fastmlp.rounds import run_rounds
from fastmlp.running import run_stages
from fastmlp.solvers import LevenbergMarquardt, check_solvers
from fastmlp.solvers.solver import refuse_random_objectives
from fastmlp.sweep import Problem, SpareSweep, penalty
from fastmlp.training import (
    BATCH_SIZE,
    budget,
    check_batch_options_are_used,
    check_batches,
    check_optimizers,
    check_run_options,
    held_out_objective,
    validation_of,
    warn_without_fma,
)
from fastmlp.validation import check_count, check_not_negative, is_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fastmlp.network import Network
    from fastmlp.options import (
        BatchSize,
        Callbacks,
        Optimizers,
        Seed,
        Shuffle,
        ValidationData,
    )
    from fastmlp.result import FitResult

# Rows of a part's mini-batches where `fit_parts` is not told: its share of those of `fit`, so that
# there are as many updates one after the other, but not so few that updates take more than they do.
SMALLEST_BATCH = 16


@names_arguments
def fit_parts(
    net: Network,
    parts: Sequence[Callable[[], tuple[Any, ...]]],
    *,
    map: Callable[..., Iterable[Any]] = map,
    optimizer: Optimizers | None = "lbfgs",
    rounds: int | None = None,
    loss: Loss = "auto",
    batch_size: BatchSize = "auto",
    epochs: int | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    shuffle: Shuffle = True,
    clip_norm: float | None = None,
    validation_data: ValidationData | None = None,
    callbacks: Callbacks = (),
    time_limit: float | None = None,
    target_loss: float | None = None,
    progress: bool = False,
    n_threads: int | None = None,
    seed: Seed = None,
) -> FitResult:
    """Train a network in place on rows that come in parts: files, or what other machines hold.

    Nobody holds all rows. A solver sees the objective of all of them: each evaluation goes through
    all parts, and adds up their losses and gradients. Or, with `rounds`, each part is trained on
    by itself, and the networks that come out are averaged.

    Parameters
    ----------
    net : MLP
        Starts from its current parameters. If it has no `feature_names` and parts are data frames,
        it takes the names of their columns, which have to be the same in all parts.
    parts : sequence of callable
        A loader for each part, called without arguments whenever the part is needed: it returns
        (X, y) or (X, y, sample_weight), as of `fastmlp.Objective`, the same rows each time. Arrays
        of the network's dtype are used in place, and memory maps are read block by block. Parts
        without rows, or with no weight but 0, are left out.
    map : callable, default the built-in map
        ``map(f, items)`` yields ``f(item)`` for each of a list of items, in their order: also that
        of an executor, such as ``concurrent.futures.ProcessPoolExecutor().map``. `f`, its result
        and the items, which hold the loaders, are pickled if it takes them to other processes.
    optimizer : Optimizer, str, or a list of them, default "lbfgs"
        As of `fastmlp.fit`. Without `rounds` solvers that go by all rows, such as LBFGS; those
        with a `batch_size` of their own with that None. With `rounds` one that is stochastic,
        such as Adam.
    rounds : int or None, default None
        Local averaging, also called local SGD or federated averaging, in so many rounds (McMahan
        et al., "Communication-efficient learning of deep networks from decentralized data",
        AISTATS 2017): in each round every part goes on from the common parameters for `epochs`
        epochs of mini-batches, and the mean of what comes out, weighted by rows or sample weights,
        is common to all again. See the notes.
    loss, l1, l2
        The objective, see `fastmlp.Objective`: the mean over the rows, or weights, of all parts.
    batch_size : int, None or "auto", default "auto"
        Rows of a mini-batch of each part, for `rounds`; None is the whole part. "auto" is 128
        divided by the number of parts, but at least 16: up to eight parts then make about as many
        updates one after the other as `fit` does. See the notes for what else it does.
    shuffle, clip_norm
        As of `fastmlp.fit`, within each part; for `rounds`.
    epochs : int or None, default None
        Iterations of each solver that has no number of its own, by default its
        ``max_iterations``. With `rounds` the epochs on each part in a round, by default 1.
    validation_data, callbacks, time_limit, target_loss, progress
        As of `fastmlp.fit`, after each iteration or round. Limits and Ctrl-C are heeded whenever
        `map` yields a result.
    n_threads : int or None, default None
        At most so many threads for a part. None is as many as the process that has it may use:
        give 1 to a `map` that takes as many parts at a time as there are cores.
    seed : int or None, default None
        Of what is drawn: with `rounds` part p draws in round r, counted from 0, from the seed
        ``[seed, r, p]``. None draws afresh.

    Returns
    -------
    FitResult
        `seconds` are without the first evaluation, which also checks the parts. With `rounds` the
        trace has a record a round, of the objective at the mean: one more forward pass.

    Raises
    ------
    ValueError, TypeError
        For any argument that is not as above, before anything is changed. What is wrong with a
        part is told by its number, counted from 0: other columns than the first, other targets, a
        label that is no class, a number that is not finite, or other rows than before; or that no
        part has rows. What a loader raises passes through, with a note that has the number. theta
        is then as of the last finished iteration or round, as it is after Ctrl-C.

    Notes
    -----
    Losses and gradients of parts are added in float64, in the order of `parts`. So the bits of
    the result depend on the data and on how they are cut into parts, and on nothing else: not on
    `map`, nor on threads, processes and machines. One part without penalties gives the bits of
    `fit`.

    An evaluation costs a pass through the slowest part, and what `map` adds. Solvers of few
    evaluations pay, such as LBFGS.

    With `rounds` the optimizer's state, such as Adam's moments, is averaged like the parameters,
    and so are the running statistics of norm="batch"; schedules go by the epochs of each part in
    all rounds. Where there are more parts, or mini-batches of as many rows as in one place, the
    same passes are fewer updates one after the other, and the objective falls more slowly.

    Optimizers that divide by the size of gradients, all but SGD, take shorter steps where noise is
    larger, as it is in small mini-batches, though it goes away in the mean. So with
    batch_size="auto" their learning rates are multiplied by the root of 128 / batch size: then both
    the way that the mean goes and its noise are as in one place (compare Malladi et al., "On the
    SDEs and scaling rules for adaptive gradient algorithms", NeurIPS 2022). Weight decay stays as
    it is.

    Where each part has classes of its own, rounds have to be short.

    Examples
    --------
    >>> from functools import partial
    >>> from fastmlp import MLP, datasets, fit_parts
    >>> X, y = datasets.load_digits()
    >>> parts = [partial(tuple, (X[i : i + 600], y[i : i + 600])) for i in (0, 600, 1200)]
    >>> net = MLP([64, 32, 10], output="softmax", seed=0)
    >>> result = fit_parts(net, parts, l2=1e-4, epochs=50)
    """
    return fit_loaders(
        net,
        parts,
        map,
        net.feature_names,
        optimizer=optimizer,
        rounds=rounds,
        loss=loss,
        batch_size=batch_size,
        epochs=epochs,
        l1=l1,
        l2=l2,
        shuffle=shuffle,
        clip_norm=clip_norm,
        validation_data=validation_data,
        callbacks=callbacks,
        time_limit=time_limit,
        target_loss=target_loss,
        progress=progress,
        n_threads=n_threads,
        seed=seed,
    )


def fit_loaders(
    net,
    parts,
    map,
    feature_names,
    *,
    optimizer,
    rounds,
    loss,
    batch_size,
    epochs,
    l1,
    l2,
    shuffle,
    clip_norm,
    validation_data,
    callbacks,
    time_limit,
    target_loss,
    progress,
    n_threads,
    seed,
):
    """Do what `fit_parts` does, with `feature_names` that the columns have or had once, or None."""
    check_network(net)
    loaders = _check_loaders(parts)
    if not callable(map):
        raise TypeError(f"map must be callable, got {map!r}")
    stages = check_optimizers(optimizer, net.n_params)
    _check_stages(net, stages, rounds)
    check_batch_options_are_used(stages, batch_size, shuffle, clip_norm)
    is_auto = batch_size == "auto"
    batches = check_batches(BATCH_SIZE if is_auto else batch_size, shuffle, clip_norm, seed)
    options = check_run_options("epochs", epochs, callbacks, time_limit, target_loss, progress)
    settings = {"loss": loss, "l1": l1, "l2": l2, "n_threads": n_threads}
    _check_settings(net, **settings)
    held_out = held_out_objective(net, validation_data, loss, n_threads, feature_names)
    beginning = Beginning(net, loss, validation_data)
    options["callbacks"] = begin_callbacks(options["callbacks"], beginning)
    options |= {"network": net, "validate": None if held_out is None else validation_of(held_out)}
    warn_without_fma()
    if rounds is not None:
        n_epochs = budget(stages[0], epochs, 1)
        if seed is None:
            seed = np.random.SeedSequence().entropy
        check_count("seed", seed, 0)
    objective = PartsObjective(net, loaders, map, rounds is None, **settings)
    if rounds is None:
        check_solvers(stages, PartsFunction(objective, None, batches["rng"]))
    budgets = [rounds] if rounds is not None else [budget(stage, epochs) for stage in stages]
    net.feature_names = feature_names or objective.kind.columns
    with Monitor(total=sum(budgets), **options) as monitor:
        if rounds is not None:
            optimizer = stages[0]
            if is_auto:
                optimizer, batches["batch_size"] = _share_out(optimizer, objective.n_parts)
            return run_rounds(objective, optimizer, rounds, n_epochs, monitor, batches, seed)
        return run_stages(objective, stages, budgets, monitor, batches, function_of=PartsFunction)


def _share_out(optimizer, n_parts):
    """Optimizer and rows of the mini-batches of each part, so that their mean does as `fit`."""
    batch_size = max(SMALLEST_BATCH, BATCH_SIZE // n_parts)
    if optimizer.normalizes:
        optimizer = optimizer.with_steps(math.sqrt(BATCH_SIZE / batch_size))
    return optimizer, batch_size


class PartsObjective:
    """A network's objective on parts; each evaluation of it maps over all of them.

    The first pass over all parts is made here, and looks at them.

    Parameters
    ----------
    net, loss, l1, l2, n_threads
        As of `Objective`, checked.
    loaders, map
        See `fit_parts`.
    differentiate : bool
        Whether the first pass is also to give the gradient.

    Attributes
    ----------
    problem : Problem
    settings : dict
        loss, l1, l2 and n_threads, as given.
    n_parts, n_rows : int
        That count.
    kind : Kind
        What these parts have in common.
    """

    def __init__(self, net, loaders, map, differentiate, *, loss, l1, l2, n_threads):
        self.net, self.l1, self.l2 = net, float(l1), float(l2)
        self.settings = {"loss": loss, "l1": l1, "l2": l2, "n_threads": n_threads}
        self._net = net.copy()  # at the parameters to evaluate at
        self._net._spare = SpareSweep(np.inf)  # parts of as many rows use one after the other
        self._items = list(enumerate(loaders))
        self._map = map
        self._penalized = penalty_factors(net, 1.0)
        self._newest = None
        self._sizes, self._shares = {}, {}
        look = Evaluation(self._net, differentiate, loss, n_threads, look=True)
        first = [one for one in self._mapped(look, None) if one.kind is not None]
        if not first:
            raise ValueError(
                f"parts must have rows, but all {len(self._items)} are empty or have no weight "
                "but 0"
            )
        for one in first[1:]:
            _check_kind(one, first[0])
        self.kind = first[0].kind
        self.n_parts, self.n_rows = len(first), sum(one.n_rows for one in first)
        self._sizes = {one.number: (one.n_rows, one.weight) for one in first}
        total = sum(one.weight for one in first)
        self._shares = {one.number: one.weight / total for one in first}
        self._items = [self._items[one.number] for one in first]
        self._keep(differentiate, self._mean_of(first, differentiate))
        self.loss, _, parameters = check_loss(loss, net._ends[-1], net._ends[1])
        code, n_target = self.kind.loss_code, self.kind.n_target
        self.problem = Problem(
            self.n_rows, n_target, self.loss, code, parameters, self.l1, self.l2, n_threads
        )

    def value(self):
        """J at the network's own parameters."""
        return self.evaluate(self.net.theta, codes.EVALUATE, self.problem)[0]

    def evaluate(self, theta, mode, problem, check=None):
        """J at `theta`, and its gradient (n_params,) in float64, or (0,) if not asked for.

        Parameters
        ----------
        theta : ndarray (n_params,)
        mode : int
            ``codes.EVALUATE`` or ``codes.DIFFERENTIATE``.
        problem : Problem
            Its penalties count.
        check : callable or None
            Called after each part; may end the evaluation by raising.
        """
        differentiate = mode == codes.DIFFERENTIATE
        if not np.isfinite(theta).all():  # which no network can be made of elsewhere
            return np.nan, np.full(theta.size if differentiate else 0, np.nan)
        self._net.take_learned((theta, self.net._statistics))
        value, gradient = self._mean(differentiate, check)
        value += penalty(self.net, problem, theta)
        if differentiate and (problem.l1 or problem.l2):
            slope = problem.l2 * theta.astype(np.float64) + problem.l1 * np.sign(theta)
            gradient = gradient + self._penalized * slope
        return value, gradient

    def means(self, task, check):
        """What a task gives for each part, with its share, in the order of parts.

        Yields
        ------
        (float, named tuple)
        """
        for one in self._mapped(task, check):
            yield self._shares[one.number], one

    def _mean(self, differentiate, check):
        """Mean loss and gradient where the network is; the newest ones are kept for a while.

        A fit ends by asking once more for the loss that it has come to.
        """
        kept = self._newest
        if kept is not None and (kept[0] or not differentiate) and self._is_at(kept[1]):
            return kept[2]
        loss, n_threads = self.settings["loss"], self.settings["n_threads"]
        task = Evaluation(self._net, differentiate, loss, n_threads, look=False)
        mean = self._mean_of(self._mapped(task, check), differentiate)
        self._keep(differentiate, mean)
        return mean

    def _keep(self, differentiate, mean):
        self._newest = differentiate, self._net.learned(), mean

    def _is_at(self, learned):
        theta, statistics = learned
        same = np.array_equal(theta, self._net.theta)
        return same and (statistics is None or np.array_equal(statistics, self._net._statistics))

    def _mean_of(self, results, differentiate):
        value, gradient = 0.0, np.zeros(self._net.n_params if differentiate else 0)
        for one in results:
            share = self._shares[one.number]
            value += share * one.loss
            if differentiate:
                gradient += share * one.gradient
        return value, gradient

    def _mapped(self, task, check):
        """What `map` yields for a task, checked: one for each part, in their order."""
        n_done = 0
        for one, (number, _) in zip(self._map(task, self._items), self._items, strict=False):
            if getattr(one, "number", None) != number:
                raise ValueError(
                    f"map must yield results in the order of the parts, got that of part "
                    f"{getattr(one, 'number', one)} in the place of part {number}"
                )
            size = self._sizes.get(number)
            if size is not None and size != (one.n_rows, one.weight):
                raise ValueError(
                    f"part {number} must have the same rows each time, got {one.n_rows} rows of "
                    f"the weight {one.weight:g}, and before {size[0]} of {size[1]:g}"
                )
            n_done += 1
            yield one
            if check is not None:
                check()
        if n_done < len(self._items):
            raise ValueError(
                f"map must yield a result for each of the {len(self._items)} parts, got {n_done}"
            )


class PartsFunction(NetworkFunction):
    """What a solver sees of a `PartsObjective`: values and gradients of all rows."""

    @property
    def runs_lbfgs(self):
        return False

    @property
    def is_least_squares(self):
        return False

    def _evaluate(self, x, mode, problem, samples=None):
        differentiated = int(mode == codes.DIFFERENTIATE)
        self._monitor.admit(differentiated)
        theta, check = self._theta(x), self._monitor.check
        value, gradient = self._objective.evaluate(theta, mode, problem, check)
        self._monitor.count(1, differentiated, 1)
        return value, gradient


def _check_kind(one, first):
    """Refuse a part that is of another kind than the first."""
    for what, mine, its in (
        ("columns of X", one.kind.columns, first.kind.columns),
        ("columns of y", one.kind.n_target, first.kind.n_target),
        ("kind of targets", one.kind.loss_code, first.kind.loss_code),
        ("sample weights", one.kind.has_weights, first.kind.has_weights),
    ):
        if mine != its:
            raise ValueError(
                f"part {one.number}: {what} must be as in part {first.number}, got {shown(mine)} "
                f"and not {shown(its)}"
            )


def _check_loaders(parts):
    if not is_sequence(parts):
        raise TypeError(f"parts must be a sequence of callables, got {type(parts).__name__}")
    loaders = list(parts)
    if not loaders:
        raise ValueError("parts must have at least one loader, got none")
    for number, loader in enumerate(loaders):
        if not callable(loader):
            raise TypeError(
                f"parts must be callables, got {type(loader).__name__} for part {number}"
            )
    return loaders


def _check_stages(net, stages, rounds):
    """Refuse optimizers that are not for parts, before anybody goes through these."""
    if awaits_data(net):
        raise ValueError(
            "net must have its starting weights: those of init='data' are drawn by the rows of one "
            "place, so fit it to some rows first"
        )
    if rounds is not None:
        check_count("rounds", rounds)
        if len(stages) > 1 or not isinstance(stages[0], Stochastic):
            names = ", ".join(type(stage).__name__ for stage in stages)
            raise ValueError(
                f"rounds must be None unless there is one stochastic optimizer, got {rounds} for "
                f"{names}"
            )
        return
    seen: Any = SimpleNamespace(
        random=net._pieces.random, truncated=getattr(net, "truncate", None) is not None
    )
    for stage in stages:
        name = type(stage).__name__
        if isinstance(stage, Stochastic):
            raise ValueError(
                f"optimizer must go by all rows of all parts, such as 'lbfgs', got {name}, which "
                "is for mini-batches of one place: give rounds for local averaging"
            )
        if stage.batch_size is not None:
            raise ValueError(
                f"batch_size of {name} must be None for parts, of which an evaluation takes all "
                f"rows, got {stage.batch_size}"
            )
        if isinstance(stage, LevenbergMarquardt):
            raise ValueError(
                f"optimizer must go by values and gradients, which is what parts give, got {name}"
            )
        refuse_random_objectives(stage, seen)


def _check_settings(net, loss, l1, l2, n_threads):
    check_loss(loss, net._ends[-1], net._ends[1])
    check_not_negative("l1", l1)
    check_not_negative("l2", l2)
    if n_threads is not None:
        check_count("n_threads", n_threads)
