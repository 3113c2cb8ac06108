"""What the bounds of a brief may be, and the parts of a strategy that they speak of."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from research_lab.dsl import limits
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.registry import FAMILIES, FUNCTIONS, INPUTS
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import volatility_text
from research_lab.dsl.tree import Node
from research_lab.engine import layout
from research_lab.errors import UsageError
from research_lab.timeframe import timeframe_ms, timeframe_name
from research_lab.wording import nearest

SIDES: Final = ("long", "short", "both")
BLOCKS: Final = ("stop", "take", "trail", "breakeven", "time_stop", "regimes", "regime_exit")
SIZES: Final = ("fraction", "risk", "target_vol")
LEAST_NODES: Final = 8  # an entry, an exit and a size
MAX_TEXTS: Final = 200
MAX_CHARACTERS: Final = 4_000

_KNOWN: Final[Mapping[str, tuple[Collection[str], str]]] = {
    "sides": (SIDES, "side"),
    "families": (tuple(FAMILIES), "family of functions"),
    "inputs": (tuple(INPUTS), "input of the market"),
    "only": (tuple(FUNCTIONS), "function"),
    "never": (tuple(FUNCTIONS), "function"),
    "blocks": (BLOCKS, "block"),
    "required": (BLOCKS, "block"),
    "sizes": (SIZES, "kind of size"),
}
_NEEDED: Final = ("timeframes", "sides", "inputs", "sizes")
_NEEDS: Final = {
    "take": ("stop",),
    "breakeven": ("stop", "take"),
    "regime_exit": ("regimes",),
}  # a part that cannot stand without others


@dataclass(frozen=True)
class Fault:
    """What is wrong with a brief: the key, and the place in its list; what was seen; what to do."""

    place: tuple[str | int, ...]
    what: str
    remedy: str


def first_fault(told: Mapping[str, Any]) -> Fault | None:
    """Return the first thing wrong with the fields of a brief, None where all is well."""
    for name, value in told.items():
        fault = _of_field(name, value)
        if fault is not None:
            return fault
    return _of_functions(told) or _of_blocks(told)


def ordered(name: str, value: Any) -> Any:
    """Return a field as a brief keeps it: names in the order of the language, so that equal briefs have one text."""
    if name in _KNOWN:
        return tuple(known for known in _KNOWN[name][0] if known in value)
    if name in ("timeframes", "longer"):
        return tuple(timeframe_name(ms) for ms in sorted(map(timeframe_ms, value)))
    if name == "trades_a_month" and value is not None:
        return tuple(map(float, value))
    return value if value is None or isinstance(value, (str, int)) else tuple(value)


def _of_field(name: str, value: Any) -> Fault | None:
    if name == "goal":
        return _of_text((name,), value)
    if name in ("max_nodes", "max_params"):
        least, most = (LEAST_NODES, limits.NODES) if name == "max_nodes" else (0, limits.PARAMS)
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return None if fits else Fault((name,), f"{value!r}", f"write a whole number from {least} to {most}")
    if name == "trades_a_month":
        return _of_trades(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        return Fault((name,), f"{str(value)[:40]!r} is no list", "write a list: [...]")
    if name in _NEEDED and not value:
        return Fault((name,), "nothing is left", "name one at least, or leave the key out")
    for k, item in enumerate(value):
        fault = _of_item(name, k, item)
        if fault is not None:
            return fault
    return _of_twice(name, value)


def _of_item(name: str, k: int, item: Any) -> Fault | None:
    if name in ("ideas", "avoid"):
        return _of_text((name, k), item)
    if name in ("timeframes", "longer"):
        try:
            timeframe_ms(str(item))
        except UsageError as fault:
            return Fault((name, k), fault.what, fault.remedy)
        return None
    known, noun = _KNOWN[name]
    if item in known:
        return None
    return Fault((name, k), f"{str(item)[:40]!r} is no {noun}", nearest(str(item), known))


def _of_twice(name: str, value: Sequence[Any]) -> Fault | None:
    if len(value) > MAX_TEXTS:
        return Fault((name,), f"{len(value)} entries", f"write {MAX_TEXTS} at most")
    told = [timeframe_name(timeframe_ms(v)) for v in value] if name in ("timeframes", "longer") else value
    for k, item in enumerate(told):
        if item in told[:k]:
            return Fault((name, k), f"{str(value[k])[:40]!r} stands twice", "name each once")
    return None


def _of_text(place: tuple[str | int, ...], value: Any) -> Fault | None:
    if not isinstance(value, str):
        return Fault(place, f"{str(value)[:40]!r} is no text", "write a text in quotes")
    if len(value) > MAX_CHARACTERS:
        return Fault(place, f"{len(value)} characters", f"write {MAX_CHARACTERS} at most")
    return None


def _of_trades(value: Any) -> Fault | None:
    if value is None:
        return None
    numbers = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2 and all(
        isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n) for n in value
    )  # fmt: skip
    if numbers and 0 <= value[0] <= value[1] and value[1] > 0:
        return None
    return Fault(
        ("trades_a_month",), f"{str(value)[:40]} is no range", "write the least and the most: [2, 60]"
    )


def _of_functions(told: Mapping[str, Any]) -> Fault | None:
    family_of = {f.name: family for family, members in FAMILIES.items() for f in members}
    for k, name in enumerate(told["only"]):
        if family_of[name] not in told["families"]:
            return Fault(("only", k), f"{name} is of the family {family_of[name]}, which families leaves out",
                         f"add {family_of[name]} to families, or leave {name} out")  # fmt: skip
        if name in told["never"]:
            return Fault(("only", k), f"{name} stands under never too", "take it away from one of them")
    return None


def _of_blocks(told: Mapping[str, Any]) -> Fault | None:
    for k, name in enumerate(told["required"]):
        for part in (name, *_NEEDS.get(name, ())):
            if part in told["blocks"]:
                continue
            what = (
                f"{name} needs {part}, which blocks leaves out"
                if part != name
                else f"{name} is not among blocks"
            )
            return Fault(("required", k), what, f"add {part} to blocks, or leave {name} out")
    if tuple(told["sizes"]) == ("risk",) and "stop" not in told["blocks"]:
        return Fault(
            ("sizes",), "risk is lost at a stop, which blocks leaves out", "add stop, or another size"
        )
    return None


def blocks_of(spec: Spec) -> frozenset[str]:
    """Return the blocks that a strategy has."""
    has = (spec.stop, spec.takes, spec.trail, spec.breakeven, spec.time_stop, spec.regimes, spec.regime_exit)
    return frozenset(name for name, part in zip(BLOCKS, has, strict=True) if part not in (None, (), False))


def size_of(spec: Spec) -> tuple[str, Node]:
    """Return the kind of a strategy's size and its number: what was written for a target volatility, without the rest."""
    if spec.size_kind == layout.RISK:
        return "risk", spec.size
    windows = (
        {arg.args[1] for arg in spec.size.args[1].args if arg.op == "std"} if spec.size.op == "divide" else ()
    )
    for window in windows:
        bars = int(float(window.value or 0)) if window.op == "constant" else 0
        if bars > 1 and spec.size.args[1] == _volatility(bars, spec.step_ms):
            return "target_vol", spec.size.args[0]
    return "fraction", spec.size


@cache
def _volatility(window: int, step_ms: int) -> Node:
    return parse_expression(volatility_text(window, step_ms), Scope())
