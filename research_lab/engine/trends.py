"""Lines that trail the price and turn when it crosses them: supertrend and Wilder's parabolic.

A bar of which a price is missing is unknown, and leaves the line as it is.
"""

from __future__ import annotations

import math

from research_lab.engine.jit import FloatArray, inlined_kernel, kernel
from research_lab.engine.pointwise import known

NAN = math.nan


@kernel
def supertrend(
    state: FloatArray, upper: FloatArray, lower: FloatArray, close: FloatArray, out: FloatArray, shown: float
) -> None:
    """The band that price trails: the lower one, never falling, in a rise; the upper, never rising, in a fall.

    The first bar rises when it closes at or above the middle of its bands.

    Parameters
    ----------
    state : 4 cells: direction (1 up, -1 down, 0 before the first bar), upper and lower band as carried,
        last close. In place.
    upper, lower : this bar's bands before they are carried. close : all one block.
    out : the line when `shown` is 1, the direction (1 or -1) when it is 0.
    """
    for t in range(close.shape[0]):
        if math.isnan(upper[t]) or math.isnan(lower[t]) or math.isnan(close[t]):
            out[t] = NAN
            continue
        above = upper[t]
        below = lower[t]
        if state[0] == 0.0:
            state[0] = 1.0 if close[t] >= 0.5 * (above + below) else -1.0
        else:
            if above > state[1] and state[3] <= state[1]:
                above = state[1]
            if below < state[2] and state[3] >= state[2]:
                below = state[2]
            if state[0] == 1.0 and close[t] < below:
                state[0] = -1.0
            elif state[0] == -1.0 and close[t] > above:
                state[0] = 1.0
        state[1] = above
        state[2] = below
        state[3] = close[t]
        line = below if state[0] == 1.0 else above
        out[t] = known(line if shown == 1.0 else state[0])


@kernel
def parabolic(
    state: FloatArray,
    high: FloatArray,
    low: FloatArray,
    step: FloatArray,
    maximum: FloatArray,
    out: FloatArray,
    shown: float,
) -> None:
    """Wilder's parabolic stop and reverse.

    It starts as TA-Lib's: down when the second bar's directional movement is down, else up, from the first
    bar's opposite extreme.

    Parameters
    ----------
    state : 7 cells: bars seen (2 for more), direction (1 or -1), the stop for the next bar, extreme of the
        trend, acceleration, last high, last low. In place.
    high, low : one block.
    step, maximum : acceleration at the start and with each new extreme, and its bound; shares.
    out : the stop that held in the bar when `shown` is 1, the direction after it when it is 0. NaN on the
        first bar.

    Source: J. Welles Wilder (1978), New Concepts in Technical Trading Systems.
    """
    for t in range(high.shape[0]):
        if math.isnan(high[t]) or math.isnan(low[t]):
            out[t] = NAN
            continue
        if state[0] == 0.0:
            out[t] = NAN
        else:
            if state[0] == 1.0:
                _begin(state, high[t], low[t], min(step[t], maximum[t]))
            stop = _advance_stop(state, high[t], low[t], min(step[t], maximum[t]), maximum[t])
            out[t] = known(stop if shown == 1.0 else state[1])
        state[0] = min(state[0] + 1.0, 2.0)
        state[5] = high[t]
        state[6] = low[t]


@kernel
def _begin(state: FloatArray, high: float, low: float, step: float) -> None:
    """Set the direction, stop, extreme and acceleration on the second bar."""
    falls = state[6] - low
    down = falls > 0.0 and falls > high - state[5]
    state[1] = -1.0 if down else 1.0
    state[2] = state[5] if down else state[6]
    state[3] = low if down else high
    state[4] = step
    state[5] = high
    state[6] = low


@kernel
def _advance_stop(state: FloatArray, high: float, low: float, step: float, maximum: float) -> float:
    """Turn or follow the trend, move the stop for the next bar, and return the one of this bar."""
    stop = state[2]
    if low <= stop if state[1] == 1.0 else high >= stop:
        state[1] = -state[1]
        stop = _outside(state[3], state[1], high, low, state[5], state[6])
        state[3] = high if state[1] == 1.0 else low
        state[4] = step
    elif high > state[3] if state[1] == 1.0 else low < state[3]:
        state[3] = high if state[1] == 1.0 else low
        state[4] = min(state[4] + step, maximum)
    moved = stop + state[4] * (state[3] - stop)
    state[2] = _outside(moved, state[1], high, low, state[5], state[6])
    return stop


@inlined_kernel
def _outside(
    stop: float, direction: float, high: float, low: float, high_before: float, low_before: float
) -> float:
    """Return the stop kept out of this bar and the one before."""
    return min(stop, low, low_before) if direction == 1.0 else max(stop, high, high_before)
