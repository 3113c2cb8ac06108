"""Replay: a candle file as the executor's feed, one transaction a bar; it goes on where the ledger ends."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from live_shadow import core, governance
from live_shadow.bookkeeping import Books, all_bar_bytes
from live_shadow.enable_map import EnableMap, Entry, read_map
from live_shadow.executor import BLOCK, Desk, Executor, quanta
from live_shadow.instance_lock import instance_lock
from live_shadow.ledger import Ledger, Rows, SlotRecord, Snapshot
from live_shadow.slots import Slot, limits_of, load_slots, read_slot, refuse_other_grid
from live_shadow.symbols import read_symbols
from research_lab.bars import Bars, read_candles, unpaid_funding
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.sources import read_sources, with_sources
from research_lab.dsl.spec_reader import load_regimes
from research_lab.engine import layout, source_hash
from research_lab.engine.backtest import makes_whole_bars
from research_lab.errors import UsageError, WorkspaceError
from research_lab.timeframe import timeframe_name, utc
from research_lab.workspace import Workspace

CAPITAL = 10_000.0

_AGAIN = "move executor/ledger.sqlite away and replay from the beginning"
_PROGRESS_S = 2.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a replay did.

    Parameters
    ----------
    n_warm, n_taken, n_known, n_refused : bars that only warmed up, were traded, were in the ledger already,
        and were not taken (revised or late).
    interrupted : whether it was stopped between two bars.
    """

    n_warm: int = 0
    n_taken: int = 0
    n_known: int = 0
    n_refused: int = 0
    interrupted: bool = False


@dataclass(frozen=True)
class Feed:
    """Files to replay, and what the account begins with when the ledger is new; None for the default.

    `series` are files of external series and calendars, by the name that strategies call them, `markets`
    candles of other markets by their symbol.
    """

    data: Path
    funding: Path | None = None
    spot: Path | None = None
    capital: float | None = None
    series: Mapping[str, Path] = field(default_factory=dict)
    markets: Mapping[str, Path] = field(default_factory=dict)


def replay(workspace: Workspace, feed: Feed, say: Say) -> Outcome:
    """Replay a file of candles through the workspace's map.

    Parameters
    ----------
    say : takes lines for a person: progress, what is not served.

    Raises
    ------
    MapError
        The map or one of its strategies cannot be used: nothing is enabled.
    GovernanceError
        The map asks for more than the limits, or these are not the pinned ones.
    LockedError
        Another executor runs in this workspace.
    WorkspaceError
        The ledger belongs to another market, grid, capital or engine.
    """
    limits = governance.load(workspace.root)
    enable_map = read_map(workspace.enable_map)
    governance.check_map(limits, enable_map)
    candles = read_candles(feed.data, funding=feed.funding, spot=feed.spot)
    told = "" if feed.funding is None else unpaid_funding(candles.market)
    if told:
        say(told)
    sources = read_sources(feed.series, feed.markets)
    with instance_lock(workspace.lock), Ledger.open(workspace.ledger, write=True) as ledger:
        enabled, _ = load_slots(enable_map, candles.market.name, workspace.spec)
        specs = [slot.spec for slot in (*enabled, *_slots_of(ledger, ledger.snapshot()))]
        regimes = regimes_for(workspace.regimes, candles.step_ms, workspace.macro)
        bars = with_sources(candles, [*specs, *(() if regimes is None else regimes.readers)], sources)
        symbols = read_symbols(workspace.symbols)
        desk = Desk(
            bars.step_ms, regimes, symbols.research_terms(bars.market),
            symbols.account_terms(bars.market), limits_of(limits, enable_map), bars.series,
        )  # fmt: skip
        session = _Session(workspace, ledger, desk, enable_map, bars, say)
        if not session.start(feed.capital):
            return Outcome()
        with _stop_requests() as stopped:
            return session.run(stopped)


def regimes_for(path: Path, base_ms: int, macro: Path | None = None) -> RegimeSet | None:
    """Return regimes and macro states; None when bars of this grid cannot make those of the regimes alone.

    Macro states are kept on any grid: where they cannot be known nothing is entered.
    """
    regimes = load_regimes(path, macro)
    known = makes_whole_bars(base_ms, regimes.compiled.step_ms) or regimes.macro is not None
    return regimes if known else None


def versions(regimes: RegimeSet | None) -> dict[str, str]:
    """Return what the bytes of a state depend on, by name."""
    return {
        "engine": source_hash(),
        "core": hashlib.sha256(Path(core.__file__).read_bytes()).hexdigest(),
        "regimes": "none" if regimes is None else regimes.hash,
    }


def _slots_of(ledger: Ledger, snapshot: Snapshot | None) -> list[Slot]:
    """Return the slots that a ledger's snapshot holds; none when it is new."""
    slots = []
    for record in () if snapshot is None else snapshot.layout:
        entry = Entry.model_validate_json(record.entry)
        slot = read_slot(entry, ledger.spec_text(record.id), f"{ledger.path}: slot {record.id}")
        slots.append(replace(slot, begun_ms=record.begun_ms, retired=record.retired))
    return slots


class _Session:
    """One run of the executor on a ledger: from the snapshot to the end of the feed."""

    def __init__(
        self, workspace: Workspace, ledger: Ledger, desk: Desk, enable_map: EnableMap, bars: Bars, say: Say
    ) -> None:
        self.workspace, self.ledger, self.desk = workspace, ledger, desk
        self.enable_map, self.bars, self.say = enable_map, bars, say
        self.limits = json.dumps({**asdict(desk.limits), "account": asdict(desk.account)}, sort_keys=True)
        self.last: int | None = None
        self.executor: Executor
        self.books: Books

    def start(self, capital: float | None) -> bool:
        """Load the snapshot or begin; return whether there is any slot to step."""
        enabled, others = load_slots(self.enable_map, self.bars.market.name, self.workspace.spec)
        refuse_other_grid(enabled, self.desk.base_ms)
        for entry in others:
            self.say(f"not served: {entry.name} on {entry.market}; this feed is {self.bars.market.name}")
        snapshot = self.ledger.snapshot()
        if snapshot is None:
            return self._begin(enabled, capital)
        self._refuse_another(capital)
        self.last = snapshot.bar_time
        self._resume(snapshot)
        if (snapshot.map_hash, snapshot.limits) != (self.enable_map.hash, self.limits):
            self._change(enabled)
        return bool(self.executor.slots) or self._nothing()

    def _begin(self, enabled: Sequence[Slot], capital: float | None) -> bool:
        if not enabled:
            return self._nothing()
        units = quanta(CAPITAL if capital is None else capital)
        self._seat(Executor(self.desk, enabled, units))
        meta = {
            "market": self.bars.market.name,
            "step_ms": str(self.desk.base_ms),
            "capital": str(units),
            **versions(self.desk.regimes),
        }
        self.ledger.begin(meta, self.enable_map.hash, self.limits, self._layout(), self.executor.state)
        return True

    def _nothing(self) -> bool:
        self.say(f"the map enables nothing on {self.bars.market.name}; no bar was taken")
        return False

    def _refuse_another(self, capital: float | None) -> None:
        """Refuse to go on with a ledger that was begun under other conditions."""
        meta, where = self.ledger.meta(), str(self.ledger.path)
        ours = {"market": self.bars.market.name, "step_ms": str(self.desk.base_ms)}
        if any(meta[key] != value for key, value in ours.items()):
            raise WorkspaceError(
                f"the ledger holds {meta['market']} {timeframe_name(int(meta['step_ms']))}, the feed is "
                f"{self.bars.market.name} {self.bars.timeframe}",
                where,
                "one market a ledger: use another workspace for this feed",
            )
        for name, value in versions(self.desk.regimes).items():
            if meta[name] != value:
                raise WorkspaceError(
                    f"begun with another {name}, {meta[name][:12]}; this program has {value[:12]}",
                    where,
                    f"its memory would not fit: go on with the program that began it, or {_AGAIN}",
                )
        if capital is not None and quanta(capital) != int(meta["capital"]):
            raise UsageError(
                f"--capital {capital:g}, but the ledger began with {int(meta['capital']) * core.QUANTUM:g}",
                where,
                "leave the option out, or use another workspace",
            )

    def _resume(self, snapshot: Snapshot) -> None:
        self._seat(Executor(self.desk, _slots_of(self.ledger, snapshot), state=snapshot.state))

    def _change(self, enabled: Sequence[Slot]) -> None:
        """Go over to the map as it is now; a slot gone from it stays while the account holds its position."""
        old = {slot.identity: slot for slot in self.executor.slots}
        kept = [
            replace(slot, begun_ms=min(slot.begun_ms, old[slot.identity].begun_ms))
            if slot.identity in old
            else slot
            for slot in enabled
        ]
        present = {slot.identity for slot in kept}
        for k, slot in enumerate(self.executor.slots):
            if slot.identity not in present and self.executor.holds(k):
                kept.append(slot.retire())
                self.say(f"{slot.entry.name} left the map; it is advanced until its position is closed")
        self._go_over(kept, self._history())
        self.say(f"map version {self.enable_map.version} taken over")

    def _go_over(self, slots: Sequence[Slot], history: Bars) -> None:
        self._seat(self.executor.with_slots(self.desk, slots, history))
        self.ledger.change_map(
            self.last, self.enable_map.hash, self.limits, self._layout(), self.executor.state
        )

    def _history(self) -> Bars:
        """Return the feed up to the last bar taken."""
        n = 0 if self.last is None else int(np.searchsorted(self.bars.time, self.last, side="right"))
        return self.bars.window(0, n)

    def _seat(self, executor: Executor) -> None:
        ids = [
            self.ledger.slot_id(
                slot.entry.candidate, slot.entry.market, slot.entry.name, slot.entry.timeframe,
                int(slot.compiled.plan[layout.WARMUP]), slot.spec.canonical(),
            )
            for slot in executor.slots
        ]  # fmt: skip
        self.executor, self.books = executor, Books(executor.slots, ids)

    def _layout(self) -> list[SlotRecord]:
        return [
            SlotRecord(number, slot.entry.model_dump_json(), slot.begun_ms, slot.retired)
            for number, slot in zip(self.books.ids, self.books.slots, strict=True)
        ]

    def run(self, stopped: threading.Event) -> Outcome:
        """Take every bar of the feed that is not in the ledger."""
        known = self._history()
        refused = self._refuse_changed(known)
        fresh = self.bars.window(known.n, self.bars.n)
        begin = min(slot.begun_ms for slot in self.executor.slots)
        n_warm = int(np.searchsorted(fresh.time, begin))
        if n_warm:
            self.say(f"warming up on {n_warm:,} bars from {utc(int(fresh.time[0]))}")
            self.ledger.commit(self._blocks(fresh.window(0, n_warm)), self.executor.state)
            self.last = int(fresh.time[n_warm - 1])
        rest = fresh.window(n_warm, fresh.n)
        progress = _Progress(rest.n, self.say)
        taken = 0
        while taken < rest.n and not stopped.is_set():
            self._take(rest.window(taken, taken + 1))
            taken += 1
            progress.show(taken)
        return Outcome(n_warm, taken, known.n, refused, stopped.is_set() and taken < rest.n)

    def _take(self, bar: Bars) -> None:
        """Advance by one bar and commit it."""
        events = self.executor.advance(bar)
        self.ledger.commit([self.books.rows(bar, events)], self.executor.state)
        self.last = int(bar.time[0])
        slots = self.executor.slots
        staying = [s for k, s in enumerate(slots) if not s.retired or self.executor.holds(k)]
        if len(staying) < len(slots):
            self._go_over(staying, bar.window(0, 0))

    def _blocks(self, bars: Bars) -> Iterator[Rows]:
        for first in range(0, bars.n, BLOCK):
            block = bars.window(first, min(first + BLOCK, bars.n))
            yield self.books.rows(block, self.executor.advance(block))

    def _refuse_changed(self, known: Bars) -> int:
        """Log bars of the feed that came too late or have other values than those taken; count them."""
        times, taken = self.ledger.taken()
        if self.last is None or times.shape[0] == 0:
            return 0
        ours = dict(zip(times.tolist(), taken, strict=True))
        refused = []
        for bar_time, raw in zip(known.time.tolist(), all_bar_bytes(known), strict=True):
            if bar_time >= times[0] and ours.get(bar_time) != raw:
                why = "revised" if bar_time in ours else "late"
                refused.append((bar_time, raw, why, self.last))
        if refused:
            fresh = self.ledger.refuse_bars(refused)
            self.say(f"{len(refused)} bars revised or late, ignored ({fresh} new in the log)")
        return len(refused)


class _Progress:
    """Lines of progress with an estimate, every two seconds."""

    def __init__(self, n: int, say: Say) -> None:
        self._n, self._say = n, say
        self._began = self._shown = time.monotonic()

    def show(self, done: int) -> None:
        now = time.monotonic()
        if now - self._shown < _PROGRESS_S:
            return
        self._shown = now
        pace = done / (now - self._began)
        left = (self._n - done) / pace
        self._say(f"{done:,} of {self._n:,} bars, {pace:,.0f} bars/s, about {left:,.0f} s left")


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into a request that is answered between two bars."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    previous = {
        number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
