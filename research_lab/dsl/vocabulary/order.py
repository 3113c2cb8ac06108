"""Order among the last n values: extremes, quantiles and ranks."""

from __future__ import annotations

from research_lab.dsl.dimensions import BARS, RATIO
from research_lab.dsl.function import Argument, Function, N, X, first, number
from research_lab.engine import program as engine

FUNCTIONS = (
    Function("highest", "largest of the last n values", (X, N), first, engine.HIGHEST,
             lookback=lambda n: n - 1, constant=lambda n, share: 1.0),
    Function("lowest", "smallest of the last n values", (X, N), first, engine.HIGHEST,
             lookback=lambda n: n - 1, constant=lambda n, share: -1.0),
    Function("bars_since_highest", "known bars since the largest of the last n values, the latest of equals; 0 now",
             (X, N), number(BARS), engine.BARS_SINCE_HIGHEST,
             lookback=lambda n: n - 1, constant=lambda n, share: 1.0),
    Function("bars_since_lowest", "known bars since the smallest of the last n values, the latest of equals; 0 now",
             (X, N), number(BARS), engine.BARS_SINCE_HIGHEST,
             lookback=lambda n: n - 1, constant=lambda n, share: -1.0),
    Function("quantile", "quantile of the last n values, linear between neighbours",
             (X, N, Argument("share", "share")), first, engine.QUANTILE,
             lookback=lambda n: n - 1, constant=lambda n, share: share),
    Function("median", "middle of the last n values", (X, N), first, body="quantile(x, n, 0.5)"),
    Function("rank", "rank of the value among the last n as a share of n: 1 is the largest, equals share their mean",
             (X, N), number(RATIO), engine.RANK, lookback=lambda n: n - 1),
)  # fmt: skip
