"""Rolling extremes and order statistics over blocks; NaN and windows as in `averages`."""

from __future__ import annotations

import math

from research_lab.engine.jit import FloatArray, kernel
from research_lab.engine.pointwise import known

NAN = math.nan


@kernel
def highest(state: FloatArray, x: FloatArray, out: FloatArray, n: int, sign: float) -> None:
    """Largest of the last n known values (`sign` 1), or smallest (`sign` -1), by a monotonic deque.

    Parameters
    ----------
    state : 3 + 2 n cells: values seen, head and length of the deque; then a ring of n values (times
        `sign`) and a ring of their numbers. Amortised O(1) a bar.
    x, out : one block. Unit kept. NaN until n values were seen.

    Source: Daniel Lemire (2006), Streaming Maximum-Minimum Filter Using No More than Three
    Comparisons per Element.
    """
    seen = state[0]
    head = int(state[1])
    length = int(state[2])
    for t in range(x.shape[0]):
        value = x[t] * sign
        if not math.isfinite(value):
            out[t] = NAN
            continue
        if length > 0 and state[3 + n + head] <= seen - n:
            head = head + 1 if head + 1 < n else 0
            length -= 1
        while length > 0:
            last = head + length - 1
            if last >= n:
                last -= n
            if state[3 + last] > value:
                break
            length -= 1
        last = head + length
        if last >= n:
            last -= n
        state[3 + last] = value
        state[3 + n + last] = seen
        length += 1
        seen += 1.0
        out[t] = state[3 + head] * sign if seen >= n else NAN
    state[0] = seen
    state[1] = head
    state[2] = length


@kernel
def quantile(state: FloatArray, x: FloatArray, out: FloatArray, n: int, share: float) -> None:
    """Quantile of the last n known values, linear between neighbours (NumPy's default).

    Parameters
    ----------
    state : 2 + 2 n cells: values seen, place in the ring; the ring; the window in ascending order.
    x, out : one block. Unit kept. NaN until n values were seen.
    share : in [0, 1]: 0.8 is the 80th percentile.
    """
    seen = int(state[0])
    place = int(state[1])
    rank = share * (n - 1)
    below = int(rank)
    above = below + 1 if below + 1 < n else below
    weight = rank - below
    ordered = state[2 + n :]
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
            continue
        if seen < n:
            hole = seen
        else:
            hole = _first_not_below(ordered, n, state[2 + place])
        _move_into_order(ordered, min(seen, n - 1), hole, value)
        state[2 + place] = value
        seen += 1
        place = place + 1 if place + 1 < n else 0
        if seen >= n:
            out[t] = known(ordered[below] + weight * (ordered[above] - ordered[below]))
        else:
            out[t] = NAN
    state[0] = seen
    state[1] = place


@kernel
def _first_not_below(ordered: FloatArray, n: int, value: float) -> int:
    low = 0
    high = n
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _move_into_order(ordered: FloatArray, last: int, hole: int, value: float) -> None:
    """Put `value` where it belongs by shifting what lies between it and the hole."""
    while hole > 0 and ordered[hole - 1] > value:
        ordered[hole] = ordered[hole - 1]
        hole -= 1
    while hole < last and ordered[hole + 1] < value:
        ordered[hole] = ordered[hole + 1]
        hole += 1
    ordered[hole] = value
