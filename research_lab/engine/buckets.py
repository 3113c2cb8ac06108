"""How bars gather into longer ones: one bar into its bucket, the one definition behind every timeframe.

A higher bar is complete at the first close at or after its end. An empty bucket is no bar. When the last
bars of a bucket are missing, the bucket completes at the close of the next bar there is, and that bar's own
bucket may complete at the same close. Data that begin inside a bucket give no bar for it: its open was not
seen.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from research_lab.engine.jit import FloatArray, inlined_kernel, kernel

# The input registers of a program: the market's rows (open, high, low, close, volume, funding, premium),
# when the bar closes in ms since 1970 UTC, and behind them the rows of external series.
N_MARKET: Final = 7
CLOSING_TIME: Final = 7
N_INPUTS: Final = 8

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


@inlined_kernel
def take(
    state: FloatArray,
    opened_ms: int,
    inputs: FloatArray,
    t: int,
    base_ms: int,
    step_ms: int,
    out: FloatArray,
    m: int,
) -> int:
    """Take bar t of the inputs into its bucket; return how many higher bars are then complete, m before.

    Parameters
    ----------
    state : (SIZE,) float64, in place; zeros at the first bar.
    opened_ms : when the bar opened. base_ms, step_ms : lengths of the bar and of a higher bar.
    inputs : its first seven rows are the market's.
    out : each higher bar that completes is written to the first eight rows: the bar, and when it closes.
    """
    offset = MONDAY_MS if step_ms % WEEK_MS == 0 else 0
    bucket = bucket_of(opened_ms, step_ms)
    if state[BEGUN] == 0.0:
        state[BEGUN] = 1.0
        state[HEADLESS] = 1.0 if opened_ms > bucket * step_ms + offset else 0.0
    if state[FILLED] == 1.0 and state[BUCKET] != bucket:
        m = _complete(state, step_ms, offset, out, m)
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
    if opened_ms + base_ms >= (bucket + 1) * step_ms + offset:
        m = _complete(state, step_ms, offset, out, m)
    return m


@kernel
def _complete(state: FloatArray, step_ms: int, offset: int, out: FloatArray, m: int) -> int:
    state[FILLED] = 0.0
    if state[HEADLESS] == 1.0:
        state[HEADLESS] = 0.0
        return m
    for row in range(N_MARKET):
        out[row, m] = state[VALUES + row]
    out[CLOSING_TIME, m] = (state[BUCKET] + 1.0) * step_ms + offset
    return m + 1


@kernel
def gather(
    state: FloatArray,
    registers: FloatArray,
    n: int,
    base_ms: int,
    step_ms: int,
    out: FloatArray,
    completed_at: FloatArray,
) -> int:
    """Gather the first n bars of a program's input registers into higher bars; return how many completed.

    Parameters
    ----------
    state, base_ms, step_ms : as for `take`.
    registers : the input registers of the n bars, in the order of this module.
    out : (n_inputs, at least n + 1), the input registers of the higher bars. Rows behind the closing time
        are what was known when the higher bar completed.
    completed_at : (at least n + 1,) which of the n bars completed each higher bar.
    """
    m = int(np.int64(0))
    for t in range(n):
        opened_ms = int(registers[CLOSING_TIME, t]) - base_ms
        done = take(state, opened_ms, registers, t, base_ms, step_ms, out, m)
        for s in range(m, done):
            completed_at[s] = t
            for row in range(N_INPUTS, out.shape[0]):
                out[row, s] = registers[row, t]
        m = done
    return m


@kernel
def hold(state: FloatArray, values: FloatArray, completed_at: FloatArray, m: int, out: FloatArray) -> None:
    """Write for each bar the value of the last of m higher bars that completed; unknown before the first.

    Parameters
    ----------
    state : (2,) 1 when a higher bar has completed, and its value, unknown or not.
    """
    s = int(np.int64(0))
    for t in range(out.shape[0]):
        while s < m and completed_at[s] == t:
            state[0] = 1.0
            state[1] = values[s]
            s += 1
        out[t] = state[1] if state[0] == 1.0 else math.nan
