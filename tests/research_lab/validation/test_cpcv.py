"""Combinatorial purged cross-validation: index sets as skfolio's, paths as the slow definition's."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from research_lab.bars import FloatArray
from research_lab.errors import InsufficientError, UsageError
from research_lab.validation.cpcv import Division, cpcv, cpcv_splits
from tests.oracles.selection import slow_cpcv_sharpes, slow_cpcv_splits

DIVISIONS = st.builds(
    lambda folds, tested, purge, embargo: (folds, min(tested, folds - 1), purge, embargo),
    st.integers(3, 7),
    st.integers(2, 6),
    st.integers(0, 4),
    st.integers(0, 4),
)
MANY = [
    (folds, tested, purge, embargo)
    for folds, tested in [(3, 2), (4, 2), (5, 3), (6, 2), (6, 5), (8, 4), (10, 2), (10, 8)]
    for purge, embargo in [(0, 0), (1, 0), (0, 1), (2, 3), (5, 1)]
]

MANY_DAYS = [
    (n_days, asked)
    for n_days in (80, 131, 365)
    for asked in MANY
    if asked[2] + asked[3] < n_days // asked[0] - 1  # skfolio refuses the others, as we do
]


def noise(seed: int, n_days: int = 200, n_trials: int = 6) -> FloatArray:
    return np.random.default_rng(seed).normal(0, 0.01, (n_days, n_trials))


def sets(n_days: int, division: Division) -> list[tuple[list[int], list[list[int]]]]:
    return [(train.tolist(), [t.tolist() for t in tests]) for train, tests in cpcv_splits(n_days, division)]


@given(n_days=st.integers(20, 130), asked=DIVISIONS)
@settings(max_examples=60)
def test_index_sets_are_those_of_the_rule(n_days: int, asked: tuple[int, int, int, int]) -> None:
    assume(asked[2] + asked[3] < n_days // asked[0] - 1 and n_days % asked[0] <= n_days // asked[0])
    assert sets(n_days, Division(*asked)) == slow_cpcv_splits(n_days, *asked)


@pytest.mark.parametrize(
    ("purge", "embargo", "trained"),
    [
        (0, 0, [[8, 9, 10, 11], [4, 5, 6, 7], [0, 1, 2, 3]]),
        (1, 0, [[9, 10, 11], [5, 6], [0, 1, 2]]),
        (0, 1, [[9, 10, 11], [5, 6, 7], [0, 1, 2, 3]]),
    ],
)
def test_index_sets_are_those_of_skfolios_documentation(
    purge: int, embargo: int, trained: list[list[int]]
) -> None:
    found = sets(12, Division(3, 2, purge, embargo))
    assert [train for train, _ in found] == trained
    folds = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert [tests for _, tests in found] == [list(pair) for pair in itertools.combinations(folds, 2)]


def test_index_sets_and_paths_are_those_of_skfolio() -> None:
    selection = pytest.importorskip("skfolio.model_selection")
    for n_days, asked in MANY_DAYS:
        folds, tested, purge, embargo = asked
        theirs = selection.CombinatorialPurgedCV(folds, tested, purged_size=purge, embargo_size=embargo)
        split = theirs.split(np.zeros((n_days, 1)))
        assert sets(n_days, Division(*asked)) == [(a.tolist(), [t.tolist() for t in b]) for a, b in split]
        np.testing.assert_array_equal(Division(*asked).paths, theirs.recombined_paths)


def test_index_sets_are_those_of_skfolios_source() -> None:
    # The digest comes from a transcription of the split in skfolio's source (2026); the test above asks skfolio itself.
    digest = hashlib.sha256()
    for n_days, asked in MANY_DAYS:
        told = sets(n_days, Division(*asked)), Division(*asked).paths.tolist()
        digest.update(repr(told).encode())
    assert digest.hexdigest() == "3786ee32c1351aa05b80eaa7bdeca5e3fb3427140e632c63bd35a559dbc02f60"


def test_every_path_runs_through_every_day_once_out_of_sample() -> None:
    division = Division(6, 3)
    days = np.arange(60.0).reshape(-1, 1) + 1.0
    found = cpcv(np.hstack([days, days]), division)
    assert found.paths.shape == (60, math.comb(5, 2))
    np.testing.assert_array_equal(found.paths, np.repeat(days, 10, axis=1))


@given(seed=st.integers(0, 1000), asked=DIVISIONS)
@settings(max_examples=30)
def test_paths_are_those_of_the_slow_definition(seed: int, asked: tuple[int, int, int, int]) -> None:
    x = noise(seed, 150)
    assume(asked[2] + asked[3] < 150 // asked[0] - 1)
    np.testing.assert_allclose(cpcv(x, Division(*asked)).sharpes, slow_cpcv_sharpes(x, *asked), rtol=1e-9)


def test_what_is_better_throughout_is_chosen_everywhere_and_has_one_sharpe_ratio() -> None:
    x = noise(1)
    x[:, 4] += 0.02
    found = cpcv(x, Division(8, 2, 3, 1))
    assert set(found.chosen) == {4}
    assert found.sharpes == pytest.approx(x[:, 4].mean() / x[:, 4].std(ddof=1) * math.sqrt(365))
    assert found.share_below_0 == 0.0


def test_without_an_edge_about_half_of_the_paths_lose() -> None:
    found = [cpcv(noise(seed, 400, 40), Division(10, 3, 5, 1)) for seed in range(40)]
    assert 0.35 < np.mean([each.share_below_0 for each in found]) < 0.7
    assert abs(np.mean([each.mean for each in found])) < 0.4


def test_a_test_day_never_chooses_what_is_held_on_it() -> None:
    x, division = noise(2), Division(5, 2, 3, 2)
    before = cpcv(x, division)
    borders = division.borders(len(x))
    for split, folds in enumerate(division.tested):
        moved = x.copy()
        for fold in folds:
            low, high = max(0, borders[fold] - 3), borders[fold + 1] + 5
            moved[low:high] = np.random.default_rng(split).normal(0, 5, moved[low:high].shape)
        assert cpcv(moved, division).chosen[split] == before.chosen[split]


def test_flat_columns_are_never_chosen_and_a_flat_strategy_has_no_sharpe_ratio() -> None:
    x = noise(3) - 0.01
    x[:, 0], x[:, 2] = 0.0, math.nan
    assert not {0, 2} & set(cpcv(x, Division(5, 2)).chosen)
    flat = cpcv(np.zeros((100, 3)), Division(5, 2))
    assert set(flat.chosen) == {-1} and np.isnan(flat.sharpes).all()
    assert flat.mean == 0.0 and flat.share_below_0 == 1.0


@pytest.mark.parametrize("asked", [(3, 3, 0, 0), (5, 1, 0, 0), (5, 2, -1, 0), (5, 2, 0, -1), (40, 20, 0, 0)])
def test_a_division_that_is_none_is_refused(asked: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError):
        Division(*asked)


def test_too_few_days_are_insufficient() -> None:
    cpcv(noise(1, 90), Division(10, 3, 5, 2))
    with pytest.raises(InsufficientError, match="folds of 8 days, less 5 purged and 2 embargoed"):
        cpcv(noise(1, 88), Division(10, 3, 5, 2))
    with pytest.raises(InsufficientError, match="29 days do not make 10 folds"):
        cpcv(noise(1, 29), Division(10, 3))


@pytest.mark.parametrize("x", [np.zeros(50), np.zeros((50, 0)), np.full((50, 2), np.inf)])
def test_returns_of_a_wrong_shape_or_size_are_refused(x: FloatArray) -> None:
    with pytest.raises(UsageError):
        cpcv(x, Division(5, 2))
