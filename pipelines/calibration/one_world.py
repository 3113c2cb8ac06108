"""One world: a whole campaign on it, and what other pipelines would have said of the same trials.

Other pipelines are three naive ones (the best Sharpe ratio in-sample, the best walk-forward, a Deflated Sharpe
ratio that counts one trial), the gauntlet with one gate left out, and the bound: a test of the maximum at 1 % over
all the bars, which keeps no holdout back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from pipelines.calibration import rows
from pipelines.calibration.rows import Made, Row
from pipelines.campaign import GATES, Examination, by_evidence, exam_of, examine
from pipelines.gates.evidence import Evidence, Outcome
from pipelines.gates.policy import Policy, judge
from pipelines.gates.pool import Pool
from pipelines.gates.world import World
from pipelines.grounds import sealed_pool, sealed_world
from research_lab.bars import DAY_MS
from research_lab.dsl.regimes import RegimeSet
from research_lab.engine.backtest import daily_returns
from research_lab.engine.terms import Terms
from research_lab.market_data.lake import Lake
from research_lab.scoring.market_exposure import less_holding, market_daily
from research_lab.scoring.pooled_scorer import PooledScorer
from research_lab.scoring.scorer import Score, Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.validation import overfitting
from research_lab.validation.drift import e_detector, first_alarm
from research_lab.validation.family_wise import family_wise_p
from research_lab.validation.pooled_family import pooled_family

OURS: Final = "gauntlet"
BOUND: Final = "bound"
BOUND_LEVEL: Final = 0.01
NAIVE_SHARPE: Final = 1.0  # a year: what a naive pipeline promotes from
NAIVE_PROBABILITY: Final = 0.95
NAIVE: Final = ("best in-sample", "best walk-forward", "deflated, N = 1")
LEFT_OUT: Final = ("backtest", "walk_forward", "overfitting", "holdout")  # gates 1 to 3 refuse no clean tree
JUDGED: Final = GATES[:7]


@dataclass(frozen=True)
class Record:
    """What came of one world.

    Parameters
    ----------
    row, number : which world. promoted : by pipeline, whether it would have promoted anything.
    right : whether what the gauntlet promoted is the planted strategy. n_sets : parameter sets scored.
    stopped_by : the gates that refused each proposal, by name of the strategy.
    oracle_sharpe : planted. seconds : that it took.
    """

    row: str
    number: int
    promoted: dict[str, bool]
    right: bool
    n_sets: int
    planted: str = ""
    oracle_sharpe: float = 0.0
    stopped_by: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def run_world(row: Row, number: int, made: Made, terms: Terms, regimes: RegimeSet, policy: Policy) -> Record:
    """Run a campaign on one world, and judge its trials by every other pipeline."""
    begun = time.perf_counter()
    with TemporaryDirectory() as folder:
        ground = _ground(Path(folder), made, terms, regimes, policy)
        ground.scorer.score(rows.first_looks(made.proposals, number))
        examinations, best = examine(made.proposals, ground, _silent)
        ours = best is not None and best.passed(JUDGED)
        promoted = {OURS: ours}
        for gate in LEFT_OUT:
            promoted[f"without {gate}"] = _without(gate, examinations, best, ground, Path(folder) / gate)
        scores = [score for template in made.proposals for score in ground.scorer.tried(template)]
        promoted |= _naive(scores, examinations)
        promoted[BOUND] = _bound(scores, ground, Path(folder) / BOUND)
        right = best is not None and ours and best.template.name == made.planted
        return Record(
            row.name,
            number,
            promoted,
            right,
            len(scores),
            made.planted,
            made.oracle_sharpe,
            {e.template.name: refusals(e) for e in examinations},
            _figures(made, examinations) | _afterwards(made, best if ours else None, ground.worlds[0]),
            time.perf_counter() - begun,
        )


def _ground(folder: Path, made: Made, terms: Terms, regimes: RegimeSet, policy: Policy) -> World | Pool:
    """Seal the world's bars in a folder: of one market, or of several as a pool with the same costs."""
    if not made.beside:
        return sealed_world(folder, made.bars, terms, regimes, policy, "calibration")
    tables = [made.bars, *made.beside]
    return sealed_pool(folder, tables, [terms] * len(tables), regimes, policy, "calibration")


def _silent(stage: str, share: float) -> None:
    return None


def refusals(examination: Examination) -> list[str]:
    """Return why a strategy was not promoted: gates and limits that were not met."""
    found = []
    for gate, verdict in examination.verdicts.items():
        if verdict.outcome is Outcome.PASS:
            continue
        missed = [name for name, figure in verdict.figures.items() if figure.judged and not figure.met]
        found += [f"{gate}.{name}" for name in missed] or [gate]
    return found


def _figures(made: Made, examinations: Sequence[Examination]) -> dict[str, float]:
    """Return what gates measured of the planted strategy."""
    found: dict[str, float] = {}
    for examination in examinations:
        if examination.template.name != made.planted:
            continue
        for gate, evidence in examination.evidence.items():
            found |= {f"{gate}.{k}": v for k, v in evidence.figures.items() if math.isfinite(v)}
    return found


def _afterwards(made: Made, promoted: Examination | None, world: World) -> dict[str, float]:
    """Return the days from the end of the holdout until the promoted strategy is rolled back; infinite for never."""
    if made.afterwards is None or promoted is None:
        return {}
    result = world.run(promoted.spec, made.afterwards)
    first_day, daily = daily_returns(made.afterwards.time, result.equity)
    known = world.lake.zones(world.bars).holdout.end_ms // DAY_MS - first_day
    alarm = first_alarm(e_detector(daily[known:], daily[:known]))
    return {"days_to_rollback": math.inf if alarm is None else float(alarm)}


def _without(
    gate: str,
    examinations: Sequence[Examination],
    best: Examination | None,
    ground: World | Pool,
    folder: Path,
) -> bool:
    """Return whether the gauntlet would have promoted something had this gate not been there.

    The holdout is opened on a lake of its own: in that other pipeline it is the first opening. Without gate 6 nobody
    knows a p of the research: the best walk-forward goes to the holdout, at the level of that opening, and nothing
    is combined.
    """
    finalists = [e for e in examinations if e.passed([name for name in GATES[:6] if name != gate])]
    if gate == "holdout" or not finalists:
        return bool(finalists)
    chosen, limits = min(finalists, key=by_evidence), ground.policy
    luck = chosen.evidence["overfitting"]
    if gate == "overfitting":
        chosen = max(finalists, key=lambda e: e.evidence["walk_forward"].figures["sharpe"])
        luck, limits = _unknown_luck(limits)
    elif chosen is best:
        return best.passed(("holdout",))
    lake = Lake(folder)
    for world in ground.worlds:
        lake.seal(world.bars.market.charged_to, world.lake.zones(world.bars))
    anew = [replace(world, lake=lake) for world in ground.worlds]
    exam = exam_of(Pool(tuple(anew)) if isinstance(ground, Pool) else anew[0])
    return judge(exam.holdout(chosen.spec, luck), limits).outcome is Outcome.PASS


def _unknown_luck(policy: Policy) -> tuple[Evidence, Policy]:
    """Return a p of the research that weighs nothing, and the policy without what combines it with another."""
    spread = policy.gates["holdout"]["p"].over_openings
    alone = {name: limit for name, limit in policy.gates["holdout"].items() if name != "combined_p"}
    limits = policy.model_copy(update={"gates": {**policy.gates, "holdout": alone}})
    return Evidence("overfitting", {"p": spread.even_p if spread else 1.0}, {}), limits


def _naive(scores: Sequence[Score], examinations: Sequence[Examination]) -> dict[str, bool]:
    """Return what pipelines that count no looks would have promoted from."""
    best = max(scores, key=lambda score: _or_least(score.sharpe()), default=None)
    forward = [
        e.evidence["walk_forward"].figures.get("sharpe", math.nan)
        for e in examinations
        if "walk_forward" in e.evidence
    ]
    probability = math.nan
    if best is not None:
        sharpe, skewness, kurtosis = overfitting.moments(best.daily)
        if math.isfinite(sharpe):
            probability = overfitting.psr(sharpe, best.daily.shape[0], skewness, kurtosis)
    said = (
        best is not None and _or_least(best.sharpe()) >= NAIVE_SHARPE,
        max((_or_least(sharpe) for sharpe in forward), default=-math.inf) >= NAIVE_SHARPE,
        _or_least(probability) >= NAIVE_PROBABILITY,
    )
    return dict(zip(NAIVE, said, strict=True))


def _or_least(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _bound(scores: Sequence[Score], ground: World | Pool, folder: Path) -> bool:
    """Return whether the best of the same trials, on research and holdout together, is beyond luck at 1 %."""
    ledger = TrialLedger(folder)
    scorers = []
    for world in ground.worlds:
        end = world.lake.zones(world.bars).holdout.end_ms
        bars = world.bars.window(0, int(np.searchsorted(world.bars.time, end)))
        scorers.append(Scorer(ledger, bars, world.terms, world.regimes, "bound"))
    rules, specs = ground.policy.bootstrap, [score.spec for score in scores]
    if isinstance(ground, Pool):
        pool = PooledScorer(tuple(scorers))
        pool.score(specs)
        timed = pooled_family(pool).timed
    else:
        daily = np.stack([score.daily for score in scorers[0].score(specs)], axis=1)
        timed = less_holding(daily, market_daily(scorers[0].bars)[1])
    found = family_wise_p(timed, 0, n_draws=rules.n_draws, seed=rules.seed)
    least = np.nanmin(found.p_values) if np.isfinite(found.p_values).any() else 1.0
    return bool(least <= BOUND_LEVEL)
