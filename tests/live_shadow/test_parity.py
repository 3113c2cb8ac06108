"""The executor's own book of a slot is the backtest, bit for bit, also when killed and restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from live_shadow import core
from live_shadow.executor import Executor, ShadowRun, shadow_run
from research_lab.bars import Bars, read_candles
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import parse_macro, parse_spec
from research_lab.engine import layout, reasons
from research_lab.engine.backtest import Backtest, backtest, regime_codes, to_fills
from research_lab.engine.terms import Terms
from research_lab.timeframe import timeframe_name
from tests.conftest import WHOLE
from tests.live_shadow.made_up import (
    GREEN,
    UNLIMITED,
    candles,
    executor,
    names,
    packaged_regimes,
    quick,
    slot,
    strategy,
)

FINEST = {"5m": 300_000, "15m": 900_000, "1h": 3_600_000, "4h": 3_600_000, "1d": 14_400_000}
WINDOW = 12_000
REAL = {
    "candles/binance_BTC-USDT_1h.parquet": (None, ("ema_atr", "breakout_4h")),
    "candles/binanceusdm_BTC-USDT-PERP_15m.parquet": (
        None, ("volatility_expansion_15m", "ema_atr", "breakout_4h"),
    ),
    "candles/binance_AVAX-USDT_5m.parquet": (None, ("range_reversion_5m", "volatility_expansion_15m")),
    "candles/binanceusdm_BTC-USDT-PERP_1h.parquet": (
        "funding/binanceusdm_BTC-USDT-PERP_funding.parquet", ("funding_reversion", "ema_atr"),
    ),
}  # fmt: skip


def differences(batch: Backtest, live: ShadowRun) -> list[str]:
    """Names of what is not equal bit for bit."""
    pairs = {
        "equity": (batch.equity, live.equity),
        "position": (batch.position, live.position),
        "reason": (batch.reason, live.reason),
        "fills": (batch.fills, live.fills),
    }
    return [name for name, (a, b) in pairs.items() if a.tobytes() != b.tobytes()]


def in_batch(
    spec: Spec, bars: Bars, terms: Terms, start: int = 0, regimes: RegimeSet | None = None
) -> Backtest:
    codes = regime_codes((regimes or packaged_regimes()).compiled, bars)
    return backtest(compile_spec(spec), bars, terms, regime=codes, start=start)


@pytest.mark.parametrize("perpetual", [False, True])
@pytest.mark.parametrize("name", names())
def test_on_random_candles_the_own_book_is_the_backtest(name: str, perpetual: bool) -> None:
    spec = strategy(name)
    bars = candles(11, 12_000 if name.endswith("_5m") else 6_000, FINEST[spec.timeframe], perpetual=perpetual)
    terms = Terms(perpetual=perpetual, leverage=3.0)
    batch = in_batch(spec, bars, terms, 700, quick())
    assert differences(batch, shadow_run(spec, bars, terms, quick(), 700)) == []
    if perpetual or "funding" not in name:
        assert batch.fills.shape[0] > 0


@pytest.mark.parametrize(
    ("file", "name"), [(file, name) for file, (_, names_) in REAL.items() for name in names_]
)
def test_on_real_candles_the_own_book_is_the_backtest(
    real_data: Callable[[str], Path], file: str, name: str
) -> None:
    funding = REAL[file][0]
    bars = read_candles(real_data(file), funding=None if funding is None else real_data(funding))
    bars = bars if WHOLE else bars.window(0, WINDOW)
    terms = Terms(perpetual=bars.market.perpetual, leverage=3.0)
    regimes = packaged_regimes() if WHOLE else quick()  # the packaged ones are not warm within the window
    batch = in_batch(strategy(name), bars, terms, 0, regimes)
    assert batch.fills.shape[0] > 0
    assert differences(batch, shadow_run(strategy(name), bars, terms, regimes)) == []


def test_killed_and_restored_at_fifty_random_bars_the_own_books_are_the_backtests() -> None:
    bars = candles(12, 3_000, perpetual=True)
    specs = [strategy(name) for name in names() if strategy(name).step_ms >= bars.step_ms]
    terms = Terms(perpetual=True, leverage=3.0)
    slots = [slot(spec, bars.market, risk_share=0.3) for spec in specs]
    run = executor(slots, terms=terms, limits=UNLIMITED, regimes=quick())
    kills = sorted(np.random.default_rng(12).choice(np.arange(1, bars.n), 50, replace=False).tolist())
    equity: list[list[float]] = []
    fills: list[list[np.ndarray]] = [[] for _ in specs]
    for first, last in zip([0, *kills], [*kills, bars.n], strict=True):
        run = Executor(run.desk, slots, state=np.frombuffer(run.state.tobytes(), np.float64))
        for t in range(first, last):
            events = run.advance(bars.window(t, t + 1))
            equity.append(events.figures[0, :, core.SLOT_EQUITY].tolist())
            for row in range(events.n_fills[0]):
                fills[events.slot_of[row]].append(events.slot_fills[row].copy())
    for k, spec in enumerate(specs):
        batch = in_batch(spec, bars, terms, 0, quick())
        assert batch.fills.shape[0] > 0
        assert batch.equity.tobytes() == np.array(equity)[:, k].tobytes()
        records = np.array(fills[k]).reshape(-1, layout.FILL_SIZE)
        assert to_fills(records).tobytes() == batch.fills.tobytes()


MACRO = """
spec: 1
timeframe: 4h
macro:
  risk_off: close < 0.97 * prev(close, 3)
  neutral: close < 0.985 * prev(close, 3)
  risk_small: close < prev(close, 3)
  risk_on: close >= prev(close, 3)
"""
LEAVES = "regimes: [trend_up, range_lowvol]\nregime_exit: true\n"


@pytest.mark.parametrize("base_ms", [1_200_000, 3_600_000])
def test_with_macro_states_the_own_book_is_the_backtest(base_ms: int) -> None:
    spec = parse_spec(GREEN.replace("exit_long: close < open", "exit_long: close < 0.985 * open") + LEAVES)
    regimes = replace(quick(), macro=parse_macro(MACRO))
    bars = candles(14, 4_000, base_ms)
    batch = in_batch(spec, bars, Terms(), 300, regimes)
    assert differences(batch, shadow_run(spec, bars, Terms(), regimes, 300)) == []
    assert set(batch.fills["reason"]) >= {reasons.ENTRY, reasons.MACRO_EXIT}
    assert np.count_nonzero(batch.reason == reasons.MACRO) > 0
    assert differences(
        in_batch(spec, bars, Terms(), 300, quick()), shadow_run(spec, bars, Terms(), regimes, 300)
    )


def test_the_account_obeys_the_macro_state_of_the_bar_and_the_event_holds_both() -> None:
    bars, regimes = candles(14, 2_000), replace(quick(), macro=parse_macro(MACRO))
    run = executor([slot(parse_spec(GREEN), bars.market)], regimes=regimes)
    events = run.advance(bars)
    assert events.regime.tolist() == regime_codes(regimes.compiled, bars).tolist()
    refused = events.codes[:, 0, core.ACCOUNT_REASON] == reasons.MACRO
    entered = events.codes[:, 0, core.ACCOUNT_REASON] == reasons.LONG_ORDERED
    assert set(np.unique(events.regime[refused] // 16)) == {3.0, 4.0}
    assert set(np.unique(events.regime[entered] // 16)) == {1.0, 2.0}
    assert run.state[core.RAW] == events.regime[-1] % 16


@pytest.mark.parametrize("base_ms", [24 * 3_600_000])
def test_on_bars_that_do_not_make_the_macro_clock_nothing_is_entered(base_ms: int) -> None:
    regimes = replace(quick(), macro=parse_macro(MACRO))
    bars, spec = candles(13, 400, base_ms), parse_spec(GREEN.replace("1h", "1d"))
    batch = in_batch(spec, bars, Terms(), 0, regimes)
    assert batch.fills.shape[0] == 0 < np.count_nonzero(batch.reason == reasons.MACRO)
    assert differences(batch, shadow_run(spec, bars, Terms(), regimes)) == []


@pytest.mark.parametrize(("base_ms", "timeframe"), [(24 * 3_600_000, "4h"), (2 * 3_600_000, "3h")])
def test_on_bars_that_do_not_make_those_of_the_regimes_no_regime_is_known(
    base_ms: int, timeframe: str
) -> None:
    regimes = replace(quick(), timeframe=timeframe)
    bars, spec = (
        candles(13, 400, base_ms),
        parse_spec(GREEN.replace("1h", timeframe_name(base_ms)) + "regimes: [trend_up]\n"),
    )
    batch = in_batch(spec, bars, Terms(), 0, regimes)
    assert batch.fills.shape[0] == 0 < np.count_nonzero(batch.reason == reasons.REGIME)
    assert not regime_codes(regimes.compiled, bars).any()
    assert differences(batch, shadow_run(spec, bars, Terms(), regimes)) == []


def test_parity_finds_one_changed_close() -> None:
    spec, bars = strategy("ema_atr"), candles(11, 5_000)
    batch = in_batch(spec, bars, Terms())
    spoilt = Bars(bars.market, bars.step_ms, bars.time, bars.inputs.copy(), bars.funding_due)
    spoilt.inputs[3, 2_500] = np.nextafter(spoilt.inputs[3, 2_500], np.inf)
    spoilt.inputs[1, 2_500] = max(spoilt.inputs[1, 2_500], spoilt.inputs[3, 2_500])
    assert "equity" in differences(batch, shadow_run(spec, spoilt, Terms(), packaged_regimes()))


def test_parity_finds_a_start_that_is_one_bar_off() -> None:
    bars, spec = candles(11, 5_000), strategy("ema_atr")
    ordered = int(in_batch(spec, bars, Terms(), 700).fills["bar"][0]) - 1
    batch = in_batch(spec, bars, Terms(), ordered)
    assert differences(batch, shadow_run(spec, bars, Terms(), packaged_regimes(), ordered)) == []
    assert differences(batch, shadow_run(spec, bars, Terms(), packaged_regimes(), ordered + 1)) != []


TWO_CLOCKS = """
spec: 1
name: two_clocks
hypothesis: none
timeframe: {timeframe}
side: both
enter_long: close > tf("1d", sma(close, 2)) and tf("8h", close > prev(close))
exit_long: close < prev(close, 5)
enter_short: close < tf("1d", sma(close, 2)) and tf("8h", close < prev(close))
exit_short: close > prev(close, 5)
stop: tf("8h", atr(5))
size: {{risk: 0.01}}
"""


@pytest.mark.parametrize(("timeframe", "base_ms"), [("15m", 900_000), ("1h", 900_000), ("4h", 3_600_000)])
def test_longer_timeframes_are_the_same_a_bar_at_a_time(timeframe: str, base_ms: int) -> None:
    spec = parse_spec(TWO_CLOCKS.format(timeframe=timeframe))
    bars = candles(12, 5_000, base_ms, perpetual=True)
    terms = Terms(perpetual=True, leverage=3.0)
    batch = in_batch(spec, bars, terms, 600, quick())
    assert differences(batch, shadow_run(spec, bars, terms, quick(), 600)) == []
    assert batch.fills.shape[0] > 10
