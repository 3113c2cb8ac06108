"""What a strategy earned in which regime, and whether a regime that it declares has evidence against it.

A trade belongs to the regime in which it was decided: the code at the close before its entry. A bar belongs to
the regime known before it. Where a bar ends one trade and begins another, it counts for the one that begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from research_lab.bars import Bars
from research_lab.dsl.spec import REGIMES
from research_lab.engine import layout
from research_lab.engine.backtest import Backtest, daily_returns
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.errors import InsufficientError
from research_lab.validation.family_wise import single_p
from research_lab.validation.returns import annual_sharpe, bar_returns, compound
from research_lab.validation.robustness import trade_gains

NAMES: Final = ("unknown", *REGIMES)
LEAST_TRADES: Final = 10  # in a regime, before anything is said against it


@dataclass(frozen=True)
class RegimeShare:
    """One regime's part.

    Parameters
    ----------
    regime : its name, "unknown" where no condition was true.
    n_trades, win_rate, trade_return : of trades decided in it; the mean over equity before the entry.
    entered_return : compound return of all bars held by those trades.
    bars_share : share of all bars. exposure : share of its bars after which a position was open.
    bars_return, bars_sharpe : of the equity on its bars, whoever entered, annualised over its bars alone.
    p_against : one-sided p that what was decided in it does not lose; NaN below ten trades.
    """

    regime: str
    n_trades: int
    win_rate: float
    trade_return: float
    entered_return: float
    bars_share: float
    exposure: float
    bars_return: float
    bars_sharpe: float
    p_against: float


def attribute(
    result: Backtest, bars: Bars, codes: FloatArray, *, n_draws: int, seed: int
) -> list[RegimeShare]:
    """Return each regime's part, in the order of their codes; those that never were are left out.

    Parameters
    ----------
    codes : (n_bars,) the regime's code after each bar, macro states included.
    """
    known = np.concatenate([[0], codes[:-1].astype(np.int64) % layout.MACRO])
    entered = _entered_in(result, known)
    returns = bar_returns(result.equity)
    present = sorted({*known.tolist(), *entered[entered >= 0].tolist()})
    return [_share(code, result, bars, known, entered, returns, n_draws, seed) for code in present]


def evidence_against(shares: Iterable[RegimeShare], declared: tuple[str, ...]) -> tuple[float, str]:
    """Return the smallest p against a declared regime, times how many were tested, and its name.

    1 and no name where none is declared, or none has ten trades: without evidence nothing is vetoed. Bonferroni's
    factor keeps the chance of refusing any sound strategy at the limit, however many regimes it declares.
    """
    tested = [s for s in shares if s.regime in declared and math.isfinite(s.p_against)]
    if not tested:
        return 1.0, ""
    worst = min(tested, key=lambda share: share.p_against)
    return min(1.0, worst.p_against * len(tested)), worst.regime


def _entered_in(result: Backtest, known: IntArray) -> IntArray:
    """Return for each bar the regime in which the position of that bar was decided, -1 for none."""
    entered = np.full(known.shape[0], -1, np.int64)
    fills = result.fills
    if fills.shape[0] == 0:
        return entered
    first = np.flatnonzero(np.diff(fills["position_id"], prepend=-1))
    last = np.append(first[1:], fills.shape[0]) - 1
    ends = fills["bar"][last].copy()
    if result.position[-1] != 0.0:
        ends[-1] = known.shape[0] - 1
    for begin, end in zip(fills["bar"][first].tolist(), ends.tolist(), strict=True):
        entered[begin : end + 1] = known[begin]
    return entered


def _share(
    code: int,
    result: Backtest,
    bars: Bars,
    known: IntArray,
    entered: IntArray,
    returns: FloatArray,
    n_draws: int,
    seed: int,
) -> RegimeShare:
    here, its = known == code, entered == code
    gains = trade_gains(result)[known[result.trades["entry_bar"]] == code]
    n_trades = gains.shape[0]
    return RegimeShare(
        NAMES[code],
        n_trades,
        float((gains > 0).mean()) if n_trades else math.nan,
        float(gains.mean()) if n_trades else math.nan,
        compound(returns[its]),
        float(here.mean()),
        float((result.position[here] != 0.0).mean()) if here.any() else math.nan,
        compound(returns[here]),
        annual_sharpe(returns[here], bars.step_ms),
        _p_against(np.where(its, returns, 0.0), bars, n_trades, n_draws, seed),
    )


def _p_against(returns: FloatArray, bars: Bars, n_trades: int, n_draws: int, seed: int) -> float:
    """Return the one-sided p of "does not lose", by the block bootstrap of gate 7 with gains and losses exchanged."""
    if n_trades < LEAST_TRADES:
        return math.nan
    _, daily = daily_returns(bars.time, np.multiply.accumulate(1.0 + returns))
    try:
        return single_p(-daily, n_draws=n_draws, seed=seed)
    except InsufficientError:
        return math.nan
