"""Runs optimizers under a monitor, one after the other: on a network, or on any function."""

import math
from contextlib import suppress

import numpy as np

from fastmlp.functions import CallableFunction, NetworkFunction
from fastmlp.kernels import codes, vectors
from fastmlp.kernels.epoch import Update
from fastmlp.monitor import Stop
from fastmlp.order import random_order
from fastmlp.result import FitResult, Status
from fastmlp.schedules import Schedule
from fastmlp.solvers import Solver, Updates, check_solvers

# After these a list of optimizers goes on to the next; after any other the fit is over.
HAND_OVER = (
    Status.COMPLETED,
    Status.CONVERGED,
    Status.FAILED,
    Status.LINE_SEARCH_FAILED,
)


def run_stages(
    objective,
    stages,
    budgets,
    monitor,
    batches,
    *,
    comparable=False,
    gradient_evaluations=None,
    checkpoint=None,
):
    """Run optimizers in turn, each from where the last one stopped; return the FitResult.

    Parameters
    ----------
    objective : Objective
    stages : list of Optimizer
    budgets : list of int
        Epochs of each stochastic optimizer, iterations of each solver.
    monitor : Monitor
    batches : dict
        What `training.check_batches` returns.
    comparable : bool
        Whether a solver's budget is data passes as well, and every record holds the objective
        and its gradient's norm at theta, evaluated off the clock. A last record then shows what
        was spent since the one before it, as on a line search that the budget cut short.
    gradient_evaluations : list of int, or None
        A further budget of each stage.
    checkpoint : Checkpoint or None
        What to go on from, and where to keep how far it came.
    """
    rng = batches["rng"]
    saved = None if checkpoint is None else checkpoint.saved
    first = 0
    if saved is not None:
        first = saved["stage"]
        rng.bit_generator.state = saved["rng"]
        monitor.restore(saved["monitor"])
    for i, (stage, amount) in enumerate(zip(stages, budgets, strict=True)):
        if i < first:
            continue
        keeper = _Keeper(checkpoint, i, rng, monitor, saved if i == first else None)
        evaluations = None if gradient_evaluations is None else gradient_evaluations[i]
        is_solver = isinstance(stage, Solver)
        monitor.limit(amount if comparable and is_solver else None, evaluations)
        if is_solver:
            status, message, loss = run_solver(
                objective, stage, amount, monitor, rng, comparable, keeper
            )
        else:
            status, message, loss = run_stochastic(
                objective,
                stage,
                amount,
                monitor,
                **batches,
                exact=comparable,
                keeper=keeper,
                from_start=comparable or not len(monitor.trace),
            )
        if status not in HAND_OVER:
            break
    if checkpoint is not None:
        checkpoint.write()
    trace, seconds = monitor.trace, monitor.seconds
    if comparable and not (len(trace) and trace[-1].data_passes == monitor.data_passes):
        with suppress(Stop):  # the optimizer has ended already
            record_exactly(objective, monitor)
    return _result(objective.net.theta.copy(), loss, status, message, monitor, seconds)


def run_on_function(
    value_and_grad,
    x0,
    stages,
    budgets,
    monitor,
    rng,
    l1=None,
    *,
    passes=None,
    gradient_evaluations=None,
):
    """Do for any function what `run_stages` does for a network; return the FitResult.

    Parameters
    ----------
    value_and_grad, x0
        As of `fastmlp.minimize`, `x0` checked.
    stages, budgets, monitor, gradient_evaluations
        As of `run_stages`.
    rng : numpy.random.Generator
    l1 : ndarray (n,) or None
    passes : list of int, or None
        Budget of evaluations of each stage, whether of the value alone or of the gradient too.
    """
    function = CallableFunction(value_and_grad, x0.size, monitor, rng, l1)
    solvers = [stage if isinstance(stage, Solver) else Updates(stage) for stage in stages]
    check_solvers(solvers, function)
    x = x0
    for i, (solver, amount) in enumerate(zip(solvers, budgets, strict=True)):
        monitor.limit(
            None if passes is None else passes[i],
            None if gradient_evaluations is None else gradient_evaluations[i],
        )
        x, status, message = drive(solver, function, x, amount, monitor)
        if status not in HAND_OVER:
            break
    seconds = monitor.seconds
    with monitor.callers_errors():
        loss = float(value_and_grad(x.copy())[0])
    if l1 is not None:
        loss += float((l1 * np.abs(x)).sum())
    return _result(x, loss, status, message, monitor, seconds)


def _result(theta, loss, status, message, monitor, seconds):
    status, message = monitor.outcome(status, message)
    return FitResult(
        theta=theta,
        loss=loss,
        status=status,
        message=message,
        n_iter=monitor.epoch,
        n_loss_evals=monitor.n_loss_evals,
        n_grad_evals=monitor.n_grad_evals,
        seconds=seconds,
        trace=monitor.trace,
    )


class _Keeper:
    """Hands what an optimizer needs to go on to a checkpoint, after every epoch or iteration.

    Parameters
    ----------
    checkpoint : Checkpoint or None
        None is to keep nothing.
    stage : int
    rng : numpy.random.Generator
    monitor : Monitor
    saved : dict or None
        What was kept of this stage before, to go on from.
    """

    def __init__(self, checkpoint, stage, rng, monitor, saved):
        self._checkpoint = checkpoint
        self._stage = stage
        self._rng = rng
        self._monitor = monitor
        self.saved = None if saved is None else saved["optimizer"]
        self.done = 0 if saved is None else saved["done"]
        self.wanted = checkpoint is not None

    def keep(self, theta, optimizer):
        """Keep the state `optimizer`, a dict, after one more epoch or iteration."""
        if not self.wanted:
            return
        self.done += 1
        with self._monitor.paused():
            self._checkpoint.keep(
                {
                    "stage": self._stage,
                    "done": self.done,
                    "theta": theta,
                    "optimizer": optimizer,
                    "rng": self._rng.bit_generator.state,
                    "monitor": self._monitor.snapshot(),
                }
            )


def run_stochastic(
    objective,
    optimizer,
    n_epochs,
    monitor,
    batch_size,
    shuffle,
    clip_norm,
    rng,
    *,
    exact,
    keeper,
    from_start=False,
):
    """Train with mini-batches; return status, message and loss, with the outcome in net.theta.

    If `exact`, every record holds the objective and its gradient's norm at theta, evaluated off
    the clock, instead of the mean over the epoch. If `from_start`, the first record is of the
    start, its objective evaluated off the clock as well.
    """
    net, n_rows = objective.net, objective.n_rows
    theta = net.theta
    batch_rows = n_rows if batch_size is None else min(int(batch_size), n_rows)
    gather = shuffle == "replacement" or (bool(shuffle) and batch_rows < n_rows)
    sweep = objective.sweep(batch_rows, gather=gather, optimizer=optimizer)
    state = np.zeros(optimizer.n_slots * theta.size, net.dtype)
    mode = codes.UPDATE if clip_norm is None else codes.UPDATE_CLIPPED
    whole_gradient = clip_norm is not None or not sweep.one_chunk
    gradient = np.empty(theta.size if whole_gradient else 0, net.dtype)
    largest_norm = np.inf if clip_norm is None else float(clip_norm)
    start = theta.copy()
    finished, best, best_objective = start, start, np.inf
    n_updates, update = 0, None
    changes_rate = isinstance(optimizer.learning_rate, Schedule)
    saved = keeper.saved
    if saved is not None:
        state[:] = saved["state"]
        theta[:], best, best_objective = saved["theta"], saved["best"], saved["best_objective"]
        n_updates, finished = saved["n_updates"], theta.copy()
    try:
        if from_start and saved is None:
            if exact:
                record_exactly(objective, monitor, first=True)
            else:
                with monitor.paused():
                    value = _value_by_batches(objective, sweep, gradient)
                monitor.record(value, theta, first=True, calls_back=False)
        for _ in range(n_epochs - keeper.done):
            order = None
            if gather:
                if shuffle == "replacement":
                    order = rng.integers(0, n_rows, n_rows)
                else:
                    order = random_order(rng, n_rows)
            if update is None or changes_rate:
                rates = optimizer.learning_rates(n_updates, sweep.n_updates, sweep.n_updates)
                update = Update(state, rates, largest_norm)
            left = monitor.evaluations_left()
            if left <= 0:
                raise Stop(Status.COMPLETED, "the budget of gradient evaluations is spent")
            sweep.begin(order, n_updates, most_updates=left)
            passes, done = monitor.data_passes, 0
            while not sweep.done:
                finite = sweep.advance(mode, theta, objective.samples, gradient, update)
                before, done, rows = done, sweep.updates_done, sweep.rows_done
                monitor.count(done - before, done - before, 0)
                monitor.data_passes = passes + rows / n_rows
                if not finite:
                    raise Stop(Status.NOT_FINITE, "the objective or its gradient is not finite")
                monitor.check()
            # A rectifier can hide infinite parameters from the objective.
            if not sweep.all_finite:
                raise Stop(Status.NOT_FINITE, "theta is not finite")
            n_updates += done
            monitor.epoch += 1
            estimate = sweep.total / rows + objective.penalty(theta)
            finished = theta.copy()
            if estimate < best_objective:
                best, best_objective = finished, estimate
            try:
                if exact:
                    record_exactly(objective, monitor)
                else:
                    monitor.record(estimate, theta)
            finally:
                if keeper.wanted:
                    kept = {
                        "state": state,
                        "theta": theta,
                        "best": best,
                        "best_objective": best_objective,
                        "n_updates": n_updates,
                    }
                    keeper.keep(theta, kept)
        status, message = Status.COMPLETED, f"{n_epochs} epochs done"
    except Stop as stop:
        status, message = stop.status, stop.message
    if status is Status.INTERRUPTED:
        theta[:] = finished
    loss = objective.value()
    if status is not Status.NOT_FINITE and not (np.isfinite(theta).all() and np.isfinite(loss)):
        status, message = Status.NOT_FINITE, "the objective is not finite after the last update"
    if status is Status.NOT_FINITE:
        # An epoch's mean lags behind its theta, so the candidates are compared anew.
        candidates = [start] if best is start else [start, best]
        values = [objective.value(candidate) for candidate in candidates]
        chosen = int(np.nanargmin(values)) if np.isfinite(values).any() else 0
        theta[:], loss = candidates[chosen], values[chosen]
        message += "; theta is back at the best finite one"
    return status, message, loss


def _value_by_batches(objective, sweep, gradient):
    """The objective at the network's theta, by a sweep that trains and so needs no other kernel.

    It is NaN if it is not finite.
    """
    theta = objective.net.theta
    sweep.begin(np.arange(objective.n_rows))
    while not sweep.done and sweep.advance(codes.EVALUATE, theta, objective.samples, gradient):
        pass
    return sweep.total / objective.n_rows + objective.penalty(theta)


def record_exactly(objective, monitor, *, first=False):
    """Record the objective and its gradient's norm at theta, off the clock."""
    with monitor.paused():
        value, gradient = objective.value_and_grad()
    if not np.isfinite(value):
        raise Stop(Status.NOT_FINITE, "the objective is not finite")
    monitor.record(value, objective.net.theta, euclidean_norm(gradient), first=first)


def euclidean_norm(vector):
    """Norm of a vector, in float64 and without BLAS, whose threads would get in ours' way."""
    # einsum does not warn where a square overflows, on the way of what diverges.
    return math.sqrt(np.einsum("i,i", vector, vector, dtype=np.float64))


def run_solver(objective, solver, max_iterations, monitor, rng, comparable, keeper):
    """Minimize the objective; return status, message and loss, with the outcome in net.theta."""
    net = objective.net
    function = NetworkFunction(objective, monitor, rng, solver.batch_size, keeper.wanted)
    exactly = objective if comparable and solver.stochastic else None
    x0 = net.theta.astype(np.float64)
    x, status, message = drive(
        solver, function, x0, max_iterations, monitor, exactly=exactly, keeper=keeper
    )
    net.theta[:] = x
    return status, message, objective.value()


def drive(solver, function, x0, max_iterations, monitor, *, exactly=None, keeper=None):
    """Run a solver under a monitor: record, and come back with the best iterate.

    Parameters
    ----------
    exactly : Objective or None
        Evaluated off the clock for the records, instead of the solver's own estimates.
    keeper : _Keeper or None

    Returns
    -------
    (ndarray of float64, Status, str)
        A stochastic solver ends where it is, unless that is not finite.
    """
    best, best_value = x0.copy(), np.inf
    latest = best
    saved = None if keeper is None else keeper.saved

    def record(state, first=False):
        nonlocal best, best_value, latest
        x, value = state["x"], state["value"]
        latest = x
        if value <= best_value:
            best, best_value = x.copy(), value
        if exactly is None:
            gradient = state["gradient"]
            norm = math.sqrt(vectors.dot.serial(gradient, gradient))
            monitor.record(value, x, norm, first=first)
        else:
            exactly.net.theta[:] = x
            record_exactly(exactly, monitor, first=first)

    def iterate(state):
        monitor.epoch += 1
        if not math.isfinite(vectors.largest.serial(state["x"])):
            raise Stop(Status.NOT_FINITE, "theta is not finite")
        try:
            record(state)
        finally:
            if keeper is not None and keeper.wanted:
                kept = {
                    "state": state,
                    "data": function.snapshot(),
                    "best": best,
                    "best_value": best_value,
                }
                keeper.keep(state["x"], kept)

    try:
        if saved is None:
            state = solver.start(function, x0)
            latest = state["x"]
            if not solver.stochastic and not np.isfinite(state["value"]):
                raise Stop(Status.NOT_FINITE, "the objective is not finite at the start")
            if not solver.stochastic and not np.isfinite(state["gradient"]).all():
                raise Stop(Status.NOT_FINITE, "the gradient is not finite at the start")
            record(state, first=True)
        else:
            state = dict(saved["state"])
            function.restore(saved["data"])
            best, best_value, latest = saved["best"], saved["best_value"], state["x"]
            max_iterations -= keeper.done
            if saved.get("is_elsewhere"):
                solver.move(function, state)
        status, message = solver.run(function, state, max_iterations, iterate)
        latest = state["x"]
    except Stop as stop:
        status, message = stop.status, stop.message
        x = latest if solver.stochastic else best
    else:
        at_its_end = solver.monotone and status in _AT_ITS_END
        x = latest if solver.stochastic or at_its_end else best
    if status is Status.NOT_FINITE:
        return best, status, f"{message}; x is back at the best finite one"
    return x, status, message


# Ways to end at the last iterate, which for any other is replaced by the best.
_AT_ITS_END = (Status.CONVERGED, Status.COMPLETED)
