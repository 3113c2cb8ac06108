"""What the statistics of the language mean, in plain NumPy: one window of known values at a time.

Inputs, unknown bars and windows are those of `indicators`; a function of two series drops the bars on which
either is unknown. A window of one value has no deviation, and what would divide by that is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.oracles.indicators import FloatArray, Oracle, finite, on_valid_bars, prev, rolling

NAN = math.nan


def rolling_pairs(statistic: Callable[..., float]) -> Oracle:
    """Return the function that applies a statistic to the last n bars on which two series are known."""

    def windows(a: FloatArray, b: FloatArray, n: int) -> FloatArray:
        out = np.full(len(a), NAN)
        for i in range(n - 1, len(a)):
            out[i] = statistic(a[i - n + 1 : i + 1], b[i - n + 1 : i + 1])
        return out

    return on_valid_bars(windows, 2)


def off_mean(window: FloatArray) -> FloatArray:
    """Return the deviations from the mean; exactly 0 for a window of one value."""
    shifted = window - window[-1]
    return np.asarray(shifted - shifted.mean(), dtype=np.float64)


def ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator != 0.0 else NAN


def weighted_mean(window: FloatArray) -> float:
    weights = np.arange(1.0, len(window) + 1.0)
    return float((window * weights).sum() / weights.sum())


wma = rolling(weighted_mean)


def hma(x: FloatArray, n: int) -> FloatArray:
    """Return Hull's average of averages."""
    return wma(2.0 * wma(x, n // 2) - wma(x, n), math.isqrt(n))


def kama_of_valid(x: FloatArray, n: int) -> FloatArray:
    """Return Kaufman's average, from the value before the first efficiency."""
    out = np.full(len(x), NAN)
    for i in range(n, len(x)):
        steps = np.abs(np.diff(x[i - n : i + 1]))
        efficiency = abs(x[i] - x[i - n]) / steps.sum() if steps.any() else 1.0
        weight = (efficiency * (2 / 3 - 2 / 31) + 2 / 31) ** 2
        before = out[i - 1] if i > n else x[i - 1]
        out[i] = before + weight * (x[i] - before)
    return out


def vwma_of_valid(x: FloatArray, volume: FloatArray, n: int) -> FloatArray:
    out = np.full(len(x), NAN)
    for i in range(n - 1, len(x)):
        weights = volume[i - n + 1 : i + 1]
        out[i] = ratio((x[i - n + 1 : i + 1] * weights).sum(), weights.sum())
    return out


def ewm_std_of_valid(x: FloatArray, n: int) -> FloatArray:
    """Return the deviation under weights written out: (1 - a) ** age, times a but for the oldest."""
    out = np.full(len(x), NAN)
    a = 2.0 / (n + 1.0)
    for i in range(n - 1, len(x)):
        weights = a * (1.0 - a) ** np.arange(i, -1, -1.0)
        weights[0] = (1.0 - a) ** i
        shifted = x[: i + 1] - x[i]
        mean = (weights * shifted).sum()
        out[i] = math.sqrt((weights * (shifted - mean) ** 2).sum())
    return out


def known_logarithm(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    out = np.full(len(numerator), NAN)
    for i, (top, bottom) in enumerate(zip(numerator, denominator, strict=True)):
        if math.isfinite(top) and math.isfinite(bottom):
            out[i] = math.log(top / bottom)
    return out


def root_of_mean(squares: FloatArray, n: int) -> FloatArray:
    return finite(np.sqrt(rolling(np.mean)(squares, n)))


def realised_vol(close: FloatArray, n: int) -> FloatArray:
    return root_of_mean(known_logarithm(close, prev(close, 1)) ** 2, n)


def parkinson_vol(high: FloatArray, low: FloatArray, n: int) -> FloatArray:
    return root_of_mean(known_logarithm(high, low) ** 2 / (4.0 * math.log(2.0)), n)


def garman_klass_vol(
    open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, n: int
) -> FloatArray:
    body = known_logarithm(close, open_)
    return root_of_mean(known_logarithm(high, low) ** 2 / 2.0 - (2.0 * math.log(2.0) - 1.0) * body**2, n)


def mean_rank(window: FloatArray) -> float:
    """Return the mean place, from 1, that the last value and its equals have in order, over the count."""
    places = np.flatnonzero(np.sort(window) == window[-1]) + 1.0
    return float(places.mean() / len(window))


def skewness(window: FloatArray) -> float:
    off = off_mean(window)
    return ratio((off**3).mean(), (off**2).mean() ** 1.5)


def fitted(window: FloatArray) -> tuple[float, float]:
    """Return the least-squares line of a window at its first and last value."""
    places = off_mean(np.arange(len(window), dtype=np.float64))
    line = (
        window[-1]
        + (window - window[-1]).mean()
        + places * (places * off_mean(window)).sum() / (places**2).sum()
    )
    return float(line[0]), float(line[-1])


def correlated(a: FloatArray, b: FloatArray) -> float:
    a, b = off_mean(a), off_mean(b)
    return ratio((a * b).sum(), math.sqrt((a * a).sum()) * math.sqrt((b * b).sum()))


def count(condition: FloatArray, n: int) -> FloatArray:
    """Return how many of the last n known conditions were true."""
    return rolling(lambda window: float((window == 1.0).sum()))(condition, n)


ORACLES: dict[str, Oracle] = {
    "wma": wma,
    "hma": hma,
    "kama": on_valid_bars(kama_of_valid, 1),
    "vwma": on_valid_bars(vwma_of_valid, 2),
    "var": rolling(lambda window: float((off_mean(window) ** 2).mean())),
    "zscore": rolling(
        lambda window: ratio(off_mean(window)[-1], float(np.sqrt((off_mean(window) ** 2).mean())))
    ),
    "mad": rolling(lambda window: float(np.abs(off_mean(window)).mean())),
    "ewm_std": on_valid_bars(ewm_std_of_valid, 1),
    "realised_vol": realised_vol,
    "parkinson_vol": parkinson_vol,
    "garman_klass_vol": garman_klass_vol,
    "bars_since_highest": rolling(lambda window: float(np.argmax(window[::-1]))),
    "bars_since_lowest": rolling(lambda window: float(np.argmin(window[::-1]))),
    "median": rolling(np.median),
    "rank": rolling(mean_rank),
    "linreg": rolling(lambda window: fitted(window)[1]),
    "intercept": rolling(lambda window: fitted(window)[0]),
    "r2": rolling(lambda window: correlated(window, np.arange(len(window), dtype=np.float64)) ** 2),
    "skew": rolling(skewness),
    "covariance": rolling_pairs(lambda a, b: float((off_mean(a) * off_mean(b)).mean())),
    "correlation": rolling_pairs(correlated),
    "beta": rolling_pairs(lambda a, b: ratio((off_mean(a) * off_mean(b)).sum(), (off_mean(b) ** 2).sum())),
    "count": count,
}
