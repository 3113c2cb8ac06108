"""Answers that are nearly right: both protocols with parts of their JSON changed, left out or doubled at random."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import SpecError
from research_lab.generators.language_model.exchange import ANSWERED, Reply
from research_lab.generators.language_model.generator import LanguageModel
from research_lab.generators.language_model.wire import Wire
from tests.research_lab.generators.language_model.loopback import completion
from tests.research_lab.generators.language_model.strategies import answer, asked, settings, strategy

WORDS = answer(strategy(20))
JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 10**40, "", "x", "\ud800", "9" * 50, [], {}, [[]], [None], {"a": None}, {"type": "text"},
    {"type": "tool_use"}, "tool_use", "{}", "[]", '"', ["a", "b"], {"text": 5}, "thinking", "content_filter", "length",
)  # fmt: skip


def openai(tool: bool) -> Any:
    call = {"id": "c", "type": "function", "function": {"name": "final_result", "arguments": WORDS}}
    message = (
        {"role": "assistant", "content": None, "tool_calls": [call]}
        if tool
        else {"role": "assistant", "content": WORDS}
    )
    return completion(message, {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10})


def anthropic(tool: bool) -> Any:
    part = {"type": "tool_use", "id": "t", "name": "final_result", "input": json.loads(WORDS)}
    head = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "x",
        "stop_sequence": None,
        "stop_reason": "end_turn",
    }
    content = [part if tool else {"type": "text", "text": WORDS}]
    return {**head, "content": content, "usage": {"input_tokens": 1, "output_tokens": 2}}


def stream(tool: bool) -> Any:
    block = (
        {"type": "tool_use", "id": "t", "name": "final_result", "input": {}}
        if tool
        else {"type": "text", "text": ""}
    )
    kind, name = ("input_json_delta", "partial_json") if tool else ("text_delta", "text")
    return [
        {"type": "message_start", "message": {**anthropic(False), "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": {"type": kind, name: WORDS[:20]}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": kind, name: WORDS[20:]}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 3},
        },
        {"type": "message_stop"},
    ]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*place, key)
        yield from places(part, (*place, key))


def broken(value: Any, draw: random.Random) -> Any:
    """Return the value with one part of it changed, left out or doubled."""
    value = json.loads(json.dumps(value))
    *way, last = draw.choice(list(places(value)))
    inside = value
    for key in way:
        inside = inside[key]
    change = draw.choice(("set", "set", "drop", "double"))
    if change == "drop":
        del inside[last]
    elif change == "double" and isinstance(inside, list):
        inside.append(inside[last])
    else:
        inside[last] = draw.choice(JUNK)
    return value


def written(told: Any) -> tuple[str, str]:
    if not isinstance(told, list):
        return json.dumps(told), "application/json"
    kinds = (event.get("type") if isinstance(event, dict) else "x" for event in told)
    lines = (f"event: {kind}\ndata: {json.dumps(event)}\n\n" for kind, event in zip(kinds, told, strict=True))
    return "".join(lines), "text/event-stream"


def always(reply: Reply) -> Callable[..., Coroutine[Any, Any, Reply]]:
    async def send(*_: object) -> Reply:
        return reply

    return send


@pytest.mark.proof
def test_no_change_of_a_protocol_stops_a_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, campaign_share: float
) -> None:
    draw = random.Random(20260101)
    outcomes: dict[bool, int] = {True: 0, False: 0}
    for number in range(int(3_000 * campaign_share)):
        protocol = draw.choice((openai, anthropic, stream))
        mode = draw.choice(("tool", "prompted"))
        told = protocol(mode == "tool")
        for _ in range(draw.randint(1, 3)):
            told = broken(told, draw) if told else told
        text, kind = written(told)
        text = text[: draw.randint(0, len(text))] if draw.random() < 0.1 else text

        monkeypatch.setattr(Wire, "send", always(Reply(ANSWERED, 200, kind, text, 0.1)))
        provider = "openai-compatible" if protocol is openai else "anthropic"
        most = 64_000 if protocol is stream else 8_000
        known = settings("http://127.0.0.1:1", provider=provider, output=mode, max_answer_tokens=most)
        (proposed,) = asked(LanguageModel(known, tmp_path / str(number)), n=1)
        records = [
            json.loads(path.read_text()) for path in (tmp_path / str(number) / "transcripts").iterdir()
        ]
        assert records
        assert all(record["outcome"] for record in records)
        try:
            outcomes[bool(parse_spec(proposed))] += 1
        except SpecError:
            outcomes[False] += 1
    assert min(outcomes.values()) > 0, outcomes
