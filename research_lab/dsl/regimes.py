"""Market regimes and macro states: conditions in the same language, in order of precedence.

Regimes say which strategies may enter. Macro states say how much any of them may: what stands above the
market, such as the dollar, dominance and central banks, is no reason to trade but one to trade less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from research_lab.dsl import compiler
from research_lab.dsl.dimensions import CONDITION
from research_lab.dsl.registry import INPUTS
from research_lab.dsl.spec import REGIME_CODES, Spec
from research_lab.dsl.tree import Node
from research_lab.engine import layout
from research_lab.engine.slot import CompiledRegimes
from research_lab.series import EventRule, SeriesRule
from research_lab.timeframe import timeframe_ms

MACRO_CODES: dict[str, int] = {
    "risk_on": layout.RISK_ON,
    "risk_small": layout.RISK_SMALL,
    "neutral": layout.NEUTRAL,
    "risk_off": layout.RISK_OFF,
}
MACRO_STATES: tuple[str, ...] = tuple(MACRO_CODES)


@dataclass(frozen=True, eq=False)
class MacroSet:
    """Macro states; the first whose condition is true while those before it are definitely not.

    Where that cannot be told, because a series is missing or stale, or where none is true, the state is
    neutral: nothing is entered on what is not known, and nothing is forced.

    Parameters
    ----------
    series, events : how external series and calendars are read, by name.
    """

    timeframe: str
    conditions: tuple[tuple[str, Node], ...]
    series: Mapping[str, SeriesRule] = field(default_factory=dict)
    events: Mapping[str, EventRule] = field(default_factory=dict)
    name: str = "macro.yaml"

    @property
    def step_ms(self) -> int:
        return timeframe_ms(self.timeframe)

    @property
    def markets(self) -> dict[str, Node]:
        """What it says of other markets: nothing."""
        return {}

    @cached_property
    def rows(self) -> dict[str, str]:
        """What its program reads besides the market: the name in the text, and what tells it from others."""
        read = frozenset().union(*(node.inputs for _, node in self.conditions))
        return {name: f"{name} {self.rule_of(name).text}" for name in sorted(read.difference(INPUTS))}

    def rule_of(self, name: str) -> SeriesRule | EventRule:
        """Return how an input besides the market's is read."""
        return self.series[name] if name in self.series else self.events[self.source_of(name)]

    def source_of(self, name: str) -> str:
        """Return the series or calendar behind an input: fomc of hours_to(fomc)."""
        return name.partition("(")[2].rstrip(")") or name

    @cached_property
    def hash(self) -> str:
        """SHA-256 over timeframe and conditions, and over how series are read."""
        return _hash(self.timeframe, self._read())

    def _read(self) -> tuple[tuple[str, Node], ...]:
        """Return the conditions with inputs by what tells them from others."""
        return tuple((name, node.with_inputs(self.rows)) for name, node in self.conditions)

    @cached_property
    def compiled(self) -> CompiledRegimes:
        """The states ready for the engine, their codes shifted past those of the regimes."""
        step_ms = timeframe_ms(self.timeframe)
        alone: list[Node] = []
        before: tuple[Node, ...] = ()
        for _, condition in self._read():
            alone.append(Node("and", (*before, condition), CONDITION) if before else condition)
            before = (*before, Node("not", (condition,), CONDITION))
        program, warmup = compiler.program_of(alone, step_ms, tuple(self.rows.values()))
        codes = np.array([layout.MACRO * MACRO_CODES[name] for name, _ in self.conditions], np.int64)
        return CompiledRegimes(program, codes, step_ms, warmup, layout.MACRO * layout.NEUTRAL)


@dataclass(frozen=True, eq=False)
class RegimeSet:
    """Named conditions; the first that is definitely true is the regime, none is "unknown".

    Parameters
    ----------
    macro : the macro states beside them; None where none are in use.
    """

    timeframe: str
    conditions: tuple[tuple[str, Node], ...]
    macro: MacroSet | None = None

    @cached_property
    def hash(self) -> str:
        """SHA-256 over timeframe and conditions, and over those of the macro states where there are such."""
        return _hash(self.timeframe, self.conditions, () if self.macro is None else (self.macro.hash,))

    @property
    def readers(self) -> tuple[MacroSet, ...]:
        """What reads external series."""
        return () if self.macro is None else (self.macro,)

    def read_by(self, spec: Spec) -> CompiledRegimes | None:
        """Return what decides on a strategy's entries; None where neither regimes nor macro states do."""
        return self.compiled if spec.regimes or self.macro is not None else None

    @cached_property
    def compiled(self) -> CompiledRegimes:
        """The regimes ready for the engine."""
        step_ms = timeframe_ms(self.timeframe)
        program, warmup = compiler.program_of([node for _, node in self.conditions], step_ms)
        codes = np.array([REGIME_CODES[name] for name, _ in self.conditions], np.int64)
        macro = None if self.macro is None else self.macro.compiled
        return CompiledRegimes(program, codes, step_ms, warmup, macro=macro)


def _hash(timeframe: str, conditions: tuple[tuple[str, Node], ...], more: tuple[str, ...] = ()) -> str:
    lines = [f"timeframe {timeframe}", *(f"{name}: {node.text}" for name, node in conditions), *more]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
