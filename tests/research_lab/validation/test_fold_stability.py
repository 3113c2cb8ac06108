"""Drift, rank correlation and decay: known answers, and a planted decay that is found within its error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import linregress, spearmanr

from research_lab.dsl.spec import Param
from research_lab.validation.fold_stability import decay, parameter_drift, rank_correlation


def test_drift_of_even_random_parameters_is_a_third() -> None:
    rng = np.random.default_rng(1)
    chosen = [{"a": float(x)} for x in rng.uniform(0, 7, 20_000)]
    assert parameter_drift({"a": Param(0, 7, 0.1, 1)}, chosen) == pytest.approx(1 / 3, abs=0.01)


def test_parameters_that_stay_do_not_drift_and_none_have_no_drift() -> None:
    params = {"a": Param(0, 10, 1, 3), "fixed": Param(2, 2, 1, 2)}
    assert parameter_drift(params, [{"a": 4.0, "fixed": 2.0}] * 3) == 0.0
    assert math.isnan(parameter_drift({"fixed": Param(2, 2, 1, 2)}, [{"fixed": 2.0}] * 3))


def test_rank_correlation_is_spearmans_over_the_pairs_that_are_known() -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(0, 9, 60).astype(float)
    b = a + rng.normal(0, 3, 60)
    a[3] = b[7] = math.nan
    known = np.isfinite(a) & np.isfinite(b)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a[known], b[known]).statistic)
    assert math.isnan(rank_correlation(a[:2], b[:2]))


def test_the_slope_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(3)
    daily, days = rng.normal(0.001, 0.02, 700), np.arange(700.0)
    slope, error = decay(daily, days)
    fit = linregress(days / 365, daily / daily.std(ddof=1) * math.sqrt(365))
    assert slope == pytest.approx(fit.slope)
    assert error == pytest.approx(fit.stderr, rel=0.3)  # independent returns: both estimate the same error


def test_a_planted_decay_is_found_and_its_error_has_its_level() -> None:
    """Sharpe from 4 falling by 2 a year; the true slope lies within 1.96 errors in about 95 of 100 worlds."""
    days, hits = np.arange(730.0), []
    for seed in range(400):
        noise = np.random.default_rng(seed).normal(0, 1, 730)
        sharpe = 4.0 - 2.0 * days / 365
        slope, error = decay(0.01 * (sharpe / math.sqrt(365) + noise), days)
        hits.append(abs(slope + 2.0) <= 1.96 * error)
    assert 0.90 <= np.mean(hits) <= 0.98


def test_days_without_movement_have_no_decay() -> None:
    assert all(math.isnan(x) for x in decay(np.zeros(100), np.arange(100.0)))
