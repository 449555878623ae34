"""Learning-rate schedules: a function of the epoch, of the update, or of how much of a fit is done.

Wherever a learning rate is asked for, a positive number (constant) or a `Schedule` is accepted.
So is one for AdamW's weight decay. A schedule is a frozen dataclass, so it can be compared, hashed,
printed and shared.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from fastmlp.validation import check_count, check_flag, check_number, check_positive


def elementwise(function: Callable[[float], float], x: np.ndarray) -> np.ndarray:
    """Apply a function of `math` to every element of an array.

    NumPy's own exponential and power differ in the last place from one CPU to the next, and so
    would everything trained with them.
    """
    return np.array([function(v) for v in x.ravel().tolist()], dtype=np.float64).reshape(x.shape)


def check_learning_rate(name: str, value: Any) -> None:
    """Raise unless value is a finite number above 0 or a Schedule."""
    if not isinstance(value, Schedule):
        check_number(name, value, "a positive number or a Schedule", lambda x: x > 0)


def check_not_of_fit(name: str, value: Any) -> None:
    """Refuse a schedule that goes by the fraction of a fit, where nobody knows its end."""
    if isinstance(value, Schedule) and value.per == "fit":
        raise ValueError(
            f'{name} must be a number or a Schedule per "epoch" or "update", got {value!r}'
        )


@dataclass(frozen=True)
class Schedule(ABC):
    """A learning rate that depends on time: the base class of all schedules.

    A schedule of one's own is a subclass with one method, `values`.

    Parameters
    ----------
    per : {"epoch", "update", "fit"}, default "epoch"
        The unit of time t. "epoch": t is the epoch index 0, 1, 2, ... and the learning rate is
        constant within an epoch. "update": t is the index 0, 1, 2, ... of the parameter update,
        counted from the start of training. "fit": t is the fraction of all updates that are done,
        from 0 to 1. The default keeps a schedule's meaning when the batch size changes.

    Notes
    -----
    For "fit", all updates are those of the optimizer's number of epochs; of `fastmlp.minimize` its
    iterations. A fit that ends early, by a time limit, a target, patience or Ctrl-C, simply does
    not reach t = 1. A fit that goes on from a checkpoint with another number of epochs goes on at
    the fraction of these that it has done. Of an estimator, each `fit` has its t from 0 to 1, with
    ``warm_start``, too; the calls of `partial_fit` together are a fit of ``max_iter`` epochs as
    long as the last one's, and t stays 1 after these.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of its range.

    Examples
    --------
    Five epochs at one rate, then another one:

    >>> import numpy as np
    >>> import fastmlp
    >>> class TwoRates(fastmlp.Schedule):
    ...     def values(self, t):
    ...         return np.where(np.asarray(t) < 5, 0.01, 0.001)
    >>> optimizer = fastmlp.Adam(TwoRates())
    >>> optimizer.learning_rates(0, 3, updates_per_epoch=1)
    array([0.01, 0.01, 0.01])
    """

    per: str = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        if self.per not in ("epoch", "update", "fit"):
            raise ValueError(f'per must be "epoch", "update" or "fit", got {self.per!r}')

    @abstractmethod
    def values(self, t: np.ndarray) -> np.ndarray:
        """Learning rates at the times t.

        Parameters
        ----------
        t : ndarray of float64
            Times, 0 or later, in the unit `per`; of a fit at most 1.

        Returns
        -------
        ndarray of float64, the shape of t
            Finite and not negative.
        """


@dataclass(frozen=True)
class _OfFit(Schedule):
    """A schedule whose time is the fraction of all updates of a fit that are done, 0 to 1."""

    per: str = field(default="fit", kw_only=True)

    def __post_init__(self) -> None:
        if self.per != "fit":
            raise ValueError(f'per of {type(self).__name__} must be "fit", got {self.per!r}')


@dataclass(frozen=True)
class StepDecay(Schedule):
    """The learning rate falls by a factor at regular intervals: initial * factor^floor(t / every).

    The same as torch's StepLR(gamma=factor, step_size=every).

    Parameters
    ----------
    initial : float
        Learning rate at t = 0, positive.
    factor : float
        What the learning rate is multiplied by at each step, in (0, 1].
    every : int
        Time between steps.
    per : {"epoch", "update"}, default "epoch"
        Unit of time, see `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> halved = fastmlp.StepDecay(0.1, factor=0.5, every=10)
    >>> halved.values(np.array([0, 9, 10, 20])).round(4)
    array([0.1  , 0.1  , 0.05 , 0.025])
    """

    initial: float
    _: KW_ONLY
    factor: float
    every: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("initial", self.initial)
        check_number("factor", self.factor, "a number in (0, 1]", lambda x: 0 < x <= 1)
        check_count("every", self.every)

    @np.errstate(under="ignore")
    def values(self, t: np.ndarray) -> np.ndarray:
        return self.initial * elementwise(
            lambda n: math.pow(self.factor, n), np.floor(t / self.every)
        )


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """The learning rate falls exponentially: initial * exp(-rate * t).

    The same as torch's ExponentialLR(gamma=exp(-rate)).

    Parameters
    ----------
    initial : float
        Learning rate at t = 0, positive.
    rate : float
        Decay rate per unit of time, 0 or more: the learning rate halves every ln(2) / rate.
    per : {"epoch", "update"}, default "epoch"
        Unit of time, see `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> decay = fastmlp.ExponentialDecay(0.1, rate=0.05)
    >>> decay.values(np.array([0, 10, 20])).round(4)
    array([0.1   , 0.0607, 0.0368])
    """

    initial: float
    _: KW_ONLY
    rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("initial", self.initial)
        check_number("rate", self.rate, "a number of at least 0", lambda x: x >= 0)

    @np.errstate(under="ignore")
    def values(self, t: np.ndarray) -> np.ndarray:
        return self.initial * elementwise(math.exp, -self.rate * t)


@dataclass(frozen=True)
class CosineAnnealing(Schedule):
    """The learning rate follows half a cosine wave from maximum to minimum.

    minimum + (maximum - minimum) / 2 * (1 + cos(pi * t / period)), with t mod period for t when
    the wave restarts: equation 5 of Loshchilov & Hutter, "SGDR: stochastic gradient descent with
    warm restarts", arXiv:1608.03983.

    With restarts the same as torch's CosineAnnealingWarmRestarts(T_0=period). Without, the same as
    optax's cosine_decay_schedule, and as torch's CosineAnnealingLR up to t = period; after that
    torch's climbs back to the maximum along the wave, while this one stays at the minimum.

    Parameters
    ----------
    maximum : float
        Learning rate at t = 0 and at every restart, positive.
    minimum : float, default 0.0
        Learning rate the wave ends at, from 0 to maximum. A restart comes in its place, so that
        with restarts and whole-numbered times it is approached but not reached.
    period : float
        Time from maximum to minimum, positive.
    restarts : bool, default True
        Whether to start again from maximum after each period, as the paper does, or to stay at
        minimum.
    per : {"epoch", "update"}, default "epoch"
        Unit of time, see `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> cosine = fastmlp.CosineAnnealing(0.1, period=10)
    >>> cosine.values(np.array([0, 5, 9, 10])).round(4)
    array([0.1   , 0.05  , 0.0024, 0.1   ])
    """

    maximum: float
    _: KW_ONLY
    minimum: float = 0.0
    period: float
    restarts: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("maximum", self.maximum)
        check_number(
            "minimum",
            self.minimum,
            f"a number from 0 to maximum ({self.maximum!r})",
            lambda x: 0 <= x <= self.maximum,
        )
        check_positive("period", self.period)
        check_flag("restarts", self.restarts)

    def values(self, t: np.ndarray) -> np.ndarray:
        in_period = np.mod(t, self.period) if self.restarts else np.minimum(t, self.period)
        height = 0.5 * (self.maximum - self.minimum)
        angle = np.pi * in_period / self.period
        return self.minimum + height * (1.0 + elementwise(math.cos, angle))


@dataclass(frozen=True)
class LinearDecay(Schedule):
    """The learning rate falls on a straight line, then stays constant.

    (1 - a) * initial + a * final with a = min(t / until, 1): equation 8.14 of Goodfellow, Bengio &
    Courville, "Deep Learning" (2016), who suggest a final value of about 1 % of the initial one.

    Parameters
    ----------
    initial : float
        Learning rate at t = 0, positive.
    final : float
        Learning rate at t = until and ever after, from 0 to initial.
    until : float
        Time at which the final value is reached, positive.
    per : {"epoch", "update"}, default "epoch"
        Unit of time, see `Schedule`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> line = fastmlp.LinearDecay(0.1, final=0.001, until=20)
    >>> line.values(np.array([0, 10, 20, 30])).round(4)
    array([0.1   , 0.0505, 0.001 , 0.001 ])
    """

    initial: float
    _: KW_ONLY
    final: float
    until: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("initial", self.initial)
        check_number(
            "final",
            self.final,
            f"a number from 0 to initial ({self.initial!r})",
            lambda x: 0 <= x <= self.initial,
        )
        check_positive("until", self.until)

    def values(self, t: np.ndarray) -> np.ndarray:
        a = np.minimum(t / self.until, 1.0)
        return (1.0 - a) * self.initial + a * self.final


@dataclass(frozen=True)
class InverseTime(Schedule):
    """The learning rate falls as a power of time: initial / (1 + t / t0)^power.

    For 1/2 < power <= 1 the learning rates sum to infinity while their squares have a finite sum,
    the conditions under which Robbins & Monro, "A stochastic approximation method", Annals of
    Mathematical Statistics 22:400-407 (1951), prove convergence from noisy gradients.

    Parameters
    ----------
    initial : float
        Learning rate at t = 0, positive.
    t0 : float, default 1.0
        Time until the decay sets in, positive: at t = t0 the learning rate is
        initial / 2^power. The default gives the classical sequence initial / (t + 1)^power.
    power : float, default 1.0
        Exponent, positive. The default decays fastest among those that satisfy both conditions.
    per : {"epoch", "update"}, default "epoch"
        Unit of time, see `Schedule`. Robbins and Monro count updates.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> inverse = fastmlp.InverseTime(0.1)
    >>> inverse.values(np.array([0, 1, 9])).round(4)
    array([0.1 , 0.05, 0.01])
    """

    initial: float
    _: KW_ONLY
    t0: float = 1.0
    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("initial", self.initial)
        check_positive("t0", self.t0)
        check_positive("power", self.power)

    @np.errstate(under="ignore")
    def values(self, t: np.ndarray) -> np.ndarray:
        # A negative exponent underflows to 0 where dividing by the power would overflow.
        return self.initial * elementwise(lambda x: math.pow(x, -self.power), 1.0 + t / self.t0)


@dataclass(frozen=True)
class CosineLog(_OfFit):
    """The learning rate rises from 0 and falls again in cycles, each twice as long as the last one.

    maximum * (1 - cos(2 pi log2(1 + (2^cycles - 1) t))) / 2, with t the fraction of all updates of
    the fit that are done: 0 at both ends, and at the end of each cycle.

    The schedule of RealMLP: Holzmüller, Grinsztajn & Steinwart, "Better by default: strong
    pre-tuned MLPs and boosted trees on tabular data", arXiv:2407.04491, who write the cosine as
    that of a logarithm.

    Parameters
    ----------
    maximum : float
        Learning rate in the middle of each cycle, positive.
    cycles : int, default 4
        From 1 to 1023, whose power of 2 is finite. The default is the paper's.
    per : {"fit"}
        See `Schedule` for what t is in a fit that goes on from another.

    Examples
    --------
    At fractions of a fit:

    >>> import numpy as np
    >>> import fastmlp
    >>> cycles = fastmlp.CosineLog(0.04)
    >>> cycles.values(np.array([0.0, 0.5, 1.0])).round(4)
    array([0.    , 0.0029, 0.    ])
    """

    maximum: float
    _: KW_ONLY
    cycles: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("maximum", self.maximum)
        check_count("cycles", self.cycles)
        check_number("cycles", self.cycles, "at most 1023", lambda x: x <= 1023)

    def values(self, t: np.ndarray) -> np.ndarray:
        growth = 2.0**self.cycles - 1.0
        return self.maximum * elementwise(
            lambda x: 0.5 * (1.0 - math.cos(2.0 * math.pi * math.log2(1.0 + growth * x))), t
        )


@dataclass(frozen=True)
class FlatCosine(_OfFit):
    """Constant for half of a fit, then half a cosine wave down to 0.

    initial for t <= 1/2, then initial * (1 + cos(pi (2 t - 1))) / 2, with t the fraction of all
    updates of the fit that are done: RealMLP's schedule of dropout and weight decay, see
    `CosineLog`.

    Parameters
    ----------
    initial : float
        Value in the first half, positive.
    per : {"fit"}
        See `Schedule` for what t is in a fit that goes on from another.

    Examples
    --------
    At fractions of a fit:

    >>> import numpy as np
    >>> import fastmlp
    >>> flat = fastmlp.FlatCosine(0.15)
    >>> flat.values(np.array([0.0, 0.5, 0.75, 1.0])).round(4)
    array([0.15 , 0.15 , 0.075, 0.   ])
    """

    initial: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("initial", self.initial)

    def values(self, t: np.ndarray) -> np.ndarray:
        falling = np.maximum(2.0 * t - 1.0, 0.0)
        return self.initial * elementwise(lambda x: 0.5 * (1.0 + math.cos(math.pi * x)), falling)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A linear rise of the learning rate in front of another schedule or a constant.

    (t + 1) / length * (first value of `then`) for t < length, after that `then` with its time
    starting at t = length. The rise starts one step above 0, so that no update is wasted on a
    learning rate of 0, and ends on the first value of `then`.

    The gradual warm-up of Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1
    hour", arXiv:1706.02677, section 2.2, who start from the learning rate of a smaller batch.

    Parameters
    ----------
    length : int
        Duration of the rise.
    then : float or Schedule
        Learning rate after the rise. A schedule has to have the same `per`.
    per : {"epoch", "update"}, default "epoch"
        Unit of time, see `Schedule`; a rise has a length, and so is not "fit".

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> warm = fastmlp.WarmUp(5, fastmlp.StepDecay(0.1, factor=0.5, every=10))
    >>> warm.values(np.array([0, 2, 5, 15])).round(4)
    array([0.02, 0.06, 0.1 , 0.05])
    """

    length: int
    then: float | Schedule

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per == "fit":
            raise ValueError('per of WarmUp must be "epoch" or "update", got \'fit\'')
        check_count("length", self.length)
        check_learning_rate("then", self.then)
        if isinstance(self.then, Schedule) and self.then.per != self.per:
            raise ValueError(
                f"then must have the same per as its WarmUp ({self.per!r}), got {self.then.per!r}"
            )

    def values(self, t: np.ndarray) -> np.ndarray:
        first = _evaluate(self.then, np.zeros(1))[0]
        rise = (t + 1.0) / self.length * first
        # The time of `then` is held at 0 during the rise: a schedule need not bear negative times.
        after = _evaluate(self.then, np.maximum(t - self.length, 0.0))
        return np.where(t < self.length, rise, after)


BY_NAME: dict[str, type[Schedule]] = {
    "step": StepDecay,
    "exponential": ExponentialDecay,
    "cosine": CosineAnnealing,
    "linear": LinearDecay,
    "inverse_time": InverseTime,
    "warmup": WarmUp,
    "cosine_log": CosineLog,
    "flat_cosine": FlatCosine,
}


def learning_rates(
    learning_rate: float | Schedule,
    first_update: int,
    n_updates: int,
    updates_per_epoch: int,
    all_updates: int | None = None,
) -> np.ndarray:
    """The learning rates of consecutive updates.

    Parameters
    ----------
    learning_rate : float or Schedule
        A constant, or the learning rate as a function of time.
    first_update : int
        Index of the first update wanted, counted from 0 at the start of training.
    n_updates : int
        Number of updates wanted.
    updates_per_epoch : int
        Updates in an epoch: update k belongs to epoch k // updates_per_epoch.
    all_updates : int or None, default None
        Updates of the whole fit, which a schedule per "fit" goes by; it stays at its end after
        these. None where there is no such schedule.

    Returns
    -------
    ndarray of float64, shape (n_updates,)
        C-contiguous, one learning rate an update.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of its range, or if the schedule returns another
        shape than it was given or values that are negative or not finite.
    """
    check_learning_rate("learning_rate", learning_rate)
    return over_updates(
        "learning_rate", learning_rate, first_update, n_updates, updates_per_epoch, all_updates
    )


def over_updates(
    name: str,
    value: float | Schedule,
    first_update: int,
    n_updates: int,
    updates_per_epoch: int,
    all_updates: int | None = None,
) -> np.ndarray:
    """What `value`, called `name` in messages, is in consecutive updates, float64 (n_updates,).

    The other arguments are those of `learning_rates`.
    """
    check_count("first_update", first_update, smallest=0)
    check_count("n_updates", n_updates, smallest=0)
    check_count("updates_per_epoch", updates_per_epoch)
    if not isinstance(value, Schedule):
        return np.full(n_updates, value, dtype=np.float64)
    t = np.arange(first_update, first_update + n_updates)
    if value.per == "update":
        return np.ascontiguousarray(_evaluate(value, t.astype(np.float64)))
    if value.per == "fit":
        if all_updates is None:
            raise ValueError(f"{name} must not go by the fraction of a fit here, got {value!r}")
        check_count("all_updates", all_updates)
        return np.ascontiguousarray(_evaluate(value, np.minimum(t / all_updates, 1.0)))
    # Once for each epoch, however many updates it has.
    first = first_update // updates_per_epoch
    last = (first_update + n_updates - 1) // updates_per_epoch
    epochs = np.arange(first, last + 1, dtype=np.float64)
    return _evaluate(value, epochs)[t // updates_per_epoch - first]


def _evaluate(value: float | Schedule, t: np.ndarray) -> np.ndarray:
    """Values at the times t, checked because anyone may write a Schedule."""
    if not isinstance(value, Schedule):
        return np.full(t.shape, value, dtype=np.float64)
    values = np.asarray(value.values(t), dtype=np.float64)
    name = type(value).__name__
    if values.shape != t.shape:
        raise ValueError(
            f"{name}.values must return an array of the shape {t.shape} it was given, "
            f"got shape {values.shape}"
        )
    wrong = ~(np.isfinite(values) & (values >= 0.0))
    if wrong.any():
        raise ValueError(
            f"{name}.values must return finite numbers of at least 0, "
            f"got {values[wrong][0]} at t = {t[wrong][0]:g}"
        )
    return values
