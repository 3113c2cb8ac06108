"""Statistics of the language against TA-Lib, a row a function, on made-up and real candles.

Where a value is unknown TA-Lib answers NaN for ever, so it is given the known bars only. It keeps plain running
sums: what these lose after a spike or at a high level is a share of the largest number that was ever in them,
and the rows say to which power that number enters; `slack` 0 means the plain 1e-9. What it divides by a
deviation loses that share of the squares again by how much smaller the deviation is. Conventions that differ:

- MAXINDEX and MININDEX take the first of equals and are compared on tapes without any; ours take the last.
- CORREL is 0 where one side is constant, or nearly so in absolute terms; ours is unknown only where it is.
- BETA is the slope of the second argument's returns on the first's; ours is a slope of what it is given.
- KAMA is written in the same convention: efficiency 1 where nothing moved.
- VAR and STDDEV are of the population, as ours; a constant window need not give them 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import talib

from research_lab.bars import read_candles
from research_lab.dsl import compiler
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.engine.jit import FloatArray
from tests.research_lab.engine import invariants
from tests.research_lab.engine.invariants import ProgramMachine
from tests.research_lab.engine.tapes import HOUR_MS, SHAPES, Tape, shaped

N_BARS = 600
ROUNDING = float(np.finfo(np.float64).eps)
TAME = ("walk", "huge", "short", "missing bars", "missing values")


@dataclass(frozen=True)
class Row:
    """A text of the language and a call of TA-Lib over some inputs, on some shapes of tape."""

    text: str
    inputs: tuple[str, ...]
    call: Callable[..., FloatArray]
    slack: float = 0.0
    shapes: tuple[str, ...] = SHAPES
    divided_in: int = 0  # window in which it is divided by deviations


def rows(
    text: str,
    inputs: str,
    call: Callable[..., FloatArray],
    windows: tuple[int, ...],
    slack: float = 0.0,
    shapes: tuple[str, ...] = SHAPES,
    *,
    divided: bool = False,
) -> list[Row]:
    return [
        Row(
            text.format(n=n),
            tuple(inputs.split()),
            lambda *x, n=n: call(*x, n),
            slack,
            shapes,
            n if divided else 0,
        )
        for n in windows
    ]


def hull(x: FloatArray, n: int) -> FloatArray:
    raw = 2.0 * talib.WMA(x, n // 2) - talib.WMA(x, n)
    known = np.isfinite(raw)
    out = np.full(len(x), math.nan)
    if known.sum() >= math.isqrt(n):
        out[known] = talib.WMA(raw[known], math.isqrt(n))
    return out


def line_fit(x: FloatArray, n: int) -> FloatArray:
    return np.asarray(talib.CORREL(x, np.arange(len(x), dtype=np.float64), n) ** 2)


def age(index: FloatArray, n: int) -> FloatArray:
    ages = np.arange(len(index)) - index.astype(np.float64)
    ages[: n - 1] = math.nan
    return ages


TABLE = [
    *rows("sma(close, {n})", "close", talib.SMA, (2, 14, 100), slack=1),
    *rows("sum(volume, {n})", "volume", talib.SUM, (2, 14, 100), slack=1),
    *rows("wma(close, {n})", "close", talib.WMA, (2, 14, 100), slack=1),
    *rows("hma(close, {n})", "close", hull, (4, 16, 100), slack=1),
    *rows("kama(close, {n})", "close", talib.KAMA, (2, 10, 100), slack=1),
    *rows(
        "vwma(close, {n})", "close volume",
        lambda x, v, n: talib.SUM(x * v, n) / talib.SUM(v, n), (2, 14, 100), shapes=TAME,
    ),
    *rows("std(close, {n})", "close", talib.STDDEV, (5, 14, 100), shapes=TAME, slack=1, divided=True),
    *rows("var(close, {n})", "close", talib.VAR, (2, 14, 100), slack=2),
    *rows(
        "zscore(close, {n})", "close",
        lambda x, n: (x - talib.SMA(x, n)) / talib.STDDEV(x, n), (5, 14, 100), shapes=TAME,
        divided=True,
    ),
    *rows("mad(close, {n})", "close", talib.AVGDEV, (2, 14, 100, 200), slack=1),
    *rows("linreg(close, {n})", "close", talib.LINEARREG, (2, 14, 100), slack=1),
    *rows("intercept(close, {n})", "close", talib.LINEARREG_INTERCEPT, (2, 14, 100), slack=1),
    *rows("slope(close, {n})", "close", talib.LINEARREG_SLOPE, (2, 14, 100), slack=1),
    *rows("r2(close, {n})", "close", line_fit, (14, 100), shapes=TAME, divided=True),
    *rows("highest(high, {n})", "high", talib.MAX, (2, 14, 100)),
    *rows("lowest(low, {n})", "low", talib.MIN, (2, 14, 100)),
    *rows("bars_since_highest(high, {n})", "high",
          lambda x, n: age(talib.MAXINDEX(x, n), n), (2, 14, 100), shapes=(*TAME, "spiky", "tiny")),
    *rows("bars_since_lowest(low, {n})", "low",
          lambda x, n: age(talib.MININDEX(x, n), n), (2, 14, 100), shapes=(*TAME, "spiky", "tiny")),
    *rows("correlation(close, volume, {n})", "close volume", talib.CORREL, (5, 14, 100), shapes=TAME,
          divided=True),
    *rows(
        "beta(volume / prev(volume) - 1, close / prev(close) - 1, {n})", "close volume",
        talib.BETA, (5, 14, 100), shapes=("walk", "tiny", "huge", "short"),
    ),
]  # fmt: skip


def conditioned(x: FloatArray, n: int) -> FloatArray:
    """Return the square of the largest number over the variance of each window, 0 before the first."""
    out = np.zeros(len(x))
    if len(x) >= n:
        variance = np.lib.stride_tricks.sliding_window_view(x, n).var(axis=1)
        out[n - 1 :] = np.max(np.abs(x)) ** 2 / variance
    return out


def allowance(row: Row, inputs: list[FloatArray]) -> FloatArray:
    """Return what TA-Lib's running sums may be off by, a bar."""
    n = len(inputs[0])
    lost = 4.0 * ROUNDING * n
    level = float(np.max(np.abs(inputs[0]))) ** row.slack
    if row.divided_in:
        spread = sum((conditioned(x, row.divided_in) for x in inputs), np.zeros(n))
        return lost * (spread + float(n * n)) * level
    return np.full(n, lost * level if row.slack else 1e-13)


def assert_agrees(row: Row, tape: Tape) -> None:
    """Equal within 1e-9 of the value, and of what TA-Lib's running sums can know."""
    program, _ = compiler.program_of([parse_expression(row.text, Scope())], HOUR_MS)
    got = invariants.run(ProgramMachine(program), tape).rows[0]
    inputs = [tape.named(name) for name in row.inputs]
    known = np.all(np.isfinite(inputs), axis=0)
    assert np.isnan(got[~known]).all(), row.text
    kept = [np.ascontiguousarray(x[known]) for x in inputs]
    wanted = row.call(*kept)
    assert np.array_equal(np.isnan(got[known]), np.isnan(wanted)), f"{row.text}: unknown at other bars"
    excess = np.abs(got[known] - wanted) - 1e-9 * np.abs(wanted) - allowance(row, kept)
    assert not (excess > 0.0).any(), f"{row.text}: {np.nanmax(excess)} too far at bar {np.nanargmax(excess)}"


@pytest.mark.parametrize(
    ("row", "shape"), [pytest.param(r, s, id=f"{r.text} {s}") for r in TABLE for s in r.shapes]
)
def test_a_statistic_equals_that_of_ta_lib(row: Row, shape: str) -> None:
    assert_agrees(row, shaped(shape, N_BARS))


@pytest.mark.parametrize("file", ["binance_BTC-USDT_1h", "binanceusdm_ETH-USDT-PERP_1h"])
def test_statistics_of_real_candles_equal_those_of_ta_lib(
    real_data: Callable[[str], Path], file: str
) -> None:
    bars = read_candles(real_data(f"candles/{file}.parquet"))
    last = slice(-5_000, None)
    tape = Tape(bars.step_ms, bars.time[last], bars.inputs[:, last], bars.funding_due[last])
    for row in TABLE:
        if not row.text.startswith("bars_since"):  # real candles have equals
            assert_agrees(row, tape)
