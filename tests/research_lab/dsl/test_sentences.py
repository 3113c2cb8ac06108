"""What a strategy does, in English: true to its trees, and said of every tree there can be."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.explanation import explanation, figures, tree_lines
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.phrases import EVENT_PHRASES, PHRASES
from research_lab.dsl.registry import EVENT_FUNCTIONS, FUNCTIONS
from research_lab.dsl.sentences import duration, sentences
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import LIBRARY, load_spec, parse_spec
from research_lab.dsl.spec_text import EnsembleForm
from research_lab.errors import SpecError
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
        ("adx(14) > 20", "the ADX over 14 bars is above 20"),
        ("20 > adx(14)", "the ADX over 14 bars is below 20"),
        ("adx(14) >= 2 * n", "the ADX over 14 bars is at or above 2 * n (now 20)"),
        ("not adx(14) > 20", "the ADX over 14 bars is at or below 20"),
        ("not adx(14) >= 20", "the ADX over 14 bars is below 20"),
        ("not 20 >= adx(14)", "the ADX over 14 bars is above 20"),
        ("rsi(open, 14) == 50", "the RSI of open over 14 bars equals 50"),
        ("rsi(14) != 50", "the RSI of close over 14 bars differs from 50"),
        ("latch(close > open, close < low)",
         "(since (open is below close) there has been no bar with (close is below low))"),
        ("volume > 2 * sma(volume, 20)", "volume is above 2 times the mean of volume over 20 bars"),
        ("close < vwap(24) - n * atr(24)",
         "close is below the average price weighted by volume over 24 bars less n (now 10) times the average true range "
         "over 24 bars"),
        ("atr(14) / close > 0.02", "the ratio of the average true range over 14 bars to close is above 0.02"),
        ("-rsi(14) < -50", "minus the RSI of close over 14 bars is below -50"),
        ("close > (atr(14) + low) / 2", "close is above (the average true range over 14 bars plus low) divided by 2"),
        ("close > prev(donchian_upper(20))", "close is above the highest high of the 20 bars before"),
        ("donchian_upper(9) - donchian_lower(9) > 4 * atr(9)",
         "the highest high of the last 9 bars less the lowest low of the last 9 bars is above 4 times the average true "
         "range over 9 bars"),
        ("close < lowest(low, 9) + 0.2 * (highest(high, 9) - lowest(low, 9))",
         "close is below the lowest low of the last 9 bars plus 0.2 times (the highest high of the last 9 bars less the "
         "lowest low of the last 9 bars)"),
        ("close > high - (low - atr(9))", "close is above high less (low less the average true range over 9 bars)"),
        ("close - low > (high - low) / n", "close - low is above (high - low) divided by n (now 10)"),
        ("rsi(9) / (rsi(14) * hour()) > 1",
         "the ratio of the RSI of close over 9 bars to (the hour of the close, UTC, times the RSI of close over 14 bars) "
         "is above 1"),
        ("abs(atr(9) - atr(14)) > 0",
         "the size of (the average true range over 9 bars less the average true range over 14 bars) is above 0"),
        ("count(inside_bar() and close > open, 6) > 2",
         "the number of bars with (the bar lies inside the one before, and open is below close) among the last 6 bars "
         "is above 2"),
        ("held_for(crosses(close, open), 2)", "(close crosses open either way) has held for 2 bars"),
        ("held_for(inside_bar(), 2)", "(the bar lies inside the one before) has held for 2 bars"),
        ("spread < 0.01", "the spread as estimated over 32 bars is below 0.01"),
        ('close > tf("4h", ema(close, 20))', "close is above the exponential average of close over 20 bars on 4h bars"),
        ('tf("4h", close > open)', "(open is below close) on 4h bars"),
        ('on("BTC/USDT", roc(close, 24)) > 0.01',
         "the relative change of close over 24 bars on BTC/USDT is above 0.01"),
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
        ("stop: 2 * atr(14)",
         "A stop lies 2 times the average true range over 14 bars away from the entry; that distance is R."),
        ("stop: atr(14)\ntake: [{at: 1R, close: 0.5}, {at: 2R, close: 1}]",
         "Takes profit, each time of what remains: 50 % at 1 R, 100 % at 2 R."),
        ("stop: atr(14)\ntake: [{at: 1R, close: 0.5}]\nbreakeven: true",
         "After the first take the stop moves to the entry price."),
        ("trail: {distance: 3 * atr(14)}",
         "The stop trails 3 times the average true range over 14 bars behind the best price since the entry."),
        ("stop: atr(14)\ntrail: {distance: atr(9), after: 2R}",
         "The stop trails the average true range over 9 bars behind the best price since the entry, once the gain is 2 R."),
        ("regimes: [panic]", "Enters only in the market regimes panic."),
        ("regimes: [panic, trend_up, trend_down]\nregime_exit: true",
         "Enters only in the market regimes panic, trend_up, or trend_down, and leaves when the regime is another."),
        ("", "Each entry puts 50 % of equity into the position."),
    ],
)  # fmt: skip
def test_the_plan_is_said_as_it_is(more: str, said: str) -> None:
    assert said in told(more=more)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("target_vol: 0.3",
         "Each entry is as large a share of equity as has a volatility of 30 % a year, measured over 64 bars."),
        ("target_vol: n / 50, window: 24",
         "Each entry is as large a share of equity as has a volatility of n / 50 (now 20 %) a year, measured over 24 bars."),
        ("fraction: 0.5 * rsi(14) / 100",
         "Each entry puts a share of equity into the position: (0.5 times the RSI of close over 14 bars) divided by 100."),
        ('fraction: "0.3 / (2 * std(log(close / open), 9))"',
         "Each entry puts a share of equity into the position: the ratio of 0.3 to (2 times the standard deviation of the "
         "logarithm of (close / open) over 9 bars)."),
        ("risk: 0.01 * calm()",
         "Each entry risks a share of equity, 0.01 times the calm of the market (its mean range over 50 bars to that over "
         "14): that is lost when the stop is hit at its price."),
    ],
)  # fmt: skip
def test_a_size_is_said_as_it_is(size: str, said: str) -> None:
    text = TEXT.replace("fraction: 0.5", size) % ("close > open", "stop: atr(14)")
    assert said in sentences(parse_spec(text))


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
    assert set(PHRASES) == set(FUNCTIONS)
    for name in FUNCTIONS:
        named = {part.split("}")[0] for part in PHRASES[name].split("{")[1:]}
        assert named == {argument.name for argument in FUNCTIONS[name].arguments}, name
    assert set(EVENT_PHRASES) == set(EVENT_FUNCTIONS)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_is_said_in_words(name: str) -> None:
    function = FUNCTIONS[name]
    samples = {"condition": "close > open", "window": "14", "share": "0.5", "exponent": "2"}
    for number in ("close", "funding"):
        texts = [samples.get(argument.kind, number) for argument in function.arguments]
        texts = [
            "close" if a.dimension == PRICE else t for a, t in zip(function.arguments, texts, strict=True)
        ]
        texts = ["2" if a.name.startswith("k") else t for a, t in zip(function.arguments, texts, strict=True)]
        try:
            node = parse_expression(f"{name}({', '.join(texts)})", Scope())
        except SpecError:
            continue
        condition = node.text if node.dimension.condition else f"{node.text} == {node.text}"
        said = told(condition)[1]
        assert said.startswith("Goes long when ")
        assert f"{name}(" not in said
        assert "_" not in said, said
        assert "{" not in said
        return
    raise AssertionError(f"no sample of {name} could be read")


OUTSIDE = """\
spec: 1
name: outside
hypothesis: none
timeframe: 1h
side: long
series:
  dxy: {lag: 1d, max_age: 5d}
  spread: {lag: 0, max_age: 1h}
events:
  fomc: {known_ahead: true}
enter_long: dxy < sma(dxy, 20) and hours_to(fomc) > 24 and spread < 0.01 and on("BTC/USDT", close > open)
exit_long: hours_since(fomc) < 4
size: {fraction: 0.5}
"""


def test_what_is_read_from_outside_is_said_with_how_it_is_read() -> None:
    said = sentences(parse_spec(OUTSIDE))
    assert "the series dxy is below the mean of the series dxy over 20 bars" in said[1]
    assert "the series spread is below 0.01" in said[1]
    assert "estimated" not in said[1]
    assert "the hours to the next event of fomc is above 24" in said[1]
    assert "(open is below close) on BTC/USDT" in said[1]
    assert said[-4:] == [
        "Reads the series dxy, each value from 24 hours after its stamp on, unknown once 5 days older than that.",
        "Reads the series spread, each value from its stamp on, unknown once 1 hour older than that.",
        "Reads the calendar fomc, its events all known ahead.",
        "Reads the market BTC/USDT as of its last complete bar, on 1h bars of its own.",
    ]


ENSEMBLE = {
    "combine": "weighted", "min_confidence": "share",
    "members": {
        "one": {"weight": 2, "use": "ema_atr"},
        "two": {"enter_long": "rsi(14) < 30", "exit_long": "rsi(14) >\n 50"},
    },
}  # fmt: skip


def ensemble_spec() -> Spec:
    head = TEXT.split("enter_long")[0].replace("  n: {range: [10, 20], step: 5, default: 10}",
                                               "  share: {range: [0.4, 0.8], step: 0.2, default: 0.6}")  # fmt: skip
    text = f"{head}ensemble: {json.dumps(ENSEMBLE)}\nsize: {{fraction: 0.5}}\n"
    return parse_spec(text, resolve=lambda name: load_spec(LIBRARY / f"{name}.yaml"))


def test_an_estimated_spread_is_called_an_estimate_wherever_it_stands() -> None:
    line = "The spread in it is an estimate from high, low and close, since no series spread is declared."
    assert line in told("spread < 0.01 and close > open")
    assert line in told("edge(0.5, 2, atr(14)) > 0")
    assert line not in told("close > open")
    assert line not in sentences(parse_spec(OUTSIDE))


def test_an_ensemble_is_said_by_its_members_where_they_are_known() -> None:
    said = sentences(ensemble_spec(), EnsembleForm.model_validate(ENSEMBLE))
    assert said[1:5] == [
        "It is an ensemble of 2, each long or aside; one that does not know abstains.",
        "Member one, weight 2: the conditions of ema_atr.",
        "Member two, weight 1: enter long rsi(14) < 30; exit long rsi(14) > 50.",
        "Goes long where the members' mean stance by weight reaches share (now 0.6), and leaves when they no longer do.",
    ]


def test_a_condition_too_long_to_be_said_is_told_by_its_size() -> None:
    spec = ensemble_spec()
    said = sentences(spec)
    n = spec.conditions["enter_long"].size
    assert said[1] == f"Goes long when enter_long below holds, a condition of {n} operations."
    assert all(len(line) < 200 for line in said)


def test_a_part_that_was_drawn_is_named_where_it_stands_again() -> None:
    spec = ensemble_spec()
    text = explanation(spec)
    below = text.split("\nexit_long\n")[1].split("\n\n")[0].splitlines()
    assert len(below) == 2
    assert below[1].endswith("condition, as above")
    assert "<= " in below[1]


def test_the_figures_tell_what_is_read_from_outside() -> None:
    shown = figures(parse_spec(OUTSIDE))
    outside = 'dxy, hours_since(fomc), hours_to(fomc), on("BTC/USDT", open < close), spread'
    assert (shown["needs"], shown["from outside"]) == ("none", outside)
    shown = figures(parse_spec(TEXT % ("funding > 0", "")))
    assert (shown["needs"], shown["from outside"]) == ("funding", "none")


def test_trees_show_timeframe_and_market() -> None:
    spec = parse_spec(
        TEXT
        % (
            'tf("4h", close > open) and on("BTC/USDT", roc(close, 24)) > 0.01 and pow(close / open, 2) > 1',
            "",
        )
    )
    lines = [line.split()[-2] for line in tree_lines(spec.conditions["enter_long"])]
    assert {'tf("4h")', 'on("BTC/USDT")', "roc(n=24)", "pow(k=2)"} <= set(lines)


def test_time_spans_are_said_in_the_unit_that_fits() -> None:
    hour = 3_600_000
    said = [duration(ms) for ms in (hour // 4, hour, 5 * hour // 2, 47 * hour, 48 * hour, 1505 * hour)]
    assert said == ["15 minutes", "1 hour", "2.5 hours", "47 hours", "2 days", "62.7 days"]
