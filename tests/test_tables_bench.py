"""The benchmark on real tables: its tables and the arithmetic of its summary."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import pandas as pd

from asv_bench.tables import data


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
