from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.jit import FloatArray
from research_lab.generators import fitness as fitnesses
from research_lab.generators.behaviour import behaviour_of, correlation, correlations
from research_lab.generators.fitness import fitness_of, least_t
from research_lab.scoring.luck import expected_max_normals
from research_lab.scoring.market_exposure import less_holding
from research_lab.scoring.scorer import Score

SPEC = parse_spec("""spec: 1
name: held
hypothesis: Something.
timeframe: 1h
side: long
enter_long: rsi(14) < 30
time_stop: 7
size: {fraction: 0.9}
""")
N = 1_200
MARKET = np.random.default_rng(9).normal(0.0, 0.02, N)


def score(daily: FloatArray, n_trades: float = 10_000.0, spec: Spec = SPEC) -> Score:
    metrics = {"n_trades": n_trades, "years": N / 365.0, "exposure": 0.4, "sharpe": 1.0}
    return Score(spec, metrics, 0, daily)


def earning(seed: int, sharpe: float, n: int = N) -> FloatArray:
    return np.random.default_rng(seed).normal(sharpe / math.sqrt(365.0) * 0.01, 0.01, n)


def by_hand(daily: FloatArray) -> float:
    parts = np.array_split(daily, 4)
    left = [np.concatenate([p for k, p in enumerate(parts) if k != gone]) for gone in range(4)]
    return min(math.sqrt(len(x)) * x.mean() / x.std(ddof=1) for x in left) * math.sqrt(4 / 3)


@given(seed=st.integers(0, 1_000), sharpe=st.floats(-4, 4), n=st.integers(60, 2_000))
def test_the_least_t_is_that_of_the_definition(seed: int, sharpe: float, n: int) -> None:
    daily = earning(seed, sharpe, n)
    assert least_t(daily) == pytest.approx(by_hand(daily), rel=1e-9, abs=1e-9)


def test_a_steady_edge_beats_a_lucky_stretch_of_the_same_total() -> None:
    steady, lucky = earning(1, 2.0), earning(1, 0.0)
    lucky[:250] += (steady.sum() - lucky.sum()) / 250
    assert lucky.sum() == pytest.approx(steady.sum())
    assert least_t(steady) > least_t(lucky) + 1.0


def test_the_least_t_lies_below_that_of_the_whole() -> None:
    whole = earning(1, 2.0)
    assert least_t(whole) < math.sqrt(N) * whole.mean() / whole.std(ddof=1)


def test_nothing_measured_is_no_fitness() -> None:
    assert math.isnan(fitness_of(score(np.zeros(N)), MARKET, 10).value)
    assert math.isnan(least_t(earning(1, 2.0, 59)))
    once = np.zeros(N)
    once[5] = 0.1
    assert math.isnan(least_t(once))


def test_fitness_is_evidence_less_what_is_charged() -> None:
    daily = earning(3, 3.0)
    found = fitness_of(score(daily, 40.0), MARKET, 500)
    evidence = by_hand(less_holding(daily, MARKET)) * math.sqrt(40 / 60)
    assert found.evidence == pytest.approx(evidence)
    assert found.size == pytest.approx(fitnesses.A_NODE * SPEC.n_nodes)
    assert found.luck == expected_max_normals(500)
    assert found.value == found.evidence - found.size - found.luck


def test_the_same_return_is_worth_less_with_fewer_trades_more_size_and_more_trials() -> None:
    daily = earning(3, 3.0)
    best = fitness_of(score(daily), MARKET, 10).value
    larger = parse_spec(
        SPEC.canonical().replace("rsi(close, 14) < 30", "rsi(close, 14) < 30 and close > open")
    )
    assert fitness_of(score(daily, 20.0), MARKET, 10).value < best
    assert fitness_of(score(daily, spec=larger), MARKET, 10).value < best
    assert fitness_of(score(daily), MARKET, 1_000).value < best


def test_trades_beyond_what_a_brief_wants_cost_evidence() -> None:
    daily, months = earning(3, 3.0), 12 * N / 365.0
    whole = fitness_of(score(daily, 5 * months), MARKET, 10).evidence
    assert fitness_of(score(daily, 5 * months), MARKET, 10, (2.0, 8.0)).evidence == whole
    assert fitness_of(score(daily, 5 * months), MARKET, 10, (10.0, 20.0)).evidence == pytest.approx(whole / 2)
    assert fitness_of(score(daily, 5 * months), MARKET, 10, (0.0, 2.5)).evidence == pytest.approx(whole / 2)


def test_holding_has_no_fitness() -> None:
    rising = MARKET + 0.002
    assert fitness_of(score(rising), rising, 1).evidence <= 1e-9


@given(seed=st.integers(0, 1_000))
def test_correlations_of_signals_are_those_of_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ones, others = (list(rng.integers(-1, 2, (3, 200)).astype(np.int8)) for _ in range(2))
    wanted = np.corrcoef(np.stack([*ones, *others]).astype(float))[:3, 3:]
    assert correlations(ones, others) == pytest.approx(wanted, abs=1e-12)


def test_constant_signals_are_alike_only_when_equal() -> None:
    flat, long = np.zeros(50, np.int8), np.ones(50, np.int8)
    assert correlations([flat, long], [flat, long]).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_behaviour_tells_where_the_days_with_a_result_lay() -> None:
    daily = np.zeros(N)
    daily[:10] = 0.01
    regimes = np.array([1] * 4 + [2] * 4 + [0] * (N - 8))
    found = behaviour_of(score(daily, 36.0), MARKET, regimes)
    assert found.regimes == (0.4, 0.4, 0.0, 0.0, 0.0)
    assert found.trades_a_month == pytest.approx(36.0 / (12 * N / 365))
    assert found.holding_hours == pytest.approx(0.4 * N / 365 * 8_760 / 36)
    assert behaviour_of(score(MARKET * 0.5), MARKET).market_correlation == pytest.approx(1.0)
    assert correlation(np.zeros(N), MARKET) == 0.0
