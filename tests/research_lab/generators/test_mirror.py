from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import markets
from research_lab.bars import INPUTS, Bars
from research_lab.dsl.compiler import program_of
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.tree import Node
from research_lab.engine.evaluation import evaluate
from research_lab.engine.jit import FloatArray
from research_lab.generators import mirror
from research_lab.generators.mirror import mirrored

HOUR_MS = 3_600_000
PARAMS = {"p": (0.1, 0.9, 0.1)}
# What is the same in a market whose prices are c - p: everything that is linear in them or looks at their order.
EXACT = (
    "close > prev(highest(high, 20))",
    "ema(close, 10) > ema(close, 30) and volume > sma(volume, 20)",
    "zscore(close, 48) < -1.5",
    "close > ema(close, 20) + 2 * atr(14)",
    "close < bollinger_lower(close, 20, 2)",
    "close > keltner_upper(20, 2)",
    "rsi(close, 14) < 30",
    "stochastic_k(14, 3) < 20 or williams_r(14) < -80",
    "cci(20) > 100",
    "macd_histogram(close, 12, 26, 9) > 0",
    "crosses_above(close, sma(close, 20))",
    "rank(close, 20) > 0.9",
    "plus_di(14) > minus_di(14) and adx(14) > 20",
    "aroon_up(25) > 70",
    "aroon(25) < -50",
    "held_for(close > open, 3)",
    "bars_since(close > prev(close)) < 5",
    "supertrend_direction(10, 3) > 0",
    "close > supertrend(10, 3)",
    'tf("4h", close) > tf("4h", ema(close, 20))',
    "sma(close - open, 5) / atr(14) > 0.3",
    "low < min(low, prev(low, 3)) + body()",
    "slope(close, 20) > 0 and skew(close, 30) < 0",
    "quantile(close, 50, 0.9) < close",
    "funding < quantile(funding, 100, 0.1)",
    "if_else(close > open, high - close, close - low) > atr(14)",
    "correlation(close, volume, 20) > 0.5",
    "bars_since_highest(high, 20) < 3",
    "upper_wick() > 2 * lower_wick()",
    "donchian_middle(20) < typical_price()",
    "cmf(20) > 0.05",
    "hour() == 4",
    "bollinger_percent_b(close, 20, 2) < 0.1",
)
RATIOS = ("roc(close, 24) > 0.02", "close / open > 1.01", "close < 0.98 * highest(high, 50)", "mfi(14) < 30")
BEYOND = ('on("ETH/USDT", close) > on("ETH/USDT", open)', "min(close, 100 * atr(14)) > open")


def read(text: str) -> Node:
    ranges = FixedNumbers(PARAMS)
    return parse_expression(text, Scope(params=PARAMS, fixed=ranges, step_ms=HOUR_MS, takes_markets=True))


def values(node: Node, bars: Bars) -> FloatArray:
    return evaluate(program_of([node], HOUR_MS, ())[0], HOUR_MS, bars)[0][0]


def market() -> Bars:
    bars = markets.made(2_000, "1h", 3)
    inputs = bars.inputs.copy()
    inputs[INPUTS.index("funding")] = np.random.default_rng(1).standard_normal(bars.n) * 1e-4
    return replace(bars, inputs=inputs)


def upside_down(bars: Bars) -> Bars:
    """Return the market whose prices are c - p, and whose rates of funding have the other sign."""
    inputs = bars.inputs.copy()
    c = 2.0 * float(np.max(bars.high))
    rows = {name: INPUTS.index(name) for name in ("open", "high", "low", "close", "funding")}
    inputs[rows["high"]], inputs[rows["low"]] = c - bars.inputs[rows["low"]], c - bars.inputs[rows["high"]]
    for name in ("open", "close"):
        inputs[rows[name]] = c - bars.inputs[rows[name]]
    inputs[rows["funding"]] = -bars.inputs[rows["funding"]]
    return replace(bars, inputs=inputs)


def disagreement(node: Node, image: Node) -> float:
    """Return the share of bars on which an image differs, in the market turned upside down, from the condition."""
    here, there = values(node, market()), values(image, upside_down(market()))
    return float((np.nan_to_num(here, nan=-1.0) != np.nan_to_num(there, nan=-1.0)).mean())


@pytest.mark.parametrize("text", EXACT)
def test_a_reflected_condition_holds_in_the_reflected_market(text: str) -> None:
    image = mirrored(read(text))
    assert image is not None
    assert disagreement(read(text), image) < 0.002  # ties and thresholds that rounding moves


@pytest.mark.parametrize("text", [*EXACT, *RATIOS, "zscore(close, 48) < -p", "rank(close, 30) < 1 - p"])
def test_reflecting_twice_gives_the_condition_back(text: str) -> None:
    image = mirrored(read(text))
    assert image is not None
    assert mirrored(image) == read(text)
    assert read(image.text) == image


@pytest.mark.parametrize("text", BEYOND)
def test_what_has_no_known_reflection_has_none(text: str) -> None:
    assert mirrored(read(text)) is None


def test_the_oracle_finds_a_reflection_that_forgets_to_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mirror._OTHER, "highest", "highest")
    text = "close > prev(highest(high, 20))"
    image = mirrored(read(text))
    assert image is not None
    assert disagreement(read(text), image) > 0.01
