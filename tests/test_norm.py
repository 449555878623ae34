"""Layer norm, batch norm and residual connections, held against NumPy and PyTorch."""

import copy
import pickle

import numpy as np
import pytest
import reference
from forced_teams import force_teams
from marks import INTERPRETED, both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    SPSA,
    AdaGrad,
    Adam,
    AdamW,
    NAdam,
    Objective,
    RMSProp,
    check_gradient,
    compare,
    fit_many,
    program_workspace,
)
from fastmlp.kernels import gather
from fastmlp.kernels.moments import delta_moments, row_moments
from fastmlp.kernels.stages import batch_norm, layer_norm, residual
from fastmlp.result import Status

SIZES = (5, 7, 7, 6, 3)
STATISTICS = [f"norm_{what}[{layer}]" for layer in range(3) for what in ("mean", "variance")]


def data(n=23, n_in=SIZES[0], n_out=SIZES[-1], dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(0.5, 2.0, (n, n_in)).astype(dtype)
    return X, rng.normal(size=(n, n_out)).astype(dtype)


def network(norm="layer", sizes=SIZES, seed=1, **options):
    """A network none of whose parameters and statistics is what it begins as."""
    options = {"activation": "tanh", "dtype": "float64", "norm": norm} | options
    net = MLP(sizes, seed=seed, **options)
    rng = np.random.default_rng(seed)
    net.theta += rng.normal(0.0, 0.2, net.n_params)
    for name, view in net.statistics.items():
        view[:] = rng.random(view.size) + (0.5 if "variance" in name else -0.5)
    return net


def parameter(net, name):
    return dict(net.parameters)[name]


# Kernels


def some(rng, shape, dtype):
    return rng.normal(0.3, 1.5, shape).astype(dtype)


def assert_near(given, expected, dtype, terms=1):
    """Equal but for some roundings of numbers of the order of 1, sums of so many `terms`."""
    for one, other in zip(given, expected, strict=True):
        assert_allclose(one, other, rtol=0, atol=100 * terms * np.finfo(dtype).eps)


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


@standalone
def moments_of_row(x):
    return row_moments(x)


@standalone
def moments_of_delta(delta, gamma, hats):
    return delta_moments(delta, gamma, hats)


@both_precisions
@pytest.mark.parametrize("n", [1, 3, 8, 16, 35, 102])
def test_moments_equal_their_twins(n, dtype):
    rng = np.random.default_rng(n)
    x, y, z = (some(rng, n, dtype) for _ in range(3))
    assert_near(moments_of_row(x), reference.row_moments(*wide(x)), dtype, n)
    assert_near(moments_of_delta(x, y, z), reference.delta_moments(*wide(x, y, z)), dtype, n)


@both_precisions
@pytest.mark.parametrize("n", [1, 3, 8, 21])
def test_layer_norm_of_rows_equals_its_twin(n, dtype):
    rng = np.random.default_rng(n)
    Z, gamma, beta = some(rng, (6, n), dtype), some(rng, n, dtype), some(rng, n, dtype)
    expected = reference.normalize_rows(*wide(Z, gamma, beta))
    result, inverses = np.empty_like(Z), np.empty(6, dtype)
    standalone(layer_norm.normalize_rows)(Z, gamma, beta, inverses, result)
    if n == 1:  # of one unit the variance is 0, and what is normed too
        assert not Z.any()
    assert_near((result, Z), expected[:2], dtype, n)
    assert_allclose(inverses, expected[2], rtol=1000 * np.finfo(dtype).eps)


@both_precisions
@pytest.mark.parametrize("n", [1, 3, 8, 21])
def test_layer_norm_back_equals_its_twin(n, dtype):
    rng = np.random.default_rng(n)
    delta, hats = some(rng, (6, n), dtype), some(rng, (6, n), dtype)
    gamma, inverses = some(rng, n, dtype), some(rng, 6, dtype)
    expected = reference.normalize_rows_back(*wide(delta, hats, gamma, inverses))
    gradients = np.ones(n, dtype), np.full(n, 2.0, dtype)
    standalone(layer_norm.normalize_rows_back)(delta, hats, gamma, inverses, *gradients)
    assert_near((delta,), expected[:1], dtype, n)
    assert_near(gradients, (expected[1] + 1, expected[2] + 2), dtype, n)


@both_precisions
def test_kernels_of_batch_norm_equal_their_twins(dtype):
    rng = np.random.default_rng(0)
    Z, delta = some(rng, (9, 5), dtype), some(rng, (9, 5), dtype)
    mean, sums, gamma, beta, slope = (some(rng, 5, dtype) ** 2 for _ in range(5))
    given = np.empty(5, dtype), np.empty(5, dtype)
    standalone(batch_norm.column_moments)(Z, *given)
    assert_near(given, reference.column_moments(*wide(Z)), dtype, 9)

    standalone(batch_norm.delta_sums)(delta, Z, *given)
    assert_near(given, reference.delta_sums(*wide(delta, Z)), dtype, 9)

    given = mean.copy(), sums.copy()
    expected = reference.add_moments(4, *wide(mean, sums), 3, *wide(gamma, beta))
    standalone(batch_norm.add_moments)(4.0, *given, 3.0, gamma, beta)
    assert_near(given, expected, dtype, 7)

    given = gamma.copy(), beta.copy()
    expected = reference.update_running(7, *wide(mean, sums, gamma, beta))
    standalone(batch_norm.update_running)(7.0, mean, sums, *given)
    assert_near(given, expected, dtype)

    given = np.empty(5, dtype)
    standalone(batch_norm.inverse_deviations)(sums, 7.0, given)
    assert_allclose(
        given, reference.inverse_deviations(sums, 7), rtol=1e-4 if dtype == "float32" else 1e-13
    )

    expected = reference.normalize_columns(*wide(Z, mean, sums, gamma, beta))
    result, hats = np.empty_like(Z), Z.copy()
    standalone(batch_norm.normalize_columns)(hats, mean, sums, gamma, beta, result)
    assert_near((result, hats), expected, dtype)

    before = delta.copy()
    standalone(batch_norm.normalize_columns_back)(before, hats, sums, gamma, mean, slope)
    expected = reference.normalize_columns_back(*wide(delta, hats, sums, gamma, mean, slope))
    assert_near((before,), (expected,), dtype, 10)


def test_kernels_of_vectors_equal_their_twins():
    x, y = np.array([1.0, 2.0, 4.0]), np.array([8.0, 16.0, 32.0])
    result = np.empty(3)
    standalone(residual.add_vectors)(x, y, result)
    assert_array_equal(result, reference.add_vectors(x, y))
    standalone(gather.copy_values)(x, result)
    assert_array_equal(result, reference.copy_values(x))


# What a network is


def test_theta_has_gamma_and_beta_after_a_layers_biases():
    net = MLP([3, 4, 5, 2], norm=["layer", None], seed=0)
    names = [name for name, _ in net.parameters]
    assert names[:4] == ["weights[0]", "biases[0]", "norm_scale[0]", "norm_shift[0]"]
    assert names[4:] == ["weights[1]", "biases[1]", "weights[2]", "biases[2]"]
    assert net.n_params == 12 + 4 + 4 + 4 + 25 + 10 + 2
    assert_array_equal(parameter(net, "norm_scale[0]"), 1)
    assert_array_equal(parameter(net, "norm_shift[0]"), 0)
    assert_array_equal(np.concatenate([view.ravel() for _, view in net.parameters]), net.theta)
    assert net.statistics == {}


def test_weights_are_those_of_a_network_without_norms():
    assert_array_equal(network(seed=3, norm=None).weights[2].shape, (7, 6))
    for layer in range(3):
        plain, normed = MLP(SIZES, seed=3), MLP(SIZES, seed=3, norm="batch", residual=True)
        assert_array_equal(plain.weights[layer], normed.weights[layer])


def test_statistics_begin_as_those_of_standardized_units():
    net = MLP(SIZES, norm="batch", seed=0)
    assert list(net.statistics) == STATISTICS
    assert_array_equal(net.statistics["norm_mean[2]"], np.zeros(6))
    assert_array_equal(net.statistics["norm_variance[0]"], np.ones(7))


def outputs_by_hand(net, X, activation, norms, residuals):
    """Outputs in NumPy, by running statistics."""
    a, named = X, dict(net.parameters) | net.statistics
    for layer, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        z, given = a @ W + b, a
        if layer < len(norms) and norms[layer]:
            gamma, beta = named[f"norm_scale[{layer}]"], named[f"norm_shift[{layer}]"]
            if norms[layer] == "layer":
                z, *_ = reference.normalize_rows(z, gamma, beta)
            else:
                inverse = reference.inverse_deviations(named[f"norm_variance[{layer}]"], 1)
                mean = named[f"norm_mean[{layer}]"]
                z, _ = reference.normalize_columns(z, mean, inverse, gamma, beta)
        if layer == len(norms):
            return z
        a = reference.activation_forward(z, activation)
        if residuals[layer]:
            a = a + given
    raise AssertionError


ACTIVATIONS = ["identity", "relu", "tanh", "gelu", "leaky_relu(0.2)", "sigmoid"]
KINDS = [
    (("layer", "layer", "layer"), False),
    (("batch", "batch", "batch"), False),
    ((None, None, None), True),
    (("layer", None, "batch"), True),
    (("batch", "layer", None), True),
]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("norms", "is_residual"), KINDS)
def test_predictions_are_those_of_numpy(norms, is_residual, activation):
    sizes = (7, 7, 7, 6, 3) if is_residual else SIZES
    net = network(norms, sizes, activation=activation, residual=is_residual)
    X, _ = data(n_in=sizes[0])
    residuals = [is_residual, is_residual, False]
    expected = outputs_by_hand(net, X, activation, norms, residuals)
    # Some hundred roundings of numbers of the order of 1.
    assert_allclose(net.predict(X), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("norms", "is_residual"), KINDS)
def test_gradients_agree_with_central_differences(norms, is_residual, activation):
    sizes = (7, 7, 7, 6, 3) if is_residual else SIZES
    net = network(norms, sizes, activation=activation, residual=is_residual)
    X, y = data(n=9, n_in=sizes[0])
    weights = np.random.default_rng(5).random(9)
    most = 3 if INTERPRETED else 1000
    check = check_gradient(net, X, y, sample_weight=weights, l1=0.01, l2=0.1, max_params=most)
    assert check.passed, str(check)
    assert {"norm_scale[0]"} <= set(check.errors) or norms[0] is None


def test_penalties_leave_gamma_and_beta_alone():
    net = network("layer")
    X, y = data()
    plain, penalized = net.loss_and_grad(X, y)[1], net.loss_and_grad(X, y, l1=0.5, l2=0.5)[1]
    start = 0
    for name, view in net.parameters:
        part = slice(start, start + view.size)
        start += view.size
        same = np.array_equal(plain[part], penalized[part])
        assert same != name.startswith("weights"), name


def test_decay_leaves_gamma_and_beta_alone():
    X, y = data(dtype="float32")
    start = network("layer", dtype="float32")
    ends = []
    for decay in (0.0, 0.5):
        net = start.copy()
        net.fit(X, y, optimizer=AdamW(weight_decay=decay), batch_size=None, epochs=1, seed=0)
        ends.append(net)
    for name, view in ends[0].parameters:
        same = np.array_equal(view, parameter(ends[1], name))
        assert same != name.startswith("weights"), name


# PyTorch


def torch_network(net, activation, norms, residuals):
    """The same network in PyTorch, as a function of a list of tensors: those of theta.

    Returns them by name, the running means and variances of batch norms by layer, and the function.
    """
    torch = pytest.importorskip("torch")
    named = {
        name: torch.tensor(np.array(view, np.float64), requires_grad=True)
        for name, view in net.parameters
    }
    running = {
        layer: [
            torch.tensor(net.statistics[f"norm_{what}[{layer}]"]) for what in ("mean", "variance")
        ]
        for layer, norm in enumerate(norms)
        if norm == "batch"
    }

    def forward(X, training):
        a = torch.tensor(X, dtype=torch.float64)
        for layer in range(len(norms) + 1):
            given, z = a, a @ named[f"weights[{layer}]"] + named[f"biases[{layer}]"]
            if layer == len(norms):
                return z
            if norms[layer] is not None:
                gamma, beta = named[f"norm_scale[{layer}]"], named[f"norm_shift[{layer}]"]
                if norms[layer] == "layer":
                    z = torch.nn.functional.layer_norm(z, z.shape[1:], gamma, beta)
                else:
                    z = torch.nn.functional.batch_norm(
                        z, *running[layer], gamma, beta, training=training
                    )
            a = z if activation == "identity" else getattr(torch.nn.functional, activation)(z)
            if residuals[layer]:
                a = a + given
        raise AssertionError

    return named, running, forward


def torch_loss(outputs, y):
    import torch

    return 0.5 * ((outputs - torch.tensor(y, dtype=torch.float64)) ** 2).sum(dim=1).mean()


def flat_gradient(named):
    return np.concatenate([tensor.grad.numpy().ravel() for tensor in named.values()])


def assert_relatively_near(given, expected, bound):
    assert np.linalg.norm(given - expected) <= bound * np.linalg.norm(expected)


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "gelu"])
@pytest.mark.parametrize(("norms", "is_residual"), KINDS)
def test_gradients_are_those_of_torch(norms, is_residual, activation):
    sizes = (7, 7, 7, 6, 3) if is_residual else SIZES
    net = network(norms, sizes, activation=activation, residual=is_residual)
    X, y = data(n_in=sizes[0])
    residuals = [is_residual, is_residual, False]
    named, _, forward = torch_network(net, activation, norms, residuals)
    loss = torch_loss(forward(X, training=False), y)
    loss.backward()
    value, gradient = net.loss_and_grad(X, y)
    assert value == pytest.approx(loss.item(), rel=1e-12)
    assert_relatively_near(gradient, flat_gradient(named), 1e-9)


@pytest.mark.parametrize("rows", [2, 23, 150, 700])
@pytest.mark.parametrize(("norms", "is_residual"), KINDS)
def test_a_step_of_gradient_descent_is_that_of_torch(norms, is_residual, rows):
    """In training, by the mini-batch's own statistics: theta moves by the gradient."""
    if INTERPRETED and rows > 30:
        pytest.skip("takes long without the compiler")
    sizes = (7, 7, 7, 6, 3) if is_residual else SIZES
    net = network(norms, sizes, residual=is_residual)
    X, y = data(rows, n_in=sizes[0])
    residuals = [is_residual, is_residual, False]
    named, running, forward = torch_network(net, "tanh", norms, residuals)
    torch_loss(forward(X, training=True), y).backward()
    before = net.theta.copy()
    rate = 0.5
    net.fit(X, y, optimizer=SGD(learning_rate=rate), batch_size=None, epochs=1, shuffle=False)
    # A difference of numbers some ten times as large.
    assert_relatively_near((before - net.theta) / rate, flat_gradient(named), 1e-9)
    for layer, (mean, variance) in running.items():
        given = [net.statistics[f"norm_{what}[{layer}]"] for what in ("mean", "variance")]
        assert_allclose(given[0], mean.numpy(), rtol=1e-12, atol=1e-13)
        assert_allclose(given[1], variance.numpy(), rtol=1e-12)


OPTIMIZERS = {
    "sgd": (SGD(learning_rate=0.05, momentum=0.9), "SGD", {"lr": 0.05, "momentum": 0.9}),
    "adam": (Adam(learning_rate=0.01), "Adam", {"lr": 0.01}),
    "adamw": (AdamW(learning_rate=0.01, weight_decay=0.1), "AdamW", {"lr": 0.01}),
    "rmsprop": (RMSProp(learning_rate=0.01, rho=0.9), "RMSprop", {"lr": 0.01, "alpha": 0.9}),
    "adagrad": (AdaGrad(learning_rate=0.05), "Adagrad", {"lr": 0.05}),
    "nadam": (NAdam(learning_rate=0.01), "NAdam", {"lr": 0.01}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_ten_steps_are_those_of_torch(norm, name):
    torch = pytest.importorskip("torch")
    optimizer, peer, options = OPTIMIZERS[name]
    norms, residuals = (norm,) * 3, [False, True, False]
    net = network(norms, residual=residuals)
    X, y = data(26)
    named, running, forward = torch_network(net, "tanh", norms, residuals)
    if "epsilon" in vars(optimizer):
        options = {**options, "eps": optimizer.epsilon}
    decay = getattr(optimizer, "weight_decay", 0.0)
    decayed = [tensor for key, tensor in named.items() if key.startswith("weights")]
    others = [tensor for key, tensor in named.items() if not key.startswith("weights")]
    groups = [
        {"params": decayed, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
    steps = getattr(torch.optim, peer)(groups, **options)
    for _ in range(5):
        for rows in (slice(0, 13), slice(13, 26)):
            steps.zero_grad()
            torch_loss(forward(X[rows], training=True), y[rows]).backward()
            steps.step()
    net.fit(X, y, optimizer=optimizer, batch_size=13, epochs=5, shuffle=False)
    expected = np.concatenate([tensor.detach().numpy().ravel() for tensor in named.values()])
    # Of gradients that are nearly zero, such as those of biases before a batch norm, which are
    # zero but for round-off, optimizers that divide by their size make steps of any sign.
    start, kept = 0, []
    for key, tensor in named.items():
        size = tensor.numel()
        is_idle = norm == "batch" and key.startswith("biases") and key != "biases[3]"
        if not (is_idle and name != "sgd"):
            kept.append(np.arange(start, start + size))
        start += size
    kept = np.concatenate(kept)
    assert_allclose(net.theta[kept], expected[kept], rtol=1e-7, atol=1e-9)
    # Means move with those biases; variances do not.
    for layer, (_, variance) in running.items():
        assert_allclose(net.statistics[f"norm_variance[{layer}]"], variance.numpy(), rtol=1e-7)


# The same bits


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of three rows, several to a group, and teams of as many threads as are asked for."""
    return force_teams(monkeypatch, task_elements=16)


@compiled_only
@pytest.mark.parametrize("clip_norm", [None, 0.1])
@pytest.mark.parametrize(("norms", "is_residual"), KINDS)
@both_precisions
def test_bits_do_not_depend_on_the_number_of_threads(
    norms, is_residual, clip_norm, dtype, small_blocks
):
    sizes = (7, 7, 7, 6, 3) if is_residual else SIZES
    X, y = data(83, n_in=sizes[0], dtype=dtype)
    start = network(norms, sizes, residual=is_residual, dtype=dtype)
    expected = None
    for n_threads in (1, 2, 3, 4):
        net = start.copy()
        evaluated = net.loss_and_grad(X, y, n_threads=n_threads)
        options = {"optimizer": Adam(), "batch_size": 40, "epochs": 2, "clip_norm": clip_norm}
        result = net.fit(X, y, n_threads=n_threads, seed=0, **options)
        found = [*evaluated, *net.learned(), result.loss, result.trace["objective"]]
        if expected is None:
            expected = found
        for one, other in zip(found, expected, strict=True):
            assert_array_equal(one, other)
    assert small_blocks == {2, 3, 4}


@pytest.mark.parametrize("rows", [30, 83])
def test_blocks_and_groups_change_a_step_by_round_off_alone(rows, request):
    X, y = data(rows)
    ends = []
    for fixture in (None, "small_blocks"):
        if fixture:
            request.getfixturevalue(fixture)
        net = network("batch", residual=True)
        net.fit(X, y, optimizer=SGD(learning_rate=0.1), batch_size=None, epochs=2)
        ends.append(net.learned())
    for one, other in zip(*ends, strict=True):
        assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_a_mini_batch_of_several_chunks_is_one(monkeypatch):
    X, y = data(50)
    ends = []
    for rows in (4096, 16):
        monkeypatch.setattr(program_workspace, "LARGEST_CHUNK", rows)
        for norm in ("layer", "batch"):
            net = network(norm, residual=True)
            value, gradient = net.loss_and_grad(X, y)
            net.fit(X, y, optimizer=SGD(learning_rate=0.1), batch_size=None, epochs=2)
            ends.append([value, gradient, net.theta, net.loss(X, y)])
    for one, other in zip(ends[:2], ends[2:], strict=True):
        for a, b in zip(one, other, strict=True):
            assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def trained_bits(dtype):
    """All that two networks learn and predict, as text."""
    X, y = data(97, 19, 1, dtype)
    found = []
    for norm in ("layer", "batch"):
        net = MLP([19, 19, 21, 1], norm=norm, residual=True, dtype=dtype, seed=0)
        net.fit(X, y, batch_size=40, epochs=3, seed=0)
        found += [net.theta, *net.statistics.values(), net.predict(X)]
    return b"".join(array.tobytes() for array in found).hex()


# Statistics outside of a fit


def fitted(norm="batch", dtype="float64", **options):
    X, y = data(dtype=dtype)
    net = network(norm, dtype=dtype, residual=True)
    net.fit(X, y, batch_size=8, epochs=2, seed=0, **options)
    return net, X, y


def assert_same(net, other):
    assert_array_equal(net.theta, other.theta)
    assert list(net.statistics) == list(other.statistics)
    for name, view in net.statistics.items():
        assert_array_equal(view, other.statistics[name])


@both_precisions
@pytest.mark.parametrize("norm", ["layer", "batch", ["batch", None, "layer"]], ids=str)
def test_copies_pickles_and_files_have_all_that_was_learned(norm, dtype, tmp_path):
    net, X, _ = fitted(norm, dtype)
    net.save(tmp_path / "net.safetensors")
    copies = [
        net.copy(),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        MLP.load(tmp_path / "net.safetensors"),
    ]
    outputs = net.predict(X)
    for other in copies:
        assert_same(net, other)
        assert other.architecture() == net.architecture()
        assert_array_equal(other.predict(X), outputs)
        for view in (other.theta, *other.statistics.values()):
            view += 1
    assert_array_equal(net.predict(X), outputs)


def test_a_file_has_tensors_of_the_names_of_parameters_and_statistics(tmp_path):
    from safetensors.numpy import load_file

    net, *_ = fitted(["batch", None, "layer"])
    net.save(tmp_path / "net.safetensors")
    tensors = load_file(tmp_path / "net.safetensors")
    layers = {f"{what}.{layer}" for what in ("weights", "biases") for layer in range(4)}
    norms = {f"norm_{what}.{layer}" for what in ("scale", "shift") for layer in (0, 2)}
    assert set(tensors) == layers | norms | {"norm_mean.0", "norm_variance.0"}
    assert_array_equal(tensors["norm_mean.0"], net.statistics["norm_mean[0]"])


def test_a_file_without_its_statistics_is_refused(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "net.safetensors"
    net, *_ = fitted()
    net.save(path)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    save_file({**tensors, "norm_mean.1": tensors["norm_mean.1"][:-1]}, path, metadata)
    with pytest.raises(ValueError, match="its layers need"):
        MLP.load(path)
    save_file({**tensors, "norm_mean.1": tensors["norm_mean.1"] * np.nan}, path, metadata)
    with pytest.raises(ValueError, match=r"statistics must .*finite"):
        MLP.load(path)
    del tensors["norm_mean.1"]
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="its layers need"):
        MLP.load(path)


def test_a_network_drawn_anew_has_new_statistics():
    net, *_ = fitted()
    options = {"activation": "tanh", "dtype": "float64", "norm": "batch", "residual": True}
    assert_same(net.redrawn(3), MLP(SIZES, seed=3, **options))


def test_evaluations_leave_statistics_alone():
    net, X, y = fitted()
    before = net.copy()
    net.loss(X, y)
    net.loss_and_grad(X, y)
    net.predict(X)
    check_gradient(net, X, y, max_params=1)
    assert_same(net, before)


@both_precisions
def test_the_loss_is_that_of_predictions_and_of_the_statistics_as_they_are(dtype):
    net, X, y = fitted(dtype=dtype)
    for _ in range(2):
        errors = net.predict(X).astype(np.float64) - y
        bound = 1e-5 if dtype == "float32" else 1e-12
        assert net.loss(X, y) == pytest.approx(0.5 * (errors**2).sum(axis=1).mean(), rel=bound)
        net.statistics["norm_mean[1]"][:] += 0.5


@both_precisions
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_fit_taken_up_again_ends_with_the_same_bits(norm, dtype, tmp_path):
    X, y = data(dtype=dtype)
    options = {"optimizer": SGD(0.05, momentum=0.9), "batch_size": 8, "seed": 0}
    whole, parts = network(norm, dtype=dtype), network(norm, dtype=dtype)
    expected = whole.fit(X, y, epochs=6, **options)
    path = tmp_path / "fit.checkpoint"
    parts.fit(X, y, epochs=3, checkpoint=path, **options)
    resumed = network(norm, dtype=dtype, seed=9)
    result = resumed.fit(X, y, epochs=6, checkpoint=path, **options)
    assert_same(resumed, whole)
    assert result.loss == expected.loss
    assert_array_equal(result.trace["objective"], expected.trace["objective"])


def test_an_interrupted_fit_ends_with_the_statistics_of_the_last_epoch():
    X, y = data()
    options = {"optimizer": SGD(0.05), "batch_size": 8, "seed": 0}
    expected, net = network("batch"), network("batch")
    expected.fit(X, y, epochs=2, **options)

    def interrupt(progress):
        if progress.record.epoch == 2:
            raise KeyboardInterrupt

    result = net.fit(X, y, epochs=5, callbacks=[interrupt], **options)
    assert result.status == Status.INTERRUPTED
    assert_same(net, expected)
    assert result.loss == net.loss(X, y)


def test_a_fit_that_diverges_ends_with_the_statistics_of_its_best_epoch(overflow):
    X, y = data()
    options = {"batch_size": 8, "seed": 0, "shuffle": False}
    start, net = network("batch"), network("batch")
    result = net.fit(X, y, optimizer=SGD(1e200), epochs=5, **options)
    assert result.status == Status.NOT_FINITE
    assert_same(net, start)
    assert result.loss == net.loss(X, y)


def test_the_first_mini_batches_move_statistics_as_the_formula_says():
    X, y = data(12)
    net = MLP([5, 4, 3], norm="batch", dtype="float64", seed=0)
    W, b = net.weights[0].copy(), net.biases[0].copy()
    mean, variance = np.zeros(4), np.ones(4)
    # A rate so small that the weights stay where they are.
    net.fit(X, y, optimizer=SGD(1e-300), batch_size=6, epochs=2, shuffle=False)
    for rows in (X[:6], X[6:]) * 2:
        z = rows @ W + b
        mean, variance = 0.9 * mean + 0.1 * z.mean(axis=0), 0.9 * variance + 0.1 * z.var(0, ddof=1)
    assert_allclose(net.statistics["norm_mean[0]"], mean, rtol=1e-12)
    assert_allclose(net.statistics["norm_variance[0]"], variance, rtol=1e-12)


# What calls fit


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_networks_side_by_side_end_as_each_alone(norm):
    X, y = data(40)
    rows = [np.arange(0, 30), np.arange(40) % 2 == 0]
    nets, alone = ([network(norm, seed=seed) for seed in (1, 2)] for _ in range(2))
    fit_many(nets, X, y, rows=rows, seeds=[5, 6], batch_size=7, epochs=2)
    for i, net in enumerate(alone):
        net.fit(X[rows[i]], y[rows[i]], seed=5 + i, n_threads=1, batch_size=7, epochs=2)
        assert_same(net, nets[i])


def test_the_best_of_several_starts_has_its_own_statistics():
    X, y = data()
    net = network("batch")
    result = net.fit(X, y, restarts=3, batch_size=8, epochs=2, seed=0)
    assert result.loss == net.loss(X, y)


def test_every_run_of_a_comparison_starts_with_the_same_statistics():
    X, y = data()
    start = network("batch")
    options = {"passes": 2, "batch_size": 8, "validation_data": (X, y)}
    comparison = compare(start, X, y, {"a": SGD(0.05), "b": SGD(0.05)}, **options)
    first, second = (comparison.runs[name][0] for name in ("a", "b"))
    assert_same(first.network, second.network)
    assert_same(start, network("batch"))


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("is_drawn", [True, False])
def test_scaling_is_folded_into_the_layers_around_a_norm(norm, is_drawn):
    X, y = data(60)
    X, y = X * np.array([1e3, 1.0, 1e-3, 5.0, 1.0]) + 7, 100 * y + 3
    options = {"batch_size": 20, "epochs": 3, "seed": 0, "shuffle": False}
    net = MLP(SIZES, norm=norm, dtype="float64", seed=0)
    if not is_drawn:
        net = network(norm)
    inner, before = net.copy(), net.predict(X)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean(axis=0)) / y.std(axis=0)
    if is_drawn:
        net.fit(X, y, standardize=True, **options)
        inner.fit(*scaled, **options)
        expected = inner.predict(scaled[0]) * y.std(axis=0) + y.mean(axis=0)
        assert_allclose(net.predict(X), expected, rtol=1e-9, atol=1e-9)
        for name, view in net.statistics.items():
            assert_allclose(view, inner.statistics[name], rtol=1e-9, atol=1e-12)
    else:
        net.fit(X, y, standardize=True, optimizer=SGD(1e-300), **options)
        if norm == "layer":
            assert_allclose(net.predict(X), before, rtol=1e-9, atol=1e-9)
        else:
            assert np.isfinite(net.predict(X)).all()


# Bad input


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"norm": "group"}, r"norm must be one of batch, layer, got 'group'"),
        ({"norm": ["layer"]}, r"norm must have one norm for each of the 3 hidden layers, got 1"),
        ({"norm": 3}, "norm must be one of batch, layer, got 3"),
        ({"residual": [True, False, False]}, r"residual\[0\] must be False for a hidden layer"),
        ({"residual": "yes"}, "residual"),
    ],
)
def test_bad_pieces_are_refused(options, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        MLP(SIZES, **options)


@pytest.mark.parametrize(("n", "batch_size"), [(9, 1), (9, 4), (1, None), (129, "auto")])
def test_a_mini_batch_of_one_row_is_refused_before_anything_is_changed(n, batch_size):
    X, y = data(n)
    net = network("batch")
    for call in (
        lambda: net.fit(X, y, batch_size=batch_size, epochs=1),
        lambda: fit_many([net], X, y, batch_size=batch_size, epochs=1),
    ):
        with pytest.raises(ValueError, match="batch_size must leave no mini-batch of one row"):
            call()
    assert_same(net, network("batch"))
    network("layer").fit(X, y, batch_size=batch_size, epochs=1)


def test_mini_batches_go_by_the_rows_that_a_network_of_many_trains_on():
    X, y = data(9)
    fit_many([network("batch")], X, y, rows=[np.arange(8)], batch_size=4, epochs=1)
    nets = [network("batch"), network("batch")]
    with pytest.raises(ValueError, match=r"nets\[1\]: batch_size must leave no mini-batch of one"):
        fit_many(nets, X, y, rows=[np.arange(8), np.arange(5)], batch_size=4, epochs=1)
    assert_same(nets[0], network("batch"))


def test_a_comparison_refuses_a_mini_batch_of_one_row():
    X, y = data(9)
    with pytest.raises(ValueError, match="batch_size must leave no mini-batch of one row"):
        compare(network("batch"), X, y, {"a": SGD(0.05)}, passes=1, batch_size=4)


@pytest.mark.parametrize("optimizer", [LBFGS(), SPSA(), [Adam(epochs=1), LBFGS()]], ids=str)
def test_solvers_refuse_batch_norm_and_say_what_takes_it(optimizer):
    X, y = data()
    net = network("batch")
    sentence = r"optimizer must be one of SGD, .*NAdam for a network with norm='batch'.*got "
    with pytest.raises(ValueError, match=sentence):
        net.fit(X, y, optimizer=optimizer)
    with pytest.raises(ValueError, match=sentence):
        compare(net, X, y, {"a": optimizer})
    assert_same(net, network("batch"))


def test_solvers_take_layer_norm_and_residual_connections():
    X, y = data()
    net = network("layer", residual=True)
    before = net.loss(X, y)
    result = net.fit(X, y, optimizer=LBFGS(), epochs=20)
    assert result.loss < 0.5 * before


def test_scaling_is_refused_where_a_layer_adds_the_inputs_themselves():
    X, y = data(n_in=7)
    net = network("layer", (7, 7, 3), residual=True)
    before = net.copy()
    with pytest.raises(ValueError, match="standardize must be False for a network whose first"):
        net.fit(X, y, standardize=True)
    assert_same(net, before)
    network("layer", (7, 6, 6, 3), residual=True).fit(X, y, standardize=True, epochs=1)


def test_objectives_take_networks_with_norms():
    X, y = data()
    net = network("batch")
    assert Objective(net, X, y).value() == net.loss(X, y)
