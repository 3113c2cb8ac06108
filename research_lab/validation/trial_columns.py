"""The daily returns of all trials made ready for a bootstrap: scaled, centred, and each kind kept once.

**Bit-equal columns** (after scaling) are one: parameters that change nothing cost nothing, and no p moves.

**Near-duplicates** stand for each other when their centred returns have a cosine of at least 0.9999. Of
each kind the one with the largest statistic is drawn, and the others are counted. That lowers the best of a
draw by as much as one of the others would have stood above its leader, so the leader's draws are lifted:

    lift = sin(angle of the farthest) * sqrt(2 ln(members))

In a draw a member is cos * leader + sin * Z, Z about normal, so the best of the kind stands above its leader
by at most sin times the largest of members - 1 such Z and 0, whose expectation is at most sqrt(2 ln members)
whatever their dependence. To first order the lifted leader therefore reaches any height at least as often as
the best of its kind; the second order (the spread of that largest Z) is below sin^2 t^2 / 2 of the p, 0.2 %
at t = 4. A wider radius would save little time and cost power: at 0.999 a hundred members lift by 0.14.
Columns whose squares are worth fewer than 20 blocks are never merged: where a few days carry the likeness, a
draw without these days has none. Nor are the columns of candidates, which are drawn as they are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from research_lab.engine.jit import BoolArray, FloatArray, IntArray, kernel
from research_lab.validation.block_bootstrap import worth_of

ALIKE = 0.9999
MIN_BLOCKS = 10.0
_MERGEABLE = 20.0  # effective blocks of squares
_FLAT = 1e-9  # a column whose spread is below this share of its size is a constant
_ROWS = 64  # columns read at a time
_RATIO, _DAYS, _WORTH, _SQUARES_WORTH, _SIZE = range(5)


@dataclass(frozen=True, eq=False)
class TrialColumns:
    """The columns to draw, and which of them stands for each trial.

    Parameters
    ----------
    ratios : (n_trials,) V = sum / sqrt(sum of squares); NaN where not measured.
    leader : (n_trials,) row of `centred` that stands for the trial; -1 where not measured.
    centred : (n_leaders, n_days) less their mean on the days of exposure, at unit length.
    days, worth : (n_leaders,) most days of exposure of those it stands for, and fewest effective blocks.
    lift : (n_leaders,) added to a leader's draws for those it stands for.
    n_distinct : measured columns that are not bit-equal to an earlier one.
    """

    ratios: FloatArray
    leader: IntArray
    centred: FloatArray
    days: FloatArray
    worth: FloatArray
    lift: FloatArray
    n_distinct: int


def trial_columns(
    returns: FloatArray, length: int, candidates: Collection[int], alike: float = ALIKE
) -> TrialColumns:
    """Return the columns to draw for some trials.

    Parameters
    ----------
    returns : array of shape (n_days, n_trials), finite or NaN. length : days of a block.
    candidates : columns that are never merged with others, unless bit-equal.
    alike : cosine from which two columns are of one kind; above 1 for none.
    """
    n_days, n_trials = returns.shape
    rows, scratch = np.empty((n_trials, n_days)), np.empty(n_days)  # the distinct ones first
    facts = np.empty((n_trials, 5))
    distinct = np.full(n_trials, -1, dtype=np.int64)
    sources: list[int] = []
    seen: dict[bytes, int] = {}
    ratios = np.full(n_trials, np.nan)
    for first in range(0, n_trials, _ROWS):
        some = np.ascontiguousarray(returns[:, first : first + _ROWS].T)
        if np.shares_memory(some, returns):
            some = some.copy()
        known = np.empty((some.shape[0], 5))
        _study(some, length, scratch, known)
        for k in np.flatnonzero(known[:, _SIZE] > 0.0):
            column, at = first + int(k), len(sources)
            ratios[column] = known[k, _RATIO]
            distinct[column] = seen.setdefault(hashlib.blake2b(some[k].data).digest(), at)
            if distinct[column] == at:
                rows[at], facts[at] = some[k], known[k]
                sources.append(column)
    n_distinct = len(sources)
    rows, facts = rows[:n_distinct], facts[:n_distinct]
    alone = np.zeros(n_distinct, dtype=np.bool_)
    alone[[distinct[c] for c in candidates if distinct[c] >= 0]] = True
    _centre(rows, length, scratch, facts)
    return _led(rows, facts, ratios, distinct, alone, alike)


def _led(
    rows: FloatArray,
    facts: FloatArray,
    ratios: FloatArray,
    distinct: IntArray,
    alone: BoolArray,
    alike: float,
) -> TrialColumns:
    """Return the columns with near-duplicates led by the one of their kind with the largest statistic."""
    n = rows.shape[0]
    alone = alone | (facts[:, _SQUARES_WORTH] < _MERGEABLE)
    order = np.argsort(-facts[:, _RATIO], kind="stable")
    leader, apart = np.arange(n), np.zeros(n)
    if alike <= 1.0:
        _follow(rows, order, alone, 2.0 * (1.0 - alike), leader, apart, np.empty(n, dtype=np.int64))
    leaders = np.flatnonzero(leader == np.arange(n))
    place = np.full(n, -1, dtype=np.int64)
    place[leaders] = np.arange(leaders.shape[0])
    of = place[leader]
    members = np.bincount(of, minlength=leaders.shape[0])
    farthest = np.zeros(leaders.shape[0])
    np.maximum.at(farthest, of, apart)
    sine = np.sqrt(farthest * (1.0 - farthest / 4.0))  # of an angle whose cosine is 1 - d^2 / 2
    worth, days = facts[leaders, _WORTH], facts[leaders, _DAYS]
    np.minimum.at(worth, of, facts[:, _WORTH])
    np.maximum.at(days, of, facts[:, _DAYS])
    kept = rows if leaders.shape[0] == n else rows[leaders]
    led = np.where(distinct >= 0, of[distinct] if n else -1, -1)
    return TrialColumns(ratios, led, kept, days, worth, sine * np.sqrt(2.0 * np.log(members)), n)


@kernel
def _study(rows: FloatArray, length: int, weights: FloatArray, facts: FloatArray) -> None:
    """Scale rows to a largest size of 1, NaN and -0.0 to 0.0, and tell what they are worth; in place.

    Parameters
    ----------
    rows : array of shape (n, n_days). weights : array of shape (n_days,), scratch.
    facts : array of shape (n, 5): V, days of exposure, effective blocks of these, 0, and the largest size,
        which is 0 for a row that is not measured.
    """
    n_days = rows.shape[1]
    for k in range(rows.shape[0]):
        row = rows[k]
        size = days = 0.0
        low, high = math.inf, -math.inf
        for day in range(n_days):
            weights[day] = 0.0
            if math.isnan(row[day]) or row[day] == 0.0:
                row[day] = 0.0
                continue
            weights[day] = 1.0
            days += 1.0
            size = max(size, abs(row[day]))
            low, high = min(low, row[day]), max(high, row[day])
        for fact in range(facts.shape[1]):
            facts[k, fact] = 0.0
        if days == 0.0 or high - low <= _FLAT * size:
            continue
        worth = worth_of(weights, length)
        if worth < MIN_BLOCKS:
            continue
        total = square = 0.0
        for day in range(n_days):
            row[day] /= size
            total += row[day]
            square += row[day] * row[day]
        facts[k, _RATIO], facts[k, _DAYS] = total / math.sqrt(square), days
        facts[k, _WORTH], facts[k, _SIZE] = worth, size


@kernel
def _centre(rows: FloatArray, length: int, weights: FloatArray, facts: FloatArray) -> None:
    """Take from each row its mean on the days of exposure, and give it unit length; in place.

    The effective blocks of its squares are added to `facts`.
    """
    n_days = rows.shape[1]
    for k in range(rows.shape[0]):
        row = rows[k]
        total = square = 0.0
        for day in range(n_days):
            total += row[day]
        mean = total / facts[k, _DAYS]
        for day in range(n_days):
            if row[day] != 0.0:
                row[day] -= mean
            weights[day] = row[day] * row[day]
            square += weights[day]
        root = math.sqrt(square)
        for day in range(n_days):
            row[day] /= root
        facts[k, _SQUARES_WORTH] = worth_of(weights, length)


@kernel
def _follow(
    rows: FloatArray,
    order: IntArray,
    alone: BoolArray,
    radius: float,
    leader: IntArray,
    apart: FloatArray,
    leaders: IntArray,
) -> None:
    """Let each row follow the first leader that is near enough, or lead.

    Parameters
    ----------
    rows : array of shape (n, n_days), of unit length. order : rows, those that lead first.
    alone : rows that neither lead nor follow. radius : squared distance.
    leader, apart : arrays of shape (n,), each row itself and 0.0; in place.
    leaders : array of shape (n,), scratch.
    """
    n_days = rows.shape[1]
    n_leaders = 0
    for q in range(order.shape[0]):
        k = order[q]
        if alone[k]:
            continue
        for p in range(n_leaders):
            distance, first = 0.0, 0
            while first < n_days and distance <= radius:  # most pairs part within the first days
                for day in range(first, min(first + 16, n_days)):
                    step = rows[k, day] - rows[leaders[p], day]
                    distance += step * step
                first += 16
            if distance <= radius:
                leader[k], apart[k] = leaders[p], distance
                break
        if leader[k] == k:
            leaders[n_leaders] = k
            n_leaders += 1
