"""The oracles on examples small enough to do by hand, and proof that the random cases find planted faults."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import islice

import numpy as np
import pytest

from .faults import FAULTS, faulty_broker
from .indicators import ORACLES, FloatArray
from .random_markets import REASONS, Case, count_occurrences, random_case
from .slow_broker import (
    FRACTION,
    NAN,
    RISK,
    Fill,
    Signal,
    SlowBars,
    SlowPlan,
    SlowResult,
    SlowTerms,
    floor_lot,
    nearest_tick,
    run,
)

Answer = tuple[object, ...]
Answered = list[tuple[Case, Answer]]

PLAIN = SlowPlan()
FREE = SlowTerms(fee=0.0, slippage=0.0)
FREE_PERPETUAL = replace(FREE, perpetual=True, leverage=10.0, maintenance=0.0, liquidation_fee=0.0)
STOPPED = SlowPlan(has_stop=True, size_kind=FRACTION)
LONG, SHORT = Signal(enter_long=1.0, stop=10.0, size=1.0), Signal(enter_short=1.0, stop=10.0, size=1.0)
QUIET = (100.0, 100.0, 100.0, 100.0)


def trade(
    rows: list[tuple[float, float, float, float]],
    signals: Mapping[int, Signal | list[Signal]],
    terms: SlowTerms = FREE,
    plan: SlowPlan = PLAIN,
    *,
    cash: float = 1000.0,
    funding: dict[int, float] | None = None,
    regimes: list[int] | None = None,
    macros: list[str] | None = None,
    active: list[bool] | None = None,
) -> SlowResult:
    """Run over (open, high, low, close) rows with one silent signal bar at every close not named."""
    due = [(funding or {}).get(i, 0.0) for i in range(len(rows))]
    said = [signals.get(i, Signal()) for i in range(len(rows))]
    open_, high, low, close = (list(column) for column in zip(*rows, strict=True))
    bars = SlowBars(open_, high, low, close, funding_due=due)
    table = [s if isinstance(s, list) else [s] for s in said]
    return run(bars, table, terms, plan, active or [True] * len(rows), cash, regimes, macros)


def summary(result: SlowResult) -> list[tuple[int, str, float, float]]:
    """Return bar, reason, quantity and price of each fill."""
    return [(f.bar, f.reason, round(f.quantity, 9), round(f.price, 9)) for f in result.fills]


def test_an_entry_decided_at_a_close_fills_at_the_next_open_with_slippage_and_fee() -> None:
    rows = [QUIET, (110.0, 120.0, 105.0, 120.0)]
    terms = SlowTerms(fee=0.01, slippage=0.1)
    result = trade(rows, {0: replace(LONG, size=0.5)}, terms)
    # decided: 1000 * 0.5 / 100 = 5; price 110 * 1.1 = 121; fee 5 * 121 * 0.01 = 6.05
    assert summary(result) == [(1, "ENTRY", 5.0, 121.0)]
    assert result.fills[0].fee == pytest.approx(6.05)
    assert result.equity == pytest.approx([1000.0, 1000 - 605 - 6.05 + 600])
    assert result.position == [0.0, 5.0]


def test_funding_is_paid_at_the_open_on_the_old_position_of_a_perpetual_only() -> None:
    rows = [QUIET, QUIET, (110.0, 110.0, 110.0, 110.0)]
    signals = {0: replace(LONG, size=0.5)}
    funding = {1: 0.5, 2: 0.01}
    paid = trade(rows, signals, FREE_PERPETUAL, funding=funding)
    spot = trade(rows, signals, FREE, funding=funding)
    # 5 units: bar 1 is the entry itself and pays nothing, bar 2 pays 5 * 110 * 0.01 = 5.5
    assert paid.equity == pytest.approx([1000.0, 1000.0, 1050 - 5.5])
    assert spot.equity == pytest.approx([1000.0, 1000.0, 1050.0])


def test_an_exit_signal_closes_at_the_next_open_less_slippage() -> None:
    rows = [QUIET, QUIET, (90.0, 95.0, 90.0, 95.0)]
    terms = replace(FREE, slippage=0.1)
    result = trade(rows, {0: replace(LONG, size=0.5), 1: Signal(exit_long=1.0)}, terms)
    assert summary(result) == [(1, "ENTRY", 5.0, 110.0), (2, "EXIT_SIGNAL", -5.0, 81.0)]


def test_a_gap_through_the_stop_fills_at_the_open_less_slippage() -> None:
    rows = [QUIET, QUIET, (80.0, 85.0, 80.0, 85.0)]
    result = trade(rows, {0: replace(LONG, size=0.5)}, replace(FREE, slippage=0.01), STOPPED)
    assert summary(result)[1:] == [(2, "STOP", -5.0, 79.2)]


def test_a_decided_exit_comes_before_the_gap_stop() -> None:
    rows = [QUIET, QUIET, (80.0, 85.0, 80.0, 85.0)]
    result = trade(rows, {0: LONG, 1: Signal(exit_long=1.0)}, FREE, STOPPED)
    assert [f.reason for f in result.fills] == ["ENTRY", "EXIT_SIGNAL"]


def test_a_gap_through_liquidation_pays_the_liquidation_fee_and_can_end_the_run() -> None:
    rows = [QUIET, QUIET, (85.0, 85.0, 85.0, 85.0), QUIET]
    terms = replace(FREE_PERPETUAL, liquidation_fee=0.01, slippage=0.0)
    result = trade(rows, {0: replace(LONG, size=10.0), 2: LONG}, terms)
    # 100 units on 1000: cash -9000, liquidation at 9000 / 100 = 90; 85 gives -9000 + 8500 - 85 = -585
    assert summary(result)[1:] == [(2, "LIQUIDATION", -100.0, 85.0)]
    assert result.equity == pytest.approx([1000.0, 1000.0, -585.0, -585.0])
    assert result.ended


def test_a_stop_nearer_than_liquidation_is_a_stop_without_liquidation_fee() -> None:
    rows = [QUIET, QUIET, (85.0, 85.0, 85.0, 85.0)]
    terms = replace(FREE_PERPETUAL, liquidation_fee=0.01)
    near = trade(rows, {0: replace(LONG, size=10.0, stop=5.0)}, terms, STOPPED)
    equal = trade(rows, {0: replace(LONG, size=10.0, stop=10.0)}, terms, STOPPED)
    far = trade(rows, {0: replace(LONG, size=10.0, stop=12.0)}, terms, STOPPED)
    assert [r.fills[1].reason for r in (near, equal, far)] == ["STOP", "STOP", "LIQUIDATION"]
    assert [r.fills[1].fee for r in (near, equal, far)] == pytest.approx([0.0, 0.0, 85.0])


def test_takes_reached_by_the_open_fill_there_in_order_and_before_a_new_entry() -> None:
    rows = [QUIET, QUIET, (125.0, 125.0, 125.0, 125.0)]
    plan = replace(STOPPED, takes=((1.0, 0.5), (2.0, 1.0)))
    result = trade(rows, {0: replace(LONG, size=0.4)}, replace(FREE, slippage=0.01), plan)
    # entry 101, levels 111 and 121, both below the open: half of 4, then the rest, no slippage
    assert summary(result)[1:] == [(2, "TAKE", -2.0, 125.0), (2, "TAKE", -2.0, 125.0)]


def test_an_entry_is_cut_to_what_the_account_can_pay_fee_included() -> None:
    rows = [QUIET, (125.0, 125.0, 125.0, 125.0)]
    spot = trade(rows, {0: LONG}, replace(FREE, fee=0.25, leverage=7.0))
    perpetual = trade(rows, {0: replace(LONG, size=99.0)}, replace(FREE_PERPETUAL, fee=0.25, leverage=4.0))
    # spot: 1000 / (125 * 1.25) = 6.4; perpetual: 4 * 1000 / (125 * (1 + 0.25 * 4)) = 16
    assert spot.fills[0].quantity == pytest.approx(6.4)
    assert perpetual.fills[0].quantity == pytest.approx(16.0)


def test_an_entry_below_lot_or_minimum_notional_is_refused_at_decision_or_fill() -> None:
    rows = [QUIET, (125.0, 125.0, 125.0, 125.0)]
    lot = trade(rows, {0: LONG}, replace(FREE, lot=3.0))
    none = trade(rows, {0: LONG}, replace(FREE, lot=10.0))
    poor = trade(rows, {0: replace(LONG, size=0.5)}, replace(FREE, min_notional=501.0))
    # lots of 3: of 1000 / 100 three are decided, of 1000 / 125 = 8 two can be paid; lots of 10: one, and none
    assert summary(lot) == [(1, "ENTRY", 6.0, 125.0)]
    assert none.fills == [] and poor.fills == []


def test_an_order_lives_for_one_open() -> None:
    rows = [QUIET, (100.0, 100.0, 89.0, 95.0), QUIET]
    result = trade(rows, {0: LONG}, FREE, STOPPED)
    assert summary(result) == [(1, "ENTRY", 10.0, 100.0), (1, "STOP", -10.0, 90.0)]


def test_levels_are_rounded_to_the_nearest_tick_as_decimal_numbers() -> None:
    rows = [QUIET, QUIET, (100.0, 100.0, 91.0, 95.0)]
    result = trade(rows, {0: replace(LONG, stop=8.7)}, replace(FREE, tick=0.5), STOPPED)
    # 100 - 8.7 = 91.3, nearest half 91.5
    assert result.fills[1].price == 91.5
    assert nearest_tick(0.571, 0.01) == 0.57 != 57 * 0.01
    assert nearest_tick(0.25, 0.5) == 0.5 and math.isnan(nearest_tick(NAN, 0.5))


def test_a_whole_number_of_lots_stays_whole() -> None:
    assert floor_lot(0.3, 0.1) == 0.3 and 0.3 // 0.1 == 2.0
    assert floor_lot(0.3 - 0.2, 0.1) == 0.1
    assert floor_lot(0.29, 0.1) == 0.2


def test_protection_is_alive_in_the_entry_bar_and_a_touch_fills() -> None:
    rows = [QUIET, (100.0, 100.0, 90.0, 95.0)]
    touched = trade(rows, {0: LONG}, FREE, STOPPED)
    above = trade([QUIET, (100.0, 100.0, 90.01, 95.0)], {0: LONG}, FREE, STOPPED)
    assert summary(touched)[1:] == [(1, "STOP", -10.0, 90.0)]
    assert len(above.fills) == 1


def test_a_short_is_the_mirror_image() -> None:
    rows = [QUIET, (100.0, 110.0, 100.0, 105.0)]
    result = trade(
        rows, {0: SHORT}, replace(FREE_PERPETUAL, slippage=0.01), replace(STOPPED, takes=((1.0, 1.0),))
    )
    # sold at 99, stop at 109 filled at 109 * 1.01
    assert summary(result) == [(1, "ENTRY", -10.0, 99.0), (1, "STOP", 10.0, 110.09)]
    taken = trade(
        [QUIET, (100.0, 100.0, 90.0, 95.0)], {0: SHORT}, FREE_PERPETUAL, replace(STOPPED, takes=((1.0, 1.0),))
    )
    assert summary(taken)[1:] == [(1, "TAKE", 10.0, 90.0)]


def test_liquidation_fills_at_its_level_when_equity_equals_maintenance() -> None:
    rows = [QUIET, (100.0, 100.0, 50.0, 100.0)]
    terms = replace(FREE_PERPETUAL, leverage=2.0, maintenance=0.2, liquidation_fee=0.01)
    result = trade(rows, {0: replace(LONG, size=2.0)}, terms)
    # 20 units, cash -1000: level 1000 / (20 * 0.8) = 62.5, where equity 250 is 0.2 of 1250; fee 12.5
    assert summary(result)[1:] == [(1, "LIQUIDATION", -20.0, 62.5)]
    assert result.equity[-1] == pytest.approx(237.5)
    short = trade([QUIET, (100.0, 200.0, 100.0, 100.0)], {0: replace(SHORT, size=2.0)}, terms)
    # -20 units, cash 3000: level 3000 / (20 * 1.2) = 125
    assert summary(short)[1:] == [(1, "LIQUIDATION", 20.0, 125.0)]


def test_a_bar_that_touches_stop_and_take_stops_first_unless_optimistic() -> None:
    rows = [QUIET, (100.0, 120.0, 80.0, 100.0)]
    plan = replace(STOPPED, takes=((1.0, 0.5),))
    pessimistic = trade(rows, {0: LONG}, FREE, plan)
    optimistic = trade(rows, {0: LONG}, replace(FREE, optimistic=True), plan)
    assert summary(pessimistic)[1:] == [(1, "STOP", -10.0, 90.0)]
    assert summary(optimistic)[1:] == [(1, "TAKE", -5.0, 110.0), (1, "STOP", -5.0, 90.0)]


def test_takes_close_shares_of_what_remains_in_whole_lots() -> None:
    rows = [QUIET, (100.0, 140.0, 100.0, 140.0)]
    plan = replace(STOPPED, takes=((1.0, 0.5), (2.0, 0.1), (3.0, 0.9)))
    result = trade(rows, {0: replace(LONG, size=0.7)}, replace(FREE, lot=1.0), plan)
    # of 7: floor(3.5) = 3; of 4: floor(0.4) = 0, done without a fill; of 4: floor(3.6) = 3, one lot stays
    assert summary(result)[1:] == [(1, "TAKE", -3.0, 110.0), (1, "TAKE", -3.0, 130.0)]
    assert result.position[-1] == 1.0


def test_a_trail_follows_the_best_price_and_acts_from_the_next_bar_on() -> None:
    rows = [QUIET, (100.0, 120.0, 100.0, 115.0), (115.0, 115.0, 104.0, 110.0)]
    plan = replace(STOPPED, has_trail=True)
    result = trade(rows, {0: replace(LONG, trail=15.0)}, FREE, plan)
    # bar 1 reaches down to 100 under the later stop of 120 - 15 = 105, which acts in bar 2
    assert summary(result)[1:] == [(2, "STOP", -10.0, 105.0)]


def test_a_trail_waits_for_its_gain_and_uses_the_latest_known_distance() -> None:
    rows = [QUIET, (100.0, 109.0, 100.0, 109.0), (109.0, 110.0, 109.0, 110.0), (110.0, 110.0, 107.0, 108.0)]
    plan = replace(STOPPED, has_trail=True, trail_after_r=1.0)
    signals = {
        0: replace(LONG, trail=5.0),
        1: Signal(trail=2.0),
        2: Signal(trail=-1.0),
    }
    # 9 of 10 earned at bar 1: not armed; 10 of 10 at bar 2: stop 110 - 2 (the -1 is not a distance)
    assert summary(trade(rows, signals, FREE, plan))[1:] == [(3, "STOP", -10.0, 108.0)]


def test_breakeven_moves_the_stop_to_the_entry_after_the_first_take() -> None:
    rows = [QUIET, (100.0, 110.0, 99.0, 110.0), (105.0, 105.0, 95.0, 105.0)]
    plan = replace(STOPPED, takes=((1.0, 0.5),), breakeven=True)
    result = trade(rows, {0: LONG}, FREE, plan)
    assert summary(result)[1:] == [(1, "TAKE", -5.0, 110.0), (2, "STOP", -5.0, 100.0)]


def test_the_time_stop_counts_signal_bars_including_the_entry_bar() -> None:
    result = trade([QUIET] * 5, {0: LONG}, FREE, SlowPlan(time_stop=2))
    assert [(f.bar, f.reason) for f in result.fills] == [(1, "ENTRY"), (3, "TIME_STOP")]
    twice = trade([QUIET] * 5, {0: LONG, 1: [Signal(), Signal()]}, FREE, SlowPlan(time_stop=2))
    assert [(f.bar, f.reason) for f in twice.fills] == [(1, "ENTRY"), (2, "TIME_STOP")]


def test_the_first_exit_reason_stays() -> None:
    said: dict[int, Signal | list[Signal]] = {0: LONG, 1: [Signal(exit_long=1.0), Signal()]}
    result = trade([QUIET] * 4, said, FREE, SlowPlan(time_stop=2))
    assert result.fills[1].reason == "EXIT_SIGNAL"


def test_a_regime_outside_the_mask_forbids_entry_and_closes_where_asked() -> None:
    plan = SlowPlan(regime_mask=0b0100, regime_exit=True)
    rows = [QUIET] * 5
    assert [f.reason for f in trade(rows, {0: LONG}, FREE, plan, regimes=[2, 2, 0, 0, 0]).fills] == [
        "ENTRY",
        "REGIME_EXIT",
    ]
    assert trade(rows, {0: LONG}, FREE, plan, regimes=[3, 2, 2, 2, 2]).fills == []
    assert trade(rows, {0: LONG}, FREE, plan, regimes=[0, 2, 2, 2, 2]).fills == []


def test_macro_states_halve_or_refuse_entries_and_only_risk_off_closes_where_asked() -> None:
    plan, rows = SlowPlan(regime_mask=0b0100, regime_exit=True), [QUIET] * 5
    for states, plan_, wanted in (
        (["risk_on"] * 5, plan, [(1, "ENTRY", 10.0)]),
        (["risk_small", *["neutral"] * 4], plan, [(1, "ENTRY", 5.0)]),
        (["neutral", *["risk_on"] * 4], plan, []),
        (["risk_off", *["risk_on"] * 4], plan, []),
        (["risk_on", "risk_on", "risk_off", "risk_on", "risk_on"], plan,
         [(1, "ENTRY", 10.0), (3, "MACRO_EXIT", -10.0)]),
        (["risk_on", *["risk_off"] * 4], SlowPlan(), [(1, "ENTRY", 10.0)]),
    ):  # fmt: skip
        result = trade(rows, {0: LONG}, FREE, plan_, regimes=[2] * 5, macros=states)
        assert [(f.bar, f.reason, f.quantity) for f in result.fills] == wanted, states


@pytest.mark.parametrize(
    "refused",
    [
        replace(LONG, enter_short=1.0),
        replace(LONG, enter_long=NAN),
        replace(LONG, stop=NAN),
        replace(LONG, stop=0.0),
        replace(LONG, size=NAN),
        replace(LONG, size=0.0),
        SHORT,
    ],
)
def test_unknown_impossible_or_contradictory_decisions_are_refused(refused: Signal) -> None:
    assert trade([QUIET, QUIET], {0: refused}, FREE, STOPPED).fills == []
    assert trade([QUIET, QUIET], {0: LONG}, FREE, STOPPED).fills != []


def test_an_entry_is_decided_only_where_active_but_an_exit_always() -> None:
    result = trade([QUIET] * 5, {0: LONG, 1: Signal(exit_long=1.0), 3: LONG}, active=[True] + [False] * 4)
    assert [(f.bar, f.reason) for f in result.fills] == [(1, "ENTRY"), (2, "EXIT_SIGNAL")]


def test_risk_sizing_loses_the_stated_share_at_the_stop_within_leverage() -> None:
    plan = replace(STOPPED, size_kind=RISK)
    sized = trade([QUIET, QUIET], {0: replace(LONG, size=0.02)}, FREE, plan)
    capped = trade([QUIET, QUIET], {0: replace(LONG, size=0.5)}, FREE_PERPETUAL, plan)
    over = trade([QUIET, QUIET], {0: replace(LONG, size=5.0)}, FREE_PERPETUAL, plan)
    # 1000 * 0.02 / 10 = 2; 1000 * 0.5 / 10 = 50 of at most 100; 500 of at most 100
    assert [r.fills[0].quantity for r in (sized, capped, over)] == [2.0, 50.0, 100.0]


def test_a_reversal_is_exit_and_entry_at_one_open_but_never_into_the_same_side() -> None:
    both = replace(SHORT, exit_long=1.0)
    turned = trade([QUIET] * 3, {0: LONG, 1: both}, FREE_PERPETUAL)
    same = trade([QUIET] * 3, {0: LONG, 1: replace(LONG, exit_long=1.0)}, FREE_PERPETUAL)
    kept = trade([QUIET] * 3, {0: LONG, 1: SHORT}, FREE_PERPETUAL)
    assert [(f.bar, f.position_id, f.reason) for f in turned.fills] == [
        (1, 1, "ENTRY"),
        (2, 1, "EXIT_SIGNAL"),
        (2, 2, "ENTRY"),
    ]
    assert [f.reason for f in same.fills] == ["ENTRY", "EXIT_SIGNAL"]
    assert [f.reason for f in kept.fills] == ["ENTRY"]


def test_the_latest_valid_decision_of_one_close_stands() -> None:
    later = trade([QUIET] * 2, {0: [LONG, SHORT]}, FREE_PERPETUAL)
    invalid = trade([QUIET] * 2, {0: [LONG, replace(SHORT, size=NAN)]}, FREE_PERPETUAL)
    assert [later.fills[0].quantity, invalid.fills[0].quantity] == [-10.0, 10.0]


def test_equity_at_zero_ends_the_run_at_the_close_without_cost() -> None:
    rows = [QUIET] * 4
    terms = replace(FREE_PERPETUAL, fee=0.0, leverage=1.0)
    result = trade(rows, {0: SHORT, 2: SHORT}, terms, funding={2: -3.0})
    # 10 sold: cash 2000, then 10 * 100 * 3 paid: -1000 leaves no level to be liquidated at; equity -2000
    assert result.fills[1:] == [Fill(2, 1, "ENDED", 10.0, 100.0, 0.0)]
    assert result.equity == pytest.approx([1000.0, 1000.0, -2000.0, -2000.0])
    assert result.position == [0.0, -10.0, 0.0, 0.0] and result.ended


def test_cash_and_fills_add_up_in_random_cases() -> None:
    for seed in range(200):
        case = random_case(np.random.default_rng(seed))
        result = case.run()
        if any(case.bars.funding_due):
            continue
        paid = sum(f.quantity * f.price + f.fee for f in result.fills)
        held = sum(f.quantity for f in result.fills)
        assert case.cash - paid + held * case.bars.close[-1] == pytest.approx(result.equity[-1])
        assert held == pytest.approx(result.position[-1])


def test_a_random_case_is_a_function_of_its_generator() -> None:
    assert random_case(np.random.default_rng(5)).run() == random_case(np.random.default_rng(5)).run()


@pytest.mark.parametrize("decimal", [False, True])
def test_random_cases_contain_every_fill_reason(decimal: bool) -> None:
    seen = count_occurrences(500, seed=2, decimal=decimal)
    assert {reason for reason in REASONS if seen[reason] >= 5} == set(REASONS)


@pytest.fixture(scope="module")
def answered() -> Answered:
    """1,500 random cases with their right answers, as plain numbers."""
    cases = [random_case(np.random.default_rng([9, i])) for i in range(1500)]
    return [(case, as_numbers(case.run())) for case in cases]


def faulty_answer(faulty: types.ModuleType, case: Case) -> Answer | None:
    """Return what the faulty broker makes of a case; None where it breaks down."""
    terms = faulty.SlowTerms(**asdict(case.terms))
    try:
        answer = faulty.run(
            case.bars, case.signals, terms, case.plan, case.active, case.cash, case.regimes, case.macros
        )
    except ArithmeticError:
        return None
    return as_numbers(answer)


def as_numbers(result: SlowResult) -> Answer:
    """Return a result as plain tuples and lists, comparable across modules."""
    fills = [(f.bar, f.position_id, f.reason, f.quantity, f.price, f.fee) for f in result.fills]
    return result.equity, result.position, fills


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_found(fault: str, answered: Answered) -> None:
    faulty = faulty_broker(FAULTS[fault])
    noticed = (case for case, right in answered if faulty_answer(faulty, case) != right)
    assert len(list(islice(noticed, 2))) == 2, f"not two of {len(answered)} random cases notice: {fault}"


def check(name: str, inputs: list[list[float]], expected: list[float], *windows: float) -> None:
    """Compare one oracle with numbers derived by hand; NaN equals NaN."""
    arrays: list[FloatArray] = [np.array(x, dtype=np.float64) for x in inputs]
    np.testing.assert_allclose(ORACLES[name](*arrays, *windows), expected, rtol=1e-12, err_msg=name)


X = [1.0, 3.0, NAN, 2.0, 6.0]


@pytest.mark.parametrize(
    ("name", "expected", "windows"),
    [
        ("prev", [NAN, NAN, 1, 3, NAN], (2,)),
        ("change", [NAN, 2, NAN, NAN, 4], (1,)),
        ("sma", [NAN, 2, NAN, 2.5, 4], (2,)),
        ("sum", [NAN, NAN, NAN, 6, 11], (3,)),
        ("std", [NAN, 1, NAN, 0.5, 2], (2,)),
        ("highest", [NAN, 3, NAN, 3, 6], (2,)),
        ("lowest", [NAN, NAN, NAN, 1, 2], (3,)),
        ("ema", [NAN, NAN, NAN, 2, 4], (3,)),  # alpha 1/2 of 1, 3, 2, 6: 1, 2, 2, 4
        ("rma", [NAN, 2, NAN, 2, 4], (2,)),  # the same alpha
        ("quantile", [NAN, NAN, NAN, 1.5, 2.5], (3, 0.25)),  # a quarter of 1, 2, 3 and of 2, 3, 6
        ("slope", [NAN, NAN, NAN, 0.5, 1.5], (3,)),  # (2 - 1) / 2 and (6 - 3) / 2
        # gains 2, 0, 4 smoothed 2, 1, 2.5; losses 0, 1, 0 smoothed 0, 0.5, 0.25
        ("rsi", [NAN, NAN, NAN, 200 / 3, 1000 / 11], (2,)),
    ],
)
def test_windows_hold_the_last_valid_values(
    name: str, expected: list[float], windows: tuple[float, ...]
) -> None:
    check(name, [X], expected, *windows)


def test_rsi_is_50_while_nothing_moves() -> None:
    check("rsi", [[5.0, 5.0, 5.0]], [NAN, NAN, 50.0], 2)


HIGH, LOW, CLOSE = [10.0, 12.0, 11.0, 15.0], [8.0, 9.0, 6.0, 12.0], [9.0, 11.0, 7.0, 14.0]


def test_wilders_indicators() -> None:
    bars = [HIGH, LOW, CLOSE]
    check("true_range", bars, [2, 3, 5, 8])  # 15 - 7 is the gap up
    check("atr", bars, [NAN, 2.5, 3.75, 5.875], 2)
    check("plus_dm", bars[:2], [NAN, 2, 0, 4])
    check("minus_dm", bars[:2], [NAN, 0, 3, 0])
    plus, minus = [100 / 3.75, 250 / 5.875], [150 / 3.75, 75 / 5.875]
    check("plus_di", bars, [NAN, NAN, *plus], 2)  # smoothed 2, 1, 2.5
    check("minus_di", bars, [NAN, NAN, *minus], 2)  # smoothed 0, 1.5, 0.75
    dx = [100 * 0.5 / 2.5, 100 * 1.75 / 3.25]
    check("adx", bars, [NAN, NAN, NAN, (dx[0] + dx[1]) / 2], 2)


def test_a_bar_with_an_unknown_input_is_left_out_of_a_recursion() -> None:
    spoiled = [[*x[:2], NAN if i == 2 else 5.0, *x[2:]] for i, x in enumerate((HIGH, LOW, CLOSE))]
    check("true_range", spoiled, [2, 3, NAN, 5, 8])


def test_flat_bars_have_no_direction() -> None:
    check("adx", [[2.0] * 6, [1.0] * 6, [1.5] * 6], [NAN, NAN, NAN, 0, 0, 0], 2)
    check("plus_di", [[1.0] * 4, [1.0] * 4, [1.0] * 4], [NAN] * 4, 2)


def test_crossings_need_four_known_values() -> None:
    a, b = [1.0, 2.0, 3.0, NAN, 4.0, 1.0, 2.0], [2.0] * 7
    check("crosses_above", [a, b], [NAN, 0, 1, NAN, NAN, 0, 0])
    check("crosses_below", [a, b], [NAN, 0, 0, NAN, NAN, 1, 0])


def test_bars_since_counts_unknown_as_not_true() -> None:
    check("bars_since", [[0, 1, NAN, 0, 1, NAN]], [NAN, 0, 1, 2, 0, 1])


def test_conditions_are_three_valued() -> None:
    a = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, NAN, NAN, NAN]
    b = [0.0, 1.0, NAN] * 3
    check("and", [a, b], [0, 0, 0, 0, 1, NAN, 0, NAN, NAN])
    check("or", [a, b], [0, 1, NAN, 1, 1, 1, NAN, 1, NAN])
    check("not", [a], [1, 1, 1, 0, 0, 0, NAN, NAN, NAN])
    check("if_else", [[1, 0, NAN, 1], [5, 5, 5, NAN], [6, 6, 6, 6]], [5, 6, NAN, NAN])


def test_what_is_not_a_finite_number_is_unknown() -> None:
    zero, one = [0.0, 1.0, NAN, math.inf], [1.0, 0.0, 1.0, 1.0]
    check("div", [one, zero], [NAN, 0, NAN, NAN])
    check("log", [[0.0, 1.0, -1.0, NAN]], [NAN, 0, NAN, NAN])
    check("sqrt", [[4.0, -1.0, 0.0]], [2, NAN, 0])
    check("pow", [[2.0, -8.0, 0.0, 1e300], [3.0, 1 / 3, -1.0, 2.0]], [8, NAN, NAN, NAN])
    check("mul", [[1e300, 2.0], [1e300, 3.0]], [NAN, 6])
    check("gt", [zero, one], [0, 1, NAN, NAN])
    check("le", [[1.0, 2.0, NAN], [1.0, 1.0, 1.0]], [1, 0, NAN])
    check("ne", [[1.0, 2.0, NAN], [1.0, 1.0, 1.0]], [0, 1, NAN])
    check("min", [zero, one], [0, 0, NAN, NAN])
    check("max", [zero, one], [1, 1, NAN, NAN])
    check("coalesce", [zero, one], [0, 1, 1, 1])


@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "div", "lt", "le", "gt", "ge", "eq", "ne", "min", "max"]
)
def test_two_argument_functions_are_unknown_where_either_input_is(name: str) -> None:
    out = ORACLES[name](np.array([1.0, NAN, 1.0]), np.array([NAN, 1.0, 2.0]))
    assert np.isnan(out).tolist() == [True, True, False]
