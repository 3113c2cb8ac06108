"""The main job on two synthetic worlds: one with a planted edge, one of pure noise; nothing is downloaded.

In the first a strategy should pass every gate, be promoted, and be traded on paper over the bars that
follow; in the second nothing should be promoted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import typer

import research_lab
from live_shadow.symbols import read_symbols
from pipelines.campaign import CampaignResult, load_templates, run_campaign
from pipelines.console import CampaignProgress, show_campaign
from pipelines.gates.evidence import Outcome
from pipelines.gates.policy import Policy, load_policy
from pipelines.lifecycle import Wish, promote_candidate
from research_lab.bars import Bars, Market, write_candles
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import load_regimes
from research_lab.engine.backtest import backtest
from research_lab.market_data import worlds
from research_lab.workspace import Workspace

HOURS_A_YEAR = 365 * 24
YEARS = 6
SHARPE = 3.0
STRATEGIES = Path(research_lab.__file__).parent / "strategies"
EDGE = Market("synthetic", "EDGE/USDT")
NOISE = Market("synthetic", "NOISE/USDT")


@dataclass(frozen=True, eq=False)
class Stage:
    """What both campaigns share."""

    workspace: Workspace
    templates: list[Spec]
    regimes: RegimeSet
    policy: Policy


def run_demo(workspace: Workspace, seed: int) -> int:
    """Run both campaigns, promote and trade on paper; return the exit code, 0 when all went as it should."""
    from live_shadow.governance import init

    init(workspace.root)
    stage = Stage(
        workspace, load_templates(STRATEGIES), load_regimes(workspace.regimes, workspace.macro), load_policy()
    )
    typer.echo(
        f"1. A world with a planted momentum edge: Sharpe {SHARPE:g} after costs over {YEARS} years of hours"
    )
    planted = planted_world(stage, seed)
    path, result = _campaign(stage, planted, EDGE)
    traded = _promote_and_trade(stage, result, path)
    typer.echo("")
    typer.echo(f"2. The same campaign on pure noise: {YEARS} years of hours, no edge at all")
    _, on_noise = _campaign(stage, noise_world(stage.policy, seed), NOISE)
    typer.echo(
        "nothing is promoted, as it should be"
        if not on_noise.passed
        else "PROMOTED ON NOISE: luck got through"
    )
    typer.echo("")
    _show_end(workspace, result)
    return 0 if traded and not on_noise.passed else 3


def n_bars(policy: Policy) -> int:
    """Return how many hours a demo world has: six years, then the forward days."""
    return YEARS * HOURS_A_YEAR + policy.zones.forward_days * 24


def planted_world(stage: Stage, seed: int) -> Bars:
    """Return hours in which `ema_atr` with its default parameters earns a Sharpe ratio of 3 after costs.

    It is measured on the six years before the forward bars.
    """
    oracle = next(spec for spec in stage.templates if spec.name == "ema_atr")
    compiled = compile_spec(oracle)
    terms = read_symbols(stage.workspace.symbols).research_terms(EDGE)

    def sharpe_of(bars: Bars) -> float:
        return backtest(compiled, bars, terms).metrics["sharpe"]

    n = n_bars(stage.policy)
    return worlds.planted_with_sharpe(seed, n, SHARPE, sharpe_of, YEARS * HOURS_A_YEAR).bars


def noise_world(policy: Policy, seed: int) -> Bars:
    """Return hours without any edge."""
    return worlds.noise(seed, n_bars(policy)).bars


def _campaign(stage: Stage, bars: Bars, market: Market) -> tuple[Path, CampaignResult]:
    named = replace(bars, market=market)
    path = stage.workspace.root / "data" / f"synthetic_{market.symbol.replace('/', '-')}_1h.parquet"
    path.parent.mkdir(exist_ok=True)
    write_candles(named, path)
    with CampaignProgress() as progress:
        result = run_campaign(stage.workspace, named, stage.templates, stage.regimes, stage.policy, progress)
    show_campaign(stage.workspace, result, stage.policy)
    return path, result


def _promote_and_trade(stage: Stage, result: CampaignResult, data: Path) -> bool:
    """Promote what passed, show the map, and replay the forward bars through the executor."""
    from live_shadow.ledger import Ledger
    from live_shadow.replay import Feed, replay
    from live_shadow.why import describe_status

    if not result.passed:
        typer.echo("nothing passed all gates on the planted world: the power of one campaign is not 100 %")
        return False
    candidate = result.passed[0]
    wish = Wish(why="demo: passed every gate")
    done = promote_candidate(stage.workspace, candidate, stage.regimes, stage.policy, wish)
    for reason in done.promotion.reasons:
        typer.echo(f"  {reason}")
    if done.promotion.outcome is not Outcome.PASS:
        typer.echo(f"{candidate} was not promoted: {done.promotion.outcome}")
        return False
    typer.echo(f"{candidate} is champion; enable_map.yaml:")
    typer.echo(stage.workspace.enable_map.read_text(encoding="utf-8"))
    typer.echo("Paper trading over the forward bars that no gate has seen:")
    replay(stage.workspace, Feed(data), lambda line: typer.echo(f"  {line}"))
    with Ledger.open(stage.workspace.ledger) as ledger:
        typer.echo(describe_status(ledger))
    return True


def _show_end(workspace: Workspace, result: CampaignResult) -> None:
    best = next((c for c in result.saved if result.best and c.hash == result.best.spec.hash), None)
    if best is not None:
        typer.echo(f"report:  {best.report_path}")
    typer.echo(f"why:     live-shadow why --workspace {workspace.root}")
    typer.echo(f"MLflow:  pipeline ui --workspace {workspace.root}")
