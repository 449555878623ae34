"""J, its gradient and its Gauss-Newton matrix, summed up row by row."""

import math

import numpy as np

from fastmlp.kernels import codes, jacobian, program_jacobian, records
from fastmlp.kernels.activations import rare_addresses
from fastmlp.kernels.jacobian import Equations, LeastSquares
from fastmlp.kernels.layers import Layers
from fastmlp.kernels.threads import BUSY_REGION_SECONDS, choose_parts, run
from fastmlp.program_workspace import ProgramWorkspace
from fastmlp.sweep import penalty
from fastmlp.tables import packed
from fastmlp.validation import read_only

# Rows of Jacobians, one for each sample and output, that are held at a time: deep enough a product
# for reading and writing the sums to be a small part of it.
JACOBIAN_ROWS = 256

# Floating-point operations in one call of the kernel of the normal equations: some 0.1 s.
CALL_FLOPS = 2e9


def count_errors(net, sequences=None):
    """Numbers whose squares a row's loss is made of: all outputs, of all members or steps."""
    program = net._program_for(sequences)
    return (1 if program is None else program.factor) * net.layer_sizes[-1]


class NormalEquations:
    """Forms J, its gradient and its Gauss-Newton matrix; not for two threads at once.

    Parameters
    ----------
    net, problem, samples
        As of `objective.evaluate`.

    Attributes
    ----------
    flops : float
        Operations of the products in one evaluation, the most of its work.
    n_errors : int
        Of a row: its outputs, of all members or steps of time. So often it goes back through the
        network.
    """

    def __init__(self, net, problem, samples):
        n_params, n_rows = net.n_params, problem.n_rows
        program = net._program_for(problem.sequences)
        self.n_errors = n_errors = count_errors(net, problem.sequences)
        block = min(n_rows, max(1, JACOBIAN_ROWS // n_errors))
        flops_of_row = float(n_errors * n_params * (n_params + 1))
        n_parts = choose_parts(block * flops_of_row, None, BUSY_REGION_SECONDS)
        if problem.n_threads is not None:
            n_parts = min(n_parts, problem.n_threads)
        rows_in_call = block * max(1, int(CALL_FLOPS / (block * flops_of_row)))
        self.flops = n_rows * flops_of_row
        self._net = net
        self._problem = problem
        self._n_parts = n_parts
        if program is None:
            jacobian_part_at, described = _describe_chain(net)
        else:
            jacobian_part_at, described = _describe_program(net, program, n_parts)
        self._addresses = jacobian_part_at, jacobian.products_address()
        self._described = described
        self._samples, self._rows_in_call = samples, rows_in_call
        self._scratch = Equations(
            np.empty((block * n_errors, n_params)),
            np.empty(block * n_errors),
            np.empty(block, net.dtype),
        )

    def at(self, theta, check=None):
        """All three at `theta`; arguments as of `objective.evaluate`."""
        gradient, hessian = np.empty(theta.size), np.empty((theta.size, theta.size))
        total, n_rows = 0.0, self._problem.n_rows
        for first, end, samples in self._parts(check):
            squares = self._least_squares(samples)
            for start in range(first, end, self._rows_in_call):
                stop = min(start + self._rows_in_call, end)
                total += run(
                    jacobian.gauss_newton,
                    self._n_parts,
                    self._addresses,
                    theta,
                    squares,
                    self._described,
                    (start, stop, n_rows, first),
                    self._scratch,
                    (gradient, hessian),
                    self._n_parts,
                )
                if check is not None:
                    check()
        if not math.isfinite(total):
            return np.nan, np.full_like(gradient, np.nan), np.full_like(hessian, np.nan)
        value = total / n_rows + penalty(self._net, self._problem, theta)
        return value, gradient, hessian

    def _parts(self, check):
        """Rows that are in memory together: the first, the end, and the samples."""
        if isinstance(self._samples, tuple):
            yield 0, self._problem.n_rows, self._samples
        else:
            # The sum of the losses is rounded after each call, so calls are those of all rows.
            yield from self._samples.windows(self._rows_in_call, check)

    def _least_squares(self, samples):
        X, Y, weights = (read_only(sample.reshape(-1)) for sample in samples)
        return LeastSquares(X, Y, weights, self._net._layout_numbers, self._problem.l2)


def _describe_chain(net):
    """Address of the worker for rows of the Jacobian, and what it knows the network by."""
    rare_at = rare_addresses(net._activation_codes, net.dtype)
    described = Layers(net._layout_numbers, net._activation_parameters, *rare_at)
    return jacobian.jacobian_address(net.dtype), described


def _describe_program(net, program, n_parts):
    """Do what `_describe_chain` does for a network that is a program."""
    workspace = ProgramWorkspace(program, net.dtype, rows=1)
    tables = [(p, 0, block.n_weight_rows, 0, 0) for p, block in enumerate(program.blocks)]
    parts = {
        codes.PLAN: workspace.plans,
        codes.LAYOUT: net._layout,
        codes.STEPS: workspace.steps,
        codes.BLOCKS: records.new(records.BLOCK, n_parts),
        codes.TASKS: np.array(tables, records.TASK),
    }
    if net._statistics is not None:
        start = workspace.plan.statistics
        workspace.buffer[start : start + net._statistics.size] = net._statistics
    memories = np.tile(workspace.buffer, n_parts)
    return program_jacobian.address(net.dtype), (packed(parts)[0], memories)
