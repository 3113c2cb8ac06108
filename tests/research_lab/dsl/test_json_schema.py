"""The schema of strategy files: it takes what the reader takes, and refuses what the form refuses."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from pydantic import BaseModel, ValidationError

from pipelines.strategy_files import library
from research_lab.dsl import spec_text
from research_lab.dsl.json_schema import FIELDS, schema_text, spec_schema
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.dsl.spec_text import SpecForm
from research_lab.errors import SpecError
from research_lab.strict_yaml import load_text
from tests.strategies_of_specs import spec_texts

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = spec_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FULL = """\
spec: 1
name: trend
hypothesis: none
timeframe: 1h
side: both
params:
  n: {range: [10, 20], step: 5, default: 10}
series:
  dxy: {lag: 1d, max_age: 5d, kind: price}
  mood: {lag: 0, max_age: 2h}
events:
  fomc: {known_ahead: true}
models:
  drift: {hash: 0c8b1ea2f2cb06d1d6a8d6f0f4e6e2d3b9a7c5f1e3d20b4a69788796a5b4c3d2, max_age: 2h}
define:
  level: ema(close, n)
enter_long: model("drift") > 0.5 and close > level and dxy > sma(dxy, n) and mood > 0 and hours_to(fomc) > 24
exit_long: close < level
enter_short: close < level
exit_short: close > level
stop: 2 * atr(14)
take: [{at: 1R, close: 0.5}]
trail: {distance: 3 * atr(14), after: 1R}
breakeven: true
time_stop: 48
size: {risk: 0.01}
regimes: [trend_up, panic]
regime_exit: true
"""
ENSEMBLE = """\
spec: 1
name: together
hypothesis: none
timeframe: 1h
side: both
params:
  w: {range: [1, 2], step: 1, default: 1}
ensemble:
  combine: weighted
  min_confidence: 0.6
  members:
    one: {weight: w, use: other}
    two:
      weight: 2
      enter_long: rsi(14) < 30
      exit_long: rsi(14) > 50
      enter_short: rsi(14) > 70
      exit_short: rsi(14) < 50
stop: 2 * atr(14)
size: {risk: 0.01}
"""
OTHER = """\
spec: 1
name: other
hypothesis: none
timeframe: 4h
side: long
enter_long: close > open
exit_long: close < open
size: {fraction: 0.5}
"""


def data_of(text: str) -> Any:
    return load_text(text, "text", SpecError).data


def other(name: str) -> Spec:
    if name != "other":
        raise SpecError("no such strategy")
    return parse_spec(OTHER)


def reader_takes(data: object) -> bool:
    try:
        parse_spec(json.dumps(data), resolve=other)
    except SpecError:
        return False
    return True


def form_takes(data: object) -> bool:
    try:
        SpecForm.model_validate_json(json.dumps(data))
    except ValidationError:
        return False
    return True


def places(data: object, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return every place of a document, its own left out."""
    below = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    found: list[tuple[str | int, ...]] = []
    for key, value in below:
        found += [(*here, key), *places(value, (*here, key))]
    return found


def changed(data: object, place: tuple[str | int, ...], value: object, *, drop: bool = False) -> Any:
    """Return a copy with another value at a place, or without it."""
    again: Any = copy.deepcopy(data)
    inner = again
    for key in place[:-1]:
        inner = inner[key]
    if drop:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return again


def test_the_file_is_that_of_this_code() -> None:
    stored = (ROOT / "docs/spec.schema.json").read_text(encoding="utf-8")
    assert stored == schema_text(), "out of date: run `make docs`"


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_field_is_explained() -> None:
    models = {
        name: set(model.model_fields)
        for name in FIELDS
        if issubclass(model := getattr(spec_text, name), BaseModel)
    }
    assert {name: set(notes) for name, notes in FIELDS.items()} == models
    assert {"SpecForm", *SCHEMA["$defs"]} == set(FIELDS)
    parts = {"SpecForm": SCHEMA, **SCHEMA["$defs"]}
    shown = {m: {n: f["description"] for n, f in part["properties"].items()} for m, part in parts.items()}
    assert shown == FIELDS


@pytest.mark.parametrize("path", library(), ids=lambda path: path.stem)
def test_the_library_fits(path: Path) -> None:
    VALIDATOR.validate(data_of(path.read_text(encoding="utf-8")))


def test_a_strategy_with_every_field_fits() -> None:
    full, together = data_of(FULL), data_of(ENSEMBLE)
    assert {*full, *together} == set(SpecForm.model_fields)
    assert "ensemble" not in full
    for data in (full, together):
        assert reader_takes(data)
        VALIDATOR.validate(data)


@settings(max_examples=40, deadline=None)
@given(spec_texts())
def test_what_the_reader_takes_fits(text: str) -> None:
    spec = parse_spec(text)
    VALIDATOR.validate(data_of(text))
    VALIDATOR.validate(data_of(spec.canonical()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spec",), 2), (("name",), "Trend"), (("name",), "a-b"), (("hypothesis",), ""), (("timeframe",), "1x"),
        (("timeframe",), "0h"), (("side",), "up"), (("params", "n"), 3), (("params", "close"), {}),
        (("params", "n", "range"), [1]), (("params", "n", "step"), 0), (("params", "n", "low"), 1),
        (("define", "close"), "open"), (("define", "Level"), "close"), (("define", "level"), ""),
        (("enter_long",), 1), (("enter_long",), "  "), (("enter_long",), None), (("stop",), 2), (("stop",), True),
        (("stop",), None), (("take", 0, "at"), "1"), (("take", 0, "at"), "R"), (("take", 0, "at"), 1),
        (("take", 0, "close"), 0), (("take", 0, "close"), 1.5), (("take",), []), (("take",), [{"at": "1R"}]),
        (("take",), [{"at": "1R", "close": 0.1}] * 5), (("trail", "after"), "1"), (("trail", "distance"), 5),
        (("trail",), {}), (("trail", "distance"), ""), (("breakeven",), "yes"), (("time_stop",), 0), (("time_stop",), 2.5),
        (("size",), {}), (("size", "fraction"), 0.5), (("size",), {"risk": 0.1, "window": 5}),
        (("size", "risk"), 1e301), (("size",), 0.01), (("regimes",), ["up"]), (("regimes",), ["panic", "panic"]),
        (("regimes",), []), (("regime_exit",), 1), (("sise",), {"risk": 1}), (("side",), "long"),
        (("hypothesis",), "x" * 2001), (("enter_long",), "c" * 4097),
        (("series", "dxy", "lag"), "soon"), (("series", "dxy", "lag"), 1), (("series", "dxy", "max_age"), "5"),
        (("series", "dxy", "kind"), "level"), (("series", "dxy"), {"lag": "1d"}), (("series", "close"), None),
        (("events", "fomc", "known_ahead"), "yes"), (("events", "Fomc"), {}), (("events", "fomc", "at"), 1),
        (("ensemble",), {"combine": "vote", "members": {"a": {"use": "other"}, "b": {"use": "other"}}}),
        (("params",), {f"p{k}": {"range": [1, 2], "step": 1, "default": 1} for k in range(17)}),
    ],
)  # fmt: skip
def test_what_the_reader_refuses_does_not_fit(place: tuple[str | int, ...], value: object) -> None:
    data = changed(data_of(FULL), place, value)
    assert not reader_takes(data)
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("ensemble", "combine"), "mean"), (("ensemble", "combine"), "vote"), (("ensemble", "combine"), "first"),
        (("ensemble", "min_confidence"), None), (("ensemble", "min_confidence"), 0), (("ensemble", "min_confidence"), 1.1),
        (("ensemble", "members"), {"one": {"use": "other"}}), (("ensemble", "members", "One"), {"use": "other"}),
        (("ensemble", "members", "one", "weight"), 0), (("ensemble", "members", "one", "use"), "Other"),
        (("ensemble", "members", "one", "use"), None), (("ensemble", "members", "one", "enter_long"), "close > open"),
        (("ensemble", "members", "one", "stop"), "atr(14)"), (("ensemble", "members", "two", "exit_long"), None),
        (("ensemble", "members", "two", "exit_short"), None), (("ensemble", "members", "two", "enter_long"), 1),
        (("ensemble", "members", "two"), {"weight": 1}), (("ensemble",), None), (("ensemble", "members"), []),
        (("enter_long",), "close > open"), (("exit_short",), "close > open"), (("stop",), None),
        (("ensemble", "members"), {f"m{k}": {"use": "other"} for k in range(9)}),
    ],
)  # fmt: skip
def test_an_ensemble_that_the_reader_refuses_does_not_fit(
    place: tuple[str | int, ...], value: object
) -> None:
    data = changed(data_of(ENSEMBLE), place, value)
    assert not reader_takes(data)
    assert not VALIDATOR.is_valid(data)


def test_an_ensemble_needs_no_other_way_out() -> None:
    data = data_of(ENSEMBLE) | {"size": {"fraction": 0.5}}
    del data["stop"]
    assert reader_takes(data)
    VALIDATOR.validate(data)


def test_a_strategy_that_never_exits_does_not_fit() -> None:
    data = {name: value for name, value in data_of(FULL).items() if name in ("spec", "name", "hypothesis")}
    data |= {"timeframe": "1h", "side": "long", "enter_long": "close > open", "size": {"fraction": 0.5}}
    assert not VALIDATOR.is_valid(data)
    assert not reader_takes(data)
    data["time_stop"] = 5
    VALIDATOR.validate(data)
    assert reader_takes(data)


@pytest.mark.parametrize(
    ("text", "place"),
    [(text, place) for text in (FULL, ENSEMBLE) for place in places(data_of(text))],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_any_change_that_the_form_refuses_does_not_fit_and_what_the_reader_takes_does(
    text: str, place: tuple[str | int, ...]
) -> None:
    full = data_of(text)
    values = (
        None,
        True,
        0,
        1,
        -3,
        0.5,
        "",
        " ",
        "close > open",
        "2 * atr(5)",
        "1R",
        "n",
        "5d",
        "vote",
        "other",
        [],
        ["1R"],
        {},
        {"risk": 0.1},
        {"use": "other"},
    )
    for data in [changed(full, place, None, drop=True), *(changed(full, place, value) for value in values)]:
        fits = VALIDATOR.is_valid(data)
        assert form_takes(data) or not fits, data
        assert fits or not reader_takes(data), data
