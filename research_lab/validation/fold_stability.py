"""Whether what tuning finds lasts: how far parameters wander, whether ranks persist, whether returns decay."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from research_lab.dsl.spec import Param
from research_lab.engine.jit import FloatArray
from research_lab.scoring.scorer import DAYS_A_YEAR


def parameter_drift(params: Mapping[str, Param], chosen: Sequence[Mapping[str, float]]) -> float:
    """Return how far parameters move from fold to fold, as a share of their ranges.

    The mean over neighbouring folds and parameters of |x - y| / (high - low): 0 when tuning always finds the
    same, 1/3 for values drawn evenly at random. NaN without parameters that can move, or with one fold.

    Examples
    --------
    >>> parameter_drift({"n": Param(0, 10, 5, 5)}, [{"n": 0}, {"n": 5}, {"n": 5}])
    0.25
    """
    moves = [
        abs(before[name] - after[name]) / (param.high - param.low)
        for before, after in itertools.pairwise(chosen)
        for name, param in params.items()
        if param.high > param.low
    ]
    return math.fsum(moves) / len(moves) if moves else math.nan


def rank_correlation(inside: FloatArray, outside: FloatArray) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; NaN below three pairs or without order.

    Sets that never moved, on either side, are left out (NaN).
    """
    from scipy.stats import rankdata

    known = np.isfinite(inside) & np.isfinite(outside)
    if known.sum() < 3:
        return math.nan
    a, b = (rankdata(x[known]) for x in (inside, outside))
    if a.std() == 0.0 or b.std() == 0.0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def decay(daily: FloatArray, days: FloatArray) -> tuple[float, float]:
    """Return how the Sharpe ratio changes with time, and the standard error of that.

    The slope of a least-squares line through the daily returns, each over the deviation of all of them and
    times sqrt(365), against time in years: annual Sharpe ratio a year. The error allows for returns that
    depend on each other over the cube root of the number of days, with Bartlett weights.

    Parameters
    ----------
    daily, days : (n_days,) returns, and the time of each, days. NaN, NaN when nothing moves.

    Source: Whitney Newey and Kenneth West (1987), A Simple, Positive Semi-Definite, Heteroskedasticity and
    Autocorrelation Consistent Covariance Matrix.
    """
    n = daily.shape[0]
    if n < 3 or daily.std() == 0.0 or np.ptp(days) == 0.0:
        return math.nan, math.nan
    x = (days - days.mean()) / DAYS_A_YEAR
    y = daily / daily.std(ddof=1) * math.sqrt(DAYS_A_YEAR)
    spread = float(x @ x)
    slope = float(x @ y) / spread
    moments = x * (y - y.mean() - slope * x)
    lag = math.ceil(math.cbrt(n))
    variance = float(moments @ moments)
    for k in range(1, lag + 1):
        variance += 2.0 * (1.0 - k / (lag + 1)) * float(moments[k:] @ moments[:-k])
    return slope, math.sqrt(max(variance, 0.0)) / spread
