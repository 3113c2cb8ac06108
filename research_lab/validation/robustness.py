"""Stresses of one strategy: does it live on its costs, its timing, a few trades, or the bars' exact cut.

Every stress runs the same strategy at the same parameters once more, so none is another candidate and none
is counted as one: nothing is chosen by them, they can only refuse. Parameters that are jittered are other
parameter sets: they go through the scorer, which counts them.

Sharpe ratios are those of `engine.metrics`, a year, without a risk-free rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from research_lab.bars import Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.tree import Node, constant
from research_lab.engine.backtest import Backtest, backtest, daily_returns, regime_codes
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.terms import Terms
from research_lab.scoring.scorer import Scoring, sharpe_of
from research_lab.timeframe import DAY_MS
from research_lab.validation.returns import annual_sharpe, bar_returns, compound

COST_MULTIPLES: Final = (0.0, 0.5, 1.0, 2.0, 3.0)
BEST_SHARE: Final = 0.01
DROPPED_SHARE: Final = 0.01
N_DROPS: Final = 5
SHIFTS_DAYS: Final = (1, 3, 7, 14, 30)
N_JITTERED: Final = 24
JITTER_STEPS: Final = 2


@dataclass(frozen=True, eq=False)
class Stage:
    """Where a strategy is run: its bars, costs and regimes."""

    spec: Spec
    bars: Bars
    terms: Terms
    regimes: RegimeSet | None = None

    def run(
        self, *, spec: Spec | None = None, bars: Bars | None = None, terms: Terms | None = None
    ) -> Backtest:
        """Return a run in which one thing is another than it was."""
        tape = self.bars if bars is None else bars
        codes = regime_codes(None if self.regimes is None else self.regimes.compiled, tape)
        return backtest(compile_spec(spec or self.spec), tape, terms or self.terms, regime=codes)

    def at_costs(self, multiple: float) -> Backtest:
        """Return a run whose fee and slippage are a multiple of today's."""
        return self.run(
            terms=replace(self.terms, fee=multiple * self.terms.fee, slippage=multiple * self.terms.slippage)
        )


@dataclass(frozen=True)
class CostLevel:
    """What a strategy is worth when fee and slippage are a multiple of today's."""

    multiple: float
    sharpe: float
    total_return: float


def cost_curve(stage: Stage, multiples: Sequence[float] = COST_MULTIPLES) -> list[CostLevel]:
    """Return what the strategy is worth at several multiples of fee and slippage, ascending."""
    found = []
    for multiple in multiples:
        worth = stage.at_costs(multiple).metrics
        found.append(CostLevel(multiple, worth["sharpe"], worth["return"]))
    return found


def delayed(spec: Spec, n: int = 1) -> Spec:
    """Return the strategy with every signal, distance and size as they were `n` of its bars ago.

    What it did at the open after a close it does one bar's open later. Protection that is alive stays alive.
    """
    return replace(
        spec,
        conditions={name: _before(node, n) for name, node in spec.conditions.items()},
        stop=None if spec.stop is None else _before(spec.stop, n),
        trail=None if spec.trail is None else _before(spec.trail, n),
        size=_before(spec.size, n),
    )


def _before(node: Node, n: int) -> Node:
    return Node("prev", (node, constant(float(n))), node.dimension)


def without_best_trades(result: Backtest, bars: Bars, share: float = BEST_SHARE) -> tuple[float, float]:
    """Return Sharpe ratio and return when the best trades had not been made; NaN, NaN without trades.

    The best are that share of all finished trades, rounded up, by gain over the equity before the entry. On
    their bars, entry and exit included, the equity stands still, and nothing is entered instead.
    """
    trades = result.trades
    if trades.shape[0] == 0:
        return math.nan, math.nan
    gains = trade_gains(result)
    best = np.argsort(-gains, kind="stable")[: math.ceil(share * trades.shape[0])]
    returns = bar_returns(result.equity)
    for trade in trades[best]:
        returns[trade["entry_bar"] : trade["exit_bar"] + 1] = 0.0
    return annual_sharpe(returns, bars.step_ms), compound(returns)


def trade_gains(result: Backtest) -> FloatArray:
    """Return the gain of each finished trade after fees, over the equity before its entry."""
    before = np.concatenate([[1.0], result.equity])[result.trades["entry_bar"]]
    gains: FloatArray = result.trades["pnl"] / before
    return gains


def drop_bars(bars: Bars, share: float, rng: np.random.Generator) -> Bars:
    """Return the bars without a share of them, drawn at random: gaps. Funding falls due at the next bar."""
    return bars_at(bars, np.flatnonzero(rng.random(bars.n) >= share))


def bars_at(bars: Bars, kept: IntArray) -> Bars:
    """Return the bars at some places, ascending; funding between them falls due at the next one."""
    due = np.diff(np.concatenate([[0.0], np.cumsum(bars.funding_due)[kept]]))
    if not bars.funding_due.any():
        due[:] = 0.0
    return replace(bars, time=bars.time[kept], inputs=bars.inputs[:, kept], funding_due=due)


def with_bars_dropped(stage: Stage, seed: int) -> FloatArray:
    """Return the Sharpe ratios of runs each of which misses 1 % of the bars, others in each draw."""
    rng = np.random.default_rng(seed)
    draws = [drop_bars(stage.bars, DROPPED_SHARE, rng) for _ in range(N_DROPS)]
    return np.array([stage.run(bars=bars).metrics["sharpe"] for bars in draws])


def with_start_shifted(stage: Stage, shifts_days: Sequence[int] = SHIFTS_DAYS) -> FloatArray:
    """Return the Sharpe ratios of runs on bars that begin later, each over the days common to all of them.

    The first is that of the run as it is. NaN where the bars end before the last shift.
    """
    begin = int(stage.bars.time[0])
    last_day = begin // DAY_MS + max(shifts_days) + 1
    found = []
    for shift in (0, *shifts_days):
        first = int(np.searchsorted(stage.bars.time, begin + shift * DAY_MS))
        if first == stage.bars.n:
            found.append(math.nan)
            continue
        bars = stage.bars.window(first, stage.bars.n)
        first_day, daily = daily_returns(bars.time, stage.run(bars=bars).equity)
        found.append(sharpe_of(daily[max(last_day - first_day, 0) :]))
    return np.array(found)


def jittered(scorer: Scoring, spec: Spec, seed: int) -> FloatArray:
    """Return the Sharpe ratios of parameter sets near a strategy's, in one sweep; each is a counted look.

    Every parameter moves by -2 to 2 steps, evenly drawn, and stays within its range; the strategy's own set is
    left out. Empty without parameters that can move. A set that never moved has 0.
    """
    rng = np.random.default_rng(seed)
    near: dict[str, Spec] = {}
    for _ in range(N_JITTERED):
        values = {}
        for name, param in spec.params.items():
            place = int(np.abs(np.array(param.values) - param.default).argmin())
            moved = place + int(rng.integers(-JITTER_STEPS, JITTER_STEPS + 1))
            values[name] = param.values[min(max(moved, 0), param.n_values - 1)]
        other = spec.bind(values)
        if other.hash != spec.hash:
            near[other.hash] = other
    if not near:
        return np.empty(0)
    return np.nan_to_num([score.sharpe() for score in scorer.score(list(near.values()))])
