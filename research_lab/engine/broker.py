"""The broker: from decisions to fills, one definition for backtest, shadow, canary and paper.

Order inside a bar. At the open: funding on the old position, the exit decided at the last close, gaps
through protection, the entry decided at the last close. Inside: liquidation or stop, takes. At the
close: mark, trailing and breakeven moves (they act from the next bar on), then new decisions for the
next open. A bar never trades on its own close. Touching a level reaches it.

`at_open`, `inside` and `at_close` are those three parts, for an account that takes several books through
each part together; `step` takes one book through whole bars.
"""

from __future__ import annotations

import math

import numpy as np

from research_lab.engine import reasons
from research_lab.engine.decision import decide
from research_lab.engine.jit import FloatArray, IntArray, inlined_kernel, kernel
from research_lab.engine.layout import (
    BARS_IN_POSITION,
    BEST,
    ENTRY_PRICE,
    ENTRY_QUANTITY,
    EQUITY,
    FEE,
    HELD,
    LEVERAGE,
    MIN_NOTIONAL,
    OPTIMISTIC,
    PENDING_EXIT,
    PENDING_QUANTITY,
    PENDING_SIDE,
    PENDING_STOP,
    PENDING_TRAIL,
    PERPETUAL,
    POSITION_ID,
    QUANTITY,
    RUN_OVER,
    SLIPPAGE,
    STOP,
    TAKES_DONE,
    TRADE_CASH,
    TRAIL,
    TRAIL_DISTANCE,
    R,
)
from research_lab.engine.protection import (
    gap,
    is_reached,
    protect,
    protective_exit,
    renew_trail,
    something_happens,
    take,
    watch,
)
from research_lab.engine.quiet import mark, quiet_until
from research_lab.engine.settlement import close_all, end_run, fill, money, pay, to_tick, whole_lots


@kernel
def step(
    book: FloatArray,
    plan: FloatArray,
    terms: FloatArray,
    inputs: FloatArray,
    funding_due: FloatArray,
    regime: FloatArray,
    registers: FloatArray,
    outputs: IntArray,
    emitted_at: IntArray,
    m: int,
    first_bar: int,
    start: int,
    veto: int,
    equity: FloatArray,
    position: FloatArray,
    reason: IntArray,
    fills: FloatArray,
) -> int:
    """Step one book over a block of base bars.

    Parameters
    ----------
    book : (BOOK_SIZE,) in place. plan : (PLAN_SIZE,). terms : (TERMS_SIZE,).
    inputs : (at least 4, n) base bars; funding_due, regime : (n,).
    registers, outputs, emitted_at, m : the strategy's completed bars of this block.
    first_bar : the block's first bar, counted from the beginning of the run.
    start : entries are decided from this bar of the run on.
    veto : a reason for which no entry may be decided in this block; 0 for none.
    equity : (n,) written: value after each bar.
    position, reason : (n,) written: signed quantity and decision after each bar; with no cells neither is.
    fills : (capacity, FILL_SIZE) written; with no rows nothing is recorded.

    Returns
    -------
    int
        Rows of `fills` written.
    """
    n = inputs.shape[1]
    n_fills = t = s = int(np.int64(0))  # typed: for a literal numba would compile every callee twice
    watch(book, terms, plan)
    while True:
        end, s_end = quiet_until(
            book, plan, terms, inputs, funding_due, regime, registers, outputs, emitted_at, m, t, s
        )
        if end > t:
            mark(
                book, plan, terms, inputs[3, t:end], registers, outputs, emitted_at, t, s, s_end,
                equity[t:end], position, reason,
            )  # fmt: skip
        t, s = end, s_end
        if t == n:
            return n_fills
        barred = reasons.INACTIVE if first_bar + t < start else veto
        n_fills, s, decision = _step_bar(
            book, plan, terms, inputs, funding_due[t], regime[t], registers, outputs, emitted_at, m,
            first_bar + t, t, s, barred, fills, n_fills,
        )  # fmt: skip
        equity[t] = book[EQUITY]
        if reason.shape[0] > 0:
            position[t] = book[QUANTITY]
            reason[t] = decision
        t += 1


@inlined_kernel
def _step_bar(
    book: FloatArray,
    plan: FloatArray,
    terms: FloatArray,
    inputs: FloatArray,
    funding_due: float,
    regime: float,
    registers: FloatArray,
    outputs: IntArray,
    emitted_at: IntArray,
    m: int,
    bar: int,
    t: int,
    s: int,
    barred: int,
    fills: FloatArray,
    n_fills: int,
) -> tuple[int, int, int]:
    """Step one bar in the full order; return rows of fills, the next strategy bar, the decision."""
    high, low, close = inputs[1, t], inputs[2, t], inputs[3, t]
    busy = book[QUANTITY] != 0.0 or book[PENDING_SIDE] != 0.0
    if busy and something_happens(book, high, low, funding_due):
        n_fills = at_open(book, plan, terms, inputs[0, t], funding_due, bar, fills, n_fills)
        watch(book, terms, plan)
        if is_reached(book, high, low):
            n_fills = inside(book, plan, terms, inputs[0, t], high, low, bar, fills, n_fills)
            watch(book, terms, plan)
    n_fills, s, decision = at_close(
        book, plan, terms, high, low, close, regime, registers, outputs, emitted_at, m,
        bar, t, s, barred, fills, n_fills,
    )  # fmt: skip
    if book[QUANTITY] != 0.0:
        book[BARS_IN_POSITION] += 1.0
    return n_fills, s, decision


@inlined_kernel
def at_close(
    book: FloatArray,
    plan: FloatArray,
    terms: FloatArray,
    high: float,
    low: float,
    close: float,
    regime: float,
    registers: FloatArray,
    outputs: IntArray,
    emitted_at: IntArray,
    m: int,
    bar: int,
    t: int,
    s: int,
    barred: int,
    fills: FloatArray,
    n_fills: int,
) -> tuple[int, int, int]:
    """Mark, move the protection and decide; return rows of fills, the next strategy bar, the decision."""
    trailing = outputs[TRAIL_DISTANCE] >= 0
    book[EQUITY] = money(book, terms) + book[QUANTITY] * close
    first = s
    while s < m and emitted_at[s] == t:
        s += 1
    if book[QUANTITY] != 0.0:
        if trailing and s > first:
            renew_trail(book, registers[outputs[TRAIL_DISTANCE], s - 1])
        protect(book, terms, plan, trailing, high, low)
    if book[EQUITY] <= 0.0 and book[RUN_OVER] == 0.0:
        n_fills = end_run(book, terms, close, bar, fills, n_fills)
    if book[RUN_OVER] == 1.0:
        return n_fills, s, reasons.RUN_ENDED
    decision = reasons.NO_STRATEGY_BAR
    for k in range(first, s):
        decision = decide(book, terms, plan, registers, outputs, k, regime, close, barred)
    return n_fills, s, decision


@inlined_kernel
def at_open(
    book: FloatArray,
    plan: FloatArray,
    terms: FloatArray,
    price: float,
    funding_due: float,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> int:
    """Pay funding, fill what was ordered at the last close, and close beyond protection."""
    side = math.copysign(1.0, book[QUANTITY])
    if book[QUANTITY] != 0.0:
        if terms[PERPETUAL] == 1.0 and funding_due != 0.0:
            pay(book, terms, book[QUANTITY] * price * funding_due)
        if book[PENDING_EXIT] != 0.0:
            market = price * (1.0 - terms[SLIPPAGE] * side)
            n_fills = close_all(book, terms, market, terms[FEE], int(book[PENDING_EXIT]), bar, fills, n_fills)
    if book[QUANTITY] != 0.0:
        n_fills = gap(book, terms, plan, price, side, bar, fills, n_fills)
    if book[PENDING_SIDE] != 0.0:
        if book[QUANTITY] == 0.0:
            n_fills = _enter(book, terms, price, bar, fills, n_fills)
        book[PENDING_SIDE] = 0.0
    return n_fills


@inlined_kernel
def _enter(
    book: FloatArray, terms: FloatArray, price: float, bar: int, fills: FloatArray, n_fills: int
) -> int:
    """Fill the pending entry at the open, as far as cash or leverage reach."""
    side = book[PENDING_SIDE]
    market = price * (1.0 + terms[SLIPPAGE] * side)
    leverage = terms[LEVERAGE]
    affordable = leverage * money(book, terms) / (market * (1.0 + terms[FEE] * leverage))
    quantity = whole_lots(min(book[PENDING_QUANTITY], affordable), terms)
    if quantity <= 0.0 or quantity * market < terms[MIN_NOTIONAL]:
        return n_fills
    book[POSITION_ID] += 1.0
    book[ENTRY_PRICE] = market
    book[ENTRY_QUANTITY] = quantity
    book[R] = book[PENDING_STOP]
    book[STOP] = to_tick(market - side * book[PENDING_STOP], terms)
    book[TRAIL] = book[PENDING_TRAIL]
    book[TAKES_DONE] = 0.0
    book[BEST] = market
    book[HELD] = 0.0
    book[PENDING_EXIT] = 0.0
    book[TRADE_CASH] = 0.0
    return fill(book, terms, side * quantity, market, terms[FEE], reasons.ENTRY, bar, fills, n_fills)


@inlined_kernel
def inside(
    book: FloatArray,
    plan: FloatArray,
    terms: FloatArray,
    open_: float,
    high: float,
    low: float,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> int:
    """Liquidate or stop out, and take, as the bar's extremes reach; the worst first unless optimistic."""
    if book[QUANTITY] == 0.0:
        return n_fills
    side = math.copysign(1.0, book[QUANTITY])
    worst = low if side > 0.0 else high
    best = high if side > 0.0 else low
    if terms[OPTIMISTIC] == 1.0:
        n_fills = take(book, terms, plan, open_, best, side, bar, fills, n_fills)
    if book[QUANTITY] != 0.0:
        n_fills = protective_exit(book, terms, open_, worst, side, bar, fills, n_fills)
    if book[QUANTITY] != 0.0 and terms[OPTIMISTIC] == 0.0:
        n_fills = take(book, terms, plan, open_, best, side, bar, fills, n_fills)
    return n_fills
