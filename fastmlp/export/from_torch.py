"""Networks of PyTorch's modules, where each has a counterpart."""

import numpy as np
import torch
from torch import nn

from fastmlp.export import torch_modules as own
from fastmlp.kernels.stages.batch_norm import MOMENTUM
from fastmlp.kernels.stages.layer_norm import EPSILON

# Activations without parameters.
ACTIVATIONS = {
    nn.Identity: "identity",
    nn.ReLU: "relu",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.ELU: "elu",
    nn.SELU: "selu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Softplus: "softplus",
    own.Exponential: "exponential",
    nn.Softmax: "softmax",
}

# Settings of modules that a counterpart has no other value of.
_SETTINGS: dict[type, dict[str, tuple]] = {
    nn.ELU: {"alpha": (1.0,)},
    nn.GELU: {"approximate": ("none",)},
    nn.Softplus: {"beta": (1.0,)},
    nn.Softmax: {"dim": (1, -1)},
    nn.LayerNorm: {"eps": (EPSILON,)},
    nn.BatchNorm1d: {"eps": (EPSILON,), "momentum": (MOMENTUM,), "track_running_stats": (True,)},
}

_ORDER = "Linear, norm, activation, Dropout"


class _Layer:
    """One `nn.Linear`, and what comes after it."""

    def __init__(self, linear):
        self.linear = linear
        self.norm = self.activation = self.alpha = None
        self.dropout = 0.0


def network_from(kind, module):
    """See `fastmlp.MLP.from_torch`; `kind` is the class of the network."""
    if not isinstance(module, nn.Sequential):
        raise TypeError(
            "module must be an nn.Sequential, whose order of modules is known, got "
            f"{type(module).__name__}"
        )
    input_dropout, scale = 0.0, None
    layers: list[_Layer] = []
    for name, one in _leaves(module, ""):
        _check_settings(name, one)
        if isinstance(one, nn.Linear):
            _check_follows(name, one, layers)
            layers.append(_Layer(one))
        elif layers:
            _take(name, one, layers[-1])
        elif type(one) is nn.Dropout and not input_dropout:
            input_dropout = one.p
        elif type(one) is own.Scale and not input_dropout and scale is None:
            scale = one.factors
        elif type(one) not in (nn.Identity, nn.Flatten):
            raise _no_counterpart(name, one, "it stands before the first Linear")
    if not layers:
        raise ValueError("module must have at least one nn.Linear, got none")
    for what in ("norm", "dropout"):
        if getattr(layers[-1], what):
            raise ValueError(f"module must have no {what} after its last Linear, got one")
    return _built(kind, layers, input_dropout, scale)


def _leaves(module, prefix):
    """Modules in their order with their names, those within further Sequentials among them."""
    for name, one in module.named_children():
        if isinstance(one, nn.Sequential):
            yield from _leaves(one, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", one


def _no_counterpart(name, module, why):
    return ValueError(f"module {name}, {module}, has no counterpart in a fastmlp.MLP: {why}")


def _check_settings(name, module):
    for setting, allowed in _SETTINGS.get(type(module), {}).items():
        value = getattr(module, setting)
        if value not in allowed:
            raise _no_counterpart(
                name, module, f"its {setting} must be {allowed[0]!r}, got {value!r}"
            )


def _check_follows(name, linear, layers):
    if layers and layers[-1].linear.out_features != linear.in_features:
        raise ValueError(
            f"module {name}, {linear}, must take the {layers[-1].linear.out_features} outputs of "
            "the Linear before it"
        )


def _take(name, module, layer):
    """Let a layer have the module that comes after it."""
    kind, n_out = type(module), layer.linear.out_features
    if kind is nn.Identity:
        return
    if kind is nn.Dropout:
        if layer.dropout:
            raise _no_counterpart(name, module, "a layer has one dropout")
        layer.dropout = module.p
        return
    if layer.dropout:
        raise _no_counterpart(name, module, f"the order within a layer is {_ORDER}")
    if kind in (nn.LayerNorm, nn.BatchNorm1d):
        if layer.norm or layer.activation:
            raise _no_counterpart(name, module, f"the order within a layer is {_ORDER}")
        size = module.normalized_shape if kind is nn.LayerNorm else (module.num_features,)
        if tuple(size) != (n_out,):
            raise _no_counterpart(name, module, f"it must be over the {n_out} units of the layer")
        layer.norm = module
        return
    if layer.activation:
        raise _no_counterpart(name, module, "a layer has one activation")
    if kind is nn.LeakyReLU:
        layer.activation = f"leaky_relu({module.negative_slope!r})"
    elif kind is nn.PReLU and module.num_parameters in (1, n_out):
        layer.activation, layer.alpha = "prelu", module.weight
    elif kind is own.Parametric:
        layer.activation = f"parametric({ACTIVATIONS[type(module.function)]})"
        layer.alpha = module.alpha
    elif kind in ACTIVATIONS:
        layer.activation = ACTIVATIONS[kind]
    else:
        raise _no_counterpart(name, module, "it is no Linear, activation, Dropout or norm")


def _built(kind, layers, input_dropout, scale):
    """The network, with the parameters of the modules."""
    linears = [layer.linear for layer in layers]
    dtypes = {one.weight.dtype for one in linears}
    names = {torch.float32: "float32", torch.float64: "float64"}
    if len(dtypes) > 1 or not dtypes <= names.keys():
        shown = ", ".join(sorted(map(str, dtypes)))
        raise ValueError(f"module must be of torch.float32 or torch.float64, got {shown}")
    first: dict[int, int] = {}  # layers, counted from 1, by their weights
    for i, one in enumerate(linears, 1):
        first.setdefault(id(one.weight), i)
    hidden = layers[:-1]
    norms = {nn.LayerNorm: "layer", nn.BatchNorm1d: "batch", type(None): None}
    net = kind(
        [linears[0].in_features, *(one.out_features for one in linears)],
        activation=[layer.activation or "identity" for layer in hidden],
        output=layers[-1].activation or "identity",
        dtype=names[dtypes.pop()],
        norm=[norms[type(layer.norm)] for layer in hidden],
        dropout=[layer.dropout for layer in hidden],
        input_dropout=input_dropout,
        input_scale=scale is not None,
        tied=[
            (i, first[id(one.weight)])
            for i, one in enumerate(linears, 1)
            if first[id(one.weight)] != i
        ],
    )
    _fill(net, layers, scale)
    return net


def _fill(net, layers, scale):
    """Copy the parameters and the statistics of the modules."""
    views = dict(net.parameters) | net.statistics
    found = {} if scale is None else {"input_scale": scale}
    for i, layer in enumerate(layers):
        net.weights[i][:] = _array(layer.linear.weight).T
        net.biases[i][:] = 0.0 if layer.linear.bias is None else _array(layer.linear.bias)
        norm = layer.norm
        if norm is not None:
            found[f"norm_scale[{i}]"] = 1.0 if norm.weight is None else norm.weight
            found[f"norm_shift[{i}]"] = 0.0 if norm.bias is None else norm.bias
        if isinstance(norm, nn.BatchNorm1d):
            found[f"norm_mean[{i}]"] = norm.running_mean
            found[f"norm_variance[{i}]"] = norm.running_var
        if layer.alpha is not None:
            found[f"activation[{i}]"] = layer.alpha
    for name, values in found.items():
        views[name][:] = values if isinstance(values, float) else _array(values)
    if not all(np.isfinite(view).all() for view in views.values()):
        raise ValueError("module must have finite parameters, got some that are not")


def _array(tensor):
    return tensor.detach().cpu().numpy()
