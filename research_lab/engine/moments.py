"""Moments of one window and of two over blocks; NaN and windows as in `averages`.

Moments are taken about a value of the window itself, renewed at each wrap of the ring, so that a level of
1e8 costs no digits. How many equal values came last is counted too: a window of one value has a deviation of
exactly 0, whatever rounding has left in its sums, and what would divide by that is unknown.
"""

from __future__ import annotations

import math
from typing import Final

from research_lab.engine.averages import compensated_add
from research_lab.engine.jit import FloatArray, kernel
from research_lab.engine.pointwise import known

NAN = math.nan

# What is told of two windows.
COVARIANCE: Final = 0.0
CORRELATION: Final = 1.0
BETA: Final = 2.0

# The state of both: values seen, place in the ring, equal values that came last, centre; then sums.
_SEEN: Final = 0
_PLACE: Final = 1
_RUN: Final = 2
_CENTRE: Final = 3
_SUMS: Final = 4

# The state of two windows goes on: equal values and centre of the second, sums, then the ring of pairs.
_RUN_B: Final = 4
_CENTRE_B: Final = 5
_SUM_A: Final = 6
_SUM_B: Final = 8
_SUM_AA: Final = 10
_SUM_BB: Final = 12
_SUM_AB: Final = 14
_PAIRS: Final = 16


@kernel
def std(state: FloatArray, x: FloatArray, out: FloatArray, n: int, standardised: float) -> None:
    """Population standard deviation of the last n known values, or how many of it the last lies off the mean.

    Parameters
    ----------
    state : 8 + n cells: values seen, place, equal values that came last, centre, sum and its compensation,
        sum of squares and its compensation, each about the centre; then the ring.
    x, out : one block. Unit kept. NaN until n values were seen. n at least 2.
    standardised : 0 for the deviation, 1 for (value - mean) / deviation, NaN where that is 0.
    """
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
            continue
        _enter(state, value, n, 2)
        if state[_SEEN] < n:
            out[t] = NAN
            continue
        mean = (state[4] + state[5]) / n
        variance = (state[6] + state[7]) / n - mean * mean
        deviation = 0.0 if state[_RUN] >= n or variance <= 0.0 else math.sqrt(variance)
        if standardised == 1.0:
            deviation = (value - state[_CENTRE] - mean) / deviation if deviation != 0.0 else NAN
        out[t] = known(deviation)


@kernel
def skew(state: FloatArray, x: FloatArray, out: FloatArray, n: int) -> None:
    """Population skewness of the last n known values, m3 / m2 ** 1.5; NaN for a window of one value.

    Parameters
    ----------
    state : 10 + n cells, as in `std` with the sum of cubes and its compensation before the ring.
    x, out : one block. NaN until n values were seen. n at least 2.
    """
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
            continue
        _enter(state, value, n, 3)
        if state[_SEEN] < n or state[_RUN] >= n:
            out[t] = NAN
            continue
        mean = (state[4] + state[5]) / n
        square = (state[6] + state[7]) / n
        variance = square - mean * mean
        third = (state[8] + state[9]) / n - 3.0 * mean * square + 2.0 * mean * mean * mean
        out[t] = known(third / (variance * math.sqrt(variance))) if variance > 0.0 else NAN


@kernel
def _enter(state: FloatArray, value: float, n: int, order: int) -> None:
    """Put a value into the window, and its powers up to `order` into the sums."""
    ring = _SUMS + 2 * order
    place = int(state[_PLACE])
    last = state[ring + (place - 1 if place > 0 else n - 1)]
    state[_RUN] = state[_RUN] + 1.0 if state[_SEEN] > 0.0 and value == last else 1.0
    if state[_SEEN] == 0.0:
        state[_CENTRE] = value
    if state[_SEEN] >= n:
        _shift(state, state[ring + place] - state[_CENTRE], -1.0, order)
    _shift(state, value - state[_CENTRE], 1.0, order)
    state[ring + place] = value
    state[_SEEN] += 1.0
    place += 1
    if place == n:
        place = 0
        state[_CENTRE] = value
        for cell in range(_SUMS, ring):
            state[cell] = 0.0
        for k in range(n):
            _shift(state, state[ring + k] - value, 1.0, order)
    state[_PLACE] = place


@kernel
def _shift(state: FloatArray, deviation: float, sign: float, order: int) -> None:
    power = sign
    for k in range(order):
        power *= deviation
        compensated_add(state, _SUMS + 2 * k, power)


@kernel
def comoment(state: FloatArray, a: FloatArray, b: FloatArray, out: FloatArray, n: int, kind: float) -> None:
    """Covariance, correlation, or slope of a on b, over the last n bars on which both are known.

    Parameters
    ----------
    state : 16 + 2 n cells: pairs seen, place, equal values of a that came last, centre of a, the same two of
        b; sums of a, b, a a, b b and a b about the centres, each with its compensation; the ring of pairs.
    a, b, out : one block. NaN until n pairs were seen. n at least 2.
    kind : COVARIANCE; CORRELATION, NaN where a or b is one value all through; BETA, NaN where b is.
    """
    for t in range(a.shape[0]):
        if not (math.isfinite(a[t]) and math.isfinite(b[t])):
            out[t] = NAN
            continue
        _enter_pair(state, a[t], b[t], n)
        out[t] = NAN if state[_SEEN] < n else known(_told(state, n, kind))


@kernel
def _told(state: FloatArray, n: int, kind: float) -> float:
    mean_a = (state[_SUM_A] + state[_SUM_A + 1]) / n
    mean_b = (state[_SUM_B] + state[_SUM_B + 1]) / n
    shared = (state[_SUM_AB] + state[_SUM_AB + 1]) / n - mean_a * mean_b
    a_is_constant = state[_RUN] >= n
    b_is_constant = state[_RUN_B] >= n
    if kind == COVARIANCE:
        return 0.0 if a_is_constant or b_is_constant else shared
    variance_b = (state[_SUM_BB] + state[_SUM_BB + 1]) / n - mean_b * mean_b
    if b_is_constant or variance_b <= 0.0:
        return NAN
    if kind == BETA:
        return 0.0 if a_is_constant else shared / variance_b
    variance_a = (state[_SUM_AA] + state[_SUM_AA + 1]) / n - mean_a * mean_a
    if a_is_constant or variance_a <= 0.0:
        return NAN
    correlation = shared / (math.sqrt(variance_a) * math.sqrt(variance_b))
    if math.isnan(correlation):
        return NAN
    return max(-1.0, min(1.0, correlation))


@kernel
def _enter_pair(state: FloatArray, a: float, b: float, n: int) -> None:
    place = int(state[_PLACE])
    last = _PAIRS + 2 * (place - 1 if place > 0 else n - 1)
    some = state[_SEEN] > 0.0
    state[_RUN] = state[_RUN] + 1.0 if some and a == state[last] else 1.0
    state[_RUN_B] = state[_RUN_B] + 1.0 if some and b == state[last + 1] else 1.0
    if not some:
        state[_CENTRE] = a
        state[_CENTRE_B] = b
    cell = _PAIRS + 2 * place
    if state[_SEEN] >= n:
        _shift_pair(state, state[cell], state[cell + 1], -1.0)
    _shift_pair(state, a, b, 1.0)
    state[cell] = a
    state[cell + 1] = b
    state[_SEEN] += 1.0
    place += 1
    if place == n:
        place = 0
        state[_CENTRE] = a
        state[_CENTRE_B] = b
        for k in range(_SUM_A, _PAIRS):
            state[k] = 0.0
        for k in range(n):
            _shift_pair(state, state[_PAIRS + 2 * k], state[_PAIRS + 2 * k + 1], 1.0)
    state[_PLACE] = place


@kernel
def _shift_pair(state: FloatArray, a: float, b: float, sign: float) -> None:
    off_a = a - state[_CENTRE]
    off_b = b - state[_CENTRE_B]
    compensated_add(state, _SUM_A, sign * off_a)
    compensated_add(state, _SUM_B, sign * off_b)
    compensated_add(state, _SUM_AA, sign * off_a * off_a)
    compensated_add(state, _SUM_BB, sign * off_b * off_b)
    compensated_add(state, _SUM_AB, sign * off_a * off_b)


@kernel
def ewm_std(state: FloatArray, x: FloatArray, out: FloatArray, span: int) -> None:
    """Population standard deviation under weights that fall by 1 - 2 / (span + 1) a value.

    As `ewm(span=span, adjust=False).std(bias=True)` of pandas over the known values.

    Parameters
    ----------
    state : 3 cells: values seen, average as in `averages.ema`, variance about it.
    x, out : one block. Unit kept. NaN until `span` values were seen.
    """
    weight = 2.0 / (span + 1.0)
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
            continue
        step = value - state[1] if state[0] > 0.0 else 0.0
        state[1] = state[1] + weight * step if state[0] > 0.0 else value
        state[2] = (1.0 - weight) * (state[2] + weight * step * step)
        state[0] += 1.0
        out[t] = known(math.sqrt(state[2])) if state[0] >= span else NAN
