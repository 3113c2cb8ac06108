"""Random strategies as YAML, drawn from the registry by dimension: the same seed gives the same texts.

A function that joins the registry joins these texts, as long as the kinds of its arguments are known here.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from research_lab.dsl.dimensions import BARS, CONDITION, LITERAL, PRICE, RATIO, VOLUME, Dimension
from research_lab.dsl.registry import FUNCTIONS, INPUTS, Function
from research_lab.dsl.tree import ON_LONGER_BARS

WINDOWS = (2, 3, 5, 8, 14, 20, 34, 55, 100)
SHARES = ("0.1", "0.25", "0.5", "0.75", "0.9")
DEPTH = 3
NUMBERS = (PRICE, RATIO, VOLUME, BARS)
PRICE_VOLUME = Dimension(price=Fraction(1), volume=Fraction(1))
UNKNOWN_ON_SPOT = ("funding", "premium")
_KINDS = {"number", "condition", "window", "share", "exponent"}


def _choices() -> dict[Dimension, list[tuple[Function, list[Dimension]]]]:
    """Return, for each dimension, the functions that give it and the dimensions of their arguments."""
    found: dict[Dimension, list[tuple[Function, list[Dimension]]]] = {}
    for function in FUNCTIONS.values():
        kinds = [argument.kind for argument in function.arguments]
        if not set(kinds) <= _KINDS:
            continue
        for number in (*NUMBERS, PRICE_VOLUME) if "number" in kinds else (PRICE,):
            given = [
                {"condition": CONDITION, "number": number if a.dimension.zero else a.dimension}.get(
                    a.kind, LITERAL
                )
                for a in function.arguments
            ]
            gives = function.dimension(given)
            if gives is not None:
                found.setdefault(gives.plain(), []).append((function, given))
    return found


_CHOICES = _choices()
_LEAVES = {
    of: [name for name, (dimension, _) in INPUTS.items() if dimension == of and name not in UNKNOWN_ON_SPOT]
    for of in NUMBERS
}
_LEAVES[RATIO] = ["close / open", "high / low", "0.5", "2", "30"]
_LEAVES[BARS] = ["bars_since(close > open)"]
_LEAVES[PRICE_VOLUME] = ["close * volume"]
_LEAVES[CONDITION] = ["close > open", "volume > sma(volume, 20)", "close > prev(close)"]


class Drawer:
    """Draws texts of expressions and strategies from one seeded stream of random numbers."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._on_longer_bars = False

    def strategy(self, number: int, timeframe: str = "1h") -> str:
        """Return a whole strategy, long, with a stop or a time stop so that positions end."""
        lines = [
            "spec: 1",
            f"name: drawn_{number}",
            "hypothesis: chance",
            f"timeframe: {timeframe}",
            "side: long",
            f"enter_long: {self.expression(CONDITION)}",
        ]
        if self._flip():
            lines.append(f"exit_long: {self.expression(CONDITION)}")
        if self._flip():
            lines.append(f"stop: {self._pick(('1', '1.5', '2', '3'))} * atr({self._window(1)})")
            if self._flip():
                lines.append("take: [{at: 1R, close: 0.5}, {at: 2R, close: 0.5}]")
            if self._flip():
                lines.append(f"trail: {{distance: 2 * atr({self._window(1)}), after: 1R}}")
        lines += [f"time_stop: {self._random.integers(2, 100)}", "size: {fraction: 1}"]
        return "\n".join(lines) + "\n"

    def expression(self, of: Dimension, depth: int = DEPTH) -> str:
        """Return the text of an expression of a dimension, at most `depth` operations deep."""
        ways: list[Callable[[Dimension, int], str]] = [self._call, self._operation]
        if depth == 0 or (depth < DEPTH and self._random.random() < 0.2):
            return self._pick(_LEAVES.get(of, ())) if of in _LEAVES else self._call(of, 0)
        return ways[int(self._random.integers(2))](of, depth)

    def _call(self, of: Dimension, depth: int) -> str:
        choices = _CHOICES.get(of, [])
        if not choices:
            return self._pick(_LEAVES[of])
        function, given = choices[int(self._random.integers(len(choices)))]
        if function.name not in ON_LONGER_BARS:
            return self._written(function, given, depth)
        if self._on_longer_bars:  # one of them stands in no other
            return self._call(of, depth)
        self._on_longer_bars = True
        text = self._written(function, given, depth)
        self._on_longer_bars = False
        return text

    def _written(self, function: Function, given: list[Dimension], depth: int) -> str:
        texts = []
        for argument, dimension in zip(function.arguments, given, strict=True):
            if argument.kind == "window":
                texts.append(self._window(argument.least))
            elif argument.kind == "share":
                texts.append(self._pick(SHARES))
            elif argument.kind == "exponent":
                texts.append(self._pick(("-1", "1", "2", "3")) if given[0] == RATIO else "1")
            else:
                texts.append(self.expression(dimension, max(depth - 1, 0)))
        return f"{function.name}({', '.join(texts)})"

    def _operation(self, of: Dimension, depth: int) -> str:
        if of == CONDITION:
            if self._flip():
                parts = (self.expression(CONDITION, depth - 1) for _ in range(2))
                return f"({next(parts)}) {self._pick(('and', 'or'))} ({next(parts)})"
            side = NUMBERS[int(self._random.integers(len(NUMBERS)))]
            left, right = self.expression(side, depth - 1), self.expression(side, depth - 1)
            return f"({left}) {self._pick(('<', '<=', '>', '>='))} ({right})"
        sign = self._pick("+-*/")
        other = of if sign in "+-" else RATIO
        return f"({self.expression(of, depth - 1)}) {sign} ({self.expression(other, depth - 1)})"

    def _window(self, least: int) -> str:
        return str(self._pick([n for n in WINDOWS if n >= least]))

    def _pick(self, choices: object) -> str:
        listed = list(choices)  # type: ignore[call-overload]
        return str(listed[int(self._random.integers(len(listed)))])

    def _flip(self) -> bool:
        return bool(self._random.random() < 0.5)


def texts(n: int, seed: int = 1, timeframe: str = "1h") -> list[str]:
    """Return n strategies as YAML texts, no two alike."""
    drawer = Drawer(seed)
    found: dict[str, str] = {}
    while len(found) < n:
        text = drawer.strategy(len(found), timeframe)
        found.setdefault(text.split("enter_long", 1)[1], text)
    return list(found.values())
