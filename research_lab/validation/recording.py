"""A run with everything written down: what validation compares, bit by bit, between runs that should agree.

The engine's own slot function makes the run; nothing is computed a second way. Every register of the
program is kept by strategy bar, so that a difference can be named where it begins, and not only where it
reaches the equity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from research_lab.dsl.function import FIXED_KINDS, Function
from research_lab.dsl.registry import CLOSING_TIME, FUNCTIONS, INPUTS, OPERATOR_CODES
from research_lab.engine import layout, program, reasons
from research_lab.engine.backtest import Tape, inputs_of, regime_codes, to_fills
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.program import Program
from research_lab.engine.slot import (
    BLOCK,
    Compiled,
    CompiledRegimes,
    advance_slot,
    block_of,
    cut_into_blocks,
)
from research_lab.engine.terms import Terms
from research_lab.timeframe import timeframe_name

_LONGEST_NAME = 90
# How many registers each instruction reads, and the word for it; derived functions have none of their own.
_ARITY = {
    **{code: 1 if name in ("negate", "not") else 2 for name, code in OPERATOR_CODES.items()},
    **{
        f.opcode: sum(a.kind not in FIXED_KINDS for a in f.arguments) if f.reads is None else len(f.reads)
        for f in FUNCTIONS.values()
        if f.opcode >= 0
    },
    program.CONSTANT: 0,
}
_OPERATORS = {code: name for name, code in OPERATOR_CODES.items()}
_OF_OPCODE = {
    code: [f for f in FUNCTIONS.values() if f.opcode == code]
    for code in {f.opcode for f in FUNCTIONS.values() if f.opcode >= 0}
}
_SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "less": "<", "less_equal": "<=",
            "equal": "==", "and": "and", "or": "or"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Recording:
    """All that a run computed and did.

    Parameters
    ----------
    names : of the registers: an input, or the expression that the register holds.
    signals : register of each signal of `layout.SIGNALS`, -1 for one that is absent.
    decided_at : (m,) the base bar at whose close each strategy bar completed.
    registers : (n_rows, m) every value by strategy bar; NaN is unknown.
    regime, equity, position, reason : (n_bars,) after each base bar.
    fills : structured array of `engine.backtest.FILL`.
    """

    names: tuple[str, ...]
    signals: IntArray
    decided_at: IntArray
    registers: FloatArray
    regime: FloatArray
    equity: FloatArray
    position: FloatArray
    reason: IntArray
    fills: NDArray[np.void]

    def signal(self, role: int) -> FloatArray:
        """Return a signal by strategy bar: 1 true, 0 false, NaN unknown; all 0 for one that is absent."""
        register = int(self.signals[role])
        return self.registers[register] if register >= 0 else np.zeros(self.decided_at.shape[0])


def record(
    strategy: Compiled,
    tape: Tape,
    terms: Terms,
    *,
    regimes: CompiledRegimes | None = None,
    begin: int = 0,
    keep: IntArray | None = None,
) -> Recording:
    """Run a strategy over a tape, and keep everything.

    Parameters
    ----------
    regimes : run from the first bar of the tape on; None where the strategy declares none.
    begin : the first bar that the strategy sees; bars before it have equity 1 and nothing else.
    keep : registers to keep, where a long run's would not fit into memory; None for all that hold values
        by strategy bar. The signals must be among them.
    """
    n = tape.time.shape[0]
    width = min(BLOCK, n - begin)
    rows = np.flatnonzero(strategy.program.on_own_bars()) if keep is None else np.unique(keep)
    codes = regime_codes(regimes, tape)
    state, inputs = strategy.new_state(), inputs_of(strategy.program, tape)
    scratch, emitted_at = strategy.program.new_registers(width + 1), np.zeros(width + 1, np.int64)
    equity, position, reason = np.ones(n), np.zeros(n), np.zeros(n, np.int64)
    buffer = np.empty((width * layout.MAX_FILLS_PER_BAR, layout.FILL_SIZE))
    kept: list[tuple[FloatArray, IntArray, FloatArray]] = []
    for first, last in _blocks(begin, n, width):
        emitted_at.fill(-1)
        n_fills = advance_slot(
            strategy.program.code, strategy.program.values, strategy.program.outputs, strategy.plan,
            terms.array(), tape.step_ms, strategy.step_ms, state, scratch, emitted_at, tape.time[first:last],
            block_of(inputs, first, last), tape.funding_due[first:last], codes[first:last], first, begin,
            reasons.NONE, equity[first:last], position[first:last], reason[first:last], buffer,
        )  # fmt: skip
        m = int(np.count_nonzero(emitted_at >= 0))
        kept.append((scratch[rows, :m], emitted_at[:m] + first, buffer[:n_fills].copy()))
    names, outputs = names_of(strategy.program), strategy.program.outputs
    return Recording(
        tuple(names[row] for row in rows),
        np.where(outputs >= 0, np.searchsorted(rows, outputs), -1),
        np.concatenate([at for _, at, _ in kept]),
        np.concatenate([values for values, _, _ in kept], axis=1),
        codes,
        equity,
        position,
        reason,
        to_fills(np.concatenate([rows for _, _, rows in kept])),
    )


def _blocks(begin: int, n: int, width: int) -> list[tuple[int, int]]:
    return [(first + begin, last + begin) for first, last in cut_into_blocks(n - begin, max(width, 1))]


def names_of(code: Program) -> tuple[str, ...]:
    """Return what each register of a program holds, as text near that of the language, cut when long."""
    inputs = [*INPUTS, CLOSING_TIME, *code.series]
    names = [*inputs, *[""] * (code.n_registers - len(inputs))]
    timeframe = ""
    for row, value in zip(code.code, code.values, strict=True):
        op = int(row[program.OP])
        if op == program.TF_OPEN:
            timeframe = timeframe_name(int(row[program.WINDOW]))
            names[int(row[program.OUT]) : int(row[program.A]) + 1] = [*inputs, "completed_at"]
        if op in (program.TF_OPEN, program.TF_CLOSE):
            continue
        if op == program.TF_HOLD:
            names[int(row[program.OUT])] = f'tf("{timeframe}", {names[int(row[program.A])]})'
            continue
        reads = [names[int(row[column])] for column in program.READ_COLUMNS[: _ARITY[op]]]
        text = _written(op, reads, int(row[program.WINDOW]), float(value))
        if len(text) > _LONGEST_NAME:
            text = text[: _LONGEST_NAME - 3] + "..."
        names[int(row[program.OUT])] = text
    return tuple(names)


def _written(op: int, reads: list[str], window: int, value: float) -> str:
    if op == program.CONSTANT:
        return f"{value:g}"
    word = _OPERATORS.get(op, "")
    if word in _SYMBOLS:
        return f"({reads[0]} {_SYMBOLS[word]} {reads[1]})"
    if word:
        return f"{word}({reads[0]})"
    function = _function_of(op, window, value)
    if function.reads is not None and set(function.reads) <= {*INPUTS, CLOSING_TIME}:
        reads = []
    extra = [str(window)] if window else []
    if function.reads is None and any(a.kind in ("share", "exponent") for a in function.arguments):
        extra.append(f"{value:g}")
    return f"{function.name}({', '.join([*reads, *extra])})"


def _function_of(op: int, window: int, value: float) -> Function:
    """Return which of the functions that share an opcode carries the value; the first where none can tell."""
    functions = _OF_OPCODE[op]
    return next((f for f in functions if f.constant(window, value) == value), functions[0])
