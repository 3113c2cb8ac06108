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

from research_lab.dsl.python_expressions import (
    Expression,
    finite,
    function_of,
    near,
    params_of,
    parsed,
    text_of,
)
from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.spec import Param, Spec
from research_lab.dsl.spec_reader import checked_param, parse_spec
from research_lab.dsl.spec_text import Name, ParamForm, SpecForm
from research_lab.errors import SpecError
from research_lab.strict_yaml import scalar

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


def strategy(**fields: object) -> Spec:
    """Return the strategy that these fields describe: those of a strategy file, under the same names.

    Parameters
    ----------
    fields : each value as in the file, where an expression may stand instead of its text. `params` is a list
        of parameters and gives their order; it may be left out, and those that are not in it follow as they
        are used. A take may be a pair, (multiple of R, share); `trail` may be a distance alone.

    Raises
    ------
    SpecError : as reading the file would, naming the field.
    """
    order = [name for name in SpecForm.model_fields if name in fields]
    given = {"spec": 1, **{name: fields[name] for name in [*order, *fields]}}
    listed = given.pop("params", None) or ()
    if not isinstance(listed, Sequence) or not all(isinstance(one, Expression) for one in listed):
        raise SpecError("params is no list of parameters", "strategy", remedy="write params=[n, k]")
    params = params_of([*listed, *given.values()])
    given["take"] = [_take(one) for one in _items("take", given.get("take"))]
    given["trail"] = _trail(given.get("trail"))
    lines = [f"{scalar(name)}: {_plain(value)}" for name, value in given.items() if value is not None]
    lines.insert(1, f"params: {_plain({name: _param_field(p) for name, p in params.items()})}")
    try:
        return parse_spec("\n".join(lines) + "\n", "strategy")
    except SpecError as fault:
        raise type(fault)(
            fault.what, f"strategy {fields.get('name', '')}".rstrip(), remedy=fault.remedy
        ) from None


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
__all__ = ["Expression", "param", "strategy"]
__all__ += [name for name in (*INPUTS, *FUNCTIONS) if not hasattr(builtins, name)]


def __getattr__(name: str) -> Any:
    """Return an input or a function of the registry by its name."""
    if name in INPUTS:
        return parsed(name, {})
    if name in FUNCTIONS:
        return function_of(name)
    raise AttributeError(f"{name} is no input or function{near(name, {**INPUTS, **FUNCTIONS})}")


def __dir__() -> list[str]:
    return sorted({*__all__, *INPUTS, *FUNCTIONS})
