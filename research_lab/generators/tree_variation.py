"""Changes of conditions: another subtree, function, input; a condition more or less; another exit.

Each takes a strategy and returns another one, or None where it finds nothing to change.
"""

from __future__ import annotations

from typing import Final

from research_lab.dsl.dimensions import CONDITION
from research_lab.dsl.function import FIXED_KINDS
from research_lab.dsl.registry import FUNCTIONS
from research_lab.dsl.spec import CONDITIONS, Spec
from research_lab.dsl.tree import CHAINS, Node, folded
from research_lab.generators.hand import Hand
from research_lab.generators.mirror import mirrored
from research_lab.generators.places import places, with_place, with_roots
from research_lab.generators.symmetry import SIDES, is_symmetric, reflected, symmetrical
from research_lab.generators.vocabulary import Vocabulary

_SWAPPED: Final = {"less": "less_equal", "less_equal": "less", "and": "or", "or": "and"}


@symmetrical
def change_subtree(spec: Spec, hand: Hand) -> Spec | None:
    """Replace a subtree by a drawn one of its dimension."""
    open_ = [p for p in places(spec, CONDITIONS) if p.kind not in FIXED_KINDS and p.node.op not in CHAINS]
    for place in hand.shuffled(open_):
        of = place.node.dimension.plain()
        if of == CONDITION or hand.words(spec).calls(of):
            after = with_place(spec, place, hand.draw(of, spec))
            if after is not None:
                return after
    return None


@symmetrical
def change_function(spec: Spec, hand: Hand) -> Spec | None:
    """Call another function with the same arguments, or join and compare otherwise."""
    for place in hand.shuffled([p for p in places(spec) if p.node.args and p.kind not in FIXED_KINDS]):
        others = _others(place.node, hand.words(spec))
        if others:
            after = with_place(spec, place, hand.pick(others))
            if after is not None:
                return after
    return None


def _others(node: Node, words: Vocabulary) -> list[Node]:
    """Return calls that take what a node takes and give what it gives."""
    if node.op in _SWAPPED:
        swapped = [Node(_SWAPPED[node.op], node.args, node.dimension)]
        return swapped + ([Node(node.op, node.args[::-1], node.dimension)] if node.op not in CHAINS else [])
    if node.op not in FUNCTIONS:
        return []
    given = [arg.dimension.plain() for arg in node.args]
    kinds = [argument.kind for argument in FUNCTIONS[node.op].arguments]
    found = []
    for name, calls in words.calls(node.dimension.plain()).items():
        for call in calls:
            same = [argument.kind for argument in call.function.arguments] == kinds
            fits = same and all(
                kind in FIXED_KINDS or arg == take.plain()
                for kind, arg, take in zip(kinds, given, call.takes, strict=True)
            )
            if fits and name != node.op:
                found.append(Node(name, node.args, node.dimension))
    return found


@symmetrical
def change_input(spec: Spec, hand: Hand) -> Spec | None:
    """Read another input of the same dimension."""
    for place in hand.shuffled([p for p in places(spec, CONDITIONS) if p.node.op == "input"]):
        others = [leaf for leaf in hand.words(spec).leaves(place.node.dimension) if leaf != place.node]
        if others:
            return with_place(spec, place, hand.pick(others))
    return None


@symmetrical
def add_condition(spec: Spec, hand: Hand) -> Spec | None:
    """Ask for one condition more, or take one as well."""
    entries = [name for name in spec.conditions if name.startswith("enter")]
    exits = [name for name in spec.conditions if name.startswith("exit")]
    name = hand.pick(exits if exits and hand.rng.random() < 0.3 else entries)
    op = "and" if name.startswith("enter") and hand.rng.random() < 0.8 else "or"
    new = hand.draw(CONDITION, spec)
    return with_roots(spec, {name: folded(Node(op, (spec.conditions[name], new), CONDITION))})


@symmetrical
def drop_condition(spec: Spec, hand: Hand) -> Spec | None:
    """Leave out a member of a chain, or what stands around a condition."""
    chains = [p for p in places(spec, CONDITIONS) if p.node.op in (*CHAINS, "not", "held_for", "latch")]
    if not chains:
        return None
    place = hand.pick(chains)
    if place.node.op not in CHAINS:
        return with_place(spec, place, place.node.args[0])
    gone = int(hand.rng.integers(len(place.node.args)))
    kept = tuple(arg for k, arg in enumerate(place.node.args) if k != gone)
    return with_place(spec, place, folded(Node(place.node.op, kept, CONDITION)))


@symmetrical
def hoist(spec: Spec, hand: Hand) -> Spec | None:
    """Put a subtree in the place of one above it that has its dimension: a smaller tree."""
    above = [p for p in places(spec, CONDITIONS) if p.node.size > 2 and p.kind not in FIXED_KINDS]
    for place in hand.shuffled(above):
        below = [n for n in _descendants(place.node) if n.dimension.plain() == place.node.dimension.plain()]
        if below:
            return with_place(spec, place, hand.pick(below))
    return None


def _descendants(node: Node) -> list[Node]:
    return [found for arg in node.args for found in (arg, *_descendants(arg)) if found.op != "constant"]


def change_exit(spec: Spec, hand: Hand) -> Spec | None:
    """Leave when the opposite is true, when the entry is no longer true, at something drawn, or at nothing."""
    if is_symmetric(spec):
        after = _change_exit(spec, hand, "long")
        return None if after is None else reflected(after)
    return _change_exit(spec, hand, hand.pick(SIDES) if spec.side == "both" else spec.side)


def _change_exit(spec: Spec, hand: Hand, side: str) -> Spec | None:
    enter, exit_ = spec.conditions[f"enter_{side}"], f"exit_{side}"
    way = hand.rng.random()
    if way < 0.4:
        return with_roots(spec, {exit_: mirrored(enter)})
    if way < 0.6:
        return with_roots(spec, {exit_: Node("not", (enter,), CONDITION)})
    if way < 0.8:
        return with_roots(spec, {exit_: hand.draw(CONDITION, spec)})
    return with_roots(spec, {exit_: None})
