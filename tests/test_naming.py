"""Unknown names get the nearest known one, or ours for what other libraries call it."""

import copy
import inspect
import pickle
import typing

import numpy as np
import pytest

import fastmlp
from fastmlp import LBFGS, MLP, RNN, SGD, Adam, AdamW, CosineAnnealing, naming
from fastmlp.losses import LOSSES
from fastmlp.network import ACTIVATIONS
from fastmlp.training import OPTIMIZERS

X = np.zeros((4, 2))
Y = np.zeros(4)


def refusal(call, error=(TypeError, ValueError)):
    with pytest.raises(error) as raised:
        call()
    return str(raised.value)


@pytest.mark.parametrize(
    ("call", "ours"),
    [
        (lambda: MLP([2, 3, 1], activation="swish"), "'silu'"),
        (lambda: MLP([2, 3, 1], activation="ReLU"), "'relu'"),
        (lambda: MLP([2, 3, 1], activation="leaky-relu"), "'leaky_relu'"),
        (lambda: MLP([2, 3, 1], activation="rellu"), "'relu'"),
        (lambda: MLP([2, 3, 1], output="linear"), "'identity'"),
        (lambda: MLP([2, 3, 1], output="soft max"), "'softmax'"),
        (lambda: MLP([2, 3, 1], init="glorot_unifrom"), "'glorot_uniform'"),
        (lambda: MLP([2, 3, 1], norm="bacth"), "'batch'"),
        (lambda: MLP([2, 1]).fit(X, Y, loss="mse"), "'squared_error'"),
        (lambda: MLP([2, 1]).fit(X, Y, loss="MAE"), "'absolute_error'"),
        (lambda: MLP([2, 1]).loss(X, Y, loss="hubber"), "'huber'"),
        (lambda: MLP([2, 1]).fit(X, Y, optimizer="adm"), "'adam'"),
        (lambda: MLP([2, 1]).fit(X, Y, optimizer="Adam"), "'adam'"),
        (lambda: MLP([2, 1]).fit(X, Y, optimizer="L_BFGS"), "'lbfgs'"),
        (lambda: MLP([2, 1]).fit(X, Y, optimizer="trainlm"), "'levenberg_marquardt'"),
        (lambda: MLP([2, 1]).fit(X, Y, optimizer="momentum"), "'sgd(momentum=0.9)'"),
        (lambda: MLP([2, 1]).fit(X, Y, optimizer="sgd(lr=0.1)"), "learning_rate"),
        (lambda: fastmlp.load_problem("rosenbrok"), "'rosenbrock'"),
    ],
)
def test_a_name_gets_the_nearest_one(call, ours):
    assert refusal(call, ValueError).endswith(f"; did you mean {ours}?")


@pytest.mark.parametrize(
    ("call", "ours"),
    [
        (lambda: MLP([2, 1]).fit(X, Y, epoch=5), "epochs"),
        (lambda: MLP([2, 1]).fit(X, Y, lr=0.1), "optimizer=Adam(learning_rate=...)"),
        (lambda: MLP([2, 1]).fit(X, Y, learning_rate=0.1), "optimizer=Adam(learning_rate=...)"),
        (lambda: MLP([2, 1]).fit(X, Y, early_stopping=True), "callbacks=[EarlyStopping()]"),
        (lambda: MLP([2, 1]).fit(X, Y, patience=3), "callbacks=[EarlyStopping(patience=...)]"),
        (lambda: MLP([2, 1]).fit(X, Y, max_iter=3), "epochs"),
        (lambda: MLP([2, 1]).fit(X, Y, random_state=3), "seed"),
        (lambda: MLP([2, 1]).fit(X, Y, verbose=1), "progress"),
        (lambda: MLP([2, 1]).fit(X, Y, weight_decay=1e-4), "l2"),
        (lambda: fastmlp.fit(MLP([2, 1]), X, Y, epoch=5), "epochs"),
        (lambda: fastmlp.fit_many([MLP([2, 1])], X, Y, seed=5), "seeds"),
        (lambda: fastmlp.fit_parts(MLP([2, 1]), [], n_epochs=5), "epochs"),
        (lambda: fastmlp.compare(MLP([2, 1]), X, Y, ["adam"], seed=1), "seeds"),
        (lambda: fastmlp.compare_problems(["sin"], ["adam"], pases=1), "passes"),
        (lambda: fastmlp.minimize(np.sum, [1.0], max_iter=3), "max_iterations"),
        (lambda: MLP([2, 1], random_state=0), "seed"),
        (lambda: MLP(hidden_layer_sizes=[2, 1]), "layer_sizes"),
        (lambda: MLP([2, 2, 1], activations="relu"), "activation"),
        (lambda: RNN([2, 2, 1], sequences="all"), "sequence"),
        (lambda: Adam(lr=0.1), "learning_rate"),
        (lambda: Adam(beta1=0.9), "beta_1"),
        (lambda: AdamW(wd=0.1), "weight_decay"),
        (lambda: SGD(0.1, nestrov=True), "nesterov"),
        (lambda: LBFGS(max_iter=3), "max_iterations"),
        (lambda: CosineAnnealing(maximun=0.1, period=5), "maximum"),
    ],
)
def test_an_argument_gets_the_nearest_one(call, ours):
    message = refusal(call, TypeError)
    assert " has the parameters " in message
    assert message.endswith(f"; did you mean {ours}?")


def test_estimators_do_so_too():
    pytest.importorskip("sklearn")
    for call, ours in (
        (lambda: fastmlp.MLPClassifier(lr=0.1), "learning_rate_init"),
        (lambda: fastmlp.MLPRegressor(hidden=3), "hidden_layer_sizes"),
        (lambda: fastmlp.MLPRegressor(seed=3), "random_state"),
        (lambda: fastmlp.TabularClassifier(networks=3), "n_networks"),
        (lambda: fastmlp.MLPRegressor(solver="adan").fit(X, Y), "'adam'"),
    ):
        assert refusal(call).endswith(f"; did you mean {ours}?")


def test_what_is_like_nothing_gets_no_hint():
    assert refusal(lambda: MLP([2, 1]).fit(X, Y, loss="zzz")).endswith("got 'zzz'")
    assert refusal(lambda: MLP([2, 1]).fit(X, Y, zzz=1)).endswith("got 'zzz'")


def test_a_name_of_others_stands_for_one_that_is_known():
    """The table cannot go out of date: what it leads to is there."""
    for table, known in (
        (naming._ACTIVATIONS, ACTIVATIONS),
        (naming._LOSSES, LOSSES),
        (naming._OPTIMIZERS, OPTIMIZERS),
    ):
        for theirs, ours in table.items():
            assert theirs not in known
            assert {name.partition("(")[0] for name in ours} <= set(known)


def test_an_optimizers_class_is_to_be_called():
    for given in (Adam, [Adam], [Adam(), LBFGS]):
        message = refusal(lambda given=given: MLP([2, 1]).fit(X, Y, optimizer=given), TypeError)
        last = given[-1] if isinstance(given, list) else given
        assert message == (
            f"optimizer must be an object, got the class {last.__name__}: call it, as in "
            f"optimizer={last.__name__}()"
        )


def test_constructors_stay_as_they_are():
    """Copies, pickles and subclasses go through the same door."""
    for one in (Adam(0.1), LBFGS(), CosineAnnealing(0.1, period=5), MLP([2, 1], seed=0)):
        for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert type(other) is type(one)

    class Taller(MLP):
        def __init__(self, height, **others):
            super().__init__([2, height, 1], **others)

    assert Taller(5, seed=0).layer_sizes == (2, 5, 1)
    with pytest.raises(TypeError, match="sed"):
        Taller(5, sed=0)


def test_signatures_stay_those_of_the_functions():
    def add(a: int, b: int = 1) -> int:
        """Add."""
        return a + b

    told = naming.names_arguments(add)
    assert told(1, b=2) == 3
    assert told.__doc__ == "Add."
    assert typing.get_type_hints(told) == {"a": int, "b": int, "return": int}


@pytest.mark.parametrize("cls", [fastmlp.BFGS, fastmlp.Adam, fastmlp.MLP, fastmlp.EarlyStopping])
def test_classes_show_the_arguments_of_their_constructors(cls):
    """Said by the classes themselves: `inspect` alone gets it wrong before Python 3.11.4."""
    parameters = dict(inspect.signature(cls.__init__).parameters)
    del parameters["self"]
    assert dict(cls.__signature__.parameters) == parameters
    assert dict(inspect.signature(cls).parameters) == parameters


def test_what_can_be_called_shows_its_own_arguments():
    class Halves(fastmlp.Adam):
        def __call__(self, rate):
            return rate / 2

    assert list(inspect.signature(Halves()).parameters) == ["rate"]
    assert "beta_1" in inspect.signature(Halves).parameters
