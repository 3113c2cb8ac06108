"""A look at a model: counted before it is told, with the returns of following its score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from research_lab.errors import InsufficientError
from research_lab.models.walk_forward_fit import fit
from research_lab.scoring.model_look import followed, look, n_stretches, rank_correlation
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.timeframe import DAY_MS
from tests.research_lab.models.made_up import TEXT, bars, model

MARKET = bars()
SCORES = fit(model(), MARKET)


def test_a_look_is_one_trial_with_returns_and_is_counted_once(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    seen = look(SCORES, MARKET, ledger)
    again = look(fit(model(TEXT.replace("name: drift", "name: other")), MARKET), MARKET, ledger)
    assert seen.new and not again.new
    (trial,) = ledger.trials(MARKET.market.charged_to, *MARKET.interval)
    assert (trial.kind, trial.origin, trial.candidate) == ("scored", "model", SCORES.model.hash)
    assert (trial.start_ms, trial.end_ms) == MARKET.interval and trial.snapshot == MARKET.snapshot
    first_day, daily = followed(SCORES, MARKET)
    matrix, _ = ledger.daily_returns(MARKET.market.charged_to, first_day, first_day + daily.shape[0])
    np.testing.assert_array_equal(matrix[:, 0], daily)
    look(fit(model(TEXT.replace("alpha: 10", "alpha: 11")), MARKET), MARKET, ledger)
    assert ledger.n_looks(MARKET.market.charged_to, *MARKET.interval) == 2


def test_correlations_are_those_of_pandas_by_year(tmp_path: Path) -> None:
    shifted = replace(MARKET, time=MARKET.time + 290 * DAY_MS)
    scores = fit(model(), shifted)
    frame = pd.DataFrame({"score": scores.score, "label": scores.label}).dropna()
    frame["year"] = pd.to_datetime(scores.visible[frame.index], unit="ms").year
    seen = {each.name: each for each in look(scores, shifted, TrialLedger(tmp_path)).correlations}
    years = frame.groupby("year")[["score", "label"]].corr("spearman").iloc[::2]["label"].droplevel(1)
    assert len(years) == 2
    for year, value in years.items():
        assert seen[str(year)].value == pytest.approx(value)
    assert seen["all"].value == pytest.approx(frame["score"].corr(frame["label"], "spearman"))
    assert seen["all"].n == len(frame) and seen["all"].n_apart == len(frame) / 6


def test_following_the_score_holds_it_until_the_next_bar() -> None:
    n = MARKET.n
    score = np.full(n, np.nan)
    score[[100, 101, 200]] = [0.5, -3.0, 1.0]
    first_day, daily = followed(replace(SCORES, score=score), MARKET)
    moves = MARKET.close[1:] / MARKET.close[:-1] - 1.0
    wanted = np.zeros(n // 24)
    wanted[4] = 0.5 * moves[100] - moves[101]
    wanted[8] = moves[200]
    assert first_day == MARKET.time[0] // DAY_MS
    np.testing.assert_allclose(daily, wanted, rtol=1e-12)


def test_a_look_has_as_many_trades_as_the_score_closed_positions(tmp_path: Path) -> None:
    score = np.full(MARKET.n, np.nan)
    score[[100, 101, 200, 201]] = [0.5, 3.0, 1.0, -0.1]
    assert n_stretches(replace(SCORES, score=score)) == 3
    score[-2:] = 0.2
    assert n_stretches(replace(SCORES, score=score)) == 3, "the last is open still"
    assert n_stretches(replace(SCORES, score=np.zeros(MARKET.n))) == 0
    ledger = TrialLedger(tmp_path)
    look(SCORES, MARKET, ledger)
    assert ledger.every()[0].n_trades == n_stretches(SCORES) > 40


def test_too_few_pairs_have_no_correlation() -> None:
    assert np.isnan(rank_correlation(np.arange(29.0), np.arange(29.0)))
    assert np.isnan(rank_correlation(np.ones(40), np.arange(40.0)))
    assert rank_correlation(np.arange(30.0), -np.arange(30.0)) == pytest.approx(-1.0)


def test_nothing_seen_is_nothing_counted(tmp_path: Path) -> None:
    ledger, short = TrialLedger(tmp_path), MARKET.window(0, 600)
    with pytest.raises(InsufficientError, match="no score of model drift has a complete label"):
        look(fit(model(), short), short, ledger)
    assert ledger.n_looks(MARKET.market.charged_to, *MARKET.interval) == 0
