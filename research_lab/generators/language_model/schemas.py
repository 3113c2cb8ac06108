"""The JSON schemas that answers are asked for in: of strategies within a brief, and of a critic's statements."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from research_lab.dsl.json_schema import spec_schema
from research_lab.generators.brief import Brief
from research_lab.generators.language_model.answers import STATEMENTS, STRATEGIES

Schema = dict[str, Any]

# Servers differ in which of these they take, and the loader asks for all of it anyway.
_CONDITIONAL: Final = frozenset({"if", "then", "else", "allOf", "oneOf", "not", "propertyNames", "$schema"})
# What a strategy would read from elsewhere: a generator is told of none of it.
_OUTSIDE: Final = ("series", "events", "models", "ensemble")
_NAMED: Final = ("properties", "$defs")  # whose keys are names, not words of the schema


@lru_cache(maxsize=8)
def strategies_schema(brief: Brief) -> Schema:
    """Return the schema of an answer with strategies: that of a strategy file, plain, as the brief allows.

    It is made once, and read only.
    """
    spec = _plain(spec_schema())
    definitions: Schema = spec.pop("$defs")
    fields: Schema = spec["properties"]
    blocks = {"stop", "take", "trail", "breakeven", "time_stop", "regimes", "regime_exit"}
    for name in (*_OUTSIDE, *sorted(blocks - set(brief.blocks))):
        fields.pop(name, None)
    fields["timeframe"] = {**fields["timeframe"], "enum": list(brief.timeframes)}
    fields["side"] = {**fields["side"], "enum": list(brief.sides)}
    fields["params"] = {**fields["params"], "maxProperties": brief.max_params}
    wanted = {
        name: part
        for name, part in definitions.items()
        if name in ("ParamForm", "TakeForm", "TrailForm", "SizeForm")
    }
    return _listed(STRATEGIES, spec, wanted)


def statements_schema() -> Schema:
    """Return the schema of a critic's answer."""
    text = {"type": "string", "minLength": 1, "maxLength": 900}
    fields = {
        "hypothesis": {**text, "description": "Why it should work: who pays, and why they go on paying."},
        "fails_when": {**text, "description": "What would be seen if that were false, or no longer true."},
    }
    return _listed(STATEMENTS, _object(fields), {})


def _listed(name: str, item: Schema, definitions: Schema) -> Schema:
    schema = _object({name: {"type": "array", "items": item}})
    return {**schema, "title": name, **({"$defs": definitions} if definitions else {})}


def _object(fields: Schema) -> Schema:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _plain(schema: Any, *, names: bool = False) -> Any:
    """Return a schema without what only some servers know."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _plain(part, names=name in _NAMED and not names)
        for name, part in schema.items()
        if names or name not in _CONDITIONAL
    }
