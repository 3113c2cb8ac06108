"""Protection of a position: stop, liquidation, takes, trailing and breakeven; touching a level reaches it."""

from __future__ import annotations

import math

from research_lab.engine import reasons
from research_lab.engine.jit import FloatArray, inlined_kernel, kernel
from research_lab.engine.layout import (
    BEST,
    BREAKEVEN,
    ENTRY_PRICE,
    FEE,
    GOAL,
    GUARD,
    LIQUIDATION_FEE,
    LOT,
    LOT_TOLERANCE,
    N_TAKES,
    PENDING_EXIT,
    PENDING_SIDE,
    QUANTITY,
    SLIPPAGE,
    STOP,
    TAKE_AT,
    TAKE_SHARE,
    TAKES_DONE,
    TRAIL,
    TRAIL_AFTER,
    R,
)
from research_lab.engine.settlement import close_all, fill, liquidation_level, to_tick, whole_lots


@inlined_kernel
def something_happens(book: FloatArray, high: float, low: float, funding_due: float) -> bool:
    """Whether this bar can fill or pay anything; the open lies between low and high."""
    if book[PENDING_SIDE] != 0.0 or book[PENDING_EXIT] != 0.0 or funding_due != 0.0:
        return True
    return is_reached(book, high, low)


@inlined_kernel
def is_reached(book: FloatArray, high: float, low: float) -> bool:
    """Whether a bar reaches a level that is watched."""
    if book[QUANTITY] > 0.0:
        return low <= book[GUARD] or high >= book[GOAL]
    return high >= book[GUARD] or low <= book[GOAL]


@kernel
def watch(book: FloatArray, terms: FloatArray, plan: FloatArray) -> None:
    """Note the levels at which something happens to the position."""
    book[GUARD] = math.nan
    book[GOAL] = math.nan
    if book[QUANTITY] == 0.0:
        return
    side = math.copysign(1.0, book[QUANTITY])
    liquidation = liquidation_level(book, terms)
    stop = book[STOP]
    nearer = math.isnan(stop) or (liquidation - stop) * side > 0.0
    book[GUARD] = liquidation if nearer else stop
    if book[TAKES_DONE] < plan[N_TAKES]:
        book[GOAL] = _take_level(book, terms, plan, side)


@inlined_kernel
def _take_level(book: FloatArray, terms: FloatArray, plan: FloatArray, side: float) -> float:
    k = int(book[TAKES_DONE])
    return to_tick(book[ENTRY_PRICE] + side * plan[TAKE_AT + k] * book[R], terms)


@kernel
def gap(
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
    liquidation = liquidation_level(book, terms)
    stop = book[STOP]
    stop_first = not math.isnan(stop) and (math.isnan(liquidation) or (stop - liquidation) * side >= 0.0)
    level = stop if stop_first else liquidation
    if not math.isnan(level) and (price - level) * side <= 0.0:
        market = price * (1.0 - terms[SLIPPAGE] * side)
        rate = terms[FEE] if stop_first else terms[FEE] + terms[LIQUIDATION_FEE]
        why = reasons.STOP if stop_first else reasons.LIQUIDATION
        return close_all(book, terms, market, rate, why, bar, fills, n_fills)
    return take(book, terms, plan, price, price, side, bar, fills, n_fills)


@kernel
def protective_exit(
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
    liquidation = liquidation_level(book, terms)
    stop = book[STOP]
    nearer = math.isnan(stop) or (liquidation - stop) * side > 0.0
    if nearer and (worst - liquidation) * side <= 0.0:
        price = min(open_, liquidation) if side > 0.0 else max(open_, liquidation)
        rate = terms[FEE] + terms[LIQUIDATION_FEE]
        return close_all(book, terms, price, rate, reasons.LIQUIDATION, bar, fills, n_fills)
    if (worst - stop) * side <= 0.0:
        price = min(open_, stop) if side > 0.0 else max(open_, stop)
        price *= 1.0 - terms[SLIPPAGE] * side
        return close_all(book, terms, price, terms[FEE], reasons.STOP, bar, fills, n_fills)
    return n_fills


@kernel
def take(
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
        quantity = whole_lots(share * remaining, terms)
        book[TAKES_DONE] += 1.0
        if share >= 1.0 or remaining - quantity < terms[LOT] * (1.0 - LOT_TOLERANCE):
            n_fills = close_all(book, terms, price, terms[FEE], reasons.TAKE, bar, fills, n_fills)
        elif quantity > 0.0:
            n_fills = fill(
                book, terms, -side * quantity, price, terms[FEE], reasons.TAKE, bar, fills, n_fills
            )
    return n_fills


@kernel
def renew_trail(book: FloatArray, distance: float) -> None:
    """Take a strategy bar's trailing distance; one that is unknown or not above zero leaves the last."""
    if math.isfinite(distance) and distance > 0.0:
        book[TRAIL] = distance


@kernel
def protect(
    book: FloatArray,
    terms: FloatArray,
    plan: FloatArray,
    trailing: bool,
    high: float,
    low: float,
) -> None:
    """Move the stop by trailing and breakeven, only ever nearer; it acts from the next bar on."""
    side = math.copysign(1.0, book[QUANTITY])
    if trailing:
        book[BEST] = max(book[BEST], high) if side > 0.0 else min(book[BEST], low)
        gained = (book[BEST] - book[ENTRY_PRICE]) * side
        if not math.isnan(book[TRAIL]) and (
            plan[TRAIL_AFTER] == 0.0 or gained >= plan[TRAIL_AFTER] * book[R]
        ):
            _tighten(book, terms, book[BEST] - side * book[TRAIL], side)
    if plan[BREAKEVEN] == 1.0 and book[TAKES_DONE] >= 1.0:
        _tighten(book, terms, book[ENTRY_PRICE], side)


@kernel
def _tighten(book: FloatArray, terms: FloatArray, price: float, side: float) -> None:
    level = to_tick(price, terms)
    if math.isnan(book[STOP]) or (level - book[STOP]) * side > 0.0:
        book[STOP] = level
        if math.isnan(book[GUARD]) or (level - book[GUARD]) * side > 0.0:
            book[GUARD] = level
