"""Indicators where nothing moves or is traded, after a wild past: what they say by definition, and never noise.

A running sum that kept a trace of the past would divide one trace by another here.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.research_lab.engine.tapes import PRICES, Tape, walk
from tests.research_lab.engine.test_function_table import outputs

STILL = slice(200, 260)
WINDOWS = (3, 7, 20, 23)
UNKNOWN = math.nan


def tape(*, moves: bool, volume: bool) -> Tape:
    """Return a walk with volumes of very different size, and a part that is still or untraded."""
    rng = np.random.default_rng(11)
    made = walk(rng, 300, volatility=0.05)
    made.inputs[PRICES] *= np.exp(5.0 * rng.normal(size=made.n))
    if not moves:
        made.inputs[:PRICES, STILL] = 1.1 * made.inputs[3, STILL.start - 1]
    if not volume:
        made.inputs[PRICES, STILL] = 0.0
    return made


@pytest.mark.parametrize("n", WINDOWS)
@pytest.mark.parametrize(
    ("text", "value"),
    [("cmf({n})", UNKNOWN), ("vwap({n})", UNKNOWN), ("mfi({n})", 50.0), ("volume_zscore({n})", UNKNOWN)],
)
def test_without_volume(text: str, value: float, n: int) -> None:
    values = outputs(text.format(n=n), tape(moves=True, volume=False))
    assert np.isfinite(values[STILL.start - 1])
    np.testing.assert_array_equal(values[STILL][n - 1 :], value)


@pytest.mark.parametrize("n", WINDOWS)
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("cci({n})", 0.0),
        ("bollinger_width({n}, 2)", 0.0),
        ("bollinger_percent_b({n}, 2)", UNKNOWN),
        ("stochastic_k({n})", UNKNOWN),
        ("williams_r({n})", UNKNOWN),
        ("money_flow_volume()", 0.0),
        ("cmf({n})", 0.0),
        ("upper_wick()", 0.0),
        ("lower_wick()", 0.0),
        ("body()", 0.0),
        ("aroon({n})", 0.0),
    ],
)
def test_without_a_move(text: str, value: float, n: int) -> None:
    values = outputs(text.format(n=n), tape(moves=False, volume=True))
    assert np.isfinite(values[STILL.start - 1])
    np.testing.assert_array_equal(values[STILL][n:], value)


def test_the_days_vwap_is_unknown_until_the_first_trade_of_the_day() -> None:
    made = tape(moves=True, volume=False)
    midnights = np.flatnonzero(made.time[STILL] % 86_400_000 == 0)
    assert midnights.size > 1
    assert np.isnan(outputs("vwap_day()", made)[STILL][midnights[0] :]).all()


def test_ticks_that_tie_are_no_move_of_money() -> None:
    """Cents as whole numbers say exactly when a mean of three prices moved; floats differ in the last digit."""
    rng = np.random.default_rng(5)
    made = walk(rng, 2_000)
    low = 19_300 + rng.integers(0, 6, size=made.n)
    cents = np.stack([low + 3, low + 6, low, low + rng.integers(0, 7, size=made.n)])
    made.inputs[:PRICES] = cents / 100.0
    moved = np.sign(np.diff(cents[1:].sum(axis=0), prepend=0))
    as_floats = np.sign(np.diff(made.inputs[1:PRICES].sum(axis=0), prepend=0.0))
    assert (moved != as_floats).sum() > 10, "otherwise the test would prove nothing"
    money = moved * cents[1:].sum(axis=0) * made.inputs[PRICES]
    wanted = [
        100.0 * money[i - 6 : i + 1].clip(min=0.0).sum() / np.abs(money[i - 6 : i + 1]).sum()
        for i in range(7, made.n)
    ]
    np.testing.assert_allclose(outputs("mfi(7)", made)[7:], wanted, rtol=1e-9, atol=1e-9)
