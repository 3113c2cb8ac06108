"""Worlds without an edge: consistent candles, the looks that they are made for, and nothing to be known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from research_lab.bars import HOUR_MS, Bars, FloatArray
from research_lab.errors import InsufficientError
from research_lab.market_data import null_worlds, worlds
from research_lab.market_data.quality import check
from research_lab.market_data.worlds import World

N = 20_000
N_RESEARCH = 12_000
REAL = worlds.planted(11, 15_000, 0.2).bars  # candles with a strong trend, which shuffling must take away


def made(kind: str, seed: int) -> World:
    return {
        "clustered": lambda: null_worlds.clustered(seed, N),
        "drifting": lambda: null_worlds.drifting(seed, N),
        "seasonal": lambda: null_worlds.seasonal(seed, N, N_RESEARCH),
        "resampled": lambda: null_worlds.resampled(REAL, seed, N),
    }[kind]()


KINDS = ("clustered", "drifting", "seasonal", "resampled")


def returns(bars: Bars) -> FloatArray:
    return bars.close[1:] / bars.close[:-1] - 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_candles_are_consistent_and_the_same_seed_gives_the_same(kind: str) -> None:
    one, two, other = made(kind, 3), made(kind, 3), made(kind, 4)
    assert check(one.bars).passed and one.kind == kind and one.bars.market.perpetual
    assert one.bars.snapshot == two.bars.snapshot != other.bars.snapshot


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_is_what_it_should_be(kind: str) -> None:
    sharpes = []
    for seed in range(12):
        r = returns(made(kind, seed).bars)
        sharpes.append(r.mean() / r.std() * math.sqrt(8_760))
    spread = 1.0 / math.sqrt(N / 8_760) / math.sqrt(12)
    wanted = null_worlds.HOLD_SHARPE if kind == "drifting" else 0.0
    assert abs(np.mean(sharpes) - wanted) < 4 * spread


def test_a_season_is_lucky_in_the_research_and_gone_afterwards() -> None:
    inside, outside = [], []
    for seed in range(6):
        bars = made("seasonal", seed).bars
        r = bars.close / bars.open - 1.0
        week = bars.time // HOUR_MS % 168
        best = max(range(168), key=lambda h: t_of(r[:N_RESEARCH][week[:N_RESEARCH] == h]))
        inside.append(t_of(r[:N_RESEARCH][week[:N_RESEARCH] == best]))
        outside.append(t_of(r[N_RESEARCH:][week[N_RESEARCH:] == best]))
    assert min(inside) > 2.5 and abs(np.mean(outside)) < 2.0
    size = np.array([np.abs(r[bars.time // HOUR_MS % 24 == h]).mean() for h in range(24)])
    assert size.max() / size.min() > 1.8


def t_of(x: FloatArray) -> float:
    return float(x.mean() / x.std(ddof=1) * math.sqrt(len(x)))


def test_resampling_takes_a_trend_away_and_keeps_the_clusters() -> None:
    long = 200
    trend, shuffled = (np.diff(np.log(b.close[::long])) for b in (REAL, made("resampled", 1).bars))
    assert np.abs(trend).mean() > 1.3 * np.abs(shuffled).mean()  # with a trend distant moves add up
    size = np.abs(returns(made("resampled", 1).bars))
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1
    with pytest.raises(InsufficientError, match="at least 1,000"):
        null_worlds.resampled(REAL.window(0, 500), 1, 100)
