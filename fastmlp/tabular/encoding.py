"""Columns of a table as the float32 inputs of a network, learnt from training rows.

Numbers, also those of dates, are scaled by median and quartiles and bent smoothly into (-3, 3).
Categories become a few columns that are treated alike, or codes for an embedding. This is RealMLP's
preprocessing (Holzmüller et al. 2024, arXiv:2407.04491). Missing numbers become the mean, and an
indicator tells where they were.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastmlp.inputs import Categorical, Numeric, quantile_edges
from fastmlp.tabular.columns import (
    PARTS,
    Column,
    as_categories,
    as_dates,
    as_numbers,
    date_parts,
    missing_of,
    named_categories,
    sort_of,
)
from fastmlp.tabular.frames import ArrayFrame, read_frame

# RealMLP's: the most categories that are one-hot, and the size of the embedding of more.
MOST_ONE_HOT = 8
EMBEDDING_SIZE = 8

# Where scaled numbers bend: RealMLP's.
BEND = 3.0

# Scaled numbers beyond are as good as infinite, and their squares must not be.
FAR = 1e9

# Differences of larger numbers may overflow.
_HUGE = 1e300

# Numbers that are encoded together, so that what is between table and result stays in cache.
_BLOCK = 1 << 16

# Tables of so few rows are encoded row by row: to read columns would take longer.
_FEW = 16

# Types of values that become the same number in a row as in a column.
_NUMBERS = {float, int, bool, type(None), np.float64, np.float32, np.int64, np.int32, np.bool_}

# Kinds of columns that may come where one of a kind was learnt.
_ACCEPTED = {
    "number": ("number", "boolean", "missing"),
    "boolean": ("boolean", "number", "category", "missing"),
    "category": ("category", "number", "boolean", "missing"),
    "date": ("date", "missing"),
}


def robust_scaling(values: np.ndarray, counts: np.ndarray | None = None) -> tuple[float, float]:
    """Median of numbers, and the factor of the distance from it, as RealMLP has them.

    The factor is 1 / (q75 - q25); where these quartiles are equal 2 / (max - min); and 0 where all
    numbers are equal. Quantiles are interpolated linearly.

    Parameters
    ----------
    values : ndarray of float64, (n,)
        Finite.
    counts : ndarray of int, (n,), or None, default None
        How often each of them is there, from 1 up; they must be in ascending order then. None is
        once, in any order.

    Returns
    -------
    center, scale : float
    """
    if np.abs(values).max() > _HUGE:
        center, scale = robust_scaling(values / 1024, counts)
        return center * 1024, scale / 1024
    quarters = (0.25, 0.5, 0.75)
    if counts is None:
        lower, center, upper = np.quantile(values, quarters)
    else:
        lower, center, upper = (_quantile(values, counts, q) for q in quarters)
    spread, factor = upper - lower, 1.0
    if spread == 0:
        spread, factor = values.max() - values.min(), 2.0
    if spread == 0:
        return float(center), 0.0
    with np.errstate(over="ignore"):
        return float(center), float(min(factor / spread, np.finfo(np.float64).max))


def _quantile(values, counts, q):
    """The quantile of ascending values that are there several times each."""
    last = np.cumsum(counts) - 1
    position = q * last[-1]
    below, above = values[np.searchsorted(last, [math.floor(position), math.ceil(position)])]
    return below + (above - below) * (position - math.floor(position))


def squash(values: np.ndarray, center: Any, scale: Any) -> np.ndarray:
    """Scale numbers and bend them: z / sqrt(1 + (z / 3)^2) of z = scale (values - center)."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        z = np.clip((values - center) * scale, -FAR, FAR)
        return z / np.sqrt(1 + (z / BEND) ** 2)


@dataclass(frozen=True)
class Number:
    """What becomes of numbers: of a column, or of a part of dates.

    Infinite ones are as the smallest and the largest finite one of training. Missing ones become
    `mean`, that of training after scaling and bending.
    """

    smallest: float
    largest: float
    center: float
    scale: float
    mean: float

    def __post_init__(self):
        if not all(type(value) is float and math.isfinite(value) for value in vars(self).values()):
            raise ValueError(f"a number's description must have finite numbers, got {vars(self)}")

    @classmethod
    def learn(cls, values: np.ndarray) -> "Number | None":
        """Learn from float64 numbers, some of which are finite; None if all of these are equal."""
        finite = values[np.isfinite(values)]
        smallest, largest = finite.min(), finite.max()
        if smallest == largest:
            return None
        if len(finite) < len(values):
            finite = np.clip(values[~np.isnan(values)], smallest, largest)
        center, scale = robust_scaling(finite)
        mean = squash(finite, center, scale).mean()
        return cls(float(smallest), float(largest), center, scale, float(mean))

    def write(self, values: np.ndarray, out: np.ndarray) -> None:
        """Encode float64 numbers (n,) into a column of the result."""
        setting = vars(self).values()
        for start in range(0, len(values), _BLOCK):
            out[start : start + _BLOCK] = _encoded(values[start : start + _BLOCK], *setting)


def _encoded(values, smallest, largest, center, scale, mean):
    """Numbers as inputs; settings are numbers, or arrays with one for each column."""
    if np.isfinite(values).all():
        return squash(values, center, scale)
    values = np.where(values == np.inf, largest, np.where(values == -np.inf, smallest, values))
    return np.where(np.isnan(values), mean, squash(values, center, scale))


@dataclass(frozen=True)
class Feature:
    """What becomes of one column of the table.

    Parameters
    ----------
    kind : {"number", "boolean", "category", "date", "dropped"}
        "dropped" is a column that was constant in training: nobody looks at it.
    numbers : dict of str to Number
        "value" of a column of numbers, or parts of dates; without what was constant.
    indicator : tuple of two float, or None
        Inputs for a value that is there, and for one that is missing, or infinite; None if there
        was none in training.
    categories : tuple
        Those of training, in ascending order.
    table : tuple of tuple of float
        Inputs for each category, and last those for a missing or unknown one; empty where the
        categories have codes for an embedding.
    """

    kind: str
    numbers: dict[str, Number]
    indicator: tuple[float, float] | None = None
    categories: tuple = ()
    table: tuple[tuple[float, ...], ...] = ()

    @property
    def n_others(self) -> int:
        """Inputs that are neither numbers nor codes."""
        return (self.indicator is not None) + (len(self.table[0]) if self.table else 0)

    @property
    def has_codes(self) -> bool:
        """Whether its categories are embedded."""
        return bool(self.categories) and not self.table

    def described(self) -> dict:
        """Plain values, fit for JSON."""
        values: dict = {"kind": self.kind}
        if self.numbers:
            values["numbers"] = {name: asdict(number) for name, number in self.numbers.items()}
        if self.indicator is not None:
            values["indicator"] = list(self.indicator)
        if self.categories:
            values["categories"] = list(self.categories)
            values["table"] = [list(row) for row in self.table]
        return values

    @classmethod
    def from_description(cls, values: dict) -> "Feature":
        """The feature that `described` is about; ValueError, KeyError or TypeError if none is."""
        kind = values["kind"]
        numbers = {name: Number(**number) for name, number in values.get("numbers", {}).items()}
        table = tuple(map(tuple, values.get("table", ())))
        categories = tuple(values.get("categories", ()))
        indicator = values.get("indicator")
        widths = {len(row) for row in table}
        inputs = [*(indicator or ()), *(value for row in table for value in row)]
        named = {"number": {"value"}, "date": set(PARTS)}.get(kind, set())
        is_good = (
            kind in ("dropped", *_ACCEPTED)
            and numbers.keys() <= named
            and bool(categories) == (kind in ("boolean", "category"))
            and (indicator is None or len(indicator) == 2)
            and (not table or (len(table) == len(categories) + 1 and len(widths) == 1))
            and all(type(value) is float and math.isfinite(value) for value in inputs)
            and all(type(value) in (str, int, float, bool) for value in categories)
        )
        if not is_good:
            raise ValueError(f"no column can be encoded by the description {values!r:.200}")
        return cls(kind, numbers, indicator and (indicator[0], indicator[1]), categories, table)


def _learn(column, where):
    """What becomes of a column, by its kind."""
    if missing_of(column).all():
        raise ValueError(
            f"{where} must have a value that is not missing, got none in {len(column.values)} rows"
        )
    if column.kind == "category":
        return _learn_categories(column, "category")
    if column.kind == "boolean":
        return _learn_categories(as_categories(column, where), "boolean")
    if column.kind == "date":
        dates = as_dates(column).values
        parts, absent = date_parts(dates), np.isnat(dates)
    else:
        values = as_numbers(column)
        parts, absent = {"value": values}, ~np.isfinite(values)
        if absent.all():
            raise ValueError(f"{where} must have a finite number, got none in {len(values)} rows")
    learnt = {name: Number.learn(values) for name, values in parts.items()}
    numbers = {name: number for name, number in learnt.items() if number is not None}
    indicator = _indicator(int(absent.sum()), len(absent))
    kind = "dropped" if not numbers and indicator is None else column.kind
    return Feature(kind, numbers, indicator)


def _indicator(n_absent, n_rows):
    """Inputs for a value that is there and one that is not, scaled as all others are."""
    if n_absent == 0:
        return None
    values = np.array([0.0, 1.0])
    inputs = squash(values, *robust_scaling(values, np.array([n_rows - n_absent, n_absent])))
    return tuple(inputs.tolist())


def _learn_categories(column, kind):
    """What becomes of categories: those that some row has, in ascending order."""
    present = column.values[column.values >= 0]
    counts = np.bincount(present, minlength=len(column.categories))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda code: column.categories[code])
    categories = tuple(column.categories[code] for code in order)
    n_missing = len(column.values) - len(present)
    if len(categories) == 1 and n_missing == 0:
        return Feature("dropped", {})
    table = ()
    if len(categories) <= MOST_ONE_HOT:
        table = _one_hot(np.append(counts[order], n_missing))
    return Feature(kind, {}, None, categories, table)


def _one_hot(counts):
    """Inputs for each category and for a missing one, which is as often as the last count says.

    Two categories are one column of 1 and -1, with 0 for a missing one.
    """
    n_categories = len(counts) - 1
    if n_categories == 2:
        plain = np.array([[1.0], [-1.0], [0.0]])
    else:
        plain = np.eye(n_categories + 1, n_categories)
    scaled = np.empty_like(plain)
    for values, out in zip(plain.T, scaled.T, strict=True):
        order = np.argsort(values)
        order = order[counts[order] > 0]
        out[:] = squash(values, *robust_scaling(values[order], counts[order]))
    return tuple(map(tuple, scaled.tolist()))


class Encoding:
    """How the columns of a table become the inputs of a network.

    `learn` makes one from training rows, `from_description` from what was kept of one. The inputs
    are numbers first, which networks may embed; then one-hot columns and indicators; then codes of
    categories.

    A column of numbers is one input, and an indicator if there were missing or infinite ones in
    training; booleans are one input; categories a column for each if there are at most 8, but one
    of 1 and -1 for two, else a code. Dates are year, month, day of the week and the sine and cosine
    of the time of day as an angle, as numbers. What was constant in training is dropped.

    However many categories a column of texts has, each that was seen in training has its own code:
    a column that is nearly all different, such as names of persons, teaches a network nothing, and
    is better left out of the table.

    Attributes
    ----------
    names : tuple of str, or None
        Of the table's columns.
    kinds : tuple of str
        Of each column of the table: "number", "boolean", "category", "date" or "dropped".
    n_columns, n_inputs : int
        Columns of the table, and of what `encode` returns.
    """

    def __init__(self, names: tuple[str, ...] | None, features: tuple[Feature, ...]):
        self.names = names
        self.features = features
        self.n_columns = len(features)
        self.n_numbers = sum(len(feature.numbers) for feature in features)
        n_others = sum(feature.n_others for feature in features)
        n_codes = sum(feature.has_codes for feature in features)
        self.n_inputs = self.n_numbers + n_others + n_codes
        self._first_code = self.n_numbers + n_others
        self._place()

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(feature.kind for feature in self.features)

    def _place(self):
        """Decide where inputs stand: those of columns of numbers side by side."""
        numbers = [i for i, one in enumerate(self.features) if one.kind == "number"]
        numbers.sort(key=lambda i: not self.features[i].numbers)
        order = numbers + [
            i for i, one in enumerate(self.features) if one.kind not in ("number", "dropped")
        ]
        # Where the numbers, the other inputs and the code of each feature begin.
        self._places = {}
        number, other, code = 0, self.n_numbers, self._first_code
        for i in order:
            feature = self.features[i]
            self._places[i] = (number, other, code)
            number += len(feature.numbers)
            other += feature.n_others
            code += feature.has_codes
        self._sources = np.array(numbers, np.intp)
        self._settings = (
            np.array(
                [
                    list(vars(self.features[i].numbers["value"]).values())
                    for i in numbers
                    if self.features[i].numbers
                ]
            )
            .reshape(-1, 5)
            .T
        )
        with_indicator = [k for k, i in enumerate(numbers) if self.features[i].indicator]
        self._indicated = np.array(with_indicator, np.intp)
        indicators = [self.features[numbers[k]].indicator for k in with_indicator]
        self._there, self._absent = np.array(indicators).reshape(-1, 2).T
        self._only_numbers = len(order) == len(numbers)
        self._lookups = {i: _Lookup(self.features[i]) for i in order if self.features[i].categories}
        self._dates = [i for i in order if self.features[i].kind == "date"]

    @classmethod
    def learn(
        cls, X: Any, categorical_features: Any = "from_dtype", rows: np.ndarray | None = None
    ) -> "Encoding":
        """Learn how to encode a table.

        Parameters
        ----------
        X : Frame, array_like (n, n_columns), sparse matrix or data frame
        categorical_features : "from_dtype", None, or array_like of str, int or bool
            Columns of numbers that are categories: their names or indices, or a mask. Texts,
            booleans and categories of a data frame are so by their dtype.
        rows : ndarray of int or bool, or None, default None
            Which rows to learn from; None is all.

        Raises
        ------
        ValueError
            If a column has no value that is not missing, or values of several kinds; if all columns
            are constant; for a table without rows or columns or with names twice; for unknown
            `categorical_features`.
        TypeError
            For values of which neither numbers nor categories can be made.
        """
        frame = read_frame(X)
        named = named_categories(categorical_features, frame.names, frame.n_columns)
        features = []
        for i in range(frame.n_columns):
            column, where = frame.column(i), frame.where(i)
            if rows is not None:
                column = column.take(rows)
            if i in named and not missing_of(column).all():
                column = as_categories(column, where)
            features.append(_learn(column, where))
        encoding = cls(frame.names, tuple(features))
        if encoding.n_inputs == 0:
            n_rows = len(column.values)
            raise ValueError(
                f"{frame.argument} must have a column that varies, but all {frame.n_columns} are "
                f"constant in {n_rows} sample{'s' if n_rows > 1 else ''}"
            )
        return encoding

    def encode(self, X: Any) -> np.ndarray:
        """Encode a table.

        Parameters
        ----------
        X : Frame, array_like (n, n_columns), sparse matrix or data frame
            Of columns as in training. Those with names may be in any order.

        Returns
        -------
        ndarray of float32, (n, n_inputs), C-contiguous
            Finite. Codes of categories are -1 for missing and unknown ones.

        Raises
        ------
        ValueError, TypeError
            If columns are missing, or there are others; if a column holds another kind of values
            than in training; and for values that `learn` does not take.
        """
        frame = read_frame(X)
        order = self._order(frame)
        out = np.empty((frame.n_rows, self.n_inputs), np.float32)
        numbers = frame.numbers if isinstance(frame, ArrayFrame) else None
        if numbers is not None and self._only_numbers:
            self._encode_array(numbers, out)
        elif frame.n_rows > _FEW or not self._encode_rows(frame, order, out):
            for i in self._places:
                self._encode_column(i, frame.column(order[i]), frame.where(order[i]), out)
        return out

    def _order(self, frame):
        """Where each of the learnt columns is in a table."""
        if self.names is None or frame.names is None:
            if frame.n_columns != self.n_columns:
                # In the words of scikit-learn's checks.
                raise ValueError(
                    f"{frame.argument} has {frame.n_columns} features, but fastmlp is expecting "
                    f"{self.n_columns} features as input"
                )
            return range(self.n_columns)
        if frame.names == self.names:
            return range(self.n_columns)
        where = {name: i for i, name in enumerate(frame.names)}
        known = set(self.names)
        added = [name for name in frame.names if name not in known]
        missing = [name for name in self.names if name not in where]
        if added or missing:
            # In the words of scikit-learn's checks.
            message = "The feature names should match those that were passed during fit.\n"
            if added:
                message += f"Feature names unseen at fit time:\n{_lines(added)}"
            if missing:
                message += f"Feature names seen at fit time, yet now missing:\n{_lines(missing)}"
            raise ValueError(message)
        return [where[name] for name in self.names]

    def _encode_array(self, array, out):
        """Encode an array of floats, where all columns are numbers."""
        step = max(1, _BLOCK // self.n_columns)
        for start in range(0, len(array), step):
            part = array[start : start + step, self._sources]
            self._write_numbers(part.astype(np.float64, copy=False), out[start : start + step])

    def _write_numbers(self, values, out):
        """Encode all columns of numbers at once: float64 (n, number of them)."""
        n_scaled = self._settings.shape[1]
        out[:, :n_scaled] = _encoded(values[:, :n_scaled], *self._settings)
        if len(self._indicated):
            is_there = np.isfinite(values[:, self._indicated])
            inputs = np.where(is_there, self._there, self._absent)
            out[:, self.n_numbers : self.n_numbers + len(self._indicated)] = inputs

    def _encode_rows(self, frame, order, out):
        """Encode a few rows of plain values; False if some are not so plain."""
        rows = frame.rows()
        if rows is None:
            return False
        sources = [order[i] for i in self._sources.tolist()]
        picked = [[row[i] for i in sources] for row in rows]
        if not all(_NUMBERS.issuperset(map(type, values)) for values in picked):
            return False
        try:
            values = np.array(picked, np.float64)
        except OverflowError:
            return False
        if sources:
            self._write_numbers(values, out)
        for i, lookup in self._lookups.items():
            inputs = lookup.of([row[order[i]] for row in rows])
            if inputs is None:
                return False
            _, other, code = self._places[i]
            if self.features[i].table:
                out[:, other : other + self.features[i].n_others] = inputs
            else:
                out[:, code] = inputs
        for i in self._dates:
            self._encode_column(i, frame.column(order[i]), frame.where(order[i]), out)
        return True

    def _encode_column(self, i, column, where, out):
        """Encode a column into its places in the result."""
        feature = self.features[i]
        number, other, code = self._places[i]
        column = _as_learnt(feature, column, where)
        if feature.categories:
            codes = _codes_of(feature.categories, column)
            if feature.table:
                table = np.array(feature.table, np.float32)
                _look_up(table, codes, out[:, other : other + table.shape[1]])
            else:
                out[:, code] = codes
            return
        if feature.kind == "date":
            parts = date_parts(column.values)
            absent = np.isnat(column.values)
        else:
            parts = {"value": as_numbers(column)}
            absent = ~np.isfinite(parts["value"])
        for k, (name, one) in enumerate(feature.numbers.items()):
            one.write(parts[name], out[:, number + k])
        if feature.indicator is not None:
            out[:, other] = np.where(absent, feature.indicator[1], feature.indicator[0])

    def inputs(
        self,
        embedding: str | None = None,
        X: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> list:
        """Make the `inputs` of `fastmlp.MLP` for encoded rows.

        Parameters
        ----------
        embedding : None, "periodic" or "piecewise_linear", default None
            Of the numbers: see `fastmlp.Numeric`. One-hot columns and indicators enter as they are.
        X : ndarray of float32, (n, n_inputs), or None, default None
            Encoded training rows, of which "piecewise_linear" takes quantiles as edges.
        rows : ndarray, or None, default None
            Which rows of X, as NumPy indexes them; None is all.

        Returns
        -------
        list of Numeric and Categorical
            Codes have an embedding of 8 numbers.
        """
        numbers = list(range(self.n_numbers))
        entries: list[Numeric | Categorical] = []
        if numbers and embedding is not None:
            edges = None
            if embedding == "piecewise_linear" and X is not None:
                edges = quantile_edges(X if rows is None else X[rows], numbers)
            entries.append(Numeric(numbers, embedding, edges=edges))
        for i in self._places:
            feature = self.features[i]
            if feature.has_codes:
                code = self._places[i][2]
                entries.append(Categorical(code, len(feature.categories), EMBEDDING_SIZE))
        return entries

    def inputs_of(self, i: int) -> list[int]:
        """Which inputs a column of the table has become; none of a constant one."""
        if i not in self._places:
            return []
        number, other, code = self._places[i]
        feature = self.features[i]
        return [
            *range(number, number + len(feature.numbers)),
            *range(other, other + feature.n_others),
            *range(code, code + feature.has_codes),
        ]

    def described(self) -> dict:
        """All that was learnt as plain values, fit for JSON."""
        return {
            "names": None if self.names is None else list(self.names),
            "columns": [feature.described() for feature in self.features],
        }

    @classmethod
    def from_description(cls, values: dict) -> "Encoding":
        """Make the encoding that `described` is about.

        Raises
        ------
        ValueError
            If the values are not such.
        """
        try:
            names = None if values["names"] is None else tuple(values["names"])
            features = tuple(map(Feature.from_description, values["columns"]))
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(f"values must be those of Encoding.described: {error!r}") from None
        if names is not None and len(names) != len(features):
            raise ValueError(
                f"values must have a name for each of the {len(features)} columns, got {len(names)}"
            )
        return cls(names, features)


class _Lookup:
    """The inputs of each category, for a few values at a time."""

    def __init__(self, feature: Feature):
        inputs = feature.table[:-1] if feature.table else range(len(feature.categories))
        self._inputs: dict = dict(zip(feature.categories, inputs, strict=True))
        self._unknown = feature.table[-1] if feature.table else -1
        is_text = sort_of(feature.categories) == "text"
        self._types = {str, type(None)} if is_text else _NUMBERS

    def of(self, values):
        """Inputs of the values; None if some must be looked at more closely."""
        values = [None if type(value) is float and value != value else value for value in values]
        if not self._types.issuperset(map(type, values)):
            return None
        return [self._inputs.get(value, self._unknown) for value in values]


def _as_learnt(feature, column, where):
    """A column as one of the kind that was learnt; ValueError if it is of another."""
    are_numbers = column.kind == "category" and sort_of(column.categories) == "number"
    if feature.kind == "number" and are_numbers:
        # The last is where the code of a missing value, -1, leads.
        values = np.array([*column.categories, np.nan], np.float64)
        return Column("number", values[column.values])
    if column.kind in _ACCEPTED[feature.kind]:
        if not feature.categories:
            return as_dates(column) if feature.kind == "date" else column
        found = as_categories(column, where)
        if not found.categories or sort_of(found.categories) == sort_of(feature.categories):
            return found
    if missing_of(column).all():  # which says nothing about the kind
        return _as_learnt(feature, Column("missing", np.full(len(column.values), np.nan)), where)
    learnt = Column(feature.kind, column.values, None, feature.categories).plural
    raise ValueError(f"{where} must hold {learnt}, as in training, but holds {column.plural}")


def _codes_of(categories, column):
    """Codes of the learnt categories for a column with codes of its own, -1 for unknown ones."""
    codes = {category: code for code, category in enumerate(categories)}
    learnt = [codes.get(category, -1) for category in column.categories]
    # The last is where the code of a missing value, -1, leads.
    return np.array([*learnt, -1])[column.values]


def _look_up(table, codes, out):
    """Rows of a table, of which the last is for the code -1."""
    for start in range(0, len(codes), _BLOCK):
        out[start : start + _BLOCK] = table[codes[start : start + _BLOCK]]


def _lines(names):
    """Names in lines, as scikit-learn lists them."""
    shown = sorted(names)[:5]
    more = ["..."] if len(names) > 5 else []
    return "".join(f"- {name}\n" for name in [*shown, *more])
