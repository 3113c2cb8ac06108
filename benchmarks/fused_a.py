"""Work A written by hand for nothing else: what a general engine is measured against.

`readable` does a pair from prices to metrics in one loop; `tuned` computes each average once for all pairs and
touches money only while a position is held.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from research_lab.bars import Bars
from research_lab.engine.jit import FloatArray, IntArray, inlined_kernel, kernel
from research_lab.engine.metrics import YEAR_MS
from research_lab.engine.terms import Terms


@inlined_kernel
def _sharpe(total: float, squares: float, n: int, bars_a_year: float) -> float:
    mean = total / n
    variance = (squares - n * mean * mean) / (n - 1.0)
    return mean / math.sqrt(variance) * math.sqrt(bars_a_year) if variance > 0.0 else math.nan


@kernel
def _readable(
    opening: FloatArray,
    close: FloatArray,
    fast: int,
    slow: int,
    fee: float,
    slippage: float,
    bars_a_year: float,
    out: FloatArray,
) -> None:
    n = close.shape[0]
    cash, quantity, wanted, leaves = 1.0, 0.0, 0.0, False
    fast_sum, slow_sum, before = 0.0, 0.0, math.nan
    last, peak, deepest, total, squares = 1.0, 1.0, 0.0, 0.0, 0.0
    for t in range(n):
        if leaves:
            cash += quantity * opening[t] * (1.0 - slippage) * (1.0 - fee)
            quantity, leaves = 0.0, False
        if wanted > 0.0:
            price = opening[t] * (1.0 + slippage)
            quantity, wanted = min(wanted, cash / (price * (1.0 + fee))), 0.0
            cash -= quantity * price * (1.0 + fee)
        worth = cash + quantity * close[t]
        change = worth / last - 1.0
        total += change
        squares += change * change
        last = worth
        peak = max(peak, worth)
        deepest = max(deepest, 1.0 - worth / peak)
        fast_sum += close[t] - (close[t - fast] if t >= fast else 0.0)
        slow_sum += close[t] - (close[t - slow] if t >= slow else 0.0)
        ahead = fast_sum / fast - slow_sum / slow if t + 1 >= slow else math.nan
        if ahead > 0.0 and before <= 0.0 and quantity == 0.0:
            wanted = worth / close[t]
        if ahead < 0.0 and before >= 0.0 and quantity > 0.0:
            leaves = True
        before = ahead
    out[0] = last
    out[1] = _sharpe(total, squares, n, bars_a_year)
    out[2] = deepest


@kernel
def _averages(close: FloatArray, windows: IntArray, means: FloatArray) -> None:
    """Write the moving average of each window, (n_windows, n); unknown until the window is full."""
    for k in range(windows.shape[0]):
        window = windows[k]
        total = 0.0
        for t in range(close.shape[0]):
            total += close[t]
            if t >= window:
                total -= close[t - window]
            means[k, t] = total / window if t + 1 >= window else math.nan


@kernel
def _tuned(
    opening: FloatArray,
    close: FloatArray,
    fast: FloatArray,
    slow: FloatArray,
    fee: float,
    slippage: float,
    bars_a_year: float,
    out: FloatArray,
) -> None:
    n = close.shape[0]
    worth, peak, deepest, total, squares = 1.0, 1.0, 0.0, 0.0, 0.0
    t = 1
    while t < n - 1:
        while t < n - 1 and not (fast[t] > slow[t] and fast[t - 1] <= slow[t - 1]):
            t += 1
        if t >= n - 1:
            break
        price = opening[t + 1] * (1.0 + slippage)
        quantity = min(worth / close[t], worth / (price * (1.0 + fee)))
        cash = worth - quantity * price * (1.0 + fee)
        t += 1
        leaves = False
        while t < n and not leaves:
            before = worth
            worth = cash + quantity * close[t]
            change = worth / before - 1.0
            total += change
            squares += change * change
            if worth >= peak:
                peak = worth
            else:
                deepest = max(deepest, 1.0 - worth / peak)
            leaves = fast[t] < slow[t] and fast[t - 1] >= slow[t - 1]
            t += 1
        if leaves and t < n:
            before = worth
            worth = cash + quantity * opening[t] * (1.0 - slippage) * (1.0 - fee)
            change = worth / before - 1.0
            total += change
            squares += change * change
            peak = max(peak, worth)
            deepest = max(deepest, 1.0 - worth / peak)
    out[0] = worth
    out[1] = _sharpe(total, squares, n, bars_a_year)
    out[2] = deepest


@kernel
def _all_readable(
    opening: FloatArray,
    close: FloatArray,
    pairs: IntArray,
    worker: int,
    n_workers: int,
    fee: float,
    slippage: float,
    bars_a_year: float,
    out: FloatArray,
) -> None:
    for k in range(worker, pairs.shape[0], n_workers):
        _readable(opening, close, pairs[k, 0], pairs[k, 1], fee, slippage, bars_a_year, out[k])


@kernel
def _all_tuned(
    opening: FloatArray,
    close: FloatArray,
    means: FloatArray,
    rows: IntArray,
    worker: int,
    n_workers: int,
    fee: float,
    slippage: float,
    bars_a_year: float,
    out: FloatArray,
) -> None:
    for k in range(worker, rows.shape[0], n_workers):
        _tuned(opening, close, means[rows[k, 0]], means[rows[k, 1]], fee, slippage, bars_a_year, out[k])


def readable(bars: Bars, pairs: list[tuple[int, int]], terms: Terms, n_threads: int = 1) -> FloatArray:
    """Return final equity, Sharpe ratio and deepest drawdown of each pair, (n, 3)."""
    table, out = np.array(pairs, np.int64), np.empty((len(pairs), 3))
    rates = (terms.fee, terms.slippage, YEAR_MS / bars.step_ms)
    with ThreadPoolExecutor(n_threads) as pool:
        jobs = [
            pool.submit(_all_readable, bars.open, bars.close, table, worker, n_threads, *rates, out)
            for worker in range(n_threads)
        ]
        for job in jobs:
            job.result()
    return out


def tuned(bars: Bars, pairs: list[tuple[int, int]], terms: Terms, n_threads: int = 1) -> FloatArray:
    """Return the same as `readable`."""
    windows, rows = np.unique(np.array(pairs, np.int64), return_inverse=True)
    rows = rows.reshape(-1, 2)
    means, out = np.empty((windows.shape[0], bars.n)), np.empty((len(pairs), 3))
    rates = (terms.fee, terms.slippage, YEAR_MS / bars.step_ms)
    with ThreadPoolExecutor(n_threads) as pool:
        averaged = [
            pool.submit(_averages, bars.close, windows[worker::n_threads], means[worker::n_threads])
            for worker in range(n_threads)
        ]
        for job in averaged:
            job.result()
        jobs = [
            pool.submit(_all_tuned, bars.open, bars.close, means, rows, worker, n_threads, *rates, out)
            for worker in range(n_threads)
        ]
        for job in jobs:
            job.result()
    return out
