"""fit(standardize=True): trained on scaled data, and a network for data as they are."""

import numpy as np
import pytest
from marks import compiled_only

import fastmlp
from fastmlp import LBFGS, MLP, Adam

SCALES = np.array([1.0, 100.0, 1e4])
OFFSETS = np.array([-3.0, 500.0, 0.0])


@pytest.fixture
def data():
    """Columns of scale 1 to 10,000, and a target of about 100,000."""
    rng = np.random.default_rng(5)
    Z = rng.normal(size=(300, 3))
    y = 1e5 * (1 + np.sin(Z[:, 0]) + Z[:, 1] * Z[:, 2] / 2)
    return Z * SCALES + OFFSETS, y


def standard(columns):
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def r2(y, outputs):
    return 1 - np.square(outputs[:, 0] - y).mean() / y.var()


@compiled_only
def test_raw_tables_train_well(data):
    X, y = data
    net = MLP([3, 32, 1], activation="tanh", seed=0)
    net.fit(
        X, y, optimizer=[Adam(learning_rate=0.01), LBFGS()], epochs=100, seed=0, standardize=True
    )
    assert r2(y, net.predict(X)) > 0.99


@compiled_only
@pytest.mark.parametrize("hidden", [[], [8], [8, 6]])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", "levenberg_marquardt(max_iterations=5)"])
def test_it_is_a_fit_on_standardized_data(hidden, optimizer, data):
    X, y = data
    weights = np.ones(len(X))
    standardized = MLP([3, *hidden, 1], dtype="float64", seed=1)
    expected = standardized.copy()
    options = {"optimizer": optimizer, "epochs": 5, "l2": 1e-3, "seed": 0}
    result = standardized.fit(X, y, sample_weight=weights, standardize=True, **options)
    alone = expected.fit(standard(X), standard(y), **options)
    np.testing.assert_allclose(result.loss, alone.loss, rtol=1e-9)
    np.testing.assert_array_equal(result.theta, standardized.theta)
    answers = expected.predict(standard(X)) * y.std() + y.mean()
    # Means and variances that differ in their last bit are amplified by a few steps.
    np.testing.assert_allclose(standardized.predict(X), answers, atol=1e-8 * y.max())


@compiled_only
def test_classes_keep_their_targets(data):
    X, _ = data
    labels = (X[:, 1] > 500).astype(int) + (X[:, 2] > 0)
    net = MLP([3, 16, 3], output="softmax", dtype="float64", seed=0)
    expected = net.copy()
    result = net.fit(X, labels, optimizer="lbfgs", epochs=8, standardize=True)
    alone = expected.fit(standard(X), labels, optimizer="lbfgs", epochs=8)
    np.testing.assert_allclose(result.loss, alone.loss, rtol=1e-9)
    # The targets have no unit: the objective is that of the network on data as they are.
    np.testing.assert_allclose(net.loss(X, labels), result.loss, rtol=1e-9)


@compiled_only
@pytest.mark.parametrize(
    ("loss", "n_outputs"),
    [("huber(2e4)", 1), ("absolute_error", 1), ("quantile(0.9)", 1), ("quantile(0.1, 0.9)", 2)],
)
def test_a_loss_in_the_unit_of_the_target_keeps_it(loss, n_outputs, data):
    """Twice the target, and twice Huber's transition, is the same problem."""
    X, y = data
    y = np.column_stack([y] * n_outputs)
    nets = [MLP([3, 8, n_outputs], activation="tanh", dtype="float64", seed=0) for _ in range(2)]
    nets[0].fit(X, y, loss=loss, epochs=5, seed=0, standardize=True)
    nets[1].fit(X, 2 * y, loss=loss.replace("2e4", "4e4"), epochs=5, seed=0, standardize=True)
    np.testing.assert_allclose(nets[1].predict(X), 2 * nets[0].predict(X), rtol=1e-6)


def test_several_targets_and_sample_weights(data):
    """A row of weight 2 is that row twice, also for means and variances."""
    X, y = data
    Y = np.column_stack([y, 1e-3 * X[:, 0]])
    weights = np.where(np.arange(len(X)) < 100, 2.0, 1.0)
    nets = [MLP([3, 8, 2], dtype="float64", seed=0) for _ in range(2)]
    options = {"optimizer": "lbfgs", "epochs": 10, "standardize": True}
    nets[0].fit(X, Y, sample_weight=weights, **options)
    repeated = np.r_[:100, :300]
    nets[1].fit(X[repeated], Y[repeated], **options)
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), rtol=1e-5)


def test_a_second_fit_goes_on_from_the_first(data):
    X, y = data
    net = MLP([3, 8, 1], dtype="float64", seed=0)
    first = net.fit(X, y, optimizer="lbfgs", epochs=20, standardize=True)
    second = net.fit(X, y, optimizer="lbfgs", epochs=5, standardize=True)
    np.testing.assert_allclose(second.trace[0].objective, first.loss, rtol=1e-9)
    assert second.loss < first.loss


def test_validation_data_are_scaled_alike(data):
    X, y = data
    net = MLP([3, 8, 1], dtype="float64", seed=0)
    trace = net.fit(X, y, epochs=3, validation_data=(X, y), standardize=True, seed=0).trace
    # In units of the target it is the mean squared error, over the variance of the target.
    expected = np.square(net.predict(X)[:, 0] - y).mean() / 2 / y.var()
    np.testing.assert_allclose(trace[-1].validation_loss, expected, rtol=1e-9)


def test_callbacks_see_the_network_on_data_as_they_are(data):
    X, y = data
    net = MLP([3, 8, 1], dtype="float64", seed=0)
    errors = []

    def look(progress):
        assert progress.network is net
        assert progress.theta is net.theta
        errors.append(np.square(net.predict(X)[:, 0] - y).mean() / 2 / y.var())
        if progress.record.epoch == 3:
            raise StopIteration

    result = net.fit(X, y, optimizer="lbfgs", epochs=9, callbacks=look, standardize=True)
    np.testing.assert_allclose(errors, result.trace["objective"], rtol=1e-9)


def test_an_exception_leaves_the_network_on_data_as_they_are(data):
    X, y = data
    nets = [MLP([3, 8, 1], seed=0) for _ in range(2)]

    def fail(progress):
        if progress.record.epoch == 2:
            raise RuntimeError

    nets[0].fit(X, y, epochs=2, seed=0, standardize=True)
    with pytest.raises(RuntimeError):
        nets[1].fit(X, y, epochs=3, seed=0, standardize=True, callbacks=fail)
    np.testing.assert_array_equal(nets[1].theta, nets[0].theta)


def test_a_checkpoint_goes_on_with_the_same_bits(data, tmp_path):
    X, y = data
    whole, parts = (MLP([3, 8, 1], seed=0) for _ in range(2))
    whole.fit(X, y, epochs=6, seed=0, standardize=True)
    checkpoint = tmp_path / "fit.checkpoint"
    parts.fit(X, y, epochs=3, seed=0, standardize=True, checkpoint=checkpoint)
    parts.fit(X, y, epochs=6, seed=0, standardize=True, checkpoint=checkpoint)
    np.testing.assert_array_equal(parts.theta, whole.theta)
    with pytest.raises(ValueError, match="differs in data"):
        parts.fit(X, y, epochs=9, seed=0, checkpoint=checkpoint)


def test_fit_many_and_restarts_standardize_by_the_rows_of_each(data):
    X, y = data
    rows = [np.arange(0, 200), np.arange(100, 300)]
    nets = [MLP([3, 8, 1], seed=i) for i in range(2)]
    alone = [net.copy() for net in nets]
    fastmlp.fit_many(nets, X, y, rows=rows, seeds=[0, 1], epochs=3, standardize=True)
    for seed, (net, one, part) in enumerate(zip(nets, alone, rows, strict=True)):
        one.fit(X[part], y[part], seed=seed, epochs=3, standardize=True)
        np.testing.assert_array_equal(net.theta, one.theta)
    net = MLP([3, 8, 1], seed=0)
    net.fit(X, y, epochs=20, restarts=3, seed=0, standardize=True)
    assert r2(y, net.predict(X)) > 0


@compiled_only
def test_float32_loses_no_more_than_the_last_digits_of_X_are_worth(data):
    """Columns whose mean is 1000 times their spread: digits that float32 has not are no loss."""
    X, y = data
    X = (X + 1000 * SCALES).astype(np.float32)
    net = MLP([3, 16, 1], activation="tanh", seed=0)
    result = net.fit(X, y, optimizer="lbfgs", epochs=200, standardize=True)
    outputs = net.predict(X)[:, 0].astype(np.float64)
    error = np.square(outputs - y).mean() / 2 / y.var()
    rng = np.random.default_rng(0)
    neighbours = np.nextafter(X, np.where(rng.random(X.shape) < 0.5, -np.inf, np.inf).astype("f"))
    moved = net.predict(neighbours)[:, 0] - outputs
    assert error < 0.01
    # The loss in training was that of exact scaling.
    in_training = np.sqrt(2 * result.loss * y.var())
    assert abs(np.sqrt(2 * error * y.var()) - in_training) < 2 * np.sqrt(np.square(moved).mean())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_rows", [3, 300, 30_000])
def test_a_column_of_one_number_has_no_spread(n_rows, dtype):
    """Though the mean of so many rows is rounded; its weights stay of the size they were drawn."""
    X = np.column_stack([np.linspace(-1, 1, n_rows), np.full(n_rows, 0.1)])
    net = MLP([2, 4, 1], dtype=dtype, seed=0)
    drawn = np.abs(net.weights[0][1]).max()
    net.fit(X, X[:, 0], optimizer="lbfgs", epochs=1, standardize=True)
    assert np.abs(net.weights[0][1]).max() <= drawn


def test_two_numbers_side_by_side_are_a_spread():
    """Which float32 holds; digits of outputs are lost all the same, and a warning says so."""
    labels = np.random.default_rng(0).integers(2, size=200)
    X = (1e6 + labels[:, None]).astype(np.float32)
    net = MLP([1, 1], seed=0)
    with pytest.warns(UserWarning, match="float32 rounds column 0 of X to 0.24 of its"):
        net.fit(X, labels, optimizer="lbfgs", standardize=True)
    assert r2(labels, net.predict(X)) > 0.5
    exact = MLP([1, 1], dtype="float64", seed=0)
    exact.fit(X, labels, optimizer="lbfgs", standardize=True)
    assert r2(labels, exact.predict(X)) > 0.999


def test_rows_without_weight_are_no_part_of_a_spread():
    X = np.column_stack([np.linspace(-1, 1, 50), np.full(50, 3.0)])
    X[0, 1] = 7.0
    weights = np.ones(50)
    weights[0] = 0
    nets = [MLP([2, 4, 1], seed=0) for _ in range(2)]
    nets[0].fit(X, X[:, 0], optimizer="lbfgs", sample_weight=weights, standardize=True)
    nets[1].fit(X[1:], X[1:, 0], optimizer="lbfgs", standardize=True)
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-3, atol=1e-4)


def test_data_whose_scale_no_weight_can_have_are_refused():
    rng = np.random.default_rng(0)
    X = (rng.uniform(1, 2, (50, 2)) * 1e-44).astype(np.float32)  # 1 / 1e-44 is infinite
    net = MLP([2, 4, 1], seed=0)
    before = net.theta.copy()
    with pytest.raises(ValueError, match="standardize must be False for data so large or small"):
        net.fit(X, rng.normal(size=50), standardize=True)
    np.testing.assert_array_equal(net.theta, before)


def test_it_must_be_a_flag(data):
    X, y = data
    with pytest.raises(TypeError, match="standardize must be True or False, got 'yes'"):
        MLP([3, 8, 1], seed=0).fit(X, y, standardize="yes")
