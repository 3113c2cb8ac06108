"""Averages and sums of the last n values, and recursions that forget."""

from __future__ import annotations

from research_lab.dsl.function import Function, N, X, first, settling
from research_lab.engine import program as engine

FUNCTIONS = (
    Function("sma", "mean of the last n values", (X, N), first, engine.ROLLING_SUM,
             lookback=lambda n: n - 1, constant=lambda n, share: float(n)),
    Function("ema", "exponential average, weight 2 / (n + 1), from the first value", (X, N), first,
             engine.EMA, lookback=lambda n: settling(2.0 / (n + 1.0), n)),
    Function("rma", "Wilder's average, weight 1 / n, from the first value", (X, N), first,
             engine.RMA, lookback=lambda n: settling(1.0 / n, n)),
    Function("sum", "sum of the last n values", (X, N), first, engine.ROLLING_SUM,
             lookback=lambda n: n - 1, constant=lambda n, share: 1.0),
)  # fmt: skip
