"""Gate 4: after costs it earns enough, often enough, without falling too deep, on a plateau.

The fills are replayed through an independent portfolio engine, which must get the same equity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipelines.gates import stresses
from pipelines.gates.evidence import Evidence
from pipelines.gates.knowledge import before_and_after
from pipelines.gates.world import World, thinned
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import Backtest
from research_lab.errors import DataError
from research_lab.scoring.scorer import Score


def measure(spec: Spec, world: World, plateau: float, tried: Sequence[Score] = ()) -> Evidence:
    """Return the backtest on the research bars, with its stresses.

    Parameters
    ----------
    plateau : median Sharpe ratio of the neighbouring parameters over the strategy's own.
    tried : all parameter sets that were scored, for the map of parameters.
    """
    bars = world.research
    orders = world.both_orders(spec, bars)
    result = orders.pessimistic
    difference, faults = replay_difference(world, result)
    stressed, shown = stresses.measure(spec, world, result)
    figures = {
        **result.metrics,
        **stressed,
        "return_optimistic": orders.returns[1],
        "fill_interval": orders.apart("sharpe"),
        "plateau": plateau,
        "vectorbt_difference": difference,
        **before_and_after(spec, world, bars, result),
    }
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
        **shown,
    }
    return Evidence("backtest", figures, world.bound_to(spec), faults=faults, series=series)


def replay_difference(world: World, result: Backtest) -> tuple[float, tuple[str, ...]]:
    """Return the largest difference of equity to vectorbt's, and what vectorbt refused to fill."""
    from research_lab.backtests.vectorbt_bridge import deviation, replay_equity

    try:
        other = replay_equity(world.research, result.fills, world.terms)
    except DataError as fault:
        return math.nan, (f"the independent engine does not take the fills: {fault.what}",)
    return deviation(result.equity, other, 1.0), ()
