"""A search as a campaign: bars sealed first, looks counted and anchored, generations kept, the archive told.

The scorer's bars end at the seal, and a generator is handed neither: a brief, the archive, the last answers,
random numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines.anchoring import Anchor, check_openings
from pipelines.gates import static
from pipelines.gates.policy import Policy
from pipelines.gates.world import code_hash
from pipelines.generation.elites import archive_content
from pipelines.generation.generator_registry import Made, check_options, make
from pipelines.generation.kept_search import KeptSearch, alone_in, kept_search, left_behind, write_archive
from pipelines.generation.search_record import facts_of, figures_of, files_of
from pipelines.generation.search_wish import Wish
from pipelines.grounds import open_world
from pipelines.open_run import open_run
from pipelines.tracking.tracker import Tracker
from research_lab.bars import DAY_MS, Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.errors import GauntletError
from research_lab.generators.archive import Archive
from research_lab.generators.language_model.settings import read_settings
from research_lab.generators.protocol import Generator
from research_lab.generators.search import NO_MORE, Search
from research_lab.market_data.lake import Lake, divide
from research_lab.scoring.crew import Crew
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.wording import count
from research_lab.workspace import Workspace

_ANSWERS: Final = "answers"  # of language models, to all searches of a workspace
_NAMED: Final = 10  # ideas that are told to have had no look
_SHOWN: Final = 60  # characters of one in words

Told = Callable[[Search, int], None]


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Parameters
    ----------
    name, folder : of the search. archive : the elites.
    ended : why it ended. n_looks, n_generations, refused : what it took, refusals by their kind.
    run : its MLflow run.
    """

    name: str
    folder: Path
    archive: Archive
    ended: str
    n_looks: int
    n_generations: int
    refused: Mapping[str, int]
    run: str


@dataclass(frozen=True, eq=False)
class Given:
    """What a search has to work with.

    Parameters
    ----------
    workspace : that it is kept in. bars : of its market, those beyond the seal too.
    regimes : that bars are told apart by. policy : the limits, of which a search knows the first gate's.
    """

    workspace: Workspace
    bars: Bars
    regimes: RegimeSet
    policy: Policy


def run_search(
    given: Given, wish: Wish, crew: Crew, told: Told, say: Callable[[str], None] = lambda line: None
) -> Found:
    """Seal the bars, and search their research zone for candidates.

    Interrupted or killed, it goes on where it was when it is asked for the same again: it gives the same archive,
    and no look is counted twice. Asked for anything else, it is another search.

    Parameters
    ----------
    told : after each generation, also those taken from the disk: the search, and the looks asked for.
    say : told in a sentence what is taken up again, and what is not.
    """
    check_options(wish.generator, Made(wish.settings, offline=wish.offline))
    workspace = given.workspace
    tracker, lake = Tracker(workspace), Lake(workspace.root)
    TrialLedger(workspace.trials).verify(check_openings(lake, tracker.ledgers.anchored_heads()))
    bound, facts = bound_to(given.bars, given.regimes, given.policy, wish, lake), facts_of(given.bars, wish)
    kept = kept_search(workspace.generations, bound)
    memory = _memory(workspace, bound, wish)
    _tell_of_others(workspace, kept, say)
    # wrong settings leave nothing behind
    made = Made(wish.settings, memory, wish.offline, workspace.generations / _ANSWERS)
    generator = make(wish.generator, made)
    alone = _asking_alone(memory, wish)
    with kept.alone(), alone, open_run(tracker, kept.name, {**facts, **bound}, kept.folder) as run:
        scorer = open_world(workspace, given.bars, given.regimes, given.policy, kept.name).scorer
        scorer.crew = crew
        campaign = _Campaign(_search(scorer, generator, given.policy, wish, kept), kept, wish, facts, say)
        with _anchored(scorer, tracker, run, lake):
            ended = campaign.go_on(told)
        path = campaign.close(ended)
        tracker.log_search(run, figures_of(campaign.search), files_of(path, memory))
    return campaign.found(ended, run)


def _tell_of_others(workspace: Workspace, kept: KeptSearch, say: Callable[[str], None]) -> None:
    for name, differs in left_behind(workspace.generations, kept.bound):
        why = f"it differs in {', '.join(differs)}"
        say(f"{name} is another search that did not end, {why}; {kept.name} begins anew")


@contextmanager
def _anchored(scorer: Scorer, tracker: Tracker, run: str, lake: Lake) -> Iterator[None]:
    """Anchor the ledger's heads in a run while looks are counted, and when they end."""
    anchor = Anchor(tracker.ledgers, run, scorer.ledger, lake)
    scorer.progress = anchor.looked
    try:
        yield
    finally:
        anchor.drop()


@dataclass(frozen=True, eq=False)
class _Campaign:
    """A search with where it is kept, what was asked for, what people ask of it first, and who is told."""

    search: Search
    kept: KeptSearch
    wish: Wish
    facts: Mapping[str, Any]
    say: Callable[[str], None]

    def go_on(self, told: Told) -> str:
        """Take what was kept, then search on; return why it ended. Interrupted, it leaves an archive of what there is."""
        try:
            ended = self._searched(_naming_files(told, self.wish, self.say))
        except (KeyboardInterrupt, GauntletError):
            if self.search.feedback.generation:
                self._write("")
                self.say(f"{self.kept.name}: {self._taken} in {self.kept.folder}")
            raise
        if ended == NO_MORE:
            ended = getattr(self.search.generator, "stopped", "") or ended  # a budget that is spent, say
        return ended

    def _searched(self, told: Told) -> str:
        for generation in self.kept.generations():
            if not self.search.recall(generation):
                number = generation.number
                self.say(f"the ledger does not have all looks of generation {number}: it is run again")
                break
            told(self.search, self.wish.n)
        if self.search.feedback.generation:
            self.say(f"{self.kept.name} goes on: {self._taken}")
        return self.search.run(self.wish.n, lambda search: told(search, self.wish.n))

    def close(self, ended: str) -> Path:
        """Tell what was refused and what never came up; write the archive, and return where it lies."""
        for kind, reason in self.search.examples.items():
            self.say(f"refused, {kind}, such as: {reason}")
        if never := _never_proposed(self.search, self.wish):
            further = f" and {len(never) - _NAMED} more" if len(never) > _NAMED else ""
            self.say(
                f"not proposed, for {ended}: {', '.join(never[:_NAMED])}{further}; ask for more with --n"
            )
        return self._write(ended)

    def _write(self, ended: str) -> Path:
        content = archive_content(self.kept.name, self.search, ended, self.facts)
        return write_archive(self.kept.folder, content)

    def found(self, ended: str, run: str) -> Found:
        """Return what came out."""
        state = self.search.feedback
        taken = (state.n_looks, state.generation, self.search.refused)
        return Found(self.kept.name, self.kept.folder, state.archive, ended, *taken, run)

    @property
    def _taken(self) -> str:
        state = self.search.feedback
        are = "is" if state.generation == 1 else "are"
        return f"{count(state.generation, 'generation')} with {count(state.n_looks, 'look')} {are} kept"


def _never_proposed(search: Search, wish: Wish) -> list[str]:
    """Return the files of ideas, and the ideas that a language model was to read, for which there was no look."""
    words = () if wish.settings is None else search.brief.ideas[wish.n :]
    return [*(file for file, _ in search.waiting), *(repr(word[:_SHOWN]) for word in words)]


def bound_to(bars: Bars, regimes: RegimeSet, policy: Policy, wish: Wish, lake: Lake) -> dict[str, str]:
    """Return all that a search's archive depends on, by name; the number of workers is no part of it.

    Parameters
    ----------
    lake : says where research ends, if the market was sealed before.
    """
    settings = "" if wish.settings is None else read_settings(wish.settings).model_dump_json()
    return {
        "data": bars.snapshot,
        "research": str(_research_end(bars, policy, lake)),
        "regimes": regimes.hash,
        "policy": policy.hash,
        "brief": wish.brief.hash,
        "ideas": wish.ideas.hash,
        "generator": wish.generator,
        "settings": settings and _digest(settings.encode()),
        "seed": str(wish.seed),
        "looks": str(wish.n),
        "batch": str(wish.batch),
        "code": code_hash(),
    }


def _research_end(bars: Bars, policy: Policy, lake: Lake) -> int:
    if lake.is_sealed(bars.market.charged_to):
        return lake.zones(bars).research.end_ms
    return divide(bars, policy.zones.holdout_share, policy.zones.forward_days * DAY_MS).research.end_ms


def _naming_files(told: Told, wish: Wish, say: Callable[[str], None]) -> Told:
    """Return who is told of each generation, and before of each file that was refused in it."""
    said: set[str] = set()

    def tell(search: Search, n: int) -> None:
        for file, reason in search.refused_files.items():
            if file not in said:
                say(f"refused: {wish.ideas.folder / reason}")
                said.add(file)
        told(search, n)

    return tell


def _search(scorer: Scorer, generator: Generator, policy: Policy, wish: Wish, kept: KeptSearch) -> Search:
    brief = wish.ideas.told(wish.brief)
    batch = max(wish.batch, 0 if wish.settings is None else len(brief.ideas))

    def admit(spec: Spec) -> str:
        outside = brief.refuses(spec)
        return f"brief: {outside}" if outside else static.refusal(spec, policy)

    return Search(brief, generator, scorer, wish.seed, batch, admit, kept.keep, wish.ideas.files)


def _memory(workspace: Workspace, bound: Mapping[str, str], wish: Wish) -> Path:
    """Return where a language model's calls for a search are kept, and with them what it spent.

    The same whatever the looks, the policy, the code, and the settings of the model but which it is: a budget that is
    raised pays for nothing twice, and no edit makes a new one of it.
    """
    asked = {name: bound[name] for name in ("data", "brief", "ideas", "generator", "seed")}
    if wish.settings is not None:
        settings = read_settings(wish.settings)
        asked |= {"provider": settings.provider, "model": settings.model}
    digest = _digest(json.dumps(asked, sort_keys=True).encode())
    return workspace.generations / f"asked-{digest[:8]}"


def _asking_alone(memory: Path, wish: Wish) -> AbstractContextManager[None]:
    """Hold what a model spent against other searches that share it."""
    return nullcontext() if wish.settings is None else alone_in(memory)


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
