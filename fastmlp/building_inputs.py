"""Builds the steps of a program that bring columns of X to where the first layer reads them."""

import math
from typing import NamedTuple

import numpy as np

from fastmlp.inputs import FREQUENCY_SCALE, N_FREQUENCIES, Categorical, in_order
from fastmlp.kernels.stages.dropout import LEVELS
from fastmlp.program import Value

# Tells the random numbers of one-hot inputs from those of other inputs, 0, and of layers, from 1.
ONE_HOT_KEY = (1 << 16) - 1


class OneHot(NamedTuple):
    """Categorical columns that enter the first layer as one input for each category."""

    X: Value
    columns: tuple[int, ...]
    counts: tuple[int, ...]  # categories of each
    scale: int = -1  # in theta: a factor for each category, or -1
    members: int = -1  # in theta: one for each member and category, or -1

    @property
    def n_rows(self):
        """Rows of W that they take."""
        return sum(self.counts)


def bring_in(program, pieces, X):
    """Bring columns of X to where the first layer reads them.

    Returns them, and the one-hot columns or None; their order is that of `inputs.in_order`.
    """
    if not pieces.inputs:
        return X, None
    entries, one_hot = in_order(pieces.inputs, X.n_columns)
    width = sum(entry.width for entry in entries)
    is_trained = not all(entry.is_as_it_is for entry in entries)
    needs_delta = is_trained or pieces.input_scale
    result = program.value(width, 1, with_delta=needs_delta)
    at = 0
    for entry in entries:
        if entry.is_as_it_is:
            numbers = (at, len(entry.columns), *entry.columns)
            program.add("columns", X, result, numbers=numbers)
        elif isinstance(entry, Categorical):
            _embedding(program, entry, X, result, at)
        elif entry.embedding == "periodic":
            _periodic(program, entry, X, result, at)
        else:
            _piecewise(program, entry, X, result, at)
        at += entry.width
    if not one_hot:
        return result, None
    columns, counts = zip(*((entry.column, entry.n_categories) for entry in one_hot), strict=True)
    return result, OneHot(X, columns, counts)


def _embedding(program, entry, X, result, at):
    """A table with a row of trained numbers for each category."""
    size, n = int(entry.size), entry.n_categories
    table = program.parameter(
        f"embedding[{entry.column}]", "embedding", n, size, rule=("normal", 1.0)
    )
    kinds = ("embedding", "embedding")
    program.block(table, size, n, 0, kinds, table=True)
    numbers = (at, entry.column, size, n)
    program.add("embedding", X, result, weights=table, numbers=numbers, n_kept=1 + size)


def _periodic(program, entry, X, result, at):
    """Cosines of trained frequencies, for some columns at once."""
    n, n_out, F = len(entry.columns), entry.size - 1, N_FREQUENCIES
    name, kinds = f"periodic[{entry.columns[0]}]", ("embedding", "embedding")
    quarter = ("uniform", 0.25)
    w = program.parameter(
        f"{name}.frequencies", "embedding", n, F, rule=("normal", FREQUENCY_SCALE)
    )
    program.parameter(f"{name}.phases", "embedding", n, F, rule=("uniform", np.pi))
    V = program.parameter(f"{name}.weights", "embedding", n, F, n_out, rule=quarter)
    c = program.parameter(f"{name}.biases", "embedding", n, n_out, rule=quarter)
    program.block(w, F, n, n, kinds)
    program.block(V, n_out, n * F, n, kinds)
    program.add(
        "periodic",
        X,
        result,
        weights=w,
        bias=c,
        numbers=(at, n, F, entry.size, *entry.columns),
        saved=program.slot(n * (1 + 2 * F)),
        input_delta=program.slot(n_out + 2),
    )
    program.flops += 2.0 * n * F * (n_out + 20)


def _piecewise(program, entry, X, result, at):
    """Piecewise-linear functions with trained values at the edges, one column at a time."""
    size, kinds = entry.size, ("embedding", "embedding")
    limit = ("uniform", 1.0 / math.sqrt(size))
    for i, (column, edges) in enumerate(zip(entry.columns, entry.edges, strict=True)):
        name, n_bins = f"piecewise[{column}]", len(edges) - 1
        w = program.parameter(f"{name}.weights", "embedding", size, rule=limit)
        program.block(w, size, 1, 1, kinds)
        program.parameter(f"{name}.biases", "embedding", size, rule=limit)
        V = program.parameter(f"{name}.bins", "embedding", n_bins, size)
        program.block(V, size, n_bins, 0, kinds)
        program.add(
            "piecewise",
            X,
            result,
            weights=w,
            numbers=(at + i * size, column, size, n_bins, *edges),
            n_scratch=n_bins * size,
        )


def add_one_hot(program, one_hot, result, table, dropout):
    """Add the rows of a `table` of weights that belong to one-hot columns to a layer's product."""
    firsts = np.cumsum((0, *one_hot.counts[:-1])).tolist()
    pairs = [number for pair in zip(one_hot.columns, firsts, strict=True) for number in pair]
    n_columns, k = len(one_hot.columns), result.factor
    program.flops += 2.0 * n_columns * k * result.n_columns
    program.add(
        "one_hot",
        one_hot.X._replace(factor=k),
        result,
        weights=table,
        bias=one_hot.scale,
        extra=one_hot.members,
        key=ONE_HOT_KEY,
        numbers=(one_hot.n_rows, n_columns, round(dropout * LEVELS), *pairs),
        n_kept=n_columns * (1 + k) + k * result.n_columns,
    )
