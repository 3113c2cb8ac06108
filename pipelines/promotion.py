"""Changing enable_map.yaml: promotion, retirement, rollback, each under the lock and in the audit log.

A refusal is a verdict and not an error: `Promotion.outcome` says FAIL or INSUFFICIENT with all reasons,
and nothing is written. Errors are for what cannot be judged: a map changed by somebody else, a broken
log, a candidate that does not exist.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from live_shadow.enable_map import ANY, EnableMap, Entry, Stage
from pipelines import candidates
from pipelines.candidates import Candidate
from pipelines.gates.evidence import Outcome, Verdict
from pipelines.map_file import Promotion, Request, opened_map, renewed, unchanged, write
from pipelines.map_history import Status, adopt, retire, rollback, status
from research_lab.errors import MapError, UsageError
from research_lab.workspace import Workspace

__all__ = [
    "REQUIRED",
    "Action",
    "Promotion",
    "Status",
    "add",
    "adopt",
    "judge",
    "promote",
    "replace",
    "retire",
    "rollback",
    "status",
]

_RESEARCH = ("static", "data", "lookahead", "backtest", "walk_forward", "overfitting", "holdout")
REQUIRED: Mapping[Stage, tuple[str, ...]] = {
    Stage.SHADOW: _RESEARCH,
    Stage.CANARY: (*_RESEARCH, "shadow"),
    Stage.CHAMPION: (*_RESEARCH, "shadow", "canary"),
}


@dataclass(frozen=True)
class Action:
    """What is asked of the map, beside candidate and stage.

    Parameters
    ----------
    replaces : full hash of the entry that leaves; empty to add.
    risk_share : share of the risk budget; a shadow always gets 0.
    regimes : where it may enter; None for what the candidate declares.
    since : first time at which it may trade; None for the time of the change.
    expires : from then on it opens nothing.
    who : the person; by default the user of the system.
    why : the reason, for the audit log.
    """

    replaces: str = ""
    risk_share: float = 1.0
    regimes: tuple[str, ...] | None = None
    expires: datetime | None = None
    who: str = ""
    why: str = ""
    since: datetime | None = None


def promote(
    workspace: Workspace,
    candidate: Candidate,
    stage: Stage | str,
    verdicts: Sequence[Verdict],
    *,
    now: datetime,
    action: Action | None = None,
    required: Sequence[str] | None = None,
    dry_run: bool = False,
    expected_version: int | None = None,
) -> Promotion:
    """Put a candidate into the map, or move it to a higher stage.

    Parameters
    ----------
    verdicts : all that were given; each must pass and rest on evidence stored for this candidate.
    now : the time of the change, UTC.
    action : add (the default) or replace, with share, regimes, expiry and reason.
    required : gates that must have passed; by default those of `REQUIRED` for the stage.
    dry_run : judge and show the difference, but write nothing.
    expected_version : the map's version that the decision was made on.

    Raises
    ------
    MapError
        The map is malformed, was changed by hand, or is not at `expected_version`.
    GovernanceError
        The limits cannot be read; a map that exceeds them is a refusal instead.
    UsageError
        The stage is below the present one, or the entry to replace is not in the map.
    """
    stage, action = _stage(stage), action or add()
    gates = tuple(REQUIRED[stage] if required is None else required)
    with opened_map(workspace) as opened:
        old = opened.map()
        if expected_version is not None and old.version != expected_version:
            raise MapError(
                f"the map is at version {old.version}, the decision was made on version {expected_version}",
                str(workspace.enable_map),
                "somebody changed it meanwhile; compare again",
            )
        entry = _entry(candidate, stage, action, _evidence_hash(verdicts), now)
        entries = _placed(old, entry, action)
        outcome, reasons = judge(candidate, verdicts, gates)
        if outcome is not Outcome.PASS:
            return unchanged(opened, old, outcome, reasons)
        if entries == old.entries:
            return unchanged(opened, old, outcome, (f"{candidate} already is {stage}",))
        new = renewed(old, opened, now, entries)
        verb = f"in place of {action.replaces[:12]}" if action.replaces else "added"
        details = {
            "candidate": candidate.hash,
            "stage": stage.value,
            "required": list(gates),
            "gates": {
                v.gate: {"outcome": v.outcome.value, "evidence": v.evidence_hash, "policy": v.policy_hash}
                for v in verdicts
            },
        }
        request = Request(f"{candidate} to {stage}, {verb}", action.who, action.why, now, details)
        return write(opened, old, new, request, dry_run=dry_run)


def add(
    *,
    risk_share: float = 1.0,
    regimes: tuple[str, ...] | None = None,
    expires: datetime | None = None,
    who: str = "",
    why: str = "",
) -> Action:
    """Ask for a place beside those in the map."""
    return Action("", risk_share, regimes, expires, who, why)


def replace(
    candidate: str,
    *,
    risk_share: float = 1.0,
    regimes: tuple[str, ...] | None = None,
    expires: datetime | None = None,
    who: str = "",
    why: str = "",
) -> Action:
    """Ask for the place of an entry, given by its full hash, which leaves the map."""
    return Action(candidate, risk_share, regimes, expires, who, why)


def judge(
    candidate: Candidate, verdicts: Sequence[Verdict], required: Sequence[str]
) -> tuple[Outcome, tuple[str, ...]]:
    """Say whether verdicts allow a promotion, with a sentence for everything that stands against it.

    FAIL when a verdict failed; else INSUFFICIENT when one is missing, undecided or does not rest on
    evidence stored for this candidate; else PASS. Only what was measured and judged passes.
    """
    failed: list[str] = []
    lacking: list[str] = []
    given = {verdict.gate for verdict in verdicts}
    lacking.extend(f"{gate}: no verdict" for gate in required if gate not in given)
    if not candidate.spec_path.exists():
        lacking.append(f"{candidate}: its text is not stored")
    for verdict in verdicts:
        told = "; ".join(verdict.reasons) or "no reason was given"
        unmet = [name for name, figure in verdict.figures.items() if not figure.met]
        if verdict.outcome is Outcome.FAIL:
            failed.append(f"{verdict.gate}: {told}")
        elif verdict.outcome is not Outcome.PASS:
            lacking.append(f"{verdict.gate}: {told}")
        elif unmet:
            failed.append(f"{verdict.gate}: passed, although {unmet[0]} does not meet its limit")
        elif reason := candidates.unsupported(candidate, verdict):
            lacking.append(reason)
    reasons = (*failed, *lacking)
    if failed:
        return Outcome.FAIL, reasons
    return (Outcome.INSUFFICIENT if lacking else Outcome.PASS), reasons


def _entry(candidate: Candidate, stage: Stage, action: Action, evidence: str, now: datetime) -> Entry:
    regimes = candidate.facts.regimes if action.regimes is None else action.regimes
    try:
        return Entry(
            candidate=candidate.hash,
            name=candidate.name,
            market=candidate.market,
            timeframe=candidate.timeframe,
            stage=stage,
            risk_share=action.risk_share if stage.holds_capital else 0.0,
            regimes=regimes or (ANY,),
            since=action.since or now,
            evidence=evidence,
            expires=action.expires,
        )
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"no entry for the map: {place}: {first['msg']}", str(candidate)) from None


def _placed(old: EnableMap, entry: Entry, action: Action) -> tuple[Entry, ...]:
    """Return the entries with the new one in the place of its predecessor, or at the end."""
    entries = list(old.entries)
    present = old.find(*entry.slot)
    if present is not None and present.stage.rank > entry.stage.rank:
        raise UsageError(
            f"{entry.name} already is {present.stage}, which is above {entry.stage}",
            "enable_map.yaml",
            "retire it first",
        )
    if present is not None and present.stage is entry.stage:
        entry = entry.model_copy(update={"since": present.since})
    leaving = [other for other in (_replaced(old, entry, action), present) if other is not None]
    at = min((entries.index(other) for other in leaving), default=len(entries))
    entries.insert(at, entry)
    return tuple(other for other in entries if other is entry or other not in leaving)


def _replaced(old: EnableMap, entry: Entry, action: Action) -> Entry | None:
    if not action.replaces:
        return None
    if action.replaces == entry.candidate:
        raise UsageError("a candidate cannot replace itself", str(entry.name))
    found = [other for other in old.entries if other.candidate == action.replaces]
    found = [other for other in found if other.market == entry.market] or found
    if len(found) != 1:
        seen = "is not in the map" if not found else f"is in the map {len(found)} times, on other markets"
        raise UsageError(f"{action.replaces[:12]}, which is to be replaced, {seen}", "enable_map.yaml")
    return found[0]


def _evidence_hash(verdicts: Sequence[Verdict]) -> str:
    """Return the SHA-256 that binds an entry to all evidence and policies that it was judged on."""
    bound = {verdict.gate: [verdict.evidence_hash, verdict.policy_hash] for verdict in verdicts}
    return hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()


def _stage(stage: Stage | str) -> Stage:
    try:
        return Stage(stage)
    except ValueError:
        raise UsageError(f"no stage {stage!r}; stages are {', '.join(Stage)}") from None
