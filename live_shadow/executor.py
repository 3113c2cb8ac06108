"""The executor in memory: tables and state around the core; no clock, file or network.

`Executor.advance` takes bars in blocks of any size. The same executor, a bar at a time, is what shadow
evidence is measured with (`shadow_run`) and what the shell drives (`live_shadow.replay`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from live_shadow import core
from live_shadow.enable_map import ANY, Entry, Stage
from live_shadow.slots import Limits, Slot, clock_tables, new_slot_state, slot_tables
from research_lab.bars import Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.engine import layout
from research_lab.engine.backtest import to_fills
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.program import N_INPUTS
from research_lab.engine.slot import BOOK_AT, clocks_of
from research_lab.engine.terms import Terms
from research_lab.errors import LedgerError, UsageError

BLOCK = 1024

_NO_LIMITS = Limits(risk_per_trade=math.inf, daily_loss=math.inf, drawdown=math.inf, leverage=math.inf)
_CAPITAL = 10_000.0


@dataclass(frozen=True)
class Desk:
    """What does not change while an executor runs.

    Parameters
    ----------
    base_ms : the base grid. regimes : the market's with their macro states, None when unknown; not known
        either where base bars do not make theirs.
    research : terms of the slots' own books. account : terms of the account, with the symbol's rules.
    limits : of governance and map. series : what the feed's rows behind the market's are.
    """

    base_ms: int
    regimes: RegimeSet | None
    research: Terms
    account: Terms
    limits: Limits
    series: tuple[str, ...] = ()


def quanta(capital: float) -> int:
    """Return money as whole units of 1e-8.

    Raises
    ------
    UsageError
        It is not above zero, or too much to be counted exactly.
    """
    units = math.floor(capital / core.QUANTUM + 0.5) if math.isfinite(capital) else -1
    if not 0 < units <= core.MAX_QUANTA:
        raise UsageError(
            f"a capital of {capital:g}; it must be above 0 and at most {core.MAX_QUANTA * core.QUANTUM:.0f}"
        )
    return units


class Executor:
    """Slots and account of one market, and their whole memory as one array.

    Parameters
    ----------
    slots : in map order. capital : of a new account, whole units of 1e-8.
    state : the memory to go on with; None for a new account.
    """

    def __init__(
        self, desk: Desk, slots: Sequence[Slot], capital: int = 0, state: FloatArray | None = None
    ) -> None:
        self.desk = desk
        self.slots = tuple(slots)
        self._clock, self._macro, first_cell = clock_tables(desk.regimes, desk.base_ms, desk.series)
        self._tables = slot_tables(slots, desk.research, desk.account, desk.limits, first_cell, desk.series)
        limits = desk.limits
        self._rules = core.Rules(
            desk.base_ms, limits.min_bars_hold, limits.cooldown_bars, limits.daily_loss, limits.drawdown
        )
        n_registers = [slot.compiled.program.n_registers for slot in slots]
        clocks = clocks_of(None if desk.regimes is None else desk.regimes.compiled)
        n_registers += [N_INPUTS, *(clock.program.n_registers for clock in clocks)]
        self._scratch = core.new_scratch(max(n_registers))
        self._one = core.new_events(1, len(slots))
        self.state = self._fresh(capital) if state is None else self._fitting(state)

    def _fresh(self, capital: int) -> FloatArray:
        head = np.zeros(int(self._tables.state_at[0]))
        core.open_account(head, float(capital))
        return np.concatenate([head, *(new_slot_state(slot) for slot in self.slots)])

    def _fitting(self, state: FloatArray) -> FloatArray:
        if state.shape != (int(self._tables.state_at[-1]),):
            raise LedgerError(
                f"a state of {state.shape[0]} cells, these slots need {int(self._tables.state_at[-1])}",
                "snapshot",
                "move the ledger away and replay from the beginning",
            )
        return state.copy()

    def advance(self, bars: Bars, late: FloatArray | None = None) -> core.Events:
        """Step a block; what is returned is written over by the next bar taken alone.

        Parameters
        ----------
        late : (n,) 1.0 for bars that came too late to act on; None for none.
        """
        if bars.series != self.desk.series:
            raise UsageError("bars with other series than the executor was made for", bars.market.name)
        flags = np.zeros(bars.n) if late is None else late
        if flags.shape != (bars.n,):
            raise UsageError(f"{flags.shape[0]} flags of lateness for {bars.n} bars", bars.market.name)
        # Copies, so that numba sees one type of array and compiles once: contiguous and writable.
        feed = core.Feed(
            np.array(bars.time), np.array(bars.inputs, order="C"), np.array(bars.funding_due), flags
        )
        events = self._one if bars.n == 1 else core.new_events(bars.n, len(self.slots))
        core.advance(
            feed, self._clock, self._macro, self._tables, self._rules, self._scratch, self.state, events
        )
        if abs(self.state[core.CASH]) > core.MAX_QUANTA:
            raise LedgerError("the account's cash can no longer be counted in units of 1e-8", "account")
        return events

    def slot_state(self, k: int) -> FloatArray:
        """Return slot k's cells, a view: its own state, then its book in the account."""
        return self.state[self._tables.state_at[k] : self._tables.state_at[k + 1]]

    def account_book(self, k: int) -> FloatArray:
        """Return the account's book of slot k, a view."""
        return self.slot_state(k)[-layout.BOOK_SIZE :]

    def holds(self, k: int) -> bool:
        """Whether the account has a position of slot k."""
        return bool(self.account_book(k)[layout.QUANTITY] != 0.0)

    @property
    def n_bars(self) -> int:
        """Base bars seen."""
        return int(self.state[core.BARS])

    def with_slots(self, desk: Desk, slots: Sequence[Slot], history: Bars) -> Executor:
        """Return the executor under another map, at the same bar.

        Slots that stay keep their memory. New ones are warmed on the history and have traded nothing. Slots
        that are gone are left out: give them as retired ones while the account holds their positions. A slot
        that is retired or a shadow now loses the entry that it had ordered in the account.

        Parameters
        ----------
        history : the feed up to and with the last bar taken.
        """
        changed = Executor(desk, slots)
        head = int(self._tables.state_at[0])
        changed.state[:head] = self.state[:head]
        kept = {slot.identity: k for k, slot in enumerate(self.slots)}
        for k, slot in enumerate(slots):
            known = kept.get(slot.identity)
            memory = self._warmed(slot, desk, history) if known is None else self.slot_state(known)
            changed.slot_state(k)[:] = memory
            if slot.retired or slot.entry.stage is Stage.SHADOW:
                changed.account_book(k)[layout.PENDING_SIDE] = 0.0
        return changed

    def _warmed(self, slot: Slot, desk: Desk, history: Bars) -> FloatArray:
        """Return the memory of a slot that has seen the history; its book in the account is a new one.

        The warming account has no money, so what its book remembers but for the bars seen is of no use.
        """
        alone = Executor(desk, [_starting_after(slot, history)])
        for first in range(0, history.n, BLOCK):
            alone.advance(history.window(first, min(first + BLOCK, history.n)))
        book = alone.account_book(0)
        layout.open_book(book, 0.0)
        book[layout.STRATEGY_BARS] = alone.slot_state(0)[BOOK_AT + layout.STRATEGY_BARS]
        return alone.slot_state(0)


def _starting_after(slot: Slot, history: Bars) -> Slot:
    """Return a slot that may not enter within the history."""
    after = int(history.time[-1]) + 1 if history.n else slot.begun_ms
    return Slot(slot.entry, slot.spec, max(slot.begun_ms, after), retired=True)


@dataclass(frozen=True, eq=False)
class ShadowRun:
    """What a slot's own book did, bar by bar: as `engine.backtest.Backtest` says it.

    Parameters
    ----------
    equity, position, reason : (n_bars,). fills : structured array of `engine.backtest.FILL`.
    """

    equity: FloatArray
    position: FloatArray
    reason: IntArray
    fills: NDArray[np.void]


def shadow_run(
    spec: Spec, bars: Bars, terms: Terms, regimes: RegimeSet | None = None, start: int = 0
) -> ShadowRun:
    """Run a strategy through the executor one bar at a time, without capital and without a ledger.

    Parameters
    ----------
    terms : of the slot's own book. start : first bar on which an entry may be decided.
    """
    since = int(bars.time[start]) if start < bars.n else int(bars.time[-1]) + 1
    slot = Slot(_shadow_entry(spec, bars), spec, since)
    desk = Desk(bars.step_ms, regimes, terms, terms, _NO_LIMITS, bars.series)
    executor = Executor(desk, [slot], quanta(_CAPITAL))
    equity, position = np.empty(bars.n), np.empty(bars.n)
    reason = np.empty(bars.n, np.int64)
    kept: list[FloatArray] = [np.empty((0, layout.FILL_SIZE))]
    for t in range(bars.n):
        events = executor.advance(bars.window(t, t + 1))
        equity[t] = events.figures[0, 0, core.SLOT_EQUITY]
        position[t] = events.figures[0, 0, core.SLOT_POSITION]
        reason[t] = events.codes[0, 0, core.SLOT_REASON]
        if events.n_fills[0]:
            kept.append(events.slot_fills[: events.n_fills[0]].copy())
    return ShadowRun(equity, position, reason, to_fills(np.concatenate(kept)))


def _shadow_entry(spec: Spec, bars: Bars) -> Entry:
    """Return an entry for a strategy that no map holds; nothing in it but the stage is used."""
    return Entry(
        candidate=spec.hash,
        name="shadow",
        market=bars.market.name,
        timeframe=spec.timeframe,
        stage=Stage.SHADOW,
        risk_share=0.0,
        regimes=(ANY,),
        since=datetime(1970, 1, 1, tzinfo=UTC),
        evidence="0" * 64,
        expires=None,
    )
