"""The synthetic bars that the benchmarks run on, and the file in which they reach another process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from research_lab.bars import Bars, Market
from research_lab.timeframe import timeframe_ms

_MARKET = Market("synthetic", "BTC/USDT", False)


def made(n_bars: int, timeframe: str = "15m", seed: int = 1) -> Bars:
    """Return bars of pure noise; the same seed gives the same bytes."""
    from research_lab.market_data import worlds

    return worlds.noise(seed, n_bars, step_ms=timeframe_ms(timeframe)).bars


def save(bars: Bars, path: Path) -> Path:
    """Write bars for another process; return the path."""
    np.savez(path, step_ms=bars.step_ms, time=bars.time, inputs=bars.inputs, funding_due=bars.funding_due)
    return path


def load(path: Path) -> Bars:
    """Return the bars of a file that `save` wrote."""
    with np.load(path) as kept:
        return Bars(_MARKET, int(kept["step_ms"]), kept["time"], kept["inputs"], kept["funding_due"])
