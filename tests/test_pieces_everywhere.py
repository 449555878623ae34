"""Every way that networks go, with each piece that is no chain of dense layers, and with mixes."""

import json
import pickle
import re
import warnings

import numpy as np
import pytest
from marks import INTERPRETED, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import load_file, save_file

import fastmlp
from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    Adam,
    AdamW,
    Categorical,
    FlatCosine,
    LevenbergMarquardt,
    MLPClassifier,
    MLPRegressor,
    Numeric,
    Objective,
    compare,
    fit_many,
)
from fastmlp.cli import main
from fastmlp.pieces import NAMES

# Columns: three of numbers, then codes of three categories.
N_ROWS, N_CLASSES = (24 if INTERPRETED else 64), 3
SIZES = (4, 5, 5, 5, N_CLASSES)
ONE_HOT = Categorical(3, 3)
EMBEDDED = (
    Categorical(3, 3, size=2),
    Numeric(0, "periodic", size=3),
    Numeric(1, "piecewise_linear", size=2, edges=[[-1.0, 0.0, 1.5]]),
)

# The pieces of each network, and with them how it is trained where that is not as by default.
NETWORKS = {
    "batch norm": {"norm": "batch"},
    "layer norm": {"norm": "layer"},
    "dropout": {"dropout": [0.2, 0.0, 0.3]},
    "scheduled dropout": {"dropout": FlatCosine(0.15), "input_dropout": 0.1},
    "residual": {"residual": True},
    "tied": {"tied": [(3, 2)]},
    "input scale": {"input_scale": True},
    "one-hot": {"inputs": [ONE_HOT]},
    "embedded": {"inputs": EMBEDDED},
    "members": {"members": 3},
    "mish": {"activation": "mish", "norm": ["layer", None, "layer"]},
    "prelu": {"activation": ["prelu", "relu", "prelu"]},
    "parametric": {"activation": "parametric(selu)", "dropout": 0.1},
    "mixed": {
        "activation": ["mish", "parametric(mish)", "mish"],
        "norm": ["batch", "layer", None],
        "dropout": 0.1,
        "residual": True,
        "tied": [(3, 2)],
        "input_scale": True,
        "inputs": [Categorical(3, 3), Numeric([2, 0], "periodic")],
        "members": 2,
    },
}
LOSSES = {"mish": "cross_entropy(0.1)", "mixed": "cross_entropy(0.2)"}
OPTIMIZERS = {
    "mixed": AdamW(
        learning_rate=FlatCosine(0.01),
        weight_decay=FlatCosine(0.02),
        factors={"bias": 0.1, "scale": 6.0, "norm": 0.5, "embedding": 2.0, "member": 0.3},
    )
}
each_network = pytest.mark.parametrize("name", ["one-hot", "mixed"] if INTERPRETED else NETWORKS)


def make_data(seed=0, n=N_ROWS, missing=False):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, SIZES[0]))
    X[:, 3] = rng.integers(0, 3, n)
    if missing:
        X[::5, 3], X[1::7, 3] = np.nan, -1
    y = (np.sin(2 * X[:, 0]) + X[:, 1] + (X[:, 3] == 1) > 0).astype(int) + (X[:, 2] > 0.7)
    return X, y


def make(name, dtype="float64", sizes=SIZES, **options):
    options = {"output": "softmax", "seed": 0, "dtype": dtype} | NETWORKS[name] | options
    return MLP(sizes, **options)


def has_missing(name):
    return "inputs" in NETWORKS.get(name, ())


def data_for(name, seed=0, n=N_ROWS):
    return make_data(seed, n, has_missing(name))


def options_for(name, **others):
    optimizer = OPTIMIZERS.get(name, Adam(learning_rate=0.01))
    loss = LOSSES.get(name, "auto")
    return {"optimizer": optimizer, "loss": loss, "batch_size": 16, "seed": 3} | others


def fitted(name, epochs=2, **others):
    net = make(name)
    net.fit(*data_for(name), **options_for(name, epochs=epochs, **others))
    return net


def assert_same(one, two):
    """Two networks have all that they have learned, and all that they are, in common."""
    assert one.architecture() == two.architecture()
    assert_array_equal(one.theta, two.theta)
    assert one.statistics.keys() == two.statistics.keys()
    for key in one.statistics:
        assert_array_equal(one.statistics[key], two.statistics[key])


@each_network
@pytest.mark.parametrize("way", ["file", "pickle", "copy", "description"])
def test_it_comes_back_as_it_was(name, way, tmp_path):
    net = fitted(name)
    X, _ = data_for(name)
    if way == "file":
        net.save(tmp_path / "net")
        other = MLP.load(tmp_path / "net")
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(net))
    elif way == "copy":
        other = net.copy()
    else:
        described = json.loads(json.dumps(net.architecture()))
        other = MLP.from_architecture(described, *net.learned())
    assert_same(other, net)
    assert_array_equal(other.predict(X), net.predict(X))
    assert repr(other) == repr(net)


@each_network
def test_parameters_are_theta(name):
    net = fitted(name)
    names = [key for key, _ in net.parameters]
    assert len(set(names)) == len(names)
    assert_array_equal(np.concatenate([view.ravel() for _, view in net.parameters]), net.theta)
    parameters, statistics = MLP.shapes_of(net.architecture())
    assert parameters == {key: view.shape for key, view in net.parameters}
    assert statistics == {key: view.shape for key, view in net.statistics.items()}
    for _, view in net.parameters:
        assert np.shares_memory(view, net.theta)


@each_network
@compiled_only
def test_a_fit_that_stopped_goes_on_to_the_same_bits(name, tmp_path):
    path = tmp_path / "fit"
    whole, stopped = make(name), make(name)
    X, y = data_for(name)
    options = options_for(name, epochs=4, validation_data=data_for(name, seed=1))
    whole.fit(X, y, **options)

    def stop(progress):
        if progress.record.epoch == 2:
            raise StopIteration

    stopped.fit(X, y, checkpoint=path, callbacks=[stop], **options)
    stopped = make(name)
    result = stopped.fit(X, y, checkpoint=path, **options)
    assert result.n_iter == 4
    assert_same(stopped, whole)


@each_network
def test_a_checkpoint_of_another_network_is_refused(name, tmp_path):
    X, y = data_for(name)
    path = tmp_path / "fit"
    make(name).fit(X, y, checkpoint=path, **options_for(name, epochs=1))
    plain = MLP(SIZES, output="softmax", dtype="float64", seed=0)
    before = plain.theta.copy()
    y_there, X_there = make_data()[::-1]
    with pytest.raises(ValueError, match="checkpoint must be of this fit"):
        plain.fit(X_there, y_there, checkpoint=path, **options_for(name, epochs=1))
    assert_array_equal(plain.theta, before)


@each_network
@compiled_only
def test_many_networks_fit_as_each_alone(name):
    X, y = data_for(name)
    nets = [make(name, seed=seed) for seed in range(2)]
    alone = [net.copy() for net in nets]
    rows = [np.arange(0, N_ROWS), np.arange(0, N_ROWS, 2)]
    options = options_for(name, epochs=2)
    del options["seed"]
    fit_many(nets, X, y, rows=rows, seeds=[5, 6], **options)
    for net, other, part, seed in zip(nets, alone, rows, [5, 6], strict=True):
        other.fit(X[part], y[part], seed=seed, n_threads=1, **options)
        assert_same(net, other)


@each_network
@compiled_only
def test_the_best_of_several_starts(name):
    X, y = data_for(name)
    net = make(name)
    result = net.fit(X, y, restarts=2, **options_for(name, epochs=2))
    assert "of 2 was best" in result.message
    assert_array_equal(result.theta, net.theta)
    assert np.isfinite(net.loss(X, y))


@each_network
@compiled_only
def test_compare(name):
    X, y = data_for(name)
    net = make(name)
    before = net.learned()
    optimizers = {"sgd": SGD(learning_rate=0.05, momentum=0.9), "adam": Adam()}
    comparison = compare(
        net, X, y, optimizers, seeds=2, passes=2, batch_size=16, validation_data=(X, y)
    )
    starts = [run.result.trace[0].objective for run in comparison.runs["sgd"]]
    assert starts == [run.result.trace[0].objective for run in comparison.runs["adam"]]
    assert comparison.settings["network"] == net.architecture()
    assert_array_equal(net.theta, before[0])
    trained = comparison.networks["adam"]
    assert_allclose(trained.loss(X, y), comparison.results["adam"].loss, rtol=1e-12)
    assert_array_equal(trained.predict(X), trained.copy().predict(X))


@each_network
@compiled_only
def test_the_gradient_is_right(name):
    X, y = data_for(name)
    net = make(name, activation="silu")  # without kinks, where differences are no derivatives
    net.fit(X, y, **options_for(name, epochs=2))
    X, y = X[:12], y[:12]
    loss = LOSSES.get(name, "auto")
    weights = np.random.default_rng(1).random(12) + 0.5
    options = {"loss": loss, "sample_weight": weights, "l2": 0.01}
    check = fastmlp.check_gradient(net, X, y, max_params=15, step=1e-5, **options)
    assert check.errors.keys() == dict(net.parameters).keys()
    assert check.passed, check


@each_network
def test_the_objective_is_a_mean_and_a_penalty_on_weights(name):
    """Weights of rows are repetitions; penalties take all W once, of members each one's own."""
    net = fitted(name)
    X, y = data_for(name, n=12)
    counts = np.random.default_rng(2).integers(1, 4, 12)
    loss = LOSSES.get(name, "auto")
    repeated = net.loss(np.repeat(X, counts, axis=0), np.repeat(y, counts), loss=loss)
    assert_allclose(net.loss(X, y, loss=loss, sample_weight=counts), repeated, rtol=1e-12)
    objective = Objective(net, X, y, loss=loss, sample_weight=counts, l1=0.01, l2=0.1)
    W = np.concatenate([v.ravel() for key, v in net.parameters if key.startswith("weights")])
    penalty = 0.01 * np.abs(W).sum() + 0.05 * np.square(W).sum()
    assert_allclose(objective.value(), repeated + penalty, rtol=1e-12)
    assert_allclose(objective.penalty(net.theta), penalty, rtol=1e-12)


@each_network
def test_validation_is_the_loss_without_dropout(name):
    X, y = data_for(name)
    held = data_for(name, seed=1)
    net = make(name)
    options = options_for(name, epochs=2, validation_data=held)
    result = net.fit(X, y, **options)
    expected = net.loss(*held, loss=options["loss"])
    assert_allclose(result.trace[-1].validation_loss, expected, rtol=1e-12)


@each_network
@compiled_only
def test_columns_are_found_by_name(name):
    pandas = pytest.importorskip("pandas")
    X, y = data_for(name)
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "kind"])
    net, other = make(name), make(name)
    net.fit(frame, y, **options_for(name, epochs=1))
    other.fit(X, y, **options_for(name, epochs=1))
    assert_same(net, other)
    assert net.feature_names == ("a", "b", "c", "kind")
    assert_array_equal(net.predict(frame[["kind", "c", "b", "a"]]), other.predict(X))


def standardized(X, name):
    """Columns of numbers with mean 0 and variance 1; codes as they are."""
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    if has_missing(name):
        Z[:, 3] = X[:, 3]
    return Z


CANNOT_FOLD = {
    "residual": {"sizes": (4, 4, 4, 2), "residual": True},
    "tied": {"sizes": (4, 4, 4, 2), "tied": [(2, 1)]},
    "tied output": {"sizes": (4, 2, 2, 2), "tied": [(3, 2)]},
    "embedded": {"sizes": (4, 5, 2), "inputs": EMBEDDED},
}
FOLDED = [name for name in NETWORKS if name not in ("embedded", "mixed") and not INTERPRETED]


@pytest.mark.parametrize("name", [*FOLDED, "mixed", "members of one layer"])
def test_standardized_data_are_folded_into_the_weights(name):
    """The fit is one on scaled data; what it has learned then takes data as they are."""
    sizes, pieces = (*SIZES[:-1], 2), NETWORKS.get(name)
    if name == "mixed":
        inputs = [ONE_HOT, Numeric([2, 0])]
        pieces = pieces | {"inputs": inputs, "activation": "mish"}
    if name == "members of one layer":
        sizes, pieces = (SIZES[0], 2), {"members": 3, "input_scale": True}
    net = MLP(sizes, dtype="float64", seed=0, **pieces)
    alone = net.copy()
    X, _ = data_for(name)
    X[:, :3] = X[:, :3] * [1.0, 100.0, 1e4] + [-3.0, 500.0, 0.0]
    y = 1e3 * np.random.default_rng(1).normal(size=(N_ROWS, 2)) + 500
    options = options_for(name, epochs=2, loss="auto", l2=1e-3)
    scaled = standardized(X, name), (y - y.mean(axis=0)) / y.std(axis=0)
    for _ in range(2):  # the second takes the scaling out of the weights first
        result = net.fit(X, y, standardize=True, **options)
        expected = alone.fit(*scaled, **options)
    # Two rounds of folding round each parameter four times, of which batch norm and Adam make more.
    assert_allclose(result.loss, expected.loss, rtol=1e-7)
    answers = alone.predict(scaled[0]) * y.std(axis=0) + y.mean(axis=0)
    assert_allclose(net.predict(X), answers, rtol=0, atol=1e-6 * y.std())


@pytest.mark.parametrize("name", CANNOT_FOLD)
def test_what_cannot_be_folded_is_refused(name):
    pieces = dict(CANNOT_FOLD[name])
    sizes = pieces.pop("sizes")
    net = MLP(sizes, seed=0, **pieces)
    X, y = make_data()
    before = net.theta.copy()
    with pytest.raises(ValueError, match="standardize must be False for a network whose"):
        net.fit(X, np.column_stack([y, -y]), standardize=True)
    assert_array_equal(net.theta, before)
    regressor = MLPRegressor(hidden_layer_sizes=sizes[1:-1], standardize=True, **pieces)
    with pytest.raises(ValueError, match="standardize must be False for a network whose"):
        regressor.fit(X, np.column_stack([y, -y]))
    assert not hasattr(regressor, "network_")


@each_network
def test_its_repr_names_its_pieces(name):
    net = make(name)
    text = repr(net)
    for piece in NETWORKS[name]:
        word = {"input_scale": "input scale", "inputs": "columns", "input_dropout": "input drop"}
        assert piece == "activation" or word.get(piece, piece) in text
    sizes = re.findall(r"^  (?:\d+|inputs) .* ([\d,]+)$", text, re.MULTILINE)
    assert sum(int(size.replace(",", "")) for size in sizes) == net.n_params


def test_a_repr():
    net = MLP(
        [4, 8, 8, 2],
        norm="layer",
        dropout=0.1,
        residual=True,
        members=4,
        input_scale=True,
        inputs=[Categorical(1, 3), Numeric([0, 2], "periodic")],
    )
    assert repr(net).split("\n") == [
        "MLP 4-8-8-2, float32",
        "  norm layer, dropout 0.1, residual layers 2, input scale, 4 members, 1 one-hot and 2 "
        "periodic columns",
        "  layer   units    activation  parameters",
        "  inputs  4 -> 12                     226",
        "  1       12 -> 8  relu               176",
        "  2       8 -> 8   relu               176",
        "  3       8 -> 2   identity            72",
        "  650 parameters",
    ]


@each_network
def test_an_edited_file_is_refused(name, tmp_path):
    path, edited = tmp_path / "net", tmp_path / "edited"
    net = fitted(name)
    net.save(path)
    tensors = load_file(path)
    described = net.architecture()
    dropped = ("dropout", "input_dropout", "residual")  # which no tensor tells of
    for piece in set(NETWORKS[name]) - {"activation", *dropped}:
        changed = {key: value for key, value in described.items() if key != piece}
        metadata = {"format": "fastmlp-1", "architecture": json.dumps(changed)}
        save_file(tensors, edited, metadata)
        with pytest.raises(ValueError, match=r"path must be a file that MLP.save wrote.*tensors"):
            MLP.load(edited)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": ["batch"]}, "norm must have one norm for each of the 3 hidden layers"),
        ({"norm": "group"}, "norm must be one of batch, layer"),
        ({"dropout": 1.5}, "dropout must be a probability"),
        ({"tied": [[2, 1]]}, "tied must name layers whose weights have one shape"),
        ({"residual": [True, False, False]}, r"residual\[0\] must be False"),
        ({"inputs": [{"column": 9, "n_categories": 3}]}, r"inputs\[0\] must name columns"),
        ({"inputs": [{"colour": 9}]}, "path must be a file that MLP.save wrote"),
        ({"inputs": 3}, "inputs must be a sequence"),
        ({"members": -1}, "members must be an integer of at least 1"),
    ],
)
def test_a_file_of_no_network_is_refused(change, message, tmp_path):
    path = tmp_path / "net"
    net = MLP(SIZES)
    net.save(path)
    described = json.dumps(net.architecture() | change)
    save_file(load_file(path), path, {"format": "fastmlp-1", "architecture": described})
    with pytest.raises(ValueError, match=message):
        MLP.load(path)


@each_network
@compiled_only
def test_the_command_line_predicts(name, tmp_path):
    net = make(name, "float32")
    X, y = make_data(1, N_ROWS)
    net.fit(X, y, **options_for(name, epochs=1))
    net.save(tmp_path / "model")
    header = "a,b,c,kind"
    table, answers = tmp_path / "rows.csv", tmp_path / "answers.csv"
    np.savetxt(table, X.astype(np.float32), fmt="%.9g", delimiter=",", header=header, comments="")
    arguments = ["predict", str(tmp_path / "model"), str(table), "--out", str(answers)]
    assert main(arguments) == 0
    found = np.loadtxt(answers, delimiter=",", skiprows=1)
    assert_array_equal(found[:, 1:].astype(np.float32), net.predict(X))


@compiled_only
def test_the_command_line_trains(tmp_path, capsys):
    X, y = make_data()
    table, model = tmp_path / "rows.csv", tmp_path / "model"
    columns = np.column_stack([X, y])
    np.savetxt(table, columns, delimiter=",", header="a,b,c,kind,y", comments="")
    common = ["train", str(table), "--target", "y", "--out", str(model), "--epochs", "1", "--quiet"]
    options = ["--hidden", "6,6", "--norm", "batch,none", "--dropout", "0.1,0", "--residual"]
    options += ["--input-dropout", "0.1", "--input-scale", "--members", "2", "--batch-size", "17"]
    assert main([*common, *options]) == 0
    pieces = MLP.load(model).architecture()
    assert {key: pieces[key] for key in NAMES if key in pieces} == {
        "norm": ["batch", None],
        "dropout": [0.1, 0.0],
        "input_dropout": 0.1,
        "residual": [False, True],
        "input_scale": True,
        "members": 2,
    }
    assert main([*common, "--dropout", "flat_cosine(initial=0.1)", "--norm", "layer"]) == 0
    assert MLP.load(model).architecture()["dropout"] == "flat_cosine(initial=0.1)"
    capsys.readouterr()
    for option, text, message in [
        ("--norm", "group", "norm must be one of batch, layer, got 'group'"),
        ("--dropout", "1", "dropout must be a probability in [0, 1)"),
        ("--dropout", "0.1,x", "dropout"),
        ("--members", "0", "members must be an integer of at least 1, got 0"),
    ]:
        assert main([*common, option, text]) == 2
        errors = capsys.readouterr().err
        assert message in errors
        assert errors.count("\n") == 1


# Estimators.


def estimator_pieces(name):
    pieces = dict(NETWORKS[name])
    if name in LOSSES:
        pieces["loss"] = LOSSES[name]
    return pieces


def make_classifier(name, **options):
    options = {"max_iter": 2, "batch_size": 16, "random_state": 0, "alpha": 1e-3} | options
    options.setdefault("solver", OPTIMIZERS.get(name, "adam"))
    return MLPClassifier(SIZES[1:-1], **(estimator_pieces(name) | options))


@pytest.fixture
def quiet():
    """Short fits do not converge, of which estimators warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@each_network
def test_a_classifier(name, quiet, tmp_path):
    from sklearn.base import clone

    X, y = data_for(name)
    estimator = clone(make_classifier(name)).set_params(max_iter=3).fit(X, y)
    pieces = make(name).architecture()
    del pieces["dtype"]
    found = estimator.network_.architecture()
    assert {key: found[key] for key in pieces} == pieces
    probabilities = estimator.predict_proba(X)
    assert_allclose(probabilities, estimator.network_.predict(X), rtol=1e-12)
    assert_allclose(np.exp(estimator.predict_log_proba(X)), probabilities, rtol=1e-9)
    assert_array_equal(estimator.predict(X), probabilities.argmax(axis=1))
    other = pickle.loads(pickle.dumps(estimator))
    assert_array_equal(other.predict_proba(X), probabilities)
    estimator.save(tmp_path / "estimator")
    other = MLPClassifier.load(tmp_path / "estimator")
    assert_array_equal(other.predict_proba(X), probabilities)
    assert other.get_params()["solver"] == estimator.get_params()["solver"]
    for piece in NETWORKS[name]:
        assert other.get_params()[piece] == estimator.get_params()[piece]
    assert_array_equal(MLP.load(tmp_path / "estimator").predict(X), estimator.network_.predict(X))
    with pytest.raises(ValueError, match="for scikit-learn"):
        estimator.to_sklearn()


@each_network
@compiled_only
def test_a_classifier_goes_on_to_the_same_bits(name, quiet):
    """Calls of partial_fit are one fit, also to schedules that go by the fraction of a fit."""
    X, y = data_for(name)
    # The best epoch is always the last: then fits go on from where they stopped.
    options = {"max_iter": 3, "tol": 0.0, "learning_rate_init": 1e-4, "n_iter_no_change": np.inf}
    calls, whole = make_classifier(name, **options), make_classifier(name, **options)
    for _ in range(3):
        calls = pickle.loads(pickle.dumps(calls.partial_fit(X, y, classes=range(N_CLASSES))))
    whole.fit(X, y)
    assert_array_equal(calls.loss_curve_, whole.loss_curve_)
    best_is_last = np.argmin(whole.loss_curve_) == 2
    if best_is_last:
        assert_same(calls.network_, whole.network_)
    if name in ("scheduled dropout", "mixed"):
        return  # each fit with warm_start has its schedule from the beginning
    begun = make_classifier(name, warm_start=True, **(options | {"max_iter": 1}))
    for _ in range(3):
        begun = pickle.loads(pickle.dumps(begun.fit(X, y)))
    assert_array_equal(calls.loss_curve_, begun.loss_curve_[:1] + calls.loss_curve_[1:])
    if best_is_last and np.argmin(begun.loss_curve_) == 2:
        assert_same(begun.network_, whole.network_)


@compiled_only
def test_each_warm_start_has_its_schedule_of_dropout_from_the_beginning(quiet):
    """Where it is as high as ever: fits of one update each are those of a constant."""
    X, y = make_data()
    options = {"max_iter": 1, "batch_size": N_ROWS, "warm_start": True, "tol": 0.0}
    scheduled = make_classifier("dropout", **(options | {"dropout": FlatCosine(0.3)}))
    constant = make_classifier("dropout", **(options | {"dropout": 0.3}))
    for _ in range(3):
        assert_array_equal(scheduled.fit(X, y).network_.theta, constant.fit(X, y).network_.theta)


@each_network
@compiled_only
def test_early_stopping_comes_back_with_all_of_the_best_epoch(name, quiet):
    """Also with the statistics of batch norm: a fit of as many epochs has the same."""
    X, y = data_for(name)
    options = {"early_stopping": True, "learning_rate_init": 0.05, "scoring": "loss", "tol": 0.0}
    if name == "mixed":
        options["solver"] = Adam(0.05)  # whose schedules would go by the length of the fit
    if name in ("scheduled dropout", "mixed"):
        options["dropout"] = 0.15
    whole = make_classifier(name, max_iter=8, **options).fit(X, y)
    best = int(np.argmax(whole.validation_scores_)) + 1
    short = make_classifier(name, max_iter=best, **options).fit(X, y)
    assert_same(short.network_, whole.network_)


@each_network
def test_hidden_activations_are_what_the_next_layer_takes(name, quiet):
    X, y = data_for(name)
    estimator = make_classifier(name).fit(X, y)
    net = estimator.network_
    *_, last = hidden = estimator.hidden_activations(X)
    assert len(hidden) == 3
    W, b = net.weights[-1], net.biases[-1]
    rule = "nki,kio->nko" if W.ndim == 3 else "ni,io->no"
    outputs = np.einsum(rule, last, W) + b
    e = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    softmax = e / e.sum(axis=-1, keepdims=True)
    expected = softmax.mean(axis=1) if softmax.ndim == 3 else softmax
    assert_allclose(net.predict(X), expected, rtol=1e-10)


@pytest.mark.parametrize("loss", ["log_loss", "logistic", "hinge"])
@pytest.mark.parametrize("kind", ["binary", "classes", "labels"])
@compiled_only
def test_probabilities_of_members_are_those_that_predict_goes_by(loss, kind, quiet):
    X, y = make_data()
    if loss == "log_loss" and kind == "classes":
        loss = "binary_cross_entropy"
    if kind == "binary":
        y = (y > 0).astype(int)
    elif kind == "labels":
        y = np.column_stack([y > 0, X[:, 0] > 0]).astype(int)
    estimator = MLPClassifier((5,), members=3, loss=loss, max_iter=3, random_state=0).fit(X, y)
    answers = estimator.predict(X)
    if loss == "hinge":
        assert not hasattr(estimator, "predict_proba")
        return
    probabilities = estimator.predict_proba(X)
    assert_allclose(np.exp(estimator.predict_log_proba(X)), probabilities, rtol=1e-9)
    outputs = estimator.network_.predict(X)
    if kind == "labels":
        assert_array_equal(answers, probabilities > 0.5)
    else:
        assert_array_equal(answers, probabilities.argmax(axis=1))
        assert_allclose(probabilities.sum(axis=1), 1)
    if loss == "log_loss":
        last = probabilities if kind == "labels" else probabilities[:, 1:]
        assert_allclose(last, outputs, rtol=1e-9)


@compiled_only
def test_a_regressor_with_pieces(quiet):
    X, y = make_data(missing=True)
    target = 100 * X[:, 0] + 10 * y
    options = {"inputs": [ONE_HOT], "norm": "layer", "members": 2, "standardize": True}
    estimator = MLPRegressor(
        hidden_layer_sizes=(8, 8), solver="lbfgs", random_state=0, residual=True, **options
    ).fit(X, target)
    assert estimator.score(X, target) > 0.95
    assert_allclose(estimator.predict(X), estimator.network_.predict(X)[:, 0])
    missing, there = X[:1].copy(), X[:1].copy()
    missing[0, 3], there[0, 3] = np.nan, -1
    assert_array_equal(estimator.predict(missing), estimator.predict(there))


def test_data_may_be_missing_in_columns_of_categories_alone(quiet):
    from scipy import sparse

    X, y = make_data(missing=True)
    estimator = MLPClassifier((5,), inputs=[ONE_HOT], max_iter=1, random_state=0).fit(X, y)
    assert estimator.__sklearn_tags__().input_tags.allow_nan
    assert not MLPClassifier().__sklearn_tags__().input_tags.allow_nan
    for column, value, message in [
        (0, np.nan, "X must hold finite numbers in column 0, got nan in row 2"),
        (3, 3.0, "X must hold codes from 0 to 2, or -1 or NaN for a missing one, in column 3"),
        (3, 0.5, "X must hold codes from 0 to 2"),
        (3, -2, "X must hold codes from 0 to 2"),
        (3, np.inf, "X must hold codes from 0 to 2"),
    ]:
        bad = X.copy()
        bad[2, column] = value
        before = estimator.network_.theta.copy()
        for call in (estimator.predict, lambda rows: estimator.fit(rows, y)):
            with pytest.raises(ValueError, match=re.escape(message.partition(", in")[0])):
                call(bad)
        assert_array_equal(estimator.network_.theta, before)
    dense = np.nan_to_num(X)
    for call in (estimator.predict, lambda rows: estimator.fit(rows, y)):
        with pytest.raises(TypeError, match="dense"):
            call(sparse.csr_array(dense))


@pytest.mark.parametrize("name", [name for name in NETWORKS if not has_missing(name)])
@compiled_only
def test_sparse_rows_give_the_bits_of_dense_ones(name, quiet, monkeypatch):
    from scipy import sparse

    from fastmlp.sources import source

    monkeypatch.setattr(source, "BLOCK_BYTES", 20 * 8 * SIZES[0])  # 20 rows
    X, y = make_data()
    dense = make_classifier(name).fit(X, y)
    thin = make_classifier(name).fit(sparse.csr_array(X), y)
    assert_same(thin.network_, dense.network_)
    for one, other in zip(
        thin.hidden_activations(sparse.csr_array(X)), dense.hidden_activations(X), strict=True
    ):
        assert_array_equal(one, other)
    assert_array_equal(thin.predict_proba(sparse.csr_array(X)), dense.predict_proba(X))


def test_pieces_stay_as_they_are_when_a_fit_goes_on(quiet):
    X, y = make_data()
    for piece, value, other in [
        ("norm", "layer", "batch"),
        ("members", 2, 3),
        ("dropout", 0.1, 0.2),
        ("residual", False, True),
        ("inputs", None, [ONE_HOT]),
    ]:
        options = {"warm_start": True, "max_iter": 1, "random_state": 0, piece: value}
        estimator = MLPClassifier((5, 5), **options).fit(X, y)
        before = estimator.network_.theta.copy()
        with pytest.raises(ValueError, match=f"{piece} must stay as it is when a fit goes on"):
            estimator.set_params(**{piece: other}).fit(X, y)
        assert_array_equal(estimator.network_.theta, before)


def test_an_older_pickle_of_an_estimator_has_no_pieces(quiet):
    X, y = make_data()
    estimator = MLPClassifier((5,), max_iter=1, random_state=0).fit(X, y)
    state = estimator.__getstate__()
    for name in (*NAMES, "init"):
        del state[name]
    older = object.__new__(MLPClassifier)
    older.__setstate__(state)
    assert_array_equal(older.predict(X), estimator.predict(X))
    assert older.get_params() == estimator.get_params()


def test_weights_by_data_are_those_of_a_first_fit(quiet):
    X, y = make_data()
    options = {"init": "data", "max_iter": 1, "random_state": 0, "learning_rate_init": 1e-30}
    one, other = (MLPClassifier((5,), **options).fit(X, y) for _ in range(2))
    assert_array_equal(one.network_.theta, other.network_.theta)
    first = X @ one.coefs_[0]
    assert_allclose(first.std(axis=0), 1, rtol=1e-9)
    assert ((first + one.intercepts_[0] > 0).any(axis=0)).all()


# Bad input.

BAD_PIECES = [
    ({"norm": "group"}, "norm must be one of batch, layer, got 'group'"),
    ({"norm": ["batch"]}, "norm must have one norm for each of the 3 hidden layers, got 1"),
    ({"norm": ["batch", "x", None]}, "norm[1] must be one of batch, layer, got 'x'"),
    ({"dropout": [0.1, 1.0, 0.1]}, "dropout[1] must be a probability in [0, 1), got 1.0"),
    ({"dropout": [0.1]}, "dropout must have one probability for each of the 3 hidden layers"),
    ({"dropout": FlatCosine(1.0)}, "dropout must stay below 1, its schedule reaches 1.0"),
    ({"dropout": "half"}, "dropout:"),
    ({"residual": [True, False, False]}, "residual[0] must be False for a hidden layer of 5 units"),
    ({"residual": [True]}, "residual must have one bool for each of the 3 hidden layers"),
    ({"tied": [(2, 1)]}, "tied must name layers whose weights have one shape, got (2, 1)"),
    ({"tied": [(9, 1)]}, "tied must name layers from 1 to 4, got 9 in (9, 1)"),
    ({"tied": [(2, 2)]}, "tied must name two different layers, got (2, 2)"),
    ({"tied": [(3, 2), (3, 2)]}, "tied must name each later layer once, got layer 3 again"),
    ({"tied": [3]}, "tied must be a sequence of pairs of layers, such as (2, 1), got 3"),
    ({"inputs": [3]}, "inputs[0] must be a fastmlp.Numeric or fastmlp.Categorical, got 3"),
    ({"inputs": [Categorical(4, 3)]}, "inputs[0] must name columns from 0 to 3, got 4"),
    ({"inputs": [ONE_HOT, ONE_HOT]}, "inputs must name each column once, got column 3 again"),
    ({"activation": "misch"}, "activation"),
]
# Where estimators go by scikit-learn's constraints first.
BAD_VALUES = [
    (
        {"dropout": 1.0},
        "dropout",
        "dropout must be a probability in [0, 1), or a Schedule, got 1.0",
    ),
    ({"dropout": -0.1}, "dropout", "dropout must be a probability in [0, 1), or a Schedule"),
    ({"input_dropout": 1}, "input_dropout", "input_dropout must be a probability in [0, 1), got 1"),
    ({"input_scale": 2}, "input_scale", "input_scale must be True or False, got 2"),
    ({"members": 0}, "members", "members must be an integer of at least 1, got 0"),
    ({"members": 10**9}, "members", "members must be at most 65536, got 1000000000"),
    ({"members": True}, "members", "members must be an integer of at least 1, got True"),
    ({"tied": "21"}, "tied", "tied must be a sequence of pairs of layers, got '21'"),
    ({"inputs": 3}, "inputs", "inputs must be a sequence of Numeric and Categorical, got 3"),
    ({"norm": 3}, "norm", "norm"),
    (
        {"norm": np.array("layer")},
        "norm",
        "norm must be one norm or a sequence of them, got array(",
    ),
    ({"tied": np.array(2)}, "tied", "tied must be a sequence of pairs of layers, got array(2)"),
    (
        {"inputs": np.array(2)},
        "inputs",
        "inputs must be a sequence of Numeric and Categorical, got",
    ),
]


@pytest.mark.parametrize(("pieces", "message"), BAD_PIECES)
def test_bad_pieces_are_refused(pieces, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        MLP(SIZES, **pieces)
    X, y = make_data()
    estimator = MLPClassifier(SIZES[1:-1], **pieces)
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        estimator.fit(X, y)
    assert not hasattr(estimator, "network_")


@pytest.mark.parametrize(("pieces", "name", "message"), BAD_VALUES)
def test_bad_values_are_refused(pieces, name, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        MLP(SIZES, **pieces)
    X, y = make_data()
    estimator = MLPClassifier(SIZES[1:-1], **pieces)
    with pytest.raises((ValueError, TypeError), match=name):
        estimator.fit(X, y)
    assert not hasattr(estimator, "network_")


def test_flags_of_numpy_are_flags(quiet):
    """Such as those that a search over an array of them hands on."""
    X, y = make_data()
    plain = MLP((4, 5, 5, 5, 3), residual=[False, True, True], seed=0).architecture()
    for residual in (np.True_, np.array([False, True, True])):
        assert MLP((4, 5, 5, 5, 3), residual=residual, seed=0).architecture() == plain
    estimator = MLPClassifier((5, 5, 5), residual=np.True_, max_iter=1).fit(X, y)
    assert estimator.network_.architecture()["residual"] == [False, True, True]


@pytest.mark.parametrize("inputs", [[Categorical(0, 3)], [Categorical(0, 3), Categorical(1, 2)]])
def test_layers_of_one_hot_codes_are_as_wide_as_these(inputs):
    """Sizes that agree with the columns of X do not agree with what enters."""
    width = sum(one.n_categories for one in inputs) + 4 - len(inputs)
    net = MLP([4, 4, 4, 2], inputs=inputs, residual=True)
    assert net.architecture()["residual"] == [False, True]
    with pytest.raises(ValueError, match=f"as its input has {width} with one-hot codes"):
        MLP([4, width, 4, 2], inputs=inputs, residual=[True, False])
    with pytest.raises(ValueError, match="tied must not name layer 1 where inputs have one-hot"):
        MLP([4, width, width, 2], inputs=inputs, tied=[(2, 1)])
    with pytest.raises(ValueError, match="tied must name layers whose weights have one shape"):
        MLP([4, 4, 4, 2], inputs=inputs, tied=[(2, 1)])


@compiled_only
def test_embedded_inputs_are_as_wide_as_their_numbers():
    inputs = [Numeric(0, "periodic", size=3)]
    net = MLP([4, 4, 4, 2], inputs=inputs, residual=True)
    assert net.architecture()["residual"] == [False, True]
    net = MLP([4, 6, 6, 2], inputs=inputs, residual=True, tied=[(2, 1)], dtype="float64", seed=0)
    assert net.architecture()["residual"] == [True, True]
    assert net.weights[0].shape == (6, 6)
    X, y = make_data()
    assert fastmlp.check_gradient(net, X[:8], np.column_stack([y, y])[:8]).passed


@pytest.mark.parametrize(
    "optimizer", [LBFGS(), "bfgs", "gradient_descent", "spsa", "stochastic_lbfgs", "scipy"]
)
@pytest.mark.parametrize(
    ("pieces", "named"),
    [
        ({"norm": "batch"}, "norm='batch'"),
        ({"dropout": 0.1}, "dropout"),
        ({"input_dropout": 0.1}, "input_dropout"),
        ({"norm": "batch", "dropout": 0.1}, "norm='batch' and dropout"),
    ],
)
def test_solvers_refuse_random_objectives(optimizer, pieces, named):
    net = MLP([4, 5, 5, 5, 2], seed=0, **pieces)
    X, y = make_data()
    y = np.column_stack([y, -y])
    message = f"for a network with {named}, whose objective is another one"
    before = net.theta.copy()
    calls = [
        lambda: net.fit(X, y, optimizer=optimizer),
        lambda: net.fit(X, y, optimizer=[Adam(epochs=1), optimizer]),
        lambda: fit_many([net], X, y, optimizer=optimizer),
        lambda: compare(net, X, y, {"it": optimizer}),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    assert_array_equal(net.theta, before)
    for solver in (optimizer, ["adam", optimizer]):
        estimator = MLPRegressor(hidden_layer_sizes=(5, 5, 5), solver=solver, **pieces)
        with pytest.raises(ValueError, match=re.escape(message)):
            estimator.fit(X, y)
        assert not hasattr(estimator, "network_")


def test_least_squares_refuses_random_objectives_too():
    X, y = make_data()
    net = MLP([4, 5, 1], dropout=0.1)
    with pytest.raises(ValueError, match="for a network with dropout"):
        net.fit(X, y, optimizer=LevenbergMarquardt())


@pytest.mark.parametrize(("n", "batch_size"), [(17, 16), (1, 16), (9, 1), (9, 4)])
def test_batch_norm_refuses_mini_batches_of_one_row(n, batch_size, quiet):
    net = MLP([4, 5, 2], norm="batch", seed=0)
    X, y = make_data(n=n)
    X, y = X[:n], np.column_stack([X[:n, 0], X[:n, 1]])
    before, statistics = net.learned()
    calls = [
        lambda: net.fit(X, y, batch_size=batch_size),
        lambda: fit_many([net], X, y, batch_size=batch_size),
        lambda: compare(net, X, y, {"adam": "adam"}, batch_size=batch_size),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="batch_size must leave no mini-batch of one row"):
            call()
    assert_array_equal(net.theta, before)
    assert_array_equal(net.learned()[1], statistics)
    estimator = MLPRegressor(hidden_layer_sizes=(5,), norm="batch", batch_size=batch_size)
    with pytest.raises(ValueError, match="batch_size must leave no mini-batch of one row"):
        estimator.fit(X, y)
    with pytest.raises(ValueError, match="batch_size must leave no mini-batch of one row"):
        estimator.partial_fit(X, y)
    assert not hasattr(estimator, "network_")


@pytest.mark.parametrize(
    ("value", "message"),
    [(3, "codes from 0 to 2"), (-2, "codes from 0 to 2"), (0.5, "codes"), (np.inf, "codes")],
)
def test_bad_codes_are_refused_everywhere(value, message):
    net = MLP([4, 5, 2], inputs=[ONE_HOT], seed=0)
    X, y = make_data()
    y = np.column_stack([y, -y])
    bad = X.copy()
    bad[5, 3] = value
    before = net.theta.copy()
    message = f"X must hold {message}.* in column 3, got {value:g} in row 5"
    calls = [
        lambda: net.fit(bad, y),
        lambda: net.predict(bad),
        lambda: net.loss(bad, y),
        lambda: net.loss_and_grad(bad, y),
        lambda: Objective(net, bad, y),
        lambda: fit_many([net], bad, y),
        lambda: compare(net, bad, y, {"adam": "adam"}),
        lambda: fastmlp.check_gradient(net, bad, y),
        lambda: net.fit(X, y, validation_data=(bad, y)),
        lambda: net.fit(bad, y, standardize=True),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    assert_array_equal(net.theta, before)


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda: Adam(factors={"colour": 1.0}),
        lambda: "adam(factors={'colour': 1.0})",
    ],
)
def test_unknown_kinds_of_parameters_are_refused(make_optimizer):
    X, y = make_data()
    net = MLP(SIZES, output="softmax", seed=0)
    with pytest.raises(ValueError, match=r"factors.*colour"):
        net.fit(X, y, optimizer=make_optimizer())
    with pytest.raises(ValueError, match=r"factors.*colour"):
        MLPClassifier(solver=make_optimizer()).fit(X, y)


def test_sequences_of_no_steps_are_refused():
    net = fastmlp.RNN([2, 3, 1], seed=0)
    X, y = np.zeros((4, 0, 2)), np.zeros(4)
    before = net.theta.copy()
    for call in (lambda: net.fit(X, y), lambda: net.predict(X), lambda: net.loss(X, y)):
        with pytest.raises(ValueError, match="X must"):
            call()
    X = np.zeros((4, 3, 2))
    for lengths in ([1, 0, 3, 2], [1, 4, 1, 1], [1, 2, 3], [1.5, 2, 2, 2]):
        with pytest.raises((ValueError, TypeError), match="lengths must"):
            net.fit(X, y, lengths=lengths)
    assert_array_equal(net.theta, before)
    with pytest.raises(ValueError, match="lengths must be None"):
        MLP([2, 3, 1]).fit(np.zeros((4, 2)), y, lengths=[1, 1, 1, 1])


def test_a_recurrent_network_refuses_to_be_standardized():
    net = fastmlp.RNN([2, 3, 1], seed=0)
    with pytest.raises(ValueError, match="standardize must be False for a recurrent network"):
        net.fit(np.zeros((4, 3, 2)), np.zeros(4), standardize=True)
