"""Conditions of the forms that people write: a cross, a broken range, a stretched price, an hour of the day.

Each shape draws an entry for rises and the exit that goes with it; falls are their reflection (`mirror.py`). A shape
takes what the vocabulary has, and is left out where it has nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from research_lab.dsl.dimensions import CONDITION, PRICE
from research_lab.dsl.tree import Node
from research_lab.generators import nodes
from research_lab.generators.nodes import arithmetic, call, compared, given, number
from research_lab.generators.random_trees import RandomTrees
from research_lab.generators.spans import Span

FAST: Final = (3, 5, 8, 10, 14, 20)
SLOW: Final = (30, 40, 50, 75, 100, 150, 200)
USUAL: Final = (10, 14, 20, 24, 30, 48)
RANGE: Final = (10, 20, 30, 40, 55, 100)
LONG: Final = (48, 100, 200, 300)
_WIDTH: Final = Span(1, 4, 0.5)
_SMALL_WIDTH: Final = Span(0.5, 2, 0.25)
_TAIL: Final = Span(0.05, 0.25, 0.05)
_CALM: Final = Span(0.2, 0.8, 0.1)
_AVERAGES: Final = ("sma", "ema", "wma", "hma", "kama", "rma", "vwma", "linreg", "median")
_INDICES: Final = ("rsi", "mfi", "stochastic_k", "stochastic_d", "williams_r", "cci", "tsi", "aroon", "cmf", "zscore",
                   "bollinger_percent_b", "rank")  # fmt: skip
_VOLATILITIES: Final = (
    "realised_vol",
    "parkinson_vol",
    "garman_klass_vol",
    "bollinger_width",
    "spread_estimate",
)


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


def _named(t: RandomTrees, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in t.words.functions]


def _reads(t: RandomTrees, *inputs: str) -> bool:
    return set(inputs) <= set(t.words.inputs)


def _average(t: RandomTrees, x: Node, name: str, choices: Sequence[int]) -> Node | None:
    """Return some average of a value."""
    names = _named(t, _AVERAGES)
    return call(t.dice.pick(names), x, t.tunables.window(name, choices, least=4)) if names else None


def _ago(t: RandomTrees, x: Node) -> Node | None:
    return call("prev", x) if "prev" in t.words.functions else None


def _range(t: RandomTrees) -> Node | None:
    """Return the usual height of a bar."""
    names = [n for n in ("atr", "std", "mad", "ewm_std") if n in t.words.functions]
    if not names or not _reads(t, "close"):
        return None
    name = t.dice.weighted([(4.0 if n == "atr" else 0.5, n) for n in names])
    n = t.tunables.window(f"{name}_n", USUAL)
    return call(name, n) if name == "atr" else call(name, given("close"), n)


def _crosses(t: RandomTrees, left: Node, right: Node, share: float = 0.5) -> Node:
    """Return left above right, as a state or as the moment of it."""
    if "crosses_above" in t.words.functions and t.dice.chance(share):
        return call("crosses_above", left, right)
    return compared(left, ">", right)


def _index(t: RandomTrees) -> Node | None:
    """Return an indicator that has a span, of the close where it takes a value."""
    names = [n for n in _named(t, _INDICES) if _reads(t, "close")]
    if not names:
        return None
    name = t.dice.pick(names)
    calls = [c for c in t.words.ways(name) if all(d.literal or d == PRICE for d in c.takes)]
    if not calls:
        return None
    call_ = t.dice.pick(calls)
    args = []
    for place, (argument, of) in enumerate(zip(call_.function.arguments, call_.takes, strict=True)):
        if argument.kind == "window" and argument.name == "n":
            args.append(t.tunables.window(f"{name}_n", USUAL, argument.least))
        else:
            args.append(t.written(call_, place) if of.literal else given("close"))
    return call(name, *args)


def _levels(t: RandomTrees, index: Node, first: float, last: float, name: str) -> Node | None:
    span = t.words.span(index)
    return None if span is None or span.n < 3 else t.tunables.level(f"{index.op}_{name}", span, first, last)


def _cross(t: RandomTrees) -> Idea | None:
    if not _reads(t, "close"):
        return None
    fast = _average(t, given("close"), "fast_n", FAST)
    slow = _average(t, given("close"), "slow_n", SLOW)
    if fast is None or slow is None:
        return None
    return Idea(_crosses(t, fast, slow), compared(fast, "<", slow))


def _above(t: RandomTrees) -> Idea | None:
    if not _reads(t, "close"):
        return None
    trend, leave = (_average(t, given("close"), name, (*USUAL, *SLOW)) for name in ("trend_n", "leave_n"))
    if trend is None or leave is None:
        return None
    return Idea(_crosses(t, given("close"), trend), compared(given("close"), "<", leave))


def _rose(t: RandomTrees) -> Idea | None:
    names = [n for n in _named(t, ("roc", "log_return")) if _reads(t, "close")]
    close = given("close")
    if names and t.dice.chance(0.6):
        moved = call(t.dice.pick(names), close, t.tunables.window("move_n", (*FAST, *USUAL)))
        level = _levels(t, moved, 0.5, 1.0, "min")
        return None if level is None else Idea(compared(moved, ">", level), compared(moved, "<", number(0)))
    if not _reads(t, "close") or "prev" not in t.words.functions:
        return None
    before = call("prev", close, t.tunables.window("move_n", (*USUAL, *SLOW)))
    return Idea(compared(close, ">", before), compared(close, "<", before))


def _strength(t: RandomTrees) -> Idea | None:
    index = _index(t)
    high = None if index is None else _levels(t, index, 0.55, 0.9, "min")
    if index is None or high is None:
        return None
    low = _levels(t, index, 0.2, 0.5, "exit")
    return Idea(_crosses(t, index, high), None if low is None else compared(index, "<", low))


def _line(t: RandomTrees) -> Idea | None:
    names = _named(t, ("supertrend_direction", "psar_direction", "slope", "macd_histogram", "macd", "vwap"))
    names = [n for n in names if _reads(t, "close")]
    if not names:
        return None
    name = t.dice.pick(names)
    close, n = given("close"), t.tunables.window
    if name == "vwap":
        line = call("vwap", n("vwap_n", USUAL))
        return Idea(_crosses(t, close, line), compared(close, "<", line))
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
    if not _reads(t, "close", "high"):
        return None
    close, n = given("close"), t.tunables.window("entry_n", RANGE, least=2)
    ways = _named(t, ("highest", "donchian_upper", "bollinger_upper", "keltner_upper"))
    if not ways:
        return None
    way = t.dice.weighted([(4.0 if w == "highest" else 1.0, w) for w in ways])
    if way in ("highest", "donchian_upper"):
        edge = _ago(t, call(way, given("high"), n) if way == "highest" else call(way, n))
    else:
        k = t.tunables.level("width", _WIDTH)
        edge = call(way, close, n, k) if way == "bollinger_upper" else call(way, n, k)
    return None if edge is None else Idea(_crosses(t, close, edge, 0.2), _leaves_range(t))


def _leaves_range(t: RandomTrees) -> Node | None:
    """Return an exit from a run: below the lows of some bars, or below an average."""
    close = given("close")
    if "lowest" in t.words.functions and _reads(t, "low") and t.dice.chance(0.5):
        below = _ago(t, call("lowest", given("low"), t.tunables.window("exit_n", (5, 10, 20, 30))))
    else:
        below = _average(t, close, "exit_n", USUAL)
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
    usual = _range(t)
    before = None if usual is None else _ago(t, usual)
    if before is None or not _reads(t, "open", "close"):
        return None
    body = (
        call("body") if "body" in t.words.functions else arithmetic("subtract", given("close"), given("open"))
    )
    entry = compared(body, ">", arithmetic("multiply", t.tunables.level("burst", _SMALL_WIDTH), before))
    return Idea(entry, _leaves_range(t) if t.dice.chance(0.5) else None)


def _oversold(t: RandomTrees) -> Idea | None:
    index = _index(t)
    low = None if index is None else _levels(t, index, 0.0, 0.35, "low")
    if index is None or low is None:
        return None
    back = _levels(t, index, 0.4, 0.7, "exit")
    if "crosses_above" in t.words.functions and t.dice.chance(0.25):
        entry = call("crosses_above", index, low)  # it turns up again
    else:
        entry = compared(index, "<", low)
    return Idea(entry, None if back is None else compared(index, ">", back))


def _stretched(t: RandomTrees) -> Idea | None:
    if not _reads(t, "close"):
        return None
    close, n = given("close"), t.tunables.window("fair_n", (*USUAL, 100), least=4)
    ways = _named(t, ("bollinger_lower", "keltner_lower"))
    fair = call("vwap", n) if "vwap" in t.words.functions and t.dice.chance(0.2) else None
    if ways and fair is None and t.dice.chance(0.4):
        way, k = t.dice.pick(ways), t.tunables.level("width", _WIDTH)
        edge = call(way, close, n, k) if way == "bollinger_lower" else call(way, n, k)
        fair = call("sma" if "sma" in t.words.functions else "bollinger_middle", close, n)
    else:
        names, far = _named(t, _AVERAGES), _range(t)
        if far is None or (fair is None and not names):
            return None
        fair = call(t.dice.pick(names), close, n) if fair is None else fair
        edge = arithmetic("subtract", fair, arithmetic("multiply", t.tunables.level("width", _WIDTH), far))
    return Idea(compared(close, "<", edge), compared(close, ">", fair))


def _fell(t: RandomTrees) -> Idea | None:
    names = [n for n in _named(t, ("roc", "log_return")) if _reads(t, "close")]
    if not names:
        return None
    moved = call(t.dice.pick(names), given("close"), t.tunables.window("move_n", FAST))
    level = _levels(t, moved, 0.0, 0.4, "max")
    if level is None:
        return None
    back = _average(t, given("close"), "back_n", USUAL)
    leaves = back is not None and t.dice.chance(0.6)
    return Idea(compared(moved, "<", level), compared(given("close"), ">", back) if leaves and back else None)


def _crowd(t: RandomTrees) -> Idea | None:
    paid = [given(name) for name in ("funding", "premium") if _reads(t, name)]
    if not paid:
        return None
    x, follows = t.dice.pick(paid), t.dice.chance(0.4)  # others pay to be short, or to be long
    n = t.tunables.window("crowd_n", LONG, least=2)
    ways = _named(t, ("quantile", "zscore", "sma", "ema", "rank"))
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
        level, middle = _levels(t, score, 0.0, 0.4, "low"), number(0 if way == "zscore" else 0.5)
        if level is None:
            return None
        low, usual = compared(score, "<", level), compared(score, ">", middle)
    return Idea(usual, low) if follows else Idea(low, usual)


def _clock(t: RandomTrees) -> Idea | None:
    hands = _named(t, ("hour", "weekday", "day_of_month", "minutes_to_funding"))
    if not hands:
        return None
    name = t.dice.weighted([({"hour": 4.0, "weekday": 2.0}.get(n, 1.0), n) for n in hands])
    hand = call(name)
    span = t.words.span(hand)
    if span is None or span.n < 2:
        return None
    first = t.dice.below(span.n + 1)
    held = 1 + t.dice.below(max(1, (span.n + 1) // 3))
    times, others = (
        _times(t, hand, span, at, held) for at in (first, (first + (span.n + 1) // 2) % (span.n + 1))
    )
    if times is None or others is None:
        return None
    leaves = t.dice.chance(0.6)
    return Idea(
        times, nodes.opposite(times) if leaves else None, (others, nodes.opposite(others) if leaves else None)
    )


def _times(t: RandomTrees, hand: Node, span: Span, first: int, n: int) -> Node | None:
    """Return n values of a hand of the clock, from the first on, over its end where they reach it."""
    last = (first + n - 1) % (span.n + 1)
    if n == 1:
        return Node("equal", (hand, number(span.level(first))), CONDITION)
    ends = compared(hand, ">=", number(span.level(first))), compared(hand, "<=", number(span.level(last)))
    if first == 0:
        return ends[1]
    if last == span.n:
        return ends[0]
    return nodes.all_of(*ends) if first < last else nodes.any_of(*ends)


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
    Shape("clock", "calendar", "Some hours and days have buyers that others lack.", _clock),
)
KINDS: Final = {"momentum": 0.25, "breakout": 0.2, "reversion": 0.25, "funding": 0.15, "calendar": 0.15}


def _trending(t: RandomTrees) -> Node | None:
    if not _reads(t, "close"):
        return None
    trend = _average(t, given("close"), "filter_n", SLOW)
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
    level = _levels(t, index, 0.1, 0.6, "min")
    return None if level is None else compared(index, t.dice.pick((">", ">", "<")), level)


def _weather(t: RandomTrees) -> Node | None:
    """Return a market calmer or wilder than it was of late."""
    names = _named(t, _VOLATILITIES)
    if not names or "quantile" not in t.words.functions or not _reads(t, "close"):
        return None
    name, n = t.dice.pick(names), t.tunables.window("vol_n", USUAL, least=2)
    value = call(name, given("close"), n, number(2)) if name == "bollinger_width" else call(name, n)
    usual = call("quantile", value, t.tunables.window("usual_n", LONG), t.tunables.level("calm", _CALM))
    return compared(value, t.dice.pick("<>"), usual)


def _busy(t: RandomTrees) -> Node | None:
    if not _reads(t, "volume"):
        return None
    if "volume_zscore" in t.words.functions and t.dice.chance(0.5):
        score = call("volume_zscore", t.tunables.window("volume_n", USUAL, least=2))
        level = _levels(t, score, 0.4, 0.8, "min")
        return None if level is None else compared(score, ">", level)
    usual = _average(t, given("volume"), "volume_n", USUAL)
    if usual is None:
        return None
    return compared(
        given("volume"), ">", arithmetic("multiply", t.tunables.level("busy", _SMALL_WIDTH), usual)
    )


def _when(t: RandomTrees) -> Node | None:
    idea = _clock(t)
    return None if idea is None else idea.entry


FILTERS: Final[tuple[Callable[[RandomTrees], Node | None], ...]] = (
    _trending,
    _strong,
    _weather,
    _busy,
    _when,
)
