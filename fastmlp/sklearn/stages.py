"""scikit-learn's names and numbers as optimizers: what to run, in turn."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from fastmlp.naming import did_you_mean
from fastmlp.optimizers import SGD, Stochastic, parse
from fastmlp.schedules import Schedule, check_learning_rate, elementwise
from fastmlp.solvers import Descent, Solver
from fastmlp.training import OPTIMIZERS

# Below this a rate is not divided any more when the loss stands still; scikit-learn's number.
SMALLEST_RATE = 1e-6
RATE_DIVISOR = 5.0


# Names of optimizers that go from mini-batch to mini-batch by compiled updates.
STOCHASTIC = tuple(name for name, kind in OPTIMIZERS.items() if issubclass(kind, Stochastic))


@dataclass(frozen=True)
class MomentumSGD(SGD):
    """SGD that also takes the momentum 1, as scikit-learn does: velocity that nothing slows."""

    def __post_init__(self):
        check_learning_rate("learning_rate", self.learning_rate)


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """scikit-learn's "invscaling": initial / (samples seen + 1)^power, epoch by epoch.

    Parameters
    ----------
    initial : float
    n_samples : int
        Rows of an epoch.
    power : float
    samples_before : int, default 0
        Rows seen before the epoch 0; negative where earlier epochs were shorter.
    """

    initial: float = 0.001
    n_samples: int = 1
    power: float = 0.5
    samples_before: int = 0

    def values(self, t):
        seen = self.samples_before + t * self.n_samples
        return self.initial * elementwise(lambda n: math.pow(n, -self.power), seen + 1)


@dataclass(frozen=True)
class Resumed(Schedule):
    """A schedule taken up again, in epochs that need not have as many updates as those before.

    Parameters
    ----------
    schedule : Schedule
    updates_before, epochs_before : int
        Updates and epochs done.
    updates_per_epoch : int
        Of the epochs to come.
    first_of_fit, all_of_fit : int
        Which update is the first of the fit that a schedule per "fit" goes by, and how many
        updates that has.
    """

    schedule: Schedule
    updates_before: int
    epochs_before: int
    updates_per_epoch: int
    first_of_fit: int
    all_of_fit: int

    def values(self, t):
        if self.schedule.per == "fit":
            return self.schedule.values(np.minimum((t - self.first_of_fit) / self.all_of_fit, 1.0))
        if self.schedule.per == "update":
            return self.schedule.values(t)
        epochs = np.floor((t - self.updates_before) / self.updates_per_epoch)
        return self.schedule.values(self.epochs_before + epochs)


def as_stages(estimator):
    """The optimizers that an estimator's parameters stand for.

    A bare name takes its numbers from the estimator; an object, or a name with parentheses, has
    its own, but for a learning rate that is a `Schedule`.

    Returns
    -------
    list of Optimizer
    """
    given = estimator.solver
    several = given if isinstance(given, list | tuple) else [given]
    if not several:
        raise ValueError("solver must not be an empty list")
    stages = []
    for one in several:
        is_name = isinstance(one, str) and one.strip().isidentifier()
        if is_name and one.strip() not in OPTIMIZERS:
            raise ValueError(
                f"solver must be one of {', '.join(OPTIMIZERS)}, an optimizer of fastmlp or a "
                f"list of them, got {one!r}{did_you_mean('solver', one, OPTIMIZERS)}"
            )
        try:
            stage = _from_parameters(one.strip(), estimator) if is_name else one
            stage = parse(stage, OPTIMIZERS) if isinstance(stage, str) else stage
        except (TypeError, ValueError) as error:
            raise type(error)(f"solver: {error}") from None
        if not isinstance(stage, Stochastic | Solver):
            raise TypeError(
                "solver must be a name, an optimizer of fastmlp such as fastmlp.Adam(), or a "
                f"list of them, got {one!r}"
            )
        if isinstance(stage, Stochastic) and isinstance(estimator.learning_rate, Schedule):
            stage = replace(stage, learning_rate=estimator.learning_rate)
        stages.append(stage)
    return stages


def _from_parameters(name, estimator):
    kind = OPTIMIZERS[name]
    rate = float(estimator.learning_rate_init)
    if kind is SGD:
        return MomentumSGD(
            rate,
            momentum=float(estimator.momentum),
            nesterov=bool(estimator.nesterovs_momentum and estimator.momentum > 0),
        )
    if issubclass(kind, Stochastic):
        has_betas = "beta_1" in {f.name for f in fields(kind)}
        shared = ("beta_1", "beta_2", "epsilon") if has_betas else ()
        given: dict[str, Any] = {name: float(getattr(estimator, name)) for name in shared}
        return kind(rate, **given)
    if issubclass(kind, Descent):
        return kind(gradient_tolerance=float(estimator.tol))
    return name


def is_stochastic(stage):
    """Whether an optimizer goes from mini-batch to mini-batch."""
    return isinstance(stage, Stochastic) or stage.stochastic


def name_of(stage):
    """What an optimizer is called."""
    names = [name for name, kind in OPTIMIZERS.items() if kind is type(stage)]
    return names[0] if names else type(stage).__name__.removeprefix("Momentum").lower()


def with_schedule(stage, estimator, resumed):
    """The optimizer with its schedules, or the estimator's, as of what comes next.

    Parameters
    ----------
    stage : Stochastic
    estimator : estimator
        Its `learning_rate` and `power_t`.
    resumed : dict
        What `Resumed` has besides a schedule, samples_before and n_samples.
    """
    rate = stage.learning_rate
    if estimator.learning_rate == "invscaling":
        rate = InverseScaling(
            check_number_rate(stage),
            resumed["n_samples"],
            float(estimator.power_t),
            resumed["samples_before"] - resumed["epochs_before"] * resumed["n_samples"],
        )
    stage = replace(stage, learning_rate=rate)
    taken_up = {name: take_up(schedule, resumed) for name, schedule in stage.own_schedules.items()}
    return replace(stage, **taken_up)


def take_up(schedule, resumed):
    """A schedule as of what comes next; `resumed` is as of `with_schedule`."""
    counts = {f.name: resumed[f.name] for f in fields(Resumed) if f.name in resumed}
    return Resumed(schedule, **counts, per="update")


def check_number_rate(stage):
    """The learning rate of an optimizer, which has to be a number for it to be changed."""
    if isinstance(stage.learning_rate, Schedule):
        raise ValueError(
            "learning_rate must be 'constant' where the solver has a schedule of its own, "
            f"got {stage.learning_rate!r}"
        )
    return float(stage.learning_rate)
