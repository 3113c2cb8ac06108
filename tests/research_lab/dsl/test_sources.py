"""Strategies that read series and calendars: declared, brought onto bars, and the same through every door."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from live_shadow.executor import shadow_run
from research_lab.bars import Bars, read_candles, write_candles
from research_lab.dsl.sources import Sources, with_sources
from research_lab.dsl.spec import Spec, compile_spec, compile_union
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.backtest import backtest, daily_returns
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.errors import DataError, DimensionError, LimitError, SpecError, UsageError
from research_lab.market_data.worlds import noise
from research_lab.series import Series
from research_lab.timeframe import DAY_MS, HOUR_MS
from research_lab.validation.lookahead import check_lookahead
from research_lab.validation.recording import Recording, record

TERMS = Terms(perpetual=True, leverage=3.0)
TEXT = """\
spec: 1
name: dollar
hypothesis: none
timeframe: {timeframe}
side: both
params:
  n: {{range: [2, 6], step: 2, default: 2}}
series:
  dxy: {{lag: 1d, max_age: 3d}}
events:
  fomc: {{known_ahead: true}}
enter_long: dxy < sma(dxy, n) and hours_to(fomc) > 12 and close > prev(close)
exit_long: close < prev(close, 3)
enter_short: dxy > tf("1d", sma(dxy, 2)) and hours_since(fomc) > 6 and close < prev(close)
exit_short: close > prev(close, 3)
stop: 2 * atr(5)
size: {{risk: 0.01}}
"""


def read(timeframe: str = "1h") -> Spec:
    return parse_spec(TEXT.format(timeframe=timeframe))


def sources(bars: Bars, seed: int = 2) -> Sources:
    """Return an index told every day but for some weeks, and an event every nine days."""
    rng = np.random.default_rng(seed)
    first, last = bars.interval
    days = np.arange(first - first % DAY_MS - 9 * DAY_MS, last + 30 * DAY_MS, DAY_MS)
    there = np.arange(days.shape[0]) % 20 < 14
    walk = 100.0 + np.cumsum(rng.normal(size=days.shape[0]))
    return Sources(
        {
            "dxy": Series("dxy.csv", days[there], walk[there]),
            "fomc": Series("fomc.csv", days[::9] + 18 * HOUR_MS),
        }
    )


def gappy(n: int = 3_000, step_ms: int = HOUR_MS, seed: int = 4) -> Bars:
    bars = noise(seed, n, step_ms).bars
    there = np.random.default_rng(seed).random(n) > 0.05
    there[700:760] = False
    return replace(
        bars, time=bars.time[there], inputs=bars.inputs[:, there].copy(), funding_due=bars.funding_due[there]
    )


def with_rows(spec: Spec, bars: Bars) -> Bars:
    return with_sources(bars, [spec], sources(bars))


def test_rows_are_what_was_visible_at_each_close() -> None:
    spec, bars = read(), gappy()
    whole = with_rows(spec, bars)
    assert whole.series == (
        "dxy {lag: 1d, max_age: 3d}",
        "hours_since(fomc) {known_ahead: true}",
        "hours_to(fomc) {known_ahead: true}",
    )
    dxy = sources(bars).series["dxy"]
    told = pd.DataFrame({"at": pd.to_datetime(dxy.time + DAY_MS, unit="ms"), "value": dxy.value})
    closes = pd.DataFrame({"at": pd.to_datetime(bars.time + HOUR_MS, unit="ms")})
    wanted = pd.merge_asof(closes, told, on="at", tolerance=pd.Timedelta(days=3))["value"].to_numpy()
    np.testing.assert_array_equal(whole.inputs[7], wanted)
    assert 0 < np.isnan(wanted).sum() < bars.n / 2


@pytest.mark.parametrize(("timeframe", "base_ms"), [("1h", HOUR_MS), ("4h", HOUR_MS), ("1h", HOUR_MS // 4)])
def test_a_program_reads_a_series_as_known_when_its_bar_completed(timeframe: str, base_ms: int) -> None:
    spec = read(timeframe)
    bars = with_rows(spec, gappy(6_000, base_ms))
    run = record(compile_spec(spec), bars, TERMS)
    for name, row in zip(run.names[8:11], bars.inputs[7:], strict=True):
        np.testing.assert_array_equal(run.registers[run.names.index(name)], row[run.decided_at])
    step = bars.step_ms
    day = run.registers[run.names.index('tf("1d", sma(dxy {lag: 1d, max_age: 3d}, 2))')]
    ends = (bars.time[run.decided_at] + step) // DAY_MS * DAY_MS
    assert np.isfinite(day).sum() > 200
    # Inside a day the value of the longer bar stays: it changes only where a day has ended.
    moved = np.flatnonzero(np.diff(np.nan_to_num(day)) != 0.0)
    assert (np.diff(ends)[moved] > 0).all() and moved.shape[0] > 5


@pytest.mark.parametrize(("timeframe", "base_ms"), [("1h", HOUR_MS), ("4h", HOUR_MS), ("1h", HOUR_MS // 4)])
def test_batch_blocks_executor_and_sweep_agree(timeframe: str, base_ms: int) -> None:
    spec = read(timeframe)
    bars = with_rows(spec, gappy(4_000, base_ms))
    whole = backtest(compile_spec(spec), bars, TERMS, start=300)
    assert whole.fills.shape[0] > 10
    pieces = backtest(compile_spec(spec), bars, TERMS, start=300, blocks=[(k, k + 1) for k in range(bars.n)])
    assert whole.equity.tobytes() == pieces.equity.tobytes()
    live = shadow_run(spec, bars, TERMS, start=300)
    assert live.equity.tobytes() == whole.equity.tobytes() and live.fills.tobytes() == whole.fills.tobytes()
    variants = [spec.bind(values) for values in spec.grid()]
    compiled = compile_union(variants)
    together = sweep([compiled], bars, TERMS, start=300, n_threads=2)
    for k, variant in enumerate(variants):
        alone = backtest(compile_spec(variant), bars, TERMS, start=300)
        assert together.daily_returns[k].tobytes() == daily_returns(bars.time, alone.equity, 300)[1].tobytes()


def test_strategies_that_read_one_series_in_two_ways_have_two_rows() -> None:
    one = read()
    other = parse_spec(TEXT.format(timeframe="1h").replace("lag: 1d, max_age: 3d", "lag: 2d, max_age: 9d"))
    assert one.hash != other.hash
    bars = gappy()
    both = with_sources(bars, [one, other], sources(bars))
    assert len(both.series) == 4
    for spec in (one, other):
        alone = backtest(compile_spec(spec), with_rows(spec, bars), TERMS, start=300)
        shared = backtest(compile_spec(spec), both, TERMS, start=300)
        assert alone.equity.tobytes() == shared.equity.tobytes()
    compiled = compile_union([one, other])
    together = sweep([compiled], both, TERMS, start=300)
    assert together.daily_returns[0].tobytes() != together.daily_returns[1].tobytes()


def test_the_same_trees_with_other_meanings_of_their_names_are_not_walked_as_one() -> None:
    one = read()
    later = replace(one, series={"dxy": replace(one.series["dxy"], lag_ms=2 * DAY_MS)})
    assert all(a is b for a, b in zip(one.roots(), later.roots(), strict=True))
    bars = gappy()
    both = with_sources(bars, [one, later], sources(bars))
    together = sweep([compile_union([one, later])], both, TERMS, start=300)
    for k, spec in enumerate((one, later)):
        alone = backtest(compile_spec(spec), both, TERMS, start=300)
        assert together.daily_returns[k].tobytes() == daily_returns(bars.time, alone.equity, 300)[1].tobytes()
    assert together.daily_returns[0].tobytes() != together.daily_returns[1].tobytes()


def test_a_strategy_without_series_runs_on_bars_that_have_some() -> None:
    plain = parse_spec(
        "spec: 1\nname: plain\nhypothesis: none\ntimeframe: 1h\nside: long\nenter_long: close > prev(close)\n"
        "exit_long: close < prev(close)\nsize: {fraction: 0.5}\n"
    )
    bars = gappy()
    results = [
        backtest(compile_spec(plain), b, TERMS).equity.tobytes() for b in (bars, with_rows(read(), bars))
    ]
    assert results[0] == results[1]
    live = shadow_run(plain, with_rows(read(), bars), TERMS)
    assert live.equity.tobytes() == results[0]


def test_the_look_ahead_check_passes_it_and_finds_a_series_that_comes_too_early() -> None:
    spec = read()
    bars = with_rows(spec, gappy(5_000))
    honest = check_lookahead(spec, bars, TERMS, seed=3)
    assert honest.outcome == "PASS" and honest.n_fills > 50, honest.sentence

    def early(given: Bars) -> Recording:
        """Reads each series a bar before it was visible."""
        inputs = given.inputs.copy()
        inputs[7:, :-1] = given.inputs[7:, 1:]
        return record(compile_spec(spec), replace(given, inputs=inputs), TERMS)

    assert check_lookahead(spec, bars, TERMS, seed=3, runner=early).outcome == "FAIL"


def test_bars_with_series_are_kept_as_they_are(tmp_path: Path) -> None:
    bars = with_rows(read(), gappy())
    again = read_candles(write_candles(bars, tmp_path / "kept.parquet"))
    assert again.series == bars.series and again.snapshot == bars.snapshot
    assert bars.with_series({}).snapshot == gappy().snapshot != bars.snapshot
    assert bars.window(5, 9).series == bars.series


def test_what_is_missing_is_told_at_once() -> None:
    bars = gappy()
    with pytest.raises(
        UsageError, match=r"dollar: reads dxy, fomc, and no file was given; give --series dxy="
    ):
        with_sources(bars, [read()], Sources())
    with pytest.raises(UsageError, match=r"reads fomc, and"):
        with_sources(bars, [read()], Sources({"dxy": sources(bars).series["dxy"]}))
    with pytest.raises(DataError, match="no values of dxy"):
        backtest(compile_spec(read()), bars, TERMS)


def test_declarations_come_back_and_count() -> None:
    spec = read()
    again = parse_spec(spec.canonical())
    assert (again.hash, again.template_hash) == (spec.hash, spec.template_hash)
    other = parse_spec(TEXT.format(timeframe="1h").replace("known_ahead: true", "known_ahead: false"))
    assert other.hash != spec.hash and other.template_hash != spec.template_hash
    assert spec.needs >= {"dxy", "hours_to(fomc)"}


def changed(old: str, new: str) -> str:
    text = TEXT.format(timeframe="1h")
    assert old in text
    return text.replace(old, new)


NINE = "".join(f"  s{k}: {{lag: 1d, max_age: 3d}}\n" for k in range(8))


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (changed("lag: 1d", "lag: soon"), SpecError, "spec:9:14: soon is no length of time"),
        (changed("lag: 1d, ", ""), SpecError, "series.dxy.lag: this field is missing"),
        (changed("max_age: 3d", "max_age: 3d, kind: money"), SpecError, "series.dxy.kind"),
        (changed("max_age: 3d", "max_age: 3d, kind: condition"), DimensionError, "sma() does not take condition"),
        (changed("max_age: 3d", "max_age: 3d, kind: price").replace("prev(close)\nexit_long", "dxy / close\nexit_long"),
         DimensionError, "compares price with ratio"),
        (changed("  dxy: {", "  gold: {lag: 1d, max_age: 3d}\n  dxy: {"), SpecError, "nothing reads gold; leave it out"),
        (changed("  dxy: {", f"{NINE}  dxy: {{"), LimitError, "more than 8 series, calendars and models"),
        (changed("  fomc: {", "  cpi: {}\n  fomc: {"), SpecError, "nothing reads cpi"),
        (changed("  fomc: {", "  dxy: {}\n  fomc: {"), SpecError, "dxy is taken"),
        (changed("  dxy: {", "  close: {"), SpecError, "close is taken"),
        (changed("dxy < sma", "dyx < sma"), SpecError, "dyx is not known; did you mean dxy"),
        (changed("hours_to(fomc)", "hours_to(fmoc)"), SpecError, "fmoc is no calendar"),
        (changed("hours_to(fomc)", "hours_to(close > open)"), SpecError, "takes the name of a calendar"),
        (changed("hours_to(fomc)", "fomc"), SpecError, "fomc is a calendar; write hours_since(fomc)"),
        (changed("sma(dxy, n)", "sma(close, dxy)"), SpecError, "must be fixed before the run"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused(text: str, error: type[SpecError], said: str) -> None:
    with pytest.raises(error) as caught:
        parse_spec(text)
    assert said in str(caught.value)


def test_more_rows_than_there_is_room_for_are_refused() -> None:
    """Eight calendars read in both ways are sixteen rows."""
    names = [f"e{k}" for k in range(5)]
    events = "events:\n" + "".join(f"  {name}: {{known_ahead: true}}\n" for name in names)
    both = " and ".join(f"hours_to({n}) > 1 and hours_since({n}) > 1" for n in names)
    text = TEXT.format(timeframe="1h")
    text = text[: text.index("series:")] + events + f"enter_long: {both}\n" + text[text.index("exit_long") :]
    text = text.replace("side: both", "side: long").split("enter_short")[0] + "size: {fraction: 0.5}\n"
    with pytest.raises(LimitError, match="10 values from outside, more than 8"):
        parse_spec(text)
