"""Times of a condition are moved as the set that they are, whatever they are written as."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.generators.brief import Brief
from research_lab.generators.clock_variation import move_times, take_other_times
from research_lab.generators.grammar import Grammar
from research_lab.generators.hand import Hand
from research_lab.generators.nodes import call
from research_lab.generators.parts import stretch
from research_lab.generators.vocabulary import Vocabulary
from tests.research_lab.generators.made_up import held

BRIEF = Brief(sides=("long", "short", "both"), timeframes=("1h", "4h"))
TEXT = """spec: 1
name: hours
hypothesis: Some hours have buyers.
timeframe: {timeframe}
side: long
enter_long: {enter}
exit_long: not ({enter})
stop: 3 * atr(24)
size: {{fraction: 0.5}}
"""


def strategy(enter: str, timeframe: str = "1h") -> Spec:
    return parse_spec(TEXT.format(enter=enter, timeframe=timeframe))


def hand(seed: int) -> Hand:
    return Hand(BRIEF, Grammar(), np.random.default_rng(seed))


def hours(spec: Spec, name: str) -> set[int]:
    """Hours at which a condition on hour() alone holds, by Python's own reading of its text."""
    return held(spec.conditions[name].text, range(24))


def moved(enter: str, n: int = 40) -> Iterator[Spec]:
    for seed in range(n):
        after = move_times(strategy(enter), hand(seed))
        if after is not None:
            yield after


def is_turn_or_stretch(before: set[int], after: set[int]) -> bool:
    turns = [{(h + k) % 24 for h in before} for k in (-3, -2, -1, 1, 2, 3)]
    return after in turns or (len(before ^ after) <= 1)


@pytest.mark.parametrize(
    "enter",
    [
        "hour() == 5",
        "9 <= hour() and hour() <= 13",
        "hour() >= 22 or hour() <= 2",
        "not (hour() < 20)",
        "hour() < 3",
    ],
)
def test_hours_move_as_a_whole_or_at_one_end_and_the_exit_with_them(enter: str) -> None:
    before = hours(strategy(enter), "enter_long")
    found = list(moved(enter))
    assert len({spec.hash for spec in found}) >= 6
    for spec in found:
        after = hours(spec, "enter_long")
        assert is_turn_or_stretch(before, after) and 0 < len(after) < 24
        assert hours(spec, "exit_long") == set(range(24)) - after
        assert parse_spec(spec.canonical()).hash == spec.hash


def test_a_move_over_midnight_stays_one_stretch() -> None:
    nights = [
        hours(spec, "enter_long") for spec in moved("hour() >= 22") if len(hours(spec, "enter_long")) == 2
    ]
    assert {23, 0} in nights and {0, 1} in nights


def test_the_other_side_gets_other_times_of_the_same_kind() -> None:
    found = [take_other_times(strategy("9 <= hour() and hour() <= 13"), hand(seed)) for seed in range(30)]
    pairs = [(hours(s, "enter_long"), hours(s, "enter_short")) for s in found if s is not None]
    assert len(pairs) == 30 and all(s is not None and s.side == "both" for s in found)
    assert all(len(long) == len(short) == 5 and long != short for long, short in pairs)
    assert len({frozenset(short) for _, short in pairs}) > 10


def test_what_stands_beside_the_clock_stays() -> None:
    spec = strategy("close > ema(close, 20) and 9 <= hour() and hour() <= 13")
    after = next(found for seed in range(9) if (found := move_times(spec, hand(seed))) is not None)
    assert "ema(close, 20)" in after.conditions["enter_long"].text


def test_a_parameter_of_the_clock_is_written_out() -> None:
    text = TEXT.format(enter="hour() == at", timeframe="1h").replace(
        "enter_long", "params: {at: {range: [0, 23], step: 1, default: 7}}\nenter_long"
    )
    after = next(
        found for seed in range(9) if (found := move_times(parse_spec(text), hand(seed))) is not None
    )
    assert not after.params and hours(after, "enter_long") != {7}


@pytest.mark.parametrize("enter", ["close > open", "hour() > close / open", "hour() + 1 > 3"])
def test_strategies_without_times_of_their_own_are_left_alone(enter: str) -> None:
    assert move_times(strategy(enter), hand(1)) is None
    assert take_other_times(strategy(enter), hand(1)) is None


def test_nobody_gets_two_sides_who_may_not_have_them() -> None:
    one_sided = Hand(Brief(sides=("long",)), Grammar(), np.random.default_rng(1))
    assert take_other_times(strategy("hour() == 5"), one_sided) is None


@given(first=st.integers(0, 23), n=st.integers(1, 23), timeframe=st.sampled_from(["1h", "4h"]))
def test_a_stretch_says_exactly_its_times(first: int, n: int, timeframe: str) -> None:
    span = Vocabulary.of(BRIEF, timeframe).span(call("hour"))
    assert span is not None
    steps, size = span.n + 1, 24 // (span.n + 1)
    first, n = first % steps, min(n, steps - 1)
    told = stretch(call("hour"), span, first, n)
    wanted = {(first + k) % steps * size for k in range(n)}
    assert held(told.text, range(0, 24, size)) == wanted
