"""Evolution: the archive's fittest, changed and crossed, beside some fresh blood; needs no network.

It keeps nothing between calls. Parents come from the archive, island by island; what their changes are worth is learnt
from the last answers alone; and the same brief, feedback and random numbers give the same proposals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.generators import (
    clock_variation,
    number_variation,
    risk_variation,
    symmetry,
    tree_variation,
)
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.brief import Brief
from research_lab.generators.crossing import crossed, paired
from research_lab.generators.grammar import Grammar
from research_lab.generators.hand import Drawing, Hand, Operator, finished
from research_lab.generators.protocol import Answer, Feedback, Proposal
from research_lab.generators.survey import survey
from research_lab.generators.symmetry import SIDES
from research_lab.scoring.origin import Origin

VERSION: Final = "1"
SEEDS: Final = 200  # looks that fresh blood alone has at first
FRESH: Final = 0.2  # share of it afterwards
LOCAL: Final = 0.25  # share of small moves around the very best
CROSSED: Final = 0.1  # share of children with two parents
PAIRED: Final = 0.05  # share of children of the best long and the best short
TURNED: Final = 0.05  # share of the worst of the last answers, turned round
N_BEST: Final = 3  # around which the small moves are made
_KEEN: Final = (
    0.2  # chance that the next fitter one is taken, from the fittest on: a geometric choice of rank
)
_CURIOUS: Final = 0.2  # share of parents taken from anywhere on an island
_TWICE: Final = 0.3  # share of children with a second change
_N_TRIED: Final = 12

# How often each change is made, before anything is known of what it is worth.
CHANGES: Final[dict[str, tuple[float, Operator]]] = {
    "subtree": (1.0, tree_variation.change_subtree),
    "function": (1.0, tree_variation.change_function),
    "input": (0.5, tree_variation.change_input),
    "number": (2.0, number_variation.move_number),
    "numbers": (1.0, number_variation.move_numbers),
    "more": (1.0, tree_variation.add_condition),
    "less": (1.0, tree_variation.drop_condition),
    "hoist": (0.7, tree_variation.hoist),
    "exit": (2.0, tree_variation.change_exit),
    "mirror": (2.0, symmetry.mirror),
    "side": (0.3, symmetry.change_side),
    "times": (1.0, clock_variation.move_times),
    "other_times": (1.0, clock_variation.take_other_times),
    "timeframe": (0.5, number_variation.change_timeframe),
    "to_param": (0.3, number_variation.to_param),
    "to_number": (0.3, number_variation.to_number),
    "param": (1.0, number_variation.move_param),
    **{name: (0.7, operator) for name, operator in risk_variation.OPERATORS.items()},
}
SMALL: Final = (
    "number",
    "numbers",
    "param",
    "stop",
    "time_stop",
    "trail",
    "fewer_blocks",
    "less",
    "exit",
    "times",
)


class Fresh(Drawing, Protocol):
    """Where fresh blood comes from: draws whole strategies as well as trees."""

    def strategy(self, brief: Brief, rng: np.random.Generator) -> Spec: ...


@dataclass(frozen=True)
class Evolution:
    """Proposes children of the archive's elites.

    Parameters
    ----------
    fresh : draws strategies and trees. seeds : looks before the first child. share_fresh : of proposals afterwards.
    """

    fresh: Fresh = field(default_factory=Grammar)
    seeds: int = SEEDS
    share_fresh: float = FRESH
    name: str = field(default="evolve", init=False)
    version: str = field(default=VERSION, init=False)

    def propose(self, brief: Brief, feedback: Feedback, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return n proposals: fresh ones at first, then children with the hashes of their parents."""
        brood = _Brood(brief, Hand(brief, self.fresh, rng), feedback, {e.spec.hash for e in feedback.archive})
        early = feedback.n_looks < self.seeds or not len(feedback.archive)
        n_fresh = n if early else round(self.share_fresh * n)
        if early:
            brood.look_round(feedback.generation, n // 2)
        brood.turn_the_worst(round(TURNED * n))
        if not early:
            brood.move_around_the_best(round(LOCAL * n))
            brood.cross(round(CROSSED * n))
            brood.pair(round(PAIRED * n))
            brood.change(n - n_fresh - len(brood.born))
        for _ in range(_N_TRIED * n):
            if len(brood.born) >= n:
                break
            brood.bear(self.fresh.strategy(brief, rng), "fresh", ())
        return [
            Proposal(spec.canonical(), Origin(self.name, self.version, parents))
            for spec, parents in brood.born.values()
        ]


@dataclass(eq=False)
class _Brood:
    """The children of one generation.

    Parameters
    ----------
    known : hashes that need not be proposed again. born : children and their parents' hashes, by hash.
    """

    brief: Brief
    hand: Hand
    feedback: Feedback
    known: set[str]
    born: dict[str, tuple[Spec, str]] = field(default_factory=dict)

    def bear(self, spec: Spec | None, how: str, parents: Sequence[Spec]) -> bool:
        """Take in a child, called after how it was made; return whether it is a new one."""
        if spec is None or spec.hash in self.known or spec.hash in self.born:
            return False
        named = replace(spec, name=f"{how}_{spec.hash[:10]}")
        self.born[spec.hash] = (named, " ".join(dict.fromkeys(parent.hash for parent in parents)))
        return True

    def look_round(self, generation: int, n: int) -> None:
        """Propose the next n of the survey."""
        for spec in survey(self.brief)[generation * n : (generation + 1) * n]:
            self.bear(spec, "survey", ())

    def turn_the_worst(self, n: int) -> None:
        """Turn round what lost most among the last answers: timing that is wrong each time knows something."""
        scored = [a for a in self.feedback.answers if a.spec is not None and np.isfinite(a.fitness)]
        scored.sort(key=lambda a: (a.fitness, "" if a.spec is None else a.spec.hash))
        for answer in scored[:n]:
            assert answer.spec is not None
            self.bear(
                finished(symmetry.turn(answer.spec, self.hand), self.hand, answer.spec),
                "turn",
                (answer.spec,),
            )

    def move_around_the_best(self, n: int) -> None:
        """Make small changes of the very best."""
        best = self.feedback.archive.finalists(N_BEST)
        weights = {name: CHANGES[name][0] for name in SMALL}
        self._repeat(n, lambda: self._child(self.hand.pick(best), weights))

    def change(self, n: int) -> None:
        """Make changes of parents from all islands in turn, by what changes were worth lately."""
        weights = _weights(self.feedback.answers)
        self._repeat(n, lambda: self._child(self._parent(), weights))

    def cross(self, n: int) -> None:
        """Make children of two parents."""
        self._repeat(n, self._child_of_two)

    def pair(self, n: int) -> None:
        """Do on one side what one of the best for it does, and on the other side what one of the best for that does."""
        longs, shorts = ([e for e in self.feedback.archive if e.spec.side == side] for side in SIDES)
        if longs and shorts:
            self._repeat(n, lambda: self._pair(longs, shorts))

    def _pair(self, longs: Sequence[Elite], shorts: Sequence[Elite]) -> None:
        long, short = self._one_of(longs), self._one_of(shorts)
        child = finished(paired(long.spec, short.spec, self.hand), self.hand, long.spec)
        self.bear(child, "pair", (long.spec, short.spec))

    def _repeat(self, n: int, make: Callable[[], None]) -> None:
        wanted = len(self.born) + n
        for _ in range(_N_TRIED * n):
            if len(self.born) >= wanted:
                return
            make()

    def _child(self, parent: Elite, weights: dict[str, float]) -> None:
        name = self._drawn(weights)
        spec = finished(CHANGES[name][1](parent.spec, self.hand), self.hand, parent.spec)
        if spec is not None and self.hand.rng.random() < _TWICE:
            again = CHANGES[self._drawn(weights)][1](spec, self.hand)
            spec = finished(again, self.hand, parent.spec) or spec
        self.bear(spec, name, (parent.spec,))

    def _child_of_two(self) -> None:
        one, other = self._parent(), self._parent()
        child = crossed(one.spec, other.spec, self.hand)
        self.bear(finished(child, self.hand, one.spec), "cross", (one.spec, other.spec))

    def _drawn(self, weights: dict[str, float]) -> str:
        """Return the name of a change, drawn by weight."""
        names = list(weights)
        sums = np.cumsum([weights[name] for name in names])
        return names[int(np.searchsorted(sums, self.hand.rng.random() * sums[-1], side="right"))]

    def _parent(self) -> Elite:
        """Return an elite: of an island of chance, mostly of the fittest there."""
        archive: Archive = self.feedback.archive
        islands = [k for k in range(archive.n_islands) if archive.island(k)]
        elites = archive.island(self.hand.pick(islands))
        if self.hand.rng.random() < _CURIOUS:
            return self.hand.pick(elites)
        return self._one_of(elites)

    def _one_of(self, elites: Sequence[Elite]) -> Elite:
        """Return mostly one of the fittest."""
        rank = int(self.hand.rng.geometric(_KEEN)) - 1
        return elites[min(rank, len(elites) - 1)]


def _weights(answers: Sequence[Answer]) -> dict[str, float]:
    """Return how often to make each change, more often what the archive kept of late.

    A change weighs by the share of its children kept over that of all, both with four pseudo-children that were
    kept as usual.
    """
    made: dict[str, list[bool]] = {}
    for answer in answers:
        if answer.spec is not None and not answer.refused:
            made.setdefault(answer.spec.name.rsplit("_", 1)[0], []).append(answer.kept)
    n = sum(map(len, made.values()))
    usual = (sum(map(sum, made.values())) + 1.0) / (n + 4.0)
    return {
        name: weight * (sum(made.get(name, [])) + 4.0 * usual) / (len(made.get(name, [])) + 4.0) / usual
        for name, (weight, _) in CHANGES.items()
    }
