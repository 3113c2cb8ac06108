"""Numbers fixed before the run: every value that an expression of parameters alone may come to.

A text may hold hundreds of windows over parameters with many values each, so all values of one expression
are computed together, each expression once, and all expressions of one text share one budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from research_lab.dsl import limits
from research_lab.dsl.tree import Node
from research_lab.engine.jit import FloatArray
from research_lab.errors import LimitError, SpecError

Range = tuple[float, float, float]

_ARITHMETIC = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "negate": np.negative,
}


class FixedNumbers:
    """The values of one text's fixed expressions, within one budget.

    Parameters
    ----------
    ranges : low end, high end and step of each parameter, by name.
    """

    def __init__(self, ranges: Mapping[str, Range]) -> None:
        self._ranges = ranges
        self._known: dict[tuple[str, bool], FloatArray] = {}
        self._work = 0

    def values(self, node: Node, *, whole: bool) -> FloatArray:
        """Return what a fixed expression may come to: at the extremes of its parameters where that is enough.

        It is for sums and products with each parameter once, and for bars if all numbers are whole as well;
        otherwise every combination is looked at.

        Parameters
        ----------
        whole : whether it matters that values between the extremes are whole.

        Raises
        ------
        LimitError : for too many operations, parameters or values. SpecError where a value is not finite.
            Neither names a place.
        """
        if node.size > limits.FIXED_NODES:
            raise LimitError(
                f"{_short(node)} has {node.size} operations with definitions written out",
                remedy=f"write a fixed number with {limits.FIXED_NODES} at most",
            )
        found = self._known.get((node.text, whole))
        if found is None:
            found = self._known[node.text, whole] = self._computed(node, whole)
        return found

    def _computed(self, node: Node, whole: bool) -> FloatArray:
        names = sorted(node.params)
        if len(names) > limits.FIXED_PARAMS:
            raise LimitError(
                f"{_short(node)} has {len(names)} parameters", remedy=f"use {limits.FIXED_PARAMS} at most"
            )
        ranges = [self._ranges[name] for name in names]
        plain = _is_multilinear(node) and not (whole and not _is_whole(node, ranges))
        choices = [(low, high) if plain else _steps(low, high, step) for low, high, step in ranges]
        n_values = math.prod(len(choice) for choice in choices)
        if n_values > limits.FIXED_VALUES:
            raise LimitError(
                f"{_short(node)} takes more than {limits.FIXED_VALUES} values", remedy="use larger steps"
            )
        self._work += n_values * node.size
        if self._work > limits.FIXED_WORK:
            raise LimitError(
                f"fixed numbers take more than {limits.FIXED_WORK} operations to check",
                remedy="use larger steps, or fewer different windows of parameters",
            )
        grids = [grid.ravel() for grid in np.meshgrid(*map(np.array, choices), indexing="ij")]
        with np.errstate(all="ignore"):
            return _evaluated(node, dict(zip(names, grids, strict=True)), n_values)


def _evaluated(node: Node, params: Mapping[str, FloatArray], n_values: int) -> FloatArray:
    if node.op == "param":
        return params[str(node.value)]
    if node.op == "constant":
        return np.full(n_values, float(node.value or 0.0))
    operation = _ARITHMETIC.get(node.op)
    if operation is not None:
        found: FloatArray = operation(*(_evaluated(arg, params, n_values) for arg in node.args))
        if np.isfinite(found).all():
            return found
    raise SpecError(f"{_short(node)} has no value", remedy="write a number or a parameter")


def _steps(low: float, high: float, step: float) -> Sequence[float]:
    """Return the values from low to high, at most one more than can be looked at."""
    n = min(math.floor((high - low) / step + 1e-9) + 1, limits.FIXED_VALUES + 1)
    return [round(low + k * step, 12) for k in range(n)]


def _leaves(node: Node) -> list[Node]:
    return [leaf for arg in node.args for leaf in _leaves(arg)] if node.args else [node]


def _is_multilinear(node: Node) -> bool:
    """Whether a fixed expression adds and multiplies, each parameter once: extremes at the corners."""
    names = [leaf.value for leaf in _leaves(node) if leaf.op == "param"]

    def adds_or_multiplies(part: Node) -> bool:
        plain = part.op in ("add", "subtract", "multiply", "negate") or not part.args
        return plain and all(map(adds_or_multiplies, part.args))

    return len(set(names)) == len(names) and adds_or_multiplies(node)


def _is_whole(node: Node, ranges: Sequence[Range]) -> bool:
    numbers = [float(leaf.value or 0.0) for leaf in _leaves(node) if leaf.op == "constant"]
    return all(n.is_integer() for n in [*numbers, *(n for low, _, step in ranges for n in (low, step))])


def _short(node: Node) -> str:
    return node.text if len(node.text) <= 60 else f"{node.text[:57]}..."
