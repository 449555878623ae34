"""partial_fit, chunk after chunk: what a call keeps of the one before saves time and no more."""

import copy
import pickle
import signal
import threading

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from marks import INTERPRETED
from scipy import sparse
from sklearn.base import clone

from fastmlp import MLP, SGD, Adam, AdamW, CosineAnnealing, FlatCosine, MLPClassifier, MLPRegressor
from fastmlp.objective import Objective
from fastmlp.result import Trace
from fastmlp.sklearn import continuation, run
from fastmlp.sweep import Sweep

ROWS = 20 if INTERPRETED else 60
N_CHUNKS = 5


def chunks(dtype=np.float64, n_chunks=N_CHUNKS):
    """Chunks of as many rows: X, and numbers that a small network learns."""
    rng = np.random.default_rng(0)
    for _ in range(n_chunks):
        X = rng.normal(size=(ROWS, 4)).astype(dtype)
        yield X, np.sin(2 * X[:, 0]) + X[:, 1]


def small(kind=MLPRegressor, **params):
    return kind(**({"hidden_layer_sizes": (6,), "batch_size": 16, "random_state": 0} | params))


def learned(estimator):
    """All that a fit leaves, but for seconds."""
    trace = estimator.trace_.as_array()[:, 1:]
    names = ("n_iter_", "t_", "loss_", "best_loss_", "learning_rate_", "_no_improvement_count")
    return [
        estimator.network_.theta.tobytes(),
        [array.tobytes() for array in (*estimator.coefs_, *estimator.intercepts_)],
        trace.tobytes(),
        estimator.loss_curve_,
        {name: getattr(estimator, name) for name in names},
        estimator._shuffle,
        estimator._states[0]["optimizer"]["n_updates"],
    ]


def as_new(estimator):
    """The estimator without anything that calls leave to the next one, which no pickle has."""
    return pickle.loads(pickle.dumps(estimator))


def test_chunks_are_trained_on_as_adam_is_written_down():
    """Against the paper's algorithm in NumPy, with gradients of mini-batches from `MLP`."""
    regressor = small(shuffle=False, alpha=0.1, learning_rate_init=0.01)
    first, second = np.zeros((2, 6 * 5 + 7))
    n_updates, net = 0, None
    for X, y in chunks():
        if net is None:
            net = clone(regressor).initialize(X, y).network_
        for start in range(0, ROWS, 16):
            rows = slice(start, start + 16)
            _, gradient = net.loss_and_grad(X[rows], y[rows], l2=0.1 / ROWS)
            n_updates += 1
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            step = first / (1 - 0.9**n_updates)
            net.theta[:] -= 0.01 * step / (np.sqrt(second / (1 - 0.999**n_updates)) + 1e-8)
        regressor.partial_fit(X, y)
        np.testing.assert_allclose(regressor.network_.theta, net.theta, rtol=1e-9, atol=1e-12)


def test_chunks_have_the_bits_of_a_fit_of_a_network_on_each():
    """Gradient descent has no state, so an epoch of `MLP.fit` on each chunk is the same."""
    regressor = small(solver="sgd", momentum=0.0, shuffle=False, alpha=0.5)
    net = None
    for X, y in chunks():
        if net is None:
            net = clone(regressor).initialize(X, y).network_
        options = {"batch_size": 16, "shuffle": False, "l2": 0.5 / ROWS, "epochs": 1}
        net.fit(X, y, optimizer=SGD(0.001), **options)
        regressor.partial_fit(X, y)
        assert np.array_equal(regressor.network_.theta, net.theta)
    assert regressor.t_ == N_CHUNKS * ROWS
    assert len(regressor.loss_curve_) == N_CHUNKS


WAYS = {
    "adam": {},
    "Nesterov's momentum": {"solver": "sgd"},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "no state": {"solver": "sgd", "momentum": 0.0},
    "adaptive rate": {"learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 10.0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "schedule": {"learning_rate": CosineAnnealing(0.01, period=3)},
    "weight decay": {"solver": AdamW(weight_decay=0.1)},
    "schedule of weight decay": {"solver": AdamW(weight_decay=FlatCosine(0.1))},
    "no patience": {"n_iter_no_change": 1, "tol": 10.0},
    "clip_norm": {"clip_norm": 0.01},
    "standardize": {"standardize": True},
    "dropout": {"dropout": 0.2},
    "schedule of dropout": {"dropout": FlatCosine(0.2)},
    "batch norm": {"norm": "batch"},
    "layer norm": {"norm": "layer"},
    "members": {"members": 2},
    "init by data": {"init": "data"},
    "no shuffling": {"shuffle": False},
    "a batch a chunk": {"batch_size": ROWS},
    "float32": {},
    "lists": {"hidden_layer_sizes": [5, 3], "activation": ["tanh", "relu"]},
    "two threads": {"n_threads": 2},
    "poisson": {"loss": "poisson"},
    "quantile": {"loss": "quantile(0.9)"},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_call_keeps_changes_no_bit(way):
    """As of estimators that were pickled after every call, and so have kept nothing."""
    kept, new = small(**WAYS[way]), small(**WAYS[way])
    for X, y in chunks(np.float32 if way == "float32" else np.float64):
        y = np.floor(np.abs(y)) if way == "poisson" else y
        kept.partial_fit(X, y)
        new = as_new(new).partial_fit(X, y)
        assert learned(kept) == learned(new)


TARGETS = {
    "two classes": lambda y: (y > 0).astype(int),
    "booleans": lambda y: y > 0,
    "three classes": lambda y: np.digitize(y, [-0.5, 0.5]),
    "strings": lambda y: np.array(["no", "yes"])[(y > 0).astype(int)],
    "labels": lambda y: np.column_stack([y > 0, y > 1]).astype(int),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_what_a_call_keeps_changes_no_bit_for_classes(target, loss):
    kept, new = small(MLPClassifier, loss=loss), small(MLPClassifier, loss=loss)
    known = [0, 1] if target == "labels" else np.unique(TARGETS[target](np.array([-1.0, 0.2, 1])))
    for X, y in chunks():
        labels = TARGETS[target](y)
        kept.partial_fit(X, labels, classes=known)
        new = as_new(new).partial_fit(X, labels, classes=known)
        assert learned(kept) == learned(new)
        assert np.array_equal(kept.predict_proba(X), new.predict_proba(X))


@pytest.mark.parametrize("norm", [None, "layer"])
def test_weights_containers_and_sizes_may_change_from_chunk_to_chunk(norm):
    kept, new = (small(batch_size="auto", norm=norm, alpha=0.1) for _ in range(2))
    rng = np.random.default_rng(1)
    rows = (ROWS, 1, ROWS, ROWS, 7, ROWS, 2)
    for i, ((X, y), n_rows) in enumerate(zip(chunks(n_chunks=len(rows)), rows, strict=True)):
        X, y = X[:n_rows], y[:n_rows]
        if i == 3:
            X = sparse.csr_array(X)
        weights = rng.uniform(1, 2, n_rows) if i > 1 else None
        kept.partial_fit(X, y, weights)
        new = as_new(new).partial_fit(X, y, weights)
        assert learned(kept) == learned(new)


def test_what_is_changed_between_calls_counts():
    """Parameters, lists that are changed in place, and weights, by hand in every way."""
    changes = [
        lambda e: e,
        lambda e: e.set_params(learning_rate_init=0.1),
        lambda e: e.set_params(alpha=1.0, batch_size=5),
        lambda e: e.activation.__setitem__(0, "tanh"),  # a network keeps its own
        lambda e: e.set_params(solver=Adam(0.02)),
        lambda e: e.coefs_.__setitem__(0, 2 * e.coefs_[0]),
        lambda e: e.coefs_[1].fill(0.5),
        lambda e: setattr(e, "intercepts_", [one + 1 for one in e.intercepts_]),
        lambda e: e.network_.theta.__imul__(0.5),
        lambda e: e.initialize(*next(chunks())),
        lambda e: e.set_params(n_iter_no_change=1, tol=10.0).fit(*next(chunks())),
    ]
    kept, new = (small(activation=["relu"]) for _ in range(2))
    for (X, y), change in zip(chunks(n_chunks=len(changes)), changes, strict=True):
        change(kept)
        kept.partial_fit(X, y)
        change(new)
        new = as_new(new).partial_fit(X, y)
        assert learned(kept) == learned(new)
    kept.hidden_layer_sizes = [6]
    kept.partial_fit(X, y)
    kept.hidden_layer_sizes[0] = 7
    with pytest.raises(ValueError, match="hidden_layer_sizes, features and outputs must stay"):
        kept.partial_fit(X, y)


BAD = {
    "NaN in X": lambda X, y: (np.where(X[3, 2] == X, np.nan, X), y),
    "infinity in X": lambda X, y: (np.where(X[3, 2] == X, -np.inf, X), y),
    "NaN in y": lambda X, y: (X, np.where(y == y[3], np.nan, y)),
    "infinity in y": lambda X, y: (X, np.where(y == y[3], np.inf, y)),
    "too large": lambda X, y: (1e200 * X, 1e300 * y),
    "columns": lambda X, y: (X[:, :3], y),
    "rows": lambda X, y: (X, y[1:]),
    "outputs": lambda X, y: (X, np.column_stack([y, y])),
    "one dimension": lambda X, y: (X[0], y),
    "no rows": lambda X, y: (X[:0], y[:0]),
    "text": lambda X, y: (X, np.full(len(y), "a")),
    "a mask": lambda X, y: (np.ma.masked_greater(X, 0), y),
}


@pytest.mark.parametrize(
    ("kind", "bad"),
    [(MLPRegressor, bad) for bad in BAD]
    + [(MLPClassifier, bad) for bad in BAD if bad != "too large"],  # no logit is
)
def test_a_bad_chunk_is_refused_as_in_a_first_call_and_changes_nothing(kind, bad):
    X, y = next(chunks())
    is_classifier = kind is MLPClassifier
    y = (y > 0).astype(int) if is_classifier else y
    given = {"classes": [0, 1]} if is_classifier else {}
    estimator = small(kind).partial_fit(X, y, **given).partial_fit(X, y)
    as_it_was = as_new(estimator)
    errors = []
    for one in (estimator, as_it_was):
        with pytest.raises((ValueError, TypeError)) as caught:
            one.partial_fit(*BAD[bad](X, y))
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert learned(estimator) == learned(as_it_was)
    assert learned(estimator.partial_fit(X, y)) == learned(as_it_was.partial_fit(X, y))


def test_an_unknown_class_is_refused_in_any_call():
    X, y = next(chunks())
    y = (y > 0).astype(int)
    classifier = small(MLPClassifier).partial_fit(X, y, classes=[0, 1]).partial_fit(X, y)
    for wrong in (y + 1, y - 1):
        with pytest.raises(ValueError, match="has classes not in"):
            classifier.partial_fit(X, wrong)
    with pytest.raises(ValueError, match="not the same as on last call"):
        classifier.partial_fit(X, y, classes=[0, 2])


def test_calls_make_no_objective_and_no_loop_after_the_first(monkeypatch):
    made = []
    for kind in (Objective, Sweep, run.Run):
        begin = kind.__init__

        def noted(self, *args, _kind=kind, _begin=begin, **kwargs):
            made.append(_kind.__name__)
            _begin(self, *args, **kwargs)

        monkeypatch.setattr(kind, "__init__", noted)
    regressor = small()
    for X, y in chunks():
        regressor.partial_fit(X, y)
    assert made.count("Sweep") == made.count("Objective") == made.count("Run") == 1
    made.clear()
    scheduled = small(learning_rate=CosineAnnealing(0.01, period=3), dropout=0.1)
    for X, y in chunks():
        scheduled.partial_fit(X, y, np.linspace(1, 2, ROWS))
    assert made.count("Sweep") == 1, "other weights, and so other penalties, need no other loop"
    assert made.count("Run") == N_CHUNKS


def test_no_call_goes_through_its_rows_for_a_loss(monkeypatch):
    """The loss of an epoch is the mean over its mini-batches, as it went."""

    def value(self, theta=None):
        raise AssertionError("a pass over all rows")

    monkeypatch.setattr(Objective, "value", value)
    regressor = small(clip_norm=1.0)
    for X, y in chunks():
        regressor.partial_fit(X, y)
    small(max_iter=9, n_iter_no_change=1, tol=10.0).fit(X, y)
    assert regressor.loss_ == regressor.loss_curve_[-1]


def test_curves_grow_in_place_and_copies_have_their_own():
    X, y = next(chunks())
    regressor = small().partial_fit(X, y)
    curve, trace = regressor.loss_curve_, regressor.trace_
    for other in (copy.copy(regressor), copy.deepcopy(regressor), as_new(regressor)):
        other.partial_fit(X, y)
        assert len(other.loss_curve_) == len(other.trace_) == 2
    assert len(curve) == len(trace) == 1
    for _ in range(3):
        regressor.partial_fit(X, y)
    assert regressor.loss_curve_ is curve
    assert regressor.trace_ is trace
    assert len(curve) == 4
    assert list(trace["epoch"]) == list(trace["data_passes"]) == [1, 2, 3, 4]
    assert list(trace["n_grad_evals"]) == [-(-ROWS // 16) * epoch for epoch in (1, 2, 3, 4)]
    assert (np.diff(trace["seconds"]) > 0).all()
    assert trace["objective"].tolist() == curve


def test_networks_that_were_handed_out_stay_as_they_are():
    X, y = next(chunks())
    regressor = small().partial_fit(X, y)
    net, coefs = regressor.network_, regressor.coefs_
    before = net.theta.copy()
    regressor.partial_fit(X, y)
    assert np.array_equal(net.theta, before)
    assert all(one is other for one, other in zip(coefs, net.weights, strict=True))
    assert not np.array_equal(regressor.network_.theta, before)


@pytest.mark.parametrize("where", ["callback", "end"])
def test_a_call_that_fails_takes_back_what_curves_have_grown_by(monkeypatch, where):
    X, y = next(chunks())
    regressor = small(callbacks=[]).partial_fit(X, y).partial_fit(X, y)
    before, curve = learned(regressor), regressor.loss_curve_

    def fail(*_):
        raise RuntimeError("not now")

    regressor.callbacks.append(fail if where == "callback" else print)
    with monkeypatch.context() as patched:
        patched.setattr(run.Run, "end_callbacks", fail)
        with pytest.raises(RuntimeError, match="not now"):
            regressor.partial_fit(X, y)
    assert learned(regressor) == before
    assert regressor.loss_curve_ is curve
    regressor.callbacks.clear()
    expected = as_new(regressor).partial_fit(X, y)
    assert learned(regressor.partial_fit(X, y)) == learned(expected)


@pytest.mark.skipif(INTERPRETED, reason="takes long in the interpreter")
def test_other_threads_predict_by_what_a_call_has_ended_with():
    """Each prediction is of the network before a call or after it, and none changes the fit."""
    X, y = next(chunks())
    alone = small().partial_fit(X, y)
    right = {alone.predict(X).tobytes()}
    for _ in range(300):
        right.add(alone.partial_fit(X, y).predict(X).tobytes())
    watched = small().partial_fit(X, y)
    seen, is_over = [], threading.Event()

    def predict():
        while not is_over.is_set():
            seen.append(watched.predict(X).tobytes())

    thread = threading.Thread(target=predict)
    thread.start()
    for _ in range(300):
        watched.partial_fit(X, y)
    is_over.set()
    thread.join()
    assert learned(watched) == learned(alone)
    assert set(seen) <= right
    assert seen


def test_ctrl_c_lets_a_call_come_to_its_end(monkeypatch):
    X, y = next(chunks())
    regressor, other = small().partial_fit(X, y), small().partial_fit(X, y)
    signals = []

    def interrupted(function):
        def call(*args):
            if signals:
                signal.raise_signal(signals.pop())
            return function(*args)

        return call

    for where, name in (
        (continuation, "random_order"),
        (continuation, "penalty"),
        (Trace, "_go_on"),
    ):
        signals.append(signal.SIGINT)
        monkeypatch.setattr(where, name, interrupted(getattr(where, name)))
        with pytest.warns(UserWarning, match="interrupted by user") as caught:
            regressor.partial_fit(X, y)
        assert caught[0].filename == __file__
        assert learned(regressor) == learned(other.partial_fit(X, y))


def test_probabilities_follow_weights_that_change_in_place():
    X, y = next(chunks())
    for labels in (y > 0, np.digitize(y, [-0.5, 0.5])):
        classifier = small(MLPClassifier).partial_fit(X, labels, classes=np.unique(labels))
        for probabilities in (classifier.predict_proba, classifier.predict_log_proba):
            before = probabilities(X)
            classifier.coefs_[0][:] *= 2
            after = probabilities(X)
            assert not np.array_equal(before, after)
            again = getattr(as_new(classifier), probabilities.__name__)
            assert np.array_equal(after, again(X))


def test_a_network_before_its_output_shares_what_it_has_learned():
    X, _ = next(chunks(np.float32))
    for pieces in ({}, {"norm": "batch", "members": 2}):
        net = MLP([4, 6, 3], output="softmax", seed=0, **pieces)
        raw = net._before_output
        net.theta[:] *= 2
        logits = raw.predict(X, members=True).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        shares = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=1)
        np.testing.assert_allclose(net.predict(X), shares, rtol=1e-5, atol=1e-7)
        assert raw.output == "identity"
        assert net.output == "softmax"
        assert net.copy()._before_output.theta is not raw.theta
