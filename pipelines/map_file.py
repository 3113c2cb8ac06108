"""enable_map.yaml under its lock: opening, settling what a crash left, writing, the answer given.

Nothing else in the program writes the map. Between `opened_map` and its end no other process does.
"""

from __future__ import annotations

import difflib
import getpass
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from live_shadow import governance
from live_shadow.enable_map import EnableMap, Entry, dump_map, parse_map, utc_text
from pipelines import candidates
from pipelines.audit import Audit, Change, close_intent, read_audit, write_intent
from pipelines.gates.evidence import Outcome
from research_lab.durable import atomic_write, remove_leftovers
from research_lab.errors import GauntletError, GovernanceError, LockedError, MapError, WorkspaceError
from research_lab.workspace import Workspace

LOCK_TIMEOUT_S = 60.0
LOCK_POLL_S = 0.005


@dataclass(frozen=True)
class Promotion:
    """The answer to a request to change the map.

    Parameters
    ----------
    outcome : PASS, FAIL or INSUFFICIENT.
    reasons : all that stands against it; after a PASS, why nothing changed or what went wrong beside.
    diff : unified difference of the canonical maps; empty when there is none or it was refused.
    old_map, new_map : before, and after (or as it would be in a dry run). Equal when refused.
    written : whether the file was changed.
    head : hash of the audit log's last line, to be anchored elsewhere.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    diff: str
    old_map: EnableMap
    new_map: EnableMap
    written: bool
    head: str


@dataclass(frozen=True)
class Request:
    """What the audit log is told of a change: what, by whom, why, when, and details of its kind."""

    what: str
    who: str
    why: str
    now: datetime
    details: Mapping[str, Any]
    restores: int | None = None


@dataclass(frozen=True)
class OpenMap:
    """The map's file and its log, as seen by the holder of the lock."""

    workspace: Workspace
    text: str | None
    audit: Audit
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        raw = None if self.text is None else self.text.encode("utf-8", errors="surrogateescape")
        object.__setattr__(self, "hash", "" if raw is None else hashlib.sha256(raw).hexdigest())

    @property
    def drift(self) -> str:
        """Say how the file differs from what the log last wrote; empty when it does not."""
        if self.audit.after is None or self.audit.after == self.hash:
            return ""
        if self.text is None:
            return f"the file is gone, but the audit log wrote version {self.audit.last_version}"
        return (
            f"its SHA-256 is {self.hash[:12]}, but the audit log last wrote {self.audit.after[:12]} "
            f"(version {self.audit.last_version}): it was changed by hand"
        )

    def map(self) -> EnableMap:
        """Return the current map; a missing file before the first change is an empty one."""
        if self.drift:
            raise MapError(
                self.drift,
                str(self.workspace.enable_map),
                "run `pipeline rollback` to restore it, or adopt the change",
            )
        return EnableMap() if self.text is None else parse_map(self.text, str(self.workspace.enable_map))


def renewed(old: EnableMap, opened: OpenMap, now: datetime, entries: tuple[Entry, ...]) -> EnableMap:
    """Return a map with other entries under a version that was never used."""
    version = max(old.version, opened.audit.last_version) + 1
    return EnableMap(**{**dict(old), "version": version, "updated": now, "entries": entries})


@contextmanager
def opened_map(workspace: Workspace) -> Iterator[OpenMap]:
    """Hold the lock, settle what a crash left, and hand out map and log."""
    if not workspace.root.is_dir():
        raise WorkspaceError("no such folder", str(workspace.root), "name an existing workspace")
    lock = FileLock(workspace.enable_map_lock, timeout=LOCK_TIMEOUT_S, poll_interval=LOCK_POLL_S)
    try:
        with lock:
            remove_leftovers(workspace.enable_map)
            yield _settled(workspace)
    except Timeout:
        raise LockedError(
            f"another process has held it for {LOCK_TIMEOUT_S:.0f} s",
            str(workspace.enable_map_lock),
            "wait for it, or find it with `fuser`",
        ) from None
    except OSError as fault:
        where = str(fault.filename or workspace.root)
        raise WorkspaceError(f"the disk refuses: {fault.strerror or fault}", where) from fault


def _settled(workspace: Workspace) -> OpenMap:
    opened = OpenMap(workspace, _text(workspace.enable_map), read_audit(workspace.audit))
    if opened.audit.pending is None:
        return opened
    intent, change = opened.audit.pending
    close_intent(workspace.audit, intent, done=change.after == opened.hash, repaired=True)
    return OpenMap(workspace, opened.text, read_audit(workspace.audit))


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None


def write(opened: OpenMap, old: EnableMap, new: EnableMap, request: Request, *, dry_run: bool) -> Promotion:
    """Write a map between its intent and its done line, unless the limits refuse it.

    A map that only has entries less than before is written whatever the limits say: so one that lowered limits
    refuse can be brought down step by step.
    """
    workspace = opened.workspace
    limits, told = _limits(workspace), tuple[str, ...]()
    try:
        governance.check_map(limits, new)
    except GovernanceError as refusal:
        told = (f"governance: {refusal}",)
        if not set(new.entries) < set(old.entries):
            return unchanged(opened, old, Outcome.FAIL, told)
    difference = _difference(old, new)
    if dry_run:
        return Promotion(Outcome.PASS, told, difference, old, new, False, opened.audit.head)
    text = dump_map(new)
    change = Change(
        version=new.version,
        at=utc_text(request.now),
        who=request.who or _user(),
        what=request.what,
        why=request.why,
        before=opened.hash,
        after=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
        baseline=None if opened.audit.changes else opened.text,
        restores=request.restores,
        details=request.details,
    )
    intent = write_intent(workspace.audit, change)
    atomic_write(workspace.enable_map, text)
    head = close_intent(workspace.audit, intent, done=True)
    notes = _record_stages(workspace, old, new, request)
    return Promotion(Outcome.PASS, (*told, *notes), difference, old, new, True, head)


def unchanged(opened: OpenMap, old: EnableMap, outcome: Outcome, reasons: tuple[str, ...]) -> Promotion:
    """Return the answer that leaves the map as it is."""
    return Promotion(outcome, reasons, "", old, old, False, opened.audit.head)


def _limits(workspace: Workspace) -> governance.Governance:
    """Return the workspace's pinned limits; before `live-shadow init`, the packaged ones."""
    if workspace.governance.exists() or workspace.governance_pin.exists():
        return governance.load(workspace.root)
    return governance.defaults()


def _record_stages(workspace: Workspace, old: EnableMap, new: EnableMap, request: Request) -> tuple[str, ...]:
    """Mirror changed stages into the candidates' own histories, and say where that failed.

    The map stands by now: a damaged folder must not make a change that happened look refused.
    """
    before = {entry.slot: entry.stage.value for entry in old.entries}
    after = {entry.slot: entry.stage.value for entry in new.entries}
    notes: list[str] = []
    for slot in sorted(before.keys() | after.keys()):
        stage = after.get(slot, "retired")
        if before.get(slot) == stage:
            continue
        try:
            for candidate in candidates.stored(workspace, *slot):
                candidates.record_stage(
                    candidate, stage, request.now, f"version {new.version}: {request.what}"
                )
        except (GauntletError, OSError) as fault:
            notes.append(f"the history of {slot[0][:12]} was not written: {fault}")
    return tuple(notes)


def _difference(old: EnableMap, new: EnableMap) -> str:
    lines = difflib.unified_diff(
        dump_map(old).splitlines(keepends=True),
        dump_map(new).splitlines(keepends=True),
        f"enable_map.yaml version {old.version}",
        f"enable_map.yaml version {new.version}",
    )
    return "".join(lines)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
