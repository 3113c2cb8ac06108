"""Statistics of a window beyond mean and deviation, and of two windows together.

A window of two values holds the last n bars on which both are known.
"""

from __future__ import annotations

from research_lab.dsl.dimensions import BARS, RATIO
from research_lab.dsl.function import (
    IF,
    N2,
    A,
    Argument,
    B,
    Function,
    N,
    X,
    always,
    first,
    number,
    product,
    quotient,
)
from research_lab.engine import moments
from research_lab.engine import program as engine

N3 = Argument("n", "window", least=3)
_MIDDLE = {"middle": lambda fixed: (fixed["n"] - 1.0) / 2.0}

FUNCTIONS = (
    Function("slope", "least-squares slope of the last n values, per bar", (X, N2), first,
             engine.SLOPE, lookback=lambda n: n - 1),
    Function("linreg", "least-squares line through the last n values, at the last", (X, N2), first,
             body="sma(x, n) + slope(x, n) * middle", fixed=_MIDDLE),
    Function("intercept", "least-squares line through the last n values, at the first of them", (X, N2), first,
             body="sma(x, n) - slope(x, n) * middle", fixed=_MIDDLE),
    # The spread of 1 to n is (n * n - 1) / 12.
    Function("r2", "share of the variance of the last n values that a straight line explains; unknown without any",
             (X, N2), number(RATIO),
             body="min(slope(x, n) / std(x, n) * (slope(x, n) / std(x, n)) * spread, 1)",
             fixed={"spread": lambda fixed: (fixed["n"] * fixed["n"] - 1.0) / 12.0}),
    Function("skew", "population skewness of the last n values; unknown where all are equal", (X, N3), number(RATIO),
             engine.SKEW, lookback=lambda n: n - 1),
    Function("covariance", "population covariance of the last n pairs", (A, B, N2), product, engine.COMOMENT,
             lookback=lambda n: n - 1, constant=lambda n, share: moments.COVARIANCE, commutative=True),
    Function("correlation", "correlation of the last n pairs; unknown where all a or all b are equal",
             (A, B, N2), number(RATIO), engine.COMOMENT,
             lookback=lambda n: n - 1, constant=lambda n, share: moments.CORRELATION, commutative=True),
    Function("beta", "least-squares slope of a on b over the last n pairs; unknown where all b are equal",
             (A, B, N2), quotient, engine.COMOMENT,
             lookback=lambda n: n - 1, constant=lambda n, share: moments.BETA),
    Function("count", "bars with a true condition among the last n on which it is known", (IF, N), always(BARS),
             body="sum(if_else(condition, 1, 0), n)"),
)  # fmt: skip
