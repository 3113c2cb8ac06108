"""Expressions of the language as values of Python, with its operators and functions.

Each is written down as the language's text and read by its parser, so tree and checks are those of a
strategy file; nothing here knows a dimension or a limit.
"""

from __future__ import annotations

import difflib
import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from numbers import Real
from typing import ClassVar, NoReturn

from research_lab.dsl.dimensions import Dimension
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.function import Function
from research_lab.dsl.registry import CLOCKS, FUNCTIONS, INPUTS, SERIES_KINDS
from research_lab.dsl.spec import Param, Spec
from research_lab.dsl.tree import OPERATORS, Node, number_text
from research_lab.errors import DimensionError, SpecError
from research_lab.series import EventRule, ModelRule, SeriesRule

Declared = SeriesRule | EventRule | ModelRule


@dataclass(frozen=True)
class Calendar:
    """A calendar of events that `event` declares, for hours_since and hours_to.

    Parameters
    ----------
    outside : its declaration, by its name.
    """

    name: str
    outside: Mapping[str, Declared]


class Expression:
    """A value of the language at every bar: an input, a parameter, or what operators and functions make.

    Parameters
    ----------
    node : its typed tree.
    params : the parameters below it, by name.
    outside : the series and calendars below it, by name.
    """

    __slots__ = ("node", "outside", "params")
    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to this class
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(
        self, node: Node, params: Mapping[str, Param], outside: Mapping[str, Declared] | None = None
    ) -> None:
        self.node = node
        self.params = params
        self.outside = outside or {}

    @property
    def text(self) -> str:
        """The canonical text."""
        return self.node.text

    @property
    def dimension(self) -> Dimension:
        return self.node.dimension

    def __repr__(self) -> str:
        return self.text

    def __add__(self, other: object) -> Expression:
        return _operation("+", self, other)

    def __radd__(self, other: object) -> Expression:
        return _operation("+", other, self)

    def __sub__(self, other: object) -> Expression:
        return _operation("-", self, other)

    def __rsub__(self, other: object) -> Expression:
        return _operation("-", other, self)

    def __mul__(self, other: object) -> Expression:
        return _operation("*", self, other)

    def __rmul__(self, other: object) -> Expression:
        return _operation("*", other, self)

    def __truediv__(self, other: object) -> Expression:
        return _operation("/", self, other)

    def __rtruediv__(self, other: object) -> Expression:
        return _operation("/", other, self)

    def __pow__(self, other: object) -> Expression:
        return called("pow", self, other)

    def __lt__(self, other: object) -> Expression:
        return _operation("<", self, other)

    def __le__(self, other: object) -> Expression:
        return _operation("<=", self, other)

    def __gt__(self, other: object) -> Expression:
        return _operation(">", self, other)

    def __ge__(self, other: object) -> Expression:
        return _operation(">=", self, other)

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return _operation("==", self, other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return _operation("!=", self, other)

    def __and__(self, other: object) -> Expression:
        return _joined("and", self, other)

    def __rand__(self, other: object) -> Expression:
        return _joined("and", other, self)

    def __or__(self, other: object) -> Expression:
        return _joined("or", self, other)

    def __ror__(self, other: object) -> Expression:
        return _joined("or", other, self)

    def __invert__(self) -> Expression:
        return _read(f"not {_operand(self)}", self)

    def __neg__(self) -> Expression:
        return _read(f"-{_operand(self)}", self)

    def __pos__(self) -> Expression:
        return self

    def __abs__(self) -> Expression:
        return called("abs", self)

    def __bool__(self) -> NoReturn:
        raise SpecError(
            "it is true at some bars and false at others, so Python cannot decide on it",
            _short(self.text),
            remedy="write & for and, | for or, ~ for not, (a < b) & (b < c) for a < b < c, "
            "and x.min(y), x.max(y) or if_else(condition, a, b)",
        )

    def __getitem__(self, key: object) -> NoReturn:
        raise SpecError(
            "an expression has no items", _short(self.text), remedy="the value n bars ago is x.prev(n)"
        )

    __iter__: ClassVar[None] = None

    def __getattr__(self, name: str) -> Callable[..., Expression]:
        """Return a function of the language with this expression as its first argument: x.sma(14)."""
        if name.startswith("_") or name not in FUNCTIONS:
            raise AttributeError(f"{name} is no function of the language{near(name, FUNCTIONS)}")
        return partial(function_of(name), self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *FUNCTIONS})


def params_of(values: Sequence[object]) -> dict[str, Param]:
    """Return the parameters below some values, in the order of their first use."""
    found: dict[str, Param] = {}
    for part in _expressions(values):
        for name, one in part.params.items():
            if found.setdefault(name, one) != one:
                raise SpecError(
                    f"two parameters are called {name}, with different ranges", remedy="rename one of them"
                )
    return found


def outside_of(values: Sequence[object]) -> dict[str, Declared]:
    """Return the series, calendars and models of expressions and strategies, in the order of their first use."""
    found: dict[str, Declared] = {}
    read: list[Mapping[str, Declared]] = [part.outside for part in _expressions(values)]
    read += [{**value.series, **value.events, **value.models} for value in values if isinstance(value, Spec)]
    for declared in read:
        for name, rule in declared.items():
            if found.setdefault(name, rule) != rule:
                raise SpecError(
                    f"two series, calendars or models are called {name}, read in different ways",
                    remedy="rename one of them",
                )
    return found


def _expressions(value: object) -> Iterator[Expression]:
    if isinstance(value, Expression):
        yield value
    elif isinstance(value, Mapping):
        yield from _expressions(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _expressions(part)


def parsed(
    text: str, params: Mapping[str, Param], outside: Mapping[str, Declared] | None = None
) -> Expression:
    """Return the expression that a text is; an error names it, since in Python it has no line."""
    declared = outside or {}
    series = {
        name: SERIES_KINDS[rule.kind] for name, rule in declared.items() if isinstance(rule, SeriesRule)
    }
    scope = Scope(
        params,
        FixedNumbers({name: (p.low, p.high, p.step) for name, p in params.items()}),
        series=series,
        events=[name for name, rule in declared.items() if isinstance(rule, EventRule)],
        takes_markets=True,
        models=[name for name, rule in declared.items() if isinstance(rule, ModelRule)],
    )
    try:
        return Expression(parse_expression(text, scope), params, declared)
    except SpecError as fault:
        shown = _short(text)
        where = "expression" if shown in fault.what else shown
        raise type(fault)(fault.what, where, remedy=fault.remedy) from None


def _read(text: str, *parts: object) -> Expression:
    return parsed(text, params_of(parts), outside_of(parts))


def _operation(sign: str, left: object, right: object) -> Expression:
    return _read(f"{_operand(left)} {sign} {_operand(right)}", left, right)


def _joined(word: str, left: object, right: object) -> Expression:
    """Return two conditions joined; what is none was bound too tightly by Python, as a rule."""
    try:
        return _operation(word, left, right)
    except DimensionError as fault:
        remedy = "in Python & and | bind tighter than comparisons: write (a > b) & (c > d)"
        raise DimensionError(fault.what, fault.where, remedy=remedy) from None


def _operand(value: object) -> str:
    """Return a value's text, in brackets where an operator beside it might tear it apart."""
    text = text_of(value)
    torn = value.node.op in OPERATORS if isinstance(value, Expression) else False
    return f"({text})" if torn or text.startswith("-") else text


def text_of(value: object) -> str:
    """Return an expression or a number as the language writes it."""
    return value.text if isinstance(value, Expression) else number_text(finite(value))


def finite(value: object) -> float:
    """Return a number, of NumPy too; an error for anything that the language has no number for."""
    if type(value) is not bool and isinstance(value, Real):
        with suppress(OverflowError):
            if math.isfinite(number := float(value)):
                return number
    shown, remedy = _short(repr(value)), "write 2, 0.5, or what inputs and functions make"
    name = getattr(value, "__name__", "")
    if callable(value) and name in FUNCTIONS:
        shown, remedy = f"{name} without brackets", f"write {FUNCTIONS[name].signature}"
    elif callable(value) and name in INPUTS:
        shown, remedy = f"Python's own {name}", f"import {name} from research_lab.dsl.builder"
    raise SpecError(f"{shown} is neither an expression nor a finite number", "expression", remedy=remedy)


def called(name: str, *args: object) -> Expression:
    """Return a call of the language; text stands for text, such as a timeframe."""
    texts = [json.dumps(arg) if isinstance(arg, str) else text_of(arg) for arg in args]
    return _read(f"{name}({', '.join(texts)})", *args)


def clocked(name: str, key: str, x: object) -> Expression:
    """Return a value of another clock: of a longer timeframe, `tf`, or of another market, `on`."""
    if not isinstance(key, str):
        raise SpecError(
            f"the first argument of {name}() is no text", "expression", remedy=f"write {CLOCKS[name]}"
        )
    return called(name, key, x)


def told_of(name: str, calendar: object) -> Expression:
    """Return what `hours_since` or `hours_to` tells of a calendar."""
    if not isinstance(calendar, Calendar):
        raise SpecError(
            f"{_short(repr(calendar))} is no calendar",
            "expression",
            remedy=f'write {name}(event("fomc", known_ahead=True))',
        )
    return parsed(f"{name}({calendar.name})", {}, calendar.outside)


@cache
def function_of(name: str) -> Callable[..., Expression]:
    """Return a function of the registry as one of Python, with its signature and meaning."""
    function = FUNCTIONS[name]

    def call(*args: object, **named: object) -> Expression:
        return called(name, *(_by_place(function, args, named) if named else args))

    call.__name__ = call.__qualname__ = name
    call.__module__ = "research_lab.dsl.builder"
    call.__doc__ = f"{function.signature}: {function.meaning}."
    parameters = [
        inspect.Parameter(
            a.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=_Shown(a.default) if a.default else inspect.Parameter.empty,
        )
        for a in function.arguments
    ]
    # A leading argument may be left out here, as in rsi(14), which Python's own functions do not know.
    signature = inspect.Signature(parameters, __validate_parameters__=False)
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


class _Shown(str):
    """A default, shown in a signature as the language writes it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _by_place(function: Function, args: Sequence[object], named: Mapping[str, object]) -> list[object]:
    """Return a call's arguments in the language's order, those left out as their defaults."""
    names = [argument.name for argument in function.arguments]
    for name in named:
        if name not in names:
            _misfit(function, f"has no argument {name}")
    free = [argument for argument in function.arguments if argument.name not in named]
    if len(args) > len(free):
        _misfit(function, "got an argument twice, or too many")
    needed = [argument.name for argument in free if not argument.default]
    places = needed if len(args) == len(needed) else [argument.name for argument in free]
    found = {**named, **dict(zip(places, args, strict=False))}
    missing = [name for name in needed if name not in found]
    if missing:
        _misfit(function, f"needs {' and '.join(missing)}")
    defaults = {a.name: parsed(a.default, {}) for a in free if a.name not in found}
    return [found.get(name, defaults.get(name)) for name in names]


def _misfit(function: Function, what: str) -> NoReturn:
    raise SpecError(f"{function.name}() {what}", "expression", remedy=f"write {function.signature}")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def near(name: str, known: Mapping[str, object]) -> str:
    """Return what a name that is not known may have meant, to end a message; nothing when unclear."""
    close = difflib.get_close_matches(name, list(known), n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; docs/language.md has them all"
