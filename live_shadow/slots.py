"""Slots: entries of the map with their strategies, ready to be stepped, and all of them as flat tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from live_shadow import core
from live_shadow.enable_map import ANY, REGIMES, EnableMap, Entry, Stage
from live_shadow.governance import Governance
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import layout
from research_lab.engine.account import NO_CAPS, Books
from research_lab.engine.backtest import makes_whole_bars
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.program import N_COLUMNS, N_MARKET
from research_lab.engine.slot import PROGRAM_AT, Compiled, CompiledRegimes
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, MapError, UsageError
from research_lab.timeframe import timeframe_ms, timeframe_name

_NEVER = np.iinfo(np.int64).max
_LONG_AGO = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class Slot:
    """One strategy on one market, as the map enables it.

    Parameters
    ----------
    entry : of the map. spec : the strategy, whose hash is the entry's candidate.
    begun_ms : first bar on which its own book may enter; stays when the entry reaches another stage.
    retired : whether it is no longer in the map, and only holds until the account's position is closed.
    """

    entry: Entry
    spec: Spec
    begun_ms: int
    retired: bool = False

    @cached_property
    def compiled(self) -> Compiled:
        return compile_spec(self.spec)

    @property
    def identity(self) -> tuple[str, str]:
        """Candidate and market: what makes it the same slot under another map."""
        return self.entry.slot

    @property
    def n_state(self) -> int:
        """Cells of its state and of its book in the account."""
        return PROGRAM_AT + self.compiled.program.n_state + layout.BOOK_SIZE

    def retire(self) -> Slot:
        """Return the slot as one that opens nothing more in the account."""
        return replace(self, retired=True)


@dataclass(frozen=True)
class Limits:
    """What bounds the account: governance, and hysteresis and cooldown of the map."""

    risk_per_trade: float
    daily_loss: float
    drawdown: float
    leverage: float
    min_bars_hold: int = 3
    cooldown_bars: int = 0


def limits_of(governance: Governance, enable_map: EnableMap) -> Limits:
    """Return the limits of a workspace."""
    return Limits(
        governance.risk_per_trade,
        governance.daily_loss,
        governance.drawdown_72h,
        governance.leverage,
        enable_map.min_bars_hold,
        enable_map.cooldown_bars,
    )


def milliseconds(time: datetime) -> int:
    """Return a time of the map as ms UTC; the map holds whole seconds."""
    return int(time.timestamp()) * 1000


def read_slot(entry: Entry, text: str | bytes, where: str) -> Slot:
    """Return an entry's slot from its strategy's text.

    Raises
    ------
    MapError
        The text hashes to another candidate, or runs on another timeframe than the entry says.
    """
    spec = parse_spec(text, where)
    if spec.hash != entry.candidate:
        raise MapError(
            f"the strategy hashes to {spec.hash[:12]}, the map names {entry.candidate[:12]}",
            where,
            "restore the text that was promoted, or retire the entry",
        )
    if spec.timeframe != entry.timeframe:
        raise MapError(
            f"the strategy runs on {spec.timeframe}, the map says {entry.timeframe}",
            where,
            "promote it again with `pipeline promote`",
        )
    return Slot(entry, spec, milliseconds(entry.since))


def load_slots(
    enable_map: EnableMap, market: str, spec_path: Callable[[str], Path]
) -> tuple[list[Slot], list[Entry]]:
    """Return the slots of one market in map order, and the entries of other markets.

    Parameters
    ----------
    market : as `Market.name` writes it. spec_path : from a candidate's hash to its text.

    Raises
    ------
    MapError
        A strategy cannot be read or is another one than the map names: then nothing is enabled.
    """
    slots = []
    for entry in enable_map.entries:
        if entry.market != market:
            continue
        path = spec_path(entry.candidate)
        try:
            text = path.read_bytes()
        except OSError as fault:
            raise MapError(
                f"the strategy of {entry.name} cannot be read: {fault.strerror}",
                str(path),
                "restore the candidate's folder, or retire the entry",
            ) from None
        slots.append(read_slot(entry, text, str(path)))
    return slots, [entry for entry in enable_map.entries if entry.market != market]


def refuse_other_grid(slots: Sequence[Slot], base_ms: int) -> None:
    """Refuse strategies whose bars cannot be made of base bars.

    Raises
    ------
    InsufficientError
        A timeframe is finer than the grid, or no multiple of it.
    """
    for slot in slots:
        step_ms = timeframe_ms(slot.entry.timeframe)
        if not makes_whole_bars(base_ms, step_ms):
            raise InsufficientError(
                f"bars of {timeframe_name(base_ms)} cannot make those of {slot.entry.timeframe}",
                slot.entry.name,
                f"give candles of {slot.entry.timeframe} or finer",
            )


def clock_tables(
    regimes: RegimeSet | None, base_ms: int, series: Sequence[str] = ()
) -> tuple[core.Clock, core.Clock, int]:
    """Return the clocks of regimes and of macro states as the core takes them, and where their states end.

    Parameters
    ----------
    series : the feed's rows behind the market's.
    """
    compiled = None if regimes is None else regimes.compiled
    market, end = _clock(compiled, base_ms, core.REGIMES_AT, series)
    macro, end = _clock(None if compiled is None else compiled.macro, base_ms, end, series)
    return market, macro, end


def _clock(
    compiled: CompiledRegimes | None, base_ms: int, first_cell: int, series: Sequence[str]
) -> tuple[core.Clock, int]:
    """Return a clock and where its state ends.

    No clock without conditions, nor where base bars do not make theirs, as in `backtest.regime_codes`.
    """
    if compiled is None or not makes_whole_bars(base_ms, compiled.step_ms):
        empty = np.empty(0, np.int64)
        timing = np.array([1, 1, first_cell, 0 if compiled is None else compiled.unknown], np.int64)
        return core.Clock(
            np.empty((0, N_COLUMNS), np.int64), np.empty(0), empty, empty, timing, empty
        ), first_cell
    timing = np.array([compiled.warmup, compiled.step_ms, first_cell, compiled.unknown], np.int64)
    program = compiled.program
    rows = np.array(_rows_of(program.series, series, "the macro file"), np.int64)
    clock = core.Clock(program.code, program.values, program.outputs, compiled.codes, timing, rows)
    return clock, first_cell + compiled.new_state().shape[0]


def slot_tables(
    slots: Sequence[Slot],
    research: Terms,
    account: Terms,
    limits: Limits,
    first_cell: int,
    series: Sequence[str] = (),
) -> core.Slots:
    """Return the slots one after the other, their states from `first_cell` on.

    Parameters
    ----------
    research : terms of the slots' own books, those of the backtest.
    account : terms of the account's books; quantum, share and caps are set here.
    series : the feed's rows behind the market's.
    """
    programs = [slot.compiled.program for slot in slots]
    state_at = _borders([slot.n_state for slot in slots]) + first_cell
    leverage = min(account.leverage, limits.leverage)
    terms = [
        replace(
            account,
            leverage=leverage,
            quantum=core.QUANTUM,
            risk_share=slot.entry.risk_share,
            risk_cap=_risk_cap(limits, slot.entry),
        ).array()
        for slot in slots
    ]
    return core.Slots(
        code=np.concatenate([np.empty((0, N_COLUMNS), np.int64), *(program.code for program in programs)]),
        values=np.concatenate([np.empty(0), *(program.values for program in programs)]),
        rows=_borders([program.code.shape[0] for program in programs]),
        outputs=np.array([p.outputs for p in programs], np.int64).reshape(-1, layout.N_SIGNALS),
        step_ms=np.array([slot.compiled.step_ms for slot in slots], np.int64),
        state_at=state_at,
        since=np.array([_since(slot) for slot in slots], np.int64).reshape(-1, 2),
        series=np.array([_series_rows(slot, series) for slot in slots], np.int64).reshape(
            -1, core.MAX_SERIES
        ),
        expires=np.array([_expiry(slot) for slot in slots], np.int64),
        masks=np.array([regime_mask(slot.entry.regimes) for slot in slots], np.int64),
        shadow=np.array([slot.entry.stage is Stage.SHADOW for slot in slots], np.int64),
        research=research.array(),
        books=Books(
            plans=np.array([slot.compiled.plan for slot in slots]).reshape(-1, layout.PLAN_SIZE),
            terms=np.array(terms).reshape(-1, layout.TERMS_SIZE),
            book_at=state_at[1:] - layout.BOOK_SIZE,
            market_of=np.zeros(len(slots), np.int64),
            leverage=np.full(len(slots), leverage if account.perpetual else min(leverage, 1.0)),
            margins=np.array([account.maintenance if account.perpetual else 0.0]),
            net=np.zeros(1),
            unit=core.QUANTUM,
            caps=NO_CAPS,
            dust=0.0,
        ),
    )


def regime_mask(names: Sequence[str]) -> int:
    """Return regimes as bits, bit k for code k; 0 for any."""
    return 0 if ANY in names else sum(1 << (REGIMES.index(name) + 1) for name in names)


def _risk_cap(limits: Limits, entry: Entry) -> float:
    """Return the entry's share of the risk that a trade may take; a share of 0 has none of it."""
    return limits.risk_per_trade * entry.risk_share if entry.risk_share > 0.0 else 0.0


def _since(slot: Slot) -> tuple[int, int]:
    return slot.begun_ms, milliseconds(slot.entry.since)


def _series_rows(slot: Slot, series: Sequence[str]) -> list[int]:
    """Return where in the feed stands what a strategy reads besides the market.

    Raises
    ------
    UsageError
        The feed does not have it.
    """
    found = _rows_of(slot.compiled.program.series, series, slot.entry.name)
    return found + [-1] * (core.MAX_SERIES - len(found))


def _rows_of(wanted: Sequence[str], series: Sequence[str], reader: str) -> list[int]:
    """Return where in the feed stand the series that a program reads, in its order."""
    if len(wanted) > core.MAX_SERIES:
        raise UsageError(f"{len(wanted)} series, more than {core.MAX_SERIES}", reader)
    for name in wanted:
        if name not in series:
            remedy = "give the file that holds it"
            raise UsageError(f"the feed has no {name}, which {reader} reads", "feed", remedy)
    return [N_MARKET + series.index(name) for name in wanted]


def _expiry(slot: Slot) -> int:
    if slot.retired:
        return int(_LONG_AGO)
    return int(_NEVER) if slot.entry.expires is None else milliseconds(slot.entry.expires)


def _borders(lengths: Sequence[int]) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def new_slot_state(slot: Slot) -> FloatArray:
    """Return the state of a slot before its first bar: its own, then its book in the account."""
    account_book = np.zeros(layout.BOOK_SIZE)
    layout.open_book(account_book, 0.0)
    return np.concatenate([slot.compiled.new_state(), account_book])
