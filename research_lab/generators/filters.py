"""Conditions that stand beside an entry: a trend, its strength, calm or wild weather, volume, the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from research_lab.dsl.tree import Node
from research_lab.generators import nodes
from research_lab.generators.nodes import arithmetic, call, compared, given, number
from research_lab.generators.parts import LONG, SLOW, SMALL_WIDTH, USUAL, average, level_of, named, reads
from research_lab.generators.random_trees import RandomTrees
from research_lab.generators.shapes import clock
from research_lab.generators.spans import Span

_CALM: Final = Span(0.2, 0.8, 0.1)
_VOLATILITIES: Final = (
    "realised_vol",
    "parkinson_vol",
    "garman_klass_vol",
    "bollinger_width",
    "spread_estimate",
)


def _trending(t: RandomTrees) -> Node | None:
    if not reads(t, "close"):
        return None
    trend = average(t, given("close"), "filter_n", SLOW)
    if trend is None:
        return None
    above = compared(given("close"), ">", trend)
    return (
        nodes.on_longer(t.dice.pick(t.words.longer), above)
        if t.words.longer and t.dice.chance(0.3)
        else above
    )


def _strong(t: RandomTrees) -> Node | None:
    if "adx" not in t.words.functions:
        return None
    index = call("adx", t.tunables.window("adx_n", (10, 14, 20)))
    level = level_of(t, index, 0.1, 0.6, "min")
    return None if level is None else compared(index, t.dice.pick((">", ">", "<")), level)


def _weather(t: RandomTrees) -> Node | None:
    """Return a market calmer or wilder than it was of late."""
    names = named(t, _VOLATILITIES)
    if not names or "quantile" not in t.words.functions or not reads(t, "close"):
        return None
    name, n = t.dice.pick(names), t.tunables.window("vol_n", USUAL, least=2)
    value = call(name, given("close"), n, number(2)) if name == "bollinger_width" else call(name, n)
    usual = call("quantile", value, t.tunables.window("usual_n", LONG), t.tunables.level("calm", _CALM))
    return compared(value, t.dice.pick("<>"), usual)


def _busy(t: RandomTrees) -> Node | None:
    if not reads(t, "volume"):
        return None
    if "volume_zscore" in t.words.functions and t.dice.chance(0.5):
        score = call("volume_zscore", t.tunables.window("volume_n", USUAL, least=2))
        level = level_of(t, score, 0.4, 0.8, "min")
        return None if level is None else compared(score, ">", level)
    usual = average(t, given("volume"), "volume_n", USUAL)
    if usual is None:
        return None
    return compared(
        given("volume"), ">", arithmetic("multiply", t.tunables.level("busy", SMALL_WIDTH), usual)
    )


def _when(t: RandomTrees) -> Node | None:
    idea = clock(t)
    return None if idea is None else idea.entry


FILTERS: Final[tuple[Callable[[RandomTrees], Node | None], ...]] = (
    _trending,
    _strong,
    _weather,
    _busy,
    _when,
)
