"""Starting weights: random, scaled so that signals keep their size from layer to layer."""

import math

import numpy as np

# Variance of a weight is scale / fan: Glorot & Bengio (2010) with the mean of both fans,
# He et al. (2015) and LeCun et al. (1998) with the fan in.
_SCHEMES = {
    "glorot_uniform": (1.0, "mean", "uniform"),
    "glorot_normal": (1.0, "mean", "normal"),
    "he_uniform": (2.0, "in", "uniform"),
    "he_normal": (2.0, "in", "normal"),
    "lecun_uniform": (1.0, "in", "uniform"),
    "lecun_normal": (1.0, "in", "normal"),
}

# "data" is drawn by the first fit, see `data_initialization`; until then it is "auto".
NAMES = ("auto", "data", *_SCHEMES)

# What "auto" picks for a layer, by its activation: He's factor of two makes up for the half
# that rectifiers cut off, selu's theory asks for LeCun, all else gets Glorot.
_BY_ACTIVATION = {
    "relu": "he_uniform",
    "leaky_relu": "he_uniform",
    "prelu": "he_uniform",
    "elu": "he_uniform",
    "gelu": "he_uniform",
    "silu": "he_uniform",
    "mish": "he_uniform",
    "softplus": "he_uniform",
    "selu": "lecun_normal",
}


def draw_weights(rng, n_in, n_out, init, activation, fan_in=None):
    """Draw one layer's weights, float64 (n_in, n_out).

    Parameters
    ----------
    rng : numpy.random.Generator
    n_in, n_out : int
    init : str
        One of `NAMES`.
    activation : str
        Name of the layer's activation, for "auto".
    fan_in : int or None
        Inputs that are not 0 at a time, where these are fewer: of a one-hot code only one is.
    """
    if init in ("auto", "data"):
        init = _BY_ACTIVATION.get(activation, "glorot_uniform")
    scale, fan, distribution = _SCHEMES[init]
    fan_in = n_in if fan_in is None else fan_in
    variance = scale / (fan_in if fan == "in" else (fan_in + n_out) / 2)
    if distribution == "normal":
        return rng.normal(0.0, np.sqrt(variance), (n_in, n_out))
    limit = np.sqrt(3.0 * variance)
    return rng.uniform(-limit, limit, (n_in, n_out))


def draw_recurrent(rng, n, init, activation):
    """Draw the weights (n, n) from a layer's outputs to itself one step later, float64.

    "auto" draws an orthogonal matrix, each with equal chances: what goes through many steps of time
    neither grows nor vanishes by it (Saxe, McClelland & Ganguli, Exact solutions to the nonlinear
    dynamics of learning in deep linear neural networks, ICLR 2014). Other names of `NAMES` are as
    for any layer.
    """
    if init != "auto":
        return draw_weights(rng, n, n, init, activation)
    # With R's diagonal positive, Q is uniform: Mezzadri, Notices of the AMS 54 (2007), section 5.
    Q, R = np.linalg.qr(rng.normal(size=(n, n)))
    return Q * np.where(np.diag(R) < 0, -1.0, 1.0)


def draw_parameter(rng, parameter, init):
    """Draw the numbers of one of a program's parameters, float64, as its `start_rule` says.

    Parameters
    ----------
    rng : numpy.random.Generator
    parameter : fastmlp.program.Parameter
    init : str
        One of `NAMES`, for the weights of layers.
    """
    rule, *numbers = parameter.start_rule
    if rule == "layer":  # of some matrices, one after the other
        *several, n_in, n_out = parameter.shape
        activation, fan_in = numbers
        drawn = [
            draw_weights(rng, n_in, n_out, init, activation, fan_in)
            for _ in range(math.prod(several))
        ]
        return np.reshape(drawn, parameter.shape)
    if rule == "recurrent":
        return draw_recurrent(rng, parameter.shape[0], init, *numbers)
    if rule == "normal":
        return rng.normal(0.0, numbers[0], parameter.shape)
    if rule == "uniform":
        return rng.uniform(-numbers[0], numbers[0], parameter.shape)
    if rule == "sign":
        return rng.choice([-1.0, 1.0], parameter.shape)
    return np.full(parameter.shape, numbers[0])
