"""vectorbt must come to our equity: from our fills for every strategy, from signals for simple ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from research_lab.backtests.vectorbt_bridge import deviation, funding_flow, replay_equity, signals_equity
from research_lab.bars import Bars, Market, read_candles
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import load_regimes, load_spec, parse_spec
from research_lab.engine import reasons
from research_lab.engine.backtest import FILL, Backtest, backtest, regime_codes
from research_lab.engine.layout import ENTER_LONG, ENTER_SHORT, WARMUP
from research_lab.engine.terms import Terms
from research_lab.errors import DataError, UsageError
from research_lab.market_data.worlds import noise
from research_lab.validation.recording import record

LIBRARY = Path(__file__).parents[3] / "research_lab" / "strategies"
NAMES = sorted(path.stem for path in LIBRARY.glob("*.yaml") if path.stem not in ("regimes", "macro"))
LEVERAGED = Terms(perpetual=True, leverage=5.0)
PERPETUAL = Market("synthetic", "BTC/USDT", True)


def funded(bars: Bars, seed: int = 1) -> Bars:
    """Return a perpetual of the same prices, with random funding every eight bars."""
    rates = 2e-4 * np.random.default_rng(seed).standard_normal(bars.n)
    inputs = bars.inputs.copy()
    inputs[5], inputs[6] = rates, 10.0 * rates[::-1]
    due = np.where(np.arange(bars.n) % 8 == 0, rates, 0.0)
    return replace(bars, market=PERPETUAL, inputs=inputs, funding_due=due)


def crossing(side: str, fraction: float) -> Spec:
    return parse_spec(
        f"spec: 1\nname: crossing\nhypothesis: none\ntimeframe: 1h\nside: {side}\n"
        f"enter_{side}: ema(close, 10) > ema(close, 30)\nexit_{side}: ema(close, 10) < ema(close, 30)\n"
        f"size: {{fraction: {fraction}}}\n"
    )


def run(spec: Spec, bars: Bars, terms: Terms) -> Backtest:
    codes = regime_codes(load_regimes(LIBRARY / "regimes.yaml").compiled, bars)
    return backtest(compile_spec(spec), bars, terms, regime=codes)


def apart(bars: Bars, result: Backtest, terms: Terms) -> float:
    return deviation(result.equity, replay_equity(bars, result.fills, terms))


def flat_bars(prices: list[float], due: list[float] | None = None) -> Bars:
    """Return bars whose four prices are one."""
    n = len(prices)
    inputs = np.full((7, n), np.nan)
    inputs[:4], inputs[4] = prices, 1.0
    return Bars(
        PERPETUAL, 60_000, 60_000 * np.arange(n), inputs, np.zeros(n) if due is None else np.array(due)
    )


def made_fills(*rows: tuple[int, float, float, float]) -> np.ndarray:
    fills = np.zeros(len(rows), FILL)
    for k, (bar, quantity, price, fee) in enumerate(rows):
        fills[k] = (bar, 1, reasons.ENTRY, quantity, price, fee, np.nan)
    return fills


@pytest.mark.parametrize("terms", [Terms(), LEVERAGED], ids=["spot", "perpetual"])
@pytest.mark.parametrize("name", NAMES)
def test_fills_of_the_library_give_the_same_equity(name: str, terms: Terms) -> None:
    spec = replace(load_spec(LIBRARY / f"{name}.yaml"), regimes=(), regime_exit=False)
    n_bars = max(8_000, 800 * spec.step_ms // 3_600_000)
    bars = funded(noise(7, n_bars, min(spec.step_ms, 3_600_000)).bars)
    result = run(spec, bars, terms)
    assert result.fills.shape[0] > 10
    assert apart(bars, result, terms) < 1e-9


def test_fills_on_real_spot_bars_give_the_same_equity(real_data: Callable[[str], Path]) -> None:
    bars = read_candles(real_data("candles/binance_BTC-USDT_1h.parquet"))
    for name in ("breakout_4h", "ema_atr"):
        result = run(load_spec(LIBRARY / f"{name}.yaml"), bars, Terms())
        assert result.fills.shape[0] > 100
        assert apart(bars, result, Terms()) < 1e-9


def test_fills_on_a_real_perpetual_with_funding_give_the_same_equity(
    real_data: Callable[[str], Path],
) -> None:
    bars = read_candles(
        real_data("candles/binanceusdm_ETH-USDT-PERP_1h.parquet"),
        funding=real_data("funding/binanceusdm_ETH-USDT-PERP_funding.parquet"),
    )
    for name in ("breakout_4h", "ema_atr", "funding_reversion"):
        result = run(load_spec(LIBRARY / f"{name}.yaml"), bars, LEVERAGED)
        assert result.fills.shape[0] > 100
        assert apart(bars, result, LEVERAGED) < 1e-9


@pytest.mark.parametrize("side", ["long", "short"])
def test_leverage_liquidation_and_ruin_give_the_same_equity(side: str) -> None:
    terms = Terms(perpetual=True, leverage=25.0)
    seen: set[int] = set()
    for seed in range(4):
        bars = funded(noise(seed, 6000).bars)
        result = run(crossing(side, 20), bars, terms)
        seen |= set(result.fills["reason"].tolist())
        assert apart(bars, result, terms) < 1e-9
    assert reasons.LIQUIDATION in seen


def test_lots_and_ticks_give_the_same_equity() -> None:
    terms = Terms(lot=1e-6, tick=0.1, min_notional=1e-4)
    bars = noise(7, 6000).bars
    result = run(load_spec(LIBRARY / "ema_atr.yaml"), bars, terms)
    assert result.fills.shape[0] > 10
    assert apart(bars, result, terms) < 1e-9


def test_several_fills_of_one_bar_are_replayed_in_order() -> None:
    bars = flat_bars([100.0, 110.0, 120.0])
    fills = made_fills((1, 0.005, 100.0, 0.01), (1, -0.002, 108.0, 0.02), (1, -0.003, 110.0, 0.03))
    # 1 - 0.5 - 0.01 + 0.216 - 0.02 + 0.33 - 0.03
    assert replay_equity(bars, fills, Terms()) == pytest.approx([1.0, 0.986, 0.986], rel=1e-12)


def test_a_short_gains_from_a_fall() -> None:
    bars = flat_bars([100.0, 90.0])
    assert replay_equity(bars, made_fills((0, -0.02, 100.0, 0.0)), LEVERAGED) == pytest.approx([1.0, 1.2])


def test_funding_is_paid_on_the_position_before_the_bars_fills() -> None:
    bars = flat_bars([100.0, 100.0, 200.0, 100.0], due=[0.01, 0.01, 0.01, 0.01])
    fills = made_fills((1, 0.01, 100.0, 0.0), (2, 0.01, 200.0, 0.0), (3, -0.02, 100.0, 0.0))
    # Held: nothing, nothing, 0.01 at 200, 0.02 at 100.
    assert funding_flow(bars, fills, LEVERAGED) == pytest.approx([0.0, 0.0, -0.02, -0.02])
    assert funding_flow(bars, fills, Terms()).tolist() == [0.0] * 4
    # Cash 1 - 1 - 2 + 2 and funding of 0.04.
    assert replay_equity(bars, fills, LEVERAGED)[-1] == pytest.approx(-0.04)


def test_without_fills_the_cash_remains() -> None:
    assert replay_equity(flat_bars([1.0, 2.0]), np.empty(0, FILL), Terms(), cash=7.0).tolist() == [7.0, 7.0]


@pytest.mark.parametrize("cash", [1e-6, 1.0, 1e6])
def test_the_amount_of_money_does_not_matter(cash: float) -> None:
    bars = noise(7, 4000).bars
    fills = run(crossing("long", 1), bars, Terms()).fills
    scaled = fills.copy()
    for name in ("quantity", "fee"):
        scaled[name] *= cash
    once, again = replay_equity(bars, fills, Terms()), replay_equity(bars, scaled, Terms(), cash=cash)
    assert deviation(once * cash, again, cash) < 1e-12


@pytest.mark.parametrize("column", ["quantity", "price", "fee"])
def test_a_fill_booked_wrongly_is_found(column: str) -> None:
    bars = noise(7, 4000).bars
    result = run(crossing("long", 0.5), bars, Terms())
    wrong = result.fills.copy()
    wrong[column][10] *= 1.0001
    assert deviation(result.equity, replay_equity(bars, wrong, Terms())) > 1e-9


def test_a_fill_that_is_left_out_is_found() -> None:
    bars = noise(7, 4000).bars
    result = run(crossing("long", 0.5), bars, Terms())
    assert deviation(result.equity, replay_equity(bars, result.fills[:-1], Terms())) > 1e-9


def test_spending_more_than_there_is_is_refused_on_spot() -> None:
    with pytest.raises(DataError, match="vectorbt refuses a fill"):
        replay_equity(flat_bars([100.0, 100.0]), made_fills((0, 0.011, 100.0, 0.0)), Terms())


def test_no_cash_to_begin_with_is_refused() -> None:
    with pytest.raises(UsageError, match="cash of 0"):
        replay_equity(flat_bars([1.0]), np.empty(0, FILL), Terms(), cash=0.0)


def test_deviation_is_relative_and_knows_ruin() -> None:
    assert deviation(np.array([2.0, 1.0]), np.array([2.0, 1.1])) == pytest.approx(0.1)
    assert deviation(np.array([1e-12]), np.array([2e-12])) == pytest.approx(1e-9)
    assert np.isnan(deviation(np.array([np.nan]), np.array([1.0])))


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_signals_make_the_same_trades_and_equity(side: str, seed: int) -> None:
    terms = Terms(perpetual=side == "short")
    bars, strategy = noise(seed, 4000).bars, compile_spec(crossing(side, 1))
    ours = record(strategy, bars, terms)
    role = ENTER_LONG if side == "long" else ENTER_SHORT
    warm = np.arange(1, bars.n + 1) >= strategy.plan[WARMUP]
    enter, leave = (ours.signal(role) == 1.0) & warm, ours.signal(role + 1) == 1.0
    equity, orders = signals_equity(bars, enter, leave, terms, short=side == "short")
    assert orders["bar"].tolist() == ours.fills["bar"].tolist()
    for name in ("quantity", "price", "fee"):
        assert orders[name] == pytest.approx(ours.fills[name], rel=1e-9)
    assert deviation(ours.equity, equity) < 1e-9


def test_entry_and_exit_at_once_are_refused() -> None:
    bars = flat_bars([1.0, 1.0])
    with pytest.raises(UsageError, match="1 bars"):
        signals_equity(bars, np.array([True, False]), np.array([True, True]), Terms())


@pytest.mark.parametrize(
    ("terms", "wanted"),
    [
        (Terms(perpetual=True, leverage=3.0), "a leverage of 1"),
        (Terms(lot=0.1), "no lot"),
        (Terms(quantum=1e-8), "no quantum"),
        (Terms(risk_share=0.5), "all of the strategy's size"),
        (Terms(perpetual=True), "no funding"),
    ],
)
def test_what_signals_cannot_express_is_refused(terms: Terms, wanted: str) -> None:
    bars = funded(noise(1, 50).bars)
    with pytest.raises(UsageError, match=wanted):
        signals_equity(bars, bars.close > 0, bars.close < 0, terms)


def test_shorts_on_spot_are_refused() -> None:
    bars = flat_bars([1.0, 1.0])
    with pytest.raises(UsageError, match="a perpetual for shorts"):
        signals_equity(bars, bars.close > 0, bars.close < 0, Terms(), short=True)


def test_the_bridge_is_crossed_only_when_called() -> None:
    code = "import sys, research_lab.backtests.vectorbt_bridge; sys.exit('vectorbt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
