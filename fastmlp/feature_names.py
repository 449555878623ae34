"""Names of features: columns of tables are found by name where a network has names for them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# As many names as fit a message.
_MOST_LISTED = 20


def check_names(names: Any, n_inputs: int) -> tuple[str, ...]:
    """Refuse what are no names of inputs, one for each, all different; return them as a tuple."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"feature_names must be a sequence of names or None, got {names!r}")
    names = tuple(names)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"feature_names must be texts, got {name!r}")
    if len(names) != n_inputs:
        raise ValueError(
            f"feature_names must be one for each of the {n_inputs} inputs, got {len(names)}"
        )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"feature_names must differ, got {listing(repeated)} more than once")
    return tuple(map(str, names))  # without the subclass of NumPy's texts


def names_of(X: Any) -> tuple[str, ...] | None:
    """Names of a data frame's columns; None if X is none, or if they do not tell columns apart."""
    columns = getattr(X, "columns", None)
    if columns is None or callable(columns):
        return None
    names = tuple(columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        return None
    return tuple(map(str, names))


def take_columns(argument: str, X: Any, names: Sequence[str] | None) -> Any:
    """The columns of a data frame that have the `names`, in their order; anything else as it is.

    Raises
    ------
    ValueError
        If a column is missing, or if there are several of the name.
    """
    columns = getattr(X, "columns", None)
    if names is None or columns is None or callable(columns):
        return X
    found = list(columns)
    if not any(isinstance(column, str) for column in found):
        return X
    find_columns(argument, found, names)
    return X if found == list(names) else X[list(names)]


def find_columns(
    what: str,
    columns: Sequence[Any],
    names: Sequence[str],
    why: str = "that the network was trained with",
) -> list[int]:
    """Where the `names` are among the columns of a table.

    Messages call the table `what`, and say by `why` which columns it must have.
    """
    counts = Counter(columns)
    missing = [name for name in names if name not in counts]
    if missing:
        raise ValueError(
            f"{what} must have the columns {why}, but lacks {listing(missing)}; its columns are "
            f"{listing(columns)}"
        )
    repeated = [name for name in names if counts[name] > 1]
    if repeated:
        raise ValueError(
            f"{what} must name each of its columns once, got {listing(repeated)} more than once"
        )
    where = {column: i for i, column in enumerate(columns)}
    return [where[name] for name in names]


def shown(value: Any) -> str:
    """A value for a message, as Python writes it, also if it is one of NumPy's: 0 or 'yes'."""
    is_plain = isinstance(value, np.number | np.bool_ | np.str_ | np.bytes_)
    return repr(value.item() if is_plain else value)


def listing(names: Sequence[Any]) -> str:
    """Names for a message, the first ones if there are many."""
    listed = ", ".join(shown(name) for name in names[:_MOST_LISTED])
    n_more = len(names) - _MOST_LISTED
    return f"{listed} and {n_more} more" if n_more > 0 else listed
