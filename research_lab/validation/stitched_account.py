"""One account through all folds of a walk-forward: parameters change hands inside it, money never jumps.

The rule, that of the executor for strategies of a map: an open position keeps the parameters that entered it
until it is closed. At the first bar of an exam

- an account that is flat and has ordered nothing is the new parameters' from that bar's close on;
- a position, and an entry ordered at the close before, stay with the old ones: their exits, stops, takes and
  trail act, and they enter nothing more. After the first bar at whose close the account is flat, the new ones
  decide, from the next close on. When that does not happen within the exam, the parameters of the next fold
  wait in turn, and those of this one have decided nothing.

So no trade is cut by a border, no border costs anything that the strategy did not decide, and an exit by the
old parameters and an entry by the new ones never fall on one open. Signals of the new parameters are warm:
their program has seen every bar from the first one on, as its state depends on bars only and not on fills.
What is open at the end stays open, at the last close's price.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from research_lab.engine import layout, metrics, reasons
from research_lab.engine.backtest import Tape, daily_returns, inputs_of, to_fills, trades_of
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.slot import (
    BLOCK,
    BOOK_AT,
    PROGRAM_AT,
    Compiled,
    advance_slot,
    block_of,
    cut_into_blocks,
)
from research_lab.engine.terms import Terms


@dataclass(frozen=True, eq=False)
class StitchedAccount:
    """What the account did.

    Parameters
    ----------
    equity, position : (n_bars,) after each bar; 1 and 0 before the first exam.
    owner : (n_bars,) which fold's parameters decided at each close, -1 before the first exam.
    fills, trades : as in `engine.backtest.Backtest`.
    metrics : by the names of `engine.metrics.NAMES`, from the first exam on.
    first_day, daily : UTC day of the first return, and the return of each day; the first against 1.
    """

    equity: FloatArray
    position: FloatArray
    owner: IntArray
    fills: NDArray[np.void]
    trades: NDArray[np.void]
    metrics: dict[str, float]
    first_day: int
    daily: FloatArray


def stitch(
    strategies: Sequence[Compiled], begins: Sequence[int], tape: Tape, terms: Terms, regime: FloatArray
) -> StitchedAccount:
    """Run one account through exams.

    Parameters
    ----------
    strategies : one strategy at the parameters of each fold; all of one timeframe.
    begins : first bar of each exam, ascending; the last one ends with the tape.
    regime : (n_bars,) codes.
    """
    n = tape.time.shape[0]
    stretches: list[_Stretch] = []
    slot = _Slot(strategies[0], 0, tape, terms, regime)
    slot.warm(begins[0])
    for k, end in enumerate([*begins[1:], n]):
        if k > 0:
            stretches.append(_until_flat(slot, end))
            if slot.at == end and not slot.is_flat:
                continue
            heir = _Slot(strategies[k], k, tape, terms, regime)
            heir.warm(slot.at)
            heir.book[:] = slot.book
            slot = heir
        stretches.append(slot.advance(end, reasons.NONE))
    return _told(stretches, slot.book, begins[0], tape)


def _until_flat(slot: _Slot, end: int) -> _Stretch:
    """Advance without entries until nothing is open or ordered, or to the end."""
    if slot.is_flat:
        return slot.advance(slot.at, reasons.NONE)
    ahead = slot.copy().advance(end, reasons.INACTIVE)
    flat = np.flatnonzero(ahead.position == 0.0)
    return slot.advance(slot.at + int(flat[0]) + 1 if flat.shape[0] else end, reasons.INACTIVE)


class _Stretch(NamedTuple):
    """What one slot did on some bars, from `first` on."""

    fold: int
    first: int
    equity: FloatArray
    position: FloatArray
    fills: FloatArray


class _Slot:
    """A strategy's slot, advanced over the tape bit by bit.

    Its state, book included, stands after bar `at` - 1.
    """

    def __init__(self, strategy: Compiled, fold: int, tape: Tape, terms: Terms, regime: FloatArray) -> None:
        self.strategy, self.fold, self.tape, self.terms, self.regime = strategy, fold, tape, terms, regime
        self.inputs = inputs_of(strategy.program, tape)
        self.state = strategy.new_state()
        self.at = 0

    def copy(self) -> _Slot:
        other = copy.copy(self)
        other.state = self.state.copy()
        return other

    @property
    def book(self) -> FloatArray:
        return self.state[BOOK_AT:PROGRAM_AT]

    @property
    def is_flat(self) -> bool:
        """Whether nothing is open, and nothing ordered."""
        return bool(self.book[layout.QUANTITY] == 0.0 and self.book[layout.PENDING_SIDE] == 0.0)

    def warm(self, bar: int) -> None:
        """Let the program see all bars before one, without an entry."""
        self.advance(bar, reasons.INACTIVE)

    def advance(self, last: int, veto: int) -> _Stretch:
        """Advance to a bar, exclusive; entries are refused for a veto."""
        program, first, n = self.strategy.program, self.at, last - self.at
        equity, position, reason = np.empty(n), np.empty(n), np.empty(n, np.int64)
        registers = program.new_registers(BLOCK + 1)
        emitted_at = np.zeros(BLOCK + 1, np.int64)
        buffer = np.empty((BLOCK * layout.MAX_FILLS_PER_BAR, layout.FILL_SIZE))
        fills = [buffer[:0]]
        for a, b in cut_into_blocks(n):
            n_fills = advance_slot(
                program.code,
                program.values,
                program.outputs,
                self.strategy.plan,
                self.terms.array(),
                self.tape.step_ms,
                self.strategy.step_ms,
                self.state,
                registers,
                emitted_at,
                self.tape.time[first + a : first + b],
                block_of(self.inputs, first + a, first + b),
                self.tape.funding_due[first + a : first + b],
                self.regime[first + a : first + b],
                first + a,
                0,
                veto,
                equity[a:b],
                position[a:b],
                reason[a:b],
                buffer,
            )
            fills.append(buffer[:n_fills].copy())
        self.at = last
        return _Stretch(self.fold, first, equity, position, np.concatenate(fills))


def _told(stretches: Sequence[_Stretch], book: FloatArray, first: int, tape: Tape) -> StitchedAccount:
    n = tape.time.shape[0]
    equity, position, owner = np.ones(n), np.zeros(n), np.full(n, -1, np.int64)
    for stretch in stretches:
        bars = slice(stretch.first, stretch.first + stretch.equity.shape[0])
        equity[bars], position[bars], owner[bars] = stretch.equity, stretch.position, stretch.fold
    fills = to_fills(np.concatenate([stretch.fills for stretch in stretches]))
    accumulators, out = np.zeros(metrics.SIZE), np.empty(len(metrics.NAMES))
    metrics.begin(accumulators, 1.0)
    metrics.accumulate(accumulators, equity[first:])
    metrics.summarise(accumulators, book, tape.step_ms, out)
    worth = dict(zip(metrics.NAMES, out.tolist(), strict=True))
    first_day, daily = daily_returns(tape.time, equity, first)
    return StitchedAccount(equity, position, owner, fills, trades_of(fills), worth, first_day, daily)


def daily_costs(account: StitchedAccount, tape: Tape, terms: Terms) -> FloatArray:
    """Return what fees and slippage took each day, over the equity before each fill, beside `account.daily`.

    Takes, liquidations and ends do not slip. To first order the account without costs earns `daily` plus these.
    """
    fills = account.fills
    slips = ~np.isin(fills["reason"], (reasons.TAKE, reasons.LIQUIDATION, reasons.ENDED))
    notional = np.abs(fills["quantity"]) * fills["price"]
    before = np.concatenate([[1.0], account.equity])[fills["bar"]]
    paid = (fills["fee"] + notional * terms.slippage * slips) / np.maximum(before, 1e-12)
    days = tape.time[fills["bar"]] // metrics.DAY_MS - account.first_day
    return np.bincount(days, weights=paid, minlength=account.daily.shape[0]).astype(np.float64)
