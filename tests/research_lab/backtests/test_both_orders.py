"""Every backtest tells its return for both orders of stop and take inside a bar."""

from __future__ import annotations

from dataclasses import replace

import pytest

from research_lab.backtests import both_orders
from research_lab.backtests.vectorbt_bridge import replay_both
from research_lab.bars import Bars
from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.backtest import backtest
from research_lab.engine.terms import Terms
from research_lab.market_data.worlds import noise

TIGHT = """\
spec: 1
name: tight
hypothesis: none
timeframe: 1h
side: long
enter_long: close > prev(close)
stop: 0.5 * atr(5)
take: [{at: 1R, close: 1}]
size: {fraction: 0.9}
"""
TERMS = Terms()


@pytest.fixture(scope="module")
def bars() -> Bars:
    return noise(seed=3, n_bars=2000).bars


def test_both_orders_are_what_the_engine_gives_for_each(bars: Bars) -> None:
    strategy = compile_spec(parse_spec(TIGHT))
    found = both_orders.run(strategy, bars, TERMS, start=100)
    for flag, run in ((False, found.pessimistic), (True, found.optimistic)):
        alone = backtest(strategy, bars, replace(TERMS, optimistic=flag), start=100)
        assert run.equity.tobytes() == alone.equity.tobytes()
        assert run.fills.tobytes() == alone.fills.tobytes()
    low, high = found.returns
    assert low == found.pessimistic.equity[-1] - 1.0 < high == found.optimistic.equity[-1] - 1.0
    assert found.apart("return") == high - low
    assert str(found) == f"return {100 * low:.2f} % with stops first, {100 * high:.2f} % with takes first"


def test_the_terms_do_not_choose_the_order(bars: Bars) -> None:
    strategy = compile_spec(parse_spec(TIGHT))
    asked = both_orders.run(strategy, bars, replace(TERMS, optimistic=True))
    assert asked.returns == both_orders.run(strategy, bars, TERMS).returns


def test_without_takes_there_is_one_order(bars: Bars) -> None:
    plain = compile_spec(parse_spec(TIGHT.replace("take: [{at: 1R, close: 1}]\n", "")))
    found = both_orders.run(plain, bars, TERMS)
    other = backtest(plain, bars, replace(TERMS, optimistic=True))
    assert found.optimistic is found.pessimistic
    assert other.equity.tobytes() == found.optimistic.equity.tobytes()
    assert found.apart("return") == 0.0


def test_vectorbt_tells_the_same_interval(bars: Bars) -> None:
    found = both_orders.run(compile_spec(parse_spec(TIGHT)), bars, TERMS)
    assert replay_both(bars, found, TERMS) == pytest.approx(found.returns, rel=1e-9)
