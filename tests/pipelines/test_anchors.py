"""Looks and openings that were deleted are missed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines import anchoring
from pipelines.gates.policy import Policy
from research_lab.bars import Bars
from research_lab.errors import LedgerError
from research_lab.market_data.lake import Lake
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small


class Anchored(small.Ledgers):
    """A store that remembers every anchor."""

    dropped: list[Mapping[str, str]]

    def anchor(self, run: str, heads: Any) -> None:
        type(self).dropped.append(dict(heads))

    def anchored_heads(self) -> dict[str, str]:
        return dict(type(self).dropped[-1]) if type(self).dropped else {}


@pytest.mark.usefixtures("quiet")
def test_looks_of_an_interrupted_campaign_cannot_be_deleted_unseen(
    tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    Anchored.dropped = []
    monkeypatch.setattr(small.Tracker, "ledgers", Anchored())
    monkeypatch.setattr(anchoring, "EVERY", 1)
    strategies = small.strategy_folder(tmp_path, small.EMA, small.QUICK)
    workspace = Workspace.find(tmp_path / "ws")
    with pytest.raises(KeyboardInterrupt):
        small.run(workspace, bars, strategies, policy, small.Stop("ema: look-ahead"))
    assert Anchored.dropped[-1] == TrialLedger(workspace.trials).heads()
    assert len(Anchored.dropped) >= 2
    shutil.rmtree(workspace.trials)
    with pytest.raises(LedgerError, match="an anchored segment is gone"):
        small.run(workspace, bars, strategies, policy)


@pytest.mark.usefixtures("quiet")
def test_openings_of_the_holdout_cannot_be_deleted_unseen(
    tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the line, the next opening would be judged as the first one."""
    Anchored.dropped = []
    monkeypatch.setattr(small.Tracker, "ledgers", Anchored())
    workspace, strategies = Workspace.find(tmp_path / "ws"), small.strategy_folder(tmp_path, small.EMA)
    assert small.run(workspace, bars, strategies, policy).best is not None
    assert len(Lake(workspace.root).openings.past()) == 1
    (workspace.lake / "openings.jsonl").unlink()
    with pytest.raises(LedgerError, match="openings of the holdout were taken away"):
        small.run(workspace, bars, strategies, policy)
