"""One request and what came back, as a file: a campaign is replayed from these, byte for byte, without a network."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from research_lab.durable import atomic_write
from research_lab.errors import DataError

ANSWERED: Final = "answered"
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Question:
    """Everything that decides an answer.

    Parameters
    ----------
    provider, address : whose protocol, and where it was sent to.
    turn : which of all questions with these words it is, such as "3/author/2".
    body : the JSON that is sent: model, words, schema and settings.
    """

    provider: str
    address: str
    turn: str
    body: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """SHA-256 of all of it."""
        return _digest(_canonical(asdict(self)))


@dataclass(frozen=True)
class Reply:
    """What came back.

    Parameters
    ----------
    outcome : "answered", or why there is no answer.
    status, content_type, text : of the HTTP answer, within limits; 0 and "" without one.
    seconds : of waiting. requests : sent for it. passing : whether another try may do better.
    unreached : whether no server was found, so that nothing was asked of anybody.
    """

    outcome: str
    status: int = 0
    content_type: str = ""
    text: str = ""
    seconds: float = 0.0
    requests: int = 1
    passing: bool = False
    unreached: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return _digest(self.text)


class ExchangeStore:
    """Questions with their replies, one file each, named by the question's hash.

    Parameters
    ----------
    folder : made when the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, question: Question) -> Reply | None:
        """Return the reply to a question, None when it was never asked.

        Raises
        ------
        DataError
            The file is not what was kept.
        """
        path = self._path(question.key)
        if not path.exists():
            return None
        try:
            kept: Any = json.loads(path.read_text(encoding="utf-8"))
            reply = Reply(**kept["reply"])
            known = kept["question"] == _plain(question) and kept["answer_hash"] == reply.digest
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            known = False
        if not known:
            raise DataError("this is not the answer that was kept", str(path), "delete it to ask again")
        return reply

    def keep(self, question: Question, reply: Reply) -> None:
        """Write down a question and its reply."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {"question": _plain(question), "answer_hash": reply.digest, "reply": asdict(reply)}
        atomic_write(self._path(question.key), _pretty(kept))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


class Transcripts:
    """What was made of each answer, one file a call, for people and for the campaign's record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, key: str, told: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(self.folder / f"{key}.json", _pretty(told))

    def read(self) -> dict[str, Mapping[str, Any]]:
        """Return all of them by the hash of their question."""
        found: dict[str, Mapping[str, Any]] = {}
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            if not _HASH.fullmatch(path.stem):
                continue
            try:
                told: Any = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as fault:
                raise DataError(f"not readable as JSON: {fault}", str(path)) from None
            if not isinstance(told, dict):
                raise DataError("wanted an object", str(path))
            found[path.stem] = told
        return found


def _plain(question: Question) -> Any:
    return json.loads(_canonical(asdict(question)))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def _pretty(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
