"""Memory of conditions over blocks: what was switched on, and what has lasted.

Conditions are 1.0, 0.0 or NaN for unknown; what cannot be told is unknown, and never guessed.
"""

from __future__ import annotations

import math

from research_lab.engine.jit import FloatArray, kernel
from research_lab.engine.pointwise import both, either

NAN = math.nan


@kernel
def latch(state: FloatArray, set_: FloatArray, reset: FloatArray, out: FloatArray) -> None:
    """True from the bar on which `set_` is true until `reset` is true, which wins when both are.

    A bar on which this cannot be told is unknown, and the latch stays as it was.

    Parameters
    ----------
    state : 2 cells: 1 when either was true once, 1 while on. In place.
    set_, reset : conditions, one block.
    out : one block. NaN before either was true for the first time.
    """
    told = state[0]
    on = state[1]
    for t in range(set_.shape[0]):
        if reset[t] == 1.0:
            told = 1.0
            on = 0.0
        elif set_[t] == 1.0 and reset[t] == 0.0:
            told = 1.0
            on = 1.0
        before = on if told == 1.0 else NAN
        out[t] = both(1.0 - reset[t], either(set_[t], before))
    state[0] = told
    state[1] = on


@kernel
def held_for(state: FloatArray, condition: FloatArray, out: FloatArray, n: int) -> None:
    """True where the condition was true on each of the last n bars, false as soon as it was false on one.

    Parameters
    ----------
    state : 3 cells: bars seen, bars in a row on which it was true, bars in a row on which it was not
        false. In place.
    condition, out : one block. NaN where an unknown bar, or one before the first, decides.
    n : bars, this one among them.
    """
    seen = state[0]
    true_bars = state[1]
    bars_without_false = state[2]
    for t in range(condition.shape[0]):
        seen += 1.0
        true_bars = true_bars + 1.0 if condition[t] == 1.0 else 0.0
        bars_without_false = 0.0 if condition[t] == 0.0 else bars_without_false + 1.0
        if bars_without_false < min(seen, n):
            out[t] = 0.0
        else:
            out[t] = 1.0 if true_bars >= n else NAN
    state[0] = seen
    state[1] = true_bars
    state[2] = bars_without_false
