"""How far values spread: deviations, ranges and volatilities."""

from __future__ import annotations

from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.function import N2, Function, N, X, always, first
from research_lab.engine import program as engine

FUNCTIONS = (
    Function("std", "population standard deviation of the last n values", (X, N2), first,
             engine.STD, lookback=lambda n: n - 1),
    Function("true_range", "height of the bar, from the close before where that lies outside", (),
             always(PRICE), engine.TRUE_RANGE, reads=("high", "low", "close"), lookback=lambda n: 1),
    Function("atr", "Wilder's average true range", (N,), always(PRICE), body="rma(true_range(), n)"),
)  # fmt: skip
