"""Purge and embargo follow the trades: what was decided in-sample is closed before the exam begins."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from research_lab.bars import DAY_MS, Bars
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.market_data import worlds
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.validation.holding import days_held, exam_begins, first_bar_of, last_exit, purge_days
from research_lab.validation.tuning import Protocol
from research_lab.validation.walk_forward import walk_forward

TEXT = """
spec: 1
name: slow_cross
hypothesis: a test
timeframe: 4h
side: long
params:
  n: {range: [20, 240], step: 10, default: 60}
enter_long: close > sma(close, n)
exit_long: close < sma(close, n)
size: {fraction: 0.5}
"""


@pytest.fixture(scope="module")
def bars() -> Bars:
    return worlds.noise(3, 24 * 400).bars


@pytest.fixture
def scorer(bars: Bars, tmp_path: Path) -> Scorer:
    return Scorer(TrialLedger(tmp_path), bars, Terms(fee=0.0001, slippage=0.0), None, "test")


@pytest.fixture
def spec(scorer: Scorer) -> Spec:
    found = parse_spec(TEXT)
    scorer.score([found])
    return found


def test_an_exam_that_would_begin_inside_a_trade_waits_until_the_day_after_its_exit(
    scorer: Scorer, spec: Spec, bars: Bars
) -> None:
    """At every day of the data, against the trades one by one: the planted fault is an exam at the border."""
    trades = scorer.run(spec).trades
    first_day = int(bars.time[0] // DAY_MS)
    entered, left = (bars.time[trades[name]] // DAY_MS - first_day for name in ("entry_bar", "exit_bar"))
    waited = 0
    for end in range(40, 380):
        border = end + 2
        begin = exam_begins(spec, scorer, end, border, least=1)
        decided_inside = [
            int(out)
            for into, out, bar in zip(entered, left, trades["entry_bar"], strict=True)
            if into < end or bar == first_bar_of(bars, first_day, end)
        ]
        assert begin == max(border + 1, max(decided_inside, default=-1) + 1)
        waited += begin > border + 1
    assert waited > 20


def test_a_trade_that_never_ends_leaves_no_day_for_an_exam(scorer: Scorer, bars: Bars) -> None:
    forever = parse_spec(TEXT.replace("exit_long: close <", "exit_long: close < 0.01 *"))
    scorer.score([forever])
    assert exam_begins(forever, scorer, 200, 205, 1) == scorer.score([forever])[0].daily.shape[0]
    assert last_exit(scorer.run(forever), 5000) == bars.n
    with pytest.raises(InsufficientError, match="held that long"):
        walk_forward(forever, scorer, Protocol(n_folds=2, n_trials=4, batch=4))


def test_tuned_parameters_that_never_leave_are_insufficient(bars: Bars, tmp_path: Path) -> None:
    """As written it leaves soon; what tuning prefers while all rises never does."""
    text = TEXT.replace(
        "n: {range: [20, 240], step: 10, default: 60}", "n: {range: [0.01, 1.01], step: 1, default: 1.01}"
    )
    template = parse_spec(
        text.replace("close > sma(close, n)", "close > sma(close, 60)").replace(
            "sma(close, n)", "n * sma(close, 60)"
        )
    )
    inputs = bars.inputs.copy()
    inputs[:4] *= np.exp(0.0004 * np.arange(bars.n))
    rising = Bars(bars.market, bars.step_ms, bars.time, inputs, bars.funding_due)
    scorer = Scorer(TrialLedger(tmp_path), rising, Terms(), None, "test")
    with pytest.raises(InsufficientError, match="leave earlier"):
        walk_forward(template, scorer, Protocol(n_folds=2, n_trials=4, batch=4))


def test_days_held_are_the_midnights_between_entry_and_exit(scorer: Scorer, spec: Spec, bars: Bars) -> None:
    result = scorer.run(spec)
    last = int(result.trades["entry_bar"][-1]) + 1  # open there
    held = days_held(result, bars, last)
    days = bars.time // DAY_MS
    expected = [
        int(days[out] - days[into])
        for into, out in zip(result.trades["entry_bar"], result.trades["exit_bar"], strict=True)
    ]
    expected[-1] = 0  # up to the last bar looked at, which is its first
    assert held.tolist() == expected


def test_the_purge_is_as_long_as_95_of_100_trades_are_held_and_at_least_the_policys(
    scorer: Scorer, spec: Spec, bars: Bars
) -> None:
    border = 300
    held = days_held(scorer.run(spec), bars, first_bar_of(bars, int(bars.time[0] // DAY_MS), border))
    found = purge_days(spec, scorer, border, least=0)
    assert (held <= found).mean() >= 0.95 > (held < found).mean()
    assert purge_days(spec, scorer, border, least=found + 9) == found + 9
    assert math.isclose(found, np.quantile(held, 0.95, method="higher"))


def test_a_run_that_was_not_counted_is_refused(scorer: Scorer) -> None:
    with pytest.raises(UsageError, match="not counted"):
        scorer.run(parse_spec(TEXT))
