"""From a strategy file to a `Spec`: limits first, then form, then expressions and what they must be.

The text may come from anybody. Nothing in it is ever evaluated, imported or opened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from research_lab.dsl import limits
from research_lab.dsl.arguments import number_of
from research_lab.dsl.compiler import check_programs
from research_lab.dsl.dimensions import CONDITION, PRICE, RATIO
from research_lab.dsl.ensemble_reader import EnsembleReader, Resolver
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.regimes import MACRO_STATES, MacroSet, RegimeSet
from research_lab.dsl.spec import CONDITIONS, REGIMES, Param, Spec, check_compiles
from research_lab.dsl.spec_text import (
    DeclarationForm,
    MacroForm,
    ParamForm,
    RegimeForm,
    SpecForm,
)
from research_lab.dsl.text_reader import RESERVED, Reader, document_of, form_of, read_bytes
from research_lab.dsl.tree import Node, constant
from research_lab.engine import layout
from research_lab.errors import LimitError, SpecError
from research_lab.series import EventRule, ModelRule, SeriesRule
from research_lab.strict_yaml import Document, Place
from research_lab.timeframe import timeframe_ms

VOLATILITY_WINDOW = 64
_YEAR_MS = 365 * 86_400_000
LIBRARY = Path(__file__).resolve().parents[1] / "strategies"


def load_spec(path: Path) -> Spec:
    """Read a strategy file; see `parse_spec`. It may use those of its folder and of the library by name."""
    return parse_spec(read_bytes(path), str(path), _beside((path.resolve(),)))


def _beside(chain: tuple[Path, ...]) -> Resolver:
    """Return what finds the strategies that a file uses.

    Parameters
    ----------
    chain : the files that use each other, the one that asks last.
    """

    def resolve(name: str) -> Spec:
        for folder in (chain[-1].parent, LIBRARY):
            path = (folder / f"{name}.yaml").resolve()
            if path in chain:
                raise SpecError(f"{name} uses itself", remedy="use another strategy")
            if path.is_file() and len(chain) > limits.USES:
                raise LimitError(f"more than {limits.USES} strategies use each other", remedy="write one out")
            if path.is_file():
                return parse_spec(read_bytes(path), str(path), _beside((*chain, path)))
        remedy = f"put {name}.yaml into the folder {chain[-1].parent}, or write the conditions out"
        raise SpecError(f"no strategy called {name} in the folder or in the library", remedy=remedy)

    return resolve


def parse_spec(text: str | bytes, where: str = "spec", resolve: Resolver | None = None) -> Spec:
    """Return the strategy that a YAML text describes.

    Parameters
    ----------
    resolve : gives a strategy by its name, for ensembles; None refuses them, and no file is ever opened.

    Raises
    ------
    SpecError : naming file, line and column, what was seen, and what would be taken. LimitError for a
        text too large, DimensionError for expressions that do not fit.
    """
    spec = _read(text, where, resolve)
    _check_compiles(spec, where)  # first: what is too large is read once only
    _check_comes_back(spec, text, where)
    return spec


def _read(text: str | bytes, where: str, resolve: Resolver | None = None) -> Spec:
    document = document_of(text, where)
    return _SpecReader(document, form_of(SpecForm, document, where), where, resolve).read()


def _check_comes_back(spec: Spec, text: str | bytes, where: str) -> None:
    """Refuse what is too large once definitions are written out: the canonical text is what is kept."""
    remedy, canonical = "make it simpler", spec.canonical()
    if text in (canonical, canonical.encode(errors="surrogatepass")):
        return  # it was read just now
    try:
        again = _read(canonical, where)
    except SpecError as fault:
        raise LimitError(f"with definitions written out: {fault.what}", where, remedy=remedy) from None
    if not spec.says_the_same(again):
        raise LimitError("its canonical text does not read back as the same strategy", where, remedy=remedy)


def _check_compiles(spec: Spec, where: str) -> None:
    """Compile the strategy with the longest windows and with its own, so that no value fails later."""
    ends = [{name: getattr(p, end) for name, p in spec.params.items()} for end in ("high", "default")]
    try:
        check_compiles([spec.bind(values) for values in ends[: 1 if ends[0] == ends[1] else 2]])
    except SpecError as fault:
        raise type(fault)(fault.what, where, 1, 1, fault.remedy) from None


def parse_regimes(text: str | bytes, where: str = "regimes") -> RegimeSet:
    """Return the regimes that a YAML text describes, in order of precedence."""
    document = document_of(text, where)
    form = form_of(RegimeForm, document, where)
    reader = Reader(document, where)
    timeframe = reader.timeframe(form.timeframe)
    reader.define(form.define)
    regimes = RegimeSet(timeframe, reader.named("regimes", form.regimes, REGIMES, "regime"))
    try:
        check_programs([[node for _, node in regimes.conditions]], timeframe_ms(timeframe), ())
    except SpecError as fault:
        raise type(fault)(fault.what, where, 1, 1, fault.remedy) from None
    return regimes


def parse_macro(text: str | bytes, where: str = "macro") -> MacroSet:
    """Return the macro states that a YAML text describes, in order of precedence."""
    document = document_of(text, where)
    form = form_of(MacroForm, document, where)
    reader = Reader(document, where)
    timeframe = reader.timeframe(form.timeframe)
    reader.declare(form.series, form.events)
    reader.define(form.define)
    states = reader.named("macro", form.macro, MACRO_STATES, "macro state")
    macro = MacroSet(timeframe, states, reader.series, reader.events)
    reader.refuse_unread(macro)
    try:
        macro.compiled  # noqa: B018 - compiled once and kept
    except SpecError as fault:
        raise type(fault)(fault.what, where, 1, 1, fault.remedy) from None
    return macro


def parse_declarations(
    text: str | bytes, where: str = "series"
) -> Mapping[str, SeriesRule | EventRule | ModelRule]:
    """Return the series, calendars and models that a YAML text declares, read by anything or not."""
    document = document_of(text, where)
    form = form_of(DeclarationForm, document, where)
    reader = Reader(document, where)
    reader.declare(form.series, form.events, form.models)
    return {**reader.series, **reader.events, **reader.models}


def load_regimes(path: Path, macro: Path | None = None) -> RegimeSet:
    """Read a regimes file, and the macro states of another where one is given."""
    states = None if macro is None else parse_macro(read_bytes(macro), str(macro))
    return replace(parse_regimes(read_bytes(path), str(path)), macro=states)


def checked_param(name: str, form: ParamForm) -> Param:
    """Return the parameter that a form describes.

    Raises
    ------
    SpecError : for a name that is taken or a range that does not hold; it names no place.
    """
    low, high = (float(value) for value in form.range)
    if name in RESERVED:
        raise SpecError(f"{name} is taken", remedy="choose another name")
    if not low <= high:
        raise SpecError(f"range [{low:g}, {high:g}] is upside down", remedy="write the lower end first")
    if not form.step > 0 or (high - low) / form.step > limits.PARAM_VALUES:
        raise SpecError(
            f"step {form.step:g} does not fit the range",
            remedy=f"write a step above zero, for {limits.PARAM_VALUES} values at most",
        )
    if not low <= form.default <= high:
        what = f"default {form.default:g} lies outside {low:g} to {high:g}"
        raise SpecError(what, remedy="move one of them")
    return Param(low, high, float(form.step), float(form.default))


def volatility_text(window: int, step_ms: int) -> str:
    """Return what target_vol divides by: the annual deviation of the last log returns, in the language."""
    return f"std(log(close / prev(close)), {window}) * {math.sqrt(_YEAR_MS / step_ms)!r}"


class _SpecReader(Reader):
    def __init__(
        self, document: Document, form: SpecForm, where: str, resolve: Resolver | None = None
    ) -> None:
        super().__init__(document, where)
        self.form = form
        self.resolve = resolve
        self.takes_markets = True

    def read(self) -> Spec:
        form = self.form
        timeframe = self.timeframe(form.timeframe)
        for name, param in form.params.items():
            self.params[name] = self._param(name, param)
        most = limits.COMBINATIONS
        if math.prod(param.n_values for param in self.params.values()) > most:
            self.fail(("params",), f"more than {most} combinations", "use larger steps", LimitError)
        self.fixed = FixedNumbers({name: (p.low, p.high, p.step) for name, p in self.params.items()})
        self.declare(form.series, form.events, form.models)
        self.define(form.define)
        conditions = self._conditions()
        stop = None if form.stop is None else self.expression(("stop",), form.stop, PRICE)
        trail = None
        if form.trail is not None:
            trail = self.expression(("trail", "distance"), form.trail.distance, PRICE)
        size_kind, size = self._size()
        spec = Spec(
            form.name, form.hypothesis, timeframe, form.side, self.params, conditions, stop, trail,
            self._trail_after(), size_kind, size, self._takes(), self._time_stop(), form.breakeven,
            tuple(form.regimes), form.regime_exit, self.series, self.events, self.models,
        )  # fmt: skip
        self._check_together(spec)
        return spec

    def _param(self, name: str, form: ParamForm) -> Param:
        try:
            return checked_param(name, form)
        except SpecError as fault:
            self.fail(("params", name), fault.what, fault.remedy)

    def _conditions(self) -> dict[str, Node]:
        given = {name: getattr(self.form, name) for name in CONDITIONS}
        if self.form.ensemble is not None:
            for name in CONDITIONS:
                if given[name] is not None:
                    self.fail((name,), f"{name} beside an ensemble", "write it into a member")
            return EnsembleReader(self, self.form, self.form.ensemble, self.resolve).read()
        for name, text in given.items():
            if text is not None and self.form.side not in ("both", name.split("_")[1]):
                self.fail((name,), f"{name} with side: {self.form.side}", "set side: both, or leave it out")
        for side in ("long", "short"):
            if self.form.side in ("both", side) and given[f"enter_{side}"] is None:
                self.fail(("side",), f"enter_{side} is missing", f"add enter_{side}, or change side")
        return {
            name: self.expression((name,), text, CONDITION)
            for name, text in given.items()
            if text is not None
        }

    def fixed_number(
        self,
        place: Place,
        text: str | int | float,
        allowed: Callable[[float], bool],
        wanted: str,
        *,
        whole: bool = False,
    ) -> Node:
        """Return a number fixed before the run, checked at every value of its parameter.

        Parameters
        ----------
        allowed : true on an interval, or on the whole numbers of an interval where `whole` says so.
        """
        node = self.tree(place, text)
        if node.inputs or not node.dimension.literal or len(node.params) > 1:
            self.fail(place, f"{str(text)[:60]} is not a fixed number", "write a number or one parameter")
        try:
            values = self.fixed.values(node, whole=whole).tolist()
        except SpecError as fault:
            self.fail(place, fault.what, fault.remedy, type(fault))
        now = node.bind({name: self.params[name].default for name in node.params})
        values.append(float(now.value or 0.0) if now.op == "constant" else math.nan)
        if not all(map(allowed, values)):
            self.fail(place, f"{str(text)[:60]} does not fit", wanted)
        return node

    def _multiple_of_r(self, place: Place, text: str, least: float) -> Node:
        multiple = text.strip().removesuffix("R").rstrip()
        if not multiple or multiple == text.strip():
            self.fail(
                place, f"{text[:40]!r} is not in R", "write a multiple of the stop's distance: 1R, 1.5R"
            )
        allowed = f"write {'0R or more' if least == 0 else 'more than 0R'}"
        return self.fixed_number(
            place, multiple.removesuffix("*"), lambda v: v > 0 or (least == 0 and v == 0), allowed
        )

    def _takes(self) -> tuple[tuple[Node, Node], ...]:
        takes = []
        for k, form in enumerate(self.form.take):
            at = self._multiple_of_r(("take", k, "at"), form.at, least=0.001)
            share = self.fixed_number(
                ("take", k, "close"), form.close, lambda v: 0.0 < v <= 1.0, "write a share above 0, up to 1"
            )
            takes.append((at, share))
        return tuple(takes)

    def _refuse_idle_takes(self, spec: Spec) -> None:
        """Refuse takes that would never act: behind one that leaves nothing, or not beyond the one before."""
        pairs = zip(spec.takes, spec.takes[1:], strict=False)
        for k, ((level, share), (next_level, _)) in enumerate(pairs, start=1):
            if share == constant(1.0):
                self.fail(("take", k), "the take before closes all that remains", "leave this one out")
            before, now = number_of(level), number_of(next_level)
            if now <= before:
                told = f"a take at {now:g}R after one at {before:g}R"
                self.fail(("take", k, "at"), told, "write takes in the order in which a price reaches them")

    def _trail_after(self) -> Node:
        if self.form.trail is None or self.form.trail.after is None:
            return constant(0.0)
        return self._multiple_of_r(("trail", "after"), self.form.trail.after, least=0)

    def _time_stop(self) -> Node | None:
        if self.form.time_stop is None:
            return None
        return self.fixed_number(
            ("time_stop",),
            self.form.time_stop,
            lambda v: v >= 1 and v.is_integer(),
            "write whole bars, 1 or more",
            whole=True,
        )

    def _size(self) -> tuple[int, Node]:
        form = self.form.size
        given = [n for n in ("risk", "fraction", "target_vol") if getattr(form, n) is not None]
        if len(given) != 1:
            self.fail(("size",), f"size has {given or 'nothing'}", "give one of risk, fraction, target_vol")
        kind = given[0]
        if form.window is not None and kind != "target_vol":
            self.fail(("size", "window"), "window without target_vol", "leave it out")
        size = self.expression(("size", kind), getattr(form, kind), RATIO)
        if kind != "target_vol":
            return (layout.RISK if kind == "risk" else layout.FRACTION), size
        window = VOLATILITY_WINDOW if form.window is None else form.window
        volatility = volatility_text(window, timeframe_ms(self.form.timeframe))
        return layout.FRACTION, self.tree(("size",), f"({size.text}) / ({volatility})")

    def _check_together(self, spec: Spec) -> None:
        self.refuse_unread(spec)
        if spec.takes:
            self._refuse_idle_takes(spec)
        if spec.stop is None:
            for needed, place in (
                (bool(spec.takes), ("take",)),
                (spec.size_kind == layout.RISK, ("size",)),
                (self.form.trail is not None and self.form.trail.after is not None, ("trail", "after")),
            ):
                if needed:
                    self.fail(
                        place, f"{place[0]} needs R, and there is no stop", "add stop: ..., e.g. 2 * atr(14)"
                    )
        exits = [spec.conditions.get("exit_long"), spec.conditions.get("exit_short"), spec.stop, spec.trail]
        if not any(exits) and spec.time_stop is None:
            self.fail((), "it never exits", "add an exit condition, a stop, a trail or a time stop")
        if spec.breakeven and not spec.takes:
            self.fail(("breakeven",), "breakeven acts after the first take, and there is none", "add take")
        for k, name in enumerate(spec.regimes):
            if name not in REGIMES:
                self.fail(("regimes", k), f"{name[:40]} is no regime", f"known: {', '.join(REGIMES)}")
        if len(set(spec.regimes)) != len(spec.regimes):
            self.fail(("regimes",), "a regime stands twice", "name each once")
        if spec.regime_exit and not spec.regimes:
            self.fail(("regime_exit",), "regime_exit without regimes", "name the regimes it may trade in")
