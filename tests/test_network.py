"""The model: layers and parameter counts, views of theta, starting weights, copies, bad input."""

import copy
import pickle
import re

import numpy as np
import pytest
import reference
from marks import both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import MLP, fit, pace
from fastmlp.kernels import threads
from fastmlp.network import Network

ELEMENTWISE = (
    "identity",
    "relu",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "exponential",
)


# Layers


@pytest.mark.parametrize(
    ("layer_sizes", "n_params"),
    [
        ([784, 16, 16, 10], 13_002),  # the digit network of every course
        ([784, 512, 512, 10], 669_706),
        ([1, 1], 2),
        ([2, 3, 1], 13),
    ],
)
def test_number_of_parameters(layer_sizes, n_params):
    net = MLP(layer_sizes)
    assert net.n_params == net.theta.size == n_params
    assert net.layer_sizes == tuple(layer_sizes)


def test_repr_tells_sizes_activations_and_parameters():
    net = MLP([784, 16, 16, 10], activation=["relu", "leaky_relu(0.2)"], output="softmax")
    text = repr(net)
    assert text.startswith("MLP 784-16-16-10, float32\n")
    for row in (
        r"1 +784 -> 16 +relu +12,560",
        r"2 +16 -> 16 +leaky_relu\(0.2\) +272",
        r"3 +16 -> 10 +softmax +170",
        r"13,002 parameters",
    ):
        assert re.search(row, text), text


def test_numpy_integers_and_any_sequence_are_fine_as_sizes():
    assert MLP(np.array([3, 2])).layer_sizes == (3, 2)
    assert MLP(size for size in (3, 2)).layer_sizes == (3, 2)
    assert all(type(size) is int for size in MLP(np.array([3, 2])).layer_sizes)


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype(">f8"), float])
def test_dtype(dtype):
    net = MLP([3, 2], dtype=dtype)
    assert net.dtype == net.theta.dtype == np.dtype(dtype).newbyteorder("=")
    assert net.predict(np.ones((1, 3))).dtype == net.dtype


def test_activations_one_for_all_or_one_for_each_layer():
    assert MLP([2, 3, 4, 1], activation="tanh").activations == ("tanh", "tanh", "identity")
    net = MLP([2, 3, 4, 1], activation=["elu", "gelu"], output="sigmoid")
    assert net.activations == ("elu", "gelu", "sigmoid")
    assert net.output == "sigmoid"
    assert MLP([2, 1], activation=[]).activations == ("identity",)


@pytest.mark.parametrize("hidden", ELEMENTWISE)
def test_each_layer_has_its_own_activation(hidden):
    """Against the NumPy twin; float64 to some roundings of values near 1."""
    activations = [hidden, "tanh"]
    net = MLP([3, 5, 4, 2], activation=activations, output="softmax", dtype="float64", seed=0)
    X = np.random.default_rng(1).normal(size=(7, 3))
    layers = reference.unpack(net.theta, net.layer_sizes)
    expected = reference.predict(layers, X, activations, "softmax")
    assert_allclose(net.predict(X), expected, rtol=1e-13)


@pytest.mark.parametrize(
    "text", ["leaky_relu(0.25)", "leaky_relu(slope=0.25)", " leaky_relu (.25)"]
)
def test_slope_of_leaky_relu(text):
    net = MLP([1, 1], output=text)
    net.theta = [1, 0]
    assert_array_equal(net.predict([[-3], [3]]), [[-0.75], [3]])
    assert net.output == "leaky_relu(0.25)"


def test_slope_of_leaky_relu_is_a_hundredth_by_default():
    net = MLP([1, 1], output="leaky_relu", dtype="float64")
    net.theta = [1, 0]
    assert net.predict([[-3]]) == -0.03


# theta and its views


def test_weights_and_biases_are_views_of_theta_layer_by_layer():
    net = MLP([2, 3, 1])
    net.theta = np.arange(13)
    assert_array_equal(net.weights[0], [[0, 1, 2], [3, 4, 5]])
    assert_array_equal(net.biases[0], [6, 7, 8])
    assert_array_equal(net.weights[1], [[9], [10], [11]])
    assert_array_equal(net.biases[1], [12])
    net.weights[1][2, 0] = -5
    net.biases[0][:] = 20
    assert_array_equal(net.theta, [0, 1, 2, 3, 4, 5, 20, 20, 20, 9, 10, -5, 12])


def test_assigning_theta_copies_the_values_in():
    net = MLP([2, 1])
    theta, weights = net.theta, net.weights[0]
    values = np.array([1.0, 2.0, 3.0])
    net.theta = values
    values[:] = 7
    assert net.theta is theta
    assert_array_equal(weights, [[1], [2]])
    net.theta += 1
    assert_array_equal(weights, [[2], [3]])
    net.theta = theta[::-1]
    assert_array_equal(theta, [4, 3, 2])


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1, 2], ValueError, r"theta must have the shape \(3,\), got \(2,\)"),
        ([[1], [2], [3]], ValueError, r"theta must have the shape \(3,\), got \(3, 1\)"),
        (1.0, ValueError, r"theta must have the shape \(3,\), got \(\)"),
        ([1, np.nan, 3], ValueError, "theta must be finite, got nan at index 1"),
        ([1, 2, -np.inf], ValueError, "theta must be finite, got -inf at index 2"),
        ([1, 2, 1e39], ValueError, "theta must be finite, got inf at index 2"),
        (["a", "b", "c"], TypeError, "theta must hold real numbers, got dtype <U1"),
        ([1j, 2, 3], TypeError, "theta must hold real numbers, got dtype complex128"),
        ([None, 2, 3], TypeError, "theta must hold real numbers, got dtype object"),
    ],
)
def test_theta_refuses_what_does_not_fit_and_stays(values, error, message):
    net = MLP([2, 1], seed=0)
    before = net.theta.copy()
    with pytest.raises(error, match=message):
        net.theta = values
    assert_array_equal(net.theta, before)


# Starting weights


def test_the_same_seed_gives_the_same_weights_and_another_gives_others():
    def theta(seed):
        return MLP([5, 4, 3], seed=seed).theta

    assert_array_equal(theta(3), theta(3))
    assert (theta(3) != theta(4)).any()
    assert (theta(None) != theta(None)).any()


@pytest.mark.parametrize("init", ["he_normal", "glorot_uniform"])
def test_the_same_seed_gives_the_same_weights_in_both_precisions(init):
    single = MLP([5, 4, 3], init=init, seed=3)
    double = MLP([5, 4, 3], init=init, seed=3, dtype="float64")
    assert_array_equal(single.theta, double.theta.astype(np.float32))


def test_biases_start_at_zero():
    for biases in MLP([5, 4, 3], seed=0).biases:
        assert_array_equal(biases, 0)


N_IN, N_OUT = 400, 300
GLOROT = 2 / (N_IN + N_OUT)  # Glorot & Bengio, AISTATS 2010, equation 12
HE = 2 / N_IN  # He et al., ICCV 2015, equation 10
LECUN = 1 / N_IN  # LeCun et al., "Efficient BackProp" (1998), section 4.6


@pytest.mark.parametrize(
    ("init", "activation", "variance", "uniform"),
    [
        ("glorot_uniform", "relu", GLOROT, True),
        ("glorot_normal", "relu", GLOROT, False),
        ("he_uniform", "tanh", HE, True),
        ("he_normal", "tanh", HE, False),
        ("lecun_uniform", "relu", LECUN, True),
        ("lecun_normal", "relu", LECUN, False),
        ("auto", "tanh", GLOROT, True),
        ("auto", "sigmoid", GLOROT, True),
        ("auto", "identity", GLOROT, True),
        ("auto", "relu", HE, True),
        ("auto", "leaky_relu", HE, True),
        ("auto", "selu", LECUN, False),
    ],
)
def test_distribution_of_starting_weights(init, activation, variance, uniform):
    """Moments to five standard errors; those of the variance follow from the kurtosis."""
    weights = MLP([N_IN, N_OUT, 1], activation=activation, init=init, seed=7).weights[0]
    n = weights.size
    kurtosis = 1.8 if uniform else 3.0
    assert abs(weights.mean(dtype=float)) < 5 * np.sqrt(variance / n)
    assert abs(weights.var(dtype=float) / variance - 1) < 5 * np.sqrt((kurtosis - 1) / n)
    # The largest of 120,000 normal draws is beyond four standard deviations.
    largest = np.abs(weights).max() / np.sqrt(variance)
    assert largest <= np.float32(np.sqrt(3)) if uniform else largest > 4


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "elu", "selu"])
def test_auto_keeps_signals_alive_through_ten_layers(activation):
    """Signals may shrink or grow by some per cent a layer, not by a factor of two."""
    net = MLP([200] * 11, activation=activation, output=activation, seed=5)
    X = np.random.default_rng(5).normal(size=(100, 200))
    layers = reference.unpack(net.theta, net.layer_sizes)
    _, outputs = reference.forward(layers, X, [activation] * 9, activation)
    first, last = (np.mean(outputs[i] ** 2) for i in (0, -1))
    assert 0.05 < last / first < 20


# Copies


COPIERS = {
    "copy": MLP.copy,
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
}


@pytest.mark.parametrize("copier", COPIERS.values(), ids=COPIERS)
@both_precisions
def test_copies_are_equal_and_independent_with_their_views_intact(copier, dtype):
    slope = 1 / 3  # more digits than a float is shown with
    net = MLP([3, 4, 2], activation=f"leaky_relu({slope!r})", dtype=dtype, seed=1)
    X = np.random.default_rng(2).normal(size=(5, 3))
    before = net.predict(X)

    clone = copier(net)
    assert repr(clone) == repr(net)
    assert clone.activations == net.activations
    assert_array_equal(clone.theta, net.theta)
    assert_array_equal(clone.predict(X), before)

    assert not np.shares_memory(clone.theta, net.theta)
    for view in (*clone.weights, *clone.biases):
        assert np.shares_memory(view, clone.theta)
    clone.theta[:] = 0
    assert not clone.weights[0].any()
    assert_array_equal(clone.predict(X), 0)
    assert_array_equal(net.predict(X), before)


# A pickle made when MLP was defined in fastmlp.network, which pickles name.
OLDER_PICKLE = (
    b"\x80\x04\x95E\x01\x00\x00\x00\x00\x00\x00\x8c\x0ffastmlp.network\x94\x8c\x03MLP\x94\x93\x94)"
    b"\x81\x94}\x94(\x8c\x0carchitecture\x94}\x94(\x8c\x0blayer_sizes\x94]\x94(K\x02K\x01e\x8c\n"
    b"activation\x94]\x94\x8c\x06output\x94\x8c\x08identity\x94\x8c\x05dtype\x94\x8c\x07float32\x94"
    b"\x8c\x04init\x94\x8c\x04auto\x94u\x8c\x05theta\x94\x8c\x16numpy._core.multiarray\x94\x8c\x0c"
    b"_reconstruct\x94\x93\x94\x8c\x05numpy\x94\x8c\x07ndarray\x94\x93\x94K\x00\x85\x94C\x01b\x94"
    b"\x87\x94R\x94(K\x01K\x03\x85\x94h\x15\x8c\x05dtype\x94\x93\x94\x8c\x02f4\x94\x89\x88\x87\x94R"
    b"\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\x89C\x0czW\xc6>6\xb1&"
    b"\xbf\x00\x00\x00\x00\x94t\x94b\x8c\rfeature_names\x94\x8c\x01a\x94\x8c\x01b\x94\x86\x94ub."
)


def test_an_older_pickle_is_read():
    net = pickle.loads(OLDER_PICKLE)
    assert type(net) is MLP
    assert net.feature_names == ("a", "b")
    theta = np.array([0.38738614, -0.6511415, 0], "float32")
    assert_array_equal(net.theta, theta)
    X = np.array([[2, 0], [0, 4]])  # factors that round nothing
    assert_array_equal(net.predict(X)[:, 0], [2 * theta[0], 4 * theta[1]])


def test_all_that_knows_networks_is_content_with_one_that_can_do_nothing_itself():
    X = np.random.default_rng(0).normal(size=(20, 3))
    trained = []
    for kind in (Network, MLP):
        net = kind([3, 4, 2], seed=1)
        fit(
            net, X, X[:, :2], optimizer="adam(epochs=2)+lbfgs(max_iterations=2)", seed=0, restarts=2
        )
        trained.append(net.theta)
    assert_array_equal(*trained)
    assert not hasattr(Network, "fit")


# Prediction


@pytest.mark.parametrize("output", [*ELEMENTWISE, "softmax"])
@both_precisions
def test_predict_equals_the_twin(output, dtype):
    """To some hundred roundings: sums of 17 products, and exp, which multiplies their error."""
    net = MLP([17, 9, 3], output=output, dtype=dtype, seed=2)
    X = np.random.default_rng(3).normal(size=(101, 17)).astype(dtype)
    layers = reference.unpack(net.theta, net.layer_sizes)
    expected = reference.predict(layers, X, ["relu"], output)
    predicted = net.predict(X)
    assert predicted.shape == (101, 3)
    assert predicted.dtype == net.dtype
    eps = 200 * np.finfo(dtype).eps
    assert_allclose(predicted, expected, rtol=eps, atol=eps)


def test_predict_gives_the_same_bits_for_any_number_of_threads_and_rows():
    net = MLP([17, 31, 5], output="softmax", seed=2)
    X = np.random.default_rng(3).normal(size=(203, 17))
    whole = net.predict(X)
    for n_threads in (1, 2, 3, 8):
        assert_array_equal(net.predict(X, n_threads=n_threads), whole)
    assert_array_equal(np.vstack([net.predict(row[None]) for row in X[:20]]), whole[:20])


@pytest.mark.parametrize("hidden", ELEMENTWISE)
@pytest.mark.parametrize("output", ["identity", "softmax"])
@both_precisions
def test_predict_gives_the_same_bits_as_the_forward_pass_of_training(hidden, output, dtype):
    """The loss and its gradient are 0 only if all outputs of the two are equal."""
    net = MLP([7, 20, 5], activation=hidden, output=output, dtype=dtype, seed=4)
    X = np.random.default_rng(5).normal(size=(50, 7)).astype(dtype)
    loss, gradient = net.loss_and_grad(X, net.predict(X), loss="absolute_error")
    assert loss == 0
    assert_array_equal(gradient, 0)


@compiled_only
def test_predict_gives_the_same_bits_however_often_compiled_code_comes_back(monkeypatch):
    """Here after every few rows, by turns in parts and alone."""
    net = MLP([20, 30, 3], output="softmax", seed=2)
    X = np.random.default_rng(3).normal(size=(5000, 20)).astype(np.float32)
    expected = net.predict(X, n_threads=1)
    monkeypatch.setattr(pace, "CALL_SECONDS", 0)
    monkeypatch.setattr(threads, "available_cores", lambda: 3)
    assert_array_equal(net.predict(X), expected)
    X[2000, 7] = np.inf
    with pytest.raises(ValueError, match=r"X must be finite, got inf at index \(2000, 7\)"):
        net.predict(X)


@pytest.mark.parametrize("n_rows", [1, 400])
def test_each_prediction_is_an_array_of_its_own(n_rows):
    net = MLP([3, 4, 2], seed=0)
    X = np.random.default_rng(1).normal(size=(n_rows, 3)).astype(np.float32)
    X.flags.writeable = False
    first, second = net.predict(X), net.predict(2 * X)
    assert first.flags.owndata
    assert not np.shares_memory(first, second)
    first[:] = 0
    assert_array_equal(net.predict(2 * X), second)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.ones((2, 3)), ValueError, r"X must have the shape \(n, 2\), .* got \(2, 3\)"),
        (np.ones(2), ValueError, r"X must have the shape \(n, 2\), .* got \(2,\)"),
        (np.ones((0, 2)), ValueError, r"X must have at least one row, got \(0, 2\)"),
        ([[1, 2], [3, np.nan]], ValueError, r"X must be finite, got nan at index \(1, 1\)"),
        ([["a", "b"]], TypeError, "X must hold real numbers, got an array of dtype <U1"),
    ],
)
def test_predict_refuses_bad_input(X, error, message, overflow):
    with pytest.raises(error, match=message):
        MLP([2, 1]).predict(X)


@pytest.mark.parametrize("as_given", [np.asarray, np.asfortranarray, np.float64, list])
@pytest.mark.parametrize("n_threads", [1, 2, None])
def test_predict_names_the_first_number_that_is_not_finite(as_given, n_threads, overflow):
    """Among many rows; -inf, which relu would turn into 0; in place and after a conversion."""
    net = MLP([3, 4, 1], seed=0)
    X = np.ones((300, 3), np.float32)
    X[234, 1] = -np.inf
    X[299, 0] = np.nan
    message = r"X must be finite, got -inf at index \(234, 1\)"
    with pytest.raises(ValueError, match=message):
        net.predict(as_given(X), n_threads=n_threads)
    net.biases[0][2] = -np.inf
    net.biases[0][3] = np.nan
    with pytest.raises(ValueError, match="theta must be finite, got -inf at index 14"):
        net.predict(as_given(X), n_threads=n_threads)


def test_predict_refuses_what_is_too_large_for_its_dtype(overflow):
    with pytest.raises(ValueError, match=r"X must be finite, got inf at index \(0, 1\)"):
        MLP([2, 1]).predict([[1, 1e39]])


def test_outputs_of_finite_numbers_may_be_infinite(overflow):
    net = MLP([1, 1], output="exponential")
    net.theta = [1, 0]
    assert_array_equal(net.predict([[-1e3], [0], [1e3]]), [[0], [1], [np.inf]])
    net = MLP([2, 1])
    net.theta = [3e38, 3e38, 0]
    assert_array_equal(net.predict([[1, 1], [1, -1], [0, 0]]), [[np.inf], [0], [0]])


@pytest.mark.parametrize("n_threads", [0, -1, 1.5, "two", True])
def test_predict_refuses_a_bad_number_of_threads(n_threads):
    with pytest.raises((ValueError, TypeError), match="n_threads must be an integer of at least 1"):
        MLP([2, 1]).predict(np.ones((1, 2)), n_threads=n_threads)


# Bad input


@pytest.mark.parametrize(
    ("layer_sizes", "error", "message"),
    [
        ([3, 0, 1], ValueError, r"layer_sizes\[1\] must be an integer of at least 1, got 0"),
        ([-1, 1], ValueError, r"layer_sizes\[0\] must be an integer of at least 1, got -1"),
        ([3, 1.5], TypeError, r"layer_sizes\[1\] must be an integer of at least 1, got 1.5"),
        ([3, 2.0], TypeError, r"layer_sizes\[1\] must be an integer of at least 1, got 2.0"),
        ([3, True], TypeError, r"layer_sizes\[1\] must be an integer of at least 1, got True"),
        (["a", 1], TypeError, r"layer_sizes\[0\] must be an integer of at least 1, got 'a'"),
        ([None, 1], TypeError, r"layer_sizes\[0\] must be an integer of at least 1, got None"),
        ([3, 10**12], ValueError, r"layer_sizes\[1\] must be at most 16777216, got 1000000000000"),
        ([3], ValueError, r"must name at least the inputs and the outputs, got \[3\]"),
        ([], ValueError, r"must name at least the inputs and the outputs, got \[\]"),
        (3, TypeError, "layer_sizes must be a sequence of integers, got 3"),
        (None, TypeError, "layer_sizes must be a sequence of integers, got None"),
        ("784", TypeError, "layer_sizes must be a sequence of integers, got '784'"),
    ],
)
def test_bad_layer_sizes(layer_sizes, error, message):
    with pytest.raises(error, match=message):
        MLP(layer_sizes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"activation": "rellu"},
            ValueError,
            "activation must be one of identity, relu, .*, got 'rellu'",
        ),
        (
            {"activation": "softmax"},
            ValueError,
            "activation must be one of identity, .*, got 'softmax'",
        ),
        ({"output": "soft max"}, ValueError, "output must be one of .*, softmax, got 'soft max'"),
        ({"output": None}, TypeError, "output must be one of .*, softmax, got None"),
        ({"activation": 3}, TypeError, "activation must be a name or a sequence of names, got 3"),
        ({"activation": ["relu", 3]}, TypeError, "activation must be one of .*, got 3"),
        (
            {"activation": ["relu"]},
            ValueError,
            "one activation for each of the 2 hidden layers, got 1",
        ),
        ({"activation": "relu(0.1)"}, ValueError, "activation 'relu' takes no parameter"),
        (
            {"activation": "leaky_relu(alpha=0.1)"},
            ValueError,
            r"activation must be like 'leaky_relu\(slope=0.5\)', got 'leaky_relu\(alpha=0.1\)'",
        ),
        ({"output": "leaky_relu(x)"}, ValueError, r"output must be like .*, got 'leaky_relu\(x\)'"),
        ({"output": "leaky_relu(0.1, 0.2)"}, ValueError, "output must be like .*leaky_relu"),
        ({"output": "leaky_relu(1)"}, ValueError, r"slope of leaky_relu must be in \[0, 1\)"),
        ({"output": "leaky_relu(nan)"}, ValueError, "slope of leaky_relu must be .*, got nan"),
        ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64, got 'float16'"),
        ({"dtype": "floaty"}, ValueError, "dtype must be float32 or float64, got 'floaty'"),
        ({"dtype": None}, ValueError, "dtype must be float32 or float64, got None"),
        ({"dtype": int}, ValueError, "dtype must be float32 or float64, got <class 'int'>"),
        ({"init": "he"}, ValueError, "init must be one of auto, .*lecun_normal, got 'he'"),
        ({"init": None}, TypeError, "init must be one of auto, .*lecun_normal, got None"),
        ({"seed": -1}, ValueError, "seed must be None or an integer from 0 up, got -1"),
        ({"seed": True}, TypeError, "seed must be None or an integer from 0 up, got True"),
        ({"seed": 1.5}, TypeError, "seed must be None or an integer from 0 up, got 1.5"),
        ({"seed": "a"}, TypeError, "seed must be None or an integer from 0 up, got 'a'"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        MLP([3, 4, 4, 2], **options)


def test_unknown_activation_is_refused_even_without_hidden_layers():
    with pytest.raises(ValueError, match="activation must be one of identity, relu"):
        MLP([3, 2], activation="foo")


@pytest.mark.parametrize("pieces", [{}, {"dropout": 0.1}, {"members": 2}])
def test_prediction_refuses_what_is_infinite_though_a_rectifier_hides_it(pieces):
    net = MLP([2, 2, 1], seed=0, **pieces)
    net.theta[:] = 1.0
    with pytest.raises(ValueError, match="X must"):
        net.predict(np.array([[0.0, -np.inf]]))
