"""What a strategy does, in English: true to its trees, and said of every tree there can be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from research_lab.dsl.explanation import explanation, tree_lines
from research_lab.dsl.registry import FUNCTIONS
from research_lab.dsl.sentences import _PHRASES, duration, sentences
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from tests.strategies_of_specs import specs

TEXT = """\
spec: 1
name: told
hypothesis: none
timeframe: 1h
side: long
params:
  n: {range: [10, 20], step: 5, default: 10}
enter_long: %s
%s
time_stop: 36
size: {fraction: 0.5}
"""


def told(condition: str = "close > open", more: str = "") -> list[str]:
    return sentences(parse_spec(TEXT % (condition, more)))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("close > open", "open is below close"),
        ("close > prev(highest(high, 20))", "close is above the highest high of the 20 bars before"),
        ("prev(lowest(low, n)) > close", "close is below the lowest low of the n (now 10) bars before"),
        ("close > prev(highest(high, 20), 2)", "close is above the highest high of the last 20 bars 2 bars ago"),
        ("adx(14) > 20", "adx(14) is above 20"),
        ("20 > adx(14)", "adx(14) is below 20"),
        ("adx(14) >= 2 * n", "adx(14) is at or above 2 * n (now 20)"),
        ("not adx(14) > 20", "adx(14) is at or below 20"),
        ("not adx(14) >= 20", "adx(14) is below 20"),
        ("not 20 >= adx(14)", "adx(14) is above 20"),
        ("rsi(open, 14) == 50", "rsi(open, 14) equals 50"),
        ("rsi(14) != 50", "rsi(14) differs from 50"),
        ("close > open and high > low", "low is below high, and open is below close"),
        ("close > open and (high > low or close > low)",
         "(low is below close, or low is below high), and open is below close"),
        ("not (close > open or high > low)", "it is not so that (low is below high, or open is below close)"),
        ("crosses_above(close, sma(close - open, 5))", "close crosses above the mean of (close - open) over 5 bars"),
        ("close > (high + low) / 2", "close is above (high + low) / 2"),
        ("funding > quantile(funding, 48, 0.9)", "funding is above the 90 % quantile of funding over 48 bars"),
        ("coalesce(premium, 0) >= 0", "premium (0 where that is unknown) is at or above 0"),
        ("bars_since(close > open) < 5", "the number of bars since (open is below close) is below 5"),
    ],
)  # fmt: skip
def test_a_condition_is_said_as_it_is(condition: str, said: str) -> None:
    assert told(condition)[1] == f"Goes long when {said}."


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("exit_long: close < sma(close, n)", "Leaves a long when close is below the mean of close over n (now 10) bars."),
        ("", "Leaves at the latest after 36 bars, 36 hours."),
        ("stop: 2 * atr(14)", "A stop lies 2 * atr(14) away from the entry; that distance is R."),
        ("stop: atr(14)\ntake: [{at: 1R, close: 0.5}, {at: 2R, close: 1}]",
         "Takes profit, each time of what remains: 50 % at 1 R, 100 % at 2 R."),
        ("stop: atr(14)\ntake: [{at: 1R, close: 0.5}]\nbreakeven: true",
         "After the first take the stop moves to the entry price."),
        ("trail: {distance: 3 * atr(14)}", "The stop trails 3 * atr(14) behind the best price since the entry."),
        ("stop: atr(14)\ntrail: {distance: atr(9), after: 2R}",
         "The stop trails atr(9) behind the best price since the entry, once the gain is 2 R."),
        ("regimes: [panic]", "Enters only in the market regimes panic."),
        ("regimes: [panic, trend_up, trend_down]\nregime_exit: true",
         "Enters only in the market regimes panic, trend_up, or trend_down, and leaves when the regime is another."),
        ("", "Each entry puts 50 % of equity into the position."),
    ],
)  # fmt: skip
def test_the_plan_is_said_as_it_is(more: str, said: str) -> None:
    assert said in told(more=more)


def test_a_parameter_is_said_with_its_value_now() -> None:
    spec = parse_spec(TEXT % ("close > sma(close, n)", ""))
    assert "over n (now 15) bars" in sentences(spec.bind({"n": 15.0}))[1]


@settings(max_examples=40, deadline=None)
@given(specs())
def test_every_strategy_is_explained(spec: Spec) -> None:
    text = explanation(spec)
    assert spec.hash in text
    for line in sentences(spec):
        assert line.endswith(".")
        assert line.count("(") == line.count(")")
    for root in spec.conditions.values():
        assert all(line == line.rstrip() for line in tree_lines(root))


def test_a_phrase_names_the_arguments_of_its_function() -> None:
    for name, phrase in _PHRASES.items():
        for argument in FUNCTIONS[name].arguments:
            assert f"{{{argument.name}}}" in phrase


def test_time_spans_are_said_in_the_unit_that_fits() -> None:
    hour = 3_600_000
    said = [duration(ms) for ms in (hour // 4, hour, 5 * hour // 2, 47 * hour, 48 * hour, 1505 * hour)]
    assert said == ["15 minutes", "1 hour", "2.5 hours", "47 hours", "2 days", "62.7 days"]
