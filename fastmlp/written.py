"""Written forms of optimizers and schedules: a name, or a call of it with keywords."""

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from fastmlp import schedules
from fastmlp.naming import did_you_mean, unknown_argument
from fastmlp.schedules import Schedule


def expression(text: str, kind: str) -> ast.expr:
    """The Python expression that a written form is; `kind` is what it stands for."""
    if not isinstance(text, str):
        article = "an" if kind[0] in "aeiou" else "a"
        raise TypeError(f"{article} {kind}'s written form must be a string, got {text!r}")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):  # ValueError: a null character
        raise ValueError(_malformed(kind, text)) from None


def construct(node: ast.expr, kind: str, table: Mapping[str, Callable[..., Any]]) -> Any:
    """The object written as `name` or `name(parameter=value, ...)`, its name looked up in table."""
    text = ast.unparse(node)
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
    unpacks = any(keyword.arg is None for keyword in call.keywords)
    if not isinstance(call.func, ast.Name) or call.args or unpacks:
        raise ValueError(_malformed(kind, text))
    name = call.func.id
    if name not in table:
        raise ValueError(
            f"{kind} must be one of {', '.join(table)}, got {name!r}"
            f"{did_you_mean(kind, name, table)}"
        )
    if len(given) < len(call.keywords):
        raise ValueError(f"{name} must be given each parameter only once, got {text}")
    parameters = inspect.signature(table[name]).parameters
    for parameter in given:
        if parameter not in parameters:
            raise ValueError(str(unknown_argument(name, parameter, parameters)))
    missing = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty and parameter.name not in given
    ]
    if missing:
        raise ValueError(f"{name} needs a value for {', '.join(missing)}, got {text}")
    values = {parameter: _value(parameter, value) for parameter, value in given.items()}
    return table[name](**values)


def _value(parameter: str, node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        return construct(node, "schedule", schedules.BY_NAME)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):  # TypeError: a set or dictionary of unhashable things
        raise ValueError(
            f"{parameter} must be a Python literal or a schedule with its parameters, "
            f"got {ast.unparse(node)}"
        ) from None


def _malformed(kind: str, text: str) -> str:
    return f"{kind} must be written as name or name(parameter=value, ...), got {text!r}"


def parse_schedule(text: str) -> Schedule:
    """A schedule from its written form, such as "flat_cosine(initial=0.15)".

    Raises
    ------
    TypeError, ValueError
        As `optimizers.parse`.
    """
    return construct(expression(text, "schedule"), "schedule", schedules.BY_NAME)


def write_schedule(schedule: Schedule) -> str:
    """The written form of a schedule of `schedules.BY_NAME`, which `parse_schedule` reads."""
    name = next(name for name, kind in schedules.BY_NAME.items() if kind is type(schedule))
    given = []
    for one in fields(schedule):
        value = getattr(schedule, one.name)
        if one.default is MISSING or value != one.default:
            given.append(f"{one.name}={_write_value(value)}")
    return f"{name}({', '.join(given)})"


def _write_value(value):
    if isinstance(value, Schedule):
        return write_schedule(value)
    return repr(value.item() if hasattr(value, "item") else value)  # of NumPy, or Python's own
