"""Who proposed a candidate, so that the ledger can say who looked, and evidence what the proposer knew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from research_lab.dsl.spec import Spec
from research_lab.errors import DataError, UsageError

ANYONE = "*"


@dataclass(frozen=True, slots=True)
class Origin:
    """What proposed a candidate.

    Parameters
    ----------
    generator : its name; "file" for a strategy that somebody wrote.
    version : of the generator; "" when it has none.
    parent : SHA-256 of the candidates that it was made from, one or two with a space between; "" without one.
    knowledge_cutoff : last day, UTC, that the proposer can have known, such as "2025-06-30"; "" when unknown.
    model, prompt : name of the language model that wrote it, and SHA-256 of what it was asked; "" without one.

    Raises
    ------
    UsageError
        The cutoff is no date.
    """

    generator: str = "file"
    version: str = ""
    parent: str = ""
    knowledge_cutoff: str = ""
    model: str = ""
    prompt: str = ""

    def __post_init__(self) -> None:
        if not self.knowledge_cutoff:
            return
        try:
            date.fromisoformat(self.knowledge_cutoff)
        except ValueError:
            raise UsageError(
                f"knowledge cutoff {self.knowledge_cutoff[:40]!r} is no date", remedy="write it as 2025-06-30"
            ) from None

    @property
    def cutoff_ms(self) -> int | None:
        """First millisecond, UTC, that the proposer cannot have known; None when unknown."""
        if not self.knowledge_cutoff:
            return None
        day = date.fromisoformat(self.knowledge_cutoff)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        return (int(midnight) + 86_400) * 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """A proposal that was not run: a text that is no strategy, or a strategy that may not be run.

    Parameters
    ----------
    name : what it calls itself, or its file. text : as proposed. reason : why it was refused.
    spec : the strategy, where the text is one.
    """

    name: str
    text: str
    reason: str
    origin: Origin = Origin()
    spec: Spec | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the text: of the bytes that it was read from, where it was."""
        try:
            raw = self.text.encode("utf-8", errors="surrogateescape")
        except UnicodeEncodeError:  # half a pair, which no file holds but a model's answer may
            raw = self.text.encode("utf-8", errors="surrogatepass")
        return hashlib.sha256(raw).hexdigest()


def read_origins(path: Path) -> dict[str, Origin]:
    """Read who proposed what: a JSON object of strategies' names, "*" for all others; {} without the file.

    Raises
    ------
    DataError
        It is something else.

    Examples
    --------
    ``{"*": {"generator": "grammar", "version": "3", "knowledge_cutoff": "2025-06-30"}}``
    """
    if not path.exists():
        return {}
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise DataError(f"not readable as JSON: {fault}", str(path)) from None
    if not isinstance(raw, dict):
        raise DataError("wanted an object of strategies' names", str(path))
    return {name: _origin(name, told, str(path)) for name, told in raw.items()}


def origin_of(origins: Mapping[str, Origin], name: str, default: Origin) -> Origin:
    """Return a strategy's origin by its name, else that of all others, else a default."""
    return origins.get(name, origins.get(ANYONE, default))


def _origin(name: str, told: Any, where: str) -> Origin:
    known = [field.name for field in fields(Origin)]
    if not isinstance(told, dict) or not set(told) <= set(known):
        raise DataError(f"of {name[:60]!r}: wanted an object of {', '.join(known)}", where)
    if not all(isinstance(value, str) for value in told.values()):
        raise DataError(f"of {name[:60]!r}: every value is a text", where)
    try:
        return Origin(**told)
    except UsageError as fault:
        raise DataError(f"of {name[:60]!r}: {fault.what}", where, fault.remedy) from None
