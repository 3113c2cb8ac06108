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
    MACRO,
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
    RISK_OFF,
    RISK_ON,
    RISK_SHARE,
    RISK_SMALL,
    SIZE_KIND,
    SMALL_SHARE,
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
    share = _macro_share(regime)
    if share == 0.0:
        return reasons.MACRO
    if side < 0.0 and terms[PERPETUAL] == 0.0:
        return reasons.SHORT_NEEDS_PERPETUAL
    return _order(book, terms, plan, registers, outputs, s, side, share, close)


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
    elif plan[REGIME_EXIT] == 1.0:
        book[PENDING_EXIT] = regime_exit(plan, regime)


@inlined_kernel
def regime_exit(plan: FloatArray, regime: float) -> int:
    """Return why a strategy that leaves by regime leaves in this one; 0 for staying."""
    if not regime_declared(plan, regime):
        return reasons.REGIME_EXIT
    return reasons.MACRO_EXIT if int(regime) // MACRO == RISK_OFF else reasons.NONE


@inlined_kernel
def _order(
    book: FloatArray,
    terms: FloatArray,
    plan: FloatArray,
    registers: FloatArray,
    outputs: IntArray,
    s: int,
    side: float,
    share: float,
    close: float,
) -> int:
    """Freeze stop distance and quantity, a share of what all other rules allow, for the next open."""
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
    quantity = whole_lots(min(quantity, terms[LEVERAGE] * equity / close) * share, terms)
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
    market = int(regime) % MACRO
    return market > 0 and (int(plan[REGIME_MASK]) >> market) & 1 == 1


@inlined_kernel
def _macro_share(regime: float) -> float:
    """Return the share of an entry's size that the macro state allows; the whole where none is in use."""
    state = int(regime) // MACRO
    if state == 0 or state == RISK_ON:
        return 1.0
    return SMALL_SHARE if state == RISK_SMALL else 0.0
