"""Tables on the command line: train, predict and evaluate with the estimators for tables."""

import csv
import io
import json
import os
import re
import signal
import sys
import threading
from contextlib import redirect_stdout

import numpy as np
import pytest
from marks import compiled_only

pytest.importorskip("sklearn")
pandas = pytest.importorskip("pandas")
from sklearn import metrics  # noqa: E402

from fastmlp import MLP, TabularClassifier, TabularRegressor  # noqa: E402
from fastmlp.cli import main, streams  # noqa: E402
from fastmlp.cli.table_data import tables_for  # noqa: E402
from fastmlp.cli.table_models import load_model  # noqa: E402
from fastmlp.datasets import memory as memory_of  # noqa: E402
from fastmlp.monitor import Monitor  # noqa: E402
from fastmlp.tabular import csv_rows, reading  # noqa: E402
from fastmlp.tabular.recipes import Recipe  # noqa: E402

N_ROWS = 90
SHORT = ["--networks", "2", "--quiet"]


def frame_of(seed=0):
    """Numbers, texts, booleans and dates, some missing; a name for each row; a constant."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=N_ROWS).round(3)
    color = rng.choice(["red", "light; blue", 'the "green"'], N_ROWS)
    day = pandas.Timestamp("2024-01-01") + pandas.to_timedelta(rng.integers(0, 360, N_ROWS), "D")
    frame = pandas.DataFrame(
        {
            "size": size,
            "color": color,
            "sold": rng.integers(0, 2, N_ROWS) > 0,
            "day": day,
            "row": [f"row {i}" for i in range(N_ROWS)],
            "const": 1,
            "kind": np.where((size > 0) == (color == "red"), "good", "bad"),
            "price": size + 2.0 * (color == "red") + 100,
        }
    )
    frame.loc[3, ["size", "color"]] = None
    return frame


def write(frame, path):
    """With semicolons and decimal commas, and days in the way of the United States."""
    frame = frame.assign(day=frame["day"].dt.strftime("%m/%d/%Y"))
    frame.to_csv(path, index=False, sep=";", decimal=",")
    return str(path)


def run(*arguments):
    """Run a command that succeeds; return what it prints."""
    with redirect_stdout(io.StringIO()) as printed:
        assert main(list(map(str, arguments))) == 0
    return printed.getvalue()


def answers_in(path):
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def data(folder):
    return write(frame_of(), folder / "data.csv")


@pytest.fixture(scope="module")
def classifier(folder, data):
    """A model of classes, and what its training printed."""
    model = folder / "kinds.safetensors"
    options = ["--drop", "row,price", "--seed", "3", "--out", model, *SHORT]
    return model, run("train", data, "--target", "kind", *options)


@pytest.fixture(scope="module")
def regressor(folder, data):
    model = folder / "prices.safetensors"
    options = ["--drop", "row,kind", "--out", model, *SHORT]
    return model, run("train", data, "--target", "price", *options)


# Training


def test_train_prints_kinds_scores_and_time(classifier):
    model, printed = classifier
    lines = printed.splitlines()
    n_good = (frame_of()["kind"] == "good").sum()
    counts = f"bad {N_ROWS - n_good}, good {n_good}"
    assert lines[0] == f"classification, 2 classes ({counts}); {N_ROWS} rows, 5 columns"
    assert lines[1:6] == [
        "numbers: size",
        "booleans: sold",
        "categories: color (3)",
        "dates: day",
        "constant: const",
    ]
    estimator = TabularClassifier.load(model)
    for i, history in enumerate(estimator.history_):
        best = max(history["scores"])
        start = (
            f"network {i + 1}: accuracy {best:.4g} on its fold, epoch {history['best_epoch']} of"
        )
        assert lines[6 + i].startswith(start)
    assert lines[8] == f"out of fold: accuracy {estimator.oof_score_:.4g}"
    assert lines[9].startswith("2 networks in ")
    assert lines[10:] == [f"model: {model}"]


def test_train_does_what_the_estimator_does(classifier, regressor):
    frame = frame_of()
    X = frame.drop(columns=["row", "price", "kind"])
    same = TabularClassifier(n_networks=2, random_state=3).fit(X, frame["kind"])
    found = TabularClassifier.load(classifier[0]).predict_proba(X)
    np.testing.assert_array_equal(found, same.predict_proba(X))
    same = TabularRegressor(n_networks=2, random_state=0).fit(X, frame["price"])
    np.testing.assert_array_equal(TabularRegressor.load(regressor[0]).predict(X), same.predict(X))


def test_options_reach_the_estimator(tmp_path, data):
    model = tmp_path / "model"
    options = ["--networks", "1", "--architecture", "plain", "--scoring", "log_loss", "--search"]
    options += ["--time-limit", "1", "--threads", "1", "--categorical", "price", "--quiet"]
    printed = run("train", data, "--target", "kind", "--drop", "row", *options, "--out", model)
    assert "categories: color (3), price (" in printed
    assert "log loss" in printed
    params = TabularClassifier.load(model).get_params()
    expected = {"architecture": "plain", "scoring": "log_loss", "search": "random"}
    expected |= {"time_limit": 1.0, "n_threads": 1, "n_networks": 1}
    assert {name: params[name] for name in expected} == expected


def test_whole_numbers_are_classes_or_not(tmp_path):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"x": rng.normal(size=40), "y": rng.choice([3.0, 5.0], 40)})
    frame.to_csv(tmp_path / "data.csv", index=False)
    command = ["train", tmp_path / "data.csv", "--target", "y", "--networks", "1", "--quiet"]
    command += ["--out", tmp_path / "model", "--time-limit", "0.5"]
    assert run(*command).startswith("classification, 2 classes (3 ")
    run("predict", tmp_path / "model", tmp_path / "data.csv", "--out", tmp_path / "out.csv")
    header, rows = answers_in(tmp_path / "out.csv")
    assert header == ["class", "probability_3", "probability_5"]
    assert {row[0] for row in rows} <= {"3", "5"}
    assert run(*command, "--task", "regression").startswith("regression; 40 rows")


def test_train_predicts_quantiles_of_whole_numbers_too(tmp_path):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"x": rng.normal(size=60), "y": rng.integers(0, 9, 60)})
    frame.to_csv(tmp_path / "data.csv", index=False)
    command = ["train", tmp_path / "data.csv", "--target", "y", "--networks", "2", "--quiet"]
    command += ["--time-limit", "0.5", "--quantiles", "0.25,0.975", "--out", tmp_path / "model"]
    lines = run(*command).splitlines()
    assert lines[0] == "regression, quantiles 0.25, 0.975; 60 rows, 1 column"
    estimator = TabularRegressor.load(tmp_path / "model")
    assert estimator.quantiles == (0.25, 0.975)
    assert len(estimator.networks_) <= 2
    assert f"out of fold: quantile loss {estimator.oof_score_:.4g}" in lines
    options = ["--target", "y", "--out", tmp_path / "out.csv"]
    printed = run("predict", tmp_path / "model", tmp_path / "data.csv", *options)
    header, rows = answers_in(tmp_path / "out.csv")
    assert header == ["quantile_0.25", "quantile_0.975"]
    quantiles = np.array(rows, float)
    np.testing.assert_array_equal(quantiles, estimator.predict(frame[["x"]]))
    below = (frame["y"].to_numpy()[:, np.newaxis] < quantiles).mean(axis=0)
    assert printed.splitlines()[0] == (
        f"quantile loss {-estimator.score(frame[['x']], frame['y']):.6g}, "
        f"below quantile_0.25 {below[0]:.6g}, below quantile_0.975 {below[1]:.6g}"
    )


def test_rows_without_an_answer_are_left_out(tmp_path, capsys):
    frame = frame_of().drop(columns=["row", "kind"])
    frame.loc[:9, "price"] = None
    data = write(frame, tmp_path / "data.csv")
    options = ["--networks", "1", "--quiet", "--time-limit", "0.5", "--out", tmp_path / "model"]
    assert f"{N_ROWS - 10} rows" in run("train", data, "--target", "price", *options)
    warning = "10 of 90 rows are left out, since 'price' is missing in them"
    assert warning in capsys.readouterr().err
    run("evaluate", tmp_path / "model", data, "--target", "price")
    assert warning in capsys.readouterr().err


def test_a_sample_is_trained_on_where_memory_has_no_room(tmp_path, data, monkeypatch, capsys):
    X = frame_of().drop(columns=["kind"])

    def predictions(memory, seed):
        monkeypatch.setattr(memory_of, "available_memory", lambda: memory)
        out = tmp_path / "model"
        run("train", data, "--target", "kind", *SHORT, "--seed", seed, "--out", out)
        predicted = TabularClassifier.load(out).predict_proba(X)
        return predicted.tolist(), capsys.readouterr().err

    whole, said = predictions(1 << 30, 0)
    assert "memory" not in said
    assert predictions(None, 0)[0] == whole
    sample, said = predictions(1 << 15, 0)
    sentence = (
        r"DATA has 90 rows, more than memory has room for: networks are trained on (\d+) of them, "
        "drawn at random; --plain trains one network on all"
    )
    assert 30 <= int(re.search(sentence, said)[1]) <= 80
    assert sample != whole
    assert predictions(1 << 15, 0)[0] == sample
    assert predictions(1 << 15, 1)[0] != sample


def test_ctrl_c_saves_the_model(tmp_path, data, monkeypatch, capsys):
    record = Monitor.record

    def interrupted(self, *arguments, **options):
        record(self, *arguments, **options)
        if self.epoch == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Monitor, "record", interrupted)
    command = ["train", data, "--target", "kind", "--drop", "row", "--networks", "1", "--quiet"]
    assert main([*command, "--out", str(tmp_path / "model")]) == 130
    captured = capsys.readouterr()
    assert captured.err.endswith("fastmlp: interrupted; the model so far is saved\n")
    TabularClassifier.load(tmp_path / "model")


def test_training_that_diverges_saves_no_model(tmp_path, data, monkeypatch, capsys):
    network = Recipe.network

    def huge(recipe, *arguments):
        made = network(recipe, *arguments)
        made.weights[-1][:] = 1e37
        return made

    monkeypatch.setattr(Recipe, "network", huge)
    command = ["train", data, "--target", "price", "--drop", "row", "--architecture", "plain"]
    assert main([*command, "--out", str(tmp_path / "model"), *SHORT]) == 1
    assert not (tmp_path / "model").exists()
    shown = capsys.readouterr().err
    assert shown.startswith("fastmlp: error: no model is saved: training has diverged in its first")


def test_columns_of_texts_that_help_nobody_are_told_of(tmp_path, capsys):
    rows = [f"{i},item {i},{i if i != 7 else 'n.a.'},{i % 3},{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "data.csv").write_text("\n".join(["x,name,size,shop,y", *rows]))
    options = ["--time-limit", "0.5", "--networks", "1", "--quiet", "--out", tmp_path / "model"]
    run("train", tmp_path / "data.csv", "--target", "y", *options)
    named = [line for line in capsys.readouterr().err.splitlines() if "column" in line]
    assert named == [
        "fastmlp: warning: column 'name' holds 40 different texts in 40 rows, of which networks "
        "learn nothing: leave it out by --drop",
        "fastmlp: warning: column 'size' is taken for texts, since not all of it are numbers: "
        "there is 'n.a.'",
    ]


# Predictions


def test_predict_writes_labels_and_probabilities_by_name(tmp_path, classifier, data):
    out = tmp_path / "out.csv"
    assert run("predict", classifier[0], data, "--out", out) == f"predictions: {out}\n"
    header, rows = answers_in(out)
    assert header == ["class", "probability_bad", "probability_good"]
    X = frame_of().drop(columns=["row", "price", "kind"])
    estimator = TabularClassifier.load(classifier[0])
    assert [row[0] for row in rows] == estimator.predict(X).tolist()
    found = np.array([row[1:] for row in rows], float)
    np.testing.assert_array_equal(found, estimator.predict_proba(X))


def test_predict_writes_values(tmp_path, regressor, data):
    run("predict", regressor[0], data, "--out", tmp_path / "out.csv")
    header, rows = answers_in(tmp_path / "out.csv")
    assert header == ["value"]
    X = frame_of().drop(columns=["row", "price", "kind"])
    expected = TabularRegressor.load(regressor[0]).predict(X)
    np.testing.assert_array_equal(np.array(rows, float)[:, 0], expected)


def test_predict_writes_quantiles(tmp_path):
    frame = frame_of()
    X = frame[["size", "color"]]
    estimator = TabularRegressor(n_networks=1, epochs=2, quantiles=(0.1, 0.5, 0.9), random_state=0)
    estimator.fit(X, frame["price"]).save(tmp_path / "model")
    frame.to_csv(tmp_path / "data.csv", index=False)
    run("predict", tmp_path / "model", tmp_path / "data.csv", "--out", tmp_path / "out.csv")
    header, rows = answers_in(tmp_path / "out.csv")
    assert header == ["quantile_0.1", "quantile_0.5", "quantile_0.9"]
    np.testing.assert_array_equal(np.array(rows, float), estimator.predict(X))
    printed = run("evaluate", tmp_path / "model", tmp_path / "data.csv", "--target", "price")
    below = (frame["price"].to_numpy()[:, np.newaxis] < estimator.predict(X)).mean(axis=0)
    assert printed.splitlines() == [
        f"{'quantile loss':20}{-estimator.score(X, frame['price']):.6g}",
        f"{'below quantile_0.1':20}{below[0]:.6g}",
        f"{'below quantile_0.5':20}{below[1]:.6g}",
        f"{'below quantile_0.9':20}{below[2]:.6g}",
    ]


def variants(frame, folder):
    """Files of the same table, in other ways."""
    yield write(frame[frame.columns[::-1]].assign(more="x"), folder / "order.csv")
    yield write(frame.drop(columns=["row", "price", "kind"]), folder / "features.csv")
    plain = folder / "plain.csv.gz"
    # Dates of the same order of parts, and texts that look like numbers where there are none now.
    days = frame["day"].dt.strftime("%m/%d/%Y")
    frame.assign(day=days, const="text").to_csv(plain, index=False)
    yield str(plain)


def test_predict_finds_columns_in_other_files(tmp_path, classifier, data):
    expected = run("predict", classifier[0], data, "--out", tmp_path / "expected.csv")
    expected = (tmp_path / "expected.csv").read_text()
    for path in variants(frame_of(), tmp_path):
        run("predict", classifier[0], path, "--out", tmp_path / "out.csv")
        assert (tmp_path / "out.csv").read_text() == expected


@pytest.fixture
def in_blocks(monkeypatch):
    """Take every file for a large one, and read a few rows of it at a time."""
    monkeypatch.setattr(streams, "LARGE_BYTES", 0)
    monkeypatch.setattr(csv_rows, "_COMPILED_BYTES", 0)
    monkeypatch.setattr(csv_rows, "_BLOCK_BYTES", 1000)
    monkeypatch.setattr(reading, "_PARQUET_ROWS", 20)


@compiled_only
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_large_files_are_predicted_block_by_block(
    tmp_path, classifier, regressor, data, kind, request
):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        frame_of().to_parquet(tmp_path / "data.parquet")
        data = tmp_path / "data.parquet"
    commands = [
        ["predict", classifier[0], data, "--target", "kind"],
        ["predict", regressor[0], data, "--target", "price"],
        ["predict", regressor[0], data],
    ]
    at_once = [run(*command, "--out", "-") for command in commands]
    scores = run("evaluate", classifier[0], data, "--target", "kind")
    request.getfixturevalue("in_blocks")
    assert len(list(tables_for(*load_model(classifier[0]), str(data)))) > 3
    assert [run(*command, "--out", "-") for command in commands] == at_once
    assert run("evaluate", classifier[0], data, "--target", "kind") == scores


@compiled_only
def test_a_fault_in_a_late_block_is_named_and_no_predictions_are_written(
    tmp_path, classifier, in_blocks, capsys
):
    frame = frame_of()
    frame["day"] = frame["day"].dt.strftime("%m/%d/%Y")
    frame.loc[80, "day"] = "soon"
    frame.to_csv(tmp_path / "late.csv", index=False)
    out = tmp_path / "answers.csv"
    command = ["predict", classifier[0], tmp_path / "late.csv", "--out", out]
    assert main(list(map(str, command))) == 2
    assert "got 'soon' in row 81" in capsys.readouterr().err
    assert not out.exists()


def test_parquet_is_read_as_csv_is(tmp_path, classifier, data):
    pytest.importorskip("pyarrow")
    frame_of().to_parquet(tmp_path / "data.parquet")
    outs = [tmp_path / "a", tmp_path / "b"]
    for path, out in zip([data, tmp_path / "data.parquet"], outs, strict=True):
        run("predict", classifier[0], path, "--out", out)
    assert outs[0].read_text() == outs[1].read_text()
    options = ["--drop", "row,price", "--seed", "3", "--out", tmp_path / "model", *SHORT]
    printed = run("train", tmp_path / "data.parquet", "--target", "kind", *options)
    # All but the time and the file.
    assert printed.splitlines()[:-2] == classifier[1].splitlines()[:-2]


def test_a_row_of_missing_and_new_values_is_predicted(tmp_path, classifier):
    """A day that alone could be of two months is read as in training."""
    path = tmp_path / "new.csv"
    path.write_text("size,color,sold,day,const\n,violet,,03/04/2024,\n")
    run("predict", classifier[0], path, "--out", tmp_path / "out.csv")
    row = {"size": [np.nan], "color": ["violet"], "sold": [None], "const": [np.nan]}
    X = pandas.DataFrame(row | {"day": [pandas.Timestamp("2024-03-04")]})
    X = X[["size", "color", "sold", "day", "const"]]
    expected = TabularClassifier.load(classifier[0]).predict_proba(X)
    _, rows = answers_in(tmp_path / "out.csv")
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], float), expected)


def test_a_model_of_an_array_takes_columns_in_their_order(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2)).round(3)
    y = (X[:, 0] > 0).astype(int)
    estimator = TabularClassifier(n_networks=1, epochs=2, random_state=0).fit(X, y)
    estimator.save(tmp_path / "model")
    pandas.DataFrame(X, columns=["a", "b"]).to_csv(tmp_path / "data.csv", index=False)
    run("predict", tmp_path / "model", tmp_path / "data.csv", "--out", tmp_path / "out.csv")
    found = np.array([row[1:] for row in answers_in(tmp_path / "out.csv")[1]], float)
    np.testing.assert_array_equal(found, estimator.predict_proba(X))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_model_may_come_from_a_pipe(tmp_path, classifier, data):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = classifier[0].read_bytes()
    writer = threading.Thread(target=pipe.write_bytes, args=[content])
    writer.start()
    run("predict", pipe, data, "--out", tmp_path / "out.csv")
    writer.join()
    assert len(answers_in(tmp_path / "out.csv")[1]) == N_ROWS


# Scores


def scores_in(printed):
    return {line[:20].strip(): float(line[20:]) for line in printed.splitlines()}


def test_evaluate_prints_scores_of_classes(classifier, data, tmp_path):
    found = scores_in(run("evaluate", classifier[0], data, "--target", "kind"))
    frame = frame_of()
    X, y = frame.drop(columns=["row", "price", "kind"]), frame["kind"]
    estimator = TabularClassifier.load(classifier[0])
    probabilities = estimator.predict_proba(X)
    expected = {
        "accuracy": metrics.accuracy_score(y, estimator.predict(X)),
        "log loss": metrics.log_loss(y, probabilities),
        "auc": metrics.roc_auc_score(y, probabilities[:, 1]),
    }
    assert found == pytest.approx(expected, rel=1e-5)  # as they are printed
    out = ["--out", tmp_path / "out.csv"]
    printed = run("predict", classifier[0], data, "--target", "kind", *out)
    assert printed.startswith(f"accuracy {expected['accuracy']:.6g}, log loss ")


def test_evaluate_prints_scores_of_values(regressor, data):
    found = scores_in(run("evaluate", regressor[0], data, "--target", "price"))
    frame = frame_of()
    y = frame["price"]
    predicted = TabularRegressor.load(regressor[0]).predict(
        frame.drop(columns=["row", "price", "kind"])
    )
    expected = {
        "rmse": metrics.root_mean_squared_error(y, predicted),
        "mean absolute error": metrics.mean_absolute_error(y, predicted),
        "R2": metrics.r2_score(y, predicted),
    }
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_plain_network_is_used_and_scored_as_ever(tmp_path):
    net = MLP([2, 3, 2], output="softmax", seed=0)
    net.feature_names = ("a", "b")
    net.save(tmp_path / "model")
    data = tmp_path / "data.csv"
    data.write_text("b,y,a\n1,0,2\n3,1,4\n")
    out = tmp_path / "out.csv"
    predicted = run("predict", tmp_path / "model", data, "--target", "y", "--out", out)
    assert (
        run("evaluate", tmp_path / "model", data, "--target", "y") == predicted.splitlines(True)[0]
    )
    found = np.array(answers_in(out)[1], float)[:, 1:].astype(np.float32)
    np.testing.assert_array_equal(found, net.predict([[2, 1], [4, 3]]))


# Which of the two is trained


@pytest.mark.parametrize("option", [["--plain"], ["--hidden", "64,32"], ["--standardize"]])
def test_options_of_a_plain_network_make_one(tmp_path, option):
    """Also if what they say is the default."""
    data = tmp_path / "data.csv"
    data.write_text("x,y\n" + "\n".join(f"{i / 9},{i / 20}" for i in range(20)))
    command = ["train", data, "--target", "y", "--out", tmp_path / "model", "--quiet"]
    assert "network 1-64-32-1" in run(*command, *option)
    assert MLP.load(tmp_path / "model").layer_sizes == (1, 64, 32, 1)


def test_options_of_both_are_refused(data, capsys):
    assert main(["train", data, "--target", "kind", "--networks", "2", "--hidden", "8"]) == 2
    assert capsys.readouterr().err == (
        "fastmlp: error: --hidden is for a plain network, and must not be given together with "
        "--networks, which is for tables\n"
    )


# Refusals

FILES = {
    "good": "x,y\n" + "1,a\n2,b\n" * 10,
    "empty": "",
    "header": "x,y\n",
    "only": "y\n1\n2\n",
    "one": "x,y\n1,a\n2,a\n",
    "none": "x,y\n1,\n2,\n",
    "short": "x,y\n1\n",
    "void": "x,z,y\n" + "1,,a\n2,,b\n" * 10,
    "same": "x,z,y\n" + "1,5,a\n2,6,b\n3,5,a\n" * 10,
    "new": "size,color,sold,day,const\n1,red,true,01/31/2024,1\n",
    "lacking": "size,color,sold,const\n1,red,true,1\n",
    "texts": "size,color,sold,day,const\nbig,red,true,01/31/2024,1\n",
    "days": "size,color,sold,day,const\n1,red,true,2024-01-31,1\n",
    "unknown": "size,color,sold,day,const,kind\n1,red,true,01/31/2024,1,fair\n",
}


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("train no.csv --target y", "path 'no.csv' does not exist"),
        ("train {empty} --target y", "is empty; it must hold a header line and rows"),
        ("train {header} --target y", "has a header but no row of data; at least one is needed"),
        ("train {only} --target y", "has no column but the target 'y'; features are needed"),
        ("train {good} --target z", "target 'z' is not a column of path "),
        ("train {good} --target z", "its columns are 'x', 'y'"),
        ("train {one} --target y", "--target y must hold at least two classes, got a in all 2 ro"),
        ("train {none} --target y", "--target y must have a value that is not missing, got none"),
        ("train {short} --target y", "line 2 has 1 cells, but the header names 2 columns"),
        ("train {void} --target y", "column 'z' of X must have a value that is not missing"),
        ("train {good} --target y --task regression", "must hold numbers for regression, got 'a'"),
        ("train {good} --target y --drop z", "has no column 'z' to leave out; its columns are"),
        ("train {good} --target y --drop x", "has no column but the target 'y'"),
        ("train {good} --target y --drop y", "--drop must not name the target, got 'y'"),
        ("train {good} --target y --categorical z", "categorical_features must name columns"),
        ("train {good} --target y --networks 0", "--networks must be an integer of at least 1"),
        ("train {good} --target y --networks 30", "30"),
        ("train {good} --target y --threads 0", "--threads must be an integer of at least 1"),
        ("train {good} --target y --seed -1", "--seed must be an integer from 0 up, got -1"),
        ("train {good} --target y --time-limit 0", "--time-limit must be a positive number"),
        ("train {good} --target y --scoring rmse", "scoring must be one of accuracy, "),
        ("train {good} --target x --quantiles 0.1,b", "must be numbers with commas between"),
        ("train {good} --target x --quantiles 0.9,0.1", "--quantiles must be ascending numbers wi"),
        ("train {good} --target x --quantiles 0.1,1", "within (0, 1), such as (0.1, 0.5, 0.9)"),
        ("train {good} --target y --quantiles 0.5", "must hold numbers for regression, got 'a'"),
        (
            "train {good} --target x --quantiles 0.5 --task classification",
            "--quantiles must not be given with --task classification",
        ),
        (
            "train {good} --target x --quantiles 0.5 --scoring r2",
            "--quantiles must not be given with --scoring, got r2",
        ),
        ("train {good} --target y --out no/model", "must be in an existing folder"),
        ("predict {model} {lacking}", "lacks 'day'; its columns are 'size', 'color', "),
        ("predict {model} {texts}", "column 'size' of X must hold numbers, as in training"),
        ("predict {model} {days}", "must hold dates written as %m/%d/%Y, as in training, got '20"),
        ("predict {model} {empty}", "is empty"),
        ("predict {model} {new} --target kind", "target 'kind' is not a column of"),
        ("predict {model} {new} --target size", "--target must not name a column that MODEL pred"),
        ("predict {model} {new} --threads 0", "--threads must be an integer of at least 1"),
        ("evaluate {model} {unknown} --target kind", "MODEL knows, bad, good, got fair"),
        (
            "evaluate {prices} {unknown} --target kind",
            "--target kind must hold numbers, got",
        ),
        ("evaluate {model} {new}", "the following arguments are required: --target"),
        ("evaluate no.model {new} --target kind", "there is none at 'no.model'"),
        ("evaluate {new} {new} --target kind", "is not"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    command, sentence, tmp_path, capsys, monkeypatch, classifier, regressor
):
    paths = {"model": classifier[0], "prices": regressor[0]}
    for name, text in FILES.items():
        paths[name] = tmp_path / f"{name}.csv"
        paths[name].write_text(text)
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert main([one.format(**paths) for one in command.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("fastmlp: error: ")
    assert sentence in line
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        ("pandas", "tables are read by pandas: pip install 'fastmlp[tables]'"),
        ("pyarrow", "Parquet is read by pyarrow: pip install 'fastmlp[tables]'"),
    ],
)
def test_packages_that_are_not_there_are_named(package, sentence, tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyarrow")
    frame_of().to_parquet(tmp_path / "data.parquet")
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["train", str(tmp_path / "data.parquet"), "--target", "kind"]) == 2
    assert capsys.readouterr().err == f"fastmlp: error: {sentence}\n"


def test_a_file_tells_how_dates_were_written(classifier):
    with open(classifier[0], "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        texts = json.loads(file.read(length))["__metadata__"]
    assert json.loads(texts["dates"]) == {"day": "%m/%d/%Y"}
