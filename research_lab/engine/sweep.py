"""A sweep: many strategies on the same bars, in chunks that are one program each, threads over chunks.

What the strategies of a chunk share is computed once a block; the rest, the broker and the metrics run per
strategy while the block is in the cache. Memory grows with the strategies' states and daily returns, not
with strategies times bars. Every look belongs into the trial ledger, so `research_lab.scoring` is the only
importer.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from research_lab.engine import broker, layout, metrics, program, reasons, resampling
from research_lab.engine.backtest import Tape, inputs_of, refuse_unfit
from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.engine.slot import CompiledUnion, block_of, cut_into_blocks
from research_lab.engine.terms import Terms


@dataclass(frozen=True, eq=False)
class Sweep:
    """What each strategy of a sweep was worth.

    Parameters
    ----------
    metrics : (n_strategies, n_metrics), columns as `engine.metrics.NAMES`.
    first_day : UTC day of the first column of `daily_returns`, days since 1970.
    daily_returns : (n_strategies, n_days), the first day's against a capital of 1.
    """

    metrics: FloatArray
    first_day: int
    daily_returns: FloatArray


@kernel
def _advance_chunk(
    shared_code: IntArray,
    shared_values: FloatArray,
    code: IntArray,
    values: FloatArray,
    rows: IntArray,
    outputs: IntArray,
    state_at: IntArray,
    plans: FloatArray,
    terms: FloatArray,
    clock: FloatArray,
    shared_state: FloatArray,
    state: FloatArray,
    books: FloatArray,
    accumulators: FloatArray,
    registers: FloatArray,
    emitted_at: IntArray,
    equity: FloatArray,
    no_positions: FloatArray,
    no_reasons: IntArray,
    no_fills: FloatArray,
    base_ms: int,
    step_ms: int,
    time: IntArray,
    inputs: FloatArray,
    funding_due: FloatArray,
    regime: FloatArray,
    first_bar: int,
    start: int,
    day_ends: IntArray,
    days: FloatArray,
) -> None:
    """Advance all strategies of a chunk over one block.

    Parameters
    ----------
    day_ends : (2, n) bars of the block that are the last of a day, and each one's column of `days`.
    days : (n_strategies, n_days) equity after each day, in place.
    """
    n = time.shape[0]
    first = min(max(start - first_bar, 0), n)
    worth = equity[:n]
    m = resampling.resample(clock, time, inputs, base_ms, step_ms, registers, emitted_at)
    program.advance(shared_code, shared_values, shared_state, registers, m)
    for k in range(plans.shape[0]):
        program.advance(
            code[rows[k] : rows[k + 1]],
            values[rows[k] : rows[k + 1]],
            state[state_at[k] : state_at[k + 1]],
            registers,
            m,
        )
        broker.step(
            books[k],
            plans[k],
            terms,
            inputs,
            funding_due,
            regime,
            registers,
            outputs[k],
            emitted_at,
            m,
            first_bar,
            start,
            reasons.NONE,
            worth,
            no_positions,
            no_reasons,
            no_fills,
        )
        metrics.accumulate(accumulators[k], worth[first:])
        for j in range(day_ends.shape[1]):
            days[k, day_ends[1, j]] = worth[day_ends[0, j]]


@kernel
def _summarise(accumulators: FloatArray, books: FloatArray, base_ms: int, out: FloatArray) -> None:
    for k in range(books.shape[0]):
        metrics.summarise(accumulators[k], books[k], base_ms, out[k])


def sweep(
    chunks: Sequence[CompiledUnion],
    tape: Tape,
    terms: Terms,
    *,
    regime: FloatArray | None = None,
    start: int = 0,
    n_threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Sweep:
    """Run all strategies of some chunks over a tape.

    Parameters
    ----------
    chunks : run side by side; results stand in their order.
    tape, terms, regime, start : as for `engine.backtest.backtest`.
    n_threads : threads; one a core when None. Their number does not change a bit.
    progress : called with the share of the work done, after each block of a chunk.

    Raises
    ------
    ValueError : for inputs beyond whose ends the kernels, which check nothing, would read or write.
    """
    _refuse_unfit(chunks, tape, regime, start)
    run = _Run(chunks, tape, terms, regime, start, progress)
    n_helpers = min(n_threads or os.cpu_count() or 1, len(chunks)) - 1
    # this thread works too: a second helper is often started on the first one's core, and stays for milliseconds
    with ThreadPoolExecutor(max(1, n_helpers)) as pool:
        jobs = [pool.submit(run.all_that_wait) for _ in range(n_helpers)]
        try:
            run.all_that_wait()
            for job in jobs:
                job.result()
        except BaseException:
            run.stopped = True
            raise
    _to_returns(run.days)
    return Sweep(run.metrics, run.first_day, run.days)


def _refuse_unfit(chunks: Sequence[CompiledUnion], tape: Tape, regime: FloatArray | None, start: int) -> None:
    if not chunks or tape.time.shape[0] == 0:
        raise ValueError("nothing to sweep: no strategies or no bars")
    for chunk in chunks:
        refuse_unfit(tape, chunk.step_ms, regime, start)


class _Run:
    """What the chunks of one sweep have in common, and where their results go."""

    def __init__(
        self,
        chunks: Sequence[CompiledUnion],
        tape: Tape,
        terms: Terms,
        regime: FloatArray | None,
        start: int,
        progress: Callable[[float], None] | None,
    ) -> None:
        n = tape.time.shape[0]
        self.chunks, self.tape, self.terms, self.start = chunks, tape, terms.array(), start
        self.codes = np.zeros(n) if regime is None else regime
        day = tape.time // metrics.DAY_MS
        self.first_day = int(day[min(start, n - 1)])
        ends = np.flatnonzero(np.diff(day, append=day[-1] + 1))
        self.day_ends = ends[ends >= start]
        self.columns = day[self.day_ends] - self.first_day
        self.rows = np.concatenate([[0], np.cumsum([len(chunk.plans) for chunk in chunks])]).astype(int)
        self.metrics = np.empty((self.rows[-1], len(metrics.NAMES)))
        self.days = np.full((self.rows[-1], int(day[-1]) - self.first_day + 1), np.nan)
        self.progress = progress
        self.stopped = False
        self._waiting = iter(range(len(chunks)))
        self._lock = threading.Lock()
        self._done = 0

    def all_that_wait(self) -> None:
        """Run chunks until none waits."""
        while not self.stopped:
            with self._lock:
                k = next(self._waiting, None)
            if k is None:
                return
            self._chunk(k)

    def _chunk(self, k: int) -> None:
        """Run one chunk from the first bar to the last."""
        union, plans, step_ms = self.chunks[k]
        tape, block = self.tape, self.chunks[k].block
        memory, inputs = _Memory(self.chunks[k]), inputs_of(union.shared, tape)
        days = self.days[self.rows[k] : self.rows[k + 1]]
        for first, last in cut_into_blocks(tape.time.shape[0], block):
            if self.stopped:
                return
            a, b = np.searchsorted(self.day_ends, (first, last))
            _advance_chunk(
                union.shared.code,
                union.shared.values,
                union.code,
                union.values,
                union.rows,
                union.outputs,
                union.state_at,
                plans,
                self.terms,
                memory.clock,
                memory.shared_state,
                memory.state,
                memory.books,
                memory.accumulators,
                memory.registers,
                memory.emitted_at,
                memory.equity,
                memory.no_positions,
                memory.no_reasons,
                memory.no_fills,
                tape.step_ms,
                step_ms,
                tape.time[first:last],
                block_of(inputs, first, last),
                tape.funding_due[first:last],
                self.codes[first:last],
                first,
                self.start,
                np.stack([self.day_ends[a:b] - first, self.columns[a:b]]),
                days,
            )
            self._tell((last - first) * len(plans))
        out = self.metrics[self.rows[k] : self.rows[k + 1]]
        _summarise(memory.accumulators, memory.books, tape.step_ms, out)

    def _tell(self, n_bars: int) -> None:
        if self.progress is None:
            return
        with self._lock:
            self._done += n_bars
            self.progress(self._done / (self.tape.time.shape[0] * int(self.rows[-1])))


class _Memory:
    """Memory of a running chunk: scratch for one block, and each strategy's state."""

    def __init__(self, chunk: CompiledUnion) -> None:
        union, n_strategies, width = chunk.union, chunk.plans.shape[0], chunk.block + 1
        self.registers = np.zeros((union.shared.n_registers + union.n_private, width + 1))
        self.emitted_at = np.zeros(width, np.int64)
        self.equity = np.empty(width)
        self.no_positions, self.no_reasons = np.empty(0), np.empty(0, np.int64)
        self.no_fills = np.empty((0, layout.FILL_SIZE))
        self.clock = np.zeros(resampling.SIZE)
        self.shared_state = np.zeros(union.shared.n_state)
        self.state = np.zeros(int(union.state_at[-1]))
        book, accumulators = np.empty(layout.BOOK_SIZE), np.empty(metrics.SIZE)
        layout.open_book(book, 1.0)
        metrics.begin(accumulators, 1.0)
        self.books = np.tile(book, (n_strategies, 1))
        self.accumulators = np.tile(accumulators, (n_strategies, 1))


@kernel
def _to_returns(days: FloatArray) -> None:
    """Put the return of each day in place of the equity after it; a day without a bar keeps the equity before it."""
    for k in range(days.shape[0]):
        before = 1.0
        for j in range(days.shape[1]):
            worth = before if math.isnan(days[k, j]) else days[k, j]
            days[k, j] = worth / before - 1.0 if before > 0.0 else 0.0
            before = worth
