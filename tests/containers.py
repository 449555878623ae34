"""Five columns of numbers in all that X may be: files of several kinds, data frames, Arrow."""

import threading

import numpy as np
import pytest


class Given:
    """Rows of somebody's own, which notes in which slices they are asked for, by which threads."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype
        self.asked = []

    def __getitem__(self, rows):
        self.asked.append((rows.start, rows.stop, threading.current_thread()))
        return self.X[rows]

    @property
    def n_read(self):
        return sum(stop - start for start, stop, _ in self.asked)


def as_memmap(X, path):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode="r")


def as_hdf5(X, path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    file = h5py.File(path / "X.h5", "w")
    return file.create_dataset("X", data=X, chunks=(64, X.shape[1]))


def as_zarr(X, path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    array = zarr.open(str(path / "X.zarr"), mode="w", shape=X.shape, chunks=(64, 5), dtype=X.dtype)
    array[:] = X
    return array


def as_dask(X, path):
    da = pytest.importorskip("dask.array", reason="Dask is not installed")
    return da.from_array(X, chunks=(100, 3))


def as_pandas(X, path):
    return pytest.importorskip("pandas", reason="pandas is not installed").DataFrame(X)


def as_polars(X, path):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    return polars.DataFrame(X, schema=list("abcde"))


def as_arrow(X, path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return pa.table({name: X[:, i] for i, name in enumerate("abcde")})
