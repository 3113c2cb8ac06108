"""Keeps what a campaign found: candidates in the workspace, child runs in MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from pipelines import candidates
from pipelines.candidates import Candidate, Facts
from pipelines.gates.evidence import Evidence, Outcome, Verdict
from pipelines.gates.world import Ground, World
from pipelines.tracking.tracker import Tracker
from research_lab.dsl.spec import Spec
from research_lab.durable import atomic_write
from research_lab.errors import WorkspaceError
from research_lab.workspace import Workspace


class Examined(Protocol):
    """A strategy, what was measured of it, and what was judged."""

    @property
    def template(self) -> Spec: ...
    @property
    def spec(self) -> Spec: ...
    @property
    def evidence(self) -> Mapping[str, Evidence]: ...
    @property
    def verdicts(self) -> Mapping[str, Verdict]: ...
    @property
    def heads(self) -> Mapping[str, str]: ...
    @property
    def outcome(self) -> Outcome: ...


def save(
    workspace: Workspace, examination: Examined, world: World, ground: Ground, campaign: str
) -> Candidate:
    """Keep a candidate on a market with its evidence, and what is needed to measure it again.

    Parameters
    ----------
    ground : what it was examined on: the world itself, or the pool that the world is a market of.
    """
    spec, origin = examination.spec, world.scorer.origin_of(examination.template)
    facts = Facts(
        spec.name,
        world.bars.market.name,
        spec.timeframe,
        world.bars.snapshot,
        campaign,
        spec.regimes or ("any",),
        origin.generator,
        origin.knowledge_cutoff,
        tuple(other.bars.snapshot for other in ground.worlds) if len(ground.worlds) > 1 else (),
    )
    candidate = candidates.save(workspace, spec.canonical(), spec.hash, facts)
    if _is_overtaken(candidate, examination):
        candidates.set_aside(candidate)
    atomic_write(candidate.template_path, examination.template.canonical())
    heads = dict(examination.heads) or world.scorer.ledger.heads()
    atomic_write(candidate.heads_path, json.dumps(heads, indent=1, sort_keys=True) + "\n")
    for evidence in examination.evidence.values():
        candidates.save_evidence(candidate, evidence)
    candidates.save_verdicts(candidate, examination.verdicts.values())
    return candidate


def _is_overtaken(candidate: Candidate, examination: Examined) -> bool:
    """Whether a holdout is stored that was combined with another p of gate 6, and was not measured now."""
    if "holdout" in examination.evidence:
        return False
    try:
        opened = candidates.load_evidence(candidate, "holdout")
    except WorkspaceError:  # what cannot be read is not mixed with what was measured now
        return True
    luck = examination.evidence.get("overfitting")
    return opened is not None and (luck is None or opened.bound_to.get("context") != luck.hash)


def track(tracker: Tracker, run: str, examinations: Sequence[Examined], saved: Sequence[Candidate]) -> None:
    """Write every candidate as a child run of the campaign's."""
    for examination, candidate in zip(examinations, saved, strict=True):
        metrics = {
            f"{gate}/{name}": value
            for gate, evidence in examination.evidence.items()
            for name, value in evidence.figures.items()
        }
        tags: dict[str, object] = {
            f"gate.{gate}": verdict.outcome.value for gate, verdict in examination.verdicts.items()
        }
        tags["outcome"] = examination.outcome.value
        artifacts = {"verdicts.json": candidate.verdicts_path}
        artifacts |= {f"evidence/{gate}.json": candidate.evidence_path(gate) for gate in examination.evidence}
        child = tracker.log_candidate(
            run, candidate.name, candidate.hash, examination.spec.canonical(), metrics, tags, artifacts
        )
        atomic_write(candidate.folder / "mlflow_run", child + "\n")
