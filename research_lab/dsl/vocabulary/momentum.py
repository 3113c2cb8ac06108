"""Momentum: how far and how fast values moved."""

from __future__ import annotations

from research_lab.dsl.dimensions import RATIO
from research_lab.dsl.function import CLOSE, ONE, Function, N, X, always, first

_GAIN = "rma(max(change(x), 0), n)"
_LOSS = "rma(max(-change(x), 0), n)"

FUNCTIONS = (
    Function("change", "value less the value n bars ago", (X, ONE), first, body="x - prev(x, n)"),
    Function("rsi", "Wilder's relative strength index, 0 to 100; 50 where nothing moved", (CLOSE, N),
             always(RATIO),
             body=f"if_else({_GAIN} + {_LOSS} > 0, 100 * {_GAIN} / ({_GAIN} + {_LOSS}), 50)"),
)  # fmt: skip
