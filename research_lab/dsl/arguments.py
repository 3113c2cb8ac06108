"""Numbers fixed before the run: which a window, a share or an exponent may be.

Errors name no place; who reads a text adds it.
"""

from __future__ import annotations

import math

import numpy as np

from research_lab.dsl.function import MAX_EXPONENT, Argument, Function
from research_lab.dsl.tree import Node
from research_lab.engine.jit import FloatArray
from research_lab.errors import LimitError, SpecError


def refuse_values(function: Function, argument: Argument, values: FloatArray) -> None:
    """Refuse the first of the values that a fixed argument may come to and must not.

    Raises
    ------
    SpecError : with what was seen and what to write. LimitError for too long a window.
    """
    whole = values == np.floor(values)
    seen = f"{argument.name} of {function.name}() is"
    if argument.kind == "share":
        for value in values[(values < 0.0) | (values > 1.0)]:
            raise SpecError(f"share of {function.name}() is {value:g}", remedy="write a number from 0 to 1")
    elif argument.kind == "exponent":
        for value in values[~whole | (np.abs(values) > MAX_EXPONENT)]:
            remedy = f"write a whole number from -{MAX_EXPONENT} to {MAX_EXPONENT}"
            raise SpecError(f"{seen} {value:g}", remedy=remedy)
    else:
        for value in values[~whole]:
            raise SpecError(f"{seen} {value:g}", remedy="write whole bars")
        for value in values[(values < argument.least) | (values > argument.most)]:
            error = LimitError if value > argument.most else SpecError
            raise error(f"{seen} {value:g}", remedy=f"write {argument.least} to {argument.most} bars")


def bound_number(node: Node, argument: Argument, arg: Node) -> float:
    """Return the number to which a fixed argument of a call was bound.

    Raises
    ------
    SpecError : when it is none that the argument may be.
    """
    value = number_of(arg)
    if argument.kind == "share":
        fits, what, wanted = 0.0 <= value <= 1.0, "a share of", "a number from 0 to 1"
    elif argument.kind == "exponent":
        fits = value.is_integer() and abs(value) <= MAX_EXPONENT
        what, wanted = "an exponent of", f"a whole number from -{MAX_EXPONENT} to {MAX_EXPONENT}"
    else:
        fits = value.is_integer() and argument.least <= value <= argument.most
        what, wanted = "a window of", f"{argument.least} to {argument.most} whole bars"
    if not fits:
        unit = " bars" if argument.kind == "window" else ""
        raise SpecError(f"{node.text[:60]} has {what} {arg.text[:20]}{unit}", remedy=f"bind {wanted}")
    return value


def number_of(arg: Node) -> float:
    """Return a constant's number, NaN of another tree."""
    return float(arg.value or 0.0) if arg.op == "constant" else math.nan
