"""One table over the language: a row a function, from which each gets its oracle and every invariant."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.bars import read_candles
from research_lab.dsl import compiler
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.registry import FUNCTIONS, OPERATOR_CODES
from research_lab.dsl.tree import Node
from research_lab.engine.jit import FloatArray
from research_lab.engine.program import Program
from tests.oracles.functions import ORACLES as O
from tests.research_lab.engine import invariants
from tests.research_lab.engine.blend_rows import BLENDS
from tests.research_lab.engine.indicator_rows import INDICATORS
from tests.research_lab.engine.invariants import ProgramMachine, block_cuts
from tests.research_lab.engine.table_row import Row, cheap, full, of, up_bar
from tests.research_lab.engine.tapes import HOUR_MS, SHAPES, Tape, shaped

N_BARS = 240


def gain(x: FloatArray, sign: float) -> FloatArray:
    return O["max"](sign * O["change"](x, 1), np.zeros(len(x)))


def rsi(x: FloatArray, n: int) -> FloatArray:
    """Return the index from its parts: on the bar after a missing one the change is not known either."""
    up, down = O["rma"](gain(x, 1.0), n), O["rma"](gain(x, -1.0), n)
    moved = up + down > 0.0
    index = O["div"](100.0 * up, np.where(moved, up + down, math.nan))
    return np.where(np.isnan(up), math.nan, np.where(moved, index, 50.0))


def directional_index(tape: Tape, side: str, n: int) -> FloatArray:
    """Return 100 x movement / range, each smoothed over the bars on which it is known itself."""
    high, low, close = (tape.named(name) for name in ("high", "low", "close"))
    movement = O["rma"](O[f"{side}_dm"](high, low), n)
    return O["div"](100.0 * movement, O["rma"](O["true_range"](high, low, close), n))


def adx(tape: Tape, n: int) -> FloatArray:
    plus, minus = directional_index(tape, "plus", n), directional_index(tape, "minus", n)
    total = O["add"](plus, minus)
    balance = O["div"](100.0 * np.abs(plus - minus), np.where(total > 0.0, total, math.nan))
    return O["rma"](np.where(total == 0.0, 0.0, balance), n)


def atr(tape: Tape, n: int) -> FloatArray:
    return O["rma"](O["true_range"](*(tape.named(x) for x in ("high", "low", "close"))), n)


def abdi_ranaldo(tape: Tape) -> FloatArray:
    """Return the two-day corrected estimates, one a pair of bars, from logarithms as the paper has them."""
    high, low, close = (np.log(tape.named(name)) for name in ("high", "low", "close"))
    middle = (high + low) / 2.0
    found = np.full(tape.n, math.nan)
    for t in range(1, tape.n):
        product = 4.0 * (close[t - 1] - middle[t - 1]) * (close[t - 1] - middle[t])
        found[t] = product if math.isnan(product) else math.sqrt(max(product, 0.0))
    return found


def edge_of_premium(tape: Tape) -> FloatArray:
    """Return the worth of a trade whose chance grows with the premium, at the costs that are taken by default."""
    close, low = (tape.named(name) for name in ("close", "low"))
    p = 0.4 + tape.named("premium")
    stop = np.where(close > low, close - low, math.nan)
    return p * 3.0 - (1.0 - p) - O["div"]((O["sma"](abdi_ranaldo(tape), 32) + 0.002) * close, stop)


def rows_of(function: str, windows: tuple[int, ...], x: str = "close") -> tuple[Row, ...]:
    return tuple(Row(f"{function}({x}, {n})", of(function, x, n=n)) for n in windows)


def bar_vol(function: str, *inputs: str) -> tuple[Row, ...]:
    return tuple(Row(f"{function}({n})", of(function, *inputs, n=n)) for n in (1, 2, 14, 100))


def pairs(function: str) -> tuple[Row, ...]:
    return (
        *(
            Row(f"{function}(close, volume, {n})", of(function, "close", "volume", n=n))
            for n in (2, 3, 14, 100)
        ),
        Row(f"{function}(premium, close, 5)", of(function, "premium", "close", n=5)),
        Row(f"{function}(volume, premium, 20)", of(function, "volume", "premium", n=20)),
    )


TABLE: dict[str, tuple[Row, ...]] = {
    "add": (Row("close + open", of("add", "close", "open")), Row("1 + premium", lambda t: 1.0 + t.named("premium"))),
    "subtract": (Row("close - open", of("sub", "close", "open")),),
    "multiply": (Row("close * volume", of("mul", "close", "volume")),),
    "divide": (
        Row("close / volume", of("div", "close", "volume")),
        Row("1 / (close - open)", lambda t: O["div"](full(t, 1.0), O["sub"](t.named("close"), t.named("open")))),
    ),
    "negate": (Row("-close", of("neg", "close")),),
    "less": (
        Row("close < open", of("lt", "close", "open")),
        Row("close > open", of("gt", "close", "open")),
        Row("low < open < close", lambda t: O["and"](
            O["lt"](t.named("low"), t.named("open")), O["lt"](t.named("open"), t.named("close")))),
    ),
    "less_equal": (
        Row("close <= open", of("le", "close", "open")), Row("close >= open", of("ge", "close", "open")),
    ),
    "equal": (Row("close == open", of("eq", "close", "open")), Row("close != open", of("ne", "close", "open"))),
    "and": (
        Row("close > open and premium < 0", lambda t: O["and"](up_bar(t), cheap(t))),
        Row("premium < 0 and funding > 0 and close > open", lambda t: O["and"](
            O["and"](cheap(t), O["gt"](t.named("funding"), full(t, 0.0))), up_bar(t))),
    ),
    "or": (Row("close > open or premium < 0", lambda t: O["or"](up_bar(t), cheap(t))),),
    "not": (Row("not premium < 0", lambda t: O["not"](cheap(t))),),
    "prev": (Row("prev(premium)", of("prev", "premium", n=1)), *rows_of("prev", (1, 7, 100))),
    "sma": (*rows_of("sma", (1, 2, 14, 100)), Row("sma(premium, 5)", of("sma", "premium", n=5))),
    "sum": (*rows_of("sum", (1, 14, 100)), Row("sum(volume, 9)", of("sum", "volume", n=9))),
    "ema": rows_of("ema", (1, 2, 14, 100)),
    "rma": rows_of("rma", (1, 2, 14, 100)),
    "std": (*rows_of("std", (2, 14, 100)), Row("std(premium, 5)", of("std", "premium", n=5))),
    "slope": (*rows_of("slope", (2, 14, 100)), Row("slope(premium, 5)", of("slope", "premium", n=5))),
    "highest": rows_of("highest", (1, 2, 14, 100), "high"),
    "lowest": rows_of("lowest", (1, 2, 14, 100), "low"),
    "quantile": tuple(
        Row(f"quantile(close, {n}, {q})", of("quantile", "close", n=n, share=q))
        for n, q in ((1, 0.5), (2, 0.3), (14, 0.0), (14, 0.8), (100, 1.0), (100, 0.37))
    ),
    "wma": (*rows_of("wma", (2, 14, 100)), Row("wma(premium, 5)", of("wma", "premium", n=5))),
    "hma": (*rows_of("hma", (4, 9, 14, 100)), Row("hma(premium, 5)", of("hma", "premium", n=5))),
    "kama": (*rows_of("kama", (1, 2, 10, 100)), Row("kama(premium, 5)", of("kama", "premium", n=5))),
    "vwma": (
        *(Row(f"vwma(close, {n})", of("vwma", "close", "volume", n=n)) for n in (1, 2, 14, 100)),
        Row("vwma(5)", of("vwma", "close", "volume", n=5)),
        Row("vwma(premium, 5)", of("vwma", "premium", "volume", n=5)),
    ),
    "var": (*rows_of("var", (2, 14, 100)), Row("var(premium, 5)", of("var", "premium", n=5))),
    "zscore": (*rows_of("zscore", (2, 3, 14, 100)), Row("zscore(premium, 5)", of("zscore", "premium", n=5))),
    "mad": (*rows_of("mad", (1, 2, 14, 100, 150)), Row("mad(premium, 130)", of("mad", "premium", n=130))),
    "ewm_std": (*rows_of("ewm_std", (1, 2, 14, 100)), Row("ewm_std(premium, 5)", of("ewm_std", "premium", n=5))),
    "realised_vol": bar_vol("realised_vol", "close"),
    "parkinson_vol": bar_vol("parkinson_vol", "high", "low"),
    "garman_klass_vol": bar_vol("garman_klass_vol", "open", "high", "low", "close"),
    "bars_since_highest": rows_of("bars_since_highest", (1, 2, 14, 100), "high"),
    "bars_since_lowest": rows_of("bars_since_lowest", (1, 2, 14, 100), "low"),
    "median": (*rows_of("median", (1, 2, 14, 100)), Row("median(premium, 5)", of("median", "premium", n=5))),
    "rank": (*rows_of("rank", (1, 2, 14, 100)), Row("rank(premium, 5)", of("rank", "premium", n=5))),
    "linreg": (*rows_of("linreg", (2, 14, 100)), Row("linreg(premium, 5)", of("linreg", "premium", n=5))),
    "intercept": (*rows_of("intercept", (2, 14, 100)), Row("intercept(premium, 5)", of("intercept", "premium", n=5))),
    "r2": (*rows_of("r2", (2, 3, 14, 100)), Row("r2(premium, 5)", of("r2", "premium", n=5))),
    "skew": (*rows_of("skew", (3, 14, 100)), Row("skew(premium, 5)", of("skew", "premium", n=5))),
    "covariance": pairs("covariance"),
    "correlation": pairs("correlation"),
    "beta": pairs("beta"),
    "count": tuple(
        Row(f"count({text}, {n})", lambda t, when=when, n=n: O["count"](when(t), n))
        for n in (1, 14, 100) for text, when in (("close > open", up_bar), ("premium < 0", cheap))
    ),
    "true_range": (Row("true_range()", of("true_range", "high", "low", "close")),),
    "plus_dm": (Row("plus_dm()", of("plus_dm", "high", "low")),),
    "minus_dm": (Row("minus_dm()", of("minus_dm", "high", "low")),),
    "crosses_above": (
        Row("crosses_above(close, open)", of("crosses_above", "close", "open")),
        Row("crosses_above(premium, 0)", lambda t: O["crosses_above"](t.named("premium"), full(t, 0.0))),
    ),
    "crosses_below": (
        Row("crosses_below(close, open)", of("crosses_below", "close", "open")),
        Row("crosses_below(premium, 0)", lambda t: O["crosses_below"](t.named("premium"), full(t, 0.0))),
    ),
    "bars_since": (
        Row("bars_since(close > open)", lambda t: O["bars_since"](up_bar(t))),
        Row("bars_since(premium < 0)", lambda t: O["bars_since"](cheap(t))),
    ),
    "if_else": (
        Row("if_else(premium < 0, high, low)", lambda t: O["if_else"](cheap(t), t.named("high"), t.named("low"))),
        Row("if_else(close > open, premium, 0)", lambda t: O["if_else"](
            up_bar(t), t.named("premium"), full(t, 0.0))),
    ),
    "coalesce": (
        Row("coalesce(premium, 0)", lambda t: O["coalesce"](t.named("premium"), full(t, 0.0))),
        Row("coalesce(premium, funding)", of("coalesce", "premium", "funding")),
    ),
    "min": (Row("min(close, open)", of("min", "close", "open")),),
    "max": (
        Row("max(close, open)", of("max", "close", "open")),
        Row("max(premium, 0)", lambda t: O["max"](t.named("premium"), full(t, 0.0))),
    ),
    "abs": (Row("abs(premium)", of("abs", "premium")),),
    "log": (
        Row("log(close / open)", lambda t: O["log"](O["div"](t.named("close"), t.named("open")))),
        Row("log(premium)", of("log", "premium")),
    ),
    "sqrt": (Row("sqrt(close)", of("sqrt", "close")), Row("sqrt(premium)", of("sqrt", "premium"))),
    "change": (Row("change(premium)", of("change", "premium", n=1)), *rows_of("change", (1, 9))),
    "rsi": (
        Row("rsi(14)", lambda t: rsi(t.named("close"), 14)),
        Row("rsi(premium, 3)", lambda t: rsi(t.named("premium"), 3)),
    ),
    "atr": tuple(
        Row(f"atr({n})", lambda t, n=n: O["rma"](O["true_range"](*(t.named(x) for x in ("high", "low", "close"))), n))
        for n in (1, 14)
    ),
    "plus_di": (Row("plus_di(14)", lambda t: directional_index(t, "plus", 14)),),
    "minus_di": (Row("minus_di(14)", lambda t: directional_index(t, "minus", 14)),),
    "spread_estimate": tuple(
        Row(f"spread_estimate({n})", lambda t, n=n: O["sma"](abdi_ranaldo(t), n)) for n in (1, 20)
    ),
    "edge": (
        Row("edge(0.4, 2, atr(5), spread_estimate(3) + 0.001)", lambda t: 0.4 * 2.0 - 0.6 - O["div"](
            (O["sma"](abdi_ranaldo(t), 3) + 0.001) * t.named("close"), atr(t, 5))),
        Row("edge(0.4 + premium, 3, close - low)", lambda t: edge_of_premium(t)),
    ),
    "adx": (Row("adx(14)", lambda t: adx(t, 14)), Row("adx(2)", lambda t: adx(t, 2))),
    **INDICATORS,
    **BLENDS,
}  # fmt: skip

ROWS = [row for rows in TABLE.values() for row in rows]
DERIVED = {
    "rsi(14)": of("rsi", "close", n=14),
    "atr(14)": of("atr", "high", "low", "close", n=14),
    "plus_di(14)": of("plus_di", "high", "low", "close", n=14),
    "minus_di(14)": of("minus_di", "high", "low", "close", n=14),
    "adx(14)": of("adx", "high", "low", "close", n=14),
}


def tree(text: str) -> Node:
    return parse_expression(text, Scope())


def compiled(*texts: str) -> Program:
    return compiler.program_of([tree(text) for text in texts], HOUR_MS)[0]


ALL = compiled(*(row.text for row in ROWS))


def outputs(text: str, tape: Tape) -> FloatArray:
    return invariants.run(ProgramMachine(compiled(text)), tape).rows[0]


@dataclass(frozen=True)
class Slack:
    """What a function's rows may be off beside 1e-9 of each value, and why.

    Parameters
    ----------
    of_largest : share of the row's largest value. of_prices : share of the highest price, for rows that are prices.
    """

    why: str
    of_largest: float = 0.0
    of_prices: float = 0.0


RELATIVE = 1e-9
SLACK = {
    "std": Slack(
        "of equal prices the oracle's mean is rounded, while the engine's deviation is 0", of_prices=1e-15
    ),
    "spread_estimate": Slack(
        "the logarithm of a close that all but equals that of the middle of the range: their difference keeps half "
        "the digits",
        of_largest=1e-10,
    ),
    "edge": Slack("reward less risk and costs, each near 1, where they all but cancel", of_largest=1e-12),
}


def assert_close(got: FloatArray, wanted: FloatArray, text: str, tape: Tape, function: str = "") -> None:
    """Known at the same bars, and equal within 1e-9 of each value and the slack of the function."""
    known = np.isfinite(wanted)
    assert np.array_equal(np.isnan(got), ~known), f"{text}: unknown at other bars"
    slack = SLACK.get(function, Slack(""))
    largest = float(np.max(np.abs(wanted[known]), initial=0.0))
    highest = float(np.nanmax(np.abs(tape.inputs[:4]))) if tree(text).dimension.price == 1 else 0.0
    np.testing.assert_allclose(
        got[known],
        wanted[known],
        rtol=RELATIVE,
        atol=slack.of_largest * largest + slack.of_prices * highest,
        err_msg=text,
    )


def test_the_table_covers_every_function_and_operator() -> None:
    assert set(TABLE) == set(FUNCTIONS) | set(OPERATOR_CODES)


def test_each_row_uses_what_it_stands_for() -> None:
    def operations(node: Node) -> set[str]:
        return {node.op}.union(*(operations(arg) for arg in node.args))

    for name, rows in TABLE.items():
        for row in rows:
            assert name in operations(tree(row.text)), row.text


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_function_equals_its_oracle(name: str, shape: str) -> None:
    tape = shaped(shape, N_BARS)
    for row in TABLE[name]:
        assert_close(outputs(row.text, tape), row.meaning(tape), row.text, tape, name)


@pytest.fixture(scope="module")
def candles(real_data: Callable[[str], Path]) -> Tape:
    """Two thousand hours of bitcoin's perpetual, with funding and premium."""
    bars = read_candles(
        real_data("candles/binanceusdm_BTC-USDT-PERP_1h.parquet"),
        funding=real_data("funding/binanceusdm_BTC-USDT-PERP_funding.parquet"),
        spot=real_data("candles/binance_BTC-USDT_1h.parquet"),
    ).window(5_000, 7_000)
    return Tape(bars.step_ms, bars.time, np.ascontiguousarray(bars.inputs), bars.funding_due)


@pytest.mark.parametrize("name", TABLE)
def test_a_function_equals_its_oracle_on_real_candles(name: str, candles: Tape) -> None:
    for row in TABLE[name]:
        wanted = row.meaning(candles)
        assert np.isfinite(wanted).sum() > 400, f"{row.text}: hardly known on these candles"
        assert_close(outputs(row.text, candles), wanted, row.text, candles, name)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("shape", ["walk", "spiky", "tiny", "huge"])
def test_an_error_of_a_millionth_is_found(name: str, shape: str) -> None:
    """Planted at one bar, among those on which the value is at least a thousandth of the row's largest."""
    tape, rng = shaped(shape, N_BARS), np.random.default_rng([SHAPES.index(shape), *name.encode()])
    for row in TABLE[name]:
        wanted = row.meaning(tape)
        size = np.where(np.isfinite(wanted), np.abs(wanted), 0.0)
        bars = np.flatnonzero((size > 0.0) & (size >= 1e-3 * size.max()))
        if not bars.shape[0]:
            continue
        off = wanted.copy()
        off[rng.choice(bars)] *= 1.0 + 1e-6
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            assert_close(off, wanted, row.text, tape, name)


def near_the_middle() -> Tape:
    """Return a walk on which some closes are within 3e-8 of the middle of their range."""
    tape = shaped("walk", N_BARS)
    tape.inputs[3, ::20] = np.sqrt(tape.inputs[1, ::20] * tape.inputs[2, ::20]) * (1.0 + 3e-8)
    return tape


@pytest.mark.parametrize("name", SLACK)
def test_each_slack_is_needed_and_enough(name: str, request: pytest.FixtureRequest) -> None:
    tapes = {"std": lambda: shaped("constant", N_BARS), "spread_estimate": near_the_middle}
    tape = tapes[name]() if name in tapes else request.getfixturevalue("candles")
    rows = [(outputs(row.text, tape), row.meaning(tape), row.text) for row in TABLE[name]]
    for got, wanted, text in rows:
        assert_close(got, wanted, text, tape, name)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        for got, wanted, text in rows:
            assert_close(got, wanted, text, tape)


WHOLE_BARS = ("walk", "constant", "grid", "tiny", "huge", "short", "missing bars")


@pytest.mark.parametrize(
    ("text", "shape"),
    [(t, s) for t in DERIVED for s in WHOLE_BARS if (t, s) != ("rsi(14)", "missing bars")],
)
def test_a_derived_function_equals_the_oracle_of_the_whole(text: str, shape: str) -> None:
    """But for rsi over missing bars: `prev` does not know the value, so the change after it is unknown too."""
    tape = shaped(shape, N_BARS)
    assert_close(outputs(text, tape), DERIVED[text](tape), text, tape)


@pytest.mark.parametrize("shape", SHAPES)
def test_together_with_others_a_function_gives_the_same_bytes(shape: str) -> None:
    tape = shaped(shape, N_BARS)
    together = invariants.run(ProgramMachine(ALL), tape).rows
    for row, values in zip(ROWS, together, strict=True):
        assert values.tobytes() == outputs(row.text, tape).tobytes(), row.text


@pytest.mark.proof
@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
def test_every_function_keeps_the_invariants(shape: str, data: st.DataObject) -> None:
    tape = shaped(shape, N_BARS)
    cuts = data.draw(block_cuts(tape.n))
    invariants.check_all(ProgramMachine(ALL), tape, cuts, data.draw(st.integers(1, tape.n - 1)))


OVERFLOWING = [
    *(f"{name}(volume * 1e299 * 1e9, 3)" for name in ("sum", "sma", "ema", "rma", "std", "slope")),
    *(f"{name}(premium * volume * 1e299 * 1e9, 3)" for name in ("std", "slope", "ema", "change")),
    "quantile(premium * volume * 1e299 * 1e9, 3, 0.4)",
]


@pytest.mark.parametrize("text", OVERFLOWING)
def test_a_result_that_is_not_finite_is_unknown(text: str) -> None:
    tape = shaped("walk", N_BARS)
    tape.inputs[6] = np.where(np.arange(tape.n) % 2 == 0, 1.0, -1.0)
    tape.inputs[4] = 1.5 + 0.1 * np.sin(np.arange(tape.n))
    values = outputs(text, tape)
    assert not np.isinf(values).any()
    assert not (values == 0.0).any(), "squares that overflow are no deviation of zero"
    rising = outputs(f"{text} > volume", tape)
    np.testing.assert_array_equal(np.isnan(rising), np.isnan(values))


def test_the_sum_of_large_numbers_overflows_here() -> None:
    """The planted case: each number is finite and the sum of three is not."""
    tape = shaped("walk", N_BARS)
    tape.inputs[4] = 1.5
    assert np.isfinite(outputs("volume * 1e299 * 1e9", tape)).all()
    assert np.isnan(outputs("sum(volume * 1e299 * 1e9, 3)", tape)).all()


def test_a_value_never_comes_before_the_derived_warm_up_of_a_window() -> None:
    tape = shaped("walk", N_BARS)
    for row in ROWS:
        node = tree(row.text)
        _, warmup = compiler.program_of([node], HOUR_MS)
        if (
            node.op in ("sma", "sum", "std", "slope", "highest", "lowest", "quantile", "prev")
            and "premium" not in row.text
        ):
            known = np.flatnonzero(np.isfinite(outputs(row.text, tape)))
            assert known[0] == warmup - 1, row.text
