"""The command line, mostly run in this process: what it prints, writes, refuses and returns."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from handmade import hide_matplotlib
from marks import compiled_only

from fastmlp import MLP, __version__, datasets
from fastmlp.cli import main, streams
from fastmlp.cli.network_data import rounded_rows
from fastmlp.datasets import csv_table
from fastmlp.kernels import simd, threads
from fastmlp.monitor import Monitor

COMMANDS = ("compare", "train", "predict", "evaluate", "warmup", "info")
SHORT_COMPARE = ["compare", "--passes", "1", "--hidden", "4"]


def write_table(path, names, columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
    return str(path)


@pytest.fixture
def points():
    rng = np.random.default_rng(4)
    return rng.normal(size=(50, 2)).astype(np.float32)


@pytest.fixture
def flowers(tmp_path, points):
    """A file with two features and three classes, the target in the middle."""
    species = (points[:, 0] > 0).astype(int) + (points[:, 1] > 0)
    columns = [points[:, 0], species, points[:, 1]]
    return write_table(tmp_path / "flowers.csv", ["width", "species", "length"], columns)


@pytest.fixture
def houses(tmp_path, points):
    """A file with two features and a price."""
    price = points[:, 0] - 2 * points[:, 1]
    columns = [points[:, 0], points[:, 1], price]
    return write_table(tmp_path / "houses.csv", ["area", "age", "price"], columns)


@pytest.fixture
def press_ctrl_c(monkeypatch):
    """Arrange for Ctrl-C at the record of an epoch."""

    def arrange(epoch):
        record = Monitor.record

        def interrupted(self, *arguments, **options):
            if self.epoch == epoch:
                signal.raise_signal(signal.SIGINT)
            record(self, *arguments, **options)

        monkeypatch.setattr(Monitor, "record", interrupted)

    return arrange


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, np.array(rows, float)


# The program


def test_the_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"fastmlp {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_its_defaults_and_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"example: fastmlp {command}" in text
    options = re.findall(r" (--[a-z0-9-]+) [A-Z{]\S* (?=[a-z])", text)
    for option in set(options):
        described = re.split(rf" {option} [A-Z{{]\S* (?=[a-z])", text)[-1].split(" --")[0]
        assert "(default: " in described or "(required)" in described, option


def test_the_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n    {command} " in text


def test_the_process_exits_with_the_status(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "fastmlp", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    shown = run("--version")
    assert (shown.returncode, shown.stdout) == (0, f"fastmlp {__version__}\n")
    refused = run("train", "missing.csv", "--target", "y", "--plain")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr == (
        "fastmlp: error: path 'missing.csv' does not exist; it must name an existing file\n"
    )


def test_ctrl_c_outside_of_training_ends_in_one_line(flowers, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "load_csv", interrupted)
    assert main(["train", flowers, "--target", "species", "--plain"]) == 130
    assert capsys.readouterr().err == "fastmlp: interrupted\n"


def test_an_allocation_that_fails_ends_in_one_line(flowers, monkeypatch, capsys):
    def too_large(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(datasets, "load_csv", too_large)
    assert main(["train", flowers, "--target", "species", "--plain"]) == 2
    assert capsys.readouterr().err == "fastmlp: error: out of memory\n"


def run_into(stdout, *arguments, unbuffered="", **options):
    """Run the program in a process of its own whose output goes there."""
    command = [sys.executable, "-m", "fastmlp", *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    stderr = subprocess.PIPE
    return subprocess.run(command, stdout=stdout, stderr=stderr, env=environment, **options)


@pytest.fixture
def unread():
    """A pipe that nobody reads any more, as in ``fastmlp info | head -1``."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--help"]])
def test_nobody_reads_what_is_printed(unread, arguments):
    """Quiet, with the status that shells give to what SIGPIPE ends."""
    done = run_into(unread, *arguments)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_model_is_saved_though_nobody_reads_what_is_printed(tmp_path, flowers, unread):
    options = ["--target", "species", "--epochs", "1", "--quiet", "--out", "model"]
    done = run_into(unread, "train", flowers, *options, unbuffered="1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (141, b"")
    assert MLP.load(tmp_path / "model").layer_sizes == (2, 64, 32, 3)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_what_cannot_be_printed_is_an_error_in_one_line():
    with open("/dev/full", "w") as full:
        done = run_into(full, "--version")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("fastmlp: error: ")
    assert "No space left on device" in line


@pytest.mark.parametrize("what", [["--hidden", "4"], ["--problems", "beale"]])
def test_a_comparison_is_written_though_nobody_reads_what_is_printed(tmp_path, unread, what):
    options = ["--optimizers", "adam,lbfgs", "--passes", "1", "--quiet", "--out", "out"]
    done = run_into(unread, "compare", *what, *options, unbuffered="1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (141, b"")
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"traces.csv", "comparison.json", "comparison.html"} <= written


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("errors", ["2>&-", "2>/dev/full"])
def test_train_needs_no_standard_error(tmp_path, errors):
    """Neither for its bar nor for its warning, here of prices far from 1."""
    area = np.linspace(0, 1, 50)
    data = write_table(tmp_path / "raw.csv", ["area", "price"], [area, 1e5 + area])
    command = (
        f"exec {sys.executable} -m fastmlp train {data} --target price --plain --out model {errors}"
    )
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("regression; network 1-64-32-1")
    assert done.stdout.endswith("rows held out\nmodel: model\n")
    assert (tmp_path / "model").exists()


def test_train_ends_though_nobody_reads_its_bar(tmp_path, houses, unread):
    command = [sys.executable, "-m", "fastmlp", "train", houses, "--target", "price"]
    options = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": unread}
    done = subprocess.run([*command, "--epochs", "3", "--out", "model"], **options)
    assert done.returncode == 0
    assert done.stdout.endswith(b"rows held out\nmodel: model\n")


devices_only = pytest.mark.skipif(
    not os.path.exists("/dev/stdout"), reason="there is no /dev/stdout here"
)


@devices_only
@pytest.mark.parametrize("out", ["/dev/stdout", "-"])
def test_predictions_go_to_standard_output_alone(tmp_path, points, out, monkeypatch):
    MLP([2, 1], seed=0).save(tmp_path / "model")
    write_table(tmp_path / "data.csv", ["a", "b"], points.T)
    command = ["predict", "model", "data.csv", "--out"]
    monkeypatch.chdir(tmp_path)
    main([*command, "file"])
    expected = (tmp_path / "file").read_text()
    done = run_into(subprocess.PIPE, *command, out, cwd=tmp_path)
    assert (done.returncode, done.stdout.decode()) == (0, expected)
    assert done.stderr == b"predictions: /dev/stdout\n"
    with open(tmp_path / "all.csv", "a+") as file:
        print("head", file=file, flush=True)
        run_into(file, *command, out, cwd=tmp_path)
        print("foot", file=file)
    assert (tmp_path / "all.csv").read_text() == f"head\n{expected}foot\n"
    assert not (tmp_path / "-").exists()


@devices_only
def test_a_model_goes_to_standard_output_alone(tmp_path, houses):
    command = ["train", houses, "--target", "price", "--epochs", "1", "--quiet", "--out", "-"]
    done = run_into(subprocess.PIPE, *command, cwd=tmp_path)
    assert done.stderr.decode().endswith("model: /dev/stdout\n")
    (tmp_path / "model").write_bytes(done.stdout)
    assert MLP.load(tmp_path / "model").layer_sizes == (2, 64, 32, 1)


@devices_only
def test_nobody_reads_the_predictions_on_standard_output(tmp_path, points, unread):
    MLP([2, 1], seed=0).save(tmp_path / "model")
    write_table(tmp_path / "data.csv", ["a", "b"], points.T)
    done = run_into(unread, "predict", "model", "data.csv", "--out", "-", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (141, b"")


# compare


@pytest.fixture
def no_plot(monkeypatch):
    """A plot takes longer than what it is of; that it is drawn is for a test of its own."""
    hide_matplotlib(monkeypatch)


def test_compare_prints_a_table_and_writes_the_traces(tmp_path, capsys, no_plot):
    out = tmp_path / "new" / "folder"
    command = ["compare", "--passes", "2", "--hidden", "8", "--threads", "1", "--out", str(out)]
    assert main(command) == 0
    captured = capsys.readouterr()
    names = ["gradient descent", "SGD with momentum", "Adam", "L-BFGS"]
    for name in names:
        (line,) = [line for line in captured.out.splitlines() if line.startswith(name)]
        assert line.endswith("completed")
        assert f"{name}: 100%" in captured.err
    assert "accuracy of the validation data" in captured.out
    assert "network 64-8-10, 610 parameters" in captured.out
    with open(out / "traces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["optimizer"] for row in rows)) == names
    for name in names:
        assert [row["data_passes"] for row in rows if row["optimizer"] == name][-1] == "2.0"


def test_compare_gives_the_same_result_for_the_same_seed(tmp_path, no_plot):
    def objectives(folder, seed):
        out = str(tmp_path / folder)
        main([*SHORT_COMPARE, "--seed", seed, "--out", out, "--quiet"])
        with open(tmp_path / folder / "traces.csv", newline="") as file:
            return [row["objective"] for row in csv.DictReader(file)]

    assert objectives("a", "1") == objectives("b", "1") != objectives("c", "2")


def test_compare_draws_the_traces_if_matplotlib_is_there(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main([*SHORT_COMPARE, "--quiet", "--out", str(tmp_path)]) == 0
    assert f"plot: {tmp_path / 'traces.png'}" in capsys.readouterr().out
    assert (tmp_path / "traces.png").read_bytes().startswith(b"\x89PNG")


def test_compare_does_without_matplotlib(tmp_path, capsys, monkeypatch):
    hide_matplotlib(monkeypatch)
    assert main([*SHORT_COMPARE, "--quiet", "--out", str(tmp_path)]) == 0
    assert "no plot: plots need matplotlib" in capsys.readouterr().out
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["comparison.html", "comparison.json", "traces.csv"]


def test_compare_without_progress_shows_no_bar(tmp_path, capsys, no_plot):
    for flag in ("--quiet", "--no-progress"):
        assert main([*SHORT_COMPARE, flag, "--out", str(tmp_path)]) == 0
        assert "pass/s" not in capsys.readouterr().err


def test_compare_keeps_what_there_is_at_ctrl_c(tmp_path, capsys, press_ctrl_c, no_plot):
    press_ctrl_c(10)  # later than what is run to warm up
    command = ["compare", "--passes", "12", "--hidden", "4", "--quiet", "--out", str(tmp_path)]
    assert main(command) == 130
    captured = capsys.readouterr()
    assert captured.err.endswith("fastmlp: interrupted; what there is so far is kept\n")
    assert "interrupted" in captured.out
    rows = (tmp_path / "traces.csv").read_text().splitlines()[1:]
    assert {row.split(",")[0] for row in rows} == {"gradient descent"}


def test_compare_keeps_the_problems_there_are_at_ctrl_c(tmp_path, capsys, press_ctrl_c, no_plot):
    press_ctrl_c(10)
    command = ["compare", "--problems", "rosenbrock,sin", "--optimizers", "adam,lbfgs", "--quiet"]
    assert main([*command, "--passes", "12", "--out", str(tmp_path)]) == 130
    captured = capsys.readouterr()
    assert captured.err.endswith("fastmlp: interrupted; what there is so far is kept\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.html", "rosenbrock"]
    assert list(compared(tmp_path / "rosenbrock")["runs"]) == ["adam"]


def compared(folder):
    return json.loads((folder / "comparison.json").read_text(encoding="utf-8"))


def test_compare_takes_optimizers_that_hand_over_to_each_other(tmp_path, capsys, no_plot):
    written = "adam(learning_rate=3e-3), sgd(learning_rate=step(initial=0.1, factor=0.5, every=10))"
    command = [*SHORT_COMPARE[:1], "--hidden", "4", "--quiet", "--out", str(tmp_path)]
    both = "adam(epochs=2)+lbfgs"
    assert main([*command, "--optimizers", f"{written},{both}", "--budget", "5passes"]) == 0
    names = [*written.split(", ", 1), both]
    shown = capsys.readouterr().out
    content = compared(tmp_path)
    assert list(content["runs"]) == names
    for name in names:
        assert f"\n{name} " in shown
        assert content["runs"][name][0]["data_passes"] == 5
    first, second = content["settings"]["optimizers"][both]
    assert first.startswith("Adam(")
    assert second.startswith("LBFGS(")


def test_compare_takes_solvers_alone_which_have_no_mini_batches(tmp_path, no_plot):
    command = [*SHORT_COMPARE[:1], "--hidden", "4", "--quiet", "--out", str(tmp_path)]
    assert main([*command, "--optimizers", "lbfgs,bfgs", "--budget", "2passes"]) == 0
    assert list(compared(tmp_path)["runs"]) == ["lbfgs", "bfgs"]


@pytest.mark.parametrize(
    ("written", "budget"),
    [
        ("2passes", {"passes": 2, "time_limit": None, "gradient_evaluations": None}),
        ("3 evals", {"passes": None, "time_limit": None, "gradient_evaluations": 3}),
        ("1e-3s", {"passes": None, "time_limit": 0.001, "gradient_evaluations": None}),
    ],
)
def test_compare_has_a_budget_of_passes_evaluations_or_seconds(tmp_path, written, budget, no_plot):
    command = ["compare", "--hidden", "2", "--optimizers", "adam,lbfgs", "--quiet"]
    assert main([*command, "--budget", written, "--out", str(tmp_path)]) == 0
    assert compared(tmp_path)["budget"] == budget


def test_compare_runs_from_several_seeds_and_tells_the_way_to_a_target(tmp_path, capsys, no_plot):
    command = [
        "compare",
        "--hidden",
        "4",
        "--passes",
        "2",
        "--optimizers",
        "sgd(learning_rate=0.1)",
    ]
    options = ["--seeds", "3", "--seed", "5", "--target", "2.2", "--quiet", "--out", str(tmp_path)]
    assert main([*command, *options]) == 0
    shown = capsys.readouterr().out
    assert "To an objective of at most 2.2:" in shown
    assert "over 3 seeds" in shown
    content = compared(tmp_path)
    assert content["seeds"] == [5, 6, 7]
    assert content["target"] == 2.2
    _, rows = read_columns(tmp_path / "traces.csv")
    assert set(rows["seed"]) == {"5", "6", "7"}


def read_columns(path):
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, dict(zip(header, zip(*rows, strict=True), strict=True))


def test_compare_shows_a_bar_for_each_optimizer(tmp_path, capsys, no_plot):
    command = [*SHORT_COMPARE, "--optimizers", "adam,lbfgs", "--out", str(tmp_path)]
    assert main(command) == 0
    shown = capsys.readouterr().err
    assert "adam: 100%" in shown
    assert "lbfgs: 100%" in shown


def test_compare_trains_on_a_file(tmp_path, flowers, houses, capsys, no_plot):
    def compare(data, column):
        command = ["compare", "--data", data, "--column", column, "--passes", "2"]
        options = ["--hidden", "3", "--quiet", "--out", str(tmp_path / column)]
        assert main([*command, *options]) == 0
        return capsys.readouterr().out

    shown = compare(flowers, "species")
    head = "flowers.csv: classification, 3 classes; 40 rows to train on, 10 to validate; network"
    assert f"{head} 2-3-3, 21 parameters" in shown
    assert "accuracy of the validation data" in shown
    assert "Adam" in shown
    shown = compare(houses, "price")
    assert "houses.csv: regression; 40 rows to train on" in shown
    assert "network 2-3-1, 13 parameters" in shown
    assert "rms error of the validation data" in shown
    assert "Optimizers on houses.csv" in (tmp_path / "price" / "comparison.html").read_text()


def test_compare_sets_known_problems(tmp_path, capsys, no_plot):
    command = ["compare", "--problems", "sin, rosenbrock", "--optimizers", "adam,lbfgs"]
    options = ["--budget", "20passes", "--seeds", "2", "--quiet", "--out", str(tmp_path)]
    assert main([*command, *options]) == 0
    shown = capsys.readouterr().out
    assert "sin: to an objective of at most 0.001" in shown
    assert "All 4 runs on 2 problems" in shown
    for problem in ("sin", "rosenbrock"):
        content = compared(tmp_path / problem)
        assert content["settings"]["problem"] == problem
        assert content["seeds"] == [0, 1]
        header, _ = read_columns(tmp_path / problem / "traces.csv")
        assert header[:2] == ["optimizer", "seed"]
    assert "Performance profiles" in (tmp_path / "comparison.html").read_text(encoding="utf-8")


def test_compare_takes_a_target_in_place_of_a_problems_own(tmp_path, capsys, no_plot):
    command = ["compare", "--problems", "beale", "--optimizers", "lbfgs", "--target", "0.25"]
    assert main([*command, "--passes", "9", "--quiet", "--out", str(tmp_path)]) == 0
    assert "beale: to an objective of at most 0.25" in capsys.readouterr().out


def test_compare_has_optimizers_of_its_own_for_problems(tmp_path, capsys, no_plot):
    command = ["compare", "--problems", "beale", "--passes", "3", "--quiet"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert len(compared(tmp_path / "beale")["runs"]) > 1


# train and predict


def test_train_learns_classes_and_predict_applies_them(tmp_path, flowers, points, capsys):
    model, answers = str(tmp_path / "model.safetensors"), tmp_path / "answers.csv"
    command = ["train", flowers, "--target", "species", "--hidden", "16", "--epochs", "60"]
    command += ["--optimizer", "adam(learning_rate=0.03)", "--batch-size", "10", "--out", model]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert "classification, 3 classes; network 2-16-3" in captured.out
    assert "on the 40 rows trained on" in captured.out
    assert "on the 10 rows held out" in captured.out
    assert f"model: {model}" in captured.out
    assert "60/60" in captured.err

    assert main(["predict", model, flowers, "--target", "species", "--out", str(answers)]) == 0
    header, rows = read(answers)
    assert header == ["class", "probability_0", "probability_1", "probability_2"]
    net = MLP.load(model)
    outputs = net.predict(points)
    np.testing.assert_array_equal(rows[:, 1:].astype(np.float32), outputs)
    np.testing.assert_array_equal(rows[:, 0], outputs.argmax(axis=1))
    _, table = read(flowers)
    share = np.mean(rows[:, 0] == table[:, 1])
    assert share > 0.8  # the classes are quadrants: easy
    assert f"accuracy {share:.6g} on 50 rows" in capsys.readouterr().out


def test_train_does_what_fit_does(tmp_path, houses, points):
    model = str(tmp_path / "model.safetensors")
    command = ["train", houses, "--target", "price", "--hidden", "5,4", "--activation", "tanh"]
    command += ["--optimizer", "sgd(learning_rate=0.1, momentum=0.5)", "--epochs", "3", "--l1"]
    command += ["0.001", "--l2", "0.01", "--loss", "huber(0.5)", "--validation-fraction", "0"]
    command += ["--batch-size", "8", "--dtype", "float64", "--seed", "3", "--out", model]
    assert main(command) == 0

    _, table = read(houses)
    # All rows are trained on, in the order that the seed puts them.
    order = np.random.default_rng(3).permutation(50)
    net = MLP([2, 5, 4, 1], activation="tanh", dtype="float64", seed=3)
    net.fit(
        table[order, :2],
        table[order, 2],
        optimizer="sgd(learning_rate=0.1, momentum=0.5)",
        loss="huber(0.5)",
        epochs=3,
        batch_size=8,
        l1=0.001,
        l2=0.01,
        seed=3,
    )
    np.testing.assert_array_equal(MLP.load(model).theta, net.theta)


def test_train_warns_in_one_line_where_data_should_be_standardized(
    tmp_path, points, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    data = write_table("raw.csv", ["area", "price"], [points[:, 0], 1e5 + points[:, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["train", data, "--target", "price", "--plain", "--quiet"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastmlp: warning: the fit ended with a loss of ")
    assert line.endswith("the root mean square of y is 1e+05: use standardize, or scale the data")


def test_train_standardizes_within_the_model(tmp_path, points, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    area, age = 100 + 30 * points[:, 0], 1e4 * points[:, 1]
    price = 1e5 * (3 + points[:, 0] - 2 * points[:, 1])
    data = write_table("raw.csv", ["area", "age", "price"], [area, age, price])
    command = ["train", data, "--target", "price", "--standardize", "--optimizer", "lbfgs"]
    assert main([*command, "--hidden", "", "--quiet"]) == 0
    assert "rows trained on, standardized\n" in capsys.readouterr().out
    assert main(["predict", "model.safetensors", data, "--target", "price"]) == 0
    _, rows = read("predictions.csv")
    # Linear in the features, as the network is: L-BFGS stops within its tolerance, 1e-5.
    np.testing.assert_allclose(rows[:, 0], price, atol=1e-4 * price.std())


def test_train_and_predict_a_quantity(tmp_path, houses, points, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["train", houses, "--target", "price", "--optimizer", "lbfgs", "--hidden", ""]
    assert main([*command, "--quiet"]) == 0
    captured = capsys.readouterr()
    assert "regression; network 2-1, 3 parameters" in captured.out
    assert "rms error" in captured.out
    assert "epoch" not in captured.err

    # A file without the target: all its columns are features.
    new = write_table(tmp_path / "new.csv", ["area", "age"], points.T)
    assert main(["predict", "model.safetensors", new]) == 0
    assert capsys.readouterr().out == "predictions: predictions.csv\n"
    header, rows = read("predictions.csv")
    assert header == ["output"]
    # The price is linear in the features, and so is the network: L-BFGS finds it to its
    # tolerance on the gradient, 1e-5, which is also about that on the weights here.
    np.testing.assert_allclose(rows[:, 0], points[:, 0] - 2 * points[:, 1], atol=1e-3)


@pytest.fixture
def pipe_in(monkeypatch):
    """Make a file's content standard input, through a pipe."""
    with ExitStack() as opened:

        def pipe_in(path):
            reader, writer = os.pipe()
            with open(writer, "wb") as file:
                file.write(Path(path).read_bytes())  # less than a pipe takes before it is read
            stdin = opened.enter_context(open(reader, encoding="utf-8"))
            monkeypatch.setattr(sys, "stdin", stdin)

        yield pipe_in


def test_train_reads_standard_input_as_it_reads_a_file(tmp_path, houses, pipe_in):
    def trained(data):
        command = ["train", data, "--target", "price", "--epochs", "1", "--quiet"]
        assert main([*command, "--out", str(tmp_path / "model")]) == 0
        return MLP.load(tmp_path / "model").theta

    pipe_in(houses)
    np.testing.assert_array_equal(trained("-"), trained(houses))


def test_predict_reads_standard_input_as_it_reads_a_file(tmp_path, points, pipe_in):
    def predicted(data):
        assert main(["predict", str(tmp_path / "model"), data, "--out", str(tmp_path / "o")]) == 0
        return (tmp_path / "o").read_text()

    MLP([2, 1], seed=0).save(tmp_path / "model")
    data = write_table(tmp_path / "points.csv", ["area", "age"], points.T)
    pipe_in(data)
    assert predicted("-") == predicted(data)


def test_compare_reads_standard_input(tmp_path, houses, pipe_in, capsys, no_plot):
    pipe_in(houses)
    command = ["compare", "--data", "-", "--column", "price", "--passes", "1", "--hidden", "2"]
    assert main([*command, "--optimizers", "adam", "--quiet", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("standard input: regression; 40 rows to train on, 10 to validate")


def test_predict_takes_a_model_of_one_feature(tmp_path, points):
    MLP([1, 1], seed=0).save(tmp_path / "model")
    data = write_table(tmp_path / "data.csv", ["area"], [points[:, 0]])
    assert main(["predict", str(tmp_path / "model"), data, "--out", str(tmp_path / "out")]) == 0
    expected = MLP.load(tmp_path / "model").predict(points[:, :1])
    np.testing.assert_array_equal(read(tmp_path / "out")[1].astype(np.float32), expected)


def test_standard_input_that_is_closed_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["train", "-", "--target", "y", "--plain"]) == 2
    shown = capsys.readouterr().err
    assert shown == "fastmlp: error: DATA must not be - where standard input is closed\n"


SECONDS = np.arange(1_700_000_000, 1_700_000_400)


@pytest.mark.filterwarnings("default", "ignore:the fit ended")  # times are large, too
def test_train_warns_once_of_digits_that_float32_has_no_room_for(tmp_path, capsys):
    """Consecutive seconds of Unix: float32 has one number for 128 of them."""
    rows = np.arange(SECONDS.size)
    names, columns = ["row", "time", "y"], [rows, SECONDS, rows % 7]
    data = write_table(tmp_path / "data.csv", names, columns)
    out = str(tmp_path / "model")
    command = ["train", data, "--target", "y", "--quiet", "--epochs", "1", "--out", out]
    assert main(command) == 0
    n_left = np.unique(SECONDS.astype(np.float32)).size
    assert capsys.readouterr().err == (
        "fastmlp: warning: rounding to float32 merges distinct values: column 'time' keeps "
        f"{n_left} of its 400; subtract what the values of a column have in common, or take "
        "float64\n"
    )
    assert main([*command, "--dtype", "float64"]) == 0
    assert capsys.readouterr().err == ""


@pytest.fixture
def flowers_as(flowers, tmp_path, monkeypatch):
    """The flowers as a file that is too large for memory, or as Parquet."""

    def flowers_as(kind):
        if kind == "large":
            monkeypatch.setattr(streams, "LARGE_BYTES", 0)
            return flowers
        csv_files = pytest.importorskip("pyarrow.csv")
        parquet = pytest.importorskip("pyarrow.parquet")
        path = str(tmp_path / "flowers.parquet")
        parquet.write_table(csv_files.read_csv(flowers), path)
        return path

    return flowers_as


@pytest.mark.parametrize("kind", ["large", "parquet"])
def test_rows_that_stay_in_a_file_train_as_those_of_the_library_do(
    flowers, flowers_as, tmp_path, kind, capsys
):
    X, y, names = datasets.load_csv(flowers, "species")
    expected = MLP([2, 64, 32, 3], output="softmax", seed=0)
    expected.fit(X, y, optimizer="adam", epochs=3, standardize=True, seed=0)
    model = tmp_path / "model"
    options = ["--target", "species", "--hidden", "64,32", "--standardize", "--epochs", "3"]
    options += ["--validation-fraction", "0", "--quiet", "--out", str(model)]
    assert main(["train", flowers_as(kind), *options]) == 0
    found = MLP.load(model)
    np.testing.assert_array_equal(found.theta, expected.theta)
    assert found.feature_names == tuple(names)
    assert "on the 50 rows trained on" in capsys.readouterr().out


def test_blocks_of_rows_of_a_large_file_are_held_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(streams, "LARGE_BYTES", 0)
    x = np.random.default_rng(0).normal(size=1500).round(4)
    data = write_table(tmp_path / "large.csv", ["x", "y"], [x, 2 * x])
    command = ["train", data, "--target", "y", "--plain", "--epochs", "2", "--quiet"]
    command += ["--validation-fraction", "0.25", "--out", str(tmp_path / "model")]
    assert main(command) == 0
    # Three of the twelve blocks, all of 128 rows but the last one, of 92.
    assert re.search(r"on the (384|348) rows held out", capsys.readouterr().out)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_parquet_is_taken_as_csv_is(flowers, flowers_as, tmp_path, command, capsys):
    model = str(tmp_path / "model")
    options = ["--target", "species", "--plain", "--epochs", "2", "--quiet", "--out", model]
    assert main(["train", flowers, *options]) == 0
    printed = []
    for path in (flowers, flowers_as("parquet")):
        capsys.readouterr()
        out = ["--out", "-"] if command == "predict" else []
        assert main([command, model, path, "--target", "species", *out]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


@compiled_only
def test_predictions_of_a_file_in_blocks_are_those_of_it_as_a_whole(
    houses, tmp_path, monkeypatch, capsys
):
    model = str(tmp_path / "model")
    options = ["--target", "price", "--plain", "--epochs", "2", "--quiet", "--out", model]
    assert main(["train", houses, *options]) == 0
    printed = []
    for n_bytes in (1 << 21, 200):
        monkeypatch.setattr(csv_table, "_BLOCK_BYTES", n_bytes)
        capsys.readouterr()
        assert main(["predict", model, houses, "--target", "price", "--out", "-"]) == 0
        printed.append(capsys.readouterr())
    assert printed[0] == printed[1]


def test_a_target_whose_digits_float32_has_no_room_for_is_named(tmp_path):
    data = write_table(tmp_path / "data.csv", ["x", "when"], [SECONDS - SECONDS[0], SECONDS])
    with pytest.warns(UserWarning, match="values: column 'when' keeps 4 of its 400; subtract"):
        rounded_rows(*load(data), "when", "float32")


def load(path):
    X, y, features = datasets.load_csv(path, "when")
    return X, features, y


@pytest.mark.filterwarnings("ignore:the fit ended")
def test_numbers_that_float32_does_not_hold_are_refused_by_column(tmp_path, capsys):
    data = write_table(
        tmp_path / "data.csv", ["x", "y"], [np.array([1, -2e39]), np.array([0.5, 1])]
    )
    assert main(["train", data, "--target", "y", "--plain"]) == 2
    shown = capsys.readouterr().err
    assert "column 'x' must hold numbers up to 3.4e+38, as float32 does, got 2e+39" in shown
    command = ["train", data, "--target", "y", "--task", "regression", "--quiet"]
    out = str(tmp_path / "model")
    options = ["--dtype", "float64", "--optimizer", "sgd(learning_rate=1e-90)", "--out", out]
    assert main([*command, *options, "--validation-fraction", "0", "--hidden", ""]) == 0


def test_predict_writes_every_output(tmp_path, points):
    net = MLP([2, 3, 2], dtype="float64", seed=0)
    net.save(tmp_path / "two.safetensors")
    data = write_table(tmp_path / "data.csv", ["a", "b"], points.T)
    out = tmp_path / "out.csv"
    assert main(["predict", str(tmp_path / "two.safetensors"), data, "--out", str(out)]) == 0
    header, rows = read(out)
    assert header == ["output_0", "output_1"]
    # Written with all their digits, the numbers come back bit by bit.
    np.testing.assert_array_equal(rows, net.predict(points.astype(np.float64)))


def test_classes_may_be_written_with_a_point(tmp_path, points, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    answer = (points[:, 0] > 0).astype(float)
    data = write_table("data.csv", ["x", "z", "sick"], [*points.T, answer])
    assert "0.0" in (tmp_path / "data.csv").read_text()
    command = ["train", data, "--target", "sick", "--optimizer", "lbfgs", "--quiet"]
    assert main([*command, "--out", "m"]) == 0
    assert main(["predict", "m", data, "--target", "sick"]) == 0
    assert "accuracy 1 on 50 rows" in capsys.readouterr().out
    header, rows = read("predictions.csv")
    assert header == ["class", "probability_0", "probability_1"]
    np.testing.assert_array_equal(rows[:, 0], answer)


def test_predict_finds_columns_by_name(tmp_path, houses, points, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", houses, "--target", "price", "--epochs", "1", "--quiet"]) == 0
    area, age = points.T
    tables = {
        "in order": [("area", area), ("age", age)],
        "in another order": [("age", age), ("area", area)],
        "among others": [("id", np.arange(50)), ("age", age), ("area", area), ("noise", -age)],
    }
    expected = MLP.load("model.safetensors").predict(points)
    for columns in tables.values():
        new = write_table("new.csv", *zip(*columns, strict=True))
        assert main(["predict", "model.safetensors", new, "--out", "out.csv"]) == 0
        np.testing.assert_array_equal(read("out.csv")[1].astype(np.float32), expected)


def test_predict_leaves_out_columns_whatever_they_hold(tmp_path, capsys):
    net = MLP([2, 1], seed=0)
    net.feature_names = ("area", "age")
    net.save(tmp_path / "model")
    data, out = tmp_path / "new.csv", tmp_path / "out.csv"
    command = ["predict", str(tmp_path / "model"), str(data), "--out", str(out)]
    head = b"id,age,note,empty,,area,\n"
    data.write_bytes(head + b'Ann,1,"big, old",,3,4,\n\nB\xe9a,2,nan,,,1e1,x\n')
    assert main(command) == 0
    expected = net.predict([[4, 1], [10, 2]])
    np.testing.assert_array_equal(read(out)[1].astype(np.float32), expected)
    assert main([*command, "--target", "age"]) == 2
    assert "lacks 'age'; its columns are 'id', 'note', " in capsys.readouterr().err
    for row, fault in {
        "Ann,1,big, old,,3,4,": "line 2 has 8 cells, but the header names 7 columns",
        "Ann,1,old,,3,4": "line 2 has 6 cells, but the header names 7 columns",
        "Ann,one,old,,3,4,": "line 2, column 'age': 'one' is not a number",
    }.items():
        data.write_text(f"{head.decode()}{row}\n")
        assert main(command) == 2
        assert fault in capsys.readouterr().err


def test_names_of_columns_may_be_numbers(tmp_path, points, monkeypatch, capsys):
    """As pandas writes those of a table without names."""
    monkeypatch.chdir(tmp_path)
    y = points[:, 0] - points[:, 1]
    data = write_table("data.csv", ["0", "1", "y"], [*points.T, y])
    assert main(["train", data, "--target", "y", "--epochs", "1", "--quiet"]) == 0
    expected = MLP.load("model.safetensors").predict(points)
    new = write_table("new.csv", ["1", "0"], points.T[::-1])
    assert main(["predict", "model.safetensors", new]) == 0
    np.testing.assert_array_equal(read("predictions.csv")[1].astype(np.float32), expected)
    other = write_table("other.csv", ["0", "2"], points.T)
    assert main(["predict", "model.safetensors", other]) == 2
    assert "line 1 holds numbers only" in capsys.readouterr().err


def test_a_network_of_one_feature_takes_a_file_of_one_column(tmp_path, points, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = points[:, 0]
    both = write_table("both.csv", ["x", "y"], [x, 2 * x])
    assert main(["train", both, "--target", "y", "--epochs", "1", "--quiet"]) == 0
    alone = write_table("alone.csv", ["x"], [x])
    assert main(["predict", "model.safetensors", alone]) == 0
    expected = MLP.load("model.safetensors").predict(points[:, :1])
    np.testing.assert_array_equal(read("predictions.csv")[1].astype(np.float32), expected)


@pytest.mark.parametrize(
    ("output", "row"),
    [("identity", [2e38, 2e38]), ("softmax", [2e38, 2e38]), ("exponential", [100, 0])],
)
@pytest.mark.usefixtures("overflow")
def test_predictions_that_overflow_are_refused_by_their_row(tmp_path, output, row, capsys):
    """Twice 2e38 is too much for float32, and so is e to the 200."""
    net = MLP([2, 2], output=output, seed=0)
    net.weights[0][:] = [[2, 2], [-2, -2]]
    net.save(tmp_path / "net.safetensors")
    data = tmp_path / "data.csv"
    data.write_text("a,b\n1,2\n0,0\n{},{}\n1,1\n".format(*row))
    out = tmp_path / "out.csv"
    assert main(["predict", str(tmp_path / "net.safetensors"), str(data), "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        "fastmlp: error: the outputs for row 3 of DATA, counted from 1 after the header, are not "
        "finite, as its numbers are too large for the network's weights in float32\n"
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("values", "task", "expected"),
    [
        ([0, 1, 2, 1], "auto", "classification, 3 classes"),
        ([0, 1, 0, 1], "classification", "classification, 2 classes"),
        ([0.0, 1.0, 0.0, 1.0], "auto", "classification, 2 classes"),
        ([0.0, 1.0, 0.0, 1.0], "regression", "regression"),
        ([0.0, 1.0, 0.0, 1.0], "classification", "classification, 2 classes"),
        ([0.0, 1.0, 0.5, 1.0], "auto", "regression"),
        ([3.0, 5.0, 9.0, 5.0], "regression", "regression"),
        (np.arange(40.0), "auto", "regression"),
        ([0, 1, 2, 1], "regression", "regression"),
        ([3, 5, 9, 5], "regression", "regression"),
        (range(40), "auto", "regression"),
    ],
)
@pytest.mark.filterwarnings("ignore:the fit ended")  # after an epoch, for 40 is large
def test_the_task_is_told_by_the_target(tmp_path, values, task, expected, capsys):
    values = np.array(values)
    data = write_table(tmp_path / "data.csv", ["x", "y"], [np.linspace(0, 1, values.size), values])
    command = ["train", data, "--target", "y", "--task", task, "--validation-fraction", "0"]
    assert main([*command, "--epochs", "1", "--out", str(tmp_path / "m")]) == 0
    assert capsys.readouterr().out.startswith(f"{expected}; network")


@pytest.mark.parametrize(
    ("values", "task", "shown"),
    [
        ([1, 2, 3], "auto", "got 1, 2, 3: renumber them in the file, or say --task regression"),
        ([0, 2, 2], "auto", "got 0, 2: renumber"),
        ([1.0, 2.0, 2.0], "auto", "got 1, 2: renumber them in the file, or say --task regr"),
        ([-1, 0, 1], "classification", "got -1, 0, 1: renumber them in the file\n"),
        ([0.5, 1.0, 0.0], "classification", "got 0, 0.5, 1: renumber"),
        ([0, 0, 0], "auto", "two at least, got 0: renumber"),
        (range(2, 20), "auto", "got 2, 3, 4, 5, 6, ...: renumber"),
    ],
)
def test_classes_with_gaps_are_refused(tmp_path, values, task, shown, capsys):
    values = np.array(values)
    data = write_table(tmp_path / "data.csv", ["x", "y"], [np.linspace(0, 1, values.size), values])
    assert main(["train", data, "--target", "y", "--task", task, "--plain"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("fastmlp: error: --target y must hold classes numbered 0, 1, 2, ...")
    assert shown in message


@pytest.mark.usefixtures("overflow")
def test_training_that_diverges_saves_no_model(tmp_path, houses, capsys):
    model = tmp_path / "model.safetensors"
    command = ["train", houses, "--target", "price", "--optimizer", "sgd(learning_rate=1e30)"]
    assert main([*command, "--out", str(model), "--quiet"]) == 1
    captured = capsys.readouterr()
    assert "fastmlp: error: training diverged, no model is saved" in captured.err
    assert captured.out.startswith("regression; network 2-64-32-1")
    assert not model.exists()


def test_held_out_rows_that_overflow_are_told_of(tmp_path, capsys):
    """Their loss is NaN, of which the model is not to blame; here row 0 is held out."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=20)
    a[0] = 2e38
    data = tmp_path / "data.csv"
    np.savetxt(
        data, np.column_stack([a, rng.normal(size=20)]), "%g", ",", header="a,y", comments=""
    )
    command = ["train", str(data), "--target", "y", "--epochs", "2", "--quiet"]
    errors = []
    for seed in range(20):
        path = str(tmp_path / f"{seed}")
        if main([*command, "--seed", str(seed), "--out", path]) == 0:
            errors.append(capsys.readouterr().err)
    assert errors
    message = "of the rows held out, 1 have outputs that are not finite, first row 0 of DATA"
    assert all(message in text for text in errors)


def test_ctrl_c_saves_the_model_as_of_the_last_epoch(tmp_path, houses, capsys, press_ctrl_c):
    press_ctrl_c(4)
    model = tmp_path / "model.safetensors"
    assert (
        main(["train", houses, "--target", "price", "--plain", "--out", str(model), "--quiet"])
        == 130
    )
    captured = capsys.readouterr()
    assert captured.err.endswith("fastmlp: interrupted; the model so far is saved\n")
    assert "; 4 epochs or iterations in" in captured.out
    assert MLP.load(model).layer_sizes == (2, 64, 32, 1)


def test_ctrl_c_before_the_first_iteration_saves_no_model(tmp_path, houses, capsys, press_ctrl_c):
    press_ctrl_c(0)
    model = tmp_path / "model.safetensors"
    command = ["train", houses, "--target", "price", "--optimizer", "lbfgs", "--quiet"]
    assert main([*command, "--out", str(model)]) == 130
    assert capsys.readouterr().err.endswith("fastmlp: interrupted\n")
    assert not model.exists()


# Refusals


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ([], "the following arguments are required: COMMAND (see fastmlp --help)"),
        (["fit"], "invalid choice: 'fit'"),
        (["compare", "--pass", "3"], "unrecognized arguments: --pass 3"),
        (["compare", "--passes", "0"], "passes must be an integer of at least 1, got 0"),
        (["compare", "--passes", "many"], "argument --passes: invalid int value: 'many'"),
        (["compare", "--time-limit", "0"], "time_limit must be a positive number, got 0.0"),
        (["compare", "--hidden", "8,x"], "argument --hidden: must be whole numbers with commas"),
        (["compare", "--hidden", "8,0"], "layer_sizes[2] must be an integer of at least 1, got 0"),
        (["compare", "--threads", "0"], "n_threads must be an integer of at least 1, got 0"),
        (["compare", "--task", "regression"], "--task goes with --data and must not be given for"),
        (["compare", "--seed", "-1"], "--seed must be an integer from 0 up, got -1"),
        (["compare", "--out", "{file}"], "File exists"),
        (["compare", "--optimizers", "adam,"], "argument --optimizers: must be optimizers with co"),
        (["compare", "--optimizers", "adam+"], "optimizer must be written as name"),
        (["compare", "--optimizers", "adam,adam"], "must not name adam more than once"),
        (["compare", "--optimizers", "adm"], "optimizer must be one of sgd, "),
        (["compare", "--optimizers", "adam(epochs=3"], "must be written as name"),
        (["compare", "--budget", "10"], "argument --budget: must be a positive number of seconds"),
        (["compare", "--budget", "0passes"], "argument --budget: must be a positive number of se"),
        (["compare", "--budget", "1.5evals"], "as in 50passes or 200evals, got '1.5evals'"),
        (["compare", "--budget", "3minutes"], "as in 50passes or 200evals, got '3minutes'"),
        (
            ["compare", "--budget", "9s", "--passes", "3"],
            "--budget must not be given together",
        ),
        (["compare", "--seeds", "0"], "--seeds must be an integer of at least 1, got 0"),
        (["compare", "--target", "nan"], "--target must be a finite number, got nan"),
        (["compare", "--column", "y"], "--column goes with --data and must not be given for the d"),
        (["compare", "--data", "{file}"], "--column must name the column of --data to predict"),
        (["compare", "--data", "no.csv", "--column", "y"], "path 'no.csv' does not exist"),
        (["compare", "--data", "{file}", "--column", "z"], "target 'z' is not a column"),
        (
            ["compare", "--data", "{classes}", "--column", "y"],
            "--column y must hold classes n",
        ),
        (["compare", "--problems", "sine"], "problem must be one of sin, parity, "),
        (["compare", "--problems", "sin,"], "argument --problems: must be names with commas betwe"),
        (["compare", "--problems", "sin,sin"], "problems must differ by name, got 'sin' more than"),
        (["compare", "--problems", "sin", "--hidden", "3"], "--hidden is for networks on data and"),
        (
            ["compare", "--problems", "sin", "--data", "{file}"],
            "--data is for networks on data",
        ),
        (["train", "{file}"], "the following arguments are required: --target"),
        (["train", "no.csv", "--target", "y", "--plain"], "path 'no.csv' does not exist"),
        (["train", "{file}", "--target", "z", "--plain"], "target 'z' is not a column"),
        (["train", "{file}", "--target", "y", "--task", "x"], "argument --task: invalid choice"),
        (["train", "{file}", "--target", "y", "--dtype", "int8"], "argument --dtype: invalid"),
        (["train", "{file}", "--target", "y", "--optimizer", "adm"], "optimizer must be one of"),
        (["train", "{file}", "--target", "y", "--optimizer", "adam(3)"], "must be written as name"),
        (["train", "{file}", "--target", "y", "--activation", "rel"], "activation must be one of"),
        (["train", "{file}", "--target", "y", "--loss", "poisson"], "needs an output that is posi"),
        (["train", "{file}", "--target", "y", "--epochs", "0"], "epochs must be an integer of at"),
        (["train", "{file}", "--target", "y", "--batch-size", "0"], "batch_size must be an intege"),
        (
            ["train", "{file}", "--target", "y", "--optimizer", "lbfgs", "--batch-size", "8"],
            "batch_size must not be given for LBFGS",
        ),
        (["train", "{file}", "--target", "y", "--l1", "-1"], "l1 must be a number of at least 0"),
        (["train", "{file}", "--target", "y", "--l2", "nan"], "l2 must be a number of at least 0"),
        (
            ["train", "{file}", "--target", "y", "--validation-fraction", "1"],
            "--validation-fraction must be in [0, 1), got 1.0",
        ),
        (
            ["train", "{file}", "--target", "y", "--validation-fraction", "0.9"],
            "--validation-fraction must leave rows on both sides, or be 0, got 0.9 with 3 rows",
        ),
        (
            ["train", "{file}", "--target", "y", "--validation-fraction", "0.01"],
            "--validation-fraction must leave rows on both sides, or be 0, got 0.01 with 3 rows",
        ),
        (["train", "{file}", "--target", "y", "--plain", "--out", "{folder}"], "is a folder"),
        (
            ["train", "{file}", "--target", "y", "--plain", "--out", "no/m"],
            "must be in an existing folder",
        ),
        (
            ["train", "{bad}", "--target", "y", "--plain"],
            "line 2, column 'x': 'red' is not a number",
        ),
        (["predict", "no.safetensors", "{file}"], "there is none at 'no.safetensors'"),
        (["predict", "{file}", "{file}"], "is not"),
        (["predict", "{model}", "no.csv"], "path 'no.csv' does not exist"),
        (["predict", "{model}", "{empty}"], "is empty"),
        (["predict", "{model}", "{garbage}"], "line 1: bad header"),
        (["predict", "{model}", "{narrow}"], "DATA must have 2 feature columns, one for each"),
        (["predict", "{model}", "{headless}"], "line 1 holds numbers only; it must be a header"),
        (["predict", "{named}", "{file}"], "lacks 'z'; its columns are 'x', 'y'"),
        (["predict", "{named}", "{wide}", "--target", "z"], "lacks 'z'; its columns are 'x', 'y'"),
        (
            ["train", "{headless}", "--target", "2", "--plain"],
            "line 1 holds numbers only; it must be a head",
        ),
        (["predict", "{model}", "{file}", "--target", "z"], "target 'z' is not a column"),
        (["predict", "{model}", "{file}", "--target", "x"], "DATA must have 2 feature columns"),
        (["predict", "{model}", "{wide}"], "got 3; name the target column with --target"),
        (["predict", "{model}", "{file}", "--out", "{folder}"], "is a folder"),
        (["predict", "{model}", "{file}", "--threads", "0"], "n_threads must be an integer"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_bad_input_is_refused_in_one_line(command, sentence, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    files = {
        "file": "x,y\n0.5,1.5\n0.25,1.0\n2,3\n",
        "wide": "x,y,z\n1,2,3\n",
        "bad": "x,y\nred,1\n",
        "empty": "",
        "narrow": "x\n1\n",
        "headless": "1,2\n3,4\n",
        "garbage": "x" * 200_000,
        "classes": "x,y\n1,0\n2,1\n3,1\n4,3\n5,0\n",
    }
    paths = {"folder": folder}
    for name, feature_names in (("model", None), ("named", ("x", "z"))):
        paths[name] = tmp_path / f"{name}.safetensors"
        net = MLP([2, 1], seed=0)
        net.feature_names = feature_names
        net.save(paths[name])
    for name, text in files.items():
        paths[name] = tmp_path / f"{name}.csv"
        paths[name].write_text(text)
    assert main([argument.format(**paths) for argument in command]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("fastmlp: error: ")
    assert sentence in line
    assert not [path for path in folder.rglob("*") if path.is_file()]


# info


def test_info_says_what_it_runs_on(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["fastmlp"] == __version__
    assert lines["numpy"] == np.__version__
    assert lines["python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert re.fullmatch(r"\d+ of \d+", lines["cores"])
    assert lines["threads"].split(",")[0] in ("omp", "tbb", "workqueue")
    assert re.match(r"(128|256|512) bits, tiles of", lines["vectors"])
    assert {"numba", "llvmlite", "scipy", "fma", "prebuilt", "cache"} <= set(lines)


@pytest.fixture
def nothing_launched(monkeypatch):
    """Nothing is measured, nor compiled for it, which would go into a new cache."""
    monkeypatch.setattr(threads, "launch_seconds", lambda n_threads: 1e-6)


def test_info_says_that_there_are_no_fused_multiply_adds(capsys, monkeypatch, nothing_launched):
    monkeypatch.setattr(simd, "HAS_FMA", False)
    assert main(["info"]) == 0
    assert "\nfma       no: the C library's, some 40 times slower\n" in capsys.readouterr().out


def test_info_says_how_the_cache_is(tmp_path, capsys, monkeypatch, nothing_launched):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "kernels"))

    def cache():
        assert main(["info"]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    assert cache().endswith("not made yet, writable")
    (folder,) = re.findall(r"cache +(\S+),", cache())
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / folder.rpartition("/")[2]).mkdir()
    with open(f"{folder}/one.nbc", "wb") as file:
        file.write(bytes(2_000_000))
    assert cache().endswith("1 files, 2.0 MB, writable")


def test_the_traces_are_plain_numbers(tmp_path, no_plot):
    """A reader of the CSV needs to know no Python: every cell but the name is a JSON number.

    Or there is no learning rate.
    """
    main([*SHORT_COMPARE, "--quiet", "--out", str(tmp_path)])
    for row in (tmp_path / "traces.csv").read_text().splitlines()[1:]:
        *cells, rate = row.split(",")[1:]
        for cell in cells if rate == "nan" else [*cells, rate]:
            assert isinstance(json.loads(cell), int | float)
