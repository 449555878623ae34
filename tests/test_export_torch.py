"""Networks as modules of PyTorch, and networks of modules."""

import pickle
import re

import exported
import numpy as np
import pytest
from marks import compiled_only
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import MLP, RNN
from fastmlp.export import graph
from fastmlp.network import ACTIVATIONS

torch = pytest.importorskip("torch", reason="modules are PyTorch's")

from torch import nn  # noqa: E402

from fastmlp.export import to_torch  # noqa: E402

pytestmark = compiled_only

# Sums of some ten terms in another order, several layers deep; gradients are sums over 50 rows.
TOLERANCE = {
    "float32": {"rtol": 1e-4, "atol": 1e-5},
    "float64": {"rtol": 1e-10, "atol": 1e-12},
}
DTYPES = list(TOLERANCE)


def check(net, X=None):
    """Compare outputs with `predict`, and gradients of a squared error with `loss_and_grad`."""
    X = exported.rows(net) if X is None else X
    module = net.to_torch()
    near = TOLERANCE[str(net.dtype)]
    assert not module.training
    given = torch.from_numpy(X)
    assert_allclose(module(given).detach().numpy(), net.predict(X), **near)
    has_members = net._pieces.members > 1
    outputs = module(given, members=True) if has_members else module(given)
    if has_members:
        assert_allclose(outputs.detach().numpy(), net.predict(X, members=True), **near)
    assert outputs.dtype == getattr(torch, str(net.dtype))
    y = np.random.default_rng(3).normal(size=net.predict(X).shape).astype(net.dtype)
    target = torch.from_numpy(y[:, np.newaxis] if has_members else y)
    n_outputs = outputs.numel() / outputs.shape[-1]
    (((outputs - target) ** 2).sum() / (2 * n_outputs)).backward()
    _, gradient = net.loss_and_grad(X, y, loss="squared_error")
    # A network whose parameters are the gradient has a module whose parameters are it.
    like = net.copy()
    like.theta[:] = gradient
    for parameter, expected in zip(module.parameters(), like.to_torch().parameters(), strict=True):
        assert_allclose(parameter.grad.numpy(), expected.detach().numpy(), **near)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", exported.HIDDEN)
def test_every_hidden_activation(activation, dtype):
    check(exported.network(dtype, activation=activation))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ACTIVATIONS)
def test_every_output_activation(output, dtype):
    check(exported.network(dtype, output=output))


def test_every_operation_is_written():
    missing = set(graph.OPERATIONS) - set(to_torch.WRITERS)
    assert not missing, f"fastmlp/export/to_torch.py writes no operation {missing}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", exported.PIECES)
def test_every_piece(name, dtype):
    check(exported.network(dtype, **exported.PIECES[name]))


@pytest.mark.parametrize("members", [1, 2])
def test_categories_alone(members):
    check(exported.only_categories(members=members))


@pytest.mark.parametrize("members", [1, 3])
def test_a_network_without_hidden_layers(members):
    check(exported.shaken(MLP([4, 2], members=members, seed=0)))


@pytest.mark.parametrize("sequence", ["last", "all"])
@pytest.mark.parametrize("activation", ["tanh", "leaky_relu(0.1)", "gelu"])
def test_recurrent_networks(activation, sequence):
    check(exported.recurrent("float64", activation=activation, sequence=sequence))


def test_a_plain_network_is_a_sequential_of_pytorchs_own_layers():
    net = MLP([4, 8, 8, 3], output="softmax", norm="layer", dropout=0.1, seed=0)
    kinds = [type(one) for one in net.to_torch()]
    of_hidden = [nn.Linear, nn.LayerNorm, nn.ReLU, nn.Dropout]
    assert kinds == [*of_hidden, *of_hidden, nn.Linear, nn.Softmax]


def test_tied_layers_share_a_parameter():
    module = MLP([4, 8, 8, 8, 3], tied=[(3, 2)], seed=0).to_torch()
    linears = [one for one in module if isinstance(one, nn.Linear)]
    assert linears[2].weight is linears[1].weight
    assert linears[2].bias is not linears[1].bias


def test_a_module_has_copies_and_leaves_pytorchs_generator_alone():
    net = exported.network(**exported.PIECES["mixed"])
    theta, state = net.theta.copy(), torch.get_rng_state()
    module = net.to_torch()
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 1
    assert_array_equal(net.theta, theta)


def test_a_module_can_be_pickled():
    net = exported.network(**exported.PIECES["mixed"])
    module = pickle.loads(pickle.dumps(net.to_torch()))
    X = exported.rows(net)
    assert_allclose(
        module(torch.from_numpy(X)).detach().numpy(), net.predict(X), **TOLERANCE["float32"]
    )


def test_dropout_has_the_probability_that_its_schedule_begins_with():
    module = exported.network(**exported.PIECES["scheduled dropout"]).to_torch()
    assert {one.p for one in module if isinstance(one, nn.Dropout)} == {0.15}


def test_training_turns_dropout_of_one_hot_codes_on():
    """Of a kept code the factor is 1 / (1 - p), so that the mean over masks is what it was."""
    net = exported.network("float64", inputs=exported.ONE_HOT, input_dropout=0.25)
    X = exported.rows(net)[1:2]
    module = net.to_torch().train()
    first = module.operations[:4]
    torch.manual_seed(0)
    assert module.operations[1].p == 0.25
    one_hot = first[3]
    given = torch.from_numpy(X.repeat(40000, axis=0))
    with torch.no_grad():
        zeros = torch.zeros(len(given), 6, dtype=torch.float64)
        mean = one_hot(zeros, given).mean(dim=0)
        expected = one_hot.eval()(zeros[:1], given[:1])[0]
    # Standard deviation of a mean of 40,000: at most 0.005 times the weights, which are below 1.
    assert_allclose(mean, expected, atol=0.02)


# From modules


def random(module, seed=0):
    """A module of which no parameter or statistic is at its start."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point():
                tensor += 0.3 * torch.rand_like(tensor)
    return module.eval()


def check_from(module, n_in=5):
    dtype = next(module.parameters()).dtype
    X = torch.randn(30, n_in, dtype=dtype)
    net = MLP.from_torch(module)
    near = TOLERANCE[str(dtype).removeprefix("torch.")]
    assert_allclose(net.predict(X.numpy()), module(X).detach().numpy(), **near)
    return net


ACTIVATION_MODULES = [
    *(nn.ReLU(), nn.Sigmoid(), nn.Tanh(), nn.ELU(), nn.SELU(), nn.GELU(), nn.SiLU(), nn.Mish()),
    *(nn.Softplus(), nn.LeakyReLU(0.2), nn.PReLU(), nn.PReLU(8), nn.Identity()),
]


@pytest.mark.parametrize("activation", ACTIVATION_MODULES, ids=str)
def test_from_a_module_with_an_activation(activation):
    module = nn.Sequential(nn.Linear(5, 8), activation, nn.Linear(8, 2), nn.Softmax(dim=1))
    check_from(random(module))


def test_from_norms_dropouts_and_sequentials_within():
    module = nn.Sequential(
        nn.Dropout(0.1),
        nn.Sequential(nn.Linear(5, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2)),
        nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6), nn.Tanh()),
        nn.Linear(6, 4),
        nn.Linear(4, 1),
    ).double()
    net = check_from(random(module))
    assert net.layer_sizes == (5, 8, 6, 4, 1)
    assert net._pieces.norm == ("batch", "layer", None)
    assert net._pieces.dropout == (0.2, 0.0, 0.0)
    assert net._pieces.input_dropout == 0.1
    assert net.dtype == np.float64


@pytest.mark.parametrize(
    "given",
    [
        *({"activation": name} for name in exported.HIDDEN),
        {"norm": ["batch", "layer", None], "dropout": [0.25, 0.0, 0.5], "input_dropout": 0.125},
        {"tied": [(3, 2)], "input_scale": True},
        {"output": "exponential"},
    ],
    ids=str,
)
def test_there_and_back(given):
    net = exported.network(**given)
    again = MLP.from_torch(net.to_torch())
    assert_array_equal(again.theta, net.theta)
    assert again.architecture() == net.architecture()
    for name, values in net.statistics.items():
        assert_array_equal(again.statistics[name], values)


BAD = {
    "module 1, Conv1d": [nn.Linear(5, 8), nn.Conv1d(1, 1, 1), nn.Linear(8, 1)],
    "module 0, ReLU(), .* before the first Linear": [nn.ReLU(), nn.Linear(5, 1)],
    "module 2, LayerNorm.* the order": [nn.Linear(5, 8), nn.ReLU(), nn.LayerNorm(8), nn.ReLU()],
    "module 2, ReLU.* the order": [nn.Linear(5, 8), nn.Dropout(), nn.ReLU(), nn.Linear(8, 1)],
    "module 1, GELU.* its approximate must be 'none'": [nn.Linear(5, 8), nn.GELU("tanh")],
    "module 1, BatchNorm1d.* its momentum must be 0.1": [
        nn.Linear(5, 8),
        nn.BatchNorm1d(8, momentum=0.5),
    ],
    "module 2, Tanh.* a layer has one activation": [nn.Linear(5, 8), nn.ReLU(), nn.Tanh()],
    "module 1, Linear.* must take the 8 outputs": [nn.Linear(5, 8), nn.Linear(7, 1)],
    "no dropout after its last Linear": [nn.Linear(5, 8), nn.ReLU(), nn.Dropout()],
    "no norm after its last Linear": [nn.Linear(5, 8), nn.LayerNorm(8)],
    "at least one nn.Linear": [nn.Identity()],
    "float32 or torch.float64, got torch.float16": [nn.Linear(5, 8).half()],
}


@pytest.mark.parametrize("message", BAD)
def test_a_module_without_a_counterpart_is_named(message):
    with pytest.raises(ValueError, match=message.replace("()", r"\(\)")):
        MLP.from_torch(nn.Sequential(*BAD[message]))


def test_what_is_no_sequential_is_refused():
    with pytest.raises(TypeError, match=re.escape("must be an nn.Sequential")):
        MLP.from_torch(nn.Linear(2, 1))


def test_no_sequential_is_recurrent():
    with pytest.raises(TypeError, match=r"by MLP\.from_torch"):
        RNN.from_torch(nn.Sequential(nn.Linear(2, 1)))


def test_without_pytorch_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr("fastmlp.export.find_spec", lambda name: None)
    message = r"to_torch needs the package torch, .* pip install torch"
    with pytest.raises(ImportError, match=message):
        MLP([2, 1]).to_torch()
