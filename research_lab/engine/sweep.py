"""A sweep: many strategies on the same bars as one program, block by block, threads over strategies.

What strategies share is computed once a block; the rest, the broker and the metrics run per strategy.
Memory grows with the strategies' states, not with strategies times bars. Every look belongs into the
trial ledger, so `research_lab.scoring` is the only importer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from numba import prange

from research_lab.engine import broker, metrics, program, reasons, resampling
from research_lab.engine.backtest import Tape
from research_lab.engine.broker import Terms
from research_lab.engine.jit import FloatArray, IntArray, parallel_kernel
from research_lab.engine.program import Union
from research_lab.engine.slot import BLOCK, cut_into_blocks


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


@parallel_kernel
def _advance_all(
    shared_code: IntArray,
    shared_values: FloatArray,
    code: IntArray,
    values: FloatArray,
    rows: IntArray,
    outputs: IntArray,
    state_at: IntArray,
    n_shared: int,
    n_private: int,
    plans: FloatArray,
    terms: FloatArray,
    base_ms: int,
    step_ms: int,
    clock: FloatArray,
    shared_state: FloatArray,
    private_state: FloatArray,
    books: FloatArray,
    accumulators: FloatArray,
    registers: FloatArray,
    emitted_at: IntArray,
    equity: FloatArray,
    position: FloatArray,
    reason: IntArray,
    time: IntArray,
    inputs: FloatArray,
    funding_due: FloatArray,
    regime: FloatArray,
    first_bar: int,
    start: int,
    first_day: int,
    days: FloatArray,
) -> None:
    """Advance all strategies over one block; worker w takes each n_workers-th of them."""
    n = time.shape[0]
    n_workers = equity.shape[0]
    n_strategies = rows.shape[0] - 1
    m = resampling.resample(clock, time, inputs, base_ms, step_ms, registers, emitted_at)
    program.advance(shared_code, shared_values, shared_state, registers, m)
    first = min(max(start - first_bar, 0), n)
    for w in prange(n_workers):
        nothing = np.empty((0, broker.FILL_SIZE))
        for k in range(w, n_strategies, n_workers):
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
                equity[w],
                position[w],
                reason[w],
                nothing,
            )
            metrics.accumulate(accumulators[k], equity[w], position[w], first, n)
            metrics.daily(time, equity[w], first, n, first_day, days[k])


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
    n_threads : threads; all that numba has when None. Their number does not change a bit.
    progress : called with the share of bars done, after each block.
    """
    workers = _Workers(union, plans, n_threads or numba.get_num_threads())
    n = tape.time.shape[0]
    codes = np.zeros(n) if regime is None else regime
    traded = tape.time[min(start, n - 1) :] // metrics.DAY_MS
    first_day, n_days = int(traded[0]), int(traded[-1] - traded[0]) + 1
    days = np.full((plans.shape[0], n_days), np.nan)
    for first, last in cut_into_blocks(n):
        _advance_all(
            union.shared.code,
            union.shared.values,
            workers.code,
            union.values,
            union.rows,
            workers.outputs,
            union.state_at,
            union.shared.n_registers,
            union.n_private,
            plans,
            terms.array(),
            tape.step_ms,
            step_ms,
            workers.clock,
            workers.shared_state,
            workers.private_state,
            workers.books,
            workers.accumulators,
            workers.registers,
            workers.emitted_at,
            workers.equity,
            workers.position,
            workers.reason,
            tape.time[first:last],
            tape.inputs[:, first:last],
            tape.funding_due[first:last],
            codes[first:last],
            first,
            start,
            first_day,
            days,
        )
        if progress is not None:
            progress(last / n)
    return Sweep(workers.summarise(tape.step_ms), first_day, _returns(days))


class _Workers:
    """Memory of a sweep: one of each thread's scratch, one of each strategy's state."""

    def __init__(self, union: Union, plans: FloatArray, n_threads: int) -> None:
        n_strategies = plans.shape[0]
        n_workers = max(1, min(n_threads, n_strategies))
        n_shared = union.shared.n_registers
        # Worker w's private registers stand behind those of the workers before it.
        worker = np.arange(n_strategies) % n_workers
        shift = np.repeat(worker, np.diff(union.rows)) * union.n_private
        self.code = union.code.copy()
        for column in (program.OUT, program.A, program.B, program.C):
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
        self.clock = np.zeros(resampling.SIZE)
        self.shared_state = np.zeros(union.shared.n_state)
        self.private_state = np.zeros(int(union.state_at[-1]))
        self.books = np.zeros((n_strategies, broker.BOOK_SIZE))
        self.accumulators = np.zeros((n_strategies, metrics.SIZE))
        for book, accumulators in zip(self.books, self.accumulators, strict=True):
            broker.open_book(book, 1.0)
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
