from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.dsl.dimensions import CONDITION, PRICE, RATIO, Dimension
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.function import Argument
from research_lab.dsl.registry import FAMILIES, FUNCTIONS, INPUTS
from research_lab.dsl.tree import Node, is_same
from research_lab.errors import GauntletError, UsageError
from research_lab.generators import nodes
from research_lab.generators.brief import Brief
from research_lab.generators.random_trees import RandomTrees
from research_lab.generators.tree_sizes import sizes_of
from research_lab.generators.tunables import Dice, Tunables
from research_lab.generators.vocabulary import NUMBERS, Vocabulary
from research_lab.timeframe import timeframe_ms

BRIEFS = st.builds(
    Brief,
    families=st.lists(st.sampled_from([*FAMILIES]), min_size=1, unique=True).map(tuple),
    inputs=st.lists(st.sampled_from([*INPUTS]), min_size=1, unique=True).map(tuple),
    longer=st.sampled_from([(), ("4h", "1d"), ("1w",)]),
)
TIMEFRAMES = st.sampled_from(["5m", "1h", "4h", "7h", "1d", "1w"])


def trees(seed: int, words: Vocabulary, most: int = 0) -> tuple[RandomTrees, Tunables]:
    dice = Dice(np.random.default_rng(seed))
    tunables = Tunables(dice, most)
    return RandomTrees(words, dice, tunables), tunables


@given(
    BRIEFS, TIMEFRAMES, st.sampled_from([*NUMBERS, CONDITION]), st.integers(1, 60), st.integers(0, 2**32),
    st.integers(0, 6),
)  # fmt: skip
def test_every_tree_is_what_the_reader_reads(
    brief: Brief, timeframe: str, dimension: Dimension, size: int, seed: int, most: int
) -> None:
    words = Vocabulary.of(brief, timeframe)
    drawer, tunables = trees(seed, words, most)
    if not drawer.can(dimension):
        with pytest.raises(UsageError, match="nothing allowed gives"):
            drawer.tree(dimension, size)
        return
    made = drawer.tree(dimension, size)
    ranges = {name: (p.low, p.high, p.step) for name, p in tunables.params.items()}
    found = parse_expression(made.text, Scope(ranges, FixedNumbers(ranges), step_ms=timeframe_ms(timeframe)))
    assert is_same(made, found)
    assert found.dimension.plain() == dimension
    assert words.lacks(found) == ""
    assert len(tunables.params) <= most


def test_sizes_are_kept() -> None:
    drawer, _ = trees(3, Vocabulary.of(Brief(), "1h"))
    sizes = [(size, drawer.tree(CONDITION, size).size) for size in range(3, 43) for _ in range(50)]
    over = [seen - size for size, seen in sizes if seen > size]
    assert max(over) <= 10
    assert len(over) / len(sizes) < 0.1
    assert np.mean([seen for size, seen in sizes if size >= 30]) > 15  # they use what they are given


def test_every_function_occurs_in_conditions() -> None:
    drawer, _ = trees(1, Vocabulary.of(Brief(inputs=tuple(INPUTS)), "1h"))
    drawn = "\n".join(drawer.tree(CONDITION, 3 + k % 30).text for k in range(8_000))
    assert [name for name in INPUTS if name not in drawn] == []
    assert [name for name in [*FUNCTIONS, "tf"] if f"{name}(" not in drawn] == []


def test_every_dimension_is_drawn() -> None:
    drawer, _ = trees(2, Vocabulary.of(Brief(), "1h"))
    for dimension in (*NUMBERS, CONDITION):
        assert drawer.tree(dimension, 12).dimension.plain() == dimension


def test_no_value_is_compared_with_itself() -> None:
    drawer, _ = trees(4, Vocabulary.of(Brief(), "1h"))

    def sides(node: Node) -> list[tuple[Node, ...]]:
        below = [pair for arg in node.args for pair in sides(arg)]
        pair = node.op in ("less", "less_equal", "crosses_above", "crosses_below", "crosses")
        return [node.args, *below] if pair else below

    found = [pair for k in range(3_000) for pair in sides(drawer.tree(CONDITION, 3 + k % 20))]
    assert len(found) > 3_000
    assert [pair for pair in found if pair[0] == pair[1]] == []
    assert ("high", "low") not in {(pair[0].text, pair[1].text) for pair in found}


def test_an_argument_of_another_dimension_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: windows drawn as prices."""
    drawer, _ = trees(5, Vocabulary.of(Brief(), "1h"))
    monkeypatch.setattr(Tunables, "window", lambda *_: nodes.given("close"))
    with pytest.raises(GauntletError):
        for _ in range(200):
            parse_expression(drawer.tree(CONDITION, 12).text, Scope(step_ms=timeframe_ms("1h")))


def test_parameters_have_ranges_around_their_values_and_names_that_say_what_they_are() -> None:
    drawer, tunables = trees(6, Vocabulary.of(Brief(), "1h"), most=12)
    for _ in range(30):
        drawer.tree(CONDITION, 20)
    assert len(tunables.params) > 3
    for name, p in tunables.params.items():
        assert p.low <= p.default <= p.high
        assert p.low < p.high
        assert p.default in p.values
        assert p.high in p.values
        assert name.split("_")[0] in {*(f.split("_")[0] for f in FUNCTIONS), "usual", "factor", *INPUTS}


def test_a_small_brief_has_few_words() -> None:
    words = Vocabulary.of(Brief(only=("rsi",), inputs=("close",)), "1h")
    assert sizes_of(words).least[RATIO] == 3
    assert sizes_of(words).pairs[PRICE] == 5
    assert words.windows(FUNCTIONS["rsi"], Argument("n", "window"))[0] == 3
