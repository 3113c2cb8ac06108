"""Chance, and the numbers of a strategy as it is drawn: some are written down, some become parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np

from research_lab.dsl.spec import Param
from research_lab.dsl.tree import Node
from research_lab.generators.nodes import number, parameter
from research_lab.generators.spans import Span

Thing = TypeVar("Thing")

MAX_COMBINATIONS: Final = 20_000  # of a strategy's parameters: more is no search but a fit
_SHARE_TUNED: Final = 0.75  # of the numbers met, while more parameters are wanted


class Dice:
    """Choices from one stream of random numbers; a choice costs one number."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def random(self) -> float:
        """Return a number from 0 to below 1."""
        return float(self._rng.random())

    def chance(self, share: float) -> bool:
        """Whether something of this probability happens."""
        return self.random() < share

    def below(self, n: int) -> int:
        """Return a whole number from 0 to n - 1."""
        return min(int(self.random() * n), n - 1)

    def pick(self, things: Sequence[Thing]) -> Thing:
        """Return one of some things, each as likely."""
        return things[self.below(len(things))]

    def weighted(self, things: Sequence[tuple[float, Thing]]) -> Thing:
        """Return one of some things by their weights."""
        at = self.random() * sum(weight for weight, _ in things)
        for weight, thing in things:
            at -= weight
            if at < 0.0:
                return thing
        return things[-1][1]

    def some(self, things: Sequence[Thing], n: int) -> list[Thing]:
        """Return n different things, in their order."""
        places = list(range(len(things)))
        while len(places) > n:
            places.pop(self.below(len(places)))
        return [things[k] for k in places]


class Tunables:
    """The numbers of one strategy: each is a constant, or a parameter with a range around it.

    Parameters
    ----------
    most : parameters that there may be; how many there will be is drawn, none to all being as likely.
    """

    def __init__(self, dice: Dice, most: int) -> None:
        self._dice = dice
        self._wanted = dice.below(most + 1) if most > 0 else 0
        self._combinations = 1
        self.params: dict[str, Param] = {}

    def window(self, name: str, choices: Sequence[int], least: int = 1, most: int = 5_000) -> Node:
        """Return a number of bars, one of some; as a parameter from half of it to twice as much.

        Parameters
        ----------
        least, most : that the parameter may be.
        """
        n = self._dice.pick([n for n in choices if least <= n <= most] or [least])
        step = max(1, _round(n / 4))
        low = n - step * max(0, min(2, (n - least) // step))
        high = n + step * max(0, min(4, (most - n) // step))
        return self._number(name, Param(float(low), float(high), float(step), float(n)))

    def level(self, name: str, span: Span, first: float = 0.0, last: float = 1.0) -> Node:
        """Return a level of a span; as a parameter up to two steps around it.

        Parameters
        ----------
        first, last : part of the span to take it from, as shares.
        """
        n = span.n - 1
        low, high = math.ceil(first * n - 1e-9), math.floor(last * n + 1e-9)
        low, high = (low, high) if low <= high else (high, high)
        k = low + self._dice.below(high - low + 1)
        ends = span.level(max(low, k - 2)), span.level(min(high, k + 2))
        return self._number(
            name, Param(float(ends[0]), float(ends[1]), float(span.step), float(span.level(k)))
        )

    def _number(self, name: str, param: Param) -> Node:
        fits = len(self.params) < self._wanted and self._combinations * param.n_values <= MAX_COMBINATIONS
        if not fits or param.n_values == 1 or not self._dice.chance(_SHARE_TUNED):
            return number(param.default)
        told = name
        while told in self.params:
            base, _, count = told.rpartition("_")
            told = f"{base}_{int(count) + 1}" if count.isdigit() and base else f"{told}_2"
        self.params[told] = param
        self._combinations *= param.n_values
        return parameter(told)


def _round(x: float) -> int:
    """Return the nearest of 1, 2, 5, 10, 20, 25, 50 ... below x: steps that people write."""
    return max((s for s in (1, 2, 5, 10, 20, 25, 50, 100, 250) if s <= x), default=1)
