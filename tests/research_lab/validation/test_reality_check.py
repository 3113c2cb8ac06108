"""Reality check and SPA: the slow definition, arch, the level, and what must never matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_lab.bars import FloatArray
from research_lab.errors import InsufficientError, UsageError
from research_lab.validation.block_bootstrap import block_starts
from research_lab.validation.reality_check import MIN_DAYS, RealityCheck, reality_check
from tests.oracles.selection import slow_reality_check

SEEDS = st.integers(0, 10_000)


def world(seed: int, n_days: int = 150, n_trials: int = 5) -> tuple[FloatArray, FloatArray]:
    """Return trials that hold a part of the market, and the market."""
    rng = np.random.default_rng([8, seed])
    market = rng.standard_t(5, n_days) * 0.02
    own = rng.standard_t(5, (n_days, n_trials)) * 0.01
    return own + 0.5 * market[:, None], market


def bytes_of(found: RealityCheck) -> bytes:
    return found.white_values.tobytes() + found.consistent_values.tobytes()


@given(seed=SEEDS, length=st.sampled_from([1, 4, 7]), n_trials=st.sampled_from([1, 5, 70]))
@settings(max_examples=15)
def test_it_equals_its_slow_definition(seed: int, length: int, n_trials: int) -> None:
    x, market = world(seed, 90, n_trials)
    x[:, 0] -= 0.01  # far below the benchmark
    found = reality_check(x, market, n_draws=40, seed=seed, block_length=length)
    expected = slow_reality_check(x, market, block_starts(90, length, 40, seed), length)
    assert vars(found) | expected == vars(found)


def test_whites_p_is_archs_upper_one_and_spas_are_archs_on_studentised_differences() -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    x, market = world(3, 500, 20)
    x[:, 4] += 0.0016
    x[:, :3] -= 0.004
    found = reality_check(x, market, n_draws=3000)
    given = {"block_size": found.block_length, "reps": 3000, "bootstrap": "circular", "seed": 1}
    plain = bootstrap.SPA(-market, -x, **given)
    plain.compute()
    assert 0.02 < found.white < 0.6  # an example at which a difference would show
    assert found.white == pytest.approx(float(plain.pvalues["upper"]), abs=0.03)
    d = x - market[:, None]
    centred = d - d.mean(axis=0)
    wrapped = np.concatenate([centred, centred[: found.block_length - 1]])
    sums = np.array([wrapped[s : s + found.block_length].sum(axis=0) for s in range(500)])
    omega = np.sqrt((sums**2).sum(axis=0) / (500 * found.block_length))
    studentised = bootstrap.SPA(np.zeros(500), -d / omega, **given)
    studentised.compute()
    for kind in ("lower", "consistent", "upper"):
        assert getattr(found, kind) == pytest.approx(float(studentised.pvalues[kind]), abs=0.03), kind


def test_without_a_better_trial_it_passes_no_more_often_than_the_level() -> None:
    n_worlds = 300
    found = []
    for seed in range(n_worlds):
        x, _ = world(seed, 250, 8)
        own = np.random.default_rng([4, seed]).standard_t(5, 250) * 0.01
        found.append(reality_check(x, own, n_draws=199, seed=seed))
    for kind in ("white", "consistent", "upper"):
        p = np.array([getattr(each, kind) for each in found])
        for level in (0.05, 0.10):
            expected = level * n_worlds
            assert (p <= level).sum() <= expected + 3 * math.sqrt(expected * (1 - level)), (kind, level)
        assert 0.35 < p.mean() < 0.65


def test_bad_trials_do_not_hide_a_good_one_from_spa() -> None:
    x, market = world(5, 800, 60)
    x[:, 1:] -= 0.02
    x[:, 0] += 0.0018
    found = reality_check(x, market)
    alone = reality_check(x[:, :1], market)
    assert found.consistent == pytest.approx(alone.consistent, abs=0.02)
    assert found.upper > alone.upper + 0.05


@given(seed=SEEDS)
@settings(max_examples=20)
def test_lower_consistent_and_upper_are_in_order_and_the_best_has_the_tests_p(seed: int) -> None:
    found = reality_check(*world(seed), n_draws=99)
    assert 0 < found.lower <= found.consistent <= found.upper <= 1
    assert found.consistent == found.consistent_values.min()
    assert found.white == found.white_values.min()


@pytest.mark.parametrize("n_threads", [2, 5])
def test_the_number_of_threads_does_not_matter(n_threads: int) -> None:
    x, market = world(1, 120, 200)
    one, many = (reality_check(x, market, n_draws=99, n_threads=k) for k in (1, n_threads))
    assert bytes_of(one) == bytes_of(many)


def test_a_trial_that_is_the_benchmark_has_no_p_and_changes_none() -> None:
    x, market = world(2)
    found = reality_check(np.column_stack([x, market]), market, n_draws=99)
    assert math.isnan(found.consistent_values[-1]) and math.isnan(found.white_values[-1])
    assert found.consistent == reality_check(x, market, n_draws=99).consistent
    alone = reality_check(market[:, None], market, n_draws=9)
    assert math.isnan(alone.white) and math.isnan(alone.consistent)


def test_days_without_the_benchmark_are_left_out_and_without_a_trial_are_flat() -> None:
    x, market = world(2)
    gaps = market.copy()
    gaps[:30] = np.nan
    assert bytes_of(reality_check(x, gaps, n_draws=99)) == bytes_of(
        reality_check(x[30:], market[30:], n_draws=99)
    )
    x[40:60, 1] = np.nan
    assert bytes_of(reality_check(x, market, n_draws=99)) == bytes_of(
        reality_check(np.nan_to_num(x), market, n_draws=99)
    )


def test_too_few_days_are_insufficient() -> None:
    x, market = world(1, MIN_DAYS - 1)
    with pytest.raises(InsufficientError):
        reality_check(x, market)


@pytest.mark.parametrize(
    "change",
    [
        lambda x, m: (x[:, 0], m, {}),
        lambda x, m: (x, m[1:], {}),
        lambda x, m: (x, m, {"n_draws": 0}),
        lambda x, m: (x, m, {"block_length": 0}),
        lambda x, m: (x, m, {"block_length": 151}),
        lambda x, m: (np.where(x == x[3, 1], np.inf, x), m, {}),
    ],
)
def test_arguments_out_of_range_are_refused(change: object) -> None:
    x, market, options = change(*world(1))  # type: ignore[operator]
    with pytest.raises(UsageError):
        reality_check(x, market, **options)
