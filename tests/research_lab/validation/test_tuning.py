"""Tuning: every sampler by name, seeded; several objectives; nothing outside the days is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.bars import Bars
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.terms import Terms
from research_lab.errors import UsageError
from research_lab.market_data import worlds
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.validation import tuning
from research_lab.validation.holding import turnover_of_days
from research_lab.validation.tuning import Protocol, Sampler, best, merits, ranking, tune

DAYS = (0, 220)
TEXT = """
spec: 1
name: cross
hypothesis: a test
timeframe: 4h
side: long
params:
  fast: {range: [2, 20], step: 1, default: 6}
  slow: {range: [22, 80], step: 2, default: 30}
enter_long: sma(close, fast) > sma(close, slow)
exit_long: sma(close, fast) < sma(close, slow)
size: {fraction: 0.5}
"""


@pytest.fixture(scope="module")
def bars() -> Bars:
    return worlds.planted(3, 24 * 400, 0.2, spans=(8, 32)).bars


@pytest.fixture(scope="module")
def template() -> Spec:
    return parse_spec(TEXT)


def _scorer(bars: Bars, folder: Path) -> Scorer:
    return Scorer(TrialLedger(folder), bars, Terms(fee=0.0001, slippage=0.0), None, "test")


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_each_sampler_asks_the_same_for_the_same_seed(
    sampler: Sampler, bars: Bars, template: Spec, tmp_path: Path
) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    protocol = Protocol(n_trials=24, batch=8, sampler=sampler)
    runs = [tune(template, _scorer(bars, tmp_path / name), DAYS, protocol, 4) for name in "ab"]
    assert [s.spec.hash for s in runs[0]] == [s.spec.hash for s in runs[1]]
    other = tune(template, _scorer(bars, tmp_path / "c"), DAYS, protocol, 5)
    assert [s.spec.hash for s in other] != [s.spec.hash for s in runs[0]]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "cmaes"])
def test_a_sampler_that_learns_beats_the_control_where_there_is_something_to_learn(
    sampler: Sampler, bars: Bars, template: Spec, tmp_path: Path
) -> None:
    """The median over seeds of all sets asked for, not only of the best: learning moves where it looks."""
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    scorer = _scorer(bars, tmp_path)

    def asked(name: Sampler, seed: int) -> float:
        protocol = Protocol(n_trials=80, batch=16, sampler=name)
        return float(np.mean([s.sharpe(slice(*DAYS)) for s in tune(template, scorer, DAYS, protocol, seed)]))

    learned = np.median([asked(sampler, seed) for seed in range(5)])
    control = np.median([asked("random", seed) for seed in range(5)])
    assert learned > control + 0.05


def test_several_objectives_are_weighed_on_the_days_alone(bars: Bars, template: Spec, tmp_path: Path) -> None:
    protocol = Protocol(
        n_trials=16, batch=8, sampler="nsga2", objectives=("sharpe", "max_drawdown", "turnover")
    )
    scorer = _scorer(bars, tmp_path)
    scores = tune(template, scorer, DAYS, protocol, 1)
    found = best(scores, DAYS, protocol, scorer)
    values = np.array([merits(score, DAYS, protocol, scorer) for score in scores])
    own = values[[s.spec.hash for s in scores].index(found.spec.hash)]
    assert not ((values >= own).all(axis=1) & (values > own).any(axis=1)).any()
    worth = np.concatenate([[1.0], np.cumprod(1.0 + found.daily[: DAYS[1]])])
    assert own[1] == pytest.approx(-max(1 - w / max(worth[: k + 1]) for k, w in enumerate(worth)))


def test_turnover_of_all_days_is_the_engines(bars: Bars, template: Spec, tmp_path: Path) -> None:
    scorer = _scorer(bars, tmp_path)
    score = scorer.score([template])[0]
    assert turnover_of_days(scorer, score, (0, 400)) == pytest.approx(score.metrics["turnover"], rel=1e-9)


def test_a_set_that_never_moved_is_worse_than_any_that_did(
    bars: Bars, template: Spec, tmp_path: Path
) -> None:
    idle = parse_spec(
        TEXT.replace("sma(close, fast) > sma(close, slow)", "volume < 0 * sma(volume, fast + slow)")
    )
    scorer = _scorer(bars, tmp_path)
    dead, alive = scorer.score([idle, template])
    protocol = Protocol(sampler="nsga2", objectives=("max_drawdown", "turnover"))
    assert best([dead, alive], DAYS, protocol, scorer) is alive


def test_what_earlier_folds_tried_is_known_and_only_a_few_more_are_asked_for(
    bars: Bars, template: Spec, tmp_path: Path
) -> None:
    scorer = _scorer(bars, tmp_path)
    protocol = Protocol(n_trials=40, n_refine=10, batch=10)
    first = tune(template, scorer, (0, 150), protocol, 1)
    second = tune(template, scorer, DAYS, protocol, 2, known=first)
    assert {s.spec.hash for s in first} <= {s.spec.hash for s in second}
    assert len(second) - len(first) <= 10


def test_many_trials_keep_the_best_and_the_latest(
    bars: Bars, template: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "BEST_KEPT", 5)
    monkeypatch.setattr(tuning, "LATEST_KEPT", 20)
    protocol = Protocol(n_trials=60, batch=20)
    search = tuning._Search(template, _scorer(bars, tmp_path), DAYS, protocol, 1)
    for _ in range(3):
        search.told(search.scorer.score(search.ask(20)))
        assert len(search.study.trials) <= 25
    told = [trial.values[0] for trial in search._finished]
    kept = [trial.values[0] for trial in search.study.trials]
    assert sorted(told)[-5:] == sorted(kept)[-5:]
    assert kept[-20:] == told[-20:]


def test_of_many_trials_some_are_neighbours_of_those_asked_for(
    bars: Bars, template: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "MAX_FITS", 20)
    search = tuning._Search(template, _scorer(bars, tmp_path), DAYS, Protocol(n_trials=60, batch=12), 1)
    asked = search.ask(12)
    assert len(asked) == 12 and len(search._asked) == 4
    for k, spec in enumerate(asked[4:]):
        apart = [abs(spec.values[n] - asked[k // 2].values[n]) / p.step for n, p in template.params.items()]
        assert sorted(apart) == [0.0, 1.0]
    search.told(search.scorer.score(asked))
    assert len(search.study.trials) == 12


def test_cmaes_takes_one_objective_only() -> None:
    with pytest.raises(UsageError, match="nsga2"):
        Protocol(sampler="cmaes", objectives=("sharpe", "turnover"))


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=30))
def test_nothing_dominated_is_ranked_before_what_is_not(rows: list[tuple[int, ...]]) -> None:
    values = np.array(rows, np.float64)
    order = ranking(values)
    dominated = [any(all(b >= a for a, b in zip(x, y, strict=True)) and y != x for y in rows) for x in rows]
    flags = [dominated[k] for k in order]
    assert flags == sorted(flags)
    assert sorted(order.tolist()) == list(range(len(rows)))
