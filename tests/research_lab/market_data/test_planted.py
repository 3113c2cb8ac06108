"""Planted edges: as strong as asked for, measured by a backtest of its own; nothing where nothing is planted."""

from __future__ import annotations

import numpy as np
import pytest

from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.backtest import backtest
from research_lab.engine.slot import Compiled
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.market_data import planted, worlds
from research_lab.market_data.planted import Plan, planted_by, planted_together
from research_lab.market_data.quality import check

N = 12_000
TERMS = Terms(fee=0.0005, slippage=0.0005, leverage=3.0, perpetual=True)
SIDES = """
spec: 1
name: oracle
hypothesis: it holds by construction
timeframe: 1h
side: both
enter_long: {long}
exit_long: {out_of_long}
enter_short: {short}
exit_short: {out_of_short}
stop: 6 * atr(24)
time_stop: 48
size: {{fraction: 0.9}}
"""
ORACLES = {
    "momentum": ("ema(close, 24) > ema(close, 96)", "ema(close, 24) < ema(close, 96)"),
    "reversion": ("zscore(close, 48) < -1.5", "zscore(close, 48) > 0"),
    "funding": ("funding < quantile(funding, 240, 0.1)", "funding > quantile(funding, 240, 0.5)"),
}
MIRRORS = {
    "momentum": ("ema(close, 24) < ema(close, 96)", "ema(close, 24) > ema(close, 96)"),
    "reversion": ("zscore(close, 48) > 1.5", "zscore(close, 48) < 0"),
    "funding": ("funding > quantile(funding, 240, 0.9)", "funding < quantile(funding, 240, 0.5)"),
}


def oracle(name: str) -> Compiled:
    (long, out_of_long), (short, out_of_short) = ORACLES[name], MIRRORS[name]
    text = SIDES.format(long=long, out_of_long=out_of_long, short=short, out_of_short=out_of_short)
    return compile_spec(parse_spec(text))


@pytest.mark.parametrize("name", ORACLES)
def test_the_oracle_earns_what_was_asked_for(name: str) -> None:
    world = planted_by(oracle(name), TERMS, 3, N, Plan(3.0, 0, N - 1_000))
    found = backtest(oracle(name), world.bars.window(0, N - 1_000), TERMS).metrics["sharpe"]
    assert found == pytest.approx(world.oracle_sharpe, abs=1e-9)
    assert found == pytest.approx(3.0, abs=planted.TOLERANCE)
    assert check(world.bars).passed


def test_an_edge_that_dies_leaves_the_noise_behind() -> None:
    alive = planted_by(oracle("momentum"), TERMS, 5, N, Plan(3.0, 0, N // 2))
    dead = planted_by(oracle("momentum"), TERMS, 5, N, Plan(3.0, 0, N // 2, until=N // 2))
    assert dead.strength == alive.strength
    np.testing.assert_array_equal(dead.bars.inputs[:, : N // 2], alive.bars.inputs[:, : N // 2])
    weather = worlds.draw(5, N, dead.bars.step_ms, worlds.START_MS)
    after = dead.bars.close[N // 2 :] / dead.bars.open[N // 2 :] - 1.0
    np.testing.assert_allclose(after, np.prod(1.0 + weather.steps[N // 2 :], axis=1) - 1.0, atol=1e-12)
    before = dead.bars.close[: N // 2] / dead.bars.open[: N // 2] - 1.0
    assert np.abs(before - (np.prod(1.0 + weather.steps[: N // 2], axis=1) - 1.0)).max() > 1e-6


def test_the_same_seed_gives_the_same_bytes_and_the_sign_follows_the_wish() -> None:
    one, two = (planted_by(oracle("reversion"), TERMS, 7, N, Plan(2.0, 0, N)) for _ in range(2))
    assert one.bars.snapshot == two.bars.snapshot
    against = planted_by(oracle("reversion"), TERMS, 7, N, Plan(-4.0, 0, N))
    assert against.strength < 0.0 < one.strength


def test_what_cannot_be_planted_is_refused() -> None:
    with pytest.raises(UsageError, match="bars 10 to 5 of 100"):
        planted_by(oracle("momentum"), TERMS, 1, 100, Plan(1.0, 10, 5))
    with pytest.raises(InsufficientError, match="nearest"):
        planted_by(oracle("momentum"), TERMS, 1, 2_000, Plan(500.0, 0, 2_000))


def test_rates_fall_due_every_eight_hours_as_seen_before() -> None:
    world = planted_by(oracle("funding"), TERMS, 3, N, Plan(2.0, 0, N))
    due = np.flatnonzero(world.bars.funding_due)
    assert (world.bars.time[due] % (8 * world.bars.step_ms) == 0).all() and len(due) == N // 8 - 1
    np.testing.assert_array_equal(world.bars.funding_due[due], world.bars.funding[due - 1])
    assert abs(world.bars.funding.mean()) < 2e-5


@pytest.mark.parametrize("names", [["momentum"], ["momentum", "reversion", "funding"]])
def test_the_drift_of_a_bar_is_that_of_all_positions_held_in_it(names: list[str]) -> None:
    """Oracle: positions of a backtest on the finished candles, and the random numbers without any drift."""
    world = planted_together([oracle(name) for name in names], TERMS, 9, N, [Plan(2.0, 0, N)] * len(names))
    weather = worlds.draw(9, N, world.bars.step_ms, worlds.START_MS)
    held = np.sign([backtest(oracle(name), world.bars, TERMS).position for name in names])
    through = (held[:, 1:] == held[:, :-1]).all(axis=0)  # nobody opened or closed anything in the bar
    towards = (np.array(world.strengths) @ held[:, 1:]) * weather.sigma[1:] / weather.steps.shape[1]
    wanted = np.prod(1.0 + weather.steps[1:] + towards[:, None], axis=1) - 1.0
    found = world.bars.close[1:] / world.bars.open[1:] - 1.0
    moved = through & (towards != 0.0)
    assert moved.mean() > 0.1
    np.testing.assert_allclose(found[moved], wanted[moved], atol=1e-12)


def test_several_oracles_earn_together_what_was_asked_of_each() -> None:
    wanted = {"momentum": 2.0, "reversion": 3.0, "funding": 2.5}
    plans = [Plan(sharpe, 0, N) for sharpe in wanted.values()]
    world = planted_together([oracle(name) for name in wanted], TERMS, 11, N, plans)
    assert check(world.bars).passed
    for name, told in zip(wanted, world.sharpes, strict=True):
        found = backtest(oracle(name), world.bars, TERMS).metrics["sharpe"]
        assert found == pytest.approx(told, abs=1e-9)
        assert found == pytest.approx(wanted[name], abs=planted.TOLERANCE_TOGETHER)


def test_each_oracle_drifts_the_price_by_itself_until_its_own_end() -> None:
    """With opposite edges on the same days a world is not the sum of both, and an oracle may stop before the others."""
    plans = [Plan(2.0, 0, N), Plan(2.0, 0, N // 2, until=N // 2)]
    world = planted_together([oracle("momentum"), oracle("funding")], TERMS, 5, N, plans)
    alone = planted_by(oracle("momentum"), TERMS, 5, N, plans[0])
    assert world.strengths[1] > 0.0 and world.bars.snapshot != alone.bars.snapshot
    late = backtest(oracle("funding"), world.bars.window(N // 2, N), TERMS).metrics["sharpe"]
    assert late < 1.0 < 1.9 < world.sharpes[1]


def test_oracles_that_cannot_both_earn_are_refused_by_number() -> None:
    """The same strategy twice, once to gain and once to lose, is beyond any strength."""
    twice = [oracle("momentum"), oracle("momentum")]
    with pytest.raises(InsufficientError, match=r"gives oracle [12] of 2 a Sharpe ratio"):
        planted_together(twice, TERMS, 1, 4_000, [Plan(3.0, 0, 4_000), Plan(-3.0, 0, 4_000)])
    with pytest.raises(UsageError, match="give each a plan"):
        planted_together(twice, TERMS, 1, 4_000, [Plan(3.0, 0, 4_000)])
