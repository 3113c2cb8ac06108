"""The calendar and the day's sums: bars of odd lengths, leap days, days that begin unseen or with a gap."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.engine import clock
from research_lab.engine.jit import FloatArray
from tests.oracles import technical
from tests.research_lab.engine import invariants
from tests.research_lab.engine.invariants import ProgramMachine
from tests.research_lab.engine.tapes import HOUR_MS, Tape, walk
from tests.research_lab.engine.test_function_table import compiler, outputs, tree

HANDS = {
    "hour": clock.HOUR,
    "weekday": clock.WEEKDAY,
    "day_of_month": clock.DAY_OF_MONTH,
    "minutes_to_funding": clock.MINUTES_TO_FUNDING,
}
UTC = dt.UTC


def shown(hand: str, *moments: dt.datetime) -> FloatArray:
    time = np.array([moment.timestamp() * 1000.0 for moment in moments])
    out = np.empty(len(moments))
    clock.clock(time, out, HANDS[hand])
    return out


@pytest.mark.parametrize("hand", HANDS)
@given(minutes=st.lists(st.integers(0, 230 * 365 * 24 * 60), min_size=1))
def test_a_hand_shows_what_the_calendar_says(hand: str, minutes: list[int]) -> None:
    moments = [dt.datetime(1970, 1, 1, tzinfo=UTC) + dt.timedelta(minutes=m) for m in minutes]
    wanted = technical.clock(np.array(minutes) * 60_000.0, hand)
    np.testing.assert_array_equal(shown(hand, *moments), wanted)


def test_every_day_of_four_centuries_has_its_number() -> None:
    first = dt.datetime(1970, 1, 1, tzinfo=UTC)
    days = [first + dt.timedelta(days=k) for k in range(146_097)]
    np.testing.assert_array_equal(shown("day_of_month", *days), [day.day for day in days])
    np.testing.assert_array_equal(shown("weekday", *days), [day.weekday() for day in days])


def test_a_close_at_a_funding_has_the_whole_time_to_the_next() -> None:
    at = [
        dt.datetime(2024, 2, 29, hour, minute, tzinfo=UTC)
        for hour, minute in ((8, 0), (7, 59), (8, 1), (0, 0))
    ]
    np.testing.assert_array_equal(shown("minutes_to_funding", *at), [480, 1, 479, 480])


def test_a_bar_that_closes_at_midnight_is_told_by_its_close() -> None:
    tape = walk(np.random.default_rng(0), 48)
    closes_at_midnight = (tape.time + HOUR_MS) % (24 * HOUR_MS) == 0
    assert closes_at_midnight.sum() == 2
    assert (outputs("hour()", tape)[closes_at_midnight] == 0.0).all()
    # The tape begins on a Friday: the bars close on Saturday and on Sunday.
    np.testing.assert_array_equal(outputs("weekday()", tape)[closes_at_midnight], [5, 6])


def beginning(tape: Tape, opening: dt.datetime, step_ms: int) -> Tape:
    first = int(opening.timestamp() * 1000.0)
    return replace(tape, step_ms=step_ms, time=first + step_ms * np.arange(tape.n, dtype=np.int64))


def day_sums(tape: Tape) -> FloatArray:
    program, _ = compiler.program_of([tree("day_sum(volume)")], tape.step_ms)
    return invariants.run(ProgramMachine(program), tape).rows[0]


@pytest.mark.parametrize("hours", [0.25, 1, 4, 5, 7, 24, 36, 168])
@pytest.mark.parametrize("begins_at", [0, 7])
def test_a_bar_counts_for_the_day_in_which_it_opens(hours: float, begins_at: int) -> None:
    opening = dt.datetime(2023, 12, 30, begins_at, tzinfo=UTC)
    tape = beginning(walk(np.random.default_rng(4), 300), opening, int(hours * HOUR_MS))
    wanted = technical.day_sum(tape.named("volume"), tape.time.astype(float))
    np.testing.assert_allclose(day_sums(tape), wanted, rtol=1e-12)
    assert np.isnan(wanted[0]) == (begins_at != 0)


def test_a_day_after_a_gap_begins_anew_with_its_first_bar() -> None:
    tape = walk(np.random.default_rng(4), 72)
    there = (tape.time // HOUR_MS) % 24 >= 3
    gappy = replace(tape, time=tape.time[there], inputs=np.ascontiguousarray(tape.inputs[:, there]))
    sums, hours = day_sums(gappy), (gappy.time // HOUR_MS) % 24
    later = np.flatnonzero(hours == 3)
    assert later.size == 3
    np.testing.assert_array_equal(sums[later], gappy.named("volume")[later])
    assert np.isnan(sums[: later[0]]).all()


def test_the_days_vwap_is_known_after_a_day_of_warm_up() -> None:
    for step_ms, bars in ((HOUR_MS // 4, 97), (HOUR_MS, 25), (24 * HOUR_MS, 2), (168 * HOUR_MS, 2)):
        assert compiler.program_of([tree("vwap_day()")], step_ms)[1] == bars
