"""Made-up tapes: random walks and the shapes on which numerical code breaks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from research_lab.engine.jit import FloatArray, IntArray

HOUR_MS = 3_600_000
FIRST_MS = 1_609_459_200_000 + 7 * HOUR_MS  # 2021-01-01T07:00Z, a Friday: no bucket starts with the tape
PRICES = 4  # rows of `inputs` that are prices

SHAPES = (
    "walk",
    "constant",
    "grid",
    "spiky",
    "missing bars",
    "missing values",
    "tiny",
    "huge",
    "no volume",
    "short",
)


@dataclass(frozen=True, eq=False)
class Tape:
    """Bars as the engine reads them."""

    step_ms: int
    time: IntArray
    inputs: FloatArray
    funding_due: FloatArray

    def rows(self, series: Sequence[str] = ()) -> FloatArray:
        assert not series
        return self.inputs

    @property
    def n(self) -> int:
        return int(self.time.shape[0])

    def named(self, name: str) -> FloatArray:
        return self.inputs[("open", "high", "low", "close", "volume", "funding", "premium").index(name)]

    def window(self, first: int, last: int) -> Tape:
        return Tape(
            self.step_ms,
            self.time[first:last],
            np.ascontiguousarray(self.inputs[:, first:last]),
            self.funding_due[first:last],
        )


def walk(rng: np.random.Generator, n: int, *, step_ms: int = HOUR_MS, volatility: float = 0.01) -> Tape:
    """Return a random walk with wicks, volume, funding every 8 bars and a premium that is missing at times.

    Range and volume swell and ebb together, as they do in markets.
    """
    swell = np.exp(0.9 * np.sin(np.arange(n) / 67.0))
    close = 100.0 * np.exp(np.cumsum(volatility * swell * rng.normal(size=n)))
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(0.2 * volatility * rng.normal(size=n))
    wicks = np.exp(volatility * np.abs(rng.normal(size=(2, n))))
    funding = np.repeat(1e-4 * rng.normal(size=n // 8 + 1), 8)[:n]
    premium = np.where(rng.random(n) < 0.1, math.nan, 1e-3 * rng.normal(size=n))
    inputs = np.stack(
        [
            open_,
            np.maximum(open_, close) * wicks[0],
            np.minimum(open_, close) / wicks[1],
            close,
            swell * rng.uniform(1.0, 50.0, size=n),
            funding,
            premium,
        ]
    )
    time = FIRST_MS + step_ms * np.arange(n, dtype=np.int64)
    due = np.where(np.arange(n) % 8 == 0, funding, 0.0)
    return Tape(step_ms, time, np.ascontiguousarray(inputs), due)


def shaped(shape: str, n: int = 240, seed: int = 1) -> Tape:
    """Return a tape of one of `SHAPES`."""
    rng = np.random.default_rng([seed, SHAPES.index(shape)])
    tape = walk(rng, 6 if shape == "short" else n)
    inputs = tape.inputs
    if shape == "constant":
        inputs[:PRICES] = 0.1
        inputs[PRICES:] = 0.3
    elif shape == "grid":
        inputs[:PRICES] = np.round(inputs[:PRICES] * 2.0) / 2.0
    elif shape == "spiky":
        spikes = rng.random(n) < 0.03
        inputs[:, spikes] *= 10.0 ** rng.uniform(-4, 4, size=(1, int(spikes.sum())))
    elif shape == "missing bars":
        inputs[:, _runs(rng, n)] = math.nan
    elif shape == "missing values":
        for row in inputs:
            row[_runs(rng, n)] = math.nan
    elif shape in ("tiny", "huge"):
        inputs[:PRICES] *= 1e-10 if shape == "tiny" else 1e6
    elif shape == "no volume":
        inputs[PRICES, rng.random(n) < 0.5] = 0.0
    return tape


def with_gaps(rng: np.random.Generator, tape: Tape, share: float = 0.15) -> Tape:
    """Return the tape with single bars and whole days missing: a gap is no bar."""
    there = rng.random(tape.n) >= share
    for first in rng.integers(0, tape.n, size=3):
        there[first : first + int(rng.integers(20, 60))] = False
    there[0] = True
    return replace(
        tape,
        time=tape.time[there],
        inputs=np.ascontiguousarray(tape.inputs[:, there]),
        funding_due=tape.funding_due[there],
    )


def _runs(rng: np.random.Generator, n: int) -> FloatArray:
    """Return flags that come in runs, among them the first bars."""
    flags = np.zeros(n, bool)
    for first in [0, *rng.integers(0, n, size=8)]:
        flags[first : first + int(rng.integers(1, 7))] = True
    return flags
