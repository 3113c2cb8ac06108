"""The warm-up check: a strategy that starts later must come to decide as one that ran from the beginning.

The warm-up is derived from the expressions: windows add up, and a recursion counts as warm when a millionth
of its first value is left. Here the strategy is started at several bars, and its conditions are compared
with those of a run from the first bar: from the derived number of bars on, all must agree.

What depends on an event, such as `bars_since`, is not known before that event has happened once, however
long that takes. A start is therefore compared from a warm-up after the bar on which every such value
agrees, since windows may lie over them, and the report says how long that took. Starts lie where a bar of
the timeframe begins, since half a first bar is another bar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from research_lab.bars import Bars, BoolArray, IntArray, grid_origin_ms
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.engine import layout, program
from research_lab.engine.backtest import makes_whole_bars, regime_codes
from research_lab.engine.slot import Compiled, CompiledRegimes, clocks_of
from research_lab.engine.terms import Terms
from research_lab.validation.difference import Difference, Fault
from research_lab.validation.recording import Recording, record

N_COMPARED: Final = 2_000  # strategy bars after the warm-up, of each start
LEAST_COMPARED: Final = 50

LATER_START: Final = "in a run that starts at bar {cut}"
LATER_REGIMES: Final = "when the regimes start at bar {cut}"


@dataclass(frozen=True)
class WarmupReport:
    """Whether the derived warm-up suffices, and what would.

    Parameters
    ----------
    passed : every condition agreed from the derived warm-up on; never when nothing could be compared.
    derived_bars : bars of the timeframe that must have been seen before a decision counts.
    smallest_sufficient_bars : the fewest that would have done for all starts; None when nothing could be
        compared. What waited for an event does not count.
    shortfall_bars : bars that a derived warm-up is too short by: the strategy's, or that of its regimes in
        bars of theirs, whichever is the larger.
    n_starts, n_compared : starts, and strategy bars compared after the warm-up, over all of them.
    event_bars : the longest time, strategy bars, until an event-dependent value agreed; 0 without such.
    first_fault : at the earliest start. insufficient : why nothing could be compared; else empty.
    """

    passed: bool
    derived_bars: int
    smallest_sufficient_bars: int | None
    shortfall_bars: int
    n_starts: int
    n_compared: int
    event_bars: int
    first_fault: Fault | None
    insufficient: str = ""

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if self.insufficient:
            return f"not tested: {self.insufficient}"
        waited = ""
        if self.event_bars:
            waited = f"; what depends on an event agreed after {self.event_bars} bars, which is as it must be"
        if self.first_fault is not None:
            return f"the warm-up is {self.shortfall_bars} bars too short: {self.first_fault.sentence}{waited}"
        return (
            f"{self.n_starts} later starts decided alike after {self.derived_bars} bars; "
            f"{self.smallest_sufficient_bars} would have done{waited}"
        )


@dataclass(frozen=True)
class _Start:
    """One later start beside the run from the first bar; bars of the timeframe counted from the start."""

    needed: int  # bars that would have sufficed
    n_compared: int
    event_bars: int
    fault: Fault | None


def check_warmup(
    spec: Spec,
    bars: Bars,
    terms: Terms,
    regimes: RegimeSet | None = None,
    n_starts: int = 8,
    *,
    seed: int,
) -> WarmupReport:
    """Start a strategy at several bars and compare its conditions with those of the run from the first.

    Parameters
    ----------
    spec : at its parameters' values. terms : of no influence on conditions, only handed on.
    regimes : where the strategy declares regimes, or macro states are in use, their codes are compared too,
        after their own warm-up.
    n_starts : later starts, chosen by `seed`. Each is followed for 2,000 strategy bars after its warm-up.
    """
    strategy = compile_spec(spec)
    derived = int(strategy.plan[layout.WARMUP])
    clocks = [] if regimes is None else clocks_of(regimes.read_by(spec))
    lacking = "" if spec.step_ms % bars.step_ms == 0 else f"{bars.timeframe} bars for {spec.timeframe}"
    keep = np.concatenate([_conditions(strategy), _events(strategy)])
    if not lacking:
        whole = record(strategy, bars, terms, keep=keep)
        aligned = _beginnings(bars, spec.step_ms, *(clock.step_ms for clock in clocks))
        seen_before = np.searchsorted(whole.decided_at, aligned)
        left = whole.decided_at.shape[0] - seen_before
        able = aligned[(seen_before >= derived) & (left >= derived + LEAST_COMPARED)]
        lacking = "" if able.shape[0] else f"{bars.n} bars leave no room for a later start"
    if lacking:
        return WarmupReport(False, derived, None, 0, 0, 0, 0, None, lacking)
    random = np.random.default_rng(seed)
    starts = np.sort(random.choice(able, min(n_starts, able.shape[0]), replace=False))
    found = [_compare(strategy, bars, terms, whole, int(at), derived) for at in starts]
    faults = [each.fault for each in found if each.fault is not None]
    needed = max(each.needed for each in found)
    shortfall = needed - derived
    for clock in clocks:
        if not makes_whole_bars(bars.step_ms, clock.step_ms):
            continue
        for lacking_bars, fault in _regime_faults(clock, bars, starts):
            faults.append(fault)
            shortfall = max(shortfall, lacking_bars)
    return WarmupReport(
        not faults,
        derived,
        needed,
        max(0, shortfall),
        len(found),
        sum(each.n_compared for each in found),
        max(each.event_bars for each in found),
        min(faults, key=lambda fault: fault.cut, default=None),
    )


def _conditions(strategy: Compiled) -> IntArray:
    outputs = strategy.program.outputs
    return np.asarray(outputs[outputs >= 0])


def _events(strategy: Compiled) -> IntArray:
    """Return the registers whose value depends on when something last happened.

    Of a longer timeframe they are all that it hands on when anything in it does.
    """
    found: list[int] = []
    handed_on: list[int] = []
    inside = depends = False
    for row in strategy.program.code:
        op, register = int(row[program.OP]), int(row[program.OUT])
        if op == program.TF_OPEN:
            handed_on, inside, depends = [], True, False
        elif op == program.TF_HOLD:
            handed_on.append(register)
        elif op == program.TF_CLOSE:
            found += handed_on if depends else []
            inside = False
        elif op in (program.BARS_SINCE, program.LATCH):
            found += [] if inside else [register]
            depends = True
    return np.array(found, np.int64)


def _beginnings(bars: Bars, *steps_ms: int) -> IntArray:
    """Return the bars with which a bar of every timeframe begins, the last ones being complete."""
    begins = np.ones(bars.n, np.bool_)
    begins[0] = False
    for step_ms in steps_ms:
        if step_ms > bars.step_ms:
            ends = (bars.time + bars.step_ms - grid_origin_ms(step_ms)) % step_ms == 0
            begins[1:] &= ends[:-1]
    return np.flatnonzero(begins)


def _compare(strategy: Compiled, bars: Bars, terms: Terms, whole: Recording, at: int, derived: int) -> _Start:
    """Run from a later bar, and find the last bar on which a condition is not what it is in the whole run."""
    ratio = strategy.step_ms // bars.step_ms
    part = bars.window(at, min(bars.n, at + (derived + max(N_COMPARED, derived)) * ratio))
    keep = np.concatenate([_conditions(strategy), _events(strategy)])
    later = record(strategy, part, terms, keep=keep)
    first = int(np.searchsorted(whole.decided_at, at))
    m = min(later.decided_at.shape[0], whole.decided_at.shape[0] - first)
    acts = _acts(whole)[:, first : first + m] != _acts(later)[:, :m]
    waited = _event_bars(strategy, whole, later, first, m, derived)
    counted = np.flatnonzero(acts.any(axis=0))
    if waited:
        counted = counted[(counted + 1 < derived) | (counted >= waited + derived)]
    needed = int(counted[-1]) + 2 if counted.shape[0] else 1
    late = counted[counted + 1 >= derived]
    fault = None
    if late.shape[0]:
        s = int(late[0])
        role = int(np.argmax(acts[:, s]))
        before, after = (repr(run.signal(role)[k].item()) for run, k in ((whole, first + s), (later, s)))
        apart = Difference(layout.SIGNALS[role], int(later.decided_at[s]), before, after)
        fault = Fault.of(apart, LATER_START, 0, part, at)
    return _Start(needed, max(0, m - derived + 1), waited, fault)


def _acts(run: Recording) -> BoolArray:
    """Return where each of the four conditions acts, (4, m): only what is definitely true does."""
    return np.stack([run.signal(role) == 1.0 for role in range(layout.STOP_DISTANCE)])


def _event_bars(
    strategy: Compiled, whole: Recording, later: Recording, first: int, m: int, derived: int
) -> int:
    """Return the strategy bars from a later start until event-dependent values agree; 0 when none waited.

    Values that part again after the warm-up are not waiting any more, but wrong.
    """
    events = _events(strategy)
    if not events.shape[0]:
        return 0
    kept = np.unique(np.concatenate([_conditions(strategy), events]))
    rows = np.searchsorted(kept, events)
    a, b = whole.registers[rows, first : first + m], later.registers[rows, :m]
    apart = ~np.all((a == b) | (np.isnan(a) & np.isnan(b)), axis=0)
    early = np.flatnonzero(apart[:derived])
    settled = int(early[-1]) + 1 if early.shape[0] else 0
    while settled >= derived and settled < m and apart[settled]:
        settled += 1
    return settled


def _regime_faults(known: CompiledRegimes, bars: Bars, starts: IntArray) -> Iterator[tuple[int, Fault]]:
    """Give where the regime's code still differs after the regimes' warm-up, and the bars it is short by."""
    whole = regime_codes(known, bars)
    ratio = known.step_ms // bars.step_ms
    for at in starts.tolist():
        part = bars.window(at, min(bars.n, at + (known.warmup + N_COMPARED) * ratio))
        later = regime_codes(known, part)
        seen = _complete(known.step_ms, part)
        apart = np.flatnonzero((seen >= known.warmup) & (later != whole[at : at + part.n]))
        if apart.shape[0]:
            t = int(apart[0])
            what = Difference("regime", t, repr(whole[at + t].item()), repr(later[t].item()))
            yield int(seen[apart[-1]]) + 1 - known.warmup, Fault.of(what, LATER_REGIMES, 0, part, at)


def _complete(step_ms: int, part: Bars) -> IntArray:
    """Return how many bars of a timeframe were complete at each close, those ended by a gap left out."""
    ends = (part.time + part.step_ms - grid_origin_ms(step_ms)) % step_ms == 0
    return np.cumsum(ends)
