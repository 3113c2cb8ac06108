"""Blends of timeframes and sources in plain Python, bar by bar."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .indicators import ORACLES as O
from .indicators import FloatArray

HOUR_MS = 3_600_000
STEPS = {
    "1h": (HOUR_MS, 0.4),
    "4h": (4 * HOUR_MS, 0.3),
    "1d": (24 * HOUR_MS, 0.2),
    "1w": (168 * HOUR_MS, 0.1),
}
MONDAY_MS = 4 * 24 * HOUR_MS
Bars = dict[str, FloatArray]


def longer_bars(time: FloatArray, bars: Bars, base_ms: int, step_ms: int) -> tuple[Bars, FloatArray]:
    """Return longer bars and when each ended; the first only when the tape begins with it."""
    origin = MONDAY_MS if step_ms % (168 * HOUR_MS) == 0 else 0
    buckets: dict[int, list[int]] = {}
    for i, opened in enumerate(time.tolist()):
        buckets.setdefault((opened - origin) // step_ms, []).append(i)
    kept = [
        (number, members)
        for number, members in buckets.items()
        if members[0] > 0 or time[0] == origin + number * step_ms
    ]
    rows = {"open": [], "high": [], "low": [], "close": []}  # type: dict[str, list[float]]
    for _, members in kept:
        rows["open"].append(bars["open"][members[0]])
        rows["high"].append(max(bars["high"][members].tolist()))
        rows["low"].append(min(bars["low"][members].tolist()))
        rows["close"].append(bars["close"][members[-1]])
    ends = np.array([origin + (number + 1) * step_ms for number, _ in kept])
    return {name: np.array(values, float) for name, values in rows.items()}, ends


def held(time: FloatArray, base_ms: int, ends: FloatArray, values: FloatArray) -> FloatArray:
    """Return for each bar the last value that had ended at its close."""
    out = np.full(len(time), math.nan)
    for i, opened in enumerate(time.tolist()):
        past = np.flatnonzero(ends <= opened + base_ms)
        out[i] = values[past[-1]] if past.size else math.nan
    return out


def calm(bars: Bars) -> FloatArray:
    """Return the usual range over the latest, as shares of price, within 0.5 and 2."""
    share = O["div"](O["true_range"](bars["high"], bars["low"], bars["close"]), bars["close"])
    ratio = O["div"](O["sma"](share, 50), O["sma"](share, 14))
    return np.clip(ratio, 0.5, 2.0)


def confirmed(time: FloatArray, bars: Bars, base_ms: int, score: Callable[[Bars], FloatArray]) -> FloatArray:
    """Return the weighted mean of a score over the timeframes that the bars make and that are known."""
    seen = []
    for step_ms, weight in STEPS.values():
        if step_ms < base_ms or step_ms % base_ms:
            continue
        higher, ends = (
            (bars, time + base_ms) if step_ms == base_ms else longer_bars(time, bars, base_ms, step_ms)
        )
        seen.append((
            held(time, base_ms, ends, weight * calm(higher)), held(time, base_ms, ends, score(higher)),
        ))  # fmt: skip
    out = np.full(len(time), math.nan)
    for i in range(len(time)):
        told = [(w[i], x[i]) for w, x in seen if math.isfinite(w[i]) and math.isfinite(x[i])]
        if told:
            out[i] = sum(w * x for w, x in told) / sum(w for w, _ in told)
    return out


def fused(technical: FloatArray, model: FloatArray, share: float = 0.65) -> FloatArray:
    """Return share of one and the rest of the other; the first alone where the other is unknown."""
    both = share * technical + (1.0 - share) * model
    return np.where(np.isnan(model), technical, both)
