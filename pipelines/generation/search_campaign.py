"""A search as a campaign: bars sealed first, looks counted and anchored, generations kept, the archive told.

The scorer's bars end at the seal, and a generator is handed neither: a brief, the archive, the last answers,
random numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipelines.anchoring import Anchor, check_openings
from pipelines.gates import static
from pipelines.gates.policy import Policy
from pipelines.gates.world import code_hash
from pipelines.generation.elites import archive_content
from pipelines.generation.generator_registry import Ideas, Made, WithIdeas, check_options, make
from pipelines.generation.kept_search import KeptSearch, alone_in, kept_search, left_behind, write_archive
from pipelines.grounds import open_world
from pipelines.open_run import open_run
from pipelines.tracking.tracker import Tracker
from research_lab.bars import DAY_MS, Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.errors import GauntletError
from research_lab.generators.archive import Archive
from research_lab.generators.brief import Brief
from research_lab.generators.language_model.settings import read_settings
from research_lab.generators.protocol import Generator
from research_lab.generators.search import NO_MORE, Search
from research_lab.market_data.lake import Lake, divide
from research_lab.scoring.crew import Crew
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.wording import count
from research_lab.workspace import Workspace

BATCH: Final = 100
_TRANSCRIPTS: Final = "transcripts"
_ANSWERS: Final = "answers"  # of language models, to all searches of a workspace

Told = Callable[[Search, int], None]


@dataclass(frozen=True)
class Wish:
    """What is asked of a search.

    Parameters
    ----------
    generator : its name. brief : what is wanted. n : looks to spend.
    seed : of everything random. batch : proposals a generation.
    settings : file that configures a language model. offline : whether it may be asked nothing new.
    ideas : what somebody brings along.
    """

    generator: str
    brief: Brief
    n: int
    seed: int = 1
    batch: int = BATCH
    settings: Path | None = None
    offline: bool = False
    ideas: Ideas = field(default_factory=Ideas)


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


def run_search(
    workspace: Workspace,
    bars: Bars,
    regimes: RegimeSet,
    policy: Policy,
    wish: Wish,
    crew: Crew,
    told: Told,
    say: Callable[[str], None] = lambda line: None,
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
    tracker, lake = Tracker(workspace), Lake(workspace.root)
    TrialLedger(workspace.trials).verify(check_openings(lake, tracker.ledgers.anchored_heads()))
    bound, facts = bound_to(bars, regimes, policy, wish, lake), _facts(bars, wish)
    kept = kept_search(workspace.generations, bound)
    memory = _memory(workspace, bound, wish)
    n_ideas = 0 if wish.settings is None else len(wish.ideas.told(wish.brief).ideas)
    if n_ideas > wish.n:
        say(
            f"{count(n_ideas - wish.n, 'idea')} of {n_ideas} may stay unasked: --n leaves {count(wish.n, 'look')}"
        )
    for name, differs in left_behind(workspace.generations, bound):
        why = f"it differs in {', '.join(differs)}"
        say(f"{name} is another search that did not end, {why}; {kept.name} begins anew")
    generator = make(
        wish.generator, Made(wish.settings, memory, wish.offline, workspace.generations / _ANSWERS)
    )  # wrong settings leave nothing behind
    with (
        kept.alone(),
        _asking_alone(memory, wish),
        open_run(tracker, kept.name, {**facts, **bound}, kept.folder) as run,
    ):
        scorer = open_world(workspace, bars, regimes, policy, kept.name).scorer
        anchor = Anchor(tracker.ledgers, run, scorer.ledger, lake)
        scorer.crew, scorer.progress = crew, anchor.looked
        search = _search(scorer, generator, policy, wish, kept)
        try:
            ended = _go_on(search, kept, wish, _naming_files(told, wish, say), say)
        except (KeyboardInterrupt, GauntletError):
            if search.feedback.generation:
                write_archive(kept.folder, archive_content(kept.name, search, "", facts))
                say(f"{kept.name}: {_taken(search)} in {kept.folder}")
            raise
        finally:
            anchor.drop()
        for kind, reason in search.examples.items():
            say(f"refused, {kind}, such as: {reason}")
        if ended == NO_MORE:
            ended = getattr(generator, "stopped", "") or ended  # a budget that is spent, say
        path = write_archive(kept.folder, archive_content(kept.name, search, ended, facts))
        tracker.log_search(run, _figures(search), _files(path, memory))
    state = search.feedback
    taken = (state.n_looks, state.generation, search.refused)
    return Found(kept.name, kept.folder, state.archive, ended, *taken, run)


def _taken(search: Search) -> str:
    state = search.feedback
    are = "is" if state.generation == 1 else "are"
    return f"{count(state.generation, 'generation')} with {count(state.n_looks, 'look')} {are} kept"


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


def _go_on(search: Search, kept: KeptSearch, wish: Wish, told: Told, say: Callable[[str], None]) -> str:
    """Take what was kept, then search on; return why it ended."""
    for generation in kept.generations():
        if not search.recall(generation):
            say(f"the ledger does not have all looks of generation {generation.number}: it is run again")
            break
        told(search, wish.n)
    if search.feedback.generation:
        say(f"{kept.name} goes on: {_taken(search)}")
    return search.run(wish.n, lambda search: told(search, wish.n))


def _search(scorer: Scorer, generator: Generator, policy: Policy, wish: Wish, kept: KeptSearch) -> Search:
    brief = wish.ideas.told(wish.brief)
    batch = wish.batch if wish.settings is None else max(wish.batch, len(brief.ideas))
    if wish.ideas.texts:
        generator = WithIdeas(generator, [text for _, text in wish.ideas.texts], batch)

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


def _facts(bars: Bars, wish: Wish) -> dict[str, Any]:
    """Return what people ask of a search first."""
    return {
        "market": bars.market.name,
        "symbol": bars.market.charged_to,
        "snapshot": bars.snapshot,
        "generator": wish.generator,
        "goal": wish.brief.goal,
        "looks_asked": wish.n,
        "seed": wish.seed,
        "batch": wish.batch,
    }


def _figures(search: Search) -> dict[str, float]:
    best = next(iter(search.feedback.archive), None)
    told = {f"refused/{kind}": float(n) for kind, n in search.refused.items()}
    return {
        "n_looks": float(search.feedback.n_looks),
        "n_generations": float(search.feedback.generation),
        "n_elites": float(len(search.feedback.archive)),
        "best_fitness": math.nan if best is None else best.fitness,
        "best_sharpe": math.nan if best is None else best.sharpe,
        **told,
    }


def _files(archive: Path, memory: Path) -> dict[str, Path]:
    """Return the artifacts of a search: its archive, and every call of a language model."""
    calls = sorted((memory / _TRANSCRIPTS).glob("*"))
    return {
        archive.name: archive,
        **{f"{_TRANSCRIPTS}/{path.name}": path for path in calls if path.is_file()},
    }


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
