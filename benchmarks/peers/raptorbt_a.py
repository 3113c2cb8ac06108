"""Work A in raptorbt, in an environment of its own: reads bars and pairs, writes seconds and results.

    python raptorbt_a.py BARS.npz RESULT.json

A signal at a close is filled at the next open. Run with RAYON_NUM_THREADS for its number of threads.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import raptorbt


def work(given: Any) -> list[list[float]]:
    """Return final equity, Sharpe ratio and deepest drawdown of each pair."""
    close = given["close"]
    means = {int(w): raptorbt.sma(close, int(w)) for w in np.unique(given["pairs"])}
    items = []
    for k, (fast, slow) in enumerate(given["pairs"].tolist()):
        ahead, behind = means[fast] > means[slow], means[fast] < means[slow]
        before_ahead, before_behind = means[fast] <= means[slow], means[fast] >= means[slow]
        enter, leave = np.zeros(close.shape[0], bool), np.zeros(close.shape[0], bool)
        enter[1:] = ahead[1:] & before_ahead[:-1]
        leave[1:] = behind[1:] & before_behind[:-1]
        items.append(raptorbt.BatchSingleItem(str(k), enter, leave, direction=1, weight=1.0))
    bars_a_year = 365 * 86_400_000 / int(given["step_ms"])
    config = raptorbt.BacktestConfig(
        initial_capital=1e6,
        fees=float(given["fee"]),
        slippage=float(given["slippage"]),
        periods_per_year=bars_a_year,
        fill_timing="next_bar_open",
    )
    prices = [given[name] for name in ("open", "high", "low", "close", "volume")]
    found = raptorbt.batch_single_backtest(given["time"] * 1_000_000, *prices, items, config)
    metrics = [result.metrics for _, result in found]
    return [[m.end_value / 1e6, m.sharpe_ratio, m.max_drawdown_pct / 100] for m in metrics]


def main(source: Path, target: Path) -> None:
    """Read, warm up, time, and write what was found."""
    with np.load(source) as kept:
        given = dict(kept)
    results = work(given)
    seconds = []
    for _ in range(int(given["repeats"])):
        begun = time.perf_counter()
        work(given)
        seconds.append(time.perf_counter() - begun)
    said = {"version": version("raptorbt"), "seconds": statistics.median(seconds), "results": results}
    target.write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
