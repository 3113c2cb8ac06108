"""The deciding number of gate 6: how often luck alone does as well, over all trials that were made.

Many trials were charged to a market and a time; the candidate is the one that was chosen. Its p is the
chance that the best of *all* of them reaches the candidate's statistic when none has an edge. A block
bootstrap of whole days keeps how the trials move together, so twins cost nothing, strangers cost their
full price, and nobody guesses an effective number of trials.

**Statistic.** t = sqrt(n) * mean / std of n daily returns, std naive and taken anew in every draw. It is
a monotone function of V = sum(x) / sqrt(sum(x^2)), in which days without a position (return exactly
zero, or NaN outside a trial's interval) do not appear; the maximum is taken over V and shown as t.

**Null.** No trial earns anything on the days on which it is exposed: from each trial's non-zero days
their own mean is taken, also where that mean is negative (White's least favourable case, so the test is
never liberal for the sake of bad trials). Shifting the flat days too would turn a trial of three trades
into a steady earner with rare losses, whose studentised draws have no bound.

**Blocks.** Circular, of fixed length max(5, ceil(n^(1/3))) days, the same days for every trial. Daily
returns of a strategy without edge have hardly any autocorrelation, whatever it holds and for how long;
five days keep the weekly cycle, the cube root is the rate at which the error is smallest.

**Few blocks.** A column's exposure is worth k `effective_blocks`. Taking the mean away shrinks the variance
of its draws by 1 - 1/k, which is given back: V is widened by the root of (1 - 1/days) k / (k - 1). That
the variance of k blocks is itself uncertain makes the best of many trials larger, so a family needs nothing
more; one trial alone does, and a p is never below that of its own column widened like Student's t with k - 1
degrees of freedom, by the root of (1 - 1/days) k / (k - 3) in all. Below k = 10 a column is not measured: it
is left out, and as a candidate its p is NaN. A family of many columns with few and uneven
days was judged too hard in every world tried (decision 0016 says by how much, and why it stays so). Losses so
rare that the sample has none no resampling can know; a gate must ask for enough trades.

**Kinds.** Near-duplicates are drawn once, with a lift that keeps the test from being liberal (`trial_columns`).

Source: H. White (2000), A Reality Check for Data Snooping; P. R. Hansen (2005), A Test for Superior
Predictive Ability (studentising); D. Politis, J. Romano (1992), A Circular Block-Resampling Procedure
for Stationary Data; P. Westfall, S. Young (1993), Resampling-Based Multiple Testing (single-step maxT).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

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
from research_lab.validation.trial_columns import TrialColumns, trial_columns

MIN_DAYS = 60
N_DRAWS = 2000
LEVELS: Final = (0.0005, 0.001, 0.002, 0.005, *(percent / 100 for percent in range(1, 100)))
# Columns at a time, with their squares: the sums of their blocks over four years stay in the L2 cache.
_GROUP = LANES // 2


@dataclass(frozen=True, eq=False)
class FamilyWise:
    """A candidate's chance under the null, and the distribution that it was held against.

    Parameters
    ----------
    p : in (0, 1]: share of draws whose best trial reaches the candidate, (1 + hits) / (1 + draws); not below
        the candidate's p on its own.
        NaN when the candidate never traded, has constant returns or was exposed for fewer than 10
        effective blocks: nothing was measured.
    statistic : the candidate's sqrt(n_days) * mean / std of daily returns; NaN as for `p`.
    block_length : days.
    critical_95, critical_99 : quantiles of the best trial's statistic under the null; NaN without trials.
    n_effective : so many independent normal trials have a best with the same median under the null; at least
        1, NaN without trials.
    n_days, n_draws : days and draws used.
    n_trials : columns handed in.
    n_columns : columns left after those not measured were dropped and bit-equal ones merged.
    n_drawn : columns left after near-duplicates were merged too; see `trial_columns`.
    needed : for each of `LEVELS` the smallest statistic, to within a rounding, that the candidate's returns of
        its days would need to have a p of at most that, all else as it is; infinite where no statistic has,
        NaN without a p. Moving its exposed days by one amount changes the statistic alone, as more days do.
    statistics, p_values : of every column handed in, in its order; NaN where not measured.
    leaders : for every column handed in, the number of the drawn column that stands for it, -1 where not
        measured; `np.bincount` of those from 0 on counts each kind.
    """

    p: float
    statistic: float
    block_length: int
    critical_95: float
    critical_99: float
    n_effective: float
    n_days: int
    n_draws: int
    n_trials: int
    n_columns: int
    n_drawn: int
    needed: FloatArray
    statistics: FloatArray
    p_values: FloatArray
    leaders: IntArray


def family_wise_p(
    daily: FloatArray,
    candidate: int | Sequence[int],
    *,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    block_length: int | None = None,
    n_threads: int | None = None,
) -> FamilyWise:
    """Return how likely the best of all trials does as well as the candidate by luck alone.

    Parameters
    ----------
    daily : array of shape (n_days, n_trials)
        Daily returns as fractions; NaN where a trial has no data, which counts as a flat day.
    candidate : the candidate's column, or several; then the weakest of them decides.
    n_draws : bootstrap draws, at least 1; the smallest possible p is 1 / (1 + n_draws).
    seed : of the draws; the same seed gives the same bytes.
    block_length : days, in [1, n_days]; by default `default_block_length`.
    n_threads : one a core when None. Their number does not change a bit.

    Returns
    -------
    FamilyWise
        With p in (0, 1], or NaN when a candidate's column is not measured.

    Raises
    ------
    InsufficientError
        There are fewer than 60 days.
    UsageError
        An argument is out of range, or a return is infinite.
    """
    returns, chosen = _checked(daily, candidate, n_draws)
    n_days, n_trials = returns.shape
    length = default_block_length(n_days) if block_length is None else block_length
    if not 1 <= length <= n_days:
        raise UsageError(f"blocks of {length} days in {n_days} days", remedy=f"choose 1 to {n_days}")
    columns = trial_columns(returns, length, chosen.tolist())
    starts = block_starts(n_days, length, n_draws, seed)
    draws, own = _draw(columns, starts, length, n_threads)
    draws.sort()
    hits = (n_draws - np.searchsorted(draws, columns.ratios, side="left")).astype(np.float64)
    measured = columns.leader >= 0
    hits[measured] = np.maximum(hits[measured], own[columns.leader[measured]])
    p_values: FloatArray = np.where(measured, (1.0 + hits) / (1.0 + n_draws), np.nan)
    critical = _as_t(np.quantile(draws, (0.5, 0.95, 0.99), method="higher"), n_days)
    statistics = _as_t(columns.ratios, n_days)
    needed = np.full(len(LEVELS), np.nan)
    if measured[chosen].all():
        weakest = int(columns.leader[chosen[p_values[chosen].argmax()]])
        needed = _as_t(_needed(draws, _alone(columns, weakest, starts, length)), n_days)
    return FamilyWise(
        p=float(p_values[chosen].max()),
        statistic=float(statistics[chosen].min()),
        block_length=length,
        critical_95=float(critical[1]),
        critical_99=float(critical[2]),
        n_effective=_effective_trials(float(critical[0])),
        n_days=n_days,
        n_draws=n_draws,
        n_trials=n_trials,
        n_columns=columns.n_distinct,
        n_drawn=columns.centred.shape[0],
        needed=needed,
        statistics=statistics,
        p_values=p_values,
        leaders=columns.leader,
    )


def single_p(
    daily: FloatArray, *, n_draws: int = N_DRAWS, seed: int = 0, block_length: int | None = None
) -> float:
    """Return the one-sided p of one column: `family_wise_p` of a family of one, as on the holdout.

    Parameters
    ----------
    daily : array of shape (n_days,), daily returns as fractions.
    """
    column = np.asarray(daily, dtype=np.float64).reshape(-1, 1)
    return family_wise_p(column, 0, n_draws=n_draws, seed=seed, block_length=block_length).p


def stouffer(p_a: float, p_b: float, weight_a: float, weight_b: float) -> float:
    """Return the one-sided p of two independent pieces of evidence together.

    Phi(-(a z_a + b z_b) / sqrt(a^2 + b^2)) with z = -Phi^-1(p). A p of 1 in either gives 1, NaN gives NaN.

    Parameters
    ----------
    p_a, p_b : in (0, 1].
    weight_a, weight_b : above 0: the square roots of the shares of data, sqrt(0.6) and sqrt(0.4).

    Source: S. Stouffer et al. (1949), The American Soldier; weights after T. Lipták (1958).

    Examples
    --------
    >>> round(stouffer(0.05, 0.05, 1.0, 1.0), 6)
    0.010005
    """
    if math.isnan(p_a) or math.isnan(p_b):
        return math.nan
    if not (0 < p_a <= 1 and 0 < p_b <= 1 and weight_a > 0 and weight_b > 0):
        raise UsageError(
            f"p of {p_a} and {p_b} with weights {weight_a} and {weight_b}",
            remedy="give each p in (0, 1] and each weight above 0",
        )
    if p_a == 1 or p_b == 1:
        return 1.0
    quantile = NormalDist().inv_cdf
    z = -(weight_a * quantile(p_a) + weight_b * quantile(p_b)) / math.hypot(weight_a, weight_b)
    return 0.5 * math.erfc(z / math.sqrt(2))


def holdout_level(opening: int, total: float) -> float:
    """Return the level of the k-th opening of one holdout, total * 6 / (pi^2 k^2), before the research has a say.

    The levels of all openings that there can ever be add up to the total.

    Parameters
    ----------
    opening : counted from 1.
    total : level of all openings together, in (0, 1).

    Examples
    --------
    >>> round(holdout_level(1, 0.05), 6), round(holdout_level(2, 0.05), 6)
    (0.030396, 0.007599)
    """
    if opening < 1:
        raise UsageError(f"opening number {opening}", remedy="count openings from 1")
    return total * 6 / (math.pi * opening) ** 2


def research_weight(research_p: float, even_p: float, most_times: float) -> float:
    """Return by what a holdout's level is multiplied: the more the research says, the less the holdout must.

    min(most_times, even_p / p), p the family-wise p of the research. Its mean over all p that luck brings is
    even_p * (1 + ln(most_times / even_p)); up to 1 the weighted levels hold what the plain ones hold.

    Parameters
    ----------
    research_p : in (0, 1], of gate 6.
    even_p : p at which the weight is 1. most_times : the largest weight.

    Source: C. Genovese, K. Roeder, L. Wasserman (2006), False Discovery Control with p-Value Weighting.

    Examples
    --------
    >>> [round(research_weight(p, 0.02, 3.0), 6) for p in (0.0002, 0.02, 0.1)]
    [3.0, 1.0, 0.2]
    """
    if not 0.0 < research_p <= 1.0:
        raise UsageError(f"research p of {research_p}", remedy="give one in (0, 1]")
    return min(most_times, even_p / research_p)


def _checked(daily: FloatArray, candidate: int | Sequence[int], n_draws: int) -> tuple[FloatArray, IntArray]:
    returns = np.asarray(daily, dtype=np.float64)
    if returns.ndim != 2:
        raise UsageError(f"daily returns of shape {returns.shape}", remedy="give (n_days, n_trials)")
    n_days, n_trials = returns.shape
    chosen = np.atleast_1d(np.asarray(candidate, dtype=np.int64))
    if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= n_trials:
        raise UsageError(f"candidate column {candidate} of {n_trials}", remedy="count columns from 0")
    if n_draws < 1:
        raise UsageError(f"{n_draws} draws", remedy="make at least 1, better 2000")
    if n_days < MIN_DAYS:
        raise InsufficientError(f"{n_days} days of returns, at least {MIN_DAYS} are needed")
    if np.isinf(returns).any():
        day, column = np.argwhere(np.isinf(returns))[0]
        raise UsageError(f"the return of day {day} in column {column} is infinite")
    return returns, chosen


def _draw(
    columns: TrialColumns, starts: IntArray, length: int, n_threads: int | None
) -> tuple[FloatArray, FloatArray]:
    """Return each draw's largest V, NaN without columns, and how often each column alone reaches its own."""
    n_columns, n_days = columns.centred.shape
    own = np.zeros(n_columns)
    shrunk, k = 1.0 - 1.0 / columns.days, columns.worth
    family, alone = np.sqrt(shrunk * k / (k - 1.0)), np.sqrt(shrunk * k / (k - 3.0))
    lowest = np.full(n_columns, np.inf)
    measured = columns.leader >= 0
    np.minimum.at(lowest, columns.leader[measured], columns.ratios[measured])
    n_groups = -(-n_columns // _GROUP)
    best = np.full((n_groups, starts.shape[0]), -np.inf)

    def work(group: int) -> None:
        part = slice(group * _GROUP, min(n_columns, (group + 1) * _GROUP))
        lanes = np.zeros((n_days, LANES))
        lanes[:, : part.stop - part.start] = columns.centred[part].T
        whole, cut, total = np.empty_like(lanes), np.empty_like(lanes), np.empty(LANES)
        np.multiply(lanes[:, :_GROUP], lanes[:, :_GROUP], out=lanes[:, _GROUP:])
        sum_blocks(lanes, length, whole, cut)
        rules = np.array([family[part], columns.lift[part], lowest[part] / alone[part]])
        _raise_best(best[group], starts, whole, cut, total, rules, own[part])

    in_threads(work, n_groups, n_threads)
    return best.max(axis=0) if n_groups else np.full(starts.shape[0], np.nan), own


def _alone(columns: TrialColumns, row: int, starts: IntArray, length: int) -> FloatArray:
    """Return each draw's V of one column by itself, widened like Student's t, in ascending order."""
    part, k = slice(row, row + 1), columns.worth[row]
    one = replace(
        columns,
        ratios=columns.ratios[:0],
        leader=columns.leader[:0],
        centred=columns.centred[part],
        days=columns.days[part],
        worth=columns.worth[part],
        lift=np.zeros(1),
    )
    draws, _ = _draw(one, starts, length, 1)
    return np.sort(draws) * math.sqrt((k - 1.0) / (k - 3.0))


def _needed(draws: FloatArray, alone: FloatArray) -> FloatArray:
    """Return the V above which no more draws reach it than each of `LEVELS` allows; infinite where one is too many.

    Parameters
    ----------
    draws, alone : of the best trial and of the candidate by itself, ascending, of one length.
    """
    n = draws.shape[0]
    hits = np.floor(np.array(LEVELS) * (1.0 + n) - 1.0 + 1e-9).astype(np.int64)
    at = np.clip(n - 1 - hits, 0, n - 1)
    above: FloatArray = np.where(hits >= 0, np.maximum(draws[at], alone[at]), np.inf)
    return above


def _as_t(ratios: FloatArray, n_days: int) -> FloatArray:
    """Return sqrt(n) * mean / std (divisor n - 1) from V = sum / sqrt(sum of squares), |V| < sqrt(n)."""
    room = np.maximum(1.0 - ratios * ratios / n_days, np.finfo(np.float64).tiny)
    t: FloatArray = ratios * np.sqrt((n_days - 1) / n_days / room)
    return t


def _effective_trials(median: float) -> float:
    """Return how many independent normal trials have a best with this median, at least 1."""
    if math.isnan(median):
        return math.nan
    above = 0.5 * math.erfc(median / math.sqrt(2.0))
    return max(1.0, math.log(0.5) / math.log1p(-above)) if above > 0.0 else math.inf


@kernel
def _raise_best(
    best: FloatArray,
    starts: IntArray,
    whole: FloatArray,
    cut: FloatArray,
    total: FloatArray,
    rules: FloatArray,
    own: FloatArray,
) -> None:
    """Raise each draw's best V by a group of columns, and count each column's own hits.

    Parameters
    ----------
    best : array of shape (n_draws,). In place.
    starts : array of shape (n_draws, n_blocks), first day of each circular block.
    whole, cut : sums of blocks, of the columns and then of their squares. total : scratch.
    rules : array of shape (3, n_columns): factor and lift of V for `best`; V that counts as an own hit.
    own : array of shape (n_columns,), number of own hits. In place.
    """
    for draw in range(starts.shape[0]):
        sum_draw(starts[draw], whole, cut, total)
        largest = best[draw]
        for j in range(own.shape[0]):
            square = total[_GROUP + j]
            ratio = total[j] / math.sqrt(square) if square > 0.0 else 0.0
            largest = max(largest, rules[0, j] * (ratio + rules[1, j]))
            if ratio >= rules[2, j]:
                own[j] += 1.0
        best[draw] = largest
