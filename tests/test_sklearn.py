"""MLPClassifier and MLPRegressor: as scikit-learn's where they should be, and beyond."""

import datetime
import json
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
from marks import INTERPRETED, compiled_only
from scipy import sparse
from scipy.special import expit, log_softmax
from sklearn import config_context, neural_network
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, make_scorer, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import _get_feature_names

import fastmlp
from fastmlp import MLP, MLPClassifier, MLPRegressor
from fastmlp.files import load_described, save
from fastmlp.sklearn import run
from fastmlp.solvers.scipy_methods import METHODS
from fastmlp.sources import source
from fastmlp.training import OPTIMIZERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

KINDS = [MLPClassifier, MLPRegressor]
N = 40 if INTERPRETED else 120


def classes(kind="multiclass", n=N, seed=0):
    """Rows, and classes that a small network learns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    if kind == "binary":
        return X, (X[:, 0] * X[:, 1] > 0).astype(int)
    if kind == "multilabel":
        return X, (X[:, :3] + X[:, 1:] > 0).astype(int)
    return X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)


def numbers(n=N, n_outputs=1, seed=0):
    """Rows, and numbers that a small network learns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    Y = np.column_stack([np.sin(X[:, 0] + k) + X[:, 1] for k in range(n_outputs)])
    return X, Y[:, 0] if n_outputs == 1 else Y


def data(kind):
    return classes() if kind is MLPClassifier else numbers()


def small(kind, **params):
    return kind(**({"hidden_layer_sizes": (6,), "max_iter": 8, "random_state": 0} | params))


def theta(estimator):
    return np.concatenate([a.ravel() for a in [*estimator.coefs_, *estimator.intercepts_]])


# The same as scikit-learn's


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("problem", ["binary", "multiclass", "multilabel", "numbers", "poisson"])
def test_it_goes_scikit_learns_way_to_round_off(solver, problem):
    """With all rows in a batch the penalty is the same, and shuffling changes nothing.

    Adam's epsilon has another place in scikit-learn: at 1e-12 that cannot be seen.
    """
    X, y = classes(problem) if problem not in ("numbers", "poisson") else numbers()
    kind, params = (
        ("MLPClassifier", {})
        if problem in ("binary", "multiclass", "multilabel")
        else (
            "MLPRegressor",
            {"loss": "poisson"} if problem == "poisson" else {},
        )
    )
    y = np.floor(np.exp(y)) if problem == "poisson" else y
    params |= {"solver": solver, "batch_size": len(X), "alpha": 0.1, "epsilon": 1e-12}
    params |= {"hidden_layer_sizes": (6, 5), "activation": "tanh", "max_iter": 8}
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(X))
    theirs = getattr(neural_network, kind)(**params, random_state=3).fit(X, y, weights)
    ours = getattr(fastmlp, kind)(**params, random_state=3).fit(X, y, weights)
    # L-BFGS multiplies differences of the order of sums by condition numbers.
    np.testing.assert_allclose(theta(ours), theta(theirs), rtol=1e-6, atol=1e-8)
    if solver == "lbfgs":
        np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-6)
    else:
        assert ours.t_ == theirs.t_
        # Theirs adds the penalty before the update, ours after it.
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-4)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_early_stopping_holds_out_scikit_learns_rows(kind):
    X, y = classes("binary") if kind == "MLPClassifier" else numbers()
    params = {"early_stopping": True, "batch_size": 10**6, "max_iter": 6, "random_state": 0}
    params |= {"epsilon": 1e-12}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        theirs = getattr(neural_network, kind)(**params).fit(X, y)
        ours = getattr(fastmlp, kind)(**params).fit(X, y)
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, atol=1e-9)
    np.testing.assert_allclose(theta(ours), theta(theirs), rtol=1e-5, atol=1e-6)


def test_momentum_of_one_is_allowed():
    X, y = numbers()
    params = {"solver": "sgd", "momentum": 1.0, "batch_size": len(X), "max_iter": 4}
    theirs = neural_network.MLPRegressor(**params, random_state=0).fit(X, y)
    ours = MLPRegressor(**params, random_state=0).fit(X, y)
    np.testing.assert_allclose(theta(ours), theta(theirs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_constructors_start_with_scikit_learns_parameters(kind):
    import inspect

    theirs = inspect.signature(getattr(neural_network, kind)).parameters
    ours = inspect.signature(getattr(fastmlp, kind)).parameters
    shared = list(ours.values())[: len(theirs)]
    untyped = [parameter.replace(annotation=parameter.empty) for parameter in shared]
    assert list(map(str, untyped)) == list(map(str, theirs.values()))


# Where scikit-learn's has defects


def test_the_penalty_does_not_depend_on_the_batch_size():
    """Inputs of 0 leave only the penalty to act on the first weights: it shrinks them."""
    n, rate, alpha = 40, 0.1, 2.0
    X, y = np.zeros((n, 3)), np.tile([0.0, 1.0], n // 2)
    params = {"solver": "sgd", "momentum": 0, "learning_rate_init": rate, "alpha": alpha}
    for batch_size, n_updates in ((n, 1), (10, 4), (1, n)):
        regressor = small(MLPRegressor, **params, batch_size=batch_size, max_iter=1)
        start = regressor.initialize(X, y).coefs_[0].copy()
        regressor.fit(X, y)
        shrunk = start * (1 - rate * alpha / n) ** n_updates
        np.testing.assert_allclose(regressor.coefs_[0], shrunk, rtol=1e-12)


def test_several_outputs_have_the_gradient_of_their_loss():
    """Two equal outputs are twice one output, from weights that are equal too."""
    X, y = numbers()
    one = small(MLPRegressor, solver="sgd", alpha=0, batch_size=len(X), max_iter=1)
    two = clone(one).initialize(X, np.column_stack([y, y]))
    one.initialize(X, y)
    for several, single in zip(
        [*two.coefs_, *two.intercepts_], [*one.coefs_, *one.intercepts_], strict=True
    ):
        several[...] = single
    one.partial_fit(X, y)
    two.partial_fit(X, np.column_stack([y, y]))
    np.testing.assert_allclose(two.loss_, 2 * one.loss_, rtol=1e-12)
    np.testing.assert_allclose(two.coefs_[1][:, 0], one.coefs_[1][:, 0], rtol=1e-12)


@pytest.mark.parametrize("solver", ["lbfgs", "bfgs", "conjugate_gradient", "adam", "rmsprop"])
def test_every_solver_has_curves_early_stopping_and_callbacks(solver):
    X, y = numbers()
    seen = []
    regressor = small(
        MLPRegressor,
        solver=solver,
        early_stopping=True,
        n_iter_no_change=3,
        max_iter=500,
        tol=1e-3,
        callbacks=[lambda progress: seen.append(progress.record.epoch)],
    ).fit(X, y)
    n = regressor.n_iter_
    assert 3 < n < 500
    assert len(regressor.loss_curve_) == len(regressor.validation_scores_) == n
    assert len(regressor.trace_) == n
    assert np.isfinite(regressor.trace_["validation_loss"]).all()
    assert (np.diff(regressor.trace_["seconds"]) > 0).all()
    assert set(range(1, n + 1)) <= set(seen)
    assert regressor.best_validation_score_ == max(regressor.validation_scores_)
    assert regressor.best_loss_ is None
    assert regressor.t_ > 0


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_best_weights_come_back(solver):
    X, y = numbers()
    X_val, y_val = numbers(seed=1)
    params = {"learning_rate_init": 0.1, "max_iter": 30, "n_iter_no_change": np.inf}
    regressor = small(MLPRegressor, solver=solver, early_stopping=True, **params)
    regressor.fit(X, y, validation_data=(X_val, y_val))
    assert r2_score(y_val, regressor.predict(X_val)) == pytest.approx(
        regressor.best_validation_score_, rel=1e-12
    )
    assert regressor.best_validation_score_ > regressor.validation_scores_[-1]


def test_without_a_score_the_weights_of_the_least_loss_come_back():
    X, y = numbers()
    params = {"solver": "sgd", "learning_rate_init": 0.5, "shuffle": False, "alpha": 0}
    thetas = []
    regressor = small(
        MLPRegressor, **params, callbacks=[lambda progress: thetas.append(progress.theta.copy())]
    ).fit(X, y)
    best = int(np.argmin(regressor.loss_curve_))
    assert best < len(thetas) - 1, "the last epoch is the best: this shows nothing"
    assert np.array_equal(regressor.network_.theta, thetas[best])
    assert regressor.best_loss_ == regressor.loss_curve_[best]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling"])
def test_partial_fit_goes_on_as_if_fit_had_not_been_interrupted(kind, solver, learning_rate):
    """Same optimizer state, schedule and shuffling: the same bits, also through a pickle."""
    X, y = data(kind)
    params = {"solver": solver, "learning_rate": learning_rate, "batch_size": 16, "max_iter": 4}
    params |= {"learning_rate_init": 0.01}
    whole = small(kind, **params).fit(X, y)
    assert np.argmin(whole.loss_curve_) == 3, "fit went back to an earlier epoch"
    parts = small(kind, **params)
    given = {"classes": np.unique(y)} if kind is MLPClassifier else {}
    for _ in range(4):
        parts.partial_fit(X, y, **given)
        parts = pickle.loads(pickle.dumps(parts))
    assert np.array_equal(theta(parts), theta(whole))
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.t_ == whole.t_
    assert parts.learning_rate_ == whole.learning_rate_


def test_a_schedule_counts_epochs_of_any_length():
    """Batches of other sizes in between do not change how far a schedule in epochs has come."""
    X, y = numbers()
    schedule = fastmlp.StepDecay(0.02, factor=0.5, every=2)
    regressor = small(MLPRegressor, learning_rate=schedule, solver="sgd", batch_size=2)
    rates = []
    for rows in (50, 3, 120 if len(X) >= 120 else 40, 11, 8):
        regressor.partial_fit(X[:rows], y[:rows])
        rates.append(regressor.learning_rate_)
    assert rates == [0.02, 0.01, 0.01, 0.005, 0.005]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_warm_start_goes_on_from_the_optimizers_state(kind, early_stopping):
    X, y = data(kind)
    params = {"batch_size": 16, "early_stopping": early_stopping, "n_iter_no_change": np.inf}
    params |= {"scoring": "loss"}
    whole = small(kind, **params, max_iter=6).fit(X, y)
    parts = small(kind, **params, max_iter=3, warm_start=True).fit(X, y).fit(X, y)
    curve = [-score for score in whole.validation_scores_] if early_stopping else whole.loss_curve_
    assert np.argmin(curve[:3]) == 2
    assert np.argmin(curve) == 5
    assert np.array_equal(theta(parts), theta(whole))
    assert parts.n_iter_ == 3
    assert len(parts.loss_curve_) == 6
    assert list(parts.trace_["epoch"]) == list(range(1, 7))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "solver",
    [
        *(name for name in OPTIMIZERS if name != "scipy"),
        "gradient_descent(line_search='fixed', learning_rate=0.7)",  # goes up, too
        *(f"scipy(method={method!r})" for method in METHODS if method != "TNC"),
    ],
)
def test_many_short_warm_fits_are_one_long_fit(solver, dtype):
    """Every epoch or iteration has the same bits; a fit ends with the best that it has seen."""
    X, y = numbers(n=40)
    params = {"solver": solver, "hidden_layer_sizes": (3,), "batch_size": 16, "alpha": 0.01}
    params |= {"n_iter_no_change": np.inf}
    whole = small(MLPRegressor, **params, max_iter=9).fit(X.astype(dtype), y)
    parts = small(MLPRegressor, **params, max_iter=1, warm_start=True)
    thetas = []
    for _ in range(9):
        parts = pickle.loads(pickle.dumps(parts.fit(X.astype(dtype), y)))
        thetas.append(theta(parts))
    assert len(whole.loss_curve_) > 1
    assert parts.loss_curve_ == whole.loss_curve_
    assert np.array_equal(theta(whole), thetas[np.argmin(whole.loss_curve_)])


@pytest.mark.parametrize("batch_size", [7, 10, 39])
@pytest.mark.parametrize("kind", [fastmlp.NoiseTolerantBFGS, fastmlp.GaussianProcessNewton])
def test_short_fits_take_up_an_epoch_that_ended_in_the_midst_of_the_rows(kind, batch_size):
    """The start and averages take mini-batches, too: an epoch need not end where the rows do."""
    X, y = numbers(n=40)
    params = {"solver": kind(batch_size=batch_size), "hidden_layer_sizes": (3,)}
    whole = small(MLPRegressor, **params, max_iter=6, n_iter_no_change=np.inf).fit(X, y)
    warm = small(MLPRegressor, **params, max_iter=1, warm_start=True)
    chunks = small(MLPRegressor, **params)
    for _ in range(6):
        warm = pickle.loads(pickle.dumps(warm.fit(X, y)))
        chunks = pickle.loads(pickle.dumps(chunks.partial_fit(X, y)))
    assert len(whole.loss_curve_) == 6
    assert warm.loss_curve_ == chunks.loss_curve_ == whole.loss_curve_


@pytest.mark.parametrize("solver", ["lbfgs", "levenberg_marquardt", "scipy"])
@pytest.mark.parametrize("params", [{"early_stopping": True}, {"standardize": True}])
def test_warm_fits_of_some_iterations(solver, params):
    X, y = numbers()
    params |= {"solver": solver, "warm_start": True, "scoring": "loss"}
    whole = small(MLPRegressor, **params, max_iter=6).fit(sparse.csr_array(X), y)
    parts = small(MLPRegressor, **params, max_iter=2)
    for _ in range(3):
        parts.fit(sparse.csr_array(X), y)
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.validation_scores_ == whole.validation_scores_


@pytest.mark.parametrize("solver", ["lbfgs", "bfgs", "conjugate_gradient", "scipy"])
def test_a_warm_start_on_other_data_or_weights_begins_anew(solver, tmp_path):
    """As an estimator from a file, which has the weights and nothing of the solver."""
    X, y = numbers()
    params = {"solver": solver, "warm_start": True, "max_iter": 5}
    for change in ("targets", "rows", "alpha", "weights"):
        estimator = small(MLPRegressor, **params).fit(X, y)
        if change == "weights":
            estimator.coefs_[0] *= 0.9
        estimator.set_params(alpha=0.5 if change == "alpha" else 1e-4)
        estimator.save(tmp_path / "it")
        anew = MLPRegressor.load(tmp_path / "it")
        other = (X[5:] if change == "rows" else X, y[5:] if change == "rows" else y)
        other = (X, y + 1.0) if change == "targets" else other
        assert np.array_equal(theta(estimator.fit(*other)), theta(anew.fit(*other))), change


@pytest.mark.parametrize("kind", [fastmlp.NoiseTolerantBFGS, fastmlp.GaussianProcessNewton])
def test_a_stochastic_solver_takes_the_gradient_of_the_rows_that_it_is_given(kind):
    """Where all rows are one batch it goes on from the last gradient: not from that of others."""
    X, y = numbers()
    y = X @ [1.0, 2.0, 3.0, 0.0]
    params = {"hidden_layer_sizes": (), "solver": kind(batch_size=None), "alpha": 0.0}
    estimator = small(MLPRegressor, **params)
    for _ in range(40):
        estimator.partial_fit(X, y)
    assert np.abs(estimator.predict(X) - y).max() < 1e-3  # no slope is left
    estimator.partial_fit(X, y + 1.0)
    assert np.mean((estimator.predict(X) - y - 1.0) ** 2) < 0.5


def test_a_warm_start_goes_on_from_the_best_epoch_with_the_state_of_then():
    """A solver that changes its arrays in place has others at the end; all rows are one batch."""
    X, y = numbers()
    solver = fastmlp.StochasticLBFGS(batch_size=None, learning_rate=2.0)
    params = {"solver": solver, "warm_start": True, "n_iter_no_change": np.inf}
    long = small(MLPRegressor, **params, max_iter=20).fit(X, y)
    best = int(np.argmin(long.loss_curve_)) + 1
    assert 1 < best < 20
    short = small(MLPRegressor, **params, max_iter=best).fit(X, y)
    for estimator in (long, short):
        estimator.set_params(max_iter=2).fit(X, y)
    assert np.array_equal(theta(long), theta(short))


def test_a_fit_that_fails_changes_nothing_of_what_a_solver_goes_on_from():
    X, y = numbers()
    params = {"solver": "lbfgs", "warm_start": True, "max_iter": 4}
    estimator, other = (small(MLPRegressor, **params).fit(X, y) for _ in range(2))

    def fails(progress):
        raise RuntimeError

    estimator.set_params(callbacks=fails)
    with pytest.raises(RuntimeError):
        estimator.fit(X, y)
    estimator.set_params(callbacks=None)
    assert np.array_equal(theta(estimator.fit(X, y)), theta(other.fit(X, y)))


def test_a_warm_start_has_new_patience():
    X, y = numbers()
    regressor = small(MLPRegressor, tol=1e9, n_iter_no_change=2, max_iter=50, warm_start=True)
    assert regressor.fit(X, y).n_iter_ == regressor.fit(X, y).n_iter_ == 4


def test_a_warm_start_validates_on_rows_it_never_trained_on():
    X, y = numbers()
    X[:, 0] = np.arange(len(X))  # tells rows apart
    held = []

    def scorer(estimator, X, y):
        held.append(frozenset(X[:, 0]))
        return 0.0

    regressor = small(MLPRegressor, early_stopping=True, scoring=scorer, warm_start=True)
    regressor.fit(X, y).fit(X, y)
    assert len(set(held)) == 1


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("problem", ["binary", "multiclass", "multilabel", "numbers"])
def test_early_stopping_takes_rows_without_weight_for_rows_that_are_not_there(problem, container):
    X, y = numbers() if problem == "numbers" else classes(problem)
    kind = MLPRegressor if problem == "numbers" else MLPClassifier
    weights = np.where(np.arange(len(X)) % 3, 1.5, 0.0)
    there = weights > 0
    weighted = small(kind, early_stopping=True).fit(container(X), y, weights)
    alone = small(kind, early_stopping=True).fit(container(X[there]), y[there], weights[there])
    assert weighted.validation_scores_ == alone.validation_scores_
    assert np.array_equal(theta(weighted), theta(alone))


@pytest.mark.parametrize("kind", KINDS)
def test_bagging_of_few_rows_with_early_stopping(kind):
    """As many rows are left with weight as differ in a bootstrap sample: of 20, some 13."""
    X, y = classes("binary", n=20) if kind is MLPClassifier else numbers(n=20)
    bag = BaggingClassifier if kind is MLPClassifier else BaggingRegressor
    member = small(kind, early_stopping=True, max_iter=2, random_state=None)
    for seed in range(2 if INTERPRETED else 10):
        bagged = bag(member, n_estimators=10, random_state=seed).fit(X, y)
        assert np.isfinite(bagged.score(X, y))


def test_the_one_row_of_a_class_that_has_weight_may_be_held_out_or_not():
    X, y = classes("binary")
    weights = np.where((y == 0) | (np.arange(len(y)) == np.argmax(y)), 1.0, 0.0)
    assert weights[y == 1].sum() == 1
    scores = small(MLPClassifier, early_stopping=True).fit(X, y, weights).validation_scores_
    assert np.isfinite(scores).all()


def test_weights_may_be_set_by_hand():
    X, y = numbers()
    regressor = small(MLPRegressor).fit(X, y)
    before = regressor.predict(X)
    regressor.coefs_[1] = 2 * regressor.coefs_[1]
    regressor.intercepts_[1][:] *= 2
    np.testing.assert_allclose(regressor.predict(X), 2 * before, rtol=1e-12)
    again = pickle.loads(pickle.dumps(regressor))
    np.testing.assert_array_equal(again.predict(X), regressor.predict(X))
    regressor.coefs_[0] = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"keep their shapes, got \(2, 2\) for \(4, 6\)"):
        regressor.predict(X)


# Among scikit-learn's tools


@compiled_only
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search_in_processes_and_in_threads(backend):
    X, y = classes()
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__solver": ["lbfgs", "adam"]}
    model = make_pipeline(StandardScaler(), small(MLPClassifier))
    with joblib.parallel_backend(backend, n_jobs=2):
        search = GridSearchCV(model, grid, cv=2, n_jobs=2).fit(X, y)
    alone = GridSearchCV(model, grid, cv=2).fit(X, y)
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(search.cv_results_[name], alone.cv_results_[name])
    assert search.best_score_ > 0.5


def test_cross_validation_and_target_transformation():
    X, y = numbers()
    model = TransformedTargetRegressor(
        small(MLPRegressor, solver="lbfgs", max_iter=60),
        func=np.exp,
        inverse_func=np.log,
        check_inverse=False,
    )
    assert cross_val_score(small(MLPRegressor, solver="lbfgs", max_iter=60), X, y, cv=2).min() > 0.5
    assert model.fit(X, np.log(np.abs(y) + 1)).predict(X).shape == y.shape


@pytest.mark.parametrize(
    "sizes", [np.array([5, 3]), (np.int32(5), np.int64(3)), (5.0, np.float64(3)), range(5, 2, -2)]
)
def test_sizes_may_be_whole_numbers_of_any_type(sizes):
    """As a search for parameters draws them."""
    X, y = numbers()
    estimator = small(MLPRegressor, hidden_layer_sizes=sizes).fit(X, y)
    assert [weights.shape[1] for weights in estimator.coefs_] == [5, 3, 1]


def test_clone_keeps_parameters_that_are_objects():
    given = small(
        MLPClassifier, solver=[fastmlp.Adam(0.01, epochs=2), "lbfgs"], activation=["tanh"]
    )
    again = clone(given)
    assert repr(again) == repr(given)
    X, y = classes()
    assert np.array_equal(theta(given.fit(X, y)), theta(again.fit(X, y)))


@pytest.mark.parametrize("kind", KINDS)
def test_pickle_and_joblib(kind, tmp_path):
    X, y = data(kind)
    estimator = small(kind, standardize=True).fit(X, y)
    joblib.dump(estimator, tmp_path / "it")
    for again in (
        pickle.loads(pickle.dumps(estimator)),
        joblib.load(tmp_path / "it", mmap_mode="r"),
    ):
        assert np.array_equal(again.predict(X), estimator.predict(X))
        assert again.coefs_[0].base is again.network_.theta.base or np.shares_memory(
            again.coefs_[0], again.network_.theta
        )


def test_sample_weights_are_routed_through_a_pipeline():
    X, y = classes("binary")
    weights = np.where(y == 1, 50.0, 1.0)
    with config_context(enable_metadata_routing=True):
        mlp = small(MLPClassifier, solver="lbfgs", max_iter=40)
        mlp.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        model = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), mlp)
        model.fit(X, y, sample_weight=weights)
    alone = small(MLPClassifier, solver="lbfgs", max_iter=40)
    alone.fit(StandardScaler().fit_transform(X), y, weights)
    np.testing.assert_array_equal(theta(model[-1]), theta(alone))


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_transforms_validation_data(kind):
    X, y = data(kind)
    X = X * 100 + 1000
    weights = np.linspace(0.5, 2, 30)
    with config_context(enable_metadata_routing=True):
        mlp = small(kind, early_stopping=True)
        mlp.set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        model = make_pipeline(StandardScaler(), mlp, transform_input=["X_val"])
        model.fit(X[30:], y[30:], X_val=X[:30], y_val=y[:30], sample_weight_val=weights)
    scaler = StandardScaler().fit(X[30:])
    alone = small(kind, early_stopping=True).fit(
        scaler.transform(X[30:]),
        y[30:],
        validation_data=(scaler.transform(X[:30]), y[:30], weights),
    )
    assert model[-1].validation_scores_ == alone.validation_scores_
    np.testing.assert_array_equal(model.predict(X), alone.predict(scaler.transform(X)))


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("kind", KINDS)
def test_frames(library, kind):
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    X, y = data(kind)
    frame = frames.DataFrame({name: X[:, i] for i, name in enumerate("abcd")})
    if _get_feature_names(frame) is None:
        pytest.skip(f"this scikit-learn does not read the names of {library}'s columns")
    estimator = small(kind, early_stopping=True).fit(frame, frames.Series(y))
    assert list(estimator.feature_names_in_) == list("abcd")
    plain = small(kind, early_stopping=True).fit(X, y)
    np.testing.assert_array_equal(estimator.predict(frame), plain.predict(X))
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(
            frame.rename(
                {"a": "z"} if library == "polars" else None,
                **({} if library == "polars" else {"columns": {"a": "z"}}),
            )
        )
    missing = X.copy()
    missing[5, 2] = np.nan
    bad = frames.DataFrame({name: missing[:, i] for i, name in enumerate("abcd")})
    for call in (lambda: estimator.predict(bad), lambda: clone(estimator).fit(bad, y)):
        with pytest.raises(ValueError, match="Input X contains NaN in column 'c', row 5"):
            call()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_read_only_arrays_are_not_copied(dtype, tmp_path, monkeypatch):
    """Nor is one in a mapped file, which as np.memmap would be `Rows`."""
    X, y = numbers()
    path = tmp_path / "X"
    X.astype(dtype).tofile(path)
    mapped = np.asarray(np.memmap(path, dtype, "r", shape=X.shape))
    taken = []

    class Seen(run.Objective):
        def __init__(self, net, X, *arguments, **options):
            super().__init__(net, X, *arguments, **options)
            taken.append(self.samples[0])

    monkeypatch.setattr(run, "Objective", Seen)
    estimator = small(MLPRegressor).fit(mapped, y)
    assert np.shares_memory(taken[0], mapped)
    assert estimator.coefs_[0].dtype == estimator.predict(mapped).dtype == dtype


def test_string_labels():
    X, y = classes()
    names = np.array(["red", "green", "blue"], dtype=object)[y]
    of_names = small(MLPClassifier, early_stopping=True).fit(X, names)
    assert list(of_names.classes_) == ["blue", "green", "red"]
    assert set(of_names.predict(X)) <= set(names)
    assert of_names.score(X, names) == accuracy_score(names, of_names.predict(X))


def python_dates():
    return np.array([datetime.date(2024, month, 1) for month in (1, 2, 3)], object)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([False, True]),
        np.array([3, 5, 9], np.int8),
        np.array([2**63, 2**63 + 1, 2**63 + 2], np.uint64),  # float64 cannot tell them apart
        np.array([1.0, 2.0, 4.0], np.float32),
        np.array(["a", "bc", "d"]),
        np.array(["a", "bc", "d"], object),
        np.array(["a", "bc", "d"], np.dtypes.StringDType()),
        np.array([b"a", b"bc", b"d"]),
        np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "M8[D]"),
        np.array([0, 1, 2**60], "M8[ns]"),
        np.array([1, 2, 5], "m8[s]"),
        np.array([False, True], object),
        np.array([3, 5, 9], object),
        np.array([np.int64(3), np.int64(5), np.int64(9)], object),
        np.array([3, 5, 2**60 + 1], np.longdouble),
        np.array(["a", "b\0"], object),  # a last zero is lost in NumPy's own strings
        python_dates(),
    ],
    ids=lambda labels: f"{labels.dtype} of {type(labels[0]).__name__}",
)
def test_labels_come_back_in_their_kind_and_dtype(labels, tmp_path):
    X, y = classes("binary" if len(labels) == 2 else "multiclass")
    check_labels(X, y, labels[y], labels, tmp_path)


@pytest.mark.parametrize(
    ("held", "dtype", "expected"),
    [
        ([3, 5, 9], "Int64", np.array([3, 5, 9])),
        ([3, 5, 9], "UInt8", np.array([3, 5, 9], np.uint8)),
        ([3.0, 5.0, 9.0], "Float32", np.array([3, 5, 9], np.float32)),
        ([False, True], "boolean", np.array([False, True])),
        (["a", "b", "c"], "string", np.array(["a", "b", "c"], object)),
        (["a", "b", "c"], "category", np.array(["a", "b", "c"], object)),
        ([3, 5, 9], "category", np.array([3, 5, 9])),
        ([False, True], "category", np.array([False, True])),
        (["2024-01", "2024-02", "2024-03"], "datetime64[ns]", None),
        (["2024-01", "2024-02", "2024-03"], "datetime64[us, Europe/Berlin]", None),
    ],
)
def test_labels_that_pandas_holds(held, dtype, expected, tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = classes("binary" if len(held) == 2 else "multiclass")
    series = pandas.Series(held).astype(dtype)
    expected = np.asarray(series) if expected is None else expected
    check_labels(X, y, series[y].reset_index(drop=True), expected, tmp_path)
    missing = pandas.Series([*series, None], dtype=series.dtype)
    with pytest.raises(ValueError, match=f"missing labels, got .* in row {len(held)}|contains NaN"):
        small(MLPClassifier).fit(X[: len(missing)], missing)


def test_bytes_among_objects_keep_a_last_zero():
    X, y = classes("binary")
    digests = np.array([b"a\0", b"b\0"], object)[y]
    classifier = small(MLPClassifier).fit(X, digests)
    assert np.array_equal(theta(classifier), theta(small(MLPClassifier).fit(X, y)))
    assert classifier.score(X, digests) == np.mean(classifier.predict(X) == digests)


def test_labels_that_polars_holds(tmp_path):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    X, y = classes()
    names = np.array(["a", "b", "c"])
    for dtype in (polars.String, polars.Categorical, polars.Enum(list(names))):
        labels = polars.Series(names[y].tolist(), dtype=dtype)
        check_labels(X, y, labels, names.astype(np.asarray(labels).dtype), tmp_path)


def test_labels_are_found_in_another_container_of_the_same_kind():
    X, y = classes()
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    days = np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "M8[D]")
    stamps = np.array([pandas.Timestamp(day) for day in days], object)
    spans = np.array([1, 2, 5], "m8[h]")
    letters = np.array(["a", "b", "c"])
    for kinds in (
        (days, days.astype("M8[ns]"), stamps, np.array([s.to_pydatetime() for s in stamps])),
        (days, python_dates()),
        (spans, spans.astype("m8[ns]"), np.array([pandas.Timedelta(s) for s in spans], object)),
        (letters, letters.astype(object), letters.astype(np.dtypes.StringDType())),
    ):
        for one in kinds:
            given = one[y]
            fitted = small(MLPClassifier).fit(X, given)
            for other in kinds:
                assert fitted.score(X, other[y]) == fitted.score(X, given)
                chunk = small(MLPClassifier).partial_fit(X, given, classes=other)
                chunk.partial_fit(X, other[y], classes=one)
                same = small(MLPClassifier).partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
                assert np.array_equal(theta(chunk), theta(same))


def test_no_number_and_no_moment_with_a_zone_is_a_date():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = classes("binary")
    dates = np.array([0, 10**18], "M8[ns]")
    classifier = small(MLPClassifier).fit(X, dates[y])
    for other in (
        dates.astype(np.int64),
        dates.astype(np.int64).astype("m8[ns]"),
        np.array([pandas.Timestamp(date, tz="UTC") for date in dates], object),
    ):
        with pytest.raises(ValueError, match="`y` has classes not in"):
            classifier.partial_fit(X, other[y])


def check_labels(X, indices, y, expected, tmp_path):
    """Classes, predictions, scores and files, beside a classifier of the numbers of classes."""
    of_numbers = small(MLPClassifier, early_stopping=True).fit(X, indices)
    classifier = small(MLPClassifier, early_stopping=True).fit(X, y)
    classifier.save(tmp_path / "it")
    for one in (classifier, MLPClassifier.load(tmp_path / "it")):
        predicted = one.predict(X)
        for labels in (one.classes_, predicted):
            assert labels.dtype == expected.dtype
            assert {type(label) for label in labels} <= {type(label) for label in expected}
        assert np.array_equal(one.classes_, expected)
        assert np.array_equal(predicted, expected[of_numbers.predict(X)])
        assert one.score(X, y) == of_numbers.score(X, indices)
    chunk = small(MLPClassifier).partial_fit(X, y, classes=expected[::-1].copy())
    assert np.array_equal(chunk.classes_, expected)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.float64])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, sparse.csr_matrix])
def test_multilabel_predictions_are_held_as_the_targets_were(container, dtype, tmp_path):
    X, Y = classes("multilabel")
    classifier = small(MLPClassifier).fit(X, container(Y.astype(dtype)))
    classifier.save(tmp_path / "it")
    for one in (classifier, MLPClassifier.load(tmp_path / "it")):
        found = one.predict(X)
        assert type(found) is type(container(Y))
        assert found.dtype == dtype
        dense = found.toarray() if sparse.issparse(found) else found
        assert np.array_equal(dense, one.predict_proba(X) > 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: np.where(y == 1, None, "a"), "y must not have missing labels, got None"),
        (lambda y: np.where(y == 1, np.datetime64("NaT"), np.datetime64(0, "D")), "missing .*NaT"),
        (lambda y: np.where(y == 1, np.float64("nan"), 1.0), "contains NaN"),
        (lambda y: y + 0.5, "Unknown label type: continuous"),
        (lambda y: np.array([*y[:-1] + 0.5, 1], object), "Unknown label type: continuous"),
        (lambda y: np.array([*y[:-1], "a"], object), "objects of int64, str|objects of int, str"),
        (lambda y: np.column_stack([y, y]), "y must be labels .* got the shape"),
        (lambda y: np.column_stack([y, y]).astype(str), "y must be labels .* got the shape"),
        (lambda y: np.column_stack([y > 0, y > 1]) * 2 - 1, "y must be labels .* got the shape"),
        (lambda y: np.column_stack([y > 0, y > 1]) + 1, "y must be labels .* got the shape"),
        (lambda y: np.full((len(y), 2), 3), "y must be labels .* got the shape"),
        (lambda y: sparse.csr_array(np.column_stack([y > 0, y > 1]) * 2.0), "y must be labels"),
    ],
)
def test_bad_labels_leave_the_classifier_alone(change, message):
    X, y = classes()
    classifier = small(MLPClassifier).fit(X, y)
    before = state(classifier)
    with pytest.raises((ValueError, TypeError), match=message):
        classifier.fit(X, change(y))
    assert state(classifier) == before


def test_multilabel_targets_dense_and_sparse():
    X, Y = classes("multilabel")
    dense = small(MLPClassifier, early_stopping=True).fit(X, Y)
    thin = small(MLPClassifier, early_stopping=True).fit(X, sparse.csr_matrix(Y))
    assert np.array_equal(theta(dense), theta(thin))
    assert dense.predict(X).shape == dense.predict_proba(X).shape == Y.shape
    assert np.array_equal(thin.predict(X).toarray(), dense.predict(X))
    assert dense.validation_scores_ == thin.validation_scores_


# Beyond scikit-learn


@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e300])
def test_r2_by_its_name_does_not_depend_on_the_unit_either(unit):
    X, y = numbers()
    params = {"standardize": True, "early_stopping": True}
    by_name = small(MLPRegressor, **params, scoring="r2").fit(X, y * unit)
    assert (
        by_name.validation_scores_
        == small(MLPRegressor, **params).fit(X, y * unit).validation_scores_
    )


def test_constants_that_the_loss_or_the_dtype_does_not_take_are_refused_by_their_name():
    X, _ = numbers()
    with pytest.raises(ValueError, match=r"^y must"):
        small(MLPRegressor, loss="poisson", constant="predict").fit(X, np.full(len(X), -3.0))
    with pytest.raises(ValueError, match=r"^y must"):
        small(MLPRegressor, constant="predict").fit(X.astype("f4"), np.full(len(X), 1e300))


@pytest.mark.parametrize("kind", KINDS)
def test_early_stopping_with_few_weights_is_refused_in_a_sentence(kind):
    X, y = data(kind)
    weights = np.arange(len(X)) < 2
    with pytest.raises(ValueError, match="early_stopping must leave rows to train on"):
        small(kind, early_stopping=True).fit(X, y, weights)


@pytest.mark.parametrize("bad", [numbers(n_outputs=2)[1], -(numbers()[1] ** 2)])
def test_messages_tell_of_validation_data(bad):
    X, y = numbers()
    with pytest.raises(ValueError, match=r"^validation data: y must"):
        small(MLPRegressor, loss="poisson").fit(X, y**2, X_val=X, y_val=bad)


@pytest.mark.parametrize("sizes", [{4: 1}, {4}, np.array(8), np.array([[8]])], ids=str)
def test_sizes_that_are_no_sequence_are_refused(sizes):
    with pytest.raises(TypeError, match="hidden_layer_sizes must be an integer or a sequence of"):
        small(MLPRegressor, hidden_layer_sizes=sizes).fit(*numbers())


@pytest.mark.parametrize(
    "solver",
    [
        fastmlp.AdaGrad(0.1),
        "rmsprop(learning_rate=0.1, rho=0.9)",
        "adamw",
        "gradient_descent",
        ["sgd", "lbfgs"],
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", KINDS)
def test_any_solver_of_fastmlp(solver, kind):
    X, y = data(kind)
    estimator = small(kind, solver=solver, learning_rate_init=0.1, max_iter=40).fit(X, y)
    assert estimator.loss_curve_[-1] < 0.7 * estimator.loss_curve_[0]


def test_a_list_hands_over_when_patience_runs_out():
    X, y = numbers()
    solver = [fastmlp.Adam(1e-9), fastmlp.LBFGS(max_iterations=5)]
    regressor = small(MLPRegressor, solver=solver, max_iter=100, n_iter_no_change=3).fit(X, y)
    assert regressor.n_iter_ == 5 + 5  # the first epoch, and more than 3 without gain; then LBFGS
    assert regressor.loss_ < 0.5 * regressor.loss_curve_[4]


def test_solvers_without_mini_batches_have_no_partial_fit():
    assert hasattr(MLPClassifier(solver="rmsprop"), "partial_fit")
    for solver in ("lbfgs", ["adam", "lbfgs"], fastmlp.BFGS()):
        assert not hasattr(MLPClassifier(solver=solver), "partial_fit")


@compiled_only
@pytest.mark.parametrize(
    "loss",
    [
        "squared_error",
        "absolute_error",
        "huber(0.5)",
        "cross_entropy",
        "cross_entropy(0.1)",
        "binary_cross_entropy",
        "logistic",
        "hinge",
        "poisson",
        "quantile(0.4)",
    ],
)
@pytest.mark.parametrize("problem", ["binary", "multiclass", "multilabel"])
def test_any_loss_classifies(loss, problem):
    X, y = classes(problem)
    classifier = small(
        MLPClassifier, loss=loss, solver="lbfgs", hidden_layer_sizes=(8,), max_iter=80
    )
    if loss.startswith("cross_entropy") and problem == "multilabel":
        with pytest.raises(ValueError, match="multilabel"):
            classifier.fit(X, y)
        return
    assert classifier.fit(X, y).score(X, y) > 0.7
    if loss == "hinge":
        assert not hasattr(classifier, "predict_proba")
        return
    P = classifier.predict_proba(X)
    assert P.shape == (len(X), 2 if problem == "binary" else 3)
    if problem != "multilabel":
        np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-12)
        np.testing.assert_array_equal(classifier.classes_[P.argmax(axis=1)], classifier.predict(X))
    np.testing.assert_allclose(np.exp(classifier.predict_log_proba(X)), P, rtol=1e-9, atol=1e-300)


def test_quantiles_are_quantiles():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (400, 1))
    y = X[:, 0] + rng.normal(size=400)
    for q in (0.1, 0.9):
        model = small(MLPRegressor, loss=f"quantile({q})", solver=["adam", "lbfgs"], max_iter=100)
        share = (y <= model.fit(X, y).predict(X)).mean()
        assert share == pytest.approx(q, abs=0.03)
    model = small(MLPRegressor, loss="quantile(0.1, 0.9)", solver=["adam", "lbfgs"], max_iter=100)
    quantiles = model.fit(X, np.column_stack([y, y])).predict(X)
    np.testing.assert_allclose((y[:, None] <= quantiles).mean(axis=0), [0.1, 0.9], atol=0.03)
    with pytest.raises(ValueError, match="as many as there are outputs, 1, got 2"):
        model.fit(X, y)


def test_each_layer_has_its_activation():
    X, y = numbers()
    names = ["tanh", "leaky_relu(0.2)", "logistic"]
    regressor = small(MLPRegressor, hidden_layer_sizes=(5, 4, 3), activation=names).fit(X, y)
    assert regressor.network_.activations == ("tanh", "leaky_relu(0.2)", "sigmoid", "identity")
    h1, h2, h3 = regressor.hidden_activations(X)
    first = np.tanh(X @ regressor.coefs_[0] + regressor.intercepts_[0])
    second = first @ regressor.coefs_[1] + regressor.intercepts_[1]
    third = expit(
        np.where(second > 0, second, 0.2 * second) @ regressor.coefs_[2] + regressor.intercepts_[2]
    )
    np.testing.assert_allclose(h1, first, rtol=1e-12)
    np.testing.assert_allclose(h2, np.where(second > 0, second, 0.2 * second), rtol=1e-12)
    np.testing.assert_allclose(h3, third, rtol=1e-12)
    np.testing.assert_allclose(
        regressor.predict(X),
        third @ regressor.coefs_[3][:, 0] + regressor.intercepts_[3],
        rtol=1e-11,
    )


def test_no_hidden_layer_is_linear_regression():
    X, y = numbers()
    to_the_end = fastmlp.LBFGS(gradient_tolerance=1e-9, objective_tolerance=0.0)
    linear = MLPRegressor(hidden_layer_sizes=(), alpha=0, solver=to_the_end, random_state=0)
    linear.fit(X, y)
    solution = np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), y, rcond=None)[0]
    np.testing.assert_allclose(
        np.append(linear.coefs_[0], linear.intercepts_[0]), solution, atol=1e-8
    )
    assert linear.hidden_activations(X) == []


@pytest.mark.parametrize("problem", ["binary", "multiclass"])
def test_class_weights_are_sample_weights(problem):
    X, y = classes(problem)
    counts = np.bincount(y)
    balanced = small(MLPClassifier, class_weight="balanced").fit(X, y)
    by_hand = small(MLPClassifier).fit(X, y, (len(y) / (len(counts) * counts))[y])
    np.testing.assert_allclose(theta(balanced), theta(by_hand), rtol=1e-12)
    some = small(MLPClassifier, class_weight={0: 3.0}).fit(X, y, np.full(len(y), 2.0))
    by_hand = small(MLPClassifier).fit(X, y, np.where(y == 0, 6.0, 2.0))
    np.testing.assert_allclose(theta(some), theta(by_hand), rtol=1e-12)


def test_a_weight_for_a_class_that_is_not_there_changes_nothing():
    """In a chunk, in validation data, and for each label."""
    X, y = classes()
    chunk = y != 1
    by_name = small(MLPClassifier, class_weight={1: 10.0})
    by_name.partial_fit(X[chunk], y[chunk], classes=[0, 1, 2])
    plain = small(MLPClassifier).partial_fit(X[chunk], y[chunk], classes=[0, 1, 2])
    np.testing.assert_array_equal(theta(by_name), theta(plain))
    by_name.fit(X, y, validation_data=(X[chunk], y[chunk]))
    plain.fit(X, y, np.where(y == 1, 10.0, 1.0), validation_data=(X[chunk], y[chunk]))
    assert by_name.validation_scores_ == plain.validation_scores_

    Y = np.column_stack([y == 0, y == 1]).astype(int)
    of_labels = small(MLPClassifier, class_weight=[{0: 2.0}, {1: 10.0}])
    for container in (np.asarray, sparse.csr_array):
        of_labels.fit(X[chunk], container(Y[chunk]))
        plain.fit(X[chunk], Y[chunk], np.where(y[chunk] == 0, 1.0, 2.0))
        np.testing.assert_array_equal(theta(of_labels), theta(plain))


def test_a_weight_finds_its_class_whatever_labels_are():
    """Also strings of digits, for which scikit-learn looks as numbers, and dates."""
    X, y = classes("binary")
    wanted = theta(small(MLPClassifier).fit(X, y, np.where(y == 1, 10.0, 1.0)))
    for labels in (["0", "1"], [False, True], np.array(["2020-01-01", "2021-01-01"], "M8[D]")):
        estimator = small(MLPClassifier, class_weight={labels[1]: 10.0})
        np.testing.assert_array_equal(theta(estimator.fit(X, np.take(labels, y))), wanted)


def test_balanced_classes_have_the_same_sum_of_weights():
    """A row of weight 2 is two rows, here too; a chunk tells nothing of frequencies."""
    X, y = classes()
    twice = np.arange(len(y)) % 3 == 0
    params = {"class_weight": "balanced", "solver": "lbfgs", "max_iter": 5}
    weighted = small(MLPClassifier, **params).fit(X, y, 1.0 + twice)
    rows = np.concatenate([np.arange(len(y)), np.flatnonzero(twice)])
    repeated = small(MLPClassifier, **params).fit(X[rows], y[rows])
    np.testing.assert_allclose(theta(weighted), theta(repeated), rtol=1e-6)

    estimator = small(MLPClassifier, class_weight="balanced")
    with pytest.raises(ValueError, match="class_weight must not be 'balanced' for partial_fit"):
        estimator.partial_fit(X, y, classes=[0, 1, 2])
    assert not hasattr(estimator, "classes_")
    X, Y = classes("multilabel")
    estimator.set_params(class_weight=[{1: 2.0}, None, "balanced"])
    with pytest.raises(ValueError, match="class_weight must not be 'balanced' for partial_fit"):
        estimator.partial_fit(X, Y, classes=[0, 1, 2])
    estimator.fit(X, Y)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({7: 2.0}, r"class_weight must name classes of \[0 1 2\], got 7"),
        ({"1": 2.0}, r"class_weight must name classes of \[0 1 2\], got '1'"),
        ({1: -1.0}, "class_weight must be finite and not negative"),
        ({1: np.nan}, "class_weight must be finite and not negative"),
        ({1: "2"}, "class_weight must hold numbers, got '2' for 1"),
        ({1: np.ma.masked}, "class_weight must hold numbers, got masked for 1"),
        ([{1: 2.0}], "class_weight must be a dict or 'balanced' for one target"),
        ({0: 0.0, 1: 0.0, 2: 0.0}, "class_weight must not make all sample weights 0"),
    ],
)
def test_bad_class_weights(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        small(MLPClassifier, class_weight=given).fit(*classes())


@pytest.mark.parametrize("one", [3, "balance"])
def test_bad_class_weights_of_a_label(one):
    with pytest.raises(ValueError, match="class_weight must be 'balanced' or a list of a dict, "):
        small(MLPClassifier, class_weight=[None, {}, one]).fit(*classes("multilabel"))


def test_a_weight_for_a_class_that_is_not_there_is_no_mistake_where_there_is_but_one():
    X, y = classes("binary")
    params = {"class_weight": {1: 3.0}, "constant": "predict"}
    Y = np.column_stack([y, np.zeros_like(y)])
    found = MultiOutputClassifier(small(MLPClassifier, **params)).fit(X, Y).predict(X)
    assert np.array_equal(found[:, 0], small(MLPClassifier, **params).fit(X, y).predict(X))
    assert not found[:, 1].any()


@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop"])
def test_an_adaptive_rate_falls_until_it_is_too_small(solver):
    X, y = numbers()
    regressor = small(
        MLPRegressor,
        solver=solver,
        learning_rate="adaptive",
        n_iter_no_change=1,
        tol=0.1,
        max_iter=500,
    ).fit(X, y)
    assert regressor.n_iter_ < 500
    # 1e-3 / 5^5 is the first below 1e-6.
    assert regressor.learning_rate_ == pytest.approx(1e-3 / 5**5)


def test_a_schedule_is_followed_by_any_stochastic_solver():
    X, y = numbers()
    rate = fastmlp.ExponentialDecay(0.01, rate=0.3)
    by_estimator = small(MLPRegressor, learning_rate=rate, batch_size=16).fit(X, y)
    by_solver = small(MLPRegressor, solver=fastmlp.Adam(rate), batch_size=16).fit(X, y)
    assert np.array_equal(theta(by_estimator), theta(by_solver))
    assert by_estimator.learning_rate_ == pytest.approx(0.01 * np.exp(-0.3 * 8))


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_by_the_fraction_of_a_fit(kind):
    """Calls of partial_fit are one fit of max_iter epochs; a warm start begins a fit of its own."""
    X, y = data(kind)
    params = {"learning_rate": fastmlp.CosineLog(0.05), "batch_size": 16, "max_iter": 5}
    params["solver"] = fastmlp.AdamW(weight_decay=fastmlp.FlatCosine(0.5))
    params |= {"n_iter_no_change": np.inf, "shuffle": False}
    whole = small(kind, **params).fit(X, y)
    assert whole.learning_rate_ == pytest.approx(0, abs=1e-15)
    given = {"classes": np.unique(y)} if kind is MLPClassifier else {}
    parts = small(kind, **params)
    for _ in range(5):
        parts.partial_fit(X, y, **given)
    np.testing.assert_array_equal(theta(parts), theta(whole))
    constant = small(kind, **{**params, "solver": fastmlp.AdamW(weight_decay=0.5)}).fit(X, y)
    assert np.abs(theta(constant) - theta(whole)).max() > 1e-4
    before = theta(parts)
    parts.partial_fit(X, y)  # after its end, where the rate is 0
    np.testing.assert_allclose(theta(parts), before, rtol=1e-13)
    again = small(kind, **params, warm_start=True).fit(X, y)
    before = theta(again)
    assert np.abs(theta(again.fit(X, y)) - before).max() > 1e-3


def test_clipping():
    """One step of gradient descent is as long as its rate times the largest norm."""
    X, y = numbers()
    regressor = small(
        MLPRegressor,
        solver="sgd",
        momentum=0,
        batch_size=len(X),
        clip_norm=1e-3,
        learning_rate_init=0.5,
        max_iter=1,
    )
    start = theta(regressor.initialize(X, 100 * y))
    assert np.linalg.norm(theta(regressor.fit(X, 100 * y)) - start) == pytest.approx(0.5e-3)


@pytest.mark.parametrize(
    "scoring",
    ["roc_auc", "neg_log_loss", "loss", make_scorer(accuracy_score, greater_is_better=True)],
    ids=["roc_auc", "neg_log_loss", "loss", "callable"],
)
def test_early_stopping_by_any_score(scoring):
    X, y = classes("binary")
    X_val, y_val = classes("binary", seed=1)
    classifier = small(MLPClassifier, scoring=scoring, early_stopping=True, alpha=0, max_iter=30)
    classifier.fit(X, y, validation_data=(X_val, y_val))
    from sklearn.metrics import get_scorer

    scorer = get_scorer("neg_log_loss" if scoring == "loss" else scoring)
    assert classifier.best_validation_score_ == pytest.approx(
        scorer(classifier, X_val, y_val), rel=1e-9
    )


def test_validation_data_without_early_stopping_are_watched_only():
    X, y = numbers()
    watched = small(MLPRegressor).fit(X, y, validation_data=numbers(seed=1))
    plain = small(MLPRegressor).fit(X, y)
    assert np.array_equal(theta(watched), theta(plain))
    assert len(watched.validation_scores_) == watched.n_iter_
    assert plain.validation_scores_ is None


def test_validation_weights_count():
    X, y = classes("binary")
    X_val, y_val = classes("binary", seed=1)
    weights = np.arange(len(y_val)) % 3
    kept = weights > 0
    with_weights = small(MLPClassifier).fit(X, y, validation_data=(X_val, y_val, weights))
    score = np.average(with_weights.predict(X_val) == y_val, weights=weights)
    assert with_weights.validation_scores_[-1] == pytest.approx(score)
    assert kept.sum() < len(kept)


@pytest.mark.parametrize(
    ("standardize", "advice"),
    [
        (False, "scale the data, see standardize=True, or to increase max_iter or max_fun."),
        (True, "increase max_iter or max_fun."),
    ],
)
def test_a_solver_that_has_not_converged_is_given_what_has_not_been_tried(standardize, advice):
    X, y = np.random.default_rng(0).normal(size=(2, 60, 1))
    model = MLPRegressor(solver="lbfgs", max_iter=2, standardize=standardize, random_state=0)
    with pytest.warns(ConvergenceWarning, match=f"You might also want to {advice}$"):
        model.fit(X, y[:, 0])


def test_a_time_limit_ends_the_fit():
    X, y = numbers()
    regressor = small(MLPRegressor, max_iter=10**8, n_iter_no_change=np.inf, time_limit=0.05)
    with pytest.warns(ConvergenceWarning, match="time limit of 0.05 s"):
        regressor.fit(X, y)
    assert np.isfinite(theta(regressor)).all()


def test_a_callback_ends_the_fit():
    X, y = numbers()

    def third(progress):
        assert progress.network.layer_sizes == (4, 6, 1)
        if progress.record.epoch == 3:
            raise StopIteration

    assert small(MLPRegressor, callbacks=third).fit(X, y).n_iter_ == 3


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scikit_learns_callbacks(solver):
    pytest.importorskip("sklearn.callback", reason="this scikit-learn has no callbacks")
    X, y = numbers()

    class Recorder:
        def __init__(self):
            self.calls, self.losses = [], []

        def setup(self, estimator, context):
            self.calls.append("setup")

        def teardown(self, estimator, context):
            self.calls.append("teardown")

        def on_fit_task_begin(self, estimator, context, *, X=None):
            self.calls.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
            self.calls.append(f"end {context.task_name}")
            self.losses.append(np.square(fitted_estimator.predict(X) - y).mean())
            return len(self.losses) == 4

    recorder = Recorder()
    regressor = small(MLPRegressor, solver=solver, standardize=True).set_callbacks(recorder)
    regressor.fit(X, y)
    assert regressor.n_iter_ == 4
    epochs = ["begin epoch", "end epoch"] * 4
    assert recorder.calls == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    assert recorder.losses[3] < recorder.losses[0]
    recorder.calls.clear()
    with pytest.raises(ValueError, match="NaN"):
        regressor.fit(np.full_like(X, np.nan), y)
    recorder.calls.clear()
    regressor.set_params(callbacks=[lambda progress: 1 / 0])
    with pytest.raises(ZeroDivisionError):
        regressor.fit(X, y)
    assert recorder.calls[-1] == "teardown"


def test_a_bar_and_lines(capsys):
    X, y = numbers()
    small(MLPRegressor, verbose=1, early_stopping=True).fit(X, y)
    shown = capsys.readouterr()
    assert "8/8" in shown.err
    assert "loss=" in shown.err
    assert "score=" in shown.err
    assert "<" in shown.err  # seconds gone < seconds left
    assert shown.out == ""
    small(MLPRegressor, verbose=2, tol=1e9, n_iter_no_change=2).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[:4]] == [f"Iteration {i}" for i in range(1, 5)]
    assert lines[4].startswith("Training loss did not improve more than tol=1000000000.000000")


@pytest.mark.parametrize("kind", KINDS)
def test_float32_throughout(kind):
    X, y = data(kind)
    estimator = small(kind, early_stopping=True).fit(X.astype(np.float32), y)
    assert estimator.network_.dtype == np.float32
    assert {array.dtype.name for array in estimator.coefs_} == {"float32"}
    if kind is MLPClassifier:
        assert estimator.predict_proba(X).dtype == np.float32
    estimator.warm_start = True
    assert estimator.fit(X, y).network_.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
def test_standardized_rows_are_those_of_a_scaler(kind, solver, hidden):
    X, y = data(kind)
    X = X * [1e-3, 1, 10, 1e4] + [5, 0, -300, 1e5]
    y = y if kind is MLPClassifier else 1000 * y + 1e4
    params = {"solver": solver, "hidden_layer_sizes": hidden, "batch_size": 16}
    folded = small(kind, **params, standardize=True).fit(X, y)
    model = make_pipeline(StandardScaler(), small(kind, **params))
    if kind is MLPRegressor:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    model.fit(X, y)
    # The folded bias is a difference of numbers 1e5 / 1e4 times as large.
    if kind is MLPClassifier:
        np.testing.assert_allclose(folded.predict_proba(X), model.predict_proba(X), rtol=1e-7)
    else:
        np.testing.assert_allclose(folded.predict(X), model.predict(X), rtol=1e-8)
    assert folded.coefs_[0].shape[0] == 4


@pytest.mark.parametrize("kind", KINDS)
def test_standardized_training_goes_on(kind):
    X, y = data(kind)
    X = X * [1e-3, 1, 10, 1e4] + [5, 0, -300, 1e5]
    params = {"standardize": True, "batch_size": 16, "max_iter": 4}
    whole = small(kind, **params).fit(X, y)
    parts = small(kind, **params)
    given = {"classes": np.unique(y)} if kind is MLPClassifier else {}
    for _ in range(4):
        parts.partial_fit(X, y, **given)
        parts = pickle.loads(pickle.dumps(parts))
    assert np.array_equal(theta(parts), theta(whole))
    # Set by hand, weights are brought back into scaled units, not dropped.
    parts.coefs_[0] = 0 * parts.coefs_[0]
    before = parts.predict(X)
    parts.learning_rate_init = 1e-12
    parts._states = {}
    np.testing.assert_allclose(
        parts.partial_fit(X, y).hidden_activations(X)[0],
        np.maximum(parts.intercepts_[0], 0) * np.ones((len(X), 1)),
        atol=1e-4,
    )
    assert before.shape == (len(X),)


# Powers of two change no digit, so nothing but the unit may be different in what comes out. They
# are some 1e-301 to 1e301 for float64, 1e-33 to 1e37 for float32.
UNITS = [("float64", power) for power in (-1000, -530, 500, 1000)] + [
    ("float32", power) for power in (-110, -75, 75, 122)
]


@compiled_only
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "power"), UNITS)
def test_standardized_training_does_not_depend_on_the_unit_of_a_feature(kind, dtype, power):
    X, y = data(kind)
    X = X.astype(dtype)
    other = np.ldexp(X, [0, power, 0, 0])
    plain = small(kind, standardize=True).fit(X, y)
    scaled = small(kind, standardize=True).fit(other, y)
    assert scaled.loss_curve_ == plain.loss_curve_
    # Weights near the smallest number lose digits.
    assert scaled.score(other, y) == pytest.approx(plain.score(X, y), abs=1e-4)
    sparse_rows = small(kind, standardize=True).fit(sparse.csr_array(other), y)
    assert sparse_rows.loss_curve_ == plain.loss_curve_


@compiled_only
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize(("dtype", "power"), UNITS)
def test_standardized_training_does_not_depend_on_the_unit_of_the_target(dtype, power, n_outputs):
    X, y = numbers(n_outputs=n_outputs)
    X, y = X.astype(dtype), y.astype(dtype)
    params = {"standardize": True, "early_stopping": True}
    plain = small(MLPRegressor, **params).fit(X, y)
    scaled = small(MLPRegressor, **params).fit(X, np.ldexp(y, power))
    np.testing.assert_array_equal(scaled.predict(X), np.ldexp(plain.predict(X), power))
    assert scaled.validation_scores_ == plain.validation_scores_
    assert scaled.score(X, np.ldexp(y, power)) == plain.score(X, y)


@pytest.mark.parametrize("name", ["X", "y"])
def test_a_spread_that_weights_cannot_undo_is_refused(name):
    X, y = (values.astype("float32") for values in numbers())
    estimator = small(MLPRegressor, standardize=True)
    given = {"X": X, "y": y}
    given[name] = given[name] * np.float32(1e-43)
    with pytest.raises(ValueError, match=f"{name} must not have a standard deviation .* float32"):
        estimator.fit(**given)


def test_a_large_constant_column_leaves_the_digits_of_standardized_training():
    """Its part of each unit's input is folded into the bias, and would cancel there."""
    X, y = numbers()
    plain = small(MLPRegressor, standardize=True).fit(X * [1, 0, 1, 1], y)
    large = small(MLPRegressor, standardize=True).fit(X * [1, 0, 1, 1] + [0, 1e150, 0, 0], y)
    np.testing.assert_allclose(large.loss_curve_, plain.loss_curve_)
    np.testing.assert_allclose(
        large.predict(X * [1, 0, 1, 1] + [0, 1e150, 0, 0]), plain.predict(X * [1, 0, 1, 1])
    )


def test_r2_is_scikit_learns():
    X, y = numbers(n_outputs=2)
    estimator = small(MLPRegressor).fit(X, y)
    weights = np.linspace(0.5, 2, len(X))
    expected = r2_score(y, estimator.predict(X), sample_weight=weights)
    assert estimator.score(X, y, weights) == pytest.approx(expected, rel=1e-14)
    for wrong in (y[:-1], y[:, 0], y[:, :1]):
        with pytest.raises(ValueError, match="number"):
            estimator.score(X, wrong)


def test_constant_columns_are_no_trouble_for_standardize():
    X, y = numbers()
    X[:, 1] = 0.1
    assert np.isfinite(small(MLPRegressor, standardize=True).fit(X, y).predict(X)).all()


@compiled_only
def test_standardize_makes_raw_tables_train_well():
    X, y = load_breast_cancer(return_X_y=True)
    raw, standardized = (
        small(MLPClassifier, standardize=on, max_iter=100, learning_rate_init=0.01)
        .fit(X, y)
        .score(X, y)
        for on in (False, True)
    )
    assert standardized > 0.97 > raw
    X, y = load_diabetes(return_X_y=True)
    raw, standardized = (
        small(MLPRegressor, standardize=on, max_iter=100, learning_rate_init=0.01)
        .fit(X, y)
        .score(X, y)
        for on in (False, True)
    )
    assert standardized > 0.5 > raw


def test_huber_keeps_its_transition_when_targets_are_scaled():
    X, y = numbers()
    params = {"solver": "lbfgs", "hidden_layer_sizes": (), "alpha": 0, "max_iter": 500, "tol": 1e-9}
    plain, scaled = (
        MLPRegressor(loss="huber(20)", standardize=on, **params).fit(X, 50 * y)
        for on in (False, True)
    )
    np.testing.assert_allclose(scaled.predict(X), plain.predict(X), atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_initialize_draws_the_weights_that_fit_starts_from(kind):
    X, y = data(kind)
    estimator = small(kind).initialize(X, y)
    start = estimator.network_.theta.copy()
    assert estimator.n_iter_ == 0
    assert estimator.predict(X).shape == y.shape
    for on in (False, True):
        cold = small(kind, standardize=on).fit(X, y)
        warm = small(kind, standardize=on, warm_start=True).initialize(X, y).fit(X, y)
        assert np.array_equal(theta(warm), theta(cold))
    theirs = (
        neural_network.MLPClassifier if kind is MLPClassifier else neural_network.MLPRegressor
    )(hidden_layer_sizes=(6,), random_state=0, max_iter=1, learning_rate_init=1e-14).fit(X, y)
    shapes = [start.size, theta(theirs).size]
    assert shapes[0] == shapes[1]
    np.testing.assert_allclose(theta(estimator), theta(theirs), atol=1e-12)


def test_log_probabilities_come_from_logits():
    X, y = classes()
    classifier = small(MLPClassifier).fit(X, y)
    classifier.coefs_[1] = 1e4 * classifier.coefs_[1]
    logits = classifier.hidden_activations(X)[0] @ classifier.coefs_[1] + classifier.intercepts_[1]
    found = classifier.predict_log_proba(X)
    np.testing.assert_allclose(found, log_softmax(logits, axis=1), rtol=1e-9, atol=1e-9)
    assert found.min() < -1000
    X, y = classes("binary")
    classifier = small(MLPClassifier).fit(X, y)
    classifier.coefs_[1] = 1e4 * classifier.coefs_[1]
    logits = (classifier.hidden_activations(X)[0] @ classifier.coefs_[1])[:, 0]
    logits = logits + classifier.intercepts_[1]
    found = classifier.predict_log_proba(X)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], logits, rtol=1e-9)
    assert (np.log(classifier.predict_proba(X)) > -np.inf).all()


# Constant targets


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("loss", "constant"),
    [
        ("squared_error", -0.1),
        ("squared_error", [2.0, 0.0]),
        ("quantile(0.9)", 1e6),
        ("hinge", 1.0),
        ("poisson", 3.0),
        ("poisson", 0.0),
        ("binary_cross_entropy", 0.25),
        ("binary_cross_entropy", 1.0),
        ("cross_entropy", [0.2, 0.0, 0.8]),
    ],
)
def test_a_constant_is_predicted_if_asked_for(loss, constant, early_stopping, standardize):
    X, _ = numbers()
    y = np.tile(constant, (len(X), 1)) if np.ndim(constant) else np.full(len(X), constant)
    params = {"loss": loss, "early_stopping": early_stopping, "standardize": standardize}
    regressor = small(MLPRegressor, **params, constant="predict").fit(X, y)
    # exp and log, and the quotient of a softmax, round.
    np.testing.assert_allclose(regressor.predict(2.0 * X), y, rtol=1e-14, atol=1e-300)
    assert regressor.n_iter_ == 0
    with pytest.raises(ValueError, match=r"y must not be constant, .*constant='predict'"):
        small(MLPRegressor, **params).fit(X, y)


@pytest.mark.parametrize(
    "loss", ["log_loss", "binary_cross_entropy", "squared_error", "logistic", "hinge"]
)
def test_a_single_class_is_predicted_if_asked_for(loss, tmp_path):
    """As scikit-learn's trees and neighbours do: with one column of probabilities, of ones."""
    X, _ = classes()
    y = np.full(len(X), "only")
    params = {"loss": loss, "early_stopping": True}
    classifier = small(MLPClassifier, **params, constant="predict").fit(X, y)
    classifier.save(tmp_path / "it")
    for one in (classifier, MLPClassifier.load(tmp_path / "it")):
        assert list(one.classes_) == ["only"]
        assert (one.predict(X) == "only").all()
        assert one.score(X, y) == 1.0
        if loss != "hinge":
            assert np.array_equal(one.predict_proba(X), np.ones((len(X), 1)))
            assert np.array_equal(one.predict_log_proba(X), np.zeros((len(X), 1)))
    with pytest.raises(ValueError, match=r"at least two classes, .*constant='predict'"):
        small(MLPClassifier, **params).fit(X, y)
    chunk = small(MLPClassifier, constant="predict").partial_fit(X, y, classes=["only"])
    assert (chunk.predict(X) == "only").all()


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_estimators_of_estimators_meet_constant_targets(solver):
    X, y = classes("binary")
    Y = np.column_stack([y, np.ones_like(y)])
    classifier = small(MLPClassifier, solver=solver, constant="predict")
    regressor = small(MLPRegressor, solver=solver, constant="predict")
    for several in (MultiOutputClassifier(classifier), ClassifierChain(classifier)):
        assert np.array_equal(several.fit(X, Y).predict(X)[:, 1], Y[:, 1])
    for several in (MultiOutputRegressor(regressor), RegressorChain(regressor)):
        assert np.array_equal(several.fit(X, Y).predict(X)[:, 1], Y[:, 1])
    order = np.argsort(y, kind="stable")
    halves = KFold(2)  # of one class each
    n = min(np.bincount(y))
    X, y = (np.concatenate([a[order][:n], a[order][-n:]]) for a in (X, y))
    assert cross_val_score(classifier, X, y, cv=halves).tolist() == [0.0, 0.0]
    assert np.isfinite(cross_val_score(regressor, X, y, cv=halves, scoring="r2")).all()


def test_training_goes_on_from_a_constant():
    X, y = numbers()
    params = {"warm_start": True, "constant": "predict", "standardize": True}
    regressor = small(MLPRegressor, **params, max_iter=100, solver="lbfgs")
    assert regressor.fit(X, np.full(len(X), 5.0)).score(X, y) < 0.0
    assert regressor.fit(X, y).score(X, y) > 0.9


# Files and conversion


@pytest.mark.parametrize("problem", ["binary", "multiclass", "multilabel", "numbers"])
def test_save_and_load(problem, tmp_path):
    path = tmp_path / "model.safetensors"
    X, y = numbers(n_outputs=2) if problem == "numbers" else classes(problem)
    y = np.array(["no", "yes"])[y] if problem == "binary" else y
    kind = MLPRegressor if problem == "numbers" else MLPClassifier
    estimator = small(
        kind,
        solver=["adam", fastmlp.LBFGS(max_iterations=3)],
        learning_rate=fastmlp.StepDecay(0.01, factor=0.5, every=3),
        standardize=True,
        early_stopping=True,
    ).fit(X, y)
    estimator.save(path)
    again = kind.load(path)
    assert np.array_equal(again.predict(X), estimator.predict(X))
    assert again.get_params() | {"solver": 0} == estimator.get_params() | {"solver": 0}
    assert repr(again) == repr(estimator)
    for name in ("loss_curve_", "validation_scores_", "n_iter_", "t_", "n_features_in_"):
        assert getattr(again, name) == getattr(estimator, name)
    assert len(again.trace_) == len(estimator.trace_)
    assert np.array_equal(MLP.load(path).theta, estimator.network_.theta)
    other = MLPClassifier if kind is MLPRegressor else MLPRegressor
    with pytest.raises(ValueError, match=f"{other.__name__}.save wrote"):
        other.load(path)
    estimator.network_.save(path)
    with pytest.raises(ValueError, match="a network alone"):
        kind.load(path)


@pytest.mark.parametrize("random_state", [0, np.random.RandomState(0)], ids=type)
def test_a_loaded_estimator_holds_out_the_rows_that_it_never_trained_on(random_state, tmp_path):
    X, y = numbers()
    X[:, 0] = np.arange(len(X))  # tells rows apart
    held_out = rows_held_out(
        MLPRegressor, X, y, random_state=random_state, early_stopping=True, warm_start=True
    )
    estimator, first = held_out()
    _, pickled = held_out(pickle.loads(pickle.dumps(estimator)))
    estimator.save(tmp_path / "it")
    loaded, second = held_out(MLPRegressor.load(tmp_path / "it"))
    loaded.save(tmp_path / "it")
    _, third = held_out(MLPRegressor.load(tmp_path / "it"))
    assert first == pickled == second == third


def test_shuffling_goes_on_after_save_and_load(tmp_path):
    """A solver that keeps no state goes on with the same bits."""
    X, y = numbers()
    params = {"solver": "sgd", "momentum": 0.0, "batch_size": 16}
    estimator = small(MLPRegressor, **params).partial_fit(X, y)
    estimator.save(tmp_path / "it")
    again = MLPRegressor.load(tmp_path / "it").partial_fit(X, y)
    assert np.array_equal(theta(again), theta(estimator.partial_fit(X, y)))


def test_an_estimator_of_scikit_learn_goes_on_with_the_rows_that_it_held_out():
    X, y = numbers()
    X[:, 0] = np.arange(len(X))
    params = {"early_stopping": True, "warm_start": True, "random_state": 0, "max_iter": 3}
    params |= {"hidden_layer_sizes": (6, 5)}
    theirs = neural_network.MLPRegressor(**params).fit(X, y)
    # Theirs splits as ours does in a first fit, which another test holds against it.
    held_out = rows_held_out(MLPRegressor, X, y, **params)
    _, first = held_out()
    _, second = held_out(MLPRegressor.from_sklearn(theirs))
    assert first == second


def rows_held_out(kind, X, y, **params):
    """Fits an estimator, a new one or that given, and tells which rows it validated on."""

    def fit(estimator=None):
        held = set()

        def scorer(estimator, X, y):
            held.update(X[:, 0])
            return 0.0

        estimator = small(kind, **params) if estimator is None else estimator
        estimator.set_params(scoring=scorer).fit(X, y)
        return estimator.set_params(scoring=None), frozenset(held)

    return fit


@pytest.mark.parametrize("labels", [1, 2])
def test_a_file_without_the_kind_of_labels_loads(labels, tmp_path):
    """As files were before predictions came back as targets had been held."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.integers(2, size=(40, labels)).squeeze()
    model = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, y)
    model.save(tmp_path / "model")
    described = json.loads(load_described(tmp_path / "model", MLP)[1]["estimator"])
    del described["fitted"]["indicator"]
    described["fitted"]["is_multilabel"] = labels > 1
    save(model.network_, tmp_path / "older", {"estimator": json.dumps(described)})
    loaded = MLPClassifier.load(tmp_path / "older")
    assert (loaded.predict(X) == model.predict(X)).all()


def test_saved_parameters_are_plain(tmp_path):
    X, y = numbers()
    estimator = small(MLPRegressor, random_state=np.random.RandomState(0), callbacks=[print])
    estimator.set_params(callbacks=[lambda progress: None]).fit(X, y).save(tmp_path / "it")
    again = MLPRegressor.load(tmp_path / "it")
    assert again.callbacks is None
    assert again.random_state is None
    with pytest.raises(TypeError, match="scoring must be a name"):
        estimator.set_params(scoring=make_scorer(r2_score)).save(tmp_path / "it")
    with pytest.raises(NotFittedError):
        small(MLPRegressor).save(tmp_path / "it")


@pytest.mark.parametrize("problem", ["binary", "multiclass", "multilabel", "numbers", "poisson"])
@pytest.mark.parametrize("activation", ["logistic", "relu"])
def test_conversion_both_ways(problem, activation):
    X, y = numbers() if problem in ("numbers", "poisson") else classes(problem)
    kind = MLPRegressor if problem in ("numbers", "poisson") else MLPClassifier
    params = {"loss": "poisson"} if problem == "poisson" else {}
    y = np.floor(np.exp(y)) if problem == "poisson" else y
    name = kind.__name__
    params |= {"activation": activation, "hidden_layer_sizes": (5, 4), "max_iter": 5}
    theirs = getattr(neural_network, name)(**params, random_state=0).fit(X, y)
    ours = kind.from_sklearn(theirs)
    back = ours.to_sklearn()
    for other in (ours, back):
        np.testing.assert_allclose(other.predict(X), theirs.predict(X), rtol=1e-10)
        if kind is MLPClassifier:
            np.testing.assert_allclose(other.predict_proba(X), theirs.predict_proba(X), rtol=1e-10)
    assert type(back) is type(theirs)
    assert back.get_params() == theirs.get_params()
    # Each may be trained on.
    back.partial_fit(X, y)
    ours.partial_fit(X, y)
    assert len(ours.loss_curve_) == len(back.loss_curve_) == 6


def test_conversion_refuses_what_scikit_learn_does_not_have():
    X, y = numbers()
    with pytest.raises(
        ValueError, match="activation must be one of identity, logistic, tanh, relu"
    ):
        small(MLPRegressor, activation="gelu").fit(X, y).to_sklearn()
    with pytest.raises(ValueError, match="loss must be one of"):
        small(MLPRegressor, loss="huber").fit(X, y).to_sklearn()
    with pytest.raises(TypeError, match=r"sklearn\.neural_network\.MLPClassifier"):
        MLPClassifier.from_sklearn(neural_network.MLPRegressor())
    with pytest.raises(NotFittedError):
        MLPRegressor.from_sklearn(neural_network.MLPRegressor())


# Sparse rows


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("standardize", [False, True])
def test_sparse_rows_train_as_dense_ones(container, solver, standardize, monkeypatch):
    """With the same bits: rows become dense block by block, and sums go on where they were."""
    monkeypatch.setattr(source, "BLOCK_BYTES", 4 * 8 * 20)  # 20 rows
    X, y = classes()
    X[np.abs(X) < 0.5] = 0
    params = {"solver": solver, "standardize": standardize, "early_stopping": True}
    params |= {"batch_size": 16}
    dense = small(MLPClassifier, **params).fit(X, y)
    thin = small(MLPClassifier, **params).fit(container(X), y)
    assert np.array_equal(theta(thin), theta(dense))
    np.testing.assert_allclose(thin.validation_scores_, dense.validation_scores_)
    np.testing.assert_allclose(thin.predict_proba(container(X)), dense.predict_proba(X), rtol=1e-8)
    np.testing.assert_allclose(
        thin.hidden_activations(container(X))[0], dense.hidden_activations(X)[0], atol=1e-8
    )


def test_gauss_newton_on_sparse_rows(monkeypatch):
    monkeypatch.setattr(source, "BLOCK_BYTES", 4 * 8 * 20)  # 20 rows
    X, y = numbers()
    X[np.abs(X) < 0.5] = 0
    dense = small(MLPRegressor, solver="levenberg_marquardt").fit(X, y)
    thin = small(MLPRegressor, solver="levenberg_marquardt").fit(sparse.csc_array(X), y)
    assert np.array_equal(theta(thin), theta(dense))


def test_sparse_rows_are_never_dense_all_at_once(monkeypatch):
    X = sparse.csr_array(sparse.random(2000, 50, 0.05, random_state=0))
    y = np.asarray(X.sum(axis=1)).ravel()
    monkeypatch.setattr(source, "BLOCK_BYTES", 50 * 8 * 100)
    sizes = []
    toarray = sparse.csr_array.toarray

    def seen(self, *arguments):
        sizes.append(self.shape[0])
        return toarray(self, *arguments)

    monkeypatch.setattr(sparse.csr_array, "toarray", seen)
    for solver in ("adam", "lbfgs"):
        small(MLPRegressor, solver=solver, batch_size=30, max_iter=2).fit(X, y)
    assert max(sizes) == 100


# Bad input


def state(estimator):
    """All that an estimator holds, to be compared."""
    return {
        name: value if isinstance(value, int | float | str | None | tuple) else pickle.dumps(value)
        for name, value in vars(estimator).items()
    }


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes must be > 0"),
        ({"hidden_layer_sizes": -1}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (8.7,)}, "hidden_layer_sizes must hold integers, got 8.7"),
        ({"hidden_layer_sizes": (5, np.inf)}, "hidden_layer_sizes must hold integers, got inf"),
        ({"hidden_layer_sizes": True}, "hidden_layer_sizes must hold integers, got True"),
        ({"hidden_layer_sizes": (np.True_,)}, "hidden_layer_sizes must hold integers, got"),
        ({"hidden_layer_sizes": ("4",)}, "hidden_layer_sizes must hold integers, got '4'"),
        ({"hidden_layer_sizes": (4, None)}, "hidden_layer_sizes must hold integers, got None"),
        ({"batch_size": True}, "batch_size must be an integer, got True"),
        ({"max_iter": True}, "max_iter must be an integer, got True"),
        ({"n_iter_no_change": True}, "n_iter_no_change must be an integer, got True"),
        ({"max_fun": True}, "max_fun must be an integer, got True"),
        ({"n_threads": True}, "n_threads must be an integer, got True"),
        ({"random_state": True}, "random_state must be an integer, got True"),
        ({"activation": "ghost"}, "activation must be one of"),
        ({"activation": ["relu", "relu"]}, "activation must name one activation for each of the 1"),
        ({"solver": "ghost"}, "solver must be one of sgd, adagrad"),
        ({"solver": "adam(rate=1)"}, "solver: adam has the parameters"),
        ({"solver": []}, "solver must not be an empty list"),
        ({"solver": [3]}, "solver must be a name"),
        ({"solver": "levenberg_marquardt"}, "solver: LevenbergMarquardt needs the loss"),
        ({"alpha": -1}, "'alpha' parameter"),
        ({"learning_rate": "ghost"}, "'learning_rate' parameter"),
        ({"learning_rate_init": 0}, "'learning_rate_init' parameter"),
        ({"loss": "ghost"}, "loss must be one of"),
        ({"scoring": "ghost", "early_stopping": True}, "ghost"),
        ({"callbacks": [3]}, "callbacks must be callables, got 3"),
        ({"clip_norm": 0}, "'clip_norm' parameter"),
        ({"time_limit": 0}, "'time_limit' parameter"),
        ({"solver": "lbfgs", "clip_norm": 1.0}, "clip_norm must not be 1.0 for the solver 'lbfgs'"),
        (
            {"solver": ["lbfgs"], "learning_rate": fastmlp.ExponentialDecay(0.1, rate=1.0)},
            r"learning_rate must not be ExponentialDecay.* for the solver \['lbfgs'\]",
        ),
        ({"n_threads": 0}, "'n_threads' parameter"),
        ({"standardize": "yes"}, "'standardize' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        (
            {
                "learning_rate": "adaptive",
                "solver": fastmlp.Adam(fastmlp.LinearDecay(0.1, final=0.01, until=5)),
            },
            "learning_rate must be 'constant' where the solver has a schedule",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_bad_parameters_leave_the_estimator_alone(params, message, fitted):
    X, y = classes()
    estimator = small(MLPClassifier)
    if fitted:
        estimator.fit(X, y)
    estimator.set_params(**params)
    before = state(estimator)
    with pytest.raises((ValueError, TypeError), match=message):
        estimator.fit(X, y)
    assert state(estimator) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: {"y": y[:-1]}, "inconsistent numbers of samples"),
        (lambda X, y: {"X": np.where(X[3, 1] == X, np.nan, X)}, "NaN in column 1, row 3"),
        (lambda X, y: {"X": np.where(X[3, 1] == X, np.inf, X)}, "infinity .* in column 1, row 3"),
        (lambda X, y: {"sample_weight": np.zeros(len(y))}, "zero"),
        (
            lambda X, y: {"sample_weight": np.full(len(y), -1.0)},
            "sample_weight must not be negative",
        ),
        (lambda X, y: {"sample_weight": np.ones(3)}, "sample_weight"),
        (lambda X, y: {"y": np.zeros(len(y))}, "constant|one class"),
        (lambda X, y: {"validation_data": 3}, r"validation_data must be \(X, y\)"),
        (lambda X, y: {"validation_data": (X[:, :2], y)}, "validation data: X has 2 features"),
        (lambda X, y: {"X_val": X}, "y_val must be given where X_val is"),
        (lambda X, y: {"y_val": y}, "X_val must be given where y_val is"),
        (lambda X, y: {"sample_weight_val": y}, "X_val must be given where sample_weight_val is"),
        (
            lambda X, y: {"X_val": X, "y_val": y, "validation_data": (X, y)},
            "validation_data must be None where X_val is given",
        ),
        (lambda X, y: {"X": X[:0], "y": y[:0]}, "0 sample"),
    ],
)
def test_bad_data_leave_the_estimator_alone(kind, change, message):
    X, y = data(kind)
    estimator = small(kind).fit(X, y)
    before = state(estimator)
    with pytest.raises(ValueError, match=message):
        estimator.fit(**({"X": X, "y": y} | change(X, y)))
    assert state(estimator) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("X", lambda e, X, y, mask: e.fit(mask(X), y)),
        ("X", lambda e, X, y, mask: e.fit([mask(row) for row in X], y)),
        ("X", lambda e, X, y, mask: e.partial_fit(mask(X), y)),
        ("X", lambda e, X, y, mask: e.initialize(mask(X), y)),
        ("X", lambda e, X, y, mask: e.predict(mask(X))),
        ("X", lambda e, X, y, mask: e.hidden_activations(mask(X))),
        ("X", lambda e, X, y, mask: e.score(mask(X), y)),
        ("y", lambda e, X, y, mask: e.fit(X, mask(y))),
        ("y", lambda e, X, y, mask: e.partial_fit(X, mask(y))),
        ("y", lambda e, X, y, mask: e.score(X, mask(y))),
        ("sample_weight", lambda e, X, y, mask: e.fit(X, y, mask(np.ones(len(X))))),
        ("sample_weight", lambda e, X, y, mask: e.score(X, y, mask(np.ones(len(X))))),
        ("validation data: X", lambda e, X, y, mask: e.fit(X, y, validation_data=(mask(X), y))),
        ("validation data: y", lambda e, X, y, mask: e.fit(X, y, validation_data=(X, mask(y)))),
        (
            "validation data: sample_weight",
            lambda e, X, y, mask: e.fit(X, y, validation_data=(X, y, mask(np.ones(len(X))))),
        ),
    ],
)
def test_masked_values_are_refused(kind, name, call):
    """What lies under a mask is no number that anybody gave."""
    X, y = data(kind)
    estimator = small(kind).fit(X, y)
    before = state(estimator)

    def mask(values):
        return np.ma.masked_array(values, np.arange(values.size).reshape(values.shape) == 1)

    with pytest.raises(ValueError, match=f"^{name} must not have masked values"):
        call(estimator, X, y, mask)
    assert state(estimator) == before
    nothing_masked = np.ma.masked_array(X, False)
    np.testing.assert_array_equal(estimator.predict(nothing_masked), estimator.predict(X))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_column_of_text_is_named(kind, library):
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    X, y = data(kind)
    table = {name: X[:, i] for i, name in enumerate("abcd")}
    estimator = small(kind).fit(frames.DataFrame(table), y)
    text = frames.DataFrame(table | {"c": ["k"] * len(X)})
    for call in (lambda: estimator.predict(text), lambda: clone(estimator).fit(text, y)):
        with pytest.raises(
            ValueError, match="X must hold real numbers, got 'k' in column 'c', row"
        ):
            call()
    rows = [[*row[:3], "k"] for row in X.tolist()]
    with pytest.raises(ValueError, match="X must hold real numbers, got 'k' in column 3, row 0"):
        clone(estimator).fit(rows, y)
    if kind is MLPRegressor:
        with pytest.raises(ValueError, match="y must hold real numbers, got 'k' in row 1"):
            clone(estimator).fit(X, np.array([0.5, "k"] * (len(X) // 2), object))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("overflow")
def test_predictions_that_overflow_are_refused_by_their_row(kind):
    X, y = data(kind)
    estimator = small(kind).fit(X.astype(np.float32), y)
    estimator.coefs_[0][:2] = [[2], [-2]]
    X = X[:4].astype(np.float32)
    X[2, :2] = 2e38  # finite, but not twice as much
    methods = {MLPClassifier: ("predict", "predict_proba", "predict_log_proba")}
    for method in methods.get(kind, ("predict",)):
        with pytest.raises(ValueError, match="outputs for row 2 of X are not finite"):
            getattr(estimator, method)(X)


@pytest.mark.parametrize("warm_start", [False, True])
def test_bad_data_when_going_on(warm_start):
    X, y = classes()
    estimator = small(MLPClassifier, warm_start=warm_start).fit(X, y)
    before = state(estimator)
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        estimator.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4"):
        estimator.partial_fit(X[:, :3], y)
    with pytest.raises(ValueError, match="classes"):
        estimator.partial_fit(X, y, classes=[0, 1])
    estimator.hidden_layer_sizes = (9,)
    with pytest.raises(ValueError, match="hidden_layer_sizes, features and outputs must stay"):
        estimator.partial_fit(X, y)
    estimator.hidden_layer_sizes = (6,)
    assert state(estimator) == before
    fresh = small(MLPClassifier)
    before = state(fresh)
    with pytest.raises(ValueError, match="only one class"):
        fresh.partial_fit(X, np.zeros(len(X)), classes=[0])
    assert state(fresh) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_scorer_that_returns_nan_leaves_the_estimator_alone(kind):
    X, y = data(kind)
    estimator = small(kind).fit(X, y)
    estimator.set_params(early_stopping=True, scoring=lambda estimator, X, y: np.nan)
    before = state_without_scoring(estimator)
    with pytest.raises(
        ValueError, match="scoring must give finite numbers, it gave nan after epoch 1"
    ):
        estimator.fit(X, y)
    assert state_without_scoring(estimator) == before


def state_without_scoring(estimator):
    shown = clone(estimator).set_params(scoring=None)
    vars(shown).update({k: v for k, v in vars(estimator).items() if k != "scoring"})
    return state(shown)


@pytest.mark.usefixtures("overflow")
def test_divergence_is_an_error_and_changes_nothing():
    X, y = numbers()
    estimator = small(MLPRegressor).fit(X, y)
    estimator.set_params(solver="sgd", learning_rate_init=1e6, max_iter=50)
    before = state(estimator)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        estimator.fit(X, y)
    assert state(estimator) == before


def test_predictions_need_a_fit():
    for method in ("predict", "predict_proba", "predict_log_proba", "hidden_activations"):
        with pytest.raises(NotFittedError):
            getattr(MLPClassifier(), method)([[1.0]])


def test_missing_scikit_learn_is_said_in_a_sentence():
    """The estimators are loaded on first use: everything else works without scikit-learn."""
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['sklearn'] = None; import fastmlp; fastmlp.MLP\n"
        "try: fastmlp.MLPClassifier\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'fastmlp[sklearn]'" in done.stdout


@compiled_only
def test_iris():
    """Fisher's flowers: 150 rows, of which a good classifier gets 3 wrong or fewer."""
    X, y = load_iris(return_X_y=True)
    classifier = MLPClassifier((10,), solver="lbfgs", random_state=0, standardize=True)
    assert classifier.fit(X, y).score(X, y) >= 0.98
