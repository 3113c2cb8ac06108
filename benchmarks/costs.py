"""Where the time goes: each instruction, the broker, the metrics, the compilation of strategies."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import markets, work_a, work_b
from benchmarks.results import Figure, Result, in_turns
from research_lab.dsl.registry import CLOSING_TIME, FUNCTIONS, OPERATOR_CODES, Function
from research_lab.dsl.spec import compile_spec, compile_union
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import broker, layout, metrics, program, reasons
from research_lab.engine.backtest import backtest
from research_lab.engine.slot import BLOCK, block_of, cut_into_blocks

WINDOW = 20
_CONDITION, _OTHER_CONDITION, _OUT = program.N_INPUTS, program.N_INPUTS + 1, program.N_INPUTS + 2
_CONDITIONS = ("and", "or", "not")


def _nanoseconds(work: Callable[[], Any], n_bars: int, repeats: int) -> float:
    """Return the median nanoseconds a bar of a call that takes `n_bars`."""
    work()
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        for _ in range(20):
            work()
        taken.append((time.perf_counter() - begun) / 20)
    return statistics.median(taken) / n_bars * 1e9


def instructions(repeats: int = 15) -> dict[str, float]:
    """Return the nanoseconds a bar of each instruction of the registry, in blocks of 2,048."""
    registers = np.zeros((_OUT + 1, BLOCK))
    made = markets.made(BLOCK)
    registers[: program.N_MARKET] = made.inputs
    registers[program.CLOSING_TIME] = made.time + made.step_ms
    registers[_CONDITION] = registers[3] > registers[0]
    registers[_OTHER_CONDITION] = registers[3] > np.median(registers[3])
    found = {"constant": _one(program.CONSTANT, (), 0, 1.0, registers, repeats)}
    for name, op in OPERATOR_CODES.items():
        reads = (_CONDITION, _OTHER_CONDITION) if name in _CONDITIONS else (3, 0)
        found[name] = _one(op, reads, 0, 0.0, registers, repeats)
    for function in FUNCTIONS.values():
        if function.opcode >= 0:
            given = _reads(function), WINDOW, function.constant(WINDOW, 0.5)
            found[function.name] = _one(function.opcode, *given, registers, repeats)
    return found


def _reads(function: Function) -> tuple[int, ...]:
    """Return the registers a function reads: the time where it asks for it, prices for the rest."""
    if function.reads is not None:
        return tuple(
            program.CLOSING_TIME if CLOSING_TIME in text else k
            for k, text in zip((1, 2, 3, 0), function.reads, strict=False)
        )
    numbers = iter((3, 0, 1))
    return tuple(
        _CONDITION if a.kind == "condition" else next(numbers)
        for a in function.arguments
        if a.kind in ("number", "condition")
    )


def _one(op: int, reads: tuple[int, ...], window: int, value: float, registers: Any, repeats: int) -> float:
    code = np.zeros((1, program.N_COLUMNS), np.int64)
    code[0, program.OP], code[0, program.OUT], code[0, program.WINDOW] = op, _OUT, window
    for column, read in zip(program.READ_COLUMNS, reads, strict=False):
        code[0, column] = read
    values = np.array([value])
    state = np.zeros(program.state_size(op, window) + 1)
    return _nanoseconds(lambda: program.advance(code, values, state, registers, BLOCK), BLOCK, repeats)


def _strategy(text: str, n_bars: int, repeats: int) -> tuple[float, float]:
    """Return the nanoseconds a bar of a whole backtest, and of its program alone."""
    strategy, bars = compile_spec(parse_spec(text)), markets.made(n_bars, seed=2)
    whole = in_turns({"whole": lambda: backtest(strategy, bars, work_b.TERMS)}, repeats)["whole"]
    table, state = strategy.program, strategy.program.new_state()
    registers = table.new_registers(BLOCK)
    registers[: program.N_MARKET, :BLOCK] = bars.inputs[:, :BLOCK]
    registers[program.CLOSING_TIME, :BLOCK] = bars.time[:BLOCK] + bars.step_ms
    alone = _nanoseconds(
        lambda: program.advance(table.code, table.values, state, registers, BLOCK), BLOCK, repeats
    )
    return whole / n_bars * 1e9, alone


def _broker(text: str, n_bars: int, repeats: int) -> float:
    """Return the nanoseconds a bar of the broker alone, block after block of a run, fills not recorded."""
    strategy, bars = compile_spec(parse_spec(text)), markets.made(n_bars, seed=2)
    table, terms = strategy.program, work_b.TERMS.array()
    nothing = np.zeros(BLOCK)
    registers, emitted_at = table.new_registers(BLOCK), np.arange(BLOCK)
    no_fills, reason = np.empty((0, layout.FILL_SIZE)), np.empty(BLOCK, np.int64)
    equity, position = np.empty(BLOCK), np.empty(BLOCK)
    taken = []
    for _ in range(repeats + 1):
        book, memory, seconds = np.empty(layout.BOOK_SIZE), table.new_state(), 0.0
        layout.open_book(book, 1.0)
        for first, last in cut_into_blocks(n_bars):
            n = last - first
            inputs = block_of(bars.inputs, first, last)
            registers[: program.N_MARKET, :n] = inputs
            program.advance(table.code, table.values, memory, registers, n)
            begun = time.perf_counter()
            broker.step(
                book, strategy.plan, terms, inputs, nothing[:n], nothing[:n], registers,
                table.outputs, emitted_at, n, first, 0, reasons.NONE, equity[:n], position[:n], reason[:n], no_fills,
            )  # fmt: skip
            seconds += time.perf_counter() - begun
        taken.append(seconds)
    return statistics.median(taken[1:]) / n_bars * 1e9


def measure(n_bars: int, repeats: int) -> Result:
    """Return the parts of the cost of works A and B and of each instruction."""
    accumulators, out = (
        np.zeros(metrics.SIZE),
        np.exp(np.cumsum(np.random.default_rng(1).normal(0, 1e-3, BLOCK))),
    )
    metrics.begin(accumulators, 1.0)
    counted = _nanoseconds(lambda: metrics.accumulate(accumulators, out), BLOCK, 15)
    figures = [Figure("metrics while a position is held", counted, "ns a bar", more=False)]
    for name, text in (("A", work_a.TEXT.format(timeframe="15m")), ("B", work_b.TEXT)):
        whole, alone = _strategy(text, n_bars, repeats)
        figures += [
            Figure(f"strategy {name}, whole backtest", whole, "ns a bar", more=False),
            Figure(f"strategy {name}, its program alone", alone, "ns a bar", more=False),
            Figure(f"strategy {name}, broker alone", _broker(text, n_bars, repeats), "ns a bar", more=False),
        ]
    for name, specs in (("A", work_a.strategies()), ("B", work_b.strategies())):
        seconds = in_turns({"compile": lambda specs=specs: compile_union(specs)}, 3)["compile"]  # type: ignore[misc]
        union = compile_union(specs).union
        figures += [
            Figure(f"work {name}, compile {len(specs)} strategies into one", seconds * 1e3, "ms", more=False),
            Figure(
                f"work {name}, instructions shared", float(union.shared.code.shape[0]), "rows", more=False
            ),
            Figure(
                f"work {name}, instructions of one alone",
                union.code.shape[0] / len(specs),
                "rows",
                more=False,
            ),
        ]
    found = instructions()
    rows = sorted(found.items(), key=lambda item: -item[1])
    return Result(
        "costs",
        f"Where the time goes: instructions over blocks of {BLOCK:,} bars, windows of {WINDOW}",
        tuple(figures),
        table=(("instruction", "ns a bar"), *((name, f"{cost:.2f}") for name, cost in rows)),
    )
