"""Numbers for values: every distinct value of some trees, its instruction, and the warm-up it needs.

Every instruction is interned by what it does and reads, so equal parts are one. A derived function is not
written out: its body is walked in place for each use, its arguments looked up there.

What `tf` says of a longer timeframe is linked by a linker of that timeframe: one section of the program,
run before everything else, since it reads nothing but the bars.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from research_lab.dsl.arguments import bound_number, number_of
from research_lab.dsl.dimensions import CONDITION, RATIO, ZERO
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.function import FIXED_KINDS, Function
from research_lab.dsl.registry import BAR_LENGTH, CLOSING_TIME, FUNCTIONS, INPUTS, OPERATOR_CODES
from research_lab.dsl.tree import CHAINS, Node, constant
from research_lab.engine import program as engine
from research_lab.engine.program import N_INPUTS
from research_lab.errors import LimitError
from research_lab.timeframe import timeframe_ms

_INPUT_ROW = {name: row for row, name in enumerate([*INPUTS, CLOSING_TIME])}


class Instruction(NamedTuple):
    """What an instruction does, on values numbered by the linker, inputs first."""

    op: int
    reads: tuple[int, ...]
    window: int
    value: float


class Call:
    """One use of a function whose text is read in place: what its arguments are, and where they stand."""

    __slots__ = ("args", "number")

    def __init__(self, number: int, args: Mapping[str, Placed]) -> None:
        self.number = number
        self.args = args

    def __repr__(self) -> str:
        return f"Call({self.number})"

    def found(self, arg: Node) -> Placed:
        """Return what an argument is: in a function's own text, what its use gives for the name."""
        return self.args.get(str(arg.value), (arg, self)) if arg.op == "param" else (arg, self)


Placed = tuple[Node, Call]
OUTSIDE = Call(0, {})


class Calls:
    """The uses of functions in some trees, on bars of a length, each with a number of its own.

    Parameters
    ----------
    numbers : given out; one source for all linkers of a program.
    """

    def __init__(self, step_ms: int, numbers: Iterator[int]) -> None:
        self.numbers = numbers
        self._step_ms = step_ms
        self._bar_length = constant(float(step_ms))

    def read_by(self, node: Node, call: Call, made: Mapping[str, Node] | None = None) -> tuple[Placed, ...]:
        """Return the trees whose values an instruction for this node reads, and where they stand.

        Parameters
        ----------
        made : trees of a function's `fixed` numbers by name; computed from the node's windows when None.
        """
        function = FUNCTIONS.get(node.op)
        if function is None:
            return tuple((arg, call) for arg in node.args)
        pairs = list(zip(function.arguments, node.args, strict=True))
        if not function.derived and function.reads is None:
            return tuple((arg, call) for argument, arg in pairs if argument.kind not in FIXED_KINDS)
        args = {BAR_LENGTH: (self._bar_length, OUTSIDE)}
        args |= {argument.name: call.found(arg) for argument, arg in pairs}
        if made is None and function.fixed:
            fixed = [a for a in function.arguments if a.kind in FIXED_KINDS]
            numbers = {a.name: bound_number(node, a, number_of(args[a.name][0])) for a in fixed}
            made = {name: constant(rule(numbers)) for name, rule in function.fixed.items()}
        args |= {name: (tree, OUTSIDE) for name, tree in (made or {}).items()}
        inner = Call(next(self.numbers), args)
        step_ms = self._step_ms if function.body_on is not None else 0
        return tuple((template, inner) for template in written(function.name, step_ms))


class Linker:
    """Numbers each distinct value of all trees given to it, inputs first, arguments before results.

    Parameters
    ----------
    step_ms : length of a bar, by which times are told in bars.
    series : the inputs besides the market's, by the names that trees call them.
    most : instructions; with more a tree is refused at once. None for any number.
    base : the linker of the bars that these are longer than, whose numbers of uses and count it shares; None
        for a linker of its own.
    """

    def __init__(
        self,
        step_ms: int,
        series: Sequence[str] = (),
        most: int | None = None,
        base: Linker | None = None,
    ) -> None:
        self.step_ms = step_ms
        self.series = tuple(series)
        self.n_inputs = N_INPUTS + len(series)
        self.rows = _INPUT_ROW | {name: N_INPUTS + k for k, name in enumerate(series)}
        self.higher: dict[int, Linker] = {}  # by length of a bar
        self.instructions: list[Instruction] = []
        self.warmup: list[int] = [1] * self.n_inputs
        self._most = most
        self.calls: Calls = Calls(step_ms, itertools.count(1) if base is None else base.calls.numbers)
        self._count: list[int] = [0] if base is None else base._count  # instructions of the whole program
        self._numbers: dict[Instruction, int] = {}
        self._seen: dict[tuple[str, int], int] = {}
        self._reads: dict[tuple[str, int], tuple[Placed, ...]] = {}

    def number(self, node: Node, where: Call = OUTSIDE) -> int:
        """Return the number of a tree's value, adding the instructions it needs.

        No recursion: derived functions read in place are many times deeper than the tree itself.

        Raises
        ------
        LimitError : for more instructions than the linker takes. SpecError for a window that is none.
        """
        seen, known_reads = self._seen, self._reads
        open_ = [(node, where)]
        while open_:
            part, call = open_[-1]
            key = (part.text, call.number)
            if key in seen:
                open_.pop()
                continue
            reads = known_reads.get(key)
            if reads is None:
                reads = known_reads[key] = self._read_by(part, call)
                missing = [below for below in reads if (below[0].text, below[1].number) not in seen]
                if missing:
                    open_ += reversed(missing)
                    continue
            seen[key] = self._add(part, call, [seen[below.text, at.number] for below, at in reads])
            open_.pop()
        return seen[node.text, where.number]

    def _read_by(self, node: Node, call: Call) -> tuple[Placed, ...]:
        """Return the trees that must have a number before a node; none where a longer timeframe's do."""
        if node.op == "param":
            return (call.args[str(node.value)],)
        if node.op == "tf" and self._tf_ms(node) != self.step_ms:
            return ()
        return self.calls.read_by(node, call)

    def _tf_ms(self, node: Node) -> int:
        return timeframe_ms(str(node.value))

    def _add(self, node: Node, call: Call, reads: list[int]) -> int:
        """Return the number of a value whose arguments have theirs."""
        if node.op == "input":
            return self.rows[str(node.value)]
        if node.op == "constant":
            return self.intern(engine.CONSTANT, (), 0, float(node.value or 0.0), 0)
        if node.op == "tf":
            return reads[0] if reads else self._add_higher(node, call)
        if node.op in OPERATOR_CODES:
            return self._operator(node.op, reads)
        if node.op == "param":
            return reads[0]
        function = FUNCTIONS[node.op]
        if function.derived:
            return reads[0]
        window, number = 0, 0.0
        pairs = list(zip(function.arguments, node.args, strict=True))
        for argument, arg in pairs:
            if argument.kind == "window":
                window = int(bound_number(node, argument, number_of(call.found(arg)[0])))
            elif argument.kind in FIXED_KINDS:
                number = bound_number(node, argument, number_of(call.found(arg)[0]))
        numbers = {a.name: number_of(call.found(arg)[0]) for a, arg in pairs} if function.turning else {}
        lookback = self.lookback(function, window, numbers)
        return self.intern(function.opcode, tuple(reads), window, function.constant(window, number), lookback)

    def _add_higher(self, node: Node, call: Call) -> int:
        """Return the number of what a longer timeframe's linker computes, held on these bars."""
        step_ms = self._tf_ms(node)
        linker = self.higher.setdefault(step_ms, Linker(step_ms, self.series, self._most, self))
        held = linker.number(node.args[0], call)
        lookback = (linker.warmup[held] + 1) * (step_ms // self.step_ms) - 1
        return self.intern(engine.TF_HOLD, (), step_ms, float(held), lookback)

    def lookback(self, function: Function, window: int, numbers: Mapping[str, float]) -> int:
        """Return the bars that a function adds to the warm-up of what it reads."""
        turning = function.turning(numbers) if function.turning else 0
        return function.lookback(window) + turning + -(-function.lookback_ms // self.step_ms)

    def _operator(self, op: str, reads: list[int]) -> int:
        if op not in CHAINS:
            return self.intern(OPERATOR_CODES[op], tuple(reads), 0, 0.0, 0)
        number = reads[0]
        for other in reads[1:]:
            number = self.intern(OPERATOR_CODES[op], (number, other), 0, 0.0, 0)
        return number

    def intern(self, op: int, reads: tuple[int, ...], window: int, value: float, lookback: int) -> int:
        """Return the number of an instruction's value; equal instructions are one."""
        instruction = Instruction(op, reads, window, value)
        known = self._numbers.get(instruction)
        if known is None:
            if self._most is not None and self._count[0] >= self._most:
                raise LimitError(f"more than {self._most} instructions", remedy="make it simpler")
            known = self.n_inputs + len(self.instructions)
            self._count[0] += 1
            self.instructions.append(instruction)
            self.warmup.append(lookback + max([self.warmup[k] for k in reads], default=1))
            self._numbers[instruction] = known
        return known

    def instruction(self, number: int) -> Instruction:
        """Return what computes a value that is no input."""
        return self.instructions[number - self.n_inputs]

    def needed(self, roots: Iterable[int]) -> list[int]:
        """Return the numbers of all instructions below some values, in order of computation."""
        found: set[int] = set()
        open_ = [root for root in roots if root >= self.n_inputs]
        while open_:
            number = open_.pop()
            if number not in found:
                found.add(number)
                open_ += [k for k in self.instruction(number).reads if k >= self.n_inputs]
        return sorted(found)


@cache
def written(name: str, step_ms: int) -> tuple[Node, ...]:
    """Return a function's body or reads, parsed once, with its arguments' names as parameters.

    Parameters
    ----------
    step_ms : length of the bars, for a body that depends on it; 0 for others.
    """
    function = FUNCTIONS[name]
    fixed = [a.name for a in function.arguments if a.kind in FIXED_KINDS] + list(function.fixed)
    numbers = dict.fromkeys(fixed, (2.0, 2.0, 1.0))
    series = {
        a.name: Node("param", (), CONDITION if a.kind == "condition" else a.dimension, a.name)
        for a in function.arguments
        if a.name not in numbers
    }
    series[CLOSING_TIME] = Node("input", (), RATIO, CLOSING_TIME)
    series[BAR_LENGTH] = Node("param", (), ZERO, BAR_LENGTH)
    scope = Scope(numbers, FixedNumbers(numbers), series)
    body = function.body if function.body_on is None else function.body_on(step_ms)
    texts = (body,) if body else function.reads or ()
    return tuple(parse_expression(text, scope) for text in texts)


def written_out(node: Node, step_ms: int) -> Node:
    """Return the body of one use of a derived function, its arguments in place of their names."""
    function = FUNCTIONS[node.op]
    args = dict(zip((a.name for a in function.arguments), node.args, strict=True))
    numbers = {a.name: number_of(args[a.name]) for a in function.arguments if a.kind in FIXED_KINDS}
    args |= {name: constant(rule(numbers)) for name, rule in function.fixed.items()}
    args[BAR_LENGTH] = constant(float(step_ms))
    return _substituted(written(function.name, step_ms if function.body_on is not None else 0)[0], args)


def _substituted(node: Node, args: Mapping[str, Node]) -> Node:
    if node.op == "param":
        return args[str(node.value)]
    if not node.params:
        return node
    return Node(node.op, tuple(_substituted(arg, args) for arg in node.args), node.dimension, node.value)
