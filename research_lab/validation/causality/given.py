"""What a callable is given: candles and series, as they were known at each bar, or with another future.

Arrays are kept, and every frame that is handed out is made anew, so that a callable may change its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from research_lab.candle_table import FloatArray, IntArray

PRICES: Final = ("open", "high", "low", "close")
CANDLE: Final = (*PRICES, "volume")

# Other futures. Each is also the end of a sentence about what it moved.
CUT_OFF: Final = "without the bars after bar {cut}"
NOISE: Final = "with noise after bar {cut}"
MISSING: Final = "with missing values after bar {cut}"
TENFOLD: Final = "with tenfold values after bar {cut}"
REVERSED: Final = "with the bars after bar {cut} in reverse"
TENTH: Final = "with a tenth of the values after bar {cut}"
POISONS: Final = (NOISE, MISSING, TENFOLD, REVERSED)
FINITE: Final = (NOISE, TENFOLD, REVERSED, TENTH)
_FACTORS: Final = {TENFOLD: 10.0, TENTH: 0.1}
STRETCHES: Final = ("noise", "higher", "lower", "other noise", "missing")
_LEVELS: Final = {"higher": 1.5, "lower": 1.0 / 1.5, "missing": np.nan}

Handed = tuple[pd.DataFrame, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Auxiliary:
    """A series beside the candles.

    Parameters
    ----------
    frame : handed out as it is, or as a Series when it has one column. Index: time.
    visible : (m,) ms UTC, from which each row may be seen.
    """

    frame: pd.DataFrame
    visible: IntArray

    def handed(self, values: pd.DataFrame) -> Any:
        return values.iloc[:, 0] if values.shape[1] == 1 else values


@dataclass(frozen=True, eq=False)
class Given:
    """Candles on their index, and series beside them.

    Parameters
    ----------
    time : (n,) opening times, ms UTC, strictly increasing. step_ms : length of a bar.
    columns : names, the candle's five first. values : (n, k) float64.
    series : by name.
    at_open : whether what a callable says of a bar is acted on at that bar's open rather than after its close.
    """

    time: IntArray
    step_ms: int
    columns: tuple[str, ...]
    values: FloatArray
    series: Mapping[str, Auxiliary] = field(default_factory=dict)
    at_open: bool = False

    @property
    def n(self) -> int:
        return int(self.time.shape[0])

    @cached_property
    def index(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(pd.to_datetime(self.time, unit="ms", utc=True).as_unit("ns"), name="time")

    @property
    def complete(self) -> bool:
        """Whether no value of the candles and series is missing."""
        frames = (each.frame for each in self.series.values())
        return not np.isnan(self.values).any() and not any(frame.isna().any(axis=None) for frame in frames)

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, *, at_open: bool = False) -> Given:
        """Return a frame with columns open to volume and an index of times, the most common step its own."""
        index = pd.DatetimeIndex(frame.index)
        index = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
        time = np.asarray(index.as_unit("ms").asi8, np.int64)
        steps, counts = np.unique(np.diff(time), return_counts=True)
        columns = (*CANDLE, *(str(name) for name in frame.columns if name not in CANDLE))
        values = np.ascontiguousarray(frame[list(columns)].to_numpy(np.float64))
        return cls(time, int(steps[np.argmax(counts)]), columns, values, {}, at_open)

    def whole(self) -> Handed:
        """Return all of it."""
        return self.part(0, self.n)

    def part(self, begin: int, end: int) -> Handed:
        """Return bars from `begin` to before `end` as they came to be, with the series known by then."""
        last = self._close(end - 1)
        return self._frame(self.values[begin:end].copy(), begin), self._known(last)

    def known(self, cut: int) -> Handed:
        """Return what was known when a decision at bar `cut` was due: to its close, or of it the open alone."""
        values = self.values[: cut + 1].copy()
        if self.at_open:
            values[cut] = self._noise(cut - 1, 1, np.random.default_rng([7, cut]))
            values[cut, : len(CANDLE)] = _around_open(self.values[cut, 0], values[cut])
        return self._frame(values, 0), self._known(self._decision(cut))

    def poisoned(self, cut: int, kind: str, *, candles: bool = True, series: str | None = "") -> Handed:
        """Return all bars, with another future after what was known at bar `cut`.

        Parameters
        ----------
        kind : of `POISONS`.
        candles, series : whether the candles get it, and which of the series: all, one by name, or None.
        """
        random = np.random.default_rng([11, cut])
        values = self.values.copy()
        if candles:
            values[cut + 1 :] = self._other(values[cut + 1 :], kind, cut, random)
            if self.at_open:
                values[cut] = self._noise(cut - 1, 1, random)
                values[cut, : len(CANDLE)] = _around_open(self.values[cut, 0], values[cut])
        handed = {}
        for name, each in self.series.items():
            late = each.visible > self._decision(cut)
            poison = series is not None and series in ("", name)
            handed[name] = each.handed(
                _spoilt(each.frame, late, kind, random) if poison else each.frame.copy()
            )
        return self._frame(values, 0), handed

    def altered(self, bars: slice, column: int | None, how: str) -> Handed:
        """Return all bars with a stretch of them made anew in a way of `STRETCHES`, in every column or in one."""
        values = self.values.copy()
        begin, end, _ = bars.indices(self.n)
        if how in _LEVELS:
            fresh = values[begin:end] * _LEVELS[how]
        else:
            random = np.random.default_rng([13, STRETCHES.index(how)])
            fresh = self._noise(max(begin - 1, 0), end - begin, random)
        if column is None:
            values[bars] = fresh
        else:
            values[bars, column] = fresh[:, column]
        return self._frame(values, 0), {name: s.handed(s.frame.copy()) for name, s in self.series.items()}

    def _frame(self, values: FloatArray, begin: int) -> pd.DataFrame:
        index = self.index[begin : begin + values.shape[0]]
        return pd.DataFrame(values, index, self._labels, copy=False)

    @cached_property
    def _labels(self) -> pd.Index[str]:
        return pd.Index(list(self.columns))

    def _close(self, bar: int) -> int:
        return int(self.time[bar]) + self.step_ms

    def _decision(self, cut: int) -> int:
        return int(self.time[cut]) if self.at_open else self._close(cut)

    def _known(self, moment: int) -> dict[str, Any]:
        return {name: s.handed(s.frame.loc[s.visible <= moment].copy()) for name, s in self.series.items()}

    def _other(self, values: FloatArray, kind: str, cut: int, random: np.random.Generator) -> FloatArray:
        if kind == NOISE:
            return self._noise(cut, values.shape[0], random)
        if kind == MISSING:
            return np.full_like(values, np.nan)
        return values * _FACTORS[kind] if kind in _FACTORS else values[::-1].copy()

    def _noise(self, after: int, n: int, random: np.random.Generator) -> FloatArray:
        """Return n candles of a wild walk from a bar's close on, volumes and other columns of any value."""
        price = float(self.values[max(after, 0), 3])
        price = price if np.isfinite(price) and price > 0.0 else 1.0
        steps = np.clip(random.normal(0.0, 0.05, 2 * n), -0.5, 0.5)
        path = price * np.exp(np.clip(np.cumsum(steps), -20.0, 20.0))
        fresh = np.empty((n, len(self.columns)))
        fresh[:, 0], fresh[:, 3] = path[0::2], path[1::2]
        reach = 1.0 + np.abs(random.normal(0.0, 0.05, (2, n)))
        fresh[:, 1] = np.maximum(fresh[:, 0], fresh[:, 3]) * reach[0]
        fresh[:, 2] = np.minimum(fresh[:, 0], fresh[:, 3]) / reach[1]
        fresh[:, 4] = random.lognormal(5.0, 2.0, n)
        for k in range(len(CANDLE), len(self.columns)):
            fresh[:, k] = random.normal(0.0, 3.0 * self._scales[k], n)
        return fresh

    @cached_property
    def _scales(self) -> NDArray[np.float64]:
        size = np.abs(np.nan_to_num(self.values)).max(axis=0, initial=0.0)
        return np.where(size > 0.0, size, 1.0)


def _around_open(known: float, other: FloatArray) -> list[float]:
    return [known, max(known, other[1]), min(known, other[2]), other[3], other[4]]


def _spoilt(
    frame: pd.DataFrame, late: NDArray[np.bool_], kind: str, random: np.random.Generator
) -> pd.DataFrame:
    """Return a series with other numbers where they were not yet known; its times stay."""
    spoilt = frame.copy()
    n = int(np.count_nonzero(late))
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            continue
        values = frame[name].to_numpy(np.float64).copy()
        size = float(np.abs(np.nan_to_num(values)).max(initial=0.0)) or 1.0
        if kind == NOISE:
            values[late] = random.normal(0.0, 3.0 * size, n)
        elif kind == MISSING:
            values[late] = np.nan
        elif kind in _FACTORS:
            values[late] *= _FACTORS[kind]
        else:
            values[late] = values[late][::-1]
        spoilt[name] = values
    return spoilt
