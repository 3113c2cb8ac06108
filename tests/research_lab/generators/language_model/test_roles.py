from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from research_lab.dsl.spec_reader import parse_spec
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.behaviour import Behaviour
from research_lab.generators.language_model.generator import LanguageModel
from research_lab.generators.protocol import Feedback
from research_lab.scoring.origin import Origin
from tests.research_lab.generators.language_model.loopback import Asked, Handler, Says, serving
from tests.research_lab.generators.language_model.strategies import BRIEF, answer, settings, strategy

PARENTS = [parse_spec(json.dumps(strategy(n, hypothesis=f"It holds for {n} bars."))) for n in (20, 60)]


def statements(n: int) -> str:
    rows = [
        {"hypothesis": f"Late buyers pay {k}.", "fails_when": "Entries lose\x07 at once."} for k in range(n)
    ]
    return json.dumps({"statements": rows})


def author_and_critic(handler: Handler, asked: Asked) -> None:
    words = statements(2) if "You are the critic" in asked.text else answer(strategy(20), strategy(50))
    Says(words)(handler, asked)


def test_ideas_of_people_come_first_one_strategy_each(tmp_path: Path) -> None:
    brief = replace(BRIEF, ideas=("Buy dips in a rise", "Buy breakouts", "Sell nothing"))
    script = (
        Says(answer(strategy(20), strategy(30))),
        Says(answer(strategy(40))),
        Says(answer(strategy(50))),
    )
    with serving(*script) as server:
        model = LanguageModel(settings(server.url), tmp_path)
        proposals = model.propose(brief, Feedback(Archive()), 4, np.random.default_rng(1))
    assert [json.loads(p.text)["name"] for p in proposals] == ["above_20", "above_30", "above_40", "above_50"]
    assert "1. Buy dips in a rise" in json.loads(server.asked[0].text)["messages"][-1]["content"]
    assert "1. Sell nothing" in json.loads(server.asked[1].text)["messages"][-1]["content"]


def test_ideas_beyond_one_generation_are_asked_for_in_the_next(tmp_path: Path) -> None:
    brief = replace(
        BRIEF, ideas=tuple(f"Idea of {word}" for word in ("dips", "gaps", "rises", "calm", "noise"))
    )
    with serving(Says(answer(strategy(20), strategy(30)))) as server:
        model = LanguageModel(settings(server.url), tmp_path)
        for generation in range(3):
            told = Feedback(Archive(), generation=generation)
            model.propose(brief, told, 2, np.random.default_rng(generation))
    asked = [json.loads(request.text)["messages"][-1]["content"] for request in server.asked]
    listed = [ask.partition("in their order")[2] for ask in asked if "Turn each idea" in ask]
    assert ["1. Idea of dips\n2. Idea of gaps" in listed[0], "1. Idea of rises" in listed[1]] == [True, True]
    assert "1. Idea of noise" in listed[2] and len(listed) == 3


def test_a_variation_is_shown_its_parents_and_told_by_their_hashes(tmp_path: Path) -> None:
    with serving(Says(answer(strategy(30)))) as server:
        model = LanguageModel(settings(server.url), tmp_path)
        (child,) = model.vary(BRIEF, Feedback(Archive()), PARENTS, 1, np.random.default_rng(1))
    assert child.origin.parent == " ".join(parent.hash for parent in PARENTS)
    assert "sma(close, 20)" in server.asked[0].text
    assert "It holds for 60 bars." in server.asked[0].text


def test_a_search_with_an_archive_asks_for_variations_of_it(tmp_path: Path) -> None:
    archive = Archive()
    archive.offer(Elite(PARENTS[0], Origin(), 1.0, 1.0, Behaviour(3.0, 12.0, 0.5, 0.1)))
    with serving(Says(answer(strategy(30)))) as server:
        model = LanguageModel(settings(server.url, variation=1.0), tmp_path)
        (child,) = model.propose(BRIEF, Feedback(archive, (), 1, 1), 1, np.random.default_rng(1))
    assert child.origin.parent == PARENTS[0].hash


def test_the_critic_states_what_each_claims_and_how_it_would_fail(tmp_path: Path) -> None:
    with serving(author_and_critic) as server:
        model = LanguageModel(settings(server.url, critic=True), tmp_path)
        proposals = model.propose(BRIEF, Feedback(Archive()), 2, np.random.default_rng(1))
    specs = [parse_spec(p.text) for p in proposals]
    assert [s.hypothesis for s in specs] == [
        f"Late buyers pay {k}. Fails when: Entries lose at once." for k in (0, 1)
    ]
    assert [s.hash for s in specs] == [parse_spec(json.dumps(strategy(n))).hash for n in (20, 50)]
    assert "Trends last" not in server.asked[1].text.partition("You are the critic")[2]
    roles = {json.loads(path.read_text())["role"] for path in (tmp_path / "transcripts").iterdir()}
    assert roles == {"author", "critic"}


def test_a_critic_that_says_nothing_useful_changes_nothing(tmp_path: Path) -> None:
    def useless(handler: Handler, asked: Asked) -> None:
        words = (
            '{"statements": [{"hypothesis": ""}]}'
            if "You are the critic" in asked.text
            else answer(strategy(20))
        )
        Says(words)(handler, asked)

    with serving(useless) as server:
        model = LanguageModel(settings(server.url, critic=True), tmp_path)
        (proposal,) = model.propose(BRIEF, Feedback(Archive()), 1, np.random.default_rng(1))
    assert json.loads(proposal.text) == strategy(20)


def test_the_next_question_names_what_was_just_proposed(tmp_path: Path) -> None:
    with serving(Says(answer(strategy(20))), Says(answer(strategy(50)))) as server:
        model = LanguageModel(settings(server.url, strategies_a_call=1), tmp_path)
        model.propose(BRIEF, Feedback(Archive()), 2, np.random.default_rng(1))
    assert "- `sma(close, 20) < close`" in json.loads(server.asked[1].text)["messages"][-1]["content"]


def test_a_seed_is_handed_on_and_differs_by_question(tmp_path: Path) -> None:
    with serving(Says(answer(strategy(20)))) as server:
        model = LanguageModel(settings(server.url, seed=7, temperature=0.5, strategies_a_call=1), tmp_path)
        model.propose(BRIEF, Feedback(Archive()), 2, np.random.default_rng(1))
    first, second = (request.body for request in server.asked)
    assert first["temperature"] == 0.5
    assert first["seed"] != second["seed"]
