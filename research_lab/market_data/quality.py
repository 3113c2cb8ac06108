"""The quality of candles: a Great Expectations suite that lists everything wrong at once.

`read_candles` refuses a file at its first bad row. This suite judges the raw table instead, however dirty,
and names each fault with its rows. Gaps and flat candles without volume are counted and reported, never
filled; how many of them are too many is policy.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from research_lab.bars import (
    CANDLE_COLUMNS,
    Bars,
    FloatArray,
    IntArray,
    grid_origin_ms,
    timeframe_name,
    told_step_ms,
)
from research_lab.candle_table import read_table
from research_lab.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

N_ROWS_SHOWN = 10
LARGEST_JUMP = 0.5
LARGEST_VOLUME_SHIFT = 2.0
_VOLUME_BLOCK = 100
_PRICES = ["open", "high", "low", "close"]
_EPOCH_MS_BOUNDS = (10**11, 10**14)  # 1973 to 5138; seconds lie below, microseconds above


@dataclass(frozen=True)
class Expectation:
    """What one expectation found.

    Parameters
    ----------
    name : what should hold, such as "ordered".
    meaning : the same as a sentence.
    success : whether it holds for every row.
    unexpected_count : number of rows where it does not.
    first_unexpected_rows : up to ten of them, counted from 0 in the order of the table.
    """

    name: str
    meaning: str
    success: bool
    unexpected_count: int
    first_unexpected_rows: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """What was found, where, and what was wanted."""
        if not self.unexpected_count:
            return f"{self.name}: {'as' if self.success else 'not as'} wanted, {self.meaning}"
        rows = ", ".join(map(str, self.first_unexpected_rows))
        return f"{self.name}: {self.unexpected_count} rows, first {rows}; wanted {self.meaning}"


@dataclass(frozen=True)
class QualityReport:
    """Everything found in one table of candles.

    Parameters
    ----------
    passed : whether every expectation holds.
    expectations : in the order of the suite.
    n_bars : rows of the table.
    timeframe : the grid that it was judged by, such as "1h"; "" when it has none.
    n_gaps, n_missing, longest_gap_bars : gaps between known times on the grid, bars missing in them, and in
        the longest one.
    n_flat : candles with high = low and no volume.
    """

    passed: bool
    expectations: tuple[Expectation, ...]
    n_bars: int
    timeframe: str
    n_gaps: int
    n_missing: int
    longest_gap_bars: int
    n_flat: int

    @property
    def faults(self) -> tuple[str, ...]:
        """One sentence for each expectation that does not hold."""
        return tuple(e.sentence for e in self.expectations if not e.success)


def check_file(path: str | Path) -> QualityReport:
    """Judge a Parquet file of candles as it is, before anything refuses it.

    The grid is what the file name tells, or else the most common difference of times.

    Raises
    ------
    DataError
        When the file is missing, no Parquet, damaged or lacks a column: then there is nothing to judge.
    """
    table = read_table(path, CANDLE_COLUMNS)
    return _judge(table.to_pandas(), told_step_ms(path), str(path))


def check(candles: Bars | pd.DataFrame, step_ms: int | None = None) -> QualityReport:
    """Judge bars, or a raw frame with the columns timestamp, open, high, low, close, volume.

    Parameters
    ----------
    step_ms : the grid of a frame; None takes the most common difference of times. Bars know theirs.
    """
    import pandas as pd

    if isinstance(candles, Bars):
        rows = dict(zip(CANDLE_COLUMNS[1:], candles.inputs[:5], strict=True))
        frame = pd.DataFrame({"timestamp": candles.time, **rows})
        return _judge(frame, candles.step_ms, candles.market.name, trusted=True)
    return _judge(candles, step_ms, "frame")


def _judge(frame: pd.DataFrame, step_ms: int | None, where: str, *, trusted: bool = False) -> QualityReport:
    """Measure every row, run the suite over the measurements, and count gaps and flat candles.

    `trusted` times are milliseconds for certain; otherwise whole numbers are checked for their unit.
    """
    missing = [name for name in CANDLE_COLUMNS if name not in frame.columns]
    if missing:
        raise DataError(f"columns {', '.join(missing)} are missing", where, "rename or add them")
    if step_ms is None:
        step_ms = _common_step(_times(frame["timestamp"]))
    rows = _measured(frame, step_ms, trusted=trusted)
    expectations = _validate(rows)
    gaps = _gaps(rows["time_ms"].to_numpy(), step_ms)
    flat = (rows["high"] == rows["low"]) & (rows["volume"] == 0.0)
    return QualityReport(
        passed=all(e.success for e in expectations),
        expectations=expectations,
        n_bars=len(rows),
        timeframe=timeframe_name(step_ms) if step_ms and step_ms % 60_000 == 0 else "",
        n_gaps=len(gaps),
        n_missing=int(gaps.sum()),
        longest_gap_bars=int(gaps.max(initial=0)),
        n_flat=int(flat.sum()),
    )


def _measured(frame: pd.DataFrame, step_ms: int, *, trusted: bool) -> pd.DataFrame:
    """Return one row of measurements for each row of candles; NaN where something is unknown."""
    import pandas as pd

    stamps = frame["timestamp"]
    time = _times(stamps)
    rows = pd.DataFrame({"time_ms": time})
    for name in CANDLE_COLUMNS[1:]:
        rows[name] = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    counted = pd.api.types.is_numeric_dtype(stamps.dtype) and not trusted
    low, high = _EPOCH_MS_BOUNDS
    rows["wrong_unit"] = ((time < low) | (time >= high)).astype(float) if counted else 0.0
    rows["since_previous_ms"] = rows["time_ms"].diff()
    rows["off_grid_ms"] = (time - grid_origin_ms(step_ms)) % step_ms if step_ms else np.nan
    values = rows[list(CANDLE_COLUMNS[1:])]
    rows["n_not_finite"] = (~np.isfinite(values)).sum(axis=1)
    rows["top"] = rows[["open", "close"]].max(axis=1)
    rows["bottom"] = rows[["open", "close"]].min(axis=1)
    rows["lowest"] = rows[_PRICES].min(axis=1)
    rows["jump"] = _jumps(rows, step_ms)
    rows["volume_shift"] = _volume_shifts(rows)
    return rows


def _times(stamps: pd.Series[Any]) -> FloatArray:
    """Return times in ms UTC, NaN where unknown. Text is read as ISO dates, numbers as milliseconds."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(stamps.dtype):
        return stamps.to_numpy(dtype=np.float64, na_value=np.nan)
    known = pd.to_datetime(stamps, utc=True, errors="coerce", format="ISO8601").reset_index(drop=True)
    time = known.dt.tz_convert(None).to_numpy().astype("datetime64[ms]")
    return np.where(np.isnat(time), np.nan, time.astype(np.int64).astype(np.float64))


def _common_step(time: FloatArray) -> int:
    """Return the most common positive difference of neighbouring times in order, 0 when there is none."""
    known = np.unique(time[np.isfinite(time)])
    if known.size < 2:
        return 0
    steps, counts = np.unique(np.diff(known), return_counts=True)
    return int(steps[np.argmax(counts)])


def _jumps(rows: pd.DataFrame, step_ms: int) -> FloatArray:
    """Return open / previous close - 1, absolute, for rows one step after the previous one; else NaN."""
    with np.errstate(all="ignore"):
        jump = (rows["open"] / rows["close"].shift() - 1.0).abs().to_numpy()
    return np.where(rows["since_previous_ms"].to_numpy() == step_ms, jump, np.nan)


def _volume_shifts(rows: pd.DataFrame) -> FloatArray:
    """Return at each hundredth row by how many powers of ten the median volume moved; else NaN.

    A shift that large is another unit: base and quote volume were swapped.
    """
    shifts = np.full(len(rows), np.nan)
    n_blocks = len(rows) // _VOLUME_BLOCK
    if n_blocks < 2:
        return shifts
    order = np.argsort(rows["time_ms"].to_numpy(), kind="stable")[: n_blocks * _VOLUME_BLOCK]
    blocks = np.nan_to_num(rows["volume"].to_numpy()[order]).reshape(n_blocks, _VOLUME_BLOCK)
    with np.errstate(all="ignore"):
        moved = np.abs(np.diff(np.log10(np.median(blocks, axis=1))))
    shifts[order[_VOLUME_BLOCK::_VOLUME_BLOCK]] = np.where(np.isfinite(moved), moved, np.nan)
    return shifts


def _gaps(time: FloatArray, step_ms: int) -> IntArray:
    """Return the number of missing bars in each gap between known times on the grid."""
    if not step_ms:
        return np.zeros(0, dtype=np.int64)
    known = np.unique(time[np.isfinite(time)]).astype(np.int64)
    known = known[(known - grid_origin_ms(step_ms)) % step_ms == 0]
    missing = np.diff(known) // step_ms - 1
    gaps: IntArray = missing[missing > 0]
    return gaps


def _suite() -> Mapping[str, tuple[str, Any]]:
    """Return the expectations by name, each with its meaning. Unknown values are left to `finite`."""
    import great_expectations.expectations as gxe

    between, above = gxe.ExpectColumnValuesToBeBetween, gxe.ExpectColumnPairValuesAToBeGreaterThanB
    leave_out = {"or_equal": True, "ignore_row_if": "either_value_is_missing"}
    return {
        "not_empty": ("at least one row", gxe.ExpectTableRowCountToBeBetween(min_value=1)),
        "times_known": ("a time in every row", gxe.ExpectColumnValuesToNotBeNull(column="time_ms")),
        "times_in_ms": ("times in milliseconds", between(column="wrong_unit", min_value=0, max_value=0)),
        "ordered": ("oldest first", between(column="since_previous_ms", min_value=0)),
        "unique": ("each time once", gxe.ExpectColumnValuesToBeUnique(column="time_ms")),
        "on_grid": ("times on the grid", between(column="off_grid_ms", min_value=0, max_value=0)),
        "finite": ("finite numbers", between(column="n_not_finite", min_value=0, max_value=0)),
        "positive_prices": ("prices above zero", between(column="lowest", min_value=0, strict_min=True)),
        "volume_not_negative": ("volume of zero or more", between(column="volume", min_value=0)),
        "high_on_top": ("high >= open and close", above(column_A="high", column_B="top", **leave_out)),
        "low_at_bottom": ("low <= open and close", above(column_A="bottom", column_B="low", **leave_out)),
        "continuous": (
            f"opens within {LARGEST_JUMP:.0%} of the close one step before",
            between(column="jump", max_value=LARGEST_JUMP),
        ),
        "steady_volume": (
            f"median volume of {_VOLUME_BLOCK} bars within {10**LARGEST_VOLUME_SHIFT:g} times that before",
            between(column="volume_shift", max_value=LARGEST_VOLUME_SHIFT),
        ),
    }


def _validate(rows: pd.DataFrame) -> tuple[Expectation, ...]:
    """Run the suite over measured rows."""
    with _quiet_great_expectations() as gx:
        from great_expectations.data_context.types.base import ProgressBarsConfig

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        source = context.data_sources.add_pandas("candles").add_dataframe_asset("rows")
        suite = _suite()
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(
                name="quality",
                data=source.add_batch_definition_whole_dataframe("all"),
                suite=context.suites.add(
                    gx.ExpectationSuite(name="candles", expectations=[e for _, e in suite.values()])
                ),
            )
        )
        shown = {"result_format": "SUMMARY", "partial_unexpected_count": N_ROWS_SHOWN}
        found = definition.run(batch_parameters={"dataframe": rows}, result_format=shown)
    by_id = {result.expectation_config.id: result for result in found.results}
    return tuple(_read_result(name, meaning, by_id[e.id]) for name, (meaning, e) in suite.items())


def _read_result(name: str, meaning: str, result: Any) -> Expectation:
    """Return one result in our words. What raised an exception inside the suite did not succeed."""
    details = result.result or {}
    rows = tuple(int(row) for row in details.get("partial_unexpected_index_list") or ())
    count = int(details.get("unexpected_count") or 0)
    return Expectation(name, meaning, bool(result.success), count, rows[:N_ROWS_SHOWN])


@contextmanager
def _quiet_great_expectations() -> Iterator[ModuleType]:
    """Import Great Expectations without its analytics, and keep its warnings to itself."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx

        yield gx
