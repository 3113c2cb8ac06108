"""What may stand in a tree, by dimension: the language's registry within the bounds of a brief.

Grammar, mutation and the prompt of a language model read it here, so that a function that joins the registry
joins what all of them propose.

Examples
--------
>>> from research_lab.generators.brief import Brief
>>> words = Vocabulary.of(Brief(), "1h")
>>> [leaf.text for leaf in words.leaves(PRICE)]
['open', 'high', 'low', 'close']
>>> [call.function.signature for call in words.calls(CONDITION)["squeeze"]]
['squeeze(n, k_bollinger, k_keltner)']
>>> atr = words.calls(PRICE)["atr"][0].function
>>> words.windows(atr, atr.arguments[0])[:4]
(3, 5, 8, 10)
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property, lru_cache
from types import MappingProxyType
from typing import Final, Protocol

from research_lab.dsl.dimensions import BARS, CONDITION, LITERAL, PRICE, RATIO, VOLUME, Dimension
from research_lab.dsl.function import FIXED_KINDS, Argument, Function
from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.tree import Node
from research_lab.errors import SpecError
from research_lab.generators.nodes import given
from research_lab.generators.spans import Span, span_of, stands_still
from research_lab.timeframe import is_made_of, timeframe_ms

PRICE_VOLUME: Final = Dimension(price=Fraction(1), volume=Fraction(1))
SQUARED_PRICE: Final = Dimension(price=Fraction(2))
NUMBERS: Final = (PRICE, RATIO, VOLUME, BARS, PRICE_VOLUME, SQUARED_PRICE)  # that trees are drawn of
_KINDS: Final = {d: d for d in (*NUMBERS, CONDITION)}  # one object each, which is quick to look up
WINDOWS: Final = (3, 5, 8, 10, 14, 20, 30, 40, 50, 75, 100, 150, 200)
LAGS: Final = (1, 2, 3, 5, 10, 24)  # of arguments that are 1 when left out
HOLDS: Final = (2, 3, 4, 6)  # bars in a row on which a condition is likely to hold now and then
# Of two windows the one that is called fast is the shorter.
NAMED_WINDOWS: Final = MappingProxyType(
    {"fast": (5, 8, 12, 20), "slow": (26, 40, 50, 100), "signal": (5, 9, 14)}
)
SHARES: Final = (0.05, 0.1, 0.2, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95)
EXPONENTS: Final = (-1, 2, 3)
# Arguments that are plain numbers wherever people write them, by their names in the registry.
PLAIN_NUMBERS: Final[Mapping[str, Span]] = MappingProxyType({
    **dict.fromkeys(("k", "k_bollinger", "k_keltner"), Span(1, 4, 0.5)),
    "p": Span(0.4, 0.6, 0.05),
    "reward": Span(1, 3, 0.5),
    "cost": Span(0.001, 0.005, 0.001),
    "step": Span(0.01, 0.04, 0.01),
    "maximum": Span(0.1, 0.3, 0.05),
})  # fmt: skip
_WORD = re.compile(r"[a-z][a-z0-9_]*")


class Bounds(Protocol):
    """What a brief bounds: names of functions and inputs that may be said, and timeframes that tf() may ask for."""

    @property
    def functions(self) -> tuple[str, ...]: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def longer(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments' dimensions, and what it then gives.

    Parameters
    ----------
    takes : one dimension an argument; LITERAL for what must be a number: windows, shares, exponents, and those
        that people write as numbers (`PLAIN_NUMBERS`).
    exponents : that may be written, of a function with an exponent.
    """

    function: Function
    takes: tuple[Dimension, ...]
    gives: Dimension
    exponents: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)  # `of` gives one object for equal bounds
class Vocabulary:
    """What trees of one timeframe may say.

    Parameters
    ----------
    allowed : names of the functions that a tree may call. functions : those of them that trees are drawn of, without
        clocks that stand still on these bars. inputs : of the market, allowed.
    longer : timeframes that tf() may ask for. step_ms : length of the strategy's bars.
    """

    allowed: frozenset[str]
    functions: frozenset[str]
    inputs: tuple[str, ...]
    longer: tuple[str, ...]
    step_ms: int

    @classmethod
    def of(cls, brief: Bounds, timeframe: str) -> Vocabulary:
        """Return what a brief allows on a timeframe; equal bounds give one object."""
        return _vocabulary(brief.functions, brief.inputs, brief.longer, timeframe_ms(timeframe))

    def calls(self, dimension: Dimension) -> Mapping[str, tuple[Call, ...]]:
        """Return, by function, the ways to call it that give a dimension."""
        return self._calls.get(dimension, {})

    def ways(self, name: str) -> tuple[Call, ...]:
        """Return the ways to call a function, whatever they give; none of one that is not allowed."""
        return tuple(c for by_name in self._calls.values() for c in by_name.get(name, ()))

    def leaves(self, dimension: Dimension) -> tuple[Node, ...]:
        """Return the inputs of a dimension."""
        return self._leaves.get(dimension, ())

    @cached_property
    def _leaves(self) -> Mapping[Dimension, tuple[Node, ...]]:
        kinds = (*NUMBERS, CONDITION)
        return {d: tuple(given(name) for name in self.inputs if INPUTS[name][0] == d) for d in kinds}

    @cached_property
    def makes(self) -> frozenset[Dimension]:
        """The dimensions of which there is an input or a call of finite size; trees may have these."""
        made = {d for d in (*NUMBERS, CONDITION) if self.leaves(d)}
        while True:
            more = {
                d for d, ways in self._all_calls.items() for calls in ways.values() for call in calls
                if all(of == LITERAL or of in made for of in call.takes)
            }  # fmt: skip
            if made & set(NUMBERS):
                more.add(CONDITION)  # by comparing
            if more <= made:
                return frozenset(made)
            made |= more

    @cached_property
    def _all_calls(self) -> Mapping[Dimension, Mapping[str, tuple[Call, ...]]]:
        found: dict[Dimension, dict[str, tuple[Call, ...]]] = {}
        for name in FUNCTIONS:  # in the order of the registry
            for call in calls_of(name) if name in self.functions else ():
                ways = found.setdefault(call.gives, {})
                ways[name] = (*ways.get(name, ()), call)
        return found

    @cached_property
    def _calls(self) -> Mapping[Dimension, Mapping[str, tuple[Call, ...]]]:
        """Those calls whose arguments can be made."""
        kept: dict[Dimension, Mapping[str, tuple[Call, ...]]] = {}
        for dimension, ways in self._all_calls.items():
            possible = {
                name: tuple(c for c in calls if all(d == LITERAL or d in self.makes for d in c.takes))
                for name, calls in ways.items()
            }
            kept[dimension] = {name: calls for name, calls in possible.items() if calls}
        return kept

    def windows(self, function: Function, argument: Argument) -> tuple[int, ...]:
        """Return the windows that people write for an argument, ascending; its least where there is none."""
        usual = LAGS if argument.default == "1" else NAMED_WINDOWS.get(argument.name, WINDOWS)
        usual = HOLDS if function.name == "held_for" else usual
        return tuple(n for n in usual if argument.least <= n <= argument.most) or (argument.least,)

    def span(self, node: Node) -> Span | None:
        """Return the levels worth comparing a tree with; None where only its own history will do."""
        return span_of(node, self.step_ms)

    def lacks(self, node: Node) -> str:
        """Return the first word of a tree that is not allowed, "" where all are.

        Inputs that a function reads by itself count, as volume in obv().
        """
        if node.op == "input":
            name = str(node.value)
            return name if name in INPUTS and name not in self.inputs else ""
        if node.op == "tf" and node.value not in self.longer:
            return f'tf("{node.value}", ...)'
        if node.op in FUNCTIONS and node.op not in self.allowed:
            unread = reads_of(node.op).difference(self.inputs)
            return f"{node.op}(), which reads {', '.join(sorted(unread))}" if unread else f"{node.op}()"
        return next(filter(None, map(self.lacks, node.args)), "")


@lru_cache(maxsize=64)  # many briefs in one process forget each other
def _vocabulary(
    functions: tuple[str, ...], inputs: tuple[str, ...], longer: tuple[str, ...], step_ms: int
) -> Vocabulary:
    allowed = frozenset(name for name in functions if reads_of(name) <= set(inputs))
    drawn = (n for n in allowed if not stands_still(n, step_ms) and _has_body(FUNCTIONS[n], step_ms))
    asked = [t for t in longer if timeframe_ms(t) > step_ms and is_made_of(timeframe_ms(t), step_ms)]
    return Vocabulary(
        allowed, frozenset(drawn), tuple(n for n in INPUTS if n in inputs), tuple(asked), step_ms
    )


@cache
def calls_of(name: str) -> tuple[Call, ...]:
    """Return all ways to call a function with what trees are drawn of; none for kinds not known here."""
    function = FUNCTIONS[name]
    choices: list[tuple[Dimension, ...]] = []
    for argument in function.arguments:
        if argument.kind in FIXED_KINDS or argument.name in PLAIN_NUMBERS:
            choices.append((LITERAL,))
        elif argument.kind == "condition":
            choices.append((CONDITION,))
        elif argument.kind == "number":
            choices.append((*NUMBERS, CONDITION) if argument.dimension.zero else (argument.dimension,))
        else:
            return ()
    found: dict[tuple[tuple[Dimension, ...], Dimension], Call] = {}
    for takes in itertools.product(*choices):
        gives = function.dimension(takes)
        if gives is None:
            continue
        for exponent in EXPONENTS if any(a.kind == "exponent" for a in function.arguments) else (None,):
            said = _KINDS.get(gives.plain() if exponent is None else gives.plain().raised(exponent))
            if said is None:
                continue
            so_far = found.get((takes, said), Call(function, takes, said))
            exponents = so_far.exponents if exponent is None else (*so_far.exponents, exponent)
            found[takes, said] = Call(function, takes, said, exponents)
    return tuple(found.values())


@cache
def reads_of(name: str) -> frozenset[str]:
    """Return the inputs that a function reads whatever it is called with, itself or in what it is made of."""
    function = FUNCTIONS[name]
    texts = [function.body, *(function.reads or ())]
    if function.body_on is not None:
        texts.append(function.body_on(timeframe_ms("1h")))
    own = {a.name for a in function.arguments} | set(function.fixed)
    words = {word for text in texts for word in _WORD.findall(text)} - own
    found = words & set(INPUTS)
    if "spread" in words:
        words.add("spread_estimate")
    for word in words & set(FUNCTIONS) - {name}:
        found |= reads_of(word)
    return frozenset(found)


def _has_body(function: Function, step_ms: int) -> bool:
    """Whether a function that reads longer timeframes finds some on bars of a length."""
    if function.body_on is None:
        return True
    try:
        function.body_on(step_ms)
    except SpecError:
        return False
    return True
