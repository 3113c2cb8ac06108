"""External series and calendars of events: read from files, and shown only from when they were known.

A file has a column `time` (or `timestamp`, `date`; UTC: a timestamp, a date, which is its midnight, ISO text, or
whole milliseconds since 1970) and a column `value` (or `close`). One of a calendar has the times alone, or
`announced` beside them: when the event became known, left empty where that is not told. Nothing is repaired.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from research_lab.candle_table import (
    FloatArray,
    IntArray,
    column_of_numbers,
    column_of_times,
    read_table,
    refuse_disorder,
    refuse_not_finite,
)
from research_lab.errors import DataError, UsageError
from research_lab.score_note import ScoreNote, note_in
from research_lab.timeframe import HOUR_MS, timeframe_name

if TYPE_CHECKING:
    import pyarrow as pa

_TIMES, _VALUES = ("time", "timestamp", "date"), ("value", "close")
_COLUMNS = (*_TIMES, *_VALUES, "announced")
_NOT_TOLD = -(2**62)  # in `announced`


@dataclass(frozen=True, eq=False)
class Series:
    """Values by time, ms UTC, strictly increasing; of a calendar, events.

    Parameters
    ----------
    value : (n,) all finite, or NaN where a model knew no score; None for a calendar.
    announced : (n,) when each event became known, long before 1970 where that is not told; None when the file
        has no such column.
    note : which model's score it is; None for what is no model's.
    """

    where: str
    time: IntArray
    value: FloatArray | None = None
    announced: IntArray | None = None
    note: ScoreNote | None = None


@dataclass(frozen=True)
class SeriesRule:
    """How a strategy reads a series.

    Parameters
    ----------
    lag_ms : a value stamped T is visible from T + lag on. max_age_ms : and so long after that.
    kind : its dimension: "ratio", "price", "volume", "bars" or "condition".
    """

    lag_ms: int
    max_age_ms: int
    kind: str = "ratio"

    @property
    def text(self) -> str:
        kind = "" if self.kind == "ratio" else f", kind: {self.kind}"
        return f"{{lag: {duration(self.lag_ms)}, max_age: {duration(self.max_age_ms)}{kind}}}"

    def row(self, name: str, series: Series, closes: IntArray) -> FloatArray:
        """Return what is visible at each close; a condition is 0 or 1."""
        if series.value is None:
            raise DataError(f"{name} is a series and the file has no values", series.where, "add value")
        if series.note is not None:
            remedy = "declare it under models:, and read it as model(...)"
            raise DataError(f"{name} is a series, and the file holds a model's score", series.where, remedy)
        if self.kind == "condition" and not np.isin(series.value, (0.0, 1.0)).all():
            raise DataError(f"{name} is a condition with values other than 0 and 1", series.where)
        return align(series.time + self.lag_ms, series.value, closes, self.max_age_ms)


@dataclass(frozen=True)
class EventRule:
    """How a strategy reads a calendar.

    Parameters
    ----------
    known_ahead : whether events are known long ahead, as meetings are, but for those that the file says were
        announced later. Otherwise one that was not announced is known when it happens.
    """

    known_ahead: bool = False

    @property
    def text(self) -> str:
        return f"{{known_ahead: {str(self.known_ahead).lower()}}}"

    def row(self, name: str, series: Series, closes: IntArray) -> FloatArray:
        """Return hours since the last event, or to the next one known, at each close.

        Parameters
        ----------
        name : "hours_since(...)" or "hours_to(...)".
        """
        announced = series.announced
        if announced is not None and not self.known_ahead:
            announced = np.where(announced == _NOT_TOLD, series.time, announced)
        if name.startswith("hours_since"):
            known = series.time if announced is None else np.maximum(series.time, announced)
            return _hours_since(series.time, known, closes)
        if announced is None and not self.known_ahead:
            raise DataError(
                f"{name} needs to know when each event was announced",
                series.where,
                "add a column announced, or declare known_ahead: true if all dates are published long before",
            )
        return _hours_to(series.time, announced, closes)


@dataclass(frozen=True)
class ModelRule:
    """How a strategy reads a model's score.

    Parameters
    ----------
    hash : SHA-256 of the model whose score it is. max_age_ms : how long a score counts from its publication.
    """

    hash: str
    max_age_ms: int

    @property
    def text(self) -> str:
        return f'{{hash: "{self.hash}", max_age: {duration(self.max_age_ms)}}}'

    def row(self, name: str, series: Series, closes: IntArray) -> FloatArray:
        """Return the score visible at each close; unknown where the model knew none, and when it is old."""
        note = series.note
        if note is None or series.value is None:
            remedy = "make the file with pipeline model fit"
            raise DataError(f"{name} is a model's score, and the file holds none", series.where, remedy)
        if note.model != self.hash:
            raise DataError(
                f"the score of model {note.name[:48]} {note.model[:12]}, and {name} is pinned to {self.hash[:12]}",
                series.where,
                "give the score of that model, or pin the other one's hash",
            )
        if self.max_age_ms > note.max_age_ms:
            seen, most = duration(self.max_age_ms), duration(note.max_age_ms)
            raise DataError(
                f"{name} takes a score for {seen}, and its model lets one count for {most}",
                series.where,
                f"write max_age: {most} or less",
            )
        return align(series.time, series.value, closes, self.max_age_ms)


def align(
    visible: IntArray, values: FloatArray, closes: IntArray, max_age_ms: int, since: IntArray | None = None
) -> FloatArray:
    """Return the last value visible at each close; NaN before the first and for one that is too old.

    Parameters
    ----------
    visible : (n,) ms from which each value may be seen, ascending. closes : (m,) ms.
    since : (n,) ms from which each value's age counts; `visible` when None.
    """
    if not visible.shape[0]:
        return np.full(closes.shape[0], np.nan)
    last = np.searchsorted(visible, closes, side="right") - 1
    at = np.maximum(last, 0)
    age = closes - (visible if since is None else since)[at]
    return np.where((last >= 0) & (age <= max_age_ms), values[at], np.nan)


def read_series(path: str | Path) -> Series:
    """Read a Parquet or CSV file of values or events, or refuse it with its first bad row.

    Raises
    ------
    DataError
        The file is missing or damaged, lacks columns, or has a row that is out of order, twice or not finite.
    """
    table = _read(path)
    note = note_in(table.schema.metadata, str(path))
    time = column_of_times(table, path, "time")
    refuse_disorder(time, path)
    value = announced = None
    if "value" in table.column_names:
        value = column_of_numbers(table, "value", path)
        known = value if note is None else np.where(np.isnan(value), 0.0, value)
        refuse_not_finite(known, "value", time, path)
    if "announced" in table.column_names:
        told = np.array(table["announced"].is_valid().to_pylist(), np.bool_)
        announced = np.full(time.shape[0], _NOT_TOLD)
        if told.any():
            announced[told] = column_of_times(table.filter(table["announced"].is_valid()), path, "announced")
    return Series(str(path), time, value, announced, note)


def duration(ms: int) -> str:
    """Return a length of time as a timeframe writes it, and 0 for none."""
    return timeframe_name(ms) if ms else "0"


def named_files(texts: list[str], option: str) -> dict[str, Path]:
    """Return paths by name from options such as `dxy=dxy.csv`.

    Raises
    ------
    UsageError
        One has no name or no path, or a name comes twice.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, sign, path = text.partition("=")
        if not (name and sign and path):
            raise UsageError(f"{text[:80]!r} is not name=path", option, f"write {option} dxy=dxy.csv")
        if name in found:
            raise UsageError(f"{name} is given twice", option, "give one file a name")
        found[name] = Path(path)
    return found


def _read(path: str | Path) -> pa.Table:
    """Return the columns of a file that we know by the names we call them, times in text as timestamps."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    csv = Path(path).suffix.lower() == ".csv"
    table = _read_csv(path) if csv else read_table(path, (), optional=_COLUMNS)
    _refuse_lookalikes(table.column_names if csv else pq.read_schema(path).names, path)
    present = [name for name in _TIMES if table.column_names.count(name) == 1]
    if len(present) != 1:
        seen = ", ".join(table.column_names[:9]) or "none"
        raise DataError(f"wanted one column time among {seen}", str(path), "name it in the first line")
    columns = {"time": _as_times(table[present[0]], path)}
    values = [name for name in _VALUES if table.column_names.count(name) == 1]
    if values:
        columns["value"] = table[values[0]]
    if table.column_names.count("announced") == 1:
        columns["announced"] = _as_times(table["announced"], path)
    metadata = None if csv else pq.read_schema(path).metadata
    return pa.table(columns).replace_schema_metadata(metadata)


def _refuse_lookalikes(names: list[str], path: str | Path) -> None:
    """Refuse a column of ours that would be left out unseen: `announced` left out shows events too early."""
    for name in names:
        meant = name.strip().lower()
        if meant in _COLUMNS and meant != name:
            raise DataError(f"a column is called {name[:40]!r}", str(path), f"write {meant}, without spaces")
        if name in _COLUMNS and names.count(name) > 1:
            raise DataError(f"there is more than one column {name}", str(path), "keep one of them")


def _as_times(column: pa.ChunkedArray, path: str | Path) -> pa.ChunkedArray:
    import pyarrow as pa

    if str(column.type) not in ("string", "large_string"):
        return column
    try:
        return column.cast(pa.timestamp("ms", tz="UTC"))
    except pa.ArrowException:
        remedy = "write 2024-03-20T18:00:00Z, UTC"
        raise DataError("a column of times holds what is no time", str(path), remedy) from None


def _read_csv(path: str | Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    if not Path(path).is_file():
        raise DataError("there is no such file", str(path), "check the path")
    try:
        return csv.read_csv(path)
    except (pa.ArrowException, OSError) as fault:
        detail = str(fault).splitlines()[0][:200] if str(fault) else type(fault).__name__
        raise DataError(
            f"not a readable CSV file: {detail}", str(path), "save it as UTF-8, commas"
        ) from fault


def _hours_since(time: IntArray, known: IntArray, closes: IntArray) -> FloatArray:
    """Return hours since the latest event that had happened and was known at each close."""
    order = np.argsort(known, kind="stable")
    latest = np.maximum.accumulate(time[order])
    last = np.searchsorted(known[order], closes, side="right") - 1
    return np.where(last >= 0, (closes - latest[np.maximum(last, 0)]) / HOUR_MS, np.nan)


def _hours_to(time: IntArray, announced: IntArray | None, closes: IntArray) -> FloatArray:
    """Return hours to the next event known at each close; unknown after the last."""
    found = np.full(closes.shape[0], np.nan)
    ends = np.searchsorted(closes, time, side="right")
    begins = np.zeros_like(ends) if announced is None else np.searchsorted(closes, announced, side="left")
    # What an event before it covers as well would be overwritten: without this, many events take for ever.
    begins[1:] = np.where(begins[:-1] <= begins[1:], np.maximum(begins[1:], ends[:-1]), begins[1:])
    for k in range(time.shape[0] - 1, -1, -1):
        part = slice(int(begins[k]), int(ends[k]))
        found[part] = (time[k] - closes[part]) / HOUR_MS
    return found
