"""The form of a strategy file as JSON Schema, for editors and other programs.

It is generated from the form that the reader uses and says what a schema can say beside it: which fields
need each other, which names are taken. Whether an expression is right, only the reader knows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from research_lab.dsl import limits
from research_lab.dsl.spec import CONDITIONS, REGIMES
from research_lab.dsl.spec_reader import VOLATILITY_WINDOW
from research_lab.dsl.spec_text import SpecForm
from research_lab.dsl.text_reader import RESERVED
from research_lab.timeframe import TIMEFRAME_PATTERN

Schema = dict[str, Any]

# What each field is, by model and name; the language page shows them too.
FIELDS: dict[str, dict[str, str]] = {
    "SpecForm": {
        "spec": "Version of the form: 1.",
        "name": "What it is called: a small letter, then small letters, digits and _, 48 at most.",
        "hypothesis": "Why it should work, in one or two sentences.",
        "timeframe": "Length of its bars: a number and m, h, d or w, such as 15m, 4h, 1d.",
        "side": "Which positions it takes: long, short or both.",
        "params": "Parameters by name: what tuning may change.",
        "series": "External series by name: what it reads besides its market.",
        "events": "Calendars of events by name, for hours_since and hours_to.",
        "models": "Fitted models by name, whose scores model() reads.",
        "define": "Expressions by name, for what is used more than once; each sees those above it.",
        "enter_long": "Condition that opens a long at the next open.",
        "exit_long": "Condition that closes a long at the next open.",
        "enter_short": "Condition that opens a short at the next open.",
        "exit_short": "Condition that closes a short at the next open.",
        "ensemble": "Strategies combined into one, instead of entry and exit conditions.",
        "stop": "Distance of the stop from the entry, in price; it is R.",
        "take": "Partial exits at multiples of R, in order.",
        "trail": "A trailing stop behind the best price since the entry.",
        "breakeven": "Whether the stop moves to the entry price after the first take.",
        "time_stop": "Bars after which a position is closed at the latest: a number or one parameter.",
        "size": "How much: one of risk, fraction and target_vol.",
        "regimes": "Market regimes in which it may enter; none named means all.",
        "regime_exit": "Whether a position is closed when the regime is no longer one of those.",
    },
    "ParamForm": {
        "range": "Lowest and highest value, both included.",
        "step": "Between the values that tuning tries, above zero.",
        "default": "The value without tuning, inside the range.",
    },
    "SeriesForm": {
        "lag": "Time from a value's stamp until it was published: 0, or a number and m, h, d or w.",
        "max_age": "Time after which a value that was not followed by another is unknown, such as 5d.",
        "kind": "Its dimension: ratio, price, volume or bars; or condition, for values 0 and 1.",
    },
    "EventForm": {
        "known_ahead": "Whether its dates are published long before, as those of meetings are.",
    },
    "ModelUseForm": {
        "hash": "The model's hash, 64 digits, as `pipeline model check` prints it: no other model's score is taken.",
        "max_age": "Time from its publication after which a score is unknown, such as 2h.",
    },
    "EnsembleForm": {
        "combine": "first, the first member that stands anywhere; vote, more than half; weighted, by weight.",
        "min_confidence": "Share of the weight that must agree, above 0, up to 1; for weighted only.",
        "members": f"2 to {limits.MEMBERS} members by name; each stands long, short or aside.",
    },
    "MemberForm": {
        "weight": "What its stance counts, above zero; for weighted only, 1 when left out.",
        "use": "A strategy of the file's folder or of the library, by name, instead of conditions.",
        "enter_long": "Condition from which on it stands long.",
        "exit_long": "Condition that ends that; needed with enter_long.",
        "enter_short": "Condition from which on it stands short.",
        "exit_short": "Condition that ends that; needed with enter_short.",
    },
    "TakeForm": {
        "at": "Gain at which it acts, as a multiple of R: 1R, 1.5R, k R.",
        "close": "Share of what remains that is closed, above 0, up to 1.",
    },
    "TrailForm": {
        "distance": "Distance behind the best price, in price.",
        "after": "Gain that arms it, as a multiple of R; at once when left out.",
    },
    "SizeForm": {
        "risk": "Share of equity that is lost at the stop.",
        "fraction": "Share of equity that the position is worth.",
        "target_vol": "Volatility a year that the position should have, as a share of equity.",
        "window": f"Bars over which target_vol measures volatility; {VOLATILITY_WINDOW} when left out.",
    },
}
_NAMED = (("SpecForm", "params"), ("SpecForm", "series"), ("SpecForm", "events"), ("SpecForm", "models"),
          ("SpecForm", "define"))  # fmt: skip
_MULTIPLE_OF_R = r"\S[\s\S]*R\s*$"


def spec_schema() -> Schema:
    """Return the schema of a strategy file."""
    schema: Schema = SpecForm.model_json_schema()
    parts = {"SpecForm": schema, **schema["$defs"]}
    for model, notes in FIELDS.items():
        for name, note in notes.items():
            parts[model]["properties"][name]["description"] = note
    for part in parts.values():
        for field in part["properties"].values():
            field.pop("title", None)
    _tighten(parts)
    schema["allOf"] = _rules()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A strategy file"}
    return {**head, **{name: value for name, value in schema.items() if name != "title"}}


def schema_text() -> str:
    """Return the schema as text, the same for the same code."""
    return json.dumps(spec_schema(), indent=2, ensure_ascii=False) + "\n"


def _tighten(parts: dict[str, Schema]) -> None:
    """Say in the fields what the reader asks of them beyond their kind."""
    fields = {name: part["properties"] for name, part in parts.items()}
    for model, name in (*_NAMED, ("EnsembleForm", "members")):
        _name_what_is_inside(fields[model][name], taken=model == "SpecForm")
    every = [field for part in fields.values() for field in part.values()]
    inner = [fields["SpecForm"]["define"]["additionalProperties"], fields["ParamForm"]["range"]["items"]]
    texts = [fields[model][name] for model in ("SpecForm", "MemberForm") for name in CONDITIONS]
    for field in (*texts, fields["SpecForm"]["stop"], fields["TrailForm"]["distance"]):
        _only_text(field)
    for field in (*every, *inner):
        _simplified(field)
        _bounded(field)
    _tighten_strategy(fields["SpecForm"])
    _tighten_parts(fields)
    _tighten_outside(fields)
    kinds = [name for name in FIELDS["SizeForm"] if name != "window"]
    parts["SizeForm"] |= {
        "oneOf": [_given(name) for name in kinds],
        "if": _given("window"),
        "then": _given("target_vol"),
    }
    parts["EnsembleForm"] |= _ensemble_rule()
    parts["MemberForm"] |= _member_rule()


def _name_what_is_inside(field: Schema, *, taken: bool) -> None:
    """Say which names its parts may have; those of the language are taken where expressions may say them."""
    (pattern, values), *_ = field.pop("patternProperties").items()
    field["propertyNames"] = {"pattern": pattern, **({"not": {"enum": sorted(RESERVED)}} if taken else {})}
    field["additionalProperties"] = values


def _tighten_strategy(fields: dict[str, Schema]) -> None:
    fields["timeframe"]["pattern"] = f"^{TIMEFRAME_PATTERN}$"
    fields["regimes"] |= {"items": {"enum": list(REGIMES)}, "uniqueItems": True}
    _demand(fields["time_stop"], "number", minimum=1, multipleOf=1)
    for name in ("series", "events", "models"):
        fields[name]["maxProperties"] = limits.SERIES


def _tighten_parts(fields: dict[str, Schema]) -> None:
    """Say what the reader asks of the fields inside params, take and trail."""
    _demand(fields["ParamForm"]["step"], "number", exclusiveMinimum=0)
    _demand(fields["TakeForm"]["at"], "string", pattern=_MULTIPLE_OF_R)
    _demand(fields["TakeForm"]["close"], "number", exclusiveMinimum=0, maximum=1)
    _demand(fields["TrailForm"]["after"], "string", pattern=_MULTIPLE_OF_R)


def _tighten_outside(fields: dict[str, Schema]) -> None:
    """Say what the reader asks of the fields inside series and ensemble."""
    _demand(fields["SeriesForm"]["lag"], "string", pattern=f"^(0|{TIMEFRAME_PATTERN})$")
    _demand(fields["SeriesForm"]["lag"], "integer", const=0)
    fields["SeriesForm"]["max_age"]["pattern"] = f"^{TIMEFRAME_PATTERN}$"
    fields["ModelUseForm"]["hash"]["pattern"] = "^[0-9a-f]{64}$"
    fields["ModelUseForm"]["max_age"]["pattern"] = f"^{TIMEFRAME_PATTERN}$"
    _demand(fields["EnsembleForm"]["min_confidence"], "number", exclusiveMinimum=0, maximum=1)
    _demand(fields["MemberForm"]["weight"], "number", exclusiveMinimum=0)


def _ensemble_rule() -> Schema:
    """Return that confidence and weights are for one way of combining."""
    unweighted = {"additionalProperties": {"properties": {"weight": {"type": "null"}}}}
    return {
        "if": _is("combine", "weighted"),
        "then": _given("min_confidence"),
        "else": {"properties": {"min_confidence": {"type": "null"}, "members": unweighted}},
    }


def _member_rule() -> Schema:
    """Return that a member is a strategy used, or enters a side and leaves every side that it enters."""
    sides = [_when(_given(f"enter_{side}"), _given(f"exit_{side}")) for side in ("long", "short")]
    enters = {"anyOf": [_given("enter_long"), _given("enter_short")]}
    return {
        "if": _given("use"),
        "then": _absent(CONDITIONS),
        "else": {"allOf": [enters, *sides]},
    }


def _demand(field: Schema, kind: str, **rules: object) -> None:
    """Add rules to what a field may be of one kind."""
    for choice in _choices(field):
        if choice["type"] == kind:
            choice |= rules


def _choices(field: Schema) -> list[Schema]:
    found: list[Schema] = field.get("anyOf", [field])
    return found


def _only_text(field: Schema) -> None:
    """Leave only text of what an expression may be: no number is a condition or a distance in price."""
    field["anyOf"] = [choice for choice in field["anyOf"] if choice["type"] in ("string", "null")]


def _simplified(field: Schema) -> None:
    """Say number alone for an integer or a number."""
    choices = _choices(field)
    if {"type": "number"} in choices and {"type": "integer"} in choices:
        choices.remove({"type": "integer"})
    if len(choices) == 1 and "anyOf" in field:
        field |= field.pop("anyOf")[0]


def _bounded(field: Schema) -> None:
    """Refuse blank expressions and numbers beyond the language's."""
    choices = _choices(field)
    if not any(choice.get("maxLength") == limits.EXPRESSION_CHARACTERS for choice in choices):
        return
    for choice in choices:
        if choice["type"] == "string":
            choice["pattern"] = r"\S"
        elif choice["type"] == "number":
            choice |= {"exclusiveMinimum": -limits.NUMBER, "exclusiveMaximum": limits.NUMBER}


def _rules() -> list[Schema]:
    """Return which fields need, or exclude, each other."""
    rules = [_when(_given("ensemble"), _absent(CONDITIONS), {"allOf": _rules_of_conditions()})]
    armed = {**_given("trail"), "properties": {"trail": {**_given("after"), "type": "object"}}}
    for needs_r in (_filled("take"), armed, _inside("size", _given("risk"))):
        rules.append(_when(needs_r, _given("stop")))
    rules.append(_when(_is("breakeven", True), _filled("take")))
    rules.append(_when(_is("regime_exit", True), _filled("regimes")))
    return rules


def _rules_of_conditions() -> list[Schema]:
    """Return what a strategy with conditions of its own needs: those of its side, and a way out."""
    exits = [_given(name) for name in ("exit_long", "exit_short", "stop", "trail", "time_stop")]
    return [
        *(_when(_is("side", side), _for_side(side)) for side in ("long", "short", "both")),
        {"anyOf": exits},
    ]


def _for_side(side: str) -> Schema:
    if side == "both":
        return {"allOf": [_given("enter_long"), _given("enter_short")]}
    other = "short" if side == "long" else "long"
    return {"allOf": [_given(f"enter_{side}"), _absent([f"{what}_{other}" for what in ("enter", "exit")])]}


def _absent(names: Sequence[str]) -> Schema:
    """Return that fields are left out, or null."""
    return {"properties": {name: {"type": "null"} for name in names}}


def _when(condition: Schema, then: Schema, otherwise: Schema | None = None) -> Schema:
    return {"if": condition, "then": then, **({} if otherwise is None else {"else": otherwise})}


def _given(name: str) -> Schema:
    """Return that a field stands there, and not as null."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def _is(name: str, value: str | bool) -> Schema:
    return {"required": [name], "properties": {name: {"const": value}}}


def _filled(name: str) -> Schema:
    return {"required": [name], "properties": {name: {"type": "array", "minItems": 1}}}


def _inside(name: str, rule: Schema) -> Schema:
    return {"required": [name], "properties": {name: {"type": "object", **rule}}}
