"""What a callable gave back, as columns of values by bar, and where two of them differ."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from research_lab.errors import UsageError

Columns = dict[str, NDArray[Any]]

# Differences up to this share of a column's size may come from the order in which numbers were added.
ROUNDING: Final = 1e-12
_NUMBERS = (bool, int, float, np.generic)
_TIMES = (datetime.date, np.datetime64)  # a pd.Timestamp is a date
_SIMPLE = (*_NUMBERS, str, bytes, *_TIMES, datetime.time, datetime.timedelta, pd.Period, pd.Interval)
_REMEDY = "return frames, series, arrays or numbers, alone or in tuples and dictionaries"


@dataclass(frozen=True)
class Apart:
    """How a column of one run differs from that of another, up to a bar.

    Parameters
    ----------
    column : the one that differs at the earliest bar. first, last : bars at which it does. n : how many do.
    before, after : its values at `first`, as text.
    tiny : whether every difference of every column is of the size of rounding.
    """

    column: str
    first: int
    last: int
    n: int
    before: str
    after: str
    tiny: bool


def columns_of(result: Any, index: pd.DatetimeIndex) -> Columns:
    """Return copies of all that a callable gave back, by name.

    Parameters
    ----------
    result : frames, series, arrays of the index's length, single numbers (the same at every bar), None (left
        out), or tuples, lists, dictionaries and dataclasses of these. A list or a dictionary by time that holds
        no such thing gives one value a bar.

    Raises
    ------
    UsageError
        Something lies on another index, has another length, or cannot be compared.
    """
    return {name: _comparable(values, index, name) for name, values in _named(result)}


def single_values(result: Any) -> frozenset[str]:
    """Return the names of what is one value for all bars, such as a share at risk, and no value by bar."""
    return frozenset(name for name, value in _named(result) if isinstance(value, _SIMPLE))


def difference(one: Columns, other: Columns, last: int, tolerance: float = 0.0) -> Apart | None:
    """Return how two runs differ up to and including a bar, None when they agree.

    Parameters
    ----------
    tolerance : share of a value, or of its column's root mean square when that is larger, up to which values
        agree; with 0 every bit counts. NaN agrees with NaN. See `_scale`.

    A column that one run lacks counts as one of zeros.
    """
    found: list[Apart] = []
    for name in [*one, *(extra for extra in other if extra not in one)]:
        a, b = (run.get(name) for run in (one, other))
        a, b = (None if values is None else values[: last + 1] for values in (a, b))
        apart = _column_difference(name, a, b, tolerance)
        if apart is not None:
            found.append(apart)
    large = [apart for apart in found if not apart.tiny]
    return min(large or found, key=lambda apart: apart.first, default=None)


def changes(columns: Columns) -> NDArray[np.int64]:
    """Return the bars at which a column of few values, a signal, takes another one."""
    found = [np.empty(0, np.int64)]
    for values in columns.values():
        at = np.flatnonzero(_unequal(values[1:], values[:-1])) + 1
        if at.shape[0] <= values.shape[0] // 5:
            found.append(at)
    return np.unique(np.concatenate(found))


def unchanging(values: NDArray[Any]) -> bool:
    """Whether a column has at most one value besides what is missing."""
    known = values[~pd.isna(values)]
    return not known.shape[0] or not bool(_unequal(known[1:], known[:-1]).any())


def discrete(values: NDArray[Any]) -> bool:
    """Whether a column holds decisions rather than quantities: text, or at most twelve numbers."""
    return values.dtype != np.float64 or np.unique(values[~np.isnan(values)]).shape[0] <= 12


def _named(result: Any) -> Iterator[tuple[str, Any]]:
    """Give all that is held in a result, each under a name of its own."""
    seen: set[str] = set()
    for name, values in _leaves(result, ""):
        label, n = name or "result", 2
        while label in seen:
            label, n = f"{name or 'result'} ({n})", n + 1
        seen.add(label)
        yield label, values


def _leaves(result: Any, name: str) -> Iterator[tuple[str, Any]]:
    if result is None:
        return
    if isinstance(result, pd.DataFrame):
        for column, values in result.items():
            yield _joined(name, column), values
    elif isinstance(result, pd.Series):
        yield _joined(name, result.name if isinstance(result.name, str) and not name else ""), result
    elif isinstance(result, list) and result and all(map(_plain, result)):
        yield name, result
    elif isinstance(result, Mapping):
        if result and all(isinstance(key, _TIMES) for key in result) and all(map(_plain, result.values())):
            yield name, pd.Series(list(result.values()), pd.DatetimeIndex(list(result)), dtype=object)
            return
        for key, value in result.items():
            yield from _leaves(value, _joined(name, key))
    elif isinstance(result, (tuple, list)):
        keys = getattr(result, "_fields", range(len(result)))
        for key, value in zip(keys, result, strict=True):
            yield from _leaves(value, _joined(name, key))
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        for each in dataclasses.fields(result):
            yield from _leaves(getattr(result, each.name), _joined(name, each.name))
    elif isinstance(result, np.ndarray) and result.ndim == 2:
        for k in range(result.shape[1]):
            yield _joined(name, k), result[:, k]
    else:
        yield name, result


def _plain(value: Any) -> bool:
    """Whether no part of something is by bar: a number, or a record of numbers such as a trade."""
    return isinstance(value, _SIMPLE) or all(isinstance(leaf, _SIMPLE) for _, leaf in _leaves(value, ""))


def _joined(name: str, key: object) -> str:
    text = "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
    return f"{name}.{text}" if name and text else name or text


def _comparable(values: Any, index: pd.DatetimeIndex, name: str) -> NDArray[Any]:
    n = index.shape[0]
    if isinstance(values, pd.Series):
        _refuse_index(values.index, index, name)
        values = _unpacked(values)
    elif isinstance(values, (pd.Index, pd.api.extensions.ExtensionArray)):
        values = _unpacked(pd.Series(values))
    elif isinstance(values, _SIMPLE):
        text = isinstance(values, (str, bytes))
        values = np.full(n, values, None if isinstance(values, _NUMBERS) and not text else object)
    elif isinstance(values, list):
        values = np.fromiter(values, object, len(values))
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        shape = f" of shape {values.shape}" if isinstance(values, np.ndarray) else ""
        raise UsageError(f"{name} is of type {type(values).__name__}{shape}", remedy=_REMEDY)
    if values.shape[0] != n:
        what = f"{name} has {values.shape[0]} values for {n} bars"
        raise UsageError(what, remedy="return one value a bar, NaN where there is none")
    return _as_numbers(values, name)


def _refuse_index(seen: pd.Index, wanted: pd.DatetimeIndex, name: str) -> None:
    if seen is wanted or seen.equals(wanted):
        return
    if isinstance(seen, pd.RangeIndex) and seen.equals(pd.RangeIndex(len(wanted))):
        return  # by position, as an array
    if isinstance(seen, pd.DatetimeIndex) and seen.tz is None and seen.equals(wanted.tz_localize(None)):
        return
    how = "other labels"
    if len(seen) != len(wanted):
        how = f"{len(seen)} labels instead of {len(wanted)}"
    elif seen.sort_values().equals(wanted):
        how = "the same labels in another order"
    raise UsageError(
        f"{name} lies on another index than the frame: {how}", remedy="reindex it to the frame's index"
    )


def _unpacked(values: pd.Series[Any]) -> NDArray[Any]:
    """Return a series as an array, whatever pandas keeps it in; what is missing becomes NaN or None."""
    if isinstance(values.dtype, np.dtype):
        return values.to_numpy()
    kind = values.dtype
    if pd.api.types.is_numeric_dtype(kind) or (
        pd.api.types.is_bool_dtype(kind) and not isinstance(kind, pd.CategoricalDtype)
    ):
        return values.to_numpy(np.float64, na_value=np.nan)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return np.asarray(values.dt.tz_convert("UTC").dt.tz_localize(None))
    return values.astype(object).to_numpy()


def _as_numbers(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return a copy as bool or float64 where nothing is lost by it, else as objects."""
    if values.dtype.kind in "mM":
        return _without_missing(values.view(np.int64).astype(object), np.isnat(values))
    if values.dtype.kind == "b":
        return values.copy()
    if values.dtype.kind in "iuf":
        numbers = values.astype(np.float64)
        if values.dtype.kind in "iu" and values.itemsize == 8 and np.abs(numbers).max(initial=0.0) > 2.0**53:
            return values.astype(object)
        return numbers
    if values.dtype.kind in "SU":
        return values.astype(object)
    if values.dtype != object:
        raise UsageError(f"{name} holds values of type {values.dtype}", remedy=_REMEDY)
    kinds = set(map(type, values))
    if kinds and all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return values.astype(np.bool_)
    if all(
        issubclass(kind, (bool, int, float, np.number, np.bool_, type(None), type(pd.NA))) for kind in kinds
    ):
        return np.array([math.nan if v is None or v is pd.NA else v for v in values], np.float64)
    for kind in kinds:
        if not issubclass(kind, (*_SIMPLE, type(None), type(pd.NaT), type(pd.NA))):
            raise UsageError(f"{name} holds values of type {kind.__name__}", remedy=_REMEDY)
    return _without_missing(values.copy(), pd.isna(values))


def _without_missing(values: NDArray[Any], missing: Any) -> NDArray[Any]:
    values[missing] = None
    return values


def _column_difference(
    name: str, a: NDArray[Any] | None, b: NDArray[Any] | None, tolerance: float
) -> Apart | None:
    if a is None or b is None:
        there = a if b is None else b
        assert there is not None
        at = np.flatnonzero([not pd.isna(v) and bool(v) for v in there])
        if not at.shape[0]:
            return None
        texts = [_text(there, int(at[0])), "no such column"]
        before, after = texts if b is None else texts[::-1]
        return Apart(name, int(at[0]), int(at[-1]), at.shape[0], before, after, tiny=False)
    if a.dtype != b.dtype and object not in (a.dtype, b.dtype):
        a, b = a.astype(np.float64), b.astype(np.float64)
    if a.dtype == b.dtype == np.float64 and np.array_equal(a.view(np.int64), b.view(np.int64)):
        return None
    apart = _unequal(a, b)
    if apart.any() and a.dtype == b.dtype == np.float64:
        size = np.maximum(np.maximum(np.abs(a), np.abs(b)), _scale(a))
        with np.errstate(invalid="ignore"):
            far = np.abs(a - b)
            if tolerance > 0.0:
                apart &= ~(far <= tolerance * size)
            large = apart & ~(far <= ROUNDING * size)
        tiny = not large.any()
        apart = apart if tiny else large
    else:
        tiny = False
    at = np.flatnonzero(apart)
    if not at.shape[0]:
        return None
    first = int(at[0])
    return Apart(name, first, int(at[-1]), at.shape[0], _text(a, first), _text(b, first), tiny)


def _scale(values: NDArray[np.float64]) -> float:
    """Return a column's root mean square without its largest size, which may stand for none: a stop of 1e18."""
    sizes = np.abs(values[np.isfinite(values)])
    sizes = sizes[sizes < sizes.max(initial=0.0)]
    return float(np.sqrt(np.mean(np.square(sizes)))) if sizes.shape[0] else 0.0


def _unequal(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where two arrays differ in value; NaN agrees with NaN, 0.0 differs from -0.0."""
    if a.dtype == b.dtype == np.float64:
        same = (a == b) & (np.signbit(a) == np.signbit(b))
        return np.asarray(~(same | (np.isnan(a) & np.isnan(b))))
    if a.dtype == b.dtype == np.bool_:
        return np.asarray(a != b)
    a, b = a.astype(object), b.astype(object)
    if np.array_equal(a, b):
        return np.zeros(a.shape[0], np.bool_)
    missing = np.asarray(pd.isna(a) & pd.isna(b))
    unequal = np.array([not bool(x == y) for x, y in zip(a, b, strict=True)], np.bool_)
    return unequal & ~missing


def _text(values: NDArray[Any], t: int) -> str:
    value = values[t].item() if isinstance(values[t], np.generic) else values[t]
    return repr(value)
