"""The one place that touches the network: bounded in bytes, time, depth and repetitions, and following nobody.

The client libraries above it hold a placeholder instead of the key, and send through this transport only. It puts
the key in just before the socket, so that no error, log or object of a library can tell it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from research_lab.errors import ServerError
from research_lab.generators.language_model.exchange import ANSWERED, Reply
from research_lab.generators.language_model.key import WITHHELD, Key
from research_lab.generators.language_model.settings import Limits, is_local

if TYPE_CHECKING:
    import httpx2

PLACEHOLDER: Final = "placeholder"
_TAKEN: Final = ("application/json", "text/event-stream")
_PASSING: Final = frozenset({408, 409, 425, 429})
# Of the header that a request needs; what the libraries tell of this machine is left out.
_SENT: Final = frozenset({"host", "content-type", "accept", "anthropic-version", "anthropic-beta"})
_LOGGERS: Final = ("httpcore2.connection", "httpcore2.http11", "httpcore2.proxy", "httpx2")
_NOBODY: Final = (
    (socket.gaierror, "the name is not known"),
    (ConnectionRefusedError, "nothing listens at the address"),
    (ssl.SSLCertVerificationError, "the certificate is not trusted"),
    (ssl.SSLError, "no TLS is spoken there"),
)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
_PIECE: Final = re.compile(r'"(?:text|partial_json|thinking)"\s*:\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_TOLD: Final = 300  # characters of a server's complaint
_CONNECT_S: Final = 20.0  # in which a server that is there takes a connection


@dataclass(frozen=True)
class Wire:
    """The way to one server.

    Parameters
    ----------
    address : of the server; a request for another place is not sent. provider : whose header holds the key.
    """

    address: str
    provider: str
    key: Key
    limits: Limits

    async def send(
        self, url: str, headers: dict[str, str], body: bytes, calls: int, seconds: float | None
    ) -> Reply:
        """Return the reply to a request, after repetitions where another try may do better.

        Parameters
        ----------
        calls : requests that may be sent, one at least. seconds : left for all of it; None for any.

        Raises
        ------
        ServerError
            Nobody was there, at the last try either: nothing was asked.
        """
        with _censored(self.key):
            return await self._send(url, headers, body, calls, seconds)

    async def _send(
        self, url: str, headers: dict[str, str], body: bytes, calls: int, seconds: float | None
    ) -> Reply:
        start = time.monotonic()
        end = float("inf") if seconds is None else start + seconds
        reply = Reply("there is no time left")
        tries = min(self.limits.retries + 1, calls)
        for attempt in range(tries):
            reply, wait = await self._once(url, headers, body, end - time.monotonic())
            reply = replace(reply, requests=attempt + 1, seconds=time.monotonic() - start)
            if not reply.passing or attempt + 1 == tries:
                break
            wait = self.limits.backoff_s * 2**attempt if wait is None else wait
            if wait > self.limits.longest_wait_s or time.monotonic() + wait >= end:
                reply = replace(reply, outcome=f"{reply.outcome}; the next try would be {wait:.0f} s later")
                break
            await asyncio.sleep(wait)
        if reply.unreached:
            raise self._nobody(reply)
        return replace(reply, seconds=round(time.monotonic() - start, 3))

    def _nobody(self, reply: Reply) -> ServerError:
        tried = f"{reply.requests} tries" if reply.requests > 1 else "one try"
        return ServerError(
            f"{reply.outcome}, after {tried}", self.address,
            "start it, or correct base_url in the model's settings; nothing was asked, and the same command goes on",
        )  # fmt: skip

    async def _once(
        self, url: str, headers: dict[str, str], body: bytes, seconds: float
    ) -> tuple[Reply, float | None]:
        """Return the reply to one request, and how long the server asks to wait."""
        import httpx2

        if not url.startswith(f"{self.address}/"):
            return Reply("the request would go to another server"), None
        patience = {"timeout": {"connect": min(_CONNECT_S, self.limits.timeout_s / 2)}}
        request = httpx2.Request(
            "POST", url, headers=self._headers(headers), content=body, extensions=patience
        )
        try:
            async with asyncio.timeout(min(self.limits.timeout_s, max(seconds, 0.001))):
                async with httpx2.AsyncHTTPTransport(verify=_trusted(), proxy=_proxy(url)) as transport:
                    response = await transport.handle_async_request(request)
                    try:
                        return await self._read(response), _wait_asked(response)
                    finally:
                        await response.aclose()
        except TimeoutError:
            return Reply("no answer within the time", passing=True), None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as fault:
            outcome = f"the server cannot be reached: {_why(fault)}{' of the proxy' * bool(_proxy(url))}"
            return Reply(outcome, passing=True, unreached=True), None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError):
            return Reply("the connection broke, or what came back is not HTTP", passing=True), None

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        sent = {name: value for name, value in headers.items() if name.lower() in _SENT}
        key = self.key.value()
        if key and self.provider == "anthropic":
            sent["x-api-key"] = key
        elif key:
            sent["authorization"] = f"Bearer {key}"
        return {**sent, "accept-encoding": "identity", "connection": "close"}

    async def _read(self, response: httpx2.Response) -> Reply:
        """Return an answer within the limits, or why it was not read to its end."""
        status = response.status_code
        passing = status in _PASSING or status >= 500
        kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
        if 300 <= status < 400:
            return Reply("the server sends on to another place, which is not followed", status)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            return Reply("the answer is compressed, though that was not asked for", status, passing=passing)
        most = self.limits.answer_bytes
        parts, n_bytes = [], 0
        async for part in response.stream:  # type: ignore[union-attr]
            n_bytes += len(part)
            if n_bytes > most:
                return Reply(f"the answer has more than {most} bytes", status, passing=passing)
            parts.append(part)
        text = b"".join(parts).decode("utf-8", errors="replace")
        del parts
        if any(map(self.key.stands_in, (text, kind, _joined(text)))):
            return Reply(f"the answer was withheld: {WITHHELD}", status, passing=passing)
        if status != 200:
            told = "".join(c if c.isprintable() else " " for c in text[:_TOLD]).strip()
            return Reply(f"the server answered {status}: {told}" if told else f"the server answered {status}",
                         status, passing=passing)  # fmt: skip
        if kind not in _TAKEN:
            return Reply(f"the answer is {kind[:60]!r}, not JSON", status)
        if _values(text) > self.limits.answer_values:
            return Reply(f"the answer has more than {self.limits.answer_values} values", status)
        if _depth(text) > self.limits.answer_depth:
            return Reply(f"the answer is nested deeper than {self.limits.answer_depth}", status)
        return Reply(ANSWERED, status, kind, text)


def _why(fault: BaseException) -> str:
    """Return why there is no connection, in words of our own: what a library says may hold anything."""
    seen: BaseException | None = fault
    while seen is not None:
        for kind, words in _NOBODY:
            if isinstance(seen, kind):
                return words
        inner = seen.exceptions[0] if isinstance(seen, BaseExceptionGroup) else None
        seen = inner or seen.__cause__ or seen.__context__
    return "no connection"


@cache
def _trusted() -> ssl.SSLContext:
    """Return the certificates that are trusted, read once."""
    import httpx2

    context: ssl.SSLContext = httpx2.create_ssl_context()
    return context


@contextmanager
def _censored(key: Key) -> Iterator[None]:
    """Keep out of the log what a server sends back of the key, while the client library logs what it reads."""

    def censor(record: logging.LogRecord) -> bool:
        return not key.stands_in(record.getMessage())

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(censor)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(censor)


def _wait_asked(response: httpx2.Response) -> float | None:
    """Return the seconds that the server asks to wait; None where it does not."""
    told = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", told, re.ASCII):
        return float(told)
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _joined(text: str) -> str:
    """Return the pieces of a streamed answer put together: what is cut in two there is whole in what they make."""
    return "".join(_PIECE.findall(text))


def _values(text: str) -> int:
    """Return how many values stand at most in any one JSON text of an answer, one inside a string counted too."""
    events = text.splitlines() if text.lstrip().startswith(("event:", "data:", ":")) else [text]
    return max(sum(map(part.count, ",[{")) for part in (*events, _joined(text)))


def _depth(text: str) -> int:
    """Return how deep brackets stand inside each other, outside of strings."""
    deepest = now = 0
    for sign in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        now += 1 if sign in "[{" else -1
        deepest = max(deepest, now)
    return deepest


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for an address; never one for this machine."""
    parts = urlsplit(url)
    if is_local(url) or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)
