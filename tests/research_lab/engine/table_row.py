"""A row of the table over the language, and the short words with which rows are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from research_lab.engine.jit import FloatArray
from tests.oracles.functions import ORACLES as O
from tests.research_lab.engine.tapes import Tape


@dataclass(frozen=True)
class Row:
    """A text of the language, and what it means in plain NumPy, from a tape."""

    text: str
    meaning: Callable[[Tape], FloatArray]


def of(oracle: str, *inputs: str, **fixed: float) -> Callable[[Tape], FloatArray]:
    """Return an oracle applied to inputs of the tape."""
    return lambda tape: O[oracle](*(tape.named(name) for name in inputs), *fixed.values())


def full(tape: Tape, value: float) -> FloatArray:
    return np.full(tape.n, value)


def is_true(a: FloatArray, b: FloatArray) -> FloatArray:
    return O["gt"](a, b)


def up_bar(tape: Tape) -> FloatArray:
    return is_true(tape.named("close"), tape.named("open"))


def cheap(tape: Tape) -> FloatArray:
    """Return a condition that is unknown at times on every tape: a premium below zero."""
    return O["lt"](tape.named("premium"), full(tape, 0.0))
