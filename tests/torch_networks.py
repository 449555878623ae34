"""Networks of `fastmlp.MLP` in torch, made of what they say of themselves, and torch's optimizers.

Everything is written out from the formulas that the arguments of `fastmlp.MLP` are described by,
in float64. Masks of dropout are those of `reference.dropout_mask`.
"""

import re
from contextlib import contextmanager

import numpy as np
import reference

EPSILON, MOMENTUM = 1e-5, 0.1  # of norms

ONE_HOT_KEY = 2**16 - 1  # of the masks of one-hot inputs; those of other inputs have 0

# Kinds of parameters that a weight decay leaves alone, by what their names say.
UNDECAYED = ("biases", "phases", "norm_")


class TorchNetwork:
    """A network in torch.

    Parameters
    ----------
    net : fastmlp.MLP
        Its parameters and statistics are copied.
    mask_seed : int, default 0
        Of dropout.

    Attributes
    ----------
    named : dict of str to tensor
        The parameters, in the order of theta.
    running : dict of str to tensor
        The statistics of batch norms.
    """

    def __init__(self, net, mask_seed=0):
        import torch

        self.torch = torch
        self.given = net.architecture()
        self.sizes = self.given["layer_sizes"]
        self.members = self.given.get("members", 1)
        self.mask_seed = mask_seed
        self.named = {
            name: torch.tensor(np.array(view, np.float64), requires_grad=True)
            for name, view in net.parameters
        }
        self.running = {
            name: torch.tensor(np.array(view, np.float64)) for name, view in net.statistics.items()
        }

    def theta(self):
        """All parameters as one vector."""
        return self._flat([tensor.detach() for tensor in self.named.values()])

    def gradient(self):
        """The gradient of all parameters as one vector; zeros where nothing depends on one."""
        zeros = self.torch.zeros_like
        tensors = self.named.values()
        return self._flat([zeros(one) if one.grad is None else one.grad for one in tensors])

    @staticmethod
    def _flat(tensors):
        return np.concatenate([tensor.numpy().ravel() for tensor in tensors])

    def _of_layer(self, name, layer, plain):
        values = self.given.get(name)
        if values is None:
            return plain
        return values[layer] if isinstance(values, list) else values

    # Inputs

    def _inputs(self, X):
        """What the first layer takes: numbers of each row, and its one-hot columns or None."""
        torch, X = self.torch, self.torch.tensor(np.asarray(X, np.float64))
        entries = self.given.get("inputs", [])
        named = set()
        for entry in entries:
            named |= set(entry["columns"] if "columns" in entry else [entry["column"]])
        found = [X[:, [c for c in range(X.shape[1]) if c not in named]]]
        hot = []
        for entry in entries:
            if "column" not in entry:
                found += [self._numeric(entry, X[:, c], i) for i, c in enumerate(entry["columns"])]
                continue
            codes = X[:, entry["column"]]
            n = entry["n_categories"]
            one_hot = (codes[:, None] == torch.arange(n)).to(torch.float64)
            if entry["size"] is None:
                hot.append(one_hot)
            else:
                found.append(one_hot @ self.named[f"embedding[{entry['column']}]"])
        return torch.cat(found, dim=1), torch.cat(hot, dim=1) if hot else None

    def _numeric(self, entry, x, i):
        torch = self.torch
        if entry["embedding"] is None:
            return x[:, None]
        if entry["embedding"] == "periodic":
            name = f"periodic[{entry['columns'][0]}]"
            w, b, V, c = (
                self.named[f"{name}.{what}"][i]
                for what in ("frequencies", "phases", "weights", "biases")
            )
            cosines = torch.cos(2 * torch.pi * w * x[:, None] + b)
            return torch.cat([cosines @ V + c, x[:, None]], dim=1)
        name = f"piecewise[{entry['columns'][i]}]"
        w, b, V = (self.named[f"{name}.{what}"] for what in ("weights", "biases", "bins"))
        encoded = torch.tensor(reference.encode(x.numpy(), entry["edges"][i]))
        return torch.outer(x, w) + b + encoded @ V

    # Layers

    def _mask(self, p, key, update, places, units, f=0):
        mask = reference.dropout_mask(self.mask_seed, update, key, places, units, p, f)
        return self.torch.tensor(mask)

    def _drop(self, a, p, key, update, places):
        """Dropout of (k, n, units), in training, which is where there is an update."""
        if not p or update is None:
            return a
        masks = [self._mask(p, key, update, places, a.shape[2], f) for f in range(a.shape[0])]
        return a * self.torch.stack(masks)

    def _norm(self, kind, layer, z, training):
        if kind is None:
            return z
        functional = self.torch.nn.functional
        gamma, beta = self.named[f"norm_scale[{layer}]"], self.named[f"norm_shift[{layer}]"]
        if kind == "layer":
            return functional.layer_norm(z, z.shape[-1:], gamma, beta, EPSILON)
        running = [self.running[f"norm_{what}[{layer}]"] for what in ("mean", "variance")]
        rows = functional.batch_norm(
            z.reshape(-1, z.shape[-1]), *running, gamma, beta, training, MOMENTUM, EPSILON
        )
        return rows.reshape(z.shape)

    def _activation(self, written, layer, z):
        torch = self.torch
        functional = torch.nn.functional
        if written == "identity":
            return z
        if written == "prelu":
            return torch.where(z > 0, z, self.named[f"activation[{layer}]"] * z)
        if written.startswith("parametric("):
            f = self._activation(written[len("parametric(") : -1], layer, z)
            return z + self.named[f"activation[{layer}]"] * (f - z)
        name, slope = re.fullmatch(r"(\w+)(?:\((.*)\))?", written).groups()
        if name == "leaky_relu":
            return functional.leaky_relu(z, float(slope))
        if name in ("tanh", "sigmoid"):
            return getattr(torch, name)(z)
        return getattr(functional, name)(z)

    def _weights(self, layer):
        tied = {later - 1: earlier - 1 for later, earlier in self.given.get("tied", [])}
        return self.named[f"weights[{tied.get(layer, layer)}]"]

    def __call__(self, X, update=None, places=None):
        """What comes before the output activation, (members, n, n_out).

        With the number of an `update` and the `places` of the rows in their epoch: in training.
        """
        torch, k = self.torch, self.members
        x, hot = self._inputs(X)
        if "input_scale" in self.given:
            if x.shape[1]:
                x = x * self.named["input_scale"]
            if hot is not None:
                hot = hot * self.named["input_scale.one_hot"].reshape(-1)
        p = self.given.get("input_dropout", 0.0)
        x = self._drop(x[None], p, 0, update, places)
        if hot is not None:
            hot = self._drop(hot[None], p, ONE_HOT_KEY, update, places)
        if k > 1 and x.shape[2]:
            x = x * self.named["member_inputs[0]"][:, None]
        elif k > 1:
            x = x.repeat(k, 1, 1)
        if hot is not None and k > 1:
            hot = hot * self.named["member_inputs[0].one_hot"][:, None]
        top = len(self.sizes) - 2
        for layer in range(top):
            given = x
            if k > 1 and layer > 0:
                x = x * self.named[f"member_inputs[{layer}]"][:, None]
            if layer == 0 and hot is not None:
                x = torch.cat([x, hot], dim=2)
            z, b = x @ self._weights(layer), self.named[f"biases[{layer}]"]
            if k > 1:
                z, b = z * self.named[f"member_outputs[{layer}]"][:, None], b[:, None]
            z = z + b
            z = self._norm(self._of_layer("norm", layer, None), layer, z, update is not None)
            x = self._activation(self.given["activation"][layer], layer, z)
            x = self._drop(x, self._of_layer("dropout", layer, 0.0), layer + 1, update, places)
            if self._of_layer("residual", layer, False):
                x = x + given
        if k == 1:
            if top == 0 and hot is not None:
                x = torch.cat([x, hot], dim=2)
            return x @ self._weights(top) + self.named[f"biases[{top}]"]
        outputs = [
            x[m] @ self.named[f"weights[{top}][{m}]"] + self.named[f"biases[{top}][{m}]"]
            for m in range(k)
        ]
        return torch.stack(outputs)

    def loss(self, X, y, *, loss, weights=None, l2=0.0, update=None, places=None):
        """The mean of the members' losses, with relative weights, and the penalty."""
        torch = self.torch
        outputs = self(X, update, places)
        name, smoothing = re.fullmatch(r"(\w+)(?:\((.*)\))?", loss).groups()
        if name == "cross_entropy":
            labels = torch.tensor(np.asarray(y))
            losses = torch.stack(
                [
                    torch.nn.functional.cross_entropy(
                        z, labels, reduction="none", label_smoothing=float(smoothing or 0.0)
                    )
                    for z in outputs
                ]
            )
        else:
            assert name == "squared_error", name
            losses = 0.5 * ((outputs - torch.tensor(np.asarray(y, np.float64))) ** 2).sum(dim=2)
        losses = losses.mean(dim=0)
        if weights is not None:
            losses = losses * torch.tensor(np.asarray(weights) / np.mean(weights))
        penalized = [one for key, one in self.named.items() if key.startswith("weights")]
        return losses.mean() + l2 / 2 * sum((W**2).sum() for W in penalized)

    def optimizer(self, name, learning_rate, decay=0.0, **keywords):
        """One of torch's, that has only those parameters decay which ours has."""
        kept = [one for key, one in self.named.items() if any(part in key for part in UNDECAYED)]
        decayed = [one for one in self.named.values() if not any(one is other for other in kept)]
        groups = [
            {"params": decayed, "weight_decay": decay},
            {"params": kept, "weight_decay": 0.0},
        ]
        return getattr(self.torch.optim, name)(groups, lr=learning_rate, **keywords)

    def fit(self, optimizer, X, y, *, batch_size, epochs, **options):
        """Train on rows in order; masks go by the update and the places in the epoch."""
        update = 0
        for _ in range(epochs):
            for first in range(0, len(X), batch_size):
                rows = slice(first, min(len(X), first + batch_size))
                places = range(rows.start, rows.stop)
                optimizer.zero_grad(set_to_none=False)
                loss = self.loss(X[rows], y[rows], update=update, places=places, **options)
                loss.backward()
                # A parameter that nothing depends on has a gradient of zeros, as ours has.
                for one in self.named.values():
                    if one.grad is None:
                        one.grad = self.torch.zeros_like(one)
                optimizer.step()
                update += 1


@contextmanager
def double_precision():
    """NAdam keeps a product in torch's default dtype."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def relative_error(found, expected):
    """Of a vector."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def mask_seed(seed):
    """What a fit with this seed draws first of all if its network has dropout."""
    return int(np.random.default_rng(seed).integers(2**63))
