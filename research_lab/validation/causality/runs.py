"""Runs of a callable over what was known and over other futures, each compared with the run over all bars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from research_lab.errors import UsageError
from research_lab.validation.causality.given import CUT_OFF, POISONS, STRETCHES, Given, Handed
from research_lab.validation.causality.outputs import (
    Apart,
    Columns,
    columns_of,
    difference,
    discrete,
    single_values,
)
from research_lab.validation.causality.target import MISFIT, Raised, Target

SETTLED = 1e-6  # share of a quantity that may be left of another beginning, as with the language's warm-up


@dataclass(frozen=True)
class Seen:
    """What one run showed: how it differs from the whole up to its cut, or what it raised.

    Parameters
    ----------
    cut : last bar known. kind : the future, of `given`. apart : None when all agree. raised : empty mostly.
    """

    cut: int
    kind: str
    apart: Apart | None
    raised: str = ""


@dataclass(frozen=True)
class Stretch:
    """Bars from `begin` to before `end` made anew, in all columns or in one."""

    begin: int
    end: int
    column: int | None = None


class Runs:
    """A callable, what it is given, and its columns over all bars once they are known."""

    def __init__(self, target: Target, given: Given, tolerance: float = 0.0) -> None:
        self.target, self.given, self.tolerance = target, given, tolerance
        self._whole: Columns = {}
        self._single: frozenset[str] = frozenset()

    def whole(self) -> tuple[Columns, float]:
        """Return the columns over all bars and the seconds it took; raises `Raised`."""
        begun = time.monotonic()
        return self._columns(self.given.whole()), time.monotonic() - begun

    def single_values(self) -> frozenset[str]:
        """Return the names of what the last call gave as one value for all bars."""
        return self._single

    def known(self, cut: int) -> tuple[Columns, float, str]:
        """Return the columns of what was known at a bar, the seconds, and what was raised."""
        begun = time.monotonic()
        try:
            columns, raised = self._columns(self.given.known(cut)), ""
        except Raised as fault:
            columns, raised = {}, fault.what
        return columns, time.monotonic() - begun, raised

    def hold(self, whole: Columns) -> None:
        """Take the columns over all bars, to compare others with."""
        self._whole = whole

    def reads(self, cut: int) -> bool:
        """Whether any value, of whatever bar, moves when all candles and series after a bar are others."""
        for kind in POISONS:
            try:
                other = self._columns(self.given.poisoned(cut, kind))
            except Raised:
                return True
            if difference(self._whole, other, self.given.n - 1) is not None:
                return True
        return False

    def cuts(self, share: tuple[list[int], float]) -> list[Seen]:
        """Return what each cut shows, in order, until the deadline (of the monotonic clock)."""
        cuts, deadline = share
        return self._until(deadline, ((cut, CUT_OFF, self._knowing(cut)) for cut in cuts))

    def poisons(self, share: tuple[list[tuple[int, str]], float]) -> list[Seen]:
        """Return what each other future shows, in order, until the deadline."""
        wanted, deadline = share
        return self._until(deadline, ((cut, kind, self._spoiling(cut, kind)) for cut, kind in wanted))

    def poison(self, cut: int, kind: str, candles: bool, series: str | None) -> Seen:
        """Return what one other future shows, of the candles, of series, or of both."""
        return self._seen(cut, kind, lambda: self.given.poisoned(cut, kind, candles=candles, series=series))

    def moves(self, column: str, bar: int, stretch: Stretch) -> bool:
        """Whether one value moves with bars made anew; several ways are tried."""
        only = {column: self._whole[column]} if column in self._whole else self._whole
        for how in STRETCHES:
            handed = self.given.altered(slice(stretch.begin, stretch.end), stretch.column, how)
            try:
                other = self._columns(handed)
            except Raised:
                continue
            apart = difference(
                {name: values[bar : bar + 1] for name, values in only.items()},
                {name: other[name][bar : bar + 1] for name in only if name in other},
                0,
                self.tolerance,
            )
            if apart is not None:
                return True
        return False

    def needed(self, share: tuple[list[int], int, float]) -> list[tuple[int, int, int]]:
        """Start at later bars; return of each the start, the bars until all agreed for good, and those run."""
        starts, length, deadline = share
        found = []
        for start in starts:
            if time.monotonic() > deadline:
                break
            end = min(self.given.n, start + length)
            try:
                later = self._columns(self.given.part(start, end))
            except Raised:
                continue
            whole = {name: values[start:end] for name, values in self._whole.items()}
            found.append((start, _settled(whole, later, self.tolerance), end - start))
        return found

    def _columns(self, handed: Handed) -> Columns:
        index = handed[0].index  # the callable may give its frame another one
        try:
            result = self.target(handed)
            self._single = single_values(result)
            return columns_of(result, index)  # type: ignore[arg-type]
        except UsageError as fault:
            what = f"{fault.what} (given {index.shape[0]} bars)"
            if self._whole:  # over all bars it gave what can be compared, so this is what the cut shows
                raise Raised(f"{MISFIT}{what}") from None
            raise UsageError(what, self.target.name, fault.remedy) from None

    def _knowing(self, cut: int) -> Callable[[], Handed]:
        return lambda: self.given.known(cut)

    def _spoiling(self, cut: int, kind: str) -> Callable[[], Handed]:
        return lambda: self.given.poisoned(cut, kind)

    def _until(self, deadline: float, wanted: Iterable[tuple[int, str, Callable[[], Handed]]]) -> list[Seen]:
        found = []
        for cut, kind, handed in wanted:
            if time.monotonic() > deadline:
                break
            found.append(self._seen(cut, kind, handed))
        return found

    def _seen(self, cut: int, kind: str, handed: Callable[[], Handed]) -> Seen:
        try:
            other = self._columns(handed())
        except Raised as fault:
            return Seen(cut, kind, None, fault.what)
        return Seen(cut, kind, difference(self._whole, other, cut, self.tolerance))


def _settled(whole: Columns, later: Columns, tolerance: float) -> int:
    """Return the fewest bars of a later start after which decisions are the same and quantities near."""
    needed: int = 0
    for name, values in whole.items():
        if name not in later:
            return int(values.shape[0])
        near = 0.0 if discrete(values) else max(SETTLED, tolerance)
        apart = difference({name: values}, {name: later[name]}, values.shape[0], near)
        if apart is not None:
            needed = max(needed, apart.last + 1)
    return needed
