"""The key of a server: read from the environment when it is sent, and never in anything that is kept or shown."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from research_lab.errors import UsageError

WITHHELD: Final = "it repeats the key of the server"
_SHORTEST: Final = 8  # a shorter one, such as "none", is a placeholder and would be found in any text
_ROUNDS: Final = 4  # of taking one layer of writing off a text: JSON in JSON in an address
_CODE: Final = re.compile(r"&#0*(\d{1,7})\d*")  # of a character in HTML, whose number may have no end
_ESCAPE: Final = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([\"'/\\]))")


@dataclass(frozen=True)
class Key:
    """The key that an environment variable holds; the object holds its name only.

    Parameters
    ----------
    variable : "" for a server that takes no key.
    """

    variable: str

    def value(self) -> str:
        """Return the key, "" for none.

        Raises
        ------
        UsageError
            The variable is not set, or is too short to be told apart from a word, or no header can hold it.
        """
        if not self.variable:
            return ""
        told = os.environ.get(self.variable, "")
        if not told:
            raise UsageError(
                f"the environment variable {self.variable} is not set", remedy="put the key there"
            )
        if len(told) < _SHORTEST:
            what = f"the key in {self.variable} has fewer than {_SHORTEST} characters"
            raise UsageError(what, remedy="leave key_variable out for a server that takes none")
        if not (told.isascii() and told.isprintable()) or " " in told:
            raise UsageError(f"the key in {self.variable} has characters that no key has")
        return told

    def stands_in(self, text: str) -> bool:
        """Return whether a text repeats the key, plainly or in one of the usual ways of writing it.

        Those are JSON's and Python's escapes, HTML's, those of addresses, base64 and hexadecimal, one inside the
        other too, in any case. Where the variable is not set, nothing repeats it.
        """
        told = os.environ.get(self.variable, "") if self.variable else ""
        if len(told) < _SHORTEST:
            return False
        forms = tuple(form.casefold() for form in _forms(told))
        for _ in range(_ROUNDS):
            if any(form in text.casefold() for form in forms):
                return True
            plainer = html.unescape(_CODE.sub(r"&#\1", unquote(_ESCAPE.sub(_character, text))))
            if plainer == text:
                return False
            text = plainer
        return any(form in text.casefold() for form in forms)


def _forms(key: str) -> Iterator[str]:
    raw = key.encode()
    yield key
    yield raw.hex()
    for shift in range(3):  # base64 of it, wherever it begins among the bytes around it
        padded = b"\0" * shift + raw
        whole = len(padded) - len(padded) % 3
        yield base64.b64encode(padded[:whole]).decode()[4 if shift else 0 :]


def _character(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code is None:
        return found[4]
    number = int(code, 16)
    return chr(number) if number <= 0x10FFFF else found[0]
