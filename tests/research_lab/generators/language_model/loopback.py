"""A server on this machine that speaks the protocols of OpenAI and Anthropic, and answers what a test scripts."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass
class Asked:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: Json

    @property
    def text(self) -> str:
        """All that the model reads."""
        return json.dumps({k: v for k, v in self.body.items() if k != "model"}, ensure_ascii=False)


class Handler(BaseHTTPRequestHandler):
    """One connection; the script decides what is sent."""

    protocol_version = "HTTP/1.1"
    server: Loopback

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.path, headers, json.loads(raw))
        with self.server.lock:
            self.server.asked.append(asked)
            script = self.server.script
            turn = script[min(len(self.server.asked), len(script)) - 1]
        with contextlib.suppress(OSError):  # the client may leave in the middle, as it should
            turn(self, asked)

    def send(self, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def begin(self, n_bytes: int) -> None:
        """Promise an answer of so many bytes."""
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(n_bytes))
        self.end_headers()

    def reset(self) -> None:
        """Break the connection off, as a crashing server does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_: object) -> None:
        return None


Turn = Callable[[Handler, Asked], None]


class Loopback(ThreadingHTTPServer):
    """The server; `asked` holds what arrived."""

    daemon_threads = True

    def __init__(self, script: Sequence[Turn]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = list(script)
        self.asked: list[Asked] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        return None


@contextlib.contextmanager
def serving(*script: Turn) -> Iterator[Loopback]:
    """Run a server that answers by script; the last turn answers all further requests."""
    server = Loopback(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Says:
    """A turn that answers in the protocol and mode that it is asked in.

    Parameters
    ----------
    words : what the model says; JSON or not.
    """

    words: str
    usage: Json = field(
        default_factory=lambda: {"prompt_tokens": 1_000, "completion_tokens": 200, "total_tokens": 1_200}
    )

    def __call__(self, handler: Handler, asked: Asked) -> None:
        if "messages" in asked.path:
            _anthropic(handler, asked, self.words)
        else:
            handler.send(json.dumps(completion(self.message(asked), self.usage)).encode())

    def message(self, asked: Asked) -> Json:
        tools = asked.body.get("tools")
        if not tools:
            return {"role": "assistant", "content": self.words}
        call = {"name": tools[0]["function"]["name"], "arguments": self.words}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        }


def completion(message: object, usage: Json | None = None) -> Json:
    """Return an answer of OpenAI's chat completions."""
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    head = {"id": "c-1", "object": "chat.completion", "created": 1_700_000_000, "model": "small"}
    return {**head, "choices": [choice], **({"usage": usage} if usage else {})}


def body(told: object, status: int = 200, kind: str = "application/json", **headers: str) -> Turn:
    """Return a turn that sends a body as it is."""
    raw = told if isinstance(told, bytes) else json.dumps(told).encode()
    return lambda handler, asked: handler.send(raw, status, kind, **headers)


def _anthropic(handler: Handler, asked: Asked, words: str) -> None:
    tools = asked.body.get("tools")
    head = {"id": "m-1", "type": "message", "role": "assistant", "model": "small", "stop_sequence": None}
    usage = {"input_tokens": 1_000, "output_tokens": 200}
    if not asked.body.get("stream"):
        part = {"type": "text", "text": words}
        if tools:
            part = {"type": "tool_use", "id": "t_1", "name": tools[0]["name"], "input": json.loads(words)}
        handler.send(
            json.dumps({**head, "content": [part], "stop_reason": "end_turn", "usage": usage}).encode()
        )
        return
    block: Json = {"type": "text", "text": ""}
    name, kind = "text", "text_delta"
    if tools:
        block = {"type": "tool_use", "id": "t_1", "name": tools[0]["name"], "input": {}}
        name, kind = "partial_json", "input_json_delta"
    pieces = [words[k : k + 40] for k in range(0, len(words), 40)]
    events = [
        {"type": "message_start", "message": {**head, "content": [], "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": kind, name: piece}}
            for piece in pieces
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 200},
        },
        {"type": "message_stop"},
    ]
    lines = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    handler.send(lines.encode(), kind="text/event-stream")
