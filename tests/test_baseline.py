"""The warning of a fit of unscaled data that ends no better than predicting the mean."""

import signal
import warnings

import numpy as np
import pytest

import fastmlp
from fastmlp import MLP, Objective, baseline


@pytest.fixture
def raw():
    """Columns of scale 1 to 10,000, and a target of scale 1."""
    rng = np.random.default_rng(5)
    Z = rng.normal(size=(300, 3))
    return Z * [1, 100, 1e4], np.sin(Z[:, 0])


def links(loss, mean):
    """An output that is made constant by biases, and the biases that make it the mean."""
    if loss == "cross_entropy":
        return "softmax", np.log(mean)
    if loss == "binary_cross_entropy":
        return "sigmoid", np.log(mean / (1 - mean))
    if loss == "poisson":
        return "exponential", np.log(mean)
    if loss == "logistic":  # at the log odds of label 1
        return "identity", np.log((1 + mean) / (1 - mean))
    if loss == "hinge":
        return "identity", np.sign(mean)
    return "identity", mean


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("loss", "draw"),
    [
        ("squared_error", lambda rng: rng.normal(3, 1, (70_000, 2))),
        ("absolute_error", lambda rng: rng.normal(3, 1, (50, 2))),
        ("huber(0.5)", lambda rng: rng.normal(3, 1, (50, 2))),
        ("quantile(0.9)", lambda rng: rng.normal(3, 1, (50, 2))),
        ("quantile(0.2, 0.9)", lambda rng: rng.normal(3, 1, (50, 2))),
        ("cross_entropy", lambda rng: rng.dirichlet([1, 2, 3], 50)),
        ("cross_entropy(0.3)", lambda rng: rng.dirichlet([1, 2, 3], 50)),
        ("cross_entropy(0.3)", lambda rng: rng.choice(3, 50, p=[0.6, 0.3, 0.1])),
        ("cross_entropy", lambda rng: rng.choice(3, 50, p=[0.6, 0.3, 0.1])),
        ("binary_cross_entropy", lambda rng: rng.uniform(0, 0.7, (50, 2))),
        ("logistic", lambda rng: rng.choice([-1, 1], (50, 2), p=[0.7, 0.3])),
        ("hinge", lambda rng: rng.choice([-1, 1], (50, 2), p=[0.7, 0.3])),
        ("poisson", lambda rng: rng.poisson(3, (50, 2))),
    ],
)
def test_the_loss_of_the_mean_is_that_of_a_network_without_weights(loss, draw, weighted):
    rng = np.random.default_rng(0)
    y = draw(rng)
    weights = rng.uniform(size=len(y)) if weighted else None
    rows = np.eye(3)[y] if y.ndim == 1 else y
    if loss == "cross_entropy(0.3)":
        rows = 0.7 * rows + 0.1
    output, biases = links(loss.partition("(")[0], np.average(rows, axis=0, weights=weights))
    net = MLP([1, rows.shape[1]], output=output, dtype="float64", seed=0)
    net.weights[0][:], net.biases[0][:] = 0, biases
    objective = Objective(net, np.ones((len(y), 1)), y, loss=loss, sample_weight=weights)
    _, Y, w = objective.samples
    found = baseline.loss_of_mean(objective.problem, Y.reshape(len(y), -1), w, rows.shape[1])
    np.testing.assert_allclose(found, objective.value(), rtol=1e-12)


def test_columns_of_unlike_scale_are_named(raw):
    X, y = raw
    pattern = (
        r"^the fit ended with a loss of \S+, no better than always predicting the mean of y, "
        r"0\.\d+\. Networks train on numbers of about 1, but the root mean square of column 2 of "
        r"X is 9\.\de\+03: use standardize, or scale the data$"
    )
    with pytest.warns(UserWarning, match=pattern) as caught:
        MLP([3, 32, 1], seed=0).fit(X, y, seed=0)
    assert caught[0].filename == __file__
    named = MLP([3, 32, 1], seed=0)
    named.feature_names = ["age", "height", "income"]
    with pytest.warns(UserWarning, match="the root mean square of column 'income' of X is") as one:
        fastmlp.fit(named, X, y, seed=0)
    assert [warning.filename for warning in one] == [__file__]


@pytest.mark.parametrize(("scale", "shown"), [(1e-6, r"1\.2e-06"), (1e5, r"1\.2e\+05")])
def test_a_target_far_from_1_is_named(raw, scale, shown):
    X, y = raw
    Z, y = X / [1, 100, 1e4], scale * (1 + y)
    with pytest.warns(UserWarning, match=f"the root mean square of y is {shown}: use standardize"):
        MLP([3, 32, 1], seed=0).fit(Z, y, epochs=3, seed=0)


def test_both_are_named(raw):
    X, y = raw
    pattern = r"root mean square of column 2 of X is \S+ and that of y is 1\.2e\+05: use st"
    with pytest.warns(UserWarning, match=pattern):
        MLP([3, 32, 1], seed=0).fit(X, 1e5 * (1 + y), epochs=3, seed=0)


def test_classes_are_compared_with_their_shares(raw):
    X, _ = raw
    labels = (X[:, 0] > 1).astype(int)
    with pytest.warns(UserWarning, match="no better than always predicting the shares of the cl"):
        MLP([3, 32, 2], output="softmax", seed=0).fit(X, labels, epochs=3, seed=0)


def test_no_warning_where_it_would_not_help(raw, monkeypatch):
    """Warnings are errors in these tests."""
    X, y = raw
    Z = X / [1, 100, 1e4]
    # A short fit of scaled data ends anywhere.
    net = MLP([3, 32, 1], seed=0)
    net.theta *= 5
    assert net.fit(Z, y, epochs=1, seed=0).loss > y.var() / 2
    MLP([3, 32, 1], seed=0).fit(X, 1e5 * y, epochs=1, seed=0, standardize=True)
    # Zeros have no other scale.
    MLP([3, 32, 1], seed=0).fit(0 * X, y, optimizer="sgd(learning_rate=0.5)", epochs=1, seed=0)
    # Who learns on raw data is not told to scale them, and X is not looked at.
    monkeypatch.delattr(baseline, "_sizes")
    result = MLP([3, 1], seed=0).fit(X, 10 * X[:, 2], optimizer="lbfgs")
    assert result.loss < 1


def test_the_penalty_is_no_part_of_the_comparison(raw):
    X, _ = raw
    x = X[:, 1:2]
    net = MLP([1, 1], seed=0)
    net.theta = [1, 0]
    result = net.fit(x, x[:, 0], optimizer="sgd(learning_rate=1e-15)", epochs=1, l2=1e6)
    assert net.loss(x, x[:, 0]) < 1e-3 < x.var() < result.loss


def test_networks_side_by_side_warn_once(raw):
    X, y = raw
    nets = [MLP([3, 32, 1], seed=i) for i in range(3)]
    with pytest.warns(UserWarning, match=r"^\d of 3 networks, first nets\[\d\]: the fit") as caught:
        fastmlp.fit_many(nets, X, y, epochs=2, seeds=0)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="^the fit ended") as caught:
        nets[0].fit(X, y, epochs=2, restarts=2, seed=0)
    assert len(caught) == 1


def test_a_fit_that_was_interrupted_is_let_be(raw):
    X, y = raw

    def interrupt(progress):
        signal.raise_signal(signal.SIGINT)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = MLP([3, 32, 1], seed=0).fit(X, y, seed=0, callbacks=interrupt)
    assert result.status == "interrupted"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_columns", [1, 3])
@pytest.mark.parametrize("shift", [0.0, 1.0, 1e4, 1e30])
def test_what_is_told_in_a_hurry_is_true(shift, n_columns, dtype):
    """Sums are of float32, in several chains; where the squares leave no digits nothing is told."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 127, 128, 300, 5000, 300_000):
        Y = (shift + rng.standard_normal((n, n_columns))).astype(dtype)
        Y[n // 2 :] += 1  # so that blocks have other means than all rows
        problem = fastmlp.Objective(MLP([1, n_columns], dtype=dtype), np.zeros((n, 1)), Y).problem
        nothing = np.empty(0, dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            exactly = baseline.loss_of_mean(problem, Y, nothing, n_columns)

            def is_surely(loss, weights=nothing, problem=problem, Y=Y):
                return baseline._is_surely_better(loss, problem, Y, weights)

            # Nine tenths of what is found count, which is to 2% no more than the loss.
            shares = (0.9 * 1.02, 1.0, 2.0, np.nan)
            assert not any(is_surely(share * exactly) for share in shares)
            if n != 2:  # whose halves have other means
                few = is_surely(0.01 * exactly)
                assert is_surely(0.9 * 0.5 * exactly) == few == (shift <= 1 and n > 2)
        assert not is_surely(0.0, np.ones(n, dtype))
