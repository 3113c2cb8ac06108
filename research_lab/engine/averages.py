"""Averages, sums and slopes over blocks: each advances its own slice of the state.

A value that is not finite gives NaN for its bar and enters neither window nor recursion: a window
is the last n values that were known. A result that is not finite is NaN too. Rolling sums are
compensated, what rounding loses being summed beside them, and begun anew each time the ring of the window
wraps, which depends on the bars seen only, so any cut into blocks gives the same bits.
"""

from __future__ import annotations

import math

from research_lab.engine.jit import FloatArray, inlined_kernel, kernel
from research_lab.engine.pointwise import known

NAN = math.nan


@kernel
def ema(state: FloatArray, x: FloatArray, out: FloatArray, span: int) -> None:
    """Exponential moving average: y += 2 / (span + 1) * (x - y), from the first value.

    Parameters
    ----------
    state : float64 array, 2 cells: values seen, last average. In place.
    x, out : float64 arrays, one block. Unit kept. NaN until `span` values were seen.
    span : bars, at least 1.
    """
    _recursive_average(state, x, out, 2.0 / (span + 1.0), span)


@kernel
def rma(state: FloatArray, x: FloatArray, out: FloatArray, n: int) -> None:
    """Wilder's average: y += (x - y) / n, from the first value. State and NaN as in `ema`.

    Source: J. Welles Wilder (1978), New Concepts in Technical Trading Systems.
    """
    _recursive_average(state, x, out, 1.0 / n, n)


@kernel
def _recursive_average(state: FloatArray, x: FloatArray, out: FloatArray, weight: float, ready: int) -> None:
    seen = state[0]
    y = state[1]
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
            continue
        y = y + weight * (value - y) if seen > 0.0 else value
        seen += 1.0
        out[t] = known(y) if seen >= ready else NAN
    state[0] = seen
    state[1] = y


@kernel
def rolling_sum(state: FloatArray, x: FloatArray, out: FloatArray, n: int, divisor: float) -> None:
    """Sum of the last n known values, divided by `divisor`: 1 for `sum`, n for `sma`.

    Beside the sum runs a second one, of the values since the ring last wrapped; at the next wrap it holds
    the whole window and takes the first one's place.

    Parameters
    ----------
    state : 7 + n cells: values seen, place in the ring, sum, what rounding lost, both of the second sum,
        equal values that came last; then the ring. A window of one value is summed as n times that,
        whatever rounding has left.
    x, out : one block. Unit kept. NaN until n values were seen.
    """
    seen = state[0]
    place = int(state[1])
    total, lost = state[2], state[3]
    fresh, fresh_lost = state[4], state[5]
    run = state[6]
    ring = state[7 : 7 + n]
    last = ring[place - 1 if place > 0 else n - 1] if seen > 0.0 else NAN
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
            continue
        run = run + 1.0 if value == last else 1.0
        last = value
        gone = ring[place] if seen >= n else 0.0
        step = value - gone
        new = total + step
        lost += _rounding(value, -gone, step) + _rounding(total, step, new)
        total = new
        new = fresh + value
        fresh_lost += _rounding(fresh, value, new)
        fresh = new
        ring[place] = value
        seen += 1.0
        place += 1
        if place == n:
            place = 0
            total, lost = fresh, fresh_lost
            fresh, fresh_lost = 0.0, 0.0
        if seen < n:
            out[t] = NAN
        else:
            out[t] = known(value * (n / divisor) if run >= n else (total + lost) / divisor)
    state[0] = seen
    state[1] = place
    state[2], state[3] = total, lost
    state[4], state[5] = fresh, fresh_lost
    state[6] = run


@inlined_kernel
def _rounding(a: float, b: float, total: float) -> float:
    """Return what the sum of two numbers lost by rounding, exactly.

    Source: Donald Knuth (1969), The Art of Computer Programming, volume 2, section 4.2.2.
    """
    b_kept = total - a
    return (a - (total - b_kept)) + (b - b_kept)


@kernel
def kama(state: FloatArray, x: FloatArray, out: FloatArray, n: int) -> None:
    """Kaufman's adaptive average: y += s * (x - y), s the square of a weight between those of 30 and 2 bars.

    The weight goes with efficiency: the way from the value n bars ago over the sum of the n steps between. As
    in TA-Lib, y begins with the value before the first efficiency, and where nothing moved efficiency is 1.

    Parameters
    ----------
    state : 6 + n cells: values seen, place, average, sum of steps and its compensation, equal values that came
        last; the ring.
    x, out : one block. Unit kept. NaN until n + 1 values were seen.

    Source: Perry J. Kaufman (1995), Smarter Trading.
    """
    fast = 2.0 / 3.0
    slow = 2.0 / 31.0
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
            continue
        place = int(state[1])
        last = state[6 + (place - 1 if place > 0 else n - 1)]
        state[5] = state[5] + 1.0 if state[0] > 0.0 and value == last else 1.0
        if state[0] > 0.0:
            compensated_add(state, 3, abs(value - last))
        out[t] = NAN
        if state[0] >= n:
            way = abs(value - state[6 + place])
            steps = state[3] + state[4]
            efficiency = way / steps if steps > way and state[5] <= n else 1.0
            weight = efficiency * (fast - slow) + slow
            y = last if state[0] == n else state[2]
            state[2] = y + weight * weight * (value - y)
            out[t] = known(state[2])
            following = state[6 + (place + 1 if place + 1 < n else 0)] if n > 1 else value
            compensated_add(state, 3, -abs(following - state[6 + place]))
        state[6 + place] = value
        state[0] += 1.0
        place += 1
        if place == n:
            place = 0
            state[3] = 0.0
            state[4] = 0.0
            for k in range(1, n):
                compensated_add(state, 3, abs(state[6 + k] - state[5 + k]))
        state[1] = place


@kernel
def compensated_add(state: FloatArray, cell: int, term: float) -> None:
    """Add to the sum in `cell`; what rounding loses goes to the next cell."""
    total = state[cell]
    new = total + term
    if abs(total) >= abs(term):
        state[cell + 1] += (total - new) + term
    else:
        state[cell + 1] += (term - new) + total
    state[cell] = new


@inlined_kernel
def _add_product(state: FloatArray, cell: int, order: float, deviation: float) -> None:
    """Add order times deviation to the sum in `cell`; what rounding loses, of the product too, goes to the next.

    A spike's product enters rounded otherwise, and leaves in parts that do not add up to it.

    Source: T. J. Dekker (1971), A Floating-Point Technique for Extending the Available Precision. One half of the
    split is enough, for orders are whole and small.
    """
    product = order * deviation
    compensated_add(state, cell, product)
    if abs(deviation) < 1e290:  # beyond, the split would overflow
        scaled = 134_217_729.0 * deviation  # 2**27 + 1
        high = scaled - (scaled - deviation)
        state[cell + 1] += (order * high - product) + order * (deviation - high)


@kernel
def slope(state: FloatArray, x: FloatArray, out: FloatArray, n: int) -> None:
    """Least-squares slope of the last n known values against their order, unit per bar.

    Parameters
    ----------
    state : 8 + n cells: values seen, place, a value of the window as centre, sum of deviations from it and
        its compensation, sum of order times deviation and its compensation, equal values that came last;
        then the ring.
    x, out : one block. NaN until n values were seen. n at least 2. Exactly 0 for a window of one value.
    """
    spread = n * (n * n - 1.0) / 12.0
    middle = (n - 1.0) / 2.0
    for t in range(x.shape[0]):
        value = x[t]
        if not math.isfinite(value):
            out[t] = NAN
            continue
        place = int(state[1])
        if state[0] == 0.0:
            state[2] = value
        last = state[8 + (place - 1 if place > 0 else n - 1)]
        state[7] = state[7] + 1.0 if state[0] > 0.0 and value == last else 1.0
        deviation = value - state[2]
        if state[0] < n:
            _add_product(state, 5, state[0], deviation)
        else:
            oldest = state[8 + place] - state[2]
            compensated_add(state, 3, -oldest)
            compensated_add(state, 5, -state[3])
            compensated_add(state, 5, -state[4])
            _add_product(state, 5, n - 1.0, deviation)
        compensated_add(state, 3, deviation)
        state[8 + place] = value
        state[0] += 1.0
        place += 1
        if place == n:
            place = 0
            _recentre_order(state, n)
        state[1] = place
        if state[0] < n:
            out[t] = NAN
        elif state[7] >= n:
            out[t] = 0.0
        else:
            out[t] = known(((state[5] + state[6]) - middle * (state[3] + state[4])) / spread)


@kernel
def _recentre_order(state: FloatArray, n: int) -> None:
    state[2] = state[8 + n - 1]
    for cell in range(3, 7):
        state[cell] = 0.0
    for k in range(n):
        deviation = state[8 + k] - state[2]
        compensated_add(state, 3, deviation)
        _add_product(state, 5, float(k), deviation)
