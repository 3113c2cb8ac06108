"""A portfolio's invariants, and its rules on bars short enough to follow by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import metrics, reasons
from research_lab.engine.account import NO_CAPS, Caps
from research_lab.engine.backtest import backtest
from research_lab.engine.portfolio import Market, Portfolio, Slot, Stepper, fills_of, portfolio, refusals_of
from research_lab.engine.slot import Compiled
from research_lab.engine.terms import Terms
from tests.research_lab.engine.invariants import block_cuts, poisoned_from
from tests.research_lab.engine.tapes import FIRST_MS, HOUR_MS, Tape, walk, with_gaps

SWINGS = """
spec: 1
name: swings
hypothesis: none
timeframe: {timeframe}
side: both
enter_long: close > prev(close)
enter_short: close < prev(close)
exit_long: close < prev(close, 3)
exit_short: close > prev(close, 3)
stop: 2 * atr(5)
size: {{fraction: {fraction}}}
"""
GREEN = """
spec: 1
name: green
hypothesis: none
timeframe: 1h
side: long
enter_long: close > open
exit_long: close < open
stop: {stop} * close
size: {{fraction: {fraction}}}
"""
PERPETUAL = Terms(perpetual=True, leverage=6.0, maintenance=0.02, tick=0.01)
FREE = Terms(fee=0.0, slippage=0.0)
CAPS = Caps(leverage=4.0, symbol=3.0, open_risk=0.5, positions=3.0)
N = 600


def swings(timeframe: str = "1h", fraction: float = 2.0) -> Compiled:
    return compile_spec(parse_spec(SWINGS.format(timeframe=timeframe, fraction=fraction)))


def green(fraction: float = 1.0, stop: float = 0.5) -> Compiled:
    return compile_spec(parse_spec(GREEN.format(stop=stop, fraction=fraction)))


def tape(prices: Sequence[tuple[float, float]], rows: Sequence[int] = ()) -> Tape:
    """Return hourly bars of (open, close) without wicks, on some rows."""
    table = np.array(prices, np.float64)
    inputs = np.full((7, len(prices)), math.nan)
    inputs[0], inputs[3] = table[:, 0], table[:, 1]
    inputs[1], inputs[2] = table.max(axis=1), table.min(axis=1)
    time = FIRST_MS + HOUR_MS * np.array(rows or range(len(prices)), np.int64)
    return Tape(HOUR_MS, time, inputs, np.zeros(len(prices)))


def busy(terms: Terms = PERPETUAL) -> tuple[list[Slot], list[Market]]:
    """Return five slots on three markets: with gaps, one that begins late, funding on two, one spot."""
    rng = np.random.default_rng(5)
    tapes = [with_gaps(rng, walk(rng, N, volatility=0.02)), walk(rng, N), walk(rng, N).window(90, N)]
    markets = [Market(t, terms) for t in tapes[:2]] + [Market(tapes[2], replace(FREE, quantum=terms.quantum))]
    slots = [
        Slot(swings(), 0), Slot(swings("2h"), 1, 0.5), Slot(green(), 2), Slot(swings("3h", 0.5), 0),
        Slot(green(3.0), 1),
    ]  # fmt: skip
    return slots, markets


def as_bytes(run: Portfolio) -> list[bytes]:
    assert run.position is not None and run.reason is not None
    arrays = (
        run.equity,
        run.cash,
        run.exposure,
        run.fills,
        run.refusals,
        run.state,
        run.position,
        run.reason,
    )
    return [a.tobytes() for a in arrays]


def run_busy(cuts: Sequence[int] = (), terms: Terms = PERPETUAL) -> Portfolio:
    slots, markets = busy(terms)
    n = Stepper(slots, markets).n
    blocks = list(pairwise([0, *(cut for cut in cuts if cut < n), n]))
    return portfolio(slots, markets, CAPS, capital=1_000.0, blocks=blocks, records=True, start=7)


WHOLE = run_busy()


def test_the_busy_portfolio_is_busy() -> None:
    assert set(WHOLE.fills["slot"]) == set(range(5))
    assert len(set(WHOLE.refusals["reason"])) >= 3
    assert WHOLE.reason is not None and (WHOLE.reason == reasons.NO_BAR).any()
    assert any(slot.funding != 0.0 for slot in WHOLE.slots)


@settings(max_examples=25)
@given(cuts=block_cuts(N))
def test_any_cut_into_blocks_gives_the_same_bytes(cuts: list[int]) -> None:
    assert as_bytes(run_busy(cuts)) == as_bytes(WHOLE)


def test_a_second_run_gives_the_same_bytes() -> None:
    assert as_bytes(run_busy()) == as_bytes(WHOLE)


@settings(max_examples=25)
@given(bar=st.integers(1, N - 2))
def test_nothing_before_a_time_depends_on_what_follows(bar: int) -> None:
    slots, markets = busy()
    poisoned = []
    for market in markets:
        at = int(np.searchsorted(market.tape.time, WHOLE.time[bar]))
        spoilt = market.tape if at == len(market.tape.time) else poisoned_from(market.tape, at, 0)
        poisoned.append(replace(market, tape=spoilt))
    other = portfolio(slots, poisoned, CAPS, capital=1_000.0, records=True, start=7)
    for name in ("equity", "cash", "exposure"):
        assert getattr(other, name)[:bar].tobytes() == getattr(WHOLE, name)[:bar].tobytes()
    for name in ("fills", "refusals"):
        early = [getattr(run, name)[getattr(run, name)["bar"] < bar] for run in (other, WHOLE)]
        assert early[0].tobytes() == early[1].tobytes()
    assert (other.reason[:, :bar] == WHOLE.reason[:, :bar]).all()


@pytest.mark.parametrize("at", [1, 90, 91, 200])
def test_a_state_restored_from_its_bytes_goes_on_with_the_same_bytes(at: int) -> None:
    slots, markets = busy()
    first = Stepper(slots, markets, CAPS, 1_000.0, 7)
    state = first.new_state()
    first.advance(state, 0, at)
    raw = state.tobytes()
    expected = first.advance(state, at, first.n)
    second = Stepper(*busy(), CAPS, 1_000.0, 7)
    restored = np.frombuffer(bytearray(raw), np.float64)
    found = second.advance(restored, at, second.n)
    assert restored.tobytes() == state.tobytes() == WHOLE.state.tobytes()
    for name in ("equity", "cash", "exposure", "position", "worth", "reason"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()
    assert fills_of(found).tobytes() == fills_of(expected).tobytes()
    assert refusals_of(found).tobytes() == refusals_of(expected).tobytes()


@pytest.mark.parametrize("terms", [Terms(), PERPETUAL])
@pytest.mark.parametrize("start", [0, 50])
def test_one_slot_without_caps_is_the_backtest_bit_for_bit(terms: Terms, start: int) -> None:
    rng = np.random.default_rng(11)
    strategy = swings(fraction=5.0) if terms.perpetual else green()
    bars = with_gaps(rng, walk(rng, 3_000, volatility=0.03))
    alone = backtest(strategy, bars, terms, start=start)
    together = portfolio([Slot(strategy, 0)], [Market(bars, terms)], start=start, records=True)
    assert together.position is not None and together.reason is not None
    assert len(alone.fills) > 300
    assert together.equity.tobytes() == alone.equity.tobytes()
    assert together.position[0].tobytes() == alone.position.tobytes()
    assert together.reason[0].tobytes() == alone.reason.tobytes()
    for name in alone.fills.dtype.names or ():
        assert together.fills[name].tobytes() == alone.fills[name].tobytes()
    assert (
        np.array(list(together.metrics.values())).tobytes()
        == np.array(list(alone.metrics.values())).tobytes()
    )


def test_a_run_that_ends_is_the_backtests_too() -> None:
    bars = tape([(100.0, 101.0), (101.0, 101.0), (101.0, 1.0), (1.0, 2.0), (2.0, 3.0)])
    due = np.array([0.0, 0.0, 3.0, 0.0, 0.0])
    bars = replace(bars, funding_due=due)
    terms = Terms(perpetual=True, leverage=2.0, maintenance=0.0, fee=0.0, slippage=0.0)
    strategy = green(2.0, 3.0)
    alone = backtest(strategy, bars, terms)
    together = portfolio([Slot(strategy, 0)], [Market(bars, terms)], records=True)
    assert together.reason is not None
    assert alone.reason[-1] == reasons.RUN_ENDED
    assert together.equity.tobytes() == alone.equity.tobytes()
    assert together.reason[0].tobytes() == alone.reason.tobytes()


def test_who_stands_first_in_the_map_gets_the_scarce_cash() -> None:
    up = [(100.0, 101.0), (101.0, 102.0), (102.0, 103.0)]
    markets = [Market(tape(up), FREE), Market(tape(up), FREE)]
    for first, second in ((0, 1), (1, 0)):
        run = portfolio([Slot(green(0.7), first), Slot(green(0.7), second)], markets, records=True)
        assert run.position is not None
        assert run.position[:, 1] * 101.0 == pytest.approx([0.7, 0.3])
        run = portfolio([Slot(green(), first), Slot(green(), second)], markets, records=True)
        assert run.fills["slot"].tolist() == [0]
        assert run.refusals[["slot", "bar", "reason"]].tolist()[0] == (1, 1, reasons.NO_ROOM)
        assert run.refusals["quantity"][0] == pytest.approx(1 / 101.0)


def test_an_earlier_slots_exit_makes_room_for_a_later_ones_entry_at_the_same_open() -> None:
    falls = Market(tape([(100.0, 101.0), (100.0, 99.0), (100.0, 100.0)]), FREE)
    rises = Market(tape([(50.0, 50.0), (50.0, 51.0), (50.0, 50.0)]), FREE)
    leaves, enters = Slot(green(0.3), 0), Slot(green(0.3), 1)
    run = portfolio([leaves, enters], [falls, rises], Caps(positions=1.0))
    assert run.fills[["slot", "bar"]].tolist() == [(0, 1), (0, 2), (1, 2)]
    assert len(run.refusals) == 0
    run = portfolio([enters, leaves], [falls, rises], Caps(positions=1.0))
    assert run.fills[["slot", "bar"]].tolist() == [(1, 1), (1, 2)]
    assert run.refusals[["slot", "bar", "reason"]].tolist() == [(0, 2, reasons.POSITIONS)]


def test_a_close_at_which_others_hold_everything_refuses_for_want_of_room() -> None:
    holds = Market(tape([(100.0, 101.0), (101.0, 102.0), (102.0, 103.0)]), FREE)
    late = Market(tape([(50.0, 50.0), (50.0, 51.0), (50.0, 50.0)]), replace(FREE, min_notional=0.01))
    run = portfolio([Slot(green(), 0), Slot(green(), 1)], [holds, late], records=True)
    assert run.reason is not None and run.reason[1, 1] == reasons.NO_ROOM
    assert run.refusals.tolist() == [(1, 1, reasons.NO_ROOM, 0.0)]
    alone = portfolio([Slot(green(), 1)], [holds, late], records=True)
    assert alone.reason is not None and alone.reason[0, 1] == reasons.LONG_ORDERED


def test_when_equity_is_gone_a_market_without_a_bar_is_closed_at_its_mark() -> None:
    terms = replace(FREE, perpetual=True, leverage=2.0)
    prices = [(100.0, 101.0), (101.0, 102.0), (102.0, 103.0), (103.0, 104.0)]
    paying = replace(tape(prices), funding_due=np.array([0.0, 0.0, 3.0, 0.0]))
    holey = tape([prices[0], prices[1], prices[3]], rows=[0, 1, 3])
    run = portfolio(
        [Slot(green(0.9), 0), Slot(green(0.9), 1)],
        [Market(paying, terms), Market(holey, terms)],
        records=True,
    )
    assert run.position is not None and run.reason is not None
    assert run.position[:, 1].min() > 0.0 and run.equity[2] < 0.0
    last = run.fills[-1]
    assert (last["slot"], last["bar"], last["reason"], last["price"]) == (1, 2, reasons.ENDED, 102.0)
    assert run.reason[:, 3].tolist() == [reasons.RUN_ENDED, reasons.RUN_ENDED]
    assert run.equity[3] == run.equity[2] == run.cash[3]


def test_each_cap_refuses_with_its_own_reason() -> None:
    up = [(100.0, 101.0), (101.0, 101.0), (101.0, 101.0)]
    markets = [Market(tape(up), FREE), Market(tape(up), FREE)]
    for caps, where, why in (
        (Caps(positions=1.0), 1, reasons.POSITIONS),
        (Caps(open_risk=0.1), 1, reasons.OPEN_RISK),
        (Caps(symbol=0.2), 0, reasons.SYMBOL_ROOM),
        (Caps(leverage=0.2), 1, reasons.NO_ROOM),
    ):
        run = portfolio([Slot(green(0.2), 0), Slot(green(0.2), where)], markets, caps)
        assert run.refusals["reason"].tolist() == [why], caps
        assert run.fills["slot"].tolist() == [0]


def test_caps_cut_what_is_too_much() -> None:
    up = [(100.0, 101.0), (100.0, 100.0)]
    market = [Market(tape(up), FREE)]
    for caps, expected in (
        (NO_CAPS, 0.9 * 1.0 / 101.0),
        (Caps(leverage=0.5), 0.5 / 101.0),  # the order is sized at the close
        (Caps(symbol=0.25), 0.25 / 101.0),
        (Caps(open_risk=0.101), 0.101 / 50.5),
    ):
        run = portfolio([Slot(green(0.9), 0)], market, caps, records=True)
        assert run.position is not None and run.position[0, 1] == pytest.approx(expected, rel=1e-12), caps
    shared = portfolio([Slot(green(0.9), 0, risk_share=0.5)], market, records=True)
    assert shared.position is not None and shared.position[0, 1] == pytest.approx(0.45 / 101.0, rel=1e-12)


def test_an_entry_without_a_stop_is_refused_where_open_risk_is_bounded() -> None:
    spec = GREEN.format(stop=0.5, fraction=0.5).replace("stop: 0.5 * close\n", "")
    market = [Market(tape([(100.0, 101.0), (100.0, 101.0)]), FREE)]
    run = portfolio([Slot(compile_spec(parse_spec(spec)), 0)], market, Caps(open_risk=0.9))
    assert run.refusals["reason"].tolist() == [reasons.OPEN_RISK]
    assert len(run.fills) == 0


def test_a_market_without_a_bar_is_marked_at_its_last_close_and_does_not_trade() -> None:
    holey = Market(tape([(100.0, 110.0), (110.0, 120.0), (130.0, 90.0)], rows=[0, 1, 4]), FREE)
    whole = Market(tape([(10.0, 9.0)] * 5), FREE)
    run = portfolio([Slot(green(0.5), 0), Slot(green(0.5), 1)], [holey, whole], records=True)
    assert run.position is not None and run.reason is not None
    quantity = 0.5 / 110.0
    assert run.position[0].tolist() == pytest.approx([0.0, quantity, quantity, quantity, quantity])
    gain = 1.0 + quantity * np.array([0.0, 10.0, 10.0, 10.0, -20.0])
    assert run.equity.tolist() == pytest.approx(gain.tolist())
    assert run.reason[0, 2:4].tolist() == [reasons.NO_BAR, reasons.NO_BAR]


@pytest.mark.parametrize("quantum", [0.0, 1e-8])
def test_money_adds_up_with_every_fee_and_funding(quantum: float) -> None:
    run = run_busy(terms=replace(PERPETUAL, quantum=quantum))
    assert run.position is not None
    assert len(run.fills) > 100
    unit = quantum or 1.0

    def units(amount: np.ndarray) -> np.ndarray:
        return np.floor(amount / quantum + 0.5) if quantum else amount

    bought = units(run.fills["quantity"] * run.fills["price"]).sum()
    fees = units(run.fills["fee"]).sum()
    funding = sum(slot.funding for slot in run.slots) / unit
    capital = round(1_000.0 / unit) if quantum else 1_000.0
    exact = {"rel": 0.0, "abs": 1e-3} if quantum else {"rel": 1e-12}
    assert capital - bought - fees - funding == pytest.approx(run.cash[-1] / unit, **exact)
    assert sum(slot.fees for slot in run.slots) / unit == pytest.approx(fees, **exact)
    assert sum(slot.pnl for slot in run.slots) == pytest.approx(run.equity[-1] - 1_000.0, abs=1e-9)


def test_equity_is_cash_and_what_is_held_at_the_last_closes() -> None:
    _, markets = busy()
    assert WHOLE.position is not None
    value, gross = np.zeros(len(WHOLE.time)), np.zeros(len(WHOLE.time))
    for k, slot in enumerate(busy()[0]):
        tape_ = markets[slot.market].tape
        at = np.searchsorted(tape_.time, WHOLE.time, side="right") - 1
        close = np.where(at >= 0, tape_.inputs[3, np.maximum(at, 0)], 0.0)
        value += WHOLE.position[k] * close
        gross += np.abs(WHOLE.position[k] * close)
    assert np.allclose(WHOLE.cash + value, WHOLE.equity, rtol=1e-12, atol=0.0)
    assert np.allclose(gross, WHOLE.exposure, rtol=1e-12, atol=0.0)


def test_metrics_are_those_of_the_equity_and_trades_are_summed() -> None:
    accumulators = np.zeros(metrics.SIZE)
    metrics.begin(accumulators, 1_000.0)
    metrics.accumulate(accumulators, WHOLE.equity[7:])
    returns = WHOLE.equity[7:] / np.concatenate([[1_000.0], WHOLE.equity[7:-1]]) - 1.0
    sharpe = returns.mean() / returns.std(ddof=1) * math.sqrt(365 * 24)
    assert WHOLE.metrics["sharpe"] == pytest.approx(sharpe)
    assert WHOLE.metrics["return"] == pytest.approx(WHOLE.equity[-1] / 1_000.0 - 1.0)
    assert WHOLE.metrics["n_trades"] == sum(slot.metrics["n_trades"] for slot in WHOLE.slots)
    assert WHOLE.metrics["exposure"] == (WHOLE.exposure[7:] != 0.0).mean()
    assert WHOLE.slots[0].metrics["return"] == pytest.approx(WHOLE.slots[0].pnl / 1_000.0)


def test_positions_by_slot_and_bar_are_kept_on_request_only() -> None:
    slots, markets = busy()
    lean = portfolio(slots, markets, CAPS, capital=1_000.0, start=7)
    assert lean.position is None and lean.reason is None
    assert lean.equity.tobytes() == WHOLE.equity.tobytes()
    assert lean.fills.tobytes() == WHOLE.fills.tobytes()


def test_other_grids_other_quanta_and_missing_markets_are_refused() -> None:
    a, b = walk(np.random.default_rng(1), 20), walk(np.random.default_rng(1), 20, step_ms=2 * HOUR_MS)
    with pytest.raises(ValueError, match="one account needs one: resample the finer"):
        portfolio([], [Market(a, FREE), Market(b, FREE)])
    with pytest.raises(ValueError, match="different quanta"):
        portfolio([], [Market(a, FREE), Market(a, replace(FREE, quantum=1e-8))])
    with pytest.raises(ValueError, match="slot 0 names market 1, there are 1"):
        portfolio([Slot(green(), 1)], [Market(a, FREE)])
