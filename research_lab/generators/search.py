"""A search: ask a generator, read what it proposes as anybody's text, score it, keep the best, tell it what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import InsufficientError, SpecError
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.behaviour import behaviour_of
from research_lab.generators.brief import Brief
from research_lab.generators.protocol import Answer, Feedback, Generator, Proposal
from research_lab.scoring.market_exposure import less_holding, market_daily
from research_lab.scoring.origin import Refusal
from research_lab.scoring.scorer import Score, Scorer, check_timeframe, sharpe_of

TWICE = "the same strategy was proposed before"


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
        answers = [a if a.refused else self._answered(a, next(scores)) for a in answers]
        self.feedback = Feedback(before.archive, answers, before.n_looks + len(wanted), before.generation + 1)
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

    def _answered(self, answer: Answer, score: Score) -> Answer:
        behaviour = behaviour_of(score, self._market)
        fitness = sharpe_of(less_holding(score.daily, self._market))
        elite = Elite(score.spec, answer.proposal.origin, fitness, score.metrics["sharpe"], behaviour)
        kept = bool(np.isfinite(fitness)) and self.feedback.archive.offer(elite)
        return replace(answer, fitness=fitness, behaviour=behaviour, kept=kept)
