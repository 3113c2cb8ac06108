"""What a candidate did before and after the last day that its proposer can have known.

A proposer that has read about the past, such as a language model, may have fitted it without a look of ours.
What came after its knowledge cutoff it cannot have known. Both are figures without a limit: gate 7 judges.
"""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np

from pipelines.gates.world import Ground
from research_lab.bars import DAY_MS, Bars
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import Backtest, daily_returns
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.errors import InsufficientError
from research_lab.scoring.scorer import sharpe_of
from research_lab.validation.family_wise import single_p


def before_and_after(spec: Spec, world: Ground, bars: Bars, result: Backtest) -> dict[str, float]:
    """Return what one run was worth on both sides of the knowledge cutoff; see `both_sides`."""
    first_day, daily = daily_returns(bars.time, result.equity, result.start)
    return both_sides(spec, world, first_day, daily, bars.time[result.trades["exit_bar"]])


def both_sides(
    spec: Spec, world: Ground, first_day: int, daily: FloatArray, closed_ms: IntArray
) -> dict[str, float]:
    """Return days, Sharpe ratio, return, closed trades and p on both sides of the knowledge cutoff.

    Parameters
    ----------
    first_day, daily : UTC day of the first return, and (n_days,) returns. closed_ms : when trades were closed.

    Returns
    -------
    dict
        ``before_cutoff_sharpe`` and so on; empty when the cutoff is not known. A side that has too few days
        for a figure has NaN there. A trade belongs to the side on which it was closed. p is that of the side
        on its own, without the family; so neither is a verdict.
    """
    cutoff_ms = world.scorer.origin_of(spec).cutoff_ms
    if cutoff_ms is None:
        return {}
    border = max(0, min(daily.shape[0], cutoff_ms // DAY_MS - first_day))
    n_before = int((closed_ms < cutoff_ms).sum())
    sides = {
        "before": (daily[:border], n_before),
        "after": (daily[border:], closed_ms.shape[0] - n_before),
    }
    return {
        f"{side}_cutoff_{name}": value
        for side, (days, n_trades) in sides.items()
        for name, value in _figures(days, n_trades, world).items()
    }


def _figures(daily: FloatArray, n_trades: int, world: Ground) -> dict[str, float]:
    rules = world.policy.bootstrap
    p = math.nan
    with suppress(InsufficientError):  # of too few days there is no p, and the figure says so
        p = single_p(daily, n_draws=rules.n_draws, seed=rules.seed)
    return {
        "days": float(daily.shape[0]),
        "sharpe": sharpe_of(daily),
        "return": float(np.prod(1.0 + daily)) - 1.0 if daily.shape[0] else math.nan,
        "trades": float(n_trades),
        "p": p,
    }
