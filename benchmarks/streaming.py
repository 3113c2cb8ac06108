"""What one bar costs when bars come one by one, for each strategy of the library that the bars allow."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import research_lab
from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import load_spec
from research_lab.engine.backtest import backtest
from research_lab.engine.terms import Terms
from research_lab.market_data import worlds

N_BARS = 20_000


def measure(repeats: int = 5) -> dict[str, float]:
    """Return microseconds a bar, in blocks of one and in blocks of 2,048, by strategy."""
    bars = worlds.noise(1, N_BARS).bars
    folder = Path(research_lab.__file__).parent / "strategies"
    found = {}
    for name in ("ema_atr", "breakout_4h"):
        strategy = compile_spec(load_spec(folder / f"{name}.yaml"))
        ones = [(t, t + 1) for t in range(N_BARS)]
        for label, blocks in (("one by one", ones), ("in blocks of 2,048", None)):
            seconds = []
            for _ in range(repeats):
                begun = time.perf_counter()
                backtest(strategy, bars, Terms(), blocks=blocks)
                seconds.append(time.perf_counter() - begun)
            found[f"{name}, {label}, us a bar"] = statistics.median(seconds) / N_BARS * 1e6
    return found
