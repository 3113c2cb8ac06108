"""A campaign that was interrupted goes on with what it finished, and tells how long the rest takes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipelines import campaign
from pipelines.campaign import KEPT
from pipelines.console import CampaignProgress
from pipelines.gates.policy import Policy
from research_lab.bars import Bars
from research_lab.errors import LockedError
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small

ROOT = Path(campaign.__file__).parents[1]


def evidence(workspace: Workspace) -> dict[str, Any]:
    found = {}
    for path in sorted(workspace.candidates.glob("*/evidence/*.json")):
        found["/".join(path.parts[-3:])] = content = json.loads(path.read_text())
        del content["bound_to"]["context"]
    return found


@pytest.mark.usefixtures("quiet")
def test_a_resumed_campaign_takes_what_was_finished_from_the_disk_and_gives_the_same(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    strategies = small.strategy_folder(tmp_path, small.EMA, small.QUICK)
    whole, cut = (Workspace.find(tmp_path / name) for name in ("whole", "cut"))
    small.run(whole, bars, strategies, policy)
    with pytest.raises(KeyboardInterrupt):
        small.run(cut, bars, strategies, policy, small.Stop("quick: look-ahead"))
    counted = TrialLedger(cut.trials).heads()
    assert [path.name for path in cut.unfinished.glob("*/*")] != []
    again = small.Stop()
    small.run(cut, bars, strategies, policy, again)
    assert f"ema: {KEPT}" in again.stages and "ema: look-ahead" not in again.stages
    assert "quick: look-ahead" in again.stages
    assert TrialLedger(cut.trials).has(counted)
    assert evidence(cut) == evidence(whole)
    assert not list(cut.unfinished.glob("*"))


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("spoiled", ["ledger", "file", "code"])
def test_what_was_finished_is_measured_again_when_anything_is_not_as_it_was(
    spoiled: str, tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategies = small.strategy_folder(tmp_path, small.EMA, small.QUICK)
    workspace = Workspace.find(tmp_path / "ws")
    with pytest.raises(KeyboardInterrupt):
        small.run(workspace, bars, strategies, policy, small.Stop("quick: static and data"))
    n_looks = len(TrialLedger(workspace.trials).every())
    (kept,) = workspace.unfinished.glob("*/*.json")
    if spoiled == "ledger":
        shutil.rmtree(workspace.trials)
    elif spoiled == "file":
        kept.write_text(kept.read_text().replace('"figures', '"figure'))
    else:
        monkeypatch.setattr("pipelines.gates.world.code_hash", lambda: "c" * 64)
    again = small.Stop("quick: static and data")
    with pytest.raises(KeyboardInterrupt):
        small.run(workspace, bars, strategies, policy, again)
    assert f"ema: {KEPT}" not in again.stages and "ema: look-ahead" in again.stages
    assert len(TrialLedger(workspace.trials).every()) == n_looks


@pytest.mark.usefixtures("quiet")
def test_of_two_campaigns_of_one_name_the_second_is_refused_and_the_first_keeps_what_it_finished(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    strategies = small.strategy_folder(tmp_path, small.EMA, small.QUICK)
    workspace = Workspace.find(tmp_path / "ws")
    kept: list[set[str]] = []

    def second(stage: str, share: float) -> None:
        if stage == "quick: look-ahead":
            kept.append({path.name for path in workspace.unfinished.glob("*/*.json")})
            with pytest.raises(LockedError, match="is running here: the same data"):
                small.run(workspace, bars, strategies, policy)
            kept.append({path.name for path in workspace.unfinished.glob("*/*.json")})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small.run(workspace, bars, strategies, policy, second)
    assert kept[0] == kept[1] and len(kept[0]) == 1
    again = small.Stop()
    small.run(workspace, bars, strategies, policy, again)
    assert f"ema: {KEPT}" in again.stages
    assert (workspace.root / "ended").read_text().split() == ["KILLED", "FINISHED"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines import campaign
from pipelines.campaign import load_templates
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small
campaign.Tracker = small.Tracker
place = Path(sys.argv[1])
def kill(stage, share):
    if stage.startswith("ema:"):
        os.kill(os.getpid(), signal.SIGKILL)
small.run(Workspace.find(place / "ws"), small.planted(), place / "strategies", small.policy(place), kill)
"""


@pytest.mark.usefixtures("quiet")
def test_a_killed_campaign_frees_its_name_and_the_next_goes_on_in_its_run(tmp_path: Path, bars: Bars) -> None:
    small.strategy_folder(tmp_path, small.EMA)
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    workspace = Workspace.find(tmp_path / "ws")
    assert not (workspace.root / "ended").exists()
    (noted,) = workspace.unfinished.glob("*/mlflow_run")
    small.run(workspace, bars, tmp_path / "strategies", small.policy(tmp_path))
    assert (workspace.root / "ended").read_text().split() == ["FINISHED"]
    assert not noted.parent.exists()


def test_what_remains_is_estimated_from_what_was_measured_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    progress = CampaignProgress(lambda: now)
    told = []
    for at, stage, share in (
        (0, "opening the store", 0.0),
        (30, f"a: {KEPT}", 0.45),  # taken from the disk: it says nothing of the pace
        (30, "b: static and data", 0.45),
        (40, "b: look-ahead", 0.55),
        (50, "b: backtest", 0.65),
    ):
        now = float(at)
        progress(stage, share)
        told.append(capsys.readouterr().err.partition(" (")[2].strip())
    assert told == ["0 s)", "30 s)", "30 s)", "40 s, about 45 s left)", "50 s, about 35 s left)"]


def test_a_log_hears_again_of_a_stage_that_lasts_and_more_seldom_the_longer_it_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    progress = CampaignProgress(lambda: now)
    for at, share in ((0, 0.1), (100, 0.4)):
        now = float(at)
        progress("a: tuning", share)
    capsys.readouterr()
    heard = []
    for second in range(100, 20_000):
        now = float(second)
        progress.tick()
        told = capsys.readouterr().err
        if told:
            heard.append((second, told.strip()))
    assert heard[0] == (110, "[ 40%] a: tuning (2 min, about 3 min left)")
    assert heard[-1][1].endswith(" h)"), "what should have been done long ago is not about to be"
    gaps = [b - a for (a, _), (b, _) in pairwise(heard)]
    assert gaps[:10] == [10] * 10 and gaps == sorted(gaps) and gaps[-1] == 120
