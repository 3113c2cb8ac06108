"""What a run was worth: accumulated on the way, so that memory does not grow with the bars.

Returns are per base bar, of equity; a year has 365 days. Rates are annualised by the grid.
"""

from __future__ import annotations

import math
from typing import Final

from research_lab.engine import layout
from research_lab.engine.jit import FloatArray, inlined_kernel, kernel

YEAR_MS: Final = 365 * 86_400_000
DAY_MS: Final = 86_400_000

# Accumulators over equity, in place. Sums of returns are kept in lanes, bar i in lane i mod LANES: the order of
# additions depends on the bars only, any cut into blocks gives the same bits, and lanes are added side by side.
N: Final = 0
PEAK: Final = 1
TROUGH: Final = 2  # lowest value since the peak
DEEPEST: Final = 3
UNDER_WATER: Final = 4
LONGEST: Final = 5
LAST: Final = 6
FIRST: Final = 7
LANES: Final = 64
SUM: Final = 8
SUM_SQUARES: Final = SUM + LANES
SUM_DOWN: Final = SUM_SQUARES + LANES
SIZE: Final = SUM_DOWN + LANES

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
    accumulators[TROUGH] = cash
    accumulators[LAST] = cash
    accumulators[FIRST] = cash


@kernel
def accumulate(accumulators: FloatArray, equity: FloatArray) -> None:
    """Add the equity after each bar of one block, the whole of it."""
    n = equity.shape[0]
    if n == 0:
        return
    lane = int(accumulators[N]) % LANES
    # the first bar's return is against the last bar of the block before
    last = accumulators[LAST]
    _add_return(accumulators, lane, equity[0], last)
    _add_records(accumulators, equity[:1])
    lane = (lane + 1) % LANES
    t = 1
    while t < n:
        end = min(t + LANES - lane, n)
        worth, before = equity[t:end], equity[t - 1 : end - 1]
        peak, trough = accumulators[PEAK], accumulators[TROUGH]
        n_moved = 0
        n_peaks = 0
        n_troughs = 0
        for k in range(worth.shape[0]):
            n_moved += 1 if worth[k] != before[k] else 0
            n_peaks += 1 if worth[k] >= peak else 0
            n_troughs += 1 if worth[k] < trough else 0
        if n_moved > 0:
            _add_returns(
                accumulators[SUM + lane : SUM_SQUARES],
                accumulators[SUM_SQUARES + lane : SUM_DOWN],
                accumulators[SUM_DOWN + lane : SIZE],
                worth,
                before,
            )
        if n_peaks == 0:
            accumulators[UNDER_WATER] += worth.shape[0]
            if n_troughs > 0:
                _add_trough(accumulators, worth)
        elif n_moved > 0 or before[0] < peak:
            _add_records(accumulators, worth)
        lane = 0
        t = end
    accumulators[LONGEST] = max(accumulators[LONGEST], accumulators[UNDER_WATER])
    accumulators[LAST] = equity[n - 1]
    accumulators[N] += n


@inlined_kernel
def _add_return(accumulators: FloatArray, lane: int, worth: float, last: float) -> None:
    change = worth / last - 1.0 if last > 0.0 else 0.0
    square = change * change
    accumulators[SUM + lane] += change
    accumulators[SUM_SQUARES + lane] += square
    accumulators[SUM_DOWN + lane] += square if change < 0.0 else 0.0


@inlined_kernel
def _add_returns(
    total: FloatArray, squares: FloatArray, down: FloatArray, worth: FloatArray, last: FloatArray
) -> None:
    for k in range(worth.shape[0]):
        change = worth[k] / last[k] - 1.0 if last[k] > 0.0 else 0.0
        square = change * change
        total[k] += change
        squares[k] += square
        down[k] += square if change < 0.0 else 0.0


@inlined_kernel
def _add_trough(accumulators: FloatArray, worth: FloatArray) -> None:
    """Add bars with new lows and no new peak: the lowest is the deepest of them."""
    lowest = accumulators[TROUGH]
    for k in range(worth.shape[0]):
        lowest = worth[k] if worth[k] < lowest else lowest
    accumulators[TROUGH] = lowest
    accumulators[DEEPEST] = max(accumulators[DEEPEST], 1.0 - lowest / accumulators[PEAK])


@inlined_kernel
def _add_records(accumulators: FloatArray, worth: FloatArray) -> None:
    """Add bars with a new peak, or a new low since the peak."""
    peak, trough = accumulators[PEAK], accumulators[TROUGH]
    under, longest, deepest = accumulators[UNDER_WATER], accumulators[LONGEST], accumulators[DEEPEST]
    for k in range(worth.shape[0]):
        value = worth[k]
        if value >= peak:
            peak = value
            trough = value
            longest = max(longest, under)
            under = 0.0
            continue
        under += 1.0
        if value < trough:
            trough = value
            deepest = max(deepest, 1.0 - trough / peak)
    accumulators[PEAK] = peak
    accumulators[TROUGH] = trough
    accumulators[UNDER_WATER] = under
    accumulators[LONGEST] = longest
    accumulators[DEEPEST] = deepest


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
    mean = _total(accumulators[SUM:SUM_SQUARES]) / n if n > 0.0 else math.nan
    variance = math.nan
    if n > 1.0:
        variance = (_total(accumulators[SUM_SQUARES:SUM_DOWN]) - n * mean * mean) / (n - 1.0)
    growth = accumulators[LAST] / accumulators[FIRST]
    deepest = accumulators[DEEPEST]
    trades = book[layout.TRADES]
    out[0] = growth - 1.0
    out[1] = mean / math.sqrt(variance) * math.sqrt(bars_a_year) if variance > 0.0 else math.nan
    downside = _total(accumulators[SUM_DOWN:SIZE]) / n if n > 0.0 else 0.0
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
    out[9] = book[layout.BARS_IN_POSITION] / n if n > 0.0 else math.nan
    out[10] = book[layout.TURNOVER] / years if years > 0.0 else math.nan
    out[11] = trades
    out[12] = years


@inlined_kernel
def _total(lanes: FloatArray) -> float:
    total = 0.0
    for k in range(lanes.shape[0]):
        total += lanes[k]
    return total
