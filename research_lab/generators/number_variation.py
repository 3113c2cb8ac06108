"""Changes of numbers: windows, shares, thresholds, and the parameters that stand for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np

from research_lab.dsl.registry import FUNCTIONS
from research_lab.dsl.spec import CONDITIONS, Param, Spec
from research_lab.dsl.tree import Node, folded
from research_lab.generators.hand import Hand
from research_lab.generators.nodes import number, parameter
from research_lab.generators.places import Place, places, root_of, with_place, with_places, with_roots
from research_lab.generators.symmetry import SIDES, is_symmetric, reflected, symmetrical
from research_lab.timeframe import timeframe_ms

FACTORS: Final = (0.5, 0.67, 0.8, 1.25, 1.5, 2.0)  # by which numbers move
N_PARAM_VALUES: Final = 7
LONGEST: Final = 1_000  # bars of a window that was moved


@symmetrical
def move_number(spec: Spec, hand: Hand) -> Spec | None:
    """Move a window, a share or a threshold by one step."""
    free = [p for p in places(spec, CONDITIONS) if p.node.op == "constant" and p.kind != "exponent"]
    for place in hand.shuffled(free):
        after = with_place(spec, place, moved(spec, place, hand))
        if after is not None:
            return after
    return None


@symmetrical
def move_numbers(spec: Spec, hand: Hand) -> Spec | None:
    """Move all windows by one factor: the same on a longer or shorter scale of time."""
    factor = hand.pick(FACTORS)
    windows = [p for p in places(spec, CONDITIONS) if p.kind == "window" and p.node.op == "constant"]
    return with_places(spec, [(p, _window(spec, p, factor)) for p in windows])


def moved(spec: Spec, place: Place, hand: Hand) -> Node:
    """Return a number that stands at a place, moved by a step that suits it."""
    value = float(place.node.value or 0.0)
    if place.kind == "window":
        return _window(spec, place, hand.pick(FACTORS))
    sign = hand.pick((-1.0, 1.0))
    if place.kind == "share":
        return number(min(0.99, max(0.01, value + sign * hand.pick((0.02, 0.05, 0.1)))))
    step = _threshold_step(spec, place, hand)
    if step:
        return number(value + sign * step * hand.pick((1, 1, 2)))
    return number(float(f"{value * hand.pick(FACTORS):.3g}"))


def _window(spec: Spec, place: Place, factor: float) -> Node:
    before = float(place.node.value or 1.0)
    after = float(round(before * factor))
    if after == before:
        after += 1 if factor > 1.0 else -1
    return number(min(max(LONGEST, before), max(_least(spec, place), after)))


def _least(spec: Spec, place: Place) -> int:
    parent = parent_of(spec, place)
    return FUNCTIONS[parent.op].arguments[place.path[-1]].least if parent.op in FUNCTIONS else 1


def parent_of(spec: Spec, place: Place) -> Node:
    """Return the node of which a place is an argument."""
    root = root_of(spec, place.root)
    assert root is not None
    node = root
    for k in place.path[:-1]:
        node = node.args[k]
    return node


def _threshold_step(spec: Spec, place: Place, hand: Hand) -> float:
    """Return the step between levels worth comparing with what stands on the other side; 0 where none is known."""
    if not place.path:
        return 0.0
    parent = parent_of(spec, place)
    if parent.op not in ("less", "less_equal", "crosses_above", "crosses_below", "equal"):
        return 0.0
    span = hand.words(spec).span(parent.args[1 - place.path[-1]])
    return 0.0 if span is None else span.step


def change_timeframe(spec: Spec, hand: Hand) -> Spec | None:
    """Run the same on other bars."""
    others = [timeframe for timeframe in hand.brief.timeframes if timeframe != spec.timeframe]
    if not others:
        return None
    moved = replace(spec, timeframe=hand.pick(others))
    ratio = timeframe_ms(moved.timeframe) / timeframe_ms(spec.timeframe)
    if hand.rng.random() < 0.5:  # windows in hours stay what they are
        moved = _with_windows_over(moved, ratio)
    return with_roots(moved, dict(moved.conditions))


def _with_windows_over(spec: Spec, ratio: float) -> Spec:
    windows = [p for p in places(spec) if p.kind == "window" and p.node.op == "constant"]
    lengths = [max(_least(spec, p), round(float(p.node.value or 1.0) / ratio)) for p in windows]
    return with_places(spec, [(p, number(n)) for p, n in zip(windows, lengths, strict=True)]) or spec


def to_param(spec: Spec, hand: Hand) -> Spec | None:
    """Let a number be tuned: a parameter with a range around it, and another value than the number had."""
    if len(spec.params) >= hand.brief.max_params:
        return None
    fit = [p for p in places(spec, (*CONDITIONS, "stop", "trail")) if p.node.op == "constant"]
    for place in hand.shuffled([p for p in fit if p.kind != "exponent" and p.node.value]):
        name, param = _fresh(spec.params), range_around(spec, place, hand)
        if param is None:
            continue
        after = with_place(replace(spec, params={**spec.params, name: param}), place, _named(name))
        if after is not None:
            return _moved_to(with_the_same_elsewhere(after, spec, place, name), {name: _step(param, hand)})
    return None


def with_the_same_elsewhere(after: Spec, before: Spec, place: Place, name: str) -> Spec:
    """Let the other side of a symmetric strategy have the same parameter."""
    if is_symmetric(before) and place.root.endswith(SIDES):
        return reflected(after, place.root.split("_")[1]) or after
    return after


def to_number(spec: Spec, hand: Hand) -> Spec | None:
    """Fix a parameter, one or two steps from its value now."""
    if not spec.params:
        return None
    name = hand.pick(list(spec.params))
    return bound(spec, {name: _step(spec.params[name], hand).default})


def bound(spec: Spec, values: dict[str, float]) -> Spec:
    """Return a strategy with some parameters replaced by numbers everywhere."""
    rest = {name: _named(name) for name in spec.params if name not in values}

    def put(node: Node) -> Node:
        if node.op == "param":
            return rest.get(str(node.value)) or number(values[str(node.value)])
        if not node.params:
            return node
        return folded(Node(node.op, tuple(map(put, node.args)), node.dimension, node.value))

    def maybe(node: Node | None) -> Node | None:
        return None if node is None else put(node)

    return replace(
        spec,
        params={name: param for name, param in spec.params.items() if name in rest},
        conditions={name: put(tree) for name, tree in spec.conditions.items()},
        stop=maybe(spec.stop), trail=maybe(spec.trail), trail_after=put(spec.trail_after), size=put(spec.size),
        takes=tuple((put(at), put(share)) for at, share in spec.takes), time_stop=maybe(spec.time_stop),
    )  # fmt: skip


def move_param(spec: Spec, hand: Hand) -> Spec | None:
    """Take one or two parameters to values one or a few steps away; a range follows a value at its end."""
    names = [name for name in hand.shuffled(list(spec.params)) if spec.params[name].n_values > 1]
    changed = {name: _step(spec.params[name], hand) for name in names[: hand.pick((1, 1, 2))]}
    return _moved_to(spec, changed) if changed else None


def _moved_to(spec: Spec, changed: dict[str, Param]) -> Spec | None:
    """Return a strategy with other parameters of these names; None where a range fits nowhere."""
    after = replace(spec, params={**spec.params, **changed})
    return with_roots(after, dict(after.conditions))


def _step(param: Param, hand: Hand) -> Param:
    """Return a parameter one or two steps on; the range follows a value that leaves it."""
    values = param.values
    place = int(np.abs(np.array(values) - param.default).argmin())
    to = place + hand.pick((-2, -1, -1, 1, 1, 2))
    if 0 <= to < len(values):
        return replace(param, default=values[to])
    shift = param.step * (to if to < 0 else to - len(values) + 1)
    low, high = round(param.low + shift, 12), round(param.high + shift, 12)
    if low <= 0.0 < param.low:  # a window, a share, a multiple: it stays above zero
        return replace(param, default=values[0] if to < 0 else values[-1])
    return Param(low, high, param.step, low if to < 0 else round(low + param.step * (len(values) - 1), 12))


def range_around(spec: Spec, place: Place, hand: Hand) -> Param | None:
    """Return a range of about seven values around a number; None where there is no room for one."""
    value = float(place.node.value or 0.0)
    half = N_PARAM_VALUES // 2
    if place.kind == "window":
        step = float(max(1, round(value / 6)))
        return _range(value, step, min(half, int((value - _least(spec, place)) // step)), half)
    if place.kind == "share":
        step = 0.05 if 0.1 < value < 0.9 else 0.01
        n = min(half, int(round(min(value, 1.0 - value) / step, 6)))
        return _range(value, step, n, n) if n > 0 else None
    step = float(_threshold_step(spec, place, hand)) if place.root in CONDITIONS else 0.0
    return _range(value, step or float(f"{abs(value) / 6:.1g}"), half, half)


def _range(value: float, step: float, n_below: int, n_above: int) -> Param:
    return Param(round(value - n_below * step, 12), round(value + n_above * step, 12), step, value)


def _fresh(taken: Iterable[str]) -> str:
    names = set(taken)
    return next(name for name in (f"p{k}" for k in range(1, len(names) + 2)) if name not in names)


def _named(name: str) -> Node:
    return parameter(name)
