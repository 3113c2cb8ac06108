"""One segment of the trial ledger: a chained file of lines beside a file of daily returns.

Line 1 is a header that names format, segment and ledger, so a copy under another name is noticed. Each other
line is a trial and its row: where it begins in the file of rows, its first day, its length and its SHA-256.
Rows stand in the order of their lines without gaps, so a crash leaves only bytes at the very end.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from research_lab.bars import FloatArray
from research_lab.durable import GENESIS, ChainedLog, Line, sync_folder
from research_lab.errors import LedgerError
from research_lab.scoring.ledger_identity import established
from research_lab.scoring.trial import CELL, Record, Trial, fault_of_record

FORMAT = 2  # 1 had no generator's version, parent, knowledge cutoff and reason; it is read as it stands
ROW = np.dtype("<f8")
_NAME = re.compile(r"seg-[0-9a-f]{32}\.jsonl", re.ASCII)
_RESTORE = "restore the segment from a copy; a ledger that was changed proves nothing"
_TRIAL_FIELDS = tuple(field.name for field in fields(Trial))


class Segment:
    """A pair of files and what was read of them so far.

    Parameters
    ----------
    path : the file of lines, seg-<32 hex>.jsonl.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows_path = path.with_suffix(".f64")
        self.records: list[Record] = []
        self.heads: list[str] = []  # hash of every line, the header's first
        self._log = ChainedLog(path)
        self._size = -1

    @classmethod
    def create(cls, folder: Path) -> Segment:
        """Begin a segment of the folder's ledger under a new random name."""
        segment = cls(folder / f"seg-{uuid.uuid4().hex}.jsonl")
        ledger = established(folder).id
        segment._log.append({"format": FORMAT, "segment": segment.path.stem, "ledger": ledger})
        segment.refresh()
        return segment

    @staticmethod
    def is_one(path: Path) -> bool:
        return _NAME.fullmatch(path.name) is not None

    @property
    def head(self) -> str:
        return self.heads[-1] if self.heads else GENESIS

    @property
    def rows_end(self) -> int:
        return self.records[-1].end if self.records else 0

    def refresh(self) -> bool:
        """Read the lines again when the file has changed its size; return whether it had.

        Raises
        ------
        LedgerError
            The chain is broken, or the lines were written by newer code.
        """
        size = self.path.stat().st_size
        if size == self._size:
            return False
        lines = self._log.read()
        if len(lines) < len(self.heads) or [line.hash for line in lines[: len(self.heads)]] != self.heads:
            raise LedgerError("lines that were read before are gone", str(self.path), _RESTORE)
        for line in lines[len(self.heads) :]:
            self._take(line)
        self._size = size
        return True

    def append(
        self,
        trials: Sequence[Trial],
        rows: Sequence[FloatArray | None],
        digests: Sequence[str],
        first_day: int,
    ) -> None:
        """Append trials, first their rows and then their lines, each with one sync.

        Only under the ledger's lock and after `refresh`.

        Parameters
        ----------
        trials, rows, digests : of one length; None and "" for a trial without returns. Rows are contiguous
            little-endian float64, a digest is the SHA-256 of its row's bytes.
        first_day : of all rows.
        """
        payloads = []
        offset = self.rows_end
        for trial, row, digest in zip(trials, rows, digests, strict=True):
            n_days = 0 if row is None else row.size
            payloads.append(_payload(trial, offset, first_day if n_days else 0, n_days, digest))
            offset += CELL * n_days
        self._write_rows([row for row in rows if row is not None])
        for line in self._log.extend(payloads):
            self._take(line)
        self._size = self.path.stat().st_size

    def row(self, record: Record, rows: FloatArray) -> FloatArray:
        """Return a record's daily returns out of `open_rows`, after checking hash and values."""
        where = f"{self.path}:{record.line}"
        start = record.offset // CELL
        row = rows[start : start + record.n_days]
        if row.size < record.n_days:
            raise LedgerError(f"its daily returns are missing in {self.rows_path.name}", where, _RESTORE)
        if hashlib.sha256(row.data).hexdigest() != record.sha256:
            raise LedgerError(f"its daily returns were changed in {self.rows_path.name}", where, _RESTORE)
        if not np.isfinite(row).all():
            raise LedgerError(f"its daily returns in {self.rows_path.name} are not finite", where, _RESTORE)
        return row

    def open_rows(self) -> FloatArray:
        """Return all rows end to end, mapped from the file; empty when there is none."""
        size = self._rows_size()
        if size < CELL:
            return np.empty(0, dtype=ROW)
        return np.memmap(self.rows_path, dtype=ROW, mode="r", shape=(size // CELL,))

    def cut_torn_end(self) -> str:
        """Cut off what a crash left behind the last whole line and its row, and say what was lost.

        Only under the ledger's lock. Rows that are missing are no crash's doing: reading them says so.

        Returns
        -------
        str
            One sentence; empty when nothing was cut.
        """
        self.refresh()
        torn = self._torn_bytes()
        orphans = max(0, self._rows_size() - self.rows_end)
        if torn:
            _truncate(self.path, self.path.stat().st_size - torn)
            self._size = -1
        if orphans:
            _truncate(self.rows_path, self.rows_end)
        if not torn and not orphans:
            return ""
        return (
            f"{self.path}: a writer was interrupted after line {len(self.heads)}; "
            f"cut off {torn} bytes of a torn line and {orphans} bytes of daily returns without a line"
        )

    def verify(self) -> None:
        """Check every line, every row and both ends.

        Raises
        ------
        LedgerError
            Naming file and line of the first break.
        """
        self.refresh()
        rows = self.open_rows()
        for record in self.records:
            if record.n_days:
                self.row(record, rows)
        after = f"{self.path}:{len(self.heads) + 1}"
        reopen = "open the ledger once more, which cuts it off and reports the loss"
        if self._torn_bytes():
            raise LedgerError("the last line is torn", after, reopen)
        if self._rows_size() > self.rows_end:
            raise LedgerError(f"{self.rows_path.name} has rows that no line names", after, reopen)

    def _take(self, line: Line) -> None:
        where = f"{self.path}:{line.n}"
        if line.n == 1:
            _check_header(line.payload, self.path.stem, where)
        else:
            record = _record(line, where)
            if record.offset != self.rows_end:
                seen = f"its row begins at byte {record.offset}, not {self.rows_end}"
                raise LedgerError(seen, where, _RESTORE)
            self.records.append(record)
        self.heads.append(line.hash)

    def _write_rows(self, rows: Sequence[FloatArray]) -> None:
        if not rows:
            return
        fresh = not self.rows_path.exists()
        descriptor = os.open(self.rows_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "r+b") as file:
            if file.seek(0, os.SEEK_END) < self.rows_end:
                raise LedgerError("daily returns are missing at the end", str(self.rows_path), _RESTORE)
            file.truncate(self.rows_end)
            file.seek(self.rows_end)
            for row in rows:
                file.write(row.data)
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            sync_folder(self.path.parent)

    def _rows_size(self) -> int:
        with suppress(FileNotFoundError):
            return self.rows_path.stat().st_size
        return 0

    def _torn_bytes(self) -> int:
        """Return how many bytes follow the last line break."""
        raw = self.path.read_bytes()
        return len(raw) - (raw.rfind(b"\n") + 1)


def _payload(trial: Trial, offset: int, first_day: int, n_days: int, sha256: str) -> dict[str, Any]:
    plain = {name: getattr(trial, name) for name in _TRIAL_FIELDS}
    plain["sharpe"] = trial.sharpe if math.isfinite(trial.sharpe) else None
    return {
        "trial": plain,
        "row": {"offset": offset, "first_day": first_day, "n_days": n_days, "sha256": sha256},
    }


def _record(line: Line, where: str) -> Record:
    try:
        plain = dict(line.payload["trial"])
        if plain["sharpe"] is None:
            plain["sharpe"] = math.nan
        record = Record(Trial(**plain), line.n, line.hash, **line.payload["row"])
    except (KeyError, TypeError, ValueError):
        raise LedgerError("the line is no trial", where, _RESTORE) from None
    if fault := fault_of_record(record):
        raise LedgerError(f"the line is no trial: {fault}", where, _RESTORE)
    return record


def _check_header(payload: Mapping[str, Any], name: str, where: str) -> None:
    if not isinstance(payload, Mapping):  # others wrote it
        raise LedgerError("the line is no header of a segment", where, _RESTORE)
    version, segment = payload.get("format"), payload.get("segment")
    if type(version) is not int or version > FORMAT:
        raise LedgerError(
            f"format {version!r}, this code reads up to {FORMAT}", where, "install the newer version"
        )
    if segment != name:
        raise LedgerError(f"this is a copy of {segment!r}", where, "give the file its own name back")


def _truncate(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())
