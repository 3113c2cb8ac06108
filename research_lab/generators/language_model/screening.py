"""What no prompt may hold: names of markets, dates and price levels, by which a model could remember the past.

A model was trained on the history that a strategy is judged on. Asked for "something for May 2021" it can answer with
what happened then. The screen reads what is sent, whoever wrote it, and errs on the strict side: its message says what
was found and how to write it. It is made for people who mean well; who wants to tell a model a market's name can.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from research_lab.dsl.registry import FUNCTIONS
from research_lab.errors import DataError
from research_lab.strict_yaml import load_file

Rule = tuple[str, re.Pattern[str]]

_FILE: Final = Path(__file__).with_name("screened_words.yaml")
_MONTHS: Final = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?"
)
_UNITS: Final = (
    r"(?:%|percent|per cent|bps?|basis|x\b|times|bars?|candles?|hours?|hrs?|h\b|minutes?|mins?|m\b|seconds?|days?|d\b"
    r"|weeks?|w\b|months?|periods?|trades?|looks?|r\b|sigmas?|deviations?|std|standard|percentiles?|quantiles?|degrees"
    r"|operations|nodes|parameters|strategies|values|samples|[*/]|-?(?:bar|day|hour|week|period|month))"
)
_FUNCTIONS: Final = "|".join(sorted((re.escape(name) for name in FUNCTIONS), key=len, reverse=True))
_LEVEL: Final = r"(?:close[sd]?|opens?|price[sd]?|quotes?|levels?|support|resistance|trades|trading)"
_SIDE: Final = (
    r"(?:above|below|over|under|beyond|past|through|at|of|near|around|is|reaches|crosses|breaks|hits|[<>=]=?)"
)
_NUMBER: Final = r"\d[\d,' ]{0,20}(?:\.\d{1,20})?"
_BARE: Final = rf"(?!\s{{0,3}}-?\s{{0,3}}{_UNITS})"  # not a number of something
_NEAR: Final = r"(?:above|below|over|under|beyond|past|through|at|near|around|reaches|crosses|breaks|hits)"
_QUOTED: Final = r"(?:usdt?|usdc|[bft]usd|fdusd|dai|eur|gbp|jpy|chf|aud|nzd|cad|krw|btc|xbt|eth|bnb|perp)"
_ONES: Final = r"(?:one|two|three|four|five|six|seven|eight|nine)"
_TEENS: Final = r"(?:ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen)"
_TENS: Final = r"(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
_YEAR: Final = (
    rf"(?:(?:nineteen|twenty)[ -](?:{_TEENS}|{_TENS}(?:[ -]{_ONES})?|(?:oh|o)[ -]{_ONES})"
    rf"|two thousand (?:and )?(?:{_TENS}[ -]{_ONES}|{_TEENS}|{_TENS}|{_ONES}))"
)

_WORD: Final = re.compile(r"[^\W\d_][^\W_]+", re.UNICODE)
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_MONTH_DAY: Final = r"(?:0?[1-9]|1[0-2])[-/.](?:0?[1-9]|[12]\d|3[01])"
# What is looked for, by what it is called.
_ALWAYS: Final = (
    ("a market", r"\b[a-z0-9]{2,10}[/_-](?:usdt?c?|eur|btc|eth|busd|jpy|gbp|perp)\b"),
    ("a market", r"\b[a-z0-9]{2,10}(?:usdt|usdc|busd)\b"),
    ("a market", r"\$(?!ref\b|defs\b)[a-z]{2,6}\b|\bs&p(?: ?500)?\b|\bdow jones\b|\bcrude(?: oil)?\b"),
    ("a market", r"\bon\(\s*\\*[\"']"),
    ("a date", rf"\b(?:19|20)\d\d[-/.]{_MONTH_DAY}\b|\b\d{{1,2}}[/.]\d{{1,2}}[/.](?:19|20)?\d\d\b"),
    ("a date", rf"\b\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{_MONTHS})\b"),
    ("a date", rf"\b(?:{_MONTHS})\.? (?:of )?(?:the )?(?:\d{{1,2}}(?:st|nd|rd|th)?\b|'\d\d|\d{{4}})"),
    ("an event that tells a date", r"\bblack (?:monday|tuesday|thursday|friday|swan)\b"),
    ("a price level", rf"[$€£¥₿]\s?{_NUMBER}|\b{_NUMBER}\s?(?:[$€£¥₿]|dollars?\b|usd\b|euros?\b|eur\b)"),
)
# And what only words tell: in an expression 2020 is a window.
_IN_WORDS: Final = (
    ("a date", r"\b(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])\b"),
    ("a date", rf"\b(?:19|20)\d\d(?:s\b|/\d\d\b|\b{_BARE})"),
    ("a date", rf"\b{_YEAR}(?:s\b|\b{_BARE})"),
    ("a date", r"\bq[1-4][ -/]?'?\d{2,4}\b|(?<!\w)'\d\ds?\b"),
    ("a price level", rf"\b\d+(?:\.\d+)?k\b{_BARE}"),
    ("a price level", rf"\b\d{{1,3}}(?:,\d{{3}})+\b{_BARE}"),
    # 30 000, 30'000 and 30.000: round, or where a price would stand, since 50 200 may be two windows and 1.005 a ratio
    ("a price level", rf"\b[1-9]\d{{0,2}}(?:[ ']\d{{3}}){{0,3}}[ ']000\b{_BARE}"),
    ("a price level", rf"\b{_NEAR}\s+(?:the\s+)?[1-9]\d{{0,2}}(?:[ '’]\d{{3}}){{1,4}}\b{_BARE}"),
    ("a price level", rf"(?<![\d.])[1-9]\d{{1,2}}\.\d{{3}}\b(?!\.\d){_BARE}"),
    ("a price level", rf"(?<![\d.])[1-9]\d{{0,2}}(?:\.\d{{3}}){{2,4}}\b{_BARE}"),
    ("a price level", rf"(?<![\d.])\d{{4,}}(?:\.\d+)?\b{_BARE}"),
    (
        "a price level",
        rf"\b{_LEVEL}\s+(?:\w+\s+)?{_SIDE}\s+(?:the\s+)?{_NUMBER}(?![\d.]){_BARE}(?!\s{{0,3}}(?:{_FUNCTIONS})\b)",
    ),
)


@dataclass(frozen=True)
class Finding:
    """What a text holds that no prompt may: what it is, and the words."""

    noun: str
    words: str

    def __str__(self) -> str:
        return f"{self.noun} ({self.words!r})"


def findings(text: str, *, code: bool = False) -> list[Finding]:
    """Return what a text tells of markets, dates and price levels.

    Parameters
    ----------
    code : whether it is written in the language, where a number is a window or a ratio, and not a year or a price.

    Examples
    --------
    >>> [str(f) for f in findings("Buy BTC after 2021-05-19 near $30,000")]
    ["a market ('BTC')", "a date ('2021-05-19')", "a price level ('$30,000')"]
    >>> findings("Buy when rsi(14) is below 30 and the close is above its 200 day average")
    []
    """
    plain = _INVISIBLE.sub("", _plain(text))
    always, in_words, capitals = _rules()
    rules = always if code else always + in_words
    spans = [(*match.span(), noun) for noun, pattern in rules for match in pattern.finditer(plain)]
    if not code:
        spans += ((*span, "a market") for span in _unknown_capitals(plain, capitals))
    found: dict[str, Finding] = {}
    end = 0
    for start, stop, noun in sorted(spans, key=lambda span: (span[0], -span[1])):
        if stop > end:  # what lies within words that were named already is named with them
            words = plain[start:stop].strip()[:60]
            found.setdefault(words.casefold(), Finding(noun, words))
            end = stop
    return list(found.values())


def _plain(text: str) -> str:
    """Return a text in plain characters, each by itself: putting a run of accents in order takes time without end."""
    return text if text.isascii() else "".join(unicodedata.normalize("NFKC", c) for c in text)


@cache
def _rules() -> tuple[tuple[Rule, ...], tuple[Rule, ...], frozenset[str]]:
    """Return what is looked for everywhere, what in words only, and words in capitals that are no symbols."""
    words = {name: " ".join(rows).split() for name, rows in load_file(_FILE, DataError).data.items()}
    pairs = f"(?:{'|'.join((*words['bases'], *words['markets']))}){_QUOTED}"
    named = (
        ("a market", rf"(?<![a-z0-9])(?:{'|'.join(words['markets'])})s?(?![a-z0-9])"),
        ("a market", rf"(?<![a-z0-9]){pairs}(?:perp|\.p)?(?![a-z0-9])"),
        ("an event that tells a date", rf"\b(?:{'|'.join(words['events'])})\b"),
    )
    functions = {part.upper() for name in FUNCTIONS for part in (name, *name.split("_"))}
    return _compiled(named + _ALWAYS), _compiled(_IN_WORDS), frozenset(functions).union(words["capitals"])


def _compiled(rules: tuple[tuple[str, str], ...]) -> tuple[Rule, ...]:
    return tuple((noun, re.compile(pattern, re.IGNORECASE)) for noun, pattern in rules)


def _unknown_capitals(text: str, known: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yield where words in capitals stand that are none of the field's: they may be symbols unheard of here."""
    for match in _WORD.finditer(text):
        word = match[0]
        if (
            2 <= len(word) <= 6
            and word.isupper()
            and word not in known
            and word.removesuffix("S") not in known
        ):
            yield match.span()
