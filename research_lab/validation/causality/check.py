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

import os
import time
from collections.abc import Callable, Collection
from typing import Any, Final

import numpy as np

from research_lab.errors import UsageError
from research_lab.timeframe import utc
from research_lab.validation.causality import causes
from research_lab.validation.causality.given import CUT_OFF, Given
from research_lab.validation.causality.outputs import Apart, Columns, changes, difference, unchanging
from research_lab.validation.causality.report import CausalityReport, CounterExample, missed_chances
from research_lab.validation.causality.runs import Runs, Seen
from research_lab.validation.causality.search import (
    Findings,
    cut_off,
    in_order,
    poison,
    set_weightless_aside,
)
from research_lab.validation.causality.starts import StartsReport, check_starts
from research_lab.validation.causality.sufficiency import CUTTING, Cost, refuse_raising, too_little, unmoved
from research_lab.validation.causality.target import Raised, Target, target_of
from research_lab.validation.causality.workers import Workers

BUDGET_S: Final = 60.0
MOST_BUDGET_S: Final = 86_400.0
MOST_TOLERANCE: Final = 1e-4  # above what float32 leaves, below what most bars of a minute move
LEAST_BARS: Final = 10
AGAIN: Final = "in a second call over the same bars"
AFTERWARDS: Final = "when called after other calls"
BLIND: Final = (
    "nothing moved when all that comes after bar {bar} was replaced: it reads times alone, or a file or values "
    "of its own, which cannot be cut off; hand them over with --series, or nothing is known of them"
)
WEIGHTLESS: Final = (
    "with missing values after bar {cut} the past is spoilt, with no other values: a matrix product or a transform "
    "that gives later bars the weight zero, or a check for missing values; these bars hold none"
)


def check_callable(
    function: Callable[..., Any] | Target,
    given: Given,
    *,
    tolerance: float = 0.0,
    budget_s: float = BUDGET_S,
    n_workers: int | None = None,
    warmup_bars: int | None = None,
    starts: bool = True,
    constant: Collection[str] = (),
) -> CausalityReport:
    """Look for anything in what a callable returns that depends on bars after it.

    Parameters
    ----------
    function : takes a frame, or a frame and a dictionary of series.
    given : bars and series; at least ten bars.
    tolerance : share of a value up to which it may differ, at most 1e-4; with 0 every bit counts.
    budget_s : seconds, about, at most a day. n_workers : processes; None for one a core.
    warmup_bars : told by the user, to be compared with what later starts need. starts : whether to run them.
    constant : columns that may stay the same on all bars; any other one that does is no pass.

    Raises
    ------
    UsageError
        The callable raises on all bars, or on most cuts with nothing found; it ends its process, or returns what
        does not lie on the frame's index.
    """
    refuse_options(tolerance, budget_s, warmup_bars)
    if given.n < LEAST_BARS:
        raise UsageError(f"{given.n} bars; wanted {LEAST_BARS} at least", remedy="give more bars")
    target = function if isinstance(function, Target) else target_of(function, series=bool(given.series))
    n_workers = n_workers or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0])
    with Workers(Runs(target, given, tolerance), n_workers, target.name) as workers:
        return _Check(workers, target, given, tolerance, budget_s).run(constant, warmup_bars, starts=starts)


def refuse_options(tolerance: float, budget_s: float, warmup_bars: int | None) -> None:
    """Raise `UsageError` for a tolerance, budget or warm-up that no check can be made with."""
    if not 0.0 <= tolerance <= MOST_TOLERANCE:
        what = f"a tolerance of {tolerance:g}"
        raise UsageError(what, "--tolerance", f"give a share of a value from 0 to {MOST_TOLERANCE:g}")
    if not 0.0 < budget_s <= MOST_BUDGET_S:
        remedy = f"give more than 0, at most {MOST_BUDGET_S:.0f}"
        raise UsageError(f"{budget_s:g} seconds", "--budget", remedy)
    if warmup_bars is not None and warmup_bars < 1:
        raise UsageError(f"a warm-up of {warmup_bars} bars", "--warmup", "give 1 or more")


class _Check:
    def __init__(
        self, workers: Workers, target: Target, given: Given, tolerance: float, budget_s: float
    ) -> None:
        self.workers, self.target, self.given, self.tolerance = workers, target, given, tolerance
        self.begun, self.budget_s = time.monotonic(), budget_s
        self.patience_s = 10.0 * budget_s + 60.0
        self.notes: list[str] = []
        self.whole: Columns = {}
        self.single: frozenset[str] = frozenset()
        self.call_s = self.half_s = 0.0
        self.cost = Cost(0.0, 0.0, workers.n)

    def run(self, allowed: Collection[str], warmup_bars: int | None, *, starts: bool) -> CausalityReport:
        found = Findings(self.given.n - (not self.given.at_open))
        with self._fresh() as probe:
            example = self._look(probe, found, allowed)
        still = [name for name, values in self.whole.items() if unchanging(values[found.first :])]
        silent = [name for name in still if name not in self.single and name not in allowed]
        lacking: list[str] = []
        if example is None:
            refuse_raising(found, self.target.name)
            lacking += too_little(found, self.cost)
            lacking += unmoved(silent, moving=len(still) < len(self.whole))
        outcome = "FAIL" if example is not None else "INSUFFICIENT" if lacking else "PASS"
        self._note(found, [name for name in still if name in allowed], outcome)
        return CausalityReport(
            outcome, self.given.n, found.first, len(found.tested), found.possible, found.poisoned,
            len(found.faults), example, tuple(self.whole), tuple(silent),
            missed_chances(len(found.tested), found.possible),
            self._starts(warmup_bars) if starts and example is None else None,
            tuple(self.notes), tuple(lacking),
        )  # fmt: skip

    def _look(self, probe: Workers, found: Findings, allowed: Collection[str]) -> CounterExample | None:
        """Return the first thing that differs: between equal calls, else between what was known and all bars."""
        again = self._run_over_all(probe)
        self._refuse_names(allowed)
        example = self._unlike_itself(probe, again, found)
        if example is None:
            self._search(found)
            example = self._afterwards() or self._example(found, probe)
        return example

    def _until(self, share: float) -> float:
        return self.begun + share * self.budget_s

    def _fresh(self) -> Workers:
        """Return a worker that has made no call, and holds the columns over all bars once they are known."""
        runs = Runs(self.target, self.given, self.tolerance)
        runs.hold(self.whole)
        return Workers(runs, 1, self.target.name)

    def _run_over_all(self, probe: Workers) -> Columns:
        """Run over all bars twice, and let all workers know the first outcome; return the second."""
        try:
            self.whole, _ = probe.ask(0, "whole")
            again, self.call_s = probe.ask(0, "whole")
        except Raised as fault:
            what = f"raised {fault.what}, given all {self.given.n} bars"
            raise UsageError(what, self.target.name) from None
        if not self.whole:
            raise UsageError("it returned nothing", self.target.name, "return values by bar")
        self.single = probe.ask(0, "single_values")
        self.workers.ask_all("hold", [self.whole] * self.workers.n)
        probe.ask(0, "hold", self.whole)
        return again  # type: ignore[no-any-return]

    def _refuse_names(self, allowed: Collection[str]) -> None:
        for name in allowed:
            if name not in self.whole:
                what = f"there is no column {name}; it returned {', '.join(self.whole)}"
                raise UsageError(what, "--constant", "name one of these")

    def _unlike_itself(self, probe: Workers, again: Columns, found: Findings) -> CounterExample | None:
        """Return how calls over the same bars differ, where all bars were seen before and where not.

        What the parts show is kept: they are the first cuts.
        """
        n = self.given.n
        apart = self._large(difference(self.whole, again, n - 1, self.tolerance))
        if apart is not None:
            return self._of(apart, AGAIN, n - 1, self._why_again())
        part = 2 * n // 3
        fresh, _, raised = self.workers.ask(0, "known", part)
        if (example := self._kept(probe, part, fresh, raised)) is not None:
            return example
        for short in sorted({1, n // 10, n // 3}):
            with self._fresh() as other:
                known, _, why = other.ask(0, "known", short)
            if (example := self._kept(probe, short, known, why)) is not None:
                return example
        half, self.half_s, raised_half = self.workers.ask(0, "known", n // 2)
        for cut, columns, what in ((part, fresh, raised), (n // 2, half, raised_half)):
            moved = None if what else difference(self.whole, columns, cut, self.tolerance)
            found.take(Seen(cut, CUT_OFF, moved, what))
        self.cost = Cost(self.call_s, time.monotonic() - self.begun, self.workers.n)
        return None

    def _kept(self, probe: Workers, part: int, fresh: Columns, raised: str) -> CounterExample | None:
        """Return how a call of a fresh process differs from the same call after one over all bars.

        What is kept of few bars, such as the highest close of all, may be that of all bars; hence several parts.
        """
        after, _, raised_after = probe.ask(0, "known", part)
        apart = self._large(difference(fresh, after, part, self.tolerance))
        if bool(raised) != bool(raised_after):
            apart = _of_run(part, raised or "complete", raised_after or "complete")
        if apart is None or (raised and raised_after):
            return None
        done = f"given bars up to {part} after a call with all bars"
        return self._of(apart, done, part, causes.STATE)

    def _why_again(self) -> str:
        kept = "the first call in another process agrees: something is kept between calls, or a global random state"
        unknown = "unseeded randomness, the time of day, or something else that is not in the bars"
        with self._fresh() as other:
            try:
                elsewhere, _ = other.ask(0, "whole")
            except Raised:
                return unknown
        same = difference(self.whole, elsewhere, self.given.n - 1, self.tolerance) is None
        return kept if same else unknown

    def _search(self, found: Findings) -> None:
        preferred = changes(self.whole)
        preferred = np.unique(np.concatenate([preferred - 1, preferred]))
        order = in_order(found.possible, preferred)
        call_s = max(self.half_s, 1e-5)
        cut_off(self.workers, found, order, call_s, self._until(CUTTING), self.patience_s)
        if len(found.faults) < 8:
            poison(self.workers, found, order, self._until(0.8), self.patience_s)
        if found.faults and self.given.complete:
            set_weightless_aside(self.workers, found, self._until(1.0), self.patience_s)

    def _afterwards(self) -> CounterExample | None:
        """Run over all bars where only parts of them were seen before, and return how that differs."""
        last = self.given.n - 1
        try:
            later, _ = self.workers.ask(0, "whole")
            apart = self._large(difference(self.whole, later, last, self.tolerance))
        except Raised as fault:
            apart = _of_run(last, "complete", fault.what)
        return None if apart is None else self._of(apart, AFTERWARDS, last, causes.STATE)

    def _example(self, found: Findings, probe: Workers) -> CounterExample | None:
        """Return the smallest fault with its cause: of values, of their last digits, of cuts that raise."""
        if found.faults:
            return self._explained(found)
        return self._of_rounding(found, probe) or self._of_raising(found)

    def _explained(self, found: Findings) -> CounterExample:
        faults = sorted(found.faults, key=_size)
        with self._fresh() as other:
            deadline = time.monotonic() + 0.3 * self.budget_s
            cause = causes.explain(other, 0, self.given, faults, len(found.tested), deadline)
        return self._of_seen(faults[0], cause)

    def _of_rounding(self, found: Findings, probe: Workers) -> CounterExample | None:
        """Return differences of the size of rounding where later values make them; note them where not."""
        if not found.rounding:
            return None
        if causes.mixes_rows(probe, 0, found.rounding):
            found.faults, found.rounding = found.rounding, []
            return self._of_seen(min(found.faults, key=_size), causes.Cause(causes.ROUNDING))
        self.notes.append(
            "the last digits change with the number of rows (not with what they hold), by the size of "
            "rounding: a matrix product or sum that is cut into blocks"
        )
        return None

    def _of_raising(self, found: Findings) -> CounterExample | None:
        """Return a cut that raises for want of later bars; None where a callable may have other reasons."""
        for cut in found.gaps[:1]:
            with self._fresh() as other:
                cause = causes.of_raising(other, 0, cut)
            if cause is None:
                return None
            found.faults = [Seen(k, CUT_OFF, _of_run(k, "complete", found.raised[k])) for k in found.gaps]
            return self._of_seen(found.faults[0], cause)
        return None

    def _note(self, found: Findings, still: list[str], outcome: str) -> None:
        if found.first:
            last = found.raised[max(cut for cut in found.raised if cut < found.first)]
            self.notes.append(f"bars before {found.first} were not cut after: given so few, it raises {last}")
        if found.gaps and outcome == "FAIL":
            cut, n = found.gaps[0], len(found.gaps)
            self.notes.append(f"cut after bar {cut} it raises {found.raised[cut]} ({n:,} such cuts)")
        if found.weightless:
            self.notes.append(WEIGHTLESS.format(cut=found.weightless[0].cut))
        for kind, what in found.refused.items():
            self.notes.append(f"{kind.format(cut='the cut')} it raises {what}")
        if still:
            self.notes.append(f"never changes, as was said: {', '.join(still)}")
        if outcome == "PASS" and not self.workers.ask(0, "reads", found.first):
            self.notes.append(BLIND.format(bar=found.first))

    def _starts(self, warmup_bars: int | None) -> StartsReport:
        return check_starts(self.workers, self.given, warmup_bars, self._until(1.0), self.patience_s)

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


def _of_run(bar: int, before: str, after: str) -> Apart:
    return Apart("the run", bar, bar, 1, before, after, tiny=False)


def _size(seen: Seen) -> tuple[bool, int, int]:
    """Return what makes one fault smaller than another: cut off, few values, early."""
    return (seen.kind != CUT_OFF, seen.apart.n if seen.apart else 0, seen.cut)
