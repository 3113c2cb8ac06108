"""enable_map.yaml: which strategy may act where, in which regimes, with which share of the risk.

The map is data. It is written by promotion, read by the executor, and names each strategy by the hash
of its canonical text. A map that is missing or malformed raises `MapError` and enables nothing new.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from research_lab.errors import MapError
from research_lab.strict_yaml import fit, load_text, misplaced, read_text, scalar

ANY = "any"
REGIMES = ("trend_up", "trend_down", "range_lowvol", "range_highvol", "panic")

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class Stage(StrEnum):
    """How far a strategy has come; the order is that of promotion."""

    SHADOW = "shadow"
    CANARY = "canary"
    CHAMPION = "champion"

    @property
    def rank(self) -> int:
        """Return 0 for shadow, 1 for canary, 2 for champion."""
        return list(Stage).index(self)

    @property
    def holds_capital(self) -> bool:
        """Whether the account follows the strategy; a shadow has its own book only."""
        return self is not Stage.SHADOW


def utc_time(text: str) -> datetime:
    """Return a time written as ``2026-11-20T10:00:00Z``.

    Raises
    ------
    ValueError
        Any other form: offsets, fractions and missing seconds are not taken.
    """
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a UTC time like 2026-11-20T10:00:00Z")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def utc_text(time: datetime) -> str:
    """Return a time as the map writes it: UTC, whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_time(value: Any) -> Any:
    return utc_time(value) if isinstance(value, str) else value


def _whole_utc_seconds(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError("a time without time zone; give UTC")
    return time.astimezone(UTC).replace(microsecond=0)


def _known_regimes(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in (ANY, *REGIMES)]
    if unknown:
        raise ValueError(f"unknown regime {unknown[0]!r}; known are {', '.join((ANY, *REGIMES))}")
    if len(set(names)) < len(names):
        raise ValueError("a regime stands twice")
    if ANY in names and len(names) > 1:
        raise ValueError("'any' stands alone, or regimes are named")
    return names


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]
MarketName = Annotated[str, Field(pattern=r"^[a-z0-9_]+ [A-Z0-9]+/[A-Z0-9]+( perpetual)?$")]
Timeframe = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}[mhdw]$")]
Time = Annotated[datetime, AfterValidator(_whole_utc_seconds), BeforeValidator(_read_time)]
Regimes = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_known_regimes)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Entry(_Strict):
    """One strategy on one market: a slot of the executor.

    Parameters
    ----------
    candidate : SHA-256 of the bound, canonical strategy; its text must hash to it.
    name : the strategy's name, for people.
    market : as `Market.name` writes it.
    timeframe : the strategy's.
    stage : shadow, canary or champion.
    risk_share : share of the risk budget. 0 for a shadow, above 0 for the others; what is too
        much is for governance to say.
    regimes : where it may enter; ("any",) for everywhere.
    since : when it reached this stage, or the time given with the promotion: it trades from then on.
    evidence : SHA-256 over the evidence that the promotion was judged on.
    expires : from then on it opens nothing; None for never.
    """

    candidate: Sha256
    name: Name
    market: MarketName
    timeframe: Timeframe
    stage: Stage
    risk_share: Annotated[float, Field(ge=0.0)]
    regimes: Regimes
    since: Time
    evidence: Sha256
    expires: Time | None

    @model_validator(mode="after")
    def _coherent(self) -> Entry:
        if self.stage.holds_capital and self.risk_share == 0.0:
            raise misplaced(f"a {self.stage} needs a share above 0", "risk_share")
        if not self.stage.holds_capital and self.risk_share > 0.0:
            raise misplaced("a shadow trades without capital; its share must be 0", "risk_share")
        if self.expires is not None and self.expires <= self.since:
            raise misplaced("it expires before it begins", "expires")
        return self

    @property
    def slot(self) -> tuple[str, str]:
        """Return what makes the entry one of its kind: candidate and market."""
        return self.candidate, self.market

    def expired(self, now: datetime) -> bool:
        """Whether the entry may open nothing any more."""
        return self.expires is not None and now >= self.expires


class EnableMap(_Strict):
    """The whole map; its entries stand in the order in which the account steps them.

    Parameters
    ----------
    version : grows by one with each change; 0 before the first.
    updated : time of the last change; None before the first.
    min_bars_hold : equal regime closes in a row before the regime switches.
    cooldown_bars : bars of the strategy's timeframe without an entry after an exit.
    entries : at most one for each candidate and market.
    """

    version: Annotated[int, Field(ge=0)] = 0
    updated: Time | None = None
    min_bars_hold: Annotated[int, Field(ge=1, le=10_000)] = 3
    cooldown_bars: Annotated[int, Field(ge=0, le=100_000)] = 0
    entries: tuple[Entry, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> EnableMap:
        seen: dict[tuple[str, str], int] = {}
        for i, entry in enumerate(self.entries):
            if entry.slot in seen:
                raise misplaced(f"same candidate and market as entries[{seen[entry.slot]}]", "entries", i)
            seen[entry.slot] = i
        return self

    def find(self, candidate: str, market: str) -> Entry | None:
        """Return the entry of a candidate on a market."""
        return next((entry for entry in self.entries if entry.slot == (candidate, market)), None)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical text."""
        return hashlib.sha256(dump_map(self).encode()).hexdigest()


class _Written(EnableMap):
    """A map as a file must hold it: no field is left to a default."""

    version: Annotated[int, Field(ge=0)]
    updated: Time | None
    min_bars_hold: Annotated[int, Field(ge=1, le=10_000)]
    cooldown_bars: Annotated[int, Field(ge=0, le=100_000)]
    entries: tuple[Entry, ...]


def read_map(path: Path) -> EnableMap:
    """Read a map strictly.

    Raises
    ------
    MapError
        The file is missing, larger than 1 MiB, not UTF-8, not YAML, uses aliases, anchors, tags or
        duplicate keys, or does not fit the model; with the line where there is one.
    """
    return parse_map(read_text(path, MapError), str(path))


def parse_map(text: str, where: str = "enable_map.yaml") -> EnableMap:
    """Read a map from text; see `read_map`."""
    written = fit(_Written, load_text(text, where, MapError), where, MapError)
    return EnableMap(**dict(written))


def dump_map(enable_map: EnableMap) -> str:
    """Return a map as canonical YAML: one text for one map, which `parse_map` reads back.

    Examples
    --------
    >>> print(dump_map(EnableMap()), end="")
    version: 0
    updated: null
    min_bars_hold: 3
    cooldown_bars: 0
    entries: []
    """
    lines = [
        f"version: {enable_map.version}",
        f"updated: {_time(enable_map.updated)}",
        f"min_bars_hold: {enable_map.min_bars_hold}",
        f"cooldown_bars: {enable_map.cooldown_bars}",
        "entries:" if enable_map.entries else "entries: []",
    ]
    for entry in enable_map.entries:
        lines.append(f"  - candidate: {scalar(entry.candidate)}")
        lines.extend(f"    {key}: {text}" for key, text in _fields(entry))
    return "\n".join(lines) + "\n"


def _fields(entry: Entry) -> list[tuple[str, str]]:
    return [
        ("name", scalar(entry.name)),
        ("market", scalar(entry.market)),
        ("timeframe", scalar(entry.timeframe)),
        ("stage", scalar(entry.stage.value)),
        ("risk_share", scalar(entry.risk_share)),
        ("regimes", f"[{', '.join(scalar(name) for name in entry.regimes)}]"),
        ("since", _time(entry.since)),
        ("evidence", scalar(entry.evidence)),
        ("expires", _time(entry.expires)),
    ]


def _time(time: datetime | None) -> str:
    return "null" if time is None else utc_text(time)
