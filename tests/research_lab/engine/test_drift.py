"""After millions of bars a rolling value is that of its window: what rounding loses does not add up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from research_lab.engine import program
from research_lab.engine.jit import FloatArray
from research_lab.engine.program import N_INPUTS, Program
from tests.research_lab.engine.test_function_table import compiled

N_BARS = 10_000_000  # whole; a hundredth in the suite
CHUNK = 100_000
WINDOWS = (2, 14, 100, 5000)
FUNCTIONS = ("sum", "sma", "std", "slope")
CLOSE = 3
MOST = 1e-9
N_LOOKED_AT = 24  # bars of a chunk, those at its end among them


def prices(rng: np.random.Generator, n: int, first: int, level: float) -> FloatArray:
    """Return prices about a level: swells, noise, stretches that do not move, and spikes of up to 10,000 times."""
    log = 0.3 * np.sin((first + np.arange(n)) / 7e4) + 1e-3 * rng.normal(size=n)
    log += np.cumsum(1e-4 * rng.normal(size=n))
    price: FloatArray = level * np.exp(log)
    spikes = rng.random(n) < 3e-4
    price[spikes] *= 10.0 ** rng.uniform(-4, 4, size=int(spikes.sum()))
    for still in rng.integers(0, n, size=3):
        price[still : still + 6000] = price[still]
    return price


def exact(function: str, window: FloatArray) -> float:
    """Return a rolling function of one window in fractions, rounded once."""
    values = [Fraction(float(x)) for x in window]
    n = len(values)
    total = sum(values)
    if function in ("sum", "sma"):
        return float(total if function == "sum" else total / n)
    if function == "std":
        squared = sum(x * x for x in values) / n - (total / n) ** 2
        shift = max(0, squared.denominator.bit_length() - squared.numerator.bit_length()) // 2
        return math.sqrt(float(squared * 4**shift)) / 2.0**shift
    order = sum(k * x for k, x in enumerate(values)) - Fraction(n - 1, 2) * total
    return float(order / Fraction(n * (n * n - 1), 12))


def unit(function: str, window: FloatArray, value: float) -> float:
    """Return what an error is measured by: the value itself.

    A slope is a difference and may be nothing: it is measured by how much the window varies over its length,
    and where it does not vary, by a ten-millionth of its level over that.
    """
    if function != "slope":
        return abs(value)
    varies = max(float(window.max() - window.min()), 1e-7 * float(np.abs(window).max()))
    return max(abs(value), varies / len(window))


@dataclass
class Rolling:
    """A program advanced over chunks in blocks of one size."""

    program: Program
    block: int

    def __post_init__(self) -> None:
        self.state = np.zeros(self.program.n_state)

    def advance(self, close: FloatArray) -> FloatArray:
        outs = np.empty((self.program.outputs.shape[0], close.shape[0]))
        registers = self.program.new_registers(min(self.block, close.shape[0]))
        registers[:N_INPUTS] = 1.0
        for first in range(0, close.shape[0], self.block):
            block = close[first : first + self.block]
            registers[CLOSE, : block.shape[0]] = block
            program.advance(self.program.code, self.program.values, self.state, registers, block.shape[0])
            outs[:, first : first + block.shape[0]] = registers[self.program.outputs, : block.shape[0]]
        return outs


@pytest.mark.proof
@pytest.mark.parametrize("level", [1e-8, 1.0, 1e8])
def test_rolling_values_do_not_drift(level: float, campaign_share: float) -> None:
    rows = [(function, n) for function in FUNCTIONS for n in WINDOWS]
    code = compiled(*(f"{function}(close, {n})" for function, n in rows))
    machines = [Rolling(code, block) for block in (CHUNK, 2048, 333)]
    rng = np.random.default_rng(round(math.log10(level)) + 100)
    before, worst = np.empty(0), dict.fromkeys(rows, 0.0)
    for first in range(0, round(N_BARS * campaign_share), CHUNK):
        close = prices(rng, CHUNK, first, level)
        outs = [machine.advance(close) for machine in machines]
        for machine, out in zip(machines[1:], outs[1:], strict=True):
            assert out.tobytes() == outs[0].tobytes(), f"block {machine.block}, bars {first} on"
            assert machine.state.tobytes() == machines[0].state.tobytes()
        history = np.concatenate([before, close])
        looked_at = [CHUNK - 1, CHUNK - 2, *rng.integers(max(WINDOWS), CHUNK, size=N_LOOKED_AT - 2)]
        for bar in looked_at:
            end = before.shape[0] + int(bar) + 1
            for (function, n), row in zip(rows, outs[0], strict=True):
                window = history[end - n : end]
                wanted = exact(function, window)
                error = abs(float(row[bar]) - wanted)
                if error > 0.0:
                    error /= unit(function, window, wanted) or 5e-324
                worst[function, n] = max(worst[function, n], error)
        before = close[-max(WINDOWS) :]
    print(level, {f"{function} {n}": f"{error:.1e}" for (function, n), error in worst.items()})
    assert {row: error for row, error in worst.items() if not error < MOST} == {}


@pytest.mark.parametrize("level", [1e-8, 1e8])
def test_blocks_of_one_give_the_same_bits(level: float) -> None:
    close = prices(np.random.default_rng(5), 12_000, 0, level)
    code = compiled(*(f"{function}(close, {n})" for function in FUNCTIONS for n in WINDOWS))
    whole, single = Rolling(code, CHUNK), Rolling(code, 1)
    assert whole.advance(close).tobytes() == single.advance(close).tobytes()
    assert whole.state.tobytes() == single.state.tobytes()


def test_a_running_sum_without_care_would_be_found() -> None:
    """A spike of 1e16 leaves a plain running sum wrong for good."""
    close = np.full(3000, 0.1)
    close[100] = 1e16
    total, running = 0.0, []
    for k, x in enumerate(close):
        total += x - (close[k - 14] if k >= 14 else 0.0)
        running.append(total)
    window = close[-14:]
    assert abs(running[-1] - exact("sum", window)) > MOST * exact("sum", window)
    ours = Rolling(compiled("sum(close, 14)"), CHUNK).advance(close)[0, -1]
    assert abs(ours - exact("sum", window)) < MOST


@pytest.mark.parametrize(
    ("function", "window", "value"),
    [
        ("sum", [0.1] * 10, 1.0),
        ("sma", [1.0, 2.0, 6.0], 3.0),
        ("std", [1.0, 3.0], 1.0),
        ("std", [1e-8, 3e-8], 1e-8),
        ("slope", [1.0, 3.0, 5.0], 2.0),
        ("slope", [1e8, 1e8, 1e8], 0.0),
    ],
)
def test_the_exact_value_is_right_by_hand(function: str, window: list[float], value: float) -> None:
    assert exact(function, np.array(window)) == pytest.approx(value, rel=1e-15)
