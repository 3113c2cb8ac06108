"""Stresses of a pool: of one market what they are of a market, of several what a plain account in pandas says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from research_lab.bars import DAY_MS, Bars, Market
from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.backtest import TRADE, Backtest, backtest, daily_returns
from research_lab.engine.jit import FloatArray
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.market_data import worlds
from research_lab.scoring.scorer import sharpe_of
from research_lab.validation import pooled_twin
from research_lab.validation.capacity import capacity, pooled_capacity
from research_lab.validation.pooled_robustness import (
    drop_times,
    pooled_cost_curve,
    pooled_one_bar_late,
    pooled_with_bars_dropped,
    pooled_with_start_shifted,
    pooled_without_best_trades,
)
from research_lab.validation.pooled_twin import pooled_twins
from research_lab.validation.robustness import (
    Stage,
    delayed,
    drop_bars,
    trade_gains,
    with_bars_dropped,
    with_start_shifted,
    without_best_trades,
)
from tests.research_lab.validation.test_random_twin import replayed
from tests.research_lab.validation.test_robustness import TERMS, TEXT

N_DAYS = 200
SPEC = parse_spec(TEXT)


def market(seed: int, *, first_day: int = 0, strength: float = 0.2) -> Bars:
    """Return hours of a market whose history begins some days after that of the others."""
    bars = worlds.planted(seed, N_DAYS * 24, strength, spans=(8, 32)).bars
    named = replace(bars, market=Market("synthetic", f"M{seed}/USDT"))
    return named.window(first_day * 24, named.n)


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    """Three markets, the last with a shorter history."""
    return [
        Stage(SPEC, market(3), TERMS),
        Stage(SPEC, market(4), TERMS),
        Stage(SPEC, market(5, first_day=70), TERMS),
    ]


@pytest.fixture(scope="module")
def results(stages: list[Stage]) -> list[Backtest]:
    return [stage.run() for stage in stages]


def worth(equities: list[pd.Series], since: list[int] | None = None) -> float:
    """Return the Sharpe ratio of equal shares by pandas: daily means of those that have the day."""
    columns = []
    for k, equity in enumerate(equities):
        daily = equity.resample("1D").last().ffill()
        returns = daily / daily.shift(1, fill_value=1.0) - 1.0
        columns.append(
            returns if since is None else returns[returns.index >= pd.Timestamp(since[k], unit="D")]
        )
    pool = pd.concat(columns, axis=1).mean(axis=1)
    return float(pool.mean() / pool.std() * math.sqrt(365))


def series(bars: Bars, equity: FloatArray) -> pd.Series:
    return pd.Series(equity, pd.to_datetime(bars.time, unit="ms"))


def test_of_one_market_each_stress_is_what_it_is_of_a_market(
    stages: list[Stage], results: list[Backtest]
) -> None:
    stage, result = stages[0], results[0]

    def daily(run: Backtest) -> float:
        return sharpe_of(daily_returns(stage.bars.time, run.equity)[1])

    assert pooled_one_bar_late([stage]) == daily(stage.run(spec=delayed(SPEC)))
    assert [level.sharpe for level in pooled_cost_curve([stage])] == [
        daily(stage.at_costs(multiple)) for multiple in (0.0, 0.5, 1.0, 2.0, 3.0)
    ]
    assert pooled_with_start_shifted([stage]).tolist() == with_start_shifted(stage).tolist()
    rngs = [np.random.default_rng(7), np.random.default_rng(7)]
    (dropped,) = drop_times([stage.bars], 0.1, rngs[0])
    assert dropped.time.tolist() == drop_bars(stage.bars, 0.1, rngs[1]).time.tolist()
    assert pooled_with_bars_dropped([stage], 7) == pytest.approx(with_bars_dropped(stage, 7), rel=0.2)
    assert pooled_without_best_trades([stage], [result])[1] == pytest.approx(
        without_best_trades(result, stage.bars)[1], rel=1e-9
    )
    assert pooled_capacity([(result, stage.bars)]) == capacity(result, stage.bars)


def test_an_outage_takes_the_same_times_from_every_market(stages: list[Stage]) -> None:
    tables = [stage.bars for stage in stages]
    left = drop_times(tables, 0.2, np.random.default_rng(1))
    gone = [
        set(bars.time.tolist()) - set(kept.time.tolist()) for bars, kept in zip(tables, left, strict=True)
    ]
    assert len(gone[0]) > 800
    assert gone[0] == gone[1]
    assert gone[2] == {t for t in gone[0] if t >= tables[2].time[0]}


def test_bars_dropped_and_later_starts_are_those_of_a_plain_account(stages: list[Stage]) -> None:
    rng, found = np.random.default_rng(5), pooled_with_bars_dropped(stages, 5)
    for sharpe in found:
        tables = drop_times([stage.bars for stage in stages], 0.01, rng)
        runs = [series(b, backtest(compile_spec(SPEC), b, TERMS).equity) for b in tables]
        assert sharpe == pytest.approx(worth(runs), rel=1e-9)
    assert len(set(found.tolist())) == len(found)

    shifted = pooled_with_start_shifted(stages, (3, 10))
    since = [int(stage.bars.time[0]) // DAY_MS + 11 for stage in stages]
    for shift, sharpe in zip((0, 3, 10), shifted, strict=True):
        tables = [stage.bars.window(24 * shift, stage.bars.n) for stage in stages]
        runs = [series(b, backtest(compile_spec(SPEC), b, TERMS).equity) for b in tables]
        assert sharpe == pytest.approx(worth(runs, since), rel=1e-9)


def test_a_market_that_ends_before_the_last_shift_leaves_later_starts_unmeasured(stages: list[Stage]) -> None:
    short = replace(stages[1], bars=stages[1].bars.window(0, 24 * 20))
    found = pooled_with_start_shifted([stages[0], short])
    assert np.isnan(found).tolist() == [True] * 6  # no day of the short one is common to all


def test_the_best_trades_of_all_markets_are_taken_from_whom_they_are(
    stages: list[Stage], results: list[Backtest]
) -> None:
    gains = [trade_gains(result) for result in results]
    cut = np.sort(np.concatenate(gains))[-math.ceil(0.05 * sum(map(len, gains))) :].min()
    accounts = []
    for stage, result, gain in zip(stages, results, gains, strict=True):
        moves = pd.Series(result.equity).pct_change().fillna(result.equity[0] - 1.0).to_numpy().copy()
        for trade in result.trades[gain >= cut]:
            moves[trade["entry_bar"] : trade["exit_bar"] + 1] = 0.0
        accounts.append(series(stage.bars, np.cumprod(1.0 + moves)))
    sharpe, _ = pooled_without_best_trades(stages, results, 0.05)
    assert sharpe == pytest.approx(worth(accounts), rel=1e-9)
    assert sharpe < worth([series(s.bars, r.equity) for s, r in zip(stages, results, strict=True)])


def test_capacity_of_a_pool_is_the_money_at_which_impact_takes_half(
    stages: list[Stage], results: list[Backtest]
) -> None:
    """By the costs of every fill of a capital that is split evenly among the markets that are there."""
    runs = [(result, stage.bars) for stage, result in zip(stages, results, strict=True)]
    found = pooled_capacity(runs)
    joined = int(stages[2].bars.time[0])
    spent = earned = 0.0
    for result, bars in runs:
        share = np.where(bars.time >= joined, 1 / 3, 1 / 2)
        before = np.concatenate([[1.0], result.equity])
        earned += float((share * (result.equity / before[:-1] - 1.0)).sum())
        for fill in result.fills:
            t = int(fill["bar"])
            volume = float((bars.close[t - 24 : t] * bars.volume[t - 24 : t]).sum())
            sigma = math.sqrt((np.diff(np.log(bars.close[t - 25 : t])) ** 2).sum())
            money = abs(fill["quantity"]) * fill["price"] / before[t] * share[t] * found
            spent += sigma * math.sqrt(money / volume) * money / found
    assert spent == pytest.approx(0.5 * earned, rel=1e-6)
    twice = [runs[0], runs[0]]
    assert pooled_capacity(twice) == pytest.approx(
        2.0 * capacity(*runs[0])
    )  # two markets carry twice as much


def test_a_market_without_volume_leaves_the_capacity_unknown_and_one_without_fills_does_not(
    stages: list[Stage], results: list[Backtest]
) -> None:
    silent = stages[1].bars.inputs.copy()
    silent[4] = 0.0
    run = (results[0], stages[0].bars)
    assert math.isnan(pooled_capacity([run, (results[1], replace(stages[1].bars, inputs=silent))]))
    idle = replace(results[1], equity=np.ones(stages[1].bars.n), fills=results[1].fills[:0])
    assert pooled_capacity([run, (idle, stages[1].bars)]) == pytest.approx(2.0 * capacity(*run))


# Random-entry twins


def test_markets_that_are_one_have_the_twins_of_one(results: list[Backtest], stages: list[Stage]) -> None:
    """Luck is not spread over markets that do the same; twins drawn market by market would spread it."""
    run = (stages[0].bars, results[0], TERMS)
    one, four = pooled_twins([run], n_twins=60, seed=2), pooled_twins([run] * 4, n_twins=60, seed=2)
    np.testing.assert_allclose(four.sharpes, one.sharpes, rtol=1e-9)
    np.testing.assert_allclose(four.mean_daily, one.mean_daily, atol=1e-12)


def test_a_twin_is_the_candidate_begun_at_another_time(
    results: list[Backtest], stages: list[Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [(s.bars, r, TERMS) for s, r in zip(stages, results, strict=True)]
    whole = pooled_twins(runs, n_twins=30, seed=3)
    moves = np.random.default_rng(3).integers(1, N_DAYS * 24, 30)
    for k in (0, 17):
        accounts = []
        for bars, result, terms in runs:
            trades = result.trades.copy()
            before = np.concatenate([[1.0], result.equity])[trades["entry_bar"]]
            trades["quantity"] = trades["quantity"] * trades["entry_price"] / before
            trades["entry_price"] = 1.0
            held = trades["exit_bar"] - trades["entry_bar"]
            trades["entry_bar"] = (trades["entry_bar"] + moves[k]) % bars.n
            trades["exit_bar"] = trades["entry_bar"] + held
            plain = replace(result, equity=np.ones(bars.n), trades=np.sort(trades, order="entry_bar"))
            accounts.append(
                series(bars, np.repeat(np.cumprod(1.0 + replayed(bars, plain, terms)), 24)[-bars.n :])
            )
        assert whole.sharpes[k] == pytest.approx(worth(accounts), rel=1e-6)
    monkeypatch.setattr(pooled_twin, "_CELLS", 1)
    single = pooled_twins(runs, n_twins=30, seed=3)
    assert (single.sharpes.tobytes(), single.mean_daily.tobytes()) == (
        whole.sharpes.tobytes(),
        whole.mean_daily.tobytes(),
    )


def test_among_its_twins_a_pool_that_knows_stands_out_and_luck_at_once_on_all_markets_does_not() -> None:
    found = []
    for seed in range(60):
        bars = worlds.noise(seed % 6, 120 * 24).bars
        rng = np.random.default_rng(seed)
        trades = np.zeros(25, TRADE)
        trades["entry_bar"] = np.sort(rng.choice(bars.n // 40, 25, replace=False)) * 40
        trades["exit_bar"] = trades["entry_bar"] + 20
        trades["side"], trades["quantity"], trades["entry_price"] = 1, 0.5, 1.0
        run = _result(bars, trades)
        twins = pooled_twins([(bars, run, TERMS)] * 4, n_twins=99, seed=seed)
        found.append(twins.p(sharpe_of(replayed(bars, run, TERMS))))
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)
    assert (np.array(found) <= 0.1).mean() <= 0.1 + 3 * math.sqrt(0.09 / 60)

    knows = [market(seed, strength=0.4) for seed in (3, 4)]
    runs = [(bars, backtest(compile_spec(SPEC), bars, Terms()), Terms()) for bars in knows]
    own = worth([series(bars, result.equity) for bars, result, _ in runs])
    assert pooled_twins(runs, n_twins=200).p(own) <= 0.02


def test_without_a_trade_anywhere_or_without_twins_there_is_an_error(stages: list[Stage]) -> None:
    bars = stages[0].bars
    idle = _result(bars, np.empty(0, TRADE))
    with pytest.raises(InsufficientError):
        pooled_twins([(bars, idle, TERMS)] * 2)
    with pytest.raises(UsageError):
        pooled_twins([(bars, idle, TERMS)] * 2, n_twins=0)
    some = stages[1].run()
    with_idle = pooled_twins([(bars, idle, TERMS), (stages[1].bars, some, TERMS)], n_twins=20)
    alone = pooled_twins([(stages[1].bars, some, TERMS)], n_twins=20)
    np.testing.assert_allclose(with_idle.sharpes, alone.sharpes, rtol=1e-9)  # half of it, as risky by half


def _result(bars: Bars, trades: np.ndarray) -> Backtest:
    none = np.zeros(bars.n)
    return Backtest(np.ones(bars.n), none, none.astype(int), trades, trades, {}, 0, np.zeros(1))
