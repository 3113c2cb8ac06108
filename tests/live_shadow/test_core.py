"""The core's rules, on bars short enough to follow by hand, and on any cut of random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live_shadow import core
from live_shadow.enable_map import Stage, utc_time
from live_shadow.executor import Executor, quanta
from research_lab.bars import Bars
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import layout, reasons
from research_lab.engine.backtest import backtest, regime_codes
from research_lab.engine.slot import BOOK_AT, advance_slot
from research_lab.engine.terms import Terms
from research_lab.errors import LedgerError, UsageError
from tests.live_shadow.made_up import (
    DAY_MS,
    GREEN,
    HOUR_MS,
    PERPETUAL,
    START_MS,
    UNLIMITED,
    bars_of,
    candles,
    colours,
    executor,
    green,
    quick,
    slot,
    strategy,
)

UP, DOWN, FLAT = (100.0, 101.0), (100.0, 99.0), (100.0, 100.0)


def account_reasons(events: core.Events, k: int = 0) -> list[int]:
    return [int(code) for code in events.codes[:, k, core.ACCOUNT_REASON]]


def vetoes(events: core.Events, k: int = 0) -> list[int]:
    return [int(code) for code in events.codes[:, k, core.VETO]]


def cells(events: core.Events, cell: int) -> list[float]:
    return [float(value) for value in events.account[:, cell]]


def everything(events: core.Events) -> list[bytes]:
    """Every event as bytes, fills only as far as they are written."""
    n_slot, n_account = events.n_fills.tolist()
    return [
        events.account.tobytes(),
        events.regime.tobytes(),
        events.codes.tobytes(),
        events.figures.tobytes(),
        events.slot_fills[:n_slot].tobytes(),
        events.account_fills[:n_account].tobytes(),
    ]


def two_slots() -> Executor:
    slots = [
        slot(strategy("ema_atr"), risk_share=0.6),
        slot(strategy("breakout_4h"), risk_share=0.4, regimes=("trend_up", "range_lowvol")),
    ]
    limits = replace(UNLIMITED, risk_per_trade=0.02, daily_loss=0.01, drawdown=0.03, cooldown_bars=5)
    return executor(slots, limits=limits, terms=Terms(), regimes=quick())


@settings(max_examples=10)
@given(st.lists(st.integers(1, 2_999), max_size=12, unique=True))
def test_any_cut_into_blocks_gives_the_same_bytes(cuts: list[int]) -> None:
    bars = candles(3, 3_000)
    whole, pieces = two_slots(), two_slots()
    events = whole.advance(bars)
    borders = [0, *sorted(cuts), bars.n]
    accounts = []
    for first, last in pairwise(borders):
        accounts.append(pieces.advance(bars.window(first, last)).account.copy())
    assert whole.state.tobytes() == pieces.state.tobytes()
    assert events.account.tobytes() == np.concatenate(accounts).tobytes()
    assert events.n_fills.min() > 0


def test_a_restored_state_goes_on_with_the_same_bytes() -> None:
    bars = candles(4, 2_000)
    whole, first = two_slots(), two_slots()
    whole.advance(bars.window(0, 700))
    expected = everything(whole.advance(bars.window(700, 2_000)))
    first.advance(bars.window(0, 700))
    raw = first.state.tobytes()
    second = Executor(first.desk, first.slots, state=np.frombuffer(raw, np.float64))
    assert everything(second.advance(bars.window(700, 2_000))) == expected


def test_one_unit_of_cash_more_in_the_state_is_seen() -> None:
    bars = candles(4, 2_000)
    whole = two_slots()
    whole.advance(bars.window(0, 700))
    spoilt = whole.state.copy()
    other = Executor(whole.desk, whole.slots, state=spoilt)
    other.state[core.CASH] += 1.0
    expected = everything(whole.advance(bars.window(700, 2_000)))
    same = [a == b for a, b in zip(everything(other.advance(bars.window(700, 2_000))), expected, strict=True)]
    assert not all(same)


def test_a_state_of_other_slots_is_refused() -> None:
    with pytest.raises(LedgerError, match="cells"):
        Executor(two_slots().desk, two_slots().slots[:1], state=two_slots().state)


@pytest.mark.parametrize("perpetual", [False, True])
def test_without_limits_the_account_does_what_the_broker_does_with_its_terms(perpetual: bool) -> None:
    bars = candles(5, 4_000, perpetual=perpetual)
    spec = strategy("funding_reversion" if perpetual else "ema_atr")
    terms = Terms(perpetual=perpetual, leverage=2.0, lot=0.001, tick=0.01, min_notional=5.0)
    run = executor([slot(spec, bars.market, risk_share=0.7)], terms=terms)
    events = run.advance(bars)

    own = run.slots[0].compiled
    counted = replace(terms, quantum=core.QUANTUM, risk_share=0.7).array()
    state = own.new_state(float(quanta(10_000.0)))
    state[BOOK_AT + layout.EQUITY] = 10_000.0
    fills = np.empty((bars.n * layout.MAX_FILLS_PER_BAR, layout.FILL_SIZE))
    equity, position, reason = np.empty(bars.n), np.empty(bars.n), np.empty(bars.n, np.int64)
    n = advance_slot(
        own.program.code, own.program.values, own.program.outputs, own.plan, counted, bars.step_ms,
        own.step_ms, state, own.program.new_registers(bars.n + 1), np.zeros(bars.n + 1, np.int64), bars.time,
        bars.inputs, bars.funding_due, np.zeros(bars.n), 0, 0, 0, equity, position, reason, fills,
    )  # fmt: skip
    assert n == events.n_fills[1] > 10
    assert fills[:n].tobytes() == events.account_fills[:n].tobytes()
    assert (reason == events.codes[:, 0, core.ACCOUNT_REASON]).all()
    assert (position == events.figures[:, 0, core.ACCOUNT_POSITION]).all()
    assert (equity == events.account[:, core.EQUITY]).all()
    assert state[BOOK_AT + layout.CASH] == run.state[core.CASH]


def test_the_regime_switches_after_as_many_equal_closes_as_the_map_says() -> None:
    limits = replace(UNLIMITED, min_bars_hold=3)
    run = executor([green()], limits=limits, regimes=colours())
    events = run.advance(bars_of([UP, UP, DOWN, UP, UP, UP, DOWN, DOWN, FLAT, DOWN, DOWN, DOWN]))
    up, down = 1, 2
    assert events.regime.tolist() == [up, up, down, up, up, up, down, down, 0, down, down, down]
    assert cells(events, core.CONFIRMED) == [0, 0, 0, 0, 0, up, up, up, up, up, up, down]
    assert cells(events, core.RUN) == [1, 2, 1, 1, 2, 3, 1, 2, 1, 1, 2, 3]


def test_the_regime_counts_only_bars_of_its_own_timeframe() -> None:
    limits = replace(UNLIMITED, min_bars_hold=2)
    regimes = replace(colours(), timeframe="2h")
    run = executor([green()], limits=limits, regimes=regimes)
    events = run.advance(bars_of([UP, UP, UP, UP, DOWN, DOWN]))
    assert cells(events, core.RUN) == [0, 1, 1, 2, 2, 1]
    assert cells(events, core.CONFIRMED) == [0, 0, 0, 1, 1, 1]


def test_the_account_enters_only_in_a_confirmed_regime_that_the_map_selects() -> None:
    limits = replace(UNLIMITED, min_bars_hold=2)
    run = executor([green(regimes=("trend_up",))], limits=limits, regimes=colours())
    events = run.advance(bars_of([UP, UP, UP]))
    assert account_reasons(events) == [reasons.NOT_SELECTED, reasons.LONG_ORDERED, reasons.HOLDING]
    assert events.codes[:, 0, core.SLOT_REASON].tolist()[0] == reasons.LONG_ORDERED


def test_an_open_position_stays_when_the_regime_is_no_longer_selected() -> None:
    text = GREEN.replace("exit_long: close < open", "exit_long: close < 0.5 * open")
    limits = replace(UNLIMITED, min_bars_hold=1)
    run = executor([slot(parse_spec(text), regimes=("trend_up",))], limits=limits, regimes=colours())
    events = run.advance(bars_of([UP, UP, DOWN, DOWN]))
    assert vetoes(events) == [0, 0, reasons.NOT_SELECTED, reasons.NOT_SELECTED]
    assert events.figures[-1, 0, core.ACCOUNT_POSITION] > 0.0


@pytest.mark.parametrize(("cooldown", "expected"), [(0, 4), (1, 4), (2, 4), (3, 5), (4, 6)])
def test_after_an_exit_the_cooldown_lasts_as_many_closes_as_the_map_says(
    cooldown: int, expected: int
) -> None:
    run = executor([green()], limits=replace(UNLIMITED, cooldown_bars=cooldown))
    # Ordered at close 0, filled at open 1; exit ordered at close 2, filled at open 3; bar 3 falls too, so
    # close 4, the second after the exit, is the first with a signal.
    events = run.advance(bars_of([UP, UP, DOWN, DOWN, UP, UP, UP, UP]))
    decisions = account_reasons(events)
    assert decisions[:3] == [reasons.LONG_ORDERED, reasons.HOLDING, reasons.EXIT_ORDERED]
    assert decisions.index(reasons.LONG_ORDERED, 1) == expected
    assert decisions.count(reasons.COOLDOWN) == expected - 4


def test_the_cooldown_counts_closes_from_the_exit_on() -> None:
    run = executor([green()], limits=replace(UNLIMITED, cooldown_bars=4))
    events = run.advance(bars_of([UP, UP, DOWN, UP, UP, UP, UP, UP]))
    # The exit fills at open 3: closes 3, 4 and 5 are the first three after it, close 6 the fourth.
    c, order = reasons.COOLDOWN, reasons.LONG_ORDERED
    assert account_reasons(events)[3:7] == [c, c, c, order]
    assert vetoes(events)[3:7] == [c, c, c, 0]


def test_a_stop_inside_the_bar_begins_the_cooldown_at_once() -> None:
    text = GREEN.replace("0.5 * close", "0.1 * close")
    run = executor([slot(parse_spec(text))], limits=replace(UNLIMITED, cooldown_bars=2))
    bars = bars_of([UP, UP, UP, UP, UP])
    bars.inputs[2, 1] = 80.0  # reaches the stop at 100 - 10.1, and closes above its open
    events = run.advance(bars)
    assert events.account_fills[1, layout.FILL_REASON] == reasons.STOP
    assert account_reasons(events)[:3] == [reasons.LONG_ORDERED, reasons.COOLDOWN, reasons.LONG_ORDERED]


def loss_bars() -> Bars:
    """Bars from midnight on: a loss of 2.5 % in bar 2, then rising bars into the next day."""
    prices = [UP, (100.0, 100.5), (100.0, 95.0), (95.0, 95.5)] + [(95.5, 96.0)] * 24
    return bars_of(prices)


def test_after_the_daily_loss_nothing_opens_until_the_next_utc_day() -> None:
    run = executor([green()], limits=replace(UNLIMITED, daily_loss=0.018))
    events = run.advance(loss_bars())
    # 5,000 / 101 coins are in: from 100 to 95 they lose 2.5 % of the equity.
    assert cells(events, core.DAY_LOST)[:3] == [0.0, 0.0, 1.0]
    decisions = account_reasons(events)
    assert decisions[:3] == [reasons.LONG_ORDERED, reasons.HOLDING, reasons.EXIT_ORDERED]
    # The close of bar 23 is midnight and the old day's last; bar 24 is the first of the next day.
    assert decisions[3:24] == [reasons.DAILY_LOSS] * 21
    assert decisions[24] == reasons.LONG_ORDERED
    assert cells(events, core.DAY_START)[23] == 10_000.0
    assert cells(events, core.DAY_START)[24] == pytest.approx(10_000.0 - 5.0 * 5_000.0 / 101.0)


def test_a_loss_in_the_bar_that_ends_at_midnight_is_the_old_days() -> None:
    text = GREEN.replace("fraction: 0.5", "fraction: 1.0").replace("timeframe: 1h", "timeframe: 1d")
    falling = text.replace("close > open", "close > 0 * open").replace("close < open", "close > 2 * open")
    run = executor([slot(parse_spec(falling))], limits=replace(UNLIMITED, daily_loss=0.018), base_ms=DAY_MS)
    hourly = bars_of([(100.0, 100.0), (100.0, 90.0), (90.0, 81.0), (81.0, 81.0)])
    time = START_MS + np.arange(4, dtype=np.int64) * DAY_MS
    events = run.advance(Bars(hourly.market, DAY_MS, time, hourly.inputs, hourly.funding_due))
    # In at the open of the second day with 100 coins: it loses 10 % of 100, the third 9 of 90, the last none.
    assert cells(events, core.DAY_LOST) == [0.0, 1.0, 1.0, 0.0]
    assert cells(events, core.DAY_START) == pytest.approx([10_000.0, 10_000.0, 9_000.0, 8_100.0])
    assert vetoes(events) == [0, reasons.DAILY_LOSS, reasons.DAILY_LOSS, 0]


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_trade_risks_its_share_of_the_risk_of_a_trade(share: float) -> None:
    greedy = GREEN.replace("0.5 * close", "0.02 * close").replace("fraction: 0.5", "risk: 0.8")
    limits = replace(UNLIMITED, risk_per_trade=0.008)
    events = executor([slot(parse_spec(greedy), risk_share=share)], limits=limits).advance(bars_of([UP, UP]))
    risked = events.figures[1, 0, core.ACCOUNT_POSITION] * 0.02 * 101.0
    assert risked == pytest.approx(0.008 * share * 10_000.0)


def test_a_leverage_below_one_binds_on_spot_too() -> None:
    whole = slot(parse_spec(GREEN.replace("fraction: 0.5", "fraction: 1.0")))
    limits = replace(UNLIMITED, leverage=0.25)
    events = executor([whole], limits=limits).advance(bars_of([UP, (101.0, 102.0)]))
    assert events.figures[1, 0, core.ACCOUNT_POSITION] * 101.0 == pytest.approx(2_500.0)


def test_a_slot_that_joins_trades_from_its_first_signal_on() -> None:
    other = parse_spec(GREEN.replace("0.5 * close", "0.4 * close"))
    bars = bars_of([UP, DOWN, UP, DOWN, UP, UP])
    run = executor([slot(other, risk_share=0.5)])
    run.advance(bars.window(0, 4))
    joined = run.with_slots(run.desk, [*run.slots, green(risk_share=0.5)], bars.window(0, 4))
    book = joined.account_book(1)
    assert book[[layout.RUN_OVER, layout.QUANTITY, layout.STRATEGY_BARS]].tolist() == [0.0, 0.0, 4.0]
    events = joined.advance(bars.window(4, 6))
    assert account_reasons(events, 1) == [reasons.LONG_ORDERED, reasons.HOLDING]
    assert events.account_of[: events.n_fills[1]].tolist() == [0, 0, 1]  # out, then both in


@pytest.mark.parametrize("change", ["retired", "shadow"])
def test_an_entry_ordered_before_the_slot_lost_its_capital_is_not_filled(change: str) -> None:
    bars = bars_of([UP, UP, UP])
    run = executor([green()])
    assert account_reasons(run.advance(bars.window(0, 1))) == [reasons.LONG_ORDERED]
    after = run.slots[0].retire() if change == "retired" else green(stage=Stage.SHADOW, risk_share=0.0)
    changed = run.with_slots(run.desk, [after], bars.window(0, 1))
    assert changed.advance(bars.window(1, 3)).n_fills.tolist() == [1, 0]
    assert not changed.holds(0)


def test_a_position_held_when_the_slot_becomes_a_shadow_is_closed_by_its_exit() -> None:
    bars = bars_of([UP, UP, DOWN, DOWN])
    run = executor([green()])
    run.advance(bars.window(0, 2))
    changed = run.with_slots(run.desk, [green(stage=Stage.SHADOW, risk_share=0.0)], bars.window(0, 2))
    events = changed.advance(bars.window(2, 4))
    assert events.account_fills[: events.n_fills[1], layout.FILL_REASON].tolist() == [reasons.EXIT_SIGNAL]


def test_a_loss_just_short_of_the_limit_stops_nothing() -> None:
    run = executor([green()], limits=replace(UNLIMITED, daily_loss=0.026))
    assert reasons.DAILY_LOSS not in account_reasons(run.advance(loss_bars()))


def test_a_day_begins_with_the_equity_of_the_last_close_before_a_gap() -> None:
    bars = bars_of([UP, (100.0, 100.0), (110.0, 110.0)])
    bars.time[2] = START_MS + DAY_MS + 5 * HOUR_MS
    events = executor([green()]).advance(bars)
    assert cells(events, core.DAY_START) == [10_000.0, 10_000.0, cells(events, core.EQUITY)[1]]


def test_a_drawdown_closes_everything_at_the_next_open_and_nothing_opens_while_it_lasts() -> None:
    text = GREEN.replace("exit_long: close < open", "exit_long: close < 0.5 * open")
    run = executor([slot(parse_spec(text))], limits=replace(UNLIMITED, drawdown=0.035))
    prices = [UP, (100.0, 100.0), (100.0, 92.0), (92.0, 93.0)] + [(93.0, 94.0)] * 75
    events = run.advance(bars_of(prices))
    decisions = account_reasons(events)
    # 5,000 / 101 coins lose 8 each: equity falls by 4 %.
    after = 10_000.0 - 8.0 * 5_000.0 / 101.0
    assert decisions[2] == reasons.EXIT_ORDERED
    fill = events.account_fills[1]
    assert (fill[layout.FILL_BAR], fill[layout.FILL_REASON], fill[layout.FILL_PRICE]) == (
        3.0, reasons.RISK_EXIT, 92.0,
    )  # fmt: skip
    first = decisions.index(reasons.LONG_ORDERED, 1)
    assert set(decisions[3:first]) == {reasons.DRAWDOWN}
    # The last close at 10,000 is that of bar 1, 02:00; its hourly cell leaves 73 hours later, at close 74.
    assert first == 74
    assert cells(events, core.PEAK)[73] == pytest.approx(10_000.0)
    assert cells(events, core.PEAK)[74] == pytest.approx(after)


def test_the_slots_own_book_knows_no_limits() -> None:
    limits = replace(UNLIMITED, drawdown=0.01, daily_loss=0.01, cooldown_bars=9)
    bars = loss_bars()
    events = executor([green()], limits=limits).advance(bars)
    batch = backtest(green().compiled, bars, Terms(fee=0.0, slippage=0.0))
    assert batch.reason.tolist() == events.codes[:, 0, core.SLOT_REASON].tolist()


def test_a_shadow_trades_without_capital() -> None:
    events = executor([green(stage=Stage.SHADOW, risk_share=0.0)]).advance(bars_of([UP, UP, DOWN]))
    assert events.n_fills.tolist()[1] == 0 < events.n_fills.tolist()[0]
    assert account_reasons(events)[0] == reasons.STAGE_SHADOW
    assert cells(events, core.EQUITY) == [10_000.0] * 3


def test_nothing_is_entered_before_since_nor_after_expiry() -> None:
    since, expires = utc_time("2024-01-01T02:00:00Z"), utc_time("2024-01-01T05:00:00Z")
    events = executor([green(since=since, expires=expires)]).advance(bars_of([UP, DOWN] * 4))
    # Bars open at 0:00 ...; the close of bar 4 is 5:00, where the entry expires.
    assert vetoes(events) == [reasons.INACTIVE] * 2 + [0, 0] + [reasons.EXPIRED] * 4
    assert account_reasons(events)[0] == reasons.INACTIVE
    assert account_reasons(events)[2] == reasons.LONG_ORDERED
    assert account_reasons(events)[6] == reasons.EXPIRED


def test_a_late_bar_opens_nothing_and_exits_wait_for_the_first_bar_in_time() -> None:
    run = executor([green()])
    bars = bars_of([UP, UP, DOWN, DOWN, DOWN, UP, UP])
    late = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    events = run.advance(bars, late)
    fills = events.account_fills[: events.n_fills[1]]
    # In at open 1; the exit decided at close 2 waits through bar 3 for the open of bar 4.
    assert fills[:, layout.FILL_BAR].tolist()[:2] == [1.0, 4.0]
    assert fills[1, layout.FILL_REASON] == reasons.EXIT_SIGNAL
    own = events.slot_fills[: events.n_fills[0], layout.FILL_BAR].tolist()
    assert own[:2] == [1.0, 3.0]


def test_an_order_whose_open_comes_late_is_dropped() -> None:
    events = executor([green()]).advance(bars_of([UP, UP, UP]), np.array([0.0, 1.0, 1.0]))
    assert events.n_fills.tolist()[1] == 0
    assert account_reasons(events) == [reasons.LONG_ORDERED, reasons.LATE_BAR, reasons.LATE_BAR]


def test_on_spot_two_slots_together_never_spend_more_than_the_cash() -> None:
    whole = GREEN.replace("fraction: 0.5", "fraction: 0.7")
    other = whole.replace("close < open", "close < 0.99 * open")
    slots = [slot(parse_spec(text), risk_share=1.0) for text in (whole, other)]
    run = executor(slots, terms=Terms(), capital=1_000.0)
    bars = candles(6, 3_000)
    events = run.advance(bars)
    assert events.account[:, core.CASH].min() >= 0.0
    held = events.figures[:, :, core.ACCOUNT_POSITION]
    assert held.max(axis=0).min() > 0.0
    assert (held.sum(axis=1) > 0.0).any()


@pytest.mark.parametrize(("low", "reached"), [(95.0, []), (85.0, [reasons.STOP])])
def test_money_that_a_stop_frees_inside_a_bar_pays_for_no_entry_at_its_open(
    low: float, reached: list[int]
) -> None:
    whole = GREEN.replace("fraction: 0.5", "fraction: 1.0").replace("close < open", "close < 0.5 * open")
    near = parse_spec(whole.replace("0.5 * close", "0.1 * close"))
    bars = bars_of([UP, (101.0, 100.0)])
    bars.inputs[2, 1] = low  # the first slot's stop is at 101 - 10.1
    events = executor([slot(near), slot(parse_spec(whole))]).advance(bars)
    n = events.n_fills[1]
    assert events.account_fills[:n, layout.FILL_REASON].tolist() == [reasons.ENTRY, *reached]
    assert set(events.account_of[:n].tolist()) == {0}


def test_the_account_is_marked_at_the_close_when_it_decides() -> None:
    half = GREEN.replace("close < open", "close < 0.5 * open").replace("0.5 * close", "0.9 * close")
    late = half.replace("close > open", "close > 1.5 * open").replace("fraction: 0.5", "fraction: 0.1")
    run = executor([slot(parse_spec(text)) for text in (half, late)])
    events = run.advance(bars_of([UP, (101.0, 202.0)]))
    # 5,000 / 101 coins are in and worth 10,000 at the close: a tenth of 15,000 is ordered at 202.
    assert events.figures[1, 1, core.ORDERED] * 202.0 == pytest.approx(1_500.0)


def liquidation_bars(low: float) -> Bars:
    bars = bars_of([UP, (101.0, 101.0), (101.0, 101.0)])
    bars.inputs[2, 2] = low
    return Bars(PERPETUAL, bars.step_ms, bars.time, bars.inputs, bars.funding_due)


def leveraged(fractions: Sequence[float], low: float, *, shorts: bool = False) -> core.Events:
    """Return what happens to positions of so many times the equity when the price falls to `low`."""
    text = GREEN.replace("close < open", "close < 0.1 * open").replace("0.5 * close", "0.95 * close")
    sell = text.replace("side: long", "side: short").replace("_long:", "_short:")
    slots = [
        slot(parse_spec((sell if shorts and k else text).replace("0.5}", f"{fraction}}}")), PERPETUAL)
        for k, fraction in enumerate(fractions)
    ]
    terms = Terms(fee=0.0, slippage=0.0, perpetual=True, leverage=9.0, liquidation_fee=0.0, maintenance=0.005)
    return executor(slots, terms=terms).advance(liquidation_bars(low))


# With q coins in all, cash is 10,000 - 101 q, and equity is 0.005 q price at (101 - 10,000 / q) / 0.995.
LEVEL = (101.0 - 10_000.0 / (30_000.0 / 101.0)) / 0.995


@pytest.mark.parametrize("fractions", [(3.0,), (1.0, 2.0), (2.0, 1.0)])
@pytest.mark.parametrize("beyond", [0.001, -0.001])
def test_the_account_is_liquidated_by_its_net_position(fractions: tuple[float, ...], beyond: float) -> None:
    events = leveraged(fractions, LEVEL - beyond)
    fills = events.account_fills[len(fractions) : events.n_fills[1]]
    if beyond < 0.0:
        assert fills.shape[0] == 0
        return
    assert fills[0, [layout.FILL_REASON, layout.FILL_PRICE]].tolist() == [
        reasons.LIQUIDATION, pytest.approx(LEVEL, rel=1e-12),
    ]  # fmt: skip


def test_a_fall_far_below_the_level_liquidates_every_position_and_leaves_the_account_above_zero() -> None:
    events = leveraged((1.0, 2.0), 40.0)
    why = events.account_fills[: events.n_fills[1], layout.FILL_REASON].tolist()
    assert why == [reasons.ENTRY] * 2 + [reasons.LIQUIDATION] * 2
    assert 0.0 < events.account[-1, core.EQUITY] < 0.005 * 30_000.0


def test_hedged_positions_are_not_liquidated() -> None:
    events = leveraged((3.0, 3.0), 40.0, shorts=True)
    assert events.n_fills[1] == 2
    assert cells(events, core.EQUITY) == pytest.approx([10_000.0] * 3)


def test_on_a_perpetual_all_positions_together_stay_within_the_leverage_when_they_open() -> None:
    both = GREEN.replace("fraction: 0.5", "fraction: 3.0").replace("0.5 * close", "0.05 * close")
    slots = [
        slot(parse_spec(text), candles(7, 1, perpetual=True).market)
        for text in (both, both.replace("close < open", "close < 0.99 * open"))
    ]
    bars = candles(7, 2_000, perpetual=True)
    terms = Terms(perpetual=True, leverage=5.0)
    run = executor(slots, terms=terms, limits=replace(UNLIMITED, leverage=2.0))
    widest = 0.0
    for t in range(bars.n):
        events = run.advance(bars.window(t, t + 1))
        entered = (events.account_fills[: events.n_fills[1], layout.FILL_REASON] == reasons.ENTRY).any()
        held = abs(events.figures[0, :, core.ACCOUNT_POSITION]).sum()
        if entered and held:
            cash = events.account[0, core.CASH] * core.QUANTUM
            signed = events.figures[0, :, core.ACCOUNT_POSITION].sum()
            opened = bars.inputs[0, t]
            if cash + signed * opened > 0 and (events.figures[0, :, core.ACCOUNT_POSITION] != 0).all():
                widest = max(widest, held * opened / (cash + signed * opened))
    assert 1.5 < widest <= 2.0 * 1.01


def test_cash_is_always_a_whole_number_of_units() -> None:
    events = two_slots().advance(candles(8, 3_000))
    cash = events.account[:, core.CASH]
    assert (cash == np.floor(cash)).all()
    assert events.figures[:, :, core.ACCOUNT_FLOW].sum() == cash[-1] - quanta(10_000.0)


@pytest.mark.parametrize("capital", [0.0, -1.0, float("nan"), float("inf"), 1e8])
def test_a_capital_that_cannot_be_counted_is_refused(capital: float) -> None:
    with pytest.raises(UsageError, match="capital"):
        quanta(capital)


def test_the_own_books_use_the_raw_regime_and_the_account_the_confirmed_one() -> None:
    bars = candles(9, 6_000)
    run = two_slots()
    events = run.advance(bars)
    assert events.regime.tolist() == regime_codes(quick().compiled, bars).tolist()
    assert (events.regime != events.account[:, core.CONFIRMED]).any()
