"""The deterministic core: a block of base bars through every slot's own book and the account, bar by bar.

Whatever is remembered lies in one flat float64 array: the account's part (see the cells below), the clocks
of regimes and macro states, then for each slot its state (resampling, own book, program) and its book in the
account. No clock, file or random source is read here. All kernels that are not the engine's stand in this
file, since numba's cache does not notice a change in another one; the engine's sources name the cache's folder.

How several books share one cash, their room and their liquidation, stands in `engine.account`; all slots
here hold the same market. What stands here are the executor's own rules: the map's vetoes, cooldown, and the
limits on daily loss and drawdown.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from research_lab.engine import account, broker, layout, program, reasons, resampling
from research_lab.engine.account import CASH, EQUITY, MAX_QUANTA, QUANTUM, Books
from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.engine.layout import BOOK_SIZE
from research_lab.engine.program import N_MARKET
from research_lab.engine.slot import BOOK_AT, PROGRAM_AT, SEEN_AT, advance_regimes

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
MAX_SERIES: Final = 8

# The peak of the last 72 hours is that of 73 hourly cells, the running hour among them: never less than 72
# hours are remembered, at most 73.
N_HOURS: Final = 73

__all__ = ["CASH", "EQUITY", "MAX_QUANTA", "QUANTUM"]  # the engine's, and read from here with the others

# Cells of the account's part of the state, after the cash in whole quanta and the equity.
DAY: Final = 2  # UTC day in which the last bar ended, days since 1970; midnight ends the old day
DAY_START: Final = 3  # equity at that day's first moment
DAY_LOST: Final = 4  # 1 when the daily loss was reached in that day
DRAWN: Final = 5  # 1 while the drawdown limit is exceeded
PEAK: Final = 6  # highest equity in the hours remembered
RAW: Final = 7  # code of the last regime bar
RUN: Final = 8  # regime bars in a row with that code
CONFIRMED: Final = 9  # the code after hysteresis
BARS: Final = 10  # base bars seen
HOURS_AT: Final = 11  # which hour each cell holds, hours since 1970
PEAKS_AT: Final = HOURS_AT + N_HOURS
REGIMES_AT: Final = PEAKS_AT + N_HOURS

# What every bar and slot leaves behind; columns of the events.
SLOT_REASON: Final = 0
ACCOUNT_REASON: Final = 1
VETO: Final = 2  # the first rule that would refuse an entry at this close, 0 for none
N_CODES: Final = 3
SLOT_EQUITY: Final = 0
SLOT_POSITION: Final = 1
ACCOUNT_POSITION: Final = 2
ACCOUNT_FLOW: Final = 3  # change of cash by this slot in this bar, whole quanta
ORDERED: Final = 4  # signed quantity ordered for the next open
EXIT_ORDERED: Final = 5  # why the position is to be closed at the next open, 0 when it is not
N_FIGURES: Final = 6
N_ACCOUNT: Final = HOURS_AT  # the account's cells that are written out


class Feed(NamedTuple):
    """A block of base bars; late: 1.0 for a bar that came too late to act on."""

    time: IntArray
    inputs: FloatArray
    funding_due: FloatArray
    late: FloatArray


class Clock(NamedTuple):
    """The conditions of regimes or macro states, as in `CompiledRegimes`; without outputs none is known."""

    code: IntArray
    values: FloatArray
    outputs: IntArray
    codes: IntArray
    timing: IntArray  # warm-up in bars, length of a bar in ms, first cell of its state, code for unknown
    series: IntArray  # the feed's rows read besides the market's


class Slots(NamedTuple):
    """All slots one after the other, in map order.

    Parameters
    ----------
    code, values : instructions. rows : (K + 1,) where each slot's begin.
    outputs : (K, N_SIGNALS) as the broker takes them. step_ms : (K,). state_at : (K + 1,) places in the state.
    since : (K, 2) ms, first bar on which the slot's own book and the account may decide an entry.
    series : (K, MAX_SERIES) the feed's row behind each input register after the closing time, -1 for none.
    expires : (K,) ms. masks : (K,) bits of regimes selected, 0 for all. shadow : (K,) 1 without capital.
    research : (TERMS_SIZE,) terms of the slots' own books. books : the slots' books in the account.
    """

    code: IntArray
    values: FloatArray
    rows: IntArray
    outputs: IntArray
    step_ms: IntArray
    state_at: IntArray
    since: IntArray
    series: IntArray
    expires: IntArray
    masks: IntArray
    shadow: IntArray
    research: FloatArray
    books: Books


class Rules(NamedTuple):
    """Grid, map and limits; daily loss and drawdown are shares of equity."""

    base_ms: int
    min_bars_hold: int
    cooldown_bars: int
    daily_loss: float
    drawdown: float


class Scratch(NamedTuple):
    """Room for one bar: its inputs, registers, completed bars, regime, macro state, and what the broker writes."""

    inputs: FloatArray
    registers: FloatArray
    emitted_at: IntArray
    regime: FloatArray
    macro: FloatArray
    equity: FloatArray
    position: FloatArray
    reason: IntArray


class Events(NamedTuple):
    """What happened, written by `advance`.

    Parameters
    ----------
    account : (n, N_ACCOUNT) the account's cells after each bar. regime : (n,) raw code, with the macro state.
    codes : (n, K, N_CODES). figures : (n, K, N_FIGURES).
    slot_fills, account_fills : (capacity, FILL_SIZE). slot_of, account_of : whose each fill is.
    n_fills : (2,) rows written of each.
    """

    account: FloatArray
    regime: FloatArray
    codes: IntArray
    figures: FloatArray
    slot_fills: FloatArray
    slot_of: IntArray
    account_fills: FloatArray
    account_of: IntArray
    n_fills: IntArray


def open_account(state: FloatArray, quanta: float) -> None:
    """Begin the account's part of the state, in place."""
    state[:REGIMES_AT] = 0.0
    state[CASH] = quanta
    state[EQUITY] = quanta * QUANTUM
    state[DAY] = -1.0
    state[HOURS_AT:PEAKS_AT] = -math.inf


@kernel
def advance(
    feed: Feed,
    clock: Clock,
    macro: Clock,
    slots: Slots,
    rules: Rules,
    scratch: Scratch,
    state: FloatArray,
    events: Events,
) -> None:
    """Step every slot and the account over a block of bars, in time order; any cut gives the same bits."""
    events.n_fills[0] = 0
    events.n_fills[1] = 0
    for t in range(feed.time.shape[0]):
        for row in range(N_MARKET):
            scratch.inputs[row, 0] = feed.inputs[row, t]
        _advance_regime(feed, clock, rules, scratch, state, t)
        _add_macro(feed, macro, rules, scratch, state, t)
        events.regime[t] = scratch.regime[0]
        for k in range(slots.step_ms.shape[0]):
            _open_account_bar(feed, slots, state, events, t, k)
        for k in range(slots.step_ms.shape[0]):
            _go_through_account_bar(feed, slots, state, events, t, k)
        for k in range(slots.step_ms.shape[0]):
            m = _step_slot(feed, slots, rules, scratch, state, events, t, k)
            _close_account_bar(feed, slots, rules, scratch, state, events, t, k, m)
        _mark(feed, slots, rules, state, t)
        _apply_limits(slots, state, events, t)
        for k in range(slots.step_ms.shape[0]):
            _note(feed, slots, rules, state, events, t, k)
        state[BARS] += 1.0
        for cell in range(N_ACCOUNT):
            events.account[t, cell] = state[cell]


@kernel
def _advance_regime(
    feed: Feed, clock: Clock, rules: Rules, scratch: Scratch, state: FloatArray, t: int
) -> None:
    """Move the regime clock; a code that came `min_bars_hold` times in a row is confirmed."""
    scratch.regime[0] = 0.0
    if clock.outputs.shape[0] == 0:
        return
    memory = state[clock.timing[2] :]
    seen = memory[SEEN_AT]
    advance_regimes(
        clock.code, clock.values, clock.outputs, clock.codes, clock.timing[0], rules.base_ms,
        clock.timing[1], memory, scratch.registers, scratch.emitted_at, feed.time[t : t + 1],
        scratch.inputs[:N_MARKET], scratch.regime,
    )  # fmt: skip
    for s in range(int(memory[SEEN_AT] - seen)):
        code = scratch.registers[0, s]
        state[RUN] = state[RUN] + 1.0 if code == state[RAW] else 1.0
        state[RAW] = code
        if state[RUN] >= rules.min_bars_hold:
            state[CONFIRMED] = code


@kernel
def _add_macro(feed: Feed, macro: Clock, rules: Rules, scratch: Scratch, state: FloatArray, t: int) -> None:
    """Add the macro state to the regime's code; it acts at once, since it only ever makes entries smaller."""
    scratch.macro[0] = 0.0
    if macro.outputs.shape[0] > 0:
        n_rows = N_MARKET + macro.series.shape[0]
        for k in range(macro.series.shape[0]):
            scratch.inputs[N_MARKET + k, 0] = feed.inputs[macro.series[k], t]
        advance_regimes(
            macro.code, macro.values, macro.outputs, macro.codes, macro.timing[0], rules.base_ms,
            macro.timing[1], state[macro.timing[2] :], scratch.registers, scratch.emitted_at,
            feed.time[t : t + 1], scratch.inputs[:n_rows], scratch.macro,
        )  # fmt: skip
    scratch.regime[0] += scratch.macro[0] if scratch.macro[0] != 0.0 else macro.timing[3]


@kernel
def _step_slot(
    feed: Feed,
    slots: Slots,
    rules: Rules,
    scratch: Scratch,
    state: FloatArray,
    events: Events,
    t: int,
    k: int,
) -> int:
    """Advance a slot's program and its own book by one bar; return how many of its bars completed."""
    own = state[slots.state_at[k] : slots.state_at[k + 1]]
    m = resampling.resample(
        own[:BOOK_AT], feed.time[t : t + 1], scratch.inputs[:N_MARKET], rules.base_ms, slots.step_ms[k],
        scratch.registers, scratch.emitted_at,
    )  # fmt: skip
    for s in range(m):
        for column in range(MAX_SERIES):
            if slots.series[k, column] >= 0:
                scratch.registers[program.N_INPUTS + column, s] = feed.inputs[slots.series[k, column], t]
    rows = slots.rows
    program.advance(
        slots.code[rows[k] : rows[k + 1]], slots.values[rows[k] : rows[k + 1]], own[PROGRAM_AT:],
        scratch.registers, m,
    )  # fmt: skip
    at = events.n_fills[0]
    bar = int(state[BARS])
    start = bar if feed.time[t] >= slots.since[k, 0] else bar + 1
    n = broker.step(
        own[BOOK_AT:PROGRAM_AT], slots.books.plans[k], slots.research, scratch.inputs,
        feed.funding_due[t : t + 1], scratch.regime, scratch.registers, slots.outputs[k],
        scratch.emitted_at, m, bar, start, reasons.NONE, scratch.equity, scratch.position, scratch.reason,
        events.slot_fills[at:],
    )  # fmt: skip
    for row in range(at, at + n):
        events.slot_of[row] = k
    events.n_fills[0] += n
    events.codes[t, k, SLOT_REASON] = scratch.reason[0]
    events.figures[t, k, SLOT_EQUITY] = scratch.equity[0]
    events.figures[t, k, SLOT_POSITION] = scratch.position[0]
    return m


@kernel
def _open_account_bar(feed: Feed, slots: Slots, state: FloatArray, events: Events, t: int, k: int) -> None:
    """Take the account's book of one slot through the open; on a late bar orders are not filled."""
    book = state[slots.books.book_at[k] : slots.books.book_at[k] + BOOK_SIZE]
    events.figures[t, k, ACCOUNT_FLOW] = 0.0
    waiting = 0.0
    if feed.late[t] == 1.0:
        waiting = book[layout.PENDING_EXIT]
        book[layout.PENDING_EXIT] = 0.0
        book[layout.PENDING_SIDE] = 0.0
    before = state[CASH]
    n, _ = account.open_bar(
        slots.books, state, feed.inputs[0, t : t + 1], k, feed.inputs[0, t], feed.funding_due[t],
        int(state[BARS]), events.account_fills, events.n_fills[1],
    )  # fmt: skip
    if waiting != 0.0 and book[layout.QUANTITY] != 0.0:
        book[layout.PENDING_EXIT] = waiting
    _note_flow(state, events, t, k, n, before)


@kernel
def _go_through_account_bar(
    feed: Feed, slots: Slots, state: FloatArray, events: Events, t: int, k: int
) -> None:
    """Take the account's book of one slot through the inside of the bar."""
    before = state[CASH]
    n = account.go_through_bar(
        slots.books, state, feed.inputs[0, t : t + 1], k, feed.inputs[0, t], feed.inputs[1, t],
        feed.inputs[2, t], int(state[BARS]), events.account_fills, events.n_fills[1],
    )  # fmt: skip
    _note_flow(state, events, t, k, n, before)


@kernel
def _close_account_bar(
    feed: Feed,
    slots: Slots,
    rules: Rules,
    scratch: Scratch,
    state: FloatArray,
    events: Events,
    t: int,
    k: int,
    m: int,
) -> None:
    """Take the account's book of one slot through the close, and refuse what cooldown refuses."""
    book = state[slots.books.book_at[k] : slots.books.book_at[k] + BOOK_SIZE]
    barred = reasons.INACTIVE
    if feed.time[t] >= slots.since[k, 1]:
        barred = _veto_of_map(feed, slots, rules, state, t, k)
    before = state[CASH]
    n, _, decision = account.close_bar(
        slots.books, state, feed.inputs[3, t : t + 1], k, feed.inputs[1, t], feed.inputs[2, t],
        scratch.regime[0], scratch.registers, slots.outputs[k], scratch.emitted_at, m, int(state[BARS]), 0, 0,
        barred, events.account_fills, events.n_fills[1],
    )  # fmt: skip
    if book[layout.PENDING_SIDE] != 0.0 and _cooling(book, rules):
        book[layout.PENDING_SIDE] = 0.0
        decision = reasons.COOLDOWN
    events.codes[t, k, ACCOUNT_REASON] = decision
    _note_flow(state, events, t, k, n, before)


@kernel
def _note_flow(state: FloatArray, events: Events, t: int, k: int, n: int, before: float) -> None:
    """Note what slot k did to the account: its cash, and whose the new fills are, n in all."""
    for row in range(events.n_fills[1], n):
        events.account_of[row] = k
    events.n_fills[1] = n
    events.figures[t, k, ACCOUNT_FLOW] += state[CASH] - before


@kernel
def _cooling(book: FloatArray, rules: Rules) -> bool:
    """Whether too few strategy bars have passed since the last exit; a reversal waits as well."""
    if rules.cooldown_bars == 0:
        return False
    if book[layout.QUANTITY] != 0.0:
        return True
    return bool(book[layout.STRATEGY_BARS] - book[layout.LAST_EXIT] < rules.cooldown_bars)


@kernel
def _veto_of_map(feed: Feed, slots: Slots, rules: Rules, state: FloatArray, t: int, k: int) -> int:
    """Return why stage, expiry, feed or selection refuse an entry at this bar's close; 0 when they do not."""
    if slots.shadow[k] == 1:
        return reasons.STAGE_SHADOW
    if feed.time[t] + rules.base_ms >= slots.expires[k]:
        return reasons.EXPIRED
    if feed.late[t] == 1.0:
        return reasons.LATE_BAR
    confirmed = int(state[CONFIRMED])
    if slots.masks[k] != 0 and (confirmed == 0 or (slots.masks[k] >> confirmed) & 1 == 0):
        return reasons.NOT_SELECTED
    return reasons.NONE


@kernel
def _standing_veto(feed: Feed, slots: Slots, rules: Rules, state: FloatArray, t: int, k: int) -> int:
    """Return the first rule that refuses, or would refuse, an entry at this close."""
    if feed.time[t] < slots.since[k, 1]:
        return reasons.INACTIVE
    veto = _veto_of_map(feed, slots, rules, state, t, k)
    if veto != reasons.NONE:
        return veto
    book = state[slots.books.book_at[k] : slots.books.book_at[k] + BOOK_SIZE]
    if book[layout.QUANTITY] == 0.0 and _cooling(book, rules):
        return reasons.COOLDOWN
    if state[DAY_LOST] == 1.0:
        return reasons.DAILY_LOSS
    if state[DRAWN] == 1.0:
        return reasons.DRAWDOWN
    return reasons.NONE


@kernel
def _mark(feed: Feed, slots: Slots, rules: Rules, state: FloatArray, t: int) -> None:
    """Value the account at the close, and compare it with the day's start and the peak of 72 hours.

    A bar that closes at midnight belongs to the day that ends there, and is compared with that day's start;
    the next bar begins a day, from the equity of the last close before it.
    """
    before = state[EQUITY]
    equity = account.worth(slots.books, state, feed.inputs[3, t : t + 1])
    state[EQUITY] = equity
    close_ms = feed.time[t] + rules.base_ms
    day = (close_ms - 1) // DAY_MS
    if day != int(state[DAY]):
        state[DAY] = day
        state[DAY_START] = before
        state[DAY_LOST] = 0.0
    if equity <= state[DAY_START] * (1.0 - rules.daily_loss):
        state[DAY_LOST] = 1.0
    hour = close_ms // HOUR_MS
    cell = hour % N_HOURS
    if state[HOURS_AT + cell] != hour:
        state[HOURS_AT + cell] = hour
        state[PEAKS_AT + cell] = equity
    state[PEAKS_AT + cell] = max(state[PEAKS_AT + cell], equity)
    peak = equity
    for other in range(N_HOURS):
        if state[HOURS_AT + other] > hour - N_HOURS:
            peak = max(peak, state[PEAKS_AT + other])
    state[PEAK] = peak
    state[DRAWN] = 1.0 if equity <= peak * (1.0 - rules.drawdown) else 0.0


@kernel
def _apply_limits(slots: Slots, state: FloatArray, events: Events, t: int) -> None:
    """Take back entries ordered at this close, and order every position out when drawn down."""
    if state[DAY_LOST] == 0.0 and state[DRAWN] == 0.0:
        return
    limit = reasons.DAILY_LOSS if state[DAY_LOST] == 1.0 else reasons.DRAWDOWN
    for k in range(slots.step_ms.shape[0]):
        book = state[slots.books.book_at[k] : slots.books.book_at[k] + BOOK_SIZE]
        if book[layout.PENDING_SIDE] != 0.0:
            book[layout.PENDING_SIDE] = 0.0
            events.codes[t, k, ACCOUNT_REASON] = limit
        if state[DRAWN] == 1.0 and book[layout.QUANTITY] != 0.0 and book[layout.PENDING_EXIT] == 0.0:
            book[layout.PENDING_EXIT] = reasons.RISK_EXIT
            events.codes[t, k, ACCOUNT_REASON] = reasons.EXIT_ORDERED


@kernel
def _note(feed: Feed, slots: Slots, rules: Rules, state: FloatArray, events: Events, t: int, k: int) -> None:
    """Write down what stands for slot k in the account when the bar is over."""
    book = state[slots.books.book_at[k] : slots.books.book_at[k] + BOOK_SIZE]
    events.codes[t, k, VETO] = _standing_veto(feed, slots, rules, state, t, k)
    events.figures[t, k, ACCOUNT_POSITION] = book[layout.QUANTITY]
    events.figures[t, k, ORDERED] = book[layout.PENDING_SIDE] * book[layout.PENDING_QUANTITY]
    events.figures[t, k, EXIT_ORDERED] = book[layout.PENDING_EXIT] if book[layout.QUANTITY] != 0.0 else 0.0


def new_scratch(n_registers: int) -> Scratch:
    """Return room for one bar of slots with at most so many registers."""
    return Scratch(
        np.zeros((N_MARKET + MAX_SERIES, 1)),
        np.zeros((n_registers, 3)),  # a bar completes at most two of a slot's, and those three of theirs
        np.zeros(2, np.int64),
        np.zeros(1),
        np.zeros(1),
        np.zeros(1),
        np.zeros(1),
        np.zeros(1, np.int64),
    )


def new_events(n_bars: int, n_slots: int) -> Events:
    """Return room for the events of a block."""
    capacity = n_bars * n_slots * layout.MAX_FILLS_PER_BAR
    return Events(
        np.zeros((n_bars, N_ACCOUNT)),
        np.zeros(n_bars),
        np.zeros((n_bars, n_slots, N_CODES), np.int64),
        np.zeros((n_bars, n_slots, N_FIGURES)),
        np.zeros((capacity, layout.FILL_SIZE)),
        np.zeros(capacity, np.int64),
        np.zeros((capacity, layout.FILL_SIZE)),
        np.zeros(capacity, np.int64),
        np.zeros(2, np.int64),
    )
