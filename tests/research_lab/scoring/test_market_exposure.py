"""What holding earns is taken off: nothing is left of a drift, and all of an edge in timing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.bars import FloatArray
from research_lab.errors import UsageError
from research_lab.market_data import null_worlds
from research_lab.scoring.market_exposure import less_holding, market_daily

N = 1_400


def market(seed: int, drift: float) -> FloatArray:
    return drift + 0.03 * np.random.default_rng(seed).standard_normal(N)


def t_of(x: FloatArray) -> float:
    return float(x.mean() / x.std() * math.sqrt(len(x)))


@pytest.mark.parametrize("size", [0.2, 1.0, 2.5])
def test_of_holding_nothing_is_left(size: float) -> None:
    moves = market(1, 0.004)
    assert abs(less_holding(size * moves, moves).sum()) < 1e-12
    assert t_of(size * moves) > 3.0


def test_chance_long_half_of_the_time_earns_nothing_by_a_drift() -> None:
    raw, lessened = [], []
    for seed in range(60):
        moves = market(seed, 0.004)
        held = np.repeat(np.random.default_rng([seed, 1]).random(N // 7) < 0.5, 7)
        raw.append(t_of(held * moves))
        lessened.append(t_of(less_holding(held * moves, moves)))
    assert np.mean(raw) > 3.0
    assert abs(np.mean(lessened)) < 0.4 and np.std(lessened) < 1.1


def test_timing_keeps_what_it_earns() -> None:
    moves = market(3, 0.0)
    side = np.sign(moves + 0.3 * np.random.default_rng(4).standard_normal(N))
    edge = side * moves
    assert t_of(less_holding(edge, moves)) > 0.97 * t_of(edge)
    short = -0.5 * market(5, 0.004)
    np.testing.assert_array_equal(less_holding(short, market(5, 0.004)), short)  # a loss is not given back


@given(st.integers(0, 1_000), st.floats(-0.01, 0.01))
def test_flat_days_stay_flat_and_nobody_gains(seed: int, drift: float) -> None:
    random = np.random.default_rng(seed)
    moves = market(seed, drift)
    table = random.choice([-1.0, 0.0, 1.0], (N, 3)) * moves[:, None]
    table[:10, 1] = np.nan
    found = less_holding(table, moves)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(table))
    np.testing.assert_array_equal(found[table == 0.0], 0.0)
    assert (np.nan_to_num(found) <= np.nan_to_num(table)).all()
    np.testing.assert_allclose(found[:, 0], less_holding(table[:, 0], moves), rtol=1e-12, atol=1e-15)


def test_the_market_by_days_and_a_wrong_number_of_days() -> None:
    bars = null_worlds.clustered(1, 24 * 40).bars
    first, moves = market_daily(bars)
    assert first == bars.time[0] // 86_400_000 and moves.shape == (40,)
    assert np.prod(1.0 + moves) == pytest.approx(bars.close[-1] / bars.open[0])
    with pytest.raises(UsageError, match="39 days of the market for 40"):
        less_holding(moves, moves[1:])
