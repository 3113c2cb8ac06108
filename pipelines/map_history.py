"""Ways back and away: rollback, retirement, adopting a change by hand, and what the map's history says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from live_shadow.enable_map import EnableMap, dump_map, parse_map
from pipelines.audit import Audit, Change
from pipelines.gates.evidence import Outcome
from pipelines.map_file import OpenMap, Promotion, Request, opened_map, renewed, unchanged, write
from research_lab.durable import GENESIS
from research_lab.errors import MapError, UsageError
from research_lab.workspace import Workspace


@dataclass(frozen=True)
class Status:
    """The map and its history.

    Parameters
    ----------
    enable_map : None when the file is malformed.
    hash : SHA-256 of the file; empty when there is none.
    changes : all that happened, oldest first.
    n_abandoned : changes that a crash prevented.
    fault : why the file cannot be trusted; empty when it can.
    head : hash of the audit log's last line.
    """

    enable_map: EnableMap | None
    hash: str
    changes: tuple[Change, ...]
    n_abandoned: int
    fault: str
    head: str


def retire(
    workspace: Workspace,
    candidate: str,
    market: str = "",
    *,
    now: datetime,
    who: str = "",
    why: str = "",
    dry_run: bool = False,
) -> Promotion:
    """Take a candidate out of the map: its entry on a market, all its entries without one.

    Raises
    ------
    UsageError
        It is not in the map.
    """
    with opened_map(workspace) as opened:
        old = opened.map()
        entries = tuple(e for e in old.entries if e.candidate != candidate or market not in ("", e.market))
        where = f" on {market}" if market else ""
        if entries == old.entries:
            raise UsageError(
                f"candidate {candidate[:12]} is not in the map{where}", str(workspace.enable_map)
            )
        details = {"candidate": candidate} | ({"market": market} if market else {})
        request = Request(f"{candidate[:12]} retired{where}", who, why, now, details)
        return write(opened, old, renewed(old, opened, now, entries), request, dry_run=dry_run)


def rollback(
    workspace: Workspace,
    to_version: int | None = None,
    *,
    now: datetime,
    who: str = "",
    why: str = "",
    dry_run: bool = False,
) -> Promotion:
    """Restore an earlier map as a new version.

    Without a version: when the file was changed by hand, removed or damaged, the last map that the log
    wrote; otherwise the map before the last change. Called again it goes one change further back.

    Raises
    ------
    UsageError
        There is no earlier map, or no such version.
    """
    with opened_map(workspace) as opened:
        states = _states(opened.audit)
        i = _earlier(opened) if to_version is None else _state_of(states, to_version, workspace)
        version, text = states[i]
        target = parse_map(text, f"version {version} in {workspace.audit}")
        old = _readable(opened) or EnableMap()
        floor = max(old.version, opened.audit.last_version)
        new = EnableMap(**{**dict(target), "version": floor + 1, "updated": now})
        request = Request(f"back to version {version}", who, why, now, {}, restores=version)
        return write(opened, old, new, request, dry_run=dry_run)


def adopt(workspace: Workspace, *, now: datetime, who: str = "", why: str = "") -> Promotion:
    """Accept a map that a person changed by hand as a new version, if it is within the limits."""
    with opened_map(workspace) as opened:
        if opened.text is None:
            raise MapError("there is no map to adopt", str(workspace.enable_map), "run `pipeline rollback`")
        found = parse_map(opened.text, str(workspace.enable_map))
        if not opened.drift:
            return unchanged(opened, found, Outcome.PASS, ("the map is as the audit log wrote it",))
        shown = opened.audit.changes[-1].text  # by histories and aliases
        written = parse_map(shown, str(workspace.audit))
        new = renewed(found, opened, now, found.entries)
        request = Request("a change by hand adopted", who, why, now, {"found": opened.text})
        return write(opened, written, new, request, dry_run=False)


def status(workspace: Workspace) -> Status:
    """Return the map, its history and whether it can be trusted; an interrupted change is settled first."""
    if not workspace.enable_map.exists() and not workspace.audit.exists():
        return Status(EnableMap(), "", (), 0, "", GENESIS)
    with opened_map(workspace) as opened:
        fault = opened.drift
        if not fault:
            try:
                opened.map()
            except MapError as error:
                fault = str(error)
        audit = opened.audit
        found = _readable(opened)
        return Status(found, opened.hash, audit.changes, audit.n_abandoned, fault, audit.head)


def _states(audit: Audit) -> list[tuple[int, str]]:
    """Return version and text of every map so far: the one before the first change, then each change's."""
    if not audit.changes:
        return []
    baseline = audit.changes[0].baseline
    text = dump_map(EnableMap()) if baseline is None else baseline
    first = (parse_map(text, "the map before the first change").version, text)
    return [first, *((change.version, change.text) for change in audit.changes)]


def _state_of(states: Sequence[tuple[int, str]], version: int, workspace: Workspace) -> int:
    known = [state[0] for state in states]
    if version not in known:
        told = f"known are {known[0]} to {known[-1]}" if known else "nothing was ever changed"
        raise UsageError(f"no version {version}; {told}", str(workspace.audit))
    return known.index(version)


def _earlier(opened: OpenMap) -> int:
    """Return the state to go back to: before the last change that was not itself a way back."""
    changes = opened.audit.changes
    states = _states(opened.audit)
    i = len(changes)
    if opened.drift:
        return i
    while i > 0 and (restored := changes[i - 1].restores) is not None:
        i = _state_of(states, restored, opened.workspace)
    if i == 0:
        raise UsageError("there is no earlier map", str(opened.workspace.audit))
    return i - 1


def _readable(opened: OpenMap) -> EnableMap | None:
    """Return the map that stands in the file now, trusted or not; None when it cannot be read."""
    try:
        return EnableMap() if opened.text is None else parse_map(opened.text)
    except MapError:
        return None
