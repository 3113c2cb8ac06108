"""Pictures of regimes, random twins, splits and overfitting: drawn from evidence, left out without it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.gates.evidence import Evidence
from pipelines.report_pictures import Picture
from pipelines.report_selection import selection_pictures

REGIMES = [
    {"regime": "trend_up", "bars_sharpe": 2.5, "bars_share": 0.6, "n_trades": 40, "p_against": 0.9},
    {"regime": "panic", "bars_sharpe": -1.25, "bars_share": 0.4, "n_trades": 4, "p_against": math.nan},
]
LUCK: dict[str, Any] = {
    "sharpe": 2.0,
    "twin_sharpes": [0.1 * k - 1.0 for k in range(20)],
    "cpcv_sharpes": [1.0, 1.5, 2.0, 2.5, 3.0, -0.5],
    "pbo_logit_edges": [-1.0, 0.0, 1.0],
    "pbo_logit_counts": [25, 75],
}


def drawn(regimes: object = REGIMES, **luck: Any) -> dict[str, Picture]:
    evidence = {
        "backtest": Evidence("backtest", {}, {}, series={"regimes": regimes}),
        "overfitting": Evidence("overfitting", {"pbo": 0.25}, {}, series={**LUCK, **luck}),
    }
    return {picture.title: picture for picture in selection_pictures(evidence)}


def test_every_regime_stands_with_its_time_trades_and_evidence() -> None:
    picture = drawn()["What each regime brought"]
    assert "trend_up 60 % of the time, 40 trades, p 0.90" in picture.note
    assert "panic 40 % of the time, 4 trades." in picture.note
    assert 'class="gain"' in picture.drawing and 'class="loss"' in picture.drawing


def test_the_strategy_is_marked_among_its_random_twins() -> None:
    picture = drawn()["Beside random entries"]
    assert "above 100 % of them" in picture.note and picture.drawing.count('class="gain"') == 1
    assert "above 50 % of them" in drawn(sharpe=-0.0001)["Beside random entries"].note


def test_splits_tell_median_and_one_in_twenty() -> None:
    assert "Sharpe ratios of 6 paths" in (note := drawn()["Other ways to split the past"].note)
    assert "Median 1.75" in note


def test_halves_tell_the_probability_of_overfitting() -> None:
    picture = drawn()["Does the best of one half hold in the other?"]
    assert "100 ways" in picture.note and "25 % of the ways" in picture.note


@pytest.mark.parametrize(
    "wrong",
    [
        {"twin_sharpes": "no"},
        {"twin_sharpes": [math.nan] * 20},
        {"sharpe": math.nan},
        {"sharpe": None},
    ],
)
def test_twins_that_are_no_numbers_leave_the_picture_out(wrong: dict[str, Any]) -> None:
    assert "Beside random entries" not in drawn(**wrong)


@pytest.mark.parametrize("wrong", [None, 3, ["x"], [{}], REGIMES[:1], [{"bars_sharpe": "high"}] * 3])
def test_regimes_that_are_none_leave_the_picture_out(wrong: object) -> None:
    assert "What each regime brought" not in drawn(wrong)


def test_counts_that_do_not_fit_their_edges_leave_the_picture_out() -> None:
    assert "Does the best of one half hold in the other?" not in drawn(pbo_logit_counts=[1, 2, 3])
    assert "Does the best of one half hold in the other?" not in drawn(pbo_logit_counts=[0, 0])


def test_no_evidence_is_no_picture() -> None:
    assert selection_pictures({}) == []
