"""Where values usually lie, so that a condition drawn is neither always true nor never.

A value of known scale, such as rsi(close, 14), is compared with a level of its span. One without, such as a
volatility, has only its own history to be compared with: its mean or a quantile of its last bars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.tree import Node
from research_lab.timeframe import DAY_MS, HOUR_MS, WEEK_MS

_HOURLY_MOVE: Final = (
    0.007  # usual deviation of an hour's log return of a coin; only the order of size matters
)


@dataclass(frozen=True, slots=True)
class Span:
    """The levels worth comparing a value with: from low to high, both included, in steps.

    Parameters
    ----------
    whole : the value is one of the levels or the next above; then <= and > tell two non-empty sets apart.
    """

    low: float
    high: float
    step: float
    whole: bool = False

    @property
    def n(self) -> int:
        """How many levels there are."""
        return round((self.high - self.low) / self.step) + 1

    def level(self, k: int) -> float:
        """Return level k, counted from 0."""
        return round(self.low + k * self.step, 12)


# One entry a function whose scale does not depend on the market; what it is called with does not matter.
SPANS: Final[dict[str, Span]] = {
    **dict.fromkeys(("rsi", "mfi"), Span(20, 80, 5)),
    **dict.fromkeys(("stochastic_k", "stochastic_d"), Span(10, 90, 5)),
    "williams_r": Span(-90, -10, 5),
    "cci": Span(-200, 200, 25),
    "tsi": Span(-30, 30, 5),
    "adx": Span(10, 50, 5),
    **dict.fromkeys(("plus_di", "minus_di"), Span(10, 40, 5)),
    **dict.fromkeys(("aroon_up", "aroon_down"), Span(10, 90, 10)),
    "aroon": Span(-80, 80, 20),
    **dict.fromkeys(("supertrend_direction", "psar_direction", "sign"), Span(0, 0, 1, whole=True)),
    **dict.fromkeys(("zscore", "volume_zscore"), Span(-2.5, 2.5, 0.25)),
    "bollinger_percent_b": Span(0, 1, 0.1),
    "correlation": Span(-0.8, 0.8, 0.1),
    "r2": Span(0.1, 0.9, 0.1),
    "rank": Span(0.1, 0.9, 0.1),
    "skew": Span(-1, 1, 0.25),
    "cmf": Span(-0.2, 0.2, 0.05),
    "calm": Span(0.7, 1.4, 0.1),
    "weekday": Span(0, 5, 1, whole=True),
    "day_of_month": Span(1, 27, 1, whole=True),
}
# What they give lies among the values that they are given: the argument to look at.
KEEPS: Final[dict[str, int]] = {
    **dict.fromkeys(("sma", "ema", "rma", "wma", "hma", "kama", "vwma", "linreg", "intercept"), 0),
    **dict.fromkeys(("highest", "lowest", "quantile", "median", "bollinger_middle", "prev"), 0),
    **dict.fromkeys(("min", "max", "clip", "coalesce", "confirmed", "fused", "tf"), 0),
    "if_else": 1,
}
# As often above zero as below, in whatever unit.
CENTRED: Final = frozenset({
    "roc", "log_return", "change", "slope", "macd", "macd_signal", "macd_histogram", "subtract", "body", "gap",
    "money_flow_volume", "covariance", "beta", "funding", "premium",
})  # fmt: skip
_NARROWS: Final = frozenset({"rsi", "mfi", "cmf"})  # over many bars they stay near the middle
_LONG: Final = 50
# Distances rather than levels: a multiple of one can be compared with another.
DISTANCES: Final = frozenset({
    "atr", "std", "mad", "ewm_std", "true_range", "body", "gap", "upper_wick", "lower_wick", "change", "slope", "macd",
    "macd_signal", "macd_histogram", "plus_dm", "minus_dm", "subtract", "abs",
})  # fmt: skip
_COUNTS: Final = {
    "bars_since_highest": 1,
    "bars_since_lowest": 1,
    "count": 1,
}  # at most as many as this window
_BARS_SINCE: Final = Span(2, 30, 2, whole=True)


def span_of(node: Node, step_ms: int) -> Span | None:
    """Return the levels worth comparing a tree with; None where its scale depends on the market.

    Parameters
    ----------
    step_ms : length of the strategy's bars.
    """
    if node.op in SPANS:
        span = SPANS[node.op]
        return _narrowed(span) if node.op in _NARROWS and _window(node.args[-1]) > _LONG else span
    if node.op in KEEPS and node.args:
        return span_of(node.args[KEEPS[node.op]], step_ms)
    if node.op in ("roc", "log_return") and node.args[0].dimension == PRICE:
        return _moves(step_ms / HOUR_MS * _window(node.args[1]))
    if node.op in _COUNTS:
        most = _window(node.args[_COUNTS[node.op]])
        return Span(0, max(most - 2, 0), 1, whole=True)
    if node.op == "bars_since":
        return _BARS_SINCE
    if node.op == "hour":
        every = _every(step_ms, 24)
        return Span(0, 24 - 2 * every, every, whole=True)
    if node.op == "minutes_to_funding":
        every = _every(step_ms, 8) * 60
        return Span(every, 480 - every, every, whole=True)
    return None


def is_distance(node: Node) -> bool:
    """Whether a price is the size of a move rather than a level, of which a multiple lies out of reach."""
    if node.op in KEEPS and node.args:
        return is_distance(node.args[KEEPS[node.op]])
    return node.op in DISTANCES


def is_centred(node: Node) -> bool:
    """Whether a value is as often above zero as below, so that its sign tells something."""
    if node.op in KEEPS and node.args:
        return is_centred(node.args[KEEPS[node.op]])
    return (str(node.value) if node.op == "input" else node.op) in CENTRED


def stands_still(name: str, step_ms: int) -> bool:
    """Whether a hand of the clock says the same at every close of bars of a length."""
    turns = {"hour": DAY_MS, "minutes_to_funding": 8 * HOUR_MS, "weekday": WEEK_MS}
    return name in turns and step_ms % turns[name] == 0


def _narrowed(span: Span) -> Span:
    """Return the inner half of a span."""
    middle, quarter = (span.low + span.high) / 2.0, (span.high - span.low) / 4.0
    return Span(middle - quarter, middle + quarter, span.step / 2.0)


def _moves(hours: float) -> Span:
    """Return levels up to two usual moves, on a step of 1, 2 or 5 times a power of ten."""
    move = _HOURLY_MOVE * math.sqrt(hours)
    power = 10.0 ** math.floor(math.log10(move / 2.0))
    step = next(k * power for k in (5.0, 2.0, 1.0) if k * power <= move / 2.0)
    return Span(-4.0 * step, 4.0 * step, step)


def _every(step_ms: int, turn: int) -> int:
    """Return the hours from one close to the next where they are part of a turn of the clock, else 1."""
    hours = step_ms // HOUR_MS
    return hours if 0 < hours < turn and step_ms % HOUR_MS == 0 and turn % hours == 0 else 1


def _window(node: Node) -> int:
    """Return a window's bars; 20 for a parameter, whose range is around that."""
    return int(float(node.value or 0)) if node.op == "constant" else 20
