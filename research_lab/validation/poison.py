"""Other futures: the same bars up to a cut, and after it something that did not happen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from research_lab.bars import Bars, FloatArray

# Each kind is also the end of a sentence about what it moved.
NOISE: Final = "with noise after bar {cut}"
MISSING: Final = "with missing values after bar {cut}"
TENFOLD: Final = "with tenfold prices after bar {cut}"
REVERSED: Final = "with the bars after bar {cut} in reverse"
CUT_OFF: Final = "without the bars after bar {cut}"
BEYOND_OPEN: Final = "with noise beyond the open after bar {cut}"


def poisoned(bars: Bars, cut: int, random: np.random.Generator) -> Iterator[tuple[str, Bars]]:
    """Give each kind of poison, and the bars with it.

    Parameters
    ----------
    cut : the last bar that is kept; at least one bar follows it.
    random : draws the noise.
    """
    noisy, due = bars.inputs.copy(), bars.funding_due.copy()
    noisy[:, cut + 1 :] = _noise(bars, cut, random)
    due[cut + 1 :] = random.normal(0.0, 1e-3, bars.n - cut - 1)
    yield NOISE, replace(bars, inputs=noisy, funding_due=due)

    missing, due = bars.inputs.copy(), bars.funding_due.copy()
    missing[:, cut + 1 :] = np.nan
    due[cut + 1 :] = np.nan
    yield MISSING, replace(bars, inputs=missing, funding_due=due)

    tenfold = bars.inputs.copy()
    tenfold[:4, cut + 1 :] *= 10.0
    yield TENFOLD, replace(bars, inputs=tenfold)

    reverse, due = bars.inputs.copy(), bars.funding_due.copy()
    reverse[:, cut + 1 :] = bars.inputs[:, :cut:-1]
    due[cut + 1 :] = bars.funding_due[:cut:-1]
    yield REVERSED, replace(bars, inputs=reverse, funding_due=due)

    yield CUT_OFF, bars.window(0, cut + 1)

    beyond, due = noisy.copy(), bars.funding_due.copy()
    known = bars.open[cut + 1]
    beyond[0, cut + 1] = known
    beyond[1, cut + 1] = max(known, beyond[1, cut + 1])
    beyond[2, cut + 1] = min(known, beyond[2, cut + 1])
    due[cut + 2 :] = 0.0
    yield BEYOND_OPEN, replace(bars, inputs=beyond, funding_due=due)


def _noise(bars: Bars, cut: int, random: np.random.Generator) -> FloatArray:
    """Return candles of a wild random walk from the cut bar's close on, with any value of all other rows."""
    n = bars.n - cut - 1
    steps = np.clip(random.normal(0.0, 0.05, (n, 2)), -0.5, 0.5)
    path = float(bars.close[cut]) * np.exp(np.clip(np.cumsum(steps), -20.0, 20.0))
    opens, closes = path[0::2], path[1::2]
    reach = 1.0 + np.abs(random.normal(0.0, 0.05, (2, n)))
    return np.stack(
        [
            opens,
            np.maximum(opens, closes) * reach[0],
            np.minimum(opens, closes) / reach[1],
            closes,
            random.lognormal(5.0, 2.0, n),
            random.normal(0.0, 1e-3, n),
            random.normal(0.0, 1e-2, n),
            *random.normal(0.0, 1e2, (len(bars.series), n)),
        ]
    )
