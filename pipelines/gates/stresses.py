"""What gate 4 puts a strategy through beyond its backtest: costs, delay, luck, gaps, dates, size, regimes.

All run the strategy itself, so none is a further candidate. Judged are doubled costs, plateau and fill interval,
and the veto of a declared regime; the others are reported: each further limit would cost power that no table
of error rates has priced.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from pipelines.gates.policy import Policy
from pipelines.gates.world import World
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import Backtest, daily_returns
from research_lab.engine.jit import FloatArray
from research_lab.errors import InsufficientError
from research_lab.validation.capacity import capacity
from research_lab.validation.regime_attribution import RegimeShare, attribute, evidence_against
from research_lab.validation.robustness import (
    CostLevel,
    Stage,
    cost_curve,
    delayed,
    jittered,
    with_bars_dropped,
    with_start_shifted,
    without_best_trades,
)
from research_lab.validation.stationary_bootstrap import intervals


def measure(spec: Spec, world: World, result: Backtest) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the figures of all stresses, and what pictures and remedies are made of.

    Parameters
    ----------
    result : the strategy's run on the research bars, stops first.
    """
    stage = Stage(spec, world.research, world.terms, world.regimes)
    seed = world.policy.bootstrap.seed
    costs = cost_curve(stage)
    shares = attribute(
        result,
        world.research,
        world.regime(world.research),
        n_draws=world.policy.bootstrap.n_draws,
        seed=seed,
    )
    dropped = with_bars_dropped(stage, seed)
    shifted = with_start_shifted(stage)
    sharpe_without, return_without = without_best_trades(result, world.research)
    figures = {
        "sharpe_without_costs": costs[0].sharpe,
        "sharpe_at_double_costs": at_multiple(costs, 2.0),
        "sharpe_at_triple_costs": at_multiple(costs, 3.0),
        "sharpe_one_bar_late": stage.run(spec=delayed(spec)).metrics["sharpe"],
        "sharpe_without_best_trades": sharpe_without,
        "return_without_best_trades": return_without,
        "sharpe_bars_dropped": least(dropped),
        "sharpe_start_shifted": least(shifted),
        "start_interval": spread(shifted),
        "capacity": capacity(result, world.research),
        **jitter_figures(jittered(world.scorer, spec, seed), result.metrics["sharpe"]),
        **interval_figures(daily_returns(world.research.time, result.equity)[1], world.policy),
        **_regime_figures(shares, spec),
    }
    series = {
        "cost_curve": [readable(level) for level in costs],
        "regimes": [readable(share) for share in shares],
        "bars_dropped": [known(value) for value in dropped.tolist()],
        "start_shifted": [known(value) for value in shifted.tolist()],
    }
    return figures, series


def at_multiple(costs: list[CostLevel], multiple: float) -> float:
    """Return the Sharpe ratio at a multiple of today's costs."""
    return next(level.sharpe for level in costs if level.multiple == multiple)


def least(values: FloatArray) -> float:
    """Return the smallest value, NaN where one was not measured."""
    return float(values.min())


def spread(values: FloatArray) -> float:
    """Return how far the largest is above the smallest."""
    return float(values.max() - values.min())


def jitter_figures(sharpes: FloatArray, own: float) -> dict[str, float]:
    """Return what parameter sets nearby are worth, over the strategy's own Sharpe ratio; NaN where that is not positive."""
    if sharpes.shape[0] == 0 or not own > 0.0:
        return {"plateau_wide": math.nan, "share_jittered_positive": math.nan}
    return {
        "plateau_wide": float(np.median(sharpes)) / own,
        "share_jittered_positive": float((sharpes > 0.0).mean()),
    }


def interval_figures(daily: FloatArray, policy: Policy) -> dict[str, float]:
    """Return 95 % intervals of daily returns by the stationary bootstrap; NaN of too few days."""
    names = (
        "sharpe_low",
        "sharpe_high",
        "return_low",
        "return_high",
        "max_drawdown_low",
        "max_drawdown_high",
    )
    try:
        found = intervals(daily, seed=policy.bootstrap.seed)
    except InsufficientError:
        return dict.fromkeys(names, math.nan)
    ends = (found.sharpe, found.total_return, found.max_drawdown)
    return dict(zip(names, (x for end in ends for x in (end.low, end.high)), strict=True))


def _regime_figures(shares: list[RegimeShare], spec: Spec) -> dict[str, float]:
    """Return the veto's figure, and beside it the number of trades and p of each regime that is declared."""
    found = {"regime_p": evidence_against(shares, spec.regimes)[0]}
    for share in shares:
        if share.regime in spec.regimes:
            found[f"n_trades_{share.regime}"] = float(share.n_trades)
            found[f"p_against_{share.regime}"] = share.p_against
    return found


def readable(row: CostLevel | RegimeShare) -> dict[str, Any]:
    """Return a row as it stands in evidence."""
    return {name: known(value) for name, value in asdict(row).items()}


def known(value: Any) -> Any:
    """Return a value, None for a number that was not measured."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
