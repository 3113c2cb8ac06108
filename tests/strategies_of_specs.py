"""Random strategies of the language, built from the registry by dimension: valid by construction.

A function that joins the registry joins these trees. Trees are drawn as text and parsed, so that the parser,
the types and the text are tried as well.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import cache

from hypothesis import strategies as st

from research_lab.dsl.dimensions import (
    BARS,
    CONDITION,
    LITERAL,
    PRICE,
    RATIO,
    VOLUME,
    Dimension,
)
from research_lab.dsl.function import Function
from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.spec import REGIMES, Spec
from research_lab.dsl.spec_reader import parse_spec

WINDOWS = (1, 2, 3, 5, 8, 14)
PRICE_VOLUME = Dimension(price=Fraction(1), volume=Fraction(1))
NUMBERS = (PRICE, RATIO, VOLUME)
PARAMS = {"fast": (2, 6, 2), "slow": (8, 20, 4)}
SHARES = ("0.1", "0.5", "0.85")
EXPONENTS = ("-2", "0", "3", "fast")

_INPUTS = {
    dimension: [name for name, (of, _) in INPUTS.items() if of == dimension] for dimension in (*NUMBERS, BARS)
}


@cache
def expressions(dimension: Dimension, depth: int = 3) -> st.SearchStrategy[str]:
    """Return a strategy of texts that have a dimension."""
    if depth == 0:
        return _leaves(dimension)
    return st.one_of(_leaves(dimension), _calls(dimension, depth), _operators(dimension, depth))


@cache
def _leaves(dimension: Dimension) -> st.SearchStrategy[str]:
    if dimension == CONDITION:
        return st.sampled_from(
            ["close > open", "volume >= prev(volume)", "premium < 0", "high == prev(high)"]
        )
    if dimension == BARS:
        return st.just("bars_since(close > open)")
    if dimension == RATIO:
        return st.sampled_from([*_INPUTS[RATIO], "close / open", "0.3", "2", "fast"])
    if dimension in (PRICE, VOLUME):
        return st.sampled_from(_INPUTS[dimension])
    return st.just("close * volume")


@cache
def _operators(dimension: Dimension, depth: int) -> st.SearchStrategy[str]:
    if dimension == CONDITION:
        part = expressions(CONDITION, depth - 1)
        logic = st.tuples(part, st.sampled_from(["and", "or"]), part).map(
            lambda p: f"({p[0]}) {p[1]} ({p[2]})"
        )
        return st.one_of(logic, part.map(lambda text: f"not ({text})"), _comparisons(depth - 1))
    part = expressions(dimension, depth - 1)
    ratio = expressions(RATIO, depth - 1)
    sums = st.tuples(part, st.sampled_from("+-"), part).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})")
    scaled = st.tuples(part, st.sampled_from("*/"), ratio).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})")
    products = [sums, scaled, part.map(lambda text: f"-({text})")]
    if dimension == RATIO:
        pairs = st.sampled_from(NUMBERS).flatmap(lambda d: st.tuples(*[expressions(d, depth - 1)] * 2))
        products.append(pairs.map(lambda p: f"({p[0]}) / ({p[1]})"))
    return st.one_of(products)


@cache
def _comparisons(depth: int) -> st.SearchStrategy[str]:
    signs = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    sides = st.sampled_from((*NUMBERS, BARS)).flatmap(
        lambda d: st.tuples(expressions(d, depth), signs, expressions(d, depth))
    )
    return sides.map(lambda p: f"({p[0]}) {p[1]} ({p[2]})")


@cache
def _calls(dimension: Dimension, depth: int) -> st.SearchStrategy[str]:
    choices = [
        _call(function, given, depth)
        for function in FUNCTIONS.values()
        if function.body_on is None  # may not stand in each other, nor in tf()
        for given in _fitting(function, dimension)
    ]
    return st.one_of(choices) if choices else _leaves(dimension)


def _fitting(function: Function, wanted: Dimension) -> list[dict[str, Dimension]]:
    """Return dimensions of the free arguments for which a function gives the wanted one.

    A power is counted as the first here, which leaves any exponent to a ratio only.
    """
    free = [a.name for a in function.arguments if a.kind == "number"]
    fixed = {a.name: CONDITION if a.kind == "condition" else LITERAL for a in function.arguments}
    found = []
    for dimensions in itertools.product((*NUMBERS, BARS, PRICE_VOLUME), repeat=len(free)):
        given = fixed | dict(zip(free, dimensions, strict=True))
        if function.dimension(list(given.values())) == wanted:
            found.append(given)
    return found


def _call(function: Function, given: dict[str, Dimension], depth: int) -> st.SearchStrategy[str]:
    parts = []
    for argument in function.arguments:
        if argument.kind == "window":
            fixed = [str(n) for n in WINDOWS if n >= argument.least]
            named = [name for name, (low, _, _) in PARAMS.items() if low >= argument.least]
            parts.append(st.sampled_from([*fixed, *named, "fast + slow"]))
        elif argument.kind == "share":
            parts.append(st.sampled_from(SHARES))
        elif argument.kind == "exponent":
            of_ratio = RATIO in given.values()
            parts.append(st.sampled_from(EXPONENTS if of_ratio else ("1",)))
        else:
            parts.append(expressions(given[argument.name], depth - 1))
    return st.tuples(*parts).map(lambda texts: f"{function.name}({', '.join(texts)})")


@st.composite
def spec_texts(draw: st.DrawFn, timeframe: str = "4h", depth: int = 3) -> str:
    """Return a strategy of whole strategy files."""
    side = draw(st.sampled_from(["long", "short", "both"]))
    sides = ("long", "short") if side == "both" else (side,)
    condition, distance = expressions(CONDITION, depth), _distances(depth - 1)
    lines = [
        "spec: 1",
        "name: drawn",
        "hypothesis: chance",
        f"timeframe: {timeframe}",
        f"side: {side}",
        "params:",
    ]
    lines += [f"  {n}: {{range: [{a}, {b}], step: {s}, default: {a}}}" for n, (a, b, s) in PARAMS.items()]
    lines += [f"define:\n  part: {draw(condition)}"]
    for one in sides:
        lines.append(f"enter_{one}: ({draw(condition)}) {draw(st.sampled_from(['and part', 'or part', '']))}")
        if draw(st.booleans()):
            lines.append(f"exit_{one}: {draw(condition)}")
    has_stop = draw(st.booleans())
    if has_stop:
        lines.append(f"stop: {draw(distance)}")
        lines += draw(st.sampled_from([[], [TAKES], [TAKES, "breakeven: true"]]))
    if draw(st.booleans()):
        after = ", after: 1R" if has_stop and draw(st.booleans()) else ""
        lines.append(f'trail: {{distance: "{draw(distance)}"{after}}}')
    lines.append(f"time_stop: {draw(st.integers(1, 30))}")
    size = draw(st.sampled_from(["fraction: 0.9", "target_vol: 0.5"] + ["risk: 0.02"] * 2 * has_stop))
    lines.append(f"size: {{{size}}}")
    lines += draw(st.sampled_from([[], [REGIME_LINE], [REGIME_LINE, "regime_exit: true"]]))
    return "\n".join(lines) + "\n"


TAKES = "take: [{at: 0.5R, close: 0.5}, {at: 1.5R, close: 1.0}]"
REGIME_LINE = f"regimes: [{', '.join(REGIMES[2:])}]"


def _distances(depth: int) -> st.SearchStrategy[str]:
    """Return distances in price that are above zero as a rule, and unknown or below at times."""
    return st.one_of(
        st.sampled_from([1, 2, 3]).map(lambda k: f"{k} * atr(5)"),
        expressions(PRICE, depth).map(lambda x: f"0.02 * ({x})"),
    )


def specs(timeframe: str = "4h", depth: int = 3) -> st.SearchStrategy[Spec]:
    """Return a strategy of strategies, read from their text."""
    return spec_texts(timeframe, depth).map(parse_spec)
