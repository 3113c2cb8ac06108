"""The look-ahead check: replace the future, and nothing in the past may move by one bit.

A strategy is run once with everything recorded. Then, for each of many cuts, the bars after the cut are
replaced, and the strategy is run again from its first bar: whatever was computed or done up to and
including the cut must be the same bits. Cuts lie where orders and signals are, where values change, and
at random.

Replacing the future is blind to a bar that trades on its own close, since the cut bar itself is kept. Two
more tests look there. One keeps of the bar after the cut its open alone: orders that fill at that open may
not move. The other moves a bar's close between its low and its high, and nothing else: no fill in that bar
may move. A fill with the reason `ENDED` is left out of the last one: equity is gone when the close says so.

Cuts are a sample. The engine's own runs are tested at every bar besides, by one pass bar by bar over all of
the data: see `validation.streaming`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from research_lab.bars import Bars, BoolArray, IntArray
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.engine import layout, reasons
from research_lab.engine.backtest import makes_whole_bars, regime_codes
from research_lab.engine.slot import clocks_of
from research_lab.engine.terms import Terms
from research_lab.validation.culprit import nearest_bar
from research_lab.validation.difference import Difference, Fault, fill_difference, first_difference
from research_lab.validation.poison import BEYOND_OPEN, NOISE, poisoned
from research_lab.validation.recording import Recording, record
from research_lab.validation.streaming import STREAMED, streamed_difference

Runner = Callable[[Bars], Recording]

N_TESTED: Final = 4_000  # strategy bars, besides the warm-up
N_SIGNALS_WANTED: Final = 8  # with fewer, more bars are tested, up to all there are
N_AFFORDABLE: Final = 32_000  # strategy bars that every cut may rerun; with more there are fewer cuts
LEAST_CUTS: Final = 6

AT_OPEN: Final = (
    reasons.ENTRY,
    reasons.EXIT_SIGNAL,
    reasons.TIME_STOP,
    reasons.REGIME_EXIT,
    reasons.MACRO_EXIT,
    reasons.RISK_EXIT,
)
ORDERED: Final = (reasons.LONG_ORDERED, reasons.SHORT_ORDERED, reasons.EXIT_ORDERED)

OWN_CLOSE: Final = "with another close of bar {cut}"
AGAIN: Final = "in a second run over the same bars"


@dataclass(frozen=True)
class LookaheadReport:
    """What the check looked at, and what it found.

    Parameters
    ----------
    outcome : "PASS", "FAIL", or "INSUFFICIENT" when there was nothing to look at.
    n_cuts : cuts at which the future was replaced. n_own_closes : bars whose close was moved.
    n_signals, n_fills : entry signals and fills in the tested bars.
    n_bars : base bars tested, without warm-up.
    n_faults : replacements of the future that moved the past. n_own_close_faults : moved closes that moved
        a fill of their bar, or anything before.
    first_fault : at the earliest cut. sentence : the outcome in words.
    n_streamed : base bars that were handed over one at a time, all of them for the engine.
    culprit : the nearest later bar that moves the past alone, in words; empty when no single one does.
    """

    outcome: str
    n_cuts: int
    n_own_closes: int
    n_signals: int
    n_fills: int
    n_bars: int
    n_faults: int
    n_own_close_faults: int
    first_fault: Fault | None
    sentence: str
    n_streamed: int = 0
    culprit: str = ""


@dataclass(frozen=True)
class _Tested:
    """A part of the tape, its first bar in the whole, how it runs, and how it ran."""

    tape: Bars
    offset: int
    first: int  # first tested bar, in the part
    run: Runner
    whole: Recording

    @property
    def n_signals(self) -> int:
        return int(np.count_nonzero(_entry_signals(self.whole)[self.whole.decided_at >= self.first]))

    @property
    def n_fills(self) -> int:
        return int(np.count_nonzero(self.whole.fills["bar"] >= self.first))


def check_lookahead(
    spec: Spec,
    bars: Bars,
    terms: Terms,
    regimes: RegimeSet | None = None,
    *,
    seed: int,
    n_cuts: int = 24,
    runner: Runner | None = None,
) -> LookaheadReport:
    """Look for anything in a run that depends on bars after it.

    Parameters
    ----------
    spec : at its parameters' values.
    bars : the last 4,000 strategy bars and the warm-up before them are used; more when they hold fewer than
        eight entry signals.
    regimes : needed where the strategy declares regimes, else left out.
    seed : of noise and of the choice of cuts.
    n_cuts : cuts, and bars whose own close is moved. Each cut costs six runs, each own close two, so
        there are fewer, down to six, when rare signals ask for more than 32,000 strategy bars.
    runner : how a strategy runs over bars, from the first one; None for the engine.

    Returns
    -------
    LookaheadReport
        Bars are counted from the first of `bars`.
    """
    lacking = _lacking(spec, bars, regimes)
    tested = None if lacking else _tested_part(spec, bars, terms, regimes, runner)
    if tested is None or tested.n_signals == 0:
        n_bars = 0 if tested is None else tested.tape.n - tested.first
        why = lacking or f"no entry signal in {n_bars} bars"
        return LookaheadReport("INSUFFICIENT", 0, 0, 0, 0, n_bars, 0, 0, None, f"not tested: {why}")
    random = np.random.default_rng(seed)
    if (fault := _again(tested)) is not None:
        return _report(tested, 0, 0, [fault], [])
    streamed = _streamed(spec, bars, terms, regimes) if runner is None else None
    n_rerun = tested.whole.decided_at.shape[0]
    if n_rerun > N_AFFORDABLE:
        n_cuts = min(n_cuts, max(LEAST_CUTS, n_cuts * N_AFFORDABLE // n_rerun))
    cuts = _choose_cuts(tested, n_cuts, random)
    faults = [fault for cut in cuts for fault in _faults_of_cut(tested, int(cut), seed)]
    moved = _choose_own_closes(tested, n_cuts, random)
    own = [fault for bar in moved for fault in _faults_of_own_close(tested, int(bar), random)]
    culprit = _culprit(tested, faults, seed)
    faults += _present(streamed)
    n_streamed = bars.n if runner is None else 0
    return _report(tested, len(cuts), len(moved), faults, own, n_streamed, culprit)


def _report(
    tested: _Tested,
    n_cuts: int,
    n_own_closes: int,
    faults: list[Fault],
    own: list[Fault],
    n_streamed: int = 0,
    culprit: str = "",
) -> LookaheadReport:
    n_bars = tested.tape.n - tested.first
    first = min(faults + own, key=lambda fault: fault.cut, default=None)
    seen = (
        f"{tested.n_signals} entry signals and {tested.n_fills} fills in {n_bars} bars, "
        f"{n_cuts} cuts, {n_own_closes} closes moved"
        + (f", {n_streamed} bars one at a time" if n_streamed else "")
    )
    told = "" if first is None else f"{first.sentence}; {culprit}" if culprit else first.sentence
    sentence = f"{told}; {seen}" if told else f"the past did not move: {seen}"
    outcome = "PASS" if first is None else "FAIL"
    counts = (n_cuts, n_own_closes, tested.n_signals, tested.n_fills, n_bars, len(faults), len(own))
    return LookaheadReport(outcome, *counts, first, sentence, n_streamed, culprit)


def _streamed(spec: Spec, bars: Bars, terms: Terms, regimes: RegimeSet | None) -> Fault | None:
    """Return where a pass bar by bar over all bars parts from the run in blocks."""
    known = None if regimes is None else regimes.read_by(spec)
    apart = streamed_difference(compile_spec(spec), bars, terms, known, regime_codes(known, bars), 0)
    return None if apart is None else Fault.of(apart, STREAMED, apart.bar, bars, 0)


def _culprit(tested: _Tested, faults: list[Fault], seed: int) -> str:
    """Return which later bar alone moves the past, as words; of the earliest cut that noise showed."""
    cuts = sorted(fault.cut for fault in faults if fault.kind == NOISE)
    if not cuts:
        return ""
    found = nearest_bar(tested.run, tested.tape, tested.whole, cuts[0] - tested.offset, seed)
    if found is None:
        return ""
    bar, moved = found
    return f"bar {bar + tested.offset} alone moves {moved.what} at bar {moved.bar + tested.offset}"


def _lacking(spec: Spec, bars: Bars, regimes: RegimeSet | None) -> str:
    """Return what stands against a test of this strategy on these bars; empty when nothing does."""
    if not makes_whole_bars(bars.step_ms, spec.step_ms):
        return f"bars of {bars.timeframe} do not make up bars of {spec.timeframe}"
    if spec.regimes and regimes is None:
        return f"the strategy declares regimes ({', '.join(spec.regimes)}) and none are defined"
    return "fewer than 3 bars" if bars.n < 3 else ""


def _tested_part(
    spec: Spec, bars: Bars, terms: Terms, regimes: RegimeSet | None, runner: Runner | None
) -> _Tested:
    """Return the last bars that hold enough signals, with the warm-up before them, and their run.

    The strategy begins after the warm-up of regimes and macro states, which is longer than its own: a
    strategy on minutes may need months of regimes.
    """
    strategy = compile_spec(spec)
    known = None if regimes is None else regimes.read_by(spec)
    ratio = spec.step_ms // bars.step_ms
    lead = max((clock.warmup * (clock.step_ms // bars.step_ms) for clock in clocks_of(known)), default=0)
    warmup = int(strategy.plan[layout.WARMUP]) * ratio
    n_tested = N_TESTED * ratio
    while True:
        first = max(0, bars.n - n_tested)
        begin = max(0, first - warmup)
        offset = max(0, begin - lead)
        tape = bars.window(offset, bars.n)

        def engine(part: Bars, begin: int = begin - offset) -> Recording:
            return record(strategy, part, terms, regimes=known, begin=min(begin, part.n - 1))

        run = runner or engine
        tested = _Tested(tape, offset, first - offset, run, run(tape))
        if first == 0 or tested.n_signals >= N_SIGNALS_WANTED:
            return tested
        n_tested *= 2


def _entry_signals(run: Recording) -> BoolArray:
    long, short = run.signal(layout.ENTER_LONG), run.signal(layout.ENTER_SHORT)
    return np.asarray((long == 1.0) | (short == 1.0))


def _choose_cuts(tested: _Tested, n_cuts: int, random: np.random.Generator) -> IntArray:
    """Return bars to cut after: half at orders and signals, a quarter at changes, the rest anywhere."""
    run, n = tested.whole, tested.tape.n
    emitted = [run.signal(role) == 1.0 for role in range(layout.STOP_DISTANCE)]
    orders = np.flatnonzero(np.isin(run.reason, ORDERED))
    signals = run.decided_at[np.any(emitted, axis=0)]
    changes = np.concatenate([np.flatnonzero(np.diff(run.regime)), run.fills["bar"] - 1, run.fills["bar"]])
    quarter = -(-n_cuts // 4)
    chosen: set[int] = set()
    for source in (orders, signals, changes, np.arange(n)):
        _draw(chosen, source, tested.first, n - 2, quarter, random)
    _draw(chosen, np.arange(n), tested.first, n - 2, n_cuts - len(chosen), random)
    return np.array(sorted(chosen)[:n_cuts], np.int64)


def _choose_own_closes(tested: _Tested, n_bars: int, random: np.random.Generator) -> IntArray:
    """Return bars whose close to move: those with fills first, then any, of those that have a range."""
    tape = tested.tape
    chosen: set[int] = set()
    with_range = np.flatnonzero(tape.high > tape.low)
    filled = np.intersect1d(tested.whole.fills["bar"], with_range)
    _draw(chosen, filled, tested.first, tape.n - 1, -(-3 * n_bars // 4), random)
    _draw(chosen, with_range, tested.first, tape.n - 1, n_bars - len(chosen), random)
    return np.array(sorted(chosen), np.int64)


def _draw(
    chosen: set[int], source: IntArray, first: int, last: int, n: int, random: np.random.Generator
) -> None:
    """Add up to n bars of a source to those chosen, within [first, last], each at most once."""
    free = np.setdiff1d(source[(source >= first) & (source <= last)], list(chosen))
    if n > 0 and free.shape[0]:
        chosen.update(random.choice(free, min(n, free.shape[0]), replace=False).tolist())


def _again(tested: _Tested) -> Fault | None:
    """Return a fault when a run over the same bars differs: then nothing else means anything."""
    last = tested.tape.n - 1
    return _fault(tested, AGAIN, last, first_difference(tested.whole, tested.run(tested.tape), last))


def _faults_of_cut(tested: _Tested, cut: int, seed: int) -> Iterator[Fault]:
    for kind, tape in poisoned(tested.tape, cut, np.random.default_rng([seed, cut])):
        try:
            run = tested.run(tape)
        except (ArithmeticError, LookupError, ValueError) as error:
            failed = Difference("the run", cut, "complete", f"{type(error).__name__}: {error}")
            yield from _present(_fault(tested, kind, cut, failed))
            continue
        apart = first_difference(tested.whole, run, cut)
        if apart is None and kind == BEYOND_OPEN:
            apart = _order_difference(tested.whole, run, cut + 1)
        yield from _present(_fault(tested, kind, cut, apart))


def _order_difference(one: Recording, other: Recording, bar: int) -> Difference | None:
    """Return how the orders filled at a bar's open differ; its open was the same."""
    a, b = (
        run.fills[(run.fills["bar"] == bar) & np.isin(run.fills["reason"], AT_OPEN)] for run in (one, other)
    )
    return fill_difference(a, b, bar)


def _faults_of_own_close(tested: _Tested, bar: int, random: np.random.Generator) -> Iterator[Fault]:
    """Move one bar's close to its low or high, and to somewhere between, and compare the bar's fills."""
    tape = tested.tape
    low, high, close = (float(row[bar]) for row in (tape.low, tape.high, tape.close))
    far = low if close - low > high - close else high
    for value in (far, low + (high - low) * float(random.random())):
        inputs = tape.inputs.copy()
        inputs[3, bar] = value
        run = tested.run(replace(tape, inputs=inputs))
        apart = first_difference(tested.whole, run, bar - 1)
        if apart is None:
            a, b = (_without_ending(each, bar) for each in (tested.whole, run))
            apart = fill_difference(a.fills, b.fills, bar)
        yield from _present(_fault(tested, OWN_CLOSE, bar, apart))


def _without_ending(run: Recording, bar: int) -> Recording:
    ending = (run.fills["bar"] == bar) & (run.fills["reason"] == reasons.ENDED)
    return replace(run, fills=run.fills[~ending])


def _fault(tested: _Tested, kind: str, cut: int, apart: Difference | None) -> Fault | None:
    if apart is None:
        return None
    return Fault.of(apart, kind, cut, tested.tape, tested.offset)


def _present(fault: Fault | None) -> Iterator[Fault]:
    if fault is not None:
        yield fault
