"""The lake: snapshots of candles that cannot change unseen, and the three zones with their seal.

Generators, tuning and gates 1 to 6 get `Lake.research`, which ends where the holdout begins. Gate 7 alone
opens the holdout, and every opening is counted. `Lake.forward` goes to a candidate that the holdout was opened
for, since it comes with all bars before it. The borders belong to
a symbol, not to a file: the same candles at another exchange, on another grid or in a longer file have them
at the same times. Once recorded they stay.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from research_lab.bars import DAY_MS, Bars, Market, read_candles, utc, write_candles
from research_lab.durable import atomic_write
from research_lab.errors import (
    DataError,
    InsufficientError,
    LockedError,
    UsageError,
    WorkspaceError,
)
from research_lab.market_data.openings import Openings
from research_lab.market_data.openings import Span as Span

HOLDOUT_SHARE = 0.4
FORWARD_MS = 90 * DAY_MS

_FORMAT = 1
_LOCK_SECONDS = 30.0
_N_DIGITS = 16


@dataclass(frozen=True)
class Zones:
    """Research, holdout and forward: each begins where the one before it ends."""

    research: Span
    holdout: Span
    forward: Span


@dataclass(frozen=True)
class HoldoutKey:
    """Who opens the holdout, and how it will look.

    Parameters
    ----------
    candidate : hash of the candidate.
    protocol : hash of costs, rules and whatever else decides the result. The same key on the same data sees
        the same again, so it is no further opening; another protocol is.
    """

    candidate: str
    protocol: str = ""


@dataclass(frozen=True, eq=False)
class ZoneBars:
    """Bars up to a zone's end. Those before `start` may warm indicators up; trades begin at `start`."""

    bars: Bars
    start: int


@dataclass(frozen=True, eq=False)
class Opening:
    """The holdout, opened for the k-th time for this market and an overlapping time, counted from 1."""

    bars: Bars
    start: int
    k: int


def divide(bars: Bars, holdout_share: float = HOLDOUT_SHARE, forward_ms: int = FORWARD_MS) -> Zones:
    """Return the zones of bars, divided by time, with borders at midnight UTC.

    Parameters
    ----------
    holdout_share : share of the time before the forward zone that is sealed, in (0, 1).
    forward_ms : length of the forward zone at the end, at least 0.

    Raises
    ------
    InsufficientError
        When research or holdout would be empty.
    """
    if not 0.0 < holdout_share < 1.0 or forward_ms < 0:
        raise UsageError(
            f"holdout share {holdout_share:g}, forward {forward_ms} ms; wanted a share in (0, 1) and a time"
        )
    start, end = bars.interval
    forward = _midnight(end - forward_ms)
    holdout = _midnight(forward - round(holdout_share * (forward - start)))
    if not start < holdout < forward <= end:
        raise InsufficientError(
            f"{(end - start) / DAY_MS:.1f} days of {bars.market.name} cannot be divided with "
            f"{forward_ms / DAY_MS:g} days forward and a holdout of {holdout_share:.0%}",
            remedy="bring more data, or a shorter forward zone",
        )
    return Zones(Span(start, holdout), Span(holdout, forward), Span(forward, end))


def common_border(tables: Sequence[Bars], holdout_share: float, forward_ms: int) -> int:
    """Return where the holdout of several markets begins, ms UTC, at a midnight: one time for all of them.

    So that of the time of all markets together, before their forward zones, `holdout_share` lies behind it.
    """
    spans = [(bars.interval[0], _midnight(bars.interval[1] - forward_ms)) for bars in tables]
    spans = [(start, end) for start, end in spans if start < end]
    if not spans:
        raise InsufficientError("no market has bars before its forward zone", "pool", "bring more data")
    times = np.unique(np.array(spans, dtype=np.float64))
    passed = [sum(max(0.0, min(t, end) - start) for start, end in spans) for t in times]
    return _midnight(int(np.interp((1.0 - holdout_share) * passed[-1], passed, times)))


@dataclass(frozen=True)
class Lake:
    """Snapshots, seal and openings under `lake/` of a workspace.

    Parameters
    ----------
    workspace : the workspace's folder; `lake/` in it is made when first written to.
    """

    workspace: Path

    @property
    def folder(self) -> Path:
        return Path(self.workspace) / "lake"

    def keep(self, bars: Bars) -> str:
        """Store bars and return their snapshot hash, 64 hex digits. Storing the same twice is no fault."""
        file, manifest = self._snapshot_files(bars.snapshot)
        with self._locked():
            if not _is_intact(file, manifest):
                write_candles(bars, file)
                told = {
                    "format": _FORMAT,
                    "snapshot": bars.snapshot,
                    "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                    "market": asdict(bars.market),
                    "timeframe": bars.timeframe,
                    "n_bars": bars.n,
                    "interval_ms": list(bars.interval),
                }
                atomic_write(manifest, json.dumps(told, indent=1, sort_keys=True) + "\n")
        return bars.snapshot

    def load(self, snapshot: str) -> Bars:
        """Return stored bars by their hash or its first 16 digits, verified to the last bit.

        Raises
        ------
        WorkspaceError
            When there is no such snapshot, or its file is not what was stored.
        """
        file, manifest = self._snapshot_files(snapshot)
        remedy = "store it again from its source"
        if not manifest.exists() or not file.exists():
            raise WorkspaceError(f"there is no snapshot {snapshot[:_N_DIGITS]}", str(file), remedy)
        if not _is_intact(file, manifest):
            raise WorkspaceError("the file is not the one that was stored", str(file), remedy)
        try:
            bars = read_candles(file)
        except DataError as fault:
            raise WorkspaceError(f"the snapshot cannot be read: {fault.what}", str(file), remedy) from fault
        if not bars.snapshot.startswith(snapshot) or bars.snapshot != _read_json(manifest).get("snapshot"):
            raise WorkspaceError(
                f"holds {bars.snapshot[:_N_DIGITS]}, not {snapshot[:_N_DIGITS]}", str(file), remedy
            )
        return bars

    def covering(self, charged_to: str, start_ms: int, end_ms: int) -> Bars | None:
        """Return stored bars of a symbol that cover an interval, the fewest that begin with it; None without any."""
        found = []
        for manifest in sorted((self.folder / "snapshots").glob("*.json")):
            told = _read_json(manifest)
            if Market(**told["market"]).charged_to == charged_to:
                start, end = told["interval_ms"]
                if start <= start_ms and end >= end_ms:
                    found.append((start_ms - start, told["n_bars"], told["snapshot"]))
        return self.load(min(found)[2]) if found else None

    def seal(self, charged_to: str, zones: Zones) -> Zones:
        """Record the borders of a symbol, unless it has some, and return the zones that hold.

        A recorded border stays where it is whatever is asked for later: research never grows into a sealed
        holdout, and what comes after the forward border is forward. Only the outer ends follow the data.
        """
        with self._locked():
            sealed = self._sealed()
            if charged_to not in sealed:
                sealed[charged_to] = {
                    "holdout_start_ms": zones.holdout.start_ms,
                    "forward_start_ms": zones.forward.start_ms,
                    "holdout_start": utc(zones.holdout.start_ms),
                    "forward_start": utc(zones.forward.start_ms),
                }
                whole = {"format": _FORMAT, "markets": sealed}
                atomic_write(self._seal_file, json.dumps(whole, indent=1, sort_keys=True) + "\n")
        holdout, forward = self._borders(charged_to)
        return Zones(
            Span(min(zones.research.start_ms, holdout), holdout),
            Span(holdout, forward),
            Span(forward, max(zones.forward.end_ms, forward)),
        )

    def zones(self, bars: Bars) -> Zones:
        """Return the sealed zones of the bars' symbol, with the bars' own outer ends.

        Raises
        ------
        UsageError
            When the symbol has not been sealed.
        """
        holdout, forward = self._borders(bars.market.charged_to)
        start, end = bars.interval
        return Zones(
            Span(min(start, holdout), holdout), Span(holdout, forward), Span(forward, max(end, forward))
        )

    def research(self, bars: Bars, until_ms: int | None = None) -> Bars:
        """Return a copy of the bars that had closed when the holdout begins: what may be studied.

        Parameters
        ----------
        until_ms : an earlier end, such as where the holdout of a market begins that is studied together with it.
        """
        zone = self.zones(bars).research
        end = zone.end_ms if until_ms is None else min(zone.end_ms, until_ms)
        return _until(bars, Span(min(zone.start_ms, end), end), "research")

    def is_sealed(self, charged_to: str) -> bool:
        """Whether a symbol has borders that do not move."""
        return charged_to in self._sealed()

    def holdout(self, bars: Bars, key: HoldoutKey) -> Opening:
        """Open the holdout for gate 7, and count it.

        Returns
        -------
        Opening
            Its `k` is one more than the number of other openings, so far, of the same symbol whose time
            overlaps; a repetition with the same key on the same bars has the k that it had.
        """
        zone = self.zones(bars).holdout
        served = _with_warm_up(bars, zone, "holdout")
        opened = Span(int(served.bars.time[served.start]), served.bars.interval[1])
        subject = {"candidate": key.candidate, "protocol": key.protocol, "snapshot": served.bars.snapshot}
        with self._locked():
            k = self.openings.record(bars.market.charged_to, zone.start_ms, opened, subject)
        return Opening(served.bars, served.start, k)

    def was_opened(self, bars: Bars, key: HoldoutKey) -> bool:
        """Whether the holdout of the bars' symbol was opened with this key, here or where openings came from."""
        past = self.openings.past(bars.market.charged_to)
        return any((o["candidate"], o["protocol"]) == (key.candidate, key.protocol) for o in past)

    def forward(self, bars: Bars, key: HoldoutKey) -> ZoneBars:
        """Return all bars and where the forward zone begins in them: for shadow and promotion.

        What comes before the forward zone holds the holdout too, so it must have been opened with the same key.

        Raises
        ------
        InsufficientError
            It was not, or there is no forward bar yet.
        """
        zone = self.zones(bars).forward
        if not self.was_opened(bars, key):
            raise InsufficientError(
                f"the holdout of {bars.market.charged_to} was not opened for {key.candidate[:12]}, and the bars "
                "before the forward zone hold it",
                remedy="gate 7 comes first",
            )
        return _with_warm_up(bars, zone, "forward")

    @property
    def openings(self) -> Openings:
        """Who opened which holdout when, here and in the workspaces that were heard of."""
        return Openings(self.folder)

    @property
    def _seal_file(self) -> Path:
        return self.folder / "seal.json"

    def _snapshot_files(self, snapshot: str) -> tuple[Path, Path]:
        """Return the paths of a snapshot's candles and of its manifest."""
        if re.fullmatch(r"[0-9a-f]{16,64}", snapshot) is None:
            raise UsageError(f"{snapshot!r} is no snapshot", remedy="give its first 16 or all 64 hex digits")
        stem = self.folder / "snapshots" / snapshot[:_N_DIGITS]
        return stem.with_suffix(".parquet"), stem.with_suffix(".json")

    def _sealed(self) -> dict[str, dict[str, Any]]:
        if not self._seal_file.exists():
            return {}
        whole = _read_json(self._seal_file)
        markets = whole.get("markets")
        if whole.get("format") != _FORMAT or not isinstance(markets, dict):
            raise WorkspaceError(
                f"format {whole.get('format')!r}; wanted {_FORMAT}",
                str(self._seal_file),
                "restore it from a copy",
            )
        return markets

    def _borders(self, charged_to: str) -> tuple[int, int]:
        """Return where holdout and forward begin, ms UTC."""
        entry = self._sealed().get(charged_to)
        if entry is None:
            raise UsageError(
                f"the zones of {charged_to} are not sealed",
                str(self._seal_file),
                "seal them first: lake.seal(symbol, divide(bars))",
            )
        try:
            holdout, forward = entry["holdout_start_ms"], entry["forward_start_ms"]
        except (KeyError, TypeError) as fault:
            raise WorkspaceError(
                f"the entry of {charged_to} is malformed", str(self._seal_file), "restore it from a copy"
            ) from fault
        if type(holdout) is not int or type(forward) is not int or holdout >= forward:
            raise WorkspaceError(
                f"borders {holdout!r}, {forward!r} of {charged_to}; wanted two times in order",
                str(self._seal_file),
                "restore it from a copy",
            )
        return holdout, forward

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / ".lock"
        try:
            with FileLock(place, timeout=_LOCK_SECONDS):
                yield
        except Timeout as fault:
            raise LockedError(
                f"the lake is locked since {_LOCK_SECONDS:g} s", str(place), "wait for the other process"
            ) from fault


def _midnight(ms: int) -> int:
    """Return the last midnight UTC at or before a time."""
    return ms - ms % DAY_MS


def _words(span: tuple[int, int]) -> str:
    return f"{utc(span[0])[:10]} to {utc(span[1])[:10]}"


def _until(bars: Bars, zone: Span, name: str) -> Bars:
    """Return a copy of the bars closed at the zone's end, at least one of which opens in the zone."""
    stop = int(np.searchsorted(bars.time, zone.end_ms - bars.step_ms, side="right"))
    if stop == 0 or bars.time[stop - 1] < zone.start_ms:
        raise InsufficientError(
            f"no bar of {bars.market.name} lies in {name}, {_words(zone)}: the data are of {_words(bars.interval)}",
            remedy=f"bring data of that time; {bars.market.charged_to} was sealed by the first campaign here, and "
            "a seal never moves: another workspace has a seal of its own",
        )
    part = bars.window(0, stop)
    # A view would still reach what lies behind the border through its base.
    return Bars(
        bars.market,
        bars.step_ms,
        part.time.copy(),
        np.array(part.inputs, order="C"),
        part.funding_due.copy(),
        part.series,
    )


def _with_warm_up(bars: Bars, zone: Span, name: str) -> ZoneBars:
    served = _until(bars, zone, name)
    return ZoneBars(served, int(np.searchsorted(served.time, zone.start_ms, side="left")))


def _is_intact(file: Path, manifest: Path) -> bool:
    """Return whether both files exist and the candles have the SHA-256 that the manifest tells."""
    if not file.exists() or not manifest.exists():
        return False
    wanted = _read_json(manifest).get("sha256")
    return hashlib.sha256(file.read_bytes()).hexdigest() == wanted


def _read_json(path: Path) -> dict[str, Any]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise WorkspaceError(f"not readable: {fault}", str(path), "restore it from a copy") from fault
    if not isinstance(whole, dict):
        raise WorkspaceError("wanted a JSON object", str(path), "restore it from a copy")
    return whole
