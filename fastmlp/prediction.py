"""The outputs of a network for given inputs, in as little time as one row deserves."""

import functools
import time
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import codes, program
from fastmlp.kernels.activations import rare_addresses
from fastmlp.kernels.predict import predict as predict_kernel
from fastmlp.kernels.predict import predict_part_address
from fastmlp.kernels.threads import REGION_SECONDS, choose_parts, run
from fastmlp.program_workspace import ProgramWorkspace
from fastmlp.sources.streamed import checked_rows
from fastmlp.tables import packed
from fastmlp.validation import (
    check_count,
    check_finite,
    check_flag,
    check_rows_shape,
    read_only,
)

# Rows that go through a program together: whole blocks are as many as memory has room for.
PROGRAM_ROWS = 256


class ProgramForward(NamedTuple):
    """What prediction by a program needs that stays the same: tables, and what begins its memory.

    Attributes
    ----------
    statistics : int
        Where the network's statistics are in `fixed`.
    """

    tables: np.ndarray
    fixed: np.ndarray
    statistics: int


def plan_program(description, dtype, n_steps=None):
    """Plan the prediction of a network that is this program; see `ProgramForward`.

    With `n_steps`, its outputs are what the last of so many steps gives.
    """
    workspace = ProgramWorkspace(description, dtype, rows=PROGRAM_ROWS, goes_back=False)
    if n_steps is not None:
        workspace.plan.n_steps = n_steps
        workspace.plan.factor = description.steps[n_steps - 1].factor
    tables, _ = packed({codes.PLAN: workspace.plans, codes.STEPS: workspace.steps})
    fixed = workspace.buffer[: workspace.n_fixed].copy()
    return ProgramForward(tables, fixed, int(workspace.plan.statistics))


def predict(net, pace, X, n_threads=None, members=False, lengths=None, out=None):
    """Outputs of `net` for the rows of X, see `MLP.predict`; `pace` is what it learnt before.

    Those of all steps of a sequence are side by side.
    """
    check_flag("members", members)
    if n_threads is not None:
        check_count("n_threads", n_threads)
    X, sequences = net._as_rows(X, lengths)
    if sequences is None:
        check_rows_shape("X", X.shape, net._layer_sizes[0])
    if out is None and type(X) is np.ndarray:
        return _of_rows(net, pace, X, sequences, n_threads, members)
    n_rows, n_out = X.shape[0], net._layer_sizes[-1]
    shape = (n_rows, net._pieces.members, n_out) if members else (n_rows, n_out)
    if out is None:
        out = np.empty(shape, net.dtype)
    else:
        _check_out(out, shape)
    if type(X) is np.ndarray:
        out[0:n_rows] = _of_rows(net, pace, X, sequences, n_threads, members)
        return out
    for start, stop, (rows, _, _) in checked_rows(X, net).windows():
        out[start:stop] = _of_rows(net, pace, rows, sequences, n_threads, members)
    return out


def _check_out(out, shape):
    if not hasattr(out, "__setitem__"):
        raise TypeError(
            f"out must be an array, or anything else that takes slices of rows, got "
            f"{type(out).__name__}"
        )
    if tuple(getattr(out, "shape", shape)) != shape:
        raise ValueError(f"out must have the shape {shape}, got {tuple(out.shape)}")


def _of_rows(net, pace, X, sequences, n_threads, members):
    """Outputs for rows that are in memory."""
    X, described = read_only(X), net._program_for(sequences)
    theta, n_rows, n_out = net._theta, len(X), net._layer_sizes[-1]
    if described is None:
        averages, width, row_flops, forward = True, n_out, 2 * theta.size, _forward_chain
    else:
        net.check_rows(X)  # its kernel looks at outputs alone, which may hide what is infinite
        averages = not (members or (sequences is not None and sequences.by_step))
        width = n_out * (1 if averages else described.factor)
        row_flops, forward = described.flops, _forward_program
    n_parts = min(n_rows, choose_parts(n_rows * row_flops, n_threads, REGION_SECONDS))
    result = np.empty((n_rows, width), theta.dtype)
    if n_parts == 1:
        all_finite = forward(net, described, X, result, n_parts, averages)
    else:
        forward = functools.partial(forward, net, described, averages=averages)
        all_finite = _forward_at_pace(forward, row_flops, pace, X, result, n_parts)
    if not all_finite:
        check_finite("theta", theta)
        net.check_rows(X)
    return result.reshape(n_rows, net._pieces.members, n_out) if members else result


def outputs_after(net, description, n_steps, X):
    """What the first steps of a network's program give for rows of X, (n, factor, n_out)."""
    last = description.steps[n_steps - 1]
    tables, fixed, statistics = plan_program(description, net.dtype, n_steps)
    if net._statistics is not None:
        fixed[statistics : statistics + net._statistics.size] = net._statistics
    result = np.empty((len(X), last.factor * last.n_out), net.dtype)
    address = program.predict_address(net.dtype)
    arguments = address, tables, fixed, net.theta, read_only(X), result, False
    run(program.program_predict, 1, *arguments, 1)
    return result.reshape(len(X), last.factor, last.n_out)


def check_outputs(outputs, rows, first=0):
    """Refuse outputs (n, n_out) that overflowed: for those who could not tell what they stand for.

    `rows` is what the rows are called in the message, and `first` is the number of the first one.
    """
    if np.isfinite(outputs).all():
        return
    bad = int(np.argmin(np.isfinite(outputs).all(axis=1)))
    raise ValueError(
        f"the outputs for row {bad + first} of {rows} are not finite, as its numbers are too large "
        f"for the network's weights in {outputs.dtype}"
    )


def _forward_program(net, described, X, result, n_parts, averages):
    """Overwrite `result` by the outputs of a program; return whether all of them are finite."""
    tables, fixed, statistics = net._forward_plan(described)
    if net._statistics is not None:
        fixed = fixed.copy()
        fixed[statistics : statistics + net._statistics.size] = net._statistics
    address = program.predict_address(net.dtype)
    arguments = address, tables, fixed, net.theta, X, result, averages
    return run(program.program_predict, n_parts, *arguments, n_parts)


def _forward_chain(net, described, X, result, n_parts, averages):
    """Overwrite `result` by the outputs of a plain network, which is not `described`.

    Return whether all pre-activations are finite.
    """
    dtype = net._dtype
    address, rare_at = predict_part_address(dtype), _rare_forward_at(net._activation_codes, dtype)
    layout, parameters = net._layout_numbers, net._activation_parameters
    arguments = address, net._theta, X, layout, parameters, rare_at, result
    return run(predict_kernel, n_parts, *arguments, n_parts)


@functools.cache
def _rare_forward_at(activations, dtype):
    """Address of the rare activations, without softmax, which prediction has of its own."""
    rare = tuple(code for code in activations if code != codes.SOFTMAX)
    return rare_addresses(rare, dtype)[0]


def _forward_at_pace(forward, row_flops, pace, X, result, n_parts):
    """Do `forward` in slices of rows, in parts or alone, as is faster on the machine now."""
    all_finite, start = True, 0
    while start < len(X):
        as_team, flops = pace.next()
        parts = n_parts if as_team else 1
        stop = min(len(X), start + max(n_parts, int(flops / row_flops)))
        if pace.is_new(as_team):
            # Compiles or loads the kernel, off the clock.
            forward(X[:0], result[:0], parts)
        began = time.perf_counter()
        all_finite &= forward(X[start:stop], result[start:stop], parts)
        seconds = time.perf_counter() - began
        pace.learn(as_team, (stop - start) * row_flops, seconds)
        start = stop
    return all_finite
