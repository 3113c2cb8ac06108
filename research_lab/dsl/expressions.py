"""From text to a typed tree. What Python's parser made of a scanned text is walked; never evaluated.

Errors say where, what was seen, and what would fit.
"""

from __future__ import annotations

import ast
import difflib
import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NoReturn

from research_lab.dsl import limits
from research_lab.dsl.arguments import refuse_values
from research_lab.dsl.dimensions import (
    CONDITION,
    LITERAL,
    PRICE,
    RATIO,
    Dimension,
    unify,
)
from research_lab.dsl.expression_text import ExpressionText
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.function import FIXED_KINDS, Argument, Function
from research_lab.dsl.registry import CLOCKS, EVENT_FUNCTIONS, FUNCTIONS, INPUTS, MODEL_FORM
from research_lab.dsl.tree import Node, constant, folded
from research_lab.dsl.vocabulary.costs import SPREAD
from research_lab.errors import DimensionError, LimitError, SpecError, UsageError
from research_lab.timeframe import is_made_of, timeframe_ms, timeframe_name

_SYMBOL = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,20}", re.ASCII)
_BINARY = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_COMPARISONS: dict[type[ast.cmpop], tuple[str, bool, str]] = {
    ast.Lt: ("less", False, "<"),
    ast.LtE: ("less_equal", False, "<="),
    ast.Gt: ("less", True, ">"),
    ast.GtE: ("less_equal", True, ">="),
    ast.Eq: ("equal", False, "=="),
    ast.NotEq: ("equal", False, "!="),
}


@dataclass(frozen=True)
class Scope:
    """What names mean in an expression, and where its text stands.

    Parameters
    ----------
    params : names of the parameters.
    fixed : what expressions of parameters alone may come to; one for all expressions of a text.
    definitions : trees by the names of `define`.
    where, line, column : of the text's first character, for errors.
    step_ms : length of the bars; 0 when it is not known, and any longer timeframe may be asked for.
    series : dimensions of the external series, by name. events, models : names of calendars and models.
    takes_markets : whether other markets may be asked.
    """

    params: Collection[str] = ()
    fixed: FixedNumbers = field(default_factory=lambda: FixedNumbers({}))
    definitions: Mapping[str, Node] = field(default_factory=dict)
    where: str = "expression"
    line: int = 1
    column: int = 1
    step_ms: int = 0
    series: Mapping[str, Dimension] = field(default_factory=dict)
    events: Collection[str] = ()
    takes_markets: bool = False
    models: Collection[str] = ()


def parse_expression(text: str, scope: Scope) -> Node:
    """Return the typed tree of an expression.

    Raises
    ------
    SpecError : with file, line, column and a remedy. LimitError, DimensionError where they apply.
    """
    return _Parser(text, scope).tree()


class _Parser:
    def __init__(self, text: str, scope: Scope) -> None:
        self.text = ExpressionText(text, scope.where, scope.line, scope.column)
        self.scope = scope

    def tree(self) -> Node:
        return self._node(self.text.parsed(), 0)

    def _fail(self, what: str, at: int = 0, remedy: str = "", error: type[SpecError] = SpecError) -> NoReturn:
        self.text.fail(what, at, remedy, error)

    def _node(self, item: ast.expr, depth: int) -> Node:
        if depth > limits.DEPTH:
            self._fail(f"deeper than {limits.DEPTH}", item.col_offset, "split it with define", LimitError)
        node = self._convert(item, depth + 1)
        if node.size > limits.NODES:
            self._fail(
                f"{node.size} operations with definitions written out, more than {limits.NODES}",
                item.col_offset,
                "make it simpler",
                LimitError,
            )
        if node.depth > limits.TREE_DEPTH:
            self._fail(
                f"{node.depth} operations inside each other with definitions written out, "
                f"more than {limits.TREE_DEPTH}",
                item.col_offset,
                "make it simpler",
                LimitError,
            )
        return node

    def _convert(self, item: ast.expr, depth: int) -> Node:
        if isinstance(item, ast.Constant):
            return self._number(item)
        if isinstance(item, ast.Name):
            return self._name(item)
        if isinstance(item, ast.BinOp) and type(item.op) in _BINARY:
            return self._arithmetic(item, depth)
        if isinstance(item, ast.UnaryOp):
            return self._unary(item, depth)
        if isinstance(item, ast.BoolOp):
            return self._logic(item, depth)
        if isinstance(item, ast.Compare):
            return self._comparison(item, depth)
        if isinstance(item, ast.Call) and isinstance(item.func, ast.Name):
            return self._call(item, item.func.id, depth)
        self._fail(
            "this form is not part of the language",
            item.col_offset,
            "use arithmetic, comparisons, and, or, not, and the functions of the language page",
        )

    def _number(self, item: ast.Constant) -> Node:
        if isinstance(item.value, bool) or not isinstance(item.value, (int, float)):
            remedy = "write a number or a condition; text stands in tf(), on() and model() only"
            self._fail(f"{item.value!r} is not a number", item.col_offset, remedy)
        value = float(item.value) if abs(item.value) < limits.NUMBER else float("inf")
        if value == float("inf"):
            self._fail(
                f"a number beyond {limits.NUMBER:g}", item.col_offset, "write a smaller number", LimitError
            )
        return constant(value)

    def _name(self, item: ast.Name) -> Node:
        name = item.id
        if name in self.scope.definitions:
            return self.scope.definitions[name]
        if name in self.scope.params:
            return Node("param", (), LITERAL, name)
        if name in INPUTS:
            return Node("input", (), INPUTS[name][0], name)
        if name in self.scope.series:
            return Node("input", (), self.scope.series[name], name)
        if name == "spread":
            return parse_expression(SPREAD, Scope())
        if name in self.scope.events:
            self._fail(
                f"{name} is a calendar", item.col_offset, f"write hours_since({name}) or hours_to({name})"
            )
        if name in FUNCTIONS or name in CLOCKS:
            signature = CLOCKS[name] if name in CLOCKS else FUNCTIONS[name].signature
            self._fail(f"{name} is a function", item.col_offset, f"write {signature}")
        if name == "model":
            self._fail("model is a function", item.col_offset, f"write {MODEL_FORM}")
        known = [*self.scope.definitions, *self.scope.params, *self.scope.series, *INPUTS]
        self._fail(f"{name[:40]} is not known", item.col_offset, _did_you_mean(name, known))

    def _arithmetic(self, item: ast.BinOp, depth: int) -> Node:
        op = _BINARY[type(item.op)]
        left, right = self._node(item.left, depth), self._node(item.right, depth)
        for side, part in ((left, item.left), (right, item.right)):
            if side.dimension.condition:
                self._fail(
                    f"{_short(side)} is a condition, not a number",
                    part.col_offset,
                    "choose numbers with if_else(condition, a, b)",
                    DimensionError,
                )
        if op in ("multiply", "divide"):
            dimension = left.dimension.times(right.dimension, 1 if op == "multiply" else -1)
            return folded(Node(op, (left, right), dimension))
        shared = unify(left.dimension, right.dimension)
        if shared is None:
            word = "adds" if op == "add" else "subtracts"
            self._mismatch(item, f"{word} {left.dimension} and {right.dimension}", left, right)
        return folded(Node(op, (left, right), shared))

    def _unary(self, item: ast.UnaryOp, depth: int) -> Node:
        operand = self._node(item.operand, depth)
        if isinstance(item.op, ast.Not):
            self._need_condition(operand, item.operand)
            return Node("not", (operand,), CONDITION)
        if operand.dimension.condition:
            self._fail(
                f"{_short(operand)} is a condition, not a number", item.col_offset, error=DimensionError
            )
        if isinstance(item.op, ast.UAdd):
            return operand
        return folded(Node("negate", (operand,), operand.dimension))

    def _logic(self, item: ast.BoolOp, depth: int) -> Node:
        parts = tuple(self._node(value, depth) for value in item.values)
        for part, source in zip(parts, item.values, strict=True):
            self._need_condition(part, source)
        return _chain("and" if isinstance(item.op, ast.And) else "or", parts)

    def _comparison(self, item: ast.Compare, depth: int) -> Node:
        sides = [self._node(side, depth) for side in (item.left, *item.comparators)]
        parts = []
        for op, (left, right) in zip(item.ops, itertools.pairwise(sides), strict=True):
            if type(op) not in _COMPARISONS:
                self._fail("in and is are not part of the language", item.col_offset)
            name, swapped, _ = _COMPARISONS[type(op)]
            shared = unify(left.dimension, right.dimension)
            if shared is None or shared.condition:
                self._mismatch(item, f"compares {left.dimension} with {right.dimension}", left, right)
            part = Node(name, (right, left) if swapped else (left, right), CONDITION)
            parts.append(Node("not", (part,), CONDITION) if isinstance(op, ast.NotEq) else part)
        return parts[0] if len(parts) == 1 else _chain("and", tuple(parts))

    def _mismatch(self, item: ast.expr, what: str, left: Node, right: Node) -> NoReturn:
        source = ast.unparse(item)
        shown = source if len(source) <= 60 else f"{source[:57]}..."
        pair = {left.dimension.plain(), right.dimension.plain()}
        remedy = "bring both sides to one dimension, e.g. divide by sma of the same"
        if any(side.dimension.condition for side in (left, right)):
            remedy = "join conditions with and, or, not"
        elif pair == {PRICE, RATIO}:
            priced = left if left.dimension == PRICE else right
            remedy = f"compare {_short(priced)} with a price, e.g. sma(close, 14), or divide it by close"
        self._fail(f"{shown} {what}", item.col_offset, remedy, DimensionError)

    def _need_condition(self, node: Node, source: ast.expr) -> None:
        if not node.dimension.condition:
            self._fail(
                f"{_short(node)} is a {node.dimension}, not a condition",
                source.col_offset,
                f"compare it, e.g. {_short(node)} > ...",
                DimensionError,
            )

    def _call(self, item: ast.Call, name: str, depth: int) -> Node:
        if name == "tf":
            return self._tf(item, depth)
        if name == "on":
            return self._on(item, depth)
        if name in EVENT_FUNCTIONS:
            return self._event(item, name)
        if name == "model":
            return self._model(item)
        function = FUNCTIONS.get(name)
        if function is None:
            known = [*FUNCTIONS, *CLOCKS, *EVENT_FUNCTIONS, "model"]
            self._fail(f"{name[:40]}() is not known", item.col_offset, _did_you_mean(name, known))
        if item.keywords or any(isinstance(arg, ast.Starred) for arg in item.args):
            self._fail("arguments are given by place", item.col_offset, f"write {function.signature}")
        args = self._with_defaults(item, function, [self._node(arg, depth) for arg in item.args])
        for argument, node in zip(function.arguments, args, strict=True):
            self._check_argument(item, function, argument, node)
            if function.body_on is not None and node.has_tf:
                self._fail(f"tf() stands inside {name}()", item.col_offset, "write one beside the other")
        if function.body_on is not None and self.scope.step_ms:
            try:
                function.body_on(self.scope.step_ms)
            except SpecError as fault:
                self._fail(fault.what, item.col_offset, fault.remedy)
        dimension = function.dimension([node.dimension for node in args])
        if dimension is None:
            seen = " and ".join(str(node.dimension) for node in args)
            self._fail(
                f"{name}() does not take {seen}", item.col_offset, _function_remedy(name), DimensionError
            )
        for argument, node in zip(function.arguments, args, strict=True):
            if argument.kind == "exponent":
                dimension = self._raised(item, function, node, dimension)
        return Node(name, tuple(args), dimension)

    def _tf(self, item: ast.Call, depth: int) -> Node:
        """Return a value of a longer timeframe, as of its last complete bar."""
        source, name = self._clock(item, "tf")
        try:
            step_ms = timeframe_ms(name)
        except UsageError as fault:
            self._fail(f"{name[:40]!r} is no timeframe", source.col_offset, fault.remedy)
        if self.scope.step_ms and not is_made_of(step_ms, self.scope.step_ms):
            own = timeframe_name(self.scope.step_ms)
            self._fail(
                f"bars of {name} are not made of whole bars of {own}",
                source.col_offset,
                f"write {own} or a whole multiple of it",
            )
        inner = self._node(item.args[1], depth)
        if inner.has_tf:
            self._fail("tf() stands inside tf()", item.args[1].col_offset, "write one beside the other")
        if step_ms == self.scope.step_ms:
            return inner
        return Node("tf", (inner,), inner.dimension.plain(), timeframe_name(step_ms))

    def _event(self, item: ast.Call, name: str) -> Node:
        """Return what is told of a calendar: an input of the strategy, since it is no value of a bar."""
        calendars = ", ".join(sorted(self.scope.events)) or "none is declared"
        remedy = f"write {name}(...) of a calendar that events: declares; known: {calendars}"
        if item.keywords or len(item.args) != 1 or not isinstance(item.args[0], ast.Name):
            self._fail(f"{name}() takes the name of a calendar", item.col_offset, remedy)
        calendar = item.args[0].id
        if calendar not in self.scope.events:
            self._fail(f"{calendar[:40]} is no calendar", item.args[0].col_offset, remedy)
        return Node("input", (), RATIO, f"{name}({calendar})")

    def _model(self, item: ast.Call) -> Node:
        """Return a model's score: an input of the strategy, since it was made before the run."""
        known = ", ".join(sorted(self.scope.models)) or "none is declared"
        remedy = f"write {MODEL_FORM} of one that models: declares; known: {known}"
        source = item.args[0] if len(item.args) == 1 and not item.keywords else None
        if not isinstance(source, ast.Constant) or not isinstance(source.value, str):
            self._fail("model() takes the name of a model, in quotes", item.col_offset, remedy)
        if source.value not in self.scope.models:
            self._fail(f"{source.value[:40]!r} is no model", source.col_offset, remedy)
        return Node("input", (), RATIO, f'model("{source.value}")')

    def _on(self, item: ast.Call, depth: int) -> Node:
        """Return a value of another market: an input of the strategy, computed before the run."""
        source, name = self._clock(item, "on")
        if not self.scope.takes_markets:
            self._fail("on() stands in strategies only", item.col_offset, "ask the strategy's own market")
        if not _SYMBOL.fullmatch(name):
            self._fail(f"{name[:40]!r} is no market", source.col_offset, "write BASE/QUOTE, such as BTC/USDT")
        inner = self._node(item.args[1], depth)
        place = item.args[1].col_offset
        if inner.params:
            names = ", ".join(sorted(inner.params))
            self._fail(f"{names} inside on(), which is computed before the run", place, "write numbers there")
        other = sorted(inner.inputs.difference(INPUTS))
        if other:
            self._fail(f"{other[0][:40]} is no value of {name}'s bars", place, "write it beside on()")
        return Node("on", (inner,), inner.dimension.plain(), name)

    def _clock(self, item: ast.Call, name: str) -> tuple[ast.expr, str]:
        """Return the text that is the first of two arguments, with its place."""
        if item.keywords or len(item.args) != 2 or any(isinstance(arg, ast.Starred) for arg in item.args):
            self._fail(f"{name}() takes two arguments", item.col_offset, f"write {CLOCKS[name]}")
        source = item.args[0]
        if not isinstance(source, ast.Constant) or not isinstance(source.value, str):
            self._fail(
                f"the first argument of {name}() is no text", source.col_offset, f"write {CLOCKS[name]}"
            )
        return source, source.value

    def _raised(self, item: ast.Call, function: Function, exponent: Node, base: Dimension) -> Dimension:
        """Return a dimension to the power of an exponent, which must be known now unless it is a ratio."""
        if exponent.op == "constant":
            return base.raised(int(float(exponent.value or 0.0)))
        if base != RATIO:
            self._fail(
                f"{function.name}() of {base} takes a number as exponent, got {_short(exponent)}",
                item.col_offset,
                "write a number, or make x a ratio, e.g. divide it by sma of the same",
                DimensionError,
            )
        return RATIO

    def _with_defaults(self, item: ast.Call, function: Function, given: list[Node]) -> list[Node]:
        """Return all arguments: those with a default may be left out, from the first on where that fits."""
        wanted = function.arguments
        if len(given) == len(wanted):
            return given
        kept = [
            places
            for places in itertools.combinations(range(len(wanted)), len(given))
            if all(wanted[k].default for k in set(range(len(wanted))) - set(places))
        ]
        if not kept:
            n = len(given)
            self._fail(
                f"{function.name}() got {n} argument{'s' * (n != 1)}",
                item.col_offset,
                f"write {function.signature}",
            )
        kept.reverse()
        fitting = [places for places in kept if all(map(_fits, (wanted[k] for k in places), given))]
        placed = dict(zip((fitting or kept)[0], given, strict=True))
        return [
            placed[k] if k in placed else self._left_out(item, function, argument)
            for k, argument in enumerate(wanted)
        ]

    def _left_out(self, item: ast.Call, function: Function, argument: Argument) -> Node:
        if not self.scope.series:
            return _default(argument.default)
        try:
            return parse_expression(argument.default, Scope(series=self.scope.series))
        except SpecError as fault:
            what = f"{argument.name} was left out of {function.name}(), and {fault.what}"
            remedy = f"write {argument.name}, or declare the series as a ratio"
            self._fail(what, item.col_offset, remedy, type(fault))

    def _check_argument(self, item: ast.Call, function: Function, argument: Argument, node: Node) -> None:
        place = item.col_offset
        if argument.kind == "condition" and not node.dimension.condition:
            self._fail(
                f"{function.name}() wants a condition, got {_short(node)}, a {node.dimension}",
                place,
                error=DimensionError,
            )
        if argument.kind not in FIXED_KINDS:
            return
        if not _is_fixed(node):
            self._fail(
                f"{argument.name} of {function.name}() must be fixed before the run, got {_short(node)}",
                place,
                "write a number or a parameter",
            )
        if node.op == "constant" and _is_allowed(argument, float(node.value or 0.0)):
            return
        try:
            values = self.scope.fixed.values(node, whole=argument.kind != "share")
            refuse_values(function, argument, values)
        except SpecError as fault:
            self._fail(fault.what, place, fault.remedy, type(fault))


@cache
def _default(text: str) -> Node:
    """Return an argument that was left out."""
    return parse_expression(text, Scope())


def _is_allowed(argument: Argument, value: float) -> bool:
    """Whether one number is a share or a window: most are written as numbers."""
    if argument.kind == "share":
        return 0.0 <= value <= 1.0
    return argument.kind == "window" and value.is_integer() and argument.least <= value <= argument.most


def _chain(op: str, parts: tuple[Node, ...]) -> Node:
    return folded(Node(op, parts, CONDITION))


def _is_fixed(node: Node) -> bool:
    return node.dimension.literal and not node.inputs


def _fits(argument: Argument, node: Node) -> bool:
    """Whether a tree may stand for an argument, as far as it must be fixed."""
    return argument.kind not in FIXED_KINDS or _is_fixed(node)


def _short(node: Node) -> str:
    return node.text if len(node.text) <= 60 else f"{node.text[:57]}..."


def _did_you_mean(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:40], known, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"


def _function_remedy(name: str) -> str:
    if name == "log":
        return "take the logarithm of a ratio, e.g. log(close / prev(close))"
    return f"see {FUNCTIONS[name].signature}: {FUNCTIONS[name].meaning}"


def is_dimension(node: Node, wanted: Dimension) -> bool:
    """Whether a tree gives the wanted dimension; a literal counts as a ratio."""
    return unify(node.dimension, wanted) is not None and node.dimension.condition == wanted.condition
