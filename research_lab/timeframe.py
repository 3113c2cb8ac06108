"""Timeframes and times: names, lengths in milliseconds, the grid on which bars open."""

from __future__ import annotations

import re

import numpy as np

from research_lab.errors import UsageError

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
YEAR_MS = 365 * DAY_MS
LATEST_MS = 253_402_300_800_000  # the year 10000, which no calendar here can tell

_UNITS = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": WEEK_MS}
_FIRST_MONDAY_MS = 4 * DAY_MS  # 1970-01-05
TIMEFRAME_PATTERN = "([1-9][0-9]{0,3})([mhdw])"
_TIMEFRAME = re.compile(TIMEFRAME_PATTERN, re.ASCII)


def timeframe_ms(name: str) -> int:
    """Return a timeframe's length in milliseconds.

    Parameters
    ----------
    name : a whole number and m, h, d or w: "15m", "4h", "1d", "1w".

    Raises
    ------
    UsageError
        When the text is anything else.

    Examples
    --------
    >>> timeframe_ms("4h")
    14400000
    """
    found = _TIMEFRAME.fullmatch(name)
    if found is None:
        raise UsageError(
            f"{name!r} is no timeframe", remedy="write a number and m, h, d or w, such as 15m, 4h, 1d"
        )
    return int(found[1]) * _UNITS[found[2]]


def timeframe_name(ms: int) -> str:
    """Return the shortest name of a timeframe of `ms` milliseconds, a whole number of minutes.

    Examples
    --------
    >>> timeframe_name(14_400_000), timeframe_name(604_800_000), timeframe_name(5_400_000)
    ('4h', '1w', '90m')
    """
    for unit in ("w", "d", "h", "m"):
        if ms > 0 and ms % _UNITS[unit] == 0:
            return f"{ms // _UNITS[unit]}{unit}"
    raise UsageError(f"{ms} ms is no timeframe", remedy="use a whole number of minutes")


def grid_origin_ms(step_ms: int) -> int:
    """Return an opening time of the grid: the epoch, or for whole weeks its first Monday."""
    return _FIRST_MONDAY_MS if step_ms % WEEK_MS == 0 else 0


def is_made_of(step_ms: int, base_ms: int) -> bool:
    """Whether each bar of one timeframe is a whole number of bars of another, border on border.

    Examples
    --------
    >>> is_made_of(4 * HOUR_MS, HOUR_MS), is_made_of(HOUR_MS, 4 * HOUR_MS), is_made_of(5 * WEEK_MS, 5 * DAY_MS)
    (True, False, False)
    """
    shift = grid_origin_ms(step_ms) - grid_origin_ms(base_ms)
    return step_ms % base_ms == 0 and shift % base_ms == 0


def utc(ms: int) -> str:
    """Return a time as ISO text, such as "2018-02-08T00:00:00Z"."""
    unit = "ms" if ms % 1000 else "s"
    return f"{np.datetime64(int(ms), 'ms').astype(f'datetime64[{unit}]')}Z"
