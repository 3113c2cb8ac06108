"""One question to a model and its repairs, through pydantic-ai: in native, tool or prompted mode.

This module imports the model's libraries; it is imported when a model is asked, and not before.
"""

from __future__ import annotations

import asyncio
import json
import re
import warnings
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Final

import httpx2
from anthropic import AnthropicError, AsyncAnthropic
from openai import AsyncOpenAI, OpenAIError
from pydantic_ai import (
    Agent,
    ModelRetry,
    ModelSettings,
    NativeOutput,
    PromptedOutput,
    RunContext,
    StructuredDict,
    ToolOutput,
    capture_run_messages,
)
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from research_lab.errors import UsageError
from research_lab.generators.language_model.budget import Purse, Spent, cost_of, counted
from research_lab.generators.language_model.exchange import ANSWERED, ExchangeStore, Question, Reply
from research_lab.generators.language_model.masking import masked_parts
from research_lab.generators.language_model.screening import findings
from research_lab.generators.language_model.settings import Settings
from research_lab.generators.language_model.wire import PLACEHOLDER, Wire

# What the libraries raise over an answer that is not what its protocol says. The text may be anybody's.
_UNREADABLE: Final = (
    AgentRunError, UserError, OpenAIError, AnthropicError, httpx2.HTTPError, ValueError, TypeError, LookupError,
    AttributeError, ArithmeticError, AssertionError, RuntimeError, OSError,
)  # fmt: skip
_FENCES: Final = 100  # in an answer
_REPAIRED: Final = 200_000  # characters of all that is sent with a repair
_HYPOTHESIS: Final = re.compile(r'hypothesis\\*"?\s*:\s*([^\n]*)')
_NEXT_FIELD: Final = re.compile(r'(?<!\\)\\*",')


@dataclass
class Turn:
    """One request of a conversation, and what came of it.

    Parameters
    ----------
    question, reply : as sent, and what came back. spent : what it took. known : whether it was paid for before.
    answer : the model's words, good or bad. fault : why there are none; "" when there are.
    """

    question: Question
    reply: Reply
    spent: Spent
    known: bool = False
    answer: str = ""
    fault: str = ""


@dataclass
class Heard:
    """What a conversation brought.

    Parameters
    ----------
    turns : its requests, in order. ended : why there was no further one, beside a good answer; "" without a reason.
    stopped : whether no other conversation would be held either: a budget is spent, or the server fails.
    """

    turns: list[Turn] = field(default_factory=list)
    ended: str = ""
    stopped: bool = False


@dataclass(frozen=True)
class Ask:
    """What is asked.

    Parameters
    ----------
    turn : tells apart questions of the same words. seed : handed on; None leaves it to the server.
    instructions, prompt : what the model reads. schema : of the answer.
    check : says what is wrong with an answer's text, "" when it will do.
    """

    turn: str
    instructions: str
    prompt: str
    schema: dict[str, Any]
    check: Callable[[str], str]
    seed: int | None = None


def converse(
    ask: Ask, settings: Settings, wire: Wire, store: ExchangeStore, purse: Purse, *, offline: bool
) -> Heard:
    """Return what a model answered, its repairs among it, and charge the purse.

    Raises
    ------
    UsageError
        The prompt holds what no prompt may; offline, a question was never answered; the key is not set.
    Exception
        What `ask.check` raised.
    """
    recorded = _Recorded(ask, settings, wire, store, purse, offline=offline)
    responses, fault = _completed(_run(ask, settings, recorded))
    if recorded.error is not None:
        raise recorded.error
    heard = recorded.heard
    for turn, response in zip_longest(heard.turns, responses[: len(heard.turns)]):
        if response is None:
            turn.fault = fault if turn.reply.outcome == ANSWERED else turn.reply.outcome
        else:
            turn.answer = _words_of(response)
            turn.spent = turn.spent if turn.known else _spent_on(turn, response, settings)
        purse.charge(turn.question.key, turn.spent, turn.fault, anew=False)
    return heard


class _Recorded(httpx2.AsyncBaseTransport):
    """The transport under the libraries: answers from the store, else from the wire while there is budget."""

    def __init__(
        self, ask: Ask, settings: Settings, wire: Wire, store: ExchangeStore, purse: Purse, *, offline: bool
    ) -> None:
        self.turn, self.settings, self.wire, self.store = ask.turn, settings, wire, store
        self.purse, self.offline = purse, offline
        self.heard = Heard()
        self.error: Exception | None = None
        self._n_first = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        reply = None
        try:
            reply = await self._reply(request)
        except Exception as error:
            self.error = error  # raised by `converse`: the libraries take it for a broken connection
            raise
        if reply is None or reply.outcome != ANSWERED:
            raise httpx2.TransportError("no answer", request=request)
        headers = {"content-type": reply.content_type}
        return httpx2.Response(200, headers=headers, content=reply.text.encode("utf-8"), request=request)

    async def _reply(self, request: httpx2.Request) -> Reply | None:
        body = self._told(json.loads(await request.aread()))
        question = Question(self.settings.provider, self.settings.address, self.turn, body)
        if not self._may_be_sent(question.body):
            return None
        kept, known = self.store.find(question), question.key in self.purse.charges
        # what failed is asked again, while anything is asked
        final = kept is not None and (self.offline or kept.outcome == ANSWERED or kept.status == 200)
        final = final or (known and kept is not None and bool(self.purse.refuses()))
        self.heard.ended = self.purse.refuses(question.key if final else "")
        self.heard.stopped = bool(self.heard.ended)
        if self.heard.stopped:
            return None
        if kept is not None and final:
            return self._heard(question, kept, known=known)
        if self.offline:
            what = f"offline, and the question {question.key[:12]} was never answered"
            remedy = "replay with the same brief, settings, archive and seed, or go online"
            raise UsageError(what, str(self.store.folder), remedy)
        raw = json.dumps(body, ensure_ascii=False).encode("utf-8", errors="surrogatepass")
        left = (self.purse.calls_left, self.purse.seconds_left)
        reply = await self.wire.send(str(request.url), dict(request.headers), raw, *left)
        if kept is not None and known:  # it was asked before in vain, which took something too
            seconds, requests = round(reply.seconds + kept.seconds, 3), reply.requests + kept.requests
            reply = replace(reply, seconds=seconds, requests=requests)
        self.store.keep(question, reply)
        return self._heard(question, reply)

    def _heard(self, question: Question, reply: Reply, *, known: bool = False) -> Reply:
        """Charge a question, unless it is known, and note what came back."""
        if not known:
            tokens = counted(None, _said(question.body)), counted(None, reply.text)
            self.purse.charge(question.key, _charge(reply, *tokens, self.settings), anew=True)
        spent = self.purse.charges[question.key].spent
        self.heard.turns.append(Turn(question, reply, spent, known))
        return reply

    def _told(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return what is sent: of the model's own words, without numbers that may be prices."""
        said = body["messages"]
        if not self.heard.turns:
            self._n_first = len(said)
        return {**body, "messages": [*said[: self._n_first], *masked_parts(said[self._n_first :])]}

    def _may_be_sent(self, body: Mapping[str, Any]) -> bool:
        """Look once more at all that is about to be sent, whoever put it there.

        A repair repeats what the model said; one that would tell too much is left undone.
        """
        said = _said({name: value for name, value in body.items() if name != "model"})
        if self.heard.turns and len(said) > _REPAIRED:
            self.heard.ended = f"not repaired, since the answer is longer than {_REPAIRED} characters"
            return False
        found = findings(said, code=True)
        if self.heard.turns:
            found += (one for claim in claims_in(said) for one in findings(claim))
        if self.wire.key.stands_in(said):
            raise UsageError("the prompt holds the key of the server", remedy="take it out of the brief")
        if found and not self.heard.turns:
            what = "the prompt tells of a market, a date or a price level: " + ", ".join(map(str, found[:5]))
            raise UsageError(what, remedy="take it out of what the prompt is made of")
        if found:
            self.heard.ended = f"not repaired, since the answer names {found[0]}"
        return not found


async def _run(ask: Ask, settings: Settings, transport: _Recorded) -> tuple[list[ModelResponse], str]:
    """Return the model's responses in order, and why there are no more."""
    agent = _agent(ask, settings, transport)
    fault = ""
    with capture_run_messages() as messages, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries warn of what an answer holds, in its words
        try:
            await agent.run(ask.prompt, model_settings=_model_settings(ask, settings))
        except _UNREADABLE as error:
            fault = f"the answer does not follow the protocol ({type(error).__name__})"
    return [message for message in messages if isinstance(message, ModelResponse)], fault


def _agent(ask: Ask, settings: Settings, transport: _Recorded) -> Agent[None, dict[str, Any]]:
    form = StructuredDict(ask.schema, name=str(ask.schema["title"]))
    kind: Any = {"native": NativeOutput, "tool": ToolOutput, "prompted": PromptedOutput}[settings.output]
    agent: Agent[None, dict[str, Any]] = Agent(
        _Fenced(_model(settings, transport)),
        output_type=kind(form),
        instructions=ask.instructions,
        retries=settings.repairs,
    )

    @agent.output_validator
    def judged(context: RunContext[None], data: dict[str, Any]) -> dict[str, Any]:
        """Judge the words as they were written, not what a library made of them."""
        said = _last(context.messages)
        words = "" if said is None else _words_of(said)
        try:
            complaint = "" if said is None else ask.check(words)
        except Exception as error:
            transport.error = error  # ours, and not a fault of the answer
            raise
        if complaint:
            raise ModelRetry(complaint)
        return data

    return agent


class TooManyFencesError(AgentRunError):
    """An answer in more pieces of Markdown than the library can look through in time."""


class _Fenced(WrapperModel):
    """A model whose answers hold few fences: the library's search for one goes on to the end from each of them."""

    async def request(self, *asked: Any) -> ModelResponse:
        response = await super().request(*asked)
        if _words_of(response).count("```") > _FENCES:
            raise TooManyFencesError("too many fences")
        return response


def _model(settings: Settings, transport: _Recorded) -> Model:
    client = httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False)
    common: dict[str, Any] = {
        "api_key": PLACEHOLDER, "base_url": settings.address, "max_retries": 0, "http_client": client
    }  # fmt: skip
    if settings.provider == "anthropic":
        return AnthropicModel(
            settings.model, provider=AnthropicProvider(anthropic_client=AsyncAnthropic(**common))
        )
    provider = OpenAICompatibleProvider(settings.provider, openai_client=AsyncOpenAI(**common))
    return OpenAIChatModel(settings.model, provider=provider)


def _model_settings(ask: Ask, settings: Settings) -> ModelSettings:
    told = ModelSettings()
    if settings.temperature is not None:
        told["temperature"] = settings.temperature
    if ask.seed is not None:
        told["seed"] = ask.seed
    if settings.max_answer_tokens is not None:
        told["max_tokens"] = settings.max_answer_tokens
    return told


def _last(messages: Sequence[ModelMessage]) -> ModelResponse | None:
    return next((m for m in reversed(messages) if isinstance(m, ModelResponse)), None)


def _words_of(response: ModelResponse) -> str:
    """Return what a model answered: the arguments of its first call of a tool, else its text."""
    said: list[Any] = [part.args for part in response.parts if isinstance(part, ToolCallPart)][:1]
    said = said or [part.content for part in response.parts if isinstance(part, TextPart)]
    return "".join(one if isinstance(one, str) else json.dumps(one or {}) for one in said)


def _spent_on(turn: Turn, response: ModelResponse, settings: Settings) -> Spent:
    """Return what a request took, with the tokens that the server counted."""
    usage = response.usage
    asked = counted(usage.input_tokens, _said(turn.question.body))
    return _charge(turn.reply, asked, counted(usage.output_tokens, turn.reply.text), settings)


def _charge(reply: Reply, prompt_tokens: int, answer_tokens: int, settings: Settings) -> Spent:
    if not reply.text:
        answer_tokens = 0
    money = cost_of(prompt_tokens, answer_tokens, settings.prices)
    return Spent(reply.requests, prompt_tokens, answer_tokens, money, reply.seconds)


def _said(body: Mapping[str, Any]) -> str:
    """Return what is sent as one text, with its lines apart."""
    return json.dumps(body, ensure_ascii=False).replace("\\n", "\n")


def claims_in(said: str) -> Iterator[str]:
    """Yield what hypotheses say, each to the end of its text or line."""
    return (_NEXT_FIELD.split(claim, maxsplit=1)[0] for claim in _HYPOTHESIS.findall(said))


def _completed(
    work: Coroutine[Any, Any, tuple[list[ModelResponse], str]],
) -> tuple[list[ModelResponse], str]:
    """Run a coroutine to its end, also where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
