"""Typed trees made in code: each node as the reader of texts would make it, so nothing is parsed twice.

Whoever calls knows the dimensions (`vocabulary.py`); what does not fit is a fault of the caller and raises.
"""

from __future__ import annotations

from functools import cache

from research_lab.dsl.dimensions import CONDITION, LITERAL, Dimension, unify
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.tree import Node, constant, folded
from research_lab.errors import DimensionError

_COMPARISONS = {
    "<": ("less", False),
    "<=": ("less_equal", False),
    ">": ("less", True),
    ">=": ("less_equal", True),
}


@cache
def given(name: str) -> Node:
    """Return an input of the market by its name."""
    return Node("input", (), INPUTS[name][0], name)


@cache
def parameter(name: str) -> Node:
    """Return a parameter by its name."""
    return Node("param", (), LITERAL, name)


def number(value: float) -> Node:
    """Return a number, as short as it is written: 0.3 for 0.1 + 0.2."""
    return constant(round(float(value), 12))


def call(name: str, *args: Node) -> Node:
    """Return a call of a function; arguments left out at the end are its defaults.

    Raises
    ------
    DimensionError : when the arguments do not fit.
    """
    function = FUNCTIONS[name]
    left_out = [_default(argument.default) for argument in function.arguments[len(args) :]]
    args = (*args, *left_out)
    dimension = function.dimension([arg.dimension for arg in args])
    if dimension is None:
        raise DimensionError(f"{name}() does not take {' and '.join(str(arg.dimension) for arg in args)}")
    for argument, arg in zip(function.arguments, args, strict=True):
        if argument.kind == "exponent" and arg.op == "constant":
            dimension = dimension.raised(int(float(arg.value or 0.0)))
    return Node(name, args, dimension)


def arithmetic(op: str, left: Node, right: Node) -> Node:
    """Return "add", "subtract", "multiply" or "divide" of two numbers.

    Raises
    ------
    DimensionError : when they cannot be added.
    """
    dimension: Dimension | None
    if op in ("multiply", "divide"):
        dimension = left.dimension.times(right.dimension, 1 if op == "multiply" else -1)
    else:
        dimension = unify(left.dimension, right.dimension)
    if dimension is None or left.dimension.condition or right.dimension.condition:
        raise DimensionError(f"{op} of {left.dimension} and {right.dimension}")
    return folded(Node(op, (left, right), dimension))


def negative(x: Node) -> Node:
    """Return -x."""
    return folded(Node("negate", (x,), x.dimension))


def compared(left: Node, sign: str, right: Node) -> Node:
    """Return a comparison: sign is "<", "<=", ">" or ">=".

    Raises
    ------
    DimensionError : when the sides share no dimension.
    """
    shared = unify(left.dimension, right.dimension)
    if shared is None or shared.condition:
        raise DimensionError(f"{left.dimension} {sign} {right.dimension}")
    op, swapped = _COMPARISONS[sign]
    return Node(op, (right, left) if swapped else (left, right), CONDITION)


def all_of(*conditions: Node) -> Node:
    """Return a condition that holds where all do."""
    return folded(Node("and", conditions, CONDITION))


def any_of(*conditions: Node) -> Node:
    """Return a condition that holds where one does."""
    return folded(Node("or", conditions, CONDITION))


def opposite(condition: Node) -> Node:
    """Return a condition that holds where another does not."""
    return Node("not", (condition,), CONDITION)


def on_longer(timeframe: str, x: Node) -> Node:
    """Return x on bars of a longer timeframe, as of its last complete one."""
    return Node("tf", (x,), x.dimension.plain(), timeframe)


@cache
def _default(text: str) -> Node:
    return parse_expression(text, Scope())
