"""What conditions are made of: averages, usual heights of bars, indices and their levels, crossings.

Each takes what the vocabulary has, and is None where it has nothing for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from research_lab.dsl.dimensions import CONDITION, PRICE
from research_lab.dsl.tree import Node
from research_lab.generators.nodes import all_of, any_of, call, compared, given, number
from research_lab.generators.random_trees import RandomTrees
from research_lab.generators.spans import Span

FAST: Final = (3, 5, 8, 10, 14, 20)
SLOW: Final = (30, 40, 50, 75, 100, 150, 200)
USUAL: Final = (10, 14, 20, 24, 30, 48)
LONG: Final = (48, 100, 200, 300)
SMALL_WIDTH: Final = Span(0.5, 2, 0.25)
AVERAGES: Final = ("sma", "ema", "wma", "hma", "kama", "rma", "vwma", "linreg", "median")
_INDICES: Final = ("rsi", "mfi", "stochastic_k", "stochastic_d", "williams_r", "cci", "tsi", "aroon", "cmf", "zscore",
                   "bollinger_percent_b", "rank")  # fmt: skip


def named(t: RandomTrees, names: Sequence[str]) -> list[str]:
    """Return those of some functions that are allowed."""
    return [name for name in names if name in t.words.functions]


def reads(t: RandomTrees, *inputs: str) -> bool:
    """Whether some inputs may all be read."""
    return set(inputs) <= set(t.words.inputs)


def average(t: RandomTrees, x: Node, name: str, choices: Sequence[int]) -> Node | None:
    """Return some average of a value."""
    names = named(t, AVERAGES)
    return call(t.dice.pick(names), x, t.tunables.window(name, choices, least=4)) if names else None


def ago(t: RandomTrees, x: Node) -> Node | None:
    """Return a value of the bar before."""
    return call("prev", x) if "prev" in t.words.functions else None


def usual_range(t: RandomTrees) -> Node | None:
    """Return the usual height of a bar."""
    names = [n for n in ("atr", "std", "mad", "ewm_std") if n in t.words.functions]
    if not names or not reads(t, "close"):
        return None
    name = t.dice.weighted([(4.0 if n == "atr" else 0.5, n) for n in names])
    n = t.tunables.window(f"{name}_n", USUAL)
    return call(name, n) if name == "atr" else call(name, given("close"), n)


def above(t: RandomTrees, left: Node, right: Node, share: float = 0.5) -> Node:
    """Return left above right, as a state or as the moment of it."""
    if "crosses_above" in t.words.functions and t.dice.chance(share):
        return call("crosses_above", left, right)
    return compared(left, ">", right)


def index_of_price(t: RandomTrees) -> Node | None:
    """Return an indicator that has a span, of the close where it takes a value."""
    names = [n for n in named(t, _INDICES) if reads(t, "close")]
    if not names:
        return None
    name = t.dice.pick(names)
    calls = [c for c in t.words.ways(name) if all(d.literal or d == PRICE for d in c.takes)]
    if not calls:
        return None
    call_ = t.dice.pick(calls)
    args = []
    for place, (argument, of) in enumerate(zip(call_.function.arguments, call_.takes, strict=True)):
        if argument.kind == "window" and argument.name == "n":
            args.append(t.tunables.window(f"{name}_n", USUAL, argument.least))
        else:
            args.append(t.written(call_, place) if of.literal else given("close"))
    return call(name, *args)


def level_of(t: RandomTrees, index: Node, first: float, last: float, name: str) -> Node | None:
    """Return a level of a value's span, from a part of it given as shares; None where it has none to choose."""
    span = t.words.span(index)
    return None if span is None or span.n < 3 else t.tunables.level(f"{index.op}_{name}", span, first, last)


def stretch(read: Node, span: Span, first: int, n: int) -> Node:
    """Return n steps of a hand of the clock, from step `first` on, over its end where they reach it."""
    last = (first + n - 1) % (span.n + 1)
    if n == 1:
        return Node("equal", (read, number(span.level(first))), CONDITION)
    ends = (
        compared(read, ">=", number(span.level(first))),
        compared(read, "<=", number(span.level(last))),
    )
    if first == 0:
        return ends[1]
    if last == span.n:
        return ends[0]
    return all_of(*ends) if first < last else any_of(*ends)
