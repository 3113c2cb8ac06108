"""The life of a candidate after its examination: gate 10, the map, the registry, and the way back."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from live_shadow.enable_map import EnableMap, Entry, Stage
from pipelines import candidates, promotion
from pipelines.anchoring import check_openings
from pipelines.campaign import GATES
from pipelines.candidates import Candidate
from pipelines.gates import promote as gate
from pipelines.gates.evidence import Evidence, Outcome, Verdict
from pipelines.gates.policy import Policy, judge
from pipelines.gates.pool import Pool
from pipelines.gates.shadow import shadow_bars
from pipelines.gates.world import World
from pipelines.grounds import ground_of, world_of
from pipelines.map_file import Promotion, opened_map
from pipelines.map_history import adopt, retire, rollback
from pipelines.report import write_report
from pipelines.tracking.tracker import Tracker, model_name
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import GauntletError, WorkspaceError
from research_lab.scoring.past_ledger import PastLedger
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.workspace import Workspace

REQUIRED = (*GATES, "promote")
CHAMPION = "champion"
ALIASES: Mapping[Stage, str] = {
    Stage.SHADOW: "challenger",
    Stage.CANARY: "canary",
    Stage.CHAMPION: CHAMPION,
}  # in MLflow's registry


@dataclass(frozen=True, eq=False)
class Promoted:
    """What came of a request to promote: the map's change, and gate 10's verdict."""

    promotion: Promotion
    verdict: Verdict | None
    registered: tuple[str, ...]  # what MLflow now shows, a sentence each


@dataclass(frozen=True)
class Wish:
    """What a person asks for beside the candidate.

    Parameters
    ----------
    share : of the risk budget, in (0, 1]; None for what the map leaves free.
    why : the reason, for the audit log. dry_run : show what would change, and write nothing.
    """

    share: float | None = None
    why: str = ""
    dry_run: bool = False


def promote_candidate(
    workspace: Workspace, candidate: Candidate, regimes: RegimeSet, policy: Policy, wish: Wish | None = None
) -> Promoted:
    """Judge a candidate against the champions of its market, and put it into the map if it passes all.

    Its evidence is judged by this policy, whichever one the campaign had, and must be of the data, protocol
    and code at hand. It may trade from the end of its shadow evidence on: what it was judged on it never
    trades. The map is changed first; MLflow mirrors it.

    Raises
    ------
    MapError, GovernanceError
        The map or the limits cannot be trusted: nothing is judged or written then.
    TrackingError
        The store does not answer: the map is not touched.
    """
    wish = wish or Wish()
    with opened_map(workspace) as opened:
        current = opened.map()
    verdicts = [_by(policy, candidate, v) for v in candidates.load_verdicts(candidate) if v.gate in GATES]
    if refused := _refusal(workspace, candidate, verdicts):
        return Promoted(refused, None, ())
    ground, spec = ground_of(workspace, candidate.facts, regimes, policy), _spec_of(candidate)
    world = world_of(ground, candidate.market)
    verdicts = [_up_to_date(candidate, verdict, ground.bound_to(spec)) for verdict in verdicts]
    verdicts = [_still_counted(candidate, verdict, ground) for verdict in verdicts]
    if refused := _refusal(workspace, candidate, verdicts):
        return Promoted(refused, None, ())
    evidence = gate.measure(spec, world, _champions(workspace, candidate, current.entries))
    decision = gate.decide(evidence, policy)
    asked = _Request(
        [*verdicts, decision.verdict],
        promotion.Action(
            replaces=decision.replaces,
            risk_share=_share(wish.share, current, candidate, decision.replaces),
            why=wish.why,
            since=None if evidence.insufficient else _end_of_evidence(spec, world),
        ),
        current.version,
    )
    with _rehearsal(candidate, evidence) as copy:
        changed = asked.put(workspace, copy, dry_run=True)
    passed = decision.verdict.outcome is Outcome.PASS
    if wish.dry_run or (passed and not changed.diff):
        return Promoted(changed, decision.verdict, ())
    tracker = Tracker(workspace)
    if (
        passed
    ):  # a ledger that lost looks, or a store that cannot be reached, stops here: the map is untouched
        world.scorer.ledger.verify(check_openings(world.lake, tracker.ledgers.anchored_heads()))
    candidates.save_evidence(candidate, evidence)
    if passed:
        changed = asked.put(workspace, candidate, dry_run=False)
    candidates.save_verdicts(candidate, asked.verdicts)
    told = _mirrored(workspace, tracker, changed) if changed.written else ()
    write_report(candidates.load(workspace, candidate.hash, candidate.market), policy)
    return Promoted(changed, decision.verdict, told)


def roll_back(
    workspace: Workspace, to_version: int | None, *, dry_run: bool = False, why: str = ""
) -> Promoted:
    """Restore an earlier map as a new version, and let MLflow's aliases follow."""
    tracker = Tracker(workspace)
    changed = rollback(workspace, to_version, now=_now(), why=why, dry_run=dry_run)
    return Promoted(changed, None, _mirrored(workspace, tracker, changed) if changed.written else ())


def take_out(workspace: Workspace, candidate: Candidate, *, dry_run: bool = False, why: str = "") -> Promoted:
    """Retire a candidate from the map on its market, and let MLflow's aliases follow."""
    tracker = Tracker(workspace)
    changed = retire(workspace, candidate.hash, candidate.market, now=_now(), why=why, dry_run=dry_run)
    return Promoted(changed, None, _mirrored(workspace, tracker, changed) if changed.written else ())


def take_over(workspace: Workspace, *, why: str = "") -> Promoted:
    """Adopt a map that was changed by hand, and let MLflow's aliases follow."""
    tracker = Tracker(workspace)
    changed = adopt(workspace, now=_now(), why=why)
    return Promoted(changed, None, _mirrored(workspace, tracker, changed) if changed.written else ())


@dataclass(frozen=True)
class _Request:
    """What is asked of the map, once a candidate has been judged by every gate."""

    verdicts: Sequence[Verdict]
    action: promotion.Action
    expected_version: int

    def put(self, workspace: Workspace, candidate: Candidate, *, dry_run: bool) -> Promotion:
        return promotion.promote(
            workspace,
            candidate,
            CHAMPION,
            self.verdicts,
            now=_now(),
            action=self.action,
            required=REQUIRED,
            dry_run=dry_run,
            expected_version=self.expected_version,
        )


@contextmanager
def _rehearsal(candidate: Candidate, evidence: Evidence) -> Iterator[Candidate]:
    """Hand out a copy of the candidate's folder with gate 10's evidence in it, for a dry run."""
    with tempfile.TemporaryDirectory() as folder:
        copy = replace(candidate, folder=shutil.copytree(candidate.folder, Path(folder) / "candidate"))
        candidates.save_evidence(copy, evidence)
        yield copy


def _by(policy: Policy, candidate: Candidate, verdict: Verdict) -> Verdict:
    """Return this policy's verdict on stored evidence, whatever verdicts.json says.

    A verdict without its evidence stays as it is, and is refused for that later.
    """
    if candidates.unsupported(candidate, verdict):
        return verdict
    evidence = candidates.load_evidence(candidate, verdict.gate)
    return verdict if evidence is None else judge(evidence, policy)


def _up_to_date(candidate: Candidate, verdict: Verdict, bound_to: Mapping[str, str]) -> Verdict:
    """Return the verdict, INSUFFICIENT when its evidence is of other data, another protocol or other code."""
    evidence = candidates.load_evidence(candidate, verdict.gate)
    bound = {} if evidence is None else evidence.bound_to
    other = [name for name in ("data", "protocol", "code") if bound.get(name) != bound_to[name]]
    if not other:
        return verdict
    told = f"it was measured with other {' and '.join(other)} than now; run the campaign again"
    return replace(verdict, outcome=Outcome.INSUFFICIENT, reasons=(told,))


def _still_counted(candidate: Candidate, verdict: Verdict, ground: World | Pool) -> Verdict:
    """Return the verdict, INSUFFICIENT when trials were charged since, or gate 6 was measured anew."""
    evidence = candidates.load_evidence(candidate, verdict.gate)
    told = ""
    if evidence is not None and verdict.gate == "overfitting":
        more = _n_since(candidate, evidence, ground)
        told = f"{more:g} trials were charged to this market and time since" if more > 0 else ""
    if evidence is not None and verdict.gate == "holdout":
        luck = candidates.load_evidence(candidate, "overfitting")
        same = luck is not None and evidence.bound_to.get("context") == luck.hash
        told = "" if same else "it was combined with another p of gate 6"
    if not told:
        return verdict
    return replace(verdict, outcome=Outcome.INSUFFICIENT, reasons=(f"{told}; run the campaign again",))


def _n_since(candidate: Candidate, evidence: Evidence, ground: World | Pool) -> float:
    """Return how many trials were scored on the markets since gate 6 was measured.

    Of a pool they are counted market by market: one that was charged to a market alone, and now to all of them, has
    a column fewer than before.
    """
    if isinstance(ground, World):
        return len(ground.scorer.family()[1]) - evidence.figures.get("n_trials", math.nan)
    ledger = ground.scorer.ledger
    try:
        heads = json.loads(candidate.heads_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        where = str(candidate.heads_path)
        raise WorkspaceError(f"the ledger's heads: {fault}", where, "run the campaign again") from None
    return _n_scored(ledger, ground) - _n_scored(PastLedger(ledger.folder, heads), ground)


def _n_scored(ledger: TrialLedger, pool: Pool) -> int:
    intervals = [world.research.interval for world in pool.worlds]
    first, last = min(start for start, _ in intervals), max(end for _, end in intervals)
    return sum(t.kind == "scored" for symbol in pool.symbols for t in ledger.trials(symbol, first, last))


def _refusal(workspace: Workspace, candidate: Candidate, verdicts: Sequence[Verdict]) -> Promotion | None:
    """Return the map's answer when a gate before the tenth stands against the candidate; else None."""
    if promotion.judge(candidate, verdicts, GATES)[0] is Outcome.PASS:
        return None
    return promotion.promote(
        workspace, candidate, CHAMPION, verdicts, now=_now(), required=GATES, dry_run=True
    )


def _share(asked: float | None, current: EnableMap, candidate: Candidate, replaces: str) -> float:
    """Return the share of the risk budget: as asked, as it has, or what the other entries leave free.

    When they leave nothing the whole is asked for, and governance refuses it with its advice.
    """
    if asked is not None:
        return asked
    present = current.find(candidate.hash, candidate.market)
    if present is not None and present.stage.holds_capital:
        return present.risk_share
    leaves = (replaces, candidate.market)  # a pool's strategy stays where it stands on other markets
    others = [entry for entry in current.entries if entry.slot != leaves]
    free = 1.0 - math.fsum(entry.risk_share for entry in others if entry.stage.holds_capital)
    return free if free > 1e-9 else 1.0


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _run_of(candidate: Candidate) -> str:
    path = candidate.folder / "mlflow_run"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _mirrored(workspace: Workspace, tracker: Tracker, change: Promotion) -> tuple[str, ...]:
    """Mirror a change that has happened: what goes wrong is told, and undoes nothing."""
    try:
        return mirror(workspace, tracker, change)
    except GauntletError as fault:
        return (f"the aliases do not follow the map: {fault}",)


def mirror(workspace: Workspace, tracker: Tracker, change: Promotion) -> tuple[str, ...]:
    """Let MLflow's aliases say what the map says after a change; return a sentence for each alias moved."""
    told = []
    before, after = _aliased(change.old_map), _aliased(change.new_map)
    for name, alias in sorted(key for key in before if after.get(key) != before[key]):
        tracker.delete_alias(name, alias)
        told.append(f"{name}: alias {alias} removed")
    for name, alias in sorted(key for key in after if before.get(key) != after[key]):
        digest, market = after[name, alias]
        run = _run_of(candidates.load(workspace, digest, market))
        if not run:
            told.append(f"{name}: not registered, since no run of it is known; run the campaign again")
            continue
        version = tracker.register(run, name)
        tracker.set_alias(name, alias, version)
        told.append(f"{name} version {version}: alias {alias}")
    return tuple(told)


def _aliased(shown: EnableMap) -> dict[tuple[str, str], tuple[str, str]]:
    """Return candidate and market by the model's name and the alias of the stage; the last of a name has it."""
    return {(model_name(f"{e.market} {e.name}"), ALIASES[e.stage]): e.slot for e in shown.entries}


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
    return [_spec_of(candidates.load(workspace, digest, candidate.market)) for digest in rivals]


def _end_of_evidence(spec: Spec, world: World) -> datetime:
    bars, _ = shadow_bars(spec, world)
    return datetime.fromtimestamp(bars.interval[1] / 1000, UTC)
