"""A campaign small enough for a test: an easy policy, short worlds, strategies of a few combinations."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from pipelines.campaign import CampaignResult, Progress, load_templates, run_campaign
from pipelines.gates.policy import Policy, load_policy
from research_lab.bars import Bars, Market, write_candles
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec_reader import load_regimes
from research_lab.market_data import worlds
from research_lab.workspace import Workspace

DAYS = 420
EDGE = Market("synthetic", "EDGE/USDT")

# Every gate is judged, on little data and with limits that a strong edge meets and noise does not.
POLICY = """policy: 1
zones: {holdout_share: 0.4, forward_days: 45}
tuning: {n_folds: 2, n_trials: 6, first_share: 0.5, purge_days: 2, embargo_days: 1, batch: 6, seed: 1}
bootstrap: {n_draws: 300, seed: 7}
shadow_days: 30
gates:
  static:
    n_nodes: {at_most: 60, why: test}
    n_params: {at_most: 3, why: test}
    duplicates: {at_most: 0, why: test}
  data:
    faults: {at_most: 0, why: test}
    research_days: {at_least: 150, unmet: INSUFFICIENT, why: test}
    strategy_bars: {at_least: 100, unmet: INSUFFICIENT, why: test}
    missing_share: {at_most: 0.02, why: test}
    longest_gap_hours: {at_most: 72, why: test}
  lookahead:
    lookahead_faults: {at_most: 0, why: test}
    own_close_faults: {at_most: 0, why: test}
    warmup_shortfall_bars: {at_most: 0, why: test}
  backtest:
    n_trades: {at_least: 10, unmet: INSUFFICIENT, why: test}
    return: {at_least: 0.0, why: test}
    sharpe: {at_least: 0.8, why: test}
    max_drawdown: {at_most: 0.9, why: test}
    sharpe_at_double_costs: {at_least: 0.0, why: test}
    fill_interval: {at_most: 2.0, why: test}
    plateau: {at_least: 0.1, why: test}
    regime_p: {at_least: 0.0, why: test}
    vectorbt_difference: {at_most: 1.0e-9, why: test}
  walk_forward:
    sharpe: {at_least: 0.5, why: test}
    efficiency: {at_least: 0.1, why: test}
    share_profitable: {at_least: 0.5, why: test}
    n_symbols: {at_least: 3, unmet: INSUFFICIENT, of_pools: true, why: test}
    share_symbols_profitable: {at_least: 0.6, of_pools: true, why: test}
  overfitting:
    p: {at_most: 0.05, why: test}
  holdout:
    p: {at_most: 0.05, over_openings: {even_p: 0.02, most_times: 3}, why: test}
    combined_p: {at_most: 0.01, why: test}
    n_trades: {at_least: 5, unmet: INSUFFICIENT, why: test}
  shadow:
    differing_bits: {at_most: 0, why: test}
    n_days: {at_least: 30, unmet: INSUFFICIENT, why: test}
    band_probability: {at_least: 0.005, why: test}
  promote:
    probability_better: {at_least: 0.9, why: test}
    drawdown_excess: {at_most: 0.0, why: test}
    correlation: {at_most: 0.65, why: test}
"""

EMA = """spec: 1
name: ema
hypothesis: Trends last.
timeframe: 1h
side: long
params:
  fast: {range: [6, 10], step: 2, default: 8}
  slow: {range: [32, 40], step: 8, default: 32}
define:
  rising: ema(close, fast) > ema(close, slow)
enter_long: rising
exit_long: not rising
stop: 6 * atr(24)
size: {fraction: 0.95}
"""
QUICK = """spec: 1
name: quick
hypothesis: Shorter trends last too.
timeframe: 1h
side: long
params:
  fast: {range: [4, 8], step: 4, default: 4}
define:
  rising: ema(close, fast) > ema(close, 48)
enter_long: rising
exit_long: not rising
stop: 5 * atr(24)
size: {fraction: 0.5}
"""
FUNDED = """spec: 1
name: funded
hypothesis: Who pays to hold is wrong.
timeframe: 1h
side: long
enter_long: funding < 0
exit_long: funding > 0
stop: 2 * atr(14)
size: {fraction: 0.5}
"""
FINE = """spec: 1
name: fine
hypothesis: What five minutes know.
timeframe: 5m
side: long
enter_long: close > open
exit_long: close < open
stop: 2 * atr(14)
size: {fraction: 0.5}
"""


def planted(market: Market = EDGE, n_days: int = DAYS, strength: float = 0.16, seed: int = 3) -> Bars:
    """Return hours with an edge that `EMA` finds."""
    return replace(worlds.planted(seed, n_days * 24, strength, spans=(8, 32)).bars, market=market)


def noise(market: Market, n_days: int = DAYS, seed: int = 5) -> Bars:
    """Return hours without any edge."""
    return replace(worlds.noise(seed, n_days * 24).bars, market=market)


def candle_file(folder: Path, bars: Bars) -> Path:
    """Write candles under the name that tells their market, and return where."""
    path = folder / f"{bars.market.exchange}_{bars.market.symbol.replace('/', '-')}_{bars.timeframe}.parquet"
    write_candles(bars, path)
    return path


def strategy_folder(folder: Path, *texts: str) -> Path:
    """Write strategies as files of one new folder, and return it."""
    place = folder / "strategies"
    place.mkdir(parents=True)
    for text in texts:
        name = text.partition("name: ")[2].partition("\n")[0]
        (place / f"{name}.yaml").write_text(text, encoding="utf-8")
    return place


def policy_file(folder: Path) -> Path:
    """Write the easy policy, and return where."""
    path = folder / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


def asking_for_trades(policy: Policy, n: float) -> Policy:
    """Return a policy whose gate 4 asks for so many trades."""
    limits = policy.gates["backtest"]
    fewer = {**limits, "n_trades": limits["n_trades"].model_copy(update={"at_least": n})}
    return policy.model_copy(update={"gates": {**policy.gates, "backtest": fewer}})


def policy(folder: Path) -> Policy:
    return load_policy(policy_file(folder))


def regimes(workspace: Workspace) -> RegimeSet:
    return load_regimes(workspace.regimes)


def silent(stage: str, share: float) -> None:
    """Tell nobody how far it is."""


class Stop:
    """Progress that remembers stages, and ends the campaign at one."""

    def __init__(self, at: str = "never") -> None:
        self.at, self.stages = at, []

    def __call__(self, stage: str, share: float) -> None:
        self.stages.append(stage)
        if stage.endswith(self.at):
            raise KeyboardInterrupt


class Ledgers:
    """A store of ledgers that keeps nothing."""

    def anchor(self, run: str, heads: object) -> None:
        pass

    def anchored_heads(self) -> dict[str, str]:
        return {}


class Tracker:
    """A store of campaigns that only remembers how each run ended: MLflow takes seconds to make one."""

    ledgers = Ledgers()

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def start_campaign(self, name: str, params: object, *, left: str = "") -> str:
        return name

    def log_candidate(self, campaign_run: str, name: str, *details: object) -> str:
        return name

    def finish(self, run: str, status: str = "FINISHED") -> None:
        with (self.workspace.root / "ended").open("a", encoding="utf-8") as file:
            file.write(f"{status}\n")


def run(
    workspace: Workspace, bars: Bars, strategies: Path, limits: Policy, progress: Progress = silent
) -> CampaignResult:
    """Run a campaign in this process."""
    templates = load_templates(strategies)
    return run_campaign(workspace.create(), bars, templates, regimes(workspace), limits, progress)


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file by its path, and "folder" for each folder; locks are left out."""
    return {
        str(path.relative_to(folder)): "folder"
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith(".lock")
    }
