"""From trees to programs: derived functions written out, equal expressions computed once.

Every instruction is interned by what it does and reads, so two strategies that share a part share it by
identity; what at least two strategies need goes into the shared half of a union.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from research_lab.dsl import limits
from research_lab.dsl.arguments import bound_number, number_of
from research_lab.dsl.dimensions import CONDITION, RATIO, ZERO
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.function import FIXED_KINDS
from research_lab.dsl.registry import BAR_LENGTH, CLOSING_TIME, FUNCTIONS, INPUTS, OPERATOR_CODES
from research_lab.dsl.tree import CHAINS, Node, constant
from research_lab.engine import program as engine
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.program import N_INPUTS, Program, Union
from research_lab.errors import LimitError

_INPUT_ROW = {name: row for row, name in enumerate([*INPUTS, CLOSING_TIME])}


@dataclass(frozen=True)
class _Instruction:
    """What an instruction does, on values numbered by the linker, inputs first."""

    op: int
    reads: tuple[int, ...]
    window: int
    value: float


class Linker:
    """Numbers each distinct value of all trees given to it, inputs first, arguments before results.

    Parameters
    ----------
    step_ms : length of a bar, by which times are told in bars.
    """

    def __init__(self, step_ms: int) -> None:
        self.step_ms = step_ms
        self.instructions: list[_Instruction] = []
        self.warmup: list[int] = [1] * N_INPUTS
        self._numbers: dict[_Instruction, int] = {}
        self._seen: dict[str, int] = {}

    def number(self, node: Node) -> int:
        """Return the number of a tree's value, adding the instructions it needs.

        No recursion: derived functions written out are many times deeper than the tree itself.
        """
        open_ = [node]
        while open_:
            missing = [part for part in _read_by(open_[-1], self.step_ms) if part.text not in self._seen]
            if missing:
                open_ += reversed(missing)
                continue
            done = open_.pop()
            if done.text not in self._seen:
                self._seen[done.text] = self._add(done)
        return self._seen[node.text]

    def _add(self, node: Node) -> int:
        """Return the number of a value whose arguments have theirs."""
        if node.op == "input":
            return _INPUT_ROW[str(node.value)]
        if node.op == "constant":
            return self._intern(engine.CONSTANT, (), 0, float(node.value or 0.0), 0)
        reads = [self._seen[part.text] for part in _read_by(node, self.step_ms)]
        if node.op in OPERATOR_CODES:
            return self._operator(node.op, reads)
        function = FUNCTIONS[node.op]
        if function.body:
            return reads[0]
        window, number = 0, 0.0
        for argument, arg in zip(function.arguments, node.args, strict=True):
            if argument.kind == "window":
                window = int(bound_number(node, argument, arg))
            elif argument.kind in FIXED_KINDS:
                number = bound_number(node, argument, arg)
        value = function.constant(window, number)
        lookback = function.lookback(window) + -(-function.lookback_ms // self.step_ms)
        return self._intern(function.opcode, tuple(reads), window, value, lookback)

    def _operator(self, op: str, reads: list[int]) -> int:
        if op not in CHAINS:
            return self._intern(OPERATOR_CODES[op], tuple(reads), 0, 0.0, 0)
        number = reads[0]
        for other in reads[1:]:
            number = self._intern(OPERATOR_CODES[op], (number, other), 0, 0.0, 0)
        return number

    def _intern(self, op: int, reads: tuple[int, ...], window: int, value: float, lookback: int) -> int:
        instruction = _Instruction(op, reads, window, value)
        known = self._numbers.get(instruction)
        if known is None:
            known = N_INPUTS + len(self.instructions)
            self.instructions.append(instruction)
            self.warmup.append(lookback + max((self.warmup[k] for k in reads), default=1))
            self._numbers[instruction] = known
        return known

    def needed(self, roots: Iterable[int]) -> list[int]:
        """Return the numbers of all instructions below some values, in order of computation."""
        found: set[int] = set()
        open_ = [root for root in roots if root >= N_INPUTS]
        while open_:
            number = open_.pop()
            if number not in found:
                found.add(number)
                open_ += [k for k in self.instructions[number - N_INPUTS].reads if k >= N_INPUTS]
        return sorted(found)


def _read_by(node: Node, step_ms: int) -> tuple[Node, ...]:
    """Return the trees whose values an instruction for this node reads, on bars of a length."""
    function = FUNCTIONS.get(node.op)
    if function is None:
        return node.args
    pairs = list(zip(function.arguments, node.args, strict=True))
    if not function.body and function.reads is None:
        return tuple(arg for argument, arg in pairs if argument.kind not in FIXED_KINDS)
    names = {BAR_LENGTH: constant(step_ms)} | {argument.name: arg for argument, arg in pairs}
    if function.fixed:
        numbers = {a.name: number_of(arg) for a, arg in pairs if a.kind in FIXED_KINDS}
        names |= {name: constant(rule(numbers)) for name, rule in function.fixed.items()}
    return tuple(_substitute(template, names) for template in _written_out(function.name))


def _substitute(node: Node, args: dict[str, Node]) -> Node:
    if node.op == "param":
        return args[str(node.value)]
    if not node.params:
        return node
    return Node(node.op, tuple(_substitute(arg, args) for arg in node.args), node.dimension, node.value)


@cache
def _written_out(name: str) -> tuple[Node, ...]:
    """Return a function's body or reads, parsed once, with its arguments' names as parameters."""
    function = FUNCTIONS[name]
    fixed = [a.name for a in function.arguments if a.kind in FIXED_KINDS] + list(function.fixed)
    numbers = dict.fromkeys(fixed, (2.0, 2.0, 1.0))
    series = {
        a.name: Node("param", (), CONDITION if a.kind == "condition" else ZERO, a.name)
        for a in function.arguments
        if a.name not in numbers
    }
    series[CLOSING_TIME] = Node("input", (), RATIO, CLOSING_TIME)
    series[BAR_LENGTH] = Node("param", (), ZERO, BAR_LENGTH)
    scope = Scope(numbers, FixedNumbers(numbers), series)
    texts = (function.body,) if function.body else function.reads or ()
    return tuple(parse_expression(text, scope) for text in texts)


def program_of(roots: Sequence[Node | None], step_ms: int) -> tuple[Program, int]:
    """Return the program that computes some trees, and the warm-up in bars.

    Parameters
    ----------
    roots : the outputs in order; None for one that is absent.
    step_ms : length of a bar.
    """
    linker = Linker(step_ms)
    numbers = [-1 if root is None else linker.number(root) for root in roots]
    code, values, n_state = _table(linker, linker.needed(numbers), {})
    if n_state > limits.STATE_CELLS:
        raise LimitError(
            f"needs {n_state} cells of memory, more than {limits.STATE_CELLS}", remedy="use shorter windows"
        )
    warmup = max((linker.warmup[k] for k in numbers if k >= 0), default=0)
    n_registers = N_INPUTS + len(linker.instructions)
    return Program(code, values, np.array(numbers, np.int64), n_registers, n_state), warmup


def union_of(strategies: Sequence[Sequence[Node | None]], step_ms: int) -> tuple[Union, list[int]]:
    """Return many strategies on bars of one length as one program, and the warm-up of each in bars."""
    linker = Linker(step_ms)
    numbers = [[-1 if root is None else linker.number(root) for root in roots] for roots in strategies]
    needed = [linker.needed(roots) for roots in numbers]
    users = np.zeros(N_INPUTS + len(linker.instructions), np.int64)
    for below in needed:
        users[below] += 1
    common = [number for number in range(N_INPUTS, users.shape[0]) if users[number] > 1]
    registers = {number: N_INPUTS + k for k, number in enumerate(common)}
    code, values, n_state = _table(linker, common, registers)
    n_shared = N_INPUTS + len(common)
    shared = Program(code, values, np.empty(0, np.int64), n_shared, n_state)
    private = [_private(linker, below, users, registers, n_shared) for below in needed]
    outputs = [
        [root if root < N_INPUTS else places[root] for root in roots]
        for roots, (_, _, _, places) in zip(numbers, private, strict=True)
    ]
    union = Union(
        shared,
        np.concatenate([part[0] for part in private]),
        np.concatenate([part[1] for part in private]),
        _borders([part[0].shape[0] for part in private]),
        np.array(outputs, np.int64),
        _borders([part[2] for part in private]),
        max((part[0].shape[0] for part in private), default=0),
    )
    return union, [max((linker.warmup[k] for k in roots if k >= 0), default=0) for roots in numbers]


def _private(
    linker: Linker, below: list[int], users: IntArray, registers: dict[int, int], n_shared: int
) -> tuple[IntArray, FloatArray, int, dict[int, int]]:
    own = [number for number in below if users[number] == 1]
    places = {**registers, **{number: n_shared + k for k, number in enumerate(own)}}
    return (*_table(linker, own, places), places)


def _borders(lengths: Sequence[int]) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _table(
    linker: Linker, numbers: Sequence[int], registers: dict[int, int]
) -> tuple[IntArray, FloatArray, int]:
    """Return instruction rows for some values; a value's register is its number unless told."""
    code = np.zeros((len(numbers), engine.N_COLUMNS), np.int64)
    values = np.zeros(len(numbers))
    place = 0
    for row, number in enumerate(numbers):
        instruction = linker.instructions[number - N_INPUTS]
        code[row, engine.OP] = instruction.op
        code[row, engine.OUT] = registers.get(number, number)
        for column, read in zip(engine.READ_COLUMNS, instruction.reads, strict=False):
            code[row, column] = registers.get(read, read)
        code[row, engine.STATE] = place
        code[row, engine.WINDOW] = instruction.window
        values[row] = instruction.value
        place += engine.state_size(instruction.op, instruction.window)
    return code, values, place
