"""How small trees can be: what fits into a size is known before it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from research_lab.dsl.dimensions import CONDITION, PRICE, RATIO, VOLUME, Dimension
from research_lab.generators.vocabulary import NUMBERS, PRICE_VOLUME, SQUARED_PRICE, Call, Vocabulary

PRODUCTS: Final = {PRICE_VOLUME: (PRICE, VOLUME), SQUARED_PRICE: (PRICE, PRICE)}
NEVER: Final = 1_000_000  # operations of what cannot be made
_CONDITION: Final = 3  # operations that any condition may have, so that it is not always the smallest one


@dataclass(frozen=True)
class Sizes:
    """The fewest operations of what a vocabulary can make.

    Parameters
    ----------
    least : of a tree of each dimension that there is.
    pairs : of a comparison of each dimension that can be true and can be false.
    computed : of a sum, product or quotient of each dimension.
    """

    least: Mapping[Dimension, int]
    pairs: Mapping[Dimension, int]
    computed: Mapping[Dimension, int]

    @cached_property
    def comparison(self) -> int:
        """The smallest comparison."""
        return min(self.pairs.values(), default=NEVER)


@lru_cache(maxsize=64)
def sizes_of(words: Vocabulary) -> Sizes:
    """Return the sizes of a vocabulary's smallest trees, by going through its calls until nothing shrinks."""
    least = {d: 1 for d in NUMBERS if words.leaves(d)}
    while True:
        pairs = {d: _pair_least(words, least[d], d) for d in NUMBERS if d in least}
        computed = {d: _computed_least(d, least) for d in NUMBERS}
        found = Sizes(dict(least), pairs, computed)
        for dimension in (*NUMBERS, CONDITION):
            sizes = [_least_of(c, least) for calls in words.calls(dimension).values() for c in calls]
            sizes += [computed.get(dimension, NEVER), least.get(dimension, NEVER)]
            if dimension.condition:
                sizes.append(found.comparison)
            if min(sizes) < NEVER:
                least[dimension] = max(min(sizes), _CONDITION if dimension.condition else 1)
        if least == found.least:
            return found


@lru_cache(maxsize=8_192)
def feasible(words: Vocabulary, dimension: Dimension, size: int) -> tuple[tuple[Call, ...], ...]:
    """Return the calls of a dimension that fit into a size, by function."""
    least = sizes_of(words).least
    fits = [
        tuple(c for c in calls if _least_of(c, least) <= size) for calls in words.calls(dimension).values()
    ]
    return tuple(calls for calls in fits if calls)


def _least_of(call: Call, least: Mapping[Dimension, int]) -> int:
    return 1 + sum(1 if of.literal else least.get(of, NEVER) for of in call.takes)


def _pair_least(words: Vocabulary, least: int, dimension: Dimension) -> int:
    """Return the size of the smallest comparison that is neither always true nor never."""
    leaves = {str(leaf.value) for leaf in words.leaves(dimension)}
    alone = least == 1 and (len(leaves) < 2 or (dimension == PRICE and not leaves >= {"open", "close"}))
    return 1 + 2 * least + 2 * alone  # room for one of them some bars ago


def _computed_least(dimension: Dimension, least: Mapping[Dimension, int]) -> int:
    sizes = [least.get(dimension, NEVER) + 2]
    if dimension in PRODUCTS:
        sizes.append(1 + sum(least.get(d, NEVER) for d in PRODUCTS[dimension]))
    if dimension == RATIO:
        sizes += [1 + 2 * least[d] for d in NUMBERS if d in least]
    return min(sizes)
