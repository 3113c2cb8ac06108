"""One trial, its record in the ledger, and what is wrong with either.

The same is asked of what is written and of what is read: segments of other machines are taken in, their chains
need no secret, and a record that names its returns but hides them would take a look away from everybody.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from research_lab.timeframe import DAY_MS, LATEST_MS, WEEK_MS, utc

Kind = Literal["scored", "refused", "crashed"]
Key = tuple[str, str, int, int]  # candidate, market, start, end

CELL = 8  # bytes of a float64
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PARENTS = re.compile(r"[0-9a-f]{64}( [0-9a-f]{64})?", re.ASCII)
_KINDS = get_args(Kind)
_AHEAD_MS = WEEK_MS  # clocks differ, and the last bar may not have ended
_SHORTEST_TRADE_MS = 1_000
_LARGEST = 1e15  # of a number that a line tells
_TEXTS = (
    "candidate", "template", "name", "market", "timeframe", "snapshot", "campaign", "origin",
    "generator_version", "parent", "knowledge_cutoff", "reason", "model", "prompt",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """One look at a market: what was tried, on which time, who proposed it, and what came out.

    Parameters
    ----------
    kind : "scored", "refused" before it ran, or "crashed" while it ran.
    candidate, template : SHA-256 of the bound and of the unbound form, 64 hex digits; both that of the text
        where it is no strategy.
    name : the strategy's name.
    market : the symbol that is charged, such as "BTC/USDT".
    start_ms, end_ms : the interval looked at, [start, end), ms UTC.
    timeframe : of the strategy, such as "4h".
    snapshot : SHA-256 of the bars.
    campaign : the run that asked.
    origin : what proposed the candidate: a generator's name, "tuning", "hand".
    sharpe : annualised, of returns per base bar; NaN when it was not measured.
    n_trades : closed trades.
    recorded_s : seconds since 1970, UTC; set by the ledger.
    generator_version : of what proposed it, "" when it has none.
    parent : SHA-256 of the candidates that it was made from, one or two with a space between, "" without one.
    knowledge_cutoff : last day that the proposer can have known, such as "2025-06-30"; "" when unknown.
    reason : why it was refused, "" otherwise.
    model, prompt : name of the language model that wrote it, and SHA-256 of what it was asked; "" without one.
    """

    kind: Kind
    candidate: str
    template: str
    name: str
    market: str
    start_ms: int
    end_ms: int
    timeframe: str
    snapshot: str
    campaign: str
    origin: str
    sharpe: float = math.nan
    n_trades: int = 0
    recorded_s: float = math.nan
    generator_version: str = ""
    parent: str = ""
    knowledge_cutoff: str = ""
    reason: str = ""
    model: str = ""
    prompt: str = ""

    @property
    def key(self) -> Key:
        return self.candidate, self.market, self.start_ms, self.end_ms


@dataclass(frozen=True, slots=True)
class Record:
    """A trial as it stands in a segment.

    Parameters
    ----------
    trial : what was recorded.
    line, hash : number from 1 and hash of its line.
    offset : bytes in the file of rows before its own, also when it has none.
    first_day : of its returns, days since 1970-01-01 UTC.
    n_days : length of its row, 0 without one.
    sha256 : of the row's bytes, "" without one.
    """

    trial: Trial
    line: int
    hash: str
    offset: int
    first_day: int
    n_days: int
    sha256: str

    @property
    def end(self) -> int:
        return self.offset + CELL * self.n_days

    @property
    def identity(self) -> str:
        return identity(self.first_day, self.sha256)


def identity(first_day: int, sha256: str) -> str:
    """Return what tells a trial's returns from others of the same candidate, market and interval; "" for none."""
    return f"{first_day} {sha256}" if sha256 else ""


def fault_of_trial(trial: Trial) -> str:
    """Say what is wrong with a trial; empty when nothing is."""
    if trial.kind not in _KINDS:
        return f"kind {trial.kind!r}, wanted one of {', '.join(_KINDS)}"
    for name in ("candidate", "template", "snapshot"):
        if not _HASH.fullmatch(getattr(trial, name)):
            return f"{name} {getattr(trial, name)!r} is no SHA-256"
    if trial.parent and not _PARENTS.fullmatch(trial.parent):
        return f"parent {trial.parent!r} is neither one SHA-256 nor two"
    if trial.prompt and not _HASH.fullmatch(trial.prompt):
        return f"prompt {trial.prompt!r} is no SHA-256"
    if not trial.market:
        return "no market is charged"
    if not 0 <= trial.start_ms < trial.end_ms:
        return f"interval {trial.start_ms} to {trial.end_ms} ms is empty or before 1970"
    if trial.end_ms > LATEST_MS:
        return "the interval ends after the year 9999"
    if not 0 <= trial.n_trades <= (trial.end_ms - trial.start_ms) // _SHORTEST_TRADE_MS:
        return "the number of trades is negative, or above one a second"
    return ""


def fault_of_time(trial: Trial, now_s: float) -> str:
    """Say whether a trial that others recorded looked at a time that had not been; empty when it did not.

    Parameters
    ----------
    now_s : seconds since 1970, UTC; clocks may differ by a week.
    """
    if trial.recorded_s * 1000 > now_s * 1000 + _AHEAD_MS:
        return f"it was recorded at {utc(int(trial.recorded_s * 1000))}, which is in the future"
    if trial.end_ms > trial.recorded_s * 1000 + _AHEAD_MS:
        recorded = utc(int(trial.recorded_s * 1000))
        return f"its interval ends at {utc(trial.end_ms)}, after {recorded}, when it was recorded"
    return ""


def fault_of_record(record: Record) -> str:
    """Say what is wrong with a record that was read; empty when nothing is."""
    trial = record.trial
    if not all(type(getattr(trial, name)) is str for name in (*_TEXTS, "kind")):
        return "a field that is a text is something else"
    whole = (trial.start_ms, trial.end_ms, trial.n_trades, record.offset, record.first_day, record.n_days)
    if not all(type(value) is int for value in whole):
        return "a field that is a whole number is something else"
    if any(abs(value) > _LARGEST for value in whole):
        return "a whole number is beyond all measure"
    if not ((trial.sharpe is math.nan or _is_number(trial.sharpe)) and _is_number(trial.recorded_s)):
        return "its Sharpe ratio or its time is no number"
    if trial.recorded_s < 0:
        return "it was recorded before 1970"
    return fault_of_trial(trial) or _fault_of_row(record)


def _is_number(value: object) -> bool:
    """Whether a value is a number in reach; NaN, infinities and an int that no float can hold are none."""
    return isinstance(value, (int, float)) and type(value) is not bool and -_LARGEST <= value <= _LARGEST


def _fault_of_row(record: Record) -> str:
    """Say whether a record's returns are not those of a look at its interval; empty when they are."""
    trial, last_day = record.trial, record.first_day + record.n_days - 1
    if trial.kind != "scored":
        return "" if (record.n_days, record.sha256) == (0, "") else f"it was {trial.kind} and has returns"
    if record.n_days < 1 or type(record.sha256) is not str or not _HASH.fullmatch(record.sha256):
        return "it was scored and has no returns"
    if record.first_day < trial.start_ms // DAY_MS or last_day > (trial.end_ms - 1) // DAY_MS:
        return f"days {record.first_day} to {last_day} do not lie in its interval"
    return ""
