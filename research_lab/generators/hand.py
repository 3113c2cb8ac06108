"""What changes of strategies are made with, and what has to be true of one that was changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np

from research_lab.dsl.dimensions import Dimension
from research_lab.dsl.spec import Spec
from research_lab.dsl.tree import Node
from research_lab.generators.brief import Brief
from research_lab.generators.places import is_whole, tidied, with_roots
from research_lab.generators.simplification import simplified
from research_lab.generators.vocabulary import Vocabulary

_PLACES_TRIED: Final = 8

Chosen = TypeVar("Chosen")


class Drawing(Protocol):
    """Draws trees within a brief."""

    def tree(self, of: Dimension, words: Vocabulary, rng: np.random.Generator) -> Node: ...


@dataclass(frozen=True, eq=False)
class Hand:
    """What a change is made with.

    Parameters
    ----------
    brief : what is wanted. drawing : where new trees come from. rng : of everything random.
    """

    brief: Brief
    drawing: Drawing
    rng: np.random.Generator

    def words(self, spec: Spec) -> Vocabulary:
        """Return what may be said on a strategy's timeframe."""
        return Vocabulary.of(self.brief, spec.timeframe)

    def pick(self, choices: Sequence[Chosen]) -> Chosen:
        """Return one of them, each with the same chance."""
        return choices[int(self.rng.integers(len(choices)))]

    def shuffled(self, choices: Sequence[Chosen]) -> list[Chosen]:
        """Return some of them in an order of chance."""
        return [choices[int(k)] for k in self.rng.permutation(len(choices))[:_PLACES_TRIED]]

    def draw(self, of: Dimension, spec: Spec) -> Node:
        """Return a new tree of a dimension."""
        return self.drawing.tree(of, self.words(spec), self.rng)


Operator = Callable[[Spec, Hand], Spec | None]


def finished(spec: Spec | None, hand: Hand, before: Spec) -> Spec | None:
    """Return a changed strategy made simple, or None where it is none, the same as before, or beyond the brief."""
    if spec is None:
        return None
    simple = _simple(spec)
    if simple is None or not is_whole(simple) or simple.hash == before.hash:
        return None
    return None if hand.brief.refuses(simple) else simple


def _simple(spec: Spec) -> Spec | None:
    """Return a strategy whose conditions are as simple as they get; None where an entry can never happen."""
    trees: dict[str, Node | None] = {}
    for name, tree in spec.conditions.items():
        simple = simplified(tree)
        if name.startswith("enter") and isinstance(simple, bool):
            return None
        trees[name] = None if isinstance(simple, bool) else simple
    changed = {name: tree for name, tree in trees.items() if tree != spec.conditions[name]}
    whole = with_roots(spec, changed) if changed else spec
    return None if whole is None else tidied(whole)
