"""What fits and minimizations have in common: arguments checked, then run; and minimize."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import optimizers as stochastic
from fastmlp.baseline import advice
from fastmlp.callbacks import Beginning, begin_callbacks, check_callbacks, refuse_callbacks
from fastmlp.checkpoint import Checkpoint, Memory, identify
from fastmlp.data_initialization import awaits_data, draw_by_data
from fastmlp.feature_names import names_of, take_columns
from fastmlp.functions import NetworkFunction
from fastmlp.kernels import simd
from fastmlp.late_generator import late_generator
from fastmlp.monitor import Monitor
from fastmlp.naming import names_arguments
from fastmlp.objective import Objective, check_is_network
from fastmlp.optimizers import Adam, Optimizer, Stochastic, parse_stages
from fastmlp.result import Status
from fastmlp.rounding import warn_of_merged
from fastmlp.running import run_on_function, run_stages
from fastmlp.scaling import Scaling, scales_targets
from fastmlp.solvers import (
    BFGS,
    DFP,
    LBFGS,
    OWLQN,
    SPSA,
    SR1,
    Broyden,
    ConjugateGradient,
    GaussianProcessNewton,
    GradientDescent,
    KieferWolfowitz,
    LeastSquaresNewton,
    LevenbergMarquardt,
    NoiseTolerantBFGS,
    Scipy,
    Solver,
    StochasticLBFGS,
    check_bounds,
    check_solvers,
)
from fastmlp.sources.source import first_rows
from fastmlp.sources.windowed import Windowed
from fastmlp.validation import (
    as_generator,
    as_real,
    check_count,
    check_finite,
    check_flag,
    check_number,
    check_positive,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from fastmlp.network import Network
    from fastmlp.options import Callbacks, Optimizers, Seed
    from fastmlp.result import FitResult

OPTIMIZERS: dict[str, type[Optimizer]] = {
    **stochastic.BY_NAME,
    "gradient_descent": GradientDescent,
    "conjugate_gradient": ConjugateGradient,
    "bfgs": BFGS,
    "dfp": DFP,
    "broyden": Broyden,
    "sr1": SR1,
    "lbfgs": LBFGS,
    "owlqn": OWLQN,
    "levenberg_marquardt": LevenbergMarquardt,
    "scipy": Scipy,
    "kiefer_wolfowitz": KieferWolfowitz,
    "spsa": SPSA,
    "stochastic_lbfgs": StochasticLBFGS,
    "least_squares_newton": LeastSquaresNewton,
    "gaussian_process_newton": GaussianProcessNewton,
    "noise_tolerant_bfgs": NoiseTolerantBFGS,
}

# Epochs of a stochastic optimizer where `fit` is given none, and rows of its mini-batches.
EPOCHS = 20
BATCH_SIZE = 128


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
    lengths,
    sample_weight,
    shuffle,
    clip_norm,
    validation_data,
    callbacks,
    time_limit,
    target_loss,
    standardize,
    exact_loss,
    progress,
    n_threads,
    seed,
    checkpoint=None,
    feature_names=None,
):
    """Check all that `fit` is given; return the `Prepared` fit.

    `checkpoint` may also be a Memory, and `feature_names` are those of an X that was a data frame
    once.
    """
    check_is_network(net)  # theta is looked at with the data
    check_flag("standardize", standardize)
    check_flag("exact_loss", exact_loss)
    names = net.feature_names or feature_names or names_of(X)
    X = take_columns("X", X, names)
    stages = check_optimizers(Adam() if optimizer is None else optimizer, net.n_params)
    check_batch_options_are_used(stages, batch_size, shuffle, clip_norm)
    batches = check_batches(
        BATCH_SIZE if batch_size == "auto" else batch_size, shuffle, clip_norm, seed
    )
    options = check_run_options("epochs", epochs, callbacks, time_limit, target_loss, progress)
    objective = Objective(
        net,
        X,
        y,
        loss=loss,
        lengths=lengths,
        sample_weight=sample_weight,
        l1=l1,
        l2=l2,
        n_threads=n_threads,
    )
    if any(isinstance(stage, Stochastic) for stage in stages):
        objective.check_order(shuffle)
    if standardize and objective.problem.sequences is not None:
        raise ValueError(
            "standardize must be False for a recurrent network, whose X has no columns: scale X "
            "and y before, got True"
        )
    held_out = held_out_objective(net, validation_data, loss, n_threads, names)
    begin = functools.partial(
        _begin, options["callbacks"], loss=loss, validation_data=validation_data
    )
    options["callbacks"] = begin(net)
    standardized = None
    if standardize:
        standardized = _Standardized(objective, y)
        objective = standardized.scaled(objective, y)
        if held_out is not None:
            held_out = standardized.scaled(held_out, validation_data[1])
        options["present"] = standardized.present
    if any(isinstance(stage, Solver) for stage in stages):
        check_solvers(stages, NetworkFunction(objective, None, batches["rng"]))
    warn_of_merged(net.dtype, first_rows(X, net.dtype, names), y)
    if checkpoint is not None and not isinstance(checkpoint, Memory):
        identity = identify(net, objective.problem, objective.samples, stages, batches)
        checkpoint = Checkpoint(checkpoint, identity)
    warn_without_fma()
    return Prepared(
        net=net,
        names=names,
        objective=objective,
        held_out=held_out,
        standardized=standardized,
        stages=stages,
        budgets=[budget(stage, epochs) for stage in stages],
        batches=batches,
        options=options,
        exact_loss=exact_loss,
        checkpoint=checkpoint,
        begin=begin,
    )


@dataclass
class Prepared:
    """A fit whose arguments are checked, to run once.

    Attributes
    ----------
    net : Network
    names : tuple of str or None
        Of the columns of X.
    objective : Objective
        Of `net`, or of the inner network if it is standardized.
    held_out : Objective or None
    standardized : _Standardized or None
    stages, budgets, batches, exact_loss, checkpoint
        As of `run_stages`.
    options : dict
        What else goes to the monitor.
    begin : callable
        Makes what watches the fit of a network, for the callbacks that `fit` was given.
    """

    net: Network
    names: tuple[str, ...] | None
    objective: Objective
    held_out: Objective | None
    standardized: _Standardized | None
    stages: list[Optimizer]
    budgets: list[int]
    batches: dict[str, Any]
    options: dict[str, Any]
    exact_loss: bool
    checkpoint: Any
    begin: Callable[[Network], list[Any]]

    @property
    def goes_for_others(self) -> bool:
        """Whether `of` can be had: nothing that it holds but the objectives is of one network."""
        objectives = self.objective, self.held_out
        return self.standardized is None and all(
            one is None or one.is_in_memory for one in objectives
        )

    @property
    def is_plain(self) -> bool:
        """Whether nothing but sweeps over the rows takes long in it, as far as is known."""
        return (
            all(isinstance(stage, Stochastic) for stage in self.stages)
            and self.standardized is self.held_out is None
            and not self.options["callbacks"]
            and not awaits_data(self.net)
        )

    def of(self, net: Network, seed: Seed) -> Prepared:
        """The same fit of another network, which would have been checked alike, on the same rows.

        Nothing is checked again.
        """
        return replace(
            self,
            net=net,
            objective=self.objective.of(net),
            held_out=None if self.held_out is None else self.held_out.of(net),
            batches={**self.batches, "rng": late_generator(seed)},
            options={**self.options, "callbacks": self.begin(net)},
        )

    def run(self, interruption=None):
        """Fit; return the FitResult, and a text to warn with or None.

        `interruption` is an Interruption that it shares with other fits, or None.
        """
        net, objective, standardized = self.net, self.objective, self.standardized
        # Not before: `fit_many` prepares all rows once, to check them, but each fit has its own.
        check_mini_batches(net, self.stages, objective.n_rows, self.batches["batch_size"])
        net.feature_names = self.names
        if standardized is None:
            result = self._train(interruption)
            interrupted = result.status is Status.INTERRUPTED
            return result, None if interrupted else advice(objective, result.loss)
        try:
            result = self._train(interruption)
        finally:
            standardized.fold()
        return replace(result, theta=net.theta.copy()), standardized.advice()

    def _train(self, interruption):
        objective, held_out, rng = self.objective, self.held_out, self.batches["rng"]
        if awaits_data(objective.net):
            draw_by_data(objective.net, objective, rng)
        watched = Monitor(
            network=objective.net,
            validate=None if held_out is None else validation_of(held_out),
            total=sum(self.budgets),
            interruption=interruption,
            **self.options,
        )
        with watched as monitor:
            result = run_stages(
                objective,
                self.stages,
                self.budgets,
                monitor,
                self.batches,
                exact_loss=self.exact_loss or objective.is_in_memory,
                checkpoint=self.checkpoint,
            )
        objective.leave()
        if held_out is not None:
            held_out.leave()
        return result


def _begin(callbacks, net, *, loss, validation_data):
    return begin_callbacks(callbacks, Beginning(net, loss, validation_data))


@functools.cache
def warn_without_fma():
    """Warn, once in a process, that kernels are slow without fused multiply-adds."""
    if not simd.HAS_FMA:
        warnings.warn(
            "fits take some 40 times as long here as they could: the processor, or what "
            "NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say of it, has no fused multiply-add, and each "
            "is a call of the C library instead",
            stacklevel=3,
        )


class _Standardized:
    """A network to train on standardized data in place of the one that takes data as they are.

    Parameters
    ----------
    objective : Objective
        Of the network to be trained, on data as they are.
    y : array_like
        Its targets as given, which may have more digits than the network's dtype.
    """

    def __init__(self, objective, y):
        self._net = net = objective.net
        X, weights = objective.rows, objective.weights
        n_outputs = net.layer_sizes[-1]
        self._scales_targets = scales_targets(objective.loss, net.output, n_outputs)
        targets = self._targets(y) if self._scales_targets else None
        self._scaling = Scaling.of(
            X, n_outputs, targets, weights if weights.size else None, net.categorical_columns
        )
        is_drawn = not any(biases.any() for biases in net.biases)
        with np.errstate(over="ignore", invalid="ignore"):
            self._inner = net.copy() if is_drawn else self._scaling.unfold(net)
            folded = self._scaling.fold(self._inner)
        if not (np.isfinite(self._inner.theta).all() and np.isfinite(folded.theta).all()):
            raise ValueError(
                "standardize must be False for data so large or small that the weights that scale "
                f"them overflow in {net.dtype}: change the unit of X or y, or use float64"
            )

    def _targets(self, y):
        return as_real("y", y).astype(np.float64).reshape(-1, self._net.layer_sizes[-1])

    def scaled(self, objective, y):
        """The objective of the inner network on the same data, standardized."""
        problem, weights = objective.problem, objective.weights
        if self._scales_targets:
            y = self._scaling.transform_targets(self._targets(y))
        return Objective(
            self._inner,
            objective.scaled_rows(self._scaling),
            y,
            loss=self._scaling.scale_loss(problem.loss, problem.loss_parameters),
            sample_weight=weights if weights.size else None,
            l1=problem.l1,
            l2=problem.l2,
            n_threads=problem.n_threads,
        )

    def advice(self):
        """What to say of digits that the fold loses, None if that is nothing."""
        return self._scaling.advice(self._net.dtype, self._net.feature_names)

    def fold(self):
        """Make the network the one that does on raw data what the inner one does."""
        self._net.take_learned(self._scaling.fold(self._inner).learned())

    def present(self, progress):
        """Show callbacks the network on data as they are."""
        self.fold()
        return replace(progress, theta=self._net.theta, network=self._net)


@names_arguments
def minimize(
    value_and_grad: Callable[[np.ndarray], tuple[float, ArrayLike]],
    x0: ArrayLike,
    *,
    optimizer: Optimizers | None = None,
    max_iterations: int | None = None,
    callbacks: Callbacks = (),
    time_limit: float | None = None,
    target_loss: float | None = None,
    progress: bool = False,
    l1: ArrayLike = 0.0,
    seed: Seed = None,
) -> FitResult:
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

    Examples
    --------
    >>> import fastmlp
    >>> def bowl(x):
    ...     return (x - 1) @ (x - 1), 2 * (x - 1)
    >>> fastmlp.minimize(bowl, [4.0, 0.0], optimizer=fastmlp.LBFGS()).theta
    array([1., 1.])
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
    refuse_callbacks(options["callbacks"], "in minimize", "it is for networks")
    budgets = [budget(stage, max_iterations, 1000) for stage in stages]

    with Monitor(total=sum(budgets), **options) as monitor:
        return run_on_function(value_and_grad, x, stages, budgets, monitor, rng, factors)


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
    """Turn one optimizer or a list, as objects or written forms, into a list of objects."""
    several = optimizer if isinstance(optimizer, list | tuple) else [optimizer]
    if not several:
        raise ValueError("optimizer must not be an empty list")
    stages: list = []
    for one in several:
        stages += parse_stages(one, OPTIMIZERS) if isinstance(one, str) else [one]
    for stage in stages:
        if isinstance(stage, type) and issubclass(stage, Optimizer):
            name = stage.__name__
            raise TypeError(
                f"optimizer must be an object, got the class {name}: call it, as in "
                f"optimizer={name}()"
            )
        if not isinstance(stage, Stochastic | Solver):
            raise TypeError(
                f"optimizer must be one of fastmlp's, such as fastmlp.Adam(), or a name out of "
                f"{', '.join(OPTIMIZERS)}, got {stage!r}"
            )
        if isinstance(stage, Solver) and stage.bounds is not None:
            check_bounds(stage.bounds, n_params)
    return stages


def check_batch_options_are_used(stages, batch_size, shuffle, clip_norm):
    """Refuse options of mini-batches where no optimizer takes any that are formed by `fit`."""
    if any(isinstance(stage, Stochastic) for stage in stages):
        return
    solvers = ", ".join(sorted({type(stage).__name__ for stage in stages}))
    if batch_size is None and all(stage.batch_size is None for stage in stages):
        batch_size = "auto"  # all rows, which is what they take
    for name, given, default in (
        ("batch_size", batch_size, "auto"),
        ("shuffle", shuffle, True),
        ("clip_norm", clip_norm, None),
    ):
        if given != default:
            raise ValueError(
                f"{name} must not be given for {solvers}, which takes all rows, or has a "
                f"batch_size of its own: it is for stochastic optimizers, got {given!r}"
            )


def check_batches(batch_size, shuffle, clip_norm, seed):
    """Check how mini-batches are formed and used; return what goes to `run_stochastic`."""
    if batch_size is not None:
        check_count("batch_size", batch_size)
    is_name = isinstance(shuffle, bool | np.bool_ | str)
    if not (isinstance(shuffle, Windowed) or (is_name and shuffle in (True, False, "replacement"))):
        raise ValueError(
            f"shuffle must be True, False or 'replacement', or a fastmlp.Windowed, got {shuffle!r}"
        )
    if is_name and not isinstance(shuffle, str):
        shuffle = bool(shuffle)
    if clip_norm is not None:
        check_positive("clip_norm", clip_norm)
    return {
        "batch_size": batch_size,
        "shuffle": shuffle,
        "clip_norm": clip_norm,
        "rng": late_generator(seed),
    }


def check_mini_batches(net, stages, n_rows, batch_size):
    """Refuse mini-batches of one row where batch norm is to take the variance of each."""
    if not (net._pieces.has_batch_norm and any(isinstance(one, Stochastic) for one in stages)):
        return
    rows = n_rows if batch_size is None else min(batch_size, n_rows)
    if rows == 1 or n_rows % rows == 1:
        raise ValueError(
            "batch_size must leave no mini-batch of one row for a network with norm='batch', "
            f"got {batch_size!r} for {n_rows} rows"
        )


def check_run_options(name, budget, callbacks, time_limit, target_loss, progress):
    """Check what `fit` and `minimize` share; return what goes to the monitor.

    `name` is what the argument for the `budget` of epochs or iterations is called.
    """
    if budget is not None:
        check_count(name, budget)
    callbacks = check_callbacks(callbacks)
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


def validation_of(held_out):
    """What evaluates the loss on validation data, whose bad rows are told as theirs."""

    def validate():
        try:
            return held_out.value()
        except ValueError as error:
            raise ValueError(f"validation_data: {error}") from error

    return validate


def held_out_objective(net, validation_data, loss, n_threads, feature_names):
    """The loss on validation data as an `Objective` without penalties, or None.

    `feature_names` are those of the columns to take from a data frame, or None.
    """
    if validation_data is None:
        return None
    if not isinstance(validation_data, list | tuple) or len(validation_data) not in (2, 3, 4):
        raise ValueError(
            "validation_data must be (X, y) or (X, y, sample_weight), got "
            f"{type(validation_data).__name__}"
        )
    X, y, sample_weight, lengths = (*validation_data, None, None)[:4]
    try:
        X = take_columns("X", X, feature_names)
        return Objective(
            net,
            X,
            y,
            loss=loss,
            lengths=lengths,
            sample_weight=sample_weight,
            n_threads=n_threads,
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation_data: {error}") from None
