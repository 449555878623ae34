"""Dask collections as partitions, one for each part of a fit, and block by block."""

import math

import dask
import dask.array
import numpy as np


def kind_of(name, collection):
    """ "array" or "frame", whichever the collection is; a ValueError where its rows are unknown."""
    if isinstance(collection, dask.array.Array):
        if any(math.isnan(size) for size in collection.shape):
            raise ValueError(
                f"{name} must have known chunk sizes, got the shape {collection.shape}: call "
                "compute_chunk_sizes() on it first"
            )
        return "array"
    if isinstance(getattr(collection, "divisions", None), tuple):
        return "frame"
    raise TypeError(
        f"{name} must be a Dask array or a Dask data frame, got {type(collection).__name__}"
    )


def whole_columns(collection):
    """A Dask array whose rows are each in one block."""
    if collection.ndim > 1 and any(n > 1 for n in collection.numblocks[1:]):
        return collection.rechunk(dict.fromkeys(range(1, collection.ndim), -1))
    return collection


def partitions(X, y, sample_weight):
    """Check that collections are cut alike.

    Returns
    -------
    list of tuple
        For each partition those of X, y and the weights, as `dask.delayed.Delayed`, and None in
        the place of weights that are none.
    """
    names = ("X", "y", "sample_weight")
    given = {
        name: one
        for name, one in zip(names, (X, y, sample_weight), strict=True)
        if one is not None or name != "sample_weight"
    }
    kinds = {name: kind_of(name, one) for name, one in given.items()}
    if kinds["X"] == "array" and X.ndim != 2:
        raise ValueError(f"X must be a matrix, got the shape {X.shape}")
    for name, one in given.items():
        _check_cuts(name, one, X, kinds[name] == kinds["X"] == "array")
    columns = [_delayed(one, kinds[name]) for name, one in given.items()]
    if sample_weight is None:
        columns.append([None] * len(columns[0]))
    return list(zip(*columns, strict=True))


def _check_cuts(name, collection, X, are_arrays):
    if are_arrays and collection.chunks[0] != X.chunks[0]:
        raise ValueError(
            f"{name} must have the partitions of X, got rows {_shown(collection.chunks[0])} and "
            f"not {_shown(X.chunks[0])}: call rechunk on it"
        )
    if _count(collection) != _count(X):
        raise ValueError(
            f"{name} must have the partitions of X, got {_count(collection)} of them and not "
            f"{_count(X)}: call repartition or rechunk"
        )


def _count(collection):
    if isinstance(collection, dask.array.Array):
        return collection.numblocks[0]
    return collection.npartitions


def _delayed(collection, kind):
    if kind == "array":
        return whole_columns(collection).to_delayed().ravel().tolist()
    return collection.to_delayed()


def _shown(chunks, most=6):
    listed = ", ".join(map(str, chunks[:most]))
    return f"({listed}, ...)" if len(chunks) > most else f"({listed})"


def by_blocks(X, function, n_columns, dtype):
    """Apply ``function(rows)`` to each block of X, when the outcome is asked for.

    Parameters
    ----------
    X : Dask array or data frame
    function : callable
        Gives an array (n,), or (n, n_columns), and is not called for blocks without rows.
    n_columns : int or None
        None is for (n,).
    dtype : dtype

    Returns
    -------
    dask.array.Array
        Of unknown chunk sizes for a data frame.
    """
    shape = () if n_columns is None else (n_columns,)
    apply = _OnRows(function, shape, np.dtype(dtype))
    if isinstance(X, dask.array.Array):
        options = {"drop_axis": 1} if n_columns is None else {}
        return whole_columns(X).map_blocks(
            apply,
            dtype=dtype,
            meta=apply.nothing(),
            chunks=(X.chunks[0], *((n,) for n in shape)),
            **options,
        )
    kind_of("X", X)
    return X.map_partitions(apply, meta=apply.nothing())


class _OnRows:
    """A function for blocks of rows, of which some may have none."""

    __name__ = "predict"  # what Dask calls such tasks

    def __init__(self, function, shape, dtype):
        self._function, self._shape, self._dtype = function, shape, dtype

    def __call__(self, rows):
        return self._function(rows) if len(rows) else self.nothing()

    def nothing(self):
        return np.empty((0, *self._shape), self._dtype)
