"""Money and fills: what a fill costs, what is left, when a position is settled, in whole steps and quanta."""

from __future__ import annotations

import math

import numpy as np

from research_lab.engine import reasons
from research_lab.engine.jit import FloatArray, inlined_kernel, kernel
from research_lab.engine.layout import (
    CASH,
    ENTRY_QUANTITY,
    EQUITY,
    FILL_BAR,
    FILL_FEE,
    FILL_POSITION,
    FILL_PRICE,
    FILL_QUANTITY,
    FILL_REASON,
    FILL_STOP,
    GOAL,
    GUARD,
    LAST_EXIT,
    LOSS,
    LOT,
    LOT_SCALE,
    LOT_TOLERANCE,
    MAINTENANCE,
    OTHERS,
    PENDING_EXIT,
    PENDING_SIDE,
    PERPETUAL,
    POSITION_ID,
    PROFIT,
    QUANTITY,
    QUANTUM,
    RUN_OVER,
    STOP,
    STRATEGY_BARS,
    SUM_R,
    TICK,
    TICK_SCALE,
    TRADE_CASH,
    TRADES,
    TRADES_WITH_R,
    TURNOVER,
    WINS,
    R,
)


@inlined_kernel
def money(book: FloatArray, terms: FloatArray) -> float:
    """Return cash and the value of other positions, quote currency."""
    cash = book[CASH] * terms[QUANTUM] if terms[QUANTUM] > 0.0 else book[CASH]
    return cash + book[OTHERS]


@kernel
def liquidation_level(book: FloatArray, terms: FloatArray) -> float:
    """Price at which equity falls to the maintenance margin, NaN where there is none."""
    if terms[PERPETUAL] == 0.0:
        return math.nan
    cash = money(book, terms)
    quantity = book[QUANTITY]
    if quantity > 0.0:
        level = -cash / (quantity * (1.0 - terms[MAINTENANCE]))
    else:
        level = cash / (-quantity * (1.0 + terms[MAINTENANCE]))
    return level if level > 0.0 else math.nan


@kernel
def whole_lots(quantity: float, terms: FloatArray) -> float:
    """Round down to whole lots; a hair below a whole number of lots counts as that number."""
    lot = terms[LOT]
    if lot <= 0.0:
        return quantity
    return _steps(np.floor(quantity / lot + LOT_TOLERANCE), lot, terms[LOT_SCALE])


@inlined_kernel
def to_tick(price: float, terms: FloatArray) -> float:
    """Round to the nearest tick, halves up; NaN stays NaN, as `np.floor` keeps it in numba, not `math.floor`."""
    tick = terms[TICK]
    if tick <= 0.0:
        return price
    return _steps(np.floor(price / tick + 0.5), tick, terms[TICK_SCALE])


@inlined_kernel
def _steps(n: float, step: float, scale: float) -> float:
    """Return n lots or ticks, as the double nearest to that decimal number; see `_whole_at`."""
    if scale <= 0.0:
        return n * step
    return n * np.floor(step * scale + 0.5) / scale


@kernel
def pay(book: FloatArray, terms: FloatArray, amount: float) -> None:
    """Take money from the book, in whole quanta where money is counted so."""
    if terms[QUANTUM] > 0.0:
        amount = np.floor(amount / terms[QUANTUM] + 0.5)
    book[CASH] -= amount
    book[TRADE_CASH] -= amount


@kernel
def fill(
    book: FloatArray,
    terms: FloatArray,
    quantity: float,
    price: float,
    fee_rate: float,
    why: int,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> int:
    """Book a fill: its notional and fee leave or reach the cash; record it when there is room for records."""
    notional = abs(quantity) * price
    fee = fee_rate * notional
    pay(book, terms, quantity * price)
    pay(book, terms, fee)
    book[QUANTITY] += quantity
    if book[EQUITY] > 0.0:
        book[TURNOVER] += notional / book[EQUITY]
    if fills.shape[0] > 0:
        fills[n_fills, FILL_BAR] = bar
        fills[n_fills, FILL_POSITION] = book[POSITION_ID]
        fills[n_fills, FILL_REASON] = why
        fills[n_fills, FILL_QUANTITY] = quantity
        fills[n_fills, FILL_PRICE] = price
        fills[n_fills, FILL_FEE] = fee
        fills[n_fills, FILL_STOP] = book[R]
        n_fills += 1
    return n_fills


@kernel
def close_all(
    book: FloatArray,
    terms: FloatArray,
    price: float,
    fee_rate: float,
    why: int,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> int:
    """Fill what remains, and book the finished trade."""
    n_fills = fill(book, terms, -book[QUANTITY], price, fee_rate, why, bar, fills, n_fills)
    book[QUANTITY] = 0.0
    book[STOP] = math.nan
    book[GUARD] = math.nan
    book[GOAL] = math.nan
    book[PENDING_EXIT] = 0.0
    book[LAST_EXIT] = book[STRATEGY_BARS]
    gain = book[TRADE_CASH]
    book[TRADES] += 1.0
    if gain > 0.0:
        book[WINS] += 1.0
        book[PROFIT] += gain
    else:
        book[LOSS] -= gain
    if book[R] > 0.0:
        risked = book[R] * book[ENTRY_QUANTITY]
        unit = terms[QUANTUM] if terms[QUANTUM] > 0.0 else 1.0
        book[SUM_R] += gain * unit / risked
        book[TRADES_WITH_R] += 1.0
    return n_fills


@kernel
def end_run(
    book: FloatArray, terms: FloatArray, close: float, bar: int, fills: FloatArray, n_fills: int
) -> int:
    """Close at the mark without cost: equity is gone, and no order is placed again."""
    if book[QUANTITY] != 0.0:
        n_fills = close_all(book, terms, close, 0.0, reasons.ENDED, bar, fills, n_fills)
    book[RUN_OVER] = 1.0
    book[PENDING_SIDE] = 0.0
    return n_fills
