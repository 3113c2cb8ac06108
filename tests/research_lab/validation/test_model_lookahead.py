"""The look-ahead check of models: passes what is causal, and finds every leak that is planted in a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from research_lab.bars import Bars
from research_lab.models import estimators, walk_forward_fit
from research_lab.models.estimators import Rows
from research_lab.models.model import Model
from research_lab.models.samples import Samples, samples_of
from research_lab.models.walk_forward_fit import Scores, fit, training_rows
from research_lab.series import align
from research_lab.timeframe import DAY_MS, HOUR_MS
from research_lab.validation.model_lookahead import check_model
from tests.research_lab.models.made_up import TEXT, bars, model

MARKET = bars()
NO_EMBARGO = TEXT.replace("at_least: 30d", "at_least: 30d, embargo: 0")

Patch = Callable[[pytest.MonkeyPatch], None]


def changed_samples(change: Callable[[Samples], Samples]) -> Patch:
    """Return a fault in what models learn from."""

    def faulty(told: Model, tape: Bars) -> Samples:
        return change(samples_of(told, tape))

    return lambda patch: patch.setattr(walk_forward_fit, "samples_of", faulty)


def changed_rows(known_earlier_ms: int) -> Patch:
    """Return a fault in which labels a fit sees: those complete so much after it as well."""

    def faulty(told: Model, samples: Samples, time: int) -> Rows:
        return training_rows(told, replace(samples, known=samples.known - known_earlier_ms), time)

    return lambda patch: patch.setattr(walk_forward_fit, "training_rows", faulty)


def changed_scores(change: Callable[[Scores, Bars], Any]) -> Callable[..., Scores]:
    """Return a fault in the scores as a whole."""

    def faulty(told: Model, tape: Bars, **options: Any) -> Scores:
        scores = fit(told, tape, **options)
        return replace(scores, score=change(scores, tape))

    return faulty


def filled_backwards(samples: Samples) -> Samples:
    features = samples.features.copy()
    for row in range(features.shape[0] - 2, -1, -1):
        gap = ~np.isfinite(features[row]) | (row % 7 == 0)
        features[row, gap] = features[row + 1, gap]
    return replace(samples, features=features)


def standardised_over_all(samples: Samples) -> Samples:
    mean, deviation = np.nanmean(samples.features, axis=0), np.nanstd(samples.features, axis=0)
    return replace(samples, features=np.tanh((samples.features - mean) / deviation))


def of_the_target(samples: Samples) -> Samples:
    features = samples.features.copy()
    features[:, 0] = np.where(np.isfinite(samples.label), samples.label, features[:, 0])
    return replace(samples, features=features)


PATCHES: dict[str, Patch] = {
    "labels of the whole horizon after the fit": changed_rows(6 * HOUR_MS),
    "labels of two bars after the fit": changed_rows(2 * HOUR_MS),
    "a fit that includes the whole day after it": changed_rows(DAY_MS),
    "features standardised over all bars": changed_samples(standardised_over_all),
    "unknown features filled from later bars": changed_samples(filled_backwards),
    "a feature that is the label": changed_samples(of_the_target),
    "a feature shifted by one bar": changed_samples(
        lambda s: replace(s, features=np.roll(s.features, -1, axis=0))
    ),
    "a window centred on the bar": changed_samples(
        lambda s: replace(
            s, features=(np.roll(s.features, -1, axis=0) + s.features + np.roll(s.features, 1, axis=0))
        )
    ),
}
WHOLES: dict[str, Callable[..., Scores]] = {
    "scores over the deviation of all": changed_scores(lambda s, _: s.score / (1.0 + np.nanstd(s.score))),
    "scores that know how many bars there are": changed_scores(lambda s, tape: s.score * tape.n),
    "scores one fit early": changed_scores(lambda s, _: np.roll(s.score, -24)),
}


@pytest.mark.parametrize("fault", PATCHES)
def test_a_leak_in_what_is_learned_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PATCHES[fault](monkeypatch)
    report = check_model(model(NO_EMBARGO), MARKET, seed=1)
    assert report.outcome == "FAIL", report
    assert report.faults[0].startswith("model drift: with ")


@pytest.mark.parametrize("fault", WHOLES)
def test_a_leak_in_the_scores_is_found(fault: str) -> None:
    assert check_model(model(), MARKET, seed=1, fitter=WHOLES[fault]).outcome == "FAIL"


def test_a_model_that_draws_from_the_clock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(range(10_000))
    forest = TEXT.replace("{ridge: {alpha: 10}}", "{random_forest: {trees: 3, leaf: 50}}")

    def seeded(told: Model) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(n_estimators=3, max_depth=3, random_state=next(drawn), n_jobs=1)

    monkeypatch.setitem(estimators._ESTIMATORS, "random_forest", seeded)
    assert check_model(model(forest), MARKET, seed=1).outcome == "FAIL"


@pytest.mark.parametrize("text", [TEXT, NO_EMBARGO, TEXT.replace("lag: 0", "lag: 5m"),
                                  TEXT.replace("timeframe: 1h", "timeframe: 4h"),
                                  TEXT.replace("window: expanding", "window: 40d")])  # fmt: skip
def test_what_is_causal_passes(text: str) -> None:
    told = model(text)
    borders = (int(MARKET.time[0]) + 55 * DAY_MS,)
    scores = fit(told, MARKET, borders=borders)
    part = MARKET.window(0, 2_200)  # research; what strategies read was made from all
    read = align(scores.visible + told.lag_ms, scores.score, part.time + HOUR_MS, told.max_age_ms)
    report = check_model(told, part, read, told.max_age_ms, borders=borders, seed=2)
    assert report.outcome == "PASS" and report.faults == ()
    assert report.n_cuts >= 8 and report.n_scores > 100


def test_a_score_that_was_made_with_the_exam_is_found() -> None:
    told = model(NO_EMBARGO)
    scores, part = fit(told, MARKET), MARKET.window(0, 2_200)
    read = align(scores.visible, scores.score, part.time + HOUR_MS, told.max_age_ms)
    read[2_000] = np.nextafter(read[2_000], 9.0)
    report = check_model(told, part, read, told.max_age_ms, seed=2)
    assert (
        report.outcome == "FAIL"
        and "with all bars" in report.faults[0]
        and "1 bars differ" in report.faults[0]
    )


def test_bars_too_few_to_fit_on_are_insufficient() -> None:
    report = check_model(model(), MARKET.window(0, 500), seed=2)
    assert report.outcome == "INSUFFICIENT" and "no score in 500 bars" in report.faults[0]
