"""Contests of optimizers: what `compare` checks and runs, on networks and on functions."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from fastmlp.bar import Bar
from fastmlp.comparison import Budget, Comparison, Run
from fastmlp.feature_names import names_of, take_columns
from fastmlp.functions import CallableFunction, NetworkFunction
from fastmlp.monitor import Monitor, Stop
from fastmlp.objective import Objective
from fastmlp.optimizers import Stochastic
from fastmlp.problems import FunctionProblem, NetworkProblem, load_problem
from fastmlp.result import Record, Status, Trace
from fastmlp.rounding import warn_of_merged
from fastmlp.running import euclidean_norm, run_on_function, run_stages
from fastmlp.scoring import score
from fastmlp.solvers import Solver, check_solvers
from fastmlp.sources.rows import is_rows
from fastmlp.sources.source import first_rows, is_read_in_windows, source_of
from fastmlp.training import (
    BATCH_SIZE,
    check_batch_options_are_used,
    check_batches,
    check_mini_batches,
    check_optimizers,
    check_run_options,
    held_out_objective,
    validation_of,
)
from fastmlp.validation import as_array, as_generator, check_count, check_number
from fastmlp.version import __version__

# Data passes where no budget is asked for.
_PASSES = 20

# Budget of passes where time alone is to end a run: the largest count that SciPy's C code takes.
_UNLIMITED = 2**31 - 1

# Columns of a progress bar beside its title, and of a title that is shortened for them at least.
_BAR = 62
_SHORTEST_TITLE = 16

# Passes of a solver in a warm-up: enough for iterations with a history, whose kernels the first
# one does not call.
_WARM_UP = 8


def check_problems(problems):
    """Check the problems of `compare_problems`; return them loaded."""
    if not isinstance(problems, Sequence) or isinstance(problems, str) or not problems:
        raise TypeError(
            f"problems must be a list with at least one problem or name of one, got {problems!r}"
        )
    loaded = [load_problem(p) if isinstance(p, str) else p for p in problems]
    for problem in loaded:
        if not isinstance(problem, NetworkProblem | FunctionProblem):
            raise TypeError(
                f"problems must be NetworkProblem or FunctionProblem or their names, "
                f"got {problem!r}"
            )
        if problem.target is None:
            raise ValueError(f"problems must have a target each, got None for {problem.name!r}")
        if sum(other.name == problem.name for other in loaded) > 1:
            raise ValueError(f"problems must differ by name, got {problem.name!r} more than once")
    return loaded


def prepare_problem(problem, optimizers, limits, n_threads):
    """Check all for one problem; return what then runs it."""
    first = limits.seeds[0]
    limits = replace(limits, target=problem.target, label=f"{problem.name}: ")
    if isinstance(problem, FunctionProblem):
        stages = check_optimizers_by_name(optimizers, problem.make_start(first).size)
        return prepare(_FunctionContest(problem, first, stages), stages, limits)
    stages = check_optimizers_by_name(optimizers, problem.make_net(first).n_params)
    contest = NetworkContest(
        problem.make_net,
        first,
        stages,
        problem.X,
        problem.y,
        batch_sizes=dict.fromkeys(stages, problem.batch_size),
        shuffle=True,
        clip_norm=None,
        validation_data=problem.validation_data,
        problem={
            "loss": problem.loss,
            "l1": problem.l1,
            "l2": problem.l2,
            "n_threads": n_threads,
        },
        lengths=None,
        sample_weight=None,
    )
    contest.settings = {
        "problem": problem.name,
        "description": problem.description,
        **contest.settings,
    }
    return prepare(contest, stages, limits)


@dataclass(frozen=True)
class _Limits:
    """What all runs have in common, whatever the problem."""

    budget: Budget
    seeds: tuple[int, ...]
    target: float | None
    target_loss: float | None
    progress: bool
    label: str = ""  # before the optimizers' names at progress bars


def check_limits(passes, time_limit, gradient_evaluations, seeds, target, target_loss, progress):
    check_run_options("passes", passes, (), time_limit, target_loss, progress)
    if gradient_evaluations is not None:
        check_count("gradient_evaluations", gradient_evaluations)
    if target is not None:
        check_number("target", target, "a finite number", lambda x: True)
    if passes is None and time_limit is None and gradient_evaluations is None:
        passes = _PASSES
    return _Limits(
        budget=Budget(passes, time_limit, gradient_evaluations),
        seeds=_check_seeds(seeds),
        target=target_loss if target is None else target,
        target_loss=target_loss,
        progress=progress,
    )


def _check_seeds(seeds):
    """Seeds as a tuple of different integers."""
    if not isinstance(seeds, Sequence | np.ndarray) or isinstance(seeds, str):
        check_count("seeds", seeds)
        return tuple(range(int(seeds)))
    if len(seeds) == 0:
        raise ValueError("seeds must be at least one, got none")
    for seed in seeds:
        check_count("seeds", seed, 0)
        if sum(other == seed for other in seeds) > 1:
            raise ValueError(f"seeds must differ, got {seed} more than once")
    return tuple(int(seed) for seed in seeds)


def prepare(contest, stages, limits):
    """Share the budget out and warm up; return what then runs everything.

    Parameters
    ----------
    contest : NetworkContest or _FunctionContest
    stages : dict of str to list of Optimizer
    limits : _Limits
    """
    shares = {name: _shares(name, s, limits.budget, contest) for name, s in stages.items()}
    for name in stages:
        contest.warm_up(name)
    settings = {
        "fastmlp": __version__,
        **contest.settings,
        "optimizers": {name: list(map(repr, members)) for name, members in stages.items()},
    }

    def run():
        runs: dict[str, list[Run]] = {name: [] for name in stages}
        with _Bars(limits, list(stages)) as bars:
            for seed in limits.seeds:
                start = contest.start(seed)
                for name in stages:
                    runs[name].append(
                        contest.run(name, shares[name], seed, start, limits, bars.begin(name))
                    )
                    if runs[name][-1].result.status is Status.INTERRUPTED:
                        return compared(runs)
                    bars.end(name)
        return compared(runs)

    def compared(runs):
        return Comparison(
            {name: own for name, own in runs.items() if own},
            limits.budget,
            limits.target,
            contest.score_name,
            contest.scored_on,
            settings,
        )

    return run


class NetworkContest:
    """A network to train, with its data: what is the same for all optimizers.

    Parameters
    ----------
    make_net : callable
        Makes the network to start from for a seed.
    first_seed : int
    stages : dict of str to list of Optimizer
    X, y, batch_sizes, shuffle, clip_norm, validation_data, lengths, sample_weight
        As of `compare`, batch sizes by the optimizers' names.
    problem : dict
        Of loss, l1, l2 and n_threads.
    """

    def __init__(
        self,
        make_net,
        first_seed,
        stages,
        X,
        y,
        *,
        batch_sizes,
        shuffle,
        clip_norm,
        validation_data,
        problem,
        lengths,
        sample_weight,
    ):
        self._make_net, self._stages, self._y = make_net, stages, y
        self._sizes, self._shuffle, self._clip_norm = batch_sizes, shuffle, clip_norm
        for name in stages:
            self._batches(name, 0)  # a check
        net = make_net(first_seed).copy()
        names = names_of(X) if net.feature_names is None else net.feature_names
        given = take_columns("X", X, names)
        # Of sequences with lengths, the objective checks what is within them.
        if lengths is not None:
            X = as_array("X", given, net.dtype)
        elif is_rows(given) or is_read_in_windows(given, net.dtype):
            X = given
        else:
            X = net._as_inputs(given)
        self._X = X
        self._lengths = lengths
        net.feature_names = names
        self._problem, self._net = problem, net
        self._objective = Objective(
            net, X, y, lengths=lengths, sample_weight=sample_weight, **problem
        )
        loss, n_threads = problem["loss"], problem["n_threads"]
        self._held_out = held_out_objective(net, validation_data, loss, n_threads, names)
        warn_of_merged(net.dtype, first_rows(given, net.dtype), y)
        function = NetworkFunction(self._objective, None, as_generator(0))
        check_solvers(chain.from_iterable(stages.values()), function)
        for name, members in stages.items():
            check_mini_batches(net, members, self._objective.n_rows, batch_sizes[name])
        self.scored_on, self._scored = "training", (X, y, sample_weight, lengths)
        if self._held_out is not None:
            self.scored_on, self._scored = "validation", (*validation_data, None, None)[:4]
        self.score_name, _ = self._score()
        self.settings = {
            "network": net.architecture(),
            "parameters": net.n_params,
            "rows": self._objective.n_rows,
            "validation rows": 0 if self._held_out is None else self._held_out.n_rows,
            "loss": loss if isinstance(loss, str) else str(self._objective.loss),
            "l1": problem["l1"],
            "l2": problem["l2"],
            "weighted": sample_weight is not None,
            "batch_size": batch_sizes,
            "shuffle": shuffle,
            "clip_norm": clip_norm,
            "n_threads": n_threads,
        }

    def n_updates(self, name, stage):
        """Gradients that an epoch, or an iteration, of an optimizer takes at least."""
        rows = self._sizes[name] if isinstance(stage, Stochastic) else stage.batch_size
        return 1 if rows is None else -(-self._objective.n_rows // rows)

    @np.errstate(all="ignore")
    def warm_up(self, name):
        """Compile, or load, all that the runs will use, so that no run's clock pays for it."""
        self._objective.value_and_grad()
        size = self._sizes[name]
        few = slice(BATCH_SIZE if size is None else size)
        source = source_of(self._X, self._net.dtype)
        part = Objective(
            self._net.copy(),
            self._X[few] if source is None else source[few],
            np.asarray(self._y)[few],
            lengths=None if self._lengths is None else np.asarray(self._lengths)[few],
            **self._problem,
        )
        stages = self._stages[name]
        budgets = [_WARM_UP if isinstance(stage, Solver) else 1 for stage in stages]
        for stage, amount in zip(stages, budgets, strict=True):
            # One by one: some statuses do not hand over.
            trial = self._batches(name, 0)
            run_stages(part, [stage], [amount], Monitor(), trial, comparable=True)

    def start(self, seed):
        """The parameters, and statistics, that all optimizers start from."""
        return self._make_net(seed).learned()

    def run(self, name, shares, seed, start, limits, callback):
        """Run one optimizer."""
        self._net.take_learned(start)
        passes, evaluations = shares
        with Monitor(
            network=self._net,
            callbacks=callback,
            time_limit=limits.budget.time_limit,
            target_loss=limits.target_loss,
            validate=None if self._held_out is None else validation_of(self._held_out),
        ) as monitor:
            result = run_stages(
                self._objective,
                self._stages[name],
                passes,
                monitor,
                self._batches(name, seed),
                comparable=True,
                gradient_evaluations=evaluations,
            )
        return Run(seed, result, self._net.copy(), self._score()[1])

    def _batches(self, name, seed):
        return check_batches(self._sizes[name], self._shuffle, self._clip_norm, seed)

    def _score(self):
        X, y, sample_weight, lengths = self._scored
        return score(
            self._net,
            X,
            y,
            loss=self._problem["loss"],
            lengths=lengths,
            sample_weight=sample_weight,
            n_threads=self._problem["n_threads"],
        )


class _FunctionContest:
    """A function to minimize: what is the same for all optimizers.

    Parameters
    ----------
    problem : FunctionProblem
    first_seed : int
    stages : dict of str to list of Optimizer
    """

    score_name = scored_on = None

    def __init__(self, problem, first_seed, stages):
        self._problem, self._first, self._stages = problem, first_seed, stages
        x0 = problem.make_start(first_seed)
        function = CallableFunction(
            problem.make_function(first_seed), x0.size, None, as_generator(first_seed)
        )
        check_solvers(chain.from_iterable(stages.values()), function)
        self.settings = {
            "problem": problem.name,
            "description": problem.description,
            "variables": x0.size,
        }

    def n_updates(self, name, stage):
        return 1

    # What overflows on the way of an optimizer that diverges is in its status.
    @np.errstate(all="ignore")
    def warm_up(self, name):
        x0 = self.start(self._first)
        for stage in self._stages[name]:
            function = self._problem.make_function(self._first)
            run_on_function(function, x0.copy(), [stage], [_WARM_UP], Monitor(), as_generator(0))

    def start(self, seed):
        return self._problem.make_start(seed)

    @np.errstate(all="ignore")
    def run(self, name, shares, seed, start, limits, callback):
        passes, evaluations = shares
        function = self._problem.make_function(seed)
        exact = self._problem.exact or function
        judged = []

        def judge(progress):
            value, gradient = exact(progress.theta.copy())
            if not np.isfinite(value):
                raise Stop(Status.NOT_FINITE, "the function is not finite")
            record = replace(
                progress.record, objective=float(value), gradient_norm=euclidean_norm(gradient)
            )
            judged.append(record)
            for show in callback:
                show(replace(progress, record=record))

        with Monitor(callbacks=(judge,), time_limit=limits.budget.time_limit) as monitor:
            result = run_on_function(
                function,
                start.copy(),
                self._stages[name],
                passes,
                monitor,
                as_generator(seed),
                passes=passes,
                gradient_evaluations=evaluations,
            )
        value, gradient = exact(result.theta.copy())
        spent = judged[-1].data_passes if judged else -1
        if np.isfinite(value) and spent < monitor.data_passes:
            last = Record(
                seconds=result.seconds,
                epoch=result.n_iter,
                data_passes=monitor.data_passes,
                n_loss_evals=result.n_loss_evals,
                n_grad_evals=result.n_grad_evals,
                objective=float(value),
                gradient_norm=euclidean_norm(gradient),
            )
            judged.append(last)
        return Run(seed, replace(result, loss=float(value), trace=Trace(judged)))


def check_optimizers_by_name(optimizers, n_params):
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


def _shares(name, stages, budget, contest):
    """Data passes and gradient evaluations of each member of a list of optimizers."""
    own = [stage.budget for stage in stages]
    evaluations = budget.gradient_evaluations
    passes = evaluations if budget.passes is None else budget.passes
    if passes is None:
        if None in own[:-1]:
            raise ValueError(
                f"passes or gradient_evaluations must be given for the members of {name!r} to "
                "share, got None for both"
            )
        if (
            own[-1] is None
            and isinstance(stages[-1], Stochastic)
            and any(schedule.per == "fit" for schedule in stages[-1].own_schedules.values())
        ):
            raise ValueError(
                f"passes or gradient_evaluations must be given for {name!r}, whose schedule goes "
                "by the fraction of all updates, got None for both"
            )
        return [*own[:-1], _UNLIMITED], None
    named = "gradient_evaluations" if budget.passes is None else "passes"
    shared_passes = _share(named, name, min(passes, _UNLIMITED), own)
    if evaluations is None:
        return shared_passes, None
    updates = [
        None if amount is None else amount * contest.n_updates(name, stage)
        for stage, amount in zip(stages, own, strict=True)
    ]
    return shared_passes, _share("gradient_evaluations", name, evaluations, updates)


def _share(what, name, total, own):
    """Split a total: own numbers for those who have one, the rest in equal parts for others."""
    if None not in own:
        own = [*own[:-1], None]
    taken, n_others = sum(amount for amount in own if amount is not None), own.count(None)
    if total < taken + n_others:
        raise ValueError(
            f"{what} must be at least {taken + n_others} for the {len(own)} members of {name!r}, "
            f"got {total}"
        )
    share, left_over = divmod(int(total) - taken, n_others)
    shares = []
    for amount in own:
        if amount is None:
            amount, left_over = share + (left_over > 0), left_over - 1
        shares.append(int(amount))
    return shares


def batch_sizes(batch_size, shuffle, clip_norm, stages):
    """Batch size of each optimizer, not checked but for its use."""
    by_name = isinstance(batch_size, Mapping)
    given, shared = (batch_size, "auto") if by_name else ({}, batch_size)
    for name, size in given.items():
        if name not in stages:
            raise ValueError(
                f"batch_size must name optimizers out of {', '.join(stages)}, got {name!r}"
            )
        check_batch_options_are_used(stages[name], size, True, None)
    check_batch_options_are_used([*chain(*stages.values())], shared, shuffle, clip_norm)
    sizes = {name: given.get(name, shared) for name in stages}
    return {name: BATCH_SIZE if size == "auto" else size for name, size in sizes.items()}


def _shorten(name, width):
    """A name in so many characters, without its middle if need be."""
    kept = width - 3
    return name if len(name) <= width else f"{name[: kept - kept // 2]}...{name[-(kept // 2) :]}"


class _Bars:
    """A progress bar for each optimizer, over all seeds; none if they are not wanted.

    All have one line, which shows the optimizer whose turn it is: so it is seen in any terminal.
    The clock of the others stands still. One that is done with its last seed leaves its line
    above.

    Parameters
    ----------
    limits : _Limits
    names : list of str
    """

    def __init__(self, limits, names):
        self._limits = limits
        room = max(shutil.get_terminal_size().columns - len(limits.label) - _BAR, _SHORTEST_TITLE)
        titles = [_shorten(name, room) for name in names]
        widest = max(map(len, titles))
        self._titles = {
            name: limits.label + title.rjust(widest)
            for name, title in zip(names, titles, strict=True)
        }
        self._seeds_left = dict.fromkeys(names, len(limits.seeds))
        self._bars = {}
        budget = limits.budget
        if budget.passes is not None:
            self._column, self._unit, self._share = "data_passes", "pass", budget.passes
        elif budget.gradient_evaluations is not None:
            self._column, self._unit = "n_grad_evals", "gradient"
            self._share = budget.gradient_evaluations
        else:
            self._column, self._unit, self._share = "seconds", "s", budget.time_limit

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for bar in self._bars.values():
            bar.close()

    def begin(self, name):
        """Callbacks for one more run of an optimizer."""
        if not self._limits.progress:
            return ()
        if name in self._bars:
            self._bars[name].resume()
        else:
            total = self._share * len(self._limits.seeds)
            self._bars[name] = Bar(self._unit, total, self._titles[name], position=0)
        bar, column, share = self._bars[name], self._column, self._share
        before, time_limit = bar.n, self._limits.budget.time_limit

        def show(progress):
            record = progress.record
            spent = min(getattr(record, column), share)
            shown = {"objective": f"{record.objective:.4g}"}
            if column == "seconds":
                shown["pass/s"] = f"{record.data_passes / max(record.seconds, 1e-9):.4g}"
            else:
                spent = int(spent)
                if time_limit is not None:
                    shown["left"] = f"{max(time_limit - record.seconds, 0.0):.1f}s"
            bar.show(before + spent, **shown)

        return (show,)

    def end(self, name):
        """Take it that the run has come to its end, which may be before that of its budget."""
        if name not in self._bars:
            return
        bar = self._bars[name]
        self._seeds_left[name] -= 1
        bar.expect(bar.n + self._share * self._seeds_left[name])
        if self._seeds_left[name]:
            bar.pause()
        else:
            bar.close()
