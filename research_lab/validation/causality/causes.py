"""Why the past moved: which later bars have a say, found by making stretches of them anew, told in words."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from research_lab.timeframe import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS, grid_origin_ms, timeframe_name
from research_lab.validation.causality.given import CUT_OFF, FINITE, POISONS, TENTH, Given
from research_lab.validation.causality.runs import Seen, Stretch
from research_lab.validation.causality.target import MISFIT
from research_lab.validation.causality.workers import Workers

_LOOKUPS: Final = ("IndexError", "KeyError")
N_EXPLAINED: Final = 5
LEAST_OF_WHOLE: Final = 200  # bars ahead from which on a changing reach is taken for the whole sample
LEAST_OF_BUCKETS: Final = 0.1  # share of cuts with a fault, all at one distance, for a higher timeframe
_BUCKETS: Final = (
    *(k * MINUTE_MS for k in (2, 3, 5, 10, 15, 30)),
    *(k * HOUR_MS for k in (1, 2, 3, 4, 6, 8, 12)),
    DAY_MS,
    WEEK_MS,
)

STATE = (
    "in a fresh process the same bars give the same values as all bars do: something is kept between calls "
    "(a global, a cache, an object that was fitted before)"
)
BEYOND = (
    "it raises as long as no bar follows, and with bars of any values after it does not: an index or label beyond "
    "the last bar, such as close[i + 1]"
)
NO_TIME = "not looked for, time ran out: give a larger --budget"
LAST_ROW = (
    "no other future moves it, only the end of the data does, and only at the last bar given: the last row is "
    "treated in another way than the rest"
)
ROWS = (
    "no other future of the same length moves it, only the number of bars (or the last time stamp) does: "
    "len(frame), index[-1], a split or a fit by share of the rows"
)
ROUNDING = (
    "the differences have the size of rounding, yet change with values of later bars: a method that mixes all "
    "rows, such as an FFT or a solver; if they do not matter, allow them with --tolerance 1e-9"
)
WHOLE = (
    "bars up to the end of the data have a say: a statistic, a fit, a scaler or a filter over the whole sample, "
    "or one that runs backwards"
)
UNCLOSED = (
    "it moves until the bar of {bucket} that holds it is complete: a higher timeframe is shown before its bar has "
    "closed (resample, label or merge by the bar's beginning)"
)
LAST_BAR = (
    "only the last bar of the data has a say: iloc[-1], a value divided by the last one, or np.roll, which takes "
    "it to the front"
)
VARYING = (
    "the reach differs from bar to bar ({low} to {high} bars ahead): filling or interpolating backwards, a pivot "
    "or label before it is confirmed, or a group of bars that was not complete"
)


@dataclass(frozen=True)
class Cause:
    """Why, in words; the one change of a later bar that suffices, in words, empty when none was found."""

    words: str
    change: str = ""


@dataclass(frozen=True)
class _Reach:
    """A bar, and the nearest and furthest bar after it that have a say in its value."""

    bar: int
    near: int
    far: int


def explain(
    workers: Workers, worker: int, given: Given, faults: Sequence[Seen], n_tested: int, deadline: float
) -> Cause:
    """Return the likely cause of faults, the smallest of them first.

    Parameters
    ----------
    worker : a fresh one, which has made no call yet. n_tested : cuts tried.
    deadline : of the monotonic clock; what has been found by then is told.
    """
    first = faults[0]
    if first.kind == CUT_OFF:
        again: list[Seen] = workers.ask(worker, "cuts", ([first.cut], deadline + 3600.0))
        if again[0].apart is None and not again[0].raised:
            return Cause(STATE)
    chosen = _spread(faults)
    if given.at_open and (own := _own_bar(workers, worker, given, chosen)) is not None:
        return own
    candles, series = _movers(workers, worker, given, chosen, deadline)
    if not candles and not series:
        if time.monotonic() > deadline:
            return Cause(NO_TIME)
        lonely = all(s.apart is not None and s.apart.first == s.apart.last == s.cut for s in faults)
        return Cause(LAST_ROW if lonely else ROWS)
    if series and not candles:
        return Cause(f"it moves with values of the series {', '.join(series)} that were not yet published")
    reaches: list[_Reach] = []
    for seen in _spread(faults, 4 * N_EXPLAINED):
        if time.monotonic() < deadline and len(reaches) < N_EXPLAINED:
            reaches += _reach(workers, worker, given, seen)
    if not reaches:
        return Cause("it moves with values of later bars")
    return Cause(
        words_of(reaches, given, [seen.cut for seen in faults], n_tested),
        _change(workers, worker, given, chosen[0], reaches[0], deadline),
    )


def of_raising(workers: Workers, worker: int, cut: int) -> Cause | None:
    """Return why a callable raises at a cut, though not given fewer bars; None when it may have honest reasons.

    What asks for an index or label raises for want of bars alone: whatever later bars hold, it does not. A guard
    against stale or odd last values raises as well, but not so. Nor is it a guard when outputs do not fit the bars.

    Parameters
    ----------
    worker : a fresh one, which has made no call yet.
    """
    again: list[Seen] = workers.ask(worker, "cuts", ([cut], math.inf))
    if not again[0].raised:
        return Cause(STATE)
    if again[0].raised.startswith(MISFIT):
        return Cause(ROWS)
    if not again[0].raised.startswith(_LOOKUPS):
        return None
    others: list[Seen] = [workers.ask(worker, "poison", cut, kind, True, "") for kind in POISONS]
    return None if any(other.raised.startswith(_LOOKUPS) for other in others) else Cause(BEYOND)


def words_of(reaches: Sequence[_Reach], given: Given, cuts: Sequence[int], n_tested: int) -> str:
    """Return what the reaches of some bars have in common, in words; `cuts` of those tested had a fault."""
    share = len(cuts) / max(1, n_tested)
    ahead = [(r.near - r.bar, r.far - r.bar) for r in reaches]
    if all(r.near == r.far == given.n - 1 for r in reaches) and max(far for _, far in ahead) > 2:
        return LAST_BAR
    alike = len(set(ahead)) == 1 and len({r.bar for r in reaches}) > 1
    if _whole_sample(reaches, given.n, alike=alike):
        return WHOLE
    bucket = _bucket(reaches, given, cuts)
    if bucket and not (len(set(ahead)) == 1 and share < LEAST_OF_BUCKETS):
        return UNCLOSED.format(bucket=timeframe_name(bucket))
    high = max(far for _, far in ahead)
    if min(far for _, far in ahead) != high:
        return VARYING.format(low=min(near for near, _ in ahead), high=high)
    words = f"bars up to {high} ahead have a say: a centred or forward window, or a rolling one over reversed rows"
    if all(near == far for near, far in ahead):
        words = f"only the bar {high} ahead has a say: shift(-{high}), or a label or fill of a later bar"
    return f"{words}; or, {UNCLOSED.format(bucket=timeframe_name(bucket))}" if bucket else words


def _whole_sample(reaches: Sequence[_Reach], n: int, *, alike: bool) -> bool:
    """Whether most reaches end near the end of the data, or are as long as no window or group would be."""
    long = max(24, min(LEAST_OF_WHOLE, n // 4))
    at_end = n - 1 - max(2, n // 100)
    found = [(r.far >= at_end and r.far - r.bar > 2) or (r.far - r.bar > long and not alike) for r in reaches]
    return 2 * sum(found) > len(found)


def _spread(faults: Sequence[Seen], most: int = N_EXPLAINED) -> list[Seen]:
    """Return the first fault, and some that lie evenly among the others."""
    rest = sorted(faults[1:], key=lambda seen: seen.cut)
    n = min(most - 1, max(1, len(rest)))
    return [faults[0], *(rest[k * len(rest) // n] for k in range(min(n, len(rest))))]


def _own_bar(workers: Workers, worker: int, given: Given, chosen: Sequence[Seen]) -> Cause | None:
    """Return the cause of a value that is acted on at its bar's open and moves with the rest of that bar."""
    for seen in chosen:
        assert seen.apart is not None
        for column in (3, 1, 2, *range(4, len(given.columns))):
            stretch = Stretch(seen.cut, seen.cut + 1, column)
            if workers.ask(worker, "moves", seen.apart.column, seen.cut, stretch):
                what = given.columns[column]
                return Cause(
                    f"it moves with the {what} of its own bar, which is not known at that bar's open: acted on "
                    "in the same bar, one shift(1) is missing",
                    f"another {what} of bar {seen.cut} alone moves it",
                )
    return None


def _movers(
    workers: Workers, worker: int, given: Given, chosen: Sequence[Seen], deadline: float
) -> tuple[bool, list[str]]:
    """Return whether other candles after the cut move the past, and which of the series do."""
    candles, series = False, set[str]()
    for seen in chosen:
        for kind in (*POISONS, TENTH):
            late = time.monotonic() > deadline
            if not candles and not late:
                candles = _is_moved(workers.ask(worker, "poison", seen.cut, kind, True, None))
            for name in given.series:
                if name not in series and not late:
                    answer = workers.ask(worker, "poison", seen.cut, kind, False, name)
                    series |= {name} if _is_moved(answer) else set()
        if candles:
            break
    return candles, sorted(series)


def _is_moved(seen: Seen) -> bool:
    return seen.apart is not None and not seen.apart.tiny


def _reach(workers: Workers, worker: int, given: Given, seen: Seen) -> list[_Reach]:
    """Return the nearest and furthest later bar with a say in the first value moved, by halving; [] for none."""
    assert seen.apart is not None
    column, bar, n = seen.apart.column, seen.apart.first, given.n

    def moves(begin: int, end: int) -> bool:
        found: bool = workers.ask(worker, "moves", column, bar, Stretch(begin, end))
        return found

    if bar + 1 >= n or not moves(bar + 1, n):
        return []
    low, high = bar + 1, n - 1  # the least end such that (bar, end] moves it
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if moves(bar + 1, middle + 1) else (middle + 1, high)
    near = low
    low, high = near, n - 1  # the greatest begin such that [begin, n) moves it
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if moves(middle, n) else (low, middle - 1)
    return [_Reach(bar, near, low)]


def _bucket(reaches: Sequence[_Reach], given: Given, cuts: Sequence[int]) -> int:
    """Return the shortest timeframe whose bars end with every furthest bar and hold both, ms; 0 for none.

    A cut with a fault at the very end of such a bar speaks against it: by then the bar was complete.
    """
    for step_ms in _BUCKETS:
        if step_ms <= given.step_ms or step_ms % given.step_ms or len(reaches) < 2:
            continue
        origin = grid_origin_ms(step_ms)
        ends = [int(given.time[r.far]) + given.step_ms - origin for r in reaches]
        begins = [int(given.time[r.bar]) - origin for r in reaches]
        known = [int(given.time[cut]) + (0 if given.at_open else given.step_ms) - origin for cut in cuts]
        if all(
            e % step_ms == 0 and (e - 1) // step_ms == b // step_ms for e, b in zip(ends, begins, strict=True)
        ) and all(moment % step_ms for moment in known):
            return step_ms
    return 0


def _change(workers: Workers, worker: int, given: Given, seen: Seen, reach: _Reach, deadline: float) -> str:
    """Return which single later bar suffices, and which column of it, as words."""
    assert seen.apart is not None
    for bar in dict.fromkeys((reach.near, reach.far)):
        if time.monotonic() > deadline:
            break
        if not workers.ask(worker, "moves", seen.apart.column, reach.bar, Stretch(bar, bar + 1)):
            continue
        close = given.columns.index("close")
        for column in (close, *(k for k in range(len(given.columns)) if k != close)):
            if workers.ask(worker, "moves", seen.apart.column, reach.bar, Stretch(bar, bar + 1, column)):
                name, value = given.columns[column], given.values[bar, column]
                return f"another {name} of bar {bar} alone (it was {value!s}) moves bar {reach.bar}"
        return f"other values of bar {bar} alone move bar {reach.bar}"
    return ""


def mixes_rows(workers: Workers, worker: int, tiny: Sequence[Seen]) -> bool:
    """Whether differences of the size of rounding change with the values of later bars, not only their number."""
    for seen in tiny[:: max(1, len(tiny) // 12)]:
        for kind in FINITE:
            answer: Seen = workers.ask(worker, "poison", seen.cut, kind, True, "")
            if answer.apart is not None:
                return True
    return False
