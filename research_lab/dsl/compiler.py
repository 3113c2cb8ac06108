"""From numbered values to programs: rows of instructions, sections of longer timeframes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from research_lab.dsl import limits
from research_lab.dsl.linker import Instruction, Linker
from research_lab.dsl.tree import Node
from research_lab.engine import program as engine
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.program import Program
from research_lab.errors import LimitError


def program_of(
    roots: Sequence[Node | None], step_ms: int, series: tuple[str, ...] = ()
) -> tuple[Program, int]:
    """Return the program that computes some trees, and the warm-up in bars.

    Parameters
    ----------
    roots : the outputs in order; None for one that is absent.
    step_ms : length of a bar.
    series : the inputs besides the market's, as the trees call them.
    """
    linker = Linker(step_ms, series, limits.INSTRUCTIONS)
    numbers = [-1 if root is None else linker.number(root) for root in roots]
    n_own = linker.n_inputs + len(linker.instructions)
    code, values, n_state, n_registers = table_of(linker, linker.needed(numbers), {}, n_own)
    check_size(code.shape[0], n_state)
    warmup = max((linker.warmup[k] for k in numbers if k >= 0), default=0)
    return Program(code, values, np.array(numbers, np.int64), n_registers, n_state, series), warmup


def check_programs(
    strategies: Sequence[Sequence[Node | None]], step_ms: int, series: tuple[str, ...] = ()
) -> None:
    """Refuse what `program_of` would refuse, each part that strategies share looked at once."""
    linker = Linker(step_ms, series, limits.INSTRUCTIONS * len(strategies))
    for roots in strategies:
        needed = linker.needed([linker.number(root) for root in roots if root is not None])
        check_size(len(needed), 0)
        code, _, n_state, _ = table_of(linker, needed, {}, 0)
        check_size(code.shape[0], n_state)


def check_size(n_instructions: int, n_state: int) -> None:
    """Refuse a program that is too large."""
    if n_instructions > limits.INSTRUCTIONS:
        what = f"{n_instructions} instructions, more than {limits.INSTRUCTIONS}"
        raise LimitError(what, remedy="make it simpler")
    if n_state > limits.STATE_CELLS:
        what = f"needs {n_state} cells of memory, more than {limits.STATE_CELLS}"
        raise LimitError(what, remedy="use shorter windows")


def table_of(
    linker: Linker, numbers: Sequence[int], registers: Mapping[int, int], n_registers: int
) -> tuple[IntArray, FloatArray, int, int]:
    """Return instruction rows for some values, their cells of state, and how many registers there then are.

    Parameters
    ----------
    registers : of the values; one not told has its number for a register.
    n_registers : registers in use; those of sections of longer timeframes begin there.
    """
    placed = []
    for step_ms in sorted(linker.higher):
        section, n_registers = _section(linker, step_ms, numbers, registers, n_registers)
        placed += section
    for number in numbers:
        instruction = linker.instruction(number)
        if instruction.op != engine.TF_HOLD:
            reads = tuple(registers.get(read, read) for read in instruction.reads)
            placed.append((instruction._replace(reads=reads), registers.get(number, number)))
    return (*_encoded(placed), n_registers)


def _section(
    linker: Linker, step_ms: int, numbers: Sequence[int], registers: Mapping[int, int], first: int
) -> tuple[list[tuple[Instruction, int]], int]:
    """Return one longer timeframe's instructions with their registers, which begin at `first`, and the next.

    They are the input registers of its bars, one that tells which bars completed them, then the values.
    """
    held = [
        (number, int(linker.instruction(number).value))
        for number in numbers
        if linker.instruction(number).op == engine.TF_HOLD and linker.instruction(number).window == step_ms
    ]
    if not held:
        return [], first
    higher = linker.higher[step_ms]
    completed_at = first + higher.n_inputs
    needed = higher.needed(value for _, value in held)
    places = {row: first + row for row in range(higher.n_inputs)}
    places |= {number: completed_at + 1 + k for k, number in enumerate(needed)}
    placed = [(Instruction(engine.TF_OPEN, (completed_at,), step_ms, float(linker.step_ms)), first)]
    for number in needed:
        instruction = higher.instruction(number)
        reads = tuple(places[read] for read in instruction.reads)
        placed.append((instruction._replace(reads=reads), places[number]))
    for number, value in held:
        hold = Instruction(engine.TF_HOLD, (places[value], completed_at), 0, 0.0)
        placed.append((hold, registers.get(number, number)))
    placed.append((Instruction(engine.TF_CLOSE, (completed_at,), 0, 0.0), first))
    return placed, completed_at + 1 + len(needed)


def _encoded(placed: Sequence[tuple[Instruction, int]]) -> tuple[IntArray, FloatArray, int]:
    """Return instructions that read registers, each with the one it writes, as rows; and cells of state."""
    code = np.zeros((len(placed), engine.N_COLUMNS), np.int64)
    values = np.zeros(len(placed))
    place = 0
    for row, (instruction, register) in enumerate(placed):
        code[row, engine.OP] = instruction.op
        code[row, engine.OUT] = register
        for column, read in zip(engine.READ_COLUMNS, instruction.reads, strict=False):
            code[row, column] = read
        code[row, engine.STATE] = place
        code[row, engine.WINDOW] = instruction.window
        values[row] = instruction.value
        place += engine.state_size(instruction.op, instruction.window)
    return code, values, place
