"""Sums of long windows do not drift: after many bars they are those of the window alone, added up exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from research_lab.dsl import compiler
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.engine.jit import FloatArray
from tests.research_lab.engine import invariants
from tests.research_lab.engine.invariants import ProgramMachine
from tests.research_lab.engine.tapes import HOUR_MS, walk

N = 997
N_BARS = 20_000
BARS = (N - 1, N, 2 * N - 1, 5_000, 12_345, N_BARS - 1)
SERIES: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "high level": lambda rng: 1e8 + rng.normal(size=N_BARS),
    "small": lambda rng: 1e-8 * np.exp(rng.normal(size=N_BARS)),
    "spikes": lambda rng: np.where(rng.random(N_BARS) < 3e-3, 1e7, 1.0) * rng.normal(size=N_BARS),
    "walk": lambda rng: 1e4 + np.cumsum(rng.normal(size=N_BARS)),
}


def off_mean(x: FloatArray) -> list[Fraction]:
    exact = [Fraction(float(value)) for value in x]
    mean = sum(exact) / len(exact)
    return [value - mean for value in exact]


def moment(*windows: FloatArray) -> Fraction:
    """Return the mean product of deviations from the mean, in exact fractions."""
    products = [math.prod(offs) for offs in zip(*map(off_mean, windows), strict=True)]
    return Fraction(sum(products)) / len(products)


def deviation(a: FloatArray) -> float:
    return math.sqrt(moment(a, a))


PLACES = np.arange(N, dtype=np.float64)
EXACT: dict[str, Callable[[FloatArray, FloatArray], float]] = {
    "sma": lambda a, b: math.fsum(a) / N,
    "std": lambda a, b: deviation(a),
    "mad": lambda a, b: float(sum(map(abs, off_mean(a))) / N),
    "zscore": lambda a, b: float(off_mean(a)[-1]) / deviation(a),
    "skew": lambda a, b: float(moment(a, a, a)) / deviation(a) ** 3,
    "slope": lambda a, b: float(moment(PLACES, a) / moment(PLACES, PLACES)),
    "covariance": lambda a, b: float(moment(a, b)),
    "correlation": lambda a, b: float(moment(a, b)) / deviation(a) / deviation(b),
    "beta": lambda a, b: float(moment(a, b) / moment(b, b)),
}
PAIRS = ("covariance", "correlation", "beta")


@pytest.mark.parametrize("name", ["sma", "std", "slope"])
def test_a_spike_leaves_no_trace_once_it_has_left_the_window(name: str) -> None:
    tape = walk(np.random.default_rng(1), 200)
    tape.inputs[3] = 1.0 + 1e-3 * np.random.default_rng(2).normal(size=200)
    tape.inputs[3, 117] = 1e8
    program, _ = compiler.program_of([parse_expression(f"{name}(close, 30)", Scope())], HOUR_MS)
    got = invariants.run(ProgramMachine(program), tape).rows[0]
    places = np.arange(30.0)
    for bar in range(147, 200):
        window = tape.inputs[3, bar - 29 : bar + 1]
        wanted = {
            "sma": math.fsum(window) / 30,
            "std": deviation(window),
            "slope": float(moment(places, window) / moment(places, places)),
        }[name]
        assert got[bar] == pytest.approx(wanted, rel=1e-9, abs=0.0), bar


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("name", EXACT)
def test_it_is_that_of_the_window_alone(name: str, series: str) -> None:
    rng = np.random.default_rng(5)
    tape = walk(rng, N_BARS)
    a, b = SERIES[series](rng), tape.inputs[4]
    tape.inputs[3] = a
    text = f"{name}(close, volume, {N})" if name in PAIRS else f"{name}(close, {N})"
    program, _ = compiler.program_of([parse_expression(text, Scope())], HOUR_MS)
    got = invariants.run(ProgramMachine(program), tape).rows[0]
    for bar in BARS:
        window = slice(bar - N + 1, bar + 1)
        wanted = EXACT[name](a[window], b[window])
        size = max(abs(wanted), 1e-6 * float(np.nanmax(np.abs(got))))  # of a value near 0, by cancellation
        assert abs(got[bar] - wanted) <= 1e-9 * size, (text, bar, got[bar], wanted)
