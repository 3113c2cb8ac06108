"""The two sides of a strategy: what it says of both it goes on saying of both, however it is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from research_lab.dsl.spec import CONDITIONS, Spec
from research_lab.dsl.tree import Node
from research_lab.generators.hand import Hand, Operator
from research_lab.generators.mirror import mirrored
from research_lab.generators.places import with_roots

SIDES: Final = ("long", "short")


def is_symmetric(spec: Spec) -> bool:
    """Whether the short side says the reflection of what the long side says."""
    return spec.side == "both" and all(
        _image(spec.conditions.get(f"{act}_long")) == spec.conditions.get(f"{act}_short")
        for act in ("enter", "exit")
    )


def _image(tree: Node | None) -> Node | None:
    return None if tree is None else mirrored(tree)


def reflected(spec: Spec, side: str = "long") -> Spec | None:
    """Return a strategy of both sides whose other side reflects this one; None where it has no reflection."""
    other = "short" if side == "long" else "long"
    given = {f"{act}_{side}": spec.conditions.get(f"{act}_{side}") for act in ("enter", "exit")}
    images = {name.replace(side, other): _image(tree) for name, tree in given.items()}
    if any(tree is not None and images[name.replace(side, other)] is None for name, tree in given.items()):
        return None
    return with_roots(replace(spec, side="both"), {**given, **images})


def symmetrical(operator: Operator) -> Operator:
    """Return an operator that changes the long side, and the short side with it, where one reflects the other."""

    def changed(spec: Spec, hand: Hand) -> Spec | None:
        if not is_symmetric(spec):
            return operator(spec, hand)
        long = {name: tree for name, tree in spec.conditions.items() if name.endswith("long")}
        after = operator(replace(spec, side="long", conditions=long), hand)
        return None if after is None else reflected(after)

    return changed


def mirror(spec: Spec, hand: Hand) -> Spec | None:
    """Say of both sides what is said of one, or of the other side alone."""
    side = hand.pick(SIDES) if spec.side == "both" else spec.side
    other = "short" if side == "long" else "long"
    both = reflected(spec, side)
    if both is None:
        return None
    if spec.side != "both" and other in hand.brief.sides and hand.rng.random() < 0.3:
        kept = {name: tree for name, tree in both.conditions.items() if name.endswith(other)}
        return replace(both, side=other, conditions=kept)
    return both if "both" in hand.brief.sides else None


def turn(spec: Spec, hand: Hand) -> Spec | None:
    """Enter long where it entered short, and the other way round: what loses by its timing wins by the opposite."""
    swapped = {
        f"{act}_{side}": spec.conditions[f"{act}_{other}"]
        for act in ("enter", "exit")
        for side, other in (("long", "short"), ("short", "long"))
        if f"{act}_{other}" in spec.conditions
    }
    side = {"long": "short", "short": "long"}.get(spec.side, spec.side)
    ordered = {name: swapped[name] for name in CONDITIONS if name in swapped}
    return replace(spec, side=side, conditions=ordered) if side in hand.brief.sides else None


def change_side(spec: Spec, hand: Hand) -> Spec | None:
    """Leave one side of two away."""
    if spec.side != "both":
        return mirror(spec, hand)
    side = hand.pick([side for side in SIDES if side in hand.brief.sides] or ["both"])
    kept = {name: tree for name, tree in spec.conditions.items() if name.endswith(side)}
    return replace(spec, side=side, conditions=kept) if kept else None
