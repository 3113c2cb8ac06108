"""What holding alone would have earned: taken off before anybody asks whether timing earned the rest.

In a market that rises, whoever is long earns, and the best of a thousand long strategies looks like skill. The
question of the gauntlet is whether a strategy's *timing* has an edge, so its return on each day on which it was
exposed is lessened by what its average exposure earned on an average day of the market.
"""

from __future__ import annotations

import numpy as np

from research_lab.bars import Bars, FloatArray
from research_lab.engine.backtest import daily_returns
from research_lab.errors import UsageError

_CHUNK = 1_024  # columns at a time


def less_holding(daily: FloatArray, market: FloatArray) -> FloatArray:
    """Return daily returns less what holding as much of the market would have earned.

    On days of exposure (a return that is not zero) max(0, k mu) is taken off: k, the sum of strategy times market
    over the sum of squares of the market, both over the days of exposure, is the average signed exposure; mu is
    the market's mean over all days. Holding itself is left with nothing on average, and timing with all that it
    earned beyond; what a position loses by the market's drift is not given back, for it must earn as well.

    Since mu is the sample's own, a strategy that is exposed all the time sums to zero exactly, and others vary
    less than their days suggest: a test of the result is cautious for strategies with much exposure.

    Parameters
    ----------
    daily : array of shape (n_days,) or (n_days, n_trials), fractions; NaN where a trial has no data.
    market : array of shape (n_days,), the market's daily returns; NaN on days without a bar.

    Returns
    -------
    Array of the shape of `daily`; flat days stay exactly zero, NaN stays NaN.
    """
    if market.shape != daily.shape[:1]:
        raise UsageError(f"{market.shape[0]} days of the market for {daily.shape[0]} of returns")
    columns = daily.reshape(daily.shape[0], -1)
    lessened = np.empty_like(columns)
    for first in range(0, columns.shape[1], _CHUNK):
        lessened[:, first : first + _CHUNK] = _lessened(columns[:, first : first + _CHUNK], market)
    return lessened.reshape(daily.shape)


def _lessened(columns: FloatArray, market: FloatArray) -> FloatArray:
    moved = np.nan_to_num(market, nan=0.0)[:, None]
    exposed = np.isfinite(columns) & (columns != 0.0)
    variation = (exposed * moved * moved).sum(axis=0)
    shared = (np.where(exposed, columns, 0.0) * moved).sum(axis=0)
    exposure = np.divide(shared, variation, out=np.zeros_like(shared), where=variation > 0.0)
    known = market[np.isfinite(market)]
    credit = np.maximum(0.0, exposure * (known.mean() if known.size else 0.0))
    found: FloatArray = np.where(exposed, columns - credit, columns)
    return found


def market_daily(bars: Bars, start: int = 0) -> tuple[int, FloatArray]:
    """Return the first UTC day and the market's daily returns, close to close, from bar `start` on."""
    worth = bars.close / bars.open[start]
    return daily_returns(bars.time, worth, start)
