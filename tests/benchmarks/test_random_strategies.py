"""The grammar's own tests are in tests/research_lab/generators; here is what the benchmark needs of it."""

from __future__ import annotations

import numpy as np

from benchmarks import markets, random_strategies
from benchmarks.scored import scored
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.terms import Terms

N = 200


def test_the_same_seed_gives_the_same_texts_and_another_does_not() -> None:
    assert random_strategies.texts(20, seed=7) == random_strategies.texts(20, seed=7)
    assert random_strategies.texts(20, seed=8) != random_strategies.texts(20, seed=7)


def test_every_text_is_a_strategy_of_its_own_and_most_trade() -> None:
    specs = [parse_spec(text) for text in random_strategies.texts(N, seed=7, timeframe="1h")]
    assert len({spec.hash for spec in specs}) == N
    assert {spec.timeframe for spec in specs} == {"1h"}
    found = scored(specs[:60], markets.made(2_000, "1h"), Terms(), 2)
    assert np.mean(found[:, 0] != 1.0) > 0.6
