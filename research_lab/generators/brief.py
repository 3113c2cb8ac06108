"""A brief: what a generator is asked for, in words and in bounds."""

from __future__ import annotations

from dataclasses import dataclass

from research_lab.dsl.registry import FAMILIES, INPUTS


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
    """

    goal: str = ""
    timeframes: tuple[str, ...] = ("1h", "4h")
    sides: tuple[str, ...] = ("long",)
    families: tuple[str, ...] = tuple(FAMILIES)
    inputs: tuple[str, ...] = tuple(name for name in INPUTS if name not in ("funding", "premium"))
    max_nodes: int = 60
    max_params: int = 4
    ideas: tuple[str, ...] = ()
