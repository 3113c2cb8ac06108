"""What stands where in the broker's arrays: signals, a strategy's plan, a market's terms, a book, a fill.

Books are stored on disk: numbers are append-only.
"""

from __future__ import annotations

import math
from typing import Final

from research_lab.engine.jit import FloatArray

# Signals of a strategy, in the order of a program's outputs.
ENTER_LONG: Final = 0
EXIT_LONG: Final = 1
ENTER_SHORT: Final = 2
EXIT_SHORT: Final = 3
STOP_DISTANCE: Final = 4
TRAIL_DISTANCE: Final = 5
ORDER_SIZE: Final = 6
N_SIGNALS: Final = 7
SIGNALS: Final = ("enter_long", "exit_long", "enter_short", "exit_short", "stop", "trail", "size")

MAX_TAKES: Final = 4

# Plan: what a strategy fixes once.
SIZE_KIND: Final = 0  # 0 risk at the stop, 1 fraction of equity
TIME_STOP: Final = 1
TRAIL_AFTER: Final = 2
BREAKEVEN: Final = 3
REGIME_MASK: Final = 4
REGIME_EXIT: Final = 5
WARMUP: Final = 6
N_TAKES: Final = 7
TAKE_AT: Final = 8
TAKE_SHARE: Final = TAKE_AT + MAX_TAKES
PLAN_SIZE: Final = TAKE_SHARE + MAX_TAKES
RISK: Final = 0
FRACTION: Final = 1

# Terms: what market and account fix.
FEE: Final = 0
SLIPPAGE: Final = 1
LEVERAGE: Final = 2
MAINTENANCE: Final = 3
LIQUIDATION_FEE: Final = 4
PERPETUAL: Final = 5
LOT: Final = 6
TICK: Final = 7
MIN_NOTIONAL: Final = 8
OPTIMISTIC: Final = 9
QUANTUM: Final = 10
RISK_SHARE: Final = 11
RISK_CAP: Final = 12
LOT_SCALE: Final = 13
TICK_SCALE: Final = 14
TERMS_SIZE: Final = 15

# Book: one position and its money.
CASH: Final = 0
OTHERS: Final = 1  # value of the account's other positions, 0 in a slot's own book
QUANTITY: Final = 2
ENTRY_PRICE: Final = 3
STOP: Final = 4
R: Final = 5
TAKES_DONE: Final = 6
BEST: Final = 7
TRAIL: Final = 8
HELD: Final = 9
PENDING_EXIT: Final = 10
PENDING_SIDE: Final = 11
PENDING_QUANTITY: Final = 12
PENDING_STOP: Final = 13
PENDING_TRAIL: Final = 14
POSITION_ID: Final = 15
ENTRY_QUANTITY: Final = 16
TRADE_CASH: Final = 17
EQUITY: Final = 18
RUN_OVER: Final = 19
STRATEGY_BARS: Final = 20
TRADES: Final = 21
WINS: Final = 22
PROFIT: Final = 23
LOSS: Final = 24
SUM_R: Final = 25
TRADES_WITH_R: Final = 26
TURNOVER: Final = 27
LAST_EXIT: Final = 28  # strategy bars seen when the last position closed
GUARD: Final = 29  # nearest level that closes the position: stop or liquidation, NaN for none
GOAL: Final = 30  # level of the next take, NaN for none
BARS_IN_POSITION: Final = 31  # base bars after which a position was open
BOOK_SIZE: Final = 32

# Columns of a fill record.
FILL_BAR: Final = 0
FILL_POSITION: Final = 1
FILL_REASON: Final = 2
FILL_QUANTITY: Final = 3
FILL_PRICE: Final = 4
FILL_FEE: Final = 5
FILL_STOP: Final = 6  # the position's stop distance frozen at its entry's decision
FILL_SIZE: Final = 7
MAX_FILLS_PER_BAR: Final = 4 + MAX_TAKES

# A code of the regime holds two: the market's regime + MACRO x the macro state, 0 where no states are in use.
MACRO: Final = 16
RISK_ON: Final = 1  # entries in full size
RISK_SMALL: Final = 2  # entries in half size
NEUTRAL: Final = 3  # exits only
RISK_OFF: Final = 4  # exits only, and a strategy that leaves with its regime leaves
SMALL_SHARE: Final = 0.5

LOT_TOLERANCE: Final = 1e-9  # share of a lot by which a quantity may lie below a whole number of lots


def open_book(book: FloatArray, cash: float) -> None:
    """Begin a book with money and no position, in place."""
    book[:] = 0.0
    book[CASH] = cash
    book[EQUITY] = cash
    book[STOP] = math.nan
    book[TRAIL] = math.nan
    book[LAST_EXIT] = -math.inf
