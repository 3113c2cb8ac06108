"""What the next look costs: exact where it can be, and never too little."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.campaign import open_world
from pipelines.gates import overfitting
from pipelines.gates.policy import load_policy
from pipelines.trials import MAX_COLUMNS, critical_after, looks, next_looks, p_after
from pipelines.trials_text import as_text, to_json
from research_lab.bars import Bars
from research_lab.dsl.spec_reader import parse_spec
from research_lab.market_data.lake import Lake
from research_lab.scoring.trial import Trial
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.timeframe import DAY_MS
from research_lab.validation.family_wise import family_wise_p
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small

FIRST, N_DAYS = 18_000, 300
POLICY = load_policy()


def filled(folder: Path, n: int, seed: int, edge: float = 0.0) -> TrialLedger:
    """Return a ledger of independent looks without an edge, but for the last."""
    rng = np.random.default_rng(seed)
    daily = rng.normal(0.0, 0.01, (n, N_DAYS))
    daily[-1] += edge
    trials = [
        Trial(
            "scored", f"{i:064x}", "0" * 64, f"s{i}", "BTC/USDT", FIRST * DAY_MS, (FIRST + N_DAYS) * DAY_MS,
            "1h", "1" * 64, "c", "grammar", float(row.mean() / row.std() * math.sqrt(365)), 9,
        )
        for i, row in enumerate(daily)
    ]  # fmt: skip
    ledger = TrialLedger(folder / "trials")
    ledger.append(trials, daily, FIRST)
    ledger.append([Trial(**{**_fields(trials[0]), "kind": "refused", "candidate": "f" * 64})])
    return ledger


def _fields(trial: Trial) -> dict[str, object]:
    return {name: getattr(trial, name) for name in Trial.__slots__}  # type: ignore[attr-defined]


@given(p=st.floats(0.0001, 1.0), n=st.integers(1, 10**6), k=st.integers(0, 10**6))
def test_a_p_only_rises_and_never_above_one(p: float, n: int, k: int) -> None:
    assert p * (1 - 1e-12) <= p_after(p, n, k) <= 1.0
    assert p_after(p, n, k) <= p_after(p, n, k + 1)


@pytest.mark.parametrize(("n", "k"), [(50, 50), (50, 350)])
def test_for_independent_looks_the_forecast_is_what_more_looks_give(n: int, k: int) -> None:
    """The same candidate among n, and among n + k, of independent normal columns."""
    rng = np.random.default_rng(11)
    daily = rng.normal(0.0, 0.01, (N_DAYS, n + k))
    daily[:, 0] += 0.0018
    few = family_wise_p(daily[:, :n], 0, n_draws=4_000)
    many = family_wise_p(daily, 0, n_draws=4_000)
    assert p_after(few.p, n, k) == pytest.approx(many.p, rel=0.25)
    assert critical_after(few.critical_95, n, k) == pytest.approx(many.critical_95, rel=0.05)


def test_twins_cost_less_than_forecast() -> None:
    rng = np.random.default_rng(12)
    daily = np.tile(rng.normal(0.0, 0.01, (N_DAYS, 20)), 2)
    few, many = (family_wise_p(part, 0, n_draws=2_000) for part in (daily[:, :20], daily))
    assert many.p == few.p <= p_after(few.p, 20, 20)


def test_looks_are_grouped_and_the_best_is_named(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 60, 3, edge=0.004)
    groups, costs = looks(ledger.every()), next_looks(ledger, Lake(tmp_path), ledger.every(), POLICY)
    assert [(g.generator, g.n_scored, g.n_refused) for g in groups] == [("grammar", 60, 1)]
    (cost,) = costs
    assert (cost.best, cost.n_looks, cost.n_openings) == ("s59", 60, 0)
    assert cost.p < 0.01 and cost.next_level == pytest.approx(0.0304, abs=1e-4)
    assert list(cost.p_after) == sorted(cost.p_after) and cost.p_after[0] >= cost.p
    text = as_text(groups, costs)
    assert "60 looks at 2019-04-14" in text and "best so far: s59" in text
    told = json.loads(to_json(groups, costs))
    assert told["next"][0]["best"] == "s59" and told["looks"][0]["n_scored"] == 60


def rising(days: int = small.DAYS) -> Bars:
    """Return hours without an edge that double every half year, so that whoever is long earns."""
    bars = small.noise(small.EDGE, days)
    inputs = bars.inputs.copy()
    inputs[:4] *= np.exp2(np.arange(bars.n) / (24 * 180))
    return replace(bars, inputs=inputs)


def test_the_best_so_far_has_the_p_that_gate_6_gives_it(tmp_path: Path) -> None:
    """Holding is taken off, and trials of too few trades are no rivals."""
    workspace, limits = Workspace.find(tmp_path).create(), small.policy(tmp_path)
    world = open_world(workspace, rising(), small.regimes(workspace), limits, "c")
    ema = parse_spec(small.EMA)
    patient = parse_spec(small.EMA.replace("ema(close, slow)", "24 * ema(close, slow)"))
    sets = [ema.bind({"fast": fast, "slow": slow}) for fast in (6, 8, 10) for slow in (32, 40)]
    world.scorer.score([*sets, patient])
    ledger = world.scorer.ledger
    (cost,) = next_looks(ledger, world.lake, ledger.every(), limits)
    assert (cost.n_looks, cost.n_rivals, cost.holding_counts) == (7, 6, False)
    best = next(one for one in sets if one.hash == cost.best_hash)
    p = overfitting.measure(best, world).figures["p"]
    assert cost.p == pytest.approx(p, abs=0.08)
    (credited,) = next_looks(ledger, Lake(tmp_path / "elsewhere"), ledger.every(), limits)
    assert credited.holding_counts and credited.p < p / 2
    assert "with what holding earned" in as_text(looks(ledger.every()), [credited])
    assert "with what holding earned" not in as_text(looks(ledger.every()), [cost])


def test_a_sample_says_about_what_all_columns_say(tmp_path: Path) -> None:
    n = 4 * MAX_COLUMNS
    ledger = filled(tmp_path, n, 5)
    (cost,) = next_looks(ledger, Lake(tmp_path), ledger.every(), POLICY)
    daily, _ = ledger.daily_returns("BTC/USDT", FIRST, FIRST + N_DAYS)
    whole = family_wise_p(daily, 0, n_draws=1_000)
    assert (cost.n_rivals, cost.n_used < n) == (n, True)
    assert cost.critical == pytest.approx(whole.critical_95, rel=0.06)


def test_too_few_days_are_said_and_nothing_else_is_lost(tmp_path: Path) -> None:
    trial = Trial(
        "scored", "a" * 64, "0" * 64, "s", "BTC/USDT", FIRST * DAY_MS, (FIRST + 9) * DAY_MS, "1h", "1" * 64,
        "c", "grammar", math.nan, 9,
    )  # fmt: skip
    ledger = TrialLedger(tmp_path / "trials")
    ledger.append([trial], np.zeros((1, 9)), FIRST)
    (cost,) = next_looks(ledger, Lake(tmp_path), ledger.every(), POLICY)
    assert "at least 60 are needed" in cost.insufficient
    assert "was not measured" in as_text(looks(ledger.every()), [cost])
    assert json.loads(to_json([], [cost]))["next"][0]["critical"] is None


@pytest.mark.proof
@pytest.mark.timeout(0)
def test_a_hundred_thousand_trials_are_told_in_seconds(tmp_path: Path, campaign_share: float) -> None:
    n = round(100_000 * campaign_share)
    filled(tmp_path, n, 7)
    began = time.monotonic()
    ledger = TrialLedger(tmp_path / "trials")
    trials = ledger.every()
    next_looks(ledger, Lake(tmp_path), trials, POLICY)
    gone = time.monotonic() - began
    print(f"{n:,} trials: {gone:.1f} s")
    assert gone < 60.0


def test_an_interval_that_nobody_has_returns_for_makes_no_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of an older workspace that says a thousand years must not ask for them."""
    ledger = filled(tmp_path, 30, 1)
    (first, *_) = ledger.every()
    told = {**_fields(first), "kind": "crashed", "candidate": "e" * 64, "end_ms": 365_000 * DAY_MS}
    ledger.append([Trial(**told)])
    asked = []
    read = TrialLedger.daily_returns

    def watched(self: TrialLedger, market: str, first: int, last: int, **named: object) -> object:
        asked.append((first, last))
        return read(self, market, first, last, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(TrialLedger, "daily_returns", watched)
    (cost,) = next_looks(ledger, Lake(tmp_path), ledger.every(), POLICY)
    assert asked == [(FIRST, FIRST + N_DAYS)]
    assert cost.insufficient == "" and math.isfinite(cost.p)
