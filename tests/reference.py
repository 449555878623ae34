"""Every kernel again in plain NumPy: the oracle that the tests hold the kernels against.

Each kernel has a twin here by its name, which says in the fewest matrix operations, in float64,
what the kernel means. A twin returns its results where the kernel overwrites buffers, takes
matrices and lists of layers ``(W, b)`` where the kernel takes flat vectors and tables, names
where it takes codes, and pre-activations where it gets by with outputs. Nothing of fastmlp is
imported, so that no mistake can be shared.

Activations and losses go by name, with their parameter where they have one: "leaky_relu(0.2)",
"huber(1.5)", "quantile(0.9)", "cross_entropy(0.1)". A bare name means the parameter in
`PARAMETERS`.

`forward`, `objective`, `gradient` and `train` put the twins together for tests of whole
networks. They share their keywords, which describe the problem: `activations` (one for each
hidden layer), `output` (the last layer's activation), `loss`, `l1` and `l2`.
"""

import csv
import math
import os
import re
from functools import partial
from itertools import pairwise

import numpy as np

PARAMETERS = {"leaky_relu": 0.01, "huber": 1.0, "quantile": 0.5, "cross_entropy": 0.0}


def name_and_parameter(text):
    """Split "huber(1.5)" or "huber" into the name and its parameter, 0 if it has none.

    Levels of "quantile(0.1, 0.9)" are a vector, one for each column of the outputs.
    """
    name, _, parameter = text.rstrip(")").partition("(")
    if "," in parameter:
        return name, np.array([float(level) for level in parameter.split(",")])
    return name, float(parameter) if parameter else PARAMETERS.get(name, 0.0)


layer_activation = name_and_parameter


# --- elementwise ---


exp = np.exp
expm1 = np.expm1
log = np.log
tanh = np.tanh


def sigmoid(x):
    """1 / (1 + e^-x), without overflow."""
    decay = np.exp(-np.abs(x))
    return np.where(np.less(x, 0), decay, 1) / (1 + decay)


def softplus(x):
    """log(1 + e^x)."""
    return np.logaddexp(0, x)


def mish(x):
    """x tanh(softplus(x)): Misra, "Mish: a self regularized non-monotonic activation function"."""
    return x * np.tanh(softplus(x))


def mish_slope(x):
    """Derivative of x tanh(softplus(x))."""
    t = np.tanh(softplus(x))
    return t + x * (1 - t) * (1 + t) * sigmoid(x)


def sine_cosine(x):
    """sin(x) and cos(x)."""
    return np.sin(x), np.cos(x)


def normal_pdf(x):
    """Density of the standard normal distribution."""
    return np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi)


def normal_cdf(x):
    """Distribution function of the standard normal distribution."""
    return np.vectorize(math.erfc, otypes=[np.float64])(np.divide(x, -math.sqrt(2))) / 2


# --- activations ---

# Klambauer et al. (2017): with these, zero mean and unit variance are a fixed point.
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772

# Name -> value and derivative at the pre-activation z; p is the parameter. At the kink of a
# piecewise activation the derivative is the one from the left.
ACTIVATIONS = {
    "identity": (lambda z, p: z, lambda z, p: np.ones_like(z)),
    "relu": (lambda z, p: np.maximum(z, 0), lambda z, p: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z, p: np.where(z > 0, z, p * z), lambda z, p: np.where(z > 0, 1.0, p)),
    "sigmoid": (lambda z, p: sigmoid(z), lambda z, p: sigmoid(z) * sigmoid(-z)),
    "tanh": (lambda z, p: np.tanh(z), lambda z, p: 4 * sigmoid(2 * z) * sigmoid(-2 * z)),
    "elu": (
        lambda z, p: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z, p: np.exp(np.minimum(z, 0)),
    ),
    "selu": (
        lambda z, p: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
        lambda z, p: SELU_SCALE * np.where(z > 0, 1, SELU_ALPHA * np.exp(np.minimum(z, 0))),
    ),
    "gelu": (lambda z, p: z * normal_cdf(z), lambda z, p: normal_cdf(z) + z * normal_pdf(z)),
    "silu": (
        lambda z, p: z * sigmoid(z),
        lambda z, p: sigmoid(z) + z * sigmoid(z) * sigmoid(-z),
    ),
    "mish": (lambda z, p: mish(z), lambda z, p: mish_slope(z)),
    "softplus": (lambda z, p: softplus(z), lambda z, p: sigmoid(z)),
    "exponential": (lambda z, p: np.exp(z), lambda z, p: np.exp(z)),
}


def activation_forward(z, activation):
    """Activation of the pre-activations z, element by element, or row by row for softmax."""
    name, parameter = name_and_parameter(activation)
    z = np.asarray(z, np.float64)
    return softmax_rows(z) if name == "softmax" else ACTIVATIONS[name][0](z, parameter)


def activation_forward_saving(z, activation):
    """Activation of z and, element by element, its derivative."""
    name, parameter = name_and_parameter(activation)
    z = np.asarray(z, np.float64)
    return activation_forward(z, activation), ACTIVATIONS[name][1](z, parameter)


def activation_backward(gradient, z, activation):
    """Gradient with respect to z, given the one with respect to the activation of z."""
    name, parameter = name_and_parameter(activation)
    z = np.asarray(z, np.float64)
    if name == "softmax":
        return softmax_backward_rows(gradient, z)
    return gradient * ACTIVATIONS[name][1](z, parameter)


# Kernels compile the rare activations apart, on the same terms.
rare_forward = rare_forward_part = activation_forward
rare_forward_saving = activation_forward_saving
rare_backward = rare_backward_part = activation_backward


def softmax_rows(z):
    """Softmax of each row."""
    z = np.asarray(z, np.float64)
    return np.exp(log_softmax(z))


def log_softmax(z):
    """Logarithm of the softmax of each row."""
    return z - np.logaddexp.reduce(z, axis=1, keepdims=True)


def softmax_backward_rows(gradient, z):
    """The softmax Jacobian diag(p) - p p^T of each row, times the gradient's row."""
    p = softmax_rows(z)
    jacobians = [np.diag(row) - np.outer(row, row) for row in p]
    return np.array([J @ g for J, g in zip(jacobians, gradient, strict=True)]).reshape(p.shape)


# --- losses ---

# Name -> loss of one output and its derivative; y is the output, t the target, p the parameter.
# binary_cross_entropy takes logits. At a kink the derivative is the one of the flat side, or 0.
LOSSES = {
    "squared_error": (lambda y, t, p: (y - t) ** 2 / 2, lambda y, t, p: y - t),
    "absolute_error": (lambda y, t, p: np.abs(y - t), lambda y, t, p: np.sign(y - t)),
    "huber": (
        lambda y, t, p: np.where(np.abs(y - t) <= p, (y - t) ** 2 / 2, p * (np.abs(y - t) - p / 2)),
        lambda y, t, p: np.clip(y - t, -p, p),
    ),
    "logistic": (lambda y, t, p: softplus(-t * y), lambda y, t, p: -t * sigmoid(-t * y)),
    "hinge": (
        lambda y, t, p: np.maximum(0, 1 - t * y),
        lambda y, t, p: np.where(t * y < 1, -t, 0.0),
    ),
    "poisson": (
        lambda y, t, p: y - t * np.log(np.where(t == 0, 1.0, y)),
        lambda y, t, p: 1 - t / np.where(t == 0, 1.0, y),
    ),
    "quantile": (
        lambda y, t, p: np.maximum(p * (t - y), (p - 1) * (t - y)),
        lambda y, t, p: np.where(y == t, 0.0, np.where(y > t, 1 - p, -p)),
    ),
    "binary_cross_entropy": (
        lambda y, t, p: t * softplus(-y) + (1 - t) * softplus(y),
        lambda y, t, p: sigmoid(y) - t,
    ),
}

# Losses of logits: they take the pre-activations of a sigmoid or softmax output.
FUSED = ("binary_cross_entropy", "cross_entropy")


def loss_elementwise(loss, output, target):
    """Loss of every output and its derivative."""
    name, parameter = name_and_parameter(loss)
    output = np.asarray(output, np.float64)
    target = np.asarray(target, np.float64)
    return tuple(function(output, target, parameter) for function in LOSSES[name])


# Kernels compile these apart, on the same terms.
rare_loss = loss_elementwise
squared_error = partial(loss_elementwise, "squared_error")


def loss_cross_entropy(logits, target):
    """Cross-entropy of every row's softmax, and its gradient with respect to the logits.

    `target` holds class indices, (n,) or (n, 1), or the rows' probabilities (n, n_classes).
    """
    logits = np.asarray(logits, np.float64)
    if target.shape != logits.shape or target.dtype.kind in "iu":
        target = np.eye(logits.shape[1])[target.ravel().astype(int)]
    target = np.asarray(target, np.float64)
    log_p = log_softmax(logits)
    mass = row_sums(target)[:, None]
    return -row_sums(target * log_p), mass * np.exp(log_p) - target


def smooth_cross_entropy(logits, target, smoothing):
    """Do `loss_cross_entropy` with label smoothing: targets (1 - smoothing) t + smoothing / n.

    Of a row of probabilities that do not sum to 1, the second term is times their sum.
    """
    n_classes = np.shape(logits)[1]
    if target.shape != np.shape(logits) or target.dtype.kind in "iu":
        target = np.eye(n_classes)[target.ravel().astype(int)]
    target = np.asarray(target, np.float64)
    mass = row_sums(target)[:, None]
    return loss_cross_entropy(logits, (1 - smoothing) * target + smoothing * mass / n_classes)


def row_sums(terms):
    """Sum of each row."""
    return np.sum(terms, axis=1)


def block_losses(loss, output, target):
    """Loss of every sample and its gradient with respect to the outputs, or logits if `FUSED`."""
    name, smoothing = name_and_parameter(loss)
    if name == "cross_entropy":
        return smooth_cross_entropy(output, target, smoothing)
    terms, gradient = loss_elementwise(loss, output, np.reshape(target, output.shape))
    return row_sums(terms), gradient


# --- matrix product and views ---


def matrix(flat, offset, n_rows, n_columns):
    """Part of a vector as a matrix, row by row."""
    return vector(flat, offset, n_rows * n_columns).reshape(n_rows, n_columns)


def vector(flat, offset, size):
    """Part of a vector, or of a matrix read row by row."""
    return np.ravel(flat)[offset : offset + size]


def address(array, i):
    """Where the memory of an array begins, and how far an element is from there."""
    start, _ = array.__array_interface__["data"]
    return start + i * array.itemsize


def panel_width(A, vector_bytes):
    """Number of elements of A's type in two vectors."""
    return 2 * vector_bytes // A.itemsize


def sums_width(A, vector_bytes, n_vectors):
    """Number of elements of A's type in so many vectors."""
    return n_vectors * vector_bytes // A.itemsize


def numbers(block):
    """The numbers of a block of a matrix, or of the transpose of one."""
    rows, columns = block.rows, block.columns
    if block.transposed:
        return numbers(block._replace(rows=columns, columns=rows, transposed=0)).T
    i, j = block.row, block.column
    return np.asarray(block.matrix)[i : i + rows, j : j + columns]


def tile(A, B, start):
    """Start plus the product of two blocks; the start is 0, a row for all rows, or a block."""
    return start + numbers(A).astype(np.float64) @ numbers(B).astype(np.float64)


multiply = multiply_streaming = tile_rows = tile  # by other ways, or with more rows


def are_pages(row_bytes, limits):
    """Whether the length of rows is within the slack of one page, of two, or of more."""
    pages = max(1, round(row_bytes / limits.PACK_BYTES))
    return abs(row_bytes - pages * limits.PACK_BYTES) <= limits.PACK_SLACK


def packs_a(row_bytes, columns, width, limits):
    """Whether a product copies A: its rows are pages, and C has a few panels of columns."""
    return are_pages(row_bytes, limits) and columns / width >= limits.PACK_PANELS


def packs_b(a_transposed, B, start, rows, limits, vector_bytes):
    """Whether a product copies panels of the block B, which begins at an address.

    Across its rows, of many rows of pages, or in a large product of rows across vectors' bounds, or
    with an A across whose rows it goes, unless pieces of that stay in the cache.
    """
    row_bytes = B.matrix[0].nbytes
    many = rows >= limits.PACK_ROWS
    large = rows * B.columns * B.rows >= limits.PACK_WORK
    straddles = row_bytes % vector_bytes > 0 or start % vector_bytes > 0
    if are_pages(row_bytes, limits):
        return B.transposed or many
    pays = rows_across(B.matrix, B.rows, limits) == 0 if a_transposed else straddles
    return B.transposed or (large and pays)


def rows_across(A, depth, limits):
    """The most rows, of two numbers, of which A's columns stay in the cache, 0 if none."""
    fits = limits.ACROSS_BYTES // (depth * A.itemsize)
    choices = [0, limits.ACROSS_ROWS // 2, limits.ACROSS_ROWS]
    return max(rows for rows in choices if rows <= fits)


def scratch_size(rows, depth, width, limits):
    """Elements that a product may destroy: a panel; rows or columns of A, apart; the result."""
    a, b = min(depth, limits.PACKED_DEPTH), min(rows, limits.BLOCK_ROWS)
    copy = max((a + width // 2) * b, (b + width // 2) * a)
    return min(depth, limits.DEPTH) * width + copy + rows * width


def streaming_pays(rows, columns, B, width, limits):
    """At most a row for each megabyte of B, and rows of B that are several panels long."""
    few = min(limits.STREAM_ROWS, B.nbytes // limits.STREAM_BYTES)
    return rows <= few and columns >= limits.STREAM_PANELS * width


def swap_pays(rows, columns, depth, lanes, cost):
    """Whether fewer operations on vectors form a narrow product's transpose, and transpose it."""
    across, down = math.ceil(columns / lanes), math.ceil(rows / lanes)
    # The transpose of one column is the column itself, but for its place.
    squares = across * down if columns > 1 else 1
    swapped = columns * down * depth + cost * squares
    return columns <= 2 * lanes and swapped < rows * across * depth


def tile_height(rows, heights):
    """The largest of the heights that goes into so many rows."""
    return max(height for height in heights if height <= rows)


def column_sums(B, j, start, columns, depth):
    """Start plus the sums of some columns of B, over its first rows."""
    return start + np.sum(np.asarray(B, np.float64)[:depth, j : j + columns], axis=0)


def pack_block(A, i, j, rows, columns):
    """A block of A."""
    return A[i : i + rows, j : j + columns]


panel_of = packed_block = numbers  # wherever they are copied to


def packed_matrix(packed, rows, columns, width):
    """Rows of so many columns, each half a panel's width after the other."""
    row = columns + width // 2
    return packed[: rows * row].reshape(rows, row)


def transpose_matrix(A, i, j, rows, columns):
    """A block of A, transposed."""
    return A[i : i + rows, j : j + columns].T


transpose_block = transpose_matrix


# --- dense layers ---


def dense_forward(A, W, b, activation):
    """Outputs of a layer."""
    return activation_forward(np.asarray(A, np.float64) @ W + b, activation)


def dense_forward_block(A, W, b, activation, output):
    """What goes to the block `output` of a layer's outputs, of as many rows of its input."""
    first, stop = output.column, output.column + output.columns
    return dense_forward(numbers(A), W, b, activation)[:, first:stop]


def activate_block(z, activation):
    """The activation of a block of pre-activations."""
    return activation_forward(numbers(z), activation)


def dense_backward_input(delta, W, z_below, activation):
    """Delta of the layer below, which has the pre-activations `z_below`."""
    return activation_backward(np.asarray(delta, np.float64) @ W.T, z_below, activation)


def dense_backward_input_block(delta, W, z_below, activation, delta_below):
    """What goes to the block `delta_below` of the delta of the layer below."""
    below = dense_backward_input(delta, W, z_below, activation)
    return numbers(delta_below._replace(matrix=below))


def dense_backward_params(A, delta):
    """Gradient of [W; b]: the bias is a weight whose input is always 1."""
    ones = np.ones((A.shape[0], 1))
    return np.hstack([A, ones]).T @ np.asarray(delta, np.float64)


def dense_backward_params_rows(A, delta, k0, k1):
    """Some rows of the gradient of [W; b]."""
    return dense_backward_params(A, delta)[k0:k1]


def part_bounds(n, part, n_parts):
    """First and last + 1 of the items of a part, rounded down from equal parts."""
    return math.floor(n * part / n_parts), math.floor(n * (part + 1) / n_parts)


def new_scratch(A, rows, width, limits):
    """Memory for products with so many rows, of any depth."""
    return np.empty(scratch_size(rows, math.inf, width, limits), A.dtype)


# --- updates of one array of parameters at a time ---


def sgd_update(theta, gradient, velocity, learning_rate, momentum=0.0, nesterov=False):
    """Return theta and the velocity after a step of gradient descent with momentum."""
    velocity = momentum * velocity + gradient
    step = gradient + momentum * velocity if nesterov else velocity
    return theta - learning_rate * step, velocity


def adagrad_update(theta, gradient, total, learning_rate, epsilon):
    """Return theta and the sum of squared gradients after a step of AdaGrad."""
    total = total + gradient**2
    return theta - learning_rate * gradient / (np.sqrt(total) + epsilon), total


def rmsprop_update(theta, gradient, mean, velocity, learning_rate, rho, epsilon, momentum=0.0):
    """Return theta, the mean squared gradient and the velocity after a step of RMSProp."""
    mean = rho * mean + (1 - rho) * gradient**2
    velocity = momentum * velocity + gradient / (np.sqrt(mean) + epsilon)
    return theta - learning_rate * velocity, mean, velocity


def adam_update(
    theta, gradient, mean, square, learning_rate, t, beta_1, beta_2, epsilon, weight_decay=0.0
):
    """Return theta and both moments after step t of Adam (Kingma & Ba, 2015, algorithm 1).

    With `weight_decay` it is AdamW (Loshchilov & Hutter, 2019, algorithm 2).
    """
    mean = beta_1 * mean + (1 - beta_1) * gradient
    square = beta_2 * square + (1 - beta_2) * gradient**2
    mean_hat = mean / (1 - beta_1**t)
    square_hat = square / (1 - beta_2**t)
    step = mean_hat / (np.sqrt(square_hat) + epsilon) + weight_decay * theta
    return theta - learning_rate * step, mean, square


def amsgrad_update(
    theta,
    gradient,
    mean,
    square,
    largest,
    learning_rate,
    t,
    beta_1,
    beta_2,
    epsilon,
    weight_decay=0.0,
):
    """Return theta, both moments and the largest second one after step t of AMSGrad.

    Reddi, Kale & Kumar (2018) with Adam's bias corrections, as torch has it.
    """
    mean = beta_1 * mean + (1 - beta_1) * gradient
    square = beta_2 * square + (1 - beta_2) * gradient**2
    largest = np.maximum(largest, square)
    root = np.sqrt(largest / (1 - beta_2**t)) + epsilon
    step = mean / (1 - beta_1**t) / root + weight_decay * theta
    return theta - learning_rate * step, mean, square, largest


def momentum_product(beta, decay, t):
    """Product of the mu_i of NAdam for i = 1, ..., t."""
    return np.prod(beta * (1 - 0.5 * 0.96 ** (decay * np.arange(1, t + 1))))


def nadam_update(
    theta, gradient, mean, square, learning_rate, t, beta_1, beta_2, epsilon, momentum_decay
):
    """Return theta and both moments after step t of NAdam (Dozat, 2016, algorithm 2)."""
    mean = beta_1 * mean + (1 - beta_1) * gradient
    square = beta_2 * square + (1 - beta_2) * gradient**2
    product = momentum_product(beta_1, momentum_decay, t)
    product_next = momentum_product(beta_1, momentum_decay, t + 1)
    mu, mu_next = (beta_1 * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in (t, t + 1))
    mean_hat = mu_next * mean / (1 - product_next) + (1 - mu) * gradient / (1 - product)
    step = mean_hat / (np.sqrt(square / (1 - beta_2**t)) + epsilon)
    return theta - learning_rate * step, mean, square


def complement(beta, t):
    """1 - beta^t, through its logarithm."""
    return -math.expm1(t * math.log(beta)) if beta else 1.0


def update_coefficients(optimizer, hyper, learning_rate, t):
    """The numbers that update t (from 1) needs, by name.

    Powers are taken through logarithms, which keep digits where 1 - beta^t is small.
    """
    rate = {"learning_rate": learning_rate}
    if optimizer == "sgd":
        return {**rate, "momentum": 0.0, "nesterov": 0.0, **hyper}
    if optimizer == "adagrad":
        return {**rate, **hyper}
    if optimizer == "rmsprop":
        rest = {"rho": hyper["rho"], "rest": 1 - hyper["rho"], "epsilon": hyper["epsilon"]}
        return {**rate, **rest, "momentum": hyper.get("momentum", 0.0)}
    beta_1, beta_2 = hyper["beta_1"], hyper["beta_2"]
    if optimizer == "nadam":
        decay = hyper["momentum_decay"]
        mu, mu_next = (-0.5 * math.expm1(i * decay * math.log(0.96)) + 0.5 for i in (t, t + 1))
        few = min(t, 10_000)
        product, product_next = (momentum_product(beta_1, decay, few + i) for i in (0, 1))
        return {
            "gradient_size": learning_rate * (1 - beta_1 * mu) / (1 - product),
            "mean_size": learning_rate * beta_1 * mu_next / (1 - product_next),
            "beta_1": beta_1,
            "rest_1": 1 - beta_1,
            "beta_2": beta_2,
            "rest_2": 1 - beta_2,
            "epsilon": hyper["epsilon"],
            "root_correction": math.sqrt(-math.expm1(t * math.log(beta_2))),
        }
    return {
        "step_size": -learning_rate / math.expm1(t * math.log(beta_1)),
        "beta_1": beta_1,
        "rest_1": 1 - beta_1,
        "beta_2": beta_2,
        "rest_2": 1 - beta_2,
        "epsilon": hyper["epsilon"],
        "root_correction": math.sqrt(-math.expm1(t * math.log(beta_2))),
        "decay": 1 - learning_rate * hyper.get("weight_decay", 0.0),
    }


def kinds_coefficients(optimizer, hyper, factors, learning_rate, t):
    """What `update_coefficients` returns, for pairs of factors: of the learning rate, of decay."""
    found = []
    for factor, of_decay in factors:
        own = dict(hyper)
        if "weight_decay" in hyper:
            own["weight_decay"] *= of_decay
        found.append(update_coefficients(optimizer, own, learning_rate * factor, t))
    return found


def apply_update(optimizer, theta, gradient, slots, hyper, learning_rate, t, is_weight):
    """Return theta and the optimizer's three slots of state after update t (from 1).

    `optimizer` is "sgd", "adagrad", "rmsprop", "adam", "amsgrad" or "nadam", `hyper` a dictionary
    of its hyperparameters. Slots start as zeros; weight decay applies to weights only.
    """
    if optimizer == "sgd":
        theta, velocity = sgd_update(theta, gradient, slots[0], learning_rate, **hyper)
        return theta, [velocity, *slots[1:]]
    if optimizer == "adagrad":
        theta, total = adagrad_update(theta, gradient, slots[0], learning_rate, **hyper)
        return theta, [total, *slots[1:]]
    if optimizer == "rmsprop":
        theta, *used = rmsprop_update(theta, gradient, *slots[:2], learning_rate, **hyper)
        return theta, [*used, slots[2]]
    if optimizer == "nadam":
        theta, *used = nadam_update(theta, gradient, *slots[:2], learning_rate, t, **hyper)
        return theta, [*used, slots[2]]
    hyper = hyper if is_weight else {**hyper, "weight_decay": 0.0}
    if optimizer == "amsgrad":
        theta, *slots = amsgrad_update(theta, gradient, *slots, learning_rate, t, **hyper)
        return theta, slots
    theta, *used = adam_update(theta, gradient, *slots[:2], learning_rate, t, **hyper)
    return theta, [*used, slots[2]]


def update_vector(optimizer, theta, gradient, slots, hyper, learning_rate, t):
    """Return a whole vector of weights and its slots after update t."""
    return apply_update(optimizer, theta, gradient, slots, hyper, learning_rate, t, True)


# --- threads ---


def touch(marks):
    """Ones in place of marks."""
    return np.ones_like(marks)


# --- networks ---


def unpack(theta, layer_sizes):
    """Layers [(W, b), ...] of a parameter vector: W row by row, then b, layer after layer."""
    return [layer_weights(theta, layer_sizes, layer) for layer in range(len(layer_sizes) - 1)]


def pack(layers):
    """Parameter vector of layers [(W, b), ...], or gradient vector of their gradients."""
    return np.concatenate([np.ravel(part) for layer in layers for part in layer])


def layer_weights(theta, layer_sizes, layer):
    """W and b of one layer."""
    offset = sum((layer_sizes[i] + 1) * layer_sizes[i + 1] for i in range(layer))
    n_in, n_out = layer_sizes[layer : layer + 2]
    theta = np.asarray(theta, np.float64)
    return matrix(theta, offset, n_in, n_out), vector(theta, offset + n_in * n_out, n_out)


def total_params(layer_sizes):
    """Number of parameters."""
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(layer_sizes))


def layer_rows(outputs, layer, first, rows):
    """Rows of a layer's outputs or deltas."""
    return outputs[layer][first : first + rows]


def part_scratch(scratch, part, offset, size):
    """A piece of one part's row of scratch."""
    return scratch[part, offset : offset + size]


def product_scratch(scratch, part, size):
    """The beginning of one part's row of scratch."""
    return part_scratch(scratch, part, 0, size)


def shuffle(uniform):
    """Permutation: element i goes to place floor(u (i + 1)), what was there to place i."""
    order = []
    for i, u in enumerate(uniform):
        order.append(i)
        j = math.floor(u * (i + 1))
        order[i], order[j] = order[j], order[i]
    return order


shuffle_into = shuffle


def copy_rows(source, order, start, rows):
    """So many rows of `source` that an order names from `start` on."""
    return source[order[start : start + rows]]


input_rows = copy_rows


def rows_of(source, order, ordered, start, rows):
    """So many rows of `source` from `start` on, of an order if they are `ordered`."""
    return copy_rows(source, order if ordered else np.arange(len(source)), start, rows)


def copy_run(source, i, size):
    """So many elements of a vector."""
    return source[i : i + size]


def prefetch(array, i):
    """Nothing that shows: what is asked for comes sooner, and is the same."""


def prefetch_row(source, offset, size):
    """Nothing that shows, see `prefetch`."""


def line_size(itemsize):
    """Elements of so many bytes in 64."""
    return 64 // itemsize


def slice_width(n_in, n_slices):
    """Columns of all slices but the last."""
    return math.ceil(n_in / n_slices)


def copy_slices(source, order, start, rows, n_slices):
    """Columns of some rows of `source`, a list of one matrix for each slice."""
    width = slice_width(source.shape[1], n_slices)
    return np.split(copy_rows(source, order, start, rows), range(width, source.shape[1], width), 1)


# Empty columns. Runs are a list of (first column, columns of other runs before it, length).


def mark_columns(X, first, n, order, start, rows):
    """1 for each of n columns from `first` on that has anything but 0 in some rows, else 0."""
    return (
        copy_rows(X, order, start, rows)[:, first : first + n].astype(bool).any(0).astype(X.dtype)
    )


def list_runs(marks, gap):
    """Runs of columns that any of the vectors of marks has, and column 0; gaps are as long."""
    used = np.any(marks, axis=0)
    used[0] = True
    firsts = [j for j in np.flatnonzero(used) if j == 0 or not used[max(0, j - gap) : j].any()]
    runs, place = [], 0
    for first, after in zip(firsts, [*firsts[1:], used.size], strict=True):
        n = np.flatnonzero(used[first:after])[-1] + 1
        runs.append((first, place, n))
        place += n
    return runs


def columns_of(runs):
    """Numbers of the columns that are in runs."""
    return np.concatenate([np.arange(first, first + n) for first, _, n in runs])


def run_bounds(runs, q):
    """One run."""
    return runs[q]


def place_of(runs, n_columns, column):
    """How many columns in runs come before a column, of which number `n_columns` is the bias."""
    return np.count_nonzero(columns_of(runs) < column) + (column > n_columns)


def copy_rows_by_runs(X, first, order, start, rows, runs):
    """Columns of runs of some rows of X."""
    return copy_rows(X, order, start, rows)[:, first + columns_of(runs)]


def columns_part(X, first, n, width, order, start, rows, kernel):
    """Runs of each slice of n columns, and the rows of it; None if too few columns are empty."""
    found = []
    for k in range(0, n, width):
        marks = mark_columns(X, first + k, min(width, n - k), order, start, rows)
        runs = list_runs(marks[None], kernel.GAP)
        found.append((runs, copy_rows_by_runs(X, first + k, order, start, rows, runs)))
    n_left = n - sum(rows.shape[1] for _, rows in found)
    return found if n_left >= n / kernel.FEWEST_EMPTY else None


copy_used_columns = columns_part


def pack_rows_by_runs(W, runs, j, columns):
    """Rows of runs, of W's columns from j on."""
    return W[columns_of(runs), j : j + columns]


pack_part = used_weights = pack_rows_by_runs


def multiply_used(A, W, b, runs):
    """A W + b, where A has the columns of runs alone."""
    return A @ W[columns_of(runs)] + b


def spread_rows(packed, k0, k1, runs, n_columns):
    """Rows of the columns in runs among ``k0 : k1``, and zeros for others; last comes the bias."""
    spread = np.zeros((k1 - k0, packed.shape[1]), packed.dtype)
    columns = np.append(columns_of(runs), n_columns)
    columns = columns[(columns >= k0) & (columns < k1)]
    spread[columns - k0] = packed[: columns.size]
    return spread


spread_part = spread_rows


def move_row(matrix, source, target):
    """The matrix with a copy of a row in place of another."""
    moved = matrix.copy()
    moved[target] = matrix[source]
    return moved


def clear_rows(matrix, first, stop):
    """The matrix with zeros in some rows."""
    cleared = matrix.copy()
    cleared[first:stop] = 0
    return cleared


def slice_bounds(n_in, width, n_slices, part, n_parts):
    """First and last + 1 of a part's slices, and of their columns."""
    first, stop = part_bounds(n_slices, part, n_parts)
    columns = np.arange(n_in)[first * width : stop * width]
    return (first, stop, columns[0], columns[-1] + 1) if len(columns) else (first, stop, 0, 0)


def slice_matrix(matrices, k, columns):
    """The one of the matrices of slices, by their first columns, with its columns checked."""
    assert matrices[k].shape[1] == columns
    return matrices[k]


def slice_products(places, turn):
    """Products of all slices, at one of two places."""
    return places[turn]


def own_columns(matrices, k0, k1):
    """Columns of the parameters, slots and gradient of one layer's [W; b]."""
    return [matrix[:, k0:k1] for matrix in matrices]


def move_columns(matrix, block, k0):
    """The matrix with columns replaced, from k0 on."""
    return np.hstack([matrix[:, :k0], block, matrix[:, k0 + block.shape[1] :]])


def move_own(matrices, blocks, k0):
    """The matrices with a part's columns replaced, from k0 on."""
    return [move_columns(*pair, k0) for pair in zip(matrices, blocks, strict=True)]


def move_own_gradient(matrix, block, k0):
    """The gradient of the layer below the slices with a part's columns replaced, from k0 on."""
    return move_columns(matrix, block, k0)


def take_own(matrices, k0, k1, layers, sliced):
    """A part's columns of the layer below the sliced one, and the parameters above it."""
    return own_columns(matrices, k0, k1), pack(layers[sliced + 1 :])


def upper_offset(size, t):
    """Where the weights above the slices are after t updates, of two places of a size."""
    return [0, size][t % 2]


def upper_weights(places, t):
    """The weights above the slices after t updates, of two places."""
    return places[t % 2]


def publish(places, t, first, parameters):
    """The two places, after a task's parameters were copied for the time after t updates."""
    published = [np.array(place) for place in places]
    upper_weights(published, t)[first : first + len(parameters)] = parameters
    return published


def slice_back(delta, W, z_below, activation, k0, k1):
    """Deltas of columns of the layer below the sliced one."""
    return dense_backward_input(delta, W, z_below, activation)[:, k0:k1]


def slice_pass(slices, W, b):
    """Products of slices of the input with their rows of W, the last with the bias."""
    starts = np.cumsum([0, *(part.shape[1] for part in slices)])
    products = [
        part @ W[start : start + part.shape[1]] for part, start in zip(slices, starts, strict=False)
    ]
    return [*products[:-1], products[-1] + b]


def weigh_losses(losses, weights):
    """Each sample's loss times its weight."""
    return losses * weights


def scale_rows(delta, scale, weights):
    """Rows of delta times a scale and each sample's weight."""
    return scale * weights[:, None] * delta


def forward(layers, X, activations, output):
    """Pre-activations and outputs, a list of one matrix for each layer."""
    pre_activations, outputs = [], []
    below = np.asarray(X, np.float64)
    for (W, b), activation in zip(layers, [*activations, output], strict=True):
        pre_activations.append(below @ W + b)
        below = dense_forward(below, W, b, activation)
        outputs.append(below)
    return pre_activations, outputs


def predict(layers, X, activations, output):
    """Outputs of the network."""
    return forward(layers, X, activations, output)[1][-1]


def relative_weights(weights, n):
    """Sample weights scaled to mean 1; ones for None."""
    return np.ones(n) if weights is None else np.asarray(weights) * n / np.sum(weights)


def block_pass(layers, X, Y, weights, *, activations, output, loss):
    """Outputs, weighted loss of each sample and deltas of a mini-batch; `weights` have mean 1.

    The deltas are those of the mean of the weighted losses. Lists of one matrix a layer.
    """
    pre_activations, outputs = forward(layers, X, activations, output)
    last = pre_activations[-1], outputs[-1]
    losses, delta = output_losses(loss, output, *last, Y, weights)
    deltas = [scale_rows(delta, 1 / len(X), weights)]
    for layer in range(len(layers) - 1, 0, -1):
        W = layers[layer][0]
        z_below = pre_activations[layer - 1]
        deltas.insert(0, dense_backward_input(deltas[0], W, z_below, activations[layer - 1]))
    return outputs, losses, deltas


def output_losses(loss, activation, z, output, Y, weights):
    """Weighted losses of outputs, and the deltas of their pre-activations z, which are not."""
    fused = name_and_parameter(loss)[0] in FUSED
    losses, delta = block_losses(loss, z if fused else output, Y)
    if not fused:
        delta = output_backward(delta, z, activation)
    return weigh_losses(losses, weights), delta


# Blocks of rows share nothing: all of a chunk's together are one.
chunk_pass = block_pass

output_backward = activation_backward


def block_share(rows, columns, lanes, member, n_members, fewest_vectors):
    """First and last + 1 row and column of a matrix that fall to a member of a team.

    Columns are shared out, in whole vectors, to as many members as get the fewest vectors that
    are worth it and divide the team into equal rows of members, which share out the rows.
    """
    n_vectors = math.ceil(columns / lanes)
    divisors = [n for n in range(1, n_members + 1) if n_members % n == 0]
    across = max(n for n in divisors if n == 1 or n_vectors >= n * fewest_vectors)
    r0, r1 = part_bounds(rows, member // across, n_members // across)
    v0, v1 = part_bounds(n_vectors, member % across, across)
    return r0, r1, v0 * lanes, min(v1 * lanes, columns)


def layer_share(rows, columns, activation, lanes, member, n_members, fewest_vectors):
    """A member's block of the outputs of a layer: of a softmax, whole rows."""
    if activation == "softmax":
        return *part_bounds(rows, member, n_members), 0, columns
    return block_share(rows, columns, lanes, member, n_members, fewest_vectors)


def group_pass(X, outputs, deltas):
    """Gradients of [W; b], a list of one matrix for each layer, without penalties."""
    inputs = [np.asarray(X, np.float64), *outputs[:-1]]
    return [
        dense_backward_params(below, delta) for below, delta in zip(inputs, deltas, strict=True)
    ]


def add_terms(terms, start):
    """Start plus the sum of the rows of a matrix."""
    return start + np.sum(np.asarray(terms, np.float64), axis=0)


def params_pass(gradient, W, l1, l2):
    """Gradients of W, with penalties, and of b, given the one of [W; b] without."""
    return add_penalties(W, gradient[:-1], l1, l2), gradient[-1]


def add_penalties(weights, gradient, l1, l2):
    """Gradient with that of l2/2 sum W^2 + l1 sum |W| added."""
    return gradient + l2 * weights + l1 * np.sign(weights)


def penalty(layers, l1, l2):
    """l2/2 sum W^2 + l1 sum |W| over all weights, without the biases."""
    return sum(l2 / 2 * np.sum(W**2) + l1 * np.sum(np.abs(W)) for W, _ in layers)


penalty_of = penalty


def objective(layers, X, Y, weights=None, *, l1=0.0, l2=0.0, **problem):
    """J = (1 / sum w) sum_i w_i loss_i + l2/2 sum W^2 + l1 sum |W|."""
    weights = relative_weights(weights, len(X))
    _, losses, _ = chunk_pass(layers, X, Y, weights, **problem)
    return np.mean(losses) + penalty(layers, l1, l2)


def gradient(layers, X, Y, weights=None, **problem):
    """Gradient of `objective`, as a list of the gradients of (W, b)."""
    return batch_gradient(layers, X, Y, relative_weights(weights, len(X)), **problem)[0]


def batch_gradient(layers, X, Y, weights, *, l1=0.0, l2=0.0, **problem):
    """Gradient of the objective's estimate from a mini-batch, and the sum of its losses.

    `weights` are the batch's part of weights that have mean 1 over all samples.
    """
    outputs, losses, deltas = chunk_pass(layers, X, Y, weights, **problem)
    gradients = [
        params_pass(gradient, W, l1, l2)
        for gradient, (W, _) in zip(group_pass(X, outputs, deltas), layers, strict=True)
    ]
    return gradients, np.sum(losses)


def all_finite(x):
    """Whether no element is NaN or infinite."""
    return bool(np.isfinite(x).all())


def pread(descriptor, position, size):
    """Bytes of a file from a position on, as many as there are."""
    return np.frombuffer(os.pread(descriptor, size, position), np.uint8)


def read_runs(descriptor, runs, dtype):
    """Numbers of runs of bytes (position, size), and what became of each run."""
    found, outcomes = [], []
    for position, size in runs:
        data = pread(descriptor, position, size)
        whole = data.size == size
        found.append(data[: data.size - data.size % np.dtype(dtype).itemsize].view(dtype))
        is_good = whole and np.isfinite(found[-1]).all()
        outcomes.append("read" if is_good else "not finite" if whole else "short")
    return found, outcomes


def finite(theta, X, Y):
    """Whether no element of any of them is NaN or infinite."""
    return all_finite(theta) and all_finite(X) and all_finite(Y)


def total(x):
    """Sum of a vector."""
    return math.fsum(x)


interleaved_sum = total


def inner(x, y):
    """Sum of the products of two vectors."""
    return math.fsum(np.asarray(x, np.float64) * y)


def maximum(x):
    """Largest element of a vector."""
    return np.max(x)


def sum_of_squares(x):
    """Sum of squares."""
    return math.fsum(np.asarray(x, np.float64) ** 2)


def sum_of_magnitudes(x):
    """Sum of absolute values."""
    return math.fsum(np.abs(np.asarray(x, np.float64)))


def is_within_batch(batches, c):
    """Whether chunk c is of the same mini-batch as the chunk before; `batches` has each one's."""
    return 0 < c < len(batches) and batches[c] == batches[c - 1]


def euclidean_norm(x):
    """Square root of the sum of squares."""
    return math.hypot(*np.asarray(x, np.float64))


def clip(x, norm):
    """A vector, or the one of a norm that has its direction, if that is shorter."""
    return x * min(1.0, norm / euclidean_norm(x)) if np.any(x) else x


def scale(x, factor):
    """A vector times a number."""
    return x * factor


def triangle_row(H, i, length):
    """The first elements of a row."""
    return H[i, :length]


def symmetric_product(H, x):
    """H x for a symmetric H."""
    return H @ x


def add_rows_product(H, i, x, product):
    """The product with what the columns before `i` hold of eight rows, and of eight columns."""
    part = np.zeros_like(H)
    part[i : i + 8, :i] = H[i : i + 8, :i]
    return product + (part + part.T) @ x


def add_row(row, s, q, s_factor, q_factor):
    """A row plus multiples of two vectors."""
    return row + s_factor * s[: row.size] + q_factor * q[: row.size]


def rank_two_update(H, s, q, ss, sq, qq):
    """H + ss s s^T + sq (s q^T + q s^T) + qq q q^T."""
    both = np.stack([s, q], axis=1)
    return H + both @ np.array([[ss, sq], [sq, qq]]) @ both.T


def mean_correlations(nodes, points, length_scale, weights):
    """Means over nodes (m, q, n) of the squared exponential of their distances from points."""
    squares = np.sum((nodes[:, :, None] - points) ** 2, axis=-1)  # (m, q, p)
    return np.einsum("mqp,q->mp", np.exp(-squares / (2 * length_scale**2)), weights)


def factor_by_rows(A):
    """Cholesky's lower factor, or None if A is not positive definite."""
    try:
        return np.linalg.cholesky(A)
    except np.linalg.LinAlgError:
        return None


def solve_lower(L, B):
    """Solutions of L x = b as rows, for the rows b of B."""
    return np.linalg.solve(L, B.T).T


def solve_transposed(L, B):
    """Solutions of L^T x = b as rows, for the rows b of B."""
    return np.linalg.solve(L.T, B.T).T


def rotate_rows(A, p, q, c, s):
    """Two rows of A turned by an angle of the cosine c and the sine s."""
    turned = A.copy()
    turned[[p, q]] = np.array([[c, -s], [s, c]]) @ A[[p, q]]
    return turned


def diagonalize(A):
    """Eigenvalues in ascending order, and eigenvectors as rows."""
    eigenvalues, vectors = np.linalg.eigh(A)
    return eigenvalues, vectors.T


def task_place(layers, layer, row, own, sliced):
    """Flat parameters that hold a task's rows of [W; b], where these begin, and their columns.

    `own` is the part's columns of the layer below the `sliced` one.
    """
    if layer < sliced:
        return own.ravel(), row * own.shape[1], own.shape[1]
    columns = len(layers[layer][1])
    before = sum(W.size + b.size for W, b in layers[:layer])
    return pack(layers), before + row * columns, columns


def update_task(optimizer, layer, gradient, slots, hyper, learning_rate, t, factors=(1, 1)):
    """(W, b) of one layer and the slots of both, after update t.

    The learning rate is multiplied by the factor of the weights, and of the biases.
    """
    updated = [
        apply_update(optimizer, *parts, hyper, learning_rate * factor, t, is_weight)
        for is_weight, factor, *parts in zip(
            (True, False), factors, layer, gradient, slots, strict=True
        )
    ]
    return tuple(theta for theta, _ in updated), [slots for _, slots in updated]


def train(
    layers,
    X,
    Y,
    batches,
    optimizer,
    hyper,
    learning_rate,
    weights=None,
    clip_norm=math.inf,
    factors=(1, 1),
    **problem,
):
    """Train on explicit mini-batches.

    Parameters
    ----------
    layers : list of (W, b)
        Where to start; not changed.
    batches : list of index arrays
        The rows of each mini-batch, one update each.
    optimizer, hyper
        See `apply_update`.
    learning_rate : float or sequence
        One for all updates, or one for each; so may be the weight decay in `hyper`.
    clip_norm : float
        Gradients of a larger norm are scaled down to it.
    factors : pair of float
        Of the learning rate of weights and of biases.

    Returns
    -------
    trajectory : list
        The layers after each update.
    losses : list of float
        The sum of each batch's weighted losses, before its update.
    """
    weights = relative_weights(weights, len(X))
    layers = [tuple(np.array(part, np.float64) for part in layer) for layer in layers]
    layer_sizes = [len(layers[0][0]), *(len(b) for _, b in layers)]
    states = [[[np.zeros_like(part)] * 3 for part in layer] for layer in layers]
    rates = np.broadcast_to(learning_rate, len(batches))
    decays = np.broadcast_to(hyper.get("weight_decay", 0.0), len(batches))
    trajectory, losses = [], []
    for t, (rows, rate) in enumerate(zip(batches, rates, strict=True), start=1):
        gradients, loss = batch_gradient(layers, X[rows], Y[rows], weights[rows], **problem)
        flat = pack(gradients)
        gradients = unpack(clip(flat, clip_norm), layer_sizes)
        if "weight_decay" in hyper:
            hyper = {**hyper, "weight_decay": decays[t - 1]}
        updated = [
            update_task(optimizer, layer, parts, slots, hyper, rate, t, factors)
            for layer, parts, slots in zip(layers, gradients, states, strict=True)
        ]
        layers = [layer for layer, _ in updated]
        states = [slots for _, slots in updated]
        trajectory.append(layers)
        losses.append(loss)
    return trajectory, losses


def sweep(*args, **problem):
    """The layers after one pass over the mini-batches of `train`, and the sum of all losses."""
    trajectory, losses = train(*args, **problem)
    return trajectory[-1], sum(losses)


def epochs(layers, X, Y, uniform, batch_rows, *args, **problem):
    """The mean objective over each epoch, and the layers at its end.

    Parameters
    ----------
    uniform : (n_epochs, n_rows)
        What the orders of the epochs are made of.
    batch_rows : int
    layers, X, Y, *args, **problem
        As of `train`.
    """
    n_rows = len(X)
    batches = [
        np.array(shuffle(drawn))[start : start + batch_rows]
        for drawn in uniform
        for start in range(0, n_rows, batch_rows)
    ]
    trajectory, losses = train(layers, X, Y, batches, *args, **problem)
    each = len(batches) // len(uniform)
    ends = trajectory[each - 1 :: each]
    penalties = [penalty(end, problem.get("l1", 0), problem.get("l2", 0)) for end in ends]
    return np.sum(np.reshape(losses, (-1, each)), axis=1) / n_rows + penalties, ends


# --- vectors of solvers ---


dot = inner


def largest(x):
    return np.abs(x).max()


def largest_change(old, new):
    return (np.abs(new - old) / np.maximum(np.abs(new), 1.0)).max()


def difference(x, y):
    return x - y


def row_products(A, B):
    return A @ B.T


def combine_rows(factors, A):
    return factors @ A


def fill(x, value):
    """A vector like x of one value."""
    return np.full_like(x, value)


def add_scaled(x, factor, y):
    return x + factor * y


def add_pair(old_x, x, old_gradient, gradient):
    """The pair and s'y / y'y, or None without curvature."""
    s, y = x - old_x, gradient - old_gradient
    cosine = s @ y / np.sqrt((s @ s) * (y @ y))
    return (s, y, s @ y / (y @ y)) if cosine > np.finfo(np.float64).eps else None


def step_along(x, step, direction):
    return x + step * direction


def scaled(x, factor):
    return factor * x


def add_combination(x, a, s, b, y):
    return x + a * s + b * y


def pair_products(s, y, v, w):
    return s @ v, s @ w, y @ v, y @ w


def largest_size(bits):
    """The largest of numbers that are given as their bits, as its bits."""
    return np.abs(bits.view(np.float64)).max().view(np.int64)


def count_moves(step, x, tolerance):
    return np.count_nonzero(np.abs(step) / np.maximum(np.abs(x), 1) > tolerance)


class Search:
    """A line search by Moré & Thuente: MINPACK-2's dcsrch, and what comes of it."""

    largest_step = 1e10

    def __init__(self, c1, c2, resolution, most_trials):
        self.c1, self.c2, self.resolution, self.most_trials = c1, c2, resolution, most_trials

    def begin(self, value, slope, first_step):
        self.value, self.slope = value, slope
        self.step = self.first_step = min(first_step, self.largest_step)
        self.required, self.flat = self.c1 * slope, self.c2 * -slope
        self.falls, self.above, self.bracketed = True, True, False
        self.step_x = self.step_y = 0.0
        self.value_x = self.value_y = self.best_value = value
        self.slope_x = self.slope_y = slope
        self.low, self.high, self.largest = 0.0, math.inf, self.largest_step
        self.width, self.older_width = self.largest_step, 2.0 * self.largest_step
        self.seen, self.best_step = [], 0.0
        return "try" if slope < 0.0 else "no descent"

    def next(self, value, slope):
        step = self.step
        self.seen.append((value, slope))
        self.improves = False
        if math.isfinite(value) and math.isfinite(slope):
            if value < self.best_value:
                self.best_step, self.best_value, self.improves = step, value, True
            enough = self.value + step * self.required
            if value <= enough and abs(slope) <= self.flat:
                return "at trial"
            self.step = self._after(step, value, slope, enough)
        else:
            if not self.bracketed:
                self.largest = self.step_x + 0.5 * (step - self.step_x)
            self.step = self.step_x + 0.1 * (step - self.step_x)
        if self.step is not None and len(self.seen) < self.most_trials:
            return "try"
        return self._verdict()

    def _verdict(self):
        if self.falls and self.best_step >= self.largest_step * min(self.first_step, 1.0):
            return "unbounded"
        if self.best_step and self.best_value <= self.value + self.best_step * self.required:
            return "at best"
        finite = [pair for pair in self.seen if all(map(math.isfinite, pair))]
        rounding = 4 * self.resolution * max(abs(self.value), 1.0)
        for value, slope in finite:
            if abs(value - self.value) <= rounding and abs(slope) <= 0.9 * -self.slope:
                return "level"
        changes = any(value != self.value for value, _ in finite)
        return "not finite" if len(finite) < len(self.seen) and not changes else "failed"

    def _after(self, step, value, slope, enough):
        self.falls = value <= enough and slope <= self.required
        if self.falls and step == self.largest:
            return None
        if self.high == math.inf:
            self.high = 5.0 * step
        if self.above and value <= enough and slope >= 0.0:
            self.above = False
        tilt = self.required if self.above and enough < value <= self.value_x else 0.0
        step = self._dcstep(step, value, slope, tilt)
        if self.bracketed:
            if abs(self.step_y - self.step_x) >= 0.66 * self.older_width:
                step = self.step_x + 0.5 * (self.step_y - self.step_x)
            self.older_width, self.width = self.width, abs(self.step_y - self.step_x)
            self.low = min(self.step_x, self.step_y)
            self.high = max(self.step_x, self.step_y)
            narrow = self.high - self.low <= 0.1 * self.high
            return None if narrow or not self.low < step < self.high else step
        self.low = step + 1.1 * (step - self.step_x)
        self.high = step + 4.0 * (step - self.step_x)
        step = min(step, self.largest)
        return None if step == self.step_x else step

    def _dcstep(self, step, value, slope, tilt):
        x, y = self.step_x, self.step_y
        f, d = value - step * tilt, slope - tilt
        f_x, d_x = self.value_x - x * tilt, self.slope_x - tilt
        f_y, d_y = self.value_y - y * tilt, self.slope_y - tilt
        turned = d * d_x < 0.0
        if f > f_x:
            self.bracketed = True
            cubic, _ = _cubic(x, f_x, d_x, step, f, d)
            quadratic = x + d_x / ((f_x - f) / (step - x) + d_x) / 2.0 * (step - x)
            new = cubic
            if not abs(cubic - x) <= abs(quadratic - x):
                new = cubic + (quadratic - cubic) / 2.0
        elif turned:
            self.bracketed = True
            cubic, _ = _cubic(step, f, d, x, f_x, d_x)
            new = max(_secant(step, d, x, d_x), cubic, key=lambda end: abs(end - step))
        elif abs(d) < abs(d_x):
            cubic, exists = _cubic(step, f, d, x, f_x, d_x)
            if not exists or (cubic > step) != (step > x):
                cubic = self.high if step > x else self.low
            secant = _secant(step, d, x, d_x)
            if self.bracketed:
                new = min(secant, cubic, key=lambda end: abs(end - step))
                limit = step + 0.66 * (y - step)
                new = min(limit, new) if step > x else max(limit, new)
            else:
                new = max(secant, cubic, key=lambda end: abs(end - step))
                new = min(max(new, self.low), self.high)
        elif self.bracketed:
            new, _ = _cubic(step, f, d, y, f_y, d_y)
        else:
            new = self.high if step > x else self.low
        if f > f_x:
            self.step_y, self.value_y, self.slope_y = step, value, slope
        else:
            if turned:
                self.step_y, self.value_y, self.slope_y = x, self.value_x, self.slope_x
            self.step_x, self.value_x, self.slope_x = step, value, slope
        return 0.5 * (self.step_x + self.step_y) if math.isnan(new) else new


def _cubic(a, f_a, d_a, b, f_b, d_b):
    theta = 3.0 * (f_a - f_b) / (b - a) + d_a + d_b
    scale = max(abs(theta), abs(d_a), abs(d_b))
    ratio = theta / scale
    square = ratio * ratio - d_a / scale * (d_b / scale)
    gamma = scale * math.sqrt(max(0.0, square))
    if b < a:
        gamma = -gamma
    p = gamma - d_a + theta
    q = gamma - d_a + gamma + d_b
    return (a + p / q * (b - a) if q != 0.0 else math.nan), gamma != 0.0


def _secant(a, d_a, b, d_b):
    return a + d_a / (d_a - d_b) * (b - a)


begin_search = Search.begin
next_trial = Search.next


def search_step(search, begins, value, slope, first_step):
    return search.begin(value, slope, first_step) if begins else search.next(value, slope)


def advance(x, value, gradient, pairs, scale, history_size=10):
    """One iteration of L-BFGS: yields vectors to evaluate at, and is sent value and gradient.

    Returns the new point and what is remembered: (x, value, gradient, pairs, scale), or the verdict
    of the search if there is no way on. A scale of None is one not known yet.
    """
    while True:
        direction = two_loop(pairs, scale or 1.0, gradient)
        search = Search(1e-3, 0.9, np.finfo(np.float64).eps, 20)
        first_step = 1.0 if scale else 1.0 / np.linalg.norm(gradient)
        verdict, best = search.begin(value, gradient @ direction, first_step), None
        while verdict == "try":
            trial_x = x + search.step * direction
            trial_value, trial_gradient = yield trial_x
            verdict = search.next(trial_value, trial_gradient @ direction)
            if search.improves or verdict == "at trial":
                best = trial_x, trial_value, trial_gradient
        if verdict in ("at trial", "at best"):
            pair = add_pair(x, best[0], gradient, best[2])
            if pair is not None:
                pairs, scale = [*pairs, pair[:2]][-history_size:], pair[2]
            return *best, pairs, scale
        if best is not None:
            return *best, pairs if verdict == "level" else [], scale
        if not pairs:
            return verdict
        pairs = []


# The two halves of an iteration, numbers and vectors.
decide = work = advance


def two_loop(pairs, scale, gradient):
    """-H g, with the matrix H updated by BFGS for one pair after the other, oldest first."""
    H = scale * np.eye(gradient.size)
    for s, y in pairs:
        V = np.eye(gradient.size) - np.outer(s, y) / (s @ y)
        H = V @ H @ V.T + np.outer(s, s) / (s @ y)
    return -H @ gradient


def masked_inner(x, y, mask):
    return inner(x[mask == 1], y[mask == 1])


def add_scaled_masked(x, factor, y, mask):
    return add_scaled(x, factor, np.where(mask == 1, y, 0.0))


def two_loop_of_free(pairs, scale, gradient, free):
    """`two_loop` of the free components, with their own scale, and 0 for the others."""
    free = free == 1
    pairs = [(s[free], y[free]) for s, y in pairs if s[free] @ y[free] > 0]
    if pairs:
        s, y = pairs[-1]
        scale = s @ y / (y @ y)
    direction = np.zeros(gradient.size)
    direction[free] = two_loop(pairs, scale, gradient[free])
    return direction


# --- least squares ---


def unit_rows(rows, columns, k):
    """Rows that are all the unit vector of column k."""
    return np.tile(np.eye(columns)[k], (rows, 1))


def outer_rows(below, delta, roots):
    """A row for each sample: the gradient of [W; b] from it alone, times its root."""
    inputs = np.hstack([below, np.ones((len(below), 1))])
    outer = inputs[:, :, None] * np.asarray(delta, np.float64)[:, None, :]
    return roots[:, None] * outer.reshape(len(below), -1)


def jacobian(layers, X, activations, output):
    """Derivatives of the outputs with respect to theta, (n, n_out, n_params)."""
    pre_activations, outputs = forward(layers, X, activations, output)
    inputs = [np.asarray(X, np.float64), *outputs[:-1]]
    ones = np.ones(len(X))
    rows = []
    for k in range(outputs[-1].shape[1]):
        delta = output_backward(unit_rows(*outputs[-1].shape, k), pre_activations[-1], output)
        parts = [outer_rows(inputs[-1], delta, ones)]
        for layer in range(len(layers) - 1, 0, -1):
            W, z_below = layers[layer][0], pre_activations[layer - 1]
            delta = dense_backward_input(delta, W, z_below, activations[layer - 1])
            parts.insert(0, outer_rows(inputs[layer - 1], delta, ones))
        rows.append(np.hstack(parts))
    return np.stack(rows, axis=1)


def squared_errors(output, target, weights):
    """Weighted residuals, the roots of the weights, and each sample's weighted loss."""
    roots = np.sqrt(weights)
    residuals = roots[:, None] * (np.asarray(output, np.float64) - target)
    return residuals, roots, np.sum(residuals**2, axis=1) / 2


def finish_normal(gradient, upper, theta, is_weight, l2, n_rows):
    """Gradient and Gauss-Newton matrix from the sums over samples, of the latter the triangle."""
    whole = np.triu(upper) + np.triu(upper, 1).T
    return (
        gradient / n_rows + l2 * np.where(is_weight, theta, 0),
        whole / n_rows + l2 * np.diag(is_weight.astype(np.float64)),
    )


def gauss_newton(layers, X, Y, weights=None, *, activations, output, l2=0.0):
    """Objective for squared errors, its gradient, and the Gauss-Newton matrix."""
    weights = relative_weights(weights, len(X))
    outputs = predict(layers, X, activations, output)
    residuals, roots, losses = squared_errors(outputs, np.reshape(Y, outputs.shape), weights)
    J = roots[:, None, None] * jacobian(layers, X, activations, output)
    J = J.reshape(-1, J.shape[-1])
    is_weight = pack([(np.ones_like(W), np.zeros_like(b)) for W, b in layers]) > 0
    sums = J.T @ residuals.ravel(), J.T @ J
    gradient, hessian = finish_normal(*sums, pack(layers), is_weight, l2, len(X))
    return np.mean(losses) + penalty(layers, 0.0, l2), gradient, hessian


# --- programs ---
#
# Matrices of k outputs of each row are (k, rows, n).


def take_blocks(n_rows, n_groups, block_rows):
    """Rows of a chunk as groups, lists of the rows of each block."""
    groups = [range(*part_bounds(n_rows, group, n_groups)) for group in range(n_groups)]
    return [[rows[i : i + block_rows] for i in range(0, len(rows), block_rows)] for rows in groups]


def read_rows(X, order, start, rows):
    """Rows of X that a block has, in the order of a sweep."""
    return copy_rows(X, order, start, rows)


def back(ways_back, delta):
    """A delta through the ways back of some steps, the last one first."""
    for way_back in reversed(ways_back):
        delta = way_back(delta)
    return delta


def clear_gradient(gradient, is_cleared):
    """A gradient with zeros where steps add to it."""
    return np.where(is_cleared, 0.0, gradient)


def take_loss(outputs, targets, weights, batch, loss):
    """Weighted losses of rows, the mean of those of their outputs, and the deltas of all."""
    found = [block_losses(loss, *pair) for pair in zip(outputs, targets, strict=True)]
    losses = np.mean([losses for losses, _ in found], axis=0)
    deltas = np.array([delta for _, delta in found]) / (batch * len(outputs))
    return losses * weights, deltas * np.asarray(weights)[:, np.newaxis]


def copy_columns(source, first, n):
    """Some columns of a matrix."""
    return source[:, first : first + n]


def add_mean(losses, factor, totals):
    """Totals, and a share of losses."""
    return totals + losses / factor


def mean_of_outputs(outputs):
    """Mean of the outputs of each row."""
    return np.mean(outputs, axis=0)


def outputs_in_rows(outputs):
    """The outputs of each row side by side."""
    return np.concatenate(list(outputs), axis=1)


def program_predict(outputs, averages):
    """What a prediction gives, of the outputs of each row."""
    return mean_of_outputs(outputs) if averages else outputs_in_rows(outputs)


# --- stages of programs: dense products ---


def dense_step_forward(A, W, b):
    """A W + b."""
    return A @ W + b


def dense_step_back(A, W, delta):
    """Gradients of W and b, and the delta of A."""
    return A.T @ delta, delta.sum(axis=0), delta @ W.T


def add_column_sums(delta, sums):
    """Sums, and those of the columns of delta."""
    return sums + delta.sum(axis=0)


# --- stages of programs: inputs ---


def copy_column(source, i, target, j):
    """`target` with column j from column i of `source`."""
    return put_column(take_column(source, i), target, j)


def put_column(source, target, j):
    """`target` with a vector as column j."""
    target = target.copy()
    target[:, j] = source
    return target


def take_column(source, j):
    """Column j of a matrix."""
    return source[:, j]


def angles(x, w, b):
    """cos(u) and sin(u) for u = 2 pi w x + b."""
    u = 2 * np.pi * w * x + b
    return np.cos(u), np.sin(u)


def angle_deltas(sines, sums, x):
    """Deltas of u, given those of cos(u), and of w."""
    deltas = -sines * sums
    return deltas, 2 * np.pi * x * deltas


def periodic(x, w, b, V, c):
    """The embedding (rows, n + 1) of a column: c + cos(2 pi w x + b) V, and x."""
    cosines, _ = angles(x[:, np.newaxis], w, b)
    return np.column_stack([cosines @ V + c, x])


def add_periodic_gradients(x, w, b, V, delta):
    """Gradients of w, b, V and c, given that of `periodic`."""
    delta = delta[:, :-1]
    cosines, sines = angles(x[:, np.newaxis], w, b)
    of_angles, of_frequencies = angle_deltas(sines, delta @ V.T, x[:, np.newaxis])
    return of_frequencies.sum(0), of_angles.sum(0), cosines.T @ delta, delta.sum(0)


def bin_of(x, edges):
    """The bin of a value: that before the first has the number of the first, and so the last."""
    return int(np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2))


def encode(x, edges):
    """Piecewise-linear encoding (rows, bins): how far a value is through each bin."""
    edges = np.asarray(edges, np.float64)
    e = (x[:, np.newaxis] - edges[:-1]) / np.diff(edges)
    low, high = np.zeros(e.shape[1]), np.ones(e.shape[1])
    low[0], high[-1] = -np.inf, np.inf
    return np.clip(e, low, high)


def sum_rows_before(V):
    """Sum of the rows before each one."""
    return np.cumsum(V, axis=0) - V


def embed_value(x, share, w, b, before, row):
    """The embedding of one value."""
    return x * w + b + before + share * row


def add_value_gradients(x, share, delta):
    """What one value adds to the gradients of w, b, the row of its bin, and those before."""
    return x * delta, delta, share * delta, delta


def add_rows_after(sums, g_V):
    """Gradient with the sums of the rows after each one added."""
    return g_V + np.cumsum(sums[::-1], axis=0)[::-1] - sums


def piecewise(x, w, b, V, edges):
    """The embedding (rows, size) of a column: x w + b + e V."""
    return np.outer(x, w) + b + encode(x, edges) @ V


def one_hot(codes, n_categories):
    """A column for each category; that of a missing one, NaN or negative, is zeros."""
    return (np.asarray(codes)[:, np.newaxis] == np.arange(n_categories)).astype(np.float64)


def add_factor_gradients(weights, delta, factors):
    """Gradient of each factor in z = w times the product of some, given that of z."""
    slope = weights @ delta
    return [slope * np.prod(np.delete(factors, i)) for i in range(len(factors))]


# --- stages of programs: members ---
#
# Matrices of k members have the rows of one below those of the other.


def _by_member(matrix, k, shared=False):
    """(k, rows, n) from (k rows, n), or from the (rows, n) that all share."""
    rows = np.asarray(matrix, np.float64)
    return np.stack([rows] * k) if shared else rows.reshape(k, -1, rows.shape[1])


def member_inputs(X, R, shared):
    """r_m * x for each member m and row x, of its own or of those that all share."""
    return np.concatenate(_by_member(X, len(R), shared) * np.float64(R)[:, None])


def member_inputs_gradient(X, delta, k, shared):
    """Gradient with respect to R, given that with respect to r_m * x."""
    return (_by_member(X, k, shared) * _by_member(delta, k)).sum(axis=1)


def member_inputs_back(delta, R, shared):
    """Gradient with respect to X, given that with respect to r_m * x."""
    below = _by_member(delta, len(R)) * np.float64(R)[:, None]
    return below.sum(axis=0) if shared else np.concatenate(below)


def member_outputs(Z, S, B, slope):
    """h(s_m * z + b_m) for each member m and row z of its own, with h(u) = max(u, slope u)."""
    u = _by_member(Z, len(S)) * np.float64(S)[:, None] + np.float64(B)[:, None]
    return np.concatenate(np.maximum(u, slope * u))


def member_outputs_back(delta, Z, S, B, slope):
    """Gradients with respect to Z, and to S above B, given that of `member_outputs`."""
    k = len(S)
    u = _by_member(Z, k) * np.float64(S)[:, None] + np.float64(B)[:, None]
    d = np.where(u > 0, 1.0, slope) * _by_member(delta, k)
    below = np.concatenate(d * np.float64(S)[:, None])
    return below, np.concatenate([(d * _by_member(Z, k)).sum(axis=1), d.sum(axis=1)])


# --- stages of programs: activations with a number alpha for each unit ---


def prelu_forward(X, alpha):
    """X where it is positive, alpha X elsewhere."""
    X = np.asarray(X, np.float64)
    return np.maximum(X, 0) + alpha * np.minimum(X, 0)


def prelu_backward(delta, X, alpha):
    """Gradients with respect to X and to alpha."""
    delta, X = np.asarray(delta, np.float64), np.asarray(X, np.float64)
    return delta * np.where(X > 0, 1, alpha), (delta * np.minimum(X, 0)).sum(axis=0)


def begin_parametric(x):
    """x, which f is to be taken of, and ones."""
    return x, np.ones_like(x)


def parametric_forward(X, alpha, values):
    """X + alpha (f(X) - X) and f(X) - X, from the values f(X)."""
    change = np.subtract(values, X, dtype=np.float64)
    return X + alpha * change, change


def parametric_backward(delta, change, slopes, alpha):
    """Gradients with respect to X and to alpha, from f(X) - X and f'(X)."""
    delta = np.asarray(delta, np.float64)
    return (1 - alpha) * delta + alpha * slopes * delta, (delta * change).sum(axis=0)


# --- the Jacobian of a program ---


def root_of(weight, count):
    """Root of a row's weight in each of the `count` losses that it has the mean of."""
    return math.sqrt(weight / count)


def row_errors(outputs, target, weight, count):
    """Weighted residuals and loss of one row with `count` outputs, (count, n_out)."""
    residuals = root_of(weight, count) * np.subtract(outputs, target, dtype=np.float64)
    return residuals.ravel(), np.sum(residuals**2) / 2


def scaled_row(gradient, factor):
    """A gradient times a factor."""
    return factor * np.asarray(gradient, np.float64)


def gather_gradient(gradient, tables):
    """A gradient with those of tables, (first element, gradient), in their places."""
    gradient = np.array(gradient)
    for start, of_table in tables:
        gradient[start : start + of_table.size] = of_table.ravel()
    return gradient


def unit_vector(n, k):
    """The unit vector of element k."""
    return np.eye(n)[k]


# --- symmetric systems ---


def add_to_diagonal(A, amount):
    """A + amount I."""
    return A + amount * np.eye(len(A))


def negate_columns(U, j, columns, depth):
    """Some columns of the first rows of U, negated."""
    return -U[:depth, j : j + columns]


def subtract_above(U, i, r, c0, c1):
    """Columns of row r of U, minus multiples of the rows from i on above it."""
    return U[r, c0:c1] - U[i:r, r] @ U[i:r, c0:c1]


def divide_row(U, r, c0, c1, divisor):
    """Columns of row r of U, divided."""
    return U[r, c0:c1] / divisor


def factor_diagonal(A):
    """Upper triangle of the Cholesky factor of A, or None if A is not positive definite."""
    try:
        return np.linalg.cholesky(A).T
    except np.linalg.LinAlgError:
        return None


def eliminate_rows(X, D):
    """D^-T X."""
    return np.linalg.solve(D.T, X)


def solve_factored(U, x):
    """(U^T U)^-1 x, of the upper triangle of U."""
    U = np.triu(U)
    return np.linalg.solve(U.T @ U, x)


def solve_damped(A, damping, x):
    """(A + damping I)^-1 x."""
    return np.linalg.solve(add_to_diagonal(A, damping), x)


# --- dropout ---


def philox(counters, key):
    """Philox4x32-10 of Salmon et al. (2011): counters (n, 4) and a key (2,) to 32-bit (n, 4)."""
    x = np.array(counters, np.uint64).reshape(-1, 4)
    k = np.array(key, np.uint64)
    for _ in range(10):
        first, second = x[:, 0] * np.uint64(0xD2511F53), x[:, 2] * np.uint64(0xCD9E8D57)
        high, low = np.array([second, first]) >> 32, np.array([second, first]) & 0xFFFFFFFF
        x = np.stack([high[0] ^ x[:, 1] ^ k[0], low[0], high[1] ^ x[:, 3] ^ k[1], low[1]], axis=1)
        k = (k + np.array([0x9E3779B9, 0xBB67AE85], np.uint64)) & 0xFFFFFFFF
    return x.astype(np.uint32)


def drop_limit(number, factor):
    """How many of 2^16 numbers drop a unit."""
    return min(math.floor(number * factor + 0.5), 2**16 - 1)


def mask_stream(update, key, f):
    """The upper two numbers of a mask's counters, as one."""
    return update % 2**32 + 2**32 * (key + 2**16 * f)


def saved_size(n_rows, n_units, itemsize):
    """Numbers of `itemsize` bytes that hold 16 bits a unit, wherever in 16 bytes they begin."""
    return (2 * (n_rows * n_units + 14) // 16 * 16) // itemsize


def drop(values, numbers, limit):
    """Zeros where numbers of 16 bits are below `limit`, the values over the others' share else."""
    return values * np.where(numbers < limit, 0.0, 2**16 / (2**16 - limit))


def dropout_mask(seed, update, key, rows, units, p, f=0):
    """What dropout multiplies a layer's outputs by, (rows, units), by 0 or 2^16 / (2^16 - limit).

    `rows` are the places of the rows in their epoch. The unit of a row takes 16 bits: those with
    the number place * units + unit, of the stream that counters 0, 1, 2, ... make.
    """
    places = np.asarray(rows)[:, None] * units + np.arange(units)
    counters, which = np.divmod(places.ravel(), 8)
    stream = mask_stream(update, key, f)
    upper = np.broadcast_to([[stream % 2**32, stream // 2**32]], (counters.size, 2))
    lower = np.stack([counters % 2**32, counters // 2**32], axis=1)
    bits = philox(np.hstack([lower, upper]), (seed % 2**32, seed // 2**32))
    numbers = bits.astype("<u4").view("<u2")[np.arange(counters.size), which]
    return drop(np.ones(places.shape), numbers.reshape(places.shape), drop_limit(2**16 * p, 1.0))


# --- recurrent networks ---


def copy_times(source, order, n_times, n_inputs):
    """Rows of a matrix, a matrix (rows, n_inputs) for each step of time; and what comes after."""
    rows = source[order]
    steps = rows[:, : n_times * n_inputs].reshape(len(rows), n_times, n_inputs)
    return steps.swapaxes(0, 1), rows[:, n_times * n_inputs :]


read_times = copy_times


def clear_late_rows(lengths, t, Z):
    """Zeros in the rows that are over before step t."""
    return np.where(np.less_equal(lengths, t)[:, np.newaxis], 0, Z)


def keep_valid(lengths, f, factor, losses, delta):
    """What makes a mean over all steps one over the first ones, as many as `lengths` say."""
    share = np.where(np.less(f, lengths), factor / np.asarray(lengths, np.float64), 0)
    return losses * share, delta * share[:, np.newaxis]


def take_last(H, lengths):
    """Each row's last step of H (T, rows, n)."""
    return H[np.asarray(lengths) - 1, np.arange(H.shape[1])]


def give_last(delta, lengths, n_times):
    """`delta` (rows, n) at each row's last step, and zeros (T, rows, n) else."""
    deltas = np.zeros((n_times, *delta.shape))
    deltas[np.asarray(lengths) - 1, np.arange(len(delta))] = delta
    return deltas


def recurrent_forward(X, W, U, b, activation, lengths):
    """Pre-activations and outputs of a recurrent layer at each step of X (T, rows, n_in)."""
    h, Z, H = np.zeros((X.shape[1], len(U))), [], []
    for t, x in enumerate(X):
        z = clear_late_rows(lengths, t, x @ W + h @ U + b)
        h = activation_forward(z, activation)
        Z.append(z)
        H.append(h)
    return np.array(Z), np.array(H)


def recurrent_back(X, W, U, Z, H, deltas, activation, truncate=None):
    """Gradients of W, U and b, and the deltas of X, from the deltas of H: back through time."""
    carried, through = np.zeros(H.shape[1:]), np.zeros(H.shape)
    for t in reversed(range(len(X))):
        through[t] = activation_backward(deltas[t] + carried, Z[t], activation)
        carried = through[t] @ U.T if not truncate or t % truncate else np.zeros(H.shape[1:])
    before = np.concatenate([np.zeros((1, *H.shape[1:])), H[:-1]])
    W_gradient = np.einsum("tri,trj->ij", X, through)
    U_gradient = np.einsum("tri,trj->ij", before, through)
    return W_gradient, U_gradient, through.sum((0, 1)), through @ W.T


# --- norms and residual connections ---


NORM_EPSILON, NORM_MOMENTUM = 1e-5, 0.1


def normalize_rows(Z, gamma, beta):
    """Layer norm of rows, the rows normed, and the inverses that they were normed by."""
    inverses = 1 / np.sqrt(Z.var(axis=1) + NORM_EPSILON)
    hats = (Z - Z.mean(axis=1, keepdims=True)) * inverses[:, np.newaxis]
    return hats * gamma + beta, hats, inverses


def normalize_rows_back(delta, hats, gamma, inverses):
    """Deltas of what a layer norm was of, and the gradients of gamma and beta."""
    g = delta * gamma
    mean, slope = (part.mean(axis=1, keepdims=True) for part in (g, g * hats))
    before = (g - mean - hats * slope) * inverses[:, np.newaxis]
    return before, (delta * hats).sum(axis=0), delta.sum(axis=0)


def column_moments(Z):
    """Mean and sum of squared deviations of columns."""
    return Z.mean(axis=0), Z.shape[0] * Z.var(axis=0)


def add_moments(count, mean, deviations, other_count, other_mean, other_deviations):
    """Moments of two sets of rows together."""
    whole = count + other_count
    total_mean = (count * mean + other_count * other_mean) / whole
    squares = deviations + count * mean**2 + other_deviations + other_count * other_mean**2
    return total_mean, squares - whole * total_mean**2


def update_running(count, mean, deviations, running_mean, running_variance):
    """Running mean and variance after a mini-batch of `count` rows."""
    new = NORM_MOMENTUM
    variance = deviations / (count - 1)
    return (1 - new) * running_mean + new * mean, (1 - new) * running_variance + new * variance


def inverse_deviations(sums, count):
    """1 / sqrt(v + epsilon)."""
    return 1 / np.sqrt(sums / count + NORM_EPSILON)


def normalize_columns(Z, mean, inverse, gamma, beta):
    """Batch norm of columns, and the columns normed."""
    hats = (Z - mean) * inverse
    return hats * gamma + beta, hats


def delta_sums(delta, hats):
    """Sums of the columns of delta, and of delta times hats."""
    return delta.sum(axis=0), (delta * hats).sum(axis=0)


def normalize_columns_back(delta, hats, inverse, gamma, mean, slope):
    """Deltas of what a batch norm was of."""
    return (delta - mean - hats * slope) * gamma * inverse


def add_vectors(x, y):
    """x + y."""
    return x + y


def copy_values(source):
    """The same numbers."""
    return source.copy()


def row_moments(z):
    """Sums of the differences from the first number, and of their squares."""
    difference = z - z[0]
    return difference.sum(), (difference**2).sum()


def delta_moments(delta, gamma, hat):
    """Sums of delta * gamma and of delta * gamma * hat."""
    return (delta * gamma).sum(), (delta * gamma * hat).sum()


# --- rows of CSV files ---

CSV_NUMBER = re.compile(r"[ \t]*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?[ \t]*")


def csv_lines(text):
    """Lines with their ends, of texts without other line ends within."""
    return re.findall(r"[^\r\n]*\r?\n|[^\r\n]+", text)


def parse_rows(text, roles, delimiter=","):
    """Features and target of the rows in front of the first that is not understood, and their text.

    Each column has the role "feature", "target" or "left out". There are no quotes in the text.
    """
    X, y, n = [], [], 0
    for line in csv_lines(text):
        cells = line.rstrip("\r\n").split(delimiter)
        if cells != [""]:
            used = [cell for cell, role in zip(cells, roles, strict=False) if role != "left out"]
            if len(cells) != len(roles) or not all(map(CSV_NUMBER.fullmatch, used)):
                break
            X.append([float(c) for c, r in zip(cells, roles, strict=True) if r == "feature"])
            y += [float(c) for c, r in zip(cells, roles, strict=True) if r == "target"]
        n += len(line)
    return np.array(X), np.array(y), text[:n]


def table_rows(text, roles, marks, delimiter=","):
    """Rows in front of the first that is not understood, what is copied of them, and their text.

    Each column has the role "number", which may be missing, "copied" or "left out". A row is a list
    of its numbers, as int or float, or None. There are no line ends within cells.
    """
    rows, copied, n = [], "", 0
    pattern = re.compile(rf'(?:^|{delimiter})( *"(?:[^"]|"")*"|[^"{delimiter}]*)')
    for line in csv_lines(text):
        row = line.rstrip("\r\n")
        cells = pattern.findall(row)
        if row:
            if delimiter.join(cells) != row or len(cells) != len(roles):
                break
            numbers = [c for c, role in zip(cells, roles, strict=True) if role == "number"]
            numbers = ["" if cell.lstrip(" ") in marks else cell for cell in numbers]
            if not all(map(is_table_number, numbers)):
                break
            rows.append([table_number(cell) for cell in numbers])
            others = [c for c, role in zip(cells, roles, strict=True) if role == "copied"]
            copied += delimiter.join(others) + "\n" if "copied" in roles else ""
        n += len(line)
    return rows, copied, text[:n]


def table_number(cell):
    """What a cell of a column of numbers holds: an int, a float, or None where it is missing."""
    try:
        return int(cell)
    except ValueError:
        return float(cell) if cell.strip(" ") else None


def is_table_number(cell):
    """Whether a cell is missing, or a number that is finite, and exact if it is whole."""
    if not cell.strip(" "):
        return True
    if not CSV_NUMBER.fullmatch(cell):
        return False
    value = table_number(cell)
    return abs(value) < 2**53 if isinstance(value, int) else math.isfinite(value)


def whole_rows(text, n_columns, delimiter=","):
    """The text in front of the first row that has not so many cells, as Python reads it."""
    taken, end = [], 0

    def noted():
        for line in text.splitlines(keepends=True):
            taken.append(line)
            yield line

    try:
        for cells in csv.reader(noted(), delimiter=delimiter, skipinitialspace=True, strict=True):
            is_blank = not cells[1:] and not "".join(cells).strip()
            if not is_blank and len(cells) != n_columns:
                break
            end = len("".join(taken))
    except csv.Error:
        pass
    return text[:end]
