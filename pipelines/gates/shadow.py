"""Gate 8: on forward bars the executor decides bit for bit as the batch engine, within the expected band."""

from __future__ import annotations

import math

import numpy as np

from live_shadow.executor import ShadowRun, shadow_run
from pipelines.gates.evidence import Evidence
from pipelines.gates.holdout import key_of
from pipelines.gates.world import World, thinned
from research_lab.bars import DAY_MS, Bars
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import Backtest, daily_returns
from research_lab.engine.jit import FloatArray
from research_lab.errors import InsufficientError
from research_lab.validation.block_bootstrap import default_block_length, drawn_days

_PLACES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # in the band, told with their returns


def shadow_bars(spec: Spec, world: World) -> tuple[Bars, int]:
    """Return all bars up to the end of the shadow period, and the first bar of it.

    Raises
    ------
    InsufficientError
        There is no forward bar yet, or the holdout, which lies before it, was not opened for the strategy.
    """
    forward = world.lake.forward(world.bars, key_of(spec, world))
    begin = int(forward.bars.time[forward.start])
    stop = int(np.searchsorted(forward.bars.time, begin + world.policy.shadow_days * DAY_MS))
    return forward.bars.window(0, stop), forward.start


def measure(spec: Spec, world: World) -> Evidence:
    """Return how the executor's slot book differs from the batch engine, and how the result fits its band."""
    bound = world.bound_to(spec)
    try:
        bars, start = shadow_bars(spec, world)
    except InsufficientError as fault:
        return Evidence("shadow", {}, bound, str(fault))
    batch = world.run(spec, bars, start)
    live = shadow_run(spec, bars, world.terms, world.regimes, start)
    _, forward = daily_returns(bars.time, batch.equity, start)
    band = _band(spec, world, bars.window(0, start), forward.shape[0])
    figures = {
        "differing_bits": float(differing_bits(batch, live)),
        "n_bars": float(bars.n - start),
        "n_days": (bars.interval[1] - int(bars.time[start])) / DAY_MS,
        "n_trades": batch.metrics["n_trades"],
        "return": batch.metrics["return"],
        "max_drawdown": batch.metrics["max_drawdown"],
        "band_probability": _place(band, forward),
    }
    series = {
        "time": [int(t) for t in thinned(bars.time[start:].astype(np.float64))],
        "equity": thinned(batch.equity[start:]),
        "close": thinned(bars.close[start:]),
        "band": _ends(band),
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


def _band(spec: Spec, world: World, past: Bars, n: int) -> FloatArray:
    """Return log returns of resampled histories of n days, ascending; none when there is too little to draw from.

    Parameters
    ----------
    past : bars to draw days from, research and holdout; two blocks of days at least.
    """
    _, daily = daily_returns(past.time, world.run(spec, past).equity)
    if n == 0 or daily.shape[0] < 2 * default_block_length(n):
        return np.empty(0)
    rules, logs = world.policy.bootstrap, _logs(daily)
    draws = drawn_days(daily.shape[0], n, rules.n_draws, rules.seed)
    return np.sort(np.array([logs[days].sum() for days in draws]))


def _place(band: FloatArray, forward: FloatArray) -> float:
    """Return the share of a band's histories that end no better than the forward days; NaN without a band."""
    if band.shape[0] == 0:
        return math.nan
    return float((1 + np.searchsorted(band, _logs(forward).sum(), side="right")) / (1 + band.shape[0]))


def _ends(band: FloatArray) -> list[dict[str, float]]:
    """Return the smallest return, as a fraction, that has at least this place in the band."""
    n = band.shape[0]
    at = {p: math.ceil(p * (1 + n) - 1 - 1e-9) for p in _PLACES if n}
    return [{"p": p, "return": math.expm1(band[k - 1])} for p, k in at.items() if 0 < k <= n]


def _logs(daily: FloatArray) -> FloatArray:
    logs: FloatArray = np.log1p(np.maximum(daily, -0.999999))
    return logs
