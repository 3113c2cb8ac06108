"""A market that is left out has no say: whatever its bars are, the others tune the same parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from research_lab.bars import Bars, Market
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.market_data import worlds
from research_lab.scoring.pooled_scorer import PooledScorer
from research_lab.validation.leave_one_out import LeftOut, leave_one_out
from research_lab.validation.tuning import Protocol, choose_on_plateau
from tests.pipelines import small_campaign as small
from tests.research_lab.scoring.test_pooled_scorer import SYMBOLS, pool_of

GRID = parse_spec(small.EMA)
WIDE = parse_spec(
    small.EMA.replace("[6, 10], step: 2", "[4, 20], step: 1").replace(
        "[32, 40], step: 8", "[24, 72], step: 2"
    )
)
SEARCH = Protocol(n_folds=2, n_trials=12, n_refine=6, batch=4, seed=3)


@pytest.fixture(scope="module")
def tables() -> list[Bars]:
    return [
        small.planted(Market("synthetic", symbol), n_days=200, strength=0.02, seed=seed)
        for seed, symbol in enumerate(SYMBOLS, start=20)
    ]


def poisoned(bars: Bars) -> Bars:
    """Candles at the same times in which quite other parameters are by far the best."""
    other = worlds.planted(99, bars.n, 0.2, spans=(19, 70)).bars
    return replace(other, market=bars.market)


def left_out(folder: Path, tables: list[Bars], template: Spec) -> tuple[PooledScorer, list[LeftOut]]:
    pool = pool_of(folder, tables)
    return pool, leave_one_out(template, pool, SEARCH)


@pytest.mark.parametrize("template", [GRID, WIDE], ids=["grid", "search"])
def test_poisoned_bars_of_the_one_left_out_move_no_parameter(
    template: Spec, tables: list[Bars], tmp_path: Path
) -> None:
    _, clean = left_out(tmp_path / "clean", tables, template)
    for k, symbol in enumerate(SYMBOLS):
        changed = [poisoned(bars) if j == k else bars for j, bars in enumerate(tables)]
        _, found = left_out(tmp_path / str(k), changed, template)
        assert found[k].symbol == symbol
        assert found[k].values == clean[k].values
        assert found[k].inside_sharpe == clean[k].inside_sharpe
        assert found[k].sharpe != clean[k].sharpe


@pytest.mark.parametrize("k", range(len(SYMBOLS)))
def test_a_check_that_leaves_nothing_out_is_found_by_the_same_poison(
    k: int, tables: list[Bars], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PooledScorer, "without", lambda pool, market: pool)
    _, clean = left_out(tmp_path / "clean", tables, WIDE)
    _, found = left_out(
        tmp_path / "other", [poisoned(b) if j == k else b for j, b in enumerate(tables)], WIDE
    )
    assert found[k].values != clean[k].values


def test_a_market_is_judged_alone_on_all_its_days(tables: list[Bars], tmp_path: Path) -> None:
    pool, found = left_out(tmp_path, tables, GRID)
    for member, one in zip(pool.members, found, strict=True):
        score = member.score([GRID.bind(one.values)])[0]
        assert one.symbol == member.bars.market.symbol
        assert one.sharpe == pytest.approx(score.sharpe())
        assert one.total_return == pytest.approx(np.prod(1.0 + score.daily) - 1.0)
        assert one.n_trades == score.metrics["n_trades"]


def test_what_tuning_tried_before_costs_no_look_for_a_grid(tables: list[Bars], tmp_path: Path) -> None:
    pool = pool_of(tmp_path, tables)
    choose_on_plateau(GRID, pool, SEARCH)
    before = len(pool.ledger.every())
    leave_one_out(GRID, pool, SEARCH)
    assert len(pool.ledger.every()) == before


def test_a_set_asked_for_anew_is_charged_to_every_market(tables: list[Bars], tmp_path: Path) -> None:
    pool = pool_of(tmp_path, tables)
    leave_one_out(WIDE, pool, SEARCH)
    looks = [{t.candidate for t in pool.ledger.trials(symbol, 0, 2**60)} for symbol in SYMBOLS]
    assert looks[0] == looks[1] == looks[2]
    assert len(looks[0]) > SEARCH.n_trials
