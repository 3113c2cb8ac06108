"""A pool's returns are the mean over its markets by day, and a look at it is a look at each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from research_lab.bars import Bars, Market
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.market_data import worlds
from research_lab.market_data.lake import common_border, divide
from research_lab.scoring.pooled_scorer import PooledScorer, daily_metrics, pooled_daily
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.timeframe import DAY_MS
from tests.pipelines import small_campaign as small

EMA = parse_spec(small.EMA)
TERMS = Terms(fee=0.0005, slippage=0.0002)
SYMBOLS = ("AAA/USDT", "BBB/USDT", "CCC/USDT")


def noise(symbol: str, n_days: int, seed: int, first: int = 0) -> Bars:
    whole = worlds.noise(seed, n_days * 24).bars.window(first * 24, n_days * 24)
    return replace(whole, market=Market("synthetic", symbol))


def pool_of(folder: Path, tables: list[Bars]) -> PooledScorer:
    ledger = TrialLedger(folder)
    return PooledScorer(tuple(Scorer(ledger, bars, TERMS, None, "c") for bars in tables))


@pytest.fixture
def pool(tmp_path: Path) -> PooledScorer:
    """Three markets: the second begins 40 days later, the third ends 30 days earlier."""
    tables = [noise(SYMBOLS[0], 120, 1), noise(SYMBOLS[1], 120, 2, first=40), noise(SYMBOLS[2], 90, 3)]
    return pool_of(tmp_path, tables)


def slow_mean(parts: list[tuple[int, np.ndarray]]) -> dict[int, float]:
    """By day, one after the other: the mean over the markets that have it."""
    days = {first + k for first, daily in parts for k in range(len(daily))}
    found = {}
    for day in range(min(days), max(days) + 1):
        values = [daily[day - first] for first, daily in parts if 0 <= day - first < len(daily)]
        found[day] = sum(values) / len(values) if values else 0.0
    return found


daily = st.integers(1, 40).flatmap(lambda n: arrays(np.float64, n, elements=st.floats(-0.5, 0.5)))
returns = st.lists(st.tuples(st.integers(0, 30), daily), min_size=1, max_size=5)


@given(returns)
def test_pooled_returns_are_the_mean_by_day(parts: list[tuple[int, np.ndarray]]) -> None:
    first, daily = pooled_daily(parts)
    wanted = slow_mean(parts)
    assert first == min(wanted)
    assert daily == pytest.approx(list(wanted.values()), rel=1e-12, abs=1e-15)


def test_a_pools_score_is_the_mean_of_its_markets_scores(pool: PooledScorer) -> None:
    score = pool.score([EMA])[0]
    single = [member.score([EMA])[0] for member in pool.members]
    wanted = slow_mean([(one.first_day, one.daily) for one in single])
    assert score.first_day == min(wanted)
    assert score.daily == pytest.approx(list(wanted.values()), rel=1e-12, abs=1e-15)
    assert score.daily[:40] == pytest.approx((single[0].daily[:40] + single[2].daily[:40]) / 2)
    assert score.daily[90:] == pytest.approx((single[0].daily[90:] + single[1].daily[50:]) / 2)
    assert score.metrics["n_trades"] == sum(one.metrics["n_trades"] for one in single)
    worth = np.cumprod(1.0 + score.daily)
    assert score.metrics["return"] == pytest.approx(worth[-1] - 1.0)
    peak = np.maximum.accumulate(np.concatenate([[1.0], worth]))[1:]
    assert score.metrics["max_drawdown"] == pytest.approx((1.0 - worth / peak).max())


def test_a_look_at_a_pool_is_a_look_at_each_market_and_counted_once(pool: PooledScorer) -> None:
    sets = [EMA.bind(values) for values in EMA.grid()]
    pool.score(sets)
    pool.score(sets)
    assert [pool.ledger.n_looks(symbol, 0, 2**60) for symbol in SYMBOLS] == [len(sets)] * 3
    assert [score.spec.hash for score in pool.tried(EMA)] == [spec.hash for spec in sets]


def test_leaving_a_market_out_looks_at_it_and_does_not_show_it(pool: PooledScorer) -> None:
    left_out = pool.members[1]
    view = pool.without(left_out)
    score = view.score([EMA])[0]
    others = [member.score([EMA])[0] for member in (pool.members[0], pool.members[2])]
    assert score.daily == pytest.approx(list(slow_mean([(o.first_day, o.daily) for o in others]).values()))
    assert pool.ledger.n_looks(SYMBOLS[1], 0, 2**60) == 1
    assert [s.spec.hash for s in pool.tried(EMA)] == [EMA.hash]


def test_a_timeframe_that_one_market_lacks_stops_before_any_look(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [noise(symbol, 60, 1) for symbol in SYMBOLS])
    with pytest.raises(InsufficientError, match="finer than the data"):
        pool.score([EMA, parse_spec(small.FINE)])
    assert pool.ledger.every() == []


def test_a_symbol_twice_and_a_pool_of_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="AAA/USDT is in the pool twice"):
        pool_of(tmp_path, [noise(SYMBOLS[0], 60, 1), noise(SYMBOLS[0], 60, 2)])
    with pytest.raises(UsageError, match="a pool of one market"):
        pool_of(tmp_path, [noise(SYMBOLS[0], 60, 1)])


def test_metrics_of_daily_returns_by_hand() -> None:
    found = daily_metrics(np.array([0.1, -0.5, 0.2]))
    assert found["return"] == pytest.approx(1.1 * 0.5 * 1.2 - 1.0)
    assert found["max_drawdown"] == pytest.approx(0.5)
    assert found["sharpe"] == pytest.approx(
        np.mean([0.1, -0.5, 0.2]) / np.std([0.1, -0.5, 0.2], ddof=1) * 365**0.5
    )


def test_one_border_for_all_leaves_the_wanted_share_of_all_time_behind_it() -> None:
    long, short = noise("AAA/USDT", 400, 1), noise("BBB/USDT", 400, 2, first=200)
    border = common_border([long, short], 0.4, 0)
    # 600 market-days, 360 of them before: 200 of the long one alone, then two a day for 80 days.
    assert border == long.interval[0] + 280 * DAY_MS
    assert common_border([long], 0.4, 20 * DAY_MS) == divide(long, 0.4, 20 * DAY_MS).holdout.start_ms
