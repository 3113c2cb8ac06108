"""Work A in vectorbt with its Rust engine, in an environment of its own: reads bars, writes seconds and results.

    python vectorbt_rust_a.py BARS.npz RESULT.json

As `benchmarks.work_a` has it, in chunks of 16 columns, for the final equity alone when timed.
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
import pandas as pd
import vectorbt as vbt

CHUNK = 16


def work(given: dict[str, Any], whole: bool) -> list[list[float | None]]:
    """Return final equity of each pair, and Sharpe ratio and deepest drawdown if asked for."""
    index = pd.to_datetime(given["time"], unit="ms")
    close = pd.Series(given["close"], index=index)
    pairs = given["pairs"].tolist()
    means = {w: close.rolling(w).mean().to_numpy() for pair in pairs for w in pair}
    results: list[list[float | None]] = []
    for first in range(0, len(pairs), CHUNK):
        part = pairs[first : first + CHUNK]
        fast = np.column_stack([means[f] for f, _ in part])
        slow = np.column_stack([means[s] for _, s in part])
        above, below = np.zeros(fast.shape, bool), np.zeros(fast.shape, bool)
        above[2:] = (fast[1:-1] > slow[1:-1]) & (fast[:-2] <= slow[:-2])
        below[2:] = (fast[1:-1] < slow[1:-1]) & (fast[:-2] >= slow[:-2])
        portfolio = vbt.Portfolio.from_signals(
            pd.DataFrame(np.repeat(given["close"][:, None], len(part), 1), index=index),
            above,
            below,
            price=np.repeat(given["open"][:, None], len(part), 1),
            fees=float(given["fee"]),
            slippage=float(given["slippage"]),
            init_cash=1e6,
            freq=pd.Timedelta(milliseconds=int(given["step_ms"])),
            engine="rust",
        )
        final = (portfolio.final_value() / 1e6).tolist()
        if whole:
            sharpe = portfolio.sharpe_ratio(year_freq="365 days").tolist()
            deepest = (-portfolio.max_drawdown()).tolist()
            results += [list(row) for row in zip(final, sharpe, deepest, strict=True)]
        else:
            results += [[value, None, None] for value in final]
    return results


def main(source: Path, target: Path) -> None:
    """Read, warm up, time, and write what was found."""
    with np.load(source) as kept:
        given = dict(kept)
    results = work(given, True)
    work(given, False)
    seconds = []
    for _ in range(int(given["repeats"])):
        begun = time.perf_counter()
        work(given, False)
        seconds.append(time.perf_counter() - begun)
    said = {"version": version("vectorbt-rust"), "seconds": statistics.median(seconds), "results": results}
    target.write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
