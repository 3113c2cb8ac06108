"""Conditions of the forms that people write: a cross, a broken range, a stretched price, an hour of the day.

Each shape draws an entry for rises and the exit that goes with it; falls are their reflection (`mirror.py`). A shape
takes what the vocabulary has, and is left out where it has nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from research_lab.dsl.tree import Node
from research_lab.generators import nodes
from research_lab.generators.nodes import arithmetic, call, compared, given, number
from research_lab.generators.parts import (
    AVERAGES,
    FAST,
    LONG,
    SLOW,
    SMALL_WIDTH,
    USUAL,
    above,
    ago,
    average,
    index_of_price,
    level_of,
    named,
    reads,
    stretch,
    usual_range,
)
from research_lab.generators.random_trees import RandomTrees
from research_lab.generators.spans import Span

RANGE: Final = (10, 20, 30, 40, 55, 100)
_WIDTH: Final = Span(1, 4, 0.5)
_TAIL: Final = Span(0.05, 0.25, 0.05)


@dataclass(frozen=True)
class Idea:
    """When to enter for a rise, and when that is over.

    Parameters
    ----------
    entry, exit : conditions; None for an exit left to stop and time.
    other : entry and exit of the other side, where that is no reflection.
    """

    entry: Node
    exit: Node | None = None
    other: tuple[Node, Node | None] | None = None


@dataclass(frozen=True)
class Shape:
    """A form of condition.

    Parameters
    ----------
    name : of strategies of this shape, with the kind of edge it looks for. thesis : why it might work.
    draw : gives the conditions, None where the vocabulary lacks what it takes.
    """

    name: str
    kind: str
    thesis: str
    draw: Callable[[RandomTrees], Idea | None]


def _cross(t: RandomTrees) -> Idea | None:
    if not reads(t, "close"):
        return None
    fast = average(t, given("close"), "fast_n", FAST)
    slow = average(t, given("close"), "slow_n", SLOW)
    if fast is None or slow is None:
        return None
    return Idea(above(t, fast, slow), compared(fast, "<", slow))


def _above(t: RandomTrees) -> Idea | None:
    if not reads(t, "close"):
        return None
    trend, leave = (average(t, given("close"), name, (*USUAL, *SLOW)) for name in ("trend_n", "leave_n"))
    if trend is None or leave is None:
        return None
    return Idea(above(t, given("close"), trend), compared(given("close"), "<", leave))


def _rose(t: RandomTrees) -> Idea | None:
    names = [n for n in named(t, ("roc", "log_return")) if reads(t, "close")]
    close = given("close")
    if names and t.dice.chance(0.6):
        moved = call(t.dice.pick(names), close, t.tunables.window("move_n", (*FAST, *USUAL)))
        level = level_of(t, moved, 0.5, 1.0, "min")
        return None if level is None else Idea(compared(moved, ">", level), compared(moved, "<", number(0)))
    if not reads(t, "close") or "prev" not in t.words.functions:
        return None
    before = call("prev", close, t.tunables.window("move_n", (*USUAL, *SLOW)))
    return Idea(compared(close, ">", before), compared(close, "<", before))


def _strength(t: RandomTrees) -> Idea | None:
    index = index_of_price(t)
    high = None if index is None else level_of(t, index, 0.55, 0.9, "min")
    if index is None or high is None:
        return None
    low = level_of(t, index, 0.2, 0.5, "exit")
    return Idea(above(t, index, high), None if low is None else compared(index, "<", low))


def _line(t: RandomTrees) -> Idea | None:
    names = named(t, ("supertrend_direction", "psar_direction", "slope", "macd_histogram", "macd", "vwap"))
    names = [n for n in names if reads(t, "close")]
    if not names:
        return None
    name = t.dice.pick(names)
    close, n = given("close"), t.tunables.window
    if name == "vwap":
        line = call("vwap", n("vwap_n", USUAL))
        return Idea(above(t, close, line), compared(close, "<", line))
    value = {
        "supertrend_direction": lambda: call(
            name, n("trend_n", USUAL), t.tunables.level("trend_k", Span(1.5, 4, 0.5))
        ),
        "psar_direction": lambda: call(name, number(0.02), number(0.2)),
        "slope": lambda: call(name, close, n("slope_n", (*USUAL, *SLOW), least=2)),
        "macd": lambda: call(name, close, n("fast_n", (8, 12, 20)), n("slow_n", (26, 40, 50))),
        "macd_histogram": lambda: call(
            name, close, n("fast_n", (8, 12, 20)), n("slow_n", (26, 40, 50)), number(9)
        ),
    }[name]()
    return Idea(compared(value, ">", number(0)), compared(value, "<", number(0)))


def _breakout(t: RandomTrees) -> Idea | None:
    if not reads(t, "close", "high"):
        return None
    close, n = given("close"), t.tunables.window("entry_n", RANGE, least=2)
    ways = named(t, ("highest", "donchian_upper", "bollinger_upper", "keltner_upper"))
    if not ways:
        return None
    way = t.dice.weighted([(4.0 if w == "highest" else 1.0, w) for w in ways])
    if way in ("highest", "donchian_upper"):
        edge = ago(t, call(way, given("high"), n) if way == "highest" else call(way, n))
    else:
        k = t.tunables.level("width", _WIDTH)
        edge = call(way, close, n, k) if way == "bollinger_upper" else call(way, n, k)
    return None if edge is None else Idea(above(t, close, edge, 0.2), _leaves_range(t))


def _leaves_range(t: RandomTrees) -> Node | None:
    """Return an exit from a run: below the lows of some bars, or below an average."""
    close = given("close")
    if "lowest" in t.words.functions and reads(t, "low") and t.dice.chance(0.5):
        below = ago(t, call("lowest", given("low"), t.tunables.window("exit_n", (5, 10, 20, 30))))
    else:
        below = average(t, close, "exit_n", USUAL)
    return None if below is None else compared(close, "<", below)


def _squeeze(t: RandomTrees) -> Idea | None:
    if not {"squeeze", "count"} <= t.words.functions:
        return None
    run = _breakout(t)
    if run is None:
        return None
    coiled = call("squeeze", t.tunables.window("squeeze_n", (14, 20, 30), least=2), number(2), number(1.5))
    lately = compared(call("count", coiled, t.tunables.window("lately_n", (6, 10, 20))), ">", number(0))
    return Idea(nodes.all_of(run.entry, lately), run.exit)


def _burst(t: RandomTrees) -> Idea | None:
    usual = usual_range(t)
    before = None if usual is None else ago(t, usual)
    if before is None or not reads(t, "open", "close"):
        return None
    body = (
        call("body") if "body" in t.words.functions else arithmetic("subtract", given("close"), given("open"))
    )
    entry = compared(body, ">", arithmetic("multiply", t.tunables.level("burst", SMALL_WIDTH), before))
    return Idea(entry, _leaves_range(t) if t.dice.chance(0.5) else None)


def _oversold(t: RandomTrees) -> Idea | None:
    index = index_of_price(t)
    low = None if index is None else level_of(t, index, 0.0, 0.35, "low")
    if index is None or low is None:
        return None
    back = level_of(t, index, 0.4, 0.7, "exit")
    if "crosses_above" in t.words.functions and t.dice.chance(0.25):
        entry = call("crosses_above", index, low)  # it turns up again
    else:
        entry = compared(index, "<", low)
    return Idea(entry, None if back is None else compared(index, ">", back))


def _stretched(t: RandomTrees) -> Idea | None:
    if not reads(t, "close"):
        return None
    close, n = given("close"), t.tunables.window("fair_n", (*USUAL, 100), least=4)
    ways = named(t, ("bollinger_lower", "keltner_lower"))
    fair = call("vwap", n) if "vwap" in t.words.functions and t.dice.chance(0.2) else None
    if ways and fair is None and t.dice.chance(0.4):
        way, k = t.dice.pick(ways), t.tunables.level("width", _WIDTH)
        edge = call(way, close, n, k) if way == "bollinger_lower" else call(way, n, k)
        fair = call("sma" if "sma" in t.words.functions else "bollinger_middle", close, n)
    else:
        names, far = named(t, AVERAGES), usual_range(t)
        if far is None or (fair is None and not names):
            return None
        fair = call(t.dice.pick(names), close, n) if fair is None else fair
        edge = arithmetic("subtract", fair, arithmetic("multiply", t.tunables.level("width", _WIDTH), far))
    return Idea(compared(close, "<", edge), compared(close, ">", fair))


def _fell(t: RandomTrees) -> Idea | None:
    names = [n for n in named(t, ("roc", "log_return")) if reads(t, "close")]
    if not names:
        return None
    moved = call(t.dice.pick(names), given("close"), t.tunables.window("move_n", FAST))
    level = level_of(t, moved, 0.0, 0.4, "max")
    if level is None:
        return None
    back = average(t, given("close"), "back_n", USUAL)
    leaves = back is not None and t.dice.chance(0.6)
    return Idea(compared(moved, "<", level), compared(given("close"), ">", back) if leaves and back else None)


def _crowd(t: RandomTrees) -> Idea | None:
    paid = [given(name) for name in ("funding", "premium") if reads(t, name)]
    if not paid:
        return None
    x, follows = t.dice.pick(paid), t.dice.chance(0.4)  # others pay to be short, or to be long
    n = t.tunables.window("crowd_n", LONG, least=2)
    ways = named(t, ("quantile", "zscore", "sma", "ema", "rank"))
    way = t.dice.pick([*ways, "zero"])
    if way == "zero":
        low, usual = compared(x, "<", number(0)), compared(x, ">", number(0))
    elif way == "quantile":
        low = compared(x, "<", call(way, x, n, t.tunables.level("tail", _TAIL)))
        usual = compared(x, ">", call(way, x, n, number(0.5)))
    elif way in ("sma", "ema"):
        low, usual = compared(x, "<", call(way, x, n)), compared(x, ">", call(way, x, n))
    else:
        score = call(way, x, n)
        level, middle = level_of(t, score, 0.0, 0.4, "low"), number(0 if way == "zscore" else 0.5)
        if level is None:
            return None
        low, usual = compared(score, "<", level), compared(score, ">", middle)
    return Idea(usual, low) if follows else Idea(low, usual)


def clock(t: RandomTrees) -> Idea | None:
    """Return hours or days to be in the market, and others for the other side."""
    hands = named(t, ("hour", "weekday", "day_of_month", "minutes_to_funding"))
    if not hands:
        return None
    name = t.dice.weighted([({"hour": 4.0, "weekday": 2.0}.get(n, 1.0), n) for n in hands])
    hand = call(name)
    span = t.words.span(hand)
    if span is None or span.n < 2:
        return None
    n = span.n + 1
    first = t.dice.below(n)
    held = 1 + t.dice.below(max(1, n // 3))
    apart = n // 2 if t.dice.chance(0.5) else 1 + t.dice.below(n - 1)
    times, others = (stretch(hand, span, at, held) for at in (first, (first + apart) % n))
    leaves = t.dice.chance(0.6)
    return Idea(
        times, nodes.opposite(times) if leaves else None, (others, nodes.opposite(others) if leaves else None)
    )


SHAPES: Final = (
    Shape("cross", "momentum", "A fast average above a slow one says that a rise goes on.", _cross),
    Shape("above", "momentum", "A price above its average goes on rising while others still wait.", _above),
    Shape("rose", "momentum", "What rose for a while goes on, since news spreads slowly.", _rose),
    Shape("strength", "momentum", "Strength beyond the usual shows buyers who are not done.", _strength),
    Shape("line", "momentum", "The side on which price stands to its line lasts.", _line),
    Shape("breakout", "breakout", "A range broken runs on, since stops and late buyers follow.", _breakout),
    Shape(
        "squeeze", "breakout", "A quiet stretch gathers orders, and the break of its range runs on.", _squeeze
    ),
    Shape("burst", "breakout", "A bar much larger than usual is somebody large who is not done.", _burst),
    Shape("oversold", "reversion", "What fell too far for its own measure comes back.", _oversold),
    Shape("stretched", "reversion", "A price far from its average is drawn back to it.", _stretched),
    Shape("fell", "reversion", "A sudden fall without news is paid back by those who waited.", _fell),
    Shape("crowd", "funding", "Who pays much to hold a side is many, and shows what comes.", _crowd),
    Shape("clock", "calendar", "Some hours and days have buyers that others lack.", clock),
)
KINDS: Final = {"momentum": 0.25, "breakout": 0.2, "reversion": 0.25, "funding": 0.15, "calendar": 0.15}
