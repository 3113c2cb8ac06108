"""The shape of a value: bounds, size, sign, powers, roots and logarithms."""

from __future__ import annotations

from collections.abc import Sequence

from research_lab.dsl.dimensions import RATIO, Dimension
from research_lab.dsl.function import A, Argument, B, Function, X, first, number, pure, root, same
from research_lab.engine import program as engine


def _bounded(dimensions: Sequence[Dimension]) -> Dimension | None:
    """The dimension that a value shares with its bounds."""
    shared = same(dimensions[:2])
    return None if shared is None else same((shared, dimensions[2]))


FUNCTIONS = (
    Function("min", "smaller of two values", (A, B), same, engine.MIN, commutative=True),
    Function("max", "larger of two values", (A, B), same, engine.MAX, commutative=True),
    Function("clip", "x, not below low and not above high, which wins", (X, Argument("low"), Argument("high")),
             _bounded, body="min(max(x, low), high)"),
    Function("abs", "size without sign", (X,), first, engine.ABS),
    Function("sign", "1 above zero, -1 below, 0 at zero", (X,), number(RATIO), engine.SIGN),
    Function("log", "natural logarithm of a ratio; unknown at or below zero", (X,), pure, engine.LOG),
    Function("exp", "exponential of a ratio", (X,), pure, engine.EXP),
    Function("sqrt", "square root; unknown below zero", (X,), root, engine.SQRT),
    Function("pow", "whole power, -8 to 8, by repeated multiplication", (X, Argument("k", "exponent")), first,
             engine.POWER, constant=lambda n, exponent: exponent),
)  # fmt: skip
