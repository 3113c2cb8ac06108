"""The shape of a candle."""

from __future__ import annotations

from research_lab.dsl.dimensions import CONDITION, PRICE
from research_lab.dsl.function import Function, always

FUNCTIONS = (
    Function("body", "close less open", (), always(PRICE), body="close - open"),
    Function("upper_wick", "high above body", (), always(PRICE), body="high - max(open, close)"),
    Function("lower_wick", "body above low", (), always(PRICE), body="min(open, close) - low"),
    Function("gap", "open less the close before", (), always(PRICE), body="open - prev(close, 1)"),
    Function("typical_price", "mean of high, low and close", (), always(PRICE), body="(high + low + close) / 3"),
    Function("inside_bar", "high below and low above those of the bar before", (), always(CONDITION),
             body="high < prev(high, 1) and low > prev(low, 1)"),
)  # fmt: skip
