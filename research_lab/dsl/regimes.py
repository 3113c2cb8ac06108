"""Market regimes: conditions in the same language, in order of precedence, on one timeframe."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from research_lab.dsl import compiler
from research_lab.dsl.spec import REGIME_CODES
from research_lab.dsl.tree import Node
from research_lab.engine.slot import CompiledRegimes
from research_lab.timeframe import timeframe_ms


@dataclass(frozen=True, eq=False)
class RegimeSet:
    """Named conditions; the first that is definitely true is the regime, none is "unknown"."""

    timeframe: str
    conditions: tuple[tuple[str, Node], ...]

    @cached_property
    def hash(self) -> str:
        """SHA-256 over timeframe and conditions."""
        lines = [f"timeframe {self.timeframe}", *(f"{name}: {node.text}" for name, node in self.conditions)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @cached_property
    def compiled(self) -> CompiledRegimes:
        """The regimes ready for the engine."""
        step_ms = timeframe_ms(self.timeframe)
        program, warmup = compiler.program_of([node for _, node in self.conditions], step_ms)
        codes = np.array([REGIME_CODES[name] for name, _ in self.conditions], np.int64)
        return CompiledRegimes(program, codes, step_ms, warmup)
