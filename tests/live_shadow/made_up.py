"""Candles, strategies and workspaces for the tests of the executor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from live_shadow import governance
from live_shadow.enable_map import EnableMap, Entry, Stage, dump_map, parse_map
from live_shadow.executor import Desk, Executor, quanta
from live_shadow.slots import Limits, Slot, milliseconds
from research_lab.bars import Bars, Market
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import load_regimes, load_spec, parse_regimes, parse_spec
from research_lab.engine.terms import Terms
from research_lab.workspace import Workspace

STRATEGIES = Path(__file__).resolve().parents[2] / "research_lab" / "strategies"
SPOT = Market("synthetic", "BTC/USDT")
PERPETUAL = Market("synthetic", "BTC/USDT", True)
START_MS = 1_704_067_200_000  # 2024-01-01
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FREE = Terms(fee=0.0, slippage=0.0)
UNLIMITED = Limits(float("inf"), float("inf"), float("inf"), float("inf"))

# In on a rising bar, out on a falling one; the stop is far away.
GREEN = """
spec: 1
name: green
hypothesis: a rising bar is followed by a rising bar
timeframe: 1h
side: long
enter_long: close > open
exit_long: close < open
stop: 0.5 * close
size: {fraction: 0.5}
"""
COLOURS = """
spec: 1
timeframe: 1h
regimes:
  trend_up: close > open
  trend_down: close < open
"""
# Warm at once, unlike the packaged regimes, and with the one that a strategy of 5 minutes wants.
QUICK = """
spec: 1
timeframe: 1h
regimes:
  trend_up: close > prev(close, 2)
  range_lowvol: close <= prev(close, 2)
"""


def names() -> list[str]:
    """Return the names of all strategies that come with the package."""
    return sorted(path.stem for path in STRATEGIES.glob("*.yaml") if path.stem not in ("regimes", "macro"))


def strategy(name: str) -> Spec:
    return load_spec(STRATEGIES / f"{name}.yaml")


def packaged_regimes() -> RegimeSet:
    return load_regimes(STRATEGIES / "regimes.yaml")


def quick() -> RegimeSet:
    return parse_regimes(QUICK)


def colours() -> RegimeSet:
    return parse_regimes(COLOURS)


def candles(seed: int, n: int, step_ms: int = HOUR_MS, *, perpetual: bool = False) -> Bars:
    """Return a random market with gaps, volatility that comes and goes, and, for a perpetual, funding."""
    rng = np.random.default_rng(seed)
    sigma = 0.004 * np.exp(np.cumsum(rng.normal(0.0, 0.02, n)).clip(-1.0, 1.0))
    close = 20_000.0 * np.exp(np.cumsum(sigma * rng.standard_t(5, n)))
    opened = np.concatenate([[20_000.0], close[:-1]]) * (1.0 + 0.0002 * rng.normal(size=n))
    high = np.maximum(opened, close) * (1.0 + sigma * rng.random(n))
    low = np.minimum(opened, close) * (1.0 - sigma * rng.random(n))
    inputs = np.full((7, n), np.nan)
    inputs[:5] = np.round(np.stack([opened, high, low, close, 100.0 * rng.random(n) + 1.0]), 2)
    inputs[1] = inputs[[0, 1, 3]].max(axis=0)
    inputs[2] = inputs[[0, 2, 3]].min(axis=0)
    steps = np.where(rng.random(n) < 0.01, rng.integers(2, 30, n), 1)
    time = START_MS + np.cumsum(steps).astype(np.int64) * step_ms
    due = np.zeros(n)
    if perpetual:
        inputs[5] = 0.0001 * rng.normal(1.0, 2.0, n)
        inputs[6] = 0.0005 * rng.normal(size=n)
        due = np.where(time % (8 * HOUR_MS) == 0, inputs[5], 0.0)
    return Bars(PERPETUAL if perpetual else SPOT, step_ms, time, inputs, due)


def bars_of(prices: Sequence[tuple[float, float]], start_ms: int = START_MS) -> Bars:
    """Return hourly bars of (open, close) with no wicks."""
    table = np.array(prices, np.float64)
    inputs = np.full((7, len(prices)), np.nan)
    inputs[0], inputs[3] = table[:, 0], table[:, 1]
    inputs[1], inputs[2], inputs[4] = table.max(axis=1), table.min(axis=1), 1.0
    time = start_ms + np.arange(len(prices), dtype=np.int64) * HOUR_MS
    return Bars(SPOT, HOUR_MS, time, inputs, np.zeros(len(prices)))


def entry(spec: Spec, market: Market = SPOT, **changes: object) -> Entry:
    """Return an entry of the map: a champion with the whole share, unless told otherwise."""
    fields: dict[str, object] = {
        "candidate": spec.hash,
        "name": spec.name,
        "market": market.name,
        "timeframe": spec.timeframe,
        "stage": Stage.CHAMPION,
        "risk_share": 1.0,
        "regimes": ("any",),
        "since": EPOCH,
        "evidence": "0" * 64,
        "expires": None,
    }
    return Entry.model_validate({**fields, **changes})


def slot(spec: Spec, market: Market = SPOT, **changes: object) -> Slot:
    made = entry(spec, market, **changes)
    return Slot(made, spec, milliseconds(made.since))


def green(**changes: object) -> Slot:
    return slot(parse_spec(GREEN), **changes)


def executor(
    slots: Sequence[Slot],
    *,
    limits: Limits = UNLIMITED,
    terms: Terms = FREE,
    regimes: RegimeSet | None = None,
    capital: float = 10_000.0,
    base_ms: int = HOUR_MS,
) -> Executor:
    return Executor(Desk(base_ms, regimes, terms, terms, limits), slots, quanta(capital))


def workspace(root: Path, entries: Sequence[tuple[Spec, Entry]] = (), **fields: object) -> Workspace:
    """Return a workspace with pinned limits and a map of some strategies."""
    root.mkdir(parents=True, exist_ok=True)
    governance.init(root)
    places = Workspace(root)
    for spec, _ in entries:
        path = places.spec(spec.hash)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(spec.canonical(), encoding="utf-8")
    write_map(places, [made for _, made in entries], **fields)
    return places


def write_map(places: Workspace, entries: Sequence[Entry], **fields: object) -> None:
    made = EnableMap.model_validate(
        {"version": 1, "updated": datetime(2026, 1, 1, tzinfo=UTC), **fields, "entries": tuple(entries)}
    )
    text = dump_map(made)
    assert parse_map(text) == made
    places.enable_map.write_text(text, encoding="utf-8")
