"""The objective J and its gradient, against the NumPy twin and central differences of it.

Tolerances: the twin computes in float64. A loss of this size is a sum of some hundred products,
so it agrees to a hundred roundings of the network's precision, relative to the largest terms.
"""

import tracemalloc

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from marks import both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal

import fastmlp
from fastmlp import MLP, Objective, workspace
from fastmlp.scoring import score

HIDDEN = (
    "identity",
    "relu",
    "leaky_relu(0.25)",
    "sigmoid",
    "tanh",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "exponential",
)

# Loss -> the outputs it makes sense with; the first is its natural one.
SIGNED = ("identity", "tanh", "leaky_relu(0.25)", "elu", "selu", "gelu", "silu", "mish")
POSITIVE = ("exponential", "softplus", "sigmoid", "softmax")
ANY = (*SIGNED, "relu", *POSITIVE)
OUTPUTS = {
    "squared_error": ANY,
    "absolute_error": ANY,
    "huber(0.5)": ANY,
    "quantile(0.75)": ANY,
    "quantile(0.25, 0.5, 0.75)": ANY,
    "logistic": SIGNED,
    "hinge": SIGNED,
    "poisson": POSITIVE,
    "binary_cross_entropy": ("sigmoid",),
    "cross_entropy": ("softmax",),
    "cross_entropy(0.2)": ("softmax",),
}
PAIRS = [(loss, output) for loss, outputs in OUTPUTS.items() for output in outputs]

N_IN, N_OUT = 4, 3


def targets(rng, n, loss, n_out=N_OUT):
    """Random targets of the kind that a loss takes."""
    if loss in ("logistic", "hinge"):
        return rng.choice([-1.0, 1.0], (n, n_out))
    if loss == "poisson":
        return rng.poisson(1.0, (n, n_out))
    if loss == "binary_cross_entropy":
        return rng.random((n, n_out))
    if loss.startswith("cross_entropy"):
        return rng.integers(n_out, size=n)
    return rng.normal(size=(n, n_out))


def network(hidden, output, dtype, sizes=(N_IN, 6, 5, N_OUT), seed=0):
    """A network whose biases are not zero, so that their part in all formulas shows.

    Its weights are small, so that also three layers of exponentials give numbers near 1.
    """
    net = MLP(sizes, activation=hidden, output=output, dtype=dtype, init="lecun_normal", seed=seed)
    net.theta *= 0.5
    for biases in net.biases:
        biases[:] = np.linspace(-0.3, 0.4, biases.size)
    return net


def twin_value(net, theta, X, y, **problem):
    layers = reference.unpack(theta, net.layer_sizes)
    return reference.objective(layers, X, y, **describe(net), **problem)


def twin_gradient(net, theta, X, y, **problem):
    layers = reference.unpack(theta, net.layer_sizes)
    return reference.pack(reference.gradient(layers, X, y, **describe(net), **problem))


def describe(net):
    return {"activations": net.activations[:-1], "output": net.output}


def central_differences(function, theta, step=1e-6):
    """Gradient to about 1e-9: the step squared, and eps over the step, for values near 1."""
    gradient = np.empty_like(theta)
    for i in range(theta.size):
        shift = np.zeros_like(theta)
        shift[i] = step
        gradient[i] = (function(theta + shift) - function(theta - shift)) / (2 * step)
    return gradient


def assert_value_and_gradient(net, X, y, weights=None, **problem):
    """Compare both with the twin and the gradient with central differences of the twin."""
    options = {"sample_weight": weights, **problem}
    value, gradient = net.loss_and_grad(X, y, **options)
    assert type(value) is float
    assert gradient.dtype == net.dtype
    assert net.loss(X, y, **options) == value

    def twin(theta):
        return twin_value(net, theta, X, y, weights=weights, **problem)

    theta = net.theta.astype(np.float64)
    expected = twin_gradient(net, theta, X, y, weights=weights, **problem)
    largest = max(1, np.abs(expected).max())
    eps = 100 * np.finfo(net.dtype).eps
    assert_allclose(value, twin(theta), rtol=eps)
    assert_allclose(gradient, expected, rtol=eps, atol=eps * largest)
    eps = max(eps, 1e-7)
    assert_allclose(gradient, central_differences(twin, theta), rtol=eps, atol=eps * largest)


# Value and gradient


@pytest.mark.parametrize("loss", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
@both_precisions
def test_every_hidden_activation_with_every_loss(hidden, loss, dtype):
    rng = np.random.default_rng(1)
    net = network(hidden, OUTPUTS[loss][0], dtype)
    X = rng.normal(size=(19, N_IN)).astype(dtype)
    assert_value_and_gradient(net, X, targets(rng, 19, loss), loss=loss)


@pytest.mark.parametrize(("loss", "output"), PAIRS)
@both_precisions
def test_every_loss_with_every_output_it_makes_sense_with(loss, output, dtype):
    rng = np.random.default_rng(2)
    net = network("tanh", output, dtype)
    X = rng.normal(size=(19, N_IN)).astype(dtype)
    assert_value_and_gradient(net, X, targets(rng, 19, loss), loss=loss)


@pytest.mark.parametrize("sizes", [(4, 3), (4, 1), (1, 1, 1), (4, 33, 3), (4, 2, 2, 2, 2, 2, 3)])
@both_precisions
def test_shallow_deep_narrow_and_wide_networks(sizes, dtype):
    rng = np.random.default_rng(3)
    net = network("tanh", "identity", dtype, sizes)
    X = rng.normal(size=(19, sizes[0])).astype(dtype)
    assert_value_and_gradient(net, X, rng.normal(size=(19, sizes[-1])), loss="squared_error")


@pytest.mark.parametrize("n", [1, 2, 7, 33])
def test_any_number_of_rows(n):
    rng = np.random.default_rng(4)
    net = network("tanh", "softmax", "float64")
    X = rng.normal(size=(n, N_IN))
    assert_value_and_gradient(net, X, targets(rng, n, "cross_entropy"), loss="cross_entropy")


@pytest.mark.parametrize("penalties", [{"l1": 0.1}, {"l2": 0.3}, {"l1": 0.02, "l2": 0.05}], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@both_precisions
def test_weights_and_penalties(weighted, penalties, dtype):
    rng = np.random.default_rng(5)
    net = network("elu", "softmax", dtype)
    X = rng.normal(size=(23, N_IN)).astype(dtype)
    weights = rng.random(23) if weighted else None
    y = targets(rng, 23, "cross_entropy")
    assert_value_and_gradient(net, X, y, loss="cross_entropy", weights=weights, **penalties)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.75])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["indices", "probabilities"])
@both_precisions
def test_label_smoothing_is_that_of_torch(kind, weighted, smoothing, dtype):
    """Value and gradient with respect to the logits, to a few dozen roundings."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    n, n_classes = 30, 5
    net = MLP([n_classes, n_classes], output="softmax", dtype=dtype)
    # Of the identity matrix the gradient of b is the sum of those of the logits.
    net.weights[0][:] = np.eye(n_classes)
    X = 4 * rng.standard_normal((n, n_classes)).astype(dtype)
    y = rng.integers(n_classes, size=n)
    if kind == "probabilities":
        y = rng.dirichlet(np.ones(n_classes), n)
    weights = rng.uniform(size=n) if weighted else None
    logits = torch.tensor(X.astype(float), requires_grad=True)
    losses = torch.nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")(
        logits, torch.tensor(y)
    )
    relative = np.ones(n) if weights is None else weights / weights.mean()
    expected = (losses * torch.tensor(relative)).mean()
    expected.backward()
    loss = f"cross_entropy({smoothing})"
    value, gradient = net.loss_and_grad(X, y, loss=loss, sample_weight=weights)
    eps = 50 * np.finfo(dtype).eps
    assert_allclose(value, expected.item(), rtol=eps)
    of_logits = logits.grad.numpy()
    assert_allclose(gradient[-n_classes:], of_logits.sum(axis=0), rtol=eps, atol=eps)
    of_weights = X.astype(float).T @ of_logits
    assert_allclose(gradient[:-n_classes].reshape(of_weights.shape), of_weights, atol=30 * eps)


@both_precisions
def test_cross_entropy_without_smoothing_has_the_same_bits(dtype):
    rng = np.random.default_rng(8)
    net = network("tanh", "softmax", dtype)
    X, y = rng.normal(size=(50, N_IN)), rng.integers(N_OUT, size=50)
    value, gradient = net.loss_and_grad(X, y, loss="cross_entropy")
    for loss in ("auto", "cross_entropy(0)", "cross_entropy(smoothing=0.0)"):
        again, as_well = net.loss_and_grad(X, y, loss=loss)
        assert again == value
        assert_array_equal(as_well, gradient)


@both_precisions
def test_mish_is_that_of_torch(dtype):
    """Value and gradient, to a few dozen roundings, as the sums are this long."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    net = MLP([4, 9, 6, 2], activation="mish", dtype=dtype, seed=6)
    X, Y = 3 * rng.standard_normal((40, 4)).astype(dtype), rng.standard_normal((40, 2))
    layers = [
        [torch.tensor(part.astype(float), requires_grad=True) for part in layer]
        for layer in zip(net.weights, net.biases, strict=True)
    ]
    signal = torch.tensor(X.astype(float))
    for number, (W, b) in enumerate(layers, start=1):
        signal = signal @ W + b
        if number < len(layers):
            signal = torch.nn.functional.mish(signal)
    loss = ((signal - torch.tensor(Y)) ** 2).sum() / 2 / len(X)
    loss.backward()
    value, gradient = net.loss_and_grad(X, Y)
    expected = np.concatenate([part.grad.numpy().ravel() for layer in layers for part in layer])
    eps = 50 * np.finfo(dtype).eps
    assert_allclose(value, loss.item(), rtol=eps)
    assert_allclose(gradient, expected, rtol=eps, atol=eps * np.abs(expected).max())


@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("identity", "squared_error"),
        ("tanh", "squared_error"),
        ("exponential", "squared_error"),
    ],
)
def test_auto_picks_the_loss_by_the_output(output, loss):
    rng = np.random.default_rng(6)
    net = network("tanh", output, "float64")
    X, y = rng.normal(size=(5, N_IN)), targets(rng, 5, loss)
    assert net.loss(X, y) == net.loss(X, y, loss="auto") == net.loss(X, y, loss=loss)


def test_default_parameters_of_losses():
    rng = np.random.default_rng(7)
    net = network("tanh", "identity", "float64")
    X, y = rng.normal(size=(9, N_IN)), 3 * rng.normal(size=(9, N_OUT))
    assert net.loss(X, y, loss="huber") == net.loss(X, y, loss="huber(delta=1)")
    assert net.loss(X, y, loss="quantile") == net.loss(X, y, loss="quantile(0.5)")
    assert_allclose(
        2 * net.loss(X, y, loss="quantile"), net.loss(X, y, loss="absolute_error"), rtol=1e-14
    )


def test_quantiles_of_several_levels_are_the_sum_of_one_each():
    """A network of three outputs has the losses and slopes of its outputs, each with its level."""
    rng = np.random.default_rng(8)
    net = network("tanh", "identity", "float64")
    X, y = rng.normal(size=(9, N_IN)), rng.normal(size=9)
    levels, errors = np.array([0.1, 0.5, 0.9]), y[:, None] - net.predict(X)
    wanted = np.maximum(levels * errors, (levels - 1) * errors).sum(axis=1).mean()
    found = net.loss(X, np.repeat(y[:, None], 3, axis=1), loss="quantile(0.1, 0.5, 0.9)")
    assert_allclose(found, wanted, rtol=1e-14)


def test_members_have_the_same_levels():
    """The loss is the mean of the members', each of which has all outputs."""
    rng = np.random.default_rng(9)
    net = MLP([N_IN, 5, 3], activation="tanh", members=4, dtype="float64", seed=0)
    X, Y = rng.normal(size=(9, N_IN)), np.repeat(rng.normal(size=(9, 1)), 3, axis=1)
    levels, loss = np.array([0.2, 0.5, 0.7]), "quantile(0.2, 0.5, 0.7)"
    errors = Y[:, None] - net.predict(X, members=True)
    wanted = np.maximum(levels * errors, (levels - 1) * errors).sum(axis=2).mean()
    assert_allclose(net.loss(X, Y, loss=loss), wanted, rtol=1e-14)
    assert fastmlp.check_gradient(net, X, Y, loss=loss).passed


def test_known_values():
    """yhat = 2 x + 1 by hand."""
    net = MLP([1, 1], dtype="float64")
    net.theta = [2, 1]
    X, y = [[0], [1]], [3, 0]  # errors -2 and 3
    for loss, value in (
        ("squared_error", (4 / 2 + 9 / 2) / 2),
        ("absolute_error", (2 + 3) / 2),
        ("huber(2.5)", (4 / 2 + 2.5 * (3 - 1.25)) / 2),
        ("quantile(0.75)", (0.75 * 2 + 0.25 * 3) / 2),
    ):
        assert net.loss(X, y, loss=loss) == value
    value, gradient = net.loss_and_grad(X, y, l1=0.5, l2=0.25)
    assert value == 13 / 4 + 0.5 * 2 + 0.25 / 2 * 4
    assert_array_equal(gradient, [3 / 2 + 0.5 + 0.5, 1 / 2])
    assert net.loss([[0], [1]], [1, -1], loss="hinge") == (0 + 4) / 2
    assert_allclose(
        net.loss([[0], [1]], [1, -1], loss="logistic"),
        (np.log(1 + np.exp(-1)) + np.log(1 + np.exp(3))) / 2,
        rtol=1e-15,
    )


@both_precisions
def test_class_indices_equal_their_probabilities(dtype):
    rng = np.random.default_rng(8)
    net = network("relu", "softmax", dtype)
    X, y = rng.normal(size=(30, N_IN)), rng.integers(N_OUT, size=30)
    value, gradient = net.loss_and_grad(X, y)
    eps = 10 * np.finfo(dtype).eps
    for indices in (y.astype(float), y.astype(np.uint8), y.tolist()):
        assert_array_equal(net.loss_and_grad(X, indices)[1], gradient)
    by_probabilities = net.loss_and_grad(X, np.eye(N_OUT)[y])
    assert_allclose(by_probabilities[0], value, rtol=eps)
    assert_allclose(by_probabilities[1], gradient, rtol=eps, atol=eps)


def test_one_output_takes_a_vector_or_a_column():
    rng = np.random.default_rng(9)
    net = network("tanh", "identity", "float64", (N_IN, 5, 1))
    X, y = rng.normal(size=(8, N_IN)), rng.normal(size=8)
    assert net.loss(X, y) == net.loss(X, y[:, None])


# Penalties and weights


@both_precisions
def test_biases_are_not_penalized(dtype):
    rng = np.random.default_rng(10)
    net = network("tanh", "identity", dtype)
    X, y = rng.normal(size=(8, N_IN)), rng.normal(size=(8, N_OUT))
    plain = reference.unpack(net.loss_and_grad(X, y)[1], net.layer_sizes)
    penalized = reference.unpack(net.loss_and_grad(X, y, l1=0.5, l2=2.0)[1], net.layer_sizes)
    for (W_plain, b_plain), (W_penalized, b_penalized) in zip(plain, penalized, strict=True):
        assert_array_equal(b_plain, b_penalized)
        assert (W_plain != W_penalized).all()


def test_penalties_do_not_depend_on_the_number_of_rows():
    rng = np.random.default_rng(11)
    net = network("tanh", "identity", "float64")
    X, y = rng.normal(size=(8, N_IN)), rng.normal(size=(8, N_OUT))
    value, gradient = net.loss_and_grad(X, y, l1=0.5, l2=2.0)
    repeated = net.loss_and_grad(np.tile(X, (5, 1)), np.tile(y, (5, 1)), l1=0.5, l2=2.0)
    assert_allclose(repeated[0], value, rtol=1e-14)
    assert_allclose(repeated[1], gradient, rtol=1e-13)


@given(st.lists(st.integers(0, 4), min_size=6, max_size=6).filter(any))
def test_integer_weights_equal_repeated_rows(counts):
    rng = np.random.default_rng(12)
    net = network("tanh", "softmax", "float64")
    X, y = rng.normal(size=(6, N_IN)), rng.integers(N_OUT, size=6)
    value, gradient = net.loss_and_grad(X, y, sample_weight=counts)
    repeated = net.loss_and_grad(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    assert_allclose(value, repeated[0], rtol=1e-14)
    assert_allclose(gradient, repeated[1], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("factor", [2.0**-40, 2.0, 1e-320, 1e306])
def test_scaling_the_weights_changes_nothing(factor):
    """Weights are small integers, so that even where they get subnormal, ratios are exact."""
    rng = np.random.default_rng(13)
    net = network("tanh", "softmax", "float64")
    X, y = rng.normal(size=(9, N_IN)), rng.integers(N_OUT, size=9)
    weights = np.array([1, 2, 1, 0, 4, 1, 8, 2, 1.0])
    value, gradient = net.loss_and_grad(X, y, sample_weight=weights)
    scaled = net.loss_and_grad(X, y, sample_weight=factor * weights)
    assert_allclose(scaled[0], value, rtol=1e-14)
    assert_allclose(scaled[1], gradient, rtol=1e-13, atol=1e-15)


def test_equal_weights_equal_none():
    rng = np.random.default_rng(14)
    net = network("tanh", "softmax", "float32")
    X, y = rng.normal(size=(9, N_IN)), rng.integers(N_OUT, size=9)
    assert net.loss(X, y, sample_weight=[3] * 9) == net.loss(X, y)


# Objective


def test_objective_takes_any_theta_and_leaves_the_network_alone():
    rng = np.random.default_rng(15)
    net = network("tanh", "identity", "float64")
    X, y = rng.normal(size=(9, N_IN)), rng.normal(size=(9, N_OUT))
    objective = Objective(net, X, y, l2=0.1)
    start = net.theta.copy()
    elsewhere = start + rng.normal(size=start.size)
    value, gradient = objective.value_and_grad(elsewhere)
    assert_array_equal(net.theta, start)
    assert objective.value() == net.loss(X, y, l2=0.1) != value
    net.theta = elsewhere
    assert objective.value() == objective.value(elsewhere) == value
    assert_array_equal(objective.value_and_grad()[1], gradient)
    with pytest.raises(ValueError, match=r"theta must have the shape \(83,\), got \(3,\)"):
        objective.value(np.zeros(3))


def test_objective_is_nan_where_the_network_overflows(overflow):
    net = MLP([1, 1, 1], activation="exponential", dtype="float32")
    net.theta = [1, 0, 1, 0]
    objective = Objective(net, [[1e3]], [0])
    assert np.isnan(objective.value())
    value, gradient = objective.value_and_grad()
    assert np.isnan(value)
    assert np.isnan(gradient).all()


# Large data


def streamed_problem(n):
    rng = np.random.default_rng(16)
    net = network("tanh", "softmax", "float64", (N_IN, 7, N_OUT))
    return net, rng.normal(size=(n, N_IN)), rng.integers(N_OUT, size=n), rng.random(n)


def assert_streams(n):
    net, X, y, weights = streamed_problem(n)
    value, gradient = net.loss_and_grad(X, y, sample_weight=weights, l2=0.1, n_threads=1)
    problem = {"loss": "cross_entropy", "weights": weights, "l2": 0.1}
    assert_allclose(value, twin_value(net, net.theta, X, y, **problem), rtol=1e-13)
    expected = twin_gradient(net, net.theta, X, y, **problem)
    assert_allclose(gradient, expected, rtol=1e-11, atol=1e-14)
    for n_threads in (2, 3, 5):
        again = net.loss_and_grad(X, y, sample_weight=weights, l2=0.1, n_threads=n_threads)
        assert again[0] == value
        assert_array_equal(again[1], gradient)


@pytest.mark.parametrize("n", [15, 16, 17, 32, 100])
def test_streaming_equals_the_twin_bit_for_bit_on_any_number_of_threads(n, small_chunks):
    assert_streams(n)


@compiled_only
def test_streaming_of_more_rows_than_a_chunk():
    assert_streams(2 * workspace.LARGEST_GROUPED_CHUNK + 1234)


@compiled_only
def test_memory_is_bounded_by_the_chunk_and_samples_are_used_in_place():
    """32 MB of samples and 102 MB of activations and deltas go through less than 16 MB."""
    n = 200_000
    net = network("relu", "identity", "float32", (40, 64, 1))
    X, y = np.ones((n, 40), np.float32), np.zeros(n, np.float32)
    net.copy().loss_and_grad(X, y)  # modules and kernels that are loaded on first use
    tracemalloc.start()
    try:
        net.loss_and_grad(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16e6 < X.nbytes


# Extremes


@pytest.mark.parametrize("size", [1e4, 1e30])
@both_precisions
def test_huge_logits_do_not_overflow(size, dtype):
    """Loss and gradient of the fused losses are those of the limit."""
    net = MLP([2, 2], output="softmax", dtype=dtype)
    net.weights[0][:] = np.eye(2)
    value, gradient = net.loss_and_grad([[size, -size]], [0])
    assert value == 0
    assert_array_equal(gradient, 0)
    value, gradient = net.loss_and_grad([[size, -size]], [1])
    assert_allclose(value, 2 * size, rtol=1e-6)
    assert_array_equal(net.biases[0] + gradient[-2:], [1, -1])
    assert_array_equal(net.predict([[size, -size]]), [[1, 0]])

    net = MLP([1, 1], output="sigmoid", dtype=dtype)
    net.theta = [1, 0]
    assert net.loss([[size]], [1]) == net.loss([[-size]], [0]) == 0
    for x, y in ((size, 0), (-size, 1)):
        value, gradient = net.loss_and_grad([[x]], [y])
        assert_allclose(value, size, rtol=1e-6)
        assert gradient[1] == 1 - 2 * y


@both_precisions
def test_poisson_loss_of_no_counts_at_a_rate_that_underflows(dtype):
    """exp(-2000) is 0 in either precision: nothing happens, and nothing is what was expected."""
    net = MLP([1, 1], output="exponential", dtype=dtype)
    net.theta = [0, -2000]
    value, gradient = net.loss_and_grad([[1]], [0], loss="poisson")
    assert value == 0
    assert_array_equal(gradient, 0)


def test_kinks_have_a_finite_gradient():
    """At the kinks of relu and of the losses the gradient is one-sided or 0, never NaN."""
    for loss in ("absolute_error", "huber", "quantile", "hinge"):
        net = MLP([1, 1, 1], dtype="float64")
        net.theta = [0, 0, 1, 1 if loss == "hinge" else 0]
        _, gradient = net.loss_and_grad([[1]], [1 if loss == "hinge" else 0], loss=loss)
        assert_array_equal(gradient, 0)


# Inputs of every kind


def strided(X):
    wide = np.full((X.shape[0], 2 * X.shape[1]), np.nan)
    wide[:, ::2] = X
    return wide[:, ::2]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


KINDS = {
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "reversed twice": lambda X: X[::-1].copy()[::-1],
    "read-only": read_only,
    "float64": lambda X: X.astype(np.float64),
    "float16": lambda X: X.astype(np.float16),
    "big-endian": lambda X: X.astype(">f8"),
    "integer": lambda X: X.astype(np.int64),
    "byte": lambda X: X.astype(np.uint8),
    "list": lambda X: X.tolist(),
    "row of a stack": lambda X: np.stack([X, X + 1])[0],
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@both_precisions
def test_inputs_of_every_kind_give_the_same_as_contiguous_ones(kind, dtype):
    """The samples are small integers, which every kind holds exactly."""
    rng = np.random.default_rng(17)
    net = network("tanh", "identity", dtype)
    X = rng.integers(0, 9, size=(12, N_IN)).astype(dtype)
    y = rng.integers(0, 9, size=(12, N_OUT)).astype(dtype)
    weights = np.arange(12.0)
    value, gradient = net.loss_and_grad(X, y, sample_weight=weights)
    again = net.loss_and_grad(kind(X), kind(y), sample_weight=kind(np.tile(weights, (2, 1)))[0])
    assert again[0] == value
    assert_array_equal(again[1], gradient)
    assert_array_equal(net.predict(kind(X)), net.predict(X))


def test_booleans_are_numbers():
    rng = np.random.default_rng(18)
    net = network("tanh", "sigmoid", "float32", (N_IN, 5, 1))
    X, y = rng.normal(size=(9, N_IN)), rng.random(9) < 0.5
    assert net.loss(X > 0, y) == net.loss((X > 0).astype(float), y.astype(float))


def test_inputs_are_never_modified():
    rng = np.random.default_rng(19)
    net = network("tanh", "softmax", "float32")
    X = rng.normal(size=(40, N_IN)).astype(np.float32)
    y = rng.dirichlet(np.ones(N_OUT), size=40).astype(np.float32)
    weights = rng.random(40).astype(np.float32)
    copies = [array.copy() for array in (X, y, weights)]
    net.predict(X)
    net.loss_and_grad(X, y, sample_weight=weights, l2=0.1)
    net.fit(
        X, y, sample_weight=weights, epochs=2, batch_size=8, validation_data=(X, y, weights), seed=0
    )
    net.fit(X, y, sample_weight=weights, epochs=2, optimizer="lbfgs")
    for array, copy in zip((X, y, weights), copies, strict=True):
        assert_array_equal(array, copy)


# Bad input


@pytest.mark.parametrize(
    ("loss", "output", "reason"),
    [
        ("cross_entropy", "identity", "needs a softmax output, got the output 'identity'"),
        ("cross_entropy", "sigmoid", "needs a softmax output, got the output 'sigmoid'"),
        ("binary_cross_entropy", "softmax", "needs a sigmoid output, got the output 'softmax'"),
        ("logistic", "relu", "needs an output that can be negative, .* got the output 'relu'"),
        ("logistic", "sigmoid", "needs an output that can be negative, .* 'sigmoid'"),
        ("hinge", "softmax", "needs an output that can be negative, .* 'softmax'"),
        ("hinge", "exponential", "needs an output that can be negative, .* 'exponential'"),
        ("poisson", "identity", "needs an output that is positive, .* 'identity'"),
        ("poisson", "relu", "needs an output that is positive, .* 'relu'"),
        ("poisson", "leaky_relu(0.2)", "needs an output that is positive, .* 'leaky_relu'"),
    ],
)
def test_senseless_pairs_are_refused(loss, output, reason):
    with pytest.raises(ValueError, match=f"loss '{loss}' {reason}"):
        MLP([2, 2], output=output).loss(np.ones((1, 2)), [[1, 0]], loss=loss)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        ("mse", ValueError, "loss must be one of auto, squared_error, .*quantile, got 'mse'"),
        (None, TypeError, "loss must be one of auto, squared_error, .*quantile, got None"),
        ("huber(0)", ValueError, "delta of huber must be a positive number, got 0"),
        ("huber(-1)", ValueError, "delta of huber must be a positive number, got -1"),
        ("huber(inf)", ValueError, "delta of huber must be a positive number, got inf"),
        ("huber(q=1)", ValueError, r"loss must be like 'huber\(delta=0.5\)', got 'huber\(q=1\)'"),
        ("quantile(1.5)", ValueError, r"q of quantile must be in \[0, 1\], got 1.5"),
        ("quantile(0.5, 1.5)", ValueError, r"q of quantile must be in \[0, 1\], got 1.5"),
        ("quantile(0.9, 0.1)", ValueError, "levels of quantile must ascend, got 0.9, 0.1"),
        ("quantile(0.5, 0.5)", ValueError, "levels of quantile must ascend, got 0.5, 0.5"),
        (
            "quantile(0.1, 0.5, 0.9)",
            ValueError,
            "quantile must have one level, or as many as there are outputs, 2, got 3",
        ),
        ("quantile(0.1, )", ValueError, r"loss must be like 'quantile\(q=0.5\)', got 'quantile\(0"),
        ("quantile(q=0.1, 0.9)", ValueError, r"loss must be like 'quantile\(q=0.5\)', got"),
        ("huber(0.1, 0.9)", ValueError, r"loss must be like 'huber\(delta=0.5\)', got 'huber\(0.1"),
        ("cross_entropy(1)", ValueError, r"smoothing of cross_entropy must be in \[0, 1\), got 1"),
        ("cross_entropy(-0.1)", ValueError, r"smoothing .* must be in \[0, 1\), got -0.1"),
        (
            "cross_entropy(0.1)",
            ValueError,
            "loss 'cross_entropy' needs a softmax output, got the output 'identity'",
        ),
        ("hinge(1)", ValueError, "loss 'hinge' takes no parameter"),
    ],
)
def test_bad_losses(loss, error, message):
    with pytest.raises(error, match=message):
        MLP([2, 2]).loss(np.ones((1, 2)), [[1, 1]], loss=loss)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.ones((2, 3)), ValueError, r"X must have the shape \(n, 2\), .*, got \(2, 3\)"),
        (np.ones(2), ValueError, r"X must have the shape \(n, 2\), .*, got \(2,\)"),
        (np.ones((2, 2, 1)), ValueError, r"X must have the shape \(n, 2\), .*, got \(2, 2, 1\)"),
        (3.0, ValueError, r"X must have the shape \(n, 2\), .*, got \(\)"),
        (np.ones((0, 2)), ValueError, r"X must have at least one row, got \(0, 2\)"),
        ([[1, 2], [np.nan, 3]], ValueError, r"X must be finite, got nan at index \(1, 0\)"),
        ([[1, 2], [3, -np.inf]], ValueError, r"X must be finite, got -inf at index \(1, 1\)"),
        ([[1, 2], [1e39, 3]], ValueError, r"X must be finite, got inf at index \(1, 0\)"),
        ([[1, 2], [3]], ValueError, "X must be a rectangular array of numbers"),
        ([["1", "2"], ["3", "4"]], TypeError, "X must hold real numbers, .* dtype <U1"),
        (np.ones((2, 2), object), TypeError, "X must hold real numbers, .* dtype object"),
        (np.ones((2, 2), complex), TypeError, "X must hold real numbers, .* dtype complex128"),
        (
            np.ones((2, 2), "M8[s]"),
            TypeError,
            r"X must hold real numbers, .* dtype datetime64\[s\]",
        ),
        (None, TypeError, "X must hold real numbers, .* dtype object"),
        (
            np.ma.masked_array(np.ones((2, 2)), [[0, 0], [0, 1]]),
            ValueError,
            "X must not have masked values",
        ),
        (
            [np.ma.masked_array([1, 2], [0, 1]), [3, 4]],
            ValueError,
            "X must not have masked values",
        ),
    ],
)
def test_bad_samples(X, error, message):
    with pytest.raises(error, match=message):
        MLP([2, 2]).loss(X, np.ones((2, 2)))


def test_masked_values_are_refused_wherever_numbers_are_taken():
    X, y = np.ones((4, 2)), np.arange(4.0)
    masked = np.ma.masked_array(y, [0, 1, 0, 0])
    net = MLP([2, 1])
    theta = np.ma.masked_array(net.theta, net.theta == net.theta[0])
    objective = Objective(net, X, y)

    def assign():
        net.theta = theta

    for call in (
        lambda: net.predict(np.ma.masked_array(X, X > 0)),
        lambda: net.loss_and_grad(X, masked),
        lambda: net.loss(X, y, sample_weight=masked),
        lambda: net.fit(X, masked, epochs=1),
        lambda: net.fit(X, y, epochs=1, validation_data=(X, masked)),
        lambda: net.fit(X, y, optimizer=fastmlp.LBFGS(bounds=(theta, 1.0))),
        lambda: fastmlp.fit_many([net], X, masked, epochs=1),
        lambda: fastmlp.fit_many([net], X, y, rows=[np.ma.masked_array([0, 1], [0, 1])]),
        lambda: fastmlp.compare(net, X, masked, ["adam"], passes=1),
        lambda: fastmlp.check_gradient(net, X, masked),
        lambda: score(net, X, masked),
        lambda: score(net, X, y, sample_weight=masked),
        lambda: objective.value(theta),
        assign,
    ):
        with pytest.raises(ValueError, match="must not have masked values"):
            call()


@pytest.mark.parametrize("dtype", ["bool", "boolean", "Int64", "Float64", "object", "category"])
def test_frames_of_numbers_are_numbers(dtype):
    """Whatever dtype pandas keeps them in."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X = np.column_stack([np.linspace(-1, 1, 6), [1, 0, 1, 1, 0, 1]])
    column = pandas.Series(X[:, 1].astype(bool if dtype.startswith("bool") else int))
    frame = pandas.DataFrame({"a": X[:, 0], "b": column.astype(dtype)})
    y = pandas.Series(X[:, 1].astype(int), dtype="Int64")
    net = MLP([2, 3, 2], output="softmax", seed=0)
    assert net.loss(frame, y) == net.loss(X, X[:, 1].astype(int))
    assert_array_equal(net.predict(frame), net.predict(X))


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (["k", "l"], TypeError, "X must hold real numbers, got 'k' in column 'b', row 0"),
        ([1, "2"], TypeError, "X must hold real numbers, got '2' in column 'b', row 1"),
        ([True, None], ValueError, "X must not have missing values, .* in column 'b', row 1"),
    ],
)
def test_the_column_that_is_no_number_is_named(column, error, message):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": column})
    with pytest.raises(error, match=message):
        MLP([2, 2]).loss(frame, np.ones((2, 2)))


SHAPE = r"y must have the shape \(2, 2\), to go with X and the outputs, got "
INDICES = r"y must have the shape \(2,\) for class indices or \(2, 2\) for probabilities"


@pytest.mark.parametrize(
    ("output", "y", "error", "message"),
    [
        ("identity", np.ones((3, 2)), ValueError, SHAPE + r"\(3, 2\)"),
        ("identity", np.ones(2), ValueError, SHAPE + r"\(2,\)"),
        ("identity", np.ones((2, 1)), ValueError, SHAPE + r"\(2, 1\)"),
        ("identity", [[1, 2], [3]], ValueError, "y must be a rectangular array of numbers"),
        ("identity", [["a", "b"]] * 2, TypeError, "y must hold real numbers, .* dtype <U1"),
        ("identity", [[1j, 2]] * 2, TypeError, "y must hold real numbers, .* dtype complex128"),
        ("identity", [[None, 2]] * 2, TypeError, "y must hold real numbers, .* dtype object"),
        ("identity", [[1, 2], [3, np.nan]], ValueError, r"y must be finite, got nan .* \(1, 1\)"),
        ("identity", [[1, 2], [3, 1e39]], ValueError, r"y must be finite, got inf .* \(1, 1\)"),
        ("softmax", [0, 1, 1], ValueError, INDICES),
        ("softmax", [[0], [1]], ValueError, INDICES),
        ("softmax", [0, 2], ValueError, "y must hold class indices from 0 to 1, got 2"),
        ("softmax", [-1, 1], ValueError, "y must hold class indices from 0 to 1, got -1"),
        ("softmax", [0, 2**40], ValueError, "y must hold class indices from 0 to 1, got 10995"),
        ("softmax", [0.5, 1], ValueError, "y must hold whole class indices .*, got fractions"),
        ("softmax", [np.nan, 1], ValueError, "y must be finite, got nan at index 0"),
        ("softmax", ["0", "1"], TypeError, "y must hold real numbers"),
        ("softmax", [[1, 0], [0.6, 0.6]], ValueError, "sum to 1 in each row, row 1 sums to 1.2"),
        ("softmax", [[1, 0], [1.5, -0.5]], ValueError, "y must hold probabilities from 0 to 1"),
        ("sigmoid", [[0, 1], [1, 2]], ValueError, "y must hold probabilities from 0 to 1, got 2"),
    ],
)
def test_bad_targets(output, y, error, message):
    with pytest.raises(error, match=message):
        MLP([2, 2], output=output).loss(np.ones((2, 2)), y)


@pytest.mark.parametrize(
    ("output", "loss", "y", "message"),
    [
        ("exponential", "poisson", -1, "y must hold counts from 0 to inf, got -1"),
        ("identity", "hinge", 0, "y must hold the labels 1 and -1 for hinge, got 0"),
        ("tanh", "logistic", 2, "y must hold the labels 1 and -1 for logistic, got 2"),
    ],
)
def test_targets_of_the_wrong_kind_for_a_loss(output, loss, y, message):
    with pytest.raises(ValueError, match=message):
        MLP([2, 1], output=output).loss(np.ones((2, 2)), [1, y], loss=loss)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"sample_weight": [1]},
            ValueError,
            r"sample_weight must have the shape \(2,\), .* \(1,\)",
        ),
        ({"sample_weight": [[1], [1]]}, ValueError, r"sample_weight must have the shape \(2,\)"),
        ({"sample_weight": 1.0}, ValueError, r"sample_weight must have the shape \(2,\), .* \(\)"),
        ({"sample_weight": [1, -1]}, ValueError, "sample_weight must not be negative, got -1"),
        ({"sample_weight": [0, 0]}, ValueError, "sample_weight must not be 0 for all samples"),
        ({"sample_weight": [1, np.nan]}, ValueError, "sample_weight must be finite, got nan"),
        ({"sample_weight": [1, np.inf]}, ValueError, "sample_weight must be finite, got inf"),
        ({"sample_weight": ["a", "b"]}, TypeError, "sample_weight must hold real numbers"),
        ({"l1": -1}, ValueError, "l1 must be a number of at least 0, got -1"),
        ({"l1": "a"}, TypeError, "l1 must be a number of at least 0, got 'a'"),
        ({"l2": np.nan}, ValueError, "l2 must be a number of at least 0, got nan"),
        ({"l2": np.inf}, ValueError, "l2 must be a number of at least 0, got inf"),
        ({"l2": None}, TypeError, "l2 must be a number of at least 0, got None"),
        ({"n_threads": 0}, ValueError, "n_threads must be an integer of at least 1, got 0"),
        ({"n_threads": 1.5}, TypeError, "n_threads must be an integer of at least 1, got 1.5"),
        ({"n_threads": True}, TypeError, "n_threads must be an integer of at least 1, got True"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        MLP([2, 2]).loss_and_grad(np.ones((2, 2)), np.ones((2, 2)), **options)


def test_objective_needs_a_network():
    with pytest.raises(TypeError, match=r"net must be a fastmlp\.MLP, got list"):
        Objective([2, 2], np.ones((2, 2)), np.ones((2, 2)))


def test_parameters_must_be_finite():
    net = MLP([2, 2])
    net.weights[0][1, 0] = np.inf
    with pytest.raises(ValueError, match="theta must be finite, got inf at index 2"):
        net.loss(np.ones((1, 2)), np.ones((1, 2)))
