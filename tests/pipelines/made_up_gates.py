"""Realistic evidence for every gate of a campaign, made up, for the tests of reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines import candidates
from pipelines.candidates import Candidate, Facts
from pipelines.gates.evidence import Evidence, Verdict
from pipelines.gates.policy import Policy, judge
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.workspace import Workspace
from tests.pipelines.made_up import digest

DAY = 86_400_000
BEGIN = 1_514_764_800_000  # 2018-01-01
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)> & \"quoted\" {{ 7 * 7 }}"

TEXT = """spec: 1
name: ema_atr
hypothesis: {hypothesis}
timeframe: 1h
side: long
params:
  fast: {{range: [12, 48], step: 6, default: 24}}
  slow: {{range: [72, 168], step: 24, default: 96}}
  stop_atr: {{range: [4, 8], step: 2, default: 6}}
enter_long: ema(close, fast) > ema(close, slow)
exit_long: ema(close, fast) < ema(close, slow)
stop: stop_atr * atr(24)
size: {{fraction: 0.95}}
"""


def spec(hypothesis: str = "Trends last longer than chance allows.") -> Spec:
    quoted = "'" + hypothesis.replace("'", "''") + "'"
    return parse_spec(TEXT.format(hypothesis=quoted))


def curve(seed: int, n: int, drift: float) -> list[float]:
    steps = np.random.default_rng(seed).normal(drift, 0.02, n)
    return [float(v) for v in np.exp(np.cumsum(steps))]


def evidence(found: Spec) -> dict[str, Evidence]:
    """Return evidence with which every gate passes under the program's policy."""
    bound = {
        "spec": found.hash,
        "data": digest("snapshot"),
        "protocol": digest("protocol"),
        "code": digest("code"),
    }
    metrics = {
        "return": 2.41, "sharpe": 1.37, "sortino": 2.05, "calmar": 1.41, "max_drawdown": 0.243,
        "max_drawdown_bars": 2113.0, "profit_factor": 1.81, "expectancy_r": 0.34, "win_rate": 0.417,
        "exposure": 0.52, "turnover": 48.3, "n_trades": 127.0, "years": 3.6,
    }  # fmt: skip
    figures: dict[str, dict[str, float]] = {
        "static": {
            "n_nodes": 21.0, "n_params": 3.0, "n_combinations": 105.0, "warmup_bars": 503.0,
            "duplicates": 0.0,
        },
        "data": {
            "faults": 0.0, "research_days": 1314.0, "strategy_bars": 31536.0, "missing_share": 0.0019,
            "longest_gap_hours": 6.0, "n_gaps": 11.0, "n_missing": 62.0, "n_flat": 3.0, "n_bars": 52498.0,
        },
        "lookahead": {"lookahead_faults": 0.0, "own_close_faults": 0.0, "warmup_shortfall_bars": 0.0},
        "backtest": {
            **metrics, "return_optimistic": metrics["return"] + 0.03,
            "sharpe_at_double_costs": 0.98, "fill_interval": 0.07, "plateau": 0.88,
            "vectorbt_difference": 4.4e-16, "regime_p": 1.0, "sharpe_at_triple_costs": 0.61,
            "sharpe_one_bar_late": 0.83, "sharpe_without_best_trades": -0.21, "sharpe_bars_dropped": 1.29,
            "sharpe_start_shifted": 1.11, "sharpe_low": 0.42, "sharpe_high": 2.31, "capacity": 351_000.0,
        },
        "walk_forward": {
            "sharpe": 1.12, "efficiency": 0.71, "share_profitable": 0.8, "n_folds": 5.0, "n_days": 783.0,
        },
        "overfitting": {
            "p": 0.0132, "statistic": 4.21, "critical_99": 4.4, "n_trials": 282.0, "n_columns": 222.0,
            "n_days": 1314.0, "block_days": 11.0, "deflated_sharpe": 0.91,
        },
        "holdout": {
            "opening": 1.0, "n_days": 876.0, **metrics, "research_p": 0.0132, "p": 0.0281, "combined_p": 0.0017,
        },
        "shadow": {
            "differing_bits": 0.0, "n_bars": 1440.0, "n_days": 60.0, "n_trades": 7.0, "return": -0.021,
            "band_probability": 0.31,
        },
    }  # fmt: skip
    shown = series(found)
    return {
        gate: Evidence(gate, values, bound, series=shown.get(gate, {})) for gate, values in figures.items()
    }


def series(found: Spec) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(5)
    equity = curve(1, 1200, 0.0012)
    peak = np.maximum.accumulate(equity)
    days = [BEGIN + k * DAY for k in range(1200)]
    trades = np.where(rng.random(127) < 0.4, rng.exponential(2.0, 127), -rng.random(127)).tolist()
    return {
        "backtest": {
            "time": days,
            "equity": equity,
            "drawdown": [float(1.0 - e / p) for e, p in zip(equity, peak, strict=True)],
            "close": curve(2, 1200, 0.0004),
            "trade_r": trades,
            "trade_pnl": [0.008 * r for r in trades],
            "parameters": [
                {"fast": f, "slow": s, "stop_atr": 6.0, "sharpe": 1.4 - abs(f - 24) / 40 - abs(s - 96) / 90}
                for f in (12.0, 18.0, 24.0, 30.0, 36.0, 42.0, 48.0)
                for s in (72.0, 96.0, 120.0, 144.0, 168.0)
            ],
            "chosen": found.values,
        },
        "overfitting": {"needed": [{"p": 0.01, "statistic": 4.4}, {"p": 0.25, "statistic": 3.9}]},
        "walk_forward": {
            "folds": [
                {
                    "inside_days": [0, 520 + 157 * k],
                    "outside_days": [526 + 157 * k, 683 + 157 * k],
                    "values": {**found.values, "fast": 18.0 + 6.0 * (k % 3)},
                    "inside_sharpe": 1.6 - 0.05 * k,
                    "outside_sharpe": [1.9, 0.7, -0.4, 2.2, 1.1][k],
                    "outside_return": [0.3, 0.1, -0.05, 0.4, 0.2][k],
                }
                for k in range(5)
            ],
            "first_day": BEGIN // DAY,
            "ranges": {name: [param.low, param.high] for name, param in found.params.items()},
            "equity": curve(3, 783, 0.001),
        },
        "holdout": {"time": [BEGIN + (1200 + k) * DAY for k in range(800)], "equity": curve(4, 800, 0.001)},
        "shadow": {"time": [BEGIN + (2000 + k) * DAY for k in range(60)], "equity": curve(6, 60, -0.0004)},
    }


def changed(found: Evidence, figures: Mapping[str, float], insufficient: str = "") -> Evidence:
    """Return evidence with some figures replaced; without any when nothing could be measured."""
    kept = {} if insufficient else {**found.figures, **figures}
    return Evidence(found.gate, kept, found.bound_to, insufficient, found.faults, found.series)


def unmeasured(found: Evidence) -> Evidence:
    return changed(found, dict.fromkeys(found.figures, math.nan))


def stored(
    workspace: Workspace, found: Spec, seen: Mapping[str, Evidence], policy: Policy, name: str = "ema_atr"
) -> tuple[Candidate, dict[str, Verdict]]:
    """Store a candidate with evidence and the policy's verdicts on it."""
    facts = Facts(name, "synthetic EDGE/USDT", "1h", digest("snapshot"), "campaign-0123abcd")
    candidate = candidates.save(workspace, found.canonical(), found.hash, facts)
    verdicts = {gate: judge(one, policy) for gate, one in seen.items()}
    for one in seen.values():
        candidates.save_evidence(candidate, one)
    candidates.save_verdicts(candidate, verdicts.values())
    return candidate, verdicts
