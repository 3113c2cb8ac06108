"""Logic and memory of conditions, and choice by them."""

from __future__ import annotations

from research_lab.dsl.dimensions import BARS, CONDITION
from research_lab.dsl.function import IF, ONE, A, Argument, B, Function, N, X, always, chosen, compared, same
from research_lab.engine import program as engine

FUNCTIONS = (
    Function("prev", "value n bars ago", (X, ONE), lambda d: d[0].plain(), engine.PREV,
             lookback=lambda n: n),
    Function("crosses_above", "a > b now and a <= b on the bar before", (A, B),
             compared, engine.CROSSES_ABOVE, lookback=lambda n: 1),
    Function("crosses_below", "a < b now and a >= b on the bar before", (A, B),
             compared, body="crosses_above(b, a)"),
    Function("crosses", "a crosses b, either way", (A, B), compared,
             body="crosses_above(a, b) or crosses_above(b, a)", commutative=True),
    Function("bars_since", "bars since the condition was last true, 0 now; unknown before the first time",
             (IF,), always(BARS), engine.BARS_SINCE),
    Function("held_for", "the condition was true on each of the last n bars; false as soon as it was false on one",
             (IF, N), always(CONDITION), engine.HELD_FOR, lookback=lambda n: n - 1),
    Function("latch", "true from the bar on which set is true until reset is true, which wins; unknown before "
             "either, and where an unknown one decides, which changes nothing",
             (Argument("set", "condition"), Argument("reset", "condition")), always(CONDITION), engine.LATCH),
    Function("if_else", "a where the condition is true, b where it is false",
             (IF, A, B), chosen, engine.IF_ELSE),
    Function("coalesce", "x where it is known, otherwise y", (Argument("x", optional=True), Argument("y")), same,
             engine.COALESCE),
)  # fmt: skip
