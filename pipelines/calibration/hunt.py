"""A campaign of generated candidates on one world: search, finalists through every gate, every look counted.

What a search found is told by behaviour, for texts say little: a candidate is *alike* an oracle when the daily
returns of both, on the research days, correlate above 0.5 and less with those of every other oracle. Two strategies
that have nothing to do with each other stay within 0.1 over so many days; oracles of different kinds
reach 0.76 (momentum and breakouts of the same days), which is why the threshold alone would not do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from pipelines.calibration.generator_rows import BRIEF, GeneratorRow, Hidden
from pipelines.calibration.one_world import JUDGED, refusals
from pipelines.campaign import Examination, examine, n_counted
from pipelines.gates import static
from pipelines.gates.policy import Policy
from pipelines.gates.world import World
from pipelines.grounds import sealed_world
from research_lab.bars import FloatArray
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.engine.terms import Terms
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.number_variation import bound
from research_lab.generators.protocol import Generator
from research_lab.generators.search import Search
from research_lab.generators.tunable import with_parameters
from research_lab.scoring.scorer import Score, Scorer
from research_lab.validation.tuning import LEADERS, Protocol

ALIKE: Final = 0.5
TWICE: Final = 0.98  # correlation of positions above which two elites are one


@dataclass(frozen=True)
class Hunt:
    """What came of one campaign.

    Parameters
    ----------
    row, number : which world. planted : kinds of edge in it.
    promoted : whether a finalist passed gates 1 to 7. right : whether that one is alike an oracle.
    n_looks, n_searched : parameter sets scored, in all and by the search. n_proposed, n_refused : texts.
    found : kinds of which there is an elite. first_look : of each kind, the look at which the first alike came.
    n_elites, n_twice : of the archive, and those that behave as another one does.
    finalists : of each, what the search knew of it and which limits refused it.
    handed : kinds of which the planted strategy itself passes gates 1 to 7 where nobody looks at anything else: what
        no candidate of that kind can be expected to pass, no generator can be asked to find.
    best : the oracle's Sharpe ratio in the research, and the best in the archive.
    seconds : the search, and the finalists.
    """

    row: str
    number: int
    planted: list[str]
    promoted: bool
    right: bool
    n_looks: int
    n_searched: int
    n_proposed: int
    n_refused: int
    found: list[str]
    first_look: dict[str, int]
    n_elites: int
    n_twice: int
    finalists: list[dict[str, Any]]
    handed: list[str] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    seconds: tuple[float, float] = (0.0, 0.0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def run_world(
    row: GeneratorRow,
    number: int,
    hidden: Hidden,
    generator: Generator,
    terms: Terms,
    regimes: RegimeSet,
    policy: Policy,
) -> Hunt:
    """Run a campaign of a row's looks on one world."""
    with TemporaryDirectory() as folder:
        ground = sealed_world(Path(folder), hidden.bars, terms, regimes, policy, "hunt")
        oracles = Oracles.of(hidden, ground)
        begun = time.perf_counter()
        trail = _searched(row, number, ground, generator, oracles)
        searched = time.perf_counter()
        archive = trail.search.feedback.archive
        elites = list(archive)
        n_searched, found = n_counted(ground), {trail.kinds[elite.spec.hash] for elite in elites}
        chosen, examinations = _examined(archive, row, ground)
        done = time.perf_counter()
        passed = [e for e in examinations if e.passed(JUDGED)]
        return Hunt(
            row.name,
            number,
            list(hidden.oracles),
            bool(passed),
            any(oracles.kind(ground.scorer.score([e.spec])[0]) for e in passed),
            n_counted(ground),
            n_searched,
            trail.n_proposed,
            trail.n_refused,
            [kind for kind in hidden.oracles if kind in found],
            trail.first_look,
            len(elites),
            n_twice(elites, ground.scorer),
            [_told(e, x, trail, oracles, ground) for e, x in zip(chosen, examinations, strict=True)],
            handed_over(hidden, terms, regimes, policy),
            {**oracles.sharpes, "archive": max((e.sharpe for e in elites), default=math.nan)},
            (searched - begun, done - searched),
        )


class Oracles:
    """The oracles' daily returns in the research; they are run on a ledger apart, so nobody's look is counted."""

    def __init__(self, scores: Mapping[str, Score]) -> None:
        self.kinds = list(scores)
        self.sharpes = {kind: score.sharpe() for kind, score in scores.items()}
        self._daily = [score.daily for score in scores.values()]

    @classmethod
    def of(cls, hidden: Hidden, ground: World) -> Oracles:
        from research_lab.scoring.trial_ledger import TrialLedger

        with TemporaryDirectory() as folder:
            own = ground.scorer
            apart = Scorer(TrialLedger(Path(folder)), own.bars, own.terms, own.regimes, "oracle")
            return cls(dict(zip(hidden.oracles, apart.score(list(hidden.oracles.values())), strict=True)))

    def correlations(self, score: Score) -> FloatArray:
        """Return the correlation of a score's daily returns with those of each oracle; 0 where nothing moved."""
        return np.array([_correlation(score.daily, daily) for daily in self._daily])

    def kind(self, score: Score) -> str:
        """Return the kind of the oracle that a score is alike, "" for none."""
        found = self.correlations(score)
        if not len(found) or not found.max() > ALIKE:
            return ""
        return self.kinds[int(np.argmax(found))]


def handed_over(hidden: Hidden, terms: Terms, regimes: RegimeSet, policy: Policy) -> list[str]:
    """Return the kinds whose planted strategy, its true numbers known, passes gates 1 to 7 as the only look at all."""
    passed = []
    for kind, spec in hidden.oracles.items():
        with TemporaryDirectory() as folder:
            ground = sealed_world(Path(folder), hidden.bars, terms, regimes, policy, "handed over")
            known = bound(spec, {name: param.default for name, param in spec.params.items()})
            (found,), _ = examine([known], ground, lambda stage, share: None)
            passed += [kind] if found.passed(JUDGED) else []
    return passed


def _correlation(one: FloatArray, other: FloatArray) -> float:
    if not (one.std() > 0.0 and other.std() > 0.0):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


@dataclass(eq=False)
class _Trail:
    """A search, and what happened when.

    Parameters
    ----------
    look : at which a strategy was scored, and kinds : of the oracle that it is alike, by its hash.
    """

    search: Search
    n_proposed: int = 0
    n_refused: int = 0
    first_look: dict[str, int] = field(default_factory=dict)
    look: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)


def _searched(
    row: GeneratorRow, number: int, ground: World, generator: Generator, oracles: Oracles
) -> _Trail:
    """Search until the looks are spent that the finalists do not need."""
    search = Search(BRIEF, generator, ground.scorer, number, admit=admission(ground.policy))
    trail = _Trail(search)
    protocol = ground.policy.walk_forward
    while (left := row.n_looks - search.feedback.n_looks - _kept_back(search, row, protocol)) > 0:
        before = search.feedback.n_looks
        answers = search.step(max(1, left // 2))  # what is kept back changes with who leads
        if not answers:
            break
        trail.n_proposed += len(answers)
        trail.n_refused += sum(bool(answer.refused) for answer in answers)
        scored = [a.spec for a in answers if not a.refused and a.spec is not None]
        for k, (spec, score) in enumerate(zip(scored, search.scores, strict=True), start=1):
            kind = "" if isinstance(score, str) else oracles.kind(score)
            trail.look[spec.hash], trail.kinds[spec.hash] = before + k, kind
            trail.first_look.setdefault(kind, before + k)
    trail.first_look.pop("", None)
    return trail


def admission(policy: Policy) -> Callable[[Spec], str]:
    """Return gate 1 as a search asks it: why a strategy is refused, "" where it is not."""
    return lambda spec: BRIEF.refuses(spec) or static.refusal(spec, policy)


def _kept_back(search: Search, row: GeneratorRow, protocol: Protocol) -> int:
    """Return how many looks the finalists of now would need."""
    finalists = search.feedback.archive.finalists(row.n_finalists)
    return sum(most_looks(with_parameters(elite.spec, BRIEF), protocol) for elite in finalists)


def most_looks(template: Spec, protocol: Protocol) -> int:
    """Return how many parameter sets of a finalist are scored at most, beside the one that the search has scored.

    They are those of tuning, of later folds, and the neighbours of the best.
    """
    others = template.n_combinations - 1
    if template.n_combinations <= protocol.n_trials:
        return others
    n_asked = protocol.n_trials + protocol.n_folds * protocol.n_refine
    return min(others, n_asked + 2 * len(template.params) * LEADERS)


def _examined(archive: Archive, row: GeneratorRow, ground: World) -> tuple[list[Elite], list[Examination]]:
    """Examine the fittest elites that are no two of one idea, as many as there are looks for."""
    chosen: list[Elite] = []
    left = row.n_looks - n_counted(ground)
    for elite in archive.finalists(len(archive)):
        needed = most_looks(with_parameters(elite.spec, BRIEF), ground.policy.walk_forward)
        if needed <= left and len(chosen) < row.n_finalists:
            chosen.append(elite)
            left -= needed
    if not chosen:
        return [], []
    found, _ = examine(
        [with_parameters(elite.spec, BRIEF) for elite in chosen], ground, lambda stage, share: None
    )
    return chosen, found


def _told(
    elite: Elite, examination: Examination, trail: _Trail, oracles: Oracles, ground: World
) -> dict[str, Any]:
    """Return what is known of a finalist: before its examination, and after."""
    before, after = ground.scorer.score([elite.spec, examination.spec])
    figures = {
        f"{gate}.{name}": evidence.figures[name]
        for gate, name in (("overfitting", "p"), ("holdout", "p"), ("walk_forward", "sharpe"))
        if (evidence := examination.evidence.get(gate)) is not None
        and math.isfinite(evidence.figures.get(name, math.nan))
    }
    return {
        "look": trail.look.get(elite.spec.hash, 0),
        "n_params": len(examination.template.params),
        "fitness": elite.fitness,
        "sharpe": before.sharpe(),
        "tuned_sharpe": after.sharpe(),
        "alike": oracles.kind(after),
        "correlation": float(max(oracles.correlations(after), default=0.0)),
        "stopped_by": refusals(examination),
        "text": elite.spec.name,
        **figures,
    }


def n_twice(elites: Sequence[Elite], scorer: Scorer) -> int:
    """Return how many elites hold the positions of a fitter one: correlation above 0.98, bar by bar."""
    held = np.array([np.sign(scorer.run(elite.spec).position) for elite in elites])
    if len(held) < 2:
        return 0
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.nan_to_num(np.corrcoef(held))
    return int((np.triu(found, 1) > TWICE).any(axis=0).sum())
