"""Who opened which holdout when: the list of this workspace, and those of other machines that were taken in.

The k-th opening of the same market and time is judged harder than the first, wherever the others took place. A
list has one writer and only grows, and is known by the hash of its first line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from research_lab.bars import utc
from research_lab.durable import ChainedLog, Line, atomic_write
from research_lab.errors import LedgerError
from research_lab.timeframe import LATEST_MS

OWN: Final = "openings.jsonl"
_NAME = re.compile(r"opened-[0-9a-f]{32}\.jsonl", re.ASCII)
_SUBJECT: Final = ("candidate", "protocol", "snapshot")
_KINDS: Final = {
    "charged_to": str, "holdout_start_ms": int, "interval_ms": list, "candidate": str, "protocol": str,
    "snapshot": str, "k": int, "again": bool,
}  # fmt: skip


class Span(NamedTuple):
    """A stretch of time, ms UTC: from `start_ms` up to, but without, `end_ms`."""

    start_ms: int
    end_ms: int

    def overlaps(self, other: Span) -> bool:
        return self.start_ms < other.end_ms and other.start_ms < self.end_ms


@dataclass(frozen=True)
class Openings:
    """The lists of openings in a lake.

    Parameters
    ----------
    folder : of the lake; `openings.jsonl` in it is this workspace's own list, `openings/` holds those of others.
    """

    folder: Path

    @staticmethod
    def is_one(name: str) -> bool:
        """Whether a file name is that of a list which travels."""
        return _NAME.fullmatch(name) is not None

    def past(self, charged_to: str | None = None) -> list[dict[str, Any]]:
        """Return what was recorded of every opening, of one symbol when given: own ones first, the oldest first.

        Raises
        ------
        LedgerError
            A list was changed.
        """
        found = [dict(line.payload) for log in self._lists().values() for line in log.read()]
        return [line for line in found if charged_to in (None, line["charged_to"])]

    def record(self, charged_to: str, holdout_start_ms: int, opened: Span, subject: Mapping[str, str]) -> int:
        """Record an opening and return its k; the caller holds the lake's lock.

        Parameters
        ----------
        holdout_start_ms : the seal. opened : the time that is shown.
        subject : candidate, protocol and snapshot; the same again is no further opening.

        Raises
        ------
        LedgerError
            It was opened here with another seal.
        """
        moved = [
            line
            for line in (dict(line.payload) for line in self._own.read())
            if line["charged_to"] == charged_to and line["holdout_start_ms"] != holdout_start_ms
        ]
        if moved:
            raise LedgerError(
                f"{charged_to} was opened with its holdout from {utc(moved[-1]['holdout_start_ms'])}, "
                f"the seal says {utc(holdout_start_ms)}",
                str(self.folder / "seal.json"),
                "restore seal.json: a seal never moves",
            )
        past = self.past(charged_to)
        rivals = [line for line in past if opened.overlaps(Span(*line["interval_ms"]))]
        again = [line for line in rivals if all(line[name] == value for name, value in subject.items())]
        others = {tuple(line[name] for name in _SUBJECT) for line in rivals}
        k = int(again[0]["k"]) if again else 1 + len(others)
        self._own.append(
            {
                "charged_to": charged_to,
                "holdout_start_ms": holdout_start_ms,
                "interval_ms": list(opened),
                **subject,
                "k": k,
                "again": bool(again),
            }
        )
        return k

    def heads(self) -> dict[str, str]:
        """Return the hash of the last line of each list by file name, to be kept elsewhere."""
        return {name: log.head() for name, log in self._lists().items() if log.path.exists()}

    def check(self, heads: Mapping[str, str]) -> None:
        """Check that lines with hashes that `heads` once returned are still there.

        Raises
        ------
        LedgerError
            One is not: who deletes an opening would open the holdout for the first time again.
        """
        for name, head in heads.items():
            log = self._own if name == OWN else ChainedLog(self._others / name)
            places = self._lists().values() if name == OWN else [log]  # an own list may come back by `pull`
            if not any(head in {line.hash for line in place.read()} for place in places):
                raise LedgerError(
                    f"no line has the anchored hash {head[:12]}: openings of the holdout were taken away",
                    str(log.path),
                    "restore the file",
                )

    def copy(self, target: Path) -> dict[str, str]:
        """Copy the own list into a folder under the name it travels by; return that with its head, {} without one."""
        lines = self._own.read()
        if not lines:
            return {}
        name = _travels_as(lines)
        text = self._own.path.read_bytes()
        (target / name).write_bytes(text[: text.rfind(b"\n") + 1])
        return {name: ChainedLog(target / name).head()}

    def has(self, name: str, head: str) -> bool:
        """Whether a list of that name is here up to that line; the own one counts."""
        return any(
            lines and _travels_as(lines) == name and head in {line.hash for line in lines}
            for lines in (log.read() for log in self._lists().values())
        )

    def take(self, path: Path) -> int:
        """Take in a list that travelled, and return how many openings it brought; see `gained`."""
        n = self.gained(path)
        if n:
            self._others.mkdir(parents=True, exist_ok=True)
            atomic_write(self._others / path.name, path.read_bytes())
        return n

    def gained(self, path: Path) -> int:
        """Return how many openings a list that travelled would bring; nothing is written.

        Raises
        ------
        LedgerError
            It is broken, holds something else, or parts from the list of the same name here.
        """
        theirs = ChainedLog(path).read()
        if not theirs or _travels_as(theirs) != path.name:
            raise LedgerError("it is not the list that its name says", path.name, "push it again")
        for line in theirs:
            _check(line, path.name)
        here = [
            log for log in self._lists().values() if (own := log.read()) and _travels_as(own) == path.name
        ]
        ours = here[0].read() if here else []
        for one, other in zip(ours, theirs, strict=False):
            if one.hash != other.hash:
                raise LedgerError(
                    f"line {one.n} is another one in the list that was brought ({other.hash[:12]})",
                    f"{here[0].path}:{one.n}",
                    "one of the two was changed: find out which, `pipeline trials verify` checks this one",
                )
        return max(0, len(theirs) - len(ours))

    @property
    def _own(self) -> ChainedLog:
        return ChainedLog(self.folder / OWN)

    @property
    def _others(self) -> Path:
        return self.folder / "openings"

    def _lists(self) -> dict[str, ChainedLog]:
        """Return the own list and those of others, by file name."""
        names = sorted(path.name for path in self._others.glob("opened-*.jsonl") if self.is_one(path.name))
        return {OWN: self._own, **{name: ChainedLog(self._others / name) for name in names}}


def _travels_as(lines: list[Line]) -> str:
    return f"opened-{lines[0].hash[:32]}.jsonl"


def _check(line: Line, where: str) -> None:
    told = dict(line.payload)
    whole = set(told) == set(_KINDS) and all(type(told[name]) is kind for name, kind in _KINDS.items())
    times = told["interval_ms"] if whole else []
    possible = (
        len(times) == 2 and all(type(at) is int for at in times) and 0 <= times[0] < times[1] <= LATEST_MS
    )
    if not possible or told["k"] < 1:
        raise LedgerError("it is no opening of a holdout", f"{where}:{line.n}", "nothing of it was taken in")
