from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from research_lab.bars import Bars, read_candles
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import load_regimes, load_spec, parse_macro, parse_regimes, parse_spec
from research_lab.engine.layout import WARMUP
from research_lab.engine.slot import Compiled
from research_lab.engine.terms import Terms
from research_lab.market_data.worlds import noise
from research_lab.validation import warmup
from research_lab.validation.warmup import WarmupReport, check_warmup

LIBRARY = Path(__file__).parents[3] / "research_lab" / "strategies"
NAMES = sorted(path.stem for path in LIBRARY.glob("*.yaml") if path.stem not in ("regimes", "macro"))
TERMS = Terms()


def simple(entry: str, timeframe: str = "1h", more: str = "") -> Spec:
    return parse_spec(
        f"spec: 1\nname: simple\nhypothesis: none\ntimeframe: {timeframe}\nside: long\n"
        f"enter_long: {entry}\nexit_long: close < open\nsize: {{fraction: 0.5}}\n{more}"
    )


def checked(spec: Spec, bars: Bars | None = None, regimes: RegimeSet | None = None) -> WarmupReport:
    return check_warmup(spec, noise(2, 6000).bars if bars is None else bars, TERMS, regimes, seed=4)


def shortened(monkeypatch: pytest.MonkeyPatch, bars: int) -> None:
    """Plant a warm-up that is too short."""

    def compiled(spec: Spec) -> Compiled:
        strategy = compile_spec(spec)
        strategy.plan[WARMUP] = bars
        return strategy

    monkeypatch.setattr(warmup, "compile_spec", compiled)


@pytest.mark.parametrize("name", NAMES)
def test_the_derived_warmup_suffices_for_the_library(name: str) -> None:
    spec = load_spec(LIBRARY / f"{name}.yaml")
    bars = noise(3, 12_000, min(spec.step_ms, 3_600_000)).bars
    report = checked(spec, bars, load_regimes(LIBRARY / "regimes.yaml"))
    assert report.passed, report.sentence
    assert report.n_starts == 8
    assert report.smallest_sufficient_bars is not None
    assert report.smallest_sufficient_bars <= report.derived_bars
    assert report.shortfall_bars == 0


def test_the_derived_warmup_suffices_on_real_bars(real_data: Callable[[str], Path]) -> None:
    bars = read_candles(real_data("candles/binance_ETH-USDT_1h.parquet"))
    for name in ("breakout_4h", "ema_atr"):
        report = checked(load_spec(LIBRARY / f"{name}.yaml"), bars)
        assert report.passed, report.sentence


def test_a_window_needs_its_bars_exactly() -> None:
    report = checked(simple("sma(close, 20) > 0"))
    assert report.derived_bars == report.smallest_sufficient_bars == 20


def test_what_needs_no_past_needs_one_bar() -> None:
    report = checked(simple("close > open"))
    assert report.derived_bars == report.smallest_sufficient_bars == 1


@pytest.mark.parametrize("step_ms", [3_600_000, 900_000])
def test_warmup_counts_bars_of_the_timeframe(step_ms: int) -> None:
    report = checked(simple("sma(close, 20) > 0", "4h"), noise(2, 6000, step_ms).bars)
    assert report.smallest_sufficient_bars == 20


def test_a_warmup_that_is_too_short_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch, 12)
    report = checked(simple("sma(close, 20) > 0"))
    assert not report.passed
    assert report.shortfall_bars == 8
    fault = report.first_fault
    assert fault is not None
    assert fault.bar == fault.cut + 11  # the twelfth bar from the start is the first that counts
    assert (fault.what, fault.before, fault.after) == ("enter_long", "1.0", "nan")
    assert "8 bars too short" in report.sentence


def test_a_recursion_cut_short_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch, 60)
    report = checked(simple("ema(close, 50) > ema(close, 60)"), noise(2, 30_000).bars)
    assert not report.passed
    assert report.smallest_sufficient_bars is not None
    assert report.smallest_sufficient_bars > 60


def test_waiting_for_an_event_is_no_fault_and_is_told() -> None:
    report = checked(simple("bars_since(volume > 3 * sma(volume, 24)) > 5"))
    assert report.passed, report.sentence
    assert report.event_bars > report.derived_bars
    assert report.smallest_sufficient_bars is not None
    assert report.smallest_sufficient_bars <= report.derived_bars
    assert "event" in report.sentence


def test_a_window_over_an_event_waits_with_it() -> None:
    report = checked(simple("highest(bars_since(close > open), 12) < 100"))
    assert report.passed, report.sentence
    assert 0 < report.event_bars < report.derived_bars


def test_without_events_nothing_waits() -> None:
    assert checked(simple("close > sma(close, 30)")).event_bars == 0


def test_regimes_are_compared_after_their_own_warmup() -> None:
    regimes = parse_regimes("spec: 1\ntimeframe: 4h\nregimes:\n  trend_up: sma(close, 30) > 0\n")
    spec = simple("close > open", more="regimes: [trend_up]\n")
    assert checked(spec, regimes=regimes).passed


def test_regimes_with_too_short_a_warmup_are_found() -> None:
    regimes = parse_regimes("spec: 1\ntimeframe: 4h\nregimes:\n  trend_up: sma(close, 30) > 0\n")
    regimes.__dict__["compiled"] = regimes.compiled._replace(warmup=10)
    report = checked(simple("close > open", more="regimes: [trend_up]\n"), regimes=regimes)
    assert not report.passed
    assert report.shortfall_bars == 20
    assert report.first_fault is not None
    assert report.first_fault.what == "regime"


def test_too_few_bars_never_pass() -> None:
    report = checked(simple("close > sma(close, 200)"), noise(2, 400).bars)
    assert not report.passed
    assert report.smallest_sufficient_bars is None
    assert "400 bars" in report.sentence


def test_a_timeframe_finer_than_the_bars_never_passes() -> None:
    report = checked(simple("close > open", "15m"))
    assert not report.passed
    assert report.insufficient


def test_starts_lie_where_a_bar_of_the_timeframe_begins() -> None:
    bars = noise(2, 100).bars
    begins = warmup._beginnings(bars, 4 * 3_600_000, 86_400_000)
    assert np.all(bars.time[begins] % 86_400_000 == 0)
    assert begins.tolist() == [24, 48, 72, 96]


def test_a_start_after_a_missing_bar_is_left_out() -> None:
    bars = noise(2, 100).bars
    present = np.delete(np.arange(100), 47)  # the last hour of the second day
    gappy = Bars(
        bars.market, bars.step_ms, bars.time[present], bars.inputs[:, present], bars.funding_due[present]
    )
    begins = warmup._beginnings(gappy, 86_400_000)
    assert gappy.time[begins].tolist() == bars.time[[24, 72, 96]].tolist()


def test_macro_states_are_compared_after_their_own_warmup_though_no_regime_is_declared() -> None:
    text = "spec: 1\ntimeframe: 4h\nmacro:\n  risk_off: close < ema(close, 5)\n  risk_on: close > 0\n"
    spec, market = load_spec(LIBRARY / "ema_atr.yaml"), load_regimes(LIBRARY / "regimes.yaml")
    assert not spec.regimes
    assert checked(spec, regimes=replace(market, macro=parse_macro(text))).passed
    hasty = parse_macro(text)
    hasty.__dict__["compiled"] = hasty.compiled._replace(warmup=2)
    report = checked(spec, regimes=replace(market, macro=hasty))
    assert not report.passed and "when the regimes start" in report.sentence


@pytest.mark.parametrize(
    "entry",
    [
        'close > tf("4h", sma(close, 5))',
        'tf("1d", bars_since(close > open) > 1)',
        'tf("1d", close > ema(close, 3))',
    ],
)
def test_the_derived_warmup_suffices_for_longer_timeframes(entry: str) -> None:
    report = checked(simple(entry))
    assert report.passed, report.sentence
    assert report.n_starts == 8


def test_a_warmup_that_forgets_the_longer_bars_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch, 5)
    assert not checked(simple('close > tf("1d", sma(close, 5))')).passed


def test_a_line_whose_turns_no_warm_up_foresees_is_refused() -> None:
    """A number of ranges that varies is taken for a usual one; this is many times as large."""
    report = checked(simple("supertrend_direction(10, 25 + rsi(14) / 50) > 0"), noise(5, 6000).bars)
    assert not report.passed
    assert report.shortfall_bars > 0


def test_a_line_that_never_turns_cannot_be_compared() -> None:
    report = checked(simple("psar_direction(0, 0.2) > 0"))
    assert not report.passed
    assert report.insufficient
