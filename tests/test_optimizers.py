"""Optimizers as data: what they tell the update kernels, what they refuse, how they are written."""

import inspect
import math
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastmlp.kernels import codes
from fastmlp.optimizers import (
    BY_NAME,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    NAdam,
    Optimizer,
    RMSProp,
    Stochastic,
    parse,
    parse_stages,
)
from fastmlp.schedules import (
    CosineAnnealing,
    ExponentialDecay,
    FlatCosine,
    InverseTime,
    LinearDecay,
    StepDecay,
    WarmUp,
)

OPTIMIZERS = [SGD, AdaGrad, RMSProp, Adam, AdamW, NAdam]


# What the update kernels are told


@pytest.mark.parametrize(
    ("optimizer", "code", "n_slots", "hyperparameters"),
    [
        # momentum, nesterov, rho, beta_1, beta_2, epsilon, momentum_decay
        (SGD(), codes.SGD, 0, [0, 0, 0, 0, 0, 0, 0]),
        (SGD(momentum=0.9), codes.SGD, 1, [0.9, 0, 0, 0, 0, 0, 0]),
        (SGD(momentum=0.8, nesterov=True), codes.SGD, 1, [0.8, 1, 0, 0, 0, 0, 0]),
        (AdaGrad(), codes.ADAGRAD, 1, [0, 0, 0, 0, 0, 1e-10, 0]),
        (RMSProp(), codes.RMSPROP, 1, [0, 0, 0.99, 0, 0, 1e-8, 0]),
        (RMSProp(rho=0.9, momentum=0.5), codes.RMSPROP, 2, [0.5, 0, 0.9, 0, 0, 1e-8, 0]),
        (Adam(), codes.ADAM, 2, [0, 0, 0, 0.9, 0.999, 1e-8, 0]),
        (Adam(beta_1=0, epsilon=1e-3), codes.ADAM, 2, [0, 0, 0, 0, 0.999, 1e-3, 0]),
        (AdamW(), codes.ADAM, 2, [0, 0, 0, 0.9, 0.999, 1e-8, 0]),
        (AdamW(weight_decay=0), codes.ADAM, 2, [0, 0, 0, 0.9, 0.999, 1e-8, 0]),
        (Adam(amsgrad=True), codes.AMSGRAD, 3, [0, 0, 0, 0.9, 0.999, 1e-8, 0]),
        (AdamW(amsgrad=True), codes.AMSGRAD, 3, [0, 0, 0, 0.9, 0.999, 1e-8, 0]),
        (NAdam(), codes.NADAM, 2, [0, 0, 0, 0.9, 0.999, 1e-8, 4e-3]),
    ],
    ids=repr,
)
def test_what_the_update_kernel_is_told(optimizer, code, n_slots, hyperparameters):
    assert optimizer.code == code
    assert optimizer.n_slots == n_slots
    assert optimizer.hyperparameters().dtype == np.float64
    assert_array_equal(optimizer.hyperparameters(), hyperparameters)


def test_learning_rates_follow_the_schedule():
    optimizer = Adam(learning_rate=StepDecay(0.8, factor=0.5, every=1))
    assert_array_equal(optimizer.learning_rates(1, 4, 2), [0.8, 0.4, 0.4, 0.2])
    assert_array_equal(SGD(0.3).learning_rates(5, 2, 2), [0.3, 0.3])


def test_rates_hold_all_that_may_change_from_update_to_update():
    constant = SGD(0.3).rates(5, 2, 2)
    assert constant.dtype == np.float64
    assert constant.flags.c_contiguous
    assert_array_equal(constant, [[0.3, 0, 1]] * 2)
    decay = FlatCosine(0.02)
    optimizer = AdamW(StepDecay(0.8, factor=0.5, every=1), weight_decay=decay)
    rates = optimizer.rates(0, 8, 2, 8, dropout=LinearDecay(1, final=0, until=8, per="update"))
    assert_array_equal(rates[:, codes.RATE], optimizer.learning_rates(0, 8, 2))
    assert_array_equal(rates[:, codes.DECAY], decay.values(np.arange(8) / 8))
    assert_array_equal(rates[:, codes.DROPOUT], 1 - np.arange(8) / 8)
    assert list(optimizer.own_schedules) == ["learning_rate", "weight_decay"]
    assert optimizer.decays
    assert AdamW().decays
    assert not AdamW(weight_decay=0).decays
    assert not Adam().decays
    assert SGD().own_schedules == {}


def test_factors_are_kept_apart_from_what_was_given():
    given = {"bias": 0.1, "scale": 6}
    optimizer = Adam(factors=given)
    given["bias"] = 7
    assert optimizer.factors == {"bias": 0.1, "scale": 6}
    assert optimizer == Adam(factors={"scale": 6, "bias": 0.1})
    assert hash(optimizer) == hash(Adam(factors={"scale": 6, "bias": 0.1}))
    assert optimizer != Adam()
    assert "factors={'bias': 0.1, 'scale': 6}" in repr(optimizer)
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer
    assert replace(optimizer, learning_rate=1.0).factors == optimizer.factors
    assert parse(f"adam(factors={optimizer.factors})", BY_NAME) == optimizer


def test_every_kind_has_a_row_of_factors():
    optimizer = AdamW(factors={"bias": 0.1, "scale": 6}, decay_factors={"scale": 2})
    factors, rows = optimizer.kinds()
    assert factors.dtype == np.float64
    assert {kind: tuple(factors[:, row]) for kind, row in rows.items()} == {
        **dict.fromkeys(codes.KINDS, (1.0, 1.0)),
        "bias": (0.1, 1.0),
        "scale": (6.0, 2.0),
    }
    for none in (None, {}, {"bias": 1.0}):
        factors, rows = SGD(factors=none).kinds()
        assert_array_equal(factors, [[1], [1]])
        assert set(rows.values()) == {0}


def test_the_first_layer_has_the_factor_of_weights_unless_it_has_its_own():
    factors, rows = SGD(factors={"weights": 0.5}).kinds()
    assert rows["first_weights"] == rows["weights"] == 1
    factors, rows = SGD(factors={"weights": 0.5, "first_weights": 2.0}).kinds()
    assert factors[0, rows["first_weights"]] == 2.0
    assert factors[0, rows["weights"]] == 0.5


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        (0.1, TypeError, r"factors must be a mapping of kinds of parameters to numbers, .*got 0.1"),
        (
            {"biases": 0.1},
            ValueError,
            "factors must be of weights, first_weights, bias, norm, scale, activation, embedding, "
            "member, got",
        ),
        ({"bias": -1}, ValueError, "factor of bias must be a number of at least 0, got -1"),
        ({"bias": np.inf}, ValueError, "factor of bias must be a number of at least 0, got inf"),
        ({"norm": "a"}, TypeError, "factor of norm must be a number of at least 0, got 'a'"),
    ],
)
def test_bad_factors(factors, error, message):
    with pytest.raises(error, match=message):
        Adam(factors=factors)


def test_defaults_are_those_of_torch_except_for_documented_learning_rates():
    torch = pytest.importorskip("torch")

    def default(peer, name):
        return inspect.signature(peer).parameters[name].default

    assert AdaGrad() == AdaGrad(
        default(torch.optim.Adagrad, "lr"), epsilon=default(torch.optim.Adagrad, "eps")
    )
    assert RMSProp() == RMSProp(
        0.001,
        rho=default(torch.optim.RMSprop, "alpha"),
        epsilon=default(torch.optim.RMSprop, "eps"),
        momentum=default(torch.optim.RMSprop, "momentum"),
    )
    for optimizer, peer in [
        (Adam, torch.optim.Adam),
        (AdamW, torch.optim.AdamW),
        (NAdam, torch.optim.NAdam),
    ]:
        beta_1, beta_2 = default(peer, "betas")
        assert optimizer() == optimizer(
            default(peer, "lr"), beta_1=beta_1, beta_2=beta_2, epsilon=default(peer, "eps")
        )
    assert Adam().amsgrad == default(torch.optim.Adam, "amsgrad")
    assert AdamW().weight_decay == default(torch.optim.AdamW, "weight_decay")
    assert NAdam().momentum_decay == default(torch.optim.NAdam, "momentum_decay")
    assert SGD() == SGD(
        0.01,
        momentum=default(torch.optim.SGD, "momentum"),
        nesterov=default(torch.optim.SGD, "nesterov"),
    )


# Optimizers are values


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_are_frozen_comparable_and_hashable(optimizer):
    with pytest.raises(FrozenInstanceError):
        optimizer().learning_rate = 0.5
    assert optimizer() == optimizer()
    assert len({optimizer(), optimizer(), optimizer(0.5)}) == 2


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_the_learning_rate_may_be_given_by_position(optimizer):
    assert optimizer(0.5).learning_rate == 0.5
    with pytest.raises(TypeError, match="positional"):
        optimizer(0.5, 0.9)


def test_adam_and_adamw_are_different_even_without_decay():
    assert AdamW(weight_decay=0.0) != Adam()


def test_every_optimizer_has_one_name():
    assert list(BY_NAME.values()) == OPTIMIZERS
    assert all(issubclass(optimizer, Optimizer) for optimizer in OPTIMIZERS)


def test_the_base_class_cannot_be_made():
    with pytest.raises(TypeError, match="n_slots"):
        Stochastic(0.1)


# What they refuse


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("learning_rate", "error"),
    [
        (-1, ValueError),
        (0, ValueError),
        (math.inf, ValueError),
        (math.nan, ValueError),
        (True, TypeError),
        ("0.1", TypeError),
        (None, TypeError),
        (np.array([0.1]), TypeError),
    ],
)
def test_the_learning_rate_is_a_positive_number_or_a_schedule(optimizer, learning_rate, error):
    with pytest.raises(error, match="learning_rate must be a positive number or a Schedule, got "):
        optimizer(learning_rate=learning_rate)


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (SGD, "momentum"),
        (RMSProp, "rho"),
        (RMSProp, "momentum"),
        (Adam, "beta_1"),
        (Adam, "beta_2"),
        (AdamW, "beta_1"),
        (AdamW, "beta_2"),
        (NAdam, "beta_1"),
        (NAdam, "beta_2"),
    ],
)
def test_averaging_factors_are_at_least_zero_and_less_than_one(optimizer, name):
    assert getattr(optimizer(**{name: 0}), name) == 0
    for value in (-0.1, 1, 1.5, math.nan):
        with pytest.raises(ValueError, match=rf"{name} must be a number in \[0, 1\), got {value}"):
            optimizer(**{name: value})
    for value in (False, "0.9", None):
        with pytest.raises(TypeError, match=rf"{name} must be a number in \[0, 1\), got {value!r}"):
            optimizer(**{name: value})


@pytest.mark.parametrize("optimizer", [AdaGrad, RMSProp, Adam, AdamW, NAdam])
def test_epsilon_is_positive(optimizer):
    for value in (0, -1e-8, math.inf):
        with pytest.raises(ValueError, match=f"epsilon must be a positive number, got {value}"):
            optimizer(epsilon=value)
    with pytest.raises(TypeError, match="epsilon must be a positive number, got '1e-8'"):
        optimizer(epsilon="1e-8")


def test_weight_decay_is_not_negative():
    with pytest.raises(
        ValueError, match=r"weight_decay must be a number of at least 0 or a Schedule, got -0\.01"
    ):
        AdamW(weight_decay=-0.01)


def test_momentum_decay_is_not_negative():
    assert NAdam(momentum_decay=0).momentum_decay == 0
    with pytest.raises(ValueError, match="momentum_decay must be a number of at least 0, got -1"):
        NAdam(momentum_decay=-1)


def test_amsgrad_is_a_flag():
    with pytest.raises(TypeError, match="amsgrad must be True or False, got 1"):
        Adam(amsgrad=1)


def test_nesterov_is_a_flag_that_needs_momentum():
    with pytest.raises(TypeError, match="nesterov must be True or False, got 1"):
        SGD(momentum=0.9, nesterov=1)
    with pytest.raises(ValueError, match=r"nesterov needs a momentum above 0, got momentum=0\.0"):
        SGD(nesterov=True)


def test_a_changed_copy_is_checked_like_a_new_optimizer():
    assert replace(Adam(), beta_1=0.5) == Adam(beta_1=0.5)
    with pytest.raises(ValueError, match="beta_1"):
        replace(Adam(), beta_1=1.0)


# How they are written


@pytest.mark.parametrize(
    ("text", "optimizer"),
    [
        ("sgd", SGD()),
        ("adagrad()", AdaGrad()),
        ("  rmsprop\n", RMSProp()),
        ("adam(learning_rate=3e-3, beta_1=0.8)", Adam(3e-3, beta_1=0.8)),
        ("adamw(weight_decay=0)", AdamW(weight_decay=0)),
        (
            "adamw(weight_decay=flat_cosine(initial=0.02))",
            AdamW(weight_decay=FlatCosine(0.02)),
        ),
        ("adam(amsgrad=True)", Adam(amsgrad=True)),
        ("nadam(momentum_decay=1e-2)", NAdam(momentum_decay=1e-2)),
        ("sgd(momentum=0.9,nesterov=True)", SGD(momentum=0.9, nesterov=True)),
        (
            "sgd(learning_rate=step(initial=0.1, factor=0.5, every=10))",
            SGD(StepDecay(0.1, factor=0.5, every=10)),
        ),
        (
            "adam(learning_rate=exponential(initial=0.1, rate=0.02, per='update'))",
            Adam(ExponentialDecay(0.1, rate=0.02, per="update")),
        ),
        (
            "adam(learning_rate=cosine(maximum=0.1, period=20, restarts=False))",
            Adam(CosineAnnealing(0.1, period=20, restarts=False)),
        ),
        ("sgd(learning_rate=inverse_time(initial=0.5))", SGD(InverseTime(0.5))),
        (
            "sgd(learning_rate=warmup(length=5, then=linear(initial=1, final=0.01, until=9)))",
            SGD(WarmUp(5, LinearDecay(1, final=0.01, until=9))),
        ),
    ],
)
def test_parse_reads_the_written_form(text, optimizer):
    assert parse(text, BY_NAME) == optimizer


def test_parse_looks_names_up_in_the_table_it_is_given():
    assert parse("descent(momentum=0.5)", {"descent": SGD}) == SGD(momentum=0.5)
    with pytest.raises(ValueError, match="optimizer must be one of descent, got 'sgd'"):
        parse("sgd", {"descent": SGD})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "adamm",
            "optimizer must be one of sgd, adagrad, rmsprop, adam, adamw, nadam, got 'adamm'",
        ),
        ("step(initial=1, factor=0.5, every=2)", "optimizer must be one of .*, got 'step'"),
        (
            "adam(beta1=0.8)",
            "adam has the parameters learning_rate, epochs, factors, beta_1, beta_2, epsilon, "
            "amsgrad, got 'beta1'",
        ),
        ("adam(beta_1=0.8, beta_1=0.9)", "adam must be given each parameter only once, got "),
        (
            "sgd(learning_rate=stairs(initial=1))",
            "schedule must be one of step, exponential, cosine, linear, inverse_time, warmup, "
            "cosine_log, flat_cosine, got 'stairs'",
        ),
        (
            "sgd(learning_rate=step(initial=0.1))",
            r"step needs a value for factor, every, got step\(initial=0.1\)",
        ),
        ("sgd(learning_rate=step(0.1))", r"schedule must be written as name or name\(parameter="),
        (
            "sgd(learning_rate=cosine)",
            "learning_rate must be a Python literal or a schedule with its parameters, got cosine",
        ),
        ("sgd(momentum=1 / 2)", "momentum must be a Python literal .*, got 1 / 2"),
        ("sgd(momentum={[]})", r"momentum must be a Python literal .*, got {\[\]}"),
        ("sgd(momentum=2)", r"momentum must be a number in \[0, 1\), got 2"),
        (
            "sgd(learning_rate=step(initial=0.1, factor=2, every=3))",
            r"factor must be a number in \(0, 1\], got 2",
        ),
    ],
)
def test_parse_explains_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text, BY_NAME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "adam(",
        "adam(0.001)",
        "adam(**{'beta_1': 0.8})",
        "adam(*[0.1])",
        "adam; sgd",
        "optim.adam",
        "adam()()",
        "0.001",
        "adam\0",
    ],
)
def test_parse_takes_no_other_form(text):
    message = r"optimizer must be written as name or name\(parameter=value, ...\), got "
    with pytest.raises(ValueError, match=message):
        parse(text, BY_NAME)


def test_parse_evaluates_no_code(tmp_path):
    victim = tmp_path / "victim"
    for expression in (
        f"open({str(victim)!r}, 'w')",
        f"__import__('pathlib').Path({str(victim)!r}).touch()",
        f"[open({str(victim)!r}, 'w')]",
    ):
        with pytest.raises(ValueError, match="must be"):
            parse(f"sgd(learning_rate={expression})", BY_NAME)
    assert not victim.exists()


def test_parse_needs_a_string():
    with pytest.raises(TypeError, match="written form must be a string, got 3"):
        parse(3, BY_NAME)


def test_parse_stages_splits_at_plus_signs():
    """Those within parentheses belong to numbers."""
    table = {"adam": Adam, "sgd": SGD}
    assert parse_stages("adam", table) == [Adam()]
    written = "adam(epochs=20, epsilon=1e+2) + sgd(learning_rate=0.5)+adam"
    assert parse_stages(written, table) == [Adam(epochs=20, epsilon=1e2), SGD(0.5), Adam()]
    for wrong in ("adam+", "+adam", "adam-sgd", "adam+3"):
        with pytest.raises(ValueError, match=r"optimizer must be written as name|written as"):
            parse_stages(wrong, table)
