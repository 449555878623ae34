"""The step of an activation, in place."""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, worker
from fastmlp.kernels.activations import (
    activation_backward,
    activation_forward_saving,
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
            call_worker(step.rare_forward_at, step.code, flat(Z), slopes, 0, step.n_out)
        else:
            activation_forward_saving(flat(Z), how, slopes)
        return
    delta = output_deltas(step, block, work)
    if step.code == codes.SOFTMAX:
        at, values = step.rare_backward_at, flat(Z)
        call_worker(at, step.code, flat(delta), values, slopes, step.n_out)
    else:
        activation_backward(flat(delta), flat(Z), slopes, how)
