"""One slot, a strategy on a market: its whole memory is one flat array, its motion one function.

The batch backtest advances a slot in blocks of thousands of bars, the executor in blocks of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from research_lab.engine import broker, layout, metrics, program, resampling
from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.engine.program import Program, Union

BLOCK: Final = 2048
LEAST_BLOCK: Final = 256
REGISTER_BYTES: Final = 768 * 1024  # what a sweep's registers may take of a core's cache

# The state of a slot: resampling, then the book, then the program.
BOOK_AT: Final = resampling.SIZE
PROGRAM_AT: Final = BOOK_AT + layout.BOOK_SIZE

# The state of a regime clock: resampling, the code held, bars seen, then the program.
CODE_AT: Final = resampling.SIZE
SEEN_AT: Final = CODE_AT + 1
REGIME_PROGRAM_AT: Final = SEEN_AT + 1


class Compiled(NamedTuple):
    """A strategy, ready for the engine: its program, its plan, and the timeframe it runs on."""

    program: Program
    plan: FloatArray
    step_ms: int

    def new_state(self, cash: float = 1.0) -> FloatArray:
        """Return the state of a slot before its first bar."""
        state = np.zeros(PROGRAM_AT + self.program.n_state)
        layout.open_book(state[BOOK_AT:PROGRAM_AT], cash)
        return state


class CompiledUnion(NamedTuple):
    """Strategies of one timeframe as one program, ready for a sweep, and their plans, one row each."""

    union: Union
    plans: FloatArray
    step_ms: int

    @property
    def block(self) -> int:
        """Bars advanced at a time, so that the registers stay near the core; no number changes a bit."""
        n_registers = self.union.shared.n_registers + self.union.n_private
        fitting = REGISTER_BYTES // (8 * n_registers)
        return int(min(BLOCK, max(LEAST_BLOCK, 1 << fitting.bit_length() >> 1)))

    def n_bytes(self, n_days: int) -> int:
        """Return the memory that a sweep of it takes, daily returns over `n_days` included."""
        n_registers = self.union.shared.n_registers + self.union.n_private
        cells = n_registers * (self.block + 1) + self.union.shared.n_state + int(self.union.state_at[-1])
        a_strategy = layout.BOOK_SIZE + metrics.SIZE + len(metrics.NAMES) + n_days
        return 8 * (cells + self.plans.shape[0] * a_strategy + self.union.code.size + self.union.values.size)


class CompiledRegimes(NamedTuple):
    """Conditions of regimes or of macro states, ready for the engine: outputs in order of precedence."""

    program: Program
    codes: IntArray  # of each output
    step_ms: int
    warmup: int  # bars of the timeframe before the first code
    unknown: int = 0  # the code where no condition is true or can be known
    macro: CompiledRegimes | None = None  # macro states, on a clock of their own

    def new_state(self) -> FloatArray:
        return np.zeros(REGIME_PROGRAM_AT + self.program.n_state)


def clocks_of(regimes: CompiledRegimes | None) -> list[CompiledRegimes]:
    """Return regimes and their macro states as clocks that stand alone."""
    if regimes is None:
        return []
    return [regimes._replace(macro=None), *clocks_of(regimes.macro)]


@kernel
def advance_slot(
    code: IntArray,
    values: FloatArray,
    outputs: IntArray,
    plan: FloatArray,
    terms: FloatArray,
    base_ms: int,
    step_ms: int,
    state: FloatArray,
    registers: FloatArray,
    emitted_at: IntArray,
    time: IntArray,
    inputs: FloatArray,
    funding_due: FloatArray,
    regime: FloatArray,
    first_bar: int,
    start: int,
    veto: int,
    equity: FloatArray,
    position: FloatArray,
    reason: IntArray,
    fills: FloatArray,
) -> int:
    """Advance one slot over a block of base bars; return how many fills were recorded.

    Parameters are those of `resampling.resample`, `program.advance` and `broker.step`; `registers`
    and `emitted_at` are scratch of width n + 1, `state` is the slot's memory, in place.
    """
    m = resampling.resample(state[:BOOK_AT], time, inputs, base_ms, step_ms, registers, emitted_at)
    program.advance(code, values, state[PROGRAM_AT:], registers, m)
    return broker.step(
        state[BOOK_AT:PROGRAM_AT],
        plan,
        terms,
        inputs,
        funding_due,
        regime,
        registers,
        outputs,
        emitted_at,
        m,
        first_bar,
        start,
        veto,
        equity,
        position,
        reason,
        fills,
    )


@kernel
def advance_regimes(
    code: IntArray,
    values: FloatArray,
    outputs: IntArray,
    codes: IntArray,
    warmup: int,
    base_ms: int,
    step_ms: int,
    state: FloatArray,
    registers: FloatArray,
    emitted_at: IntArray,
    time: IntArray,
    inputs: FloatArray,
    regime: FloatArray,
) -> None:
    """Write the regime's code after each base bar: the first condition that is true; 0 for none."""
    m = resampling.resample(state[:CODE_AT], time, inputs, base_ms, step_ms, registers, emitted_at)
    program.advance(code, values, state[REGIME_PROGRAM_AT:], registers, m)
    for s in range(m):
        found = 0.0
        state[SEEN_AT] += 1.0
        if state[SEEN_AT] < warmup:
            registers[0, s] = found
            continue
        for k in range(outputs.shape[0]):
            if registers[outputs[k], s] == 1.0:
                found = codes[k]
                break
        registers[0, s] = found
    state[CODE_AT] = resampling.expand(registers[0], emitted_at, m, state[CODE_AT], regime)


def cut_into_blocks(n: int, block: int = BLOCK) -> list[tuple[int, int]]:
    """Return the borders of consecutive blocks that cover n bars."""
    return [(first, min(first + block, n)) for first in range(0, n, block)]


def covering(blocks: Iterable[tuple[int, int]], n: int) -> list[tuple[int, int]]:
    """Return borders of blocks, which must cover n bars one after the other.

    Raises
    ------
    ValueError
        They leave bars out, take some twice, or go beyond the last.
    """
    cuts = list(blocks)
    ends = [0, *(last for _, last in cuts)]
    if ends != sorted(ends) or [first for first, _ in cuts] != ends[:-1] or ends[-1] != n:
        raise ValueError(f"blocks do not cover bars 0 to {n} one after the other")
    return cuts


def block_of(inputs: FloatArray, first: int, last: int) -> FloatArray:
    """Return a block of the inputs with contiguous rows, which the processor reads many bars at a time."""
    return np.ascontiguousarray(inputs[:, first:last])
