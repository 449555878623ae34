"""Tables of any kind, column by column: arrays, data frames, Arrow tables, sparse matrices."""

import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmlp.feature_names import listing
from fastmlp.sources.rows import is_rows
from fastmlp.tabular.columns import Column, from_array, of_categories


class Frame(ABC):
    """A table that is read one column at a time, and never copied whole.

    Attributes
    ----------
    argument : str
        What the table is called in messages.
    n_rows, n_columns : int
    names : tuple of str, or None
        None where columns have no names, or numbers for names.
    """

    def __init__(self, argument: str, shape: tuple[int, int], names: Sequence[Any] | None):
        self.argument = argument
        self.n_rows, self.n_columns = shape
        self.names = _checked_names(argument, names)
        if self.n_columns == 0:  # in the words of scikit-learn's checks
            raise ValueError(
                f"{argument} has 0 feature(s) (shape={tuple(shape)}) while a minimum of 1 is "
                "required."
            )
        if self.n_rows == 0:
            raise ValueError(f"{argument} must have at least one row, got none")

    def where(self, i: int) -> str:
        """What to call a column in messages."""
        return f"column {i if self.names is None else repr(self.names[i])} of {self.argument}"

    @abstractmethod
    def column(self, i: int) -> Column:
        """Read a column, which may be a view of the table's memory."""

    @abstractmethod
    def rows(self) -> list[Sequence[Any]] | None:
        """All values as Python's objects, row by row, for tables of few rows.

        None where these would not be what columns hold.
        """


def _checked_names(argument, names):
    if names is None:
        return None
    kinds = sorted({type(name).__name__ for name in names})
    n_texts = sum(isinstance(name, str) for name in names)
    if n_texts == 0:
        return None
    if n_texts < len(names):
        raise TypeError(
            f"{argument} must have columns with names that are all texts or all numbers, got "
            f"{' and '.join(kinds)}"
        )
    if len(set(names)) < len(names):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        raise ValueError(
            f"{argument} must name each of its columns once, got {listing(repeated)} more than once"
        )
    return tuple(map(str, names))


class ArrayFrame(Frame):
    """An array of two dimensions, of numbers, texts or objects."""

    def __init__(self, argument: str, array: np.ndarray):
        if array.ndim != 2:
            raise ValueError(
                f"{argument} must be a table of rows and columns, got {array.ndim} dimension(s). "
                "Reshape your data: X.reshape(-1, 1) is one column, X.reshape(1, -1) one row"
            )
        super().__init__(argument, array.shape, None)
        self._array = array

    @property
    def numbers(self) -> np.ndarray | None:
        """The array, if all of it are floating-point numbers."""
        is_plain = self._array.dtype.kind == "f" and not isinstance(self._array, np.ma.MaskedArray)
        return self._array if is_plain else None

    def column(self, i: int) -> Column:
        values = self._array[:, i]
        if isinstance(values, np.ma.MaskedArray):
            return from_array(values.data, self.where(i), np.ma.getmaskarray(values))
        return from_array(values, self.where(i))

    def rows(self) -> list[Sequence[Any]] | None:
        # NumPy's times may become integers.
        return None if self._array.dtype.kind in "mM" else self._array.tolist()


class SparseFrame(Frame):
    """A sparse matrix of numbers, of which a column is dense while it is read."""

    def __init__(self, argument: str, matrix: Any):
        if matrix.ndim != 2:
            raise ValueError(
                f"{argument} must be a table of rows and columns, got {matrix.ndim} dimension(s)"
            )
        super().__init__(argument, matrix.shape, None)
        self._matrix = matrix
        self._by_column: Any = None

    def column(self, i: int) -> Column:
        if self._by_column is None:
            self._by_column = self._matrix.tocsc()
        return from_array(self._by_column[:, [i]].toarray()[:, 0], self.where(i))

    def rows(self) -> list[Sequence[Any]] | None:
        return self._matrix.toarray().tolist()


class PandasFrame(Frame):
    """A data frame of pandas."""

    def __init__(self, argument: str, frame: Any):
        super().__init__(argument, frame.shape, tuple(frame.columns))
        self._frame = frame

    def column(self, i: int) -> Column:
        import pandas

        series = self._frame.iloc[:, i]
        dtype = series.dtype
        where = self.where(i)
        if isinstance(dtype, np.dtype):
            return from_array(series.to_numpy(), where)
        if isinstance(dtype, pandas.CategoricalDtype):
            return of_categories(
                series.cat.codes.to_numpy(), series.cat.categories.to_numpy(), where
            )
        if isinstance(dtype, pandas.SparseDtype):
            return from_array(series.sparse.to_dense().to_numpy(), where)
        if isinstance(dtype, pandas.PeriodDtype):
            return from_array(series.dt.to_timestamp().to_numpy(), where)
        if pandas.api.types.is_string_dtype(dtype):
            codes, texts = pandas.factorize(series)
            return of_categories(codes, np.asarray(texts, object), where)
        return from_array(*_unmasked(series, where))

    def rows(self) -> list[Sequence[Any]] | None:
        # As objects, since integers beside floats would be rounded to these.
        return self._frame.to_numpy(object).tolist()


def _unmasked(series, where):
    """Values of a nullable column of pandas as an array of NumPy's, and what is missing."""
    missing = series.isna().to_numpy(bool)
    kind = series.dtype.kind
    if kind in "iufb":
        present = series.dropna().to_numpy()
        values = np.zeros(len(series), present.dtype if present.dtype.kind in "iufb" else float)
        values[~missing] = present
        return values, where, missing
    if kind == "M":
        dtype = getattr(series.dtype, "pyarrow_dtype", series.dtype)
        if getattr(dtype, "tz", None) is not None:
            series = series.dt.tz_localize(None)
        return series.astype("datetime64[us]").to_numpy(), where, missing
    if kind == "m":
        return series.to_numpy("timedelta64[us]"), where, missing
    return series.to_numpy(object), where, missing


class NarwhalsFrame(Frame):
    """A data frame of polars, an Arrow table, and what else narwhals reads."""

    def __init__(self, argument: str, frame: Any):
        super().__init__(argument, frame.shape, tuple(frame.columns))
        self._frame = frame

    def column(self, i: int) -> Column:
        import narwhals.stable.v2 as narwhals

        series = self._frame[:, i]
        dtype, where = series.dtype, self.where(i)
        if isinstance(dtype, narwhals.Categorical | narwhals.Enum):
            return _of_texts(series, narwhals.String, where)
        if isinstance(dtype, narwhals.Int128 | narwhals.UInt128):
            series = series.cast(narwhals.Float64)  # as NumPy has no such integers
        if isinstance(dtype, narwhals.Datetime) and dtype.time_zone is not None:
            series = series.dt.replace_time_zone(None)
        missing = series.is_null()
        if not missing.any():
            return from_array(series.to_numpy(), where)
        if dtype.is_numeric() and not dtype.is_decimal():
            series = series.fill_null(0)
        elif isinstance(dtype, narwhals.Boolean):
            series = series.fill_null(False)
        return from_array(series.to_numpy(), where, missing.to_numpy())

    def rows(self) -> list[Sequence[Any]] | None:
        return self._frame.rows()


def _of_texts(series, text, where):
    """Categories of a series of narwhals, which tells codes apart by their texts."""
    coded = from_array(series.cast(text).to_numpy(), where)
    values = series.cat.get_categories()
    if values.dtype == text or coded.kind == "missing":
        return coded
    by_text = dict(zip(values.cast(text).to_list(), values.to_list(), strict=True))
    found = np.empty(len(coded.categories), object)
    found[:] = [by_text[one] for one in coded.categories]
    return of_categories(coded.values, found, where)


def unbatched(X: Any) -> Any:
    """A record batch of Arrow as a table of it, anything else as it is."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(X, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([X])
    return X


def read_frame(X: Any, argument: str = "X") -> Frame:
    """Make a `Frame` of a table.

    Parameters
    ----------
    X : array_like (n_rows, n_columns), sparse matrix or data frame
        Frames are those of pandas and what narwhals reads, such as those of polars and tables of
        Arrow. Lists of rows may mix columns of numbers and of texts.
    argument : str, default "X"
        What it is called in messages.

    Raises
    ------
    ValueError
        Without rows or columns, with another number of dimensions than two, or with several
        columns of a name.
    TypeError
        If it is no table.
    """
    if type(X) is np.ndarray:
        return ArrayFrame(argument, X)
    if isinstance(X, Frame):
        return X
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return PandasFrame(argument, X)
    sparse = sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(X):
        return SparseFrame(argument, X)
    frame = _by_narwhals(argument, unbatched(X))
    if frame is not None:
        return NarwhalsFrame(argument, frame)
    return ArrayFrame(argument, _as_array(argument, X))


def _by_narwhals(argument, X):
    """A narwhals frame of what has columns; None of what is no frame."""
    if not hasattr(type(X), "columns"):
        return None
    try:
        import narwhals.stable.v2 as narwhals
        from narwhals.exceptions import DuplicateError
    except ImportError:
        raise ImportError(
            f"{argument} is read by the package narwhals, which is not installed: it is of the "
            f"type {type(X).__module__}.{type(X).__name__}"
        ) from None
    try:
        frame = narwhals.from_native(X, eager_only=True, pass_through=True)
    except DuplicateError as error:
        raise ValueError(f"{argument} must name each of its columns once: {error}") from None
    if frame is X and not hasattr(X, "__array__"):
        raise TypeError(
            f"{argument} must be a table in memory, got a {type(X).__name__}: collect it first"
        )
    return None if frame is X else frame


def _as_array(argument, X):
    if isinstance(X, np.ma.MaskedArray):
        return X
    if is_rows(X) and not hasattr(X, "__array__"):
        X = X[0 : X.shape[0]]  # all of them: columns are in memory
    try:
        array = np.asarray(X)
    except ValueError:  # of different lengths, of rows or of lists within them
        return _as_objects(argument, X)
    if array.ndim == 0:
        raise TypeError(
            f"{argument} must be a table of rows and columns, got an object of {type(X).__name__}"
        )
    if array.dtype.kind in "US" and not isinstance(X, np.ndarray):
        # Numbers beside texts would be texts, too.
        return np.asarray(X, object)
    return array


def _as_objects(argument, rows):
    """Rows of whatever there is within them as an array."""
    lengths = sorted({len(row) if hasattr(row, "__len__") else 0 for row in rows})
    if len(lengths) > 1:
        raise ValueError(
            f"{argument} must have rows of the same length, got {lengths[0]} and {lengths[-1]}"
        )
    array = np.empty((len(rows), lengths[0]), object)
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            array[i, j] = value
    return array
