"""Many strategies as one program: what several share stands once, what differs once each.

Strategies of one template differ in numbers only, so a template is walked once and each of its nodes numbered
for all parameter sets together; a sweep of thousands then compiles in the time of a few strategies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from research_lab.dsl import limits
from research_lab.dsl.arguments import bound_number
from research_lab.dsl.compiler import Linker, read_by
from research_lab.dsl.function import FIXED_KINDS, Argument
from research_lab.dsl.registry import FUNCTIONS, OPERATOR_CODES
from research_lab.dsl.tree import ARITHMETIC, CHAINS, Node, constant
from research_lab.engine import program as engine
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.program import N_INPUTS, Program, Union
from research_lab.errors import LimitError


@dataclass(frozen=True, eq=False)
class Template:
    """Strategies with the same trees over parameters.

    Parameters
    ----------
    roots : the outputs in order, with parameters; None for one that is absent.
    names : of the parameters. values : (n_strategies, n_parameters).
    places : (n_strategies,) where each strategy stands among all of the union.
    """

    roots: tuple[Node | None, ...]
    names: tuple[str, ...]
    values: FloatArray
    places: IntArray


def union_of(templates: Sequence[Template], step_ms: int) -> tuple[Union, list[int]]:
    """Return strategies on bars of one length as one program, and the warm-up of each in bars."""
    linker = Linker(step_ms)
    n = sum(len(template.places) for template in templates)
    n_roots = len(templates[0].roots)
    outputs = np.full((n, n_roots), -1)
    used: list[IntArray] = []  # pairs of strategy and number of a value that it needs
    for template in templates:
        numbering = _Numbering(linker, template)
        for column, root in enumerate(template.roots):
            if root is not None:
                outputs[template.places, column] = numbering.numbers(root)
        used += [np.stack([template.places, numbers]) for numbers in numbering.instructions]
    return _laid_out(linker, outputs, np.concatenate(used, axis=1) if used else np.empty((2, 0), np.int64))


class _Numbering:
    """The numbers of a template's values, for all its strategies together."""

    def __init__(self, linker: Linker, template: Template) -> None:
        self.linker = linker
        self.n = len(template.places)
        self.params = dict(zip(template.names, template.values.T, strict=True))
        self.instructions: list[IntArray] = []  # numbers of all that the strategies need, but inputs
        self._known: dict[str, IntArray] = {}

    def numbers(self, root: Node) -> IntArray:
        """Return the number of a tree's value in each strategy, adding the instructions it needs."""
        open_ = [root]
        while open_:
            node = open_[-1]
            if node.text in self._known:
                open_.pop()
                continue
            fixed = self._fixed(node)
            parts = () if fixed is not None else self._parts(node)
            missing = [part for part in parts if part.text not in self._known]
            if missing:
                open_ += reversed(missing)
                continue
            self._known[open_.pop().text] = (
                self._add(node, parts) if fixed is None else self._constants(fixed)
            )
        return self._known[root.text]

    def _fixed(self, node: Node) -> FloatArray | None:
        """Return the values of arithmetic on numbers and parameters; None for what depends on bars."""
        if node.op == "constant":
            return np.full(self.n, float(node.value or 0.0))
        if node.op == "param":
            values: FloatArray = self.params[str(node.value)]
            return values
        if node.op not in ARITHMETIC:
            return None
        args = [self._fixed(arg) for arg in node.args]
        known = [arg for arg in args if arg is not None]
        if len(known) < len(args):
            return None
        with np.errstate(all="ignore"):
            found: FloatArray = ARITHMETIC[node.op](*known)
        return found if np.isfinite(found).all() else None

    def _parts(self, node: Node) -> tuple[Node, ...]:
        function = FUNCTIONS.get(node.op)
        if function is None or not function.fixed:
            return read_by(node, self.linker.step_ms)
        # numbers made from windows become parameters of their own
        args = dict(zip((a.name for a in function.arguments), node.args, strict=True))
        numbers = {
            a.name: self._fixed_argument(args[a.name]) for a in function.arguments if a.kind in FIXED_KINDS
        }
        made = {}
        for name, rule in function.fixed.items():
            made[name] = Node("param", (), constant(1.0).dimension, f"{name} of {node.text}")
            self.params[str(made[name].value)] = _for_each(rule, numbers, self.n)
        return read_by(node, self.linker.step_ms, made)

    def _fixed_argument(self, node: Node) -> FloatArray:
        values = self._fixed(node)
        return np.full(self.n, np.nan) if values is None else values

    def _constants(self, values: FloatArray) -> IntArray:
        return self._interned(
            engine.CONSTANT, (), np.zeros(self.n, np.int64), values, np.zeros(self.n, np.int64)
        )

    def _add(self, node: Node, parts: tuple[Node, ...]) -> IntArray:
        if node.op == "input":
            return np.full(self.n, self.linker.number(node))
        reads = [self._known[part.text] for part in parts]
        nothing = np.zeros(self.n, np.int64)
        if node.op in CHAINS:
            numbers = reads[0]
            for other in reads[1:]:
                pair = (np.minimum(numbers, other), np.maximum(numbers, other))
                numbers = self._interned(OPERATOR_CODES[node.op], pair, nothing, np.zeros(self.n), nothing)
            return numbers
        if node.op in OPERATOR_CODES:
            return self._interned(OPERATOR_CODES[node.op], tuple(reads), nothing, np.zeros(self.n), nothing)
        function = FUNCTIONS[node.op]
        if function.body:
            return reads[0]
        windows: IntArray = nothing
        others: FloatArray = np.zeros(self.n)
        for argument, arg in zip(function.arguments, node.args, strict=True):
            if argument.kind == "window":
                windows = self._checked(node, argument, arg).astype(np.int64)
            elif argument.kind in FIXED_KINDS:
                others = self._checked(node, argument, arg)
        pairs = zip(windows.tolist(), others.tolist(), strict=True)
        values = np.array([function.constant(window, other) for window, other in pairs])
        lookback = np.array([self.linker.lookback(function, w) for w in windows.tolist()])
        return self._interned(function.opcode, tuple(reads), windows, values, lookback)

    def _checked(self, node: Node, argument: Argument, arg: Node) -> FloatArray:
        return np.array([bound_number(node, argument, value) for value in self._fixed_argument(arg).tolist()])

    def _interned(
        self, op: int, reads: tuple[IntArray, ...], windows: IntArray, values: FloatArray, lookback: IntArray
    ) -> IntArray:
        """Return the number of one instruction in each strategy; equal ones are one."""
        rows = zip(*(read.tolist() for read in reads), strict=True) if reads else [()] * self.n
        keys = list(zip(rows, windows.tolist(), values.tolist(), lookback.tolist(), strict=True))
        found = {key: self.linker.intern(op, *key) for key in dict.fromkeys(keys)}
        self.instructions.append(np.array([found[key] for key in keys]))
        return self.instructions[-1]


def _for_each(
    rule: Callable[[Mapping[str, float]], float], numbers: Mapping[str, FloatArray], n: int
) -> FloatArray:
    return np.array([rule({name: float(values[k]) for name, values in numbers.items()}) for k in range(n)])


def _laid_out(linker: Linker, outputs: IntArray, used: IntArray) -> tuple[Union, list[int]]:
    """Return the union of numbered strategies, from the pairs of a strategy and a value that it needs."""
    n = outputs.shape[0]
    n_numbers = N_INPUTS + len(linker.instructions)
    pairs = np.unique(used[0] * n_numbers + used[1])
    strategy, number = pairs // n_numbers, pairs % n_numbers
    users = np.bincount(number, minlength=n_numbers)
    table = _Table(linker)
    common = np.flatnonzero(users > 1)
    register = np.arange(n_numbers)
    register[common] = N_INPUTS + np.arange(common.shape[0])
    n_shared = N_INPUTS + common.shape[0]
    own = users[number] == 1
    strategy, number = strategy[own], number[own]
    rows = np.searchsorted(strategy, np.arange(n + 1))
    register[number] = n_shared + np.arange(number.shape[0]) - rows[strategy]
    shared_code, shared_values, shared_at = table.rows(common, register, np.array([0, common.shape[0]]))
    code, values, state_at = table.rows(number, register, rows)
    code, values, rows = _crossings_paired(code, values, rows)
    shared = Program(shared_code, shared_values, np.empty(0, np.int64), n_shared, int(shared_at[-1]))
    n_private = int(np.diff(np.searchsorted(strategy, np.arange(n + 1))).max(initial=0))
    warmup = np.append(np.array(linker.warmup), 0)
    union = Union(
        shared,
        code,
        values,
        rows,
        np.where(outputs < 0, -1, np.append(register, -1)[outputs]),
        state_at,
        n_private,
    )
    return union, warmup[outputs].max(axis=1).tolist()


class _Table:
    """The linker's instructions as arrays."""

    def __init__(self, linker: Linker) -> None:
        n = len(linker.instructions)
        self.code = np.zeros((n, engine.N_COLUMNS), np.int64)
        self.values = np.array([instruction.value for instruction in linker.instructions])
        self.sizes = np.zeros(n, np.int64)
        for row, instruction in enumerate(linker.instructions):
            self.code[row, engine.OP] = instruction.op
            self.code[row, engine.WINDOW] = instruction.window
            for column, read in zip(engine.READ_COLUMNS, instruction.reads, strict=False):
                self.code[row, column] = read
            self.sizes[row] = engine.state_size(instruction.op, instruction.window)

    def rows(
        self, numbers: IntArray, register: IntArray, borders: IntArray
    ) -> tuple[IntArray, FloatArray, IntArray]:
        """Return rows for some values, and where each group's state begins; places in it are the group's."""
        code = self.code[numbers - N_INPUTS]
        for column in engine.READ_COLUMNS:
            code[:, column] = register[code[:, column]]
        code[:, engine.OUT] = register[numbers]
        ends = np.concatenate([[0], np.cumsum(self.sizes[numbers - N_INPUTS])])
        state_at = ends[borders]
        code[:, engine.STATE] = ends[:-1] - np.repeat(state_at[:-1], np.diff(borders))
        if np.diff(state_at).max(initial=0) > limits.STATE_CELLS and len(borders) > 2:
            raise LimitError(
                f"needs more than {limits.STATE_CELLS} cells of memory", remedy="use shorter windows"
            )
        return code, self.values[numbers - N_INPUTS], state_at


def _crossings_paired(
    code: IntArray, values: FloatArray, rows: IntArray
) -> tuple[IntArray, FloatArray, IntArray]:
    """Return private code in which both crossings of the same two values are one instruction."""
    first: dict[tuple[int, int, int], int] = {}
    dropped = np.zeros(code.shape[0], bool)
    strategy = np.repeat(np.arange(rows.shape[0] - 1), np.diff(rows))
    for row in np.flatnonzero(code[:, engine.OP] == engine.CROSSES_ABOVE).tolist():
        a, b = int(code[row, engine.A]), int(code[row, engine.B])
        other = first.pop((int(strategy[row]), b, a), None)
        if other is None:
            first[int(strategy[row]), a, b] = row
            continue
        code[other, engine.OP] = engine.CROSSES
        code[other, engine.D] = code[row, engine.OUT]
        dropped[row] = True
    kept = np.concatenate([[0], np.cumsum(~dropped)])
    return code[~dropped], values[~dropped], kept[rows]
