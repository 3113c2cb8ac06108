"""What the clock says at a moment, UTC: hour, day, and the time left to a funding."""

from __future__ import annotations

import math
from typing import Final

from research_lab.engine.jit import FloatArray, kernel

HOUR: Final = 0
WEEKDAY: Final = 1
DAY_OF_MONTH: Final = 2
MINUTES_TO_FUNDING: Final = 3

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
FUNDING_MS = 8 * HOUR_MS


@kernel
def clock(time: FloatArray, out: FloatArray, hand: int) -> None:
    """Write what one hand of the clock shows.

    Parameters
    ----------
    time : ms since 1970, UTC, one block.
    out : hours 0 to 23; days 0 to 6 from Monday; days 1 to 31; or minutes above 0 up to 480.
    hand : `HOUR`, `WEEKDAY`, `DAY_OF_MONTH` or `MINUTES_TO_FUNDING`.
    """
    for t in range(time.shape[0]):
        if not math.isfinite(time[t]):
            out[t] = math.nan
            continue
        now = int(time[t])
        if hand == HOUR:
            out[t] = now % DAY_MS // HOUR_MS
        elif hand == WEEKDAY:
            out[t] = (now // DAY_MS + 3) % 7
        elif hand == DAY_OF_MONTH:
            out[t] = _day_of_month(now // DAY_MS)
        else:
            out[t] = (FUNDING_MS - now % FUNDING_MS) / 60_000.0


@kernel
def _day_of_month(day: int) -> int:
    """Return the day of the month, 1 to 31, of a day counted from 1970-01-01.

    Source: Howard Hinnant (2013), chrono-Compatible Low-Level Date Algorithms, civil_from_days: days are
    counted from a 1 March, so that a leap day is the last of its year.
    """
    of_era = (day + 719_468) % 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    return of_year - (153 * month + 2) // 5 + 1
