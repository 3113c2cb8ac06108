"""Work A: dual moving-average cross, 174 parameter pairs, all cash in at the next open and out again.

Fee 10 basis points, slippage 5. Every way to do it goes from bars to final equity, Sharpe ratio and deepest
drawdown of each pair, indicators included; vectorbt is timed for the final equity alone as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.scored import scored
from research_lab.bars import Bars
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.jit import FloatArray
from research_lab.engine.terms import Terms
from research_lab.timeframe import timeframe_ms

N_BARS = 35_040
N_MINUTES = 525_600
CHUNK = 16  # columns that vectorbt takes at once on this many bars: its fastest of 2, 4, 8 and 16
_CASH = 1e40  # vectorbt takes less than 1e-12 for nothing: a ruined account stays above that
TERMS = Terms(fee=0.001, slippage=0.0005)
PAIRS = [(f, s) for f in range(5, 50, 3) for s in range(20, 200, 14) if f < s][:174]
TEXT = """
spec: 1
name: work_a
hypothesis: a benchmark
timeframe: {timeframe}
side: long
params:
  fast: {{range: [2, 100], step: 1, default: 10}}
  slow: {{range: [3, 400], step: 1, default: 50}}
enter_long: crosses_above(sma(close, fast), sma(close, slow))
exit_long: crosses_below(sma(close, fast), sma(close, slow))
size: {{fraction: 1}}
"""


def chunk(n_bars: int) -> int:
    """Return the columns vectorbt takes at once: as many cells at any length, so 1 on half a million bars.

    There 16 columns take it about twice as long as 1.
    """
    return min(CHUNK, max(1, CHUNK * N_BARS // n_bars))


def strategies(timeframe: str = "15m", pairs: list[tuple[int, int]] = PAIRS) -> list[Spec]:
    """Return one strategy a pair, at its parameters."""
    template = parse_spec(TEXT.format(timeframe=timeframe))
    return [template.bind({"fast": fast, "slow": slow}) for fast, slow in pairs]


def ours(specs: list[Spec], bars: Bars, n_threads: int) -> FloatArray:
    """Return what the engine makes of the strategies."""
    return scored(specs, bars, TERMS, n_threads)


def vectorbt_signals(
    bars: Bars,
    pairs: list[tuple[int, int]] = PAIRS,
    timeframe: str = "15m",
    *,
    whole: bool = True,
) -> FloatArray:
    """Return what vectorbt makes of the pairs: a signal at the close is an order at the next bar's open.

    vectorbt gets a tz-naive index and few columns at once, without which it looks 2.5 times slower than
    it is. `whole` asks for Sharpe ratio and drawdown too; without it their columns are NaN.
    """
    import pandas as pd

    index, width = pd.to_datetime(bars.time, unit="ms"), chunk(bars.n)
    close = pd.Series(bars.close, index=index)
    means = {
        window: close.rolling(window).mean().to_numpy() for window in {w for pair in pairs for w in pair}
    }
    parts = [
        _portfolio(bars, index, means, pairs[first : first + width], timeframe, whole)
        for first in range(0, len(pairs), width)
    ]
    return np.concatenate(parts)


def _portfolio(
    bars: Bars,
    index: Any,
    means: dict[int, FloatArray],
    pairs: list[tuple[int, int]],
    timeframe: str,
    whole: bool,
) -> FloatArray:
    import pandas as pd
    import vectorbt as vbt

    above, below = _crossings(
        np.column_stack([means[fast] for fast, _ in pairs]),
        np.column_stack([means[slow] for _, slow in pairs]),
    )
    portfolio = vbt.Portfolio.from_signals(
        pd.DataFrame(np.repeat(bars.close[:, None], len(pairs), 1), index=index),
        above,
        below,
        price=np.repeat(bars.open[:, None], len(pairs), 1),
        fees=TERMS.fee,
        slippage=TERMS.slippage,
        init_cash=_CASH,
        freq=pd.Timedelta(milliseconds=timeframe_ms(timeframe)),
    )
    out = np.full((len(pairs), 3), np.nan)
    out[:, 0] = portfolio.final_value().to_numpy() / _CASH
    if whole:
        out[:, 1] = portfolio.sharpe_ratio(year_freq="365 days").to_numpy()
        out[:, 2] = -portfolio.max_drawdown().to_numpy()
    return out


def _crossings(fast: FloatArray, slow: FloatArray) -> tuple[Any, Any]:
    """Return where an order is filled: on the bar after that at whose close the averages crossed."""
    above, below = np.zeros(fast.shape, bool), np.zeros(fast.shape, bool)
    above[2:] = (fast[1:-1] > slow[1:-1]) & (fast[:-2] <= slow[:-2])
    below[2:] = (fast[1:-1] < slow[1:-1]) & (fast[:-2] >= slow[:-2])
    return above, below
