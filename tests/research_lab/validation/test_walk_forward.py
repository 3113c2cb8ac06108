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
from research_lab.validation import tuning
from research_lab.validation.tuning import Protocol, choose_on_plateau, tune
from research_lab.validation.walk_forward import fold_days, walk_forward

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
SLOW = TEXT.replace("[4, 12], step: 2, default: 6", "[20, 40], step: 4, default: 20").replace(
    "[16, 40], step: 4, default: 20", "[80, 160], step: 20, default: 80"
)


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
    scheme=st.sampled_from(["anchored", "rolling"]),
)
def test_folds_are_ordered_apart_and_begin_or_roll_as_asked(
    n_days: int, n_folds: int, purge: int, embargo: int, scheme: str
) -> None:
    protocol = Protocol(n_folds=n_folds, purge_days=purge, embargo_days=embargo, scheme=scheme)  # type: ignore[arg-type]
    try:
        folds = fold_days(n_days, protocol)
    except InsufficientError:
        return
    borders = [border for _, border in folds]
    assert borders == sorted(borders) and borders[-1] < n_days
    for (first, end), border in folds:
        assert border - end == purge
        assert first == 0 if scheme == "anchored" else end - first == folds[0][0][1]


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


def test_neither_a_hole_in_a_plateau_is_chosen_nor_a_needle(
    bars: Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight values in a row: a needle at 6, even ground from 10 to 14, and a hole at 16 between the two best of it."""
    worth = {4.0: 0.0, 6.0: 3.0, 8.0: 0.0, 10.0: 1.3, 12.0: 1.5, 14.0: 1.6, 16.0: -5.0, 18.0: 2.0}
    one = TEXT.replace("range: [4, 12]", "range: [4, 18]").replace(
        "range: [16, 40], step: 4, default: 20", "range: [20, 24], step: 4, default: 20"
    )
    monkeypatch.setattr(tuning, "_sharpe", lambda score: worth[score.spec.values["fast"]])
    chosen, plateau = choose_on_plateau(parse_spec(one), _scorer(bars, tmp_path), PROTOCOL)
    assert chosen.spec.values["fast"] in (12.0, 14.0)
    assert 0.9 < plateau <= 1.0


def test_the_same_seed_gives_the_same_walk_forward(bars: Bars, template: Spec, tmp_path: Path) -> None:
    a = walk_forward(template, _scorer(bars, tmp_path / "a"), PROTOCOL)
    b = walk_forward(template, _scorer(bars, tmp_path / "b"), PROTOCOL)
    assert a.daily.tobytes() == b.daily.tobytes()
    assert [fold.values for fold in a.folds] == [fold.values for fold in b.folds]


def test_nothing_decided_in_sample_is_open_in_the_exam(bars: Bars, tmp_path: Path) -> None:
    """Tuned parameters that hold for weeks: every trade that they decided in-sample ends before their exam."""
    template = parse_spec(SLOW)
    scorer = _scorer(bars, tmp_path)
    done = walk_forward(template, scorer, PROTOCOL)
    delayed = 0
    for fold in done.folds:
        score = scorer.score([template.bind(fold.values)])[0]
        fills = scorer.run(score.spec).fills
        day = bars.time[fills["bar"]] // 86_400_000 - score.first_day
        decided_inside = np.isin(fills["position_id"], fills["position_id"][day < fold.inside[1]])
        last = max(day[decided_inside], default=-1)
        assert last < fold.outside[0]
        assert fold.outside[0] >= fold.border + PROTOCOL.embargo_days
        assert fold.border - fold.inside[1] >= PROTOCOL.purge_days
        delayed += fold.outside[0] > fold.border + PROTOCOL.embargo_days
    assert delayed or done.folds[0].border - done.folds[0].inside[1] > PROTOCOL.purge_days


def test_the_account_trades_without_a_hole_from_the_first_exam_to_the_last_day(
    bars: Bars, template: Spec, tmp_path: Path
) -> None:
    scorer = _scorer(bars, tmp_path)
    done = walk_forward(template, scorer, PROTOCOL)
    n_days = scorer.score([template])[0].daily.shape[0]
    assert done.folds[-1].outside[1] == n_days
    for before, after in itertools.pairwise(done.folds):
        assert before.outside[1] == after.outside[0]
    assert done.daily.shape[0] == n_days - done.folds[0].outside[0]
    growth = np.prod([1.0 + fold.outside_return for fold in done.folds])
    assert growth == pytest.approx(done.accounts[0][1].equity[-1], rel=1e-12)
    assert np.prod(1.0 + done.daily) == pytest.approx(done.accounts[0][1].equity[-1], rel=1e-12)


def test_the_exam_does_not_move_when_later_folds_do(bars: Bars, template: Spec, tmp_path: Path) -> None:
    """Poison the bars after the second exam: the first two exams stay what they were, to the last bit."""
    done = walk_forward(template, _scorer(bars, tmp_path / "a"), PROTOCOL)
    end = done.folds[1].outside[1]
    cut = int(np.searchsorted(bars.time, (done.first_day - done.folds[0].outside[0] + end) * 86_400_000))
    inputs = bars.inputs.copy()
    inputs[:4, cut:] *= 1.0 + 0.3 * np.sin(np.arange(bars.n - cut) / 50.0)
    changed = Bars(bars.market, bars.step_ms, bars.time, inputs, bars.funding_due)
    again = walk_forward(template, _scorer(changed, tmp_path / "b"), PROTOCOL)
    n = end - done.folds[0].outside[0]
    assert done.daily[:n].tobytes() == again.daily[:n].tobytes()
    assert done.daily[n:].tobytes() != again.daily[n:].tobytes()
    assert [f.values for f in done.folds[:2]] == [f.values for f in again.folds[:2]]


def test_no_fold_is_tuned_on_a_day_behind_its_in_sample_days(
    bars: Bars, template: Spec, tmp_path: Path
) -> None:
    """Poison everything behind the second fold's in-sample days: it is tuned to the same parameters."""
    done = walk_forward(template, _scorer(bars, tmp_path / "a"), PROTOCOL)
    origin = done.first_day - done.folds[0].outside[0]
    cut = int(np.searchsorted(bars.time, (origin + done.folds[1].inside[1]) * 86_400_000))
    inputs = bars.inputs.copy()
    inputs[:4, cut:] *= 1.0 + 0.5 * np.sin(np.arange(bars.n - cut) / 60.0)
    changed = Bars(bars.market, bars.step_ms, bars.time, inputs, bars.funding_due)
    again = walk_forward(template, _scorer(changed, tmp_path / "b"), PROTOCOL)
    assert [f.values for f in done.folds[:2]] == [f.values for f in again.folds[:2]]
    asked = [[s.spec.hash for s in one.scores[: done.folds[1].n_considered]] for one in (done, again)]
    assert asked[0] == asked[1]
    assert [f.inside_sharpe for f in done.folds[:2]] == [f.inside_sharpe for f in again.folds[:2]]
    assert done.folds[2].inside_sharpe != again.folds[2].inside_sharpe


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
