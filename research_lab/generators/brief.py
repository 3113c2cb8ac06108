"""A brief: what a generator is asked for, in words and in bounds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from research_lab.dsl.registry import FAMILIES, INPUTS

# Parts of a strategy beside its conditions that a brief may forbid or demand.
BLOCKS: Final = (
    "stop", "take", "trail", "breakeven", "time_stop", "risk", "fraction", "target_vol", "regimes", "regime_exit",
)  # fmt: skip
PERPETUAL_ONLY: Final = ("funding", "premium")


@dataclass(frozen=True)
class Brief:
    """What is wanted.

    Parameters
    ----------
    goal : in words, for people and language models; bounds nothing.
    timeframes, sides : that proposals may have.
    families : of functions that may stand in them. inputs : that they may read.
    max_nodes : operations of a strategy. max_params : parameters of it.
    ideas : plain-text ideas, one each, for a language model.
    only, never : functions; `only` narrows the families where it is given, `never` takes away from them.
    longer : timeframes that tf() may ask for.
    blocks : parts that may stand beside the conditions. required : those that must.
    trades_a_month : least and most that are wanted; told, and for fitness to use: a text does not show it.
    avoid : what not to propose, one each, for a language model.
    """

    goal: str = ""
    timeframes: tuple[str, ...] = ("1h", "4h")
    sides: tuple[str, ...] = ("long",)
    families: tuple[str, ...] = tuple(FAMILIES)
    inputs: tuple[str, ...] = tuple(name for name in INPUTS if name not in PERPETUAL_ONLY)
    max_nodes: int = 60
    max_params: int = 4
    ideas: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    longer: tuple[str, ...] = ("4h", "1d")
    blocks: tuple[str, ...] = BLOCKS
    required: tuple[str, ...] = ()
    trades_a_month: tuple[float, float] | None = None
    avoid: tuple[str, ...] = ()

    @cached_property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions that may stand in a proposal, in the order of the registry."""
        names = [f.name for family, members in FAMILIES.items() if family in self.families for f in members]
        return tuple(n for n in names if n not in self.never and (not self.only or n in self.only))
