"""The shape of a value: bounds, size, roots and logarithms."""

from __future__ import annotations

from research_lab.dsl.function import A, B, Function, X, first, pure, root, same
from research_lab.engine import program as engine

FUNCTIONS = (
    Function("min", "smaller of two values", (A, B), same, engine.MIN),
    Function("max", "larger of two values", (A, B), same, engine.MAX),
    Function("abs", "size without sign", (X,), first, engine.ABS),
    Function("log", "natural logarithm of a ratio; unknown at or below zero", (X,), pure, engine.LOG),
    Function("sqrt", "square root; unknown below zero", (X,), root, engine.SQRT),
)  # fmt: skip
