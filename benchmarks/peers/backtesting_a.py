"""Work A in backtesting.py, in an environment of its own: reads bars and pairs, writes seconds and results.

    python backtesting_a.py BARS.npz RESULT.json

It buys whole units only, so prices are given in units of 1e-12; it runs one pair at a time, here four of the pairs.
Slippage on both sides is not among its terms: commission and spread are set such that an entry costs and an
exit brings the same money. Its Sharpe ratio is one of daily returns, so it is left out.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy

UNIT = 1e-12
N_PAIRS = 4


def mean(values: Any, window: int) -> Any:
    """Return the moving average, unknown until the window is full."""
    return pd.Series(values).rolling(window).mean().to_numpy()


class Cross(Strategy):
    """All in when the fast average crosses above the slow one, all out when it crosses below."""

    fast = 10
    slow = 50

    def init(self) -> None:
        self.quick = self.I(mean, self.data.Close, self.fast)
        self.calm = self.I(mean, self.data.Close, self.slow)

    def next(self) -> None:
        before, now = self.quick[-2] - self.calm[-2], self.quick[-1] - self.calm[-1]
        if now > 0 and before <= 0 and not self.position:
            self.buy()
        elif now < 0 and before >= 0 and self.position:
            self.position.close()


def main(source: Path, target: Path) -> None:
    """Read, warm up, time, and write what was found."""
    with np.load(source) as kept:
        given = dict(kept)
    names = ("open", "high", "low", "close")
    frame = pd.DataFrame({name.title(): given[name] * UNIT for name in names})
    frame["Volume"] = given["volume"]
    frame.index = pd.to_datetime(given["time"], unit="ms")
    fee, slippage = float(given["fee"]), float(given["slippage"])
    commission = 1 - (1 - slippage) * (1 - fee)
    spread = (1 + slippage) * (1 + fee) / (1 + commission) - 1

    def charged(size: float, price: float) -> float:
        """Return the commission; before an entry it asks for that of a share of cash, without the spread."""
        return abs(size) * price * commission * (1 + spread if abs(size) < 1 else 1)

    pairs = given["pairs"][:: max(1, len(given["pairs"]) // N_PAIRS)][:N_PAIRS].tolist()
    runner = Backtest(frame, Cross, cash=1e6, commission=charged, spread=spread)
    results, begun = [], 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k, (fast, slow) in enumerate([pairs[0], *pairs]):
            if k == 1:
                begun = time.perf_counter()
            found = runner.run(fast=fast, slow=slow)
            if k:
                results.append([found["Equity Final [$]"] / 1e6, None, -found["Max. Drawdown [%]"] / 100])
    seconds = (time.perf_counter() - begun) / len(pairs) * len(given["pairs"])
    said = {"version": version("backtesting"), "seconds": seconds, "results": results, "pairs": pairs}
    target.write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
