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
COMMUTATIVE = frozenset({"add", "multiply", "equal", "min", "max"})
CHAINS = frozenset({"and", "or"})
LEAVES = frozenset({"constant", "param", "input"})
_ATOM = 9


class Node:
    """One operation on its arguments; immutable.

    Parameters
    ----------
    op : a leaf ("constant", "param", "input"), an operator, or a function of the registry.
    args : argument nodes, windows and shares among them.
    value : the number of a constant, the name of a parameter or of an input.
    dimension : of the result.
    """

    __slots__ = ("__dict__", "args", "depth", "dimension", "op", "size", "value")

    def __init__(
        self,
        op: str,
        args: tuple[Node, ...],
        dimension: Dimension,
        value: float | str | None = None,
    ) -> None:
        if op in COMMUTATIVE:
            args = tuple(sorted(args, key=lambda node: node.text))
        if op in CHAINS:
            args = _sorted_chain(op, args)
        self.op = op
        self.args = args
        self.value = value
        self.dimension = dimension
        self.size: int = 1 + sum(arg.size for arg in args)
        self.depth: int = 1 + max((arg.depth for arg in args), default=0)

    def __repr__(self) -> str:
        return f"Node({self.text})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    @cached_property
    def text(self) -> str:
        """The canonical text, which parses back to an equal node."""
        if self.op == "constant":
            return number_text(self.value)
        if self.op in LEAVES:
            return str(self.value)
        if self.op not in OPERATORS:
            return f"{self.op}({', '.join(arg.text for arg in self.args)})"
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
    def params(self) -> frozenset[str]:
        """Names of the parameters below this node."""
        if self.op == "param":
            return frozenset({str(self.value)})
        return frozenset().union(*(arg.params for arg in self.args))

    @cached_property
    def inputs(self) -> frozenset[str]:
        """Names of the inputs written below this node; functions may read others themselves."""
        if self.op == "input":
            return frozenset({str(self.value)})
        return frozenset().union(*(arg.inputs for arg in self.args))

    @cached_property
    def needs(self) -> frozenset[str]:
        """Names of the inputs without which the node is unknown: those that no `coalesce` replaces."""
        if self.op == "input":
            return frozenset({str(self.value)})
        args = self.args[1:] if self.op == "coalesce" else self.args
        return frozenset().union(*(arg.needs for arg in args))

    def renamed(self, names: Mapping[str, str]) -> Node:
        """Return the tree with parameters called otherwise, commutative arguments in their new order."""
        if not self.params:
            return self
        if self.op == "param":
            return Node("param", (), self.dimension, names[str(self.value)])
        args = tuple(arg.renamed(names) for arg in self.args)
        return Node(self.op, args, self.dimension, self.value)

    def bind(self, values: Mapping[str, float]) -> Node:
        """Return the tree with parameters replaced by numbers, and arithmetic on numbers done."""
        if not self.params:
            return self
        if self.op == "param":
            return constant(values[str(self.value)])
        args = tuple(arg.bind(values) for arg in self.args)
        return folded(Node(self.op, args, self.dimension, self.value))


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
