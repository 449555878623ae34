"""Fitted estimators as files of ONNX, run by onnxruntime."""

import numpy as np
import pytest
from marks import compiled_only
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn", reason="estimators are scikit-learn's")
onnx = pytest.importorskip("onnx", reason="files of ONNX are written and checked by onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="files of ONNX are run by onnxruntime")
pandas = pytest.importorskip("pandas", reason="tables are frames of pandas")

from fastmlp import Categorical, MLPClassifier, MLPRegressor  # noqa: E402
from fastmlp.sklearn import TabularClassifier, TabularRegressor  # noqa: E402

pytestmark = [compiled_only, pytest.mark.filterwarnings("ignore:Stochastic Optimizer")]

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}  # what is promised

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)
CODES = (X[:, 0] > 0) + (X[:, 1] > 0.5).astype(int)  # of three classes


def session_of(estimator, path):
    estimator.to_onnx(path)
    onnx.checker.check_model(str(path), full_check=True)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(estimator, path, X):
    """Outputs by name."""
    session = session_of(estimator, path)
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": X}), strict=True))


def check_classifier(clf, path, X):
    found = run(clf, path, X)
    assert list(found) == ["label", "probabilities"]
    assert_array_equal(found["label"], clf.predict(X))
    assert_allclose(found["probabilities"], clf.predict_proba(X), **TOLERANCE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "loss", ["log_loss", "cross_entropy", "binary_cross_entropy", "logistic", "squared_error"]
)
def test_a_classifier(loss, n_classes, dtype, tmp_path):
    y = np.array(["no", "yes", "perhaps"])[np.minimum(CODES, n_classes - 1)]
    clf = MLPClassifier((8,), loss=loss, max_iter=5, random_state=0)
    check_classifier(clf.fit(X.astype(dtype), y), tmp_path / "clf.onnx", X.astype(dtype))


@pytest.mark.parametrize(
    "classes",
    [
        np.array([3, 7, 11], np.int8),
        np.array([1.0, 2.0, 4.0]),
        np.array([False, True, True]),
        np.array(["a", "bc", "ü"], object),
    ],
    ids=["int8", "float64", "bool", "object"],
)
def test_labels_keep_their_kind(classes, tmp_path):
    clf = MLPClassifier((4,), max_iter=3, random_state=0).fit(X, classes[CODES])
    found = run(clf, tmp_path / "clf.onnx", X)["label"]
    assert_array_equal(found, clf.predict(X))
    kind = classes.dtype.kind
    assert found.dtype == (np.int64 if kind == "i" else classes.dtype)


def test_classes_that_onnx_lacks_are_refused(tmp_path):
    y = np.array(["2020-01-01", "2021-01-01"], "datetime64[D]")[np.minimum(CODES, 1)]
    clf = MLPClassifier((4,), max_iter=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"to_onnx takes classes that are strings.*datetime64"):
        clf.to_onnx(tmp_path / "clf.onnx")


def test_several_labels_to_a_row(tmp_path):
    Y = (X[:, :3] > 0).astype(int)
    clf = MLPClassifier((8,), max_iter=5, random_state=0).fit(X, Y)
    check_classifier(clf, tmp_path / "clf.onnx", X)


def test_a_loss_without_probabilities(tmp_path):
    clf = MLPClassifier((8,), loss="hinge", max_iter=5, random_state=0).fit(X, CODES)
    found = run(clf, tmp_path / "clf.onnx", X)
    assert list(found) == ["label"]
    assert_array_equal(found["label"], clf.predict(X))


def test_a_single_class(tmp_path):
    clf = MLPClassifier((4,), constant="predict", max_iter=2, random_state=0)
    check_classifier(clf.fit(X, np.full(len(X), 5)), tmp_path / "clf.onnx", X)


@pytest.mark.parametrize("members", [1, 3])
def test_pieces_and_a_scaling_that_is_part_of_the_weights(members, tmp_path):
    codes = np.column_stack([100 + 10 * X[:, :3], RNG.integers(-1, 4, len(X))]).astype(np.float32)
    clf = MLPClassifier(
        (8, 8),
        norm="layer",
        dropout=0.1,
        inputs=[Categorical(3, 4)],
        members=members,
        standardize=True,
        max_iter=5,
        random_state=0,
    )
    check_classifier(clf.fit(codes, CODES), tmp_path / "clf.onnx", codes)


@pytest.mark.parametrize("columns", [None, 2])
def test_a_regressor(columns, tmp_path):
    y = X[:, 0] * X[:, 1] if columns is None else X[:, :columns] ** 2
    model = MLPRegressor(hidden_layer_sizes=(8,), standardize=True, max_iter=5, random_state=0).fit(
        X, y
    )
    found = run(model, tmp_path / "model.onnx", X)
    assert list(found) == ["variable"]
    expected = model.predict(X).reshape(len(X), -1)
    assert_allclose(found["variable"], expected, **TOLERANCE)


def test_names_of_a_frame_are_in_the_file(tmp_path):
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(frame, X[:, 0])
    model.to_onnx(tmp_path / "model.onnx")
    (names,) = onnx.load(tmp_path / "model.onnx").metadata_props
    assert (names.key, names.value) == ("feature_names", '["a", "b", "c", "d"]')


# Tables


def table(n=300, seed=0):
    """Columns of every kind but dates, with missing values, and two classes by them."""
    rng = np.random.default_rng(seed)
    frame = pandas.DataFrame(
        {
            "size": rng.lognormal(3, 1, n),
            "age": rng.integers(0, 90, n),
            "colour": rng.choice(["red", "green", "blue"], n),
            "city": [f"town {i}" for i in rng.integers(0, 30, n)],
            "member": rng.random(n) < 0.5,
            "grade": pandas.Categorical(rng.integers(1, 5, n)),
            "constant": "same",
        }
    )
    target = np.log(frame["size"]) + (frame["colour"] == "red") + frame["member"]
    frame.loc[::7, "size"] = np.nan
    frame.loc[::11, "colour"] = None
    return frame, target.to_numpy()


def feeds_of(session, frame):
    """As docs/exporting.md makes them."""
    feeds = {}
    for one in session.get_inputs():
        column = frame[[one.name]]
        is_text = one.type == "tensor(string)"
        feeds[one.name] = (
            column.fillna("").to_numpy(object) if is_text else column.to_numpy(np.float64)
        )
    return feeds


def unseen(frame):
    """Rows of which some have values that training had not, and infinite ones."""
    frame = frame.head(40).copy()
    frame["city"] = frame["city"].astype(object)
    frame.loc[3, "city"] = "nowhere"
    frame.loc[4, "size"] = np.inf
    frame.loc[5, "size"] = -np.inf
    return frame


@pytest.mark.parametrize("architecture", ["realmlp", "tabm", "plain"])
def test_a_table_and_its_classes(architecture, tmp_path):
    frame, target = table()
    y = np.array(["low", "mid", "high"])[np.digitize(target, [3.0, 4.5])]
    clf = TabularClassifier(architecture, n_networks=2, epochs=3, random_state=0).fit(frame, y)
    session = session_of(clf, tmp_path / "clf.onnx")
    given = unseen(frame)
    label, probabilities = session.run(None, feeds_of(session, given))
    assert [one.name for one in session.get_outputs()] == ["label", "probabilities"]
    assert "constant" not in {one.name for one in session.get_inputs()}
    assert_array_equal(label, clf.predict(given))
    assert_allclose(probabilities, clf.predict_proba(given), **TOLERANCE)


@pytest.mark.parametrize("quantiles", [None, (0.1, 0.5, 0.9)])
def test_a_table_and_its_numbers(quantiles, tmp_path):
    frame, target = table()
    model = TabularRegressor(n_networks=2, epochs=3, quantiles=quantiles, random_state=0)
    model.fit(frame, target)
    session = session_of(model, tmp_path / "model.onnx")
    (found,) = session.run(None, feeds_of(session, unseen(frame)))
    expected = model.predict(unseen(frame)).reshape(40, -1)
    assert_allclose(found, expected, **TOLERANCE)


@pytest.mark.parametrize("embedding", ["periodic", "piecewise_linear", None])
def test_an_array_of_numbers_is_one_input(embedding, tmp_path):
    rows = np.column_stack([X.astype(np.float64), RNG.integers(0, 3, len(X))])
    rows[::9, 1] = np.nan
    clf = TabularClassifier(
        embedding=embedding, n_networks=2, epochs=3, categorical_features=[4], random_state=0
    )
    clf.fit(rows, CODES)
    rows[0, 4] = 7.0  # which fit has not seen
    check_classifier(clf, tmp_path / "clf.onnx", rows)


def test_dates_are_refused(tmp_path):
    frame, target = table()
    frame["when"] = pandas.date_range("2020-01-01", periods=len(frame))
    model = TabularRegressor(n_networks=1, epochs=1, random_state=0).fit(frame, target)
    with pytest.raises(ValueError, match=r"to_onnx takes no dates.* column 'when' has some"):
        model.to_onnx(tmp_path / "model.onnx")


def test_columns_may_be_called_as_outputs_are(tmp_path):
    frame, target = table()
    frame = frame[["size", "age"]].set_axis(["variable", "mul"], axis=1)
    model = TabularRegressor(n_networks=1, epochs=1, random_state=0).fit(frame, target)
    session = session_of(model, tmp_path / "model.onnx")
    (found,) = session.run(None, feeds_of(session, frame))
    assert_allclose(found[:, 0], model.predict(frame), **TOLERANCE)
