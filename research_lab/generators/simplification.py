"""Trees without what changes nothing: two signs in a row, numbers that can be worked out, members said already.

What random changes leave behind costs fitness and tells nobody anything. Only rules that hold for unknown values too
are here: a condition that is unknown acts as little as one that is false, so a chain may lose a member that another one
of the same chain implies.
"""

from __future__ import annotations

from research_lab.dsl.tree import CHAINS, Node, folded

_COMPARISONS = ("less", "less_equal")
_SAME_TWICE = ("min", "max", "coalesce")


def simplified(node: Node) -> Node | bool:
    """Return an equal tree that is no larger; True or False for a condition that cannot change.

    Examples
    --------
    >>> from research_lab.dsl.expressions import Scope, parse_expression
    >>> said = parse_expression("not not rsi(14) < 30 and rsi(14) < 50 and -(-close) > open", Scope())
    >>> print(simplified(said).text)
    open < close and rsi(close, 14) < 30
    """
    if not node.args:
        return node
    args = [simplified(arg) for arg in node.args]
    if node.op in CHAINS:
        return _chain(node, args)
    if node.op == "not" and isinstance(args[0], bool):
        return not args[0]
    trees = [arg for arg in args if not isinstance(arg, bool)]
    if len(trees) < len(args):
        return _of_the_certain(node, args)
    return _reduced(folded(Node(node.op, tuple(trees), node.dimension, node.value)))


def _reduced(node: Node) -> Node | bool:
    """Return a node whose arguments are as simple as they get."""
    first = node.args[0] if node.args else node
    if node.op == first.op and node.op in ("not", "negate"):
        return first.args[0]
    if node.op == "abs" and first.op in ("abs", "negate"):
        return _reduced(Node("abs", first.args, node.dimension))
    if node.op in _SAME_TWICE and first == node.args[1]:
        return first
    if node.op == "held_for" and node.args[1].op == "constant" and node.args[1].value == 1:
        return first
    if node.op == "if_else" and node.args[1] == node.args[2]:
        return node.args[1]
    if node.op in _COMPARISONS and all(arg.op == "constant" for arg in node.args):
        low, high = (float(arg.value or 0.0) for arg in node.args)
        return low < high or (low == high and node.op == "less_equal")
    if node.op in ("less", "crosses_above", "crosses_below", "crosses") and first == node.args[1]:
        return False
    return node


def _of_the_certain(node: Node, args: list[Node | bool]) -> Node | bool:
    """Return a call of which an argument is a condition that cannot change."""
    if node.op == "if_else" and isinstance(args[0], bool):
        return args[1] if args[0] else args[2]
    if node.op == "held_for" and isinstance(args[0], bool):
        return args[0]
    return node  # counted, waited for: as it stands


def _chain(node: Node, args: list[Node | bool]) -> Node | bool:
    """Return a chain without members that are certain or that another one implies."""
    decides = node.op == "or"
    if any(arg is decides for arg in args):
        return decides
    members = [arg for arg in args if not isinstance(arg, bool)]
    if not members:
        return not decides
    flat = Node(node.op, tuple(members), node.dimension).args
    kept = [
        member
        for member in flat
        if not any(
            other is not member and (_implies(other, member) if node.op == "and" else _implies(member, other))
            for other in flat
        )
    ]
    return folded(Node(node.op, tuple(kept), node.dimension))


def _implies(one: Node, other: Node) -> bool:
    """Whether a comparison with a number holds only where another one, of the same value, does.

    Of two that imply each other, the first by text does.
    """
    if one.op not in _COMPARISONS or other.op not in _COMPARISONS:
        return False
    for value, limit, sign in ((0, 1, 1.0), (1, 0, -1.0)):
        ends = (one.args[limit], other.args[limit])
        if one.args[value] != other.args[value] or any(end.op != "constant" for end in ends):
            continue
        near, far = (sign * float(end.value or 0.0) for end in ends)
        return near < far or (near == far and one.op == "less" and other.op == "less_equal")
    return False
