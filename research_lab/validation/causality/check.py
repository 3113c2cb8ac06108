"""The look-ahead check of any callable: every bar as it was known then, and other futures at some of them.

A value at bar t may depend on bars up to t. The callable is run over all bars once; then, for each cut, over
the bars up to the cut alone, and all its values there must be the same. That finds what depends on the
number of rows too, and a leak that shows at one bar shows at that bar's cut. Values up to the cut that only
another future would move are looked for at a share of the cuts, with noise, missing values, tenfold values
and the reversed future.

Calls are made in processes of their own, some of which never see all bars: a cache filled by one call cannot
hide a leak from the next.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from research_lab.errors import UsageError
from research_lab.timeframe import utc
from research_lab.validation.causality import causes
from research_lab.validation.causality.given import CUT_OFF, Given
from research_lab.validation.causality.outputs import Apart, Columns, changes, constant, difference
from research_lab.validation.causality.runs import Runs, Seen
from research_lab.validation.causality.search import Findings, cut_off, in_order, poison
from research_lab.validation.causality.starts import StartsReport, check_starts
from research_lab.validation.causality.target import Raised, Target, target_of
from research_lab.validation.causality.workers import Workers

BUDGET_S: Final = 60.0
LEAST_BARS: Final = 10
RARITIES: Final = (0, 1_000, 500, 100)  # a leak shows at one bar, or at one bar in so many
AGAIN: Final = "in a second call over the same bars"
AFTERWARDS: Final = "when called after other calls"
BLIND: Final = (
    "nothing moved when all that comes after bar {bar} was replaced: it reads times alone, or a file or values "
    "of its own, which cannot be cut off; hand them over with --series, or nothing is known of them"
)


@dataclass(frozen=True)
class CounterExample:
    """The smallest difference found.

    Parameters
    ----------
    column, bar, time : the first value that moved, its bar and that bar's opening time, UTC.
    before, after : the value over all bars, and the other one. done : what was done, as the end of a sentence.
    cut : the last bar known. cause : in words. change : one change of a later bar that suffices; may be empty.
    """

    column: str
    bar: int
    time: str
    before: str
    after: str
    done: str
    cut: int
    cause: str
    change: str = ""

    @property
    def sentence(self) -> str:
        """The difference and its cause."""
        change = f"; {self.change}" if self.change else ""
        return (
            f"{self.column} at bar {self.bar} ({self.time}) was {self.before} and became {self.after} "
            f"{self.done}{change}. Likely cause: {self.cause}"
        )


@dataclass(frozen=True)
class CausalityReport:
    """What the check of a callable looked at, and what it found.

    Parameters
    ----------
    outcome : "PASS", "FAIL", or "INSUFFICIENT" when nothing in the tested bars changes.
    n_bars, first_bar : bars given, and the first tested one: with fewer the callable raises.
    n_cuts, n_possible : cuts tried, and bars that could be cut after. n_poisoned : runs with other futures.
    n_faults : runs that moved the past. counter_example : None unless it failed.
    columns : what was returned; those of `silent` never change.
    missed : by how many bars a leak shows at, the chance that none of them was cut at.
    warmup : what later starts showed; None when they were not run. notes : what a reader should know besides.
    """

    outcome: str
    n_bars: int
    first_bar: int
    n_cuts: int
    n_possible: int
    n_poisoned: int
    n_faults: int
    counter_example: CounterExample | None
    columns: tuple[str, ...]
    silent: tuple[str, ...]
    missed: dict[int, float] = field(default_factory=dict)
    warmup: StartsReport | None = None
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        seen = f"{self.n_cuts} of {self.n_possible} bars cut after, {self.n_poisoned} runs with other futures"
        if self.counter_example is not None:
            return f"{self.counter_example.sentence} ({self.n_faults} of the runs differ; {seen})"
        if self.outcome == "PASS":
            return f"the past did not move: {seen}"
        return f"not tested: no value changes in the tested bars; {seen}"


def check_callable(
    function: Callable[..., Any] | Target,
    given: Given,
    *,
    tolerance: float = 0.0,
    budget_s: float = BUDGET_S,
    n_workers: int | None = None,
    warmup_bars: int | None = None,
    starts: bool = True,
) -> CausalityReport:
    """Look for anything in what a callable returns that depends on bars after it.

    Parameters
    ----------
    function : takes a frame, or a frame and a dictionary of series.
    given : bars and series; at least ten bars.
    tolerance : share of a value up to which it may differ; with 0 every bit counts.
    budget_s : seconds, about. n_workers : processes; None for one a core.
    warmup_bars : told by the user, to be compared with what later starts need. starts : whether to run them.

    Raises
    ------
    UsageError
        The callable raises, ends its process, or returns what does not lie on the frame's index.
    """
    if given.n < LEAST_BARS:
        raise UsageError(f"{given.n} bars; wanted {LEAST_BARS} at least", remedy="give more bars")
    if not (tolerance >= 0.0 and budget_s > 0.0):
        raise UsageError(f"tolerance {tolerance:g}, budget {budget_s:g}", remedy="give what is not negative")
    target = function if isinstance(function, Target) else target_of(function, series=bool(given.series))
    n_workers = n_workers or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0])
    with Workers(Runs(target, given, tolerance), n_workers, target.name) as workers:
        return _Check(workers, target, given, tolerance, budget_s).run(warmup_bars, starts=starts)


class _Check:
    def __init__(
        self, workers: Workers, target: Target, given: Given, tolerance: float, budget_s: float
    ) -> None:
        self.workers, self.target, self.given, self.tolerance = workers, target, given, tolerance
        self.begun, self.budget_s = time.monotonic(), budget_s
        self.patience_s = 10.0 * budget_s + 60.0
        self.notes: list[str] = []
        self.whole: Columns = {}

    def run(self, warmup_bars: int | None, *, starts: bool) -> CausalityReport:
        found = Findings(self.given.n - (not self.given.at_open))
        with self._fresh() as probe:
            state, call_s = self._probe(probe)
            if state is None:
                self._search(found, call_s)
                state = self._afterwards()
            example = self._example(found, probe) if state is None else state
        first = found.first
        if found.raised:
            last = found.raised[first - 1]
            if first > found.possible // 2:
                raise UsageError(f"raised {last}, given the bars up to bar {first - 1}", self.target.name)
            self.notes.append(f"bars before {first} were not cut after: given so few, it raises {last}")
        for kind, what in found.refused.items():
            self.notes.append(f"{kind.format(cut='the cut')} it raises {what}")
        silent = tuple(name for name, values in self.whole.items() if constant(values[first:]))
        tested = len(found.tested) > 0 and len(silent) < len(self.whole)
        if example is None and tested and not self.workers.ask(0, "reads", first):
            self.notes.append(BLIND.format(bar=first))
        outcome = "FAIL" if example is not None else "PASS" if tested else "INSUFFICIENT"
        later = None
        if starts and example is None:
            later = check_starts(self.workers, self.given, warmup_bars, self._until(1.0), self.patience_s)
        return CausalityReport(
            outcome, self.given.n, first, len(found.tested), found.possible, found.poisoned, len(found.faults),
            example, tuple(self.whole), silent, _missed(len(found.tested), found.possible), later,
            tuple(self.notes),
        )  # fmt: skip

    def _until(self, share: float) -> float:
        return self.begun + share * self.budget_s

    def _fresh(self) -> Workers:
        """Return a worker that has made no call."""
        return Workers(Runs(self.target, self.given, self.tolerance), 1, self.target.name)

    def _probe(self, probe: Workers) -> tuple[CounterExample | None, float]:
        """Run over all bars twice, and over a part before and after; return how they differ, and a call's time."""
        n = self.given.n
        part = 2 * n // 3
        try:
            self.whole, _ = probe.ask(0, "whole")
            again, seconds = probe.ask(0, "whole")
            fresh, _, raised = self.workers.ask(0, "known", part)
        except Raised as fault:
            raise UsageError(f"raised {fault.what}, given all {n} bars", self.target.name) from None
        if not self.whole:
            raise UsageError("it returned nothing", self.target.name, "return values by bar")
        self.workers.ask_all("hold", [self.whole] * self.workers.n)
        probe.ask(0, "hold", self.whole)
        apart = self._large(difference(self.whole, again, n - 1, self.tolerance))
        if apart is not None:
            return self._of(apart, AGAIN, n - 1, self._why_again()), seconds
        after, _, raised_after = probe.ask(0, "known", part)
        apart = self._large(difference(fresh, after, part, self.tolerance))
        if (apart is not None and not raised) or bool(raised) != bool(raised_after):
            apart = apart or Apart(
                "the run", part, part, 1, raised or "complete", raised_after or "complete", False
            )
            done = f"given bars up to {part} after a call with all bars"
            return self._of(apart, done, part, causes.STATE), seconds
        _, half, _ = self.workers.ask(0, "known", n // 2)
        return None, max(half, 1e-5)

    def _why_again(self) -> str:
        with self._fresh() as other:
            elsewhere, _ = other.ask(0, "whole")
        same = difference(self.whole, elsewhere, self.given.n - 1, self.tolerance) is None
        kept = "the first call in another process agrees: something is kept between calls, or a global random state"
        return (
            kept
            if same
            else "unseeded randomness, the time of day, or something else that is not in the bars"
        )

    def _search(self, found: Findings, call_s: float) -> None:
        preferred = changes(self.whole)
        preferred = np.unique(np.concatenate([preferred - 1, preferred]))
        order = in_order(found.possible, preferred)
        cut_off(self.workers, found, order, call_s, self._until(0.7), self.patience_s)
        if len(found.faults) < 8:
            poison(self.workers, found, order, self._until(0.8), self.patience_s)

    def _afterwards(self) -> CounterExample | None:
        """Run over all bars where only parts of them were seen before, and return how that differs."""
        try:
            later, _ = self.workers.ask(0, "whole")
        except Raised as fault:
            raise UsageError(f"raised {fault.what}, {AFTERWARDS}", self.target.name) from None
        apart = self._large(difference(self.whole, later, self.given.n - 1, self.tolerance))
        return None if apart is None else self._of(apart, AFTERWARDS, self.given.n - 1, causes.STATE)

    def _example(self, found: Findings, probe: Workers) -> CounterExample | None:
        """Return the smallest fault with its cause, None when there is none but harmless rounding."""
        if not found.faults:
            if not found.rounding:
                return None
            if not causes.mixes_rows(probe, 0, found.rounding):
                self.notes.append(
                    "the last digits change with the number of rows (not with what they hold), by the size of "
                    "rounding: a matrix product or sum that is cut into blocks"
                )
                return None
            found.faults, found.rounding = found.rounding, []
            return self._of_seen(min(found.faults, key=_size), causes.Cause(causes.ROUNDING))
        faults = sorted(found.faults, key=_size)
        with self._fresh() as other:
            other.ask(0, "hold", self.whole)
            deadline = time.monotonic() + 0.3 * self.budget_s
            cause = causes.explain(other, 0, self.given, faults, len(found.tested), deadline)
        return self._of_seen(faults[0], cause)

    def _of_seen(self, seen: Seen, cause: causes.Cause) -> CounterExample:
        assert seen.apart is not None
        done = seen.kind.format(cut=seen.cut)
        if self.given.at_open and seen.kind == CUT_OFF:
            done = f"with only the open of bar {seen.cut} known, and nothing after it"
        return self._of(seen.apart, done, seen.cut, cause.words, cause.change)

    def _of(self, apart: Apart, done: str, cut: int, cause: str, change: str = "") -> CounterExample:
        at = utc(int(self.given.time[apart.first]))
        return CounterExample(
            apart.column, apart.first, at, apart.before, apart.after, done, cut, cause, change
        )

    def _large(self, apart: Apart | None) -> Apart | None:
        return None if apart is None or apart.tiny else apart


def _size(seen: Seen) -> tuple[bool, int, int]:
    """Return what makes one fault smaller than another: cut off, few values, early."""
    return (seen.kind != CUT_OFF, seen.apart.n if seen.apart else 0, seen.cut)


def _missed(n_tested: int, n_possible: int) -> dict[int, float]:
    """Return the chance that none of k bars, anywhere, was among those cut after, by k."""
    found = {}
    for rarity in RARITIES:
        k = max(1, n_possible // rarity) if rarity else 1
        left = n_possible - n_tested
        log = [math.log(left - i) - math.log(n_possible - i) for i in range(k)] if left >= k else [-math.inf]
        found[k] = math.exp(sum(log))
    return found
