"""The survey holds through every hour and day, each side by itself, within the brief."""

from __future__ import annotations

from collections import Counter

import numpy as np

from research_lab.dsl.spec_reader import parse_spec
from research_lab.generators.archive import Archive
from research_lab.generators.brief import Brief
from research_lab.generators.evolution import Evolution
from research_lab.generators.protocol import Feedback
from research_lab.generators.survey import survey
from tests.research_lab.generators.made_up import held

BOTH = ("long", "short", "both")


def held_through(hand: str, n: int, side: str, brief: Brief) -> Counter[int]:
    """Count the strategies of a side that hold at each step of a hand of the clock."""
    found: Counter[int] = Counter()
    for spec in survey(brief):
        told = spec.conditions.get(f"enter_{side}")
        if told is not None and hand in told.text:
            found.update(held(told.text, range(n), hand))
    return found


def test_every_hour_and_day_is_held_through_as_often_as_any_other() -> None:
    brief = Brief(sides=BOTH)
    for side in ("long", "short"):
        assert held_through("hour", 24, side, brief) == dict.fromkeys(range(24), 2)
        assert held_through("weekday", 7, side, brief) == dict.fromkeys(range(7), 1)


def test_bars_of_four_hours_have_times_at_which_they_close() -> None:
    """A bar is named by the hour in which its close is known: every fourth."""
    closes = held_through("hour", 24, "long", Brief(timeframes=("4h",)))
    assert {hour: n for hour, n in closes.items() if hour % 4 == 0} == dict.fromkeys(range(0, 24, 4), 1)


def test_each_is_a_strategy_that_the_reader_reads_and_no_two_are_one() -> None:
    found = survey(Brief(sides=BOTH))
    assert [parse_spec(spec.canonical()).hash for spec in found] == [spec.hash for spec in found]
    assert len({spec.hash for spec in found}) == len(found) == 2 * (12 + 7)


def test_what_the_brief_refuses_is_left_out() -> None:
    assert {spec.side for spec in survey(Brief(sides=("long",)))} == {"long"}
    assert not survey(Brief(sides=("both",)))
    assert not survey(Brief(required=("stop",)))
    assert not survey(Brief(never=("hour", "weekday")))
    assert not survey(Brief(timeframes=("1w",)))


def test_evolution_proposes_each_once_and_fresh_blood_beside_it() -> None:
    brief = Brief(sides=BOTH)
    rng = np.random.default_rng(1)
    texts = [
        p.text
        for generation in range(5)
        for p in Evolution().propose(brief, Feedback(Archive(), (), 20 * generation, generation), 20, rng)
    ]
    surveyed = Counter(parse_spec(text).hash for text in texts if "name: survey_" in text)
    assert surveyed == dict.fromkeys((spec.hash for spec in survey(brief)), 1)
    assert len(texts) == 100
    assert sum("name: fresh_" in text for text in texts) == 100 - len(surveyed)
