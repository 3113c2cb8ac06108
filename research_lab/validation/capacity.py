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
from collections.abc import Sequence
from typing import Final

import numpy as np

from research_lab.bars import Bars
from research_lab.engine.backtest import Backtest
from research_lab.engine.jit import FloatArray
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
    return pooled_capacity([(result, bars)], impact=impact, edge_share=edge_share)


def pooled_capacity(
    runs: Sequence[tuple[Backtest, Bars]], *, impact: float = IMPACT, edge_share: float = EDGE_SHARE
) -> float:
    """Return the capital of a pool at which impact takes a share of what it earns on all its markets.

    On a day with n markets each has 1/n of the capital C, so a fill of notional w over its market's equity costs
    the pool sqrt(C) * Y * sigma * w^1.5 / sqrt(V) * n^-1.5, and a market's returns count for 1/n. The rest is as for
    one market. NaN when a market has fills and none whose day before had volume and moved.

    Parameters
    ----------
    runs : one a market, on its bars from the first on.
    """
    spans = [(int(bars.time[0]) // DAY_MS, int(bars.time[-1]) // DAY_MS) for _, bars in runs]
    earned, costs = [], []
    for result, bars in runs:
        days = bars.time // DAY_MS
        n_markets = np.zeros(bars.n)
        for first, last in spans:
            n_markets += (first <= days) & (days <= last)
        shares = 1.0 / n_markets
        earned.append(math.fsum(bar_returns(result.equity) * shares))
        costs.append(_impact_costs(result, bars, shares, impact))
    total, gain = math.fsum(costs), math.fsum(earned)
    if not total > 0.0:
        return math.nan
    return (edge_share * gain / total) ** 2 if gain > 0.0 else 0.0


def _impact_costs(result: Backtest, bars: Bars, shares: FloatArray, impact: float) -> float:
    """Return what all fills cost over the root of the capital; 0 without fills, NaN where no cost is known.

    Parameters
    ----------
    shares : (n_bars,) of the capital that the market has.
    """
    a_day = max(1, DAY_MS // bars.step_ms)
    at = result.fills["bar"]
    if not at.shape[0]:
        return 0.0
    money = np.concatenate([[0.0], np.cumsum(np.nan_to_num(bars.close * bars.volume))])
    steps = np.diff(np.log(bars.close), prepend=math.log(bars.close[0]))
    squares = np.concatenate([[0.0], np.cumsum(steps * steps)])
    begin = np.maximum(at - a_day, 0)
    seen = np.maximum(at - begin, 1)
    volume = (money[at] - money[begin]) * a_day / seen
    sigma = np.sqrt(np.maximum(squares[at] - squares[begin], 0.0) * a_day / seen)
    before = np.concatenate([[1.0], result.equity])[at]
    weight = shares[at] * np.abs(result.fills["quantity"]) * result.fills["price"] / np.maximum(before, 1e-12)
    known = (volume > 0.0) & (sigma > 0.0)
    if not known.any():
        return math.nan
    costs = impact * sigma[known] * weight[known] ** 1.5 / np.sqrt(volume[known])
    scale = float(at.shape[0] / int(known.sum()))  # fills of unknown cost as the others
    return scale * math.fsum(costs)
