from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks import markets
from research_lab.bars import Bars
from research_lab.dsl.registry import FAMILIES, FUNCTIONS, INPUTS
from research_lab.dsl.spec import Spec, compile_union
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import metrics
from research_lab.engine.jit import FloatArray
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.errors import SpecError, UsageError
from research_lab.generators import risk_blocks, shapes
from research_lab.generators.archive import Archive
from research_lab.generators.brief import Brief
from research_lab.generators.brief_bounds import BLOCKS, SIZES, blocks_of, size_of
from research_lab.generators.grammar import Grammar
from research_lab.generators.protocol import Feedback, Generator, Proposal
from research_lab.generators.random_trees import RandomTrees
from research_lab.generators.shapes import KINDS, SHAPES
from research_lab.generators.tunables import MAX_COMBINATIONS
from research_lab.generators.vocabulary import Vocabulary

WIDE = Brief(inputs=tuple(INPUTS), sides=("long", "short", "both"), timeframes=("15m", "1h", "4h", "1d"))
N_TRADES = metrics.NAMES.index("n_trades")
NOTHING = Feedback(Archive())


def some(names: tuple[str, ...], least: int = 1) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), min_size=least, unique=True).map(tuple)


BRIEFS = st.builds(
    Brief,
    timeframes=some(("1m", "15m", "1h", "4h", "7h", "8h", "1d", "1w")),
    sides=some(("long", "short", "both")),
    families=some(tuple(FAMILIES)),
    inputs=some(tuple(INPUTS)),
    longer=some(("2h", "4h", "1d", "1w"), least=0),
    max_nodes=st.integers(8, 200),
    max_params=st.integers(0, 16),
    blocks=st.just(BLOCKS) | some(BLOCKS, least=0).filter(lambda blocks: "stop" in blocks),
    sizes=some(SIZES),
    never=some(tuple(FUNCTIONS), least=0),
)


def drawn(n: int, brief: Brief = WIDE, seed: int = 1) -> list[Proposal]:
    return Grammar().propose(brief, NOTHING, n, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def specs() -> list[Spec]:
    return [parse_spec(proposal.text) for proposal in drawn(700)]


def trades_of(specs: list[Spec], bars: Bars) -> FloatArray:
    """Closed trades of each strategy."""
    found: FloatArray = sweep([compile_union(specs)], bars, Terms(), n_threads=1).metrics[:, N_TRADES]
    return found


def faults(proposals: list[Proposal], brief: Brief) -> list[str]:
    """What is wrong with texts: those that are no strategies, or lie outside the brief."""
    found = []
    for proposal in proposals:
        try:
            why = brief.refuses(parse_spec(proposal.text))
        except SpecError as fault:
            why = str(fault)
        found += [why] if why else []
    return found


def test_it_is_a_generator() -> None:
    grammar: Generator = Grammar()
    assert (grammar.name, grammar.version) == ("grammar", "1")
    assert {p.origin.generator for p in drawn(3)} == {"grammar"}


@given(BRIEFS, st.integers(0, 2**32))
def test_every_proposal_is_a_strategy_within_its_brief(brief: Brief, seed: int) -> None:
    try:
        proposals = drawn(4, brief, seed)
    except UsageError:
        assume(False)
    assert faults(proposals, brief) == []


@given(BRIEFS.filter(lambda brief: brief.max_nodes >= 30 and {"open", "close"} <= set(brief.inputs)))
def test_a_brief_with_room_and_prices_always_has_strategies(brief: Brief) -> None:
    assert len(drawn(2, brief)) == 2


def test_a_window_that_is_too_short_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: the shapes take any window for any average."""
    monkeypatch.setattr(shapes, "FAST", (1, 2, 3))
    monkeypatch.setattr(RandomTrees, "can", lambda *_: False)
    monkeypatch.setattr("research_lab.generators.tunables.Tunables.window",
                        lambda self, name, choices, least=1, most=9: shapes.number(self._dice.pick(choices)))  # fmt: skip
    assert any("bars" in fault for fault in faults(drawn(300), WIDE))


def test_a_block_outside_the_brief_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: a stop is drawn whatever the brief says, and nobody looks."""
    brief = Brief(blocks=("time_stop",), sizes=("fraction",))
    monkeypatch.setattr(risk_blocks, "_needs_stop", lambda brief: True)
    monkeypatch.setattr(Brief, "refuses", lambda *_: "")
    proposals = drawn(20, brief)
    monkeypatch.undo()
    assert set(faults(proposals, brief)) == {"it has stop, which the brief leaves out"}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    assert [p.text for p in drawn(50, seed=3)] == [p.text for p in drawn(50, seed=3)]
    assert [p.text for p in drawn(50, seed=3)] != [p.text for p in drawn(50, seed=4)]


def test_it_keeps_nothing_between_calls() -> None:
    grammar, rng = Grammar(), np.random.default_rng(5)
    grammar.propose(WIDE, NOTHING, 30, rng)
    state = rng.bit_generator.state
    going_on = grammar.propose(WIDE, NOTHING, 10, rng)
    rng.bit_generator.state = state
    assert Grammar().propose(WIDE, NOTHING, 10, rng) == going_on


def test_no_two_proposals_of_a_call_are_the_same_strategy(specs: list[Spec]) -> None:
    assert len({spec.hash for spec in specs}) == len(specs)


def test_a_brief_with_few_strategies_gives_those_it_has(
    monkeypatch: pytest.MonkeyPatch, specs: list[Spec]
) -> None:
    monkeypatch.setattr(Grammar, "strategy", lambda self, brief, rng: specs[int(rng.integers(3))])
    assert {proposal.text for proposal in drawn(10)} == {spec.canonical() for spec in specs[:3]}


def test_texts_are_canonical_and_names_tell_shape_and_hash() -> None:
    for proposal in drawn(100):
        spec = parse_spec(proposal.text)
        assert spec.canonical() == proposal.text
        shape, digits = spec.name.rsplit("_", 1)
        assert spec.hash.startswith(digits)
        assert shape in {"chance", *(shape.name for shape in SHAPES)}


def test_sizes_follow_the_brief_and_small_ones_are_common() -> None:
    bounds = (10, 30, 60, 200)
    sizes = [
        np.array([parse_spec(p.text).n_nodes for p in drawn(150, Brief(max_nodes=most))]) for most in bounds
    ]
    for most, found in zip(bounds, sizes, strict=True):
        assert found.max() <= most
        assert np.median(found) <= 8 + 0.45 * (most - 8)
        assert np.quantile(found, 0.98) > 0.35 * most
        assert np.mean(found <= 20) > 0.15
    assert all(np.diff([np.mean(found) for found in sizes]) > 1)


def test_parameters_are_as_many_as_allowed_and_can_be_searched(specs: list[Spec]) -> None:
    counts = Counter(len(spec.params) for spec in specs)
    assert set(counts) == {0, 1, 2, 3, 4}
    assert all(spec.n_combinations <= MAX_COMBINATIONS for spec in specs)
    assert {len(parse_spec(p.text).params) for p in drawn(50, Brief(max_params=0))} == {0}
    for spec in specs:
        for param in spec.params.values():
            assert param.default in param.values
            assert 2 <= param.n_values <= 9
            assert param.high in param.values


def test_every_function_and_input_occurs() -> None:
    texts = "\n".join(proposal.text for proposal in drawn(5_000, seed=2))
    assert [name for name in [*FUNCTIONS, "tf"] if f"{name}(" not in texts] == []
    assert [name for name in INPUTS if name not in texts] == []


def test_every_block_and_size_occurs(specs: list[Spec]) -> None:
    blocks = Counter(name for spec in specs for name in blocks_of(spec))
    sizes = Counter(size_of(spec)[0] for spec in specs)
    assert min(blocks[name] for name in BLOCKS) > 2
    assert min(sizes[name] for name in SIZES) > 70
    assert min(Counter(spec.side for spec in specs).values()) > 150


def test_positions_end(specs: list[Spec]) -> None:
    for spec in specs:
        sides = {name.split("_")[1] for name in spec.conditions if name.startswith("enter")}
        leaves = all(f"exit_{side}" in spec.conditions for side in sides)
        assert leaves or spec.time_stop is not None or spec.trail is not None


def test_shorts_are_longs_reflected(specs: list[Spec]) -> None:
    breaks = [s for s in specs if s.side == "both" and s.name.startswith("breakout")]
    assert breaks
    for spec in breaks:
        assert spec.conditions["enter_long"] != spec.conditions["enter_short"]
        assert ("highest" in spec.conditions["enter_long"].text) == (
            "lowest" in spec.conditions["enter_short"].text
        )


def test_each_kind_of_edge_is_looked_for(specs: list[Spec]) -> None:
    kind_of = {shape.name: shape.kind for shape in SHAPES}
    counts = Counter(kind_of.get(spec.name.rsplit("_", 1)[0], "chance") for spec in specs)
    assert set(counts) == {*KINDS, "chance"}
    assert min(counts.values()) > 0.05 * len(specs)
    assert 0.2 < counts["chance"] / len(specs) < 0.45


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_each_shape_is_what_it_says(shape: shapes.Shape) -> None:
    words = Vocabulary.of(WIDE, "1h")
    t = RandomTrees(words, np.random.default_rng(1))
    ideas = [idea for idea in (shape.draw(t) for _ in range(200)) if idea is not None]
    assert len({idea.entry.text for idea in ideas}) > 15
    read = {name for idea in ideas for name in idea.entry.inputs}
    wanted = {"funding": {"funding", "premium"}, "calendar": set()}
    assert read == wanted[shape.kind] if shape.kind in wanted else "close" in read | {"close"}
    assert all(words.lacks(idea.entry) == "" for idea in ideas)


def test_a_brief_without_funding_has_none() -> None:
    texts = "\n".join(proposal.text for proposal in drawn(400, Brief()))
    assert "funding <" not in texts.replace("minutes_to_funding", "")
    assert "premium" not in texts


def test_a_brief_that_leaves_nothing_says_so() -> None:
    with pytest.raises(UsageError, match="nothing within 8 operations was found"):
        drawn(1, Brief(max_nodes=8, sizes=("target_vol",)))


def test_what_is_demanded_is_there() -> None:
    brief = Brief(required=("breakeven", "regime_exit", "trail"), sizes=("risk",), blocks=BLOCKS)
    for proposal in drawn(40, brief):
        assert {"stop", "take", "breakeven", "trail", "regimes", "regime_exit"} <= blocks_of(
            parse_spec(proposal.text)
        )


def test_trees_for_changes_are_within_the_words() -> None:
    words = Vocabulary.of(Brief(), "4h")
    rng = np.random.default_rng(1)
    for dimension in sorted(words.makes, key=str):
        for _ in range(50):
            tree = Grammar().tree(dimension, words, rng)
            assert tree.dimension.plain() == dimension
            assert words.lacks(tree) == ""
            assert not tree.params


def test_a_good_share_trades() -> None:
    brief = dataclasses.replace(WIDE, timeframes=("1h",), sides=("long",), inputs=Brief().inputs)
    specs = [parse_spec(proposal.text) for proposal in drawn(150, brief)]
    n_trades = trades_of(specs, markets.made(4_000, "1h", seed=7))
    assert np.mean(n_trades > 0) > 0.75
    assert np.mean(n_trades >= 10) > 0.5
