from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from research_lab.bars import Bars, read_candles
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import load_regimes, load_spec, parse_spec
from research_lab.engine.backtest import backtest
from research_lab.engine.terms import Terms
from research_lab.market_data.worlds import noise
from research_lab.validation.difference import differing, first_difference
from research_lab.validation.lookahead import AGAIN, OWN_CLOSE, LookaheadReport, check_lookahead
from research_lab.validation.poison import BEYOND_OPEN, CUT_OFF, MISSING, REVERSED, poisoned
from research_lab.validation.recording import Recording, record
from tests.strategies_of_specs import specs

LIBRARY = Path(__file__).parents[3] / "research_lab" / "strategies"
NAMES = sorted(path.stem for path in LIBRARY.glob("*.yaml") if path.stem not in ("regimes", "macro"))
TERMS = Terms(perpetual=True, leverage=3.0)
CROSSING = """
spec: 1
name: crossing
hypothesis: none
timeframe: 1h
side: both
enter_long: close > sma(close, 12) and close > prev(highest(close, 6))
exit_long: close < sma(close, 12)
enter_short: close < sma(close, 12) and close < prev(lowest(close, 6))
exit_short: close > sma(close, 12)
stop: 2 * atr(10)
take: [{at: 1R, close: 0.5}]
size: {risk: 0.01}
"""

Change = Callable[[Bars], Bars]


def hourly(n: int = 3000, seed: int = 5) -> Bars:
    bars = noise(seed, n).bars
    rates = 1e-4 * np.random.default_rng(seed).standard_normal(bars.n)
    inputs = bars.inputs.copy()
    inputs[5], inputs[6] = rates, 10.0 * rates[::-1]
    return replace(bars, inputs=inputs, funding_due=np.where(np.arange(n) % 8 == 0, rates, 0.0))


def with_row(bars: Bars, row: int, values: np.ndarray) -> Bars:
    inputs = bars.inputs.copy()
    inputs[row] = values
    return replace(bars, inputs=inputs)


def checked(
    run: Callable[[Bars], Recording] | None = None, spec: Spec | None = None, n: int = 3000
) -> LookaheadReport:
    return check_lookahead(spec or parse_spec(CROSSING), hourly(n), TERMS, seed=3, runner=run)


def after(change: Change) -> Callable[[Bars], Recording]:
    """Return a runner that changes its bars by something, and then runs the engine."""
    strategy = compile_spec(parse_spec(CROSSING))
    return lambda bars: record(strategy, change(bars), TERMS)


def honest(bars: Bars) -> Recording:
    return after(lambda given: given)(bars)


@pytest.fixture(scope="module")
def regimes() -> RegimeSet:
    return load_regimes(LIBRARY / "regimes.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_no_strategy_of_the_library_looks_ahead(name: str, regimes: RegimeSet) -> None:
    spec = load_spec(LIBRARY / f"{name}.yaml")
    bars = hourly(6000)
    if spec.step_ms < bars.step_ms:
        bars = noise(4, 6000, spec.step_ms).bars
    report = check_lookahead(spec, bars, TERMS, regimes, seed=1)
    assert report.outcome == "PASS", report.sentence
    assert report.n_cuts == report.n_own_closes == 24
    assert report.n_signals > 0


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(specs("1h"))
def test_no_strategy_of_the_language_looks_ahead(spec: Spec) -> None:
    report = check_lookahead(
        spec, hourly(800), TERMS, load_regimes(LIBRARY / "regimes.yaml"), seed=1, n_cuts=4
    )
    assert report.outcome != "FAIL", report.sentence


def test_strategies_do_not_look_ahead_on_real_bars(
    real_data: Callable[[str], Path], regimes: RegimeSet
) -> None:
    bars = read_candles(
        real_data("candles/binanceusdm_BTC-USDT-PERP_1h.parquet"),
        funding=real_data("funding/binanceusdm_BTC-USDT-PERP_funding.parquet"),
    )
    for name in ("breakout_4h", "ema_atr", "funding_reversion"):
        report = check_lookahead(load_spec(LIBRARY / f"{name}.yaml"), bars, TERMS, regimes, seed=1)
        assert report.outcome == "PASS", report.sentence
        assert report.n_fills > 0


def test_a_recording_is_the_backtest() -> None:
    bars, strategy = hourly(), compile_spec(parse_spec(CROSSING))
    recording, result = record(strategy, bars, TERMS), backtest(strategy, bars, TERMS)
    assert recording.equity.tobytes() == result.equity.tobytes()
    assert recording.fills.tobytes() == result.fills.tobytes()
    assert recording.reason.tobytes() == result.reason.tobytes()
    assert recording.decided_at.tolist() == list(range(bars.n))


def test_kept_registers_are_those_of_the_whole_recording() -> None:
    bars, strategy = hourly(500), compile_spec(parse_spec(CROSSING))
    whole = record(strategy, bars, TERMS)
    signals = strategy.program.outputs[strategy.program.outputs >= 0]
    part = record(strategy, bars, TERMS, keep=signals)
    for role in range(4):
        assert part.signal(role).tobytes() == whole.signal(role).tobytes()
    assert len(part.names) == len(set(signals.tolist()))


def test_registers_carry_the_words_of_the_language() -> None:
    names = record(compile_spec(parse_spec(CROSSING)), hourly(50), TERMS).names
    assert "prev(highest(close, 6), 1)" in names
    assert "prev(lowest(close, 6), 1)" in names
    assert "(2 * rma(true_range(), 10))" in names


# Runners with a leak planted in them.


def peek(bars: Bars) -> Bars:
    return with_row(bars, 3, np.append(bars.close[1:], bars.close[-1]))


def centre(bars: Bars) -> Bars:
    padded = np.pad(bars.close, 2, mode="edge")
    return with_row(bars, 3, np.convolve(padded, np.full(5, 0.2), "valid"))


def count_rows(bars: Bars) -> Bars:
    return with_row(bars, 3, bars.close * (1.0 + 1e-9 * bars.n))


def normalise(bars: Bars) -> Bars:
    return with_row(bars, 3, bars.close / np.nanmean(bars.close) * 100.0)


def fill_backwards(bars: Bars) -> Bars:
    """Fill every tenth volume from the bar after it, as a careless repair of gaps does."""
    volume = bars.volume.copy()
    volume[:-1:10] = volume[1::10]
    return with_row(bars, 4, volume)


@pytest.mark.parametrize("leak", [peek, centre, count_rows, normalise], ids=lambda leak: leak.__name__)
def test_a_planted_leak_is_found(leak: Change) -> None:
    report = checked(after(leak))
    assert report.outcome == "FAIL"
    assert report.n_faults >= report.n_cuts
    fault = report.first_fault
    assert fault is not None
    assert fault.bar <= fault.cut
    assert fault.what == "close"
    assert fault.before != fault.after
    assert str(fault.bar) in fault.sentence


def test_a_leak_in_one_bar_of_ten_is_found() -> None:
    report = checked(after(fill_backwards))
    assert report.outcome == "FAIL"
    assert report.first_fault is not None
    assert report.first_fault.what == "volume"


def test_a_leak_that_shows_at_signals_only_is_found() -> None:
    def run(bars: Bars) -> Recording:
        whole = honest(bars)
        registers = whole.registers.copy()
        last = np.append(bars.close[1:], bars.close[-1])[whole.decided_at]
        entry = int(whole.signals[0])
        registers[entry] = np.where((registers[entry] == 1.0) & (last < bars.close), 0.0, registers[entry])
        return replace(whole, registers=registers)

    report = checked(run)
    assert report.outcome == "FAIL"
    assert report.first_fault is not None
    assert report.first_fault.what.startswith("enter_long: ")


def test_a_leak_of_a_single_bit_is_found() -> None:
    def run(bars: Bars) -> Recording:
        whole = honest(bars)
        equity = whole.equity.copy()
        equity[:-1] = np.where(bars.close[1:] > bars.open[1:], np.nextafter(equity[:-1], 2.0), equity[:-1])
        return replace(whole, equity=equity)

    report = checked(run)
    assert report.outcome == "FAIL"
    assert report.first_fault is not None
    assert report.first_fault.what == "equity"


def test_a_regime_that_peeks_is_found() -> None:
    def run(bars: Bars) -> Recording:
        rising = np.append(np.diff(bars.close), 0.0) > 0.0
        return replace(honest(bars), regime=rising.astype(np.float64))

    report = checked(run)
    assert report.outcome == "FAIL"
    assert report.first_fault is not None
    assert report.first_fault.what == "regime"


def test_trading_on_the_own_close_is_found_although_the_future_is_not_touched() -> None:
    report = checked(after(lambda bars: with_row(bars, 0, bars.close)))
    assert report.outcome == "FAIL"
    assert report.n_own_close_faults > 0
    fault = report.first_fault
    assert fault is not None
    assert fault.kind in (OWN_CLOSE, BEYOND_OPEN)
    assert fault.what == "fill"


def test_a_quantity_that_knows_the_fill_bars_range_is_found() -> None:
    def run(bars: Bars) -> Recording:
        whole = honest(bars)
        fills = whole.fills.copy()
        fills["quantity"] *= np.where(bars.high[fills["bar"]] > 1.01 * bars.open[fills["bar"]], 0.5, 1.0)
        return replace(whole, fills=fills)

    report = checked(run)
    assert report.outcome == "FAIL"
    assert report.first_fault is not None
    assert report.first_fault.kind == BEYOND_OPEN


def test_a_run_that_fails_on_a_missing_future_is_a_fault() -> None:
    def run(bars: Bars) -> Recording:
        if np.isnan(bars.close).any():
            raise ValueError("missing close")
        return honest(bars)

    report = checked(run)
    assert report.outcome == "FAIL"
    assert report.first_fault is not None
    assert report.first_fault.kind == MISSING
    assert "missing close" in report.sentence


def test_a_run_that_differs_from_itself_is_a_fault() -> None:
    random = np.random.default_rng(1)

    def run(bars: Bars) -> Recording:
        whole = honest(bars)
        return replace(whole, equity=whole.equity + random.random())

    report = checked(run)
    assert report.outcome == "FAIL"
    assert report.first_fault is not None
    assert report.first_fault.kind == AGAIN


def test_a_strategy_without_a_signal_is_insufficient() -> None:
    never = parse_spec(CROSSING.replace("close > sma(close, 12) and", "close < 0 and").replace(
        "close < sma(close, 12) and", "close < 0 and"
    ))  # fmt: skip
    report = checked(spec=never)
    assert report.outcome == "INSUFFICIENT"
    assert "no entry signal in 3000 bars" in report.sentence
    assert report.n_cuts == 0


def test_bars_too_coarse_for_the_timeframe_are_insufficient() -> None:
    report = checked(spec=parse_spec(CROSSING.replace("1h", "15m")))
    assert report.outcome == "INSUFFICIENT"
    assert "1h" in report.sentence and "15m" in report.sentence


def test_declared_regimes_that_are_not_given_are_insufficient() -> None:
    report = checked(spec=parse_spec(CROSSING + "regimes: [panic]\n"))
    assert report.outcome == "INSUFFICIENT"
    assert "panic" in report.sentence


def test_rare_signals_are_searched_for_in_all_bars() -> None:
    volume = np.ones(9000)
    volume[250:3000:500] = 100.0
    rare = parse_spec(
        "spec: 1\nname: rare\nhypothesis: none\ntimeframe: 1h\nside: long\n"
        "enter_long: volume > 2 * prev(volume)\ntime_stop: 5\nsize: {fraction: 0.5}\n"
    )
    report = check_lookahead(rare, with_row(hourly(9000), 4, volume), TERMS, seed=1)
    assert report.outcome == "PASS"
    assert report.n_bars == 9000
    assert report.n_signals == 6


def test_the_same_seed_gives_the_same_report() -> None:
    assert checked(after(peek)) == checked(after(peek))


def test_poison_leaves_the_past_as_it_was() -> None:
    bars, cut = hourly(200), 120
    kinds = []
    for kind, other in poisoned(bars, cut, np.random.default_rng(1)):
        kinds.append(kind)
        assert other.inputs[:, : cut + 1].tobytes() == bars.inputs[:, : cut + 1].tobytes()
        assert other.funding_due[: cut + 1].tobytes() == bars.funding_due[: cut + 1].tobytes()
        if kind != CUT_OFF:
            assert other.inputs[:, cut + 1 :].tobytes() != bars.inputs[:, cut + 1 :].tobytes()
        if kind == BEYOND_OPEN:
            assert other.open[cut + 1] == bars.open[cut + 1]
            assert other.funding_due[cut + 1] == bars.funding_due[cut + 1]
        if kind == REVERSED:
            assert other.inputs[:, cut + 1 :].tobytes() == bars.inputs[:, :cut:-1].tobytes()
            assert other.funding_due[cut + 1 :].tobytes() == bars.funding_due[:cut:-1].tobytes()
    assert len(set(kinds)) == 6


def test_differences_are_found_to_the_bit() -> None:
    values = np.array([1.0, np.nan, 0.0, 3.0])
    assert differing(values, values.copy()) == -1
    assert differing(values, np.array([1.0, np.nan, -0.0, 3.0])) == 2
    assert differing(values, np.array([1.0, np.nan, 0.0, np.nextafter(3.0, 4.0)])) == 3
    assert differing(values, values[:3]) == 3
    assert differing(np.stack([values, values]), np.stack([values, values + 1.0])) == 0


def test_of_two_differences_the_earlier_and_deeper_is_told() -> None:
    bars = hourly(300)
    whole = honest(bars)
    moved = honest(with_row(bars, 3, np.where(np.arange(300) == 200, bars.low, bars.close)))
    apart = first_difference(whole, moved, 299)
    assert apart is not None
    assert (apart.what, apart.bar) == ("close", 200)
    assert first_difference(whole, moved, 199) is None


TWO_CLOCKS = """
spec: 1
name: two_clocks
hypothesis: none
timeframe: 1h
side: both
define:
  wide: tf("1d", sma(close, 2))
enter_long: close > wide and tf("4h", close > prev(close)) and close > prev(close)
exit_long: close < prev(close, 5)
enter_short: close < wide and tf("4h", close < prev(close)) and close < prev(close)
exit_short: close > prev(close, 5)
stop: tf("4h", atr(5))
size: {risk: 0.01}
"""


def test_a_strategy_that_reads_longer_timeframes_passes() -> None:
    report = checked(spec=parse_spec(TWO_CLOCKS))
    assert report.outcome == "PASS", report.sentence
    assert report.n_fills > 50


def test_a_longer_timeframe_that_shows_its_running_bar_is_found() -> None:
    """A table that was resampled beforehand and joined by the bar's beginning."""

    def joined(bars: Bars) -> Recording:
        ends = np.flatnonzero(np.diff(bars.time // 14_400_000, append=-1))
        last = ends[np.searchsorted(ends, np.arange(bars.n))]
        premium = bars.close[last] / bars.close - 1.0
        spec = parse_spec(CROSSING.replace("enter_long: close", "enter_long: premium > 0 and close"))
        return record(compile_spec(spec), with_row(bars, 6, premium), TERMS)

    assert checked(joined).outcome == "FAIL"
