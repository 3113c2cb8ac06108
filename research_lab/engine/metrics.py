"""What a run was worth: accumulated on the way, so that memory does not grow with the bars.

Returns are per base bar, of equity; a year has 365 days. Rates are annualised by the grid.
"""

from __future__ import annotations

import math
from typing import Final

from research_lab.engine import layout
from research_lab.engine.jit import FloatArray, IntArray, kernel

YEAR_MS: Final = 365 * 86_400_000
DAY_MS: Final = 86_400_000

# Accumulators over equity, in place, zeros at the first bar.
N: Final = 0
SUM: Final = 1
SUM_SQUARES: Final = 2
SUM_DOWN: Final = 3
PEAK: Final = 4
DEEPEST: Final = 5
UNDER_WATER: Final = 6
LONGEST: Final = 7
EXPOSED: Final = 8
LAST: Final = 9
FIRST: Final = 10
SIZE: Final = 11

NAMES: Final = (
    "return",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "max_drawdown_bars",
    "profit_factor",
    "expectancy_r",
    "win_rate",
    "exposure",
    "turnover",
    "n_trades",
    "years",
)


@kernel
def begin(accumulators: FloatArray, cash: float) -> None:
    """Set the accumulators before the first bar of a run that starts with `cash`."""
    accumulators[:] = 0.0
    accumulators[PEAK] = cash
    accumulators[LAST] = cash
    accumulators[FIRST] = cash


@kernel
def accumulate(
    accumulators: FloatArray, equity: FloatArray, position: FloatArray, first: int, n: int
) -> None:
    """Add the bars from `first` to before `n` of one block."""
    total = accumulators[SUM]
    squares = accumulators[SUM_SQUARES]
    down = accumulators[SUM_DOWN]
    peak = accumulators[PEAK]
    deepest = accumulators[DEEPEST]
    under = accumulators[UNDER_WATER]
    longest = accumulators[LONGEST]
    exposed = accumulators[EXPOSED]
    last = accumulators[LAST]
    for t in range(first, n):
        worth = equity[t]
        if position[t] != 0.0:
            exposed += 1.0
        if worth != last:
            change = worth / last - 1.0 if last > 0.0 else 0.0
            total += change
            squares += change * change
            if change < 0.0:
                down += change * change
            last = worth
        if worth >= peak:
            peak = worth
            under = 0.0
        else:
            under += 1.0
            longest = max(longest, under)
            deepest = max(deepest, 1.0 - worth / peak)
    accumulators[N] += max(n - first, 0)
    accumulators[SUM] = total
    accumulators[SUM_SQUARES] = squares
    accumulators[SUM_DOWN] = down
    accumulators[PEAK] = peak
    accumulators[DEEPEST] = deepest
    accumulators[UNDER_WATER] = under
    accumulators[LONGEST] = longest
    accumulators[EXPOSED] = exposed
    accumulators[LAST] = last


@kernel
def daily(time: IntArray, equity: FloatArray, first: int, n: int, first_day: int, out: FloatArray) -> None:
    """Write the equity at the last close of each UTC day; a bar belongs to the day it opens in.

    Parameters
    ----------
    out : (n_days,) in place, from `first_day` (days since 1970) on; a day without a bar is left.
    """
    t = first
    while t < n:
        day = time[t] // DAY_MS
        next_day = (day + 1) * DAY_MS
        while t + 1 < n and time[t + 1] < next_day:
            t += 1
        out[day - first_day] = equity[t]
        t += 1


@kernel
def summarise(accumulators: FloatArray, book: FloatArray, base_ms: int, out: FloatArray) -> None:
    """Write the metrics in the order of `NAMES`.

    Sharpe: mean over standard deviation (n - 1) of returns per base bar, times the square root of the
    bars in a year; without a risk-free rate. Sortino: the same over the root mean square of losses.
    Calmar: compound annual return over the deepest drawdown. Profit factor: gains over losses of
    finished trades. Turnover: notional traded over equity, a year. What has no value is NaN.

    Source: William Sharpe (1994), The Sharpe Ratio; Frank Sortino and Lee Price (1994), Performance
    Measurement in a Downside Risk Framework.
    """
    n = accumulators[N]
    bars_a_year = YEAR_MS / base_ms
    years = n / bars_a_year
    mean = accumulators[SUM] / n if n > 0.0 else math.nan
    variance = math.nan
    if n > 1.0:
        variance = (accumulators[SUM_SQUARES] - n * mean * mean) / (n - 1.0)
    growth = accumulators[LAST] / accumulators[FIRST]
    deepest = accumulators[DEEPEST]
    trades = book[layout.TRADES]
    out[0] = growth - 1.0
    out[1] = mean / math.sqrt(variance) * math.sqrt(bars_a_year) if variance > 0.0 else math.nan
    downside = accumulators[SUM_DOWN] / n if n > 0.0 else 0.0
    out[2] = mean / math.sqrt(downside) * math.sqrt(bars_a_year) if downside > 0.0 else math.nan
    out[3] = math.nan
    if deepest > 0.0 and growth > 0.0 and years > 0.0:
        out[3] = (math.exp(math.log(growth) / years) - 1.0) / deepest
    out[4] = deepest
    out[5] = accumulators[LONGEST]
    out[6] = book[layout.PROFIT] / book[layout.LOSS] if book[layout.LOSS] > 0.0 else math.nan
    out[7] = math.nan
    if book[layout.TRADES_WITH_R] > 0.0:
        out[7] = book[layout.SUM_R] / book[layout.TRADES_WITH_R]
    out[8] = book[layout.WINS] / trades if trades > 0.0 else math.nan
    out[9] = accumulators[EXPOSED] / n if n > 0.0 else math.nan
    out[10] = book[layout.TURNOVER] / years if years > 0.0 else math.nan
    out[11] = trades
    out[12] = years
