"""Quiet bars: those on which nothing can be filled, paid, moved beyond the stop, or ordered.

Most bars of most strategies are quiet, so this is what makes a sweep fast: the next bar that is not is found
by scanning signals and prices in chunks, many bars to an instruction of the processor, and the bars before
it are marked in one go. Ending a quiet stretch at any bar is right: a step in full order gives the same
answer for a quiet bar.
"""

from __future__ import annotations

import math
from typing import Final

from research_lab.engine import reasons
from research_lab.engine.decision import regime_exit
from research_lab.engine.jit import FloatArray, IntArray, inlined_kernel, kernel
from research_lab.engine.layout import (
    BARS_IN_POSITION,
    BEST,
    ENTER_LONG,
    ENTER_SHORT,
    ENTRY_PRICE,
    EQUITY,
    EXIT_LONG,
    EXIT_SHORT,
    GOAL,
    GUARD,
    HELD,
    LEVERAGE,
    PENDING_EXIT,
    PENDING_SIDE,
    PERPETUAL,
    QUANTITY,
    REGIME_EXIT,
    RUN_OVER,
    STOP,
    STRATEGY_BARS,
    TIME_STOP,
    TRAIL,
    TRAIL_AFTER,
    TRAIL_DISTANCE,
    WARMUP,
    R,
)
from research_lab.engine.settlement import money, to_tick

CHUNK: Final = 16  # bars looked at together
WIDEST: Final = 1024


@inlined_kernel
def quiet_until(
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
    t: int,
    s: int,
) -> tuple[int, int]:
    """Return the next base bar that is not quiet, and the next strategy bar then.

    Parameters are those of `broker.step`; a trailing stop is moved in the book on the way.
    """
    if book[PENDING_SIDE] != 0.0 or book[PENDING_EXIT] != 0.0 or book[RUN_OVER] == 1.0:
        return t, s
    n = inputs.shape[1]
    held = book[QUANTITY] != 0.0
    s_timed = m
    if held and plan[TIME_STOP] > 0.0:
        s_timed = min(m, s + int(max(plan[TIME_STOP] - 1.0 - book[HELD], 0.0)))
    width = CHUNK
    while t < n:
        # a window at a time, each twice as wide: what is scanned beyond the stretch's end is wasted
        end = min(t + width, n)
        s_end = _first_at(emitted_at, s, m, end)
        if held:
            s_order = _exit_order(book, plan, regime, registers, outputs, emitted_at, s, min(s_end, s_timed))
        else:
            s_order = _next_true(registers, outputs[ENTER_LONG], s, s_end)
            s_order = _next_true(registers, outputs[ENTER_SHORT], s, s_order)
        found = emitted_at[s_order] if s_order < s_end else end
        if held and outputs[TRAIL_DISTANCE] >= 0:
            found = _trail(
                book, plan, terms, inputs, funding_due, registers[outputs[TRAIL_DISTANCE]], emitted_at,
                t, found, s, s_end,
            )  # fmt: skip
        elif held:
            found = _untouched(book, terms, inputs, funding_due, t, found)
        if found < end:
            return found, _first_at(emitted_at, s, s_end, found)
        t, s = end, s_end
        width = min(2 * width, WIDEST)
    return t, s


@inlined_kernel
def _first_at(emitted_at: IntArray, s: int, m: int, t: int) -> int:
    """Return the first strategy bar from `s` on that completes at base bar `t` or later; m for none."""
    if s < m:
        # where bars complete one by one, it is as far as the base bar
        near = s + t - emitted_at[s]
        if s < near < m and emitted_at[near] >= t and emitted_at[near - 1] < t:
            return near
    low, high = s, m
    while low < high:
        middle = (low + high) // 2
        if emitted_at[middle] < t:
            low = middle + 1
        else:
            high = middle
    return low


@inlined_kernel
def mark(
    book: FloatArray,
    plan: FloatArray,
    terms: FloatArray,
    close: FloatArray,
    registers: FloatArray,
    outputs: IntArray,
    emitted_at: IntArray,
    t: int,
    s: int,
    s_end: int,
    equity: FloatArray,
    position: FloatArray,
    reason: IntArray,
) -> None:
    """Mark quiet bars from `t` on, one for each close, and strategy bars from `s` to before `s_end`."""
    cash, quantity = money(book, terms), book[QUANTITY]
    n = close.shape[0]
    for k in range(n):
        equity[k] = cash + quantity * close[k]
    if reason.shape[0] > 0:
        position[t : t + n] = quantity
        reason[t : t + n] = reasons.NO_STRATEGY_BAR
        for k in range(s, s_end):
            reason[emitted_at[k]] = _idle(
                book, plan, registers, outputs, k, book[STRATEGY_BARS] + k - s + 1.0
            )
    book[EQUITY] = equity[n - 1]
    book[STRATEGY_BARS] += s_end - s
    if quantity != 0.0:
        book[HELD] += s_end - s
        book[BARS_IN_POSITION] += n


@inlined_kernel
def _idle(
    book: FloatArray, plan: FloatArray, registers: FloatArray, outputs: IntArray, s: int, bars: float
) -> int:
    """Return why nothing is ordered at a quiet strategy bar."""
    if book[QUANTITY] != 0.0:
        return reasons.HOLDING
    if bars < plan[WARMUP]:
        return reasons.WARMING
    long, short = outputs[ENTER_LONG], outputs[ENTER_SHORT]
    if (long >= 0 and math.isnan(registers[long, s])) or (short >= 0 and math.isnan(registers[short, s])):
        return reasons.UNKNOWN
    return reasons.NO_SIGNAL


@inlined_kernel
def _next_true(registers: FloatArray, register: int, s: int, m: int) -> int:
    """Return the first strategy bar from `s` on at which a condition is definitely true; m for none."""
    if register < 0:
        return m
    signal = registers[register, s:m]
    for k in range(signal.shape[0]):
        if signal[k] == 1.0:
            return s + k
    return m


@inlined_kernel
def _exit_order(
    book: FloatArray,
    plan: FloatArray,
    regime: FloatArray,
    registers: FloatArray,
    outputs: IntArray,
    emitted_at: IntArray,
    s: int,
    m: int,
) -> int:
    """Return the first strategy bar from `s` on that orders an exit by signal or regime; m for none."""
    m = _next_true(registers, outputs[EXIT_LONG] if book[QUANTITY] > 0.0 else outputs[EXIT_SHORT], s, m)
    if plan[REGIME_EXIT] == 1.0:
        for k in range(s, m):
            if regime_exit(plan, regime[emitted_at[k]]) != reasons.NONE:
                return k
    return m


@inlined_kernel
def _untouched(
    book: FloatArray, terms: FloatArray, inputs: FloatArray, funding_due: FloatArray, t: int, end: int
) -> int:
    """Return the first base bar from `t` on that reaches stop, liquidation or take, or pays; `end` for none."""
    long = book[QUANTITY] > 0.0
    if terms[PERPETUAL] == 1.0 or terms[LEVERAGE] > 1.0 or not long:
        end = _next_payment(book, terms, inputs, funding_due, t, end)
    if math.isnan(book[GUARD]) and math.isnan(book[GOAL]):
        return end
    if long:
        return _next_outside(inputs[2, t:end], inputs[1, t:end], book[GUARD], book[GOAL], t)
    return _next_outside(inputs[2, t:end], inputs[1, t:end], book[GOAL], book[GUARD], t)


@inlined_kernel
def _next_outside(low: FloatArray, high: FloatArray, floor: float, ceiling: float, t: int) -> int:
    """Return the first bar that reaches one of two levels, counted from `t`; NaN is out of reach."""
    n = low.shape[0]
    k = 0
    while k < n:
        lows, highs = low[k : min(k + CHUNK, n)], high[k : min(k + CHUNK, n)]
        n_outside = 0
        for j in range(lows.shape[0]):
            n_outside += 1 if (lows[j] <= floor) | (highs[j] >= ceiling) else 0
        if n_outside > 0:
            for j in range(lows.shape[0]):
                if lows[j] <= floor or highs[j] >= ceiling:
                    return t + k + j
        k += CHUNK
    return t + n


@kernel
def _next_payment(
    book: FloatArray, terms: FloatArray, inputs: FloatArray, funding_due: FloatArray, t: int, end: int
) -> int:
    """Return the first bar from `t` on at which funding is due or the equity is gone; `end` for none."""
    cash, quantity = money(book, terms), book[QUANTITY]
    for k in range(t, end):
        if funding_due[k] != 0.0 or cash + quantity * inputs[3, k] <= 0.0:
            return k
    return end


@kernel
def _trail(
    book: FloatArray,
    plan: FloatArray,
    terms: FloatArray,
    inputs: FloatArray,
    funding_due: FloatArray,
    distances: FloatArray,
    emitted_at: IntArray,
    t: int,
    end: int,
    s: int,
    s_end: int,
) -> int:
    """Move a trailing stop bar by bar; return the first bar that reaches a level, or pays; `end` for none."""
    quantity = book[QUANTITY]
    side = math.copysign(1.0, quantity)
    cash = money(book, terms)
    guard, goal, stop, trail, best = book[GUARD], book[GOAL], book[STOP], book[TRAIL], book[BEST]
    entry_price = book[ENTRY_PRICE]
    armed = plan[TRAIL_AFTER] * book[R] if plan[TRAIL_AFTER] > 0.0 else -math.inf
    favourable = inputs[1] if side > 0.0 else inputs[2]
    adverse = inputs[2] if side > 0.0 else inputs[1]
    while t < end:
        if (adverse[t] - guard) * side <= 0.0 or (favourable[t] - goal) * side >= 0.0:
            break
        if funding_due[t] != 0.0 or cash + quantity * inputs[3, t] <= 0.0:
            break
        renewed = False
        while s < s_end and emitted_at[s] == t:
            renewed = True
            s += 1
        if renewed and math.isfinite(distances[s - 1]) and distances[s - 1] > 0.0:
            trail = distances[s - 1]
        if (favourable[t] - best) * side > 0.0:
            best = favourable[t]
        if (best - entry_price) * side >= armed and not math.isnan(trail):
            level = to_tick(best - side * trail, terms)
            if math.isnan(stop) or (level - stop) * side > 0.0:
                stop = level
                if math.isnan(guard) or (level - guard) * side > 0.0:
                    guard = level
        t += 1
    book[GUARD], book[STOP], book[TRAIL], book[BEST] = guard, stop, trail, best
    return t
