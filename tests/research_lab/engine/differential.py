"""The engine's broker on the cases of the slow one: signals go straight into the registers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from itertools import pairwise

import numpy as np

from research_lab.dsl.regimes import MACRO_CODES
from research_lab.engine import broker, layout, reasons
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.terms import Terms
from tests.oracles.random_markets import Case
from tests.oracles.slow_broker import Signal, SlowPlan, SlowResult

Step = Callable[..., int]

REASON_NAMES = {
    reasons.ENTRY: "ENTRY",
    reasons.EXIT_SIGNAL: "EXIT_SIGNAL",
    reasons.TIME_STOP: "TIME_STOP",
    reasons.REGIME_EXIT: "REGIME_EXIT",
    reasons.MACRO_EXIT: "MACRO_EXIT",
    reasons.STOP: "STOP",
    reasons.TAKE: "TAKE",
    reasons.LIQUIDATION: "LIQUIDATION",
    reasons.ENDED: "ENDED",
}


class Played:
    """What the engine's broker made of a case."""

    def __init__(self, case: Case) -> None:
        n = len(case.bars.open)
        self.equity, self.position = np.empty(n), np.empty(n)
        self.reason = np.empty(n, np.int64)
        self.fills: FloatArray = np.empty((0, layout.FILL_SIZE))
        self.book = np.zeros(layout.BOOK_SIZE)
        layout.open_book(self.book, case.cash)

    @property
    def bytes(self) -> tuple[bytes, ...]:
        return tuple(a.tobytes() for a in (self.equity, self.position, self.reason, self.fills, self.book))


def play(case: Case, cuts: Sequence[int] = (), step: Step = broker.step) -> Played:
    """Trade a case with the engine's broker in blocks; a border between active and not cuts as well."""
    inputs = np.full((7, len(case.bars.open)), math.nan)
    bars = case.bars
    inputs[:4] = [bars.open, bars.high, bars.low, bars.close]
    due = np.array(bars.funding_due)
    regime = np.array(case.regimes) + 16.0 * np.array([MACRO_CODES.get(name, 0) for name in case.macros])
    plan, terms = plan_of(case.plan), terms_of(case)
    played, kept = Played(case), []
    flips = [i for i, (a, b) in enumerate(pairwise(case.active), 1) if a != b]
    borders = sorted({0, *flips, *cuts, len(case.active)})
    for first, last in pairwise(borders):
        registers, emitted_at = registers_of(case.signals[first:last])
        fills = np.empty(((last - first) * layout.MAX_FILLS_PER_BAR, layout.FILL_SIZE))
        n_fills = step(
            played.book, plan, terms, inputs[:, first:last], due[first:last], regime[first:last],
            registers, outputs_of(case.plan), emitted_at, emitted_at.shape[0], first, 0,
            0 if case.active[first] else reasons.INACTIVE,
            played.equity[first:last], played.position[first:last], played.reason[first:last], fills,
        )  # fmt: skip
        kept.append(fills[:n_fills])
    played.fills = np.concatenate(kept)
    return played


def registers_of(signals: Sequence[Sequence[Signal]]) -> tuple[FloatArray, IntArray]:
    """Return one column a completed signal bar, and the base bar at whose close it completes."""
    rows = [
        [s.enter_long, s.exit_long, s.enter_short, s.exit_short, s.stop, s.trail, s.size]
        for of_bar in signals
        for s in of_bar
    ]
    emitted_at = [t for t, of_bar in enumerate(signals) for _ in of_bar]
    columns = np.array(rows, np.float64).reshape(-1, layout.N_SIGNALS).T
    return np.ascontiguousarray(columns), np.array(emitted_at, np.int64)


def outputs_of(plan: SlowPlan) -> IntArray:
    outputs = np.arange(layout.N_SIGNALS)
    if not plan.has_stop:
        outputs[layout.STOP_DISTANCE] = -1
    if not plan.has_trail:
        outputs[layout.TRAIL_DISTANCE] = -1
    return outputs


def plan_of(slow: SlowPlan) -> FloatArray:
    plan = np.zeros(layout.PLAN_SIZE)
    plan[layout.SIZE_KIND] = slow.size_kind
    plan[layout.TIME_STOP] = slow.time_stop
    plan[layout.TRAIL_AFTER] = slow.trail_after_r
    plan[layout.BREAKEVEN] = slow.breakeven
    plan[layout.REGIME_MASK] = slow.regime_mask
    plan[layout.REGIME_EXIT] = slow.regime_exit
    plan[layout.N_TAKES] = len(slow.takes)
    for k, (at, share) in enumerate(slow.takes):
        plan[layout.TAKE_AT + k] = at
        plan[layout.TAKE_SHARE + k] = share
    return plan


def terms_of(case: Case) -> FloatArray:
    t = case.terms
    return Terms(
        fee=t.fee,
        slippage=t.slippage,
        leverage=t.leverage,
        maintenance=t.maintenance,
        liquidation_fee=t.liquidation_fee,
        perpetual=t.perpetual,
        lot=t.lot,
        tick=t.tick,
        min_notional=t.min_notional,
        optimistic=t.optimistic,
    ).array()


def difference(slow: SlowResult, fast: Played) -> str:
    """Say where two brokers first differ, by more than 1e-9 of a number; "" when they agree.

    Where a liquidation leaves nothing but rounding, whether that is above zero is chance: it ends there.
    """
    scale = max(abs(value) for value in slow.equity)
    nothing_left = np.abs(np.array(slow.equity)) <= 1e-12 * scale
    if nothing_left.any():
        slow, fast = _before(int(np.argmax(nothing_left)), slow, fast)
    for k in range(max(len(slow.fills), fast.fills.shape[0])):
        if k == len(slow.fills) or k == fast.fills.shape[0]:
            return f"{len(slow.fills)} fills, and {fast.fills.shape[0]} of the engine"
        wanted, got = slow.fills[k], fast.fills[k]
        name = REASON_NAMES[int(got[layout.FILL_REASON])]
        seen = (int(got[layout.FILL_BAR]), int(got[layout.FILL_POSITION]), name)
        numbers = got[[layout.FILL_QUANTITY, layout.FILL_PRICE, layout.FILL_FEE]]
        if seen != (wanted.bar, wanted.position_id, wanted.reason) or not np.allclose(
            numbers, [wanted.quantity, wanted.price, wanted.fee], rtol=1e-9, atol=0.0
        ):
            return f"fill {k}: {wanted}, and {seen} {numbers} of the engine"
    for name, slow_row, fast_row, unit in (
        ("equity", slow.equity, fast.equity, scale),
        ("position", slow.position, fast.position, max(map(abs, slow.position), default=0.0)),
    ):
        apart = np.abs(np.array(slow_row) - fast_row) > 1e-9 * unit
        if apart.any() or not np.isfinite(fast_row).all():
            bar = int(np.flatnonzero(apart | ~np.isfinite(fast_row))[0])
            return f"{name} at bar {bar}: {slow_row[bar]!r}, and {fast_row[bar]!r} of the engine"
    return ""


def _before(bar: int, slow: SlowResult, fast: Played) -> tuple[SlowResult, Played]:
    early = SlowResult(slow.equity[:bar], slow.position[:bar], [f for f in slow.fills if f.bar < bar])
    cut = copy(fast)
    cut.equity, cut.position = fast.equity[:bar], fast.position[:bar]
    cut.fills = fast.fills[fast.fills[:, layout.FILL_BAR] < bar]
    return early, cut
