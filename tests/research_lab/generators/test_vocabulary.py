from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import markets
from research_lab.dsl.dimensions import BARS, CONDITION, LITERAL, PRICE, RATIO, VOLUME
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.function import Argument
from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.tree import Node, is_same
from research_lab.engine.jit import FloatArray
from research_lab.errors import DimensionError
from research_lab.generators import nodes, spans, vocabulary
from research_lab.generators.brief import Brief
from research_lab.generators.vocabulary import NUMBERS, Vocabulary, calls_of, reads_of

ALL = Vocabulary.of(Brief(inputs=tuple(INPUTS)), "1h")


def read(text: str) -> Node:
    return parse_expression(text, Scope())


def test_every_function_can_be_called() -> None:
    said = {name for of in (*NUMBERS, CONDITION) for name in ALL.calls(of)}
    assert said == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_call_is_said_to_give_is_what_the_reader_finds(name: str) -> None:
    stand_ins = {
        PRICE: "close", RATIO: "close / open", VOLUME: "volume", BARS: "bars_since(close > open)",
        CONDITION: "(close > open)", vocabulary.PRICE_VOLUME: "close * volume",
        vocabulary.SQUARED_PRICE: "close * close",
    }  # fmt: skip
    for call in calls_of(name):
        words = []
        for argument, of in zip(call.function.arguments, call.takes, strict=True):
            number = {"window": "5", "share": "0.5", "exponent": str((call.exponents or (1,))[-1])}
            words.append(number.get(argument.kind, "1.5") if of == LITERAL else stand_ins[of])
        assert read(f"{name}({', '.join(words)})").dimension.plain() == call.gives


def test_a_price_is_banded_by_numbers_and_not_by_prices() -> None:
    assert [call.takes for call in ALL.calls(PRICE)["bollinger_upper"]] == [(PRICE, LITERAL, LITERAL)]


def test_equal_bounds_give_one_vocabulary() -> None:
    assert Vocabulary.of(Brief(goal="a"), "4h") is Vocabulary.of(Brief(goal="b"), "4h")


def test_a_function_that_reads_what_a_brief_keeps_back_is_left_out() -> None:
    words = Vocabulary.of(Brief(inputs=("open", "high", "low", "close")), "1h")
    assert reads_of("obv") == {"close", "volume"}
    assert reads_of("edge") == {"close"}  # its costs are an argument
    assert not {"obv", "mfi", "vwap", "volume_zscore", "vwma"} & words.functions
    assert words.lacks(read("obv()")) == "obv(), which reads volume"
    assert words.lacks(read("close > sma(volume * close / volume, 5)")) == "volume"
    assert words.lacks(read("close > sma(close, 5)")) == ""


@pytest.mark.parametrize(("timeframe", "still"), [
    ("1d", {"hour", "minutes_to_funding"}), ("8h", {"minutes_to_funding"}), ("1h", set()),
    ("1w", {"hour", "minutes_to_funding", "weekday"}),
])  # fmt: skip
def test_a_hand_of_the_clock_that_stands_still_is_left_out(timeframe: str, still: set[str]) -> None:
    words = Vocabulary.of(Brief(), timeframe)
    assert {"hour", "weekday", "day_of_month", "minutes_to_funding"} - words.functions == still


def test_longer_timeframes_are_those_made_of_the_bars() -> None:
    brief = Brief(longer=("1h", "4h", "6h", "1d"))
    assert Vocabulary.of(brief, "1h").longer == ("4h", "6h", "1d")
    assert Vocabulary.of(brief, "4h").longer == ("1d",)
    assert "confirmed" not in Vocabulary.of(brief, "7h").functions


def test_a_function_of_unknown_kind_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = replace(FUNCTIONS["abs"], name="strange", arguments=(Argument("x", "weather"),))
    monkeypatch.setitem(FUNCTIONS, "strange", strange)
    monkeypatch.setitem(FUNCTIONS, "known", replace(FUNCTIONS["abs"], name="known"))
    assert calls_of("strange") == ()
    assert calls_of("known")
    calls_of.cache_clear()


def test_nothing_is_called_with_what_cannot_be_made() -> None:
    words = Vocabulary.of(Brief(only=("rsi", "hour", "crosses_above"), inputs=("volume",)), "1h")
    assert set(words.calls(RATIO)) == {"rsi", "hour"}
    assert {call.takes[0] for call in words.calls(RATIO)["rsi"]} == {RATIO, VOLUME}
    assert words.makes >= {RATIO, VOLUME, CONDITION}
    assert PRICE not in words.makes


def test_windows_lie_in_the_range_of_their_argument() -> None:
    sma = FUNCTIONS["sma"]
    assert ALL.windows(sma, Argument("n", "window", least=4))[0] == 5
    assert ALL.windows(sma, Argument("n", "window", least=400)) == (400,)
    fast, slow = (ALL.windows(FUNCTIONS["macd"], FUNCTIONS["macd"].arguments[k]) for k in (1, 2))
    assert max(fast) < min(slow)


WRITTEN = {
    "sign": "sign(close - open)",
    "psar_direction": "psar_direction(0.02, 0.2)",
    "correlation": "correlation(close, volume, 14)",
}


def _scaled(name: str) -> str:
    """A call of a function whose values have a span."""
    words = {"window": "14", "condition": "close > open"}
    arguments = FUNCTIONS[name].arguments
    plain = (words.get(a.kind, "2" if a.name in vocabulary.PLAIN_NUMBERS else "close") for a in arguments)
    return WRITTEN.get(name, f"{name}({', '.join(plain)})")


def values_of(node: Node) -> FloatArray:
    """The values of a tree over 4,000 hours of noise."""
    from research_lab.dsl.compiler import program_of
    from research_lab.engine.evaluation import evaluate

    bars = markets.made(4_000, "1h", seed=5)
    program, _ = program_of([node], bars.step_ms, ())
    return evaluate(program, bars.step_ms, bars)[0][0]


TREES = [
    "rsi(close, 14) > 30", "prev(highest(high, 20), 1) <= close", "not (close > open and volume > prev(volume))",
    "crosses_above(ema(close, 10), ema(close, 30)) or hour() < 8", "(high + low) / 2 - 2 * atr(14) > 0",
    "pow(close, 2) > var(close, 20)", "-close < open", "tf('4h', close > open)", "0.1 + 0.2 < rank(close, 9)",
]  # fmt: skip


@pytest.mark.parametrize("text", TREES)
def test_trees_made_in_code_are_those_of_the_reader(text: str) -> None:
    n, call, given = nodes.number, nodes.call, nodes.given
    close, opened, volume = given("close"), given("open"), given("volume")
    made = {
        0: lambda: nodes.compared(call("rsi", close, n(14)), ">", n(30)),
        1: lambda: nodes.compared(call("prev", call("highest", given("high"), n(20))), "<=", close),
        2: lambda: nodes.opposite(nodes.all_of(nodes.compared(close, ">", opened),
                                               nodes.compared(volume, ">", call("prev", volume)))),
        3: lambda: nodes.any_of(call("crosses_above", call("ema", close, n(10)), call("ema", close, n(30))),
                                nodes.compared(call("hour"), "<", n(8))),
        4: lambda: nodes.compared(
            nodes.arithmetic("subtract",
                             nodes.arithmetic("divide", nodes.arithmetic("add", given("high"), given("low")), n(2)),
                             nodes.arithmetic("multiply", n(2), call("atr", n(14)))), ">", n(0)),
        5: lambda: nodes.compared(call("pow", close, n(2)), ">", call("var", close, n(20))),
        6: lambda: nodes.compared(nodes.negative(close), "<", opened),
        7: lambda: nodes.on_longer("4h", nodes.compared(close, ">", opened)),
        8: lambda: nodes.compared(nodes.arithmetic("add", n(0.1), n(0.2)), "<", call("rank", close, n(9))),
    }[TREES.index(text)]()  # fmt: skip
    found = read(text)
    if text.startswith("0.1"):  # the reader keeps the sum's last bit, and what is drawn is written shortly
        assert made.text == found.text.replace("0.30000000000000004", "0.3") or is_same(made, found)
    else:
        assert is_same(made, found)
        assert made.dimension == found.dimension


def test_a_misfit_raises() -> None:
    with pytest.raises(DimensionError):
        nodes.call("log", nodes.given("close"))
    with pytest.raises(DimensionError):
        nodes.compared(nodes.given("close"), ">", nodes.call("rsi", nodes.given("close"), nodes.number(14)))
    with pytest.raises(DimensionError):
        nodes.arithmetic("add", nodes.given("close"), nodes.given("volume"))


@pytest.mark.parametrize(("text", "low", "high"), [
    ("rsi(close, 14)", 20, 80), ("rsi(close, 100)", 35, 65),
    ("sma(prev(rsi(close, 14)), 5)", 20, 80), ("tf('4h', adx(14))", 10, 50),
    ("zscore(volume, 20)", -2.5, 2.5), ("count(close > open, 10)", 0, 8), ("bars_since_highest(high, 20)", 0, 18),
    ("hour()", 0, 22), ("weekday()", 0, 5), ("roc(close, 24)", -0.04, 0.04),
])  # fmt: skip
def test_levels_fit_the_range_of_what_they_are_compared_with(text: str, low: float, high: float) -> None:
    span = ALL.span(read(text))
    assert span is not None
    assert (span.level(0), span.level(span.n - 1)) == (low, high)


@pytest.mark.parametrize(
    "text", ["atr(14)", "realised_vol(20)", "close / open", "roc(volume, 5)", "std(close, 9)"]
)
def test_what_has_no_scale_of_its_own_has_no_levels(text: str) -> None:
    assert ALL.span(read(text)) is None


def test_hours_are_those_at_which_bars_close() -> None:
    span = Vocabulary.of(Brief(), "4h").span(read("hour()"))
    assert span == spans.Span(0, 16, 4, whole=True)
    assert Vocabulary.of(Brief(), "4h").span(read("minutes_to_funding()")) == spans.Span(
        240, 240, 240, whole=True
    )


SCALED = [_scaled(name) for name in FUNCTIONS if name in {*spans.SPANS, "roc", "log_return", "hour", "count"}]


@pytest.mark.parametrize("text", SCALED)
def test_levels_part_the_values_of_a_walk(text: str) -> None:
    """A share of the values lies above each level in the middle half of a span, and a share below."""
    span = ALL.span(read(text))
    assert span is not None
    values = values_of(read(text))
    values = values[np.isfinite(values)]
    for k in range(span.n // 4, span.n - span.n // 4):
        assert 0.01 <= np.mean(values > span.level(k)) <= 0.99, span.level(k)


def test_a_span_out_of_reach_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(spans.SPANS, "adx", spans.Span(150, 300, 10))
    with pytest.raises(AssertionError):
        test_levels_part_the_values_of_a_walk("adx(14)")
