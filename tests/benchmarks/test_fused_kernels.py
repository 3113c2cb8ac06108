from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import fused_a, fused_b, markets, work_a, work_b
from benchmarks.results import TOLERANCE, difference
from research_lab.bars import Bars
from research_lab.dsl.spec import compile_spec
from research_lab.engine import reasons
from research_lab.engine.backtest import backtest

PAIRS = [(5, 20), (8, 34), (20, 132)]
COMBINATIONS = [(10, 15, 2.0), (20, 25, 3.0), (55, 35, 2.0), (15, 15, 5.0)]
WAYS_TO_END = {reasons.STOP, reasons.TIME_STOP, reasons.TAKE}


@pytest.fixture(scope="module")
def bars() -> Bars:
    return markets.made(4_500, seed=2)


@pytest.fixture(scope="module")
def gapping(bars: Bars) -> Bars:
    """Bars whose opens jump by a tenth of the price now and then: stops and takes are gapped through."""
    random = np.random.default_rng(5)
    jumps = np.where(random.random(bars.n) < 0.05, random.normal(0.0, 0.03, bars.n), 0.0)
    inputs = bars.inputs.copy()
    inputs[:4] *= np.exp(np.cumsum(jumps))
    return replace(bars, inputs=inputs)


@pytest.mark.parametrize("fused", [fused_a.readable, fused_a.tuned])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_work_a_by_hand_agrees_with_the_engine(fused: object, n_threads: int, bars: Bars) -> None:
    ours = work_a.ours(work_a.strategies(pairs=PAIRS), bars, 1)
    assert (ours[:, 2] > 0.01).all(), "every pair must have traded"
    assert difference(ours, fused(bars, PAIRS, work_a.TERMS, n_threads)) <= TOLERANCE  # type: ignore[operator]


def test_work_a_by_hand_agrees_where_opens_jump(gapping: Bars) -> None:
    ours = work_a.ours(work_a.strategies(pairs=PAIRS), gapping, 2)
    assert difference(ours, fused_a.readable(gapping, PAIRS, work_a.TERMS)) <= TOLERANCE
    assert difference(ours, fused_a.tuned(gapping, PAIRS, work_a.TERMS)) <= TOLERANCE


@pytest.mark.parametrize("n_threads", [1, 2])
def test_work_b_by_hand_agrees_with_the_engine(n_threads: int, bars: Bars, gapping: Bars) -> None:
    for tape in (bars, gapping):
        given = work_b.prepare(tape, COMBINATIONS, work_b.earliest(COMBINATIONS))
        ours = work_b.ours(work_b.strategies(COMBINATIONS), tape, n_threads)
        assert difference(ours, fused_b.fused(tape, given, work_b.TERMS, n_threads)) <= TOLERANCE


def test_work_b_takes_every_way_out(gapping: Bars) -> None:
    runs = [backtest(compile_spec(spec), gapping, work_b.TERMS) for spec in work_b.strategies(COMBINATIONS)]
    seen = {int(reason) for run in runs for reason in run.fills["reason"]}
    assert seen >= WAYS_TO_END
    assert max(int(np.bincount(run.fills["bar"]).max()) for run in runs) >= 2, "a bar with several fills"


def test_an_indicator_that_is_off_is_noticed(bars: Bars) -> None:
    given = work_b.prepare(bars, COMBINATIONS, work_b.earliest(COMBINATIONS))
    ours = work_b.ours(work_b.strategies(COMBINATIONS), bars, 1)
    wrong = replace(given, atr=given.atr * (1.0 + 1e-6))
    assert difference(ours, fused_b.fused(bars, wrong, work_b.TERMS)) > TOLERANCE
