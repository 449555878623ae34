"""Many independent networks trained at the same time, one to a thread."""

import queue
import threading
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import replace
from numbers import Integral

import numpy as np

from fastmlp.bar import Bar
from fastmlp.callers import warn
from fastmlp.feature_names import names_of, take_columns
from fastmlp.kernels.threads import available_cores
from fastmlp.monitor import Interruption
from fastmlp.objective import as_targets, check_network
from fastmlp.optimizers import Adam
from fastmlp.pace import CALL_SECONDS
from fastmlp.result import FitResult, Status, Trace
from fastmlp.rounding import warn_of_merged
from fastmlp.sources.source import first_rows, is_read_in_windows
from fastmlp.training import (
    BATCH_SIZE,
    Prepared,
    check_mini_batches,
    check_optimizers,
    prepare,
)
from fastmlp.turns import Turns
from fastmlp.validation import as_generator, as_real, as_weights, check_count, check_flag


def fit_side_by_side(nets, X, y, rows, seeds, n_threads, draw, options):
    """Do what `fit_many` does, but return what each is to be warned with beside the results.

    ``draw(n)`` is called again and again, in the caller's thread, with how many networks are
    through: what a terminal shows is drawn there alone, as who is interrupted while he draws keeps
    the lock of the terminal, for which other threads would wait for ever.
    """
    options = dict(options)
    _check_networks(nets)
    if n_threads is None:
        n_threads = available_cores()
    check_count("n_threads", n_threads)
    seeds = _spread_seeds(seeds, len(nets))
    names, data, y = names_of(X), _as_arrays(nets, X), as_targets(y)
    prepared = _check_problems(nets, data, y, names, options)
    coarsest = min(nets, key=lambda net: net.dtype.itemsize)
    given = take_columns("X", X, coarsest.feature_names)
    warn_of_merged(coarsest.dtype, first_rows(given, coarsest.dtype), y)
    weights = options.pop("sample_weight", None)
    weights = None if weights is None else as_real("sample_weight", weights)
    lengths = options.pop("lengths", None)
    lengths = None if lengths is None else as_real("lengths", lengths)
    shares_rows = rows is None
    rows = [slice(None)] * len(nets) if shares_rows else _check_rows(rows, nets, len(y), weights)
    _check_batch_norms(nets, rows, len(y), **options)

    interruption, turns = Interruption(), Turns()

    def train(i):
        net, part = nets[i], rows[i]
        if interruption.heed():
            return _not_started(net), None
        try:
            with turns if prepared[i].is_plain else nullcontext():
                if shares_rows and prepared[i].goes_for_others:
                    return prepared[i].of(net, seeds[i]).run(interruption)
                return prepare(
                    net,
                    data[_columns(net)][part],
                    y[part],
                    lengths=None if lengths is None else lengths[part],
                    sample_weight=None if weights is None else weights[part],
                    seed=seeds[i],
                    n_threads=1,
                    progress=False,
                    feature_names=names,
                    **options,
                ).run(interruption)
        except BaseException:
            interruption.request()
            raise

    outcomes = _run(train, len(nets), n_threads, interruption, draw)
    return [result for result, _ in outcomes], [text for _, text in outcomes]


def fit_best(net, X, y, restarts, *, n_threads, progress, seed, **options):
    """Do what `fit` does with `restarts`."""
    check_network(net)
    check_count("restarts", restarts)
    draws = as_generator(seed).integers(2**63, size=(restarts, 2)).tolist()
    nets = [net.copy(), *(net.redrawn(draw) for draw, _ in draws[1:])]
    seeds = [shuffling for _, shuffling in draws]
    with counted(progress, nets) as draw:
        results, texts = fit_side_by_side(nets, X, y, None, seeds, n_threads, draw, options)
    losses = [result.loss if np.isfinite(result.loss) else np.inf for result in results]
    best = int(np.argmin(losses))
    net.take_learned(nets[best].learned())
    net.feature_names = nets[best].feature_names
    if texts[best] is not None:
        warn(texts[best])
    return replace(
        results[best], message=f"{results[best].message}; start {best + 1} of {restarts} was best"
    )


@contextmanager
def counted(progress, nets):
    """What draws a bar that counts networks, from its first call on, or draws nothing."""
    check_flag("progress", progress)
    bar = None

    def draw(n):
        nonlocal bar
        if progress and bar is None:
            bar = Bar("network", len(nets))
        if bar is not None:
            bar.show(n)

    try:
        yield draw
    finally:
        if bar is not None:
            bar.close()


def _run(train, n_nets, n_threads, interruption, draw):
    """Call ``train(i)`` for every network in threads; return the results in order.

    The threads are daemons where the caller's is one.
    """
    # Each in a copy of the caller's context, which has such settings as NumPy's errstate.
    contexts = [copy_context() for _ in range(n_nets)]
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    # The caller's thread looks now and then, and at the end: each look takes a core from the fits.
    outcomes: dict[int, tuple] = {}
    all_done = threading.Event()
    for i in range(n_nets):
        waiting.put(i)

    def work():
        while (i := waiting.get()) is not None:
            try:
                outcomes[i] = contexts[i].run(train, i), None
            except BaseException as error:  # raised in the caller's thread
                outcomes[i] = None, error
            if len(outcomes) == n_nets:
                all_done.set()

    # Not those of an executor: Python would wait for them at its end, also for a daemon's.
    threads: list[threading.Thread] = []
    with interruption:
        try:
            for _ in range(min(n_threads, n_nets)):
                waiting.put(None)
                thread = threading.Thread(target=work)
                thread.start()
                threads.append(thread)
            draw(0)
            is_over = False
            while not is_over:
                # Signals are handled in the main thread only, and while it runs.
                is_over = all_done.wait(CALL_SECONDS)
                draw(len(outcomes))
        except BaseException:
            interruption.request()
            raise
        finally:
            for thread in threads:
                thread.join()
        for i in range(n_nets):
            _, error = outcomes[i]
            if error is not None:
                raise error
        return [outcomes[i][0] for i in range(n_nets)]


def _not_started(net):
    """The result of a network that Ctrl-C came before."""
    return FitResult(
        theta=net.theta.copy(),
        loss=np.nan,
        status=Status.INTERRUPTED,
        message="interrupted by the user before it started",
        n_iter=0,
        n_loss_evals=0,
        n_grad_evals=0,
        seconds=0.0,
        trace=Trace(),
    )


@contextmanager
def _about(what):
    """Begin the sentence about a bad argument with what it concerns."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: {error}") from None


def _check_sequence(name, values, members):
    """Refuse what has no order or no length."""
    is_vector = isinstance(values, np.ndarray) and values.ndim > 0
    if not (is_vector or (isinstance(values, Sequence) and not isinstance(values, str))):
        raise TypeError(f"{name} must be a sequence of {members}, got {type(values).__name__}")


def _check_one_each(name, values, n_nets):
    if len(values) != n_nets:
        raise ValueError(
            f"{name} must be a sequence of one for each network, {n_nets}, got {len(values)}"
        )


def _check_networks(nets):
    _check_sequence("nets", nets, "fastmlp.MLP")
    if len(nets) == 0:
        raise ValueError("nets must have at least one network, got none")
    places: dict[int, int] = {}
    for i, net in enumerate(nets):
        with _about(f"nets[{i}]"):
            check_network(net)
        first = places.setdefault(id(net), i)
        if first != i:
            raise ValueError(
                f"nets must be different objects, got the same as nets[{first}] and nets[{i}]"
            )


def _spread_seeds(seeds, n_nets):
    """One seed for each network."""
    if seeds is None:
        return [None] * n_nets
    if isinstance(seeds, Integral):
        check_count("seeds", seeds, 0)
        return np.random.SeedSequence(int(seeds)).spawn(n_nets)
    _check_sequence("seeds", seeds, "integers, an integer or None")
    _check_one_each("seeds", seeds, n_nets)
    for i, seed in enumerate(seeds):
        check_count(f"seeds[{i}]", seed, 0)
    return list(seeds)


def _columns(net):
    """What decides how X becomes an array."""
    return net.dtype, net.feature_names, net._pieces.inputs


def _as_arrays(nets, X):
    """X as every network takes it, by `_columns`, without a needless copy."""
    data = {}
    for net in nets:
        if _columns(net) not in data:
            chosen = take_columns("X", X, net.feature_names)
            if is_read_in_windows(chosen, net.dtype):
                raise ValueError(
                    f"X must be in memory for networks that train at the same time, got "
                    f"{type(X).__name__} that would be read in windows: fit them one by one"
                )
            data[_columns(net)] = net._as_inputs(chosen)
    return data


def _check_problems(nets, data, y, feature_names, options):
    """Check what `fit` would, once for all networks that would answer alike.

    Returns for each network the `Prepared` fit of the first of its kind.
    """
    prepared: dict[tuple, Prepared] = {}
    kinds = []
    for i, net in enumerate(nets):
        sizes = net.layer_sizes[0], net.layer_sizes[-1], net.n_params
        kind = (type(net), *_columns(net), *sizes, net.output, net._pieces)
        kinds.append(kind)
        if kind in prepared:
            continue
        # What is wrong with the first is most likely wrong with all.
        with _about(f"nets[{i}]") if i else nullcontext():
            prepared[kind] = prepare(
                net,
                data[_columns(net)],
                y,
                seed=None,
                n_threads=1,
                progress=False,
                feature_names=feature_names,
                **options,
            )
    return [prepared[kind] for kind in kinds]


def _check_rows(rows, nets, n_rows, weights):
    """Check the rows of every network; return them as arrays of integers or of booleans."""
    _check_sequence("rows", rows, "arrays")
    _check_one_each("rows", rows, len(nets))
    return [
        _check_part(f"rows[{i}]", part, n_rows, weights, net.dtype)
        for i, (part, net) in enumerate(zip(rows, nets, strict=True))
    ]


def _check_batch_norms(nets, rows, n_rows, *, optimizer, batch_size, **_):
    """Check the mini-batches of networks with batch norm, which go by the rows of each."""
    for i, (net, part) in enumerate(zip(nets, rows, strict=True)):
        if net._pieces.has_batch_norm:
            stages = check_optimizers(Adam() if optimizer is None else optimizer, net.n_params)
            size = BATCH_SIZE if batch_size == "auto" else batch_size
            with _about(f"nets[{i}]"):
                check_mini_batches(net, stages, np.arange(n_rows)[part].size, size)


def _check_part(name, values, n_rows, weights, dtype):
    part = as_real(name, values)
    is_mask = part.dtype.kind == "b"
    if part.ndim != 1 or part.dtype.kind not in "iub" or (is_mask and part.size != n_rows):
        raise ValueError(
            f"{name} must be a vector of integers, or of {n_rows} booleans, got the dtype "
            f"{part.dtype} and the shape {part.shape}"
        )
    if not (part.any() if is_mask else part.size):
        raise ValueError(f"{name} must name at least one row, got none")
    if not is_mask and (part.min() < 0 or part.max() >= n_rows):
        wrong = part.min() if part.min() < 0 else part.max()
        raise ValueError(f"{name} must be from 0 to {n_rows - 1}, got {wrong}")
    if weights is not None:
        with _about(name):
            as_weights(weights[part], len(weights[part]), dtype)
    return part
