"""Runs optimizers under a monitor, one after the other: on a network, or on any function."""

import math
from contextlib import suppress

import numpy as np

from fastmlp.functions import CallableFunction, NetworkFunction
from fastmlp.kernels import codes, vectors
from fastmlp.kernels.epoch import Update
from fastmlp.kernels.epochs import Several, are_kept
from fastmlp.monitor import Stop
from fastmlp.pace import Deferred
from fastmlp.result import FitResult, Status
from fastmlp.solvers import Solver, Updates, check_solvers

# After these a list of optimizers goes on to the next; after any other the fit is over.
HAND_OVER = (
    Status.COMPLETED,
    Status.CONVERGED,
    Status.FAILED,
    Status.LINE_SEARCH_FAILED,
)

# What takes 0.4 s to compile, and makes short fits up to three times as fast.
EPOCHS = Deferred(0.2, are_kept)

# Of several epochs in one call: numbers that are drawn for their orders, or kept of their ends.
MOST_NUMBERS = 1 << 18


def run_stages(
    objective,
    stages,
    budgets,
    monitor,
    batches,
    *,
    comparable=False,
    exact_loss=True,
    gradient_evaluations=None,
    checkpoint=None,
    function_of=NetworkFunction,
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
    exact_loss : bool
        Whether to evaluate the objective at the start and at the end, else to go by what training
        has seen of it.
    gradient_evaluations : list of int, or None
        A further budget of each stage.
    checkpoint : Checkpoint or None
        What to go on from, and where to keep how far it came.
    function_of : callable
        Makes what a solver minimizes, from what `NetworkFunction` takes.
    """
    rng = batches["rng"]
    saved = None if checkpoint is None else checkpoint.saved
    first, over = 0, None
    if saved is not None:
        first = saved["stage"]
        rng.bit_generator.state = saved["rng"]
        monitor.restore(saved["monitor"])
        over = monitor.over()
    for i, (stage, amount) in enumerate(zip(stages, budgets, strict=True)):
        if i < first:
            continue
        keeper = _Keeper(checkpoint, i, rng, monitor, saved if i == first else None)
        evaluations = None if gradient_evaluations is None else gradient_evaluations[i]
        is_solver = isinstance(stage, Solver)
        if over is not None:
            amount = keeper.done
        monitor.limit(amount if comparable and is_solver else None, evaluations)
        if is_solver:
            status, message, loss = run_solver(
                objective,
                stage,
                amount,
                monitor,
                rng,
                comparable,
                keeper,
                exact_loss,
                function_of,
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
                from_start=comparable or (exact_loss and not len(monitor.trace)),
                exact_loss=exact_loss,
            )
        if over is not None:
            status, message = Status.STOPPED, over
        if status not in HAND_OVER:
            break
    if checkpoint is not None:
        checkpoint.write()
    trace, seconds = monitor.trace, monitor.seconds
    wanted = monitor.go_back()
    if wanted is not None:
        loss = objective.value() if exact_loss else wanted.record.objective
        message = f"{message}; {wanted.message}"
    if comparable and not (len(trace) and trace[-1].data_passes == monitor.data_passes):
        with suppress(Stop):  # the optimizer has ended already
            record_exactly(objective, monitor)
    return fit_result(objective.net.theta.copy(), loss, status, message, monitor, seconds)


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
    solvers = [
        stage if isinstance(stage, Solver) else Updates(stage, amount)
        for stage, amount in zip(stages, budgets, strict=True)
    ]
    check_solvers(stages, function)
    x = x0
    for i, (solver, amount) in enumerate(zip(solvers, budgets, strict=True)):
        monitor.limit(
            None if passes is None else passes[i],
            None if gradient_evaluations is None else gradient_evaluations[i],
        )
        x, _, status, message = drive(solver, function, x, amount, monitor)
        if status not in HAND_OVER:
            break
    seconds = monitor.seconds
    with monitor.callers_errors():
        loss = float(value_and_grad(x.copy())[0])
    if l1 is not None:
        loss += float((l1 * np.abs(x)).sum())
    return fit_result(x, loss, status, message, monitor, seconds)


def fit_result(theta, loss, status, message, monitor, seconds):
    """The FitResult of what a monitor has watched."""
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
        self.wanted = self.wants_each = checkpoint is not None

    def keep(self, theta, optimizer):
        """Keep the state `optimizer`, a dict, after one more epoch or iteration."""
        if self.wanted:
            self.done += 1
            self.keep_place(theta, optimizer)

    def keep_place(self, theta, optimizer):
        """Keep the state within an epoch or iteration."""
        if not self.wanted:
            return
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
    exact_loss=True,
    dropout=None,
):
    """Train with mini-batches; return status, message and loss, with the outcome in net.theta.

    If `exact`, every record holds the objective and its gradient's norm at theta, evaluated off
    the clock, instead of the mean over the epoch. If `from_start`, the first record is of the
    start, its objective evaluated off the clock as well. The loss is the objective at the end if
    `exact_loss`, else the mean over the last epoch. `dropout` is a schedule that goes in the place
    of the network's own.
    """
    if dropout is None:
        dropout = objective.net._pieces.dropout_schedule
    batches = batch_size, shuffle, clip_norm, rng
    epochs = _Epochs(objective, optimizer, n_epochs, monitor, batches, dropout)
    theta, saved = objective.net.theta, keeper.saved
    if saved is not None:
        epochs.restore(saved)
    elif objective.net._pieces.drops:
        epochs.seed_masks(int(rng.integers(2**63)))
    try:
        if from_start and saved is None:
            if exact:
                record_exactly(objective, monitor, first=True)
            else:
                with monitor.paused():
                    value = epochs.value()
                monitor.record(value, theta, first=True, calls_back=False)
        left = n_epochs - keeper.done
        while left > 0:
            several = 1 if exact else epochs.n_at_once(left, keeper)
            left -= several
            if several > 1:
                epochs.run_several(several, keeper)
                continue
            mean = epochs.run(keeper)
            try:
                if exact:
                    record_exactly(objective, monitor)
                else:
                    monitor.record(mean, theta)
            finally:
                if keeper.wanted:
                    keeper.keep(theta, epochs.snapshot())
        status, message = Status.COMPLETED, f"{n_epochs} epochs done"
    except Stop as stop:
        status, message = stop.status, stop.message
    finally:
        epochs.close()
    ended = epochs.end(status, message, exact_loss)
    epochs.leave()
    return ended


def run_epochs(objective, optimizer, batches, monitor, state, *, first_epoch, n_epochs, all_epochs):
    """Train for some epochs of a fit that others began, in net.theta.

    Parameters
    ----------
    batches : tuple
        batch_size, shuffle, clip_norm and rng, as `training.check_batches` returns them.
    state : ndarray (n_slots * n_params,)
        The optimizer's after the epochs before.
    first_epoch, n_epochs, all_epochs : int
        Epochs before, now, and of the whole fit, which some schedules go by.

    Returns
    -------
    (ndarray, int, bool)
        The optimizer's state, the number of updates done, and whether all stayed finite.
    """
    net, rng = objective.net, batches[-1]
    dropout = net._pieces.dropout_schedule
    epochs = _Epochs(objective, optimizer, all_epochs, monitor, batches, dropout)
    epochs.take_over(state, first_epoch)
    keeper = _Keeper(None, 0, rng, monitor, None)
    if net._pieces.drops:
        epochs.seed_masks(int(rng.integers(2**63)))
    try:
        for _ in range(n_epochs):
            epochs.run(keeper)
    except Stop as stop:
        if stop.status is not Status.NOT_FINITE:
            raise
        return state, monitor.n_grad_evals, False
    finally:
        epochs.close()
    return epochs.snapshot()["state"], monitor.n_grad_evals, True


class _Epochs:
    """Trains a network in place, an epoch of mini-batches at a time.

    Parameters
    ----------
    objective : Objective
    optimizer : Stochastic
    n_epochs : int
        Of the whole fit, which some schedules go by.
    monitor : Monitor
    batches : tuple
        batch_size, shuffle, clip_norm and rng, as `training.check_batches` returns them.
    dropout : Schedule or None
        What all probabilities of dropout are in each update, where they are not constant.
    """

    def __init__(self, objective, optimizer, n_epochs, monitor, batches, dropout):
        batch_size, shuffle, clip_norm, rng = batches
        n_rows, theta = objective.n_rows, objective.net.theta
        batch_rows = n_rows if batch_size is None else min(int(batch_size), n_rows)
        self._objective, self._optimizer, self._monitor = objective, optimizer, monitor
        self._theta, self._shuffle, self._rng = theta, shuffle, rng
        # A full batch is not shuffled.
        self._is_full_batch = batch_rows == n_rows
        self._shuffles = shuffle == "replacement" or (bool(shuffle) and batch_rows < n_rows)
        self._gathers = self._shuffles and objective.gathers(shuffle)
        self._sweep = objective.sweep(batch_rows, gather=self._gathers, optimizer=optimizer)
        self._mode = codes.UPDATE if clip_norm is None else codes.UPDATE_CLIPPED
        self._largest_norm = np.inf if clip_norm is None else float(clip_norm)
        whole_gradient = clip_norm is not None or not self._sweep.one_chunk
        self._gradient = np.empty(theta.size if whole_gradient else 0, theta.dtype)
        self._state = np.zeros(optimizer.n_slots * theta.size, theta.dtype)
        self._n_epochs, self._all_updates = n_epochs, 0
        self._n_updates, self._update = 0, None
        self._is_scheduled = dropout is not None or bool(optimizer.own_schedules)
        self._mask_seed, self._dropout = 0, dropout
        self._start = self._finished = self._best = objective.net.learned()
        self._best_mean, self._mean = np.inf, np.nan
        self._place = None
        self._began, self._seconds_one_by_one = monitor.seconds, EPOCHS.seconds_left(theta.dtype)

    def close(self):
        """Read no rows any more."""
        self._sweep.close()

    def leave(self):
        """Leave what takes long to make to the next fit of the kind."""
        self._objective.leave(self._sweep)
        if self._seconds_one_by_one:
            EPOCHS.spend(self._theta.dtype, self._monitor.seconds - self._began)

    def snapshot(self):
        """Where it is after an epoch, for `restore`."""
        best, best_statistics = self._best
        snapshot = {
            "state": self._state,
            "theta": self._theta,
            "best": best,
            "best_objective": self._best_mean,
            "objective": self._mean,
            "n_updates": self._n_updates,
            "mask_seed": self._mask_seed,
        }
        if best_statistics is not None:
            snapshot["statistics"] = self._objective.net._statistics
            snapshot["best_statistics"] = best_statistics
        return snapshot

    def restore(self, snapshot):
        """Go on from where a `snapshot` was taken."""
        net = self._objective.net
        self._state[:] = snapshot["state"]
        net.take_learned((snapshot["theta"], snapshot.get("statistics")))
        self._best = snapshot["best"], snapshot.get("best_statistics")
        self._best_mean = snapshot["best_objective"]
        self._mean = snapshot.get("objective", np.nan)  # older checkpoints lack it
        self._n_updates, self._finished = snapshot["n_updates"], net.learned()
        self.seed_masks(snapshot.get("mask_seed", 0))  # older checkpoints lack it
        self._place = snapshot.get("place")
        if self._place is not None:
            self._finished = self._place["finished"], self._place.get("finished_statistics")

    def _snapshot_within(self, order, passes):
        """Where it is within an epoch, for `restore`."""
        theta, statistics = self._finished
        place = self._sweep.place() | {"key": order.key, "passes": passes, "finished": theta}
        if statistics is not None:
            place["finished_statistics"] = statistics
        return self.snapshot() | {"place": place}

    def take_over(self, state, n_epochs):
        """Go on with an optimizer's state after so many epochs of as many updates."""
        self._state[:] = state
        self._n_updates = n_epochs * self._sweep.n_updates

    def seed_masks(self, seed):
        """Have the masks of dropout from now on be those of a seed, an int64 of at least 0."""
        self._mask_seed = seed
        self._sweep.seed_masks(seed)

    def value(self):
        """The objective at theta, by the sweep that trains and so needs no other kernel.

        It is NaN if it is not finite.
        """
        objective, sweep = self._objective, self._sweep
        sweep.begin(
            np.arange(objective.n_rows) if self._gathers and objective.is_in_memory else None
        )
        while not sweep.done and sweep.advance(
            codes.EVALUATE, self._theta, objective.samples, self._gradient
        ):
            pass
        return sweep.total / objective.n_rows + objective.penalty(self._theta)

    def _value_as_evaluated(self):
        """The objective at theta with the bits of `Objective.value`, if possible without a sweep.

        Chunks of a full batch are those of an evaluation, so that sums come out the same.
        """
        objective = self._objective
        is_alike = objective.net._program is None and objective.is_in_memory
        if is_alike and self._is_full_batch and not self._shuffles:
            return self.value()
        return objective.value()

    def run(self, keeper):
        """Run an epoch; return the mean of the objective over its mini-batches, or raise `Stop`."""
        sweep, monitor, place = self._sweep, self._monitor, self._place
        if place is None:
            order = self._objective.draw_order(self._rng, self._shuffles and self._shuffle)
        else:
            order = self._objective.order_of(place["key"])
        update = self._next_update()
        monitor.learning_rate = float(update.rates[-1, codes.RATE])
        left = monitor.evaluations_left()
        if left <= 0:
            raise Stop(Status.COMPLETED, "the budget of gradient evaluations is spent")
        if place is None:
            sweep.begin(order, self._n_updates, most_updates=left)
            passes = monitor.data_passes
        else:
            left += place["mini_batch"]
            sweep.begin(order, self._n_updates, most_updates=left, place=place)
            passes, self._place = place["passes"], None
        self._go_through_rows(order, update, passes, keeper)
        self._n_updates += sweep.updates_done
        monitor.epoch += 1
        self._mean = mean = self._mean_so_far()
        self._finished = self._objective.net.learned()
        if mean < self._best_mean:
            self._best, self._best_mean = self._finished, mean
        return mean

    def _mean_so_far(self):
        """The mean of the objective over the rows that an epoch was through."""
        return self._sweep.total / self._sweep.rows_done + self._objective.penalty(self._theta)

    def n_at_once(self, left, keeper):
        """How many of the epochs that are `left` to do in one call, 1 to do one by `run`."""
        is_drawn_here = self._shuffles and self._shuffle is not True
        if keeper.wants_each or is_drawn_here or not self._objective.is_in_memory:
            return 1
        most = min(left, self._monitor.n_unseen(), self._sweep.n_epochs_at_once())
        if most < 2 or self._monitor.seconds - self._began < self._seconds_one_by_one:
            return 1
        n_numbers = self._objective.n_rows + self._theta.size + self._state.size
        return max(1, min(most, MOST_NUMBERS // n_numbers))

    def run_several(self, n_epochs, keeper):
        """Run and record epochs in one call, as `run` does one after the other; or raise `Stop`."""
        sweep, monitor, objective = self._sweep, self._monitor, self._objective
        problem, theta, n_updates = objective.problem, self._theta, sweep.n_updates
        began = monitor.seconds
        update, n_drawn = self._next_update(n_epochs), problem.n_rows if self._shuffles else 0
        # Who wants the state wants that of the best epoch, too.
        room = theta.size + (self._state.size if keeper.wanted else 0)
        objectives, ends = np.empty(n_epochs), np.empty((n_epochs, room), theta.dtype)
        # The same numbers as epoch by epoch.
        drawn = self._rng.random(n_epochs * n_drawn) if n_drawn else np.empty(0)
        several = Several(
            problem.n_rows,
            n_updates if self._is_scheduled else 0,
            problem.l1,
            problem.l2,
            monitor.target,
            drawn,
            np.empty(n_drawn, np.int64),
            objectives,
            ends.reshape(-1),
        )
        sweep.begin(updates_before=self._n_updates)
        done = sweep.run_epochs(
            several, self._mode, theta, objective.samples, self._gradient, update
        )
        objectives, thetas = objectives[:done], ends[:done, : theta.size]
        updates_before = self._n_updates
        if done:
            rates = update.rates[n_updates - 1 :: n_updates, codes.RATE][:done].tolist()
            rates *= 1 if self._is_scheduled else done  # else they are those of one epoch
            self._n_updates += done * n_updates
            self._mean, self._finished = float(objectives[-1]), (thetas[-1].copy(), None)
            best = int(np.argmin(objectives))
            if objectives[best] < self._best_mean:
                self._best_mean = float(objectives[best])
                self._best = thetas[best].copy(), None
            try:
                monitor.record_several(objectives.tolist(), thetas, rates, n_updates, began)
            finally:
                if keeper.wanted:
                    counts = updates_before + n_updates * np.arange(1, done + 1)
                    states = ends[:done, theta.size :]
                    keeper.keep_several(self.snapshot(), states, counts.tolist())
        if done < n_epochs:
            n_updates = sweep.updates_done
            monitor.count(n_updates, n_updates, sweep.rows_done / problem.n_rows)
            if sweep.all_finite:
                raise Stop(Status.NOT_FINITE, "the objective or its gradient is not finite")
            raise Stop(Status.NOT_FINITE, "theta is not finite")

    def _next_update(self, n_epochs=1):
        """What the updates of the next epochs take besides the gradient."""
        optimizer, n_updates = self._optimizer, self._sweep.n_updates
        if self._update is None:
            self._all_updates = self._n_epochs * n_updates
            left = self._monitor.evaluations_left()
            if math.isfinite(left):
                self._all_updates = min(self._all_updates, self._n_updates + max(1, int(left)))
        if self._update is None or self._is_scheduled:
            n_rates = (n_epochs if self._is_scheduled else 1) * n_updates
            dropout = 1.0 if self._dropout is None else self._dropout
            times = self._n_updates, n_rates, n_updates, self._all_updates
            rates = optimizer.rates(*times, dropout)
            self._update = Update(self._state, rates, self._largest_norm)
        return self._update

    def _go_through_rows(self, order, update, passes, keeper):
        """Take the sweep to its end, slice by slice of time, between which the monitor looks.

        `passes` are those over the data before the epoch.
        """
        sweep, monitor, objective = self._sweep, self._monitor, self._objective
        done = sweep.updates_done
        while not sweep.done:
            finite = self._advance(update)
            before, done = done, sweep.updates_done
            monitor.count(done - before, done - before, 0)
            monitor.data_passes = passes + sweep.rows_done / objective.n_rows
            if not finite:
                raise Stop(Status.NOT_FINITE, "the objective or its gradient is not finite")
            if keeper.wanted and sweep.is_between_windows:
                keeper.keep_place(self._theta, self._snapshot_within(order, passes))
            monitor.check()
        # A rectifier can hide infinite parameters from the objective.
        if not sweep.all_finite:
            raise Stop(Status.NOT_FINITE, "theta is not finite")
        statistics = objective.net._statistics
        if statistics is not None and not np.isfinite(statistics).all():
            raise Stop(Status.NOT_FINITE, "the statistics of norm='batch' are not finite")

    def _advance(self, update):
        """Advance the sweep; if rows cannot be read, go back to the last finished epoch."""
        sweep, monitor, samples = self._sweep, self._monitor, self._objective.samples
        try:
            return sweep.advance(
                self._mode, self._theta, samples, self._gradient, update, monitor.check
            )
        except Stop:
            raise
        except BaseException:
            self._objective.net.take_learned(self._finished)
            raise

    def end(self, status, message, exactly):
        """Choose the parameters to end with; return status, message and loss.

        The loss is the objective if it is to be `exactly` so, else what training saw of it last.
        """
        theta, objective = self._theta, self._objective
        if status is Status.INTERRUPTED:
            objective.net.take_learned(self._finished)
        if exactly:
            loss = self._value_as_evaluated()
        elif status is Status.INTERRUPTED or not self._sweep.rows_done:
            loss = self._mean
        else:
            loss = self._mean_so_far()
        is_finite = np.isfinite(theta).all() and (np.isfinite(loss) or not exactly)
        if status is not Status.NOT_FINITE and not is_finite:
            status, message = Status.NOT_FINITE, "the objective is not finite after the last update"
        if status is Status.NOT_FINITE:
            loss = self._go_back(exactly)
            message += "; theta is back at the best finite one"
        return status, message, loss

    def _go_back(self, exactly):
        """Go back to the best finite parameters, or to the start; return the loss there."""
        if not exactly:
            self._objective.net.take_learned(self._best)
            return self._best_mean if self._best is not self._start else np.nan
        # An epoch's mean lags behind its theta, so the candidates are compared anew.
        candidates = [self._start] if self._best is self._start else [self._start, self._best]
        net, values = self._objective.net, []
        for candidate in candidates:
            net.take_learned(candidate)
            values.append(self._objective.value())
        chosen = int(np.nanargmin(values)) if np.isfinite(values).any() else 0
        net.take_learned(candidates[chosen])
        return values[chosen]


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


def run_solver(
    objective,
    solver,
    max_iterations,
    monitor,
    rng,
    comparable,
    keeper,
    exact_loss=True,
    function_of=NetworkFunction,
):
    """Minimize the objective; return status, message and loss, with the outcome in net.theta.

    If not `exact_loss`, the loss is what the solver knew of it. `function_of` is as of
    `run_stages`.
    """
    net = objective.net
    monitor.learning_rate = np.nan
    function = function_of(objective, monitor, rng, solver.batch_size, keeper.wanted)
    exactly = objective if comparable and solver.stochastic else None
    x0 = net.theta.astype(np.float64)
    x, value, status, message = drive(
        solver, function, x0, max_iterations, monitor, exactly=exactly, keeper=keeper, network=net
    )
    net.theta[:] = x
    return status, message, objective.value() if exact_loss else value


def drive(
    solver, function, x0, max_iterations, monitor, *, exactly=None, keeper=None, network=None
):
    """Run a solver under a monitor: record, and come back with the best iterate.

    Parameters
    ----------
    exactly : Objective or None
        Evaluated off the clock for the records, instead of the solver's own estimates.
    keeper : _Keeper or None
    network : Network or None
        Gets the last iterate if an exception comes out, as where rows cannot be read.

    Returns
    -------
    (ndarray of float64, float, Status, str)
        A stochastic solver ends where it is, unless that is not finite. The value is what the
        solver found there.
    """
    saved = None if keeper is None else keeper.saved
    iterations = _Iterations(function, x0, monitor, exactly, keeper)
    try:
        if saved is None:
            state = solver.start(function, x0)
            iterations.latest = state["x"]
            if not solver.stochastic and not np.isfinite(state["value"]):
                raise Stop(Status.NOT_FINITE, "the objective is not finite at the start")
            if not solver.stochastic and not np.isfinite(state["gradient"]).all():
                raise Stop(Status.NOT_FINITE, "the gradient is not finite at the start")
            iterations.record(state, first=True)
        else:
            state = dict(saved["state"])
            function.restore(saved["data"])
            iterations.best, iterations.best_value = saved["best"], saved["best_value"]
            iterations.latest = state["x"]
            max_iterations -= keeper.done
            if saved.get("is_elsewhere"):
                solver.move(function, state)
        status, message = solver.run(function, state, max_iterations, iterations)
        iterations.see(state)
    except Stop as stop:
        status, message = stop.status, stop.message
        at_its_end = False
    except BaseException:
        if network is not None:
            network.theta[:] = iterations.latest
        raise
    else:
        at_its_end = solver.monotone and status in _AT_ITS_END
    best, best_value = iterations.best, iterations.best_value
    if status is Status.NOT_FINITE:
        return best, best_value, status, f"{message}; x is back at the best finite one"
    if solver.stochastic or at_its_end:
        return iterations.latest, iterations.latest_value, status, message
    return best, best_value, status, message


class _Iterations:
    """Takes down the iterations of a solver: for the monitor, and which is the best.

    Parameters
    ----------
    function : Function
    x0 : ndarray of float64
    monitor, exactly, keeper
        As of `drive`.

    Attributes
    ----------
    best, latest : ndarray of float64
    best_value, latest_value : float
    is_watched, target
        See `solvers.Iterations`.
    """

    def __init__(self, function, x0, monitor, exactly, keeper):
        self._function, self._monitor = function, monitor
        self._exactly, self._keeper = exactly, keeper
        self.best, self.best_value = x0.copy(), np.inf
        self.latest, self.latest_value = self.best, np.nan
        keeps = keeper is not None and keeper.wanted
        self.is_watched = monitor.is_watched or keeps or exactly is not None
        self.target = monitor.target

    def see(self, state):
        """Take note of where the solver is."""
        self.latest, self.latest_value = state["x"], state["value"]

    def record(self, state, first=False):
        """Take down where the solver is."""
        self._compare(state)
        x, value, monitor, exactly = state["x"], state["value"], self._monitor, self._exactly
        if exactly is None:
            norm, gradient = state.get("gradient_norm"), state["gradient"]
            if norm is None:
                norm = math.sqrt(vectors.dot.serial(gradient, gradient))
            monitor.record(value, x, norm, first=first)
        else:
            exactly.net.theta[:] = x
            record_exactly(exactly, monitor, first=first)

    def __call__(self, state):
        self._monitor.epoch += 1
        if not math.isfinite(vectors.largest.serial(state["x"])):
            raise Stop(Status.NOT_FINITE, "theta is not finite")
        keeper = self._keeper
        try:
            self.record(state)
        finally:
            if keeper is not None and keeper.wanted:
                kept = {
                    "state": state,
                    "data": self._function.snapshot(),
                    "best": self.best,
                    "best_value": self.best_value,
                }
                keeper.keep(state["x"], kept)

    def several(self, state, rows):
        self._compare(state)
        self._monitor.record_iterations(rows)

    def _compare(self, state):
        self.see(state)
        if state["value"] <= self.best_value:
            self.best, self.best_value = state["x"].copy(), state["value"]


# Ways to end at the last iterate, which for any other is replaced by the best.
_AT_ITS_END = (Status.CONVERGED, Status.COMPLETED)
