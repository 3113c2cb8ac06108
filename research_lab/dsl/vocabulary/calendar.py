"""The calendar, UTC: what the clock says when a bar closes and a decision falls."""

from __future__ import annotations

from research_lab.dsl.dimensions import RATIO
from research_lab.dsl.function import Function, always
from research_lab.engine import clock
from research_lab.engine import program as engine


def _hand(name: str, meaning: str, hand: int) -> Function:
    return Function(name, meaning, (), always(RATIO), engine.CLOCK, reads=("closing_time",),
                    constant=lambda n, share: float(hand))  # fmt: skip


FUNCTIONS = (
    _hand("hour", "hour of the bar's close, UTC, 0 to 23", clock.HOUR),
    _hand("weekday", "day of the bar's close, UTC: 0 on Monday to 6 on Sunday", clock.WEEKDAY),
    _hand("day_of_month", "day of the month of the bar's close, UTC, 1 to 31", clock.DAY_OF_MONTH),
    _hand("minutes_to_funding", "minutes from the bar's close to the next funding after it, at 0, 8 or 16 UTC: "
          "480 at a funding", clock.MINUTES_TO_FUNDING),
)  # fmt: skip
