"""Averages and sums of the last n values, and recursions that forget."""

from __future__ import annotations

import math

from research_lab.dsl.function import CLOSE, N2, Argument, Function, N, X, first, settling
from research_lab.engine import program as engine

N4 = Argument("n", "window", least=4)


def _kaufman_settling(n: int) -> int:
    """Return the warm-up at the efficiency of a random walk, 1 / sqrt(n): it depends on the values."""
    slow, fast = 2.0 / 31.0, 2.0 / 3.0
    return n + settling((slow + (fast - slow) / math.sqrt(n)) ** 2, n)


FUNCTIONS = (
    Function("sma", "mean of the last n values", (X, N), first, engine.ROLLING_SUM,
             lookback=lambda n: n - 1, constant=lambda n, share: float(n)),
    Function("ema", "exponential average, weight 2 / (n + 1), from the first value", (X, N), first,
             engine.EMA, lookback=lambda n: settling(2.0 / (n + 1.0), n)),
    Function("rma", "Wilder's average, weight 1 / n, from the first value", (X, N), first,
             engine.RMA, lookback=lambda n: settling(1.0 / n, n)),
    Function("sum", "sum of the last n values", (X, N), first, engine.ROLLING_SUM,
             lookback=lambda n: n - 1, constant=lambda n, share: 1.0),
    # The line through the values, and their weighted mean on it: sum (k + 1) x / sum (k + 1).
    Function("wma", "mean of the last n values with weights 1 to n, the last the largest", (X, N2), first,
             body="sma(x, n) + slope(x, n) * sixth", fixed={"sixth": lambda fixed: (fixed["n"] - 1.0) / 6.0}),
    Function("hma", "Hull's average: wma of 2 wma(n / 2) - wma(n) over sqrt(n) values, both whole bars below",
             (X, N4), first, body="wma(2 * wma(x, half) - wma(x, n), root)",
             fixed={"half": lambda fixed: fixed["n"] // 2.0, "root": lambda fixed: float(math.isqrt(int(fixed["n"])))}),
    Function("kama", "Kaufman's adaptive average: efficiency of n values, weights of 2 to 30 bars", (X, N), first,
             engine.KAMA, lookback=_kaufman_settling),
    # A bar whose x is unknown is left out of both sums.
    Function("vwma", "mean of the last n values weighted by volume; unknown where none traded", (CLOSE, N), first,
             body="sum(x * volume, n) / sum(if_else(x == x, volume, 0), n)"),
)  # fmt: skip
