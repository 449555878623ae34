"""Runs the compiled loop over mini-batches of an objective, a slice of time at a call."""

import functools
import math
import time
from collections import deque
from typing import Any, NamedTuple

import numpy as np

from fastmlp import program_workspace
from fastmlp.custom_losses import CustomLoss
from fastmlp.kernels import codes, empty_columns, epoch, penalties, records, small
from fastmlp.kernels import program as program_kernels
from fastmlp.kernels.activations import KEPT_SLOPES, rare_addresses
from fastmlp.kernels.custom_loss import custom_address
from fastmlp.kernels.epoch import Call, Update
from fastmlp.kernels.epochs import exact_epochs
from fastmlp.kernels.losses import rare_address
from fastmlp.kernels.minimization import minimize_part_address
from fastmlp.kernels.records import numbers
from fastmlp.kernels.team import SYNC_SIZE
from fastmlp.kernels.threads import available_cores, choose_parts, no_teams, parallel_region
from fastmlp.kernels.updates import update_address
from fastmlp.pace import SECONDS_ALONE, SLICE_SECONDS, Deferred, Pace, first_flops
from fastmlp.program import Sequences
from fastmlp.tables import packed
from fastmlp.turns import aside
from fastmlp.workspace import (
    Workspace,
    choose_slices,
    chunk_rows,
    chunk_table,
    count_weights,
    is_small,
)

# What takes 0.5 and 0.9 s to compile and makes a fit up to twice, or a quarter, as fast: early
# enough for fits of some seconds, which are worth it, late enough to spare short ones.
TEAM = Deferred(0.1, epoch.is_team_kept)
EMPTY_COLUMNS = Deferred(0.25, empty_columns.are_kept)

# Fields of the cursor. By number, because NumPy takes microseconds for a record's field by name.
CHUNK, MINI_BATCH, UPDATES, OUTCOME, END = range(len(records.CURSOR.names))

# Sweeps of up to so many times the operations of a first call take some 10 ms.
_SHORT = 10

# Operations of a call that takes longer than the Python of an epoch; of an evaluation, of which a
# fit has two: than the Python of a fit.
_LONG, _LONG_EVALUATION = 1e6, 3e7

# The order of rows that are not gathered.
_AS_THEY_LIE = np.empty(0, np.int64)


class Problem(NamedTuple):
    """All that a sweep has to know of an objective besides its network and its samples."""

    n_rows: int
    n_target: int  # columns of the target
    loss: str | CustomLoss
    loss_code: int
    loss_parameters: tuple[float, ...]  # one, or one for each output
    l1: float
    l2: float
    n_threads: int | None
    sequences: Sequences | None = None  # what the rows of X are, if the network is recurrent


def penalty(net, problem, theta):
    """The part of J that does not depend on the data."""
    if not (problem.l1 or problem.l2):
        return 0.0
    return float(penalties.penalty.serial(theta, net._layout_numbers, problem.l1, problem.l2))


class Tables:
    """What the compiled loop works with and that stays the same all through a sweep.

    Parameters
    ----------
    workspace : Workspace
        Its plan has to be complete.
    chunks, layout, constants, hyper : ndarray
        See `epoch.sweep_part`.

    Attributes
    ----------
    cursor : ndarray of int64
        How far the sweep has come.
    plan : record
    chunks : ndarray of `records.CHUNK`
    one_chunk : bool
        Whether all mini-batches are one chunk each.
    total : ndarray, (1,)
        Sum of the losses.
    kept : tuple of ndarray
        The tables and the workspace, `kept` of `epoch.sweep`. All tables are one vector because a
        call takes longer for each array that it is given.
    """

    def __init__(self, workspace, chunks, layout, constants, hyper):
        self.workspace = workspace
        parts = {
            codes.SYNC: np.zeros(SYNC_SIZE, np.int64),
            codes.CURSOR: records.new(records.CURSOR, 1),
            codes.PLAN: workspace.plans,
            codes.LAYOUT: workspace.padded(layout),
            codes.CHUNKS: chunks,
            codes.TASKS: workspace.alone[0],
            codes.BOUNDS: workspace.alone[1],
            codes.TEAM_TASKS: workspace.team[0],
            codes.TEAM_BOUNDS: workspace.team[1],
            codes.REALS: np.array([0.0, *hyper]),
            codes.STEPS: workspace.steps,
            codes.BLOCKS: workspace.blocks,
            codes.CUTS: workspace.cuts,
        }
        tables, views = packed(parts)
        self.sync, self.plan = views[codes.SYNC], views[codes.PLAN][0]
        self.cursor, self.chunks = numbers(views[codes.CURSOR]), np.asarray(views[codes.CHUNKS])
        self.total = views[codes.REALS][:1]
        start = workspace.plan.constants
        self._constants = workspace.buffer[start : start + constants.size]
        self._constants[:] = constants
        self.kept = tables, workspace.buffer
        # A mini-batch of one chunk is applied task by task and needs no gradient of its own.
        self.one_chunk = bool((chunks.first & chunks.last).all())
        self._alone = {}

    def set_penalties(self, l1, l2):
        """Change the factors of the penalties."""
        self._constants[codes.L1], self._constants[codes.L2] = l1, l2

    def alone(self, mode):
        """The compiled loop for a thread alone; compiled or loaded on first use."""
        kernel = self._alone.get(mode)
        if kernel is None:
            sweep = epoch.exact_sweep(self.workspace.buffer.dtype, False)
            kernel = self._alone[mode] = functools.partial(sweep, self.alone_address(mode))
        return kernel

    def alone_address(self, mode):
        """Address of what a thread alone runs; compiled or loaded on first use."""
        workspace, dtype = self.workspace, self.workspace.buffer.dtype
        is_small = workspace.small and self.one_chunk
        if mode == codes.EVALUATE and workspace.narrow and not is_small:
            is_small = small.is_at_hand(dtype)
        return (small.small_part_address if is_small else epoch.sweep_part_address)(dtype)


class Sweep:
    """Runs the compiled loop over mini-batches of an objective, a slice of time at a call.

    It knows of the objective's sizes, not of its samples, which are given to each call: so it
    can be kept for other samples without keeping these alive. Not for two threads at once.

    Parameters
    ----------
    net : MLP
    problem : Problem
    batch_rows : int
        Rows of a mini-batch.
    gather : bool
        Whether rows are taken in an order given to `begin`, else as they lie.
    optimizer : Stochastic or None
        Whose update to run, None only to evaluate.

    Attributes
    ----------
    total : float
        Sum of the weighted sample losses after the last call, NaN if one was not finite.
    is_small : bool
        Whether it takes one call to begin with.
    is_short : bool
        Whether it takes milliseconds, so that limits are heeded between sweeps soon enough.
    all_finite : bool
        Whether theta, and the gradient if there is one, were finite at the end of the sweep. Not
        looked at before, nor after ``codes.EVALUATE``.
    """

    def __init__(self, net, problem, batch_rows, *, gather, optimizer=None):
        self.problem = problem
        dtype = net.dtype
        plan_memory = _chain if net._program is None else _program
        workspace, chunks, row_flops = plan_memory(net, problem, batch_rows, gather, optimizer)
        n_parts, rows = workspace.n_parts, workspace.rows
        plan = workspace.plan
        plan.loss = problem.loss_code
        plan.rare_loss_at = _loss_address(problem, dtype)
        plan.n_loss_parameters = len(problem.loss_parameters)
        # A fused loss stands for the output activation as well.
        fused = problem.loss_code >= codes.FUSED_BINARY_CROSS_ENTROPY
        used = net._activation_codes[: -1 if fused else None]
        plan.rare_forward_at, plan.rare_backward_at = rare_addresses(used, dtype)
        hyper, layout = np.zeros(len(codes.HYPERPARAMETERS)), net._layout
        if optimizer is not None:
            plan.optimizer = optimizer.code
            plan.update_at = update_address(optimizer.code, dtype)
            plan.n_slots = optimizer.n_slots
            factors, row_of = optimizer.kinds()
            plan.n_kinds = factors.shape[1]
            hyper = np.concatenate([optimizer.hyperparameters(), *factors])
            layout = _with_kinds(net, row_of)
            plan.decays = optimizer.decays
        n_before_loss = codes.ACTIVATION_PARAMETERS + len(layout)
        constants = np.zeros(n_before_loss + len(problem.loss_parameters), dtype)
        constants[codes.L1], constants[codes.L2] = problem.l1, problem.l2
        if net._program is None:
            constants[codes.ACTIVATION_PARAMETERS : n_before_loss] = net._activation_parameters
        constants[n_before_loss:] = problem.loss_parameters
        self._tables = Tables(workspace, chunks, layout, constants, hyper)
        self._cursor = self._tables.cursor
        self._n_chunks = self._end = len(chunks)
        self._chunk_flops = 3.0 * rows * row_flops
        self._no_update = Update(np.empty(0, dtype), np.empty((0, codes.N_RATES)), np.inf)
        self._order = _AS_THEY_LIE
        self._at_once = {}
        self.total, self.all_finite = 0.0, True
        self._dtype = dtype
        # What update modes change besides theta: while a call runs it lies in the workspace.
        self._statistics: Any = net._statistics
        self._statistics_there: Any = None
        if self._statistics is not None:
            start, size = plan.statistics, self._statistics.size
            self._statistics_there = workspace.buffer[start : start + size]
        self._may_leave_out = workspace.leaves_out
        self._leave_out_if_due()
        self._may_be_team = n_parts > 1
        seconds_alone = 0.0
        # Who names a number of threads may count on them from the start.
        if self._may_be_team and problem.n_threads is None:
            seconds_alone = max(SECONDS_ALONE, TEAM.seconds_left(dtype))
        ways = [True, False] if self._may_be_team else [False]
        self._pace = Pace(ways, seconds_alone)
        # One call does a small sweep.
        self._flops = self._n_chunks * self._chunk_flops
        self.is_small = self._flops <= first_flops()
        self.is_short = self._flops <= _SHORT * first_flops()
        self._calls_without_clock = self._n_without_clock()
        # Those that a call of several epochs does.
        self._flops_at_once = first_flops()
        # Memory that the sweep holds, but for what is small.
        self.n_bytes = workspace.buffer.nbytes + chunks.nbytes
        self.n_updates = int(chunks.last.sum())
        self.one_chunk = self._tables.one_chunk
        self.purpose: Any = None  # see `KeptSweeps`

    @property
    def done(self) -> bool:
        """Whether the sweep has been through all that `begin` set it."""
        return self._cursor[CHUNK] == self._end

    @property
    def rows_done(self) -> int:
        """Rows that the sweep has been through."""
        done = int(self._cursor[CHUNK])
        return int(self._tables.chunks["stop"][done - 1]) if done else 0

    @property
    def updates_done(self) -> int:
        """Updates since `begin`."""
        return int(self._cursor[MINI_BATCH])

    @property
    def is_between_windows(self) -> bool:
        """Whether it is where a window of rows ends, if these are not all in memory."""
        return False

    def close(self):
        """Read no rows any more."""

    def release(self):
        """Let go of what is of one fit alone and takes memory."""
        self._order, self._statistics = _AS_THEY_LIE, None

    def take(self, net, problem):
        """Go on with another network and problem, if it is made for such; return whether it is.

        Networks have to be of one architecture, and problems are alike but for their penalties.
        """
        known = self.problem
        if known is not problem and known._replace(l1=problem.l1, l2=problem.l2) != problem:
            return False
        self.problem, self._statistics = problem, net._statistics
        self._tables.set_penalties(problem.l1, problem.l2)
        return True

    def seed_masks(self, seed):
        """Set the seed of the random masks, an int64 of at least 0."""
        self._tables.plan.mask_seed = seed

    def begin(self, order=None, updates_before=0, most_updates=np.inf):
        """Start over, with rows in the given order (int64) if the sweep gathers.

        The sweep ends after all rows, or after `most_updates` mini-batches.
        """
        self._end = self._n_chunks
        if most_updates < self.n_updates:
            last = np.flatnonzero(self._tables.chunks["last"])
            self._end = int(last[int(most_updates) - 1]) + 1
        self._order = _AS_THEY_LIE if order is None else order
        cursor = self._cursor
        cursor.fill(0)
        cursor[UPDATES] = updates_before
        cursor[END] = self._end
        self._tables.total[0] = 0.0

    def advance(self, mode, theta, samples, gradient, update=None, check=None):
        """Go on for about `pace.CALL_SECONDS`; return whether all losses were finite.

        Parameters
        ----------
        mode : int
            What to do with each mini-batch, one of `codes`.
        theta : ndarray, (n_params,)
        samples : tuple of ndarray
            X, Y and weights, contiguous and read-only, of the problem's sizes.
        gradient : ndarray, (n_params,) or (0,)
            Overwritten by the modes that need it.
        update : Update or None
            For the modes that update theta.
        check : callable or None
            Called now and then where rows have to be waited for; may raise.
        """
        arguments = (mode, theta, samples, gradient, self._order, update or self._no_update)
        if self._statistics is not None:
            self._statistics_there[:] = self._statistics
        if self._calls_without_clock > 0:
            self._calls_without_clock -= 1
            self._run(False, self._end, arguments)
        else:
            self._run_slice(arguments)
        if self._statistics is not None and mode >= codes.UPDATE:
            self._statistics[:] = self._statistics_there
        return not math.isnan(self.total)

    def evaluate(self, mode, theta, samples, gradient, check=None):
        """Go through all rows as they lie; return the sum of their losses, or NaN.

        It is NaN if a loss is not finite. Arguments are those of `advance`; `check` is called after
        each of its slices of time.
        """
        if self._calls_without_clock > 0:
            self._calls_without_clock -= 1
            if self._statistics is not None:
                self._statistics_there[:] = self._statistics
            # All that `begin` and `advance` do, in the least time: small networks wait for Python.
            at_once = self._at_once.get(mode) or self._prepare(mode)
            if self._flops > _LONG_EVALUATION:
                outcome = aside(at_once, theta, samples, gradient)
            else:
                outcome = at_once(theta, samples, gradient)
            self.total, self.all_finite = outcome
            if check is not None:
                check()
            return self.total
        self.begin()
        while self.advance(mode, theta, samples, gradient):
            if check is not None:
                check()
            if self.done:
                break
        return self.total

    def run_lbfgs(self, run, theta, gradient, samples):
        """Go on for a slice of time with a run of L-BFGS, see `minimization.minimize_part`.

        Parameters
        ----------
        run : `solvers.lbfgs_run.Run`
            Its limits are set; that of evaluations may be lowered.
        theta, gradient : ndarray, (n_params,)
            Overwritten.
        samples : tuple of ndarray
            As of `advance`.
        """
        problem, tables, dtype = self.problem, self._tables, self._dtype
        run["n_samples"], run["l1"], run["l2"] = problem.n_rows, problem.l1, problem.l2
        as_team, most = False, self._calls_without_clock
        times = most <= 0
        if times:
            as_team, flops = self._pace.next()
            most = max(1, int(flops / self._flops))
        run["most_evaluations"] = min(run["most_evaluations"], most)
        run["alone_at"] = tables.alone_address(codes.DIFFERENTIATE)
        run["team_at"] = epoch.sweep_part_address(dtype) if as_team else 0
        if self._statistics is not None:
            self._statistics_there[:] = self._statistics
        update = Update(np.empty(0, dtype), run.memory.reshape(-1, codes.N_RATES), np.inf)
        arguments = codes.DIFFERENTIATE, theta, samples, gradient, _AS_THEY_LIE, update
        address = minimize_part_address(dtype)
        if as_team and self._pace.is_new(as_team):
            epoch.exact_sweep(dtype, True)  # compiles or loads it, off the clock
        began = time.perf_counter()
        run_sweep(tables, as_team, self._n_chunks, *arguments, worker_at=address)
        seconds = time.perf_counter() - began
        if times:
            self._learn(as_team, run["n_evaluations"] * self._flops, seconds)
        else:
            self._calls_without_clock -= run["n_evaluations"]

    def n_epochs_at_once(self):
        """How many epochs to go through in one call of `run_epochs`; none if it is less than 2."""
        if self._statistics is not None:
            return 0
        return int(min(self._calls_without_clock, self._flops_at_once // self._flops))

    def run_epochs(self, several, mode, theta, samples, gradient, update):
        """Go through all rows again and again; return how many times all was finite.

        Only after `begin`, and as often as `n_epochs_at_once` says. If it is fewer times than asked
        for, but for the target, `total`, `all_finite` and what is done tell of the next one.

        Parameters
        ----------
        several : Several
        mode, theta, samples, gradient, update
            As of `advance`, for modes that update theta.
        """
        n_epochs, tables = several.objectives.size, self._tables
        self._calls_without_clock -= n_epochs
        kernel, address = exact_epochs(self._dtype), tables.alone_address(mode)
        call = Call(False, False, mode, self._end)
        arguments = address, several, call, tables.kept, update, theta, samples, gradient

        def run():
            began = time.perf_counter()
            return *kernel(*arguments), time.perf_counter() - began

        done, self.total, self.all_finite, seconds = aside(run)
        self._flops_at_once = n_epochs * self._flops * SLICE_SECONDS / max(seconds, 1e-7)
        return done

    def _prepare(self, mode):
        """The compiled loop, with all arguments that evaluations in one call have in common."""
        tables = self._tables
        call = Call(True, False, mode, self._n_chunks)
        common = call, tables.kept, _AS_THEY_LIE, self._no_update
        self._at_once[mode] = functools.partial(tables.alone(mode), *common)
        return self._at_once[mode]

    def _n_without_clock(self):
        """How many of the next calls go alone for sure, and so need no clock; see `Pace`."""
        if self._may_leave_out or not self.is_small:
            return 0
        return self._pace.skip_to_trial(self._flops) if self._may_be_team else math.inf

    def _leave_out_if_due(self):
        """Have empty columns of X left out from now on, if the code for it is there or due."""
        if self._may_leave_out and not EMPTY_COLUMNS.seconds_left(self._dtype):
            plan = self._tables.plan
            plan.columns_at, plan.pack_at, plan.spread_at = empty_columns.addresses(self._dtype)
            self._may_leave_out = False

    def _run(self, as_team, stop, arguments):
        if self._flops > (_LONG if arguments[0] >= codes.UPDATE else _LONG_EVALUATION):
            outcome = aside(run_sweep, self._tables, as_team, stop, *arguments)
        else:
            outcome = run_sweep(self._tables, as_team, stop, *arguments)
        self.total, self.all_finite = outcome

    def _run_slice(self, arguments):
        """Run as many chunks, and that way, as the pace says; tell it how long it took."""
        cursor = self._cursor
        start = int(cursor[CHUNK])
        as_team, flops = self._pace.next()
        if self._pace.is_new(as_team):
            # Nothing to do: compiles or loads the kernels, off the clock.
            self._run(as_team, start, arguments)
        stop = min(self._end, start + max(1, int(flops / self._chunk_flops)))
        began = time.perf_counter()
        self._run(as_team, stop, arguments)
        seconds = time.perf_counter() - began
        self._learn(as_team, (int(cursor[CHUNK]) - start) * self._chunk_flops, seconds)

    def _learn(self, as_team, flops, seconds):
        """Take down how long a call took, and for how many operations."""
        if self._may_be_team and not as_team:
            TEAM.spend(self._dtype, seconds)
        if self._may_leave_out:
            EMPTY_COLUMNS.spend(self._dtype, seconds)
            self._leave_out_if_due()
        if flops:
            self._pace.learn(as_team, flops, seconds)
            self._calls_without_clock = self._n_without_clock()


def _loss_address(problem, dtype):
    """Address of the worker of a loss that is not common, or 0."""
    if isinstance(problem.loss, str):
        return rare_address(problem.loss_code, problem.loss_parameters, dtype)
    value, gradient = problem.loss
    return custom_address(value, gradient, dtype)


def _with_kinds(net, row_of):
    """The network's layout, with the rows of coefficients that its parameters have."""
    layout = net._layout.copy()
    if net._program is None:
        layout.weight_kind, layout.bias_kind = row_of["weights"], row_of["bias"]
        layout[0].weight_kind = row_of["first_weights"]
        return layout
    for record, block in zip(layout, net._program.blocks, strict=True):
        record.weight_kind, record.bias_kind = row_of[block.weight_kind], row_of[block.bias_kind]
    return layout


def _chain(net, problem, batch_rows, gather, optimizer):
    """Workspace of a chain of layers, its chunks, and the operations for a row, forward."""
    sizes, dtype = net.layer_sizes, net.dtype
    rows = chunk_rows(sizes, dtype.itemsize, batch_rows)
    row_flops = 2.0 * count_weights(sizes)
    n_parts = 1
    if not is_small(sizes, dtype.itemsize, rows):
        # Forward, and delta-propagation about as much again: what the first phase of a step does.
        n_parts = choose_parts(2 * rows * row_flops, problem.n_threads)
        n_slices = choose_slices(sizes, dtype.itemsize, rows).n_slices
        if n_slices:  # a part without any would only repeat the layers above
            n_parts = min(n_parts, n_slices)
    workspace = Workspace(
        sizes,
        dtype,
        rows=rows,
        n_parts=n_parts,
        n_target=problem.n_target,
        gather=gather,
        slopes=any(code in KEPT_SLOPES for code in net._activation_codes),
    )
    return workspace, chunk_table(problem.n_rows, batch_rows, rows), row_flops


def _program(net, problem, batch_rows, gather, optimizer):
    """Do what `_chain` does for a program."""
    program = net._program_for(problem.sequences)
    rows = program_workspace.chunk_rows(program, batch_rows, optimizer is not None)
    n_parts = choose_parts(3 * rows * program.flops, problem.n_threads)
    n_parts = min(n_parts, program_workspace.group_count(rows))
    workspace = program_workspace.ProgramWorkspace(
        program,
        net.dtype,
        rows=rows,
        n_parts=n_parts,
        n_target=problem.n_target,
        gather=gather,
        is_fused=problem.loss_code >= codes.FUSED_BINARY_CROSS_ENTROPY,
    )
    addresses = program_kernels.addresses(net.dtype)
    workspace.plan.program_at, workspace.plan.program_tasks_at = addresses
    return workspace, chunk_table(problem.n_rows, batch_rows, rows), program.flops


class KeptSweeps:
    """Holds some sweeps of fits that have ended, for the next fits of such networks.

    To make a sweep takes longer than the steps of a small fit. Which sweep is taken changes no bit.
    Threads may share it: one takes a sweep out while it runs.

    Parameters
    ----------
    most : int
        How many to hold; the oldest goes first.
    most_bytes : int
        A sweep that holds more memory is not kept.
    """

    def __init__(self, most, most_bytes):
        self._most_bytes = most_bytes
        self._kept: deque[tuple[Any, Any, Sweep]] = deque(maxlen=most)

    def take(self, net, problem, batch_rows, *, gather, optimizer=None):
        """Hand over a sweep that is kept for such a fit, or a new one; see `Sweep`."""
        try:
            purpose = _purpose(batch_rows, gather, optimizer)
        except TypeError:  # of the cache, for an optimizer with factors
            purpose = _purpose.__wrapped__(batch_rows, gather, optimizer)
        for _ in range(len(self._kept)):
            try:
                kept = self._kept.popleft()
            except IndexError:  # another thread was faster
                break
            key, made_for, sweep = kept
            if made_for == purpose and key == net._loop_key and sweep.take(net, problem):
                return sweep
            self._kept.append(kept)
        sweep = Sweep(net, problem, batch_rows, gather=gather, optimizer=optimizer)
        sweep.purpose = purpose
        return sweep

    def keep(self, sweep, net):
        """Keep a sweep that `take` has made for a network, if it is not too large."""
        if sweep.n_bytes <= self._most_bytes:
            sweep.release()
            self._kept.append((net._loop_key, sweep.purpose, sweep))

    def clear(self):
        """Hold none any more."""
        self._kept.clear()


@functools.lru_cache
def _purpose(batch_rows, gather, optimizer):
    """All that a sweep is made for, but for the network and the problem, as plain values."""
    if optimizer is None:
        return batch_rows, gather
    factors, row_of = optimizer.kinds()
    numbers = optimizer.hyperparameters().tobytes(), factors.tobytes(), tuple(row_of.values())
    return batch_rows, gather, optimizer.code, optimizer.n_slots, optimizer.decays, *numbers


# Each fit at a time has one sweep to train and one to evaluate.
KEPT = KeptSweeps(2 * max(2, available_cores()), 1 << 21)


class SpareSweep:
    """Holds at most one sweep that is not in use, for the next evaluation of such a problem.

    Threads may share it: one takes the sweep out while it runs, the others make their own.

    Parameters
    ----------
    most_bytes : float
        A sweep that holds more memory is not kept.
    """

    def __init__(self, most_bytes):
        self._most_bytes = most_bytes
        self._sweeps: deque[Sweep] = deque(maxlen=1)

    def take(self, net, problem, samples):
        """Hand over the sweep kept, if it was made for such a problem, or a new one.

        Samples that are no arrays in memory make it themselves.
        """
        try:
            sweep = self._sweeps.pop()
        except IndexError:
            sweep = None
        if sweep is None or (sweep.problem is not problem and sweep.problem != problem):
            if isinstance(samples, tuple):
                return KEPT.take(net, problem, problem.n_rows, gather=False)
            return samples.sweep(problem, problem.n_rows, gather=False)
        return sweep

    def leave(self, net):
        """Hand what is held over to `KEPT`, for the next fit."""
        if self._sweeps:
            KEPT.keep(self._sweeps.pop(), net)

    def put_back(self, sweep):
        """Keep a sweep, if it is not too large."""
        if sweep.n_bytes <= self._most_bytes:
            self._sweeps.append(sweep)


def run_sweep(tables, as_team, stop, mode, theta, samples, result, order, update, worker_at=None):
    """Call the compiled loop, `as_team` if a team can be had, else in this thread alone.

    Parameters
    ----------
    tables : Tables
    as_team : bool
    samples : tuple of ndarray
        X, Y and weights.
    update : Update
    stop, mode, theta, result, order
        See `epoch.sweep_part`.
    worker_at : int or None
        Address of another worker to run, alone or as a team.

    Returns
    -------
    (float, bool)
        Those of `epoch.sweep`.
    """
    arguments = tables.kept, order, update, theta, samples, result
    if as_team:
        cursor = tables.cursor
        cursor[OUTCOME] = codes.NOT_STARTED
        with parallel_region(tables.workspace.n_parts) as entered:
            if entered:
                tables.sync[:] = 0
                kernel = epoch.exact_sweep(theta.dtype, True)
                address = worker_at or epoch.sweep_part_address(theta.dtype)
                outcome = kernel(address, Call(False, True, mode, stop), *arguments)
        if cursor[OUTCOME] != codes.NOT_STARTED:
            return outcome
        if entered:
            no_teams()
    call = Call(False, False, mode, stop)
    if worker_at is not None:
        return epoch.exact_sweep(theta.dtype, False)(worker_at, call, *arguments)
    return tables.alone(mode)(call, *arguments)
