"""The expression tree: what a strategy says, whichever door it came through.

A node knows its operation, its arguments and its dimension, and nothing of execution. Its canonical text
names it: two nodes with the same text are the same expression. Commutative arguments are put in order
when the node is made, so what is computed does not depend on how it was written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from research_lab.dsl.dimensions import LITERAL, ZERO, Dimension
from research_lab.dsl.registry import FUNCTIONS

# Operators: symbol and binding strength, as in Python.
OPERATORS = {
    "or": ("or", 1),
    "and": ("and", 2),
    "not": ("not", 3),
    "less": ("<", 4),
    "less_equal": ("<=", 4),
    "equal": ("==", 4),
    "add": ("+", 5),
    "subtract": ("-", 5),
    "multiply": ("*", 6),
    "divide": ("/", 6),
    "negate": ("-", 7),
}
# Operations whose first two arguments may change places.
COMMUTATIVE = frozenset({"add", "multiply", "equal", *(f.name for f in FUNCTIONS.values() if f.commutative)})
CHAINS = frozenset({"and", "or"})
OUTSIDE = frozenset({"input", "on"})  # given to a program, not computed by it
LEAVES = frozenset({"constant", "param", "input"})
ON_LONGER_BARS = frozenset({"tf", "confirmed"})
_ATOM = 9
_NO_PARAMS: frozenset[str] = frozenset()


class Node:
    """One operation on its arguments; immutable.

    Parameters
    ----------
    op : a leaf ("constant", "param", "input"), an operator, or a function of the registry.
    args : argument nodes, windows and shares among them.
    value : the number of a constant, the name of a parameter or of an input, the timeframe of
        `tf`, the market of `on`.
    dimension : of the result.

    Its `text` is the canonical one, `params` are the names of the parameters below it. Whoever makes a node asks
    for them soon, so they are made at once.
    """

    __slots__ = ("__dict__", "args", "depth", "dimension", "op", "params", "size", "text", "value")

    def __init__(
        self,
        op: str,
        args: tuple[Node, ...],
        dimension: Dimension,
        value: float | str | None = None,
    ) -> None:
        if op in COMMUTATIVE:
            one, other = args[:2]
            args = args if one.text <= other.text else (other, one, *args[2:])
        if op in CHAINS:
            args = _sorted_chain(op, args)
        self.op = op
        self.args = args
        self.value = value
        self.dimension = dimension
        size, depth, params = 1, 0, _NO_PARAMS
        for arg in args:  # made by the thousand when a text is read: no generators, and sets are shared
            size += arg.size
            depth = max(depth, arg.depth)
            if arg.params and not arg.params <= params:
                params = params | arg.params if params else arg.params
        self.params: frozenset[str] = frozenset({str(value)}) if op == "param" else params
        self.size: int = size
        self.depth: int = depth + 1
        self.text: str = self._said()

    def __repr__(self) -> str:
        return f"Node({self.text})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def _said(self) -> str:
        """Return the canonical text, which parses back to an equal node."""
        if self.op == "constant":
            return number_text(self.value)
        if self.op in LEAVES:
            return str(self.value)
        if self.op not in OPERATORS:
            quoted = [] if self.value is None else [f'"{self.value}"']
            return f"{self.op}({', '.join([*quoted, *(arg.text for arg in self.args)])})"
        symbol, strength = OPERATORS[self.op]
        if self.op == "not":
            return f"not {self.args[0]._within(strength)}"
        if self.op == "negate":
            return f"-{self.args[0]._within(strength)}"
        if self.op in CHAINS:
            return f" {symbol} ".join(arg._within(strength + 1) for arg in self.args)
        loose = strength + 1 if strength == 4 else strength
        left, right = self.args[0]._within(loose), self.args[1]._within(strength + 1)
        return f"{left} {symbol} {right}"

    def _within(self, strength: int) -> str:
        own = OPERATORS[self.op][1] if self.op in OPERATORS else _ATOM
        if self.op == "constant" and isinstance(self.value, (int, float)) and self.value < 0:
            own = OPERATORS["negate"][1]
        return self.text if own >= strength else f"({self.text})"

    @cached_property
    def inputs(self) -> frozenset[str]:
        """Names of the inputs written below this node; functions may read others themselves.

        What is said of another market is one input, with its text for a name.
        """
        if self.op in OUTSIDE:
            return frozenset({self.text})
        return frozenset().union(*(arg.inputs for arg in self.args))

    @cached_property
    def has_tf(self) -> bool:
        """Whether longer timeframes of this market's bars stand in it."""
        return self.op in ON_LONGER_BARS or (self.op != "on" and any(arg.has_tf for arg in self.args))

    @cached_property
    def markets(self) -> frozenset[Node]:
        """What is said of other markets below this node."""
        if self.op == "on":
            return frozenset({self})
        return frozenset().union(*(arg.markets for arg in self.args))

    def renamed(self, names: Mapping[str, str]) -> Node:
        """Return the tree with parameters called otherwise, commutative arguments in their new order."""
        if not self.params:
            return self
        if self.op == "param":
            return Node("param", (), self.dimension, names[str(self.value)])
        args = tuple(arg.renamed(names) for arg in self.args)
        return Node(self.op, args, self.dimension, self.value)

    def with_inputs(self, names: Mapping[str, str]) -> Node:
        """Return the tree with inputs called otherwise."""
        if self.inputs.isdisjoint(names):
            return self
        if self.op in OUTSIDE:
            return Node("input", (), self.dimension, names[self.text])
        return Node(self.op, tuple(arg.with_inputs(names) for arg in self.args), self.dimension, self.value)

    def bind(self, values: Mapping[str, float]) -> Node:
        """Return the tree with parameters replaced by numbers, and arithmetic on numbers done."""
        if not self.params:
            return self
        if self.op == "param":
            return constant(values[str(self.value)])
        args = tuple(arg.bind(values) for arg in self.args)
        return folded(Node(self.op, args, self.dimension, self.value))


def is_same(one: Node | None, other: Node | None) -> bool:
    """Whether two trees are equal in every node; trees of equal text are as a rule."""
    if one is None or other is None or one is other:
        return one is other
    if one.op != other.op or one.value != other.value or len(one.args) != len(other.args):
        return False
    return all(map(is_same, one.args, other.args))


def constant(value: float) -> Node:
    """Return a number; 0 fits every dimension, others a ratio or bars."""
    return Node("constant", (), ZERO if value == 0 else LITERAL, value)


def number_text(value: float | str | None) -> str:
    """Return the shortest text of a number: 20 for 20.0, 0.1 for 0.1."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def folded(node: Node) -> Node:
    """Return arithmetic on numbers as its number, a chain of one as its member; other nodes as they are.

    What has no finite value is left to the engine, where it is unknown.
    """
    if node.op in CHAINS and len(node.args) == 1:
        return node.args[0]
    if node.op not in ARITHMETIC or any(arg.op != "constant" for arg in node.args):
        return node
    numbers = [float(arg.value) for arg in node.args if arg.value is not None]
    if node.op == "divide" and numbers[1] == 0.0:
        return node
    result = ARITHMETIC[node.op](*numbers)
    return constant(result) if math.isfinite(result) else node


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negate": lambda a: -a,
}


def _sorted_chain(op: str, args: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return the members of a chain of `and` or `or`, flattened, in order, each once."""
    members: dict[str, Node] = {}
    for arg in args:
        for member in arg.args if arg.op == op else (arg,):
            members[member.text] = member
    return tuple(members[text] for text in sorted(members))
