"""The registry: every function of the language, once, for parser, types, compiler and documents.

A function is either primitive, one instruction of the engine, or derived: written in the language
itself and expanded when compiled, so that what several functions share is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from research_lab.dsl.dimensions import (
    BARS,
    CONDITION,
    PRICE,
    RATIO,
    VOLUME,
    Dimension,
    unify,
)
from research_lab.engine import program as engine

MAX_WINDOW = 5_000
SETTLED = 1e-6  # share of the first value that may be left in a recursion when it counts as warm

INPUTS: dict[str, tuple[Dimension, str]] = {
    "open": (PRICE, "first price of the bar"),
    "high": (PRICE, "highest price of the bar"),
    "low": (PRICE, "lowest price of the bar"),
    "close": (PRICE, "last price of the bar"),
    "volume": (VOLUME, "volume traded in the bar, base currency"),
    "funding": (RATIO, "last funding rate published before the close; unknown on spot"),
    "premium": (RATIO, "perpetual over spot - 1 at the close; unknown where spot is not given"),
}


@dataclass(frozen=True)
class Argument:
    """An argument of a function.

    Parameters
    ----------
    name : as shown in documents.
    kind : "number" (any dimension), "condition", "window" (whole bars, fixed before the run) or
        "share" (a fixed number between 0 and 1).
    default : text of an expression used when the argument is left out; "" when it is needed.
    least : smallest window.
    """

    name: str
    kind: str = "number"
    default: str = ""
    least: int = 1


DimensionRule = Callable[[Sequence[Dimension]], Dimension | None]


@dataclass(frozen=True)
class Function:
    """One function of the language.

    Parameters
    ----------
    name, meaning : as written, and one line of what it gives.
    arguments : in order. A leading argument with a default may be left out.
    dimension : gives the result's dimension from those of the arguments, None when they do not fit.
    opcode : the engine's instruction; -1 for a derived function.
    body : a derived function, in the language, over its arguments' names.
    lookback : bars that a primitive adds to the warm-up of its arguments, from its window.
    constant : the number that the instruction carries, from window and share.
    """

    name: str
    meaning: str
    arguments: tuple[Argument, ...]
    dimension: DimensionRule
    opcode: int = -1
    body: str = ""
    lookback: Callable[[int], int] = field(default=lambda window: 0)
    constant: Callable[[int, float], float] = field(default=lambda window, share: 0.0)

    @property
    def signature(self) -> str:
        words = [f"{a.name}={a.default}" if a.default else a.name for a in self.arguments]
        return f"{self.name}({', '.join(words)})"


def _first(dimensions: Sequence[Dimension]) -> Dimension | None:
    return None if dimensions[0].condition else dimensions[0].plain()


def _fixed(dimension: Dimension) -> DimensionRule:
    return lambda dimensions: dimension


def _same(dimensions: Sequence[Dimension]) -> Dimension | None:
    shared = unify(dimensions[0], dimensions[1])
    return None if shared is None or shared.condition else shared


def _compared(dimensions: Sequence[Dimension]) -> Dimension | None:
    return None if _same(dimensions) is None else CONDITION


def _chosen(dimensions: Sequence[Dimension]) -> Dimension | None:
    return unify(dimensions[1], dimensions[2])


def _pure(dimensions: Sequence[Dimension]) -> Dimension | None:
    return RATIO if unify(dimensions[0], RATIO) is not None and not dimensions[0].bars else None


def _root(dimensions: Sequence[Dimension]) -> Dimension | None:
    return None if dimensions[0].condition else dimensions[0].root()


def settling(weight: float, window: int) -> int:
    """Return the bars after which a recursion of this weight has forgotten its first value."""
    if weight >= 1.0:
        return window
    return max(window, math.ceil(math.log(SETTLED) / math.log(1.0 - weight)))


_X = Argument("x")
_CLOSE = Argument("x", default="close")
_N = Argument("n", "window")
_N2 = Argument("n", "window", least=2)
_ONE = Argument("n", "window", default="1")
_IF = Argument("condition", "condition")

_GAIN = "rma(max(change(x), 0), n)"
_LOSS = "rma(max(-change(x), 0), n)"
_SPREAD = "abs(plus_di(n) - minus_di(n))"
_SUM_DI = "(plus_di(n) + minus_di(n))"

_ALL = (
    Function("prev", "value n bars ago", (_X, _ONE), lambda d: d[0].plain(), engine.PREV,
             lookback=lambda n: n),
    Function("sma", "mean of the last n values", (_X, _N), _first, engine.ROLLING_SUM,
             lookback=lambda n: n - 1, constant=lambda n, share: float(n)),
    Function("ema", "exponential average, weight 2 / (n + 1), from the first value", (_X, _N), _first,
             engine.EMA, lookback=lambda n: settling(2.0 / (n + 1.0), n)),
    Function("rma", "Wilder's average, weight 1 / n, from the first value", (_X, _N), _first,
             engine.RMA, lookback=lambda n: settling(1.0 / n, n)),
    Function("std", "population standard deviation of the last n values", (_X, _N2), _first,
             engine.STD, lookback=lambda n: n - 1),
    Function("highest", "largest of the last n values", (_X, _N), _first, engine.HIGHEST,
             lookback=lambda n: n - 1, constant=lambda n, share: 1.0),
    Function("lowest", "smallest of the last n values", (_X, _N), _first, engine.HIGHEST,
             lookback=lambda n: n - 1, constant=lambda n, share: -1.0),
    Function("sum", "sum of the last n values", (_X, _N), _first, engine.ROLLING_SUM,
             lookback=lambda n: n - 1, constant=lambda n, share: 1.0),
    Function("quantile", "quantile of the last n values, linear between neighbours",
             (_X, _N, Argument("share", "share")), _first, engine.QUANTILE,
             lookback=lambda n: n - 1, constant=lambda n, share: share),
    Function("slope", "least-squares slope of the last n values, per bar", (_X, _N2), _first,
             engine.SLOPE, lookback=lambda n: n - 1),
    Function("true_range", "height of the bar, from the close before where that lies outside", (),
             _fixed(PRICE), engine.TRUE_RANGE, lookback=lambda n: 1),
    Function("plus_dm", "Wilder's directional movement up", (), _fixed(PRICE), engine.DIRECTIONAL_MOVE,
             lookback=lambda n: 1, constant=lambda n, share: 1.0),
    Function("minus_dm", "Wilder's directional movement down", (), _fixed(PRICE),
             engine.DIRECTIONAL_MOVE, lookback=lambda n: 1, constant=lambda n, share: -1.0),
    Function("crosses_above", "a > b now and a <= b on the bar before", (Argument("a"), Argument("b")),
             _compared, engine.CROSSES_ABOVE, lookback=lambda n: 1),
    Function("bars_since", "bars since the condition was last true, 0 now; unknown before the first time",
             (_IF,), _fixed(BARS), engine.BARS_SINCE),
    Function("if_else", "a where the condition is true, b where it is false",
             (_IF, Argument("a"), Argument("b")), _chosen, engine.IF_ELSE),
    Function("coalesce", "x where it is known, otherwise y", (_X, Argument("y")), _same, engine.COALESCE),
    Function("min", "smaller of two values", (Argument("a"), Argument("b")), _same, engine.MIN),
    Function("max", "larger of two values", (Argument("a"), Argument("b")), _same, engine.MAX),
    Function("abs", "size without sign", (_X,), _first, engine.ABS),
    Function("log", "natural logarithm of a ratio; unknown at or below zero", (_X,), _pure, engine.LOG),
    Function("sqrt", "square root; unknown below zero", (_X,), _root, engine.SQRT),
    Function("change", "value less the value n bars ago", (_X, _ONE), _first, body="x - prev(x, n)"),
    Function("crosses_below", "a < b now and a >= b on the bar before", (Argument("a"), Argument("b")),
             _compared, body="crosses_above(b, a)"),
    Function("rsi", "Wilder's relative strength index, 0 to 100; 50 where nothing moved", (_CLOSE, _N),
             _fixed(RATIO),
             body=f"if_else({_GAIN} + {_LOSS} > 0, 100 * {_GAIN} / ({_GAIN} + {_LOSS}), 50)"),
    Function("atr", "Wilder's average true range", (_N,), _fixed(PRICE), body="rma(true_range(), n)"),
    Function("plus_di", "Wilder's directional indicator up, 0 to 100", (_N,), _fixed(RATIO),
             body="100 * rma(plus_dm(), n) / rma(true_range(), n)"),
    Function("minus_di", "Wilder's directional indicator down, 0 to 100", (_N,), _fixed(RATIO),
             body="100 * rma(minus_dm(), n) / rma(true_range(), n)"),
    Function("adx", "Wilder's average directional index, 0 to 100", (_N,), _fixed(RATIO),
             body=f"rma(if_else({_SUM_DI} > 0, 100 * {_SPREAD} / {_SUM_DI}, 0), n)"),
)  # fmt: skip

FUNCTIONS: dict[str, Function] = {function.name: function for function in _ALL}

OPERATOR_CODES: dict[str, int] = {
    "add": engine.ADD,
    "subtract": engine.SUBTRACT,
    "multiply": engine.MULTIPLY,
    "divide": engine.DIVIDE,
    "negate": engine.NEGATE,
    "less": engine.LESS,
    "less_equal": engine.LESS_EQUAL,
    "equal": engine.EQUAL,
    "and": engine.AND,
    "or": engine.OR,
    "not": engine.NOT,
}
