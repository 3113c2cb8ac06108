"""Candles and series for a callable, from Parquet or CSV files; nothing is repaired.

Other columns of numbers are handed on beside the candle's, as known at each bar's close. A series is known
from its time on, or from the time in its column `published` where it has one, and so much later as is told.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from research_lab.candle_table import (
    column_of_numbers,
    column_of_times,
    refuse_bad_values,
    refuse_disorder,
)
from research_lab.errors import DataError
from research_lab.validation.causality.given import CANDLE, Auxiliary, Given

if TYPE_CHECKING:
    import pyarrow as pa

_TIMES: Final = ("timestamp", "time", "date", "datetime", "open_time", "__index_level_0__", "")
_PUBLISHED: Final = "published"


def read_frame(path: str | Path, *, at_open: bool = False) -> Given:
    """Read candles: a column of times (ms, timestamps or text, UTC), open, high, low, close, volume, in any case.

    Raises
    ------
    DataError
        The file cannot be read, lacks a column, or has a row that no candle can be, or out of order.
    """
    table = _table(path)
    time = column_of_times(table, path, "timestamp")
    refuse_disorder(time, path)
    missing = [name for name in CANDLE if name not in table.column_names]
    if missing:
        seen = ", ".join(table.column_names)
        raise DataError(
            f"columns {', '.join(missing)} are missing among {seen}", str(path), "rename or add them"
        )
    others = [
        name for name in table.column_names if name not in (*CANDLE, "timestamp") and _numeric(table, name)
    ]
    columns = (*CANDLE, *others)
    values = np.stack([column_of_numbers(table, name, path) for name in columns], axis=1)
    refuse_bad_values(time, np.ascontiguousarray(values[:, : len(CANDLE)].T), path)
    if time.shape[0] < 2:
        raise DataError("one row does not tell the timeframe", str(path), "give more bars")
    steps, counts = np.unique(np.diff(time), return_counts=True)
    return Given(time, int(steps[np.argmax(counts)]), columns, values, {}, at_open)


def read_auxiliary(path: str | Path, lag_ms: int = 0) -> Auxiliary:
    """Read a series: a column of times, other columns of numbers, and `published` where it was known later.

    Parameters
    ----------
    lag_ms : a row may be seen so much after its time, or after it was published.
    """
    table = _table(path)
    time = column_of_times(table, path, "timestamp")
    refuse_disorder(time, path)
    names = [name for name in table.column_names if name != "timestamp" and _numeric(table, name)]
    known = time
    columns = {name: column_of_numbers(table, name, path) for name in names if name != _PUBLISHED}
    if not columns:
        raise DataError("there is no column of numbers beside the times", str(path), "add one, such as value")
    frame = pd.DataFrame(columns, _index(time))
    if _PUBLISHED in table.column_names:
        known = column_of_times(table, path, _PUBLISHED)
        if (known < time).any():
            row = int(np.argmax(known < time))
            raise DataError(f"row {row} was published before its time", str(path), "check the two columns")
        frame[_PUBLISHED] = _index(known)
    return Auxiliary(frame, known + lag_ms)


def _index(time: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(time, unit="ms", utc=True).as_unit("ns"), name="time")


def _numeric(table: pa.Table, name: str) -> bool:
    import pyarrow as pa

    kind = table[name].type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _table(path: str | Path) -> pa.Table:
    """Return a file's columns in small letters, the one of times as `timestamp`, text in it as times."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    if not Path(path).is_file():
        raise DataError("there is no such file", str(path), "check the path")
    try:
        if Path(path).suffix.lower() in (".csv", ".txt"):
            table = csv.read_csv(path)
        else:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as fault:
        detail = str(fault).splitlines()[0][:200] if str(fault) else type(fault).__name__
        raise DataError(
            f"not readable: {detail}", str(path), "save it as Parquet, or as CSV with commas"
        ) from fault
    names = [str(name).strip().lower() for name in table.column_names]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"there is more than one column {twice[0]!r}", str(path), "keep one of them")
    found = [name for name in _TIMES if name in names]
    if not found:
        raise DataError(f"no column of times among {', '.join(names)}", str(path), "call it timestamp")
    table = table.rename_columns(["timestamp" if name == found[0] else name for name in names])
    for name in ("timestamp", _PUBLISHED):
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, _as_times(table[name], path))
    return table


def _as_times(column: pa.ChunkedArray, path: str | Path) -> pa.ChunkedArray:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False)
    if str(column.type) not in ("string", "large_string"):
        return column
    try:
        return column.cast(pa.timestamp("ms", tz="UTC"))
    except pa.ArrowException:
        raise DataError(
            "a column of times holds what is no time", str(path), "write 2024-03-20T18:00:00Z, UTC"
        ) from None
