"""Rows of the table: blends."""

from __future__ import annotations

from tests.oracles import blends
from tests.oracles.indicators import ORACLES as O
from tests.research_lab.engine.table_row import Row
from tests.research_lab.engine.tapes import Tape


def prices(tape: Tape) -> blends.Bars:
    return {name: tape.named(name) for name in ("open", "high", "low", "close")}


BLENDS: dict[str, tuple[Row, ...]] = {
    "calm": (Row("calm()", lambda t: blends.calm(prices(t))),),
    "confirmed": (
        Row("confirmed(close)", lambda t: blends.confirmed(t.time, prices(t), t.step_ms, lambda b: b["close"])),
        Row("confirmed(close / sma(close, 3))", lambda t: blends.confirmed(
            t.time, prices(t), t.step_ms, lambda b: O["div"](b["close"], O["sma"](b["close"], 3)))),
    ),
    "fused": (
        Row("fused(funding, premium)", lambda t: blends.fused(t.named("funding"), t.named("premium"))),
        Row("fused(premium, funding, 0.2)", lambda t: blends.fused(t.named("premium"), t.named("funding"), 0.2)),
        Row("fused(close, open, 1)", lambda t: blends.fused(t.named("close"), t.named("open"), 1.0)),
    ),
}  # fmt: skip
