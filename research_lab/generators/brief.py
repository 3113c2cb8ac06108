"""A brief: what a generator is asked for, in words and in bounds.

Whoever proposes sees the whole of it; what lies outside its bounds is refused, whoever proposed it.

Examples
--------
>>> brief = Brief(goal="trends on hours", timeframes=("1h",), families=("averages", "trend"), max_params=2)
>>> from research_lab.dsl.spec_reader import LIBRARY, load_spec
>>> brief.refuses(load_spec(LIBRARY / "donchian_breakout.yaml"))
'its timeframe is 1d, and the brief has 1h'
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Final

from research_lab.dsl.registry import FAMILIES, INPUTS
from research_lab.dsl.spec import Spec
from research_lab.errors import UsageError
from research_lab.generators.brief_bounds import BLOCKS, SIZES, blocks_of, first_fault, ordered, size_of
from research_lab.generators.vocabulary import Vocabulary
from research_lab.strict_yaml import scalar

PERPETUAL_ONLY: Final = ("funding", "premium")
_TEXTS: Final = ("ideas", "avoid")


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
    blocks : parts that may stand beside the conditions (`BLOCKS`). required : those that must.
    sizes : kinds of size (`SIZES`) that it may have.
    trades_a_month : least and most that are wanted, for fitness to ask for: a text does not show it.
    avoid : what not to propose, one each, for a language model.

    Raises
    ------
    UsageError : for a name that is not known, or bounds that leave nothing.
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
    sizes: tuple[str, ...] = SIZES
    trades_a_month: tuple[float, float] | None = None
    avoid: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fault = first_fault({field.name: getattr(self, field.name) for field in fields(self)})
        if fault is not None:
            place = ".".join(map(str, fault.place))
            raise UsageError(fault.what, f"brief: {place}", fault.remedy)
        for field in fields(self):
            object.__setattr__(self, field.name, ordered(field.name, getattr(self, field.name)))

    @cached_property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions that may stand in a proposal, in the order of the registry."""
        names = [f.name for family, members in FAMILIES.items() if family in self.families for f in members]
        return tuple(n for n in names if n not in self.never and (not self.only or n in self.only))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical text: equal for equal briefs, however they were written."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def canonical(self) -> str:
        """Return the brief as a file with every key, which reads back as the same brief."""
        lines = ["brief: 1"]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _TEXTS and value:
                lines += [f"{field.name}:", *(f"  - {scalar(text)}" for text in value)]
            elif isinstance(value, tuple):
                lines.append(f"{field.name}: [{', '.join(map(scalar, value))}]")
            elif value is not None:
                lines.append(f"{field.name}: {scalar(value)}")
        return "\n".join(lines) + "\n"

    def refuses(self, spec: Spec) -> str:
        """Return why a strategy lies outside the brief, "" where it lies inside."""
        return _refused_form(self, spec) or _refused_parts(self, spec) or _refused_words(self, spec)


def _refused_form(brief: Brief, spec: Spec) -> str:
    if spec.timeframe not in brief.timeframes:
        return f"its timeframe is {spec.timeframe}, and the brief has {_listed(brief.timeframes)}"
    if spec.side not in brief.sides:
        return f"its side is {spec.side}, and the brief has {_listed(brief.sides)}"
    if spec.n_nodes > brief.max_nodes:
        return f"it has {spec.n_nodes} operations, more than {brief.max_nodes}"
    if len(spec.params) > brief.max_params:
        return f"it has {len(spec.params)} parameters, more than {brief.max_params}"
    return ""


def _refused_parts(brief: Brief, spec: Spec) -> str:
    found = blocks_of(spec)
    for name in BLOCKS:
        if name in found and name not in brief.blocks:
            return f"it has {name}, which the brief leaves out"
        if name in brief.required and name not in found:
            return f"it has no {name}, which the brief requires"
    kind, _ = size_of(spec)
    return "" if kind in brief.sizes else f"its size is {kind}, and the brief has {_listed(brief.sizes)}"


def _refused_words(brief: Brief, spec: Spec) -> str:
    words = Vocabulary.of(brief, spec.timeframe)
    outside = sorted(spec.rows)
    if outside:
        return f"it reads {outside[0][:60]}, and a brief has the market's own bars only"
    *roots, _ = spec.roots()
    for root in (*roots, size_of(spec)[1]):
        word = "" if root is None else words.lacks(root)
        if word:
            return f"it says {word}, which the brief leaves out"
    return ""


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names))
