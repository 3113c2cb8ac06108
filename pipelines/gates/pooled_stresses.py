"""What gate 4 puts a pool through beyond its backtest: costs, delay, luck, gaps, dates, size, on all markets at once.

The figures have the names, and the limits or none, of those of a single market (`stresses`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.gates.pool import Pool
from pipelines.gates.stresses import at_multiple, known, least, readable, spread
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import Backtest
from research_lab.validation.capacity import pooled_capacity
from research_lab.validation.pooled_robustness import (
    pooled_cost_curve,
    pooled_one_bar_late,
    pooled_with_bars_dropped,
    pooled_with_start_shifted,
    pooled_without_best_trades,
)
from research_lab.validation.robustness import Stage


def measure(spec: Spec, pool: Pool, results: Sequence[Backtest]) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the figures of the stresses, and what pictures and remedies are made of.

    Parameters
    ----------
    results : the strategy's runs on the research bars, one a market, stops first.
    """
    stages = [Stage(spec, world.research, world.terms, world.regimes) for world in pool.worlds]
    costs = pooled_cost_curve(stages)
    dropped = pooled_with_bars_dropped(stages, pool.policy.bootstrap.seed)
    shifted = pooled_with_start_shifted(stages)
    sharpe_without, return_without = pooled_without_best_trades(stages, results)
    figures = {
        "sharpe_without_costs": at_multiple(costs, 0.0),
        "sharpe_at_double_costs": at_multiple(costs, 2.0),
        "sharpe_at_triple_costs": at_multiple(costs, 3.0),
        "sharpe_one_bar_late": pooled_one_bar_late(stages),
        "sharpe_without_best_trades": sharpe_without,
        "return_without_best_trades": return_without,
        "sharpe_bars_dropped": least(dropped),
        "sharpe_start_shifted": least(shifted),
        "start_interval": spread(shifted),
        "capacity": pooled_capacity([(r, s.bars) for r, s in zip(results, stages, strict=True)]),
    }
    series = {
        "cost_curve": [readable(level) for level in costs],
        "bars_dropped": [known(value) for value in dropped.tolist()],
        "start_shifted": [known(value) for value in shifted.tolist()],
    }
    return figures, series
