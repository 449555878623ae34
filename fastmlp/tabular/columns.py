"""One column of a table: what kind it is of, and its values as NumPy keeps them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastmlp.feature_names import listing, shown

# What a value in a column of objects may be, by the kind of column that it makes.
_PLURALS = {
    "number": "numbers",
    "boolean": "booleans",
    "category": "texts",
    "date": "dates",
}

# What `date_parts` makes of a date.
PARTS = ("year", "month", "day_of_week", "time_sin", "time_cos")

_EPOCH = date(1970, 1, 1)

# Values of a column of objects that are looked at together, so that lists of them stay small.
_BLOCK = 1 << 16

# Digits of the sine and cosine of a time of day: sin(pi) is not quite 0, and a column that only
# varies by rounding is constant.
_DIGITS = 9


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    kind : {"number", "boolean", "category", "date", "missing"}
        "missing" is a column of objects that are all missing, and could be of any kind.
    values : ndarray, (n,)
        Real numbers, in which NaN is missing; of booleans their truth; of dates datetime64, in
        which NaT is missing; of categories codes, in which -1 is missing.
    missing : ndarray of bool, (n,), or None
        What is missing besides that; None is nothing.
    categories : tuple
        What codes stand for: texts, numbers or booleans, all of one sort.
    """

    kind: str
    values: np.ndarray
    missing: np.ndarray | None = None
    categories: tuple = ()

    def take(self, rows: np.ndarray) -> "Column":
        """The column of some rows."""
        missing = None if self.missing is None else self.missing[rows]
        return replace(self, values=self.values[rows], missing=missing)

    @property
    def plural(self) -> str:
        """What it holds, for a message."""
        if self.kind == "category" and sort_of(self.categories) != "text":
            return "categories"
        return _PLURALS[self.kind]


def from_array(values: np.ndarray, where: str, missing: np.ndarray | None = None) -> Column:
    """Make a column of an array; its dtype says which kind, or its elements if they are objects.

    Parameters
    ----------
    values : ndarray, (n,)
    where : str
        What to call the column in messages.
    missing : ndarray of bool, (n,), or None

    Raises
    ------
    TypeError
        If there are values of which no number or category can be made.
    ValueError
        If there are values of several kinds, such as numbers and texts.
    """
    kind = values.dtype.kind
    if values.ndim != 1:
        raise TypeError(f"{where} must hold single values, got arrays of {values.shape[1:]}")
    if kind in "fiu":
        return Column("number", values, missing)
    if kind == "b":
        return Column("boolean", values, missing)
    if kind == "M":
        return Column("date", values, missing)
    if kind == "m":
        seconds = values / np.timedelta64(1, "s")
        return Column("number", seconds, missing)
    if kind == "c":
        raise ValueError(f"Complex data not supported: {where} has the dtype {values.dtype}")
    if kind not in "UOT":
        raise TypeError(
            f"{where} must hold numbers, texts, booleans or dates, got the dtype {values.dtype}"
        )
    objects = values.astype(object, copy=missing is not None)
    if missing is not None:
        objects[missing] = None
    return _from_objects(objects, where)


def _from_objects(objects, where):
    """Make a column of Python's objects: all of one kind, or missing."""
    kind = _kind_of_all(objects, where)
    if kind == "missing":
        return Column("missing", np.full(len(objects), np.nan))
    if kind == "category":
        return _coded(objects)
    missing = np.fromiter(map(_is_missing, objects), bool, len(objects))
    present = objects[~missing]
    if kind == "boolean":
        values = np.zeros(len(objects), bool)
        values[~missing] = present.astype(bool)
        return Column("boolean", values, missing)
    if kind == "date":
        values = np.full(len(objects), np.datetime64("NaT", "us"))
        values[~missing] = [_wall_time(value) for value in present]
        return Column("date", values)
    return _numbers_of(present, missing, where)


def _numbers_of(present, missing, where):
    """Make a column of objects that are numbers; integers stay such, if they may be categories."""
    if all(issubclass(kind, Integral) for kind in set(map(type, present))):
        values = np.zeros(len(missing), np.int64)
        try:
            values[~missing] = present
            return Column("number", values, missing)
        except OverflowError:  # float64 has room for more
            pass
    values = np.full(len(missing), np.nan)
    try:
        values[~missing] = present.astype(np.float64)
    except OverflowError:
        raise ValueError(f"{where} must hold numbers that float64 has room for") from None
    return Column("number", values)


def _kind_of_all(objects, where):
    """The one kind of all objects that are not missing; "missing" if there are none."""
    kind_of = {kind: _kind_of(kind) for kind in set(map(type, objects))}
    if None in kind_of.values():
        row = next(i for i, value in enumerate(objects) if kind_of[type(value)] is None)
        # "must be a string, a number" are scikit-learn's words, which its checks look for.
        raise TypeError(
            f"{where}: each value of the argument must be a string, a number, a boolean, a date "
            f"or missing, got {_shown(objects[row])} in row {row}"
        )
    kinds = set(kind_of.values()) - {"missing"}
    if len(kinds) > 1:
        # Floats may all be NaN, which is a missing text as well.
        firsts: dict[str, int] = {}
        for row, value in enumerate(objects):
            kind = kind_of[type(value)]
            if kind not in firsts and not _is_missing(value):
                firsts[kind] = row
        if len(firsts) > 1:
            found = " and ".join(
                f"{_PLURALS[kind]} such as {_shown(objects[row])} in row {row}"
                for kind, row in firsts.items()
            )
            raise ValueError(f"{where} must hold values of one kind, got {found}")
        kinds = set(firsts)
    return kinds.pop() if kinds else "missing"


def _kind_of(kind):
    """The kind of column that objects of a type make; None if there is none."""
    # pandas' mark of a missing date is a subclass of datetime.
    if kind is type(None) or kind.__name__ in ("NAType", "NaTType"):
        return "missing"
    if issubclass(kind, str):
        return "category"
    if issubclass(kind, bool | np.bool_):
        return "boolean"
    if issubclass(kind, date | time | np.datetime64):
        return "date"
    if issubclass(kind, Real | Decimal) and not issubclass(kind, np.timedelta64):
        return "number"
    return None


def _is_missing(value):
    if isinstance(value, Decimal):  # of which some cannot be compared
        return value.is_nan()
    return value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value)


def _shown(value):
    text = shown(value)
    return text if len(text) <= 50 else f"{text[:47]}..."


def _wall_time(value):
    """A date or time of Python's as datetime64, by the clock of its own time zone."""
    if isinstance(value, time):
        value = datetime.combine(_EPOCH, value)
    if isinstance(value, datetime):
        value = value.replace(tzinfo=None)
    return np.datetime64(value, "us")


def _coded(objects):
    """Make a column of codes of texts; what is no text among them is missing."""
    found: dict[str, int] = {}
    codes = np.empty(len(objects), np.intp)
    for start in range(0, len(objects), _BLOCK):
        codes[start : start + _BLOCK] = [
            found.setdefault(value, len(found)) if isinstance(value, str) else -1
            for value in objects[start : start + _BLOCK]
        ]
    return Column("category", codes, None, tuple(map(str, found)))


def of_categories(codes: np.ndarray, categories: np.ndarray, where: str) -> Column:
    """Make a column of codes of the categories of a container, -1 for a missing one.

    Categories that are no texts, numbers or booleans, such as intervals, are taken by their text.
    """
    values = categories.astype(object).tolist()
    sorts = {_kind_of(type(value)) for value in values}
    if not sorts <= {"category", "number", "boolean"}:
        return Column("category", codes, None, tuple(map(str, values)))
    if len(sorts) > 1:
        found = " and ".join(sorted(_PLURALS[sort] for sort in sorts))
        raise ValueError(f"{where} must have categories of one kind, got {found}")
    return Column("category", codes, None, tuple(map(_plain, values)))


def as_categories(column: Column, where: str) -> Column:
    """A column as one of categories: numbers and booleans are categories by their values.

    Numbers that are not finite are missing.

    Raises
    ------
    ValueError
        For dates, which are no categories.
    """
    if column.kind == "category":
        return column
    if column.kind == "date":
        raise ValueError(f"{where} must not be categorical, since it holds dates")
    if column.kind == "missing":
        return Column("category", np.full(len(column.values), -1))
    missing = missing_of(column) | np.isinf(column.values)
    found, inverse = np.unique(column.values[~missing], return_inverse=True)
    codes = np.full(len(missing), -1)
    codes[~missing] = inverse
    return Column("category", codes, None, tuple(_plain(value) for value in found))


def _plain(value):
    """A category as JSON has it; whole numbers are integers, however a column keeps them."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    value = float(value)
    return int(value) if math.isfinite(value) and value.is_integer() else value


def sort_of(categories: Sequence[Any]) -> str:
    """What categories are: "text", or "number", which booleans are as well."""
    return "text" if categories and isinstance(categories[0], str) else "number"


def as_numbers(column: Column) -> np.ndarray:
    """Numbers or booleans as float64, NaN for a missing one; the column's own array if it is so."""
    values = column.values.astype(np.float64, copy=False)
    if column.missing is not None and column.missing.any():
        return np.where(column.missing, np.nan, values)
    return values


def as_dates(column: Column) -> Column:
    """A column of dates, or one of which all is missing, as datetime64 with NaT where missing."""
    if column.kind == "missing":
        return Column("date", np.full(len(column.values), np.datetime64("NaT", "us")))
    if column.missing is None:
        return column
    return Column("date", np.where(column.missing, np.datetime64("NaT"), column.values))


def missing_of(column: Column) -> np.ndarray:
    """Which values are missing."""
    if column.kind == "category":
        missing = column.values < 0
    elif column.kind == "date":
        missing = np.isnat(column.values)
    else:
        missing = np.isnan(column.values)
    return missing if column.missing is None else missing | column.missing


def date_parts(values: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of dates: year, month, day of the week, and the time of day as an angle.

    Parameters
    ----------
    values : ndarray of datetime64, (n,)

    Returns
    -------
    dict of str to ndarray of float64, (n,)
        "year"; "month" from 1; "day_of_week" from 0, Monday; "time_sin" and "time_cos" of an angle
        that a day goes round once, from midnight. NaN for NaT.
    """
    values = values.astype("datetime64[us]")
    months = values.astype("datetime64[M]")
    days = values.astype("datetime64[D]")
    month = months.astype(np.int64)
    angle = 2 * np.pi * ((values - days) / np.timedelta64(1, "D"))
    parts = {
        "year": 1970.0 + month // 12,
        "month": 1.0 + month % 12,
        # 1970 began on a Thursday.
        "day_of_week": (days.astype(np.int64) + 3) % 7.0,
        "time_sin": np.round(np.sin(angle), _DIGITS),
        "time_cos": np.round(np.cos(angle), _DIGITS),
    }
    for numbers in parts.values():
        numbers[np.isnat(values)] = np.nan
    return parts


def named_categories(
    categorical_features: Any, names: tuple[str, ...] | None, n_columns: int
) -> set[int]:
    """Check `categorical_features`; return which columns they name.

    Parameters
    ----------
    categorical_features : "from_dtype", None, or array_like of str, int or bool
        Names, indices from 0, or a mask with one flag for each column. "from_dtype" and None name
        none.
    names : tuple of str, or None
        Of the table's columns.
    n_columns : int

    Raises
    ------
    TypeError, ValueError
        If it is anything else, or names a column that is not there.
    """
    allowed = '"from_dtype", or names, indices or a mask of columns'
    if categorical_features is None:
        return set()
    if isinstance(categorical_features, str):
        if categorical_features == "from_dtype":
            return set()
        raise ValueError(f"categorical_features must be {allowed}, got {categorical_features!r}")
    given = list(categorical_features) if np.iterable(categorical_features) else [None]
    if all(isinstance(one, bool | np.bool_) for one in given) and given:
        if len(given) != n_columns:
            raise ValueError(
                f"categorical_features must have one flag for each of the {n_columns} columns, "
                f"got {len(given)}"
            )
        return {i for i, flag in enumerate(given) if flag}
    if all(isinstance(one, str) for one in given):
        return _by_name(given, names)
    found = set()
    for one in given:
        if not isinstance(one, Integral) or isinstance(one, bool):
            raise TypeError(f"categorical_features must be {allowed}, got {categorical_features!r}")
        if not 0 <= int(one) < n_columns:
            raise ValueError(
                f"categorical_features must be indices from 0 to {n_columns - 1}, got {one}"
            )
        found.add(int(one))
    return found


def _by_name(given, names):
    if given and names is None:
        raise ValueError(
            f"categorical_features must be indices or a mask where columns have no names, got "
            f"{listing(given)}"
        )
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"categorical_features must name columns of the table, got {listing(unknown)}; its "
            f"columns are {listing(names)}"
        )
    return {names.index(name) for name in given}
