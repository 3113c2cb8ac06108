"""Statistics of a window beyond mean and deviation."""

from __future__ import annotations

from research_lab.dsl.function import N2, Function, X, first
from research_lab.engine import program as engine

FUNCTIONS = (
    Function("slope", "least-squares slope of the last n values, per bar", (X, N2), first,
             engine.SLOPE, lookback=lambda n: n - 1),
)  # fmt: skip
