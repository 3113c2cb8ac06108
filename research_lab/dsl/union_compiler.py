"""Many strategies as one program: what several share stands once, what differs once each.

Strategies of one template differ in numbers only, so a template is walked once and each of its nodes numbered
for all parameter sets together; a sweep of thousands then compiles in the time of a few strategies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from research_lab.dsl.arguments import bound_number
from research_lab.dsl.compiler import table_of
from research_lab.dsl.function import FIXED_KINDS, Argument
from research_lab.dsl.linker import OUTSIDE, Call, Linker, Placed
from research_lab.dsl.registry import FUNCTIONS, OPERATOR_CODES
from research_lab.dsl.tree import ARITHMETIC, CHAINS, Node, constant
from research_lab.engine import program as engine
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.program import Program, Union

_Key = tuple[str, int]  # a tree's text, and the use of a function in whose text it stands


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


def union_of(
    templates: Sequence[Template], step_ms: int, series: tuple[str, ...] = ()
) -> tuple[Union, list[int]]:
    """Return strategies on bars of one length as one program, and the warm-up of each in bars.

    Parameters
    ----------
    series : the inputs besides the market's, as the trees call them.
    """
    linker = Linker(step_ms, series)
    n = sum(len(template.places) for template in templates)
    outputs = np.full((n, len(templates[0].roots)), -1)
    used = [np.empty((2, 0), np.int64)]  # pairs of a strategy and the number of a value that it needs
    for template in templates:
        if any(root is not None and root.has_tf for root in template.roots):
            used += _one_by_one(linker, template, outputs)
            continue
        numbering = _Numbering(linker, template)
        for column, root in enumerate(template.roots):
            if root is not None:
                outputs[template.places, column] = numbering.numbers(root)
        used += [np.stack([template.places, numbers]) for numbers in numbering.instructions]
    return _laid_out(linker, outputs, np.concatenate(used, axis=1))


def _one_by_one(linker: Linker, template: Template, outputs: IntArray) -> list[IntArray]:
    """Number the strategies of a template each by itself: those that read longer timeframes."""
    used = []
    for place, values in zip(template.places.tolist(), template.values.tolist(), strict=True):
        bound = dict(zip(template.names, values, strict=True))
        numbers = [-1 if root is None else linker.number(root.bind(bound)) for root in template.roots]
        outputs[place] = numbers
        needed = np.array(linker.needed(numbers), np.int64)
        used.append(np.stack([np.full(needed.shape, place), needed]))
    return used


class _Numbering:
    """The numbers of a template's values, for all its strategies together."""

    def __init__(self, linker: Linker, template: Template) -> None:
        self.linker = linker
        self.n = len(template.places)
        self.params = dict(zip(template.names, template.values.T, strict=True))
        self.instructions: list[IntArray] = []  # numbers of all that the strategies need, but inputs
        self._known: dict[_Key, IntArray] = {}
        self._reads: dict[_Key, tuple[Placed, ...]] = {}
        self._constants: dict[_Key, FloatArray | None] = {}

    def numbers(self, root: Node) -> IntArray:
        """Return the number of a tree's value in each strategy, adding the instructions it needs."""
        open_ = [(root, OUTSIDE)]
        while open_:
            node, call = open_[-1]
            key = (node.text, call.number)
            if key in self._known:
                open_.pop()
                continue
            if call is OUTSIDE and not node.params:  # the same in all strategies
                number = self.linker.number(node)
                self._known[key] = np.full(self.n, number)
                self.instructions += [np.full(self.n, below) for below in self.linker.needed([number])]
                continue
            fixed = self._fixed(node, call)
            if fixed is not None:
                self._known[key] = self._interned(engine.CONSTANT, (), self._nothing, fixed, self._nothing)
                continue
            if key not in self._reads:
                self._reads[key] = self._parts(node, call)
            parts = self._reads[key]
            missing = [part for part in parts if (part[0].text, part[1].number) not in self._known]
            if missing:
                open_ += reversed(missing)
                continue
            self._known[key] = self._add(
                node, call, [self._known[part.text, at.number] for part, at in parts]
            )
        return self._known[root.text, OUTSIDE.number]

    @property
    def _nothing(self) -> IntArray:
        return np.zeros(self.n, np.int64)

    def _fixed(self, node: Node, call: Call) -> FloatArray | None:
        """Return the values of arithmetic on numbers and parameters; None for what depends on bars."""
        key = (node.text, call.number)
        if key not in self._constants:
            self._constants[key] = self._computed(node, call)
        return self._constants[key]

    def _computed(self, node: Node, call: Call) -> FloatArray | None:
        if node.op == "constant":
            return np.full(self.n, float(node.value or 0.0))
        if node.op == "param":
            given = call.args.get(str(node.value))
            return self.params[str(node.value)] if given is None else self._fixed(*given)
        if node.op not in ARITHMETIC:
            return None
        args = [self._fixed(arg, call) for arg in node.args]
        known = [arg for arg in args if arg is not None]
        if len(known) < len(args):
            return None
        with np.errstate(all="ignore"):
            found: FloatArray = ARITHMETIC[node.op](*known)
        return found if np.isfinite(found).all() else None

    def _parts(self, node: Node, call: Call) -> tuple[Placed, ...]:
        if node.op == "param":
            return (call.args[str(node.value)],)
        function = FUNCTIONS.get(node.op)
        if function is None or not function.fixed:
            return self.linker.calls.read_by(node, call)
        # numbers made from windows become parameters of their own
        args = dict(zip((a.name for a in function.arguments), node.args, strict=True))
        kinds = [a for a in function.arguments if a.kind in FIXED_KINDS]
        numbers = {a.name: self._checked(node, a, args[a.name], call) for a in kinds}
        made = {}
        for name, rule in function.fixed.items():
            made[name] = Node("param", (), constant(1.0).dimension, f"{name} of {node.text} {call.number}")
            self.params[str(made[name].value)] = _for_each(rule, numbers, self.n)
        return self.linker.calls.read_by(node, call, made)

    def _fixed_argument(self, node: Node, call: Call) -> FloatArray:
        values = self._fixed(node, call)
        return np.full(self.n, np.nan) if values is None else values

    def _add(self, node: Node, call: Call, reads: list[IntArray]) -> IntArray:
        if node.op == "input":
            return np.full(self.n, self.linker.number(node))
        if node.op in CHAINS:
            numbers = reads[0]
            for other in reads[1:]:
                pair = (np.minimum(numbers, other), np.maximum(numbers, other))
                numbers = self._operator(OPERATOR_CODES[node.op], pair)
            return numbers
        if node.op in OPERATOR_CODES:
            return self._operator(OPERATOR_CODES[node.op], tuple(reads))
        function = FUNCTIONS.get(node.op)
        if function is None or function.derived:
            return reads[0]
        windows: IntArray = self._nothing
        others: FloatArray = np.zeros(self.n)
        for argument, arg in zip(function.arguments, node.args, strict=True):
            if argument.kind == "window":
                windows = self._checked(node, argument, arg, call).astype(np.int64)
            elif argument.kind in FIXED_KINDS:
                others = self._checked(node, argument, arg, call)
        turning = zip(function.arguments, node.args, strict=True) if function.turning else ()
        named = {argument.name: self._fixed_argument(arg, call).tolist() for argument, arg in turning}
        rows: list[tuple[float, ...]] = list(zip(*named.values(), strict=True)) if named else [()] * self.n
        keys = list(zip(windows.tolist(), others.tolist(), rows, strict=True))
        known = {
            key: (
                function.constant(*key[:2]),
                self.linker.lookback(function, key[0], dict(zip(named, key[2], strict=True))),
            )
            for key in dict.fromkeys(keys)
        }
        values, lookback = np.array([known[key] for key in keys]).T
        return self._interned(function.opcode, tuple(reads), windows, values, lookback.astype(np.int64))

    def _checked(self, node: Node, argument: Argument, arg: Node, call: Call) -> FloatArray:
        values = self._fixed_argument(arg, call)
        for value in dict.fromkeys(values.tolist()):
            bound_number(node, argument, value)
        return values

    def _operator(self, op: int, reads: tuple[IntArray, ...]) -> IntArray:
        return self._interned(op, reads, self._nothing, np.zeros(self.n), self._nothing)

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
    found = [rule({name: float(values[k]) for name, values in numbers.items()}) for k in range(n)]
    return np.array(found, np.float64)


def _laid_out(linker: Linker, outputs: IntArray, used: IntArray) -> tuple[Union, list[int]]:
    """Return the union of numbered strategies, from the pairs of a strategy and a value that it needs."""
    n = outputs.shape[0]
    n_numbers = linker.n_inputs + len(linker.instructions)
    pairs = np.unique(used[0] * n_numbers + used[1])
    strategy, number = pairs // n_numbers, pairs % n_numbers
    users = np.bincount(number, minlength=n_numbers)
    for held, instruction in enumerate(linker.instructions, start=linker.n_inputs):
        if instruction.op == engine.TF_HOLD and users[held] == 1:
            users[held] = 2  # sections of longer timeframes are shared
    common = np.flatnonzero(users > 1)
    register = np.arange(n_numbers)
    register[common] = linker.n_inputs + np.arange(common.shape[0])
    shared = _shared(linker, common, register)
    own = users[number] == 1
    strategy, number = strategy[own], number[own]
    rows = np.searchsorted(strategy, np.arange(n + 1))
    register[number] = shared.n_registers + np.arange(number.shape[0]) - rows[strategy]
    code, values, state_at = _private(linker, number, register, rows)
    n_private = int(np.diff(rows).max(initial=0))
    code, values, rows = _crossings_paired(code, values, rows)
    registers = np.where(outputs < 0, -1, np.append(register, -1)[outputs])
    warmup = np.append(np.array(linker.warmup), 0)
    union = Union(shared, code, values, rows, registers, state_at, n_private)
    return union, warmup[outputs].max(axis=1).tolist()


def _shared(linker: Linker, common: IntArray, register: IntArray) -> Program:
    numbers = common.tolist()
    places = dict(zip(numbers, register[common].tolist(), strict=True))
    first = linker.n_inputs + len(numbers)
    code, values, n_state, n_registers = table_of(linker, numbers, places, first)
    return Program(code, values, np.empty(0, np.int64), n_registers, n_state, linker.series)


def _private(
    linker: Linker, numbers: IntArray, register: IntArray, rows: IntArray
) -> tuple[IntArray, FloatArray, IntArray]:
    """Return the rows of all strategies' own values, and where each one's state begins; places count from there."""
    instructions = [linker.instruction(number) for number in numbers.tolist()]
    code = np.zeros((numbers.shape[0], engine.N_COLUMNS), np.int64)
    code[:, engine.OP] = [instruction.op for instruction in instructions]
    code[:, engine.WINDOW] = [instruction.window for instruction in instructions]
    for k, column in enumerate(engine.READ_COLUMNS):
        read = [instruction.reads[k] if k < len(instruction.reads) else -1 for instruction in instructions]
        code[:, column] = np.append(register, 0)[read]
    values = np.array([instruction.value for instruction in instructions], np.float64)
    sizes = [engine.state_size(instruction.op, instruction.window) for instruction in instructions]
    code[:, engine.OUT] = register[numbers]
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    state_at = ends[rows]
    code[:, engine.STATE] = ends[:-1] - np.repeat(state_at[:-1], np.diff(rows))
    return code, values, state_at


def _crossings_paired(
    code: IntArray, values: FloatArray, rows: IntArray
) -> tuple[IntArray, FloatArray, IntArray]:
    """Return private code in which both crossings of the same two values are one instruction."""
    first: dict[tuple[int, int, int], int] = {}
    pairs: list[tuple[int, int]] = []
    strategy = np.repeat(np.arange(rows.shape[0] - 1), np.diff(rows))
    crossing = np.flatnonzero(code[:, engine.OP] == engine.CROSSES_ABOVE)
    a, b = code[crossing, engine.A], code[crossing, engine.B]
    for row, of, x, y in zip(*(each.tolist() for each in (crossing, strategy[crossing], a, b)), strict=True):
        other = first.pop((of, y, x), None)
        if other is None:
            first[of, x, y] = row
        else:
            pairs.append((other, row))
    kept_row, dropped_row = np.array(pairs, np.int64).reshape(-1, 2).T
    code[kept_row, engine.OP] = engine.CROSSES
    code[kept_row, engine.D] = code[dropped_row, engine.OUT]
    dropped = np.zeros(code.shape[0], bool)
    dropped[dropped_row] = True
    kept = np.concatenate([[0], np.cumsum(~dropped)])
    return code[~dropped], values[~dropped], kept[rows]
