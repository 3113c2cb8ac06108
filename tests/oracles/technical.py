"""What the technical indicators mean, in plain NumPy: from whole arrays, by definition, bar by bar.

What is unknown, and which bars a window or a recursion sees, is as in `tests.oracles.indicators`, from which
these are built. Bars are given as open, high, low, close and volume where several are needed.
"""

from __future__ import annotations

import datetime as dt
import math

import numpy as np

from tests.oracles.functions import ORACLES as O
from tests.oracles.indicators import NAN, FloatArray, finite, kleene_and, kleene_or, on_valid_bars, rolling

DAY_MS = 86_400_000


def where(condition: FloatArray, yes: FloatArray | float, no: FloatArray | float) -> FloatArray:
    """Return `yes` where a condition is true, `no` where it is false, NaN where it is unknown."""
    return np.where(np.isnan(condition), NAN, np.where(condition == 1.0, yes, no))


def typical_price(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Return the mean of three prices."""
    return finite((high + low + close) / 3.0)


def place_in_range(high: FloatArray, low: FloatArray, close: FloatArray, n: int) -> FloatArray:
    """Return where the close lies in the range of n bars, 0 to 1; unknown where that has no height."""
    top, bottom = O["highest"](high, n), O["lowest"](low, n)
    return O["div"](close - bottom, top - bottom)


def stochastic_k(high: FloatArray, low: FloatArray, close: FloatArray, n: int, smooth: int) -> FloatArray:
    """Return the mean of the last places in the range, in percent."""
    return O["sma"](100.0 * place_in_range(high, low, close, n), smooth)


def commodity_channel(window: FloatArray) -> float:
    """Return the last value off the mean in 0.015 mean deviations; 0 where all are one value."""
    off = window - window.mean()
    return 0.0 if np.ptp(window) == 0.0 else float(off[-1] / (0.015 * np.abs(off).mean()))


cci = rolling(commodity_channel)


def aroon(x: FloatArray, n: int, sign: float) -> FloatArray:
    """Return how lately the extreme of n + 1 values came: 100 now, 0 for n bars ago; the latest of equals."""
    return rolling(lambda window: 100.0 * (n - int(np.argmax(sign * window[::-1]))) / n)(x, n + 1)


def money_flow_index(typical: FloatArray, volume: FloatArray, n: int) -> FloatArray:
    """Return the share of n bars' money that flowed while the typical price rose, in percent.

    A typical price that differs from the one before in its last digits only did not move.
    """
    moved = O["change"](typical, 1)
    moved = np.where(np.abs(moved) <= 1e-12 * typical, 0.0, moved)
    money = np.where(moved == 0.0, 0.0, np.sign(moved) * finite(typical * volume))
    up, total = O["sum"](np.maximum(money, 0.0), n), O["sum"](np.abs(money), n)
    share = np.where(total > 0.0, 100.0 * up / np.where(total > 0.0, total, 1.0), 50.0)
    return np.where(np.isnan(total), NAN, share)


def true_strength(x: FloatArray, slow: int, fast: int) -> FloatArray:
    """Return twice smoothed changes over twice smoothed sizes of changes, in percent."""
    moved = O["change"](x, 1)
    return O["div"](
        100.0 * O["ema"](O["ema"](moved, slow), fast), O["ema"](O["ema"](np.abs(moved), slow), fast)
    )


def macd(x: FloatArray, fast: int, slow: int) -> FloatArray:
    """Return the fast average less the slow one."""
    return O["ema"](x, fast) - O["ema"](x, slow)


def deviation(x: FloatArray, n: int) -> FloatArray:
    """Return the deviation of n values, exactly 0 where they are one value."""
    return np.where(O["highest"](x, n) == O["lowest"](x, n), 0.0, O["std"](x, n))


def percent_b(x: FloatArray, n: int, k: float) -> FloatArray:
    """Return where a value lies between its bands; unknown where the window holds one value only."""
    half = k * deviation(x, n)
    return O["div"](x - O["sma"](x, n) + half, 2.0 * half)


def keltner(high: FloatArray, low: FloatArray, close: FloatArray, n: int, k: float) -> FloatArray:
    """Return the exponential average and k average true ranges; a negative k gives the lower band."""
    return O["ema"](close, n) + k * O["rma"](O["true_range"](high, low, close), n)


def donchian_middle(high: FloatArray, low: FloatArray, n: int) -> FloatArray:
    """Return the middle between the highest high and the lowest low."""
    return (O["highest"](high, n) + O["lowest"](low, n)) / 2.0


def money_flow_volume(high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray) -> FloatArray:
    """Return the volume weighted by where the close lies in the bar, -1 to 1; 0 without height."""
    place = O["div"]((close - low) - (high - close), np.where(high > low, high - low, NAN))
    return where(O["gt"](high, low), place * volume, 0.0)


def weighted(x: FloatArray, volume: FloatArray, n: int) -> FloatArray:
    """Return the sum of x times volume over the volume of n bars; unknown where nothing was traded."""
    return O["div"](
        O["sum"](finite(x * volume), n), np.where(O["highest"](volume, n) > 0, O["sum"](volume, n), NAN)
    )


def running_sum(x: FloatArray) -> FloatArray:
    """Return the exact sum of all known values so far, rounded once; unknown where the value is."""
    return np.array([math.fsum(finite(x[: i + 1])[np.isfinite(x[: i + 1])]) if np.isfinite(x[i]) else NAN
                     for i in range(len(x))])  # fmt: skip


def on_balance(close: FloatArray, volume: FloatArray) -> FloatArray:
    """Return the running sum of volumes, signed by the change of the close."""
    return running_sum(np.sign(O["change"](close, 1)) * volume)


def day_sum(x: FloatArray, opening_ms: FloatArray) -> FloatArray:
    """Return the sum of the known values of each bar's day so far; unknown in a first day that began unseen."""
    days = [utc(t).date() for t in opening_ms]
    first_is_whole = utc(opening_ms[0]).time() == dt.time(0)
    out = np.full(len(x), NAN)
    for i, day in enumerate(days):
        if math.isfinite(x[i]) and (day != days[0] or first_is_whole):
            out[i] = math.fsum(
                v for v, d in zip(x[: i + 1], days, strict=False) if d == day and math.isfinite(v)
            )
    return out


def utc(ms: float) -> dt.datetime:
    """Return a time of the tape as a date."""
    return dt.datetime.fromtimestamp(ms / 1000.0, dt.UTC)


def clock(closing_ms: FloatArray, hand: str) -> FloatArray:
    """Return what a calendar says of each bar's close."""

    def minutes_to_funding(t: dt.datetime) -> float:
        midnight = t.replace(hour=0, minute=0, second=0, microsecond=0)
        due = [midnight + dt.timedelta(hours=h) for h in (8, 16, 24)]
        return min((moment - t).total_seconds() / 60.0 for moment in due if moment > t)

    hands = {"hour": lambda t: t.hour, "weekday": lambda t: t.weekday(), "day_of_month": lambda t: t.day,
             "minutes_to_funding": minutes_to_funding}  # fmt: skip
    return np.array([float(hands[hand](utc(t))) for t in closing_ms])


def held_for(condition: FloatArray, n: int) -> FloatArray:
    """Return whether a condition was true on all of the last n bars; bars before the first are unknown."""
    padded = np.concatenate([np.full(n - 1, NAN), condition])
    out = np.full(len(condition), NAN)
    for i in range(len(condition)):
        window = padded[i : i + n]
        if (window == 0.0).any():
            out[i] = 0.0
        elif (window == 1.0).all():
            out[i] = 1.0
    return out


def latch(set_: FloatArray, reset: FloatArray) -> FloatArray:
    """Return whether the last thing that surely happened was a set, with this bar's own as far as known."""
    out = np.full(len(set_), NAN)
    for i in range(len(set_)):
        before = NAN
        for j in range(i - 1, -1, -1):
            if reset[j] == 1.0 or (set_[j] == 1.0 and reset[j] == 0.0):
                before = 1.0 - reset[j]
                break
        stays_or_comes = kleene_or(set_[i : i + 1], np.array([before]))
        out[i] = kleene_and(1.0 - reset[i : i + 1], stays_or_comes)[0]
    return out


def supertrend_of_valid(upper: FloatArray, lower: FloatArray, close: FloatArray, shown: int) -> FloatArray:
    """Return the line (shown 1) or the direction (0), as published by O. Seban for TradingView.

    The upper band is taken anew when it fell or the last close was above the old one; the lower likewise.
    """
    tops, bottoms, ups = [upper[0]], [lower[0]], [close[0] >= (upper[0] + lower[0]) / 2.0]
    for i in range(1, len(close)):
        tops.append(upper[i] if upper[i] < tops[-1] or close[i - 1] > tops[-1] else tops[-1])
        bottoms.append(lower[i] if lower[i] > bottoms[-1] or close[i - 1] < bottoms[-1] else bottoms[-1])
        ups.append(not close[i] < bottoms[-1] if ups[-1] else close[i] > tops[-1])
    rising = np.array(ups)
    return np.where(rising, bottoms, tops) if shown else np.where(rising, 1.0, -1.0)


def supertrend(
    high: FloatArray, low: FloatArray, close: FloatArray, n: int, k: float, shown: int
) -> FloatArray:
    """Return supertrend of bars: k average true ranges about the middle of each bar."""
    reach = k * O["rma"](O["true_range"](high, low, close), n)
    middle = (high + low) / 2.0
    return on_valid_bars(supertrend_of_valid, 3)(middle + reach, middle - reach, close, shown)


def parabolic_of_valid(
    high: FloatArray, low: FloatArray, step: float, maximum: float, shown: int
) -> FloatArray:
    """Return Wilder's stop (shown 1) or the direction after the bar (0); a fall is a rise of mirrored prices."""
    out = np.full(len(high), NAN)
    if len(high) < 2:
        return out
    fell, rose = low[0] - low[1], high[1] - high[0]
    side = -1.0 if fell > max(rose, 0.0) else 1.0
    first = min(step, maximum)

    def mirrored(i: int) -> tuple[float, float]:
        """Return the bar's high and low as the trend sees them."""
        return (high[i], low[i]) if side > 0 else (-low[i], -high[i])

    best, stop, speed = mirrored(1)[0], mirrored(0)[1], first
    for i in range(1, len(high)):
        before = max(i - 1, 1)
        if mirrored(i)[1] <= stop:
            side, old_best = -side, best
            shown_stop = min(-old_best, mirrored(i)[1], mirrored(before)[1])
            best, speed = mirrored(i)[0], first
        else:
            shown_stop = stop
            if mirrored(i)[0] > best:
                best, speed = mirrored(i)[0], min(speed + first, maximum)
        out[i] = side * shown_stop if shown else side
        stop = min(shown_stop + speed * (best - shown_stop), mirrored(i)[1], mirrored(before)[1])
    return out


parabolic = on_valid_bars(parabolic_of_valid, 2)
