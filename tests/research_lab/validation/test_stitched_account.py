"""One account through all folds, against the slow broker that is handed from one set of signals to the next."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from research_lab.bars import Bars
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import layout, reasons
from research_lab.engine.backtest import backtest
from research_lab.engine.terms import Terms
from research_lab.market_data import worlds
from research_lab.validation.recording import record
from research_lab.validation.stitched_account import StitchedAccount, daily_costs, stitch
from tests.oracles.slow_broker import Signal, SlowBroker, SlowPlan, SlowTerms

N = 24 * 90
TERMS = Terms(perpetual=True, leverage=2.0)
TEXT = """
spec: 1
name: both_sides
hypothesis: a test
timeframe: 2h
side: both
params:
  n: {range: [2, 60], step: 1, default: 6}
  hold: {range: [3, 200], step: 1, default: 20}
enter_long: crosses_above(close, sma(close, n))
enter_short: crosses_below(close, sma(close, n))
exit_long: close < prev(lowest(low, n))
stop: 3 * atr(10)
take: [{at: 2R, close: 0.5}]
trail: {distance: 4 * atr(10), after: 1R}
time_stop: hold
size: {fraction: 0.6}
"""


@pytest.fixture(scope="module")
def bars() -> Bars:
    return worlds.noise(11, N).bars


@pytest.fixture(scope="module")
def template() -> Spec:
    return parse_spec(TEXT)


def _stitch(bars: Bars, specs: list[Spec], begins: list[int]) -> StitchedAccount:
    return stitch([compile_spec(spec) for spec in specs], begins, bars, TERMS, np.zeros(bars.n))


def _slow(bars: Bars, specs: list[Spec], begins: list[int]) -> tuple[SlowBroker, list[int]]:
    """Hand one slow broker from the signals of one fold to those of the next, by the rule as it is written."""
    signals = [_signals(bars, spec) for spec in specs]
    terms = SlowTerms(perpetual=True, leverage=2.0)
    plans = [_plan(spec) for spec in specs]
    broker, owner, owners = SlowBroker(terms, plans[0], 1.0), 0, []
    for t in range(bars.n):
        due = sum(t >= begin for begin in begins) - 1
        if due > owner and broker.position is None and broker.pending_entry is None:
            owner = due
            broker.plan = plans[owner]
        prices = tuple(float(bars.row(k)[t]) for k in range(4))
        broker.step(prices, 0.0, signals[owner][t], 0, active=due >= 0 and owner == due)  # type: ignore[arg-type]
        owners.append(owner if due >= 0 else -1)
    return broker, owners


def _plan(spec: Spec) -> SlowPlan:
    plan = compile_spec(spec).plan
    return SlowPlan(
        has_stop=True,
        has_trail=True,
        size_kind=int(plan[layout.SIZE_KIND]),
        time_stop=int(plan[layout.TIME_STOP]),
        trail_after_r=float(plan[layout.TRAIL_AFTER]),
        takes=[(2.0, 0.5)],
        warmup=int(plan[layout.WARMUP]),
    )


def _signals(bars: Bars, spec: Spec) -> list[list[Signal]]:
    seen = record(compile_spec(spec), bars, TERMS)
    rows = [seen.signal(role) for role in range(layout.N_SIGNALS)]
    found: list[list[Signal]] = [[] for _ in range(bars.n)]
    for s, bar in enumerate(seen.decided_at.tolist()):
        found[bar].append(Signal(*(float(row[s]) for row in rows)))
    return found


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate))  # shrinking takes minutes
@given(
    begins=st.lists(st.integers(100, N - 100), min_size=2, max_size=6, unique=True).map(sorted),
    draws=st.lists(st.tuples(st.integers(2, 60), st.integers(3, 200)), min_size=6, max_size=6),
)
def test_the_account_is_the_slow_brokers(
    bars: Bars, template: Spec, begins: list[int], draws: list[tuple[int, int]]
) -> None:
    specs = [template.bind({"n": n, "hold": hold}) for n, hold in draws[: len(begins)]]
    fast = _stitch(bars, specs, begins)
    slow, owners = _slow(bars, specs, begins)
    np.testing.assert_allclose(fast.equity, slow.result.equity, rtol=1e-9)
    np.testing.assert_allclose(fast.position, slow.result.position, rtol=1e-9, atol=1e-12)
    assert fast.owner.tolist() == owners
    assert [int(b) for b in fast.fills["bar"]] == [fill.bar for fill in slow.result.fills]
    np.testing.assert_allclose(fast.fills["price"], [fill.price for fill in slow.result.fills], rtol=1e-9)


def test_equal_parameters_in_all_folds_make_the_plain_backtest_where_no_position_meets_a_border(
    bars: Bars, template: Spec
) -> None:
    plain = backtest(compile_spec(template), bars, TERMS, start=200)
    ordered = np.isin(plain.reason, (reasons.LONG_ORDERED, reasons.SHORT_ORDERED))
    flat = np.flatnonzero((plain.position == 0.0) & ~ordered)
    begins = [200, int(flat[flat > 700][0]) + 1, int(flat[flat > 1500][0]) + 1]
    fast = _stitch(bars, [template] * 3, begins)
    assert fast.equity[200:].tobytes() == plain.equity[200:].tobytes()
    assert fast.fills.tobytes() == plain.fills.tobytes()
    assert fast.metrics == plain.metrics


def test_money_never_jumps_where_the_parameters_change(bars: Bars, template: Spec) -> None:
    """The planted fault: concatenating the runs of both would carry a position that the account never bought."""
    specs = [template.bind({"n": 50, "hold": 150}), template.bind({"n": 3, "hold": 5})]
    held = backtest(compile_spec(specs[0]), bars, TERMS, start=200).position
    border = int(np.flatnonzero(held[300:] != 0.0)[0]) + 301
    fast = _stitch(bars, specs, [200, border])
    assert fast.position[border] == held[border] != 0.0
    assert fast.owner[border] == 0
    handed = int(np.flatnonzero(fast.owner == 1)[0])
    assert (fast.position[border:handed] != 0.0).sum() == handed - border - 1
    money = 1.0
    for fill in fast.fills:
        money -= fill["quantity"] * fill["price"] + fill["fee"]
    assert money + fast.position[-1] * bars.close[-1] == pytest.approx(fast.equity[-1], rel=1e-12)


def test_an_entry_ordered_before_the_border_is_the_old_parameters(bars: Bars, template: Spec) -> None:
    specs = [template.bind({"n": 50, "hold": 150}), template.bind({"n": 3, "hold": 5})]
    fills = backtest(compile_spec(specs[0]), bars, TERMS, start=200).fills
    border = int(fills["bar"][(fills["reason"] == reasons.ENTRY) & (fills["bar"] > 400)][0])
    fast = _stitch(bars, specs, [200, border])
    slow, owners = _slow(bars, specs, [200, border])
    assert fast.owner[border] == 0 and fast.position[border] != 0.0
    assert fast.owner.tolist() == owners
    np.testing.assert_allclose(fast.equity, slow.result.equity, rtol=1e-9)


def test_parameters_whose_turn_passes_while_the_old_ones_hold_decide_nothing(bars: Bars) -> None:
    text = (
        TEXT[: TEXT.index("enter_long")]
        + "enter_long: close > sma(close, n)\nexit_long: volume < 0 * volume\n"
    )
    forever = parse_spec(text.replace("side: both", "side: long") + "size: {fraction: 0.01 * hold / hold}\n")
    fast = _stitch(bars, [forever] * 3, [100, 500, 900])
    assert set(fast.owner[100:].tolist()) == {0}
    assert fast.fills.shape[0] == 1
    for before, after in itertools.pairwise(fast.position[200:]):
        assert before == after


def test_costs_put_back_make_the_account_without_costs(bars: Bars) -> None:
    """To first order: sizes follow the equity, which costs lower. Without levels, which slip with the entry."""
    plain = parse_spec(
        "".join(line + "\n" for line in TEXT.splitlines() if line[:4] not in ("stop", "take", "trai"))
    )
    specs = [plain.bind({"n": 40, "hold": 60}), plain.bind({"n": 30, "hold": 90})]
    begins, codes = [300, 1100], np.zeros(bars.n)
    paid, free = (
        stitch([compile_spec(spec) for spec in specs], begins, bars, terms, codes)
        for terms in (TERMS, Terms(fee=0.0, slippage=0.0, perpetual=True, leverage=2.0))
    )
    put_back = paid.daily + daily_costs(paid, bars, TERMS)
    assert paid.daily.sum() < free.daily.sum() - 0.02
    assert put_back.sum() == pytest.approx(free.daily.sum(), abs=0.05 * (free.daily.sum() - paid.daily.sum()))
