"""Strategies that trade in a world while it is made: what they order at a close decides the drift of the next bar.

Each goes through the engine itself, bar by bar, so it knows no more than it could. Several stand in one table,
side by side, each with a memory of its own; they meet only in the price.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from research_lab.bars import INPUTS, Bars, FloatArray, IntArray
from research_lab.engine import layout, reasons
from research_lab.engine.backtest import refuse_unfit, regime_codes
from research_lab.engine.jit import inlined_kernel, kernel
from research_lab.engine.slot import BOOK_AT, PROGRAM_AT, Compiled, advance_slot
from research_lab.engine.terms import Terms
from research_lab.market_data.worlds import FIRST_PRICE, Weather, walk_bar


class _Traders(NamedTuple):
    """Strategies in tables that are as long as the longest of them, and how long each one is.

    Parameters
    ----------
    code, values, outputs, plans, state, registers : as in `advance_slot`, with one axis more, that of strategies.
    lengths : (n, 4) rows of code, values, cells of state, registers. step_ms : (n,) timeframes.
    """

    code: IntArray
    values: FloatArray
    outputs: IntArray
    plans: FloatArray
    state: FloatArray
    registers: FloatArray
    lengths: IntArray
    step_ms: IntArray

    @classmethod
    def of(cls, strategies: Sequence[Compiled]) -> _Traders:
        """Return strategies before their first bar."""
        programs, states = [one.program for one in strategies], [one.new_state() for one in strategies]
        sizes = [
            (len(p.code), len(p.values), len(s), p.n_registers) for p, s in zip(programs, states, strict=True)
        ]
        return cls(
            _stacked([p.code for p in programs]),
            _stacked([p.values for p in programs]),
            np.stack([p.outputs for p in programs]),
            np.stack([one.plan for one in strategies]),
            _stacked(states),
            np.zeros((len(programs), max(p.n_registers for p in programs), 2)),
            np.array(sizes, dtype=np.int64),
            np.array([one.step_ms for one in strategies], dtype=np.int64),
        )


def _stacked(tables: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return tables of different lengths as one, with zeros behind the shorter ones."""
    longest = max(len(table) for table in tables)
    found = np.zeros((len(tables), longest, *tables[0].shape[1:]), dtype=tables[0].dtype)
    for out, table in zip(found, tables, strict=True):
        out[: len(table)] = table
    return found


def walk(
    weather: Weather, empty: Bars, strategies: Sequence[Compiled], terms: Terms, drift: FloatArray
) -> FloatArray:
    """Write a world's prices into bars that have none, and return the equity of each strategy after each bar.

    Parameters
    ----------
    empty : (n,) bars with volume and funding. In place.
    strategies : on one hour, reading no regimes and no series but the market's.
    drift : (n_strategies, n) added to each step while a strategy is long, taken off while it is short.

    Returns
    -------
    array of shape (n_strategies, n)

    Raises
    ------
    ValueError
        Bars, weather and drift differ in length, a strategy reads a series, or its bars cannot be made.
    """
    for strategy in strategies:
        refuse_unfit(empty, strategy.step_ms)
        if strategy.program.series:
            raise ValueError(f"a made world has no {strategy.program.series[0]}")
    if drift.shape != (len(strategies), empty.n) or weather.steps.shape[0] != empty.n:
        raise ValueError(f"drift {drift.shape} and {weather.steps.shape[0]} steps for {empty.n} bars")
    equity = np.empty(drift.shape)
    traders = _Traders.of(strategies)
    _walk(
        weather.steps,
        weather.gaps,
        np.ascontiguousarray(drift.T),
        FIRST_PRICE,
        *traders,
        terms.array(),
        weather.step_ms,
        np.zeros(2, np.int64),
        np.full((len(INPUTS), 1), np.nan),
        empty.time,
        empty.funding_due,
        regime_codes(None, empty),
        np.empty(0),
        np.empty(0, np.int64),
        np.empty((0, layout.FILL_SIZE)),
        np.zeros(len(strategies)),
        equity,
        empty.inputs,
    )
    return equity


@kernel
def _walk(
    steps: FloatArray,
    gaps: FloatArray,
    drift: FloatArray,
    price: float,
    code: IntArray,
    values: FloatArray,
    outputs: IntArray,
    plans: FloatArray,
    state: FloatArray,
    registers: FloatArray,
    lengths: IntArray,
    step_ms: IntArray,
    terms: FloatArray,
    base_ms: int,
    emitted_at: IntArray,
    bar: FloatArray,
    time: IntArray,
    funding_due: FloatArray,
    regime: FloatArray,
    no_positions: FloatArray,
    no_reasons: IntArray,
    no_fills: FloatArray,
    sides: FloatArray,
    equity: FloatArray,
    candles: FloatArray,
) -> None:
    """Walk from `price`, strategies trading along; what is not described here is as in `advance_slot`.

    Parameters
    ----------
    steps, gaps : as in `Weather`. drift : (n, n_strategies).
    code to step_ms : as in `_Traders`.
    bar : (7, 1) scratch. sides : (n_strategies,) scratch, zeros. equity : (n_strategies, n) out.
    candles : (7, n), of which volume and funding are given and prices are written.
    """
    for t in range(steps.shape[0]):
        if t > 0:
            price *= 1.0 + gaps[t]
        towards = 0.0
        for k in range(sides.shape[0]):
            towards += sides[k] * drift[t, k]
        price = walk_bar(steps[t], towards, price, candles, t)
        for row in range(bar.shape[0]):
            bar[row, 0] = candles[row, t]
        for k in range(sides.shape[0]):
            n_code, n_values, n_state, n_registers = lengths[k]
            own = state[k, :n_state]
            advance_slot(
                code[k, :n_code], values[k, :n_values], outputs[k], plans[k], terms, base_ms, step_ms[k],
                own, registers[k, :n_registers], emitted_at, time[t : t + 1], bar,
                funding_due[t : t + 1], regime[t : t + 1], t, 0, reasons.NONE,
                equity[k, t : t + 1], no_positions, no_reasons, no_fills,
            )  # fmt: skip
            sides[k] = _wanted_side(own[BOOK_AT:PROGRAM_AT])


@inlined_kernel
def _wanted_side(book: FloatArray) -> float:
    """Return the side that a strategy will have at the next open: 1, -1, or 0."""
    if book[layout.PENDING_SIDE] != 0.0:
        return float(book[layout.PENDING_SIDE])
    if book[layout.PENDING_EXIT] != 0.0 or book[layout.QUANTITY] == 0.0:
        return 0.0
    return math.copysign(1.0, book[layout.QUANTITY])
