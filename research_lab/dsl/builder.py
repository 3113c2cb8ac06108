"""Strategies written in Python: the same language through another door.

Every expression is written down as the language's text and read by its parser, so trees, checks and hashes
are those of a strategy file. Inputs and functions come from the registry, fields from the form of the file;
what joins them is here at once.

Examples
--------
>>> from research_lab.dsl.builder import atr, close, high, highest, param, strategy
>>> n = param("n", 20, 60, step=5, default=20)
>>> breakout = strategy(
...     name="breakout", hypothesis="A broken range runs on.", timeframe="4h", side="long",
...     enter_long=(close > highest(high, n).prev()) & (close.rsi(14) < 70), stop=2 * atr(14),
...     take=[(1, 0.5)], size={"risk": 0.01},
... )
>>> print(breakout.canonical())
spec: 1
name: breakout
hypothesis: "A broken range runs on."
timeframe: 4h
side: long
params:
  n: {range: [20, 60], step: 5, default: 20}
enter_long: "prev(highest(high, n), 1) < close and rsi(close, 14) < 70"
stop: "2 * atr(14)"
take:
  - {at: "1 R", close: "0.5"}
size: {risk: "0.01"}
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from pydantic import TypeAdapter, ValidationError

from research_lab.dsl.ensemble_reader import Resolver
from research_lab.dsl.python_expressions import (
    Calendar,
    Declared,
    Expression,
    clocked,
    finite,
    function_of,
    near,
    outside_of,
    params_of,
    parsed,
    text_of,
    told_of,
)
from research_lab.dsl.registry import CLOCKS, EVENT_FUNCTIONS, FUNCTIONS, INPUTS
from research_lab.dsl.spec import Param, Spec
from research_lab.dsl.spec_reader import checked_param, parse_declarations, parse_spec
from research_lab.dsl.spec_text import Name, ParamForm, SpecForm
from research_lab.errors import SpecError
from research_lab.series import EventRule, ModelRule, SeriesRule
from research_lab.strict_yaml import load_text, scalar

_NAME: TypeAdapter[str] = TypeAdapter(Name)


def param(name: str, low: float, high: float, *, step: float, default: float) -> Expression:
    """Return a parameter: its range with both ends, the step between values, and its value without tuning.

    Raises
    ------
    SpecError : for a name or a range that a strategy file could not have either.
    """
    try:
        _NAME.validate_python(name, strict=True)
    except ValidationError:
        raise SpecError(
            f"{name!r} is no name", "param", remedy="write a small letter, then letters, digits and _"
        ) from None
    low, high, step, default = (finite(value) for value in (low, high, step, default))
    try:
        found = checked_param(name, ParamForm(range=[low, high], step=step, default=default))
    except SpecError as fault:
        raise type(fault)(fault.what, f"param {name}", remedy=fault.remedy) from None
    return parsed(name, {name: found})


def series(name: str, *, lag: str | int, max_age: str, kind: str = "ratio") -> Expression:
    """Return an external series: the lag of its publication, the age at which a value no longer counts, its kind.

    Raises
    ------
    SpecError : for a name or a rule that a strategy file could not have either.
    """
    rule = {"lag": lag, "max_age": max_age, "kind": kind}
    return parsed(name, {}, _declared("series", name, rule))


def event(name: str, *, known_ahead: bool = False) -> Calendar:
    """Return a calendar of events, for `hours_since` and `hours_to`; whether its dates are known long before.

    Raises
    ------
    SpecError : for a name that a strategy file could not have either.
    """
    return Calendar(name, _declared("events", name, {"known_ahead": known_ahead}))


def model(name: str, *, hash: str, max_age: str) -> Expression:
    """Return a model's score: the hash that pins the model, the age at which a score no longer counts.

    Raises
    ------
    SpecError : for a name or a rule that a strategy file could not have either.
    """
    declared = _declared("models", name, {"hash": hash, "max_age": max_age})
    return parsed(f'model("{name}")', {}, declared)


def tf(timeframe: str, x: object) -> Expression:
    """tf("4h", x): x on bars of a longer timeframe, as of its last complete bar."""
    return clocked("tf", timeframe, x)


def on(market: str, x: object) -> Expression:
    """on("BTC/USDT", x): x on another market's bars, as of its last complete bar."""
    return clocked("on", market, x)


def hours_since(calendar: Calendar) -> Expression:
    """hours_since(fomc): hours since the last event, 0 at it."""
    return told_of("hours_since", calendar)


def hours_to(calendar: Calendar) -> Expression:
    """hours_to(fomc): hours to the next event that is known of, 0 at it."""
    return told_of("hours_to", calendar)


def strategy(**fields: object) -> Spec:
    """Return the strategy that these fields describe: those of a strategy file, under the same names.

    Parameters
    ----------
    fields : each value as in the file, where an expression may stand instead of its text. `params` is a list
        of parameters and gives their order; it may be left out, and those that are not in it follow as they
        are used. `series`, `events` and `models` are for what is read in text alone: those of expressions are declared
        with them. A take may be a pair, (multiple of R, share); `trail` may be a distance alone. What a
        member of an ensemble uses is a strategy itself, and may be the whole member.

    Raises
    ------
    SpecError : as reading the file would, naming the field.
    """
    order = [name for name in SpecForm.model_fields if name in fields]
    given = {"spec": 1, **{name: fields[name] for name in [*order, *fields]}}
    listed = given.pop("params", None) or ()
    if not isinstance(listed, Sequence) or not all(isinstance(one, Expression) for one in listed):
        raise SpecError("params is no list of parameters", "strategy", remedy="write params=[n, k]")
    given["ensemble"], used = _ensemble(given.get("ensemble"))
    params = params_of([*listed, *given.values()])
    _declare(given, used)
    given["take"] = [_take(one) for one in _items("take", given.get("take"))]
    given["trail"] = _trail(given.get("trail"))
    lines = [f"{scalar(name)}: {_plain(value)}" for name, value in given.items() if value is not None]
    lines.insert(1, f"params: {_plain({name: _param_field(p) for name, p in params.items()})}")
    try:
        return parse_spec("\n".join(lines) + "\n", "strategy", _given_only(used))
    except SpecError as fault:
        raise type(fault)(
            fault.what, f"strategy {fields.get('name', '')}".rstrip(), remedy=fault.remedy
        ) from None


def _declared(field: str, name: str, rule: Mapping[str, object]) -> dict[str, Declared]:
    """Return one series, calendar or model as a strategy file would have it."""
    try:
        return dict(parse_declarations(f"{field}: {_plain({name: rule})}\n", field))
    except SpecError as fault:
        raise type(fault)(fault.what, f"{field} {name}", remedy=fault.remedy) from None


def _declare(given: dict[str, object], used: Mapping[str, Spec]) -> None:
    """Put the series, calendars and models of expressions and members beside those that the fields declare."""
    found = outside_of([*given.values(), *used.values()])
    for field, kind in (("series", SeriesRule), ("events", EventRule), ("models", ModelRule)):
        own = given.get(field) or {}
        if not isinstance(own, Mapping):
            remedy = f"write {field}={{name: {{...}}}} as in the file, or leave it out"
            raise SpecError(f"{field} is no mapping", "strategy", remedy=remedy)
        for name, rule in found.items():
            if not isinstance(rule, kind):
                continue
            if name in own and _declared(field, name, own[name])[name] != rule:
                raise SpecError(
                    f"{name} is declared in two ways", "strategy", remedy=f"leave it out of {field}"
                )
            own = {name: _rule_fields(rule), **own}
        given[field] = own or None


def _rule_fields(rule: Declared) -> Mapping[str, object]:
    """Return a rule as the fields of a strategy file."""
    fields: Mapping[str, object] = load_text(rule.text, "rule", SpecError).data
    return fields


def _ensemble(given: object) -> tuple[object, dict[str, Spec]]:
    """Return an ensemble as in the file, and the strategies that its members use, by their names."""
    members = given.get("members") if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(members, Mapping):
        return given, {}
    used: dict[str, Spec] = {}
    written: dict[str, object] = {}
    for name, member in members.items():
        fields = {"use": member} if isinstance(member, Spec) else member
        use = fields.get("use") if isinstance(fields, Mapping) else None
        if isinstance(fields, Mapping) and isinstance(use, Spec):
            if used.setdefault(use.name, use).hash != use.hash:
                raise SpecError(
                    f"two strategies are called {use.name}", "ensemble", remedy="rename one of them"
                )
            fields = {**fields, "use": use.name}
        written[name] = fields
    return {**given, "members": written}, used


def _given_only(used: Mapping[str, Spec]) -> Resolver:
    """Return what finds the strategies that were given, and opens no file."""

    def resolve(name: str) -> Spec:
        if name not in used:
            raise SpecError(
                f"no strategy {name} was given", remedy="give it itself, e.g. use=load_spec(path)"
            )
        return used[name]

    return resolve


def _strategy_signature() -> inspect.Signature:
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.is_required() else field.get_default(),
        )
        for name, field in SpecForm.model_fields.items()
        if name != "spec"
    ]
    return inspect.Signature(parameters, return_annotation=Spec)


def _take(one: object) -> object:
    pair = {"at": one[0], "close": one[1]} if isinstance(one, (tuple, list)) and len(one) == 2 else one
    return {**pair, "at": _in_r(pair.get("at"))} if isinstance(pair, Mapping) else pair


def _trail(given: object) -> object:
    if isinstance(given, Mapping):
        return {**given, "after": _in_r(given.get("after"))}
    return None if given is None else {"distance": given}


def _in_r(multiple: object) -> object:
    """Return a multiple of R as its text; what is text already stays."""
    return multiple if multiple is None or isinstance(multiple, str) else f"{text_of(multiple)} R"


def _items(name: str, given: object) -> Sequence[object]:
    if given is None or (isinstance(given, Sequence) and not isinstance(given, str)):
        return given or ()
    raise SpecError(f"{name} is no list", "strategy", remedy=f"write {name}=[(1, 0.5), ...]")


def _param_field(p: Param) -> dict[str, object]:
    return {"range": [p.low, p.high], "step": p.step, "default": p.default}


def _plain(value: object) -> str:
    """Return a value as YAML on one line, expressions as their text."""
    if isinstance(value, Mapping):
        pairs = [f"{scalar(str(k))}: {_plain(v)}" for k, v in value.items() if v is not None]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, Expression):
        return scalar(value.text)
    if value is None or isinstance(value, (str, bool)):
        return scalar(value)
    return scalar(int(value)) if isinstance(value, Integral) else scalar(finite(value))


strategy.__signature__ = _strategy_signature()  # type: ignore[attr-defined]

# `import *` leaves Python's own names alone; open, min and their like are asked for by name.
_OURS = ("Calendar", "Expression", "event", "model", "param", "series", "strategy", *CLOCKS, *EVENT_FUNCTIONS)
__all__ = list(_OURS)
__all__ += [name for name in (*INPUTS, "spread", *FUNCTIONS) if not hasattr(builtins, name)]


def __getattr__(name: str) -> Any:
    """Return an input or a function of the registry by its name."""
    if name in INPUTS or name == "spread":
        return parsed(name, {})
    if name in FUNCTIONS:
        return function_of(name)
    raise AttributeError(f"{name} is no input or function{near(name, {**INPUTS, **FUNCTIONS})}")


def __dir__() -> list[str]:
    return sorted({*__all__, *INPUTS, *FUNCTIONS})
