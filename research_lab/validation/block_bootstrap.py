"""Days drawn in blocks, the same for every column: what the family-wise p and the reality check have in common.

**Sums, not days.** A draw of circular blocks gives each day a count; a column's sum over the draw is the
product of counts and returns. Most counts come in blocks, so the sums of all blocks are made once (one for
each first day) and a draw adds those it has: a product with a matrix of weights whose zeros are left out,
which for blocks of twelve days is a twelfth of the work.

**The same bytes.** Each column's additions have one order, by the blocks of the draw, on whatever thread
and in whatever company: a thread takes whole groups of columns, and what groups are joined by (a maximum,
a count) does not depend on order. No library adds anything up.

**Memory.** A group of columns needs its sums of blocks and its draws, a few megabytes a thread.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from research_lab.engine.jit import BoolArray, FloatArray, IntArray, kernel

LANES = 64  # sums a group of columns has; a constant, so that the compiler keeps them side by side


def default_block_length(n_days: int) -> int:
    """Return max(5, ceil(n_days^(1/3))), in days.

    Examples
    --------
    >>> default_block_length(100), default_block_length(1460)
    (5, 12)
    """
    return max(5, math.ceil(math.cbrt(n_days)))


def block_starts(n_days: int, length: int, n_draws: int, seed: int) -> IntArray:
    """Return the first day of each circular block of each draw, shape (n_draws, ceil(n_days / length)).

    The last block of a draw is cut, so that a draw has exactly n_days days.
    """
    starts: IntArray = np.random.default_rng(seed).integers(0, n_days, size=(n_draws, -(-n_days // length)))
    return starts


def drawn_days(n_past: int, n: int, n_draws: int, seed: int) -> Iterator[IntArray]:
    """Give for each draw which of some past days make up n days: circular blocks of `default_block_length(n)`.

    Parameters
    ----------
    n_past, n : days to draw from, and days of a draw, both at least 1; the last block is cut.
    """
    length = default_block_length(n)
    starts = np.random.default_rng(seed).integers(0, n_past, size=(n_draws, -(-n // length)))
    for row in starts:  # one at a time: the memory does not grow with days times draws
        yield ((row[:, None] + np.arange(length)) % n_past).ravel()[:n]


def effective_blocks(weights: FloatArray | BoolArray, length: int) -> float:
    """Return how many independent blocks some days are worth, in [1, days that weigh].

    (sum of m)^2 / (L sum of m^2), m the weight of the circular block that starts at each day. For days of
    exposure: n / L for a column that is always exposed, k for k days far apart, 1 for a single short stay.

    Parameters
    ----------
    weights : array of shape (n_days,), at least 0 and not all 0; exposed days as booleans.
    length : L, days of a block.

    Examples
    --------
    >>> effective_blocks(np.ones(100, dtype=bool), 5)
    20.0
    """
    return float(worth_of(np.asarray(weights, dtype=np.float64), length))


@kernel
def worth_of(weights: FloatArray, length: int) -> float:
    """Return `effective_blocks`; exact for whole weights."""
    n_days = weights.shape[0]
    window = total = square = 0.0
    for day in range(length):
        window += weights[day]
    for day in range(n_days):
        total += window
        square += window * window
        coming = day + length
        window += weights[coming if coming < n_days else coming - n_days] - weights[day]
    return total * total / (length * square)


@kernel
def sum_blocks(lanes: FloatArray, length: int, whole: FloatArray, cut: FloatArray) -> None:
    """Add up the block that starts at each day, in the order of its days.

    Parameters
    ----------
    lanes : array of shape (n_days, LANES).
    whole, cut : likewise, in place: sums over `length` days, and over those of a draw's last block.
    """
    n_days = lanes.shape[0]
    last = n_days - (n_days - 1) // length * length
    for start in range(n_days):
        for j in range(LANES):
            whole[start, j] = lanes[start, j]
        for k in range(1, length):
            if k == last:
                for j in range(LANES):
                    cut[start, j] = whole[start, j]
            day = (start + k) % n_days
            for j in range(LANES):
                whole[start, j] += lanes[day, j]
        if last == length:
            for j in range(LANES):
                cut[start, j] = whole[start, j]


@kernel
def sum_draw(starts: IntArray, whole: FloatArray, cut: FloatArray, total: FloatArray) -> None:
    """Add up one draw's blocks, the cut one first.

    Parameters
    ----------
    starts : array of shape (n_blocks,). whole, cut : as from `sum_blocks`.
    total : array of shape (LANES,), in place.
    """
    last = starts.shape[0] - 1
    for j in range(LANES):
        total[j] = cut[starts[last], j]
    b = 0
    while b + 4 <= last:  # four at a time, in the same order: totals are fetched and stored less often
        one, two, three, four = starts[b], starts[b + 1], starts[b + 2], starts[b + 3]
        for j in range(LANES):
            total[j] = (((total[j] + whole[one, j]) + whole[two, j]) + whole[three, j]) + whole[four, j]
        b += 4
    while b < last:
        for j in range(LANES):
            total[j] += whole[starts[b], j]
        b += 1


def in_threads(work: Callable[[int], None], n_jobs: int, n_threads: int | None = None) -> None:
    """Call `work` with each number below `n_jobs`, on some threads; one a core when None."""
    n_threads = min(n_threads or os.cpu_count() or 1, n_jobs)
    if n_threads <= 1:
        for job in range(n_jobs):
            work(job)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        for done in [pool.submit(work, job) for job in range(n_jobs)]:
            done.result()
