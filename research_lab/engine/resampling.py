"""From the base grid to a strategy's timeframe, as bars complete; `engine.buckets` says when they do."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from research_lab.engine import buckets
from research_lab.engine.buckets import CLOSING_TIME, N_MARKET
from research_lab.engine.jit import FloatArray, IntArray, kernel

SIZE: Final = buckets.SIZE


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
    inputs : (7 + k, n) float64: open, high, low, close, volume, funding, premium, and k external series.
    base_ms, step_ms : lengths of a base bar and of a higher bar; step_ms at least base_ms.
    out : (at least 8 + k, n + 1) float64; the first rows are written: the bar, when it closes, and the
        external series as known when it completed.
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
        for row in range(N_MARKET, inputs.shape[0]):
            for t in range(n):
                out[row + 1, t] = inputs[row, t]
        for t in range(n):
            out[CLOSING_TIME, t] = time[t] + base_ms
            emitted_at[t] = t
        return n
    m = int(np.int64(0))
    for t in range(n):
        done = buckets.take(state, time[t], inputs, t, base_ms, step_ms, out, m)
        for s in range(m, done):
            emitted_at[s] = t
            for row in range(N_MARKET, inputs.shape[0]):
                out[row + 1, s] = inputs[row, t]
        m = done
    return m


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
