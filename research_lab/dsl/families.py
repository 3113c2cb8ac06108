"""Parameters told apart without their names: by range, by where they stand, and by first use.

Two strategies are of one family when they say the same once their parameters are called alike. A
parameter is called by its range; several with one range are numbered in the order of their first use.
That order must not come from the names, yet commutative arguments are ordered by text and so by name. So
they are ordered here by what stands around each parameter, refined until it tells no more apart: the
colour refinement of B. Weisfeiler and A. Leman (1968), "The reduction of a graph to canonical form".
What is still alike then is alike throughout, but for contrived cases.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from research_lab.dsl.tree import CHAINS, COMMUTATIVE, Node


def family_names(roots: Sequence[Node | None], ranges: Mapping[str, str]) -> dict[str, str]:
    """Return what each parameter used is called in its family.

    Parameters
    ----------
    roots : all trees of a strategy in a fixed order, None for those left out.
    ranges : the text of each parameter's range, by name.

    Returns
    -------
    dict of str
        The range alone where no other parameter used has it, else the range and a number from 0.
    """
    trees = [root for root in roots if root is not None]
    used = frozenset().union(*(tree.params for tree in trees))
    colours = {name: ranges[name] for name in used}
    shared = {text for text, count in Counter(colours.values()).items() if count > 1}
    if not shared:
        return colours
    for _ in used:
        finer = _refined(roots, colours)
        if len(set(finer.values())) == len(set(colours.values())):
            break
        colours = finer
    names = {name: ranges[name] for name in used if ranges[name] not in shared}
    counts: Counter[str] = Counter()
    for name in _first_used(roots, colours):
        if name not in names:
            names[name] = f"{ranges[name]}#{counts[ranges[name]]}"
            counts[ranges[name]] += 1
    return names


def _refined(roots: Sequence[Node | None], colours: Mapping[str, str]) -> dict[str, str]:
    """Return colours that also say where in the trees each parameter stands."""
    digests: dict[int, str] = {}
    places: dict[str, list[str]] = {name: [] for name in colours}
    open_ = [(root, str(k)) for k, root in enumerate(roots) if root is not None]
    while open_:
        node, around = open_.pop()
        if node.op == "param":
            places[str(node.value)].append(around)
            continue
        here = f"{around} {_digest(node, colours, digests)}"
        for k, arg in enumerate(node.args):
            if arg.params:
                place = "" if k < _n_unordered(node) else k
                open_.append((arg, _hashed(f"{here} {place} {_digest(arg, colours, digests)}")))
    return {name: _hashed(f"{colour} {sorted(places[name])}") for name, colour in colours.items()}


def _first_used(roots: Sequence[Node | None], colours: Mapping[str, str]) -> Iterator[str]:
    """Yield the parameters as they stand in the trees, commutative arguments ordered by their colours."""
    digests: dict[int, str] = {}
    open_ = [root for root in reversed(roots) if root is not None and root.params]
    while open_:
        node = open_.pop()
        if node.op == "param":
            yield str(node.value)
            continue
        n = _n_unordered(node)
        args = [*sorted(node.args[:n], key=lambda arg: _digest(arg, colours, digests)), *node.args[n:]]
        open_ += [arg for arg in reversed(args) if arg.params]


def _digest(node: Node, colours: Mapping[str, str], digests: dict[int, str]) -> str:
    """Return a text that equal trees have alike, parameters told by their colours; kept by identity."""
    if node.op == "param":
        return colours[str(node.value)]
    known = digests.get(id(node))
    if known is None:
        parts = [_digest(arg, colours, digests) for arg in node.args] if node.params else [node.text]
        n = _n_unordered(node)
        parts[:n] = sorted(parts[:n])
        known = digests[id(node)] = _hashed(
            f"{node.op}{node.value if node.args and node.value else ''} {parts}"
        )
    return known


def _n_unordered(node: Node) -> int:
    """Return how many of a node's first arguments stand in any order."""
    return len(node.args) if node.op in CHAINS else 2 * (node.op in COMMUTATIVE)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
