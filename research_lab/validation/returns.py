"""Returns a base bar, and what they are worth a year; a run that has ended returns nothing more."""

from __future__ import annotations

import math

import numpy as np

from research_lab.engine.jit import FloatArray
from research_lab.timeframe import YEAR_MS


def bar_returns(equity: FloatArray) -> FloatArray:
    """Return each bar's return, the first against a capital of 1; 0 once the equity is at or below zero.

    Examples
    --------
    >>> bar_returns(np.array([1.5, 0.75, 0.0, 0.0])).tolist()
    [0.5, -0.5, -1.0, 0.0]
    """
    before = np.concatenate([[1.0], equity[:-1]])
    returns: FloatArray = np.where(before > 0.0, equity / np.where(before > 0.0, before, 1.0) - 1.0, 0.0)
    return returns


def compound(returns: FloatArray) -> float:
    """Return what returns come to, one after the other: 0.1 and 0.1 to 0.21; 0 for none."""
    return float(np.prod(1.0 + returns)) - 1.0


def annual_sharpe(returns: FloatArray, step_ms: int) -> float:
    """Return mean over deviation (n - 1) of returns a bar, times the root of the bars in a year of 365 days.

    NaN when nothing moves.
    """
    deviation = float(returns.std(ddof=1)) if returns.shape[0] > 1 else 0.0
    return float(returns.mean()) / deviation * math.sqrt(YEAR_MS / step_ms) if deviation > 0 else math.nan
