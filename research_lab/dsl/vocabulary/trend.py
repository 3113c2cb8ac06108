"""Trend: its direction and strength."""

from __future__ import annotations

from research_lab.dsl.dimensions import PRICE, RATIO
from research_lab.dsl.function import Function, N, always
from research_lab.engine import program as engine

_SPREAD = "abs(plus_di(n) - minus_di(n))"
_SUM_DI = "(plus_di(n) + minus_di(n))"

FUNCTIONS = (
    Function("plus_dm", "Wilder's directional movement up", (), always(PRICE), engine.DIRECTIONAL_MOVE,
             reads=("high", "low"), lookback=lambda n: 1, constant=lambda n, share: 1.0),
    Function("minus_dm", "Wilder's directional movement down", (), always(PRICE),
             engine.DIRECTIONAL_MOVE, reads=("high", "low"), lookback=lambda n: 1,
             constant=lambda n, share: -1.0),
    Function("plus_di", "Wilder's directional indicator up, 0 to 100", (N,), always(RATIO),
             body="100 * rma(plus_dm(), n) / rma(true_range(), n)"),
    Function("minus_di", "Wilder's directional indicator down, 0 to 100", (N,), always(RATIO),
             body="100 * rma(minus_dm(), n) / rma(true_range(), n)"),
    Function("adx", "Wilder's average directional index, 0 to 100", (N,), always(RATIO),
             body=f"rma(if_else({_SUM_DI} > 0, 100 * {_SPREAD} / {_SUM_DI}, 0), n)"),
)  # fmt: skip
