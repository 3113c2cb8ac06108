"""The statistics of gate 6 at their stated sizes, and the whole gate: seconds beside their targets."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.results import Figure, Result, in_turns
from pipelines.campaign import sealed_world
from pipelines.gates import overfitting
from pipelines.gates.policy import load_policy
from pipelines.gates.world import World
from research_lab.bars import DAY_MS
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import load_regimes, parse_spec
from research_lab.engine.jit import FloatArray
from research_lab.engine.terms import Terms
from research_lab.market_data import worlds
from research_lab.scoring.trial import Trial
from research_lab.validation.cscv import cscv_logits
from research_lab.validation.family_wise import family_wise_p
from research_lab.validation.reality_check import reality_check

_TEXT = """spec: 1
name: cross
hypothesis: Trends last.
timeframe: 1h
side: long
params:
  fast: {range: [4, 30], step: 1, default: 8}
enter_long: ema(close, fast) > ema(close, 60)
exit_long: ema(close, fast) < ema(close, 60)
size: {fraction: 0.9}
"""


def measure(n_trials: int, n_days: int, repeats: int) -> Result:
    """Return the seconds of the family-wise p, PBO, SPA and gate 6.

    Parameters
    ----------
    n_trials, n_days : of the family that the statistics are timed on; gate 6 has six tenths of the trials.
    """
    family = _returns(n_days, n_trials)
    with tempfile.TemporaryDirectory() as folder:
        world, spec = _world(Path(folder), max(200, round(n_days / 1.46)), round(0.6 * n_trials))
        works = {
            "family": lambda: family_wise_p(family, 0, n_draws=1000),
            "one thread": lambda: family_wise_p(family, 0, n_draws=1000, n_threads=1),
            "pbo": lambda: cscv_logits(family, 16),
            "spa": lambda: reality_check(family, family[:, 1], n_draws=1000),
            "gate": lambda: overfitting.measure(spec, world),
        }
        seconds = in_turns(works, repeats)
        gate_days = overfitting.measure(spec, world).figures["n_days"]
    size = f"{n_trials:,} trials x {n_days:,} days"
    rules = world.policy.bootstrap
    return Result(
        "selection",
        f"Statistics of selection: {size}",
        (
            Figure("family-wise p, 1,000 draws", seconds["family"], "s", must=2.0, more=False),
            Figure("the same on one thread", seconds["one thread"], "s", more=False),
            Figure("PBO, 12,870 splits of 16 blocks", seconds["pbo"], "s", must=5.0, more=False),
            Figure("SPA and reality check, 1,000 draws", seconds["spa"], "s", more=False),
            Figure(
                f"gate 6 whole, {round(0.6 * n_trials):,} trials x {gate_days:,.0f} days x {rules.n_draws:,} draws",
                seconds["gate"],
                "s",
                aim=1.0,
                more=False,
            ),
        ),
    )


def _returns(n_days: int, n_trials: int) -> FloatArray:
    """Return made-up daily returns as the ledger hands them out: columns contiguous."""
    made: FloatArray = 0.01 * np.random.default_rng(1).standard_t(5, (n_trials, n_days))
    return made.T


def _world(folder: Path, research_days: int, n_trials: int) -> tuple[World, Spec]:
    """Return a world with that many research days, and a ledger with that many trials."""
    policy = load_policy()
    n_days = round(research_days / (1.0 - policy.zones.holdout_share)) + policy.zones.forward_days
    bars = worlds.noise(1, 24 * n_days).bars
    world = sealed_world(folder, bars, Terms(), _regimes(), policy, "benchmark")
    spec = parse_spec(_TEXT)
    scored = world.scorer.score([spec.bind(values) for values in spec.grid()])
    start_ms, end_ms = world.research.interval
    like = world.scorer.ledger.trials(bars.market.charged_to, start_ms, end_ms)[0]
    n_more = max(0, n_trials - len(scored))
    daily = np.ascontiguousarray(_returns(scored[0].daily.shape[0], n_more).T)
    strangers: list[Trial] = [
        replace(like, candidate=f"{k:064x}", template=f"{k:064x}") for k in range(n_more)
    ]
    world.scorer.ledger.append(strangers, daily, start_ms // DAY_MS)
    return world, scored[0].spec


def _regimes() -> RegimeSet:
    from research_lab import strategies

    return load_regimes(Path(strategies.__path__[0]) / "regimes.yaml")
