"""Kernels of programs against their twins of tests/reference.py."""

import numpy as np
import pytest
import reference
from marks import both_precisions
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp import MLP, Categorical, Numeric, program_workspace
from fastmlp.kernels import program, records, vectors
from fastmlp.kernels.stages import columns, dense, piecewise


def some(rng, *shape, dtype="float64"):
    return rng.normal(0.3, 1.5, shape).astype(dtype)


def near(dtype, terms=1):
    """Some roundings of numbers of the order of 10, sums of so many `terms`."""
    return {"rtol": 0, "atol": 100 * terms * np.finfo(dtype).eps}


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


# Vectors and matrices


@both_precisions
def test_loops_over_vectors_equal_their_twins(dtype):
    x, y = (some(np.random.default_rng(i), 9, dtype=dtype) for i in range(2))
    expected = reference.add_scaled(x, x.dtype.type(0.5), y)
    standalone(vectors.add_scaled)(x, x.dtype.type(0.5), y)
    assert_allclose(x, expected, **near(dtype))
    standalone(vectors.fill)(x, 0.0)
    assert_array_equal(x, reference.fill(x, 0.0))


@both_precisions
def test_column_sums_are_added(dtype):
    rng = np.random.default_rng(0)
    delta, sums = some(rng, 7, 21, dtype=dtype), some(rng, 1, 21, dtype=dtype)
    expected = reference.add_column_sums(*wide(delta, sums))
    standalone(dense.add_column_sums)(delta, sums)
    assert_allclose(sums, expected, **near(dtype, 7))


def test_columns_are_copied():
    rng = np.random.default_rng(0)
    source, target = some(rng, 5, 4), some(rng, 5, 6)
    expected = reference.copy_column(source, 1, target, 4)
    standalone(columns.copy_column)(source, 1, target, 4)
    assert_array_equal(target, expected)
    vector = np.empty(5)
    standalone(columns.take_column)(source, 2, vector)
    assert_array_equal(vector, reference.take_column(source, 2))
    expected = reference.put_column(vector, target, 0)
    standalone(columns.put_column)(vector, target, 0)
    assert_array_equal(target, expected)
    some_columns = np.empty((5, 2))
    standalone(program.copy_columns)(source, 1, some_columns)
    assert_array_equal(some_columns, reference.copy_columns(source, 1, 2))


# Outputs, losses and gradients of a row's several outputs


def test_outputs_of_a_row_are_averaged_or_side_by_side():
    outputs = some(np.random.default_rng(0), 3, 5, 2)
    mean, rows = np.empty((5, 2)), np.empty((5, 6))
    standalone(program.mean_of_outputs)(outputs.ravel(), 3, mean)
    assert_allclose(mean, reference.mean_of_outputs(outputs), rtol=1e-14)
    standalone(program.outputs_in_rows)(outputs.ravel(), 2, rows)
    assert_array_equal(rows, reference.outputs_in_rows(outputs))


def test_losses_of_a_rows_outputs_are_averaged():
    losses = some(np.random.default_rng(0), 3, 5)
    totals, expected = np.full(5, np.nan), np.zeros(5)
    for f in range(3):
        standalone(program.add_mean)(losses[f], f, 3, totals)
        expected = reference.add_mean(losses[f], 3, expected)
    assert_allclose(totals, expected, rtol=1e-14)


def test_only_what_steps_add_to_is_cleared():
    layout = records.new(records.LAYER, 3)
    layout.w_offset, layout.clears = (0, 4, 10), (1, 0, 1)
    gradient = some(np.random.default_rng(0), 12)
    is_cleared = np.r_[np.ones(4, bool), np.zeros(6, bool), np.ones(2, bool)]
    expected = reference.clear_gradient(gradient, is_cleared)
    standalone(program.clear_gradient)(layout, gradient)
    assert_array_equal(gradient, expected)


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy(0.1)"])
def test_members_have_the_mean_of_their_losses(loss):
    """Losses, deltas and predictions of what a program gives, forward and back."""
    rng = np.random.default_rng(0)
    k, n, n_out = 3, 11, 4
    options = {"activation": "tanh", "dtype": "float64", "seed": 0, "members": k}
    output = "identity" if loss == "squared_error" else "softmax"
    net = MLP([3, 5, n_out], output=output, **options)
    X, weights = some(rng, n, 3), rng.random(n) + 0.5
    y = some(rng, n, n_out) if loss == "squared_error" else rng.integers(n_out, size=n)
    named = dict(net.parameters)
    # From the bottom: r_m * x, W, s_m * z + b_m, tanh, and the member's output layer.
    hidden = np.tanh(
        reference.member_outputs(
            reference.dense_step_forward(
                reference.member_inputs(X, named["member_inputs[0]"], shared=True),
                net.weights[0],
                0.0,
            ),
            named["member_outputs[0]"],
            net.biases[0],
            1.0,
        )
    ).reshape(k, n, 5)
    logits = np.array(
        [
            reference.dense_step_forward(hidden[m], net.weights[1][m], net.biases[1][m])
            for m in range(k)
        ]
    )
    given = reference.activation_forward(logits, output) if output == "identity" else None
    probabilities = np.array([np.exp(reference.log_softmax(z)) for z in logits])
    outputs = given if output == "identity" else probabilities
    for averages in (True, False):
        expected = reference.program_predict(outputs, averages)
        found = net.predict(X, members=not averages).reshape(expected.shape)
        assert_allclose(found, expected, **near("float64"))
    relative = reference.relative_weights(weights, n)
    targets = [y] * k
    losses, deltas = reference.take_loss(logits, targets, relative, n, loss)
    value, gradient = net.loss_and_grad(X, y, loss=loss, sample_weight=weights)
    assert_allclose(value, losses.mean(), rtol=1e-12)
    start = net.n_params
    for m in reversed(range(k)):
        W = net.weights[1][m]
        g_W, g_b, _ = reference.dense_step_back(hidden[m], W, deltas[m])
        start -= W.size + n_out
        found = gradient[start : start + W.size + n_out]
        assert_allclose(found, np.r_[g_W.ravel(), g_b], **near("float64", n))


# The cut of rows


@pytest.mark.parametrize("n", [5, 40, 83, 300])
def test_groups_of_blocks_are_what_gradients_are_summed_over(n, monkeypatch):
    """A bias has the sum of its rows' deltas, group by group, to the bit."""
    monkeypatch.setattr(program_workspace, "FEWEST_BLOCK_ROWS", 6)
    monkeypatch.setattr(program_workspace, "BLOCK_BYTES", 1)
    # Its first layer gives 0, its last nothing but 0, and targets of that are deltas.
    net = MLP([1, 1, 1], norm="layer", dtype="float32", seed=0)
    net.theta[:] = 0.0
    y = some(np.random.default_rng(n), n, dtype="float32")
    X, order = np.ones((n, 1), np.float32), np.arange(n)
    share = np.float32(1) / np.float32(n)
    total = np.float32(0)
    for group in reference.take_blocks(n, program_workspace.group_count(n), 6):
        assert max(map(len, group)) <= 6
        of_group = np.float32(0)
        for block in group:
            rows = reference.read_rows(y, order, block[0], len(block))
            for target in rows:
                of_group += reference.back([lambda delta: delta * share], -target)
        total += of_group
    gradient = net.loss_and_grad(X, y)[1]
    assert gradient[-1] == total


# Periodic embeddings


@both_precisions
def test_angles_and_their_deltas_equal_their_twins(dtype):
    rng = np.random.default_rng(0)
    x, sums = some(rng, 21, dtype=dtype), some(rng, 21, dtype=dtype)
    w, b = x.dtype.type(0.3), x.dtype.type(-1.2)
    cosines, sines = np.empty_like(x), np.empty_like(x)
    standalone(columns.angles)(x, w, b, cosines, sines)
    expected = reference.angles(*wide(x, w, b))
    assert_allclose(cosines, expected[0], **near(dtype))
    assert_allclose(sines, expected[1], **near(dtype))
    slopes, expected = np.empty_like(x), reference.angle_deltas(*wide(sines, sums, x))
    standalone(columns.angle_deltas)(sines, sums, x, slopes)
    assert_allclose(sums, expected[0], **near(dtype))
    assert_allclose(slopes, expected[1], **near(dtype))


def alone(entry, n_in=1, **options):
    """A network that is an embedding and a sum of its columns, and the embedding's parameters."""
    net = MLP([n_in, 1], inputs=[entry], dtype="float64", seed=0, **options)
    net.theta[:] = some(np.random.default_rng(1), net.n_params)
    named = dict(net.parameters)
    return net, named, {name: np.array(view) for name, view in named.items()}


def split(net, gradient):
    """A gradient by the names of parameters."""
    parts, start = {}, 0
    for name, view in net.parameters:
        parts[name] = gradient[start : start + view.size].reshape(view.shape)
        start += view.size
    return parts


def deltas_of_outputs(net, X, y):
    """Those of half the mean of squared errors, and of what the only layer takes."""
    delta = (net.predict(X).reshape(y.shape) - y) / len(X)
    return np.outer(delta, net.weights[0])


def test_periodic_embeddings_equal_their_twin():
    net, named, _ = alone(Numeric(0, "periodic", size=5))
    rng = np.random.default_rng(2)
    X, y = some(rng, 37, 1), some(rng, 37)
    w, b, V, c = (
        named[f"periodic[0].{what}"][0] for what in ("frequencies", "phases", "weights", "biases")
    )
    E = reference.periodic(X[:, 0], w, b, V, c)
    expected = reference.dense_step_forward(E, net.weights[0], net.biases[0])
    assert_allclose(net.predict(X).reshape(-1, 1), expected, **near("float64", 16))
    delta = deltas_of_outputs(net, X, y)
    found = split(net, net.loss_and_grad(X, y)[1])
    expected = reference.add_periodic_gradients(X[:, 0], w, b, V, delta)
    for what, one in zip(("frequencies", "phases", "weights", "biases"), expected, strict=True):
        assert_allclose(found[f"periodic[0].{what}"][0], one, **near("float64", 16 * 37))


# Piecewise-linear embeddings


EDGES = np.array([-2.0, -0.5, 0.0, 1.0, 4.0])


@both_precisions
@pytest.mark.parametrize("n_edges", [2, 3, 5])
def test_bins_are_those_of_the_twin(n_edges, dtype):
    edges = EDGES[:n_edges].astype(dtype)
    values = np.concatenate([edges, edges + 0.1, edges - 0.1, [-1e9, 1e9]]).astype(dtype)
    bin_of = standalone(piecewise.bin_of)
    for x in values:
        assert bin_of(x, edges) == reference.bin_of(x, edges)


@both_precisions
def test_piecewise_kernels_equal_their_twins(dtype):
    rng = np.random.default_rng(0)
    V, sums = some(rng, 4, 19, dtype=dtype), np.empty((4, 19), dtype)
    standalone(piecewise.sum_rows_before)(V, sums)
    assert_allclose(sums, reference.sum_rows_before(*wide(V)), **near(dtype, 4))

    x, share = V.dtype.type(0.7), V.dtype.type(1.3)
    parameters = tuple(some(rng, 19, dtype=dtype) for _ in range(4))
    result = np.empty(19, dtype)
    standalone(piecewise.embed_value)(x, share, parameters, result)
    expected = reference.embed_value(float(x), float(share), *wide(*parameters))
    assert_allclose(result, expected, **near(dtype))

    gradients = tuple(np.full(19, i, dtype) for i in range(4))
    standalone(piecewise.add_value_gradients)(x, share, result, gradients)
    expected = reference.add_value_gradients(float(x), float(share), *wide(result))
    for i in range(4):
        assert_allclose(gradients[i], i + expected[i], **near(dtype))

    sums, g_V = some(rng, 4, 19, dtype=dtype), some(rng, 4, 19, dtype=dtype)
    expected = reference.add_rows_after(*wide(sums, g_V))
    standalone(piecewise.add_rows_after)(sums, g_V)
    assert_allclose(g_V, expected, **near(dtype, 4))


def test_piecewise_embeddings_equal_their_twin():
    net, named, _ = alone(Numeric(0, "piecewise_linear", size=3, edges=[EDGES]))
    X = np.r_[EDGES, EDGES + 0.3, EDGES - 0.3][:, np.newaxis]
    w, b, V = (named[f"piecewise[0].{what}"] for what in ("weights", "biases", "bins"))
    E = reference.piecewise(X[:, 0], w, b, V, EDGES)
    expected = reference.dense_step_forward(E, net.weights[0], net.biases[0])
    assert_allclose(net.predict(X).reshape(-1, 1), expected, **near("float64", 5))


# One-hot columns


def test_factors_of_one_hot_columns_have_the_gradients_of_the_twin():
    net, named, _ = alone(Categorical(0, 4), input_scale=True)
    rng = np.random.default_rng(3)
    codes = np.array([0, 1, 2, 3, 3, 1, -1, np.nan])
    y = some(rng, codes.size)
    W, factors = net.weights[0], named["input_scale.one_hot"]
    hot = reference.one_hot(codes, 4)
    X = codes[:, np.newaxis]
    expected = hot @ (factors.reshape(-1, 1) * W) + net.biases[0]
    assert_allclose(net.predict(X).reshape(-1, 1), expected, **near("float64"))
    delta = (net.predict(X).ravel() - y) / codes.size
    found = split(net, net.loss_and_grad(X, y)[1])["input_scale.one_hot"]
    for row in range(4):
        terms = [
            reference.add_factor_gradients(W[row], np.array([d]), [factors[row]])[0]
            for d in delta[hot[:, row] == 1]
        ]
        assert_allclose(found[row], sum(terms), **near("float64", 8))
