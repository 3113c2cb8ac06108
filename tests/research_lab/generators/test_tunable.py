"""The same strategy with more of its numbers as parameters: identity kept, ranges around what was written."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from research_lab.dsl.spec_reader import parse_spec
from research_lab.generators.brief import Brief
from research_lab.generators.grammar import Grammar
from research_lab.generators.tunable import with_parameters

BRIEF = Brief(sides=("long", "short", "both"))
FIXED = parse_spec("""spec: 1
name: fixed
hypothesis: A range broken runs on.
timeframe: 4h
side: long
enter_long: close > prev(highest(high, 40)) and rsi(14) > 60
exit_long: close < ema(close, 30)
stop: 3 * atr(14)
size: {fraction: 0.5}
""")


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), most=st.integers(0, 5))
def test_any_strategy_stays_the_same_one_and_reads_back(seed: int, most: int) -> None:
    spec = Grammar().strategy(BRIEF, np.random.default_rng(seed))
    opened = with_parameters(spec, BRIEF, most)
    assert opened.hash == spec.hash
    assert len(spec.params) <= len(opened.params) <= max(most, len(spec.params))
    again = parse_spec(opened.canonical())
    assert (again.hash, again.template_hash) == (spec.hash, opened.template_hash)
    for name, param in opened.params.items():
        assert param.low <= param.default <= param.high and param.n_values > 1, name
        assert any(abs(param.default - value) < 1e-9 for value in param.values), name


def test_windows_come_before_levels_and_conditions_before_stops() -> None:
    (first,) = with_parameters(FIXED, BRIEF, 1).params.values()
    assert first.default in (40.0, 14.0, 30.0)
    four = sorted(param.default for param in with_parameters(FIXED, BRIEF, 4).params.values())
    assert four == [14.0, 30.0, 40.0, 60.0]
    assert len(with_parameters(FIXED, BRIEF, 9).params) == 7


def test_what_has_enough_parameters_is_left_alone() -> None:
    opened = with_parameters(FIXED, BRIEF, 3)
    assert with_parameters(opened, BRIEF, 3) is opened
    assert with_parameters(opened, BRIEF, 2) is opened


def test_days_of_the_week_and_of_the_month_are_names_and_no_quantities() -> None:
    text = FIXED.canonical().replace(
        "close < ema(close, 30)", "weekday() == 4 or hour() >= 7 or day_of_month() > 20"
    )
    opened = with_parameters(parse_spec(text), BRIEF, 9)
    assert sorted(param.default for param in opened.params.values()) == [
        1.0,
        3.0,
        7.0,
        14.0,
        14.0,
        40.0,
        60.0,
    ]
