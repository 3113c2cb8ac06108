"""Which later bar it was: the nearest one that, made anew alone, moves what lies before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from research_lab.bars import Bars
from research_lab.validation.difference import Difference, first_difference
from research_lab.validation.poison import NOISE, poisoned
from research_lab.validation.recording import Recording


def nearest_bar(
    run: Callable[[Bars], Recording], tape: Bars, whole: Recording, cut: int, seed: int
) -> tuple[int, Difference] | None:
    """Return a bar after a cut, and what it alone moves up to the cut; None when no single one does.

    Noise is confined to the bars from the cut to a border, and the border is moved by halving until the
    nearest bar with a say is found; then that bar alone gets the noise.
    """
    noise = next(
        made for kind, made in poisoned(tape, cut, np.random.default_rng([seed, cut])) if kind == NOISE
    )

    def moved(first: int, last: int) -> Difference | None:
        inputs, due = tape.inputs.copy(), tape.funding_due.copy()
        inputs[:, first : last + 1] = noise.inputs[:, first : last + 1]
        due[first : last + 1] = noise.funding_due[first : last + 1]
        return first_difference(whole, run(replace(tape, inputs=inputs, funding_due=due)), cut)

    low, high = cut + 1, tape.n - 1
    if moved(low, high) is None:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if moved(cut + 1, middle) is not None else (middle + 1, high)
    alone = moved(low, low)
    return None if alone is None else (low, alone)
