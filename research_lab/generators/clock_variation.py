"""Changes of times: conditions that read one hand of the clock, moved round it as a whole.

A condition on the hour is a set of hours, however it is written. Moving its numbers one by one tears such a set
apart, so it is taken as the set that it is, moved, and written anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from research_lab.dsl.spec import CONDITIONS, Spec
from research_lab.dsl.tree import Node
from research_lab.generators import nodes
from research_lab.generators.hand import Hand
from research_lab.generators.number_variation import bound
from research_lab.generators.parts import stretch
from research_lab.generators.places import Place, places, with_places, with_roots
from research_lab.generators.spans import Span
from research_lab.generators.symmetry import SIDES

HANDS: Final = ("hour", "weekday", "day_of_month", "minutes_to_funding")
_COMPARED: Final = ("less", "less_equal", "equal")
_MOST_STRETCHES: Final = 2  # of times that a condition may name

Times = frozenset[int]  # steps of the clock, from 0


def move_times(spec: Spec, hand: Hand) -> Spec | None:
    """Move the times of one side by a step or a few; or let its first stretch begin or end a step sooner or later."""
    spec = _written_out(spec)
    side = hand.pick(_sides(spec))
    offset = hand.pick((-3, -2, -1, -1, 1, 1, 2, 3))
    if hand.rng.random() < 0.5:
        return _turned(spec, side, side, offset, hand)
    end, step = hand.pick((False, True)), 1 if offset > 0 else -1
    return _with_times(spec, side, side, lambda times, entry, n: _followed(times, entry, n, step, end), hand)


def take_other_times(spec: Spec, hand: Hand) -> Spec | None:
    """Let the other side do at other times what one side does."""
    if "both" not in hand.brief.sides:
        return None
    spec = _written_out(spec)
    side = hand.pick(_sides(spec))
    other = SIDES[1 - SIDES.index(side)]
    return _turned(spec, side, other, int(hand.rng.integers(1, 24)), hand)


def _sides(spec: Spec) -> tuple[str, ...]:
    return SIDES if spec.side == "both" else (spec.side,)


def _turned(spec: Spec, side: str, other: str, offset: int, hand: Hand) -> Spec | None:
    return _with_times(
        spec, side, other, lambda times, entry, n: frozenset((k + offset) % n for k in times), hand
    )


def _with_times(
    spec: Spec, side: str, other: str, change: Callable[[Times, Times, int], Times], hand: Hand
) -> Spec | None:
    """Return a strategy in which `other` says what `side` says, at other times; None where no time is named."""
    names = [f"{act}_{side}" for act in ("enter", "exit") if f"{act}_{side}" in spec.conditions]
    found = [(place, name) for place in _on_the_clock(spec, tuple(names)) if (name := _hand_of(place.node))]
    changed: list[tuple[Place, Node]] = []
    entries: dict[str, Times] = {}  # what the first condition on each hand says
    for place, name in found:
        read = nodes.call(name)
        span = hand.words(spec).span(read)
        if span is None:
            return None
        times = _times_of(place.node, span)
        after = change(times, entries.setdefault(name, times), span.n + 1)
        told = _condition(read, span, after)
        if told is None:
            return None
        changed.append((place, told))
    if not changed:
        return None
    moved = with_places(spec, changed)
    if moved is None or side == other:
        return moved
    given = {name.replace(side, other): moved.conditions[name] for name in names}
    return with_roots(replace(spec, side="both"), given)


def _on_the_clock(spec: Spec, roots: tuple[str, ...]) -> list[Place]:
    """Return the largest conditions that read one hand of the clock and nothing else."""
    found: list[Place] = []
    for place in places(spec, roots):
        inside = any(p.root == place.root and p.path == place.path[: len(p.path)] for p in found)
        if place.node.dimension.condition and not inside and _hand_of(place.node):
            found.append(place)
    return found


def _hand_of(node: Node) -> str:
    """Return the one hand of the clock that a condition reads, "" where it reads anything else."""
    hands = _hands(node)
    return next(iter(hands)) if len(hands) == 1 and "" not in hands else ""


def _hands(node: Node) -> frozenset[str]:
    if node.op in HANDS:
        return frozenset({node.op})
    if node.op == "constant":
        return frozenset()
    if node.op in (*_COMPARED, "and", "or", "not"):
        return frozenset().union(*map(_hands, node.args))
    return frozenset({""})


def _times_of(node: Node, span: Span) -> Times:
    """Return the steps of the clock, from 0, at which a condition holds."""
    return frozenset(k for k in range(span.n + 1) if _holds(node, float(span.level(k))))


def _holds(node: Node, now: float) -> bool:
    if node.op == "not":
        return not _holds(node.args[0], now)
    if node.op in ("and", "or"):
        told = [_holds(arg, now) for arg in node.args]
        return all(told) if node.op == "and" else any(told)
    left, right = (now if arg.op in HANDS else float(arg.value or 0.0) for arg in node.args)
    return {"less": left < right, "less_equal": left <= right, "equal": left == right}[node.op]


def _followed(times: Times, entry: Times, n: int, step: int, end: bool) -> Times:
    """Return the entry's times stretched, or what is left of the clock beside them; other times as they are."""
    everything, after = frozenset(range(n)), _stretched(entry, n, step, end)
    return {entry: after, everything - entry: everything - after}.get(times, times)


def _stretched(times: Times, n: int, step: int, end: bool) -> Times:
    """Return times whose first stretch begins (or, with `end`, ends) a step sooner or later."""
    first = next((k for k in sorted(times) if (k - 1) % n not in times), None)
    if first is None:
        return times
    last = first
    while (last + 1) % n in times:
        last = (last + 1) % n
    if end:
        return times | {(last + 1) % n} if step > 0 else times - {last}
    return times - {first} if step > 0 else times | {(first - 1) % n}


def _condition(read: Node, span: Span, times: Times) -> Node | None:
    """Return a condition that holds at some steps of the clock; None for none, for all, or for many stretches."""
    n = span.n + 1
    starts = [k for k in sorted(times) if (k - 1) % n not in times]
    if not 1 <= len(starts) <= _MOST_STRETCHES:
        return None
    told = []
    for start in starts:
        length = next(j for j in range(1, n + 1) if (start + j) % n not in times)
        told.append(stretch(read, span, start, length))
    return told[0] if len(told) == 1 else nodes.any_of(*told)


def _written_out(spec: Spec) -> Spec:
    """Return a strategy whose conditions on the clock name numbers, not parameters."""
    read = {
        name
        for place in places(spec, CONDITIONS)
        if place.node.op in _COMPARED and any(arg.op in HANDS for arg in place.node.args)
        for name in place.node.params
    }
    return bound(spec, {name: spec.params[name].default for name in read}) if read else spec
