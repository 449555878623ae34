"""PyTorch: networks with pieces, trained as in `time_torch`, by functions without modules."""

import math

import torch
from torch.nn import functional

from asv_bench.peers.time_torch import train

ACTIVATIONS = {
    "relu": functional.relu,
    "silu": functional.silu,
    "mish": functional.mish,
    "tanh": torch.tanh,
}


def measure(task, n_threads, compiled=False):
    """Seconds of a step."""
    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    network = task.workload
    X, y = network.data()
    data = [torch.from_numpy(array) for array in (*network.split(X), y)]
    params = parameters(network)
    # The compiler sees through a loop over rows of a sequence, but not into the module.
    module = recurrent(params[1]) if network.length and not compiled else None

    def loss_of(*batch):
        return loss(network, params, *batch, training=True, module=module)

    if compiled:
        loss_of = torch.compile(loss_of)
    trained = [array for part in params for array in part.values()]
    if module is not None:
        trained = [*params[2].values(), *(p for p in module.parameters() if p.requires_grad)]
    return train(network, trained, loss_of, data)


def parameters(network):
    """The parameters at the start, as `Network.start` has them."""
    return [
        {name: torch.from_numpy(array).requires_grad_() for name, array in part.items()}
        for part in network.start()
    ]


def recurrent(layer):
    """PyTorch's module with the parameters of a layer; its second bias stays 0."""
    n_in, n_hidden = layer["W"].shape
    module = torch.nn.RNN(n_in, n_hidden, batch_first=True)
    with torch.no_grad():
        module.weight_ih_l0.copy_(layer["W"].T)
        module.weight_hh_l0.copy_(layer["U"].T)
        module.bias_ih_l0.copy_(layer["b"])
        module.bias_hh_l0.zero_()
    module.bias_hh_l0.requires_grad_(False)
    return module


def loss(network, params, *batch, training=False, module=None):
    """The mean loss of the rows; dropout in training only; the recurrent layer by its module."""
    *columns, y = batch
    z = forward(network, params, columns, training, module)
    if network.output == "softmax":
        return functional.cross_entropy(z, y)
    return 0.5 * (z - y).square().sum(-1).mean()


def forward(network, params, columns, training, module):
    """Outputs before the output activation, (rows, n_out) or (members, rows, n_out)."""
    inputs, *hidden, top = params
    x = embedded(inputs, *columns) if network.categories else columns[0]
    for layer in hidden:
        if network.length:
            x = module(x)[1][0] if module is not None else last_state(network, layer, x)
            continue
        if network.members > 1:
            x = (x * layer["r"][:, None]) @ layer["W"]
            x = torch.addcmul(layer["b"][:, None], x, layer["s"][:, None])
        else:
            x = torch.addmm(layer["b"], x, layer["W"])
        if network.norm:
            x = functional.layer_norm(x, x.shape[-1:], layer["scale"], layer["shift"])
        f = ACTIVATIONS[network.function](x)
        x = torch.lerp(x, f, layer["alpha"]) if network.is_parametric else f
        if network.dropout:
            x = functional.dropout(x, network.dropout, training)
    if network.members > 1:
        return torch.baddbmm(top["b"][:, None], x, top["W"])
    return torch.addmm(top["b"], x, top["W"])


def embedded(inputs, numbers, codes):
    """Numbers as sums of cosines and themselves, then categories as rows of a table."""
    numbers = numbers.T[:, :, None]
    frequencies = 2 * math.pi * inputs["frequencies"][:, None]
    angles = torch.addcmul(inputs["phases"][:, None], numbers, frequencies)
    sums = torch.baddbmm(inputs["b"][:, None], torch.cos(angles), inputs["W"])
    periodic = torch.cat([sums, numbers], 2).transpose(0, 1)
    categories = functional.embedding(codes, inputs["table"])
    return torch.cat([periodic.flatten(1), categories.flatten(1)], 1)


def last_state(network, layer, x):
    """The state after the last row of each sequence; products with inputs are one for all rows."""
    activation = ACTIVATIONS[network.activation]
    first, *others = (x.transpose(0, 1) @ layer["W"] + layer["b"]).unbind()
    h = activation(first)
    for z in others:
        h = activation(torch.addmm(z, h, layer["U"]))
    return h
