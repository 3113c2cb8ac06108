"""What a strategy cannot do without: inputs that its trees name, and those that its functions read themselves."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from research_lab.dsl.linker import written
from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.tree import OUTSIDE, Node
from research_lab.timeframe import HOUR_MS


def needed_inputs(roots: Iterable[Node]) -> frozenset[str]:
    """Return the names of the inputs that nothing replaces where they are unknown.

    What is said of another market is one input, with its text for a name.
    """
    found: set[str] = set()
    open_ = list(roots)
    while open_:
        node = open_.pop()
        if node.op in OUTSIDE:
            found.add(node.text)
            continue
        function = FUNCTIONS.get(node.op)
        if function is None:
            open_ += node.args
            continue
        found |= inputs_of(node.op)
        pairs = zip(function.arguments, node.args, strict=True)
        open_ += [arg for argument, arg in pairs if not argument.optional]
    return frozenset(found)


@cache
def inputs_of(function: str) -> frozenset[str]:
    """Return the names of the market's inputs that a function reads whatever its arguments are."""
    step_ms = HOUR_MS if FUNCTIONS[function].body_on is not None else 0
    found: set[str] = set()
    open_ = list(written(function, step_ms))
    while open_:
        node = open_.pop()
        found |= {node.text} & INPUTS.keys() if node.op == "input" else set()
        found |= inputs_of(node.op) if node.op in FUNCTIONS else set()
        open_ += node.args
    return frozenset(found)
