"""The program: a flat table of instructions over registers, advanced block by block.

Registers 0 to 6 are the market's inputs (open, high, low, close, volume, funding, premium), register 7 the
time at which the bar closes, those behind it external series; each instruction writes one more. Its memory
is a slice of one flat float64 state array.

Instructions between `TF_OPEN` and `TF_CLOSE` run over longer bars, gathered from the program's own: such a
section has input registers of its own, and `TF_HOLD` carries what it computed back to the program's bars.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from research_lab.engine import (
    accumulation,
    averages,
    buckets,
    clock,
    conditions,
    extremes,
    moments,
    order_statistics,
    pointwise,
    trends,
)
from research_lab.engine.jit import BoolArray, FloatArray, IntArray, kernel

N_MARKET: Final = buckets.N_MARKET
CLOSING_TIME: Final = buckets.CLOSING_TIME
N_INPUTS: Final = buckets.N_INPUTS

# Columns of the instruction table.
OP: Final = 0
OUT: Final = 1
A: Final = 2
B: Final = 3
C: Final = 4
STATE: Final = 5
WINDOW: Final = 6
D: Final = 7
N_COLUMNS: Final = 8
READ_COLUMNS: Final = (A, B, C, D)

# Opcodes are stored on disk: numbers are append-only.
CONSTANT: Final = 0
ADD: Final = 1
SUBTRACT: Final = 2
MULTIPLY: Final = 3
DIVIDE: Final = 4
NEGATE: Final = 5
ABS: Final = 6
LOG: Final = 7
SQRT: Final = 8
MIN: Final = 9
MAX: Final = 10
LESS: Final = 11
LESS_EQUAL: Final = 12
EQUAL: Final = 13
AND: Final = 14
OR: Final = 15
NOT: Final = 16
IF_ELSE: Final = 17
COALESCE: Final = 18
PREV: Final = 19
EMA: Final = 20
RMA: Final = 21
ROLLING_SUM: Final = 22
STD: Final = 23
SLOPE: Final = 24
HIGHEST: Final = 25
QUANTILE: Final = 26
CROSSES_ABOVE: Final = 27
BARS_SINCE: Final = 28
TRUE_RANGE: Final = 29
DIRECTIONAL_MOVE: Final = 30
KAMA: Final = 31
EWM_STD: Final = 32
SKEW: Final = 33
COMOMENT: Final = 34
MAD: Final = 35
RANK: Final = 36
BARS_SINCE_HIGHEST: Final = 37
SIGN: Final = 41
EXP: Final = 42
POWER: Final = 43
RUNNING_SUM: Final = 44
DAY_SUM: Final = 45
LATCH: Final = 46
HELD_FOR: Final = 47
CLOCK: Final = 48
SUPERTREND: Final = 49
PARABOLIC: Final = 50
# Higher bars. TF_OPEN gathers the input registers into those from OUT to before A, and notes in A which bar
# completed each; WINDOW is the length of a higher bar in ms, the value that of the program's own. TF_HOLD
# carries A back to the program's bars by the notes in B.
TF_OPEN: Final = 61
TF_HOLD: Final = 62
TF_CLOSE: Final = 63
CROSSES: Final = 64  # two crossings at once: writes the register in column D as well

NAN = math.nan


class Program(NamedTuple):
    """A compiled set of expressions.

    Parameters
    ----------
    code : (n_instructions, 8) int64: opcode, register written, three read, place of the state, window in
        bars, a fourth register read.
    values : (n_instructions,) float64: a constant, a divisor, a share, a sign, an exponent or a choice, where
        one is needed.
    outputs : (n_outputs,) int64: the register of each output; -1 for one that is absent.
    n_registers, n_state : cells needed.
    series : what each input register behind the closing time holds, as the tape names it.
    """

    code: IntArray
    values: FloatArray
    outputs: IntArray
    n_registers: int
    n_state: int
    series: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Rows of a tape that it reads: the market's, and one for each external series."""
        return N_MARKET + len(self.series)

    def new_state(self) -> FloatArray:
        return np.zeros(self.n_state)

    def new_registers(self, width: int) -> FloatArray:
        """Return room for `width` bars, and for the one more that higher bars may be."""
        return np.zeros((self.n_registers, width + 1))

    def on_own_bars(self) -> BoolArray:
        """Return which registers hold values by the program's own bars, rather than by higher bars."""
        own = np.ones(self.n_registers, np.bool_)
        inside = False
        for row in self.code:
            if row[OP] in (TF_OPEN, TF_CLOSE):
                inside = row[OP] == TF_OPEN
                own[row[OUT] : row[A] + 1] &= not inside
            elif inside and row[OP] != TF_HOLD:
                own[row[OUT]] = False
        return own


def state_size(op: int, window: int) -> int:
    """Return the cells of state that one instruction needs; the layout stands with its kernel."""
    if op in (EMA, RMA, BARS_SINCE, TRUE_RANGE, TF_HOLD):
        return 2
    if op == TF_OPEN:
        return buckets.SIZE
    if op in (CROSSES_ABOVE, CROSSES, DIRECTIONAL_MOVE):
        return 3
    if op == PREV:
        return 2 + window
    if op == ROLLING_SUM:
        return 7 + window
    if op in (STD, SLOPE):
        return 8 + window
    if op in (HIGHEST, BARS_SINCE_HIGHEST):
        return 3 + 2 * window
    if op == QUANTILE:
        return 2 + 3 * window
    if op == KAMA:
        return 6 + window
    if op == EWM_STD:
        return 3
    if op == SKEW:
        return 10 + window
    if op == COMOMENT:
        return 16 + 2 * window
    if op == MAD:
        return order_statistics.cells(window, order_statistics.ADDED)
    if op == RANK:
        return order_statistics.cells(window, order_statistics.COUNTED)
    if op in (RUNNING_SUM, LATCH):
        return 2
    if op == HELD_FOR:
        return 3
    if op in (DAY_SUM, SUPERTREND):
        return 4
    if op == PARABOLIC:
        return 7
    return 0


@kernel
def advance(code: IntArray, values: FloatArray, state: FloatArray, registers: FloatArray, n: int) -> None:
    """Advance every instruction over the first n bars of the registers, in order.

    Parameters
    ----------
    code, values : as in `Program`.
    state : (n_state,) float64, in place: zeros at the first bar.
    registers : (n_registers, at least n, with higher bars n + 1) float64, in place: the inputs are given in
        the first rows.
    """
    n_own = n
    for k in range(code.shape[0]):
        op = code[k, OP]
        out = registers[code[k, OUT], :n]
        a = registers[code[k, A], :n]
        b = registers[code[k, B], :n]
        memory = state[code[k, STATE] :]
        window = code[k, WINDOW]
        value = values[k]
        if op == CONSTANT:
            for t in range(n):
                out[t] = value
        elif op == ADD:
            for t in range(n):
                out[t] = pointwise.known(a[t] + b[t])
        elif op == SUBTRACT:
            for t in range(n):
                out[t] = pointwise.known(a[t] - b[t])
        elif op == MULTIPLY:
            for t in range(n):
                out[t] = pointwise.known(a[t] * b[t])
        elif op == DIVIDE:
            for t in range(n):
                out[t] = pointwise.known(a[t] / b[t])
        elif op == NEGATE:
            for t in range(n):
                out[t] = -a[t]
        elif op == ABS:
            for t in range(n):
                out[t] = abs(a[t])
        elif op == LOG:
            for t in range(n):
                out[t] = math.log(a[t]) if a[t] > 0.0 else NAN
        elif op == SQRT:
            for t in range(n):
                out[t] = pointwise.known(math.sqrt(a[t]))
        elif op == MIN:
            for t in range(n):
                out[t] = NAN if math.isnan(a[t]) or math.isnan(b[t]) else min(a[t], b[t])
        elif op == MAX:
            for t in range(n):
                out[t] = NAN if math.isnan(a[t]) or math.isnan(b[t]) else max(a[t], b[t])
        elif op == LESS:
            for t in range(n):
                out[t] = pointwise.truth(a[t] < b[t], a[t], b[t])
        elif op == LESS_EQUAL:
            for t in range(n):
                out[t] = pointwise.truth(a[t] <= b[t], a[t], b[t])
        elif op == EQUAL:
            for t in range(n):
                out[t] = pointwise.truth(a[t] == b[t], a[t], b[t])
        elif op == AND:
            for t in range(n):
                out[t] = pointwise.both(a[t], b[t])
        elif op == OR:
            for t in range(n):
                out[t] = pointwise.either(a[t], b[t])
        elif op == NOT:
            for t in range(n):
                out[t] = 1.0 - a[t]
        elif op == IF_ELSE:
            c = registers[code[k, C], :n]
            for t in range(n):
                if math.isnan(a[t]):
                    out[t] = NAN
                else:
                    out[t] = b[t] if a[t] == 1.0 else c[t]
        elif op == COALESCE:
            for t in range(n):
                out[t] = b[t] if math.isnan(a[t]) else a[t]
        elif op == PREV:
            pointwise.prev(memory, a, out, window)
        elif op == EMA:
            averages.ema(memory, a, out, window)
        elif op == RMA:
            averages.rma(memory, a, out, window)
        elif op == ROLLING_SUM:
            averages.rolling_sum(memory, a, out, window, value)
        elif op == STD:
            moments.std(memory, a, out, window, value)
        elif op == SLOPE:
            averages.slope(memory, a, out, window)
        elif op == HIGHEST:
            extremes.highest(memory, a, out, window, value)
        elif op == QUANTILE:
            extremes.quantile(memory, a, out, window, value)
        elif op == CROSSES_ABOVE:
            pointwise.crosses_above(memory, a, b, out)
        elif op == CROSSES:
            pointwise.crosses(memory, a, b, out, registers[code[k, D], :n])
        elif op == BARS_SINCE:
            pointwise.bars_since(memory, a, out)
        elif op == TRUE_RANGE:
            c = registers[code[k, C], :n]
            pointwise.true_range(memory, a, b, c, out)
        elif op == DIRECTIONAL_MOVE:
            pointwise.directional_move(memory, a, b, out, value)
        elif op == KAMA:
            averages.kama(memory, a, out, window)
        elif op == EWM_STD:
            moments.ewm_std(memory, a, out, window)
        elif op == SKEW:
            moments.skew(memory, a, out, window)
        elif op == COMOMENT:
            moments.comoment(memory, a, b, out, window, value)
        elif op == MAD:
            order_statistics.mad(memory, a, out, window)
        elif op == RANK:
            order_statistics.rank(memory, a, out, window)
        elif op == BARS_SINCE_HIGHEST:
            extremes.bars_since_highest(memory, a, out, window, value)
        elif op == SIGN:
            for t in range(n):
                out[t] = pointwise.sign(a[t])
        elif op == EXP:
            for t in range(n):
                out[t] = pointwise.known(math.exp(a[t]))
        elif op == POWER:
            for t in range(n):
                out[t] = pointwise.power(a[t], int(value))
        elif op == RUNNING_SUM:
            accumulation.running_sum(memory, a, out)
        elif op == DAY_SUM:
            accumulation.day_sum(memory, a, b, out)
        elif op == LATCH:
            conditions.latch(memory, a, b, out)
        elif op == HELD_FOR:
            conditions.held_for(memory, a, out, window)
        elif op == CLOCK:
            clock.clock(a, out, int(value))
        elif op == SUPERTREND:
            c = registers[code[k, C], :n]
            trends.supertrend(memory, a, b, c, out, value)
        elif op == PARABOLIC:
            c = registers[code[k, C], :n]
            d = registers[code[k, D], :n]
            trends.parabolic(memory, a, b, c, d, out, value)
        elif op == TF_OPEN:
            block = registers[code[k, OUT] : code[k, A]]
            n = buckets.gather(memory, registers, n_own, int(value), window, block, registers[code[k, A]])
        elif op == TF_HOLD:
            buckets.hold(memory, a, registers[code[k, B]], n, registers[code[k, OUT], :n_own])
        elif op == TF_CLOSE:
            n = n_own


class Union(NamedTuple):
    """Many strategies as one program: what several share stands once, what differs once each.

    Parameters
    ----------
    shared : the instructions that at least two strategies need; no outputs of its own.
    code, values : the other instructions of all strategies, one strategy after the other. A register
        below `shared.n_registers` is a shared one; others are private and begin there anew.
    rows : (n_strategies + 1,) int64, where each strategy's instructions begin.
    outputs : (n_strategies, n_outputs) int64 registers, -1 for absent.
    state_at : (n_strategies + 1,) int64, where each strategy's private state begins.
    n_private : registers that the largest strategy needs of its own.
    """

    shared: Program
    code: IntArray
    values: FloatArray
    rows: IntArray
    outputs: IntArray
    state_at: IntArray
    n_private: int
