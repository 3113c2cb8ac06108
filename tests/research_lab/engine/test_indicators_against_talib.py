"""Indicators against TA-Lib: the same numbers, but for conventions that are stated here.

TA-Lib starts its exponential averages with a plain mean of the first n values, this language with the first
value: a row says over how many bars the difference is forgotten. It knows no unknown value: where bars are
missing whole, it is given the bars that are there, which is what a window of known values means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from research_lab.bars import read_candles
from research_lab.engine.jit import FloatArray
from tests.research_lab.engine.tapes import PRICES, Tape, walk
from tests.research_lab.engine.test_function_table import outputs, tree

talib = pytest.importorskip("talib", reason="TA-Lib is a library of the development environment")

N_BARS = 3_000
Call = Callable[[FloatArray, FloatArray, FloatArray, FloatArray], FloatArray]  # high, low, close, volume


@dataclass(frozen=True)
class Pair:
    """A text of the language and TA-Lib's call for it.

    Parameters
    ----------
    text, call : give the same number on each bar.
    differs : the convention in which they part, and which is taken here; "" for none.
    forgets : bars after which a different start is forgotten to within the tolerance.
    still : the value here, NaN for unknown, where nothing moved or was traded and TA-Lib gives 0; None for 0.
    over_gaps : whether missing bars are as none; not for what looks at the bar before, which is unknown then.
    """

    text: str
    call: Call
    differs: str = ""
    forgets: int = 0
    still: float | None = None
    over_gaps: bool = True

    def __str__(self) -> str:
        return self.text


SEED = "exponential averages start from the first value, not from a mean of the first n"
HEIGHTLESS = "a range without height has no place in it: unknown, not 0"
PAIRS = (
    Pair("stochastic_k(14)", lambda h, lo, c, v: talib.STOCHF(h, lo, c, 14, 1, 0)[0], HEIGHTLESS, still=np.nan),
    Pair("stochastic_k(14, 3)", lambda h, lo, c, v: talib.STOCH(h, lo, c, 14, 3, 0, 1, 0)[0], HEIGHTLESS, still=np.nan),
    Pair("stochastic_d(14, 3, 5)", lambda h, lo, c, v: talib.STOCH(h, lo, c, 14, 3, 0, 5, 0)[1], HEIGHTLESS, still=np.nan),
    Pair("williams_r(14)", lambda h, lo, c, v: talib.WILLR(h, lo, c, 14), HEIGHTLESS, still=np.nan),
    Pair("cci(20)", lambda h, lo, c, v: talib.CCI(h, lo, c, 20)),
    Pair("mfi(14)", lambda h, lo, c, v: talib.MFI(h, lo, c, v, 14),
         "50 where no money moved, not 0", still=50.0, over_gaps=False),
    Pair("rsi(14)", lambda h, lo, c, v: talib.RSI(c, 14), f"{SEED}; 50 where nothing moved, not 0",
         forgets=600, still=50.0, over_gaps=False),
    Pair("roc(close, 9)", lambda h, lo, c, v: talib.ROCP(c, 9), over_gaps=False),
    Pair("100 * roc(close, 9)", lambda h, lo, c, v: talib.ROC(c, 9), "a share, not per cent", over_gaps=False),
    Pair("change(close, 9)", lambda h, lo, c, v: talib.MOM(c, 9), over_gaps=False),
    Pair("plus_dm()", lambda h, lo, c, v: talib.PLUS_DM(h, lo, 1), "one bar, not summed", over_gaps=False),
    Pair("minus_dm()", lambda h, lo, c, v: talib.MINUS_DM(h, lo, 1), "one bar, not summed", over_gaps=False),
    Pair("macd(12, 26)", lambda h, lo, c, v: talib.MACD(c, 12, 26, 9)[0], SEED, forgets=600),
    Pair("macd_signal(12, 26, 9)", lambda h, lo, c, v: talib.MACD(c, 12, 26, 9)[1], SEED, forgets=600),
    Pair("macd_histogram(12, 26, 9)", lambda h, lo, c, v: talib.MACD(c, 12, 26, 9)[2], SEED, forgets=600),
    Pair("atr(14)", lambda h, lo, c, v: talib.ATR(h, lo, c, 14), SEED, forgets=600),
    Pair("plus_di(14)", lambda h, lo, c, v: talib.PLUS_DI(h, lo, c, 14), SEED, forgets=600, still=np.nan),
    Pair("minus_di(14)", lambda h, lo, c, v: talib.MINUS_DI(h, lo, c, 14), SEED, forgets=600, still=np.nan),
    Pair("adx(14)", lambda h, lo, c, v: talib.ADX(h, lo, c, 14), SEED, forgets=900, still=np.nan),
    Pair("aroon_down(14)", lambda h, lo, c, v: talib.AROON(h, lo, 14)[0]),
    Pair("aroon_up(14)", lambda h, lo, c, v: talib.AROON(h, lo, 14)[1]),
    Pair("aroon(25)", lambda h, lo, c, v: talib.AROONOSC(h, lo, 25)),
    Pair("psar(0.02, 0.2)", lambda h, lo, c, v: talib.SAR(h, lo, 0.02, 0.2)),
    Pair("psar(0.3, 0.1)", lambda h, lo, c, v: talib.SAR(h, lo, 0.3, 0.1)),
    Pair("bollinger_upper(20, 2)", lambda h, lo, c, v: talib.BBANDS(c, 20, 2.0, 2.0)[0]),
    Pair("bollinger_middle(20)", lambda h, lo, c, v: talib.BBANDS(c, 20, 2.0, 2.0)[1]),
    Pair("bollinger_lower(20, 2)", lambda h, lo, c, v: talib.BBANDS(c, 20, 2.0, 2.0)[2]),
    Pair("donchian_upper(20)", lambda h, lo, c, v: talib.MAX(h, 20)),
    Pair("donchian_lower(20)", lambda h, lo, c, v: talib.MIN(lo, 20)),
    Pair("donchian_middle(20)", lambda h, lo, c, v: talib.MIDPRICE(h, lo, 20)),
    Pair("typical_price()", lambda h, lo, c, v: talib.TYPPRICE(h, lo, c)),
    Pair("obv()", lambda h, lo, c, v: talib.OBV(c, v) - v[0],
         "the first bar did not rise or fall: TA-Lib counts its volume, unknown here",
         forgets=1, over_gaps=False),
    Pair("accumulation_distribution()", lambda h, lo, c, v: talib.AD(h, lo, c, v)),
)  # fmt: skip


def planted(market: str) -> Tape:
    """Return a walk with what numerical code breaks on."""
    rng = np.random.default_rng(11)
    tape = walk(rng, N_BARS)
    inputs = tape.inputs
    if market == "constant":
        inputs[:PRICES] = 0.1
    elif market == "spikes":
        inputs[:PRICES, 1200::400] *= 1e4
    elif market == "no volume":
        inputs[PRICES, 1000:1100] = 0.0
        inputs[PRICES, 2000:] *= rng.random(N_BARS - 2000) < 0.5
    elif market == "missing":
        for first in (500, 1500, 2200):
            inputs[:, first : first + 30] = np.nan
    elif market in ("1e-8", "1e8"):
        inputs[:PRICES] *= float(market) / 100.0
    return tape


def compare(pair: Pair, tape: Tape) -> int:
    """Assert that both give the same numbers, but where they part by convention; return how many were equal.

    Equal is within 1e-9 of the value, 1e-12 of the largest and 1e-14 of the prices: TA-Lib's own running
    sums keep no more digits after a spike.
    """
    there = np.isfinite(tape.inputs[: PRICES + 1]).all(axis=0)
    bars = [np.ascontiguousarray(tape.inputs[row, there]) for row in (1, 2, 3, 4)]
    wanted, got = pair.call(*bars)[pair.forgets :], outputs(pair.text, tape)[there][pair.forgets :]
    level = float(np.abs(bars[0]).max()) if tree(pair.text).dimension.price == 1 else 0.0
    atol = 1e-12 * float(np.nanmax(np.abs(wanted))) + 1e-14 * level
    equal = np.isclose(got, wanted, rtol=1e-9, atol=atol, equal_nan=True)
    if pair.still is not None:
        equal |= (wanted == 0.0) & np.isclose(got, pair.still, rtol=0.0, atol=0.0, equal_nan=True)
    bad = np.flatnonzero(~equal)
    assert bad.size == 0, (
        f"{pair}: {got[bad[:3]]} here, {wanted[bad[:3]]} in TA-Lib at {bad[:3]} of {bad.size}"
    )
    return int((np.isfinite(got) & np.isfinite(wanted)).sum())


@pytest.mark.parametrize("market", ["walk", "constant", "spikes", "no volume", "1e-8", "1e8", "missing"])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_an_indicator_equals_talib(pair: Pair, market: str) -> None:
    if market == "missing" and not pair.over_gaps:
        pytest.skip("looks at the bar before, which is unknown after a missing one; TA-Lib sees no gap")
    n_equal = compare(pair, planted(market))
    assert n_equal > 2_000 or market == "constant"


@pytest.mark.parametrize(
    "file", ["candles/binance_BTC-USDT_1h.parquet", "candles/binanceusdm_SOL-USDT-PERP_15m.parquet"]
)
def test_indicators_equal_talib_on_real_candles(real_data: Callable[[str], Path], file: str) -> None:
    bars = read_candles(real_data(file))
    last = slice(-20_000, None)
    tape = Tape(
        bars.step_ms, bars.time[last], np.ascontiguousarray(bars.inputs[:, last]), bars.funding_due[last]
    )
    for pair in PAIRS:
        assert compare(pair, tape) > 15_000, pair


@pytest.mark.parametrize("pair", [p for p in PAIRS if "14" in p.text or "20" in p.text], ids=str)
def test_a_window_of_one_bar_more_would_be_found(pair: Pair) -> None:
    longer = pair.text.replace("14", "15").replace("20", "21")
    with pytest.raises(AssertionError):
        compare(replace(pair, text=longer), planted("walk"))
