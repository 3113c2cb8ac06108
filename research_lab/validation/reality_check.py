"""Is the best of all trials better than a benchmark: White's reality check and Hansen's SPA.

With d the daily returns of a trial less those of the benchmark, and a block bootstrap of whole days:

**White's reality check.** max sqrt(n) mean(d) against its draws, each trial recentred at its own mean. Trials are
not studentised, so a wild one can hide the others, and bad ones count as if they were as good as the benchmark.

**SPA.** max(0, sqrt(n) mean(d) / omega) against its draws. Consistent: trials below the benchmark by more than
sqrt(2 ln ln n) standard errors are left at their own mean, where they do not matter. Upper: all are recentred
(White's least favourable case). Lower: only those above the benchmark.

**Conventions.** Circular blocks of fixed length; omega^2 is the variance of sqrt(n) mean(d) over the circular
blocks of the sample, sum of (block sum - L mean)^2 / (n L). p is (1 + hits) / (1 + draws), a draw that equals the
statistic being a hit. A trial's own p is the share of draws whose best reaches *its* statistic; that of the best is
the test's. arch's SPA does not divide by omega (version 8): its upper p is White's.

Source: H. White (2000), A Reality Check for Data Snooping; P. R. Hansen (2005), A Test for Superior Predictive
Ability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.errors import InsufficientError, UsageError
from research_lab.validation.block_bootstrap import (
    LANES,
    block_starts,
    default_block_length,
    in_threads,
    sum_blocks,
    sum_draw,
)

MIN_DAYS = 60
_FLAT = 1e-12  # a difference whose spread is below this share of its size is a constant
_WHITE, _LOWER, _CONSISTENT, _UPPER = range(4)


@dataclass(frozen=True, eq=False)
class RealityCheck:
    """The chance of a best trial this much better than the benchmark when none is.

    Parameters
    ----------
    white : White's p of the best trial.
    lower, consistent, upper : SPA's p of the best trial; lower <= consistent <= upper.
    white_values, consistent_values : of every trial, in their order; NaN where it never parts from the benchmark.
    n_days, block_length : days on which both are known, and of a block.
    """

    white: float
    lower: float
    consistent: float
    upper: float
    white_values: FloatArray
    consistent_values: FloatArray
    n_days: int
    block_length: int


def reality_check(
    daily: FloatArray,
    benchmark: FloatArray,
    *,
    n_draws: int = 2000,
    seed: int = 0,
    block_length: int | None = None,
    n_threads: int | None = None,
) -> RealityCheck:
    """Return White's and Hansen's p of some trials against a benchmark.

    Parameters
    ----------
    daily : array of shape (n_days, n_trials)
        Daily returns as fractions; NaN where a trial has no data, which counts as a flat day.
    benchmark : array of shape (n_days,)
        Its daily returns; days on which it is NaN are left out.
    n_draws, seed, block_length, n_threads : as for `family_wise_p`.

    Returns
    -------
    RealityCheck
        All NaN when no trial ever parts from the benchmark.

    Raises
    ------
    InsufficientError
        There are fewer than 60 days on which the benchmark is known.
    UsageError
        An argument is out of range, or a return is infinite.
    """
    returns, against = np.asarray(daily, dtype=np.float64), np.asarray(benchmark, dtype=np.float64)
    if returns.ndim != 2 or against.shape != returns.shape[:1] or n_draws < 1:
        raise UsageError(
            f"returns of shape {returns.shape}, benchmark of shape {against.shape}, {n_draws} draws",
            remedy="give (n_days, n_trials), (n_days,) and at least 1 draw",
        )
    if np.isinf(returns).any() or np.isinf(against).any():
        raise UsageError("a daily return is infinite", remedy="leave what went broken out")
    known = ~np.isnan(against)
    if not known.all():
        returns, against = returns[known], against[known]
    n_days = against.shape[0]
    if n_days < MIN_DAYS:
        raise InsufficientError(f"{n_days} days of the benchmark, at least {MIN_DAYS} are needed")
    length = default_block_length(n_days) if block_length is None else block_length
    if not 1 <= length <= n_days:
        raise UsageError(f"blocks of {length} days in {n_days} days", remedy=f"choose 1 to {n_days}")
    return _checked(returns, against, block_starts(n_days, length, n_draws, seed), length, n_threads)


def _checked(
    returns: FloatArray, against: FloatArray, starts: IntArray, length: int, n_threads: int | None
) -> RealityCheck:
    n_days, n_trials = returns.shape
    n_groups = -(-n_trials // LANES)
    best = np.full((n_groups, 4, starts.shape[0]), -np.inf)
    found = np.full((2, n_trials), np.nan)  # White's and Hansen's statistic

    def work(group: int) -> None:
        part = slice(group * LANES, min(n_trials, (group + 1) * LANES))
        lanes = np.zeros((n_days, LANES))
        some = lanes[:, : part.stop - part.start]
        some[:] = returns[:, part]
        np.nan_to_num(some, copy=False, nan=0.0)
        some -= against[:, None]
        facts = np.zeros((3, some.shape[1]))
        _centre(lanes, facts)
        whole, cut, total = np.empty_like(lanes), np.empty_like(lanes), np.empty(LANES)
        sum_blocks(lanes, length, whole, cut)
        _spread(whole, length, facts)
        _raise_best(best[group], starts, whole, cut, total, facts)
        parts, root = facts[2] > 0.0, math.sqrt(n_days)
        found[0, part][parts] = root * facts[0, parts]
        found[1, part][parts] = np.maximum(root * facts[0, parts] / facts[1, parts], 0.0)

    in_threads(work, n_groups, n_threads)
    if not n_groups or np.isnan(found).all():
        nothing = np.full(n_trials, np.nan)
        return RealityCheck(math.nan, math.nan, math.nan, math.nan, nothing, nothing, n_days, length)
    draws = np.sort(best.max(axis=0), axis=1)
    p = {kind: _p_values(draws[kind], found[int(kind != _WHITE)]) for kind in range(4)}
    white, lower, consistent, upper = (float(np.nanmin(p[kind])) for kind in range(4))
    return RealityCheck(white, lower, consistent, upper, p[_WHITE], p[_CONSISTENT], n_days, length)


def _p_values(draws: FloatArray, statistics: FloatArray) -> FloatArray:
    """Return the p of each statistic among sorted draws, NaN for NaN."""
    hits = draws.shape[0] - np.searchsorted(draws, statistics, side="left")
    values: FloatArray = np.where(np.isnan(statistics), np.nan, (1.0 + hits) / (1.0 + draws.shape[0]))
    return values


@kernel
def _centre(lanes: FloatArray, facts: FloatArray) -> None:
    """Take the means away, in place, and tell them and whether a column is not constant.

    Parameters
    ----------
    lanes : array of shape (n_days, LANES).
    facts : array of shape (3, n_columns): means, 0, and 1 where a column is not constant; in place.
    """
    n_days = lanes.shape[0]
    for j in range(facts.shape[1]):
        total, low, high = 0.0, math.inf, -math.inf
        for day in range(n_days):
            total += lanes[day, j]
            low, high = min(low, lanes[day, j]), max(high, lanes[day, j])
        facts[0, j] = total / n_days
        facts[2, j] = 1.0 if high - low > _FLAT * max(abs(low), abs(high)) else 0.0
        for day in range(n_days):
            lanes[day, j] -= facts[0, j]


@kernel
def _spread(whole: FloatArray, length: int, facts: FloatArray) -> None:
    """Write omega of each column into `facts[1]`, from the sums of its centred blocks."""
    n_days = whole.shape[0]
    for j in range(facts.shape[1]):
        square = 0.0
        for start in range(n_days):
            square += whole[start, j] * whole[start, j]
        facts[1, j] = math.sqrt(square / n_days / length)
        if facts[1, j] == 0.0:
            facts[2, j] = 0.0


@kernel
def _raise_best(
    best: FloatArray,
    starts: IntArray,
    whole: FloatArray,
    cut: FloatArray,
    total: FloatArray,
    facts: FloatArray,
) -> None:
    """Raise each draw's best statistic, of four kinds, by a group of columns.

    Parameters
    ----------
    best : array of shape (4, n_draws): White's, SPA's lower, consistent and upper. In place.
    starts, whole, cut, total : as for `sum_draw`. facts : (3, n_columns) means, omegas, 1 to count.
    """
    n_days = whole.shape[0]
    root = math.sqrt(n_days)
    far = math.sqrt(2.0 * math.log(math.log(n_days)))
    for draw in range(starts.shape[0]):
        sum_draw(starts[draw], whole, cut, total)
        for kind in range(1, 4):
            best[kind, draw] = max(best[kind, draw], 0.0)
        for j in range(facts.shape[1]):
            if facts[2, j] == 0.0:
                continue
            mean, omega, drawn = facts[0, j], facts[1, j], total[j] / root
            t, below = drawn / omega, min(root * mean / omega, 0.0)
            best[_WHITE, draw] = max(best[_WHITE, draw], drawn)
            best[_LOWER, draw] = max(best[_LOWER, draw], t + below)
            best[_CONSISTENT, draw] = max(best[_CONSISTENT, draw], t + below if below < -far else t)
            best[_UPPER, draw] = max(best[_UPPER, draw], t)
