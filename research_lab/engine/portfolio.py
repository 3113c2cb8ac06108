"""A portfolio: several strategies on several markets and one account, time-major over all their bars.

Signals advance per slot (strategy on market) in blocks; then the account steps bar by bar over the slots in
map order, by the rules of `engine.account`. So who comes first in the map gets scarce cash first.

The markets' bars may begin apart and have gaps. The account steps over the union of their times. At a time
where a market has no bar it is marked at its last close, and its slots neither trade nor decide; funding that
falls due meanwhile is in the next bar's, as the bars have it. All markets need the same base grid.

When equity is zero or below at a close, the account ends: every position is closed at its mark without cost,
also where the market has no bar, and nothing is ordered again.

Memory grows with the times and the fills; positions and decisions of each slot at each time are on request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from research_lab.engine import layout, metrics
from research_lab.engine.account import CASH, EQUITY, NO_CAPS, Books, Caps
from research_lab.engine.backtest import FILL, Tape, inputs_of, refuse_unfit, to_fills
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.portfolio_steps import (
    CLOSES_AT,
    FEES,
    FLOW,
    FUNDING,
    METRICS_AT,
    REFUSAL_SIZE,
    ROWS_EXPOSED,
    TALLY_METRICS,
    TALLY_SIZE,
    Events,
    Feed,
    Places,
    Signals,
    advance_account,
    advance_signals,
)
from research_lab.engine.slot import BLOCK, BOOK_AT, Compiled, block_of, covering, cut_into_blocks
from research_lab.engine.terms import Terms

DUST: Final = 1e-9  # share of the equity: room below it is none, and opens no position
MOST_CELLS: Final = 16_384  # slots times bars of one block, unless the caller cuts: bounds the scratch

SLOT_FILL: Final = np.dtype([("slot", np.int64), *((name, FILL[name]) for name in FILL.names or ())])
REFUSAL: Final = np.dtype(
    [("slot", np.int64), ("bar", np.int64), ("reason", np.int64), ("quantity", np.float64)]
)


@dataclass(frozen=True, eq=False)
class Market:
    """One market of a portfolio: its bars, costs and rules, and regime codes, None when not known."""

    tape: Tape
    terms: Terms
    regime: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Slot:
    """A strategy on one of the markets, by number, with its share of the risk that its size asks for."""

    strategy: Compiled
    market: int
    risk_share: float = 1.0


@dataclass(frozen=True, eq=False)
class Contribution:
    """What one slot brought.

    Parameters
    ----------
    pnl : change of the account's equity by this slot; all slots' add up to the account's.
    fees, funding : paid, contained in it. metrics : of the capital plus what this slot alone brought.
    """

    pnl: float
    fees: float
    funding: float
    metrics: dict[str, float]


@dataclass(frozen=True, eq=False)
class Portfolio:
    """What a portfolio did.

    Parameters
    ----------
    time : (n,) union of the markets' opening times. equity, cash : (n,) at each close, quote currency.
    exposure : (n,) sum of all positions' absolute worth at the close, quote currency.
    fills : structured array of `SLOT_FILL`, in order; bars are rows of `time`.
    refusals : structured array of `REFUSAL`: entries for which there was no room; with the quantity ordered
        where it was refused at the open, and 0 where at the close nothing could be ordered.
    metrics : of the account, by the names of `engine.metrics.NAMES`; slots : of each, in map order.
    start : first row on which an entry could be decided. state : after the last time.
    position, reason : (K, n) on request: signed quantities, and decisions as codes of `engine.reasons`.
    """

    time: IntArray
    equity: FloatArray
    cash: FloatArray
    exposure: FloatArray
    fills: NDArray[np.void]
    refusals: NDArray[np.void]
    metrics: dict[str, float]
    slots: tuple[Contribution, ...]
    start: int
    state: FloatArray
    position: FloatArray | None = None
    reason: IntArray | None = None


@dataclass(eq=False)
class Stepper:
    """Slots, markets and caps, made ready: `new_state` begins, `advance` takes a block of the times.

    Whatever is remembered lies in the state, so a state read back from its bytes goes on with the same bits.

    Raises
    ------
    ValueError
        The markets' base grids or ways to count money differ, a slot names a market that is not there, or bars
        do not fit a strategy: see `backtest.inputs_of` and `backtest.refuse_unfit`.
    """

    slots: Sequence[Slot]
    markets: Sequence[Market]
    caps: Caps = NO_CAPS
    capital: float = 1.0
    start: int = 0
    time: IntArray = field(init=False)

    def __post_init__(self) -> None:
        _refuse_unlike(self.slots, self.markets)
        times = [np.asarray(market.tape.time) for market in self.markets]
        self.time = np.unique(np.concatenate([np.empty(0, np.int64), *times]))
        self._inputs = _inputs(self.slots, self.markets)
        self._base_ms = self.markets[0].tape.step_ms if self.markets else 1
        states = [slot.strategy.new_state(0.0) for slot in self.slots]
        tallies = CLOSES_AT + len(self.markets)
        first = tallies + TALLY_SIZE * len(self.slots)
        self._state_at = first + np.concatenate([[0], np.cumsum([len(s) for s in states])]).astype(np.int64)
        self._books = _books(self.slots, self.markets, self._state_at[:-1] + BOOK_AT, self.caps)
        self._places = Places(
            tallies + TALLY_SIZE * np.arange(len(self.slots), dtype=np.int64),
            np.zeros(len(self.markets)),
            np.zeros(layout.BOOK_SIZE),
            float(self.capital),
            int(self.start),
        )

    @property
    def n(self) -> int:
        """Number of times."""
        return int(self.time.shape[0])

    @property
    def unit(self) -> float:
        """Quote currency of one unit of cash."""
        return self._books.unit

    def new_state(self) -> FloatArray:
        """Return the state before the first time."""
        head = np.zeros(int(self._state_at[0]))
        head[CASH] = self.capital if self.unit == 1.0 else np.floor(self.capital / self.unit + 0.5)
        head[EQUITY] = self.capital
        metrics.begin(head[METRICS_AT:CLOSES_AT], float(self.capital))
        for at in self._places.tally_at:
            metrics.begin(head[at + TALLY_METRICS : at + TALLY_SIZE], float(self.capital))
        return np.concatenate([head, *(slot.strategy.new_state(0.0) for slot in self.slots)])

    def advance(self, state: FloatArray, first: int, last: int) -> Events:
        """Step over the times from `first` to before `last`, in place; events are the caller's own.

        Raises
        ------
        ValueError
            They are no times, or the state is that of other slots.
        """
        if not 0 <= first <= last <= self.n or state.shape != (int(self._state_at[-1]),):
            raise ValueError(f"times {first} to {last} of {self.n}, and a state of {state.shape} cells")
        rows = [self._rows(market, first, last) for market in range(len(self.markets))]
        feed, signals, events = (
            self._feed(rows, last - first),
            self._room(last - first),
            self._events(last - first),
        )
        for k in range(len(self.slots)):
            self._advance_strategy(state, k, rows[self.slots[k].market], signals)
        advance_account(feed, signals, self._books, self._places, state, events)
        skipped = min(max(self.start - first, 0), last - first)
        metrics.accumulate(state[METRICS_AT:CLOSES_AT], events.equity[skipped : last - first])
        return events

    def contribution(self, state: FloatArray, k: int) -> Contribution:
        """Return what slot k has brought so far."""
        at = int(self._places.tally_at[k])
        tally = state[at : at + TALLY_SIZE]
        book = self.book(state, k)
        value = book[layout.QUANTITY] * state[CLOSES_AT + self.slots[k].market]
        return Contribution(
            float(tally[FLOW] * self.unit + value),
            float(tally[FEES] * self.unit),
            float(tally[FUNDING] * self.unit),
            summary(tally[TALLY_METRICS:], book, self._base_ms),
        )

    def account_metrics(self, state: FloatArray) -> dict[str, float]:
        """Return the account's metrics so far; what is counted by trades is summed over the slots."""
        total = np.zeros(layout.BOOK_SIZE)
        for k in range(len(self.slots)):
            total += np.nan_to_num(self.book(state, k), posinf=0.0, neginf=0.0)
        total[layout.BARS_IN_POSITION] = state[ROWS_EXPOSED]
        return summary(state[METRICS_AT:CLOSES_AT], total, self._base_ms)

    def book(self, state: FloatArray, k: int) -> FloatArray:
        """Return slot k's book in the account, a view."""
        at = int(self._books.book_at[k])
        return state[at : at + layout.BOOK_SIZE]

    def _rows(self, market: int, first: int, last: int) -> tuple[int, int, IntArray]:
        """Return the market's bars in a block, from and to, and the rows of the block they stand on."""
        time = np.asarray(self.markets[market].tape.time)
        if first == last:
            return 0, 0, np.empty(0, np.int64)
        a = int(np.searchsorted(time, self.time[first]))
        b = int(np.searchsorted(time, self.time[last - 1], side="right"))
        return a, b, np.searchsorted(self.time[first:last], time[a:b]).astype(np.int64)

    def _feed(self, bars: Sequence[tuple[int, int, IntArray]], width: int) -> Feed:
        n_markets = len(self.markets)
        feed = Feed(
            np.zeros((n_markets, width), np.int64),
            np.zeros((n_markets, 4, width)),
            np.zeros((n_markets, width)),
            np.zeros((n_markets, width)),
        )
        for i, (market, (a, b, rows)) in enumerate(zip(self.markets, bars, strict=True)):
            feed.there[i, rows] = 1
            feed.quotes[i][:, rows] = market.tape.inputs[:4, a:b]
            feed.funding_due[i, rows] = market.tape.funding_due[a:b]
            if market.regime is not None:
                feed.regime[i, rows] = market.regime[a:b]
        return feed

    def _room(self, width: int) -> Signals:
        n_slots = len(self.slots)
        roles = np.array([slot.strategy.program.outputs for slot in self.slots], np.int64)
        roles = np.where(roles >= 0, np.arange(layout.N_SIGNALS), -1).reshape(n_slots, layout.N_SIGNALS)
        return Signals(
            np.zeros((n_slots, layout.N_SIGNALS, width + 1)),
            roles,
            np.zeros((n_slots, width + 1), np.int64),
            np.zeros(n_slots, np.int64),
            np.zeros(n_slots, np.int64),
        )

    def _events(self, width: int) -> Events:
        n_slots = len(self.slots)
        capacity = n_slots * width
        return Events(
            np.empty(width),
            np.empty(width),
            np.empty(width),
            np.empty((n_slots, width)),
            np.empty((n_slots, width)),
            np.empty((n_slots, width), np.int64),
            np.empty((capacity * layout.MAX_FILLS_PER_BAR, layout.FILL_SIZE)),
            np.empty(capacity * layout.MAX_FILLS_PER_BAR, np.int64),
            np.empty((2 * capacity, REFUSAL_SIZE)),
            np.zeros(2, np.int64),
        )

    def _advance_strategy(
        self, state: FloatArray, k: int, bars: tuple[int, int, IntArray], signals: Signals
    ) -> None:
        """Advance slot k's strategy over its market's bars of a block, and put its signals on the rows."""
        slot, (a, b, rows) = self.slots[k], bars
        strategy, tape = slot.strategy, self.markets[slot.market].tape
        if a == b:
            return
        emitted_at = np.zeros(b - a + 1, np.int64)
        m = advance_signals(
            strategy.program.code,
            strategy.program.values,
            strategy.program.outputs,
            tape.step_ms,
            strategy.step_ms,
            state[self._state_at[k] : self._state_at[k + 1]],
            strategy.program.new_registers(b - a + 1),
            emitted_at,
            tape.time[a:b],
            block_of(self._inputs[k], a, b),
            signals.values[k],
        )
        signals.emitted_at[k, :m] = rows[emitted_at[:m]]
        signals.n[k] = m


def portfolio(
    slots: Sequence[Slot],
    markets: Sequence[Market],
    caps: Caps = NO_CAPS,
    *,
    capital: float = 1.0,
    start: int = 0,
    blocks: Iterable[tuple[int, int]] | None = None,
    records: bool = False,
) -> Portfolio:
    """Run slots on one account.

    Parameters
    ----------
    slots : in map order. markets : whose numbers the slots name. caps : of the account.
    capital : quote currency. start : first row of the union of times on which an entry may be decided.
    blocks : borders of the blocks; any cut gives the same bits.
    records : whether to keep positions and decisions of each slot at each time.

    Raises
    ------
    ValueError
        Something does not fit: see `Stepper` and `slot.covering`.
    """
    stepper = Stepper(slots, markets, caps, capital, start)
    block = min(max(MOST_CELLS // max(len(slots), 1), 1), BLOCK)
    cuts = cut_into_blocks(stepper.n, block) if blocks is None else covering(blocks, stepper.n)
    if not 0 <= start <= stepper.n:
        raise ValueError(f"start is row {start} of {stepper.n}")
    state = stepper.new_state()
    money = np.empty((3, stepper.n))
    position = np.empty((len(slots) if records else 0, stepper.n))
    reason = np.empty(position.shape, np.int64)
    fills, refusals = [np.empty(0, SLOT_FILL)], [np.empty(0, REFUSAL)]
    for first, last in cuts:
        events = stepper.advance(state, first, last)
        money[:, first:last] = events.equity, events.cash, events.exposure
        fills.append(fills_of(events))
        refusals.append(refusals_of(events))
        if records:
            position[:, first:last], reason[:, first:last] = events.position, events.reason
    return Portfolio(
        stepper.time,
        money[0],
        money[1],
        money[2],
        np.concatenate(fills),
        np.concatenate(refusals),
        stepper.account_metrics(state),
        tuple(stepper.contribution(state, k) for k in range(len(slots))),
        start,
        state,
        position if records else None,
        reason if records else None,
    )


def fills_of(events: Events) -> NDArray[np.void]:
    """Return the fills of a block as a structured array of `SLOT_FILL`."""
    n = int(events.n[0])
    plain = to_fills(events.fills[:n])
    fills = np.empty(n, SLOT_FILL)
    fills["slot"] = events.fill_of[:n]
    for name in FILL.names or ():
        fills[name] = plain[name]
    return fills


def refusals_of(events: Events) -> NDArray[np.void]:
    """Return the refusals of a block as a structured array of `REFUSAL`."""
    refusals = np.empty(int(events.n[1]), REFUSAL)
    for column, name in enumerate(REFUSAL.names or ()):
        refusals[name] = events.refusals[: events.n[1], column]
    return refusals


def summary(accumulators: FloatArray, book: FloatArray, base_ms: int) -> dict[str, float]:
    """Return the metrics by name."""
    out = np.empty(len(metrics.NAMES))
    metrics.summarise(accumulators, book, base_ms, out)
    return dict(zip(metrics.NAMES, out.tolist(), strict=True))


def _books(slots: Sequence[Slot], markets: Sequence[Market], book_at: IntArray, caps: Caps) -> Books:
    terms = np.array([markets[slot.market].terms.array() for slot in slots]).reshape(-1, layout.TERMS_SIZE)
    terms[:, layout.RISK_SHARE] *= [slot.risk_share for slot in slots]
    quantum = markets[0].terms.quantum if markets else 0.0
    return Books(
        np.array([slot.strategy.plan for slot in slots]).reshape(-1, layout.PLAN_SIZE),
        terms,
        book_at,
        np.array([slot.market for slot in slots], np.int64),
        np.minimum(terms[:, layout.LEVERAGE], caps.leverage),
        np.array([m.terms.maintenance if m.terms.perpetual else 0.0 for m in markets]),
        np.zeros(len(markets)),
        quantum if quantum > 0.0 else 1.0,
        Caps(*(float(cap) for cap in caps)),
        DUST,
    )


def _inputs(slots: Sequence[Slot], markets: Sequence[Market]) -> list[FloatArray]:
    """Return what each slot's program reads of its market; slots that read the same share it."""
    known: dict[tuple[int, tuple[str, ...]], FloatArray] = {}
    found = []
    for slot in slots:
        strategy, market = slot.strategy, markets[slot.market]
        refuse_unfit(market.tape, strategy.step_ms, market.regime)
        rows = inputs_of(strategy.program, market.tape)
        found.append(known.setdefault((slot.market, strategy.program.series), rows))
    return found


def _refuse_unlike(slots: Sequence[Slot], markets: Sequence[Market]) -> None:
    """Refuse what one account cannot step together."""
    grids = sorted({market.tape.step_ms for market in markets})
    if len(grids) > 1:
        raise ValueError(f"markets on base grids of {grids} ms; one account needs one: resample the finer")
    if len({market.terms.quantum for market in markets}) > 1:
        raise ValueError("the markets' terms count money in different quanta; one account needs one")
    for k, slot in enumerate(slots):
        if not 0 <= slot.market < len(markets):
            raise ValueError(f"slot {k} names market {slot.market}, there are {len(markets)}")
