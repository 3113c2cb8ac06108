"""Measures a candidate again, and compares the evidence byte for byte.

The ledger is read as it was when gate 6 was measured, so a look that is not in it shows; the holdout is shown
again under the key that opened it, which is no further opening. What is no longer at hand is said: the data,
the code, the protocol, the ledger's lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipelines import candidates
from pipelines.campaign import exam_of, examine_one
from pipelines.candidates import Candidate
from pipelines.gates import holdout, promote
from pipelines.gates.evidence import Evidence, Outcome
from pipelines.gates.policy import Policy
from pipelines.gates.pool import Pool
from pipelines.gates.world import Ground, World
from pipelines.grounds import bars_of, open_ground, world_of
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import InsufficientError, LedgerError, UsageError, WorkspaceError
from research_lab.scoring.origin import Origin
from research_lab.scoring.past_ledger import PastLedger
from research_lab.scoring.scorer import Scorer
from research_lab.workspace import Workspace

GATES = (
    "static", "data", "lookahead", "backtest", "walk_forward", "overfitting", "holdout", "shadow", "promote",
)  # fmt: skip

_AGAIN = "run the campaign again"


@dataclass(frozen=True)
class Compared:
    """One gate's evidence, stored and measured again.

    Parameters
    ----------
    same : whether every byte is; None when it could not be measured again. told : the first difference, or why.
    """

    gate: str
    same: bool | None
    told: str = ""


@dataclass(frozen=True)
class Verified:
    """What came of it: gate by gate, and what is not as it was then."""

    gates: tuple[Compared, ...]
    changed: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        """PASS when all bytes are the same, FAIL when one differs, else INSUFFICIENT."""
        if any(gate.same is False for gate in self.gates):
            return Outcome.FAIL
        return Outcome.PASS if all(gate.same for gate in self.gates) else Outcome.INSUFFICIENT


def verify(workspace: Workspace, candidate: Candidate, regimes: RegimeSet, policy: Policy) -> Verified:
    """Measure everything that is stored of a candidate again.

    Raises
    ------
    InsufficientError
        There is no evidence, its data or its template are not stored, the ledger lost lines it had, or other code
        asks for other looks.
    UsageError
        It was measured with another policy, other costs or other regimes than these.
    WorkspaceError
        The stored text or evidence was changed.
    """
    stored = {g: e for g, e in candidates.all_evidence(candidate).items() if g in GATES}
    if not stored:
        raise InsufficientError("nothing was measured of it", str(candidate), _AGAIN)
    template = _template(candidate)
    ground = _ground_then(workspace, candidate, template, regimes, policy)
    if "overfitting" in stored:  # its context: the ledger's head, and the champions of that time
        then = stored["overfitting"].bound_to.get("context", "").split()[1:]
        ground = replace(ground, champions=tuple(then)) if isinstance(ground, World) else ground
    spec = parse_spec(candidates.spec_text(candidate, parse_spec), str(candidate.spec_path))
    changed = _changed(next(iter(stored.values())), ground, spec)
    world = world_of(ground, candidate.market)
    try:
        found = _again(workspace, template, stored, ground, world, same_code=not changed)
    except LedgerError as fault:
        if not changed:
            raise
        raise InsufficientError(f"{changed[0]}, and now gives {fault.what}", str(candidate), _AGAIN) from None
    gates = [_compared(stored[gate], found.get(gate), changed) for gate in GATES if gate in stored]
    gates += [Compared(gate, False, "measured now, and not stored") for gate in found if gate not in stored]
    return Verified(tuple(gates), changed)


def _template(candidate: Candidate) -> Spec:
    if not candidate.template_path.exists():
        raise InsufficientError(
            "the strategy as it was proposed is not stored", str(candidate.folder), _AGAIN
        )
    return parse_spec(candidate.template_path.read_text(encoding="utf-8"), str(candidate.template_path))


def _ground_then(
    workspace: Workspace, candidate: Candidate, template: Spec, regimes: RegimeSet, policy: Policy
) -> World | Pool:
    """Return what it was examined on, with the ledger as it was."""
    facts = candidate.facts
    try:
        bars = bars_of(workspace, facts)
        heads = json.loads(candidate.heads_path.read_text(encoding="utf-8"))
        ledger = PastLedger(workspace.trials, heads)
        ledger.head()
    except LedgerError as fault:
        raise InsufficientError(
            f"the ledger is not what it was: {fault.what}", fault.where, fault.remedy
        ) from None
    except WorkspaceError as fault:
        raise InsufficientError(f"the data are not there: {fault.what}", fault.where, fault.remedy) from None
    except (OSError, ValueError) as fault:
        raise InsufficientError(
            f"the ledger's heads cannot be read: {fault}", str(candidate.heads_path), _AGAIN
        ) from None
    ground = open_ground(workspace, bars, regimes, policy, facts.campaign)
    origin = Origin(facts.generator or "file", knowledge_cutoff=facts.knowledge_cutoff)
    origins = {template.template_hash: origin}
    worlds = [
        replace(w, scorer=Scorer(ledger, w.research, w.terms, regimes, facts.campaign, origins=origins))
        for w in ground.worlds
    ]
    return Pool(tuple(worlds)) if facts.pool else worlds[0]


def _changed(stored: Evidence, world: Ground, spec: Spec) -> tuple[str, ...]:
    """Return what is not as it was; refuse another protocol, with which nothing can be compared."""
    now = world.bound_to(spec)
    if stored.bound_to.get("protocol") != now["protocol"]:
        raise UsageError(
            "it was measured with another policy, other costs or other regimes",
            "policy.yaml, symbols.yaml, regimes.yaml",
            "name the policy of that time with --policy, and restore the other two",
        )
    if stored.bound_to.get("code") == now["code"]:
        return ()
    was = stored.bound_to.get("code", "")[:12]
    return (f"the code changed since: it was {was}, it is {now['code'][:12]}",)


def _again(
    workspace: Workspace,
    template: Spec,
    stored: Mapping[str, Evidence],
    ground: World | Pool,
    world: World,
    *,
    same_code: bool,
) -> dict[str, Evidence]:
    """Measure every gate that is stored, in the order of the campaign; gate 10 on the candidate's own market."""
    exam = exam_of(ground)
    known = stored["static"].bound_to.get("context", "").split() if "static" in stored else []
    found = examine_one(template, exam, known, lambda stage, share: None)
    evidence = dict(found.evidence)
    spec = found.spec
    if "overfitting" in stored:
        evidence["overfitting"] = exam.overfitting(spec)
    if not same_code or not all(w.lake.was_opened(w.bars, holdout.key_of(spec, w)) for w in ground.worlds):
        return evidence  # to see what the last gates saw would be a further opening
    if "holdout" in stored:
        evidence["holdout"] = exam.holdout(spec, evidence["overfitting"])
    if "shadow" in stored:
        evidence["shadow"] = exam.shadow(spec)
    if "promote" in stored:
        rivals = _rivals(workspace, stored["promote"], world)
        if rivals is not None:
            evidence["promote"] = promote.measure(spec, world, rivals)
    return evidence


def _rivals(workspace: Workspace, stored: Evidence, world: World) -> list[Spec] | None:
    """Return the champions that gate 10 compared with, None when one is not stored any more."""
    digests = stored.bound_to.get("context", "").split()
    rivals = []
    for digest in digests:
        kept = candidates.stored(workspace, digest, world.bars.market.name)
        if not kept:
            return None
        rivals.append(parse_spec(candidates.spec_text(kept[0], parse_spec), str(kept[0].spec_path)))
    return rivals


def _compared(stored: Evidence, found: Evidence | None, changed: tuple[str, ...]) -> Compared:
    if found is None:
        why = "it cannot be measured again"
        if stored.gate in ("holdout", "shadow"):
            why = "the holdout is not shown again: with other code, or no record, that would be a further opening"
        elif stored.gate not in ("promote", "overfitting"):
            why = "it is not reached any more"
            return Compared(stored.gate, None if changed else False, why)
        return Compared(stored.gate, None, why)
    told = first_difference(stored, found, bound=not changed)
    if told:
        return Compared(stored.gate, False, told)
    return Compared(stored.gate, None if changed else True, "the figures are the same" if changed else "")


def first_difference(stored: Evidence, found: Evidence, *, bound: bool = True) -> str:
    """Return the first thing that differs between two pieces of evidence of a gate, "" when no byte does.

    Parameters
    ----------
    bound : whether to compare what they are bound to as well.
    """
    ours, theirs = (json.loads(one.canonical()) for one in (stored, found))
    for part in ("figures", "insufficient", "faults", "series", *(("bound_to",) if bound else ())):
        place = _first(ours[part], theirs[part], part)
        if place:
            return place
    return ""


def _first(a: Any, b: Any, place: str) -> str:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            if key not in a or key not in b:
                return f"{place} {key} is {'not stored' if key not in a else 'not measured any more'}"
            told = _first(a[key], b[key], f"{place} {key}")
            if told:
                return told
        return ""
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return next(
            (t for k, (x, y) in enumerate(zip(a, b, strict=True)) if (t := _first(x, y, f"{place} {k}"))), ""
        )
    same = type(a) is type(b) and repr(a) == repr(b)
    return "" if same else f"{place} was {_short(a)} and is {_short(b)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
