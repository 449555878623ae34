"""Networks for tables: the best epoch is the best one, bits do not depend on threads, limits."""

import itertools

import numpy as np
import pytest
from marks import compiled_only

import fastmlp
from fastmlp.tabular import training
from fastmlp.tabular.folds import make_folds
from fastmlp.tabular.recipes import ARCHITECTURES, batch_rows, epochs_for, recipe_of
from fastmlp.tabular.training import Clock, Report, train_networks

pytestmark = compiled_only

RNG = np.random.default_rng(0)
X = RNG.uniform(-1.5, 1.5, size=(120, 3)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)


def columns(embedding, X):
    edges = fastmlp.quantile_edges(X, [0, 1, 2]) if embedding == "piecewise_linear" else None
    return [fastmlp.Numeric([0, 1, 2], embedding, edges=edges)]


class Shown:
    """A bar that keeps what it is told to show."""

    def __init__(self, unit, total):
        self.unit, self.total, self.n, self.lines = unit, total, 0, []

    def show(self, n, **shown):
        self.n = n
        self.lines.append((n, self.total, shown["networks"]))

    def expect(self, total):
        self.total = total

    def close(self):
        pass


def train(
    n_networks,
    measure=None,
    *,
    limit=None,
    report=None,
    epochs=6,
    n_threads=None,
    X=X,
    Y=Y,
    **given,
):
    """Train small networks; `measure` takes the number of a network, and gives a measure."""
    architecture = given.pop("architecture", "realmlp")
    recipe = recipe_of(architecture, True, hidden_layer_sizes=(8, 8))
    folds = make_folds(len(Y), n_networks, np.random.default_rng(1), labels=Y)
    inputs = columns(recipe.embedding, X)
    networks = [recipe.network(3, inputs, 2, "softmax", seed) for seed in range(n_networks)]

    def accuracy_of(i):
        labels = Y[folds[i].validation]
        return lambda outputs: (outputs, float((outputs.argmax(axis=1) == labels).mean()))

    measure = accuracy_of if measure is None else measure
    options = {
        "loss": "cross_entropy",
        "batch_size": 16,
        "epochs": epochs,
        "patience": None,
        **recipe.options(networks[0]),
        **given,
    }
    return train_networks(
        networks,
        X,
        Y,
        folds,
        list(range(n_networks)),
        [measure(i) for i in range(n_networks)],
        clock=Clock(limit),
        report=report or Report(False, str),
        n_threads=n_threads,
        **options,
    )


@pytest.mark.parametrize("n_networks", [1, 3])
def test_bits_do_not_depend_on_threads(n_networks):
    one, two = (train(n_networks, n_threads=n_threads) for n_threads in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.network.theta, b.network.theta)
        np.testing.assert_array_equal(a.predictions, b.predictions)
        assert a.gains == b.gains


def test_each_network_is_that_of_fit_on_the_rows_of_its_fold():
    trained = train(2, lambda i: lambda outputs: (outputs, 0.0), n_threads=2)
    recipe = recipe_of("realmlp", True, hidden_layer_sizes=(8, 8))
    inputs = columns(recipe.embedding, X)
    for i, one in enumerate(trained):
        alone, rows = recipe.network(3, inputs, 2, "softmax", i), one.fold.training
        alone.fit(
            X[rows],
            Y[rows],
            loss="cross_entropy",
            batch_size=16,
            epochs=6,
            seed=i,
            **recipe.options(alone),
        )
        np.testing.assert_array_equal(one.network.theta, alone.theta)  # all scores equal: the last


SCRIPTS = {
    "the third": ([0.1, 0.3, 0.9, 0.2, 0.5, 0.4], 3),
    "the last of ties": ([0.1, 0.9, 0.2, 0.9, 0.9, 0.3], 5),
    "the first": ([1.0, 0.9, 0.2, 0.9, 0.9, 0.3], 1),
    "not what is not finite": ([np.nan, 0.1, 0.2, np.nan, 0.1, np.nan], 3),
    "negative": ([-3.0, -2.0, -1.0, -2.0, -0.5, -1.0], 5),
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("n_networks", [1, 2])
def test_the_best_epoch_is_the_best_by_a_script(script, n_networks):
    """Outputs of each epoch are kept aside, and the scores are read from a script."""
    gains, best = SCRIPTS[script]
    seen = {i: [] for i in range(n_networks)}

    def scripted(i):
        script = itertools.count()

        def measure(outputs):
            seen[i].append(outputs)
            return outputs, gains[next(script)]

        return measure

    for i, one in enumerate(train(n_networks, scripted)):
        assert one.best_epoch == best
        assert one.best_gain == gains[best - 1]
        np.testing.assert_array_equal(one.gains, gains)
        assert len(one.losses) == 6
        np.testing.assert_array_equal(one.predictions, seen[i][best - 1])
        again = one.network.predict(X[one.fold.validation])
        np.testing.assert_array_equal(again, seen[i][best - 1])
        assert not np.array_equal(seen[i][best - 1], seen[i][best % 6])


def test_patience_ends_a_network():
    def scripted(i):
        script = iter([0.1, 0.5, 0.4, 0.4, 0.4, 0.6])
        return lambda outputs: (outputs, next(script))

    (one,) = train(1, scripted, patience=2)
    assert one.best_epoch == 2
    assert len(one.gains) == 5


@pytest.mark.parametrize("n_networks", [1, 3])
def test_a_limit_too_short_for_an_epoch_leaves_one_network_as_far_as_it_came(n_networks):
    trained = train(n_networks, limit=1e-6)
    assert trained[0].best_epoch == 0
    assert len(trained[0].gains) == 1
    assert trained[0].predictions.shape == (len(trained[0].fold.validation), 2)
    assert not any(one.gains for one in trained[1:])


def test_a_limit_leaves_fewer_epochs_which_come_to_an_end():
    trained = train(2, limit=0.5, epochs=10**6)
    assert all(0 < len(one.gains) < 10**6 for one in trained)


@pytest.mark.parametrize(
    ("n_networks", "n_turn", "most_epochs", "n_epochs", "wanted"),
    [
        (8, 2, 10, 1000, (8, 10)),  # time for all
        (8, 2, 10, 28.5 / 0.7, (8, 7)),  # four turns of seven epochs each
        (8, 2, 10, 12.5 / 0.7, (6, 4)),  # three turns of four epochs
        (8, 2, 10, 4.5 / 0.7, (2, 4)),
        (8, 2, 10, 3.5 / 0.7, (1, 3)),
        (8, 2, 2, 8.5 / 0.7, (8, 2)),  # no more than are asked for
        (3, 2, 10, 16.5 / 0.7, (3, 8)),
        (1, 1, 10, 0.0, (1, 1)),
    ],
)
def test_a_limit_has_fewer_epochs_and_then_fewer_networks(
    n_networks, n_turn, most_epochs, n_epochs, wanted
):
    assert training._affordable(n_networks, n_turn, most_epochs, n_epochs) == wanted


def test_networks_that_there_is_no_time_for_are_not_trained(monkeypatch):
    monkeypatch.setattr(training, "_seconds_per_epoch", lambda *_: 60 / 6)
    trained = train(4, limit=60, epochs=9, n_threads=2)
    assert [len(one.gains) for one in trained] == [4, 4, 0, 0]
    assert [one.best_epoch > 0 for one in trained] == [True, True, False, False]


def test_a_bar_counts_networks_from_turn_to_turn(monkeypatch):
    monkeypatch.setattr(training, "_seconds_per_epoch", lambda *_: 60 / 40)
    bars = []
    monkeypatch.setattr(training, "Bar", lambda *given: bars.append(Shown(*given)) or bars[-1])
    report = Report(True, str)
    train(3, limit=60, epochs=4, n_threads=1, report=report)
    report.end()
    (bar,) = bars
    assert bar.unit == "epoch"
    assert bar.lines == sorted(bar.lines)
    assert bar.lines[-1] == (12, 12, "3/3")
    assert {through for _, _, through in bar.lines} >= {"0/3", "1/3", "2/3", "3/3"}
    for n, _, through in bar.lines:
        assert n >= 4 * int(through[0])


def interrupting(i):
    """A measure in whose third epoch the user presses Ctrl-C."""
    script = itertools.count(1)

    def measure(outputs):
        if next(script) == 3:
            raise KeyboardInterrupt
        return outputs, 0.0

    return measure


def test_an_interrupted_bar_stays_where_it_was(monkeypatch):
    bars = []
    monkeypatch.setattr(training, "Bar", lambda *given: bars.append(Shown(*given)) or bars[-1])

    report = Report(True, str)
    train(1, interrupting, report=report)
    report.end()
    assert bars[0].lines[-1] == (2, 6, "0/1")


def test_ctrl_c_leaves_the_best_so_far():
    (one,) = train(1, interrupting)
    assert one.interrupted
    assert one.best_epoch == 2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_architecture_learns(architecture):
    rng = np.random.default_rng(3)
    X = rng.uniform(-1.5, 1.5, size=(600, 3)).astype(np.float32)
    Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
    trained = train(1, X=X, Y=Y, architecture=architecture, epochs=60)
    assert trained[0].best_gain > 0.85


@pytest.mark.parametrize("is_classifier", [True, False])
def test_realmlp_is_what_the_paper_says(is_classifier):
    """Table A.1 of arXiv:2407.04491, with its width and its embedding of numbers."""
    recipe = recipe_of("realmlp", is_classifier, "periodic", hidden_layer_sizes=(256, 256, 256))
    network = recipe.network(2, [fastmlp.Numeric([0, 1], recipe.embedding)], 2, "identity", 0)
    optimizer = recipe.options(network)["optimizer"]
    assert network.layer_sizes == (2, 256, 256, 256, 2)
    assert network.weights[0].shape == (8, 256)  # four numbers of each column
    activation = "parametric(selu)" if is_classifier else "parametric(mish)"
    assert network.activations[0] == activation
    rates = optimizer.learning_rates(0, 1000, 10, 1000)
    assert rates.max() == pytest.approx(0.04 if is_classifier else 0.2, rel=1e-3)
    assert rates[0] == pytest.approx(0)
    assert optimizer.factors["weights"] == pytest.approx(1 / 16)
    assert optimizer.factors["first_weights"] == pytest.approx(1 / np.sqrt(8))
    assert optimizer.factors["weights"] * optimizer.decay_factors["weights"] == pytest.approx(1)
    assert optimizer.factors["scale"] * optimizer.decay_factors["scale"] == 36
    assert optimizer.factors["bias"] == 0.1
    assert optimizer.factors["scale"] == 6
    assert (optimizer.beta_1, optimizer.beta_2) == (0.9, 0.95)
    assert recipe.smoothing == (0.1 if is_classifier else 0.0)
    table = optimizer.rates(0, 1000, 10, 1000, network._pieces.dropout_schedule)
    assert table[0, 1:].tolist() == pytest.approx([0.02, 0.15])
    assert table[499, 1:].tolist() == pytest.approx([0.02, 0.15])
    assert table[-1, 1:].tolist() == pytest.approx([0, 0], abs=1e-4)


def test_larger_tables_have_larger_batches_and_fewer_epochs():
    sizes = np.geomspace(20, 10_000_000, 50).astype(int)
    batches = [batch_rows(n) for n in sizes]
    epochs = [epochs_for(n) for n in sizes]
    assert batches == sorted(batches)
    assert epochs == sorted(epochs, reverse=True)
    assert (batches[0], batches[-1]) == (64, 1024)
    assert epochs[-1] >= 1
