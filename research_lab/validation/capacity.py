"""How much money a strategy can carry before its own trading moves the price by what it earns.

Trading a share of a day's volume moves the price by about Y * sigma * sqrt(Q / V): sigma the daily volatility,
Q the money traded, V the money that changed hands in the day before, Y a number near 1 that hardly depends on
market or time. A fill of notional w (over equity) by a capital C then costs, over equity,

    w * Y * sigma * sqrt(w * C / V) = sqrt(C) * Y * sigma * w^1.5 / sqrt(V),

so all fills together cost sqrt(C) * A, and the capital at which that takes a share s of the sum G of what the
strategy earns, over equity, after costs is (s * G / A)^2.

Source: Robert Almgren, Chee Thum, Emmanuel Hauptmann and Hong Li (2005), Direct Estimation of Equity Market
Impact; Bence Toth et al. (2011), Anomalous Price Impact and the Critical Nature of Liquidity in Financial Markets.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from research_lab.bars import Bars
from research_lab.engine.backtest import Backtest
from research_lab.timeframe import DAY_MS
from research_lab.validation.returns import bar_returns

IMPACT: Final = 1.0  # Y: Toth et al. find it of order one
EDGE_SHARE: Final = 0.5  # the capital at which impact takes half of what is earned


def capacity(
    result: Backtest, bars: Bars, *, impact: float = IMPACT, edge_share: float = EDGE_SHARE
) -> float:
    """Return the capital, quote currency, at which impact takes a share of what the strategy earns.

    Volume and volatility are those of the 24 hours before each fill. 0 for a strategy that earns nothing; NaN
    without a fill whose day before had volume and moved.
    """
    a_day = max(1, DAY_MS // bars.step_ms)
    at = result.fills["bar"]
    money = np.concatenate([[0.0], np.cumsum(np.nan_to_num(bars.close * bars.volume))])
    steps = np.diff(np.log(bars.close), prepend=math.log(bars.close[0]))
    squares = np.concatenate([[0.0], np.cumsum(steps * steps)])
    begin = np.maximum(at - a_day, 0)
    seen = np.maximum(at - begin, 1)
    volume = (money[at] - money[begin]) * a_day / seen
    sigma = np.sqrt(np.maximum(squares[at] - squares[begin], 0.0) * a_day / seen)
    before = np.concatenate([[1.0], result.equity])[at]
    weight = np.abs(result.fills["quantity"]) * result.fills["price"] / np.maximum(before, 1e-12)
    known = (volume > 0.0) & (sigma > 0.0)
    if not known.any():
        return math.nan
    costs = impact * sigma[known] * weight[known] ** 1.5 / np.sqrt(volume[known])
    earned = math.fsum(bar_returns(result.equity))
    scale = at.shape[0] / int(known.sum())  # fills of unknown cost as the others
    return (edge_share * earned / (scale * math.fsum(costs))) ** 2 if earned > 0.0 else 0.0
