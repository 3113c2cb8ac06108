"""The drift detector: rare false alarms while the promise is kept, found when the edge is gone, no look ahead."""

from __future__ import annotations

import math

import numpy as np
import pytest

from research_lab.bars import FloatArray
from research_lab.errors import UsageError
from research_lab.validation.drift import KEPT, e_detector, first_alarm

SHARPE = 3.0 / math.sqrt(365.0)


def promise(seed: int = 1) -> FloatArray:
    x = np.random.default_rng(seed).standard_normal(1_500)
    daily: FloatArray = 0.02 * (x - x.mean() + SHARPE)
    return daily


def slow(daily: FloatArray, promised: FloatArray) -> list[float]:
    """Plain Python, from the docstring's words."""
    deviation = float(np.std(promised, ddof=1))
    z = [min(4.0, max(-4.0, x / deviation)) for x in promised]
    wanted = KEPT * sum(z) / len(z)
    value, out = 0.0, []
    for x in daily:
        score = min(4.0, max(-4.0, x / deviation))
        value = (1 + value) * max(0.0, 1 + wanted * (wanted - score))
        out.append(value)
    return out


def test_it_is_what_its_words_say() -> None:
    daily = 0.02 * np.random.default_rng(2).standard_t(4, 400)
    np.testing.assert_allclose(e_detector(daily, promise()), slow(daily, promise()), rtol=1e-12)
    np.testing.assert_array_equal(e_detector(daily[:100], promise()), e_detector(daily, promise())[:100])


@pytest.mark.parametrize("freedom", [3, 30])
def test_false_alarms_are_as_rare_as_promised_at_the_border_of_the_promise(freedom: int) -> None:
    """With half of the promised mean just kept, the mean time to a false alarm is at least the threshold."""
    alarm, times = 200.0, []
    for seed in range(200):
        x = np.random.default_rng([seed, freedom]).standard_t(freedom, 4_000) / math.sqrt(
            freedom / (freedom - 2)
        )
        x = np.clip(x, -4, 4)
        daily = 0.02 * (x - x.mean() + 1.1 * KEPT * SHARPE)
        times.append(first_alarm(e_detector(daily, promise()), alarm) or 4_000)
    assert np.mean(times) > alarm


def test_an_edge_that_is_gone_is_found_and_one_that_lives_is_left_alone() -> None:
    random = np.random.default_rng(5)
    gone = [first_alarm(e_detector(0.02 * random.standard_normal(2_000), promise())) for _ in range(60)]
    found = [days for days in gone if days is not None]
    assert len(found) == 60 and 150 < np.median(found) < 600
    alive = [
        first_alarm(e_detector(0.02 * (random.standard_normal(700) + SHARPE), promise())) for _ in range(60)
    ]
    assert sum(days is not None for days in alive) <= 6


def test_without_a_promise_nothing_can_decay() -> None:
    for broken in (promise()[:30], np.zeros(100), -promise(), np.full(100, math.nan)):
        with pytest.raises(UsageError):
            e_detector(np.zeros(10), broken)
    with pytest.raises(UsageError, match="share of 0"):
        e_detector(np.zeros(10), promise(), 0.0)
