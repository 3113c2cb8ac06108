"""Arithmetic, comparison and three-valued logic, bar by bar: 1.0 true, 0.0 false, NaN unknown.

A result that is not finite is unknown: 1 / 0, the logarithm of a loss, an overflow all give NaN.
"""

from __future__ import annotations

import math

from research_lab.engine.jit import FloatArray, inlined_kernel, kernel

NAN = math.nan


@inlined_kernel
def known(value: float) -> float:
    """Return the value, or NaN when it is not finite."""
    return value if math.isfinite(value) else NAN


@inlined_kernel
def both(a: float, b: float) -> float:
    """Kleene's and: false as soon as one side is false, unknown when that cannot be told."""
    if a == 0.0 or b == 0.0:
        return 0.0
    return 1.0 if a == 1.0 and b == 1.0 else NAN


@inlined_kernel
def either(a: float, b: float) -> float:
    """Kleene's or: true as soon as one side is true, unknown when that cannot be told."""
    if a == 1.0 or b == 1.0:
        return 1.0
    return 0.0 if a == 0.0 and b == 0.0 else NAN


@inlined_kernel
def truth(condition: bool, a: float, b: float) -> float:
    """Return a comparison's truth value, unknown when one side is."""
    if math.isnan(a) or math.isnan(b):
        return NAN
    return 1.0 if condition else 0.0


@inlined_kernel
def sign(value: float) -> float:
    """Return 1 above zero, -1 below, 0 at zero, NaN where the value is."""
    if math.isnan(value):
        return NAN
    return 1.0 if value > 0.0 else -1.0 if value < 0.0 else 0.0


@kernel
def power(value: float, exponent: int) -> float:
    """Return a whole power by repeated multiplication; below zero, the power's reciprocal."""
    if math.isnan(value):
        return NAN
    product = 1.0
    for _ in range(abs(exponent)):
        product *= value
    return known(product if exponent >= 0 else 1.0 / product)


@kernel
def prev(state: FloatArray, x: FloatArray, out: FloatArray, n: int) -> None:
    """Value n bars ago, NaN included: a plain delay. State: bars seen, place; ring of n."""
    seen = state[0]
    place = int(state[1])
    for t in range(x.shape[0]):
        value = x[t]
        out[t] = state[2 + place] if seen >= n else NAN
        state[2 + place] = value
        seen += 1.0
        place = place + 1 if place + 1 < n else 0
    state[0] = seen
    state[1] = place


@kernel
def crosses_above(state: FloatArray, a: FloatArray, b: FloatArray, out: FloatArray) -> None:
    """True where a > b after a <= b on the bar before; unknown when one of the four is.

    State: bars seen, then a and b of the bar before. A tie is not above.
    """
    before_a = state[1] if state[0] > 0.0 else NAN
    before_b = state[2] if state[0] > 0.0 else NAN
    for t in range(a.shape[0]):
        now_a = a[t]
        now_b = b[t]
        if math.isnan(now_a) or math.isnan(now_b) or math.isnan(before_a) or math.isnan(before_b):
            out[t] = NAN
        else:
            out[t] = 1.0 if now_a > now_b and before_a <= before_b else 0.0
        before_a = now_a
        before_b = now_b
    state[0] += a.shape[0]
    state[1] = before_a
    state[2] = before_b


@kernel
def crosses(state: FloatArray, a: FloatArray, b: FloatArray, above: FloatArray, below: FloatArray) -> None:
    """Both of `crosses_above(a, b)` and `crosses_above(b, a)`, from one look at the values. State as there."""
    before_a = state[1] if state[0] > 0.0 else NAN
    before_b = state[2] if state[0] > 0.0 else NAN
    for t in range(a.shape[0]):
        now_a = a[t]
        now_b = b[t]
        if math.isnan(now_a) or math.isnan(now_b) or math.isnan(before_a) or math.isnan(before_b):
            above[t] = NAN
            below[t] = NAN
        else:
            above[t] = 1.0 if now_a > now_b and before_a <= before_b else 0.0
            below[t] = 1.0 if now_b > now_a and before_b <= before_a else 0.0
        before_a = now_a
        before_b = now_b
    state[0] += a.shape[0]
    state[1] = before_a
    state[2] = before_b


@kernel
def bars_since(state: FloatArray, condition: FloatArray, out: FloatArray) -> None:
    """Bars since the condition was last definitely true: 0 now, NaN before the first time.

    State: 1 when it was true once, bars since. An unknown condition counts as not true.
    """
    happened = state[0]
    bars = state[1]
    for t in range(condition.shape[0]):
        bars += 1.0
        if condition[t] == 1.0:
            happened = 1.0
            bars = 0.0
        out[t] = bars if happened == 1.0 else NAN
    state[0] = happened
    state[1] = bars


@kernel
def true_range(
    state: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, out: FloatArray
) -> None:
    """Wilder's true range; the first bar's is its height. State: bars seen, last close.

    A bar of which a price is missing is unknown, and leaves the state as it is.
    """
    seen = state[0]
    before = state[1]
    for t in range(high.shape[0]):
        if math.isnan(high[t]) or math.isnan(low[t]) or math.isnan(close[t]):
            out[t] = NAN
            continue
        height = high[t] - low[t]
        if seen > 0.0:
            height = max(height, abs(high[t] - before), abs(low[t] - before))
        out[t] = known(height)
        before = close[t]
        seen += 1.0
    state[0] = seen
    state[1] = before


@kernel
def directional_move(
    state: FloatArray, high: FloatArray, low: FloatArray, out: FloatArray, sign: float
) -> None:
    """Wilder's directional movement, up (`sign` 1) or down (-1); the first bar's is unknown.

    State: bars seen, last high, last low. Equal moves up and down count as neither. A bar of which a
    price is missing is unknown, and leaves the state as it is.
    """
    seen = state[0]
    before_high = state[1]
    before_low = state[2]
    for t in range(high.shape[0]):
        if math.isnan(high[t]) or math.isnan(low[t]):
            out[t] = NAN
            continue
        up = high[t] - before_high
        down = before_low - low[t]
        mine = up if sign > 0.0 else down
        other = down if sign > 0.0 else up
        if seen == 0.0:
            out[t] = NAN
        else:
            out[t] = known(mine) if mine > other and mine > 0.0 else 0.0
        before_high = high[t]
        before_low = low[t]
        seen += 1.0
    state[0] = seen
    state[1] = before_high
    state[2] = before_low
