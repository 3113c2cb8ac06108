"""The audit log of enable_map: who changed what, why, from which map to which.

Each change writes two chained lines around the map itself: an *intent* with the whole new map before
it, and *done* after it. A crash in between leaves an open intent, and the map's own hash tells whether
the change had happened: then it is completed, otherwise it is marked *abandoned*. Since every intent
carries its map, the log is the history from which `rollback` restores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research_lab.durable import ChainedLog, Line
from research_lab.errors import LedgerError

_INTENT, _DONE, _ABANDONED = "intent", "done", "abandoned"


@dataclass(frozen=True)
class Change:
    """One change of the map, as its intent tells it.

    Parameters
    ----------
    version : of the map that it makes.
    at : UTC time.
    who, what, why : the person, the change in one sentence, the reason given.
    before, after : SHA-256 of the map's file; `before` is empty when there was none.
    text : the new map.
    baseline : the map before the first change of all; None at any other change or when there was none.
    restores : the version that a rollback brings back.
    details : candidate, stage, gates with outcome, evidence and policy hashes, and the like.
    """

    version: int
    at: str
    who: str
    what: str
    why: str
    before: str
    after: str
    text: str
    baseline: str | None = None
    restores: int | None = None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Audit:
    """The audit log as read and checked.

    Parameters
    ----------
    changes : those that happened, oldest first.
    n_abandoned : intents whose map was never written.
    pending : an intent that a crash left open, with the hash of its line.
    head : hash of the last line, to be anchored elsewhere.
    """

    changes: tuple[Change, ...]
    n_abandoned: int
    pending: tuple[str, Change] | None
    head: str

    @property
    def after(self) -> str | None:
        """SHA-256 that the map's file should have; None before the first change."""
        return self.changes[-1].after if self.changes else None

    @property
    def last_version(self) -> int:
        """The highest version ever done, 0 before the first change."""
        return max((change.version for change in self.changes), default=0)


def read_audit(path: Path) -> Audit:
    """Read and check the whole log.

    Raises
    ------
    LedgerError
        The chain is broken, or its lines do not follow from each other.
    """
    log = ChainedLog(path)
    changes: list[Change] = []
    n_abandoned = 0
    pending: tuple[str, Change] | None = None
    lines = log.read()
    for line in lines:
        kind = line.payload.get("kind")
        closes = pending is not None and line.payload.get("intent") == pending[0]
        if kind == _INTENT and pending is None:
            pending = (line.hash, _change(line, path))
        elif kind == _DONE and closes and pending is not None:
            changes.append(pending[1])
            pending = None
        elif kind == _ABANDONED and closes:
            n_abandoned += 1
            pending = None
        else:
            raise LedgerError(
                f"a line of kind {kind!r} does not follow from the line before it", f"{path}:{line.n}"
            )
    return Audit(tuple(changes), n_abandoned, pending, lines[-1].hash if lines else log.head())


def write_intent(path: Path, change: Change) -> str:
    """Announce a change durably, and return the hash by which it is closed."""
    fields = {
        "kind": _INTENT,
        "version": change.version,
        "at": change.at,
        "who": change.who,
        "what": change.what,
        "why": change.why,
        "before": change.before,
        "after": change.after,
        "text": change.text,
        "baseline": change.baseline,
        "restores": change.restores,
        "details": change.details,
    }
    return ChainedLog(path).append(fields).hash


def close_intent(path: Path, intent: str, *, done: bool, repaired: bool = False) -> str:
    """Say whether an announced change happened, and return the log's new head."""
    kind = _DONE if done else _ABANDONED
    return ChainedLog(path).append({"kind": kind, "intent": intent, "repaired": repaired}).hash


def _change(line: Line, path: Path) -> Change:
    fields = dict(line.payload)
    fields.pop("kind")
    try:
        return Change(**fields)
    except TypeError:
        where, remedy = f"{path}:{line.n}", "use the program that wrote it"
        raise LedgerError("an intent of unknown form", where, remedy) from None
