"""What is said of another market: against pandas, the same through every door, and never from its future."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from live_shadow.executor import shadow_run
from research_lab.bars import Bars, Market, write_candles
from research_lab.dsl.sources import Sources, read_sources, with_sources
from research_lab.dsl.spec import Spec, compile_spec, compile_union
from research_lab.dsl.spec_reader import parse_regimes, parse_spec
from research_lab.engine.backtest import backtest, daily_returns
from research_lab.engine.jit import FloatArray
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.errors import DataError, DimensionError, SpecError, UsageError
from research_lab.market_data.worlds import noise
from research_lab.timeframe import HOUR_MS, timeframe_ms
from research_lab.validation.lookahead import check_lookahead
from research_lab.validation.recording import Recording, record

TERMS = Terms(perpetual=True, leverage=3.0)
TEXT = """\
spec: 1
name: leader
hypothesis: none
timeframe: {timeframe}
side: both
params:
  n: {{range: [2, 6], step: 2, default: 2}}
define:
  lead: on("BTC/USDT", close / prev(close, 3) - 1)
enter_long: lead > 0 and close < prev(close, n)
exit_long: close < prev(close, 5)
enter_short: on('BTC/USDT', close < tf("1d", sma(close, 2))) and close > prev(close)
exit_short: close > prev(close, 5) and on("BTC/USDT", sma(close, 3)) > on("BTC/USDT", close)
stop: 2 * atr(5)
size: {{risk: 0.01}}
"""


def read(timeframe: str = "1h") -> Spec:
    return parse_spec(TEXT.format(timeframe=timeframe))


def candles(symbol: str, seed: int, n: int = 3_000, step_ms: int = HOUR_MS, share: float = 0.05) -> Bars:
    """Return candles with single bars and two days missing."""
    bars = noise(seed, n, step_ms).bars
    there = np.random.default_rng(seed).random(n) > share
    first = 500 + 10 * seed
    there[first : first + 48] = False
    market = Market("binance", symbol)
    return replace(
        bars, market=market, time=bars.time[there], inputs=bars.inputs[:, there].copy(),
        funding_due=bars.funding_due[there],
    )  # fmt: skip


def told_by_pandas(leader: Bars, timeframe: str, closes: FloatArray) -> FloatArray:
    """Return the mean of the last three closes of the leader's bars, as known at each close."""
    step = pd.Timedelta(milliseconds=timeframe_ms(timeframe))
    opened = pd.to_datetime(leader.time, unit="ms")
    closed = opened + pd.Timedelta(milliseconds=leader.step_ms)
    frame = pd.DataFrame({"close": leader.close, "closed": closed, "bucket": opened.floor(step)})
    bars = frame.groupby("bucket").agg(close=("close", "last"), last=("closed", "last"))
    ends = bars.index + step
    # A bar whose end is missing is known with the next candle there is.
    at = np.searchsorted(closed, ends)
    known = [closed[k] if k < len(closed) else pd.Timestamp.max for k in at]
    if opened[0] > bars.index[0]:
        bars, known = bars[1:], known[1:]
    means = pd.DataFrame({"at": known, "value": bars["close"].rolling(3).mean().to_numpy()})
    asked = pd.DataFrame({"at": pd.to_datetime(closes, unit="ms")})
    kinds = {"at": "datetime64[ns]"}
    found = pd.merge_asof(asked.astype(kinds), means.astype(kinds), on="at", tolerance=2 * step)
    return found["value"].to_numpy()


@pytest.mark.parametrize(
    ("timeframe", "leader_ms"), [("1h", HOUR_MS), ("4h", HOUR_MS), ("1h", HOUR_MS // 4), ("1d", HOUR_MS)]
)
def test_the_row_is_what_pandas_knows_at_each_close(timeframe: str, leader_ms: int) -> None:
    bars = candles("ETH/USDT", 1)
    leader = candles("BTC/USDT", 2, n=2_500 * HOUR_MS // leader_ms, step_ms=leader_ms)
    spec = read(timeframe)
    whole = with_sources(bars, [spec], Sources(markets={"BTC/USDT": leader}))
    row = whole.inputs[7 + whole.series.index(f'on("BTC/USDT", sma(close, 3)) {timeframe}')]
    wanted = told_by_pandas(leader, timeframe, bars.time + bars.step_ms)
    np.testing.assert_allclose(row, wanted, rtol=1e-12)
    assert np.isfinite(wanted).sum() > 1_000 and np.isnan(wanted[-300:]).all()


def test_a_bar_that_an_outage_left_open_is_old_when_it_is_at_last_complete() -> None:
    """The leader tells hours 0 to 8, 72 to 74, and from 80 on; its bar of hours 8 to 12 is complete at 73."""
    leader = candles("BTC/USDT", 2, n=120, share=0.0)
    hours = np.arange(leader.n)
    there = (hours <= 8) | ((hours >= 72) & (hours <= 74)) | (hours >= 80)
    leader = replace(
        leader,
        time=leader.time[there],
        inputs=leader.inputs[:, there].copy(),
        funding_due=leader.funding_due[there],
    )
    spec = read("4h")
    bars = replace(noise(1, 120).bars, market=Market("binance", "ETH/USDT"))
    name = 'on("BTC/USDT", close) 4h'
    whole = with_sources(bars, [spec], Sources(markets={"BTC/USDT": leader}))
    row = whole.inputs[7 + whole.series.index(name)]
    close = dict(zip(((leader.time - bars.time[0]) // HOUR_MS).tolist(), leader.close.tolist(), strict=True))
    assert row[[3, 7, 15]].tolist() == [close[3], close[7], close[7]]
    assert np.isnan(row[16:80]).all()  # of hour 74 it is told at 80 at the soonest, when it is 4 h old
    assert row[80] == close[74] and row[83] == close[83]


def test_what_follows_a_close_on_the_other_market_does_not_matter_to_it() -> None:
    bars, leader, spec = candles("ETH/USDT", 1), candles("BTC/USDT", 2), read("4h")
    whole = with_sources(bars, [spec], Sources(markets={"BTC/USDT": leader}))
    for cut in (900, 1_501, 2_002):
        close_ms = int(bars.time[cut]) + bars.step_ms
        inputs = leader.inputs.copy()
        inputs[:, leader.time + leader.step_ms > close_ms] *= 3.0
        other = with_sources(bars, [spec], Sources(markets={"BTC/USDT": replace(leader, inputs=inputs)}))
        np.testing.assert_array_equal(whole.inputs[:, : cut + 1], other.inputs[:, : cut + 1])
        assert not np.array_equal(whole.inputs[7:], other.inputs[7:], equal_nan=True)


@pytest.mark.parametrize("timeframe", ["1h", "4h"])
def test_batch_executor_and_sweep_agree(timeframe: str) -> None:
    spec, bars = read(timeframe), candles("ETH/USDT", 1)
    bars = with_sources(bars, [spec], Sources(markets={"BTC/USDT": candles("BTC/USDT", 2)}))
    whole = backtest(compile_spec(spec), bars, TERMS, start=300)
    assert whole.fills.shape[0] > 10
    live = shadow_run(spec, bars, TERMS, start=300)
    assert live.equity.tobytes() == whole.equity.tobytes() and live.fills.tobytes() == whole.fills.tobytes()
    variants = [spec.bind(values) for values in spec.grid()]
    compiled = compile_union(variants)
    together = sweep([compiled], bars, TERMS, start=300, n_threads=2)
    for k, variant in enumerate(variants):
        alone = backtest(compile_spec(variant), bars, TERMS, start=300)
        assert together.daily_returns[k].tobytes() == daily_returns(bars.time, alone.equity, 300)[1].tobytes()


def test_the_look_ahead_check_passes_it_and_finds_a_market_that_is_a_bar_early() -> None:
    spec, bars, leader = read(), candles("ETH/USDT", 1, 5_000), candles("BTC/USDT", 2, 5_000)
    whole = with_sources(bars, [spec], Sources(markets={"BTC/USDT": leader}))
    report = check_lookahead(spec, whole, TERMS, seed=3)
    assert report.outcome == "PASS" and report.n_fills > 50, report.sentence

    def early(given: Bars) -> Recording:
        inputs = given.inputs.copy()
        inputs[7:, :-1] = given.inputs[7:, 1:]
        return record(compile_spec(spec), replace(given, inputs=inputs), TERMS)

    assert check_lookahead(spec, whole, TERMS, seed=3, runner=early).outcome == "FAIL"


def test_missing_and_wrong_candles_are_told(tmp_path: Path) -> None:
    bars, spec = candles("ETH/USDT", 1, 600), read()
    with pytest.raises(
        UsageError, match="leader: reads BTC/USDT, and no file was given; give --market BTC/USDT="
    ):
        with_sources(bars, [spec], Sources())
    path = write_candles(bars, tmp_path / "eth.parquet")
    with pytest.raises(DataError, match="candles of ETH/USDT, wanted BTC/USDT"):
        read_sources({}, {"BTC/USDT": path})
    coarse = candles("BTC/USDT", 2, 600, 4 * HOUR_MS)
    with pytest.raises(DataError, match="bars of 4h do not make those of 1h"):
        with_sources(bars, [spec], Sources(markets={"BTC/USDT": coarse}))


def test_it_comes_back_and_counts() -> None:
    spec = read()
    again = parse_spec(spec.canonical())
    assert (again.hash, again.template_hash) == (spec.hash, spec.template_hash)
    other = parse_spec(TEXT.format(timeframe="1h").replace("BTC/USDT", "SOL/USDT"))
    assert other.hash != spec.hash and other.template_hash != spec.template_hash


@pytest.mark.parametrize(
    ("entry", "error", "said"),
    [
        ('on("BTC/USDT", ema(close, n)) > close', SpecError, "n inside on(), which is computed before the run"),
        ('on("bitcoin", close) > close', SpecError, "'bitcoin' is no market; write BASE/QUOTE"),
        ('on("BTC/USDT", on("ETH/USDT", close)) > close', SpecError, "is no value of BTC/USDT's bars"),
        ('tf("4h", on("BTC/USDT", tf("1d", close))) > on("BTC/USDT", rsi(14))', DimensionError, "compares price with"),
        ("on(close, close) > close", SpecError, "the first argument of on() is no text"),
        ('close > sma(close, on("BTC/USDT", 5))', SpecError, "must be fixed before the run"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_refused(entry: str, error: type[SpecError], said: str) -> None:
    text = TEXT.format(timeframe="1h").replace(
        "lead > 0 and close < prev(close, n)", f"{entry} and close > prev(close, n)"
    )
    with pytest.raises(error) as caught:
        parse_spec(text)
    assert said in str(caught.value)


def test_regimes_look_at_their_own_market() -> None:
    with pytest.raises(SpecError, match=r"on\(\) stands in strategies only"):
        parse_regimes('spec: 1\ntimeframe: 4h\nregimes:\n  panic: on("BTC/USDT", close < prev(close))\n')
