"""A strategy: read from text, checked, bound to parameter values, hashed and compiled."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from research_lab.dsl import compiler
from research_lab.dsl.families import family_names
from research_lab.dsl.needs import needed_inputs
from research_lab.dsl.registry import INPUTS
from research_lab.dsl.tree import Node, constant, is_same, number_text
from research_lab.dsl.union_compiler import Template, union_of
from research_lab.engine import layout
from research_lab.engine.jit import FloatArray
from research_lab.engine.slot import Compiled, CompiledUnion
from research_lab.errors import SpecError, UsageError
from research_lab.series import EventRule, ModelRule, SeriesRule
from research_lab.strict_yaml import scalar
from research_lab.timeframe import timeframe_ms, timeframe_name

REGIMES: tuple[str, ...] = ("trend_up", "trend_down", "range_lowvol", "range_highvol", "panic")
REGIME_CODES: dict[str, int] = {name: code for code, name in enumerate(REGIMES, start=1)}
CONDITIONS: tuple[str, ...] = ("enter_long", "exit_long", "enter_short", "exit_short")


@dataclass(frozen=True)
class Param:
    """A parameter's range (both ends included), the step between values, and its value now."""

    low: float
    high: float
    step: float
    default: float

    @property
    def n_values(self) -> int:
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1

    @cached_property
    def values(self) -> tuple[float, ...]:
        """Every value that tuning may take, ascending."""
        return tuple(round(self.low + k * self.step, 12) for k in range(self.n_values))


@dataclass(frozen=True, eq=False)
class Spec:
    """A strategy, with its trees over parameters.

    Parameters
    ----------
    name, hypothesis : what it is called and why it should work; no part of its identity.
    timeframe, side : such as "4h"; "long", "short" or "both".
    params : by name.
    conditions : trees of `CONDITIONS` that are given.
    stop, trail : distances in price, or None. trail_after : gain in R that arms the trail, 0 at once.
    size_kind, size : `layout.RISK` or `layout.FRACTION`, and the share of equity.
    takes : (multiple of R, share of what remains) each.
    time_stop : bars, or None. breakeven, regime_exit : flags. regimes : where it may enter; empty for all.
    series, events, models : how external series, calendars and models' scores are read, by name.
    """

    name: str
    hypothesis: str
    timeframe: str
    side: str
    params: Mapping[str, Param]
    conditions: Mapping[str, Node]
    stop: Node | None
    trail: Node | None
    trail_after: Node
    size_kind: int
    size: Node
    takes: tuple[tuple[Node, Node], ...]
    time_stop: Node | None
    breakeven: bool
    regimes: tuple[str, ...]
    regime_exit: bool
    series: Mapping[str, SeriesRule] = field(default_factory=dict)
    events: Mapping[str, EventRule] = field(default_factory=dict)
    models: Mapping[str, ModelRule] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.canonical()

    @property
    def step_ms(self) -> int:
        return timeframe_ms(self.timeframe)

    @property
    def values(self) -> dict[str, float]:
        """The parameters' values now."""
        return {name: param.default for name, param in self.params.items()}

    @property
    def n_combinations(self) -> int:
        return math.prod(param.n_values for param in self.params.values())

    @property
    def n_nodes(self) -> int:
        """Operations of all trees, definitions written out: the strategy's complexity."""
        return sum(root.size for root in self.roots() if root is not None)

    @property
    def needs(self) -> frozenset[str]:
        """Names of the inputs that it cannot do without."""
        return needed_inputs(root for root in self.roots() if root is not None)

    @property
    def inputs_read(self) -> frozenset[str]:
        """Names of all inputs that stand in it."""
        return frozenset().union(*(root.inputs for root in self.roots() if root is not None))

    @cached_property
    def rows(self) -> dict[str, str]:
        """What its programs read besides the market: the name in the text, and what tells it from others."""
        names = sorted(self.inputs_read.difference(INPUTS))
        return {name: f"{name} {self._read_how(name)}" for name in names}

    def _read_how(self, name: str) -> str:
        return self.timeframe if name in self.markets else self.rule_of(name).text

    @cached_property
    def markets(self) -> dict[str, Node]:
        """What it says of other markets, by its text."""
        found = frozenset[Node]().union(*(root.markets for root in self.roots() if root is not None))
        return {node.text: node for node in found}

    def rule_of(self, name: str) -> SeriesRule | EventRule | ModelRule:
        """Return how a series, calendar or model is read that stands in the text by this name."""
        if name in self.series:
            return self.series[name]
        declared = self.models if name.startswith("model(") else self.events
        return declared[self.source_of(name)]

    def source_of(self, name: str) -> str:
        """Return what is behind an input: fomc of hours_to(fomc), a model's name, or a market's symbol."""
        if name in self.markets:
            return str(self.markets[name].value)
        return name.partition("(")[2].rstrip(")").strip('"') or name

    def bind(self, values: Mapping[str, float]) -> Spec:
        """Return the strategy with other values of its parameters.

        Raises
        ------
        UsageError : for a name that is not a parameter, or a value outside its range.
        """
        for name, value in values.items():
            param = self.params.get(name)
            if param is None:
                raise UsageError(f"{name} is no parameter", self.name, f"it has {', '.join(self.params)}")
            if not param.low <= value <= param.high:
                raise UsageError(f"{name}={value:g} lies outside {param.low:g} to {param.high:g}", self.name)
        params = {
            name: replace(param, default=float(values.get(name, param.default)))
            for name, param in self.params.items()
        }
        return replace(self, params=params)

    def grid(self) -> list[dict[str, float]]:
        """Return every combination of parameter values, the last parameter changing fastest."""
        names = list(self.params)
        combinations = itertools.product(*(self.params[name].values for name in names))
        return [dict(zip(names, combination, strict=True)) for combination in combinations]

    def roots(self) -> list[Node | None]:
        """Return the trees of the signals, in the engine's order, with parameters."""
        return [*(self.conditions.get(name) for name in CONDITIONS), self.stop, self.trail, self.size]

    def _trees(self) -> list[Node | None]:
        """Return every tree, those of numbers fixed before the run last."""
        takes = [node for take in self.takes for node in take]
        return [*self.roots(), self.trail_after, self.time_stop, *takes]

    def bound_roots(self) -> list[Node | None]:
        """Return the trees of the signals, in the engine's order, with parameters replaced.

        Inputs besides the market's stand there by what tells them from others.
        """
        bound = [None if root is None else root.bind(self.values) for root in self.roots()]
        if not self.rows:
            return bound
        return [None if root is None else root.with_inputs(self.rows) for root in bound]

    @cached_property
    def identity(self) -> str:
        """What is traded, parameters replaced by their values: the text that is hashed."""
        values = self.values
        return self._said(lambda node: "" if node is None else node.bind(values).text)

    def _said(self, bound: Callable[[Node | None], str]) -> str:
        """Return everything that is traded, line by line, each tree as the text that `bound` gives."""
        lines = [f"timeframe {self.step_ms}", f"side {self.side}"]
        lines += [f"{name} {bound(self.conditions.get(name))}" for name in CONDITIONS]
        lines += [f"stop {bound(self.stop)}", f"trail {bound(self.trail)} after {bound(self.trail_after)}"]
        lines += [f"size {self.size_kind} {bound(self.size)}"]
        lines += [f"take {bound(at)} close {bound(share)}" for at, share in self.takes]
        lines += [f"time_stop {bound(self.time_stop)}", f"breakeven {self.breakeven}"]
        lines += [f"regimes {' '.join(sorted(self.regimes))} exit {self.regime_exit}"]
        lines += [f"{what} {name} {rule.text}" for what, name, rule in self._declared()]
        return "\n".join(lines)

    def _declared(self) -> list[tuple[str, str, SeriesRule | EventRule | ModelRule]]:
        """Return the declarations of series, calendars and models in the order of their names."""
        found: list[tuple[str, str, SeriesRule | EventRule | ModelRule]] = []
        found += [("series", name, self.series[name]) for name in sorted(self.series)]
        found += [("events", name, self.events[name]) for name in sorted(self.events)]
        return [*found, *(("models", name, self.models[name]) for name in sorted(self.models))]

    @cached_property
    def hash(self) -> str:
        """The candidate's identity: SHA-256 over what is traded, whatever it is called."""
        return hashlib.sha256(self.identity.encode()).hexdigest()

    @cached_property
    def template_hash(self) -> str:
        """The family's identity: SHA-256 over what is traded, each parameter told by range and first use.

        Neither names nor order of the parameters count, nor their values now.
        """
        ranges = {name: f"[{p.low!r}, {p.high!r}, {p.step!r}]" for name, p in self.params.items()}
        names = family_names(self._trees(), ranges)
        text = self._said(lambda node: "" if node is None else node.renamed(names).text)
        return hashlib.sha256("\n".join([text, *sorted(names.values())]).encode()).hexdigest()

    def says_the_same(self, other: Spec) -> bool:
        """Whether another strategy is this one in every word: equal trees, then, or at least equal hashes."""
        plain = [
            (s.name, s.hypothesis, s.step_ms, s.side, [*s.params.items()], [*s.conditions], s.size_kind,
             len(s.takes), s.breakeven, s.regimes, s.regime_exit)
            for s in (self, other)
        ]  # fmt: skip
        if plain[0] == plain[1] and all(map(is_same, self._trees(), other._trees())):
            return True
        said = [(s.name, s.hypothesis, s.hash, s.template_hash) for s in (self, other)]
        return said[0] == said[1]

    def canonical(self) -> str:
        """Return the strategy as canonical YAML, which parses back to the same strategy."""
        lines = [
            "spec: 1",
            f"name: {scalar(self.name)}",
            f"hypothesis: {scalar(self.hypothesis)}",
            f"timeframe: {timeframe_name(self.step_ms)}",
            f"side: {self.side}",
        ]
        if self.params:
            lines.append("params:")
        for name, p in self.params.items():
            low, high, step, now = (number_text(v) for v in (p.low, p.high, p.step, p.default))
            lines.append(f"  {name}: {{range: [{low}, {high}], step: {step}, default: {now}}}")
        for field_name in ("series", "events", "models"):
            declared = [(name, rule) for what, name, rule in self._declared() if what == field_name]
            lines += [f"{field_name}:"] * bool(declared)
            lines += [f"  {name}: {rule.text}" for name, rule in declared]
        lines += [f"{name}: {scalar(root.text)}" for name, root in self.conditions.items()]
        if self.stop is not None:
            lines.append(f"stop: {scalar(self.stop.text)}")
        if self.takes:
            lines.append("take:")
        lines += [f"  - {{at: {scalar(f'{a.text} R')}, close: {scalar(c.text)}}}" for a, c in self.takes]
        if self.trail is not None:
            at_once = self.trail_after == constant(0.0)
            after = "" if at_once else f", after: {scalar(f'{self.trail_after.text} R')}"
            lines.append(f"trail: {{distance: {scalar(self.trail.text)}{after}}}")
        if self.breakeven:
            lines.append("breakeven: true")
        if self.time_stop is not None:
            lines.append(f"time_stop: {scalar(self.time_stop.text)}")
        kind = "risk" if self.size_kind == layout.RISK else "fraction"
        lines.append(f"size: {{{kind}: {scalar(self.size.text)}}}")
        if self.regimes:
            lines.append(f"regimes: [{', '.join(self.regimes)}]")
        if self.regime_exit:
            lines.append("regime_exit: true")
        return "\n".join(lines) + "\n"

    def plan(self, warmup: int) -> FloatArray:
        """Return what the strategy fixes once, for the broker."""
        plan = np.zeros(layout.PLAN_SIZE)
        plan[layout.SIZE_KIND] = self.size_kind
        plan[layout.TIME_STOP] = 0.0 if self.time_stop is None else self._number(self.time_stop)
        plan[layout.TRAIL_AFTER] = self._number(self.trail_after)
        plan[layout.BREAKEVEN] = self.breakeven
        plan[layout.REGIME_MASK] = sum(1 << REGIME_CODES[name] for name in self.regimes)
        plan[layout.REGIME_EXIT] = self.regime_exit
        plan[layout.WARMUP] = warmup
        plan[layout.N_TAKES] = len(self.takes)
        for k, (at, share) in enumerate(self.takes):
            plan[layout.TAKE_AT + k] = self._number(at)
            plan[layout.TAKE_SHARE + k] = self._number(share)
        return plan

    @property
    def plan_has_params(self) -> bool:
        """Whether the plan depends on parameters: a take, a time stop or a trail's arming that is one."""
        nodes = [self.trail_after, self.time_stop, *(node for take in self.takes for node in take)]
        return any(node.params for node in nodes if node is not None)

    def _number(self, node: Node) -> float:
        bound = node.bind(self.values)
        if bound.op != "constant" or bound.value is None:
            raise SpecError(
                f"{node.text} has no fixed value", self.name, remedy="write a number or a parameter"
            )
        return float(bound.value)


def compile_spec(spec: Spec) -> Compiled:
    """Return a strategy ready for the engine, at its parameters' values."""
    program, warmup = compiler.program_of(spec.bound_roots(), spec.step_ms, tuple(spec.rows.values()))
    return Compiled(program, spec.plan(warmup), spec.step_ms)


def check_compiles(specs: Sequence[Spec]) -> None:
    """Refuse what `compile_spec` would refuse, for strategies that share most of what they say.

    Raises
    ------
    SpecError : for a number that is none, a window that is none. LimitError for too much of something.
    """
    series = tuple(specs[0].rows.values())
    compiler.check_programs([spec.bound_roots() for spec in specs], specs[0].step_ms, series)
    for spec in specs:
        spec.plan(warmup=1)


def compile_union(specs: Sequence[Spec]) -> CompiledUnion:
    """Return strategies of one timeframe as one program with their plans, for a sweep."""
    if len({spec.timeframe for spec in specs}) != 1 and len({spec.step_ms for spec in specs}) != 1:
        raise UsageError("strategies of different timeframes in one sweep", remedy="sweep each timeframe")
    templates = _templates(specs)
    series = tuple(sorted({row for template in templates for row in specs[template.places[0]].rows.values()}))
    union, warmups = union_of(templates, specs[0].step_ms, series)
    plans = _plans(specs)
    plans[:, layout.WARMUP] = warmups
    return CompiledUnion(union, plans, specs[0].step_ms)


def _plans(specs: Sequence[Spec]) -> FloatArray:
    """Return one plan a strategy, made once for those that share one without parameters."""
    plans: list[FloatArray] = []
    made: dict[tuple[object, ...], FloatArray | None] = {}
    for spec in specs:
        key = (id(spec.takes), id(spec.time_stop), id(spec.trail_after), id(spec.regimes), spec.size_kind,
               spec.breakeven, spec.regime_exit)  # fmt: skip
        if key not in made:
            made[key] = None if spec.plan_has_params else spec.plan(0)
        plan = made[key]
        plans.append(spec.plan(0) if plan is None else plan)
    return np.array(plans)


def _templates(specs: Sequence[Spec]) -> list[Template]:
    """Return strategies by their trees and by what names in them mean: those bound from one file share both."""
    members: dict[tuple[object, ...], list[int]] = {}
    for place, spec in enumerate(specs):
        shared = map(
            id, (spec.conditions, spec.stop, spec.trail, spec.size, spec.series, spec.events, spec.models)
        )
        members.setdefault((*shared, *spec.params), []).append(place)
    found = []
    for places in members.values():
        first = specs[places[0]]
        roots = [None if root is None else root.with_inputs(first.rows) for root in first.roots()]
        names = tuple(first.params)
        values = [[param.default for param in specs[place].params.values()] for place in places]
        found.append(
            Template(tuple(roots), names, np.array(values).reshape(len(places), -1), np.array(places))
        )
    return found


def warmup_bars(spec: Spec) -> int:
    """Return how many bars of its timeframe the strategy must have seen before it may decide."""
    return compiler.program_of(spec.bound_roots(), spec.step_ms, tuple(spec.rows.values()))[1]
