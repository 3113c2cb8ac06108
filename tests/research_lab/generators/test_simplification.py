from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import markets
from research_lab.dsl.compiler import program_of
from research_lab.dsl.dimensions import CONDITION
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.tree import Node
from research_lab.engine.evaluation import evaluate
from research_lab.engine.jit import BoolArray
from research_lab.generators.brief import Brief
from research_lab.generators.random_trees import RandomTrees
from research_lab.generators.simplification import simplified
from research_lab.generators.vocabulary import Vocabulary

HOUR_MS = 3_600_000
BARS = markets.made(1_500, "1h", 5)
WORDS = Vocabulary.of(Brief(), "1h")


def read(text: str) -> Node:
    return parse_expression(text, Scope(step_ms=HOUR_MS))


def holds(node: Node | bool) -> BoolArray:
    """Return the bars on which a condition is definitely true."""
    if isinstance(node, bool):
        return np.full(BARS.n, node)
    held: BoolArray = evaluate(program_of([node], HOUR_MS, ())[0], HOUR_MS, BARS)[0][0] == 1.0
    return held


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("not not close > open", "open < close"),
        ("-(-close) > open", "open < close"),
        ("close < close or close > open", "open < close"),
        ("rsi(14) < 30 and rsi(14) < 50", "rsi(close, 14) < 30"),
        ("rsi(14) < 30 or rsi(14) < 50", "rsi(close, 14) < 50"),
        ("rsi(14) > 70 and rsi(14) >= 70", "70 < rsi(close, 14)"),
        ("held_for(close > open, 1)", "open < close"),
        ("max(close, close) > open", "open < close"),
        ("abs(-body()) > atr(14)", "atr(14) < abs(body())"),
        ("if_else(hour() > 3, close, close) > open", "open < close"),
        ("1 < 2 and close > open", "open < close"),
    ],
)
def test_what_changes_nothing_is_left_out(text: str, wanted: str) -> None:
    found = simplified(read(text))
    assert isinstance(found, Node)
    assert found.text == wanted
    assert (holds(read(text)) == holds(found)).all()


@pytest.mark.parametrize(
    ("text", "truth"), [("close < close", False), ("not (2 < 1)", True), ("3 < 1 and close > open", False)]
)
def test_what_cannot_change_is_told(text: str, truth: bool) -> None:
    assert simplified(read(text)) is truth


@given(seed=st.integers(0, 10_000))
def test_a_simple_condition_holds_where_the_one_before_did(seed: int) -> None:
    tree = RandomTrees(WORDS, np.random.default_rng(seed)).tree(CONDITION, 25)
    simple = simplified(tree)
    assert isinstance(simple, bool) or simple.size <= tree.size
    assert (holds(tree) == holds(simple)).all()
    assert isinstance(simple, bool) or simplified(simple) == simple
