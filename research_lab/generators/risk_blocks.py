"""What stands beside the conditions: stop, takes, trail, breakeven, time stop, size and regimes, as a brief allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.spec import REGIMES
from research_lab.dsl.spec_reader import volatility_text
from research_lab.dsl.tree import Node, constant
from research_lab.engine import layout
from research_lab.generators.brief import Brief
from research_lab.generators.brief_bounds import SIZES
from research_lab.generators.nodes import arithmetic, call, number
from research_lab.generators.random_trees import RandomTrees
from research_lab.generators.spans import Span
from research_lab.timeframe import DAY_MS, HOUR_MS

# How often each stands in a strategy, where it may.
CHANCES: Final = {"stop": 0.6, "take": 0.3, "trail": 0.25, "breakeven": 0.5, "time_stop": 0.45, "regimes": 0.15,
                  "regime_exit": 0.3}  # fmt: skip
_MULTIPLES: Final = Span(1, 4, 0.5)  # of the usual height of a bar
_RANGES: Final = (10, 14, 20, 24, 48)
_SHARES: Final = (0.25, 0.5, 1.0)  # of what remains, or of equity
_RISKS: Final = (0.004, 0.006, 0.008, 0.01, 0.015, 0.02)
_TARGETS: Final = (0.1, 0.15, 0.2, 0.3)
_VOLATILITY_WINDOWS: Final = (32, 64, 128)
_HOURS_HELD: Final = (6, 12, 24, 36, 48, 72, 120, 168, 336)


@dataclass(frozen=True)
class RiskBlocks:
    """The fields of a strategy beside its conditions; see `Spec`."""

    stop: Node | None = None
    trail: Node | None = None
    trail_after: Node = field(default_factory=lambda: constant(0.0))
    size_kind: int = layout.FRACTION
    size: Node = field(default_factory=lambda: constant(1.0))
    takes: tuple[tuple[Node, Node], ...] = ()
    time_stop: Node | None = None
    breakeven: bool = False
    regimes: tuple[str, ...] = ()
    regime_exit: bool = False

    @property
    def ends(self) -> bool:
        """Whether every position comes to its end without an exit condition: by time, or by a trail behind a stop."""
        return self.time_stop is not None or self.trail is not None


def draw_blocks(t: RandomTrees, brief: Brief, room: float, *, has_exit: bool) -> RiskBlocks:
    """Return blocks that fit together and hold what the brief demands.

    Parameters
    ----------
    t : whose words and chance are used.
    room : from 0 to 1, how much may stand there beside what must; at 0 that is as small as can be.
    has_exit : without an exit condition positions end by a time stop or a trail, where the brief allows one.
    """
    dice = t.dice

    def wants(name: str) -> bool:
        if name not in brief.blocks:
            return False
        return name in brief.required or dice.chance(room * CHANCES[name])

    kinds = _kinds(t, brief)
    kind = dice.pick(kinds) if room > 0 else kinds[0]
    stop = (
        _distance(t, "stop", small=room <= 0)
        if wants("stop") or kind == "risk" or _needs_stop(brief)
        else None
    )
    takes = _takes(t) if stop is not None and (wants("take") or "breakeven" in brief.required) else ()
    trail = _distance(t, "trail", small=room <= 0) if wants("trail") else None
    after = (
        number(dice.pick((0.0, 1.0, 1.0, 2.0))) if trail is not None and stop is not None else constant(0.0)
    )
    time_stop = t.tunables.window("hold", _held(t)) if wants("time_stop") else None
    if not has_exit and time_stop is None and trail is None:
        if "time_stop" in brief.blocks:
            time_stop = t.tunables.window("hold", _held(t))
        elif "trail" in brief.blocks:
            trail = _distance(t, "trail", small=room <= 0)
    regimes = (
        tuple(dice.some(REGIMES, 2 + dice.below(3)))
        if wants("regimes") or "regime_exit" in brief.required
        else ()
    )
    size_kind, size = _size(t, kind)
    return RiskBlocks(
        stop, trail, after, size_kind, size, takes, time_stop,
        bool(takes) and wants("breakeven"), regimes, bool(regimes) and wants("regime_exit"),
    )  # fmt: skip


def can_stop(t: RandomTrees) -> bool:
    """Whether the vocabulary has a distance in price to stop at."""
    return bool(_measures(t))


def _kinds(t: RandomTrees, brief: Brief) -> list[str]:
    """Return the kinds of size that can be drawn, the smallest first; none of risk where no stop can be."""
    stops = "stop" in brief.blocks and can_stop(t)
    return [kind for kind in SIZES if kind in brief.sizes and (kind != "risk" or stops)] or ["fraction"]


def _needs_stop(brief: Brief) -> bool:
    return "take" in brief.required or "breakeven" in brief.required


def _measures(t: RandomTrees) -> list[tuple[float, str]]:
    """Return what distances are multiples of, by weight: the usual height of a bar, or the price."""
    ways = [(6.0, "atr")] if "atr" in t.words.functions else []
    if t.words.leaves(PRICE):
        ways += [(1.0, "std")] if "std" in t.words.functions else []
        ways += [(1.5, "price")]
    return ways


def _distance(t: RandomTrees, name: str, *, small: bool) -> Node | None:
    """Return a distance in price, None where the vocabulary has none; a share of the price where it must be small."""
    ways = _measures(t)
    if not ways:
        return None
    way = ways[-1][1] if small else t.dice.weighted(ways)
    if way == "atr":
        of_bar = call("atr", number(t.dice.pick(_RANGES)))
        return arithmetic("multiply", t.tunables.level(f"{name}_atr", _MULTIPLES), of_bar)
    price = t.words.leaves(PRICE)[-1]  # the close where it may be read
    if way == "std":
        of_bars = call("std", price, number(t.dice.pick(_RANGES)))
        return arithmetic("multiply", t.tunables.level(f"{name}_std", _MULTIPLES), of_bars)
    move = _usual_move(t.words.step_ms)
    return arithmetic("multiply", t.tunables.level(f"{name}_share", Span(2 * move, 8 * move, move)), price)


def _usual_move(step_ms: int) -> float:
    """Return a share of the price that a few bars move, of one digit."""
    move = 0.005 * math.sqrt(step_ms / HOUR_MS)
    return round(move, -math.floor(math.log10(move)))


def _takes(t: RandomTrees) -> tuple[tuple[Node, Node], ...]:
    first = t.dice.pick((1.0, 1.5, 2.0, 3.0))
    levels = (first, 2 * first)[: 1 + t.dice.chance(0.4)]
    shares = [t.dice.pick(_SHARES[:2]) for _ in levels[1:]] + [t.dice.pick(_SHARES)]
    return tuple((number(at), number(share)) for at, share in zip(levels, shares, strict=True))


def _held(t: RandomTrees) -> list[int]:
    """Return numbers of bars that make hours to two weeks, and weeks to a year on days and weeks."""
    if t.words.step_ms >= DAY_MS:
        return [3, 5, 10, 20, 30]
    bars = [hours * HOUR_MS // t.words.step_ms for hours in _HOURS_HELD]
    return [n for n in bars if 2 <= n <= 1_000]


def _size(t: RandomTrees, kind: str) -> tuple[int, Node]:
    """Return the kind of size and its tree, as the reader makes it."""
    if kind == "risk":
        return layout.RISK, number(t.dice.pick(_RISKS))
    if kind == "fraction":
        return layout.FRACTION, number(t.dice.pick((0.5, 1.0, 1.0)))
    volatility = _volatility(t.dice.pick(_VOLATILITY_WINDOWS), t.words.step_ms)
    return layout.FRACTION, arithmetic("divide", number(t.dice.pick(_TARGETS)), volatility)


@cache
def _volatility(window: int, step_ms: int) -> Node:
    return parse_expression(volatility_text(window, step_ms), Scope())
