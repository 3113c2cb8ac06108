"""What a server may send: whatever it is, the campaign goes on, its reason is kept, and the key is nowhere."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import SpecError, UsageError
from research_lab.generators.brief import Brief
from research_lab.generators.language_model.generator import LanguageModel
from tests.research_lab.generators.language_model.loopback import (
    Asked,
    Handler,
    Says,
    Turn,
    body,
    completion,
    serving,
)
from tests.research_lab.generators.language_model.strategies import (
    KEY,
    VARIABLE,
    answer,
    asked,
    everything_in,
    settings,
    strategy,
)

GOOD = answer(strategy(20))
DEEP = b'{"choices": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
BOMB = gzip.compress(b" " * (64 << 20))
MANY = {f"p{k}": {"range": [1, 9], "step": 1, "default": 2} for k in range(10_000)}
ESCAPED = "".join(f"\\u{ord(c):04x}" for c in KEY)
USAGE: dict[str, Any] = {"prompt_tokens": -5, "completion_tokens": 10**30, "total_tokens": "many"}


def says(message: object) -> Turn:
    return body(completion(message))


def drip(handler: Handler, asked: Asked) -> None:
    """Send a byte now and then, without end."""
    handler.begin(1_000_000)
    while True:
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)


def cut(handler: Handler, asked: Asked) -> None:
    """Promise more than is sent."""
    handler.begin(1_000_000)
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def garbage(handler: Handler, asked: Asked) -> None:
    handler.wfile.write(b"\x00\xff\xfe this is no HTTP \r\n\r\n")
    handler.close_connection = True


def headers_without_end(handler: Handler, asked: Asked) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for k in range(100_000):
        handler.wfile.write(b"x-%d: %s\r\n" % (k, b"y" * 1_000))


def split_key(handler: Handler, asked: Asked) -> None:
    """Repeat the key in two pieces of a stream."""
    events = [{"type": "content_block_delta", "delta": {"text": piece}} for piece in (KEY[:9], KEY[9:])]
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    handler.send(lines.encode(), kind="text/event-stream")


# A turn, and words of the reason that is kept.
HOSTILE: dict[str, tuple[Turn, str]] = {
    "deep nesting": (body(DEEP), "nested deeper"),
    "ten thousand parameters": (Says(answer(strategy(params=MANY))), "more than 40000 values"),
    "a slow drip": (drip, "within the time"),
    "a cut": (cut, "connection broke"),
    "garbage": (garbage, "connection broke"),
    "headers without end": (headers_without_end, "connection broke"),
    "a reset": (lambda handler, asked: handler.reset(), "connection broke"),
    "429": (body({"error": "slow down"}, 429), "429"),
    "429 for an hour": (body({}, 429, retry_after="3600"), "3600 s later"),
    "429 with nonsense": (body({}, 429, retry_after="9" * 400), "429"),
    "500": (body(b"<h1>Oops</h1>", 500, "text/html"), "500"),
    "a page": (body(b"<html>" + GOOD.encode(), kind="text/html"), "text/html"),
    "no kind": (body(GOOD.encode(), kind=""), "not JSON"),
    "a redirect to itself": (body({}, 307, location="/v1/chat/completions"), "not followed"),
    "a redirect to another host": (body({}, 302, location="http://169.254.169.254/latest"), "not followed"),
    "a gzip bomb": (
        lambda handler, asked: handler.send(BOMB, content_encoding="gzip"),
        "compressed",
    ),
    "no UTF-8": (body(b'{"choices": "\xff\xfe"}'), "protocol"),
    "nothing": (body(b""), "protocol"),
    "no JSON": (body(b"promoted!"), "protocol"),
    "a list": (body([1, 2]), "protocol"),
    "null": (body(None), "protocol"),
    "no choices": (body({}), "protocol"),
    "empty choices": (body({**completion({}), "choices": []}), "protocol"),
    "choices of a wrong type": (body({**completion({}), "choices": 5}), "protocol"),
    "a message of a wrong type": (says([1, 2]), "protocol"),
    "content of a wrong type": (says({"role": "assistant", "content": {"a": 1}}), ""),
    "calls of a wrong type": (says({"role": "assistant", "tool_calls": [{"function": 5}]}), ""),
    "no content": (says({"role": "assistant", "content": None}), ""),
    "a refusal": (says({"role": "assistant", "content": None, "refusal": "I can't help with that."}), ""),
    "a time of another age": (body({**completion({"role": "assistant", "content": "x"}), "created": 1e300}), ""),
    "usage of nobody": (body(completion({"role": "assistant", "content": "x"}, USAGE)), ""),
    "the key": (Says(answer(strategy(hypothesis=f"Use {KEY}."))), "withheld"),
    "the key escaped": (Says('{"strategies": [{"name": "' + ESCAPED + '"}]}'), "withheld"),
    "the key in base64": (Says(base64.b64encode(b"my key is " + KEY.encode()).decode()), "withheld"),
    "the key in a complaint": (body({"error": f"Incorrect API key provided: {KEY}"}, 400), "withheld"),
    "the key in its kind": (body(b"x", kind=f"text/{KEY}"), "withheld"),
    "the key in an address": (body({}, 307, location=f"/v1?key={KEY}"), "not followed"),
    "the key in pieces": (split_key, "withheld"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_crashes_nothing_and_its_reason_is_kept(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    turn, words = HOSTILE[name]
    monkeypatch.setenv(VARIABLE, KEY)
    caplog.set_level(logging.DEBUG)
    with serving(turn) as server:
        limits = {"timeout_s": 0.3 if turn is drip else 5.0, "answer_bytes": 800_000}
        known = settings(server.url, repairs=0, key_variable=VARIABLE, output="prompted", limits=limits)
        model = LanguageModel(known, tmp_path)
        texts = asked(model)
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
        assert {request.path for request in server.asked} == {"/v1/chat/completions"}
    assert len(texts) == 1
    with pytest.raises(SpecError):
        parse_spec(texts[0])
    (told,) = (json.loads(path.read_text()) for path in (tmp_path / "transcripts").iterdir())
    assert told["outcome"] != "answered" or all(row["refused"] for row in told["strategies"])
    assert words in told["outcome"]
    assert told["spent"]["calls"] in (1, 2)
    assert told["spent"]["answer_tokens"] <= 800_000
    shown = capfd.readouterr()
    everything = (
        everything_in(tmp_path) + (shown.out + shown.err + caplog.text).encode() + repr(vars(model)).encode()
    )
    for form in (KEY, ESCAPED, base64.b64encode(KEY.encode()).decode()):
        assert form.encode() not in everything
    assert asked(LanguageModel(known, tmp_path, offline=True)) == texts


def test_a_brief_that_holds_the_key_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    with serving(Says(GOOD)) as server:
        model = LanguageModel(settings(server.url, key_variable=VARIABLE), tmp_path)
        with pytest.raises(UsageError, match="holds the key") as refusal:
            asked(model, brief=Brief(goal=f"trends, with {KEY}"))
    assert server.asked == []
    assert KEY not in str(refusal.value)
    assert KEY.encode() not in everything_in(tmp_path)


def test_a_server_on_this_machine_is_asked_past_any_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(Says(GOOD)) as server:
        assert [json.loads(text) for text in asked(LanguageModel(settings(server.url), tmp_path))] == [
            strategy(20)
        ]


def test_the_libraries_own_variables_neither_send_elsewhere_nor_add_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_ORG_ID", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")
    for provider in ("openai-compatible", "anthropic"):
        with serving(Says(GOOD)) as server:
            asked(LanguageModel(settings(server.url, provider=provider), tmp_path / provider))
        assert KEY not in json.dumps(server.asked[0].headers)
