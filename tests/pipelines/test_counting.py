"""No look is uncounted, none is counted twice, none can be taken away unseen; the holdout is gate 7's alone."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from live_shadow import governance
from pipelines import anchoring, campaign, candidates, cli, ledger_exchange
from pipelines.campaign import KEPT, Wanted, load_templates, open_world, run_campaign
from pipelines.console import CampaignProgress
from pipelines.gates.policy import Policy
from pipelines.gates.world import World
from pipelines.proposals import read_proposals
from pipelines.tracking.connection import ADDRESS, Connection
from pipelines.tracking.ledger_store import LedgerStore
from pipelines.tracking.tracker import Tracker
from research_lab.bars import Bars
from research_lab.durable import ChainedLog
from research_lab.errors import LedgerError, LockedError, SpecError, UsageError
from research_lab.market_data.lake import HoldoutKey, Lake
from research_lab.scoring import crew, ledger_merge
from research_lab.scoring import scorer as scoring
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.timeframe import YEAR_MS
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small
from tests.research_lab.models import made_up

ROOT = Path(cli.__file__).parents[1]
BROKEN = small.EMA.replace("name: ema", "name: broken").replace("close, fast", "clos, fast")

# Everything that can run a strategy over bars, and why what it shows was counted, or is no look at a market.
RUNNERS = (
    "backtest",
    "both_orders",
    "shadow_run",
    "sweep",
    "portfolio",
    "advance_slot",
    "Executor",
    "record",
)
REACHED_BY = {
    "research_lab/scoring/scorer.py": "counts before it tells",
    "research_lab/scoring/crew.py": "sweeps for the scorer, which counts before it tells",
    "research_lab/scoring/portfolio_scorer.py": "counts before it tells",
    "research_lab/backtests/both_orders.py": "the bridge of notebooks: says that it does not count",
    "research_lab/backtests/trade_story.py": "one trade of a picture; the gallery's markets are made up",
    "research_lab/backtests/trade_picture.py": "one trade of a picture; the gallery's markets are made up",
    "research_lab/validation/recording.py": "look-ahead and warm-up compare bits, and tell no result",
    "research_lab/validation/lookahead.py": "compares bits of runs, and tells no result",
    "research_lab/validation/warmup.py": "compares bits of runs, and tells no result",
    "research_lab/validation/streaming.py": "compares bits of runs, and tells no result",
    "research_lab/validation/stitched_account.py": "sets that tuning scored, one after the other in one account",
    "research_lab/validation/robustness.py": "stresses of a strategy that was scored",
    "pipelines/gates/world.py": "strategies that were scored; the dynamic test below checks it",
    "pipelines/gates/shadow.py": "gate 8, forward bars",
    "pipelines/recheck.py": "champions, on bars since their promotion",
    "pipelines/demo.py": "synthetic worlds",
    "live_shadow/executor.py": "the executor itself",
    "live_shadow/replay.py": "the executor's shell",
}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return small.policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def bars() -> Bars:
    return small.planted()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "Tracker", small.Tracker)


def imported(path: Path) -> set[str]:
    """Names that a module imports from the engine, the executor or the bridge."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    sources = (
        "research_lab.engine",
        "research_lab.backtests",
        "live_shadow.executor",
        "research_lab.validation.rec",
    )
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(sources)
        for alias in node.names
    }


def runners(folder: Path) -> set[str]:
    """Modules below a folder that can run a strategy, outside the engine and the calibration of known worlds."""
    found = set()
    for package in ("research_lab", "pipelines", "live_shadow"):
        for path in (folder / package).rglob("*.py"):
            name = path.relative_to(folder).as_posix()
            if name.startswith(
                ("research_lab/engine/", "pipelines/calibration/", "research_lab/market_data/")
            ):
                continue
            if imported(path) & set(RUNNERS):
                found.add(name)
    return found


def test_whoever_can_run_a_strategy_is_known_with_its_reason() -> None:
    strangers = runners(ROOT) - REACHED_BY.keys()
    assert strangers == set(), "count what these show in the trial ledger, or say here why it is no look"


def test_a_planted_module_that_looks_uncounted_is_found(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    sly = tmp_path / "pipelines" / "sly.py"
    sly.write_text("def f():\n    from research_lab.engine.backtest import backtest\n    return backtest\n")
    assert runners(tmp_path) == {"pipelines/sly.py"}


class Watch:
    """Counts what sweeps run and what the ledger is told, and checks that whatever else runs was scored."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.swept = self.told = self.shown = 0
        self.uncounted: list[str] = []
        self.beyond: list[str] = []
        append, run = TrialLedger.append, World.run
        both = World.both_orders

        def watched(sweep: Any) -> Any:
            def swept(*arguments: Any, **named: Any) -> Any:
                result = sweep(*arguments, **named)
                self.swept += len(result.metrics)
                return result

            return swept

        def told(ledger: TrialLedger, trials: Any, *rest: Any) -> int:
            self.told += sum(trial.kind == "scored" for trial in trials)
            return append(ledger, trials, *rest)

        def check(world: World, spec: Any, over: Bars) -> None:
            self.shown += 1
            ledger = TrialLedger(Workspace(world.lake.workspace).trials)
            if not ledger.counted(spec.hash, world.bars.market.charged_to, *world.research.interval):
                self.uncounted.append(spec.name)
            if over.interval[1] > world.research.interval[1]:
                self.beyond.append(self.stage)

        def ran(world: World, spec: Any, over: Bars, *rest: Any, **named: Any) -> Any:
            check(world, spec, over)
            return run(world, spec, over, *rest, **named)

        def ran_both(world: World, spec: Any, over: Bars, *rest: Any, **named: Any) -> Any:
            check(world, spec, over)
            return both(world, spec, over, *rest, **named)

        self.stage = ""
        for module in (scoring, crew):
            patch.setattr(module, "sweep", watched(module.sweep))
        patch.setattr(TrialLedger, "append", told)
        patch.setattr(World, "run", ran)
        patch.setattr(World, "both_orders", ran_both)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, bars: Bars) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("commands")
    Workspace.find(folder / "ws").create()
    governance.init(folder / "ws")
    small.candle_file(folder, bars)
    small.strategy_folder(folder, small.EMA, small.QUICK)
    small.policy_file(folder)
    (folder / "drift.yaml").write_text(made_up.TEXT, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(ADDRESS, raising=False)
        yield folder


def commands(place: Path) -> list[tuple[str, list[str]]]:
    """Every command that reads candles or candidates, in an order in which each has something to work on."""
    data, where = str(place / "synthetic_EDGE-USDT_1h.parquet"), ["-w", str(place / "ws")]
    limits, model = ["--policy", str(place / "policy.yaml")], str(place / "drift.yaml")
    return [
        ("run", ["--data", data, "--strategies", str(place / "strategies"), *where, *limits]),
        (
            "generate",
            ["--data", data, "--generator", "grammar", "--n", "20", "--batch", "10", *where, *limits],
        ),
        ("archive", where),
        ("brief new", [str(place / "brief.yaml")]),
        ("gate", ["ema", *where, *limits, "--junit", str(place / "junit.xml")]),
        ("promote", ["ema", *where, *limits]),
        ("verify", ["ema", *where, *limits]),
        ("compare", ["ema", "quick", *where, *limits]),
        ("recheck", ["--data", data, *where, *limits]),
        ("model fit", [model, "--data", data, "--out", str(place / "drift.parquet"), *where, *limits]),
        ("report", ["ema", *where, *limits]),
        ("status", where),
        ("trials", [*where, "--json"]),
        ("trials verify", where),
        ("trials push", where),
        ("trials pull", where),
        ("rollback", where),
        ("adopt", where),
        ("retire", ["ema", *where]),
    ]


def test_a_strategy_that_was_never_scored_is_noticed_when_it_is_run(
    tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    workspace = Workspace.find(tmp_path / "ws").create()
    world = open_world(workspace, bars, small.regimes(workspace), policy, "c")
    (template,) = load_templates(small.strategy_folder(tmp_path, small.EMA))
    world.run(template, world.research)
    assert (watch.uncounted, watch.beyond) == (["ema"], [])
    world.run(template, bars)
    assert len(watch.beyond) == 1


_PASSING = (
    "run",
    "generate",
    "archive",
    "brief new",
    "gate",
    "model fit",
    "promote",
    "verify",
    "compare",
    "trials verify",
)
ELSEWHERE = {
    "ui": "serves MLflow's pages",
    "demo": "campaigns on synthetic worlds through the same code as run",
    "calibrate": "synthetic worlds, each with a ledger of its own",
    "strategy": "texts, and pictures of made-up markets",
    "lookahead": "compares bits, and tells no result",
}


def test_no_command_scores_uncounted_or_looks_beyond_the_seal(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    codes: dict[str, int] = {}
    for name, arguments in commands(place):
        watch.stage = name
        before, swept = watch.told, watch.swept
        done = CliRunner().invoke(cli.app, [*name.split(), *arguments])
        assert done.exception is None or isinstance(done.exception, (SystemExit, UsageError)), done.exception
        codes[name] = done.exit_code
        looks_itself = name == "model fit"  # at the model, whose returns no sweep makes
        assert watch.told - before == watch.swept - swept + looks_itself, name
        if name not in ("run", "generate", "gate", "verify"):
            assert watch.swept == swept, f"{name} scored something"
    assert watch.swept > 0 and watch.shown > 0
    assert watch.uncounted == []
    assert set(watch.beyond) <= {"run", "gate", "promote", "verify", "recheck"}
    assert [codes[name] for name in _PASSING] == [0] * len(_PASSING)
    trials = TrialLedger(place / "ws" / "trials").every()
    assert len(trials) == len({trial.candidate for trial in trials})
    openings = Lake(place / "ws").openings.past()
    assert len({o["candidate"] for o in openings if not o["again"]}) == 1


def test_no_command_is_forgotten_here(place: Path) -> None:
    import typer

    known = {name.split()[0] for name, _ in commands(place)} | ELSEWHERE.keys()
    listed = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    assert listed - known == set(), "run it in `commands`, or say in ELSEWHERE why it looks at no market"


# The seal


def test_only_gate_7_asks_for_the_holdout() -> None:
    asking = {
        path.relative_to(ROOT).as_posix()
        for package in ("research_lab", "pipelines", "live_shadow")
        for path in (ROOT / package).rglob("*.py")
        if "HoldoutKey" in path.read_text(encoding="utf-8")
    }
    assert asking == {"research_lab/market_data/lake.py", "pipelines/gates/holdout.py"}


def test_what_comes_after_the_holdout_is_asked_for_in_one_place() -> None:
    """`Lake.forward` comes with the holdout before it, and wants the key of an opening (decision 0033)."""
    asking = {
        path.relative_to(ROOT).as_posix()
        for package in ("research_lab", "pipelines", "live_shadow")
        for path in (ROOT / package).rglob("*.py")
        if "lake.forward(" in path.read_text(encoding="utf-8")
    }
    assert asking == {"pipelines/gates/shadow.py"}


@pytest.mark.usefixtures("quiet")
def test_gates_1_to_6_see_no_bar_of_the_holdout(
    tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poison all that is sealed: what gates 1 to 6 measure must not move by a bit."""
    found = []
    for name, change in (("as it is", 1.0), ("poisoned", 3.0)):
        workspace = Workspace.find(tmp_path / name).create()
        zones = open_world(workspace, bars, small.regimes(workspace), policy, "").lake.zones(bars)
        inputs = bars.inputs.copy()
        inputs[:4, bars.time >= zones.holdout.start_ms] *= change
        world = open_world(workspace, replace(bars, inputs=inputs), small.regimes(workspace), policy, "")
        with monkeypatch.context() as patch:
            patch.setattr(campaign, "_open_holdout", lambda *_: None)
            templates = load_templates(small.strategy_folder(tmp_path / name, small.EMA))
            examined, _ = campaign.examine(templates, world, small.silent)
        found.append({g: (dict(e.figures), e.series) for g, e in examined[0].evidence.items()})
    assert set(found[0]) == set(campaign.GATES[:6])
    assert json.dumps(found[0], sort_keys=True) == json.dumps(found[1], sort_keys=True)


# Interrupted, and resumed


class Stop:
    """Progress that remembers stages, and ends the campaign at one."""

    def __init__(self, at: str = "never") -> None:
        self.at, self.stages = at, []

    def __call__(self, stage: str, share: float) -> None:
        self.stages.append(stage)
        if stage.endswith(self.at):
            raise KeyboardInterrupt


def evidence(workspace: Workspace) -> dict[str, Any]:
    found = {}
    for path in sorted(workspace.candidates.glob("*/evidence/*.json")):
        found["/".join(path.parts[-3:])] = content = json.loads(path.read_text())
        del content["bound_to"]["context"]
    return found


@pytest.mark.usefixtures("quiet")
def test_a_resumed_campaign_takes_what_was_finished_from_the_disk_and_gives_the_same(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    strategies = small.strategy_folder(tmp_path, small.EMA, small.QUICK)
    whole, cut = (Workspace.find(tmp_path / name) for name in ("whole", "cut"))
    small.run(whole, bars, strategies, policy)
    with pytest.raises(KeyboardInterrupt):
        small.run(cut, bars, strategies, policy, Stop("quick: look-ahead"))
    counted = TrialLedger(cut.trials).heads()
    assert [path.name for path in cut.unfinished.glob("*/*")] != []
    again = Stop()
    small.run(cut, bars, strategies, policy, again)
    assert f"ema: {KEPT}" in again.stages and "ema: look-ahead" not in again.stages
    assert "quick: look-ahead" in again.stages
    assert TrialLedger(cut.trials).has(counted)
    assert evidence(cut) == evidence(whole)
    assert not list(cut.unfinished.glob("*"))


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("spoiled", ["ledger", "file", "code"])
def test_what_was_finished_is_measured_again_when_anything_is_not_as_it_was(
    spoiled: str, tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategies = small.strategy_folder(tmp_path, small.EMA, small.QUICK)
    workspace = Workspace.find(tmp_path / "ws")
    with pytest.raises(KeyboardInterrupt):
        small.run(workspace, bars, strategies, policy, Stop("quick: static and data"))
    n_looks = len(TrialLedger(workspace.trials).every())
    (kept,) = workspace.unfinished.glob("*/*.json")
    if spoiled == "ledger":
        shutil.rmtree(workspace.trials)
    elif spoiled == "file":
        kept.write_text(kept.read_text().replace('"figures', '"figure'))
    else:
        monkeypatch.setattr("pipelines.gates.world.code_hash", lambda: "c" * 64)
    again = Stop("quick: static and data")
    with pytest.raises(KeyboardInterrupt):
        small.run(workspace, bars, strategies, policy, again)
    assert f"ema: {KEPT}" not in again.stages and "ema: look-ahead" in again.stages
    assert len(TrialLedger(workspace.trials).every()) == n_looks


@pytest.mark.usefixtures("quiet")
def test_of_two_campaigns_of_one_name_the_second_is_refused_and_the_first_keeps_what_it_finished(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    strategies = small.strategy_folder(tmp_path, small.EMA, small.QUICK)
    workspace = Workspace.find(tmp_path / "ws")
    kept: list[set[str]] = []

    def second(stage: str, share: float) -> None:
        if stage == "quick: look-ahead":
            kept.append({path.name for path in workspace.unfinished.glob("*/*.json")})
            with pytest.raises(LockedError, match="is running here: the same data"):
                small.run(workspace, bars, strategies, policy)
            kept.append({path.name for path in workspace.unfinished.glob("*/*.json")})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small.run(workspace, bars, strategies, policy, second)
    assert kept[0] == kept[1] and len(kept[0]) == 1
    again = Stop()
    small.run(workspace, bars, strategies, policy, again)
    assert f"ema: {KEPT}" in again.stages
    assert (workspace.root / "ended").read_text().split() == ["KILLED", "FINISHED"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines import campaign
from pipelines.campaign import load_templates
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small
campaign.Tracker = small.Tracker
place = Path(sys.argv[1])
def kill(stage, share):
    if stage.startswith("ema:"):
        os.kill(os.getpid(), signal.SIGKILL)
small.run(Workspace.find(place / "ws"), small.planted(), place / "strategies", small.policy(place), kill)
"""


@pytest.mark.usefixtures("quiet")
def test_a_killed_campaign_frees_its_name_and_the_next_goes_on_in_its_run(tmp_path: Path, bars: Bars) -> None:
    small.strategy_folder(tmp_path, small.EMA)
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    workspace = Workspace.find(tmp_path / "ws")
    assert not (workspace.root / "ended").exists()
    (noted,) = workspace.unfinished.glob("*/mlflow_run")
    small.run(workspace, bars, tmp_path / "strategies", small.policy(tmp_path))
    assert (workspace.root / "ended").read_text().split() == ["FINISHED"]
    assert not noted.parent.exists()


# Anchors


class Anchored(small.Ledgers):
    """A store that remembers every anchor."""

    dropped: list[Mapping[str, str]]

    def anchor(self, run: str, heads: Any) -> None:
        type(self).dropped.append(dict(heads))

    def anchored_heads(self) -> dict[str, str]:
        return dict(type(self).dropped[-1]) if type(self).dropped else {}


@pytest.mark.usefixtures("quiet")
def test_looks_of_an_interrupted_campaign_cannot_be_deleted_unseen(
    tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    Anchored.dropped = []
    monkeypatch.setattr(small.Tracker, "ledgers", Anchored())
    monkeypatch.setattr(anchoring, "EVERY", 1)
    strategies = small.strategy_folder(tmp_path, small.EMA, small.QUICK)
    workspace = Workspace.find(tmp_path / "ws")
    with pytest.raises(KeyboardInterrupt):
        small.run(workspace, bars, strategies, policy, Stop("ema: look-ahead"))
    assert Anchored.dropped[-1] == TrialLedger(workspace.trials).heads()
    assert len(Anchored.dropped) >= 2
    shutil.rmtree(workspace.trials)
    with pytest.raises(LedgerError, match="an anchored segment is gone"):
        small.run(workspace, bars, strategies, policy)


@pytest.mark.usefixtures("quiet")
def test_openings_of_the_holdout_cannot_be_deleted_unseen(
    tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the line, the next opening would be judged as the first one."""
    Anchored.dropped = []
    monkeypatch.setattr(small.Tracker, "ledgers", Anchored())
    workspace, strategies = Workspace.find(tmp_path / "ws"), small.strategy_folder(tmp_path, small.EMA)
    assert small.run(workspace, bars, strategies, policy).best is not None
    assert len(Lake(workspace.root).openings.past()) == 1
    (workspace.lake / "openings.jsonl").unlink()
    with pytest.raises(LedgerError, match="openings of the holdout were taken away"):
        small.run(workspace, bars, strategies, policy)


# Proposals that are none


@pytest.mark.usefixtures("quiet")
def test_a_proposal_that_is_no_strategy_is_recorded_and_is_no_look(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    folder = small.strategy_folder(tmp_path, small.QUICK, BROKEN, small.FINE)
    told = {"generator": "grammar", "version": "7", "parent": "a" * 64, "knowledge_cutoff": "2024-06-30"}
    (folder / "origins.json").write_text(json.dumps({"broken": told}))
    with pytest.raises(SpecError):
        read_proposals(folder)
    proposals = read_proposals(folder, skip_broken=True)
    workspace = Workspace.find(tmp_path / "ws").create()
    done = run_campaign(
        workspace,
        bars,
        proposals.templates,
        small.regimes(workspace),
        policy,
        small.silent,
        Wanted.of(proposals),
    )
    refused = {t.name: t for t in TrialLedger(workspace.trials).every() if t.kind == "refused"}
    assert set(refused) == {"broken", "fine"}
    broken = refused["broken"]
    assert (broken.origin, broken.generator_version, broken.parent, broken.knowledge_cutoff) == tuple(
        told.values()
    )
    assert "clos" in broken.reason and "broken.yaml" in broken.reason
    assert "finer than the data" in refused["fine"].reason
    assert done.n_looks == 2 == len(TrialLedger(workspace.trials).every()) - 2


@pytest.mark.parametrize(
    "command",
    [["run", "--strategies", "strategies"], ["gate", "strategies/broken.yaml"]],
    ids=["run", "gate"],
)
def test_a_proposal_that_ends_a_command_is_recorded_as_refused(
    command: list[str], tmp_path: Path, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small.strategy_folder(tmp_path, small.QUICK, BROKEN)
    data = small.candle_file(tmp_path, bars)
    for _ in range(2):  # the same again is recorded once
        done = CliRunner().invoke(cli.app, [*command, "--data", str(data), "-w", "ws"])
        assert isinstance(done.exception, SpecError) and "clos" in str(done.exception)
    (trial,) = TrialLedger(Path("ws") / "trials").every()
    assert (trial.kind, trial.name, trial.market) == ("refused", "broken", "EDGE/USDT")
    assert "clos" in trial.reason and not Lake(Path("ws")).is_sealed("EDGE/USDT")


def test_a_proposal_for_a_market_that_is_not_known_is_told_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small.strategy_folder(tmp_path, BROKEN)
    Path("no.parquet").write_bytes(b"")
    done = CliRunner().invoke(cli.app, ["gate", "strategies/broken.yaml", "--data", "no.parquet", "-w", "ws"])
    assert isinstance(done.exception, SpecError)
    assert TrialLedger(Path("ws") / "trials").every() == []


def test_an_origin_of_no_strategy_here_is_refused(tmp_path: Path) -> None:
    folder = small.strategy_folder(tmp_path, small.QUICK)
    (folder / "origins.json").write_text('{"quik": {"generator": "grammar"}}')
    with pytest.raises(UsageError, match="tells of 'quik', which is no strategy here"):
        read_proposals(folder)


# Ledgers of several machines


@pytest.fixture
def machines(tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> list[Workspace]:
    """Two workspaces with one MLflow store and a look each."""
    monkeypatch.setenv(ADDRESS, f"sqlite:///{tmp_path / 'shared.db'}")
    found = []
    for name, text in (("one", small.EMA), ("two", small.QUICK)):
        workspace = Workspace.find(tmp_path / name).create()
        world = open_world(workspace, bars, small.regimes(workspace), policy, name)
        (template,) = load_templates(small.strategy_folder(tmp_path / name, text))
        world.scorer.score([template])
        found.append(workspace)
    return found


def exchange(workspace: Workspace, what: str) -> Any:
    return getattr(ledger_exchange, what)(TrialLedger(workspace.trials), LedgerStore(Connection(workspace)))


def test_ledgers_of_two_machines_become_one_through_the_store(
    machines: list[Workspace], bars: Bars, policy: Policy
) -> None:
    one, two = machines
    assert [len(exchange(workspace, "push")) for workspace in machines] == [1, 1]
    assert exchange(one, "push") == []
    merged = exchange(two, "pull").merged
    assert (len(merged.new), merged.longer, merged.n_trials) == (1, (), 1)
    exchange(one, "pull")
    assert TrialLedger(one.trials).heads() == TrialLedger(two.trials).heads()
    assert exchange(one, "pull").merged.n_trials == 0
    segment = next(path.name for path in one.trials.glob("*.jsonl"))
    ours = TrialLedger(one.trials)
    (again,) = load_templates(one.root / "strategies")
    assert ours.has({segment: ours.heads()[segment]}) and again.name == "ema"
    for workspace in machines:
        TrialLedger(workspace.trials).verify()
        assert len(TrialLedger(workspace.trials).every()) == 2


def opened(workspace: Workspace, bars: Bars, candidate: str) -> int:
    return Lake(workspace.root).holdout(bars, HoldoutKey(candidate)).k


def test_an_opening_on_another_machine_makes_the_next_one_here_the_second(
    machines: list[Workspace], bars: Bars
) -> None:
    one, two = machines
    assert opened(one, bars, "a") == 1
    exchange(one, "push")
    assert exchange(two, "pull").n_openings == 1
    assert opened(two, bars, "a") == 1, "the same candidate sees the same again"
    assert opened(two, bars, "b") == 2
    exchange(two, "push")
    assert exchange(one, "pull").n_openings == 2
    assert opened(one, bars, "c") == 3
    assert exchange(one, "push") != [] and exchange(one, "push") == []
    assert exchange(two, "pull").n_openings == 1, "a list that has grown"
    assert opened(two, bars, "d") == 4
    anchored = anchoring.heads_of(TrialLedger(two.trials), Lake(two.root))
    next((two.lake / "openings").iterdir()).unlink()
    with pytest.raises(LedgerError, match="openings of the holdout were taken away"):
        anchoring.check_openings(Lake(two.root), anchored)


def test_openings_that_were_deleted_come_back_from_the_store(machines: list[Workspace], bars: Bars) -> None:
    one, _ = machines
    opened(one, bars, "a")
    exchange(one, "push")
    heads = Lake(one.root).openings.heads()
    (one.lake / "openings.jsonl").unlink()
    with pytest.raises(LedgerError, match="openings of the holdout were taken away"):
        Lake(one.root).openings.check(heads)
    assert exchange(one, "pull").n_openings == 1
    Lake(one.root).openings.check(heads)
    assert opened(one, bars, "b") == 2


@pytest.mark.parametrize(
    "forged",
    [
        {"k": 0},
        {"interval_ms": [1]},
        {"again": "no"},
        {"charged_to": None},
        {"more": 1},
        {"k": True},
        {"interval_ms": [9, 3]},
        {"interval_ms": [0, 10**18]},
    ],
)
def test_a_list_of_openings_with_something_else_in_it_is_refused(
    machines: list[Workspace], bars: Bars, forged: Mapping[str, Any]
) -> None:
    one, two = machines
    opened(one, bars, "a")
    (line,) = Lake(one.root).openings.past()
    (one.lake / "openings.jsonl").unlink()
    ChainedLog(one.lake / "openings.jsonl").append({**line, **forged})
    exchange(one, "push")
    before = small.contents(two.root)
    with pytest.raises(LedgerError, match="no opening of a holdout"):
        exchange(two, "pull")
    assert {k: v for k, v in small.contents(two.root).items() if "openings" in str(k)} == {
        k: v for k, v in before.items() if "openings" in str(k)
    }
    assert len(TrialLedger(two.trials).every()) == 1


def test_a_segment_that_parts_from_what_is_here_is_refused_and_nothing_is_taken_in(
    machines: list[Workspace],
) -> None:
    one, two = machines
    exchange(one, "push")
    exchange(two, "pull")
    (lines,) = (path for path in one.trials.glob("*.jsonl"))
    copy = two.trials / lines.name
    (own,) = TrialLedger(two.trials).every()[:1]
    copy.unlink()
    copy.with_suffix(".f64").unlink()
    ChainedLog(copy).append(json.loads(lines.read_text().splitlines()[0])["payload"])
    ChainedLog(copy).append(
        {
            "trial": json.loads(lines.read_text().splitlines()[1])["payload"]["trial"]
            | {"name": "rewritten", "kind": "refused"},
            "row": {"offset": 0, "first_day": 0, "n_days": 0, "sha256": ""},
        }
    )
    before = small.contents(two.trials)
    with pytest.raises(
        LedgerError, match=r"\.jsonl:2: line 2 is another one in the segment that was brought"
    ):
        exchange(two, "pull")
    assert small.contents(two.trials) == before
    assert own


def test_pushed_segments_that_were_changed_on_the_way_are_refused(machines: list[Workspace]) -> None:
    one, two = machines
    exchange(one, "push")
    (rows,) = one.mlartifacts.rglob("segments/*.f64")
    raw = bytearray(rows.read_bytes())
    raw[3] ^= 1
    rows.write_bytes(raw)
    before = small.contents(two.trials)
    with pytest.raises(LedgerError, match="daily returns were changed"):
        exchange(two, "pull")
    assert small.contents(two.trials) == before


def test_a_push_that_lost_a_file_is_refused_and_names_that_lead_elsewhere_are_left_alone(
    machines: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    exchange(one, "push")
    before = small.contents(two.trials)
    (lines,) = one.mlartifacts.rglob("segments/*.jsonl")
    lines.rename(lines.with_suffix(".away"))
    with pytest.raises(LedgerError, match="the store does not have it"):
        exchange(two, "pull")
    elsewhere = f"../{one.root.name}/trials/{lines.name}"
    monkeypatch.setattr(LedgerStore, "pushed", lambda self: [("run", {elsewhere: "a" * 64})])
    assert exchange(two, "pull").merged.n_trials == 0
    assert small.contents(two.trials) == before


def test_a_look_that_cannot_be_is_refused_and_keeps_no_other_push_from_coming_in(
    machines: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    (own,) = TrialLedger(one.trials).every()
    with monkeypatch.context() as patch:  # what this code refuses to push
        patch.setattr(ledger_merge, "check_possible", lambda *_: None)
        ahead = replace(own, kind="crashed", sharpe=float("nan"), end_ms=own.end_ms + 1_000 * YEAR_MS)
        later = TrialLedger(one.trials)
        later.append([ahead])
        exchange(one, "push")
    with pytest.raises(LedgerError, match="a look that cannot be"):
        exchange(one, "push")
    (forged,) = (path for path in one.trials.glob("*.jsonl") if '"crashed"' in path.read_text())
    before = TrialLedger(two.trials).heads()
    exchange(two, "push")
    third = Workspace.find(one.root.parent / "three").create()
    found = CliRunner().invoke(cli.app, ["trials", "pull", "-w", str(third.root)])
    assert found.exit_code == 3
    assert f"{forged.name}:2: a look that cannot be" in found.output
    assert "all other pushes are in, 1 trials gained" in found.output
    assert TrialLedger(third.trials).heads() == before


@pytest.mark.parametrize("broken", ["line", "row", "end"])
def test_a_broken_ledger_ends_verify_with_3_naming_file_and_line(
    broken: str, tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    workspace = Workspace.find(tmp_path / "ws").create()
    governance.init(workspace.root)
    world = open_world(workspace, bars, small.regimes(workspace), policy, "c")
    (template,) = load_templates(small.strategy_folder(tmp_path, small.EMA))
    world.scorer.score([template.bind(values) for values in template.grid()])
    tracker = Tracker(workspace)
    run = tracker.start_campaign("c", {})
    tracker.ledgers.anchor(run, world.scorer.ledger.heads())
    whole = CliRunner().invoke(cli.app, ["trials", "verify", "-w", str(workspace.root)])
    assert (whole.exit_code, "1 anchors in MLflow hold" in whole.output) == (0, True)
    (lines,) = workspace.trials.glob("*.jsonl")
    if broken == "end":
        os.truncate(lines, lines.read_bytes()[:-1].rindex(b"\n") + 1)
        rows = np.fromfile(lines.with_suffix(".f64"))
        rows[: -rows.size // template.n_combinations or None].tofile(lines.with_suffix(".f64"))
    else:
        path = lines if broken == "line" else lines.with_suffix(".f64")
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    found = CliRunner().invoke(cli.app, ["trials", "verify", "-w", str(workspace.root)])
    assert found.exit_code == 3
    assert f"{lines.name}" in found.output
    assert broken == "end" or f"{lines.name}:" in found.output


def test_looks_without_an_anchor_are_insufficient(tmp_path: Path, bars: Bars, policy: Policy) -> None:
    workspace = Workspace.find(tmp_path / "ws").create()
    world = open_world(workspace, bars, small.regimes(workspace), policy, "c")
    world.scorer.score(load_templates(small.strategy_folder(tmp_path, small.EMA)))
    found = CliRunner().invoke(cli.app, ["trials", "verify", "-w", str(workspace.root)])
    assert found.exit_code == 4


def test_candidates_of_one_strategy_on_two_markets_stand_side_by_side(
    tmp_path: Path, bars: Bars, policy: Policy, quiet: None
) -> None:
    workspace, strategies = Workspace.find(tmp_path / "ws"), small.strategy_folder(tmp_path, small.QUICK)
    other = replace(bars, market=replace(bars.market, symbol="OTHER/USDT"))
    for table in (bars, other):
        small.run(workspace, table, strategies, policy)
    assert {c.market for c in candidates.every(workspace)} == {"synthetic EDGE/USDT", "synthetic OTHER/USDT"}
    assert all(candidates.all_evidence(c) for c in candidates.every(workspace))


def test_what_remains_is_estimated_from_what_was_measured_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    progress = CampaignProgress(lambda: now)
    told = []
    for at, stage, share in (
        (0, "opening the store", 0.0),
        (30, f"a: {KEPT}", 0.45),  # taken from the disk: it says nothing of the pace
        (30, "b: static and data", 0.45),
        (40, "b: look-ahead", 0.55),
        (50, "b: backtest", 0.65),
    ):
        now = float(at)
        progress(stage, share)
        told.append(capsys.readouterr().err.partition(" (")[2].strip())
    assert told == ["0 s)", "30 s)", "30 s)", "40 s, about 45 s left)", "50 s, about 35 s left)"]


def test_a_log_hears_again_of_a_stage_that_lasts_and_more_seldom_the_longer_it_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    progress = CampaignProgress(lambda: now)
    for at, share in ((0, 0.1), (100, 0.4)):
        now = float(at)
        progress("a: tuning", share)
    capsys.readouterr()
    heard = []
    for second in range(100, 20_000):
        now = float(second)
        progress.tick()
        told = capsys.readouterr().err
        if told:
            heard.append((second, told.strip()))
    assert heard[0] == (110, "[ 40%] a: tuning (2 min, about 3 min left)")
    assert heard[-1][1].endswith(" h)"), "what should have been done long ago is not about to be"
    gaps = [b - a for (a, _), (b, _) in pairwise(heard)]
    assert gaps[:10] == [10] * 10 and gaps == sorted(gaps) and gaps[-1] == 120
