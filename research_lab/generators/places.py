"""Places in the trees of a strategy: what stands where, and the strategy with something else there.

A subtree is replaced by one of its own dimension. What comes out is read again by the language's own reader, root by
root, so that types, windows and shares are checked by the one definition of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from research_lab.dsl import limits
from research_lab.dsl.dimensions import CONDITION, PRICE, RATIO, Dimension
from research_lab.dsl.expressions import Scope, is_dimension, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.function import FIXED_KINDS
from research_lab.dsl.registry import FUNCTIONS, SERIES_KINDS
from research_lab.dsl.spec import CONDITIONS, Spec
from research_lab.dsl.tree import OUTSIDE, Node, constant, folded
from research_lab.engine import layout
from research_lab.errors import SpecError

WHOLE: Final = 0.9  # share of equity in a position whose size asked for a stop that is gone
ROOTS: Final[dict[str, Dimension]] = {
    **dict.fromkeys(CONDITIONS, CONDITION),
    "stop": PRICE,
    "trail": PRICE,
    "size": RATIO,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands.

    Parameters
    ----------
    root : the tree, of `ROOTS`. path : argument by argument from its root.
    node : what stands there.
    kind : "condition", "number", or a number fixed before the run: "window", "share", "exponent".
    """

    root: str
    path: tuple[int, ...]
    node: Node
    kind: str


def root_of(spec: Spec, name: str) -> Node | None:
    """Return one of a strategy's trees by its name."""
    if name in CONDITIONS:
        return spec.conditions.get(name)
    found: Node | None = getattr(spec, name)
    return found


def places(spec: Spec, roots: tuple[str, ...] = tuple(ROOTS)) -> list[Place]:
    """Return every place of these trees, each before those below it."""
    found: list[Place] = []
    for name in roots:
        root = root_of(spec, name)
        if root is not None:
            kind = "condition" if root.dimension.condition else "number"
            found += _below(name, (), root, kind)
    return found


def _below(root: str, path: tuple[int, ...], node: Node, kind: str) -> Iterator[Place]:
    yield Place(root, path, node, kind)
    if node.op in OUTSIDE:  # said of another market, before the run
        return
    function = FUNCTIONS.get(node.op)
    for k, arg in enumerate(node.args):
        fixed = function.arguments[k].kind if function else ""
        usual = "condition" if arg.dimension.condition else "number"
        yield from _below(root, (*path, k), arg, fixed if fixed in FIXED_KINDS else usual)


def with_nodes(root: Node, changed: Mapping[tuple[int, ...], Node]) -> Node:
    """Return a tree with other nodes at some paths; the nodes above keep their dimensions.

    All at once: the arguments of what is commutative find their order anew, after which paths lead elsewhere.
    """
    if () in changed:
        return changed[()]
    if not changed:
        return root
    args = list(root.args)
    for k in {path[0] for path in changed}:
        args[k] = with_nodes(args[k], {path[1:]: node for path, node in changed.items() if path[0] == k})
    return folded(Node(root.op, tuple(args), root.dimension, root.value))


def with_roots(spec: Spec, changed: Mapping[str, Node | None]) -> Spec | None:
    """Return a strategy with other trees, read again; None where one of them says nothing that fits.

    Parameters
    ----------
    changed : trees by their names in `ROOTS`; None leaves one out.
    """
    read: dict[str, Node | None] = {}
    for name, tree in changed.items():
        try:
            read[name] = None if tree is None else _read(spec, tree, ROOTS[name])
        except SpecError:
            return None
    if any(tree is None and changed[name] is not None for name, tree in read.items()):
        return None
    given = {name: read[name] if name in read else spec.conditions.get(name) for name in CONDITIONS}
    others = {name: tree for name, tree in read.items() if name not in CONDITIONS}
    conditions = {name: tree for name, tree in given.items() if tree is not None}
    return replace(spec, conditions=conditions, **others)  # type: ignore[arg-type]


def with_places(spec: Spec, changed: Sequence[tuple[Place, Node]]) -> Spec | None:
    """Return a strategy with other nodes at some places; None where they do not fit there."""
    by_root: dict[str, dict[tuple[int, ...], Node]] = {}
    for place, new in changed:
        by_root.setdefault(place.root, {})[place.path] = new
    trees = {name: root_of(spec, name) for name in by_root}
    return with_roots(
        spec, {name: with_nodes(tree, by_root[name]) for name, tree in trees.items() if tree is not None}
    )


def with_place(spec: Spec, place: Place, new: Node) -> Spec | None:
    """Return a strategy with another node at a place; None where it does not fit there."""
    return with_places(spec, [(place, new)])


def _read(spec: Spec, tree: Node, of: Dimension) -> Node | None:
    """Return the tree as it is read from its text; None where it has another dimension."""
    scope = Scope(
        params=spec.params,
        fixed=FixedNumbers({name: (p.low, p.high, p.step) for name, p in spec.params.items()}),
        step_ms=spec.step_ms,
        series={name: SERIES_KINDS[rule.kind] for name, rule in spec.series.items()},
        events=spec.events,
        takes_markets=True,
        models=spec.models,
    )
    if len(tree.text) > limits.EXPRESSION_CHARACTERS:
        return None
    read = parse_expression(tree.text, scope)
    return read if is_dimension(read, of) else None


def tidied(spec: Spec) -> Spec:
    """Return a strategy without what nothing reads or what needs a stop where there is none."""
    if spec.stop is None:
        risks = spec.size_kind == layout.RISK
        spec = replace(
            spec,
            takes=(),
            breakeven=False,
            trail_after=constant(0.0),
            size_kind=layout.FRACTION if risks else spec.size_kind,
            size=constant(WHOLE) if risks else spec.size,
        )
    used = used_params(spec)
    if used == set(spec.params):
        return spec
    return replace(spec, params={name: p for name, p in spec.params.items() if name in used})


def is_whole(spec: Spec) -> bool:
    """Whether a strategy enters on every side that it names, and leaves again."""
    sides = ("long", "short") if spec.side == "both" else (spec.side,)
    enters = all(f"enter_{side}" in spec.conditions for side in sides)
    leaves = [spec.conditions.get(f"exit_{side}") for side in sides]
    return enters and any(tree is not None for tree in (*leaves, spec.stop, spec.trail, spec.time_stop))


def used_params(spec: Spec) -> set[str]:
    """Return the names of the parameters that stand somewhere."""
    takes = [node for take in spec.takes for node in take]
    trees = [*spec.roots(), spec.trail_after, spec.time_stop, *takes]
    return {name for tree in trees if tree is not None for name in tree.params}
