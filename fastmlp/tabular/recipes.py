"""What networks for tables are made of and how they are trained, by the name of an architecture.

"realmlp" is RealMLP-TD and "plain" RealMLP-TD-S of Holzmüller, Grinsztajn & Steinwart, "Better by
default", NeurIPS 2024, arXiv:2407.04491; "tabm" is TabM of Gorishniy et al., ICLR 2025,
arXiv:2410.24210, smaller, as its time grows with members times the square of the width.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastmlp.mlp import MLP
from fastmlp.optimizers import AdamW
from fastmlp.schedules import CosineLog, FlatCosine

# Rows up to which a mini-batch has so many, of several networks: tables of these sizes get by with
# few updates an epoch, as they have many epochs. Those of RealMLP and TabM.
_BATCHES = ((1024, 64), (8192, 128), (30_000, 256), (100_000, 512))
_LARGEST_BATCH = 1024

# Epochs of a table with this many rows. Larger ones have fewer, as each epoch is more updates;
# smaller ones have nearly as many more as they have fewer rows.
_EPOCHS, _ROWS = 64, 4000
_POWER_OF_LARGE, _POWER_OF_SMALL = 0.35, 0.75
_FEWEST_EPOCHS, _MOST_EPOCHS = 6, 256

# Learning-rate factors of RealMLP by kind of parameter, besides that of the weights.
_FACTORS = {"bias": 0.1, "scale": 6.0, "activation": 0.1, "embedding": 0.1}


@dataclass(frozen=True)
class Recipe:
    """How a network for a table is made and trained.

    Attributes
    ----------
    hidden_layer_sizes : tuple of int
    activation : str
        Of hidden layers, as of `fastmlp.MLP`.
    embedding : None, "periodic" or "piecewise_linear"
        Of columns of numbers.
    input_scale : bool
    init : str
    members : int
    dropout, weight_decay : float
        Constant, or the start of a `FlatCosine` if `scheduled`.
    learning_rate : float
        Constant, or the maximum of a `CosineLog` if `scheduled`.
    scheduled : bool
    beta_2 : float
        Of `AdamW`.
    by_width : bool
        Whether weights learn at 1/sqrt(inputs of their layer) of the rate, as with RealMLP's
        parametrization, and other kinds of parameters at their own shares of it. Hidden layers
        count as wide as the first.
    smoothing : float
        Of labels; classes only.
    clip_norm : float or None
    patience : int or None
        Epochs without gain after which a network ends.
    """

    hidden_layer_sizes: tuple[int, ...] = (128, 128, 128)
    activation: str = "parametric(selu)"
    embedding: str | None = "piecewise_linear"
    input_scale: bool = True
    init: str = "data"
    members: int = 1
    dropout: float = 0.15
    learning_rate: float = 0.04
    weight_decay: float = 0.02
    scheduled: bool = True
    beta_2: float = 0.95
    by_width: bool = True
    smoothing: float = 0.1
    clip_norm: float | None = None
    patience: int | None = None

    def network(self, n_columns, inputs, n_outputs, output, seed) -> MLP:
        """A network of this recipe, with starting weights that the seed draws.

        Parameters
        ----------
        n_columns : int
        inputs : list of Numeric and Categorical
            See `Encoding.inputs`.
        n_outputs : int
        output : str
            "softmax" or "identity".
        seed : int
        """
        return MLP(
            [n_columns, *self.hidden_layer_sizes, n_outputs],
            activation=self.activation,
            output=output,
            init=self.init,
            seed=seed,
            dropout=FlatCosine(self.dropout) if self.scheduled and self.dropout else self.dropout,
            input_scale=self.input_scale,
            inputs=inputs,
            members=self.members,
        )

    def options(self, network) -> dict[str, Any]:
        """Optimizer and clipping, as `fastmlp.fit` takes them, for a network of this recipe."""
        factors = decay_factors = None
        if self.by_width:
            n_first, n_hidden = network.weights[0].shape
            of_weights = {"first_weights": n_first**-0.5, "weights": n_hidden**-0.5}
            factors = {**of_weights, **_FACTORS}
            # RealMLP's weights decay by the whole rate; of other kinds factors enter twice.
            decay_factors = {kind: 1 / factor for kind, factor in of_weights.items()} | _FACTORS
        rate: Any = self.learning_rate
        decay: Any = self.weight_decay
        if self.scheduled:
            rate = CosineLog(rate)
            decay = FlatCosine(decay) if decay else 0.0
        optimizer = AdamW(
            rate,
            beta_2=self.beta_2,
            weight_decay=decay,
            factors=factors,
            decay_factors=decay_factors,
        )
        return {"optimizer": optimizer, "clip_norm": self.clip_norm}


_OF_CLASSES = {
    "realmlp": Recipe(),
    "plain": Recipe(
        activation="selu",
        embedding=None,
        init="auto",
        dropout=0.0,
        weight_decay=0.0,
    ),
    "tabm": Recipe(
        hidden_layer_sizes=(192, 192),
        activation="relu",
        embedding="piecewise_linear",
        input_scale=False,
        init="auto",
        members=8,
        dropout=0.1,
        learning_rate=0.002,
        weight_decay=0.0003,
        scheduled=False,
        beta_2=0.999,
        by_width=False,
        smoothing=0.0,
        clip_norm=1.0,
        patience=16,
    ),
}

# What is different for values.
_OF_VALUES: dict[str, dict[str, Any]] = {
    "realmlp": {"activation": "parametric(mish)", "learning_rate": 0.2, "smoothing": 0.0},
    "plain": {"activation": "mish", "learning_rate": 0.07, "smoothing": 0.0},
    "tabm": {},
}

ARCHITECTURES = tuple(_OF_CLASSES)


def recipe_of(architecture, is_classifier, embedding="auto", **given) -> Recipe:
    """The recipe of an architecture, of which what is `given`, and not None, is another.

    The `embedding` is the architecture's own unless it is not "auto".
    """
    recipe = _OF_CLASSES[architecture]
    if not is_classifier:
        recipe = replace(recipe, **_OF_VALUES[architecture])
    changed: dict[str, Any] = {name: one for name, one in given.items() if one is not None}
    if embedding != "auto":
        changed["embedding"] = embedding
    return replace(recipe, **changed)


def batch_rows(n_rows) -> int:
    """Rows of a mini-batch for a table of `n_rows` to train on."""
    return next((batch for most, batch in _BATCHES if n_rows <= most), _LARGEST_BATCH)


def epochs_for(n_rows) -> int:
    """Epochs for a table of `n_rows` to train on."""
    power = _POWER_OF_LARGE if n_rows > _ROWS else _POWER_OF_SMALL
    epochs = round(_EPOCHS * (_ROWS / n_rows) ** power)
    return int(np.clip(epochs, _FEWEST_EPOCHS, _MOST_EPOCHS))
