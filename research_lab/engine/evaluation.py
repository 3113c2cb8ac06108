"""The values of a program over a tape, without a strategy around it."""

from __future__ import annotations

import numpy as np

from research_lab.engine import program, resampling
from research_lab.engine.backtest import Tape, inputs_of, refuse_unfit
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.program import Program
from research_lab.engine.slot import BLOCK, block_of, cut_into_blocks


def evaluate(compiled: Program, step_ms: int, tape: Tape) -> tuple[FloatArray, IntArray]:
    """Return a program's outputs by its own bars, (n_outputs, m), and the base bar that completed each.

    Parameters
    ----------
    step_ms : length of the program's bars, a multiple of the tape's.

    Raises
    ------
    ValueError
        It is none, or the tape does not fit the program.
    """
    refuse_unfit(tape, step_ms)
    state, clock = compiled.new_state(), np.zeros(resampling.SIZE)
    registers, emitted_at = compiled.new_registers(BLOCK + 1), np.zeros(BLOCK + 1, np.int64)
    inputs = inputs_of(compiled, tape)
    values, completed = [np.empty((compiled.outputs.shape[0], 0))], [np.empty(0, np.int64)]
    for first, last in cut_into_blocks(tape.time.shape[0]):
        m = resampling.resample(
            clock,
            tape.time[first:last],
            block_of(inputs, first, last),
            tape.step_ms,
            step_ms,
            registers,
            emitted_at,
        )
        program.advance(compiled.code, compiled.values, state, registers, m)
        values.append(registers[compiled.outputs, :m])
        completed.append(emitted_at[:m] + first)
    return np.concatenate(values, axis=1), np.concatenate(completed)
