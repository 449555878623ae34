"""Activations over contiguous vectors: forward in place, backward from the outputs.

Most derivatives follow from the output alone. Those of gelu and silu do not; their forward pass
keeps the derivative for the backward pass.
"""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import loop
from fastmlp.kernels.elementwise import (
    exp,
    expm1,
    normal_cdf,
    normal_pdf,
    sigmoid,
    softplus,
    tanh,
)

# Klambauer et al. (2017), Self-normalizing neural networks, section 2.
SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


@loop
def activation_forward(z, code, parameter):
    """Overwrite the pre-activations `z` by the activation `code` of them.

    `parameter` is the slope of leaky_relu, in z's dtype; others ignore it. Softmax needs whole
    rows, see `softmax_rows`.
    """
    one = z.dtype.type(1.0)
    zero = z.dtype.type(0.0)
    if code == codes.RELU:
        # The comparison keeps NaN: a fit must notice a broken network.
        for i in range(z.size):
            z[i] = zero if z[i] <= zero else z[i]
    elif code == codes.LEAKY_RELU:
        for i in range(z.size):
            z[i] = z[i] * parameter if z[i] <= zero else z[i]
    elif code == codes.SIGMOID:
        for i in range(z.size):
            z[i] = sigmoid(z[i])
    elif code == codes.TANH:
        for i in range(z.size):
            z[i] = tanh(z[i])
    elif code == codes.ELU or code == codes.SELU:
        scale = one
        alpha = one
        if code == codes.SELU:
            scale = z.dtype.type(SELU_SCALE)
            alpha = z.dtype.type(SELU_SCALE * SELU_ALPHA)
        for i in range(z.size):
            x = z[i]
            negative = alpha * expm1(x)
            z[i] = negative if x <= zero else scale * x
    elif code == codes.GELU:
        for i in range(z.size):
            z[i] = z[i] * normal_cdf(z[i])
    elif code == codes.SILU:
        for i in range(z.size):
            z[i] = z[i] * sigmoid(z[i])
    elif code == codes.SOFTPLUS:
        for i in range(z.size):
            z[i] = softplus(z[i])
    elif code == codes.EXPONENTIAL:
        for i in range(z.size):
            z[i] = exp(z[i])


@loop
def activation_forward_saving(z, code, parameter, slope):
    """Do `activation_forward`, and for gelu and silu overwrite `slope` by their derivatives.

    `z` and `slope` are vectors of one length; other activations leave `slope` alone.
    """
    one = z.dtype.type(1.0)
    if code == codes.GELU:
        for i in range(z.size):
            x = z[i]
            cdf = normal_cdf(x)
            slope[i] = cdf + x * normal_pdf(x)
            z[i] = x * cdf
    elif code == codes.SILU:
        for i in range(z.size):
            x = z[i]
            s = sigmoid(x)
            slope[i] = s * (one + x * (one - s))
            z[i] = x * s
    else:
        activation_forward(z, code, parameter)


@loop
def activation_backward(delta, output, slope, code, parameter):
    """Multiply `delta` by the derivative of the activation, in place.

    On entry `delta` is the gradient with respect to the activation's `output`. `slope` holds the
    derivative for gelu and silu (`activation_forward_saving`), others do not read it. All are
    vectors of one length.
    """
    one = output.dtype.type(1.0)
    zero = output.dtype.type(0.0)
    if code == codes.RELU:
        for i in range(delta.size):
            delta[i] = zero if output[i] <= zero else delta[i]
    elif code == codes.LEAKY_RELU:
        for i in range(delta.size):
            delta[i] = delta[i] * parameter if output[i] <= zero else delta[i]
    elif code == codes.SIGMOID:
        for i in range(delta.size):
            delta[i] *= output[i] * (one - output[i])
    elif code == codes.TANH:
        for i in range(delta.size):
            delta[i] *= one - output[i] * output[i]
    elif code == codes.ELU or code == codes.SELU:
        scale = one
        alpha = one
        if code == codes.SELU:
            scale = output.dtype.type(SELU_SCALE)
            alpha = output.dtype.type(SELU_SCALE * SELU_ALPHA)
        for i in range(delta.size):
            delta[i] *= output[i] + alpha if output[i] <= zero else scale
    elif code == codes.GELU or code == codes.SILU:
        for i in range(delta.size):
            delta[i] *= slope[i]
    elif code == codes.SOFTPLUS:
        for i in range(delta.size):
            delta[i] *= -expm1(-output[i])
    elif code == codes.EXPONENTIAL:
        for i in range(delta.size):
            delta[i] *= output[i]


@loop
def softmax_rows(z, i0, rows):
    """Overwrite rows ``i0 : i0+rows`` of the matrix `z` by their softmax."""
    for i in range(i0, i0 + rows):
        largest = z[i, 0]
        for j in range(1, z.shape[1]):
            largest = max(largest, z[i, j])
        for j in range(z.shape[1]):
            z[i, j] = exp(z[i, j] - largest)
        total = z[i, 0]
        for j in range(1, z.shape[1]):
            total += z[i, j]
        for j in range(z.shape[1]):
            z[i, j] /= total


@loop
def softmax_backward_rows(delta, output):
    """Multiply the rows of `delta` by the softmax Jacobians of those of `output`, in place.

    delta_j = p_j (g_j - sum_k p_k g_k), with g the gradient on entry and p the output.
    """
    for i in range(output.shape[0]):
        mean = output.dtype.type(0.0)
        for j in range(output.shape[1]):
            mean += output[i, j] * delta[i, j]
        for j in range(output.shape[1]):
            delta[i, j] = output[i, j] * (delta[i, j] - mean)
