"""The whole gauntlet on worlds that no policy was tuned on: a planted edge is promoted, noise is not.

`make test` runs one seed of each kind; `make proof` runs twenty: at least eighteen of the planted worlds
(Sharpe 3 after costs over six years of hours) must end in a promotion, and none of the noise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import demo
from pipelines.campaign import load_templates, run_campaign
from pipelines.gates.evidence import Outcome
from pipelines.gates.policy import load_policy
from pipelines.lifecycle import promote_candidate
from research_lab.bars import Bars
from research_lab.dsl.spec_reader import load_regimes
from research_lab.workspace import Workspace

FIRST_SEED = 1001
N_SEEDS = 20

pytestmark = pytest.mark.proof


@pytest.fixture
def stage(tmp_path: Path) -> demo.Stage:
    workspace = Workspace.find(tmp_path).create()
    return demo.Stage(
        workspace, load_templates(demo.STRATEGIES), load_regimes(workspace.regimes), load_policy()
    )


def _promoted(stage: demo.Stage, bars: Bars) -> bool:
    """Run one campaign, promote what passed, and tell whether the map now has an entry."""
    place = Workspace.find(stage.workspace.root / bars.market.symbol.replace("/", "-")).create()
    result = run_campaign(
        place, bars, stage.templates, stage.regimes, stage.policy, lambda stage, share: None
    )
    if not result.passed:
        return False
    done = promote_candidate(place, result.passed[0], stage.regimes, stage.policy)
    assert done.promotion.outcome is Outcome.PASS
    return bool(done.promotion.new_map.entries)


def _named(bars: Bars, seed: int) -> Bars:
    return replace(bars, market=replace(bars.market, symbol=f"W{seed}/USDT"))


@pytest.mark.timeout(0)
def test_a_planted_edge_is_promoted_in_nearly_every_world(stage: demo.Stage, campaign_share: float) -> None:
    n = max(1, round(N_SEEDS * campaign_share))
    promoted = [_promoted(stage, _named(demo.planted_world(stage, s), s)) for s in _seeds(n)]
    print(f"planted: {sum(promoted)} of {n} promoted")
    assert sum(promoted) >= n - 0.1 * N_SEEDS * campaign_share


@pytest.mark.timeout(0)
def test_noise_is_never_promoted(stage: demo.Stage, campaign_share: float) -> None:
    n = max(1, round(N_SEEDS * campaign_share))
    promoted = [_promoted(stage, _named(demo.noise_world(stage.policy, s), s)) for s in _seeds(n)]
    print(f"noise: {sum(promoted)} of {n} promoted")
    assert not any(promoted)


def _seeds(n: int) -> range:
    return range(FIRST_SEED, FIRST_SEED + n)
