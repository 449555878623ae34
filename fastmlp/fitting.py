"""fit and fit_many: every optimizer on a network's objective, with one result and one trace.

`MLP.fit` is `fit`. What options there are, and their defaults, stands here alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from fastmlp.callers import warn
from fastmlp.naming import names_arguments
from fastmlp.options import Loss, OptionsOfMany, shares_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from numpy.typing import ArrayLike

    from fastmlp.network import Network
    from fastmlp.options import (
        BatchSize,
        Callbacks,
        Features,
        Loss,
        Optimizers,
        Seed,
        Shuffle,
        ValidationData,
    )
    from fastmlp.result import FitResult

# What trains is imported when it is called: who builds networks and predicts does without it.


@names_arguments
def fit(
    net: Network,
    X: Features,
    y: ArrayLike,
    *,
    optimizer: Optimizers | None = None,
    loss: Loss = "auto",
    batch_size: BatchSize = "auto",
    epochs: int | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    lengths: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    shuffle: Shuffle = True,
    clip_norm: float | None = None,
    validation_data: ValidationData | None = None,
    callbacks: Callbacks = (),
    time_limit: float | None = None,
    target_loss: float | None = None,
    progress: bool = False,
    n_threads: int | None = None,
    seed: Seed = None,
    restarts: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    standardize: bool = False,
    exact_loss: bool = False,
) -> FitResult:
    """Train a network in place.

    Parameters
    ----------
    net : MLP
        Starts from its current parameters. If it has no `feature_names` and X is a data frame, it
        takes the names of the columns.
    X, y, loss, lengths, sample_weight, l1, l2
        The data and the objective, see `fastmlp.Objective`.
    optimizer : Optimizer, str, or a list of them; default Adam()
        An object such as ``Adam(learning_rate=1e-3)`` or ``LBFGS()``, or its written form as
        in "adam" or "sgd(learning_rate=0.1, momentum=0.9)". A list, or "adam(epochs=20)+lbfgs",
        runs them in turn, each from where the last one stopped.
    batch_size : int, None or "auto", default "auto"
        Rows of a mini-batch, at most all; None is full batch, 1 is online, "auto" is 128. The
        last mini-batch of an epoch may be smaller, but with norm="batch" no mini-batch may be one
        row. For stochastic optimizers: solvers use all rows, or have a `batch_size` of their own.
    epochs : int or None, default None
        Passes over the data of a stochastic optimizer, iterations of a solver, for each
        optimizer of a list that has no number of its own. None is 20 epochs, or the solver's own
        ``max_iterations``.
    shuffle : True, False, "replacement" or Windowed, default True
        True reshuffles the rows every epoch, False keeps their order, "replacement" draws each
        row uniformly, with replacement. A full batch is not shuffled. For stochastic optimizers.
        A `fastmlp.Windowed` shuffles rows of which only a window is in memory at a time. For X that
        are `fastmlp.Rows`, or large and of another dtype than the network's, True is
        ``Windowed()``, and "replacement" is refused; see the notes. Not so for sparse matrices.
    clip_norm : float or None, default None
        Largest Euclidean norm of a mini-batch's gradient, penalties included; a larger one is
        scaled down to it. For stochastic optimizers.
    validation_data : (X, y), (X, y, sample_weight) or None, default None
        Its loss, without penalties, goes into the trace. For a `fastmlp.RNN` also (X, y,
        sample_weight, lengths), where the third may be None.
    callbacks : sequence of callable, default ()
        Called with a `fastmlp.Progress` after each epoch or iteration, and at the start of a
        solver; raising StopIteration ends the fit.
    time_limit : float or None, default None
        Seconds, without validation, callbacks and compiling or loading kernels. Heeded within an
        epoch; theta stays as it is then.
    target_loss : float or None, default None
        End when a record's objective is at most this.
    progress : bool, default False
        Show a progress bar.
    n_threads : int or None, default None
        At most so many threads, and only one where a team is not faster. None is as many as
        this process may use cores and the work is enough for. Theta comes out with the same bits
        for every number.
    seed : int or None, default None
        Of the shuffling, and of all else that is drawn. None draws afresh.
    restarts : int or None, default None
        Fit from so many different starts, one network to a thread, and keep the one with the
        least objective: the network's own parameters are the first start, the others are drawn
        as `MLP` does. The outcome is that of the best. None is one start.
    checkpoint : path or None, default None
        File that keeps all that is needed to go on exactly: parameters, the optimizer's state,
        random numbers and the trace. It is written about every second and at the end, in one
        move. If it exists, the fit goes on from it, and `epochs` counts those done before: a fit
        of n epochs, taken up again for 2n, ends with the bits of one of 2n, unless a schedule goes
        by the fraction of the fit that is done.
    standardize : bool, default False
        Train on features scaled to mean 0 and variance 1, and on targets scaled so where the output
        is the identity and the loss is a squared, absolute, Huber's or quantile one (Huber's of one
        output). The scaling becomes a part of the first and the last layer, so that the network
        takes and gives numbers as they are; codes of categories stay as they are. Refused where no
        weights can undo a scaling: for embeddings of numbers, a first layer that is residual or
        tied, a last one that is tied where targets are scaled, and a `fastmlp.RNN`. See the notes.
    exact_loss : bool, default False
        Whether to evaluate the objective at the start and at the end also where X is not in memory,
        and each time is another pass over a file. Else the trace begins with the first epoch, and
        the loss of the result is the mean over the mini-batches of the last epoch, or what a
        solver knew of it. For X in memory it is always evaluated.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError, TypeError
        For any argument that is not as above, before anything is changed; also for one that no
        optimizer has a use for, such as `clip_norm` with `LBFGS` alone.

    Warns
    -----
    UserWarning
        Once in a process, where the processor has no fused multiply-add, which makes fits slow.
        If `standardize` has to round a column to more than a hundredth of its spread.
        If the fit ends no better than always predicting the mean of y, or the shares of the
        classes, and numbers of X or y are far larger or smaller than 1, the likely cause.

    Notes
    -----
    If the objective or theta turns non-finite, the fit stops at that step and theta goes back
    to the best finite parameters: those of the epoch with the least objective, or the start.
    A checkpoint of other data, another network, optimizer or objective, or a torn one, is refused
    and left alone. A limit within an epoch leaves the checkpoint at the last finished epoch, or
    where X is read in windows, at the last finished window.

    X may be larger than memory: a memory map, a dataset of h5py, an array of Zarr, or anything
    else that is `fastmlp.Rows`. While a network trains on a window of its rows, a thread reads the
    next window and checks it. y and weights are in memory. Sparse matrices are read so, too, and
    arrays and data frames of another dtype than the network's, if a copy of them would take more
    than 128 MB. Theta comes out with the bits that it has for an array in memory, given the same
    order of rows. If rows cannot be read, or are not finite, an exception comes out, and theta is
    that of the last finished epoch or iteration. A checkpoint stays; it may be of a place within
    an epoch.

    Ctrl-C ends the fit with theta as of the last finished epoch; the status tells of it even if
    that was the last epoch of all.

    With `standardize` the optimizer sees the network on scaled data: the objective, its penalties,
    the trace, `target_loss`, bounds of an optimizer and validation losses are about that one. Only
    theta, and the network that callbacks see, are for data as they are; what callbacks change in
    them is lost. A network whose biases are all 0, as they are drawn, has weights that were drawn
    for scaled data, and starts with them; any other starts as the function that it is. Means and
    variances are measured anew in each fit, by the rows and weights that it trains on.

    The scaling is put into the weights in float64 and rounded once. What that changes in float32 is
    no more than if the numbers of X changed in their last digit or two. It shows where a column's
    mean is far larger than its spread, so that float32 has few digits for its differences: subtract
    a constant from such a column, or use float64. A warning tells of it. X is copied, if it is in
    memory.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> X = np.random.default_rng(0).uniform(-3, 3, (500, 1))
    >>> net = fastmlp.MLP([1, 32, 1], activation="tanh", seed=0)
    >>> result = fastmlp.fit(net, X, np.sin(X[:, 0]), optimizer="lbfgs", epochs=200, seed=0)
    >>> result.loss < 1e-3
    True
    """
    from fastmlp.many import fit_best
    from fastmlp.training import prepare

    options = {
        "optimizer": optimizer,
        "loss": loss,
        "batch_size": batch_size,
        "epochs": epochs,
        "l1": l1,
        "l2": l2,
        "lengths": lengths,
        "sample_weight": sample_weight,
        "shuffle": shuffle,
        "clip_norm": clip_norm,
        "validation_data": validation_data,
        "callbacks": callbacks,
        "time_limit": time_limit,
        "target_loss": target_loss,
        "standardize": standardize,
        "exact_loss": exact_loss,
    }
    if restarts is not None:
        if checkpoint is not None:
            raise ValueError("checkpoint must be None where restarts are given")
        return fit_best(
            net, X, y, restarts, n_threads=n_threads, progress=progress, seed=seed, **options
        )
    prepared = prepare(
        net,
        X,
        y,
        progress=progress,
        n_threads=n_threads,
        seed=seed,
        checkpoint=checkpoint,
        **options,
    )
    result, text = prepared.run()
    if text is not None:
        warn(text)
    return result


@names_arguments
@shares_options(fit, but=("seed", "restarts", "checkpoint"))
def fit_many(
    nets: Sequence[Network],
    X: Features,
    y: ArrayLike,
    *,
    rows: Sequence[ArrayLike] | None = None,
    seeds: int | Sequence[int] | None = None,
    n_threads: int | None = None,
    progress: bool = False,
    **options: Unpack[OptionsOfMany],
) -> list[FitResult]:
    """Train many independent networks in place, each in one thread, several at once.

    For restarts, ensembles and cross-validation of networks too small to share out their own
    work: with one network to a thread no thread ever waits for another.

    Parameters
    ----------
    nets : sequence of MLP
        Different objects, of any architectures and dtypes. Each starts from its own parameters.
    X, y : array_like
        Data for all of them, see `fastmlp.Objective`. Used in place where possible, and else
        converted once for each dtype.
    rows : sequence of array_like, or None, default None
        The rows of X and y that each network trains on, such as a fold or a bootstrap sample:
        integers (m,) from 0 to n - 1, in any order and also repeated, or a mask of n booleans.
        They are copied while the network trains. None is all rows, for all.
    seeds : int, sequence of int, or None, default None
        Of the shuffling. An integer gives each network a stream of its own: that of the seed
        ``np.random.SeedSequence(seeds).spawn(len(nets))[i]``, which `fit` takes as well. A
        sequence has the seed of each. None draws afresh.
    n_threads : int or None, default None
        How many networks train at the same time. None is the number of cores this process may
        use.
    progress : bool, default False
        Show a bar that counts networks.
    **options
        Those of `fastmlp.fit`, the same for all networks: optimizer, loss, batch_size, epochs,
        l1, l2, sample_weight (n,) and lengths (n,), of which `rows` picks too, shuffle, clip_norm,
        validation_data, time_limit of each network, target_loss, standardize (each network by the
        rows that it trains on), callbacks. These are called in the threads that train, several
        at once; what they are given has the `network`.

    Returns
    -------
    list of FitResult
        In the order of `nets`.

    Raises
    ------
    ValueError, TypeError
        For any argument that is not as above, before any network is changed. X and y are checked
        whole, also rows that no network trains on.

    Warns
    -----
    UserWarning
        Once, if networks end as `fastmlp.fit` warns of.

    Notes
    -----
    Whatever `n_threads` is, network i ends with the bits of ``nets[i].fit(X[rows[i]],
    y[rows[i]], seed=..., n_threads=1, **options)``.

    Ctrl-C, or a KeyboardInterrupt in a callback, ends all fits soon, as it does `fit`: each theta
    is that of its network's last finished epoch, and the status of all that had not come to an
    end is "interrupted". A network that had not started is as it was, its loss is NaN and its
    message says so. If a callback raises any other exception, the other fits end in the same way,
    and it is raised here.

    Examples
    --------
    >>> from fastmlp import MLP, datasets, fit_many
    >>> X, y = datasets.load_digits()
    >>> nets = [MLP([64, 32, 10], output="softmax", seed=seed) for seed in range(8)]
    >>> results = fit_many(nets, X, y, seeds=0)
    >>> best = nets[min(range(8), key=lambda i: results[i].loss)]
    """
    from fastmlp.many import counted, fit_side_by_side

    with counted(progress, nets) as draw:
        results, texts = fit_side_by_side(nets, X, y, rows, seeds, n_threads, draw, options)
    warned = [(i, text) for i, text in enumerate(texts) if text is not None]
    if warned:
        i, text = warned[0]
        warn(f"{len(warned)} of {len(nets)} networks, first nets[{i}]: {text}")
    return results
