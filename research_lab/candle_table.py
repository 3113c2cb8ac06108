"""A Parquet file of candles as columns: reading them, and refusing what no candle can be.

Nothing is repaired here. Rows are counted from 0, as Arrow and NumPy count them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from research_lab.errors import DataError
from research_lab.timeframe import MINUTE_MS, grid_origin_ms, timeframe_name, utc

if TYPE_CHECKING:
    import pyarrow as pa

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CANDLE_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")

_DROP = "remove or fetch again what is wrong; nothing is repaired while reading"
_UNIT = "wanted milliseconds since 1970: multiply seconds by 1000, divide microseconds by 1000"
_SORT = "sort by timestamp, and make sure that no file was joined twice"
_GRID = "shift the times to the candles' opening, or name the right timeframe"


def read_table(path: str | Path, columns: Sequence[str], optional: Sequence[str] = ()) -> pa.Table:
    """Return columns of a Parquet file, checksums verified where the file has them.

    Parameters
    ----------
    columns : must be there.
    optional : read when there.

    Raises
    ------
    DataError
        When the file is missing, is no Parquet file, is damaged, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise DataError("there is no such file", str(path), "check the path")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            present = file.schema_arrow.names
            missing = [name for name in columns if name not in present]
            if missing:
                raise DataError(
                    f"columns {', '.join(missing)} are missing among {', '.join(present) or 'none'}",
                    str(path),
                    f"wanted {', '.join(columns)}: rename or add them",
                )
            twice = [name for name in (*columns, *optional) if present.count(name) > 1]
            if twice:
                raise DataError(f"there is more than one column {twice[0]}", str(path), "keep one of them")
            wanted = [*columns, *(name for name in optional if name in present)]
            return file.read(wanted, use_threads=False)  # threads cost 50 MB and save nothing here
    except (pa.ArrowException, OSError) as fault:
        detail = str(fault).splitlines()[0][:200] if str(fault) else type(fault).__name__
        raise DataError(
            f"not a readable Parquet file: {detail}", str(path), "convert it to Parquet, or fetch it again"
        ) from fault


def column_of_times(table: pa.Table, path: str | Path, name: str = "timestamp") -> IntArray:
    """Return a column of times in ms UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table[name]
    if len(column) == 0:
        raise DataError("the file has no rows", str(path), "fetch it again")
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        seen = f"row {row}: the {name} is null ({column.null_count} rows in all)"
        raise DataError(f"{seen}; wanted a time", str(path), _DROP)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        to_ms = pa.timestamp("ms", tz=getattr(column.type, "tz", None))
        whole = column.cast(to_ms, safe=False)
        cut = pc.not_equal(column, whole.cast(column.type, safe=False))
        column = whole.cast(pa.int64())
        if pc.any(cut).as_py():
            seen = "a fraction of a millisecond; wanted whole ones"
            rows = np.array(cut.to_pylist(), dtype=bool)
            _refuse(rows, seen, rows, path, _numpy(column, np.int64), _GRID)
    elif not pa.types.is_integer(column.type):
        raise DataError(
            f"{name} is of type {column.type}; wanted a timestamp or whole milliseconds since 1970",
            str(path),
            "convert the column before saving",
        )
    try:
        time: IntArray = _numpy(column.cast(pa.int64()), np.int64)
    except pa.ArrowInvalid:
        raise DataError(f"{name} holds what is no time in milliseconds", str(path), _UNIT) from None
    if pa.types.is_integer(table[name].type):
        # Seconds stay below 1e11 until the year 5138, microseconds are above 1e14 since 1973.
        _refuse((time < 10**11) | (time >= 10**14), "{} is no time in milliseconds", time, path, time, _UNIT)
    return time


def column_of_numbers(table: pa.Table, name: str, path: str | Path) -> FloatArray:
    """Return a column of numbers as float64; nulls become NaN."""
    import pyarrow as pa

    column = table[name]
    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    if not any(fits(column.type) for fits in kinds):
        raise DataError(
            f"column {name} is of type {column.type}; wanted numbers", str(path), "convert it to float64"
        )
    column = column.cast(pa.float64(), safe=False)
    if column.null_count:
        column = column.fill_null(math.nan)
    numbers: FloatArray = _numpy(column, np.float64)
    return numbers


def _numpy(column: pa.ChunkedArray, dtype: type[np.generic]) -> NDArray[Any]:
    """Return a column of fixed-width numbers without nulls as an array of our own.

    Arrow's own `to_numpy` imports pandas, which the executor has no room for.
    """
    whole = column.combine_chunks()
    values = np.frombuffer(whole.buffers()[1], dtype, whole.offset + len(whole))
    return values[whole.offset :].copy()


def _refuse(
    bad: BoolArray, what: str, values: NDArray[Any], path: str | Path, time: IntArray, remedy: str
) -> None:
    """Raise DataError for the first row where `bad` is true; `{}` in `what` becomes its value."""
    if not bad.any():
        return
    row = int(np.argmax(bad))
    total = int(np.count_nonzero(bad))
    more = f" ({total} rows in all)" if total > 1 else ""
    raise DataError(f"row {row}, {utc(time[row])}: {what.format(values[row])}{more}", str(path), remedy)


def refuse_disorder(time: IntArray, path: str | Path) -> None:
    """Raise DataError when times do not strictly increase."""
    steps = np.diff(time, prepend=time[0] - 1)
    newest_first = time.shape[0] > 1 and bool((steps[1:] < 0).all())
    if newest_first:
        raise DataError(
            f"rows run from {utc(time[0])} back to {utc(time[-1])}; wanted oldest first",
            str(path),
            "reverse the rows",
        )
    bad = steps <= 0
    if bad.any():
        row = int(np.argmax(bad))
        twice = steps[row] == 0
        seen = "the same time as the row before" if twice else f"earlier than {utc(time[row - 1])} before it"
        _refuse(bad, f"{seen}; wanted strictly increasing times", time, path, time, _SORT)


def common_step(time: IntArray, path: str | Path) -> int:
    """Return the most common difference of times; the smaller one of equals."""
    if time.shape[0] < 2:
        raise DataError(
            "one row does not tell the timeframe",
            str(path),
            "name the file exchange_BASE-QUOTE_timeframe.parquet",
        )
    steps, counts = np.unique(np.diff(time), return_counts=True)
    return int(steps[np.argmax(counts)])


def refuse_off_grid(time: IntArray, step_ms: int, path: str | Path, *, trusted: bool) -> None:
    """Raise DataError for a time off the grid, or when a name tells a finer grid than the rows have."""
    if step_ms % MINUTE_MS:
        raise DataError(
            f"most rows are {step_ms / 1000:g} s apart; wanted a whole number of minutes", str(path), _UNIT
        )
    off = (time - grid_origin_ms(step_ms)) % step_ms != 0
    wanted = f"not on the grid of {timeframe_name(step_ms)}; wanted opening times, UTC"
    _refuse(off, wanted, time, path, time, _GRID)
    if not trusted and time.shape[0] > 2 and common_step(time, path) != step_ms:
        raise DataError(
            f"most rows are {common_step(time, path) / MINUTE_MS:g} minutes apart, the name says "
            f"{timeframe_name(step_ms)}",
            str(path),
            "name the right timeframe, or fetch the missing rows",
        )


def refuse_not_finite(values: FloatArray, name: str, time: IntArray, path: str | Path) -> None:
    """Raise DataError for a null, NaN or infinite value."""
    _refuse(~np.isfinite(values), f"{name} is {{}}; wanted a finite number", values, path, time, _DROP)


def refuse_bad_values(time: IntArray, candles: FloatArray, path: str | Path) -> None:
    """Raise DataError for values that no candle can have; `candles` has the rows open to volume."""
    names = CANDLE_COLUMNS[1:]
    for name, row in zip(names, candles, strict=True):
        refuse_not_finite(row, name, time, path)
    for name, row in zip(names[:4], candles, strict=False):
        _refuse(row <= 0.0, f"{name} is {{}}; wanted a price above zero", row, path, time, _DROP)
    opening, high, low, close, volume = candles
    _refuse(volume < 0.0, "volume is {}; wanted zero or more", volume, path, time, _DROP)
    top, bottom = np.maximum(opening, close), np.minimum(opening, close)
    _refuse(high < top, "high {} is below open or close", high, path, time, _DROP)
    _refuse(low > bottom, "low {} is above open or close", low, path, time, _DROP)
