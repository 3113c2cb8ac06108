"""Gate 8: on forward bars the executor decides bit for bit as the batch engine, within the expected band."""

from __future__ import annotations

import math

import numpy as np

from live_shadow.executor import ShadowRun, shadow_run
from pipelines.gates.evidence import Evidence
from pipelines.gates.world import World, thinned
from research_lab.bars import DAY_MS, Bars
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import Backtest, daily_returns
from research_lab.engine.jit import FloatArray
from research_lab.errors import InsufficientError


def shadow_bars(world: World) -> tuple[Bars, int]:
    """Return all bars up to the end of the shadow period, and the first bar of it.

    Raises
    ------
    InsufficientError
        There is no forward bar yet.
    """
    forward = world.lake.forward(world.bars)
    begin = int(forward.bars.time[forward.start])
    stop = int(np.searchsorted(forward.bars.time, begin + world.policy.shadow_days * DAY_MS))
    return forward.bars.window(0, stop), forward.start


def measure(spec: Spec, world: World) -> Evidence:
    """Return how the executor's slot book differs from the batch engine, and how the result fits its band."""
    bound = world.bound_to(spec)
    try:
        bars, start = shadow_bars(world)
    except InsufficientError as fault:
        return Evidence("shadow", {}, bound, str(fault))
    batch = world.run(spec, bars, start)
    live = shadow_run(spec, bars, world.terms, world.regimes, start)
    _, forward = daily_returns(bars.time, batch.equity, start)
    figures = {
        "differing_bits": float(differing_bits(batch, live)),
        "n_bars": float(bars.n - start),
        "n_days": (bars.interval[1] - int(bars.time[start])) / DAY_MS,
        "n_trades": batch.metrics["n_trades"],
        "return": batch.metrics["return"],
        "max_drawdown": batch.metrics["max_drawdown"],
        "band_probability": _band(spec, world, forward),
    }
    series = {
        "time": [int(t) for t in thinned(bars.time[start:].astype(np.float64))],
        "equity": thinned(batch.equity[start:]),
        "close": thinned(bars.close[start:]),
    }
    return Evidence("shadow", figures, bound, series=series)


def differing_bits(batch: Backtest, live: ShadowRun) -> int:
    """Return how many bits differ in equity, position, decisions and fills."""
    pairs = [
        (batch.equity, live.equity),
        (batch.position, live.position),
        (batch.reason, live.reason),
        (batch.fills, live.fills),
    ]
    differing = 0
    for a, b in pairs:
        left, right = np.frombuffer(a.tobytes(), np.uint8), np.frombuffer(b.tobytes(), np.uint8)
        if left.shape != right.shape:
            differing += 8 * abs(left.shape[0] - right.shape[0])
            shorter = min(left.shape[0], right.shape[0])
            left, right = left[:shorter], right[:shorter]
        differing += int(np.unpackbits(left ^ right).sum())
    return differing


def _band(spec: Spec, world: World, forward: FloatArray) -> float:
    """Return the share of resampled histories of the same length that end no better than the forward days.

    Blocks of daily returns of the bars before the forward zone are drawn with replacement, in length the
    cube root of the number of days, at least five. NaN when there are fewer days than two blocks.
    """
    before = world.lake.forward(world.bars)
    past = before.bars.window(0, before.start)
    _, daily = daily_returns(past.time, world.run(spec, past).equity)
    n, length = forward.shape[0], max(5, math.ceil(math.cbrt(forward.shape[0])))
    if daily.shape[0] < 2 * length or n == 0:
        return math.nan
    rules = world.policy.bootstrap
    rng = np.random.default_rng(rules.seed)
    n_blocks = -(-n // length)
    starts = rng.integers(0, daily.shape[0], (rules.n_draws, n_blocks))
    days = (starts[:, :, None] + np.arange(length)) % daily.shape[0]
    drawn = np.log1p(np.maximum(daily, -0.999999))[days].reshape(rules.n_draws, -1)[:, :n].sum(axis=1)
    observed = float(np.log1p(np.maximum(forward, -0.999999)).sum())
    return float((1 + (drawn <= observed).sum()) / (1 + rules.n_draws))
