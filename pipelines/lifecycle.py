"""The life of a candidate after its examination: gate 10, the map, the registry, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from live_shadow.enable_map import Entry
from pipelines import candidates, promotion
from pipelines.campaign import GATES, open_world
from pipelines.candidates import Candidate
from pipelines.gates import promote as gate
from pipelines.gates.evidence import Outcome, Verdict
from pipelines.gates.policy import Policy
from pipelines.gates.shadow import shadow_bars
from pipelines.gates.world import World
from pipelines.map_file import Promotion
from pipelines.map_history import rollback, status
from pipelines.tracking import Tracker, model_name
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.market_data.lake import Lake
from research_lab.workspace import Workspace

REQUIRED = (*GATES, "promote")
CHAMPION = "champion"


@dataclass(frozen=True, eq=False)
class Promoted:
    """What came of a request to promote: the map's change, and gate 10's verdict."""

    promotion: Promotion
    verdict: Verdict | None
    registered: tuple[str, ...]  # what MLflow now shows, a sentence each


def promote_candidate(
    workspace: Workspace,
    candidate: Candidate,
    regimes: RegimeSet,
    policy: Policy,
    *,
    dry_run: bool = False,
    why: str = "",
) -> Promoted:
    """Judge a candidate against the champions of its market, and put it into the map if it passes all.

    It may trade from the end of its shadow evidence on: what it was judged on it never trades. The map is
    changed first; MLflow mirrors it.
    """
    verdicts = candidates.load_verdicts(candidate)
    ready, _ = promotion.judge(candidate, verdicts, GATES)
    tracker = Tracker(workspace)
    run = _run_of(candidate)
    if run and not dry_run:
        tracker.anchored(run)  # a store that cannot be reached stops here, before the map is touched
    if ready is not Outcome.PASS:
        now = datetime.now(UTC).replace(microsecond=0)
        refused = promotion.promote(
            workspace, candidate, CHAMPION, verdicts, now=now, required=REQUIRED, dry_run=True
        )
        return Promoted(refused, None, ())
    world = _world_of(workspace, candidate, regimes, policy)
    spec = _spec_of(candidate)
    current = status(workspace).enable_map
    champions = [] if current is None else _champions(workspace, candidate, current.entries)
    evidence = gate.measure(spec, world, champions)
    decision = gate.decide(evidence, policy)
    candidates.save_evidence(candidate, evidence)
    action = promotion.Action(replaces=decision.replaces, why=why, since=_end_of_evidence(world))
    changed = promotion.promote(
        workspace,
        candidate,
        CHAMPION,
        [*verdicts, decision.verdict],
        now=datetime.now(UTC).replace(microsecond=0),
        action=action,
        required=REQUIRED,
        dry_run=dry_run,
        expected_version=None if current is None else current.version,
    )
    if not changed.written:
        return Promoted(changed, decision.verdict, ())
    candidates.save_verdicts(candidate, [*verdicts, decision.verdict])
    return Promoted(changed, decision.verdict, mirror(workspace, tracker, changed))


def roll_back(
    workspace: Workspace, to_version: int | None, *, dry_run: bool = False, why: str = ""
) -> Promoted:
    """Restore an earlier map as a new version, and let MLflow's aliases follow."""
    tracker = Tracker(workspace)
    now = datetime.now(UTC).replace(microsecond=0)
    changed = rollback(workspace, to_version, now=now, why=why, dry_run=dry_run)
    return Promoted(changed, None, mirror(workspace, tracker, changed) if changed.written else ())


def _run_of(candidate: Candidate) -> str:
    path = candidate.folder / "mlflow_run"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def mirror(workspace: Workspace, tracker: Tracker, change: Promotion) -> tuple[str, ...]:
    """Let MLflow's aliases say what the map says after a change; return a sentence for each alias moved."""
    told = []
    before = {entry.slot: entry for entry in change.old_map.entries}
    after = {entry.slot: entry for entry in change.new_map.entries}
    for slot in sorted(before.keys() - after.keys()):
        name = model_name(f"{before[slot].market} {before[slot].name}")
        tracker.delete_alias(name, CHAMPION)
        told.append(f"{name}: alias {CHAMPION} removed")
    for slot in sorted(after.keys() - before.keys()):
        run = _run_of(candidates.load(workspace, after[slot].candidate))
        if run:
            name = model_name(f"{after[slot].market} {after[slot].name}")
            version = tracker.register(run, name)
            tracker.set_alias(name, CHAMPION, version)
            told.append(f"{name} version {version}: alias {CHAMPION}")
    return tuple(told)


def _world_of(workspace: Workspace, candidate: Candidate, regimes: RegimeSet, policy: Policy) -> World:
    bars = Lake(workspace.root).load(candidate.facts.snapshot)
    return open_world(workspace, bars, regimes, policy, candidate.facts.campaign)


def _spec_of(candidate: Candidate) -> Spec:
    return parse_spec(candidates.spec_text(candidate, parse_spec), str(candidate.spec_path))


def _champions(workspace: Workspace, candidate: Candidate, entries: Sequence[Entry]) -> list[Spec]:
    """Return the strategies in the map that hold capital on the candidate's market."""
    rivals = [
        entry.candidate
        for entry in entries
        if entry.market == candidate.market
        and entry.candidate != candidate.hash
        and entry.stage.holds_capital
    ]
    return [_spec_of(candidates.load(workspace, digest)) for digest in rivals]


def _end_of_evidence(world: World) -> datetime:
    bars, _ = shadow_bars(world)
    return datetime.fromtimestamp(bars.interval[1] / 1000, UTC)
