"""From a model's answer to the texts in it, each left as it was written: whether it is a strategy, the loader says.

An answer is asked for as JSON, and its parts are cut out of the text where they stand. Nothing is read and written
anew on the way, which would mend what a person's file may not have: a key that stands twice, a NaN, a fraction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from research_lab.dsl import limits
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import SpecError

STRATEGIES: Final = "strategies"
STATEMENTS: Final = "statements"
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_FENCE: Final = "```"
_OPENING: Final = re.compile(r"```[a-zA-Z]*[ \t]*\r?")  # line of a fence
_CHARACTERS: Final = 900  # of a statement's half: both fit into a hypothesis
# Parts are only measured, never used: numbers stay text, and objects are not built.
_MEASURE: Final = json.JSONDecoder(
    parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=lambda pairs: None
)


@dataclass(frozen=True)
class Parts:
    """What an answer holds.

    Parameters
    ----------
    texts : of the strategies, in order. fault : why it is not the JSON that was asked for, "" when it is.
    n_left_out : strategies beyond those that were asked for.
    """

    texts: tuple[str, ...]
    fault: str = ""
    n_left_out: int = 0


def strategies_in(answer: str, most: int) -> Parts:
    """Return the strategies of an answer, as they were written.

    Parameters
    ----------
    answer : JSON, alone or in one fence of Markdown: an object with `strategies`, a list, or one strategy.
    most : how many were asked for; further ones are counted and left out.
    """
    text = _unfenced(answer)
    try:
        return _parts(text, most)
    except RecursionError:
        fault = "it is nested too deeply"
    except ValueError as error:
        fault = " ".join(str(error).split())[:120]
    except IndexError:
        fault = "it ends too early"
    return Parts((text[: limits.BYTES + 1],) if text.strip() else (), fault)


def refusal_of(text: str, where: str) -> str:
    """Return why a text is no strategy, in the loader's own words; "" when it is one."""
    try:
        parse_spec(text, where)
    except SpecError as fault:
        return str(fault)
    return ""


def statements_in(answer: str, n: int) -> list[str]:
    """Return a critic's statements, a hypothesis and how it would fail each.

    Raises
    ------
    ValueError
        It is something else; with what is wrong.
    """
    try:
        told: Any = json.loads(_unfenced(answer))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    rows = told.get(STATEMENTS) if isinstance(told, dict) else None
    if not isinstance(rows, list) or len(rows) != n:
        raise ValueError(f"wanted an object with {STATEMENTS}, a list of {n}")
    return [_statement(row, k) for k, row in enumerate(rows, start=1)]


def _statement(row: Any, number: int) -> str:
    halves = [row.get(name) if isinstance(row, dict) else None for name in ("hypothesis", "fails_when")]
    words = [" ".join(_printable(half).split()) if isinstance(half, str) else "" for half in halves]
    if not all(0 < len(word) <= _CHARACTERS for word in words):
        raise ValueError(
            f"statement {number}: hypothesis and fails_when are texts of 1 to {_CHARACTERS} characters"
        )
    return f"{words[0]} Fails when: {words[1]}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _unfenced(answer: str) -> str:
    """Return what stands in one fence of Markdown around all of an answer; the answer where there is none."""
    first, _, rest = answer.strip().partition("\n")
    if _OPENING.fullmatch(first) and rest.endswith(_FENCE):
        return rest.removesuffix(_FENCE)
    return answer


def _parts(text: str, most: int) -> Parts:
    at = _skip(text, 0)
    if text[at] == "[":
        found, end = _listed(text, at)
    elif text[at] == "{":
        found, end = _in_object(text, at)
    else:
        raise ValueError("it does not begin with { or [")
    if _skip(text, end) != len(text):
        raise ValueError("something stands behind the JSON")
    return Parts(tuple(found[:most]), "", max(0, len(found) - most))


def _in_object(text: str, start: int) -> tuple[Sequence[str], int]:
    """Return the strategies of an object, or the object itself when it is one, and where it ends."""
    found: Sequence[str] | None = None
    for name, at in _fields(text, start):
        if name == STRATEGIES and found is not None:
            raise ValueError(f"{STRATEGIES} stands twice")
        if name == STRATEGIES:
            if text[at] != "[":
                raise ValueError(f"{STRATEGIES} is no list")
            found = _listed(text, at)[0]
    end = _MEASURE.raw_decode(text, start)[1]
    return (text[start:end],) if found is None else found, end


def _fields(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Yield the fields of an object: name, and where the value begins."""
    at = _skip(text, start + 1)
    while text[at] != "}":
        name, at = _MEASURE.raw_decode(text, at) if text[at] == '"' else ("", at)
        if text[at := _skip(text, at)] != ":":
            raise ValueError("an object has a field without a name in quotes")
        at = _skip(text, at + 1)
        end = _MEASURE.raw_decode(text, at)[1]
        yield name, at
        at = _next(text, end, "}")


def _listed(text: str, start: int) -> tuple[Sequence[str], int]:
    """Return the items of a list as they are written, one that is a text unpacked; and where the list ends."""
    found: list[str] = []
    at = _skip(text, start + 1)
    while text[at] != "]":
        value, end = _MEASURE.raw_decode(text, at)
        found.append(value if text[at] == '"' else text[at:end])
        at = _next(text, end, "]")
    return found, at + 1


def _next(text: str, at: int, closing: str) -> int:
    """Return where the next part begins, or the bracket that closes."""
    at = _skip(text, at)
    if text[at] == closing:
        return at
    if text[at] != ",":
        raise ValueError(f"wanted , or {closing} at character {at + 1}")
    at = _skip(text, at + 1)
    if text[at] == closing:
        raise ValueError(f"a comma stands before {closing} at character {at + 1}")
    return at


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
