"""A backtest: one slot advanced over all bars in blocks, with its fills, trades and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from research_lab.engine import layout, metrics, reasons
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.program import N_INPUTS, Program
from research_lab.engine.slot import (
    BLOCK,
    BOOK_AT,
    PROGRAM_AT,
    Compiled,
    CompiledRegimes,
    advance_regimes,
    advance_slot,
    block_of,
    clocks_of,
    covering,
    cut_into_blocks,
)
from research_lab.engine.terms import Terms

FILL: Final = np.dtype(
    [
        ("bar", np.int64),
        ("position_id", np.int64),
        ("reason", np.int64),
        ("quantity", np.float64),
        ("price", np.float64),
        ("fee", np.float64),
        ("stop_distance", np.float64),
    ]
)
TRADE: Final = np.dtype(
    [
        ("entry_bar", np.int64),
        ("exit_bar", np.int64),
        ("side", np.int64),
        ("quantity", np.float64),
        ("entry_price", np.float64),
        ("exit_price", np.float64),
        ("pnl", np.float64),
        ("r", np.float64),
        ("bars", np.int64),
        ("reason", np.int64),
    ]
)


class Tape(Protocol):
    """What the engine reads of a candle table; `research_lab.bars.Bars` is one."""

    @property
    def step_ms(self) -> int: ...
    @property
    def time(self) -> IntArray: ...
    @property
    def inputs(self) -> FloatArray: ...
    @property
    def funding_due(self) -> FloatArray: ...
    def rows(self, series: Sequence[str] = ()) -> FloatArray:
        """Return the market's seven rows, and behind them those of some external series."""


@dataclass(frozen=True, eq=False)
class Backtest:
    """What a run did.

    Parameters
    ----------
    equity, position : (n_bars,) value and signed quantity after each bar.
    reason : (n_bars,) what was decided at each close, codes of `engine.reasons`.
    fills, trades : structured arrays of `FILL` and `TRADE`; money in quote currency, pnl after fees
        (funding is in the equity, not in a trade's pnl).
    metrics : by the names of `engine.metrics.NAMES`, over the bars from `start` on.
    start : first bar on which an entry could be decided.
    state : the slot's state after the last bar.
    """

    equity: FloatArray
    position: FloatArray
    reason: IntArray
    fills: NDArray[np.void]
    trades: NDArray[np.void]
    metrics: dict[str, float]
    start: int
    state: FloatArray


def makes_whole_bars(base_ms: int, step_ms: int) -> bool:
    """Whether bars of `base_ms` make bars of `step_ms`: it is as long, or a multiple."""
    return base_ms <= step_ms and step_ms % base_ms == 0


def inputs_of(program: Program, tape: Tape) -> FloatArray:
    """Return the rows of a tape that a program reads: the market's, and its external series in its own order.

    Every run takes them from here, since kernels write one register a row and check nothing.

    Raises
    ------
    ValueError
        The tape's arrays do not fit each other or the program's registers.
    """
    rows, n = tape.rows(program.series), tape.time.shape[0]
    if rows.shape != (program.n_rows, n) or tape.funding_due.shape != (n,):
        raise ValueError(
            f"inputs {rows.shape} and funding {tape.funding_due.shape} for {n} bars; wanted "
            f"{(program.n_rows, n)} and {(n,)}"
        )
    if program.n_registers < N_INPUTS + len(program.series):
        raise ValueError(f"{program.n_registers} registers for {program.n_rows} rows and the closing time")
    return rows


def refuse_unfit(tape: Tape, step_ms: int, regime: FloatArray | None = None, start: int = 0) -> None:
    """Refuse a run whose bars, regime codes or first bar do not fit.

    Raises
    ------
    ValueError
        The bars make none of `step_ms`, there is not one code a bar, or `start` is no bar.
    """
    n = tape.time.shape[0]
    if not makes_whole_bars(tape.step_ms, step_ms):
        raise ValueError(f"bars of {tape.step_ms} ms make no bars of {step_ms} ms")
    if not 0 <= start <= n:
        raise ValueError(f"start is bar {start} of {n}")
    if regime is not None and regime.shape != (n,):
        raise ValueError(f"regime codes must have one cell for each of {n} bars")


def regime_codes(regimes: CompiledRegimes | None, tape: Tape, block: int = BLOCK) -> FloatArray:
    """Return the regime's code after each base bar, with the macro state in it where there are such.

    Without regimes all are 0. Where no condition is true or known a clock has its code for that, which is
    everywhere on a tape whose bars do not make its own.
    """
    codes = np.zeros(tape.time.shape[0])
    for clock in clocks_of(regimes):
        codes += _codes_of(clock, tape, block)
    return codes


def _codes_of(regimes: CompiledRegimes, tape: Tape, block: int) -> FloatArray:
    n = tape.time.shape[0]
    codes = np.zeros(n)
    if not makes_whole_bars(tape.step_ms, regimes.step_ms):
        return codes + regimes.unknown
    state = regimes.new_state()
    inputs = inputs_of(regimes.program, tape)
    registers = regimes.program.new_registers(block + 1)
    emitted_at = np.zeros(block + 1, np.int64)
    for first, last in cut_into_blocks(n, block):
        advance_regimes(
            regimes.program.code,
            regimes.program.values,
            regimes.program.outputs,
            regimes.codes,
            regimes.warmup,
            tape.step_ms,
            regimes.step_ms,
            state,
            registers,
            emitted_at,
            tape.time[first:last],
            block_of(inputs, first, last),
            codes[first:last],
        )
    return np.where(codes == 0.0, float(regimes.unknown), codes)


def backtest(
    strategy: Compiled,
    tape: Tape,
    terms: Terms,
    *,
    regime: FloatArray | None = None,
    start: int = 0,
    blocks: Iterable[tuple[int, int]] | None = None,
) -> Backtest:
    """Run a strategy over a tape.

    Parameters
    ----------
    strategy : compiled. tape : bars on the base grid, whose step is not longer than the strategy's.
    terms : costs and rules.
    regime : (n_bars,) regime codes; None when regimes are not known.
    start : first bar on which an entry may be decided; earlier bars only warm up.
    blocks : borders of the blocks; any cut gives the same bits.

    Raises
    ------
    ValueError
        Something does not fit: see `inputs_of`, `refuse_unfit` and `slot.covering`.
    """
    n = tape.time.shape[0]
    refuse_unfit(tape, strategy.step_ms, regime, start)
    cuts = cut_into_blocks(n) if blocks is None else covering(blocks, n)
    widest = max((last - first for first, last in cuts), default=0)
    codes = np.zeros(n) if regime is None else regime
    state = strategy.new_state()
    inputs = inputs_of(strategy.program, tape)
    registers = strategy.program.new_registers(widest + 1)
    emitted_at = np.zeros(widest + 1, np.int64)
    equity, position = np.empty(n), np.empty(n)
    reason = np.empty(n, np.int64)
    buffer = np.empty((widest * layout.MAX_FILLS_PER_BAR, layout.FILL_SIZE))
    kept: list[FloatArray] = []
    for first, last in cuts:
        n_fills = advance_slot(
            strategy.program.code,
            strategy.program.values,
            strategy.program.outputs,
            strategy.plan,
            terms.array(),
            tape.step_ms,
            strategy.step_ms,
            state,
            registers,
            emitted_at,
            tape.time[first:last],
            block_of(inputs, first, last),
            tape.funding_due[first:last],
            codes[first:last],
            first,
            start,
            reasons.NONE,
            equity[first:last],
            position[first:last],
            reason[first:last],
            buffer,
        )
        kept.append(buffer[:n_fills].copy())
    fills = to_fills(np.concatenate(kept) if kept else np.empty((0, layout.FILL_SIZE)))
    return Backtest(
        equity,
        position,
        reason,
        fills,
        trades_of(fills),
        _metrics(equity, state[BOOK_AT:PROGRAM_AT], tape.step_ms, start),
        start,
        state,
    )


def to_fills(records: FloatArray) -> NDArray[np.void]:
    """Return fill records of the broker as a structured array of `FILL`."""
    fills = np.empty(records.shape[0], FILL)
    for column, name in enumerate(FILL.names or ()):
        fills[name] = records[:, column]
    return fills


def trades_of(fills: NDArray[np.void]) -> NDArray[np.void]:
    """Return one row a finished position, from its fills; exit prices are averages by quantity."""
    if fills.shape[0] == 0:
        return np.empty(0, TRADE)
    first = np.flatnonzero(np.diff(fills["position_id"], prepend=-1))
    last = np.append(first[1:], fills.shape[0]) - 1
    entry = fills[first]
    cash = np.add.reduceat(-fills["quantity"] * fills["price"], first)
    left = np.add.reduceat(fills["quantity"], first)
    fees = np.add.reduceat(fills["fee"], first)
    trades = np.empty(first.shape[0], TRADE)
    trades["entry_bar"], trades["exit_bar"] = entry["bar"], fills["bar"][last]
    trades["side"] = np.sign(entry["quantity"])
    trades["quantity"], trades["entry_price"] = np.abs(entry["quantity"]), entry["price"]
    trades["exit_price"] = cash / entry["quantity"] + entry["price"]
    trades["pnl"] = cash - fees
    trades["r"] = trades["pnl"] / (entry["stop_distance"] * trades["quantity"])
    trades["bars"] = trades["exit_bar"] - trades["entry_bar"]
    trades["reason"] = fills["reason"][last]
    return trades[np.abs(left) <= 1e-9 * trades["quantity"]]


def _metrics(equity: FloatArray, book: FloatArray, base_ms: int, start: int) -> dict[str, float]:
    accumulators = np.zeros(metrics.SIZE)
    metrics.begin(accumulators, 1.0)
    metrics.accumulate(accumulators, equity[start:])
    out = np.empty(len(metrics.NAMES))
    metrics.summarise(accumulators, book, base_ms, out)
    return dict(zip(metrics.NAMES, out.tolist(), strict=True))


def daily_equity(time: IntArray, equity: FloatArray, start: int = 0) -> tuple[int, FloatArray]:
    """Return the first UTC day (days since 1970) and the equity at each day's last close.

    A day without a bar keeps the equity of the day before.
    """
    days = time[start:] // metrics.DAY_MS
    first_day = int(days[0])
    index = np.searchsorted(days, np.arange(first_day, int(days[-1]) + 1), side="right") - 1
    return first_day, equity[start:][index]


def daily_returns(time: IntArray, equity: FloatArray, start: int = 0) -> tuple[int, FloatArray]:
    """Return the first UTC day and the return of each day, the first against a capital of 1."""
    first_day, worth = daily_equity(time, equity, start)
    before = np.concatenate([[1.0], worth[:-1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.where(before > 0.0, worth / before - 1.0, 0.0)
    return first_day, returns
