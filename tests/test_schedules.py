"""Learning-rate schedules against published values, sums known in closed form, and torch."""

import itertools
import math
from dataclasses import FrozenInstanceError, dataclass, replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import MLP, SGD, GradientDescent, StochasticLBFGS, compare, minimize
from fastmlp.schedules import (
    BY_NAME,
    CosineAnnealing,
    CosineLog,
    ExponentialDecay,
    FlatCosine,
    InverseTime,
    LinearDecay,
    Schedule,
    StepDecay,
    WarmUp,
    learning_rates,
)

# The relative rounding error of float64: tolerances are small multiples of it.
EPS = np.finfo(np.float64).eps

ONE_OF_EACH = [
    StepDecay(0.1, factor=0.5, every=3),
    ExponentialDecay(0.1, rate=0.2),
    CosineAnnealing(0.1, minimum=0.01, period=7),
    CosineAnnealing(0.1, minimum=0.01, period=7, restarts=False),
    LinearDecay(0.1, final=0.001, until=9),
    InverseTime(0.1, t0=4.0, power=0.75),
    WarmUp(4, 0.1),
    WarmUp(4, LinearDecay(0.1, final=0.001, until=9)),
    CosineLog(0.1),
    CosineLog(0.1, cycles=2),
    FlatCosine(0.1),
]
DECAYING = [
    s
    for s in ONE_OF_EACH
    if not isinstance(s, WarmUp | CosineLog) and "restarts=True" not in repr(s)
]


def first_values(schedule, n):
    return schedule.values(np.arange(n, dtype=np.float64))


# Values of each schedule


def test_step_decay_gives_the_values_in_the_documentation_of_torch_steplr():
    lr = first_values(StepDecay(0.05, factor=0.1, every=30), 90)
    assert_allclose(lr[:30], 0.05, rtol=4 * EPS)
    assert_allclose(lr[30:60], 0.005, rtol=4 * EPS)
    assert_allclose(lr[60:], 0.0005, rtol=4 * EPS)


def test_exponential_decay_halves_in_every_half_life():
    lr = ExponentialDecay(0.8, rate=math.log(2.0) / 5.0).values(np.array([0.0, 5.0, 10.0, 15.0]))
    # The rounding of rate * t, at most ln 8, is what exp amplifies.
    assert_allclose(lr, [0.8, 0.4, 0.2, 0.1], rtol=8 * EPS)


def test_cosine_annealing_passes_through_the_known_points_of_the_cosine():
    schedule = CosineAnnealing(0.5, minimum=0.1, period=12, restarts=False)
    lr = schedule.values(np.array([0.0, 3.0, 4.0, 6.0, 8.0, 12.0]))
    expected = [0.5, 0.3 + 0.1 * math.sqrt(2.0), 0.4, 0.3, 0.2, 0.1]
    assert_allclose(lr, expected, rtol=8 * EPS)


def test_cosine_annealing_starts_again_after_every_period():
    lr = first_values(CosineAnnealing(0.1, minimum=0.01, period=10), 40)
    assert_array_equal(lr, np.tile(lr[:10], 4))
    assert lr[10] == 0.1
    assert (np.diff(lr[:10]) < 0.0).all()


def test_cosine_annealing_without_restarts_stays_at_the_minimum():
    lr = first_values(CosineAnnealing(0.1, minimum=0.01, period=10, restarts=False), 40)
    assert (np.diff(lr[:11]) < 0.0).all()
    assert_array_equal(lr[10:], 0.01)


def test_linear_decay_joins_its_end_points_by_a_straight_line_and_stays():
    lr = first_values(LinearDecay(0.5, final=0.1, until=4), 10)
    assert_allclose(lr[:4], [0.5, 0.4, 0.3, 0.2], rtol=4 * EPS)
    assert_array_equal(lr[4:], 0.1)


def test_linear_decay_is_continuous_where_the_line_ends():
    around = 100.0 + np.array([-1e-9, 0.0, 1e-9])
    before, at, after = LinearDecay(1.0, final=0.01, until=100.0).values(around)
    # The line falls by 0.0099 a unit of time, so by 1e-11 in the first interval.
    assert 0.0 < before - at < 1.1e-11
    assert after == at == 0.01


def test_inverse_time_with_power_one_is_robbins_monro():
    n = 1_000_000
    lr = first_values(InverseTime(1.0), n)
    # 1 + 1/2 + ... + 1/n = ln n + Euler's constant + 1/2n - ...: infinite, as logarithms are.
    # The remainder of that series is below 1/n^2 = 1e-12, the round-off of the sum about as large.
    assert lr.sum() - math.log(n) - 0.5 / n == pytest.approx(np.euler_gamma, abs=1e-11)
    # 1 + 1/4 + ... + 1/n^2 = pi^2/6 - 1/n + 1/2n^2 - ...: finite (the Basel problem).
    assert (lr**2).sum() == pytest.approx(math.pi**2 / 6.0 - 1.0 / n, abs=1e-11)


def test_inverse_time_decays_by_two_to_the_power_at_t0():
    lr = InverseTime(0.8, t0=50.0, power=2.0).values(np.array([0.0, 50.0, 150.0]))
    assert_allclose(lr, [0.8, 0.2, 0.05], rtol=4 * EPS)


def test_cosine_log_is_zero_between_cycles_that_double_in_length():
    schedule = CosineLog(0.04)
    ends = (2.0 ** np.arange(5) - 1) / 15
    assert_allclose(schedule.values(ends), 0, atol=0.04 * 50 * EPS)
    # In the middle of the logarithm.
    middles = (2.0 ** (np.arange(4) + 0.5) - 1) / 15
    assert_allclose(schedule.values(middles), 0.04, rtol=50 * EPS)
    # A quarter of a cycle on either side the cosine is 0.
    quarters = (2.0 ** (np.arange(8) / 2 + 0.25) - 1) / 15
    assert_allclose(schedule.values(quarters), 0.02, rtol=50 * EPS)


def test_cosine_log_is_the_formula_of_realmlp():
    t = np.linspace(0, 1, 1001)
    for cycles in (1, 3, 4):
        expected = 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + (2**cycles - 1) * t)))
        assert_allclose(CosineLog(1.0, cycles=cycles).values(t), expected, atol=100 * EPS)


def test_flat_cosine_is_flat_up_to_one_half_and_then_half_a_wave():
    t = np.array([0, 0.3, 0.5, 2 / 3, 0.75, 5 / 6, 1])
    expected = [0.2, 0.2, 0.2, 0.15, 0.1, 0.05, 0]
    assert_allclose(FlatCosine(0.2).values(t), expected, rtol=20 * EPS, atol=EPS)


def test_warm_up_rises_in_equal_steps_from_above_zero():
    lr = first_values(WarmUp(4, 0.2), 7)
    assert_allclose(lr, [0.05, 0.1, 0.15, 0.2, 0.2, 0.2, 0.2], rtol=4 * EPS)


@pytest.mark.parametrize(
    "then", [s for s in ONE_OF_EACH if not isinstance(s, WarmUp) and s.per != "fit"], ids=repr
)
def test_warm_up_joins_on_to_the_schedule_behind_it(then):
    lr = first_values(WarmUp(5, then), 25)
    following = first_values(then, 20)
    assert lr[4] == following[0]
    assert_array_equal(lr[5:], following)
    assert_allclose(np.diff(lr[:5]), following[0] / 5.0, rtol=16 * EPS)


def test_warm_up_does_not_ask_the_schedule_behind_it_for_negative_times():
    # (1 + t)^-1 would divide by zero at t = -1, and warnings are errors here.
    lr = first_values(WarmUp(3, InverseTime(0.3, power=1.0)), 4)
    assert_allclose(lr, [0.1, 0.2, 0.3, 0.3], rtol=4 * EPS)


@pytest.mark.parametrize("schedule", DECAYING, ids=repr)
def test_decaying_schedules_never_rise_and_never_end_below_zero(schedule):
    lr = schedule.values(np.linspace(0.0, 1e5, 100_001))
    assert lr[0] == 0.1
    assert (np.diff(lr) <= 0.0).all()
    assert (lr >= 0.0).all()


@pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=repr)
def test_values_are_float64_of_the_shape_of_the_times(schedule):
    t = np.arange(24, dtype=np.float64)
    lr = schedule.values(t.reshape(2, 3, 4))
    assert lr.dtype == np.float64
    assert_array_equal(lr, schedule.values(t).reshape(2, 3, 4))


# torch.optim.lr_scheduler as the peer


def torch_values(initial, n, make_scheduler):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=initial)
    scheduler = make_scheduler(torch.optim.lr_scheduler, optimizer)
    values = []
    for _ in range(n):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(values)


TORCH = {
    "StepLR": (
        StepDecay(0.1, factor=0.3, every=4),
        lambda lr, optimizer: lr.StepLR(optimizer, step_size=4, gamma=0.3),
    ),
    "ExponentialLR": (
        ExponentialDecay(0.1, rate=0.05),
        lambda lr, optimizer: lr.ExponentialLR(optimizer, gamma=math.exp(-0.05)),
    ),
    "CosineAnnealingWarmRestarts": (
        CosineAnnealing(0.1, minimum=0.01, period=7),
        lambda lr, optimizer: lr.CosineAnnealingWarmRestarts(optimizer, T_0=7, eta_min=0.01),
    ),
    "CosineAnnealingLR": (
        CosineAnnealing(0.1, minimum=0.01, period=29, restarts=False),
        lambda lr, optimizer: lr.CosineAnnealingLR(optimizer, T_max=29, eta_min=0.01),
    ),
    "LinearLR": (
        LinearDecay(0.1, final=0.001, until=12),
        lambda lr, optimizer: lr.LinearLR(
            optimizer, start_factor=1.0, end_factor=0.01, total_iters=12
        ),
    ),
    "LinearLR, then constant": (
        WarmUp(5, 0.1),
        lambda lr, optimizer: lr.LinearLR(optimizer, start_factor=0.2, total_iters=4),
    ),
}


@pytest.mark.parametrize(("schedule", "make_scheduler"), TORCH.values(), ids=TORCH.keys())
def test_schedule_agrees_with_torch(schedule, make_scheduler):
    expected = torch_values(0.1, 30, make_scheduler)
    # torch multiplies each value on to the next, so that up to 30 roundings of some units add up.
    assert_allclose(first_values(schedule, 30), expected, rtol=100 * EPS)


# From updates to times


def test_a_number_is_the_same_learning_rate_for_every_update():
    lr = learning_rates(0.25, 7, 4, 3)
    assert_array_equal(lr, [0.25, 0.25, 0.25, 0.25])
    assert lr.dtype == np.float64


def test_per_epoch_the_learning_rate_is_constant_within_an_epoch():
    lr = learning_rates(StepDecay(0.8, factor=0.5, every=1), 0, 9, 3)
    assert_array_equal(lr, [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2])


def test_per_update_the_learning_rate_ignores_epochs():
    lr = learning_rates(StepDecay(0.8, factor=0.5, every=2, per="update"), 0, 6, 3)
    assert_array_equal(lr, [0.8, 0.8, 0.4, 0.4, 0.2, 0.2])


@pytest.mark.parametrize("per", ["epoch", "update"])
def test_an_epoch_may_be_cut_into_pieces(per):
    schedule = ExponentialDecay(0.1, rate=0.3, per=per)
    whole = learning_rates(schedule, 0, 40, 10)
    cuts = [0, 3, 10, 14, 14, 37, 40]
    pieces = [
        learning_rates(schedule, start, stop - start, 10)
        for start, stop in itertools.pairwise(cuts)
    ]
    assert_array_equal(np.concatenate(pieces), whole)


def test_per_fit_time_is_the_fraction_of_all_updates():
    schedule = LinearDecay(0.8, final=0.0, until=1, per="fit")
    expected = 0.8 * (1 - np.arange(8) / 8)
    assert_allclose(learning_rates(schedule, 0, 8, 2, 8), expected, rtol=4 * EPS)
    pieces = [learning_rates(schedule, first, 2, 2, 8) for first in range(0, 8, 2)]
    assert_array_equal(np.concatenate(pieces), learning_rates(schedule, 0, 8, 2, 8))
    assert_array_equal(learning_rates(schedule, 8, 3, 2, 8), 0)
    with pytest.raises(ValueError, match="must not go by the fraction of a fit here, got Linear"):
        learning_rates(schedule, 0, 8, 2)
    with pytest.raises(ValueError, match="all_updates must be an integer of at least 1, got 0"):
        learning_rates(schedule, 0, 8, 2, 0)


@pytest.mark.parametrize("schedule", [CosineLog(0.3, cycles=2), FlatCosine(0.3)], ids=repr)
def test_a_fit_goes_by_its_own_number_of_updates(schedule):
    """Plain gradient descent on a linear unit: the steps tell the rates."""
    X, y = np.ones((10, 1)), np.zeros(10)
    net = MLP([1, 1], dtype="float64", seed=0)
    net.biases[0][:] = 1
    seen = [net.theta.copy()]
    net.fit(
        X,
        y,
        optimizer=SGD(schedule),
        epochs=3,
        batch_size=2,
        callbacks=[lambda progress: seen.append(net.theta.copy())],
    )
    rates = schedule.values(np.arange(15) / 15)
    # Each update takes the error by the factor 1 - 2 rate.
    errors = np.prod(1 - 2 * rates.reshape(3, 5), axis=1).cumprod()
    first = seen[0].sum()
    assert_allclose([theta.sum() / first for theta in seen[-3:]], errors, rtol=1e-12)


def test_minimize_goes_by_its_iterations():
    seen = []
    schedule = CosineLog(0.5, cycles=1)
    minimize(
        lambda x: (x @ x / 2, x.copy()),
        [1.0],
        optimizer=SGD(schedule),
        max_iterations=6,
        callbacks=[lambda progress: seen.append(progress.theta[0])],
    )
    rates = schedule.values(np.arange(6) / 6)
    assert_allclose(seen, [1, *np.cumprod(1 - rates)], rtol=1e-12)


@pytest.mark.parametrize("budget", [{"passes": 4}, {"gradient_evaluations": 12}])
def test_compare_goes_by_its_budget(budget):
    """Of 12 updates the last one has (11 / 12) of the way done."""
    seen = []

    @dataclass(frozen=True)
    class Noting(Schedule):
        def values(self, t):
            seen.extend(t.tolist())
            return 0.01 + 0 * t

    X, y = np.random.default_rng(0).normal(size=(6, 2)), np.zeros(6)
    optimizers = {"noting": SGD(Noting(per="fit"))}
    compare(MLP([2, 1], seed=0), X, y, optimizers, batch_size=2, **budget)
    start = max(i for i, t in enumerate(seen) if t == 0)  # after the run that warms up
    assert_allclose(seen[start : start + 12], np.arange(12) / 12, rtol=4 * EPS)


def test_compare_refuses_a_fraction_of_an_unknown_number():
    X, y = np.ones((6, 2)), np.zeros(6)
    optimizers = {"slow": SGD(CosineLog(0.1))}
    with pytest.raises(ValueError, match="passes or gradient_evaluations must be given for 'slow'"):
        compare(MLP([2, 1], seed=0), X, y, optimizers, time_limit=1)


@pytest.mark.parametrize("solver", [StochasticLBFGS, partial(GradientDescent, line_search="fixed")])
def test_solvers_that_know_no_end_refuse_a_fraction(solver):
    with pytest.raises(ValueError, match=r'learning_rate must be .* per "epoch" or "update"'):
        solver(learning_rate=CosineLog(0.1))


def test_warm_up_per_epoch_rises_from_epoch_to_epoch():
    assert_array_equal(learning_rates(WarmUp(2, 0.4), 0, 6, 2), [0.2, 0.2, 0.4, 0.4, 0.4, 0.4])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.0, 0, 1, 1), ValueError, "learning_rate must be a positive number or a Schedule"),
        ((0.1, -1, 1, 1), ValueError, "first_update must be an integer of at least 0, got -1"),
        ((0.1, 0, -1, 1), ValueError, "n_updates must be an integer of at least 0, got -1"),
        ((0.1, 0, 1, 0), ValueError, "updates_per_epoch must be an integer of at least 1, got 0"),
        ((0.1, 0, 1.0, 1), TypeError, "n_updates must be an integer of at least 0, got 1.0"),
    ],
)
def test_learning_rates_rejects_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        learning_rates(*arguments)


# Schedules of one's own


@dataclass(frozen=True)
class Listed(Schedule):
    """The learning rates of a tuple, whatever the times are."""

    rates: tuple = ()

    def values(self, t):
        return np.array(self.rates)


def test_a_schedule_of_ones_own_needs_only_values():
    assert_array_equal(learning_rates(Listed((0.3, 0.1)), 0, 2, 1), [0.3, 0.1])
    assert_array_equal(learning_rates(Listed((3, 1)), 0, 2, 1), [3.0, 1.0])


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ((0.1, 0.1, 0.1), r"Listed.values must return an array of the shape \(2,\) .* \(3,\)"),
        ((0.1, -0.1), "finite numbers of at least 0, got -0.1 at t = 1"),
        ((math.nan, 0.1), "finite numbers of at least 0, got nan at t = 0"),
        ((0.1, math.inf), "finite numbers of at least 0, got inf at t = 1"),
    ],
)
def test_what_a_schedule_of_ones_own_returns_is_checked(rates, message):
    with pytest.raises(ValueError, match=message):
        learning_rates(Listed(rates), 0, 2, 1)


def test_a_schedule_without_values_cannot_be_made():
    with pytest.raises(TypeError, match="values"):
        Schedule()


# Schedules are values


def test_schedules_are_frozen_comparable_and_hashable():
    schedule = StepDecay(0.1, factor=0.5, every=3)
    with pytest.raises(FrozenInstanceError):
        schedule.factor = 0.7
    assert len({schedule, StepDecay(0.1, factor=0.5, every=3), replace(schedule, every=4)}) == 2


def test_every_schedule_has_one_name():
    assert set(BY_NAME.values()) == {type(schedule) for schedule in ONE_OF_EACH}


POSITIVE = "must be a positive number, got"
VALID = {
    StepDecay: {"initial": 0.1, "factor": 0.5, "every": 3},
    ExponentialDecay: {"initial": 0.1, "rate": 0.2},
    CosineAnnealing: {"maximum": 0.1, "period": 7},
    LinearDecay: {"initial": 0.1, "final": 0.001, "until": 9},
    InverseTime: {"initial": 0.1},
    WarmUp: {"length": 4, "then": 0.1},
    CosineLog: {"maximum": 0.1},
    FlatCosine: {"initial": 0.1},
}


@pytest.mark.parametrize(
    ("schedule", "name", "value", "message"),
    [
        (StepDecay, "initial", 0, f"initial {POSITIVE} 0"),
        (StepDecay, "factor", 0.0, r"factor must be a number in \(0, 1\], got 0.0"),
        (StepDecay, "factor", 1.5, r"factor must be a number in \(0, 1\], got 1.5"),
        (StepDecay, "every", 0, "every must be an integer of at least 1, got 0"),
        (ExponentialDecay, "initial", -0.1, f"initial {POSITIVE} -0.1"),
        (ExponentialDecay, "rate", -1, "rate must be a number of at least 0, got -1"),
        (CosineAnnealing, "maximum", math.inf, f"maximum {POSITIVE} inf"),
        (CosineAnnealing, "minimum", 0.2, r"minimum must be a number from 0 to maximum \(0.1\)"),
        (CosineAnnealing, "minimum", -0.1, r"minimum must be a number from 0 to maximum \(0.1\)"),
        (CosineAnnealing, "period", 0, f"period {POSITIVE} 0"),
        (LinearDecay, "initial", math.nan, f"initial {POSITIVE} nan"),
        (LinearDecay, "final", 0.2, r"final must be a number from 0 to initial \(0.1\), got 0.2"),
        (LinearDecay, "until", -3, f"until {POSITIVE} -3"),
        (InverseTime, "initial", 0.0, f"initial {POSITIVE} 0.0"),
        (InverseTime, "t0", 0.0, f"t0 {POSITIVE} 0.0"),
        (InverseTime, "power", -1.0, f"power {POSITIVE} -1.0"),
        (CosineLog, "maximum", 0.0, f"maximum {POSITIVE} 0.0"),
        (CosineLog, "cycles", 0, "cycles must be an integer of at least 1, got 0"),
        (CosineLog, "cycles", 1024, "cycles must be at most 1023, got 1024"),
        (CosineLog, "per", "epoch", "per of CosineLog must be \"fit\", got 'epoch'"),
        (FlatCosine, "initial", -1, f"initial {POSITIVE} -1"),
        (FlatCosine, "per", "update", "per of FlatCosine must be \"fit\", got 'update'"),
        (WarmUp, "per", "fit", 'per of WarmUp must be "epoch" or "update", got \'fit\''),
        (WarmUp, "length", 0, "length must be an integer of at least 1, got 0"),
        (WarmUp, "then", -1.0, "then must be a positive number or a Schedule, got -1.0"),
        (
            WarmUp,
            "then",
            ExponentialDecay(0.1, rate=0.2, per="update"),
            "then must have the same per as its WarmUp \\('epoch'\\), got 'update'",
        ),
    ],
)
def test_values_out_of_range_are_rejected(schedule, name, value, message):
    with pytest.raises(ValueError, match=message):
        schedule(**{**VALID[schedule], name: value})


@pytest.mark.parametrize(
    ("schedule", "name", "value", "message"),
    [
        (StepDecay, "initial", "0.1", f"initial {POSITIVE} '0.1'"),
        (StepDecay, "initial", True, f"initial {POSITIVE} True"),
        (StepDecay, "every", 2.5, "every must be an integer of at least 1, got 2.5"),
        (StepDecay, "every", True, "every must be an integer of at least 1, got True"),
        (CosineAnnealing, "restarts", 1, "restarts must be True or False, got 1"),
        (LinearDecay, "final", None, "final must be a number from 0 to initial"),
        (WarmUp, "then", "0.1", "then must be a positive number or a Schedule, got '0.1'"),
    ],
)
def test_values_of_the_wrong_type_are_rejected(schedule, name, value, message):
    with pytest.raises(TypeError, match=message):
        schedule(**{**VALID[schedule], name: value})


@pytest.mark.parametrize("schedule", [s for s in VALID if s not in (CosineLog, FlatCosine)])
def test_the_unit_of_time_is_epoch_or_update(schedule):
    assert schedule(**VALID[schedule]).per == "epoch"
    assert schedule(**VALID[schedule], per="update").per == "update"
    with pytest.raises(ValueError, match='per must be "epoch", "update" or "fit", got \'step\''):
        schedule(**VALID[schedule], per="step")


def test_numpy_numbers_are_numbers():
    schedule = StepDecay(np.float32(0.5), factor=np.float64(0.5), every=np.int32(1))
    assert_array_equal(first_values(schedule, 3), [0.5, 0.25, 0.125])
