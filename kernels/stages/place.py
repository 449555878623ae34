"""Where a step finds its numbers: views of a block's values, deltas, gradients and scratch."""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import inline
from fastmlp.kernels.view import matrix, vector


@inline
def values(block, work, offset, rows, columns):
    """View of a matrix in a block's memory."""
    return matrix(work, block.memory + offset, rows, columns)


@inline
def inputs(step, block, work):
    """View of what the step takes: the block's rows, `factor` times, by its n_in."""
    return values(block, work, step.input, step.factor * block.rows, step.n_in)


@inline
def second_inputs(step, block, work):
    """View of what else the step takes, a matrix like the first one."""
    return values(block, work, step.second, step.factor * block.rows, step.n_in)


@inline
def outputs(step, block, work):
    """View of what the step gives, by its n_out."""
    return values(block, work, step.output, step.factor * block.rows, step.n_out)


@inline
def input_deltas(step, block, work):
    """View of the deltas of what the step takes."""
    return values(block, work, step.input_delta, step.factor * block.rows, step.n_in)


@inline
def output_deltas(step, block, work):
    """View of the deltas of what the step gives."""
    return values(block, work, step.output_delta, step.factor * block.rows, step.n_out)


@inline
def saved(step, block, work, columns):
    """View of what the step keeps for the way back."""
    return values(block, work, step.saved, step.factor * block.rows, columns)


@inline
def setting(step, work, i):
    """One of the step's own numbers, as an integer."""
    return int(work[step.constant + i])


@inline
def flat(array):
    """View of all elements of a matrix, as a vector."""
    return vector(array, 0, array.size)


@inline
def gradient(block, work, offset, size):
    """View of the gradient of some parameters, of the block's group: what a step adds to."""
    return vector(work, block.gradient + offset, size)


@inline
def scratch(block, work):
    """View of what a product may destroy."""
    return vector(work, block.scratch, block.scratch_size)


@inline
def wants_delta(step):
    """Whether anyone reads the delta of the step's input."""
    return step.goes_back != codes.STOPS
