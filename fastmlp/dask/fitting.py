"""fit and predict: networks and Dask collections."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from fastmlp.dask.blocks import by_blocks, kind_of, partitions
from fastmlp.dask.cluster import Cluster, find_client
from fastmlp.feature_names import names_of
from fastmlp.naming import names_arguments
from fastmlp.objective import check_is_network, check_network
from fastmlp.options import OptionsOfParts, shares_options
from fastmlp.parts import fit_loaders, fit_parts
from fastmlp.validation import as_array, as_real

if TYPE_CHECKING:
    from distributed import Client

    from fastmlp.network import Network
    from fastmlp.result import FitResult


# The map of `fit_parts` is Dask here.
@names_arguments
@shares_options(fit_parts, but=("map",))
def fit(
    net: Network,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    client: Client | None = None,
    **options: Unpack[OptionsOfParts],
) -> FitResult:
    """Train a network in place on Dask collections, whose partitions stay where they are.

    Parameters
    ----------
    net : MLP
        Starts from its current parameters. If it has no `feature_names`, it takes those of the
        columns of a data frame.
    X : dask.array.Array (n, n_in), or Dask data frame
        Each partition is a part of `fastmlp.fit_parts`. Workers hold them in the network's dtype
        while the fit lasts. Blocks are joined along columns.
    y : dask.array.Array or Dask data frame or series
        As of `fastmlp.Objective`, with the partitions of X.
    sample_weight : the same, (n,), or None, default None
    client : distributed.Client or None, default None
        None is the one that was made last in this process.
    **options
        Those of `fastmlp.fit_parts` but for `map`: optimizer ("lbfgs" by default), rounds for
        local averaging, loss, batch_size, epochs, l1, l2, shuffle, clip_norm, validation_data
        (arrays in memory), callbacks, time_limit, target_loss, progress, n_threads and seed.
        `n_threads` None is, on each worker, as many as it has.

    Returns
    -------
    FitResult
        In this process, where also the solver runs, callbacks are called, and theta changes.

    Raises
    ------
    ValueError, TypeError
        As of `fastmlp.fit_parts`, which names partitions by their numbers; and for collections
        whose chunk sizes are unknown, X and y with other partitions, and a client that is closed,
        asynchronous, or missing.

    Notes
    -----
    An evaluation is one task for each worker that holds partitions. Sums go by the order of
    partitions, so that theta comes out with the same bits for any number of workers, and if one is
    lost: Dask computes its partitions anew, from what X and y are made of. What was sent to workers
    by ``client.scatter`` nobody can compute anew.

    Examples
    --------
    >>> from distributed import Client
    >>> import dask.array as da
    >>> import fastmlp.dask
    >>> client = Client(n_workers=1, processes=False, dashboard_address=":0")
    >>> X = da.random.default_rng(0).normal(size=(600, 4), chunks=(200, 4))
    >>> net = fastmlp.MLP([4, 8, 1], seed=0)
    >>> result = fastmlp.dask.fit(net, X, X[:, 0] * X[:, 1], epochs=20)
    >>> fastmlp.dask.predict(net, X).shape
    (600, 1)
    >>> client.close()
    """
    check_network(net)
    client = find_client(client)
    cut = partitions(X, y, sample_weight)
    names = net.feature_names or names_of(X)
    cluster = Cluster(client, functools.partial(_as_arrays, net.dtype, names), cut)
    return fit_loaders(net, [elsewhere] * len(cut), cluster, names, **options)


def _as_arrays(dtype, names, X, y, sample_weight):
    """A partition as arrays that evaluations use in place."""
    X, y = as_array("X", X, dtype, names), as_real("y", y)
    if sample_weight is None:
        return X, y
    return X, y, as_real("sample_weight", sample_weight)


def elsewhere():
    """In the place of loaders: what workers hold is loaded by none."""
    raise NotImplementedError


def predict(net: Network, X: Any) -> Any:
    """Outputs of a network for the rows of a Dask collection, block by block, when asked for.

    Parameters
    ----------
    net : MLP
        As it is now: what changes it later is not seen.
    X : dask.array.Array (n, n_in), or Dask data frame
        Columns of a data frame are found by name, see `MLP.feature_names`.

    Returns
    -------
    dask.array.Array, (n, n_out), of the network's dtype
        Of unknown chunk sizes for a data frame.

    Raises
    ------
    ValueError, TypeError
        For X of another kind or width; when computed, also as of `MLP.predict`.

    Examples
    --------
    >>> import dask.array as da
    >>> import fastmlp.dask
    >>> X = da.zeros((600, 4), chunks=(200, 4))
    >>> outputs = fastmlp.dask.predict(fastmlp.MLP([4, 8, 2], seed=0), X)
    >>> outputs.chunks
    ((200, 200, 200), (2,))
    >>> outputs[:1].compute()
    array([[0., 0.]], dtype=float32)
    """
    check_is_network(net)
    n_in, n_out = net.layer_sizes[0], net.layer_sizes[-1]
    if kind_of("X", X) == "array" and (X.ndim != 2 or X.shape[1] != n_in):
        raise ValueError(
            f"X must have the shape (n, {n_in}), one column for each input, got {X.shape}"
        )
    return by_blocks(X, functools.partial(_outputs, net.copy()), n_out, np.dtype(net.dtype))


def _outputs(net, rows):
    # Workers predict as many blocks at a time as they have threads.
    return net.predict(rows, n_threads=1)
