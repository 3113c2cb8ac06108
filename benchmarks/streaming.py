"""What one bar costs when bars come one by one from Python, and how fast a run is replayed in one call."""

from __future__ import annotations

import statistics
import time

import numpy as np

from benchmarks import work_b
from benchmarks.results import Figure, Result, difference, in_turns
from research_lab.bars import Bars
from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import layout, reasons
from research_lab.engine.backtest import backtest
from research_lab.engine.jit import FloatArray
from research_lab.engine.slot import Compiled, advance_slot, block_of

_GROUP = 16  # bars timed together, so that the clock itself does not count


def stream(strategy: Compiled, bars: Bars) -> tuple[float, FloatArray]:
    """Return the median microseconds of a bar through the slot, blocks of one, and the equity after each.

    Timed is the call with arrays that stand ready, as a feed hands them over.
    """
    state = strategy.new_state()
    registers, emitted_at = strategy.program.new_registers(2), np.zeros(2, np.int64)
    equity, position = np.empty(bars.n), np.empty(bars.n)
    reason, fills = np.empty(bars.n, np.int64), np.empty((layout.MAX_FILLS_PER_BAR, layout.FILL_SIZE))
    terms, regime = work_b.TERMS.array(), np.zeros(bars.n)
    program = strategy.program
    slot = (program.code, program.values, program.outputs, strategy.plan, terms, bars.step_ms,
            strategy.step_ms, state, registers, emitted_at)  # fmt: skip
    rows = [slice(t, t + 1) for t in range(bars.n)]
    calls = [
        (*slot, bars.time[r], block_of(bars.inputs, t, t + 1), bars.funding_due[r], regime[r], t, 0, reasons.NONE,
         equity[r], position[r], reason[r], fills)
        for t, r in enumerate(rows)
    ]  # fmt: skip
    taken = []
    for first in range(0, len(calls), _GROUP):
        group = calls[first : first + _GROUP]
        begun = time.perf_counter()
        for call in group:
            advance_slot(*call)
        taken.append((time.perf_counter() - begun) / len(group))
    return statistics.median(taken) * 1e6, equity


def measure(bars: Bars, long: Bars, repeats: int) -> Result:
    """Return the figures of strategy B, bar by bar on `bars` and in one call on `long`."""
    strategy = compile_spec(parse_spec(work_b.TEXT))
    whole = backtest(strategy, bars, work_b.TERMS)
    streamed = [stream(strategy, bars) for _ in range(repeats + 1)][1:]
    ones = [(t, t + 1) for t in range(bars.n)]
    seconds = in_turns(
        {
            "replay": lambda: backtest(strategy, long, work_b.TERMS),
            "ones": lambda: backtest(strategy, bars, work_b.TERMS, blocks=ones),
        },
        repeats,
    )
    return Result(
        "streaming",
        f"Strategy B, {bars.n:,} bars one by one and {long.n:,} bars in one call",
        (
            Figure(
                "one bar streamed, median", statistics.median(s for s, _ in streamed), "us", 3.0, 1.0, False
            ),
            Figure(
                "one bar streamed, slices of Python included",
                seconds["ones"] / bars.n * 1e6,
                "us",
                more=False,
            ),
            Figure("replay in one call", long.n / seconds["replay"] / 1e6, "M bars/s", 2.0, 10.0),
        ),
        differences={"equity bar by bar": difference(streamed[-1][1], whole.equity)},
    )
