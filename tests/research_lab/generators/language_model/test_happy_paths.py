from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from research_lab.dsl.spec_reader import parse_spec
from research_lab.generators.archive import Archive
from research_lab.generators.language_model import generator
from research_lab.generators.language_model.exchange import ExchangeStore
from research_lab.generators.language_model.generator import LanguageModel
from research_lab.generators.protocol import Feedback
from tests.research_lab.generators.language_model.loopback import Says, serving
from tests.research_lab.generators.language_model.strategies import BRIEF, answer, asked, settings, strategy

TWO = answer(strategy(20), strategy(50))


@pytest.mark.parametrize("mode", ["native", "tool", "prompted"])
def test_strategies_come_back_as_they_were_written_in_every_mode(mode: str, tmp_path: Path) -> None:
    with serving(Says(TWO)) as server:
        model = LanguageModel(settings(server.url, output=mode), tmp_path)
        texts = asked(model)
    assert [json.loads(text) for text in texts] == [strategy(20), strategy(50)]
    sent = server.asked[0].body
    assert ("tools" in sent) == (mode == "tool")
    assert (sent.get("response_format", {}).get("type") == "json_schema") == (mode == "native")
    assert (
        "enter_long" in json.dumps(sent.get("tools") or sent.get("response_format") or {})
        or mode == "prompted"
    )
    assert model.spent.calls == 1
    assert (model.spent.prompt_tokens, model.spent.answer_tokens) == (1_000, 200)


@pytest.mark.parametrize(("mode", "most"), [("tool", 8_000), ("tool", 64_000), ("prompted", 8_000)])
def test_anthropics_protocol_brings_the_same_whole_and_in_a_stream(
    mode: str, most: int, tmp_path: Path
) -> None:
    with serving(Says(TWO)) as server:
        known = settings(server.url, provider="anthropic", output=mode, max_answer_tokens=most)
        texts = asked(LanguageModel(known, tmp_path))
    assert [json.loads(text) for text in texts] == [strategy(20), strategy(50)]
    assert server.asked[0].path == "/v1/messages"
    assert server.asked[0].body["stream"] == (most == 64_000)


def test_a_refused_strategy_is_asked_for_again_in_the_loaders_words(tmp_path: Path) -> None:
    wrong = strategy(30, enter_long="close > rsi(14)")
    with serving(Says(answer(strategy(20), wrong)), Says(answer(strategy(30)))) as server:
        texts = asked(LanguageModel(settings(server.url), tmp_path))
    assert [json.loads(text) for text in texts] == [strategy(20), strategy(30)]
    assert "compares price with ratio" in server.asked[1].text


def test_what_is_not_repaired_is_proposed_as_it_is(tmp_path: Path) -> None:
    wrong = strategy(30, enter_long="close > rsi(14)")
    with serving(Says(answer(wrong))) as server:
        texts = asked(LanguageModel(settings(server.url, repairs=2), tmp_path))
    assert [json.loads(text) for text in texts] == [wrong]
    assert len(server.asked) == 3


def test_what_a_repair_leaves_out_is_proposed_as_it_is(tmp_path: Path) -> None:
    wrong = [strategy(name=name, enter_long=f"close > {n}") for n, name in enumerate("abc", start=7)]
    mended = strategy(40, name="b")
    with serving(Says(answer(strategy(20), *wrong)), Says(answer(mended))) as server:
        texts = asked(LanguageModel(settings(server.url, strategies_a_call=4), tmp_path), n=4)
    assert [json.loads(text) for text in texts] == [strategy(20), wrong[0], mended, wrong[2]]


def test_a_repair_under_other_names_goes_by_its_place(tmp_path: Path) -> None:
    wrong = [strategy(name=name, enter_long=f"close > {n}") for n, name in enumerate("ab", start=7)]
    mended = [strategy(40), strategy(50)]
    with serving(Says(answer(wrong[0], strategy(20), wrong[1])), Says(answer(*mended))) as server:
        texts = asked(LanguageModel(settings(server.url, strategies_a_call=3), tmp_path), n=3)
    assert [json.loads(text) for text in texts] == [mended[0], strategy(20), mended[1]]


def test_all_strategies_again_are_not_taken_for_others(tmp_path: Path) -> None:
    wrong = strategy(30, enter_long="close > rsi(14)")
    again = strategy(20, hypothesis="Trends last, said anew.")
    with serving(Says(answer(strategy(20), wrong)), Says(answer(again, strategy(30)))) as server:
        texts = asked(LanguageModel(settings(server.url), tmp_path))
    assert [json.loads(text) for text in texts] == [strategy(20), strategy(30)]


def test_a_fault_of_our_own_check_is_raised_and_not_taken_for_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(answer: str, n: int) -> str:
        raise LookupError("a fault of ours")

    monkeypatch.setattr(generator, "complaint_about", faulty)
    with serving(Says(TWO)) as server, pytest.raises(LookupError, match="a fault of ours"):
        asked(LanguageModel(settings(server.url), tmp_path))


def test_a_fault_of_our_own_store_is_raised_and_not_taken_for_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: object) -> None:
        raise TypeError("a fault of ours")

    monkeypatch.setattr(ExchangeStore, "keep", faulty)
    with serving(Says(TWO)) as server, pytest.raises(TypeError, match="a fault of ours"):
        asked(LanguageModel(settings(server.url), tmp_path))


def test_a_proposal_tells_who_wrote_it_when_it_could_have_learnt_what_and_what_it_was_asked(
    tmp_path: Path,
) -> None:
    with serving(Says(TWO)) as server:
        model = LanguageModel(settings(server.url), tmp_path)
        first, _ = model.propose(BRIEF, Feedback(Archive()), 2, np.random.default_rng(1))
    origin = first.origin
    assert (origin.generator, origin.model, origin.knowledge_cutoff) == ("llm", "small", "2025-06-30")
    assert (tmp_path / "transcripts" / f"{origin.prompt}.json").exists()


def test_an_answer_is_replayed_without_the_server_byte_for_byte(tmp_path: Path) -> None:
    with serving(
        Says(answer(strategy(20), strategy(30, stop="2 * rsi(14)"))), Says(answer(strategy(31)))
    ) as server:
        known = settings(server.url)
        online = asked(LanguageModel(known, tmp_path))
        written = {path.name: path.read_bytes() for path in tmp_path.rglob("*.json")}
    again = LanguageModel(known, tmp_path, offline=True)
    assert asked(again) == online
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.json")} == written
    assert all(parse_spec(text) for text in online)
