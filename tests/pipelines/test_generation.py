"""Searches as commands: counted, kept, killed and gone on with, shown, and handed on to the gates."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines import cli
from pipelines.gates.policy import Policy
from pipelines.gates.world import World
from pipelines.generation import archive_text, generator_registry, inputs, kept_search, search_campaign
from pipelines.generation import elites as elite_files
from pipelines.generation.generator_registry import Ideas, read_ideas
from pipelines.generation.search_campaign import Found, Given, run_search
from pipelines.generation.search_wish import Wish
from pipelines.grounds import open_world
from pipelines.proposals import read_proposals
from research_lab.bars import Bars
from research_lab.errors import GauntletError, LockedError, ServerError, UsageError
from research_lab.generators.brief import Brief
from research_lab.generators.protocol import Proposal
from research_lab.market_data.lake import Lake
from research_lab.scoring.crew import Crew
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small
from tests.research_lab.generators import made_up
from tests.research_lab.generators.language_model import loopback as says
from tests.research_lab.generators.language_model import strategies as texts
from tests.research_lab.generators.test_search import reachable

ROOT = Path(cli.__file__).parents[1]
LOOKS, BATCH = 14, 6


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return small.policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def bars() -> Bars:
    return small.planted(n_days=260)


@pytest.fixture(autouse=True)
def drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator of crossings, and a store of campaigns that only remembers."""
    monkeypatch.setitem(generator_registry.GENERATORS, "drawing", lambda made: made_up.Drawing())  # type: ignore[arg-type]
    monkeypatch.setattr(search_campaign, "Tracker", Store)


class Store(small.Tracker):
    def log_search(self, run: str, metrics: Any, files: Any) -> None:
        assert all(path.is_file() for path in files.values())


def wish(**changed: Any) -> Wish:
    return Wish(**({"generator": "drawing", "brief": Brief(), "n": LOOKS, "batch": BATCH} | changed))


def searched(
    place: Path, bars: Bars, policy: Policy, asked: Wish | None = None, say: Callable[[str], None] = print
) -> Found:
    workspace = Workspace.find(place).create()
    with Crew() as crew:
        given = Given(workspace, bars, small.regimes(workspace), policy)
        return run_search(given, asked or wish(), crew, lambda *_: None, say)


def result(place: Path) -> tuple[bytes, str]:
    """Return the bytes of the one archive of a workspace, and its ledger without times."""
    (archive,) = (place / "generations").glob("search-*/archive.json")
    return archive.read_bytes(), repr(made_up.rows(place / "trials"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, bars: Bars, policy: Policy) -> tuple[bytes, str]:
    """Archive and ledger of a search that nothing interrupted."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(generator_registry.GENERATORS, "drawing", lambda made: made_up.Drawing())  # type: ignore[arg-type]
        patch.setattr(search_campaign, "Tracker", Store)
        searched(place, bars, policy)
    return result(place)


def test_a_search_counts_each_look_and_tells_what_it_refused(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    found = searched(tmp_path, bars, policy)
    trials = TrialLedger(tmp_path / "trials").every()
    assert found.n_looks == LOOKS == sum(trial.kind == "scored" for trial in trials)
    assert found.refused["no strategy"] >= sum(t.kind == "refused" and not t.timeframe for t in trials) > 0
    research = Lake(tmp_path).research(bars).interval
    assert {(t.start_ms, t.end_ms) for t in trials} == {research}, "nothing was looked at beyond the seal"
    assert {t.campaign for t in trials} == {found.name}
    content = json.loads((found.folder / "archive.json").read_text())
    assert [e["hash"] for e in content["elites"]] == [e.spec.hash for e in found.archive.fittest]
    kept = [e["hash"] for e in [*content["elites"], *content["others"]]]
    assert sorted(kept) == sorted(e.spec.hash for e in found.archive) and len(set(kept)) == len(kept)
    assert "looks are spent" in content["ended"]


def test_the_first_gate_and_the_brief_refuse_before_anything_is_scored(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    told = policy.model_dump()
    told["gates"]["static"]["n_nodes"]["at_most"] = 5.0
    strict = Policy(**told)
    found = searched(tmp_path / "gate", bars, strict)
    assert found.n_looks == 0 and found.refused["gate 1"] > 0
    trials = TrialLedger(tmp_path / "gate" / "trials").every()
    assert {t.kind for t in trials} == {"refused"}
    assert any(t.reason.startswith("gate 1: n_nodes is ") and t.timeframe for t in trials)
    short = searched(tmp_path / "brief", bars, policy, wish(brief=Brief(timeframes=("4h",))))
    assert short.refused["brief"] > 0
    assert all(e.spec.timeframe == "4h" for e in short.archive)


# Killed, and gone on with


class KilledError(BaseException):
    """The process was killed here."""


def killed_at(k: int, monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> bool:
    """Run, and be killed at the k-th time that something is made sure to be on the disk; return whether it was."""
    n = 0
    really = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal n
        n += 1
        if n == k:
            raise KilledError
        really(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        try:
            run()
        except KilledError:
            return True
    return False


def test_killed_at_any_write_and_run_again_it_gives_the_same_archive_and_ledger(
    tmp_path: Path, bars: Bars, policy: Policy, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = 0
    for k in range(1, 200, 3):
        place = tmp_path / str(k)
        if not killed_at(k, monkeypatch, lambda place=place: searched(place, bars, policy)):  # type: ignore[misc]
            break
        points += 1
        searched(place, bars, policy)
        assert result(place) == whole, f"killed at write {k}"
        shutil.rmtree(place)
    assert points >= 8


def test_killed_again_and_again_it_still_ends_with_the_same(
    tmp_path: Path, bars: Bars, policy: Policy, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 0
    while killed_at(14, monkeypatch, lambda: searched(tmp_path, bars, policy)):
        n += 1
    assert n >= 2
    assert result(tmp_path) == whole


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
import pytest
from pipelines.gates.policy import load_policy
from pipelines.generation import generator_registry, search_campaign
from tests.pipelines import small_campaign as small, test_generation as t
from tests.research_lab.generators import made_up
generator_registry.GENERATORS["drawing"] = lambda made: made_up.Drawing()
search_campaign.Tracker = t.Store
place = Path(sys.argv[1])
t.searched(place, small.planted(n_days=260), load_policy(place / "policy.yaml"))
"""


def test_a_search_that_the_system_kills_goes_on_and_gives_the_same(
    tmp_path: Path, bars: Bars, policy: Policy, whole: Any
) -> None:
    small.policy_file(tmp_path)
    command = [sys.executable, "-c", SCRIPT.format(root=str(ROOT)), str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + 120.0
    while not list(tmp_path.glob("generations/search-*/000000.json")):
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1].decode()
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    said: list[str] = []
    searched(tmp_path, bars, policy, say=said.append)
    assert any("goes on" in line for line in said)
    assert result(tmp_path) == whole


def test_an_interrupt_leaves_an_archive_and_what_was_counted(
    tmp_path: Path, bars: Bars, policy: Policy, whole: Any
) -> None:
    workspace = Workspace.find(tmp_path).create()

    def stop(search: Any, n: int) -> None:
        if search.feedback.generation == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Crew() as crew:
        run_search(Given(workspace, bars, small.regimes(workspace), policy), wish(), crew, stop)
    content = json.loads(result(tmp_path)[0])
    assert (content["ended"], content["n_generations"]) == ("", 2)
    assert (tmp_path / "ended").read_text() == "KILLED\n"
    searched(tmp_path, bars, policy)
    assert result(tmp_path) == whole


@pytest.mark.parametrize("spoiled", ["generation", "ledger"])
def test_what_cannot_be_taken_up_again_is_run_again_and_counted_once(
    spoiled: str, tmp_path: Path, bars: Bars, policy: Policy, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    while not list(tmp_path.glob("generations/search-*/000001.json")):
        assert killed_at(20, monkeypatch, lambda: searched(tmp_path, bars, policy))
    if spoiled == "generation":
        (file,) = tmp_path.glob("generations/search-*/000000.json")
        file.write_text(file.read_text()[:-200])
    else:
        shutil.rmtree(tmp_path / "trials")
    said: list[str] = []
    searched(tmp_path, bars, policy, say=said.append)
    assert any("run again" in line for line in said) == (spoiled == "ledger")
    assert result(tmp_path) == whole


def test_with_anything_changed_it_is_another_search_and_says_so(
    tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert killed_at(20, monkeypatch, lambda: searched(tmp_path, bars, policy))
    said: list[str] = []
    found = searched(tmp_path, bars, policy, wish(seed=2), said.append)
    assert "differs in seed" in said[0] and f"{found.name} begins anew" in said[0]
    workspace = Workspace.find(tmp_path)
    regimes, lake = small.regimes(workspace), Lake(workspace.root)
    base = search_campaign.bound_to(bars, regimes, policy, wish(), lake)
    with monkeypatch.context() as patch:
        patch.setattr(search_campaign, "code_hash", lambda: "c" * 64)
        other_code = search_campaign.bound_to(bars, regimes, policy, wish(), lake)
    other = [
        search_campaign.bound_to(bars.window(0, bars.n - 1), regimes, policy, wish(), lake),
        search_campaign.bound_to(bars, regimes, Policy(**{**policy.model_dump(), "shadow_days": 31}), wish(), lake),
        other_code,
        base | {"research": "0"},
        *(
            search_campaign.bound_to(bars, regimes, policy, wish(**changed), lake)
            for changed in (
                {"generator": "grammar"}, {"brief": Brief(max_nodes=9)}, {"seed": 2}, {"n": 15}, {"batch": 7},
                {"ideas": Ideas(words=("a",))},
            )
        ),
    ]  # fmt: skip
    names = {kept_search.kept_search(tmp_path, bound).name for bound in [base, *other]}
    assert len(names) == 1 + len(other)


def test_two_processes_do_not_run_one_search(tmp_path: Path, bars: Bars, policy: Policy) -> None:
    workspace = Workspace.find(tmp_path)
    bound = search_campaign.bound_to(bars, small.regimes(workspace), policy, wish(), Lake(workspace.root))
    kept = kept_search.kept_search(tmp_path / "generations", bound)
    with kept.alone(), pytest.raises(LockedError, match="another process runs this search"):
        searched(tmp_path, bars, policy)


def test_where_the_seal_stands_is_part_of_a_search(tmp_path: Path, bars: Bars, policy: Policy) -> None:
    """A market that was sealed with fewer bars has less research, and so another archive."""
    names = []
    for sealed_with in (bars, bars.window(0, bars.n - 2_000)):
        workspace = Workspace.find(tmp_path / str(sealed_with.n))
        open_world(workspace.create(), sealed_with, small.regimes(workspace), policy, "before")
        bound = search_campaign.bound_to(bars, small.regimes(workspace), policy, wish(), Lake(workspace.root))
        names.append(kept_search.kept_search(tmp_path, bound).name)
    assert names[0] != names[1]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"inputs": ("close", "funding")}, "asks for funding, which these data do not have"),
        ({"inputs": ("close", "premium")}, "give it with --spot"),
        ({"sides": ("short",)}, "spot has none"),
        ({"timeframes": ("1m", "5m")}, "asks for 1m, 5m, which bars of 1h do not make"),
    ],
)
def test_a_brief_that_the_data_cannot_meet_is_refused_before_any_look(
    bars: Bars, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        inputs.check_brief(Brief(**asked), bars)
    inputs.check_brief(Brief(sides=("short", "both"), timeframes=("1m", "4h")), bars)


# What a generator can reach


class Thief(made_up.Drawing):
    """Goes through all that it is handed, for bars, the lake, a ledger, or the name of a file."""

    stolen: list[object]

    def propose(self, brief: Any, feedback: Any, n: int, rng: Any) -> Any:
        everything = reachable(brief, feedback, rng)
        self.stolen = [
            one for one in everything
            if isinstance(one, (Bars, Lake, Scorer, TrialLedger, Workspace, World, Path))
            or (isinstance(one, str) and os.path.exists(one))
            or (isinstance(one, np.ndarray) and one.dtype == float and one.size > 1_000)
        ]  # fmt: skip
        return super().propose(brief, feedback, n, rng)


def test_a_generator_in_a_campaign_reaches_no_bars_no_lake_and_no_file(
    tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    thief = Thief()
    monkeypatch.setitem(generator_registry.GENERATORS, "drawing", lambda made: thief)  # type: ignore[arg-type]
    searched(tmp_path, bars, policy)
    assert len(thief.asked) > 1 and thief.stolen == []
    leaking = type(thief.asked[-1][1])(thief.asked[-1][1].archive, [Lake(tmp_path)])
    thief.propose(Brief(), leaking, 1, np.random.default_rng(0))
    assert {type(one).__name__ for one in thief.stolen} >= {"Lake"}, "a planted leak is noticed"


def test_a_search_by_a_language_model_is_replayed_offline_byte_for_byte(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    logged: list[str] = []

    class Noting(Store):
        def log_search(self, run: str, metrics: Any, files: Any) -> None:
            logged.extend(files)

    first = says.Says(texts.answer(texts.strategy(20), texts.strategy(30, enter_long="close > rsi(14)")))
    second = says.Says(texts.answer(texts.strategy(40), texts.strategy(50)))
    file = tmp_path / "model.yaml"
    asked: dict[str, Any] = {"generator": "llm", "n": 3, "batch": 2, "settings": file}
    asked["brief"] = Brief(goal="Trends that last for days", timeframes=("1h",))
    with pytest.MonkeyPatch.context() as patch, says.serving(first, second) as server:
        patch.setattr(search_campaign, "Tracker", Noting)
        file.write_text(texts.settings(server.url, repairs=0).model_dump_json(exclude_none=True))
        found = searched(tmp_path / "online", bars, policy, wish(**asked))
        n_asked = len(server.asked)
    assert (found.n_looks, found.refused["no strategy"]) == (3, 1) and n_asked >= 2
    assert len([name for name in logged if name.startswith("transcripts/")]) == n_asked
    (memory,) = (tmp_path / "online" / "generations").glob("asked-*")
    for folder in (memory, memory.with_name("answers")):
        shutil.copytree(folder, tmp_path / "offline" / "generations" / folder.name)
    searched(tmp_path / "offline", bars, policy, wish(**asked, offline=True))
    assert result(tmp_path / "offline") == result(tmp_path / "online")
    with pytest.raises(GauntletError):
        searched(tmp_path / "elsewhere", bars, policy, wish(**asked, offline=True))


def test_a_budget_that_is_raised_or_settings_that_are_edited_pay_for_nothing_twice(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    file = tmp_path / "model.yaml"
    brief = Brief(goal="Trends that last for days", timeframes=("1h",))
    script = [says.Says(texts.answer(texts.strategy(n))) for n in range(20, 50)]

    def run(n: int, calls: int, note: str = "") -> int:
        known = texts.settings(
            server.url, repairs=0, strategies_a_call=1, budget={"calls": calls, "tokens": 10**9}
        )
        file.write_text(note + known.model_dump_json(exclude_none=True))
        searched(
            tmp_path / "ws", bars, policy, wish(generator="llm", n=n, batch=2, settings=file, brief=brief)
        )
        return len(server.asked)

    with says.serving(*script) as server:
        asked = [run(8, 2), run(8, 4), run(8, 4, "# a note\n"), run(6, 4), run(4, 4), run(8, 3)]
    assert asked == [2, 4, 4, 4, 4, 4]


def test_more_ideas_than_looks_are_said(tmp_path: Path, bars: Bars, policy: Policy) -> None:
    file = tmp_path / "model.yaml"
    brief = Brief(timeframes=("1h",), ideas=("Buy dips", "Buy rises", "Buy calm"))
    said: list[str] = []
    with says.serving(says.Says(texts.answer(texts.strategy(20), texts.strategy(30)))) as server:
        file.write_text(texts.settings(server.url, repairs=0).model_dump_json(exclude_none=True))
        asked = wish(generator="llm", n=2, batch=1, settings=file, brief=brief)
        searched(tmp_path / "ws", bars, policy, asked, said.append)
    assert any(line.startswith("not proposed") and "'Buy calm'" in line for line in said)


@pytest.mark.parametrize("status", [0, 401])
def test_a_server_that_is_gone_in_the_middle_ends_a_search_that_then_goes_on(
    status: int, tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [says.Says(texts.answer(texts.strategy(n), texts.strategy(n + 1))) for n in (20, 30)]
    file = tmp_path / "model.yaml"
    asked: dict[str, Any] = {"generator": "llm", "n": 4, "batch": 2, "settings": file}
    asked["brief"] = Brief(goal="Trends that last for days", timeframes=("1h",))
    with says.serving(*answers, *answers[:1], says.body({}, 401), *answers[1:]) as server:
        file.write_text(texts.settings(server.url, repairs=0).model_dump_json(exclude_none=True))
        searched(tmp_path / "whole", bars, policy, wish(**asked))
        if not status:
            server.script[3] = answers[1]
            really = httpx2.AsyncHTTPTransport.handle_async_request

            async def gone(self: Any, request: Any) -> Any:
                if len(server.asked) >= 3:
                    raise httpx2.ConnectError("All connection attempts failed")
                return await really(self, request)

            monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", gone)
        place = tmp_path / "cut"
        with pytest.raises(ServerError, match="the same command goes on") as refusal:
            searched(place, bars, policy, wish(**asked))
        assert server.url in str(refusal.value)
        assert {t.kind for t in TrialLedger(place / "trials").every()} == {"scored"}, "nobody proposed more"
        assert (place / "ended").read_text() == "FAILED\n"
        content = json.loads(result(place)[0])
        assert (content["ended"], content["n_looks"], content["refused"]) == ("", 2, {})
        if not status:
            monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", really)
        searched(place, bars, policy, wish(**asked))
    assert result(place) == result(tmp_path / "whole")


def test_evolution_with_a_model_configured_has_it_vary_a_share(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(texts.settings("http://127.0.0.1:1").model_dump_json(exclude_none=True))
    made = generator_registry.make("evolve", generator_registry.Made(file, tmp_path))
    assert made.name == "evolve+llm"
    assert generator_registry.make("evolve", generator_registry.Made()).name == "evolve"


# Elites outside of a search


def test_elites_are_written_as_strategies_that_a_campaign_takes_with_their_origins(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    found = searched(tmp_path, bars, policy)
    elites = elite_files.of_families(found.archive.fittest, Brief())
    folder = tmp_path / "out"
    elite_files.write_folder(folder, elites, found.name)
    proposals = read_proposals(folder)
    assert {t.hash for t in proposals.templates} == {e.spec.hash for e in elites}
    assert {t.hash for t in proposals.templates} <= {e.spec.hash for e in found.archive.fittest}
    assert all(len(t.params) == 3 for t in proposals.templates), "gates 4 and 5 have something to ask of each"
    assert {o.generator for o in proposals.origins.values()} == {"drawing"}
    assert len({t.name for t in proposals.templates}) == len(elites)
    elite_files.write_folder(folder, elites[:1], found.name)
    assert len(read_proposals(folder).templates) == 1, "written again, what is no elite any more is gone"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.yaml").write_text(small.EMA)
    with pytest.raises(UsageError, match="holds something else"):
        elite_files.write_folder(tmp_path / "mine", elites, found.name)


def test_a_folder_of_ideas_is_proposed_first_and_a_list_of_words_needs_a_model(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    folder = small.strategy_folder(
        tmp_path, small.EMA, small.QUICK.replace("ema(close, 48)", "em(close, 48)")
    )
    (folder / "regimes.yaml").write_text("regimes: no strategy")
    ideas = read_ideas(folder, "drawing")
    assert [name for name, _ in ideas.texts] == ["ema", "quick"]
    searched(tmp_path / "ws", bars, policy, wish(ideas=ideas))
    first, second, *_ = TrialLedger(tmp_path / "ws" / "trials").every()
    assert (first.kind, first.origin, second.kind, second.name) == ("refused", "ideas", "scored", "ema")
    assert first.reason.startswith("quick.yaml:9:30: em() is not known; did you mean ema?")
    words = tmp_path / "ideas.txt"
    words.write_text("# mine\nbuy dips in a rising market\n\nsell what nobody wants\n")
    assert read_ideas(words, "llm").words == ("buy dips in a rising market", "sell what nobody wants")
    with pytest.raises(UsageError, match="cannot read ideas in words"):
        read_ideas(words, "evolve")
    words.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_ideas(words, "llm")
    with pytest.raises(UsageError, match="no such file"):
        read_ideas(tmp_path / "nowhere", "llm")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="0 ideas"):
        read_ideas(tmp_path / "empty", "llm")


def test_each_file_of_ideas_that_is_refused_is_told_with_its_name_and_line(
    tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed = made_up.Drawing()
    monkeypatch.setitem(generator_registry.GENERATORS, "drawing", lambda made: handed)  # type: ignore[arg-type]
    broken = small.QUICK.replace("ema(close, 48)", "em(close, 48)")
    folder = small.strategy_folder(
        tmp_path, broken, broken.replace("name: quick", "name: quicker"), small.FUNDED, small.EMA, small.FINE
    )
    (folder / "twin.yaml").write_text(small.EMA)
    ideas, said = read_ideas(folder, "drawing"), []
    asked = wish(ideas=ideas, batch=3)
    searched(tmp_path / "ws", bars, policy, asked, said.append)
    told = [line for line in said if line.startswith("refused: ")]
    assert [line.partition(": ")[2].partition(": ")[0] for line in told] == [
        str(folder / name) for name in ("fine.yaml", "funded.yaml", "quick.yaml:9:30", "quicker.yaml:9:30", "twin.yaml")
    ]  # fmt: skip
    assert "of which there are no values" in told[1] and "proposed before" in told[4]
    assert str(folder) not in repr([a for _, feedback, _ in handed.asked for a in feedback.answers])
    assert "quick.yaml" not in repr([feedback.answers for _, feedback, _ in handed.asked])
    again: list[str] = []
    searched(tmp_path / "ws", bars, policy, asked, again.append)
    assert [line for line in again if line.startswith("refused: ")] == told


def test_every_idea_is_proposed_over_as_many_generations_as_the_looks_allow(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    fine = [made_up.cross(fast).replace("cross", f"z_{fast}") for fast in (3, 4, 5, 6)]
    broken = [made_up.cross(k).replace("cross", f"a_{k}").replace("atr", "art") for k in range(2, 6)]
    folder = small.strategy_folder(tmp_path, *broken, *fine)
    said: list[str] = []
    asked = wish(ideas=read_ideas(folder, "drawing"), n=4)
    searched(tmp_path / "ws", bars, policy, asked, said.append)
    assert [Path(line.split()[1]).name.partition(".")[0] for line in said if "art()" in line and "refused: " in line] == [
        "a_2", "a_3", "a_4", "a_5",
    ]  # fmt: skip
    trials = TrialLedger(tmp_path / "ws" / "trials").every()
    assert sorted(t.name for t in trials if t.kind == "scored") == ["z_3", "z_4", "z_5", "z_6"]
    assert {t.origin for t in trials} == {"ideas"}
    assert not any("not proposed" in line for line in said)


def test_ideas_that_never_come_up_are_told_with_what_to_do(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    folder = small.strategy_folder(
        tmp_path, *(made_up.cross(k).replace("cross", f"z_{k}") for k in range(2, 6))
    )
    said: list[str] = []
    searched(tmp_path / "ws", bars, policy, wish(ideas=read_ideas(folder, "drawing"), n=2), said.append)
    assert "not proposed, for all 2 looks are spent: z_4.yaml, z_5.yaml; ask for more with --n" in said


def test_ideas_in_words_for_which_there_is_no_look_are_told(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    words = ("Buy dips", "Sell rises", "Hold while it rises")
    file, said = tmp_path / "model.yaml", list[str]()
    with says.serving(says.Says(texts.answer(texts.strategy(20)))) as server:
        file.write_text(texts.settings(server.url, repairs=0).model_dump_json(exclude_none=True))
        asked = wish(generator="llm", n=1, settings=file, ideas=Ideas(words=words))
        searched(tmp_path / "ws", bars, policy, asked, said.append)
    told = (
        "not proposed, for the one look is spent: 'Sell rises', 'Hold while it rises'; ask for more with --n"
    )
    assert told in said


def test_the_line_of_an_elite_is_that_of_its_own_search(tmp_path: Path, bars: Bars, policy: Policy) -> None:
    """The ledger has a strategy once, by the name that the first search gave it."""

    class Family(made_up.Saying):
        def propose(self, brief: Any, feedback: Any, n: int, rng: Any) -> list[Proposal]:
            found = super().propose(brief, feedback, n, rng)
            parents = " ".join(a.spec.hash for a in feedback.answers if a.spec is not None)
            return [replace(p, origin=replace(p.origin, parent=parents)) for p in found]

    def run(word: str, seed: int) -> Path:
        older, younger = (made_up.cross(fast).replace("cross", f"{word}_{fast}") for fast in (5, 7))
        with pytest.MonkeyPatch.context() as patch:
            family = Family([[older], [older, younger]], name=word)
            patch.setitem(generator_registry.GENERATORS, "drawing", lambda made: family)  # type: ignore[arg-type]
            return searched(tmp_path, bars, policy, wish(seed=seed)).folder

    for word, seed in (("mine", 1), ("yours", 2)):
        folder = run(word, seed)
        generations = list(kept_search.KeptSearch(folder, {}).generations())
        digest = generations[1].hashes[1]
        line = elite_files.lineage(digest, generations)
        told = archive_text.family(line).splitlines()
        assert [(one.back, one.name) for one in line] == [(0, f"{word}_7"), (1, f"{word}_5")]
        assert all(text.endswith(f"; {word} 1") and "Sharpe" in text for text in told)
        assert told[1].startswith(f"  {generations[0].hashes[0][:8]} ")
    assert (
        archive_text.family(elite_files.lineage("f" * 64, generations))
        == "what it was made from is not kept any more"
    )


# Commands


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Candles, a policy, and a workspace with a search that was run."""
    folder = tmp_path_factory.mktemp("commands")
    small.candle_file(folder, small.planted())
    small.policy_file(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(generator_registry.GENERATORS, "drawing", lambda made: made_up.Drawing())  # type: ignore[arg-type]
        patch.setattr(search_campaign, "Tracker", Store)
        made = invoked("generate", "--generator", "drawing", *common(folder), "--out", folder / "elites")
    assert made.exit_code == 0, made.output
    (folder / "said").write_text(made.output)
    return folder


def invoked(*arguments: object) -> Any:
    done = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if done.exception is not None and not isinstance(done.exception, (SystemExit, UsageError)):
        raise done.exception
    return done


def common(place: Path) -> list[object]:
    data = place / "synthetic_EDGE-USDT_1h.parquet"
    return ["--data", data, "-w", place / "ws", "--policy", place / "policy.yaml", "--n", 30, "--batch", 15]


def test_a_search_that_was_run_is_shown(place: Path) -> None:
    said = (place / "said").read_text()
    again = f"pipeline run {' '.join(map(str, common(place)[:2]))} --strategies {place / 'elites'}"
    assert f"to examine them: {again} --policy {place / 'policy.yaml'} -w {place / 'ws'}\n" in said
    assert all(words in said for words in ("30 looks", "strategies written", "30 of 30 looks", "no strategy"))
    shown = invoked("archive", "-w", place / "ws")
    content = json.loads(invoked("archive", "-w", place / "ws", "--json").output)
    assert content["n_looks"] == 30
    assert shown.exit_code == 0 and all(e["hash"][:8] in shown.output for e in content["elites"])
    assert "more: pipeline archive" not in shown.output, "they are all there"
    child = next(e for e in content["elites"] if e["origin"]["parent"])
    line = invoked("archive", content["name"], "--of", child["hash"][:10], "-w", place / "ws")
    assert line.exit_code == 0
    assert child["text"] in line.output and f"  {child['origin']['parent'][:8]} " in line.output
    page = (place / "ws" / "reports" / f"{content['name']}.html").read_text()
    assert "<svg" in page and "<script" not in page and child["hash"][:12] in page
    assert len(list((place / "elites").glob("*.yaml"))) >= 3


def test_one_strategy_a_niche_is_shown_and_the_others_are_found_by_hash(place: Path, tmp_path: Path) -> None:
    data = ["--data", common(place)[1], "--policy", place / "policy.yaml", "-w", tmp_path / "ws"]
    done = invoked("generate", "--generator", "drawing", *data, "--n", 120, "--batch", 60)
    content = json.loads(invoked("archive", "-w", tmp_path / "ws", "--json").output)
    niches = [tuple(e["niche"]) for e in content["elites"]]
    best = {tuple(e["niche"]): e["fitness"] for e in reversed([*content["elites"], *content["others"]])}
    assert len(set(niches)) == len(niches) and content["others"]
    assert [e["fitness"] for e in content["elites"]] == [best[niche] for niche in niches]
    assert f"{len(niches)} elites, best" in done.output and f", {len(niches)} elites;" in done.output
    files = list((tmp_path / "ws").glob("generations/*/elites/*.yaml"))
    assert 0 < len(files) <= len(niches)
    shown = invoked("archive", "--all", "-w", tmp_path / "ws").output
    other = content["others"][0]
    assert other["hash"][:8] not in shown
    page = next((tmp_path / "ws" / "reports").glob("search-*.html")).read_text()
    assert f"<code>{content['elites'][0]['hash'][:12]}</code></h3>" in page
    assert f"<code>{other['hash'][:12]}</code></h3>" not in page
    assert invoked("archive", "--of", other["hash"], "-w", tmp_path / "ws").output.startswith(other["text"])


def test_of_many_elites_the_best_are_shown_and_how_to_see_the_others(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_text, "ROWS", 2)
    best, second, *others = json.loads(invoked("archive", "-w", place / "ws", "--json").output)["elites"]
    shown = invoked("archive", "-w", place / "ws").output
    name = next((place / "ws").glob("generations/search-*")).name
    assert best["hash"][:8] in shown and second["hash"][:8] in shown
    assert not any(elite["hash"][:8] in shown for elite in others)
    assert f"{len(others)} more: pipeline archive {name} -w {place / 'ws'} --all" in shown
    everyone = invoked("archive", name, "--all", "-w", place / "ws").output
    assert (
        all(elite["hash"][:8] in everyone for elite in [best, second, *others]) and " more: " not in everyone
    )
    again = invoked("generate", "--generator", "drawing", *common(place), "--out", tmp_path / "again").output
    assert f"{len(others)} more: pipeline archive {name} -w {place / 'ws'} --all" in again


def test_one_of_a_thing_is_not_told_as_several(place: Path, tmp_path: Path) -> None:
    data = ["--data", common(place)[1], "--policy", place / "policy.yaml", "-w", tmp_path / "ws"]
    done = invoked("generate", "--generator", "drawing", *data, "--n", 1, "--batch", 1, "--seed", 4)
    assert done.exit_code == 0
    shown = done.output + invoked("archive", "-w", tmp_path / "ws").output
    for told in ("drawing, 1 look", "1 of 1 look, 1 candidate, 1 elite,", "the one look is spent",
                 "1 look in 1 generation, 1 elite;", "1 strategy written", "to examine it: "):  # fmt: skip
        assert told in shown, told
    assert not re.search(r"\b1 [a-z]+s\b", shown), shown
    page = next((tmp_path / "ws" / "reports").glob("search-*.html")).read_text()
    assert "1 in 1 generation<" in page and ">1 elite<" in page and "1 elites" not in page
    missing = invoked("archive", "--of", "ffff", "-w", tmp_path / "ws")
    assert "no elite has a hash that begins with 'ffff'" in str(missing.exception)
    unknown = invoked("archive", "nobody", "-w", tmp_path / "ws")
    assert "no search is called 'nobody'" in str(unknown.exception)


def test_run_with_a_generator_searches_and_takes_the_best_through_the_gates(
    place: Path, tmp_path: Path
) -> None:
    shutil.copytree(place / "ws", tmp_path / "ws")
    data = ["--data", common(place)[1], *common(place)[4:]]
    ran = invoked("run", "--generator", "drawing", *data, "-w", tmp_path / "ws", "--finalists", 1)
    assert ran.exit_code in (0, 3) and "goes on" in ran.output, ran.output
    assert "1 strategy" in ran.output and "passed every gate" in ran.output
    looks = [t for t in TrialLedger(tmp_path / "ws" / "trials").every() if t.kind == "scored"]
    assert {t.origin for t in looks} == {"drawing"} and len(looks) >= 30
    (template,) = (tmp_path / "ws" / "candidates").glob("*/template.yaml")
    assert template.read_text().count("range:") == 3, "numbers that tuning may move"


def test_without_an_elite_nothing_goes_on_and_the_exit_code_is_3(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = made_up.Saying([[made_up.cross().replace("atr", "art")]])
    monkeypatch.setitem(generator_registry.GENERATORS, "drawing", lambda made: broken)  # type: ignore[arg-type]
    data = ["--data", common(place)[1], *common(place)[4:]]
    done = invoked("run", "--generator", "drawing", *data, "-w", tmp_path / "ws")
    assert done.exit_code == 3 and "no finalist" in done.output
    assert "art" in done.output.split("such as:")[1]
    alone = invoked("generate", "--generator", "drawing", *data, "-w", tmp_path / "other")
    assert alone.exit_code == 3 and "no elite" in alone.output and "to examine" not in alone.output


def test_where_elites_cannot_be_put_nothing_is_searched(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    data = ["--data", common(place)[1], *common(place)[4:]]
    for out, message in (
        (tmp_path / "mine", "holds something else"),
        (tmp_path / "mine" / "notes.txt" / "below", "cannot be made"),
    ):
        done = invoked("generate", "--generator", "drawing", *data, "-w", tmp_path / "ws", "--out", out)
        assert isinstance(done.exception, UsageError) and message in str(done.exception)
    assert not (tmp_path / "ws" / "trials").exists()


def test_the_same_command_again_scores_nothing_anew(place: Path, tmp_path: Path) -> None:
    trials = TrialLedger(place / "ws" / "trials")
    before = trials.heads()
    again = invoked("generate", "--generator", "drawing", *common(place), "--out", tmp_path / "again")
    assert again.exit_code == 0 and "goes on" in again.output
    assert TrialLedger(place / "ws" / "trials").heads() == before


def test_wrong_mixtures_of_options_are_refused_with_what_to_do(place: Path, tmp_path: Path) -> None:
    data = ["--data", place / "synthetic_EDGE-USDT_1h.parquet", "-w", tmp_path / "ws"]
    for command, told in (
        (["run", *data], "neither strategies nor a generator"),
        (["run", *data, "--strategies", place, "--generator", "evolve"], "strategies and a generator"),
        (["run", *data, "--strategies", place, "--n", "5"], "--n belongs to --generator"),
        (["run", *data, "--strategies", place, "--finalists", "5"], "--finalists belongs to --generator"),
        (["run", *data, "--strategies", place, "--offline"], "--offline belongs to --generator"),
        (["run", *data, "--generator", "evolve", "--pool"], "--pool: a search takes one market, and no pool"),
        (
            ["generate", *data, "--pool"],
            "--pool: a search takes one market, and no pool; search on one market",
        ),
        (["generate", *data, *data[:2]], "--data: a search takes one market, and this is given 2 times"),
        (["run", *data, *data[:2], "--generator", "evolve"], "--data: a search takes one market"),
        (["generate", *data, "--funding", "a", "--funding", "b"], "--funding: one market has two files"),
        (["run", *data, "--generator", "evolve", "--skip-broken"], "--skip-broken belongs to --strategies"),
        (["generate", *data, "--generator", "magic"], "no generator 'magic'"),
        (["generate", *data, "--generator", "grammar", "--model-config", place], "asks no language model"),
        (["generate", *data, "--generator", "grammar", "--offline"], "needs no network"),
        (["generate", *data, "--generator", "llm"], "--model-config"),
        (["generate", *data, "--brief", "nowhere.yaml"], "nowhere.yaml"),
        (["generate", *data, "--workers", "2", "--scheduler", "tcp://127.0.0.1:9"], "give one of them"),
        (["archive", "-w", tmp_path / "ws"], "no search was run here"),
    ):
        done = invoked(*command)
        assert isinstance(done.exception, UsageError), (command, done.output)
        assert told in str(done.exception), command
    model = tmp_path / "model.yaml"
    told = texts.settings("http://127.0.0.1:1", key_variable=texts.VARIABLE).model_dump_json(
        exclude_none=True
    )
    asked = ["generate", "--data", "nowhere.parquet", "-w", tmp_path / "ws", "--generator", "llm"]
    for written, why in (
        (
            told.replace('"model"', '"modle"'),
            f"{model}:1: modle: this key is not known (and 1 more); did you mean",
        ),
        (told, f"the environment variable {texts.VARIABLE} is not set; put the key there"),
    ):
        model.write_text(written)
        done = invoked(*asked, "--model-config", model)
        assert why in str(done.exception), "before any data are read"
    assert not (tmp_path / "ws" / "trials").exists() or not TrialLedger(tmp_path / "ws" / "trials").every()


def test_an_archive_that_was_changed_by_hand_is_noticed(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "ws" / "generations", tmp_path / "generations")
    (file,) = tmp_path.glob("generations/search-*/archive.json")
    content = json.loads(file.read_text())
    content["elites"][0]["text"] = content["elites"][1]["text"]
    file.write_text(json.dumps(content))
    done = CliRunner().invoke(cli.app, ["archive", "-w", str(tmp_path)])
    assert "was changed" in str(done.exception)
    file.write_text("{")
    assert "no archive" in str(CliRunner().invoke(cli.app, ["archive", "-w", str(tmp_path)]).exception)


def test_a_brief_is_written_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "brief.yaml"
    assert invoked("brief", "new", file).exit_code == 0
    from research_lab.generators.brief_form import brief_of

    assert brief_of(str(file)).timeframes
    assert "is there already" in str(invoked("brief", "new", file).exception)
