"""fastmlp's estimators without one of their pieces each: what it is worth on the tables.

Each method is the default but for one change. Where a change needs another learning rate, it says
so.
"""

from dataclasses import replace

from asv_bench.tables.peers import Method
from fastmlp.schedules import CosineLog
from fastmlp.tabular.recipes import Recipe


class OneWave(Recipe):
    """A recipe whose learning rate rises and falls once, instead of in four waves."""

    def options(self, network):
        """As of `Recipe`."""
        options = super().options(network)
        rate = CosineLog(self.learning_rate, cycles=1)
        return options | {"optimizer": replace(options["optimizer"], learning_rate=rate)}


def _plain_activation(recipe):
    name = recipe.activation.removeprefix("parametric(").removesuffix(")")
    return replace(recipe, activation=name)


def _same_rate_for_all(recipe):
    # Of a layer with as many inputs as there are hidden units.
    rate = recipe.learning_rate * recipe.hidden_layer_sizes[0] ** -0.5
    return replace(recipe, by_width=False, learning_rate=rate)


# By name: what is another, and how: parameters of the estimator or, where there is none for it, the
# recipe.
CHANGES = {
    "raw-numbers": ("numbers as they are", {"embedding": None}),
    "periodic": ("periodic embeddings", {"embedding": "periodic"}),
    "no-scale": ("no scale of inputs", lambda recipe: replace(recipe, input_scale=False)),
    "plain-activation": ("activations without parameters", _plain_activation),
    "usual-init": ("usual starting weights", lambda recipe: replace(recipe, init="auto")),
    "one-wave": ("one wave of the learning rate", lambda recipe: OneWave(**vars(recipe))),
    "constant": (
        "constant learning rate (a quarter), dropout and decay",
        lambda recipe: replace(recipe, scheduled=False, learning_rate=recipe.learning_rate / 4),
    ),
    "same-rate": ("one learning rate for all parameters", _same_rate_for_all),
    "beta-2": ("beta_2 = 0.999", lambda recipe: replace(recipe, beta_2=0.999)),
    "no-dropout": ("no dropout", {"dropout": 0.0}),
    "no-decay": ("no weight decay", {"weight_decay": 0.0}),
    "no-smoothing": ("no label smoothing", {"label_smoothing": 0.0}),
    "wider": ("256 units a layer", {"hidden_layer_sizes": (256, 256, 256)}),
    "four": ("four networks", {"n_networks": 4}),
    "no-temperature": ("probabilities as they are", {"calibrate": False}),
    "tabm": ("TabM", {"architecture": "tabm"}),
}


def _changed(change):
    def build(X, classifies, seed, n_threads):
        from fastmlp.sklearn import TabularClassifier, TabularRegressor

        base = TabularClassifier if classifies else TabularRegressor
        options = {"random_state": seed, "n_threads": n_threads}
        if isinstance(change, dict):
            # Parameters that a regressor has not are of probabilities.
            known = base().get_params()
            return base(**options, **{name: x for name, x in change.items() if name in known})

        class Changed(base):
            def _recipe(self):
                return change(super()._recipe())

        return Changed(**options)

    return build


PIECES = {
    name: Method(title, "fastmlp", "fastmlp", _changed(change))
    for name, (title, change) in CHANGES.items()
}
