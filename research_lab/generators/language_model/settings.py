"""Which language model is asked, how, and for how much: one strict YAML file, without any secret in it."""

from __future__ import annotations

import ipaddress
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from research_lab.errors import UsageError
from research_lab.strict_yaml import fit, load_text, misplaced, read_text

ANTHROPIC = "https://api.anthropic.com"

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,99})?", re.ASCII)
_KEYS = ("api_key", "apikey", "key", "token", "secret", "password")

Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seconds = Annotated[float, Field(gt=0.0, le=86_400.0)]
Price = Annotated[float, Field(ge=0.0, le=1_000_000.0)]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class Prices(_Form):
    """What a million tokens cost, in any one currency."""

    input: Price
    output: Price


class Budget(_Form):
    """What a search's calls may take together; a limit left out is none, but calls and tokens are needed.

    Parameters
    ----------
    calls : requests sent, repeated ones too. tokens : of prompts and answers. seconds : of waiting for answers.
    money : in the currency of the prices.
    """

    calls: Count
    tokens: Count
    seconds: Seconds | None = None
    money: Annotated[float, Field(gt=0.0)] | None = None


class Limits(_Form):
    """How long one request may take, how large its answer may be, and how often it is repeated.

    Parameters
    ----------
    timeout_s : from the first byte sent to the last one received. retries : after the first try.
    backoff_s : before the first repetition, doubled each time. longest_wait_s : between two;
        a server that asks for more is left.
    answer_bytes : of an HTTP answer. answer_values : values in its JSON, or in what it says. answer_depth : brackets
        inside each other.
    failed_calls : in a row, after which nothing more is asked.
    """

    timeout_s: Seconds = 120.0
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    backoff_s: Annotated[float, Field(ge=0.0, le=60.0)] = 1.0
    longest_wait_s: Seconds = 60.0
    answer_bytes: Annotated[int, Field(ge=1_024, le=16 << 20)] = 1 << 20
    answer_values: Annotated[int, Field(ge=1_000, le=100_000)] = 40_000
    answer_depth: Annotated[int, Field(ge=8, le=100)] = 40
    failed_calls: Annotated[int, Field(ge=1, le=100)] = 3


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else text
    except ValueError:
        raise misplaced("this is no day; write it as 2025-06-30") from None


def _variable(text: str) -> str:
    if _VARIABLE.fullmatch(text):
        return text
    raise misplaced(
        "this is no name of an environment variable; write one such as MODEL_KEY, and put the key there"
    )


class Settings(_Form):
    """The configuration of a language model.

    Parameters
    ----------
    provider : whose protocol the server speaks. base_url : of the server; Anthropic's own when left out.
    model : as the server calls it. output : how an answer is made to be JSON.
    key_variable : environment variable that holds the key; "" for a server that takes none.
    knowledge_cutoff : last day that the model's training data can know, such as 2025-06-30; "" when unknown.
    temperature, seed, max_answer_tokens : handed on; None leaves them to the server.
    strategies_a_call : asked for at once. repairs : of an answer that is refused.
    critic : whether a second call states the hypotheses.
    variation : share of proposals that vary strategies of the archive once it has some.
    """

    provider: Literal["openai-compatible", "anthropic"]
    model: Annotated[str, Field(min_length=1, max_length=200)]
    base_url: Annotated[str, Field(max_length=2_000)] = ""
    output: Literal["native", "tool", "prompted"] = "tool"
    key_variable: Annotated[str, AfterValidator(_variable)] = ""
    knowledge_cutoff: Annotated[str, AfterValidator(_day)] = ""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    seed: Annotated[int, Field(ge=0, le=(1 << 31) - 1)] | None = None
    max_answer_tokens: Count | None = 8_000
    strategies_a_call: Annotated[int, Field(ge=1, le=20)] = 5
    repairs: Annotated[int, Field(ge=0, le=5)] = 1
    critic: bool = False
    variation: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    prices: Prices | None = None
    budget: Budget
    limits: Limits = Limits()

    @model_validator(mode="before")
    @classmethod
    def _holds_no_key(cls, told: Any) -> Any:
        for name in _KEYS:
            if isinstance(told, dict) and name in told:
                what = "no key stands in a file; put it into an environment variable, and name that in key_variable"
                raise misplaced(what, name)
        return told

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.budget.money is not None and self.prices is None:
            raise misplaced("money cannot be counted without prices", "budget", "money")
        if self.provider == "anthropic" and self.output == "native":
            what = "Anthropic's native output has no room for names that a strategy chooses; write tool or prompted"
            raise misplaced(what, "output")
        if self.provider == "anthropic" and not self.key_variable and not is_local(self.address):
            raise misplaced(
                "Anthropic asks for a key; name the environment variable that holds it", "key_variable"
            )
        fault = address_fault(self.address, keyed=bool(self.key_variable))
        if fault:
            raise misplaced(fault, "base_url")
        return self

    @property
    def address(self) -> str:
        """Where the server answers."""
        told = self.base_url or (ANTHROPIC if self.provider == "anthropic" else "")
        return told.rstrip("/")


def address_fault(address: str, *, keyed: bool) -> str:
    """Return what is wrong with a server's address, without repeating it; "" when nothing is.

    Examples
    --------
    >>> address_fault("http://127.0.0.1:8000/v1", keyed=False)
    ''
    >>> address_fault("https://me:secret@host/v1", keyed=False)
    'an address holds no user, password, question mark or #; a key stands in the environment'
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "this is no address; write it as http://127.0.0.1:8000/v1"
    if (
        parts.scheme not in ("http", "https")
        or not host
        or not address.isascii()
        or not address.isprintable()
    ):
        return "this is no address; write it as http://127.0.0.1:8000/v1"
    if "@" in parts.netloc or "?" in address or "#" in address:
        return "an address holds no user, password, question mark or #; a key stands in the environment"
    if parts.scheme == "http" and keyed and not is_local(address):
        return "a key is not sent over plain http to another machine; write https"
    return ""


def is_local(address: str) -> bool:
    """Return whether an address is on this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_settings(path: Path) -> Settings:
    """Read the configuration of a language model.

    Raises
    ------
    UsageError
        The file is missing, no YAML, or says something that does not fit; with its line.
    """
    return parse_settings(read_text(path, UsageError), str(path))


def parse_settings(text: str, where: str = "model.yaml") -> Settings:
    """Return the configuration that a YAML text gives; see `read_settings`."""
    return fit(Settings, load_text(text, where, UsageError), where, UsageError)
