"""How columns of X enter a network: as they are, embedded, or as categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.validation import as_real, check_count, check_finite, check_known, is_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

EMBEDDINGS = ("periodic", "piecewise_linear")

# Numbers that a column becomes, where none is given: RealMLP's three and the value itself
# (Holzmüller et al. 2024, arXiv:2407.04491), TabM's 16 (Gorishniy et al. 2024, arXiv:2410.24210).
SIZES = {"periodic": 4, "piecewise_linear": 16}

# Frequencies of a periodic embedding, and the standard deviation they are drawn with: RealMLP's.
N_FREQUENCIES = 16
FREQUENCY_SCALE = 0.1


@dataclass(frozen=True)
class Numeric:
    """Columns of X that hold numbers.

    Parameters
    ----------
    columns : int or sequence of int
        Which of X, counted from 0.
    embedding : None, "periodic" or "piecewise_linear", default None
        None is the number as it is. "periodic" is RealMLP's PBLD (Holzmüller et al.,
        arXiv:2407.04491): a number x becomes c_j + sum_f V_fj cos(2 pi w_f x + b_f) for
        j < size - 1, and x itself. All of these are trained; the 16 frequencies w_f start from
        N(0, 0.1^2), so that columns should be of a size of about 1, the phases b_f are uniform
        within pi of 0, V and c within 1/4. "piecewise_linear" is TabM's (Gorishniy et al.,
        arXiv:2410.24210): x w_0 + b_0 + sum_t e_t V_t, where e_t says how far x is through bin t of
        `edges`, from 0 to 1, and beyond these on the lines of the first and the last bin; V starts
        at 0, w_0 and b_0 uniform within 1/sqrt(size) of 0. Each column has parameters of its own.
    size : int or None, default None
        Numbers that each column becomes; None is 4 for "periodic", of which one is the number
        itself, and 16 for "piecewise_linear".
    edges : sequence of sequence of float, or None, default None
        Of the bins of "piecewise_linear", ascending, for each column: see `quantile_edges`.

    Raises
    ------
    ValueError, TypeError
        For arguments that are not as above, such as a size without an embedding, or no edges with
        "piecewise_linear".

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> edges = fastmlp.quantile_edges(X, [1, 2], n_bins=8)
    >>> inputs = [
    ...     fastmlp.Numeric(0, "periodic"), fastmlp.Numeric([1, 2], "piecewise_linear", edges=edges)
    ... ]
    >>> net = fastmlp.MLP([3, 16, 1], inputs=inputs, seed=0)
    >>> net.weights[0].shape  # 4 numbers of the first column, 16 of each of the others
    (36, 16)
    """

    columns: Any
    embedding: str | None = None
    size: int | None = None
    edges: Any = None

    def __post_init__(self):
        columns = [self.columns] if isinstance(self.columns, Integral) else self.columns
        if not is_sequence(columns):
            raise TypeError(f"columns must be an integer or a sequence, got {columns!r}")
        columns = tuple(_as_column("columns", column) for column in columns)
        if not columns:
            raise ValueError("columns must name at least one column, got none")
        object.__setattr__(self, "columns", columns)
        if self.embedding is not None:
            check_known("embedding", self.embedding, EMBEDDINGS)
        self._check_size()
        self._check_edges()

    def _check_size(self):
        size = self.size
        if size is None:
            size = SIZES.get(self.embedding or "", 1)
        smallest = 2 if self.embedding == "periodic" else 1
        check_count("size", size, smallest)
        if self.embedding is None and size != 1:
            raise ValueError(f"size must be None or 1 without an embedding, got {size}")
        object.__setattr__(self, "size", int(size))

    def _check_edges(self):
        if self.embedding != "piecewise_linear":
            if self.edges is not None:
                raise ValueError("edges must be None but for embedding='piecewise_linear'")
            return
        if self.edges is None:
            raise ValueError(
                "edges must be given for embedding='piecewise_linear', such as "
                "fastmlp.quantile_edges(X, columns)"
            )
        if not (is_sequence(self.edges) and isinstance(self.edges, Sequence | np.ndarray)):
            raise TypeError(f"edges must have a sequence for each column, got {self.edges!r}")
        if len(self.edges) != len(self.columns):
            raise ValueError(
                f"edges must have one sequence for each of the {len(self.columns)} columns, "
                f"got {len(self.edges)}"
            )
        checked = []
        for i, given in enumerate(self.edges):
            edges = as_real(f"edges[{i}]", given).astype(np.float64)
            check_finite(f"edges[{i}]", edges)
            if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
                raise ValueError(f"edges[{i}] must be two or more ascending numbers, got {given!r}")
            checked.append(tuple(edges.tolist()))
        object.__setattr__(self, "edges", tuple(checked))

    @property
    def width(self) -> int:
        """Inputs of the first layer."""
        return len(self.columns) * int(self.size or 1)

    @property
    def is_as_it_is(self) -> bool:
        """Whether its numbers are inputs of the first layer themselves."""
        return self.embedding is None


@dataclass(frozen=True)
class Categorical:
    """A column of X that holds codes of categories.

    Codes are whole numbers from 0 to n_categories - 1; -1 or NaN is a missing category, which
    enters as zeros.

    Parameters
    ----------
    column : int
        Which of X, counted from 0.
    n_categories : int
    size : int or None, default None
        None is one-hot: an input of the first layer for each category, though no matrix of zeros
        is ever made. Else the size of a trained embedding, drawn from N(0, 1) at the start.

    Raises
    ------
    ValueError, TypeError
        For arguments that are not as above.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> rng = np.random.default_rng(0)
    >>> X = np.column_stack([rng.normal(size=200), rng.integers(0, 30, 200)])
    >>> net = fastmlp.MLP([2, 16, 1], inputs=[fastmlp.Categorical(1, 30, size=4)], seed=0)
    >>> net.predict(X).shape
    (200, 1)
    """

    column: int
    n_categories: int
    size: int | None = None

    is_as_it_is = False

    def __post_init__(self):
        object.__setattr__(self, "column", _as_column("column", self.column))
        check_count("n_categories", self.n_categories)
        if self.size is not None:
            check_count("size", self.size)

    @property
    def columns(self) -> tuple[int, ...]:
        """The column, as one of several."""
        return (self.column,)

    @property
    def width(self) -> int:
        """Inputs of the first layer."""
        return int(self.n_categories if self.size is None else self.size)


def _as_column(name, column):
    if not isinstance(column, Integral) or isinstance(column, bool) or column < 0:
        raise ValueError(f"{name} must be numbers of columns from 0, got {column!r}")
    return int(column)


def check_inputs(inputs, n_columns):
    """Check the entries of `inputs` against the columns of X; return them as a tuple."""
    if inputs is None:
        return ()
    if not is_sequence(inputs):
        raise TypeError(f"inputs must be a sequence of Numeric and Categorical, got {inputs!r}")
    entries, taken = [], set()
    for i, entry in enumerate(inputs):
        if isinstance(entry, dict):  # of a file
            entry = _from_description(entry)
        if not isinstance(entry, Numeric | Categorical):
            raise TypeError(
                f"inputs[{i}] must be a fastmlp.Numeric or fastmlp.Categorical, got {entry!r}"
            )
        for column in entry.columns:
            if column >= n_columns:
                raise ValueError(
                    f"inputs[{i}] must name columns from 0 to {n_columns - 1}, got {column}"
                )
            if column in taken:
                raise ValueError(f"inputs must name each column once, got column {column} again")
            taken.add(column)
        entries.append(entry)
    return tuple(entries)


def in_order(inputs, n_columns):
    """The entries in the order of the first layer's inputs, one-hot ones apart, which come last.

    First come the columns that no entry names, as an entry of their own.
    """
    named = {column for entry in inputs for column in entry.columns}
    plain = tuple(column for column in range(n_columns) if column not in named)
    one_hot = [one for one in inputs if isinstance(one, Categorical) and one.size is None]
    entries = [entry for entry in inputs if entry not in one_hot]
    return ([Numeric(plain)] if plain else []) + entries, one_hot


def check_exact(entries, dtype):
    """Refuse categories and edges that numbers of the dtype cannot tell apart."""
    most = 2 ** (np.finfo(dtype).nmant + 1)
    n_categories = sum(entry.n_categories for entry in entries if isinstance(entry, Categorical))
    if n_categories > most:
        raise ValueError(
            f"inputs must have at most {most} categories in a network of {dtype}, which tells no "
            f"more numbers apart, got {n_categories}"
        )
    for i, entry in enumerate(entries):
        for j, edges in enumerate(getattr(entry, "edges", None) or ()):
            with np.errstate(over="ignore"):
                rounded = np.array(edges).astype(dtype)
            if not (np.isfinite(rounded).all() and (np.diff(rounded) > 0).all()):
                raise ValueError(
                    f"inputs[{i}] must have edges that differ as numbers of {dtype}, got "
                    f"edges[{j}] with two that are equal or one that is infinite: scale the "
                    "column, or take dtype='float64'"
                )


def described(entry):
    """An entry of `inputs` as plain values, fit for JSON."""
    if isinstance(entry, Categorical):
        return {"column": entry.column, "n_categories": entry.n_categories, "size": entry.size}
    values = {"columns": list(entry.columns), "embedding": entry.embedding, "size": entry.size}
    if entry.edges is not None:
        values["edges"] = [list(edges) for edges in entry.edges]
    return values


def _from_description(values):
    return Categorical(**values) if "column" in values else Numeric(**values)


def quantile_edges(
    X: ArrayLike, columns: int | Sequence[int], n_bins: int = 48
) -> list[np.ndarray]:
    """Edges of bins with about as many rows each, for ``Numeric(embedding="piecewise_linear")``.

    Parameters
    ----------
    X : array_like, (n, n_columns)
    columns : int or sequence of int
    n_bins : int, default 48
        The most bins of a column: equal quantiles make one edge. 48 is TabM's number.

    Returns
    -------
    list of ndarray
        Ascending edges of each column, numbers of the dtype of X if that is one of floating
        point; of a column of equal numbers they are that number and a larger one.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> X = np.arange(101.0)[:, None]
    >>> fastmlp.quantile_edges(X, 0, n_bins=4)
    [array([  0.,  25.,  50.,  75., 100.])]
    """
    check_count("n_bins", n_bins)
    X = as_real("X", X)
    if X.ndim != 2:
        raise ValueError(f"X must be a matrix, got the shape {X.shape}")
    if not len(X):
        raise ValueError("X must have at least one row, got none")
    several: Any = [columns] if isinstance(columns, Integral) else columns
    if not is_sequence(several):
        raise TypeError(f"columns must be an integer or a sequence, got {columns!r}")
    columns = list(several)
    dtype = X.dtype if X.dtype.kind == "f" else np.float64
    for column in columns:
        if _as_column("columns", column) >= X.shape[1]:
            raise ValueError(f"columns must be from 0 to {X.shape[1] - 1}, got {column}")
    found = []
    for column in columns:
        values = X[:, column].astype(np.float64)
        check_finite("X", values)
        # Between neighbours in the dtype of X there would be edges that its numbers do not tell
        # apart.
        edges = np.unique(np.quantile(values, np.linspace(0, 1, n_bins + 1)).astype(dtype))
        if edges.size == 1:
            edges = np.append(edges, edges + max(1.0, abs(edges[0])))
        found.append(edges.astype(np.float64))
    return found


def _are_good(X, inputs):
    """Whether all of X is finite and all codes are good, told in a moment for a single row.

    Missing codes that are NaN make it False, and are looked at one column after the other.
    """
    if not np.isfinite(X).all():
        return False
    categories = [entry for entry in inputs if isinstance(entry, Categorical)]
    if not categories:
        return True
    codes = X[:, [entry.column for entry in categories]]
    limits = [entry.n_categories for entry in categories]
    return bool(((codes >= -1) & (codes < limits) & (codes == np.trunc(codes))).all())


def check_columns(X, inputs, first=0):
    """Refuse bad codes in categorical columns of X, and what is not finite in others.

    `first` is the number of the first row.
    """
    if _are_good(X, inputs):
        return
    categories = {entry.column: entry for entry in inputs if isinstance(entry, Categorical)}
    for column in range(X.shape[1]):
        values = X[:, column]
        entry = categories.get(column)
        if entry is None:
            good = np.isfinite(values)
            allowed = "finite numbers"
        else:
            with np.errstate(invalid="ignore"):
                whole = (
                    (values >= -1) & (values < entry.n_categories) & (values == np.trunc(values))
                )
            good = whole | np.isnan(values)
            allowed = f"codes from 0 to {entry.n_categories - 1}, or -1 or NaN for a missing one"
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(
                f"X must hold {allowed} in column {column}, got {values[row]:g} in row "
                f"{first + row}"
            )
