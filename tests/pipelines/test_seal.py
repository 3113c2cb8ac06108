"""The holdout is gate 7's alone, and what lies behind it is for those that it was opened for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import campaign, cli
from pipelines.campaign import load_templates, open_world
from pipelines.gates.policy import Policy
from research_lab.bars import Bars
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small

ROOT = Path(cli.__file__).parents[1]


def test_only_gate_7_asks_for_the_holdout() -> None:
    asking = {
        path.relative_to(ROOT).as_posix()
        for package in ("research_lab", "pipelines", "live_shadow")
        for path in (ROOT / package).rglob("*.py")
        if "HoldoutKey" in path.read_text(encoding="utf-8")
    }
    assert asking == {"research_lab/market_data/lake.py", "pipelines/gates/holdout.py"}


def test_what_comes_after_the_holdout_is_asked_for_in_one_place() -> None:
    """`Lake.forward` comes with the holdout before it, and wants the key of an opening (decision 0033)."""
    asking = {
        path.relative_to(ROOT).as_posix()
        for package in ("research_lab", "pipelines", "live_shadow")
        for path in (ROOT / package).rglob("*.py")
        if "lake.forward(" in path.read_text(encoding="utf-8")
    }
    assert asking == {"pipelines/gates/shadow.py"}


@pytest.mark.usefixtures("quiet")
def test_gates_1_to_6_see_no_bar_of_the_holdout(
    tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poison all that is sealed: what gates 1 to 6 measure must not move by a bit."""
    found = []
    for name, change in (("as it is", 1.0), ("poisoned", 3.0)):
        workspace = Workspace.find(tmp_path / name).create()
        zones = open_world(workspace, bars, small.regimes(workspace), policy, "").lake.zones(bars)
        inputs = bars.inputs.copy()
        inputs[:4, bars.time >= zones.holdout.start_ms] *= change
        world = open_world(workspace, replace(bars, inputs=inputs), small.regimes(workspace), policy, "")
        with monkeypatch.context() as patch:
            patch.setattr(campaign, "_open_holdout", lambda *_: None)
            templates = load_templates(small.strategy_folder(tmp_path / name, small.EMA))
            examined, _ = campaign.examine(templates, world, small.silent)
        found.append({g: (dict(e.figures), e.series) for g, e in examined[0].evidence.items()})
    assert set(found[0]) == set(campaign.GATES[:6])
    assert json.dumps(found[0], sort_keys=True) == json.dumps(found[1], sort_keys=True)
