"""From the text of an ensemble to its conditions: members, their weights, and the strategies they use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn, Protocol

from research_lab.dsl.dimensions import CONDITION, Dimension
from research_lab.dsl.ensembles import CONFIDENCE_LEAST, Member, combine, stance_of
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.spec import CONDITIONS, Spec
from research_lab.dsl.spec_text import EnsembleForm, MemberForm, SpecForm
from research_lab.dsl.tree import Node
from research_lab.errors import SpecError
from research_lab.series import EventRule, ModelRule, SeriesRule
from research_lab.strict_yaml import Place
from research_lab.timeframe import timeframe_ms, timeframe_name

Resolver = Callable[[str], Spec]
Text = str | int | float


class Reader(Protocol):
    """What reads the strategy around the ensemble: expressions in its scope, and errors with their place."""

    step_ms: int
    series: dict[str, SeriesRule]
    events: dict[str, EventRule]
    models: dict[str, ModelRule]

    def fail(
        self, place: Place, what: str, remedy: str = "", error: type[SpecError] = SpecError
    ) -> NoReturn: ...
    def expression(self, place: Place, text: Text, wanted: Dimension) -> Node: ...
    def fixed_number(
        self, place: Place, text: Text, allowed: Callable[[float], bool], wanted: str, *, whole: bool = False
    ) -> Node: ...


class EnsembleReader:
    """Reads one ensemble.

    Parameters
    ----------
    reader : of the strategy. strategy, form : the fields of the strategy, and of its ensemble.
    resolve : gives a strategy by its name; None where no file may be opened.
    """

    def __init__(
        self, reader: Reader, strategy: SpecForm, form: EnsembleForm, resolve: Resolver | None
    ) -> None:
        self.reader = reader
        self.strategy = strategy
        self.form = form
        self.resolve = resolve

    def read(self) -> dict[str, Node]:
        """Return the conditions that the members make together."""
        confidence = self._confidence()
        members: list[Member] = []
        entered: set[str] = set()
        for name, form in self.form.members.items():
            place: Place = ("ensemble", "members", name)
            weight = self._weight((*place, "weight"), form)
            conditions, timeframe = self._conditions(place, form)
            members.append(Member(self._stance(place, conditions, timeframe), weight))
            entered |= conditions.keys()
        sides = [side for side in ("long", "short") if self.strategy.side in ("both", side)]
        for side in sides:
            if f"enter_{side}" not in entered:
                self.reader.fail(
                    ("ensemble", "members"), f"no member enters {side}", "add one, or change side"
                )
        try:
            return combine(self.form.combine, members, confidence, sides)
        except SpecError as fault:
            remedy = "use fewer members, or simpler ones"
            self.reader.fail(("ensemble",), f"written out: {fault.what}", remedy, type(fault))

    def _confidence(self) -> Node:
        weighted, text = self.form.combine == "weighted", self.form.min_confidence
        place: Place = ("ensemble", "min_confidence")
        if weighted and text is None:
            self.reader.fail(place, "min_confidence is missing", "add it, e.g. min_confidence: 0.6")
        if not weighted and text is not None:
            self.reader.fail(
                place, "min_confidence is for combine: weighted", "leave it out, or combine: weighted"
            )
        number = 1 if text is None else text
        return self.reader.fixed_number(
            place, number, lambda v: CONFIDENCE_LEAST <= v <= 1.0, "write a number above 0, up to 1"
        )

    def _weight(self, place: Place, form: MemberForm) -> Node:
        if form.weight is not None and self.form.combine != "weighted":
            self.reader.fail(place, "a weight is for combine: weighted", "leave it out, or combine: weighted")
        number = 1 if form.weight is None else form.weight
        return self.reader.fixed_number(place, number, lambda v: v > 0.0, "write a number above 0")

    def _conditions(self, place: Place, form: MemberForm) -> tuple[dict[str, Node], str]:
        """Return a member's conditions, and the timeframe they are of."""
        given = {name: getattr(form, name) for name in CONDITIONS if getattr(form, name) is not None}
        if form.use is not None:
            if given:
                self.reader.fail(place, f"both use and {next(iter(given))}", "give one of them")
            return self._used((*place, "use"), form.use)
        read = self.reader.expression
        written = {name: read((*place, name), text, CONDITION) for name, text in given.items()}
        return written, self.strategy.timeframe

    def _used(self, place: Place, name: str) -> tuple[dict[str, Node], str]:
        """Return the conditions of another strategy, its parameters at their defaults."""
        if self.resolve is None:
            self.reader.fail(
                place,
                "no other strategy can be used here, since no file is opened for this text",
                "write its conditions out, or load the strategy as a file",
            )
        try:
            used = self.resolve(name)
        except SpecError as fault:
            if fault.line:
                raise
            self.reader.fail(place, fault.what, fault.remedy, type(fault))
        if used.regimes:
            self.reader.fail(
                place,
                f"{name} trades in regimes of its own, which a member has not",
                "write its conditions out, and declare regimes for the ensemble",
            )
        if used.markets and used.step_ms != self.reader.step_ms:
            self.reader.fail(
                place,
                f"{name} asks other markets on bars of {used.timeframe}, and on() here means bars of "
                f"{timeframe_name(self.reader.step_ms)}",
                "use it on its own timeframe, or write its conditions out",
            )
        reader = self.reader
        declared: dict[str, SeriesRule | EventRule | ModelRule]
        declared = {**reader.series, **reader.events, **reader.models}
        read: dict[str, SeriesRule | EventRule | ModelRule] = {**used.series, **used.events, **used.models}
        for source, rule in read.items():
            if declared.get(source) != rule:
                self.reader.fail(
                    place,
                    f"{name} reads {source}, which is not declared alike here",
                    f"declare {source}: {rule.text}",
                )
        return {key: root.bind(used.values) for key, root in used.conditions.items()}, used.timeframe

    def _stance(self, place: Place, conditions: Mapping[str, Node], timeframe: str) -> Node:
        """Return where a member would stand, as of the last complete bar of its timeframe."""
        try:
            stance = stance_of(conditions)
            if timeframe_ms(timeframe) == self.reader.step_ms:
                return stance
            scope = Scope(definitions={"stance": stance}, step_ms=self.reader.step_ms)
            return parse_expression(f'tf("{timeframe}", stance)', scope)
        except SpecError as fault:
            self.reader.fail(place, fault.what, fault.remedy, type(fault))
