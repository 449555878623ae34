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


def predict(net, pace, X, n_threads=None, members=False, lengths=None):
    """Outputs of `net` for the rows of X, see `MLP.predict`; `pace` is what it learnt before.

    Those of all steps of a sequence are side by side.
    """
    check_flag("members", members)
    if n_threads is not None:
        check_count("n_threads", n_threads)
    theta = net.theta
    X, sequences = net._as_rows(X, lengths)
    if sequences is None:
        check_rows_shape("X", X.shape, net.layer_sizes[0])
    X, described = read_only(X), net._program_for(sequences)
    if described is not None:
        net.check_rows(X)  # its kernel looks at outputs alone, which may hide what is infinite
    n_rows, row_flops = len(X), _row_flops(net, described)
    n_parts = min(n_rows, choose_parts(n_rows * row_flops, n_threads, REGION_SECONDS))
    n_members = net._pieces.members if members else 1
    averages = not (members or (sequences is not None and sequences.by_step))
    is_one = averages or described is None
    n_outputs = net.layer_sizes[-1] * (1 if is_one else described.factor)
    result = np.empty((n_rows, n_outputs), theta.dtype)
    if n_parts == 1:
        all_finite = _forward(net, described, X, result, n_parts, averages)
    else:
        all_finite = _forward_at_pace(net, described, pace, X, result, n_parts, averages)
    if not all_finite:
        check_finite("theta", theta)
        net.check_rows(X)
    return result.reshape(n_rows, n_members, -1) if members else result


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


def _row_flops(net, described):
    """Floating-point operations for one row, without those of activations."""
    return 2 * net.theta.size if described is None else described.flops


def _forward(net, described, X, result, n_parts, averages):
    """Overwrite `result` by the outputs; return whether all pre-activations are finite.

    Of a program, which is `described` then, whether all outputs are.
    """
    if described is not None:
        tables, fixed, statistics = net._forward_plan(described)
        if net._statistics is not None:
            fixed = fixed.copy()
            fixed[statistics : statistics + net._statistics.size] = net._statistics
        address = program.predict_address(net.dtype)
        arguments = address, tables, fixed, net.theta, X, result, averages
        return run(program.program_predict, n_parts, *arguments, n_parts)
    address = predict_part_address(net.dtype)
    rare_at = _rare_forward_at(net._activation_codes, net.dtype)
    layout, parameters = net._layout_numbers, net._activation_parameters
    arguments = address, net.theta, X, layout, parameters, rare_at, result
    return run(predict_kernel, n_parts, *arguments, n_parts)


@functools.cache
def _rare_forward_at(activations, dtype):
    """Address of the rare activations, without softmax, which prediction has of its own."""
    rare = tuple(code for code in activations if code != codes.SOFTMAX)
    return rare_addresses(rare, dtype)[0]


def _forward_at_pace(net, described, pace, X, result, n_parts, averages):
    """Do `_forward` in slices of rows, in parts or alone, as is faster on the machine now."""
    all_finite, start, row_flops = True, 0, _row_flops(net, described)
    while start < len(X):
        as_team, flops = pace.next()
        parts = n_parts if as_team else 1
        stop = min(len(X), start + max(n_parts, int(flops / row_flops)))
        if pace.is_new(as_team):
            # Compiles or loads the kernel, off the clock.
            _forward(net, described, X[:0], result[:0], parts, averages)
        began = time.perf_counter()
        rows = X[start:stop], result[start:stop]
        all_finite &= _forward(net, described, *rows, parts, averages)
        seconds = time.perf_counter() - began
        pace.learn(as_team, (stop - start) * row_flops, seconds)
        start = stop
    return all_finite
