"""Synthetic worlds: consistent candles, no edge in noise, the planted edge as strong as asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_lab.bars import DAY_MS, HOUR_MS, Bars, FloatArray
from research_lab.errors import InsufficientError, UsageError
from research_lab.market_data.quality import check
from research_lab.market_data.worlds import noise, planted, planted_with_sharpe

SIX_YEARS = 52_560
COST = 0.0015  # a side


def returns(bars: Bars) -> FloatArray:
    return bars.close[1:] / bars.close[:-1] - 1.0


def autocorrelation(x: FloatArray, lag: int) -> float:
    x = x - x.mean()
    return float((x[lag:] * x[:-lag]).mean() / x.var())


def slow_ema(x: FloatArray, span: int) -> FloatArray:
    """Plain Python: from the first value, NaN until `span` values were seen."""
    out = np.empty(len(x))
    y = x[0]
    for t, value in enumerate(x):
        y += 2.0 / (span + 1.0) * (value - y)
        out[t] = y if t + 1 >= span else np.nan
    return out


def oracle(bars: Bars) -> tuple[float, int]:
    """Sharpe ratio a year and number of trades of: long while ema 24 > ema 96, filled at the next open."""
    with np.errstate(invalid="ignore"):
        above = (slow_ema(bars.close, 24) > slow_ema(bars.close, 96)).astype(float)
    held = np.concatenate(([0.0], above[:-1]))  # from the open of each bar on
    traded = np.abs(np.diff(held, prepend=0.0))
    earned = (held * (np.append(bars.open[1:], bars.close[-1]) / bars.open - 1.0)) - COST * traded
    return float(earned.mean() / earned.std() * math.sqrt(365 * 24)), int(traded.sum() / 2)


def sharpe_of(bars: Bars) -> float:
    return oracle(bars)[0]


@pytest.mark.parametrize("strength", [0.0, 0.05, -0.05])
def test_candles_are_consistent(strength: float) -> None:
    bars = planted(4, 5_000, strength).bars
    assert check(bars).passed
    assert (bars.high > bars.low).all() and (bars.volume > 0.0).all()
    assert bars.inputs.flags.c_contiguous
    gaps = bars.open[1:] / bars.close[:-1] - 1.0
    assert 0.0 < np.abs(gaps).mean() < 0.05 * np.abs(returns(bars)).mean()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    assert planted(5, 2_000, 0.05).bars.snapshot == planted(5, 2_000, 0.05).bars.snapshot
    assert noise(5, 2_000).bars.snapshot != noise(6, 2_000).bars.snapshot


def test_a_plant_of_no_strength_is_noise() -> None:
    assert planted(5, 2_000, 0.0).bars.snapshot == noise(5, 2_000).bars.snapshot


@given(n=st.integers(1, 700), strength=st.sampled_from([0.0, 0.06]))
@settings(max_examples=20)
def test_a_longer_world_begins_with_the_shorter_one(n: int, strength: float) -> None:
    longer, shorter = planted(8, 700, strength).bars, planted(8, n, strength).bars
    assert longer.window(0, n).snapshot == shorter.snapshot


def test_noise_looks_like_a_market() -> None:
    worlds = [returns(noise(seed, SIX_YEARS).bars) for seed in range(4)]
    for r in worlds:
        assert 0.004 < r.std() < 0.008
        assert abs(autocorrelation(r, 1)) < 0.03
        kurtosis = float(((r - r.mean()) ** 4).mean() / r.var() ** 2)
        assert 6.0 < kurtosis < 60.0
        assert autocorrelation(np.abs(r), 1) > 0.1
        assert autocorrelation(np.abs(r), 24) > 0.05
    bars = noise(0, SIX_YEARS).bars
    assert np.corrcoef(np.log(bars.volume[1:]), np.abs(worlds[0]))[0, 1] > 0.3


def test_noise_has_no_drift_and_no_momentum() -> None:
    """Over 40 worlds each statistic is a mean of z-scores, so its own standard deviation is 1 / sqrt(40)."""
    drift, momentum, after_high = [], [], []
    for seed in range(40):
        bars = noise(100 + seed, 10_000).bars
        r = returns(bars)
        drift.append(r.mean() / r.std() * math.sqrt(len(r)))
        with np.errstate(invalid="ignore"):
            side = np.sign(slow_ema(bars.close, 24) - slow_ema(bars.close, 96))[:-1]
        x = np.nan_to_num(side) * r
        momentum.append(x.mean() / x.std() * math.sqrt(len(x)))
        # Where in its range a bar closed tells nothing about the next one: the path inside is fair too.
        place = (2 * bars.close - bars.high - bars.low)[:-1] / (bars.high - bars.low)[:-1]
        y = place * r
        after_high.append(y.mean() / y.std() * math.sqrt(len(y)))
    for scores in (drift, momentum, after_high):
        assert abs(np.mean(scores)) < 3.3 / math.sqrt(40)


def test_volatility_grows_with_the_root_of_the_grid() -> None:
    hourly, daily = noise(1, 20_000), noise(1, 20_000, DAY_MS)
    ratio = returns(daily.bars).std() / returns(hourly.bars).std()
    assert 0.6 * math.sqrt(24) < ratio < 1.6 * math.sqrt(24)
    assert daily.bars.timeframe == "1d"


def test_the_drift_has_the_sign_of_the_averages_and_the_size_asked_for() -> None:
    """The same random numbers with and without drift differ, bar by bar, by strength * sigma * side."""
    strength, n = 0.05, 20_000
    bars = planted(9, n, strength).bars
    plain = noise(9, n).bars
    with np.errstate(invalid="ignore"):
        side = np.nan_to_num(np.sign(slow_ema(bars.close, 24) - slow_ema(bars.close, 96)))
    inside = bars.close / bars.open - plain.close / plain.open
    assert np.abs(inside[:96]).max() < 1e-12
    assert (np.sign(inside[97:]) == side[96:-1]).mean() > 0.9999
    local = np.array([returns(plain)[max(0, t - 500) : t + 500].std() for t in range(100, n, 100)])
    assert np.abs(inside[100::100] / local).mean() == pytest.approx(strength, rel=0.1)


def test_the_plant_is_an_edge_and_its_opposite_is_none() -> None:
    worlds = [planted(seed, SIX_YEARS, 0.055).bars for seed in range(3)]
    assert all(sharpe_of(bars) > 1.0 for bars in worlds)
    assert all(100 <= oracle(bars)[1] <= 600 for bars in worlds)
    assert sharpe_of(planted(0, SIX_YEARS, -0.055).bars) < -1.0


@pytest.mark.parametrize("sharpe", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("seed", [11, 1010])  # halving ends at a jump in the second
def test_the_oracle_earns_what_was_asked_for(seed: int, sharpe: float) -> None:
    n_measured = 31_536
    world = planted_with_sharpe(seed, 40_000, sharpe, sharpe_of, n_measured)
    assert world.bars.n == 40_000
    measured = sharpe_of(world.bars.window(0, n_measured))
    assert measured == world.oracle_sharpe
    assert abs(measured - sharpe) <= 0.01


def test_what_no_strength_gives_is_said() -> None:
    with pytest.raises(InsufficientError, match="no strength gives a Sharpe ratio of 1000"):
        planted_with_sharpe(1, 2_000, 1_000.0, lambda bars: 0.5, 2_000)
    with pytest.raises(InsufficientError, match="is not finite"):
        planted_with_sharpe(1, 2_000, 1.0, lambda bars: math.nan, 2_000)


def test_nonsense_is_refused() -> None:
    with pytest.raises(UsageError, match="make no world"):
        noise(1, 0)
    with pytest.raises(UsageError, match="not on the grid"):
        noise(1, 10, HOUR_MS, 1)
    for strength in (1.5, math.nan):
        with pytest.raises(UsageError, match="strength"):
            planted(1, 10, strength)
    with pytest.raises(UsageError, match="fast <= slow"):
        planted(1, 10, 0.1, spans=(50, 20))
