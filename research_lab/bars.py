"""The candle table: what a bar is, how candle and funding files are read, what is refused.

A bar is stamped with its opening time in UTC and is visible at its close. A gap is no bar: nothing is filled
in. Rows of files are counted from 0, as Arrow and NumPy count them.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from research_lab.candle_table import (
    CANDLE_COLUMNS,
    BoolArray,
    FloatArray,
    IntArray,
    column_of_numbers,
    column_of_times,
    common_step,
    read_table,
    refuse_bad_values,
    refuse_disorder,
    refuse_not_finite,
    refuse_off_grid,
)
from research_lab.durable import atomic_write
from research_lab.errors import DataError, UsageError
from research_lab.timeframe import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    WEEK_MS,
    YEAR_MS,
    grid_origin_ms,
    timeframe_ms,
    timeframe_name,
    utc,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CANDLE_COLUMNS",
    "DAY_MS",
    "FUNDING_MAX_AGE_MS",
    "HOUR_MS",
    "INPUTS",
    "MINUTE_MS",
    "PUBLICATION_LAG_MS",
    "WEEK_MS",
    "YEAR_MS",
    "Bars",
    "BoolArray",
    "FloatArray",
    "IntArray",
    "Market",
    "grid_origin_ms",
    "market_of",
    "read_candles",
    "timeframe_ms",
    "timeframe_name",
    "told_step_ms",
    "utc",
    "write_candles",
]

INPUTS = ("open", "high", "low", "close", "volume", "funding", "premium")
PUBLICATION_LAG_MS = MINUTE_MS
FUNDING_MAX_AGE_MS = DAY_MS

_FILE_NAME = re.compile(
    r"(?P<exchange>[a-z0-9]+)_(?P<base>[A-Z0-9]+)-(?P<quote>[A-Z0-9]+)(?P<perpetual>-PERP)?"
    r"(?:_(?P<what>funding|[1-9][0-9]{0,3}[mhdw]))?(?:__\w+)?",
    re.ASCII,
)
_METADATA_KEY = b"gauntlet.bars"
_SERIES_COLUMN = "series "
_EXTRA_COLUMNS = ("funding", "premium", "funding_due")


@dataclass(frozen=True)
class Market:
    """One market at one exchange.

    Parameters
    ----------
    exchange : "binance", "binanceusdm", "synthetic".
    symbol : "BASE/QUOTE", such as "BTC/USDT".
    perpetual : a perpetual future rather than spot.
    """

    exchange: str
    symbol: str
    perpetual: bool = False

    @property
    def name(self) -> str:
        """The market in words, such as "binanceusdm BTC/USDT perpetual"."""
        return f"{self.exchange} {self.symbol}" + (" perpetual" if self.perpetual else "")

    @property
    def charged_to(self) -> str:
        """What trials are charged to: the symbol, on whatever exchange, spot or perpetual."""
        return self.symbol


@dataclass(frozen=True, eq=False)
class Bars:
    """Candles of one market on one grid, with what was known of funding and premium at each close.

    Parameters
    ----------
    market : whose candles these are.
    step_ms : the base grid, milliseconds.
    time : int64 array of shape (n,). Opening times, ms UTC, strictly increasing, on the grid; gaps allowed.
    inputs : float64 array of shape (7 + k, n), rows in the order of `INPUTS`. Prices in quote currency, volume
        in base currency. `funding` is the last rate published and visible at the bar's close, a fraction;
        NaN when there is none or it is older than 24 h. `premium` is perpetual close / spot close - 1; NaN
        when unknown. Behind these stand the external series, as visible at the bar's close.
    funding_due : float64 array of shape (n,). Sum of the rates that fall due in (previous bar's open, this
        bar's open]; 0.0 when none does, and always on spot.
    series : what the k rows behind the market's are, each in words that tell it from every other.
    """

    market: Market
    step_ms: int
    time: IntArray
    inputs: FloatArray
    funding_due: FloatArray
    series: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = self.time.shape[0]
        n_rows = len(INPUTS) + len(self.series)
        if self.inputs.shape != (n_rows, n) or self.funding_due.shape != (n,):
            raise UsageError(
                f"bars of shapes time {self.time.shape}, inputs {self.inputs.shape}, funding_due "
                f"{self.funding_due.shape} do not fit; wanted (n,), ({n_rows}, n), (n,)",
                self.market.name,
            )

    @property
    def n(self) -> int:
        """Number of bars."""
        return int(self.time.shape[0])

    @property
    def open(self) -> FloatArray:
        return self.row(0)

    @property
    def high(self) -> FloatArray:
        return self.row(1)

    @property
    def low(self) -> FloatArray:
        return self.row(2)

    @property
    def close(self) -> FloatArray:
        return self.row(3)

    @property
    def volume(self) -> FloatArray:
        return self.row(4)

    @property
    def funding(self) -> FloatArray:
        return self.row(5)

    @property
    def premium(self) -> FloatArray:
        return self.row(6)

    def row(self, k: int) -> FloatArray:
        """Return row `k` of the inputs, in the order of `INPUTS`."""
        values: FloatArray = self.inputs[k]
        return values

    def rows(self, series: Sequence[str] = ()) -> FloatArray:
        """Return the market's seven rows, and behind them those of some external series.

        Raises
        ------
        DataError
            One is not there.
        """
        if not series:
            return self.inputs[: len(INPUTS)]
        for name in series:
            if name not in self.series:
                raise DataError(f"no values of {name}", self.market.name, "give the file that holds them")
        behind = [len(INPUTS) + self.series.index(name) for name in series]
        found: FloatArray = self.inputs[[*range(len(INPUTS)), *behind]]
        return found

    def with_series(self, rows: Mapping[str, FloatArray]) -> Bars:
        """Return the bars with other external series, by what tells each from every other."""
        inputs = np.stack([*self.inputs[: len(INPUTS)], *rows.values()])
        return replace(self, inputs=inputs, series=tuple(rows))

    @property
    def timeframe(self) -> str:
        """The base grid as text, such as "1h"."""
        return timeframe_name(self.step_ms)

    @property
    def interval(self) -> tuple[int, int]:
        """First open and last close, ms UTC; (0, 0) when there is no bar."""
        return (int(self.time[0]), int(self.time[-1]) + self.step_ms) if self.n else (0, 0)

    @property
    def years(self) -> float:
        """Time from the first open to the last close, in years of 365 days, gaps included."""
        start, end = self.interval
        return (end - start) / YEAR_MS

    @cached_property
    def snapshot(self) -> str:
        """SHA-256 of market, grid and every value, as 64 hex digits: the identity of the data."""
        digest = hashlib.sha256(_describe(self).encode())
        digest.update(np.ascontiguousarray(self.time, dtype="<i8").tobytes())
        for values in (*self.inputs, self.funding_due):
            digest.update(np.where(np.isnan(values), np.nan, values).astype("<f8").tobytes())
        return digest.hexdigest()

    def window(self, start: int, stop: int) -> Bars:
        """Return bars `start` to `stop` (exclusive, as in a slice) as views, without copying."""
        part = slice(start, stop)
        inputs, due = self.inputs[:, part], self.funding_due[part]
        return Bars(self.market, self.step_ms, self.time[part], inputs, due, self.series)

    def gaps(self) -> IntArray:
        """Return where bars are missing: shape (k, 2), bar before a gap and number of missing bars."""
        missing = np.diff(self.time) // self.step_ms - 1
        before = np.flatnonzero(missing > 0)
        return np.column_stack((before, missing[before])).astype(np.int64)


def market_of(path: str | Path) -> Market:
    """Return the market that a file name tells, such as binanceusdm_BTC-USDT-PERP_15m.parquet.

    Raises
    ------
    DataError
        When the name does not follow `exchange_BASE-QUOTE[-PERP]_timeframe.parquet`.
    """
    found = _name_parts(path)
    if found is None:
        raise DataError(
            "the file name does not tell the market; wanted exchange_BASE-QUOTE_timeframe, such as "
            "binance_BTC-USDT_1h.parquet or binanceusdm_BTC-USDT-PERP_15m.parquet",
            str(path),
            "rename the file, or pass market=",
        )
    return Market(found["exchange"], f"{found['base']}/{found['quote']}", found["perpetual"] is not None)


def told_step_ms(path: str | Path) -> int | None:
    """Return the base grid that a file name tells, milliseconds, or None."""
    found = _name_parts(path)
    return timeframe_ms(found["what"]) if found and found["what"] not in (None, "funding") else None


def read_candles(
    path: str | Path,
    *,
    market: Market | None = None,
    funding: str | Path | None = None,
    spot: str | Path | Bars | None = None,
) -> Bars:
    """Read a Parquet file of candles, or refuse it with its first bad row.

    Parameters
    ----------
    path : columns timestamp (a timestamp or date of any unit, taken as UTC, or whole milliseconds), open,
        high, low, close, volume; others are left out.
    market : when None, taken from the file's own metadata (see `write_candles`) or from its name.
    funding : a Parquet file with the columns timestamp and funding_rate. A rate is visible from 60 s after
        its time. It falls due at the whole minute of its time, since exchanges stamp it milliseconds late.
    spot : candles of the spot market on the same grid, to compute the premium with.

    Returns
    -------
    Bars
        On the base grid that metadata or name tell, or else the most common difference of times.

    Raises
    ------
    DataError
        When the file is missing, no Parquet or damaged, lacks columns, or has a row that is null, out of
        order, twice, off the grid, not finite, not positive (prices), negative (volume), or with a high or
        low inside the body. Nothing is repaired.
    """
    table = read_table(path, CANDLE_COLUMNS, optional=_EXTRA_COLUMNS)
    known = _metadata(table, path)
    series = tuple(known.get("series", ()))
    time = column_of_times(table, path)
    candles = np.stack([column_of_numbers(table, name, path) for name in CANDLE_COLUMNS[1:]])
    told = int(known["step_ms"]) if known else told_step_ms(path)
    if market is None:
        market = Market(**known["market"]) if known else market_of(path)
    refuse_disorder(time, path)
    step_ms = common_step(time, path) if told is None else told
    refuse_off_grid(time, step_ms, path, trusted=bool(known))
    refuse_bad_values(time, candles, path)

    inputs = np.full((len(INPUTS), time.shape[0]), np.nan)
    inputs[:5] = candles
    due = np.zeros(time.shape[0])
    if known and all(name in table.column_names for name in _EXTRA_COLUMNS):
        inputs[5], inputs[6], due = (column_of_numbers(table, name, path) for name in _EXTRA_COLUMNS)
    if funding is not None:
        inputs[5], due = _read_funding(funding, market, time, step_ms)
    bars = Bars(market, step_ms, time, inputs, due)
    if series:
        columns = [f"{_SERIES_COLUMN}{name}" for name in series]
        kept = read_table(path, columns)
        rows = [column_of_numbers(kept, column, path) for column in columns]
        bars = bars.with_series(dict(zip(series, rows, strict=True)))
        inputs = bars.inputs
    if spot is not None:
        inputs[6] = _premium(bars, spot if isinstance(spot, Bars) else read_candles(spot), path)
    return bars


def unpaid_funding(market: Market) -> str:
    """Return what people are told who give funding rates to a market; "" where the rates are paid."""
    if market.perpetual:
        return ""
    return (
        f"--funding: {market.name} is a spot market: strategies may read the rates, but nobody pays or gets them; "
        "a perpetual's candles are named BASE-QUOTE-PERP"
    )


def write_candles(bars: Bars, path: str | Path) -> Path:
    """Write bars as Parquet with page checksums, so that `read_candles` gives back the same snapshot.

    The file appears whole or not at all. Its folder is made when missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"timestamp": pa.array(bars.time, pa.int64()).cast(pa.timestamp("ms", tz="UTC"))}
    names = (*INPUTS, *(f"{_SERIES_COLUMN}{name}" for name in bars.series))
    columns |= {name: pa.array(row) for name, row in zip(names, bars.inputs, strict=True)}
    columns["funding_due"] = pa.array(bars.funding_due)
    table = pa.table(columns).replace_schema_metadata({_METADATA_KEY: _describe(bars).encode()})
    raw = io.BytesIO()
    pq.write_table(table, raw, compression="zstd", write_page_checksum=True)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(target, raw.getvalue())
    return target


def _name_parts(path: str | Path) -> re.Match[str] | None:
    return _FILE_NAME.fullmatch(Path(path).name.split(".")[0])


def _describe(bars: Bars) -> str:
    told = {"format": 1, "market": asdict(bars.market), "step_ms": bars.step_ms}
    if bars.series:
        told["series"] = list(bars.series)
    return json.dumps(told, sort_keys=True)


def _metadata(table: pa.Table, path: str | Path) -> dict[str, Any]:
    """Return what `write_candles` noted in the file; empty for files from elsewhere."""
    noted = (table.schema.metadata or {}).get(_METADATA_KEY)
    if not noted:
        return {}
    try:
        known = json.loads(noted)
        Market(**known["market"])
        timeframe_name(int(known["step_ms"]))
    except (ValueError, KeyError, TypeError, UsageError) as fault:
        raise DataError("the note about market and grid is malformed", str(path), "write it again") from fault
    return dict(known)


def _read_funding(
    path: str | Path, market: Market, time: IntArray, step_ms: int
) -> tuple[FloatArray, FloatArray]:
    """Return the visible funding rate at each close and the sum that falls due at each open."""
    table = read_table(path, ("timestamp", "funding_rate"))
    named = _name_parts(path)
    if named and f"{named['base']}/{named['quote']}" != market.symbol:
        raise DataError(
            f"rates of another market than {market.symbol}", str(path), "pass the same symbol's rates"
        )
    published, rates = column_of_times(table, path), column_of_numbers(table, "funding_rate", path)
    refuse_disorder(published, path)
    refuse_not_finite(rates, "funding_rate", published, path)

    closes = time + step_ms
    last = np.searchsorted(published, closes - PUBLICATION_LAG_MS, side="right") - 1
    fresh = (last >= 0) & (closes - published[np.maximum(last, 0)] <= FUNDING_MAX_AGE_MS)
    visible = np.where(fresh, rates[np.maximum(last, 0)], np.nan)

    due = np.zeros(time.shape[0])
    if market.perpetual:
        falls_due = published - published % MINUTE_MS
        at = np.searchsorted(time, falls_due, side="left")
        counted = (at < time.shape[0]) & (falls_due > time[0] - step_ms)
        np.add.at(due, at[counted], rates[counted])
    return visible, due


def _premium(bars: Bars, spot: Bars, path: str | Path) -> FloatArray:
    """Return perpetual close / spot close - 1 where a spot bar of the same opening time exists, else NaN."""
    if not bars.market.perpetual or spot.market.perpetual or spot.market.symbol != bars.market.symbol:
        raise DataError(
            f"a premium of {bars.market.name} over {spot.market.name} has no meaning",
            str(path),
            "pass the spot candles of a perpetual's own symbol",
        )
    if spot.step_ms != bars.step_ms:
        raise DataError(
            f"spot candles of {spot.timeframe} beside {bars.timeframe}",
            str(path),
            "pass spot candles of the same grid",
        )
    premium = np.full(bars.n, np.nan)
    _, ours, theirs = np.intersect1d(bars.time, spot.time, assume_unique=True, return_indices=True)
    premium[ours] = bars.close[ours] / spot.close[theirs] - 1.0
    return premium
