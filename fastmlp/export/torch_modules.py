"""Modules of PyTorch for what PyTorch has no module of.

Values are (n, width), or (members, n, width) of members.
"""

import torch
from torch import nn

TURN = 2 * torch.pi


class Network(nn.Module):
    """Operations on values, of which a network with residual layers or the like is made.

    Parameters
    ----------
    operations : list of nn.Module
    wiring : list of (tuple of int, int)
        The values that each operation takes, and the one that it gives; 0 is X.
    output : int
        The value that the outputs are.
    has_members : bool
        Whether outputs are those of members, (members, n, n_out).
    """

    def __init__(self, operations, wiring, output, has_members):
        super().__init__()
        self.operations = nn.ModuleList(operations)
        self._wiring, self._output, self._has_members = wiring, output, has_members

    def forward(self, X, members=False):
        """Outputs (n, n_out), the mean of the members', or (n, members, n_out) of each."""
        values = {0: X}
        for operation, (inputs, output) in zip(self.operations, self._wiring, strict=True):
            values[output] = operation(*(values[one] for one in inputs))
        outputs = values[self._output]
        if not self._has_members:
            return outputs
        return outputs.transpose(0, 1) if members else outputs.mean(dim=0)


class Columns(nn.Module):
    """Some columns of X as they are."""

    def __init__(self, columns):
        super().__init__()
        self.columns = list(columns)

    def forward(self, X):
        return X[:, self.columns]

    def extra_repr(self):
        return f"{self.columns}"


def codes_of(X, columns):
    """Codes of categories in some columns, and whether they are there: 0 where they are not."""
    codes = X[:, columns]
    is_there = codes >= 0
    return torch.where(is_there, codes, torch.zeros_like(codes)).long(), is_there


class Embedding(nn.Embedding):
    """The embedding of the codes in a column; zeros where they are missing: negative or NaN."""

    column = 0

    def forward(self, X):
        codes, is_there = codes_of(X, self.column)
        return super().forward(codes) * is_there[:, None]


class Periodic(nn.Module):
    """Numbers as cosines of trained frequencies, and themselves: see `fastmlp.Numeric`."""

    def __init__(self, columns, frequencies, phases, weights, biases):
        super().__init__()
        self.columns = list(columns)
        self.frequencies, self.phases = frequencies, phases
        self.weights, self.biases = weights, biases

    def forward(self, X):
        x = X[:, self.columns, None]
        cosines = torch.cos(TURN * self.frequencies * x + self.phases)
        sums = torch.einsum("ncf,cfj->ncj", cosines, self.weights) + self.biases
        return torch.cat([sums, x], dim=2).flatten(1)


class Piecewise(nn.Module):
    """A number as a piecewise-linear function of it: see `fastmlp.Numeric`."""

    edges: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor

    def __init__(self, column, edges, weights, biases, bins):
        super().__init__()
        self.column = column
        self.weights, self.biases, self.bins = weights, biases, bins
        lowest, highest = torch.zeros_like(edges[1:]), torch.ones_like(edges[1:])
        lowest[0], highest[-1] = -torch.inf, torch.inf
        self.register_buffer("edges", edges)
        self.register_buffer("lowest", lowest)
        self.register_buffer("highest", highest)

    def forward(self, X):
        x = X[:, self.column, None]
        filled = (x - self.edges[:-1]) / self.edges.diff()
        filled = torch.clamp(filled, self.lowest, self.highest)
        return x * self.weights + self.biases + filled @ self.bins


class Concatenate(nn.Module):
    """Several values side by side."""

    def forward(self, *values):
        return torch.cat(values, dim=1)


class BiasRows(nn.Module):
    """A bias, or zeros, which go with any number of rows."""

    def __init__(self, bias):
        super().__init__()
        self.bias = bias

    def forward(self):
        return self.bias


class OneHot(nn.Module):
    """Adds rows of a table that codes in columns of X lead to, each times its factors."""

    def __init__(self, columns, firsts, probability, table, scale, members):
        super().__init__()
        self.columns, self.firsts = list(columns), list(firsts)
        self.table, self.scale, self.members = table, scale, members
        self.dropout = nn.Dropout(probability)

    def forward(self, products, X):
        codes, is_there = codes_of(X, self.columns)
        found = codes + torch.tensor(self.firsts, device=codes.device)
        factors = self.dropout(is_there.to(self.table.dtype))  # (n, columns)
        if self.scale is not None:
            factors = factors * self.scale[found]
        if self.members is not None:
            factors = factors * self.members[:, found]
        return products + torch.einsum("...nc,nco->...no", factors, self.table[found])


class Scale(nn.Module):
    """Times a factor for each column, or for each member and column."""

    def __init__(self, factors):
        super().__init__()
        self.factors = factors

    def forward(self, values):
        return values * (self.factors if self.factors.ndim == 1 else self.factors[:, None])


class Shift(nn.Module):
    """Plus a bias for each member and column."""

    def __init__(self, biases):
        super().__init__()
        self.biases = biases

    def forward(self, values):
        return values + self.biases[:, None]


class MemberLinear(nn.Module):
    """A layer for each member."""

    def __init__(self, weights, bias):
        super().__init__()
        self.weights, self.bias = weights, bias

    def forward(self, values):
        return values @ self.weights + self.bias[:, None]


class Exponential(nn.Module):
    """The activation e^x."""

    def forward(self, values):
        return torch.exp(values)


class MemberPReLU(nn.Module):
    """`nn.PReLU` whose units are the last columns."""

    def __init__(self, alpha):
        super().__init__()
        self.alpha = alpha

    def forward(self, values):
        return torch.where(values > 0, values, self.alpha * values)


class Parametric(nn.Module):
    """x + alpha (f(x) - x), with a trained alpha for each unit and an activation f."""

    def __init__(self, function, alpha):
        super().__init__()
        self.function, self.alpha = function, alpha

    def forward(self, values):
        return values + self.alpha * (self.function(values) - values)


class MemberBatchNorm(nn.BatchNorm1d):
    """Batch norm over the rows of all members."""

    def forward(self, values):
        return super().forward(values.flatten(0, 1)).reshape(values.shape)


class Add(nn.Module):
    """The sum of two values."""

    def forward(self, first, second):
        return first + second


class Recurrent(nn.Module):
    """A layer of Elman's network over rows (n, steps, n_in), with one bias."""

    def __init__(self, function, weights, recurrent, bias):
        super().__init__()
        self.function = function
        self.weights, self.recurrent, self.bias = weights, recurrent, bias

    def forward(self, X):
        products = X @ self.weights + self.bias
        state = products.new_zeros(len(X), self.bias.numel())
        states = []
        for step in products.unbind(1):
            state = self.function(step + state @ self.recurrent)
            states.append(state)
        return torch.stack(states, dim=1)


class LastStep(nn.Module):
    """The last step of sequences."""

    def forward(self, X):
        return X[:, -1]
