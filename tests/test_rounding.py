"""Digits that float32 has no room for: one warning, where they matter, that names the column."""

import numpy as np
import pytest

from fastmlp import MLP, Adam, compare, fit_many, training

N_ROWS = 400
# Consecutive seconds of Unix: float32 has one number for 128 of them.
SECONDS = np.arange(1_700_000_000.0, 1_700_000_000.0 + N_ROWS)
N_LEFT = len(set(SECONDS.astype(np.float32).tolist()))


@pytest.fixture(autouse=True)
def no_advice(monkeypatch):
    """Fits end at once, and so no better than the mean, of which another warning tells."""
    monkeypatch.setattr(training, "advice", lambda objective, loss: None)


def table(*columns):
    return np.column_stack(columns)


def net(n_inputs, dtype="float32"):
    return MLP([n_inputs, 1], dtype=dtype, seed=0)


def fit(X, y, dtype="float32"):
    net(X.shape[1], dtype).fit(X, y, epochs=1, seed=0)


ORDINARY = np.random.default_rng(0).normal(size=N_ROWS)
WARNING = rf"rounding to float32 merges distinct values: {{}} keeps {N_LEFT} of its {N_ROWS}"


def test_seconds_of_unix_are_named_by_their_column():
    with pytest.warns(UserWarning, match=WARNING.format("column 1")) as caught:
        fit(table(ORDINARY, SECONDS), ORDINARY)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    "column",
    [
        np.append(0.0, SECONDS[:-1]),
        np.append(1e11 + np.arange(200.0), 2e11 + np.arange(200.0)),
        np.append(np.full(200, np.float64(2**60)), SECONDS[:200]),
    ],
    ids=["one far away", "two heaps", "half far away"],
)
def test_values_that_are_close_together_in_a_wide_column_are_named(column):
    with pytest.warns(UserWarning, match="column 0 keeps [2-9] of its [0-9]+"):
        fit(column[:, None], ORDINARY)


def test_numbers_that_become_zeros_are_named():
    with pytest.warns(UserWarning, match="column 0 keeps 1 of its 400"):
        fit(np.linspace(-1e-60, 1e-60, N_ROWS)[:, None], ORDINARY)


def test_whole_numbers_are_looked_at_as_well():
    with pytest.warns(UserWarning, match=WARNING.format("column 0")):
        fit(SECONDS[:, None].astype(np.int64), ORDINARY)


def test_a_target_is_named():
    with pytest.warns(UserWarning, match=WARNING.format("y")):
        fit(ORDINARY[:, None], SECONDS)


def test_a_frame_names_its_columns():
    pandas = pytest.importorskip("pandas")
    with pytest.warns(UserWarning, match=WARNING.format("column 'time'")):
        fit(pandas.DataFrame({"weight": ORDINARY, "time": SECONDS}), ORDINARY)


def test_many_columns_are_one_short_warning():
    with pytest.warns(UserWarning, match="column 2 keeps 4 of its 400, and 5 more columns") as seen:
        fit(table(*[SECONDS] * 8), ORDINARY)
    assert len(seen) == 1


def test_fit_many_and_compare_warn_once():
    X = table(ORDINARY, SECONDS)
    with pytest.warns(UserWarning, match=WARNING.format("column 1")) as caught:
        fit_many([net(2), net(2), net(2, "float64")], X, ORDINARY, epochs=1)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match=WARNING.format("column 1")) as caught:
        compare(net(2), X, ORDINARY, {"adam": Adam(), "slow": Adam(1e-4)}, passes=1)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    "column",
    [
        SECONDS - SECONDS[0],
        np.arange(N_ROWS) * 128.0 + SECONDS[0],  # numbers of float32, all of them
        np.full(N_ROWS, SECONDS[7]),
        np.repeat([0.0, 1.0], N_ROWS // 2),
    ],
    ids=["from 0", "steps", "constant", "two values"],
)
def test_what_loses_nothing_is_no_matter(column):
    fit(table(ORDINARY, column), ORDINARY)


def test_chance_is_no_matter():
    """Among 100,000 random numbers hundreds share their first 7 digits."""
    X = np.random.default_rng(0).uniform(size=(100_000, 2))
    assert len(np.unique(X[:, 0].astype(np.float32))) < len(X) - 100
    fit(X, X[:, 0])


def test_float64_has_room(recwarn):
    fit(table(SECONDS, ORDINARY), SECONDS / 2e9, dtype="float64")
    assert not [warning for warning in recwarn if "rounding" in str(warning.message)]
