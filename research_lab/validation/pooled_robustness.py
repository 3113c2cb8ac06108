"""Stresses of a pool: one strategy on all its markets, each stressed in the same way, judged by their pooled daily returns.

What `robustness` does to one market is done to all of them at once: an outage takes the same times from every market,
a later start is as much later on each. For stresses drawn market by market the pool would average out what
hits all of its markets together. Nothing is chosen by them, so none is counted.

Sharpe ratios are those of the pool's daily returns (`scoring.pooled_scorer`), a year of 365 days.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from research_lab.bars import Bars
from research_lab.engine.backtest import Backtest, daily_returns
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.scoring.pooled_scorer import daily_metrics, pooled_daily
from research_lab.scoring.scorer import sharpe_of
from research_lab.timeframe import DAY_MS
from research_lab.validation.returns import bar_returns
from research_lab.validation.robustness import (
    BEST_SHARE,
    COST_MULTIPLES,
    DROPPED_SHARE,
    N_DROPS,
    SHIFTS_DAYS,
    CostLevel,
    Stage,
    bars_at,
    delayed,
    trade_gains,
)


def pooled_cost_curve(
    stages: Sequence[Stage], multiples: Sequence[float] = COST_MULTIPLES
) -> list[CostLevel]:
    """Return what a pool is worth when every market's fee and slippage are a multiple of today's, ascending."""
    found = []
    for multiple in multiples:
        worth = daily_metrics(_pooled(stages, [stage.at_costs(multiple) for stage in stages])[1])
        found.append(CostLevel(multiple, worth["sharpe"], worth["return"]))
    return found


def pooled_one_bar_late(stages: Sequence[Stage]) -> float:
    """Return the pool's Sharpe ratio with every signal as it was one of the strategy's bars ago."""
    return sharpe_of(_pooled(stages, [stage.run(spec=delayed(stage.spec)) for stage in stages])[1])


def pooled_without_best_trades(
    stages: Sequence[Stage], results: Sequence[Backtest], share: float = BEST_SHARE
) -> tuple[float, float]:
    """Return Sharpe ratio and return when the best trades of all markets had not been made; NaN, NaN without trades.

    The best are that share of the trades of all markets together, rounded up, by gain over their market's equity
    before the entry. On their bars the equity of their market stands still, and nothing is entered instead.
    """
    gains = np.concatenate([trade_gains(result) for result in results])
    if gains.shape[0] == 0:
        return math.nan, math.nan
    best = np.zeros(gains.shape[0], dtype=np.bool_)
    best[np.argsort(-gains, kind="stable")[: math.ceil(share * gains.shape[0])]] = True
    parts, first = [], 0
    for stage, result in zip(stages, results, strict=True):
        mine = result.trades[best[first : first + result.trades.shape[0]]]
        first += result.trades.shape[0]
        returns = bar_returns(result.equity)
        for trade in mine:
            returns[trade["entry_bar"] : trade["exit_bar"] + 1] = 0.0
        parts.append(daily_returns(stage.bars.time, np.multiply.accumulate(1.0 + returns)))
    worth = daily_metrics(pooled_daily(parts)[1])
    return worth["sharpe"], worth["return"]


def drop_times(tables: Sequence[Bars], share: float, rng: np.random.Generator) -> list[Bars]:
    """Return the bars of several markets without a share of their times, the same times for all: an outage of all.

    Of one market it is what `robustness.drop_bars` gives.
    """
    times: IntArray = np.unique(np.concatenate([bars.time for bars in tables]))
    draws = rng.random(len(times))
    kept = draws >= share
    return [bars_at(bars, np.flatnonzero(kept[np.searchsorted(times, bars.time)])) for bars in tables]


def pooled_with_bars_dropped(stages: Sequence[Stage], seed: int) -> FloatArray:
    """Return the pool's Sharpe ratios in runs each of which misses 1 % of all times, others in each draw."""
    rng = np.random.default_rng(seed)
    draws = [drop_times([stage.bars for stage in stages], DROPPED_SHARE, rng) for _ in range(N_DROPS)]
    return np.array(
        [
            sharpe_of(
                pooled_daily(
                    daily_returns(bars.time, stage.run(bars=bars).equity)
                    for stage, bars in zip(stages, tables, strict=True)
                )[1]
            )
            for tables in draws
        ]
    )


def pooled_with_start_shifted(
    stages: Sequence[Stage], shifts_days: Sequence[int] = SHIFTS_DAYS
) -> FloatArray:
    """Return the pool's Sharpe ratios when every market begins later, over the days that each has in all runs.

    The first is that of the pool as it is. A market that joins the pool later begins as much later than it did. NaN
    where the bars of any market end before the last shift.
    """
    begins = [int(stage.bars.time[0]) for stage in stages]
    last_days = [begin // DAY_MS + max(shifts_days) + 1 for begin in begins]
    found = []
    for shift in (0, *shifts_days):
        parts = []
        for stage, begin, last_day in zip(stages, begins, last_days, strict=True):
            first = int(np.searchsorted(stage.bars.time, begin + shift * DAY_MS))
            if first == stage.bars.n:
                break
            bars = stage.bars.window(first, stage.bars.n)
            first_day, daily = daily_returns(bars.time, stage.run(bars=bars).equity)
            parts.append((max(last_day, first_day), daily[max(last_day - first_day, 0) :]))
        whole = len(parts) == len(stages) and all(daily.shape[0] for _, daily in parts)
        found.append(sharpe_of(pooled_daily(parts)[1]) if whole else math.nan)
    return np.array(found)


def _pooled(stages: Sequence[Stage], results: Sequence[Backtest]) -> tuple[int, FloatArray]:
    pairs = zip(stages, results, strict=True)
    return pooled_daily(daily_returns(stage.bars.time, result.equity) for stage, result in pairs)
