"""Overfitting statistics against the values of the literature, and against slow definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_lab.bars import FloatArray
from research_lab.errors import UsageError
from research_lab.validation.overfitting import (
    deflated_sharpe,
    deflated_threshold,
    expected_max_normals,
    min_backtest_length,
    min_track_record,
    moments,
    null_variance,
    psr,
)
from tests.oracles.selection import slow_deflated_sharpe, slow_min_track_record, slow_psr

SHARPES = st.floats(-0.3, 0.3)
SKEWS = st.floats(-2, 2)
KURTOSES = st.floats(6, 20)  # raw; at least 1 + skew^2


# Reference values: Bailey, López de Prado (2012, 2014); Bailey et al. (2014), recomputed


def test_psr_has_the_value_of_the_paper() -> None:
    assert psr(1.585 / math.sqrt(12), 24, -2.448, 10.164) == pytest.approx(0.9132343069, abs=1e-10)


def test_the_later_convention_would_give_another_psr() -> None:
    z = 1.585 / math.sqrt(12) * math.sqrt(24)  # variance at the null, divided by T
    assert 0.5 * math.erfc(-z / math.sqrt(2)) == pytest.approx(0.987, abs=1e-3)


@pytest.mark.parametrize(("n_trials", "expected"), [(100, 0.9003968345), (46, 0.950502)])
def test_deflated_sharpe_has_the_values_of_the_paper(n_trials: int, expected: float) -> None:
    value = deflated_sharpe(2.5 / math.sqrt(250), 1250, -3, 10, 0.5 / 250, n_trials)
    assert value == pytest.approx(expected, abs=3e-7)


def test_the_deflated_threshold_has_the_value_of_the_paper() -> None:
    assert deflated_threshold(0.5 / 250, 100) == pytest.approx(0.1131720, abs=5e-8)


def test_expected_maximum_has_the_value_of_the_paper() -> None:
    assert expected_max_normals(100) == pytest.approx(2.5306028932, abs=1e-10)


@pytest.mark.parametrize(
    ("sharpe", "benchmark", "skewness", "kurtosis", "per_year", "years"),
    [(2, 1, 0, 3, 250, 2.7311878), (2, 1, 0, 3, 52, 2.8288336), (3, 2.5, -0.72, 5.78, 12, 27.3529202)],
)
def test_minimum_track_record_has_the_values_of_the_paper(
    sharpe: float, benchmark: float, skewness: float, kurtosis: float, per_year: int, years: float
) -> None:
    root = math.sqrt(per_year)
    found = min_track_record(sharpe / root, skewness, kurtosis, benchmark / root) / per_year
    assert found == pytest.approx(years, abs=5e-8)


def test_minimum_backtest_length_has_the_value_of_the_paper() -> None:
    assert min_backtest_length(45, 1.0) == pytest.approx(4.9980870, abs=5e-8)


# Definitions and relations


@pytest.mark.parametrize("n", [2, 10, 100, 1000])
def test_the_formula_of_the_expected_maximum_is_near_the_integral(n: int) -> None:
    from scipy.integrate import quad
    from scipy.stats import norm

    exact = quad(lambda x: x * n * norm.pdf(x) * norm.cdf(x) ** (n - 1), -10, 10)[0]
    assert expected_max_normals(n) == pytest.approx(exact, abs=0.05)


@given(n=st.integers(1, 10**6))
def test_the_expected_maximum_grows_with_the_number_of_trials(n: int) -> None:
    assert expected_max_normals(1) == 0.0
    assert expected_max_normals(n + 1) > expected_max_normals(n)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_moments_are_those_of_scipy(seed: int) -> None:
    from scipy.stats import kurtosis, skew

    x = np.random.default_rng(seed).standard_gamma(2, 50) - 1.5
    expected = x.mean() / x.std(ddof=1), skew(x), kurtosis(x, fisher=False)
    assert moments(x) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("x", [np.array([]), np.array([0.1]), np.full(9, 0.1)])
def test_moments_of_a_constant_are_not_defined(x: FloatArray) -> None:
    assert all(math.isnan(value) for value in moments(x))


@given(sharpe=SHARPES, skewness=SKEWS, kurtosis=KURTOSES, n=st.integers(2, 5000))
def test_psr_is_one_half_at_the_benchmark_and_falls_as_the_benchmark_rises(
    sharpe: float, skewness: float, kurtosis: float, n: int
) -> None:
    assert psr(sharpe, n, skewness, kurtosis, sharpe) == 0.5
    below, above = (psr(sharpe, n, skewness, kurtosis, sharpe + step) for step in (-0.01, 0.01))
    assert 0 <= above < 0.5 < below <= 1


@given(sharpe=SHARPES, margin=st.floats(0.01, 0.3), skewness=SKEWS, kurtosis=KURTOSES)
def test_at_the_minimum_track_record_psr_reaches_the_confidence(
    sharpe: float, margin: float, skewness: float, kurtosis: float
) -> None:
    n = min_track_record(sharpe, skewness, kurtosis, sharpe - margin, 0.9)
    whole = max(2, math.ceil(n))
    assert psr(sharpe, whole, skewness, kurtosis, sharpe - margin) >= 0.9 - 1e-9
    if whole > 3:
        assert psr(sharpe, whole - 2, skewness, kurtosis, sharpe - margin) < 0.9


def test_a_sharpe_ratio_not_above_the_benchmark_never_has_track_record_enough() -> None:
    assert min_track_record(0.1, 0, 3, 0.1) == math.inf


@given(n_trials=st.integers(2, 10_000), years=st.floats(0.5, 20))
def test_at_the_minimum_length_luck_alone_is_expected_to_show_the_sharpe(n_trials: int, years: float) -> None:
    lucky = expected_max_normals(n_trials) / math.sqrt(years)
    assert min_backtest_length(n_trials, lucky) == pytest.approx(years)


def test_one_trial_deflates_nothing_and_more_trials_deflate_more() -> None:
    plain = psr(0.1, 500, -0.5, 6)
    deflated = [deflated_sharpe(0.1, 500, -0.5, 6, 0.001, n) for n in (1, 10, 100, 1000)]
    assert deflated[0] == plain
    assert deflated == sorted(deflated, reverse=True)


def test_nan_in_gives_nan_out() -> None:
    nan = math.nan
    assert math.isnan(psr(nan, 100, 0, 3)) and math.isnan(psr(0.1, 100, nan, 3))
    assert math.isnan(psr(0.1, 100, 0, 3, nan))
    assert math.isnan(deflated_sharpe(0.1, 100, 0, 3, nan, 10))
    assert math.isnan(min_track_record(nan, 0, 3)) and math.isnan(min_track_record(0.1, 0, 3, nan))


def test_a_variance_that_is_not_positive_defines_no_psr() -> None:
    assert math.isnan(psr(1.0, 100, 3.0, 2.0))  # no distribution has such a kurtosis
    assert math.isnan(min_track_record(1.0, 3.0, 2.0))


@pytest.mark.parametrize(
    "call",
    [
        lambda: psr(0.1, 1, 0, 3),
        lambda: expected_max_normals(0),
        lambda: deflated_threshold(-1.0, 5),
        lambda: min_track_record(0.1, 0, 3, confidence=0.5),
        lambda: min_backtest_length(5, 0.0),
        lambda: min_backtest_length(5, math.nan),
        lambda: expected_max_normals(0.5),
        lambda: expected_max_normals(math.inf),
        lambda: null_variance(1),
    ],
)
def test_arguments_out_of_range_are_refused(call: object) -> None:
    with pytest.raises(UsageError):
        call()  # type: ignore[operator]


# Independent implementations


@given(seed=st.integers(0, 1000), n=st.integers(30, 400))
@settings(max_examples=30)
def test_figures_of_returns_are_those_of_the_slow_definitions(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    daily = 0.01 * rng.standard_t(6, n) + 0.001
    sharpes = rng.normal(0, 0.05, 40)
    sharpe, skewness, kurtosis = moments(daily)
    observed = sharpe, n, skewness, kurtosis
    assert psr(*observed, 0.02) == pytest.approx(slow_psr(daily, 0.02), rel=1e-10)
    found = deflated_sharpe(*observed, float(sharpes.var(ddof=1)), 40)
    assert found == pytest.approx(slow_deflated_sharpe(daily, sharpes), rel=1e-9)
    if sharpe > 0.01:
        enough = min_track_record(sharpe, skewness, kurtosis, 0.0, 0.95)
        assert enough == pytest.approx(slow_min_track_record(daily, 0.0, 0.95), rel=1e-6)


def test_the_null_variance_is_that_of_the_sharpe_ratios_of_noise() -> None:
    noise = np.random.default_rng(1).normal(size=(20_000, 100))
    assert null_variance(100) == pytest.approx((noise.mean(1) / noise.std(1, ddof=1)).var(), rel=0.04)


@given(n=st.floats(1.0, 3.0))
def test_of_little_more_than_one_trial_the_expected_maximum_is_not_negative(n: float) -> None:
    assert 0.0 <= expected_max_normals(n) <= 0.9
