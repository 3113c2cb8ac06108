"""The invariants as checks of a machine: anything that advances flat state over blocks of a tape.

The same checks judge the compiled engine and, in `test_planted_faults`, machines that are wrong on purpose.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from hypothesis import strategies as st

from research_lab.engine import layout, program, reasons, slot
from research_lab.engine.jit import FloatArray
from research_lab.engine.program import Program
from research_lab.engine.slot import Compiled, CompiledRegimes
from research_lab.engine.terms import Terms
from tests.research_lab.engine.tapes import PRICES, Tape

Cuts = Sequence[int]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a machine says: values of each bar, records of some bars (bar first), and its state at the end."""

    rows: FloatArray
    records: FloatArray
    state: FloatArray

    def before(self, bar: int) -> tuple[bytes, bytes]:
        """Return what was said about the bars before one."""
        early = self.records[self.records[:, 0] < bar]
        return self.rows[:, :bar].tobytes(), early.tobytes()

    @property
    def bytes(self) -> tuple[bytes, bytes, bytes]:
        return self.rows.tobytes(), self.records.tobytes(), self.state.tobytes()


class Machine(Protocol):
    """Something that advances its state over a block of bars."""

    def start(self) -> FloatArray:
        """Return the state before the first bar."""

    def advance(self, state: FloatArray, tape: Tape, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        """Advance over the bars from `first` to before `last`; return their rows and records."""


def block_cuts(n: int) -> st.SearchStrategy[list[int]]:
    """Return a strategy of cuts: none, few, or a block for each bar."""
    some = st.lists(st.integers(1, n - 1), max_size=12, unique=True).map(sorted)
    return st.one_of(some, st.just(list(range(1, n))))


def run(
    machine: Machine, tape: Tape, cuts: Cuts = (), state: FloatArray | None = None, first: int = 0
) -> Answer:
    """Return what a machine says of the bars from `first` on, cut into blocks."""
    memory = machine.start() if state is None else state
    borders = [first, *(cut for cut in cuts if first < cut < tape.n), tape.n]
    parts = [machine.advance(memory, tape, a, b) for a, b in itertools.pairwise(borders)]
    return Answer(
        np.concatenate([rows for rows, _ in parts], axis=1),
        np.concatenate([records for _, records in parts]),
        memory,
    )


def check_block_invariance(machine: Machine, tape: Tape, cuts: Cuts) -> None:
    whole, pieces = run(machine, tape), run(machine, tape, cuts)
    assert_same(whole, pieces, f"cut at {list(cuts)[:20]}")


def check_causality(machine: Machine, tape: Tape, bar: int, seed: int = 0) -> None:
    """Nothing said before a bar may depend on it or on what follows."""
    honest, poisoned = run(machine, tape), run(machine, poisoned_from(tape, bar, seed))
    assert honest.before(bar) == poisoned.before(bar), f"a bar before {bar} knows what follows"


def check_own_close(machine: Machine, tape: Tape, bar: int, share: float) -> None:
    """Nothing filled in a bar may depend on its own close, but for the end of a run without equity."""
    low, high = tape.inputs[2, bar], tape.inputs[1, bar]
    moved = replace(tape, inputs=tape.inputs.copy())
    moved.inputs[3, bar] = low + share * (high - low)
    answers = [run(machine, t).records for t in (tape, moved)]
    fills = [r[(r[:, 0] <= bar) & (r[:, layout.FILL_REASON] != reasons.ENDED)] for r in answers]
    assert fills[0].tobytes() == fills[1].tobytes(), f"bar {bar} traded on its own close"


def check_determinism(machine: Machine, tape: Tape) -> None:
    assert_same(run(machine, tape), run(machine, tape), "a second run")


def check_restore(machine: Machine, tape: Tape, bar: int) -> None:
    """A state written out as bytes and read back continues as if nothing had been."""
    straight = run(machine, tape, [bar])
    memory = machine.start()
    machine.advance(memory, tape, 0, bar)
    restored = np.frombuffer(bytearray(memory.tobytes()), np.float64)
    rest = run(machine, tape, state=restored, first=bar)
    assert straight.rows[:, bar:].tobytes() == rest.rows.tobytes(), f"restored at {bar}: other rows"
    assert straight.state.tobytes() == rest.state.tobytes(), f"restored at {bar}: other state"
    late = straight.records[straight.records[:, 0] >= bar]
    assert late.tobytes() == rest.records.tobytes(), f"restored at {bar}: other records"


def check_all(machine: Machine, tape: Tape, cuts: Cuts, bar: int) -> None:
    """Every invariant, at one cut and one bar."""
    check_determinism(machine, tape)
    check_block_invariance(machine, tape, cuts)
    check_causality(machine, tape, bar)
    check_restore(machine, tape, bar)


def assert_same(a: Answer, b: Answer, what: str) -> None:
    for k, (one, other) in enumerate(zip(a.rows, b.rows, strict=True)):
        if one.tobytes() != other.tobytes():
            bar = int(np.flatnonzero(one.view(np.int64) != other.view(np.int64))[0])
            raise AssertionError(f"{what}: row {k} differs at bar {bar}: {one[bar]!r} and {other[bar]!r}")
    assert a.records.tobytes() == b.records.tobytes(), f"{what}: other records"
    assert a.state.tobytes() == b.state.tobytes(), f"{what}: other state"


def poisoned_from(tape: Tape, bar: int, seed: int = 0) -> Tape:
    """Return the tape with wild, and some missing, values from a bar on."""
    rng = np.random.default_rng(seed)
    inputs, due = tape.inputs.copy(), tape.funding_due.copy()
    wild = np.exp(rng.normal(size=(inputs.shape[0], tape.n - bar)))
    wild[:PRICES].sort(axis=0)
    wild[:PRICES] = wild[[1, 3, 0, 2]]
    inputs[:, bar:] = np.where(np.isfinite(inputs[:, bar:]), inputs[:, bar:], 1.0) * wild
    inputs[PRICES:, bar:][rng.random((inputs.shape[0] - PRICES, tape.n - bar)) < 0.2] = math.nan
    due[bar:] = rng.normal(size=tape.n - bar)
    return replace(tape, inputs=inputs, funding_due=due)


class ProgramMachine:
    """A program over the inputs of a tape: rows are its outputs."""

    def __init__(self, compiled: Program) -> None:
        self.program = compiled

    def start(self) -> FloatArray:
        return self.program.new_state()

    def advance(self, state: FloatArray, tape: Tape, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        n = last - first
        registers = self.program.new_registers(n)
        registers[: program.N_MARKET, :n] = tape.inputs[:, first:last]
        registers[program.CLOSING_TIME, :n] = tape.time[first:last] + tape.step_ms
        program.advance(self.program.code, self.program.values, state, registers, n)
        return registers[self.program.outputs, :n], np.empty((0, layout.FILL_SIZE))


class SlotMachine:
    """A strategy traded: rows are equity, position and reason, records are fills."""

    def __init__(
        self, strategy: Compiled, terms: Terms, regimes: CompiledRegimes | None = None, start: int = 0
    ) -> None:
        self.strategy = strategy
        self.terms = terms
        self.regimes = regimes
        self.first_entry = start
        self.n_slot = strategy.new_state().shape[0]

    def start(self) -> FloatArray:
        regime = np.empty(0) if self.regimes is None else self.regimes.new_state()
        return np.concatenate([self.strategy.new_state(), regime])

    def advance(self, state: FloatArray, tape: Tape, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        block, n = tape.window(first, last), last - first
        regime = np.zeros(n)
        emitted_at = np.zeros(n + 1, np.int64)
        if self.regimes is not None:
            rules = self.regimes
            slot.advance_regimes(
                rules.program.code, rules.program.values, rules.program.outputs, rules.codes,
                rules.warmup, block.step_ms, rules.step_ms, state[self.n_slot :],
                rules.program.new_registers(n + 1), emitted_at, block.time, block.inputs, regime,
            )  # fmt: skip
        equity, position, reason = np.empty(n), np.empty(n), np.empty(n, np.int64)
        fills = np.empty((n * layout.MAX_FILLS_PER_BAR, layout.FILL_SIZE))
        compiled = self.strategy.program
        n_fills = slot.advance_slot(
            compiled.code, compiled.values, compiled.outputs, self.strategy.plan, self.terms.array(),
            block.step_ms, self.strategy.step_ms, state[: self.n_slot], compiled.new_registers(n + 1),
            emitted_at, block.time, block.inputs, block.funding_due, regime, first, self.first_entry,
            reasons.NONE, equity, position, reason, fills,
        )  # fmt: skip
        return np.stack([equity, position, reason, regime]), fills[:n_fills].copy()
