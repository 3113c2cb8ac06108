"""Momentum: how far and how fast values moved."""

from __future__ import annotations

from research_lab.dsl.dimensions import RATIO
from research_lab.dsl.function import CLOSE, ONE, Argument, Function, N, X, always, first, number

FAST = Argument("fast", "window")
SLOW = Argument("slow", "window")
SIGNAL = Argument("signal", "window")
SMOOTH = Argument("smooth", "window", default="1")

_GAIN = "rma(max(change(x), 0), n)"
_LOSS = "rma(max(-change(x), 0), n)"
_HEIGHT = "(highest(high, n) - lowest(low, n))"
# A mean of three prices rounds: where ticks tie it may differ in its last digit, which is no move.
_MOVED = "abs(change(typical_price(), 1)) > 1e-12 * typical_price()"
_FLOW = f"if_else({_MOVED}, sign(change(typical_price(), 1)) * typical_price() * volume, 0)"

FUNCTIONS = (
    Function("change", "value less the value n bars ago", (X, ONE), first, body="x - prev(x, n)"),
    Function("roc", "rate of change: share by which the value moved in n bars", (X, N), number(RATIO),
             body="x / prev(x, n) - 1"),
    Function("log_return", "natural logarithm of the value over the value n bars ago", (CLOSE, ONE), number(RATIO),
             body="log(x / prev(x, n))"),
    Function("rsi", "Wilder's relative strength index, 0 to 100; 50 where nothing moved", (CLOSE, N),
             number(RATIO),
             body=f"if_else({_GAIN} + {_LOSS} > 0, 100 * {_GAIN} / ({_GAIN} + {_LOSS}), 50)"),
    Function("stochastic_k", "place of the close in the range of n bars, 0 to 100, mean of the last `smooth`",
             (N, SMOOTH), always(RATIO), body=f"sma(100 * (close - lowest(low, n)) / {_HEIGHT}, smooth)"),
    Function("stochastic_d", "mean of the last `signal` values of stochastic_k(n, smooth)", (N, SMOOTH, SIGNAL),
             always(RATIO), body="sma(stochastic_k(n, smooth), signal)"),
    Function("williams_r", "Williams' %R: the close below the highest of n bars, -100 to 0", (N,), always(RATIO),
             body=f"-100 * (highest(high, n) - close) / {_HEIGHT}"),
    Function("cci", "Lambert's commodity channel index; 0 where nothing moved", (N,), always(RATIO),
             body="if_else(mad(typical_price(), n) > 0, "
                  "(typical_price() - sma(typical_price(), n)) / (0.015 * mad(typical_price(), n)), 0)"),
    Function("mfi", "money flow index of n bars, 0 to 100; 50 where no money moved", (N,), always(RATIO),
             body=f"if_else(sum(abs({_FLOW}), n) > 0, "
                  f"100 * sum(max({_FLOW}, 0), n) / sum(abs({_FLOW}), n), 50)"),
    Function("tsi", "Blau's true strength index, -100 to 100", (CLOSE, SLOW, FAST), number(RATIO),
             body="100 * ema(ema(change(x, 1), slow), fast) / ema(ema(abs(change(x, 1)), slow), fast)"),
    Function("macd", "fast exponential average less the slow one", (CLOSE, FAST, SLOW), first,
             body="ema(x, fast) - ema(x, slow)"),
    Function("macd_signal", "exponential average of macd(x, fast, slow)", (CLOSE, FAST, SLOW, SIGNAL), first,
             body="ema(macd(x, fast, slow), signal)"),
    Function("macd_histogram", "macd less its signal", (CLOSE, FAST, SLOW, SIGNAL), first,
             body="macd(x, fast, slow) - macd_signal(x, fast, slow, signal)"),
)  # fmt: skip
