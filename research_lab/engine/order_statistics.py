"""Rank and absolute deviation of the last n known values over blocks; NaN and windows as in `averages`.

A short window is looked through whole, a longer one is kept as a tree (`ordered_window`); its length alone
decides, so any cut into blocks gives the same bits.
"""

from __future__ import annotations

import math
from typing import Final

from research_lab.engine import ordered_window as tree
from research_lab.engine.jit import FloatArray, kernel
from research_lab.engine.pointwise import known

NAN = math.nan

# The longest windows for which looking at every value is faster than the tree, as measured.
COUNTED: Final = 1024
ADDED: Final = 128


def cells(n: int, looked_through: int) -> int:
    """Return the cells of state that a window needs: values seen and the ring, or the tree."""
    return 1 + n if n <= looked_through else tree.NODE * (n + 1)


@kernel
def rank(state: FloatArray, x: FloatArray, out: FloatArray, n: int) -> None:
    """Rank of the last of the last n known values as a share of n: 1 for the largest; ties share their mean.

    As `rolling(n).rank(method="average", pct=True)` of pandas over the known values.

    Parameters
    ----------
    state : `cells(n, COUNTED)` cells.
    x, out : one block. NaN until n values were seen.
    """
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
        elif n <= COUNTED:
            _write(state, value, n)
            out[t] = _rank_by_looking(state[1 : 1 + n], value) if state[0] >= n else NAN
        else:
            not_above = tree.enter(state, value, n) + 1.0
            out[t] = NAN
            if state[tree.SEEN] >= n:
                out[t] = (_count_below(state, value) + not_above + 1.0) / (2.0 * n)


@kernel
def mad(state: FloatArray, x: FloatArray, out: FloatArray, n: int) -> None:
    """Mean absolute deviation of the last n known values about their mean; exactly 0 where all are equal.

    Parameters
    ----------
    state : `cells(n, ADDED)` cells.
    x, out : one block. Unit kept. NaN until n values were seen.
    """
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
        elif n <= ADDED:
            _write(state, value, n)
            out[t] = known(_deviation_by_looking(state[1 : 1 + n])) if state[0] >= n else NAN
        else:
            tree.enter(state, value, n)
            out[t] = known(_deviation(state, n)) if state[tree.SEEN] >= n else NAN


@kernel
def _write(state: FloatArray, value: float, n: int) -> None:
    state[1 + int(state[0]) % n] = value
    state[0] += 1.0


@kernel
def _rank_by_looking(window: FloatArray, value: float) -> float:
    below = 0
    not_above = 0
    for k in range(window.shape[0]):
        below += 1 if window[k] < value else 0
        not_above += 1 if window[k] <= value else 0
    return (below + not_above + 1.0) / (2.0 * window.shape[0])


@kernel
def _deviation_by_looking(window: FloatArray) -> float:
    """Add up the deviations about the mean, both about one value of the window."""
    n = window.shape[0]
    centre = window[0]
    total = 0.0
    for k in range(n):
        total += window[k] - centre
    mean = total / n
    total = 0.0
    for k in range(n):
        total += abs(window[k] - centre - mean)
    return total / n


@kernel
def _count_below(state: FloatArray, value: float) -> float:
    count = 0.0
    node = int(state[tree.ROOT])
    while node != 0:
        cell = tree.NODE * node
        if state[cell + tree.VALUE] < value:
            count += state[tree.NODE * int(state[cell + tree.LEFT]) + tree.COUNT] + 1.0
            node = int(state[cell + tree.RIGHT])
        else:
            node = int(state[cell + tree.LEFT])
    return count


@kernel
def _deviation(state: FloatArray, n: int) -> float:
    """Add up what lies below the mean; what lies above is as far off in sum, so twice that is all."""
    mean = state[tree.NODE * int(state[tree.ROOT]) + tree.SUM] / n
    below = 0.0
    total = 0.0
    node = int(state[tree.ROOT])
    while node != 0:
        cell = tree.NODE * node
        left = int(state[cell + tree.LEFT])
        deviation = state[cell + tree.VALUE] - state[tree.CENTRE]
        if deviation < mean:
            below += state[tree.NODE * left + tree.COUNT] + 1.0
            total += state[tree.NODE * left + tree.SUM] + deviation
            node = int(state[cell + tree.RIGHT])
        else:
            node = left
    return 2.0 * (below * mean - total) / n
