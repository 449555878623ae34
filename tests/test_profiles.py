"""Performance profiles, against their definition worked out by hand."""

import io
import json

import numpy as np
import pytest
from handmade import JUMPY, STEADY, comparison, read_page, run
from hypothesis import given
from hypothesis import strategies as st

from fastmlp import Comparisons, Status, performance_profile

NEVER = np.inf

# Costs of three solvers on five problems. Ratios to the least of each row:
#   1    2    never
#   3    1    never
#   1    1    4
#   -    -    -       nobody solves it
#   1.5  1    never
COSTS = [
    [10, 20, NEVER],
    [30, 10, NEVER],
    [5, 5, 20],
    [NEVER, NEVER, NEVER],
    [6, 4, NEVER],
]


def test_a_profile_worked_out_by_hand():
    factors, fractions = performance_profile(COSTS)
    np.testing.assert_array_equal(factors, [1, 1.5, 2, 3, 4])
    np.testing.assert_array_equal(fractions[:, 0], [2 / 5, 3 / 5, 3 / 5, 4 / 5, 4 / 5])
    np.testing.assert_array_equal(fractions[:, 1], [3 / 5, 3 / 5, 4 / 5, 4 / 5, 4 / 5])
    np.testing.assert_array_equal(fractions[:, 2], [0, 0, 0, 0, 1 / 5])


def test_a_profile_at_given_factors():
    factors, fractions = performance_profile(COSTS, [1, 2.9, 3, 1e9])
    np.testing.assert_array_equal(factors, [1, 2.9, 3, 1e9])
    np.testing.assert_array_equal(fractions[:, 0], [2 / 5, 3 / 5, 4 / 5, 4 / 5])


def test_where_the_least_cost_is_nothing_all_that_solve_it_tie():
    factors, fractions = performance_profile([[0, 1, NEVER]])
    np.testing.assert_array_equal(factors, [1])
    np.testing.assert_array_equal(fractions, [[1, 1, 0]])


tables = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(0, 9).map(float) | st.just(NEVER), min_size=n, max_size=n),
        min_size=1,
        max_size=6,
    )
)


@given(tables)
def test_properties_of_profiles(table):
    """Dolan & Moré (2002), section 2: what a profile is at both ends, and in between."""
    costs = np.array(table)
    _, fractions = performance_profile(costs)
    assert (np.diff(fractions, axis=0) >= 0).all()
    # At 1 a profile is the share of wins: every solved problem has one winner, or more that tie.
    n_winners = [
        np.isfinite(row).sum() if row.min() == 0 else (row == row.min()).sum()
        for row in costs
        if np.isfinite(row).any()
    ]
    assert sum(fractions[0]) * len(costs) == pytest.approx(sum(n_winners))
    # At the right end it is the share of what was solved.
    np.testing.assert_array_equal(fractions[-1], np.isfinite(costs).mean(axis=0))
    # Neither another unit nor another order of the problems changes it.
    for other in (4 * costs, costs[::-1]):
        np.testing.assert_allclose(performance_profile(other)[1], fractions, rtol=1e-15)


@pytest.mark.parametrize(
    ("costs", "factors", "sentence"),
    [
        ([], None, "costs must have the shape"),
        ([1.0, 2.0], None, "costs must have the shape"),
        ([[1.0, -2.0]], None, "costs must be at least 0, got -2"),
        ([[1.0, np.nan]], None, "costs must be at least 0, got nan"),
        ([["a", "b"]], None, "costs must hold real numbers"),
        ([[1.0, 2.0]], [0.5], "factors must be a vector of numbers from 1 up"),
        ([[1.0, 2.0]], 2.0, "factors must be a vector of numbers from 1 up"),
    ],
)
def test_bad_tables_are_refused_in_a_sentence(costs, factors, sentence):
    with pytest.raises((ValueError, TypeError)) as error:
        performance_profile(costs, factors)
    assert sentence in str(error.value)


# Comparisons


@pytest.fixture
def two():
    """Two problems by hand, of five seeds each: data passes to the targets are

    first:  steady 2, 3, never, never, never    jumpy 1, 2, 3, never, 1
    second: steady 0, 0, 0, 0, 0                jumpy 0, 0, 0, 0, 0
    """
    runs = {"steady": STEADY, "jumpy": JUMPY}
    return Comparisons(
        {"first": comparison(runs, target=2.0), "second": comparison(runs, target=8.0)}
    )


def test_every_seed_of_every_problem_is_an_instance(two):
    profile = two.profile("passes")
    assert profile.n_instances == 10
    np.testing.assert_array_equal(profile.factors, [1, 1.5, 2])
    np.testing.assert_array_equal(profile.fractions["steady"], [0.5, 0.6, 0.7])
    np.testing.assert_array_equal(profile.fractions["jumpy"], [0.9, 0.9, 0.9])
    # By seconds jumpy's first seed is twice as fast again, its third half as fast.
    seconds = two.profile("seconds", [1, 4])
    np.testing.assert_array_equal(seconds.fractions["steady"], [0.5, 0.7])
    assert two.profile("gradient_evaluations").fractions["jumpy"][0] == 0.9
    with pytest.raises(ValueError, match="measure must be one of seconds, passes, gradient"):
        two.profile("time")


def test_comparisons_are_a_mapping_that_prints(two):
    assert list(two) == ["first", "second"]
    assert len(two) == 2
    assert two["first"].target == 2.0
    text = str(two)
    assert text == two.table()
    assert "first: to an objective of at most 2" in text
    assert "second: to an objective of at most 8" in text
    summary = text.split("\n\n")[-2]
    assert summary.startswith("All 10 runs on 2 problems")
    (steady,) = [line for line in summary.splitlines() if line.startswith("steady")]
    assert steady.split() == ["steady", "7/10", "50%", "50%", "50%"]


def test_a_profile_counts_what_all_optimizers_ran_on(two):
    cut = {"steady": STEADY[:3], "jumpy": [*JUMPY[:1], run(1, [8.0], status=Status.INTERRUPTED)]}
    one = {"steady": STEADY}
    partly = Comparisons(
        {"first": two["first"], "cut": comparison(cut, 2.0), "one": comparison(one, 2.0)}
    )
    assert partly.profile("passes").n_instances == 5 + 2
    with pytest.raises(ValueError, match="a profile needs a problem that all optimizers ran on"):
        Comparisons({}).profile()
    with pytest.raises(ValueError, match="comparisons must have a target each, got None for 'one'"):
        Comparisons({"one": comparison(one)})


def test_nothing_at_all_prints_too(tmp_path):
    nothing = Comparisons({})
    assert "Interrupted" in str(nothing)
    nothing.to_html(tmp_path / "page.html")
    read_page(tmp_path / "page.html")


def test_a_profile_is_drawn_as_steps_from_its_wins_to_its_share(two, tmp_path):
    pytest.importorskip("matplotlib")
    figure = two.plot_profile(tmp_path / "profile.png", measure="passes")
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")
    (panel,) = figure.get_axes()
    assert panel.get_xscale() == "log"
    assert panel.get_xlim()[0] == 1
    for line, (name, fractions) in zip(
        panel.get_lines(), two.profile("passes").fractions.items(), strict=True
    ):
        assert line.get_label() == name
        assert line.get_drawstyle() == "steps-post"
        np.testing.assert_array_equal(line.get_ydata(), [*fractions, fractions[-1]])
    assert "data passes" in panel.get_xlabel()
    assert "10 runs" in panel.get_ylabel()


def test_a_profile_of_problems_that_nobody_solved_can_be_drawn():
    pytest.importorskip("matplotlib")
    unsolved = Comparisons({"hard": comparison({"steady": STEADY, "jumpy": JUMPY}, target=-1.0)})
    profile = unsolved.profile()
    np.testing.assert_array_equal(profile.factors, [1])
    assert profile.fractions["steady"][0] == 0
    unsolved.plot_profile().savefig(io.BytesIO())


def test_a_page_has_profiles_and_every_problem(two, tmp_path):
    pytest.importorskip("matplotlib")
    two.to_html(tmp_path / "page.html")
    page = read_page(tmp_path / "page.html")
    assert page.count("img") == 3 + 2
    assert "first" in page.text
    assert "All 10 runs on 2 problems" in page.text


def test_each_comparison_goes_into_files_of_its_own(two, tmp_path):
    for name, one in two.items():
        one.to_json(tmp_path / f"{name}.json")
    assert json.loads((tmp_path / "second.json").read_text())["target"] == 8.0
