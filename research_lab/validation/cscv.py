"""Combinatorially symmetric cross-validation: how often the best of one half of time is poor in the other.

Time is cut into S equal blocks. Each choice of S / 2 of them is in-sample once, and the rest out-of-sample;
a choice and its complement are one pair, so each half is added up once and serves as both.

**Convention.** Trials are ranked by V = sum / sqrt(sum of squares) of their daily returns, a monotone function
of the Sharpe ratio on the same days, so ranks are the Sharpe ratio's. A trial that is constant on those days
has 0. Equal trials share their average rank; the first of equal winners wins.

Source: D. Bailey, J. Borwein, M. López de Prado, Q. Zhu (2017), The Probability of Backtest Overfitting.
"""

from __future__ import annotations

import itertools
import math
import os

import numpy as np

from research_lab.engine.jit import BoolArray, FloatArray, IntArray, kernel
from research_lab.errors import InsufficientError, UsageError
from research_lab.validation.block_bootstrap import in_threads

_LEVEL = 1e-14  # a variance below this share of the mean square is that of a constant


def pbo(daily: FloatArray, n_splits: int = 16) -> float:
    """Return the probability of backtest overfitting: how often the best in-sample is below the median.

    The share of `cscv_logits` that are zero or less. About one half for noise, near zero when one
    trial is better throughout, 1 when every mean over the whole is the same.

    Parameters
    ----------
    daily, n_splits : as in `cscv_logits`.

    Returns
    -------
    float
        In [0, 1].
    """
    return float((cscv_logits(daily, n_splits) <= 0).mean())


def cscv_logits(daily: FloatArray, n_splits: int = 16, *, n_threads: int | None = None) -> FloatArray:
    """Return, for each halving of the time blocks, the logit of the in-sample winner's rank outside.

    The winner's relative rank w outside, in (0, 1), becomes ln(w / (1 - w)). A block's sums are made once and
    added block by block, so memory is that of S x n_trials sums, and no number of threads changes a bit.

    Parameters
    ----------
    daily : array of shape (n_days, n_trials)
        Daily returns, finite; at least 2 trials and 2 days a block. Leave trials with missing days out.
    n_splits : S, even, from 2 to 20.
    n_threads : one a core when None.

    Returns
    -------
    array of shape (binomial(S, S / 2),)
        In lexicographic order of the blocks that are in-sample.

    Raises
    ------
    UsageError
        An argument is out of range, or a return is missing.
    InsufficientError
        There are too few days or trials.
    """
    x = np.ascontiguousarray(daily, dtype=np.float64)  # sums in one order, whatever the memory's
    _check(x, n_splits)
    edges = np.linspace(0, x.shape[0], n_splits + 1).astype(np.int64)
    sums = np.add.reduceat(x, edges[:-1], axis=0)
    squares = np.add.reduceat(x * x, edges[:-1], axis=0)
    choices = np.array(list(itertools.combinations(range(n_splits), n_splits // 2)))
    n_pairs = (
        choices.shape[0] // 2
    )  # the first half of them has block 0; the k-th last is the k-th's complement
    inside = np.zeros((n_pairs, n_splits), dtype=np.bool_)
    inside[np.arange(n_pairs)[:, None], choices[:n_pairs]] = True
    logits = np.empty(choices.shape[0])
    bounds = np.linspace(0, n_pairs, min(n_pairs, n_threads or os.cpu_count() or 1) + 1).astype(np.int64)

    def work(job: int) -> None:
        scratch = np.empty((4, x.shape[1]))
        _pairs(inside, bounds[job], bounds[job + 1], np.diff(edges), sums, squares, scratch, logits)

    in_threads(work, bounds.shape[0] - 1, n_threads)
    return logits


def _check(x: FloatArray, n_splits: int) -> None:
    if n_splits % 2 or not 2 <= n_splits <= 20:
        raise UsageError(f"{n_splits} splits", remedy="choose an even number from 2 to 20")
    if x.ndim != 2 or not np.isfinite(x).all():
        raise UsageError(
            f"daily returns of shape {x.shape} with {int((~np.isfinite(x)).sum())} missing",
            remedy="give (n_days, n_trials) and leave trials with missing days out",
        )
    if x.shape[1] < 2 or x.shape[0] < 2 * n_splits:
        raise InsufficientError(
            f"{x.shape[0]} days of {x.shape[1]} trials; PBO needs {2 * n_splits} days and 2 trials"
        )


@kernel
def _pairs(
    inside: BoolArray,
    first: int,
    last: int,
    lengths: IntArray,
    sums: FloatArray,
    squares: FloatArray,
    scratch: FloatArray,
    logits: FloatArray,
) -> None:
    """Fill in the logits of some choices of blocks and of their complements.

    Parameters
    ----------
    inside : array of shape (n_pairs, n_blocks). first, last : the half-open range of pairs.
    lengths : (n_blocks,) days of each block.
    sums, squares : (n_blocks, n_trials) of returns and of their squares, over each block.
    scratch : (4, n_trials). logits : (2 * n_pairs,), in place.
    """
    n_trials = sums.shape[1]
    one, other = scratch[0], scratch[1]
    one_square, other_square = scratch[2], scratch[3]
    for pair in range(first, last):
        n_one = n_other = 0
        for j in range(n_trials):
            one[j] = other[j] = one_square[j] = other_square[j] = 0.0
        for block in range(lengths.shape[0]):
            if inside[pair, block]:
                n_one += lengths[block]
                for j in range(n_trials):
                    one[j] += sums[block, j]
                    one_square[j] += squares[block, j]
            else:
                n_other += lengths[block]
                for j in range(n_trials):
                    other[j] += sums[block, j]
                    other_square[j] += squares[block, j]
        _to_ratios(one, one_square, n_one)
        _to_ratios(other, other_square, n_other)
        logits[pair] = _logit(one, other)
        logits[logits.shape[0] - 1 - pair] = _logit(other, one)


@kernel
def _to_ratios(total: FloatArray, square: FloatArray, n: int) -> None:
    """Turn sums into V = sum / sqrt(sum of squares), 0 for what is constant; in place."""
    for j in range(total.shape[0]):
        varies = square[j] - total[j] * total[j] / n > _LEVEL * square[j]
        ratio = total[j] / math.sqrt(square[j] if varies else 1.0)
        total[j] = ratio if varies else 0.0


@kernel
def _logit(within: FloatArray, beyond: FloatArray) -> float:
    """Return the logit of the rank beyond of the first that is best within."""
    winner = 0
    for j in range(1, within.shape[0]):
        if within[j] > within[winner]:
            winner = j
    own = beyond[winner]
    below = equal = 0
    for j in range(beyond.shape[0]):
        below += beyond[j] < own
        equal += beyond[j] == own
    rank = (below + (equal + 1) / 2) / (beyond.shape[0] + 1)
    return math.log(rank / (1.0 - rank))
