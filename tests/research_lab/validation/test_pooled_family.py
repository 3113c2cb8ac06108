"""The family of a pool has a column for every look that could have been chosen by, and takes holding off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from research_lab.bars import Bars
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.scoring.market_exposure import less_holding, market_daily
from research_lab.scoring.pooled_scorer import PooledScorer, pooled_daily
from research_lab.scoring.scorer import Scorer
from research_lab.validation.pooled_family import PooledFamily, pooled_family
from tests.pipelines import small_campaign as small
from tests.research_lab.scoring.test_pooled_scorer import SYMBOLS, TERMS, noise, pool_of

EMA, QUICK = parse_spec(small.EMA), parse_spec(small.QUICK)
SETS = [EMA.bind(values) for values in EMA.grid()]


@pytest.fixture
def tables() -> list[Bars]:
    return [noise(symbol, 120, seed) for seed, symbol in enumerate(SYMBOLS)]


def columns_of(family: PooledFamily, spec: Spec) -> list[bool]:
    """Whether each column of a candidate is of all markets."""
    return [whole for whole, c in zip(family.whole, family.candidates, strict=True) if c == spec.hash]


def test_what_the_pool_scored_has_its_pooled_column_and_no_other(tmp_path: Path, tables: list[Bars]) -> None:
    pool = pool_of(tmp_path, tables)
    scores = pool.score(SETS)
    family = pooled_family(pool)
    assert family.candidates == tuple(spec.hash for spec in SETS)
    assert all(family.whole)
    for score in scores:
        (column,) = family.columns(score.spec.hash)
        assert family.daily[:, column] == pytest.approx(score.daily, rel=1e-12, abs=1e-15)


def test_holding_is_taken_off_market_by_market(tmp_path: Path, tables: list[Bars]) -> None:
    pool = pool_of(tmp_path, tables)
    pool.score([EMA])
    parts = [
        (m.score([EMA])[0].first_day, less_holding(m.score([EMA])[0].daily, market_daily(m.bars)[1]))
        for m in pool.members
    ]
    family = pooled_family(pool)
    assert family.timed[:, 0] == pytest.approx(pooled_daily(parts)[1], rel=1e-12, abs=1e-15)
    assert family.holding == pytest.approx(pooled_daily(market_daily(b) for b in tables)[1])


def test_a_look_at_one_market_is_a_column_of_its_own(tmp_path: Path, tables: list[Bars]) -> None:
    pool = pool_of(tmp_path, tables)
    pool.score([EMA])
    single = pool.members[1].score([QUICK])[0]
    family = pooled_family(pool)
    assert columns_of(family, QUICK) == [False]
    assert family.columns(QUICK.hash) == []
    assert family.daily[:, 1] == pytest.approx(single.daily)


def test_looks_at_some_markets_are_pooled_and_stand_alone_besides(tmp_path: Path, tables: list[Bars]) -> None:
    pool = pool_of(tmp_path, tables)
    singles = [member.score([QUICK])[0].daily for member in pool.members[:2]]
    family = pooled_family(pool)
    assert columns_of(family, QUICK) == [False, False, False]
    wanted = np.stack([(singles[0] + singles[1]) / 2, *singles], axis=1)
    assert family.daily == pytest.approx(wanted)
    traded = [int(member.score([QUICK])[0].metrics["n_trades"]) for member in pool.members[:2]]
    assert family.n_trades == (sum(traded), *traded)


def test_who_looked_at_every_market_one_by_one_has_all_columns(tmp_path: Path, tables: list[Bars]) -> None:
    pool = pool_of(tmp_path, tables)
    for k, member in enumerate(pool.members):
        alone = Scorer(pool.ledger, member.bars, TERMS, None, f"alone {k}")
        alone.score([EMA])
    pool.score([EMA])  # the same looks: nothing new is charged
    family = pooled_family(pool)
    assert columns_of(family, EMA) == [True, False, False, False]
    assert len(pool.ledger.every()) == 3


def test_days_beyond_a_markets_history_are_left_to_the_others(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [noise(SYMBOLS[0], 120, 1), noise(SYMBOLS[1], 120, 2, first=50)])
    score = pool.score([EMA])[0]
    family = pooled_family(pool)
    assert family.daily[:, 0] == pytest.approx(score.daily)
    assert family.daily[:50, 0] == pytest.approx(pool.members[0].score([EMA])[0].daily[:50])


def test_an_empty_ledger_gives_an_empty_family(tmp_path: Path, tables: list[Bars]) -> None:
    family = pooled_family(PooledScorer(pool_of(tmp_path, tables).everyone))
    assert family.daily.shape == (120, 0)
    assert family.candidates == ()
