"""A search: ask a generator, read what it proposes as anybody's text, score it, keep the best, tell it what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import InsufficientError, SpecError
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.behaviour import behaviour_of, daily_regimes, signal_of
from research_lab.generators.brief import Brief
from research_lab.generators.fitness import fitness_of
from research_lab.generators.protocol import Answer, Feedback, Generator, Proposal
from research_lab.scoring.market_exposure import market_daily
from research_lab.scoring.origin import Refusal
from research_lab.scoring.scorer import Score, Scorer, check_timeframe

MIGRATION: Final = 5  # generations between visits of the best to the next island
TWICE: Final = "the same strategy was proposed before"


@dataclass(eq=False)
class Search:
    """One search on one market's research bars.

    Parameters
    ----------
    brief, generator : what is wanted, and who proposes.
    scorer : counts every look; ends at the seal.
    seed : of everything random. batch : proposals a generation.
    admit : says why a strategy is not to be scored, "" where it is; gate 1 of a campaign.
    """

    brief: Brief
    generator: Generator
    scorer: Scorer
    seed: int
    batch: int = 100
    admit: Callable[[Spec], str] = field(default=lambda spec: "")

    def __post_init__(self) -> None:
        self.feedback = Feedback(Archive())
        self._seen: set[str] = set()
        _, self._market = market_daily(self.scorer.bars)
        self._regimes = None if self.scorer.regimes is None else daily_regimes(self.scorer)

    def step(self) -> Sequence[Answer]:
        """Run one generation, and return the answers; none when the generator has no more to propose."""
        before = self.feedback
        rng = np.random.default_rng([self.seed, before.generation])
        proposals = self.generator.propose(self.brief, before, self.batch, rng)
        answers = [self._read(proposal) for proposal in proposals]
        self._refuse(answers)
        wanted = [answer for answer in answers if not answer.refused and answer.spec is not None]
        self.scorer.origins = {
            **self.scorer.origins,
            **{a.spec.template_hash: a.proposal.origin for a in wanted if a.spec is not None},
        }
        scores = iter(self.scorer.score([a.spec for a in wanted if a.spec is not None]))
        n_looks, generation = before.n_looks + len(wanted), before.generation + 1
        answers = [a if a.refused else self._answered(a, next(scores), n_looks) for a in answers]
        if generation % MIGRATION == 0:
            before.archive.migrate()
        self.feedback = Feedback(before.archive, answers, n_looks, generation)
        return answers

    def _read(self, proposal: Proposal) -> Answer:
        try:
            spec = parse_spec(proposal.text, "proposal")
            check_timeframe(spec, self.scorer.bars)
        except (SpecError, InsufficientError) as fault:
            return Answer(proposal, None, refused=str(fault))
        if spec.hash in self._seen:
            return Answer(proposal, spec, refused=TWICE)
        self._seen.add(spec.hash)
        return Answer(proposal, spec, refused=self.admit(spec))

    def _refuse(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            if answer.refused and answer.spec is None:
                text = Refusal("", answer.proposal.text, answer.refused, answer.proposal.origin)
                self.scorer.refuse([text])
            elif answer.refused and answer.spec is not None:
                self.scorer.refuse([answer.spec], answer.refused)

    def _answered(self, answer: Answer, score: Score, n_looks: int) -> Answer:
        behaviour = behaviour_of(score, self._market, self._regimes)
        fitness = fitness_of(score, self._market, n_looks, self.brief.trades_a_month).value
        elite = Elite(score.spec, answer.proposal.origin, fitness, score.metrics["sharpe"], behaviour)
        archive = self.feedback.archive
        kept = bool(np.isfinite(fitness)) and archive.offer(elite, lambda: signal_of(self.scorer, score))
        return replace(answer, fitness=fitness, behaviour=behaviour, kept=kept)
