"""Work B written by hand for nothing else, indicators given: an oracle of the engine's rules, and a floor."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.work_b import HOLD, RISK, TAKES, Prepared
from research_lab.bars import Bars
from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.engine.metrics import YEAR_MS
from research_lab.engine.terms import Terms

(_AT_1, _SHARE_1), (_AT_2, _SHARE_2) = TAKES


@kernel
def _combination(
    prices: FloatArray,
    highest: FloatArray,
    atr: FloatArray,
    adx: FloatArray,
    trend: float,
    width: float,
    earliest: int,
    fee: float,
    slippage: float,
    bars_a_year: float,
    out: FloatArray,
) -> None:
    """Run one combination in one loop: everything that is remembered is a local."""
    opening, high, low, close = prices[0], prices[1], prices[2], prices[3]
    n = close.shape[0]
    cash, quantity, entry, stop, risk, best, trail = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, math.nan
    ordered, ordered_risk, takes, held, leaves = 0.0, 0.0, 0, 0, False
    last, peak, deepest, total, squares = 1.0, 1.0, 0.0, 0.0, 0.0
    for t in range(n):
        if quantity > 0.0:
            if leaves or opening[t] <= stop:
                cash += quantity * opening[t] * (1.0 - slippage) * (1.0 - fee)
                quantity = 0.0
        elif ordered > 0.0:
            entry = opening[t] * (1.0 + slippage)
            quantity = min(ordered, cash / (entry * (1.0 + fee)))
            cash -= quantity * entry * (1.0 + fee)
            risk, stop, trail, best = ordered_risk, entry - ordered_risk, ordered_risk, entry
            takes, held = 0, 0
        ordered, leaves = 0.0, False
        if quantity > 0.0:
            # A gap through a take is filled before the stop can be reached, one inside the bar after it.
            reached = opening[t]
            for _ in range(2):
                while takes < 2:
                    level = entry + (_AT_1 if takes == 0 else _AT_2) * risk
                    if reached < level:
                        break
                    sold = quantity * (_SHARE_1 if takes == 0 else _SHARE_2)
                    cash += sold * max(opening[t], level) * (1.0 - fee)
                    quantity -= sold
                    takes += 1
                if reached == opening[t] and low[t] <= stop:
                    cash += quantity * min(opening[t], stop) * (1.0 - slippage) * (1.0 - fee)
                    quantity = 0.0
                    break
                reached = high[t]
        worth = cash + quantity * close[t]
        if quantity > 0.0:
            trail = width * atr[t]
            best = max(best, high[t])
            if best - entry >= risk:
                stop = max(stop, best - trail)
            held += 1
            leaves = held >= HOLD
        elif t >= earliest and close[t] > highest[t] and adx[t] > trend:
            ordered_risk = width * atr[t]
            ordered = min(worth * RISK / ordered_risk, worth / close[t])
        change = worth / last - 1.0
        total += change
        squares += change * change
        last = worth
        peak = max(peak, worth)
        deepest = max(deepest, 1.0 - worth / peak)
    mean = total / n
    variance = (squares - n * mean * mean) / (n - 1.0)
    out[0] = last
    out[1] = mean / math.sqrt(variance) * math.sqrt(bars_a_year) if variance > 0.0 else math.nan
    out[2] = deepest


@kernel
def _all(
    prices: FloatArray,
    highest: FloatArray,
    rows: IntArray,
    atr: FloatArray,
    adx: FloatArray,
    trend: FloatArray,
    width: FloatArray,
    earliest: IntArray,
    worker: int,
    n_workers: int,
    fee: float,
    slippage: float,
    bars_a_year: float,
    out: FloatArray,
) -> None:
    for k in range(worker, rows.shape[0], n_workers):
        _combination(
            prices, highest[rows[k]], atr, adx, trend[k], width[k], earliest[k], fee, slippage, bars_a_year, out[k]
        )  # fmt: skip


def fused(bars: Bars, given: Prepared, terms: Terms, n_threads: int = 1) -> FloatArray:
    """Return final equity, Sharpe ratio and deepest drawdown of each combination, (n, 3)."""
    out = np.empty((given.rows.shape[0], 3))
    prices = np.ascontiguousarray(bars.inputs[:4])
    rates = (terms.fee, terms.slippage, YEAR_MS / bars.step_ms)
    arrays = (given.highest, given.rows, given.atr, given.adx, given.trend, given.width, given.earliest)
    with ThreadPoolExecutor(n_threads) as pool:
        jobs = [
            pool.submit(_all, prices, *arrays, worker, n_threads, *rates, out) for worker in range(n_threads)
        ]
        for job in jobs:
            job.result()
    return out
