from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import markets, random_strategies
from benchmarks.scored import scored
from research_lab.dsl.function import Argument
from research_lab.dsl.registry import FUNCTIONS
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.terms import Terms

N = 300


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return random_strategies.texts(N, seed=7)


def test_the_same_seed_gives_the_same_texts_and_another_does_not(texts: list[str]) -> None:
    assert random_strategies.texts(N, seed=7) == texts
    assert random_strategies.texts(N, seed=8) != texts


def test_every_text_is_a_strategy_and_no_two_are_alike(texts: list[str]) -> None:
    assert len({parse_spec(text).hash for text in texts}) == N


def test_no_function_on_longer_bars_stands_in_another() -> None:
    drawn = [text for text in random_strategies.texts(6_000, seed=1) if text.count("confirmed(") > 1]
    assert len(drawn) > 5
    for text in drawn:
        parse_spec(text)


def test_every_function_is_drawn(texts: list[str]) -> None:
    joined = "\n".join(texts) + "\n".join(random_strategies.texts(1_500, seed=9))
    assert [name for name in FUNCTIONS if f"{name}(" not in joined] == []


def test_a_function_of_unknown_kind_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = replace(FUNCTIONS["abs"], name="strange", arguments=(Argument("x", "weekday"),))
    known = replace(FUNCTIONS["abs"], name="known")
    monkeypatch.setitem(FUNCTIONS, "strange", strange)
    monkeypatch.setitem(FUNCTIONS, "known", known)
    names = {function.name for choices in random_strategies._choices().values() for function, _ in choices}
    assert "strange" not in names
    assert "known" in names


def test_many_of_them_trade(texts: list[str]) -> None:
    found = scored([parse_spec(text) for text in texts[:60]], markets.made(2_000, "1h"), Terms(), 2)
    assert np.mean(found[:, 0] != 1.0) > 0.2
