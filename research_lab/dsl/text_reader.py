"""What every file of the language is read with: bytes within limits, a form, expressions in their place.

Strategies, regimes, macro states and models come through here. The text may come from anybody: nothing in it
is ever evaluated, imported or opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from research_lab.dsl import limits
from research_lab.dsl.dimensions import CONDITION, PRICE, RATIO, Dimension
from research_lab.dsl.expressions import Scope, is_dimension, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.regimes import MacroSet
from research_lab.dsl.registry import INPUTS, SERIES_KINDS
from research_lab.dsl.spec import CONDITIONS, Param, Spec
from research_lab.dsl.spec_text import EventForm, ModelUseForm, SeriesForm
from research_lab.dsl.tree import Node, constant
from research_lab.errors import DimensionError, GauntletError, LimitError, SpecError
from research_lab.series import EventRule, ModelRule, SeriesRule
from research_lab.strict_yaml import Document, Place, load_text, scalar
from research_lab.timeframe import timeframe_ms, timeframe_name

# Functions are told by their brackets: a parameter may be called like one that joined the language later.
RESERVED = frozenset({"and", "or", "not", "if", "else", "in", "is", "lambda", "r", *INPUTS})


_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_REMEDIES = {
    "bool_type": "write true or false",
    "list_type": "write a list: [...]",
    "model_type": "write its fields: {field: value}",
    "string_pattern_mismatch": "write a small letter, then small letters, digits and _, 48 at most",
}

Form = TypeVar("Form", bound=BaseModel)


def read_bytes(path: Path) -> bytes:
    """Return a strategy file's bytes, one more than allowed at most."""
    try:
        with path.open("rb") as file:
            return file.read(limits.BYTES + 1)
    except OSError as fault:
        raise SpecError(f"cannot be read: {fault.strerror}", str(path), remedy="give a YAML file") from None


def document_of(text: str | bytes, where: str) -> Document:
    """Return a text as plain data, or refuse one that is too large, no UTF-8 or no YAML."""
    raw = text.encode("utf-8", errors="surrogatepass") if isinstance(text, str) else text
    if len(raw) > limits.BYTES:
        raise LimitError(
            f"larger than {limits.BYTES} bytes", where, remedy="a strategy is a page, not a book"
        )
    try:
        plain = raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise SpecError(f"byte {fault.start} is not UTF-8", where, remedy="save it as UTF-8 text") from None
    try:
        return load_text(plain, where, SpecError, limits.VALUES)
    except RecursionError:
        raise LimitError("nested too deeply", where) from None


def form_of(form: type[Form], document: Document, where: str) -> Form:
    """Return a document as a form; what does not fit is raised with its line, and what would be taken."""
    if not isinstance(document.data, dict):
        raise SpecError("no fields found", where, 1, 1, "a file is a list of fields, such as name: ...")
    try:
        return form.model_validate_json(json.dumps(document.data, allow_nan=False))
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
    except ValueError:
        raise SpecError("a number that is not finite", where, remedy="write a finite number") from None
    place: Place = tuple(part for part in first["loc"] if part not in ("str", "int", "float"))
    place = tuple(part for part in place if not str(part).startswith("constrained-"))
    line, column = document.mark(place)
    field = ".".join(str(part)[:40] for part in place)
    message, remedy = str(first["msg"]), _REMEDIES.get(first["type"], "")
    if first["type"] == "extra_forbidden":
        message, remedy = "this field is not known", f"known: {', '.join(_form_at(form, place).model_fields)}"
    if first["type"] == "missing":
        message, remedy = "this field is missing", f"add {field}"
    if first["type"] == "string_type":
        is_expression = any(str(part).startswith("constrained-") for part in first["loc"])
        message, remedy = _no_text(document, place, is_expression=is_expression)
    raise SpecError(f"{field}: {message}", where, line, column, remedy)


def _no_text(document: Document, place: Place, *, is_expression: bool) -> tuple[str, str]:
    """Return what stands where a text or an expression belongs, and what to write instead."""
    value = document.data
    for part in place:
        value = value[part]
    seen = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else scalar(value)
    if is_expression and (place[0] in ("regimes", "macro") or place[-1] in CONDITIONS):
        return (
            f"{seen} is no condition",
            "write one, e.g. close > open; close > 0 always holds, close < 0 never",
        )
    if is_expression:
        return f"{seen} is no expression", "write a number or an expression of the language"
    if place[-1] in ("at", "after"):
        return f"{seen} is not in R", "write a multiple of the stop's distance: 1R, 1.5R"
    return f"{seen} is no text", "write a text; in quotes where it looks like something else"


def _form_at(form: type[BaseModel], place: Place) -> type[BaseModel]:
    """Return the form whose fields stand at a place, such as that of an ensemble's members."""
    for part in place:
        field = form.model_fields.get(str(part))
        inside = [] if field is None else [field.annotation]
        while inside:
            kind = inside.pop()
            inside += get_args(kind)
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                form = kind
    return form


class Reader:
    """What all files of the language share: declarations, expressions, and errors with their place."""

    def __init__(self, document: Document, where: str) -> None:
        self.document = document
        self.where = where
        self.step_ms = 0
        self.params: dict[str, Param] = {}
        self.fixed = FixedNumbers({})
        self.definitions: dict[str, Node] = {}
        self.takes_markets = False
        self.series: dict[str, SeriesRule] = {}
        self.events: dict[str, EventRule] = {}
        self.models: dict[str, ModelRule] = {}

    def fail(self, place: Place, what: str, remedy: str = "", error: type[SpecError] = SpecError) -> NoReturn:
        line, column = self.document.mark(place)
        raise error(what, self.where, line, column, remedy)

    def timeframe(self, timeframe: str) -> str:
        """Return the one name of a timeframe: 1d for 24h."""
        try:
            self.step_ms = timeframe_ms(timeframe)
            return timeframe_name(self.step_ms)
        except GauntletError as fault:
            self.fail(("timeframe",), fault.what, fault.remedy)

    def declare(
        self,
        series: Mapping[str, SeriesForm],
        events: Mapping[str, EventForm],
        models: Mapping[str, ModelUseForm] | None = None,
    ) -> None:
        """Take the declarations of external series, calendars and models."""
        models = models or {}
        taken = RESERVED.union(self.params)
        for field, names in (("series", series), ("events", events), ("models", models)):
            for name in names:
                if name in taken:
                    self.fail((field, name), f"{name} is taken", "choose another name")
            taken = taken.union(names)
        self.series = {name: self._series_rule(name, form) for name, form in series.items()}
        self.events = {name: EventRule(form.known_ahead) for name, form in events.items()}
        self.models = {name: self._model_rule(name, form) for name, form in models.items()}
        if len(self.series) + len(self.events) + len(self.models) > limits.SERIES:
            place = "series" if self.series else "events" if self.events else "models"
            seen = f"more than {limits.SERIES} series, calendars and models"
            self.fail((place,), seen, "use fewer", LimitError)

    def _series_rule(self, name: str, form: SeriesForm) -> SeriesRule:
        lag_ms = 0 if form.lag in (0, "0") else self.duration(("series", name, "lag"), form.lag)
        return SeriesRule(lag_ms, self.duration(("series", name, "max_age"), form.max_age), form.kind)

    def _model_rule(self, name: str, form: ModelUseForm) -> ModelRule:
        if not _HASH.fullmatch(form.hash):
            remedy = "write the 64 digits that pipeline model check prints"
            self.fail(("models", name, "hash"), f"{form.hash[:20]!r} is no hash of a model", remedy)
        return ModelRule(form.hash, self.duration(("models", name, "max_age"), form.max_age))

    def duration(self, place: Place, text: str | int) -> int:
        """Return a length of time in ms."""
        try:
            return timeframe_ms(str(text))
        except GauntletError:
            self.fail(place, f"{str(text)[:40]} is no length of time", "write a number and m, h, d or w: 1d")

    def refuse_unread(self, read: Spec | MacroSet) -> None:
        """Refuse declarations that nothing reads, and more input rows than there is room for."""
        for name in self.series:
            if name not in read.rows:
                self.fail(("series", name), f"nothing reads {name}", "leave it out")
        for name in self.models:
            if f'model("{name}")' not in read.rows:
                self.fail(("models", name), f"nothing reads {name}", "leave it out")
        for name in self.events:
            if not any(row.endswith(f"({name})") for row in read.rows):
                self.fail(("events", name), f"nothing reads {name}", "leave it out")
        if len(read.rows) > limits.SERIES:
            seen = f"{len(read.rows)} values from outside, more than {limits.SERIES}"
            self.fail((), seen, "use fewer series, calendars, models and markets", LimitError)

    def define(self, texts: Mapping[str, str | int | float]) -> None:
        for name, text in texts.items():
            if name in RESERVED.union(self.params, self.series, self.events):
                self.fail(("define", name), f"{name} is taken", "choose another name")
            self.definitions[name] = self.tree(("define", name), text)

    def tree(self, place: Place, text: str | int | float) -> Node:
        if isinstance(text, (int, float)):
            if abs(text) >= limits.NUMBER:
                self.fail(place, f"a number beyond {limits.NUMBER:g}", "write a smaller number", LimitError)
            return constant(float(text))
        line, column = self.document.mark(place)
        series = {name: SERIES_KINDS[rule.kind] for name, rule in self.series.items()}
        scope = Scope(
            self.params,
            self.fixed,
            self.definitions,
            self.where,
            line,
            column,
            self.step_ms,
            series,
            self.events,
            self.takes_markets,
            self.models,
        )
        return parse_expression(text, scope)

    def expression(self, place: Place, text: str | int | float, wanted: Dimension) -> Node:
        node = self.tree(place, text)
        if not is_dimension(node, wanted) or (node.dimension.zero and wanted != RATIO):
            field = place[-1] if place[0] == "ensemble" else place[0]
            what = f"{field} must be a {wanted}, but {node.text[:60]} is a {node.dimension}"
            self.fail(place, what, _example(wanted), DimensionError)
        return node

    def named(
        self, field: str, texts: Mapping[str, str | int | float], known: Sequence[str], noun: str
    ) -> tuple[tuple[str, Node], ...]:
        """Return conditions of the names known, as they stand in a field."""
        found = []
        for name, text in texts.items():
            if name not in known:
                self.fail((field, name), f"{name[:40]} is no {noun}", f"known: {', '.join(known)}")
            found.append((name, self.expression((field, name), text, CONDITION)))
        return tuple(found)


def _example(wanted: Dimension) -> str:
    if wanted == CONDITION:
        return "write a comparison, e.g. close > sma(close, 20)"
    return "write a distance in price, e.g. 2 * atr(14)" if wanted == PRICE else "write a number, e.g. 0.01"
