"""Gate 4: after costs it earns enough, often enough, without falling too deep, on a plateau.

The fills are replayed through an independent portfolio engine, which must get the same equity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.gates.evidence import Evidence
from pipelines.gates.world import World, thinned
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import Backtest
from research_lab.engine.jit import FloatArray
from research_lab.scoring.scorer import Score


def measure(spec: Spec, world: World, plateau: float, tried: Sequence[Score] = ()) -> Evidence:
    """Return the backtest on the research bars, with its stresses.

    Parameters
    ----------
    plateau : median Sharpe ratio of the neighbouring parameters over the strategy's own.
    tried : all parameter sets that were scored, for the map of parameters.
    """
    bars, terms = world.research, world.terms
    result = world.run(spec, bars)
    costly = replace(terms, fee=2 * terms.fee, slippage=2 * terms.slippage)
    stressed = world.run(spec, bars, terms=costly)
    optimistic = world.run(spec, bars, terms=replace(terms, optimistic=True))
    sharpe = result.metrics["sharpe"]
    figures = {
        **result.metrics,
        "sharpe_at_double_costs": stressed.metrics["sharpe"],
        "fill_interval": optimistic.metrics["sharpe"] - sharpe,
        "plateau": plateau,
        "vectorbt_difference": _difference(world, result),
    }
    if abs(figures["fill_interval"]) < 1e-12:
        figures["fill_interval"] = 0.0
    peak = np.maximum.accumulate(result.equity)
    series = {
        "time": [int(t) for t in thinned(bars.time.astype(np.float64))],
        "equity": thinned(result.equity),
        "drawdown": thinned(1.0 - result.equity / peak),
        "close": thinned(bars.close),
        "trade_r": thinned(result.trades["r"]),
        "parameters": [{**score.spec.values, "sharpe": score.metrics["sharpe"]} for score in tried],
        "chosen": spec.values,
        "trade_pnl": thinned(result.trades["pnl"]),
    }
    return Evidence("backtest", figures, world.bound_to(spec), series=series)


def _difference(world: World, result: Backtest) -> float:
    """Return the largest relative difference of equity to vectorbt's, over all bars."""
    from research_lab.backtests.vectorbt_bridge import replay_equity

    other: FloatArray = replay_equity(world.research, result.fills, world.terms)
    return float(np.max(np.abs(other - result.equity) / np.maximum(np.abs(result.equity), 1e-12)))
