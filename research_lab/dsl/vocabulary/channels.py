"""Channels around price: bands, and where price stands in them."""

from __future__ import annotations

from collections.abc import Sequence

from research_lab.dsl.dimensions import CONDITION, PRICE, RATIO, Dimension
from research_lab.dsl.function import CLOSE, N2, Argument, Function, K, N, always, first, pure, scaled


def _around_price(dimensions: Sequence[Dimension]) -> Dimension | None:
    return None if pure(dimensions[-1:]) is None else PRICE


def _of_band(dimensions: Sequence[Dimension]) -> Dimension | None:
    return None if scaled(dimensions) is None else RATIO


def _of_two_widths(dimensions: Sequence[Dimension]) -> Dimension | None:
    return None if any(pure([width]) is None for width in dimensions[-2:]) else CONDITION


_BAND = (CLOSE, N2, K)

FUNCTIONS = (
    Function("bollinger_upper", "mean of n values and k deviations", _BAND, scaled,
             body="sma(x, n) + k * std(x, n)"),
    Function("bollinger_lower", "mean of n values less k deviations", _BAND, scaled,
             body="sma(x, n) - k * std(x, n)"),
    Function("bollinger_middle", "mean of n values", (CLOSE, N2), first, body="sma(x, n)"),
    Function("bollinger_width", "distance of the bands over their middle", _BAND, _of_band,
             body="2 * k * std(x, n) / sma(x, n)"),
    Function("bollinger_percent_b", "place of the value between the bands, 0 to 1; unknown where nothing moved",
             _BAND, _of_band,
             body="0.5 + zscore(x, n) / (2 * k)"),
    Function("keltner_upper", "exponential average of the close and k average true ranges", (N, K),
             _around_price, body="ema(close, n) + k * atr(n)"),
    Function("keltner_lower", "exponential average of the close less k average true ranges", (N, K),
             _around_price, body="ema(close, n) - k * atr(n)"),
    Function("donchian_upper", "highest high of n bars, this one among them", (N,), always(PRICE),
             body="highest(high, n)"),
    Function("donchian_lower", "lowest low of n bars, this one among them", (N,), always(PRICE),
             body="lowest(low, n)"),
    Function("donchian_middle", "middle of the highest high and lowest low of n bars", (N,), always(PRICE),
             body="(highest(high, n) + lowest(low, n)) / 2"),
    Function("squeeze", "Bollinger's bands of the close lie inside Keltner's",
             (N2, Argument("k_bollinger"), Argument("k_keltner")), _of_two_widths,
             body="bollinger_upper(close, n, k_bollinger) < keltner_upper(n, k_keltner) and "
                  "bollinger_lower(close, n, k_bollinger) > keltner_lower(n, k_keltner)"),
)  # fmt: skip
