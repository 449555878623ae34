"""What a network may consist of besides dense layers and activations, checked.

A network without any of these pieces is *plain*: a chain of layers, which has kernels of its own.
"""

from collections import Counter
from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastmlp import schedules
from fastmlp.inputs import Categorical, Numeric, check_inputs, described, in_order
from fastmlp.schedules import Schedule, WarmUp
from fastmlp.validation import check_count, check_flag, check_known, is_sequence
from fastmlp.written import parse_schedule, write_schedule

NORMS = ("batch", "layer")

# Of each member the masks of dropout have a stream of their own, whose number has 16 bits. More are
# a slip of the keyboard.
LARGEST_MEMBERS = 1 << 16


@dataclass(frozen=True)
class Pieces:
    """The pieces of one network; those of hidden layers have one entry for each.

    Attributes are described in `fastmlp.MLP`.
    """

    norm: tuple[str | None, ...]
    dropout: tuple[float | Schedule, ...]
    input_dropout: float
    residual: tuple[bool, ...]
    tied: tuple[tuple[int, int], ...]
    input_scale: bool
    inputs: tuple[Numeric | Categorical, ...]
    members: int

    @property
    def is_plain(self) -> bool:
        """Whether there is none."""
        return not (
            any(self.norm)
            or any(self.dropout)
            or self.input_dropout
            or any(self.residual)
            or self.tied
            or self.input_scale
            or self.inputs
            or self.members > 1
        )

    @property
    def dropout_schedule(self) -> Schedule | None:
        """What all probabilities of dropout are in each update, where they are not constant."""
        return next((one for one in self.dropout if isinstance(one, Schedule)), None)

    @property
    def drops(self) -> bool:
        """Whether there is any dropout."""
        return bool(any(self.dropout) or self.input_dropout)

    @property
    def random(self) -> tuple[str, ...]:
        """Which arguments make the objective of training another one for each mini-batch."""
        given = {
            "norm='batch'": self.has_batch_norm,
            "dropout": any(self.dropout),
            "input_dropout": self.input_dropout > 0,
        }
        return tuple(name for name, is_there in given.items() if is_there)

    @property
    def has_batch_norm(self) -> bool:
        """Whether any layer has batch norm."""
        return "batch" in self.norm

    def summary(self) -> list[str]:
        """What a network has of them, for its `repr`, as texts."""
        dropout = [one if isinstance(one, Real) else str(one) for one in self.dropout]
        if self.dropout_schedule is not None:
            dropout = [write_schedule(self.dropout_schedule)]
        kinds = Counter(
            one.embedding or "numeric"
            if isinstance(one, Numeric)
            else ("one-hot" if one.size is None else "embedded")
            for one in self.inputs
            for _ in one.columns
        )
        texts = {
            "norm": _for_all([one or "none" for one in self.norm]) if any(self.norm) else "",
            "dropout": _for_all(dropout) if any(self.dropout) else "",
            "input dropout": f"{self.input_dropout:g}" if self.input_dropout else "",
            "tied": ", ".join(f"{later}-{earlier}" for later, earlier in self.tied),
        }
        found = [f"{name} {text}" for name, text in texts.items() if text]
        if any(self.residual):
            layers = ", ".join(str(i) for i, adds in enumerate(self.residual, 1) if adds)
            found.append("residual" if all(self.residual) else f"residual layers {layers}")
        if self.input_scale:
            found.append("input scale")
        if self.members > 1:
            found.append(f"{self.members} members")
        if kinds:
            counted = [f"{count} {kind}" for kind, count in kinds.items()]
            found.append(f"{' and '.join(counted)} columns")
        return found

    def described(self) -> dict:
        """What differs from a plain network, as plain values, fit for JSON."""
        plain = check_pieces((1,) * (len(self.norm) + 2))
        found = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if value != getattr(plain, one.name):
                found[one.name] = _as_lists(value)
        if self.dropout_schedule is not None:
            found["dropout"] = write_schedule(self.dropout_schedule)
        return found


# The arguments of a network that are pieces.
NAMES = tuple(one.name for one in fields(Pieces))


def _for_all(values):
    """The one value that all layers have, or those of all."""
    return str(values[0]) if len(set(values)) == 1 else "/".join(map(str, values))


def _as_lists(value):
    if isinstance(value, Numeric | Categorical):
        return described(value)
    return [_as_lists(one) for one in value] if isinstance(value, tuple) else value


def check_pieces(
    layer_sizes,
    *,
    norm: Any = None,
    dropout: Any = 0.0,
    input_dropout: Any = 0.0,
    residual: Any = False,
    tied: Any = (),
    input_scale: Any = False,
    inputs: Any = None,
    members: Any = 1,
) -> Pieces:
    """Check the pieces of a network with these layers."""
    n_hidden = len(layer_sizes) - 2
    norms = _for_each("norm", norm, n_hidden, "norm")
    for i, one in enumerate(norms):
        if one is not None:
            check_known("norm" if norm is one else f"norm[{i}]", one, NORMS)
    probabilities = _check_dropout(dropout, n_hidden)
    _check_probability("input_dropout", input_dropout, "a probability in [0, 1)")
    check_flag("input_scale", input_scale)
    check_count("members", members)
    if members > LARGEST_MEMBERS:
        raise ValueError(f"members must be at most {LARGEST_MEMBERS}, got {members}")
    entries = check_inputs(inputs, layer_sizes[0])
    sizes, has_one_hot = _widths(layer_sizes, entries)
    if members > 1 and not n_hidden and has_one_hot:
        raise ValueError(
            f"members must be 1 for one-hot columns without hidden layers, got {members}"
        )
    return Pieces(
        tuple(norms),
        probabilities,
        float(input_dropout),
        _check_residual(residual, sizes, has_one_hot),
        _check_tied(tied, sizes, has_one_hot, int(members)),
        bool(input_scale),
        entries,
        int(members),
    )


def _widths(layer_sizes, inputs):
    """Inputs of the first layer and of those that follow, and whether some are one-hot codes."""
    entries, one_hot = in_order(inputs, layer_sizes[0])
    width = sum(entry.width for entry in entries + one_hot)
    return (width, *layer_sizes[1:]), bool(one_hot)


def _for_each(name, given, n_hidden, what):
    """One value for each hidden layer, from one for all or a sequence."""
    if given is None or isinstance(given, str | Real):
        return [given] * n_hidden
    if not is_sequence(given):
        raise TypeError(f"{name} must be one {what} or a sequence of them, got {given!r}")
    values = list(given)
    if len(values) != n_hidden:
        raise ValueError(
            f"{name} must have one {what} for each of the {n_hidden} hidden layers, "
            f"got {len(values)}"
        )
    return values


def _check_dropout(dropout, n_hidden):
    """A probability for each hidden layer, or one schedule that all of them have."""
    if isinstance(dropout, str):
        try:
            dropout = parse_schedule(dropout)
        except (TypeError, ValueError) as error:
            raise type(error)(f"dropout: {error}") from None
    if isinstance(dropout, Schedule):
        if type(dropout) not in schedules.BY_NAME.values():
            raise TypeError(
                "dropout must be a schedule of fastmlp's own, which files can hold, got "
                f"{type(dropout).__name__}"
            )
        largest = _largest(dropout)
        if not largest < 1:
            raise ValueError(f"dropout must stay below 1, its schedule reaches {largest!r}")
        return (dropout,) * n_hidden
    allowed = "a probability in [0, 1)"
    values = _for_each("dropout", dropout, n_hidden, "probability")
    for i, value in enumerate(values):
        if dropout is value:
            _check_probability("dropout", value, f"{allowed}, or a Schedule")
        else:
            _check_probability(f"dropout[{i}]", value, allowed)
    return tuple(map(float, values))


def _largest(schedule: Any) -> float:
    """The largest value of a schedule of `schedules.BY_NAME`: all of them name it."""
    while isinstance(schedule, WarmUp):
        schedule = schedule.then
    for name in ("maximum", "initial"):
        schedule = getattr(schedule, name, schedule)
    return schedule


def _check_probability(name, value, allowed):
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not (is_number and 0 <= value < 1):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def _check_residual(residual, sizes, has_one_hot):
    """Whether each hidden layer adds its input; for all means where widths agree."""
    agree = [n_in == n_out for n_in, n_out in pairwise(sizes[:-1])]
    if has_one_hot and agree:
        agree[0] = False
    if isinstance(residual, bool | np.bool_):
        return tuple(bool(residual) and same for same in agree)
    flags = _for_each("residual", residual, len(agree), "bool")
    flags = [bool(flag) if isinstance(flag, np.bool_) else flag for flag in flags]
    for i, (flag, same) in enumerate(zip(flags, agree, strict=True)):
        check_flag(f"residual[{i}]", flag)
        if flag and not same:
            codes = " with one-hot codes" if has_one_hot and i == 0 else ""
            raise ValueError(
                f"residual[{i}] must be False for a hidden layer of {sizes[i + 1]} units, as its "
                f"input has {sizes[i]}{codes}"
            )
    return tuple(map(bool, flags))


def _check_tied(tied, sizes, has_one_hot, members):
    """Pairs of layers, counted from 1, the later one first."""
    if not is_sequence(tied):
        raise TypeError(f"tied must be a sequence of pairs of layers, got {tied!r}")
    n_layers = len(sizes) - 1
    pairs: list[tuple[int, int]] = []
    for pair in tied:
        if not is_sequence(pair) or len(list(pair)) != 2:
            raise ValueError(
                f"tied must be a sequence of pairs of layers, such as (2, 1), got {pair!r}"
            )
        numbers = list(pair)
        for number in numbers:
            is_count = isinstance(number, Integral) and not isinstance(number, bool)
            if not (is_count and 1 <= number <= n_layers):
                raise ValueError(
                    f"tied must name layers from 1 to {n_layers}, got {number!r} in {pair!r}"
                )
        first, second = sorted(map(int, numbers))
        shapes = [(sizes[i - 1], sizes[i]) for i in (second, first)]
        if first == second:
            raise ValueError(f"tied must name two different layers, got {pair!r}")
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"tied must name layers whose weights have one shape, got {pair!r} with the "
                f"shapes {shapes[0]} and {shapes[1]}"
            )
        if has_one_hot and first == 1:
            raise ValueError(
                f"tied must not name layer 1 where inputs have one-hot codes, got {pair!r}"
            )
        if members > 1 and n_layers in (first, second):
            raise ValueError(
                f"tied must not name the output layer of a network with members, got {pair!r}"
            )
        if any(second == later for later, _ in pairs):
            raise ValueError(f"tied must name each later layer once, got layer {second} again")
        pairs.append((second, first))
    return tuple(pairs)
