"""What a conversation brought, as texts to propose: those the loader takes, and of the others the last ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from research_lab.generators.language_model.answers import Parts, refusal_of, strategies_in

if TYPE_CHECKING:
    from research_lab.generators.language_model.conversation import Turn

_COMPLAINT = 400  # characters of one refusal
_NAME = re.compile(r"""\bname["']?\s{0,20}:\s{0,20}["']?([^"',}\n]{1,100})""")


@dataclass(frozen=True)
class Text:
    """A text to propose, the hash of the question that it answers, and why it is no strategy, "" when it is one."""

    text: str
    question: str
    refused: str = ""


def complaint_about(answer: str, n: int) -> str:
    """Return what a model is told of an answer: the loader's own words on each strategy; "" when all are taken."""
    parts = strategies_in(answer, n)
    rows = [f"{place}: {reason}" for place, _, reason in _judged(parts) if reason]
    if parts.fault and (rows or not parts.texts):
        return f"The answer is not the JSON that was asked for: {parts.fault}. Answer with that JSON and nothing else."
    if not parts.texts:
        return "The list of strategies is empty."
    if not rows:
        return ""
    told = "\n".join(" ".join(row.split())[:_COMPLAINT] for row in rows)
    return f"Refused:\n{told}\nAnswer with these only, corrected, in the same order. The others are taken."


def texts_of(turns: Sequence[Turn], n: int) -> list[Text]:
    """Return what is proposed after all repairs: up to n texts, and one for an answer that never came.

    A strategy that was refused and then repaired is proposed once, repaired. One that was not is proposed as it was last
    written: it is counted as anybody's that does not parse.
    """
    found: list[Text] = []
    for turn in turns:
        key = turn.question.key
        if turn.fault:
            found.append(Text(f"# no answer: {_one_line(turn.fault)}\n", key, turn.fault))
            continue
        parts = strategies_in(turn.answer, n)
        said = [Text(text, key, reason) for _, text, reason in _judged(parts)]
        if not said and not found:
            said = [Text("# no strategy in the answer\n", key, parts.fault or "none in the answer")]
        found = _mended(found, said)
    return found[:n]


def _mended(found: Sequence[Text], said: Sequence[Text]) -> list[Text]:
    """Return texts with the refused ones replaced by what a repair made of them, and what is new behind.

    A repair goes by the strategy's name, or else by its place among what was refused.
    """
    mended = list(found)
    taken = {text.text for text in found if not text.refused}
    fresh = [text for text in said if text.text not in taken]
    open_ = [k for k, text in enumerate(found) if text.refused]
    unnamed: list[Text] = []
    for text in fresh:
        name = _name(text)
        at = next((k for k in open_ if name and _name(found[k]) == name), None)
        if at is None:
            unnamed.append(text)
        else:
            mended[at] = text
            open_.remove(at)
    names = {_name(text) for text in mended if not text.refused} - {""}
    extra: list[Text] = []
    for text in unnamed:
        if open_ and _name(text) not in names:
            mended[open_.pop(0)] = text
        else:
            extra.append(text)
    return [*mended, *extra]


def _name(text: Text) -> str:
    """Return the name that a strategy has, as far as it can be read; "" without one."""
    found = _NAME.search(text.text)
    return found[1].strip() if found else ""


def account_of(turn: Turn, n: int) -> dict[str, Any]:
    """Return what a turn's record says of the strategies in its answer."""
    if turn.fault:
        return {"outcome": turn.fault}
    parts = strategies_in(turn.answer, n)
    judged = _judged(parts)
    outcome = parts.fault or ("answered" if parts.texts else "no strategy in the answer")
    rows = [{"text": text, "refused": reason} for _, text, reason in judged]
    return {"outcome": outcome, "strategies": rows, "left_out": parts.n_left_out}


def _judged(parts: Parts) -> list[tuple[str, str, str]]:
    """Return each strategy's place, its text, and why it is refused."""
    places = [f"strategy {k}" for k in range(1, len(parts.texts) + 1)]
    return [(place, text, refusal_of(text, place)) for place, text in zip(places, parts.texts, strict=True)]


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:500]
