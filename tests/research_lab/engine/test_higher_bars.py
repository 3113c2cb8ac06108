"""Values of longer timeframes against pandas: from which bar on each is known, on any grid with gaps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.bars import read_candles
from research_lab.dsl import compiler
from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.spec import compile_spec, compile_union
from research_lab.dsl.spec_reader import parse_regimes, parse_spec
from research_lab.engine import program
from research_lab.engine.backtest import backtest, daily_returns
from research_lab.engine.jit import FloatArray
from research_lab.engine.program import Program
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.timeframe import timeframe_ms
from tests.research_lab.engine import invariants
from tests.research_lab.engine.invariants import ProgramMachine, SlotMachine, block_cuts
from tests.research_lab.engine.tapes import HOUR_MS, SHAPES, Tape, shaped, walk, with_gaps
from tests.strategies_of_specs import expressions

PAIRS = [("15m", "1h"), ("15m", "4h"), ("15m", "1d"), ("1h", "4h"), ("1h", "1d"), ("1h", "1w"), ("1h", "3h")]
INNER = [
    "close",
    "open",
    "low",
    "premium",
    "prev(close, 2)",
    "highest(high, 3)",
    "sum(volume, 2)",
    "close > open",
    "coalesce(premium, 0)",
]


def compiled(texts: list[str], timeframe: str) -> Program:
    step_ms = timeframe_ms(timeframe)
    return compiler.program_of([parse_expression(text, Scope(step_ms=step_ms)) for text in texts], step_ms)[0]


def made_up(timeframe: str, n: int, seed: int, *, gaps: bool = True) -> Tape:
    rng = np.random.default_rng(seed)
    tape = walk(rng, n, step_ms=timeframe_ms(timeframe))
    return with_gaps(rng, tape) if gaps else tape


def plain_sum(values: pd.Series) -> float:
    """Return a sum added up one by one, without the compensation that pandas has: exact comparisons need it."""
    return float(np.add.accumulate(values.to_numpy())[-1])


def higher_bars(tape: Tape, timeframe: str) -> pd.DataFrame:
    """Return the longer bars by pandas, indexed by their ends; the first only when the tape begins with it."""
    step = pd.Timedelta(milliseconds=timeframe_ms(timeframe))
    monday = pd.Timestamp("1970-01-05") if timeframe.endswith("w") else pd.Timestamp("1970-01-01")
    names = ("open", "high", "low", "close", "volume", "funding", "premium")
    frame = pd.DataFrame(tape.inputs.T, pd.to_datetime(tape.time, unit="ms"), names)
    last = {"close": lambda x: x.iloc[-1], "funding": lambda x: x.iloc[-1], "premium": lambda x: x.iloc[-1]}
    begins = monday + (frame.index - monday) // step * step
    found = frame.groupby(begins).agg(
        {"open": lambda x: x.iloc[0], "high": "max", "low": "min", "volume": plain_sum, **last}
    )
    found.index = found.index + step
    return found[1:] if frame.index[0] > begins[0] else found


def told(higher: pd.DataFrame, text: str) -> pd.Series:
    """Return what an expression of `INNER` is on the longer bars."""
    bars = higher
    return {
        "prev(close, 2)": lambda: bars["close"].shift(2),
        "highest(high, 3)": lambda: bars["high"].rolling(3).max(),
        "sum(volume, 2)": lambda: bars["volume"].rolling(2).sum(),
        "close > open": lambda: (bars["close"] > bars["open"]).astype(float),
        "coalesce(premium, 0)": lambda: bars["premium"].fillna(0.0),
    }.get(text, lambda: bars[text])()


def as_known(tape: Tape, values: pd.Series) -> FloatArray:
    """Return for each bar the value of the last longer bar that had ended at its close."""
    closes = pd.DataFrame({"at": pd.to_datetime(tape.time + tape.step_ms, unit="ms")})
    ended = pd.DataFrame({"at": values.index, "value": values.to_numpy()})
    return pd.merge_asof(closes, ended, on="at")["value"].to_numpy()


@pytest.mark.parametrize(("own", "higher"), PAIRS)
@pytest.mark.parametrize("gaps", [False, True])
def test_values_are_those_of_the_last_complete_bar(own: str, higher: str, gaps: bool) -> None:
    tape = made_up(own, 24 * 60, 4, gaps=gaps)
    seen = invariants.run(ProgramMachine(compiled([f'tf("{higher}", {x})' for x in INNER], own)), tape).rows
    bars = higher_bars(tape, higher)
    assert len(bars) > 6
    for text, row in zip(INNER, seen, strict=True):
        wanted = as_known(tape, told(bars, text))
        np.testing.assert_allclose(row, wanted, rtol=1e-12, atol=0, err_msg=f"{higher} {text}")
        assert np.isfinite(wanted).sum() > 20
    assert np.isnan(seen[INNER.index("premium")]).sum() > 20


REAL = [
    ("candles/binance_BTC-USDT_1h.parquet", "1h", ("4h", "1d", "1w")),
    ("candles/binanceusdm_BTC-USDT-PERP_15m.parquet", "15m", ("1h", "4h", "1d", "1w")),
]


@pytest.mark.parametrize(("file", "own", "longer"), REAL)
@pytest.mark.parametrize("gaps", [False, True])
def test_on_real_candles_they_are_those_of_pandas(
    real_data: Callable[[str], Path], file: str, own: str, longer: Sequence[str], gaps: bool
) -> None:
    bars = read_candles(real_data(file)).window(3_001, 11_001)  # begins inside every longer bar
    tape = Tape(bars.step_ms, bars.time, bars.inputs.copy(), bars.funding_due)
    tape = with_gaps(np.random.default_rng(2), tape) if gaps else tape
    inner = ["close", "highest(high, 3)", "close > open"]
    for higher in longer:
        machine = ProgramMachine(compiled([f'tf("{higher}", {x})' for x in inner], own))
        seen = invariants.run(machine, tape, [1, 17, 2_048, 5_000]).rows
        known = higher_bars(tape, higher)
        for text, row in zip(inner, seen, strict=True):
            np.testing.assert_allclose(row, as_known(tape, told(known, text)), rtol=1e-12, err_msg=higher)
        assert np.isfinite(seen).all(axis=0).sum() > 4_000


@given(cuts=block_cuts(300), pair=st.sampled_from(PAIRS), seed=st.integers(0, 30))
def test_any_cut_gives_the_same_values_and_none_knows_the_future(
    cuts: list[int], pair: tuple[str, str], seed: int
) -> None:
    own, higher = pair
    tape = made_up(own, 420, seed)
    texts = [f'tf("{higher}", {x})' for x in ("ema(close, 3)", "bars_since(close > open)", *INNER)]
    machine = ProgramMachine(compiled([*texts, f'ema(tf("{higher}", close), 4)'], own))
    invariants.check_all(machine, tape, [cut for cut in cuts if cut < tape.n], tape.n // 2)


@given(text=expressions(PRICE, 3), pair=st.sampled_from([("1h", "3h"), ("1h", "4h")]), seed=st.integers(0, 9))
def test_any_expression_is_what_it_is_on_bars_of_that_length(
    text: str, pair: tuple[str, str], seed: int
) -> None:
    own, higher = pair
    text = text.replace("fast", "2").replace("slow", "8")
    tape = made_up(own, 300, seed)
    bars = higher_bars(tape, higher)
    ends = bars.index.to_numpy().astype("datetime64[ms]").astype(np.int64)
    names = ["open", "high", "low", "close", "volume", "funding", "premium"]
    step_ms = timeframe_ms(higher)
    longer = Tape(step_ms, ends - step_ms, bars[names].to_numpy().T.copy(), np.zeros(len(bars)))
    alone = invariants.run(ProgramMachine(compiled([text], higher)), longer).rows[0]
    seen = invariants.run(ProgramMachine(compiled([f'tf("{higher}", {text})'], own)), tape).rows[0]
    np.testing.assert_array_equal(seen, as_known(tape, pd.Series(alone, bars.index)))


@pytest.mark.parametrize("shape", SHAPES)
def test_ill_shaped_bars_keep_the_invariants(shape: str) -> None:
    tape = shaped(shape, 90)
    machine = ProgramMachine(compiled(['tf("4h", atr(3))', 'tf("1d", sma(volume, 2))'], "1h"))
    invariants.check_all(machine, tape, [1, 2, 3, tape.n // 2], tape.n - 1)


class OpenBucketMachine(ProgramMachine):
    """Gives the value that the running bucket will end with, as a careless resample and forward fill does."""

    def advance(self, state: FloatArray, tape: Tape, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        rows, records = super().advance(state, tape, first, last)
        bucket = tape.time[first:last] // (4 * HOUR_MS)
        for row in rows:
            for begin, end in pairwise([0, *(np.flatnonzero(np.diff(bucket)) + 1), last - first]):
                row[begin:end] = row[end - 1]
        return rows, records


def test_a_value_of_the_running_bucket_is_found() -> None:
    tape = made_up("1h", 300, 1, gaps=False)
    machine = OpenBucketMachine(compiled(['tf("4h", close)'], "1h"))
    with pytest.raises(AssertionError, match="knows what follows"):
        for bar in range(100, 108):
            invariants.check_causality(machine, tape, bar)
    with pytest.raises(AssertionError, match="cut at"):
        invariants.check_block_invariance(machine, tape, [102])


def test_what_is_unknown_on_the_complete_bar_is_unknown_not_what_was_before() -> None:
    tape = walk(np.random.default_rng(1), 24)  # begins at 07:00
    inputs = tape.inputs.copy()
    inputs[6] = 0.5
    inputs[6, 8] = math.nan  # 15:00, the last hour of a bucket of four
    row = invariants.run(
        ProgramMachine(compiled(['tf("4h", premium)'], "1h")), replace(tape, inputs=inputs)
    ).rows[0]
    assert np.isnan(row[8:12]).all()
    assert row[12] == 0.5 and row[7] == 0.5


def test_a_timeframe_of_its_own_length_is_the_expression_itself() -> None:
    both = compiled(['tf("60m", ema(close, 5))', "ema(close, 5)"], "1h")
    assert both.outputs[0] == both.outputs[1]


def test_equal_parts_of_one_timeframe_are_computed_once() -> None:
    one = compiled(['tf("4h", ema(close, 5))'], "1h")
    two = compiled(['tf("4h", ema(close, 5))', 'tf("4h", ema(close, 5) - close)'], "1h")
    ops = two.code[:, program.OP].tolist()
    assert ops.count(program.TF_OPEN) == 1 and ops.count(program.EMA) == 1
    assert len(ops) == one.code.shape[0] + 2  # a subtraction, and one more held


@pytest.mark.parametrize(
    ("text", "bars"),
    [('tf("4h", close)', 8), ('tf("1d", sma(close, 9))', 240), ('prev(tf("4h", close), 3)', 11)],
)
def test_the_warm_up_is_that_of_the_longer_bars_and_one_more(text: str, bars: int) -> None:
    node = parse_expression(text, Scope(step_ms=HOUR_MS))
    assert compiler.program_of([node], HOUR_MS)[1] == bars


SPEC = """\
spec: 1
name: two_clocks
hypothesis: none
timeframe: {timeframe}
side: both
params:
  n: {{range: [2, 6], step: 2, default: 2}}
define:
  wide: tf("1d", sma(close, n))
enter_long: close > wide and tf("4h", close > ema(close, 3))
exit_long: close < wide
enter_short: close < wide and tf("4h", close < ema(close, 3))
exit_short: close > wide
stop: tf("4h", atr(n))
size: {{risk: 0.01}}
"""


@pytest.mark.parametrize("timeframe", ["1h", "2h", "4h"])
def test_a_strategy_of_two_clocks_keeps_the_invariants(timeframe: str) -> None:
    spec = parse_spec(SPEC.format(timeframe=timeframe))
    tape = made_up("1h", 2_000, 5)
    machine = SlotMachine(compile_spec(spec), Terms(perpetual=True, leverage=3.0))
    assert len(invariants.run(machine, tape).records) > 20
    cuts = [1, 2, 300, *range(700, 900)]
    for bar in (400, 801, 1_300):
        invariants.check_all(machine, tape, cuts, bar)
        invariants.check_own_close(machine, tape, bar, share=0.3)


def test_a_sweep_gives_what_each_strategy_gives_alone() -> None:
    spec = parse_spec(SPEC.format(timeframe="1h"))
    variants = [spec.bind(values) for values in spec.grid()]
    plain = parse_spec(SPEC.format(timeframe="1h").replace('tf("4h", close > ema(close, 3))', "close > open"))
    variants.append(plain)
    tape = made_up("1h", 5_000, 6)
    compiled = compile_union(variants)
    together = sweep([compiled], tape, Terms(perpetual=True), start=300, n_threads=2)
    for k, variant in enumerate(variants):
        alone = backtest(compile_spec(variant), tape, Terms(perpetual=True), start=300)
        _, days = daily_returns(tape.time, alone.equity, 300)
        assert together.daily_returns[k].tobytes() == days.tobytes()
        assert together.metrics[k].tolist() == list(alone.metrics.values())
    assert len({row.tobytes() for row in together.daily_returns}) == len(variants)


def test_regimes_may_look_at_a_longer_timeframe() -> None:
    text = 'spec: 1\ntimeframe: 4h\nregimes:\n  trend_up: close > tf("1d", ema(close, 3))\n'
    spec = parse_spec(SPEC.format(timeframe="1h") + "regimes: [trend_up]\n")
    machine = SlotMachine(compile_spec(spec), Terms(perpetual=True), parse_regimes(text).compiled)
    tape = made_up("1h", 1_500, 8)
    codes = invariants.run(machine, tape).rows[3]
    assert {0.0, 1.0} == set(codes.tolist())
    invariants.check_all(machine, tape, [5, 6, 700], 900)
