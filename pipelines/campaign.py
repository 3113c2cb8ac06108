"""A campaign: every strategy of a folder through gates 1 to 6, the best of them through 7 and 8.

Gates 1 to 3 stop a candidate at once; the others all run, so that a refusal names all its reasons. Gate 6
is judged after every strategy was tuned, since each look counts against all.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.anchoring import Anchor, check_openings
from pipelines.campaign_store import save, track
from pipelines.candidates import Candidate
from pipelines.gates import static
from pipelines.gates.evidence import Evidence, Outcome, Verdict
from pipelines.gates.exam import Exam, MarketExam
from pipelines.gates.policy import Policy, judge
from pipelines.gates.pool import Pool
from pipelines.gates.pooled_exam import PooledExam
from pipelines.gates.world import World
from pipelines.grounds import open_ground
from pipelines.grounds import open_world as open_world
from pipelines.grounds import sealed_world as sealed_world
from pipelines.open_run import open_run
from pipelines.proposals import Proposals
from pipelines.proposals import load_templates as load_templates
from pipelines.resumption import Finished, Resumption, running_alone
from pipelines.tracking.tracker import Tracker
from research_lab.bars import Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.errors import InsufficientError
from research_lab.market_data.lake import Lake
from research_lab.scoring.origin import Origin, Refusal
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.validation.tuning import choose_on_plateau
from research_lab.validation.walk_forward import walk_forward as run_walk_forward
from research_lab.workspace import Workspace

GATES = (
    "static", "data", "lookahead", "backtest", "walk_forward", "overfitting", "holdout", "shadow",
)  # fmt: skip

KEPT = "taken from the interrupted campaign"

Progress = Callable[[str, float], None]


@dataclass
class Examination:
    """One strategy on its way: its text now, what was measured, what was judged.

    Parameters
    ----------
    template : as the file says. spec : with tuned parameters, once tuned.
    plateau : flatness of the surroundings of the tuned parameters; NaN before.
    heads : of the ledger that gate 6 was measured among; empty when it was not.
    """

    template: Spec
    spec: Spec
    evidence: dict[str, Evidence] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    plateau: float = math.nan
    heads: Mapping[str, str] = field(default_factory=dict)

    def judged(self, evidence: Evidence, policy: Policy) -> bool:
        """Keep evidence and its verdict, and return whether it passed."""
        self.evidence[evidence.gate] = evidence
        self.verdicts[evidence.gate] = judge(evidence, policy)
        return self.verdicts[evidence.gate].outcome is Outcome.PASS

    def passed(self, gates: Sequence[str]) -> bool:
        """Whether every one of these gates was passed."""
        return all(g in self.verdicts and self.verdicts[g].outcome is Outcome.PASS for g in gates)

    @classmethod
    def of(cls, template: Spec, done: Finished, policy: Policy) -> Examination:
        """Return an examination that was finished before, judged by this policy."""
        found = cls(template, done.spec, plateau=done.plateau)
        for evidence in done.evidence:
            found.judged(evidence, policy)
        return found

    @property
    def finished(self) -> Finished:
        """What was measured so far, to be kept."""
        return Finished(self.spec, self.plateau, tuple(self.evidence.values()))

    @property
    def outcome(self) -> Outcome:
        """FAIL if a gate failed; PASS if all passed; INSUFFICIENT if one could not answer or was not reached."""
        if any(verdict.outcome is Outcome.FAIL for verdict in self.verdicts.values()):
            return Outcome.FAIL
        return Outcome.PASS if self.passed(GATES) else Outcome.INSUFFICIENT


@dataclass(frozen=True, eq=False)
class CampaignResult:
    """What a campaign found.

    Parameters
    ----------
    examinations : one a strategy and market, in the order given; those of a pool's markets are one.
    saved : their candidates, likewise.
    best : the one for which the holdout was opened; None when none passed gates 1 to 6.
    run : the campaign's MLflow run. n_looks : trials charged to the market and time so far.
    """

    name: str
    examinations: tuple[Examination, ...]
    saved: tuple[Candidate, ...]
    best: Examination | None
    run: str
    n_looks: int

    @property
    def distinct(self) -> list[Examination]:
        """One examination a strategy."""
        return [e for k, e in enumerate(self.examinations) if all(e is not o for o in self.examinations[:k])]

    @property
    def passed(self) -> list[Candidate]:
        """Candidates that passed every gate from 1 to 8."""
        return [
            candidate
            for candidate, examination in zip(self.saved, self.examinations, strict=True)
            if examination.passed(GATES)
        ]

    @property
    def outcome(self) -> Outcome:
        """PASS if a candidate passed all gates; INSUFFICIENT if none failed either; else FAIL."""
        if self.passed:
            return Outcome.PASS
        if all(e.outcome is Outcome.INSUFFICIENT for e in self.examinations):
            return Outcome.INSUFFICIENT
        return Outcome.FAIL


@dataclass(frozen=True)
class Wanted:
    """What a campaign is asked for beside its strategies.

    Parameters
    ----------
    open_for : for how many finalists, the best first, the holdout is opened; each one is an opening of its own.
    refusals : proposals that are no strategies. origins : who proposed a strategy, by its template's hash.
    """

    open_for: int = 1
    refusals: tuple[Refusal, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)

    @classmethod
    def of(cls, proposals: Proposals, open_for: int = 1) -> Wanted:
        """Return what proposals ask for."""
        return cls(open_for, proposals.refusals, proposals.origins)


def run_campaign(
    workspace: Workspace,
    bars: Bars | Sequence[Bars],
    templates: Sequence[Spec],
    regimes: RegimeSet,
    policy: Policy,
    progress: Progress,
    wanted: Wanted | None = None,
) -> CampaignResult:
    """Examine strategies on one market, or on several as a pool, and keep all evidence in the workspace and in MLflow.

    A pooled strategy is one candidate on each market of the pool, with the pool's evidence.
    Interrupted, it leaves every look counted and no candidate half written; run again, it counts none twice
    and measures no strategy again that it had finished with. The ledger's heads are anchored on the way.
    """
    progress("opening the store", 0.0)
    tables = [bars] if isinstance(bars, Bars) else sorted(bars, key=lambda one: one.market.charged_to)
    name = campaign_name(tables, templates, policy)
    wanted, tracker = wanted or Wanted(), Tracker(workspace)
    facts = {
        "market": ", ".join(one.market.name for one in tables),
        "snapshot": ", ".join(one.snapshot for one in tables),
        "policy": policy.hash,
        "strategies": ", ".join(template.name for template in templates),
    }
    unfinished = Resumption(workspace.unfinished / name)
    with running_alone(workspace, name):
        TrialLedger(workspace.trials).verify(
            check_openings(Lake(workspace.root), tracker.ledgers.anchored_heads())
        )
        with open_run(tracker, name, facts, unfinished.folder) as run:
            ground = open_ground(workspace, bars, regimes, policy, name)
            anchor = Anchor(tracker.ledgers, run, ground.scorer.ledger, ground.worlds[0].lake)
            for world in ground.worlds:
                world.scorer.origins = wanted.origins
                world.scorer.progress = anchor.looked
            ground.scorer.refuse(wanted.refusals)
            examinations, best = examine(
                templates,
                ground,
                _anchored(progress, anchor),
                open_for=wanted.open_for,
                unfinished=unfinished,
            )
            of_markets = [(e, world) for e in examinations for world in ground.worlds]
            saved = [save(workspace, e, world, ground, name) for e, world in of_markets]
            told = tuple(e for e, _ in of_markets)
            track(tracker, run, told, saved)
            anchor.drop()
            n_looks = sum(n_counted(world) for world in ground.worlds)
        unfinished.forget()
    return CampaignResult(name, told, tuple(saved), best, run, n_looks)


def n_counted(world: World) -> int:
    """Return how many looks were charged to the world's market and research time; refusals are none."""
    trials = world.scorer.ledger.trials(world.bars.market.charged_to, *world.research.interval)
    return sum(trial.kind != "refused" for trial in trials)


def _anchored(progress: Progress, anchor: Anchor) -> Progress:
    """Return progress that anchors the ledger at each stage, before it is told."""

    def told(stage: str, share: float) -> None:
        anchor.drop()
        progress(stage, share)

    return told


def campaign_name(tables: Sequence[Bars], templates: Sequence[Spec], policy: Policy) -> str:
    """Return a name that is the same for the same data, strategies and policy."""
    parts = [
        *(bars.snapshot for bars in tables),
        policy.hash,
        *(template.template_hash for template in templates),
    ]
    return "campaign-" + hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def examine(
    templates: Sequence[Spec],
    ground: World | Pool,
    progress: Progress,
    *,
    open_for: int = 1,
    unfinished: Resumption | None = None,
) -> tuple[list[Examination], Examination | None]:
    """Take strategies through gates 1 to 6, and the best that passed them through 7 and 8.

    It writes to the ground's ledger and lake, and nowhere else: no tracker, no workspace, no output.

    Parameters
    ----------
    ground : one market, or a pool of them.
    open_for : for how many finalists, the best first, the holdout is opened.
    unfinished : where finished examinations are kept, and taken from.

    Returns
    -------
    examinations : one a strategy, in the order given.
    best : the first one for which the holdout was opened; None when none passed gates 1 to 6.
    """
    exam = exam_of(ground)
    examinations = _examine_all(templates, exam, progress, unfinished)
    return examinations, _open_holdout(examinations, exam, progress, open_for)


def exam_of(ground: World | Pool) -> Exam:
    """Return the exam on one market, or on a pool."""
    return MarketExam(ground) if isinstance(ground, World) else PooledExam(ground)


def _examine_all(
    templates: Sequence[Spec], exam: Exam, progress: Progress, unfinished: Resumption | None
) -> list[Examination]:
    progress("data quality", 0.0)
    ground = exam.ground
    examinations: list[Examination] = []
    share = 0.85 / len(templates)
    for k, template in enumerate(templates):

        def told(what: str, part: float, k: int = k, name: str = template.name) -> None:
            progress(f"{name}: {what}", 0.05 + share * (k + part))

        known = [other.spec.hash for other in examinations]
        done = unfinished.find(template, ground, known) if unfinished else None
        if done is not None:
            told(KEPT, 1.0)
            examinations.append(Examination.of(template, done, ground.policy))
            continue
        found = examine_one(template, exam, known, told)
        examinations.append(found)
        if unfinished:
            unfinished.keep(template, found.finished, ground, known)
    for examination in examinations:
        if examination.passed(("static", "data", "lookahead")):
            progress(f"{examination.template.name}: overfitting", 0.9)
            examination.heads = ground.scorer.ledger.heads()
            examination.judged(exam.overfitting(examination.spec), ground.policy)
    return examinations


def examine_one(template: Spec, exam: Exam, known: Sequence[str], progress: Progress) -> Examination:
    """Take one strategy through gates 1 to 5, tuning it after gate 2."""
    ground, policy, found = exam.ground, exam.ground.policy, Examination(template, template)
    progress("static and data", 0.0)
    admitted = found.judged(static.measure(template, ground, known), policy) and found.judged(
        exam.data(template), policy
    )
    if not admitted:
        reasons = [reason for verdict in found.verdicts.values() for reason in verdict.reasons]
        ground.scorer.refuse([template], "; ".join(reasons))
        return found
    progress("tuning, walk-forward", 0.02)
    done, why = None, ""
    try:
        done = run_walk_forward(template, ground.scorer, policy.walk_forward)
    except InsufficientError as fault:
        why = str(fault)
    progress("tuning on all research bars", 0.5)
    before = () if done is None else done.scores
    chosen, found.plateau = choose_on_plateau(template, ground.scorer, policy.walk_forward, before)
    spec = found.spec = chosen.spec
    if not found.judged(static.measure(spec, ground, known), policy):
        return found
    found.judged(exam.data(spec), policy)
    progress("look-ahead", 0.65)
    if not found.judged(exam.lookahead(spec), policy):
        return found
    progress("backtest and its stresses", 0.75)
    tried = ground.scorer.tried(template)
    found.judged(exam.backtest(spec, found.plateau, tried), policy)

    def told(what: str) -> None:
        progress(what, 0.85)

    found.judged(exam.walk_forward(template, spec, done, why, told), policy)
    return found


def _open_holdout(
    examinations: Sequence[Examination], exam: Exam, progress: Progress, n: int
) -> Examination | None:
    """Open the holdout for the best of those that passed gates 1 to 6, and let them run as shadows."""
    finalists = sorted((e for e in examinations if e.passed(GATES[:6])), key=by_evidence)
    for chosen in finalists[:n]:
        progress(f"{chosen.template.name}: holdout", 0.92)
        luck = chosen.evidence["overfitting"]
        if chosen.judged(exam.holdout(chosen.spec, luck), exam.ground.policy):
            progress(f"{chosen.template.name}: shadow", 0.95)
            chosen.judged(exam.shadow(chosen.spec), exam.ground.policy)
    return finalists[0] if finalists else None


def by_evidence(examination: Examination) -> tuple[float, float]:
    """Order those that were judged by gate 6, the best first."""
    figures = examination.evidence["overfitting"].figures
    return figures["p"], -figures["statistic"]
