"""Parameter updates of the stochastic optimizers, on any contiguous part of theta.

Each reads `gradient`, accumulates into the state vectors and overwrites `theta`. All arguments
are vectors of one length and dtype, or scalars of that dtype, so that the loops vectorize. Where
there are many scalars, they are a tuple, `how`.

What a loop stores and uses again has a name: for all the compiler knows, arrays may overlap, so
that it would read an element anew, and waiting for a store across two cache lines to arrive takes
longer than the rest of an update.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, entry, inline, loop, worker
from fastmlp.kernels.view import vector
from fastmlp.kernels.views import kind_row

N_HYPERPARAMETERS = len(codes.HYPERPARAMETERS)


class RMSPropScalars(NamedTuple):
    """What `rmsprop_update` multiplies by; `rest` is 1 - rho, rounded after the subtraction."""

    learning_rate: float
    rho: float
    rest: float
    epsilon: float
    momentum: float


class AdamScalars(NamedTuple):
    """What `adam_update` and `amsgrad_update` multiply by.

    At step t `step_size` is learning_rate / (1 - beta_1^t) and `root_correction` is
    sqrt(1 - beta_2^t): Adam's bias corrections. `rest_1` and `rest_2` are 1 - beta_1 and
    1 - beta_2, rounded after the subtraction.
    """

    step_size: float
    beta_1: float
    rest_1: float
    beta_2: float
    rest_2: float
    epsilon: float
    root_correction: float
    decay: float  # what is left of a weight


class NAdamScalars(NamedTuple):
    """What `nadam_update` multiplies by: `AdamScalars` with two step sizes and no decay."""

    gradient_size: float
    mean_size: float
    beta_1: float
    rest_1: float
    beta_2: float
    rest_2: float
    epsilon: float
    root_correction: float


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
            g = gradient[i]
            v = momentum * velocity[i] + g
            velocity[i] = v
            theta[i] -= learning_rate * (g + momentum * v)
    else:
        for i in range(theta.size):
            v = momentum * velocity[i] + gradient[i]
            velocity[i] = v
            theta[i] -= learning_rate * v


@loop
def adagrad_update(theta, gradient, total, learning_rate, epsilon):
    """s <- s + g^2; theta <- theta - learning_rate g / (sqrt(s) + epsilon)."""
    for i in range(theta.size):
        g = gradient[i]
        s = total[i] + g * g
        total[i] = s
        theta[i] -= learning_rate * g / (np.sqrt(s) + epsilon)


@loop
def rmsprop_update(theta, gradient, mean, velocity, how):
    """s <- rho s + rest g^2; step along g / (sqrt(s) + epsilon), with optional momentum.

    `how` is `RMSPropScalars`. Without momentum `velocity` is neither read nor written and may be of
    any length.
    """
    learning_rate, rho, rest, epsilon, momentum = how
    if momentum == 0.0:
        for i in range(theta.size):
            g = gradient[i]
            s = rho * mean[i] + rest * g * g
            mean[i] = s
            theta[i] -= learning_rate * g / (np.sqrt(s) + epsilon)
    else:
        for i in range(theta.size):
            g = gradient[i]
            s = rho * mean[i] + rest * g * g
            v = momentum * velocity[i] + g / (np.sqrt(s) + epsilon)
            mean[i] = s
            velocity[i] = v
            theta[i] -= learning_rate * v


@loop
def adam_update(theta, gradient, mean, square, how):
    """Adam with its bias corrections folded into two scalars, and decoupled decay.

    m <- beta_1 m + rest_1 g; v <- beta_2 v + rest_2 g^2;
    theta <- decay theta - step_size m / (sqrt(v) / root_correction + epsilon), with the
    `AdamScalars` in `how`.
    """
    step_size, beta_1, rest_1, beta_2, rest_2, epsilon, root_correction, decay = how
    inverse = theta.dtype.type(1.0) / root_correction
    for i in range(theta.size):
        g = gradient[i]
        m = beta_1 * mean[i] + rest_1 * g
        v = beta_2 * square[i] + rest_2 * g * g
        mean[i] = m
        square[i] = v
        root = np.sqrt(v) * inverse + epsilon
        theta[i] = theta[i] * decay - step_size * m / root


@loop
def amsgrad_update(theta, gradient, mean, square, largest, how):
    """Do `adam_update` with the largest v so far in place of v, which `largest` keeps."""
    step_size, beta_1, rest_1, beta_2, rest_2, epsilon, root_correction, decay = how
    inverse = theta.dtype.type(1.0) / root_correction
    for i in range(theta.size):
        g = gradient[i]
        m = beta_1 * mean[i] + rest_1 * g
        v = beta_2 * square[i] + rest_2 * g * g
        mean[i] = m
        square[i] = v
    # Apart, because the compiler makes no vectors of a loop over five arrays that may overlap.
    for i in range(theta.size):
        before, now = largest[i], square[i]
        # So written, NaN wins.
        v = before if now <= before else now
        largest[i] = v
        root = np.sqrt(v) * inverse + epsilon
        theta[i] = theta[i] * decay - step_size * mean[i] / root


@loop
def nadam_update(theta, gradient, mean, square, how):
    """Adam with Nesterov's look ahead, its bias corrections folded into three scalars.

    m <- beta_1 m + rest_1 g; v <- beta_2 v + rest_2 g^2;
    theta <- theta - (gradient_size g + mean_size m) / (sqrt(v) / root_correction + epsilon), with
    the `NAdamScalars` in `how`.
    """
    gradient_size, mean_size, beta_1, rest_1, beta_2, rest_2, epsilon, root_correction = how
    inverse = theta.dtype.type(1.0) / root_correction
    for i in range(theta.size):
        g = gradient[i]
        m = beta_1 * mean[i] + rest_1 * g
        v = beta_2 * square[i] + rest_2 * g * g
        mean[i] = m
        square[i] = v
        root = np.sqrt(v) * inverse + epsilon
        theta[i] -= (gradient_size * g + mean_size * m) / root


@inline
def momentum_product(beta, decay, t):
    """Product of NAdam's mu_1 ... mu_t, with mu_i = beta (1 - 0.96^(i decay) / 2), in float64.

    0 as soon as it no longer shows in 1 minus the product, which takes it some fifty factors by
    default: so it need not be kept between updates.
    """
    ratio = 0.96**decay
    power = 1.0
    product = 1.0
    for _ in range(t):
        power *= ratio
        product *= beta * (1.0 - 0.5 * power)
        if product < 1e-17:
            return 0.0
    return product


@inline
def complement(beta, t):
    """Return 1 - beta^t for 0 <= beta < 1; no power is taken where it no longer shows.

    beta^t <= exp(-(1 - beta) t), and exp(-40) is less than half of what float64 tells from 1.
    """
    return 1.0 if (1.0 - beta) * t > 40.0 else 1.0 - beta**t


@inline
def update_coefficients(code, hyper, learning_rate, weight_decay, t, coefficients):
    """Overwrite `coefficients` by what update number `t` (from 1) of the optimizer needs.

    They are in the order of the optimizer's scalars, see `AdamScalars`.

    `hyper` is in the order of `codes.HYPERPARAMETERS`; float64, like `learning_rate` and
    `weight_decay`, and rounded to the dtype of `coefficients`, theta's, at last. Powers are taken
    here, once a step.
    """
    if code == codes.SGD:
        coefficients[0] = learning_rate
        coefficients[1] = hyper[0]
        coefficients[2] = hyper[1]
    elif code == codes.ADAGRAD:
        coefficients[0] = learning_rate
        coefficients[1] = hyper[5]
    elif code == codes.RMSPROP:
        coefficients[0] = learning_rate
        coefficients[1] = hyper[2]
        coefficients[2] = 1.0 - hyper[2]
        coefficients[3] = hyper[5]
        coefficients[4] = hyper[0]
    elif code == codes.ADAM or code == codes.AMSGRAD:
        coefficients[0] = learning_rate / complement(hyper[3], t)
        coefficients[1] = hyper[3]
        coefficients[2] = 1.0 - hyper[3]
        coefficients[3] = hyper[4]
        coefficients[4] = 1.0 - hyper[4]
        coefficients[5] = hyper[5]
        coefficients[6] = np.sqrt(complement(hyper[4], t))
        coefficients[7] = 1.0 - learning_rate * weight_decay
    elif code == codes.NADAM:
        mu = hyper[3] * (1.0 - 0.5 * 0.96 ** (t * hyper[6]))
        mu_next = hyper[3] * (1.0 - 0.5 * 0.96 ** ((t + 1) * hyper[6]))
        product = momentum_product(hyper[3], hyper[6], t)
        coefficients[0] = learning_rate * (1.0 - mu) / (1.0 - product)
        coefficients[1] = learning_rate * mu_next / (1.0 - product * mu_next)
        coefficients[2] = hyper[3]
        coefficients[3] = 1.0 - hyper[3]
        coefficients[4] = hyper[4]
        coefficients[5] = 1.0 - hyper[4]
        coefficients[6] = hyper[5]
        coefficients[7] = np.sqrt(complement(hyper[4], t))


@inline
def kinds_coefficients(code, n_kinds, hyper, rates, t, coefficients):
    """Do `update_coefficients` for each kind of parameters, with its factors of the rates.

    `hyper` goes on with the factors of all kinds, and then with those of the weight decay; `rates`
    (N_RATES,) are those of the update. Overwrites the rows of `coefficients`, one for each kind, a
    vector.
    """
    for kind in range(n_kinds):
        rate = rates[codes.RATE] * hyper[N_HYPERPARAMETERS + kind]
        decay = rates[codes.DECAY] * hyper[N_HYPERPARAMETERS + n_kinds + kind]
        update_coefficients(code, hyper, rate, decay, t, kind_row(coefficients, kind))


# An update of each optimizer on one part of theta, all with the same arguments, so that the
# training loop calls it by address and a fit compiles its own optimizer alone. `c` are the
# coefficients of `update_coefficients`; the slots are the optimizer's state, of which it neither
# reads nor writes more than it has. Weight decay applies where `is_weight`, not to biases.


@worker
def sgd(theta, gradient, slot_1, slot_2, slot_3, c, is_weight):
    """Do `sgd_update`."""
    sgd_update(theta, gradient, slot_1, c[0], c[1], c[2])


@worker
def adagrad(theta, gradient, slot_1, slot_2, slot_3, c, is_weight):
    """Do `adagrad_update`."""
    adagrad_update(theta, gradient, slot_1, c[0], c[1])


@worker
def rmsprop(theta, gradient, slot_1, slot_2, slot_3, c, is_weight):
    """Do `rmsprop_update`."""
    how = RMSPropScalars(c[0], c[1], c[2], c[3], c[4])
    rmsprop_update(theta, gradient, slot_1, slot_2, how)


@worker
def adam(theta, gradient, slot_1, slot_2, slot_3, c, is_weight):
    """Do `adam_update`."""
    decay = c[7] if is_weight else theta.dtype.type(1.0)
    how = AdamScalars(c[0], c[1], c[2], c[3], c[4], c[5], c[6], decay)
    adam_update(theta, gradient, slot_1, slot_2, how)


@worker
def amsgrad(theta, gradient, slot_1, slot_2, slot_3, c, is_weight):
    """Do `amsgrad_update`."""
    decay = c[7] if is_weight else theta.dtype.type(1.0)
    how = AdamScalars(c[0], c[1], c[2], c[3], c[4], c[5], c[6], decay)
    amsgrad_update(theta, gradient, slot_1, slot_2, slot_3, how)


@worker
def nadam(theta, gradient, slot_1, slot_2, slot_3, c, is_weight):
    """Do `nadam_update`."""
    how = NAdamScalars(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
    nadam_update(theta, gradient, slot_1, slot_2, how)


UPDATES = {
    codes.SGD: sgd,
    codes.ADAGRAD: adagrad,
    codes.RMSPROP: rmsprop,
    codes.ADAM: adam,
    codes.AMSGRAD: amsgrad,
    codes.NADAM: nadam,
}


@functools.cache
def update_address(code, dtype):
    """Address of the update of the optimizer `code` in `dtype`, compiled or loaded on first use."""
    number = from_dtype(np.dtype(dtype))
    vectors = [types.Array(number, 1, "C")] * 6
    return UPDATES[code].address(*vectors, types.int64)


@entry
def update_vector(update_at, code, theta, gradient, state, hyper, rates, t):
    """Do update number `t` on a whole vector of weights; `state` holds its slots, one by one.

    `update_at` is the `update_address` of the optimizer `code`, and `rates` a row of the table that
    `epoch.sweep_part` takes.
    """
    n = theta.size
    slot_1 = vector(state, 0, n)
    slot_2 = vector(state, n if state.size > n else 0, n)
    slot_3 = vector(state, 2 * n if state.size > 2 * n else 0, n)
    coefficients = np.empty(codes.N_COEFFICIENTS, theta.dtype)
    rate, decay = rates[codes.RATE], rates[codes.DECAY]
    update_coefficients(code, hyper, rate, decay, t, coefficients)
    call_worker(update_at, theta, vector(gradient, 0, n), slot_1, slot_2, slot_3, coefficients, 1)
