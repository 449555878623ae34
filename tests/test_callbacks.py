"""Early stopping, models in files and metrics, as callbacks of fits."""

import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastmlp
from fastmlp import (
    LBFGS,
    MLP,
    RNN,
    SGD,
    Adam,
    EarlyStopping,
    ExponentialDecay,
    Metrics,
    ModelCheckpoint,
    Status,
    Trace,
    fit_many,
    fit_parts,
    minimize,
)

RNG = np.random.default_rng(7)
X = RNG.normal(size=(60, 4)).astype("float32")
# Noise that a network soon learns by heart, so that validation losses rise.
Y = (np.sin(2 * X[:, 0]) + RNG.normal(size=60)).astype("float32")
TRAINING, HELD_OUT = (X[:40], Y[:40]), (X[40:], Y[40:])
LABELS = (X[:, 0] + 0.5 * RNG.normal(size=60) > 0).astype(int)


def network(**options):
    return MLP([4, 32, 1], seed=0, **options)


def fitted(net=None, data=TRAINING, **options):
    net = network() if net is None else net
    given = {"epochs": 60, "seed": 0, "validation_data": HELD_OUT, "batch_size": 8} | options
    return net, net.fit(*data, **given)


def seen_epochs(**options):
    """What a fit without early stopping goes through: epochs, records and what was learned."""
    seen = []
    fitted(callbacks=lambda p: seen.append((p.record, p.network.learned())), **options)
    return seen


def as_keras_stops(values, patience, min_delta=0.0, largest=False):
    """Index of the last epoch, and of the best one: EarlyStopping.on_epoch_end of Keras 3."""
    sign = -1 if largest else 1
    best, best_at, wait = math.inf, None, 0
    for i, value in enumerate(values):
        wait += 1
        if sign * value + min_delta < best:
            best, best_at, wait = sign * value, i, 0
            continue
        if wait >= patience:
            return i, best_at
    return len(values) - 1, best_at


ROUGH = {"optimizer": SGD(0.05, momentum=0.9)}


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        (Adam(0.01), {"patience": 3}),
        (Adam(0.01), {"patience": 1}),
        (Adam(0.01), {"patience": 5, "min_delta": 0.01}),
        (Adam(0.01), {"patience": 2, "monitor": "objective", "min_delta": 0.02}),
        (SGD(0.05, momentum=0.9), {"patience": 4}),
        (SGD(0.05, momentum=0.9), {"patience": 2, "monitor": "objective"}),
        ([Adam(0.01, epochs=3), SGD(0.02, epochs=50)], {"patience": 4}),
    ],
)
@pytest.mark.parametrize("standardize", [False, True])
def test_a_fit_stops_and_goes_back_as_kerass(optimizer, settings, standardize):
    options = {"optimizer": optimizer, "standardize": standardize}
    seen = seen_epochs(**options)
    monitor = settings.get("monitor", "validation_loss")
    values = [getattr(record, monitor) for record, _ in seen]
    last, best = as_keras_stops(values, settings["patience"], settings.get("min_delta", 0.0))
    assert best < last < len(seen) - 1  # it does stop before its end, and not at its best

    stopping = EarlyStopping(**settings)
    net, result = fitted(callbacks=stopping, **options)
    assert result.status is Status.STOPPED
    assert result.n_iter == seen[last][0].epoch
    assert (stopping.best_epoch, stopping.best) == (seen[best][0].epoch, values[best])
    assert_array_equal(net.theta, seen[best][1][0])
    assert_array_equal(result.theta, net.theta)
    assert f"no better {monitor} in {settings['patience']} epochs" in result.message
    assert f"back at epoch {stopping.best_epoch}, the best: {monitor}" in result.message
    if not standardize:
        assert result.loss == net.loss(*TRAINING)

    net, result = fitted(callbacks=EarlyStopping(**settings, restore_best=False), **options)
    assert_array_equal(net.theta, seen[last][1][0])
    assert "back at" not in result.message


@pytest.mark.parametrize("ends", ["solver", "budget", "target", "interrupted", "callback"])
def test_the_best_is_restored_however_a_fit_ends(ends):
    options = {"optimizer": Adam(0.01), "epochs": 12}
    if ends == "solver":
        options |= {"optimizer": LBFGS(), "batch_size": "auto", "epochs": 25}
    others = []
    if ends in ("interrupted", "callback"):
        error = KeyboardInterrupt if ends == "interrupted" else StopIteration

        def stop(progress):
            if progress.epoch == 11:
                raise error

        others = [stop]
    if ends == "target":
        options["target_loss"] = seen_epochs(**options)[-2][0].objective
    seen = seen_epochs(**options)
    losses = [record.validation_loss for record, _ in seen]
    best = int(np.argmin(losses))
    assert best < len(losses) - 2
    net, result = fitted(callbacks=[EarlyStopping(patience=100), *others], **options)
    assert result.status != Status.STOPPED or ends == "callback"
    assert_array_equal(net.theta, seen[best][1][0])
    assert result.loss == net.loss(*TRAINING)
    assert result.trace[-1].epoch > seen[best][0].epoch


def test_statistics_of_batch_norm_go_back_too():
    net, _ = fitted(network(norm="batch"), callbacks=EarlyStopping(patience=3))
    seen = []
    fitted(network(norm="batch"), callbacks=lambda p: seen.append(p.network.learned()))
    (place,) = [i for i, (theta, _) in enumerate(seen) if np.array_equal(theta, net.theta)]
    assert_array_equal(net._statistics, seen[place][1])
    assert not np.array_equal(seen[-1][1], seen[place][1])


def test_to_watch_changes_no_bit():
    plain, _ = fitted()
    watched, _ = fitted(
        callbacks=[EarlyStopping(patience=10**6, restore_best=False), Metrics(largest_error)]
    )
    assert_array_equal(watched.theta, plain.theta)


def test_one_object_watches_many_fits():
    """Also at the same time: each fit has a state of its own."""
    nets = [MLP([4, 32, 1], seed=seed) for seed in range(4)]
    alone = [net.copy() for net in nets]
    options = {"epochs": 40, "validation_data": HELD_OUT, "batch_size": 8}
    stopping = EarlyStopping(patience=3)
    results = fit_many(nets, *TRAINING, seeds=[0, 1, 2, 3], callbacks=stopping, **options)
    for seed, (net, result) in enumerate(zip(alone, results, strict=True)):
        one = net.fit(*TRAINING, seed=seed, n_threads=1, callbacks=stopping, **options)
        assert one.message == result.message
        assert_array_equal(one.theta, result.theta)
        assert_array_equal(nets[seed].theta, result.theta)
    assert len({result.n_iter for result in results}) > 1
    best, result = fitted(restarts=3, callbacks=stopping)
    assert result.status is Status.STOPPED
    assert_array_equal(best.theta, result.theta)


def largest_error(y, outputs):
    return np.abs(y - outputs[:, 0]).max()


class Stop(Exception):
    pass


@pytest.mark.parametrize("optimizer", [Adam(0.01), LBFGS()])
def test_a_fit_that_is_taken_up_again_ends_as_one_that_was_not_interrupted(tmp_path, optimizer):
    options = {"optimizer": optimizer, "batch_size": "auto", "epochs": 40}

    def callbacks():
        return [
            EarlyStopping(patience=8),
            Metrics(largest_error),
            ModelCheckpoint(tmp_path / "best.safetensors"),
        ]

    whole = callbacks()
    net, result = fitted(callbacks=whole, **options)
    assert result.status is Status.STOPPED
    path = tmp_path / "fit.checkpoint"
    # At last it is over, and taken up once more.
    for epochs in (whole[0].best_epoch - 1, whole[0].best_epoch + 3, 40, 40):
        taken_up = callbacks()
        again, part = fitted(
            callbacks=taken_up, **{**options, "checkpoint": path, "epochs": epochs}
        )
    assert_array_equal(again.theta, net.theta)
    assert (part.n_iter, part.message, part.loss) == (result.n_iter, result.message, result.loss)
    assert taken_up[1].history == whole[1].history
    assert taken_up[1].epochs == whole[1].epochs
    assert_array_equal(MLP.load(tmp_path / "best.safetensors").theta, net.theta)


def test_parts_stop_and_go_back_too():
    parts = [lambda: (X[:25], Y[:25]), lambda: (X[25:40], Y[25:40])]
    for options in ({"epochs": 60}, {"rounds": 40, "optimizer": Adam(0.02), "epochs": 1}):
        net, seen = network(), []
        common = options | {"validation_data": HELD_OUT, "seed": 0}
        fit_parts(network(), parts, callbacks=lambda p, s=seen: s.append(p.theta.copy()), **common)
        stopping = EarlyStopping(patience=5)
        result = fit_parts(net, parts, callbacks=stopping, **common)
        assert result.status is Status.STOPPED
        offset = 1 if "rounds" in options else 0  # a solver tells of its start, too
        assert_array_equal(net.theta, seen[stopping.best_epoch - offset].astype("float32"))
        assert result.loss == pytest.approx(net.loss(*TRAINING), rel=1e-6)


# What callbacks see


def test_progress_has_the_newest_numbers_by_name():
    seen = []

    def look(progress):
        newest = progress.epoch, progress.objective, progress.validation_loss
        record = progress.record
        assert newest == (record.epoch, record.objective, record.validation_loss)
        assert progress.record == progress.trace[-1]
        assert set(progress.metrics) == {"largest_error"}
        seen.append(progress.metrics["largest_error"])

    metrics = Metrics(largest_error)
    fitted(callbacks=[look, metrics], epochs=3)
    assert metrics.history == {"largest_error": seen}
    assert metrics.epochs == [1, 2, 3]


def test_the_trace_has_the_learning_rate_of_each_epochs_last_update():
    schedule = ExponentialDecay(0.01, rate=0.3)
    stages = [Adam(0.02, epochs=2), SGD(schedule, epochs=4), LBFGS(max_iterations=2)]
    trace = network().fit(*TRAINING, optimizer=stages, batch_size=8, seed=0).trace
    # 40 rows in mini-batches of 8: 5 updates an epoch
    rates = stages[1].learning_rates(0, 20, 5, 20)[4::5]
    expected = [np.nan, 0.02, 0.02, *rates, np.nan, np.nan, np.nan]
    assert_array_equal(trace["learning_rate"], expected)
    assert trace[1].learning_rate == 0.02
    older = Trace.from_array(trace.as_array()[:, :-1])
    assert np.isnan(older["learning_rate"]).all()
    assert_array_equal(older["objective"], trace["objective"])


# Metrics


@pytest.mark.parametrize(
    ("output", "loss", "targets", "names"),
    [
        ("softmax", "auto", "labels", ["accuracy", "neg_log_loss", "roc_auc", "f1"]),
        ("softmax", "auto", "chances", ["accuracy"]),
        ("sigmoid", "auto", "labels", ["accuracy", "neg_log_loss", "roc_auc", "f1"]),
        ("identity", "hinge", "signs", ["accuracy", "roc_auc"]),
        ("identity", "auto", "numbers", ["r2", "neg_root_mean_squared_error"]),
    ],
)
def test_scorers_say_what_scikit_learn_says_of_the_predictions(output, loss, targets, names):
    measures = pytest.importorskip("sklearn.metrics")
    labels = LABELS.astype("float32")
    y = {
        "labels": LABELS,
        "chances": np.column_stack([1 - labels, labels]),
        "signs": 2 * LABELS - 1,
        "numbers": Y,
    }[targets]
    net = MLP([4, 8, 2 if output == "softmax" else 1], output=output, seed=0)
    metrics = Metrics(names)
    held_out = X[40:], y[40:]
    net.fit(
        X[:40], y[:40], loss=loss, epochs=2, seed=0, validation_data=held_out, callbacks=metrics
    )
    outputs = net.predict(X[40:])
    true = LABELS[40:] if targets != "numbers" else Y[40:]
    chance = outputs[:, -1]
    guess = outputs.argmax(axis=1) if output == "softmax" else (chance > (loss != "hinge") / 2) + 0
    both = outputs if output == "softmax" else np.column_stack([1 - chance, chance])
    expected = {
        "accuracy": lambda: measures.accuracy_score(true, guess),
        "neg_log_loss": lambda: -measures.log_loss(true, both),
        "roc_auc": lambda: measures.roc_auc_score(true, chance),
        "f1": lambda: measures.f1_score(true, guess),
        "r2": lambda: measures.r2_score(true, chance),
        "neg_root_mean_squared_error": lambda: -measures.root_mean_squared_error(true, chance),
    }
    for name in names:
        assert metrics.history[name][-1] == pytest.approx(expected[name](), rel=1e-6)


def test_weights_go_to_scorers_and_data_may_be_others():
    measures = pytest.importorskip("sklearn.metrics")
    weights = np.linspace(1, 3, 20)
    net, metrics = network(), Metrics({"fit": "r2"}, data=(*HELD_OUT, weights))
    net.fit(*TRAINING, epochs=1, seed=0, callbacks=metrics)
    expected = measures.r2_score(HELD_OUT[1], net.predict(HELD_OUT[0]), sample_weight=weights)
    assert metrics.history["fit"] == [pytest.approx(expected, rel=1e-6)]


def test_a_metric_can_be_monitored_before_or_after_it_in_the_list():
    pytest.importorskip("sklearn")
    data = X[:40], LABELS[:40]
    held_out = {"validation_data": (X[40:], LABELS[40:])}

    def net():
        return MLP([4, 32, 2], output="softmax", seed=0)

    metrics = Metrics("accuracy")
    fitted(net(), data, callbacks=metrics, **held_out)
    last, best = as_keras_stops(metrics.history["accuracy"], 6, largest=True)
    for order in (slice(None), slice(None, None, -1)):
        stopping = EarlyStopping(patience=6, monitor="accuracy")
        both = [Metrics("accuracy"), stopping][order]
        _, result = fitted(net(), data, callbacks=both, **held_out)
        assert (result.n_iter, stopping.best_epoch) == (last + 1, best + 1)
    stopping = EarlyStopping(patience=3, monitor="largest_error", mode="min")
    _, result = fitted(callbacks=[stopping, Metrics(largest_error)])
    assert result.status is Status.STOPPED


def test_metrics_of_sequences_are_of_their_outputs():
    rows = RNG.normal(size=(12, 5, 2)).astype("float32")
    y, lengths = rows[:, :, 0].cumsum(axis=1), np.array([5, 3] * 6)
    shapes = []

    def note(y, outputs):
        shapes.append((y.shape, outputs.shape))
        return 0.0

    held_out = rows, y, None, lengths
    RNN([2, 4, 1], sequence="all", seed=0).fit(
        rows, y, lengths=lengths, epochs=1, validation_data=held_out, callbacks=Metrics(note)
    )
    assert shapes == [((12, 5), (12, 5, 1))]


# Models in files


def test_the_best_model_is_in_the_file(tmp_path):
    path = tmp_path / "best.safetensors"
    for standardize in (False, True):
        net, _ = fitted(
            callbacks=[EarlyStopping(patience=3), ModelCheckpoint(path)], standardize=standardize
        )
        assert_array_equal(MLP.load(path).theta, net.theta)


def test_every_epoch_has_a_file_if_its_name_says_so(tmp_path):
    thetas = []
    keep = ModelCheckpoint(tmp_path / "{epoch:02d}-{validation_loss:.3f}.net", best_only=False)
    _, result = fitted(callbacks=[keep, lambda p: thetas.append(p.theta.copy())], epochs=3)
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == [
        f"{record.epoch:02d}-{record.validation_loss:.3f}.net" for record in list(result.trace)[1:]
    ]
    for path, theta in zip(files, thetas, strict=True):
        assert_array_equal(MLP.load(path).theta, theta)


def test_without_validation_data_every_epoch_can_be_kept(tmp_path):
    path = tmp_path / "net"
    net, _ = fitted(
        callbacks=ModelCheckpoint(path, best_only=False), validation_data=None, epochs=2
    )
    assert_array_equal(MLP.load(path).theta, net.theta)


# What is refused


def not_a_number(y, outputs):
    return outputs


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping(patience=0), ValueError, "patience must be an integer of at least"),
        (lambda: EarlyStopping(min_delta=-1), ValueError, "min_delta must be a number of at least"),
        (lambda: EarlyStopping(mode="best"), ValueError, "mode must be one of auto, min, max"),
        (lambda: EarlyStopping(monitor=3), TypeError, "monitor must be the name of a loss or"),
        (lambda: EarlyStopping(restore_best=1), TypeError, "restore_best must be True or False"),
        (
            lambda: EarlyStopping(restore_best_weights=True),
            TypeError,
            r"did you mean restore_best\?$",
        ),
        (lambda: ModelCheckpoint(3), TypeError, "path must be a path, got 3"),
        (lambda: ModelCheckpoint("{"), ValueError, "path must have names of values in its braces"),
        (
            lambda: ModelCheckpoint("a", save_best_only=True),
            TypeError,
            r"did you mean best_only\?$",
        ),
        (lambda: Metrics([]), ValueError, "metrics must be at least one"),
        (lambda: Metrics([3]), TypeError, "metrics must be names of scorers .*, got 3"),
        (lambda: Metrics(np.sum, data=3), ValueError, r"data must be \(X, y\) or .*, got int"),
        (
            lambda: Metrics([largest_error, largest_error]),
            ValueError,
            "metrics must differ in their names, got 'largest_error' twice",
        ),
    ],
)
def test_bad_settings_are_told(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_unknown_scorers_get_the_nearest_one():
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match=r"got 'acuracy'; did you mean 'accuracy'\?$"):
        Metrics("acuracy")


@pytest.mark.parametrize(
    ("callbacks", "options", "error", "message"),
    [
        (
            EarlyStopping(monitor="val_loss"),
            {},
            ValueError,
            "monitor must be one of objective, validation_loss, got 'val_loss'; did you mean "
            r"'validation_loss'\?$",
        ),
        (
            EarlyStopping(),
            {"validation_data": None},
            ValueError,
            "monitor must be 'objective', or a metric, where a fit has no validation_data, got "
            "'validation_loss'",
        ),
        (
            [EarlyStopping(monitor="largest_error"), Metrics(largest_error)],
            {},
            ValueError,
            "mode must be 'min' or 'max' for the metric 'largest_error', .*, got 'auto'",
        ),
        (
            ModelCheckpoint("net-{epochs}"),
            {},
            ValueError,
            r"path must have epoch, .* in its braces, got 'epochs'; did you mean 'epoch'\?$",
        ),
        (ModelCheckpoint("no/folder/net"), {}, FileNotFoundError, "path"),
        (Metrics(largest_error), {"validation_data": None}, ValueError, "Metrics need data to"),
        (
            [Metrics(largest_error), Metrics(largest_error)],
            {},
            ValueError,
            "metrics must differ in their names, got 'largest_error' twice",
        ),
        (
            EarlyStopping,
            {},
            TypeError,
            r"callbacks must be objects, got the class EarlyStopping: call it, as in "
            r"callbacks=EarlyStopping\(\.\.\.\)",
        ),
        ([3], {}, TypeError, r"callbacks must be a sequence of callables, got \[3\]"),
    ],
)
def test_what_a_fit_cannot_do_is_told_before_it_changes_anything(
    callbacks, options, error, message
):
    net = network()
    before = net.theta.copy()
    with pytest.raises(error, match=message):
        fitted(net, callbacks=callbacks, **options)
    assert_array_equal(net.theta, before)


def test_a_metric_that_gives_no_number_is_told():
    with pytest.raises(TypeError, match="the metric 'not_a_number' must give a number, got"):
        fitted(callbacks=Metrics(not_a_number))


def test_others_say_what_they_have_instead():
    with pytest.raises(TypeError, match="functions of a Progress in minimize, got EarlyStopping"):
        minimize(lambda x: (float(x @ x), 2 * x), [1.0], callbacks=EarlyStopping())
    pytest.importorskip("sklearn")
    estimator = fastmlp.MLPRegressor(callbacks=[EarlyStopping()])
    with pytest.raises(TypeError, match=r"for an estimator, got EarlyStopping: .*early_stopping"):
        estimator.fit(*TRAINING)


def test_callbacks_can_be_pickled():
    for one in (EarlyStopping(patience=3), ModelCheckpoint("a"), Metrics(largest_error)):
        assert type(pickle.loads(pickle.dumps(one))) is type(one)
