"""Rolling extremes and quantiles over blocks; NaN and windows as in `averages`."""

from __future__ import annotations

import math

from research_lab.engine.jit import FloatArray, inlined_kernel, kernel
from research_lab.engine.pointwise import known

NAN = math.nan


@kernel
def highest(state: FloatArray, x: FloatArray, out: FloatArray, n: int, sign: float) -> None:
    """Largest of the last n known values (`sign` 1), or smallest (`sign` -1); state as in `_extreme`."""
    _extreme(state, x, out, n, sign, False)


@kernel
def bars_since_highest(state: FloatArray, x: FloatArray, out: FloatArray, n: int, sign: float) -> None:
    """Known bars since the largest (`sign` 1) or smallest (-1) of the last n, the latest of equals; 0 now."""
    _extreme(state, x, out, n, sign, True)


@kernel
def _extreme(state: FloatArray, x: FloatArray, out: FloatArray, n: int, sign: float, age: bool) -> None:
    """Give an extreme of the last n known values, or its age, by a monotonic deque.

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
        if seen < n:
            out[t] = NAN
        else:
            out[t] = seen - 1.0 - state[3 + n + head] if age else state[3 + head] * sign
    state[0] = seen
    state[1] = head
    state[2] = length


@kernel
def quantile(state: FloatArray, x: FloatArray, out: FloatArray, n: int, share: float) -> None:
    """Quantile of the last n known values, linear between neighbours (NumPy's default).

    The values up to the rank lie in a heap with the largest on top, the others in one with the smallest on
    top, and each knows its place, so that a bar costs O(log n): the oldest value is overwritten where it lies.

    Parameters
    ----------
    state : 2 + 3 n cells: values seen, place in the ring; the values by place in the heaps; the place in the
        ring of each, and the place in the heaps of each place in the ring.
    x, out : one block. Unit kept. NaN until n values were seen.
    share : in [0, 1]: 0.8 is the 80th percentile.
    """
    seen = int(state[0])
    place = int(state[1])
    rank = share * (n - 1)
    below = int(rank)
    weight = rank - below
    border = below + 1
    heaps = state[2:]
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
            continue
        if seen < n:
            _append(heaps, n, border, seen, value)
        else:
            _overwrite(heaps, n, border, int(heaps[2 * n + place]), value)
        seen += 1
        place = place + 1 if place + 1 < n else 0
        if seen < n:
            out[t] = NAN
        else:
            step = heaps[border] - heaps[0] if border < n else 0.0
            out[t] = known(heaps[0] + weight * step)
    state[0] = seen
    state[1] = place


@kernel
def _append(heaps: FloatArray, n: int, border: int, size: int, value: float) -> None:
    """Add a value to the `size` ones that are there: the lower heap is filled first."""
    if size < border:
        _put(heaps, n, size, value, size)
        _rise(heaps, n, 0, size, -1.0)
    elif value < heaps[0]:
        _put(heaps, n, size, heaps[0], int(heaps[n]))
        _rise(heaps, n, border, size, 1.0)
        _put(heaps, n, 0, value, size)
        _sink(heaps, n, 0, border, 0, -1.0)
    else:
        _put(heaps, n, size, value, size)
        _rise(heaps, n, border, size, 1.0)


@kernel
def _overwrite(heaps: FloatArray, n: int, border: int, at: int, value: float) -> None:
    """Give the value at a place of the heaps a new one, and put the heaps in order again."""
    first, end, sign = (0, border, -1.0) if at < border else (border, n, 1.0)
    goes_up = sign * value < sign * heaps[at]
    heaps[at] = value
    if goes_up:
        _rise(heaps, n, first, at, sign)
    else:
        _sink(heaps, n, first, end, at, sign)
    if border < n and heaps[0] > heaps[border]:
        low, high = heaps[border], heaps[0]
        low_from, high_from = int(heaps[n + border]), int(heaps[n])
        _put(heaps, n, 0, low, low_from)
        _put(heaps, n, border, high, high_from)
        _sink(heaps, n, 0, border, 0, -1.0)
        _sink(heaps, n, border, n, border, 1.0)


@inlined_kernel
def _put(heaps: FloatArray, n: int, at: int, value: float, place: int) -> None:
    heaps[at] = value
    heaps[n + at] = place
    heaps[2 * n + place] = at


@kernel
def _rise(heaps: FloatArray, n: int, first: int, at: int, sign: float) -> None:
    """Move what stands too low in the heap that begins at `first` up to where it belongs."""
    value = heaps[at]
    place = int(heaps[n + at])
    while at > first:
        above = first + (at - first - 1) // 2
        if not sign * value < sign * heaps[above]:
            break
        _put(heaps, n, at, heaps[above], int(heaps[n + above]))
        at = above
    _put(heaps, n, at, value, place)


@kernel
def _sink(heaps: FloatArray, n: int, first: int, end: int, at: int, sign: float) -> None:
    """Move what stands too high in the heap from `first` to before `end` down to where it belongs."""
    value = heaps[at]
    place = int(heaps[n + at])
    while True:
        below = first + 2 * (at - first) + 1
        if below >= end:
            break
        if below + 1 < end and sign * heaps[below + 1] < sign * heaps[below]:
            below += 1
        if not sign * heaps[below] < sign * value:
            break
        _put(heaps, n, at, heaps[below], int(heaps[n + below]))
        at = below
    _put(heaps, n, at, value, place)
