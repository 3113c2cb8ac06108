"""No command looks uncounted, and nothing that can run a strategy is unknown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from live_shadow import governance
from pipelines import cli
from pipelines.campaign import load_templates, open_world
from pipelines.gates.policy import Policy
from pipelines.gates.world import World
from pipelines.tracking.connection import ADDRESS
from research_lab.bars import Bars
from research_lab.errors import UsageError
from research_lab.market_data.lake import Lake
from research_lab.scoring import crew
from research_lab.scoring import scorer as scoring
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.workspace import Workspace
from tests.call_graph import CallGraph, call_graph
from tests.pipelines import small_campaign as small
from tests.research_lab.models import made_up

ROOT = Path(cli.__file__).parents[1]
PACKAGES = ("research_lab", "pipelines", "live_shadow")
# Whoever moves a broker over bars runs a strategy.
ENGINE = {f"research_lab.engine.broker.{name}" for name in ("step", "at_open", "inside", "at_close")}
# What may be held by everybody: it counts before it tells, tells no result, or is watched below.
COUNTED = {
    "research_lab.scoring.scorer.Scorer": "counts before it tells",
    "research_lab.scoring.scorer.Scoring": "what scorers have in common",
    "research_lab.scoring.pooled_scorer.PooledScorer": "counts before it tells",
    "research_lab.scoring.portfolio_scorer.PortfolioScorer": "counts before it tells",
    "research_lab.validation.walk_forward.walk_forward": "tunes by a scorer, and stitches what it scored",
    "research_lab.validation.lookahead.check_lookahead": "compares bits of runs, and tells no result",
    "research_lab.validation.warmup.check_warmup": "compares bits of runs, and tells no result",
    "pipelines.gates.world.World": "strategies that were scored: the test of all commands watches it",
    "pipelines.gates.exam.MarketExam": "gates, for strategies that were scored",
    "pipelines.gates.pooled_exam.PooledExam": "gates, for strategies that were scored",
}
# What runs a strategy uncounted, and why that is no look at a market; docs/counting.md names these of research_lab.
UNCOUNTED = {
    "research_lab.backtests.both_orders.run": "the bridge of notebooks and gates: says that it does not count",
    "research_lab.backtests.trade_story.tell_trade": "one trade of a picture; the gallery's markets are made up",
    "research_lab.market_data.planted.planted_by": "makes a market around a strategy",
    "research_lab.market_data.planted.planted_together": "makes markets around a strategy",
    "research_lab.market_data.trading_along.walk": "makes a market around a strategy",
    "research_lab.scoring.crew.Crew": "sweeps for a scorer, which counts before it tells",
    "research_lab.validation.robustness.Stage": "stresses of a strategy that was scored",
    "research_lab.validation.robustness.cost_curve": "stresses of a strategy that was scored",
    "research_lab.validation.robustness.with_bars_dropped": "stresses of a strategy that was scored",
    "research_lab.validation.robustness.with_start_shifted": "stresses of a strategy that was scored",
    "research_lab.validation.pooled_robustness.pooled_cost_curve": "stresses of a strategy that was scored",
    "research_lab.validation.pooled_robustness.pooled_one_bar_late": "stresses of a strategy that was scored",
    "research_lab.validation.pooled_robustness.pooled_with_bars_dropped": "stresses of one that was scored",
    "research_lab.validation.pooled_robustness.pooled_with_start_shifted": "stresses of one that was scored",
    "research_lab.validation.pooled_robustness.pooled_without_best_trades": "stresses of one that was scored",
    "research_lab.validation.recording.record": "runs of which look-ahead and warm-up compare the bits",
    "research_lab.validation.streaming.stream_slot": "runs of which look-ahead compares the bits",
    "research_lab.validation.streaming.streamed_difference": "compares bits of runs, and tells no result",
    "research_lab.validation.stitched_account.stitch": "sets that tuning scored, one after the other in one account",
    "pipelines.gates.backtest": "gate 4, strategies that were scored",
    "pipelines.gates.stresses": "gate 4, strategies that were scored",
    "pipelines.gates.pooled_stresses": "gate 4, strategies that were scored",
    "pipelines.gates.shadow": "gate 8, forward bars",
    "pipelines.generation.search_campaign": "hands a crew to a scorer",
    "pipelines.generation.command": "searches",
    "pipelines.recheck": "champions, on bars since their promotion",
    "pipelines.inspection_commands": "recheck",
    "pipelines.run_command": "searches",
    "pipelines.strategy_gallery": "pictures of made-up markets",
    "pipelines.strategy_commands": "the gallery",
    "pipelines.demo": "synthetic worlds",
    "pipelines.cli": "the commands",
    "live_shadow.core": "the executor itself",
    "live_shadow.executor": "the executor itself",
    "live_shadow.replay": "the executor's shell",
    "live_shadow.cli": "the executor's commands",
}
APART = (
    "research_lab.engine.",
    "pipelines.calibration.",
)  # what is run; and worlds with ledgers of their own


def uncounted(root: Path) -> set[str]:
    """Return the public functions and classes of a source tree that run a strategy without counting it.

    Whoever calls one is one too, unless it goes through what counts. The names of commands' modules stand for all
    that is in them.
    """
    graph = call_graph(root, PACKAGES)
    found = graph.reaching(ENGINE, COUNTED) - graph.imported
    return {_named(name, graph) for name in found if _is_public(name) and not name.startswith(APART)}


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _named(name: str, graph: CallGraph) -> str:
    """Return the function or class in its module; of pipelines and the executor the module."""
    module = max((m for m in graph.modules if name.startswith(f"{m}.")), key=len)
    return (
        f"{module}.{name[len(module) + 1 :].split('.')[0]}" if module.startswith("research_lab") else module
    )


def test_whoever_can_run_a_strategy_uncounted_is_known_with_its_reason() -> None:
    found = uncounted(ROOT)
    assert found - UNCOUNTED.keys() == set(), "count what these show, or say here why it is no look"
    assert UNCOUNTED.keys() - found == set(), "these need no reason any more"


def test_the_page_names_what_runs_uncounted() -> None:
    page = (ROOT / "docs" / "counting.md").read_text(encoding="utf-8")
    named = [name.split(".")[-2:] for name in UNCOUNTED if name.startswith("research_lab")]
    assert [f"{m}.{f}" for m, f in named if f"`{m}.{f}`" not in page] == []


BY_HAND = """
def sly(spec, bars, terms):
    return {call}
"""
FORMS = {
    "from": ("from research_lab.engine.backtest import backtest", "backtest(spec, bars, terms)"),
    "renamed": ("from research_lab.engine.backtest import backtest as b", "b(spec, bars, terms)"),
    "module": ("import research_lab.engine.backtest as b", "b.backtest(spec, bars, terms)"),
    "whole path": (
        "import research_lab.engine.backtest",
        "research_lab.engine.backtest.backtest(spec, bars, terms)",
    ),
    "from package": ("from research_lab.engine import backtest", "backtest.backtest(spec, bars, terms)"),
    "relative": ("from ..engine import sweep", "sweep.sweep([spec], bars, terms)"),
    "all": ("from research_lab.engine.backtest import *", "backtest(spec, bars, terms)"),
    "by name": (
        "import importlib",
        "importlib.import_module('research_lab.engine.sweep').sweep(spec, bars, terms)",
    ),
    "getattr": (
        "from research_lab.engine import backtest",
        "getattr(backtest, 'back' + 'test')(spec, bars, terms)",
    ),
    "the kernels": ("from research_lab.engine.broker import step", "step(spec, bars, terms)"),
    "through others": (
        "from research_lab.validation.robustness import Stage, cost_curve",
        "cost_curve(Stage(bars, terms), spec)",
    ),
    "an object": (
        "from research_lab.validation.robustness import Stage",
        "(lambda stage: stage.run(spec))(Stage(bars))",
    ),
    "a door": ("from research_lab.validation import walk_forward as w", "w.stitch(spec, bars, terms)"),
    "under if": (
        "if True:\n    from research_lab.engine.backtest import backtest",
        "backtest(spec, bars, terms)",
    ),
}


SCORES = """
from research_lab.scoring.scorer import Scorer
def honest(scorer: Scorer, spec):
    return scorer.score([spec])
"""


def test_planted_functions_that_look_uncounted_are_found_and_one_that_scores_is_not(tmp_path: Path) -> None:
    """Each form of import, at the head of the module and in the function."""
    for package in ("research_lab", "live_shadow"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.yaml", "*.pyc"))
    planted, expected = tmp_path / "research_lab" / "validation", set()
    (planted / "honest.py").write_text(SCORES, encoding="utf-8")
    for form, (first, call) in FORMS.items():
        text = BY_HAND.format(call=call)
        texts = {"above": f"{first}\n{text}"}
        if "*" not in first and "\n" not in first:
            texts["inside"] = text.replace("    return", f"    {first}\n    return")
        for place, planting in texts.items():
            name = f"{form.replace(' ', '_')}_{place}"
            (planted / f"{name}.py").write_text(planting, encoding="utf-8")
            expected.add(f"research_lab.validation.{name}.sly")
    assert uncounted(tmp_path) - UNCOUNTED.keys() == expected


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
