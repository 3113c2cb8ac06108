"""The text of an expression and where it stands: scanned before anything parses it, and named by every error."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Final, NoReturn

from research_lab.dsl import limits
from research_lab.errors import LimitError, SpecError

_TOKEN: Final = re.compile(
    r"\s+|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![A-Za-z_.\d]))"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)(?![A-Za-z_0-9\"'])"
    r"|(?P<text>\"[ !#-\[\]-~]*\"|'[ -&(-\[\]-~]*')"
    r"|(?P<sign><=|>=|==|!=|[-+*/<>(),])",
    re.ASCII,
)
_BRACKETS: Final = {"(": 1, ")": -1}


@dataclass(frozen=True)
class ExpressionText:
    """A text, and the place of its first character in a file.

    Parameters
    ----------
    text : of one expression. where : the file or field. line, column : counted from 1.
    """

    text: str
    where: str
    line: int
    column: int

    def parsed(self) -> ast.expr:
        """Return Python's tree of the text, once every character is known to be of the language.

        Raises
        ------
        SpecError : with file, line, column and a remedy; LimitError for what is too long or too deep.
        """
        self._scan()
        try:
            return ast.parse(self.text.strip().replace("\n", " "), mode="eval").body
        except SyntaxError as fault:
            self.fail(f"cannot be read: {fault.msg}", (fault.offset or 1) - 1, "see the language page")
        except (ValueError, RecursionError, MemoryError):
            self.fail("cannot be read", 0, "write it in smaller definitions", LimitError)

    def fail(self, what: str, at: int = 0, remedy: str = "", error: type[SpecError] = SpecError) -> NoReturn:
        """Raise an error at a character, counted from the first that is no space."""
        before = self.text[: self._indent + at]
        line = self.line + before.count("\n")
        column = len(before) - (before.rfind("\n") + 1) + (self.column if line == self.line else 1)
        raise error(what, self.where, line, column, remedy)

    @property
    def _indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())

    def _scan(self) -> None:
        if len(self.text) > limits.EXPRESSION_CHARACTERS:
            what = f"{len(self.text)} characters, more than {limits.EXPRESSION_CHARACTERS}"
            self.fail(what, remedy="split it with define", error=LimitError)
        if not self.text.strip():
            self.fail("an empty expression", remedy="write a condition or a number, or leave the field out")
        place, n_tokens, depth, indent = 0, 0, 0, self._indent
        while place < len(self.text):
            at = place - indent
            match = _TOKEN.match(self.text, place)
            if match is None:
                seen = self.text[place]
                self.fail(f"{seen!r} is not part of the language", at, _character_remedy(seen))
            n_tokens += match.lastgroup is not None
            depth += _BRACKETS.get(match.group(), 0)
            if n_tokens > limits.TOKENS:
                what = f"more than {limits.TOKENS} words and signs"
                self.fail(what, at, "split it with define", LimitError)
            if depth > limits.DEPTH:
                self.fail(f"brackets deeper than {limits.DEPTH}", at, "split it with define", LimitError)
            place = match.end()


def _character_remedy(seen: str) -> str:
    if seen == "=":
        return "compare with ==; arguments are given by place, without names"
    if seen in "&|~^":
        return "join conditions with and, or, not"
    if seen in "[]":
        return "the value n bars ago is prev(x, n)"
    return "use names, numbers, brackets and + - * / < <= > >= == !="
