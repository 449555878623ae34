"""Columns of X as numbers, embeddings and categories, held against torch and dense networks."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
import reference
from marks import INTERPRETED, both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from torch_networks import TorchNetwork, relative_error

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    Adam,
    Categorical,
    Numeric,
    check_gradient,
    program_workspace,
    quantile_edges,
)
from fastmlp.order import random_order

N_CATEGORIES = 5  # of column 2; column 4 has 3
N_COLUMNS = 5


def data(n=29, seed=0, missing=True):
    """Numbers in columns 0, 1 and 3, codes in 2 and 4, some of them missing; targets; weights."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0.3, 1.2, (n, N_COLUMNS))
    X[:, 2], X[:, 4] = rng.integers(N_CATEGORIES, size=n), rng.integers(3, size=n)
    if missing:
        X[3::7, 2], X[5::7, 2], X[4::9, 4] = -1, np.nan, np.nan
    return X, rng.normal(size=(n, 2)), rng.uniform(0.5, 2.0, n)


EDGES = [[-1.5, -0.2, 0.1, 0.9, 2.0], [-0.5, 0.5, 0.6]]
CODES = [Categorical(2, N_CATEGORIES), Categorical(4, 3)]
INPUTS = {
    "one-hot": CODES,
    "embedding": [Categorical(2, N_CATEGORIES, size=3), Categorical(4, 3, size=1)],
    "periodic": [Numeric((1, 0), "periodic"), Categorical(2, N_CATEGORIES, size=2), CODES[1]],
    "piecewise": [Numeric((0, 3), "piecewise_linear", size=6, edges=EDGES), *CODES],
    "all": [
        Numeric(3),
        Numeric(1, "periodic", size=3),
        Categorical(4, 3, size=4),
        Numeric(0, "piecewise_linear", size=2, edges=EDGES[:1]),
        CODES[0],
    ],
}
FACTORS = [{}, {"input_scale": True}, {"members": 3}, {"input_scale": True, "members": 3}]
every_kind = pytest.mark.parametrize("kind", INPUTS)


def network(kind="all", seed=1, sizes=(N_COLUMNS, 6, 2), dtype="float64", **options):
    """A network none of whose parameters is 0."""
    options = {"activation": "tanh"} | options
    inputs = INPUTS[kind] if kind in list(INPUTS) else kind
    net = MLP(sizes, inputs=inputs, dtype=dtype, seed=seed, **options)
    net.theta += np.random.default_rng(seed).normal(0.0, 0.3, net.n_params).astype(dtype)
    return net


def named(net):
    return dict(net.parameters)


# Torch


@pytest.mark.parametrize("pieces", FACTORS, ids=str)
@every_kind
def test_gradients_are_those_of_torch(kind, pieces):
    pytest.importorskip("torch")
    net = network(kind, **pieces)
    X, y, weights = data()
    peer = TorchNetwork(net)
    loss = peer.loss(X, y, loss="squared_error", weights=weights, l2=0.1)
    loss.backward()
    value, gradient = net.loss_and_grad(X, y, sample_weight=weights, l2=0.1)
    assert value == pytest.approx(loss.item(), rel=1e-12)
    assert relative_error(gradient, peer.gradient()) < 1e-9
    outputs = peer(X).detach().numpy().mean(axis=0)
    # Some hundred roundings of numbers of the order of 10.
    assert_allclose(net.predict(X), outputs, rtol=0, atol=1e-12)


@every_kind
def test_steps_of_mini_batches_are_those_of_torch(kind):
    """The last mini-batch is smaller, and most have no row of some category."""
    torch = pytest.importorskip("torch")
    net = network(kind, input_scale=True)
    X, y, _ = data()
    peer = TorchNetwork(net)
    steps = torch.optim.SGD(peer.named.values(), lr=0.1, momentum=0.9)
    peer.fit(steps, X, y, batch_size=8, epochs=3, loss="squared_error")
    net.fit(X, y, optimizer=SGD(0.1, momentum=0.9), batch_size=8, epochs=3, shuffle=False)
    # Twelve steps, each with the roundings of a gradient.
    assert_allclose(net.theta, peer.theta(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pieces", [{}, {"input_scale": True, "members": 2}], ids=str)
@every_kind
def test_gradients_agree_with_central_differences(kind, pieces):
    net = network(kind, **pieces)
    X, y, weights = data(9)
    most = 2 if INTERPRETED else 1000
    check = check_gradient(net, X, y, sample_weight=weights, l1=0.01, l2=0.1, max_params=most)
    assert check.passed, str(check)
    assert set(check.errors) == set(named(net))


# One-hot codes


def as_dense(X):
    """X with its two columns of codes as columns of zeros and ones, at the end."""
    columns = [
        reference.one_hot(X[:, entry.column], entry.n_categories) for entry in INPUTS["one-hot"]
    ]
    return np.hstack([X[:, [0, 1, 3]], *columns])


def dense_network(net, **options):
    """The network of a dense matrix that has the parameters of one with one-hot columns."""
    n_in = 3 + N_CATEGORIES + 3
    other = MLP((n_in, *net.layer_sizes[1:]), dtype=net.dtype, activation="tanh", **options)
    given = named(net)
    for name, view in other.parameters:
        if f"{name}.one_hot" in given:
            parts = given[name], given[f"{name}.one_hot"]
            parts = [part.reshape(*view.shape[:-1], -1) for part in parts]
            view[:] = np.concatenate(parts, axis=-1)
        else:
            view[:] = given[name]
    return other


@pytest.mark.parametrize("pieces", FACTORS, ids=str)
def test_one_hot_columns_are_those_of_a_dense_matrix(pieces):
    X, y, weights = data()
    net = network("one-hot", **pieces)
    other = dense_network(net, **pieces)
    # Sums of eleven terms in another order, and gradients that are sums over 29 rows.
    close = {"rtol": 0, "atol": 1e-13}
    assert_allclose(net.predict(X), other.predict(as_dense(X)), **close)
    options = {"sample_weight": weights, "l1": 0.01, "l2": 0.1}
    value, _ = net.loss_and_grad(X, y, **options)
    assert value == pytest.approx(other.loss(as_dense(X), y, **options), rel=1e-13)
    fit = {"optimizer": SGD(0.1, momentum=0.9), "batch_size": 7, "epochs": 2, "seed": 0, **options}
    net.fit(X, y, **fit)
    other.fit(as_dense(X), y, **fit)
    expected = dense_network(net, **pieces)
    assert_allclose(other.theta, expected.theta, rtol=0, atol=1e-12)


def test_a_network_of_codes_alone_is_a_table():
    X = np.array([[0.0, 2], [1, 0], [-1, 1], [np.nan, np.nan]])
    net = network([Categorical(0, 2), Categorical(1, 3)], sizes=(2, 1))
    W, b = net.weights[0], net.biases[0]
    expected = [b + W[0] + W[4], b + W[1] + W[2], b + W[3], b]
    assert_allclose(net.predict(X), expected, rtol=1e-14)


@compiled_only
def test_a_table_alone_is_work_for_several_threads():
    """Without a product there still is something to share out, and to tell the time by."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(9, size=(60, 1)), rng.normal(size=(60, 2))
    net = MLP([1, 2], inputs=[Categorical(0, 9)], dtype="float64", seed=0)
    other = net.copy()
    for one, n_threads in ((net, 1), (other, 2)):
        one.fit(X, y, batch_size=16, epochs=2, seed=0, n_threads=n_threads)
    assert_array_equal(net.theta, other.theta)
    assert_array_equal(net.predict(X, n_threads=1), other.predict(X, n_threads=2))


@compiled_only
def test_no_dense_matrix_of_one_hot_columns_is_made():
    n_categories, n, width = 20_000, 1000, 4
    rng = np.random.default_rng(0)
    X = rng.integers(n_categories, size=(n, 1)).astype(np.float32)
    y = rng.normal(size=(n, 1)).astype(np.float32)
    net = MLP([1, width, 1], inputs=[Categorical(0, n_categories)], seed=0)
    net.copy().fit(X[:10], y[:10], epochs=1)  # code is loaded
    tracemalloc.start()
    net.fit(X, y, optimizer=Adam(), epochs=1, batch_size=250)
    net.predict(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Some vectors like theta, of which there is one for each of up to eight groups of rows.
    assert peak < 30 * net.theta.nbytes < n * n_categories * net.dtype.itemsize / 5


# Missing codes


@pytest.mark.parametrize("kind", ["one-hot", "embedding", "all"])
@both_precisions
def test_missing_codes_are_all_the_same(kind, dtype):
    X, y, _ = data(missing=False)
    ends = []
    for code in (-1.0, np.nan):
        X[::3, 2] = code
        net = network(kind, dtype=dtype)
        net.fit(X, y, epochs=2, batch_size=10, seed=0)
        ends.append([net.theta, net.predict(X), net.loss(X, y)])
    for one, other in zip(*ends, strict=True):
        assert_array_equal(one, other)


def test_a_missing_code_gives_zeros_and_changes_no_row_of_a_table():
    X, y, _ = data()
    net = network("embedding")
    table = named(net)["embedding[2]"]
    X[:, 2] = -1
    before = net.predict(X)
    table[:] = 7.0
    assert_array_equal(net.predict(X), before)
    start = 0
    for name, view in net.parameters:
        part = net.loss_and_grad(X, y)[1][start : start + view.size]
        assert part.any() != (name == "embedding[2]"), name
        start += view.size


def test_categories_that_no_row_has_stay_as_they_are():
    X, y, _ = data()
    X[:, 2] = np.where(X[:, 2] == 1, 0, X[:, 2])
    for kind, name, row in (("embedding", "embedding[2]", 1), ("one-hot", "weights[0]", 3 + 1)):
        net = network(kind)
        before = named(net)[name].copy()
        net.fit(X, y, optimizer=Adam(), epochs=2, batch_size=8, seed=0)
        changed = (named(net)[name] != before).any(axis=1)
        assert not changed[row]
        assert changed.sum() == changed.size - 1


# Embeddings


def test_what_embeddings_start_as():
    edges = [np.linspace(-1, 1, 9)]
    net = MLP(
        [3, 2],
        inputs=[
            Numeric(0, "periodic"),
            Numeric(1, "piecewise_linear", edges=edges),
            Categorical(2, 2000, size=20),
        ],
        dtype="float64",
        seed=0,
    )
    parameters = named(net)
    assert [(name, view.shape) for name, view in parameters.items()] == [
        ("periodic[0].frequencies", (1, 16)),
        ("periodic[0].phases", (1, 16)),
        ("periodic[0].weights", (1, 16, 3)),
        ("periodic[0].biases", (1, 3)),
        ("piecewise[1].weights", (16,)),
        ("piecewise[1].biases", (16,)),
        ("piecewise[1].bins", (8, 16)),
        ("embedding[2]", (2000, 20)),
        ("weights[0]", (4 + 16 + 20, 2)),
        ("biases[0]", (2,)),
    ]
    table = parameters["embedding[2]"]
    # Five standard deviations of a mean and of a variance of 40 000 numbers.
    assert abs(table.mean()) < 5 / np.sqrt(table.size)
    assert abs(table.var() - 1) < 5 * np.sqrt(2 / table.size)
    assert not parameters["piecewise[1].bins"].any()
    limits = {"weights": 0.25, "biases": 0.25, "phases": np.pi}
    for what, limit in limits.items():
        view = parameters[f"periodic[0].{what}"]
        assert 0.3 * limit < abs(view).max() < limit
    assert abs(parameters["periodic[0].frequencies"]).max() < 0.5
    assert 0.1 < abs(parameters["piecewise[1].weights"]).max() < 1 / 4


def test_a_piecewise_linear_embedding_goes_on_beyond_its_edges():
    """Lines to either side, and the values at the edges are sums of rows of V."""
    edges = np.array([-1.0, 0.0, 0.5, 2.0])
    net = network([Numeric(0, "piecewise_linear", size=1, edges=[edges])], sizes=(1, 1))
    x = np.array([-3.0, -2.0, -1.0, 2.0, 3.0, 4.0])
    y = net.predict(x[:, np.newaxis]).ravel()
    assert_allclose(y[0] - y[1], y[1] - y[2], rtol=1e-12)
    assert_allclose(y[5] - y[4], y[4] - y[3], rtol=1e-12)
    w, b, V = (named(net)[f"piecewise[0].{what}"] for what in ("weights", "biases", "bins"))
    at_edges = np.outer(edges, w) + b + np.vstack([np.zeros(1), np.cumsum(V, axis=0)])
    expected = at_edges @ net.weights[0] + net.biases[0]
    assert_allclose(net.predict(edges[:, np.newaxis]), expected, rtol=1e-12)


# Edges of bins


def test_edges_are_quantiles():
    X = np.random.default_rng(0).normal(size=(500, 3))
    found = quantile_edges(X, (2, 0), n_bins=7)
    for edges, column in zip(found, (2, 0), strict=True):
        assert_allclose(edges, np.quantile(X[:, column], np.arange(8) / 7), rtol=1e-13)
    assert [edges.size for edges in quantile_edges(X, 1)] == [49]
    # In each bin as many rows, but for one that lies on the edge between two.
    counts = np.histogram(X[:, 2], found[0])[0]
    assert abs(counts - 500 / 7).max() <= 1


def test_equal_quantiles_make_one_edge():
    X = np.r_[np.zeros(90), 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0][:, np.newaxis]
    (edges,) = quantile_edges(X, 0, n_bins=10)
    assert edges[0] == 0
    assert edges[-1] == 10
    assert (np.diff(edges) > 0).all()
    assert edges.size < 11
    Numeric(0, "piecewise_linear", edges=[edges])


def test_a_column_of_equal_numbers_has_one_bin():
    (edges,) = quantile_edges(np.full((9, 1), 0.5), [0])
    assert_array_equal(edges, [0.5, 1.5])
    # The larger one is another number in float32 too.
    (edges,) = quantile_edges(np.full((9, 1), -1e9), [0])
    assert_array_equal(edges, [-1e9, 0.0])


def test_edges_are_numbers_of_the_dtype_of_X():
    """Quantiles of neighbouring numbers lie between them."""
    x = np.float32(1e8) + np.arange(3, dtype=np.float32) * 8
    (edges,) = quantile_edges(x[:, np.newaxis], 0, n_bins=48)
    assert_array_equal(edges, x)
    net = network([Numeric(0, "piecewise_linear", edges=[edges])], sizes=(1, 1), dtype="float32")
    assert np.isfinite(net.predict(x[:, np.newaxis])).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((np.zeros(3), 0), r"X must be a matrix, got the shape \(3,\)"),
        ((np.zeros((3, 2)), 2), "columns must be from 0 to 1, got 2"),
        ((np.zeros((3, 2)), -1), "columns must be numbers of columns from 0, got -1"),
        ((np.zeros((3, 2)), None), "columns must be an integer or a sequence, got None"),
        ((np.zeros((3, 2)), 0, 0), "n_bins"),
        ((np.array([[np.nan]]), 0), "X must be finite, got nan"),
        ((np.zeros((0, 2)), 0), "X must have at least one row, got none"),
    ],
)
def test_edges_of_bad_input_are_refused(arguments, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        quantile_edges(*arguments)


# Bad input


PIECES = "piecewise_linear"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Numeric("a"), "columns must be an integer or a sequence, got 'a'"),
        (lambda: Numeric(1.5), "columns must be an integer or a sequence, got 1.5"),
        (lambda: Numeric(np.array(0)), r"columns must be an integer or a sequence, got array\(0\)"),
        (lambda: Numeric(()), "columns must name at least one column, got none"),
        (lambda: Numeric([0, -1]), "columns must be numbers of columns from 0, got -1"),
        (lambda: Numeric(True), "columns must be .*got True"),
        (lambda: Numeric(0, "fourier"), "embedding must be one of .*got 'fourier'"),
        (lambda: Numeric(0, size=2), "size must be None or 1 without an embedding, got 2"),
        (lambda: Numeric(0, "periodic", size=1), "size must be .*2.*got 1"),
        (lambda: Numeric(0, edges=[[0, 1]]), "edges must be None but for embedding="),
        (lambda: Numeric(0, PIECES), "edges must be given for embedding="),
        (lambda: Numeric(0, PIECES, edges=3), "edges must have a sequence for each column, got 3"),
        (lambda: Numeric(0, PIECES, edges=np.array(3)), "edges must have a sequence for each"),
        (lambda: Numeric((0, 1), PIECES, edges=[[0, 1]]), "edges must have one sequence for each"),
        (lambda: Numeric(0, PIECES, edges=[[0]]), r"edges\[0\] must be two or more ascending"),
        (lambda: Numeric(0, PIECES, edges=[[0, 0]]), r"edges\[0\] must be two or more ascending"),
        (lambda: Numeric(0, PIECES, edges=[[0, np.inf]]), r"edges\[0\]"),
        (lambda: Categorical(-1, 3), "column must be numbers of columns from 0, got -1"),
        (lambda: Categorical(0, 0), "n_categories must be .*got 0"),
        (lambda: Categorical(0, 3, size=0), "size must be .*got 0"),
        (lambda: network("codes"), "inputs must be a sequence of Numeric and Categorical"),
        (lambda: network([3]), r"inputs\[0\] must be a fastmlp.Numeric or fastmlp.Categorical"),
        (lambda: network([Numeric(5)]), r"inputs\[0\] must name columns from 0 to 4, got 5"),
        (lambda: network([Numeric((0, 1)), Categorical(1, 2)]), "got column 1 again"),
        (
            lambda: network("one-hot", sizes=(N_COLUMNS, 11, 2), residual=[True]),
            r"residual\[0\] must be False for a hidden layer of 11 units.*with one-hot codes",
        ),
        (
            lambda: network("embedding", sizes=(N_COLUMNS, 5, 2), residual=[True]),
            r"residual\[0\] must be False for a hidden layer of 5 units, as its input has 7",
        ),
        (
            lambda: network("one-hot", sizes=(N_COLUMNS, 11, 11, 2), tied=[(2, 1)]),
            "tied must not name layer 1 where inputs have one-hot codes",
        ),
        (
            lambda: network("embedding", sizes=(N_COLUMNS, 5, 5, 2), tied=[(2, 1)]),
            r"tied must name layers whose weights have one shape.*\(5, 5\) and \(7, 5\)",
        ),
    ],
)
def test_bad_entries_are_refused(make, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        make()


def test_what_float32_does_not_tell_apart_is_refused():
    edges = [[1e9, 1e9 + 1]]
    entry = Numeric(0, "piecewise_linear", edges=edges)
    sentence = r"inputs\[0\] must have edges that differ as numbers of float32, got edges\[0\]"
    with pytest.raises(ValueError, match=sentence):
        network([entry], sizes=(1, 1), dtype="float32")
    network([entry], sizes=(1, 1))
    many = [Categorical(0, 2**23, size=1), Categorical(1, 2**23 + 1, size=1)]
    sentence = "inputs must have at most 16777216 categories in a network of float32.*got 16777217"
    with pytest.raises(ValueError, match=sentence):
        network(many, sizes=(2, 1), dtype="float32")


@pytest.mark.parametrize("bad", [5, -2, 0.5, np.inf])
def test_bad_codes_are_refused_before_anything_is_changed(bad):
    X, y, _ = data()
    X[4, 2] = bad
    net = network()
    before = net.theta.copy()
    sentence = r"X must hold codes from 0 to 4, or -1 or NaN .*in row 4"
    for call in (net.fit, net.loss, net.loss_and_grad, lambda X, y: net.predict(X)):
        with pytest.raises(ValueError, match=sentence):
            call(X, y)
    assert_array_equal(net.theta, before)


def test_numbers_that_are_not_finite_are_refused():
    X, y, _ = data()
    X[2, 1] = np.nan
    sentence = "X must hold finite numbers in column 1, got nan in row 2"
    with pytest.raises(ValueError, match=sentence):
        network().fit(X, y)


# Connections and tied weights of the first layer


def test_the_first_layer_may_be_residual_or_tied_where_embeddings_have_the_width():
    pytest.importorskip("torch")
    X, y, _ = data()
    net = network(
        "embedding", sizes=(N_COLUMNS, 7, 7, 2), residual=[True, True], tied=[(2, 1)], members=2
    )
    peer = TorchNetwork(net)
    peer.loss(X, y, loss="squared_error").backward()
    assert relative_error(net.loss_and_grad(X, y)[1], peer.gradient()) < 1e-9
    assert MLP((N_COLUMNS, 11, 11, 2), inputs=CODES, residual=True).architecture()["residual"] == [
        False,
        True,
    ]


# Rows, chunks, copies


def test_a_mini_batch_of_several_chunks_is_one(monkeypatch):
    X, y, weights = data(50)
    ends = []
    for rows in (4096, 16):
        monkeypatch.setattr(program_workspace, "LARGEST_CHUNK", rows)
        net = network(members=2, input_scale=True)
        options = {"sample_weight": weights, "l2": 0.1}
        value, gradient = net.loss_and_grad(X, y, **options)
        net.fit(X, y, optimizer=SGD(0.1), batch_size=None, epochs=2, **options)
        ends.append([value, gradient, net.theta, net.loss(X, y)])
    for one, other in zip(*ends, strict=True):
        assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_rows_are_trained_in_the_order_of_the_epoch():
    X, y, _ = data()
    net, other = network(), network()
    options = {"optimizer": Adam(), "epochs": 1, "batch_size": 8}
    net.fit(X, y, seed=3, **options)
    order = random_order(np.random.default_rng(3), len(X))
    other.fit(X[order], y[order], shuffle=False, **options)
    assert_array_equal(net.theta, other.theta)


@every_kind
@both_precisions
def test_copies_pickles_and_files_are_the_same_network(kind, dtype, tmp_path):
    net = network(kind, dtype=dtype, input_scale=True)
    X, _, _ = data()
    net.save(tmp_path / "net.safetensors")
    outputs = net.predict(X)
    for other in (
        net.copy(),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        MLP.load(tmp_path / "net.safetensors"),
    ):
        assert other.architecture() == net.architecture()
        assert_array_equal(other.theta, net.theta)
        assert_array_equal(other.predict(X), outputs)
        other.theta += 1
    assert_array_equal(net.predict(X), outputs)


def test_a_resumed_fit_has_the_same_bits(tmp_path):
    X, y, _ = data()
    options = {"optimizer": Adam(), "batch_size": 8, "seed": 5}
    whole, first, resumed = (network() for _ in range(3))
    whole.fit(X, y, epochs=4, **options)
    path = tmp_path / "fit.checkpoint"
    first.fit(X, y, epochs=2, checkpoint=path, **options)
    resumed.fit(X, y, epochs=4, checkpoint=path, **options)
    assert_array_equal(resumed.theta, whole.theta)


@compiled_only
def test_solvers_take_inputs_of_every_kind():
    X, y, _ = data()
    for kind in INPUTS:
        net = network(kind)
        before = net.loss(X, y)
        assert net.fit(X, y, optimizer=LBFGS(), epochs=20).loss < 0.5 * before
