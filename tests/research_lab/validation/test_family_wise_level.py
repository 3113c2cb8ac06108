"""Without an edge, the p of the best trial is uniform: for 5, 30 and 1,000 effective trials."""

from __future__ import annotations

import math

import numpy as np
import pytest

from research_lab.bars import FloatArray
from research_lab.validation.family_wise import family_wise_p

N_DAYS = 1460


def world(seed: int, n_kinds: int, n_members: int) -> FloatArray:
    """Return fat-tailed daily returns without an edge: kinds of trials whose members are near relatives."""
    rng = np.random.default_rng([9, n_kinds, seed])
    kinds = np.repeat(rng.standard_t(5, (N_DAYS, n_kinds)), n_members, axis=1)
    own = 0.03 * rng.standard_t(5, kinds.shape) if n_members > 1 else 0.0
    return np.asarray(0.01 * (kinds + own))


@pytest.mark.proof
@pytest.mark.parametrize(
    ("n_kinds", "n_members", "n_worlds", "at_least"),
    [(5, 20, 4000, 100), (30, 10, 2000, 40), (1000, 1, 800, 8)],
)
def test_the_best_trials_p_is_uniform(
    n_kinds: int, n_members: int, n_worlds: int, at_least: int, campaign_share: float
) -> None:
    n_worlds = max(at_least, round(campaign_share * n_worlds))
    p, n_effective = np.empty(n_worlds), np.empty(n_worlds)
    for seed in range(n_worlds):
        found = family_wise_p(world(seed, n_kinds, n_members), 0, n_draws=499, seed=seed)
        p[seed], n_effective[seed] = found.p_values.min(), found.n_effective
    assert n_effective.mean() == pytest.approx(n_kinds, rel=0.25)
    for level in (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9):
        expected = level * n_worlds
        apart = (
            4.0 * math.sqrt(expected * (1.0 - level)) + 0.1 * expected
        )  # a tenth: what resampling may miss
        assert abs((p <= level).sum() - expected) <= apart, level
