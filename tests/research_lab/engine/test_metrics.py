"""Metrics against plain NumPy over the whole equity curve, and against the fills."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import research_lab
from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import load_spec
from research_lab.engine import layout, metrics
from research_lab.engine.backtest import Backtest, backtest, daily_returns, trades_of
from research_lab.engine.jit import FloatArray
from research_lab.engine.slot import BOOK_AT
from research_lab.engine.terms import Terms
from tests.research_lab.engine.tapes import HOUR_MS, Tape, walk, with_gaps

STRATEGIES = Path(research_lab.__file__).parent / "strategies"
BARS_A_YEAR = 365 * 24
START = 700


def plain(equity: FloatArray, position: FloatArray, bars_a_year: float = BARS_A_YEAR) -> dict[str, float]:
    """Return what depends on the equity curve, by the definitions; capital 1 before the first bar."""
    curve = np.concatenate([[1.0], equity])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        returns = np.where(curve[:-1] > 0.0, curve[1:] / curve[:-1] - 1.0, 0.0)
        mean, deviation = returns.mean(), returns.std(ddof=1)
        downside = math.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))
        peak = np.maximum.accumulate(curve)
        drawdown = np.max(1.0 - curve / peak)
        years = len(equity) / bars_a_year
        root = math.sqrt(bars_a_year)
        under, longest = 0, 0
        for below in curve < peak:
            under = under + 1 if below else 0
            longest = max(longest, under)
        annual = curve[-1] ** (1.0 / years) - 1.0 if curve[-1] > 0.0 else math.nan
        return {
            "return": curve[-1] - 1.0,
            "sharpe": mean / deviation * root if deviation > 0.0 else math.nan,
            "sortino": mean / downside * root if downside > 0.0 else math.nan,
            "calmar": annual / drawdown if drawdown > 0.0 else math.nan,
            "max_drawdown": drawdown,
            "max_drawdown_bars": longest,
            "exposure": np.mean(position != 0.0),
            "years": years,
        }


@pytest.fixture(scope="module")
def tape() -> Tape:
    rng = np.random.default_rng(12)
    return with_gaps(rng, walk(rng, 9000), share=0.02)


@pytest.fixture(scope="module")
def ran(tape: Tape) -> Backtest:
    return backtest(compile_spec(load_spec(STRATEGIES / "ema_atr.yaml")), tape, Terms(), start=START)


def test_metrics_of_a_run_are_those_of_its_curve_and_trades(ran: Backtest) -> None:
    wanted = plain(ran.equity[START:], ran.position[START:])
    pnl, r = ran.trades["pnl"], ran.trades["r"]
    wanted |= {
        "profit_factor": pnl[pnl > 0].sum() / -pnl[pnl <= 0].sum(),
        "expectancy_r": r.mean(),
        "win_rate": np.mean(pnl > 0),
        "n_trades": len(pnl),
    }
    assert len(pnl) > 10
    for name, value in wanted.items():
        assert ran.metrics[name] == pytest.approx(value, rel=1e-9, abs=1e-14), name


def test_turnover_is_the_notional_over_the_last_marked_equity_a_year(ran: Backtest) -> None:
    marked = ran.equity[ran.fills["bar"] - 1]
    notional = np.abs(ran.fills["quantity"]) * ran.fills["price"]
    assert ran.metrics["turnover"] == pytest.approx(
        (notional / marked).sum() / ran.metrics["years"], rel=1e-9
    )


def test_the_trades_and_the_open_position_make_the_equity(ran: Backtest, tape: Tape) -> None:
    cash = 1.0 - np.sum(ran.fills["quantity"] * ran.fills["price"]) - ran.fills["fee"].sum()
    assert ran.equity[-1] == pytest.approx(cash + ran.position[-1] * tape.inputs[3, -1], rel=1e-12)


def test_nothing_is_counted_before_the_start(ran: Backtest) -> None:
    assert np.all(ran.equity[:START] == 1.0)
    assert np.all(ran.fills["bar"] > START)


def summary(equity: FloatArray, position: FloatArray, cuts: tuple[int, ...] = ()) -> dict[str, float]:
    accumulators, book, out = np.zeros(metrics.SIZE), np.zeros(layout.BOOK_SIZE), np.empty(len(metrics.NAMES))
    metrics.begin(accumulators, 1.0)
    borders = [0, *cuts, len(equity)]
    for a, b in pairwise(borders):
        metrics.accumulate(accumulators, equity[a:b])
    book[layout.BARS_IN_POSITION] = np.count_nonzero(position)
    metrics.summarise(accumulators, book, HOUR_MS, out)
    return dict(zip(metrics.NAMES, out.tolist(), strict=True))


@given(st.lists(st.floats(0.2, 3.0), min_size=2, max_size=60), st.integers(0, 100))
def test_any_curve_gives_the_plain_metrics(curve: list[float], seed: int) -> None:
    equity = np.array(curve)
    position = np.random.default_rng(seed).integers(-1, 2, len(curve)).astype(float)
    got, wanted = summary(equity, position), plain(equity, position)
    for name in ("return", "sortino", "max_drawdown", "max_drawdown_bars", "exposure", "years"):
        assert got[name] == pytest.approx(wanted[name], rel=1e-9, abs=1e-12, nan_ok=True), name
    if np.ptp(equity) > 1e-6:
        assert got["sharpe"] == pytest.approx(wanted["sharpe"], rel=1e-6, abs=1e-9, nan_ok=True)


@given(st.lists(st.floats(0.2, 3.0), min_size=4, max_size=60), st.data())
def test_the_block_does_not_matter(curve: list[float], data: st.DataObject) -> None:
    equity, position = np.array(curve), np.zeros(len(curve))
    cuts = tuple(data.draw(st.lists(st.integers(1, len(curve) - 1), unique=True).map(sorted)))
    assert repr(summary(equity, position, cuts)) == repr(summary(equity, position))


def test_a_curve_that_never_moves_has_no_ratio() -> None:
    got = summary(np.ones(10), np.zeros(10))
    assert (got["return"], got["max_drawdown"], got["exposure"]) == (0.0, 0.0, 0.0)
    for name in ("sharpe", "sortino", "calmar", "profit_factor", "expectancy_r", "win_rate"):
        assert math.isnan(got[name]), name


def test_drawdowns_by_hand() -> None:
    got = summary(np.array([1.1, 0.88, 0.99, 1.2, 1.14, 1.2]), np.array([1.0, 1, 1, 0, 0, 0]))
    assert got["max_drawdown"] == pytest.approx(0.2)
    assert got["max_drawdown_bars"] == 2
    assert got["exposure"] == 0.5
    assert got["return"] == pytest.approx(0.2)


def test_daily_returns_are_by_utc_day_and_a_day_without_bars_is_flat() -> None:
    time = np.array([0, 23, 24, 47, 96, 97]) * HOUR_MS
    first_day, returns = daily_returns(time, np.array([1.0, 1.1, 1.2, 1.21, 1.21, 2.42]))
    assert first_day == 0
    assert returns == pytest.approx([0.1, 0.1, 0.0, 0.0, 1.0])


def test_daily_returns_compound_to_the_equity(ran: Backtest, tape: Tape) -> None:
    first_day, returns = daily_returns(tape.time, ran.equity, START)
    assert first_day == tape.time[START] // (24 * HOUR_MS)
    assert np.prod(1.0 + returns) == pytest.approx(ran.equity[-1], rel=1e-12)


def test_a_run_without_fills_has_no_trades(ran: Backtest) -> None:
    assert trades_of(ran.fills[:0]).shape == (0,)
    assert trades_of(ran.fills[:1]).shape == (0,)
    assert ran.state[BOOK_AT + layout.TRADES] == len(ran.trades)
