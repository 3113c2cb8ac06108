"""What a function of the language is: its arguments, dimension rule, warm-up, and how it is computed.

A function is either primitive, one instruction of the engine, or derived: written in the language
itself and expanded when compiled, so that what several functions share is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from research_lab.dsl.dimensions import CONDITION, RATIO, ZERO, Dimension, unify

MAX_WINDOW = 5_000
MAX_EXPONENT = 8
FIXED_KINDS = frozenset({"window", "share", "exponent"})  # of arguments that are numbers fixed before the run
SETTLED = 1e-6  # share of the first value that may be left in a recursion when it counts as warm


@dataclass(frozen=True)
class Argument:
    """An argument of a function.

    Parameters
    ----------
    name : as shown in documents.
    kind : "number" (any dimension), "condition", "window" (whole bars, fixed before the run),
        "share" (a fixed number between 0 and 1) or "exponent" (a fixed whole number from -8 to 8, to whose
        power the result's dimension is raised; a parameter only where that is a ratio).
    default : text of an expression used when the argument is left out; "" when it is needed.
    least, most : smallest and largest window.
    dimension : in the function's own text; 0, which fits every number, where it may be any.
    optional : whether another argument stands in where it is unknown.
    """

    name: str
    kind: str = "number"
    default: str = ""
    least: int = 1
    most: int = MAX_WINDOW
    dimension: Dimension = ZERO
    optional: bool = False


DimensionRule = Callable[[Sequence[Dimension]], Dimension | None]


@dataclass(frozen=True)
class Function:
    """One function of the language.

    Parameters
    ----------
    name, meaning : as written, and one line of what it gives.
    arguments : in order. Those with a default may be left out.
    dimension : gives the result's dimension from those of the arguments, None when they do not fit.
    opcode : the engine's instruction; -1 for a derived function.
    body : a derived function, in the language, over its arguments' names.
    body_on : a derived function that reads longer timeframes: gives its body on bars of a length in ms.
    fixed : further numbers that a body or reads may name, each from the fixed arguments by name.
    reads : texts of the values that a primitive's instruction reads, in the language over its arguments'
        names, `closing_time` and `bar_length`; None for its arguments that are not fixed.
    lookback : bars that a primitive adds to the warm-up of what it reads, from its window.
    turning : bars that it adds besides until it has turned, from its numbers by name, NaN for one that varies.
    lookback_ms : time that it adds besides, such as a day for what begins anew at midnight.
    constant : the number that the instruction carries, from window and share (or exponent).
    commutative : whether the first two arguments may change places, with the same bits.
    """

    name: str
    meaning: str
    arguments: tuple[Argument, ...]
    dimension: DimensionRule
    opcode: int = -1
    body: str = ""
    body_on: Callable[[int], str] | None = None
    fixed: Mapping[str, Callable[[Mapping[str, float]], float]] = field(default_factory=dict)
    reads: tuple[str, ...] | None = None
    lookback: Callable[[int], int] = field(default=lambda window: 0)
    turning: Callable[[Mapping[str, float]], int] | None = None
    lookback_ms: int = 0
    constant: Callable[[int, float], float] = field(default=lambda window, share: 0.0)
    commutative: bool = False

    @property
    def derived(self) -> bool:
        """Whether it is written in the language itself."""
        return bool(self.body) or self.body_on is not None

    @property
    def signature(self) -> str:
        words = [f"{a.name}={a.default}" if a.default else a.name for a in self.arguments]
        return f"{self.name}({', '.join(words)})"


def first(dimensions: Sequence[Dimension]) -> Dimension | None:
    """The dimension of the first argument."""
    return None if dimensions[0].condition else dimensions[0].plain()


def always(dimension: Dimension) -> DimensionRule:
    """Return the rule of a fixed dimension."""
    return lambda dimensions: dimension


def number(dimension: Dimension) -> DimensionRule:
    """Return the rule of a fixed dimension, of numbers only."""
    return lambda dimensions: None if any(d.condition for d in dimensions) else dimension


def same(dimensions: Sequence[Dimension]) -> Dimension | None:
    """The dimension that two arguments share."""
    shared = unify(dimensions[0], dimensions[1])
    return None if shared is None or shared.condition else shared


def compared(dimensions: Sequence[Dimension]) -> Dimension | None:
    """A condition, of two arguments that share a dimension."""
    return None if same(dimensions) is None else CONDITION


def chosen(dimensions: Sequence[Dimension]) -> Dimension | None:
    """The dimension that the second and third argument share."""
    return unify(dimensions[1], dimensions[2])


def pure(dimensions: Sequence[Dimension]) -> Dimension | None:
    """A ratio, of a ratio."""
    return RATIO if unify(dimensions[0], RATIO) is not None and not dimensions[0].bars else None


def scaled(dimensions: Sequence[Dimension]) -> Dimension | None:
    """The dimension of the first argument, where the last is a ratio by which it is multiplied."""
    return None if pure(dimensions[-1:]) is None else first(dimensions)


def product(dimensions: Sequence[Dimension]) -> Dimension | None:
    """The dimension of the first two arguments multiplied."""
    a, b = dimensions[:2]
    return None if a.condition or b.condition else a.plain().times(b.plain())


def quotient(dimensions: Sequence[Dimension]) -> Dimension | None:
    """The dimension of the first argument by the second."""
    a, b = dimensions[:2]
    return None if a.condition or b.condition else a.plain().times(b.plain(), -1)


def root(dimensions: Sequence[Dimension]) -> Dimension | None:
    """Half the powers of the first argument."""
    return None if dimensions[0].condition else dimensions[0].root()


def settling(weight: float, window: int = 1) -> int:
    """Return the bars after which a recursion of this weight has forgotten its first value."""
    if weight >= 1.0:
        return window
    return max(window, math.ceil(math.log(SETTLED) / math.log(1.0 - weight)))


X = Argument("x")
CLOSE = Argument("x", default="close")
N = Argument("n", "window")
N2 = Argument("n", "window", least=2)
K = Argument("k")
ONE = Argument("n", "window", default="1")
IF = Argument("condition", "condition")
A = Argument("a")
B = Argument("b")
