"""One call of an estimator's fit: an objective, optimizers in turn, and the watch over them."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer

from fastmlp.checkpoint import Memory, identify
from fastmlp.data_initialization import awaits_data, draw_by_data
from fastmlp.functions import NetworkFunction
from fastmlp.monitor import Monitor
from fastmlp.objective import Objective
from fastmlp.optimizers import Stochastic
from fastmlp.result import Status
from fastmlp.running import HAND_OVER, run_solver, run_stochastic
from fastmlp.sklearn.continuation import INTERRUPTED, ChunkObjective
from fastmlp.sklearn.stages import (
    RATE_DIVISOR,
    SMALLEST_RATE,
    check_number_rate,
    is_stochastic,
    name_of,
    take_up,
    with_schedule,
)
from fastmlp.sklearn.watch import Keeper, Report, Watch
from fastmlp.solvers import check_solvers
from fastmlp.sources.source import Scaled, Selected, Source, as_rows, source_of
from fastmlp.sources.windowed import Windowed
from fastmlp.training import check_mini_batches, check_optimizers, warn_without_fma

# What an optimizer goes on from, of all that `running` hands to a checkpoint.
_TAKEN_UP = ("state", "n_updates", "mask_seed", "data")

# What a solver that goes by all rows has in place of mini-batches.
_NO_BATCHES = dict.fromkeys(("batch_size", "shuffle", "clip_norm"))


class Outputs(NamedTuple):
    """What the output layer is, and what it is trained on."""

    n_outputs: int
    activation: str
    loss: str
    targets: np.ndarray  # (n,) or (n, n_outputs), as `fastmlp.Objective` takes them
    offset: Callable  # of targets and weights: the constant that the loss leaves out


class Data(NamedTuple):
    """Samples to train on or to validate with."""

    X: Any  # an array, a CSR matrix or a `Source`
    targets: np.ndarray
    y: np.ndarray  # as given
    sample_weight: np.ndarray | None

    def take(self, rows):
        """Some of the samples, in the order of `rows`, or of what is read in windows in its own."""
        if isinstance(self.X, Source):
            rows = np.sort(rows)
            X = Selected(self.X, rows)
        else:
            X = self.X[rows]
        weights = None if self.sample_weight is None else self.sample_weight[rows]
        return Data(X, self.targets[rows], self.y[rows], weights)

    def loaded(self, dtype):
        """The same, but for an X that is in memory if there is room: it is read often."""
        X = as_rows(self.X, dtype) if isinstance(self.X, Source) else self.X
        return self._replace(X=X)


@contextmanager
def of_validation_data():
    """Say of errors that they are about data to validate with."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"validation data: {error}") from None


class Run:
    """One call of fit: an objective, optimizers in turn, and the watch over them."""

    def __init__(self, estimator, net, stages, outputs, rows, held_out, continuation):
        self.net = net
        self.incremental = continuation is not None
        self.n_samples = rows.X.shape[0]
        self.states = dict(estimator._states)
        self._continuation = continuation
        self.rng = continuation.rng if self.incremental else np.random.default_rng()
        self.rng.bit_generator.state = estimator._shuffle
        self.stage = stages[-1]
        self.rate = None
        self.data_passes = 0.0
        self._estimator = estimator
        self._stages = stages
        self._budgets = [self._budget(stage) for stage in stages]
        self._loss = outputs.loss
        self._scaling = estimator._scaling
        self._held_out = held_out
        self._notes: list[tuple[str, type[Warning]]] = []
        if self._scaling is not None and not self.incremental:
            names = getattr(estimator, "feature_names_in_", None)
            lost = self._scaling.advice(net.dtype, names)
            self._notes += [] if lost is None else [(lost, UserWarning)]
        self._batch_size = self._check_batch_size()
        total = rows.sample_weight.sum() if rows.sample_weight is not None else self.n_samples
        self.objective = self._objective_of(rows, l2=estimator.alpha / total)
        sizes = self.n_samples, self._batch_size
        if not (self.incremental and continuation.sizes == sizes):
            self._check_solvers()
            if self.incremental:
                continuation.sizes = sizes
        warn_without_fma()
        self._validation: Any = None if held_out is None else self._objective_to_validate(held_out)
        self._offset = outputs.offset(rows.targets, rows.sample_weight)
        self._context = None
        self._context_data = {
            "X": rows.X,
            "y": rows.y,
            "metadata": {"sample_weight": rows.sample_weight},
        }
        hook = self._start_callbacks()
        self._report = Report(int(estimator.verbose), sum(self._budgets))
        self.watch = self._make_watch(hook)

    def _check_solvers(self):
        """Refuse solvers that are not for such an objective."""
        function = NetworkFunction(self.objective, None, self.rng)
        try:
            check_optimizers(self._stages, self.net.n_params)
            check_solvers(self._stages, function)
        except (TypeError, ValueError) as error:
            raise type(error)(f"solver: {error}") from None
        check_mini_batches(self.net, self._stages, self.n_samples, self._batch_size)

    def _budget(self, stage):
        if self.incremental:
            return 1
        return self._estimator.max_iter if stage.budget is None else stage.budget

    def _objective_of(self, rows, l2=0.0):
        targets, X = rows.targets, rows.X
        raw = None if self._scaling is None else self._estimator._targets_to_scale(rows)
        if raw is not None:
            targets = self._scaling.transform_targets(raw).reshape(targets.shape)
        loss = self._estimator._loss_to_train(self._loss, self._scaling)
        options = {
            "loss": loss,
            "sample_weight": rows.sample_weight,
            "l2": float(l2),
            "n_threads": self._estimator.n_threads,
        }
        if self._scaling is not None:
            source = source_of(X, self.net.dtype)
            X = self._scaling.transform(X) if source is None else Scaled(source, self._scaling)
        if self.incremental:
            return ChunkObjective(self._continuation, self.net, X, targets, **options)
        return Objective(self.net, X, targets, **options)

    def _objective_to_validate(self, held_out):
        with of_validation_data():
            return self._objective_of(held_out)

    def _validate(self):
        with of_validation_data():  # which may be read only now
            return self._validation.value()

    def _make_watch(self, hook):
        estimator = self._estimator
        by_score = estimator.early_stopping
        best = -np.inf if by_score else np.inf
        carried = 0
        if self.incremental:
            carried = estimator._no_improvement_count
            best = best if estimator.best_loss_ is None else estimator.best_loss_
        return Watch(
            self.net,
            by_score=by_score,
            best=best,
            tolerance=estimator.tol,
            most_without_gain=estimator.n_iter_no_change,
            n_without_gain=carried,
            score=None if self._held_out is None else self._score,
            must_be_finite=estimator.scoring not in (None, "loss", estimator._score_name),
            offset=self._offset,
            callbacks=estimator._user_callbacks(),
            hook=hook,
            report=self._report if estimator.verbose else None,
        )

    def _start_callbacks(self):
        """Tell scikit-learn's callbacks of the fit; return what tells them of an epoch."""
        estimator, data = self._estimator, self._context_data
        if not getattr(estimator, "_skl_callbacks", None):
            return None
        context = estimator._init_callback_context(max_subtasks=sum(self._budgets))
        context.call_on_fit_task_begin(estimator=estimator, **data)
        self._context = context

        def hook():
            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=estimator, **data)
            return epoch.call_on_fit_task_end(
                estimator=estimator, reconstruction_attributes=self._fitted_attributes, **data
            )

        return hook

    def end_callbacks(self):
        """Tell scikit-learn's callbacks of the end, when the estimator is as it will be."""
        if self._context is not None:
            self._context.call_on_fit_task_end(
                estimator=self._estimator,
                reconstruction_attributes=self._fitted_attributes,
                **self._context_data,
            )

    def _fitted_attributes(self):
        """What a copy of the estimator needs in order to predict as if training ended now."""
        kept = self._candidate().__dict__
        private = ("_scaling", "_indicator")
        return {name: kept[name] for name in kept if name.endswith("_") or name in private}

    def _candidate(self):
        """An estimator with the network as it is now, to be scored."""
        estimator = self._estimator
        candidate = object.__new__(type(estimator))
        candidate.__dict__.update(estimator.__dict__)
        net = self.net.copy() if self._scaling is None else self._scaling.fold(self.net)
        candidate._assign(net)
        return candidate

    def _score(self, record):
        estimator, rows = self._estimator, self._held_out
        if estimator.scoring == "loss":
            return -record.validation_loss
        if estimator.scoring in (None, estimator._score_name):
            return self._plain_score()
        candidate = self._candidate()
        candidate.__dict__.pop("feature_names_in_", None)  # rows.X is an array
        scorer = get_scorer(estimator.scoring)
        weights = {}
        if rows.sample_weight is not None and "sample_weight" in signature(scorer).parameters:
            weights["sample_weight"] = rows.sample_weight
        return scorer(candidate, rows.X, rows.y, **weights)

    def _plain_score(self):
        X = self._validation.source
        outputs = self.net.predict(X, n_threads=self._estimator.n_threads)
        if self._scaling is not None:
            outputs = self._scaling.restore_targets(outputs)
        return self._estimator._plain_score(outputs, self._held_out)

    def without_training(self):
        """Leave the network as it is; return what a call returns."""
        return Status.CONVERGED, "there is nothing to learn", self.objective.value() + self._offset

    def __call__(self):
        """Run the optimizers; return status, message and the objective."""
        estimator = self._estimator
        validate = None if self._validation is None else self._validate
        if awaits_data(self.net):
            draw_by_data(self.net, self.objective, self.rng)
        try:
            with Monitor(
                network=self.net,
                watch=self.watch,
                time_limit=estimator.time_limit,
                validate=validate,
            ) as monitor:
                for i, stage in enumerate(self._stages):
                    self.stage = stage
                    status, message, loss = self._run_stage(i, stage, monitor)
                    if status not in HAND_OVER and not self.watch.is_over:
                        break
                    if i + 1 < len(self._stages):
                        self.watch.n_without_gain = 0
                status, message = monitor.outcome(status, message)
                if status is not Status.INTERRUPTED:
                    self._report.end()
                self.data_passes = monitor.data_passes
        finally:
            self._report.close()
        return status, message, float(loss) + self._offset

    def _run_stage(self, index, stage, monitor):
        watch, estimator = self.watch, self._estimator
        n_epochs = self._budgets[index]
        state = self.states.get(index)
        if state is not None and state["kind"] != _kind(stage, self.net):
            state = None
        if not isinstance(stage, Stochastic):
            return self._run_solver(index, stage, n_epochs, state, monitor)
        watch.most_without_gain = estimator.n_iter_no_change
        monitor.limit()
        keeper, ended = self._run_updates(stage, n_epochs, state, monitor)
        self._keep_state(index, stage, keeper, state)
        return ended

    def _run_solver(self, index, solver, n_iterations, state, monitor):
        """Run a solver, from its own state if all is as it left it.

        Else one that goes by all rows begins anew, and a stochastic one keeps what it has learnt.
        """
        estimator, watch = self._estimator, self.watch
        # Iterations that bring little are for the own tolerances of one that goes by all rows.
        patient = solver.stochastic or estimator.early_stopping
        watch.most_without_gain = estimator.n_iter_no_change if patient else np.inf
        monitor.limit(None, None if solver.stochastic else estimator.max_fun)
        # The state may be large; of one that goes by all rows it is of use for warm starts alone.
        wanted, about = solver.stochastic or estimator.warm_start, None
        if wanted:
            problem, samples = self.objective.problem, self.objective.samples
            about = identify(self.net, problem, samples, [solver], _NO_BATCHES)
        is_there = state is not None and state["about"] == about and self._is_at_theta(state)
        if not (is_there or solver.stochastic):
            state = None
        saved = None if state is None else self._resume_solver(state, is_there)
        keeper = Keeper(watch, saved, wanted)
        ended = run_solver(
            self.objective, solver, n_iterations, monitor, self.rng, False, keeper, exact_loss=False
        )
        ended = self._with_loss(ended)
        self._keep_state(index, solver, keeper, state, about)
        return ended

    def _keep_state(self, index, stage, keeper, before, about=None):
        """Keep what an optimizer goes on from, at the weights that the fit ends with."""
        chosen = keeper.latest if self.incremental or keeper.best is None else keeper.best
        if chosen is not None:
            self.states[index] = {
                "kind": _kind(stage, self.net),
                "about": about,
                "optimizer": {name: chosen[name] for name in _TAKEN_UP if name in chosen},
                "epochs": (0 if before is None else before["epochs"]) + chosen["epochs"],
                "rate": self.rate,
                "initial_rate": getattr(stage, "learning_rate", None),
            }

    def _run_updates(self, stage, n_epochs, state, monitor):
        """Run an optimizer that updates after each mini-batch, dividing its rate if it adapts."""
        estimator, watch = self._estimator, self.watch
        adaptive = estimator.learning_rate == "adaptive"
        if adaptive:
            initial = check_number_rate(stage)
            if self.incremental and state is not None and state["initial_rate"] == initial:
                stage = replace(stage, learning_rate=state["rate"])
        resumed = {
            "updates_before": 0 if state is None else state["optimizer"]["n_updates"],
            "epochs_before": 0 if state is None else state["epochs"],
            "samples_before": estimator.t_ + round(monitor.data_passes * self.n_samples),
            "updates_per_epoch": -(-self.n_samples // self._batch_size),
            "n_samples": self.n_samples,
        }
        # All calls of `partial_fit` are one fit, each call of `fit` is one of its own.
        is_part = self.incremental
        resumed["first_of_fit"] = 0 if is_part else resumed["updates_before"]
        epochs = estimator.max_iter if is_part else n_epochs
        resumed["all_of_fit"] = epochs * resumed["updates_per_epoch"]
        stage = with_schedule(stage, estimator, resumed)
        dropout = self.net._pieces.dropout_schedule
        dropout = None if dropout is None else take_up(dropout, resumed)
        resumed_from = self._resume(state and state["optimizer"])
        keeper = Keeper(watch, resumed_from, True, keeps_best=not is_part)
        last_epoch = monitor.epoch + n_epochs
        shuffle = estimator.shuffle
        shuffle = shuffle if isinstance(shuffle, Windowed) else bool(shuffle)
        while True:
            ended = run_stochastic(
                self.objective,
                stage,
                last_epoch - monitor.epoch,
                monitor,
                batch_size=self._batch_size,
                shuffle=shuffle,
                clip_norm=estimator.clip_norm,
                rng=self.rng,
                exact=False,
                keeper=keeper,
                dropout=dropout,
                exact_loss=False,
            )
            if not watch.is_over:
                break
            if not adaptive or stage.learning_rate <= SMALLEST_RATE:
                self._say("Stopping.")
                break
            rate = stage.learning_rate / RATE_DIVISOR
            self._say(f"Setting learning rate to {rate:f}")
            stage = replace(stage, learning_rate=rate)
            watch.n_without_gain = 0
            if monitor.epoch == last_epoch:
                ended = (Status.COMPLETED, f"{n_epochs} epochs done", ended[2])
                break
            keeper.saved = self._resume(keeper.latest)
        ended = self._with_loss(ended)
        done = resumed["updates_before"] if keeper.latest is None else keeper.latest["n_updates"]
        self.rate = float(stage.learning_rates(done, 1, resumed["updates_per_epoch"])[0])
        return keeper, ended

    def _with_loss(self, ended):
        """How an optimizer ended, with the objective where the clock or Ctrl-C left no epoch.

        Rows that are not in memory are not read for it: what training saw of them has to do.
        """
        if self.watch.losses or not self.objective.is_in_memory:
            return ended
        return (*ended[:2], self.objective.value())

    def _resume(self, optimizer):
        """What `run_stochastic` takes up: a state, at the parameters as they are now."""
        if optimizer is None:
            return None
        theta, statistics = self.net.learned()
        return {
            "state": optimizer["state"],
            "n_updates": optimizer["n_updates"],
            "mask_seed": optimizer.get("mask_seed", 0),
            "theta": theta,
            "best": theta,
            "statistics": statistics,
            "best_statistics": statistics,
            "best_objective": np.inf,
        }

    def _resume_solver(self, state, is_there):
        """The same for a solver, whose state is copied, since it changes arrays in place."""
        memory = Memory()
        memory.keep(state["optimizer"]["state"])
        resumed = memory.saved
        # An epoch of a solver that averages mini-batches may end in the midst of an order.
        data = dict(state["optimizer"]["data"])
        if not is_there:
            resumed["x"] = self.net.theta.astype(np.float64)
            data.update(order=np.empty(0, np.int64), next=0)
        data["rng"] = self.rng.bit_generator.state
        return {
            "state": resumed,
            "is_elsewhere": not is_there,
            "data": data,
            "best": resumed["x"],
            "best_value": np.inf,
        }

    def _is_at_theta(self, state):
        """Whether a solver's state is that of the network, but for its dtype."""
        x = state["optimizer"]["state"]["x"].astype(self.net.dtype)
        return np.array_equal(x, self.net.theta)

    def _check_batch_size(self):
        given = self._estimator.batch_size
        if given == "auto":
            return min(200, self.n_samples)
        if given > self.n_samples and any(isinstance(one, Stochastic) for one in self._stages):
            message = (
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            )
            self._notes.append((message, UserWarning))
        return min(int(given), self.n_samples)

    def _say(self, consequence):
        estimator = self._estimator
        if estimator.verbose:
            what = "Validation score" if estimator.early_stopping else "Training loss"
            self._report.say(
                f"{what} did not improve more than tol={estimator.tol:f} for "
                f"{estimator.n_iter_no_change} consecutive epochs. {consequence}"
            )

    def warnings(self, status, message):
        """Warnings about how the fit ended."""
        if status is Status.INTERRUPTED:
            return [(INTERRUPTED, UserWarning)]
        if self.incremental:
            return self._notes
        if self.watch.is_over or status in (Status.STOPPED, Status.CONVERGED):
            return self._notes
        if status is Status.NOT_FINITE and is_stochastic(self.stage):
            text = f"The fit diverged in epoch {len(self.watch.losses) + 1}."
        elif status is Status.COMPLETED and is_stochastic(self.stage):
            text = (
                f"Stochastic Optimizer: Maximum iterations ({self._budgets[-1]}) reached and the "
                "optimization hasn't converged yet."
            )
        elif status is Status.TIME_LIMIT:
            text = f"{message}, and the optimization hasn't converged yet."
        else:
            scale = "scale the data, see standardize=True, or to " if self._scaling is None else ""
            text = (
                f"{name_of(self.stage)} failed to converge after {len(self.watch.losses)} "
                f"iteration(s): {message}. You might also want to {scale}increase max_iter or "
                "max_fun."
            )
        return [*self._notes, (text, ConvergenceWarning)]


def _kind(stage, net):
    """Which states an optimizer can go on from: those of the same kind and size."""
    return type(stage), getattr(stage, "n_slots", None), net.theta.size
