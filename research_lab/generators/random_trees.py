"""Typed random trees: any function of a vocabulary may stand anywhere its dimension fits, within a size."""

from __future__ import annotations

from typing import Final

import numpy as np

from research_lab.dsl.dimensions import BARS, CONDITION, PRICE, RATIO, VOLUME, Dimension
from research_lab.dsl.tree import ON_LONGER_BARS, Node
from research_lab.errors import UsageError
from research_lab.generators import nodes
from research_lab.generators.spans import Span, is_centred, is_distance
from research_lab.generators.tree_sizes import NEVER, PRODUCTS, feasible, sizes_of
from research_lab.generators.tunables import Dice, Tunables
from research_lab.generators.vocabulary import (
    NUMBERS,
    PLAIN_NUMBERS,
    PRICE_VOLUME,
    SHARES,
    SQUARED_PRICE,
    Call,
    Vocabulary,
)

_COMPARED: Final = (
    (0.45, PRICE),
    (0.35, RATIO),
    (0.1, BARS),
    (0.07, VOLUME),
    (0.02, PRICE_VOLUME),
    (0.01, SQUARED_PRICE),
)
_FACTORS: Final = Span(1.5, 3, 0.5)
_NEAR: Final = Span(1.01, 1.05, 0.01)
_HISTORY: Final = (20, 50, 100, 200)
_SAME_BAR: Final = frozenset({"open", "high", "low", "close"})


class RandomTrees:
    """Draws trees of a dimension within a size.

    Parameters
    ----------
    words : what may stand in them. rng : the only source of chance.
    tunables : makes some of their numbers parameters; None for constants only.
    """

    def __init__(
        self, words: Vocabulary, rng: np.random.Generator | Dice, tunables: Tunables | None = None
    ) -> None:
        self.words = words
        self.dice = rng if isinstance(rng, Dice) else Dice(rng)
        self.tunables = Tunables(self.dice, 0) if tunables is None else tunables
        self.sizes = sizes_of(words)
        self._least = self.sizes.least
        self._on_longer = False

    def can(self, dimension: Dimension) -> bool:
        """Whether there is any tree of a dimension."""
        return dimension in self._least

    def tree(self, dimension: Dimension, size: int) -> Node:
        """Return a tree of a dimension, of `size` operations at most, or of the fewest that one takes.

        It may be two larger where a value would be compared with itself, and is with the one before.

        Raises
        ------
        UsageError : when the vocabulary has no tree of the dimension.
        """
        if dimension not in self._least:
            raise UsageError(f"nothing allowed gives a {dimension}", "brief", "allow more inputs or families")
        size = max(size, self._least[dimension])
        return self._condition(size) if dimension.condition else self._number(dimension, size)

    def _condition(self, size: int) -> Node:
        ways = [(0.3, self._called)] if self._calls(CONDITION, size) else []
        if self.sizes.comparison <= size:
            ways.append((0.5, self._comparison))
        if 2 * self._least[CONDITION] < size:
            ways.append((0.2, self._joined))
        return self.dice.weighted(ways)(CONDITION, size)

    def _joined(self, dimension: Dimension, size: int) -> Node:
        left = self._share_of(size - 1, CONDITION, CONDITION)
        parts = self.tree(CONDITION, left), self.tree(CONDITION, size - 1 - left)
        if parts[0] == parts[1]:
            return parts[0]
        return (nodes.all_of if self.dice.chance(0.7) else nodes.any_of)(*parts)

    def _comparison(self, dimension: Dimension, size: int) -> Node:
        of = self.dice.weighted([(w, d) for w, d in _COMPARED if self.sizes.pairs.get(d, NEVER) <= size])
        left = self.tree(of, self._share_of(size - 1, of, of))
        return self.against(left, size - 1 - left.size)

    def against(self, left: Node, size: int) -> Node:
        """Return a comparison of a tree with what it is worth comparing with, of a size at most if that can be.

        That is a level of its span, its own history, zero, or another tree of its dimension.
        """
        sign = self.dice.pick("<>")
        span = self.words.span(left)
        if span is not None and self.dice.chance(0.75):
            name = f"{name_of(left)}_level"
            return nodes.compared(
                left, "<=" if span.whole and sign == "<" else sign, self.tunables.level(name, span)
            )
        if is_centred(left) and self.dice.chance(0.5):
            return nodes.compared(left, sign, nodes.number(0))
        if left.size + 3 <= size and self.dice.chance(0.5) and (past := self.history(left)) is not None:
            return nodes.compared(left, sign, past)
        dimension = left.dimension.plain()
        right = self._unlike(left, dimension, max(size, self._least[dimension]))
        return nodes.compared(left, sign, right)

    def history(self, x: Node) -> Node | None:
        """Return what a value usually was: a mean or a quantile of its last bars; None without such functions."""
        names = [name for name in ("sma", "ema", "median", "quantile") if name in self.words.functions]
        if not names:
            return None
        name = self.dice.pick(names)
        n = self.tunables.window("usual_n", _HISTORY)
        share = [nodes.number(self.dice.pick(SHARES))] if name == "quantile" else []
        return nodes.call(name, x, n, *share)

    def _unlike(self, left: Node, dimension: Dimension, size: int) -> Node:
        """Return a tree that is neither the given one, nor known to lie on one side of it."""
        for _ in range(4):
            right = self.tree(dimension, size)
            if _tells(left, right):
                return right
        return nodes.call("prev", left) if "prev" in self.words.functions else right

    def _number(self, dimension: Dimension, size: int) -> Node:
        leaves = self.words.leaves(dimension)
        if leaves and (size < 3 or self.dice.chance(0.25)):
            return self.dice.pick(leaves)
        ways = [(0.7, self._called)] if self._calls(dimension, size) else []
        if self.sizes.computed[dimension] <= size:
            ways.append((0.3, self._computed))
        if not ways:
            return self.dice.pick(leaves)
        return self.dice.weighted(ways)(dimension, size)

    def _computed(self, dimension: Dimension, size: int) -> Node:
        """Return a sum, difference, product or quotient of a dimension."""
        least, ways = self._least, []
        own = least.get(dimension, NEVER)
        if own + 2 <= size:
            ways.append((0.4, "factor"))
        if 2 * own < size:
            ways.append((0.4, "sum"))
        if own + least.get(RATIO, NEVER) < size:
            ways.append((0.1, "scaled"))
        if dimension in PRODUCTS and 1 + sum(least.get(d, NEVER) for d in PRODUCTS[dimension]) <= size:
            ways.append((1.0, "product"))
        if dimension == RATIO and any(2 * least.get(d, NEVER) < size for d in NUMBERS):
            ways.append((1.0, "quotient"))
        how = self.dice.weighted(ways)
        if how == "factor":
            x = self.tree(dimension, size - 2)
            factor = self._factor(x)
            return (
                nodes.arithmetic("divide", x, factor)
                if self.dice.chance(0.3)
                else nodes.arithmetic("multiply", factor, x)
            )
        if how == "product":
            sides = PRODUCTS[dimension]
        elif how == "quotient":
            sides = (self.dice.pick([d for d in NUMBERS if 2 * least.get(d, NEVER) < size]),) * 2
        else:
            sides = (dimension, RATIO if how == "scaled" else dimension)
        left = self.tree(sides[0], self._share_of(size - 1, *sides))
        alike = how in ("sum", "quotient")
        rest = size - 1 - left.size
        right = self._unlike(left, sides[1], rest) if alike else self.tree(sides[1], rest)
        if alike and left == right:
            return left if how == "sum" else nodes.arithmetic("divide", left, right)
        signs = {"sum": ("add", "subtract"), "scaled": ("multiply", "divide"), "quotient": ("divide",)}
        return nodes.arithmetic(self.dice.pick(signs.get(how, ("multiply",))), left, right)

    def _factor(self, x: Node) -> Node:
        """Return a multiple worth comparing: of a price level one nearby."""
        near = x.dimension == PRICE and not is_distance(x)
        return self.tunables.level("factor", _NEAR if near else _FACTORS)

    def _calls(self, dimension: Dimension, size: int) -> tuple[tuple[Call, ...], ...]:
        found = feasible(self.words, dimension, size)
        if not self._on_longer:
            return found
        return tuple(calls for calls in found if calls[0].function.name not in ON_LONGER_BARS)

    def _called(self, dimension: Dimension, size: int) -> Node:
        """Return a call of a function, all functions being as likely; or a tree on longer bars."""
        longer = () if self._on_longer else self.words.longer
        if longer and size > self._least[dimension] and self.dice.chance(0.04):
            timeframe = self.dice.pick(longer)
            return nodes.on_longer(timeframe, self._below(dimension, size - 1))
        call = self.dice.pick(self.dice.pick(self._calls(dimension, size)))
        if call.function.name not in ON_LONGER_BARS:
            return self.filled(call, size)
        self._on_longer = True
        node = self.filled(call, size)
        self._on_longer = False
        return node

    def _below(self, dimension: Dimension, size: int) -> Node:
        """Return a tree that reads no longer bars."""
        self._on_longer = True
        node = self.tree(dimension, size)
        self._on_longer = False
        return node

    def filled(self, call: Call, size: int) -> Node:
        """Return a call with drawn arguments, of a size at most if that can be."""
        spare = size - 1 - sum(1 if of.literal else self._least[of] for of in call.takes)
        args: list[Node] = []
        open_ = sum(not of.literal for of in call.takes)
        for argument, of in zip(call.function.arguments, call.takes, strict=True):
            if of.literal:
                args.append(self.written(call, len(args)))
                continue
            open_ -= 1
            more = spare if open_ == 0 else self.dice.below(max(spare, 0) + 1)
            least = self._least[of]
            drawn = self.tree(of, least + max(more, 0))
            if argument.kind == "number" and not all(_tells(arg, drawn) for arg in args):
                drawn = self._unlike(drawn, of, least + max(more, 0))
            spare -= drawn.size - least
            args.append(drawn)
        return nodes.call(call.function.name, *args)

    def written(self, call: Call, place: int) -> Node:
        """Return a number for an argument that is one."""
        argument, name = call.function.arguments[place], call.function.name
        if argument.name in PLAIN_NUMBERS and argument.kind != "exponent":
            return self.tunables.level(f"{name}_{argument.name}", PLAIN_NUMBERS[argument.name])
        if argument.kind == "window":
            windows = self.words.windows(call.function, argument)
            return self.tunables.window(f"{name}_{argument.name}", windows, argument.least, argument.most)
        if argument.kind == "exponent":
            return nodes.number(self.dice.pick(call.exponents))
        return nodes.number(self.dice.pick(SHARES))

    def _share_of(self, size: int, one: Dimension, other: Dimension) -> int:
        """Return what part of a size the first of two trees gets."""
        spare = max(size - self._least.get(one, 0) - self._least.get(other, 0), 0)
        return self._least.get(one, 0) + self.dice.below(spare + 1)


def _tells(left: Node, right: Node) -> bool:
    """Whether comparing two trees tells anything: they differ, and no bar decides it by its own shape."""
    names = {str(side.value) for side in (left, right) if side.op == "input"}
    return left != right and not (len(names) == 2 and names <= _SAME_BAR and names != {"open", "close"})


def name_of(node: Node) -> str:
    """Return what a value is called in the name of a parameter."""
    return str(node.value) if node.op == "input" else node.op
