"""Sums that grow: over the whole run, and over a day. Compensated (Neumaier) as in `averages`."""

from __future__ import annotations

import math

from research_lab.engine.averages import compensated_add
from research_lab.engine.jit import FloatArray, kernel
from research_lab.engine.pointwise import known

NAN = math.nan
DAY_MS = 86_400_000.0


@kernel
def running_sum(state: FloatArray, x: FloatArray, out: FloatArray) -> None:
    """Sum of all known values so far; NaN where the value is unknown. State: sum, compensation."""
    for t in range(x.shape[0]):
        if not math.isfinite(x[t]):
            out[t] = NAN
            continue
        compensated_add(state, 0, x[t])
        out[t] = known(state[0] + state[1])


@kernel
def day_sum(state: FloatArray, x: FloatArray, opening_time: FloatArray, out: FloatArray) -> None:
    """Sum of the known values since midnight UTC; a bar belongs to the day in which it opens.

    A day of which the first bar seen opens after midnight is whole when a bar of a day before was seen:
    what is missing then is a gap.

    Parameters
    ----------
    state : 4 cells: sum, compensation, 1 + the day's number (0 before the first), 1 while the day is
        whole. In place.
    x, out : one block. Unit kept. NaN where the value is unknown, and until a whole day begins.
    opening_time : ms since 1970, UTC.
    """
    for t in range(x.shape[0]):
        day = 1.0 + math.floor(opening_time[t] / DAY_MS)
        if day != state[2]:
            at_midnight = (day - 1.0) * DAY_MS == opening_time[t]
            state[3] = 1.0 if at_midnight or state[2] != 0.0 else 0.0
            state[2] = day
            state[0] = 0.0
            state[1] = 0.0
        if not math.isfinite(x[t]):
            out[t] = NAN
            continue
        compensated_add(state, 0, x[t])
        out[t] = known(state[0] + state[1]) if state[3] == 1.0 else NAN
