"""Work A: dual moving-average cross, 174 parameter pairs, 35,040 bars of 15 minutes, fills at the next open.

Fee 10 basis points, slippage 5. vectorbt gets a tz-naive index, chunks of 16 columns and a garbage
collection between repetitions, without which it looks 2.5 times slower than it is.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from research_lab.bars import Bars, timeframe_ms
from research_lab.dsl.spec import Spec, compile_union
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.jit import FloatArray
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.market_data import worlds

N_BARS = 35_040
CHUNK = 16
TERMS = Terms(fee=0.001, slippage=0.0005)
PAIRS = [(f, s) for f in range(5, 50, 3) for s in range(20, 200, 14) if f < s][:174]
TEXT = """
spec: 1
name: work_a
hypothesis: a benchmark
timeframe: 15m
side: long
params:
  fast: {range: [2, 100], step: 1, default: 10}
  slow: {range: [3, 400], step: 1, default: 50}
enter_long: crosses_above(sma(close, fast), sma(close, slow))
exit_long: crosses_below(sma(close, fast), sma(close, slow))
size: {fraction: 1}
"""


@dataclass(frozen=True)
class Timing:
    """Median seconds of one way to do the work, and nanoseconds per bar and combination."""

    name: str
    seconds: float
    n_repeats: int

    @property
    def nanoseconds(self) -> float:
        return self.seconds / (N_BARS * len(PAIRS)) * 1e9


def measure(repeats: int = 7) -> tuple[list[Timing], float]:
    """Return the timings of ours on one and two threads and of vectorbt, and the largest difference.

    The difference is that of final equity, relative, over all pairs.
    """
    bars = worlds.noise(1, N_BARS, step_ms=timeframe_ms("15m")).bars
    template = parse_spec(TEXT)
    specs = [template.bind({"fast": f, "slow": s}) for f, s in PAIRS]
    ours = _ours(bars, specs, 1)
    theirs = _vectorbt(bars)
    difference = float(np.max(np.abs(ours / theirs - 1.0)))
    timings = [
        _timed("gauntlet, 1 thread, specs to metrics", lambda: _ours(bars, specs, 1), repeats),
        _timed("gauntlet, 2 threads, specs to metrics", lambda: _ours(bars, specs, 2), repeats),
        _timed("vectorbt from_signals, chunks of 16", lambda: _vectorbt(bars), max(2, repeats // 3)),
    ]
    return timings, difference


def _timed(name: str, work: Callable[[], Any], repeats: int) -> Timing:
    work()
    seconds = []
    for _ in range(repeats):
        gc.collect()
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return Timing(name, statistics.median(seconds), repeats)


def _ours(bars: Bars, specs: list[Spec], n_threads: int) -> FloatArray:
    half = -(-len(specs) // n_threads)
    chunks = [compile_union(specs[first : first + half]) for first in range(0, len(specs), half)]
    found = sweep(chunks, bars, TERMS, n_threads=n_threads)
    return found.metrics[:, 0] + 1.0


def _vectorbt(bars: Bars) -> FloatArray:
    """Return final equity by pair: a signal at the close is an order at the next bar's open."""
    import pandas as pd
    import vectorbt as vbt

    index = pd.to_datetime(bars.time, unit="ms")
    close = pd.Series(bars.close, index=index)
    windows = sorted({window for pair in PAIRS for window in pair})
    means = {window: close.rolling(window).mean().to_numpy() for window in windows}
    opening = np.append(bars.open[1:], bars.close[-1])
    finals = []
    for first in range(0, len(PAIRS), CHUNK):
        pairs = PAIRS[first : first + CHUNK]
        fast = np.column_stack([means[f] for f, _ in pairs])
        slow = np.column_stack([means[s] for _, s in pairs])
        above, below = _crossings(fast, slow)
        # the last bar's order has no next open in the data
        above[-1] = below[-1] = False
        portfolio = vbt.Portfolio.from_signals(
            pd.DataFrame(np.repeat(bars.close[:, None], len(pairs), 1), index=index),
            above,
            below,
            price=np.repeat(opening[:, None], len(pairs), 1),
            fees=TERMS.fee,
            slippage=TERMS.slippage,
            init_cash=1e6,
            freq="15min",
        )
        finals.append(portfolio.final_value().to_numpy() / 1e6)
    return np.concatenate(finals)


def _crossings(fast: FloatArray, slow: FloatArray) -> tuple[Any, Any]:
    before_fast, before_slow = fast[:-1], slow[:-1]
    known = ~np.isnan(before_fast) & ~np.isnan(before_slow)
    above = np.zeros(fast.shape, bool)
    below = np.zeros(fast.shape, bool)
    above[1:] = known & (fast[1:] > slow[1:]) & (before_fast <= before_slow)
    below[1:] = known & (fast[1:] < slow[1:]) & (before_fast >= before_slow)
    return above, below
