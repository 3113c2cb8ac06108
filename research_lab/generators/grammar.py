"""The grammar: strategies drawn at random from the language, by dimension; the control for every other generator.

Two thirds of the conditions have forms that people write (`shapes.py`), the rest are trees in which any function may
stand anywhere (`random_trees.py`). It learns nothing: what it finds, luck finds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

import numpy as np

from research_lab.dsl.dimensions import CONDITION, Dimension
from research_lab.dsl.spec import Spec
from research_lab.dsl.tree import Node
from research_lab.errors import UsageError
from research_lab.generators import nodes
from research_lab.generators.brief import Brief
from research_lab.generators.filters import FILTERS
from research_lab.generators.mirror import mirrored
from research_lab.generators.protocol import Feedback, Proposal
from research_lab.generators.random_trees import RandomTrees
from research_lab.generators.risk_blocks import RiskBlocks, draw_blocks
from research_lab.generators.shapes import KINDS, SHAPES, Idea, Shape
from research_lab.generators.tunables import Dice, Tunables
from research_lab.generators.vocabulary import Vocabulary
from research_lab.scoring.origin import Origin

VERSION: Final = "1"
SHAPED: Final = 0.7  # share of strategies with a form that people write
_FILTERED: Final = 0.5  # share of those with another condition beside it
_TRIES: Final = 64  # for one strategy; the last half without shapes
_SMALL: Final = 10  # operations of a small strategy: a condition, a time stop, a size
_APART: Final = 0.25  # share of shorts, without a shape, that are not their longs reflected
_AMPLE: Final = 45  # operations that leave room for everything
_ROOM: Final = (1.0, 0.5, 0.0, 0.0)
_CHANCE: Final = "Drawn at random, with no idea behind it."


@dataclass(frozen=True)
class Grammar:
    """Proposes strategies drawn at random within a brief."""

    name: str = field(default="grammar", init=False)
    version: str = field(default=VERSION, init=False)

    def propose(self, brief: Brief, feedback: Feedback, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return n proposals, no two of them the same strategy; fewer where the brief has no more.

        Raises
        ------
        UsageError : when the brief leaves nothing to draw.
        """
        found: dict[str, Proposal] = {}
        for _ in range(4 * n):
            if len(found) == n:
                break
            try:
                spec = self.strategy(brief, rng)
            except UsageError:
                if not found:
                    raise
                break  # the brief is so narrow that luck runs out
            if spec.hash not in found:
                found[spec.hash] = Proposal(spec.canonical(), Origin(self.name, self.version))
        return list(found.values())

    def strategy(self, brief: Brief, rng: np.random.Generator) -> Spec:
        """Return a strategy within a brief, as its text would be read.

        Raises
        ------
        UsageError : when the brief leaves nothing to draw.
        """
        dice = Dice(rng)
        target = _target(brief, dice)
        for k in range(_TRIES):
            if k % len(_ROOM) == 0:
                plan = _Plan.of(brief, dice, shaped=k < _TRIES // 2)
            # What comes out too large is drawn again with less beside it, and then may be as large as it must.
            first = k % len(_ROOM) == 0
            spec = _drawn(brief, plan, dice, target, _ROOM[k % len(_ROOM)] * min(1.0, target / _AMPLE))
            limit = target if first else brief.max_nodes
            if spec is not None and spec.n_nodes <= limit and not brief.refuses(spec):
                return replace(spec, name=f"{spec.name}_{spec.hash[:10]}")
        raise UsageError(
            f"nothing within {brief.max_nodes} operations was found in {_TRIES} draws", "brief",
            "allow more operations, inputs, families or blocks",
        )  # fmt: skip

    def tree(self, of: Dimension, words: Vocabulary, rng: np.random.Generator) -> Node:
        """Return a tree of a dimension, mostly small: for who changes strategies."""
        t = RandomTrees(words, rng)
        if of.condition and t.dice.chance(SHAPED):
            idea = t.dice.weighted(_shapes(words)).draw(t) if _shapes(words) else None
            if idea is not None:
                return idea.entry
        return t.tree(of, 3 + int(12 * t.dice.random() ** 2))


def _target(brief: Brief, dice: Dice) -> int:
    """Return a size to aim at: from small to the most allowed, small ones common (density falls to 0 at the end)."""
    low = min(_SMALL, brief.max_nodes)
    share = 1.0 - math.sqrt(1.0 - dice.random())
    return low + round((brief.max_nodes - low) * share)


@dataclass(frozen=True)
class _Plan:
    """What one strategy is to be: bars, side, and the shape of its conditions; None for one without any."""

    words: Vocabulary
    timeframe: str
    side: str
    shape: Shape | None

    @classmethod
    def of(cls, brief: Brief, dice: Dice, *, shaped: bool) -> _Plan:
        timeframe, side = dice.pick(brief.timeframes), dice.pick(brief.sides)
        words = Vocabulary.of(brief, timeframe)
        takes_one = shaped and dice.chance(SHAPED) and bool(_shapes(words))
        return cls(words, timeframe, side, dice.weighted(_shapes(words)) if takes_one else None)


def _drawn(brief: Brief, plan: _Plan, dice: Dice, target: int, room: float) -> Spec | None:
    """Return a strategy of about a size, None where this draw came to nothing.

    Parameters
    ----------
    room : from 0 to 1, how much may stand beside a shape.
    """
    tunables = Tunables(dice, brief.max_params)
    t = RandomTrees(plan.words, dice, tunables)
    if plan.shape is None:
        bare = room <= 0.0 and not {"time_stop", "trail"}.isdisjoint(brief.blocks)
        idea = _random_idea(t, plan.side, _SMALL if room <= 0.0 else target, bare=bare)
    else:
        idea = plan.shape.draw(t)
    if idea is None:
        return None
    blocks = draw_blocks(t, brief, room, has_exit=idea.exit is not None)
    idea = _with_exit(idea, blocks, dice)
    for _ in range(1 + target // _AMPLE if plan.shape is not None else 0):
        idea = _filtered(t, idea, target) if dice.chance(_FILTERED * room) else idea
    conditions = _conditions(idea, plan.side)
    return None if conditions is None else _spec(plan, conditions, blocks, tunables)


def _spec(plan: _Plan, conditions: Mapping[str, Node], blocks: RiskBlocks, tunables: Tunables) -> Spec:
    name, thesis = ("chance", _CHANCE) if plan.shape is None else (plan.shape.name, plan.shape.thesis)
    spec = Spec(
        name, thesis, plan.timeframe, plan.side, {}, conditions, blocks.stop, blocks.trail, blocks.trail_after,
        blocks.size_kind, blocks.size, blocks.takes, blocks.time_stop, blocks.breakeven, blocks.regimes,
        blocks.regime_exit,
    )  # fmt: skip
    roots = [*spec.roots(), blocks.time_stop]
    used = frozenset[str]().union(*(root.params for root in roots if root is not None))
    return replace(spec, params={n: p for n, p in tunables.params.items() if n in used})


@lru_cache(maxsize=64)
def _shapes(words: Vocabulary) -> tuple[tuple[float, Shape], ...]:
    """Return the shapes that a vocabulary has the words for, by weight: each kind its own, shared among its shapes."""
    drawn = []
    for shape in SHAPES:
        t = RandomTrees(words, np.random.default_rng(0))
        if any(shape.draw(t) is not None for _ in range(30)):
            drawn.append(shape)
    n_of = {kind: sum(shape.kind == kind for shape in drawn) for kind in KINDS}
    return tuple((KINDS[shape.kind] / n_of[shape.kind], shape) for shape in drawn)


def _random_idea(t: RandomTrees, side: str, target: int, *, bare: bool) -> Idea | None:
    """Return conditions without any form: an entry, and an exit more often than not, unless it is to be bare."""
    if not t.can(CONDITION):
        return None
    size = max(3, int((0.3 if side == "both" else 0.6) * (target - 4)))
    way, entry = t.dice.random(), t.tree(CONDITION, size)
    leaves = _exit(t, entry, way, size, bare=bare)
    if side != "both" or not t.dice.chance(_APART):
        return Idea(entry, leaves)
    short = t.tree(CONDITION, size)
    return Idea(entry, leaves, (short, _exit(t, short, way, size, bare=bare)))


def _exit(t: RandomTrees, entry: Node, way: float, size: int, *, bare: bool) -> Node | None:
    """Return an exit of an entry: none, the entry's end, or any condition."""
    if bare or way < 0.25:
        return None
    return nodes.opposite(entry) if way < 0.4 else t.tree(CONDITION, max(3, size // 2))


def _with_exit(idea: Idea, blocks: RiskBlocks, dice: Dice) -> Idea:
    """Return an idea whose positions end: with its exit, or with the end of its entry where nothing else ends them."""
    if blocks.ends:
        leaves = idea.exit is not None and dice.chance(0.75)
        other = None if idea.other is None else (idea.other[0], idea.other[1] if leaves else None)
        return Idea(idea.entry, idea.exit if leaves else None, other)
    if idea.exit is not None:
        return idea
    other = None if idea.other is None else (idea.other[0], nodes.opposite(idea.other[0]))
    return Idea(idea.entry, nodes.opposite(idea.entry), other)


def _filtered(t: RandomTrees, idea: Idea, target: int) -> Idea:
    """Return an idea that acts only where something else holds too."""
    if t.dice.chance(0.2) and t.can(CONDITION):
        extra: Node | None = t.tree(CONDITION, max(3, target // 5))
    else:
        extra = t.dice.pick(FILTERS)(t)
    if extra is None:
        return idea
    other = None if idea.other is None else (nodes.all_of(idea.other[0], extra), idea.other[1])
    return Idea(nodes.all_of(idea.entry, extra), idea.exit, other)


def _conditions(idea: Idea, side: str) -> dict[str, Node] | None:
    """Return the conditions of a side; a fall is a rise reflected, None where that is not known."""
    found = {"enter_long": idea.entry, "exit_long": idea.exit}
    if side == "short" and idea.other is None and mirrored(idea.entry) is None:
        found = {"enter_short": idea.entry, "exit_short": idea.exit}  # as good as any
    elif side != "long":
        other = idea.other or (mirrored(idea.entry), None if idea.exit is None else mirrored(idea.exit))
        if other[0] is None or other[0] == idea.entry or (other[1] is None) != (idea.exit is None):
            return None
        short = {"enter_short": other[0], "exit_short": other[1]}
        found = short if side == "short" else {**found, **short}
    return {name: node for name, node in found.items() if node is not None}
