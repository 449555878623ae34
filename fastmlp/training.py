"""fit: every optimizer on a network's objective, with one result and one trace; and minimize."""

from contextlib import suppress

import numpy as np

from fastmlp import optimizers as stochastic
from fastmlp.functions import CallableFunction, NetworkFunction
from fastmlp.kernels import codes
from fastmlp.monitor import Monitor, Stop
from fastmlp.objective import Objective, check_network
from fastmlp.optimizers import Adam, Optimizer, Stochastic, parse
from fastmlp.result import FitResult, Status
from fastmlp.solvers import LBFGS, Scipy, Solver, Updates, check_bounds
from fastmlp.sweep import Sweep, Update
from fastmlp.validation import (
    as_generator,
    as_real,
    check_count,
    check_finite,
    check_flag,
    check_number,
    check_positive,
)

OPTIMIZERS: dict[str, type[Optimizer]] = {**stochastic.BY_NAME, "lbfgs": LBFGS, "scipy": Scipy}

# Epochs of a stochastic optimizer where `fit` is given none.
EPOCHS = 20

# After these a list of optimizers goes on to the next; after any other the fit is over.
_HAND_OVER = (Status.COMPLETED, Status.CONVERGED, Status.FAILED)


def fit(
    net,
    X,
    y,
    *,
    optimizer=None,
    loss="auto",
    batch_size=128,
    epochs=None,
    l1=0.0,
    l2=0.0,
    sample_weight=None,
    shuffle=True,
    clip_norm=None,
    validation_data=None,
    callbacks=(),
    time_limit=None,
    target_loss=None,
    progress=False,
    n_threads=None,
    seed=None,
):
    """Train a network in place.

    Parameters
    ----------
    net : MLP
        Starts from its current parameters.
    X, y, loss, sample_weight, l1, l2
        The data and the objective, see `fastmlp.Objective`.
    optimizer : Optimizer, str, or a list of them; default Adam()
        An object such as ``Adam(learning_rate=1e-3)`` or ``LBFGS()``, or its name as in
        "adam" or "sgd(learning_rate=0.1, momentum=0.9)". A list runs them in turn, each from
        where the last one stopped.
    batch_size : int or None, default 128
        Rows of a mini-batch, at most all; None is full batch, 1 is online. The last mini-batch
        of an epoch may be smaller. Solvers such as LBFGS always use all rows.
    epochs : int or None, default None
        Passes over the data of a stochastic optimizer, iterations of a solver, for each
        optimizer of a list. None is 20 epochs, or the solver's own ``max_iterations``.
    shuffle : True, False or "replacement", default True
        True reshuffles the rows every epoch, False keeps their order, "replacement" draws each
        row uniformly, with replacement. A full batch is not shuffled.
    clip_norm : float or None, default None
        Largest Euclidean norm of a mini-batch's gradient, penalties included; a larger one is
        scaled down to it. For stochastic optimizers.
    validation_data : (X, y), (X, y, sample_weight) or None, default None
        Its loss, without penalties, goes into the trace.
    callbacks : sequence of callable, default ()
        Called with a `fastmlp.Progress` after each epoch or iteration; raising StopIteration
        ends the fit.
    time_limit : float or None, default None
        Seconds, without validation and callbacks. Heeded within an epoch; theta stays as it is
        then.
    target_loss : float or None, default None
        End when a record's objective is at most this.
    progress : bool, default False
        Show a progress bar.
    n_threads : int or None, default None
        At most so many threads, and only one where a team is not faster. None is as many as
        this process may use cores and the work is enough for. Theta comes out with the same bits
        for every number.
    seed : int or None, default None
        Of the shuffling. None draws afresh.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError, TypeError
        For any argument that is not as above, before anything is changed.

    Notes
    -----
    If the objective or theta turns non-finite, the fit stops at that step and theta goes back
    to the best finite parameters: those of the epoch with the least objective, or the start.
    Ctrl-C ends the fit with theta as of the last finished epoch; the status tells of it even if
    that was the last epoch of all.
    """
    run = prepare(
        net,
        X,
        y,
        optimizer=optimizer,
        loss=loss,
        batch_size=batch_size,
        epochs=epochs,
        l1=l1,
        l2=l2,
        sample_weight=sample_weight,
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
    return run()


def prepare(
    net,
    X,
    y,
    *,
    optimizer,
    loss,
    batch_size,
    epochs,
    l1,
    l2,
    sample_weight,
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
    """Check all that `fit` is given; return what then fits, once, and returns the FitResult.

    Its one argument, optional, is an Interruption that it shares with other fits.
    """
    check_network(net)
    stages = check_optimizers(Adam() if optimizer is None else optimizer, net.n_params)
    batches = check_batches(batch_size, shuffle, clip_norm, seed)
    options = check_run_options("epochs", epochs, callbacks, time_limit, target_loss, progress)
    objective = Objective(
        net, X, y, loss=loss, sample_weight=sample_weight, l1=l1, l2=l2, n_threads=n_threads
    )
    held_out = held_out_objective(net, validation_data, loss, n_threads)
    validate = None if held_out is None else held_out.value
    budgets = [budget(stage, epochs) for stage in stages]
    options |= {"network": net, "validate": validate, "total": sum(budgets)}

    def run(interruption=None):
        with Monitor(**options, interruption=interruption) as monitor:
            return run_stages(objective, stages, budgets, monitor, batches)

    return run


def run_stages(objective, stages, budgets, monitor, batches, *, comparable=False):
    """Run optimizers in turn, each from where the last one stopped; return the FitResult.

    Parameters
    ----------
    objective : Objective
    stages : list of Optimizer
    budgets : list of int
        Epochs of each stochastic optimizer, iterations of each solver.
    monitor : Monitor
    batches : dict
        What `check_batches` returns.
    comparable : bool
        Whether a solver's budget is data passes as well, and every record holds the objective
        and its gradient's norm at theta, evaluated off the clock. A last record then shows what
        was spent since the one before it, as on a line search that the budget cut short.
    """
    for stage, amount in zip(stages, budgets, strict=True):
        if isinstance(stage, Solver):
            monitor.limit(amount if comparable else None)
            rng = batches["rng"]
            status, message, loss = run_solver(objective, stage, amount, monitor, rng, comparable)
        else:
            monitor.limit()
            status, message, loss = run_stochastic(
                objective, stage, amount, monitor, **batches, exact=comparable
            )
        if status not in _HAND_OVER:
            break
    trace, seconds = monitor.trace, monitor.seconds
    if comparable and not (len(trace) and trace[-1].data_passes == monitor.data_passes):
        with suppress(Stop):  # the optimizer has ended already
            record_exactly(objective, monitor)
    status, message = monitor.outcome(status, message)
    return FitResult(
        theta=objective.net.theta.copy(),
        loss=loss,
        status=status,
        message=message,
        n_iter=monitor.epoch,
        n_loss_evals=monitor.n_loss_evals,
        n_grad_evals=monitor.n_grad_evals,
        seconds=seconds,
        trace=trace,
    )


def run_stochastic(
    objective, optimizer, n_epochs, monitor, batch_size, shuffle, clip_norm, rng, exact=False
):
    """Train with mini-batches; return status, message and loss, with the outcome in net.theta.

    If `exact`, every record, and one at the start, holds the objective and its gradient's norm
    at theta, evaluated off the clock, instead of the mean over the epoch.
    """
    net, n_rows = objective.net, objective.n_rows
    theta = net.theta
    batch_rows = n_rows if batch_size is None else min(int(batch_size), n_rows)
    gather = shuffle == "replacement" or (bool(shuffle) and batch_rows < n_rows)
    sweep = Sweep(net, objective.problem, batch_rows, gather=gather, optimizer=optimizer)
    state = np.zeros(optimizer.n_slots * theta.size, net.dtype)
    mode = codes.UPDATE if clip_norm is None else codes.UPDATE_CLIPPED
    whole_gradient = clip_norm is not None or not sweep.one_chunk
    gradient = np.empty(theta.size if whole_gradient else 0, net.dtype)
    largest_norm = np.inf if clip_norm is None else float(clip_norm)
    start = theta.copy()
    finished, best, best_objective = start, start, np.inf
    n_updates = 0
    try:
        if exact:
            record_exactly(objective, monitor, first=True)
        for _ in range(n_epochs):
            order = None
            if gather:
                replacement = shuffle == "replacement"
                order = rng.integers(0, n_rows, n_rows) if replacement else rng.permutation(n_rows)
            rates = optimizer.learning_rates(n_updates, sweep.n_updates, sweep.n_updates)
            update = Update(state, rates, largest_norm)
            sweep.begin(order, n_updates)
            passes = monitor.data_passes
            while not sweep.done:
                before = sweep.updates_done
                finite = sweep.advance(mode, theta, objective.samples, gradient, update)
                done = sweep.updates_done - before
                monitor.n_loss_evals += done
                monitor.n_grad_evals += done
                monitor.data_passes = passes + sweep.rows_done / n_rows
                if not finite:
                    raise Stop(Status.NOT_FINITE, "the objective or its gradient is not finite")
                monitor.check()
            # A rectifier can hide infinite parameters from the objective.
            if not np.isfinite(theta).all():
                raise Stop(Status.NOT_FINITE, "theta is not finite")
            n_updates += sweep.n_updates
            monitor.epoch += 1
            estimate = sweep.total / n_rows + objective.penalty(theta)
            finished = theta.copy()
            if estimate < best_objective:
                best, best_objective = finished, estimate
            if exact:
                record_exactly(objective, monitor)
            else:
                monitor.record(estimate, theta)
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


def record_exactly(objective, monitor, *, first=False):
    """Record the objective and its gradient's norm at theta, off the clock."""
    with monitor.paused():
        value, gradient = objective.value_and_grad()
    if not np.isfinite(value):
        raise Stop(Status.NOT_FINITE, "the objective is not finite")
    monitor.record(value, objective.net.theta, euclidean_norm(gradient), first=first)


def euclidean_norm(vector):
    """Norm of a vector, in float64 and without BLAS, whose threads would get in ours' way."""
    return float(np.sqrt(np.square(vector, dtype=np.float64).sum()))


def run_solver(objective, solver, max_iterations, monitor, rng, comparable=False):
    """Minimize the objective; return status, message and loss, with the outcome in net.theta."""
    net = objective.net
    function = NetworkFunction(objective, monitor, rng, solver.batch_size)
    exactly = objective if comparable and solver.stochastic else None
    x, status, message = drive(
        solver, function, net.theta.astype(np.float64), max_iterations, monitor, exactly
    )
    net.theta[:] = x
    return status, message, objective.value()


def drive(solver, function, x0, max_iterations, monitor, exactly=None):
    """Run a solver under a monitor: record, and come back with the best iterate.

    Parameters
    ----------
    exactly : Objective or None
        Evaluated off the clock for the records, instead of the solver's own estimates.

    Returns
    -------
    (ndarray of float64, Status, str)
        A stochastic solver ends where it is, unless that is not finite.
    """
    best, best_value = x0.copy(), np.inf
    latest = best

    def record(state, first=False):
        nonlocal best, best_value, latest
        x, value = state["x"], state["value"]
        latest = x
        if not np.isfinite(x).all():
            raise Stop(Status.NOT_FINITE, "theta is not finite")
        if value <= best_value:
            best, best_value = x.copy(), value
        if exactly is None:
            monitor.record(value, x, euclidean_norm(state["gradient"]), first=first)
        else:
            exactly.net.theta[:] = x
            record_exactly(exactly, monitor, first=first)

    def iterate(state):
        monitor.epoch += 1
        record(state)

    try:
        state = solver.start(function, x0)
        latest = state["x"]
        if (np.isnan(state["value"]) and not solver.stochastic) or np.isinf(state["value"]):
            raise Stop(Status.NOT_FINITE, "the objective is not finite at the start")
        if not np.isfinite(state["gradient"]).all() and not solver.stochastic:
            raise Stop(Status.NOT_FINITE, "the gradient is not finite at the start")
        record(state, first=True)
        status, message = solver.run(function, state, max_iterations, iterate)
        latest = state["x"]
    except Stop as stop:
        status, message = stop.status, stop.message
        x = latest if solver.stochastic else best
    else:
        x = best if status in (Status.NOT_FINITE, Status.FAILED) else latest
    if status is Status.NOT_FINITE:
        return best, status, f"{message}; x is back at the best finite one"
    return x, status, message


def minimize(
    value_and_grad,
    x0,
    *,
    optimizer=None,
    max_iterations=None,
    callbacks=(),
    time_limit=None,
    target_loss=None,
    progress=False,
    l1=0.0,
    seed=None,
):
    """Minimize any function with the optimizers that train networks.

    Parameters
    ----------
    value_and_grad : callable
        Takes a float64 vector (n,), which it must not change; returns the value, a float, and
        the gradient, (n,). May be noisy.
    x0 : array_like, (n,)
        Where to start.
    optimizer : Optimizer, str, or a list of them; default LBFGS()
        As of `fastmlp.fit`. A stochastic one does one update an iteration.
    max_iterations : int or None, default None
        For each optimizer that has no number of its own. None is the solver's default, or 1000
        for a stochastic optimizer.
    callbacks, time_limit, target_loss, progress
        As of `fastmlp.fit`.
    l1 : float or array_like (n,), default 0.0
        Adds ``sum(l1 * abs(x))`` to the function, for all optimizers alike.
    seed : int or None, default None
        Of what an optimizer draws. None draws afresh.

    Returns
    -------
    FitResult
        `theta` is the minimizer: of a solver the last iterate, or the best one if it was cut
        short; of a stochastic optimizer the last one. `loss` is the value there.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, or if the first value or gradient is not of the right shape.
    """
    if not callable(value_and_grad):
        raise TypeError(f"value_and_grad must be callable, got {value_and_grad!r}")
    rng = as_generator(seed)
    x = as_real("x0", x0).astype(np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"x0 must be a vector with at least one element, got {x.shape}")
    check_finite("x0", x)
    factors = check_l1(l1, x.size)
    stages = check_optimizers(LBFGS() if optimizer is None else optimizer, x.size)
    options = check_run_options(
        "max_iterations", max_iterations, callbacks, time_limit, target_loss, progress
    )
    budgets = [budget(stage, max_iterations, 1000) for stage in stages]

    with Monitor(total=sum(budgets), **options) as monitor:
        function = CallableFunction(value_and_grad, x.size, monitor, rng, factors)
        for stage, n_iterations in zip(stages, budgets, strict=True):
            solver = stage if isinstance(stage, Solver) else Updates(stage)
            solver.check(function)
            x, status, message = drive(solver, function, x, n_iterations, monitor)
            if status not in _HAND_OVER:
                break
        seconds = monitor.seconds
        loss = float(value_and_grad(x.copy())[0])
        if factors is not None:
            loss += float(factors @ np.abs(x))
        status, message = monitor.outcome(status, message)
    return FitResult(
        theta=x,
        loss=loss,
        status=status,
        message=message,
        n_iter=monitor.epoch,
        n_loss_evals=monitor.n_loss_evals,
        n_grad_evals=monitor.n_grad_evals,
        seconds=seconds,
        trace=monitor.trace,
    )


def check_l1(l1, size):
    """Check the factors of absolute values; return them as (size,), or None if all are 0."""
    factors = as_real("l1", l1).astype(np.float64)
    if factors.shape not in ((), (size,)):
        raise ValueError(f"l1 must be a number or of the shape ({size},), got {factors.shape}")
    check_finite("l1", factors)
    if (factors < 0).any():
        raise ValueError(f"l1 must not be negative, got {factors.min():g}")
    return np.broadcast_to(factors, size) if factors.any() else None


def check_optimizers(optimizer, n_params):
    """Turn one optimizer or a list, as objects or names, into a list of objects."""
    several = optimizer if isinstance(optimizer, list | tuple) else [optimizer]
    if not several:
        raise ValueError("optimizer must not be an empty list")
    stages = [parse(one, OPTIMIZERS) if isinstance(one, str) else one for one in several]
    for stage in stages:
        if not isinstance(stage, Stochastic | Solver):
            raise TypeError(
                f"optimizer must be one of fastmlp's, such as fastmlp.Adam(), or a name out of "
                f"{', '.join(OPTIMIZERS)}, got {stage!r}"
            )
        if isinstance(stage, Solver) and stage.bounds is not None:
            check_bounds(stage.bounds, n_params)
    return stages


def check_batches(batch_size, shuffle, clip_norm, seed):
    """Check how mini-batches are formed and used; return what goes to `run_stochastic`."""
    if batch_size is not None:
        check_count("batch_size", batch_size)
    if not (isinstance(shuffle, bool | np.bool_ | str) and shuffle in (True, False, "replacement")):
        raise ValueError(f"shuffle must be True, False or 'replacement', got {shuffle!r}")
    if clip_norm is not None:
        check_positive("clip_norm", clip_norm)
    return {
        "batch_size": batch_size,
        "shuffle": shuffle,
        "clip_norm": clip_norm,
        "rng": as_generator(seed),
    }


def check_run_options(name, budget, callbacks, time_limit, target_loss, progress):
    """Check what `fit` and `minimize` share; return what goes to the monitor.

    `name` is what the argument for the `budget` of epochs or iterations is called.
    """
    if budget is not None:
        check_count(name, budget)
    if callable(callbacks):
        callbacks = (callbacks,)
    if not isinstance(callbacks, list | tuple) or not all(map(callable, callbacks)):
        raise TypeError(f"callbacks must be a sequence of callables, got {callbacks!r}")
    if time_limit is not None:
        check_positive("time_limit", time_limit)
    if target_loss is not None:
        check_number("target_loss", target_loss, "a finite number", lambda x: True)
    check_flag("progress", progress)
    return {
        "callbacks": callbacks,
        "time_limit": time_limit,
        "target_loss": target_loss,
        "progress": progress,
    }


def budget(stage: Optimizer, epochs, stochastic_default=EPOCHS) -> int:
    """Epochs or iterations of one optimizer: its own, what all are given, or the default."""
    if stage.budget is not None:
        return int(stage.budget)
    if epochs is not None:
        return int(epochs)
    return stage.default_iterations if isinstance(stage, Solver) else stochastic_default


def held_out_objective(net, validation_data, loss, n_threads):
    """The loss on validation data as an `Objective` without penalties, or None."""
    if validation_data is None:
        return None
    if not isinstance(validation_data, list | tuple) or len(validation_data) not in (2, 3):
        raise ValueError(
            "validation_data must be (X, y) or (X, y, sample_weight), got "
            f"{type(validation_data).__name__}"
        )
    X, y, *rest = validation_data
    try:
        return Objective(
            net, X, y, loss=loss, sample_weight=rest[0] if rest else None, n_threads=n_threads
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation_data: {error}") from None
