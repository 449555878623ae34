"""The step of an activation, in place."""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import worker
from fastmlp.kernels.activations import (
    activation_backward,
    activation_forward_saving,
    softmax_backward_rows,
    softmax_rows,
)
from fastmlp.kernels.stages.place import flat, output_deltas, outputs, saved


@worker
def activation(step, block, work, theta, is_back):
    """Overwrite values by their activation, or deltas by those of what went in.

    Derivatives that do not follow from the output are saved.
    """
    Z = outputs(step, block, work)
    how = (step.code, step.rare_forward_at, step.rare_backward_at, work[step.constant])
    slopes = flat(saved(step, block, work, step.n_out))
    if not is_back:
        if step.code == codes.SOFTMAX:
            softmax_rows(Z, 0, Z.shape[0])
        else:
            activation_forward_saving(flat(Z), how, slopes)
        return
    delta = output_deltas(step, block, work)
    if step.code == codes.SOFTMAX:
        softmax_backward_rows(delta, Z)
    else:
        activation_backward(flat(delta), flat(Z), slopes, how)
