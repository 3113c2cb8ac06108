"""One streamed pass: a strategy that gets its bars one at a time must do what it does over all of them.

When a bar is handed over alone, nothing after it exists. Whatever the run over large blocks computes or does
differently at any bar has looked ahead in its block, or forgotten something at the border of two. So every
bar is tested for the price of one run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from research_lab.engine import layout, reasons
from research_lab.engine.backtest import Tape, inputs_of, makes_whole_bars, to_fills
from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.engine.slot import (
    BLOCK,
    Compiled,
    CompiledRegimes,
    advance_regimes,
    advance_slot,
    block_of,
    clocks_of,
    cut_into_blocks,
)
from research_lab.engine.terms import Terms
from research_lab.validation.difference import Difference, first_difference
from research_lab.validation.recording import Recording, names_of

STREAMED: Final = "when the bars came one at a time"


@dataclass(eq=False)
class _Side:
    """One of two ways to run a slot: its state, and what the last block left."""

    state: FloatArray
    registers: FloatArray
    emitted_at: IntArray
    fills: FloatArray
    equity: FloatArray
    position: FloatArray
    reason: IntArray

    @classmethod
    def of(cls, strategy: Compiled, width: int) -> _Side:
        return cls(
            strategy.new_state(), strategy.program.new_registers(width + 1), np.zeros(width + 1, np.int64),
            np.empty((width * layout.MAX_FILLS_PER_BAR, layout.FILL_SIZE)), np.ones(width), np.zeros(width),
            np.zeros(width, np.int64),
        )  # fmt: skip


def streamed_difference(
    strategy: Compiled,
    tape: Tape,
    terms: Terms,
    regimes: CompiledRegimes | None,
    codes: FloatArray,
    begin: int,
) -> Difference | None:
    """Return where a run bar by bar parts from one in blocks, None when every bit is the same.

    Parameters
    ----------
    regimes, codes : the regimes, and their codes over the tape in blocks.
    begin : the first bar that the strategy sees; regimes see all.
    """
    n = tape.time.shape[0]
    for clock in clocks_of(regimes):
        if makes_whole_bars(tape.step_ms, clock.step_ms) and (apart := _code_difference(clock, tape)):
            return apart
    width = min(BLOCK, n - begin)
    blocks, single = _Side.of(strategy, width), _Side.of(strategy, width)
    names, rows = names_of(strategy.program), np.flatnonzero(strategy.program.on_own_bars())
    told = tuple(names[row] for row in rows)
    outputs = strategy.program.outputs
    signals = np.where(outputs >= 0, np.searchsorted(rows, outputs), -1)
    inputs = inputs_of(strategy.program, tape)
    for first, last in _blocks(begin, n, width):
        one = _advance(blocks, strategy, tape, terms, inputs, codes, first, last, begin)
        other = _stream(single, strategy, tape, terms, inputs, codes, first, last, begin)
        whole, alone = (
            _recording(side, told, signals, rows, m, n_fills, codes, first, last)
            for side, (m, n_fills) in ((blocks, one), (single, other))
        )
        apart = first_difference(whole, alone, last - first - 1)
        if apart is not None:
            return Difference(apart.what, apart.bar + first, apart.before, apart.after)
        if not np.array_equal(blocks.state, single.state, equal_nan=True):
            cell = int(np.argmax(~((blocks.state == single.state) | np.isnan(blocks.state))))
            kept = [repr(side.state[cell].item()) for side in (blocks, single)]
            return Difference(f"cell {cell} of the state", last - 1, *kept)
    return None


def _blocks(begin: int, n: int, width: int) -> Iterator[tuple[int, int]]:
    return ((a + begin, b + begin) for a, b in cut_into_blocks(n - begin, max(width, 1)))


def _advance(
    side: _Side, strategy: Compiled, tape: Tape, terms: Terms, inputs: FloatArray, codes: FloatArray,
    first: int, last: int, begin: int,
) -> tuple[int, int]:  # fmt: skip
    side.emitted_at.fill(-1)
    size = last - first
    n_fills = advance_slot(
        strategy.program.code, strategy.program.values, strategy.program.outputs, strategy.plan, terms.array(),
        tape.step_ms, strategy.step_ms, side.state, side.registers, side.emitted_at, tape.time[first:last],
        block_of(inputs, first, last), tape.funding_due[first:last], codes[first:last], first, begin,
        reasons.NONE, side.equity[:size], side.position[:size], side.reason[:size], side.fills,
    )  # fmt: skip
    return int(np.count_nonzero(side.emitted_at >= 0)), n_fills


def _stream(
    side: _Side, strategy: Compiled, tape: Tape, terms: Terms, inputs: FloatArray, codes: FloatArray,
    first: int, last: int, begin: int,
) -> tuple[int, int]:  # fmt: skip
    size = last - first
    m, n_fills = stream_slot(
        strategy.program.code, strategy.program.values, strategy.program.outputs, strategy.plan, terms.array(),
        tape.step_ms, strategy.step_ms, side.state, strategy.program.new_registers(2), np.zeros(2, np.int64),
        tape.time[first:last], block_of(inputs, first, last), np.empty((inputs.shape[0], 1)),
        tape.funding_due[first:last], codes[first:last], first, begin, side.equity[:size],
        side.position[:size], side.reason[:size], side.fills, side.registers, side.emitted_at,
    )  # fmt: skip
    return int(m), int(n_fills)


@kernel
def stream_slot(
    code: IntArray, values: FloatArray, outputs: IntArray, plan: FloatArray, terms: FloatArray, base_ms: int,
    step_ms: int, state: FloatArray, scratch: FloatArray, emitted: IntArray, time: IntArray,
    inputs: FloatArray, bar: FloatArray, funding_due: FloatArray, regime: FloatArray, first_bar: int,
    start: int, equity: FloatArray, position: FloatArray, reason: IntArray, fills: FloatArray,
    registers: FloatArray, emitted_at: IntArray,
) -> tuple[int, int]:  # fmt: skip
    """Advance a slot over a block in blocks of one bar; return strategy bars completed, and fills.

    Parameters are those of `slot.advance_slot`; `scratch`, `emitted` and `bar` hold one bar, what it computed
    is gathered in `registers` and `emitted_at`.
    """
    m = n_fills = 0
    for t in range(time.shape[0]):
        for row in range(inputs.shape[0]):
            bar[row, 0] = inputs[row, t]
        emitted[:] = -1
        n_fills += advance_slot(
            code, values, outputs, plan, terms, base_ms, step_ms, state, scratch, emitted, time[t : t + 1], bar,
            funding_due[t : t + 1], regime[t : t + 1], first_bar + t, start, reasons.NONE, equity[t : t + 1],
            position[t : t + 1], reason[t : t + 1], fills[n_fills:],
        )  # fmt: skip
        for s in range(emitted.shape[0]):
            if emitted[s] >= 0:
                emitted_at[m] = t
                for row in range(scratch.shape[0]):
                    registers[row, m] = scratch[row, s]
                m += 1
    return m, n_fills


@kernel
def stream_regimes(
    code: IntArray, values: FloatArray, outputs: IntArray, codes: IntArray, warmup: int, base_ms: int,
    step_ms: int, state: FloatArray, scratch: FloatArray, emitted: IntArray, time: IntArray,
    inputs: FloatArray, bar: FloatArray, regime: FloatArray,
) -> None:  # fmt: skip
    """Write the regime's code after each base bar, in blocks of one bar; see `slot.advance_regimes`."""
    for t in range(time.shape[0]):
        for row in range(inputs.shape[0]):
            bar[row, 0] = inputs[row, t]
        advance_regimes(
            code, values, outputs, codes, warmup, base_ms, step_ms, state, scratch, emitted, time[t : t + 1],
            bar, regime[t : t + 1],
        )  # fmt: skip


def _code_difference(clock: CompiledRegimes, tape: Tape) -> Difference | None:
    """Return where a clock's code, bar by bar, is not what it is in blocks."""
    n, program = tape.time.shape[0], clock.program
    inputs, kept, alone = inputs_of(program, tape), np.zeros(n), np.zeros(n)
    states = clock.new_state(), clock.new_state()
    wide, narrow = program.new_registers(BLOCK + 1), program.new_registers(2)
    fixed = (
        program.code,
        program.values,
        program.outputs,
        clock.codes,
        clock.warmup,
        tape.step_ms,
        clock.step_ms,
    )
    for first, last in cut_into_blocks(n):
        part = tape.time[first:last], block_of(inputs, first, last)
        emitted = np.zeros(BLOCK + 1, np.int64)
        advance_regimes(*fixed, states[0], wide, emitted, *part, kept[first:last])
        bar, emitted = np.empty((inputs.shape[0], 1)), np.zeros(2, np.int64)
        stream_regimes(*fixed, states[1], narrow, emitted, *part, bar, alone[first:last])
    apart = np.flatnonzero(kept != alone)
    if not apart.shape[0]:
        return None
    t = int(apart[0])
    return Difference("regime", t, repr(kept[t].item()), repr(alone[t].item()))


def _recording(
    side: _Side, names: tuple[str, ...], signals: IntArray, rows: IntArray, m: int, n_fills: int,
    codes: FloatArray, first: int, last: int,
) -> Recording:  # fmt: skip
    """Return a block of a run as a recording, bars counted from its first."""
    size = last - first
    fills = to_fills(side.fills[:n_fills].copy())
    fills["bar"] -= first
    return Recording(
        names, signals, side.emitted_at[:m].copy(), side.registers[rows, :m], codes[first:last],
        side.equity[:size], side.position[:size], side.reason[:size], fills,
    )  # fmt: skip
