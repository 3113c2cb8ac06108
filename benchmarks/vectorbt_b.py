"""Work B in vectorbt: a flexible order function, asked for orders of a bar until it has no more.

The rules are those of the engine, all of them. What vectorbt rounds (quantities below 1e-12) is kept far away by a million
of cash. Import it only to measure it: vectorbt takes seconds.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import vectorbt as vbt
from numba import njit
from vectorbt.portfolio import nb

from benchmarks.work_a import CHUNK
from benchmarks.work_b import HOLD, RISK, TAKES, Prepared
from research_lab.bars import Bars
from research_lab.engine.jit import FloatArray
from research_lab.engine.terms import Terms

(_AT_1, _SHARE_1), (_AT_2, _SHARE_2) = TAKES
_CASH: Final = 1e6

# Parts of a bar, then cells of what a column remembers.
_OPEN, _GAPS, _STOP, _TAKES, _CLOSE = range(5)
(_PART, _ENTRY, _LEVEL, _R, _BEST, _DONE, _HELD, _LEAVES, _ORDERED, _ORDERED_R, _SIZE) = range(11)


@njit  # type: ignore[untyped-decorator]
def _orders(
    c: Any,
    prices: FloatArray,
    highest: FloatArray,
    rows: Any,
    atr: FloatArray,
    adx: FloatArray,
    trend: FloatArray,
    width: FloatArray,
    earliest: Any,
    fee: float,
    slippage: float,
    memory: FloatArray,
) -> tuple[int, Any]:
    """Return the column and its next order in this bar, or -1 when there is none."""
    k, t = c.from_col, c.i
    opening, high, low, close = prices[0, t], prices[1, t], prices[2, t], prices[3, t]
    m = memory[k]
    if c.call_idx == 0:
        m[_PART] = _OPEN
    quantity = c.last_position[k]
    if m[_PART] == _OPEN:
        ordered, leaves = m[_ORDERED], m[_LEAVES]
        m[_ORDERED] = m[_LEAVES] = 0.0
        if quantity > 0.0 and (leaves == 1.0 or opening <= m[_LEVEL]):
            m[_PART] = _CLOSE
            return k, nb.order_nb(-quantity, opening * (1.0 - slippage), fees=fee)
        m[_PART] = _GAPS
        if quantity == 0.0 and ordered > 0.0:
            entry = opening * (1.0 + slippage)
            m[_ENTRY], m[_BEST], m[_R] = entry, entry, m[_ORDERED_R]
            m[_LEVEL] = entry - m[_R]
            m[_DONE] = m[_HELD] = 0.0
            bought = min(ordered, c.last_cash[k] / (entry * (1.0 + fee)))
            return k, nb.order_nb(bought, entry, fees=fee)
    while quantity > 0.0 and m[_PART] < _CLOSE:
        if m[_PART] == _STOP:
            m[_PART] = _TAKES
            if low <= m[_LEVEL]:
                m[_PART] = _CLOSE
                return k, nb.order_nb(-quantity, min(opening, m[_LEVEL]) * (1.0 - slippage), fees=fee)
        reached = opening if m[_PART] == _GAPS else high
        level = m[_ENTRY] + (_AT_1 if m[_DONE] == 0.0 else _AT_2) * m[_R]
        if m[_DONE] < 2.0 and reached >= level:
            share = _SHARE_1 if m[_DONE] == 0.0 else _SHARE_2
            m[_DONE] += 1.0
            return k, nb.order_nb(-share * quantity, max(opening, level), fees=fee)
        m[_PART] += 1
    if quantity > 0.0:
        m[_BEST] = max(m[_BEST], high)
        if m[_BEST] - m[_ENTRY] >= m[_R]:
            m[_LEVEL] = max(m[_LEVEL], m[_BEST] - width[k] * atr[t])
        m[_HELD] += 1.0
        m[_LEAVES] = 1.0 if m[_HELD] >= HOLD else 0.0
    elif t >= earliest[k] and close > highest[rows[k], t] and adx[t] > trend[k]:
        worth = c.last_cash[k]
        m[_ORDERED_R] = width[k] * atr[t]
        m[_ORDERED] = min(worth * RISK / m[_ORDERED_R], worth / close)
    return -1, nb.order_nothing_nb()


def flexible(bars: Bars, given: Prepared, terms: Terms, *, whole: bool = True) -> FloatArray:
    """Return final equity, Sharpe ratio and deepest drawdown of each combination, (n, 3).

    Without `whole` the last two are NaN.
    """
    index = pd.to_datetime(bars.time, unit="ms")
    prices = np.ascontiguousarray(bars.inputs[:4])
    out = np.full((given.rows.shape[0], 3), np.nan)
    for first in range(0, out.shape[0], CHUNK):
        part = slice(first, min(first + CHUNK, out.shape[0]))
        n = part.stop - part.start
        portfolio = vbt.Portfolio.from_order_func(
            pd.DataFrame(np.repeat(bars.close[:, None], n, 1), index=index),
            _orders,
            prices,
            given.highest,
            given.rows[part],
            given.atr,
            given.adx,
            given.trend[part],
            given.width[part],
            given.earliest[part],
            terms.fee,
            terms.slippage,
            np.zeros((n, _SIZE)),
            flexible=True,
            init_cash=_CASH,
            fill_pos_record=False,
            freq=pd.Timedelta(milliseconds=bars.step_ms),
        )
        out[part, 0] = portfolio.final_value().to_numpy() / _CASH
        if whole:
            out[part, 1] = portfolio.sharpe_ratio(year_freq="365 days").to_numpy()
            out[part, 2] = -portfolio.max_drawdown().to_numpy()
    return out
