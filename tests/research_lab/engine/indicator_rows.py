"""Rows of the table: momentum, trend, channels, volume, memory of conditions, powers, calendar, candles."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from research_lab.engine.jit import FloatArray
from tests.oracles import technical
from tests.oracles.functions import ORACLES as O
from tests.oracles.indicators import elementwise
from tests.research_lab.engine.table_row import Row, cheap, full, of, up_bar
from tests.research_lab.engine.tapes import Tape

HLC = ("high", "low", "close")
HLCV = (*HLC, "volume")
EXP = elementwise(math.exp)
Meaning = Callable[[Tape], FloatArray]


def by(formula: Callable[..., FloatArray], *inputs: str, **fixed: float) -> Meaning:
    """Return a formula applied to inputs of the tape."""
    return lambda tape: formula(*(tape.named(name) for name in inputs), **fixed)


def typical(tape: Tape) -> FloatArray:
    return technical.typical_price(*(tape.named(name) for name in HLC))


def with_typical(formula: Callable[..., FloatArray], **fixed: float) -> Meaning:
    return lambda tape: formula(typical(tape), tape.named("volume"), **fixed)


def histogram(x: FloatArray, fast: int, slow: int, signal: int) -> FloatArray:
    line = technical.macd(x, fast, slow)
    return line - O["ema"](line, signal)


def squeeze(tape: Tape, n: int, k_bollinger: float, k_keltner: float) -> FloatArray:
    close = tape.named("close")
    middle, deviation = O["sma"](close, n), O["std"](close, n)
    top, bottom = (by(technical.keltner, *HLC, n=n, k=k)(tape) for k in (k_keltner, -k_keltner))
    return O["and"](
        O["lt"](middle + k_bollinger * deviation, top), O["gt"](middle - k_bollinger * deviation, bottom)
    )


def of_day(x: Callable[[Tape], FloatArray]) -> Meaning:
    return lambda tape: technical.day_sum(x(tape), tape.time.astype(float))


def hand(name: str) -> tuple[Row, ...]:
    return (Row(f"{name}()", lambda tape: technical.clock((tape.time + tape.step_ms).astype(float), name)),)


def inside(tape: Tape) -> FloatArray:
    high, low = tape.named("high"), tape.named("low")
    return O["and"](O["lt"](high, O["prev"](high, 1)), O["gt"](low, O["prev"](low, 1)))


def bands(x: FloatArray, n: int, k: float) -> FloatArray:
    return O["sma"](x, n) + k * O["std"](x, n)


def funded(tape: Tape) -> FloatArray:
    return O["gt"](tape.named("funding"), full(tape, 0.0))


MOMENTUM = {
    "roc": (Row("roc(close, 9)", lambda t: O["div"](t.named("close"), O["prev"](t.named("close"), 9)) - 1.0),),
    "log_return": (
        Row("log_return()", lambda t: O["log"](O["div"](t.named("close"), O["prev"](t.named("close"), 1)))),
        Row("log_return(volume, 5)", lambda t: O["log"](O["div"](t.named("volume"), O["prev"](t.named("volume"), 5)))),
    ),
    "stochastic_k": (
        Row("stochastic_k(14)", by(technical.stochastic_k, *HLC, n=14, smooth=1)),
        Row("stochastic_k(5, 3)", by(technical.stochastic_k, *HLC, n=5, smooth=3)),
    ),
    "stochastic_d": (
        Row("stochastic_d(5, 3, 4)", lambda t: O["sma"](by(technical.stochastic_k, *HLC, n=5, smooth=3)(t), 4)),
    ),
    "williams_r": (Row("williams_r(14)", lambda t: -100.0 + 100.0 * by(technical.place_in_range, *HLC, n=14)(t)),),
    "cci": tuple(Row(f"cci({n})", lambda t, n=n: technical.cci(typical(t), n)) for n in (2, 20)),
    "mfi": tuple(Row(f"mfi({n})", with_typical(technical.money_flow_index, n=n)) for n in (3, 14)),
    "tsi": (
        Row("tsi(25, 13)", by(technical.true_strength, "close", slow=25, fast=13)),
        Row("tsi(premium, 5, 3)", by(technical.true_strength, "premium", slow=5, fast=3)),
    ),
    "macd": (Row("macd(12, 26)", by(technical.macd, "close", fast=12, slow=26)),),
    "macd_signal": (
        Row("macd_signal(12, 26, 9)", lambda t: O["ema"](technical.macd(t.named("close"), 12, 26), 9)),
    ),
    "macd_histogram": (Row("macd_histogram(premium, 3, 6, 2)", by(histogram, "premium", fast=3, slow=6, signal=2)),),
}  # fmt: skip

TREND = {
    "aroon_up": (Row("aroon_up(14)", by(technical.aroon, "high", n=14, sign=1.0)),),
    "aroon_down": (Row("aroon_down(14)", by(technical.aroon, "low", n=14, sign=-1.0)),),
    "aroon": (
        Row("aroon(5)", lambda t: technical.aroon(t.named("high"), 5, 1.0) - technical.aroon(t.named("low"), 5, -1.0)),
    ),
    "supertrend": tuple(
        Row(f"supertrend({n}, {k})", by(technical.supertrend, *HLC, n=n, k=k, shown=1)) for n, k in ((10, 3), (3, 0.7))
    ),
    "supertrend_direction": (
        Row("supertrend_direction(5, 1)", by(technical.supertrend, *HLC, n=5, k=1.0, shown=0)),
    ),
    "psar": (
        Row("psar(0.02, 0.2)", lambda t: technical.parabolic(t.named("high"), t.named("low"), 0.02, 0.2, 1)),
        Row("psar(0.3, 0.1)", lambda t: technical.parabolic(t.named("high"), t.named("low"), 0.3, 0.1, 1)),
    ),
    "psar_direction": (
        Row("psar_direction(0.05, 0.4)", lambda t: technical.parabolic(t.named("high"), t.named("low"), 0.05, 0.4, 0)),
    ),
    "ichimoku_conversion": (Row("ichimoku_conversion(9)", by(technical.donchian_middle, "high", "low", n=9)),),
    "ichimoku_base": (Row("ichimoku_base(26)", by(technical.donchian_middle, "high", "low", n=26)),),
    "ichimoku_span_a": (
        Row("ichimoku_span_a(9, 26)", lambda t: sum(
            by(technical.donchian_middle, "high", "low", n=n)(t) for n in (9, 26)) / 2.0),
    ),
    "ichimoku_span_b": (Row("ichimoku_span_b(52)", by(technical.donchian_middle, "high", "low", n=52)),),
}  # fmt: skip

CHANNELS = {
    "bollinger_upper": (
        Row("bollinger_upper(20, 2)", by(bands, "close", n=20, k=2.0)),
        Row("bollinger_upper(premium, 5, 1.5)", by(bands, "premium", n=5, k=1.5)),
    ),
    "bollinger_lower": (Row("bollinger_lower(20, 2)", by(bands, "close", n=20, k=-2.0)),),
    "bollinger_middle": (Row("bollinger_middle(20)", of("sma", "close", n=20)),),
    "bollinger_width": (
        Row("bollinger_width(20, 2)", lambda t: O["div"](
            4.0 * technical.deviation(t.named("close"), 20), O["sma"](t.named("close"), 20))),
    ),
    "bollinger_percent_b": (Row("bollinger_percent_b(20, 2)", by(technical.percent_b, "close", n=20, k=2.0)),),
    "squeeze": (
        Row("squeeze(20, 2, 1.5)", lambda t: squeeze(t, 20, 2.0, 1.5)),
        Row("squeeze(5, 1, 1)", lambda t: squeeze(t, 5, 1.0, 1.0)),
    ),
    "keltner_upper": (Row("keltner_upper(20, 1.5)", by(technical.keltner, *HLC, n=20, k=1.5)),),
    "keltner_lower": (Row("keltner_lower(20, 1.5)", by(technical.keltner, *HLC, n=20, k=-1.5)),),
    "donchian_upper": (Row("donchian_upper(20)", of("highest", "high", n=20)),),
    "donchian_lower": (Row("donchian_lower(20)", of("lowest", "low", n=20)),),
    "donchian_middle": (Row("donchian_middle(20)", by(technical.donchian_middle, "high", "low", n=20)),),
}  # fmt: skip

VOLUME = {
    "volume_zscore": (Row("volume_zscore(20)", of("zscore", "volume", n=20)),),
    "running_sum": tuple(Row(f"running_sum({x})", by(technical.running_sum, x)) for x in ("volume", "premium")),
    "day_sum": (Row("day_sum(premium)", of_day(lambda t: t.named("premium"))),),
    "obv": (Row("obv()", by(technical.on_balance, "close", "volume")),),
    "money_flow_volume": (Row("money_flow_volume()", by(technical.money_flow_volume, *HLCV)),),
    "accumulation_distribution": (
        Row("accumulation_distribution()", lambda t: technical.running_sum(
            by(technical.money_flow_volume, *HLCV)(t))),
    ),
    "cmf": (
        Row("cmf(20)", lambda t: O["div"](
            O["sum"](by(technical.money_flow_volume, *HLCV)(t), 20), O["sum"](t.named("volume"), 20))),
    ),
    "vwap": tuple(Row(f"vwap({n})", with_typical(technical.weighted, n=n)) for n in (2, 20)),
    "vwap_day": (
        Row("vwap_day()", lambda t: O["div"](
            of_day(lambda t: typical(t) * t.named("volume"))(t), of_day(lambda t: t.named("volume"))(t))),
    ),
}  # fmt: skip

LOGIC = {
    "crosses": (
        Row("crosses(close, open)", lambda t: O["or"](
            of("crosses_above", "close", "open")(t), of("crosses_below", "close", "open")(t))),
    ),
    "held_for": tuple(
        Row(f"held_for({text}, {n})", lambda t, n=n, meaning=meaning: technical.held_for(meaning(t), n))
        for text, meaning in (("close > open", up_bar), ("premium < 0", cheap)) for n in (1, 3, 9)
    ),
    "latch": (
        Row("latch(close > open, premium < 0)", lambda t: technical.latch(up_bar(t), cheap(t))),
        Row("latch(premium < 0, funding > 0)", lambda t: technical.latch(cheap(t), funded(t))),
    ),
}  # fmt: skip

SHAPE = {
    "clip": (
        Row("clip(close, open, high)", lambda t: O["min"](
            O["max"](t.named("close"), t.named("open")), t.named("high"))),
        Row("clip(premium, 1, -1)", lambda t: np.where(np.isnan(t.named("premium")), np.nan, -1.0)),
    ),
    "sign": (
        Row("sign(premium)", lambda t: np.sign(t.named("premium"))),
        Row("sign(close - prev(close))", lambda t: np.sign(O["change"](t.named("close"), 1))),
    ),
    "exp": (Row("exp(premium * 100)", lambda t: EXP(100.0 * t.named("premium"))),),
    "pow": (
        *(Row(f"pow(close, {k})", lambda t, k=k: O["pow"](t.named("close"), full(t, k))) for k in (-8, -1, 0, 1, 2, 7)),
        Row("pow(premium, 3)", lambda t: O["pow"](t.named("premium"), full(t, 3.0))),
    ),
}  # fmt: skip

CALENDAR = {name: hand(name) for name in ("hour", "weekday", "day_of_month", "minutes_to_funding")}

CANDLES = {
    "body": (Row("body()", of("sub", "close", "open")),),
    "upper_wick": (
        Row("upper_wick()", lambda t: t.named("high") - O["max"](t.named("open"), t.named("close"))),
    ),
    "lower_wick": (
        Row("lower_wick()", lambda t: O["min"](t.named("open"), t.named("close")) - t.named("low")),
    ),
    "gap": (Row("gap()", lambda t: t.named("open") - O["prev"](t.named("close"), 1)),),
    "typical_price": (Row("typical_price()", typical),),
    "inside_bar": (Row("inside_bar()", inside),),
}  # fmt: skip

INDICATORS: dict[str, tuple[Row, ...]] = {
    **MOMENTUM, **TREND, **CHANNELS, **VOLUME, **LOGIC, **SHAPE, **CALENDAR, **CANDLES
}  # fmt: skip
