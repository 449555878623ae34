"""The benchmark on real tables: its tables and the arithmetic of its summary."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import pandas as pd

from asv_bench.peers.processes import Failed
from asv_bench.tables import __main__ as command
from asv_bench.tables import data, fits, peers, pieces, report, summary
from asv_bench.tables.fits import Fit

ROOT = Path(__file__).parents[1]


def is_text(values):
    """Whether a column is of strings, in pandas before or after 3."""
    return values.dtype == object or isinstance(values.dtype, pd.StringDtype)


def loaded(name):
    """The table of that name, or a skip where no package ships it."""
    reason = data.TABLES[name].reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    return data.TABLES[name].load()


# The tables


def test_there_are_enough_tables_of_both_tasks():
    tasks = [table.task for table in data.TABLES.values()]
    assert len(tasks) >= 10
    assert min(tasks.count(data.CLASSIFICATION), tasks.count(data.REGRESSION)) >= 5
    assert all(200 <= table.n_rows <= 60_000 for table in data.TABLES.values())


@pytest.mark.parametrize("name", data.TABLES)
def test_a_table_is_what_it_promises(name):
    table, (X, y) = data.TABLES[name], loaded(name)
    assert isinstance(X, pd.DataFrame)
    assert len(X) == len(y) == table.n_rows
    assert X.columns.is_unique
    assert not pd.isna(y).any()
    if table.classifies:
        assert np.unique(y, return_counts=True)[1].min() >= 100
    else:
        assert y.dtype.kind in "if"
        assert np.isfinite(y).all()


@pytest.mark.parametrize("name", data.TABLES)
def test_no_column_gives_the_target_or_the_row_away(name):
    table, (X, y) = data.TABLES[name], loaded(name)
    codes = pd.factorize(y)[0] if table.classifies else y
    for column in X:
        values = X[column]
        if is_text(values):
            # Rows that share a text say something about each other: it is no name of the row.
            assert values.nunique() < len(X) / 10
            values = pd.Series(pd.factorize(values)[0])
        spearman = values.rank().corr(pd.Series(codes).rank())
        # The weight of a diamond orders prices like that; a function of the target is at 1.
        assert np.isnan(spearman) or abs(spearman) < 0.97, column


def test_text_and_gaps_and_dates_are_left_in():
    frames = {name: loaded(name).X for name in data.TABLES}
    texts = {name for name, X in frames.items() if any(is_text(X[column]) for column in X)}
    gaps = {name for name, X in frames.items() if X.isna().any(axis=None)}
    dates = {name for name, X in frames.items() if not X.select_dtypes("datetime").empty}
    assert {"hpc", "churn", "ames", "diamonds", "flights"} <= texts
    assert {"churn", "credit", "ames", "loans", "flights"} <= gaps
    assert dates == {"hotel"}


def test_a_split_is_a_function_of_the_seed_and_keeps_the_shares_of_classes():
    table, (X, y) = data.TABLES["digits"], loaded("digits")
    first, again, other = (data.split(table, seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first.X_test, again.X_test)
    np.testing.assert_array_equal(first.y_train, again.y_train)
    assert not first.X_test.equals(other.X_test)
    n_test = len(first.X_test)
    assert n_test == len(first.y_test) == pytest.approx(0.2 * len(X), abs=1)
    assert len(first.X_train) + n_test == len(X)
    shares = np.bincount(y) / len(y)
    np.testing.assert_allclose(np.bincount(first.y_test) / n_test, shares, atol=1 / n_test)


def test_a_table_whose_package_is_missing_says_what_to_install():
    table = data.Table(data.REGRESSION, 1, lambda: None, ("no_such_package",))
    assert "no_such_package is not installed" in table.reason_to_skip()


# What the peers are given

RAW = pd.DataFrame(
    {
        "size": [1.0, np.nan, 3.0, 5.0],
        "kind": ["b", "a", None, "b"],
        "new": [True, False, True, True],
        "sold": pd.to_datetime(
            ["2024-02-29 12:30", "2023-12-31 00:00", "2024-01-01 18:00", "2025-06-01 07:15"]
        ),
    }
)
UNSEEN = RAW.assign(kind=["c", "a", "b", None], size=[np.nan, 2.0, np.nan, 1.0])


def test_text_is_categories_of_the_rows_to_fit_and_a_date_is_its_parts():
    prepared = peers.Categories().fit(RAW).transform(UNSEEN)
    assert list(prepared["kind"].cat.categories) == ["a", "b"]
    assert prepared["kind"].isna().tolist() == [True, False, False, True]
    date = prepared.loc[0, ["sold year", "sold month", "sold weekday", "sold minute"]]
    assert date.tolist() == [2024, 2, 3, 750]  # a Thursday
    assert prepared["size"].isna().tolist() == [True, False, True, False]


def test_what_is_missing_is_filled_and_said_for_who_refuses_it():
    prepared = peers.Filled().fit(RAW).transform(UNSEEN)
    assert prepared["size"].tolist() == [3.0, 2.0, 3.0, 1.0]
    assert prepared["size is missing"].tolist() == [1, 0, 1, 0]
    categories = prepared.select_dtypes("category").columns
    assert set(categories) == {"kind", "new", "size is missing"}
    # Complete in the rows to fit: nothing to learn about gaps.
    complete = peers.Filled().fit(RAW.fillna({"size": 0.0})).transform(UNSEEN)
    assert "size is missing" not in complete
    assert complete["size"].notna().all()


def test_missing_text_is_a_text_for_who_reads_text():
    assert peers.text_as_it_is(UNSEEN)["kind"].tolist() == ["c", "a", "b", "missing"]


# RealMLP takes long even on a few rows.
QUICK_PEERS = [name for name in peers.METHODS if name not in ("fastmlp-1", "fastmlp", "realmlp")]


@pytest.mark.parametrize("name", QUICK_PEERS)
@pytest.mark.parametrize("classifies", [True, False])
def test_peers_learn_from_a_raw_frame(name, classifies):
    pytest.importorskip(peers.METHODS[name].package)
    rng = np.random.default_rng(0)
    X = RAW.sample(400, replace=True, random_state=0).reset_index(drop=True)
    X["size"] += rng.normal(size=400)
    target = 3 * (X["kind"] == "b") + X["sold"].dt.month / 4
    y = (target > 2.5).to_numpy(int) if classifies else target.to_numpy()
    model = peers.METHODS[name].build(X, classifies, 0, 1).fit(X[:300], y[:300])
    found = fits.predictions(model, X[300:], classifies)
    assert found.shape == ((100, 2) if classifies else (100,))
    # Far below 0.3 or so, the share of the rarer class, and 1, that of the mean.
    assert fits.scores(y[300:], found, classifies)["error"] < 0.1


def out_of_fold(method):
    """Predictions for a few rows, whose targets are classes and numbers."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 3)))
    found = []
    for classifies, y in ((True, np.abs(X[0]) > 0.7), (False, np.abs(X[0]))):
        model = method.build(X, classifies, 0, 1)
        n_networks = min(model.n_networks, 5)
        found.append(model.set_params(n_networks=n_networks, epochs=20).fit(X, y).oof_predictions_)
    return found


def test_each_change_of_fastmlp_trains_something_else():
    classes, values = out_of_fold(peers.METHODS["fastmlp"])
    for name, method in pieces.PIECES.items():
        changed_classes, changed_values = out_of_fold(method)
        assert not np.array_equal(changed_classes, classes), name
        # Smoothing and temperature are of classes.
        of_classes = name in ("no-smoothing", "no-temperature")
        assert np.array_equal(changed_values, values) == of_classes, name


# Scores


def test_scores_of_classes():
    y = np.array([0, 1, 2, 1])
    even = fits.scores(y, np.full((4, 3), 1 / 3), True)
    assert even["log_loss"] == pytest.approx(np.log(3))
    assert even["error"] == 0.75
    sure = fits.scores(y, np.eye(3)[y], True)
    assert sure["error"] == 0
    assert sure["log_loss"] == pytest.approx(0, abs=1e-12)


def test_the_error_of_values_is_the_root_of_what_r2_leaves():
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(1)
    y = rng.normal(5, 3, 50)
    predicted = y + rng.normal(size=50)
    found = fits.scores(y, predicted, False)
    assert found["error"] ** 2 == pytest.approx(1 - r2_score(y, predicted))
    assert fits.scores(y, np.full(50, y.mean()), False)["error"] == pytest.approx(1)


def test_classes_are_numbered_as_probabilities_have_them():
    parts = data.Split(None, np.array(["no", "yes", "no"]), None, np.array(["yes", "no"]))
    coded = fits.coded(parts)
    assert coded.y_train.tolist() == [0, 1, 0]
    assert coded.y_test.tolist() == [1, 0]


# The summary


def done_of(**errors):
    """Fits with errors by "table_method", a list with one for each seed; None has no fit."""
    return {
        Fit(*name.split("_"), seed): {"error": error}
        for name, by_seed in errors.items()
        for seed, error in enumerate(by_seed)
        if error is not None
    }


def test_the_shift_keeps_an_error_of_0_from_deciding_all():
    assert summary.shifted_geometric_mean([0.0, 0.03]) == pytest.approx(0.02)
    assert summary.shifted_geometric_mean([0.24, 0.24]) == pytest.approx(0.25)
    assert summary.shifted_geometric_mean([1.0, 4.0], shift=0) == pytest.approx(2)


def test_a_ratio_is_of_means_over_the_seeds_that_both_have():
    done = done_of(x_a=[0.1, 0.3, 0.9], x_b=[0.2, 0.2, None], y_a=[0.5], y_b=[0.125], z_a=[0.7])
    found = summary.compare(summary.by_table(done, "error"), "a", "b")
    assert found.ratios == pytest.approx({"x": 1, "y": 4})
    assert found.ratio == pytest.approx(2)
    assert found.largest == (pytest.approx(4), "y")


def test_turned_around_a_comparison_is_the_inverse():
    rng = np.random.default_rng(2)
    done = done_of(**{f"{t}_{m}": rng.uniform(0.1, 1, 3) for t in "uvwxy" for m in "ab"})
    values = summary.by_table(done, "error")
    there, back = summary.compare(values, "a", "b"), summary.compare(values, "b", "a")
    assert there.ratio * back.ratio == pytest.approx(1)
    assert (there.better, there.worse) == (back.worse, back.better)
    assert there.better + there.worse == 5


def test_a_table_without_errors_has_no_ratio_but_a_winner():
    done = done_of(x_a=[0.0], x_b=[0.1], y_a=[0.3], y_b=[0.3])
    found = summary.compare(summary.by_table(done, "error"), "a", "b")
    assert found.left_out == ("x",)
    assert (found.ratio, found.better, found.worse) == (1, 1, 0)


def test_methods_that_share_no_table_have_no_ratio():
    found = summary.compare(summary.by_table(done_of(x_a=[0.1], y_b=[0.1]), "error"), "a", "b")
    assert found.ratio is None
    assert found.largest is None


def test_shifted_means_are_of_the_same_tables():
    done = done_of(x_a=[0.24], x_b=[0.49], y_a=[0.001])
    means, common = summary.shifted_means(summary.by_table(done, "error"), ["a", "b"])
    assert common == ["x"]
    assert means == pytest.approx({"a": 0.25, "b": 0.5})


def test_the_best_boosting_is_chosen_on_each_table():
    errors = {"x_catboost": [0.3, 0.3], "x_lightgbm": [0.1, 0.4], "x_xgboost": [0.5, 0.5]}
    errors |= {"y_catboost": [0.3], "y_lightgbm": [0.4], "y_xgboost": [0.2], "z_catboost": [0.1]}
    done = done_of(**errors)
    values = summary.with_best_boosting(summary.by_table(done, "error"))
    best = {table: methods.get(summary.BEST_BOOSTING) for table, methods in values.items()}
    assert best == {"x": {0: 0.1, 1: 0.4}, "y": {0: 0.2}, "z": None}


# The command

SETTING = {"cpu": "one", "threads": 2}


def test_small_tables_come_first_and_all_methods_before_another_seed():
    planned = fits.plan(["ames", "diabetes"], ["xgboost", "catboost"], 2)
    assert [fit.key for fit in planned[:5]] == [
        "diabetes/xgboost/0",
        "diabetes/catboost/0",
        "ames/xgboost/0",
        "ames/catboost/0",
        "diabetes/xgboost/1",
    ]
    assert [Fit.from_key(fit.key) for fit in planned] == planned


def test_a_file_of_another_number_of_threads_is_refused(tmp_path):
    path = tmp_path / "tables.json"
    fits.Results(path, SETTING).add(Fit("ames", "xgboost", 0), {"error": 0.1})
    assert fits.Results(path, SETTING).done == {Fit("ames", "xgboost", 0): {"error": 0.1}}
    with pytest.raises(ValueError, match="has fits with threads 2, and this run is with 1: name"):
        fits.Results(path, {**SETTING, "threads": 1})


def test_a_run_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    made = []

    def measured(fit, n_threads):
        made.append(fit.key)
        if fit.method == "sklearn-mlp":
            raise Failed("no memory")
        return {"error": 0.25, "rmse": 1.0, "seconds": 2.0, "predict_seconds": 0.1}

    monkeypatch.setattr(command, "measure_apart", measured)
    arguments = ["--tables", "diabetes", "--methods", "hist-gb", "sklearn-mlp"]
    arguments += ["--threads", "1", "--output", str(tmp_path / "tables.json")]
    assert command.main([*arguments, "--seeds", "1"]) == 0
    assert command.main([*arguments, "--seeds", "3"]) == 0
    # A fit that failed is tried once in a run.
    assert made == [
        *("diabetes/hist-gb/0", "diabetes/sklearn-mlp/0", "diabetes/sklearn-mlp/0"),
        *("diabetes/hist-gb/1", "diabetes/hist-gb/2"),
    ]
    content = json.loads((tmp_path / "tables.json").read_text())
    assert set(content["fits"]) == {f"diabetes/hist-gb/{seed}" for seed in range(3)}
    output = capsys.readouterr()
    assert "| diabetes | 442 | 0.2500 |" in output.out
    assert "diabetes/sklearn-mlp/0: left out: no memory" in output.err


def test_the_report_says_how_fastmlp_does_against_the_best_of_boosting(capsys, monkeypatch):
    errors = {"fastmlp": 0.2, "catboost": 0.25, "lightgbm": 0.4, "xgboost": 0.5}

    def measured(fit, n_threads):
        return {"error": errors[fit.method], "seconds": 3.0}

    monkeypatch.setattr(command, "measure_apart", measured)
    monkeypatch.setattr(peers.Method, "reason_to_skip", lambda method: None)
    command.main(["--tables", "diabetes", "--methods", *errors, "--seeds", "1"])
    told = capsys.readouterr().out
    best = "fastmlp against the best of CatBoost, LightGBM and XGBoost on each table: "
    assert best + "error 0.800 times, better on 1 of 1 tables." in told
    assert "fastmlp against LightGBM: error 0.500 times, better on 1 of 1 tables; time 1" in told


def test_the_report_says_what_changes_of_fastmlp_do():
    by_method = {"fastmlp": (0.2, 0.1), "no-scale": (0.22, 0.1)}
    done = {
        Fit(table, method, 0): {"error": error, "seconds": 2.0}
        for method, errors in by_method.items()
        for table, error in zip(("ames", "diamonds"), errors, strict=True)
    }
    told, table = report.pieces(done, {"no-scale": "no scale", "wider": "256 units"})
    assert "standard error" in told
    # Ratios 1.1 and 1: their logarithms are 0.0953 and 0, the standard error of whose mean is half
    # of their distance.
    (row,) = table.splitlines()[2:]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["no scale", "1.049 ± 0.050", "-", "-", "1.000 ± 0.000"]
    assert report.pieces(done, {"wider": "256 units"}) == []


def test_one_fit_is_one_line_of_json():
    arguments = ["-m", "asv_bench.tables", "--threads", "1", "--one", "diabetes/hist-gb/0"]
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)
    assert (found["n_train"], found["n_test"]) == (353, 89)
    assert 0.5 < found["error"] < 1.1
    assert found["seconds"] > 0


def test_networks_say_their_error_out_of_fold():
    """On the scale of the error on the rows to score on, where the mean of the targets has 1."""
    found = fits.measure(Fit("diabetes", "fastmlp-1", 0), 1)
    assert 0.5 < found["oof_error"] < 1.1
    assert "oof_error" not in fits.measure(Fit("diabetes", "hist-gb", 0), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tables", "iris"], "invalid choice: 'iris'"),
        (["--seeds", "0"], "must be at least 1, got 0"),
        (["--output", "/no/such/folder/x.json"], "needs a file in a folder that exists"),
    ],
)
def test_wrong_options_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert message in capsys.readouterr().err
