"""The family-wise p: its level under the null, what dependence costs, and what it must never depend on."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_lab.bars import FloatArray
from research_lab.errors import InsufficientError, UsageError
from research_lab.validation import family_wise
from research_lab.validation.block_bootstrap import default_block_length, effective_blocks
from research_lab.validation.family_wise import (
    LEVELS,
    MIN_DAYS,
    family_wise_p,
    holdout_level,
    research_weight,
    single_p,
    stouffer,
)
from research_lab.validation.trial_columns import TrialColumns, trial_columns

SEEDS = st.integers(0, 10_000)


def noise(seed: int, n_days: int = 120, n_trials: int = 4) -> FloatArray:
    returns: FloatArray = np.random.default_rng(seed).standard_t(4, (n_days, n_trials)) * 0.01
    return returns


def garch_world(seed: int, n_days: int, n_trials: int) -> FloatArray:
    """Return returns without edge: volatility clusters, t(5) shocks, three common factors.

    h' = 0.02 + 0.10 min(r^2, 50 h) + 0.88 h. A quarter each of the trials has correlation 0, 0.5, 0.9 and
    0.99 to its factor; half of them hold a position on 30 % of the days, in stays of ten on average.
    """
    rng = np.random.default_rng([77, seed])
    shocks = rng.standard_t(5, (n_days + 100, n_trials + 3)) / math.sqrt(5 / 3)
    variance = np.ones(n_trials + 3)
    raw = np.empty_like(shocks)
    for day, shock in enumerate(shocks):
        raw[day] = np.sqrt(variance) * shock
        variance = 0.02 + 0.10 * np.minimum(raw[day] ** 2, 50 * variance) + 0.88 * variance
    factors, own = raw[100:, :3], raw[100:, 3:]
    share = rng.choice([0.0, 0.5, 0.9, 0.99], n_trials)
    world = np.sqrt(share) * factors[:, rng.integers(0, 3, n_trials)] + np.sqrt(1 - share) * own
    stays = np.repeat(rng.random((n_days // 10 + 2, n_trials)) < 0.3, 10, axis=0)[5 : n_days + 5]
    returns: FloatArray = 0.01 * np.where(np.arange(n_trials) % 2 == 0, world, world * stays)
    return returns


# The level


@pytest.mark.parametrize(
    ("n_days", "n_trials", "n_worlds"), [(250, 1, 500), (250, 5, 300), (350, 30, 200), (350, 300, 40)]
)
def test_without_an_edge_the_best_trial_passes_no_more_often_than_the_level(
    n_days: int, n_trials: int, n_worlds: int
) -> None:
    best = []
    for seed in range(n_worlds):
        found = family_wise_p(garch_world(seed, n_days, n_trials), 0, n_draws=299, seed=seed)
        best.append(np.nanmin(found.p_values))
    for level in (0.01, 0.05, 0.10):
        expected = level * n_worlds
        n_passed = int((np.array(best) <= level).sum())
        assert n_passed <= expected + 3 * math.sqrt(expected * (1 - level)), level
    assert 0.4 < float(np.mean(best)) < 0.65  # with much flat time and many trials a little too careful


def test_the_level_check_finds_a_method_that_forgets_the_other_trials() -> None:
    passed = 0
    for seed in range(40):
        world = garch_world(seed, 250, 30)
        statistics = family_wise_p(world, 0, n_draws=1).statistics
        passed += single_p(world[:, int(np.nanargmax(statistics))], n_draws=199, seed=seed) <= 0.05
    assert passed > 8  # 2 by the level; more than 8 of 40 by luck once in 7,000


@pytest.mark.parametrize("wins", [0.5, 0.7, 0.9])
def test_a_family_of_few_uneven_days_is_judged_too_hard_rather_than_too_easily(wins: float) -> None:
    best = []
    for seed in range(12):
        rng = np.random.default_rng([5, seed])
        x = np.zeros((1000, 300))
        for column in x.T:
            days = rng.choice(1000, rng.integers(12, 41), replace=False)
            won = rng.random(days.shape[0]) < wins
            column[days] = np.where(won, (1 - wins) / wins, -1.0) + 0.02 * rng.normal(size=days.shape[0])
        best.append(np.nanmin(family_wise_p(x, 0, n_draws=299, seed=seed).p_values))
    assert (np.array(best) <= 0.05).sum() <= 3  # 0.6 by the level; more than 3 of 12 by luck once in 450
    assert np.mean(best) > 0.3


def test_a_planted_edge_passes() -> None:
    world = garch_world(5, 1000, 100)
    world[:, 17] += 0.2 * world[:, 17].std()  # an annual Sharpe ratio of 3.8
    found = family_wise_p(world, 17)
    assert found.p <= 0.01
    assert found.statistic > found.critical_99
    assert np.nanargmin(found.p_values) == 17


def test_memory_is_bounded_by_a_copy_of_the_family_and_a_few_groups() -> None:
    x = np.asfortranarray(noise(1, 1000, 2000))
    family_wise_p(x[:, :40], 0, n_draws=10)  # compiled
    tracemalloc.start()
    try:
        family_wise_p(x, 0, n_draws=500, n_threads=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * x.nbytes + 30e6  # 16 MB of returns; sums of blocks of two groups, one best a group


# The statistic and its distribution


def test_the_statistic_is_the_studentised_mean() -> None:
    x = noise(1)
    expected = math.sqrt(len(x)) * x.mean(axis=0) / x.std(axis=0, ddof=1)
    np.testing.assert_allclose(family_wise_p(x, 0, n_draws=1).statistics, expected, rtol=1e-12)


@pytest.mark.parametrize("block_length", [1, 3, 7, 11])
def test_it_equals_a_slow_bootstrap_over_explicit_days(block_length: int) -> None:
    x = noise(2, 150, 5)
    x[:, 1] *= np.random.default_rng(3).random(150) < 0.4
    n, n_draws = len(x), 60
    starts = np.random.default_rng(9).integers(0, n, size=(n_draws, -(-n // block_length)))
    best = np.full(n_draws, -np.inf)
    own = []
    for column in x.T:
        exposed = column != 0
        centred = np.where(exposed, column - column[exposed].mean(), 0.0)
        blocks = [sum(exposed[(s + k) % n] for k in range(block_length)) for s in range(n)]
        k = sum(blocks) ** 2 / (block_length * sum(b * b for b in blocks))
        shrunk = 1 - 1 / exposed.sum()
        ratios = []
        for start in starts:
            days = [(s + i) % n for s in start for i in range(block_length)][:n]
            ratios.append(centred[days].sum() / math.sqrt((centred[days] ** 2).sum()))
        best = np.maximum(best, math.sqrt(shrunk * k / (k - 1)) * np.array(ratios))
        own.append(math.sqrt(shrunk * k / (k - 3)) * np.array(ratios))
    sample = x.sum(axis=0) / np.sqrt((x**2).sum(axis=0))
    hits = [
        max((best >= ratio).sum(), (alone >= ratio).sum()) for ratio, alone in zip(sample, own, strict=True)
    ]
    expected = [(1 + hit) / (1 + n_draws) for hit in hits]
    critical = np.quantile(best, 0.95, method="higher")
    found = family_wise_p(x, 0, n_draws=n_draws, seed=9, block_length=block_length)
    np.testing.assert_allclose(found.p_values, expected, rtol=1e-12)
    t = critical * math.sqrt((n - 1) / n / (1 - critical**2 / n))
    assert found.critical_95 == pytest.approx(t, rel=1e-12)
    assert found.block_length == block_length


def test_of_independent_normal_trials_the_critical_value_is_sidaks() -> None:
    from scipy.stats import norm

    x = np.random.default_rng(4).normal(size=(2000, 50))
    found = family_wise_p(x, 0, n_draws=4000)
    assert found.critical_95 == pytest.approx(norm.ppf(0.95 ** (1 / 50)), abs=0.12)  # 3.08
    assert found.critical_99 == pytest.approx(norm.ppf(0.99 ** (1 / 50)), abs=0.20)  # 3.54


def test_twins_cost_nothing_and_strangers_their_full_price() -> None:
    rng = np.random.default_rng(6)
    one = rng.normal(size=(1000, 1))
    twins = one + 0.001 * rng.normal(size=(1000, 100))
    strangers = rng.normal(size=(1000, 100))
    alone, together, among = (family_wise_p(x, 0).critical_95 for x in (one, twins, strangers))
    assert together == pytest.approx(alone, abs=0.1)
    assert among > alone + 1.3  # 3.28 against 1.64


def test_it_agrees_with_hansens_upper_p_and_with_stepm() -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    x = noise(11, 500, 20)
    x[:, 3] += 0.0022
    length = default_block_length(500)
    found = family_wise_p(x, 3, n_draws=2000)
    spa = bootstrap.SPA(
        np.zeros(500), -x, block_size=length, reps=2000, bootstrap="circular", studentize=True, seed=1
    )
    spa.compute()
    assert 0.001 < found.p < 0.2  # an example at which a difference would show
    assert found.p == pytest.approx(float(spa.pvalues["upper"]), abs=0.02)
    for level in (0.02, 0.20):
        step = bootstrap.StepM(
            np.zeros(500), -x, size=level, block_size=length, reps=2000, bootstrap="circular", seed=1
        )
        step.compute()
        assert set(np.flatnonzero(found.p_values <= level)) <= {int(c) for c in step.superior_models}
        assert (3 in step.superior_models) == (found.p <= level)


# What must not matter


@given(seed=SEEDS)
@settings(max_examples=20)
def test_the_same_seed_gives_the_same_bytes_in_any_memory_order(seed: int) -> None:
    x = noise(seed)
    one = family_wise_p(x, 1, n_draws=50, seed=seed)
    two = family_wise_p(np.asfortranarray(x), 1, n_draws=50, seed=seed)
    assert one.p_values.tobytes() == two.p_values.tobytes()
    assert (one.p, one.statistic, one.critical_95, one.critical_99) == (
        two.p,
        two.statistic,
        two.critical_95,
        two.critical_99,
    )


@pytest.mark.parametrize("n_threads", [2, 3, 16])
def test_the_number_of_threads_does_not_matter(n_threads: int) -> None:
    x = noise(3, 100, 170)
    one = family_wise_p(x, 0, n_draws=200, n_threads=1)
    many = family_wise_p(x, 0, n_draws=200, n_threads=n_threads)
    assert one.p_values.tobytes() == many.p_values.tobytes()
    assert (one.critical_95, one.critical_99, one.n_effective) == (
        many.critical_95,
        many.critical_99,
        many.n_effective,
    )


@pytest.mark.parametrize("library_threads", ["1", "4"])
def test_a_process_with_other_threads_of_libraries_gives_the_same_bytes(library_threads: str) -> None:
    code = (
        "import numpy as np; from research_lab.validation.family_wise import family_wise_p\n"
        "x = np.random.default_rng(5).standard_t(4, (300, 90)) * 0.01\n"
        f"print(family_wise_p(x, 3, n_draws=300, n_threads={library_threads}).p_values.tobytes().hex())"
    )
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), library_threads)
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
        check=True,
    )
    x = np.random.default_rng(5).standard_t(4, (300, 90)) * 0.01
    assert told.stdout.strip() == family_wise_p(x, 3, n_draws=300).p_values.tobytes().hex()


def test_a_column_has_the_same_draws_in_any_company() -> None:
    x = noise(3, 100, 70)
    alone = family_wise_p(x[:, 66:67], 0, n_draws=100)
    among = family_wise_p(np.hstack([np.zeros((100, 5)), x[:, 66:67]]), 5, n_draws=100)
    assert (alone.p, alone.critical_99) == (among.p, among.critical_99)


@given(seed=SEEDS, order=st.permutations(range(6)))
@settings(max_examples=20)
def test_the_order_of_the_trials_does_not_matter(seed: int, order: list[int]) -> None:
    x = noise(seed, n_trials=6)
    straight = family_wise_p(x, 0, n_draws=50).p_values
    shuffled = family_wise_p(x[:, order], 0, n_draws=50).p_values
    assert shuffled.tobytes() == straight[order].tobytes()


@given(seed=SEEDS, exponents=st.lists(st.integers(-8, 8), min_size=4, max_size=4))
@settings(max_examples=20)
def test_leverage_does_not_matter(seed: int, exponents: list[int]) -> None:
    x = noise(seed)
    levered = family_wise_p(x * 2.0 ** np.array(exponents), 0, n_draws=50).p_values
    assert levered.tobytes() == family_wise_p(x, 0, n_draws=50).p_values.tobytes()


@given(seed=SEEDS, copies=st.lists(st.integers(0, 3), max_size=5))
@settings(max_examples=20)
def test_copies_of_trials_change_no_p(seed: int, copies: list[int]) -> None:
    x = noise(seed)
    more = family_wise_p(np.hstack([x, x[:, copies]]), 0, n_draws=50)
    assert more.p_values[:4].tobytes() == family_wise_p(x, 0, n_draws=50).p_values.tobytes()
    assert more.n_trials == 4 + len(copies) and more.n_columns == 4


@given(seed=SEEDS, n_more=st.integers(1, 30))
@settings(max_examples=20)
def test_more_trials_never_lower_a_p(seed: int, n_more: int) -> None:
    x = noise(seed, n_trials=4 + n_more)
    few = family_wise_p(x[:, :4], 0, n_draws=50).p_values
    many = family_wise_p(x, 0, n_draws=50).p_values[:4]
    assert (many >= few).all()


@given(seed=SEEDS)
@settings(max_examples=20)
def test_missing_days_are_flat_days(seed: int) -> None:
    x = noise(seed)
    x[:30, 2] = np.nan
    flat = np.nan_to_num(x)
    flat[0, 2] = -0.0
    missing = family_wise_p(x, 2, n_draws=50).p_values
    assert missing.tobytes() == family_wise_p(flat, 2, n_draws=50).p_values.tobytes()


@given(seed=SEEDS, n_draws=st.integers(1, 200))
@settings(max_examples=20)
def test_a_p_lies_between_one_draw_and_one(seed: int, n_draws: int) -> None:
    p_values = family_wise_p(noise(seed), 0, n_draws=n_draws).p_values
    assert (p_values >= 1 / (1 + n_draws)).all() and (p_values <= 1).all()


# Near-duplicates


def kinds(seed: int, n_kinds: int, n_members: int, apart: float, n_days: int = 500) -> FloatArray:
    """Return columns of some kinds, members of which differ by noise of a share `apart`."""
    rng = np.random.default_rng([3, seed])
    factors = np.repeat(rng.normal(size=(n_days, n_kinds)), n_members, axis=1)
    made: FloatArray = 0.01 * (factors + apart * rng.normal(size=factors.shape))
    return made


def test_near_duplicates_are_drawn_once_and_counted() -> None:
    found = family_wise_p(kinds(1, 6, 20, 0.004), 17, n_draws=100)
    assert (found.n_trials, found.n_columns) == (120, 120)
    assert found.n_drawn == 7  # the candidate stands alone
    assert sorted(np.bincount(found.leaders)) == [1, 19, 20, 20, 20, 20, 20]


def test_strangers_and_mere_relatives_are_not_merged() -> None:
    for apart in (0.02, 0.1, 1.0):
        found = family_wise_p(kinds(1, 6, 20, apart), 17, n_draws=10)
        assert found.n_drawn == found.n_columns == 120


def test_the_candidate_and_the_best_keep_their_statistics_when_kinds_are_merged() -> None:
    x = kinds(2, 5, 20, 0.005)
    found = family_wise_p(x, 33, n_draws=100)
    expected = math.sqrt(len(x)) * x.mean(axis=0) / x.std(axis=0, ddof=1)
    np.testing.assert_allclose(found.statistics, expected, rtol=1e-9)
    assert found.statistic == found.statistics[33]
    assert (found.leaders == found.leaders[33]).sum() == 1


@pytest.mark.parametrize("apart", [0.001, 0.004, 0.008])
def test_merging_kinds_never_makes_the_test_liberal(apart: float, monkeypatch: pytest.MonkeyPatch) -> None:
    merged, unmerged = [], []
    for seed in range(6):
        x = kinds(seed, 20, 25, apart)
        merged.append(family_wise_p(x, 0, n_draws=4000, seed=seed))
    monkeypatch.setattr(family_wise, "trial_columns", lambda *given: trial_columns(*given, alike=2.0))
    for seed in range(6):
        x = kinds(seed, 20, 25, apart)
        unmerged.append(family_wise_p(x, 0, n_draws=4000, seed=seed))
    assert max(found.n_drawn for found in merged) <= 60 < min(found.n_drawn for found in unmerged)
    for name in ("critical_95", "critical_99"):
        raised = [getattr(a, name) - getattr(b, name) for a, b in zip(merged, unmerged, strict=True)]
        assert np.mean(raised) > -0.005, name  # the lift pays for what is not drawn,
        assert np.mean(raised) < 0.05, name  # and costs little
    least = [(a.p_values + 1e-3) / (b.p_values + 1e-3) for a, b in zip(merged, unmerged, strict=True)]
    assert np.mean(least) > 1.0


def test_without_the_lift_merging_kinds_would_be_liberal(monkeypatch: pytest.MonkeyPatch) -> None:
    x = kinds(3, 20, 25, 0.008)
    whole = family_wise_p(x, 0, n_draws=4000).critical_95

    def unlifted(*given: object) -> TrialColumns:
        columns = trial_columns(*given)  # type: ignore[arg-type]
        return replace(columns, lift=0.0 * columns.lift)

    monkeypatch.setattr(family_wise, "trial_columns", unlifted)
    assert family_wise_p(x, 0, n_draws=4000).critical_95 < whole - 0.005


def test_columns_whose_likeness_hangs_on_a_few_days_are_not_merged() -> None:
    rng = np.random.default_rng(4)
    x = 0.0001 * rng.normal(size=(500, 30))
    x[rng.choice(500, 8, replace=False)] += 0.5 * rng.normal(size=(8, 1))
    assert float(np.corrcoef(x.T).min()) > 0.9999
    assert family_wise_p(x, 0, n_draws=10).n_drawn == 30


def test_the_effective_number_of_trials_counts_strangers_whole_and_kinds_once() -> None:
    strangers = np.random.default_rng(4).normal(size=(1500, 40))
    twins = kinds(1, 40, 5, 0.001, 1500)
    assert family_wise_p(strangers, 0, n_draws=4000).n_effective == pytest.approx(40, rel=0.15)
    assert family_wise_p(twins, 0, n_draws=4000).n_effective == pytest.approx(40, rel=0.15)
    assert family_wise_p(strangers[:, :1], 0, n_draws=4000).n_effective == pytest.approx(1, abs=0.1)


# What cannot be measured


def test_a_trial_without_variance_is_left_out_and_has_no_p() -> None:
    x = noise(1, n_trials=5)
    x[:, 1], x[:, 2], x[:, 3] = 0.0, 0.003, np.nan
    found = family_wise_p(x, 1)
    assert math.isnan(found.p) and math.isnan(found.statistic)
    assert np.isnan(found.p_values).tolist() == [False, True, True, True, False]
    assert found.n_trials == 5 and found.n_columns == 2


def test_a_trial_of_a_few_stays_is_left_out_and_has_no_p() -> None:
    x = noise(1, 400, 3)
    x[:, 1] *= np.arange(400) // 10 % 10 == 0  # four stays of ten days
    x[:, 2] *= np.arange(400) // 10 % 2 == 0  # twenty stays
    found = family_wise_p(x, 1)
    assert np.isnan(found.p_values).tolist() == [False, True, False]


def test_a_family_without_any_measured_trial_has_no_numbers() -> None:
    found = family_wise_p(np.zeros((100, 3)), 0)
    assert math.isnan(found.p) and math.isnan(found.critical_95)
    assert found.n_columns == 0


def test_rare_losers_do_not_raise_the_bar_for_the_others() -> None:
    rng = np.random.default_rng(8)
    strangers = rng.normal(size=(1000, 100))
    losers = np.where(rng.random((1000, 100)) < 0.02, -1 - 0.1 * rng.random((1000, 100)), 0.0)
    alone = family_wise_p(strangers, 0).critical_95
    assert family_wise_p(np.hstack([strangers, losers]), 0).critical_95 < alone + 0.5


def test_of_several_columns_the_weakest_decides() -> None:
    x = noise(12)
    found = family_wise_p(x, [0, 1, 2])
    assert found.p == found.p_values[:3].max()
    assert found.statistic == found.statistics[:3].min()
    x[:, 1] = 0.0
    assert math.isnan(family_wise_p(x, [0, 1, 2]).p)


def test_too_few_days_are_insufficient() -> None:
    family_wise_p(noise(1, MIN_DAYS), 0, n_draws=9)
    with pytest.raises(InsufficientError):
        family_wise_p(noise(1, MIN_DAYS - 1), 0, n_draws=9)


@pytest.mark.parametrize("candidate", [-1, 4, [0, 9], []])
def test_a_column_that_is_not_there_is_refused(candidate: int | list[int]) -> None:
    with pytest.raises(UsageError):
        family_wise_p(noise(1), candidate)


@pytest.mark.parametrize("arguments", [{"n_draws": 0}, {"block_length": 0}, {"block_length": 121}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        family_wise_p(noise(1), 0, **arguments)


def test_an_infinite_return_and_a_wrong_shape_are_refused() -> None:
    x = noise(1)
    with pytest.raises(UsageError, match="shape"):
        family_wise_p(x[:, 0], 0)
    x[7, 2] = np.inf
    with pytest.raises(UsageError, match="day 7 in column 2"):
        family_wise_p(x, 0)


@given(pattern=st.lists(st.booleans(), min_size=20, max_size=60), length=st.integers(1, 10))
def test_blocks_of_exposure_are_worth_at_least_one_and_at_most_their_days(
    pattern: list[bool], length: int
) -> None:
    exposed = np.array([True, *pattern])
    worth = effective_blocks(exposed, length)
    assert 1 - 1e-12 <= worth <= exposed.sum() + 1e-9
    assert worth <= len(exposed) / length + exposed.sum()


@pytest.mark.parametrize(("stay", "gap", "worth"), [(1, 19, 10.0), (200, 0, 40.0), (4, 196, 1.0)])
def test_the_worth_of_plain_patterns_is_known(stay: int, gap: int, worth: float) -> None:
    exposed = np.tile(np.arange(stay + gap) < stay, 200 // (stay + gap))
    assert effective_blocks(exposed, 5) == pytest.approx(worth, rel=0.5 if stay == 4 else 1e-12)


def test_single_p_is_a_family_of_one() -> None:
    x = noise(3)
    assert single_p(x[:, 0], seed=4) == family_wise_p(x[:, :1], 0, seed=4).p


# Combining


@given(p_a=st.floats(1e-6, 1 - 1e-6), p_b=st.floats(1e-6, 1 - 1e-6), share=st.floats(0.05, 0.95))
def test_stouffer_is_that_of_scipy_and_symmetric(p_a: float, p_b: float, share: float) -> None:
    from scipy.stats import combine_pvalues

    a, b = math.sqrt(share), math.sqrt(1 - share)
    expected = combine_pvalues([p_a, p_b], method="stouffer", weights=[a, b]).pvalue
    assert stouffer(p_a, p_b, a, b) == pytest.approx(expected, rel=1e-6)
    assert stouffer(p_a, p_b, a, b) == pytest.approx(stouffer(p_b, p_a, b, a), rel=1e-12)


def test_stouffer_at_its_borders() -> None:
    assert stouffer(1.0, 1e-9, 1, 1) == 1.0
    assert stouffer(0.5, 0.5, 1, 3) == pytest.approx(0.5)
    assert math.isnan(stouffer(math.nan, 0.01, 1, 1))
    assert math.isnan(stouffer(0.01, math.nan, 1, 1))


@pytest.mark.parametrize(
    "arguments", [(0.0, 0.1, 1, 1), (0.1, 1.1, 1, 1), (0.1, 0.1, 0, 1), (0.1, 0.1, 1, -1)]
)
def test_stouffer_refuses_what_is_no_p_and_no_weight(arguments: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError):
        stouffer(*arguments)


def test_the_levels_of_all_openings_add_up_to_the_total() -> None:
    levels = [holdout_level(k, 0.05) for k in range(1, 10_001)]
    assert sum(levels) == pytest.approx(0.05, abs=1e-5)
    assert levels == sorted(levels, reverse=True)
    with pytest.raises(UsageError):
        holdout_level(0, 0.05)


def test_weights_of_the_levels_are_below_one_on_average_and_fall_with_p() -> None:
    every = np.linspace(0.0, 1.0, 200_001)[1:]
    weights = np.array([research_weight(p, 0.02, 3.0) for p in every])
    assert weights.mean() == pytest.approx(0.02 * (1 + math.log(3 / 0.02)), abs=1e-4)
    assert weights.max() == 3.0 and (np.diff(weights) <= 0.0).all()


@pytest.mark.parametrize("p", [0.0, -0.1, 1.1, math.nan])
def test_a_weight_needs_a_research_p_that_is_one(p: float) -> None:
    with pytest.raises(UsageError, match="research p"):
        research_weight(p, 0.02, 3.0)


# What a p needs


@pytest.mark.parametrize("n_trials", [1, 2, 40])
@pytest.mark.parametrize("flat", [0.0, 0.7])
def test_the_statistic_told_is_the_one_that_a_p_needs(n_trials: int, flat: float) -> None:
    """The candidate's exposed days are moved until its statistic is just above the one told, or just below."""
    daily = noise(5, 300, n_trials) * np.repeat(np.random.default_rng(6).random(60) >= flat, 5)[:, None]
    found = family_wise_p(daily, 0, n_draws=499)
    exposed = daily[:, 0] != 0.0
    for level in (0.01, 0.1, 0.25):
        needed = found.needed[LEVELS.index(level)]
        for side, reached in ((1.0 + 1e-6, True), (1.0 - 1e-6, False)):
            moved = daily.copy()
            moved[exposed, 0] += _lift(daily[:, 0], needed * side)
            again = family_wise_p(moved, 0, n_draws=499)
            assert again.statistic == pytest.approx(needed, rel=1e-5)
            assert (again.p <= level) == reached


def _lift(daily: FloatArray, wanted: float) -> float:
    """Return what to add to the days that are not zero, so that the statistic becomes what is wanted."""
    exposed = daily != 0.0
    low, high = -0.1, 0.1
    for _ in range(200):
        middle = (low + high) / 2
        moved = np.where(exposed, daily + middle, daily)
        t = math.sqrt(moved.shape[0]) * moved.mean() / moved.std(ddof=1)
        low, high = (middle, high) if t < wanted else (low, middle)
    return high


def test_what_too_few_draws_or_days_cannot_tell_needs_no_number() -> None:
    found = family_wise_p(noise(1), 0, n_draws=499)
    assert (
        np.isinf(found.needed[0]) and np.isfinite(found.needed[3]) and (np.diff(found.needed[3:]) <= 0).all()
    )
    assert np.isnan(family_wise_p(np.zeros((120, 2)), 0, n_draws=99).needed).all()
