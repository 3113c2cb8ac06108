"""A language model as a source of candidates: author, variation of what the search has found, and critic.

What it says is text. It becomes a candidate by the loader that reads anybody's file, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import ServerError, SpecError, UsageError
from research_lab.generators.brief import Brief
from research_lab.generators.language_model import prompts
from research_lab.generators.language_model.answers import refusal_of, statements_in
from research_lab.generators.language_model.budget import Purse, Spent, charge_of
from research_lab.generators.language_model.exchange import ExchangeStore, Transcripts
from research_lab.generators.language_model.hearing import account_of, complaint_about, texts_of
from research_lab.generators.language_model.key import Key
from research_lab.generators.language_model.schemas import statements_schema, strategies_schema
from research_lab.generators.language_model.settings import Settings
from research_lab.generators.language_model.wire import Wire
from research_lab.generators.protocol import Feedback, Proposal
from research_lab.scoring.origin import Origin

if TYPE_CHECKING:
    from research_lab.generators.language_model.conversation import Heard, Turn

_SEEDS: Final = 1 << 31
_HOPELESS: Final = {  # a key or a name that is wrong stays wrong
    401: "put a key that is right into {key}",
    403: "put a key that may use this model into {key}",
    404: "correct model or base_url in the model's settings",
}
_RECENT: Final = 12  # entries of this round that the next question names


class LanguageModel:
    """A language model behind the protocol of all generators.

    It keeps what it was answered on the disk, and asks nothing twice: a search with the same brief, settings and seed
    is replayed from there, byte for byte.

    Parameters
    ----------
    settings : of the server, the model and the budget.
    folder : for `transcripts`, one of each call, with what it took: what is spent and what failed is read from them.
    answers : folder of what was answered, which a replay reads and several searches may share; None for one of its own.
    offline : whether nothing may be asked; a question without an answer in the folder is then an error.

    Raises
    ------
    UsageError
        The model's libraries are not installed, or the key's variable is not set.
    """

    name = "llm"
    version = "1"

    def __init__(
        self, settings: Settings, folder: Path, answers: Path | None = None, *, offline: bool = False
    ) -> None:
        self.settings, self.folder, self.offline = settings, folder, offline
        _library()
        key = Key(settings.key_variable)
        if not offline:
            key.value()
        self._wire = Wire(settings.address, settings.provider, key, settings.limits)
        self._store = ExchangeStore(answers or folder / "answers")
        self._transcripts = Transcripts(folder / "transcripts")
        self.stopped = ""  # why the last proposals were the last ones; for people

    @cached_property
    def _purse(self) -> Purse:
        charges = {name: charge_of(record) for name, record in self._transcripts.read().items()}
        return Purse(self.settings.budget, self.settings.limits.failed_calls, charges)

    @property
    def spent(self) -> Spent:
        """What all calls kept in the folder took, also those of earlier runs."""
        return self._purse.total

    def propose(self, brief: Brief, feedback: Feedback, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return up to n proposals: at first the brief's ideas, then new strategies and variations of the archive's.

        As many ideas a generation as are asked for. None once a budget is spent, or the server failed too often in a row;
        `stopped` then says which.

        Raises
        ------
        ServerError
            Nobody is at the address, or it knows no such key or model; what was answered so far is kept.
        UsageError
            The brief tells of a market, a date or a price level; offline, a question was never answered.
        """
        prompts.check_brief(brief)
        self.stopped = ""
        first = feedback.generation * n
        found = self.from_ideas(brief, brief.ideas[first : first + n], rng)
        left = n - len(found)
        while left > 0 and not self.stopped:
            size = min(left, self.settings.strategies_a_call)
            parents = self._parents(feedback, rng)
            if parents and rng.random() < self.settings.variation:
                found += self.vary(brief, feedback, parents, size, rng)
            else:
                found += self._write(brief, feedback, size, rng, found)
            left -= size
        return found

    def from_ideas(self, brief: Brief, ideas: Sequence[str], rng: np.random.Generator) -> list[Proposal]:
        """Return a proposal for each idea of plain text, in order, while there is budget.

        Raises
        ------
        UsageError
            As `propose`.
        """
        prompts.check_brief(replace(brief, ideas=tuple(ideas)))
        found: list[Proposal] = []
        size = self.settings.strategies_a_call
        for start in range(0, len(ideas), size):
            some = ideas[start : start + size]
            if not self.stopped:
                prompt = prompts.idea_prompt(brief, some)
                found += self._strategies("idea", brief, prompt, len(some), _turn(rng))
        return found

    def vary(
        self, brief: Brief, feedback: Feedback, parents: Sequence[Spec], n: int, rng: np.random.Generator
    ) -> list[Proposal]:
        """Return up to n proposals made from one strategy, or from two: an operator that a search may mix with others.

        Parameters
        ----------
        parents : one or two; those that tell of a market, a date or a price are left out.
        """
        shown = [parent for parent in parents[:2] if prompts.shown_text(parent)]
        if not shown:
            return []
        prompts.check_brief(brief)
        prompt = prompts.variation_prompt(brief, feedback, shown, n)
        made_from = " ".join(parent.hash for parent in shown)
        return self._strategies("variation", brief, prompt, n, _turn(rng), made_from)

    def criticised(
        self, proposals: Sequence[Proposal], brief: Brief, rng: np.random.Generator
    ) -> list[Proposal]:
        """Return proposals with the hypothesis that a critic states, and how it would fail, in place of their own.

        One that is no strategy, or whose statement does not come, is returned as it is.
        """
        found = list(proposals)
        size = self.settings.strategies_a_call
        read = [(k, spec) for k, spec in enumerate(map(_read, proposals)) if spec is not None]
        blind = [(k, spec, prompts.shown_text(replace(spec, hypothesis="unknown"))) for k, spec in read]
        open_ = [row for row in blind if row[2]]
        for start in range(0, len(open_), size):
            rows = open_[start : start + size]
            statements = self._statements(brief, [text for _, _, text in rows], _turn(rng))
            for (k, spec, _), statement in zip(rows, statements, strict=False):
                text = replace(spec, hypothesis=statement).canonical()
                if not refusal_of(text, "proposal"):
                    found[k] = replace(found[k], text=text)
        return found

    def _write(
        self, brief: Brief, feedback: Feedback, n: int, rng: np.random.Generator, now: Sequence[Proposal]
    ) -> list[Proposal]:
        prompt = prompts.author_prompt(brief, feedback, n, list(_entries(now[-_RECENT:])))
        return self._strategies("author", brief, prompt, n, _turn(rng))

    def _strategies(
        self, role: str, brief: Brief, prompt: str, n: int, turn: int, parent: str = ""
    ) -> list[Proposal]:
        """Ask for n strategies, keep the transcript, and return what is proposed."""
        schema = strategies_schema(brief)
        heard = self._asked(role, brief, prompt, schema, turn, lambda answer: complaint_about(answer, n))
        for turn_ in heard.turns:
            self._keep(role, turn_, heard.ended, account_of(turn_, n))
        self._judge(heard)
        origin = Origin(self.name, self.version, parent, self.settings.knowledge_cutoff, self.settings.model)
        texts = texts_of(heard.turns, n)
        found = [Proposal(text.text, replace(origin, prompt=text.question)) for text in texts]
        if self.settings.critic and not self.stopped:
            found = self.criticised(found, brief, np.random.default_rng(turn))
        return found

    def _statements(self, brief: Brief, texts: Sequence[str], turn: int) -> list[str]:
        def fault(answer: str) -> str:
            try:
                statements_in(answer, len(texts))
            except ValueError as error:
                return f"The answer is not what was asked for: {error}."
            return ""

        heard = self._asked("critic", brief, prompts.critic_prompt(texts), statements_schema(), turn, fault)
        for turn_ in heard.turns:
            self._keep(
                "critic", turn_, heard.ended, {"outcome": turn_.fault or fault(turn_.answer) or "answered"}
            )
        self._judge(heard)
        good = [turn_.answer for turn_ in heard.turns if not turn_.fault and not fault(turn_.answer)]
        return statements_in(good[-1], len(texts)) if good else []

    def _asked(
        self,
        role: str,
        brief: Brief,
        prompt: str,
        schema: dict[str, Any],
        turn: int,
        check: Callable[[str], str],
    ) -> Heard:
        """Hold one conversation."""
        library = _library()
        seed = None if self.settings.seed is None else (self.settings.seed + turn) % _SEEDS
        ask = library.Ask(f"{role}/{turn}", prompts.instructions(brief), prompt, schema, check, seed)
        heard: Heard = library.converse(
            ask, self.settings, self._wire, self._store, self._purse, offline=self.offline
        )
        return heard

    def _judge(self, heard: Heard) -> None:
        """Note whether there is any use in another conversation."""
        last = heard.turns[-1] if heard.turns else None
        if heard.stopped:
            self.stopped = heard.ended
        elif last is not None and last.fault and last.reply.status in _HOPELESS:
            key = self.settings.key_variable or "an environment variable, and its name into key_variable"
            remedy = _HOPELESS[last.reply.status].format(key=key)
            raise ServerError(
                last.fault, self.settings.address, f"{remedy}; the same command goes on from here"
            )

    def _keep(self, role: str, turn: Turn, ended: str, told: dict[str, Any]) -> None:
        record = {
            "role": role,
            "model": self.settings.model,
            "question_hash": turn.question.key,
            "question": asdict(turn.question),
            "answer_hash": turn.reply.digest,
            "answer": turn.answer,
            "status": turn.reply.status,
            "ended": ended,
            "number": self._purse.charges[turn.question.key].number,
            "spent": asdict(turn.spent),
            "fault": turn.fault,
        }
        self._transcripts.keep(turn.question.key, {**record, **told})

    def _parents(self, feedback: Feedback, rng: np.random.Generator) -> list[Spec]:
        """Return one or two strategies of the archive, each with the same chance."""
        specs = [elite.spec for elite in feedback.archive]
        if not specs:
            return []
        size = min(len(specs), 1 + int(rng.integers(2)))
        return [specs[int(k)] for k in rng.choice(len(specs), size=size, replace=False)]


def _library() -> Any:
    """Return the module that asks, or say what is missing."""
    try:
        from research_lab.generators.language_model import conversation
    except ModuleNotFoundError as fault:
        if (fault.name or "").split(".")[0] not in ("pydantic_ai", "openai", "anthropic", "httpx2"):
            raise
        what = f"a language model needs {fault.name}, which is not installed"
        raise UsageError(what, remedy="run make env, or pip install '.[llm]' in the checkout") from None
    return conversation


def _turn(rng: np.random.Generator) -> int:
    """Return a number that tells this question from others of the same words, in this search and in other ones."""
    return int(rng.integers(_SEEDS))


def _entries(proposals: Sequence[Proposal]) -> Iterator[str]:
    """Yield the entry conditions of strategies."""
    for spec in map(_read, proposals):
        if spec is not None:
            yield "; ".join(node.text for name, node in spec.conditions.items() if name.startswith("enter"))


def _read(proposal: Proposal) -> Spec | None:
    try:
        return parse_spec(proposal.text, "proposal")
    except SpecError:
        return None
