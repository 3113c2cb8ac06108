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
is left out, and as a candidate its p is NaN. Losses so rare that the sample has none no resampling can know;
a gate must ask for enough trades.

Source: H. White (2000), A Reality Check for Data Snooping; P. R. Hansen (2005), A Test for Superior
Predictive Ability (studentising); D. Politis, J. Romano (1992), A Circular Block-Resampling Procedure
for Stationary Data; P. Westfall, S. Young (1993), Resampling-Based Multiple Testing (single-step maxT).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from research_lab.bars import BoolArray
from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.errors import InsufficientError, UsageError

MIN_DAYS = 60
MIN_BLOCKS = 10.0
N_DRAWS = 2000
_CHUNK = 32  # columns at a time: their block sums of four years stay in the L2 cache
_FLAT = 1e-9  # a column whose spread is below this share of its size is a constant


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
    n_days, n_draws : days and draws used.
    n_trials : columns handed in.
    n_columns : columns left after those not measured were dropped and bit-equal ones merged.
    statistics, p_values : of every column handed in, in its order; NaN where not measured.
    """

    p: float
    statistic: float
    block_length: int
    critical_95: float
    critical_99: float
    n_days: int
    n_draws: int
    n_trials: int
    n_columns: int
    statistics: FloatArray
    p_values: FloatArray


def family_wise_p(
    daily: FloatArray,
    candidate: int | Sequence[int],
    *,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    block_length: int | None = None,
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
    ratios, kept, twins = _sample_ratios(returns, length)
    starts = np.random.default_rng(seed).integers(0, n_days, size=(n_draws, -(-n_days // length)))
    draws, own = _draw(returns[:, kept], ratios[kept], starts, length)
    draws.sort()
    hits = (n_draws - np.searchsorted(draws, ratios, side="left")).astype(np.float64)
    measured = twins >= 0
    hits[measured] = np.maximum(hits[measured], own[twins[measured]])
    p_values: FloatArray = np.where(measured, (1.0 + hits) / (1.0 + n_draws), np.nan)
    critical = _as_t(np.quantile(draws, (0.95, 0.99), method="higher"), n_days)
    statistics = _as_t(ratios, n_days)
    return FamilyWise(
        p=float(p_values[chosen].max()),
        statistic=float(statistics[chosen].min()),
        block_length=length,
        critical_95=float(critical[0]),
        critical_99=float(critical[1]),
        n_days=n_days,
        n_draws=n_draws,
        n_trials=n_trials,
        n_columns=len(kept),
        statistics=statistics,
        p_values=p_values,
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


def default_block_length(n_days: int) -> int:
    """Return max(5, ceil(n_days^(1/3))), in days.

    Examples
    --------
    >>> default_block_length(100), default_block_length(1460)
    (5, 12)
    """
    return max(5, math.ceil(math.cbrt(n_days)))


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


def holdout_level(opening: int) -> float:
    """Return the level at which the k-th opening of one holdout is judged: 0.05 * 6 / (pi^2 k^2).

    The levels of all openings that there can ever be add up to 0.05.

    Examples
    --------
    >>> round(holdout_level(1), 6), round(holdout_level(2), 6)
    (0.030396, 0.007599)
    """
    if opening < 1:
        raise UsageError(f"opening number {opening}", remedy="count openings from 1")
    return 0.05 * 6 / (math.pi * opening) ** 2


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


def _sample_ratios(returns: FloatArray, length: int) -> tuple[FloatArray, IntArray, IntArray]:
    """Return V of each column, the columns to keep, and for each column which of those it equals.

    A column that is not measured has V of NaN and equals number -1.
    """
    n_trials = returns.shape[1]
    ratios = np.full(n_trials, np.nan)
    twins = np.full(n_trials, -1, dtype=np.int64)
    kept: list[int] = []
    seen: dict[bytes, int] = {}
    for column in range(n_trials):
        x = np.nan_to_num(returns[:, column], nan=0.0) + 0.0  # -0.0 becomes 0.0
        exposed = x != 0.0
        size = float(np.abs(x).max())
        if not exposed.any() or float(np.ptp(x[exposed])) <= _FLAT * size:
            continue
        if effective_blocks(exposed, length) < MIN_BLOCKS:
            continue
        scaled = x / size  # squares neither overflow nor vanish
        ratios[column] = scaled.sum() / math.sqrt(float((scaled * scaled).sum()))
        twins[column] = seen.setdefault(x.tobytes(), len(kept))
        if twins[column] == len(kept):
            kept.append(column)
    return ratios, np.array(kept, dtype=np.int64), twins


def effective_blocks(exposed: BoolArray, length: int) -> float:
    """Return how many independent blocks the days of exposure are worth, in [1, days of exposure].

    (sum of m)^2 / (L sum of m^2), m the days of exposure in the circular block that starts at each day:
    n / L for a column that is always exposed, k for k days far apart, 1 for a single short stay.

    Parameters
    ----------
    exposed : array of shape (n_days,), at least one day true.
    length : L, days of a block.

    Examples
    --------
    >>> effective_blocks(np.ones(100, dtype=bool), 5)
    20.0
    """
    sums = np.concatenate(
        [[0], np.cumsum(np.concatenate([exposed, exposed[: length - 1]]), dtype=np.float64)]
    )
    in_block = sums[length:] - sums[:-length]
    return float(in_block.sum() ** 2 / (length * (in_block**2).sum()))


def _draw(
    returns: FloatArray, ratios: FloatArray, starts: IntArray, length: int
) -> tuple[FloatArray, FloatArray]:
    """Return each draw's largest V, NaN without columns, and how often each column alone reaches its own."""
    n_days, n_columns = returns.shape
    best = np.full(len(starts), -np.inf if n_columns else np.nan)
    own = np.zeros(n_columns)
    for first in range(0, n_columns, _CHUNK):
        chunk = slice(first, first + _CHUNK)
        scaled = np.nan_to_num(returns[:, chunk], nan=0.0)
        scaled /= np.abs(scaled).max(axis=0)
        exposed = scaled != 0.0
        days = exposed.sum(axis=0)
        centred = np.where(exposed, scaled - scaled.sum(axis=0) / days, 0.0)
        k = np.array([effective_blocks(column, length) for column in exposed.T])
        wider = np.sqrt((1.0 - 1.0 / days) * k / (k - 3.0))
        columns = np.array(
            [np.sqrt((1.0 - 1.0 / days) * k / (k - 1.0)), ratios[chunk] / wider, np.zeros(k.size)]
        )
        sums = np.zeros((3, n_days, 2 * k.size))
        _raise_best(best, np.ascontiguousarray(centred), columns, starts, sums, length)
        own[chunk] = columns[2]
    return best, own


def _as_t(ratios: FloatArray, n_days: int) -> FloatArray:
    """Return sqrt(n) * mean / std (divisor n - 1) from V = sum / sqrt(sum of squares), |V| < sqrt(n)."""
    room = np.maximum(1.0 - ratios * ratios / n_days, np.finfo(np.float64).tiny)
    t: FloatArray = ratios * np.sqrt((n_days - 1) / n_days / room)
    return t


@kernel
def _raise_best(
    best: FloatArray, x: FloatArray, columns: FloatArray, starts: IntArray, sums: FloatArray, length: int
) -> None:
    """Raise each draw's best V by the columns of `x`, and count each column's own hits.

    Parameters
    ----------
    best : array of shape (n_draws,). In place.
    x : array of shape (n_days, n_columns), centred.
    columns : array of shape (3, n_columns): factor on V for `best`; V that counts as an own hit; number
        of own hits, in place.
    starts : array of shape (n_draws, n_blocks), first day of each circular block; the last block is cut
        so that a draw has exactly n_days days.
    sums : zeros of shape (3, n_days, 2 * n_columns): of the block that starts at each day, whole and cut;
        sums of x, then of its squares; the last is scratch. In place.
    length : days of a block.
    """
    n_days, n_columns = x.shape
    n_blocks = starts.shape[1]
    cut = n_days - (n_blocks - 1) * length
    for i in range(n_days):
        for k in range(length):
            day = (i + k) % n_days
            for j in range(n_columns):
                value = x[day, j]
                sums[0, i, j] += value
                sums[0, i, n_columns + j] += value * value
            if k + 1 == cut:
                for j in range(2 * n_columns):
                    sums[1, i, j] = sums[0, i, j]
    for draw in range(starts.shape[0]):
        start = starts[draw, n_blocks - 1]
        for j in range(2 * n_columns):
            sums[2, 0, j] = sums[1, start, j]
        for b in range(n_blocks - 1):
            start = starts[draw, b]
            for j in range(2 * n_columns):
                sums[2, 0, j] += sums[0, start, j]
        for j in range(n_columns):
            square = sums[2, 0, n_columns + j]
            ratio = sums[2, 0, j] / math.sqrt(square) if square > 0.0 else 0.0
            best[draw] = max(best[draw], columns[0, j] * ratio)
            if ratio >= columns[1, j]:
                columns[2, j] += 1.0
