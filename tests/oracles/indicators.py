"""What every function of the language means, in plain NumPy: one window, one value at a time.

An input that is not finite is unknown (NaN), and so is a result that is not finite. A function with a
window or a recursion leaves a bar with an unknown input out: NaN for that bar, and the window or recursion
sees the valid bars only, as if the others did not exist. `prev`, `change` and the crossings look at bars,
valid or not. Conditions are 1.0, 0.0 or NaN, with Kleene's three-valued logic.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Oracle = Callable[..., FloatArray]
NAN = math.nan


def finite(x: FloatArray) -> FloatArray:
    """Return a copy with NaN where a value is not finite."""
    return np.where(np.isfinite(x), x, NAN)


def elementwise(formula: Callable[..., float]) -> Oracle:
    """Return the function that applies a formula bar by bar; any NaN input gives NaN."""

    def applied(*inputs: FloatArray) -> FloatArray:
        out = np.full(len(inputs[0]), NAN)
        for i, values in enumerate(zip(*inputs, strict=True)):
            if all(math.isfinite(v) for v in values):
                try:
                    out[i] = formula(*(float(v) for v in values))
                except (ZeroDivisionError, OverflowError, ValueError):
                    out[i] = NAN
        return finite(out)

    return applied


def on_valid_bars(formula: Oracle, n_arrays: int) -> Oracle:
    """Return the function that drops the bars with an unknown input, computes, and puts the rest back."""

    def applied(*arguments: FloatArray) -> FloatArray:
        arrays, windows = arguments[:n_arrays], arguments[n_arrays:]
        valid = np.array(
            [all(map(math.isfinite, values)) for values in zip(*arrays, strict=True)], dtype=bool
        )
        out = np.full(len(valid), NAN)
        if valid.any():
            out[valid] = formula(*(np.asarray(a, dtype=np.float64)[valid] for a in arrays), *windows)
        return finite(out)

    return applied


def rolling(statistic: Callable[..., float]) -> Oracle:
    """Return the function that applies a statistic to the last n valid values; NaN before there are n."""

    def windows(x: FloatArray, n: int, *rest: float) -> FloatArray:
        out = np.full(len(x), NAN)
        for i in range(n - 1, len(x)):
            out[i] = statistic(x[i - n + 1 : i + 1], *rest)
        return out

    return on_valid_bars(windows, 1)


def smoothed(x: FloatArray, alpha: float, n: int) -> FloatArray:
    """Return y += alpha * (x - y) from the first value, NaN until n values were seen; no NaN in x."""
    out = np.full(len(x), NAN)
    y = NAN
    for i, value in enumerate(x):
        y = value if i == 0 else (1 - alpha) * y + alpha * value
        if i >= n - 1:
            out[i] = y
    return out


def prev(x: FloatArray, n: int) -> FloatArray:
    """Return the value n bars ago, unknown ones included."""
    out = np.full(len(x), NAN)
    out[n:] = x[: max(len(x) - n, 0)]
    return finite(out)


def change(x: FloatArray, n: int) -> FloatArray:
    """Return x minus x n bars ago."""
    return finite(finite(x) - prev(x, n))


ema = on_valid_bars(lambda x, span: smoothed(x, 2 / (span + 1), span), 1)
rma = on_valid_bars(lambda x, n: smoothed(x, 1 / n, n), 1)


def least_squares_slope(window: FloatArray) -> float:
    """Return the slope per bar of the straight line through a window; NaN for a single value."""
    if len(window) < 2:
        return NAN
    t = np.arange(len(window)) - (len(window) - 1) / 2
    return float((t * (window - window.mean())).sum() / (t * t).sum())


def rsi_of_valid(x: FloatArray, n: int) -> FloatArray:
    """Return Wilder's relative strength, 0 to 100; 50 while nothing moves."""
    steps = change(x, 1)
    gain = rma(np.where(np.isnan(steps), NAN, np.maximum(steps, 0.0)), n)
    loss = rma(np.where(np.isnan(steps), NAN, np.maximum(-steps, 0.0)), n)
    out = np.full(len(x), NAN)
    for i, (up, down) in enumerate(zip(gain, loss, strict=True)):
        if math.isfinite(up):
            out[i] = 50.0 if up + down == 0 else 100 * up / (up + down)
    return out


def true_range_of_valid(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Return the range of each bar, extended to the last close; high - low on the first bar."""
    out = high - low
    for i in range(1, len(out)):
        out[i] = max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1]))
    return out


def directional_movement(high: FloatArray, low: FloatArray, side: int) -> FloatArray:
    """Return Wilder's directional movement up (side 1) or down (side -1); NaN on the first bar."""
    out = np.full(len(high), NAN)
    for i in range(1, len(out)):
        up, down = high[i] - high[i - 1], low[i - 1] - low[i]
        wanted, other = (up, down) if side > 0 else (down, up)
        out[i] = wanted if wanted > other and wanted > 0 else 0.0
    return out


def directional_index(high: FloatArray, low: FloatArray, close: FloatArray, n: int, side: int) -> FloatArray:
    """Return 100 * smoothed directional movement / smoothed true range; NaN where that range is 0."""
    movement = rma(directional_movement(high, low, side), n)
    spread = rma(true_range_of_valid(high, low, close), n)
    return divide(100 * movement, spread)


def adx_of_valid(high: FloatArray, low: FloatArray, close: FloatArray, n: int) -> FloatArray:
    """Return Wilder's average directional index, 0 to 100."""
    plus = directional_index(high, low, close, n, 1)
    minus = directional_index(high, low, close, n, -1)
    balance = np.full(len(high), NAN)
    for i, (up, down) in enumerate(zip(plus, minus, strict=True)):
        if math.isfinite(up) and math.isfinite(down):
            balance[i] = 0.0 if up + down == 0 else 100 * abs(up - down) / (up + down)
    return rma(balance, n)


def crosses_above(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return whether a > b now and a <= b one bar ago; NaN if any of the four is unknown."""
    now_and_before = (a, b, prev(a, 1), prev(b, 1))
    return elementwise(lambda x, y, x0, y0: float(x > y and x0 <= y0))(*now_and_before)


def crosses_below(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return whether a < b now and a >= b one bar ago; NaN if any of the four is unknown."""
    now_and_before = (a, b, prev(a, 1), prev(b, 1))
    return elementwise(lambda x, y, x0, y0: float(x < y and x0 >= y0))(*now_and_before)


def bars_since(condition: FloatArray) -> FloatArray:
    """Return the bars since a condition was last definitely true; NaN before the first time."""
    out = np.full(len(condition), NAN)
    count = NAN
    for i, value in enumerate(condition):
        count = 0.0 if value == 1.0 else count + 1
        out[i] = count
    return out


def if_else(condition: FloatArray, yes: FloatArray, no: FloatArray) -> FloatArray:
    """Return `yes` where the condition is true, `no` where it is false, NaN where it is unknown."""
    out = np.full(len(condition), NAN)
    for i, value in enumerate(condition):
        if not math.isnan(value):
            out[i] = yes[i] if value == 1.0 else no[i]
    return finite(out)


def coalesce(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return x where it is known, otherwise y."""
    return np.where(np.isfinite(x), x, finite(y))


def kleene_and(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return false if either is false, true if both are true, otherwise unknown."""
    either_false = (a == 0.0) | (b == 0.0)
    both_true = (a == 1.0) & (b == 1.0)
    return np.where(either_false, 0.0, np.where(both_true, 1.0, NAN))


def kleene_or(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return true if either is true, false if both are false, otherwise unknown."""
    either_true = (a == 1.0) | (b == 1.0)
    both_false = (a == 0.0) & (b == 0.0)
    return np.where(either_true, 1.0, np.where(both_false, 0.0, NAN))


def power(x: float, y: float) -> float:
    """Return x to the power y; a root of a negative number is unknown."""
    result = x**y
    return NAN if isinstance(result, complex) else float(result)


divide = elementwise(lambda x, y: x / y)

ORACLES: dict[str, Oracle] = {
    "add": elementwise(lambda x, y: x + y),
    "sub": elementwise(lambda x, y: x - y),
    "mul": elementwise(lambda x, y: x * y),
    "div": divide,
    "neg": elementwise(lambda x: -x),
    "pow": elementwise(power),
    "lt": elementwise(lambda x, y: float(x < y)),
    "le": elementwise(lambda x, y: float(x <= y)),
    "gt": elementwise(lambda x, y: float(x > y)),
    "ge": elementwise(lambda x, y: float(x >= y)),
    "eq": elementwise(lambda x, y: float(x == y)),
    "ne": elementwise(lambda x, y: float(x != y)),
    "and": kleene_and,
    "or": kleene_or,
    "not": elementwise(lambda x: 1.0 - x),
    "abs": elementwise(abs),
    "log": elementwise(math.log),
    "sqrt": elementwise(math.sqrt),
    "min": elementwise(min),
    "max": elementwise(max),
    "if_else": if_else,
    "coalesce": coalesce,
    "prev": prev,
    "change": change,
    "sma": rolling(np.mean),
    "sum": rolling(np.sum),
    "std": rolling(np.std),
    "highest": rolling(np.max),
    "lowest": rolling(np.min),
    "quantile": rolling(np.quantile),
    "slope": rolling(least_squares_slope),
    "ema": ema,
    "rma": rma,
    "rsi": on_valid_bars(rsi_of_valid, 1),
    "true_range": on_valid_bars(true_range_of_valid, 3),
    "atr": on_valid_bars(lambda high, low, close, n: rma(true_range_of_valid(high, low, close), n), 3),
    "plus_dm": on_valid_bars(lambda high, low: directional_movement(high, low, 1), 2),
    "minus_dm": on_valid_bars(lambda high, low: directional_movement(high, low, -1), 2),
    "plus_di": on_valid_bars(lambda h, lo, c, n: directional_index(h, lo, c, n, 1), 3),
    "minus_di": on_valid_bars(lambda h, lo, c, n: directional_index(h, lo, c, n, -1), 3),
    "adx": on_valid_bars(adx_of_valid, 3),
    "crosses_above": crosses_above,
    "crosses_below": crosses_below,
    "bars_since": bars_since,
}
