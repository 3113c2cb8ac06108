"""Has a promoted edge died? A detector whose false alarms are rare by construction, however often one looks.

Each day's return is held against what was promised. While the promise is kept, each day's factor has a mean of at
most one, whatever the shape of the returns, so that the detector reaches a threshold A by mistake once in A days
or less often on average. For a promised Sharpe ratio of 3 a year of which half must be kept, and A = 1,000, an edge
that is gone is found after 11 months in the median, and one that lives as promised is accused once in 14 years
(simulated, normal returns): slow, but a rule that errs as rarely is hardly faster.

Source: J. Shin, A. Ramdas, A. Rinaldo (2023), E-detectors: a Nonparametric Framework for Sequential Change
Detection; A. Shiryaev (1963), On Optimum Methods in Quickest Detection Problems.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from research_lab.bars import FloatArray
from research_lab.engine.jit import kernel
from research_lab.errors import UsageError

WINSOR: Final = 4.0  # deviations: one wild day neither raises nor clears an alarm
KEPT: Final = 0.5  # share of the promised mean below which the promise is broken
ALARM: Final = 1_000.0  # mean days between false alarms, at least


def e_detector(daily: FloatArray, promised: FloatArray, kept: float = KEPT) -> FloatArray:
    """Return the detector after each day: M = (1 + M) max(0, 1 + w (kept s - z)).

    z is the day's return over the deviation of what was promised, cut at 4; s the mean of the promised days' own z;
    w = kept s, which is about the best stake when the edge is gone.

    Parameters
    ----------
    daily : array of shape (n,), returns since the promotion. promised : daily returns that it rested on.
    kept : share of the promised mean that still counts as kept, in (0, 1].

    Returns
    -------
    Array of shape (n,), at least 0; an alarm is the first day on which it reaches `ALARM`.

    Raises
    ------
    UsageError
        `promised` has fewer than 60 days, does not vary, or promised nothing above zero.
    """
    if not 0.0 < kept <= 1.0:
        raise UsageError(f"a share of {kept} kept", remedy="give one in (0, 1]")
    deviation = float(promised.std(ddof=1)) if promised.shape[0] >= 60 else math.nan
    if not deviation > 0.0 or not np.isfinite(promised).all() or not np.isfinite(daily).all():
        raise UsageError("no promise to be held against", remedy="give 60 finite daily returns that vary")
    wanted = kept * float(_scores(promised, deviation).mean())
    if not wanted > 0.0:
        raise UsageError("the promised mean is not above zero", remedy="such a strategy cannot decay")
    out = np.empty(daily.shape[0])
    _detect(_scores(daily, deviation), wanted, out)
    return out


def first_alarm(detector: FloatArray, alarm: float = ALARM) -> int | None:
    """Return the days until the detector reached the threshold, counted from 1; None when it did not."""
    reached = np.flatnonzero(detector >= alarm)
    return int(reached[0]) + 1 if reached.size else None


def _scores(daily: FloatArray, deviation: float) -> FloatArray:
    found: FloatArray = np.clip(daily / deviation, -WINSOR, WINSOR)
    return found


@kernel
def _detect(scores: FloatArray, wanted: float, out: FloatArray) -> None:
    stake = min(wanted, 0.5 / (WINSOR + wanted))
    value = 0.0
    for t in range(scores.shape[0]):
        value = (1.0 + value) * max(0.0, 1.0 + stake * (wanted - scores[t]))
        out[t] = value
