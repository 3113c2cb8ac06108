"""The steps of a portfolio's account: a block of times through open, inside and close, slot by slot.

The rules of one cash stand in `engine.account`, those of a portfolio in `engine.portfolio`. Whatever is
remembered lies in one flat float64 array; the cells below say where.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from research_lab.engine import account, broker, layout, metrics, program, reasons, resampling
from research_lab.engine.account import CASH, EQUITY, Books
from research_lab.engine.jit import FloatArray, IntArray, inlined_kernel, kernel
from research_lab.engine.settlement import end_run
from research_lab.engine.slot import BOOK_AT, PROGRAM_AT

# State: the account's cells, its metrics, the markets' last closes, each slot's tally and its memory.
ROWS: Final = 2  # times seen
OVER: Final = 3  # 1 when equity has reached zero
ROWS_EXPOSED: Final = 4  # rows after which any position was open
METRICS_AT: Final = 5
CLOSES_AT: Final = METRICS_AT + metrics.SIZE

# A slot's tally, in units of cash; then its metrics.
FLOW: Final = 0  # what it has brought into the cash, all told
FEES: Final = 1
FUNDING: Final = 2
TALLY_METRICS: Final = 3
TALLY_SIZE: Final = TALLY_METRICS + metrics.SIZE

REFUSAL_SIZE: Final = 4  # slot, bar, reason, quantity ordered


class Feed(NamedTuple):
    """A block of W times: (M, W) and quotes (M, 4, W), meaningless where `there` is 0."""

    there: IntArray
    quotes: FloatArray
    funding_due: FloatArray
    regime: FloatArray


class Signals(NamedTuple):
    """What the slots' strategies say in a block.

    Parameters
    ----------
    values : (K, N_SIGNALS, W + 1). roles : (K, N_SIGNALS) the row of each signal, -1 for none.
    emitted_at : (K, W + 1) at which time of the block. n, next : (K,) how many there are, and are used.
    """

    values: FloatArray
    roles: IntArray
    emitted_at: IntArray
    n: IntArray
    next: IntArray


class Places(NamedTuple):
    """What the kernels need besides the books: tallies' places, prices, a spare book, capital, start."""

    tally_at: IntArray
    prices: FloatArray
    spare: FloatArray
    capital: float
    start: int


class Events(NamedTuple):
    """What a block did, written by `advance_account`.

    Parameters
    ----------
    equity, cash, exposure : (W,) in quote currency. position, worth, reason : (K, W); worth is what the
        account would be worth by this slot alone.
    fills : (capacity, FILL_SIZE). fill_of : whose each is. refusals : (capacity, 4) slot, bar, reason,
        signed quantity ordered, 0 at a close. n : (2,) rows written of each.
    """

    equity: FloatArray
    cash: FloatArray
    exposure: FloatArray
    position: FloatArray
    worth: FloatArray
    reason: IntArray
    fills: FloatArray
    fill_of: IntArray
    refusals: FloatArray
    n: IntArray


@kernel
def advance_signals(
    code: IntArray,
    values: FloatArray,
    outputs: IntArray,
    base_ms: int,
    step_ms: int,
    memory: FloatArray,
    registers: FloatArray,
    emitted_at: IntArray,
    time: IntArray,
    inputs: FloatArray,
    signals: FloatArray,
) -> int:
    """Advance one slot's strategy over its market's bars of a block; return how many of its bars completed."""
    m = resampling.resample(memory[:BOOK_AT], time, inputs, base_ms, step_ms, registers, emitted_at)
    program.advance(code, values, memory[PROGRAM_AT:], registers, m)
    for role in range(layout.N_SIGNALS):
        if outputs[role] >= 0:
            for s in range(m):
                signals[role, s] = registers[outputs[role], s]
    return m


@kernel
def advance_account(
    feed: Feed, signals: Signals, books: Books, places: Places, state: FloatArray, events: Events
) -> None:
    """Step the account over a block, time by time and slot by slot; books with nothing to do are passed over."""
    n_slots = books.book_at.shape[0]
    events.n[:] = 0
    for t in range(feed.there.shape[1]):
        _price(feed, places, state, 0, t)
        for k in range(n_slots):
            at = books.book_at[k]
            if feed.there[books.market_of[k], t] == 1 and (
                state[at + layout.QUANTITY] != 0.0 or state[at + layout.PENDING_SIDE] != 0.0
            ):
                _open(feed, books, places, state, events, t, k)
        for k in range(n_slots):
            held = state[books.book_at[k] + layout.QUANTITY] != 0.0
            if held and feed.there[books.market_of[k], t] == 1:
                _go_through(feed, books, places, state, events, t, k)
        _price(feed, places, state, 3, t)
        for k in range(n_slots):
            s = signals.next[k]
            completed = s < signals.n[k] and signals.emitted_at[k, s] == t
            if feed.there[books.market_of[k], t] == 0:
                events.reason[k, t] = reasons.NO_BAR
            elif state[OVER] == 1.0:
                events.reason[k, t] = reasons.RUN_ENDED
            elif completed or state[books.book_at[k] + layout.QUANTITY] != 0.0:
                events.reason[k, t] = _close(feed, signals, books, places, state, events, t, k)
            else:
                events.reason[k, t] = reasons.NO_STRATEGY_BAR
        if state[OVER] == 0.0 and _nothing_is_left(books, places, state):
            _end(books, places, state, events)
        _mark(books, places, state, events, t)
        state[ROWS] += 1.0
    for k in range(n_slots):
        _measure(places, state, events, k, events.worth.shape[1])


@inlined_kernel
def _price(feed: Feed, places: Places, state: FloatArray, row: int, t: int) -> None:
    """Set each market's price to that of its bar, or to its last close where it has none; keep a close."""
    for market in range(places.prices.shape[0]):
        places.prices[market] = state[CLOSES_AT + market]
        if feed.there[market, t] == 1:
            places.prices[market] = feed.quotes[market, row, t]
            if row == 3:
                state[CLOSES_AT + market] = feed.quotes[market, row, t]


@inlined_kernel
def _open(
    feed: Feed, books: Books, places: Places, state: FloatArray, events: Events, t: int, k: int
) -> None:
    """Take slot k through the open, and note an entry refused."""
    book = state[books.book_at[k] : books.book_at[k] + layout.BOOK_SIZE]
    ordered = book[layout.PENDING_SIDE] * book[layout.PENDING_QUANTITY]
    market = books.market_of[k]
    due = feed.funding_due[market, t]
    tally = state[places.tally_at[k] : places.tally_at[k] + TALLY_SIZE]
    if books.terms[k, layout.PERPETUAL] == 1.0 and due != 0.0:
        tally[FUNDING] += _in_units(book[layout.QUANTITY] * places.prices[market] * due, books.terms[k])
    before = state[CASH]
    n, refusal = account.open_bar(
        books, state, places.prices, k, places.prices[market], due, int(state[ROWS]), events.fills,
        events.n[0],
    )  # fmt: skip
    if refusal != reasons.NONE:
        _note_refusal(state, events, k, refusal, ordered)
    _note_fills(books, state, tally, events, k, n, before)


@inlined_kernel
def _go_through(
    feed: Feed, books: Books, places: Places, state: FloatArray, events: Events, t: int, k: int
) -> None:
    """Take slot k through the inside of its bar."""
    quotes = feed.quotes[books.market_of[k]]
    tally = state[places.tally_at[k] : places.tally_at[k] + TALLY_SIZE]
    before = state[CASH]
    n = account.go_through_bar(
        books, state, places.prices, k, quotes[0, t], quotes[1, t], quotes[2, t], int(state[ROWS]),
        events.fills, events.n[0],
    )  # fmt: skip
    _note_fills(books, state, tally, events, k, n, before)


@inlined_kernel
def _close(
    feed: Feed,
    signals: Signals,
    books: Books,
    places: Places,
    state: FloatArray,
    events: Events,
    t: int,
    k: int,
) -> int:
    """Take slot k through the close; return its decision, which says so when only room was missing."""
    book = state[books.book_at[k] : books.book_at[k] + layout.BOOK_SIZE]
    s = signals.next[k]
    market = books.market_of[k]
    high, low = feed.quotes[market, 1, t], feed.quotes[market, 2, t]
    regime, bar = feed.regime[market, t], int(state[ROWS])
    barred = reasons.INACTIVE if bar < places.start else reasons.NONE
    for cell in range(layout.BOOK_SIZE):  # as a slice, numba would allocate a copy
        places.spare[cell] = book[cell]
    tally = state[places.tally_at[k] : places.tally_at[k] + TALLY_SIZE]
    before = state[CASH]
    n, signals.next[k], decision = account.close_bar(
        books, state, places.prices, k, high, low, regime, signals.values[k], signals.roles[k],
        signals.emitted_at[k], signals.n[k], bar, t, s, barred, events.fills, events.n[0],
    )  # fmt: skip
    _note_fills(books, state, tally, events, k, n, before)
    if decision == reasons.TOO_SMALL and books.terms[k, layout.LEVERAGE] < books.leverage[k]:
        _, tightest = account.give_room(books, state, places.prices, k)
        books.terms[k, layout.LEVERAGE] = books.leverage[k]
        places.spare[layout.CASH], places.spare[layout.OTHERS] = book[layout.CASH], book[layout.OTHERS]
        _, _, alone = broker.at_close(
            places.spare, books.plans[k], books.terms[k], high, low, places.prices[market], regime,
            signals.values[k], signals.roles[k], signals.emitted_at[k], signals.n[k], bar, t, s, barred,
            events.fills[:0], 0,
        )  # fmt: skip
        if alone in (reasons.LONG_ORDERED, reasons.SHORT_ORDERED):
            _note_refusal(state, events, k, tightest, 0.0)
            return tightest
    return decision


@inlined_kernel
def _nothing_is_left(books: Books, places: Places, state: FloatArray) -> bool:
    """Whether equity is gone at the close, as the account or one of its books finds."""
    over = account.worth(books, state, places.prices) <= 0.0
    for k in range(books.book_at.shape[0]):
        over = over or state[books.book_at[k] + layout.RUN_OVER] == 1.0
    return over


@kernel
def _end(books: Books, places: Places, state: FloatArray, events: Events) -> None:
    """Close every position at its mark and order nothing more."""
    state[OVER] = 1.0
    equity = account.worth(books, state, places.prices)
    for k in range(books.book_at.shape[0]):
        book = state[books.book_at[k] : books.book_at[k] + layout.BOOK_SIZE]
        if book[layout.RUN_OVER] == 0.0:
            tally = state[places.tally_at[k] : places.tally_at[k] + TALLY_SIZE]
            before = state[CASH]
            book[layout.CASH] = before
            book[layout.EQUITY] = equity
            price = places.prices[books.market_of[k]]
            n = end_run(book, books.terms[k], price, int(state[ROWS]), events.fills, events.n[0])
            state[CASH] = book[layout.CASH]
            _note_fills(books, state, tally, events, k, n, before)


@inlined_kernel
def _mark(books: Books, places: Places, state: FloatArray, events: Events, t: int) -> None:
    """Value the account and each slot's part of it at the close."""
    state[EQUITY] = account.worth(books, state, places.prices)
    exposure = 0.0
    for k in range(books.book_at.shape[0]):
        book = state[books.book_at[k] : books.book_at[k] + layout.BOOK_SIZE]
        book[layout.EQUITY] = state[EQUITY]
        value = book[layout.QUANTITY] * places.prices[books.market_of[k]]
        exposure += abs(value)
        if book[layout.QUANTITY] != 0.0:
            book[layout.BARS_IN_POSITION] += 1.0
        events.position[k, t] = book[layout.QUANTITY]
        events.worth[k, t] = places.capital + state[places.tally_at[k] + FLOW] * books.unit + value
    events.equity[t] = state[EQUITY]
    events.cash[t] = state[CASH] * books.unit
    events.exposure[t] = exposure
    if exposure > 0.0:
        state[ROWS_EXPOSED] += 1.0


@kernel
def _measure(places: Places, state: FloatArray, events: Events, k: int, n: int) -> None:
    """Add a block to slot k's metrics."""
    at = places.tally_at[k]
    first = min(max(places.start - (int(state[ROWS]) - n), 0), n)
    metrics.accumulate(state[at + TALLY_METRICS : at + TALLY_SIZE], events.worth[k, first:n])


@kernel
def _in_units(amount: float, terms: FloatArray) -> float:
    """Return money as it leaves the cash: whole quanta where money is counted so."""
    quantum = terms[layout.QUANTUM]
    return np.floor(amount / quantum + 0.5) if quantum > 0.0 else amount


@inlined_kernel
def _note_fills(
    books: Books, state: FloatArray, tally: FloatArray, events: Events, k: int, n: int, before: float
) -> None:
    """Note what slot k did to the account: its flow of cash, its fees, whose the new fills are."""
    for row in range(events.n[0], n):
        events.fill_of[row] = k
        tally[FEES] += _in_units(events.fills[row, layout.FILL_FEE], books.terms[k])
    events.n[0] = n
    tally[FLOW] += state[CASH] - before


@inlined_kernel
def _note_refusal(state: FloatArray, events: Events, k: int, why: int, ordered: float) -> None:
    row = events.n[1]
    events.refusals[row, 0] = k
    events.refusals[row, 1] = state[ROWS]
    events.refusals[row, 2] = why
    events.refusals[row, 3] = ordered
    events.n[1] = row + 1
