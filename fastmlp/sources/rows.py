"""Rows: what X may be besides an array, such as a file that is larger than memory."""

import mmap
from numbers import Integral
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Rows(Protocol):
    """A matrix whose rows are read when they are needed.

    Memory maps, HDF5 datasets of h5py, Zarr arrays and Dask arrays are so as they are. A class of
    your own needs these three; its rows are numbers of any real dtype.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    dtype : dtype
        Also as NumPy's type or its name: ``numpy.float32`` or ``"float32"``.

    Methods
    -------
    __getitem__(rows)
        Rows of a slice ``a:b`` as something that `numpy.asarray` takes, of the shape (b - a,
        columns). It is called in a thread beside the one that trains.
    read_into(start, stop, out), optional
        Does the same without memory of its own: fills the array `out`, C-contiguous and of the
        dtype that is wanted.
    fingerprint : str, optional
        Differs where the numbers do: by it a checkpoint knows the data again. Without one it reads
        64 blocks of rows.

    Examples
    --------
    A table whose rows follow from their numbers:

    >>> import numpy as np
    >>> from fastmlp import MLP, Rows
    >>> class Waves:
    ...     shape, dtype = (1000, 4), np.dtype("float64")
    ...     def __getitem__(self, rows):
    ...         numbers = np.arange(self.shape[0])[rows, np.newaxis]
    ...         return np.sin(numbers * [0.1, 0.2, 0.3, 0.4])
    >>> isinstance(Waves(), Rows)
    True
    >>> y = np.sin(np.arange(1000) * 0.5)
    >>> result = MLP([4, 8, 1], seed=0).fit(Waves(), y, epochs=2, seed=0)
    """

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


def is_rows(X: Any) -> bool:
    """Whether X is to be read in slices of rows: a matrix that is no plain array in memory."""
    if isinstance(X, np.ndarray) and not _is_mapped(X):
        return False
    shape, dtype = getattr(X, "shape", None), getattr(X, "dtype", None)
    if not (isinstance(shape, tuple | list) and len(shape) == 2 and hasattr(X, "__getitem__")):
        return False
    # A class of somebody's own may say np.float32, or "float32".
    return isinstance(dtype, np.dtype | type | str) and not is_sparse(X)


def _is_mapped(X):
    """Whether an array is mapped from a file; one that was copied out of it is so in name only."""
    root = X
    while isinstance(root.base, np.ndarray):
        root = root.base
    return isinstance(X, np.memmap) and isinstance(root.base, mmap.mmap)


def is_sparse(X: Any) -> bool:
    """Whether X is a sparse matrix or array of SciPy's, told without loading it."""
    return type(X).__module__.startswith("scipy.sparse")


def check_shape(name: str, X: Any) -> tuple[int, int]:
    """The shape of Rows or a frame, of which Dask may not know the number of rows."""
    rows, columns = X.shape
    if not (isinstance(rows, Integral) and isinstance(columns, Integral)):
        advice = "call compute_chunk_sizes() of the Dask array first"
        if not hasattr(X, "compute_chunk_sizes"):
            advice = "give to_dask_array(lengths=True) of the Dask frame"
        raise ValueError(
            f"{name} must have a known number of rows, got the shape {X.shape}: {advice}"
        )
    return int(rows), int(columns)
