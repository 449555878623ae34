"""Parameter updates of the stochastic optimizers, on any contiguous part of theta.

Each reads `gradient`, accumulates into the state vectors and overwrites `theta`. All arguments
are vectors of one length and dtype, or scalars of that dtype, so that the loops vectorize.
"""

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels._jit import entry, inline, loop
from fastmlp.kernels.simd import vector


@loop
def sgd_update(theta, gradient, velocity, learning_rate, momentum, nesterov):
    """v <- momentum v + g; theta <- theta - learning_rate (v, or g + momentum v if `nesterov`).

    Without momentum `velocity` is neither read nor written and may be of any length.
    """
    if momentum == 0.0:
        for i in range(theta.size):
            theta[i] -= learning_rate * gradient[i]
    elif nesterov != 0.0:
        for i in range(theta.size):
            velocity[i] = momentum * velocity[i] + gradient[i]
            theta[i] -= learning_rate * (gradient[i] + momentum * velocity[i])
    else:
        for i in range(theta.size):
            velocity[i] = momentum * velocity[i] + gradient[i]
            theta[i] -= learning_rate * velocity[i]


@loop
def adagrad_update(theta, gradient, total, learning_rate, epsilon):
    """s <- s + g^2; theta <- theta - learning_rate g / (sqrt(s) + epsilon)."""
    for i in range(theta.size):
        total[i] += gradient[i] * gradient[i]
        theta[i] -= learning_rate * gradient[i] / (np.sqrt(total[i]) + epsilon)


@loop
def rmsprop_update(theta, gradient, mean, velocity, learning_rate, rho, rest, epsilon, momentum):
    """s <- rho s + rest g^2; step along g / (sqrt(s) + epsilon), with optional momentum.

    `rest` is 1 - rho, rounded after the subtraction.

    Without momentum `velocity` is neither read nor written and may be of any length.
    """
    if momentum == 0.0:
        for i in range(theta.size):
            mean[i] = rho * mean[i] + rest * gradient[i] * gradient[i]
            theta[i] -= learning_rate * gradient[i] / (np.sqrt(mean[i]) + epsilon)
    else:
        for i in range(theta.size):
            mean[i] = rho * mean[i] + rest * gradient[i] * gradient[i]
            velocity[i] = momentum * velocity[i] + gradient[i] / (np.sqrt(mean[i]) + epsilon)
            theta[i] -= learning_rate * velocity[i]


@loop
def adam_update(
    theta,
    gradient,
    mean,
    square,
    step_size,
    beta_1,
    rest_1,
    beta_2,
    rest_2,
    epsilon,
    root_correction,
    decay,
):
    """Adam with its bias corrections folded into two scalars, and decoupled decay.

    m <- beta_1 m + rest_1 g; v <- beta_2 v + rest_2 g^2;
    theta <- decay theta - step_size m / (sqrt(v) / root_correction + epsilon), where at step t
    step_size = learning_rate / (1 - beta_1^t) and root_correction = sqrt(1 - beta_2^t);
    rest_1 = 1 - beta_1 and rest_2 = 1 - beta_2, rounded after the subtraction.
    """
    inverse = theta.dtype.type(1.0) / root_correction
    for i in range(theta.size):
        mean[i] = beta_1 * mean[i] + rest_1 * gradient[i]
        square[i] = beta_2 * square[i] + rest_2 * gradient[i] * gradient[i]
        root = np.sqrt(square[i]) * inverse + epsilon
        theta[i] = theta[i] * decay - step_size * mean[i] / root


@inline
def apply_update(code, theta, gradient, slot_1, slot_2, hyper, learning_rate, t, is_weight):
    """Do update number `t` (from 1) of the optimizer `code` on one part of theta.

    `hyper` is in the order of `codes.HYPERPARAMETERS`; float64, like `learning_rate`, and
    rounded to theta's dtype here. `slot_1` and `slot_2` are the optimizer's state, empty where
    it has none. Weight decay applies where `is_weight`, not to biases.
    """
    typed = theta.dtype.type
    if code == codes.SGD:
        sgd_update(theta, gradient, slot_1, typed(learning_rate), typed(hyper[0]), typed(hyper[1]))
    elif code == codes.ADAGRAD:
        adagrad_update(theta, gradient, slot_1, typed(learning_rate), typed(hyper[5]))
    elif code == codes.RMSPROP:
        rmsprop_update(
            theta,
            gradient,
            slot_1,
            slot_2,
            typed(learning_rate),
            typed(hyper[2]),
            typed(1.0 - hyper[2]),
            typed(hyper[5]),
            typed(hyper[0]),
        )
    elif code == codes.ADAM:
        step_size = learning_rate / (1.0 - hyper[3] ** t)
        root_correction = np.sqrt(1.0 - hyper[4] ** t)
        decay = 1.0 - learning_rate * hyper[6] if is_weight else 1.0
        adam_update(
            theta,
            gradient,
            slot_1,
            slot_2,
            typed(step_size),
            typed(hyper[3]),
            typed(1.0 - hyper[3]),
            typed(hyper[4]),
            typed(1.0 - hyper[4]),
            typed(hyper[5]),
            typed(root_correction),
            typed(decay),
        )


@entry
def update_vector(code, theta, gradient, state, hyper, learning_rate, t):
    """Do `apply_update` on a whole vector of weights; `state` holds its slots, one by one."""
    n = theta.size
    slot_1 = vector(state, 0, n)
    slot_2 = vector(state, n if state.size > n else 0, n)
    apply_update(code, theta, gradient, slot_1, slot_2, hyper, learning_rate, t, True)
