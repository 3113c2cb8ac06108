"""Numbers of a model's own text that no strategy can use, and that may therefore be a price that it remembers.

In the language a number is a length, a threshold or a ratio. One beyond the longest window is none of them, and
neither is one that is compared with a price, which the loader refuses. Where a model's words go back into a prompt,
another number stands in the place of each: the words stay what they were, valid JSON too.
"""

from __future__ import annotations

import re
from typing import Any, Final

from research_lab.dsl import limits
from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.function import MAX_WINDOW
from research_lab.dsl.reference import dimension_words
from research_lab.dsl.registry import FUNCTIONS, INPUTS

MASK: Final = "99999"
_IDS: Final = ("id", "tool_call_id", "tool_use_id")
_LIMITS: Final = frozenset(v for v in vars(limits).values() if isinstance(v, int))  # that the loader names


def _giving(*words: str) -> str:
    return "|".join(name for name, f in FUNCTIONS.items() if dimension_words(f).startswith(words))


_INPUT: Final = rf"\b(?:{'|'.join(name for name, (of, _) in INPUTS.items() if of == PRICE)})\b"
# Not as a factor: what a price is divided by is no price any more.
_PRICE: Final = (
    rf"(?<![*/])(?<![*/] )(?:{_INPUT}|\b(?:{_giving('price')})\b(?:\([^()]{{0,80}}\))?"
    rf"|\b(?:{_giving('that of')})\(\s{{0,3}}{_INPUT}[^()]{{0,80}}\))"
)
_COMPARED: Final = r"\s{0,3}(?:[<>]=?|[=!]=)\s{0,3}"
_NUMBER: Final = r"(?:\d[\d_]{0,40})(?:\.\d{0,40})?(?:e[+-]?\d{1,4})?"
_ALONE: Final = r"(?![\w.]|\s{0,3}[*/(])"
# What stands before the number is kept.
_BESIDE_PRICE: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"({_PRICE}(?:{_COMPARED}|\s{{0,3}}[+-]\s{{0,3}})-?){_NUMBER}{_ALONE}",
        rf"((?<![\w.])){_NUMBER}(?={_COMPARED}{_PRICE}(?!\s{{0,3}}[*/(]))",
        rf"(\b(?:crosses|crosses_above|crosses_below|min|max|coalesce)\(\s{{0,3}}{_PRICE}\s{{0,3}},\s{{0,3}}-?){_NUMBER}{_ALONE}",
    )
)
_ANY: Final = re.compile(
    r"(time_stop\\{0,8}\"?\s{0,3}:\s{0,3})?(?<![\d.])"
    r"(?:[1-9]\d{0,2}(?:[ _'\u00a0\u2009\u202f]\d{3}){1,6}(?!\d)|\d[\d_]{0,400}(?:\.\d{0,40})?(?:e\+?\d{1,4})?)",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """Return a text of the language, or about it, without numbers that no strategy can use.

    Examples
    --------
    >>> masked("close > 69000 and rsi(14) < 30: compares price with ratio")
    'close > 99999 and rsi(14) < 30: compares price with ratio'
    >>> masked("sma(close, 200) <= 1.085 or close > close * 1.085 + 2 * atr(14)")
    'sma(close, 200) <= 99999 or close > close * 1.085 + 2 * atr(14)'
    """
    for pattern in _BESIDE_PRICE:
        text = pattern.sub(_hidden, text)
    return _ANY.sub(_hidden_when_large, text)


def masked_parts(value: Any) -> Any:
    """Return what is sent of a model's words with all texts and numbers in it masked."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, list):
        return [masked_parts(part) for part in value]
    if isinstance(value, dict):
        return {masked(name): part if name in _IDS else masked_parts(part) for name, part in value.items()}
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) > MAX_WINDOW:
        return int(MASK)
    return value


def _hidden(found: re.Match[str]) -> str:
    number = found[0][len(found[1]) :]
    return f"{found[1]}{number}" if not number.strip("0._") else f"{found[1]}{MASK}"


def _hidden_when_large(found: re.Match[str]) -> str:
    if found[1] is not None:  # a time stop is a length, however long
        return found[0]
    number = float(re.sub(r"[^\d.e+]", "", found[0].casefold()).rstrip("+e"))
    return MASK if number > MAX_WINDOW and number not in _LIMITS else found[0]
