"""The engine's portfolio on the cases of the slow one: signals go straight into the blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from research_lab.bars import Bars
from research_lab.bars import Market as Place
from research_lab.dsl.regimes import MACRO_CODES
from research_lab.engine import layout, portfolio_steps, reasons
from research_lab.engine.account import Caps
from research_lab.engine.jit import FloatArray
from research_lab.engine.portfolio import Market, Slot, Stepper, fills_of, refusals_of
from research_lab.engine.program import N_INPUTS, Program
from research_lab.engine.slot import Compiled
from research_lab.engine.terms import Terms
from tests.oracles.random_portfolios import PortfolioCase, RandomMarket
from tests.oracles.slow_portfolio import SlowPortfolioResult
from tests.research_lab.engine.differential import REASON_NAMES, outputs_of, plan_of, registers_of
from tests.research_lab.engine.tapes import FIRST_MS, HOUR_MS, Tape

REFUSAL_NAMES = {
    reasons.NO_ROOM: "NO_ROOM",
    reasons.SYMBOL_ROOM: "SYMBOL_ROOM",
    reasons.OPEN_RISK: "OPEN_RISK",
    reasons.POSITIONS: "POSITIONS",
    reasons.TOO_SMALL: "TOO_SMALL",
}


class SignalStepper(Stepper):
    """A stepper whose strategies say what a case says."""

    case: PortfolioCase

    def _room(self, width: int) -> portfolio_steps.Signals:
        return super()._room(3 * width)  # a case may complete three signal bars at one close

    def _advance_strategy(
        self,
        state: FloatArray,
        k: int,
        bars: tuple[int, int, NDArray[np.int64]],
        signals: portfolio_steps.Signals,
    ) -> None:
        a, b, rows = bars
        values, emitted_at = registers_of(self.case.slots[k].signals[a:b])
        m = emitted_at.shape[0]
        signals.values[k, :, :m] = values
        signals.emitted_at[k, :m] = rows[emitted_at]
        signals.n[k] = m


class PlayedPortfolio:
    """What the engine made of a case."""

    def __init__(
        self,
        case: PortfolioCase,
        cuts: Sequence[int] = (),
        quantum: float = 0.0,
        stepper: Stepper | None = None,
    ) -> None:
        self.stepper = stepper_of(case, quantum) if stepper is None else stepper
        self.state = self.stepper.new_state()
        events = [
            self.stepper.advance(self.state, a, b)
            for a, b in pairwise(sorted({0, *cuts, case.n}))
        ]  # fmt: skip
        self.equity = np.concatenate([e.equity for e in events])
        self.cash = np.concatenate([e.cash for e in events])
        self.exposure = np.concatenate([e.exposure for e in events])
        self.position = np.concatenate([e.position for e in events], axis=1)
        self.reason = np.concatenate([e.reason for e in events], axis=1)
        self.fills = np.concatenate([fills_of(e) for e in events])
        self.refusals = np.concatenate([refusals_of(e) for e in events])

    @property
    def bytes(self) -> tuple[bytes, ...]:
        arrays = (self.equity, self.cash, self.exposure, self.position, self.reason, self.fills)
        return tuple(a.tobytes() for a in (*arrays, self.refusals, self.state))


def stepper_of(case: PortfolioCase, quantum: float = 0.0) -> SignalStepper:
    slots = []
    for slot in case.slots:
        program = Program(np.empty((0, 8), np.int64), np.empty(0), outputs_of(slot.plan), 8, 0)
        slots.append(Slot(Compiled(program, plan_of(slot.plan), HOUR_MS), slot.market, slot.share))
    markets = [Market(tape_of(m), terms_of_market(m, quantum), codes_of(m)) for m in case.markets]
    c = case.caps
    caps = Caps(c.leverage, c.symbol, c.open_risk, c.positions)
    stepper = SignalStepper(slots, markets, caps, case.cash, case.start)
    stepper.case = case
    return stepper


def reading_stepper(case: PortfolioCase, rng: np.random.Generator) -> Stepper:
    """Return a stepper whose strategies read a case's signals, one a bar, as external series of their markets.

    Each market has the series of all its slots and one that nobody reads, in any order, and each strategy names
    its own in another.
    """
    columns = [registers_of(slot.signals)[0] for slot in case.slots]
    slots, of_market = [], [{"unread": np.full(len(m.rows), 7.7)} for m in case.markets]
    for k, slot in enumerate(case.slots):
        roles = rng.permutation(layout.N_SIGNALS)
        of_market[slot.market].update({f"{k} {role}": columns[k][role] for role in roles})
        places = np.argsort(roles)[outputs_of(slot.plan)] + N_INPUTS
        program = Program(
            np.empty((0, 8), np.int64), np.empty(0), np.where(outputs_of(slot.plan) < 0, -1, places),
            N_INPUTS + layout.N_SIGNALS, 0, tuple(f"{k} {role}" for role in roles),
        )  # fmt: skip
        slots.append(Slot(Compiled(program, plan_of(slot.plan), HOUR_MS), slot.market, slot.share))
    markets = [
        Market(_bars_with(m, rows, rng), terms_of_market(m, 0.0), codes_of(m))
        for m, rows in zip(case.markets, of_market, strict=True)
    ]
    return Stepper(slots, markets, Caps(*vars(case.caps).values()), case.cash, case.start)


def _bars_with(market: RandomMarket, rows: dict[str, FloatArray], rng: np.random.Generator) -> Bars:
    tape, names = tape_of(market), list(rows)
    rng.shuffle(names)
    bars = Bars(Place("synthetic", market.name), tape.step_ms, tape.time, tape.inputs, tape.funding_due)
    return bars.with_series({name: rows[name] for name in names})


def codes_of(market: RandomMarket) -> FloatArray:
    """Return the codes of regimes and macro states together."""
    return np.array(market.regimes) + 16.0 * np.array([MACRO_CODES.get(name, 0) for name in market.macros])


def tape_of(market: RandomMarket) -> Tape:
    bars = market.bars
    inputs = np.full((7, len(bars.open)), math.nan)
    inputs[:4] = [bars.open, bars.high, bars.low, bars.close]
    time = FIRST_MS + HOUR_MS * np.array(market.rows, np.int64)
    return Tape(HOUR_MS, time, inputs, np.array(bars.funding_due))


def terms_of_market(market: RandomMarket, quantum: float) -> Terms:
    return Terms(**{**vars(market.terms), "quantum": quantum})


def difference(case: PortfolioCase, slow: SlowPortfolioResult, fast: PlayedPortfolio) -> str:
    """Say where two portfolios first differ, by more than 1e-9 of a number; "" when they agree.

    Where nothing but rounding is left of the equity, whether that is above zero is chance: it ends there. So it
    does where a price lies on a liquidation level but for rounding.
    """
    equity = np.array(slow.equity)
    scale = float(np.abs(equity).max())
    nothing = np.abs(equity) <= 1e-12 * scale
    end = int(np.argmax(nothing)) if nothing.any() else case.n
    end = end if slow.tied_at is None else min(end, slow.tied_at)
    for name, wanted, got in (
        ("equity", equity, fast.equity),
        ("cash", np.array(slow.cash), fast.cash),
        ("exposure", np.array(slow.exposure), fast.exposure),
        *(
            (f"position of slot {k}", np.array([row[k] for row in slow.position]), fast.position[k])
            for k in range(len(case.slots))
        ),
    ):
        unit = max(float(np.abs(wanted[:end]).max(initial=0.0)), 0.0 if "position" in name else scale)
        apart = ~(np.abs(wanted[:end] - got[:end]) <= max(1e-9 * unit, 1e-15 * scale))
        if apart.any():
            bar = int(np.flatnonzero(apart)[0])
            return f"{name} at {bar}: {wanted[bar]!r}, and {got[bar]!r} of the engine"
    return _fills_differ(slow, fast, end, 1e-15 * scale) or _refusals_differ(slow, fast, end)


def _fills_differ(slow: SlowPortfolioResult, fast: PlayedPortfolio, end: int, dust: float) -> str:
    """Say where fills first differ; what is bought with the last `dust` of an account is rounding of its cash."""
    for k, of_slot in enumerate(slow.fills):
        wanted = [f for f in of_slot if f.bar < end]
        got = fast.fills[(fast.fills["slot"] == k) & (fast.fills["bar"] < end)]
        if len(wanted) != len(got):
            return f"slot {k}: {len(wanted)} fills, and {len(got)} of the engine"
        for a, b in zip(wanted, got, strict=True):
            seen = (int(b["bar"]), int(b["position_id"]), REASON_NAMES[int(b["reason"])])
            numbers = [b["quantity"], b["price"], b["fee"]]
            slack = np.array([dust / a.price, 0.0, dust])
            if seen != (a.bar, a.position_id, a.reason) or not np.allclose(
                numbers, [a.quantity, a.price, a.fee], rtol=1e-9, atol=slack
            ):
                return f"slot {k}: {a}, and {b} of the engine"
    return ""


def _refusals_differ(slow: SlowPortfolioResult, fast: PlayedPortfolio, end: int) -> str:
    wanted = [(r.slot, r.bar, r.reason) for r in slow.refusals if r.bar < end]
    got = [
        (int(r["slot"]), int(r["bar"]), REFUSAL_NAMES[int(r["reason"])])
        for r in fast.refusals
        if r["bar"] < end
    ]
    if wanted != got:
        first = next((pair for pair in zip(wanted, got, strict=False) if pair[0] != pair[1]), "the end")
        return f"refusals {first}; {len(wanted)}, and {len(got)} of the engine"
    quantities = [r.quantity for r in slow.refusals if r.bar < end]
    if not np.allclose(fast.refusals["quantity"][: len(quantities)], quantities, rtol=1e-9, atol=0.0):
        return "quantities refused"
    return ""
