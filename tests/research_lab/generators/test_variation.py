from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.function import FIXED_KINDS
from research_lab.dsl.registry import INPUTS
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.dsl.tree import Node
from research_lab.errors import SpecError
from research_lab.generators import number_variation, symmetry
from research_lab.generators.brief import Brief
from research_lab.generators.crossing import crossed
from research_lab.generators.evolution import CHANGES
from research_lab.generators.grammar import Grammar
from research_lab.generators.hand import Hand, finished
from research_lab.generators.nodes import given as named
from research_lab.generators.nodes import number
from research_lab.generators.number_variation import bound
from research_lab.generators.places import Place, places, used_params, with_place, with_places
from research_lab.generators.symmetry import is_symmetric

WIDE = Brief(inputs=tuple(INPUTS), sides=("long", "short", "both"), timeframes=("1h", "4h", "1d"))
NARROW = Brief(
    sides=("both",), timeframes=("4h",), families=("averages", "momentum", "order"), max_nodes=30, max_params=2,
    blocks=("stop", "time_stop"), sizes=("fraction",), inputs=("open", "high", "low", "close"),
)  # fmt: skip
BREAKOUT = parse_spec("""spec: 1
name: breakout
hypothesis: A broken range runs on.
timeframe: 4h
side: both
params:
  n: {range: [10, 50], step: 10, default: 20}
enter_long: close > prev(highest(high, n)) and adx(14) > 25
enter_short: close < prev(lowest(low, n)) and adx(14) > 25
exit_long: close < ema(close, 30)
exit_short: close > ema(close, 30)
stop: 3 * atr(14)
take: [{at: 1R, close: 0.5}]
time_stop: 48
size: {risk: 0.01}
""")
# What the narrow brief leaves nothing of, or has drawn already.
NOT_THERE = (
    "trail",
    "takes",
    "breakeven",
    "size",
    "regimes",
    "side",
    "timeframe",
    "fewer_blocks",
    "mirror",
    "less",
)
ELSEWHERE = ("breakeven", "times", "other_times")  # seldom drawn; times have tests of their own


def hand(brief: Brief, seed: int) -> Hand:
    return Hand(brief, Grammar(), np.random.default_rng(seed))


def drawn(brief: Brief, seed: int) -> Spec:
    return Grammar().strategy(brief, np.random.default_rng([seed, 1]))


def check(spec: Spec, brief: Brief) -> None:
    """Read a strategy as anybody's text: it is the same strategy, and within the brief."""
    again = parse_spec(spec.canonical())
    assert again.hash == spec.hash
    assert again.template_hash == spec.template_hash
    assert brief.refuses(again) == ""
    assert used_params(again) == set(again.params)


@pytest.mark.parametrize("brief", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", list(CHANGES))
def test_every_change_gives_a_strategy_within_the_brief(name: str, brief: Brief) -> None:
    n_changed = 0
    for seed in range(12):
        before = drawn(brief, seed)
        by = hand(brief, seed)
        after = finished(CHANGES[name][1](before, by), by, before)
        if after is not None:
            n_changed += 1
            assert after.hash != before.hash
            check(after, brief)
    assert n_changed or name in ELSEWHERE or (brief is NARROW and name in NOT_THERE)


@given(seed=st.integers(0, 100_000))
def test_children_of_children_stay_strategies_within_the_brief(seed: int) -> None:
    by, spec = hand(WIDE, seed), drawn(WIDE, seed)
    names = list(CHANGES)
    for _ in range(6):
        spec = finished(CHANGES[by.pick(names)][1](spec, by), by, spec) or spec
    check(spec, WIDE)


@given(seed=st.integers(0, 100_000))
def test_two_parents_make_a_strategy_within_the_brief(seed: int) -> None:
    by, one, other = hand(WIDE, seed), drawn(WIDE, seed), drawn(WIDE, seed + 1)
    child = finished(crossed(one, other, by), by, one)
    if child is not None:
        check(child, WIDE)


@given(seed=st.integers(0, 100_000))
def test_a_subtree_is_replaced_by_one_of_its_dimension(seed: int) -> None:
    before, by = drawn(WIDE, seed), hand(WIDE, seed)
    for place in places(before):
        after = with_place(before, place, place.node)
        assert after is not None
        assert after.hash == before.hash
        if place.kind not in FIXED_KINDS and by.words(before).calls(place.node.dimension.plain()):
            new = by.draw(place.node.dimension.plain(), before)
            assert new.dimension.plain() == place.node.dimension.plain()


@given(seed=st.integers(0, 100_000))
def test_what_both_sides_said_they_go_on_saying(seed: int) -> None:
    by, spec = hand(WIDE, seed), BREAKOUT
    keeps = [n for n in CHANGES if n not in ("side", "turn")]
    after = finished(CHANGES[by.pick(keeps)][1](spec, by), by, spec)
    if after is not None and after.side == "both":
        assert is_symmetric(after)


def test_a_change_that_ignores_dimensions_is_refused() -> None:
    close = next(p for p in places(BREAKOUT) if p.node.text == "close")
    assert close.node.dimension == PRICE
    assert with_place(BREAKOUT, close, named("volume")) is None
    assert with_place(BREAKOUT, close, parse_expression("rsi(close, 14)", Scope())) is None
    assert with_place(BREAKOUT, close, named("open")) is not None


def test_the_check_finds_a_change_that_ignores_dimensions() -> None:
    """The planted fault: a tree put together without being read again."""
    wrong = Node("less", (named("volume"), named("close")), BREAKOUT.conditions["enter_long"].dimension)
    with pytest.raises(SpecError):
        check(replace(BREAKOUT, conditions={**BREAKOUT.conditions, "enter_long": wrong}), WIDE)


def test_a_window_that_is_none_is_refused() -> None:
    window = next(p for p in places(BREAKOUT) if p.kind == "window" and p.node.op == "constant")
    for value in (0.0, 2.5, -3.0, 1e6):
        assert with_place(BREAKOUT, window, number(value)) is None


def test_several_places_are_changed_at_once_whatever_the_order_of_arguments() -> None:
    spec = replace(BREAKOUT, conditions={
        "enter_long": parse_expression("min(ema(close, 50), sma(open, 9)) < close", Scope()),
        "enter_short": parse_expression("close < open", Scope()),
    })  # fmt: skip
    windows = [p for p in places(spec, ("enter_long",)) if p.kind == "window"]
    after = with_places(spec, [(p, number(float(p.node.value or 0) + 100)) for p in windows])
    assert after is not None
    assert after.conditions["enter_long"].text == "min(ema(close, 150), sma(open, 109)) < close"


def test_bound_parameters_are_numbers_of_the_same_strategy() -> None:
    fixed = bound(BREAKOUT, {"n": 20.0})
    assert fixed.hash == BREAKOUT.hash
    assert not fixed.params


def test_a_range_follows_a_value_at_its_end() -> None:
    at_end = BREAKOUT.bind({"n": 50.0})
    moved = {number_variation._step(at_end.params["n"], hand(WIDE, seed)) for seed in range(40)}
    assert any(p.default > 50.0 for p in moved)
    assert all(p.n_values == 5 and p.low <= p.default <= p.high and p.low > 0 for p in moved)


def test_turning_round_swaps_the_sides() -> None:
    turned = symmetry.turn(BREAKOUT, hand(WIDE, 0))
    assert turned is not None
    assert turned.conditions["enter_long"] == BREAKOUT.conditions["enter_short"]
    assert turned.conditions["exit_short"] == BREAKOUT.conditions["exit_long"]


def test_places_tell_windows_from_numbers() -> None:
    kinds: dict[str, list[Place]] = {}
    for place in places(BREAKOUT):
        kinds.setdefault(place.kind, []).append(place)
    assert {p.node.text for p in kinds["window"]} == {"n", "1", "14", "30"}
    assert "25" in {p.node.text for p in kinds["number"]}
