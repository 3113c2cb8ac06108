"""A sweep: many strategies on the same bars as one program, block by block, threads over strategies.

What strategies share is computed once a block; the rest, the broker and the metrics run per strategy.
Memory grows with the strategies' states, not with strategies times bars. Every look belongs into the
trial ledger, so `research_lab.scoring` is the only importer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from research_lab.engine import broker, layout, metrics, program, reasons, resampling
from research_lab.engine.backtest import Tape
from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.engine.program import Union
from research_lab.engine.slot import BLOCK, blockwise, cut_into_blocks
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
def _advance_shared(
    code: IntArray,
    values: FloatArray,
    state: FloatArray,
    clock: FloatArray,
    registers: FloatArray,
    emitted_at: IntArray,
    base_ms: int,
    step_ms: int,
    time: IntArray,
    inputs: FloatArray,
) -> int:
    """Advance what strategies share over one block; return how many strategy bars completed."""
    m = resampling.resample(clock, time, inputs, base_ms, step_ms, registers, emitted_at)
    program.advance(code, values, state, registers, m)
    return m


@kernel
def _advance_own(
    worker: int,
    code: IntArray,
    values: FloatArray,
    rows: IntArray,
    outputs: IntArray,
    state_at: IntArray,
    plans: FloatArray,
    terms: FloatArray,
    private_state: FloatArray,
    books: FloatArray,
    accumulators: FloatArray,
    registers: FloatArray,
    emitted_at: IntArray,
    m: int,
    equity: FloatArray,
    position: FloatArray,
    reason: IntArray,
    fills: FloatArray,
    time: IntArray,
    inputs: FloatArray,
    funding_due: FloatArray,
    regime: FloatArray,
    first_bar: int,
    start: int,
    first_day: int,
    days: FloatArray,
) -> None:
    """Advance one worker's strategies, each n_workers-th of them, over one block."""
    n = time.shape[0]
    first = min(max(start - first_bar, 0), n)
    for k in range(worker, rows.shape[0] - 1, equity.shape[0]):
        program.advance(
            code[rows[k] : rows[k + 1]],
            values[rows[k] : rows[k + 1]],
            private_state[state_at[k] : state_at[k + 1]],
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
            equity[worker],
            position[worker],
            reason[worker],
            fills,
        )
        metrics.accumulate(accumulators[k], equity[worker], position[worker], first, n)
        metrics.daily(time, equity[worker], first, n, first_day, days[k])


def sweep(
    union: Union,
    plans: FloatArray,
    step_ms: int,
    tape: Tape,
    terms: Terms,
    *,
    regime: FloatArray | None = None,
    start: int = 0,
    n_threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Sweep:
    """Run all strategies of a union over a tape.

    Parameters
    ----------
    union, plans : strategies of one timeframe `step_ms`, and their plans, one row each.
    tape, terms, regime, start : as for `engine.backtest.backtest`.
    n_threads : threads; one a core when None. Their number does not change a bit.
    progress : called with the share of bars done, after each block.
    """
    n_threads = n_threads or os.cpu_count() or 1
    memory = _Memory(union, plans, n_threads)
    n = tape.time.shape[0]
    codes = np.zeros(n) if regime is None else regime
    traded = tape.time[min(start, n - 1) :] // metrics.DAY_MS
    first_day, n_days = int(traded[0]), int(traded[-1] - traded[0]) + 1
    days = np.full((plans.shape[0], n_days), np.nan)
    rules, rows = terms.array(), blockwise(tape.inputs)
    with ThreadPoolExecutor(memory.n_workers) as pool:
        for first, last in cut_into_blocks(n):
            time, inputs = tape.time[first:last], rows[:, first:last]
            m = _advance_shared(
                union.shared.code,
                union.shared.values,
                memory.shared_state,
                memory.clock,
                memory.registers,
                memory.emitted_at,
                tape.step_ms,
                step_ms,
                time,
                inputs,
            )
            jobs = [
                pool.submit(
                    _advance_own,
                    worker,
                    memory.code,
                    union.values,
                    union.rows,
                    memory.outputs,
                    union.state_at,
                    plans,
                    rules,
                    memory.private_state,
                    memory.books,
                    memory.accumulators,
                    memory.registers,
                    memory.emitted_at,
                    m,
                    memory.equity,
                    memory.position,
                    memory.reason,
                    memory.no_fills,
                    time,
                    inputs,
                    tape.funding_due[first:last],
                    codes[first:last],
                    first,
                    start,
                    first_day,
                    days,
                )
                for worker in range(memory.n_workers)
            ]
            for job in jobs:
                job.result()
            if progress is not None:
                progress(last / n)
    return Sweep(memory.summarise(tape.step_ms), first_day, _returns(days))


class _Memory:
    """Memory of a sweep: one of each thread's scratch, one of each strategy's state."""

    def __init__(self, union: Union, plans: FloatArray, n_threads: int) -> None:
        n_strategies = plans.shape[0]
        n_workers = self.n_workers = max(1, min(n_threads, n_strategies))
        n_shared = union.shared.n_registers
        # Worker w's private registers stand behind those of the workers before it.
        worker = np.arange(n_strategies) % n_workers
        shift = np.repeat(worker, np.diff(union.rows)) * union.n_private
        self.code = union.code.copy()
        for column in (program.OUT, *program.READ_COLUMNS):
            private = self.code[:, column] >= n_shared
            self.code[private, column] += shift[private]
        self.outputs = union.outputs + np.where(
            union.outputs >= n_shared, (worker * union.n_private)[:, None], 0
        )
        self.registers = np.zeros((n_shared + n_workers * union.n_private, BLOCK + 1))
        self.emitted_at = np.zeros(BLOCK + 1, np.int64)
        self.equity = np.empty((n_workers, BLOCK))
        self.position = np.empty((n_workers, BLOCK))
        self.reason = np.empty((n_workers, BLOCK), np.int64)
        self.no_fills = np.empty((0, layout.FILL_SIZE))
        self.clock = np.zeros(resampling.SIZE)
        self.shared_state = np.zeros(union.shared.n_state)
        self.private_state = np.zeros(int(union.state_at[-1]))
        self.books = np.zeros((n_strategies, layout.BOOK_SIZE))
        self.accumulators = np.zeros((n_strategies, metrics.SIZE))
        for book, accumulators in zip(self.books, self.accumulators, strict=True):
            layout.open_book(book, 1.0)
            metrics.begin(accumulators, 1.0)

    def summarise(self, base_ms: int) -> FloatArray:
        out = np.empty((self.books.shape[0], len(metrics.NAMES)))
        for k in range(out.shape[0]):
            metrics.summarise(self.accumulators[k], self.books[k], base_ms, out[k])
        return out


def _returns(days: FloatArray) -> FloatArray:
    """Return daily returns of equities by day; a day without a bar keeps the equity before it."""
    index = np.where(np.isnan(days), 0, np.arange(1, days.shape[1] + 1))
    last = np.maximum.accumulate(index, axis=1)
    worth = np.concatenate([np.ones((days.shape[0], 1)), days], axis=1)
    filled = np.take_along_axis(worth, last, axis=1)
    before = np.concatenate([np.ones((days.shape[0], 1)), filled[:, :-1]], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before > 0.0, filled / before - 1.0, 0.0)
