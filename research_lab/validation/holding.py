"""How long trades are held, and what follows from it: how far an exam must lie from what was tuned on.

A trade entered in-sample carries its result into the days after. So that it cannot overlap the exam:

- *Purge*, before the border: in-sample days end as many days before it as 95 % of the trades are held that the
  strategy as written made before the first border, at least the policy's number. The longest trade does not
  size it: one position held through a quiet summer would cost every fold a summer. What it leaves is met by
- *Embargo*, after the border: the exam of a fold begins with the first day after every trade is closed that
  its tuned parameters decided in-sample, at least the policy's number of days behind the border.

Until then the account trades by the parameters before; see `validation.stitched_account`. When a trade closes
is known when it does, so the wait needs no look ahead.

Source: Marcos Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 7 (purging, embargo).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import Backtest, Tape
from research_lab.engine.jit import IntArray
from research_lab.scoring.scorer import Score, Scorer, Scoring
from research_lab.timeframe import DAY_MS, YEAR_MS

PURGED_SHARE: Final = 0.95


def first_bar_of(tape: Tape, first_day: int, day: int) -> int:
    """Return the first bar on or after a day that is counted from `first_day`."""
    return int(np.searchsorted(tape.time, (first_day + day) * DAY_MS))


def days_held(result: Backtest, tape: Tape, last_bar: int) -> IntArray:
    """Return how many midnights each trade saw that was entered before a bar; an open one counts up to it."""
    fills = result.fills[result.fills["bar"] < last_bar]
    if fills.shape[0] == 0:
        return np.empty(0, np.int64)
    begins = np.flatnonzero(np.diff(fills["position_id"], prepend=-1))
    last = np.append(begins[1:], fills.shape[0]) - 1
    leaves = fills["bar"][last].copy()
    if result.position[last_bar - 1] != 0.0:
        leaves[-1] = last_bar - 1
    days = tape.time // DAY_MS
    held: IntArray = days[leaves] - days[fills["bar"][begins]]
    return held


def purge_days(template: Spec, scorer: Scoring, border: int, least: int) -> int:
    """Return the days to cut off before each border: see this module.

    Parameters
    ----------
    border : the first border, in days from the first one; later trades are not looked at.
    """
    first_day = scorer.score([template])[0].first_day
    held = np.concatenate(
        [days_held(m.run(template), m.bars, first_bar_of(m.bars, first_day, border)) for m in scorer.members]
    )
    if held.shape[0] == 0:
        return least
    return max(least, int(np.quantile(held, PURGED_SHARE, method="higher")))


def exam_begins(spec: Spec, scorer: Scoring, inside_end: int, border: int, least: int) -> int:
    """Return the first day of a fold's exam: all that the tuned parameters decided in-sample is closed.

    Parameters
    ----------
    inside_end : first day behind the in-sample days. border : the fold's. least : days behind the border.

    Returns
    -------
    int
        Days from the first one; the number of all days when a trade is open at the end.
    """
    first_day = scorer.score([spec])[0].first_day
    begins = [border + least]
    for member in scorer.members:
        time = member.bars.time
        closed = last_exit(member.run(spec), first_bar_of(member.bars, first_day, inside_end))
        if closed >= 0:  # what stays open holds its market's days to the end
            begins.append(int(time[min(closed, time.shape[0] - 1)] // DAY_MS) - first_day + 1)
    return max(begins)


def last_exit(result: Backtest, bar: int) -> int:
    """Return the bar in which the last position is closed that was entered up to a bar.

    An entry in that bar itself was decided before it. -1 when there is none, the number of bars when it stays open.
    """
    fills = result.fills
    entered = fills[fills["bar"] <= bar]
    if entered.shape[0] == 0:
        return -1
    last = fills[fills["position_id"] == entered["position_id"][-1]]
    is_open = result.position[-1] != 0.0 and fills["position_id"][-1] == entered["position_id"][-1]
    return int(result.position.shape[0] if is_open else last["bar"][-1])


def turnover_of_days(scorer: Scoring, score: Score, days: tuple[int, int]) -> float:
    """Return the notional traded on some days over the equity before each fill, a year of 365 days.

    Of a pool, the mean over its markets.
    """
    each = [_turnover(member, score, days) for member in scorer.members]
    return math.fsum(each) / len(each)


def _turnover(scorer: Scorer, score: Score, days: tuple[int, int]) -> float:
    tape, result = scorer.bars, scorer.run(score.spec)
    first, last = (first_bar_of(tape, score.first_day, day) for day in days)
    fills = result.fills[(result.fills["bar"] >= first) & (result.fills["bar"] < last)]
    before = np.where(fills["bar"] > 0, result.equity[fills["bar"] - 1], 1.0)
    traded = np.abs(fills["quantity"]) * fills["price"]
    years = (days[1] - days[0]) * DAY_MS / YEAR_MS
    return math.fsum(traded / np.maximum(before, 1e-12)) / years
