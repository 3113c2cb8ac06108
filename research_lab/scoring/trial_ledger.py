"""The trial ledger: every candidate that was scored, charged to a market and a time, with its daily returns.

A result is worth what the number of tries behind it leaves of it, so nothing looks at a market uncounted.
The ledger is a folder of segments. Each writing process begins its own under a random name, so those of
several machines merge by copying the files together, and readers take the union:

    seg-<32 hex>.jsonl      one line a trial, chained by hash
    seg-<32 hex>.f64        daily returns, little-endian float64, one row a trial, in the lines' order
    ledger.json             which ledger this is, wherever it lies; see `ledger_identity`

A line names place, length and SHA-256 of its row, so the chain covers the returns too. A batch costs one
lock, one sync of its rows and then one of its lines: no line stands without its row. What a crash leaves
behind the last whole line is cut off when the folder is next opened, and reported. How segments of other
machines are taken in, with what checks, stands in `ledger_merge`.

**What one trial is.** Records of one candidate, market and interval with the same returns are one trial, in
whatever segment and however often. A crash or refusal is absorbed by any other record of its candidate,
market and interval. Different returns are different looks: spot and perpetual, two snapshots, other costs.
Markets are symbols, so exchanges, timeframes and perpetuals add up; intervals count where they overlap.

A chain cannot show that its end was cut off, nor a folder that a segment is gone. Keep `heads` elsewhere
(MLflow has them) and hand them to `verify`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from research_lab.bars import FloatArray
from research_lab.errors import LedgerError, LockedError, UsageError
from research_lab.scoring.ledger_segment import ROW, Segment
from research_lab.scoring.trial import Key, Kind, Record, Trial, fault_of_trial, identity
from research_lab.timeframe import DAY_MS

__all__ = ["Kind", "Trial", "TrialLedger"]

_log = logging.getLogger(__name__)
_BRING_BACK = "restore it, or bring it with `pipeline trials pull` if it was pushed"


class TrialLedger:
    """The trials of one workspace.

    Opening cuts off what crashed writers left; `losses` has a sentence for each. Reading takes no lock and
    sees every batch that was appended, by any process, before the call. One object may be used by
    several threads; after a fork the child writes its own segment.

    Parameters
    ----------
    folder : created when missing.
    now : seconds since 1970, UTC.
    lock_timeout_s : how long to wait for another writer.

    Raises
    ------
    LockedError
        Another process held the lock for longer than that.
    """

    def __init__(
        self, folder: Path | str, *, now: Callable[[], float] = time.time, lock_timeout_s: float = 60.0
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.losses: tuple[str, ...] = ()
        self.now = now
        self._lock_timeout_s = lock_timeout_s
        self._threads = threading.RLock()
        self._segments: dict[str, Segment] = {}
        self._own: tuple[int, Segment] | None = None
        self._distinct: list[tuple[Segment, Record]] | None = None
        self._known: dict[Key, set[str]] | None = None
        self._scored: dict[tuple[Key, str], tuple[Segment, Record]] | None = None
        self._cut_torn_ends()

    def append(self, trials: Sequence[Trial], daily: FloatArray | None = None, first_day: int = 0) -> int:
        """Record a batch durably; when it returns, the batch is on the disk.

        A trial that is already recorded (see the module's words on what one trial is) is not written
        twice, so a batch may safely be repeated after a crash.

        Parameters
        ----------
        trials : of any kind, market and interval; `recorded_s` is set here.
        daily : array of shape (n_trials, n_days)
            Returns by UTC day as fractions, finite. Rows of trials that were not scored are ignored.
            None when none was scored.
        first_day : of all rows, days since 1970-01-01 UTC; all days lie in each trial's interval.

        Returns
        -------
        int
            How many trials were new.

        Raises
        ------
        UsageError
            A trial is malformed, or was scored and has no finite returns.
        LedgerError
            The ledger is broken.
        LockedError
            Another process holds the lock.
        """
        rows = _checked_rows(trials, daily, first_day)
        digests = ["" if row is None else hashlib.sha256(row.data).hexdigest() for row in rows]
        with self.alone():
            known, self._known = self._known_trials(), None  # built anew if the disk refuses
            new = _unknown(trials, [identity(first_day, digest) for digest in digests], known)
            if new:
                now = self.now()
                stamped = [replace(trials[i], recorded_s=now) for i in new]
                self._own_segment().append(
                    stamped, [rows[i] for i in new], [digests[i] for i in new], first_day
                )
                self._distinct = self._scored = None
            self._known = known
        return len(new)

    def trials(self, market: str, start_ms: int, end_ms: int) -> list[Trial]:
        """Return the trials charged to `market` whose interval overlaps [start, end), oldest first."""
        return [record.trial for _, record in self._overlapping(market, start_ms, end_ms)]

    def n_looks(self, market: str, start_ms: int, end_ms: int) -> int:
        """Return how many trials of any kind were charged to `market` and overlap [start, end)."""
        return len(self._overlapping(market, start_ms, end_ms))

    def counted(self, candidate: str, market: str, start_ms: int, end_ms: int) -> bool:
        """Whether this candidate was recorded for exactly this market and interval, in any kind."""
        with self._threads:
            return (candidate, market, start_ms, end_ms) in self._known_trials()

    def daily_returns(
        self, market: str, start_day: int, end_day: int, only: Sequence[int] | None = None
    ) -> tuple[FloatArray, list[str]]:
        """Return the daily returns of every scored trial of `market` that overlaps the days.

        Parameters
        ----------
        market : the symbol charged.
        start_day, end_day : [start, end), days since 1970-01-01 UTC.
        only : numbers of the columns wanted, of those that there would be; the others are not read.

        Returns
        -------
        matrix : array of shape (n_days, n_trials)
            Fractions; columns are contiguous. NaN on days outside a trial's returns, also for the whole
            column of a trial whose interval overlaps but whose returns do not.
        candidates : the columns' candidate hashes, oldest trial first. A candidate that was scored on two
            intervals or snapshots has two columns.

        Raises
        ------
        LedgerError
            A row is missing or was changed.
        """
        if end_day <= start_day:
            raise UsageError(f"days {start_day} to {end_day}", remedy="end after the first day")
        found = self._overlapping(market, start_day * DAY_MS, end_day * DAY_MS)
        scored = [(segment, record) for segment, record in found if record.n_days]
        if only is not None:
            scored = [scored[i] for i in only]
        matrix = np.full((len(scored), end_day - start_day), np.nan)
        opened: dict[Path, FloatArray] = {}
        for out, (segment, record) in zip(matrix, scored, strict=True):
            if segment.path not in opened:
                opened[segment.path] = segment.open_rows()
            row = segment.row(record, opened[segment.path])
            first = max(start_day, record.first_day)
            last = min(end_day, record.first_day + record.n_days)
            if first < last:
                days = row[first - record.first_day : last - record.first_day]
                out[first - start_day : last - start_day] = days
        return matrix.T, [record.trial.candidate for _, record in scored]

    def days_with_returns(self, market: str, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Return the days [first, end) of an interval on which any trial of `market` has returns.

        An interval that a trial only tells of, however long, makes nobody's matrix longer. (0, 0) without any.
        """
        found = [record for _, record in self._overlapping(market, start_ms, end_ms) if record.n_days]
        first = max(start_ms // DAY_MS, min((record.first_day for record in found), default=0))
        last = min(-(-end_ms // DAY_MS), max((r.first_day + r.n_days for r in found), default=0))
        return (first, last) if found and first < last else (0, 0)

    def returns_of(self, key: Key, sha256: str) -> tuple[int, FloatArray] | None:
        """Return first day and daily returns of a scored trial, None where it was not recorded with these.

        Parameters
        ----------
        key : candidate, market, start and end of the interval. sha256 : of the returns' bytes.

        Raises
        ------
        LedgerError
            Its row is missing or was changed.
        """
        with self._threads:
            self._refresh()
            if self._scored is None:
                self._scored = {
                    (record.trial.key, record.sha256): (segment, record)
                    for segment in self._segments.values()
                    for record in segment.records
                    if record.sha256
                }
            if (key, sha256) not in self._scored:
                return None
            segment, record = self._scored[key, sha256]
            return record.first_day, np.array(segment.row(record, segment.open_rows()))

    def every(self) -> list[Trial]:
        """Return every trial of every market and time, oldest first."""
        with self._threads:
            return [record.trial for _, record in self._all()]

    def heads(self) -> dict[str, str]:
        """Return each segment's last hash by file name: what to anchor elsewhere."""
        self._refresh()
        return {name: segment.head for name, segment in sorted(self._segments.items()) if segment.heads}

    def head(self) -> str:
        """Return one SHA-256 over all segments' names and last hashes: it changes with every batch."""
        text = "".join(f"{name} {head}\n" for name, head in self.heads().items())
        return hashlib.sha256(text.encode()).hexdigest()

    def has(self, heads: Mapping[str, str]) -> bool:
        """Whether every line is here at which these heads stood: nothing that they knew was taken away."""
        self._refresh()
        return all(
            name in self._segments and head in self._segments[name].heads for name, head in heads.items()
        )

    def verify(self, anchored: Mapping[str, str] | None = None) -> None:
        """Read everything from the disk and check every line and row.

        Parameters
        ----------
        anchored : what `heads` once returned; checked to be part of what stands now.

        Raises
        ------
        LedgerError
            Naming file and line of the first break.
        """
        with self.alone():
            segments = {path.name: self._opened(path) for path in self._paths()}
            for segment in segments.values():
                segment.verify()
        self._check_heads(anchored or {}, segments)

    def verify_heads(self, anchored: Mapping[str, str]) -> None:
        """Check that what `heads` once returned is part of what stands now; raises as `verify` does."""
        self._refresh()
        self._check_heads(anchored, self._segments)

    def _check_heads(self, anchored: Mapping[str, str], segments: Mapping[str, Segment]) -> None:
        for name, head in sorted(anchored.items()):
            if name not in segments:
                raise LedgerError("an anchored segment is gone", str(self.folder / name), _BRING_BACK)
            if head not in segments[name].heads:
                raise LedgerError(
                    f"no line has the anchored hash {head[:12]}", str(self.folder / name), _BRING_BACK
                )

    def _cut_torn_ends(self) -> None:
        losses = []
        with self.alone():
            for path in self._paths():
                segment = self._segments[path.name] = self._opened(path)
                try:
                    loss = segment.cut_torn_end()
                except LedgerError:
                    continue  # not torn but broken: nothing is cut, and whoever reads it is told
                if loss:
                    losses.append(loss)
                    _log.warning("%s", loss)
        self.losses = tuple(losses)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder's lock, among threads and processes."""
        with self._threads:
            lock = FileLock(self.folder / ".lock", timeout=self._lock_timeout_s)  # one of a parent is no lock
            try:
                lock.acquire()
            except Timeout:
                raise LockedError(
                    f"another process writes for more than {self._lock_timeout_s:g} s",
                    lock.lock_file,
                    "wait for it, or end it; the lock is free as soon as it is gone",
                ) from None
            try:
                yield
            finally:
                lock.release()

    def _opened(self, path: Path) -> Segment:
        return Segment(path)

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("seg-*.jsonl") if Segment.is_one(path))

    def _refresh(self) -> None:
        with self._threads:
            paths = {path.name: path for path in self._paths()}
            gone = sorted(self._segments.keys() - paths.keys())
            if gone:
                where = str(self.folder / gone[0])
                raise LedgerError("a segment that was read before is gone", where, "restore it")
            for name, path in paths.items():
                segment = self._segments.setdefault(name, self._opened(path))
                if segment.refresh():
                    self._distinct = self._known = self._scored = None

    def _known_trials(self) -> dict[Key, set[str]]:
        """Return the identities of returns that each candidate, market and interval has; "" for none."""
        self._refresh()
        if self._known is None:
            self._known = {}
            for segment in self._segments.values():
                for record in segment.records:
                    self._known.setdefault(record.trial.key, set()).add(record.identity)
        return self._known

    def _own_segment(self) -> Segment:
        if self._own is None or self._own[0] != os.getpid():
            segment = Segment.create(self.folder)
            self._segments[segment.path.name] = segment
            self._own = (os.getpid(), segment)
        return self._own[1]

    def _all(self) -> list[tuple[Segment, Record]]:
        """Return one record for each trial; the caller holds the threads' lock."""
        self._refresh()
        if self._distinct is None:
            self._distinct = _distinct(self._segments.values())
        return self._distinct

    def _overlapping(self, market: str, start_ms: int, end_ms: int) -> list[tuple[Segment, Record]]:
        if end_ms <= start_ms:
            raise UsageError(f"interval {start_ms} to {end_ms} ms", remedy="end after the start")
        with self._threads:
            return [
                (segment, record)
                for segment, record in self._all()
                if record.trial.market == market
                and record.trial.start_ms < end_ms
                and start_ms < record.trial.end_ms
            ]


def _distinct(segments: Iterable[Segment]) -> list[tuple[Segment, Record]]:
    """Return one record for each trial, the oldest, ordered by time, segment and line."""
    found: dict[tuple[Key, str], tuple[Segment, Record]] = {}
    with_returns: set[Key] = set()
    ordered = [(segment, record) for segment in segments for record in segment.records]
    ordered.sort(key=lambda pair: (pair[1].trial.recorded_s, pair[0].path.name, pair[1].line))
    for segment, record in ordered:
        found.setdefault((record.trial.key, record.identity), (segment, record))
        if record.sha256:
            with_returns.add(record.trial.key)
    return [pair for (key, own), pair in found.items() if own or key not in with_returns]


def _unknown(trials: Sequence[Trial], digests: Sequence[str], known: dict[Key, set[str]]) -> list[int]:
    """Return which trials are not known yet, scored ones first served, and add them to `known`."""
    new = []
    for i in sorted(range(len(trials)), key=lambda i: digests[i] == ""):
        found = known.setdefault(trials[i].key, set())
        if digests[i] not in found and (digests[i] or not found):
            new.append(i)
            found.add(digests[i])
    return sorted(new)


def _checked_rows(
    trials: Sequence[Trial], daily: FloatArray | None, first_day: int
) -> list[FloatArray | None]:
    """Return each trial's row, None where it was not scored, after checking both."""
    scored = [i for i, trial in enumerate(trials) if trial.kind == "scored"]
    for i, trial in enumerate(trials):
        fault = fault_of_trial(trial)
        if fault:
            raise UsageError(fault, f"trial {i} ({trial.name})", "its fields are described at Trial")
    rows: list[FloatArray | None] = [None] * len(trials)
    if not scored:
        return rows
    if daily is None or daily.ndim != 2 or len(daily) != len(trials) or daily.shape[1] == 0:
        seen = "none" if daily is None else f"an array of shape {daily.shape}"
        raise UsageError(
            f"{len(scored)} scored of {len(trials)} trials, and as daily returns {seen}",
            remedy=f"give ({len(trials)}, n_days); record a trial without returns as refused or crashed",
        )
    matrix = np.ascontiguousarray(daily, dtype=ROW)
    last_day = first_day + matrix.shape[1] - 1
    finite = [bool(np.isfinite(row).all()) for row in matrix]
    for i in scored:
        trial = trials[i]
        where = f"trial {i} ({trial.name})"
        if not finite[i]:
            raise UsageError("a daily return is not finite", where, "record it as crashed")
        if first_day < trial.start_ms // DAY_MS or last_day > (trial.end_ms - 1) // DAY_MS:
            raise UsageError(
                f"days {first_day} to {last_day} do not lie in the interval "
                f"{trial.start_ms} to {trial.end_ms} ms",
                where,
                "charge the trial to the whole interval that it looked at",
            )
        rows[i] = matrix[i]
    return rows
