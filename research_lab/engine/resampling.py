"""From the base grid to a strategy's timeframe, as bars complete.

A higher bar is complete at the first base close at or after its end. An empty bucket is no bar. When
the last base bars of a bucket are missing, the bucket completes at the close of the next base bar
there is, and that bar's own bucket may complete at the same close. Data that begin inside a bucket give no
bar for it: its open was not seen.
"""

from __future__ import annotations

import math
from typing import Final

from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.engine.program import CLOSING_TIME, N_MARKET

# State: the open bucket's number, 1 when it has bars, its seven values so far, 1 when a bar was seen, 1 while
# the open bucket is one whose beginning was not.
BUCKET: Final = 0
FILLED: Final = 1
VALUES: Final = 2
BEGUN: Final = VALUES + N_MARKET
HEADLESS: Final = BEGUN + 1
SIZE: Final = HEADLESS + 1

WEEK_MS: Final = 7 * 86_400_000
MONDAY_MS: Final = 4 * 86_400_000  # 1970-01-05 was a Monday


@kernel
def bucket_of(time_ms: int, step_ms: int) -> int:
    """Return the number of the bucket that holds a time; weeks start on Monday, UTC."""
    offset = MONDAY_MS if step_ms % WEEK_MS == 0 else 0
    return (time_ms - offset) // step_ms


@kernel
def resample(
    state: FloatArray,
    time: IntArray,
    inputs: FloatArray,
    base_ms: int,
    step_ms: int,
    out: FloatArray,
    emitted_at: IntArray,
) -> int:
    """Write each higher bar that completes in this block, and the base bar at whose close it does.

    Parameters
    ----------
    state : (SIZE,) float64, in place; zeros at the first bar.
    time : (n,) int64, opening times in ms UTC, ascending.
    inputs : (7, n) float64: open, high, low, close, volume, funding, premium.
    base_ms, step_ms : lengths of a base bar and of a higher bar; step_ms at least base_ms.
    out : (at least 8, n + 1) float64; the first eight rows are written: the bar, and when it closes.
    emitted_at : (n + 1,) int64; index in this block of the base bar that completed each higher bar.

    Returns
    -------
    int
        How many higher bars completed, at most n + 1.
    """
    n = time.shape[0]
    if step_ms == base_ms:
        for row in range(N_MARKET):
            for t in range(n):
                out[row, t] = inputs[row, t]
        for t in range(n):
            out[CLOSING_TIME, t] = time[t] + base_ms
            emitted_at[t] = t
        return n
    offset = MONDAY_MS if step_ms % WEEK_MS == 0 else 0
    m = 0
    for t in range(n):
        bucket = bucket_of(time[t], step_ms)
        if state[BEGUN] == 0.0:
            state[BEGUN] = 1.0
            state[HEADLESS] = 1.0 if time[t] > bucket * step_ms + offset else 0.0
        if state[FILLED] == 1.0 and state[BUCKET] != bucket:
            m = _emit(state, step_ms, offset, out, emitted_at, m, t)
        if state[FILLED] == 0.0:
            state[FILLED] = 1.0
            state[BUCKET] = bucket
            for row in range(N_MARKET):
                state[VALUES + row] = inputs[row, t]
        else:
            state[VALUES + 1] = max(state[VALUES + 1], inputs[1, t])
            state[VALUES + 2] = min(state[VALUES + 2], inputs[2, t])
            state[VALUES + 3] = inputs[3, t]
            state[VALUES + 4] += inputs[4, t]
            state[VALUES + 5] = inputs[5, t]
            state[VALUES + 6] = inputs[6, t]
        if time[t] + base_ms >= (bucket + 1) * step_ms + offset:
            m = _emit(state, step_ms, offset, out, emitted_at, m, t)
    return m


@kernel
def _emit(
    state: FloatArray, step_ms: int, offset: int, out: FloatArray, emitted_at: IntArray, m: int, t: int
) -> int:
    state[FILLED] = 0.0
    if state[HEADLESS] == 1.0:
        state[HEADLESS] = 0.0
        return m
    for row in range(N_MARKET):
        out[row, m] = state[VALUES + row]
    out[CLOSING_TIME, m] = (state[BUCKET] + 1.0) * step_ms + offset
    emitted_at[m] = t
    return m + 1


@kernel
def expand(codes: FloatArray, emitted_at: IntArray, m: int, last: float, out: FloatArray) -> float:
    """Hold each higher bar's value from the base bar that completed it on; return the last one."""
    s = 0
    for t in range(out.shape[0]):
        while s < m and emitted_at[s] == t:
            last = codes[s] if not math.isnan(codes[s]) else 0.0
            s += 1
        out[t] = last
    return last
