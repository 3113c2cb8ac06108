"""Decisions at a strategy bar's close: what to leave and what to enter at the next open, and why not."""

from __future__ import annotations

import math

from research_lab.engine import reasons
from research_lab.engine.jit import FloatArray, IntArray, inlined_kernel
from research_lab.engine.layout import (
    ENTER_LONG,
    ENTER_SHORT,
    EQUITY,
    EXIT_LONG,
    EXIT_SHORT,
    HELD,
    LEVERAGE,
    MIN_NOTIONAL,
    ORDER_SIZE,
    PENDING_EXIT,
    PENDING_QUANTITY,
    PENDING_SIDE,
    PENDING_STOP,
    PENDING_TRAIL,
    PERPETUAL,
    QUANTITY,
    REGIME_EXIT,
    REGIME_MASK,
    RISK,
    RISK_CAP,
    RISK_SHARE,
    SIZE_KIND,
    STOP_DISTANCE,
    STRATEGY_BARS,
    TIME_STOP,
    TRAIL_DISTANCE,
    WARMUP,
)
from research_lab.engine.settlement import whole_lots


@inlined_kernel
def decide(
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
    if not regime_declared(plan, regime):
        return reasons.REGIME
    if side < 0.0 and terms[PERPETUAL] == 0.0:
        return reasons.SHORT_NEEDS_PERPETUAL
    return _order(book, terms, plan, registers, outputs, s, side, close)


@inlined_kernel
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
    elif plan[REGIME_EXIT] == 1.0 and not regime_declared(plan, regime):
        book[PENDING_EXIT] = reasons.REGIME_EXIT


@inlined_kernel
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
    quantity = whole_lots(min(quantity, terms[LEVERAGE] * equity / close), terms)
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
def regime_declared(plan: FloatArray, regime: float) -> bool:
    """Whether the mask has the regime's bit; code 0, not known, is in no mask, and no mask has all."""
    if plan[REGIME_MASK] == 0.0:
        return True
    return regime > 0.0 and (int(plan[REGIME_MASK]) >> int(regime)) & 1 == 1
