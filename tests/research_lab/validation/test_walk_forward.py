"""Walk-forward: folds never touch, tuning never sees the exam, and each look is counted once."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.bars import Bars
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError
from research_lab.market_data import worlds
from research_lab.scoring.scorer import Scorer, neighbours
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.validation.walk_forward import Protocol, choose_on_plateau, fold_days, tune, walk_forward

N_BARS = 24 * 400
PROTOCOL = Protocol(n_folds=3, n_trials=12, batch=6, seed=5)
TEXT = """
spec: 1
name: cross
hypothesis: a test
timeframe: 4h
side: long
params:
  fast: {range: [4, 12], step: 2, default: 6}
  slow: {range: [16, 40], step: 4, default: 20}
enter_long: sma(close, fast) > sma(close, slow)
exit_long: sma(close, fast) < sma(close, slow)
size: {fraction: 0.5}
"""


@pytest.fixture(scope="module")
def bars() -> Bars:
    return worlds.noise(3, N_BARS).bars


@pytest.fixture
def template() -> Spec:
    return parse_spec(TEXT)


def _scorer(bars: Bars, folder: Path) -> Scorer:
    return Scorer(TrialLedger(folder), bars, Terms(), None, "test")


@given(
    n_days=st.integers(200, 4000),
    n_folds=st.integers(2, 8),
    purge=st.integers(0, 20),
    embargo=st.integers(0, 5),
)
def test_folds_are_ordered_apart_and_end_with_the_last_day(
    n_days: int, n_folds: int, purge: int, embargo: int
) -> None:
    protocol = Protocol(n_folds=n_folds, purge_days=purge, embargo_days=embargo)
    try:
        folds = fold_days(n_days, protocol)
    except InsufficientError:
        return
    assert folds[-1][1][1] == n_days
    for inside, outside in folds:
        assert inside[0] == 0
        assert outside[0] - inside[1] == purge + embargo
    for (_, before), (_, after) in itertools.pairwise(folds):
        assert before[1] + embargo == after[0]


def test_too_few_days_are_insufficient() -> None:
    with pytest.raises(InsufficientError, match="bring more data"):
        fold_days(60, Protocol())


def test_tuning_does_not_change_when_the_exam_does(bars: Bars, template: Spec, tmp_path: Path) -> None:
    days = (0, 200)
    cut = int(np.searchsorted(bars.time, bars.time[0] + 215 * 86_400_000))
    other = worlds.noise(4, N_BARS).bars
    inputs = bars.inputs.copy()
    ratio = inputs[3, cut - 1] / other.inputs[3, cut - 1]
    inputs[:4, cut:] = other.inputs[:4, cut:] * ratio
    changed = Bars(bars.market, bars.step_ms, bars.time, inputs, bars.funding_due)
    a = tune(template, _scorer(bars, tmp_path / "a"), days, PROTOCOL, seed=1)
    b = tune(template, _scorer(changed, tmp_path / "b"), days, PROTOCOL, seed=1)
    assert [score.spec.hash for score in a] == [score.spec.hash for score in b]
    assert [score.sharpe(slice(*days)) for score in a] == [score.sharpe(slice(*days)) for score in b]


def test_a_small_grid_is_run_whole_and_once(bars: Bars, tmp_path: Path) -> None:
    template = parse_spec(TEXT.replace("range: [4, 12]", "range: [4, 6]").replace("[16, 40]", "[16, 24]"))
    scorer = _scorer(bars, tmp_path)
    scores = tune(template, scorer, (0, 200), PROTOCOL, seed=1)
    assert {s.spec.hash for s in scores} == {template.bind(values).hash for values in template.grid()}
    assert scorer.ledger.n_looks(bars.market.charged_to, *bars.interval) == template.n_combinations


def test_every_parameter_set_is_counted_once_however_often_it_is_asked_for(
    bars: Bars, template: Spec, tmp_path: Path
) -> None:
    scorer = _scorer(bars, tmp_path)
    walk_forward(template, scorer, PROTOCOL)
    choose_on_plateau(template, scorer, PROTOCOL)
    again = _scorer(bars, tmp_path)
    walk_forward(template, again, PROTOCOL)
    looks = again.ledger.n_looks(bars.market.charged_to, *bars.interval)
    assert looks == scorer.n_scored == len({s.spec.hash for s in scorer.tried(template)})


def test_the_same_seed_gives_the_same_walk_forward(bars: Bars, template: Spec, tmp_path: Path) -> None:
    a = walk_forward(template, _scorer(bars, tmp_path / "a"), PROTOCOL)
    b = walk_forward(template, _scorer(bars, tmp_path / "b"), PROTOCOL)
    assert a.daily.tobytes() == b.daily.tobytes()
    assert [fold.values for fold in a.folds] == [fold.values for fold in b.folds]


def test_stitched_days_are_those_of_the_tuned_parameters(bars: Bars, template: Spec, tmp_path: Path) -> None:
    scorer = _scorer(bars, tmp_path)
    done = walk_forward(template, scorer, PROTOCOL)
    parts = []
    for fold in done.folds:
        score = scorer.score([template.bind(fold.values)])[0]
        parts.append(score.daily[slice(*fold.outside)])
        assert fold.outside_return == pytest.approx(float(np.prod(1 + parts[-1]) - 1))
    assert np.concatenate(parts).tobytes() == done.daily.tobytes()


def test_the_ledger_holds_the_daily_returns_of_what_was_scored(
    bars: Bars, template: Spec, tmp_path: Path
) -> None:
    scorer = _scorer(bars, tmp_path)
    score = scorer.score([template])[0]
    family, hashes = scorer.family()
    assert hashes == [template.hash]
    assert family[:, 0].tobytes() == score.daily.tobytes()


def test_neighbours_differ_by_one_step_in_one_parameter(template: Spec) -> None:
    found = {tuple(spec.values.values()) for spec in neighbours(template)}
    assert found == {(4.0, 20.0), (8.0, 20.0), (6.0, 16.0), (6.0, 24.0)}


def test_a_timeframe_finer_than_the_bars_is_insufficient(bars: Bars, tmp_path: Path) -> None:
    template = parse_spec(TEXT.replace("timeframe: 4h", "timeframe: 15m"))
    with pytest.raises(InsufficientError, match="finer than the data's 1h"):
        _scorer(bars, tmp_path).score([template])
