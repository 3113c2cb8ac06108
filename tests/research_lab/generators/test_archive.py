from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.generators import archive as archives
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.behaviour import Behaviour, Signal, correlations
from research_lab.scoring.origin import Origin
from tests.research_lab.generators import made_up

TEXT = """spec: 1
name: held
hypothesis: "Something holds: \\"in quotes\\", too."
timeframe: 1h
side: long
params:
  hold: {{range: [1, 500], step: 1, default: 7}}
enter_long: rsi(14) < {level}
time_stop: hold
size: {{fraction: 0.9}}
"""


def strategy(k: int) -> Spec:
    return parse_spec(TEXT.format(level=1 + k))


SPECS = [strategy(k) for k in range(24)]


def elite(
    k: int, fitness: float, trades: float = 5.0, parent: str = "", signal: Signal | None = None
) -> Elite:
    behaviour = Behaviour(trades, 30.0, 0.5, 0.1, (0.2, 0.1, 0.3, 0.4, 0.0))
    return Elite(SPECS[k], Origin("evolve", "1", parent), fitness, 1.25, behaviour, signal)


def noise(seed: int, n: int = 500) -> Signal:
    return np.random.default_rng(seed).integers(-1, 2, n).astype(np.int8)


def offered(elites: list[Elite], n_islands: int = 4) -> Archive:
    archive = Archive(n_islands)
    for one in elites:
        archive.offer(one)
    return archive


def test_the_fitter_one_has_the_niche() -> None:
    archive = Archive(1)
    assert archive.offer(elite(0, 1.0))
    assert not archive.offer(elite(1, 0.5))
    assert archive.offer(elite(2, 2.0))
    assert [e.spec.hash for e in archive] == [SPECS[2].hash]


def test_a_tie_goes_to_the_smaller_hash_whoever_came_first() -> None:
    first, second = sorted((elite(0, 1.0), elite(1, 1.0)), key=lambda e: e.spec.hash)
    for order in ([first, second], [second, first]):
        assert [e.spec.hash for e in offered(order, 1)] == [first.spec.hash]


@given(order=st.permutations(range(24)))
def test_among_strategies_that_are_no_twins_the_order_of_offers_does_not_count(order: list[int]) -> None:
    everyone = [
        elite(k, float((k * 7) % 11), trades=float(1 + 3 * (k % 6)), signal=noise(k)) for k in range(24)
    ]
    told = made_up.islands(offered([everyone[k] for k in order]))
    assert told == made_up.islands(offered(everyone))


def test_a_child_lives_where_its_first_parent_does() -> None:
    archive = offered([elite(k, 1.0) for k in range(8)])
    for k in range(4):
        for parent in archive.island(k):
            assert archive.home(elite(20, 0.0, parent=f"{parent.spec.hash} {SPECS[9].hash}")) == k


def test_a_twin_by_behaviour_is_kept_once_and_the_fitter_stays() -> None:
    signal, almost = noise(1), noise(1)
    almost[0] = -almost[0] if almost[0] else 1
    assert 0.98 < correlations([signal], [almost])[0, 0] < 1.0
    archive = Archive(1)
    assert archive.offer(elite(0, 1.0, trades=2.0, signal=signal))
    assert not archive.offer(elite(1, 0.9, trades=30.0, signal=almost))
    assert archive.offer(elite(2, 1.1, trades=30.0, signal=almost))
    assert [e.spec.hash for e in archive] == [SPECS[2].hash]
    assert archive.offer(elite(3, 0.9, trades=2.0, signal=noise(2)))
    assert len(archive) == 2


def test_twins_on_two_islands_are_told_once() -> None:
    signal = noise(1)
    archive = Archive(2)
    assert archive.put(elite(0, 1.0, signal=signal), 0)
    assert archive.put(elite(1, 2.0, signal=signal.copy()), 1)
    assert [e.spec.hash for e in archive] == [SPECS[1].hash]


def test_of_a_niche_on_several_islands_the_fittest_is_told() -> None:
    archive = Archive(3)
    for k, fitness in enumerate((1.0, 3.0, 2.0)):
        archive.put(elite(k, fitness, trades=2.0, signal=noise(k)), k)
    archive.put(elite(4, 0.5, trades=30.0, signal=noise(4)), 0)
    assert [e.spec.hash for e in archive.fittest] == [SPECS[1].hash, SPECS[4].hash]
    assert len(archive) == 4, "the islands keep theirs"


def test_the_check_for_twins_finds_a_limit_that_is_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "TWINS", 2.0)
    with pytest.raises(AssertionError):
        test_a_twin_by_behaviour_is_kept_once_and_the_fitter_stays()


def test_a_signal_is_asked_for_only_when_everything_else_speaks_for_it() -> None:
    archive, asked = Archive(1), []

    def signal(k: int) -> Callable[[], Signal]:
        return lambda: (asked.append(k), noise(k))[1]

    archive.offer(elite(0, 1.0), signal(0))
    archive.offer(elite(1, 0.5), signal(1))
    archive.offer(elite(2, 1.5), signal(2))
    assert asked == [0, 2]


def test_the_best_of_each_island_visits_the_next_one() -> None:
    archive = Archive(3)
    for k in range(3):
        archive.put(elite(k, float(k), trades=2.0, signal=noise(k)), k)
        archive.put(elite(k + 10, -1.0, trades=30.0, signal=noise(k + 10)), k)
    archive.migrate()
    best = [archive.island(k)[0].spec.hash for k in range(3)]
    assert best == [SPECS[2].hash, SPECS[1].hash, SPECS[2].hash]
    assert [len(archive.island(k)) for k in range(3)] == [2, 2, 2]
    assert len(archive) == 5


def test_finalists_are_of_different_families_and_signals() -> None:
    bound = [replace(elite(0, 3.0), spec=SPECS[0].bind({"hold": float(n)})) for n in (7, 8)]
    signal = noise(5)
    similar = signal.copy()
    similar[:60] = 0
    archive = Archive(1)
    everyone = [
        bound[0],
        replace(bound[1], fitness=2.9),
        elite(1, 2.5, signal=signal),
        elite(2, 2.4, signal=similar),
        elite(3, 1.0),
    ]
    for k, one in enumerate(everyone):
        archive.offer(
            replace(
                one,
                behaviour=replace(
                    one.behaviour, exposure=(0.05, 0.2, 0.5, 0.9, 0.2)[k], trades_a_month=2.0 + 20.0 * (k > 3)
                ),
            )
        )
    assert len(archive) == 5
    assert [e.fitness for e in archive.finalists(3)] == [3.0, 2.5, 1.0]
    assert [e.fitness for e in archive.finalists(1)] == [3.0]
