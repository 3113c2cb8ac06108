"""A search: ask a generator, read what it proposes as anybody's text, score it, keep the best, tell it what came out.

A generation depends on the seed, its number and what came before, and on nothing else: neither on the number of
workers nor on whether the search was interrupted. What it says of itself (`Generation`) is all that is needed
to have it again without a generator or a sweep: texts, and what was measured; the ledger has the returns.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from research_lab.dsl import limits
from research_lab.dsl.spec import Spec
from research_lab.errors import InsufficientError
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.behaviour import behaviour_of, daily_regimes, signal_of
from research_lab.generators.brief import Brief
from research_lab.generators.fitness import fitness_of
from research_lab.generators.protocol import Answer, Feedback, Generator, Proposal
from research_lab.scoring.crew import READ_AS, plain
from research_lab.scoring.market_exposure import market_daily
from research_lab.scoring.origin import Origin, Refusal
from research_lab.scoring.scorer import Score, Scorer, check_runs

MIGRATION: Final = 5  # generations between visits of the best to the next island
TWICE: Final = "the same strategy was proposed before"
CRASHED: Final = "crashed"
IDEAS: Final = "ideas"  # who proposed what somebody brought along
NO_MORE: Final = "the generator has no more to propose"
PATIENCE: Final = 25  # generations without a look, after which no more are asked for


@dataclass(frozen=True)
class Measured:
    """What was measured of a strategy: its metrics by name, and SHA-256 of its daily returns; or what it crashed of."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    returns: str = ""
    crash: str = ""


@dataclass(frozen=True)
class Generation:
    """One generation, as it may be kept on a disk.

    Parameters
    ----------
    number : from 0. proposals : as made, none longer than a strategy may be.
    hashes : of the strategy that each proposal is, "" where it is none.
    measured : by the hash of the strategy.
    """

    number: int
    proposals: tuple[Proposal, ...]
    hashes: tuple[str, ...]
    measured: Mapping[str, Measured]


@dataclass(eq=False)
class Search:
    """One search on one market's research bars.

    Parameters
    ----------
    brief, generator : what is wanted, and who proposes.
    scorer : counts every look; ends at the seal. Its crew reads and runs what is proposed.
    seed : of everything random. batch : proposals a generation.
    admit : says why a strategy is not to be scored, "" where it is; gate 1 of a campaign.
    keep : told of each generation once it was counted, before the generator is asked again.
    ideas : texts that somebody brought along, each after its file's name. They are proposed first, and the generator
        is not told the files.

    Attributes
    ----------
    feedback : what the generator is told next: the archive, the last answers, looks and generations so far.
    scores : of the last generation, or what each crashed of, in the order of the answers that are not `TWICE` or
        refused before they ran. Nothing else remembers them, for a long search has many.
    refused : how many proposals were refused, by `kind_of`. examples : the first reason of each kind.
    refused_files : why each file that somebody brought was refused, by its name.
    n_idle : generations of the generator since the last look. was_kept : whether the last generation was recalled.
    origins : who proposed a template first, for whoever goes on with the best.
    """

    brief: Brief
    generator: Generator
    scorer: Scorer
    seed: int
    batch: int = 100
    admit: Callable[[Spec], str] = field(default=lambda spec: "")
    keep: Callable[[Generation], None] = field(default=lambda generation: None)
    ideas: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        self.feedback = Feedback(Archive())
        self.scores: Sequence[Score | str] = ()
        self.n_idle = 0
        self.was_kept = False
        self.refused: Counter[str] = Counter()  # by `kind_of`
        self.examples: dict[str, str] = {}
        self.refused_files: dict[str, str] = {}
        self._files = {text[: limits.BYTES + 1]: file for file, text in self.ideas}
        self._n_ideas = self._n_of_ideas = 0  # ideas proposed so far, and generations of them
        self._seen: set[str] = set()
        self.origins: dict[str, Origin] = {}
        self.scorer.origins = self.origins
        _, self._market = market_daily(self.scorer.bars)
        self._regimes = None if self.scorer.regimes is None else daily_regimes(self.scorer)

    @property
    def waiting(self) -> Sequence[tuple[str, str]]:
        """The ideas that were not proposed yet."""
        return self.ideas[self._n_ideas :]

    def run(self, n_looks: int, told: Callable[[Search], None] = lambda search: None) -> str:
        """Search until so many parameter sets were scored, and return why it ended.

        Parameters
        ----------
        told : after each generation.
        """
        while self.feedback.n_looks < n_looks:
            if self.n_idle >= PATIENCE:
                return f"nothing new to score in {PATIENCE} generations"
            if not self.step(n_looks - self.feedback.n_looks):
                return NO_MORE
            told(self)
        return "the one look is spent" if n_looks == 1 else f"all {n_looks:,} looks are spent"

    def step(self, most: int | None = None) -> Sequence[Answer]:
        """Run one generation, and return the answers; none when the generator has no more to propose.

        Parameters
        ----------
        most : looks that may be spent on it.
        """
        proposals = self._proposed(self.batch if most is None else min(self.batch, most))
        return self._run([_clipped(p) for p in proposals]) if proposals else []

    def _proposed(self, n: int) -> list[Proposal]:
        """Return up to n proposals: ideas while there are some, and then the generator's."""
        if self.waiting:
            return [Proposal(text, Origin(IDEAS)) for _, text in self.waiting[:n]]
        before = self.feedback
        rng = np.random.default_rng([self.seed, before.generation])
        own = replace(before, generation=before.generation - self._n_of_ideas)
        return self.generator.propose(self.brief, own, n, rng)[:n]

    def recall(self, kept: Generation) -> bool:
        """Take a generation from what was kept of it; return whether it could be: else it is to be run again.

        Nothing is proposed and nothing is looked at; strategies are read anew, and returns come out of the ledger.
        """
        answers = self._read(kept.proposals)
        scores = [self._recalled(spec, kept.measured) for spec in _wanted(answers)]
        if kept.number != self.feedback.generation or None in scores:
            return False
        self.was_kept = True
        self._learn(answers, [score for score in scores if score is not None])
        return True

    def _recalled(self, spec: Spec, measured: Mapping[str, Measured]) -> Score | str | None:
        if spec.hash not in measured:
            return None
        told = measured[spec.hash]
        if told.crash:
            return told.crash if self.scorer.has_recorded(spec) else None
        return self.scorer.recall(spec, told.metrics, told.returns)

    def _run(self, proposals: Sequence[Proposal]) -> list[Answer]:
        """Read, refuse, score and count a generation; keep it; and learn what came out."""
        self.was_kept = False
        answers = self._read(proposals)
        # what was proposed before is not recorded again: the ledger has it
        refused = [a for a in answers if a.refused and a.refused != TWICE]
        self.scorer.refuse(
            [Refusal("", a.proposal.text, self._told(a), a.proposal.origin, a.spec) for a in refused]
        )
        specs, origins = _wanted(answers), [a.proposal.origin for a in answers if not a.refused]
        scores = self.scorer.attempt(specs, origins)
        measured = {spec.hash: _measured(score) for spec, score in zip(specs, scores, strict=True)}
        hashes = tuple("" if a.spec is None else a.spec.hash for a in answers)
        self.keep(Generation(self.feedback.generation, tuple(proposals), hashes, measured))
        return self._learn(answers, scores)

    def _read(self, proposals: Sequence[Proposal]) -> list[Answer]:
        """Return an answer to each proposal: why it is not to be scored, or that it is."""
        found: list[Answer] = []
        fresh: set[str] = set()
        for proposal, spec in zip(proposals, self.scorer.crew.read([p.text for p in proposals]), strict=True):
            if isinstance(spec, str):
                found.append(Answer(proposal, None, refused=spec))
                continue
            twice = spec.hash in self._seen or spec.hash in fresh
            found.append(Answer(proposal, spec, refused=TWICE if twice else self._unfit(spec)))
            fresh.add(spec.hash)
        return found

    def _told(self, answer: Answer) -> str:
        """Return why a proposal was refused, with the file that it stands in where somebody brought one."""
        file = self._files.get(answer.proposal.text)
        if file is None:
            return answer.refused
        place = answer.refused.removeprefix(f"{READ_AS}:")
        return f"{file}: {answer.refused}" if place == answer.refused else f"{file}:{place}"

    def _unfit(self, spec: Spec) -> str:
        try:
            check_runs(spec, self.scorer.bars)
        except InsufficientError as fault:
            return plain(f"data: {fault}")
        return plain(self.admit(spec))

    def _learn(self, answers: Sequence[Answer], scores: Sequence[Score | str]) -> list[Answer]:
        """Offer what was scored to the archive, and make of all answers the next feedback."""
        before, waiting = self.feedback, iter(scores)
        n_looks, generation = before.n_looks + len(scores), before.generation + 1
        found = [a if a.refused else self._answered(a, next(waiting), n_looks) for a in answers]
        if generation % MIGRATION == 0:
            before.archive.migrate()
        for answer in found:
            if answer.spec is not None:
                self._seen.add(answer.spec.hash)
                self.origins.setdefault(answer.spec.template_hash, answer.proposal.origin)
        for answer in found:
            if answer.refused:
                self.refused[kind_of(answer)] += 1
                file = self._files.get(answer.proposal.text)
                if file is not None:
                    self.refused_files.setdefault(file, self._told(answer))
                elif answer.refused != TWICE:
                    self.examples.setdefault(kind_of(answer), answer.refused)
        self.scores = scores
        self.n_idle = 0 if scores or self.waiting else self.n_idle + 1
        if self.waiting:
            self._n_ideas += len(answers)
            self._n_of_ideas += 1
        self.feedback = Feedback(before.archive, found, n_looks, generation)
        return found

    def _answered(self, answer: Answer, score: Score | str, n_looks: int) -> Answer:
        if isinstance(score, str):
            return replace(answer, refused=f"{CRASHED}: {score}")
        behaviour = behaviour_of(score, self._market, self._regimes)
        fitness = fitness_of(score, self._market, n_looks, self.brief.trades_a_month).value
        elite = Elite(score.spec, answer.proposal.origin, fitness, score.metrics["sharpe"], behaviour)
        archive = self.feedback.archive
        kept = bool(np.isfinite(fitness)) and archive.offer(elite, lambda: signal_of(self.scorer, score))
        return replace(answer, fitness=fitness, behaviour=behaviour, kept=kept)


def kind_of(answer: Answer) -> str:
    """Return in a word or two what refused a proposal: the reader, the archive, the data, or who is named first."""
    if answer.spec is None:
        return "no strategy"
    return "twice" if answer.refused == TWICE else answer.refused.partition(":")[0][:20]


def _wanted(answers: Sequence[Answer]) -> list[Spec]:
    return [answer.spec for answer in answers if answer.spec is not None and not answer.refused]


def _measured(score: Score | str) -> Measured:
    if isinstance(score, str):
        return Measured(crash=score)
    return Measured(score.metrics, hashlib.sha256(np.ascontiguousarray(score.daily).data).hexdigest())


def _clipped(proposal: Proposal) -> Proposal:
    """Return a proposal that is no longer than what is read of one: a model may send megabytes."""
    if len(proposal.text) <= limits.BYTES:
        return proposal
    return replace(proposal, text=proposal.text[: limits.BYTES + 1])
