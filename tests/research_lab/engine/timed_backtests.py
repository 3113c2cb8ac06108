"""Timed runs through `backtest` and `sweep`: signals travel as volume, funding and premium of made-up bars.

A program of the language's own operations takes them apart again: the premium is a number of five digits
(four conditions of base 3, where 2 is unknown, and which size), funding is the stop, volume the trail.
"""

from __future__ import annotations

import math
from dataclasses import fields
from functools import cache
from itertools import pairwise

import numpy as np

from research_lab.dsl import compiler
from research_lab.dsl.dimensions import CONDITION, LITERAL
from research_lab.dsl.tree import Node, constant
from research_lab.dsl.union_compiler import Template, union_of
from research_lab.engine import layout, reasons
from research_lab.engine.backtest import Backtest, backtest
from research_lab.engine.jit import FloatArray
from research_lab.engine.program import Program, Union
from research_lab.engine.slot import Compiled, CompiledUnion
from research_lab.engine.sweep import Sweep, sweep
from research_lab.engine.terms import Terms
from tests.oracles.crowded_markets import DAY_MS, N_SIZES, TimedCase
from tests.oracles.slow_broker import Signal, SlowPlan, SlowResult, SlowTerms
from tests.research_lab.engine.differential import MACRO_CODES, plan_of
from tests.research_lab.engine.tapes import Tape

NAMES = {
    code: name
    for name, code in vars(reasons).items()
    if name.isupper() and isinstance(code, int) and name != "NONE"
}
_STAND_IN = 1001.0  # the first of the numbers that a case's sizes take the place of
_CONDITIONS = 4

MINUTE_MS = 60_000  # no value here depends on the length of a bar


def played(case: TimedCase, cuts: tuple[int, ...] = ()) -> Backtest:
    """Run a case through `backtest`, in blocks."""
    borders = sorted({0, *cuts, len(case.time)})
    program = _program(case.plan.has_stop, case.plan.has_trail)
    return backtest(
        Compiled(program._replace(values=_sized(program.values, case)), plan_array(case.plan), case.step_ms),
        tape_of(case),
        terms_of(case.terms),
        regime=regime_of(case),
        start=case.start,
        blocks=list(pairwise(borders)),
    )


def swept(case: TimedCase, plans: list[SlowPlan]) -> Sweep:
    """Run a case's market through `sweep` with several plans at once, all with stop and trail or without."""
    union = _union(len(plans), plans[0].has_stop, plans[0].has_trail)
    shared = union.shared._replace(values=_sized(union.shared.values, case))
    compiled = CompiledUnion(
        union._replace(shared=shared, values=_sized(union.values, case)),
        np.stack([plan_array(plan) for plan in plans]),
        case.step_ms,
    )
    return sweep(
        [compiled],
        tape_of(case),
        terms_of(case.terms),
        regime=regime_of(case),
        start=case.start,
        n_threads=1,
    )


def tape_of(case: TimedCase) -> Tape:
    """Return the bars, with the signals in their last three rows.

    What is summed over a timeframe bar stands on its last base bar; what is taken from the last one is
    noise on the others.
    """
    bars = case.bars
    inputs = np.empty((7, len(case.time)))
    inputs[:4] = [bars.open, bars.high, bars.low, bars.close]
    inputs[4:] = [[0.0], [7.7], [80.0]]
    for members, signal in zip(case.buckets(), case.signals, strict=True):
        inputs[4:, members[-1]] = signal.trail, signal.stop, _premium(signal, case.sizes)
    return Tape(case.base_ms, np.array(case.time, np.int64), inputs, np.array(bars.funding_due))


def regime_of(case: TimedCase) -> FloatArray:
    """Return the codes of regimes and macro states together."""
    macros = case.macros or ("",) * len(case.regimes)
    return np.array(case.regimes) + 16.0 * np.array([MACRO_CODES.get(name, 0) for name in macros])


def _premium(signal: Signal, sizes: tuple[float, ...]) -> float:
    conditions = (signal.enter_long, signal.exit_long, signal.enter_short, signal.exit_short)
    digits = [2 if math.isnan(c) else int(c) for c in conditions]
    which = [repr(size) for size in sizes].index(repr(signal.size))
    return float(sum(digit * 3**k for k, digit in enumerate([*digits, which])))


def plan_array(slow: SlowPlan) -> FloatArray:
    plan = plan_of(slow)
    plan[layout.WARMUP] = slow.warmup
    return plan


def terms_of(t: SlowTerms) -> Terms:
    return Terms(**{field.name: getattr(t, field.name) for field in fields(SlowTerms)})


@cache
def _roots(has_stop: bool, has_trail: bool) -> tuple[Node | None, ...]:
    """Return the trees of the seven signals over the three rows that carry them."""
    rest = Node("input", (), LITERAL, "premium")
    digits: list[Node] = []
    for k in range(_CONDITIONS, -1, -1):
        digit, most = constant(0.0), (N_SIZES - 1 if k == _CONDITIONS else 2)
        for d in range(1, most + 1):
            reached = Node("less_equal", (constant(float(d * 3**k)), rest), CONDITION)
            digit = Node("if_else", (reached, constant(float(d)), digit), LITERAL)
        rest = Node("subtract", (rest, Node("multiply", (digit, constant(3.0**k)), LITERAL)), LITERAL)
        digits.append(digit)
    which, *conditions = digits
    nothing = Node("log", (constant(0.0),), LITERAL)
    unknown = Node("less", (constant(0.0), nothing), CONDITION)
    size = constant(_STAND_IN)
    for k in range(1, N_SIZES):
        size = Node("if_else", (_is(which, k), constant(_STAND_IN + k), size), LITERAL)
    signals = [Node("if_else", (_is(d, 2), unknown, _is(d, 1)), CONDITION) for d in reversed(conditions)]
    stop = Node("input", (), LITERAL, "funding") if has_stop else None
    trail = Node("input", (), LITERAL, "volume") if has_trail else None
    return (*signals, stop, trail, size)


def _is(digit: Node, value: int) -> Node:
    return Node("equal", (digit, constant(float(value))), CONDITION)


@cache
def _program(has_stop: bool, has_trail: bool) -> Program:
    return compiler.program_of(_roots(has_stop, has_trail), MINUTE_MS)[0]


@cache
def _union(n: int, has_stop: bool, has_trail: bool) -> Union:
    same = Template(_roots(has_stop, has_trail), (), np.empty((n, 0)), np.arange(n))
    return union_of([same], MINUTE_MS)[0]


def _sized(values: FloatArray, case: TimedCase) -> FloatArray:
    """Return a program's numbers with the case's sizes in their places."""
    sized = values.copy()
    for k, size in enumerate(case.sizes):
        sized[values == _STAND_IN + k] = size
    return sized


def difference(slow: SlowResult, fast: Backtest) -> str:
    """Say where two brokers first differ, numbers by more than 1e-9 of themselves; "" when they agree.

    Where a liquidation leaves nothing but rounding, whether that is above zero is chance: it ends there.
    """
    scale = max(map(abs, slow.equity))
    nothing_left = np.abs(np.array(slow.equity)) <= 1e-12 * scale
    end = int(np.argmax(nothing_left)) if nothing_left.any() else len(slow.equity)
    wanted = [fill for fill in slow.fills if fill.bar < end]
    got = fast.fills[fast.fills["bar"] < end]
    for fill, row in zip(wanted, got, strict=False):
        same = (fill.bar, fill.position_id, fill.reason) == (
            row["bar"], row["position_id"], NAMES[int(row["reason"])]
        )  # fmt: skip
        numbers = [fill.quantity, fill.price, fill.fee]
        if not same or not np.allclose(list(row)[3:6], numbers, rtol=1e-9, atol=0.0):
            return f"{fill}, and {row} of the engine"
    if len(wanted) != got.shape[0]:
        return f"{len(wanted)} fills, and {got.shape[0]} of the engine"
    most = max(map(abs, slow.position))
    for name, ours, theirs, unit in (
        ("equity", slow.equity, fast.equity, scale), ("position", slow.position, fast.position, most),
    ):  # fmt: skip
        apart = ~(np.abs(np.array(ours) - theirs)[:end] <= 1e-9 * unit)
        if apart.any():
            bar = int(np.argmax(apart))
            return f"{name} at bar {bar}: {ours[bar]!r}, and {theirs[bar]!r} of the engine"
    for bar, decision in enumerate(slow.decisions[:end]):
        if NAMES[int(fast.reason[bar])] != decision:
            return f"decision at bar {bar}: {decision}, and {NAMES[int(fast.reason[bar])]} of the engine"
    return ""


def swept_difference(case: TimedCase, slow: SlowResult, found: Sweep, k: int) -> str:
    """Say where strategy k of a sweep earned other daily returns than the slow broker; "" when it did not."""
    last: dict[int, float] = {}
    for i in range(case.start, len(case.time)):
        last[case.time[i] // DAY_MS] = slow.equity[i]
    worth, before = 1.0, 1.0
    for column, day in enumerate(range(found.first_day, found.first_day + found.daily_returns.shape[1])):
        before, worth = worth, last.get(day, worth)
        if before <= 1e-9:
            return ""
        if abs(found.daily_returns[k, column] - (worth / before - 1.0)) > 1e-9 * max(1.0, 1.0 / before):
            return f"day {day}: {worth / before - 1.0!r}, and {found.daily_returns[k, column]!r} of the sweep"
    return ""
