"""Nothing inside depends on the caller's `numpy.seterr`: rounding to 0 is no error."""

import numpy as np
import pytest
from marks import compiled_only
from scipy import sparse

import fastmlp
from fastmlp import MLP
from fastmlp.plotting import plot_paths
from fastmlp.scoring import score
from fastmlp.training import OPTIMIZERS

pytestmark = [
    compiled_only,
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer. Maximum iterations"),
    pytest.mark.filterwarnings("ignore:lbfgs failed to converge"),
]

SCHEDULES = {
    "step": fastmlp.StepDecay(0.1, factor=0.1, every=1),
    "exponential": fastmlp.ExponentialDecay(0.1, rate=1.0),
    "inverse_time": fastmlp.InverseTime(0.1, power=400.0),
    "warmup": fastmlp.WarmUp(2, fastmlp.ExponentialDecay(0.1, rate=1.0)),
}


def tiny(n=24):
    """Rows and targets, some of them so small that float32, or a square, has 0 for them."""
    X = np.random.default_rng(0).normal(size=(n, 3))
    y = np.sin(X[:, 0])
    X[::3, 1], y[::3] = 1e-50, 1e-300
    X[1, 2] = 5e-324
    return X, y


def in_both_states(call):
    """What a call gives in NumPy's default state, and where all that rounding does raises."""
    with np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"):
        plain = call()
    with np.errstate(all="raise"):
        return plain, call()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_networks(dtype):
    X, y = tiny()
    net = MLP([3, 4, 1], dtype=dtype, seed=0)
    weights = np.where(np.arange(len(X)) % 2, 1e-320, 1.0)
    objective = fastmlp.Objective(net, X, y, sample_weight=weights)
    theta, small = np.full(net.n_params, 1e-50), 1e-170 * y
    for call in (
        lambda: net.predict(X),
        lambda: net.loss(X, y, sample_weight=weights, l2=1e-300),
        lambda: net.loss_and_grad(X, y, sample_weight=weights)[1],
        lambda: objective.value(theta),
        lambda: objective.gauss_newton(theta)[2],
        lambda: score(net, X, small),
        lambda: MLP.from_architecture(net.architecture(), theta).theta,
        lambda: fastmlp.check_gradient(net, X, y).errors["weights[0]"],
    ):
        np.testing.assert_array_equal(*in_both_states(call))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, dtype):
    X, y = tiny()

    def fit():
        net = MLP([3, 4, 1], dtype=dtype, activation="tanh", seed=0)
        options = {} if name == "levenberg_marquardt" else {"l2": 1e-5}
        return net.fit(X, y, optimizer=name, epochs=30, seed=0, **options)

    plain, strict = in_both_states(fit)
    np.testing.assert_array_equal(strict.theta, plain.theta)
    assert strict.status == plain.status


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_functions(name):
    """One whose gradients become as small as numbers can be."""

    def valley(x):
        with np.errstate(under="ignore"):
            return float((x**4).sum()), 4 * x**3

    plain, strict = in_both_states(
        lambda: fastmlp.minimize(
            fastmlp.LeastSquares(lambda x: (x**2, np.diag(2 * x)))
            if name == "levenberg_marquardt"
            else valley,
            [1e-100, 1.0],
            optimizer=name,
            max_iterations=20,
            seed=0,
        )
    )
    np.testing.assert_array_equal(strict.theta, plain.theta)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    times = np.arange(2000.0)
    assert in_both_states(lambda: SCHEDULES[name].values(times))[1][-1] == 0
    X, y = tiny()
    optimizer = fastmlp.SGD(SCHEDULES[name])
    fits = in_both_states(
        lambda: MLP([3, 1], seed=0).fit(X, y, optimizer=optimizer, epochs=900, seed=0)
    )
    np.testing.assert_array_equal(fits[0].theta, fits[1].theta)


def test_many_networks():
    X, y = tiny()

    def fit():
        nets = [MLP([3, 4, 1], seed=i) for i in range(3)]
        fastmlp.fit_many(nets, X, y, epochs=2, seeds=0)
        nets[0].fit(X, y, restarts=2, epochs=2, seed=0)
        return np.concatenate([net.theta for net in nets])

    np.testing.assert_array_equal(*in_both_states(fit))


def test_comparisons(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    X, y = tiny()
    net = MLP([3, 4, 1], seed=0)
    optimizers = ["sgd(learning_rate=0.1)", "lbfgs", "bfgs"]

    def compare():
        comparison = fastmlp.compare(
            net, X, y, optimizers, passes=3, seeds=2, validation_data=(X, y), target=1e-300
        )
        comparison.to_csv(tmp_path / "traces.csv")
        comparison.to_json(tmp_path / "runs.json")
        problems = fastmlp.compare_problems(["rosenbrock"], optimizers, passes=20)
        problems.plot_profile(tmp_path / "profile.png")
        comparison.to_html(tmp_path / "page.html")
        plot_paths(lambda x: 1e-300 * (x**4).sum(), {"path": [[1, 1], [1e-50, 0]]})
        assert str(comparison)
        assert str(problems)
        return [run.result.loss for runs in comparison.runs.values() for run in runs]

    np.testing.assert_array_equal(*in_both_states(compare))


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_estimators(kind, dtype, container, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    X, y = tiny(60)
    if kind == "MLPClassifier":
        y = np.arange(60) % 3
    X = container(X.astype(dtype))

    def fit():
        found = []
        for params in (
            {"standardize": True, "early_stopping": True},
            {"solver": "lbfgs", "alpha": 1e-300},
            {"learning_rate": SCHEDULES["exponential"], "solver": "sgd"},
        ):
            estimator = getattr(fastmlp, kind)(
                hidden_layer_sizes=(4,), max_iter=10, tol=0, random_state=0, **params
            )
            estimator.fit(X, y, sample_weight=np.where(np.arange(60) % 2, 1e-320, 1.0))
            estimator.save(tmp_path / "estimator")
            estimator = estimator.load(tmp_path / "estimator")
            found += [estimator.predict(X), estimator.score(X, y), *estimator.hidden_activations(X)]
            if kind == "MLPClassifier":
                estimator.coefs_[-1] *= 500  # logits so far apart that probabilities vanish
                found += [estimator.predict_proba(X), estimator.predict_log_proba(X)]
        return found

    plain, strict = in_both_states(fit)
    for one, other in zip(plain, strict, strict=True):
        np.testing.assert_array_equal(one, other)


def test_functions_of_the_caller_keep_the_callers_state():
    seen = []

    def note(*_):
        seen.append(np.geterr())

    def valley(x):
        note()
        return float(x @ x), 2 * x

    X, y = tiny()
    with np.errstate(all="raise"):
        expected = np.geterr()
        MLP([3, 1]).fit(X, y, epochs=1, callbacks=note)
        fastmlp.minimize(valley, [1.0], callbacks=note)
        assert np.geterr() == expected
    assert len(seen) > 3
    assert all(state == expected for state in seen)
    with np.errstate(under="raise"), pytest.raises(FloatingPointError):
        fastmlp.minimize(lambda x: (x @ x, np.float64(1e-300) * x * 1e-300), [1.0])


def test_estimators_round_to_0():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    X, _ = tiny()
    narrow, constant = X.astype("f4"), np.full(len(X), 1e-44)

    def of_a_constant():
        regressor = fastmlp.MLPRegressor(constant="predict").fit(narrow, constant)
        return regressor.predict(narrow)

    def of_wide_weights():
        regressor = fastmlp.MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(
            narrow, X[:, 0]
        )
        regressor.coefs_ = [np.full(w.shape, 1e-50) for w in regressor.coefs_]
        return regressor.predict(narrow)

    def of_wide_rows():
        wide = X.astype(np.longdouble)
        wide[0, 0] = np.finfo(np.longdouble).tiny
        regressor = fastmlp.MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(
            wide, X[:, 0]
        )
        return regressor.predict(wide)

    for call in (of_a_constant, of_wide_weights, of_wide_rows):
        np.testing.assert_array_equal(*in_both_states(call))
