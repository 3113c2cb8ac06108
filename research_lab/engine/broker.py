"""The broker: from decisions to fills, one definition for backtest, shadow, canary and paper.

Order inside a bar. At the open: funding on the old position, the exit decided at the last close, gaps
through protection, the entry decided at the last close. Inside: liquidation or stop, takes. At the
close: mark, trailing and breakeven moves (they act from the next bar on), then new decisions for the
next open. A bar never trades on its own close. Touching a level reaches it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from research_lab.engine import reasons
from research_lab.engine.jit import FloatArray, IntArray, inlined_kernel, kernel

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

MAX_DECIMALS: Final = 12

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
BOOK_SIZE: Final = 31

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

LOT_TOLERANCE: Final = 1e-9  # share of a lot by which a quantity may lie below a whole number of lots


@dataclass(frozen=True)
class Terms:
    """Costs and rules of a market and an account.

    Parameters
    ----------
    fee, slippage : fractions of notional and of price: 0.001 is 10 basis points.
    leverage : cap on notional over equity; 1 on spot.
    maintenance, liquidation_fee : fractions of notional, perpetuals only.
    perpetual : whether shorts, leverage, funding and liquidation exist.
    lot, tick, min_notional : the symbol's rules; 0 when they are not known.
    optimistic : when a bar touches both stop and take, the take comes first.
    quantum : money is counted in whole units of this; 0 for no rounding.
    risk_share : share of the strategy's size that the account gives it.
    risk_cap : largest share of equity that may be lost at the stop; infinite for none.
    """

    fee: float = 0.001
    slippage: float = 0.0005
    leverage: float = 1.0
    maintenance: float = 0.005
    liquidation_fee: float = 0.005
    perpetual: bool = False
    lot: float = 0.0
    tick: float = 0.0
    min_notional: float = 0.0
    optimistic: bool = False
    quantum: float = 0.0
    risk_share: float = 1.0
    risk_cap: float = math.inf

    def array(self) -> FloatArray:
        return np.array(
            [
                self.fee,
                self.slippage,
                self.leverage if self.perpetual else 1.0,
                self.maintenance,
                self.liquidation_fee,
                float(self.perpetual),
                self.lot,
                self.tick,
                self.min_notional,
                float(self.optimistic),
                self.quantum,
                self.risk_share,
                self.risk_cap,
                _whole_at(self.lot),
                _whole_at(self.tick),
            ]
        )


def _whole_at(step: float) -> float:
    """Return the power of ten that makes a lot or tick whole: 100 for 0.05; 0 when there is none.

    A multiple of a decimal step is then a whole number divided by a whole number, hence the double
    nearest to the decimal, as it stands in data: 12.35, and not the 12.350000000000001 of 247 x 0.05.
    """
    for decimals in range(MAX_DECIMALS + 1):
        scaled = step * 10.0**decimals
        if step > 0.0 and abs(scaled - round(scaled)) <= 1e-15 * scaled and round(scaled) > 0:
            return 10.0**decimals
    return 0.0


def open_book(book: FloatArray, cash: float) -> None:
    """Begin a book with money and no position, in place."""
    book[:] = 0.0
    book[CASH] = cash
    book[EQUITY] = cash
    book[STOP] = math.nan
    book[TRAIL] = math.nan
    book[LAST_EXIT] = -math.inf


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
    inputs : (7, n) base bars; funding_due, regime : (n,).
    registers, outputs, emitted_at, m : the strategy's completed bars of this block.
    first_bar : the block's first bar, counted from the beginning of the run.
    start : entries are decided from this bar of the run on.
    veto : a reason for which no entry may be decided in this block; 0 for none.
    equity, position, reason : (n,) written: value, signed quantity and decision after each bar.
    fills : (capacity, FILL_SIZE) written; with no rows nothing is recorded.

    Returns
    -------
    int
        Rows of `fills` written.
    """
    n_fills = 0
    t = 0
    s = 0
    _watch(book, terms, plan)
    while True:
        t, s = _pass_quiet_bars(
            book, plan, terms, inputs, funding_due, registers, outputs, emitted_at, m,
            t, s, equity, position, reason,
        )  # fmt: skip
        if t == inputs.shape[1]:
            return n_fills
        barred = reasons.INACTIVE if first_bar + t < start else veto
        n_fills, s, reason[t] = _step_bar(
            book, plan, terms, inputs, funding_due[t], regime[t], registers, outputs, emitted_at, m,
            first_bar + t, t, s, barred, fills, n_fills,
        )  # fmt: skip
        equity[t] = book[EQUITY]
        position[t] = book[QUANTITY]
        t += 1


@kernel
def _pass_quiet_bars(
    book: FloatArray,
    plan: FloatArray,
    terms: FloatArray,
    inputs: FloatArray,
    funding_due: FloatArray,
    registers: FloatArray,
    outputs: IntArray,
    emitted_at: IntArray,
    m: int,
    t: int,
    s: int,
    equity: FloatArray,
    position: FloatArray,
    reason: IntArray,
) -> tuple[int, int]:
    """Mark the bars on which nothing can be filled, paid, moved or ordered; return where it ends.

    Only scalars are touched, so this is what makes a sweep fast. Leaving it at any bar is right:
    `_step_bar` gives the same answer for a quiet bar.
    """
    if book[PENDING_SIDE] != 0.0 or book[PENDING_EXIT] != 0.0 or book[RUN_OVER] == 1.0:
        return t, s
    n = inputs.shape[1]
    quantity = book[QUANTITY]
    held = quantity != 0.0
    cash = money(book, terms)
    guard, goal, best = book[GUARD], book[GOAL], book[BEST]
    long = quantity > 0.0
    side = 1.0 if long else -1.0
    moves = outputs[TRAIL_DISTANCE] >= 0 and held
    entry_price = book[ENTRY_PRICE]
    armed = plan[TRAIL_AFTER] * book[R]
    exit_register = outputs[EXIT_LONG] if long else outputs[EXIT_SHORT]
    enter_long, enter_short = outputs[ENTER_LONG], outputs[ENTER_SHORT]
    last_hold = plan[TIME_STOP] - 1.0 if plan[TIME_STOP] > 0.0 else math.inf
    if held and (plan[REGIME_EXIT] == 1.0 or (moves and plan[TRAIL_AFTER] == 0.0)):
        return t, s
    if held and plan[BREAKEVEN] == 1.0 and book[TAKES_DONE] >= 1.0:
        return t, s
    bars, holds = book[STRATEGY_BARS], book[HELD]
    warming = plan[WARMUP]
    worth = book[EQUITY]
    while t < n:
        completed = s < m and emitted_at[s] == t
        if completed and s + 1 < m and emitted_at[s + 1] == t:
            break
        decision = reasons.NO_STRATEGY_BAR
        if held:
            high, low = inputs[1, t], inputs[2, t]
            if long:
                if low <= guard or high >= goal:
                    break
            elif high >= guard or low <= goal:
                break
            reached = max(best, high) if long else min(best, low)
            if moves and (reached - entry_price) * side >= armed:
                break
            if funding_due[t] != 0.0 or cash + quantity * inputs[3, t] <= 0.0:
                break
            if completed:
                if holds >= last_hold:
                    break
                if exit_register >= 0 and registers[exit_register, s] == 1.0:
                    break
                if moves and registers[outputs[TRAIL_DISTANCE], s] > 0.0:
                    book[TRAIL] = registers[outputs[TRAIL_DISTANCE], s]
                holds += 1.0
                decision = reasons.HOLDING
            best = reached
        elif completed:
            go_long = registers[enter_long, s] if enter_long >= 0 else 0.0
            go_short = registers[enter_short, s] if enter_short >= 0 else 0.0
            if go_long == 1.0 or go_short == 1.0:
                break
            decision = reasons.NO_SIGNAL
            if bars + 1.0 < warming:
                decision = reasons.WARMING
            elif math.isnan(go_long) or math.isnan(go_short):
                decision = reasons.UNKNOWN
        if completed:
            bars += 1.0
            s += 1
        worth = cash + quantity * inputs[3, t]
        equity[t] = worth
        position[t] = quantity
        reason[t] = decision
        t += 1
    book[STRATEGY_BARS] = bars
    book[EQUITY] = worth
    if held:
        book[HELD] = holds
        book[BEST] = best
    return t, s


@kernel
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
    trailing = outputs[TRAIL_DISTANCE] >= 0
    busy = book[QUANTITY] != 0.0 or book[PENDING_SIDE] != 0.0
    if busy and _something_happens(book, high, low, funding_due):
        n_fills = _at_open(book, terms, plan, inputs[0, t], funding_due, bar, fills, n_fills)
        n_fills = _inside(book, terms, plan, inputs[0, t], high, low, bar, fills, n_fills)
        _watch(book, terms, plan)
    book[EQUITY] = money(book, terms) + book[QUANTITY] * close
    first = s
    while s < m and emitted_at[s] == t:
        s += 1
    if book[QUANTITY] != 0.0:
        if trailing and s > first:
            _renew_trail(book, registers[outputs[TRAIL_DISTANCE], s - 1])
        _protect(book, terms, plan, trailing, high, low)
    if book[EQUITY] <= 0.0 and book[RUN_OVER] == 0.0:
        n_fills = _end_run(book, terms, close, bar, fills, n_fills)
    if book[RUN_OVER] == 1.0:
        return n_fills, s, reasons.RUN_ENDED
    decision = reasons.NO_STRATEGY_BAR
    for k in range(first, s):
        decision = _decide(book, terms, plan, registers, outputs, k, regime, close, barred)
    return n_fills, s, decision


@inlined_kernel
def _something_happens(book: FloatArray, high: float, low: float, funding_due: float) -> bool:
    """Whether this bar can fill or pay anything; the open lies between low and high."""
    if book[PENDING_SIDE] != 0.0 or book[PENDING_EXIT] != 0.0 or funding_due != 0.0:
        return True
    if book[QUANTITY] > 0.0:
        return low <= book[GUARD] or high >= book[GOAL]
    return high >= book[GUARD] or low <= book[GOAL]


@kernel
def _watch(book: FloatArray, terms: FloatArray, plan: FloatArray) -> None:
    """Note the levels at which something happens to the position."""
    book[GUARD] = math.nan
    book[GOAL] = math.nan
    if book[QUANTITY] == 0.0:
        return
    side = math.copysign(1.0, book[QUANTITY])
    liquidation = _liquidation_level(book, terms)
    stop = book[STOP]
    nearer = math.isnan(stop) or (liquidation - stop) * side > 0.0
    book[GUARD] = liquidation if nearer else stop
    if book[TAKES_DONE] < plan[N_TAKES]:
        book[GOAL] = _take_level(book, terms, plan, side)


@inlined_kernel
def _take_level(book: FloatArray, terms: FloatArray, plan: FloatArray, side: float) -> float:
    k = int(book[TAKES_DONE])
    return _to_tick(book[ENTRY_PRICE] + side * plan[TAKE_AT + k] * book[R], terms)


@kernel
def _at_open(
    book: FloatArray,
    terms: FloatArray,
    plan: FloatArray,
    price: float,
    funding_due: float,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> int:
    side = math.copysign(1.0, book[QUANTITY])
    if book[QUANTITY] != 0.0:
        if terms[PERPETUAL] == 1.0 and funding_due != 0.0:
            _pay(book, terms, book[QUANTITY] * price * funding_due)
        if book[PENDING_EXIT] != 0.0:
            market = price * (1.0 - terms[SLIPPAGE] * side)
            n_fills = _close_all(
                book, terms, market, terms[FEE], int(book[PENDING_EXIT]), bar, fills, n_fills
            )
    if book[QUANTITY] != 0.0:
        n_fills = _gap(book, terms, plan, price, side, bar, fills, n_fills)
    if book[PENDING_SIDE] != 0.0:
        if book[QUANTITY] == 0.0:
            n_fills = _enter(book, terms, price, bar, fills, n_fills)
        book[PENDING_SIDE] = 0.0
    return n_fills


@kernel
def _gap(
    book: FloatArray,
    terms: FloatArray,
    plan: FloatArray,
    price: float,
    side: float,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> int:
    """Close at an open beyond stop or liquidation; fill takes that the open has reached."""
    liquidation = _liquidation_level(book, terms)
    stop = book[STOP]
    stop_first = not math.isnan(stop) and (math.isnan(liquidation) or (stop - liquidation) * side >= 0.0)
    level = stop if stop_first else liquidation
    if not math.isnan(level) and (price - level) * side <= 0.0:
        market = price * (1.0 - terms[SLIPPAGE] * side)
        rate = terms[FEE] if stop_first else terms[FEE] + terms[LIQUIDATION_FEE]
        why = reasons.STOP if stop_first else reasons.LIQUIDATION
        return _close_all(book, terms, market, rate, why, bar, fills, n_fills)
    return _take(book, terms, plan, price, price, side, bar, fills, n_fills)


@kernel
def _enter(
    book: FloatArray, terms: FloatArray, price: float, bar: int, fills: FloatArray, n_fills: int
) -> int:
    """Fill the pending entry at the open, as far as cash or leverage reach."""
    side = book[PENDING_SIDE]
    market = price * (1.0 + terms[SLIPPAGE] * side)
    leverage = terms[LEVERAGE]
    affordable = leverage * money(book, terms) / (market * (1.0 + terms[FEE] * leverage))
    quantity = _whole_lots(min(book[PENDING_QUANTITY], affordable), terms)
    if quantity <= 0.0 or quantity * market < terms[MIN_NOTIONAL]:
        return n_fills
    book[POSITION_ID] += 1.0
    book[ENTRY_PRICE] = market
    book[ENTRY_QUANTITY] = quantity
    book[R] = book[PENDING_STOP]
    book[STOP] = _to_tick(market - side * book[PENDING_STOP], terms)
    book[TRAIL] = book[PENDING_TRAIL]
    book[TAKES_DONE] = 0.0
    book[BEST] = market
    book[HELD] = 0.0
    book[PENDING_EXIT] = 0.0
    book[TRADE_CASH] = 0.0
    return _fill(book, terms, side * quantity, market, terms[FEE], reasons.ENTRY, bar, fills, n_fills)


@kernel
def _inside(
    book: FloatArray,
    terms: FloatArray,
    plan: FloatArray,
    open_: float,
    high: float,
    low: float,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> int:
    if book[QUANTITY] == 0.0:
        return n_fills
    side = math.copysign(1.0, book[QUANTITY])
    worst = low if side > 0.0 else high
    best = high if side > 0.0 else low
    if terms[OPTIMISTIC] == 1.0:
        n_fills = _take(book, terms, plan, open_, best, side, bar, fills, n_fills)
    if book[QUANTITY] != 0.0:
        n_fills = _protective_exit(book, terms, open_, worst, side, bar, fills, n_fills)
    if book[QUANTITY] != 0.0 and terms[OPTIMISTIC] == 0.0:
        n_fills = _take(book, terms, plan, open_, best, side, bar, fills, n_fills)
    return n_fills


@kernel
def _protective_exit(
    book: FloatArray,
    terms: FloatArray,
    open_: float,
    worst: float,
    side: float,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> int:
    """Liquidate where that is nearer than the stop, else stop out, if the bar reaches the level."""
    liquidation = _liquidation_level(book, terms)
    stop = book[STOP]
    nearer = math.isnan(stop) or (liquidation - stop) * side > 0.0
    if nearer and (worst - liquidation) * side <= 0.0:
        price = min(open_, liquidation) if side > 0.0 else max(open_, liquidation)
        rate = terms[FEE] + terms[LIQUIDATION_FEE]
        return _close_all(book, terms, price, rate, reasons.LIQUIDATION, bar, fills, n_fills)
    if (worst - stop) * side <= 0.0:
        price = min(open_, stop) if side > 0.0 else max(open_, stop)
        price *= 1.0 - terms[SLIPPAGE] * side
        return _close_all(book, terms, price, terms[FEE], reasons.STOP, bar, fills, n_fills)
    return n_fills


@kernel
def _take(
    book: FloatArray,
    terms: FloatArray,
    plan: FloatArray,
    open_: float,
    best: float,
    side: float,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> int:
    """Fill the takes that the price has reached, each closing its share of what remains."""
    while book[QUANTITY] != 0.0 and book[TAKES_DONE] < plan[N_TAKES]:
        k = int(book[TAKES_DONE])
        level = _take_level(book, terms, plan, side)
        if not (best - level) * side >= 0.0:
            break
        price = max(open_, level) if side > 0.0 else min(open_, level)
        remaining = abs(book[QUANTITY])
        share = plan[TAKE_SHARE + k]
        quantity = _whole_lots(share * remaining, terms)
        book[TAKES_DONE] += 1.0
        if share >= 1.0 or remaining - quantity < terms[LOT] * (1.0 - LOT_TOLERANCE):
            n_fills = _close_all(book, terms, price, terms[FEE], reasons.TAKE, bar, fills, n_fills)
        elif quantity > 0.0:
            n_fills = _fill(
                book, terms, -side * quantity, price, terms[FEE], reasons.TAKE, bar, fills, n_fills
            )
    return n_fills


@kernel
def _renew_trail(book: FloatArray, distance: float) -> None:
    if math.isfinite(distance) and distance > 0.0:
        book[TRAIL] = distance


@kernel
def _protect(
    book: FloatArray,
    terms: FloatArray,
    plan: FloatArray,
    trailing: bool,
    high: float,
    low: float,
) -> None:
    """Move the stop by trailing and breakeven, only ever nearer; it acts from the next bar on."""
    side = math.copysign(1.0, book[QUANTITY])
    book[BEST] = max(book[BEST], high) if side > 0.0 else min(book[BEST], low)
    if trailing and not math.isnan(book[TRAIL]):
        gained = (book[BEST] - book[ENTRY_PRICE]) * side
        if plan[TRAIL_AFTER] == 0.0 or gained >= plan[TRAIL_AFTER] * book[R]:
            _tighten(book, terms, book[BEST] - side * book[TRAIL], side)
    if plan[BREAKEVEN] == 1.0 and book[TAKES_DONE] >= 1.0:
        _tighten(book, terms, book[ENTRY_PRICE], side)


@kernel
def _tighten(book: FloatArray, terms: FloatArray, price: float, side: float) -> None:
    level = _to_tick(price, terms)
    if math.isnan(book[STOP]) or (level - book[STOP]) * side > 0.0:
        book[STOP] = level
        if math.isnan(book[GUARD]) or (level - book[GUARD]) * side > 0.0:
            book[GUARD] = level


@kernel
def _decide(
    book: FloatArray,
    terms: FloatArray,
    plan: FloatArray,
    registers: FloatArray,
    outputs: IntArray,
    s: int,
    regime: float,
    close: float,
    barred: int,
) -> int:
    """Decide at a strategy bar's close what to order for the next open; return the reason."""
    book[STRATEGY_BARS] += 1.0
    if book[QUANTITY] != 0.0:
        _decide_exit(book, plan, registers, outputs, s, regime)
        if book[PENDING_EXIT] == 0.0:
            return reasons.HOLDING
    long = _signal(registers, outputs, ENTER_LONG, s)
    short = _signal(registers, outputs, ENTER_SHORT, s)
    side = 0.0
    if long == 1.0 and short != 1.0:
        side = 1.0
    elif short == 1.0 and long != 1.0:
        side = -1.0
    idle = reasons.EXIT_ORDERED if book[QUANTITY] != 0.0 else reasons.NO_SIGNAL
    if book[STRATEGY_BARS] < plan[WARMUP]:
        return reasons.WARMING if idle == reasons.NO_SIGNAL else idle
    if side == 0.0:
        if long == 1.0:
            return reasons.BOTH_SIDES
        if idle == reasons.NO_SIGNAL and (math.isnan(long) or math.isnan(short)):
            return reasons.UNKNOWN
        return idle
    if barred != 0:
        return barred
    if book[QUANTITY] * side > 0.0:
        return reasons.SAME_SIDE
    if not _regime_declared(plan, regime):
        return reasons.REGIME
    if side < 0.0 and terms[PERPETUAL] == 0.0:
        return reasons.SHORT_NEEDS_PERPETUAL
    return _order(book, terms, plan, registers, outputs, s, side, close)


@kernel
def _decide_exit(
    book: FloatArray,
    plan: FloatArray,
    registers: FloatArray,
    outputs: IntArray,
    s: int,
    regime: float,
) -> None:
    book[HELD] += 1.0
    if book[PENDING_EXIT] != 0.0:
        return
    role = EXIT_LONG if book[QUANTITY] > 0.0 else EXIT_SHORT
    if plan[TIME_STOP] > 0.0 and book[HELD] >= plan[TIME_STOP]:
        book[PENDING_EXIT] = reasons.TIME_STOP
    elif _signal(registers, outputs, role, s) == 1.0:
        book[PENDING_EXIT] = reasons.EXIT_SIGNAL
    elif plan[REGIME_EXIT] == 1.0 and not _regime_declared(plan, regime):
        book[PENDING_EXIT] = reasons.REGIME_EXIT


@kernel
def _order(
    book: FloatArray,
    terms: FloatArray,
    plan: FloatArray,
    registers: FloatArray,
    outputs: IntArray,
    s: int,
    side: float,
    close: float,
) -> int:
    """Freeze stop distance and quantity, and leave the order for the next open."""
    stop = math.nan
    if outputs[STOP_DISTANCE] >= 0:
        stop = registers[outputs[STOP_DISTANCE], s]
        if not stop > 0.0:
            return reasons.INVALID_STOP
    size = registers[outputs[ORDER_SIZE], s] * terms[RISK_SHARE]
    if not 0.0 < size < math.inf:
        return reasons.INVALID_SIZE
    equity = book[EQUITY]
    quantity = equity * size / (stop if plan[SIZE_KIND] == RISK else close)
    if terms[RISK_CAP] < math.inf:
        if math.isnan(stop):
            return reasons.INVALID_STOP
        quantity = min(quantity, equity * terms[RISK_CAP] / stop)
    quantity = _whole_lots(min(quantity, terms[LEVERAGE] * equity / close), terms)
    if not quantity > 0.0 or quantity * close < terms[MIN_NOTIONAL]:
        return reasons.TOO_SMALL
    book[PENDING_SIDE] = side
    book[PENDING_QUANTITY] = quantity
    book[PENDING_STOP] = stop
    book[PENDING_TRAIL] = math.nan
    if outputs[TRAIL_DISTANCE] >= 0:
        trail = registers[outputs[TRAIL_DISTANCE], s]
        if math.isfinite(trail) and trail > 0.0:
            book[PENDING_TRAIL] = trail
    return reasons.LONG_ORDERED if side > 0.0 else reasons.SHORT_ORDERED


@inlined_kernel
def _signal(registers: FloatArray, outputs: IntArray, role: int, s: int) -> float:
    return registers[outputs[role], s] if outputs[role] >= 0 else 0.0


@inlined_kernel
def _regime_declared(plan: FloatArray, regime: float) -> bool:
    """Whether the mask has the regime's bit; code 0, not known, is in no mask, and no mask has all."""
    if plan[REGIME_MASK] == 0.0:
        return True
    return regime > 0.0 and (int(plan[REGIME_MASK]) >> int(regime)) & 1 == 1


@kernel
def _liquidation_level(book: FloatArray, terms: FloatArray) -> float:
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


@inlined_kernel
def money(book: FloatArray, terms: FloatArray) -> float:
    """Return cash and the value of other positions, quote currency."""
    cash = book[CASH] * terms[QUANTUM] if terms[QUANTUM] > 0.0 else book[CASH]
    return cash + book[OTHERS]


@kernel
def _whole_lots(quantity: float, terms: FloatArray) -> float:
    """Round down to whole lots; a hair below a whole number of lots counts as that number."""
    lot = terms[LOT]
    if lot <= 0.0:
        return quantity
    return _steps(np.floor(quantity / lot + LOT_TOLERANCE), lot, terms[LOT_SCALE])


@inlined_kernel
def _to_tick(price: float, terms: FloatArray) -> float:
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
def _pay(book: FloatArray, terms: FloatArray, amount: float) -> None:
    """Take money from the book, in whole quanta where money is counted so."""
    if terms[QUANTUM] > 0.0:
        amount = np.floor(amount / terms[QUANTUM] + 0.5)
    book[CASH] -= amount
    book[TRADE_CASH] -= amount


@kernel
def _fill(
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
    notional = abs(quantity) * price
    fee = fee_rate * notional
    _pay(book, terms, quantity * price)
    _pay(book, terms, fee)
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
def _close_all(
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
    n_fills = _fill(book, terms, -book[QUANTITY], price, fee_rate, why, bar, fills, n_fills)
    book[QUANTITY] = 0.0
    book[STOP] = math.nan
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
def _end_run(
    book: FloatArray, terms: FloatArray, close: float, bar: int, fills: FloatArray, n_fills: int
) -> int:
    """Close at the mark without cost: equity is gone, and no order is placed again."""
    if book[QUANTITY] != 0.0:
        n_fills = _close_all(book, terms, close, 0.0, reasons.ENDED, bar, fills, n_fills)
    book[RUN_OVER] = 1.0
    book[PENDING_SIDE] = 0.0
    return n_fills
