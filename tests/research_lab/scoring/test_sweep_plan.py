from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from research_lab.dsl.spec import Spec, compile_union
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.market_data import worlds
from research_lab.scoring.origin import Origin
from research_lab.scoring.scorer import Score, Scorer
from research_lab.scoring.sweep_plan import GROUP, SweepPlan, free_memory
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.timeframe import HOUR_MS

TEXT = """
spec: 1
name: crossing
hypothesis: none
timeframe: 1h
side: long
params:
  fast: {range: [2, 40], step: 1, default: 10}
  slow: {range: [41, 80], step: 1, default: 50}
enter_long: crosses_above(sma(close, fast), sma(close, slow))
exit_long: crosses_below(sma(close, fast), sma(close, slow))
size: {fraction: 1}
"""
BARS = worlds.noise(3, 3_000).bars


def combinations(n: int) -> list[Spec]:
    spec = parse_spec(TEXT)
    return [spec.bind(values) for values in spec.grid()[:n]]


def test_a_sweep_whose_results_do_not_fit_says_so_with_its_estimate() -> None:
    plan = SweepPlan(n_strategies=1_000_000, n_days=1_440, n_threads=2, free=9 * 10**9)
    with pytest.raises(
        UsageError, match=r"1,000,000 strategies over 1,440 days keep 13\.6 GB .* than the 6\.8 GB"
    ):
        plan.check()
    SweepPlan(n_strategies=400_000, n_days=1_440, n_threads=2, free=9 * 10**9).check()


def test_what_is_refused_for_its_size_was_not_run_or_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAUNTLET_MEMORY_MB", "1")
    scorer = Scorer(TrialLedger(tmp_path), BARS, Terms(), None, "test")
    with pytest.raises(UsageError, match="at a time"):
        scorer.score(combinations(1_000))
    with pytest.raises(UsageError, match=r"1,000 strategies .* keep .* all are returned at once"):
        scorer.attempt(combinations(1_000), [Origin("test")] * 1_000)
    assert scorer.n_scored == 0
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_sweep_that_is_cut_says_so_with_its_estimate_before_it_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    specs = combinations(GROUP + 100)
    next(SweepPlan(len(specs), 125, 2, free=10**10).groups(specs))
    assert not caplog.messages
    next(iter(tight := SweepPlan(len(specs), 125, 2, free=5 * 10**6).groups(specs)))
    (told,) = caplog.messages
    assert "512 strategies over 125 days at once would take" in told and "more than the 1 MB" in told
    list(tight)
    assert len(caplog.messages) == 1


def test_many_attempts_are_all_counted_in_order(tmp_path: Path) -> None:
    scorer = Scorer(TrialLedger(tmp_path), BARS, Terms(), None, "test")
    specs = combinations(GROUP + 3)
    found = scorer.attempt(specs, [Origin("test")] * len(specs))
    matrix, candidates = scorer.family()
    assert candidates == [spec.hash for spec in specs]
    for column, score in zip(matrix.T, found, strict=True):
        assert isinstance(score, Score) and np.array_equal(column, score.daily)


def test_groups_hold_every_strategy_once_in_order_and_within_the_limit() -> None:
    specs = combinations(GROUP + 100)
    roomy = SweepPlan(len(specs), 125, 2, free=10**10)
    tight = SweepPlan(len(specs), 125, 2, free=5 * 10**6)
    assert [len(group) for group, _ in roomy.groups(specs)] == [GROUP, 100]
    groups = list(tight.groups(specs))
    assert len(groups) > 3
    assert [spec.hash for group, _ in groups for spec in group] == [spec.hash for spec in specs]
    for _, chunks in groups:
        assert sum(chunk.n_bytes(125) for chunk in chunks) <= tight.n_working


def test_how_a_sweep_is_cut_does_not_change_a_bit() -> None:
    specs = combinations(60)
    found = []
    for plan in (SweepPlan(60, 125, 1, 10**10), SweepPlan(60, 125, 3, 3 * 10**6)):
        parts = [sweep(chunks, BARS, Terms()) for _, chunks in plan.groups(specs)]
        found.append([row.tobytes() for part in parts for row in (*part.metrics, *part.daily_returns)])
    assert sorted(found[0]) == sorted(found[1])


@pytest.mark.parametrize("text", ["0", "-5", "much", "1.5"])
def test_a_wrong_memory_limit_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUNTLET_MEMORY_MB", text)
    with pytest.raises(UsageError, match="GAUNTLET_MEMORY_MB"):
        free_memory()


def test_what_is_free_is_less_than_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAUNTLET_MEMORY_MB", raising=False)
    assert 10**7 < free_memory() < 10**14


def test_no_bars_are_too_few_to_score_on(tmp_path: Path) -> None:
    nothing = replace(BARS, time=BARS.time[:0], inputs=BARS.inputs[:, :0], funding_due=BARS.funding_due[:0])
    with pytest.raises(InsufficientError, match="no bars"):
        Scorer(TrialLedger(tmp_path), nothing, Terms(), None, "test").score(combinations(3))
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_sweep_refuses_what_its_kernels_would_read_or_write_beyond() -> None:
    chunks = [compile_union(combinations(3))]
    short = np.zeros(BARS.n - 1)
    for start, regime, words in ((-1, None, "start"), (BARS.n + 1, None, "start"), (0, short, "one cell")):
        with pytest.raises(ValueError, match=words):
            sweep(chunks, BARS, Terms(), regime=regime, start=start)
    with pytest.raises(ValueError, match="make no bars"):
        sweep(chunks, worlds.noise(3, 100, 4 * HOUR_MS).bars, Terms())
    with pytest.raises(ValueError, match="nothing to sweep"):
        sweep([], BARS, Terms())
