"""Random-entry twins: the engine's own accounts, what they share with the candidate, and what their p is worth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_lab.bars import DAY_MS, Bars, Market
from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.backtest import TRADE, Backtest, backtest, daily_returns
from research_lab.engine.jit import FloatArray
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.market_data import worlds
from research_lab.scoring.scorer import sharpe_of
from research_lab.validation import random_twin
from research_lab.validation.random_twin import random_twins
from tests.oracles.selection import slow_twin_equity

HOURS = 24 * 120
TERMS = Terms(fee=0.001, slippage=0.0005)
TEXT = """spec: 1
name: plain
hypothesis: Whatever rises goes on.
timeframe: 1h
side: {side}
enter_long: close > prev(close, 5)
exit_long: close < prev(close, 3)
{short}size: {{fraction: 0.8}}
"""
LONG = TEXT.format(side="long", short="")
BOTH = TEXT.format(
    side="both", short="enter_short: close < prev(close, 5)\nexit_short: close > prev(close, 3)\n"
)


def market(seed: int = 1, *, funded: bool = False) -> Bars:
    bars = worlds.noise(seed, HOURS).bars
    if not funded:
        return bars
    due = np.where(np.arange(bars.n) % 8 == 0, np.random.default_rng(seed).normal(0.0005, 0.001, bars.n), 0.0)
    return replace(bars, market=Market("synthetic", "BTC/USDT", True), funding_due=due)


def run(text: str, bars: Bars, terms: Terms = TERMS) -> Backtest:
    return backtest(compile_spec(parse_spec(text)), bars, terms)


def replayed(bars: Bars, result: Backtest, terms: Terms) -> FloatArray:
    """Return the daily returns of the twin that enters when the candidate does."""
    trades = result.trades
    before = np.concatenate([[1.0], result.equity])[trades["entry_bar"]]
    days = bars.time // DAY_MS
    ends = np.searchsorted(days, np.arange(days[0], days[-1] + 1), side="right") - 1
    daily = np.empty((1, ends.shape[0]))
    random_twin._run(
        trades["entry_bar"].reshape(1, -1).astype(np.int64),
        (trades["exit_bar"] - trades["entry_bar"]).reshape(1, -1).astype(np.int64),
        (trades["side"] * trades["quantity"] * trades["entry_price"] / before).reshape(1, -1),
        bars.open.copy(),
        bars.close.copy(),
        np.cumsum(bars.funding_due * bars.open),
        np.array([terms.fee, terms.slippage]),
        ends,
        daily,
    )
    return np.asarray(daily[0])


@pytest.mark.parametrize(
    ("text", "terms", "funded", "apart"),
    [
        (LONG, TERMS, False, 1e-6),
        # Where a position is turned at one open, its size is known only beside the equity of the close before.
        (BOTH, Terms(0.0006, 0.0003, leverage=3.0, perpetual=True), True, 1e-4),
    ],
)
def test_the_twin_that_enters_with_the_candidate_has_the_engines_returns(
    text: str, terms: Terms, funded: bool, apart: float
) -> None:
    bars = market(funded=funded)
    result = run(text, bars, terms)
    _, expected = daily_returns(bars.time, result.equity)
    assert result.trades.shape[0] > 100
    last = int(result.trades["exit_bar"][-1]) // 24  # what is still open has no trade
    np.testing.assert_allclose(replayed(bars, result, terms)[:last], expected[:last], atol=apart)


@given(seed=st.integers(0, 1000), funded=st.booleans())
@settings(max_examples=15)
def test_twins_have_the_accounts_of_the_slow_definition(seed: int, funded: bool) -> None:
    bars = market(2, funded=funded)
    rng = np.random.default_rng(seed)
    held = rng.choice([0, 1, 3, 30], 25).astype(np.int64)
    sized = rng.uniform(0.1, 1.5, 25) * rng.choice([-1.0, 1.0], 25)
    order, entries = random_twin._shuffled(held, bars.n, 1, rng)
    days = bars.time // DAY_MS
    ends = np.searchsorted(days, np.arange(days[0], days[-1] + 1), side="right") - 1
    daily = np.empty((1, ends.shape[0]))
    opens, closes = bars.open.copy(), bars.close.copy()
    owed = np.cumsum(bars.funding_due * opens)
    random_twin._run(
        entries, held[order], sized[order], opens, closes, owed, np.array([0.001, 0.002]), ends, daily
    )
    plan = list(zip(entries[0].tolist(), held[order[0]].tolist(), sized[order[0]].tolist(), strict=True))
    slow = slow_twin_equity(plan, opens, closes, bars.funding_due, 0.001, 0.002)
    np.testing.assert_allclose(np.cumprod(1 + daily[0]), slow[ends], rtol=1e-9)


@given(seed=st.integers(0, 1000), held=st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_twins_have_the_candidates_trades_one_after_the_other(seed: int, held: list[int]) -> None:
    bars = np.array(held, dtype=np.int64)
    n_bars = int(np.maximum(bars, 1).sum()) + 50
    order, entries = random_twin._shuffled(bars, n_bars, 5, np.random.default_rng(seed))
    for places, begins in zip(order, entries, strict=True):
        assert sorted(places) == list(range(len(held)))
        ends = begins + np.maximum(bars[places], 1)
        assert begins[0] >= 0 and ends[-1] <= n_bars
        assert (begins[1:] >= ends[:-1]).all()


def test_entries_fall_everywhere_alike() -> None:
    held = np.full(10, 20, dtype=np.int64)
    _, entries = random_twin._shuffled(held, 1000, 4000, np.random.default_rng(1))
    share, _ = np.histogram(entries, bins=10, range=(0, 981))  # the last trade needs 20 bars
    assert share / entries.size == pytest.approx(0.1, abs=0.008)


def test_an_entry_that_knows_is_told_from_its_twins_and_a_blind_one_is_not() -> None:
    bars = market(3)
    ahead = np.flatnonzero(bars.close[1:-30] * 1.01 < bars.close[13:-18])[::40]
    percentiles = []
    for entries in (ahead, np.random.default_rng(2).permutation(np.arange(0, bars.n - 40, 40))[: ahead.size]):
        trades = np.zeros(entries.size, TRADE)
        trades["entry_bar"], trades["exit_bar"] = np.sort(entries) + 1, np.sort(entries) + 13
        trades["side"], trades["quantity"], trades["entry_price"] = 1, 0.5, 1.0
        result = Backtest(
            np.ones(bars.n), np.zeros(bars.n), np.zeros(bars.n, int), trades, trades, {}, 0, np.zeros(1)
        )
        twins = random_twins(bars, trades, np.ones(bars.n), TERMS, n_twins=300)
        percentiles.append(twins.percentile(sharpe_of(replayed(bars, result, TERMS))))
    assert percentiles[0] > 0.99
    assert 0.02 < percentiles[1] < 0.98


def test_of_a_candidate_that_knows_nothing_the_p_is_uniform() -> None:
    found, bars = [], market(5)
    for seed in range(120):
        rng = np.random.default_rng(seed)
        held = rng.integers(1, 40, 30)
        order, entries = random_twin._shuffled(held, bars.n, 1, rng)
        trades = np.zeros(30, TRADE)
        trades["entry_bar"] = entries[0]
        trades["exit_bar"] = np.minimum(entries[0] + held[order[0]], bars.n - 1)
        trades["side"], trades["quantity"], trades["entry_price"] = 1, 0.5, 1.0
        result = Backtest(
            np.ones(bars.n), np.zeros(bars.n), np.zeros(bars.n, int), trades, trades, {}, 0, np.zeros(1)
        )
        twins = random_twins(bars, trades, np.ones(bars.n), TERMS, n_twins=99, seed=seed)
        found.append(twins.p(sharpe_of(replayed(bars, result, TERMS))))
    assert np.mean(found) == pytest.approx(0.5, abs=0.09)
    assert (np.array(found) <= 0.1).mean() < 0.1 + 3 * math.sqrt(0.09 / 120)


def test_costs_are_paid_by_twins_too() -> None:
    bars = market()
    result = run(LONG, bars)
    free = random_twins(bars, result.trades, result.equity, Terms(0.0, 0.0), n_twins=50)
    paid = random_twins(bars, result.trades, result.equity, TERMS, n_twins=50)
    assert (paid.sharpes < free.sharpes).all()
    assert paid.mean_daily.sum() < free.mean_daily.sum()


def test_the_same_seed_gives_the_same_bytes_however_many_are_made_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bars = market()
    result = run(LONG, bars)
    whole = random_twins(bars, result.trades, result.equity, TERMS, n_twins=20, seed=3)
    monkeypatch.setattr(random_twin, "_CELLS", 1)
    single = random_twins(bars, result.trades, result.equity, TERMS, n_twins=20, seed=3)
    assert whole.sharpes.tobytes() == single.sharpes.tobytes()
    assert whole.mean_daily.tobytes() == single.mean_daily.tobytes()
    other = random_twins(bars, result.trades, result.equity, TERMS, n_twins=20, seed=4)
    assert other.sharpes.tobytes() != whole.sharpes.tobytes()


def test_a_ruined_twin_stays_at_nothing() -> None:
    bars = market()
    trades = np.zeros(1, TRADE)
    trades["exit_bar"], trades["side"], trades["quantity"], trades["entry_price"] = 500, -1, 1000.0, 1.0
    twins = random_twins(bars, trades, np.ones(bars.n), TERMS, n_twins=20)
    assert np.isfinite(twins.sharpes).all() and np.isfinite(twins.mean_daily).all()


def test_without_trades_or_twins_there_is_an_error() -> None:
    bars = market()
    with pytest.raises(InsufficientError):
        random_twins(bars, np.empty(0, TRADE), np.ones(bars.n), TERMS)
    with pytest.raises(UsageError):
        random_twins(bars, np.empty(0, TRADE), np.ones(bars.n), TERMS, n_twins=0)


def test_nan_has_no_place_among_twins() -> None:
    bars = market()
    result = run(LONG, bars)
    twins = random_twins(bars, result.trades, result.equity, TERMS, n_twins=9)
    assert math.isnan(twins.percentile(math.nan)) and math.isnan(twins.p(math.nan))
    assert twins.p(math.inf) == 0.1 and twins.percentile(math.inf) == 1.0
