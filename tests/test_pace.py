"""Pace: whether a sweep goes on as a team of threads or alone. No test looks at a clock."""

import numpy as np
import pytest

from fastmlp.pace import CALL_SECONDS, SECONDS_ALONE, Deferred, Pace, first_flops

TEAM, ALONE = True, False


def follow(pace, speeds, total_seconds, largest=float("inf")):
    """Ways and seconds of the calls of a sweep whose ways have these speeds, in flops a second."""
    calls = []
    while sum(seconds for _, seconds in calls) < total_seconds:
        way, flops = pace.next()
        flops = min(flops, largest)
        calls.append((way, flops / speeds[way]))
        pace.learn(way, flops, flops / speeds[way])
    return calls


def share(calls, wanted):
    return sum(seconds for way, seconds in calls if way is wanted) / sum(s for _, s in calls)


@pytest.mark.parametrize("speeds", [{TEAM: 9e10, ALONE: 5e10}, {TEAM: 2e9, ALONE: 5e10}], ids=str)
def test_the_faster_way_gets_all_but_a_hundredth_of_the_time(speeds):
    pace = Pace([TEAM, ALONE])
    follow(pace, speeds, 1)
    faster = max(speeds, key=speeds.get)
    assert share(follow(pace, speeds, 60), faster) > 0.99


def test_the_slower_way_is_tried_again_and_taken_when_it_has_become_the_faster():
    pace = Pace([TEAM, ALONE])
    assert follow(pace, {TEAM: 1e9, ALONE: 1e10}, 10)[-1][0] is ALONE
    assert follow(pace, {TEAM: 2e10, ALONE: 1e10}, 10)[-1][0] is TEAM


def test_a_team_that_met_with_a_busy_core_at_first_is_soon_tried_again():
    pace = Pace([TEAM, ALONE])
    for way in 3 * [TEAM] + 3 * [ALONE]:
        assert pace.next()[0] is way
        pace.learn(way, 1e8, 0.03 if way is TEAM else 0.02)
    calls = follow(pace, {TEAM: 1e10, ALONE: 5e9}, 1)
    assert share(calls, TEAM) > 0.6


def test_one_interrupted_call_is_no_verdict():
    pace = Pace([TEAM, ALONE])
    follow(pace, {TEAM: 1e10, ALONE: 5e9}, 1)
    pace.learn(TEAM, 1e6, 1.0)
    assert pace.next()[0] is TEAM


def test_both_ways_are_timed_more_than_once():
    ways = [way for way, _ in follow(Pace([TEAM, ALONE]), {TEAM: 1e12, ALONE: 1e12}, 1)]
    n = ways.index(ALONE)
    assert n > 1
    assert ways[: 2 * n] == [TEAM] * n + [ALONE] * n


@pytest.mark.parametrize("speed", [1e10, 1e11])
def test_what_is_soon_done_alone_has_no_team(speed):
    pace = Pace([TEAM, ALONE], SECONDS_ALONE)
    calls = follow(pace, {TEAM: 1e12, ALONE: speed}, 0.9 * SECONDS_ALONE, largest=1e7)
    assert all(way is ALONE for way, _ in calls)
    # Yet not for long: a network worth a team has one within a tenth of a second.
    calls = follow(Pace([TEAM, ALONE], SECONDS_ALONE), {TEAM: 1e12, ALONE: speed}, 0.2)
    assert sum(seconds for way, seconds in calls if way is ALONE) < 0.15
    assert calls[-1][0] is TEAM


def test_calls_take_about_as_long_as_they_should():
    pace = Pace([ALONE])
    assert pace.next() == (ALONE, first_flops())
    calls = follow(pace, {ALONE: 3e10}, 5)
    assert all(way is ALONE for way, _ in calls)
    assert calls[-1][1] == pytest.approx(CALL_SECONDS)


@pytest.mark.parametrize("slowness", [2, 1000])
def test_short_calls_that_need_no_clock_go_alone(slowness):
    """A team in its own way costs less than a hundredth of the time of calls of 10 us."""
    pace, flops, seconds = Pace([TEAM, ALONE]), 1e5, {TEAM: slowness * 1e-5, ALONE: 1e-5}
    speeds = {way: flops / seconds[way] for way in seconds}
    assert pace.skip_to_trial(flops) == 0
    spent = {TEAM: 0.0, ALONE: 0.0}
    for _ in range(100):
        way, _ = pace.next()
        pace.learn(way, flops, flops / speeds[way])
        without_clock = pace.skip_to_trial(flops)
        spent[way] += seconds[way]
        spent[ALONE] += without_clock * seconds[ALONE]
    assert spent[TEAM] < 0.01 * spent[ALONE]
    assert spent[ALONE] > 10


def test_short_calls_of_a_faster_team_all_look_at_the_clock():
    pace = Pace([TEAM, ALONE])
    for _ in range(20):
        way, _ = pace.next()
        pace.learn(way, 1e6, 1e-5 if way is TEAM else 2e-5)
        assert pace.skip_to_trial(1e6) == 0
    assert pace.next()[0] is TEAM


def test_the_first_moments_go_alone_without_a_clock():
    pace = Pace([TEAM, ALONE], SECONDS_ALONE)
    assert pace.next()[0] is ALONE
    pace.learn(ALONE, 1e6, 2e-5)
    assert 500 < pace.skip_to_trial(1e6) < 2000
    assert pace.next()[0] is TEAM


def test_a_long_time_alone_is_cut_into_calls():
    calls = follow(Pace([TEAM, ALONE], 5 * CALL_SECONDS), {TEAM: 1e12, ALONE: 1e10}, 1)
    alone = [seconds for way, seconds in calls if way is ALONE]
    assert max(alone) < 1.1 * CALL_SECONDS
    assert sum(alone) > 5 * CALL_SECONDS


def test_code_that_only_saves_time_waits_until_some_was_spent():
    single, double = np.dtype("float32"), np.dtype("float64")
    deferred = Deferred(1.0, lambda dtype: dtype == double)
    assert deferred.seconds_left(single) == 1.0
    assert deferred.seconds_left(double) == 0.0
    for left in (0.75, 0.5, 0.25, 0.0, 0.0):
        deferred.spend(single, 0.25)
        assert deferred.seconds_left(single) == left
