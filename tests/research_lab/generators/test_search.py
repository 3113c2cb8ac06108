"""A search: anybody's texts in, an archive and a ledger out, the same whoever does the work and however often it is cut."""

from __future__ import annotations

import gc
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research_lab.bars import Bars
from research_lab.dsl import limits
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import GauntletError
from research_lab.generators.protocol import Proposal
from research_lab.generators.search import PATIENCE, TWICE, Generation, Measured, Search
from research_lab.market_data.lake import Lake
from research_lab.scoring import crew as crews
from research_lab.scoring.crew import Crew
from research_lab.scoring.origin import Origin
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.workspace import Workspace
from tests.research_lab.generators import made_up
from tests.research_lab.generators.made_up import Drawing, Saying, cross

N = 60


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Archive and ledger of one search, run in this process without a break."""
    folder = tmp_path_factory.mktemp("here")
    search = made_up.search(folder, Drawing())
    search.run(N)
    return made_up.elites(search), made_up.rows(folder)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))  # for the workers
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
        ) as made:
            yield made.scheduler_address


def test_everything_that_was_proposed_is_answered_and_stands_in_the_ledger_once(tmp_path: Path) -> None:
    broken = cross().replace("atr", "art")
    texts = [[cross(3), broken, cross(3), cross(4), "a" * (limits.BYTES + 5)], [cross(4), broken, cross(6)]]
    search = made_up.search(tmp_path, Saying(texts))
    search.admit = lambda spec: "not that one" if "ema(close, 4)" in spec.canonical() else ""
    first = search.step()
    assert [bool(a.refused) for a in first] == [False, True, True, True, True]
    assert "art() is not known" in first[1].refused and first[2].refused == TWICE
    assert first[3].refused == "not that one" and "larger than" in first[4].refused
    assert first[3].spec is not None and first[1].spec is None
    assert len(first[4].proposal.text) == limits.BYTES + 1, "no more is kept of it than is read"
    second = search.step()
    assert [a.refused[:8] for a in second] == [TWICE[:8], "proposal", ""]
    assert search.feedback.n_looks == 2 and search.feedback.generation == 2
    assert search.step() == []
    trials = TrialLedger(tmp_path).every()
    assert [(t.kind, t.reason[:8]) for t in trials] == [
        ("refused", "proposal"), ("refused", "not that"), ("refused", "proposal"), ("scored", ""), ("scored", ""),
    ]  # fmt: skip
    assert {(t.origin, t.generator_version) for t in trials} == {("saying", "1")}
    assert trials[1].timeframe == "1h" and len({t.candidate for t in trials}) == 5


def test_a_search_ends_when_its_looks_are_spent_or_nothing_new_comes(tmp_path: Path) -> None:
    search = made_up.search(tmp_path / "a", Drawing())
    assert "looks are spent" in search.run(30)
    assert search.feedback.n_looks == 30
    assert "no more to propose" in made_up.search(tmp_path / "b", Saying([[cross()]])).run(30)
    stuck = made_up.search(tmp_path / "c", Saying([[cross()]] * (PATIENCE + 5)))
    assert "nothing new" in stuck.run(30)
    assert stuck.feedback.n_looks == 1


def test_a_generator_that_answers_more_than_it_was_asked_for_is_cut(tmp_path: Path) -> None:
    search = made_up.search(tmp_path, Saying([[cross(k) for k in range(2, 30)]]), batch=10)
    assert len(search.step(4)) == 4
    assert search.feedback.n_looks == 4


# The same, whoever works


def test_two_workers_give_the_archive_and_the_ledger_of_one(tmp_path: Path, here: Any) -> None:
    with Crew(2) as crew:
        search = made_up.search(tmp_path, Drawing(), crew=crew)
        search.run(N)
    assert (made_up.elites(search), repr(made_up.rows(tmp_path))) == (here[0], repr(here[1]))


def test_a_cluster_gives_the_archive_and_the_ledger_of_one_process(
    tmp_path: Path, here: Any, scheduler: str
) -> None:
    with Crew(scheduler=scheduler) as crew:
        search = made_up.search(tmp_path, Drawing(), crew=crew)
        search.run(N)
    assert (made_up.elites(search), repr(made_up.rows(tmp_path))) == (here[0], repr(here[1]))


def test_another_seed_gives_another_archive(tmp_path: Path, here: Any) -> None:
    search = made_up.search(tmp_path, Drawing(), seed=2)
    search.run(N)
    assert made_up.elites(search) != here[0]


# Recalled from what was kept


class StopError(Exception):
    """The search was killed here."""


def kept_and_cut(folder: Path, kept: list[Generation], at: int, *, before: bool) -> None:
    """Search until a generation is kept, and die before or after."""

    def keep(generation: Generation) -> None:
        if before and generation.number == at:
            raise StopError
        kept.append(generation)
        if generation.number == at:
            raise StopError

    search = made_up.search(folder, Drawing())
    search.keep = keep
    for generation in list(kept):
        assert search.recall(generation)
    search.run(N)


@pytest.mark.parametrize("before", [True, False])
def test_a_search_cut_at_every_generation_gives_the_same_archive_and_ledger(
    before: bool, tmp_path: Path, here: Any
) -> None:
    kept: list[Generation] = []
    for at in range(4):
        with pytest.raises(StopError):
            kept_and_cut(tmp_path, kept, at, before=before)
    generator = Drawing()
    search = made_up.search(tmp_path, generator)
    for generation in kept:
        assert search.recall(generation)
    search.run(N)
    assert len(generator.asked) == search.feedback.generation - len(kept)
    assert (made_up.elites(search), repr(made_up.rows(tmp_path))) == (here[0], repr(here[1]))


def test_what_the_ledger_does_not_have_is_not_recalled(tmp_path: Path) -> None:
    kept: list[Generation] = []
    search = made_up.search(tmp_path / "a", Drawing())
    search.keep = kept.append
    search.step()
    search.step()
    strange = made_up.search(tmp_path / "b", Drawing())
    assert not strange.recall(kept[0])
    assert strange.feedback.generation == 0 and len(strange.feedback.archive) == 0
    again = made_up.search(tmp_path / "a", Drawing())
    assert not again.recall(kept[1]), "out of order"
    assert not again.recall(replace(kept[0], measured={}))
    assert again.recall(kept[0]) and again.recall(kept[1])
    assert made_up.elites(again) == made_up.elites(search)
    (elite, *_) = again.feedback.archive
    again.scorer.run(elite.spec)  # counted before, so it may be looked at again


def test_a_crash_that_the_ledger_does_not_have_is_not_recalled(tmp_path: Path) -> None:
    text = cross(5)
    digest = parse_spec(text).hash
    proposals = (Proposal(text, Origin("saying", "1")),)
    generation = Generation(0, proposals, (digest,), {digest: Measured(crash="ValueError: it broke")})
    assert not made_up.search(tmp_path, Saying([])).recall(generation)


def test_a_crash_is_a_look_and_is_recalled_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = crews._swept

    def fragile(some: Any, *rest: Any) -> Any:
        if any(spec.name == "bad" for spec in some):
            raise ZeroDivisionError("planted")
        return swept(some, *rest)

    monkeypatch.setattr(crews, "_swept", fragile)
    texts = [[cross(3), cross(7).replace("name: cross", "name: bad"), cross(9)]]
    kept: list[Generation] = []
    search = made_up.search(tmp_path, Saying(texts))
    search.keep = kept.append
    answers = search.step()
    assert [a.refused for a in answers] == ["", "crashed: ZeroDivisionError: planted", ""]
    assert search.feedback.n_looks == 3
    assert [t.kind for t in TrialLedger(tmp_path).every()] == ["scored", "crashed", "scored"]
    again = made_up.search(tmp_path, Saying(texts))
    assert again.recall(kept[0])
    assert [a.refused for a in again.feedback.answers] == [a.refused for a in answers]


# What a generator can reach


FORBIDDEN = (Bars, Lake, Scorer, TrialLedger, Workspace, Crew, Search, Path)
_NOT_DATA = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)


def reachable(*roots: object) -> list[object]:
    """Return every object that data lead to from these: attributes, items, array bases; not code."""
    found: dict[int, object] = {}
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in found or isinstance(one, _NOT_DATA):
            continue
        found[id(one)] = one
        waiting += gc.get_referents(one)
        if isinstance(one, np.ndarray) and one.base is not None:
            waiting.append(one.base)
    return list(found.values())


class Greedy(Drawing):
    """Goes through all that it is handed, for what it may not have."""

    stolen: list[object]

    def propose(self, brief: Any, feedback: Any, n: int, rng: Any) -> Any:
        everything = reachable(brief, feedback, rng)
        self.stolen = [one for one in everything if isinstance(one, FORBIDDEN)]
        self.stolen += [one for one in everything if isinstance(one, str) and one.startswith("/")]
        self.stolen += [
            one
            for one in everything
            if isinstance(one, np.ndarray) and one.size >= self.n_bars and one.dtype == float
        ]
        return super().propose(brief, feedback, n, rng)

    n_bars = 2_880


def test_a_generator_that_reaches_for_everything_it_is_handed_gets_no_bars_files_or_scorer(
    tmp_path: Path,
) -> None:
    greedy = Greedy()
    search = made_up.search(tmp_path, greedy)
    for _ in range(3):
        search.step()
        assert greedy.stolen == []
    assert search.scorer.bars.n == greedy.n_bars


def test_a_thief_would_be_noticed(tmp_path: Path) -> None:
    greedy = Greedy()
    search = made_up.search(tmp_path, greedy)
    search.step()
    object.__setattr__(search.feedback, "answers", [search])  # a planted leak
    search.step()
    assert {type(one) for one in greedy.stolen} >= {Search, Scorer, Bars, TrialLedger, np.ndarray}


def test_a_generator_that_fails_ends_the_search_and_leaves_what_was_counted(tmp_path: Path) -> None:
    class Failing(Drawing):
        def propose(self, brief: Any, feedback: Any, n: int, rng: Any) -> Any:
            if feedback.generation == 1:
                raise GauntletError("the budget's file is gone")
            return super().propose(brief, feedback, n, rng)

    search = made_up.search(tmp_path, Failing())
    with pytest.raises(GauntletError):
        search.run(N)
    assert search.feedback.generation == 1
    assert len(TrialLedger(tmp_path).every()) > 0
