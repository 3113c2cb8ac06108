"""Confidence intervals of Sharpe ratio, return and drawdown by the stationary bootstrap of daily returns.

Source: Dimitris Politis and Joseph Romano (1994), The Stationary Bootstrap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from research_lab.engine.jit import FloatArray, IntArray
from research_lab.errors import InsufficientError
from research_lab.scoring.scorer import DAYS_A_YEAR
from research_lab.validation.block_bootstrap import default_block_length

LEVEL: Final = 0.95
N_DRAWS: Final = 1_000
LEAST_DAYS: Final = 60
_CELLS: Final = 2_000_000  # days of all draws held at a time


@dataclass(frozen=True)
class Interval:
    """Two-sided interval: that share of the resampled histories lies inside."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Intervals of the annual Sharpe ratio, the return over all days, and the deepest drawdown."""

    sharpe: Interval
    total_return: Interval
    max_drawdown: Interval


def stationary_indices(n: int, n_draws: int, mean_length: float, rng: np.random.Generator) -> IntArray:
    """Return (n_draws, n) days: blocks that begin anywhere and end each day with chance 1 / mean_length.

    Days follow on in a circle: behind the last comes the first.
    """
    begins = rng.random((n_draws, n)) < 1.0 / mean_length
    begins[:, 0] = True
    place = np.arange(n)
    begun_at = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    starts = rng.integers(0, n, (n_draws, n))
    days: IntArray = (np.take_along_axis(starts, begun_at, axis=1) + place - begun_at) % n
    return days


def intervals(daily: FloatArray, *, seed: int, n_draws: int = N_DRAWS, level: float = LEVEL) -> Intervals:
    """Return percentile intervals of what daily returns are worth.

    Parameters
    ----------
    daily : (n_days,) fractions. level : share inside each interval, half of the rest on either side.

    Raises
    ------
    InsufficientError
        There are fewer than 60 days, or nothing moved.
    """
    n = daily.shape[0]
    if n < LEAST_DAYS or daily.std() == 0.0:
        raise InsufficientError(f"{n} days, or none that moved, give no interval", remedy="bring more data")
    rng = np.random.default_rng(seed)
    length = float(default_block_length(n))
    found = []
    for first in range(0, n_draws, max(1, _CELLS // n)):
        part = min(max(1, _CELLS // n), n_draws - first)
        found.append(_worth(daily[stationary_indices(n, part, length, rng)]))
    low, high = np.nanquantile(np.concatenate(found), ((1.0 - level) / 2.0, (1.0 + level) / 2.0), axis=0)
    return Intervals(*(Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)))


def _worth(histories: FloatArray) -> FloatArray:
    """Return (n_draws, 3): annual Sharpe ratio, total return, deepest drawdown of each history."""
    deviation = histories.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpe = histories.mean(axis=1) / deviation * math.sqrt(DAYS_A_YEAR)
    equity = np.multiply.accumulate(1.0 + histories, axis=1)
    peak = np.maximum(np.maximum.accumulate(equity, axis=1), 1.0)
    return np.column_stack([sharpe, equity[:, -1] - 1.0, (1.0 - equity / peak).max(axis=1)])
