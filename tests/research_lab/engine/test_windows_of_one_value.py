"""Statistics of a window of one value, after whatever came before it: exact zeros, and unknown beyond them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from research_lab.dsl import compiler
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.engine.jit import FloatArray
from tests.research_lab.engine import invariants
from tests.research_lab.engine.invariants import ProgramMachine
from tests.research_lab.engine.tapes import HOUR_MS, Tape, walk

N = 50
FLAT_FROM = 245  # the ring wraps soon after: then most of the sums is of older values, which leave one by one
LEVELS = (0.1, 1e-8, 1e8, 12345.678)
DECADES = (0.0, 3.0, 9.0)  # over which the values before are spread

EXACT = {
    f"sma(close, {N})": lambda level: level,
    f"wma(close, {N})": lambda level: level,
    f"linreg(close, {N})": lambda level: level,
    f"intercept(close, {N})": lambda level: level,
    f"slope(close, {N})": lambda level: 0.0,
    f"sum(volume, {N})": lambda level: 0.0,
    f"std(close, {N})": lambda level: 0.0,
    f"var(close, {N})": lambda level: 0.0,
    f"mad(close, {N})": lambda level: 0.0,
    f"covariance(close, premium, {N})": lambda level: 0.0,
    f"realised_vol({N})": lambda level: 0.0,
    f"parkinson_vol({N})": lambda level: 0.0,
    f"garman_klass_vol({N})": lambda level: 0.0,
    f"median(close, {N})": lambda level: level,
    f"rank(close, {N})": lambda level: (N + 1) / 2 / N,
    f"bars_since_highest(close, {N})": lambda level: 0.0,
    f"beta(close, premium, {N})": lambda level: 0.0,
}
UNKNOWN = (
    f"zscore(close, {N})",
    f"skew(close, {N})",
    f"r2(close, {N})",
    f"correlation(close, premium, {N})",
    f"correlation(premium, close, {N})",
    f"beta(premium, close, {N})",
    f"vwma(close, {N})",  # nothing is traded in the flat part
)


def flat_after(level: float, decades: float, seed: int) -> Tape:
    """Return a tape that moves and then stands still without volume; the premium goes on."""
    rng = np.random.default_rng(seed)
    tape = walk(rng, 310)
    tape.inputs[:4] *= level / 100.0
    tape.inputs[:5] *= 10.0 ** rng.uniform(-decades, decades, size=tape.n)
    tape.inputs[:4, FLAT_FROM:] = level
    tape.inputs[4, FLAT_FROM:] = 0.0
    tape.inputs[6] = rng.normal(size=tape.n)
    return tape


def flat_part(text: str, tape: Tape) -> FloatArray:
    """Return the values once all that is looked at is flat: a return looks one bar further back."""
    program, _ = compiler.program_of([parse_expression(text, Scope())], HOUR_MS)
    return invariants.run(ProgramMachine(program), tape).rows[0][FLAT_FROM + N :]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("decades", DECADES)
@pytest.mark.parametrize("text", EXACT)
def test_it_is_exact(text: str, decades: float, level: float) -> None:
    for seed in range(2):
        got = flat_part(text, flat_after(level, decades, seed))
        assert np.array_equal(got, np.full(len(got), EXACT[text](level)))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("decades", DECADES)
@pytest.mark.parametrize("text", UNKNOWN)
def test_what_divides_by_its_deviation_is_unknown(text: str, decades: float, level: float) -> None:
    for seed in range(2):
        assert np.isnan(flat_part(text, flat_after(level, decades, seed))).all()


@pytest.mark.parametrize("text", [*EXACT, *UNKNOWN])
def test_before_that_they_are_known(text: str) -> None:
    tape = flat_after(1.0, 0.0, 0)
    program, _ = compiler.program_of([parse_expression(text, Scope())], HOUR_MS)
    moving = invariants.run(ProgramMachine(program), tape).rows[0][2 * N : FLAT_FROM]
    assert np.isfinite(moving).all()
    assert len(set(moving)) > 1
    assert not math.isnan(moving[-1])
