"""Two strategies make one: conditions, subtrees of equal dimension, or the blocks beside them change hands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from research_lab.dsl.dimensions import CONDITION
from research_lab.dsl.function import FIXED_KINDS
from research_lab.dsl.spec import CONDITIONS, Param, Spec
from research_lab.dsl.tree import Node, folded
from research_lab.generators import risk_variation
from research_lab.generators.hand import Hand
from research_lab.generators.places import places, with_nodes, with_roots
from research_lab.generators.symmetry import SIDES, is_symmetric, reflected


def crossed(spec: Spec, other: Spec, hand: Hand) -> Spec | None:
    """Return the first strategy with something of the second; None where nothing of it fits."""
    ways = (join_entries, join_sides, exchange_subtree, exchange_exit, exchange_blocks)
    return hand.pick(ways)(spec, _beside(other, spec), hand)


def paired(long: Spec, short: Spec, hand: Hand) -> Spec | None:
    """Return a strategy that does on the long side what the first does, and on the short side what the second does."""
    return join_sides(long, _beside(short, long), hand)


def join_entries(spec: Spec, other: Spec, hand: Hand) -> Spec | None:
    """Enter where both would, or, less often, where one would."""
    op = "and" if hand.rng.random() < 0.8 else "or"
    merged = _with_params_of(spec, other)
    roots = _one_side(spec, "enter")
    fit = [name for name in roots if name in other.conditions]
    if not fit:
        return None
    joined = {
        name: folded(Node(op, (spec.conditions[name], other.conditions[name]), CONDITION)) for name in fit
    }
    return _both_sides(merged, joined, spec)


def join_sides(spec: Spec, other: Spec, hand: Hand) -> Spec | None:
    """Do on one side what the first does, and on the other side what the second does."""
    if "both" not in hand.brief.sides:
        return None
    own = spec.side if spec.side != "both" else hand.pick(SIDES)
    further = SIDES[1 - SIDES.index(own)]
    names = [f"{act}_{further}" for act in ("enter", "exit")]
    if names[0] not in other.conditions:
        return None
    given = {name: other.conditions.get(name) for name in names}
    return with_roots(replace(_with_params_of(spec, other), side="both"), given)


def exchange_subtree(spec: Spec, other: Spec, hand: Hand) -> Spec | None:
    """Put a subtree of the second in the place of one of equal dimension."""
    merged = _with_params_of(spec, other)
    given = [
        p.node for p in places(other, CONDITIONS) if p.kind not in FIXED_KINDS and p.node.op != "constant"
    ]
    open_ = [p for p in places(spec, CONDITIONS) if p.kind not in FIXED_KINDS and p.root in _all_sides(spec)]
    for place in hand.shuffled(open_):
        fit = [node for node in given if node.dimension.plain() == place.node.dimension.plain()]
        if fit:
            root = with_nodes(spec.conditions[place.root], {place.path: hand.pick(fit)})
            return _both_sides(merged, {place.root: root}, spec)
    return None


def exchange_exit(spec: Spec, other: Spec, hand: Hand) -> Spec | None:
    """Leave where the second would."""
    fit = {n: other.conditions.get(n) for n in _one_side(spec, "exit", CONDITIONS) if n in other.conditions}
    return _both_sides(_with_params_of(spec, other), fit, spec) if fit else None


def exchange_blocks(spec: Spec, other: Spec, hand: Hand) -> Spec | None:
    """Take stop and takes, the time stop, or the regimes of the second."""
    return risk_variation.exchanged(_with_params_of(spec, other), other, hand)


def _one_side(spec: Spec, act: str, among: tuple[str, ...] = ()) -> list[str]:
    """Return the names of a strategy's entries or exits, of the long side alone where the other reflects it."""
    sides = ("long",) if is_symmetric(spec) else ("long", "short") if spec.side == "both" else (spec.side,)
    return [f"{act}_{side}" for side in sides if f"{act}_{side}" in (among or tuple(spec.conditions))]


def _all_sides(spec: Spec) -> list[str]:
    return [*_one_side(spec, "enter"), *_one_side(spec, "exit")]


def _both_sides(merged: Spec, changed: Mapping[str, Node | None], before: Spec) -> Spec | None:
    after = with_roots(merged, changed)
    return reflected(after) if after is not None and is_symmetric(before) else after


def _beside(other: Spec, spec: Spec) -> Spec:
    """Return the second with parameters whose names the first does not have."""
    taken, names = set(spec.params), {}
    for name in other.params:
        free = (n for n in (name, *(f"p{k}" for k in range(1, 100))) if n not in taken)
        names[name] = next(free)
        taken.add(names[name])
    if all(old == new for old, new in names.items()):
        return other

    def called(node: Node | None) -> Node | None:
        return None if node is None else node.renamed(names)

    return replace(
        other,
        params={names[name]: param for name, param in other.params.items()},
        conditions={name: tree.renamed(names) for name, tree in other.conditions.items()},
        stop=called(other.stop), trail=called(other.trail), trail_after=other.trail_after.renamed(names),
        size=other.size.renamed(names), time_stop=called(other.time_stop),
        takes=tuple((at.renamed(names), share.renamed(names)) for at, share in other.takes),
    )  # fmt: skip


def _with_params_of(spec: Spec, other: Spec) -> Spec:
    params: dict[str, Param] = {**spec.params, **other.params}
    return replace(spec, params=params)
