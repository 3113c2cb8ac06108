"""Order among the last n values: extremes and quantiles."""

from __future__ import annotations

from research_lab.dsl.function import Argument, Function, N, X, first
from research_lab.engine import program as engine

FUNCTIONS = (
    Function("highest", "largest of the last n values", (X, N), first, engine.HIGHEST,
             lookback=lambda n: n - 1, constant=lambda n, share: 1.0),
    Function("lowest", "smallest of the last n values", (X, N), first, engine.HIGHEST,
             lookback=lambda n: n - 1, constant=lambda n, share: -1.0),
    Function("quantile", "quantile of the last n values, linear between neighbours",
             (X, N, Argument("share", "share")), first, engine.QUANTILE,
             lookback=lambda n: n - 1, constant=lambda n, share: share),
)  # fmt: skip
